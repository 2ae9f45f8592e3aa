//! Trading time for memory: intermediate results that are computed again when the backward pass
//! gets to them.

use crate::tape::Node;
use crate::{Error, Result, Tape, Tensor};

/// Runs `f` without keeping what its operations would keep; the backward pass runs it again, on a
/// tape of its own.
///
/// Trades time for memory: of everything inside `f`, only `inputs` stay alive until then. `f` must
/// compute the same both times and must reach every tensor that needs a gradient through `inputs`,
/// not by capture.
pub fn checkpoint(
    inputs: &[&Tensor],
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + 'static,
) -> Result<Vec<Tensor>> {
    let detached: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let outputs = f(&detached)?;
    checkpoint_computed(inputs, outputs, f)
}

/// [`checkpoint`] for a caller that has run `f` already, and may have learnt from it what the
/// inputs are.
pub fn checkpoint_computed(
    inputs: &[&Tensor],
    outputs: Vec<Tensor>,
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + 'static,
) -> Result<Vec<Tensor>> {
    let Some(tape) = Node::tape_of(inputs) else {
        return Ok(outputs);
    };
    let kept: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let bytes = kept.iter().map(|tensor| tensor.meta().bytes()).sum();
    let needed: Vec<bool> = inputs.iter().map(|input| input.node().is_some()).collect();
    let backward = move |seeds: Vec<Option<Tensor>>| {
        let replay = Tape::new();
        let leaves: Vec<Tensor> = kept
            .iter()
            .zip(&needed)
            .map(|(x, &need)| if need { replay.leaf(x) } else { x.clone() })
            .collect();
        let outputs = f(&leaves)?;
        if outputs.len() != seeds.len() {
            return Err(Error::tape("checkpoint", "the replay gave another number of outputs"));
        }
        // An output that no input leads to is a constant, and has no place on the replayed tape.
        let (outputs, seeds): (Vec<&Tensor>, Vec<_>) =
            outputs.iter().zip(seeds).filter(|(output, _)| output.node().is_some()).unzip();
        let mut gradients = replay.backward_from(&outputs, seeds)?;
        Ok(leaves.iter().map(|leaf| gradients.take(leaf)).collect())
    };
    tape.record("checkpoint", inputs, outputs, bytes, Box::new(backward))
}
