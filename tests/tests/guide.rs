//! The book's guide to adding an operation, followed step by step in a copy of the engine.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn an_operation_added_by_the_guide_passes_the_op_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
    copy_workspace(&root, &copy);

    // The guide: a folder, and a line in `ops!`.
    let ops = copy.join("engine/src/ops");
    fs::create_dir_all(ops.join("softplus")).unwrap();
    fs::copy(root.join("docs/code/softplus.rs"), ops.join("softplus/mod.rs")).unwrap();
    fs::copy(root.join("docs/code/softplus_samples.rs"), ops.join("softplus/samples.rs")).unwrap();
    let list = fs::read_to_string(ops.join("mod.rs")).unwrap();
    let line = "    // Softplus.\n    softplus,\n";
    assert!(
        list.contains("ops! {\n"),
        "the list of operations is not where the guide looks for it"
    );
    fs::write(ops.join("mod.rs"), list.replacen("ops! {\n", &format!("ops! {{\n{line}"), 1))
        .unwrap();

    // The checks, as one more test inside the copied engine, so that it is compiled once and
    // nothing above it at all: the engine stands for both crates that they use.
    let source = copy.join("engine/src");
    fs::copy(root.join("tests/tests/op_check.rs"), source.join("guide.rs")).unwrap();
    copy_folder(&root.join("tests/src"), &source.join("shared"));
    fs::rename(source.join("shared/lib.rs"), source.join("shared/mod.rs")).unwrap();
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let check = [
        "extern crate self as engine;",
        "extern crate self as tests;",
        "mod guide;",
        "mod shared;",
        "use shared::files_in;",
    ];
    let check: String = check.iter().map(|line| format!("#[cfg(test)]\n{line}\n")).collect();
    fs::write(source.join("lib.rs"), format!("{lib}\n{check}")).unwrap();

    let output = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--package", "irnext-engine", "--lib"])
        // Compiling for speed would take longer than it saves.
        .args(["--config", "profile.dev.package.irnext-engine.opt-level=0"])
        .args(["--", "softplus", "guide"])
        .current_dir(&copy)
        // Of its own: Cargo takes a crate of the copy for the workspace's own, and would replace
        // that one while tests are still being built.
        .env("CARGO_TARGET_DIR", copy.with_file_name("guide-target"))
        .output()
        .unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    for test in ["large_numbers_do_not_overflow", "every_operation_passes"] {
        assert!(said.contains(&format!("{test} ... ok")), "{test} did not run: {said}");
    }
}

/// The workspace with no member but the engine and its dependencies, afresh.
fn copy_workspace(root: &Path, copy: &Path) {
    if copy.exists() {
        fs::remove_dir_all(copy).unwrap();
    }
    for folder in ["engine", "kernels"] {
        copy_folder(&root.join(folder), &copy.join(folder));
    }
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = |line: &str| line.starts_with("members") || line.starts_with("default-members");
    let alone: Vec<&str> = manifest.lines().filter(|line| !members(line)).collect();
    let alone =
        alone.join("\n").replacen("[workspace]\n", "[workspace]\nmembers = [\"engine\"]\n", 1);
    fs::write(copy.join("Cargo.toml"), alone).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
