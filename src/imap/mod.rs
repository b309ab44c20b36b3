//! What this server answers over IMAP: binds the machine of `proto/imap` to directory, account and store.
//!
//! Each question of the machine is answered by one function here, in a file for each group of commands; answers that may
//! be long come in pages, each read from a snapshot of its own. Reading the disk and parsing happen on threads that may
//! block.
//!
//! Does not know: sequence numbers, tags, response text, sockets; what a flag or a UID means is `account`'s.
//!
//! Invariants, cited by tests:
//! - H1: what is answered as done is durable (P1): such answers come after the commit they tell of.
//! - H2: when the outcome of a commit is not known, nothing is answered: the connection ends.
//! - H3: between two calls no snapshot is held.
//! - H4: bytes that a page of FETCH announced stay readable until the next question, whoever expunges the letter meanwhile
//!   (RFC 2180 4.1.1); what cannot be opened is not announced.
//! - H5: a session whose log-in is not good any more ends with BYE, in IDLE at once, else with the next command that asks for
//!   something; nothing is done for it.

mod append;
mod copy;
mod expunge;
mod fetch;
mod login;
mod manage;
mod notice;
mod search;
mod select;
mod sending;
mod store;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::account::{self, Error, Letter, Overviews, Watcher};
use crate::base::{AccountId, BlobId, Clock, Family, Fault, ModSeq, Random, Time, Uid};
use crate::directory::{self, Directory, Throttle};
use crate::message::Limits;
use crate::proto::imap::ask::{Flags, No};
use crate::proto::imap::{Answer, Ask, Notice, UidSet};
use crate::proto::{self, BodyFault, Part, Session};
use crate::store::{self as data, Arriving, Data};

use sending::Sending;

/// What all sessions share.
pub struct Shared<D> {
    pub data: Data,
    pub directory: Arc<D>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub throttle: Throttle,
    pub overviews: Arc<Overviews>,
    /// Of letters that APPEND brings.
    pub limits: Limits,
    /// Bytes of the largest of them.
    pub append_bytes: u64,
    /// Milliseconds that the first refused log-in of a connection waits; each further one twice as long, up to eight times.
    pub refusal_ms: u64,
    /// Becomes true when the server is going down.
    pub going_down: tokio::sync::watch::Receiver<bool>,
}

/// One session's side of the questions.
pub struct Host<D> {
    shared: Arc<Shared<D>>,
    peer: IpAddr,
    who: Option<directory::Account>,
    refused: u32,
    /// What the machine was told last of the selected mailbox.
    seen: ModSeq,
    watcher: Option<Watcher>,
    /// Where an answer of several pages goes on.
    rest: Rest,
    /// What the last answer announced of letters' bytes (H4).
    sending: Option<Sending>,
    /// The letter that is coming in, and when it has ended, the letter or why it is not kept.
    body: Arriving,
    letter: Option<Result<Letter, Error>>,
}

/// What is left of an answer.
#[derive(Default)]
enum Rest {
    #[default]
    Nothing,
    Changes(select::Rest),
    Fetch(fetch::Rest),
    Store(store::Rest),
    Move(copy::Rest),
    Expunge(expunge::Rest),
    Search(search::Rest),
}

/// An answer, and what is left of it.
type Answered = Result<(Answer, Rest), Error>;

impl<D: Directory> Host<D> {
    pub fn new(shared: Arc<Shared<D>>, peer: IpAddr) -> Host<D> {
        Host {
            shared,
            peer,
            who: None,
            refused: 0,
            seen: ModSeq(0),
            watcher: None,
            rest: Rest::Nothing,
            sending: None,
            body: Arriving::default(),
            letter: None,
        }
    }

    /// The account the session is of. Nothing but SASL is asked before there is one.
    fn account(&self) -> Result<AccountId, Error> {
        self.who.as_ref().map(|who| who.id).ok_or(Error::NoSuchAccount)
    }

    fn now(&self) -> Time {
        self.shared.clock.now()
    }

    async fn answer(&mut self, ask: Ask) -> Answered {
        // H5
        if self.who.as_ref().is_some_and(|who| !self.shared.directory.may_stay(who)) {
            return Ok((Answer::Unwelcome, Rest::Nothing));
        }
        let done = |answer: Result<Answer, Error>| answer.map(|answer| (answer, Rest::Nothing));
        match ask {
            Ask::Sasl(step) => Ok((Answer::Sasl(self.sasl(step).await), Rest::Nothing)),
            Ask::List => done(self.list().await),
            Ask::Create { name } => done(self.create(name).await),
            Ask::Delete { name } => done(self.delete(name).await),
            Ask::Rename { from, to } => done(self.rename(from, to).await),
            Ask::Subscribe { name, on } => done(self.subscribe(name, on).await),
            Ask::Status { name, .. } => done(self.status(name).await),
            Ask::Select { name, read_only } => done(self.select(name, read_only).await),
            Ask::Changes { mailbox, since } => self.changes(mailbox, since).await,
            Ask::Fetch { mailbox, uids, want } => self.fetch(fetch::Rest::new(mailbox, uids, want)).await,
            Ask::Store { mailbox, uids, mode, flags } => self.store(mailbox, uids, mode, flags).await,
            Ask::Copy { mailbox, uids, to } => done(self.copy(mailbox, uids, to).await),
            Ask::Move { mailbox, uids, to } => self.move_to(mailbox, uids, to).await,
            Ask::Expunge { mailbox, only } => self.expunge(mailbox, only).await,
            Ask::Search { mailbox, key } => self.search(search::Rest::new(mailbox, &key)).await,
            Ask::AppendCheck { name, size } => done(self.append_check(name, size).await),
            Ask::Append { name, flags, date } => done(self.append(name, flags, date).await),
        }
    }

    async fn page(&mut self) -> Answered {
        match std::mem::take(&mut self.rest) {
            Rest::Nothing => Ok((Answer::No(No::ServerBug), Rest::Nothing)),
            Rest::Changes(rest) => self.changes_page(rest).await,
            Rest::Fetch(rest) => self.fetch(rest).await,
            Rest::Store(rest) => self.store_page(rest).await,
            Rest::Move(rest) => self.move_page(rest).await,
            Rest::Expunge(rest) => self.expunge_page(rest).await,
            Rest::Search(rest) => self.search(rest).await,
        }
    }

    fn told(&mut self, answered: Answered) -> (Answer, Part) {
        match answered {
            Ok((answer, rest)) => {
                let part = if matches!(rest, Rest::Nothing) { Part::Last } else { Part::More };
                self.rest = rest;
                (answer, part)
            }
            Err(error) => {
                self.rest = Rest::Nothing;
                (refusal(&error), Part::Last)
            }
        }
    }
}

impl<D, S> proto::Host<S> for Host<D>
where
    D: Directory,
    S: Session<Ask = Ask, Answer = Answer, Notice = Notice>,
{
    async fn ask(&mut self, ask: Ask) -> (Answer, Part) {
        self.sending = None;
        let answered = self.answer(ask).await;
        self.told(answered)
    }

    async fn more(&mut self) -> (Answer, Part) {
        self.sending = None;
        let answered = self.page().await;
        self.told(answered)
    }

    async fn notice(&mut self) -> Notice {
        self.next_notice().await
    }

    async fn body_chunk(&mut self, chunk: Bytes) {
        self.body.take(self.shared.data.blobs(), chunk).await;
    }

    async fn body_end(&mut self) -> Result<(), BodyFault> {
        self.end_body().await
    }

    fn body_abort(&mut self) {
        self.body.abort();
        self.letter = None;
    }

    async fn blob(&mut self, blob: BlobId, range: Range<u64>) -> Result<Bytes, BodyFault> {
        let Some(sending) = &mut self.sending else { return Err(BodyFault::NotStored) };
        sending.read(blob, range).await.map_err(|error| {
            tracing::error!(%error, "a letter that was announced cannot be read");
            BodyFault::NotStored
        })
    }
}

/// Runs what reads the disk or works long on a thread that may block.
async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    F: FnOnce() -> Result<T, Error> + Send + 'static,
    T: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Store(data::Error::Panicked(error.to_string()))),
    }
}

/// What a refused question is answered with.
fn refusal(error: &Error) -> Answer {
    let no = match error {
        // H2: durable perhaps, and not to be told either way.
        Error::Store(data::Error::Unknown) => return Answer::HangUp,
        // The account was deleted while it was asked.
        Error::NoSuchAccount => return Answer::Unwelcome,
        Error::NoSuchMailbox => No::NonExistent,
        Error::MailboxExists => No::AlreadyExists,
        Error::Cannot(why) => No::Cannot(why),
        Error::HasChildren => No::HasChildren,
        Error::OverQuota => No::OverQuota,
        Error::Limit(_) => No::Limit,
        Error::Refused(_) => No::TooBig,
        Error::Store(_) | Error::Corrupt(_) => {
            if error.family() == Family::Own {
                tracing::error!(%error, "an IMAP command failed");
                No::ServerBug
            } else {
                tracing::warn!(%error, "an IMAP command failed");
                No::Unavailable
            }
        }
    };
    Answer::No(no)
}

/// The machine's flags as the account's.
fn flags_in(flags: &Flags) -> account::Flags {
    account::Flags { system: flags.system, keywords: flags.keywords.clone() }
}

/// The account's flags as the machine's.
fn flags_out(flags: account::Flags) -> Flags {
    Flags { system: flags.system, keywords: flags.keywords }
}

fn set(uids: &[Uid]) -> UidSet {
    uids.iter().copied().collect()
}
