//! Which command may be used when, and which literals are let in.

use super::super::framing::Literal;
use super::super::grammar::{self, Bad, Command};
use super::super::response::put;
use super::reply::{bad, no, ok, untagged};
use super::{Doing, Imap, Literals, State};
use crate::proto::Output;

/// RFC 7888 5: LITERAL- lets this much come without waiting.
const LITERAL_MINUS: u64 = 4096;

impl Imap {
    pub(super) fn command(&mut self, line: &[u8]) {
        if line.is_empty() {
            // quirk_empty_line: some clients end an APPEND or a SASL exchange with one line end too many.
            return;
        }
        let (tag, command) = grammar::parse(line);
        let Some(tag) = tag else { return self.bad(None, "A command begins with a tag") };
        match command {
            Ok(command) => {
                if !matches!(self.state, State::NotAuthenticated) {
                    self.bads = 0;
                }
                self.dispatch(tag, command);
            }
            Err(Bad::Charset) => {
                let line = no(&tag, "[BADCHARSET (US-ASCII UTF-8)] This charset is not known here");
                self.finish(line, false);
            }
            Err(Bad::Syntax(why)) => self.bad(Some(&tag), why),
            Err(Bad::Open) => self.bad(Some(&tag), "A literal is not announced rightly"),
        }
    }

    fn dispatch(&mut self, tag: Vec<u8>, command: Command) {
        use Command as C;
        let logged_in = !matches!(self.state, State::NotAuthenticated);
        match command {
            C::Capability => {
                let line = untagged(&format!("CAPABILITY {}", self.capabilities()));
                self.out.page().extend_from_slice(&line);
                self.finish(ok(&tag, "CAPABILITY completed"), true);
            }
            C::Noop => self.finish(ok(&tag, "NOOP completed"), true),
            C::Id => {
                // RFC 2971. The version is nobody's business before log-in, and of no use after.
                put(self.out.page(), "* ID (\"name\" \"homepost\")\r\n");
                self.finish(ok(&tag, "ID completed"), true);
            }
            C::Logout => {
                put(self.out.page(), "* BYE Good bye\r\n");
                self.out.page().extend_from_slice(&ok(&tag, "LOGOUT completed"));
                self.close();
            }
            C::StartTls | C::Login { .. } | C::Authenticate { .. } if logged_in => {
                self.bad(Some(&tag), "You are logged in already")
            }
            C::StartTls if self.secured.is_some() => self.bad(Some(&tag), "TLS is on already"),
            C::StartTls => {
                self.out.page().extend_from_slice(&ok(&tag, "Begin TLS now"));
                self.out.push(Output::StartTls);
                self.framing.clear();
                self.doing = Doing::Handshake { greet: false };
            }
            C::Login { user, password } => self.login(tag, user, password),
            C::Authenticate { mechanism, initial } => self.authenticate(tag, &mechanism, initial),
            _ if !logged_in => self.bad(Some(&tag), "Please log in first"),
            C::Enable => {
                // RFC 9051 6.3.1: what is not known is left out; nothing that is known needs enabling yet.
                put(self.out.page(), "* ENABLED\r\n");
                self.finish(ok(&tag, "ENABLE completed"), true);
            }
            C::Namespace => {
                put(self.out.page(), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                self.finish(ok(&tag, "NAMESPACE completed"), true);
            }
            C::Select { name, read_only } => self.select(tag, name, read_only),
            C::Create { name } => self.create(tag, name),
            C::Delete { name } => self.delete(tag, name),
            C::Rename { from, to } => self.rename(tag, from, to),
            C::Subscribe { name, on } => self.subscribe(tag, name, on),
            C::List(args) => self.list(tag, args),
            C::Status { name, items } => self.status(tag, name, items),
            C::Idle => self.idle(tag),
            _ if !matches!(self.state, State::Selected(_)) => self.bad(Some(&tag), "Please select a mailbox first"),
            C::Check => self.finish(ok(&tag, "CHECK completed"), true),
            C::Close => self.close_mailbox(tag),
            C::Unselect => {
                self.state = State::Authenticated;
                self.finish(ok(&tag, "UNSELECT completed"), true);
            }
            C::Expunge => self.expunge(tag, None),
            C::UidExpunge { uids } => self.expunge(tag, Some(uids)),
            C::Search(args) => self.search(tag, args),
            C::Fetch { uid, set, items } => self.fetch(tag, uid, &set, items),
            C::Store { uid, set, mode, silent, flags } => self.store(tag, uid, &set, mode, silent, flags),
            C::Copy { uid, set, to } => self.copy(tag, uid, &set, to, false),
            C::Move { uid, set, to } => self.copy(tag, uid, &set, to, true),
        }
    }

    /// A command announces a literal.
    pub(super) fn literal(&mut self, literal: Literal) {
        if let Some((tag, head)) = grammar::append::head(self.framing.gathered()) {
            return self.append(tag, head, literal);
        }
        let tag = grammar::tag_of(self.framing.gathered());
        if self.too_eager(literal) {
            return self.refuse_literal(bad(tag.as_deref(), "[TOOBIG] Larger literals have to wait for the go-ahead"));
        }
        if !self.framing.take_literal() {
            return self.refuse_literal(bad(tag.as_deref(), "[TOOBIG] The literal is too large here"));
        }
        if literal.sync {
            put(self.out.page(), "+ Go ahead\r\n");
        }
    }

    /// RFC 7888 5: with LITERAL-, a larger one that does not wait.
    pub(super) fn too_eager(&self, literal: Literal) -> bool {
        !literal.sync && self.config.literals == Literals::Minus && literal.size > LITERAL_MINUS
    }

    /// Refuses the command of the literal just announced. RFC 7888 4: what comes anyway is read and forgotten, unless it
    /// is too much for that.
    pub(super) fn refuse_literal(&mut self, line: Vec<u8>) {
        self.out.page().extend_from_slice(&line);
        if !self.framing.refuse_literal() {
            self.bye("[TOOBIG] The literal is too large");
        }
    }

    /// RFC 9051 7.2.2. AUTH= and LOGINDISABLED say when log-in is possible (6.2.3); what is only of use after it is
    /// only told then.
    pub(super) fn capabilities(&self) -> String {
        let mut line = String::from(match self.config.literals {
            Literals::Plus => "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE",
            Literals::Minus => "IMAP4rev1 LITERAL- SASL-IR ID ENABLE",
        });
        match (&self.state, &self.secured) {
            (State::NotAuthenticated, None) => line.push_str(" STARTTLS LOGINDISABLED"),
            (State::NotAuthenticated, Some(secured)) => {
                line.push_str(" AUTH=PLAIN AUTH=SCRAM-SHA-256");
                if secured.exporter.is_some() {
                    line.push_str(" AUTH=SCRAM-SHA-256-PLUS");
                }
            }
            _ => line.push_str(" IDLE NAMESPACE UIDPLUS UNSELECT CHILDREN SPECIAL-USE ESEARCH MOVE"),
        }
        line
    }
}
