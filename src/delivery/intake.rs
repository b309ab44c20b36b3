//! Accept or refuse a letter: the one door, whoever hands it in.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::account::{self, Letter};
use crate::base::{AccountId, Clock, Family, Fault, Random, Time};
use crate::directory::{self, LocalRecipient, manage};
use crate::mailauth::report::{HEAD_BYTES, claims};
use crate::mailauth::{self, Letter as Examined};
use crate::message::{self, header};
use crate::queue::{self, NewLetter, NewRecipient, Tls};
use crate::store::blob::LetterHeader;
use crate::store::lookup::{self, Lookup};
use crate::store::{self, Data, Durable, Sink, Staged};

use super::allowance::{Allowance, Count, Over, Rates, Whose};
use super::checks::{self, Checks};
use super::envelope::Envelope;
use super::notice::{self, Parcel};
use super::remote::Bell;
use super::reports::{self, Reports};
use super::seen::{self, Confirmed};
use super::stopped::{self, Pen};
use super::{local, submission, trace};

/// Letters above this many bytes are parsed one at a time: each is in memory whole while it is.
const LARGE_BYTES: u64 = 1 << 20;
/// Of counts that are kept in memory only.
const COUNTS_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Limits {
    pub message: message::Limits,
    /// Received fields (RFC 5321 6.3).
    pub received: usize,
    pub queue: queue::Limits,
    /// How many people an account may write to.
    pub rates: Rates,
    /// How long our own store may take before the answer is "try again" (DESIGN section 4).
    pub store_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: message::Limits::default(),
            received: 100,
            queue: queue::Limits::default(),
            rates: Rates::default(),
            store_ms: 60_000,
        }
    }
}

/// Why a letter is not taken. The family says whether to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has been round too often.
    Loop,
    /// Nobody speaks for it, and the domain it says it is from asks that such letters be refused (DMARC).
    Unauthentic(String),
    /// It cannot be told, or is not true, that who handed it in wrote it; a sentence says why.
    Author(String),
    /// The account writes to too many people: later it may go on.
    Slow(Over),
    /// The account has written to so many that none of its letters leaves the house any more.
    Stopped,
    /// It goes past a limit of [`message::Limits`].
    Message(message::Refused),
    /// It looks like junk, and would leave for another server.
    NotPassedOn,
    /// No room on the disk, or in the queue.
    Full,
    /// As many of the account's letters as may be wait for a time that it named; a sentence.
    Appointed(String),
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
            Refusal::Author(why) => f.write_str(why),
            Refusal::Slow(Over::Hour(most)) => {
                write!(f, "this account writes to more than {most} people within an hour; please go on later")
            }
            Refusal::Slow(Over::NewHour(most) | Over::NewDay(most)) => write!(
                f,
                "this account writes to more than {most} people at once whom it has never written to; please go on in an hour"
            ),
            Refusal::Stopped => f.write_str(
                "this account has written to so many strangers that nothing of it leaves any more; a new pass phrase, or the \
                 administrator, lets it go on",
            ),
            Refusal::Message(why) => why.fmt(f),
            Refusal::NotPassedOn => f.write_str("the message looks like spam, and this server passes none on"),
            Refusal::Full => f.write_str("there is no room for the message now"),
            Refusal::Appointed(why) => f.write_str(why),
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
            Refusal::Loop
            | Refusal::Unauthentic(_)
            | Refusal::Author(_)
            | Refusal::Stopped
            | Refusal::Message(_)
            | Refusal::NotPassedOn => Family::Peer,
            Refusal::Full | Refusal::Appointed(_) | Refusal::OverQuota | Refusal::Changed | Refusal::Slow(_) => {
                Family::World
            }
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
    allowance: Allowance,
    reports: Option<Reports>,
}

/// Why the transaction was given up.
enum Stop {
    Store(store::Error),
    Account(account::Error),
    Queue(queue::Error),
    Refused(Refusal),
}

impl From<account::Error> for Stop {
    fn from(error: account::Error) -> Stop {
        Stop::Account(error)
    }
}

impl From<queue::Error> for Stop {
    fn from(error: queue::Error) -> Stop {
        Stop::Queue(error)
    }
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Stop {
        Stop::Store(error)
    }
}

impl Intake {
    pub fn new(data: Data, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Intake {
        let (confirmed, large) = (Confirmed::default(), Arc::new(Semaphore::new(1)));
        let allowance = Allowance(lookup::memory(COUNTS_BYTES));
        Intake { data, clock, random, confirmed, large, checks: None, bell: Bell::default(), allowance, reports: None }
    }

    /// Remembers in `facts` whom accounts have written to; without any it is forgotten with this door.
    pub fn remembering(self, facts: Arc<dyn Lookup>) -> Intake {
        Intake { allowance: Allowance(facts), ..self }
    }

    /// The same door, with these checks of what strangers hand in; without any nothing is checked.
    pub fn with_checks(&self, checks: Option<Checks>) -> Intake {
        Intake { checks, ..self.clone() }
    }

    /// Rings when there is something to send.
    pub fn ringing(self, bell: Bell) -> Intake {
        Intake { bell, ..self }
    }

    /// Reads the reports that come in.
    pub fn reading(self, reports: Reports) -> Intake {
        Intake { reports: Some(reports), ..self }
    }

    /// Takes or refuses the letter whose bytes are in `sink`.
    pub async fn take(&self, envelope: Envelope, sink: Sink, hostname: &str, limits: &Limits) -> Outcome {
        let passed = match self.check(&envelope, sink, hostname).await {
            Ok(passed) => passed,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let (passed, spent) = match self.spend(&envelope, passed, hostname, limits).await {
            Ok(spent) => spent,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let outcome = self.take_in_time(envelope, passed, hostname, limits).await;
        if let Some(spent) = spent {
            let (allowance, now) = (self.allowance.clone(), self.clock.now());
            let taken = match &outcome {
                Outcome::Taken { .. } => Some(true),
                Outcome::Refused(_) => Some(false),
                Outcome::Unknown => None,
            };
            let settle = move || match taken {
                Some(true) => allowance.learn(spent.whose, &spent.addresses, now),
                Some(false) => allowance.give_back(spent.whose, spent.count, now),
                None => {}
            };
            // A count is no reason to answer otherwise.
            let _ = tokio::task::spawn_blocking(settle).await;
        }
        outcome
    }

    async fn take_in_time(&self, envelope: Envelope, passed: Passed, hostname: &str, limits: &Limits) -> Outcome {
        let wait = Duration::from_millis(limits.store_ms);
        match tokio::time::timeout(wait, self.try_take(envelope, passed, hostname, limits)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(refusal)) => Outcome::Refused(refusal),
            // Presented again it is recognised, should it have been stored after all (L3).
            Err(_) => Outcome::Refused(Refusal::Failed("the store took too long".into())),
        }
    }

    /// L6, before a letter comes: whether an account that is about to write to `so_far` people elsewhere may write to these too.
    /// Gives how many they are.
    pub async fn may_write_to(
        &self,
        account: AccountId,
        addresses: &[String],
        so_far: Count,
        hostname: &str,
        limits: &Limits,
    ) -> Result<Count, Refusal> {
        let (allowance, rates, now) = (self.allowance.clone(), limits.rates, self.clock.now());
        let addresses = addresses.to_vec();
        let ask = move |whose: Whose| {
            let more = allowance.count(whose, &addresses, now);
            let all = Count { all: so_far.all + more.all, new: so_far.new + more.new };
            match allowance.would(whose, all, &rates, now) {
                Some(over) => Err(over),
                None => Ok(more),
            }
        };
        self.ask(account, hostname, ask).await.map(|(_, more)| more)
    }

    /// L6. Counts the people elsewhere that somebody of the household writes to. `None`: there are none.
    async fn spend(
        &self,
        envelope: &Envelope,
        passed: Passed,
        hostname: &str,
        limits: &Limits,
    ) -> Result<(Passed, Option<Spent>), Refusal> {
        let Some(account) = envelope.origin.account else { return Ok((passed, None)) };
        let outside = envelope.recipients.iter().flat_map(|recipient| &recipient.target.outside);
        let addresses: BTreeSet<String> = outside.map(|address| address.to_lowercase()).collect();
        if addresses.is_empty() {
            return Ok((passed, None));
        }
        // P3: one that was taken before, and whose sender did not hear of it, is neither counted nor refused again.
        let look = {
            let (envelope, data, now) = (envelope.clone(), self.data.clone(), self.clock.now());
            let _one_at_a_time = self.while_large(&passed.sink).await?;
            tokio::task::spawn_blocking(move || {
                let digest = passed.sink.bytes().map(|bytes| seen::digest(&envelope, &bytes));
                let taken = digest.and_then(|digest| seen::was_taken(&data.read()?, &digest, now));
                (passed, taken)
            })
            .await
        };
        let (passed, taken) = look.map_err(|_| Refusal::Failed("the letter could not be read".into()))?;
        if taken.map_err(failed)? {
            return Ok((passed, None));
        }
        let addresses: Vec<String> = addresses.into_iter().collect();
        let (allowance, rates, now) = (self.allowance.clone(), limits.rates, self.clock.now());
        let named = addresses.clone();
        let ask = move |whose: Whose| {
            let count = allowance.count(whose, &named, now);
            match allowance.spend(whose, count, &rates, now) {
                Some(over) => Err(over),
                None => Ok(count),
            }
        };
        let (whose, count) = self.ask(account, hostname, ask).await?;
        Ok((passed, Some(Spent { whose, addresses, count })))
    }

    /// Asks the counts, where they may block; whoever they refuse is told of.
    async fn ask(
        &self,
        account: AccountId,
        hostname: &str,
        ask: impl FnOnce(Whose) -> Result<Count, Over> + Send + 'static,
    ) -> Result<(Whose, Count), Refusal> {
        let (data, allowance) = (self.data.clone(), self.allowance.clone());
        let chance = [self.random.u64(), self.random.u64()];
        let pen = Pen { hostname: hostname.to_owned(), now: self.clock.now(), chance };
        let asked = move || {
            let shown =
                data.read().map_err(directory::Error::from).and_then(|read| manage::account::by_id(&read, account));
            let shown = shown.map_err(|error| Refusal::Failed(error.to_string()))?;
            if shown.as_ref().is_some_and(|shown| shown.stopped.is_some()) {
                return Err(Refusal::Stopped);
            }
            let whose = Whose { account, season: shown.map_or(0, |shown| shown.season) };
            let over = match ask(whose) {
                Ok(count) => return Ok((whose, count)),
                Err(over) => over,
            };
            let stops = matches!(over, Over::NewDay(_));
            if (stops || allowance.is_to_be_told(whose, pen.now))
                && let Err(stopped::Stop(why)) = stopped::stop_and_tell(&data, account, over, &pen)
            {
                tracing::error!(why, "that an account writes to too many cannot be written down now");
            }
            tracing::warn!(account = account.0, ?over, "an account writes to too many");
            Err(if stops { Refusal::Stopped } else { Refusal::Slow(over) })
        };
        let unread = |_| Refusal::Failed("the account could not be asked for".into());
        tokio::task::spawn_blocking(asked).await.map_err(unread)?
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
                let read = sink.bytes().map(|bytes| {
                    (Examined::read(&bytes), seen::digest(&envelope, &bytes), claims(&bytes), head(&bytes))
                });
                (sink, read)
            });
            examined.await.map_err(unread)?
        };
        let (letter, digest, is_report, head) = read.map_err(failed)?;
        let reports = self.reports.as_ref().filter(|_| !is_report);
        match checks.check(envelope, &letter, &head, hostname, &*self.clock, reports).await {
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
                    return Ok(Passed { sink, checked: None, refused: Some(Refusal::Unauthentic(domain)) });
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
        mut envelope: Envelope,
        Passed { sink, checked, mut refused }: Passed,
        hostname: &str,
        limits: &Limits,
    ) -> Result<Outcome, Refusal> {
        let _one_at_a_time = self.while_large(&sink).await?;
        let now = self.clock.now();
        let id = format!("{:016x}", self.random.u64());
        let accounts = local::accounts(&envelope);
        let junk = envelope.origin.listed || checked.as_ref().is_some_and(|checked| checked.junk.is_some());
        if junk && !envelope.recipients.iter().all(|recipient| recipient.target.outside.is_empty()) {
            // L7
            if envelope.recipients.iter().any(|recipient| recipient.target.local.is_empty()) {
                refused = refused.or(Some(Refusal::NotPassedOn));
            }
            tracing::info!("a letter that looks like junk is not passed on");
            for recipient in &mut envelope.recipients {
                recipient.target.outside.clear();
            }
        }
        let (found, evidence) = checked.map(|checked| (checked.fields, checked.evidence)).unzip();
        let found =
            Found { fields: found.unwrap_or_default(), proven: evidence.as_ref().is_some_and(notice::is_proven), junk };
        let proven = found.proven;
        let reads = self.reports.is_some();
        let moment = Moment {
            now,
            trusted: self.clock.trusted(),
            id: id.clone(),
            chance: std::array::from_fn(|_| self.random.u64()),
        };
        let prepare = {
            let (envelope, accounts, limits) = (envelope.clone(), accounts.clone(), limits.clone());
            let (hostname, data) = (hostname.to_owned(), self.data.clone());
            move || {
                let mut suspect = None;
                if reads {
                    suspect = reports::suspect(&envelope, evidence.as_ref(), &sink.bytes().map_err(failed)?);
                }
                Ok((prepare(&envelope, &accounts, sink, found, &data, &hostname, &moment, &limits)?, suspect))
            }
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let (Prepared { letter, outside, tls, digest, notices }, suspect) =
            prepared.map_err(|_| Refusal::Failed("the letter could not be read".into()))??;

        let outgoing = outside.and_then(|staged| outgoing(&envelope, staged, tls, proven));
        let queue_limits = limits.queue;
        let leaves = outgoing.is_some() || notices.iter().any(|parcel| matches!(parcel, Parcel::Out(..)));
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
                if let Some(why) = &refused {
                    return Err(Stop::Refused(why.clone()));
                }
                if let Some(letter) = &letter {
                    local::put(txn, &accounts, letter, junk, outgoing.is_some(), now).map_err(Stop::Account)?;
                }
                if let Some((new, recipients)) = &outgoing {
                    queue::enqueue(txn, new, recipients, now, queue_limits).map_err(Stop::Queue)?;
                }
                // L8
                for parcel in &notices {
                    if !notice::put::<Stop>(txn, parcel, now, queue_limits)? {
                        tracing::warn!("a notice that a letter arrived finds no room in the queue, and is not sent");
                    }
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
                if let (Some(reports), Some(suspect)) = (&self.reports, suspect) {
                    reports.look(suspect, self.random.u64() >> 16, now);
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
            Err(Stop::Refused(why)) => Err(why),
            Err(Stop::Queue(queue::Error::Full)) => Err(Refusal::Full),
            Err(Stop::Queue(why @ queue::Error::Appointed)) => Err(Refusal::Appointed(why.to_string())),
            Err(Stop::Queue(error)) => Err(Refusal::Failed(error.to_string())),
        }
    }

    /// The peer has read that the letter was taken.
    pub fn confirm(&self, ticket: Ticket) {
        self.confirmed.add(ticket.0);
    }
}

/// Counted, and to be given back if the letter is not taken.
struct Spent {
    whose: Whose,
    addresses: Vec<String>,
    count: Count,
}

/// A letter that was checked, or need not be.
struct Passed {
    sink: Sink,
    checked: Option<checks::Checked>,
    /// Why it is refused, unless it was taken before.
    refused: Option<Refusal>,
}

/// A letter that is read, with its trace on top, and staged.
struct Prepared {
    /// For accounts of ours.
    letter: Option<Letter>,
    /// For elsewhere.
    outside: Option<Staged>,
    tls: Tls,
    digest: [u8; 32],
    /// For its sender.
    notices: Vec<Parcel>,
}

/// What was found out about a letter.
struct Found {
    /// Fields that say so.
    fields: Vec<u8>,
    /// Its sender is who the reverse path names.
    proven: bool,
    /// It looks like junk.
    junk: bool,
}

/// When a letter is taken, and what chance gives it.
struct Moment {
    now: Time,
    /// Whether `now` is to be believed.
    trusted: bool,
    id: String,
    chance: [u64; 6],
}

/// Blocks on the disk.
#[allow(clippy::too_many_arguments)] // all that is known of one letter, used once
fn prepare(
    envelope: &Envelope,
    accounts: &[LocalRecipient],
    sink: Sink,
    found: Found,
    data: &Data,
    hostname: &str,
    moment: &Moment,
    limits: &Limits,
) -> Result<Prepared, Refusal> {
    let now = moment.now;
    let body = sink.bytes().map_err(failed)?;
    let end = header::end(&body);
    let head = body.get(..end).unwrap_or_default();
    if trace::loops(envelope, head, limits.received) {
        return Err(Refusal::Loop);
    }
    // Of what was handed in, since that is what is presented again (L3).
    let digest = seen::digest(envelope, &body);
    let tls = wanted_tls(envelope, head);
    // L5
    let righted = match envelope.origin.account {
        Some(account) => put_right(data, envelope, account, head, hostname, moment, limits.message.header_bytes)?,
        None => None,
    };
    // RFC 8601 5: nobody but us writes in our name. Who has taken such fields away has another letter.
    let cleaned = mailauth::without_forged(righted.as_deref().unwrap_or(head), hostname).or(righted);
    let head = cleaned.as_deref().unwrap_or(head);
    let signed = match envelope.origin.account {
        Some(_) => checks::signatures(data, head, &body[end..], moment.trusted.then_some(now)),
        None => Vec::new(),
    };
    let trace = trace::fields(envelope, hostname, &moment.id, now, head, &trace::Made { found: found.fields, signed });
    let leaves =
        envelope.release.is_some() || envelope.recipients.iter().any(|recipient| !recipient.target.outside.is_empty());
    let header = |accounts: &[LocalRecipient]| LetterHeader {
        accounts: accounts.iter().map(|local| local.address.clone()).collect(),
        received: now,
    };
    let stage = |prefix: &[u8], accounts: &[LocalRecipient]| {
        data.blobs().stage(header(accounts), &[prefix, head, &body[end..]].concat()).map_err(failed)
    };
    // Junk is told of to nobody: it would say that there is somebody to write to.
    let notices = match found.junk {
        true => Vec::new(),
        false => {
            let [_, _, chance @ ..] = moment.chance;
            let (now, trusted, proven) = (moment.now, moment.trusted, found.proven);
            let facts = notice::Facts { hostname, now, trusted, chance, head, proven };
            notice::of_success(data, envelope, &facts).map_err(failed)?
        }
    };
    if accounts.is_empty() {
        message::parse(&body, &limits.message).map_err(Refusal::Message)?;
        let staged = match cleaned.is_some() {
            true => stage(&trace.outside, &[])?,
            false => sink.finish(header(&[]), &trace.outside).map_err(failed)?,
        };
        return Ok(Prepared { letter: None, outside: leaves.then_some(staged), tls, digest, notices });
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
        Ok(letter) => Ok(Prepared { letter: Some(letter), outside, tls, digest, notices }),
        Err(account::Error::Refused(why)) => Err(Refusal::Message(why)),
        Err(account::Error::Store(error)) => Err(failed(error)),
        Err(error) => Err(Refusal::Failed(error.to_string())),
    }
}

/// The header section of a letter of the household's, if it has to be another one than it was.
fn put_right(
    data: &Data,
    envelope: &Envelope,
    account: AccountId,
    head: &[u8],
    hostname: &str,
    moment: &Moment,
    most: u64,
) -> Result<Option<Vec<u8>>, Refusal> {
    // Whose names it carries was looked for up to here only.
    if head.len() as u64 > most {
        return Err(Refusal::Message(message::Refused::HeaderTooLarge));
    }
    let shown = data.read().map_err(directory::Error::from).and_then(|read| manage::account::by_id(&read, account));
    let shown = shown.map_err(|error| Refusal::Failed(error.to_string()))?;
    let address = envelope.from.as_deref().or(shown.as_ref().map(|shown| shown.address.as_str()));
    let name = shown.as_ref().and_then(|shown| shown.name.as_deref());
    let facts = submission::Facts {
        now: moment.now,
        author: address.map(|address| (address, name)),
        hostname,
        chance: [moment.chance[0], moment.chance[1]],
    };
    let righted = submission::put_right(head, &facts);
    if let Some(righted) = &righted {
        // M3: whatever was taken out or added, it names nobody that it did not name before, but its author.
        let before = submission::claims(head)?;
        let is_author = |claimed: &str| address.is_some_and(|author| author.eq_ignore_ascii_case(claimed));
        if let Some(more) =
            submission::claims(righted)?.iter().find(|claim| !before.contains(claim) && !is_author(&claim.address))
        {
            return Err(Refusal::Author(format!("it cannot be told whether the letter is from {}", more.address)));
        }
    }
    Ok(righted)
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

/// RFC 8689 4.1: of the two ways to ask, the envelope's counts.
fn wanted_tls(envelope: &Envelope, head: &[u8]) -> Tls {
    let no = || {
        header::find(head, "TLS-Required").is_some_and(|field| field.value().trim_ascii().eq_ignore_ascii_case(b"no"))
    };
    match envelope.require_tls {
        true => Tls::Required,
        false if no() => Tls::NotRequired,
        false => Tls::Usual,
    }
}

/// What leaves: recipients elsewhere of who has logged in, and what an alias sends on. Of what is to be sent later (RFC 4865),
/// everything: those who live here get it when its time has come, too.
fn outgoing(envelope: &Envelope, staged: Staged, tls: Tls, proven: bool) -> Option<(NewLetter, Vec<NewRecipient>)> {
    let mut recipients: Vec<NewRecipient> = Vec::new();
    for recipient in &envelope.recipients {
        let itself = std::slice::from_ref(&recipient.address);
        let (addresses, passed_on) = match envelope.release {
            Some(_) => (itself, recipient.dsn.notify),
            None => {
                let target = &recipient.target;
                (target.outside.as_slice(), notice::passed_on(recipient.dsn.notify, target))
            }
        };
        for address in addresses {
            if recipients.iter().any(|other| other.address.eq_ignore_ascii_case(address)) {
                continue;
            }
            let (notify, orcpt) = (passed_on, recipient.dsn.orcpt.clone());
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
        tls,
        proven,
        release: envelope.release,
        by: envelope.by,
    };
    (!recipients.is_empty()).then_some((letter, recipients))
}

/// The header of a letter, as far as a failure report needs it.
fn head(bytes: &[u8]) -> Vec<u8> {
    let head = bytes.get(..header::end(bytes)).unwrap_or_default();
    head.get(..2 * HEAD_BYTES).unwrap_or(head).to_vec()
}
