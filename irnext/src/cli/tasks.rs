//! The names of tasks on the command line: those of the library, their aliases, and the parsers
//! that accept them.

use crate::degrade::Task;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// The choice of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskChoice {
    /// For each photograph, by its degradation.
    Auto,
    /// This one for all.
    For(Task),
}

const AUTO: &str = "auto";

/// Other names of a task.
fn aliases(task: Task) -> &'static [&'static str] {
    match task {
        Task::Dehaze => &["haze", "fog", "defog", "mist", "smog"],
        Task::Derain => &["rain"],
        Task::Desnow => &["snow"],
        // Of the two kinds of blur, most people mean this one.
        Task::Deblur => &["deblur", "blur", "motion", "motion-blur", "shake"],
        Task::Defocus => &["defocus", "focus", "out-of-focus"],
    }
}

/// The degradation that a task removes, as help.
fn removes(task: Task) -> &'static str {
    match task {
        Task::Dehaze => "haze, fog and smog",
        Task::Derain => "rain streaks",
        Task::Desnow => "falling snow",
        Task::Deblur => "blur from a moving camera or subject",
        Task::Defocus => "blur from a lens focused elsewhere",
    }
}

fn value(task: Task) -> PossibleValue {
    PossibleValue::new(task.name()).aliases(aliases(task)).help(removes(task))
}

/// The task of this name, in either case.
pub(super) fn task_of(name: &str) -> Option<Task> {
    let is = |other: &&str| name.eq_ignore_ascii_case(other);
    Task::ALL.into_iter().find(|&task| is(&task.name()) || aliases(task).iter().any(&is))
}

/// A parser of a task by its name, which completions then offer. For arguments that ignore case.
pub(super) fn task_parser() -> impl TypedValueParser<Value = Task> {
    PossibleValuesParser::new(Task::ALL.map(value))
        .try_map(|given| task_of(&given).ok_or("unknown task"))
}

/// Like [`task_parser`], but also accepts `auto`.
pub(super) fn choice_parser() -> impl TypedValueParser<Value = TaskChoice> {
    let auto =
        PossibleValue::new(AUTO).help("detect it in each photograph; leave clear ones alone");
    PossibleValuesParser::new([auto].into_iter().chain(Task::ALL.map(value))).try_map(|given| {
        match given.eq_ignore_ascii_case(AUTO) {
            true => Ok(TaskChoice::Auto),
            false => task_of(&given).map(TaskChoice::For).ok_or("unknown task"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_has_names_of_its_own() {
        let mut names: Vec<&str> = Task::ALL
            .into_iter()
            .flat_map(|task| aliases(task).iter().copied().chain([task.name()]))
            .collect();
        for name in &names {
            assert!(task_of(&name.to_uppercase()).is_some(), "{name}");
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
