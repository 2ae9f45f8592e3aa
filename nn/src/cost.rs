//! What a layer costs: parameters and arithmetic, counted while a forward pass runs.

/// The cost of one use of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// The layer's dotted path.
    pub path: String,
    /// The kind of layer: `conv2d 3×3`, `gelu`, …
    pub kind: String,
    /// Shape of the output.
    pub output: Vec<usize>,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Multiply-adds, true: what the kernels have to compute.
    pub multiply_adds: u64,
}

impl Cost {
    /// A layer without parameters or multiply-adds.
    pub fn free(path: &str, kind: &str, output: &engine::Tensor) -> Self {
        Self {
            path: path.to_string(),
            kind: kind.to_string(),
            output: output.shape().to_vec(),
            parameters: 0,
            multiply_adds: 0,
        }
    }
}
