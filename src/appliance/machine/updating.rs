//! An update, from the file that the mail service put down to the slot on trial, and what becomes of the trial.
//!
//! | step | what a cut leaves | how it is undone |
//! |---|---|---|
//! | look | nothing was changed | |
//! | clear | nothing is on trial, and the system that runs is the confirmed one | |
//! | write | half a system in the idle slot, not on trial | by the next update |
//! | read back | a system nobody tries | by the next update |
//! | boot files | the same (a Raspberry Pi's only) | by the next update |
//! | trial | the next start is the new system's, once | the trial is cleared |
//!
//! The step is in `/data/box/update` before it is begun, so that the next start knows what a cut broke off, and says it.
//!
//! The file lies where a process that talks to strangers can write. So it is opened once, through no link, and each piece is
//! verified in our memory before it is written (U1): it does not matter what becomes of the file meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use rustix::fs::{Advice, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::appliance::update::{Keys, Manifest, Package, Refusal, Running, Version, judge, keys, package};

use super::boot::{self, BootControl, Slot, State};
use super::{Error, slots};

/// Where the mail service puts a file to be installed.
const OFFERED: [&str; 4] = ["data", "mail", "update", "offered.hpu"];
const RECORD: &str = "data/box/update";
/// There while this system is on trial: the scripts keep the doors closed.
const ON_TRIAL: &str = "run/homepost/trial";
/// There when this start was a trial that was passed: what the loader says of it is over.
const PASSED: &str = "run/homepost/passed";
/// A file of ours longer than this is none.
const TEXT_BYTES: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Look,
    Clear,
    Write,
    ReadBack,
    BootFiles,
    Trial,
}

impl Step {
    /// For the owner.
    pub fn sentence(self) -> &'static str {
        match self {
            Step::Look => "The update is looked at.",
            Step::Clear => "Room is made for the new system.",
            Step::Write => "The new system is written beside the one that runs.",
            Step::ReadBack => "What was written is read again and compared.",
            Step::BootFiles => "The start of the new system is made ready.",
            Step::Trial => "The new system is ready to be tried at the next start.",
        }
    }
}

/// How it stands with updates, for [`super::Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// "a" or "b", as the boot loader has them; `None` if that cannot be said.
    pub confirmed: Option<Slot>,
    pub trial: Option<Slot>,
    /// While one is being written.
    pub step: Option<Step>,
    pub percent: u8,
    /// The version that waits for the next start.
    pub ready: Option<Version>,
    /// What became of the last one, in words.
    pub said: Option<String>,
    pub failed: bool,
}

/// What has to be known after a cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    step: Step,
    slot: Slot,
    version: Version,
    from: Version,
    /// In which life of the machine.
    boot: String,
    /// It was started.
    #[serde(default)]
    tried: bool,
}

/// What the last start means for an update.
#[derive(Debug, PartialEq, Eq)]
enum Story {
    Nothing,
    OnTrial,
    /// Written, and waiting for the next start.
    Ready,
    /// Broken off before it was complete.
    BrokenOff,
    /// It was tried, and this is the old one again.
    FellBack,
    /// The start that was to be its trial was none.
    NotTried,
    Confirmed,
}

fn story(record: Option<&Record>, state: State, running: Slot, boot: &str) -> Story {
    match (record, state.trial) {
        (_, Some(trial)) if trial == running => Story::OnTrial,
        (Some(record), Some(_)) if record.boot == boot && !state.tried => Story::Ready,
        // The power went before the restart, or the loader was not asked.
        (Some(record), Some(_)) if !record.tried && !state.tried => Story::NotTried,
        (_, Some(_)) => Story::FellBack,
        (Some(record), None) if record.step < Step::Trial => Story::BrokenOff,
        (Some(record), None) if record.slot == running && state.confirmed == running => Story::Confirmed,
        (Some(_), None) => Story::BrokenOff,
        (None, None) => Story::Nothing,
    }
}

pub(super) enum Mount {
    /// The boot partition, to be looked at: nothing on it changes by that.
    Look,
    /// The same, to be written.
    Boot,
    System,
}

/// What is done to the machine, so that a test does it to folders.
pub(super) struct Acts {
    pub mount: fn(Mount, &Path, &Path) -> io::Result<()>,
    pub unmount: fn(&Path) -> io::Result<()>,
}

pub(super) struct Updating {
    root: PathBuf,
    acts: Acts,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    shown: Update,
    /// Somebody is at it.
    busy: bool,
}

impl Updating {
    pub fn new(root: PathBuf, acts: Acts) -> Updating {
        Updating { root, acts, held: Mutex::default() }
    }

    pub fn shown(&self) -> Update {
        self.held().shown.clone()
    }

    /// Whether the running system has yet to be confirmed.
    pub fn on_trial(&self) -> bool {
        let trial = self.held().shown.trial;
        trial.is_some() && trial == self.running_slot()
    }

    /// What the start means: a trial begins, one has ended, or a cut broke an update off.
    pub fn begin(&self) {
        let Some(running) = self.running_slot() else { return };
        // What it says by itself counts also where what it reads cannot be read any more.
        let passed = self.root.join(PASSED).exists();
        let trial = !passed && self.is_trial_start();
        let on_trial = State { confirmed: running.other(), trial: Some(running), tried: true };
        let counts = State { confirmed: running, trial: None, tried: false };
        let state = match self.at_boot(Mount::Look, |boot| Ok(boot.state())) {
            // It was lost since.
            Ok(state) if passed && state.trial.is_none() && state.confirmed != running => {
                if let Err(error) = self.with_boot(|boot| boot.confirm(running)) {
                    warn!("the boot loader's state cannot be written again: {error}");
                }
                counts
            }
            Ok(state) if trial && state.trial.is_none() && state.confirmed != running => on_trial,
            Ok(state) => state,
            Err(error) => {
                warn!("the boot loader's state cannot be read: {error}");
                match (trial, passed) {
                    (true, _) => on_trial,
                    (false, true) => counts,
                    (false, false) => return,
                }
            }
        };
        let record = self.record();
        let version =
            |record: &Option<Record>| record.as_ref().map_or(String::new(), |one| format!(" {}", one.version));
        let said = match story(record.as_ref(), state, running, &self.boot_id()) {
            Story::Nothing => None,
            Story::OnTrial => {
                info!("this system is on trial");
                if let Err(error) = fs::write(self.root.join(ON_TRIAL), "") {
                    warn!("{ON_TRIAL}: {error}");
                }
                if let Some(record) = record.as_ref().filter(|record| !record.tried)
                    && let Err(error) = self.put_record(&Record { tried: true, ..record.clone() })
                {
                    warn!("{RECORD}: {error}");
                }
                None
            }
            Story::Ready => {
                self.held().shown.ready = record.as_ref().map(|record| record.version);
                None
            }
            Story::BrokenOff => {
                self.forget();
                Some((true, "The update was broken off, and nothing was changed.".to_owned()))
            }
            Story::FellBack => Some((
                true,
                format!(
                    "The new version{} did not work here, so the one before runs again. No mail was lost.",
                    version(&record)
                ),
            )),
            Story::NotTried => Some((
                true,
                format!(
                    "The new version{} was not tried: the box did not start with it. The version before runs on.",
                    version(&record)
                ),
            )),
            Story::Confirmed => {
                self.forget();
                Some((false, format!("Version{} runs.", version(&record))))
            }
        };
        let mut held = self.held();
        held.shown.confirmed = Some(state.confirmed);
        held.shown.trial = state.trial;
        if let Some((failed, words)) = said {
            info!("{words}");
            (held.shown.failed, held.shown.said) = (failed, Some(words));
        }
    }

    /// Looks at the file that was put down: whose it is, and whether this box should have it.
    pub fn check(&self) -> Result<Manifest, Error> {
        self.opened().map(|package| package.manifest).map_err(|refusal| Error::Refused(refusal.to_string()))
    }

    /// Begins to write it; [`Updating::shown`] says how far that is.
    pub fn write(self: &Arc<Updating>) -> Result<(), Error> {
        if self.on_trial() {
            return Err(Error::Refused("the version that runs is on trial itself".to_owned()));
        }
        let Some(running) = self.running_slot() else {
            return Err(Error::Refused("this system does not run from a slot of a homepost disk".to_owned()));
        };
        {
            let mut held = self.held();
            if held.busy {
                return Err(Error::Refused("an update is being written already".to_owned()));
            }
            held.busy = true;
            (held.shown.step, held.shown.percent) = (Some(Step::Look), 0);
            (held.shown.ready, held.shown.said, held.shown.failed) = (None, None, false);
        }
        let own = self.clone();
        let started = std::thread::Builder::new().name("update".to_owned()).spawn(move || own.run(running.other()));
        started.map(drop).map_err(|error| {
            let mut held = self.held();
            (held.busy, held.shown.step) = (false, None);
            Error::Failed(format!("the update cannot begin: {error}"))
        })
    }

    fn run(&self, slot: Slot) {
        let done = self.steps(slot);
        let mut held = self.held();
        held.busy = false;
        held.shown.step = None;
        match done {
            Ok(version) => {
                info!("version {version} is in system {}, to be tried at the next start", slot.as_str());
                (held.shown.trial, held.shown.ready) = (Some(slot), Some(version));
            }
            Err(words) => {
                warn!("no update: {words}");
                (held.shown.failed, held.shown.said) = (true, Some(words));
                drop(held);
                self.forget();
            }
        }
    }

    /// Errors: sentences for the owner. Whatever they say, nothing is on trial then.
    fn steps(&self, slot: Slot) -> Result<Version, String> {
        // Once without a change: what is damaged costs nothing.
        let words = |refusal: Refusal| refusal.to_string();
        self.opened().and_then(|package| package.copy(|_| Ok(()))).map_err(words)?;
        let package = self.opened().map_err(words)?;
        let here = self.running().map_err(|refusal| refusal.to_string())?;
        let manifest = package.manifest.clone();
        let device = slots::device(&self.root, slot).ok_or("this disk has no second place for a system")?;
        let record = Record {
            step: Step::Look,
            slot,
            version: manifest.version,
            from: here.version,
            boot: self.boot_id(),
            tried: false,
        };
        let step = |step: Step| {
            self.held().shown.step = Some(step);
            let record = Record { step, ..record.clone() };
            self.put_record(&record).map_err(|error| format!("the update cannot be written down: {error}"))
        };
        let boot_failed = |error: io::Error| format!("the boot partition cannot be written: {error}");

        step(Step::Clear)?;
        let running = slot.other();
        self.with_boot(|boot| match boot.state() {
            State { trial: Some(trial), .. } if trial == running => Err(io::Error::other("this system is on trial")),
            // The loader could not start the confirmed one. What runs instead is what is left, and counts from now on.
            State { confirmed, .. } if confirmed != running => boot.confirm(running),
            _ => boot.clear_trial(),
        })
        .map_err(boot_failed)?;
        let mut held = self.held();
        (held.shown.confirmed, held.shown.trial) = (Some(running), None);
        drop(held);

        step(Step::Write)?;
        let disk_failed = |error: io::Error| format!("the new system cannot be written: {error}");
        let mut to = OpenOptions::new().read(true).write(true).open(&device).map_err(disk_failed)?;
        let (mut written, mut broken) = (0, None);
        let copied = package.copy(|piece| {
            if let Err(error) = to.write_all(piece) {
                broken = Some(disk_failed(error));
                return Err(io::ErrorKind::Other.into());
            }
            written += piece.len() as u64;
            self.held().shown.percent = percent(written, manifest.bytes, 0);
            Ok(())
        });
        copied.map_err(|refusal| broken.unwrap_or_else(|| words(refusal)))?;
        to.sync_all().map_err(disk_failed)?;

        step(Step::ReadBack)?;
        let same =
            self.same(&mut to, &manifest).map_err(|error| format!("the new system cannot be read again: {error}"))?;
        if !same {
            return Err(
                "the disk does not give back what was written to it; it is probably worn out or broken".to_owned()
            );
        }
        drop(to);

        step(Step::BootFiles)?;
        self.with_boot(|boot| self.with_system(&device, |system| boot.bring(slot, &system.join("boot"))))
            .map_err(boot_failed)?;

        step(Step::Trial)?;
        self.with_boot(|boot| boot.set_trial(slot)).map_err(boot_failed)?;
        Ok(manifest.version)
    }

    /// Whether the slot holds what the manifest says, from the disk and not from memory.
    fn same(&self, slot: &mut File, manifest: &Manifest) -> io::Result<bool> {
        let _ = rustix::fs::fadvise(&*slot, 0, None, Advice::DontNeed);
        slot.seek(SeekFrom::Start(0))?;
        let (mut left, mut piece) = (manifest.bytes, Vec::new());
        for wanted in &manifest.sha256 {
            let length = left.min(manifest.piece_bytes);
            piece.resize(usize::try_from(length).unwrap_or(0), 0);
            slot.read_exact(&mut piece)?;
            if package::hex(digest::digest(&digest::SHA256, &piece).as_ref()) != *wanted {
                return Ok(false);
            }
            left -= length;
            self.held().shown.percent = percent(manifest.bytes - left, manifest.bytes, 50);
        }
        Ok(true)
    }

    /// The system that runs is the one that starts from now on.
    pub fn confirm(&self) -> Result<(), Error> {
        let Some(running) = self.running_slot() else {
            return Err(Error::Refused("this system does not run from a slot of a homepost disk".to_owned()));
        };
        if !self.on_trial() {
            return Err(Error::Refused("the system that runs is not on trial".to_owned()));
        }
        self.with_boot(|boot| boot.confirm(running)).map_err(|error| failed(&error))?;
        if let Err(error) = fs::write(self.root.join(PASSED), "") {
            warn!("{PASSED}: {error}");
        }
        let version = self.running().map_or(String::new(), |here| format!(" {}", here.version));
        let mut held = self.held();
        (held.shown.confirmed, held.shown.trial, held.shown.ready) = (Some(running), None, None);
        (held.shown.failed, held.shown.said) = (false, Some(format!("Version{version} runs.")));
        drop(held);
        self.forget();
        let _ = fs::remove_file(self.root.join(ON_TRIAL));
        Ok(())
    }

    /// The restart that is asked for now is the trial of what was written: from here on it was tried, whatever the loader says.
    pub fn goes_down(&self) {
        if self.held().shown.ready.is_none() {
            return;
        }
        let Some(record) = self.record().filter(|record| record.step == Step::Trial) else { return };
        if let Err(error) = self.put_record(&Record { tried: true, ..record }) {
            warn!("{RECORD}: {error}");
        }
    }

    /// Nothing is on trial any more: an update that waited for a start, or one that had it and failed.
    pub fn abandon(&self) -> Result<(), Error> {
        if self.on_trial() {
            return Err(Error::Refused("the version that runs is on trial; a restart ends that".to_owned()));
        }
        if self.held().busy {
            return Err(Error::Refused("an update is being written".to_owned()));
        }
        self.with_boot(|boot| boot.clear_trial()).map_err(|error| failed(&error))?;
        let mut held = self.held();
        (held.shown.trial, held.shown.ready) = (None, None);
        drop(held);
        self.forget();
        Ok(())
    }

    fn opened(&self) -> Result<Package<File>, Refusal> {
        let keys = self.text(keys::FILE).ok_or(Refusal::NoKeys)?;
        let keys = Keys::read(&keys)?;
        let file = self.offered().map_err(|error| Refusal::Unreadable(error.to_string()))?;
        let package = Package::open(file, &keys)?;
        judge(&package.manifest, &self.running()?)?;
        Ok(package)
    }

    fn offered(&self) -> io::Result<File> {
        let (name, folders) = (OFFERED[3], &OFFERED[..3]);
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at: OwnedFd = File::open(&self.root)?.into();
        for part in folders {
            at = rustix::fs::openat(&at, *part, folder, Mode::empty())?;
        }
        // A pipe would keep us waiting.
        let file = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&at, name, file, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no file"));
        }
        Ok(file.into())
    }

    /// What runs, by the slot's own words.
    fn running(&self) -> Result<Running, Refusal> {
        let told = self.text("etc/os-release").unwrap_or_default();
        let fact = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let version = fact("VERSION_ID").and_then(|text| text.parse().ok());
        let odd = || Refusal::Unreadable("this system does not say what it is".to_owned());
        let slot_bytes = self
            .running_slot()
            .and_then(|slot| slots::device(&self.root, slot.other()))
            .and_then(|device| File::open(device).and_then(|mut device| device.seek(SeekFrom::End(0))).ok());
        Ok(Running {
            version: version.ok_or_else(odd)?,
            board: fact("VARIANT_ID").ok_or_else(odd)?.to_owned(),
            slot_bytes: slot_bytes
                .ok_or_else(|| Refusal::Unreadable("this disk has no second place for a system".to_owned()))?,
        })
    }

    /// The version that the slot says it is; what is built into the binary may be another.
    pub fn version(&self) -> Option<String> {
        self.running().ok().map(|here| here.version.to_string())
    }

    fn running_slot(&self) -> Option<Slot> {
        Slot::read(&super::facts::slot(&self.text("proc/cmdline")?)?)
    }

    fn is_trial_start(&self) -> bool {
        let line = self.text("proc/cmdline").unwrap_or_default();
        super::facts::is_trial(&line, fs::read(self.root.join(&super::TRYBOOT[1..])).ok().as_deref())
    }

    fn boot_id(&self) -> String {
        self.text("proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    fn text(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        File::open(self.root.join(path)).ok()?.take(TEXT_BYTES).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn record(&self) -> Option<Record> {
        serde_json::from_str(&self.text(RECORD)?).ok()
    }

    fn put_record(&self, record: &Record) -> io::Result<()> {
        let path = self.root.join(RECORD);
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn forget(&self) {
        match fs::remove_file(self.root.join(RECORD)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => warn!("{RECORD}: {error}"),
            _ => {}
        }
    }

    /// Writes a file of this name on the boot partition, for the next start.
    pub fn wish(&self, name: &str) -> io::Result<()> {
        self.in_boot(Mount::Boot, |at| {
            let mut file = File::create(at.join(name))?;
            file.write_all(b"1\n")?;
            file.sync_all()?;
            Ok(rustix::fs::syncfs(&File::open(at)?)?)
        })
    }

    /// The opposite. Errors: it may be there still.
    pub fn no_wish(&self, name: &str) -> io::Result<()> {
        self.in_boot(Mount::Boot, |at| {
            match fs::remove_file(at.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            }?;
            Ok(rustix::fs::syncfs(&File::open(at)?)?)
        })
    }

    fn with_boot<T>(&self, work: impl FnOnce(&dyn BootControl) -> io::Result<T>) -> io::Result<T> {
        self.at_boot(Mount::Boot, work)
    }

    fn at_boot<T>(&self, how: Mount, work: impl FnOnce(&dyn BootControl) -> io::Result<T>) -> io::Result<T> {
        self.in_boot(how, |at| work(&*boot::control(at)?))
    }

    fn in_boot<T>(&self, how: Mount, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let device = slots::partition(&self.root, "homepost-boot")
            .ok_or_else(|| io::Error::other("this disk has no boot partition"))?;
        self.mounted(how, &device, "run/homepost/bootloader", work)
    }

    fn with_system<T>(&self, device: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        self.mounted(Mount::System, device, "run/homepost/newsystem", work)
    }

    fn mounted<T>(
        &self,
        what: Mount,
        device: &Path,
        at: &str,
        work: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let at = self.root.join(at);
        fs::create_dir_all(&at)?;
        (self.acts.mount)(what, device, &at)?;
        let done = work(&at);
        let unmounted = (self.acts.unmount)(&at);
        let done = done?;
        unmounted.map(|()| done)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn percent(done: u64, of: u64, from: u8) -> u8 {
    from + u8::try_from(done * 50 / of.max(1)).unwrap_or(50)
}

fn failed(error: &io::Error) -> Error {
    Error::Failed(format!("the boot partition cannot be written: {error}"))
}

#[cfg(test)]
mod tests;
