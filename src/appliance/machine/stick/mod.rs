//! USB sticks: which are in, and the one with our label mounted while it is used.
//!
//! A stick counts by its label, HOMEPOST, on FAT or exFAT; every other one is told of and not touched. It is mounted only
//! while something is read or written, so that it can be pulled out at any other moment. Who has it opened says so again
//! within [`LEASE_TICKS`], else it is closed for them.
//!
//! It is mounted *in* a folder that the mail service may use (`sandbox/files.rs`): what Landlock allows stands on folders,
//! and does not reach through the folder that is mounted on, only down from the one above.
//!
//! Invariants, cited by tests:
//! - A4: nothing but a USB disk is ever looked at, mounted or emptied, and none that holds a homepost system.
//! - A5: no driver sees a stick without our label, and nothing on a stick is executed, a device or another user's.

mod chains;
mod format;
mod scan;
mod superblock;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::base::{OsRandom, Random};

use super::Error;
use scan::{Scan, Seen};
pub use superblock::Kind;

/// What a stick for homepost is labelled.
pub const LABEL: &str = "HOMEPOST";

/// Where sticks are on a box, and in it the one that is open.
const FOLDER: &str = "/run/homepost/stick";
const AT: &str = "at";

/// How often an open stick is looked after, and how often before it is closed because nobody says that it is still used.
const TICK: Duration = Duration::from_secs(2);
const LEASE_TICKS: u32 = 150;
/// For the kernel to show the partition of a prepared stick, in steps of [`TICK`].
const SHOWN_TICKS: u32 = 8;

/// The folder that the open stick is mounted in. HOMEPOST_STICK names another, for tests.
pub fn folder() -> PathBuf {
    std::env::var_os("HOMEPOST_STICK").map_or_else(|| PathBuf::from(FOLDER), PathBuf::from)
}

/// What is on the open stick.
pub fn at() -> PathBuf {
    folder().join(AT)
}

/// A USB stick that is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stick {
    /// Another one each time that a stick is plugged in.
    pub insertion: u64,
    /// Who made it and what it is called, as it says.
    pub name: String,
    /// Of its file system, if it has one with a label.
    pub label: Option<String>,
    pub bytes: u64,
    /// Not by a switch on it that forbids it.
    pub writable: bool,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Ours, and not in use: it can be pulled out.
    Ready,
    /// Ours, and mounted.
    Open,
    /// Ours by its label; but this kind of file system is not used.
    OtherKind(Kind),
    /// It has another label, or none.
    Foreign,
    /// Nothing that is known is on it.
    Blank,
    /// A homepost system, to start a box from.
    System,
    /// It cannot be read.
    Broken,
}

impl Stick {
    /// Why it is not used, in a sentence for the owner; `None`: it is one for us.
    pub fn problem(&self) -> Option<String> {
        let name = &self.name;
        Some(match self.state {
            State::Ready | State::Open => return None,
            State::OtherKind(_) => format!(
                "The stick {name} is labelled HOMEPOST, but has a file system that this box does not use. It can be emptied and prepared here."
            ),
            State::Foreign => format!(
                "The stick {name} is not labelled HOMEPOST, so nothing on it is touched. It can be emptied and prepared here."
            ),
            State::Blank => format!("The stick {name} is empty. It can be prepared here."),
            State::System => format!("The stick {name} holds a homepost system, so it is left as it is."),
            State::Broken => format!("The stick {name} cannot be read. It is probably broken: try another one."),
        })
    }
}

/// The one stick to use of those that are in, or in a sentence why there is none.
pub fn chosen(sticks: &[Stick]) -> Result<&Stick, String> {
    let ours: Vec<&Stick> = sticks.iter().filter(|stick| stick.problem().is_none()).collect();
    match (ours.as_slice(), sticks) {
        ([one], _) => Ok(one),
        ([_, _, ..], _) => {
            Err("There are several sticks labelled HOMEPOST. Please leave only one of them in.".to_owned())
        }
        ([], [first, ..]) => Err(first.problem().unwrap_or_default()),
        ([], []) => Err("There is no USB stick.".to_owned()),
    }
}

/// The sticks of a machine.
pub(super) struct Sticks {
    root: PathBuf,
    /// The mail service, to whom what is on an open stick belongs.
    user: u32,
    acts: Acts,
    held: Mutex<Held>,
}

/// What changes the machine.
pub(super) struct Acts {
    pub mount: fn(device: &Path, at: &Path, kind: Kind, writable: bool, user: u32) -> io::Result<()>,
    pub unmount: fn(at: &Path, at_once: bool) -> io::Result<()>,
}

impl Acts {
    pub fn real() -> Acts {
        Acts { mount: mount_at, unmount: unmount_from }
    }
}

#[derive(Default)]
struct Held {
    scan: Scan,
    open: Option<Open>,
}

struct Open {
    insertion: u64,
    at: PathBuf,
    ticks: u32,
}

impl Sticks {
    pub fn new(root: PathBuf, user: u32, acts: Acts) -> Arc<Sticks> {
        Arc::new(Sticks { root, user, acts, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn all(&self) -> Vec<Stick> {
        let mut held = self.held();
        let seen = held.scan.look(&self.root);
        shown(&seen, held.open.as_ref())
    }

    /// Mounts the one stick with our label, or goes on having it mounted.
    pub fn open(self: &Arc<Self>) -> Result<(), Error> {
        let mut held = self.held();
        let seen = held.scan.look(&self.root);
        let sticks = shown(&seen, held.open.as_ref());
        let stick = chosen(&sticks).map_err(Error::Refused)?;
        if let Some(open) = &mut held.open {
            if open.insertion == stick.insertion {
                open.ticks = LEASE_TICKS;
                return Ok(());
            }
            self.close_in(&mut held, true)?;
        }
        let found = seen.iter().find(|one| one.insertion == stick.insertion).and_then(Seen::ours);
        let (device, kind) = found.ok_or_else(|| Error::Failed("The stick was pulled out.".to_owned()))?;
        let at = self.root.join(folder().strip_prefix("/").unwrap_or(&folder())).join(AT);
        fs::create_dir_all(&at).map_err(|error| Error::Failed(format!("{}: {error}", at.display())))?;
        let device = self.root.join("dev").join(device);
        if kind == Kind::Fat && stick.writable {
            mend(&device);
        }
        (self.acts.mount)(&device, &at, kind, stick.writable, self.user).map_err(|error| {
            Error::Failed(format!(
                "The stick {} cannot be opened ({error}). What is on it is probably damaged.",
                stick.name
            ))
        })?;
        held.open = Some(Open { insertion: stick.insertion, at, ticks: LEASE_TICKS });
        info!("the stick {} is open", stick.name);
        let sticks = self.clone();
        let watching = std::thread::Builder::new().name("stick".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(TICK);
                if !sticks.look_after() {
                    return;
                }
            }
        });
        if let Err(error) = watching {
            warn!(%error, "nobody looks after the open stick");
        }
        Ok(())
    }

    /// All that was written is on the stick; it can be pulled out. Nothing open: nothing to do.
    pub fn close(&self) -> Result<(), Error> {
        self.close_in(&mut self.held(), false)
    }

    fn close_in(&self, held: &mut Held, at_once: bool) -> Result<(), Error> {
        let Some(open) = &held.open else { return Ok(()) };
        // Says that something did not get there; unmounting does not.
        let synced = fs::File::open(&open.at).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        (self.acts.unmount)(&open.at, at_once).map_err(|error| {
            Error::Failed(format!("The stick is still in use ({error}). Please leave it in for now."))
        })?;
        held.open = None;
        match synced {
            // A process that may not look into the folder cannot sync it by itself; unmounting does.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied && !at_once => {
                Err(Error::Failed(format!("Not everything could be written to the stick ({error}).")))
            }
            _ => Ok(()),
        }
    }

    /// One tick. `false` when there is nothing to look after any more.
    fn look_after(&self) -> bool {
        let mut held = self.held();
        let seen = held.scan.look(&self.root);
        let Some(open) = &mut held.open else { return false };
        open.ticks = open.ticks.saturating_sub(1);
        let gone = !seen.iter().any(|one| one.insertion == open.insertion);
        if !gone && open.ticks > 0 {
            return true;
        }
        let why = if gone { "it was pulled out while it was in use" } else { "nobody uses it any more" };
        warn!("the stick is closed: {why}");
        if let Err(error) = self.close_in(&mut held, gone) {
            warn!("{error}");
        }
        held.open.is_some()
    }

    /// Empties the stick of this insertion and makes it one for homepost. It has to be the only one that is in.
    pub fn prepare(&self, insertion: u64) -> Result<(), Error> {
        let refused = |words: &str| Err(Error::Refused(words.to_owned()));
        let mut held = self.held();
        let seen = held.scan.look(&self.root);
        let [one] = seen.as_slice() else {
            return refused(match seen.len() {
                0 => "There is no USB stick.",
                _ => "There are several sticks. Please leave only that one in which is to be prepared.",
            });
        };
        if one.insertion != insertion {
            return refused("That stick was pulled out; another one is in now.");
        }
        if one.system {
            return refused("This stick holds a homepost system, so it is left as it is.");
        }
        if !one.writable {
            return refused("This stick is write-protected. Perhaps it has a switch for that.");
        }
        if one.bytes < format::SMALLEST || one.sector != 512 {
            return refused("This stick is too small, or of an unusual kind. Please take another one.");
        }
        self.close_in(&mut held, false)?;
        let disk = self.root.join("dev").join(&one.disk);
        let failed = |error: io::Error| {
            Error::Failed(format!("The stick could not be prepared ({error}). It is probably broken: try another one."))
        };
        let mut target = alone(&disk).map_err(failed)?;
        let done = format::format(&mut target, one.bytes, OsRandom.u64() as u32);
        drop(target);
        held.scan.forget();
        done.map_err(failed)?;
        info!("the stick {} was prepared", one.name);
        scan::plug_again(&self.root, &one.disk);
        for _ in 0..SHOWN_TICKS {
            if held.scan.look(&self.root).iter().any(|one| one.ours().is_some()) {
                return Ok(());
            }
            std::thread::sleep(TICK);
            held.scan.forget();
        }
        Err(Error::Failed("The stick is prepared. Please pull it out and plug it in again.".to_owned()))
    }
}

fn shown(seen: &[Seen], open: Option<&Open>) -> Vec<Stick> {
    seen.iter().map(|one| one.stick(open.is_some_and(|open| open.insertion == one.insertion))).collect()
}

/// Opens a disk, or a partition, of which nobody else may make use then.
fn alone(device: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::EXCL.bits() as i32);
    options.open(device)
}

/// What cannot be mended is left for the driver to say.
fn mend(device: &Path) {
    match alone(device).and_then(|mut volume| chains::mend(&mut volume)) {
        Ok(0) => {}
        Ok(some) => info!("the stick was pulled out while it was written to: {some} of its folders had to be mended"),
        Err(error) => warn!(%error, "the folders on the stick were not looked at"),
    }
}

fn mount_at(device: &Path, at: &Path, kind: Kind, writable: bool, user: u32) -> io::Result<()> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    if !writable {
        flags |= MountFlags::RDONLY;
    }
    let mut options = format!("uid={user},gid={user},umask=077");
    let kind = match kind {
        Kind::Fat => {
            // A file that was being written when the stick was pulled out may have less room than it says. Whatever touches it
            // fails; all else can be written, where the kernel would have nothing written any more from then on.
            options.push_str(",errors=continue");
            // A folder that grows: its new room is written before what leads there.
            flags |= MountFlags::DIRSYNC;
            c"vfat"
        }
        Kind::ExFat => c"exfat",
        Kind::Ext | Kind::Ntfs => return Err(io::ErrorKind::Unsupported.into()),
    };
    let options = std::ffi::CString::new(options)?;
    Ok(mount(device, at, kind, flags, options.as_c_str())?)
}

/// `at_once`: although files are open on it, since the stick is gone.
fn unmount_from(at: &Path, at_once: bool) -> io::Result<()> {
    let flags = if at_once { UnmountFlags::DETACH } else { UnmountFlags::NOFOLLOW };
    Ok(unmount(at, flags)?)
}

#[cfg(test)]
mod tests;
