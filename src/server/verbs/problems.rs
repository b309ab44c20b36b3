//! `problems`: what is wrong right now, in plain words, and what to do about it.
//!
//! Gathering asks the clock, the disk and the stores; nothing here waits for the network. What the name servers said last
//! is remembered from the last `dns check`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

use crate::appliance::machine::{Client, Machine};
use crate::base::{QueueId, Time};
use crate::cert::Alarm;
use crate::directory::dkim;
use crate::directory::manage::{account, domain};
use crate::directory::rotation::Stage;
use crate::message::date::{Date, iso_minute};
use crate::queue;

use super::super::house::House;
use super::super::stick;
use super::nag::nag;
use super::{Done, Error, Reply, Request};

/// Of the disk: less than this is little.
const LITTLE_BYTES: u64 = 512 << 20;
/// A letter that has waited this long is stuck.
const STUCK_MS: i64 = 4 * 3600 * 1000;
const QUEUE_MOST: usize = 1000;

/// What others found out, for [`list`].
#[derive(Default)]
pub(in super::super) struct Noted(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    /// Of the listeners: sentences.
    doors: Vec<String>,
    /// The server is bound to this machine, so nothing leaves.
    bound: bool,
    records: BTreeMap<String, Looked>,
}

/// The last look at a domain's records.
#[derive(Clone)]
struct Looked {
    at: Time,
    wrong: usize,
    all: usize,
}

impl Noted {
    pub fn doors(&self, problems: &[String]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).doors = problems.to_vec();
    }

    pub fn bound(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bound = true;
    }

    /// Why nothing leaves at all, if that is so.
    pub fn keeps_all(&self, house: &House) -> Option<&'static str> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).bound {
            return Some("Nothing leaves: the server is bound to this machine (--bind).");
        }
        (!house.settings.load().sending.on)
            .then_some("Nothing leaves: sending is switched off (sending.on in settings.toml).")
    }

    /// From the reply to a `dns check`.
    pub(super) fn records(&self, now: Time, checked: &Value) {
        let Some(domain) = checked["domain"].as_str() else { return };
        let Some(records) = checked["records"].as_array() else { return };
        let wrong = records.iter().filter(|record| record["state"] != "right").count();
        let looked = Looked { at: now, wrong, all: records.len() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).records.insert(domain.to_owned(), looked);
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Something does not work.
    Bad,
    /// Somebody should do something.
    NeedsYou,
    /// It goes on by itself.
    Waiting,
}

#[derive(Serialize)]
struct Problem {
    /// `certificate`, `records`, `disk`, `clock`, `queue`, `sending`, `keys`, `ports`, `backup`, `box`.
    about: &'static str,
    /// Which domain, if it is about one.
    subject: Option<String>,
    state: State,
    /// A sentence.
    words: String,
    /// What to do, a sentence; empty if there is nothing.
    next: String,
}

struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, about: &'static str, state: State, words: impl Into<String>, next: impl Into<String>) {
        self.0.push(Problem { about, subject: None, state, words: words.into(), next: next.into() });
    }
}

pub(super) fn list(house: &House) -> Done {
    let mut found = Found(Vec::new());
    clock(house, &mut found);
    disk(house, &mut found);
    certificates(house, &mut found)?;
    doors(house, &mut found);
    records(house, &mut found)?;
    queued(house, &mut found)?;
    stopped(house, &mut found)?;
    keys(house, &mut found)?;
    backups(house, &mut found);
    the_box(&mut found);
    let Found(mut all) = found;
    all.sort_by_key(|problem| problem.state);
    let mut text: String = all.iter().map(|one| format!("{}\n    {}\n", one.words, one.next)).collect();
    if all.is_empty() {
        text.push_str("All is well.\n");
    }
    Ok(Reply::done(text, json!(all)))
}

/// Looks at the records of every domain, so that [`list`] can say what is wrong with them.
pub(in super::super) fn look_at_records(house: &House) -> Result<(), Error> {
    for domain in domain::list(&house.data.read()?)?.into_iter().filter(|domain| !is_at_home(domain)) {
        let request = Request::DnsCheck { domain: domain.clone(), addresses: Vec::new(), servers: Vec::new() };
        if let Err(error) = super::attempt(house, &request) {
            tracing::debug!(domain, %error, "the records cannot be looked at now");
        }
    }
    Ok(())
}

/// A house's own name stands in nobody's DNS (RFC 8375).
fn is_at_home(domain: &str) -> bool {
    domain == "home.arpa" || domain.ends_with(".home.arpa")
}

fn clock(house: &House, found: &mut Found) {
    if !house.clock.trusted() {
        found.add(
            "clock",
            State::Waiting,
            "The clock has not been compared with the world's since the start.",
            "This goes on by itself once the box reaches a time server; certificates wait for it.",
        );
    }
}

fn disk(house: &House, found: &mut Found) {
    let path = house.folder.path();
    let free = rustix::fs::statvfs(path).map(|room| room.f_bavail.saturating_mul(room.f_frsize));
    match free {
        _ if !house.data.blobs().has_room() => found.add(
            "disk",
            State::Bad,
            "The disk is full: new letters are refused.",
            "Delete large letters, or people who have left. Senders try again by themselves for some days.",
        ),
        Ok(free) if free < LITTLE_BYTES => found.add(
            "disk",
            State::NeedsYou,
            format!("Only {} MB of the disk are free.", free >> 20),
            "Delete what is not needed, before letters have to be refused.",
        ),
        Ok(_) => {}
        Err(error) => found.add("disk", State::Bad, format!("The disk cannot be asked for its room: {error}"), ""),
    }
}

fn certificates(house: &House, found: &mut Found) -> Result<(), Error> {
    let authority = !house.settings.load().acme.directory.is_empty();
    for entry in house.certificates.list(house)? {
        let names = entry.names.join(", ");
        let trouble = entry.trouble.as_ref().map(|(name, trouble)| trouble.in_full(name));
        let state = match entry.alarm {
            Some(Alarm::Twelfth | Alarm::Ended) => Some(State::Bad),
            Some(_) => Some(State::NeedsYou),
            None => None,
        };
        match (&entry.kept, state) {
            (Some((_, facts)), Some(state)) => {
                let words = format!("The certificate for {names} ends at {}.", minute(facts.life.until));
                found.add(
                    "certificate",
                    state,
                    words,
                    trouble.unwrap_or_else(|| "It is tried again by itself.".to_owned()),
                );
            }
            (None, _) if !authority => found.add(
                "certificate",
                State::NeedsYou,
                format!("Nobody vouches for {names} yet: mail programs and browsers will warn."),
                "No authority for certificates is set (acme.directory in settings.toml).",
            ),
            (None, _) => found.add(
                "certificate",
                State::Waiting,
                format!("There is no certificate for {names} yet."),
                trouble.unwrap_or_else(|| "It is being fetched.".to_owned()),
            ),
            (Some(_), None) => {
                if let Some(trouble) = trouble {
                    found.add(
                        "certificate",
                        State::Waiting,
                        format!("The certificate for {names} could not be renewed yet."),
                        trouble,
                    );
                }
            }
        }
    }
    Ok(())
}

fn doors(house: &House, found: &mut Found) {
    let notes = house.noted.0.lock().unwrap_or_else(PoisonError::into_inner);
    for problem in &notes.doors {
        found.add("ports", State::Bad, problem.clone(), "It is tried again every half a minute.");
    }
}

fn records(house: &House, found: &mut Found) -> Result<(), Error> {
    let domains = domain::list(&house.data.read()?)?;
    let notes = house.noted.0.lock().unwrap_or_else(PoisonError::into_inner);
    for domain in domains {
        if is_at_home(&domain) {
            continue;
        }
        let before = found.0.len();
        match notes.records.get(&domain) {
            Some(looked) if looked.wrong > 0 => found.add(
                "records",
                State::NeedsYou,
                format!(
                    "{} of {} records of {domain} were not right at {}.",
                    looked.wrong,
                    looked.all,
                    minute(looked.at)
                ),
                "The page of the domain says which, and what to enter.",
            ),
            Some(_) => {}
            None => found.add(
                "records",
                State::Waiting,
                format!("The records of {domain} have not been looked at since the start."),
                "I look at them by myself soon after the start and some times a day; the page of the domain does it now.",
            ),
        }
        if let Some(problem) = found.0.get_mut(before) {
            problem.subject = Some(domain);
        }
    }
    Ok(())
}

fn queued(house: &House, found: &mut Found) -> Result<(), Error> {
    let read = house.data.read()?;
    let all = queue::list(&read, QueueId(0), QUEUE_MOST).map_err(|error| Error::Words(error.to_string()))?;
    if let Some(why) = house.noted.keeps_all(house).filter(|_| !all.is_empty()) {
        found.add("queue", State::NeedsYou, why, "What is in the queue waits until that is changed.");
        return Ok(());
    }
    let before = house.clock.now().plus_ms(-STUCK_MS);
    let stuck = all.iter().filter(|entry| entry.since() < before).count();
    if stuck > 0 {
        let words = if stuck == 1 { "A letter has".to_owned() } else { format!("{stuck} letters have") };
        found.add(
            "queue",
            State::NeedsYou,
            format!("{words} been waiting to be sent for more than four hours."),
            "The queue says to whom, and what was answered last.",
        );
    }
    Ok(())
}

/// DKIM keys whose records somebody has to write.
fn keys(house: &House, found: &mut Found) -> Result<(), Error> {
    let read = house.data.read()?;
    for domain in domain::list(&read)?.into_iter().filter(|domain| !is_at_home(domain)) {
        let standing = dkim::standing(&read, &domain)?;
        let of = |stage: Stage| -> Vec<&str> {
            standing.iter().filter(|key| key.stage == stage).map(|key| key.selector.as_str()).collect()
        };
        let (coming, gone) = (of(Stage::Coming), of(Stage::Gone));
        let before = found.0.len();
        if !coming.is_empty() {
            found.add(
                "keys",
                State::NeedsYou,
                format!("New keys for signing the letters of {domain} wait until their records are in the DNS."),
                "The page of the domain lists these records. Until they are there the old keys sign, and nothing is lost.",
            );
        }
        if !gone.is_empty() {
            found.add(
                "keys",
                State::Waiting,
                format!("The records of old keys of {domain} may be removed from the DNS: {}.", gone.join(", ")),
                "Nothing is signed with them any more. Where homepost writes the records itself, it removes them itself.",
            );
        }
        for problem in found.0.iter_mut().skip(before) {
            problem.subject = Some(domain.clone());
        }
    }
    Ok(())
}

/// Accounts that write to too many people.
fn stopped(house: &House, found: &mut Found) -> Result<(), Error> {
    for one in account::list(&house.data.read()?)?.into_iter().filter(|one| !one.closing) {
        let Some(since) = one.stopped else { continue };
        let words = format!(
            "{} has written to so many strangers that none of its letters leaves the house since {}.",
            one.address,
            minute(since)
        );
        found.add(
            "sending",
            State::NeedsYou,
            words,
            "If somebody else knows its pass phrase, choose a new one: then it sends again by itself. If all is well, let it go on.",
        );
    }
    Ok(())
}

/// Off the box there is nobody to ask.
/// On a box; elsewhere its owner sees to that with `homepost backup create`.
fn backups(house: &House, found: &mut Found) {
    let Some(stick) = stick::is_in() else { return };
    let state = stick::State::load(&house.folder);
    if let Some((words, next)) = nag(&state, stick, house.clock.now().seconds()) {
        found.add("backup", State::NeedsYou, words, next);
    }
}

fn the_box(found: &mut Found) {
    let Ok(status) = Client::new().status() else { return };
    if let Some(problem) = status.problem {
        found.add("box", State::Bad, problem, "");
    }
    if let Some(notice) = status.notice {
        found.add("box", State::NeedsYou, notice, "");
    }
}

fn minute(time: Time) -> String {
    iso_minute(Date::utc(time))
}
