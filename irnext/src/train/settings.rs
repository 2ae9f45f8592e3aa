//! The settings that identify a run: with others, it would be another run.

use super::pairs::Pairs;
use super::renamed::rename_earlier_keys;
use super::{Progress, TrainConfig};
use crate::data::Source;
use crate::distributed::file_list_fingerprint;
use crate::error::{Error, Result};
use nn::shown;
use std::collections::{BTreeMap, BTreeSet};

/// Fails if `config` would make the run another run.
pub(super) fn same_run(progress: &Progress, config: &TrainConfig) -> Result<()> {
    let comparable = |text: &str| -> Result<toml::Table> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Error::Config { reason: format!("{}: {}", shown(&config.out), error.message()) }
        })?;
        rename_earlier_keys(&mut table);
        // The places of files, the save interval and the number of threads change no result. The
        // device does, in the last digits; but a GPU may not be available every day.
        for (section, key) in
            [("", "out"), ("data", "workers"), ("data", "cache_mb"), ("optimizer", "save_every")]
        {
            match section {
                "" => table.remove(key),
                section => table
                    .get_mut(section)
                    .and_then(toml::Value::as_table_mut)
                    .and_then(|t| t.remove(key)),
            };
        }
        table.remove("validation");
        table.remove("compute");
        Ok(table)
    };
    let [there, here] = [comparable(&progress.config)?, comparable(&config.to_toml()?)?];
    let differences = differences(there, here);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Config {
        reason: format!(
            "{}: holds a run with other settings: {}; choose another `out` or the same settings",
            shown(&config.out),
            listed(&differences)
        ),
    })
}

/// `optimizer.steps is 4 there, and 6 here` for every setting that differs.
fn differences(there: toml::Table, here: toml::Table) -> Vec<String> {
    let [there, here] = [there, here].map(|table| {
        let mut settings = Vec::new();
        flatten("", &toml::Value::Table(table), &mut settings);
        BTreeMap::from_iter(settings)
    });
    let names: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let value = |settings: &BTreeMap<String, String>, name: &String| {
        settings.get(name).cloned().unwrap_or_else(|| "not set".into())
    };
    let pairs = names.into_iter().map(|name| (name, value(&there, name), value(&here, name)));
    pairs
        .filter(|(_, there, here)| there != here)
        .map(|(name, there, here)| format!("{name} is {there} there, and {here} here"))
        .collect()
}

/// The first few of many.
fn listed(parts: &[String]) -> String {
    const MOST: usize = 4;
    let more = parts.len().saturating_sub(MOST);
    let more = if more > 0 { format!(", and {more} more differ") } else { String::new() };
    parts[..parts.len().min(MOST)].join(", ") + &more
}

/// The settings that the ranks of a team must have in common, and the data that they lead to. The
/// number of threads and the memory for photographs may differ.
pub(super) fn decisive(config: &TrainConfig, pairs: &Pairs) -> Result<Vec<(String, String)>> {
    let table: toml::Table = config
        .to_toml()?
        .parse()
        .map_err(|error: toml::de::Error| Error::Config { reason: error.to_string() })?;
    let mut settings = Vec::new();
    flatten("", &toml::Value::Table(table), &mut settings);
    settings.retain(|(name, _)| !["data.workers", "data.cache_mb"].contains(&name.as_str()));
    let names = |source: &dyn Source| {
        let names: Vec<String> = (0..source.len()).map(|index| source.name(index)).collect();
        file_list_fingerprint(&names)
    };
    settings.push(("the training set".into(), names(&*pairs.source)));
    let validation = pairs.validation.as_ref().map_or("none".into(), |pairs| names(pairs));
    settings.push(("the validation set".into(), validation));
    Ok(settings)
}

/// `section.key` and value of everything in `value`, which is called `name`.
fn flatten(name: &str, value: &toml::Value, settings: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{key}"), value, settings);
            }
        }
        value => settings.push((name.into(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_are_named() {
        let [there, here] = ["seed = 1\n[a]\nb = 2\nc = [1, 2]\n", "[a]\nb = 3\nc = [1, 2]\n"]
            .map(|text| text.parse::<toml::Table>().unwrap());
        assert_eq!(differences(here.clone(), here.clone()), [""; 0]);
        let found = differences(there, here);
        assert_eq!(found, ["a.b is 2 there, and 3 here", "seed is 1 there, and not set here"]);
        let many: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        assert_eq!(listed(&many), "0, 1, 2, 3, and 2 more differ");
        assert_eq!(listed(&many[..4]), "0, 1, 2, 3");
    }
}
