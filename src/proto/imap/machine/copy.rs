//! COPY and MOVE (RFC 9051 6.4.7, 6.4.8; COPYUID of RFC 4315).

use super::super::ask::{Answer, Ask, Copied};
use super::super::grammar::set::SeqSet;
use super::reply::{no, ok, refused_target, server_bug, untagged};
use super::{Doing, Imap, Job, State};
use crate::proto::Part;

pub(super) struct CopyJob {
    uid: bool,
    moving: bool,
    /// Something was copied or moved.
    any: bool,
}

impl Imap {
    pub(super) fn copy(&mut self, tag: Vec<u8>, uid: bool, set: &SeqSet, to: String, moving: bool) {
        if moving && !self.writable(&tag) {
            return;
        }
        let Some(uids) = self.messages(&tag, uid, set) else { return };
        let State::Selected(view) = &self.state else { return };
        let mailbox = view.mailbox;
        let job = CopyJob { uid, moving, any: false };
        if uids.is_empty() {
            return self.copy_done(&tag, &job);
        }
        let ask = if moving { Ask::Move { mailbox, uids, to } } else { Ask::Copy { mailbox, uids, to } };
        self.ask_for(tag, Job::Copy(job), ask);
    }

    pub(super) fn copy_answered(&mut self, tag: Vec<u8>, mut job: CopyJob, answer: Answer, part: Part) {
        let line = match answer {
            Answer::Copied(copied) => {
                job.any |= !copied.from.is_empty();
                if !job.moving {
                    let code = copy_uid(&copied);
                    self.asked = false;
                    return match code {
                        Some(code) => self.finish(ok(&tag, &format!("{code} COPY completed")), true),
                        None => self.copy_done(&tag, &job),
                    };
                }
                // RFC 6851 4.3: COPYUID before the first EXPUNGE.
                if let Some(code) = copy_uid(&copied) {
                    let line = untagged(&format!("OK {code} Moved"));
                    self.out.page().extend_from_slice(&line);
                }
                self.tell_expunged(&copied.from);
                if part == Part::More {
                    self.doing = Doing::Asked { tag, job: Job::Copy(job) };
                    return;
                }
                return self.copy_done(&tag, &job);
            }
            Answer::No(why) => refused_target(&tag, &why),
            _ => server_bug(&tag),
        };
        self.asked = false;
        self.finish(line, true);
    }

    fn copy_done(&mut self, tag: &[u8], job: &CopyJob) {
        let line = match (job.any || job.uid, job.moving) {
            (true, true) => ok(tag, "MOVE completed"),
            (true, false) => ok(tag, "COPY completed"),
            // RFC 2180 4.4: none of them is there any more.
            (false, _) => no(tag, "[EXPUNGEISSUED] The messages are gone"),
        };
        self.finish(line, true);
    }
}

fn copy_uid(copied: &Copied) -> Option<String> {
    (!copied.from.is_empty()).then(|| format!("[COPYUID {} {} {}]", copied.uid_validity, copied.from, copied.to))
}
