//! When the index is lost: every letter that can still be read, in a mailbox `Recovered` of each account it belongs to.
//!
//! Everything is written into a store of its own, which was empty before, so that nothing of the damaged one is touched
//! and the new one has an epoch of its own. People, addresses and passwords are put back as the segments kept them, and so
//! are the names of mailboxes, but these under new ids and new UIDVALIDITY values: what a client has seen of the old
//! mailboxes it will not mistake for the new ones (A2). Which letter lay where, flags and dates of filing are lost.

use std::collections::BTreeMap;

use crate::base::{AccountId, MailboxId, Time};
use crate::directory::manage;
use crate::message::Limits;
use crate::store::data::{self, Recovered};
use crate::store::disk::Disk;
use crate::store::{self, Data, Table, Txn};

use super::rows::{self, MailboxRow};
use super::{Error, Flags, Letter, Place, append, mailbox};

/// Where the letters go.
pub const RECOVERED: &str = "Recovered";

/// By how much a counter is raised above the highest number that is known to have been given out, since there may have
/// been higher ones.
const JUMP: u64 = 1 << 20;

/// Letters, and bytes of letters, that go out in one transaction.
const LETTERS: usize = 100;
const BYTES: u64 = 4 << 20;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    pub accounts: u64,
    /// Letters put into a mailbox, each counted once.
    pub letters: u64,
    /// Letters that belong to no account there is, left out: accounts deleted since, or mail on its way out.
    pub unowned: u64,
    /// What was there and could not be read.
    pub damaged: Vec<String>,
}

/// Reads the folder `from` and fills the empty store `into`. `now` is when the letters are saved; their internal date is
/// when they came. Blocks, and for long.
///
/// Errors: [`Error::Cannot`] when `into` is not empty, [`Error::Store`] when either cannot be used at all.
pub fn salvage(from: &dyn Disk, into: &Data, now: Time) -> Result<Salvaged, Error> {
    if !super::accounts(&into.read()?)?.is_empty() {
        return Err(Error::Cannot("letters are put back into an empty store only"));
    }
    let mut filling = Filling::new(into, now);
    let mut failed = None;
    let walked = data::salvage(from, &mut |found| {
        filling.take(found).map_err(|error| {
            let told = if let Error::Store(error) = &error { error.clone() } else { store::Error::Closed };
            failed = Some(error);
            told
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let walked = walked?;
    filling.begin()?;
    filling.flush()?;
    filling.done.damaged.extend(walked.damaged);
    into.checkpoint()?;
    Ok(filling.done)
}

struct Filling<'d> {
    into: &'d Data,
    now: Time,
    rows: Vec<(Table, Vec<u8>, Vec<u8>)>,
    /// The rows are put back: letters may follow.
    begun: bool,
    /// `Recovered` of each account that has one by now.
    inboxes: BTreeMap<AccountId, MailboxId>,
    waiting: Vec<(Letter, Vec<AccountId>, Time)>,
    waiting_bytes: u64,
    done: Salvaged,
}

impl<'d> Filling<'d> {
    fn new(into: &'d Data, now: Time) -> Filling<'d> {
        Filling {
            into,
            now,
            rows: Vec::new(),
            begun: false,
            inboxes: BTreeMap::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            done: Salvaged::default(),
        }
    }

    fn take(&mut self, found: Recovered) -> Result<(), Error> {
        match found {
            Recovered::Row { table, key, value } => {
                self.rows.push((table, key, value));
                Ok(())
            }
            Recovered::Letter { header, bytes } => {
                self.begin()?;
                let snapshot = self.into.read()?;
                let owners: Vec<AccountId> = header
                    .accounts
                    .iter()
                    .filter_map(|address| manage::account::show(&snapshot, address).ok().map(|account| account.id))
                    .collect();
                drop(snapshot);
                if owners.is_empty() {
                    self.done.unowned += 1;
                    return Ok(());
                }
                let received = header.received;
                // It was let in once, under whatever limits there were.
                let limits =
                    Limits { header_bytes: u64::MAX, all_header_bytes: u64::MAX, parts: u32::MAX, depth: 1000 };
                match Letter::read(self.into.blobs().stage(header, &bytes)?, &limits) {
                    Ok(letter) => {
                        self.waiting_bytes += letter.size();
                        self.waiting.push((letter, owners, received));
                    }
                    Err(Error::Refused(why)) => self.done.damaged.push(format!("a letter cannot be put back: {why}")),
                    Err(error) => return Err(error),
                }
                if self.waiting.len() >= LETTERS || self.waiting_bytes >= BYTES {
                    self.flush()?;
                }
                Ok(())
            }
        }
    }

    /// Puts the rows back, once.
    fn begin(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let mut kept: BTreeMap<AccountId, Vec<MailboxRow>> = BTreeMap::new();
        let (mut last_account, mut last_validity) = (0, 0);
        for (table, key, value) in &rows {
            let Ok(account) = rows::u32_at(key, 0) else { continue };
            match table {
                Table::Accounts => {
                    last_account = last_account.max(account);
                    kept.entry(AccountId(account)).or_default();
                }
                Table::Mailboxes => match rows::decode::<MailboxRow>("mailbox", value) {
                    Ok(row) => {
                        last_validity = last_validity.max(row.uid_validity);
                        kept.entry(AccountId(account)).or_default().push(row);
                    }
                    Err(error) => self.done.damaged.push(error.to_string()),
                },
                _ => {}
            }
        }
        let people: Vec<_> = rows.into_iter().filter(|(table, _, _)| *table != Table::Mailboxes).collect();
        self.into.write_blocking(move |txn| {
            for (table, key, value) in &people {
                txn.put(*table, key, value.clone());
            }
            raise(txn, "account", u64::from(last_account));
            raise(txn, mailbox::UID_VALIDITY, u64::from(last_validity) + JUMP);
            Ok::<_, Error>(())
        })?;
        let closing =
            manage::account::closing(&self.into.read()?).map_err(|error| Error::Corrupt(format!("{error:?}")))?;
        let known = manage::account::list(&self.into.read()?).map_err(|error| Error::Corrupt(format!("{error:?}")))?;
        for account in known.into_iter().map(|account| account.id).filter(|id| !closing.contains(id)) {
            let rows = kept.remove(&account).unwrap_or_default();
            self.into.write_blocking(move |txn| mailbox::reopen(txn, account, &rows))?;
            self.done.accounts += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        for account in batch.iter().flat_map(|(_, owners, _)| owners) {
            if !self.inboxes.contains_key(account) {
                let account = *account;
                let made = self.into.write_blocking(move |txn| match mailbox::find(&*txn, account, RECOVERED)? {
                    Some(there) => Ok(there.id),
                    None => mailbox::create(txn, account, RECOVERED),
                })?;
                self.inboxes.insert(account, made.value);
            }
        }
        let (inboxes, now, letters) = (self.inboxes.clone(), self.now, batch.len() as u64);
        self.into.write_blocking(move |txn| {
            for (letter, owners, received) in &batch {
                for account in owners {
                    let Some(mailbox) = inboxes.get(account) else { continue };
                    let places = [Place { mailbox: *mailbox, flags: Flags::default() }];
                    append(txn, *account, letter, &places, *received, now, None)?;
                }
            }
            Ok::<_, Error>(())
        })?;
        self.done.letters += letters;
        Ok(())
    }
}

/// Raises a counter of the store (`counter/NAME` in table Meta), so that it goes on above `last`.
fn raise(txn: &mut Txn<'_>, counter: &str, last: u64) {
    txn.put(Table::Meta, format!("counter/{counter}").as_bytes(), last.to_be_bytes().to_vec());
}
