//! `irnext completions` and `irnext man`: files for shells and for the manual, made from the
//! program's own help.

use super::output::{check_overwrite, say};
use crate::error::{Error, Result};
use clap::Command;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext completions bash > ~/.local/share/bash-completion/completions/irnext
  irnext completions zsh > ~/.zfunc/_irnext
  irnext completions fish > ~/.config/fish/completions/irnext.fish")]
pub(super) struct CompletionArguments {
    /// Shell to complete for
    shell: clap_complete::Shell,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext man | man -l -                     Read the page of the program
  irnext man ~/.local/share/man/man1        Write the pages of all commands")]
pub(super) struct ManArguments {
    /// Folder for the pages of all commands [default: print the page of the program]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Overwrite existing files
    #[arg(long)]
    overwrite: bool,
}

/// Prints the completion script of a shell for `program`.
pub(super) fn completions(arguments: &CompletionArguments, mut program: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "irnext", &mut script);
    say!("{}", String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// Prints the manual page of `program`, or writes one for each command.
pub(super) fn man(arguments: &ManArguments, mut program: Command) -> Result<()> {
    program.build();
    let Some(folder) = &arguments.folder else {
        let page = page(program, Path::new("irnext.1"))?;
        say!("{}", String::from_utf8_lossy(&page).trim_end());
        return Ok(());
    };
    let commands = program.get_subcommands().filter(|command| command.get_name() != "help");
    let mut pages = vec![("irnext.1".to_string(), program.clone())];
    pages.extend(commands.map(|command| {
        let name = format!("irnext-{}", command.get_name());
        (format!("{name}.1"), command.clone())
    }));
    let io = |path: &Path, source| Error::Io { path: path.into(), source };
    std::fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
    let paths: Vec<PathBuf> = pages.iter().map(|(file, _)| folder.join(file)).collect();
    for path in &paths {
        check_overwrite(path, arguments.overwrite)?;
    }
    for ((_, command), path) in pages.into_iter().zip(&paths) {
        let page = page(command, path)?;
        std::fs::write(path, page).map_err(|source| io(path, source))?;
    }
    say!("{} pages in {}", paths.len(), folder.display());
    Ok(())
}

fn page(command: Command, path: &Path) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map_err(|source| Error::Io { path: path.into(), source })?;
    Ok(page)
}
