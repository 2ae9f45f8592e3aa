//! `irnext recipes`: lists the built-in training configurations.

use super::output::say;
use crate::error::Result;
use crate::recipes::{RECIPES, Recipe};
use clap::builder::PossibleValuesParser;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext recipes
      List the recipes
  irnext recipes gopro > mine.toml
      Save one, to change it and train with it")]
pub(super) struct Arguments {
    /// Recipe to print as TOML, to save and change [default: list all recipes]
    #[arg(value_name = "NAME", value_parser = names(), hide_possible_values = true)]
    name: Option<String>,
}

/// A parser of recipe names, which suggests a similar name for an unknown one.
pub(super) fn names() -> PossibleValuesParser {
    RECIPES.map(|recipe| recipe.name).into()
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.name {
        say!("{}", Recipe::find(name)?.text.trim_end());
        return Ok(());
    }
    let widest = RECIPES.iter().map(|recipe| recipe.name.len()).max().unwrap_or(0);
    for recipe in RECIPES {
        say!("{:widest$}  {}", recipe.name, recipe.title());
    }
    Ok(())
}
