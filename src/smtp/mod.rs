//! What this server answers over SMTP: binds the machine of `proto/smtp` to directory, account and delivery.
//!
//! Does not know: lines, dots, the order of commands, sockets; what becomes of a letter is `delivery`'s.
//!
//! Invariants, cited by tests:
//! - M1: a letter is answered 2xx only after delivery said that it is durable (P1); when that is not known, nothing is
//!   answered and the connection ends.
//! - M2: on port 25 only addresses of ours are taken; nobody relays through us.
//! - M3: who has logged in writes only as an address of their own.
//! - M4: a session whose log-in is not good any more has no letter taken: the next step of one is answered 421.

mod accept;
mod away;
mod mail;
mod rcpt;

pub use away::Away;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::base::{BlobId, Clock, Random, Time};
use crate::delivery::{self, Count, Intake, Recipient, Ticket};
use crate::directory::{self, Directory, Throttle, login};
use crate::filter::{Guard, Hit};
use crate::proto::smtp::{Answer, Ask, Machine, Mail, Notice, Reply};
use crate::proto::{self, BodyFault, Part, Secured};
use crate::queue::schedule::By;
use crate::store::{self, Arriving, Data, Sink};

/// What all sessions share.
pub struct Shared<D> {
    pub data: Data,
    pub directory: Arc<D>,
    pub intake: Intake,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub throttle: Throttle,
    pub hostname: String,
    pub limits: delivery::Limits,
    /// What strangers have to go through; `None`: nothing.
    pub guard: Option<Guard>,
    /// Becomes true when the server is going down.
    pub going_down: watch::Receiver<bool>,
}

/// One session's side of the questions.
pub struct Host<D> {
    shared: Arc<Shared<D>>,
    peer: IpAddr,
    helo: String,
    secured: Option<Secured>,
    who: Option<directory::Account>,
    /// The envelope being built: what MAIL said, and each recipient that was accepted.
    mail: Option<Mail>,
    /// When the letter may leave, if its sender has said so.
    release: Option<Time>,
    /// When it is to be delivered by, if they have said so.
    by: Option<By>,
    recipients: Vec<Recipient>,
    /// Of these, people elsewhere.
    leaving: Count,
    /// The letter that is coming in, and when it has ended, all of it or why it is not kept.
    body: Arriving,
    letter: Option<Result<Sink, store::Error>>,
    /// Of the letter taken last, until the peer is known to have read so.
    ticket: Option<Ticket>,
    /// Strangers come here: this is port 25.
    outside: bool,
    /// The block list that names the peer, once that was looked for.
    listed: Option<Option<Hit>>,
}

impl<D: Directory> Host<D> {
    pub fn new(shared: Arc<Shared<D>>, peer: IpAddr) -> Host<D> {
        Host {
            shared,
            peer,
            helo: String::new(),
            secured: None,
            who: None,
            mail: None,
            release: None,
            by: None,
            recipients: Vec::new(),
            leaving: Count::default(),
            body: Arriving::default(),
            letter: None,
            ticket: None,
            outside: false,
            listed: None,
        }
    }

    /// The same on the port that strangers come to.
    pub fn from_outside(self) -> Host<D> {
        Host { outside: true, ..self }
    }

    /// Who meets this peer, if it is a stranger.
    fn guard(&self) -> Option<&Guard> {
        self.shared.guard.as_ref().filter(|_| self.outside && self.who.is_none())
    }

    async fn answer(&mut self, ask: Ask) -> Answer {
        // M4
        if matches!(ask, Ask::Mail(_) | Ask::Rcpt(_) | Ask::Accept { .. })
            && self.who.as_ref().is_some_and(|who| !self.shared.directory.may_stay(who))
        {
            self.forget_envelope();
            let words = "This log-in has ended, since the password or the account has changed; please log in again";
            return Answer::Reply(Reply::new(421, (4, 7, 0), words));
        }
        match ask {
            Ask::Connect { secured } => {
                self.secured = secured;
                if self.guard().is_some_and(|guard| !guard.came(self.peer, &*self.shared.clock)) {
                    return Answer::Reply(too_often(
                        "You have come too often within a minute; please come again later",
                    ));
                }
                Answer::Reply(Reply::plain(220, "welcome"))
            }
            Ask::Hello { name, secured, .. } => {
                (self.helo, self.secured) = (name, secured);
                self.forget_envelope();
                Answer::Reply(Reply::plain(250, "hello"))
            }
            Ask::Commands { count } => {
                if self.guard().is_some_and(|guard| !guard.said(self.peer, count, &*self.shared.clock)) {
                    return Answer::Reply(too_often("You have said too much within a minute; please come again later"));
                }
                Answer::Reply(Reply::plain(250, "go on"))
            }
            Ask::Sasl(question) => {
                let Shared { directory, random, throttle, clock, .. } = &*self.shared;
                let (answer, account) =
                    login::answer_program(&**directory, &**random, throttle, &**clock, self.peer, question).await;
                if account.is_some() {
                    self.who = account;
                }
                Answer::Sasl(answer)
            }
            Ask::Mail(mail) => Answer::Reply(self.mail(mail).await),
            Ask::Rcpt(rcpt) => Answer::Reply(self.rcpt(rcpt).await),
            Ask::Accept { with } => self.accept(with).await,
            Ask::Confirmed => {
                if let Some(ticket) = self.ticket.take() {
                    self.shared.intake.confirm(ticket);
                }
                Answer::Done
            }
        }
    }

    fn forget_envelope(&mut self) {
        self.mail = None;
        self.release = None;
        self.by = None;
        self.recipients.clear();
        self.leaving = Count::default();
        self.body.abort();
        self.letter = None;
    }
}

impl<D: Directory> proto::Host<Machine> for Host<D> {
    async fn ask(&mut self, ask: Ask) -> (Answer, Part) {
        (self.answer(ask).await, Part::Last)
    }

    async fn more(&mut self) -> (Answer, Part) {
        // No answer of ours has a second page.
        (Answer::Hangup, Part::Last)
    }

    async fn notice(&mut self) -> Notice {
        // The sender is gone when the server is.
        let _ = self.shared.going_down.clone().wait_for(|down| *down).await;
        Notice::Closing
    }

    async fn body_chunk(&mut self, chunk: Bytes) {
        self.body.take(self.shared.data.blobs(), chunk).await;
    }

    async fn body_end(&mut self) -> Result<(), BodyFault> {
        match self.letter.insert(self.body.end(self.shared.data.blobs())) {
            Ok(_) => Ok(()),
            Err(_) => Err(BodyFault::NotStored),
        }
    }

    fn body_abort(&mut self) {
        self.body.abort();
        self.letter = None;
    }

    async fn blob(&mut self, _: BlobId, _: Range<u64>) -> Result<Bytes, BodyFault> {
        // SMTP sends no letters here.
        Err(BodyFault::NotStored)
    }
}

/// F2: RFC 5321 3.1, 3.8: the connection ends, and whoever has letters comes again.
fn too_often(words: &str) -> Reply {
    Reply::new(421, (4, 7, 0), words)
}

/// The answer when the directory or the store cannot be asked now.
fn try_later(error: &dyn std::fmt::Display) -> Reply {
    tracing::warn!(%error, "an SMTP command could not be answered");
    Reply::new(451, (4, 3, 0), "This cannot be answered now; please try again later")
}
