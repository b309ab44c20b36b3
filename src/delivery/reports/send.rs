//! Our own reports leave: once a day, each domain's in a letter of its own, signed and queued as any other letter.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::base::{Clock, Random, Time};
use crate::mailauth::Names;
use crate::mailauth::report::{
    Carries, Counted, DAY, Failed, Heading, Place, Session, Writer, aggregate, failure_letter, gzip, letter, places,
    record, tls, tls_places, wants,
};
use crate::message::date::Date;
use crate::message::header;
use crate::queue::{self, NewLetter, NewRecipient, Notify};
use crate::store::Data;
use crate::store::blob::LetterHeader;

use super::super::checks;
use super::Reports;
use super::count::{Gathered, day};

/// Domains that are reported to in one day: each costs some questions to the DNS.
const DOMAINS: usize = 500;
const HOUR_MS: i64 = 60 * 60 * 1000;
/// Reports leave within so many hours after midnight (UTC), each house at its own time.
const SPREAD_HOURS: i64 = 5;

/// Posts a packed report to an address; true if it was taken (RFC 8460 5.4).
pub type Poster = Arc<dyn Fn(String, Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// What sending needs.
pub struct Office {
    pub data: Data,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub names: Arc<dyn Names>,
    pub poster: Option<Poster>,
    /// What the queue may hold.
    pub queue: queue::Limits,
    pub hostname: String,
    /// Those whose mail is ours.
    pub domains: Vec<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Letters queued, and reports that were taken over HTTPS.
    pub reports: u64,
    /// Domains that want none, or whose records could not be asked for.
    pub unwanted: u64,
}

/// Whether the days before today are to be reported: a few hours after midnight, by a number that is each house's own, so that
/// not all of them come at once (RFC 9990 3.5, RFC 8460 4.1).
pub fn is_time(now: Time, own: u64) -> bool {
    let spread = i64::try_from(own % (SPREAD_HOURS * HOUR_MS).unsigned_abs()).unwrap_or(0);
    now.0.rem_euclid(24 * HOUR_MS) >= spread
}

/// One report, ready but for whom it goes to.
struct Ready {
    carries: Carries,
    heading: Heading,
    packed: Vec<u8>,
}

impl Reports {
    /// Sends what was counted before a day. What has gone, and what nobody wants, is forgotten; what cannot be queued now is
    /// tried again.
    pub async fn send(&self, office: &Office, before: i64) -> Sent {
        let mut sent = Sent::default();
        let Some(own) = own_domain(office) else { return sent };
        let now = office.clock.now();
        for one in self.read_beside::<Counted>("dmarc", before, now).await {
            let done = self.send_letters(office, &own, &one).await;
            self.done("dmarc", one.day, one.domain, done, &mut sent).await;
        }
        for one in self.read_beside::<Session>("tls", before, now).await {
            let done = self.send_sessions(office, &own, &one).await;
            self.done("tls", one.day, one.domain, done, &mut sent).await;
        }
        sent
    }

    /// Tells of letters that failed, to whom their domains name for that and who wants it (RFC 9991). Those that cannot be queued
    /// now are tried again until they are a day old.
    pub async fn send_failures(&self, office: &Office) -> u64 {
        let mut sent = 0;
        let Some(own) = own_domain(office) else { return sent };
        let (all, now) = (self.clone(), office.clock.now());
        for (domain, failed, key) in tokio::task::spawn_blocking(move || all.failures(now)).await.unwrap_or_default() {
            match self.send_failure(office, &own, &domain, &failed).await {
                Ok(count) => {
                    sent += count;
                    let reports = self.clone();
                    let _ = tokio::task::spawn_blocking(move || reports.told(&key)).await;
                }
                Err(why) => tracing::warn!(domain, why, "a failure report has to wait"),
            }
        }
        sent
    }

    async fn send_failure(&self, office: &Office, own: &str, domain: &str, failed: &Failed) -> Result<u64, String> {
        if is_ours(office, domain) {
            return Ok(0);
        }
        let names = &*office.names;
        let asked = record(names, domain).await.map_err(|()| "its record cannot be looked up".to_owned())?;
        let mut count = 0;
        for place in places(asked.iter().flat_map(|record| &record.ruf).map(String::as_str)) {
            let Place::Mail { address, domain: at, limit } = place else { continue };
            if is_ours(office, &at) || !wants(names, domain, &at).await {
                continue;
            }
            let (now, chance) = (Date::utc(office.clock.now()), [office.random.u64(), office.random.u64()]);
            let writer = Writer { reporter: own, hostname: &office.hostname, to: &address, domain, now, chance };
            let bytes = failure_letter(&writer, failed);
            if limit.is_none_or(|limit| bytes.len() as u64 <= limit) {
                self.queue(office, bytes, &address, &at, queue::Tls::default()).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn read_beside<T>(&self, kind: &'static str, before: i64, now: Time) -> Vec<Gathered<T>>
    where
        T: serde::de::DeserializeOwned + Send + 'static,
    {
        let own = self.clone();
        let read = tokio::task::spawn_blocking(move || own.gathered(kind, before, now));
        let mut all = read.await.unwrap_or_default();
        all.truncate(DOMAINS);
        all
    }

    async fn done(&self, kind: &'static str, day: i64, domain: String, done: Result<u64, String>, sent: &mut Sent) {
        let count = match done {
            Ok(count) => count,
            Err(why) => {
                tracing::warn!(domain, why, "a report has to wait");
                return;
            }
        };
        sent.reports += count;
        sent.unwanted += u64::from(count == 0);
        let own = self.clone();
        // Of the time in which it was counted: facts that have expired are gone anyhow.
        let now = Time(day.saturating_mul(DAY * 1000));
        let _ = tokio::task::spawn_blocking(move || own.forget(kind, day, &domain, now)).await;
    }

    async fn send_letters(&self, office: &Office, own: &str, one: &Gathered<Counted>) -> Result<u64, String> {
        // What is in our own name needs no letter to ourselves.
        if is_ours(office, &one.domain) {
            return Ok(0);
        }
        let names = &*office.names;
        let Some(record) =
            record(names, &one.domain).await.map_err(|()| "its record cannot be looked up".to_owned())?
        else {
            return Ok(0);
        };
        let heading = heading(office, own, one.day, &one.domain);
        let Some(packed) = gzip(&aggregate(&heading, &record, &one.rows)) else { return Ok(0) };
        let ready = Ready { carries: Carries::Aggregate, heading, packed };
        let mut count = 0;
        for place in places(record.rua.iter().map(String::as_str)) {
            let Place::Mail { address, domain, limit } = place else { continue };
            let fits = limit.is_none_or(|limit| ready.packed.len() as u64 <= limit);
            if fits && !is_ours(office, &domain) && wants(names, &one.domain, &domain).await {
                self.queue_ready(office, &ready, &address, &domain).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn send_sessions(&self, office: &Office, own: &str, one: &Gathered<Session>) -> Result<u64, String> {
        if is_ours(office, &one.domain) || self.is_only_reports(one, office.clock.now()) {
            return Ok(0);
        }
        let places = tls_places(&*office.names, &one.domain).await;
        if places.is_empty() {
            return Ok(0);
        }
        let heading = heading(office, own, one.day, &one.domain);
        let policies = self.policies(one.day, &one.domain, Time(one.day.saturating_mul(DAY * 1000)));
        let Some(packed) = gzip(&tls(&heading, &policies, &one.rows)) else { return Ok(0) };
        let ready = Ready { carries: Carries::Tls, heading, packed };
        let mut count = 0;
        for place in places {
            match place {
                Place::Mail { domain, .. } if is_ours(office, &domain) => {}
                Place::Mail { address, domain, limit } => {
                    if limit.is_none_or(|limit| ready.packed.len() as u64 <= limit) {
                        self.queue_ready(office, &ready, &address, &domain).await?;
                        count += 1;
                    }
                }
                Place::Https(address) => {
                    let Some(poster) = &office.poster else { continue };
                    count += u64::from(poster(address, ready.packed.clone()).await);
                }
            }
        }
        Ok(count)
    }

    /// Two servers that report on one another's reports would never end.
    fn is_only_reports(&self, one: &Gathered<Session>, now: Time) -> bool {
        let sessions: u64 = one.rows.iter().map(|(_, count)| count).sum();
        let failed = one.rows.iter().any(|(row, _)| row.failed.is_some());
        !failed && sessions <= self.own(one.day, &one.domain, now)
    }

    async fn queue_ready(&self, office: &Office, ready: &Ready, to: &str, domain: &str) -> Result<(), String> {
        let chance = [office.random.u64(), office.random.u64()];
        let Ready { carries, heading, packed } = ready;
        let bytes = letter(*carries, heading, to, packed, Date::utc(office.clock.now()), chance);
        // RFC 8460 5.3: what is wrong with its TLS must not keep the news of that from a domain.
        let tls = if *carries == Carries::Tls { queue::Tls::NotRequired } else { queue::Tls::default() };
        self.queue(office, bytes, to, domain, tls).await
    }

    async fn queue(
        &self,
        office: &Office,
        bytes: Vec<u8>,
        to: &str,
        domain: &str,
        tls: queue::Tls,
    ) -> Result<(), String> {
        let now = office.clock.now();
        let eight_bit = !bytes.is_ascii();
        let when = office.clock.trusted().then_some(now);
        let data = office.data.clone();
        let staged = tokio::task::spawn_blocking(move || {
            // RFC 8460 5.3: signed, as RFC 9990's readers want it, too.
            let (head, body) = bytes.split_at(header::end(&bytes));
            let signed = [checks::signatures(&data, head, body, when).as_slice(), &bytes].concat();
            data.blobs().stage(LetterHeader { accounts: Vec::new(), received: now }, &signed)
        });
        let staged = staged.await.map_err(|_| "a mistake of ours".to_owned())?.map_err(|error| format!("{error:?}"))?;
        // From nobody: a report that does not arrive is worth no letter.
        let new = NewLetter {
            staged,
            from: None,
            account: None,
            utf8: false,
            eight_bit,
            ret_full: None,
            envid: None,
            tls,
            proven: false,
            release: None,
            by: None,
        };
        let recipient = NewRecipient { address: to.to_owned(), notify: Some(Notify::default()), orcpt: None };
        let limits = office.queue;
        let written =
            office.data.write(move |txn| queue::enqueue(txn, &new, std::slice::from_ref(&recipient), now, limits));
        written.await.map(drop).map_err(|error| error.to_string())?;
        // Nothing is noted of how letters leave that need no TLS.
        if tls == queue::Tls::NotRequired {
            return Ok(());
        }
        let (own, domain) = (self.clone(), domain.to_owned());
        let _ = tokio::task::spawn_blocking(move || own.note_own(&domain, now)).await;
        Ok(())
    }
}

fn is_ours(office: &Office, domain: &str) -> bool {
    office
        .domains
        .iter()
        .any(|own| domain == own || domain.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.')))
}

/// In whose name we report: the domain that the server is in, else the first.
fn own_domain(office: &Office) -> Option<String> {
    let within = |domain: &&String| office.hostname == **domain || office.hostname.ends_with(&format!(".{domain}"));
    office.domains.iter().find(within).or(office.domains.first()).cloned()
}

fn heading(office: &Office, own: &str, of: i64, domain: &str) -> Heading {
    let begin = of.saturating_mul(DAY);
    // A day that is not over ends now.
    let today = day(office.clock.now()) == of;
    let end = if today { office.clock.now().0.div_euclid(1000) } else { begin.saturating_add(DAY - 1) };
    Heading {
        reporter: own.to_owned(),
        contact: format!("postmaster@{own}"),
        hostname: office.hostname.clone(),
        domain: domain.to_owned(),
        // The same time twice is the same report.
        id: format!("{begin}.{end}.{domain}@{}", office.hostname),
        begin,
        end,
    }
}
