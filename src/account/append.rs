//! A new letter in an account.

use crate::base::{AccountId, EmailId, MailboxId, ModSeq, ThreadId, Time, Uid};
use crate::store::{Table, Txn};

use super::change::Change;
use super::rows::{self, EmailRow, MessageRow, PlaceRow};
use super::{Error, Flags, Letter, flags, thread};

/// Into which mailbox, and with which flags.
#[derive(Clone, Debug)]
pub struct Place {
    pub mailbox: MailboxId,
    pub flags: Flags,
}

/// Where it came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub mailbox: MailboxId,
    pub uid_validity: u32,
    pub uid: Uid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub email: EmailId,
    pub thread: ThreadId,
    pub modseq: ModSeq,
    /// One for each place, in that order.
    pub places: Vec<Placed>,
}

/// Puts a letter into one account, in one or several mailboxes (one email, one reference to the bytes, one modseq).
///
/// `received` is the internal date, `now` when it is saved. With `quota` (bytes) given it is refused when the account
/// would hold more; delivery that already said yes passes `None`. Errors: [`Error::NoSuchAccount`],
/// [`Error::NoSuchMailbox`], [`Error::OverQuota`], [`Error::Limit`], [`Error::Cannot`] without any place.
pub fn append(
    txn: &mut Txn<'_>,
    account: AccountId,
    letter: &Letter,
    places: &[Place],
    received: Time,
    now: Time,
    quota: Option<u64>,
) -> Result<Appended, Error> {
    let mut change = Change::begin(txn, account)?;
    if places.is_empty() {
        return Err(Error::Cannot("a message has to lie in some mailbox"));
    }
    if places.len() > super::MAX_PLACES {
        return Err(Error::Limit("copies of one message"));
    }
    super::quota::admit(change.ledger.bytes, letter.size, quota)?;
    let blob = change.txn.attach(&letter.staged)?;
    change.ledger.last_email += 1;
    let email = EmailId(change.ledger.last_email);
    let thread = thread::join(&mut change, email, &letter.keys)?;
    let mut row = EmailRow {
        blob: blob.0,
        size: letter.size,
        received: received.0,
        thread: thread.0,
        places: Vec::with_capacity(places.len()),
        thread_keys: thread::kept(&letter.keys),
    };
    change.created(email, letter.size);
    let mut placed = Vec::with_capacity(places.len());
    for place in places {
        let mailbox = change.mailbox(place.mailbox)?;
        let uid_validity = mailbox.uid_validity;
        let keywords = flags::take_slots(mailbox, &place.flags.keywords)?;
        let mut message = MessageRow {
            email: email.0,
            system: place.flags.system & Flags::ALL,
            received: received.0,
            saved: now.0,
            size: letter.size,
            ..MessageRow::default()
        };
        message.set_keywords(keywords);
        let uid = change.add_message(place.mailbox, message)?;
        row.places.push(PlaceRow { mailbox: place.mailbox.0, uid: uid.0 });
        placed.push(Placed { mailbox: place.mailbox, uid_validity, uid });
    }
    change.put_email(email, &row);
    let key = rows::structure_key(account, email);
    change.txn.put(Table::Emails, key.as_ref(), letter.structure.to_vec());
    let modseq = change.finish()?;
    Ok(Appended { email, thread, modseq, places: placed })
}
