//! The row of a letter: where its bytes are, how often it is referred to, what they must come to.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::LetterHeader;
use super::frames::Frame;
use crate::base::Time;
use crate::store::Error;

/// A row of `Table::Blobs`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BlobRow {
    /// References; a row has at least one.
    #[n(0)]
    pub refs: u64,
    /// Length in bytes as it was taken, not as it is stored.
    #[n(1)]
    pub len: u64,
    /// BLAKE3 of the bytes as taken.
    #[n(2)]
    pub digest: ByteArray<32>,
    #[n(3)]
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Place {
    /// In a segment: the file's number, where the first frame starts, and the frames one after another.
    #[n(0)]
    Segment {
        #[n(0)]
        segment: u64,
        #[n(1)]
        offset: u64,
        #[n(2)]
        frames: Vec<Frame>,
    },
    /// In a file of its own, which has its index itself.
    #[n(1)]
    File {
        #[n(0)]
        number: u64,
    },
}

impl Place {
    /// Bytes it takes in a segment.
    pub fn stored_len(&self) -> u64 {
        match self {
            Place::Segment { frames, .. } => frames.iter().map(|frame| frame.stored_len() as u64).sum(),
            Place::File { .. } => 0,
        }
    }

    /// In the record being made: where exactly is known when the record is laid out.
    pub fn pending(frames: Vec<Frame>) -> Place {
        Place::Segment { segment: 0, offset: 0, frames }
    }
}

impl<C> Encode<C> for Frame {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u32(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Frame {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let frame = Frame(d.u32()?);
        if frame.is_sound() { Ok(frame) } else { Err(minicbor::decode::Error::message("a frame is too long")) }
    }
}

impl BlobRow {
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).unwrap_or_default()
    }

    pub fn decode(bytes: &[u8]) -> Result<BlobRow, Error> {
        minicbor::decode(bytes).map_err(|error| Error::Corrupt(format!("a letter's row does not read: {error}")))
    }
}

/// The letter header as it lies before a letter's bytes.
#[derive(Encode, Decode)]
struct StoredHeader {
    #[n(0)]
    accounts: Vec<String>,
    #[n(1)]
    received: i64,
}

pub(crate) fn encode_header(header: &LetterHeader) -> Vec<u8> {
    let stored = StoredHeader { accounts: header.accounts.clone(), received: header.received.0 };
    minicbor::to_vec(&stored).unwrap_or_default()
}

pub(crate) fn decode_header(bytes: &[u8]) -> Result<LetterHeader, Error> {
    let stored: StoredHeader =
        minicbor::decode(bytes).map_err(|error| Error::Corrupt(format!("a letter's header does not read: {error}")))?;
    Ok(LetterHeader { accounts: stored.accounts, received: Time(stored.received) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_and_headers_round_trip(
            refs: u64, len: u64, digest: [u8; 32], segment: u64, offset: u64, file: bool,
            frames in proptest::collection::vec(0u32..=65536, 0..6),
            accounts in proptest::collection::vec(".{0,20}", 0..4), received: i64,
        ) {
            let place = if file {
                Place::File { number: segment }
            } else {
                Place::Segment { segment, offset, frames: frames.into_iter().map(Frame).collect() }
            };
            let row = BlobRow { refs, len, digest: digest.into(), place };
            prop_assert_eq!(BlobRow::decode(&row.encode()).unwrap(), row);
            let header = LetterHeader { accounts, received: Time(received) };
            prop_assert_eq!(decode_header(&encode_header(&header)).unwrap(), header);
        }

        #[test]
        fn damaged_rows_are_errors_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = BlobRow::decode(&bytes);
            let _ = decode_header(&bytes);
        }
    }

    #[test]
    fn a_row_of_the_first_version_still_reads() {
        let bytes = [
            0x84, 0x01, 0x03, 0x58, 0x20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
            7, 7, 7, 7, 7, 7, 0x82, 0x00, 0x83, 0x02, 0x19, 0x02, 0x00, 0x81, 0x03,
        ];
        let row = BlobRow {
            refs: 1,
            len: 3,
            digest: [7; 32].into(),
            place: Place::Segment { segment: 2, offset: 512, frames: vec![Frame(3)] },
        };
        assert_eq!(row.encode(), bytes);
        assert_eq!(BlobRow::decode(&bytes).unwrap(), row);
    }
}
