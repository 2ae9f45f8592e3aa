//! How the processes of a [`Team`] are started: by `mpirun` or `srun`, which say in the environment
//! of each what it is one of.

use super::Team;
use crate::error::Result;
use engine::Device;

/// What a launcher sets for each process: how many there are, which one this is, how many are on
/// its machine, and which one of them this is. Both of the first must be there: a script that was
/// only allotted several processes by Slurm is none of them.
const LAUNCHERS: [[&str; 4]; 4] = [
    [
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
    ],
    ["PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS", "MPI_LOCALRANKID"],
    [
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
        "MV2_COMM_WORLD_LOCAL_RANK",
    ],
    ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_LOCALID"],
];

/// Processes that were started together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// How many.
    pub size: usize,
    /// How many of them on this machine, as far as that is known.
    pub here: usize,
    /// Which one of these this process is, from 0, as far as that is known.
    pub local: usize,
}

impl Launched {
    /// What the environment says of this process.
    pub fn by_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        // Slurm writes 2(x3),1 for machines of 2, 2, 2 and 1.
        let number = |name: &str| {
            let text = variable(name)?;
            text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
        };
        for [size, rank, here, local] in LAUNCHERS {
            if let (Some(size), Some(_)) = (number(size), number(rank))
                && size > 1
            {
                let here = number(here).unwrap_or(1).clamp(1, size);
                return Self { size, here, local: number(local).unwrap_or(0) };
            }
        }
        Self { size: 1, here: 1, local: 0 }
    }

    /// The device of this process where all were given `device`. A GPU is the first of a machine's
    /// processes' alone: each has the next one, and after the last come those before it.
    pub fn device(self, device: Device) -> Device {
        match (device, engine::gpus().map_or(0, |gpus| gpus.len())) {
            (Device::Cuda(first), count) if self.local > 0 && count > 0 => {
                Device::Cuda((first + self.local) % count)
            }
            _ => device,
        }
    }
}

/// Does `work` with the processes that this one was started with, or alone.
///
/// # Errors
/// If there are others, and this program was built without MPI: each would do all of the work, in
/// the same folder.
pub fn together<T>(work: impl FnOnce(&Team) -> Result<T>) -> Result<T> {
    let team = join(Launched::by_environment())?;
    team.finish(work(&team))
}

#[cfg(feature = "mpi")]
fn join(launched: Launched) -> Result<Team> {
    match launched.size {
        1 => Ok(Team::alone()),
        size => super::mpi::connect(size),
    }
}

#[cfg(not(feature = "mpi"))]
fn join(launched: Launched) -> Result<Team> {
    match launched.size {
        1 => Ok(Team::alone()),
        size => Err(crate::Error::Config {
            reason: format!(
                "this is one of {size} processes, and this program was built without MPI; build \
                 it with \
                 `cargo build --release -p irnext --features mpi`, or start one process"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_launchers_say_is_understood() {
        let read = |set: &[(&str, &str)]| {
            let found = Launched::read(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
            });
            (found.size, found.here, found.local)
        };
        let [open_mpi, mpich, _, slurm] = LAUNCHERS;
        assert_eq!(read(&[]), (1, 1, 0));
        assert_eq!(
            read(&[(open_mpi[0], "4"), (open_mpi[1], "3"), (open_mpi[2], "2"), (open_mpi[3], "1")]),
            (4, 2, 1)
        );
        assert_eq!(read(&[(mpich[0], "4"), (mpich[1], "0")]), (4, 1, 0));
        assert_eq!(read(&[(slurm[0], "7"), (slurm[1], "0"), (slurm[2], "2(x3),1")]), (7, 2, 0));
        // One process under a launcher; a batch script, which Slurm tells how many tasks it may
        // start.
        assert_eq!(read(&[(open_mpi[0], "1"), (open_mpi[1], "0")]), (1, 1, 0));
        assert_eq!(read(&[("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), (1, 1, 0));
    }
}
