//! EXPUNGE, UID EXPUNGE (RFC 4315 2.1), CLOSE (RFC 9051 6.4.1).

use super::super::ask::{Answer, Ask};
use super::super::grammar::set::SeqSet;
use super::reply::{ok, refused, server_bug};
use super::{Doing, Imap, Job, State};
use crate::proto::Part;

impl Imap {
    pub(super) fn expunge(&mut self, tag: Vec<u8>, uids: Option<SeqSet>) {
        if !self.writable(&tag) {
            return;
        }
        let State::Selected(view) = &self.state else { return };
        let only = uids.map(|set| view.numbers.known(&set));
        let ask = Ask::Expunge { mailbox: view.mailbox, only };
        self.ask_for(tag, Job::Expunge, ask);
    }

    pub(super) fn expunge_answered(&mut self, tag: Vec<u8>, answer: Answer, part: Part) {
        let line = match answer {
            Answer::Expunged(expunged) => {
                self.tell_expunged(&expunged.uids);
                if part == Part::More {
                    self.doing = Doing::Asked { tag, job: Job::Expunge };
                    return;
                }
                ok(&tag, "EXPUNGE completed")
            }
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.asked = false;
        self.finish(line, true);
    }

    /// CLOSE expunges without telling, unless the mailbox may only be read.
    pub(super) fn close_mailbox(&mut self, tag: Vec<u8>) {
        let State::Selected(view) = &self.state else { return };
        if view.read_only {
            self.state = State::Authenticated;
            return self.finish(ok(&tag, "CLOSE completed"), true);
        }
        let ask = Ask::Expunge { mailbox: view.mailbox, only: None };
        self.ask_for(tag, Job::Close, ask);
    }

    pub(super) fn close_answered(&mut self, tag: Vec<u8>, answer: Answer, part: Part) {
        let line = match answer {
            Answer::Expunged(_) if part == Part::More => {
                self.doing = Doing::Asked { tag, job: Job::Close };
                return;
            }
            Answer::Expunged(_) => {
                self.state = State::Authenticated;
                ok(&tag, "CLOSE completed")
            }
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.asked = false;
        self.finish(line, true);
    }
}
