//! A letter made ready for a transaction: its bytes staged, its structure read and encoded, all outside of the writer.

use std::sync::Arc;

use crate::message::{self, Limits, Structure};
use crate::store::Staged;

use super::{Error, thread};

/// Cheap to clone, so that a closure that may run again can hold it.
#[derive(Clone)]
pub struct Letter {
    pub(super) staged: Staged,
    pub(super) structure: Arc<[u8]>,
    /// What ties it to other letters: see `thread.rs`.
    pub(super) keys: Arc<[u64]>,
    pub(super) size: u64,
}

impl Letter {
    /// Reads the staged bytes. Work linear in their number: for what is large, call it on a thread that may block.
    ///
    /// Errors: [`Error::Refused`] past a limit, [`Error::Store`] when the staged bytes cannot be read.
    pub fn read(staged: Staged, limits: &Limits) -> Result<Letter, Error> {
        let bytes = staged.bytes()?;
        let parsed = message::parse(&bytes, limits)?;
        Ok(Letter::from_parsed(staged, &bytes, &parsed))
    }

    /// The same where the staged bytes have been read already: `parsed` is what they (`bytes`) parse to.
    pub fn from_parsed(staged: Staged, bytes: &[u8], parsed: &message::Message<'_>) -> Letter {
        let header = usize::try_from(parsed.summary.header_bytes).ok().and_then(|end| bytes.get(..end));
        let keys = thread::keys(&message::thread_keys(header.unwrap_or_default()));
        Letter { size: parsed.summary.size, structure: parsed.encode().into(), keys: keys.into(), staged }
    }

    /// Its bytes, for whoever else they go to in the same transaction.
    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// Bytes of the letter.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The encoded [`Structure`].
    pub fn structure(&self) -> Result<Structure<'_>, Error> {
        Structure::decode(&self.structure).map_err(|error| Error::Corrupt(error.0))
    }
}
