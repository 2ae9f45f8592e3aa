//! The program under `mpirun`: two processes together do the work of one, and neither outlives the
//! other.
//!
//! Takes Open MPI. Without it the tests say on standard error that they are left out; with
//! `IRNEXT_REQUIRE_MPI=1` they fail.

#![cfg(all(feature = "mpi", target_os = "linux"))]

mod common;
#[cfg(feature = "cuda")]
#[path = "mpi/gpus.rs"]
mod gpus;

use common::prepared;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Whether there is an Open MPI to start processes with.
fn there_is_mpirun() -> bool {
    let version = Command::new("mpirun").arg("--version").output();
    let there =
        version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Open MPI"));
    if !there {
        assert!(std::env::var_os("IRNEXT_REQUIRE_MPI").is_none(), "there is no mpirun of Open MPI");
        // Past the test harness, which keeps the output of tests that pass.
        let _ =
            writeln!(std::io::stderr(), "LEFT OUT: there is no mpirun of Open MPI on this machine");
    }
    there
}

/// `size` processes in `folder`, each of which writes its number to the file `pid.RANK` first.
fn ranks(size: usize, folder: &Path, arguments: &[&str]) -> Command {
    started(size, folder, env!("CARGO_BIN_EXE_irnext").as_ref(), arguments)
}

/// The same of another program.
fn started(size: usize, folder: &Path, program: &Path, arguments: &[&str]) -> Command {
    // Should nothing end them, the test ends in failure.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "300", "mpirun"]);
    let script = "echo $$ > pid.$OMPI_COMM_WORLD_RANK; exec \"$@\"";
    command.args([
        "-n",
        &size.to_string(),
        "--allow-run-as-root",
        "--oversubscribe",
        "--bind-to",
        "none",
    ]);
    command.args(["sh", "-c", script, "sh"]).arg(program).args(arguments);
    command.env("LC_ALL", "C.UTF-8");
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One process in `folder`.
fn alone(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_irnext")).current_dir(folder).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn succeeds(output: Output) -> Output {
    assert!(output.status.success(), "{}", said(&output));
    output
}

fn process(folder: &Path, rank: usize) -> String {
    fs::read_to_string(folder.join(format!("pid.{rank}"))).unwrap().trim().to_string()
}

fn send(folder: &Path, rank: usize, signal: &str) {
    assert!(
        Command::new("kill").args([signal, &process(folder, rank)]).status().unwrap().success()
    );
}

/// Whether the process is there, and more than a name that nobody has asked for yet.
fn is_running(process: &str) -> bool {
    let stat =
        fs::read_to_string(Path::new("/proc").join(process).join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with('Z'))
}

/// Starts a run that would take hours, and waits until it has taken some steps.
fn endless(folder: &Path) -> Child {
    let settings = [
        "train",
        "run.toml",
        "--set",
        "optimizer.steps=1000000",
        "--set",
        "validation.every=1000000",
    ];
    let mut child = ranks(2, folder, &settings).spawn().unwrap();
    let steps = || {
        fs::read_to_string(folder.join("run/metrics.jsonl")).map_or(0, |text| text.lines().count())
    };
    while steps() < 3 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended: {}",
            said(&child.wait_with_output().unwrap())
        );
        sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn two_processes_train_as_one() {
    if !there_is_mpirun() {
        return;
    }
    let folder = prepared();
    same_losses(folder.path());
    for name in ["weights.safetensors", "best.safetensors", "last.safetensors", "config.toml"] {
        assert!(folder.path().join("two").join(name).exists(), "{name} is missing");
    }
}

/// Trains by one process and by two, which shall see the same, to rounding.
fn same_losses(folder: &Path) {
    succeeds(alone(folder, &["train", "run.toml", "--out", "one"]));
    let output =
        succeeds(ranks(2, folder, &["train", "run.toml", "--out", "two"]).output().unwrap());
    let text = said(&output);
    assert_eq!(text.matches("12 of 12 steps done").count(), 1, "one rank speaks:\n{text}");
    assert!(text.contains("2 ranks, 1 images per batch each"), "{text}");
    let [one, two] = ["one", "two"].map(|out| {
        let text = fs::read_to_string(folder.join(out).join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<serde_json::Value>>()
    });
    assert_eq!((one.len(), two.len()), (15, 15), "twelve steps and three validations");
    for (one, two) in one.iter().zip(&two) {
        assert_eq!((&one["kind"], &one["step"]), (&two["kind"], &two["step"]));
        let step = &one["step"];
        for key in ["loss", "spatial", "frequency", "psnr"] {
            if let (Some(one), Some(two)) = (one[key].as_f64(), two[key].as_f64()) {
                assert!((one - two).abs() < 2e-4 * one, "step {step}, {key}: {two} is not {one}");
            }
        }
    }
}

#[test]
fn stopped_ranks_resume_with_the_same_bits() {
    if !there_is_mpirun() {
        return;
    }
    let folder = prepared();
    let settings = |out| {
        [
            "train",
            "run.toml",
            "--out",
            out,
            "--set",
            "optimizer.steps=40",
            "--set",
            "validation.every=20",
        ]
    };
    succeeds(ranks(2, folder.path(), &settings("straight")).output().unwrap());
    let mut child = ranks(2, folder.path(), &settings("run")).spawn().unwrap();
    let metrics = folder.path().join("run/metrics.jsonl");
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        assert!(child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(2));
    }
    // The rank that does not write.
    send(folder.path(), 1, "-TERM");
    let output = child.wait_with_output().unwrap();
    // It may have been through.
    if !folder.path().join("run/weights.safetensors").exists() {
        assert!(
            !output.status.success() && said(&output).contains("stopped by signal 15"),
            "{}",
            said(&output)
        );
        assert!(folder.path().join("run/last.safetensors").exists(), "nothing was saved");
    }
    succeeds(ranks(2, folder.path(), &settings("run")).output().unwrap());
    let read = |out: &str| fs::read(folder.path().join(out).join("weights.safetensors")).unwrap();
    assert!(read("run") == read("straight"), "it ended with other bits");
}

#[test]
fn a_rank_that_dies_or_falls_silent_ends_the_others_with_a_message() {
    if !there_is_mpirun() {
        return;
    }
    for (signal, rank, message) in [
        ("-KILL", 0, "rank 0"),
        ("-KILL", 1, "rank 1"),
        ("-STOP", 0, "no sign of life from rank 0"),
        ("-STOP", 1, "no sign of life from rank 1"),
    ] {
        let folder = prepared();
        one_ends_both(folder.path(), signal, rank, message);
    }
}

/// Sends `rank` a signal in the middle of a run: both end, with a message.
fn one_ends_both(folder: &Path, signal: &str, rank: usize, message: &str) {
    let child = endless(folder);
    send(folder, rank, signal);
    let output = child.wait_with_output().unwrap();
    assert!(
        !output.status.success() && said(&output).contains(message),
        "{signal}: {}",
        said(&output)
    );
    for rank in [0, 1] {
        // mpirun does not wait for those that it has killed.
        while is_running(&process(folder, rank)) {
            sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_failure_on_one_rank_ends_both_and_nothing_is_lost() {
    if !there_is_mpirun() {
        return;
    }
    let folder = prepared();
    // Its header is whole, so that it is noticed at the validation.
    let file = folder.path().join("hazy/1.png");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let output =
        ranks(2, folder.path(), &["train", "run.toml", "--set", "optimizer.save_every=1000"])
            .output()
            .unwrap();
    assert!(!output.status.success() && said(&output).contains("1.png"), "{}", said(&output));
    assert!(
        said(&output).contains("step 5 is saved in run; the same command resumes from there"),
        "{}",
        said(&output)
    );
}

#[test]
fn ranks_with_other_settings_or_other_data_are_refused() {
    if !there_is_mpirun() {
        return;
    }
    let [folder, elsewhere] = [prepared(), prepared()];
    fs::rename(elsewhere.path().join("clean/0.png"), elsewhere.path().join("clean/00.png"))
        .unwrap();
    let two = |second: &Path, settings: &[&str]| {
        let program = env!("CARGO_BIN_EXE_irnext");
        let mut command = Command::new("mpirun");
        command
            .args(["--allow-run-as-root", "--oversubscribe", "-n", "1", "-wdir"])
            .arg(folder.path());
        command.args([program, "train", "run.toml", ":", "-n", "1", "-wdir"]).arg(second);
        command.args([program, "train", "run.toml"]).args(settings).output().unwrap()
    };
    let output = two(folder.path(), &["--set", "optimizer.batch=4"]);
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("rank 1: optimizer.batch is 4, but 2 on rank 0"), "{text}");
    let output = two(elsewhere.path(), &[]);
    let text = said(&output);
    assert!(
        !output.status.success() && text.contains("rank 1: the training set is 4 files"),
        "{text}"
    );
    let uneven = said(&ranks(3, folder.path(), &["train", "run.toml"]).output().unwrap());
    assert!(uneven.contains("a batch of 2 does not divide into 3 equal parts"), "{uneven}");
    assert!(!folder.path().join("run").exists(), "something was written");
}

#[test]
fn a_folder_is_scored_and_restored_by_two_as_by_one() {
    if !there_is_mpirun() {
        return;
    }
    let folder = prepared();
    for (folder, from) in [("hazy", "hazy/0.png"), ("clear", "clear/1.png")]
        .map(|(a, b)| (folder.path().join(a), folder.path().join(b)))
    {
        fs::copy(from, folder.join("2.png")).unwrap();
    }
    for format in ["table", "json", "csv"] {
        let arguments = [
            "eval", "--input", "hazy", "--target", "clear", "--task", "dehaze", "--format", format,
        ];
        let one = succeeds(alone(folder.path(), &arguments)).stdout;
        let two = succeeds(ranks(2, folder.path(), &arguments).output().unwrap()).stdout;
        assert_eq!(String::from_utf8_lossy(&two), String::from_utf8_lossy(&one));
    }
    let restore = |out| ["restore", "--task", "dehaze", "hazy", "-o", out];
    succeeds(alone(folder.path(), &restore("one/")));
    let output = succeeds(ranks(2, folder.path(), &restore("two/")).output().unwrap());
    assert_eq!(said(&output).matches(" → ").count(), 3, "{}", said(&output));
    for name in ["0.png", "1.png", "2.png"] {
        let read = |out: &str| fs::read(folder.path().join(out).join(name)).unwrap();
        assert!(read("one") == read("two"), "{name} differs");
    }
    // What already exists is done, whoever did it.
    fs::remove_file(folder.path().join("two/0.png")).unwrap();
    let output = succeeds(ranks(2, folder.path(), &restore("two/")).output().unwrap());
    assert!(said(&output).contains("1 restored, 2 done before"), "{}", said(&output));
    assert!(folder.path().join("two/0.png").exists(), "{}", said(&output));
    // A pair that cannot be read ends the scoring on both.
    fs::write(folder.path().join("hazy/1.png"), "no image").unwrap();
    let output = ranks(2, folder.path(), &["eval", "--input", "hazy", "--target", "clear"])
        .output()
        .unwrap();
    assert!(!output.status.success() && said(&output).contains("1.png"), "{}", said(&output));
}
