//! Mailboxes: found, listed, made, subscribed to.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::{AccountId, MailboxId, ModSeq};
use crate::store::{Order, Read, Table, Txn};

use super::change::{self, Change};
use super::rows::{self, Kind, LedgerRow, MailboxRow, What};
use super::{Error, INBOX, name};

/// Mailboxes (and subscriptions to what is not there) of an account.
pub const MAX_MAILBOXES: usize = 1000;

/// The counter UIDVALIDITY values come from: one for all accounts, so that an account deleted and made again under the
/// same address never shows an old one (A2).
pub(super) const UID_VALIDITY: &str = "uidvalidity";

/// RFC 6154 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialUse {
    Drafts,
    Sent,
    Junk,
    Trash,
    Archive,
}

impl SpecialUse {
    pub const ALL: [SpecialUse; 5] =
        [SpecialUse::Drafts, SpecialUse::Sent, SpecialUse::Junk, SpecialUse::Trash, SpecialUse::Archive];

    /// What a new account's mailbox for it is called.
    pub fn name(self) -> &'static str {
        match self {
            SpecialUse::Drafts => "Drafts",
            SpecialUse::Sent => "Sent",
            SpecialUse::Junk => "Junk",
            SpecialUse::Trash => "Trash",
            SpecialUse::Archive => "Archive",
        }
    }

    fn code(self) -> u8 {
        match self {
            SpecialUse::Drafts => 1,
            SpecialUse::Sent => 2,
            SpecialUse::Junk => 3,
            SpecialUse::Trash => 4,
            SpecialUse::Archive => 5,
        }
    }

    fn from_code(code: u8) -> Option<SpecialUse> {
        SpecialUse::ALL.into_iter().find(|special| special.code() == code)
    }
}

/// A mailbox with its counts: all that STATUS and SELECT tell, without touching a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub id: MailboxId,
    pub name: String,
    pub uid_validity: u32,
    pub uid_next: u32,
    /// Of the last change in it.
    pub modseq: ModSeq,
    pub special: Option<SpecialUse>,
    pub subscribed: bool,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    /// Sum of the sizes of its messages.
    pub bytes: u64,
    /// In use in it, as they were first written.
    pub keywords: Vec<Arc<str>>,
}

impl Mailbox {
    pub(super) fn from_row(id: MailboxId, row: MailboxRow) -> Mailbox {
        Mailbox {
            id,
            name: row.name,
            uid_validity: row.uid_validity,
            uid_next: row.uid_next,
            modseq: ModSeq(row.modseq),
            special: SpecialUse::from_code(row.special),
            subscribed: row.subscribed,
            messages: row.messages,
            unseen: row.unseen,
            deleted: row.deleted,
            bytes: row.bytes,
            keywords: row.keywords.iter().filter(|slot| slot.uses > 0).map(|slot| slot.name.as_str().into()).collect(),
        }
    }
}

/// A name that LIST or LSUB shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// `None` for a level that only stands above others, and for a subscription to nothing.
    pub mailbox: Option<MailboxId>,
    /// False only for a subscription to nothing.
    pub exists: bool,
    pub subscribed: bool,
    pub has_children: bool,
    pub special: Option<SpecialUse>,
}

/// Makes the account's ledger, INBOX, and the mailboxes of RFC 6154 (Drafts, Sent, Junk, Trash, Archive), in the
/// transaction in which the directory makes its rows. Does nothing if they are there.
pub fn open(txn: &mut Txn<'_>, account: AccountId) -> Result<(), Error> {
    if change::ledger(&*txn, account)?.is_some() {
        return Ok(());
    }
    let mut change = Change::with(txn, account, LedgerRow::default());
    add(&mut change, "INBOX".to_owned(), None, true)?;
    for special in SpecialUse::ALL {
        add(&mut change, special.name().to_owned(), Some(special), true)?;
    }
    change.finish()?;
    Ok(())
}

/// The same after the index was lost: with the mailboxes that rows kept elsewhere tell of, all of them empty and under
/// new ids and new UIDVALIDITY values.
pub(super) fn reopen(txn: &mut Txn<'_>, account: AccountId, kept: &[MailboxRow]) -> Result<(), Error> {
    if !kept.iter().any(|row| row.kind == Kind::Mailbox) {
        return open(txn, account);
    }
    let mut change = Change::with(txn, account, LedgerRow::default());
    add(&mut change, "INBOX".to_owned(), None, true)?;
    let mut names = BTreeSet::from(["INBOX"]);
    for row in kept.iter().filter(|row| row.kind != Kind::Leaving) {
        if !names.insert(&row.name) {
            continue;
        }
        if row.kind == Kind::Mailbox {
            add(&mut change, row.name.clone(), SpecialUse::from_code(row.special), row.subscribed)?;
        } else {
            remember(&mut change, row.name.clone())?;
        }
    }
    change.finish()?;
    Ok(())
}

/// The mailbox of that id. Errors: [`Error::NoSuchMailbox`].
pub fn get(read: &dyn Read, account: AccountId, id: MailboxId) -> Result<Mailbox, Error> {
    let row = change::mailbox(read, account, id)?.filter(|row| row.kind == Kind::Mailbox);
    Ok(Mailbox::from_row(id, row.ok_or(Error::NoSuchMailbox)?))
}

/// The mailbox of that name, in any of its spellings.
pub fn find(read: &dyn Read, account: AccountId, name: &str) -> Result<Option<Mailbox>, Error> {
    let Ok(name) = name::clean(name) else { return Ok(None) };
    if name == "INBOX" {
        return get(read, account, INBOX).map(Some);
    }
    let found = rows(read, account)?.into_iter().find(|(_, row)| row.kind == Kind::Mailbox && row.name == name);
    Ok(found.map(|(id, row)| Mailbox::from_row(id, row)))
}

/// The mailbox for a use, if the account still has one.
pub fn special(read: &dyn Read, account: AccountId, special: SpecialUse) -> Result<Option<Mailbox>, Error> {
    let found =
        rows(read, account)?.into_iter().find(|(_, row)| row.kind == Kind::Mailbox && row.special == special.code());
    Ok(found.map(|(id, row)| Mailbox::from_row(id, row)))
}

/// All mailboxes, by id.
pub fn all(read: &dyn Read, account: AccountId) -> Result<Vec<Mailbox>, Error> {
    let rows = rows(read, account)?.into_iter().filter(|(_, row)| row.kind == Kind::Mailbox);
    Ok(rows.map(|(id, row)| Mailbox::from_row(id, row)).collect())
}

/// All names, in order: mailboxes, the levels above them that are none themselves, and subscriptions to nothing.
pub fn list(read: &dyn Read, account: AccountId) -> Result<Vec<Listed>, Error> {
    let rows = rows(read, account)?;
    let mut levels: BTreeSet<&str> = BTreeSet::new();
    for (_, row) in rows.iter().filter(|(_, row)| row.kind == Kind::Mailbox) {
        levels.extend(name::above(&row.name));
    }
    let mut out: Vec<Listed> = Vec::new();
    for (id, row) in rows.iter().filter(|(_, row)| row.kind != Kind::Leaving) {
        let exists = row.kind == Kind::Mailbox;
        out.push(Listed {
            name: row.name.clone(),
            mailbox: exists.then_some(*id),
            exists: exists || levels.contains(row.name.as_str()),
            subscribed: row.subscribed,
            has_children: levels.contains(row.name.as_str()),
            special: SpecialUse::from_code(row.special),
        });
    }
    let named: BTreeSet<&str> =
        rows.iter().filter(|(_, row)| row.kind != Kind::Leaving).map(|(_, row)| row.name.as_str()).collect();
    for level in levels.difference(&named) {
        out.push(Listed {
            name: (*level).to_owned(),
            mailbox: None,
            exists: true,
            subscribed: false,
            has_children: true,
            special: None,
        });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

/// Makes a mailbox, and those above it that are missing (RFC 9051 6.3.4).
///
/// Errors: [`Error::MailboxExists`], [`Error::Cannot`] for what is no name, [`Error::Limit`].
pub fn create(txn: &mut Txn<'_>, account: AccountId, name: &str) -> Result<MailboxId, Error> {
    // RFC 9051 6.3.4: a separator at the end only says that there will be names below.
    let name = name::clean(name.strip_suffix('/').unwrap_or(name))?;
    let mut change = Change::begin(txn, account)?;
    let id = make(&mut change, name)?;
    change.finish()?;
    Ok(id)
}

/// Makes a mailbox and what is missing above it within a change; `name` is clean.
pub(super) fn make(change: &mut Change<'_, '_>, name: String) -> Result<MailboxId, Error> {
    let rows = rows(&*change.txn, change.account)?;
    let there = |name: &str| rows.iter().any(|(_, row)| row.kind == Kind::Mailbox && row.name == name);
    if there(&name) {
        return Err(Error::MailboxExists);
    }
    let missing: Vec<String> = name::above(&name).filter(|level| !there(level)).map(str::to_owned).collect();
    if rows.len() + missing.len() + 1 > MAX_MAILBOXES {
        return Err(Error::Limit("mailboxes"));
    }
    for level in missing {
        take(change, &rows, level)?;
    }
    take(change, &rows, name)
}

/// Adds a mailbox under a name, and takes over a subscription to that name.
pub(super) fn take(
    change: &mut Change<'_, '_>,
    rows: &[(MailboxId, MailboxRow)],
    name: String,
) -> Result<MailboxId, Error> {
    let waiting = rows.iter().find(|(_, row)| row.kind == Kind::Subscription && row.name == name);
    if let Some((id, _)) = waiting {
        change.remove_mailbox(*id);
    }
    add(change, name, None, waiting.is_some())
}

fn add(
    change: &mut Change<'_, '_>,
    name: String,
    special: Option<SpecialUse>,
    subscribed: bool,
) -> Result<MailboxId, Error> {
    let uid_validity = uid_validity(change.txn)?;
    change.add_mailbox(MailboxRow {
        name,
        uid_validity,
        uid_next: 1,
        special: special.map_or(0, SpecialUse::code),
        subscribed,
        ..MailboxRow::default()
    })
}

/// A UIDVALIDITY never given out before (RFC 9051 2.3.1.1), from a stored counter.
pub(super) fn uid_validity(txn: &mut Txn<'_>) -> Result<u32, Error> {
    u32::try_from(txn.next(UID_VALIDITY)?).map_err(|_| Error::Limit("mailboxes ever made"))
}

/// Subscribes to a name or ends that (RFC 9051 6.3.7, 6.3.8); the name need not be there.
pub fn subscribe(txn: &mut Txn<'_>, account: AccountId, name: &str, on: bool) -> Result<(), Error> {
    let name = name::clean(name)?;
    let mut change = Change::begin(txn, account)?;
    let rows = rows(&*change.txn, account)?;
    let found = rows.iter().find(|(_, row)| row.kind != Kind::Leaving && row.name == name);
    match found {
        Some((_, row)) if row.subscribed == on => {}
        Some((id, row)) if row.kind == Kind::Subscription => {
            change.remove_mailbox(*id);
            change.note(*id, What::Subscription);
        }
        Some((id, _)) => {
            change.mailbox(*id)?.subscribed = on;
            change.note(*id, What::Subscription);
        }
        None if on => {
            if rows.len() >= MAX_MAILBOXES {
                return Err(Error::Limit("subscriptions"));
            }
            remember(&mut change, name)?;
        }
        None => {}
    }
    change.finish()?;
    Ok(())
}

/// Keeps a subscription to a name that is not there.
pub(super) fn remember(change: &mut Change<'_, '_>, name: String) -> Result<(), Error> {
    let row = MailboxRow { kind: Kind::Subscription, name, subscribed: true, ..MailboxRow::default() };
    change.add_mailbox(row).map(|_| ())
}

/// All rows of table Mailboxes of an account, by id.
pub(super) fn rows(read: &dyn Read, account: AccountId) -> Result<Vec<(MailboxId, MailboxRow)>, Error> {
    let mut out = Vec::new();
    let mut failed = None;
    let (lo, hi) = (rows::account_key(account).build(), rows::account_key(account).after());
    read.scan(Table::Mailboxes, &lo, &hi, Order::Forward, &mut |key, value| match rows::u32_at(key, 4)
        .and_then(|id| Ok((MailboxId(id), rows::decode("mailbox", value)?)))
    {
        Ok(row) => {
            out.push(row);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(out), Err)
}
