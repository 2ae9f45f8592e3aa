//! Recipes: a built-in training configuration for each model of the paper's tables.
//!
//! Recipes are the files in `irnext/recipes`. Each value is marked with its source: the paper, the
//! authors' published code, or ours. `irnext recipes` lists them, `irnext recipes NAME` prints one
//! for you to change, `irnext train --recipe NAME` runs it.

use crate::error::{Error, Result};
use crate::train::TrainConfig;

/// A recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Its name, which is also that of its file.
    pub name: &'static str,
    /// The contents of its file.
    pub text: &'static str,
}

macro_rules! recipes {
    ($($name:literal)*) => {
        [$(Recipe { name: $name, text: include_str!(concat!("../../recipes/", $name, ".toml")) }),*]
    };
}

/// All recipes, in the order of the paper's tables.
pub const RECIPES: [Recipe; 36] = recipes!(
    "dpdd"
    "reside-indoor" "reside-outdoor" "dense-haze" "nh-haze"
    "rain"
    "csd" "srrs" "snow100k"
    "rsblur" "gopro"
    "ablation-full" "ablation-baseline" "ablation-msm-conv" "ablation-no-modulation"
    "ablation-branches-2" "ablation-branches-4-2" "ablation-branches-8-4"
    "ablation-pooling-learned" "ablation-pooling-max"
    "ablation-softmax" "ablation-sigmoid"
    "ablation-groups-2" "ablation-groups-4" "ablation-groups-16" "ablation-msm-2"
    "ablation-indoor-msm-0" "ablation-indoor-msm-1" "ablation-indoor-msm-2"
    "ablation-gopro-n11" "ablation-gopro-n15"
    "tiny-dehaze" "tiny-derain" "tiny-desnow" "tiny-deblur-motion" "tiny-deblur-defocus"
);

impl Recipe {
    /// The recipe of this name.
    pub fn find(name: &str) -> Result<Self> {
        RECIPES.into_iter().find(|recipe| recipe.name == name).ok_or_else(|| {
            let names: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
            Error::Config {
                reason: format!("unknown recipe {name:?}; the recipes are {}", names.join(", ")),
            }
        })
    }

    /// Its purpose, in a line.
    pub fn title(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
    }

    /// The configuration of the run, with `overrides` of some settings; see [`TrainConfig::read`].
    pub fn config(&self, overrides: &[String]) -> Result<TrainConfig> {
        TrainConfig::parse(&format!("recipe {}", self.name), self.text, overrides)
    }
}

#[cfg(test)]
mod tests;
