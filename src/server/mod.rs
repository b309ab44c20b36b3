//! Wiring, tasks, reload, shutdown, and the command line (`cli/`, one file per subcommand).
//!
//! A verb (`verbs/`) is what the command line can do to a data folder. It is written once and runs on either side: in the
//! process that holds the lock on the folder. That is the server while one runs, reached over the control socket, and else
//! the command itself.
//!
//! Does not know: mail. Nothing names this folder.
//!
//! Invariants, cited by tests:
//! - V1: one lock on the folder decides who opens the stores; whoever does not have it opens nothing.
//! - V2: the folder is 0700, its files 0600; no secret is in an argument, a reply, a log line.
//! - V3: `settings.toml` is written last: a folder that has one is set up, whatever was cut off before.
//! - V4: `ready` is there only while the listeners are.

mod backup;
mod certificates;
mod cli;
mod control;
mod dns;
mod doors;
mod folder;
mod house;
mod languages;
pub mod limits;
mod log;
mod mounted;
mod opening;
mod outgoing;
mod pages;
mod relays;
mod reporting;
mod rescue;
mod restoring;
mod serve;
mod sessions;
mod setup;
mod steward;
mod stick;
mod tasks;
mod theatre;
mod time;
mod update;
mod verbs;
mod wish;

use std::process::ExitCode;

/// The command line, from its arguments to its exit status: 0 done, 1 not done, 2 not understood.
pub fn main() -> ExitCode {
    cli::main()
}
