//! Reports about letters in our name that come to `postmaster@` our domains, kept as short summaries that expire; and our own
//! about what others sent, counted by the day and sent.
//!
//! The letter itself is delivered as any other, before anything here looks at it; what cannot be read is noted, and nobody
//! waits for it. Everything here may be lost (P4): a report more or less changes no letter.
//!
//! Invariants, cited by tests:
//! - N1: a report is believed only as far as it goes: with it is kept who sent the letter, and whether that is proven.
//! - N2: what is kept has a number and an end (P7).

mod count;
mod send;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::base::Time;
use crate::mailauth::report::{self, Report};
use crate::mailauth::{Evidence, Outcome};
use crate::store::lookup::Lookup;

use super::envelope::Envelope;

/// Reports that are kept; the oldest make room.
const MOST: usize = 500;
/// How long.
const KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// Letters that may wait to be read; more are passed over.
const WAITING: usize = 8;
/// Letters and sessions that may wait to be counted.
const COUNTING: usize = 64;
const PREFIX: &[u8] = b"report/read/";

pub use count::day;
pub use send::{Office, Poster, Sent, is_time};

/// What is known of those reports. Clones share it.
#[derive(Clone)]
pub struct Reports {
    lookup: Arc<dyn Lookup>,
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    counting: Arc<Semaphore>,
}

/// A report, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Milliseconds since 1970.
    pub received: i64,
    /// The author's domain of the letter; empty if there is not just one.
    pub sender: String,
    /// Whether that domain is proven to have sent it.
    pub proven: bool,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Report(Report),
    /// It says that it is one; why it could not be read, as [`report::Unread::word`].
    Unread(String),
}

/// A letter that may be a report, and who sent it.
pub(super) struct Suspect {
    letter: Vec<u8>,
    sender: String,
    proven: bool,
}

/// A letter that is looked at once it is taken: from outside, and to the address that our records name (RFC 9990 3.5; in the
/// DNS guide: `rua` and `ruf`).
pub(super) fn suspect(envelope: &Envelope, evidence: Option<&Evidence>, letter: &[u8]) -> Option<Suspect> {
    let named =
        |address: &str| address.rsplit_once('@').is_some_and(|(local, _)| local.eq_ignore_ascii_case("postmaster"));
    let ours = envelope.recipients.iter().any(|one| named(&one.address) && !one.target.local.is_empty());
    if !ours || envelope.origin.account.is_some() || letter.len() > report::LETTER_BYTES {
        return None;
    }
    let author = evidence.map(|evidence| evidence.dmarc.author.clone()).unwrap_or_default();
    let proven = evidence.is_some_and(|evidence| is_proven(evidence, &author));
    Some(Suspect { letter: letter.to_vec(), sender: author, proven })
}

/// DMARC passes, or without a policy a signature of the very domain is good.
fn is_proven(evidence: &Evidence, author: &str) -> bool {
    let signed =
        || evidence.dkim.iter().any(|one| one.outcome == Outcome::Pass && one.domain.eq_ignore_ascii_case(author));
    !author.is_empty() && (evidence.dmarc.outcome == Outcome::Pass || signed())
}

impl Reports {
    pub fn new(lookup: Arc<dyn Lookup>) -> Reports {
        let room = |n| Arc::new(Semaphore::new(n));
        Reports { lookup, places: room(WAITING), turn: room(1), counting: room(COUNTING) }
    }

    /// Reads a letter beside everything else, one at a time; it has been delivered already.
    pub(super) fn look(&self, suspect: Suspect, id: u64, now: Time) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            tracing::info!("too many reports at once: one is not read");
            return;
        };
        let own = self.clone();
        tokio::spawn(async move {
            let Ok(turn) = own.turn.clone().acquire_owned().await else { return };
            let read = tokio::task::spawn_blocking(move || {
                let _held = (place, turn);
                own.read(suspect, id, now);
            });
            if read.await.is_err() {
                tracing::error!("a report made a mistake of ours");
            }
        });
    }

    fn read(&self, Suspect { letter, sender, proven }: Suspect, id: u64, now: Time) {
        let what = match report::find(&letter) {
            Ok(None) => return,
            Ok(Some(report)) => What::Report(report),
            Err(why) => {
                tracing::info!(why = why.word(), sender, "a report cannot be read");
                What::Unread(why.word().to_owned())
            }
        };
        self.keep(&Kept { received: now.0, sender, proven, what }, id, now);
    }

    /// N2
    pub fn keep(&self, kept: &Kept, id: u64, now: Time) {
        let Ok(value) = serde_json::to_vec(kept) else { return };
        let time = now.0.max(0).cast_unsigned();
        let key = [PREFIX, &time.to_be_bytes(), &id.to_be_bytes()].concat();
        self.lookup.put(&key, &value, Time(now.0.saturating_add(KEPT_MS)), now);
        let all = self.lookup.scan(PREFIX, &[], MOST + 64, now);
        for (key, _) in all.iter().take(all.len().saturating_sub(MOST)) {
            self.lookup.delete(key);
        }
        // There are a few a day, and the newest facts are those that a cut forgets.
        self.lookup.flush();
    }

    /// The newest first, each with the number by which it is asked for.
    pub fn list(&self, now: Time) -> Vec<(u64, Kept)> {
        let mut all: Vec<(u64, Kept)> = Vec::new();
        for (key, value) in self.lookup.scan(PREFIX, &[], MOST + 64, now) {
            let id = key.last_chunk::<8>().map(|id| u64::from_be_bytes(*id)).unwrap_or_default();
            match serde_json::from_slice(&value) {
                Ok(kept) => all.push((id, kept)),
                // Of another version.
                Err(_) => self.lookup.delete(&key),
            }
        }
        all.reverse();
        all
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod kept_tests {
    use super::*;
    use crate::mailauth::report::Aggregate;
    use crate::store::lookup;

    fn kept(domain: &str, at: i64) -> Kept {
        let report = Report::Aggregate(Aggregate { domain: domain.into(), ..Aggregate::default() });
        Kept { received: at, sender: "google.com".into(), proven: true, what: What::Report(report) }
    }

    #[test]
    fn the_newest_is_first_and_all_have_an_end() {
        let reports = Reports::new(lookup::memory(1 << 20));
        reports.keep(&kept("a.test", 1000), 1, Time(1000));
        reports.keep(&kept("b.test", 2000), 2, Time(2000));
        let listed = reports.list(Time(3000));
        assert_eq!(listed, [(2, kept("b.test", 2000)), (1, kept("a.test", 1000))]);
        assert_eq!(reports.list(Time(1500 + KEPT_MS)).len(), 1);
        assert_eq!(reports.list(Time(2000 + KEPT_MS)), []);
    }

    #[test]
    fn more_than_there_is_room_for_displace_the_oldest() {
        let reports = Reports::new(lookup::memory(64 << 20));
        for n in 0..(MOST as u64 + 5) {
            let at = n.cast_signed();
            reports.keep(&kept("a.test", at), n, Time(at));
        }
        let listed = reports.list(Time(10_000));
        assert_eq!((listed.len(), listed.last().map(|(id, _)| *id)), (MOST, Some(5)));
    }
}
