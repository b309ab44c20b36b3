//! Which of the two system slots starts next: what the boot loader reads on the boot partition.
//!
//! One slot is confirmed. Another can be on trial: it gets one start, and unless it is confirmed meanwhile the next start is
//! the confirmed one's again, whatever ended the first. So cutting the power again and again uses up a slot on trial and
//! never a good one. Both back ends work on the folder where the boot partition is mounted.
//!
//! Invariants, cited by tests:
//! - B1: after a cut in any write here, the confirmed slot before or after that write starts; there is no third state.
//! - B2: what cannot be read counts as slot A confirmed and nothing on trial, as the boot loader takes it.

mod grub;
mod tryboot;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use grub::Grub;
pub use tryboot::Tryboot;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    A,
    B,
}

impl Slot {
    pub fn read(text: &str) -> Option<Slot> {
        match text {
            "a" => Some(Slot::A),
            "b" => Some(Slot::B),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }

    #[must_use]
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub confirmed: Slot,
    pub trial: Option<Slot>,
    /// Whether the slot on trial had its start. A Raspberry Pi does not say.
    pub tried: bool,
}

/// Each change is durable when it returns.
pub trait BootControl {
    fn state(&self) -> State;
    /// What the loader needs of a slot besides the slot, from that slot's `/boot`. Nothing may be on trial.
    fn bring(&self, slot: Slot, boot: &Path) -> io::Result<()>;
    /// Gives `slot`, which is not the confirmed one, its one start.
    fn set_trial(&self, slot: Slot) -> io::Result<()>;
    /// `slot` is the one that starts from now on, and nothing is on trial.
    fn confirm(&self, slot: Slot) -> io::Result<()>;
    fn clear_trial(&self) -> io::Result<()>;
}

/// The one of the boot partition mounted at `folder`.
pub fn control(folder: &Path) -> io::Result<Box<dyn BootControl>> {
    if folder.join("EFI/BOOT/grub.cfg").is_file() {
        return Ok(Box::new(Grub::at(folder)));
    }
    if folder.join("config.txt").is_file() {
        return Ok(Box::new(Tryboot::at(folder)));
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the boot partition is of no boot loader that homepost knows"))
}

/// Replaces a file: after a cut it is the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// The folder that `path` is in.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
