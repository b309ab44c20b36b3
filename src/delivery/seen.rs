//! Letters whose acceptance the peer may not have read (P3): it will present them again, and they must not come twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::base::Time;
use crate::store::{self, Read, Table, Txn};

use super::envelope::Envelope;

/// How long an unconfirmed acceptance is remembered.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
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
    field(blake3::hash(body).as_bytes());
    *hasher.finalize().as_bytes()
}

/// Whether it was accepted already and nobody knows whether the peer has read so.
pub(super) fn was_taken(txn: &Txn<'_>, digest: &[u8; 32], now: Time) -> Result<bool, store::Error> {
    let Some(value) = txn.get(Table::Unconfirmed, digest)? else { return Ok(false) };
    let taken = <[u8; 8]>::try_from(value.as_slice()).map(i64::from_be_bytes).unwrap_or(i64::MIN);
    Ok(now.0.saturating_sub(taken).abs() < DAY_MS)
}

pub(super) fn take(txn: &mut Txn<'_>, digest: &[u8; 32], now: Time) {
    txn.put(Table::Unconfirmed, digest, now.0.to_be_bytes().to_vec());
}

/// Digests whose acceptance was read. Forgetting one costs a row, so it rides with the next letter's transaction.
#[derive(Clone, Default)]
pub(super) struct Confirmed(Arc<Mutex<VecDeque<[u8; 32]>>>);

impl Confirmed {
    pub fn add(&self, digest: [u8; 32]) {
        let mut waiting = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if waiting.len() >= WAITING {
            waiting.pop_front();
        }
        waiting.push_back(digest);
    }

    /// Those to forget in the transaction being prepared. If it fails they stay remembered for their day.
    pub fn drain(&self) -> Vec<[u8; 32]> {
        let mut waiting = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        waiting.drain(..).collect()
    }
}
