//! What SELECT needs to know of all messages of a mailbox, kept from one time to the next.
//!
//! Going over 100,000 rows takes ten milliseconds; the log says in less what happened since the last time (P6). What is kept
//! is only ever a shortcut: it follows from the rows, and can be forgotten at any time.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{AccountId, MailboxId, ModSeq, Uid};
use crate::store::Read;

use super::rows::{self, MessageRow};
use super::{Error, Flags, Mailbox, changes, view};

/// Mailboxes kept at once; with one more the one that was asked for the longest time ago is forgotten.
const KEPT: usize = 64;
/// Ranges of a mailbox that is kept: 80 KB each at most.
const RANGES: usize = 10_000;
/// Changes behind which the rows are gone over anew.
const BEHIND: u64 = 2_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// All UIDs, as ascending ranges, both ends in.
    pub ranges: Vec<(u32, u32)>,
    /// The first message without `\Seen`.
    pub first_unseen: Option<Uid>,
}

/// The overviews of mailboxes that were lately asked for.
#[derive(Default)]
pub struct Overviews {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    mailboxes: HashMap<(AccountId, MailboxId), Entry>,
    /// Counts up with each use.
    now: u64,
}

#[derive(Clone)]
struct Entry {
    overview: Arc<Overview>,
    /// It is as the mailbox was at this modseq of the account.
    upto: ModSeq,
    /// Messages below have `\Seen`.
    seen_below: Uid,
    used: u64,
}

impl Overviews {
    /// Of a mailbox, as `read` shows it.
    pub fn of(&self, read: &dyn Read, account: AccountId, mailbox: &Mailbox) -> Result<Arc<Overview>, Error> {
        let upto = changes::modseq(read, account)?;
        let key = (account, mailbox.id);
        // What another has kept from a later snapshot tells of messages that are not in this one.
        let kept = self.kept(key).filter(|entry| entry.upto <= upto && upto.0 - entry.upto.0 <= BEHIND);
        let followed = match kept {
            Some(entry) => follow(read, account, mailbox, entry)?,
            None => None,
        };
        let entry = match followed {
            Some(entry) => entry,
            None => look(read, account, mailbox, upto)?,
        };
        let overview = entry.overview.clone();
        if overview.ranges.len() <= RANGES {
            self.keep(key, entry);
        }
        Ok(overview)
    }

    fn kept(&self, key: (AccountId, MailboxId)) -> Option<Entry> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).mailboxes.get(&key).cloned()
    }

    fn keep(&self, key: (AccountId, MailboxId), entry: Entry) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.mailboxes.get(&key).is_some_and(|other| other.upto > entry.upto) {
            return;
        }
        kept.now += 1;
        let used = kept.now;
        kept.mailboxes.insert(key, Entry { used, ..entry });
        if kept.mailboxes.len() > KEPT
            && let Some(oldest) = kept.mailboxes.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key)
        {
            kept.mailboxes.remove(&oldest);
        }
    }
}

/// Goes over all rows.
fn look(read: &dyn Read, account: AccountId, mailbox: &Mailbox, upto: ModSeq) -> Result<Entry, Error> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut first = None;
    view::walk(read, account, mailbox.id, &[(1, u32::MAX)], Uid(0), &mut |uid, value| {
        push(&mut ranges, uid.0);
        if mailbox.unseen > 0 && first.is_none() && is_unseen(value) {
            first = Some(uid);
        }
        ControlFlow::Continue(())
    })?;
    Ok(entry(ranges, first, mailbox, upto))
}

/// Brings an overview up to date from the log; `None` if the log does not reach back so far.
fn follow(read: &dyn Read, account: AccountId, mailbox: &Mailbox, old: Entry) -> Result<Option<Entry>, Error> {
    let since = changes::since(read, account, mailbox.id, old.upto)?;
    if !since.complete {
        return Ok(None);
    }
    if since.arrived.is_empty() && since.flags.is_empty() && since.expunged.is_empty() {
        return Ok(Some(Entry { upto: since.upto, ..old }));
    }
    let mut ranges = without(&old.overview.ranges, &since.expunged);
    // New UIDs are above all that were there (A1).
    since.arrived.iter().for_each(|uid| push(&mut ranges, uid.0));
    let touched = since.flags.first().copied().into_iter().chain(since.arrived.first().copied());
    let seen_below = touched.fold(old.seen_below, Uid::min);
    let mut first = None;
    if mailbox.unseen > 0 {
        view::walk(read, account, mailbox.id, &[(seen_below.0, u32::MAX)], Uid(0), &mut |uid, value| {
            if is_unseen(value) {
                first = Some(uid);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(Some(entry(ranges, first, mailbox, since.upto)))
}

fn entry(ranges: Vec<(u32, u32)>, first_unseen: Option<Uid>, mailbox: &Mailbox, upto: ModSeq) -> Entry {
    let seen_below = first_unseen.unwrap_or(Uid(mailbox.uid_next));
    Entry { overview: Arc::new(Overview { ranges, first_unseen }), upto, seen_below, used: 0 }
}

fn is_unseen(value: &[u8]) -> bool {
    rows::decode::<MessageRow>("message", value).is_ok_and(|row| row.system & Flags::SEEN == 0)
}

fn push(ranges: &mut Vec<(u32, u32)>, uid: u32) {
    match ranges.last_mut() {
        Some(last) if last.1.checked_add(1) == Some(uid) => last.1 = uid,
        _ => ranges.push((uid, uid)),
    }
}

/// The ranges without these UIDs, both ascending.
fn without(ranges: &[(u32, u32)], gone: &[Uid]) -> Vec<(u32, u32)> {
    let mut out = Vec::with_capacity(ranges.len());
    let mut gone = gone.iter().map(|uid| uid.0).peekable();
    for &(first, last) in ranges {
        let mut from = first;
        let mut open = true;
        while let Some(uid) = gone.next_if(|uid| *uid <= last) {
            if uid < from {
                continue;
            }
            if uid > from {
                out.push((from, uid - 1));
            }
            match uid.checked_add(1).filter(|next| *next <= last) {
                Some(next) => from = next,
                None => {
                    open = false;
                    break;
                }
            }
        }
        if open {
            out.push((from, last));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_taken_out_of_ranges() {
        let gone = |uids: &[u32]| uids.iter().copied().map(Uid).collect::<Vec<_>>();
        let ranges = [(1, 5), (8, 8), (10, 12)];
        assert_eq!(without(&ranges, &gone(&[])), ranges);
        assert_eq!(without(&ranges, &gone(&[1, 3, 8, 9, 12, 13])), [(2, 2), (4, 5), (10, 11)]);
        assert_eq!(without(&ranges, &gone(&[5, 6, 10])), [(1, 4), (8, 8), (11, 12)]);
        assert_eq!(without(&ranges, &gone(&[1, 2, 3, 4, 5])), [(8, 8), (10, 12)]);
        assert_eq!(without(&[(7, u32::MAX)], &gone(&[u32::MAX])), [(7, u32::MAX - 1)]);
    }
}
