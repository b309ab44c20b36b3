//! A backup on its way back into a folder that nobody has set up: one at a time, whoever has asked for it (the page of the set-up, a
//! stick, the command line). Meanwhile port 25 asks everybody to come again, and no other port is open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::appliance::backup::Step;
use crate::appliance::wizard::{Offered, PuttingBack};
use crate::base::SystemClock;
use crate::net::{Common, Ending, Handler, Listener, drive};
use crate::proto::smtp::{Machine as Smtp, Port};
use crate::settings::{Name, Settings};
use crate::smtp;

use super::backup;
use super::doors::{Shift, spec};
use super::folder::Folder;
use super::house::House;
use super::limits;
use super::serve::{Held, Told, after};
use super::verbs::{self, Reply, Request};

/// Before there is another name (RFC 8375).
const NAME: &str = "homepost.home.arpa";
/// For sessions to take their leave before the port is opened for letters.
const GRACE: Duration = Duration::from_secs(5);

/// So begins what is said when a backup is in its place and does not open.
const CLOSED: &str = "the backup is put back, and its stores do not open";

/// Whether the backup is here all the same.
pub(super) fn is_here(error: &str) -> bool {
    let begins = |start: &str| error.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    begins(backup::HALF) || begins(CLOSED)
}

/// Why no backup was put back, and what that means for the box: sentences.
pub(super) fn refused(error: &str) -> String {
    let error = error.trim_end_matches('.');
    match is_here(error) {
        // It goes on at the next start.
        true => format!("{error}. Please switch the box off and on."),
        false => format!("{error}. Nothing was changed."),
    }
}

pub(super) struct Restoring {
    folder: Folder,
    held: Held,
    tell: mpsc::UnboundedSender<Told>,
    shift: Shift,
    runtime: Handle,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    running: Option<PuttingBack>,
    /// Why the last try came to nothing: a sentence.
    failed: Option<String>,
    offered: Option<Offered>,
}

impl Restoring {
    /// Within the server's runtime.
    pub fn new(folder: &Folder, held: &Held, tell: &mpsc::UnboundedSender<Told>, shift: Shift) -> Arc<Restoring> {
        Arc::new(Restoring {
            folder: folder.clone(),
            held: held.clone(),
            tell: tell.clone(),
            shift,
            runtime: Handle::current(),
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn running(&self) -> Option<PuttingBack> {
        self.known().running.clone()
    }

    pub fn failed(&self) -> Option<String> {
        self.known().failed.clone()
    }

    /// What is on the stick that is in.
    pub fn offered(&self) -> Option<Offered> {
        self.known().offered.clone()
    }

    pub fn offer(&self, offered: Option<Offered>) {
        self.known().offered = offered;
    }

    /// Puts a backup back, opens what was put back, and has the doors opened. Blocks, and for long; others can ask how far it is.
    pub fn run(&self, request: &Request) -> Reply {
        let Request::BackupRestore { from, box_id, secret } = request else {
            return Reply::failed("that puts no backup back");
        };
        {
            // Whoever makes a house looks here with the same lock held, so there is one or the other.
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.is_some() {
                return Reply::failed(format!("{} is set up already", self.folder.path().display()));
            }
            let mut known = self.known();
            if known.running.is_some() {
                return Reply::failed("a backup is being put back just now");
            }
            known.failed = None;
            known.running = Some(PuttingBack { words: "The backup is opened.", done: 0, all: 0 });
        }
        let ends = Ends(self);
        let away = self.open_away();
        let reply = verbs::restore(&self.folder, from, box_id.as_deref(), secret, &mut |step: Step, done, all| {
            let before = self.known().running.replace(PuttingBack { words: step.sentence(), done, all });
            if before.is_none_or(|before| before.words != step.sentence()) {
                info!("{}", step.sentence());
            }
        });
        if let Some(away) = away {
            self.close_away(away);
        }
        if let Some(error) = &reply.error {
            self.known().failed = Some(error.clone());
            return reply;
        }
        match House::open(&self.folder) {
            Ok(house) => *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(house)),
            Err(error) => {
                let error = format!("{CLOSED}: {error}");
                self.known().failed = Some(error.clone());
                return Reply::failed(error);
            }
        }
        // It goes on until the pages know that there is a house.
        std::mem::forget(ends);
        self.known().running =
            Some(PuttingBack { words: "Everything is back. The mail ports are being opened.", done: 1, all: 1 });
        after(reply, &self.tell, Told::Opened)
    }

    /// Port 25, as far as it can be opened: without it others do not get through, and come again as well.
    fn open_away(&self) -> Option<(Listener, Ending)> {
        let _within = self.runtime.enter();
        let settings = Settings::new(NAME).ok()?;
        let spec = spec(&settings, Name::Smtp, settings.listeners.smtp.port, self.shift)?;
        let (common, ending) = Common::new(Arc::new(SystemClock::new()), None);
        let mut config = limits::smtp(&settings, Port::Smtp);
        config.starttls = false;
        let going_down = ending.watch();
        let handler: Handler = Arc::new(move |incoming| {
            let machine = Smtp::new(config.clone(), incoming.context.clock.mono());
            let host = smtp::Away::new(going_down.clone());
            Box::pin(drive(incoming.stream, machine, host, incoming.context))
        });
        match Listener::open(spec, common, handler) {
            Ok(listener) => Some((listener, ending)),
            Err(error) => {
                warn!(%error, "nobody can be asked on port 25 to come again");
                None
            }
        }
    }

    fn close_away(&self, (listener, mut ending): (Listener, Ending)) {
        self.runtime.block_on(async {
            listener.close().await;
            ending.announce();
            let _ = tokio::time::timeout(GRACE, ending.ended()).await;
        });
    }
}

/// However a try ends.
struct Ends<'a>(&'a Restoring);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.known().running = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nothing_was_changed_is_said_only_where_it_is_so() {
        assert_eq!(refused("These are not the words."), "These are not the words. Nothing was changed.");
        for start in [backup::HALF, CLOSED] {
            let error = format!("{}{}: no room", start[..1].to_uppercase(), &start[1..]);
            assert_eq!(refused(&error), format!("{error}. Please switch the box off and on."));
        }
    }
}
