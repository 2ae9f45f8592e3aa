//! The command of a command line: `restore` if a photograph comes first, as in `irnext photo.jpg`.
//! Options may come before the command: `irnext -q restore photo.jpg`.

use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The arguments of the program, with the command first: `restore` if a photograph comes before
/// any, or if no command comes at all, but an option of `restore`. Options of the program itself
/// stay where they are if no others come before the command. After the command `help`, which takes
/// no options, --help and -h are dropped.
pub(super) fn with_command(arguments: Vec<OsString>, program: &Command) -> Vec<OsString> {
    let mut arguments = arguments;
    let (mut at, mut others, mut of_restore) = (1, false, true);
    // The first is the program's own name.
    while let Some(argument) = arguments.get(at) {
        match kind(argument, program) {
            Kind::Option { has_value, own, restores } => {
                others |= !own;
                of_restore &= own || restores;
                at += 1 + usize::from(has_value);
            }
            Kind::Other => at += 1,
            Kind::Photo => {
                arguments.insert(1, "restore".into());
                return arguments;
            }
            Kind::Command if argument == "help" => {
                arguments.retain(|argument| argument != "--help" && argument != "-h");
                return arguments;
            }
            Kind::Command => {
                if others {
                    arguments[1..=at].rotate_right(1);
                }
                return arguments;
            }
        }
    }
    if others && of_restore {
        // Its errors are about photographs, such as a folder with a mistyped name.
        arguments.insert(1, "restore".into());
    }
    arguments
}

enum Kind {
    Command,
    Photo,
    /// An option: whether the next argument is its value, and whether it is one of the program
    /// itself, not of a command, or one of `restore`.
    Option {
        has_value: bool,
        own: bool,
        restores: bool,
    },
    /// Anything else, such as a mistyped command.
    Other,
}

fn kind(argument: &OsStr, program: &Command) -> Kind {
    let text = argument.to_string_lossy();
    if text == "help" || program.find_subcommand(&*text).is_some() {
        Kind::Command
    } else if matches!(&*text, "-" | "--") || !text.starts_with('-') && is_path(argument, &text) {
        // Behind `--` are photographs alone, whatever their names begin with.
        Kind::Photo
    } else if text.starts_with('-') {
        option(&text, program)
    } else {
        Kind::Other
    }
}

/// What an option is, as the program knows it, or else `restore`, or else another command.
fn option(text: &str, program: &Command) -> Kind {
    let find = |is: &dyn Fn(&Arg) -> bool| {
        let of = |command: &Command| command.get_arguments().find(|argument| is(argument)).cloned();
        let restore = || Some((of(program.find_subcommand("restore")?)?, false, true));
        let other = || Some((program.get_subcommands().find_map(of)?, false, false));
        of(program).map(|found| (found, true, false)).or_else(restore).or_else(other)
    };
    let takes_value = |argument: &Arg| argument.get_action().takes_values();
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
        // Every command has these two.
        let own = matches!(name, "help" | "version");
        let found = find(&|argument| argument.get_long() == Some(name));
        let takes = found.as_ref().is_some_and(|(found, ..)| takes_value(found));
        return Kind::Option {
            has_value: value.is_none() && takes,
            own: own || found.as_ref().is_none_or(|(_, own, _)| *own),
            restores: found.is_some_and(|(.., restores)| restores),
        };
    }
    // Short ones, up to one that takes the rest, or the next argument, as its value.
    let (mut rest, mut all_own, mut restores) = (text[1..].chars(), true, true);
    while let Some(short) = rest.next() {
        let found = find(&|argument| argument.get_short() == Some(short));
        let own = matches!(short, 'h' | 'V') || found.as_ref().is_none_or(|(_, own, _)| *own);
        all_own &= own;
        restores &= own || found.as_ref().is_some_and(|(.., restores)| *restores);
        if found.is_some_and(|(found, ..)| takes_value(&found)) {
            return Kind::Option { has_value: rest.as_str().is_empty(), own: all_own, restores };
        }
    }
    Kind::Option { has_value: false, own: all_own, restores }
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
            // No command at all, but what only `restore` knows.
            "irnext --watch folder",
            "irnext -q --watch folder",
            "irnext --task dehaze mistyped",
            "irnext mistyped -o x/",
            "irnext --task dehaze",
        ] {
            assert_eq!(of(line), line.replacen("irnext ", "irnext restore ", 1));
        }
        for (line, meant) in [
            ("irnext -q restore a.jpg", "irnext restore -q a.jpg"),
            ("irnext --threads 2 -q restore a.jpg", "irnext restore --threads 2 -q a.jpg"),
            ("irnext --task rain restore a.jpg -o b/", "irnext restore --task rain a.jpg -o b/"),
            // A value may have the name of a command, or of a file.
            ("irnext --suffix train a.jpg", "irnext restore --suffix train a.jpg"),
            ("irnext -qo src restore a.jpg", "irnext restore -qo src a.jpg"),
            ("irnext -qosrc restore a.jpg", "irnext restore -qosrc a.jpg"),
            ("irnext --output=src restore a.jpg", "irnext restore --output=src a.jpg"),
            ("irnext --dry-run train run.toml", "irnext train --dry-run run.toml"),
        ] {
            assert_eq!(of(line), meant);
        }
        for line in [
            "irnext",
            "irnext --mistyped restore a.jpg",
            "irnext --help restore",
            "irnext --help",
            "irnext restore a.jpg",
            "irnext --threads 2 train run.toml",
            "irnext help restore",
            "irnext --threads 1",
            "irnext restore --help",
            "irnext mistyped",
            "irnext trian --dry-run",
            "irnext --mistyped",
        ] {
            assert_eq!(of(line), line);
        }
        assert_eq!(of("irnext help --help"), "irnext help");
        assert_eq!(of("irnext help train -h"), "irnext help train");
    }
}
