//! Gradients: the records of a tape, taken off its end one by one.

use crate::profile::{Call, time};
use crate::tape::{OP, Record};
use crate::{Error, Meta, NodeId, Result, Tape, Tensor, counted};
use std::collections::HashMap;

impl Tape {
    /// The gradients of `loss`, a tensor of one element, with respect to the leaves. Consumes the
    /// recording.
    ///
    /// A loss that depends on no leaf, or only through operations without a gradient, is an error:
    /// comparisons, `argmax` and casts to integers are such.
    ///
    /// ```
    /// use engine::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Tensor::from_slice(&[1.0, 2.0], &[1, 2])?);
    /// let weight = tape.leaf(&Tensor::from_slice(&[3.0, 4.0], &[2, 1])?);
    /// let loss = x.matmul(&weight)?; // 1·3 + 2·4
    /// let gradients = tape.backward(&loss)?;
    /// assert_eq!(gradients.get(&x).unwrap().to_f64_vec()?, [3.0, 4.0]);
    /// assert_eq!(gradients.get(&weight).unwrap().to_f64_vec()?, [1.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn backward(self, loss: &Tensor) -> Result<Gradients> {
        if loss.numel() != 1 {
            return Err(Error::shape(
                OP,
                format!("the loss must be one number, got shape {:?}", loss.shape()),
            ));
        }
        let one = loss.constant(&[1.0], loss.shape())?;
        if self.own(OP, loss)?.is_some() {
            let gradients = self.backward_from(&[loss], vec![Some(one)])?;
            if !gradients.by_node.is_empty() {
                return Ok(gradients);
            }
        }
        Err(Error::tape(
            OP,
            "the loss depends on no parameter or other leaf of the tape, or only through \
             operations that have no gradient",
        ))
    }

    /// The gradients of Σ ⟨`outputs[i]`, `seeds[i]`⟩ with respect to the leaves. Consumes the
    /// recording.
    ///
    /// ```
    /// use engine::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Tensor::from_slice(&[1.0, 2.0], &[2])?);
    /// let y = x.square()?;
    /// let seed = Tensor::from_slice(&[1.0, 10.0], &[2])?;
    /// let gradients = tape.backward_from(&[&y], vec![Some(seed)])?;
    /// assert_eq!(gradients.get(&x).unwrap().to_f64_vec()?, [2.0, 40.0]); // seed · 2x
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn backward_from(
        self,
        outputs: &[&Tensor],
        seeds: Vec<Option<Tensor>>,
    ) -> Result<Gradients> {
        let mut found = Gradients { tape: self.clone(), by_node: HashMap::new() };
        self.backward_with(outputs, seeds, |leaf, gradient| {
            found.by_node.insert(leaf.0, gradient);
            Ok::<_, Error>(())
        })?;
        Ok(found)
    }

    /// Like [`Tape::backward_from`], but gives each leaf's gradient to `found` as soon as it is
    /// complete, before the gradients of earlier operations are computed. [`Tape::node_id`]
    /// identifies the leaf. An error of `found` ends the pass.
    ///
    /// ```
    /// use engine::{Tape, Tensor};
    /// let tape = Tape::new();
    /// let first = tape.leaf(&Tensor::from_slice(&[2.0], &[1])?);
    /// let second = tape.leaf(&Tensor::from_slice(&[3.0], &[1])?);
    /// let y = first.exp()?.mul(&second)?;
    /// let mut order = Vec::new();
    /// let seed = Tensor::from_slice(&[1.0], &[1])?;
    /// tape.clone().backward_with(&[&y], vec![Some(seed)], |leaf, _gradient| {
    ///     order.push(leaf);
    ///     Ok::<_, engine::Error>(())
    /// })?;
    /// // The product is the last operation, so its operand is complete before the exponential's.
    /// assert_eq!(order, [&second, &first].map(|leaf| tape.node_id(leaf).unwrap()));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn backward_with<E: From<Error>>(
        self,
        outputs: &[&Tensor],
        seeds: Vec<Option<Tensor>>,
        mut found: impl FnMut(NodeId, Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        let starts = self.starts(outputs, seeds)?;
        let (nodes, mut records) = self.consume()?;
        let mut gradients = Gradients { tape: self.clone(), by_node: HashMap::new() };
        for (id, seed) in starts {
            gradients.add(id, seed, &nodes[id])?;
        }
        let mut uses = Uses::of(&records, nodes.len());
        while let Some(record) = records.pop() {
            crate::interrupt::check(record.name)?;
            let dy: Vec<_> = record.outputs.iter().map(|id| gradients.by_node.remove(id)).collect();
            if dy.iter().any(Option::is_some) {
                let dx = record.numerics.scope(|| (record.backward)(dy));
                let dx = dx.map_err(|error| error.in_op(record.name))?;
                if dx.len() != record.inputs.len() {
                    let given = counted(dx.len(), "gradient");
                    let message = format!(
                        "backward gives {given} for {}",
                        counted(record.inputs.len(), "input")
                    );
                    return Err(Error::tape(record.name, message).into());
                }
                for (input, gradient) in record.inputs.iter().zip(dx) {
                    if let (Some(id), Some(gradient)) = (input, gradient) {
                        gradients.add(*id, gradient, &nodes[*id])?;
                    }
                }
            }
            for &id in record.inputs.iter().flatten() {
                if uses.was_last_of_leaf(id)
                    && let Some(gradient) = gradients.by_node.remove(&id)
                {
                    found(NodeId(id), gradient)?;
                }
            }
        }
        // Left are leaves that no operation used, differentiated by themselves.
        let mut left: Vec<_> = gradients.by_node.into_iter().collect();
        left.sort_by_key(|(id, _)| *id);
        left.into_iter().try_for_each(|(id, gradient)| found(NodeId(id), gradient))
    }

    /// The nodes that a backward pass begins at, with their gradients.
    fn starts(
        &self,
        outputs: &[&Tensor],
        seeds: Vec<Option<Tensor>>,
    ) -> Result<Vec<(usize, Tensor)>> {
        if outputs.len() != seeds.len() {
            let seeds = counted(seeds.len(), "seed");
            let message = format!("{seeds} for {}", counted(outputs.len(), "output"));
            return Err(Error::tape(OP, message));
        }
        let mut starts = Vec::new();
        for (output, seed) in outputs.iter().zip(seeds) {
            let Some(id) = self.own(OP, output)? else {
                return Err(Error::tape(
                    OP,
                    "the tensor to differentiate is not on this tape: it depends on no leaf of it",
                ));
            };
            let Some(seed) = seed else { continue };
            seed.require_elements(OP)?;
            if seed.meta() != output.meta() {
                return Err(Error::shape(
                    OP,
                    format!("the seed is {}, the output {}", seed.meta(), output.meta()),
                ));
            }
            starts.push((id, seed));
        }
        Ok(starts)
    }
}

/// The number of uses of each leaf by operations whose backward is still to run.
struct Uses(Vec<usize>);

impl Uses {
    /// No use is ever the last one of a tensor that an operation made: its gradient goes into that
    /// operation's backward.
    const MADE: usize = usize::MAX;

    fn of(records: &[Record], nodes: usize) -> Self {
        let mut uses = vec![0; nodes];
        for record in records {
            record.inputs.iter().flatten().for_each(|&id| uses[id] += 1);
        }
        records.iter().flat_map(|record| &record.outputs).for_each(|&id| uses[id] = Self::MADE);
        Self(uses)
    }

    /// Counts one use, and says whether the node is a leaf that has no other.
    fn was_last_of_leaf(&mut self, id: usize) -> bool {
        if self.0[id] != Self::MADE {
            self.0[id] -= 1;
        }
        self.0[id] == 0
    }
}

/// The result of [`Tape::backward`]: the gradient of every leaf that the loss depends on.
///
/// ```
/// use engine::{Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.leaf(&Tensor::from_slice(&[2.0], &[1])?);
/// let unused = tape.leaf(&Tensor::from_slice(&[5.0], &[1])?);
/// let mut gradients = tape.backward(&x.square()?)?;
/// assert_eq!(gradients.get(&x).unwrap().item()?, 4.0);
/// assert!(gradients.get(&unused).is_none());
/// assert_eq!(gradients.take(&x).unwrap().item()?, 4.0); // moved out, and so gone
/// assert!(gradients.get(&x).is_none());
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Debug)]
pub struct Gradients {
    tape: Tape,
    by_node: HashMap<usize, Tensor>,
}

impl Gradients {
    /// The gradient with respect to `leaf`, in its shape; `None` if the loss does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.by_node.get(&self.tape.own("gradient", leaf).ok()??)
    }

    /// Like [`Gradients::get`], but moves the gradient out.
    pub fn take(&mut self, leaf: &Tensor) -> Option<Tensor> {
        self.by_node.remove(&self.tape.own("gradient", leaf).ok()??)
    }

    /// The one place in the engine that adds gradients together: the first moves in, later ones are
    /// added, and a gradient in the shape that an operand was broadcast to is summed back to the
    /// operand's own.
    fn add(&mut self, id: usize, gradient: Tensor, meta: &Meta) -> Result<()> {
        // Nothing of a backward pass is recorded, not even where a seed is on another tape.
        let gradient = gradient.detach().sum_to(&meta.shape)?;
        let sum = match self.by_node.remove(&id) {
            None => gradient,
            Some(earlier) => {
                let call = Call::new("accumulate", &[earlier.meta(), gradient.meta()], meta, || 0);
                time(call, || crate::ops::arith::accumulate(earlier, &gradient))?
            }
        };
        self.by_node.insert(id, sum);
        Ok(())
    }
}
