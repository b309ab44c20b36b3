//! Conversations: a letter joins the thread of any letter that has one of its keys.
//!
//! Its keys are digests of its Message-ID and of the ids it refers to. Kept rows: its own id, the first it refers to (the
//! root of the conversation) and the last (its parent), so that letters find each other also when the root never came.
//! Threads are not merged afterwards: an id once shown stays (A2).

use std::ops::ControlFlow;

use crate::base::{EmailId, ThreadId};
use crate::message::ThreadKeys;
use crate::store::{Order, Read, Table};

use super::Error;
use super::change::Change;
use super::rows;

/// Looked up for each letter; the ids nearest to it come first.
const LOOKED_UP: usize = 20;

/// Digests of the ids of a letter: its own first (or 0), then those it refers to.
pub(super) fn keys(keys: &ThreadKeys) -> Vec<u64> {
    let own = keys.message_id.as_deref().map_or(0, digest);
    std::iter::once(own).chain(keys.references.iter().map(|id| digest(id))).collect()
}

/// Under which of its keys a letter is kept: ascending, none twice.
pub(super) fn kept(keys: &[u64]) -> Vec<u64> {
    let mut kept: Vec<u64> =
        [keys.first(), keys.get(1), keys.last()].into_iter().flatten().copied().filter(|digest| *digest != 0).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// The thread of a new email: that of a letter with one of its keys, or one of its own; and its rows in table Threads.
pub(super) fn join(change: &mut Change<'_, '_>, email: EmailId, keys: &[u64]) -> Result<ThreadId, Error> {
    // Its own id (answers may have come before it), its parent, and so on up to the root.
    let own = keys.first().into_iter();
    let others = keys.get(1..).unwrap_or_default().iter().rev().take(LOOKED_UP);
    let mut thread = None;
    for digest in own.chain(others).filter(|digest| **digest != 0) {
        thread = find(&*change.txn, change, *digest)?;
        if thread.is_some() {
            break;
        }
    }
    let thread = thread.unwrap_or_else(|| {
        change.ledger.last_thread += 1;
        ThreadId(change.ledger.last_thread)
    });
    for digest in kept(keys) {
        let key = rows::thread_key(change.account, digest, email);
        change.txn.put(Table::Threads, key.as_ref(), thread.0.to_be_bytes().to_vec());
    }
    Ok(thread)
}

/// The oldest letter's thread under that key.
fn find(read: &dyn Read, change: &Change<'_, '_>, digest: u64) -> Result<Option<ThreadId>, Error> {
    let prefix = rows::account_key(change.account).u64(digest);
    let (lo, hi) = (prefix.clone().build(), prefix.after());
    let mut found = None;
    read.scan(Table::Threads, &lo, &hi, Order::Forward, &mut |_, value| {
        found = Some(rows::u64_at(value, 0));
        ControlFlow::Break(())
    })?;
    found.transpose().map(|thread| thread.map(ThreadId))
}

fn digest(id: &[u8]) -> u64 {
    let hash = blake3::hash(id);
    let mut first = [0u8; 8];
    for (to, from) in first.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    // 0 stands for "has none".
    u64::from_be_bytes(first).max(1)
}
