//! Values from the command line that replace those in a configuration's text.

use super::renamed::renamed;
use toml::{Table, Value};

/// Settings that exclude each other: setting one removes the others.
const EITHER: [&[&[&str]]; 2] = [
    &[&["optimizer.steps"], &["optimizer.epochs"]],
    &[&["data.folder"], &["data.clean"], &["data.input", "data.target"]],
];

/// Changes, in their order.
pub(super) struct Overrides(Vec<(String, Value)>);

impl Overrides {
    /// From texts of the form `section.key=value`, the value in TOML (a bare word is a string).
    pub(super) fn parse(texts: &[String]) -> Result<Self, String> {
        let one = |text: &String| {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| format!("override {text:?} is not key=value"))?;
            Ok((renamed(key.trim()), parse_value(value.trim())))
        };
        texts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Applies them to `table`, and removes the settings that they replace.
    pub(super) fn apply(self, table: &mut Table) -> Result<(), String> {
        for (key, value) in self.0 {
            for other in EITHER.iter().flat_map(|choice| others(choice, &key)) {
                remove(table, other);
            }
            set(table, &key, value).ok_or_else(|| {
                format!("override of {key:?}: a parent of the key is not a section")
            })?;
        }
        Ok(())
    }
}

/// The settings that `key` replaces.
fn others<'a>(choice: &'a [&'a [&'a str]], key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let chosen = choice.iter().position(|keys| keys.contains(&key));
    let instead =
        choice.iter().enumerate().filter(move |(i, _)| chosen.is_some_and(|chosen| chosen != *i));
    instead.flat_map(|(_, keys)| keys.iter().copied())
}

fn remove(table: &mut Table, key: &str) {
    match key.split_once('.') {
        None => {
            table.remove(key);
        }
        Some((section, rest)) => {
            if let Some(section) = table.get_mut(section).and_then(Value::as_table_mut) {
                remove(section, rest);
            }
        }
    }
}

/// Sets `value` at a dotted key, creating sections on the way; `None` if something else
/// takes the place of a section.
fn set(table: &mut Table, key: &str, value: Value) -> Option<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.into(), value);
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Table::new().into());
            set(section.as_table_mut()?, rest, value)?;
        }
    }
    Some(())
}

/// The value as TOML; anything else counts as a string, so that paths need no quotes.
fn parse_value(text: &str) -> Value {
    let table: Result<Table, _> = format!("value = {text}").parse();
    table.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, overrides: &[&str]) -> Table {
        let mut table: Table = text.parse().unwrap();
        let overrides: Vec<String> = overrides.iter().map(|change| change.to_string()).collect();
        Overrides::parse(&overrides).unwrap().apply(&mut table).unwrap();
        table
    }

    #[test]
    fn a_choice_takes_the_place_of_the_other() {
        let text = "[data]\ninput = \"a\"\ntarget = \"b\"\ncrop = 64\n[optimizer]\nepochs = 3\n";
        let steps = changed(text, &["optimizer.steps=7"]);
        assert_eq!(steps["optimizer"], "steps = 7".parse::<Table>().unwrap().into());
        let folder = changed(text, &["data.folder=set"]);
        assert_eq!(folder["data"], "folder = \"set\"\ncrop = 64".parse::<Table>().unwrap().into());
        let one_side = changed(text, &["data.input=c"]);
        assert_eq!(
            one_side["data"],
            "input = \"c\"\ntarget = \"b\"\ncrop = 64".parse::<Table>().unwrap().into()
        );
        assert_eq!(
            changed(text, &["optimizer.steps=7", "optimizer.epochs=9"])["optimizer"]["epochs"],
            9.into()
        );
    }

    #[test]
    fn values_are_toml_and_bare_words_strings() {
        let table = changed("", &["a=[1, 2]", "b.c = 1e-4", "d=some/path", "e=\"7\""]);
        assert_eq!(table["a"], vec![Value::from(1), Value::from(2)].into());
        assert_eq!(table["b"]["c"], 1e-4.into());
        assert_eq!((table["d"].as_str(), table["e"].as_str()), (Some("some/path"), Some("7")));
    }
}
