//! The session machine: states of RFC 9051 3, one command at a time.
//!
//! What happens is in two enums: [`State`] is what RFC 9051 calls so, [`Doing`] is what is under way. A command that
//! needs the host asks and goes on in its own file when the answer comes; before its tagged line, what others did to the
//! selected mailbox is asked for and told (`changes.rs`).

mod append;
mod auth;
mod changes;
mod commands;
mod config;
mod copy;
mod expunge;
mod fetch;
mod idle;
mod list;
mod mailboxes;
mod reply;
mod search;
mod select;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub use config::{Config, Limits, Literals, Tls};

use super::ask::{Answer, Ask, Notice};
use super::framing::{Caps, Frame, Framing};
use super::response::{Out, put};
use crate::base::Mono;
use crate::proto::sasl::Sasl;
use crate::proto::{BodyFault, Event, Output, Part, Secured, Session};
use reply::{bad, untagged};
use view::View;

/// Output that may wait before no further command is begun.
const MAX_WAITING: usize = 64 * 1024;

/// The server's side of one IMAP connection.
pub struct Imap {
    config: Config,
    secured: Option<Secured>,
    state: State,
    doing: Doing,
    framing: Framing,
    out: Out,
    /// A question, or the end of a body, is with the host (S1).
    asked: bool,
    started: Mono,
    now: Mono,
    /// When the peer was last heard of.
    heard: Mono,
    eof: bool,
    /// Log-ins that failed, and commands in a row that could not be read.
    failures: u32,
    bads: u32,
}

enum State {
    NotAuthenticated,
    Authenticated,
    Selected(Box<View>),
}

/// What is under way.
enum Doing {
    /// Nothing: commands are read.
    Ready,
    /// TLS is awaited; `greet` on a port where it comes first.
    Handshake {
        greet: bool,
    },
    /// A command asked the host.
    Asked {
        tag: Vec<u8>,
        job: Job,
    },
    /// AUTHENTICATE: the client's line or the host's answer is awaited.
    Sasl {
        tag: Vec<u8>,
        sasl: Box<Sasl>,
    },
    /// The message of APPEND comes in.
    Appending(append::Incoming),
    /// It is complete, and the host is asked to keep it.
    AppendEnd(super::grammar::append::AppendHead),
    /// [`Ask::Changes`], and then this.
    Syncing {
        after: After,
        expunge: bool,
    },
    /// RFC 2177: until DONE. `dirty`: a notice came while the last one was being looked into.
    Idling {
        tag: Vec<u8>,
        dirty: bool,
    },
    Closed,
}

const UNWELCOME: &str = "This log-in has ended, since the password or the account has changed; please log in again";

/// What a command goes on with when its answer comes.
enum Job {
    Login,
    /// Done or refused; `done` is what OK says.
    Plain {
        done: &'static str,
    },
    Delete,
    List(list::ListJob),
    Status(mailboxes::StatusJob),
    Select {
        read_only: bool,
    },
    Fetch(Box<fetch::FetchJob>),
    Store(store::StoreJob),
    Copy(copy::CopyJob),
    Expunge,
    Close,
    Search(search::SearchJob),
    AppendCheck(Box<super::grammar::append::AppendHead>, super::framing::Literal),
    Append,
}

enum After {
    /// The tagged line.
    Line(Vec<u8>),
    /// The tagged line of a DELETE, perhaps of the selected mailbox.
    Deleted(Vec<u8>),
    Store {
        tag: Vec<u8>,
        job: store::StoreJob,
    },
}

impl Imap {
    /// A connection that was accepted at `now`.
    pub fn new(config: Config, now: Mono) -> Imap {
        let limits = &config.limits;
        let most = limits.command_before_login;
        let framing = Framing::new(Caps {
            command: most,
            line: limits.line.min(most),
            literal: limits.literal.min(most as u64),
            skip: most as u64,
        });
        let implicit = config.tls == Tls::Implicit;
        let mut imap = Imap {
            config,
            secured: None,
            state: State::NotAuthenticated,
            doing: Doing::Handshake { greet: true },
            framing,
            out: Out::default(),
            asked: false,
            started: now,
            now,
            heard: now,
            eof: false,
            failures: 0,
            bads: 0,
        };
        if !implicit {
            imap.greet();
        }
        imap
    }

    /// RFC 9051 7.1.5 and 7.2.2: a greeting that says the capabilities saves the client a command.
    fn greet(&mut self) {
        self.doing = Doing::Ready;
        let line = format!("* OK [CAPABILITY {}] homepost is ready\r\n", self.capabilities());
        put(self.out.page(), &line);
    }

    /// Does what can be done without the host and without further input.
    fn run(&mut self) {
        while !self.asked && self.out.waiting() < MAX_WAITING {
            let went_on = match &self.doing {
                Doing::Ready => self.framing.next().map(|frame| self.frame(frame)),
                Doing::Appending(_) => self.framing.next().map(|frame| self.append_frame(frame)),
                Doing::Sasl { .. } => self.framing.plain_line().map(|line| self.sasl_line(line)),
                Doing::Idling { .. } => self.framing.plain_line().map(|line| self.idle_line(line)),
                _ => None,
            };
            if went_on.is_none() {
                if self.eof {
                    self.close();
                }
                return;
            }
        }
    }

    fn frame(&mut self, frame: Frame) {
        match frame {
            Frame::Command(line) => self.command(&line),
            Frame::Literal(literal) => self.literal(literal),
            Frame::TooLong(head) => {
                let tag = super::grammar::tag_of(&head);
                self.bad(tag.as_deref(), "[LIMIT] The command is too long");
            }
            Frame::Flood => self.bye("[TOOBIG] The literal is too large"),
            // Only APPEND streams, and it has its own loop.
            Frame::Chunk(_) => {}
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.asked = true;
        self.out.push(Output::Ask(ask));
    }

    /// Asks for a command.
    fn ask_for(&mut self, tag: Vec<u8>, job: Job, ask: Ask) {
        self.doing = Doing::Asked { tag, job };
        self.ask(ask);
    }

    /// Ends a command: tells what others did, then this line. `expunge`: numbers may change now (RFC 9051 7.5.1).
    fn finish(&mut self, line: Vec<u8>, expunge: bool) {
        self.sync(After::Line(line), expunge);
    }

    /// BAD, for what is no command.
    fn bad(&mut self, tag: Option<&[u8]>, why: &str) {
        let line = bad(tag, why);
        self.out.page().extend_from_slice(&line);
        self.bads += 1;
        if self.bads >= self.config.limits.bad_commands {
            self.bye("[CLIENTBUG] Too many commands that cannot be understood");
        }
    }

    fn bye(&mut self, why: &str) {
        let line = untagged(&format!("BYE {why}"));
        self.out.page().extend_from_slice(&line);
        self.close();
    }

    fn close(&mut self) {
        if matches!(self.doing, Doing::Closed) {
            return;
        }
        if matches!(self.doing, Doing::Appending(_)) {
            self.out.push(Output::BodyAbort);
        }
        self.doing = Doing::Closed;
        self.state = State::NotAuthenticated;
        self.framing.clear();
        self.out.push(Output::Close);
    }

    fn answered(&mut self, answer: Answer, part: Part) {
        if !self.asked {
            return;
        }
        self.asked = part == Part::More;
        match answer {
            Answer::HangUp => return self.close(),
            Answer::Unwelcome => return self.bye(UNWELCOME),
            _ => {}
        }
        match std::mem::replace(&mut self.doing, Doing::Ready) {
            Doing::Asked { tag, job } => self.job_answered(tag, job, answer, part),
            Doing::Sasl { tag, sasl } => self.sasl_answered(tag, sasl, answer),
            Doing::Syncing { after, expunge } => self.sync_answered(after, expunge, answer, part),
            Doing::Idling { tag, dirty } => self.idle_answered(tag, dirty, answer, part),
            other => self.doing = other,
        }
    }

    fn job_answered(&mut self, tag: Vec<u8>, job: Job, answer: Answer, part: Part) {
        match job {
            Job::Login => self.login_answered(tag, answer),
            Job::Plain { done } => self.plain_answered(tag, done, answer),
            Job::Delete => self.delete_answered(tag, answer),
            Job::List(job) => self.list_answered(tag, job, answer, part),
            Job::Status(job) => self.status_answered(tag, job, answer),
            Job::Select { read_only } => self.select_answered(tag, read_only, answer),
            Job::Fetch(job) => self.fetch_answered(tag, job, answer, part),
            Job::Store(job) => self.store_answered(tag, job, answer, part),
            Job::Copy(job) => self.copy_answered(tag, job, answer, part),
            Job::Expunge => self.expunge_answered(tag, answer, part),
            Job::Close => self.close_answered(tag, answer, part),
            Job::Search(job) => self.search_answered(tag, job, answer, part),
            Job::AppendCheck(head, literal) => self.append_checked(*head, literal, answer),
            Job::Append => self.append_answered(tag, answer),
        }
    }

    fn secured(&mut self, secured: Secured) {
        // S4: what came in the clear does not count any more.
        self.framing.clear();
        self.secured = Some(secured);
        self.heard = self.now;
        match self.doing {
            Doing::Handshake { greet: true } => self.greet(),
            Doing::Handshake { greet: false } => self.doing = Doing::Ready,
            _ => {}
        }
    }

    fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::GoingDown => self.bye("[UNAVAILABLE] The server is going down, please come back soon"),
            Notice::Unwelcome => self.bye(UNWELCOME),
            Notice::Changed { upto } => self.idle_noticed(upto),
        }
    }

    fn tick(&mut self) {
        if self.deadline().is_some_and(|deadline| self.now >= deadline) {
            self.bye("[INUSE] Nothing was heard for too long");
        }
    }

    fn body_stored(&mut self, stored: Result<(), BodyFault>) {
        if self.asked {
            self.asked = false;
            self.append_stored(stored);
        }
    }
}

impl Session for Imap {
    type Ask = Ask;
    type Answer = Answer;
    type Notice = Notice;

    fn input(&mut self, now: Mono, event: Event<Answer, Notice>) {
        if matches!(self.doing, Doing::Closed) {
            return;
        }
        self.now = self.now.max(now);
        match event {
            // S4: nothing in the clear between STARTTLS and TLS.
            Event::Bytes(_) if matches!(self.doing, Doing::Handshake { .. }) => {}
            Event::Bytes(bytes) => {
                self.heard = self.now;
                self.framing.push(bytes);
            }
            Event::Answer(answer, part) => {
                // The time the host took is not the peer's.
                self.heard = self.now;
                self.answered(answer, part);
            }
            Event::Notice(notice) => self.noticed(notice),
            Event::BodyStored(stored) => self.body_stored(stored),
            Event::Tick => self.tick(),
            Event::Secured(secured) => self.secured(secured),
            Event::Eof => self.eof = true,
        }
        self.run();
    }

    fn output(&mut self) -> Option<Output<Ask>> {
        let next = self.out.pop();
        if next.is_some() {
            return next;
        }
        self.run();
        self.out.pop()
    }

    fn wants_input(&self) -> bool {
        !self.asked
            && !self.eof
            && !matches!(self.doing, Doing::Handshake { .. } | Doing::Closed)
            // What lies there is not whole yet, or longer than may be and about to be refused.
            && self.framing.waiting() <= self.framing.caps.command
            && self.out.waiting() < MAX_WAITING
    }

    fn wants_notice(&self) -> bool {
        // Without a mailbox nothing would come of it, and a host that has news would offer them for ever.
        matches!((&self.doing, &self.state), (Doing::Idling { .. }, State::Selected(_))) && !self.asked
    }

    fn going_down() -> Option<Notice> {
        Some(Notice::GoingDown)
    }

    /// RFC 9051 5.4: half an hour once logged in; before that much less, and also a limit in all.
    fn deadline(&self) -> Option<Mono> {
        if self.asked || matches!(self.doing, Doing::Closed) {
            return None;
        }
        let limits = &self.config.limits;
        Some(match self.state {
            State::NotAuthenticated => {
                self.heard.plus_ms(limits.login_idle_ms).min(self.started.plus_ms(limits.login_ms))
            }
            _ => self.heard.plus_ms(limits.idle_ms),
        })
    }
}
