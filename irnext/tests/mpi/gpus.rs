//! Ranks that compute on GPUs, each on its own. Takes two, or the emulator with `CUDA_EMULATOR_DEVICES=2`. Without them the tests say on standard error that
//! they are left out; with `IRNEXT_REQUIRE_CUDA=1` they fail.

use super::*;
use irnext::distributed::launch;
use irnext::train::{Ended, TrainConfig, Trainer};

/// Whether there are GPUs for two ranks, and an Open MPI to start these with.
fn there_are_gpus() -> bool {
    let count = engine::gpus().map_or(0, |gpus| gpus.len());
    if count < 2 {
        assert!(std::env::var_os("IRNEXT_REQUIRE_CUDA").is_none(), "there are no two GPUs");
        let _ = writeln!(std::io::stderr(), "LEFT OUT: there are no two GPUs on this machine");
    }
    count >= 2 && there_is_mpirun()
}

/// As [`common::prepared`], for runs on a GPU.
fn prepared() -> tempfile::TempDir {
    let folder = common::prepared();
    let settings = folder.path().join("run.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(settings, text + "[compute]\ndevice = \"cuda\"\n").unwrap();
    folder
}

#[test]
fn two_processes_on_a_gpu_each_train_as_one() {
    if !there_are_gpus() {
        return;
    }
    let folder = prepared();
    same_losses(folder.path());
}

/// What the next test runs as each of two processes: all of a run, and then the bits of what it has come to.
#[test]
#[ignore = "a part of the next one, under mpirun"]
fn a_rank() {
    launch::together(|team| {
        let mut trainer = Trainer::open_in(team.clone(), TrainConfig::read("run.toml".as_ref(), &[])?)?;
        assert!(matches!(trainer.run(|_| true)?, Ended::Complete));
        let model = trainer.model();
        let bits = |x: &engine::Tensor| x.to_f64_vec().unwrap().iter().map(|x| format!("{:x}", x.to_bits())).collect();
        let values: Vec<(String, String)> =
            model.params.values().iter().enumerate().map(|(i, x)| (format!("value {i}"), bits(x))).collect();
        team.same(&values)?;
        println!("{} values on {}", values.len(), model.params.values()[0].device());
        Ok(())
    })
    .unwrap();
}

#[test]
fn both_come_to_the_same_bits() {
    if !there_are_gpus() {
        return;
    }
    let folder = prepared();
    let arguments = ["--exact", "gpus::a_rank", "--ignored", "--nocapture"];
    let program = std::env::current_exe().unwrap();
    let text = said(&succeeds(started(2, folder.path(), &program, &arguments).output().unwrap()));
    assert!(text.contains("values on cuda:0") && text.contains("values on cuda:1"), "{text}");
}

#[test]
fn a_rank_that_dies_or_falls_silent_ends_the_one_whose_gpu_waits_for_it() {
    if !there_are_gpus() {
        return;
    }
    for (signal, rank, message) in
        [("-KILL", 0, "rank 0"), ("-KILL", 1, "rank 1"), ("-STOP", 1, "nothing was heard of rank 1")]
    {
        let folder = prepared();
        one_ends_both(folder.path(), signal, rank, message);
    }
}

#[test]
fn what_gpus_cannot_share_is_said_before_anything_is_written() {
    if !there_are_gpus() {
        return;
    }
    let folder = prepared();
    for (variables, message) in [
        (&[("CUDA_VISIBLE_DEVICES", "0"), ("CUDA_EMULATOR_DEVICES", "1")][..], "rank 1: it has the same GPU as rank 0"),
        (&[("IRNEXT_NCCL", "/nonexistent")], "nccl: NCCL 2.10 or later is needed"),
    ] {
        let mut command = ranks(2, folder.path(), &["train", "run.toml"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(message), "{}", said(&output));
        assert!(!folder.path().join("run").exists(), "something was written");
    }
}

#[test]
fn a_folder_is_scored_on_two_gpus_as_on_one() {
    if !there_are_gpus() {
        return;
    }
    let folder = prepared();
    let arguments = ["eval", "--input", "hazy", "--target", "clear", "--task", "dehaze", "--device", "cuda"];
    let one = succeeds(alone(folder.path(), &arguments)).stdout;
    let two = succeeds(ranks(2, folder.path(), &arguments).output().unwrap()).stdout;
    assert_eq!(String::from_utf8_lossy(&two), String::from_utf8_lossy(&one));
}
