//! A large letter's own file (layout: `store/schema.rs`).
//!
//! The frames of the body are written as they come; what belongs before the body is known last and lies behind it. The
//! index says in which order the frames are read.

use std::ops::Range;
use std::sync::Arc;

use super::frames::{self, FRAME, Frame};
use super::row::encode_header;
use super::{LetterHeader, row};
use crate::store::Error;
use crate::store::data::record::Reader;
use crate::store::data::shared::{Counts, Shared};
use crate::store::disk::{DiskFile, Site};

const MAGIC: &[u8; 8] = b"HPLETT\x00\x01";

/// Where the first frame starts.
const START: u64 = 512;

pub(crate) fn name(number: u64) -> String {
    format!("letter-{number:016x}")
}

pub(crate) fn incoming(number: u64) -> String {
    format!("incoming-{number:016x}")
}

/// The number in a letter file's name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix("letter-")?, 16).ok()?;
    // A file with another name is somebody else's, not ours to read or to sweep away.
    (*name == self::name(number)).then_some(number)
}

pub(crate) fn is_incoming(name: &str) -> bool {
    name.starts_with("incoming-")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameAt {
    /// Where it starts in the file.
    offset: u64,
    raw_len: u32,
    frame: Frame,
}

/// What a letter file holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub header: LetterHeader,
    pub len: u64,
    pub digest: [u8; 32],
    /// In reading order.
    frames: Vec<FrameAt>,
}

impl Index {
    pub fn encode(&self) -> Vec<u8> {
        let header = encode_header(&self.header);
        let mut out = Vec::with_capacity(64 + header.len() + self.frames.len() * 16);
        out.extend_from_slice(&(header.len() as u32).to_be_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.len.to_be_bytes());
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&(self.frames.len() as u32).to_be_bytes());
        for at in &self.frames {
            out.extend_from_slice(&at.offset.to_be_bytes());
            out.extend_from_slice(&at.raw_len.to_be_bytes());
            out.extend_from_slice(&at.frame.0.to_be_bytes());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Index, Error> {
        let mut reader = Reader(bytes);
        let header_len = reader.u32()? as usize;
        let header = row::decode_header(reader.take(header_len)?)?;
        let (len, digest) = (reader.u64()?, reader.array()?);
        let mut frames = Vec::new();
        let mut sum = 0u64;
        for _ in 0..reader.u32()? {
            let at = FrameAt { offset: reader.u64()?, raw_len: reader.u32()?, frame: Frame(reader.u32()?) };
            if !at.frame.is_sound() || at.raw_len as usize > FRAME {
                return Err(Error::Corrupt("a letter file has a frame that is too long".into()));
            }
            sum += u64::from(at.raw_len);
            frames.push(at);
        }
        reader.end()?;
        if sum != len {
            return Err(Error::Corrupt("a letter file's frames do not come to its length".into()));
        }
        Ok(Index { header, len, digest, frames })
    }

    /// Reads a letter file's index.
    pub fn read(file: &dyn DiskFile) -> Result<Index, Error> {
        let mut head = [0; 8 + 8 + 4 + 32];
        let len = file.len()?;
        if len < START {
            return Err(Error::Corrupt("a letter file is too short".into()));
        }
        file.read_at(0, &mut head)?;
        let mut reader = Reader(&head);
        if reader.take(8)? != MAGIC {
            return Err(Error::Corrupt("a letter file does not begin as one".into()));
        }
        let (at, index_len, digest): (u64, u32, [u8; 32]) = (reader.u64()?, reader.u32()?, reader.array()?);
        if at.checked_add(u64::from(index_len)).is_none_or(|end| end > len) {
            return Err(Error::Corrupt("a letter file ends before its index".into()));
        }
        let mut bytes = vec![0; index_len as usize];
        file.read_at(at, &mut bytes)?;
        if *blake3::hash(&bytes).as_bytes() != digest {
            return Err(Error::Corrupt("a letter file's index is damaged".into()));
        }
        Index::decode(&bytes)
    }

    /// The bytes `range` of the letter, cut at its end.
    pub fn read_range(&self, file: &dyn DiskFile, range: Range<u64>) -> Result<Vec<u8>, Error> {
        read_frames(file, &self.frames, range.start..range.end.min(self.len))
    }
}

fn read_frames(file: &dyn DiskFile, frames: &[FrameAt], range: Range<u64>) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    if range.start >= range.end {
        return Ok(out);
    }
    let mut at = 0u64;
    let mut skip = None;
    let mut stored = Vec::new();
    for frame in frames {
        let end = at + u64::from(frame.raw_len);
        if end > range.start && at < range.end {
            skip.get_or_insert_with(|| (range.start - at) as usize);
            stored.resize(frame.frame.stored_len(), 0);
            file.read_at(frame.offset, &mut stored)?;
            frames::decode_frame(frame.frame, &stored, frame.raw_len as usize, &mut out)?;
        }
        at = end;
    }
    let skip = skip.unwrap_or(0).min(out.len());
    out.drain(..skip);
    out.truncate((range.end - range.start) as usize);
    Ok(out)
}

/// A letter file being written.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    pub number: u64,
    file: Arc<dyn DiskFile>,
    offset: u64,
    frames: Vec<FrameAt>,
    /// What does not fill a frame yet.
    partial: Vec<u8>,
    len: u64,
    finished: bool,
}

impl Writer {
    pub fn create(shared: &Arc<Shared>) -> Result<Writer, Error> {
        let number = shared.options.random.u64();
        let file = shared.disk.create(&incoming(number))?;
        Ok(Writer {
            shared: shared.clone(),
            number,
            file,
            offset: START,
            frames: Vec::new(),
            partial: Vec::new(),
            len: 0,
            finished: false,
        })
    }

    pub fn write(&mut self, mut chunk: &[u8]) -> Result<(), Error> {
        self.len += chunk.len() as u64;
        while !chunk.is_empty() {
            let taken = chunk.len().min(FRAME - self.partial.len());
            self.partial.extend_from_slice(&chunk[..taken]);
            chunk = &chunk[taken..];
            if self.partial.len() == FRAME {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.partial.is_empty() {
            return Ok(());
        }
        let mut stored = Vec::with_capacity(self.partial.len());
        let frame = frames::encode_frame(&self.partial, &mut stored);
        self.file.write_at(self.offset, &stored)?;
        self.frames.push(FrameAt { offset: self.offset, raw_len: self.partial.len() as u32, frame });
        self.offset += stored.len() as u64;
        self.partial.clear();
        Ok(())
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// The first bytes so far, at most `most`.
    pub fn head(&self, most: usize) -> Result<Vec<u8>, Error> {
        let framed = self.len.min(most as u64);
        let mut out = read_frames(&*self.file, &self.frames, 0..framed)?;
        let more = self.partial.get(..most - out.len()).unwrap_or(&self.partial);
        out.extend_from_slice(more);
        Ok(out)
    }

    /// All bytes so far.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        let mut out = read_frames(&*self.file, &self.frames, 0..self.len)?;
        out.extend_from_slice(&self.partial);
        Ok(out)
    }

    /// Ends the file with `prefix` before what was written, syncs it and gives it its name. From here on the letter file
    /// is counted among the live ones.
    pub fn finish(mut self, header: LetterHeader, prefix: &[u8]) -> Result<(u64, Arc<Index>), Error> {
        self.flush()?;
        let mut ordered = std::mem::take(&mut self.frames);
        self.len += prefix.len() as u64;
        for chunk in prefix.chunks(FRAME) {
            self.partial.extend_from_slice(chunk);
            self.flush()?;
        }
        let mut frames = std::mem::take(&mut self.frames);
        frames.append(&mut ordered);
        // The checksum is over all bytes in reading order, and what is read first came last.
        let mut hasher = blake3::Hasher::new();
        for frame in &frames {
            let chunk = read_frames(&*self.file, std::slice::from_ref(frame), 0..u64::from(frame.raw_len))?;
            hasher.update(&chunk);
        }
        let index = Index { header, len: self.len, digest: *hasher.finalize().as_bytes(), frames };
        let bytes = index.encode();
        self.file.write_at(self.offset, &bytes)?;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&self.offset.to_be_bytes());
        head.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        head.extend_from_slice(blake3::hash(&bytes).as_bytes());
        self.file.write_at(0, &head)?;
        self.file.sync(Site::Letter)?;
        self.shared.live_files().insert(self.number);
        let named = self
            .shared
            .disk
            .rename(&incoming(self.number), &name(self.number))
            .and_then(|()| self.shared.disk.sync_dir(Site::LetterName));
        Counts::add(&self.shared.counts.syncs, 2);
        Counts::add(&self.shared.counts.letter_file_bytes, self.offset + bytes.len() as u64);
        if let Err(error) = named {
            self.shared.live_files().remove(&self.number);
            return Err(error.into());
        }
        self.finished = true;
        Ok((self.number, Arc::new(index)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is swept when the store opens.
            let _ = self.shared.disk.remove(&incoming(self.number));
            let _ = self.shared.disk.remove(&name(self.number));
        }
    }
}
