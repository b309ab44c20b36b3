//! A letter that leaves as another than it came: for a server that takes seven bits only (RFC 6152 3), and after a long wait with
//! signatures by the keys of today.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use super::{Sender, Trouble, World};
use crate::delivery::checks;
use crate::message::{self, convert, header};
use crate::queue::Entry;
use crate::queue::schedule::GIVE_UP;
use crate::store;

/// The longest letter that is converted, in octets: it is in memory until it has been sent.
const LONGEST: u64 = 8 << 20;
/// Letters that are converted at the same time.
pub(super) const AT_ONCE: usize = 2;

/// What is sent in place of a letter.
pub(super) struct Converted {
    pub bytes: Bytes,
    /// From where on the letter itself follows; `None`: it does not.
    pub rest: Option<u64>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Converted {
    /// Octets in all, of a letter of `size`.
    pub fn len(&self, size: u64) -> u64 {
        (self.bytes.len() as u64).saturating_add(self.rest.map_or(0, |rest| size.saturating_sub(rest)))
    }

    /// A piece of it: octets that are here, and which of the letter itself follow.
    pub fn piece(&self, range: Range<u64>) -> (Bytes, Option<Range<u64>>) {
        let here = self.bytes.len() as u64;
        let at = |at: u64| usize::try_from(at.min(here)).unwrap_or(self.bytes.len());
        let first = self.bytes.slice(at(range.start)..at(range.end.max(range.start)));
        let follows = |rest: u64| {
            let there = |at: u64| at.saturating_sub(here).saturating_add(rest);
            there(range.start)..there(range.end)
        };
        (first, self.rest.map(follows).filter(|more| !more.is_empty()))
    }
}

/// A letter that has waited for so long in the queue that the keys which signed it may be gone (`directory/rotation`), as those do
/// that are to leave later, and those that are held: with signatures of now in the place of the old ones. `None`: nothing of it is
/// ours to sign. Errors: not now.
pub(super) async fn fresh<W: World>(sender: &Arc<Sender<W>>, entry: &Entry) -> Result<Option<Converted>, Trouble> {
    let waited = sender.clock.now().0.saturating_sub(entry.queued.0);
    if entry.account.is_none() || waited < GIVE_UP {
        return Ok(None);
    }
    let not_now = |why: &str| Trouble::later((4, 3, 0), format!("the letter could not be signed now: {why}"));
    // All of it is in memory for as long as it is signed: a long one alone.
    let rooms = if entry.size > LONGEST { AT_ONCE } else { 1 };
    let rooms = u32::try_from(rooms).unwrap_or(1);
    let room = sender.converting.clone().acquire_many_owned(rooms).await.map_err(|_| not_now("we are going down"))?;
    let (sender, entry) = (sender.clone(), entry.clone());
    let sign = move || {
        let _room = room;
        let letter = sender.data.blobs().read(entry.blob, 0..entry.size);
        let letter = letter.inspect_err(|error| warn!(?error, "a letter cannot be read to be signed"))?;
        let (head, body) = letter.split_at(header::end(&letter));
        let now = sender.clock.trusted().then(|| sender.clock.now());
        let signed = checks::signed_again(&sender.data, head, body, now);
        Ok::<_, store::Error>(signed.map(|signed| (Bytes::from(signed), head.len() as u64)))
    };
    let signed = tokio::task::spawn_blocking(sign).await.map_err(|_| not_now("a mistake of ours"))?;
    let signed = signed.map_err(|_| not_now("it cannot be read"))?;
    Ok(signed.map(|(bytes, rest)| Converted { bytes, rest: Some(rest), _room: None }))
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
    Ok(bytes.map(|bytes| Converted { bytes, rest: None, _room: Some(room) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_head_is_sent_with_the_old_rest() {
        let letter: &[u8] = b"old head|the rest";
        let converted = Converted { bytes: Bytes::from_static(b"a head that is new|"), rest: Some(9), _room: None };
        let whole: &[u8] = b"a head that is new|the rest";
        assert_eq!(converted.len(letter.len() as u64), whole.len() as u64);
        for from in 0..whole.len() {
            for to in from..=whole.len() {
                let (mut got, more) = (Vec::new(), converted.piece(from as u64..to as u64));
                got.extend_from_slice(&more.0);
                let more = more.1.map(|more| &letter[more.start as usize..more.end as usize]);
                got.extend_from_slice(more.unwrap_or_default());
                assert_eq!(got, &whole[from..to], "{from}..{to}");
            }
        }
        let whole = Converted { rest: None, ..converted };
        assert_eq!((whole.len(17), whole.piece(15..40).0.len(), whole.piece(15..40).1), (19, 4, None));
    }
}
