//! Trading time for memory: intermediate results that are computed again when the backward pass
//! reaches them.

use crate::ops::Saved;
use crate::tape::Node;
use crate::{Error, Result, Tape, Tensor, plan, trace};
use std::sync::Arc;

/// Runs `f` without saving its operations' tensors for backward; the backward pass runs it again,
/// on a tape of its own.
///
/// Trades time for memory: of everything inside `f`, only `inputs` stay alive until then. `f` must
/// compute the same both times and must reach every tensor that needs a gradient, and inside
/// [`planned`](crate::planned) every tensor of the plan, through `inputs`, not by capture.
///
/// ```
/// use engine::{Tape, Tensor, checkpoint};
/// let tape = Tape::new();
/// let x = tape.leaf(&Tensor::from_slice(&[0.5, 1.0], &[2])?);
/// let y = checkpoint(&[&x], |x| Ok(vec![x[0].exp()?.square()?]))?.swap_remove(0);
/// assert_eq!(tape.operations(), ["checkpoint"]);
/// assert_eq!(tape.saved_bytes(), 16); // x alone, where exp and square would save two tensors
/// let gradient = tape.backward(&y.sum_all()?)?.take(&x).unwrap().to_f64_vec()?;
/// assert!((gradient[1] - 2.0 * 2f64.exp()).abs() < 1e-14); // of e²ˣ
/// # Ok::<_, engine::Error>(())
/// ```
pub fn checkpoint(
    inputs: &[&Tensor],
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
) -> Result<Vec<Tensor>> {
    checkpoint_shared(inputs, Arc::new(f))
}

type Computation = dyn Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync;

fn checkpoint_shared(inputs: &[&Tensor], f: Arc<Computation>) -> Result<Vec<Tensor>> {
    if trace::is_tracing() {
        let outputs = plan::infer(inputs, &*f)?;
        let run = move |inputs: &[Tensor]| {
            checkpoint_shared(&inputs.iter().collect::<Vec<_>>(), f.clone())
        };
        let noted = trace::defer("checkpoint", (), inputs, &outputs, run)?;
        return noted.ok_or_else(|| Error::tape("checkpoint", "the trace has ended"));
    }
    let detached: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let outputs = f(&detached)?;
    let Some(tape) = Node::tape_of(inputs) else {
        return Ok(outputs);
    };
    let saved: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let bytes = saved.bytes();
    let needed: Vec<bool> = inputs.iter().map(|input| input.node().is_some()).collect();
    let backward = move |seeds: Vec<Option<Tensor>>| {
        let replay = Tape::new();
        let leaves: Vec<Tensor> = saved
            .iter()
            .zip(&needed)
            .map(|(x, &need)| if need { replay.leaf(x) } else { x.clone() })
            .collect();
        let outputs = f(&leaves)?;
        if outputs.len() != seeds.len() {
            return Err(Error::tape("checkpoint", "the replay gave another number of outputs"));
        }
        // An output that no input leads to is a constant, and has no node on the replayed tape.
        let (outputs, seeds): (Vec<&Tensor>, Vec<_>) =
            outputs.iter().zip(seeds).filter(|(output, _)| output.node().is_some()).unzip();
        let mut gradients = replay.backward_from(&outputs, seeds)?;
        Ok(leaves.iter().map(|leaf| gradients.take(leaf)).collect())
    };
    tape.record("checkpoint", inputs, outputs, bytes, Box::new(backward))
}
