//! Making a backup: what the archive does not have yet, then the head.
//!
//! Letters first, some thousands at a time, each time from a new snapshot, so that no snapshot is held while much is written to a
//! slow stick. When few are missing the rows are taken, from the same snapshot that names those: that is the state the backup is
//! of (U3). Letters that are on the archive already are known by their lists, also those of a backup that was cut off.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use super::age::{self, Identity, Seal};
use super::archive::{self, Sums};
use super::file::{self, Packing, Part, hex};
use super::head::{Chunk, Head, Letters};
use super::key::{Keys, Sheet};
use super::rows::{self, Rows};
use super::{Error, packs, room};
use crate::account::{self, Owners};
use crate::base::{BlobId, Random, Time};
use crate::store::blob::{Described, Held, describe};
use crate::store::disk::{Disk, Site};
use crate::store::{Data, Snapshot, Table};

/// What is to be backed up.
pub struct Source<'a> {
    pub data: &'a Data,
    /// Files of the data folder, by their path in it.
    pub files: &'a [(String, Vec<u8>)],
    /// The name the server goes by.
    pub host: &'a str,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    pub number: u32,
    pub everything: bool,
    /// In mailboxes.
    pub messages: u64,
    /// Letters on the archive, and how many of them are new.
    pub letters: u64,
    pub new_letters: u64,
    /// Bytes written.
    pub written: u64,
    /// Older backups that went, by the rule or for want of room.
    pub removed: usize,
    /// Letters of which the store itself has not the bytes any more; all others are there.
    pub unreadable: u64,
}

/// Letters written between two snapshots.
const ROUND: usize = 10_000;
/// Bytes of letters after which the next one goes into a new file.
const PACK_BYTES: u64 = 32 << 20;
/// Bytes of a letter held at once.
const PIECE: u64 = 1 << 20;

/// Makes a backup, the next in this archive. When there is no room the oldest go first, but never the newest whole one, and none
/// for a backup that has no room even so. Without `everything` only the configuration is in it. Blocks, and for long.
///
/// After an error the backups that were there are as they were (U1), and what was written of letters is used the next time, unless
/// there is no room for it. Nothing builds on files that [`super::mark`] has named.
pub fn create(
    disk: &dyn Disk,
    source: &Source<'_>,
    keys: &Keys,
    everything: bool,
    now: Time,
    random: &dyn Random,
) -> Result<Made, Error> {
    if keys.words.is_none() && keys.phrase.is_none() {
        return Err(Error::NoSheet);
    }
    let before: BTreeSet<String> = disk.list()?.into_iter().collect();
    let attempt = |disk: &dyn Disk, fits| Run::begin(disk, keys, random, fits)?.run(source, everything, now);
    let (mut removed, mut fits) = (0, false);
    loop {
        match attempt(disk, fits) {
            Ok(made) => {
                removed += room::prune(disk)?;
                return Ok(Made { removed, ..made });
            }
            Err(Error::Full) => {}
            Err(error) => return Err(error),
        }
        match room::to_go(disk, |disk| attempt(disk, true).map(drop)) {
            Ok(going) if !fits || going.is_some_and(|going| going > 0) => {
                if let Some(going) = going {
                    room::make(disk, going)?;
                    removed += going;
                }
            }
            // There was to be room, and is none: nothing more is lost to a disk that does not say how much it has.
            Ok(_) | Err(Error::Full) => {
                room::undo(disk, &before)?;
                return Err(Error::Full);
            }
            Err(error) => return Err(error),
        }
        fits = true;
    }
}

struct Run<'a> {
    disk: &'a dyn Disk,
    /// It is known that there is room.
    fits: bool,
    keys: &'a Keys,
    identity: &'a Identity,
    random: &'a dyn Random,
    number: u32,
    /// The newest backup with everything, or else the newest.
    base: Option<Head>,
    known: packs::Known,
    packs: u32,
    made: Made,
    parts: Vec<Part>,
}

impl<'a> Run<'a> {
    fn begin(disk: &'a dyn Disk, keys: &'a Keys, random: &'a dyn Random, fits: bool) -> Result<Run<'a>, Error> {
        room::sweep(disk, false)?;
        let names = disk.list()?;
        let number = names.iter().filter_map(|name| archive::number(name)).max().unwrap_or(0).saturating_add(1);
        let damaged = archive::damaged(disk, &names);
        let base = base(disk, &damaged, &keys.identity)?;
        write_keys(disk, keys, number)?;
        let known = packs::Known::read(disk, &names, &damaged, &keys.identity)?;
        let identity = &keys.identity;
        Ok(Run {
            disk,
            fits,
            keys,
            identity,
            random,
            number,
            base,
            known,
            packs: 0,
            made: Made::default(),
            parts: Vec::new(),
        })
    }

    fn run(&mut self, source: &Source<'_>, everything: bool, now: Time) -> Result<Made, Error> {
        let mut first = true;
        let (rows, snapshot_letters) = loop {
            let snapshot = source.data.read()?;
            let missing = if everything { self.missing(&snapshot, std::mem::take(&mut first))? } else { Vec::new() };
            let letters = self.hold(&snapshot, missing)?;
            if letters.list.len() < ROUND {
                let rows = self.rows(source, &snapshot, everything, now)?;
                break (rows, letters);
            }
            drop(snapshot);
            self.write(letters)?;
        };
        self.write(snapshot_letters)?;
        self.finish(source, rows, everything, now)
    }

    /// Letters that the archive does not have. On the first look files in which little is wanted any more are given up, and
    /// nothing is begun for which there may be no room.
    fn missing(&mut self, snapshot: &Snapshot, first: bool) -> Result<Vec<(BlobId, Described)>, Error> {
        if first {
            let mut wanted = HashMap::new();
            rows::each(snapshot, Table::Blobs, &mut |_, value| {
                let letter = describe(value)?;
                if let Some(pack) = self.known.pack_of(&letter.digest) {
                    *wanted.entry(pack).or_insert(0) += letter.len;
                }
                Ok(())
            })?;
            self.known.give_up(&wanted);
        }
        let (mut missing, mut seen, mut bytes) = (Vec::new(), HashSet::new(), 0_u64);
        rows::each(snapshot, Table::Blobs, &mut |key, value| {
            let letter = describe(value)?;
            let id = key.try_into().map(u64::from_be_bytes).map_err(|_| Error::Rows("a letter's key".to_owned()))?;
            if self.known.pack_of(&letter.digest).is_some() {
                return Ok(());
            }
            bytes = bytes.saturating_add(letter.len);
            if missing.len() < ROUND && !self.known.is_unreadable(&letter.digest) && seen.insert(letter.digest) {
                missing.push((BlobId(id), letter));
            }
            Ok(())
        })?;
        // Sealed they may be smaller; that is found without writing to a stick that wears out by it.
        if first && !self.fits && bytes > self.disk.free()? {
            return Err(Error::Full);
        }
        Ok(missing)
    }

    fn hold(&self, snapshot: &Snapshot, list: Vec<(BlobId, Described)>) -> Result<Waiting, Error> {
        let ids: HashSet<BlobId> = list.iter().map(|(id, _)| *id).collect();
        let owners = if ids.is_empty() { HashMap::new() } else { account::owners(snapshot, &ids)? };
        let mut held = Held::new(snapshot);
        for (id, letter) in &list {
            // What cannot be opened shows when it is read.
            let _ = held.keep(snapshot, *id, 0..letter.len);
        }
        Ok(Waiting { list, owners, held })
    }

    /// Writes letters, in as many files as it takes.
    fn write(&mut self, waiting: Waiting) -> Result<(), Error> {
        let mut open: Option<(Packing, Vec<packs::Entry>)> = None;
        for (id, letter) in &waiting.list {
            let Some(whole) = sound(&waiting.held, *id, letter)? else {
                self.known.unreadable(letter.digest);
                self.made.unreadable += 1;
                continue;
            };
            let (packing, entries) = match &mut open {
                Some(open) => open,
                None => {
                    self.packs += 1;
                    let name = archive::letters_name(self.number, self.packs);
                    open.insert((Packing::begin(self.disk, &name, self.identity, self.random)?, Vec::new()))
                }
            };
            let owners = waiting.owners.get(id).cloned().unwrap_or_default();
            let name = format!("letters/{}.eml", hex(&letter.digest));
            packing.stream(&name, letter.len, owners.received.seconds(), |out| match whole {
                Some(bytes) => out.write_all(&bytes),
                None => pieces(&waiting.held, *id, letter.len, &mut |piece| out.write_all(piece)),
            })?;
            entries.push(packs::Entry { digest: letter.digest, len: letter.len, owners });
            if packing.content() >= PACK_BYTES
                && let Some(full) = open.take()
            {
                self.end_pack(full)?;
            }
        }
        open.map_or(Ok(()), |last| self.end_pack(last))
    }

    fn end_pack(&mut self, (packing, entries): (Packing, Vec<packs::Entry>)) -> Result<(), Error> {
        let part = packing.end()?;
        self.disk.sync_dir(Site::Archive)?;
        self.made.new_letters += entries.len() as u64;
        self.made.written += part.len;
        // The list says that the file is whole, so it comes after it.
        let text = packs::encode(&part, &entries, self.identity);
        let name = archive::list_name(&part.name);
        let sealed = age::seal(text.as_bytes(), &Seal::For(self.identity), self.random)?;
        let list = archive::put(self.disk, &name, &sealed)?;
        self.made.written += list.len;
        self.known.add(part, list, *blake3::hash(text.as_bytes()).as_bytes(), entries);
        Ok(())
    }

    /// Rows and settings, as the snapshot has them.
    fn rows(&mut self, source: &Source<'_>, snapshot: &Snapshot, everything: bool, now: Time) -> Result<Head, Error> {
        let name = archive::rows_name(self.number);
        let mut out = Rows::new(self.disk, name, self.identity, self.random, self.base.as_ref());
        let mut head = Head {
            box_id: self.keys.box_id.clone(),
            number: self.number,
            time: now,
            everything,
            host: source.host.to_owned(),
            by: env!("CARGO_PKG_VERSION").to_owned(),
            ..Head::default()
        };
        for (path, bytes) in source.files {
            head.files.push((out.chunk(bytes)?, path.clone()));
        }
        for table in Table::ALL {
            if rows::is_kept(table, everything) {
                out.table(snapshot, table, &mut |chunk, count| {
                    head.rows.push((chunk, table.name().to_owned(), count))
                })?;
            }
        }
        if everything {
            out.mail(snapshot, &mut |chunk, count| head.mail.push((chunk, count)))?;
        }
        let (parts, written) = out.end()?;
        self.made.written += written;
        self.parts = parts;
        Ok(head)
    }

    fn finish(&mut self, source: &Source<'_>, mut head: Head, everything: bool, now: Time) -> Result<Made, Error> {
        let _ = source;
        let chunks = head.files.iter().map(|(chunk, _)| chunk);
        let chunks =
            chunks.chain(head.rows.iter().map(|(chunk, ..)| chunk)).chain(head.mail.iter().map(|(chunk, _)| chunk));
        let needed: HashSet<&str> = chunks.map(|chunk: &Chunk| chunk.part.as_str()).collect();
        self.parts.retain(|part| needed.contains(part.name.as_str()));
        head.parts = std::mem::take(&mut self.parts);
        if everything {
            for (part, list, digest, count) in self.known.kept() {
                head.letters.push(Letters { part: part.name.clone(), list: list.name.clone(), count, digest });
                head.parts.extend([part, list]);
            }
        }
        self.disk.sync_dir(Site::Archive)?;
        let sealed = age::seal(head.encode(self.identity).as_bytes(), &Seal::For(self.identity), self.random)?;
        let own = archive::put(self.disk, &archive::head_name(self.number), &sealed)?;
        let files = std::iter::once(&own).chain(&head.parts).map(|part| (part.name.clone(), part.sha256.clone()));
        let letters = head.letter_count();
        let sums = Sums { number: self.number, time: now, everything, letters, files: files.collect() };
        // From here on it is there.
        let sums = archive::put(self.disk, &archive::sums_name(self.number), sums.encode().as_bytes())?;
        self.made.written += own.len + sums.len;
        let messages = head.messages();
        Ok(Made { number: self.number, everything, messages, letters, ..std::mem::take(&mut self.made) })
    }
}

/// Letters to be written, and what keeps their bytes where they are.
struct Waiting {
    list: Vec<(BlobId, Described)>,
    owners: HashMap<BlobId, Owners>,
    held: Held,
}

/// Whether the bytes of a letter are those that were stored: `None` if not, and the bytes where they are few.
fn sound(held: &Held, id: BlobId, letter: &Described) -> Result<Option<Option<Vec<u8>>>, Error> {
    let mut hash = blake3::Hasher::new();
    let mut whole = Vec::new();
    let read = pieces(held, id, letter.len, &mut |piece| {
        hash.update(piece);
        if letter.len <= PIECE {
            whole.extend_from_slice(piece);
        }
        Ok(())
    });
    match read {
        Ok(()) if *hash.finalize().as_bytes() == letter.digest => Ok(Some((letter.len <= PIECE).then_some(whole))),
        Ok(()) => Ok(None),
        // On a disk that is dying all other letters are still worth saving.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(Error::Store(crate::store::Error::Disk(error.to_string()))),
    }
}

fn pieces(held: &Held, id: BlobId, len: u64, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut at = 0;
    while at < len {
        let end = len.min(at + PIECE);
        let piece = held.read(id, at..end).map_err(|error| match error {
            crate::store::Error::Corrupt(what) | crate::store::Error::Disk(what) => {
                io::Error::new(io::ErrorKind::InvalidData, what)
            }
            other => io::Error::other(other.to_string()),
        })?;
        take(&piece)?;
        at = end;
    }
    Ok(())
}

/// What a new backup builds on: nothing where what is there is damaged.
fn base(disk: &dyn Disk, damaged: &BTreeSet<String>, identity: &Identity) -> Result<Option<Head>, Error> {
    let mut newest = None;
    for sums in archive::list(disk)? {
        match archive::head(disk, sums.number, identity) {
            // Its letters are known by their lists.
            Ok(head)
                if head.parts.iter().any(|part| part.name.starts_with("rows-") && damaged.contains(&part.name)) => {}
            Ok(head) if head.everything => return Ok(Some(head)),
            Ok(head) => newest = newest.or(Some(head)),
            Err(Error::Damaged(_) | Error::Disk(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(newest)
}

/// The page that says how to restore, and the copies of the key, if what is there is something else.
fn write_keys(disk: &dyn Disk, keys: &Keys, number: u32) -> Result<(), Error> {
    const README: &[u8] = include_bytes!("readme.txt");
    let names = disk.list()?;
    let mut wanted: Vec<(Option<&str>, &[u8])> = vec![(None, README)];
    for sheet in [Sheet::Words, Sheet::Phrase] {
        wanted.extend(keys.copy(sheet).map(|copy| (Some(sheet.kind()), copy)));
    }
    let mut old: Vec<&String> =
        names.iter().filter(|name| name.starts_with("keys-") || name.starts_with("key-")).collect();
    old.sort_unstable();
    let sums = old.iter().rev().find(|name| name.starts_with("keys-"));
    if let Some(name) = sums {
        let listed = file::read(disk, name, 4096).ok().and_then(|bytes| archive::key_sums(&bytes)).unwrap_or_default();
        let same = |(listed, sum): &(String, String), (kind, bytes): &(Option<&str>, &[u8])| {
            let named = kind.map_or(listed == archive::README, |kind| listed.starts_with(&format!("key-{kind}-")));
            named && *sum == file::sha256(bytes) && file::read(disk, listed, 1 << 20).is_ok_and(|there| there == *bytes)
        };
        if listed.len() == wanted.len() && listed.iter().zip(&wanted).all(|(listed, wanted)| same(listed, wanted)) {
            return Ok(());
        }
    }
    room::check_for_key(disk)?;
    let mut text = String::new();
    for (kind, bytes) in &wanted {
        let name = kind.map_or(archive::README.to_owned(), |kind| archive::key_name(kind, number));
        if kind.is_none() {
            match file::read(disk, &name, 1 << 20) {
                Ok(there) if there == *bytes => {
                    text.push_str(&format!("{}  {name}\n", file::sha256(bytes)));
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => {
                    disk.remove(&name)?;
                    disk.sync_dir(Site::Archive)?;
                }
            }
        }
        let part = file::write(disk, &name, bytes)?;
        text.push_str(&format!("{}  {name}\n", part.sha256));
    }
    disk.sync_dir(Site::Archive)?;
    archive::put(disk, &archive::key_sums_name(number), archive::with_end(text).as_bytes())?;
    for name in old {
        disk.remove(name)?;
    }
    Ok(disk.sync_dir(Site::Archive)?)
}
