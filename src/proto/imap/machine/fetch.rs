//! FETCH (RFC 9051 6.4.5, 7.5.2).

use super::super::ask::{Answer, Ask, FetchWant, Flags, Row, SectionData, StoreMode};
use super::super::grammar::fetch::{FetchItem, FetchSection};
use super::super::grammar::set::SeqSet;
use super::super::response::{self, Out, number, put};
use super::super::uids::UidSet;
use super::changes::tell_keywords;
use super::reply::{no, ok, refused, server_bug};
use super::{Doing, Imap, Job, State};
use crate::message::{Structure, date};
use crate::proto::{Output, Part};

pub(super) struct FetchJob {
    uid: bool,
    items: Vec<FetchItem>,
    want: FetchWant,
    uids: UidSet,
    /// \Seen is being set, before anything is fetched.
    marking: bool,
    /// Those that were not \Seen before: their flags are told along.
    seen: UidSet,
    told: u64,
    /// Of one of them what is kept cannot be read.
    corrupt: bool,
}

impl Imap {
    pub(super) fn fetch(&mut self, tag: Vec<u8>, uid: bool, set: &SeqSet, mut items: Vec<FetchItem>) {
        let Some(uids) = self.messages(&tag, uid, set) else { return };
        let State::Selected(view) = &self.state else { return };
        if uids.is_empty() {
            return self.finish(ok(&tag, "FETCH completed"), uid);
        }
        // RFC 9051 6.4.9: UID FETCH always tells the UID.
        if uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let sections = || items.iter().filter_map(|item| if let FetchItem::Section(s) = item { Some(s) } else { None });
        let marking = !view.read_only && sections().any(|section| !section.peek);
        let wants = |item: FetchItem| items.contains(&item);
        let want = FetchWant {
            flags: marking || wants(FetchItem::Flags),
            internal_date: wants(FetchItem::InternalDate),
            size: wants(FetchItem::Size),
            structure: wants(FetchItem::Envelope) || wants(FetchItem::Body) || wants(FetchItem::BodyStructure),
            sections: sections().map(|section| section.section.clone()).collect(),
        };
        let mailbox = view.mailbox;
        let job = FetchJob { uid, items, want, uids, marking, seen: UidSet::new(), told: 0, corrupt: false };
        if marking {
            let flags = Flags::system(Flags::SEEN);
            let ask = Ask::Store { mailbox, uids: job.uids.clone(), mode: StoreMode::Add, flags };
            self.ask_for(tag, Job::Fetch(Box::new(job)), ask);
        } else {
            self.fetch_ask(tag, job);
        }
    }

    fn fetch_ask(&mut self, tag: Vec<u8>, mut job: FetchJob) {
        let State::Selected(view) = &self.state else { return };
        job.marking = false;
        let ask = Ask::Fetch { mailbox: view.mailbox, uids: job.uids.clone(), want: job.want.clone() };
        self.ask_for(tag, Job::Fetch(Box::new(job)), ask);
    }

    pub(super) fn fetch_answered(&mut self, tag: Vec<u8>, mut job: Box<FetchJob>, answer: Answer, part: Part) {
        let State::Selected(view) = &mut self.state else { return };
        let line = match answer {
            Answer::Stored(stored) if job.marking => {
                for row in stored.rows.iter().filter(|row| row.changed) {
                    view.note_own(row.modseq);
                    job.seen.push(row.uid);
                }
                if part == Part::More {
                    self.doing = Doing::Asked { tag, job: Job::Fetch(job) };
                    return;
                }
                return self.fetch_ask(tag, *job);
            }
            Answer::No(_) if job.marking => {
                // A full disk keeps nobody from reading.
                self.asked = false;
                return self.fetch_ask(tag, *job);
            }
            Answer::Rows(rows) if !job.marking => {
                for row in &rows {
                    let Some(seq) = view.numbers.seq(row.uid) else { continue };
                    job.told += 1;
                    if job.want.flags && !row.damaged {
                        tell_keywords(view, &row.flags, self.out.page());
                    }
                    job.corrupt |= !write_row(&mut self.out, seq, row, &job);
                }
                if part == Part::More {
                    self.doing = Doing::Asked { tag, job: Job::Fetch(job) };
                    return;
                }
                if job.corrupt {
                    no(&tag, "[SERVERBUG] What is known of some of the messages cannot be read")
                } else if !job.uid && job.told < job.uids.len() {
                    // RFC 2180 4.1.2, RFC 5530 EXPUNGEISSUED.
                    no(&tag, "[EXPUNGEISSUED] Some of the messages are gone")
                } else {
                    ok(&tag, "FETCH completed")
                }
            }
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.asked = false;
        self.finish(line, job.uid);
    }
}

/// False, and nothing is written, if the message is damaged, or its structure is wanted and cannot be read.
fn write_row(out: &mut Out, seq: u32, row: &Row, job: &FetchJob) -> bool {
    if row.damaged {
        return false;
    }
    let structure = match job.want.structure.then(|| Structure::decode(&row.structure)) {
        None => None,
        Some(Ok(structure)) => Some(structure),
        Some(Err(_)) => return false,
    };
    // Read all before writing any: a line once begun has to end.
    let mut envelope = None;
    let mut body = None;
    if let Some(structure) = &structure {
        if job.items.contains(&FetchItem::Envelope) {
            match structure.envelope() {
                Ok(read) => envelope = Some(read),
                Err(_) => return false,
            }
        }
        if job.items.iter().any(|item| matches!(item, FetchItem::Body | FetchItem::BodyStructure)) {
            match structure.body() {
                Ok(read) => body = Some(read),
                Err(_) => return false,
            }
        }
    }
    let page = out.page();
    put(page, "* ");
    number(page, u64::from(seq));
    put(page, " FETCH (");
    let mut first = true;
    if job.seen.contains(row.uid) && !job.items.contains(&FetchItem::Flags) {
        put(page, "FLAGS ");
        response::flags(page, &row.flags, None);
        first = false;
    }
    let mut sections = row.sections.iter();
    for item in &job.items {
        let page = out.page();
        if !first {
            page.push(b' ');
        }
        first = false;
        match item {
            FetchItem::Flags => {
                put(page, "FLAGS ");
                response::flags(page, &row.flags, None);
            }
            FetchItem::Uid => {
                put(page, "UID ");
                number(page, u64::from(row.uid.0));
            }
            FetchItem::InternalDate => {
                put(page, "INTERNALDATE \"");
                put(page, &date::imap(date::Date::utc(row.internal_date)));
                page.push(b'"');
            }
            FetchItem::Size => {
                put(page, "RFC822.SIZE ");
                number(page, row.size);
            }
            FetchItem::Envelope => {
                put(page, "ENVELOPE ");
                if let Some(envelope) = &envelope {
                    response::envelope(page, envelope);
                }
            }
            FetchItem::Body | FetchItem::BodyStructure => {
                let extended = *item == FetchItem::BodyStructure;
                put(page, if extended { "BODYSTRUCTURE " } else { "BODY " });
                if let Some(body) = &body {
                    response::structure(page, body, extended);
                }
            }
            FetchItem::Section(section) => write_section(out, section, sections.next()),
        }
    }
    put(out.page(), ")\r\n");
    true
}

fn write_section(out: &mut Out, section: &FetchSection, data: Option<&SectionData>) {
    let page = out.page();
    put(page, &section.label);
    page.push(b' ');
    // RFC 9051 6.4.5: a range beyond the end is cut, and may be empty.
    let cut = |length: u64| match section.partial {
        None => (0, length),
        Some((start, count)) => (start.min(length), start.saturating_add(count).min(length)),
    };
    let (from, to) = match data {
        None | Some(SectionData::None) => return put(page, "NIL"),
        Some(SectionData::Blob { start, end, .. }) => cut(end.saturating_sub(*start)),
        Some(SectionData::Bytes(bytes)) => cut(bytes.len() as u64),
    };
    if from == to {
        return put(page, "\"\"");
    }
    page.push(b'{');
    number(page, to - from);
    put(page, "}\r\n");
    match data {
        Some(SectionData::Blob { blob, start, .. }) => {
            out.push(Output::SendBlob { blob: *blob, range: start + from..start + to });
        }
        Some(SectionData::Bytes(bytes)) => {
            page.extend_from_slice(bytes.get(from as usize..to as usize).unwrap_or_default());
        }
        _ => {}
    }
}
