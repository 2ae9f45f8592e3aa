//! The five tasks by their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A restoration task, named by the degradation that it removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Task {
    /// Haze and fog.
    Dehaze,
    /// Rain streaks.
    Derain,
    /// Falling snow.
    Desnow,
    /// Blur from a moving camera or a moving subject.
    Deblur,
    /// Blur from a lens focused elsewhere.
    Defocus,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 5] =
        [Self::Dehaze, Self::Derain, Self::Desnow, Self::Deblur, Self::Defocus];

    /// The name in commands and files: `dehaze`, `derain`, `desnow`, `deblur-motion`,
    /// `deblur-defocus`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dehaze => "dehaze",
            Self::Derain => "derain",
            Self::Desnow => "desnow",
            Self::Deblur => "deblur-motion",
            Self::Defocus => "deblur-defocus",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|task| task.name() == name);
        found.ok_or_else(|| Error::Config {
            reason: format!(
                "unknown task \"{name}\"; the tasks are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        })
    }
}

impl TryFrom<String> for Task {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Task> for &'static str {
    fn from(task: Task) -> Self {
        task.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for task in Task::ALL {
            assert_eq!(task.to_string().parse::<Task>().unwrap(), task);
            let json = serde_json::to_string(&task).unwrap();
            assert_eq!(json, format!("\"{task}\""));
            assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), task);
        }
        let error = "de-hail".parse::<Task>().unwrap_err().to_string();
        assert!(error.contains("de-hail") && error.contains("deblur-motion"), "{error}");
    }
}
