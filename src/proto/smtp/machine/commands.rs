//! Command lines, one after another (RFC 5321 4.1, 4.3).

use crate::message::date::{Date, rfc3339};
use crate::proto::Output;
use crate::proto::sasl::Mechanism;
use crate::proto::smtp::ask::Ask;
use crate::proto::smtp::grammar::{Command, Forward, Mail, Rcpt, command};
use crate::proto::smtp::limits::HOLD_SECONDS;
use crate::proto::smtp::reply::Reply;

use super::{Asking, Hello, Machine, Stage};

/// RFC 4954 6.
fn needs_login() -> Reply {
    Reply::new(530, (5, 7, 0), "Log in first")
}

fn out_of_order(words: &str) -> Reply {
    Reply::new(503, (5, 5, 1), words)
}

impl Machine {
    pub(super) fn command(&mut self, line: &[u8]) {
        let command = match command(line) {
            Ok(command) => command,
            Err(reply) => {
                self.error(reply);
                // What follows a BDAT without a size cannot be told from commands.
                if line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT")) {
                    self.part(Reply::new(421, (4, 7, 0), "The chunk's size is not known"));
                }
                return;
            }
        };
        match command {
            Command::Ehlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(rcpt) => self.rcpt(rcpt),
            Command::Data => self.data(),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => {
                self.abandon_letter();
                self.say(Reply::new(250, (2, 0, 0), "Forgotten"));
            }
            Command::Noop => self.say(Reply::new(250, (2, 0, 0), "OK")),
            Command::Quit => {
                let reply = Reply::new(221, (2, 0, 0), format!("{} says good bye", self.config.hostname));
                self.part(reply);
            }
            // RFC 5321 3.5.3: no word on who lives here.
            Command::Vrfy => self.say(Reply::new(252, (2, 0, 0), "Send a letter and see")),
            Command::Expn => self.error(Reply::new(502, (5, 5, 1), "Lists are not told")),
            Command::Help => self.help(),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
        }
    }

    /// The host's word on the connection.
    pub(super) fn connected(&mut self, reply: Reply) {
        if reply.is_positive() {
            self.say(Reply::plain(220, format!("{} ESMTP homepost", self.config.hostname)));
        } else {
            // RFC 5321 3.1: 554 instead of a greeting.
            self.part(reply);
        }
    }

    /// RFC 5321 4.1.1.1, 4.1.4: at any time, and it ends a letter that was begun.
    fn hello(&mut self, name: &str, esmtp: bool) {
        self.abandon_letter();
        let ask = Ask::Hello { name: name.to_owned(), esmtp, secured: self.secured.clone() };
        self.ask(ask, Asking::Hello { esmtp });
    }

    pub(super) fn greeted(&mut self, esmtp: bool, reply: Reply) {
        if !reply.is_positive() {
            self.pass_on(reply);
            return;
        }
        self.hello = Some(Hello { esmtp });
        let mut text = vec![self.config.hostname.to_string()];
        if esmtp {
            text.extend(self.offers());
        }
        self.say(Reply { code: 250, enhanced: None, text });
    }

    /// What EHLO tells.
    fn offers(&self) -> Vec<String> {
        // RFC 2852 3: no time is too short for us.
        let always = ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "DSN", "DELIVERBY"];
        let mut offers: Vec<String> = always.into_iter().map(str::to_owned).collect();
        offers.push(format!("SIZE {}", self.limits().message_bytes));
        if self.offers_starttls() {
            offers.push("STARTTLS".into());
        }
        // RFC 8689 2: only where TLS is up.
        if self.secured.is_some() {
            offers.push("REQUIRETLS".into());
        }
        // RFC 4865 3: of the submission service alone.
        if let Some(until) = self.config.hold_until.filter(|_| self.config.port.is_submission()) {
            offers.push(format!("FUTURERELEASE {HOLD_SECONDS} {}", rfc3339(Date::utc(until))));
        }
        let mechanisms = self.mechanisms();
        if !mechanisms.is_empty() {
            let names: Vec<&str> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
            offers.push(format!("AUTH {}", names.join(" ")));
        }
        offers
    }

    fn offers_starttls(&self) -> bool {
        self.config.starttls && self.secured.is_none()
    }

    /// X3: what AUTH may name here and now.
    pub(super) fn mechanisms(&self) -> &'static [Mechanism] {
        use Mechanism::{Login, Plain, ScramSha256, ScramSha256Plus};
        match &self.secured {
            Some(secured) if self.config.port.is_submission() => match secured.exporter {
                Some(_) => &[Plain, Login, ScramSha256, ScramSha256Plus],
                None => &[Plain, Login, ScramSha256],
            },
            _ => &[],
        }
    }

    fn help(&mut self) {
        let text = [
            "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH",
            "Explained in RFC 5321, 3030, 3207 and 4954",
        ];
        self.say(Reply { code: 214, enhanced: Some((2, 0, 0)), text: text.map(str::to_owned).to_vec() });
    }

    /// RFC 3207 4.
    fn start_tls(&mut self) {
        if self.secured.is_some() {
            return self.error(out_of_order("TLS is up already"));
        }
        if !self.config.starttls {
            return self.error(Reply::new(502, (5, 5, 1), "There is no TLS here"));
        }
        self.say(Reply::new(220, (2, 0, 0), "Go ahead"));
        self.abandon_letter();
        self.flush();
        self.out.push_back(Output::StartTls);
        self.stage = Stage::StartTls;
    }

    fn mail(&mut self, mail: Mail) {
        let Some(hello) = &self.hello else {
            return self.error(out_of_order("Say EHLO first"));
        };
        if self.config.port.is_submission() && self.who.is_none() {
            return self.error(needs_login());
        }
        if self.letter.is_some() {
            return self.error(out_of_order("A letter is begun already"));
        }
        if mail.extended && !hello.esmtp {
            return self.error(Reply::new(555, (5, 5, 4), "Parameters need EHLO"));
        }
        // RFC 8689 2: what is not offered is not known.
        if mail.require_tls && self.secured.is_none() {
            return self.error(Reply::new(555, (5, 5, 4), "REQUIRETLS needs TLS: say STARTTLS first"));
        }
        if mail.hold.is_some() && !(self.config.hold_until.is_some() && self.config.port.is_submission()) {
            return self.error(Reply::new(555, (5, 5, 4), "Letters are not held here"));
        }
        // RFC 1870 6.1: refused before it is sent.
        if mail.size.is_some_and(|size| size > self.limits().message_bytes) {
            return self.error(Reply::new(552, (5, 3, 4), "The letter is too large"));
        }
        let utf8 = mail.utf8;
        self.ask(Ask::Mail(mail), Asking::Mail { utf8 });
    }

    fn rcpt(&mut self, rcpt: Rcpt) {
        let Some(letter) = &mut self.letter else {
            return self.error(out_of_order("Say MAIL first"));
        };
        if letter.chunks.is_some() {
            return self.error(out_of_order("The letter's text has begun"));
        }
        letter.named_recipients = true;
        let utf8 = letter.utf8;
        // RFC 5321 4.5.3.1.10: 452, so that the sender splits the letter.
        if letter.recipients >= self.limits().recipients {
            return self.say(Reply::new(452, (4, 5, 3), "Too many recipients for one letter"));
        }
        if rcpt.extended && !self.hello.as_ref().is_some_and(|hello| hello.esmtp) {
            return self.error(Reply::new(555, (5, 5, 4), "Parameters need EHLO"));
        }
        let plain = match &rcpt.to {
            Forward::Postmaster => true,
            Forward::Address(to) => to.is_ascii(),
        };
        // RFC 6531 3.5.
        if !plain && !utf8 {
            return self.error(Reply::new(553, (5, 6, 7), "An address beyond ASCII needs SMTPUTF8"));
        }
        self.ask(Ask::Rcpt(rcpt), Asking::Rcpt);
    }
}
