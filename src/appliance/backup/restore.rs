//! Putting a backup back: into a store of its own, which was empty before, under an epoch of its own.
//!
//! Each step can be done again: what is there already is left as it is. So after a cut it is begun again with the same backup,
//! and goes on where it was. Whoever calls lets nobody see that store before all of it is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;

use super::age::Identity;
use super::file::{self, hex};
use super::head::Head;
use super::{Error, archive, chunk, packs, rows};
use crate::account::{self, Owners, Renewal};
use crate::base::BlobId;
use crate::directory::manage;
use crate::queue;
use crate::store::blob::LetterHeader;
use crate::store::disk::Disk;
use crate::store::{Data, Staged, Table};

/// What a restore does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Letters,
    Rows,
    Settings,
}

impl Step {
    /// For the owner.
    pub fn sentence(self) -> &'static str {
        match self {
            Step::Letters => "The letters are put back.",
            Step::Rows => "The people, their mailboxes and their passwords are put back.",
            Step::Settings => "The settings, keys and certificates are put back.",
        }
    }
}

/// What was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files for the data folder, by their path in it.
    pub files: Vec<(String, Vec<u8>)>,
    pub accounts: u64,
    pub letters: u64,
    /// Letters that the backup names and that could not be put back: the store it was made from had lost them, or files of the
    /// backup are damaged.
    pub missing: u64,
    /// Files of the backup that are damaged.
    pub damaged: u64,
}

/// Letters, and bytes of letters, that go out in one transaction.
const LETTERS: usize = 200;
const BYTES: u64 = 4 << 20;
/// Rows in one transaction.
const ROWS: usize = 1000;

/// Fills `into` with what `head` names. `tell` hears of each step, and how much of how much is done. Blocks, and for long.
///
/// After an error `into` is good for nothing but another try with the same head. The archive is only read (U5).
pub fn fill(
    disk: &dyn Disk,
    head: &Head,
    identity: &Identity,
    into: &Data,
    tell: &mut dyn FnMut(Step, u64, u64),
) -> Result<Restored, Error> {
    // The new store's epoch is random, and another try in the same store has the same.
    let renewal = Renewal::new(into.epoch()?);
    let mut filling = Filling { disk, head, identity, into, renewal, restored: Restored::default() };
    let (letters, mailboxes) = filling.first()?;
    if head.everything {
        filling.letters(letters, tell)?;
    }
    filling.rows(tell)?;
    tell(Step::Settings, 0, 1);
    filling.accounts(&mailboxes)?;
    into.checkpoint()?;
    Ok(filling.restored)
}

/// Ids and references of the letters of each digest.
type Wanted = HashMap<[u8; 32], Vec<(BlobId, u64)>>;
type Row = (Vec<u8>, Vec<u8>);

struct Filling<'a> {
    disk: &'a dyn Disk,
    head: &'a Head,
    identity: &'a Identity,
    into: &'a Data,
    renewal: Renewal,
    restored: Restored,
}

impl Filling<'_> {
    /// What has to be known before anything is written: whose letters there are, and how far each account was. And the files of
    /// the folder.
    fn first(&mut self) -> Result<(Wanted, Vec<Row>), Error> {
        let mut wanted = Wanted::new();
        let mut mailboxes = Vec::new();
        let mut ledgers = Vec::new();
        let first = [Table::Blobs, Table::Ledger, Table::Mailboxes];
        self.tables(&|table| first.contains(&table), &mut |table, found| {
            for (key, value) in found {
                match table {
                    Table::Blobs => {
                        let id = key.as_slice().try_into().map(u64::from_be_bytes);
                        let row = rows::read_letter_row(&value).zip(id.ok());
                        let ((refs, _, digest), id) =
                            row.ok_or_else(|| Error::Damaged("a row of a letter".to_owned()))?;
                        wanted.entry(digest).or_default().push((BlobId(id), refs));
                    }
                    Table::Ledger => ledgers.push((key, value)),
                    _ => mailboxes.push((key, value)),
                }
            }
            Ok(())
        })?;
        for (key, value) in ledgers {
            self.renewal.row(Table::Ledger, &key, &value)?;
        }
        let mut files: BTreeMap<[u8; 32], Vec<u8>> = BTreeMap::new();
        let named: HashSet<[u8; 32]> = self.head.files.iter().map(|(chunk, _)| chunk.digest).collect();
        let parts = self.head.files.iter().map(|(chunk, _)| chunk.part.as_str()).collect();
        self.chunks(&parts, &|digest| named.contains(digest), &mut |digest, bytes| {
            files.insert(digest, bytes);
            Ok(())
        })?;
        for (chunk, path) in &self.head.files {
            let bytes = files.get(&chunk.digest).ok_or_else(|| Error::Damaged(chunk.part.clone()))?;
            self.restored.files.push((path.clone(), bytes.clone()));
        }
        Ok((wanted, mailboxes))
    }

    fn letters(&mut self, mut wanted: Wanted, tell: &mut dyn FnMut(Step, u64, u64)) -> Result<(), Error> {
        let all = self.head.letters.len() as u64;
        let all_letters = wanted.len() as u64;
        for (n, letters) in self.head.letters.iter().enumerate() {
            tell(Step::Letters, n as u64, all);
            let entries = match packs::read(self.disk, &letters.list, self.identity) {
                Ok((_, entries, _, digest)) if digest == letters.digest => entries,
                // All the others are worth having.
                Ok(_) => {
                    self.restored.damaged += 1;
                    continue;
                }
                Err(error) if error.is_of_a_file() => {
                    self.passed_over(&error)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut owners: HashMap<[u8; 32], Owners> = HashMap::new();
            for entry in entries {
                let here = wanted.get(&entry.digest);
                if here.is_some_and(|ids| !self.all_there(ids)) {
                    owners.insert(entry.digest, entry.owners);
                } else {
                    wanted.remove(&entry.digest);
                }
            }
            match if owners.is_empty() { Ok(()) } else { self.pack(&letters.part, &mut wanted, &owners) } {
                Ok(()) => {}
                Err(error) if error.is_of_a_file() => self.passed_over(&error)?,
                Err(error) => return Err(error),
            }
        }
        self.restored.missing = wanted.len() as u64;
        self.restored.letters = all_letters - self.restored.missing;
        Ok(())
    }

    /// Counts a file that gives nothing. Errors: nothing can be read any more, since the stick was pulled out, say. Then its letters
    /// are not lost, and no house is made without them.
    fn passed_over(&mut self, error: &Error) -> Result<(), Error> {
        self.restored.damaged += 1;
        // The rows that were read first can be read again.
        let Some((chunk, _, _)) = self.head.rows.first().filter(|_| matches!(error, Error::Disk(_))) else {
            return Ok(());
        };
        let file = self.disk.open(&chunk.part)?;
        Ok(file.read_at(0, &mut [0])?)
    }

    /// Whether an earlier try got so far.
    fn all_there(&self, ids: &[(BlobId, u64)]) -> bool {
        ids.iter().all(|(id, _)| matches!(self.into.blobs().len(*id), Ok(Some(_))))
    }

    fn pack(&self, part: &str, wanted: &mut Wanted, owners: &HashMap<[u8; 32], Owners>) -> Result<(), Error> {
        let mut batch = Vec::new();
        let read = self.unpack(part, wanted, owners, &mut batch);
        // What stood before a damaged place is whole.
        self.put_back(batch)?;
        read
    }

    fn unpack(
        &self,
        part: &str,
        wanted: &mut Wanted,
        owners: &HashMap<[u8; 32], Owners>,
        batch: &mut Vec<(Staged, BlobId, u64)>,
    ) -> Result<(), Error> {
        let damaged = || Error::Damaged(part.to_owned());
        let fault = |error| archive::in_file(part, error);
        let mut bytes = 0;
        let mut unpacking = file::unpack(self.disk, part, self.identity).map_err(fault)?;
        while let Some((name, len)) = unpacking.next().map_err(fault)? {
            let digest = name.strip_prefix("letters/").and_then(|name| name.strip_suffix(".eml"));
            let digest = digest.and_then(super::head::digest_of).ok_or_else(damaged)?;
            let Some(owners) = owners.get(&digest) else { continue };
            let Some(ids) = wanted.get(&digest) else { continue };
            let header = || LetterHeader { accounts: owners.accounts.clone(), received: owners.received };
            let staged = self.stage(&mut unpacking, part, len, &digest, header())?;
            for (n, (id, refs)) in ids.iter().enumerate() {
                // Two letters with the same bytes lie there twice, as they did.
                let own = if n == 0 { staged.clone() } else { self.again(&staged, header())? };
                batch.push((own, *id, *refs));
                bytes += len;
            }
            wanted.remove(&digest);
            if batch.len() >= LETTERS || bytes >= BYTES {
                self.put_back(std::mem::take(batch))?;
                bytes = 0;
            }
        }
        Ok(())
    }

    fn stage(
        &self,
        input: &mut impl Read,
        part: &str,
        len: u64,
        digest: &[u8; 32],
        header: LetterHeader,
    ) -> Result<Staged, Error> {
        let mut sink = self.into.blobs().sink();
        let mut hash = blake3::Hasher::new();
        let mut piece = vec![0; 64 << 10];
        let mut left = len;
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = input.read(piece.get_mut(..most).unwrap_or_default());
            let read = read.map_err(|error| archive::in_file(part, error))?;
            let taken = piece.get(..read).unwrap_or_default();
            if taken.is_empty() {
                return Err(Error::Damaged(part.to_owned()));
            }
            hash.update(taken);
            sink.write(taken)?;
            left -= read as u64;
        }
        if hash.finalize().as_bytes() != digest {
            return Err(Error::Damaged(format!("the letter {} in {part}", hex(digest))));
        }
        Ok(sink.finish(header, b"")?)
    }

    /// The same bytes staged once more.
    fn again(&self, staged: &Staged, header: LetterHeader) -> Result<Staged, Error> {
        let mut sink = self.into.blobs().sink();
        sink.write(&staged.bytes()?)?;
        Ok(sink.finish(header, b"")?)
    }

    fn put_back(&self, batch: Vec<(Staged, BlobId, u64)>) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.into.write_blocking(move |txn| {
            for (staged, id, refs) in &batch {
                txn.put_back(staged, *id, *refs)?;
            }
            Ok::<_, crate::store::Error>(())
        })?;
        Ok(())
    }

    fn rows(&mut self, tell: &mut dyn FnMut(Step, u64, u64)) -> Result<(), Error> {
        let everything = self.head.everything;
        let all: u64 = self.head.rows.iter().map(|(_, _, count)| count).sum();
        let mut done = 0;
        let mut renewal = std::mem::replace(&mut self.renewal, Renewal::new(0));
        // Where only the settings are there the mailboxes are made anew.
        let is_wanted = |table| table != Table::Blobs && (everything || table != Table::Mailboxes);
        self.tables(&is_wanted, &mut |table, found| {
            done += found.len() as u64;
            tell(Step::Rows, done.min(all), all);
            let mut out = Vec::new();
            for (key, value) in found {
                if table == Table::Meta && !everything && queue::is_total(&key) {
                    continue;
                }
                let value = match table {
                    Table::Queue | Table::QueueRecipients | Table::QueueDue => queue::returned(table, &value)?,
                    _ => Some(value),
                };
                if let Some(value) = value {
                    out.extend(renewal.row(table, &key, &value)?);
                }
            }
            self.put(out)
        })
    }

    fn put(&self, mut rows: Vec<(Table, Vec<u8>, Vec<u8>)>) -> Result<(), Error> {
        while !rows.is_empty() {
            let batch: Vec<_> = rows.drain(..rows.len().min(ROWS)).collect();
            self.into.write_blocking(move |txn| {
                for (table, key, value) in &batch {
                    txn.put(*table, key, value.clone());
                }
                Ok::<_, crate::store::Error>(())
            })?;
        }
        Ok(())
    }

    /// Counts the accounts; those of which only the settings are there get their mailboxes.
    fn accounts(&mut self, mailboxes: &[Row]) -> Result<(), Error> {
        let words = |error: crate::directory::Error| Error::Rows(error.to_string());
        let known = manage::account::list(&self.into.read()?).map_err(words)?;
        self.restored.accounts = known.len() as u64;
        if self.head.everything {
            return Ok(());
        }
        let opened: HashSet<_> = account::accounts(&self.into.read()?)?.into_iter().collect();
        let closing = manage::account::closing(&self.into.read()?).map_err(words)?;
        for id in known.into_iter().map(|one| one.id).filter(|id| !opened.contains(id) && !closing.contains(id)) {
            let own = mailboxes.to_vec();
            self.into.write_blocking(move |txn| account::reopen(txn, id, &own))?;
        }
        Ok(())
    }

    /// Visits the rows of some tables, chunk by chunk.
    fn tables(
        &self,
        is_wanted: &dyn Fn(Table) -> bool,
        visit: &mut dyn FnMut(Table, Vec<Row>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut of: HashMap<[u8; 32], Vec<Table>> = HashMap::new();
        let mut parts = HashSet::new();
        for (chunk, name, _) in &self.head.rows {
            // A table that a later version has, in a format that is still ours, can be done without.
            let Some(table) = Table::ALL.into_iter().find(|table| table.name() == name) else { continue };
            if is_wanted(table) {
                of.entry(chunk.digest).or_default().push(table);
                parts.insert(chunk.part.as_str());
            }
        }
        let count = of.len();
        let mut seen = HashSet::new();
        self.chunks(&parts, &|digest| of.contains_key(digest), &mut |digest, bytes| {
            if !seen.insert(digest) {
                return Ok(());
            }
            for table in of.get(&digest).into_iter().flatten() {
                let rows = chunk::rows(&bytes).ok_or_else(|| Error::Damaged(format!("rows of {}", table.name())))?;
                visit(*table, rows)?;
            }
            Ok(())
        })?;
        if seen.len() < count { Err(Error::Damaged("the rows".to_owned())) } else { Ok(()) }
    }

    /// Visits chunks, each after it was held against its digest.
    fn chunks(
        &self,
        parts: &HashSet<&str>,
        is_wanted: &dyn Fn(&[u8; 32]) -> bool,
        visit: &mut dyn FnMut([u8; 32], Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for part in parts {
            let fault = |error| archive::in_file(part, error);
            let mut unpacking = file::unpack(self.disk, part, self.identity).map_err(fault)?;
            while let Some((name, _)) = unpacking.next().map_err(fault)? {
                let digest = name.strip_prefix("chunks/").and_then(super::head::digest_of);
                let digest = digest.ok_or_else(|| Error::Damaged((*part).to_owned()))?;
                if is_wanted(&digest) {
                    let bytes = unpacking.whole(chunk::MOST).map_err(fault)?;
                    if *blake3::hash(&bytes).as_bytes() != digest {
                        return Err(Error::Damaged((*part).to_owned()));
                    }
                    visit(digest, bytes)?;
                }
            }
        }
        Ok(())
    }
}
