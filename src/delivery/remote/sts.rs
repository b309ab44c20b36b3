//! The policies that domains publish for who sends to them (MTA-STS, RFC 8461): fetched, and kept for as long as they say, so
//! that whoever sits on the line cannot make them go away by letting nothing through.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use tracing::{debug, warn};

use crate::base::Time;
use crate::mailauth::sts::{self, Policy};
use crate::mailauth::tlsrpt::{self, Failure, FailureKind, PolicyKind};
use crate::net::dns::{Data, Kind};
use crate::net::{HttpClient, HttpError};

use super::route::Names;
use super::{Sender, World};

/// RFC 8461 3.3 suggests 64 KiB. What is kept with it has its place in a fact.
const POLICY_BYTES: usize = 63 * 1024;
/// A longer one is kept without what nobody needs; if it is longer then, not at all: a stranger chooses how long it is, and for
/// how many of his domains (P7).
const KEPT_BYTES: usize = 8 * 1024;
/// Before a policy that could not be fetched is asked for again (RFC 8461 3.3).
const FAILED_MS: i64 = 5 * 60 * 1000;
/// Of which things are kept, by domain.
const POLICIES: &str = "mta-sts/policy/";
const FAILURES: &str = "mta-sts/failed/";

/// A policy as it lies among the facts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Kept {
    /// Of the record that led to it.
    #[n(0)]
    id: String,
    #[n(1)]
    text: String,
    /// Milliseconds since 1970.
    #[n(2)]
    fetched: i64,
}

/// The policy of a domain (A-labels, lower case), `None` without any. A domain that has none costs one question.
pub(super) async fn policy<W: World>(sender: &Arc<Sender<W>>, names: &Names, domain: &str) -> Option<Policy> {
    let found = names.look(&format!("_mta-sts.{domain}"), Kind::Txt).await;
    let found = found.inspect_err(|why| debug!(domain, %why, "whether there is a policy (MTA-STS) cannot be asked"));
    let texts = found.map(|found| found.data).unwrap_or_default();
    let id = sts::id(texts.iter().filter_map(|data| match data {
        Data::Txt(text) => Some(text.as_str()),
        _ => None,
    }));
    let kept = kept(sender, domain).await;
    // RFC 8461 3.3 and 10.2: what was fetched counts for as long as it says, also when its record is gone.
    let Some(id) = id else { return kept.map(|(_, policy)| policy) };
    let now = sender.clock.now();
    if let Some((fact, policy)) = &kept {
        let age = now.0.saturating_sub(fact.fetched);
        // One that grows old is fetched again while it still counts (RFC 8461 3.3).
        if fact.id == id && (0..i64::from(policy.max_age) * 500).contains(&age) {
            return kept.map(|(_, policy)| policy);
        }
    }
    let old = kept.map(|(_, policy)| policy);
    if failed_lately(sender, domain, &id).await {
        return old;
    }
    match fetch(sender, domain).await {
        Ok((text, policy)) => {
            if let Some(text) = to_keep(text, &policy) {
                let fact = Kept { id, text, fetched: now.0 };
                let expires = Time(now.0.saturating_add(i64::from(policy.max_age) * 1000));
                put(sender, format!("{POLICIES}{domain}"), minicbor::to_vec(&fact).unwrap_or_default(), expires).await;
            }
            debug!(domain, mode = policy.mode.word(), "its policy (MTA-STS) was fetched");
            Some(policy)
        }
        Err((failure, why)) => {
            warn!(domain, why, kept = old.is_some(), "its policy (MTA-STS) cannot be had");
            put(sender, format!("{FAILURES}{domain}"), id.into_bytes(), Time(now.0.saturating_add(FAILED_MS))).await;
            sender.world.note(tlsrpt::Outcome {
                at: now,
                domain: domain.to_owned(),
                policy: reported(old.as_ref()),
                mx: None,
                receiving: None,
                sending: None,
                result: Err(failure),
            });
            old
        }
    }
}

/// As a report tells it.
pub(super) fn reported(policy: Option<&Policy>) -> tlsrpt::Policy {
    let (strings, mx) = policy.map(|policy| (policy.lines.clone(), policy.mx.clone())).unwrap_or_default();
    tlsrpt::Policy { kind: PolicyKind::Sts, strings, mx }
}

/// What is kept of a policy. `None`: too much.
fn to_keep(text: String, policy: &Policy) -> Option<String> {
    let text = if text.len() > KEPT_BYTES { policy.short() } else { text };
    (text.len() <= KEPT_BYTES).then_some(text)
}

/// RFC 8461 3.3. Errors: for the report, in words that say nothing of what is in the house; and for the log.
async fn fetch<W: World>(sender: &Arc<Sender<W>>, domain: &str) -> Result<(String, Policy), (Failure, String)> {
    let failed = |words: String| (FailureKind::StsPolicyFetchError.because("the policy cannot be fetched"), words);
    let roots = sender.world.roots();
    let client = HttpClient::new(&roots).map_err(|error| failed(error.to_string()))?;
    // Where it is, a stranger says.
    let client = client.with_limit(POLICY_BYTES).outward();
    let address = format!("https://mta-sts.{domain}/.well-known/mta-sts.txt");
    let request = http::Request::get(&address).body(bytes::Bytes::new()).map_err(|error| failed(error.to_string()))?;
    let answer = client.send(request).await.map_err(|error| match error {
        HttpError::Untrusted(_) | HttpError::Time(_) => {
            let words = "the certificate of the policy's server is not one for its name, from whom is trusted";
            (FailureKind::StsWebpkiInvalid.because(words), error.to_string())
        }
        other => failed(other.to_string()),
    })?;
    let told = |failure: Failure| {
        let words = failure.words.clone().unwrap_or_default();
        (failure, words)
    };
    let refused = |words: String| told(FailureKind::StsPolicyFetchError.because(words));
    // Also an address elsewhere is no answer: redirects are not followed.
    if answer.status() != http::StatusCode::OK {
        return Err(refused(format!("the policy's server answers {}", answer.status().as_u16())));
    }
    let kind = answer.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("text/plain") {
        return Err(refused("what the policy's server gives is no plain text".to_owned()));
    }
    let invalid = |words: String| told(FailureKind::StsPolicyInvalid.because(words));
    let text = String::from_utf8(answer.into_body().to_vec()).map_err(|_| invalid("it is no text".to_owned()))?;
    let policy = Policy::read(&text).map_err(invalid)?;
    Ok((text, policy))
}

async fn kept<W: World>(sender: &Arc<Sender<W>>, domain: &str) -> Option<(Kept, Policy)> {
    let value = get(sender, format!("{POLICIES}{domain}")).await?;
    let fact: Kept = minicbor::decode(&value).ok()?;
    let policy = Policy::read(&fact.text).ok()?;
    Some((fact, policy))
}

async fn failed_lately<W: World>(sender: &Arc<Sender<W>>, domain: &str, id: &str) -> bool {
    get(sender, format!("{FAILURES}{domain}")).await.is_some_and(|failed| failed == id.as_bytes())
}

async fn get<W: World>(sender: &Arc<Sender<W>>, key: String) -> Option<Vec<u8>> {
    let (sender, now) = (sender.clone(), sender.clock.now());
    tokio::task::spawn_blocking(move || sender.world.facts().get(key.as_bytes(), now)).await.ok().flatten()
}

/// Through a cut too: a policy is worth most on the day somebody wants it forgotten.
async fn put<W: World>(sender: &Arc<Sender<W>>, key: String, value: Vec<u8>, expires: Time) {
    let (sender, now) = (sender.clone(), sender.clock.now());
    let write = move || {
        let facts = sender.world.facts();
        facts.put(key.as_bytes(), &value, expires, now);
        facts.flush();
    };
    let _ = tokio::task::spawn_blocking(write).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_policy_what_counts_is_kept_and_of_a_longer_one_nothing() {
        let policy = |hosts: usize, fill: usize| {
            let mx: String = (0..hosts).map(|n| format!("mx: {n}.{}.test\n", "x".repeat(60))).collect();
            let text = format!("version: STSv1\nmode: enforce\n{mx}max_age: 5\nother: {}\n", "y".repeat(fill));
            (text.clone(), Policy::read(&text).unwrap())
        };
        let (text, read) = policy(3, 100);
        assert_eq!(to_keep(text.clone(), &read), Some(text));
        let (text, read) = policy(3, 10_000);
        let kept = to_keep(text, &read).unwrap();
        assert!(kept.len() < 500, "{kept}");
        let again = Policy::read(&kept).unwrap();
        assert_eq!((again.mode, again.max_age, again.mx), (read.mode, read.max_age, read.mx));
        let (text, read) = policy(200, 60_000);
        assert_eq!(read.mx.len(), 100);
        assert!(to_keep(text, &read).is_some_and(|text| text.len() <= KEPT_BYTES));
        let long = Policy { mx: vec!["x".repeat(250); 100], ..read };
        assert_eq!(to_keep("x".repeat(60_000), &long), None);
    }

    /// Version 1 as it lies on disk: a policy that is kept for a year outlives many a version.
    #[test]
    fn facts_of_version_1_are_read() {
        let fact = Kept { id: "a1".into(), text: "t".into(), fetched: 5 };
        let bytes = [0x83, 0x62, b'a', b'1', 0x61, b't', 5];
        assert_eq!(minicbor::to_vec(&fact).unwrap(), bytes);
        assert_eq!(minicbor::decode::<Kept>(&bytes).unwrap(), fact);
    }
}
