//! SMTP (RFC 5321) on the sending side: the machine that hands letters to another server, one after another.
//!
//! Does not know: where a domain's mail goes, what is tried again and when, what a certificate is worth. It asks its host
//! for the next letter with the verdicts of the one before, so that one connection serves as many letters as there are.
//!
//! Invariants, cited by tests (besides S1 to S4):
//! - Y1: a recipient is [`Verdict::Sent`] only after the reply to the end of the letter said 2xx.
//! - Y2: no name or password is said before TLS is up.
//! - Y3: what the server said before TLS started is forgotten (RFC 3207 4.2).
//! - Y4: nothing of a letter's envelope can end a command line: an address that could is refused here.

mod hello;
mod login;
mod machine;
mod replies;

#[cfg(test)]
mod tests;

pub use hello::Hello;
pub use machine::Machine;

use crate::base::BlobId;
use crate::proto::Secured;

use super::Reply;

/// How the server is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our host name, for EHLO.
    pub helo: String,
    pub tls: Tls,
    pub login: Option<Login>,
    pub patience: Patience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not, though it were offered.
    Never,
    /// Where it is offered (RFC 7435).
    Offered,
    /// Or no letter.
    Needed,
    /// From the first byte; the driver sees to it.
    Implicit,
}

/// It has no `Debug` of its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
    /// Fresh for this connection, printable (RFC 5802 5.1).
    pub nonce: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// In milliseconds (RFC 5321 4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub greeting: u64,
    /// EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET.
    pub command: u64,
    /// For the 354.
    pub data: u64,
    /// For the reply to the end of a letter.
    pub end: u64,
    /// For the reply to QUIT, which changes nothing.
    pub quit: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        let minute = 60_000;
        Patience { greeting: 5 * minute, command: 5 * minute, data: 2 * minute, end: 10 * minute, quit: 5_000 }
    }
}

/// A letter and those of its recipients that this server is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub blob: BlobId,
    /// Octets.
    pub size: u64,
    /// `None` is the null path.
    pub from: Option<String>,
    pub utf8: bool,
    pub eight_bit: bool,
    /// RFC 8689: not to a server that does not offer it under TLS.
    pub require_tls: bool,
    /// RFC 3461 4.3: true is FULL, false is HDRS.
    pub ret_full: Option<bool>,
    pub envid: Option<String>,
    /// RFC 2852 4: the value of BY, for a server that offers it.
    pub by: Option<String>,
    pub recipients: Vec<Recipient>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub address: String,
    pub notify: Option<super::Notify>,
    /// Kind and address.
    pub orcpt: Option<(String, String)>,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server has it.
    Sent(Said),
    /// Not now.
    Later(Said),
    /// Not ever.
    Never(Said),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub reply: Reply,
    /// The words are ours: the server said nothing of the kind.
    pub own: bool,
}

/// What is asked is always the same: what next? → [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The server is ready for its first letter.
    Ready { hello: Hello, secured: Option<Secured> },
    /// In the order of the letter's recipients.
    Done { verdicts: Vec<Verdict> },
    /// There will be no more letters over this connection, and no word on the one that was in hand. The answer does not
    /// matter.
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub said: Said,
    /// What stands in the way stays there: a password that is wrong, a server that takes no mail (RFC 7504).
    pub lasting: bool,
    /// It failed at or before TLS, so that another way of speaking may help.
    pub at_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Letter(Letter),
    /// No more: take leave.
    Nothing,
}

/// The server is going down. The letter in hand is ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoingDown;
