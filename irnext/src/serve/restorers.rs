//! The restorers of a server.

use crate::compute::Compute;
use crate::degrade::Task;
use crate::error::Result;
use crate::restore::{MemoryLimit, Scale};
use crate::restorer::Restorer;
use std::sync::OnceLock;

/// A restorer for each choice of task, made when it is first needed.
pub struct Restorers {
    compute: Compute,
    scale: Scale,
    memory: MemoryLimit,
    detecting: Restorer,
    /// At its index in [`Task::ALL`].
    of_tasks: [OnceLock<Restorer>; Task::ALL.len()],
}

impl Restorers {
    /// Restorers with the built-in weights.
    ///
    /// # Errors
    /// If `compute` names a device that cannot be used.
    pub fn new(compute: Compute) -> Result<Self> {
        Ok(Self {
            compute,
            scale: Scale::default(),
            memory: MemoryLimit::default(),
            detecting: Restorer::detecting(compute)?,
            of_tasks: std::array::from_fn(|_| OnceLock::new()),
        })
    }

    /// The same restorers, within this memory; see [`Restorer::within`].
    pub fn within(self, memory: MemoryLimit) -> Self {
        Self { memory, detecting: self.detecting.within(memory), ..self }
    }

    /// The same restorers, at this scale; see [`Restorer::at_scale`].
    pub fn at_scale(self, scale: Scale) -> Self {
        Self { scale, detecting: self.detecting.at_scale(scale), ..self }
    }

    /// The restorer for a task, or the one that detects it.
    pub(super) fn get(&self, task: Option<Task>) -> Result<&Restorer> {
        let Some(task) = task else { return Ok(&self.detecting) };
        let cell = &self.of_tasks[task as usize];
        if let Some(restorer) = cell.get() {
            return Ok(restorer);
        }
        let restorer = Restorer::for_task(task, self.compute)?;
        Ok(cell.get_or_init(|| restorer.at_scale(self.scale).within(self.memory)))
    }
}
