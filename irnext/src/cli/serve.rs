//! `irnext serve`: a page to restore photographs in the browser, and an interface for programs.

use super::arguments::{ADVANCED, ComputeArguments, SizingArguments};
use super::output::{complain, say};
use super::restore::line;
use super::signals::Signals;
use crate::distributed::Team;
use crate::distributed::launch::LaunchInfo;
use crate::error::{Error, Result};
use crate::restore::MemoryLimit;
use crate::restorer::Restorer;
use crate::serve::{LARGEST_UPLOAD, Server};
use std::io::IsTerminal;
use std::path::Path;

#[derive(clap::Args)]
#[command(
    override_usage = "irnext serve [OPTIONS]",
    after_help = "\
Examples:
  irnext serve
      Open the page in the browser
  curl --data-binary @foggy.jpg localhost:7800/restore -o clear.jpg
      Restore a photo through the server; ?task=derain&strength=0.7 sets options

Photos stay on this machine, and in memory only. Other machines cannot connect. Ctrl-C ends the \
server once the photo at hand is done."
)]
pub(super) struct Arguments {
    /// Port to listen on; 0 for any free one [default: 7800]
    #[arg(long, value_name = "PORT", default_value_t = 7800, hide_default_value = true)]
    port: u16,
    /// Do not open the browser
    #[arg(long)]
    no_browser: bool,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    compute: ComputeArguments,
    #[command(flatten)]
    sizing: SizingArguments,
    /// Largest file that is accepted [default: 200M]
    #[arg(long, value_name = "SIZE", help_heading = ADVANCED)]
    largest: Option<MemoryLimit>,
}

/// Answers requests until a signal.
pub(super) fn run(arguments: &Arguments, launch: LaunchInfo) -> Result<()> {
    let team = launch.connect()?;
    team.finish(serve(arguments, &team))
}

fn serve(arguments: &Arguments, team: &Team) -> Result<()> {
    if !team.is_alone() {
        let reason = "serve needs a single process";
        return Err(Error::Config { reason: reason.into() });
    }
    let restorer = Restorer::detecting(arguments.compute.compute(team))?;
    let restorer = arguments.sizing.apply(restorer);
    let largest = arguments.largest.and_then(MemoryLimit::bytes).unwrap_or(LARGEST_UPLOAD);
    let server = Server::bind(arguments.port)?.taking_up_to(largest);
    let signals = Signals::watch()?;
    let address = format!("http://{}/", server.address());
    say!("{address}");
    if !arguments.quiet {
        complain!("Ctrl-C ends the server");
    }
    // A script that starts the server wants no window.
    if !arguments.no_browser
        && std::io::stdout().is_terminal()
        && let Err(error) = open::that_detached(&address)
    {
        complain!("cannot open a browser ({}); open {address} in one", Error::words(&error));
    }
    server.run(&restorer, &signals.stop, &|outcome| match outcome {
        Ok(report) if !arguments.quiet => complain!("{}", line(Path::new("photo"), report)),
        Ok(_) => {}
        Err(error) => complain!("{error}"),
    })
}
