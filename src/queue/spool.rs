//! The spool: letters and their recipients, and the one durable act that moves each.
//!
//! | state | on disk | leaves by |
//! |---|---|---|
//! | nothing | - | [`enqueue`] → waiting, or later |
//! | waiting | rows in Queue, QueueRecipients and QueueDue | [`leave`](super::leave) → nothing (delivered, or bounced in the same transaction); [`arrive`](super::arrive) → nothing (delivered in this house in the same transaction); [`put_off`](super::put_off) → waiting, due later; [`retry`](super::retry) → waiting, due now; [`hold`](super::hold) → held; [`cancel`](super::cancel) → nothing |
//! | later | rows in Queue, QueueRecipients and QueueDue, marked there | [`leave`](super::leave) and [`arrive`](super::arrive) → nothing; [`put_off`](super::put_off) → waiting, due later; [`hold`](super::hold) → held; [`release`](super::release) where the time is dropped → waiting, due now; [`cancel`](super::cancel) and [`withdraw`](super::withdraw) → nothing |
//! | held | rows in Queue and QueueRecipients | [`release`](super::release) → waiting, due now, or later where its time is kept; [`cancel`](super::cancel) and [`withdraw`](super::withdraw) → nothing; [`leave`](super::leave) → nothing, where it was held while it was being sent |
//!
//! Who is later is tried at the time that the sender named, and not before; from then on they wait like all others. A time far away
//! is meant here, and elsewhere is the mistake of a clock.
//!
//! That a recipient is being sent to is no state: a cut in the middle leaves it waiting, and the letter is sent again. So it
//! may arrive twice where the far end's word was not written down here before the cut, and nowhere else.

use std::ops::ControlFlow;

use crate::base::{AccountId, BlobId, Family, Fault, QueueId, Time};
use crate::store::schema::Key;
use crate::store::{self, Order, Read, Staged, Table, Txn};

use super::moves::{MOST_APPOINTED, appointed};
use super::row::{ANY, APPOINTED, HELD, LATER, LetterRow, RecipientRow, WAITING};
use super::schedule::By;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Store(store::Error),
    /// The queue holds as much as it may (Q3).
    Full,
    /// The account has as many letters as it may that wait for a time which it named (Q3).
    Appointed,
    Corrupt(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Store(error) => write!(f, "the store failed: {error:?}"),
            Error::Full => f.write_str("the queue of outgoing mail is full"),
            Error::Appointed => {
                write!(
                    f,
                    "{MOST_APPOINTED} letters of this account wait for their time already; no more are kept until one has left"
                )
            }
            Error::Corrupt(what) => write!(f, "a row of the queue cannot be read: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl Fault for Error {
    fn family(&self) -> Family {
        match self {
            Error::Store(store::Error::Corrupt(_) | store::Error::Panicked(_)) | Error::Corrupt(_) => Family::Own,
            Error::Store(_) | Error::Full | Error::Appointed => Family::World,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::Store(error)
    }
}

/// What the queue may hold (P7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub letters: u64,
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { letters: 10_000, bytes: 4 << 30 }
    }
}

/// RFC 3461 4.1. All three false is NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

/// How a letter is to travel (RFC 8689).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tls {
    /// As its recipient's domain wants it.
    #[default]
    Usual,
    /// Under TLS with servers that are what they say they are and promise the same, or not at all (`REQUIRETLS`).
    Required,
    /// Whatever its recipient's domain wants (`TLS-Required: No`).
    NotRequired,
}

impl Tls {
    fn number(self) -> Option<u8> {
        match self {
            Tls::Usual => None,
            Tls::Required => Some(1),
            Tls::NotRequired => Some(2),
        }
    }

    /// What is not understood asks for nothing.
    pub(super) fn from_number(number: Option<u8>) -> Tls {
        match number {
            Some(1) => Tls::Required,
            Some(2) => Tls::NotRequired,
            _ => Tls::Usual,
        }
    }
}

/// A letter for elsewhere.
#[derive(Clone)]
pub struct NewLetter {
    pub staged: Staged,
    /// `None` is the null path.
    pub from: Option<String>,
    /// Who handed it in; `None` for what an alias sends on.
    pub account: Option<AccountId>,
    pub utf8: bool,
    pub eight_bit: bool,
    /// RFC 3461 4.3: true is FULL, false is HDRS.
    pub ret_full: Option<bool>,
    pub envid: Option<String>,
    pub tls: Tls,
    /// Whoever sent it from outside was proved to be who the reverse path names: notices that they asked for may go there.
    pub proven: bool,
    /// RFC 4865: not to leave before.
    pub release: Option<Time>,
    pub by: Option<By>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecipient {
    pub address: String,
    pub notify: Option<Notify>,
    /// Kind and address.
    pub orcpt: Option<(String, String)>,
}

/// What a recipient waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// For its next attempt.
    Waiting,
    /// For somebody to release it.
    Held,
    /// For the time that its sender named (RFC 4865).
    Later,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Which of the letter's recipients; those that have left keep their number.
    pub n: u32,
    pub address: String,
    pub notify: Option<Notify>,
    pub orcpt: Option<(String, String)>,
    pub state: State,
    pub due: Time,
    pub attempts: u32,
    pub last: Option<String>,
    /// The sender has been told that it takes long.
    pub told: bool,
}

/// A letter in the queue, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: QueueId,
    pub from: Option<String>,
    pub account: Option<AccountId>,
    pub size: u64,
    pub queued: Time,
    pub blob: BlobId,
    pub utf8: bool,
    pub eight_bit: bool,
    /// RFC 3461 4.3: true is FULL, false is HDRS.
    pub ret_full: Option<bool>,
    pub envid: Option<String>,
    pub tls: Tls,
    /// As in [`NewLetter`].
    pub proven: bool,
    /// RFC 4865: when it was to leave.
    pub release: Option<Time>,
    pub by: Option<By>,
    pub recipients: Vec<Recipient>,
}

impl Entry {
    /// Since when it is tried to be sent: no patience is used up before.
    pub fn since(&self) -> Time {
        self.release.map_or(self.queued, |release| release.max(self.queued))
    }
}

/// How much the queue holds: kept beside it, so that the limit costs one look-up.
pub(super) const TOTALS: &[u8] = b"queue/totals";

/// Nothing → waiting, due at once; or later. Errors: [`Error::Full`], [`Error::Appointed`].
pub fn enqueue(
    txn: &mut Txn<'_>,
    letter: &NewLetter,
    recipients: &[NewRecipient],
    now: Time,
    limits: Limits,
) -> Result<QueueId, Error> {
    let (letters, bytes) = totals(txn)?;
    let size = letter.staged.len();
    if letters >= limits.letters || bytes.saturating_add(size) > limits.bytes {
        return Err(Error::Full);
    }
    let later = letter.release.filter(|release| *release > now);
    if let (Some(account), Some(_)) = (letter.account, later)
        && appointed(txn, account)?.len() >= MOST_APPOINTED
    {
        return Err(Error::Appointed);
    }
    put_totals(txn, letters + 1, bytes + size)?;
    let id = QueueId(txn.next("queue")?);
    let blob = txn.attach(&letter.staged)?;
    let count = u32::try_from(recipients.len()).map_err(|_| Error::Full)?;
    let row = LetterRow {
        blob: blob.0,
        size,
        queued: now.0,
        from: letter.from.clone(),
        account: letter.account.map(|account| account.0),
        utf8: letter.utf8,
        eight_bit: letter.eight_bit,
        ret_full: letter.ret_full,
        envid: letter.envid.clone(),
        recipients: count,
        tls: letter.tls.number(),
        proven: letter.proven.then_some(true),
        release: letter.release.map(|release| release.0),
        by: letter.by.map(|by| by.at.0),
        by_how: letter.by.map(|by| u8::from(by.returns) | u8::from(by.trace) << 1),
    };
    txn.put(Table::Queue, Key::new().u64(id.0).as_ref(), encode(&row)?);
    let (state, due, mark) = later.map_or((WAITING, now, ANY), |release| (LATER, release, APPOINTED));
    for (n, recipient) in (0u32..).zip(recipients) {
        let row = RecipientRow {
            address: recipient.address.clone(),
            notify: recipient.notify.map(notify_bits),
            orcpt: recipient.orcpt.clone(),
            state,
            due: due.0,
            attempts: 0,
            last: None,
            told: None,
        };
        txn.put(Table::QueueRecipients, Key::new().u64(id.0).u32(n).as_ref(), encode(&row)?);
        txn.put(Table::QueueDue, due_key(due, id, n).as_ref(), mark.to_vec());
    }
    Ok(id)
}

/// Up to `most` letters from `from` on, oldest first.
pub fn list(read: &dyn Read, from: QueueId, most: usize) -> Result<Vec<Entry>, Error> {
    let mut rows = Vec::new();
    let lo = Key::new().u64(from.0);
    read.scan(Table::Queue, lo.as_ref(), &[0xff; 9], Order::Forward, &mut |key, value| {
        rows.push((number(key), value.to_vec()));
        if rows.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    rows.into_iter().map(|(id, value)| entry(read, QueueId(id), &value)).collect()
}

/// One letter, if it is there.
pub fn find(read: &dyn Read, id: QueueId) -> Result<Option<Entry>, Error> {
    let row = read.get(Table::Queue, Key::new().u64(id.0).as_ref())?;
    row.map(|value| entry(read, id, &value)).transpose()
}

fn entry(read: &dyn Read, id: QueueId, value: &[u8]) -> Result<Entry, Error> {
    let row: LetterRow = decode(value)?;
    let prefix = Key::new().u64(id.0);
    let mut values = Vec::new();
    read.scan(Table::QueueRecipients, prefix.as_ref(), &prefix.clone().after(), Order::Forward, &mut |key, value| {
        values.push((key.get(8..12).and_then(|n| n.try_into().ok()).map(u32::from_be_bytes), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    let recipients = values
        .iter()
        .map(|(n, value)| {
            let n = n.ok_or_else(|| Error::Corrupt("a recipient without a number".into()))?;
            let row: RecipientRow = decode(value)?;
            let state = match row.state {
                WAITING => State::Waiting,
                HELD => State::Held,
                LATER => State::Later,
                other => return Err(Error::Corrupt(format!("a recipient in state {other}"))),
            };
            Ok(Recipient {
                n,
                address: row.address,
                notify: row.notify.map(notify_from),
                orcpt: row.orcpt,
                state,
                due: Time(row.due),
                attempts: row.attempts,
                last: row.last,
                told: row.told == Some(true),
            })
        })
        .collect::<Result<_, Error>>()?;
    Ok(Entry {
        id,
        from: row.from,
        account: row.account.map(AccountId),
        size: row.size,
        queued: Time(row.queued),
        blob: BlobId(row.blob),
        utf8: row.utf8,
        eight_bit: row.eight_bit,
        ret_full: row.ret_full,
        envid: row.envid,
        tls: Tls::from_number(row.tls),
        proven: row.proven == Some(true),
        release: row.release.map(Time),
        by: row.by.map(|at| {
            let how = row.by_how.unwrap_or_default();
            By { at: Time(at), returns: how & 1 != 0, trace: how & 2 != 0 }
        }),
        recipients,
    })
}

/// Due times may lie before 1970 on a box without a clock chip: shifted, so that byte order is time order.
pub(super) fn due_key(due: Time, id: QueueId, recipient: u32) -> Key {
    let shifted = (due.0 as u64) ^ (1 << 63);
    Key::new().u64(shifted).u64(id.0).u32(recipient)
}

fn notify_bits(notify: Notify) -> u8 {
    u8::from(notify.success) | u8::from(notify.failure) << 1 | u8::from(notify.delay) << 2
}

fn notify_from(bits: u8) -> Notify {
    Notify { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 }
}

pub(super) fn totals(read: &dyn Read) -> Result<(u64, u64), Error> {
    match read.get(Table::Meta, TOTALS)? {
        None => Ok((0, 0)),
        Some(value) => decode(&value),
    }
}

pub(super) fn put_totals(txn: &mut Txn<'_>, letters: u64, bytes: u64) -> Result<(), Error> {
    let value = encode(&(letters, bytes))?;
    txn.put(Table::Meta, TOTALS, value);
    Ok(())
}

pub(super) fn number(key: &[u8]) -> u64 {
    key.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

pub(super) fn encode<T: minicbor::Encode<()>>(row: &T) -> Result<Vec<u8>, Error> {
    minicbor::to_vec(row).map_err(|error| Error::Corrupt(error.to_string()))
}

pub(super) fn decode<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Error> {
    minicbor::decode(bytes).map_err(|error| Error::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::data::Options;
    use crate::store::disk::{SimDisk, SimOptions};
    use crate::store::{Data, blob::LetterHeader};

    fn letter(data: &Data, text: &[u8]) -> NewLetter {
        NewLetter {
            staged: data.blobs().stage(LetterHeader::default(), text).unwrap(),
            from: Some("alice@example.test".into()),
            account: Some(AccountId(1)),
            utf8: false,
            eight_bit: true,
            ret_full: None,
            envid: Some("x".into()),
            tls: Tls::Required,
            proven: true,
            release: None,
            by: Some(By { at: Time(9), returns: true, trace: true }),
        }
    }

    fn to(address: &str) -> NewRecipient {
        let notify = Some(Notify { failure: true, delay: true, ..Notify::default() });
        NewRecipient { address: address.into(), notify, orcpt: Some(("rfc822".into(), address.into())) }
    }

    #[test]
    fn what_is_queued_is_listed_as_it_was_given() {
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
        let new = letter(&data, b"Subject: x\r\n\r\ny\r\n");
        let recipients = [to("b@out.test"), to("c@out.test")];
        let given = recipients.clone();
        let id = data.write_blocking(move |txn| enqueue(txn, &new, &given, Time(5), Limits::default())).unwrap().value;
        let read = data.read().unwrap();
        let entries = list(&read, QueueId(0), 100).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].id, id);
        assert_eq!(entries[0].size, 17);
        assert_eq!(entries[0].by, Some(By { at: Time(9), returns: true, trace: true }));
        assert_eq!(entries[0].recipients.len(), 2);
        assert_eq!(entries[0].recipients[1].address, "c@out.test");
        assert_eq!(entries[0].recipients[1].notify, recipients[1].notify);
        assert_eq!(find(&read, id).unwrap().unwrap(), entries[0]);
        assert_eq!(find(&read, QueueId(99)).unwrap(), None);
        let bytes = data.blobs().read(entries[0].blob, 0..100).unwrap();
        assert_eq!(&bytes[..], b"Subject: x\r\n\r\ny\r\n");
    }

    #[test]
    fn a_full_queue_takes_no_more_and_loses_nothing() {
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
        let limits = Limits { letters: 2, bytes: 1 << 20 };
        for n in 0..4 {
            let new = letter(&data, b"Subject: x\r\n\r\ny\r\n");
            let outcome = data.write_blocking(move |txn| enqueue(txn, &new, &[to("b@out.test")], Time(n), limits));
            assert_eq!(outcome.is_ok(), n < 2, "{n}");
        }
        assert_eq!(list(&data.read().unwrap(), QueueId(0), 100).unwrap().len(), 2);
    }

    #[test]
    fn due_keys_sort_as_times_do() {
        let key = |ms| due_key(Time(ms), QueueId(1), 0).build();
        assert!(key(-5) < key(0) && key(0) < key(1) && key(i64::MIN) < key(-5) && key(1) < key(i64::MAX));
    }
}
