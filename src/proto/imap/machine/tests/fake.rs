//! A host with mailboxes in memory, answering in small pages.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use crate::base::{BlobId, MailboxId, ModSeq, Time, Uid};
use crate::message::{self, Needle, Structure, header};
use crate::proto::imap::ask::*;
use crate::proto::imap::{Answer, Ask, UidSet};
use crate::proto::sasl::{Identity, SaslAnswer, SaslAsk};
use crate::proto::{BodyFault, Part};

/// Rows of one page.
const PAGE: usize = 2;

pub struct Letter {
    pub uid: u32,
    pub flags: Flags,
    pub modseq: u64,
    pub date: Time,
    pub blob: u64,
}

pub struct Mailbox {
    pub id: u32,
    pub name: String,
    pub use_: Option<SpecialUse>,
    pub subscribed: bool,
    pub next: u32,
    pub letters: Vec<Letter>,
    /// Modseq and UID of each expunge.
    pub expunged: Vec<(u64, u32)>,
}

/// What several connections see.
#[derive(Default)]
pub struct World {
    pub mailboxes: Vec<Mailbox>,
    pub blobs: Vec<Bytes>,
    pub modseq: u64,
    /// Nothing can be written.
    pub full: bool,
    /// Log-in cannot be checked.
    pub down: bool,
    pub ids: u32,
}

impl World {
    pub fn new() -> World {
        let mut world = World::default();
        world.make("INBOX", None);
        world.make("Archive", Some(SpecialUse::Archive));
        world.make("Drafts", Some(SpecialUse::Drafts));
        world.make("Junk", Some(SpecialUse::Junk));
        world.make("Sent", Some(SpecialUse::Sent));
        world.make("Trash", Some(SpecialUse::Trash));
        world
    }

    pub fn make(&mut self, name: &str, use_: Option<SpecialUse>) {
        self.ids += 1;
        let (id, name) = (self.ids, name.to_owned());
        let mailbox = Mailbox { id, name, use_, subscribed: true, next: 1, letters: vec![], expunged: vec![] };
        self.mailboxes.push(mailbox);
        self.mailboxes.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn find(&mut self, name: &str) -> Option<&mut Mailbox> {
        self.mailboxes.iter_mut().find(|mailbox| mailbox.name == name)
    }

    fn by_id(&mut self, id: MailboxId) -> Option<&mut Mailbox> {
        self.mailboxes.iter_mut().find(|mailbox| mailbox.id == id.0)
    }

    pub fn append(&mut self, name: &str, body: Bytes, flags: Flags, date: Time) -> Option<(u32, u32)> {
        self.blobs.push(body);
        let blob = self.blobs.len() as u64 - 1;
        self.put(name, blob, flags, date)
    }

    fn put(&mut self, name: &str, blob: u64, flags: Flags, date: Time) -> Option<(u32, u32)> {
        self.modseq += 1;
        let modseq = self.modseq;
        let mailbox = self.find(name)?;
        let uid = mailbox.next;
        mailbox.next += 1;
        mailbox.letters.push(Letter { uid, flags, modseq, date, blob });
        Some((1000 + mailbox.id, uid))
    }

    pub fn expunge(&mut self, id: MailboxId, uids: &[u32]) {
        self.modseq += 1;
        let modseq = self.modseq;
        if let Some(mailbox) = self.by_id(id) {
            mailbox.letters.retain(|letter| !uids.contains(&letter.uid));
            mailbox.expunged.extend(uids.iter().map(|uid| (modseq, *uid)));
        }
    }
}

pub struct Fake {
    pub world: Rc<RefCell<World>>,
    pages: VecDeque<Answer>,
    body: Vec<u8>,
    pub aborted: u32,
}

impl Fake {
    pub fn new(world: Rc<RefCell<World>>) -> Fake {
        Fake { world, pages: VecDeque::new(), body: Vec::new(), aborted: 0 }
    }

    pub fn ask(&mut self, ask: Ask) -> (Answer, Part) {
        self.pages = self.answer(ask).into();
        self.more()
    }

    pub fn more(&mut self) -> (Answer, Part) {
        let page = self.pages.pop_front().expect("a page is left");
        (page, if self.pages.is_empty() { Part::Last } else { Part::More })
    }

    pub fn chunk(&mut self, chunk: &[u8]) {
        self.body.extend_from_slice(chunk);
    }

    pub fn end(&mut self) -> Result<(), BodyFault> {
        if self.world.borrow().full { Err(BodyFault::NotStored) } else { Ok(()) }
    }

    pub fn abort(&mut self) {
        self.aborted += 1;
        self.body.clear();
    }

    pub fn blob(&self, blob: BlobId, range: std::ops::Range<u64>) -> Bytes {
        self.world.borrow().blobs[blob.0 as usize].slice(range.start as usize..range.end as usize)
    }

    fn answer(&mut self, ask: Ask) -> Vec<Answer> {
        let world = self.world.clone();
        let world = &mut *world.borrow_mut();
        vec![match ask {
            Ask::Sasl(SaslAsk::Password { user, password }) => Answer::Sasl(if world.down {
                SaslAnswer::Unavailable
            } else if user == "alice" && password == "wonderland" {
                SaslAnswer::Accepted(Identity { account: 1, address: "alice@example.test".into() })
            } else {
                SaslAnswer::Rejected
            }),
            Ask::Sasl(_) => Answer::Sasl(SaslAnswer::Unavailable),
            Ask::List => {
                let rows: Vec<MailboxRow> = world
                    .mailboxes
                    .iter()
                    .map(|mailbox| MailboxRow {
                        name: mailbox.name.clone(),
                        selectable: true,
                        exists: true,
                        subscribed: mailbox.subscribed,
                        has_children: world.mailboxes.iter().any(|m| m.name.starts_with(&format!("{}/", mailbox.name))),
                        special_use: mailbox.use_,
                    })
                    .collect();
                return pages(rows, Answer::Mailboxes);
            }
            Ask::Create { name } if world.find(&name).is_some() => Answer::No(No::AlreadyExists),
            Ask::Create { name } => {
                world.make(&name, None);
                Answer::Done
            }
            Ask::Delete { name } if name == "INBOX" => Answer::No(No::Cannot("INBOX stays")),
            Ask::Delete { name } if world.find(&name).is_none() => Answer::No(No::NonExistent),
            Ask::Delete { name } => {
                world.modseq += 1;
                world.mailboxes.retain(|mailbox| mailbox.name != name);
                Answer::Done
            }
            Ask::Rename { from, to } => match world.find(&from) {
                Some(mailbox) => {
                    mailbox.name = to;
                    Answer::Done
                }
                None => Answer::No(No::NonExistent),
            },
            Ask::Subscribe { name, on } => match world.find(&name) {
                Some(mailbox) => {
                    mailbox.subscribed = on;
                    Answer::Done
                }
                None => Answer::No(No::NonExistent),
            },
            Ask::Status { name, .. } => match world.find(&name) {
                Some(mailbox) => Answer::Status(Status {
                    messages: mailbox.letters.len() as u32,
                    uid_next: mailbox.next,
                    uid_validity: 1000 + mailbox.id,
                    unseen: mailbox.letters.iter().filter(|l| l.flags.system & Flags::SEEN == 0).count() as u32,
                    deleted: 0,
                    size: 0,
                }),
                None => Answer::No(No::NonExistent),
            },
            Ask::Select { name, .. } => {
                let upto = ModSeq(world.modseq);
                match world.find(&name) {
                    Some(mailbox) => Answer::Selected(Box::new(Selected {
                        mailbox: MailboxId(mailbox.id),
                        uid_validity: 1000 + mailbox.id,
                        uid_next: mailbox.next,
                        upto,
                        uids: mailbox.letters.iter().map(|letter| Uid(letter.uid)).collect(),
                        first_unseen: mailbox
                            .letters
                            .iter()
                            .find(|l| l.flags.system & Flags::SEEN == 0)
                            .map(|l| Uid(l.uid)),
                        keywords: Vec::new(),
                        new_keywords: true,
                        read_only: false,
                    })),
                    None => Answer::No(No::NonExistent),
                }
            }
            Ask::Changes { mailbox, since } => {
                let upto = ModSeq(world.modseq);
                let Some(mailbox) = world.by_id(mailbox) else { return vec![Answer::Gone] };
                let changed: Vec<&Letter> = mailbox.letters.iter().filter(|letter| letter.modseq > since.0).collect();
                let rows: Vec<FlagRow> = changed
                    .iter()
                    .map(|l| FlagRow { uid: Uid(l.uid), modseq: ModSeq(l.modseq), flags: l.flags.clone() })
                    .collect();
                let first = Changes {
                    arrived: changed.iter().map(|letter| Uid(letter.uid)).collect(),
                    expunged: mailbox
                        .expunged
                        .iter()
                        .filter(|(at, _)| *at > since.0)
                        .map(|(_, uid)| Uid(*uid))
                        .collect(),
                    flags: Vec::new(),
                    upto,
                };
                // Arrived letters are among the flags too: the machine has to cope.
                let mut pages = pages(rows, |flags| Answer::Changes(Changes { flags, upto, ..Changes::default() }));
                if let Some(Answer::Changes(page)) = pages.first_mut() {
                    page.expunged = first.expunged;
                }
                if let Some(Answer::Changes(page)) = pages.last_mut() {
                    page.arrived = first.arrived;
                }
                return pages;
            }
            Ask::Fetch { mailbox, uids, want } => {
                let blobs = world.blobs.clone();
                let Some(mailbox) = world.by_id(mailbox) else { return vec![Answer::Gone] };
                let rows = mailbox.letters.iter().filter(|letter| uids.contains(Uid(letter.uid)));
                return pages(
                    rows.map(|letter| row(letter, &blobs[letter.blob as usize], &want)).collect(),
                    Answer::Rows,
                );
            }
            Ask::Store { .. } | Ask::Copy { .. } | Ask::Move { .. } | Ask::Append { .. } if world.full => {
                Answer::No(No::Unavailable)
            }
            Ask::Store { mailbox, uids, mode, flags } => {
                world.modseq += 1;
                let modseq = world.modseq;
                let Some(mailbox) = world.by_id(mailbox) else { return vec![Answer::Gone] };
                let letters = mailbox.letters.iter_mut().filter(|letter| uids.contains(Uid(letter.uid)));
                let rows = letters
                    .map(|letter| {
                        let before = letter.flags.clone();
                        change(&mut letter.flags, mode, &flags);
                        let changed = before != letter.flags;
                        if changed {
                            letter.modseq = modseq;
                        }
                        let (uid, modseq) = (Uid(letter.uid), ModSeq(letter.modseq));
                        StoredRow { uid, modseq, flags: letter.flags.clone(), changed }
                    })
                    .collect();
                return pages(rows, |rows| Answer::Stored(Stored { rows }));
            }
            Ask::Copy { to, .. } | Ask::Move { to, .. } if world.find(&to).is_none() => Answer::No(No::NonExistent),
            Ask::Copy { mailbox, uids, to } => return world.copy(mailbox, &uids, &to),
            Ask::Move { mailbox, uids, to } => {
                let answer = world.copy(mailbox, &uids, &to);
                let gone: Vec<u32> = match &answer[..] {
                    [Answer::Copied(copied)] => copied.from.iter().map(|uid| uid.0).collect(),
                    _ => Vec::new(),
                };
                world.expunge(mailbox, &gone);
                return answer;
            }
            Ask::Expunge { mailbox, only } => {
                let Some(found) = world.by_id(mailbox) else { return vec![Answer::Gone] };
                let gone: Vec<u32> = found
                    .letters
                    .iter()
                    .filter(|l| l.flags.system & Flags::DELETED != 0)
                    .filter(|l| only.as_ref().is_none_or(|only| only.contains(Uid(l.uid))))
                    .map(|letter| letter.uid)
                    .collect();
                world.expunge(mailbox, &gone);
                return pages(gone, |uids| Answer::Expunged(Expunged { uids: uids.into_iter().map(Uid).collect() }));
            }
            Ask::Search { mailbox, key } => {
                let blobs = world.blobs.clone();
                let Some(mailbox) = world.by_id(mailbox) else { return vec![Answer::Gone] };
                let found: Vec<Uid> = mailbox
                    .letters
                    .iter()
                    .filter(|letter| holds(&key, letter, &blobs[letter.blob as usize]))
                    .map(|letter| Uid(letter.uid))
                    .collect();
                return pages(found, |uids| Answer::Found(uids.into_iter().collect()));
            }
            Ask::AppendCheck { name, .. } if world.find(&name).is_none() => Answer::No(No::NonExistent),
            Ask::AppendCheck { size, .. } if size > 100_000 => Answer::No(No::OverQuota),
            Ask::AppendCheck { .. } => Answer::Done,
            Ask::Append { name, flags, date } => {
                let body = Bytes::from(std::mem::take(&mut self.body));
                match world.append(&name, body, flags, date.unwrap_or(Time::from_seconds(837_596_665))) {
                    Some((uid_validity, uid)) => Answer::Appended { uid_validity, uid: Uid(uid) },
                    None => Answer::No(No::NonExistent),
                }
            }
        }]
    }
}

impl World {
    fn copy(&mut self, mailbox: MailboxId, uids: &UidSet, to: &str) -> Vec<Answer> {
        let Some(from) = self.by_id(mailbox) else { return vec![Answer::Gone] };
        let letters: Vec<(u32, u64, Flags, Time)> = from
            .letters
            .iter()
            .filter(|letter| uids.contains(Uid(letter.uid)))
            .map(|letter| (letter.uid, letter.blob, letter.flags.clone(), letter.date))
            .collect();
        let mut copied = Copied::default();
        for (uid, blob, flags, date) in letters {
            if let Some((validity, new)) = self.put(to, blob, flags, date) {
                copied.uid_validity = validity;
                copied.from.push(Uid(uid));
                copied.to.push(Uid(new));
            }
        }
        vec![Answer::Copied(copied)]
    }
}

fn pages<T>(rows: Vec<T>, page: impl Fn(Vec<T>) -> Answer) -> Vec<Answer> {
    let mut out = Vec::new();
    let mut rows = rows.into_iter().peekable();
    loop {
        out.push(page(rows.by_ref().take(PAGE).collect()));
        if rows.peek().is_none() {
            return out;
        }
    }
}

fn change(flags: &mut Flags, mode: StoreMode, by: &Flags) {
    match mode {
        StoreMode::Replace => *flags = by.clone(),
        StoreMode::Add => {
            flags.system |= by.system;
            for keyword in &by.keywords {
                if !flags.keywords.contains(keyword) {
                    flags.keywords.push(keyword.clone());
                }
            }
        }
        StoreMode::Remove => {
            flags.system &= !by.system;
            flags.keywords.retain(|keyword| !by.keywords.contains(keyword));
        }
    }
}

fn row(letter: &Letter, body: &Bytes, want: &FetchWant) -> Row {
    let message = message::parse(body, &message::Limits::default()).expect("test letters are small");
    let encoded = message.encode();
    let structure = Structure::decode(&encoded).expect("what was encoded decodes");
    let section = |section: &Section| {
        let of = match section.what {
            SectionWhat::All => message::Section::Whole,
            SectionWhat::Text => message::Section::Text,
            SectionWhat::Mime => message::Section::Mime,
            _ => message::Section::Header,
        };
        let Some(range) = structure.section(&section.part, of).expect("what was encoded decodes") else {
            return SectionData::None;
        };
        let bytes = &body[range.start as usize..range.end as usize];
        match &section.what {
            SectionWhat::HeaderFields(names) => SectionData::Bytes(header::only(bytes, names).into()),
            SectionWhat::HeaderFieldsNot(names) => SectionData::Bytes(header::without(bytes, names).into()),
            _ => SectionData::Blob { blob: BlobId(letter.blob), start: range.start, end: range.end },
        }
    };
    Row {
        uid: Uid(letter.uid),
        modseq: ModSeq(letter.modseq),
        flags: if want.flags { letter.flags.clone() } else { Flags::default() },
        internal_date: letter.date,
        size: body.len() as u64,
        sections: want.sections.iter().map(section).collect(),
        structure: if want.structure { encoded.clone().into() } else { Bytes::new() },
        damaged: false,
    }
}

fn holds(key: &SearchKey, letter: &Letter, body: &Bytes) -> bool {
    let field = |name: &str, text: &str| Needle::new(text).in_header(&body[..header::end(body)], name);
    match key {
        SearchKey::All => true,
        SearchKey::And(keys) => keys.iter().all(|key| holds(key, letter, body)),
        SearchKey::Or(a, b) => holds(a, letter, body) || holds(b, letter, body),
        SearchKey::Not(key) => !holds(key, letter, body),
        SearchKey::Uids(uids) => uids.contains(Uid(letter.uid)),
        SearchKey::Flag(bits) => letter.flags.system & bits == *bits,
        SearchKey::Keyword(keyword) => letter.flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword)),
        SearchKey::Larger(size) => body.len() as u64 > *size,
        SearchKey::Smaller(size) => (body.len() as u64) < *size,
        SearchKey::From(text) => field("From", text),
        SearchKey::Subject(text) => field("Subject", text),
        SearchKey::Header(name, text) => field(name, text),
        SearchKey::Text(text) | SearchKey::Body(text) => {
            String::from_utf8_lossy(body).to_lowercase().contains(&text.to_lowercase())
        }
        other => panic!("the fake cannot search by {other:?}"),
    }
}
