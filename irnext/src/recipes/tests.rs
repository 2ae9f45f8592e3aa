use super::*;
use crate::model::{Model, ModelConfig};
use crate::protocol::sets::SETS;
use engine::DType;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A value as a recipe's line has it, and where it says that it is from.
struct SettingLine {
    value: &'static str,
    mark: &'static str,
}

/// The lines with values, by dotted keys.
fn lines(recipe: &Recipe) -> BTreeMap<String, SettingLine> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in recipe.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            continue;
        }
        let (key, rest) =
            line.split_once(" = ").unwrap_or_else(|| panic!("{}: {line}", recipe.name));
        let (value, mark) =
            rest.split_once('#').unwrap_or_else(|| panic!("{}: no mark: {line}", recipe.name));
        found.insert(
            format!("{section}{key}"),
            SettingLine { value: value.trim(), mark: mark.trim() },
        );
    }
    found
}

fn config(name: &str) -> TrainConfig {
    Recipe::find(name).unwrap().config(&[]).unwrap()
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes"))
}

#[test]
fn the_names_are_those_of_the_files() {
    let names: BTreeSet<String> =
        RECIPES.iter().map(|recipe| format!("{}.toml", recipe.name)).collect();
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names, files.collect());
    assert_eq!(names.len(), RECIPES.len());
    for recipe in RECIPES {
        assert_eq!(
            recipe.text,
            fs::read_to_string(folder().join(format!("{}.toml", recipe.name))).unwrap()
        );
        assert!(recipe.title().ends_with('.') && recipe.title().len() < 110, "{}", recipe.title());
    }
    assert!(Recipe::find("gopo").unwrap_err().to_string().contains("gopro, "));
}

/// A key that a recipe leaves out would change with the program's defaults.
#[test]
fn no_value_is_left_to_a_default() {
    fn keys(prefix: &str, table: &toml::Table, into: &mut BTreeSet<String>) {
        for (key, value) in table {
            match value {
                toml::Value::Table(section) => keys(&format!("{prefix}{key}."), section, into),
                _ => {
                    into.insert(format!("{prefix}{key}"));
                }
            }
        }
    }
    for recipe in RECIPES {
        let [mut written, mut shown] = [BTreeSet::new(), BTreeSet::new()];
        keys("", &recipe.text.parse().unwrap(), &mut written);
        keys("", &config(recipe.name).to_toml().unwrap().parse().unwrap(), &mut shown);
        assert_eq!(written, shown, "{}", recipe.name);
        assert_eq!(written, lines(&recipe).into_keys().collect(), "{}", recipe.name);
    }
}

#[test]
fn every_value_says_where_it_is_from() {
    for recipe in RECIPES {
        for (key, SettingLine { mark, .. }) in lines(&recipe) {
            let known = ["paper: ", "code: ", "ours"].iter().any(|origin| mark.starts_with(origin));
            assert!(known, "{}: {key}: {mark:?}", recipe.name);
        }
        assert_eq!(config(recipe.name).out, Path::new("runs").join(recipe.name));
    }
}

const INDOOR: [&str; 4] =
    ["reside-indoor", "ablation-indoor-msm-0", "ablation-indoor-msm-1", "ablation-indoor-msm-2"];
const REAL_HAZE: [&str; 2] = ["dense-haze", "nh-haze"];
const SNOW: [&str; 3] = ["csd", "srrs", "snow100k"];
/// What an ablation changes in the network: key, value, and the table that says so.
type Change = (&'static str, &'static str, &'static str);
/// Ablations with n = 7, and the change in each.
const ABLATIONS: [(&str, Option<Change>); 15] = [
    ("ablation-full", None),
    ("ablation-baseline", Some(("msm", "0", "Table 7"))),
    ("ablation-msm-conv", Some(("lam", "false", "Table 7"))),
    ("ablation-no-modulation", Some(("modulation", "false", "Table 7"))),
    ("ablation-branches-2", Some(("branches", "[2]", "Table 8"))),
    ("ablation-branches-4-2", Some(("branches", "[4, 2]", "Table 8"))),
    ("ablation-branches-8-4", Some(("branches", "[8, 4]", "Table 8"))),
    ("ablation-pooling-learned", Some(("pooling", "\"learned\"", "Table 9"))),
    ("ablation-pooling-max", Some(("pooling", "\"max\"", "Table 9"))),
    ("ablation-softmax", Some(("activation", "\"softmax\"", "Table 10"))),
    ("ablation-sigmoid", Some(("activation", "\"sigmoid\"", "Table 10"))),
    ("ablation-groups-2", Some(("groups", "2", "Table 11"))),
    ("ablation-groups-4", Some(("groups", "4", "Table 11"))),
    ("ablation-groups-16", Some(("groups", "16", "Table 11"))),
    ("ablation-msm-2", Some(("msm", "2", "Table 11"))),
];

/// The paper's settings for a recipe: key, value, section.
fn stated(name: &str) -> BTreeMap<String, (String, String)> {
    let mut all = BTreeMap::new();
    let mut state = |key: &str, value: &str, section: &str| {
        all.insert(key.to_string(), (value.to_string(), section.to_string()));
    };
    // Tiny networks are ours, but for their parts.
    for (key, value, section) in [
        ("data.flip", "true", "4"),
        ("optimizer.rule", "\"adam\"", "4"),
        ("model.msm", "1", "3.1"),
        ("model.branches", "[8, 4, 2]", "3.2"),
        ("model.pooling", "\"average\"", "3.2"),
        ("model.lam", "true", "3.3"),
        ("model.modulation", "true", "3.3"),
        ("model.activation", "\"tanh\"", "3.3"),
        ("model.groups", "8", "4"),
        ("model.kernel", "3", "4"),
    ] {
        state(key, value, section);
    }
    if name.starts_with("tiny") {
        return all;
    }
    state("optimizer.learning_rate", if REAL_HAZE.contains(&name) { "2e-4" } else { "1e-4" }, "4");
    state("optimizer.last_learning_rate", "1e-6", "4");
    state("loss.lambda", "0.1", "3.4");
    let set = match name {
        _ if INDOOR.contains(&name) => "reside-indoor",
        _ if name.starts_with("ablation") => "gopro",
        _ => name,
    };
    let (task, n, epochs, section) = match set {
        "dpdd" => ("deblur-defocus", "15", None, "A"),
        "reside-indoor" => ("dehaze", "3", Some("300"), "Table 14"),
        "reside-outdoor" => ("dehaze", "3", Some("30"), "Table 14"),
        "dense-haze" | "nh-haze" => ("dehaze", "3", Some("5000"), "Table 14"),
        "rain" => ("derain", "15", Some("300"), "A"),
        "csd" | "srrs" | "snow100k" => ("desnow", "3", Some("800"), "Table 14"),
        "gopro" => ("deblur-motion", "13", Some("3000"), "A"),
        "rsblur" => ("deblur-motion", "15", Some("710"), "A"),
        other => panic!("no set {other}"),
    };
    state("task", &format!("{task:?}"), "4");
    state("data.set", &format!("{set:?}"), section);
    state("model.n", n, "4");
    if let Some(epochs) = epochs {
        state("optimizer.epochs", epochs, "A");
    }
    match set {
        "reside-indoor" => state("optimizer.batch", "4", "A"),
        "reside-outdoor" => state("optimizer.batch", "8", "A"),
        "dense-haze" | "nh-haze" => {
            state("optimizer.batch", "2", "A");
            state("optimizer.learning_rate", "2e-4", "A");
        }
        _ => (),
    }
    if let Some((_, change)) = ABLATIONS.iter().find(|(ablation, _)| *ablation == name) {
        state("model.n", "7", "5");
        state("optimizer.epochs", "1000", "5");
        if let Some((key, value, table)) = change {
            state(&format!("model.{key}"), value, table);
        }
    }
    if let Some(msm) = name.strip_prefix("ablation-indoor-msm-") {
        state("model.n", "0", "B");
        state("model.msm", msm, "Table 12");
    }
    if let Some(n) = name.strip_prefix("ablation-gopro-n") {
        state("model.n", n, "B, Table 13");
    }
    all
}

/// Both ways: the stated settings are in the recipe, and nothing else is marked as stated.
#[test]
fn the_papers_values_are_in_the_recipes() {
    for recipe in RECIPES {
        let marked = lines(&recipe).into_iter().filter_map(|(key, SettingLine { value, mark })| {
            // A section may be followed by a remark.
            let section = mark.strip_prefix("paper: ")?;
            let section = section.trim_end_matches(", horizontal");
            Some((key, (value.to_string(), section.to_string())))
        });
        assert_eq!(marked.collect::<BTreeMap<_, _>>(), stated(recipe.name), "{}", recipe.name);
    }
}

#[test]
fn ablations_change_what_they_say_and_nothing_else() {
    // What two recipes differ in.
    let differences = |a: &str, b: &str| -> BTreeSet<String> {
        let [a, b] = [a, b].map(|name| lines(&Recipe::find(name).unwrap()));
        let different = a
            .iter()
            .filter(|(key, line)| b.get(*key).is_none_or(|other| other.value != line.value));
        different.map(|(key, _)| key.clone()).filter(|key| key != "out").collect()
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(differences("ablation-full", "gopro"), keys(&["model.n", "optimizer.epochs"]));
    for (name, change) in ABLATIONS {
        let changed = change.map(|(key, _, _)| format!("model.{key}"));
        assert_eq!(differences(name, "ablation-full"), changed.into_iter().collect(), "{name}");
    }
    assert_eq!(differences("ablation-indoor-msm-1", "reside-indoor"), keys(&["model.n"]));
    for name in ["ablation-indoor-msm-0", "ablation-indoor-msm-2"] {
        assert_eq!(differences(name, "ablation-indoor-msm-1"), keys(&["model.msm"]));
    }
    for name in ["ablation-gopro-n11", "ablation-gopro-n15"] {
        assert_eq!(differences(name, "gopro"), keys(&["model.n"]));
    }
    for name in SNOW {
        assert_eq!(
            differences(name, "csd").len(),
            if name == "csd" { 0 } else { 2 },
            "folder and set"
        );
    }
}

/// Parameters as the paper's tables count them, in millions.
#[test]
fn the_networks_have_the_size_in_the_tables() {
    for (name, published) in [
        ("gopro", "13.21"),
        ("reside-outdoor", "5.46"),
        ("ablation-gopro-n11", "11.66"),
        ("ablation-gopro-n15", "14.76"),
        ("ablation-baseline", "6.90"),
        ("ablation-msm-conv", "8.45"),
        ("ablation-no-modulation", "8.55"),
        ("ablation-full", "8.56"),
        ("ablation-branches-2", "7.71"),
        ("ablation-branches-4-2", "8.13"),
        ("ablation-branches-8-4", "8.13"),
        ("ablation-pooling-learned", "8.58"),
        ("ablation-groups-2", "8.48"),
        ("ablation-groups-4", "8.51"),
        ("ablation-groups-16", "8.65"),
        ("ablation-msm-2", "10.21"),
    ] {
        let model = Model::new(&config(name).model, 0, DType::F32).unwrap();
        assert_eq!(format!("{:.2}", model.params.count() as f64 / 1e6), published, "{name}");
    }
    for name in ["tiny-dehaze", "tiny-derain"] {
        assert_eq!(config(name).model, ModelConfig::preset(crate::model::Preset::Tiny));
    }
}

#[test]
fn every_data_set_of_the_paper_is_trained_for_and_scored_its_way() {
    let mut trained = BTreeSet::new();
    for recipe in RECIPES.iter().filter(|recipe| !recipe.name.starts_with("tiny")) {
        let config = config(recipe.name);
        let set = config.data.set.unwrap();
        assert_eq!(config.validation.protocol, set.protocol(), "{}", recipe.name);
        trained.extend(set.sets().map(|set| set.name));
    }
    assert_eq!(trained, SETS.iter().map(|set| set.name).collect());
}

/// The book's table: each value with the first letter of its origin.
#[test]
fn the_book_has_the_values_of_the_recipes() {
    let book = fs::read_to_string(folder().join("../../docs/src/recipes.md")).unwrap();
    for recipe in RECIPES.iter().filter(|recipe| !recipe.name.starts_with("ablation")) {
        let lines = lines(recipe);
        let length = if lines.contains_key("optimizer.steps") { "steps" } else { "epochs" };
        let keys = ["model.n", "data.crop", "optimizer.batch", &format!("optimizer.{length}")];
        let keys = keys.into_iter().chain([
            "optimizer.learning_rate",
            "optimizer.warmup",
            "optimizer.clip",
        ]);
        let cells = keys.map(|key| format!("{} {}", lines[key].value, &lines[key].mark[..1]));
        let protocol = lines["validation.protocol"].value.trim_matches('"');
        let row = format!(
            "| `{}` | {} | {protocol} |",
            recipe.name,
            cells.collect::<Vec<_>>().join(" | ")
        );
        assert!(book.contains(&row), "docs/src/recipes.md lacks:\n{row}");
    }
    for recipe in RECIPES {
        assert!(
            book.contains(&format!("`{}`", recipe.name)),
            "docs/src/recipes.md does not name {}",
            recipe.name
        );
    }
}
