//! What a weight file holds: the types that every format is read into and written from.

use engine::Tensor;
use std::collections::HashMap;

/// A model's weights, as files hold them.
#[derive(Debug, Default)]
pub struct WeightFile {
    /// Named tensors, off any tape.
    pub tensors: HashMap<String, Tensor>,
    /// What the file says besides: safetensors' metadata; in a file of PyTorch's the numbers and
    /// texts beside the state dict.
    pub metadata: HashMap<String, String>,
    /// Whether the file carried a checksum of all this, which was right. Files that are written
    /// carry one.
    pub verified: bool,
}

/// What a weight file holds, found without using any of it.
#[derive(Debug, Default)]
pub struct Contents {
    /// The file's format.
    pub format: &'static str,
    /// The keys under which a file of PyTorch's has its state dict.
    pub path: Vec<String>,
    /// The tensors of the state dict, in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// What else there is, and what it is: metadata, an epoch, an optimizer's state.
    pub beside: Vec<(String, String)>,
    /// What the file imports that weights do not need, with what it would be called with. Nothing
    /// of it was called.
    pub refused: Vec<String>,
}

/// What a file says of a tensor.
#[derive(Debug)]
pub struct TensorInfo {
    /// Its key.
    pub name: String,
    /// Its element type in the file: `f32`, `bf16`, `i32`, ….
    pub dtype: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Where PyTorch had it: `cpu`, `cuda:0`.
    pub device: Option<String>,
}
