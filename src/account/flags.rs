//! Flags of messages, and their changes.

use std::sync::Arc;

use crate::base::{AccountId, MailboxId, ModSeq, Uid};
use crate::store::Txn;

use super::change::{self, Change};
use super::rows::{KeywordSlot, MailboxRow, MessageRow};
use super::{BATCH, Error};

/// Keywords in use at once in a mailbox.
pub const MAX_KEYWORDS: usize = 100;
/// Bytes of a keyword.
pub const MAX_KEYWORD: usize = 100;

/// System flags as bits, and keywords. There is no `\Recent` (RFC 9051 2.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub system: u8,
    /// As written; compared without regard to case.
    pub keywords: Vec<Arc<str>>,
}

impl Flags {
    pub const SEEN: u8 = 1;
    pub const ANSWERED: u8 = 2;
    pub const FLAGGED: u8 = 4;
    pub const DELETED: u8 = 8;
    pub const DRAFT: u8 = 16;
    /// All bits that mean something.
    pub(super) const ALL: u8 = 31;

    pub fn system(bits: u8) -> Flags {
        Flags { system: bits, keywords: Vec::new() }
    }
}

/// RFC 9051 6.4.6: FLAGS, +FLAGS, -FLAGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Replace,
    Add,
    Remove,
}

/// A message and the flags it has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flagged {
    pub uid: Uid,
    /// Of the last change to this message.
    pub modseq: ModSeq,
    pub flags: Flags,
    /// False if it had these flags before.
    pub changed: bool,
}

/// Changes flags of at most [`BATCH`] messages; UIDs that are not there are left out.
///
/// Errors: [`Error::NoSuchMailbox`], [`Error::Limit`] when there would be too many keywords.
pub fn store(
    txn: &mut Txn<'_>,
    account: AccountId,
    mailbox: MailboxId,
    uids: &[Uid],
    mode: Mode,
    flags: &Flags,
) -> Result<Vec<Flagged>, Error> {
    let mut change = Change::begin(txn, account)?;
    let at = change.mailbox(mailbox)?;
    let bits = match mode {
        Mode::Replace | Mode::Add => take_slots(at, &flags.keywords)?,
        Mode::Remove => known_slots(at, &flags.keywords),
    };
    let system = flags.system & Flags::ALL;
    let mut out: Vec<(Uid, MessageRow, bool)> = Vec::with_capacity(uids.len().min(BATCH));
    for uid in uids.iter().take(BATCH) {
        let Some(old) = change::message(&*change.txn, account, mailbox, *uid)? else { continue };
        let mut new = old.clone();
        match mode {
            Mode::Replace => {
                new.system = system;
                new.set_keywords(bits);
            }
            Mode::Add => {
                new.system |= system;
                new.set_keywords(old.keywords() | bits);
            }
            Mode::Remove => {
                new.system &= !system;
                new.set_keywords(old.keywords() & !bits);
            }
        }
        let changed = new != old;
        if changed {
            change.flag_message(mailbox, *uid, &old, &mut new)?;
        }
        out.push((*uid, new, changed));
    }
    let names = Names::of(change.mailbox(mailbox)?);
    change.finish()?;
    Ok(out
        .into_iter()
        .map(|(uid, row, changed)| Flagged { uid, modseq: ModSeq(row.modseq), flags: names.flags(&row), changed })
        .collect())
}

/// A mailbox's keywords by slot, to turn rows into flags.
pub(super) struct Names(Vec<Arc<str>>);

impl Names {
    pub fn of(mailbox: &MailboxRow) -> Names {
        Names(mailbox.keywords.iter().map(|slot| slot.name.as_str().into()).collect())
    }

    pub fn flags(&self, row: &MessageRow) -> Flags {
        let mut flags = Flags::system(row.system);
        let mut bits = row.keywords();
        while bits != 0 {
            flags.keywords.extend(self.0.get(bits.trailing_zeros() as usize).cloned());
            bits &= bits - 1;
        }
        flags
    }

    /// The bit of a keyword.
    pub fn bit(&self, keyword: &str) -> Option<u128> {
        self.0.iter().position(|name| name.eq_ignore_ascii_case(keyword)).map(|slot| 1 << slot)
    }
}

/// The slots of these keywords in a mailbox, as bits; one that has none yet gets the first free one.
pub(super) fn take_slots<K: AsRef<str>>(mailbox: &mut MailboxRow, keywords: &[K]) -> Result<u128, Error> {
    let mut bits = 0u128;
    for keyword in keywords.iter().map(AsRef::as_ref) {
        // RFC 9051 9: a flag-keyword is an atom. What else there is to that, the grammar has seen to.
        if keyword.is_empty() || keyword.len() > MAX_KEYWORD || !keyword.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Cannot("that is not a keyword"));
        }
        let known = mailbox.keywords.iter().position(|slot| slot.name.eq_ignore_ascii_case(keyword));
        let free = || {
            let slots = mailbox.keywords.iter().enumerate();
            slots.filter(|(n, slot)| slot.uses == 0 && bits & (1 << n) == 0).map(|(n, _)| n).next()
        };
        let slot = match known.or_else(free) {
            Some(slot) => slot,
            None if mailbox.keywords.len() < MAX_KEYWORDS => {
                mailbox.keywords.push(KeywordSlot::default());
                mailbox.keywords.len() - 1
            }
            None => return Err(Error::Limit("keywords")),
        };
        if let Some(slot) = mailbox.keywords.get_mut(slot).filter(|slot| slot.uses == 0) {
            slot.name = keyword.to_owned();
        }
        bits |= 1 << slot;
    }
    Ok(bits)
}

fn known_slots(mailbox: &MailboxRow, keywords: &[Arc<str>]) -> u128 {
    let names = Names::of(mailbox);
    keywords.iter().filter_map(|keyword| names.bit(keyword)).fold(0, |bits, bit| bits | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_given_on_only_when_no_message_has_its_keyword() {
        let mut mailbox = MailboxRow::default();
        assert_eq!(take_slots(&mut mailbox, &["a", "b"]), Ok(0b11));
        mailbox.keywords[0].uses = 1;
        assert_eq!(take_slots(&mut mailbox, &["c", "A"]), Ok(0b11));
        assert_eq!((mailbox.keywords[0].name.as_str(), mailbox.keywords[1].name.as_str()), ("a", "c"));
        assert_eq!(take_slots(&mut mailbox, &["d", "e"]), Ok(0b110), "both are new: they do not share a slot");
    }

    #[test]
    fn keywords_have_limits() {
        let mut mailbox = MailboxRow::default();
        for n in 0..MAX_KEYWORDS {
            let bit = take_slots(&mut mailbox, &[format!("k{n}")]).unwrap();
            mailbox.keywords[bit.trailing_zeros() as usize].uses = 1;
        }
        assert_eq!(take_slots(&mut mailbox, &["more"]), Err(Error::Limit("keywords")));
        assert!(matches!(take_slots(&mut mailbox, &["a b"]), Err(Error::Cannot(_))));
        assert!(matches!(take_slots(&mut mailbox, &["a".repeat(MAX_KEYWORD + 1)]), Err(Error::Cannot(_))));
    }
}
