//! The folders of PyTorch's numbers, and the names of the files in them.

use crate::report::say;
use engine::{DType, Device, Tensor};
use irnext::model::Model;
use nn::weights::WeightFile;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Once;

/// Tensors by name, in order.
pub type Tensors = BTreeMap<String, Tensor>;

/// A folder of reference numbers.
pub struct Folder {
    /// What reports call it.
    pub name: &'static str,
    path: PathBuf,
}

/// The device that is tested: the CPU, or what `IRNEXT_DEVICE` names.
pub fn device() -> Device {
    std::env::var("IRNEXT_DEVICE").map_or(Device::Cpu, |name| name.parse().unwrap())
}

/// `tensor` on the device that is tested. GPUs hold floating-point numbers alone: counters stay
/// where they are.
pub fn on_device(tensor: Tensor) -> Tensor {
    match tensor.dtype() {
        DType::I64 | DType::U8 => tensor,
        _ => tensor.to_device(device()).unwrap(),
    }
}

/// The fixtures, and the whole folder if it is there.
pub fn folders() -> Vec<Folder> {
    // Where cargo says that it runs; a program that was taken elsewhere is told.
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    let fixtures = Folder { name: "fixtures", path: here.join("fixtures/reference") };
    let beside = || here.join("../../shared/reference");
    let path = std::env::var_os("IRNEXT_REFERENCE").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return vec![fixtures, Folder { name: "whole folder", path }];
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        say(&format!("parity: the whole folder is skipped: there is no {}", path.display()))
    });
    vec![fixtures]
}

impl Folder {
    /// The names, without `extension`, of the files that begin with `prefix`; sorted.
    pub fn stems(&self, prefix: &str, extension: &str) -> Vec<String> {
        let names = std::fs::read_dir(&self.path).unwrap().map(|file| file.unwrap().file_name());
        let mut stems: Vec<String> = names
            .filter_map(|name| {
                Some(name.to_str()?.strip_suffix(extension)?.strip_suffix('.')?.to_string())
            })
            .filter(|stem| stem.starts_with(prefix))
            .collect();
        stems.sort();
        stems
    }

    /// The tensors of `<stem>.safetensors`, on the device that is tested.
    pub fn tensors(&self, stem: &str) -> Tensors {
        let tensors =
            WeightFile::read(&self.file(stem, "safetensors")).unwrap().tensors.into_iter();
        tensors.map(|(name, tensor)| (name, on_device(tensor))).collect()
    }

    /// The contents of `<stem>.json`, if there is such a file.
    pub fn json(&self, stem: &str) -> Option<Value> {
        let path = self.file(stem, "json");
        path.exists().then(|| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    }

    /// The network that cases called `tag` are about: `w8_freshinit` has the weights
    /// `weights_w8_num_res*_freshinit`, `w32` has `official_num_res*`. Of several, those with
    /// `num_res` 2; of both formats, safetensors.
    pub fn model(&self, tag: &str) -> Model {
        let (width, rest) = tag.split_once('_').unwrap_or((tag, ""));
        // The number of blocks in the name of weights for `tag`.
        let blocks = |stem: &str| {
            let official = stem.strip_prefix("official_").filter(|_| width == "w32");
            let named = official
                .or_else(|| stem.strip_prefix("weights_")?.strip_prefix(width)?.strip_prefix('_'));
            let (blocks, end) = named?
                .strip_prefix("num_res")
                .map(|name| name.split_once('_').unwrap_or((name, "")))?;
            (end == rest || stem == format!("weights_{tag}"))
                .then(|| blocks.parse::<usize>().ok())?
        };
        let mut files = Vec::new();
        for extension in ["safetensors", "pkl"] {
            let stems = self.stems("", extension).into_iter();
            files.extend(
                stems.filter_map(|stem| Some((blocks(&stem)? != 2, self.file(&stem, extension)))),
            );
        }
        // Stable: safetensors stay before the other format.
        files.sort_by_key(|(other_depth, _)| *other_depth);
        let (_, path) = files
            .first()
            .unwrap_or_else(|| panic!("{}: no weights for {tag:?}", self.path.display()));
        let model = Model::read(path).unwrap_or_else(|error| panic!("{error}")).0;
        Model { params: model.params.to_device(device()).unwrap(), ..model }
    }

    fn file(&self, stem: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{stem}.{extension}"))
    }
}

/// How far PyTorch's own f32 run of each case is from its f64 run.
pub struct Distances(Value);

impl Distances {
    /// Those that `folder` has; without its file, those of the fixtures.
    pub fn of(folder: &Folder) -> Self {
        const FILE: &str = "torch_f32_vs_f64";
        Self(
            folder
                .json(FILE)
                .or_else(|| folders()[0].json(FILE))
                .expect("the fixtures have this file"),
        )
    }

    /// The distance called `kind` of `case`; of a case that is not there, the largest of any other.
    pub fn get(&self, case: &str, kind: &str) -> Option<f64> {
        // Of the worst parameters there are three, each with its name, the worst first.
        let number = |case: &Value| {
            case.get(kind)?.as_f64().or_else(|| case.get(kind)?.get(0)?.get(0)?.as_f64())
        };
        let all = self.0.as_object().expect("cases by name");
        all.get(case).and_then(number).or_else(|| all.values().filter_map(number).reduce(f64::max))
    }
}
