//! What the machine asks its host, and what the host may answer.
//!
//! The host keeps the envelope: what it was asked in [`Ask::Mail`] and [`Ask::Rcpt`] and answered 2xx, until the next
//! [`Ask::Mail`] or [`Ask::Hello`]. There is no question for RSET: a body that was begun ends with
//! [`BodyAbort`](crate::proto::Output::BodyAbort), the rest is overwritten.

use crate::proto::Secured;
use crate::proto::sasl::{SaslAnswer, SaslAsk};

use super::grammar::{Mail, Rcpt};
use super::reply::Reply;

/// Every question but [`Ask::Sasl`] and [`Ask::Confirmed`] is answered with [`Answer::Reply`] or [`Answer::Hangup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The peer is there, before the greeting. 2xx is the greeting's code for "welcome" and its text is not used; any
    /// other reply (554, 421) is said, and then the connection is closed.
    Connect { secured: Option<Secured> },
    /// HELO or EHLO. The text of a 2xx is not used.
    Hello { name: String, esmtp: bool, secured: Option<Secured> },
    /// A stranger has given so many more commands, whatever became of them; the last few of a connection are not told of. 2xx lets
    /// it go on, and its text is not used.
    Commands { count: u64 },
    /// A step of AUTH → [`Answer::Sasl`]. After `Accepted` the host answers for that account.
    Sasl(SaslAsk),
    /// The sender. 2xx begins a letter.
    Mail(Mail),
    /// One recipient. 2xx adds it.
    Rcpt(Rcpt),
    /// The body is with the host: is the letter accepted? 2xx says that it is durable (P1). `with` is the keyword for the
    /// Received field (RFC 3848, RFC 6531 4.3).
    Accept { with: &'static str },
    /// The peer went on after it was sent the last 2xx to [`Ask::Accept`], so it has read it (P3) → [`Answer::Done`].
    Confirmed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Said to the peer as it is; 2xx means yes, and 421 closes the connection.
    Reply(Reply),
    Sasl(SaslAnswer),
    Done,
    /// Close without a word: the outcome is not known (a store that was fenced).
    Hangup,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The server is going down: 421 as soon as no command is in progress.
    Closing,
}
