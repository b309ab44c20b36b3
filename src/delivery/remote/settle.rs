//! What became of a letter's recipients, written down in one transaction: the queue's rows, and the notices that the sender
//! gets (R1, R3).

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::house::{self, Arrivals};
use super::{Fate, Job, Sender, Trouble, Way, World, dialogue};
use crate::account;
use crate::base::Time;
use crate::delivery::notice::{self, Parcel, Ways};
use crate::message::date::Date;
use crate::message::dsn::{About, Kind, Notice};
use crate::proto::smtp::Reply;
use crate::proto::smtp::client::{Said, Verdict};
use crate::queue::schedule::{self, GIVE_UP, Next};
use crate::queue::{self, Entry, Recipient, State};
use crate::store;

/// Words of another server that are kept, in characters.
const WORDS: usize = 1000;
/// The longest letter that is read to be given back whole.
const GIVEN_BACK: u64 = 256 * 1024;
/// Between tries to write down what became of a letter; each twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Until a recipient that was refused is looked at again, where the notice of it had no room, in milliseconds.
const NO_ROOM_PAUSE: i64 = 3_600_000;

pub(super) struct Outcome {
    /// Which recipient.
    pub n: u32,
    pub verdict: Verdict,
    /// Who spoke, if somebody did.
    pub remote: Option<String>,
    /// Over TLS.
    pub tls: bool,
    /// The other server will tell the sender what becomes of it (RFC 3461 5.2.2).
    pub tells: bool,
    /// It will keep to the time that was set, or say so (RFC 2852).
    pub keeps_time: bool,
    /// Where nobody else has it: what its sender is told who wants to hear that it went well.
    pub here: Option<Here>,
}

/// What a recipient's copy came to in this house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Here(pub Option<Kind>);

/// How the words of what became of a letter ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Nothing was: the letter cannot be brought into this house as it is, or not to everybody whom it was for; a sentence.
    Not(String),
}

/// The same for all recipients of a job.
pub(super) async fn all<W: World>(sender: &Arc<Sender<W>>, way: &Way, job: &Job, trouble: &Trouble) {
    let (reader, id) = (sender.clone(), job.id);
    let found = tokio::task::spawn_blocking(move || queue::find(&reader.data.read().ok()?, id).ok()?);
    let Some(entry) = found.await.ok().flatten() else { return };
    let outcome = |n: &u32| {
        let (verdict, remote) = (dialogue::verdict(trouble), trouble.remote.clone());
        Outcome { n: *n, verdict, remote, tls: false, tells: false, keeps_time: false, here: None }
    };
    let outcomes = job.recipients.iter().map(outcome).collect();
    write(sender, way, &entry, outcomes, None).await;
}

/// One row's way, as the transaction goes it.
#[derive(Clone)]
enum Move {
    Leave(u32),
    PutOff { n: u32, due: Time, last: String, told: bool },
}

/// What is to be said of a recipient.
#[derive(Clone)]
struct Told {
    n: u32,
    kind: Kind,
    about: About,
    /// By NOTIFY.
    asked: bool,
}

/// Until it is written down nobody tries these recipients again (R2): else a store that takes nothing for an hour would mean a
/// copy every few seconds for whoever has the letter already. A cut before it is written means one copy more (P3).
pub(super) async fn write<W: World>(
    sender: &Arc<Sender<W>>,
    way: &Way,
    entry: &Entry,
    outcomes: Vec<Outcome>,
    arrivals: Option<&Arrivals>,
) -> Written {
    let now = sender.clock.now();
    let mut moves = Vec::new();
    let (mut told, mut fates): (Vec<Told>, Vec<Fate>) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        let waits = |one: &&Recipient| one.n == outcome.n && one.state != State::Held;
        let Some(recipient) = entry.recipients.iter().find(waits) else { continue };
        judge(entry, recipient, &outcome, now, &mut moves, &mut told);
        fates.extend(fate(entry, recipient, outcome));
    }
    // What another server has said is so; what is brought here is not before it is written.
    if arrivals.is_none() {
        std::mem::take(&mut fates).into_iter().for_each(|fate| sender.world.fate(fate));
    }
    let mut pause = FIRST_PAUSE;
    loop {
        match try_write(sender, way, entry, &moves, &told, now, arrivals).await {
            Ok(Tried::Done) => {
                fates.into_iter().for_each(|fate| sender.world.fate(fate));
                return Written::Done;
            }
            Ok(Tried::Not(why)) => return Written::Not(why),
            Ok(Tried::NoRoom) => wait_for_room(&mut moves, &mut told, now),
            Err(why) => {
                error!(letter = %entry.id, why, "what became of a letter cannot be written down now; it is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// P3: whoever asked to hear that it failed hears so, if later: a recipient whose notice finds no room stays, and is tried again. It
/// leaves without one only when its time is over: else whoever has us write notices that nobody takes keeps the queue full (P7).
fn wait_for_room(moves: &mut [Move], told: &mut Vec<Told>, now: Time) {
    for one in told.iter().filter(|one| one.must_leave()) {
        for step in moves.iter_mut().filter(|step| matches!(step, Move::Leave(n) if *n == one.n)) {
            let last = one.about.diagnostic.clone().unwrap_or_default();
            let due = Time(now.0.saturating_add(NO_ROOM_PAUSE));
            *step = Move::PutOff { n: one.n, due, last, told: false };
        }
    }
    told.retain(|one| !one.must_leave());
}

impl Told {
    /// To whoever wrote the letter, elsewhere (RFC 3461 4.1).
    fn must_leave(&self) -> bool {
        self.asked && self.kind == Kind::Failed
    }
}

enum Tried {
    Done,
    /// A notice that has to leave found none: nothing was written.
    NoRoom,
    /// As [`Written::Not`].
    Not(String),
}

/// R1. Errors: a sentence.
async fn try_write<W: World>(
    sender: &Arc<Sender<W>>,
    way: &Way,
    entry: &Entry,
    moves: &[Move],
    told: &[Told],
    now: Time,
    arrivals: Option<&Arrivals>,
) -> Result<Tried, String> {
    let staged = match arrivals {
        Some(arrivals) => match house::stage(sender, entry, arrivals, now).await {
            Ok(staged) => Some(staged),
            Err(why) => return Ok(Tried::Not(why)),
        },
        None => None,
    };
    let parcels = notices(sender, way, entry, told, now).await?;
    let leaves = parcels.iter().any(|parcel| matches!(parcel, Parcel::Out(..)))
        || staged.as_ref().is_some_and(|staged| staged.onward.is_some());
    let (id, moves, limits) = (entry.id, moves.to_vec(), way.queue);
    let is_over = now.0.saturating_sub(entry.since().0) >= GIVE_UP;
    let patient = !is_over && told.iter().any(Told::must_leave);
    let written = sender.data.write(move |txn| -> Result<(), Stop> {
        let mut moved = false;
        let mut left = Vec::new();
        for one in &moves {
            moved |= match one {
                // Nobody has been told yet: who held it meanwhile does not want it brought.
                Move::Leave(n) if staged.is_some() => queue::arrive(txn, id, *n)?.then(|| left.push(*n)).is_some(),
                Move::Leave(n) => queue::leave(txn, id, *n)?,
                Move::PutOff { n, due, last, told } => queue::put_off(txn, id, *n, *due, last, *told)?,
            };
        }
        if let Some(staged) = &staged {
            staged.put(txn, &left, now)?;
        }
        // A try whose outcome was not known has done it after all, or the owner has taken the letter away.
        if moved {
            for parcel in &parcels {
                let found_room = notice::put::<Stop>(txn, parcel, now, limits)?;
                if !found_room && patient {
                    return Err(Stop::NoRoom);
                }
                if !found_room {
                    warn!(letter = %id, "a notice finds no room in the queue, and is not sent");
                }
            }
        }
        Ok(())
    });
    match written.await {
        Ok(_) => {}
        Err(Stop::NoRoom) => return Ok(Tried::NoRoom),
        Err(Stop::Account(error)) if arrivals.is_some() && !matches!(error, account::Error::Store(_)) => {
            return Ok(Tried::Not(error.to_string()));
        }
        Err(Stop::Queue(error)) if arrivals.is_some() && !matches!(error, queue::Error::Store(_)) => {
            return Ok(Tried::Not(error.to_string()));
        }
        Err(stop) => return Err(stop.to_string()),
    }
    if leaves {
        sender.bell.ring();
    }
    Ok(Tried::Done)
}

fn judge(
    entry: &Entry,
    recipient: &Recipient,
    outcome: &Outcome,
    now: Time,
    moves: &mut Vec<Move>,
    told: &mut Vec<Told>,
) {
    let n = recipient.n;
    // RFC 3461 4.1: without NOTIFY, failures are told, and delays may be.
    let (success, failure, delay) =
        recipient.notify.map_or((false, true, true), |notify| (notify.success, notify.failure, notify.delay));
    let mut tell = |kind, about| told.push(Told { n, kind, about, asked: recipient.notify.is_some() });
    match &outcome.verdict {
        Verdict::Sent(said) if outcome.here.is_some() => {
            moves.push(Move::Leave(n));
            if let (Some(Here(Some(kind))), true) = (outcome.here, success) {
                tell(kind, About { diagnostic: None, ..about(recipient, outcome, said, None) });
            }
        }
        Verdict::Sent(said) => {
            moves.push(Move::Leave(n));
            // RFC 2852 4: whoever hears nothing more of the time is told up to where it was watched.
            let watched = entry.by.is_some_and(|by| by.trace || !outcome.keeps_time);
            let silent = recipient.notify == Some(queue::Notify::default());
            if success && !outcome.tells || watched && !silent {
                tell(Kind::Relayed, about(recipient, outcome, said, None));
            }
        }
        Verdict::Never(said) => {
            moves.push(Move::Leave(n));
            if failure {
                tell(Kind::Failed, about(recipient, outcome, said, None));
            }
        }
        Verdict::Later(said) => {
            let attempts = recipient.attempts.saturating_add(1);
            match schedule::after_failure(entry.since(), attempts, now, entry.by) {
                Next::Over | Next::GiveUp => {
                    moves.push(Move::Leave(n));
                    if failure {
                        let mut about = about(recipient, outcome, said, None);
                        // RFC 3463 3.5: X.4.7, the time is over.
                        about.status = (5, 4, 7);
                        tell(Kind::Failed, about);
                    }
                }
                Next::Again(due) => {
                    let late = !recipient.told && schedule::is_late(entry.since(), attempts, now, entry.by);
                    if late && delay {
                        let until = Time(entry.since().0.saturating_add(GIVE_UP));
                        tell(Kind::Delayed, about(recipient, outcome, said, Some(until)));
                    }
                    moves.push(Move::PutOff { n, due, last: words(&said.reply), told: late });
                }
            }
        }
    }
}

/// `None`: it is tried again, or nobody would know which it is.
fn fate(entry: &Entry, recipient: &Recipient, outcome: Outcome) -> Option<Fate> {
    let (taken, said) = match &outcome.verdict {
        Verdict::Sent(said) => (true, words(&said.reply)),
        Verdict::Never(said) => (false, words(&said.reply)),
        Verdict::Later(_) => return None,
    };
    let (envid, address) = (entry.envid.clone()?, recipient.address.clone());
    Some(Fate { envid, address, taken, remote: outcome.remote, tls: outcome.tls, said })
}

/// As it is listed, and told.
fn words(reply: &Reply) -> String {
    let (class, subject, detail) = status(reply);
    let text: String = reply.text.join(" ").chars().take(WORDS).collect();
    format!("{} {class}.{subject}.{detail} {text}", reply.code)
}

fn status(reply: &Reply) -> (u8, u16, u16) {
    // RFC 3463 2: one that says no more than the code does.
    reply.enhanced.unwrap_or(((reply.code / 100).clamp(2, 5) as u8, 0, 0))
}

fn about(recipient: &Recipient, outcome: &Outcome, said: &Said, until: Option<Time>) -> About {
    let mut text = words(&said.reply);
    if said.own {
        text = said.reply.text.join(" ");
    }
    About {
        address: recipient.address.clone(),
        original: recipient.orcpt.clone(),
        status: status(&said.reply),
        own: said.own,
        diagnostic: Some(text),
        remote: outcome.remote.clone(),
        until: until.map(Date::utc),
    }
}

/// The notices, and whose they are. Errors: a sentence.
async fn notices<W: World>(
    sender: &Arc<Sender<W>>,
    way: &Way,
    entry: &Entry,
    told: &[Told],
    now: Time,
) -> Result<Vec<Parcel>, String> {
    // RFC 3461 6.2: nothing is said of what was said itself by nobody.
    let Some(from) = entry.from.clone().filter(|_| !told.is_empty()) else { return Ok(Vec::new()) };
    // R3
    let whose = entry.account.map_or_else(|| sender.world.caretakers(), |account| vec![account]);
    if whose.is_empty() && !entry.proven {
        warn!(letter = %entry.id, "nobody is here to be told of a letter that was not delivered");
        return Ok(Vec::new());
    }
    let (sender, hostname, entry, told) = (sender.clone(), way.hostname.clone(), entry.clone(), told.to_vec());
    let build = move || -> Result<Vec<Parcel>, store::Error> {
        // A letter that cannot be read any more is told of all the same.
        let bytes = sender.data.blobs().read(entry.blob, 0..entry.size.min(GIVEN_BACK));
        let bytes =
            bytes.inspect_err(|error| warn!(?error, "a letter cannot be read to be given back")).unwrap_or_default();
        let mut out = Vec::new();
        let mut add = |kind, ways: Ways<'_>, wanted: &dyn Fn(&Told) -> bool| -> Result<(), store::Error> {
            let those = told.iter().filter(|one| one.kind == kind && wanted(one));
            let recipients: Vec<About> = those.map(|one| one.about.clone()).collect();
            if recipients.is_empty() {
                return Ok(());
            }
            let notice = Notice {
                kind,
                hostname: &hostname,
                to: &from,
                now: Date::utc(now),
                arrived: Date::utc(entry.queued),
                envid: entry.envid.as_deref(),
                by: entry.by.map(|by| Date::utc(by.at)),
                recipients: &recipients,
                full: if entry.size > GIVEN_BACK { Some(false) } else { entry.ret_full },
                passed_on: entry.account.is_none() && !ways.out,
                letter: &bytes,
                chance: [sender.random.u64(), sender.random.u64()],
            };
            out.extend(notice::stage(&sender.data, &notice, &ways, (now, sender.clock.trusted()))?);
            Ok(())
        };
        for kind in [Kind::Failed, Kind::Delayed, Kind::Relayed, Kind::Delivered, Kind::Expanded] {
            // Who keeps this house wants to hear of what went wrong with what its aliases send on, and of nothing else.
            let is_theirs = entry.account.is_some() || matches!(kind, Kind::Failed | Kind::Delayed);
            if is_theirs && !whose.is_empty() {
                add(kind, Ways { accounts: &whose, out: false }, &|_| true)?;
            }
            if entry.account.is_none() && entry.proven {
                add(kind, Ways { accounts: &[], out: true }, &|one| one.asked)?;
            }
        }
        Ok(out)
    };
    let built = tokio::task::spawn_blocking(build).await.map_err(|_| "a mistake of ours".to_owned())?;
    built.map_err(|error| format!("{error:?}"))
}

pub(super) enum Stop {
    NoRoom,
    Queue(queue::Error),
    Account(account::Error),
    Store(store::Error),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::NoRoom => f.write_str("the notices have filled their part of the queue"),
            Stop::Queue(error) => error.fmt(f),
            Stop::Account(error) => error.fmt(f),
            Stop::Store(error) => write!(f, "{error:?}"),
        }
    }
}

impl From<queue::Error> for Stop {
    fn from(error: queue::Error) -> Stop {
        Stop::Queue(error)
    }
}

impl From<account::Error> for Stop {
    fn from(error: account::Error) -> Stop {
        Stop::Account(error)
    }
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Stop {
        Stop::Store(error)
    }
}
