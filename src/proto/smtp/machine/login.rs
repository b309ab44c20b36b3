//! AUTH (RFC 4954): base64 lines around a SASL exchange.

use crate::proto::sasl::{self, Failure, Mechanism, Sasl, SaslAnswer, Step};
use crate::proto::smtp::ask::Ask;
use crate::proto::smtp::frame::Line;
use crate::proto::smtp::reply::Reply;

use super::{AUTH_LINE, Asking, Machine, Stage};

fn not_base64() -> Reply {
    Reply::new(501, (5, 5, 2), "That is not base64")
}

impl Machine {
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>) {
        if !self.config.port.is_submission() {
            return self.error(Reply::new(502, (5, 5, 1), "Nobody logs in on this port"));
        }
        if self.secured.is_none() {
            return self.error(Reply::new(538, (5, 7, 11), "Logging in needs TLS"));
        }
        if !self.hello.as_ref().is_some_and(|hello| hello.esmtp) {
            return self.error(Reply::new(503, (5, 5, 1), "Say EHLO first"));
        }
        // RFC 4954 4: once, and not within a letter.
        if self.who.is_some() || self.letter.is_some() {
            return self.error(Reply::new(503, (5, 5, 1), "Not now"));
        }
        let known = Mechanism::from_name(mechanism.as_bytes()).filter(|known| self.mechanisms().contains(known));
        let Some(mechanism) = known else {
            return self.error(Reply::new(504, (5, 5, 4), "That mechanism is not known here"));
        };
        // RFC 4954 4: `=` is an empty response.
        let initial = match initial {
            None => None,
            Some("=") => Some(Vec::new()),
            Some(text) => match sasl::decode(text.as_bytes()) {
                Some(response) => Some(response),
                None => return self.error(not_base64()),
            },
        };
        let exporter = self.secured.as_ref().and_then(|secured| secured.exporter.as_deref());
        let (sasl, step) = Sasl::start(mechanism, initial.as_deref(), exporter);
        self.step(sasl, step);
    }

    /// Takes the client's next response; false if it is not there yet.
    pub(super) fn next_response(&mut self) -> bool {
        let line = self.lines.next(&mut self.input, |_| AUTH_LINE);
        if line == Line::Partial {
            return false;
        }
        self.expect_command();
        let Stage::Login(mut sasl) = std::mem::replace(&mut self.stage, Stage::Command) else {
            return true;
        };
        match line {
            Line::Whole(line) if line.as_ref() == b"*" => self.error(Reply::new(501, (5, 7, 0), "Cancelled")),
            Line::Whole(line) => match sasl::decode(&line) {
                Some(response) => {
                    let step = sasl.input(&response);
                    self.step(sasl, step);
                }
                None => self.error(not_base64()),
            },
            // RFC 4954 4: 500 5.5.6.
            other => self.broken_line(other, (5, 5, 6)),
        }
        true
    }

    pub(super) fn login_answered(&mut self, mut sasl: Sasl, answer: SaslAnswer) {
        let step = sasl.answer(answer);
        self.step(sasl, step);
    }

    fn step(&mut self, sasl: Sasl, step: Step) {
        match step {
            Step::Challenge(challenge) => {
                self.say(Reply::plain(334, ""));
                // The code, a blank, base64 (RFC 4954 4): longer than what a reply's text may be.
                self.writing.truncate(self.writing.len() - 2);
                self.writing.extend_from_slice(sasl::encode(&challenge).as_bytes());
                self.writing.extend_from_slice(b"\r\n");
                self.stage = Stage::Login(sasl);
            }
            Step::Ask(ask) => self.ask(Ask::Sasl(ask), Asking::Login(sasl)),
            Step::Done(who) => {
                self.who = Some(who);
                self.say(Reply::new(235, (2, 7, 0), "Welcome"));
            }
            Step::Failed(Failure::Malformed) => self.error(Reply::new(501, (5, 5, 2), "The response is malformed")),
            Step::Failed(Failure::Unavailable) => {
                self.say(Reply::new(454, (4, 7, 0), "Logging in does not work just now"))
            }
            Step::Failed(Failure::Rejected) => {
                let delay = self.limits().auth_delay_ms.saturating_mul(1 << self.auth_failures.min(10));
                let reply = Reply::new(535, (5, 7, 8), "Wrong name or password");
                self.stage = Stage::Slow { until: self.now.plus_ms(delay), reply };
            }
        }
    }

    /// The delay is over.
    pub(super) fn login_refused(&mut self, reply: Reply) {
        self.expect_command();
        self.auth_failures = self.auth_failures.saturating_add(1);
        self.error(reply);
        if self.auth_failures >= self.limits().auth_failures {
            self.part(Reply::new(
                421,
                (4, 7, 0),
                format!("{} has seen too many wrong passwords", self.config.hostname),
            ));
        }
    }
}
