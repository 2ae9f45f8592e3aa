//! The command of a command line: `restore` if a photograph comes first, as in `irnext photo.jpg`.

use clap::Command;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The arguments of the program, with the command `restore` if a photograph comes first. After the
/// command `help`, which takes no options, --help and -h are dropped.
pub(super) fn with_command(arguments: Vec<OsString>, program: &Command) -> Vec<OsString> {
    let mut arguments = arguments;
    // The first is the program's own name.
    let mut given = arguments.iter().skip(1).map(|argument| (argument, kind(argument, program)));
    match given.find(|(_, kind)| *kind != Kind::Option) {
        Some((_, Kind::Photo)) => arguments.insert(1, "restore".into()),
        Some((command, _)) if command == "help" => {
            arguments.retain(|argument| argument != "--help" && argument != "-h");
        }
        _ => {}
    }
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
    } else if matches!(&*text, "-" | "--") || !text.starts_with('-') && is_path(argument, &text) {
        // Behind `--` are photographs alone, whatever their names begin with.
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
        for line in [
            "irnext a.jpg",
            "irnext --task dehaze a.jpg",
            "irnext -",
            "irnext -q src/",
            "irnext -- -a.jpg",
            "irnext --task dehaze -- restore",
        ] {
            assert_eq!(of(line), line.replacen("irnext ", "irnext restore ", 1));
        }
        for line in [
            "irnext",
            "irnext --help",
            "irnext restore a.jpg",
            "irnext --threads 2 train run.toml",
            "irnext help restore",
            "irnext --threads 1",
            "irnext restore --help",
        ] {
            assert_eq!(of(line), line);
        }
        assert_eq!(of("irnext help --help"), "irnext help");
        assert_eq!(of("irnext help train -h"), "irnext help train");
    }
}
