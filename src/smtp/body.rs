//! The text of a letter, on its way into the blob store.

use bytes::Bytes;

use crate::store::{self, Data, Sink};

/// Up to here a letter stays in memory, and taking a chunk of it does not touch the disk.
const SMALL: u64 = 192 * 1024;

#[derive(Default)]
pub(super) enum Body {
    #[default]
    None,
    Coming(Sink),
    Failed(store::Error),
}

impl Body {
    /// Takes the next piece. A failure is kept for the end: the peer is still talking.
    pub async fn take(&mut self, data: &Data, chunk: Bytes) {
        let mut sink = match std::mem::take(self) {
            Body::None => data.blobs().sink(),
            Body::Coming(sink) => sink,
            Body::Failed(error) => {
                *self = Body::Failed(error);
                return;
            }
        };
        let taken = if sink.len() + (chunk.len() as u64) <= SMALL {
            sink.write(&chunk).map(|()| sink)
        } else {
            let write = tokio::task::spawn_blocking(move || sink.write(&chunk).map(|()| sink));
            write.await.unwrap_or_else(|error| Err(store::Error::Panicked(error.to_string())))
        };
        *self = match taken {
            Ok(sink) => Body::Coming(sink),
            Err(error) => Body::Failed(error),
        };
    }
}
