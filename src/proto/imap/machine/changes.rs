//! Telling what others did: EXPUNGE, EXISTS, FETCH of flags (RFC 9051 5.2, 7.5.1).

use super::super::ask::{Answer, Ask, Changes, Flags};
use super::super::response::{self, number, put};
use super::super::uids::UidSet;
use super::view::View;
use super::{After, Doing, Imap, Job, State};
use crate::proto::Part;

impl Imap {
    /// Asks what happened in the selected mailbox, tells it, and goes on with `after`.
    pub(super) fn sync(&mut self, after: After, expunge: bool) {
        let State::Selected(view) = &self.state else { return self.after(after) };
        let ask = Ask::Changes { mailbox: view.mailbox, since: view.upto };
        self.doing = Doing::Syncing { after, expunge };
        self.ask(ask);
    }

    pub(super) fn sync_answered(&mut self, after: After, expunge: bool, answer: Answer, part: Part) {
        match answer {
            Answer::Changes(changes) => self.tell(&changes, part, expunge),
            Answer::Gone => {
                if !matches!(after, After::Deleted(_)) {
                    return self.gone();
                }
                self.state = State::Authenticated;
                put(self.out.page(), "* OK [CLOSED] The selected mailbox is deleted\r\n");
            }
            // What could not be asked now is told another time; the command itself is done.
            _ => self.asked = false,
        }
        if self.asked {
            self.doing = Doing::Syncing { after, expunge };
        } else {
            self.after(after);
        }
    }

    fn after(&mut self, after: After) {
        self.doing = Doing::Ready;
        match after {
            After::Line(line) | After::Deleted(line) => self.out.page().extend_from_slice(&line),
            After::Store { tag, job } => {
                if let Some(ask) = self.store_ask(&job) {
                    self.ask_for(tag, Job::Store(job), ask);
                }
            }
        }
    }

    /// RFC 2180 3.3: the mailbox was deleted by somebody else.
    pub(super) fn gone(&mut self) {
        self.bye("The selected mailbox was deleted");
    }

    pub(super) fn tell(&mut self, changes: &Changes, part: Part, expunge: bool) {
        let State::Selected(view) = &mut self.state else { return };
        if !changes.expunged.is_empty() {
            view.gone = view.gone.union(&view.numbers.among(&changes.expunged));
        }
        if expunge && !view.gone.is_empty() {
            self.tell_expunged(&UidSet::new());
        }
        let State::Selected(view) = &mut self.state else { return };
        for row in &changes.flags {
            if view.own.contains(&row.modseq) || view.gone.contains(row.uid) {
                continue;
            }
            let Some(seq) = view.numbers.seq(row.uid) else { continue };
            tell_keywords(view, &row.flags, self.out.page());
            let out = self.out.page();
            put(out, "* ");
            number(out, u64::from(seq));
            put(out, " FETCH (FLAGS ");
            response::flags(out, &row.flags, None);
            put(out, ")\r\n");
        }
        let before = view.numbers.count();
        view.numbers.append(&changes.arrived);
        let count = view.numbers.count();
        if count != before {
            let out = self.out.page();
            put(out, "* ");
            number(out, u64::from(count));
            put(out, " EXISTS\r\n");
        }
        if part == Part::Last {
            view.upto = view.upto.max(changes.upto);
            view.own.clear();
        }
    }

    /// Tells that these messages, and those whose end could not be told before, are gone.
    pub(super) fn tell_expunged(&mut self, uids: &UidSet) {
        let State::Selected(view) = &mut self.state else { return };
        let going = view.numbers.among(&view.gone.union(uids));
        view.gone = UidSet::new();
        for (told, uid) in going.iter().enumerate() {
            let Some(seq) = view.numbers.seq(uid) else { continue };
            let out = self.out.page();
            put(out, "* ");
            // RFC 9051 7.5.1: each EXPUNGE counts the ones before it.
            number(out, u64::from(seq).saturating_sub(told as u64));
            put(out, " EXPUNGE\r\n");
        }
        view.numbers.remove(&going);
    }
}

/// RFC 9051 7.3.5: FLAGS again before a keyword is shown for the first time.
pub(super) fn tell_keywords(view: &mut View, flags: &Flags, out: &mut Vec<u8>) {
    if view.learn(flags) {
        write_flags(view, out);
    }
}

/// FLAGS and PERMANENTFLAGS.
pub(super) fn write_flags(view: &View, out: &mut Vec<u8>) {
    let all = Flags { system: 0x1f, keywords: view.keywords.clone() };
    put(out, "* FLAGS ");
    response::flags(out, &all, None);
    put(out, "\r\n* OK [PERMANENTFLAGS ");
    if view.read_only {
        put(out, "()] The mailbox is read-only\r\n");
    } else {
        response::flags(out, &all, view.new_keywords.then_some("\\*"));
        put(out, "] These are kept\r\n");
    }
}
