//! A letter that comes over a connection, chunk by chunk.

use bytes::Bytes;

use super::{Blobs, Sink};
use crate::store::Error;

/// What came of a letter so far, or why it cannot be kept; at first, nothing.
#[derive(Default)]
pub struct Arriving(Option<Result<Sink, Error>>);

impl Arriving {
    /// Takes the next chunk, on a thread that may block if that touches the disk. A failure is kept for the end: the peer
    /// is still talking.
    pub async fn take(&mut self, blobs: &Blobs, chunk: Bytes) {
        let mut sink = match self.0.take() {
            None => blobs.sink(),
            Some(Ok(sink)) => sink,
            Some(Err(error)) => {
                self.0 = Some(Err(error));
                return;
            }
        };
        let in_memory = sink.stays_in_memory(chunk.len());
        let write = move || sink.write(&chunk).map(|()| sink);
        self.0 = Some(if in_memory {
            write()
        } else {
            let written = tokio::task::spawn_blocking(write).await;
            written.unwrap_or_else(|error| Err(Error::Panicked(error.to_string())))
        });
    }

    /// All of it, and from here on nothing of the next one. A letter without any byte is one, too.
    pub fn end(&mut self, blobs: &Blobs) -> Result<Sink, Error> {
        self.0.take().unwrap_or_else(|| {
            let mut sink = blobs.sink();
            sink.write(b"").map(|()| sink)
        })
    }

    /// Forgets what came.
    pub fn abort(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::Data;
    use crate::store::blob::LetterHeader;
    use crate::store::data::Options;
    use crate::store::disk::SimDisk;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    fn store(disk: &SimDisk) -> Data {
        let options = Options { letter_bytes: 8 << 10, ballast_bytes: 0, ..Options::default() };
        Data::open(Arc::new(disk.clone()), options).unwrap()
    }

    #[test]
    fn small_and_large_come_whole_and_one_at_a_time() {
        run(async {
            let data = store(&SimDisk::sound());
            let blobs = data.blobs();
            let mut arriving = Arriving::default();
            for chunks in [0, 1, 7, 40] {
                let mut whole = Vec::new();
                for n in 0..chunks {
                    let chunk = vec![n; 1000];
                    whole.extend_from_slice(&chunk);
                    arriving.take(blobs, chunk.into()).await;
                }
                let staged = arriving.end(blobs).unwrap().finish(LetterHeader::default(), b"").unwrap();
                assert_eq!(staged.bytes().unwrap(), whole, "{chunks} chunks");
            }
            arriving.take(blobs, Bytes::from_static(b"never mind")).await;
            arriving.abort();
            assert!(arriving.end(blobs).unwrap().is_empty());
        });
    }

    #[test]
    fn a_failure_is_told_at_the_end_and_once() {
        run(async {
            let disk = SimDisk::sound();
            let data = store(&disk);
            let mut arriving = Arriving::default();
            disk.set_capacity(Some(0));
            for _ in 0..100 {
                arriving.take(data.blobs(), vec![0; 1000].into()).await;
            }
            disk.set_capacity(None);
            arriving.take(data.blobs(), vec![0; 1000].into()).await;
            assert_eq!(arriving.end(data.blobs()).err(), Some(Error::Full));
            assert!(arriving.end(data.blobs()).is_ok());
        });
    }
}
