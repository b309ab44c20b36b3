//! What is said when, and what follows from the replies.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::Reply;
use super::hello::Hello;
use super::login::{Exchange, Next};
use super::replies::Replies;
use super::{Answer, Ask, Config, Failure, GoingDown, Letter, Recipient, Said, Tls, Verdict};
use crate::base::Mono;
use crate::proto::sasl::Fault;
use crate::proto::{Event, Output, Secured, Session};

/// Commands whose replies are awaited at one time. What a server can hold of replies it has not sent is not ours to find out.
const AHEAD: usize = 100;

pub struct Machine {
    config: Config,
    state: State,
    replies: Replies,
    out: VecDeque<Output<Ask>>,
    hello: Hello,
    secured: Option<Secured>,
    deadline: Option<Mono>,
    /// The server has an envelope of ours that will not be used.
    begun: bool,
    /// A letter is on its way out; patience begins when the driver is through with it.
    leaving: bool,
}

enum State {
    Greeting,
    /// EHLO, or HELO where that is not known.
    Hello {
        extended: bool,
    },
    StartTls,
    /// The driver shakes hands.
    Handshake,
    Login(Exchange),
    /// The host was asked.
    Asking,
    Envelope(Box<Envelope>),
    /// The 354 is awaited.
    Data(Box<Envelope>),
    /// The letter is sent.
    Body(Box<Envelope>),
    Quit,
    /// The host was told, then it ends.
    Ending,
    Over,
}

/// A letter whose recipients are being named.
struct Envelope {
    letter: Letter,
    verdicts: Vec<Option<Verdict>>,
    /// Still to be said.
    next: VecDeque<Step>,
    /// Said, without a reply yet.
    open: VecDeque<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Reset,
    Mail,
    Rcpt(usize),
}

impl Machine {
    /// The server speaks first.
    pub fn new(config: Config, now: Mono) -> Machine {
        let deadline = Some(now.plus_ms(config.patience.greeting));
        Machine {
            config,
            state: State::Greeting,
            replies: Replies::default(),
            out: VecDeque::new(),
            hello: Hello::default(),
            secured: None,
            deadline,
            begun: false,
            leaving: false,
        }
    }

    fn say(&mut self, now: Mono, line: &str) {
        let patience = self.config.patience.command;
        self.write(line);
        self.deadline = Some(now.plus_ms(patience));
    }

    fn write(&mut self, line: &str) {
        self.out.push_back(Output::Write(Bytes::from(format!("{line}\r\n"))));
    }

    /// Takes leave; what is in hand is the host's to try again.
    fn fail(&mut self, failure: Failure) {
        self.out.push_back(Output::Ask(Ask::Failed(failure)));
        self.deadline = None;
        self.state = State::Ending;
    }

    fn fail_with(&mut self, said: Said, lasting: bool) {
        self.fail(Failure { said, lasting, at_tls: false });
    }

    fn reply(&mut self, now: Mono, reply: Reply) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Greeting => self.greeting(now, reply),
            State::Hello { extended } => self.hello(now, extended, reply),
            State::StartTls => self.starttls(now, reply),
            State::Login(exchange) => self.login(now, exchange, reply),
            State::Envelope(envelope) => self.envelope(now, envelope, reply),
            State::Data(envelope) => self.data(now, envelope, reply),
            State::Body(envelope) => self.body(*envelope, reply),
            State::Quit => self.close(),
            // RFC 5321 3.8: a server that goes says 421 at any time. Anything else unasked is none of SMTP.
            state @ (State::Asking | State::Handshake | State::Ending | State::Over) => self.state = state,
        }
    }

    fn greeting(&mut self, now: Mono, reply: Reply) {
        if reply.code == 220 {
            self.greet(now, true);
        } else {
            // RFC 7504 4: 521 is a server that never takes mail; 554 (RFC 5321 3.1) may be meant for us alone.
            let lasting = reply.code == 521;
            self.fail_with(Said { reply, own: false }, lasting);
        }
    }

    fn greet(&mut self, now: Mono, extended: bool) {
        let verb = if extended { "EHLO" } else { "HELO" };
        let line = format!("{verb} {}", self.config.helo);
        self.say(now, &line);
        self.state = State::Hello { extended };
    }

    fn hello(&mut self, now: Mono, extended: bool, reply: Reply) {
        if !reply.is_positive() {
            // RFC 5321 3.2: an old server does not know EHLO.
            if extended && matches!(reply.code, 500..=504) && self.secured.is_none() && self.config.tls != Tls::Needed {
                return self.greet(now, false);
            }
            return self.fail_with(Said { reply, own: false }, false);
        }
        self.hello = if extended { Hello::read(&reply) } else { Hello::default() };
        if self.secured.is_none() {
            match (self.config.tls, self.hello.starttls) {
                (Tls::Offered | Tls::Needed, true) => {
                    self.say(now, "STARTTLS");
                    self.state = State::StartTls;
                    return;
                }
                (Tls::Needed, false) => {
                    return self.fail(Failure {
                        said: ours(451, (4, 7, 10), "The server offers no encryption, and here it is needed"),
                        lasting: false,
                        at_tls: true,
                    });
                }
                _ => {}
            }
        }
        let Some(login) = &self.config.login else { return self.ready() };
        // Y2
        if self.secured.is_none() {
            let words = "The server offers no encryption, and a password is not said without";
            return self.fail_with(ours(451, (4, 7, 10), words), false);
        }
        match Exchange::start(login, &self.hello.auth) {
            Some((exchange, line)) => {
                self.say(now, &line);
                self.state = State::Login(exchange);
            }
            None => {
                let words = "The server knows no way to log in that is known here (SCRAM-SHA-256, PLAIN, LOGIN)";
                self.fail_with(ours(451, (4, 7, 4), words), false);
            }
        }
    }

    fn starttls(&mut self, now: Mono, reply: Reply) {
        if reply.code == 220 {
            self.out.push_back(Output::StartTls);
            self.deadline = Some(now.plus_ms(self.config.patience.command));
            // Y3: what it said in the clear counts no more, and what it says next comes under TLS.
            self.replies.forget();
            self.hello = Hello::default();
            self.state = State::Handshake;
        } else {
            self.fail(Failure { said: Said { reply, own: false }, lasting: false, at_tls: true });
        }
    }

    fn login(&mut self, now: Mono, mut exchange: Exchange, reply: Reply) {
        match exchange.reply(reply) {
            Next::Say(line) => {
                self.say(now, &line);
                self.state = State::Login(exchange);
            }
            Next::Done => self.ready(),
            Next::Refused(reply) => {
                let lasting = reply.is_permanent();
                self.fail_with(Said { reply, own: false }, lasting);
            }
            Next::Failed(Fault::Malformed) => {
                self.fail_with(ours(451, (4, 5, 2), "The server's words for logging in cannot be understood"), false);
            }
            Next::Failed(Fault::Impostor) => {
                let words = "The server does not know the password itself, so it is not the one it says it is";
                self.fail_with(ours(451, (4, 7, 8), words), false);
            }
        }
    }

    fn ready(&mut self) {
        self.ask(Ask::Ready { hello: self.hello.clone(), secured: self.secured.clone() });
    }

    fn ask(&mut self, ask: Ask) {
        self.out.push_back(Output::Ask(ask));
        self.deadline = None;
        self.state = State::Asking;
    }

    fn answered(&mut self, now: Mono, answer: Answer) {
        match (&self.state, answer) {
            (State::Asking, Answer::Letter(letter)) => self.begin(now, letter),
            (State::Asking, Answer::Nothing) => self.quit(now),
            _ => self.close(),
        }
    }

    fn quit(&mut self, now: Mono) {
        self.write("QUIT");
        self.deadline = Some(now.plus_ms(self.config.patience.quit));
        self.state = State::Quit;
    }

    fn close(&mut self) {
        self.out.push_back(Output::Close);
        self.deadline = None;
        self.state = State::Over;
    }

    fn begin(&mut self, now: Mono, letter: Letter) {
        if let Some(said) = self.unfit(&letter) {
            let verdicts = letter.recipients.iter().map(|_| Verdict::Never(said.clone())).collect();
            return self.ask(Ask::Done { verdicts });
        }
        let mut verdicts: Vec<Option<Verdict>> = Vec::new();
        let mut next = VecDeque::new();
        if std::mem::take(&mut self.begun) {
            next.push_back(Step::Reset);
        }
        next.push_back(Step::Mail);
        for (n, recipient) in letter.recipients.iter().enumerate() {
            let utf8 = !recipient.address.is_ascii();
            // Y4
            verdicts.push(match recipient {
                recipient if !speakable(&recipient.address) => {
                    Some(Verdict::Never(ours(553, (5, 1, 3), "That address cannot be said in SMTP")))
                }
                _ if utf8 && !self.hello.utf8 => Some(Verdict::Never(no_utf8())),
                _ => None,
            });
            if verdicts[n].is_none() {
                next.push_back(Step::Rcpt(n));
            }
        }
        let envelope = Box::new(Envelope { letter, verdicts, next, open: VecDeque::new() });
        self.go_on(now, envelope);
    }

    /// Why the server cannot be given this letter at all.
    fn unfit(&self, letter: &Letter) -> Option<Said> {
        let from = letter.from.as_deref().unwrap_or_default();
        if !from.is_empty() && !speakable(from) {
            return Some(ours(553, (5, 1, 7), "The sender's address cannot be said in SMTP"));
        }
        // RFC 8689 4.2.1
        if letter.require_tls && !(self.hello.requiretls && self.secured.is_some()) {
            return Some(ours(550, (5, 7, 30), "The server does not promise to send the letter on under TLS only"));
        }
        // RFC 6531 3.2 and 3.4
        if (letter.utf8 || !from.is_ascii()) && !self.hello.utf8 {
            return Some(no_utf8());
        }
        // RFC 6152 3: what was declared as 8BITMIME may not go where that is not known.
        if letter.eight_bit && !self.hello.eight_bit {
            return Some(ours(554, (5, 6, 3), "The server takes no letters with characters beyond ASCII in them"));
        }
        // RFC 1870 6.2
        if let Some(Some(most)) = self.hello.size
            && letter.size > most
        {
            return Some(ours(
                552,
                (5, 3, 4),
                &format!("The letter has {} bytes, and the server takes {most}", letter.size),
            ));
        }
        None
    }

    /// Says what can be said before the next reply, and asks the host when all is said.
    fn go_on(&mut self, now: Mono, mut envelope: Box<Envelope>) {
        // RFC 2920 3.1: only where it is offered.
        let ahead = if self.hello.pipelining { AHEAD } else { 1 };
        while envelope.open.len() < ahead
            && let Some(step) = envelope.next.pop_front()
        {
            let line = match step {
                Step::Reset => "RSET".to_owned(),
                Step::Mail => self.mail(&envelope.letter),
                Step::Rcpt(n) => self.rcpt(&envelope.letter.recipients[n]),
            };
            self.begun |= matches!(step, Step::Mail);
            self.say(now, &line);
            envelope.open.push_back(step);
        }
        if !envelope.open.is_empty() {
            self.state = State::Envelope(envelope);
            return;
        }
        if !envelope.verdicts.iter().any(Option::is_none) {
            return self.done(*envelope, None);
        }
        let (blob, size) = (envelope.letter.blob, envelope.letter.size);
        if self.hello.chunking {
            // RFC 3030 2: one chunk, since its size is known.
            self.write(&format!("BDAT {size} LAST"));
            self.out.push_back(Output::SendBlob { blob, range: 0..size });
            self.leave(now, envelope);
        } else {
            self.write("DATA");
            self.deadline = Some(now.plus_ms(self.config.patience.data));
            self.state = State::Data(envelope);
        }
    }

    fn mail(&self, letter: &Letter) -> String {
        let mut line = format!("MAIL FROM:<{}>", letter.from.as_deref().unwrap_or_default());
        if self.hello.size.is_some() {
            line.push_str(&format!(" SIZE={}", letter.size));
        }
        if letter.require_tls {
            line.push_str(" REQUIRETLS");
        }
        if let Some(by) = letter.by.as_ref().filter(|_| self.hello.deliver_by.is_some()) {
            line.push_str(&format!(" BY={by}"));
        }
        if letter.eight_bit && self.hello.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        if letter.utf8 || (self.hello.utf8 && letter.recipients.iter().any(|recipient| !recipient.address.is_ascii())) {
            line.push_str(" SMTPUTF8");
        }
        if self.hello.dsn {
            if let Some(full) = letter.ret_full {
                line.push_str(if full { " RET=FULL" } else { " RET=HDRS" });
            }
            if let Some(envid) = &letter.envid {
                line.push_str(&format!(" ENVID={}", xtext(envid)));
            }
        }
        line
    }

    fn rcpt(&self, recipient: &Recipient) -> String {
        let mut line = format!("RCPT TO:<{}>", recipient.address);
        if !self.hello.dsn {
            return line;
        }
        if let Some(notify) = recipient.notify {
            let wanted = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
            let wanted: Vec<&str> = wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, word)| *word).collect();
            let wanted = if wanted.is_empty() { "NEVER".to_owned() } else { wanted.join(",") };
            line.push_str(&format!(" NOTIFY={wanted}"));
        }
        if let Some((kind, address)) = &recipient.orcpt
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            line.push_str(&format!(" ORCPT={kind};{}", xtext(address)));
        }
        line
    }

    fn envelope(&mut self, now: Mono, mut envelope: Box<Envelope>, reply: Reply) {
        if reply.code == 421 {
            return self.fail_with(Said { reply, own: false }, false);
        }
        match envelope.open.pop_front() {
            Some(Step::Mail) if !reply.is_positive() => {
                let verdict = refused(reply);
                for open in envelope.verdicts.iter_mut().filter(|verdict| verdict.is_none()) {
                    *open = Some(verdict.clone());
                }
                envelope.next.clear();
            }
            Some(Step::Rcpt(n)) if !reply.is_positive() => {
                if let Some(open) = envelope.verdicts.get_mut(n)
                    && open.is_none()
                {
                    *open = Some(refused(reply));
                }
            }
            _ => {}
        }
        self.go_on(now, envelope);
    }

    fn data(&mut self, now: Mono, envelope: Box<Envelope>, reply: Reply) {
        if reply.code != 354 {
            return self.done(*envelope, Some(reply));
        }
        let (blob, size) = (envelope.letter.blob, envelope.letter.size);
        self.out.push_back(Output::SendDotted { blob, range: 0..size });
        self.write(".");
        self.leave(now, envelope);
    }

    /// The driver waits only when all is written, which may take long: at that tick patience begins.
    fn leave(&mut self, now: Mono, envelope: Box<Envelope>) {
        self.leaving = true;
        self.deadline = Some(now);
        self.state = State::Body(envelope);
    }

    fn body(&mut self, envelope: Envelope, reply: Reply) {
        // After this the server has no envelope of ours any more (RFC 5321 4.1.1.4), whatever it says.
        self.begun = false;
        self.leaving = false;
        self.done(envelope, Some(reply));
    }

    /// `reply` is what was said to the letter as a whole.
    fn done(&mut self, envelope: Envelope, reply: Option<Reply>) {
        if let Some(reply) = &reply
            && reply.code == 421
        {
            return self.fail_with(Said { reply: reply.clone(), own: false }, false);
        }
        let verdicts = envelope.verdicts.into_iter().map(|verdict| match (verdict, &reply) {
            (Some(verdict), _) => verdict,
            // Y1
            (None, Some(reply)) if reply.is_positive() => Verdict::Sent(Said { reply: reply.clone(), own: false }),
            (None, Some(reply)) => refused(reply.clone()),
            (None, None) => Verdict::Later(ours(451, (4, 5, 0), "Nothing was said of this recipient")),
        });
        let verdicts = verdicts.collect();
        self.ask(Ask::Done { verdicts });
    }

    fn patience_is_over(&mut self, now: Mono) {
        if std::mem::take(&mut self.leaving) && matches!(self.state, State::Body(_)) {
            self.deadline = Some(now.plus_ms(self.config.patience.end));
            return;
        }
        match self.state {
            State::Quit => self.close(),
            State::Asking | State::Ending | State::Over => self.deadline = None,
            _ => {
                let at_tls = matches!(self.state, State::Handshake | State::StartTls);
                self.fail(Failure { said: ours(451, (4, 4, 2), "The server does not answer"), lasting: false, at_tls });
            }
        }
    }
}

impl Session for Machine {
    type Ask = Ask;
    type Answer = Answer;
    type Notice = GoingDown;

    fn input(&mut self, now: Mono, event: Event<Answer, GoingDown>) {
        match event {
            Event::Bytes(bytes) => {
                self.replies.push(&bytes);
                self.read(now);
            }
            Event::Answer(answer, _) => {
                self.answered(now, answer);
                self.read(now);
            }
            Event::Secured(secured) => {
                self.secured = Some(secured);
                // RFC 3207 4.2: from the beginning, but the server does not greet again.
                if matches!(self.state, State::Handshake) {
                    self.greet(now, true);
                }
            }
            Event::Tick => {
                if self.deadline.is_some_and(|deadline| deadline <= now) {
                    self.patience_is_over(now);
                }
            }
            Event::Eof => match self.state {
                State::Quit | State::Over | State::Ending => self.close(),
                State::Asking => {}
                _ => {
                    let at_tls = matches!(self.state, State::Handshake | State::StartTls);
                    let said = ours(451, (4, 4, 2), "The server closed the connection");
                    self.fail(Failure { said, lasting: false, at_tls });
                }
            },
            Event::Notice(GoingDown) | Event::BodyStored(_) => {}
        }
    }

    fn output(&mut self) -> Option<Output<Ask>> {
        self.out.pop_front()
    }

    fn wants_input(&self) -> bool {
        !matches!(self.state, State::Asking | State::Ending | State::Over | State::Handshake)
    }

    fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// A letter in hand is ended; whoever is asked for the next one has none.
    fn going_down() -> Option<GoingDown> {
        Some(GoingDown)
    }
}

impl Machine {
    fn read(&mut self, now: Mono) {
        while !matches!(self.state, State::Asking | State::Ending | State::Over | State::Handshake) {
            match self.replies.next() {
                Ok(Some(reply)) => self.reply(now, reply),
                Ok(None) => return,
                Err(_) => {
                    let said = ours(451, (4, 5, 0), "What the server says is no SMTP");
                    return self.fail_with(said, false);
                }
            }
        }
    }
}

fn ours(code: u16, enhanced: (u8, u16, u16), words: &str) -> Said {
    Said { reply: Reply::new(code, enhanced, words), own: true }
}

fn no_utf8() -> Said {
    ours(553, (5, 6, 7), "The server takes no addresses or headers beyond ASCII")
}

/// RFC 5321 4.2.1: 5xx is for good, anything else that is not 2xx is not.
fn refused(reply: Reply) -> Verdict {
    let said = Said { reply, own: false };
    if said.reply.is_permanent() { Verdict::Never(said) } else { Verdict::Later(said) }
}

/// Whether an address can stand between `<` and `>`: nothing in it ends the path or the line.
fn speakable(address: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for c in address.chars() {
        match c {
            c if c.is_control() => return false,
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' | '>' | ' ' if !quoted => return false,
            _ => {}
        }
    }
    !quoted && !address.is_empty() && address.len() <= 320
}

/// RFC 3461 4: `xtext`; what is beyond ASCII is written in the manner of RFC 6533 3.
fn xtext(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '!'..='~' if !matches!(c, '+' | '=') => out.push(c),
            c if c.is_ascii() => out.push_str(&format!("+{:02X}", c as u8)),
            c => out.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    out
}
