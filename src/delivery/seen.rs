//! Letters whose acceptance the peer may not have read (P3): it will present them again, and they must not come twice.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::base::Time;
use crate::store::{self, Order, Read, Table, Txn};

use super::envelope::Envelope;

/// How long an unconfirmed acceptance is remembered.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How often those whose day is over are looked for.
const SWEEP_MS: u64 = 60 * 60 * 1000;
/// Confirmations that wait for the next transaction to carry them; older ones are dropped, which only means that the
/// letter is remembered for its day.
const WAITING: usize = 1000;

/// Peer, envelope and bytes as one digest.
pub(super) fn digest(envelope: &Envelope, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(envelope.origin.peer.to_canonical().to_string().as_bytes());
    field(envelope.from.as_deref().unwrap_or_default().as_bytes());
    let mut recipients: Vec<&str> = envelope.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
    recipients.sort_unstable();
    for recipient in recipients {
        field(recipient.as_bytes());
    }
    // Handed in for now it is another one than for later.
    if envelope.release.is_some() {
        field(b"later");
    }
    field(blake3::hash(body).as_bytes());
    *hasher.finalize().as_bytes()
}

/// Whether it was accepted already and nobody knows whether the peer has read so.
pub(super) fn was_taken(read: &dyn Read, digest: &[u8; 32], now: Time) -> Result<bool, store::Error> {
    let Some(value) = read.get(Table::Unconfirmed, digest)? else { return Ok(false) };
    Ok(is_fresh(&value, now))
}

pub(super) fn take(txn: &mut Txn<'_>, digest: &[u8; 32], now: Time) {
    txn.put(Table::Unconfirmed, digest, now.0.to_be_bytes().to_vec());
}

/// Those whose day is over, some of them (P7: nobody else forgets a letter whose sender went away).
pub(super) fn expired(read: &dyn Read, now: Time) -> Result<Vec<[u8; 32]>, store::Error> {
    let mut old = Vec::new();
    read.scan(Table::Unconfirmed, &[], &[0xff; 33], Order::Forward, &mut |key, value| {
        if let (Ok(digest), true) = (<[u8; 32]>::try_from(key), !is_fresh(value, now)) {
            old.push(digest);
        }
        if old.len() < WAITING { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(old)
}

fn is_fresh(value: &[u8], now: Time) -> bool {
    let taken = <[u8; 8]>::try_from(value).map(i64::from_be_bytes).unwrap_or(i64::MIN);
    now.0.checked_sub(taken).and_then(i64::checked_abs).is_some_and(|age| age < DAY_MS)
}

/// Digests whose acceptance was read. Forgetting one costs a row, so it rides with the next letter's transaction.
#[derive(Clone, Default)]
pub(super) struct Confirmed(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    digests: VecDeque<[u8; 32]>,
    /// When those whose day is over were last looked for.
    swept: Option<Time>,
}

impl Confirmed {
    pub fn add(&self, digest: [u8; 32]) {
        let mut waiting = self.lock();
        if waiting.digests.len() >= WAITING {
            waiting.digests.pop_front();
        }
        waiting.digests.push_back(digest);
    }

    /// Those to forget in the transaction being prepared; if it fails they are added again.
    pub fn drain(&self) -> Vec<[u8; 32]> {
        self.lock().digests.drain(..).collect()
    }

    /// Once an hour.
    pub fn sweep_is_due(&self, now: Time) -> bool {
        let mut waiting = self.lock();
        let due = waiting.swept.is_none_or(|swept| now.0.abs_diff(swept.0) >= SWEEP_MS);
        if due {
            waiting.swept = Some(now);
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
