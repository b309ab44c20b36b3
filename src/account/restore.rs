//! What a backup needs to know of the rows of accounts, and what becomes of them when they are put back.
//!
//! Rows are put back under a new epoch of the store: since the backup, numbers may have been given out that it does not know of,
//! and none of them may be given out again (A2, P8). So every counter jumps, and every message counts as changed: a client that
//! saw the later state asks for all of it anew. The log is left out, since it does not reach to where any client is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use crate::base::{AccountId, BlobId, EmailId, Time};
use crate::directory::manage;
use crate::store::{Order, Read, Table, Txn};

use super::flags::Names;
use super::rows::{self, EmailRow, Kind, LedgerRow, MailboxRow, MessageRow};
use super::{Error, Flags, mailbox};

/// By how much each counter jumps at least.
const EPOCH_JUMP: u32 = 1 << 20;
/// And by how much more at most. The same backup may be put back twice, by boxes that know nothing of one another, and what the
/// first gave out since the second must not give out either.
const SPREAD: u32 = 1 << 27;

/// Makes rows of a backup those of the new epoch. It has to have seen all ledgers before any row of another table.
pub struct Renewal {
    jump: u32,
    /// The modseq that everything in an account has from now on.
    modseqs: BTreeMap<u32, u64>,
}

impl Renewal {
    /// With a random number.
    pub fn new(chance: u64) -> Renewal {
        let more = u32::try_from(chance % u64::from(SPREAD)).unwrap_or(0);
        Renewal { jump: EPOCH_JUMP.saturating_add(more), modseqs: BTreeMap::new() }
    }

    /// What goes into the new store for a row of the old one: nothing for tables that begin anew.
    pub fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<Vec<(Table, Vec<u8>, Vec<u8>)>, Error> {
        let same = |value: Vec<u8>| Ok(vec![(table, key.to_vec(), value)]);
        match table {
            Table::Meta if key.starts_with(b"counter/") => {
                let last = u64::from_be_bytes(
                    value.try_into().map_err(|_| Error::Corrupt("a counter is no number".to_owned()))?,
                );
                same(last.saturating_add(self.jump.into()).to_be_bytes().to_vec())
            }
            // The new store has its own.
            Table::Meta if matches!(key, b"epoch" | b"format") => Ok(Vec::new()),
            Table::Changes => Ok(Vec::new()),
            Table::Ledger => {
                let mut row: LedgerRow = rows::decode("ledger", value)?;
                row.modseq = row.modseq.saturating_add(self.jump.into());
                row.floor = row.modseq;
                row.last_mailbox = row.last_mailbox.saturating_add(self.jump);
                row.last_email = row.last_email.saturating_add(self.jump.into());
                row.last_thread = row.last_thread.saturating_add(self.jump.into());
                self.modseqs.insert(rows::u32_at(key, 0)?, row.modseq);
                same(rows::encode(&row))
            }
            Table::Mailboxes => {
                let mut row: MailboxRow = rows::decode("mailbox", value)?;
                row.uid_next = row.uid_next.saturating_add(self.jump);
                row.modseq = self.modseq(key)?;
                same(rows::encode(&row))
            }
            Table::Messages => {
                let mut row: MessageRow = rows::decode("message", value)?;
                row.modseq = self.modseq(key)?;
                same(rows::encode(&row))
            }
            Table::Emails => {
                let mut out = vec![(table, key.to_vec(), value.to_vec())];
                if let [.., 0] = key {
                    // The rows by which a thread is found are not in the backup: they follow from these.
                    let row: EmailRow = rows::decode("email", value)?;
                    let (account, email) = (AccountId(rows::u32_at(key, 0)?), EmailId(rows::u64_at(key, 4)?));
                    for digest in &row.thread_keys {
                        let key = rows::thread_key(account, *digest, email).build();
                        out.push((Table::Threads, key, row.thread.to_be_bytes().to_vec()));
                    }
                }
                Ok(out)
            }
            _ => same(value.to_vec()),
        }
    }

    fn modseq(&self, key: &[u8]) -> Result<u64, Error> {
        let account = rows::u32_at(key, 0)?;
        self.modseqs.get(&account).copied().ok_or_else(|| Error::Corrupt(format!("account {account} has no ledger")))
    }
}

/// Opens an account of which only the settings are there: with the mailboxes it had, all of them empty and under new UIDVALIDITY
/// values. `kept` are rows of table Mailboxes, of all accounts.
pub fn reopen(txn: &mut Txn<'_>, account: AccountId, kept: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Error> {
    let mut own = Vec::new();
    for (key, value) in kept {
        if rows::u32_at(key, 0)? == account.0 {
            own.push(rows::decode::<MailboxRow>("mailbox", value)?);
        }
    }
    mailbox::reopen(txn, account, &own)
}

/// A message where it lies, for people and for other programs.
pub struct Filed<'a> {
    /// The key of its row.
    pub key: &'a [u8],
    /// The account's address.
    pub account: &'a str,
    pub mailbox: &'a str,
    pub uid: u32,
    pub flags: Flags,
    pub received: Time,
    pub blob: BlobId,
}

/// Visits every message of every account, in the order of the keys.
pub fn filed<E: From<Error>>(read: &dyn Read, visit: &mut dyn FnMut(&Filed<'_>) -> Result<(), E>) -> Result<(), E> {
    let addresses = addresses(read)?;
    let mut boxes: BTreeMap<(u32, u32), (String, Names)> = BTreeMap::new();
    for account in addresses.keys() {
        for (id, row) in mailbox::rows(read, AccountId(*account))? {
            if row.kind == Kind::Mailbox {
                let names = Names::of(&row);
                boxes.insert((*account, id.0), (row.name, names));
            }
        }
    }
    let mut failed = None;
    let mut one = |key: &[u8], value: &[u8]| -> Result<(), E> {
        let (account, uid) = (rows::u32_at(key, 0)?, rows::u32_at(key, 8)?);
        let Some(address) = addresses.get(&account) else { return Ok(()) };
        let Some((mailbox, names)) = boxes.get(&(account, rows::u32_at(key, 4)?)) else { return Ok(()) };
        let row: MessageRow = rows::decode("message", value)?;
        let email = super::change::email_of(read, AccountId(account), &row)?;
        let (flags, received) = (names.flags(&row), Time(row.received));
        visit(&Filed { key, account: address, mailbox, uid, flags, received, blob: BlobId(email.blob) })
    };
    read.scan(Table::Messages, &[], &[0xff; 32], Order::Forward, &mut |key, value| match one(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })
    .map_err(Error::from)?;
    failed.map_or(Ok(()), Err)
}

/// Whose a letter is, and when it came: what salvage goes by when the index is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Addresses of accounts, each once.
    pub accounts: Vec<String>,
    pub received: Time,
}

/// The owners of some letters. Those that are in no account are left out.
pub fn owners(read: &dyn Read, wanted: &HashSet<BlobId>) -> Result<HashMap<BlobId, Owners>, Error> {
    let addresses = addresses(read)?;
    let mut found: HashMap<BlobId, Owners> = HashMap::new();
    let mut failed = None;
    let mut one = |key: &[u8], value: &[u8]| -> Result<(), Error> {
        let [.., 0] = key else { return Ok(()) };
        let row: EmailRow = rows::decode("email", value)?;
        let Some(address) = addresses.get(&rows::u32_at(key, 0)?) else { return Ok(()) };
        if wanted.contains(&BlobId(row.blob)) {
            let of = found.entry(BlobId(row.blob)).or_default();
            of.received = Time(row.received);
            if !of.accounts.contains(address) {
                of.accounts.push(address.clone());
            }
        }
        Ok(())
    };
    read.scan(Table::Emails, &[], &[0xff; 32], Order::Forward, &mut |key, value| match one(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(found), Err)
}

fn addresses(read: &dyn Read) -> Result<BTreeMap<u32, String>, Error> {
    let known = manage::account::list(read).map_err(|error| Error::Corrupt(error.to_string()))?;
    Ok(known.into_iter().map(|account| (account.id.0, account.address)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::MailboxId;

    fn one<T: for<'b> minicbor::Decode<'b, ()>>(out: &[(Table, Vec<u8>, Vec<u8>)]) -> T {
        rows::decode("row", &out[0].2).unwrap()
    }

    /// P8: nothing that may have been given out after the backup is given out again.
    #[test]
    fn every_number_jumps_and_every_message_counts_as_changed() {
        let mut renewal = Renewal::new(0);
        let account = AccountId(3);
        let message = rows::message_key(account, MailboxId(1), crate::base::Uid(5)).build();
        let row = MessageRow { modseq: 4, email: 8, ..MessageRow::default() };
        assert!(renewal.row(Table::Messages, &message, &rows::encode(&row)).is_err(), "its ledger comes first");

        let ledger =
            LedgerRow { modseq: 9, floor: 2, last_mailbox: 3, last_email: 8, last_thread: 7, ..Default::default() };
        let key = rows::account_key(account).build();
        let ledger: LedgerRow = one(&renewal.row(Table::Ledger, &key, &rows::encode(&ledger)).unwrap());
        let jump = u64::from(EPOCH_JUMP);
        assert_eq!((ledger.modseq, ledger.floor), (9 + jump, 9 + jump), "the log begins anew");
        assert_eq!((ledger.last_mailbox, ledger.last_email, ledger.last_thread), (3 + EPOCH_JUMP, 8 + jump, 7 + jump));

        let changed: MessageRow = one(&renewal.row(Table::Messages, &message, &rows::encode(&row)).unwrap());
        assert_eq!(changed, MessageRow { modseq: 9 + jump, ..row });
        let key = rows::mailbox_key(account, MailboxId(1)).build();
        let row = MailboxRow { uid_validity: 77, uid_next: 6, modseq: 4, messages: 1, ..MailboxRow::default() };
        let changed: MailboxRow = one(&renewal.row(Table::Mailboxes, &key, &rows::encode(&row)).unwrap());
        assert_eq!(changed, MailboxRow { uid_next: 6 + EPOCH_JUMP, modseq: 9 + jump, ..row });

        let counter = renewal.row(Table::Meta, b"counter/uidvalidity", &5u64.to_be_bytes()).unwrap();
        assert_eq!(counter[0].2, (5 + jump).to_be_bytes());
        assert!(renewal.row(Table::Meta, b"epoch", &5u64.to_be_bytes()).unwrap().is_empty());
        assert!(renewal.row(Table::Changes, b"x", b"y").unwrap().is_empty());
    }

    #[test]
    fn threads_are_found_again_by_their_keys() {
        let email = EmailRow { thread: 6, thread_keys: vec![1, 2], ..EmailRow::default() };
        let key = rows::email_key(AccountId(3), EmailId(8)).build();
        let out = Renewal::new(0).row(Table::Emails, &key, &rows::encode(&email)).unwrap();
        assert_eq!(out.len(), 3);
        assert_eq!(out[2].1, rows::thread_key(AccountId(3), 2, EmailId(8)).build());
        assert_eq!(out[2].2, 6u64.to_be_bytes());
    }
}
