//! `irnext photo.jpg`: without a command, photographs are restored.

use clap::Command;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The arguments of a program, with the command `restore` where none is named but a photograph is.
pub(super) fn with_command(arguments: Vec<OsString>, program: &Command) -> Vec<OsString> {
    // The first is the program's own name.
    let given = arguments.iter().skip(1);
    let first = given.map(|argument| kind(argument, program)).find(|kind| *kind != Kind::Option);
    if first != Some(Kind::Photo) {
        return arguments;
    }
    let mut arguments = arguments;
    arguments.insert(1, "restore".into());
    arguments
}

#[derive(PartialEq)]
enum Kind {
    Command,
    Photo,
    /// An option, or its value.
    Option,
}

fn kind(argument: &OsStr, program: &Command) -> Kind {
    let text = argument.to_string_lossy();
    if text == "help" || program.find_subcommand(&*text).is_some() {
        Kind::Command
    } else if text == "-" || (!text.starts_with('-') && is_path(argument, &text)) {
        Kind::Photo
    } else {
        Kind::Option
    }
}

/// Whether `argument` is a file or folder, or looks like the name of one: a mistyped name then gets
/// an error about a photograph, not about a command.
fn is_path(argument: &OsStr, text: &str) -> bool {
    let numeric = text.parse::<f64>().is_ok();
    let has_extension = Path::new(argument).extension().is_some();
    let looks_so = text.contains(std::path::is_separator) || (has_extension && !numeric);
    looks_so || (!numeric && Path::new(argument).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn restore_is_the_command_if_a_photograph_comes_first() {
        let program = crate::cli::Cli::command();
        let of = |line: &str| {
            let arguments = line.split(' ').map(OsString::from).collect();
            let arguments = with_command(arguments, &program);
            arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        for line in ["irnext a.jpg", "irnext --task dehaze a.jpg", "irnext -", "irnext -q src/"] {
            assert_eq!(of(line), line.replacen("irnext ", "irnext restore ", 1));
        }
        for line in [
            "irnext",
            "irnext --help",
            "irnext restore a.jpg",
            "irnext --threads 2 train run.toml",
            "irnext help restore",
            "irnext --threads 1",
        ] {
            assert_eq!(of(line), line);
        }
    }
}
