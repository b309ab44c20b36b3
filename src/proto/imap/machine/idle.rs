//! IDLE (RFC 2177, RFC 9051 6.3.13).

use bytes::Bytes;

use super::super::ask::{Answer, Ask};
use super::super::response::put;
use super::reply::ok;
use super::{Doing, Imap, State};
use crate::base::ModSeq;
use crate::proto::Part;

impl Imap {
    pub(super) fn idle(&mut self, tag: Vec<u8>) {
        // The continuation comes first: clients exist (imapclient among them) that take anything before it for a refusal.
        put(self.out.page(), "+ idling\r\n");
        self.doing = Doing::Idling { tag, dirty: false };
        if let State::Selected(view) = &self.state {
            let ask = Ask::Changes { mailbox: view.mailbox, since: view.upto };
            self.ask(ask);
        }
    }

    pub(super) fn idle_line(&mut self, line: Result<Bytes, ()>) {
        let Doing::Idling { tag, .. } = std::mem::replace(&mut self.doing, Doing::Ready) else { return };
        match line {
            Ok(line) if line.eq_ignore_ascii_case(b"DONE") => {
                let line = ok(&tag, "IDLE completed");
                self.finish(line, true);
            }
            _ => self.bad(Some(&tag), "IDLE ends with DONE"),
        }
    }

    pub(super) fn idle_noticed(&mut self, upto: ModSeq) {
        let asked = self.asked;
        let Doing::Idling { dirty, .. } = &mut self.doing else { return };
        let State::Selected(view) = &self.state else { return };
        if asked {
            *dirty = true;
        } else if upto > view.upto {
            let ask = Ask::Changes { mailbox: view.mailbox, since: view.upto };
            self.ask(ask);
        }
    }

    pub(super) fn idle_answered(&mut self, tag: Vec<u8>, dirty: bool, answer: Answer, part: Part) {
        self.doing = Doing::Idling { tag, dirty };
        match answer {
            Answer::Changes(changes) => self.tell(&changes, part, true),
            Answer::Gone => return self.gone(),
            // It will be told with the next notice, or after DONE.
            _ => self.asked = false,
        }
        if self.asked {
            return;
        }
        if let (Doing::Idling { dirty, .. }, State::Selected(view)) = (&mut self.doing, &self.state)
            && std::mem::take(dirty)
        {
            let ask = Ask::Changes { mailbox: view.mailbox, since: view.upto };
            self.ask(ask);
        }
    }
}
