//! Updates, as far as the mail service has a part in them: an update that was put into the folder is handed to the machine,
//! and a version on trial works behind closed doors until it has shown that it can.
//!
//! | slot that runs | on trial | snapshot | what is done before the stores are opened |
//! |---|---|---|---|
//! | its own | yes | none, or of this trial | one is taken, unless there is one |
//! | its own | no | of this slot | the trial was passed, and a cut came: it is dropped |
//! | another | | of that trial | the trial failed: the stores are put back as they were |
//!
//! On trial this machine alone is let in: whoever brings mail is asked to come again (421), nothing is sent, nothing swept.
//! So nothing is acknowledged that a way back could lose. The doors open after the slot is confirmed *and* the snapshot is
//! out of the way: from then on there is no way back that would lose a letter.

mod fetch;
mod gate;
pub(super) mod offers;
mod snapshot;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::appliance::machine::{Client, Error, Machine, Slot, Status, is_trial_start};
use crate::base::{Clock, SystemClock};

use super::doors::Shift;
use super::folder::{Folder, remove, write};
use super::house::House;
use super::setup;

use snapshot::Snapshot;

/// For the machine's own service to answer, which starts when we do.
const PATIENCE_MS: u64 = 60_000;
/// Between two looks for an update that was put down.
const LOOK: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(500);
/// Times that the machine may not answer while it writes.
const ASKED_MOST: u32 = 20;

/// A version on trial, and what it may go back to.
pub(super) struct Trial {
    pub version: String,
    machine: Arc<dyn Machine>,
    snapshot: Snapshot,
}

#[derive(Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Take(Slot),
    Discard,
    Restore,
}

fn before(snapshot: Option<Slot>, running: Option<Slot>, on_trial: bool) -> Before {
    match (snapshot, running) {
        (_, None) => Before::Nothing,
        // A copy of another trial is of no use to this one, however it came to be left.
        (_, Some(running)) if on_trial => Before::Take(running),
        (Some(of), Some(running)) if of != running => Before::Restore,
        (Some(_), Some(_)) => Before::Discard,
        (None, Some(_)) => Before::Nothing,
    }
}

/// So begins what is said of a trial that failed.
const FAILED: &str = "The new version ";

/// What became of the last update, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub failed: bool,
    pub words: String,
}

pub(super) fn said(folder: &Folder) -> Option<Said> {
    serde_json::from_slice(&fs::read(drawer(folder).join("said")).ok()?).ok()
}

fn say(folder: &Folder, failed: bool, words: &str) {
    let said = serde_json::to_vec(&Said { failed, words: words.to_owned() }).unwrap_or_default();
    if let Err(error) = make_drawer(folder).and_then(|()| write(&drawer(folder).join("said"), &said)) {
        warn!("what became of an update cannot be written down: {error}");
    }
}

fn drawer(folder: &Folder) -> PathBuf {
    folder.path().join("update")
}

fn make_drawer(folder: &Folder) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let drawer = drawer(folder);
    if drawer.is_dir() { Ok(()) } else { fs::DirBuilder::new().mode(0o700).create(drawer) }
}

fn offered(folder: &Folder) -> PathBuf {
    drawer(folder).join("offered.hpu")
}

/// Puts an update down for the machine; whoever serves the folder finds it. `most`: bytes that are copied of it. Errors: sentences.
pub(super) fn offer(folder: &Folder, file: &Path, most: u64) -> Result<(), String> {
    let beside = drawer(folder).join("offered.new");
    let copied = || -> io::Result<()> {
        make_drawer(folder)?;
        remove(&beside)?;
        let mut to = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let mut from = fs::File::open(file)?;
        if io::copy(&mut from.by_ref().take(most), &mut to)? == most && from.read(&mut [0])? > 0 {
            return Err(io::Error::other("it is longer than an update is"));
        }
        to.sync_all()?;
        fs::rename(&beside, offered(folder))?;
        // Whoever hears that it is being looked at finds it after a cut, too (P1).
        fs::File::open(drawer(folder))?.sync_all()
    };
    copied().map_err(|error| {
        // It would take the room of letters.
        let _ = remove(&beside);
        format!("{}: {error}", file.display())
    })
}

/// Before the stores are opened. `None`: nothing is on trial. Errors: sentences for the owner.
pub(super) fn begin(folder: &Folder) -> Result<Option<Trial>, String> {
    // To be read as long as this process has more than the data folder.
    offers::remember_system();
    begin_with(folder, Arc::new(Client::new()), &told())
}

/// The kernel's command line, with the loader's word of a trial on it where that stands elsewhere.
fn told() -> String {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    if is_trial_start() { format!("{line} {TRIAL}") } else { line }
}

const TRIAL: &str = "homepost.trial=1";

/// Whether the machine knows of no trial although the loader says that there is one, and does not say that it was passed either.
fn is_in_doubt(status: &Status, line: &str) -> bool {
    let passed = status.update.confirmed.is_some() && status.update.confirmed == status.running_slot();
    line.contains(TRIAL) && !status.on_trial() && !passed
}

/// `line` is the kernel's command line.
fn begin_with(folder: &Folder, machine: Arc<dyn Machine>, line: &str) -> Result<Option<Trial>, String> {
    let snapshot = Snapshot::of(folder);
    let on_slot = line.contains("homepost.slot=");
    let asked = ask(&*machine, if on_slot { PATIENCE_MS } else { 0 });
    let doubted = |status: Status| match is_in_doubt(&status, line) {
        true => Err(Error::Failed("the boot partition cannot be read".to_owned())),
        false => Ok(status),
    };
    let status = match asked.and_then(doubted) {
        Ok(status) => status,
        Err(Error::NoBox) => return Ok(None),
        // "Not known" is not "no": what a trial works on could not be put back, and what a copy is put over could be newer.
        Err(error) if line.contains(TRIAL) || snapshot.slot().is_some() => {
            error!("whether this system is on trial is not known: {error}");
            again(&*machine);
            return Err(format!(
                "whether a new version is on trial cannot be found out, so nobody is let in ({error})"
            ));
        }
        Err(error) => {
            warn!("the machine's own service is not there: {error}");
            return Ok(None);
        }
    };
    let running = status.running_slot();
    match before(snapshot.slot(), running, status.on_trial()) {
        // A copy that a cut broke off takes room, and keeps deleted letters.
        Before::Nothing => cleared(&snapshot),
        Before::Discard => dropped(&snapshot)?,
        Before::Restore => {
            snapshot
                .restore()
                .map_err(|error| format!("the mail cannot be put back as it was before the update: {error}"))?;
            info!("the mail is as it was before the update");
        }
        Before::Take(slot) if folder.store().is_dir() => {
            if snapshot.slot().is_some_and(|of| of != slot) {
                dropped(&snapshot)?;
            }
            if let Err(words) = snapshot.take(slot) {
                error!("the trial is over: {words}");
                again(&*machine);
                return Err(words);
            }
        }
        Before::Take(_) => {}
    }
    if let Some(words) = &status.update.said {
        // A trial that failed has left the reason, unless it fell.
        let reason = said(folder).filter(|last| last.failed && status.update.failed && last.words.starts_with(FAILED));
        let words =
            reason.map_or_else(|| words.clone(), |last| format!("{} The version before runs again.", last.words));
        say(folder, status.update.failed, &words);
    }
    if status.on_trial() {
        return Ok(Some(Trial { version: status.version, machine, snapshot }));
    }
    // One that failed. What waits for a restart stays.
    if status.update.trial.is_some() && status.update.ready.is_none() {
        machine.abandon_update().unwrap_or_else(|error| warn!("the failed update is not cleared away: {error}"));
    }
    Ok(None)
}

/// Whether a command may open the stores by itself. Not before this is known: a copy has to be taken of what no new version
/// has opened, or an old one is to be put back. Errors: a sentence.
pub(super) fn may_open(folder: &Folder) -> Result<(), String> {
    may_open_with(folder, &Client::new(), &told())
}

fn may_open_with(folder: &Folder, machine: &dyn Machine, line: &str) -> Result<(), String> {
    let snapshot = Snapshot::of(folder).slot();
    let in_doubt = snapshot.is_some() || line.contains(TRIAL);
    if !in_doubt && !line.contains("homepost.slot=") {
        return Ok(());
    }
    match machine.status() {
        Ok(status) if is_in_doubt(&status, line) => {
            Err("whether a new version is being tried cannot be found out, so the stores stay closed".to_owned())
        }
        Ok(status) => match before(snapshot, status.running_slot(), status.on_trial()) {
            Before::Nothing | Before::Discard => Ok(()),
            Before::Take(_) | Before::Restore => Err(
                "a new version is being tried, and only the mail service opens the stores meanwhile; please try again in \
                 some minutes"
                    .to_owned(),
            ),
        },
        Err(Error::NoBox) => Ok(()),
        // The set-up from homepost.toml comes before the machine's process.
        Err(_) if !in_doubt => Ok(()),
        Err(error) => Err(format!(
            "whether a new version is being tried cannot be found out, so the stores stay closed ({error})"
        )),
    }
}

/// Drops the stores as they were before a trial, because their owner has others put in their place.
pub(super) fn no_way_back(folder: &Folder) -> io::Result<()> {
    let snapshot = Snapshot::of(folder);
    if snapshot.slot().is_some() {
        snapshot.discard()?;
        cleared(&snapshot);
    }
    Ok(())
}

/// Asks until it answers, or for that long since the start.
fn ask(machine: &dyn Machine, patience_ms: u64) -> Result<Status, Error> {
    let clock = SystemClock::new();
    loop {
        match machine.status() {
            Err(error) if error != Error::NoBox && clock.mono().0 <= patience_ms => std::thread::sleep(AGAIN),
            done => return done,
        }
    }
}

fn again(machine: &dyn Machine) {
    machine.reboot().unwrap_or_else(|error| error!("the restart that ends the trial does not begin: {error}"));
}

/// Errors: a sentence. Nothing may be let in while a copy is there that could be put back over it.
fn dropped(snapshot: &Snapshot) -> Result<(), String> {
    snapshot.discard().map_err(|error| format!("the way back cannot be closed: {error}"))?;
    cleared(snapshot);
    Ok(())
}

fn cleared(snapshot: &Snapshot) {
    if let Err(error) = snapshot.clear() {
        warn!("the mail as it was before an update is still on the disk: {error}");
    }
}

impl Trial {
    /// Has the house show that it works, and opens the way: when this is `Ok` the doors may open. After an error the machine
    /// restarts into the system before.
    pub async fn pass(self, house: &Arc<House>, shift: Shift) -> Result<(), String> {
        info!("version {} is on trial; only this machine is let in", self.version);
        // The one port that says 421 is let through from here on.
        let machine = self.machine.clone();
        let _ = tokio::task::spawn_blocking(move || machine.refresh_firewall()).await;
        let passed = gate::pass(house, shift, &self.version).await;
        let folder = house.folder.clone();
        let ended = tokio::task::spawn_blocking(move || self.end(&folder, passed)).await;
        ended.unwrap_or_else(|_| Err("a mistake of ours".to_owned()))
    }

    /// The same where nothing was set up yet: there is nothing to go back to, and the one who sets it up is not to be
    /// interrupted by a way back.
    pub async fn pass_empty(self, folder: &Folder) -> Result<(), String> {
        let folder = folder.clone();
        let ended = tokio::task::spawn_blocking(move || self.end(&folder, Ok(()))).await;
        ended.unwrap_or_else(|_| Err("a mistake of ours".to_owned()))
    }

    fn end(&self, folder: &Folder, passed: Result<(), String>) -> Result<(), String> {
        let confirmed = passed.and_then(|()| self.machine.confirm_slot().map_err(|error| error.to_string()));
        if let Err(words) = confirmed {
            say(folder, true, &format!("{FAILED}{} did not work here: {words}.", self.version));
            again(&*self.machine);
            return Err(words);
        }
        // Not before this is durable is anything acknowledged.
        dropped(&self.snapshot)?;
        say(folder, false, &format!("Version {} runs.", self.version));
        info!("version {} is confirmed", self.version);
        Ok(())
    }
}

/// Looks for updates that were put down, for as long as the house is open.
pub(super) async fn run(house: Arc<House>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let own = house.clone();
        let work = move || {
            install(&own.folder, &Client::new());
            offers::by_itself(&own);
        };
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

/// Hands one over, if there is one, and stays until it is written and the machine restarts.
fn install(folder: &Folder, machine: &dyn Machine) {
    if !offered(folder).exists() {
        return;
    }
    let done = begun(folder).and_then(|()| written(folder, machine));
    for path in [offered(folder), begun_file(folder)] {
        if let Err(error) = remove(&path) {
            warn!("an update that was looked at cannot be removed: {error}");
        }
    }
    match done {
        Ok(version) => {
            info!("version {version} is tried at the restart that comes now");
            say(folder, false, &format!("Version {version} is being tried."));
            again(machine);
        }
        Err(words) => {
            warn!("no update: {words}");
            say(folder, true, &words);
        }
    }
}

fn begun_file(folder: &Folder) -> PathBuf {
    drawer(folder).join("begun")
}

/// How often an update is begun that a restart broke off each time.
const BEGINNINGS: u8 = 3;

/// Counts the beginnings, before anything is done: where writing a system resets the box, that must come to an end.
fn begun(folder: &Folder) -> Result<(), String> {
    if setup::is_going_on(folder) {
        return Err("the set-up has to be finished before an update is put on this box".to_owned());
    }
    let before = fs::read_to_string(begun_file(folder)).map_or(0, |text| text.trim().parse().unwrap_or(BEGINNINGS));
    if before >= BEGINNINGS {
        return Err(format!(
            "the box restarted each of the {BEGINNINGS} times that the update was being written, so it is not tried again"
        ));
    }
    let count = (before + 1).to_string();
    write(&begun_file(folder), count.as_bytes()).map_err(|error| format!("the update cannot be begun: {error}"))
}

/// One that was begun before this service was started anew is waited for.
fn written(folder: &Folder, machine: &dyn Machine) -> Result<String, String> {
    let words = |error: Error| error.to_string();
    let begun = patiently(machine)?.update;
    if begun.step.is_none() && begun.ready.is_none() {
        let version = machine.check_update().map_err(words)?;
        Snapshot::of(folder).room()?;
        info!("version {version} is being written");
        machine.write_update().map_err(words)?;
    }
    loop {
        std::thread::sleep(AGAIN);
        let update = patiently(machine)?.update;
        if update.step.is_none() {
            return match update.ready {
                Some(ready) => Ok(ready.to_string()),
                None => Err(update.said.unwrap_or_else(|| "the update was not written".to_owned())),
            };
        }
    }
}

/// It may write to a slow disk, or others ask as well.
fn patiently(machine: &dyn Machine) -> Result<Status, String> {
    let mut left = ASKED_MOST;
    loop {
        match machine.status() {
            Err(_) if left > 0 => left -= 1,
            Err(error) => {
                // Else the next start, whenever it comes, would be a trial that nobody waits for.
                let _ = machine.abandon_update();
                return Err(error.to_string());
            }
            Ok(status) => return Ok(status),
        }
        std::thread::sleep(AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::machine::{Act, Fake, Update};

    fn status(running: Slot, trial: Option<Slot>) -> Status {
        let update = Update { trial, ..Update::default() };
        Status { version: "1.0.1".to_owned(), slot: Some(running.as_str().to_owned()), update, ..Status::default() }
    }

    struct Stage {
        _dir: tempfile::TempDir,
        folder: Folder,
        machine: Arc<Fake>,
    }

    impl Stage {
        fn new() -> Stage {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::new(dir.path());
            fs::create_dir(folder.store()).unwrap();
            fs::write(folder.store().join("rows.redb"), "old").unwrap();
            Stage { _dir: dir, folder, machine: Arc::default() }
        }

        fn start(&self, running: Slot, trial: Option<Slot>) -> Option<Trial> {
            self.machine.set_status(status(running, trial));
            begin_with(&self.folder, self.machine.clone(), "homepost.slot=x").unwrap()
        }

        fn rows(&self) -> String {
            fs::read_to_string(self.folder.store().join("rows.redb")).unwrap()
        }

        fn work(&self) {
            fs::write(self.folder.store().join("rows.redb"), "new").unwrap();
        }
    }

    #[test]
    fn a_trial_that_passes_keeps_what_the_new_version_made() {
        let stage = Stage::new();
        let trial = stage.start(Slot::B, Some(Slot::B)).unwrap();
        stage.work();
        trial.end(&stage.folder, Ok(())).unwrap();
        assert_eq!(stage.machine.acts(), [Act::ConfirmSlot]);
        assert!(stage.start(Slot::B, None).is_none());
        assert_eq!(stage.rows(), "new");
        assert!(!said(&stage.folder).unwrap().failed);
        // Even if an old system starts one day: there is no way back any more that would lose a letter.
        assert!(stage.start(Slot::A, None).is_none());
        assert_eq!(stage.rows(), "new");
    }

    #[test]
    fn a_trial_that_fails_leaves_everything_as_it_was() {
        let stage = Stage::new();
        let trial = stage.start(Slot::B, Some(Slot::B)).unwrap();
        stage.work();
        // The service fell, and is started again in the same trial.
        drop(trial);
        let trial = stage.start(Slot::B, Some(Slot::B)).unwrap();
        assert!(trial.end(&stage.folder, Err("imaps: no answer in time".to_owned())).is_err());
        assert_eq!(stage.machine.acts(), [Act::Reboot]);
        assert!(said(&stage.folder).unwrap().words.contains("imaps: no answer"));
        assert!(stage.start(Slot::A, Some(Slot::B)).is_none());
        assert_eq!(stage.rows(), "old");
        assert_eq!(stage.machine.acts(), [Act::Reboot, Act::AbandonUpdate]);
    }

    #[test]
    fn a_cut_after_the_slot_was_confirmed_drops_the_way_back() {
        let stage = Stage::new();
        drop(stage.start(Slot::B, Some(Slot::B)));
        stage.work();
        assert!(stage.start(Slot::B, None).is_none());
        assert!(stage.start(Slot::A, None).is_none());
        assert_eq!(stage.rows(), "new");
    }

    #[test]
    fn what_is_done_before_the_stores_are_opened() {
        let (a, b) = (Some(Slot::A), Some(Slot::B));
        for (snapshot, running, on_trial, wanted) in [
            (None, a, false, Before::Nothing),
            (None, b, true, Before::Take(Slot::B)),
            (b, b, true, Before::Take(Slot::B)),
            (b, b, false, Before::Discard),
            (b, a, false, Before::Restore),
            (b, a, true, Before::Take(Slot::A)),
            (b, None, false, Before::Nothing),
        ] {
            assert_eq!(before(snapshot, running, on_trial), wanted, "{snapshot:?} {running:?} {on_trial}");
        }
    }

    /// A process that is there and says nothing.
    #[test]
    fn what_is_not_known_lets_nobody_in_where_it_could_be_a_trial() {
        let stage = Stage::new();
        let socket = stage.folder.path().join("machine.sock");
        fs::write(&socket, "").unwrap();
        let begin = |line| begin_with(&stage.folder, Arc::new(Client::at(&socket)), line).map(|trial| trial.is_some());
        assert_eq!(begin("quiet"), Ok(false), "a confirmed system serves without its machine's process");
        assert!(begin("homepost.trial=1").unwrap_err().contains("nobody is let in"));
        // And where a copy waits to be put back, or to be dropped.
        drop(stage.start(Slot::B, Some(Slot::B)));
        stage.work();
        assert!(begin("quiet").unwrap_err().contains("nobody is let in"));
        assert_eq!(stage.rows(), "new");
        assert!(stage.start(Slot::A, Some(Slot::B)).is_none());
        assert_eq!(stage.rows(), "old", "the copy was neither dropped nor put back before");
    }

    /// A boot partition that cannot be read in the trial, say.
    #[test]
    fn a_trial_of_which_only_the_loader_knows_lets_nobody_in() {
        let stage = Stage::new();
        let begin = |running, confirmed, trial| {
            let mut status = status(running, trial);
            status.update.confirmed = confirmed;
            stage.machine.set_status(status);
            let may = may_open_with(&stage.folder, &*stage.machine, "homepost.slot=b homepost.trial=1").is_ok();
            let begun = begin_with(&stage.folder, stage.machine.clone(), "homepost.slot=b homepost.trial=1");
            (begun.map(|trial| trial.is_some()).map_err(drop), may)
        };
        assert_eq!(begin(Slot::B, None, None), (Err(()), false), "nothing is known");
        assert_eq!(begin(Slot::B, Some(Slot::A), None), (Err(()), false), "the environment has its defaults");
        assert_eq!(stage.machine.acts(), [Act::Reboot, Act::Reboot]);
        assert_eq!(begin(Slot::B, Some(Slot::B), None), (Ok(false), true), "passed in this life");
        assert_eq!(begin(Slot::B, Some(Slot::A), Some(Slot::B)), (Ok(true), false), "known");
    }

    /// The service was ended while the machine wrote.
    #[test]
    fn what_is_written_already_is_restarted_into() {
        let stage = Stage::new();
        let file = stage.folder.path().join("x.hpu");
        fs::write(&file, "something").unwrap();
        offer(&stage.folder, &file, 99).unwrap();
        let mut status = status(Slot::A, Some(Slot::B));
        status.update.ready = Some(crate::appliance::update::Version(1, 0, 1));
        stage.machine.set_status(status);
        install(&stage.folder, &*stage.machine);
        assert_eq!(stage.machine.acts(), [Act::Reboot]);
        let said = said(&stage.folder).unwrap();
        assert!(!said.failed && said.words.contains("1.0.1 is being tried"), "{said:?}");
        assert!(!offered(&stage.folder).exists());
    }

    #[test]
    fn a_copy_of_another_trial_makes_room_for_this_ones() {
        let stage = Stage::new();
        drop(stage.start(Slot::A, Some(Slot::A)));
        stage.work();
        drop(stage.start(Slot::B, Some(Slot::B)).unwrap());
        assert_eq!(stage.rows(), "new", "nothing of long ago is put back");
        fs::write(stage.folder.store().join("rows.redb"), "newer").unwrap();
        assert!(stage.start(Slot::A, Some(Slot::B)).is_none());
        assert_eq!(stage.rows(), "new", "what was there before this trial");
    }

    #[test]
    fn a_copy_that_was_cut_off_is_taken_off_the_disk() {
        let stage = Stage::new();
        let half = stage.folder.path().join("before-update.new");
        fs::create_dir(&half).unwrap();
        assert!(stage.start(Slot::A, None).is_none());
        assert!(!half.exists());
    }

    #[test]
    fn no_command_opens_the_stores_before_the_copy_of_them_is_taken_or_put_back() {
        let stage = Stage::new();
        let may = |running, trial, line| {
            stage.machine.set_status(status(running, trial));
            may_open_with(&stage.folder, &*stage.machine, line)
        };
        assert_eq!(may(Slot::A, Some(Slot::A), "quiet"), Ok(()), "no box");
        assert!(may(Slot::B, Some(Slot::B), "homepost.slot=b").is_err(), "on trial");
        assert_eq!(may(Slot::A, None, "homepost.slot=a"), Ok(()));
        drop(stage.start(Slot::B, Some(Slot::B)));
        assert!(may(Slot::A, Some(Slot::B), "homepost.slot=a").unwrap_err().contains("being tried"), "to be put back");
        assert_eq!(may(Slot::B, None, "homepost.slot=b"), Ok(()), "it was passed");
        let socket = stage.folder.path().join("machine.sock");
        fs::write(&socket, "").unwrap();
        let silent = Client::at(&socket);
        assert!(may_open_with(&stage.folder, &silent, "homepost.slot=a").unwrap_err().contains("stay closed"));
        let fresh = Stage::new();
        assert!(may_open_with(&fresh.folder, &silent, "homepost.slot=a homepost.trial=1").is_err());
        assert_eq!(
            may_open_with(&fresh.folder, &silent, "homepost.slot=a"),
            Ok(()),
            "set-up comes before the machine's process"
        );
    }

    #[test]
    fn an_update_that_restarts_the_box_each_time_it_is_written_is_given_up() {
        let stage = Stage::new();
        let file = stage.folder.path().join("x.hpu");
        fs::write(&file, "something").unwrap();
        offer(&stage.folder, &file, 99).unwrap();
        for _ in 0..BEGINNINGS {
            begun(&stage.folder).unwrap();
        }
        install(&stage.folder, &*stage.machine);
        assert!(said(&stage.folder).unwrap().words.contains("not tried again"));
        assert!(!offered(&stage.folder).exists());
        // Another one counts from the beginning.
        offer(&stage.folder, &file, 99).unwrap();
        begun(&stage.folder).unwrap();
    }

    #[test]
    fn there_is_no_update_in_the_middle_of_the_set_up() {
        let stage = Stage::new();
        let file = stage.folder.path().join("setup/state.json");
        fs::create_dir(file.parent().unwrap()).unwrap();
        fs::write(&file, "{}").unwrap();
        offer(&stage.folder, &file, 99).unwrap();
        install(&stage.folder, &*stage.machine);
        assert!(said(&stage.folder).unwrap().words.contains("set-up has to be finished"));
        assert!(!offered(&stage.folder).exists());
    }

    #[test]
    fn of_what_is_put_down_no_more_is_copied_than_there_should_be() {
        let stage = Stage::new();
        let file = stage.folder.path().join("x.hpu");
        fs::write(&file, "something").unwrap();
        assert!(offer(&stage.folder, &file, 8).unwrap_err().contains("longer than an update is"));
        assert!(offer(&stage.folder, &stage.folder.path().join("none.hpu"), 8).is_err());
        let left = fs::read_dir(drawer(&stage.folder)).unwrap().count();
        assert_eq!(left, 0, "what is not used takes no room");
        offer(&stage.folder, &file, 9).unwrap();
        assert_eq!(fs::read_to_string(offered(&stage.folder)).unwrap(), "something");
    }

    #[test]
    fn an_update_that_is_refused_is_said_and_taken_away() {
        let stage = Stage::new();
        let file = stage.folder.path().join("x.hpu");
        fs::write(&file, "something").unwrap();
        offer(&stage.folder, &file, 99).unwrap();
        install(&stage.folder, &*stage.machine);
        let said = said(&stage.folder).unwrap();
        assert!(said.failed && said.words == "there is no update", "{said:?}");
        assert!(!offered(&stage.folder).exists());
        assert_eq!(stage.machine.acts(), []);
    }
}
