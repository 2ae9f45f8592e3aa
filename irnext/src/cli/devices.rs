//! `irnext devices`: lists the devices, with the reason for each that cannot be used.

use super::output::say;
use crate::error::Result;
use engine::{gpus, isa};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext devices
      List the CPU and each GPU, with the reason for each that cannot be used")]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    say!("cpu      {cores} threads, {:?} instructions", isa());
    match gpus() {
        Ok(gpus) => {
            for gpu in &gpus {
                let (major, minor) = gpu.capability;
                let gib = gpu.memory as f64 / (1u64 << 30) as f64;
                let name = gpu.device.to_string();
                match &gpu.unusable {
                    None => {
                        say!(
                            "{name:<8} {}, compute capability {major}.{minor}, {gib:.1} GiB",
                            gpu.name
                        );
                        match gpu.device.convolutions() {
                            Ok(who) => say!("{:<8} convolutions by {who}", ""),
                            Err(why) => say!("{:<8} {why}", ""),
                        }
                    }
                    Some(why) => say!("{name:<8} cannot be used: {why}"),
                }
            }
            if gpus.is_empty() {
                say!("cuda     the driver found no GPU");
            }
        }
        Err(why) => say!("cuda     {why}"),
    }
    Ok(())
}
