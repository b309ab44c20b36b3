//! One change of an account, from its first row to its line in the log.
//!
//! Whatever a transaction does to an account goes through one [`Change`]: it takes the next modseq, keeps the ledger and
//! the mailboxes that are touched at hand (so that counts are written once however many messages are touched), gathers
//! what the log has to say, and in [`Change::finish`] writes all that and announces the modseq (A8, P6). Dropped without
//! `finish`, nothing of the counts is written: the closure has to fail then, and the store undoes it.

use std::collections::BTreeMap;

use crate::base::{AccountId, EmailId, MailboxId, ModSeq, Uid};
use crate::store::{Read, Table, Txn};

use super::Error;
use super::rows::{
    self, ChangeRow, EmailRow, Kind, LedgerRow, MailboxChange, MailboxRow, MessageChanges, MessageRow, What,
};

/// Changes the log keeps of each account. Who comes from further back has to look at everything again.
pub(super) const LOG_KEPT: u64 = 100_000;

pub(super) struct Change<'t, 'a> {
    pub txn: &'t mut Txn<'a>,
    pub account: AccountId,
    pub modseq: ModSeq,
    pub ledger: LedgerRow,
    mailboxes: BTreeMap<MailboxId, MailboxRow>,
    messages: BTreeMap<MailboxId, MessageChanges>,
    log: ChangeRow,
}

impl<'t, 'a> Change<'t, 'a> {
    /// Errors: [`Error::NoSuchAccount`] if it was never opened or is being deleted.
    pub fn begin(txn: &'t mut Txn<'a>, account: AccountId) -> Result<Change<'t, 'a>, Error> {
        let ledger = ledger(&*txn, account)?.filter(|ledger| !ledger.closing).ok_or(Error::NoSuchAccount)?;
        Ok(Change::with(txn, account, ledger))
    }

    pub fn with(txn: &'t mut Txn<'a>, account: AccountId, ledger: LedgerRow) -> Change<'t, 'a> {
        Change {
            txn,
            account,
            modseq: ModSeq(ledger.modseq + 1),
            ledger,
            mailboxes: BTreeMap::new(),
            messages: BTreeMap::new(),
            log: ChangeRow::default(),
        }
    }

    /// A mailbox that people can see, to be changed.
    pub fn mailbox(&mut self, id: MailboxId) -> Result<&mut MailboxRow, Error> {
        let row = self.any_mailbox(id)?;
        if row.kind == Kind::Mailbox { Ok(row) } else { Err(Error::NoSuchMailbox) }
    }

    /// The same for a row of any kind.
    pub fn any_mailbox(&mut self, id: MailboxId) -> Result<&mut MailboxRow, Error> {
        match self.mailboxes.entry(id) {
            std::collections::btree_map::Entry::Occupied(row) => Ok(row.into_mut()),
            std::collections::btree_map::Entry::Vacant(space) => {
                let row = mailbox(&*self.txn, self.account, id)?.ok_or(Error::NoSuchMailbox)?;
                Ok(space.insert(row))
            }
        }
    }

    /// A new row in table Mailboxes, under an id never used before.
    pub fn add_mailbox(&mut self, row: MailboxRow) -> Result<MailboxId, Error> {
        self.ledger.last_mailbox = self.ledger.last_mailbox.checked_add(1).ok_or(Error::Limit("mailboxes"))?;
        let id = MailboxId(self.ledger.last_mailbox);
        let what = if row.kind == Kind::Subscription { What::Subscription } else { What::Created };
        self.mailboxes.insert(id, row);
        self.note(id, what);
        Ok(id)
    }

    pub fn remove_mailbox(&mut self, id: MailboxId) {
        self.mailboxes.remove(&id);
        self.txn.delete(Table::Mailboxes, rows::mailbox_key(self.account, id).as_ref());
    }

    /// Tells the log that a mailbox itself changed.
    pub fn note(&mut self, mailbox: MailboxId, what: What) {
        let change = MailboxChange { mailbox: mailbox.0, what };
        if !self.log.mailboxes.contains(&change) {
            self.log.mailboxes.push(change);
        }
    }

    fn of(&mut self, mailbox: MailboxId) -> &mut MessageChanges {
        self.messages
            .entry(mailbox)
            .or_insert_with(|| MessageChanges { mailbox: mailbox.0, ..MessageChanges::default() })
    }

    /// Puts a message at the mailbox's next UID and counts it. `row` has all but its modseq; keyword bits are this
    /// mailbox's.
    pub fn add_message(&mut self, mailbox: MailboxId, mut row: MessageRow) -> Result<Uid, Error> {
        row.modseq = self.modseq.0;
        let at = self.mailbox(mailbox)?;
        let uid = Uid(at.uid_next);
        // RFC 9051 2.3.1.1: UIDs are of 32 bits and only grow.
        at.uid_next = at.uid_next.checked_add(1).ok_or(Error::Limit("messages in this mailbox"))?;
        count(at, &row, true);
        self.of(mailbox).arrived.push(uid.0);
        let key = rows::message_key(self.account, mailbox, uid);
        self.txn.put(Table::Messages, key.as_ref(), rows::encode(&row));
        Ok(uid)
    }

    /// Takes a message row away and uncounts it. The email is the caller's to see to.
    pub fn remove_message(&mut self, mailbox: MailboxId, uid: Uid, row: &MessageRow) -> Result<(), Error> {
        count(self.any_mailbox(mailbox)?, row, false);
        self.of(mailbox).expunged.push(uid.0);
        self.txn.delete(Table::Messages, rows::message_key(self.account, mailbox, uid).as_ref());
        Ok(())
    }

    /// Writes a message whose flags were changed from those of `old`.
    pub fn flag_message(
        &mut self,
        mailbox: MailboxId,
        uid: Uid,
        old: &MessageRow,
        new: &mut MessageRow,
    ) -> Result<(), Error> {
        new.modseq = self.modseq.0;
        let at = self.mailbox(mailbox)?;
        count(at, new, true);
        count(at, old, false);
        self.of(mailbox).flags.push(uid.0);
        let key = rows::message_key(self.account, mailbox, uid);
        self.txn.put(Table::Messages, key.as_ref(), rows::encode(new));
        Ok(())
    }

    pub fn put_email(&mut self, id: EmailId, row: &EmailRow) {
        self.txn.put(Table::Emails, rows::email_key(self.account, id).as_ref(), rows::encode(row));
    }

    /// Counts a new email and tells the log.
    pub fn created(&mut self, id: EmailId, size: u64) {
        self.ledger.bytes += size;
        self.ledger.emails += 1;
        self.log.created.push(id.0);
    }

    /// Takes an email away that has no placement any more, and lets go of its bytes (A5).
    pub fn destroy(&mut self, id: EmailId, row: &EmailRow) -> Result<(), Error> {
        self.ledger.bytes = self.ledger.bytes.saturating_sub(row.size);
        self.ledger.emails = self.ledger.emails.saturating_sub(1);
        self.log.destroyed.push(id.0);
        self.txn.delete(Table::Emails, rows::email_key(self.account, id).as_ref());
        self.txn.delete(Table::Emails, rows::structure_key(self.account, id).as_ref());
        for digest in &row.thread_keys {
            self.txn.delete(Table::Threads, rows::thread_key(self.account, *digest, id).as_ref());
        }
        self.txn.release(crate::base::BlobId(row.blob))?;
        Ok(())
    }

    /// Writes ledger, mailboxes and log row, and announces the modseq. A change that touched nothing takes no modseq and
    /// leaves no trace; then the answer is the modseq of the change before.
    pub fn finish(mut self) -> Result<ModSeq, Error> {
        self.log.messages = std::mem::take(&mut self.messages).into_values().collect();
        if self.log == ChangeRow::default() {
            return Ok(ModSeq(self.ledger.modseq));
        }
        self.ledger.modseq = self.modseq.0;
        for changed in &self.log.messages {
            if let Some(row) = self.mailboxes.get_mut(&MailboxId(changed.mailbox)) {
                row.modseq = self.modseq.0;
            }
        }
        for changed in &self.log.mailboxes {
            if let Some(row) = self.mailboxes.get_mut(&MailboxId(changed.mailbox)) {
                row.modseq = self.modseq.0;
            }
        }
        for (id, row) in &self.mailboxes {
            self.txn.put(Table::Mailboxes, rows::mailbox_key(self.account, *id).as_ref(), rows::encode(row));
        }
        let key = rows::change_key(self.account, self.modseq);
        self.txn.put(Table::Changes, key.as_ref(), rows::encode(&self.log));
        // The log forgets its oldest row for each new one, and one more while it is too long.
        for _ in 0..2 {
            if self.ledger.floor + LOG_KEPT < self.ledger.modseq {
                self.ledger.floor += 1;
                self.txn.delete(Table::Changes, rows::change_key(self.account, ModSeq(self.ledger.floor)).as_ref());
            }
        }
        self.txn.put(Table::Ledger, rows::account_key(self.account).as_ref(), rows::encode(&self.ledger));
        self.txn.announce(self.account, self.modseq);
        Ok(self.modseq)
    }
}

pub(super) fn ledger(read: &dyn Read, account: AccountId) -> Result<Option<LedgerRow>, Error> {
    let bytes = read.get(Table::Ledger, rows::account_key(account).as_ref())?;
    bytes.map(|bytes| rows::decode("ledger", &bytes)).transpose()
}

pub(super) fn mailbox(read: &dyn Read, account: AccountId, id: MailboxId) -> Result<Option<MailboxRow>, Error> {
    let bytes = read.get(Table::Mailboxes, rows::mailbox_key(account, id).as_ref())?;
    bytes.map(|bytes| rows::decode("mailbox", &bytes)).transpose()
}

pub(super) fn message(
    read: &dyn Read,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<MessageRow>, Error> {
    let bytes = read.get(Table::Messages, rows::message_key(account, mailbox, uid).as_ref())?;
    bytes.map(|bytes| rows::decode("message", &bytes)).transpose()
}

pub(super) fn email(read: &dyn Read, account: AccountId, id: EmailId) -> Result<Option<EmailRow>, Error> {
    let bytes = read.get(Table::Emails, rows::email_key(account, id).as_ref())?;
    bytes.map(|bytes| rows::decode("email", &bytes)).transpose()
}

/// An email that a message row names: that it is missing is corruption (A4).
pub(super) fn email_of(read: &dyn Read, account: AccountId, row: &MessageRow) -> Result<EmailRow, Error> {
    email(read, account, EmailId(row.email))?
        .ok_or_else(|| Error::Corrupt(format!("a message names email {}, which is not there", row.email)))
}

/// Adds a message to a mailbox's counts, or takes it out (A3).
fn count(mailbox: &mut MailboxRow, row: &MessageRow, adding: bool) {
    let step = |n: &mut u32| *n = if adding { n.saturating_add(1) } else { n.saturating_sub(1) };
    step(&mut mailbox.messages);
    if row.system & super::Flags::SEEN == 0 {
        step(&mut mailbox.unseen);
    }
    if row.system & super::Flags::DELETED != 0 {
        step(&mut mailbox.deleted);
    }
    mailbox.bytes =
        if adding { mailbox.bytes.saturating_add(row.size) } else { mailbox.bytes.saturating_sub(row.size) };
    let mut bits = row.keywords();
    while bits != 0 {
        if let Some(slot) = mailbox.keywords.get_mut(bits.trailing_zeros() as usize) {
            step(&mut slot.uses);
        }
        bits &= bits - 1;
    }
}
