//! Conversations: a letter joins the thread of any letter that has one of its keys.
//!
//! Its keys are digests of its Message-ID and of the ids it refers to. Kept rows: its own id, the first it refers to (the
//! root of the conversation) and the last (its parent), so that letters find each other also when the root never came.
//! Threads are not merged afterwards: an id once shown stays (A2).

use crate::message::ThreadKeys;

/// Digests of the ids of a letter: its own first (or 0), then those it refers to.
pub(super) fn keys(keys: &ThreadKeys) -> Vec<u64> {
    let own = keys.message_id.as_deref().map_or(0, digest);
    std::iter::once(own).chain(keys.references.iter().map(|id| digest(id))).collect()
}

fn digest(id: &[u8]) -> u64 {
    let hash = blake3::hash(id);
    let mut first = [0u8; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(first)
}
