//! Settings that have been renamed: files and commands with the earlier names keep working.

use toml::{Table, Value};

/// Sections and keys by their earlier names and those that they have now.
const SECTIONS: [(&str, &str); 1] = [("optimiser", "optimizer")];
const KEYS: [(&str, &str, &str); 1] = [("data", "straight", "linear_motion")];

/// The present name of the setting `section.key`.
pub(super) fn renamed(key: &str) -> String {
    let (section, rest) = key.split_once('.').map_or((key, None), |(s, rest)| (s, Some(rest)));
    let of = SECTIONS.iter().find(|(earlier, _)| *earlier == section);
    let section = of.map_or(section, |(_, now)| now);
    let Some(rest) = rest else { return section.into() };
    let of = KEYS.iter().find(|(of, earlier, _)| *of == section && *earlier == rest);
    format!("{section}.{}", of.map_or(rest, |(.., now)| now))
}

/// Gives every setting in `table` its present name. A setting under both names is left for the
/// reader of the table to report.
pub(super) fn rename_earlier_keys(table: &mut Table) {
    for (earlier, now) in SECTIONS {
        rename(table, earlier, now);
    }
    for (section, earlier, now) in KEYS {
        if let Some(section) = table.get_mut(section).and_then(Value::as_table_mut) {
            rename(section, earlier, now);
        }
    }
}

fn rename(table: &mut Table, earlier: &str, now: &str) {
    if !table.contains_key(now)
        && let Some(value) = table.remove(earlier)
    {
        table.insert(now.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_names_become_those_of_now() {
        let mut table: Table =
            "[optimiser]\nsteps = 3\n[data]\nstraight = [1, 2]\n".parse().unwrap();
        rename_earlier_keys(&mut table);
        assert_eq!(table["optimizer"]["steps"], 3.into());
        assert!(table["data"].get("linear_motion").is_some() && table.len() == 2);
        let names = ["optimiser.steps", "optimiser", "data.straight", "data.crop", "seed"];
        let now = ["optimizer.steps", "optimizer", "data.linear_motion", "data.crop", "seed"];
        assert_eq!(names.map(renamed), now.map(String::from));
    }
}
