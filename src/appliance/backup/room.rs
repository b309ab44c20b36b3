//! Room in an archive: what may go, and what goes for a new backup.
//!
//! Nothing goes for a backup that would not find room all the same: that is tried on a disk on which nothing changes
//! ([`Rehearsal`]) before the first backup goes.

use std::collections::{BTreeSet, HashSet};

use super::archive::{self, Sums};
use super::rehearsal::Rehearsal;
use super::{Error, keep};
use crate::store::disk::{Disk, Site};

/// Blocks left for the folder itself, and the most that a name takes in it: on FAT, four pieces of 32 bytes.
const SPARE: u64 = 2;
const NAME: u64 = 128;
/// Blocks that the page, two copies of the key and their sums take.
const KEY: u64 = 4;

/// An error if there is no room for the key and what belongs to it: the page is written anew where it lies.
pub(super) fn check_for_key(disk: &dyn Disk) -> Result<(), Error> {
    if disk.free()? < (KEY + SPARE) * disk.block()? { Err(Error::Full) } else { Ok(()) }
}

/// How many of the oldest backups have to go for one that is made by `run` on the disk given to it; `None`: nothing has to, not even
/// what no backup names. [`Error::Full`] if it could not be made even if all went that may go. Changes nothing.
pub(super) fn to_go(disk: &dyn Disk, run: impl Fn(&dyn Disk) -> Result<(), Error>) -> Result<Option<usize>, Error> {
    // With all that a backup which was cut off has left behind: that is used.
    match taken(&Rehearsal::of(disk)?, &run) {
        Ok(_) => return Ok(None),
        Err(Error::Full) => {}
        Err(error) => return Err(error),
    }
    let all_gone = Rehearsal::of(disk)?;
    while drop_oldest(&all_gone)? {}
    if all_gone.list()?.len() == disk.list()?.len() {
        return Err(Error::Full);
    }
    let taken = taken(&all_gone, &run)?;
    let going = Rehearsal::of(disk)?;
    sweep(&going, true)?;
    let mut gone = 0;
    while going.free()? < taken {
        if !drop_oldest(&going)? {
            return Err(Error::Full);
        }
        gone += 1;
    }
    Ok(Some(gone))
}

/// The room that it takes. [`Error::Full`] if there is less.
fn taken(disk: &Rehearsal<'_>, run: impl Fn(&dyn Disk) -> Result<(), Error>) -> Result<u64, Error> {
    let before = disk.free()?;
    run(disk)?;
    let folder = SPARE + (disk.created() * NAME).div_ceil(disk.block()?);
    let taken = before.saturating_sub(disk.free()?) + folder * disk.block()?;
    if taken > before { Err(Error::Full) } else { Ok(taken) }
}

/// Lets so many of the oldest backups go, and what none of them has.
pub(super) fn make(disk: &dyn Disk, going: usize) -> Result<(), Error> {
    sweep(disk, true)?;
    for _ in 0..going {
        drop_oldest(disk)?;
    }
    Ok(())
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

/// Makes room: false if nothing may go any more, or none could come of it.
fn drop_oldest(disk: &dyn Disk) -> Result<bool, Error> {
    if !sweep(disk, true)? {
        return Ok(false);
    }
    let there = archive::list(disk)?;
    let damaged = archive::damaged(disk, &disk.list()?);
    let sound = |sums: &&Sums| !sums.files.iter().any(|(name, _)| damaged.contains(name));
    let newest = there.iter().find(sound).or(there.first()).map(|sums| sums.number);
    // The last with the letters stays, however many came after it that have none, or not all.
    let mut whole = there.iter().filter(|sums| sums.everything);
    let whole = whole.clone().find(sound).or(whole.next()).map(|sums| sums.number);
    let mut old = there.iter().rev().filter(|sums| ![newest, whole].contains(&Some(sums.number)));
    // First what is good for little.
    let Some(oldest) = old.clone().find(|sums| !sound(sums)).or(old.next()) else { return Ok(false) };
    disk.remove(&archive::sums_name(oldest.number))?;
    disk.sync_dir(Site::Archive)?;
    sweep(disk, true)?;
    Ok(true)
}

fn is_empty(disk: &dyn Disk, name: &str) -> bool {
    disk.open(name).and_then(|file| file.len()).is_ok_and(|len| len == 0)
}

/// Removes files of backups that no whole backup names. Unless thoroughly, whole files of letters stay, and everything does while
/// sums are damaged: somebody may want to repair them. False: nothing was removed, since not all sums could be read.
pub(super) fn sweep(disk: &dyn Disk, thorough: bool) -> Result<bool, Error> {
    let names = disk.list()?;
    let mut needed: HashSet<String> = HashSet::new();
    let mut unknown = false;
    let all = archive::each(disk, &names, &mut |number, sums| {
        match sums {
            Ok(Some(sums)) => {
                needed.insert(archive::sums_name(number));
                needed.extend(sums.files.into_iter().map(|(name, _)| name));
            }
            // A name that was made, and then the stick was pulled out: there is nothing to be repaired.
            Ok(None) if thorough || is_empty(disk, &archive::sums_name(number)) => {}
            // What cannot be read may be readable elsewhere.
            Ok(None) | Err(Error::Disk(_)) => unknown = true,
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    if unknown || !all {
        return Ok(false);
    }
    let there: HashSet<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        let whole = !thorough && name.starts_with("letters-") && there.contains(archive::list_name(name).as_str());
        if is_content(name) && !whole && !needed.contains(name) {
            disk.remove(name)?;
        }
    }
    disk.sync_dir(Site::Archive)?;
    Ok(true)
}
