//! Training under real faults: killed at any instant, told to stop, without disk space, with
//! damaged files, with values that are not finite. Nothing may be lost, and a run that resumes must
//! end with the bits of one that was not disturbed.

mod common;

use common::prepared;
use engine::Rng;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn command(folder: &Path, changes: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_irnext"));
    command
        .current_dir(folder)
        .args(["train", "run.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for change in changes {
        command.args(["--set", change]);
    }
    command
}

fn train(folder: &Path, changes: &[&str]) -> Output {
    command(folder, changes).output().unwrap()
}

/// The files that a run leaves, to use and to resume from.
fn results(folder: &Path) -> Vec<Vec<u8>> {
    let read = |name: &str| {
        fs::read(folder.join("run").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    ["weights.safetensors", "best.safetensors", "last.safetensors"].map(read).into()
}

/// The results of a run that nothing happened to.
fn undisturbed() -> Vec<Vec<u8>> {
    let folder = prepared();
    succeeds(train(folder.path(), &[]));
    results(folder.path())
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(output: Output) {
    assert!(output.status.success(), "{}", complaint(&output));
}

/// Fails with a message that says all of `parts`, and without a panic.
fn refuses(output: &Output, parts: &[&str]) {
    let complaint = complaint(output);
    assert!(
        !output.status.success() && output.status.code().is_some(),
        "it ended with {}",
        output.status
    );
    assert!(!complaint.contains("panicked"), "{complaint}");
    for part in parts {
        assert!(complaint.contains(part), "{part:?} is not said in:\n{complaint}");
    }
}

/// Waits for `ready`, as long as the process runs. Whether it came about.
fn wait_for(child: &mut Child, ready: impl Fn() -> bool) -> bool {
    while !ready() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// As `kill` does.
fn send(child: &Child, signal: &str) {
    assert!(
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success()
    );
}

#[test]
fn killed_at_any_instant_it_ends_with_the_same_bits() {
    let folder = prepared();
    let mut rng = Rng::new(std::process::id().into());
    let mut kills = 0;
    loop {
        let mut child = command(folder.path(), &[]).spawn().unwrap();
        // Longer from time to time, so that it comes to an end on a slow machine too.
        std::thread::sleep(Duration::from_millis(rng.below(120 + 20 * kills) as u64));
        match child.try_wait().unwrap() {
            None => {
                // SIGKILL: the process learns nothing of it.
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
            Some(_) => {
                succeeds(child.wait_with_output().unwrap());
                break;
            }
        }
    }
    println!("killed {kills} times");
    assert!(kills > 0);
    assert!(
        results(folder.path()) == undisturbed(),
        "killed {kills} times, it ended with other bits"
    );
    let partial = fs::read_dir(folder.path().join("run")).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "part")
    });
    assert_eq!(partial.count(), 0);
}

#[cfg(unix)]
#[test]
fn a_stopped_run_resumes_with_the_same_bits() {
    let folder = prepared();
    // Nothing would be saved before the end if nobody asked for it.
    let rarely = ["optimizer.save_every=1000"];
    let last = folder.path().join("run/last.safetensors");
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut child = command(folder.path(), &rarely).spawn().unwrap();
        // A while after it began: in the middle of a step or of a validation.
        assert!(wait_for(&mut child, || folder.path().join("run/config.toml").exists()));
        std::thread::sleep(Duration::from_millis(150));
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            break; // It was through already.
        }
        assert_eq!(output.status.code(), Some(code), "{}", complaint(&output));
        assert!(complaint(&output).contains("stopped by signal"), "{}", complaint(&output));
        assert!(last.exists(), "nothing was saved");
        assert!(!folder.path().join("run/weights.safetensors").exists());
    }
    succeeds(train(folder.path(), &rarely));
    // How often it is saved stands in the checkpoint, with the other settings; so only the weights
    // can be equal.
    assert!(results(folder.path())[..2] == undisturbed()[..2], "it ended with other bits");
}

#[test]
fn a_flipped_bit_costs_one_checkpoint_and_no_bits() {
    let folder = prepared();
    let mut child = command(folder.path(), &[]).spawn().unwrap();
    let (last, previous) = (
        folder.path().join("run/last.safetensors"),
        folder.path().join("run/previous.safetensors"),
    );
    assert!(wait_for(&mut child, || previous.exists()));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut bytes = fs::read(if last.exists() { &last } else { &previous }).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    fs::write(&last, &bytes).unwrap();
    let output = train(folder.path(), &[]);
    assert!(
        complaint(&output).contains("resuming from the previous checkpoint"),
        "{}",
        complaint(&output)
    );
    succeeds(output);
    assert!(results(folder.path()) == undisturbed(), "it ended with other bits");

    // Both damaged: nothing is begun anew over them.
    fs::write(&last, &bytes).unwrap();
    fs::write(&previous, &bytes).unwrap();
    refuses(&train(folder.path(), &[]), &["last.safetensors", "damaged"]);
    assert!(fs::read(&last).unwrap() == bytes);
}

#[test]
fn a_damaged_image_ends_the_run_and_nothing_is_lost() {
    for damage in ["cut", "gone"] {
        let folder = prepared();
        let long = ["optimizer.steps=120", "optimizer.save_every=1000", "data.cache_mb=0"];
        let mut child = command(folder.path(), &long).spawn().unwrap();
        assert!(
            wait_for(&mut child, || folder.path().join("run/best.safetensors").exists()),
            "it never began"
        );
        let victim = folder.path().join("clean/1.png");
        let bytes = fs::read(&victim).unwrap();
        fs::remove_file(&victim).unwrap();
        if damage == "cut" {
            fs::write(&victim, &bytes[..bytes.len() / 2]).unwrap();
        }
        refuses(
            &child.wait_with_output().unwrap(),
            &["1.png", "is saved in run; the same command resumes from there"],
        );
        // It resumes when the image is there again.
        fs::write(&victim, bytes).unwrap();
        let output = train(folder.path(), &long);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("120 steps, ") && !said.contains("120 steps, 0 done"), "{said}");
        succeeds(output);
    }
}

#[test]
fn three_steps_in_a_row_that_are_not_finite_end_the_run() {
    let folder = prepared();
    // Parameters beyond all bounds after the first step.
    let wild = [
        "optimizer.learning_rate=1e38",
        "optimizer.warmup=0",
        "optimizer.clip=0",
        "optimizer.save_every=1",
    ];
    let output = train(folder.path(), &wild);
    refuses(
        &output,
        &[
            "not finite in 3 consecutive steps",
            "restored the checkpoint at step 1",
            "learning_rate",
        ],
    );
    assert!(!folder.path().join("run/weights.safetensors").exists());
    // The kept state is from before.
    let kept = nn::weights::WeightFile::read(&folder.path().join("run/last.safetensors")).unwrap();
    let progress: serde_json::Value =
        serde_json::from_str(&kept.metadata["irnext.progress"]).unwrap();
    assert_eq!((&progress["step"], &progress["failures"]), (&1.into(), &0.into()));
}

#[test]
fn a_run_has_one_writer() {
    let folder = prepared();
    let mut child = command(folder.path(), &["optimizer.steps=100000"]).spawn().unwrap();
    assert!(wait_for(&mut child, || folder.path().join("run/config.toml").exists()));
    // Should it be let in, it does not stay.
    let second = command(folder.path(), &["optimizer.steps=100000"])
        .args(["--minutes", "0"])
        .output()
        .unwrap();
    refuses(&second, &["run: another process is training in this folder"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_batch_of_one_and_a_set_too_small_are_refused_with_the_reason() {
    let folder = prepared();
    refuses(
        &train(folder.path(), &["optimizer.batch=1"]),
        &["BatchNorm normalizes 1×1 maps over the batch alone"],
    );
    refuses(
        &train(folder.path(), &["optimizer.batch=5"]),
        &["the batch size 5 is larger than the data set"],
    );
    assert!(!folder.path().join("run").exists());
}

/// Runs a script that may mount; `None` where this user may not.
#[cfg(target_os = "linux")]
fn with_mounts(folder: &Path, script: &str) -> Option<Output> {
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.current_dir(folder).env("IRNEXT", env!("CARGO_BIN_EXE_irnext"));
        command.args(["--mount", "--map-root-user", "sh", "-c", script]).output()
    };
    let possible = run("mount -t tmpfs none clean").is_ok_and(|output| output.status.success());
    if !possible {
        println!("LEFT OUT: this user may not mount anything here");
    }
    possible.then(|| run(script).unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_run_and_keeps_the_last_checkpoint() {
    let folder = prepared();
    // Space for one checkpoint and a half; the files left at the end are copied out.
    let script = "mkdir run kept; mount -t tmpfs -o size=$SIZE none run; \
                  $IRNEXT train run.toml; code=$?; cp run/*.safetensors kept; ls -A run > \
                  kept/names; exit $code";
    let size = {
        let folder = prepared();
        succeeds(train(folder.path(), &["optimizer.steps=1"]));
        fs::metadata(folder.path().join("run/last.safetensors")).unwrap().len() * 3 / 2
    };
    let Some(output) = with_mounts(folder.path(), &script.replace("$SIZE", &size.to_string()))
    else {
        return;
    };
    refuses(&output, &["run/last.safetensors: the disk is full", "step 1 is saved in run"]);
    let names = fs::read_to_string(folder.path().join("kept/names")).unwrap();
    assert!(!names.contains(".part"), "half a file was left:\n{names}");
    // With space, it resumes with the same bits.
    fs::rename(folder.path().join("run"), folder.path().join("mounted")).unwrap();
    fs::create_dir(folder.path().join("run")).unwrap();
    fs::copy(
        folder.path().join("kept/last.safetensors"),
        folder.path().join("run/last.safetensors"),
    )
    .unwrap();
    succeeds(train(folder.path(), &[]));
    assert!(results(folder.path()) == undisturbed(), "it ended with other bits");
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = prepared();
    let script = "mkdir run; mount -t tmpfs -o ro none run; $IRNEXT train run.toml";
    let Some(output) = with_mounts(folder.path(), script) else { return };
    refuses(&output, &["run/.lock: the disk is read-only"]);
}
