//! The start of a box, up to where the mail service begins: its data partition grown, checked and opened, and what somebody put
//! on the boot partition done.
//!
//! `init` has it run as root, before anything else of ours, by `homepost machine --start`. It is a list of steps ([`Step::ALL`]),
//! each of which looks at the disk itself for what is left to do. So nothing else has to be written down of how far it came:
//!
//! | step | what a cut leaves, and the next start does |
//! |---|---|
//! | find | nothing |
//! | erase | the wish, which goes last ([`super::erase`]): begun again |
//! | grow | of the two copies of the table one whole: grown again |
//! | check | a file system that is not marked as whole: checked again |
//! | open | nothing |
//! | extend | the file system's journal: ended or undone as it is opened, and extended again |
//! | folders | some of them: made again |
//! | clock | nothing |
//! | answers | homepost.toml, which goes last: a set-up that was begun is ended |
//!
//! There is no way back from a larger partition, and none is needed: the system before has the same data. What cannot be done is
//! said, and as long as the letters can be reached the box goes on.
//!
//! [`Board`] is what the steps ask of the machine. [`Real`] does it; the tests have one that breaks at any call.

mod real;
mod table;
#[cfg(test)]
mod tests;
mod told;

use std::io;

pub use real::Real;
use told::{
    MISSING, NO_FOLDERS, NOT_ERASED, NOT_GROWN, NOT_NEW, NOT_OVERWRITTEN, REMOVED, REPAIRED, STAYS, UNREADABLE,
    WISH_STAYS,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Find,
    Erase,
    Grow,
    Check,
    Open,
    Extend,
    Folders,
    Clock,
    Answers,
}

impl Step {
    pub const ALL: [Step; 9] = [
        Step::Find,
        Step::Erase,
        Step::Grow,
        Step::Check,
        Step::Open,
        Step::Extend,
        Step::Folders,
        Step::Clock,
        Step::Answers,
    ];

    /// For the owner.
    pub fn sentence(self) -> &'static str {
        match self {
            Step::Find => "The place for the mail is looked for.",
            Step::Erase => {
                "Everything on this box is being deleted, as somebody asked for. Please leave it plugged in."
            }
            Step::Grow => "The place for the mail is being made as large as the disk.",
            Step::Check => "The place for the mail is checked.",
            Step::Open => "The place for the mail is opened.",
            Step::Extend => "The place for the mail is made ready in its whole size.",
            Step::Folders => "The folders for the mail are made.",
            Step::Clock => "The clock is set to the last time that is known, if it is behind.",
            Step::Answers => "The answers that were put on the card are read.",
        }
    }
}

/// The data partition. In sectors of 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of the kernel: `sda4`, on `sda`, the 4th.
    pub name: String,
    pub disk: String,
    pub number: u32,
    pub start: u64,
    pub size: u64,
    pub disk_size: u64,
}

/// What the boot partition says of making the box as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    None,
    /// It was not written to its end: nobody was told that it counts.
    Torn,
    Whole,
}

/// Whom something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The screen and the serial console.
    Console,
    /// The kernel's log.
    Log,
    /// The owner; the mail service runs.
    Notice,
    /// The owner; the mail service does not start.
    Problem,
}

/// What the steps ask of a machine. Errors are for the log.
pub trait Board {
    fn begins(&mut self, step: Step);
    fn tell(&mut self, to: To, words: &str);

    /// `None`: this disk has none.
    fn place(&mut self) -> io::Result<Option<Place>>;
    /// Whether both copies of the table are as they were written.
    fn table_is_whole(&mut self, place: &Place) -> io::Result<bool>;
    /// Writes both copies again, as the whole one has it: that one is not changed by it, so a cut leaves it whole.
    fn mend_table(&mut self, place: &Place) -> io::Result<()>;
    /// Moves the table's second copy to the end of the disk.
    fn move_copy(&mut self, place: &Place) -> io::Result<()>;
    /// Has the table say that the partition goes to the end of the disk: the copy at the disk's end first, then the one at its
    /// start, so that one of them is always whole.
    fn grow(&mut self, place: &Place) -> io::Result<()>;
    /// Has the kernel know of it, who forgets the partition's name by that until the next start. As it is then.
    fn reread(&mut self, place: &Place) -> io::Result<Place>;

    /// Whether the file system is whole, or could be repaired; with `all` at any price.
    fn check(&mut self, place: &Place, all: bool) -> io::Result<bool>;
    fn mount(&mut self, place: &Place) -> io::Result<()>;
    fn unmount(&mut self) -> io::Result<()>;
    /// Extends the mounted file system to the size of the partition. Mounted, since then its journal keeps a power cut from
    /// tearing it.
    fn extend(&mut self, place: &Place) -> io::Result<()>;
    /// Overwrites and removes everything in it ([`super::erase::empty`]). False: some files could not be overwritten.
    fn empty(&mut self) -> io::Result<bool>;
    /// Overwrites the whole partition, whatever is on it.
    fn wipe(&mut self, place: &Place) -> io::Result<()>;
    /// Makes a new file system.
    fn make(&mut self, place: &Place) -> io::Result<()>;
    /// Those of the mail and of the box, and whose they are. Also takes away what only the run before was to see. Errors:
    /// there is no folder for the mail.
    fn folders(&mut self) -> io::Result<()>;
    /// Sets a clock that is behind.
    fn clock(&mut self) -> io::Result<()>;

    /// Mounts the boot partition, to be read only. Errors: there is none that can be read.
    fn open_boot(&mut self) -> io::Result<()>;
    fn close_boot(&mut self);
    fn let_write(&mut self, yes: bool) -> io::Result<()>;
    fn wish(&mut self) -> io::Result<Wish>;
    /// Writes to it without changing it.
    fn touch_wish(&mut self) -> io::Result<()>;
    /// Durable.
    fn remove_wish(&mut self) -> io::Result<()>;
    /// Overwrites and removes a file of the boot partition, if it is there.
    fn forget(&mut self, name: &str) -> io::Result<()>;

    /// Whether there is a homepost.toml.
    fn is_asked(&mut self) -> io::Result<bool>;
    fn is_set_up(&mut self) -> io::Result<bool>;
    /// By what homepost.toml says: what came of it, in sentences; or why nothing did, without a full stop.
    fn set_up(&mut self) -> Result<String, String>;
    /// Writes homepost.txt. Durable.
    fn answer(&mut self, words: &str) -> io::Result<()>;
}

pub const ASKED: &str = "homepost.toml";
pub const TOLD: &str = "homepost.txt";

/// Room worth having behind the partition, in sectors: 16 MB.
const WORTH: u64 = 32_768;

const REPAIRING: &str = "the data partition was damaged and is being repaired; this can take some minutes";
const WIPING: &str = "its files cannot be read, so the whole disk is overwritten; this can take hours.";
const ERASING: &str = "everything on this box is being deleted, as somebody asked for. Please leave it plugged in.";
const ERASED: &str = "everything is deleted; the set-up begins from its first page.";

/// There is a problem, which was told: no mail can be served.
struct Stop;

/// All steps. What goes wrong is told. Whether mail can be served.
pub fn run(board: &mut dyn Board) -> bool {
    let mut start = Start { board, place: None };
    let mut stopped = false;
    for step in Step::ALL {
        // The time is wanted in any case.
        if stopped && step != Step::Clock {
            continue;
        }
        start.board.begins(step);
        stopped |= start.step(step).is_err();
    }
    !stopped
}

struct Start<'a> {
    board: &'a mut dyn Board,
    /// From the first step on.
    place: Option<Place>,
}

impl Start<'_> {
    fn step(&mut self, step: Step) -> Result<(), Stop> {
        match (step, self.place.clone()) {
            (Step::Find, _) => self.find(),
            (Step::Clock, _) => self.clock(),
            (_, None) => Err(Stop),
            (Step::Erase, Some(place)) => self.erase(&place),
            (Step::Grow, Some(place)) => self.grow(&place),
            (Step::Check, Some(place)) => self.check(&place),
            (Step::Open, Some(place)) => self.open(&place),
            (Step::Extend, Some(place)) => self.extend(&place),
            (Step::Folders, Some(_)) => self.folders(),
            (Step::Answers, Some(_)) => self.answers(),
        }
    }

    fn log(&mut self, what: &str, error: &io::Error) {
        self.board.tell(To::Log, &format!("{what}: {error}"));
    }

    fn problem(&mut self, words: &str) -> Stop {
        self.board.tell(To::Problem, words);
        Stop
    }

    fn find(&mut self) -> Result<(), Stop> {
        match self.board.place() {
            Ok(Some(place)) => self.place = Some(place),
            Ok(None) => return Err(self.problem(MISSING)),
            Err(error) => {
                self.log("the data partition", &error);
                return Err(self.problem(MISSING));
            }
        }
        Ok(())
    }

    /// Only if the wish is there, and can go afterwards: one that stayed would delete the next household's mail, too.
    fn erase(&mut self, place: &Place) -> Result<(), Stop> {
        if let Err(error) = self.board.open_boot() {
            self.log("the boot partition", &error);
            return Ok(());
        }
        let done = match self.board.wish() {
            Ok(Wish::None) => Ok(()),
            Ok(Wish::Torn) => {
                let gone = self.board.let_write(true).and_then(|()| self.board.remove_wish());
                if let Err(error) = gone {
                    self.log("half a wish", &error);
                }
                Ok(())
            }
            Ok(Wish::Whole) => {
                let goes = self.board.let_write(true).and_then(|()| self.board.touch_wish());
                match goes.and_then(|()| self.board.let_write(false)) {
                    Ok(()) => self.erase_all(place),
                    Err(error) => {
                        self.log("the wish", &error);
                        self.board.tell(To::Notice, NOT_ERASED);
                        Ok(())
                    }
                }
            }
            Err(error) => {
                self.log("the wish", &error);
                Ok(())
            }
        };
        self.board.close_boot();
        done
    }

    fn erase_all(&mut self, place: &Place) -> Result<(), Stop> {
        self.board.tell(To::Log, "the box is made as new");
        self.board.tell(To::Console, ERASING);
        if let Err(error) = self.board.check(place, false) {
            self.log("the check", &error);
        }
        let mut emptied = Err(io::Error::from(io::ErrorKind::NotFound));
        if self.board.mount(place).is_ok() {
            emptied = self.board.empty();
            if let Err(error) = self.board.unmount() {
                self.log("the data partition", &error);
                return Err(self.problem(NOT_NEW));
            }
        }
        // What cannot be overwritten file by file is overwritten as it lies there. That can take hours.
        let overwritten = emptied.or_else(|_| {
            self.board.tell(To::Console, WIPING);
            self.board.wipe(place).map(|()| true)
        });
        if !overwritten.unwrap_or_else(|error| {
            self.log("the data partition", &error);
            false
        }) {
            self.board.tell(To::Notice, NOT_OVERWRITTEN);
        }
        if let Err(error) = self.board.make(place) {
            self.log("the new file system", &error);
            return Err(self.problem(NOT_NEW));
        }
        // The wish last: as long as it is there it is begun again.
        // What stays of the answers would set the box up again, with the pass phrase of before.
        let gone = self.board.let_write(true);
        let gone = gone.and_then(|()| self.board.forget(ASKED)).and_then(|()| self.board.forget(TOLD));
        match gone.and_then(|()| self.board.remove_wish()) {
            Ok(()) => self.board.tell(To::Console, ERASED),
            Err(error) => {
                self.log("the wish", &error);
                return Err(self.problem(WISH_STAYS));
            }
        }
        Ok(())
    }

    fn grow(&mut self, place: &Place) -> Result<(), Stop> {
        let behind = place.disk_size.saturating_sub(place.start).saturating_sub(place.size);
        if behind <= WORTH {
            self.mend_table(place);
            return Ok(());
        }
        self.board.tell(To::Console, Step::Grow.sentence());
        let grown = self.board.move_copy(place).and_then(|()| self.board.grow(place));
        match grown.and_then(|()| self.board.reread(place)) {
            Ok(now) => {
                self.board.tell(To::Log, &format!("data partition grown to {} sectors", now.size));
                self.place = Some(now);
            }
            Err(error) => {
                self.log("the data partition", &error);
                self.board.tell(To::Notice, NOT_GROWN);
            }
        }
        Ok(())
    }

    /// A copy that is torn, by a cut while the partition was grown, say. The other was good enough for this start, and would have
    /// to be for all others.
    fn mend_table(&mut self, place: &Place) {
        let mended = match self.board.table_is_whole(place) {
            Ok(true) => return,
            Ok(false) => self.board.mend_table(place),
            Err(error) => Err(error),
        };
        match mended {
            Ok(()) => self.board.tell(To::Log, "a copy of the partition table was torn, and is written again"),
            Err(error) => self.log("the partition table", &error),
        }
    }

    /// There is nobody to ask, and doing nothing keeps the mail away too.
    fn check(&mut self, place: &Place) -> Result<(), Stop> {
        match self.board.check(place, false) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => self.log("the check", &error),
        }
        self.board.tell(To::Console, REPAIRING);
        if let Err(error) = self.board.check(place, true) {
            self.log("the repair", &error);
        }
        self.board.tell(To::Notice, REPAIRED);
        Ok(())
    }

    fn open(&mut self, place: &Place) -> Result<(), Stop> {
        self.board.mount(place).map_err(|error| {
            self.log("the data partition", &error);
            self.problem(UNREADABLE)
        })
    }

    fn extend(&mut self, place: &Place) -> Result<(), Stop> {
        // There is less room, and the next start tries again.
        if let Err(error) = self.board.extend(place) {
            self.log("the file system could not be extended", &error);
        }
        Ok(())
    }

    fn folders(&mut self) -> Result<(), Stop> {
        self.board.folders().map_err(|error| {
            self.log("the folders", &error);
            self.problem(NO_FOLDERS)
        })
    }

    fn clock(&mut self) -> Result<(), Stop> {
        if let Err(error) = self.board.clock() {
            self.log("the clock", &error);
        }
        Ok(())
    }

    /// homepost.toml gives the set-up its answers. What came of them is said in homepost.txt beside it.
    fn answers(&mut self) -> Result<(), Stop> {
        if let Err(error) = self.board.open_boot() {
            self.log("the boot partition", &error);
            return Ok(());
        }
        if let Err(error) = self.answer() {
            self.log(ASKED, &error);
        }
        self.board.close_boot();
        Ok(())
    }

    fn answer(&mut self) -> io::Result<()> {
        if !self.board.is_asked()? {
            return Ok(());
        }
        let (mut words, done) = if self.board.is_set_up()? {
            ("This box is set up.".to_owned(), true)
        } else {
            match self.board.set_up() {
                Ok(words) => (words, true),
                Err(why) => {
                    let words = format!("{ASKED} could not be used: {why}. Please correct it and start again.");
                    self.board.tell(To::Notice, &words);
                    (words, false)
                }
            }
        };
        let mut gone = self.board.let_write(true);
        if done {
            gone = gone.and_then(|()| self.board.forget(ASKED));
            words.push(' ');
            words.push_str(if gone.is_ok() { REMOVED } else { STAYS });
            if gone.is_err() {
                self.board.tell(To::Notice, STAYS);
            }
        }
        self.board.tell(To::Log, &words);
        self.board.answer(&words)?;
        gone
    }
}
