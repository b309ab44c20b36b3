//! A mailbox goes (RFC 9051 6.3.5), and an account.
//!
//! Both in two acts: the first, durable by itself, takes it out of sight; then its rows go, at most [`BATCH`] in one
//! closure. What a cut leaves half done, [`resume`] ends at the next start.

use std::ops::ControlFlow;

use crate::base::{AccountId, BlobId, MailboxId};
use crate::store::{Committed, Data, Order, Read, Table, Txn};

use super::change::{self, Change};
use super::rows::{self, EmailRow, Kind, MailboxRow, What};
use super::{BATCH, Error, expunge, mailbox, name, view};

/// Takes a mailbox out of sight, with the first [`BATCH`] of its messages. True if it is not yet empty: then go on with
/// [`clear`]. Its name stays subscribed if it was (RFC 9051 6.3.7), names below it stay as they are.
///
/// Errors: [`Error::NoSuchMailbox`], [`Error::HasChildren`] for a name that only stands above others,
/// [`Error::Cannot`] for INBOX.
pub fn delete(txn: &mut Txn<'_>, account: AccountId, name: &str) -> Result<Option<MailboxId>, Error> {
    let name = name::clean(name).map_err(|_| Error::NoSuchMailbox)?;
    if name == "INBOX" {
        return Err(Error::Cannot("INBOX cannot be deleted"));
    }
    let mut change = Change::begin(txn, account)?;
    let rows = mailbox::rows(&*change.txn, account)?;
    let live = |row: &MailboxRow| row.kind == Kind::Mailbox;
    let Some((id, row)) = rows.iter().find(|(_, row)| live(row) && row.name == name) else {
        let above = rows.iter().any(|(_, row)| live(row) && name::is_below(&row.name, &name));
        return Err(if above { Error::HasChildren } else { Error::NoSuchMailbox });
    };
    let gone = change.mailbox(*id)?;
    gone.kind = Kind::Leaving;
    gone.name = String::new();
    gone.special = 0;
    gone.subscribed = false;
    change.note(*id, What::Deleted);
    if row.subscribed {
        mailbox::remember(&mut change, name)?;
    }
    let more = empty(&mut change, *id)?;
    change.finish()?;
    Ok(more.then_some(*id))
}

/// Removes the next [`BATCH`] messages of a mailbox that was deleted, then its row. True while there is more.
pub fn clear(txn: &mut Txn<'_>, account: AccountId, mailbox: MailboxId) -> Result<bool, Error> {
    if change::mailbox(&*txn, account, mailbox)?.is_none_or(|row| row.kind != Kind::Leaving) {
        return Ok(false);
    }
    let mut change = Change::begin(txn, account)?;
    let more = empty(&mut change, mailbox)?;
    change.finish()?;
    Ok(more)
}

fn empty(change: &mut Change<'_, '_>, mailbox: MailboxId) -> Result<bool, Error> {
    let uids = view::all_uids(&*change.txn, change.account, mailbox, BATCH)?;
    for uid in &uids {
        expunge::remove(change, mailbox, *uid)?;
    }
    if uids.len() < BATCH {
        change.note(mailbox, What::Deleted);
        change.remove_mailbox(mailbox);
        return Ok(false);
    }
    Ok(true)
}

/// Deletes a mailbox to the end. What is told is durable.
pub async fn delete_mailbox(data: &Data, account: AccountId, name: String) -> Result<Committed<()>, Error> {
    let done = data.write(move |txn| delete(txn, account, &name)).await?;
    if let Some(id) = done.value {
        while data.write(move |txn| clear(txn, account, id)).await?.value {}
    }
    Ok(Committed { value: (), durable: done.durable })
}

/// Closes an account: nothing is let in, nothing is shown any more. In the transaction in which the directory removes its
/// own rows; then [`remove`] until it says false.
pub fn close(txn: &mut Txn<'_>, account: AccountId) -> Result<(), Error> {
    let mut ledger = change::ledger(&*txn, account)?.ok_or(Error::NoSuchAccount)?;
    ledger.closing = true;
    ledger.modseq += 1;
    let modseq = crate::base::ModSeq(ledger.modseq);
    txn.put(Table::Ledger, rows::account_key(account).as_ref(), rows::encode(&ledger));
    txn.announce(account, modseq);
    Ok(())
}

/// Removes the next [`BATCH`] rows of a closed account, its letters with them. True while there is more; with the last
/// row its ledger goes.
pub fn remove(txn: &mut Txn<'_>, account: AccountId) -> Result<bool, Error> {
    if change::ledger(&*txn, account)?.is_none_or(|ledger| !ledger.closing) {
        return Ok(false);
    }
    let (lo, hi) = (rows::account_key(account).build(), rows::account_key(account).after());
    for table in [Table::Emails, Table::Messages, Table::Threads, Table::Changes, Table::Mailboxes] {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut blobs: Vec<Result<BlobId, Error>> = Vec::new();
        txn.scan(table, &lo, &hi, Order::Forward, &mut |key, value| {
            keys.push(key.to_vec());
            if table == Table::Emails && key.last() == Some(&0) {
                blobs.push(rows::decode::<EmailRow>("email", value).map(|row| BlobId(row.blob)));
            }
            if keys.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for key in &keys {
            txn.delete(table, key);
        }
        for blob in blobs.into_iter().flatten() {
            txn.release(blob)?;
        }
        if keys.len() >= BATCH {
            return Ok(true);
        }
    }
    txn.delete(Table::Ledger, &lo);
    Ok(false)
}

/// Removes a closed account to the end.
pub async fn remove_account(data: &Data, account: AccountId) -> Result<(), Error> {
    while data.write(move |txn| remove(txn, account)).await?.value {}
    Ok(())
}

/// Ends what a cut left half done: closed accounts and deleted mailboxes that still have rows. Once at each start.
pub async fn resume(data: &Data) -> Result<(), Error> {
    let mut closed = Vec::new();
    let mut leaving = Vec::new();
    {
        let snapshot = data.read()?;
        for account in accounts(&snapshot)? {
            if change::ledger(&snapshot, account)?.is_some_and(|ledger| ledger.closing) {
                closed.push(account);
                continue;
            }
            let rows = mailbox::rows(&snapshot, account)?;
            leaving.extend(rows.iter().filter(|(_, row)| row.kind == Kind::Leaving).map(|(id, _)| (account, *id)));
        }
    }
    for account in closed {
        remove_account(data, account).await?;
    }
    for (account, mailbox) in leaving {
        while data.write(move |txn| clear(txn, account, mailbox)).await?.value {}
    }
    Ok(())
}

/// Every account that has a ledger, by id.
pub fn accounts(read: &dyn Read) -> Result<Vec<AccountId>, Error> {
    let mut out = Vec::new();
    let mut failed = None;
    read.scan(Table::Ledger, &[], &[0xff; 32], Order::Forward, &mut |key, _| match rows::u32_at(key, 0) {
        Ok(id) => {
            out.push(AccountId(id));
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(out), Err)
}
