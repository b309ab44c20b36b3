//! The session machine: what may follow what.
//!
//! `commands` answers command lines, `letter` takes DATA and BDAT, `login` takes AUTH. What a session may know at each
//! point is carried by its [`Stage`]; what outlives a command (greeting, log-in, letter begun) stands beside it.

mod commands;
mod letter;
mod login;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::base::Mono;
use crate::proto::sasl::{Identity, Sasl};
use crate::proto::{BodyFault, Event, Output, Part, Secured, Session};

use super::ask::{Answer, Ask, Notice};
use super::frame::{Line, Lines};
use super::limits::{Config, Limits, Port};
use super::reply::Reply;
use letter::{Chunk, Letter};

/// RFC 4954 4: lines of an AUTH exchange may have 12,288 octets.
const AUTH_LINE: usize = 12_288;

/// A peer that is silent this long behind something that looks like the end of its letter, and is none, waits for us.
const LOOK_ALIKE_MS: u64 = 10_000;

/// The host hears of a stranger's commands by so many at a time.
const COMMANDS: u64 = 20;

/// One connection.
pub struct Machine {
    config: Config,
    now: Mono,
    stage: Stage,
    /// Bytes not looked at yet.
    input: BytesMut,
    lines: Lines,
    out: VecDeque<Output<Ask>>,
    /// Replies not yet in `out`.
    writing: BytesMut,
    secured: Option<Secured>,
    hello: Option<Hello>,
    who: Option<Identity>,
    letter: Option<Letter>,
    /// The last 250 for a letter, on its way to the peer.
    receipt: Receipt,
    /// The peer will send nothing more.
    eof: bool,
    /// The server is going down: 421 as soon as no command is in progress.
    closing: bool,
    deadline: Option<Mono>,
    commands: u64,
    /// Of these, the ones that the host has not heard of.
    uncounted: u64,
    errors: u64,
    auth_failures: u64,
}

#[derive(Clone, Debug)]
struct Hello {
    esmtp: bool,
}

/// P3: whether the peer has read our acceptance of its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receipt {
    None,
    /// It waits in our output.
    Waits,
    /// The driver has it.
    Sent,
    /// Something came from the peer after that.
    Answered,
}

enum Stage {
    /// Implicit TLS: nothing is said before it stands.
    Handshake,
    /// A question is out; this is what its answer is for.
    Asking(Asking),
    /// Between two commands.
    Command,
    /// AUTH: the client's next response.
    Login(Sasl),
    /// A failed log-in is answered only then.
    Slow {
        until: Mono,
        reply: Reply,
    },
    Data(letter::Data),
    Bdat(Chunk),
    StartTls,
    Closed,
}

enum Asking {
    Connect,
    Hello { esmtp: bool },
    Commands,
    Login(Sasl),
    Mail { utf8: bool },
    Rcpt,
    Stored,
    Accept,
    Confirmed,
}

impl Machine {
    /// On [`Port::Submissions`] the first event is `Secured`; on the others the first output is the first question.
    pub fn new(config: Config, now: Mono) -> Machine {
        let command_ms = config.limits.command_ms;
        let mut machine = Machine {
            stage: Stage::Handshake,
            config,
            now,
            input: BytesMut::new(),
            lines: Lines::default(),
            out: VecDeque::new(),
            writing: BytesMut::new(),
            secured: None,
            hello: None,
            who: None,
            letter: None,
            receipt: Receipt::None,
            eof: false,
            closing: false,
            deadline: Some(now.plus_ms(command_ms)),
            commands: 0,
            uncounted: 0,
            errors: 0,
            auth_failures: 0,
        };
        if machine.config.port != Port::Submissions {
            machine.ask(Ask::Connect { secured: None }, Asking::Connect);
        }
        machine
    }

    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Does what can be done with the input at hand.
    fn run(&mut self) {
        loop {
            if self.closing && matches!(self.stage, Stage::Handshake | Stage::Command | Stage::Login(_)) {
                self.part(Reply::new(
                    421,
                    (4, 3, 2),
                    format!("{} is going down, come back soon", self.config.hostname),
                ));
            }
            let going = match &self.stage {
                Stage::Command => self.next_command(),
                Stage::Login(_) => self.next_response(),
                Stage::Data(_) => self.next_data(),
                Stage::Bdat(_) => self.next_chunk(),
                Stage::Handshake | Stage::Asking(_) | Stage::Slow { .. } | Stage::StartTls | Stage::Closed => false,
            };
            if !going {
                break;
            }
        }
        // What was begun and can never be finished.
        if self.eof && matches!(self.stage, Stage::Command | Stage::Login(_) | Stage::Data(_) | Stage::Bdat(_)) {
            self.close();
        }
    }

    /// Takes and answers one command line; false if there is none.
    fn next_command(&mut self) -> bool {
        let limit = self.limits().command_line_bytes;
        let submission = self.config.port.is_submission();
        let line = self.lines.next(&mut self.input, |start| {
            let auth = submission && start.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
            if auth { limit.max(AUTH_LINE) } else { limit }
        });
        if line == Line::Partial {
            return false;
        }
        self.commands = self.commands.saturating_add(1);
        self.expect_command();
        if self.commands > self.limits().commands {
            self.part(Reply::new(421, (4, 7, 0), "Too many commands on one connection"));
            return true;
        }
        match line {
            Line::Whole(line) if self.receipt == Receipt::Answered => {
                self.receipt = Receipt::None;
                self.ask_before(line, Ask::Confirmed, Asking::Confirmed);
            }
            Line::Whole(line) if self.uncounted >= COMMANDS && !self.config.port.is_submission() => {
                let count = std::mem::take(&mut self.uncounted);
                self.ask_before(line, Ask::Commands { count }, Asking::Commands);
            }
            Line::Whole(line) => {
                self.uncounted = self.uncounted.saturating_add(1);
                self.command(&line);
            }
            other => {
                self.uncounted = self.uncounted.saturating_add(1);
                self.broken_line(other, (5, 5, 2));
            }
        }
        true
    }

    /// The line waits at the front until the host has answered.
    fn ask_before(&mut self, line: BytesMut, ask: Ask, asking: Asking) {
        self.commands -= 1;
        let rest = std::mem::replace(&mut self.input, line);
        self.input.extend_from_slice(b"\r\n");
        self.input.unsplit(rest);
        self.ask(ask, asking);
    }

    /// A line that is none.
    fn broken_line(&mut self, line: Line, too_long: (u8, u16, u16)) {
        match line {
            Line::Dirty(what) => self.error(Reply::new(501, (5, 5, 2), format!("The line holds {what}"))),
            Line::TooLong => self.error(Reply::new(500, too_long, "The line is too long")),
            Line::BareLf => {
                // X1: where the peer thinks that lines end is not known, so nothing more of it can be trusted.
                self.say(Reply::new(501, (5, 5, 2), "The line ends with a bare LF; lines end with CR LF"));
                self.part(Reply::new(421, (4, 7, 0), format!("{} closes the connection", self.config.hostname)));
            }
            Line::Whole(_) | Line::Partial => {}
        }
    }

    /// A reply on its way; behind the last word there is none.
    fn say(&mut self, reply: Reply) {
        if !matches!(self.stage, Stage::Closed) {
            reply.write(&mut self.writing);
        }
    }

    /// A reply to a mistake of the peer's; too many of them end the session.
    fn error(&mut self, reply: Reply) {
        self.errors = self.errors.saturating_add(1);
        self.say(reply);
        if self.errors >= self.limits().errors {
            self.part(Reply::new(421, (4, 7, 0), format!("{} has seen too many errors", self.config.hostname)));
        }
    }

    /// The host's reply, as it is; counted if it is a refusal. True if it says yes.
    fn pass_on(&mut self, reply: Reply) -> bool {
        let yes = reply.is_positive();
        self.stage = Stage::Command;
        if reply.code == 421 {
            self.part(reply);
        } else if reply.is_permanent() {
            self.error(reply);
        } else {
            self.say(reply);
        }
        yes
    }

    /// A last word.
    fn part(&mut self, reply: Reply) {
        self.say(reply);
        self.close();
    }

    fn close(&mut self) {
        if matches!(self.stage, Stage::Closed) {
            return;
        }
        self.abandon_letter();
        self.flush();
        self.out.push_back(Output::Close);
        self.stage = Stage::Closed;
        self.input = BytesMut::new();
        self.deadline = None;
    }

    fn ask(&mut self, ask: Ask, asking: Asking) {
        self.flush();
        self.out.push_back(Output::Ask(ask));
        self.stage = Stage::Asking(asking);
    }

    /// Replies written so far become output, in order with everything else.
    fn flush(&mut self) {
        if !self.writing.is_empty() {
            self.out.push_back(Output::Write(self.writing.split().freeze()));
        }
    }

    /// RFC 5321 4.5.3.2.7: the time for the next command begins.
    fn expect_command(&mut self) {
        self.deadline = Some(self.now.plus_ms(self.limits().command_ms));
    }

    fn answered(&mut self, answer: Answer) {
        let stage = std::mem::replace(&mut self.stage, Stage::Command);
        let Stage::Asking(asking) = stage else {
            // Not asked: nothing to say.
            self.stage = stage;
            return;
        };
        self.expect_command();
        match (asking, answer) {
            (_, Answer::Hangup) => self.close(),
            (Asking::Connect, Answer::Reply(reply)) => self.connected(reply),
            (Asking::Hello { esmtp }, Answer::Reply(reply)) => self.greeted(esmtp, reply),
            (Asking::Login(sasl), Answer::Sasl(answer)) => self.login_answered(sasl, answer),
            (Asking::Mail { utf8 }, Answer::Reply(reply)) => {
                if self.pass_on(reply) {
                    self.letter = Some(Letter::new(utf8));
                }
            }
            (Asking::Rcpt, Answer::Reply(reply)) => {
                let yes = self.pass_on(reply);
                if let (Some(letter), true) = (&mut self.letter, yes) {
                    letter.recipients = letter.recipients.saturating_add(1);
                }
            }
            (Asking::Accept, Answer::Reply(reply)) => {
                self.letter = None;
                if self.pass_on(reply) {
                    self.receipt = Receipt::Waits;
                }
            }
            (Asking::Commands, Answer::Reply(reply)) => {
                if !reply.is_positive() {
                    self.pass_on(reply);
                }
            }
            (Asking::Confirmed, _) => {}
            // An answer to another question: the host erred.
            _ => self.part(Reply::new(421, (4, 3, 0), "Internal error")),
        }
    }

    fn stored(&mut self, stored: Result<(), BodyFault>) {
        if !matches!(self.stage, Stage::Asking(Asking::Stored)) {
            return;
        }
        self.expect_command();
        match stored {
            Ok(()) => {
                let with = self.with();
                self.ask(Ask::Accept { with }, Asking::Accept);
            }
            Err(BodyFault::NotStored) => {
                self.letter = None;
                self.pass_on(Reply::new(452, (4, 3, 1), "No room for the letter now"));
            }
        }
    }

    /// RFC 3848, RFC 6531 4.3: how the letter came, for its Received field.
    fn with(&self) -> &'static str {
        let esmtp = self.hello.as_ref().is_some_and(|hello| hello.esmtp);
        let utf8 = self.letter.as_ref().is_some_and(|letter| letter.utf8);
        match (esmtp, utf8, self.secured.is_some(), self.who.is_some()) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, true, false) => "ESMTPS",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }

    /// S4, and the only place: TLS is up, and nothing that came or was said before it counts (RFC 3207 4.2).
    fn is_secured(&mut self, secured: Secured) {
        self.input.clear();
        self.lines.reset();
        self.hello = None;
        self.who = None;
        self.abandon_letter();
        self.secured = Some(secured.clone());
        self.expect_command();
        match self.stage {
            Stage::Handshake => self.ask(Ask::Connect { secured: Some(secured) }, Asking::Connect),
            _ => self.stage = Stage::Command,
        }
    }

    fn ticked(&mut self) {
        if let Stage::Slow { until, .. } = &self.stage {
            if *until <= self.now
                && let Stage::Slow { reply, .. } = std::mem::replace(&mut self.stage, Stage::Command)
            {
                self.login_refused(reply);
            }
            return;
        }
        if self.deadline().is_none_or(|deadline| self.now < deadline) {
            return;
        }
        if let Stage::Data(data) = &self.stage
            && let Some(fault) = data.looks_ended()
        {
            // X1: it believes that its letter has ended. It is told why not, and nothing more of it is read.
            self.say(fault.reply());
        }
        self.part(Reply::new(421, (4, 4, 2), format!("{} has waited too long", self.config.hostname)));
    }
}

impl Session for Machine {
    type Ask = Ask;
    type Answer = Answer;
    type Notice = Notice;

    fn input(&mut self, now: Mono, event: Event<Answer, Notice>) {
        self.now = now;
        if matches!(self.stage, Stage::Closed) {
            return;
        }
        match event {
            Event::Bytes(bytes) => self.received(&bytes),
            Event::Answer(answer, Part::Last) => self.answered(answer),
            Event::Answer(_, Part::More) => {}
            Event::Notice(Notice::Closing) => self.closing = true,
            Event::BodyStored(stored) => self.stored(stored),
            Event::Tick => self.ticked(),
            Event::Secured(secured) => self.is_secured(secured),
            Event::Eof => self.eof = true,
        }
        self.run();
        self.flush();
    }

    fn output(&mut self) -> Option<Output<Ask>> {
        let output = self.out.pop_front();
        let said = !self.out.iter().any(|output| matches!(output, Output::Write(_)));
        if self.receipt == Receipt::Waits && said {
            self.receipt = Receipt::Sent;
        }
        output
    }

    fn wants_input(&self) -> bool {
        matches!(self.stage, Stage::Command | Stage::Login(_) | Stage::Data(_) | Stage::Bdat(_)) && !self.eof
    }

    fn going_down() -> Option<Notice> {
        Some(Notice::Closing)
    }

    fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Closed | Stage::Asking(_) | Stage::StartTls => None,
            Stage::Slow { until, .. } => Some(*until),
            Stage::Data(data) => Some(data.deadline(self.limits())),
            Stage::Bdat(chunk) => Some(chunk.deadline(self.limits())),
            Stage::Handshake | Stage::Command | Stage::Login(_) => self.deadline,
        }
    }
}

impl Machine {
    fn received(&mut self, bytes: &Bytes) {
        if self.receipt == Receipt::Sent && self.input.is_empty() {
            self.receipt = Receipt::Answered;
        }
        self.input.extend_from_slice(bytes);
        let now = self.now;
        match &mut self.stage {
            Stage::Data(data) => data.touched(now),
            Stage::Bdat(chunk) => chunk.touched(now),
            _ => {}
        }
    }
}
