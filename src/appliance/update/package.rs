//! The update file.
//!
//! | field | bytes |
//! |---|---|
//! | `HPUPDT`, 0, version 1 | 8 |
//! | length of the manifest, big-endian | 4 |
//! | Ed25519 signature over the manifest (RFC 8032) | 64 |
//! | the manifest: JSON, [`Manifest`] | |
//! | the system: a squashfs, as it is written to a slot | |
//!
//! Nothing follows. The manifest has a SHA-256 for each piece of the system, so that each is known to be right before it is
//! written, and a large file is not read twice. Stock tools can do the same: `head`, `tail`, `openssl pkeyutl -verify -rawin`,
//! `sha256sum`.

use std::io::{self, Read};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::{Keys, Refusal, Version};

const MAGIC: &[u8; 7] = b"HPUPDT\0";
const FORMAT: u8 = 1;
const SIGNATURE_BYTES: usize = 64;
/// 160 MiB of system in pieces of 1 MiB are 11 KB.
pub const MANIFEST_BYTES: u32 = 64 * 1024;
/// What a piece may have at most: one is in memory.
pub const PIECE_BYTES: u64 = 1 << 20;
/// In every manifest, so that a signature over something else by the same key is none over an update.
pub const WHAT: &str = "homepost-update";
/// No slot is larger.
const SYSTEM_BYTES: u64 = 512 << 20;
/// Before the system: the head, the manifest and its signature, at most.
pub const HEAD_BYTES: u64 = 12 + SIGNATURE_BYTES as u64 + MANIFEST_BYTES as u64;
/// A longer file is no update.
pub const MOST_BYTES: u64 = HEAD_BYTES + SYSTEM_BYTES;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`WHAT`]
    pub what: String,
    pub format: u8,
    pub version: Version,
    /// The board that it is for, as in `image/boards`.
    pub board: String,
    /// The oldest version that it can be put on.
    pub minimum: Version,
    /// Seconds since 1970.
    pub built: i64,
    /// Of the system.
    pub bytes: u64,
    /// Of each piece but the last, which is what is left.
    pub piece_bytes: u64,
    /// Of each piece, in hexadecimal.
    pub sha256: Vec<String>,
}

impl Manifest {
    /// Where in the system that piece is, and how long; `None`: there are not so many.
    pub fn piece(&self, number: usize) -> Option<(u64, u64)> {
        self.sha256.get(number)?;
        let at = self.piece_bytes.checked_mul(number as u64)?;
        Some((at, self.bytes.checked_sub(at)?.min(self.piece_bytes)))
    }

    /// Whether these bytes are that piece (U1).
    pub fn is_piece(&self, number: usize, bytes: &[u8]) -> bool {
        let length = self.piece(number).map(|(_, length)| length);
        length == Some(bytes.len() as u64)
            && self
                .sha256
                .get(number)
                .is_some_and(|wanted| hex(digest::digest(&digest::SHA256, bytes).as_ref()) == *wanted)
    }
}

/// An update whose manifest is believed; its system was not looked at yet.
#[derive(Debug)]
pub struct Package<R> {
    pub manifest: Manifest,
    /// By whose key.
    pub signer: String,
    rest: R,
}

impl<R: Read> Package<R> {
    /// Reads as far as the system. Nothing that is not signed is parsed.
    pub fn open(mut from: R, keys: &Keys) -> Result<Package<R>, Refusal> {
        let mut head = [0; 12];
        fill(&mut from, &mut head).map_err(|error| match error {
            Refusal::Truncated => Refusal::NotAnUpdate,
            other => other,
        })?;
        if !head.starts_with(MAGIC) {
            return Err(Refusal::NotAnUpdate);
        }
        match head[7] {
            FORMAT => {}
            0 => return Err(Refusal::NotAnUpdate),
            _ => return Err(Refusal::Newer),
        }
        let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        if length > MANIFEST_BYTES {
            return Err(Refusal::NotSigned);
        }
        let mut signature = [0; SIGNATURE_BYTES];
        fill(&mut from, &mut signature)?;
        let mut manifest = vec![0; length as usize];
        fill(&mut from, &mut manifest)?;
        let signer = keys.signer(&manifest, &signature).ok_or(Refusal::NotSigned)?.to_owned();
        Ok(Package { manifest: parse(&manifest)?, signer, rest: from })
    }

    /// Gives out the system in pieces, each after its digest was right (U1), and makes sure that it ends where it should.
    pub fn copy(mut self, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> Result<Manifest, Refusal> {
        let unwritten = |error: io::Error| Refusal::Unreadable(error.to_string());
        let mut piece = Vec::new();
        let mut left = self.manifest.bytes;
        for wanted in &self.manifest.sha256 {
            let length = left.min(self.manifest.piece_bytes);
            piece.resize(usize::try_from(length).unwrap_or(0), 0);
            fill(&mut self.rest, &mut piece)?;
            if hex(digest::digest(&digest::SHA256, &piece).as_ref()) != *wanted {
                return Err(Refusal::Damaged);
            }
            to(&piece).map_err(unwritten)?;
            left -= length;
        }
        let mut more = [0];
        match read(&mut self.rest, &mut more)? {
            0 => Ok(self.manifest),
            _ => Err(Refusal::Damaged),
        }
    }
}

fn parse(text: &[u8]) -> Result<Manifest, Refusal> {
    /// What every format has.
    #[derive(Deserialize)]
    struct Begin {
        what: String,
        format: u8,
    }
    let odd = Refusal::Odd("its manifest cannot be read");
    let begin: Begin = serde_json::from_slice(text).map_err(|_| odd.clone())?;
    if begin.what != WHAT {
        return Err(Refusal::Odd("it is something else"));
    }
    if begin.format != FORMAT {
        return Err(Refusal::Newer);
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(|_| odd)?;
    let (bytes, piece) = (manifest.bytes, manifest.piece_bytes);
    if !(4096..=PIECE_BYTES).contains(&piece) || !(1..=SYSTEM_BYTES).contains(&bytes) {
        return Err(Refusal::Odd("its sizes are none"));
    }
    if manifest.sha256.len() as u64 != bytes.div_ceil(piece) {
        return Err(Refusal::Odd("it has another number of digests than pieces"));
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if manifest.board.is_empty() || manifest.board.len() > 40 || !manifest.board.bytes().all(plain) {
        return Err(Refusal::Odd("its board is none"));
    }
    Ok(manifest)
}

/// All of it, or [`Refusal::Truncated`].
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), Refusal> {
    let mut at = 0;
    while at < buffer.len() {
        match read(from, &mut buffer[at..])? {
            0 => return Err(Refusal::Truncated),
            count => at += count,
        }
    }
    Ok(())
}

fn read(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Refusal> {
    loop {
        match from.read(buffer) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Refusal::Unreadable(error.to_string())),
        }
    }
}

/// Lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes what `scripts/update` makes, for tests of the reader.
#[cfg(test)]
pub(crate) mod made {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    /// The list with that one key.
    pub(crate) fn keys(seed: u8) -> String {
        format!("ed25519 {} a test's\n", STANDARD.encode(pair(seed).public_key().as_ref()))
    }

    pub(crate) fn manifest(version: &str, board: &str, system: &[u8]) -> Value {
        let pieces = system.chunks(4096).map(|piece| hex(digest::digest(&digest::SHA256, piece).as_ref()));
        json!({
            "what": WHAT, "format": 1, "version": version, "board": board, "minimum": "0.0.1", "built": 1_790_000_000,
            "bytes": system.len(), "piece_bytes": 4096, "sha256": pieces.collect::<Vec<_>>(),
        })
    }

    pub(crate) fn packed(seed: u8, manifest: &Value, system: &[u8]) -> Vec<u8> {
        let text = serde_json::to_vec(manifest).unwrap();
        let mut file = b"HPUPDT\0\x01".to_vec();
        file.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        file.extend(pair(seed).sign(&text).as_ref());
        file.extend(text);
        file.extend(system);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::made::{keys, manifest, packed};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn system() -> Vec<u8> {
        (0..20_000_u32).map(|number| ((number * number) >> 7) as u8).collect()
    }

    /// What was given out, and how it ended.
    fn taken(file: &[u8], seed: u8) -> (Vec<u8>, Result<Manifest, Refusal>) {
        let mut out = Vec::new();
        let done = Package::open(file, &Keys::read(&keys(seed)).unwrap()).and_then(|package| {
            package.copy(|piece| {
                out.extend(piece);
                Ok(())
            })
        });
        (out, done)
    }

    #[test]
    fn what_was_signed_comes_out_as_it_went_in() {
        let system = system();
        let (out, done) = taken(&packed(1, &manifest("1.2.3", "pc", &system), &system), 1);
        assert_eq!(done.unwrap().version, Version(1, 2, 3));
        assert_eq!(out, system);
    }

    /// The other end: made by `scripts/update-file`, signed by openssl with a key that was thrown away.
    #[test]
    fn what_openssl_signed_is_believed() {
        let file = include_bytes!("../../../tests/fixtures/update/signed-by-openssl.hpu");
        let keys = Keys::read(include_str!("../../../tests/fixtures/update/keys")).unwrap();
        let package = Package::open(&file[..], &keys).unwrap();
        assert_eq!((package.signer.as_str(), package.manifest.board.as_str()), ("fixture", "qemu-x86_64"));
        let mut bytes = 0;
        let count = |piece: &[u8]| {
            bytes += piece.len() as u64;
            Ok(())
        };
        let manifest = package.copy(count).unwrap();
        assert_eq!((manifest.version, manifest.bytes), (Version(0, 2, 0), bytes));
    }

    #[test]
    fn each_fault_has_its_own_sentence() {
        let system = system();
        let good = manifest("1.2.3", "pc", &system);
        let file = packed(1, &good, &system);
        let with = |key: &str, value: serde_json::Value| {
            let mut manifest = good.clone();
            manifest[key] = value;
            taken(&packed(1, &manifest, &system), 1).1.unwrap_err()
        };
        assert_eq!(taken(&file, 2).1, Err(Refusal::NotSigned));
        assert_eq!(taken(b"", 1).1, Err(Refusal::NotAnUpdate));
        assert_eq!(taken(b"PK\x03\x04 something else", 1).1, Err(Refusal::NotAnUpdate));
        assert_eq!(taken(&file[..50], 1).1, Err(Refusal::Truncated));
        assert_eq!(taken(&file[..file.len() - 1], 1).1, Err(Refusal::Truncated));
        assert_eq!(taken(&[&file[..], b"x"].concat(), 1).1, Err(Refusal::Damaged));
        let mut newer = file.clone();
        newer[7] = 2;
        assert_eq!(taken(&newer, 1).1, Err(Refusal::Newer));
        assert_eq!(with("format", json!(2)), Refusal::Newer);
        assert_eq!(with("what", json!("homepost-updates")), Refusal::Odd("it is something else"));
        assert_eq!(with("more", json!(1)), Refusal::Odd("its manifest cannot be read"));
        assert_eq!(with("version", json!("1.2")), Refusal::Odd("its manifest cannot be read"));
        assert_eq!(with("piece_bytes", json!(1)), Refusal::Odd("its sizes are none"));
        assert_eq!(with("piece_bytes", json!(u64::MAX)), Refusal::Odd("its sizes are none"));
        assert_eq!(with("bytes", json!(0)), Refusal::Odd("its sizes are none"));
        assert_eq!(with("bytes", json!(4096)), Refusal::Odd("it has another number of digests than pieces"));
        assert_eq!(with("board", json!("../x")), Refusal::Odd("its board is none"));
        let mut long = file;
        long[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(taken(&long, 1).1, Err(Refusal::NotSigned), "U3");
    }

    proptest! {
        /// U1: whatever byte is changed, what came out before the refusal is a beginning of the right system.
        #[test]
        fn a_changed_byte_is_found_before_it_is_given_out(at in 0..20_000_usize, bit in 0..8_u8) {
            let system = system();
            let mut file = packed(1, &manifest("1.2.3", "pc", &system), &system);
            let at = at * file.len() / 20_000;
            file[at] ^= 1 << bit;
            let (out, done) = taken(&file, 1);
            prop_assert!(done.is_err());
            prop_assert!(system.starts_with(&out), "U1");
        }

        #[test]
        fn no_bytes_make_the_reader_fall(bytes in prop::collection::vec(any::<u8>(), 0..300), begin in any::<bool>()) {
            let file = if begin { [b"HPUPDT\0\x01", &bytes[..]].concat() } else { bytes };
            prop_assert!(taken(&file, 1).1.is_err());
            let _ = parse(&file);
            let _ = Keys::read(&String::from_utf8_lossy(&file));
        }
    }
}
