//! Room in an archive: what may go, and what goes for a new backup.
//!
//! Nothing goes for a backup that would not find room all the same: that is tried on a disk on which nothing changes
//! ([`Rehearsal`]) before the first backup goes.

use std::collections::{BTreeSet, HashSet};

use super::archive::{self, Sums};
use super::rehearsal::Rehearsal;
use super::{Error, keep};
use crate::store::disk::{Disk, Site};

/// Blocks left for the folder itself.
const SPARE: u64 = 2;
/// Blocks that the page, two copies of the key and their sums take.
const KEY: u64 = 4;

/// An error if there is no room for the key and what belongs to it: the page is written anew where it lies.
pub(super) fn check_for_key(disk: &dyn Disk) -> Result<(), Error> {
    if disk.free()? < (KEY + SPARE) * disk.block()? { Err(Error::Full) } else { Ok(()) }
}

/// The bytes of room that a backup takes, which is made by `run` on the disk given to it. [`Error::Full`] if it could not be made
/// even if all went that may go. Changes nothing.
pub(super) fn needed(disk: &dyn Disk, run: impl FnOnce(&dyn Disk) -> Result<(), Error>) -> Result<u64, Error> {
    let rehearsal = Rehearsal::of(disk)?;
    while drop_oldest(&rehearsal)? {}
    let before = rehearsal.free()?;
    run(&rehearsal)?;
    // What it takes for its own folder is not seen.
    let needed = before.saturating_sub(rehearsal.free()?) + SPARE * disk.block()?;
    if needed > before { Err(Error::Full) } else { Ok(needed) }
}

/// Lets the oldest backups go until this much room is there. How many went.
pub(super) fn make(disk: &dyn Disk, needed: u64) -> Result<usize, Error> {
    let mut gone = 0;
    while disk.free()? < needed && drop_oldest(disk)? {
        gone += 1;
    }
    Ok(gone)
}

/// Removes what was written since the folder had these names, and is of no use.
pub(super) fn undo(disk: &dyn Disk, before: &BTreeSet<String>) -> Result<(), Error> {
    for name in disk.list()?.iter().filter(|name| is_content(name) && !before.contains(*name)) {
        disk.remove(name)?;
    }
    Ok(disk.sync_dir(Site::Archive)?)
}

/// Of a backup, not of the key.
fn is_content(name: &str) -> bool {
    ["head-", "rows-", "letters-"].iter().any(|kind| name.starts_with(kind)) && archive::number(name).is_some()
}

/// Removes what the rule does not keep, and files that nothing names. How many backups went.
pub(super) fn prune(disk: &dyn Disk) -> Result<usize, Error> {
    let there = archive::list(disk)?;
    let kept =
        keep::keep_of_each(&there.iter().map(|sums| (sums.number, sums.time, sums.everything)).collect::<Vec<_>>());
    let gone: Vec<u32> = there.iter().map(|sums| sums.number).filter(|number| !kept.contains(number)).collect();
    for number in &gone {
        disk.remove(&archive::sums_name(*number))?;
    }
    disk.sync_dir(Site::Archive)?;
    sweep(disk, true)?;
    Ok(gone.len())
}

/// Makes room: false if nothing may go any more.
fn drop_oldest(disk: &dyn Disk) -> Result<bool, Error> {
    let there = archive::list(disk)?;
    let damaged = archive::damaged(disk, &disk.list()?);
    let sound = |sums: &&Sums| !sums.files.iter().any(|(name, _)| damaged.contains(name));
    let newest = there.iter().find(sound).or(there.first()).map(|sums| sums.number);
    // The last with the letters stays, however many came after it that have none, or not all.
    let mut whole = there.iter().filter(|sums| sums.everything);
    let whole = whole.clone().find(sound).or(whole.next()).map(|sums| sums.number);
    let mut old = there.iter().rev().filter(|sums| ![newest, whole].contains(&Some(sums.number)));
    // First what is good for little.
    match old.clone().find(|sums| !sound(sums)).or(old.next()) {
        Some(oldest) => {
            disk.remove(&archive::sums_name(oldest.number))?;
            disk.sync_dir(Site::Archive)?;
            sweep(disk, true)?;
            Ok(true)
        }
        None => {
            sweep(disk, true)?;
            Ok(false)
        }
    }
}

/// Removes files of backups that no whole backup names. Unless thoroughly, whole files of letters stay, and everything does while
/// sums are damaged: somebody may want to repair them.
pub(super) fn sweep(disk: &dyn Disk, thorough: bool) -> Result<(), Error> {
    let names = disk.list()?;
    let mut needed: HashSet<String> = HashSet::new();
    for number in archive::head_numbers(&names) {
        match archive::sums(disk, &names, number) {
            Ok(Some(sums)) => {
                needed.insert(archive::sums_name(number));
                needed.extend(sums.files.into_iter().map(|(name, _)| name));
            }
            Ok(None) if thorough => {}
            // What cannot be read may be readable elsewhere.
            Ok(None) | Err(Error::Disk(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    let there: HashSet<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        let whole = !thorough && name.starts_with("letters-") && there.contains(archive::list_name(name).as_str());
        if is_content(name) && !whole && !needed.contains(name) {
            disk.remove(name)?;
        }
    }
    Ok(disk.sync_dir(Site::Archive)?)
}
