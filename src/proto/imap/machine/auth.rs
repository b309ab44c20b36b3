//! LOGIN and AUTHENTICATE (RFC 9051 6.2).

use bytes::Bytes;

use super::super::ask::{Answer, Ask, No};
use super::super::framing::Caps;
use super::super::grammar::Secret;
use super::super::response::put;
use super::reply::{no, ok, refused, server_bug};
use super::{Doing, Imap, Job, State};
use crate::proto::sasl::{self, Failure, Mechanism, Sasl, SaslAnswer, SaslAsk, Step};

impl Imap {
    pub(super) fn login(&mut self, tag: Vec<u8>, user: Vec<u8>, password: Secret) {
        if !self.private(&tag) {
            return;
        }
        match (String::from_utf8(user), String::from_utf8(password.0)) {
            (Ok(user), Ok(password)) if !user.is_empty() && !password.is_empty() => {
                self.ask_for(tag, Job::Login, Ask::Sasl(SaslAsk::Password { user, password }))
            }
            _ => self.failed(&tag, Failure::Rejected),
        }
    }

    pub(super) fn login_answered(&mut self, tag: Vec<u8>, answer: Answer) {
        match answer {
            Answer::Sasl(SaslAnswer::Accepted(_)) => self.accepted(&tag),
            Answer::Sasl(SaslAnswer::Rejected) => self.failed(&tag, Failure::Rejected),
            Answer::Sasl(SaslAnswer::Unavailable) => self.failed(&tag, Failure::Unavailable),
            _ => {
                let line = server_bug(&tag);
                self.finish(line, true);
            }
        }
    }

    pub(super) fn authenticate(&mut self, tag: Vec<u8>, mechanism: &str, initial: Option<Secret>) {
        if !self.private(&tag) {
            return;
        }
        let exporter = self.secured.as_ref().and_then(|secured| secured.exporter.clone());
        // SASL LOGIN has no use where the command LOGIN is.
        let mechanism = match Mechanism::from_name(mechanism.as_bytes()) {
            Some(mechanism @ (Mechanism::Plain | Mechanism::ScramSha256)) => mechanism,
            Some(Mechanism::ScramSha256Plus) if exporter.is_some() => Mechanism::ScramSha256Plus,
            _ => {
                let line = no(&tag, "[CANNOT] This mechanism is not known here");
                return self.finish(line, true);
            }
        };
        // RFC 4959 3: `=` is an empty initial response.
        let initial = match initial {
            None => None,
            Some(coded) if coded.0 == b"=" => Some(Vec::new()),
            Some(coded) => match sasl::decode(&coded.0) {
                Some(message) => Some(message),
                None => return self.failed(&tag, Failure::Malformed),
            },
        };
        let (sasl, step) = Sasl::start(mechanism, initial.as_deref(), exporter.as_deref());
        self.sasl_step(tag, Box::new(sasl), step);
    }

    /// A line of the client within the exchange.
    pub(super) fn sasl_line(&mut self, line: Result<Bytes, ()>) {
        let Ok(line) = line else { return self.bye("[LIMIT] The line is too long") };
        let Doing::Sasl { tag, mut sasl } = std::mem::replace(&mut self.doing, Doing::Ready) else { return };
        if &line[..] == b"*" {
            return self.bad(Some(&tag), "AUTHENTICATE was cancelled");
        }
        match sasl::decode(&line) {
            Some(message) => {
                let step = sasl.input(&message);
                self.sasl_step(tag, sasl, step);
            }
            None => self.failed(&tag, Failure::Malformed),
        }
    }

    pub(super) fn sasl_answered(&mut self, tag: Vec<u8>, mut sasl: Box<Sasl>, answer: Answer) {
        let step = match answer {
            Answer::Sasl(answer) => sasl.answer(answer),
            _ => Step::Failed(Failure::Unavailable),
        };
        self.sasl_step(tag, sasl, step);
    }

    fn sasl_step(&mut self, tag: Vec<u8>, sasl: Box<Sasl>, step: Step) {
        match step {
            Step::Challenge(message) => {
                let line = format!("+ {}\r\n", sasl::encode(&message));
                put(self.out.page(), &line);
                self.doing = Doing::Sasl { tag, sasl };
            }
            Step::Ask(ask) => {
                self.doing = Doing::Sasl { tag, sasl };
                self.ask(Ask::Sasl(ask));
            }
            Step::Done(_) => self.accepted(&tag),
            Step::Failed(failure) => self.failed(&tag, failure),
        }
    }

    /// I3: no password without TLS.
    fn private(&mut self, tag: &[u8]) -> bool {
        if self.secured.is_none() {
            let line = no(tag, "[PRIVACYREQUIRED] Please begin TLS first");
            self.finish(line, true);
        }
        self.secured.is_some()
    }

    fn accepted(&mut self, tag: &[u8]) {
        self.state = State::Authenticated;
        self.bads = 0;
        let limits = &self.config.limits;
        self.framing.caps = Caps {
            command: limits.command,
            line: limits.line,
            literal: limits.literal,
            // A message that is too large is read to its end twice over, for a reply that can be understood.
            skip: limits.message.saturating_mul(2),
        };
        let line = ok(tag, &format!("[CAPABILITY {}] Logged in", self.capabilities()));
        self.finish(line, true);
    }

    fn failed(&mut self, tag: &[u8], failure: Failure) {
        self.failures += 1;
        match failure {
            Failure::Malformed => self.bad(Some(tag), "This is not what the mechanism expects"),
            Failure::Rejected => {
                let line = no(tag, "[AUTHENTICATIONFAILED] Wrong user name or password");
                self.finish(line, true);
            }
            Failure::Unavailable => {
                let line = refused(tag, &No::Unavailable);
                self.finish(line, true);
            }
        }
        if self.failures >= self.config.limits.login_failures {
            self.bye("Too many attempts to log in");
        }
    }
}
