//! Files of an archive as streams, with the digest that stock tools check.

use std::io::{self, Read, Write};
use std::sync::Arc;

use aws_lc_rs::digest;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::age::{Identity, Key, Opening, Seal, Sealing};
use super::tar;
use crate::base::Random;
use crate::store::disk::{Disk, DiskFile, Site};

/// Bytes that go to the disk, or come from it, in one call.
const CALL: usize = 128 << 10;

/// A file that was written and synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub len: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes of what is in it, before compression; 0 where nobody asks.
    pub content: u64,
}

/// A new file being written.
pub(super) struct Output {
    name: String,
    file: Arc<dyn DiskFile>,
    at: u64,
    waiting: Vec<u8>,
    sum: digest::Context,
}

impl Output {
    /// An error if there is a file of that name.
    pub fn create(disk: &dyn Disk, name: &str) -> io::Result<Output> {
        let file = disk.create(name)?;
        let sum = digest::Context::new(&digest::SHA256);
        Ok(Output { name: name.to_owned(), file, at: 0, waiting: Vec::with_capacity(CALL), sum })
    }

    /// Synced. (Its name is when the folder is.)
    pub fn end(mut self, content: u64) -> io::Result<Part> {
        self.put()?;
        self.file.sync(Site::Archive)?;
        Ok(Part { name: self.name, len: self.at, sha256: hex(self.sum.finish().as_ref()), content })
    }

    fn put(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.file.write_at(self.at, &self.waiting)?;
            self.sum.update(&self.waiting);
            self.at += self.waiting.len() as u64;
            self.waiting.clear();
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == CALL {
            self.put()?;
        }
        let taken = bytes.len().min(CALL - self.waiting.len());
        self.waiting.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file being read from its beginning.
pub(super) struct Input {
    file: Arc<dyn DiskFile>,
    at: u64,
    len: u64,
    held: Vec<u8>,
    from: usize,
}

impl Input {
    pub fn open(disk: &dyn Disk, name: &str) -> io::Result<Input> {
        let file = disk.open(name)?;
        let len = file.len()?;
        Ok(Input { file, at: 0, len, held: Vec::new(), from: 0 })
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.from == self.held.len() {
            let len = usize::try_from(self.len - self.at).unwrap_or(CALL).min(CALL);
            self.held.resize(len, 0);
            self.from = 0;
            self.file.read_at(self.at, &mut self.held)?;
            self.at += len as u64;
        }
        let here = self.held.get(self.from..).unwrap_or_default();
        let taken = here.len().min(out.len());
        if let (Some(out), Some(here)) = (out.get_mut(..taken), here.get(..taken)) {
            out.copy_from_slice(here);
        }
        self.from += taken;
        Ok(taken)
    }
}

/// A whole small file. Longer than `most` is damage.
pub(super) fn read(disk: &dyn Disk, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let mut input = Input::open(disk, name)?;
    if input.len > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than it can be"));
    }
    let mut out = Vec::new();
    input.read_to_end(&mut out)?;
    Ok(out)
}

/// A whole small file, written and synced.
pub(super) fn write(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<Part> {
    let mut output = Output::create(disk, name)?;
    output.write_all(bytes)?;
    output.end(0)
}

/// Length and SHA-256 of a file as it lies there. One that is longer than a file of ours can be, on FAT, is damage.
pub(super) fn measure(disk: &dyn Disk, name: &str) -> io::Result<Part> {
    let mut input = Input::open(disk, name)?;
    if input.len > u64::from(u32::MAX) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than it can be"));
    }
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; CALL];
    loop {
        let read = input.read(&mut piece)?;
        if read == 0 {
            let len = input.len;
            return Ok(Part { name: name.to_owned(), len, sha256: hex(sum.finish().as_ref()), content: 0 });
        }
        sum.update(piece.get(..read).unwrap_or_default());
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names, bytes and dates in a file `.tar.gz.age`.
pub(super) struct Packing {
    tar: tar::Writer<GzEncoder<Sealing<Output>>>,
    content: u64,
}

impl Packing {
    pub fn begin(disk: &dyn Disk, name: &str, identity: &Identity, random: &dyn Random) -> io::Result<Packing> {
        let sealing = Sealing::begin(Output::create(disk, name)?, &Seal::For(identity), random)?;
        // Letters are mostly base64 and text: what a slower search for repetitions gains is little, and a small box waits.
        let tar = tar::Writer::new(GzEncoder::new(sealing, Compression::new(3)));
        Ok(Packing { tar, content: 0 })
    }

    /// Adds a file whose bytes come in pieces.
    pub fn stream(
        &mut self,
        name: &str,
        len: u64,
        mtime: i64,
        pieces: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        pieces(self.tar.begin(name, len, mtime)?)?;
        self.content += len;
        self.tar.pad(len)
    }

    pub fn file(&mut self, name: &str, bytes: &[u8], mtime: i64) -> io::Result<()> {
        self.stream(name, bytes.len() as u64, mtime, |out| out.write_all(bytes))
    }

    /// Bytes of the files in it so far.
    pub fn content(&self) -> u64 {
        self.content
    }

    pub fn end(self) -> io::Result<Part> {
        let content = self.content;
        self.tar.end()?.finish()?.end()?.end(content)
    }
}

pub(super) type Unpacking = tar::Reader<GzDecoder<Opening<Input>>>;

pub(super) fn unpack(disk: &dyn Disk, name: &str, identity: &Identity) -> io::Result<Unpacking> {
    let opening = Opening::begin(Input::open(disk, name)?, &Key::Identity(identity))?;
    Ok(tar::Reader::new(GzDecoder::new(opening)))
}
