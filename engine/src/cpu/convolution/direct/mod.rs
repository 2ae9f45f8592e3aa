//! The direct convolution: forward, input gradient, transposed, and the gradient of the weights.
//!
//! All of them are one loop nest, a *correlation*: an output pixel is a sum over taps, and a tap is
//! an offset into the input together with a matrix from input to output channels. A [`Stencil`]
//! lists the taps.
//!
//! * conv2d with stride s: pixel (r, c) reads (s·r + k·dilation − padding, …), one tap for each
//!   kernel element.
//! * Its input gradient, which is also the transposed convolution: output pixels fall into s×s
//!   phases by their remainder mod s. Within a phase, the kernel elements that reach it are the
//!   same for every pixel, so each phase is a stride-1 correlation with a part of the taps, written
//!   to every s-th pixel.
//!
//! A thread takes a band of output rows and copies the input rows that it reads into a strip with a
//! border of zeros, which stays in its L2 cache; the loops that read the strip need no tests for
//! borders. The inner loop computes a tile of some pixels × a block of output channels, all sums in
//! registers: per input channel it loads a block of weights, and each pixel's value once. Sums run
//! over taps and channels in a fixed order.

mod forward;
mod gradient;
mod stencil;
mod strip;

pub(crate) use forward::{DirectWeights, correlate};
pub(crate) use gradient::weight_gradient;
pub(crate) use stencil::{Geometry, Phase, Stencil};
