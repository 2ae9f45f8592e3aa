//! 3×3 convolutions of stride 1 by Winograd's minimal filtering, F(4×4, 3×3): a quarter of the
//! multiplications.
//!
//! Four outputs of a 3-tap filter are values of the product of two polynomials of degree 3 and 2,
//! which six points determine: evaluate both there, multiply the six values, interpolate. In two
//! dimensions (Lavin and Gray, 2016, "Fast Algorithms for Convolutional Neural Networks"), with d a
//! 6×6 tile of the input, g a kernel and Y the 4×4 tile of the output,
//!
//! Y = Aᵀ \[ (G g Gᵀ) ⊙ (Bᵀ d B) \] A.
//!
//! Where direct convolution multiplies 144 times for a tile, this does 36 times. Over channels, ⊙
//! is a sum of products, so that each of the 36 values of a transformed tile, taken from all tiles
//! (a *plane*), is one matrix product: tiles × input channels × output channels.
//!
//! * The points are 0, ±3/4, ±3/2 and ∞. The usual 0, ±1, ±2, ∞ have simpler constants and twice
//!   the rounding error; this is within 2·10⁻⁵ of the output's RMS, which the tests hold it to.
//! * Nothing of the size of the image is ever stored: a thread takes a *strip*, some tiles wide and
//!   high, and from it a *block* of tiles through all three steps while they are in its caches.
//! * Where the output's pixels fall into phases with kernels of their own, as in a transposed
//!   convolution of stride 2, the phases share the transformed input: they are convolutions of one
//!   map, whose outputs are stored apart.
//! * A plane is kept 64 bytes longer than it is, or the 36 stores of a transform would fall into
//!   the same few sets of the first cache.
//!
//! `transform.rs` has the small matrices, `weights.rs` G, `forward.rs` the convolution,
//! `gradient.rs` the gradient of the weights. The gradient of the input is the convolution with the
//! kernels turned by 180° and the channels exchanged. An infinite or NaN number makes NaN of all
//! the tiles that it is read by, where a direct convolution would keep it in a 3×3.

mod forward;
mod gradient;
mod strip;
mod transform;
mod weights;

#[cfg(test)]
mod tests;

pub(crate) use forward::convolve;
pub(crate) use gradient::weight_gradient;
pub(crate) use weights::WinogradWeights;

/// Outputs of a tile, along an axis.
const OUT: usize = 4;
/// Inputs of a tile, along an axis.
const IN: usize = 6;
/// Values of a transformed tile.
const PLANES: usize = IN * IN;
