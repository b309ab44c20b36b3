//! Rows and settings as chunks in one file, and only those that an earlier backup does not have already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use super::Error;
use super::age::Identity;
use super::chunk::Cutter;
use super::file::{Packing, Part, hex};
use super::head::{Chunk, Head, date};
use crate::account::{self, Filed, Flags};
use crate::base::Random;
use crate::store::blob::describe;
use crate::store::data::READ_ALL;
use crate::store::disk::Disk;
use crate::store::schema::Key;
use crate::store::{Order, Read, Snapshot, Table};

/// A file below this is small, and so many of them are made one.
const SMALL: u64 = 1 << 20;
const MANY: usize = 16;

/// Whether the rows of a table are in a backup. The log begins anew with a new epoch; threads follow from the emails; what is due
/// follows from who waits, and nobody does after a restore; segments and letter files are made anew.
pub(super) fn is_kept(table: Table, everything: bool) -> bool {
    match table {
        Table::Changes | Table::Threads | Table::QueueDue | Table::Segments | Table::LetterFiles => false,
        Table::Messages
        | Table::Emails
        | Table::Ledger
        | Table::Queue
        | Table::QueueRecipients
        | Table::Unconfirmed
        | Table::Blobs => everything,
        _ => true,
    }
}

/// Visits all rows of a table.
pub(super) fn each(
    read: &dyn Read,
    table: Table,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut failed = None;
    read.scan(table, READ_ALL.0, READ_ALL.1, Order::Forward, &mut |key, value| match visit(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

pub(super) struct Rows<'a> {
    disk: &'a dyn Disk,
    name: String,
    identity: &'a Identity,
    random: &'a dyn Random,
    /// Begun with the first chunk that is new.
    packing: Option<Packing>,
    known: HashMap<[u8; 32], String>,
    /// Files of earlier backups, as far as they are still used.
    parts: Vec<Part>,
}

impl<'a> Rows<'a> {
    pub fn new(
        disk: &'a dyn Disk,
        name: String,
        identity: &'a Identity,
        random: &'a dyn Random,
        base: Option<&Head>,
    ) -> Rows<'a> {
        let parts = base.map(|base| worth_keeping(disk, base)).unwrap_or_default();
        let names: HashSet<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        let known = base.into_iter().flat_map(chunks).filter(|chunk| names.contains(chunk.part.as_str()));
        let known = known.map(|chunk| (chunk.digest, chunk.part.clone())).collect();
        Rows { disk, name, identity, random, packing: None, known, parts }
    }

    /// Where these bytes are: as before, or written now.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<Chunk, Error> {
        let (digest, len) = (*blake3::hash(bytes).as_bytes(), bytes.len() as u64);
        if let Some(part) = self.known.get(&digest) {
            return Ok(Chunk { digest, len, part: part.clone() });
        }
        if self.packing.is_none() {
            self.packing = Some(Packing::begin(self.disk, &self.name, self.identity, self.random)?);
        }
        if let Some(packing) = &mut self.packing {
            packing.file(&format!("chunks/{}", hex(&digest)), bytes, 0)?;
        }
        self.known.insert(digest, self.name.clone());
        Ok(Chunk { digest, len, part: self.name.clone() })
    }

    pub fn table(&mut self, snapshot: &Snapshot, table: Table, tell: &mut dyn FnMut(Chunk, u64)) -> Result<(), Error> {
        let mut cutter = Cutter::default();
        each(snapshot, table, &mut |key, value| {
            let full = match table {
                Table::Blobs => cutter.row(key, &letter_row(value)?),
                _ => cutter.row(key, value),
            };
            full.map_or(Ok(()), |(bytes, rows)| {
                tell(self.chunk(&bytes)?, rows);
                Ok(())
            })
        })?;
        cutter.end().map_or(Ok(()), |(bytes, rows)| {
            tell(self.chunk(&bytes)?, rows);
            Ok(())
        })
    }

    /// The readable list: account, mailbox, UID, flags as Maildir has them, flags as IMAP has them, date, digest; a tab between two.
    pub fn mail(&mut self, snapshot: &Snapshot, tell: &mut dyn FnMut(Chunk, u64)) -> Result<(), Error> {
        let mut cutter = Cutter::default();
        account::filed::<Error>(snapshot, &mut |one: &Filed<'_>| {
            let Some(row) = snapshot.get(Table::Blobs, Key::new().u64(one.blob.0).as_ref())? else { return Ok(()) };
            let digest = hex(&describe(&row)?.digest);
            let full = cutter.line(one.key, &mail_line(one, &digest));
            full.map_or(Ok(()), |(bytes, lines)| {
                tell(self.chunk(&bytes)?, lines);
                Ok(())
            })
        })?;
        cutter.end().map_or(Ok(()), |(bytes, lines)| {
            tell(self.chunk(&bytes)?, lines);
            Ok(())
        })
    }

    /// All files that chunks may be in, and how many bytes are new.
    pub fn end(mut self) -> Result<(Vec<Part>, u64), Error> {
        let Some(packing) = self.packing else { return Ok((self.parts, 0)) };
        let part = packing.end()?;
        let written = part.len;
        self.parts.push(part);
        Ok((self.parts, written))
    }
}

/// A letter's row as it lies in a backup, without the place: references (u64), length (u64), BLAKE3 (32).
fn letter_row(value: &[u8]) -> Result<Vec<u8>, Error> {
    let letter = describe(value)?;
    let mut row = letter.refs.to_be_bytes().to_vec();
    row.extend_from_slice(&letter.len.to_be_bytes());
    row.extend_from_slice(&letter.digest);
    Ok(row)
}

/// What [`letter_row`] wrote: references, length, digest.
pub(super) fn read_letter_row(value: &[u8]) -> Option<(u64, u64, [u8; 32])> {
    let (refs, rest) = value.split_first_chunk::<8>()?;
    let (len, digest) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*refs), u64::from_be_bytes(*len), digest.try_into().ok()?))
}

fn mail_line(one: &Filed<'_>, digest: &str) -> String {
    let system = [
        (Flags::ANSWERED, "\\Answered"),
        (Flags::DELETED, "\\Deleted"),
        (Flags::DRAFT, "\\Draft"),
        (Flags::FLAGGED, "\\Flagged"),
        (Flags::SEEN, "\\Seen"),
    ];
    let mut words: Vec<&str> =
        system.iter().filter(|(bit, _)| one.flags.system & bit != 0).map(|(_, word)| *word).collect();
    words.extend(one.flags.keywords.iter().map(AsRef::as_ref));
    // Maildir wants its letters in the order of the alphabet.
    let maildir: String =
        [(Flags::DRAFT, 'D'), (Flags::FLAGGED, 'F'), (Flags::ANSWERED, 'R'), (Flags::SEEN, 'S'), (Flags::DELETED, 'T')]
            .iter()
            .filter(|(bit, _)| one.flags.system & bit != 0)
            .map(|(_, letter)| *letter)
            .collect();
    let mailbox: String = one.mailbox.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    // A field that is empty would be two tabs, which a shell takes for one.
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let (maildir, words) = (or_dash(maildir), or_dash(words.join(" ")));
    format!("{}\t{mailbox}\t{}\t{maildir}\t{words}\t{}\t{digest}", one.account, one.uid, date(one.received))
}

fn chunks(head: &Head) -> impl Iterator<Item = &Chunk> {
    let files = head.files.iter().map(|(chunk, _)| chunk);
    files.chain(head.rows.iter().map(|(chunk, ..)| chunk)).chain(head.mail.iter().map(|(chunk, _)| chunk))
}

/// Files of an earlier backup of which half or more is still in use, and not too many small ones.
fn worth_keeping(disk: &dyn Disk, base: &Head) -> Vec<Part> {
    let mut used: BTreeMap<&str, u64> = BTreeMap::new();
    let mut counted = HashSet::new();
    for chunk in chunks(base) {
        if counted.insert(chunk.digest) {
            *used.entry(&chunk.part).or_default() += chunk.len;
        }
    }
    let there = |part: &Part| disk.open(&part.name).and_then(|file| file.len()).is_ok_and(|len| len == part.len);
    let is_used = |part: &&Part| {
        let used = used.get(part.name.as_str()).copied().unwrap_or(0);
        used > 0 && used.saturating_mul(2) >= part.content && there(part)
    };
    let mut kept: Vec<Part> = base.parts.iter().filter(is_used).cloned().collect();
    if kept.iter().filter(|part| part.len < SMALL).count() > MANY {
        kept.retain(|part| part.len >= SMALL);
    }
    kept
}
