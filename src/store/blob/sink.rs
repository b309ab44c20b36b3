//! Letters on their way in: taken in pieces, then waiting for the transaction that names them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::LetterHeader;
use super::file::{self, Index, Writer};
use super::frames::{self, Frame};
use super::row::encode_header;
use crate::base::BlobId;
use crate::store::Error;
use crate::store::data::shared::{Home, Shared, lock};

/// A body on its way in: in memory up to 256 KiB (all of them together capped), then in a file.
pub struct Sink {
    shared: Arc<Shared>,
    state: State,
    /// Bytes counted against the cap.
    counted: usize,
    failed: Option<Error>,
}

enum State {
    Memory(Vec<u8>),
    File(Writer),
}

impl Sink {
    pub(crate) fn new(shared: Arc<Shared>) -> Sink {
        Sink { shared, state: State::Memory(Vec::new()), counted: 0, failed: None }
    }

    /// Takes more bytes. After an error the sink takes nothing and cannot be finished. [`Error::Full`] when there is no
    /// room for new letters.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let taken = self.take(chunk);
        if let Err(error) = &taken {
            self.failed = Some(error.clone());
        }
        taken
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Error> {
        if self.shared.is_low() {
            return Err(Error::Full);
        }
        if let State::Memory(bytes) = &mut self.state {
            if bytes.len() + chunk.len() <= self.shared.options.letter_bytes && reserve(&self.shared, chunk.len()) {
                self.counted += chunk.len();
                bytes.extend_from_slice(chunk);
                return Ok(());
            }
            let mut writer = Writer::create(&self.shared)?;
            writer.write(bytes)?;
            self.state = State::File(writer);
            self.shared.staged_bytes.fetch_sub(std::mem::take(&mut self.counted), Ordering::Relaxed);
        }
        match &mut self.state {
            State::File(writer) => writer.write(chunk),
            State::Memory(_) => Ok(()),
        }
    }

    /// Whether so many bytes more can be taken without touching the disk, unless all letters together are too many.
    pub(crate) fn stays_in_memory(&self, more: usize) -> bool {
        match &self.state {
            State::Memory(bytes) => bytes.len() + more <= self.shared.options.letter_bytes,
            State::File(_) => false,
        }
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        match &self.state {
            State::Memory(bytes) => bytes.len() as u64,
            State::File(writer) => writer.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends it with `prefix` (trace header fields, known only now) before what was written. A file is synced here.
    pub fn finish(mut self, header: LetterHeader, prefix: &[u8]) -> Result<Staged, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let state = std::mem::replace(&mut self.state, State::Memory(Vec::new()));
        let (body, len, digest) = match state {
            State::Memory(bytes) => {
                let raw = if prefix.is_empty() { bytes } else { [prefix, &bytes].concat() };
                let mut stored = Vec::new();
                let frames = frames::encode(&raw, &mut stored);
                let (len, digest) = (raw.len() as u64, *blake3::hash(&raw).as_bytes());
                let raw = Bytes::from(raw);
                let stored = if stored.len() == raw.len() { raw.clone() } else { stored.into() };
                (Body::Memory { header: encode_header(&header), raw, stored, frames }, len, digest)
            }
            State::File(writer) => {
                let (number, index) = writer.finish(header, prefix)?;
                let (len, digest) = (index.len, index.digest);
                (Body::File { number, index }, len, digest)
            }
        };
        let counted = std::mem::take(&mut self.counted);
        let naming = Mutex::new(Naming::Free);
        Ok(Staged { inner: Arc::new(Inner { shared: self.shared.clone(), body, len, digest, counted, naming }) })
    }

    /// The first bytes written so far, at most `most`.
    pub fn head(&self, most: usize) -> Result<Bytes, Error> {
        match &self.state {
            State::Memory(bytes) => Ok(Bytes::copy_from_slice(bytes.get(..most).unwrap_or(bytes))),
            State::File(writer) => Ok(writer.head(most)?.into()),
        }
    }

    /// All bytes written so far, for parsing before the end.
    pub fn bytes(&self) -> Result<Bytes, Error> {
        match &self.state {
            State::Memory(bytes) => Ok(Bytes::copy_from_slice(bytes)),
            State::File(writer) => Ok(writer.bytes()?.into()),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.staged_bytes.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Counts bytes against the cap of all letters in memory; false if they are too many.
fn reserve(shared: &Shared, more: usize) -> bool {
    let cap = shared.options.staged_bytes;
    shared
        .staged_bytes
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(more).filter(|sum| *sum <= cap))
        .is_ok()
}

/// Bytes that wait for a transaction to name them; dropped unnamed, they are forgotten. Cheap to clone.
#[derive(Clone)]
pub struct Staged {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    body: Body,
    len: u64,
    digest: [u8; 32],
    counted: usize,
    naming: Mutex<Naming>,
}

pub(crate) enum Body {
    Memory {
        /// CBOR of the `LetterHeader`.
        header: Vec<u8>,
        raw: Bytes,
        /// The frames one after another.
        stored: Bytes,
        frames: Vec<Frame>,
    },
    File {
        number: u64,
        index: Arc<Index>,
    },
}

/// Whether a transaction has named staged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// None has.
    Free,
    /// One does whose outcome is not known (yet).
    Claimed,
    Named(BlobId),
}

impl Staged {
    pub fn len(&self) -> u64 {
        self.inner.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// BLAKE3 of the bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.inner.digest
    }

    /// The bytes themselves, uncompressed.
    pub fn bytes(&self) -> Result<Bytes, Error> {
        match &self.inner.body {
            Body::Memory { raw, .. } => Ok(raw.clone()),
            Body::File { number, index } => {
                let shared = &self.inner.shared;
                let open = shared.handles.get(&*shared.disk, Home::File(*number))?;
                Ok(index.read_range(&*open.file, 0..self.inner.len)?.into())
            }
        }
    }

    pub(crate) fn body(&self) -> &Body {
        &self.inner.body
    }

    /// The same for clones of one staged letter, and for no other that is alive.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner) as usize
    }

    pub(crate) fn naming(&self) -> Naming {
        *lock(&self.inner.naming)
    }

    pub(crate) fn set_naming(&self, naming: Naming) {
        *lock(&self.inner.naming) = naming;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.staged_bytes.fetch_sub(self.counted, Ordering::Relaxed);
        if let Body::File { number, .. } = &self.body {
            if *lock(&self.naming) == Naming::Free {
                self.shared.handles.forget(Home::File(*number));
                // What cannot be removed now is swept later.
                let _ = self.shared.disk.remove(&file::name(*number));
            }
            self.shared.live_files().remove(number);
        }
    }
}
