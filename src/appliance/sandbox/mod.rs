//! What a process gives up before it hears its first stranger.
//!
//! | | `homepost serve` | `homepost machine` |
//! |---|---|---|
//! | new privileges (setuid programs) | never | never |
//! | capabilities | ports below 1024 | setting the clock, mounting, reading what the mail service put down |
//! | files ([`files`]) | the data folder, an open stick; a few to read | root's; Landlock would forbid the mounts that it is there for |
//! | system calls ([`calls`]) | a list | a shorter list: no sockets but Unix ones |
//! | memory image on a crash | none: keys and letters would be in it | none |
//!
//! Kernels differ. What this one cannot do is left out and said ([`Report::missing`]); nothing here keeps a process from
//! starting, since a box that serves is worth more than one that is safe and silent.
//!
//! Invariants, cited by tests:
//! - X1: what is given up is given up by every thread. So it is done before the first one is started; the list of system
//!   calls is set for all threads besides.
//! - X2: what could not be given up is in the report.

mod calls;
mod capabilities;
mod files;

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::CapabilitySet;

/// What was given up, and what this kernel could not take: words for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub done: Vec<String>,
    pub missing: Vec<String>,
}

impl Report {
    fn note(&mut self, what: Result<String, String>) {
        match what {
            Ok(done) => self.done.push(done),
            Err(missing) => self.missing.push(missing),
        }
    }
}

/// For the process that talks to strangers. `data` is the folder it may write; it has to be there already. So may `backups`, for
/// archives.
pub fn serve(data: &Path, backups: &[PathBuf]) -> Report {
    let mut report = before(CapabilitySet::NET_BIND_SERVICE);
    report.note(files::only(data, backups));
    report.note(calls::only(&calls::SERVE));
    report
}

/// For the process that is root.
pub fn machine() -> Report {
    let mut report = before(CapabilitySet::SYS_TIME | CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH);
    report.note(calls::only(&calls::MACHINE));
    report
}

fn before(keep: CapabilitySet) -> Report {
    let mut report = Report::default();
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    report.note(words("no memory image", setrlimit(Resource::Core, no_core)));
    // The capabilities first: giving them up takes one. Landlock and the list of calls ask for no new privileges.
    report.note(capabilities::only(keep));
    report.note(words("no new privileges", rustix::thread::set_no_new_privs(true)));
    report
}

fn words(what: &str, done: Result<(), rustix::io::Errno>) -> Result<String, String> {
    match done {
        Ok(()) => Ok(what.to_owned()),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
