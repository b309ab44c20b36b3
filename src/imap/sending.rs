//! The letters that a page of FETCH announced, read a little ahead of the peer.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::blocking;
use crate::account::Error;
use crate::base::BlobId;
use crate::store::blob::Piece;
use crate::store::{self, Held};

/// Bytes read at a time; twice that may lie ready. A letter that is longer is read as it is asked for.
const AHEAD: u64 = 256 * 1024;

/// Reads in the order of the announcement: while a batch is sent, the next is read.
pub(super) struct Sending {
    held: Arc<Held>,
    ready: VecDeque<Piece>,
    coming: Option<JoinHandle<Result<Vec<Piece>, store::Error>>>,
    /// Announced ranges before this one were read, or are being read.
    next: usize,
}

impl Sending {
    pub fn new(held: Held) -> Sending {
        Sending { held: Arc::new(held), ready: VecDeque::new(), coming: None, next: 0 }
    }

    /// Bytes of what was announced. Any range can be asked for; the whole ones, in their order, are there soonest.
    pub async fn read(&mut self, blob: BlobId, range: Range<u64>) -> Result<Bytes, Error> {
        if self.ready.is_empty()
            && let Some(coming) = self.coming.take()
        {
            // What could not be read ahead is tried again when it is asked for, and then known to be at fault.
            self.ready = coming.await.map(Result::unwrap_or_default).unwrap_or_default().into();
        }
        let next = self.ready.pop_front_if(|piece| piece.blob == blob && piece.range == range);
        let bytes = match next {
            Some(piece) => piece.bytes,
            None => {
                self.ready.clear();
                self.coming = None;
                let at = self.held.position(blob, &range, 0);
                let held = self.held.clone();
                let bytes = blocking(move || Ok(held.read(blob, range)?)).await?;
                // A piece of a long letter, or of a letter of which a piece is wanted: nothing is known of what is next.
                let Some(at) = at else { return Ok(bytes) };
                self.next = at + 1;
                bytes
            }
        };
        if self.coming.is_none() {
            let announced = self.held.next(self.next, AHEAD);
            if !announced.is_empty() {
                self.next = announced.end;
                let held = self.held.clone();
                self.coming = Some(tokio::task::spawn_blocking(move || held.read_all(announced)));
            }
        }
        Ok(bytes)
    }
}
