//! Search by looking at each message: rows first, then envelopes, then bytes, cheapest first (RFC 9051 6.4.4).
//!
//! In pages of at most [`ROWS`] messages or [`BYTES`] bytes of letters read, each on a snapshot of its own; the disk is
//! read, so call it on a thread that may block.

use std::cell::OnceCell;

use bytes::Bytes;

use crate::base::{AccountId, MailboxId, Uid};
use crate::message::{Address, Day, Needle, Structure, decode};
use crate::store::{self, Blobs, Read};

use super::Error;
use super::view::{self, Message};

/// Messages looked at in one page.
pub const ROWS: usize = 1000;
/// Bytes of letters read in one page; the letter that goes past it is still looked at.
pub const BYTES: u64 = 8 << 20;

/// What is looked for. Strings are UTF-8 and match without regard to case, decoded on the letter's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// All of these.
    And(Vec<Query>),
    Or(Box<Query>, Box<Query>),
    Not(Box<Query>),
    /// Ascending ranges, both ends in.
    Uids(Vec<(u32, u32)>),
    /// All of these bits of [`Flags::system`](super::Flags).
    System(u8),
    Keyword(String),
    /// The internal date's day, in UTC.
    Received(When, Day),
    /// The day of the Date field as it is written there. Without such a field nothing matches.
    Sent(When, Day),
    Larger(u64),
    Smaller(u64),
    From(String),
    To(String),
    Cc(String),
    Bcc(String),
    Subject(String),
    /// In a field of this name; an empty text matches any such field.
    Header(String, String),
    Body(String),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    On,
    /// On that day or later.
    Since,
}

/// A query made ready: strings folded once, cheap questions before dear ones.
#[derive(Clone, Debug)]
pub struct Program {
    root: Node,
    /// Nothing outside of these can match.
    ranges: Vec<(u32, u32)>,
}

#[derive(Clone, Debug)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Uids(Vec<(u32, u32)>),
    System(u8),
    Keyword(String),
    Received(When, Day),
    Sent(When, Day),
    Larger(u64),
    Smaller(u64),
    Envelope(Field, Needle),
    Header(String, Needle),
    Body(Needle),
    Text(Needle),
}

#[derive(Clone, Copy, Debug)]
enum Field {
    From,
    To,
    Cc,
    Bcc,
    Subject,
}

impl Program {
    pub fn new(query: &Query) -> Program {
        let ranges = match query {
            Query::Uids(ranges) => ranges.clone(),
            Query::And(all) => {
                let uids =
                    all.iter().find_map(|q| if let Query::Uids(ranges) = q { Some(ranges.clone()) } else { None });
                uids.unwrap_or_else(|| vec![(1, u32::MAX)])
            }
            _ => vec![(1, u32::MAX)],
        };
        Program { root: Node::new(query), ranges }
    }
}

impl Node {
    fn new(query: &Query) -> Node {
        let sorted = |queries: &mut dyn Iterator<Item = &Query>| {
            let mut nodes: Vec<Node> = queries.map(Node::new).collect();
            nodes.sort_by_key(Node::cost);
            nodes
        };
        match query {
            Query::And(all) => Node::And(sorted(&mut all.iter())),
            Query::Or(a, b) => Node::Or(sorted(&mut [&**a, &**b].into_iter())),
            Query::Not(q) => Node::Not(Box::new(Node::new(q))),
            Query::Uids(ranges) => Node::Uids(ranges.clone()),
            Query::System(bits) => Node::System(*bits),
            Query::Keyword(keyword) => Node::Keyword(keyword.clone()),
            Query::Received(when, day) => Node::Received(*when, *day),
            Query::Sent(when, day) => Node::Sent(*when, *day),
            Query::Larger(size) => Node::Larger(*size),
            Query::Smaller(size) => Node::Smaller(*size),
            Query::From(text) => Node::Envelope(Field::From, Needle::new(text)),
            Query::To(text) => Node::Envelope(Field::To, Needle::new(text)),
            Query::Cc(text) => Node::Envelope(Field::Cc, Needle::new(text)),
            Query::Bcc(text) => Node::Envelope(Field::Bcc, Needle::new(text)),
            Query::Subject(text) => Node::Envelope(Field::Subject, Needle::new(text)),
            Query::Header(name, text) => Node::Header(name.clone(), Needle::new(text)),
            Query::Body(text) => Node::Body(Needle::new(text)),
            Query::Text(text) => Node::Text(Needle::new(text)),
        }
    }

    /// What has to be read to answer: the row, the structure, the header, the letter.
    fn cost(&self) -> u8 {
        match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().map(Node::cost).max().unwrap_or(0),
            Node::Not(node) => node.cost(),
            Node::Uids(_) | Node::System(_) | Node::Keyword(_) | Node::Received(..) => 0,
            Node::Larger(_) | Node::Smaller(_) => 0,
            Node::Sent(..) => 1,
            Node::Envelope(..) => 2,
            Node::Header(..) => 3,
            Node::Body(_) | Node::Text(_) => 4,
        }
    }

    fn matches(&self, of: &Candidate<'_>) -> Result<bool, Error> {
        Ok(match self {
            Node::And(nodes) => {
                for node in nodes {
                    if !node.matches(of)? {
                        return Ok(false);
                    }
                }
                true
            }
            Node::Or(nodes) => {
                for node in nodes {
                    if node.matches(of)? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Not(node) => !node.matches(of)?,
            Node::Uids(ranges) => contains(ranges, of.message.uid),
            Node::System(bits) => of.message.flags.system & bits == *bits,
            Node::Keyword(keyword) => of.message.flags.keywords.iter().any(|k| k.eq_ignore_ascii_case(keyword)),
            Node::Received(when, day) => when.is(Day(of.message.received.seconds().div_euclid(86_400)), *day),
            Node::Sent(when, day) => match of.structure()?.summary.sent {
                Some(sent) => when.is(sent.day(), *day),
                None => false,
            },
            Node::Larger(size) => of.message.size > *size,
            Node::Smaller(size) => of.message.size < *size,
            Node::Envelope(field, needle) => of.envelope_has(*field, needle)?,
            Node::Header(name, needle) => match of.header()? {
                Some(header) => needle.in_header(&header, name),
                None => false,
            },
            Node::Body(needle) => match of.letter()? {
                Some(letter) => needle.in_body(letter, &of.structure()?.body().map_err(corrupt)?),
                None => false,
            },
            Node::Text(needle) => match of.letter()? {
                Some(letter) => needle.in_text(letter, &of.structure()?.body().map_err(corrupt)?),
                None => false,
            },
        })
    }
}

impl When {
    fn is(self, day: Day, other: Day) -> bool {
        match self {
            When::Before => day < other,
            When::On => day == other,
            When::Since => day >= other,
        }
    }
}

fn contains(ranges: &[(u32, u32)], uid: Uid) -> bool {
    let at = ranges.partition_point(|range| range.1 < uid.0);
    ranges.get(at).is_some_and(|range| range.0 <= uid.0)
}

fn corrupt(error: crate::message::Corrupt) -> Error {
    Error::Corrupt(error.0)
}

/// Matching UIDs of one page, ascending; `next` is where the next page begins, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub uids: Vec<Uid>,
    pub next: Option<Uid>,
}

/// Looks at the next page of a mailbox from UID `from` on.
///
/// A letter that cannot be read matches nothing of what is looked for in it: one damaged letter must not keep the others
/// from being found. Errors: [`Error::NoSuchMailbox`].
pub fn page(
    read: &dyn Read,
    blobs: &Blobs,
    account: AccountId,
    mailbox: MailboxId,
    program: &Program,
    from: Uid,
) -> Result<Found, Error> {
    let page = view::messages(read, account, mailbox, &program.ranges, from, ROWS)?;
    let mut found = Found { uids: Vec::new(), next: page.next };
    let mut bytes = 0u64;
    let mut messages = page.messages.iter().peekable();
    while let Some(message) = messages.next() {
        let candidate =
            Candidate { read, blobs, account, message, structure: OnceCell::new(), letter: OnceCell::new() };
        if program.root.matches(&candidate)? {
            found.uids.push(message.uid);
        }
        bytes += candidate.letter.get().and_then(Option::as_ref).map_or(0, |letter| letter.len() as u64);
        if bytes >= BYTES
            && let Some(next) = messages.peek()
        {
            found.next = Some(next.uid);
            break;
        }
    }
    Ok(found)
}

/// A message, with what had to be read of it so far.
struct Candidate<'r> {
    read: &'r dyn Read,
    blobs: &'r Blobs,
    account: AccountId,
    message: &'r Message,
    structure: OnceCell<Vec<u8>>,
    letter: OnceCell<Option<Bytes>>,
}

impl Candidate<'_> {
    fn structure(&self) -> Result<Structure<'_>, Error> {
        if self.structure.get().is_none() {
            let bytes = view::structure(self.read, self.account, self.message.email)?;
            let missing = || Error::Corrupt(format!("email {} has no structure", self.message.email));
            let _ = self.structure.set(bytes.ok_or_else(missing)?);
        }
        Structure::decode(self.structure.get().map_or(&[], Vec::as_slice)).map_err(corrupt)
    }

    fn envelope_has(&self, field: Field, needle: &Needle) -> Result<bool, Error> {
        let envelope = self.structure()?.envelope().map_err(corrupt)?;
        let addresses = match field {
            Field::From => &envelope.from,
            Field::To => &envelope.to,
            Field::Cc => &envelope.cc,
            Field::Bcc => &envelope.bcc,
            Field::Subject => {
                return Ok(envelope.subject.as_ref().is_some_and(|subject| needle.is_in(&decode::words(subject))));
            }
        };
        Ok(addresses.iter().any(|address| needle.is_in(&spelled(address))))
    }

    fn header(&self) -> Result<Option<Bytes>, Error> {
        let end = self.structure()?.summary.header_bytes;
        if let Some(letter) = self.letter.get().and_then(Option::as_ref) {
            let end = usize::try_from(end).unwrap_or(usize::MAX).min(letter.len());
            return Ok(Some(letter.slice(..end)));
        }
        self.bytes(end)
    }

    fn letter(&self) -> Result<Option<&Bytes>, Error> {
        if self.letter.get().is_none() {
            let _ = self.letter.set(self.bytes(self.message.size)?);
        }
        Ok(self.letter.get().and_then(Option::as_ref))
    }

    fn bytes(&self, end: u64) -> Result<Option<Bytes>, Error> {
        let Some(email) = view::email(self.read, self.account, self.message.email)? else { return Ok(None) };
        match self.blobs.read(email.blob, 0..end) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(store::Error::Corrupt(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// An address as people write it: `Name <local@host>`, or the name of a group.
fn spelled(address: &Address<'_>) -> String {
    let mut out = address.name.as_ref().map(|name| decode::words(name)).unwrap_or_default();
    if let Some(mailbox) = &address.mailbox {
        if !out.is_empty() {
            out.push(' ');
        }
        match &address.host {
            Some(host) => {
                out.push('<');
                out.push_str(&String::from_utf8_lossy(mailbox));
                out.push('@');
                out.push_str(&String::from_utf8_lossy(host));
                out.push('>');
            }
            None => out.push_str(&decode::words(mailbox)),
        }
    }
    out
}
