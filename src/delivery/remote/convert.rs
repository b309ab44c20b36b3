//! A letter for a server that takes seven bits only (RFC 6152 3).

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use super::{Sender, Trouble, World};
use crate::delivery::checks;
use crate::message::{self, convert};
use crate::queue::Entry;
use crate::store;

/// The longest letter that is converted, in octets: it is in memory until it has been sent.
const LONGEST: u64 = 8 << 20;
/// Letters that are converted at the same time.
pub(super) const AT_ONCE: usize = 2;

pub(super) struct Converted {
    pub bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// The letter in seven bits, signed again by whoever signed it here. `None`: it cannot be had like this. Errors: not now.
pub(super) async fn seven_bit<W: World>(sender: &Arc<Sender<W>>, entry: &Entry) -> Result<Option<Converted>, Trouble> {
    if entry.size > LONGEST {
        info!(letter = %entry.id, octets = entry.size, "a letter is too long to be made one of seven bits");
        return Ok(None);
    }
    // RFC 3463 3.4: a fault of ours, which says nothing of the letter.
    let not_now = |why: &str| Trouble::later((4, 3, 0), format!("the letter could not be converted now: {why}"));
    let room = sender.converting.clone().acquire_owned().await.map_err(|_| not_now("we are going down"))?;
    let (sender, entry) = (sender.clone(), entry.clone());
    let convert = move || {
        let letter = sender.data.blobs().read(entry.blob, 0..entry.size);
        let letter = letter.inspect_err(|error| warn!(?error, "a letter cannot be read to be converted"))?;
        let converted = convert::seven_bit(&letter, &message::Limits::default());
        let converted = converted.inspect_err(|why| info!(letter = %entry.id, %why, "it cannot be said in seven bits"));
        let Ok(converted) = converted else { return Ok::<_, store::Error>(None) };
        // What others have signed they signed as it was (RFC 6376 5.3).
        let now = sender.clock.trusted().then(|| sender.clock.now());
        let signed = match entry.account {
            Some(_) => checks::sign_again(&sender.data, converted, now),
            None => converted,
        };
        Ok(Some(Bytes::from(signed)))
    };
    let bytes = tokio::task::spawn_blocking(convert).await.map_err(|_| not_now("a mistake of ours"))?;
    let bytes = bytes.map_err(|_| not_now("it cannot be read"))?;
    Ok(bytes.map(|bytes| Converted { bytes, _room: room }))
}
