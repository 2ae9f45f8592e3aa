//! The contents of a weight file: the types that every format is read into and written from.

use engine::Tensor;
use std::collections::HashMap;

/// The weights of a model, as files hold them.
#[derive(Debug, Default)]
pub struct WeightFile {
    /// Named tensors, off any tape.
    pub tensors: HashMap<String, Tensor>,
    /// The metadata: that of safetensors, or the numbers and texts beside the state dict in a
    /// PyTorch file.
    pub metadata: HashMap<String, String>,
    /// Whether the file had a checksum of all this, and it was right. Files written here have one.
    pub verified: bool,
}

/// The contents of a weight file, listed without using any of it.
#[derive(Debug, Default)]
pub struct Contents {
    /// The file's format.
    pub format: &'static str,
    /// The keys that lead to the state dict in a PyTorch file.
    pub path: Vec<String>,
    /// The tensors of the state dict, in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// The other entries, each with a description: metadata, an epoch, an optimizer's state.
    pub beside: Vec<(String, String)>,
    /// The imports that weights do not need, with the arguments of their calls. None of them was
    /// called.
    pub refused: Vec<String>,
}

/// The description of a tensor in a file.
#[derive(Debug)]
pub struct TensorInfo {
    /// Its key.
    pub name: String,
    /// Its element type in the file: `f32`, `bf16`, `i32`, ….
    pub dtype: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// The device on which PyTorch had it: `cpu`, `cuda:0`.
    pub device: Option<String>,
}
