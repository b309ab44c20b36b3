//! The rescue: what a box that cannot serve mail does for whoever stands before it.
//!
//! It shows what is wrong to everybody in the house. To do anything about it takes the words of the recovery sheet or a code on
//! the box's own screen ([`Forgotten`]); then letters are brought back from damaged stores, a backup is put back in their place,
//! or the box is made as new. It never makes an administrator, and shows no letter.
//!
//! Does not know: HTML, what stores and backups are.
//!
//! Invariants, cited by tests:
//! - R1: without proof nothing is done but to show a code.
//! - R2: one thing at a time; what is asked meanwhile is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{Clock, Mono, Random};

use super::forgotten::{Forgotten, Tried};
use super::machine::{self, Machine};

/// Without a sign of life.
const IDLE_MS: u64 = 60 * 60_000;
const SESSIONS: usize = 8;

/// What it can be asked for.
#[derive(Clone, PartialEq, Eq)]
pub enum Act {
    /// Start again, in case it passed.
    Restart,
    /// Make the stores anew from the letters.
    Salvage,
    /// Put the backup on the stick back, with the words or the pass phrase that open it.
    Restore(String),
    /// Nothing is left of what the box held.
    Erase,
}

/// Which of it this box can do now, and if not, why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    pub salvage: bool,
    /// What the stick in the box is called.
    pub restore: Option<String>,
    /// A sentence on why there is no stick to restore from.
    pub no_stick: String,
    pub erase: bool,
}

/// The box, as far as the rescue knows it.
pub trait Host: Send + Sync + 'static {
    fn machine(&self) -> &dyn Machine;
    /// What is wrong: sentences.
    fn problem(&self) -> String;
    /// Hash of the recovery sheet's words (hex), where it can be read.
    fn sheet(&self) -> Option<String>;
    fn offers(&self) -> Offers;
    /// Does what comes before the restart, for as long as it takes. Gives sentences either way; `tell` gets what is being done.
    fn act(&self, act: &Act, tell: &dyn Fn(&str)) -> Result<String, String>;
    /// After that, so that the box serves mail again; one that is to be emptied is emptied on the way. Errors: sentences.
    fn restart(&self, act: &Act) -> Result<(), String>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Job {
    #[default]
    None,
    /// What is being done: a sentence.
    Runs(String),
    /// It was done: what came of it. The box starts again.
    Done(String),
    /// It was not: why.
    Failed(String),
}

/// What came of an attempt to prove something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entered {
    /// With a cookie.
    In(String),
    Wrong,
    /// Seconds to wait.
    TooSoon(u64),
}

pub struct Desk<H> {
    host: H,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    forgotten: Forgotten,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Hashes of cookies, and when each was used last.
    sessions: Vec<(blake3::Hash, Mono)>,
    job: Job,
}

impl<H: Host> Desk<H> {
    pub fn new(host: H, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Desk<H> {
        Desk { host, clock, random, forgotten: Forgotten::default(), inner: Mutex::default() }
    }

    pub fn host(&self) -> &H {
        &self.host
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new code on the screen of the box. Errors: the machine's sentence.
    pub fn show_code(&self) -> Result<(), machine::Error> {
        self.forgotten.show("Code for the rescue page", self.host.machine(), &*self.random, self.clock.mono())
    }

    /// With the code on the screen, or the words of the sheet.
    pub fn enter(&self, typed: &str) -> Entered {
        let now = self.clock.mono();
        match self.forgotten.looks(typed, self.host.sheet().as_deref(), self.host.machine(), now) {
            Tried::Wrong => Entered::Wrong,
            Tried::TooSoon(ms) => Entered::TooSoon(ms.div_ceil(1000)),
            Tried::Right => {
                let mut bytes = [0u8; 16];
                self.random.fill(&mut bytes);
                let cookie: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut inner = self.inner();
                inner.sessions.truncate(SESSIONS - 1);
                inner.sessions.insert(0, (blake3::hash(cookie.as_bytes()), now));
                Entered::In(cookie)
            }
        }
    }

    /// Whether this cookie came from [`Desk::enter`], not long ago.
    pub fn is_in(&self, cookie: &str) -> bool {
        let (now, hash) = (self.clock.mono(), blake3::hash(cookie.as_bytes()));
        let mut inner = self.inner();
        inner.sessions.retain(|(_, last)| now.since(*last) < IDLE_MS);
        inner.sessions.iter_mut().find(|(there, _)| *there == hash).map(|one| one.1 = now).is_some()
    }

    pub fn job(&self) -> Job {
        self.inner().job.clone()
    }

    /// Whether it is being done, or was: then this process has no more to do.
    fn take(&self, act: &Act) -> bool {
        let mut inner = self.inner();
        if matches!(inner.job, Job::Runs(_) | Job::Done(_)) {
            return false;
        }
        inner.job = Job::Runs(
            match act {
                Act::Restart => "The box starts again.",
                Act::Salvage => "The letters are being brought back.",
                Act::Restore(_) => "The backup is being put back.",
                Act::Erase => "The box is being emptied.",
            }
            .to_owned(),
        );
        true
    }

    /// R1, R2: does it, and blocks until it is done. `false`: nothing was begun.
    pub fn run(&self, cookie: &str, act: &Act) -> bool {
        if !self.is_in(cookie) || !self.take(act) {
            return false;
        }
        let tell = |words: &str| self.inner().job = Job::Runs(words.to_owned());
        let came = catch_unwind(AssertUnwindSafe(|| self.host.act(act, &tell)));
        self.inner().job = match came {
            Ok(Ok(words)) => Job::Done(words),
            Ok(Err(words)) => Job::Failed(words),
            // Something else can still help.
            Err(_) => Job::Failed("Something went wrong inside homepost.".to_owned()),
        };
        true
    }

    /// When what came of it was to be read; whatever keeps the box from starting again is said, and can be tried again.
    pub fn restart(&self, act: &Act) {
        if !matches!(self.job(), Job::Done(_)) {
            return;
        }
        if let Err(words) = self.host.restart(act) {
            self.inner().job = Job::Failed(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::machine::{Act as Did, Fake};
    use crate::appliance::words;
    use crate::base::{ManualClock, SeededRandom, Time};

    #[derive(Default)]
    struct Box {
        fake: Fake,
        done: Mutex<Vec<&'static str>>,
        fails: bool,
    }

    impl Host for Box {
        fn machine(&self) -> &dyn Machine {
            &self.fake
        }
        fn problem(&self) -> String {
            "The disk is broken.".to_owned()
        }
        fn sheet(&self) -> Option<String> {
            Some(words::sheet_hash("acorn actor album").to_hex().to_string())
        }
        fn offers(&self) -> Offers {
            Offers::default()
        }
        fn act(&self, act: &Act, tell: &dyn Fn(&str)) -> Result<String, String> {
            tell("half");
            self.done.lock().unwrap().push(match act {
                Act::Restart => "restart",
                Act::Salvage => "salvage",
                Act::Restore(_) => "restore",
                Act::Erase => "erase",
            });
            assert!(*act != Act::Restore("panic".to_owned()), "a mistake of ours");
            if self.fails { Err("it is gone".to_owned()) } else { Ok("it is back".to_owned()) }
        }
        fn restart(&self, _: &Act) -> Result<(), String> {
            Err("the machine does not answer".to_owned())
        }
    }

    fn desk(fails: bool) -> (Desk<Box>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Time::from_seconds(1_800_000_000)));
        (Desk::new(Box { fails, ..Box::default() }, clock.clone(), Arc::new(SeededRandom::new(5))), clock)
    }

    fn code(desk: &Desk<Box>) -> String {
        desk.show_code().unwrap();
        let Some(Did::Show(lines)) = desk.host().fake.acts().last().cloned() else { panic!() };
        lines[0].rsplit(' ').next().unwrap().to_owned()
    }

    #[test]
    fn without_proof_nothing_is_done() {
        let (desk, clock) = desk(false);
        for cookie in ["", "00000000000000000000000000000000"] {
            assert!(!desk.run(cookie, &Act::Erase), "R1");
        }
        assert_eq!(desk.enter("acorn album"), Entered::Wrong);
        let Entered::In(cookie) = desk.enter("Acorn actor, album") else { panic!("the words of the sheet") };
        clock.advance_ms(IDLE_MS);
        assert!(!desk.run(&cookie, &Act::Erase), "R1: it was too long ago");
        assert_eq!(*desk.host().done.lock().unwrap(), Vec::<&str>::new());
        let typed = code(&desk);
        let Entered::In(cookie) = desk.enter(&typed) else { panic!("the code") };
        assert_eq!(desk.enter(&typed), Entered::Wrong, "it is good once");
        assert!(desk.run(&cookie, &Act::Salvage));
        assert_eq!(*desk.host().done.lock().unwrap(), ["salvage"]);
        assert_eq!(desk.job(), Job::Done("it is back".to_owned()));
    }

    #[test]
    fn one_thing_at_a_time_and_another_after_one_that_failed() {
        let (desk, _) = desk(true);
        let Entered::In(cookie) = desk.enter("acorn actor album") else { panic!() };
        desk.inner().job = Job::Runs("half".to_owned());
        assert!(!desk.run(&cookie, &Act::Erase), "R2");
        desk.inner().job = Job::None;
        assert!(desk.run(&cookie, &Act::Salvage));
        assert_eq!(desk.job(), Job::Failed("it is gone".to_owned()));
        assert!(desk.run(&cookie, &Act::Restore("x".to_owned())));
        assert_eq!(*desk.host().done.lock().unwrap(), ["salvage", "restore"]);
        assert!(desk.run(&cookie, &Act::Restore("panic".to_owned())));
        assert!(matches!(desk.job(), Job::Failed(_)), "R2: a mistake of ours ends it, too");
    }

    #[test]
    fn what_keeps_the_box_from_starting_again_is_said_and_something_else_can_be_tried() {
        let (desk, _) = desk(false);
        let Entered::In(cookie) = desk.enter("acorn actor album") else { panic!() };
        desk.restart(&Act::Erase);
        assert_eq!(desk.job(), Job::None, "nothing was done");
        assert!(desk.run(&cookie, &Act::Erase));
        assert!(!desk.run(&cookie, &Act::Salvage), "R2: the box is about to start again");
        desk.restart(&Act::Erase);
        assert_eq!(desk.job(), Job::Failed("the machine does not answer".to_owned()));
        assert!(desk.run(&cookie, &Act::Salvage));
    }
}
