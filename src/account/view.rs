//! Reading messages, in pages: take a new snapshot for each, and go on from where the page ended.

use std::ops::ControlFlow;

use crate::base::{AccountId, BlobId, EmailId, MailboxId, ModSeq, ThreadId, Time, Uid};
use crate::store::{Order, Read, Table};

use super::change;
use super::flags::Names;
use super::rows::{self, Kind, MessageRow};
use super::{Error, Flags};

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub uid: Uid,
    pub email: EmailId,
    /// Of the last change to it.
    pub modseq: ModSeq,
    pub flags: Flags,
    /// The internal date.
    pub received: Time,
    /// When it came into this mailbox.
    pub saved: Time,
    pub size: u64,
}

/// What does not change with the mailbox it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub id: EmailId,
    pub blob: BlobId,
    pub size: u64,
    pub received: Time,
    pub thread: ThreadId,
    pub places: Vec<(MailboxId, Uid)>,
}

/// Messages of some UIDs, ascending; `next` is where to go on, if there may be more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub messages: Vec<Message>,
    pub next: Option<Uid>,
}

/// Messages whose UIDs are in `ranges` (ascending, both ends in) and not below `from`, at most `limit`.
///
/// Errors: [`Error::NoSuchMailbox`].
pub fn messages(
    read: &dyn Read,
    account: AccountId,
    mailbox: MailboxId,
    ranges: &[(u32, u32)],
    from: Uid,
    limit: usize,
) -> Result<Page, Error> {
    let row = change::mailbox(read, account, mailbox)?.filter(|row| row.kind == Kind::Mailbox);
    let names = Names::of(&row.ok_or(Error::NoSuchMailbox)?);
    let mut page = Page::default();
    let mut failed = None;
    walk(read, account, mailbox, ranges, from, &mut |uid, value| {
        if page.messages.len() >= limit {
            page.next = Some(uid);
            return ControlFlow::Break(());
        }
        match rows::decode::<MessageRow>("message", value) {
            Ok(row) => {
                page.messages.push(Message {
                    uid,
                    email: EmailId(row.email),
                    modseq: ModSeq(row.modseq),
                    flags: names.flags(&row),
                    received: Time(row.received),
                    saved: Time(row.saved),
                    size: row.size,
                });
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(page), Err)
}

/// One message. Errors: [`Error::NoSuchMailbox`].
pub fn message(read: &dyn Read, account: AccountId, mailbox: MailboxId, uid: Uid) -> Result<Option<Message>, Error> {
    Ok(messages(read, account, mailbox, &[(uid.0, uid.0)], uid, 1)?.messages.pop())
}

/// The UIDs in `ranges` that are there, at most `limit`: reads keys alone.
pub fn uids(
    read: &dyn Read,
    account: AccountId,
    mailbox: MailboxId,
    ranges: &[(u32, u32)],
    limit: usize,
) -> Result<Vec<Uid>, Error> {
    let mut out = Vec::new();
    walk(read, account, mailbox, ranges, Uid(0), &mut |uid, _| {
        if out.len() >= limit {
            return ControlFlow::Break(());
        }
        out.push(uid);
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

/// All UIDs of a mailbox, at most `limit`.
pub fn all_uids(read: &dyn Read, account: AccountId, mailbox: MailboxId, limit: usize) -> Result<Vec<Uid>, Error> {
    uids(read, account, mailbox, &[(1, u32::MAX)], limit)
}

/// The messages in `ranges` that have `\Deleted`, at most `limit`.
pub fn deleted(
    read: &dyn Read,
    account: AccountId,
    mailbox: MailboxId,
    ranges: &[(u32, u32)],
    limit: usize,
) -> Result<Vec<Uid>, Error> {
    let mut out = Vec::new();
    walk(read, account, mailbox, ranges, Uid(0), &mut |uid, value| {
        if out.len() >= limit {
            return ControlFlow::Break(());
        }
        if rows::decode::<MessageRow>("message", value).is_ok_and(|row| row.system & Flags::DELETED != 0) {
            out.push(uid);
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

/// An email, if it is there.
pub fn email(read: &dyn Read, account: AccountId, id: EmailId) -> Result<Option<Email>, Error> {
    Ok(change::email(read, account, id)?.map(|row| Email {
        id,
        blob: BlobId(row.blob),
        size: row.size,
        received: Time(row.received),
        thread: ThreadId(row.thread),
        places: row.places.iter().map(|place| (MailboxId(place.mailbox), Uid(place.uid))).collect(),
    }))
}

/// The encoded [`Structure`](crate::message::Structure) of an email, if it is there.
pub fn structure(read: &dyn Read, account: AccountId, id: EmailId) -> Result<Option<Vec<u8>>, Error> {
    Ok(read.get(Table::Emails, rows::structure_key(account, id).as_ref())?)
}

/// Rows a scan goes on over rather than begin anew behind a gap between two ranges.
const GAP: u32 = 64;

/// Visits message rows whose UIDs are in `ranges` and not below `from`, ascending, until `visit` breaks.
pub(super) fn walk(
    read: &dyn Read,
    account: AccountId,
    mailbox: MailboxId,
    ranges: &[(u32, u32)],
    from: Uid,
    visit: &mut dyn FnMut(Uid, &[u8]) -> ControlFlow<()>,
) -> Result<(), Error> {
    let hi = rows::mailbox_key(account, mailbox).after();
    let mut ranges = ranges.get(ranges.partition_point(|range| range.1 < from.0)..).unwrap_or_default();
    let mut failed = None;
    let mut stopped = false;
    // Each turn scans as far as ranges lie close together.
    while let Some(range) = ranges.first().copied() {
        let lo = rows::message_key(account, mailbox, Uid(range.0.max(from.0))).build();
        let mut ended = true;
        read.scan(Table::Messages, &lo, &hi, Order::Forward, &mut |key, value| {
            let uid = match rows::u32_at(key, 8) {
                Ok(uid) => uid,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            while let [range, rest @ ..] = ranges
                && range.1 < uid
            {
                ranges = rest;
            }
            match ranges.first() {
                None => ControlFlow::Break(()),
                Some(range) if range.0 <= uid => {
                    let flow = visit(Uid(uid), value);
                    stopped = flow.is_break();
                    flow
                }
                Some(range) if range.0 - uid <= GAP => ControlFlow::Continue(()),
                Some(_) => {
                    ended = false;
                    ControlFlow::Break(())
                }
            }
        })?;
        if ended || stopped || failed.is_some() {
            break;
        }
    }
    failed.map_or(Ok(()), Err)
}
