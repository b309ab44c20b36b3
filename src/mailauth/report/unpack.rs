//! What reports are packed in: gzip (RFC 1952), and zip, of which the one file within is taken. Whatever comes out is cut off
//! at a limit, so that a few bytes do not become a gigabyte.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder};

use super::{UNPACKED_BYTES, Unread};

/// Files of an archive that are looked at.
const FILES: usize = 16;
/// The last record of an archive, and the comment that may follow it.
const END: usize = 22;
const COMMENT: usize = 65_535;

/// By its first bytes, not by its name: senders get names and types wrong.
pub(super) fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Unread> {
    match bytes {
        [0x1f, 0x8b, ..] => capped(GzDecoder::new(bytes)).map(Cow::Owned),
        [b'P', b'K', 3, 4, ..] => zip(bytes),
        _ if bytes.len() > UNPACKED_BYTES => Err(Unread::TooLong),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

fn capped(reader: impl Read) -> Result<Vec<u8>, Unread> {
    let mut out = Vec::new();
    reader.take(UNPACKED_BYTES as u64 + 1).read_to_end(&mut out).map_err(|_| Unread::Packed)?;
    if out.len() > UNPACKED_BYTES { Err(Unread::TooLong) } else { Ok(out) }
}

/// One file of an archive, as its directory has it.
struct Entry<'a> {
    method: u16,
    packed: usize,
    name: &'a [u8],
    /// Where its local header is.
    at: usize,
}

/// The first file that is named like a report, else the first. The sizes are the directory's, since the file's own header
/// may leave them out.
fn zip(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Unread> {
    let entries = directory(bytes).ok_or(Unread::Packed)?;
    let named = |entry: &&Entry<'_>| {
        let name = entry.name.to_ascii_lowercase();
        name.ends_with(b".xml") || name.ends_with(b".json")
    };
    let entry = entries.iter().find(named).or(entries.first()).ok_or(Unread::Packed)?;
    let local = bytes.get(entry.at..).ok_or(Unread::Packed)?;
    if !local.starts_with(b"PK\x03\x04") {
        return Err(Unread::Packed);
    }
    let (name, extra) = (u16_at(local, 26).ok_or(Unread::Packed)?, u16_at(local, 28).ok_or(Unread::Packed)?);
    let start = 30 + usize::from(name) + usize::from(extra);
    let packed = local.get(start..start.saturating_add(entry.packed)).ok_or(Unread::Packed)?;
    match entry.method {
        0 if packed.len() > UNPACKED_BYTES => Err(Unread::TooLong),
        0 => Ok(Cow::Borrowed(packed)),
        8 => capped(DeflateDecoder::new(packed)).map(Cow::Owned),
        _ => Err(Unread::Packed),
    }
}

fn directory(bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let tail = bytes.len().saturating_sub(END + COMMENT);
    let end = bytes.get(tail..)?.windows(4).rposition(|four| four == b"PK\x05\x06")? + tail;
    let end = bytes.get(end..)?;
    let count = usize::from(u16_at(end, 10)?).min(FILES);
    let mut at = usize::try_from(u32_at(end, 16)?).ok()?;
    let mut out = Vec::new();
    for _ in 0..count {
        let entry = bytes.get(at..)?;
        if !entry.starts_with(b"PK\x01\x02") {
            return None;
        }
        let (name, extra, comment) = (u16_at(entry, 28)?, u16_at(entry, 30)?, u16_at(entry, 32)?);
        out.push(Entry {
            method: u16_at(entry, 10)?,
            packed: usize::try_from(u32_at(entry, 20)?).ok()?,
            name: entry.get(46..46 + usize::from(name))?,
            at: usize::try_from(u32_at(entry, 42)?).ok()?,
        });
        at += 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
    }
    Some(out)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|two| u16::from_le_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_le_bytes(*four))
}
