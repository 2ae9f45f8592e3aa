//! The weights inside the program, so that it restores photographs with nothing else on the machine.
//!
//! Each is the `tiny` network in f16; `irnext/weights/README.md` is their model card.

use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::model::Model;
use std::collections::HashMap;

/// The tasks with weights inside, and the weights.
const SHIPPED: &[(Task, &[u8])] = &[];

/// The model for `task`, and its file's metadata.
pub fn load(task: Task) -> Result<(Model, HashMap<String, String>)> {
    match SHIPPED.iter().find(|(shipped, _)| *shipped == task) {
        Some((task, bytes)) => Model::from_bytes(&format!("the weights inside the program for {task}"), bytes),
        None => {
            let tasks: Vec<String> = SHIPPED.iter().map(|(task, _)| task.to_string()).collect();
            Err(Error::Config {
                reason: format!(
                    "no weights for {task} are inside the program (there are {}); give a weight file with --weights",
                    tasks.join(", ")
                ),
            })
        }
    }
}
