//! `irnext completions` and `irnext man`: files for shells and for the manual, made from the
//! program's own help.

use super::output::{check_overwrite, say};
use crate::error::{Error, Result};
use crate::jobs::Output;
use clap::builder::Resettable;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use nn::shown;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext completions bash > ~/.local/share/bash-completion/completions/irnext
  irnext completions zsh > ~/.zfunc/_irnext
  irnext completions fish > ~/.config/fish/completions/irnext.fish")]
pub(super) struct CompletionArguments {
    /// Shell to complete for
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext man | man -l -                     Read the page of the program
  irnext man ~/.local/share/man/man1/       Write the pages of all commands")]
pub(super) struct ManArguments {
    /// Folder for the pages of all commands; end a new one with a slash [default: print the page of
    /// the program]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Overwrite existing files
    #[arg(long)]
    overwrite: bool,
}

/// Prints the completion script of a shell for `program`.
pub(super) fn completions(arguments: &CompletionArguments, program: Command) -> Result<()> {
    let shell = arguments.shell;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut photo_first(program, shell), "irnext", &mut script);
    let script = String::from_utf8_lossy(&script);
    let script = if shell == Shell::Zsh { zsh_photo_first(&script) } else { script.into() };
    say!("{}", script.trim_end());
    Ok(())
}

/// The program as completions see it: the arguments of `restore`, which may stand without their
/// command, are also its own; and paths are those of files or of folders.
fn photo_first(program: Command, shell: Shell) -> Command {
    let program = program.mut_subcommands(|command| command.mut_args(with_hint));
    let restore = program.find_subcommand("restore").into_iter().flat_map(Command::get_arguments);
    // Beside commands, zsh has no place for photographs.
    let shown = restore.filter(|argument| shell != Shell::Zsh || !argument.is_positional());
    // Arguments that are not shown can exclude no others.
    let free = |argument: &Arg| argument.clone().conflicts_with(Resettable::Reset);
    let shown: Vec<Arg> = shown.map(free).collect();
    program.args(shown)
}

/// The argument, with its kind of path by the name of its value.
fn with_hint(argument: Arg) -> Arg {
    if argument.get_value_hint() != ValueHint::AnyPath {
        return argument;
    }
    let name = argument.get_value_names().and_then(|names| names.first());
    let hint = match name.map(|name| name.as_str()) {
        Some("FILE" | "CONFIG.TOML") => ValueHint::FilePath,
        Some("DIR" | "FOLDER" | "RUN") => ValueHint::DirPath,
        _ => ValueHint::AnyPath,
    };
    argument.value_hint(hint)
}

/// The script for zsh with photographs beside the commands: a first word with a dot or a slash is
/// completed as after `restore`.
fn zsh_photo_first(script: &str) -> String {
    let commands = "_describe -t commands 'irnext commands' commands \"$@\"";
    let photos = "_files";
    script.replacen(commands, &format!("{commands}\n    {photos}"), 1).replacen(
        "(restore)",
        "(restore|*.*|*/*)",
        1,
    )
}

/// Prints the manual page of `program`, or writes one for each command.
pub(super) fn man(arguments: &ManArguments, program: Command) -> Result<()> {
    // `help` has no page.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let Some(folder) = &arguments.folder else {
        let page = page(program, Path::new("irnext.1"))?;
        say!("{}", String::from_utf8_lossy(&page).trim_end());
        return Ok(());
    };
    let mut pages = vec![("irnext.1".to_string(), program.clone())];
    pages.extend(program.get_subcommands().map(|command| {
        let name = format!("irnext-{}", command.get_name());
        (format!("{name}.1"), command.clone())
    }));
    // The name of a command is more likely to ask for its page.
    let Output::Folder(folder) = Output::new(folder.clone(), false) else {
        let reason = format!(
            "{0}: no such folder. To write the pages of all commands to a new one, end it with a \
             slash: {0}/",
            shown(folder)
        );
        return Err(Error::Config { reason });
    };
    let io = |path: &Path, source| Error::Io { path: path.into(), source };
    std::fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
    let paths: Vec<PathBuf> = pages.iter().map(|(file, _)| folder.join(file)).collect();
    for path in &paths {
        check_overwrite(path, arguments.overwrite)?;
    }
    for ((_, command), path) in pages.into_iter().zip(&paths) {
        let page = page(command, path)?;
        std::fs::write(path, page).map_err(|source| io(path, source))?;
    }
    say!("{} pages in {}", paths.len(), shown(&folder));
    Ok(())
}

fn page(command: Command, path: &Path) -> Result<Vec<u8>> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut page = Vec::new();
    let man = Man::new(command.after_help(None::<&str>));
    let rendered = man.source(concat!("irnext ", env!("CARGO_PKG_VERSION"))).render(&mut page);
    rendered.map_err(|source| Error::Io { path: path.into(), source })?;
    page.extend(examples_and_notes(&after).to_roff().into_bytes());
    Ok(page)
}

/// The sections of a page for the text after the help: its examples, line by line, and the rest.
fn examples_and_notes(text: &str) -> Roff {
    let mut sections = Roff::new();
    let (examples, notes) = match text.strip_prefix("Examples:\n") {
        Some(rest) => rest.split_once("\n\n").unwrap_or((rest, "")),
        None => ("", text),
    };
    if !examples.is_empty() {
        sections.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            sections.text([roman(line)]);
        }
        sections.control("fi", []);
    }
    if !notes.is_empty() {
        sections.control("SH", ["NOTES"]);
        for line in notes.lines() {
            match line {
                "" => sections.control("PP", []),
                line => sections.text([roman(line)]),
            };
        }
    }
    sections
}
