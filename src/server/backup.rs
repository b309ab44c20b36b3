//! Backups of a data folder: where its key lies, which of its files belong in, and how what was restored takes its place.
//!
//! In the folder, `backup/` holds `box` (the name of the archive), `key` (as `age -i` takes it) and the copies of that key which are
//! laid beside every backup, `key-words.age` and `key-phrase.age`.
//!
//! A restore builds everything in `restore.new/`: `of` says of which backup, `store/` and `files/` are what is put back, and
//! `whole` is written last. From then on it is finished whatever happens: [`end_restore`] moves the stores, then the files, then the
//! settings, which make the folder one that is set up (V3). Before, nothing but that folder is touched.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use crate::appliance::backup::age::Identity;
use crate::appliance::backup::{self, FOLDER, Head, Keys, Made, Report, Restored, Secret, Sheet, Source, Step};
use crate::appliance::words::{normal, sheet_hash};
use crate::base::OsRandom;
use crate::settings::{self, Settings};
use crate::store::disk::{Disk, RealDisk};

use super::folder::{Folder, about, write};
use super::house::{House, open_data_in, store_failed};
use super::mounted::still_in;
use super::stick::OnStick;
use super::update;

/// Boxes that are looked for on a stick, and those named to somebody who has to choose.
const BOXES_MOST: usize = 1000;
const BOXES_NAMED: usize = 16;
/// Longer files of the data folder are nothing that it needs.
const FILE_MOST: u64 = 16 << 20;

/// So begins what is said when a backup is on the disk, but not in its place.
pub(super) const HALF: &str = "all of the backup is on the disk, and cannot take its place";

const NEW: &str = "restore.new";
const WHOLE: &str = "whole";

fn words(path: &Path, error: io::Error) -> String {
    about(path, error).to_string()
}

// ---- the key

fn drawer(folder: &Folder) -> PathBuf {
    folder.path().join("backup")
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(words(path, error)),
    }
}

/// The keys of a folder; `None` if it has none yet.
pub(super) fn keys(folder: &Folder) -> Result<Option<Keys>, String> {
    let drawer = drawer(folder);
    let text = |name: &str| Ok::<_, String>(read(&drawer.join(name))?.and_then(|bytes| String::from_utf8(bytes).ok()));
    let (Some(box_id), Some(key)) = (text("box")?, text("key")?) else { return Ok(None) };
    let identity = Identity::read(&key).filter(|_| Keys::is_box_id(box_id.trim()));
    let identity = identity.ok_or_else(|| format!("{} is not a key of ours", drawer.join("key").display()))?;
    let (words, phrase) = (read(&drawer.join("key-words.age"))?, read(&drawer.join("key-phrase.age"))?);
    Ok(Some(Keys { box_id: box_id.trim().to_owned(), identity, words, phrase }))
}

/// Has the key of this folder's backups open by other words, or another pass phrase, from the next backup on; the key is made if
/// there is none.
pub(super) fn set_sheet(folder: &Folder, sheet: Sheet, secret: &Secret) -> Result<(), String> {
    let keys = match keys(folder)? {
        Some(keys) => keys,
        None => {
            let made = Keys::new(&OsRandom);
            put_keys(&drawer(folder), &made)?;
            made
        }
    };
    let sealed = keys.seal(sheet, secret, &OsRandom).map_err(|error| error.to_string())?;
    let path = drawer(folder).join(format!("key-{}.age", sheet.kind()));
    write(&path, &sealed).map_err(|error| words(&path, error))
}

/// A new recovery sheet, in place of the one that there was: its words open the backups, and replace a forgotten pass phrase.
pub(super) fn new_sheet(folder: &Folder, sheet: &str) -> Result<(), String> {
    set_sheet(folder, Sheet::Words, &Secret(sheet.to_owned()))?;
    let hash = sheet_hash(&normal(sheet)).to_hex();
    folder.put_recovery(&hash).map_err(|error| words(folder.path(), error))
}

fn put_keys(drawer: &Path, keys: &Keys) -> Result<(), String> {
    make(drawer).map_err(|error| words(drawer, error))?;
    let put = |name: &str, bytes: &[u8]| write(&drawer.join(name), bytes).map_err(|error| words(drawer, error));
    put("box", format!("{}\n", keys.box_id).as_bytes())?;
    put("key", format!("{}\n", keys.identity.text()).as_bytes())?;
    for sheet in [Sheet::Words, Sheet::Phrase] {
        if let Some(copy) = keys.copy(sheet) {
            put(&format!("key-{}.age", sheet.kind()), copy)?;
        }
    }
    Ok(())
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

// ---- archives

/// The archive of this box below a folder (of a stick, say), made if it is missing.
fn own_archive(target: &Path, keys: &Keys) -> Result<RealDisk, String> {
    if !target.is_dir() {
        return Err(format!("{} is not a folder that is there", target.display()));
    }
    let path = target.join(FOLDER).join(&keys.box_id);
    let disk = RealDisk::open(&path).and_then(|disk| disk.at_most(backup::FILES_MOST).orderly());
    disk.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "{}: may not be written. A server that runs writes only where it was told: `homepost serve --backup {}`",
            path.display(),
            target.display()
        ),
        io::ErrorKind::ReadOnlyFilesystem => format!("{} is write-protected", target.display()),
        _ => words(&path, error),
    })
}

/// Names of the boxes of which there are archives below a folder, or in it.
pub(super) fn boxes(from: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let named = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| Keys::is_box_id(name));
        name.map(|name| (name.to_owned(), path.to_owned()))
    };
    if let Some(one) = named(from).filter(|_| from.is_dir()) {
        return Ok(vec![one]);
    }
    let mut found = Vec::new();
    for folder in [from.join(FOLDER), from.to_owned()] {
        match fs::read_dir(&folder) {
            Ok(entries) => {
                let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
                let boxes = paths.filter_map(|path| named(&path)).filter(|(_, path)| path.is_dir());
                found.extend(boxes.take(BOXES_MOST));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder != from => {}
            Err(error) => return Err(words(&folder, error)),
        }
        if !found.is_empty() {
            break;
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The one archive that is meant.
fn chosen(from: &Path, box_id: Option<&str>) -> Result<(String, RealDisk), String> {
    let mut found = boxes(from)?;
    if let Some(box_id) = box_id {
        found.retain(|(name, _)| name == box_id);
    }
    match found.as_slice() {
        [] => Err(format!("there is no backup in {}", from.display())),
        [(name, path)] => {
            let disk = RealDisk::read_only(path).map_err(|error| words(path, error))?;
            Ok((name.clone(), disk.at_most(backup::FILES_MOST)))
        }
        several => {
            let names: Vec<&str> = several.iter().take(BOXES_NAMED).map(|(name, _)| name.as_str()).collect();
            let more = if several.len() > BOXES_NAMED { ", …" } else { "" };
            Err(format!("there are backups of several boxes: say --box with one of {}{more}", names.join(", ")))
        }
    }
}

/// The whole backups of a box below a folder, the newest first.
pub(super) fn kept(from: &Path, box_id: &str) -> Result<Vec<OnStick>, String> {
    let (_, disk) = chosen(from, Some(box_id))?;
    let all = backup::list(&disk).map_err(|error| error.to_string())?;
    let one = |sums: backup::Sums| OnStick {
        number: sums.number,
        time: sums.time.seconds(),
        everything: sums.everything,
        letters: sums.letters,
    };
    Ok(all.into_iter().map(one).collect())
}

/// Makes a backup of an open house below a folder. Blocks, and for long.
pub(super) fn back_up(house: &House, target: &Path, everything: bool) -> Result<Made, String> {
    let keys = keys(&house.folder)?.ok_or_else(|| backup::Error::NoSheet.to_string())?;
    let disk = own_archive(target, &keys)?;
    let files = files(&house.folder)?;
    let settings = house.settings.load();
    let source = Source { data: &house.data, files: &files, host: &settings.hostname };
    backup::create(&disk, &source, &keys, everything, house.clock.now(), &OsRandom).map_err(|error| error.to_string())
}

/// Has no backup of this box below a folder build on these files of it any more, and on all others again.
pub(super) fn mark(folder: &Folder, target: &Path, damaged: &BTreeSet<String>) -> Result<(), String> {
    let keys = keys(folder)?.ok_or_else(|| backup::Error::NoSheet.to_string())?;
    backup::mark(&own_archive(target, &keys)?, damaged).map_err(|error| error.to_string())
}

/// Reads an archive from end to end: with this folder's own key, or one that these words open, or without.
pub(super) fn verify(
    folder: &Folder,
    from: &Path,
    box_id: Option<&str>,
    secret: Option<&Secret>,
) -> Result<(Report, bool), String> {
    let (name, disk) = chosen(from, box_id)?;
    let keys = match secret {
        Some(secret) => Some(backup::unlock(&disk, &name, secret).map_err(|error| error.to_string())?),
        None => keys(folder)?.filter(|keys| keys.box_id == name),
    };
    let report = backup::verify(&disk, keys.as_ref().map(|keys| &keys.identity)).map_err(|error| error.to_string())?;
    Ok((report, keys.is_some()))
}

// ---- what is in a folder

/// The files of a data folder that belong into a backup: all but the stores, a version on its way in, and what only a running server
/// needs.
fn files(folder: &Folder) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut found = Vec::new();
    gather(folder.path(), "", &mut found)?;
    found.sort_unstable();
    Ok(found)
}

fn gather(folder: &Path, inside: &str, found: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(|error| words(folder, error))? {
        let entry = entry.map_err(|error| words(folder, error))?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str().filter(|name| !name.contains(char::is_control)) else { continue };
        let kind = entry.file_type().map_err(|error| words(&path, error))?;
        let stores = [NEW, "store", "backup", "update", "undone"].contains(&name)
            || ["store.", "before-update"].iter().any(|begin| name.starts_with(begin));
        if kind.is_dir() && inside.is_empty() && !stores {
            gather(&path, &format!("{name}/"), found)?;
        }
        let passing = ["lock", "ready"].contains(&name) || name.ends_with(".new");
        if kind.is_file() && !passing && entry.metadata().is_ok_and(|about| about.len() <= FILE_MOST) {
            // One that went meanwhile (a challenge that was answered) is not missed.
            found.extend(read(&path)?.map(|bytes| (format!("{inside}{name}"), bytes)));
        }
    }
    Ok(())
}

// ---- restore

/// Puts the newest whole backup back into a folder that nobody has set up, or in place of what cannot be opened any more (`over`:
/// its stores are put aside); the caller has the lock. After an error nothing is changed, unless it begins with [`HALF`]; after that
/// one, and after a cut, the same call goes on, and whoever opens the folder.
pub(super) fn restore(
    folder: &Folder,
    from: &Path,
    box_id: Option<&str>,
    secret: &Secret,
    over: bool,
    tell: &mut dyn FnMut(Step, u64, u64),
) -> Result<(Head, Restored), String> {
    folder.make().map_err(|error| words(folder.path(), error))?;
    end_restore(folder).map_err(|error| format!("{HALF}: {error}"))?;
    if folder.is_set_up() && !over {
        return Err(format!(
            "{} is set up already: a backup is put back into an empty folder only",
            folder.path().display()
        ));
    }
    let said = |error: backup::Error| error.to_string();
    let (name, disk) = chosen(from, box_id)?;
    let keys = backup::unlock(&disk, &name, secret).map_err(said)?;
    let newest = backup::newest(&disk, &keys.identity).map_err(said)?;
    let head = newest.ok_or_else(|| backup::Error::Nothing.to_string())?;
    let new = folder.path().join(NEW);
    // What the kernel has still in memory of a stick that was pulled out looks like one that is damaged here and there.
    let built = build(&new, &disk, &head, &keys, &|| still_in(from), tell);
    if built.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    let restored = built?;
    if over {
        // Else the next start would put the stores of before an update in place of these.
        update::no_way_back(folder).map_err(|error| format!("{HALF}: {error}"))?;
    }
    end_restore(folder).map_err(|error| format!("{HALF}: {error}"))?;
    Ok((head, restored))
}

fn build(
    new: &Path,
    disk: &dyn Disk,
    head: &Head,
    keys: &Keys,
    still: &dyn Fn() -> Result<(), String>,
    tell: &mut dyn FnMut(Step, u64, u64),
) -> Result<Restored, String> {
    let fault = |error| words(new, error);
    let of = format!("{} {} {}\n", head.box_id, head.number, env!("CARGO_PKG_VERSION"));
    // What another try left is used if it was of the same backup.
    if read(&new.join("of"))?.is_none_or(|there| there != of.as_bytes()) {
        match fs::remove_dir_all(new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault(error)),
        }
        make(new).map_err(fault)?;
        write(&new.join("of"), of.as_bytes()).map_err(fault)?;
    }
    let room = RealDisk::read_only(new).and_then(|disk| disk.free()).map_err(fault)?;
    let needed: u64 = head.parts.iter().map(|part| part.len).sum();
    if room < needed {
        let (needed, room) = (needed >> 20, room >> 20);
        return Err(format!("the disk has room for {room} MB, and the backup needs {needed} MB and more"));
    }
    let settings = Settings::new(&head.host).map_err(|_| "the backup has no name for the server".to_owned())?;
    let data = open_data_in(&new.join("store"), &settings)?;
    let filled = backup::fill(disk, head, &keys.identity, &data, tell);
    let closed = data.close();
    let mut restored = filled.map_err(|error| match error {
        backup::Error::Store(error) => store_failed(&error),
        error => error.to_string(),
    })?;
    closed.map_err(|error| store_failed(&error))?;
    if restored.damaged > 0 {
        still()?;
    }
    let files = new.join("files");
    for (path, bytes) in std::mem::take(&mut restored.files) {
        let path = Path::new(&path);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("the backup is damaged: it names a file {}", path.display()));
        }
        let path = files.join(path);
        make(path.parent().unwrap_or(&files)).map_err(fault)?;
        write(&path, &bytes).map_err(fault)?;
    }
    if !files.join(settings::FILE).is_file() {
        return Err("the backup is damaged: it has no settings".to_owned());
    }
    put_keys(&files.join("backup"), keys)?;
    for folder in [&files, &new.join("store"), new] {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)?;
    }
    write(&new.join(WHOLE), b"").map_err(fault)?;
    Ok(restored)
}

/// Moves what was restored into its place, if all of it is there. Whoever opens a folder does this first: after a cut it goes on
/// where it was.
pub(super) fn end_restore(folder: &Folder) -> Result<(), String> {
    let new = folder.path().join(NEW);
    if !new.join(WHOLE).exists() {
        return Ok(());
    }
    switch(folder, &new).map_err(|error| words(&new, error))
}

fn switch(folder: &Folder, new: &Path) -> io::Result<()> {
    let store = new.join("store");
    if store.exists() {
        if folder.store().exists() {
            let name = |n: u32| folder.path().join(format!("store.old-{n}"));
            let aside = (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
            fs::rename(folder.store(), aside)?;
        }
        fs::rename(&store, folder.store())?;
        File::open(folder.path())?.sync_all()?;
    }
    let files = new.join("files");
    if files.exists() {
        for entry in fs::read_dir(&files)? {
            let entry = entry?;
            let to = folder.path().join(entry.file_name());
            if entry.file_type()?.is_dir() {
                make(&to)?;
                for inner in fs::read_dir(entry.path())? {
                    let inner = inner?;
                    fs::rename(inner.path(), to.join(inner.file_name()))?;
                }
                File::open(&to)?.sync_all()?;
            } else if entry.file_name() != settings::FILE {
                fs::rename(entry.path(), to)?;
            }
        }
        File::open(folder.path())?.sync_all()?;
        // Last: from here on the folder is set up.
        match fs::rename(files.join(settings::FILE), folder.path().join(settings::FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => File::open(folder.path())?.sync_all()?,
        }
    }
    fs::remove_dir_all(new)?;
    File::open(folder.path())?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::verbs::{self, Secret as Typed};

    /// A backup that was put back in place of damaged stores stays there, whatever an update has left beside them; and what that has
    /// left is in no backup.
    #[test]
    fn what_an_update_left_is_not_backed_up_and_does_not_come_back_over_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, stick) = (Folder::new(&dir.path().join("mail")), dir.path().join("stick"));
        fs::create_dir(&stick).unwrap();
        folder.make().unwrap();
        let phrase = Typed("river oak lantern moon".to_owned());
        verbs::init(&folder, "mail.example.test", "example.test", "anna@example.test", None, &phrase).unwrap();
        set_sheet(&folder, Sheet::Phrase, &Secret("moss and fern".to_owned())).unwrap();
        let left = folder.path().join("before-update");
        fs::create_dir_all(left.join("store")).unwrap();
        fs::write(left.join("of"), "b").unwrap();
        fs::write(left.join(settings::FILE), "old").unwrap();
        fs::create_dir(folder.path().join("undone")).unwrap();
        fs::write(folder.path().join("undone/x"), "x").unwrap();
        let names: Vec<String> = files(&folder).unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().any(|name| name == settings::FILE), "{names:?}");
        for begin in ["before-update", "undone", "lock", "backup/"] {
            assert!(!names.iter().any(|name| name.starts_with(begin)), "{names:?}");
        }
        let house = House::open(&folder).unwrap();
        back_up(&house, &stick, true).unwrap();
        house.close().unwrap();
        let secret = Secret("moss and fern".to_owned());
        let again = restore(&folder, &stick, None, &secret, false, &mut |_, _, _| {});
        assert!(again.unwrap_err().contains("set up already") && left.exists());
        restore(&folder, &stick, None, &secret, true, &mut |_, _, _| {}).unwrap();
        assert!(!left.exists() && folder.path().join("store.old-1").exists());
        House::open(&folder).unwrap().close().unwrap();
    }
}
