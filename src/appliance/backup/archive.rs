//! The folder of an archive: names, and which backups in it are whole.
//!
//! | file | what it is |
//! |---|---|
//! | `README.txt` | how to get everything back with stock tools |
//! | `key-words-N.age`, `key-phrase-N.age` | the key of all others, sealed by the words of the recovery sheet, by a pass phrase |
//! | `keys-N.sha256` | the sums of these; the highest number counts |
//! | `letters-N-M.tar.gz.age` | letters, each named by its BLAKE3 |
//! | `letters-N-M.list.age` | what is in there: digest, length, time of arrival, accounts |
//! | `rows-N.tar.gz.age` | chunks of rows and settings, each named by its BLAKE3 |
//! | `head-N.age` | the head (`head.rs`) |
//! | `head-N.sha256` | the sums of all files that the head needs; written last, so a backup is there when this is |
//! | `damaged-N.txt` | names of files that are not as they were written, and on which nothing builds; the highest number counts |
//!
//! N and M are hexadecimal. A file is written once, under a name that was never used, and synced before another names it (K1,
//! K2 of the disk); FAT has nothing better to offer. Sums end with a line that has the sum of all lines before.

use std::collections::{BTreeSet, HashSet};
use std::io;

use super::file::{self, Part};
use super::head::{self, Head};
use super::{Error, age};
use crate::base::Time;
use crate::store::disk::{Disk, Site};

pub const README: &str = "README.txt";
const DAMAGED: &str = "damaged-";

/// Sums longer than this are not ours.
const SUMS_MOST: u64 = 16 << 20;
/// Heads, before they are opened and after.
const HEAD_MOST: u64 = 64 << 20;
const KEY_MOST: u64 = 4096;
/// Files of an archive: of one house there are some thousands.
pub const FILES_MOST: usize = 100_000;
/// Backups that are looked for, and files that they name together; of what is kept by the rule there are less than a hundred.
const BACKUPS_MOST: usize = 1000;
const NAMED_MOST: usize = 1_000_000;
/// Copies of the key of one kind that are tried: each takes a second, and the memory of a quarter of a small box.
const COPIES_MOST: usize = 4;
/// No file of ours has a longer name.
const NAME_MOST: usize = 64;

/// What can be said of a backup without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    pub number: u32,
    pub time: Time,
    pub everything: bool,
    pub letters: u64,
    /// Names and SHA-256.
    pub files: Vec<(String, String)>,
}

pub(super) fn head_name(number: u32) -> String {
    format!("head-{number:08x}.age")
}

pub(super) fn sums_name(number: u32) -> String {
    format!("head-{number:08x}.sha256")
}

pub(super) fn rows_name(number: u32) -> String {
    format!("rows-{number:08x}.tar.gz.age")
}

pub(super) fn letters_name(number: u32, pack: u32) -> String {
    format!("letters-{number:08x}-{pack:04x}.tar.gz.age")
}

pub(super) fn list_name(letters: &str) -> String {
    letters.replace(".tar.gz.age", ".list.age")
}

pub(super) fn key_name(kind: &str, number: u32) -> String {
    format!("key-{kind}-{number:08x}.age")
}

pub(super) fn key_sums_name(number: u32) -> String {
    format!("keys-{number:08x}.sha256")
}

/// The number in a name of ours.
pub(super) fn number(name: &str) -> Option<u32> {
    let kinds = ["head-", "rows-", "letters-", "keys-", "key-words-", "key-phrase-", DAMAGED];
    let rest = kinds.iter().find_map(|kind| name.strip_prefix(kind))?;
    u32::from_str_radix(rest.get(..8)?, 16).ok()
}

/// Names that tell of a backup: its sums are there, whole or not. Ascending.
fn head_numbers(names: &[String]) -> BTreeSet<u32> {
    let of = |name: &String| name.starts_with("head-") && name.ends_with(".sha256");
    names.iter().filter(|name| of(name)).filter_map(|name| number(name)).collect()
}

impl Sums {
    pub fn encode(&self) -> String {
        let mut text = format!(
            "# homepost backup {}, number {}, {}, {}, {} letters\n",
            head::VERSION,
            self.number,
            head::date(self.time),
            if self.everything { "everything" } else { "configuration" },
            self.letters
        );
        for (name, sha256) in &self.files {
            text.push_str(&format!("{sha256}  {name}\n"));
        }
        with_end(text)
    }

    /// `None` if it is not whole.
    pub fn decode(bytes: &[u8]) -> Option<Sums> {
        let text = without_end(std::str::from_utf8(bytes).ok()?)?;
        let (first, rest) = text.split_once('\n')?;
        let fields: Vec<&str> = first.strip_prefix("# homepost backup ")?.split(", ").collect();
        let [_, number, time, holds, letters] = fields.as_slice() else { return None };
        let time = time.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).or_else(|_| time.parse()).ok()?;
        Some(Sums {
            number: number.strip_prefix("number ")?.parse().ok()?,
            time: Time::from_seconds(time),
            everything: *holds == "everything",
            letters: letters.strip_suffix(" letters")?.parse().ok()?,
            files: lines(rest)?,
        })
    }
}

/// Names and sums of `keys-N.sha256`.
pub(super) fn key_sums(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    lines(without_end(std::str::from_utf8(bytes).ok()?)?)
}

pub(super) fn lines(text: &str) -> Option<Vec<(String, String)>> {
    let of = |line: &str| {
        let (sum, name) = line.split_once("  ")?;
        is_name(name).then(|| (name.to_owned(), sum.to_owned()))
    };
    text.lines().map(of).collect()
}

/// Whether a file of ours may have this name, which is shown to people and logged.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=NAME_MOST).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

pub(super) fn with_end(mut text: String) -> String {
    let sum = file::sha256(text.as_bytes());
    text.push_str(&format!("# end {sum}\n"));
    text
}

fn without_end(text: &str) -> Option<&str> {
    let at = text.strip_suffix('\n')?.rfind('\n')? + 1;
    let (lines, last) = (text.get(..at)?, text.get(at..)?);
    (last == format!("# end {}\n", file::sha256(lines.as_bytes()))).then_some(lines)
}

/// Names of files that were found to be damaged. What says so may be damaged itself, and then says nothing.
pub(super) fn damaged(disk: &dyn Disk, names: &[String]) -> BTreeSet<String> {
    let mut lists: Vec<&String> = names.iter().filter(|name| name.starts_with(DAMAGED)).collect();
    lists.sort_unstable();
    let whole = |name: &&String| {
        let bytes = file::read(disk, name, SUMS_MOST).ok()?;
        let text = std::str::from_utf8(&bytes).ok().and_then(without_end)?;
        Some(text.lines().filter(|name| is_name(name)).map(str::to_owned).collect())
    };
    // One that is not whole was being written when the stick was pulled out.
    lists.iter().rev().take(COPIES_MOST).find_map(whole).unwrap_or_default()
}

/// Has nothing build on these files any more, and on all others again.
pub fn mark(disk: &dyn Disk, found: &BTreeSet<String>) -> Result<(), Error> {
    let names = disk.list()?;
    let old: Vec<&String> = names.iter().filter(|name| name.starts_with(DAMAGED)).collect();
    if damaged(disk, &names) == *found && (old.is_empty() || !found.is_empty()) {
        return Ok(());
    }
    if !found.is_empty() {
        let next = names.iter().filter_map(|name| number(name)).max().unwrap_or(0).saturating_add(1);
        let text: String = found.iter().map(|name| format!("{name}\n")).collect();
        put(disk, &format!("{DAMAGED}{next:08x}.txt"), with_end(text).as_bytes())?;
        disk.sync_dir(Site::Archive)?;
    }
    for name in old {
        disk.remove(name)?;
    }
    Ok(disk.sync_dir(Site::Archive)?)
}

/// The sums of a backup; `None` if they are not whole, or a file is missing.
fn sums(disk: &dyn Disk, names: &HashSet<&str>, number: u32) -> Result<Option<Sums>, Error> {
    let bytes = match file::read(disk, &sums_name(number), SUMS_MOST) {
        Ok(bytes) => bytes,
        Err(error) if is_damage(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let sums = Sums::decode(&bytes).filter(|sums| sums.number == number);
    Ok(sums.filter(|sums| sums.files.iter().all(|(name, _)| names.contains(name.as_str()))))
}

/// Visits the sums of all backups, the newest first, as [`sums`] gives them. False: there are more than there can be, and the
/// oldest of them were left out.
pub(super) fn each(
    disk: &dyn Disk,
    names: &[String],
    visit: &mut dyn FnMut(u32, Result<Option<Sums>, Error>) -> Result<(), Error>,
) -> Result<bool, Error> {
    let numbers = head_numbers(names);
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut named = 0;
    for number in numbers.iter().rev().take(BACKUPS_MOST) {
        let found = sums(disk, &names, *number);
        if let Ok(Some(sums)) = &found {
            named += sums.files.len();
            if named > NAMED_MOST {
                return Ok(false);
            }
        }
        visit(*number, found)?;
    }
    Ok(numbers.len() <= BACKUPS_MOST)
}

/// Whole backups, the newest first. One that cannot be read hides no other.
pub fn list(disk: &dyn Disk) -> Result<Vec<Sums>, Error> {
    let names = disk.list()?;
    let (mut found, mut failed) = (Vec::new(), None);
    each(disk, &names, &mut |_, sums| {
        match sums {
            Ok(sums) => found.extend(sums),
            Err(error @ Error::Disk(_)) => failed = Some(error),
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    failed.filter(|_| found.is_empty()).map_or(Ok(found), Err)
}

/// The head of a backup whose sums are whole.
pub(super) fn head(disk: &dyn Disk, number: u32, identity: &age::Identity) -> Result<Head, Error> {
    let name = head_name(number);
    let bytes = file::read(disk, &name, HEAD_MOST).map_err(|error| in_file(&name, error))?;
    let text = age::open(&bytes, &age::Key::Identity(identity)).map_err(|error| in_file(&name, error))?;
    let head = Head::decode(&text, identity)?;
    if head.number != number {
        return Err(Error::Damaged(name));
    }
    Ok(head)
}

/// The newest backup that is whole, as far as can be seen without reading it all: of those with everything, if there is one.
pub fn newest(disk: &dyn Disk, identity: &age::Identity) -> Result<Option<Head>, Error> {
    let mut first = None;
    let mut there = list(disk)?;
    there.sort_by_key(|sums| !sums.everything);
    for sums in there {
        match head(disk, sums.number, identity) {
            Ok(head) => return Ok(Some(head)),
            Err(error @ (Error::Damaged(_) | Error::OtherKey | Error::Newer | Error::Disk(_))) => {
                first = first.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    first.map_or(Ok(None), Err)
}

/// The sums of the key's copies that were written to their end.
pub(super) fn vouched(disk: &dyn Disk) -> Result<BTreeSet<String>, Error> {
    let names = disk.list()?;
    let mut lists: Vec<&String> = names.iter().filter(|name| name.starts_with("keys-")).collect();
    lists.sort_unstable();
    let read =
        lists.into_iter().rev().take(COPIES_MOST).filter_map(|name| key_sums(&file::read(disk, name, KEY_MOST).ok()?));
    Ok(read.flatten().map(|(_, sum)| sum).collect())
}

/// The key's sealed copies that count, by kind (`words`, `phrase`).
pub(super) fn keys(disk: &dyn Disk) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let names = disk.list()?;
    let mut found = Vec::new();
    for kind in ["words", "phrase"] {
        let prefix = format!("key-{kind}-");
        let mut of: Vec<&String> = names.iter().filter(|name| name.starts_with(&prefix)).collect();
        of.sort_unstable();
        // The newest first; an older one is there only where a cut came between writing that and removing this.
        for name in of.into_iter().rev().take(COPIES_MOST) {
            match file::read(disk, name, KEY_MOST) {
                Ok(bytes) => found.push((kind, bytes)),
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(found)
}

/// Writes what must be there before its name is used elsewhere.
pub(super) fn put(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<Part, Error> {
    let part = file::write(disk, name, bytes)?;
    disk.sync_dir(Site::Archive)?;
    Ok(part)
}

/// Bytes that are not as they were written, not a disk that fails.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof | NotFound)
}

/// What an error in a file means.
pub(super) fn in_file(name: &str, error: io::Error) -> Error {
    let closed = error.get_ref().and_then(|inner| inner.downcast_ref::<age::Closed>());
    match closed {
        Some(age::Closed::OtherKey) => Error::OtherKey,
        _ if is_damage(&error) => Error::Damaged(name.to_owned()),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_whole_or_nothing() {
        let sums = Sums {
            number: 31,
            time: Time(1_700_000_000_000),
            everything: true,
            letters: 5,
            files: vec![("head-0000001f.age".to_owned(), "ab".repeat(32))],
        };
        let text = sums.encode();
        assert_eq!(Sums::decode(text.as_bytes()), Some(sums));
        for at in 0..text.len() {
            assert_eq!(Sums::decode(&text.as_bytes()[..at]), None);
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 4;
            assert_eq!(Sums::decode(&flipped), None, "{at}");
        }
    }

    #[test]
    fn numbers_are_in_the_names() {
        for name in [head_name(31), sums_name(31), rows_name(31), letters_name(31, 2), key_name("phrase", 31)] {
            assert_eq!(number(&name), Some(31), "{name}");
        }
        assert_eq!(number(README), None);
        assert_eq!(number("head-xyz"), None);
    }

    /// Of a folder that somebody has filled to do harm.
    #[test]
    fn what_there_is_too_much_of_is_left_out() {
        use crate::store::disk::SimDisk;
        let disk = SimDisk::sound();
        for number in 1..=BACKUPS_MOST as u32 + 5 {
            let sums = Sums { number, time: Time(0), everything: true, letters: 0, files: Vec::new() };
            put(&disk, &sums_name(number), sums.encode().as_bytes()).unwrap();
        }
        let found = list(&disk).unwrap();
        assert_eq!((found.len(), found[0].number), (BACKUPS_MOST, BACKUPS_MOST as u32 + 5));
        let report = super::super::verify(&disk, None).unwrap();
        assert_eq!(report.findings, ["there are more backups than there can be: the oldest were not looked at"]);
        for number in 0..9 {
            put(&disk, &key_name("words", number), &[number as u8; 9]).unwrap();
            put(&disk, &key_name("phrase", number), &[0; KEY_MOST as usize + 1]).unwrap();
            put(&disk, &key_sums_name(number), with_end(format!("{number:064}  x\n")).as_bytes()).unwrap();
        }
        let found: Vec<u8> = keys(&disk).unwrap().iter().map(|(_, bytes)| bytes[0]).collect();
        assert_eq!(found, [8, 7, 6, 5]);
        assert_eq!(vouched(&disk).unwrap().len(), COPIES_MOST);
        // As FAT could not have it.
        let folder = tempfile::tempdir().unwrap();
        let disk = crate::store::disk::RealDisk::open(folder.path()).unwrap();
        let long = disk.create("long").unwrap();
        long.set_len(1 << 32).unwrap();
        assert_eq!(file::measure(&disk, "long").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn names_are_plain() {
        for name in [head_name(1), sums_name(1), list_name(&letters_name(1, 2)), key_sums_name(3), README.to_owned()] {
            assert!(is_name(&name), "{name}");
        }
        for name in ["", ".", "..", "../x", "a b", "a\u{1b}[31m", "ä", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
            assert_eq!(lines(&format!("{}  {name}\n", "ab".repeat(32))), None);
        }
    }

    #[test]
    fn what_a_pull_out_left_without_bytes_keeps_nothing_from_being_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let disk = crate::store::disk::RealDisk::open(folder.path()).unwrap();
        let names = || {
            let mut names = disk.list().unwrap();
            names.sort_unstable();
            names
        };
        put(&disk, &rows_name(2), b"half of it").unwrap();
        put(&disk, &sums_name(2), b"sums that somebody may want to repair").unwrap();
        assert!(!super::super::room::sweep(&disk, false).unwrap());
        disk.remove(&sums_name(2)).unwrap();
        put(&disk, &sums_name(2), b"").unwrap();
        assert!(super::super::room::sweep(&disk, false).unwrap());
        assert_eq!(names(), [] as [String; 0]);
        // The same of what says which files are damaged: the list before counts.
        let found: BTreeSet<String> = [rows_name(1)].into();
        mark(&disk, &found).unwrap();
        put(&disk, &format!("{DAMAGED}00000009.txt"), b"").unwrap();
        assert_eq!(damaged(&disk, &names()), found);
    }
}
