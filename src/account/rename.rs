//! A mailbox gets another name (RFC 9051 6.3.6).

use crate::base::{AccountId, MailboxId, Time, Uid};
use crate::store::Txn;

use super::change::Change;
use super::copy;
use super::mailbox::{self, MAX_MAILBOXES};
use super::rows::{Kind, What};
use super::{BATCH, Error, INBOX, name, view};

/// What renaming came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renamed {
    Done,
    /// INBOX was renamed: this mailbox was made, and INBOX's first [`BATCH`] messages are in it. The caller goes on with
    /// [`move_all`] until nothing is left of what was there.
    Inbox {
        to: MailboxId,
        upto: Uid,
    },
}

/// Renames a mailbox with all below it; names above `to` that are missing are made. Of INBOX the messages go to a new
/// mailbox, and it stays, as do the names below it.
///
/// Errors: [`Error::NoSuchMailbox`], [`Error::MailboxExists`], [`Error::Cannot`], [`Error::Limit`].
pub fn rename(txn: &mut Txn<'_>, account: AccountId, from: &str, to: &str, now: Time) -> Result<Renamed, Error> {
    let from = name::clean(from)?;
    let to = name::clean(to.strip_suffix('/').unwrap_or(to))?;
    if from == "INBOX" {
        let upto = Uid(mailbox::get(&*txn, account, INBOX)?.uid_next.saturating_sub(1));
        let mut change = Change::begin(txn, account)?;
        let to = mailbox::make(&mut change, to)?;
        let uids = view::uids(&*change.txn, account, INBOX, &[(1, upto.0)], BATCH)?;
        copy::relocate(&mut change, INBOX, &uids, to, now)?;
        change.finish()?;
        return Ok(Renamed::Inbox { to, upto });
    }
    let mut change = Change::begin(txn, account)?;
    let rows = mailbox::rows(&*change.txn, account)?;
    let moved: Vec<(MailboxId, String)> = rows
        .iter()
        .filter(|(_, row)| row.kind == Kind::Mailbox && (row.name == from || name::is_below(&row.name, &from)))
        .map(|(id, row)| (*id, format!("{to}{}", row.name.get(from.len()..).unwrap_or_default())))
        .collect();
    if moved.is_empty() {
        return Err(Error::NoSuchMailbox);
    }
    if name::is_below(&to, &from) {
        return Err(Error::Cannot("a mailbox cannot be put below itself"));
    }
    // Nothing may be there yet under the new name, nor below it.
    let taken =
        |row: &super::rows::MailboxRow| row.kind == Kind::Mailbox && (row.name == to || name::is_below(&row.name, &to));
    if rows.iter().any(|(_, row)| taken(row)) {
        return Err(Error::MailboxExists);
    }
    let missing: Vec<&str> = name::above(&to)
        .filter(|level| !rows.iter().any(|(_, row)| row.kind == Kind::Mailbox && row.name == *level))
        .collect();
    if rows.len() + missing.len() > MAX_MAILBOXES {
        return Err(Error::Limit("mailboxes"));
    }
    for level in missing {
        mailbox::take(&mut change, &rows, level.to_owned())?;
    }
    for (id, new) in moved {
        let new = name::clean(&new)?;
        // A subscription that waited for the name is the mailbox's now.
        let waiting = rows.iter().find(|(_, row)| row.kind == Kind::Subscription && row.name == new);
        if let Some((id, _)) = waiting {
            change.remove_mailbox(*id);
        }
        let row = change.mailbox(id)?;
        row.name = new;
        row.subscribed |= waiting.is_some();
        change.note(id, What::Renamed);
    }
    change.finish()?;
    Ok(Renamed::Done)
}

/// Goes on with renaming INBOX: moves at most [`BATCH`] of its messages up to a UID. True while there may be more.
pub fn move_all(txn: &mut Txn<'_>, account: AccountId, to: MailboxId, upto: Uid, now: Time) -> Result<bool, Error> {
    let mut change = Change::begin(txn, account)?;
    let uids = view::uids(&*change.txn, account, INBOX, &[(1, upto.0)], BATCH)?;
    copy::relocate(&mut change, INBOX, &uids, to, now)?;
    change.finish()?;
    Ok(uids.len() == BATCH)
}
