//! The values that the stores keep for themselves, read, written and read again: for tests that hand in any bytes.

use super::engine::decode_alive;
use super::record::{self, Position, Reader};
use crate::store::Error;
use crate::store::blob::file::Index;
use crate::store::blob::row::{self, BlobRow};

/// What bytes are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A row of table Blobs.
    Blob,
    /// A row of table Segments.
    Alive,
    /// How far the records are applied.
    Position,
    /// What lies before a letter.
    LetterHeader,
    /// The index of a letter file.
    LetterIndex,
    /// The copy of the small tables.
    Copy,
    /// The payload of a record.
    Payload,
}

/// Whether a value is the same when it is written and read again; [`Error::Corrupt`] if it cannot be read.
pub fn reads_back(what: Stored, bytes: &[u8]) -> Result<bool, Error> {
    match what {
        Stored::Blob => {
            let row = BlobRow::decode(bytes)?;
            Ok(BlobRow::decode(&row.encode()).as_ref() == Ok(&row))
        }
        Stored::Alive => Ok(decode_alive(bytes)?.to_be_bytes() == bytes),
        Stored::Position => Ok(Position::decode(bytes)?.encode() == bytes),
        Stored::LetterHeader => {
            let header = row::decode_header(bytes)?;
            Ok(row::decode_header(&row::encode_header(&header)).as_ref() == Ok(&header))
        }
        Stored::LetterIndex => {
            let index = Index::decode(bytes)?;
            Ok(Index::decode(&index.encode()).as_ref() == Ok(&index))
        }
        Stored::Copy => {
            let rows = all_rows(bytes)?;
            let mut again = Vec::new();
            record::encode_rows(&rows, &mut again);
            Ok(again.len() == record::rows_len(&rows) && all_rows(&again).as_ref() == Ok(&rows))
        }
        Stored::Payload => {
            let (letters, rows) = record::payload(bytes)?;
            let mut again = record::begin();
            again.extend_from_slice(&(letters.len() as u32).to_be_bytes());
            let mut starts = Vec::new();
            for (_, letter) in &letters {
                starts.push(letter.encode(&mut again));
            }
            record::encode_rows(&rows, &mut again);
            let same_starts = letters.iter().map(|(start, _)| *start).eq(starts);
            Ok(same_starts && record::payload(&again[record::HEADER..]).as_ref() == Ok(&(letters, rows)))
        }
    }
}

fn all_rows(bytes: &[u8]) -> Result<record::Layer, Error> {
    let mut reader = Reader(bytes);
    let rows = record::decode_rows(&mut reader)?;
    reader.end()?;
    Ok(rows)
}
