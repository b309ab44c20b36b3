//! SEARCH (RFC 9051 6.4.4, RFC 3501 7.2.5) and ESEARCH (RFC 4731).

use super::super::ask::{Answer, Ask, SearchKey};
use super::super::grammar::search::{Key, SearchArgs, Wanted};
use super::super::response::{nstring, number, put};
use super::super::uids::UidSet;
use super::reply::{bad, ok, refused, server_bug};
use super::view::Numbering;
use super::{Doing, Imap, Job, State};
use crate::base::Uid;
use crate::proto::Part;

pub(super) struct SearchJob {
    uid: bool,
    wanted: Option<Wanted>,
    found: UidSet,
}

impl Imap {
    pub(super) fn search(&mut self, tag: Vec<u8>, args: SearchArgs) {
        let State::Selected(view) = &self.state else { return };
        let Some(key) = translate(args.key, &view.numbers) else {
            return self.finish(bad(Some(&tag), "There are not so many messages"), false);
        };
        let ask = Ask::Search { mailbox: view.mailbox, key };
        self.ask_for(tag, Job::Search(SearchJob { uid: args.uid, wanted: args.wanted, found: UidSet::new() }), ask);
    }

    pub(super) fn search_answered(&mut self, tag: Vec<u8>, mut job: SearchJob, answer: Answer, part: Part) {
        let line = match answer {
            Answer::Found(found) => {
                for &(first, last) in found.ranges() {
                    job.found.push_range(first, last);
                }
                if part == Part::More {
                    self.doing = Doing::Asked { tag, job: Job::Search(job) };
                    return;
                }
                self.write_found(&tag, &job);
                ok(&tag, "SEARCH completed")
            }
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.asked = false;
        self.finish(line, job.uid);
    }

    fn write_found(&mut self, tag: &[u8], job: &SearchJob) {
        let State::Selected(view) = &self.state else { return };
        // What came since is not numbered yet, and told later.
        let mut found = view.numbers.among(&job.found);
        if !job.uid {
            found = found.iter().filter_map(|uid| view.numbers.seq(uid)).map(Uid).collect();
        }
        let Some(wanted) = job.wanted else {
            put(self.out.page(), "* SEARCH");
            for n in found.iter() {
                let out = self.out.page();
                out.push(b' ');
                number(out, u64::from(n.0));
            }
            return put(self.out.page(), "\r\n");
        };
        let out = self.out.page();
        // RFC 4466 2.6.2: the tag is a string here.
        put(out, "* ESEARCH (TAG ");
        nstring(out, Some(tag));
        put(out, if job.uid { ") UID" } else { ")" });
        // RFC 4731 3.1: without a match only COUNT is told.
        if let (true, Some(first)) = (wanted.min, found.first()) {
            put(out, &format!(" MIN {first}"));
        }
        if let (true, Some(last)) = (wanted.max, found.last()) {
            put(out, &format!(" MAX {last}"));
        }
        if wanted.all && !found.is_empty() {
            put(out, &format!(" ALL {found}"));
        }
        if wanted.count {
            put(out, &format!(" COUNT {}", found.len()));
        }
        put(out, "\r\n");
    }
}

/// Sequence numbers to UIDs; `None` if one is larger than the number of messages. As deep as the grammar let it be.
fn translate(key: Key, numbers: &Numbering) -> Option<SearchKey> {
    Some(match key {
        Key::Is(key) => key,
        Key::Seqs(set) => SearchKey::Uids(numbers.numbered(&set)?),
        Key::Uids(set) => SearchKey::Uids(numbers.known(&set)),
        Key::And(keys) => {
            SearchKey::And(keys.into_iter().map(|key| translate(key, numbers)).collect::<Option<Vec<_>>>()?)
        }
        Key::Or(a, b) => SearchKey::Or(Box::new(translate(*a, numbers)?), Box::new(translate(*b, numbers)?)),
        Key::Not(key) => SearchKey::Not(Box::new(translate(*key, numbers)?)),
    })
}
