//! What the kernel says of USB disks, under `/sys/class/block`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::superblock::{self, FileSystem, Kind, text};
use super::{LABEL, State, Stick};

/// Sticks that are looked at; a hub full of them is somebody's joke.
const MOST: usize = 8;
const MOST_PARTITIONS: usize = 16;

/// A USB disk.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub disk: String,
    pub insertion: u64,
    pub name: String,
    pub bytes: u64,
    /// Of the smallest piece that it writes.
    pub sector: u64,
    pub writable: bool,
    /// It holds a homepost system.
    pub system: bool,
    /// The device of each partition (or of the disk, if it has none), and what is on it. `Err`: it cannot be read.
    parts: Vec<(String, Result<Option<FileSystem>, ()>)>,
}

impl Seen {
    /// The device with our label that can be mounted.
    pub fn ours(&self) -> Option<(&str, Kind)> {
        let usable = |kind| matches!(kind, Kind::Fat | Kind::ExFat);
        self.labelled().find(|(_, kind)| usable(*kind) && !self.system)
    }

    fn labelled(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.parts.iter().filter_map(|(device, found)| match found {
            Ok(Some(found)) if found.label.eq_ignore_ascii_case(LABEL) => Some((device.as_str(), found.kind)),
            _ => None,
        })
    }

    pub fn stick(&self, open: bool) -> Stick {
        let known: Vec<&FileSystem> =
            self.parts.iter().filter_map(|(_, found)| found.as_ref().ok()?.as_ref()).collect();
        let state = if self.system {
            State::System
        } else if open {
            State::Open
        } else if self.ours().is_some() {
            State::Ready
        } else if let Some((_, kind)) = self.labelled().next() {
            State::OtherKind(kind)
        } else if !known.is_empty() {
            State::Foreign
        } else if self.parts.iter().any(|(_, found)| found.is_err()) {
            State::Broken
        } else {
            State::Blank
        };
        let ours = matches!(state, State::Open | State::Ready | State::OtherKind(_));
        let label = known.iter().map(|found| found.label.clone()).find(|label| !label.is_empty());
        Stick {
            insertion: self.insertion,
            name: self.name.clone(),
            label: if ours { Some(LABEL.to_owned()) } else { label },
            bytes: self.bytes,
            writable: self.writable,
            state,
        }
    }
}

/// What was found on a device; a stick is not read again and again while it is in.
type Known = HashMap<(String, u64), Result<Option<FileSystem>, ()>>;

#[derive(Default)]
pub(super) struct Scan {
    known: Known,
}

impl Scan {
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// All USB disks that have something in them, in the order of their names.
    pub fn look(&mut self, root: &Path) -> Vec<Seen> {
        let blocks = root.join("sys/class/block");
        let mut disks: Vec<String> =
            names(&blocks).into_iter().filter(|name| is_usb_disk(root, &blocks.join(name))).collect();
        disks.sort();
        disks.truncate(MOST);
        let mut still = Known::default();
        let seen = disks.iter().filter_map(|disk| self.disk(root, &blocks.join(disk), disk, &mut still)).collect();
        self.known = still;
        seen
    }

    fn disk(&mut self, root: &Path, at: &Path, disk: &str, still: &mut Known) -> Option<Seen> {
        // A reader without a card in it has none.
        let bytes = number(&at.join("size"))?.saturating_mul(512);
        if bytes == 0 {
            return None;
        }
        let insertion = number(&at.join("diskseq")).unwrap_or(0);
        let mut devices: Vec<String> =
            names(at).into_iter().filter(|name| at.join(name).join("partition").exists()).collect();
        devices.sort();
        devices.truncate(MOST_PARTITIONS);
        let of_system = |name: &String| {
            line(&at.join(name).join("uevent"), "PARTNAME=").is_some_and(|name| name.starts_with("homepost-"))
        };
        let system = devices.iter().any(of_system);
        if devices.is_empty() {
            devices.push(disk.to_owned());
        }
        let parts = devices.into_iter().map(|device| {
            let key = (device.clone(), insertion);
            let found = self.known.remove(&key).unwrap_or_else(|| read(&root.join("dev").join(&device)));
            still.insert(key, found.clone());
            (device, found)
        });
        let parts = parts.collect();
        let name = [words(&at.join("device/vendor")), words(&at.join("device/model"))].join(" ");
        let name = if name.trim().is_empty() { disk.to_owned() } else { name.trim().to_owned() };
        let writable = number(&at.join("ro")) == Some(0);
        let sector = number(&at.join("queue/logical_block_size")).unwrap_or(512);
        Some(Seen { disk: disk.to_owned(), insertion, name, bytes, sector, writable, system, parts })
    }
}

/// Takes the disk out and puts it in again, for the kernel: it has read the old table of partitions.
pub(super) fn plug_again(root: &Path, disk: &str) {
    let Ok(device) = fs::canonicalize(root.join("sys/class/block").join(disk).join("device")) else { return };
    let hosts =
        device.ancestors().filter(|at| at.file_name().is_some_and(|name| name.to_string_lossy().starts_with("host")));
    let Some(scan) =
        hosts.map(|host| host.join("scsi_host").join(host.file_name().unwrap_or_default()).join("scan")).next()
    else {
        return;
    };
    let done = fs::write(device.join("delete"), "1").and_then(|()| fs::write(scan, "- - -"));
    if let Err(error) = done {
        tracing::warn!(%error, "the kernel does not look at the stick again by itself");
    }
}

fn read(device: &Path) -> Result<Option<FileSystem>, ()> {
    let found = fs::File::open(device).and_then(|mut file| superblock::look(&mut file));
    found.map_err(|error| tracing::warn!(%error, device = %device.display(), "a stick cannot be read"))
}

/// A4: by where the kernel has hung it up, below a USB controller.
fn is_usb_disk(root: &Path, block: &Path) -> bool {
    let Ok(at) = fs::canonicalize(block) else { return false };
    let Ok(root) = fs::canonicalize(root) else { return false };
    let at = at.strip_prefix(&root).map_or_else(|_| at.clone(), PathBuf::from);
    let below_usb = at.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.strip_prefix("usb")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    below_usb && !block.join("partition").exists()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn line(path: &Path, start: &str) -> Option<String> {
    fs::read_to_string(path).ok()?.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned)
}

fn words(path: &Path) -> String {
    fs::read(path).map(|bytes| text(&bytes)).unwrap_or_default()
}
