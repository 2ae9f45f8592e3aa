//! The parameters of a restoration, from the query of its address or the fields of a form.

use crate::degrade::Task;
use crate::image::Format;
use crate::jobs::{STRENGTHS, Settings};
use nn::weights::printable;

/// How a photograph is to be restored, and what the answer is to contain.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    /// The task; none to detect it.
    pub task: Option<Task>,
    /// The extension of the result's format; none for that of the photograph.
    pub format: Option<String>,
    /// Strength, quality and the like.
    pub settings: Settings,
    /// Whether to add pictures, before and after, in a format that every browser shows.
    pub preview: bool,
    /// Whether it is restored beside the photographs that wait, not after them.
    pub beside: bool,
}

impl Parameters {
    /// Those of a query such as `task=dehaze&strength=0.7`.
    ///
    /// # Errors
    /// The reason why a parameter is refused.
    pub fn of_query(query: &str) -> Result<Self, String> {
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parameters.set(&name, &value)?;
        }
        Ok(parameters)
    }

    /// Sets one of them.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (shown, given) = (printable(name), printable(value));
        let expected =
            |expected: &str| Err(format!("{shown}: expected {expected}, got \"{given}\""));
        match name {
            "task" => {
                self.task = match Task::ALL.into_iter().find(|task| task.name() == value) {
                    None if value != "auto" => {
                        let names = Task::ALL.map(Task::name).join(", ");
                        return expected(&format!("auto, {names}"));
                    }
                    task => task,
                }
            }
            "strength" => match value.parse() {
                Ok(strength) if STRENGTHS.contains(&strength) => self.settings.strength = strength,
                _ => return expected("a number from 0 to 1.5"),
            },
            "format" => match Format::of_extension(value) {
                Some(_) => self.format = Some(value.to_lowercase()),
                None => return expected("jpg, png, webp, tif, bmp or ppm"),
            },
            "quality" => match value.parse() {
                Ok(quality @ 1..=100) => self.settings.write.quality = Some(quality),
                _ => return expected("a number from 1 to 100"),
            },
            "strip" | "keep-going" | "preview" | "beside" => {
                let Some(on) = is_on(value) else { return expected("true or false") };
                *match name {
                    "strip" => &mut self.settings.write.strip,
                    "keep-going" => &mut self.settings.keep_going,
                    "preview" => &mut self.preview,
                    _ => &mut self.beside,
                } = on;
            }
            _ => {
                return Err(format!(
                    "unknown parameter \"{shown}\"; known are task, strength, format, quality, \
                     strip, keep-going, preview and beside"
                ));
            }
        }
        Ok(())
    }
}

fn is_on(value: &str) -> Option<bool> {
    match value {
        "" | "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_command_line() {
        let query =
            "task=desnow&strength=0.7&format=PNG&quality=80&strip&keep-going=1&preview=true&beside";
        let Parameters { task, format, settings, preview, beside } =
            Parameters::of_query(query).unwrap();
        assert_eq!((task, format.as_deref()), (Some(Task::Desnow), Some("png")));
        assert!(preview && beside);
        assert_eq!((settings.strength, settings.write.quality), (0.7, Some(80)));
        assert!(settings.write.strip && settings.keep_going);
        let Parameters { task, format, settings, preview, beside } =
            Parameters::of_query("").unwrap();
        assert_eq!((task, format, preview, settings.strength), (None, None, false, 1.0));
        assert!(!beside);
        assert_eq!(Parameters::of_query("task=auto").unwrap().task, None);
        assert!(!Parameters::of_query("strip=0&strip=false").unwrap().settings.write.strip);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (query, part) in [
            ("task=rain2", "task: expected auto, dehaze"),
            ("task=", "task: expected"),
            ("strength=2", "strength: expected a number from 0 to 1.5, got \"2\""),
            ("strength=NaN", "strength: expected"),
            ("strength=-0.1", "strength: expected"),
            ("format=gif", "format: expected"),
            ("format=../../x", "format: expected"),
            ("quality=0", "quality: expected"),
            ("quality=101", "quality: expected"),
            ("strip=maybe", "strip: expected true or false"),
            ("output=/etc/passwd", "unknown parameter \"output\""),
            ("%ff=1", "unknown parameter"),
        ] {
            let error = Parameters::of_query(query).unwrap_err();
            assert!(error.contains(part), "{query}: {error}");
        }
    }
}
