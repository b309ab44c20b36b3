//! Messages in a second mailbox (COPY), or in another one (MOVE). The email stays the same, its bytes are not doubled.

use crate::base::{AccountId, EmailId, MailboxId, Time, Uid};
use crate::store::Txn;

use super::change::{self, Change};
use super::flags::{self, Names};
use super::rows::{MessageRow, PlaceRow};
use super::{BATCH, Error, MAX_PLACES};

/// COPY is all or nothing (RFC 9051 6.4.7), so it is one transaction, of at most this many messages: about 4 MB of rows.
/// Who wants more copies in parts.
pub const MAX_COPY: usize = 25_000;

/// What was copied or moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Of the mailbox they are now in.
    pub uid_validity: u32,
    /// From which UID to which, ascending in both.
    pub pairs: Vec<(Uid, Uid)>,
}

/// Copies messages, with flags and internal date, all in one change; UIDs that are not there are left out.
///
/// Errors: [`Error::NoSuchMailbox`] for either, [`Error::Limit`] above [`MAX_COPY`] messages, or when keywords or copies
/// of one message would be too many.
pub fn copy(
    txn: &mut Txn<'_>,
    account: AccountId,
    from: MailboxId,
    uids: &[Uid],
    to: MailboxId,
    now: Time,
) -> Result<Copied, Error> {
    if uids.len() > MAX_COPY {
        return Err(Error::Limit("messages to copy at once"));
    }
    let mut change = Change::begin(txn, account)?;
    let mut keywords = Keywords::new(&mut change, from)?;
    let uid_validity = change.mailbox(to)?.uid_validity;
    let mut pairs = Vec::with_capacity(uids.len());
    for uid in uids {
        let Some(row) = change::message(&*change.txn, account, from, *uid)? else { continue };
        let mut email = change::email_of(&*change.txn, account, &row)?;
        if email.places.len() >= MAX_PLACES {
            return Err(Error::Limit("copies of one message"));
        }
        let id = EmailId(row.email);
        let new = place(&mut change, &mut keywords, row, to, now)?;
        email.places.push(PlaceRow { mailbox: to.0, uid: new.0 });
        change.put_email(id, &email);
        pairs.push((*uid, new));
    }
    change.finish()?;
    Ok(Copied { uid_validity, pairs })
}

/// Moves at most [`BATCH`] messages (RFC 6851 3.3: each of them is in one mailbox or the other, never in both or none).
/// The name cannot be `move`.
///
/// Errors: as [`copy`].
pub fn move_to(
    txn: &mut Txn<'_>,
    account: AccountId,
    from: MailboxId,
    uids: &[Uid],
    to: MailboxId,
    now: Time,
) -> Result<Copied, Error> {
    let mut change = Change::begin(txn, account)?;
    let uid_validity = change.mailbox(to)?.uid_validity;
    let pairs = relocate(&mut change, from, uids.get(..BATCH).unwrap_or(uids), to, now)?;
    change.finish()?;
    Ok(Copied { uid_validity, pairs })
}

/// Moves messages within a change.
pub(super) fn relocate(
    change: &mut Change<'_, '_>,
    from: MailboxId,
    uids: &[Uid],
    to: MailboxId,
    now: Time,
) -> Result<Vec<(Uid, Uid)>, Error> {
    let mut keywords = Keywords::new(change, from)?;
    let mut pairs = Vec::with_capacity(uids.len());
    for uid in uids {
        let Some(row) = change::message(&*change.txn, change.account, from, *uid)? else { continue };
        let mut email = change::email_of(&*change.txn, change.account, &row)?;
        let id = EmailId(row.email);
        let new = place(change, &mut keywords, row.clone(), to, now)?;
        change.remove_message(from, *uid, &row)?;
        email.places.retain(|place| *place != PlaceRow { mailbox: from.0, uid: uid.0 });
        email.places.push(PlaceRow { mailbox: to.0, uid: new.0 });
        change.put_email(id, &email);
        pairs.push((*uid, new));
    }
    Ok(pairs)
}

fn place(
    change: &mut Change<'_, '_>,
    keywords: &mut Keywords,
    mut row: MessageRow,
    to: MailboxId,
    now: Time,
) -> Result<Uid, Error> {
    let bits = keywords.translate(change, &row, to)?;
    row.set_keywords(bits);
    row.saved = now.0;
    change.add_message(to, row)
}

/// Keywords are bits of their mailbox: they change when a message goes to another.
struct Keywords {
    names: Names,
    /// What was last translated, since neighbours mostly have the same.
    last: Option<(u128, u128)>,
}

impl Keywords {
    fn new(change: &mut Change<'_, '_>, from: MailboxId) -> Result<Keywords, Error> {
        Ok(Keywords { names: Names::of(change.mailbox(from)?), last: None })
    }

    fn translate(&mut self, change: &mut Change<'_, '_>, row: &MessageRow, to: MailboxId) -> Result<u128, Error> {
        let bits = row.keywords();
        if bits == 0 {
            return Ok(0);
        }
        if let Some((from, to)) = self.last
            && from == bits
        {
            return Ok(to);
        }
        let translated = flags::take_slots(change.mailbox(to)?, &self.names.flags(row).keywords)?;
        self.last = Some((bits, translated));
        Ok(translated)
    }
}
