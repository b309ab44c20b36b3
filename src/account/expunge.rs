//! Messages go (RFC 9051 6.4.3, 6.4.9).

use crate::base::{AccountId, EmailId, MailboxId, Uid};
use crate::store::Txn;

use super::change::{self, Change};
use super::rows::PlaceRow;
use super::{BATCH, Error, Flags};

/// Which of the named messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that have `\Deleted` now, whatever a snapshot said before.
    Deleted,
    /// All of them.
    Any,
}

/// Removes at most [`BATCH`] messages; with its last placement an email goes, and its bytes. Returns those removed,
/// ascending as they came. Errors: [`Error::NoSuchMailbox`].
pub fn expunge(
    txn: &mut Txn<'_>,
    account: AccountId,
    mailbox: MailboxId,
    uids: &[Uid],
    which: Which,
) -> Result<Vec<Uid>, Error> {
    let mut change = Change::begin(txn, account)?;
    change.mailbox(mailbox)?;
    let mut gone = Vec::new();
    for uid in uids.iter().take(BATCH) {
        if which == Which::Deleted {
            let row = change::message(&*change.txn, account, mailbox, *uid)?;
            if row.is_none_or(|row| row.system & Flags::DELETED == 0) {
                continue;
            }
        }
        if remove(&mut change, mailbox, *uid)? {
            gone.push(*uid);
        }
    }
    change.finish()?;
    Ok(gone)
}

/// Removes one message within a change; false if it is not there.
pub(super) fn remove(change: &mut Change<'_, '_>, mailbox: MailboxId, uid: Uid) -> Result<bool, Error> {
    let Some(row) = change::message(&*change.txn, change.account, mailbox, uid)? else { return Ok(false) };
    let mut email = change::email_of(&*change.txn, change.account, &row)?;
    let id = EmailId(row.email);
    change.remove_message(mailbox, uid, &row)?;
    email.places.retain(|place| *place != PlaceRow { mailbox: mailbox.0, uid: uid.0 });
    if email.places.is_empty() {
        change.destroy(id, &email)?;
    } else {
        change.put_email(id, &email);
    }
    Ok(true)
}
