//! The start of the processes of a [`Team`] by `mpirun` or `srun`, which describe each process in
//! its environment. A program reads that once, and passes it on as a [`LaunchInfo`].

use super::team::Team;
use crate::error::Result;

/// The variables that a launcher sets for each process: the number of processes, the rank of this
/// one, the number on its machine, and the rank among those. The first two must both be set; a
/// script to which Slurm has merely allotted several processes has only one of them.
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

/// The launcher's description of this process and those started with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchInfo {
    /// The number of processes.
    pub size: usize,
    /// The number of processes on this machine, if known.
    pub local_size: usize,
    /// The rank of this process on its machine, from 0, if known.
    pub local_rank: usize,
}

impl LaunchInfo {
    /// One process, started without a launcher.
    pub const ALONE: Self = Self { size: 1, local_size: 1, local_rank: 0 };

    /// Reads the variables that `mpirun` and `srun` set.
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        // Slurm writes 2(x3),1 for machines of 2, 2, 2 and 1.
        let number = |name: &str| {
            let text = variable(name)?;
            text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
        };
        for [size, rank, local_size, local_rank] in LAUNCHERS {
            if let (Some(size), Some(_)) = (number(size), number(rank))
                && size > 1
            {
                let local_size = number(local_size).unwrap_or(1).clamp(1, size);
                return Self { size, local_size, local_rank: number(local_rank).unwrap_or(0) };
            }
        }
        Self::ALONE
    }

    /// Connects this process to the others; a [`Team`] of one if there are none.
    ///
    /// # Errors
    /// If there are others, and this program was built without MPI: each would do all of the work,
    /// in the same folder.
    pub fn connect(self) -> Result<Team> {
        match self.size {
            1 => Ok(Team::alone()),
            size => Ok(connect(size)?.on_local_rank(self.local_rank)),
        }
    }
}

#[cfg(feature = "mpi")]
fn connect(size: usize) -> Result<Team> {
    super::mpi::connect(size)
}

#[cfg(not(feature = "mpi"))]
fn connect(size: usize) -> Result<Team> {
    Err(crate::Error::Config {
        reason: format!(
            "this is one of {size} processes, but this program was built without MPI; build it \
             with `cargo build --release -p irnext --features mpi`, or start one process"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_every_launcher_are_understood() {
        let read = |set: &[(&str, &str)]| {
            let found = LaunchInfo::read(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
            });
            (found.size, found.local_size, found.local_rank)
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
