//! The operations, a folder each.
//!
//! The folder of an operation holds everything about it: its shape rule, forward and backward, its
//! samples for the checks, and its tests. To the outside it is a method of [`Tensor`];
//! inside it implements [`Op`], and [`apply`] does for every operation what is the same for all:
//! check, run, and record if a gradient will be asked for.
//!
//! To read one, take [`conv2d`]: `Tensor::conv2d` calls `apply`, which calls `infer`, `forward`
//! and, when the tape is played back, `backward`.
//!
//! To add one: a folder, and a line in `ops!` below. The checks find it through `samples::INFO`.

use crate::Meta;
use crate::interrupt;
use crate::profile::{Call, time};
use crate::tape::Node;
use crate::{Error, Result, Tensor};

/// Declares the operations and lists their samples; an operation without samples does not compile.
macro_rules! ops {
    ($($(#[$doc:meta])* $op:ident),* $(,)?) => {
        $($(#[$doc])* pub mod $op;)*

        /// Every operation with its samples, in reading order.
        #[cfg(any(test, feature = "checks"))]
        pub const OPS: &[crate::checks::OpInfo] = &[$($op::samples::INFO),*];
    };
}

// What several operations share.
mod gpu;
mod map;
mod normalize;
mod separable;

pub(crate) use map::map;

ops! {
    /// Addition, subtraction, multiplication and division, with broadcasting.
    arith,
    /// Functions of one number: exp, log, sqrt, square, abs, tanh, sigmoid, relu, clamp.
    unary,
    /// The exact GELU.
    gelu,
    /// Softmax over a dimension.
    softmax,
    /// Sums, means and maxima over dimensions.
    reduce,
    /// Matrix products.
    matmul,
    /// Reshape, permute, broadcast.
    view,
    /// Slices along a dimension.
    slice,
    /// Concatenation along a dimension.
    concat,
    /// Zero and reflection padding.
    pad,
    /// Casts between dtypes.
    cast,
    /// Convolution.
    conv2d,
    /// Transposed convolution.
    conv_transpose2d,
    /// Average and max pooling.
    pool,
    /// Bilinear and nearest-neighbour resizing.
    resize,
    /// Batch normalisation, by the batch's statistics or given ones.
    batch_norm,
    /// Instance normalisation.
    instance_norm,
    /// Filters whose taps are computed, per image and group of channels.
    dynamic_filter,
    /// The Fourier transform of maps.
    rfft2,
    /// The L1 distance of spectra, a loss.
    frequency_l1,
}

/// A differentiable operation.
pub trait Op: Send + Sync + Sized + 'static {
    /// The name in errors, tapes and profiles.
    const NAME: &'static str;

    /// What `backward` will need: inputs, the output, or something small that `forward` knows.
    /// Keeping nothing that no gradient asks for is what `need` is for.
    type Saved: Saved;

    /// The shape and dtype rule: what comes out for these inputs, or why they do not fit. Computes
    /// nothing.
    fn infer(&self, inputs: &[Meta]) -> Result<Meta>;

    /// The value, and what `backward` needs of it. `inputs` have passed `infer` and are off the
    /// tape; `out` is what `infer` returned for them. `need[i]` says whether the gradient of input
    /// `i` will be asked for.
    fn forward(
        &self,
        inputs: &[&Tensor],
        out: &Meta,
        need: &[bool],
    ) -> Result<(Tensor, Self::Saved)>;

    /// The gradient of each input, given `dy`, that of the output; `None` where `need[i]` is false.
    /// Returns gradients and never adds them: the tape does. For an input that was broadcast, a
    /// gradient in the output's shape will do: the tape sums it.
    fn backward(
        &self,
        saved: Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>>;

    /// What profiles count as the cost of `forward`: two floating-point operations for each
    /// multiply-add that the definition asks for, borders included, whatever the kernel saves or
    /// wastes. Only products are counted: of the first two inputs, the gradient of either being as
    /// many again (a bias, the third, is next to nothing). 0 leaves an operation out.
    fn flops(&self, _inputs: &[Meta], _output: &Meta) -> u64 {
        0
    }
}

/// Runs `op`: checks the inputs, computes, and records it if an input is on a tape. A profile is
/// told of both passes.
pub fn apply<O: Op>(op: O, inputs: &[&Tensor]) -> Result<Tensor> {
    let metas: Vec<Meta> = inputs.iter().map(|input| input.meta()).collect();
    let expected = op.infer(&metas)?;
    one_device(O::NAME, inputs)?;
    interrupt::check(O::NAME)?;
    let detached: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let need: Vec<bool> = inputs.iter().map(|input| input.node().is_some()).collect();
    let call = || Call::new(O::NAME, &metas, &expected, || op.flops(&metas, &expected));
    let operands: Vec<&Tensor> = detached.iter().collect();
    let (output, saved) = time(call(), || op.forward(&operands, &expected, &need))?;
    debug_assert_eq!(output.meta(), expected, "{}: forward and infer disagree", O::NAME);
    let Some(tape) = Node::tape_of(inputs) else {
        return Ok(output);
    };
    let (kept, call) = (saved.bytes(), call().map(|call| call.backward(&need)));
    let backward = move |dy: Vec<Option<Tensor>>| match dy.into_iter().next().flatten() {
        Some(dy) => time(call, || op.backward(saved, &dy, &need)),
        None => Ok(vec![None; need.len()]),
    };
    let outputs = tape.record(O::NAME, inputs, vec![output], kept, Box::new(backward))?;
    Ok(outputs.into_iter().next().expect("one output was recorded"))
}

/// An error if the inputs are not all on one device.
fn one_device(op: &'static str, inputs: &[&Tensor]) -> Result<()> {
    let Some(first) = inputs.first().map(|input| input.device()) else { return Ok(()) };
    match inputs.iter().find(|input| input.device() != first) {
        Some(other) => {
            Err(Error::cuda(op, format!("operands are on {first} and on {}", other.device())))
        }
        None => Ok(()),
    }
}

/// As [`apply`] with `onto` as input number `place`, for an operation whose result has that input's
/// shape and can be made in its memory: by `in_place`, where nothing is recorded and nobody else
/// holds `onto`.
pub(crate) fn apply_onto<O: Op>(
    op: O,
    others: &[&Tensor],
    place: usize,
    mut onto: Tensor,
    in_place: impl FnOnce(&O, &mut Tensor) -> Result<()>,
) -> Result<Tensor> {
    let (before, after) = others.split_at(place);
    let inputs: Vec<&Tensor> =
        before.iter().copied().chain([&onto]).chain(after.iter().copied()).collect();
    if Node::tape_of(&inputs).is_some() || !onto.is_exclusive() {
        return apply(op, &inputs);
    }
    let metas: Vec<Meta> = inputs.iter().map(|input| input.meta()).collect();
    let expected = op.infer(&metas)?;
    one_device(O::NAME, &inputs)?;
    interrupt::check(O::NAME)?;
    debug_assert_eq!(expected, onto.meta(), "{}: the result does not fit into its input", O::NAME);
    time(Call::new(O::NAME, &metas, &expected, || op.flops(&metas, &expected)), || {
        in_place(&op, &mut onto)
    })?;
    Ok(onto)
}

/// What an operation keeps for its backward pass.
pub trait Saved: Send + 'static {
    /// Bytes it keeps alive.
    fn bytes(&self) -> usize;
}

impl Saved for () {
    fn bytes(&self) -> usize {
        0
    }
}

impl Saved for Tensor {
    fn bytes(&self) -> usize {
        self.meta().bytes()
    }
}

impl<S: Saved> Saved for Option<S> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, S::bytes)
    }
}

impl<S: Saved> Saved for Vec<S> {
    fn bytes(&self) -> usize {
        self.iter().map(S::bytes).sum()
    }
}

impl<A: Saved, B: Saved> Saved for (A, B) {
    fn bytes(&self) -> usize {
        self.0.bytes() + self.1.bytes()
    }
}

impl<A: Saved, B: Saved, C: Saved> Saved for (A, B, C) {
    fn bytes(&self) -> usize {
        self.0.bytes() + self.1.bytes() + self.2.bytes()
    }
}

/// `tensor`, if its value is needed for a gradient that will be asked for.
pub(crate) fn keep(wanted: bool, tensor: &Tensor) -> Option<Tensor> {
    wanted.then(|| tensor.detach())
}
