//! FETCH: rows, structures, and where the wanted sections lie.

use std::ops::Range;

use bytes::Bytes;

use super::sending::Sending;
use super::{Answered, Host, blocking, flags_out};
use crate::account::{Email, Error, Message, view};
use crate::base::{AccountId, MailboxId, Uid};
use crate::directory::Directory;
use crate::message::{self, Structure, header};
use crate::proto::imap::ask::{FetchWant, Row, Section, SectionData, SectionWhat};
use crate::proto::imap::{Answer, UidSet};
use crate::store::{self, Data, Held, Snapshot};

/// Messages in one page when only their rows are wanted, and when more is.
const ROWS: usize = 1000;
const FULL_ROWS: usize = 100;
/// Bytes of structures and headers after which a page ends.
const BYTES: usize = 1 << 20;

pub(super) struct Rest {
    mailbox: MailboxId,
    uids: UidSet,
    from: Uid,
    want: FetchWant,
}

impl Rest {
    pub fn new(mailbox: MailboxId, uids: UidSet, want: FetchWant) -> Rest {
        Rest { mailbox, uids, from: Uid(0), want }
    }
}

impl<D: Directory> Host<D> {
    pub(super) async fn fetch(&mut self, mut rest: Rest) -> Answered {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        let (page, rest) = blocking(move || {
            let page = page(&data, account, &rest)?;
            rest.from = page.next.unwrap_or(rest.from);
            Ok((page, rest))
        })
        .await?;
        self.sending = page.held.map(Sending::new);
        let rest = if page.next.is_some() { super::Rest::Fetch(rest) } else { super::Rest::Nothing };
        Ok((Answer::Rows(page.rows), rest))
    }
}

struct Page {
    rows: Vec<Row>,
    /// Where to go on.
    next: Option<Uid>,
    /// What the rows announce of letters' bytes (H4).
    held: Option<Held>,
}

fn page(data: &Data, account: AccountId, rest: &Rest) -> Result<Page, Error> {
    let snapshot = data.read()?;
    let want = &rest.want;
    let limit = if want.structure || !want.sections.is_empty() { FULL_ROWS } else { ROWS };
    let page = view::messages(&snapshot, account, rest.mailbox, rest.uids.ranges(), rest.from, limit)?;
    let mut source = Source { data, snapshot: &snapshot, held: Held::new(&snapshot) };
    let mut rows = Vec::with_capacity(page.messages.len());
    let mut next = page.next;
    let mut bytes = 0;
    for message in page.messages {
        if bytes >= BYTES {
            next = Some(message.uid);
            break;
        }
        let uid = message.uid;
        let row = match source.row(account, message, want) {
            // One damaged letter does not keep the others from being read.
            Err(Error::Corrupt(what) | Error::Store(store::Error::Corrupt(what))) => {
                tracing::error!(what, %uid, "a letter cannot be fetched");
                Row { uid, damaged: true, ..Row::default() }
            }
            row => row?,
        };
        bytes += row.structure.len() + row.sections.iter().map(computed).sum::<usize>();
        rows.push(row);
    }
    let held = Some(source.held).filter(|held| !held.is_empty());
    Ok(Page { rows, next, held })
}

fn computed(section: &SectionData) -> usize {
    if let SectionData::Bytes(bytes) = section { bytes.len() } else { 0 }
}

/// Where a page is read from.
struct Source<'a> {
    data: &'a Data,
    snapshot: &'a Snapshot,
    held: Held,
}

impl Source<'_> {
    fn row(&mut self, account: AccountId, message: Message, want: &FetchWant) -> Result<Row, Error> {
        let missing = || Error::Corrupt(format!("email {} is not there", message.email));
        // BODY[] alone needs no structure: its size is in the row.
        let within = want.sections.iter().any(|section| !is_whole(section));
        let structure = if want.structure || within {
            view::structure(self.snapshot, account, message.email)?.ok_or_else(missing)?
        } else {
            Vec::new()
        };
        let mut sections = Vec::with_capacity(want.sections.len());
        if !want.sections.is_empty() {
            let email = view::email(self.snapshot, account, message.email)?.ok_or_else(missing)?;
            for wanted in &want.sections {
                sections.push(if is_whole(wanted) {
                    self.announced(&email, 0..email.size)?
                } else {
                    let structure = Structure::decode(&structure).map_err(|error| Error::Corrupt(error.0))?;
                    self.section(&email, &structure, wanted)?
                });
            }
        }
        Ok(Row {
            uid: message.uid,
            modseq: message.modseq,
            flags: flags_out(message.flags),
            internal_date: message.received,
            size: message.size,
            structure: if want.structure { Bytes::from(structure) } else { Bytes::new() },
            sections,
            damaged: false,
        })
    }

    /// RFC 9051 6.4.5.1.
    fn section(&mut self, email: &Email, structure: &Structure<'_>, wanted: &Section) -> Result<SectionData, Error> {
        let of = match &wanted.what {
            SectionWhat::All => message::Section::Whole,
            SectionWhat::Header | SectionWhat::HeaderFields(_) | SectionWhat::HeaderFieldsNot(_) => {
                message::Section::Header
            }
            SectionWhat::Text => message::Section::Text,
            SectionWhat::Mime => message::Section::Mime,
        };
        let range = structure.section(&wanted.part, of).map_err(|error| Error::Corrupt(error.0))?;
        let Some(range) = range else { return Ok(SectionData::None) };
        let bytes = || self.data.blobs().read_in(self.snapshot, email.blob, range.clone());
        Ok(match &wanted.what {
            SectionWhat::HeaderFields(names) => SectionData::Bytes(header::only(&bytes()?, names).into()),
            SectionWhat::HeaderFieldsNot(names) => SectionData::Bytes(header::without(&bytes()?, names).into()),
            _ => self.announced(email, range)?,
        })
    }

    /// Opened before it is announced (H4).
    fn announced(&mut self, email: &Email, range: Range<u64>) -> Result<SectionData, Error> {
        self.held.keep(self.snapshot, email.blob, range.clone())?;
        Ok(SectionData::Blob { blob: email.blob, start: range.start, end: range.end })
    }
}

fn is_whole(section: &Section) -> bool {
    section.part.is_empty() && section.what == SectionWhat::All
}
