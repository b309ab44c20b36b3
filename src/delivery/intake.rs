//! Accept or refuse a letter: the one door, whoever hands it in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::account::{self, Letter};
use crate::base::{Clock, Family, Fault, Random, Time};
use crate::directory::LocalRecipient;
use crate::mailauth::{self, Letter as Examined};
use crate::message::{self, header};
use crate::queue::{self, NewLetter, NewRecipient};
use crate::store::blob::LetterHeader;
use crate::store::{self, Data, Durable, Sink, Staged};

use super::checks::{self, Checks};
use super::envelope::Envelope;
use super::remote::Bell;
use super::seen::{self, Confirmed};
use super::{local, trace};

/// Letters above this many bytes are parsed one at a time: each is in memory whole while it is.
const LARGE_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub struct Limits {
    pub message: message::Limits,
    /// Received fields (RFC 5321 6.3).
    pub received: usize,
    pub queue: queue::Limits,
    /// How long our own store may take before the answer is "try again" (DESIGN section 4).
    pub store_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message: message::Limits::default(), received: 100, queue: queue::Limits::default(), store_ms: 60_000 }
    }
}

/// Why a letter is not taken. The family says whether to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has been round too often.
    Loop,
    /// Nobody speaks for it, and the domain it says it is from asks that such letters be refused (DMARC).
    Unauthentic(String),
    /// It goes past a limit of [`message::Limits`].
    Message(message::Refused),
    /// No room on the disk, or in the queue.
    Full,
    /// No room in any recipient's account.
    OverQuota,
    /// Our store failed, or took too long.
    Failed(String),
    /// A recipient went away since it was accepted: asked again, the sender will hear of it at RCPT.
    Changed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Loop => f.write_str("the message has been passed on too often"),
            Refusal::Unauthentic(domain) => {
                write!(
                    f,
                    "the domain {domain} asks that letters in its name be refused which it did not send or sign (DMARC)"
                )
            }
            Refusal::Message(why) => why.fmt(f),
            Refusal::Full => f.write_str("there is no room for the message now"),
            Refusal::OverQuota => f.write_str("the recipient's mailbox is full"),
            Refusal::Failed(_) => f.write_str("the message could not be stored now"),
            Refusal::Changed => f.write_str("a recipient has changed just now"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Fault for Refusal {
    fn family(&self) -> Family {
        match self {
            Refusal::Loop | Refusal::Unauthentic(_) | Refusal::Message(_) => Family::Peer,
            Refusal::Full | Refusal::OverQuota | Refusal::Changed => Family::World,
            Refusal::Failed(_) => Family::Own,
        }
    }
}

/// Given with an acceptance; handed back to [`Intake::confirm`] when the peer has read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket([u8; 32]);

#[derive(Debug)]
pub enum Outcome {
    /// It is in every mailbox and in the queue, durable (P1). `id` is what the trace calls it.
    Taken {
        durable: Durable,
        ticket: Ticket,
        id: String,
    },
    Refused(Refusal),
    /// It is durable or it is not, and that is not known yet: close without a word, the peer will present it again.
    Unknown,
}

/// The door. Clones share it.
#[derive(Clone)]
pub struct Intake {
    data: Data,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    confirmed: Confirmed,
    large: Arc<Semaphore>,
    checks: Option<Checks>,
    bell: Bell,
}

/// Why the transaction was given up.
enum Stop {
    Store(store::Error),
    Account(account::Error),
    Queue(queue::Error),
    Unauthentic(String),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Stop {
        Stop::Store(error)
    }
}

impl Intake {
    pub fn new(data: Data, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Intake {
        let (confirmed, large) = (Confirmed::default(), Arc::new(Semaphore::new(1)));
        Intake { data, clock, random, confirmed, large, checks: None, bell: Bell::default() }
    }

    /// The same door, with these checks of what strangers hand in; without any nothing is checked.
    pub fn with_checks(&self, checks: Option<Checks>) -> Intake {
        Intake { checks, ..self.clone() }
    }

    /// Rings when there is something to send.
    pub fn ringing(self, bell: Bell) -> Intake {
        Intake { bell, ..self }
    }

    /// Takes or refuses the letter whose bytes are in `sink`.
    pub async fn take(&self, envelope: Envelope, sink: Sink, hostname: &str, limits: &Limits) -> Outcome {
        let passed = match self.check(&envelope, sink, hostname).await {
            Ok(passed) => passed,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let wait = Duration::from_millis(limits.store_ms);
        match tokio::time::timeout(wait, self.try_take(envelope, passed, hostname, limits)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(refusal)) => Outcome::Refused(refusal),
            // Presented again it is recognised, should it have been stored after all (L3).
            Err(_) => Outcome::Refused(Refusal::Failed("the store took too long".into())),
        }
    }

    /// P2: what is refused is refused before it is taken.
    async fn check(&self, envelope: &Envelope, sink: Sink, hostname: &str) -> Result<Passed, Refusal> {
        let Some(checks) = self.checks.as_ref().filter(|_| checks::are_for(envelope)) else {
            return Ok(Passed { sink, checked: None, refused: None });
        };
        let unread = |_| Refusal::Failed("the letter could not be read".into());
        let (sink, read) = {
            let _one_at_a_time = self.while_large(&sink).await?;
            let envelope = envelope.clone();
            let examined = tokio::task::spawn_blocking(move || {
                let read = sink.bytes().map(|bytes| (Examined::read(&bytes), seen::digest(&envelope, &bytes)));
                (sink, read)
            });
            examined.await.map_err(unread)?
        };
        let (letter, digest) = read.map_err(failed)?;
        match checks.check(envelope, &letter, hostname, &*self.clock).await {
            Ok(checked) => {
                if let Some(checked) = &checked {
                    let (dmarc, junk) = (checked.evidence.dmarc.outcome.word(), checked.junk);
                    tracing::debug!(dmarc, junk, "a letter was checked");
                }
                Ok(Passed { sink, checked, refused: None })
            }
            Err(domain) => {
                // L3: taken while the DNS said something else, or nothing. Whether that still counts the writer decides.
                let (data, now) = (self.data.clone(), self.clock.now());
                let taken = tokio::task::spawn_blocking(move || seen::was_taken(&data.read()?, &digest, now));
                if taken.await.map_err(unread)?.map_err(failed)? {
                    return Ok(Passed { sink, checked: None, refused: Some(domain) });
                }
                tracing::info!(domain, "a letter is refused: nobody speaks for it, and its domain asks for that");
                Err(Refusal::Unauthentic(domain))
            }
        }
    }

    async fn while_large(&self, sink: &Sink) -> Result<Option<tokio::sync::SemaphorePermit<'_>>, Refusal> {
        match sink.len() > LARGE_BYTES {
            true => Ok(Some(self.large.acquire().await.map_err(|_| Refusal::Failed("closing".into()))?)),
            false => Ok(None),
        }
    }

    async fn try_take(
        &self,
        envelope: Envelope,
        Passed { sink, checked, refused }: Passed,
        hostname: &str,
        limits: &Limits,
    ) -> Result<Outcome, Refusal> {
        let _one_at_a_time = self.while_large(&sink).await?;
        let now = self.clock.now();
        let id = format!("{:016x}", self.random.u64());
        let accounts = local::accounts(&envelope);
        let junk = checked.as_ref().is_some_and(|checked| checked.junk.is_some());
        let found = checked.map(|checked| checked.fields).unwrap_or_default();
        let when = self.clock.trusted().then_some(now);
        let prepare = {
            let (envelope, accounts, limits) = (envelope.clone(), accounts.clone(), limits.clone());
            let (hostname, id, data) = (hostname.to_owned(), id.clone(), self.data.clone());
            move || {
                let mut made = trace::Made { found, signed: Vec::new() };
                if envelope.origin.account.is_some() {
                    made.signed = checks::signatures(&data, &sink.bytes().map_err(failed)?, when);
                }
                prepare(&envelope, &accounts, sink, &data, &hostname, &id, now, &limits, &made)
            }
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let Prepared { letter, outside, digest } =
            prepared.map_err(|_| Refusal::Failed("the letter could not be read".into()))??;

        let outgoing = outside.and_then(|staged| outgoing(&envelope, staged));
        let queue_limits = limits.queue;
        let leaves = outgoing.is_some();
        let mut old = Vec::new();
        if self.confirmed.sweep_is_due(now) {
            let data = self.data.clone();
            let found = tokio::task::spawn_blocking(move || seen::expired(&data.read()?, now)).await;
            old = found.map_err(|_| Refusal::Failed("the store could not be read".into()))?.map_err(failed)?;
        }
        // Nothing may come between this and the write: what is drained must be forgotten before the next letter asks.
        let mut forget = self.confirmed.drain();
        forget.extend(old);
        let forgotten = forget.clone();
        let written = self
            .data
            .write(move |txn| {
                for digest in &forget {
                    txn.delete(store::Table::Unconfirmed, digest);
                }
                if seen::was_taken(txn, &digest, now)? {
                    return Ok(());
                }
                if let Some(domain) = &refused {
                    return Err(Stop::Unauthentic(domain.clone()));
                }
                if let Some(letter) = &letter {
                    local::put(txn, &accounts, letter, junk, outgoing.is_some(), now).map_err(Stop::Account)?;
                }
                if let Some((new, recipients)) = &outgoing {
                    queue::enqueue(txn, new, recipients, now, queue_limits).map_err(Stop::Queue)?;
                }
                seen::take(txn, &digest, now);
                Ok(())
            })
            .await;
        if written.is_err() {
            forgotten.into_iter().for_each(|digest| self.confirmed.add(digest));
        }
        match written {
            Ok(committed) => {
                if leaves {
                    self.bell.ring();
                }
                Ok(Outcome::Taken { durable: committed.durable, ticket: Ticket(digest), id })
            }
            Err(
                Stop::Store(error)
                | Stop::Account(account::Error::Store(error))
                | Stop::Queue(queue::Error::Store(error)),
            ) => match store_refusal(error) {
                Some(refusal) => Err(refusal),
                None => Ok(Outcome::Unknown),
            },
            Err(Stop::Account(account::Error::NoSuchAccount | account::Error::NoSuchMailbox)) => Err(Refusal::Changed),
            Err(Stop::Account(account::Error::OverQuota)) => Err(Refusal::OverQuota),
            Err(Stop::Account(error)) => Err(Refusal::Failed(error.to_string())),
            Err(Stop::Unauthentic(domain)) => Err(Refusal::Unauthentic(domain)),
            Err(Stop::Queue(queue::Error::Full)) => Err(Refusal::Full),
            Err(Stop::Queue(error)) => Err(Refusal::Failed(error.to_string())),
        }
    }

    /// The peer has read that the letter was taken.
    pub fn confirm(&self, ticket: Ticket) {
        self.confirmed.add(ticket.0);
    }
}

/// A letter that was checked, or need not be.
struct Passed {
    sink: Sink,
    checked: Option<checks::Checked>,
    /// The domain that asks to refuse it, where it may have been taken before.
    refused: Option<String>,
}

/// A letter that is read, with its trace on top, and staged.
struct Prepared {
    /// For accounts of ours.
    letter: Option<Letter>,
    /// For elsewhere.
    outside: Option<Staged>,
    digest: [u8; 32],
}

/// Blocks on the disk.
#[allow(clippy::too_many_arguments)] // all that is known of one letter, used once
fn prepare(
    envelope: &Envelope,
    accounts: &[LocalRecipient],
    sink: Sink,
    data: &Data,
    hostname: &str,
    id: &str,
    now: Time,
    limits: &Limits,
    made: &trace::Made,
) -> Result<Prepared, Refusal> {
    let body = sink.bytes().map_err(failed)?;
    let end = header::end(&body);
    let head = body.get(..end).unwrap_or_default();
    if trace::loops(envelope, head, limits.received) {
        return Err(Refusal::Loop);
    }
    let digest = seen::digest(envelope, &body);
    let trace = trace::fields(envelope, hostname, id, now, &body, made);
    let leaves = envelope.recipients.iter().any(|recipient| !recipient.target.outside.is_empty());
    let header = |accounts: &[LocalRecipient]| LetterHeader {
        accounts: accounts.iter().map(|local| local.address.clone()).collect(),
        received: now,
    };
    // RFC 8601 5: nobody but us writes in our name. Who has taken such fields away has another letter.
    let cleaned = mailauth::without_forged(head, hostname);
    let stage = |prefix: &[u8], accounts: &[LocalRecipient]| {
        let head = cleaned.as_deref().unwrap_or(head);
        data.blobs().stage(header(accounts), &[prefix, head, &body[end..]].concat()).map_err(failed)
    };
    if accounts.is_empty() {
        message::parse(&body, &limits.message).map_err(Refusal::Message)?;
        let staged = match cleaned.is_some() {
            true => stage(&trace.outside, &[])?,
            false => sink.finish(header(&[]), &trace.outside).map_err(failed)?,
        };
        return Ok(Prepared { letter: None, outside: leaves.then_some(staged), digest });
    }
    // The copy that leaves has another trace, so it is another letter.
    let outside = match leaves {
        true => Some(stage(&trace.outside, &[])?),
        false => None,
    };
    let staged = match cleaned.is_some() {
        true => stage(&trace.local, accounts)?,
        false => {
            drop(body);
            sink.finish(header(accounts), &trace.local).map_err(failed)?
        }
    };
    match Letter::read(staged, &limits.message) {
        Ok(letter) => Ok(Prepared { letter: Some(letter), outside, digest }),
        Err(account::Error::Refused(why)) => Err(Refusal::Message(why)),
        Err(account::Error::Store(error)) => Err(failed(error)),
        Err(error) => Err(Refusal::Failed(error.to_string())),
    }
}

/// Before anything was written.
fn failed(error: store::Error) -> Refusal {
    store_refusal(error).unwrap_or_else(|| Refusal::Failed("the store failed".into()))
}

/// `None`: the outcome is not known.
fn store_refusal(error: store::Error) -> Option<Refusal> {
    match error {
        store::Error::Full => Some(Refusal::Full),
        store::Error::Unknown => None,
        other => Some(Refusal::Failed(format!("{other:?}"))),
    }
}

/// What leaves: recipients elsewhere of who has logged in, and what an alias sends on.
fn outgoing(envelope: &Envelope, staged: Staged) -> Option<(NewLetter, Vec<NewRecipient>)> {
    let mut recipients: Vec<NewRecipient> = Vec::new();
    for recipient in &envelope.recipients {
        for address in &recipient.target.outside {
            if recipients.iter().any(|other| other.address.eq_ignore_ascii_case(address)) {
                continue;
            }
            let (notify, orcpt) = (recipient.dsn.notify, recipient.dsn.orcpt.clone());
            recipients.push(NewRecipient { address: address.clone(), notify, orcpt });
        }
    }
    let letter = NewLetter {
        staged,
        from: envelope.from.clone(),
        account: envelope.origin.account,
        utf8: envelope.utf8,
        eight_bit: envelope.eight_bit,
        ret_full: envelope.ret_full,
        envid: envelope.envid.clone(),
    };
    (!recipients.is_empty()).then_some((letter, recipients))
}
