//! STORE (RFC 9051 6.4.6).

use super::super::ask::{Answer, Ask, Flags, No, StoreMode};
use super::super::grammar::set::SeqSet;
use super::super::response::{self, number, put};
use super::super::uids::UidSet;
use super::changes::tell_keywords;
use super::reply::{bad, no, ok, refused, server_bug};
use super::{After, Doing, Imap, Job, State};
use crate::proto::Part;

pub(super) struct StoreJob {
    uid: bool,
    silent: bool,
    uids: UidSet,
    mode: StoreMode,
    flags: Flags,
    stored: u64,
}

impl Imap {
    pub(super) fn store(&mut self, tag: Vec<u8>, uid: bool, set: &SeqSet, mode: StoreMode, silent: bool, flags: Flags) {
        let Some(uids) = self.writable(&tag).then(|| self.messages(&tag, uid, set)).flatten() else { return };
        if uids.is_empty() {
            return self.finish(ok(&tag, "STORE completed"), uid);
        }
        let job = StoreJob { uid, silent, uids, mode, flags, stored: 0 };
        // With .SILENT the client works out the new flags from those it knows: so it has to know them.
        if silent {
            return self.sync(After::Store { tag, job }, uid);
        }
        if let Some(ask) = self.store_ask(&job) {
            self.ask_for(tag, Job::Store(job), ask);
        }
    }

    pub(super) fn store_ask(&self, job: &StoreJob) -> Option<Ask> {
        let State::Selected(view) = &self.state else { return None };
        Some(Ask::Store { mailbox: view.mailbox, uids: job.uids.clone(), mode: job.mode, flags: job.flags.clone() })
    }

    pub(super) fn store_answered(&mut self, tag: Vec<u8>, mut job: StoreJob, answer: Answer, part: Part) {
        let State::Selected(view) = &mut self.state else { return };
        let line = match answer {
            Answer::Stored(stored) => {
                for row in &stored.rows {
                    job.stored += 1;
                    if row.changed {
                        view.note_own(row.modseq);
                    }
                    let Some(seq) = view.numbers.seq(row.uid) else { continue };
                    tell_keywords(view, &row.flags, self.out.page());
                    if job.silent {
                        continue;
                    }
                    let out = self.out.page();
                    put(out, "* ");
                    number(out, u64::from(seq));
                    put(out, " FETCH (");
                    if job.uid {
                        put(out, "UID ");
                        number(out, u64::from(row.uid.0));
                        out.push(b' ');
                    }
                    put(out, "FLAGS ");
                    response::flags(out, &row.flags, None);
                    put(out, ")\r\n");
                }
                if part == Part::More {
                    self.doing = Doing::Asked { tag, job: Job::Store(job) };
                    return;
                }
                // RFC 2180 4.2.1, RFC 5530 EXPUNGEISSUED.
                if !job.uid && job.stored < job.uids.len() {
                    no(&tag, "[EXPUNGEISSUED] Some of the messages are gone")
                } else {
                    ok(&tag, "STORE completed")
                }
            }
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.asked = false;
        self.finish(line, job.uid);
    }

    /// False after it was told that the mailbox may only be read.
    pub(super) fn writable(&mut self, tag: &[u8]) -> bool {
        let writable = matches!(&self.state, State::Selected(view) if !view.read_only);
        if !writable {
            // Expunges are not told: this may be the answer to STORE.
            self.finish(no(tag, "[READ-ONLY] The mailbox is opened only for reading"), false);
        }
        writable
    }

    /// The UIDs of the messages that a command names; `None` after it was told that there are no such numbers.
    pub(super) fn messages(&mut self, tag: &[u8], uid: bool, set: &SeqSet) -> Option<UidSet> {
        let State::Selected(view) = &self.state else {
            self.finish(refused(tag, &No::ServerBug), false);
            return None;
        };
        if uid {
            return Some(view.numbers.known(set));
        }
        let uids = view.numbers.numbered(set);
        if uids.is_none() {
            self.finish(bad(Some(tag), "There are not so many messages"), false);
        }
        uids
    }
}
