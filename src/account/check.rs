//! Verifies the invariants of this folder (A1 to A10, see `mod.rs`) on a snapshot, and says in plain sentences what does
//! not hold. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::base::{AccountId, BlobId, EmailId, MailboxId, ModSeq, Uid};
use crate::directory::manage;
use crate::message::{self, Limits, Structure};
use crate::store::{Data, Order, Read, Table};

use super::rows::{self, EmailRow, Kind, LedgerRow, MailboxRow, MessageRow, PlaceRow};
use super::{Error, Flags, INBOX, change, changes, delete, mailbox, name};

/// Findings listed of one account; what is more is only counted.
const LISTED: usize = 200;

struct Findings {
    account: AccountId,
    list: Vec<String>,
    more: usize,
}

impl Findings {
    fn add(&mut self, sentence: String) {
        if self.list.len() < LISTED {
            self.list.push(format!("account {}: {sentence}", self.account));
        } else {
            self.more += 1;
        }
    }
}

/// Verifies one account. With `letters` every letter is read too, and its structure made again and compared.
///
/// Nothing found is an empty list. Errors only when the store cannot be read at all.
pub fn check(data: &Data, account: AccountId, letters: bool) -> Result<Vec<String>, Error> {
    let snapshot = data.read()?;
    let mut findings = Findings { account, list: Vec::new(), more: 0 };
    match change::ledger(&snapshot, account) {
        Ok(Some(ledger)) if ledger.closing => {}
        Ok(Some(ledger)) => {
            let mailboxes = check_mailboxes(&snapshot, &ledger, &mut findings)?;
            check_messages(&snapshot, &ledger, &mailboxes, &mut findings)?;
            check_emails(&snapshot, data, &ledger, letters, &mut findings)?;
            check_threads(&snapshot, &mut findings)?;
            check_log(&snapshot, &ledger, &mut findings)?;
        }
        Ok(None) => findings.add("it has no ledger".to_owned()),
        Err(Error::Corrupt(what)) => findings.add(format!("its ledger cannot be read: {what}")),
        Err(error) => return Err(error),
    }
    if findings.more > 0 {
        findings.list.push(format!("account {account}: and {} findings more", findings.more));
    }
    Ok(findings.list)
}

/// Verifies every account, and that no rows belong to none.
pub fn check_all(data: &Data, letters: bool) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    let (opened, known, owners) = {
        let snapshot = data.read()?;
        let opened: BTreeSet<AccountId> = delete::accounts(&snapshot)?.into_iter().collect();
        // One that is being deleted has lost its ledger before its last row goes.
        let closing = manage::account::closing(&snapshot).unwrap_or_default();
        let mut known = owners(&snapshot, Table::Accounts)?;
        known.retain(|account| !closing.contains(account));
        let mut all = BTreeMap::new();
        for table in [Table::Mailboxes, Table::Messages, Table::Emails, Table::Changes, Table::Threads] {
            all.insert(table, owners(&snapshot, table)?);
        }
        (opened, known, all)
    };
    for account in &known {
        if !opened.contains(account) {
            out.push(format!("account {account}: the directory knows it, but it has no ledger"));
        }
    }
    for (table, accounts) in owners {
        for account in accounts.difference(&opened) {
            out.push(format!("account {account}: there are rows in table {table:?}, but no ledger"));
        }
    }
    for account in opened {
        out.extend(check(data, account, letters)?);
    }
    Ok(out)
}

/// Which accounts have rows in a table: one look for each.
fn owners(read: &dyn Read, table: Table) -> Result<BTreeSet<AccountId>, Error> {
    let mut out = BTreeSet::new();
    let mut lo = Vec::new();
    loop {
        let mut found = None;
        read.scan(table, &lo, &[0xff; 32], Order::Forward, &mut |key, _| {
            found = rows::u32_at(key, 0).ok();
            ControlFlow::Break(())
        })?;
        let Some(account) = found.map(AccountId) else { return Ok(out) };
        out.insert(account);
        lo = rows::account_key(account).after();
    }
}

/// A1 (as far as the row goes), A2, A8, A9.
fn check_mailboxes(
    read: &dyn Read,
    ledger: &LedgerRow,
    findings: &mut Findings,
) -> Result<BTreeMap<MailboxId, MailboxRow>, Error> {
    let rows = match mailbox::rows(read, findings.account) {
        Ok(rows) => rows,
        Err(Error::Corrupt(what)) => {
            findings.add(format!("its mailboxes cannot be read: {what}"));
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    let mut validities = BTreeSet::new();
    for (id, row) in &rows {
        if id.0 > ledger.last_mailbox {
            findings.add(format!("mailbox {id} is above the last id given out, {}", ledger.last_mailbox));
        }
        if row.modseq > ledger.modseq {
            findings.add(format!("mailbox {id} has modseq {}, the account only {}", row.modseq, ledger.modseq));
        }
        if row.kind != Kind::Leaving {
            if !names.insert(row.name.as_str()) {
                findings.add(format!("two mailboxes are called {:?}", row.name));
            }
            if name::clean(&row.name).as_ref() != Ok(&row.name) {
                findings.add(format!("mailbox {id} has the name {:?}, which is none", row.name));
            }
        }
        if row.kind != Kind::Subscription {
            if row.uid_validity == 0 || !validities.insert(row.uid_validity) {
                findings.add(format!("mailbox {id} has UIDVALIDITY {}, which is not its own", row.uid_validity));
            }
            if row.uid_next == 0 {
                findings.add(format!("mailbox {id} has no next UID"));
            }
        }
    }
    let inbox = rows.iter().find(|(id, _)| *id == INBOX);
    if inbox.is_none_or(|(_, row)| row.kind != Kind::Mailbox || row.name != "INBOX") {
        findings.add("mailbox 1 is not INBOX".to_owned());
    }
    Ok(rows.into_iter().collect())
}

/// A1, A3, A4 (from the message's side), A8.
fn check_messages(
    read: &dyn Read,
    ledger: &LedgerRow,
    mailboxes: &BTreeMap<MailboxId, MailboxRow>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let account = findings.account;
    // What the rows come to: the same fields as in a mailbox's row.
    let mut sums: BTreeMap<MailboxId, MailboxRow> = BTreeMap::new();
    let mut failed = None;
    let (lo, hi) = (rows::account_key(account).build(), rows::account_key(account).after());
    read.scan(Table::Messages, &lo, &hi, Order::Forward, &mut |key, value| {
        let (Ok(mailbox), Ok(uid)) = (rows::u32_at(key, 4).map(MailboxId), rows::u32_at(key, 8).map(Uid)) else {
            findings.add(format!("a message has a key of {} bytes", key.len()));
            return ControlFlow::Continue(());
        };
        let row = match rows::decode::<MessageRow>("message", value) {
            Ok(row) => row,
            Err(error) => {
                findings.add(format!("message {uid} of mailbox {mailbox}: {error}"));
                return ControlFlow::Continue(());
            }
        };
        let sum = sums.entry(mailbox).or_default();
        add_up(sum, uid, &row);
        if row.modseq > ledger.modseq {
            findings.add(format!("message {uid} of mailbox {mailbox} has modseq {}, above the account's", row.modseq));
        }
        let here = PlaceRow { mailbox: mailbox.0, uid: uid.0 };
        match change::email(read, account, EmailId(row.email)) {
            Ok(Some(email)) if !email.places.contains(&here) => {
                findings.add(format!(
                    "message {uid} of mailbox {mailbox} names email {}, which does not name it",
                    row.email
                ));
            }
            Ok(Some(email)) if email.size != row.size => {
                findings.add(format!("message {uid} of mailbox {mailbox} has not the size of its email"));
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                findings
                    .add(format!("message {uid} of mailbox {mailbox} names email {}, which is not there", row.email));
            }
            Err(Error::Corrupt(_)) => {} // told where the emails are looked at
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    for id in sums.keys().filter(|id| !mailboxes.contains_key(id)) {
        findings.add(format!("there are messages in mailbox {id}, which is not there"));
    }
    for (id, row) in mailboxes {
        let sum = sums.remove(id).unwrap_or_default();
        let mut differ = |what: &str, row: u64, rows: u64| {
            if row != rows {
                findings.add(format!("mailbox {id} says {what} {row}, its messages say {rows}"));
            }
        };
        differ("messages", row.messages.into(), sum.messages.into());
        differ("unseen", row.unseen.into(), sum.unseen.into());
        differ("deleted", row.deleted.into(), sum.deleted.into());
        differ("bytes", row.bytes, sum.bytes);
        for slot in 0..row.keywords.len().max(sum.keywords.len()) {
            let uses = |of: &MailboxRow| of.keywords.get(slot).map_or(0, |slot| u64::from(slot.uses));
            differ(&format!("uses of keyword {slot}"), uses(row), uses(&sum));
        }
        if sum.messages > 0 && sum.uid_next >= row.uid_next {
            findings.add(format!("mailbox {id} has UID {}, but its next one is {}", sum.uid_next, row.uid_next));
        }
    }
    Ok(())
}

/// Counts a message; `uid_next` becomes the highest UID.
fn add_up(sum: &mut MailboxRow, uid: Uid, row: &MessageRow) {
    sum.messages += 1;
    sum.unseen += u32::from(row.system & Flags::SEEN == 0);
    sum.deleted += u32::from(row.system & Flags::DELETED != 0);
    sum.bytes += row.size;
    sum.uid_next = sum.uid_next.max(uid.0);
    let mut bits = row.keywords();
    while bits != 0 {
        let slot = bits.trailing_zeros() as usize;
        if sum.keywords.len() <= slot {
            sum.keywords.resize_with(slot + 1, Default::default);
        }
        if let Some(slot) = sum.keywords.get_mut(slot) {
            slot.uses += 1;
        }
        bits &= bits - 1;
    }
}

/// A4 (from the email's side), A5, A6, A7, A10.
fn check_emails(
    read: &dyn Read,
    data: &Data,
    ledger: &LedgerRow,
    letters: bool,
    findings: &mut Findings,
) -> Result<(), Error> {
    let account = findings.account;
    let (mut bytes, mut emails) = (0u64, 0u64);
    let mut lo = rows::account_key(account).build();
    let hi = rows::account_key(account).after();
    // In steps, since the letters of a step are read outside of the scan.
    loop {
        let mut step: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        read.scan(Table::Emails, &lo, &hi, Order::Forward, &mut |key, value| {
            step.push((key.to_vec(), value.to_vec()));
            if step.len() < 500 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let Some((last, _)) = step.last() else { break };
        lo = last.clone();
        lo.push(0);
        for (key, value) in &step {
            let Ok(id) = rows::u64_at(key, 4).map(EmailId) else {
                findings.add(format!("an email has a key of {} bytes", key.len()));
                continue;
            };
            if key.last() == Some(&1) {
                if read.get(Table::Emails, rows::email_key(account, id).as_ref())?.is_none() {
                    findings.add(format!("there is a structure of email {id}, which is not there"));
                }
                continue;
            }
            let row = match rows::decode::<EmailRow>("email", value) {
                Ok(row) => row,
                Err(error) => {
                    findings.add(format!("email {id}: {error}"));
                    continue;
                }
            };
            bytes += row.size;
            emails += 1;
            check_email(read, data, ledger, id, &row, letters, findings)?;
        }
    }
    if bytes != ledger.bytes {
        findings.add(format!("it says it holds {} bytes, its emails say {bytes}", ledger.bytes));
    }
    if emails != ledger.emails {
        findings.add(format!("it says it holds {} emails, there are {emails}", ledger.emails));
    }
    Ok(())
}

fn check_email(
    read: &dyn Read,
    data: &Data,
    ledger: &LedgerRow,
    id: EmailId,
    row: &EmailRow,
    letters: bool,
    findings: &mut Findings,
) -> Result<(), Error> {
    let account = findings.account;
    if id.0 > ledger.last_email || row.thread > ledger.last_thread || row.thread == 0 {
        findings.add(format!("email {id} or its thread {} is above the last id given out", row.thread));
    }
    if row.places.is_empty() {
        findings.add(format!("email {id} lies in no mailbox"));
    }
    for place in &row.places {
        let key = rows::message_key(account, MailboxId(place.mailbox), Uid(place.uid));
        if read.get(Table::Messages, key.as_ref())?.is_none() {
            findings.add(format!(
                "email {id} says it is message {} of mailbox {}, which is not there",
                place.uid, place.mailbox
            ));
        }
    }
    for digest in &row.thread_keys {
        let key = rows::thread_key(account, *digest, id);
        let thread = read.get(Table::Threads, key.as_ref())?;
        if thread.as_deref() != Some(&row.thread.to_be_bytes()[..]) {
            findings.add(format!("email {id} is not found in its thread by key {digest:x}"));
        }
    }
    let structure = read.get(Table::Emails, rows::structure_key(account, id).as_ref())?;
    match structure.as_deref().map(Structure::decode) {
        None => findings.add(format!("email {id} has no structure")),
        Some(Err(error)) => findings.add(format!("email {id}: {error}")),
        Some(Ok(structure)) if structure.summary.size != row.size => {
            findings.add(format!("email {id} has {} bytes, its structure says {}", row.size, structure.summary.size));
        }
        Some(Ok(_)) => {}
    }
    let blob = BlobId(row.blob);
    match data.blobs().len(blob) {
        Ok(Some(len)) if len == row.size => {}
        Ok(Some(len)) => findings.add(format!("email {id} has {} bytes, its letter {len}", row.size)),
        Ok(None) => findings.add(format!("the letter of email {id}, blob {blob}, is not there")),
        Err(crate::store::Error::Corrupt(what)) => findings.add(format!("the letter of email {id}: {what}")),
        Err(error) => return Err(error.into()),
    }
    if letters {
        match data.blobs().read(blob, 0..row.size) {
            Ok(bytes) => match message::parse(&bytes, &Limits::default()) {
                Ok(parsed) if Some(parsed.encode()) == structure => {}
                Ok(_) => findings.add(format!("the structure of email {id} is not that of its letter")),
                // Limits are settings, and may have been others when it came.
                Err(_) => {}
            },
            Err(crate::store::Error::Corrupt(what)) => findings.add(format!("the letter of email {id}: {what}")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A10: each row of table Threads is one of its email's.
fn check_threads(read: &dyn Read, findings: &mut Findings) -> Result<(), Error> {
    let account = findings.account;
    let (lo, hi) = (rows::account_key(account).build(), rows::account_key(account).after());
    let mut failed = None;
    read.scan(Table::Threads, &lo, &hi, Order::Forward, &mut |key, _| {
        let (Ok(digest), Ok(id)) = (rows::u64_at(key, 4), rows::u64_at(key, 12).map(EmailId)) else {
            findings.add(format!("a thread row has a key of {} bytes", key.len()));
            return ControlFlow::Continue(());
        };
        match change::email(read, account, id) {
            Ok(Some(email)) if email.thread_keys.contains(&digest) => {}
            Ok(_) => findings.add(format!("a thread row names email {id}, which does not have key {digest:x}")),
            Err(Error::Corrupt(_)) => {}
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(()), Err)
}

/// A8: one row for each modseq above the floor.
fn check_log(read: &dyn Read, ledger: &LedgerRow, findings: &mut Findings) -> Result<(), Error> {
    let mut expected = ledger.floor + 1;
    let mut gaps = Vec::new();
    let read_log = changes::log(read, findings.account, ModSeq(0), &mut |modseq, _| {
        if modseq.0 != expected {
            gaps.push((expected, modseq.0));
        }
        expected = modseq.0 + 1;
    });
    match read_log {
        Ok(()) => {}
        Err(Error::Corrupt(what)) => findings.add(format!("its log cannot be read: {what}")),
        Err(error) => return Err(error),
    }
    for (expected, found) in gaps {
        findings.add(format!("its log goes on with modseq {found} where {expected} should be"));
    }
    if expected != ledger.modseq + 1 {
        findings.add(format!("its log ends with modseq {}, the ledger says {}", expected - 1, ledger.modseq));
    }
    Ok(())
}
