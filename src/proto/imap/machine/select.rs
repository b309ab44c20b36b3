//! SELECT and EXAMINE (RFC 9051 6.3.2, 6.3.3; RFC 3501 6.3.1 for RECENT and UNSEEN).

use super::super::ask::{Answer, Ask};
use super::super::response::{number, put};
use super::super::uids::UidSet;
use super::changes::write_flags;
use super::reply::{ok, refused, server_bug};
use super::view::{Numbering, View};
use super::{Imap, Job, State};

impl Imap {
    pub(super) fn select(&mut self, tag: Vec<u8>, name: String, read_only: bool) {
        if matches!(self.state, State::Selected(_)) {
            // RFC 9051 6.3.2: what follows is about the new mailbox. Also if that cannot be selected.
            put(self.out.page(), "* OK [CLOSED] The previous mailbox is closed\r\n");
            self.state = State::Authenticated;
        }
        self.ask_for(tag, Job::Select { read_only }, Ask::Select { name, read_only });
    }

    pub(super) fn select_answered(&mut self, tag: Vec<u8>, read_only: bool, answer: Answer) {
        let selected = match answer {
            Answer::Selected(selected) => *selected,
            Answer::No(why) => return self.finish(refused(&tag, &why), true),
            _ => return self.finish(server_bug(&tag), true),
        };
        let view = View {
            mailbox: selected.mailbox,
            read_only: read_only || selected.read_only,
            numbers: Numbering::new(&selected.uids),
            gone: UidSet::new(),
            upto: selected.upto,
            own: Vec::new(),
            keywords: selected.keywords,
            new_keywords: selected.new_keywords,
        };
        let out = self.out.page();
        write_flags(&view, out);
        let mut line = |before: &str, n: u64, after: &str| {
            put(out, before);
            number(out, n);
            put(out, after);
        };
        line("* ", u64::from(view.numbers.count()), " EXISTS\r\n* 0 RECENT\r\n");
        if let Some(seq) = selected.first_unseen.and_then(|uid| view.numbers.seq(uid)) {
            line("* OK [UNSEEN ", u64::from(seq), "] The first one not seen\r\n");
        }
        line("* OK [UIDVALIDITY ", u64::from(selected.uid_validity), "] UIDs are valid\r\n");
        line("* OK [UIDNEXT ", u64::from(selected.uid_next), "] The next UID\r\n");
        let done = match (view.read_only, read_only) {
            (false, _) => "[READ-WRITE] SELECT completed",
            (true, false) => "[READ-ONLY] SELECT completed",
            (true, true) => "[READ-ONLY] EXAMINE completed",
        };
        // Nothing can have happened since: no sync.
        let done = ok(&tag, done);
        self.out.page().extend_from_slice(&done);
        self.state = State::Selected(Box::new(view));
    }
}
