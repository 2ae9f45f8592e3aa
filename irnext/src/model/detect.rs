//! Detects which network a state dict belongs to, from the names and shapes of its tensors.
//!
//! Everything is decided by majority, so that a single tensor that is missing or wrong does not
//! hide which network was meant. The error can then name that tensor.

use crate::model::config::{ModelConfig, Pooling, Variant};
use engine::Tensor;
use std::collections::{HashMap, HashSet};

/// The beginnings of the published names.
const ROOTS: [&str; 9] = [
    "Encoder.",
    "Decoder.",
    "feat_extract.",
    "Convs.",
    "ConvsOut.",
    "FAM1.",
    "FAM2.",
    "SCM1.",
    "SCM2.",
];

/// The six CNNBlocks, and their channels as multiples of the width.
const BLOCKS: [(&str, usize); 6] = [
    ("Encoder.0", 1),
    ("Encoder.1", 2),
    ("Encoder.2", 4),
    ("Decoder.0", 4),
    ("Decoder.1", 2),
    ("Decoder.2", 1),
];

/// Removes the prefix of the published names, if there is one, and returns it.
pub fn strip_prefix(tensors: &mut HashMap<String, Tensor>) -> String {
    let prefixes: Vec<&str> = tensors.keys().filter_map(|name| prefix(name)).collect();
    if prefixes.contains(&"") {
        return String::new();
    }
    let prefix = majority(prefixes.into_iter()).unwrap_or_default().to_string();
    let strip = |name: String| name.strip_prefix(&prefix).map(str::to_string).unwrap_or(name);
    *tensors = tensors.drain().map(|(name, tensor)| (strip(name), tensor)).collect();
    prefix
}

/// The prefix of a published name: nothing, or a path that ends in a dot.
fn prefix(name: &str) -> Option<&str> {
    let begins = |at: &usize| ROOTS.iter().any(|root| name[*at..].starts_with(root));
    let after_dots = name.match_indices('.').map(|(dot, _)| dot + 1).take(8);
    std::iter::once(0).chain(after_dots).find(begins).map(|at| &name[..at])
}

/// The configuration of the network, or an error if no tensor belongs to one.
pub(super) fn detect_config(tensors: &HashMap<String, Tensor>) -> Result<ModelConfig, String> {
    if !tensors.keys().any(|name| prefix(name) == Some("")) {
        let mut names: Vec<String> =
            tensors.keys().map(|name| nn::weights::printable(name)).collect();
        names.sort();
        names.truncate(4);
        return Err(format!(
            "none of its {} tensors ({}, …) has an IRNeXt name such as \
             feat_extract.0.main.0.weight",
            tensors.len(),
            names.join(", ")
        ));
    }
    let size =
        |name: &str, d: usize| tensors.get(name).and_then(|tensor| tensor.shape().get(d).copied());
    let has = |name: &str| tensors.contains_key(name);

    let default = ModelConfig::default();
    let stems =
        ["feat_extract.0.main.0.weight", "feat_extract.0.main.0.bias", "Convs.1.main.0.weight"];
    let blocks = BLOCKS.iter().filter_map(|(block, times)| {
        Some(size(&format!("{block}.layers.0.main.0.main.0.weight"), 0)? / times)
    });
    let width = majority(stems.iter().filter_map(|stem| size(stem, 0)).chain(blocks))
        .unwrap_or(default.width);

    // The last residual block, number n, is the one with modules; if there are none, the one with
    // the highest number.
    let modules: HashSet<(&str, usize, usize)> =
        tensors.keys().filter_map(|name| module(name)).collect();
    let highest = BLOCKS.iter().filter_map(|(block, _)| {
        tensors
            .keys()
            .filter_map(|name| layer(name))
            .filter(|layer| layer.0 == *block)
            .map(|layer| layer.1)
            .max()
    });
    let n = majority(modules.iter().map(|module| module.1))
        .or_else(|| majority(highest))
        .unwrap_or(default.n);
    let msm = majority(
        BLOCKS.iter().map(|(block, _)| modules.iter().filter(|module| module.0 == *block).count()),
    );
    let msm = msm.unwrap_or(default.msm);

    // The parts of the attention in every module and branch.
    let branch = |part: &str| {
        let at =
            |(block, times): &(&str, usize)| (format!("{block}.layers.{n}.main.1.{part}"), *times);
        BLOCKS.iter().map(at).collect::<Vec<_>>()
    };
    let most = |part: &str| branch(part).iter().filter(|(name, _)| has(name)).count() >= 3;
    let scores = (0..3)
        .flat_map(|i| branch(&format!("dynas.{i}.conv.weight")))
        .filter_map(|(name, _)| size(&name, 0));
    let scores = majority(scores.collect::<Vec<_>>().into_iter());
    let (kernel, groups) = scores
        .and_then(|scores| filters(scores, width))
        .unwrap_or((default.kernel, default.groups));
    Ok(ModelConfig {
        variant: if most("dynas.0.conv.bias") { Variant::Paper } else { Variant::Released },
        width,
        n,
        msm,
        lam: msm == 0 || scores.is_some(),
        modulation: scores.is_none() || most("dynas.0.inside_all") || most("dynas.0.weight"),
        pooling: if most("pools.0.0.weight") { Pooling::Learned } else { Pooling::Average },
        groups,
        kernel,
        ..default
    })
}

/// Side and number of the filters that have this many `scores`. A file has only their product, so
/// the side is the first plausible one, beginning with the published one.
fn filters(scores: usize, width: usize) -> Option<(usize, usize)> {
    let fits = |kernel: &usize| {
        let groups = scores / (kernel * kernel);
        scores.is_multiple_of(kernel * kernel) && groups > 0 && width.is_multiple_of(groups)
    };
    let kernel = [3, 5, 7, 9, 11, 13, 15, 1].into_iter().find(fits)?;
    Some((kernel, scores / (kernel * kernel)))
}

/// The CNNBlock and the number of the residual block of a tensor: `Encoder.0` and 3 for
/// `Encoder.0.layers.3.main…`.
fn layer(name: &str) -> Option<(&str, usize)> {
    let (block, rest) = name.split_once(".layers.")?;
    Some((block, rest.split_once('.')?.0.parse().ok()?))
}

/// The CNNBlock, the number of the residual block, and the number of the multi-scale module, for
/// the name of a module's last convolution.
fn module(name: &str) -> Option<(&str, usize, usize)> {
    let (block, layer) = layer(name)?;
    let (_, module) = name.strip_suffix(".conv_sum.weight")?.rsplit_once('.')?;
    Some((block, layer, module.parse().ok()?))
}

/// The most frequent value; the greatest of several.
fn majority<T: Clone + Eq + Ord + std::hash::Hash>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = HashMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0) += 1);
    counts
        .into_iter()
        .max_by(|(a, m), (b, n)| m.cmp(n).then_with(|| a.cmp(b)))
        .map(|(value, _)| value)
}
