//! What happened: the log read from a modseq on, and waiting for more of it (P6).

use std::collections::BTreeSet;

use std::ops::ControlFlow;

use crate::base::{AccountId, EmailId, MailboxId, ModSeq, Uid};
use crate::store::{Data, Order, Read, Table};

use super::rows::{self, ChangeRow, Kind};
use super::{Error, change};

/// The account's modseq: that of its last change. Errors: [`Error::NoSuchAccount`].
pub fn modseq(read: &dyn Read, account: AccountId) -> Result<ModSeq, Error> {
    let ledger = change::ledger(read, account)?.filter(|ledger| !ledger.closing).ok_or(Error::NoSuchAccount)?;
    Ok(ModSeq(ledger.modseq))
}

/// What happened to the messages of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Messages that are new and still there, ascending.
    pub arrived: Vec<Uid>,
    /// Messages whose flags changed, that were there before and still are, ascending.
    pub flags: Vec<Uid>,
    /// Messages that went, ascending; also such as came within the same time.
    pub expunged: Vec<Uid>,
    /// The account's modseq in this snapshot: ask from here the next time.
    pub upto: ModSeq,
    /// False if the log no longer reaches back to where it was asked from: something may be missing, look at everything.
    pub complete: bool,
}

/// What happened in a mailbox after `since`. That nothing did is found with two rows read.
///
/// Errors: [`Error::NoSuchMailbox`] when it was deleted.
pub fn since(read: &dyn Read, account: AccountId, mailbox: MailboxId, since: ModSeq) -> Result<Changes, Error> {
    let ledger = change::ledger(read, account)?.filter(|ledger| !ledger.closing).ok_or(Error::NoSuchMailbox)?;
    let row = change::mailbox(read, account, mailbox)?.filter(|row| row.kind == Kind::Mailbox);
    let row = row.ok_or(Error::NoSuchMailbox)?;
    let upto = ModSeq(ledger.modseq.max(since.0));
    let mut out = Changes { upto, complete: since.0 >= ledger.floor, ..Changes::default() };
    if row.modseq <= since.0 {
        return Ok(out);
    }
    let (mut arrived, mut flags, mut expunged) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    log(read, account, since, &mut |_, change| {
        for of in change.messages.iter().filter(|of| of.mailbox == mailbox.0) {
            arrived.extend(of.arrived.iter());
            flags.extend(of.flags.iter());
            expunged.extend(of.expunged.iter());
        }
    })?;
    flags.retain(|uid| !arrived.contains(uid) && !expunged.contains(uid));
    arrived.retain(|uid| !expunged.contains(uid));
    out.arrived = arrived.into_iter().map(Uid).collect();
    out.flags = flags.into_iter().map(Uid).collect();
    out.expunged = expunged.into_iter().map(Uid).collect();
    Ok(out)
}

/// What happened in the whole account: for who keeps a copy of it (an index, JMAP).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChanges {
    pub created: BTreeSet<EmailId>,
    pub destroyed: BTreeSet<EmailId>,
    /// Mailboxes in which anything changed, they themselves or their messages.
    pub mailboxes: BTreeSet<MailboxId>,
    pub upto: ModSeq,
    pub complete: bool,
}

/// What happened in an account after `since`. Errors: [`Error::NoSuchAccount`].
pub fn account_since(read: &dyn Read, account: AccountId, since: ModSeq) -> Result<AccountChanges, Error> {
    let ledger = change::ledger(read, account)?.filter(|ledger| !ledger.closing).ok_or(Error::NoSuchAccount)?;
    let upto = ModSeq(ledger.modseq.max(since.0));
    let mut out = AccountChanges { upto, complete: since.0 >= ledger.floor, ..AccountChanges::default() };
    log(read, account, since, &mut |_, change| {
        out.created.extend(change.created.iter().map(EmailId));
        out.destroyed.extend(change.destroyed.iter().map(EmailId));
        out.mailboxes.extend(change.messages.iter().map(|of| MailboxId(of.mailbox)));
        out.mailboxes.extend(change.mailboxes.iter().map(|of| MailboxId(of.mailbox)));
    })?;
    Ok(out)
}

/// Visits the log above `since`.
pub(super) fn log(
    read: &dyn Read,
    account: AccountId,
    since: ModSeq,
    visit: &mut dyn FnMut(ModSeq, ChangeRow),
) -> Result<(), Error> {
    let lo = rows::change_key(account, ModSeq(since.0.saturating_add(1))).build();
    let hi = rows::account_key(account).after();
    let mut failed = None;
    read.scan(Table::Changes, &lo, &hi, Order::Forward, &mut |key, value| match rows::u64_at(key, 4)
        .and_then(|modseq| Ok((modseq, rows::decode_change(value)?)))
    {
        Ok((modseq, change)) => {
            visit(ModSeq(modseq), change);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Waits for changes of one account. Announcements only wake it; what is true it reads from the ledger, so that none can
/// be lost, reordered, or told before it is durable.
pub struct Watcher {
    data: Data,
    account: AccountId,
    announced: tokio::sync::broadcast::Receiver<(AccountId, ModSeq)>,
}

impl Watcher {
    pub fn new(data: &Data, account: AccountId) -> Watcher {
        Watcher { data: data.clone(), account, announced: data.subscribe() }
    }

    /// Waits until the account's modseq is above `since`, and returns it; at once if it already is. May be dropped and
    /// called again. Errors: [`Error::NoSuchAccount`] when the account is deleted, [`Error::Store`] when the store closes.
    pub async fn beyond(&mut self, since: ModSeq) -> Result<ModSeq, Error> {
        use tokio::sync::broadcast::error::RecvError;
        loop {
            let now = {
                let snapshot = self.data.read()?;
                modseq(&snapshot, self.account)?
            };
            if now > since {
                return Ok(now);
            }
            loop {
                match self.announced.recv().await {
                    Ok((account, _)) if account != self.account => continue,
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(Error::Store(crate::store::Error::Closed)),
                }
            }
        }
    }
}
