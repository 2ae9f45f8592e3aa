//! Ranks that compute on GPUs, each on its own. Takes two, or the emulator with
//! `CUDA_EMULATOR_DEVICES=2`. Without them the tests say on standard error that they are left out;
//! with `ENGINE_REQUIRE_CUDA=1` they fail.

use super::*;
use engine::{Collectives, DType, Device, Replay, Rng, Tape, Tensor};
use irnext::distributed::Team;
use irnext::distributed::launch::LaunchInfo;
use irnext::train::{Ended, TrainConfig, TrainingRun};
use nn::distributed::Buckets;
use std::sync::Arc;

/// Whether there are GPUs for two ranks, and an Open MPI to start these with.
fn there_are_gpus() -> bool {
    let count = engine::gpus().map_or(0, |gpus| gpus.len());
    if count < 2 {
        assert!(std::env::var_os("ENGINE_REQUIRE_CUDA").is_none(), "there are no two GPUs");
        let _ = writeln!(std::io::stderr(), "LEFT OUT: there are no two GPUs on this machine");
    }
    count >= 2 && there_is_mpirun()
}

/// Like [`common::prepared`], for runs on a GPU.
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

/// Does `work` as one of the processes that were started together.
fn as_a_rank(work: impl FnOnce(&Team) -> irnext::Result<()>) -> irnext::Result<()> {
    let team = LaunchInfo::from_environment().connect()?;
    team.finish(work(&team))
}

/// The work of each of two processes in a test below: all of a run, and then the bits of its
/// result.
#[test]
#[ignore = "a part of another one, under mpirun"]
fn a_rank() {
    as_a_rank(|team| {
        let mut run =
            TrainingRun::open_in(team.clone(), TrainConfig::read("run.toml".as_ref(), &[])?)?;
        assert!(matches!(run.train(|_| true)?, Ended::Complete));
        let model = run.model();
        let bits = |x: &Tensor| {
            x.to_f64_vec().unwrap().iter().map(|x| format!("{:x}", x.to_bits())).collect()
        };
        let values: Vec<(String, String)> = model
            .params
            .values()
            .iter()
            .enumerate()
            .map(|(i, x)| (format!("value {i}"), bits(x)))
            .collect();
        team.require_equal(&values)?;
        println!("{} values on {}", values.len(), model.params.values()[0].device());
        Ok(())
    })
    .unwrap();
}

/// The same: BatchNorm of a batch of which the ranks have one and three images, forward and
/// backward, against the whole on the CPU, in f64. Run, recorded and played.
#[test]
#[ignore = "a part of another one, under mpirun"]
fn a_normalization() {
    let normalized = |x: &[Tensor],
                      ranks: Option<&Arc<dyn Collectives>>|
     -> engine::Result<Vec<Tensor>> {
        let tape = Tape::new();
        let [x, dy, weight, bias] = x else { unreachable!("four inputs") };
        let leaves = [x, weight, bias].map(|x| tape.leaf(x));
        let (y, stats) = leaves[0].batch_norm_train_among(&leaves[1], &leaves[2], 1e-3, ranks)?;
        let gradients = tape.backward_from(&[&y], vec![Some(dy.clone())])?;
        let [dx, dw, db] = leaves.each_ref().map(|leaf| gradients.get(leaf).unwrap().clone());
        Ok(vec![y.detach(), dx, stats.mean, stats.var, dw, db])
    };
    as_a_rank(|team| {
        let device = team.device(Device::Cuda(0));
        team.connect_gpus(device)?;
        let (ranks, group) = (team.ranks().unwrap(), team.group().unwrap());
        let mut rng = Rng::new(1);
        let mut draw = |shape: &[usize]| {
            Tensor::randn(shape, DType::F64, &mut rng).unwrap().affine(2.0, 1.0).unwrap()
        };
        let whole = [draw(&[4, 3, 5, 2]), draw(&[4, 3, 5, 2]), draw(&[3]), draw(&[3])];
        let expected = normalized(&whole, None)?;
        let part = |x: &Tensor| x.narrow(0, team.rank(), 1 + 2 * team.rank());
        let [x, dy, weight, bias] = &whole;
        let mine: Vec<Tensor> =
            [&part(x)?, &part(dy)?, weight, bias].map(|x| x.to_device(device).unwrap()).into();
        let mut replay = Replay::default();
        for run in 0..4 {
            let found = replay.run(&mine, |x| -> nn::Result<Vec<Tensor>> {
                let mut found = normalized(x, Some(&ranks))?;
                let mut buckets = Buckets::new(group);
                for (entry, gradient) in found.drain(4..).enumerate() {
                    buckets.add(entry, &gradient)?;
                }
                found.extend(buckets.finish(2)?.into_iter().flatten());
                Ok(found)
            })?;
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // The gradients of weight and bias are means over the ranks of sums over their
                // parts.
                let expected = if i < 2 {
                    part(expected)?
                } else {
                    expected.scale(if i < 4 { 1.0 } else { 0.5 })?
                };
                let (found, expected) = (found.to_f64_vec()?, expected.to_f64_vec()?);
                assert_eq!(found.len(), expected.len());
                let far = found
                    .iter()
                    .zip(&expected)
                    .fold(0.0, |far, (a, b)| f64::max(far, (a - b).abs()));
                assert!(far < 1e-12, "run {run}, result {i}: {far:e}");
            }
        }
        println!("normalized on {device}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn both_come_to_the_same_bits_and_normalize_by_the_whole_batch() {
    if !there_are_gpus() {
        return;
    }
    for (part, says) in [("gpus::a_rank", "values on"), ("gpus::a_normalization", "normalized on")]
    {
        let folder = prepared();
        let program = std::env::current_exe().unwrap();
        let arguments = ["--exact", part, "--ignored", "--nocapture"];
        let text =
            said(&succeeds(started(2, folder.path(), &program, &arguments).output().unwrap()));
        assert!(
            ["cuda:0", "cuda:1"].iter().all(|gpu| text.contains(&format!("{says} {gpu}"))),
            "{text}"
        );
    }
}

#[test]
fn a_rank_that_dies_or_falls_silent_ends_the_one_whose_gpu_waits_for_it() {
    if !there_are_gpus() {
        return;
    }
    for (signal, rank, message) in [
        ("-KILL", 0, "rank 0"),
        ("-KILL", 1, "rank 1"),
        ("-STOP", 1, "no sign of life from rank 1"),
    ] {
        let folder = prepared();
        one_ends_both(folder.path(), signal, rank, message);
    }
}

#[test]
fn gpus_that_cannot_be_shared_are_reported_before_anything_is_written() {
    if !there_are_gpus() {
        return;
    }
    let folder = prepared();
    for (variables, message) in [
        (
            &[("CUDA_VISIBLE_DEVICES", "0"), ("CUDA_EMULATOR_DEVICES", "1")][..],
            "rank 1: it has the same GPU as rank 0",
        ),
        (&[("ENGINE_NCCL", "/nonexistent")], "nccl: NCCL 2.10 or later is needed"),
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
    let arguments =
        ["eval", "--input", "hazy", "--target", "clear", "--task", "dehaze", "--device", "cuda"];
    let one = succeeds(alone(folder.path(), &arguments)).stdout;
    let two = succeeds(ranks(2, folder.path(), &arguments).output().unwrap()).stdout;
    assert_eq!(String::from_utf8_lossy(&two), String::from_utf8_lossy(&one));
}
