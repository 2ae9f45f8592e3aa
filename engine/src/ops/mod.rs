//! The operations, a folder each.
//!
//! The folder of an operation holds everything about it: its shape rule, forward and backward, its
//! samples for the checks, and its tests. To the outside it is a method of [`Tensor`];
//! inside it implements [`Op`]. [`apply`] does the common work: it checks the inputs, runs the
//! operation, and records it if an input is on a tape.
//!
//! To read one, take [`conv2d`]: `Tensor::conv2d` calls `apply`, which calls `infer`, `forward`
//! and, when the tape is played back, `backward`.
//!
//! To add one: a folder, and a line in `ops!` below. The checks find it through `samples::INFO`.
//! Another crate adds one in the same way, with [`Op`] and [`apply`]; there it is a function or an
//! extension trait instead of a method.

use crate::dispatch::on_device;
use crate::interrupt;
use crate::layout::{broadcast_shape, check_shape};
use crate::profile::{Call, time};
pub use crate::rows::{RowRule, RowScale, StripPlace};
use crate::tape::Node;
use crate::trace::{self, DynOp};
use crate::{Device, Error, Meta, Result, Tensor};
use std::any::Any;
use std::sync::Arc;

/// Declares the operations and lists their samples; an operation without samples does not compile.
/// The documentation of each is its own.
macro_rules! ops {
    ($($op:ident),* $(,)?) => {
        $(pub mod $op;)*

        /// Every operation with its samples, in reading order.
        #[cfg(any(test, feature = "checks"))]
        pub const OPS: &[crate::checks::OpInfo] = &[$($op::samples::INFO),*];
    };
}

// Shared by several operations.
mod gpu;
mod map;
mod normalize;
mod separable;

pub use map::map;

ops! {
    // Addition, subtraction, multiplication and division, with broadcasting.
    arith,
    // Functions of one number: exp, log, sqrt, square, pow, abs, tanh, sigmoid, silu, relu,
    // leaky_relu, clamp.
    unary,
    // The exact GELU.
    gelu,
    // Comparisons, with broadcasting: a mask of ones and zeros.
    compare,
    // A choice between two tensors, by a mask.
    where_cond,
    // The larger and the smaller of two tensors.
    maximum,
    // Softmax over a dimension.
    softmax,
    // Sums, means, maxima and their places over dimensions.
    reduce,
    // Running sums along a dimension.
    cumsum,
    // Matrix products.
    matmul,
    // Reshape, permute, broadcast.
    view,
    // Slices along a dimension.
    slice,
    // Concatenation along a dimension.
    concat,
    // Elements chosen by indices, and indices as vectors of ones and zeros.
    gather,
    // Zero and reflection padding.
    pad,
    // Casts between dtypes.
    cast,
    // Convolution.
    conv2d,
    // Transposed convolution.
    conv_transpose2d,
    // Average and max pooling.
    pool,
    // Bilinear and nearest-neighbor resizing.
    resize,
    // Batch normalization, by the batch's statistics or given ones.
    batch_norm,
    // Instance normalization.
    instance_norm,
    // Filters whose taps are computed, per image and group of channels.
    dynamic_filter,
    // The Fourier transform of maps.
    rfft2,
    // The L1 distance of spectra, a loss.
    frequency_l1,
}

/// A differentiable operation. Other crates may define their own, equal to the engine's: [`apply`]
/// records it on tapes, and it works in [plans](crate::planned),
/// [checkpoints](crate::checkpoint()) and [profiles](crate::profile).
///
/// ```
/// use engine::ops::{Op, apply};
/// use engine::{Meta, Result, Tape, Tensor};
///
/// /// y = x³, whose gradient is 3x²·dy.
/// struct Cube;
///
/// impl Op for Cube {
///     const NAME: &'static str = "cube";
///     type Saved = Tensor; // x
///
///     fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
///         Ok(inputs[0].clone())
///     }
///
///     fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Tensor)> {
///         Ok((x[0].square()?.mul(x[0])?, x[0].clone()))
///     }
///
///     fn backward(&self, x: Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
///         Ok(vec![Some(x.square()?.scale(3.0)?.mul(dy)?)])
///     }
///
///     fn settings(&self) -> Option<String> {
///         Some(String::new()) // it has none
///     }
///
///     fn flops(&self, _: &[Meta], y: &Meta) -> u64 {
///         2 * y.numel() as u64
///     }
/// }
///
/// let tape = Tape::new();
/// let x = tape.leaf(&Tensor::from_slice(&[2.0], &[1])?);
/// let y = apply(Cube, &[&x])?;
/// assert_eq!((y.item()?, tape.operations()), (8.0, vec!["cube"]));
/// assert_eq!(tape.backward(&y)?.get(&x).unwrap().item()?, 12.0);
/// # Ok::<_, engine::Error>(())
/// ```
///
/// `forward` and `backward` may compute with the methods of [`Tensor`], which also run on a GPU.
/// On the CPU they may also use [`map`], or any loop over the elements ([`Tensor::to_vec`],
/// [`Tensor::from_slice`]). `engine/examples/custom_op.rs` defines an operation with a setting and
/// a kernel, and checks its gradient.
///
/// # Laws
/// - The result of `forward` has the shape and dtype that `infer` returned, has elements, and is on
///   the device of the inputs. If it is on a tape, it is taken off.
/// - `backward` gives every gradient that is needed. It has the dtype and device of its input, and
///   the input's shape or one that the input's shape broadcasts to. It has elements, too.
/// - Inputs and `dy` may have any [`Layout`](crate::Layout).
/// - Run again on the same inputs, as in a checkpoint, the operation gives the same result.
///
/// The first two are checked, and [`Error::Disagreement`] names an operation that breaks one. The
/// function that calls [`apply`] passes the number of inputs that the operation takes.
pub trait Op: Send + Sync + Sized + 'static {
    /// The name in errors, tapes and profiles, which no other operation has.
    const NAME: &'static str;

    /// The data that `backward` will need: inputs, the output, or something small that `forward`
    /// knows. `need` tells `forward` which gradients are needed, so that it saves no more.
    type Saved: Saved;

    /// The shape and dtype rule: the output's for these inputs, or why they do not fit. Computes
    /// nothing. Two operands that broadcast have [`broadcast_shape`].
    /// [`apply`] checks that the shape does not have too many elements.
    fn infer(&self, inputs: &[Meta]) -> Result<Meta>;

    /// The value, and the data that `backward` needs. `inputs` have passed `infer` and are off the
    /// tape; `out` is what `infer` returned for them. `need[i]` says whether the gradient of input
    /// `i` is needed.
    fn forward(
        &self,
        inputs: &[&Tensor],
        out: &Meta,
        need: &[bool],
    ) -> Result<(Tensor, Self::Saved)>;

    /// Whether the result depends on input `input` in a way that has a gradient: not on indices,
    /// masks or other whole numbers. Where it does not, the gradient is never needed.
    ///
    /// [`Tensor::ge`] has none, for instance.
    fn differentiable(&self, _input: usize) -> bool {
        true
    }

    /// The gradient of each input, given `dy`, that of the output; `None` where `need[i]` is false.
    /// Returns gradients and never adds them: the tape does. For an input that was broadcast, a
    /// gradient in the output's shape will do: the tape sums it.
    fn backward(
        &self,
        saved: Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>>;

    /// The index of the input in whose memory the result may be made, if there is one of its shape
    /// and dtype. Only the engine's kernels write to the memory of a tensor, so operations of other
    /// crates leave this at `None`.
    fn reuses(&self) -> Option<usize> {
        None
    }

    /// Like [`Op::forward`], but into the memory of `onto`, the input that [`Op::reuses`] names.
    /// Nothing is recorded, and nothing else holds that memory. `others` are the other inputs.
    fn forward_onto(&self, _others: &[&Tensor], _onto: Tensor) -> Result<Tensor> {
        Err(Error::tape(Self::NAME, "cannot compute in the memory of an input"))
    }

    /// The settings that distinguish this operation from others of its name, if the result depends
    /// on nothing but these and the inputs. Where all inputs are constants, a plan then computes it
    /// once.
    fn settings(&self) -> Option<String> {
        None
    }

    /// The rows of input `input` that row i of the result depends on, for inputs like `inputs`:
    /// what it takes to compute a map in strips of rows. None if it depends on all of them, or has
    /// no rows. Only maps that are made in strips are asked about.
    fn rows(&self, _input: usize, _inputs: &[Meta]) -> Option<RowRule> {
        None
    }

    /// The operation for a strip of its result, if its rows depend on where they are.
    fn in_strip(&self, _place: &StripPlace) -> Option<Self> {
        None
    }

    /// The cost of `forward` in profiles: two floating-point operations for each multiply-add of
    /// the definition, borders included, whatever the kernel saves or wastes. The gradient of each
    /// of the first two inputs costs as much again; that of a bias, the third, is not counted. 0
    /// leaves an operation out, and `u64::MAX` stands for more.
    fn flops(&self, _inputs: &[Meta], _output: &Meta) -> u64 {
        0
    }
}

/// Runs `op`: checks the inputs, computes, and records it if an input is on a tape. Both passes are
/// counted in a running profile. While this thread traces a computation, `op` is only noted.
///
/// # Errors
/// Those of the operation; if the inputs are on several devices or tapes; if the operation breaks
/// a law of [`Op`].
pub fn apply<O: Op>(op: O, inputs: &[&Tensor]) -> Result<Tensor> {
    let metas: Vec<Meta> = inputs.iter().map(|input| input.meta()).collect();
    let out = checked(&op, &metas)?;
    one_device(O::NAME, inputs)?;
    let op = Arc::new(op);
    if let Some(mut noted) =
        trace::note(|| Arc::new(Applied(op.clone())), inputs, std::slice::from_ref(&out))?
    {
        return Ok(noted.swap_remove(0));
    }
    compute(&op, inputs.iter().map(|&input| input.clone()).collect(), &metas, &out)
}

/// The result of [`Op::infer`] for these inputs, if that shape does not have too many elements.
fn checked<O: Op>(op: &O, inputs: &[Meta]) -> Result<Meta> {
    let out = op.infer(inputs)?;
    check_shape(O::NAME, &out.shape)?;
    Ok(out)
}

/// Computes `op` of inputs that have passed [`checked`].
fn compute<O: Op>(op: &Arc<O>, inputs: Vec<Tensor>, metas: &[Meta], out: &Meta) -> Result<Tensor> {
    interrupt::check(O::NAME)?;
    inputs.iter().try_for_each(|input| input.require_elements(O::NAME))?;
    if out.numel() == 0 {
        return compute_empty(O::NAME, &inputs, out);
    }
    compute_elements(op, inputs, metas, out).map_err(|error| error.in_op(O::NAME))
}

/// The result of an operation that has no elements. Nothing is computed, so that no kernel has to
/// expect it, and the gradients are zeros.
fn compute_empty(op: &'static str, inputs: &[Tensor], out: &Meta) -> Result<Tensor> {
    let gpu = inputs.first().and_then(Tensor::gpu);
    let zeros = move |meta: &Meta| {
        on_device(
            gpu,
            meta,
            |Meta { shape, dtype }| Tensor::zeros(shape, *dtype),
            |gpu, Meta { shape, dtype }| Tensor::zeros_on_gpu(gpu, shape, *dtype),
        )
    };
    let output = zeros(out)?;
    let Some(tape) = Node::tape_of(inputs) else { return Ok(output) };
    let needed: Vec<_> = inputs.iter().map(|x| x.is_on_tape().then(|| x.meta())).collect();
    let backward = move |_| {
        let gradients = needed.iter().map(|meta| meta.as_ref().map(zeros).transpose());
        gradients.collect::<Result<_>>()
    };
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let outputs = tape.record(op, &inputs, vec![output], 0, Box::new(backward))?;
    Ok(outputs.into_iter().next().expect("one output was recorded"))
}

/// Computes `op`, whose result has elements.
fn compute_elements<O: Op>(
    op: &Arc<O>,
    mut inputs: Vec<Tensor>,
    metas: &[Meta],
    out: &Meta,
) -> Result<Tensor> {
    let call = || Call::new(O::NAME, metas, out, || op.flops(metas, out));
    let device = inputs.first().map(Tensor::device);
    let Some(tape) = Node::tape_of(&inputs) else {
        let exclusive = |&operand: &usize| inputs.get(operand).is_some_and(Tensor::is_exclusive);
        if let Some(operand) = op.reuses().filter(exclusive) {
            let onto = inputs.remove(operand);
            let others: Vec<&Tensor> = inputs.iter().collect();
            let output = time(call(), || op.forward_onto(&others, onto))?;
            return check_output(O::NAME, output, out, device);
        }
        let (operands, need): (Vec<&Tensor>, _) =
            (inputs.iter().collect(), vec![false; inputs.len()]);
        let (output, _) = time(call(), || op.forward(&operands, out, &need))?;
        return check_output(O::NAME, output, out, device);
    };
    let detached: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    let needs = |(i, input): (usize, &Tensor)| input.is_on_tape() && op.differentiable(i);
    let need: Vec<bool> = inputs.iter().enumerate().map(needs).collect();
    let operands: Vec<&Tensor> = detached.iter().collect();
    let (output, saved) = time(call(), || op.forward(&operands, out, &need))?;
    let output = check_output(O::NAME, output, out, device)?;
    let (saved_bytes, call) = (saved.bytes(), call().map(|call| call.backward(&need)));
    let (op, metas) = (op.clone(), metas.to_vec());
    let backward = move |dy: Vec<Option<Tensor>>| match dy.into_iter().next().flatten() {
        Some(dy) => {
            let gradients = time(call, || op.backward(saved, &dy, &need))?;
            check_gradients(O::NAME, &gradients, &metas, &need, dy.device())?;
            Ok(gradients)
        }
        None => Ok(vec![None; need.len()]),
    };
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let outputs = tape.record(O::NAME, &inputs, vec![output], saved_bytes, Box::new(backward))?;
    Ok(outputs.into_iter().next().expect("one output was recorded"))
}

/// `output` off any tape, or an error if it is not what `op` has announced: like `out`, with
/// elements, and on the inputs' `device`.
///
/// The inputs of `op` were off the tape, so one that `output` is on is of a tensor that `op` had
/// from elsewhere.
fn check_output(
    op: &'static str,
    output: Tensor,
    out: &Meta,
    device: Option<Device>,
) -> Result<Tensor> {
    if output.shape() != out.shape || output.dtype() != out.dtype {
        let message = format!("forward gives {}, infer {out}", output.meta());
        return Err(Error::disagreement(op, message));
    }
    if output.is_traced() {
        return Err(Error::disagreement(op, "forward gives a traced tensor, without elements"));
    }
    match device {
        Some(device) if device != output.device() => {
            let message = format!("the inputs are on {device}, the result on {}", output.device());
            Err(Error::disagreement(op, message))
        }
        _ if output.is_on_tape() => Ok(output.detach()),
        _ => Ok(output),
    }
}

/// An error if a gradient that is needed is missing, or not one of its input. A later operation of
/// the backward pass could not tell whose mistake it was.
fn check_gradients(
    op: &'static str,
    gradients: &[Option<Tensor>],
    inputs: &[Meta],
    need: &[bool],
    device: Device,
) -> Result<()> {
    for (i, ((gradient, input), need)) in gradients.iter().zip(inputs).zip(need).enumerate() {
        if !need {
            continue;
        }
        let Some(gradient) = gradient else {
            let message = format!("backward gives no gradient of input {i}, which is needed");
            return Err(Error::disagreement(op, message));
        };
        let shape = gradient.shape();
        let fits = shape == input.shape
            || broadcast_shape(op, &input.shape, shape).is_ok_and(|common| common == shape);
        if gradient.is_traced() {
            let message = format!("the gradient of input {i} is a traced tensor, without elements");
            return Err(Error::disagreement(op, message));
        }
        if !fits || gradient.dtype() != input.dtype || gradient.device() != device {
            let (is, on) = (gradient.meta(), gradient.device());
            let message =
                format!("the gradient of input {i} is {is} on {on}, the input {input} on {device}");
            return Err(Error::disagreement(op, message));
        }
    }
    Ok(())
}

/// An operation as a [`DynOp`].
struct Applied<O>(Arc<O>);

/// `op` as a trait object, for a traced graph.
pub(crate) fn dyn_op<O: Op>(op: O) -> Arc<dyn DynOp> {
    Arc::new(Applied(Arc::new(op)))
}

impl<O: Op> DynOp for Applied<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![checked(&*self.0, inputs)?])
    }

    fn compute(&self, inputs: Vec<Tensor>, outputs: &[Meta]) -> Result<Vec<Tensor>> {
        let metas: Vec<Meta> = inputs.iter().map(Tensor::meta).collect();
        Ok(vec![compute(&self.0, inputs, &metas, &outputs[0])?])
    }

    fn settings(&self) -> Option<String> {
        self.0.settings()
    }

    fn as_any(&self) -> &dyn Any {
        &*self.0
    }

    fn rows(&self, input: usize, inputs: &[Meta]) -> Option<RowRule> {
        self.0.rows(input, inputs)
    }

    fn in_strip(&self, place: &StripPlace) -> Option<Arc<dyn DynOp>> {
        self.0.in_strip(place).map(dyn_op)
    }

    fn flops(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        outputs.iter().fold(0, |sum, output| sum.saturating_add(self.0.flops(inputs, output)))
    }
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

/// The tensors, and other data, that an operation saves for its backward pass. It is implemented
/// for tensors, and for options, vectors and tuples of them.
///
/// ```
/// use engine::{DType, Tensor, ops::Saved};
///
/// /// A tensor, and a shape, which costs no memory worth counting.
/// struct Folded(Tensor, Vec<usize>);
///
/// impl Saved for Folded {
///     fn bytes(&self) -> usize {
///         self.0.bytes()
///     }
/// }
///
/// let x = Tensor::zeros(&[2, 3], DType::F32)?;
/// assert_eq!((x.clone(), Some(x.clone())).bytes(), 48);
/// assert_eq!(Folded(x, vec![6]).bytes(), 24);
/// # Ok::<_, engine::Error>(())
/// ```
pub trait Saved: Send + 'static {
    /// Bytes of tensors that are kept alive; the largest number there is if there are more.
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
        self.iter().fold(0, |sum, saved| sum.saturating_add(saved.bytes()))
    }
}

impl<A: Saved, B: Saved> Saved for (A, B) {
    fn bytes(&self) -> usize {
        self.0.bytes().saturating_add(self.1.bytes())
    }
}

impl<A: Saved, B: Saved, C: Saved> Saved for (A, B, C) {
    fn bytes(&self) -> usize {
        self.0.bytes().saturating_add(self.1.bytes()).saturating_add(self.2.bytes())
    }
}

/// The operations of `count` sums of `terms[0]`·`terms[1]`·… products, for [`Op::flops`];
/// `u64::MAX` if there are more.
pub(crate) fn multiply_adds(count: usize, terms: &[usize]) -> u64 {
    terms.iter().fold(2u64.saturating_mul(count as u64), |n, &size| n.saturating_mul(size as u64))
}

/// `tensor`, to be saved for backward, if a gradient that is `needed` depends on its value.
pub(crate) fn save_if(needed: bool, tensor: &Tensor) -> Option<Tensor> {
    needed.then(|| tensor.detach())
}

#[cfg(test)]
mod tests {
    use super::multiply_adds;

    #[test]
    fn counts_of_operations_saturate() {
        assert_eq!(multiply_adds(7, &[3, 5]), 210);
        assert_eq!(multiply_adds(7, &[3, 0]), 0);
        assert_eq!(multiply_adds(1 << 62, &[1]), 1 << 63);
        assert_eq!(multiply_adds(1 << 63, &[1]), u64::MAX);
        assert_eq!(multiply_adds(1 << 40, &[1 << 20, 1 << 20]), u64::MAX);
        assert_eq!(multiply_adds(usize::MAX, &[usize::MAX; 3]), u64::MAX);
    }
}
