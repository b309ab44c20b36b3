//! The structure as it is kept with each email: CBOR, numbered fields, envelope and part tree decodable by themselves.

use std::fmt;
use std::ops::Range;

use super::structure::{Envelope, Message, Part, Section, Summary};
use crate::base::{Family, Fault};

/// An encoded structure, opened: the summary is decoded, envelope and parts are when asked for. Borrows from the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure<'b> {
    pub summary: Summary,
    envelope: &'b [u8],
    body: &'b [u8],
}

/// The bytes are not an encoded structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(pub String);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stored structure of a message cannot be read: {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

impl Fault for Corrupt {
    fn family(&self) -> Family {
        Family::Own
    }
}

impl Message<'_> {
    /// The structure's bytes, to be kept beside the letter.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}

impl<'b> Structure<'b> {
    pub fn decode(_bytes: &'b [u8]) -> Result<Structure<'b>, Corrupt> {
        todo!()
    }

    pub fn envelope(&self) -> Result<Envelope<'b>, Corrupt> {
        let _ = self.envelope;
        todo!()
    }

    /// The root of the part tree.
    pub fn body(&self) -> Result<Part<'b>, Corrupt> {
        let _ = self.body;
        todo!()
    }

    /// Where a section lies in the letter; `Ok(None)` if there is no such section. `BODY[]`, `BODY[HEADER]` and
    /// `BODY[TEXT]` are answered from the summary alone.
    pub fn section(&self, path: &[u32], section: Section) -> Result<Option<Range<u64>>, Corrupt> {
        if path.is_empty() {
            return Ok(match section {
                Section::Whole => Some(0..self.summary.size),
                Section::Header => Some(0..self.summary.header_bytes),
                Section::Text => Some(self.summary.header_bytes..self.summary.size),
                Section::Mime => None,
            });
        }
        Ok(self.body()?.section(path, section))
    }
}
