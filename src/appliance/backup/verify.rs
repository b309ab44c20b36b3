//! Reading an archive from end to end: every file by its sum, and with the key every chunk and every letter by its own digest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Read};

use super::age::Identity;
use super::file::{self, hex};
use super::head::Head;
use super::{Error, archive, chunk, packs, rows};
use crate::store::Table;
use crate::store::disk::Disk;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is not as it should be, one sentence each. Empty: all is well.
    pub findings: Vec<String>,
    /// Numbers of the backups from which everything that they have can be put back, the newest first.
    pub sound: Vec<u32>,
    /// Files that are not as they were written: what is in them has to be written again, into other ones.
    pub damaged: BTreeSet<String>,
    /// Of backups that name letters which no file has: how many. The box itself had lost those, if no file is damaged.
    pub missing: BTreeMap<u32, usize>,
    /// The copies of the key are not as they were written: nobody else could open it.
    pub keys: bool,
    /// Files and bytes that were read.
    pub files: u64,
    pub bytes: u64,
}

/// Reads all of an archive. Without the key only the sums are compared, as stock tools do it.
///
/// Errors only when nothing can be read any more; what is damaged, or cannot be read, is in the report (U2).
pub fn verify(disk: &dyn Disk, identity: Option<&Identity>) -> Result<Report, Error> {
    let names = disk.list()?;
    let mut look = Look {
        disk,
        read: None,
        report: Report::default(),
        good: HashMap::new(),
        contents: HashMap::new(),
        blobs: HashMap::new(),
    };
    look.keys(&names)?;
    look.report.keys = !look.report.findings.is_empty();
    let mut some = false;
    let all = archive::each(disk, &names, &mut |number, sums| {
        let Some(sums) = sums.or_else(|error| look.passed_over(error).map(|_| None))? else {
            let sentence =
                format!("backup {number} is not whole: it was cut off, or a file of it is damaged or missing");
            look.report.findings.push(sentence);
            return Ok(());
        };
        some = true;
        let mut sound = true;
        for (name, sum) in &sums.files {
            sound &= look.is_good(name, sum)?;
        }
        if let Some(identity) = identity
            && sound
        {
            sound = look.backup(number, &sums, identity)?;
        }
        if sound {
            look.report.sound.push(number);
        }
        Ok(())
    })?;
    if !all {
        look.report.findings.push("there are more backups than there can be: the oldest were not looked at".to_owned());
    }
    if !some && look.report.findings.is_empty() {
        return Err(Error::Nothing);
    }
    Ok(look.report)
}

struct Look<'a> {
    disk: &'a dyn Disk,
    /// A file that could be read.
    read: Option<String>,
    report: Report,
    /// Files that were compared already, and whether they were as they should be.
    good: HashMap<(String, String), bool>,
    /// What is in a file of chunks or letters: digests.
    contents: HashMap<String, HashSet<[u8; 32]>>,
    /// Letters that a chunk of table Blobs names.
    blobs: HashMap<[u8; 32], Vec<[u8; 32]>>,
}

impl Look<'_> {
    /// What cannot be read is passed over as long as something else can.
    fn passed_over(&self, error: Error) -> Result<Error, Error> {
        match (&error, &self.read) {
            (Error::Disk(_), Some(read)) => match self.disk.open(read).and_then(|file| file.read_at(0, &mut [0])) {
                Ok(()) => Ok(error),
                Err(_) => Err(error),
            },
            (Error::Damaged(_) | Error::OtherKey, _) => Ok(error),
            _ => Err(error),
        }
    }

    /// The same of a file: what is missing or cut short is damaged.
    fn unread<T>(&self, error: io::Error, nothing: T) -> Result<T, Error> {
        if archive::is_damage(&error) { Ok(nothing) } else { self.passed_over(error.into()).map(|_| nothing) }
    }

    /// The copies of the key, and the page that says how to restore.
    fn keys(&mut self, names: &[String]) -> Result<(), Error> {
        let sums: BTreeSet<&String> = names.iter().filter(|name| name.starts_with("keys-")).collect();
        for name in sums {
            let bytes = file::read(self.disk, name, 4096).or_else(|error| self.unread(error, Vec::new()))?;
            match archive::key_sums(&bytes) {
                Some(listed) => {
                    for (name, sum) in listed {
                        self.is_good(&name, &sum)?;
                    }
                }
                None => self.report.findings.push(format!("{name} is not as it was written")),
            }
        }
        Ok(())
    }

    fn is_good(&mut self, name: &str, sum: &str) -> Result<bool, Error> {
        let key = (name.to_owned(), sum.to_owned());
        if let Some(known) = self.good.get(&key) {
            return Ok(*known);
        }
        let found = file::measure(self.disk, name).map(Some).or_else(|error| self.unread(error, None))?;
        let good = found.as_ref().is_some_and(|part| part.sha256 == sum);
        if let Some(part) = found {
            self.read.get_or_insert_with(|| name.to_owned());
            self.report.files += 1;
            self.report.bytes += part.len;
        }
        if !good {
            self.is_damaged(name);
        }
        self.good.insert(key, good);
        Ok(good)
    }

    fn is_damaged(&mut self, name: &str) {
        self.report.findings.push(format!("{name} is not as it was written"));
        self.report.damaged.insert(name.to_owned());
    }

    fn backup(&mut self, number: u32, sums: &archive::Sums, identity: &Identity) -> Result<bool, Error> {
        let before = self.report.findings.len();
        let head = match archive::head(self.disk, number, identity) {
            Ok(head) => head,
            Err(error) => {
                let error = if error == Error::Newer { error } else { self.passed_over(error)? };
                self.report.findings.push(format!("backup {number}: {error}"));
                return Ok(false);
            }
        };
        let listed: HashMap<&str, &str> = sums.files.iter().map(|(name, sum)| (name.as_str(), sum.as_str())).collect();
        if head.parts.iter().any(|part| listed.get(part.name.as_str()) != Some(&part.sha256.as_str())) {
            self.report.findings.push(format!("backup {number}: its sums are not those of its head"));
        }
        self.chunks(number, &head, identity)?;
        self.letters(number, &head, identity)?;
        // What is missing was so when it was made: its head and all files are as they were written.
        Ok(self.report.findings.len() == before + usize::from(self.report.missing.contains_key(&number)))
    }

    fn chunks(&mut self, number: u32, head: &Head, identity: &Identity) -> Result<(), Error> {
        let blobs: HashSet<[u8; 32]> = head
            .rows
            .iter()
            .filter(|(_, table, _)| table == Table::Blobs.name())
            .map(|(chunk, ..)| chunk.digest)
            .collect();
        let all = head.files.iter().map(|(chunk, _)| chunk);
        let all = all.chain(head.rows.iter().map(|(chunk, ..)| chunk)).chain(head.mail.iter().map(|(chunk, _)| chunk));
        for chunk in all {
            if !self.contents.contains_key(&chunk.part) {
                let mut letters = Vec::new();
                let found = contents(self.disk, &chunk.part, identity, "chunks/", "", &mut |digest, bytes| {
                    if blobs.contains(digest) {
                        let rows = chunk::rows(bytes).unwrap_or_default();
                        let rows = rows.iter().filter_map(|(_, value)| rows::read_letter_row(value));
                        letters.push((*digest, rows.map(|(_, _, digest)| digest).collect()));
                    }
                });
                self.blobs.extend(letters);
                let found = self.found(&chunk.part, found)?;
                self.contents.insert(chunk.part.clone(), found);
            }
            if !self.contents.get(&chunk.part).is_some_and(|found| found.contains(&chunk.digest)) {
                self.report.findings.push(format!("backup {number}: {} lacks a chunk", chunk.part));
                self.report.damaged.insert(chunk.part.clone());
                return Ok(());
            }
        }
        // A file of chunks that was read for a later backup may hold chunks whose letters only this one asks for.
        for (chunk, ..) in head.rows.iter().filter(|(chunk, ..)| blobs.contains(&chunk.digest)) {
            if !self.blobs.contains_key(&chunk.digest) {
                let wanted = chunk.digest;
                let mut letters = Vec::new();
                let found = contents(self.disk, &chunk.part, identity, "chunks/", "", &mut |digest, bytes| {
                    if *digest == wanted {
                        letters = chunk::rows(bytes).unwrap_or_default();
                    }
                });
                self.found(&chunk.part, found)?;
                let letters = letters.iter().filter_map(|(_, value)| rows::read_letter_row(value));
                self.blobs.insert(wanted, letters.map(|(_, _, digest)| digest).collect());
            }
        }
        Ok(())
    }

    fn letters(&mut self, number: u32, head: &Head, identity: &Identity) -> Result<(), Error> {
        for letters in &head.letters {
            if self.contents.contains_key(&letters.part) {
                continue;
            }
            let found = contents(self.disk, &letters.part, identity, "letters/", ".eml", &mut |_, _| {});
            let found = self.found(&letters.part, found)?;
            match packs::read(self.disk, &letters.list, identity) {
                Ok((_, entries, _, digest)) => {
                    let same = digest == letters.digest && entries.len() as u64 == letters.count;
                    if !same || entries.iter().any(|entry| !found.contains(&entry.digest)) {
                        self.report.findings.push(format!("backup {number}: {} is not what it lists", letters.part));
                        self.report.damaged.insert(letters.part.clone());
                    }
                }
                Err(error) => {
                    let error = self.passed_over(error)?;
                    self.report.findings.push(format!("backup {number}: {error}"));
                    self.report.damaged.insert(letters.list.clone());
                }
            }
            self.contents.insert(letters.part.clone(), found);
        }
        let there: Vec<&HashSet<[u8; 32]>> =
            head.letters.iter().filter_map(|letters| self.contents.get(&letters.part)).collect();
        let named = head.rows.iter().filter_map(|(chunk, ..)| self.blobs.get(&chunk.digest)).flatten();
        let missing: HashSet<&[u8; 32]> =
            named.filter(|digest| !there.iter().any(|part| part.contains(*digest))).collect();
        let missing = missing.len();
        if missing > 0 {
            self.report.findings.push(format!("backup {number}: {missing} letters are missing"));
            self.report.missing.insert(number, missing);
        }
        Ok(())
    }

    fn found(&mut self, name: &str, found: io::Result<HashSet<[u8; 32]>>) -> Result<HashSet<[u8; 32]>, Error> {
        found.or_else(|error| {
            self.passed_over(archive::in_file(name, error))?;
            self.is_damaged(name);
            Ok(HashSet::new())
        })
    }
}

/// Digests of the files in a file, each of which has to be what its name says. Chunks are handed to `visit`; letters are not,
/// since they may be large.
fn contents(
    disk: &dyn Disk,
    name: &str,
    identity: &Identity,
    before: &str,
    after: &str,
    visit: &mut dyn FnMut(&[u8; 32], &[u8]),
) -> io::Result<HashSet<[u8; 32]>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a digest is wrong");
    let mut found = HashSet::new();
    let mut unpacking = file::unpack(disk, name, identity)?;
    while let Some((entry, len)) = unpacking.next()? {
        let named = entry.strip_prefix(before).and_then(|name| name.strip_suffix(after)).ok_or_else(damaged)?;
        let digest = if after.is_empty() {
            let bytes = unpacking.whole(chunk::MOST)?;
            let digest = *blake3::hash(&bytes).as_bytes();
            visit(&digest, &bytes);
            digest
        } else {
            let mut hash = blake3::Hasher::new();
            let read = io::copy(&mut (&mut unpacking).take(len), &mut hash)?;
            if read != len {
                return Err(damaged());
            }
            *hash.finalize().as_bytes()
        };
        if hex(&digest) != named {
            return Err(damaged());
        }
        found.insert(digest);
    }
    Ok(found)
}
