//! `-` for standard input and output: `irnext - < a.jpg > b.jpg`. Nothing but the result goes to
//! standard output; the line about the photograph goes to standard error.

use super::arguments::Arguments;
use super::lines::{line, object};
use crate::cli::output::{check_not_replaced, check_overwrite, complain};
use crate::cli::signals::Signals;
use crate::error::{Error, Result};
use crate::image::Photo;
use crate::jobs::{RestoredBytes, restore_bytes};
use crate::restorer::Restorer;
use engine::interruptible;
use std::io::{ErrorKind, IsTerminal, Read, Write, stdin, stdout};
use std::path::Path;

/// The most that is read: no image that can be read is larger.
const LARGEST: u64 = 4 << 30;

/// Restores one photograph; true if it was restored, or rightly left alone.
pub(super) fn run(arguments: &Arguments, restorer: &Restorer) -> Result<bool> {
    let usage = |reason: &str| Error::Config { reason: reason.into() };
    let [path] = &arguments.paths[..] else {
        return Err(usage("- is one photograph; restore others by another command"));
    };
    if arguments.compare || arguments.report.is_some() || arguments.suffix.is_some() {
        return Err(usage(
            "--compare, --report and --suffix need files, not - (standard input or output)",
        ));
    }
    let output = arguments.output.as_deref().filter(|path| *path != Path::new("-"));
    match output {
        Some(file) => {
            Photo::check_writable(file)?;
            check_overwrite(file, arguments.overwrite)?;
            // Leads to the file, where a system has it and the input is one.
            let stdin = Path::new("/dev/stdin");
            check_not_replaced(if path == Path::new("-") { stdin } else { path }, file)?;
        }
        None if stdout().is_terminal() => {
            return Err(usage("standard output is a terminal; give -o FILE, or redirect it"));
        }
        None => {}
    }
    if path == Path::new("-") && stdin().is_terminal() {
        return Err(usage("standard input is a terminal; name a photograph, or redirect it"));
    }
    let (name, bytes) = match path == Path::new("-") {
        true => {
            let (name, mut bytes) = (Path::new("standard input"), Vec::new());
            stdin().lock().take(LARGEST).read_to_end(&mut bytes).map_err(Error::io(name))?;
            (name, bytes)
        }
        false => (path.as_path(), std::fs::read(path).map_err(Error::io(path))?),
    };
    // Not before: a signal ends the wait for input at once.
    let signals = Signals::watch()?;
    let format = arguments.format.as_deref();
    let format = format.or(output.and_then(|file| file.extension()?.to_str()));
    let restored = interruptible(&signals.stop, || {
        restore_bytes(name, bytes, format, restorer, None, &arguments.settings(), &|_| ())
    });
    let RestoredBytes { bytes, mut report, .. } = match (restored, signals.last()) {
        (Err(error), Some(signal)) if error.is_interruption() => return Err(Error::Signal(signal)),
        (restored, _) => restored?,
    };
    match output {
        Some(file) => nn::write_atomically(file, &bytes).map_err(Error::io(file))?,
        None => match stdout().lock().write_all(&bytes).and_then(|()| stdout().flush()) {
            // The reader closed the pipe, and needs no more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(true),
            written => written.map_err(Error::io(Path::new("standard output")))?,
        },
    }
    report.to = Some(output.unwrap_or(Path::new("standard output")).into());
    if arguments.json {
        let _ = writeln!(std::io::stderr(), "{}", object(name, &report));
    } else if !arguments.quiet {
        complain!("{}", line(name, &report));
    }
    Ok(true)
}
