//! The dialogue with an authority: account, order, proofs, certificate (RFC 8555), and its windows for renewal (RFC 9773).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{
    AccountCredentials, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::base::{Clock, Time};
use crate::net::{HttpClient, HttpError, Pair};

use super::config::Config;
use super::file::Keep;
use super::http::{Seen, Wire};
use super::obtain::{Authority, Ordered, Try};
use super::schedule::Window;
use super::stage::{Answer, Method, Stage};
use super::trouble::{Cause, Trouble};

/// Between two looks at an authorization; authorities take some seconds.
const POLL: Duration = Duration::from_secs(2);
/// Looks at an authorization before it counts as not decided.
const POLLS: usize = 90;
/// For the order itself, once everything is proven.
const FINISH: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(120));

const BINDING: &str = "binding.json";

/// What binds our account to one that the owner has with the authority (RFC 8555 7.3.4). Secret.
#[derive(Serialize, Deserialize)]
pub struct Binding {
    id: String,
    key: String,
}

impl Binding {
    /// `key` as authorities show it: base64url. Errors: sentences.
    pub fn new(id: &str, key: &str) -> Result<Binding, String> {
        let (id, key) = (id.trim(), key.trim().trim_end_matches('='));
        if id.is_empty() || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("the key id is one word that the authority gave you".to_owned());
        }
        // Some give it in the other alphabet.
        let key = key.replace('+', "-").replace('/', "_");
        match BASE64_URL_SAFE_NO_PAD.decode(&key) {
            Ok(bytes) if bytes.len() >= 16 => Ok(Binding { id: id.to_owned(), key }),
            _ => Err("the key is not one of base64url, as authorities give it".to_owned()),
        }
    }

    pub fn keep(&self, keep: &dyn Keep) -> Result<(), String> {
        let bytes = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        keep.write(BINDING, &bytes).map_err(|error| format!("the key cannot be kept: {error}"))
    }

    fn load(keep: &dyn Keep) -> Option<ExternalAccountKey> {
        let bytes = keep.read(BINDING).ok()??;
        let binding: Binding = serde_json::from_slice(&bytes).ok()?;
        let key = BASE64_URL_SAFE_NO_PAD.decode(&binding.key).ok()?;
        Some(ExternalAccountKey::new(binding.id, &key))
    }
}

/// Our account with an authority, as far as it is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub directory: String,
    /// Its address, which a CAA record can name (RFC 8657 3).
    pub uri: String,
}

impl Account {
    /// The account with this directory, if there is one.
    pub fn with(keep: &dyn Keep, directory: &str) -> Option<Account> {
        #[derive(Deserialize)]
        struct Shown {
            id: String,
        }
        let bytes = keep.read(&file_of(directory)).ok()??;
        let shown: Shown = serde_json::from_slice(&bytes).ok()?;
        Some(Account { directory: directory.to_owned(), uri: shown.id })
    }
}

/// How an authority is named in CAA records (RFC 8659 4.2), by the host of its directory; those that say it in public. `None`:
/// not known, and a wrong name would forbid what it is meant to allow.
pub fn caa_name(directory: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 6] = [
        ("api.letsencrypt.org", "letsencrypt.org"),
        ("zerossl.com", "sectigo.com"),
        ("buypass.com", "buypass.com"),
        ("pki.goog", "pki.goog"),
        ("ssl.com", "ssl.com"),
        ("actalis.com", "actalis.it"),
    ];
    let uri: http::Uri = directory.parse().ok()?;
    let host = uri.host()?.to_ascii_lowercase();
    let is_in = |home: &str| host.strip_suffix(home).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    KNOWN.iter().find(|(home, _)| is_in(home)).map(|(_, name)| *name)
}

fn file_of(directory: &str) -> String {
    let digest = blake3::hash(directory.as_bytes()).to_hex();
    format!("account-{}.json", &digest[..16])
}

/// An authority that we have an account with.
pub struct Acme<'a, S> {
    account: instant_acme::Account,
    wire: Wire,
    stage: &'a S,
    profile: Option<String>,
    keep: &'a dyn Keep,
    file: String,
    forgotten: AtomicBool,
}

impl<'a, S: Stage> Acme<'a, S> {
    /// Comes back to our account there, or makes one.
    pub async fn open(
        directory: &str,
        config: &Config,
        client: HttpClient,
        keep: &'a dyn Keep,
        stage: &'a S,
        clock: Arc<dyn Clock>,
    ) -> Result<Acme<'a, S>, Trouble> {
        let wire = Wire::new(client, clock);
        let file = file_of(directory);
        let kept = keep.read(&file).map_err(|error| Trouble::new(Cause::Strange, error.to_string()))?;
        let credentials = kept.and_then(|bytes| serde_json::from_slice::<AccountCredentials>(&bytes).ok());
        let builder = instant_acme::Account::builder_with_http(Box::new(wire.clone()));
        let account = match credentials {
            Some(credentials) => builder.from_credentials(credentials).await.map_err(|e| trouble(&e, wire.seen()))?,
            None => {
                let contact = config.contact.as_ref().map(|contact| format!("mailto:{contact}"));
                let contacts: Vec<&str> = contact.iter().map(String::as_str).collect();
                let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
                let binding = Binding::load(keep);
                let made = builder.create(&new, directory.to_owned(), binding.as_ref()).await;
                let (account, credentials) = made.map_err(|error| account_trouble(&error, wire.seen()))?;
                let bytes = serde_json::to_vec(&credentials)
                    .map_err(|_| Trouble::new(Cause::Strange, "the account cannot be written down"))?;
                // An account that is not kept would be made anew each time.
                keep.write(&file, &bytes).map_err(|error| Trouble::new(Cause::Strange, error.to_string()))?;
                info!(directory, account = account.id(), "made an account with the authority");
                account
            }
        };
        Ok(Acme {
            account,
            wire,
            stage,
            profile: config.profile.clone(),
            keep,
            file,
            forgotten: AtomicBool::new(false),
        })
    }

    /// When the authority suggests to renew this certificate, and when it wants to be asked again (milliseconds). `None`
    /// if it does not offer that.
    pub async fn window(&self, ari: &str) -> Result<Option<(Window, i64)>, Trouble> {
        let Some((key_id, serial)) = ari.split_once('.') else { return Ok(None) };
        let id =
            CertificateIdentifier { authority_key_identifier: Cow::Borrowed(key_id), serial: Cow::Borrowed(serial) };
        match self.account.renewal_info(&id).await {
            Ok((info, again)) => {
                let window = info.suggested_window;
                let window = Window {
                    start: Time::from_seconds(window.start.unix_timestamp()),
                    end: Time::from_seconds(window.end.unix_timestamp()),
                };
                Ok(Some((window, i64::try_from(again.as_millis()).unwrap_or(i64::MAX))))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(trouble(&error, self.wire.seen())),
        }
    }

    /// Whether the authority did not know our account any more. It is forgotten then: opening again makes another.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    fn forget(&self) {
        warn!(account = self.account.id(), "the authority does not know our account any more");
        self.forgotten.store(true, Ordering::Relaxed);
        if let Err(error) = self.keep.remove(&self.file) {
            warn!(%error, "the account with the authority cannot be removed");
        }
    }

    async fn attempt(&self, tries: &[Try], replaces: Option<&str>) -> Result<Ordered, Trouble> {
        let names: Vec<Identifier> = tries.iter().map(|one| Identifier::Dns(one.name.clone())).collect();
        let mut order = match self.new_order(&names, replaces).await {
            Ok(order) => order,
            Err(error) => return self.by_name(&error, tries),
        };
        debug!(order = order.url(), "ordered");
        let mut shown = Vec::new();
        let failed = self.prove(&mut order, tries, &mut shown).await;
        for answer in &shown {
            self.stage.hide(answer).await;
        }
        let failed = failed.map_err(|error| trouble(&error, self.wire.seen()))?;
        if !failed.is_empty() {
            return Ok(Ordered::Names(failed));
        }
        match self.finish(&mut order, tries).await {
            Ok(pair) => Ok(Ordered::Issued(pair)),
            Err(error) => self.by_name(&error, tries),
        }
    }

    async fn new_order(&self, names: &[Identifier], replaces: Option<&str>) -> Result<Order, Error> {
        let new = || {
            let new = NewOrder::new(names);
            match &self.profile {
                Some(profile) => new.profile(profile),
                None => new,
            }
        };
        if let Some((key_id, serial)) = replaces.and_then(|ari| ari.split_once('.')) {
            let old = CertificateIdentifier {
                authority_key_identifier: Cow::Borrowed(key_id),
                serial: Cow::Borrowed(serial),
            };
            match self.account.new_order(&new().replaces(old)).await {
                // RFC 9773 5: an authority may not know the old one, or know that it is replaced already, or pass over what
                // we said of it. What counts is the new one.
                Err(Error::Unsupported(_) | Error::Api(_)) => {}
                Err(Error::Other(other)) if !other.is::<HttpError>() => {}
                done => return done,
            }
        }
        self.account.new_order(&new()).await
    }

    /// Shows the answers, and waits until the authority has looked at all of them. Gives the names that it did not accept.
    async fn prove(
        &self,
        order: &mut Order,
        tries: &[Try],
        shown: &mut Vec<Answer>,
    ) -> Result<Vec<(String, Trouble)>, Error> {
        let mut failed = Vec::new();
        let mut pending: Vec<&Try> = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(next) = authorizations.next().await {
            let mut authorization = next?;
            let Some(one) = find(tries, &authorization) else { continue };
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => {
                    failed.push((one.name.clone(), verdict(&authorization, one)));
                    continue;
                }
            }
            let kind = match one.method {
                Method::Dns => ChallengeType::Dns01,
                Method::TlsAlpn => ChallengeType::TlsAlpn01,
                Method::Http => ChallengeType::Http01,
            };
            let Some(mut challenge) = authorization.challenge(kind) else {
                let trouble = Trouble::new(Cause::NoMethod, "the authority does not offer it").by(one.method);
                failed.push((one.name.clone(), trouble));
                continue;
            };
            let key = challenge.key_authorization();
            let mut digest = [0u8; 32];
            if key.digest().as_ref().len() == digest.len() {
                digest.copy_from_slice(key.digest().as_ref());
            }
            let answer = Answer {
                method: one.method,
                name: one.name.clone(),
                token: challenge.token.clone(),
                text: key.as_str().to_owned(),
                digest,
                record: key.dns_value(),
            };
            shown.push(answer.clone());
            if let Err(trouble) = self.stage.show(&answer).await {
                failed.push((one.name.clone(), trouble.by(one.method)));
                continue;
            }
            match challenge.set_ready().await {
                Ok(()) => pending.push(one),
                Err(Error::Api(problem)) => failed.push((one.name.clone(), of_problem(&problem).by(one.method))),
                Err(error) => return Err(error),
            }
        }
        for _ in 0..POLLS {
            if pending.is_empty() {
                return Ok(failed);
            }
            sleep(POLL).await;
            let mut authorizations = order.authorizations();
            while let Some(next) = authorizations.next().await {
                let mut authorization = next?;
                let Some(one) = find(tries, &authorization).filter(|one| pending.contains(one)) else { continue };
                authorization.refresh().await?;
                match authorization.status {
                    AuthorizationStatus::Pending => continue,
                    AuthorizationStatus::Valid => {}
                    _ => failed.push((one.name.clone(), verdict(&authorization, one))),
                }
                pending.retain(|other| other.name != one.name);
            }
        }
        failed.extend(pending.iter().map(|one| {
            (one.name.clone(), Trouble::new(Cause::Away, "the authority did not decide in time").by(one.method))
        }));
        Ok(failed)
    }

    async fn finish(&self, order: &mut Order, tries: &[Try]) -> Result<Pair, Error> {
        if order.poll_ready(&FINISH).await? != OrderStatus::Ready {
            return Err(Error::Str("the order did not become ready"));
        }
        let names: Vec<String> = tries.iter().map(|one| one.name.clone()).collect();
        let (key, csr) = request(names).map_err(|error| Error::Other(Box::new(error)))?;
        order.finalize_csr(&csr).await?;
        let chain = order.poll_certificate(&FINISH).await?;
        Ok(Pair { chain: chain.into_bytes(), key })
    }

    /// An error that names some of the names is about those; any other is about the order.
    fn by_name(&self, error: &Error, tries: &[Try]) -> Result<Ordered, Trouble> {
        if let Error::Api(problem) = error {
            if kind(problem) == "accountDoesNotExist" {
                self.forget();
            }
            let named = of_subproblems(problem, tries);
            if !named.is_empty() {
                return Ok(Ordered::Names(named));
            }
            let about = of_problem(problem);
            if about.counts() || matches!(about.cause, Cause::Refused | Cause::Limited) {
                let named = named_in(problem.detail.as_deref().unwrap_or(""), tries);
                if !named.is_empty() {
                    let one = |one: &Try| (one.name.clone(), about.clone().by(one.method));
                    return Ok(Ordered::Names(named.into_iter().map(one).collect()));
                }
            }
        }
        Err(trouble(error, self.wire.seen()))
    }
}

impl<S: Stage> Authority for Acme<'_, S> {
    async fn order(&self, tries: &[Try], replaces: Option<&str>) -> Ordered {
        self.attempt(tries, replaces).await.unwrap_or_else(Ordered::Failed)
    }
}

fn find<'t>(tries: &'t [Try], authorization: &AuthorizationHandle<'_>) -> Option<&'t Try> {
    match authorization.identifier().identifier {
        Identifier::Dns(name) => tries.iter().find(|one| one.name == *name),
        _ => None,
    }
}

/// What the authority says of a proof that it did not accept.
fn verdict(authorization: &AuthorizationHandle<'_>, one: &Try) -> Trouble {
    let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
    problem.map_or_else(|| Trouble::new(Cause::WrongAnswer, ""), of_problem).by(one.method)
}

/// A new key (ECDSA P-256, PEM) and the request for its certificate (DER).
fn request(names: Vec<String>) -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let csr = params.serialize_request(&key)?;
    Ok((key.serialize_pem().into_bytes(), csr.der().to_vec()))
}

/// What a failed dialogue means.
fn trouble(error: &Error, seen: Seen) -> Trouble {
    let found = match error {
        Error::Api(problem) => of_problem(problem),
        Error::Other(other) => match other.downcast_ref::<HttpError>() {
            Some(error) => of_http(error),
            None => Trouble::new(Cause::Strange, other.to_string()),
        },
        Error::Timeout(_) => Trouble::new(Cause::Away, "the authority did not finish in time"),
        // A page of somebody's proxy instead of an answer.
        Error::Json(_) | Error::Str(_) if seen.status == 429 || seen.status >= 500 => {
            let cause = if seen.status == 429 { Cause::Limited } else { Cause::Away };
            Trouble::new(cause, format!("HTTP status {}", seen.status))
        }
        error => Trouble::new(Cause::Strange, error.to_string()),
    };
    let waits = matches!(found.cause, Cause::Limited | Cause::Away);
    Trouble { until: found.until.or(seen.retry_after).filter(|_| waits), ..found }
}

fn account_trouble(error: &Error, seen: Seen) -> Trouble {
    let found = trouble(error, seen);
    match error {
        // RFC 8555 7.3.4: a binding that is missing or wrong.
        Error::Api(problem) => match kind(problem) {
            "externalAccountRequired" | "unauthorized" | "malformed" => Trouble { cause: Cause::Binding, ..found },
            "invalidContact" | "unsupportedContact" => Trouble { cause: Cause::Account, ..found },
            _ => found,
        },
        _ => found,
    }
}

fn of_http(error: &HttpError) -> Trouble {
    let cause = match error {
        HttpError::Time(_) => Cause::Clock,
        HttpError::Untrusted(_) => Cause::Untrusted,
        HttpError::Address(_) | HttpError::TooLong(_) => Cause::Strange,
        HttpError::Name(_) | HttpError::Connect(_) | HttpError::Inside | HttpError::Broken(_) | HttpError::Slow => {
            Cause::Away
        }
    };
    Trouble::new(cause, error.to_string())
}

/// RFC 8555 6.7: the part of the type that tells.
fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:")).unwrap_or("")
}

fn of_problem(problem: &Problem) -> Trouble {
    of_kind(kind(problem), problem.detail.as_deref().unwrap_or(""), problem.status)
}

fn of_kind(kind: &str, detail: &str, status: Option<u16>) -> Trouble {
    let cause = match kind {
        "caa" => Cause::Caa,
        "connection" if detail.contains("could not resolve") => Cause::DnsBroken,
        "connection" => Cause::Unreachable,
        "unauthorized" | "incorrectResponse" | "tls" => Cause::WrongAnswer,
        // "DNS problem: NXDOMAIN looking up A …", "no valid A records found"
        "dns" if ["NXDOMAIN", "no valid A", "No valid IP"].iter().any(|words| detail.contains(words)) => {
            Cause::NoAddress
        }
        "dns" => Cause::DnsBroken,
        "rateLimited" => Cause::Limited,
        "externalAccountRequired" => Cause::Binding,
        "accountDoesNotExist" | "userActionRequired" | "invalidContact" | "unsupportedContact" => Cause::Account,
        "rejectedIdentifier" | "unsupportedIdentifier" => Cause::Refused,
        "serverInternal" => Cause::Away,
        _ if status.is_some_and(|status| status >= 500) => Cause::Away,
        _ => Cause::Strange,
    };
    let until = (cause == Cause::Limited).then(|| until_in(detail)).flatten();
    Trouble { until, ..Trouble::new(cause, detail) }
}

/// RFC 8555 6.7.1.
fn of_subproblems(problem: &Problem, tries: &[Try]) -> Vec<(String, Trouble)> {
    let mut out: Vec<(String, Trouble)> = Vec::new();
    for sub in &problem.subproblems {
        let Some(Identifier::Dns(name)) = &sub.identifier else { continue };
        let Some(one) = tries.iter().find(|one| one.name == *name) else { continue };
        if out.iter().any(|(known, _)| known == name) {
            continue;
        }
        let kind =
            sub.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:")).unwrap_or("");
        let detail = sub.detail.as_deref().unwrap_or("");
        out.push((name.clone(), of_kind(kind, detail, None).by(one.method)));
    }
    out
}

/// The names that a sentence is about: not every authority says it in a field. With one name there is no doubt.
fn named_in<'t>(detail: &str, tries: &'t [Try]) -> Vec<&'t Try> {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let words: Vec<&str> = detail.split(|c: char| !letter(c)).map(|word| word.trim_end_matches('.')).collect();
    let named: Vec<&Try> = tries.iter().filter(|one| words.contains(&one.name.as_str())).collect();
    if named.is_empty() && tries.len() == 1 { tries.iter().collect() } else { named }
}

/// Let's Encrypt writes "retry after 2026-11-27 14:05:00 UTC" into its sentence.
fn until_in(detail: &str) -> Option<Time> {
    let rest = detail.split_once("retry after ")?.1;
    let mut words = rest.split([' ', 'T', ':', 'Z', ',']);
    let day = words.next()?;
    let mut parts = day.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let day = crate::message::Day::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    let (hour, minute): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // A minute later, for the seconds.
    Some(Time::from_seconds(day.0 * 86_400 + hour.clamp(0, 23) * 3600 + (minute.clamp(0, 59) + 1) * 60))
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::Drawer;
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    fn cause(kind: &str, detail: &str) -> Cause {
        of_problem(&problem(&format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"{detail}"}}"#))).cause
    }

    #[test]
    fn an_authority_is_named_in_caa_records_only_if_it_says_how() {
        for (directory, name) in [
            ("https://acme-v02.api.letsencrypt.org/directory", Some("letsencrypt.org")),
            ("https://acme-staging-v02.api.letsencrypt.org/directory", Some("letsencrypt.org")),
            ("https://acme.zerossl.com/v2/DV90", Some("sectigo.com")),
            ("https://dv.acme-v02.api.pki.goog/directory", Some("pki.goog")),
            ("https://notpki.goog/directory", None),
            ("https://api.letsencrypt.org.evil.test/directory", None),
            ("https://localhost:14000/dir", None),
            ("", None),
        ] {
            assert_eq!(caa_name(directory), name, "{directory}");
        }
    }

    #[test]
    fn what_an_authority_says_is_understood() {
        assert_eq!(cause("caa", "CAA record for a.test prevents issuance"), Cause::Caa);
        assert_eq!(cause("connection", "Timeout during connect (likely firewall problem)"), Cause::Unreachable);
        assert_eq!(cause("connection", "could not resolve URL"), Cause::DnsBroken);
        assert_eq!(cause("unauthorized", "Invalid response from http://a.test: 404"), Cause::WrongAnswer);
        assert_eq!(cause("dns", "DNS problem: NXDOMAIN looking up A for a.test"), Cause::NoAddress);
        assert_eq!(cause("dns", "no valid A records found for a.test"), Cause::NoAddress);
        assert_eq!(cause("dns", "DNS problem: SERVFAIL looking up CAA for a.test"), Cause::DnsBroken);
        assert_eq!(cause("rejectedIdentifier", "policy forbids"), Cause::Refused);
        assert_eq!(cause("serverInternal", "oops"), Cause::Away);
        assert_eq!(cause("aNewKind", "?"), Cause::Strange);
    }

    #[test]
    fn a_limit_says_until_when() {
        let text = "too many failed authorizations (5) for \\\"a.test\\\" in the last 1h0m0s, retry after 2026-11-27 14:05:09 \
                    UTC: see https://letsencrypt.org/docs/rate-limits/";
        let limited = problem(&format!(r#"{{"type":"urn:ietf:params:acme:error:rateLimited","detail":"{text}"}}"#));
        let got = trouble(&Error::Api(limited), Seen { status: 429, retry_after: None });
        assert_eq!(got.cause, Cause::Limited);
        assert_eq!(got.until.unwrap().seconds(), 1_795_788_360);
        // Or the header does.
        let limited = problem(r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#);
        let got = trouble(&Error::Api(limited), Seen { status: 429, retry_after: Some(Time(5)) });
        assert_eq!(got.until, Some(Time(5)));
        // Not for anything else.
        let other = problem(r#"{"type":"urn:ietf:params:acme:error:caa","detail":"no"}"#);
        assert_eq!(trouble(&Error::Api(other), Seen { status: 403, retry_after: Some(Time(5)) }).until, None);
        assert_eq!(until_in("retry after tomorrow"), None);
        assert_eq!(until_in("retry after 99-99-99 99:99"), None);
    }

    #[test]
    fn subproblems_are_about_their_names() {
        let problem = problem(
            r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Some of the identifiers …","subproblems":[
                {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no","identifier":{"type":"dns","value":"b.test"}},
                {"type":"urn:ietf:params:acme:error:caa","detail":"no","identifier":{"type":"dns","value":"other.test"}}]}"#,
        );
        let tries = ["a.test", "b.test"].map(|name| Try { name: name.to_owned(), method: Method::Http });
        let got = of_subproblems(&problem, &tries);
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].0.as_str(), got[0].1.cause), ("b.test", Cause::Refused));
    }

    #[test]
    fn a_sentence_may_name_the_name() {
        let tries = ["a.test", "b.a.test"].map(|name| Try { name: name.to_owned(), method: Method::Http });
        let named = |detail: &str| named_in(detail, &tries).iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
        assert_eq!(named("issuance is forbidden by policy: \"a.test\""), ["a.test"]);
        assert_eq!(named("too many for b.a.test."), ["b.a.test"]);
        assert!(named("too many of these: aa.test").is_empty());
        assert_eq!(named_in("no", &tries[..1]).len(), 1);
    }

    #[test]
    fn a_line_that_fails_is_told_from_a_clock_that_is_wrong() {
        let of = |error: HttpError| trouble(&Error::Other(Box::new(error)), Seen::default()).cause;
        assert_eq!(of(HttpError::Connect("refused".to_owned())), Cause::Away);
        assert_eq!(of(HttpError::Time("expired".to_owned())), Cause::Clock);
        assert_eq!(of(HttpError::Untrusted("unknown issuer".to_owned())), Cause::Untrusted);
        let page = Seen { status: 503, retry_after: Some(Time(9)) };
        let got = trouble(&Error::Str("no nonce"), page);
        assert_eq!((got.cause, got.until), (Cause::Away, Some(Time(9))));
    }

    #[test]
    fn a_binding_is_looked_at_before_it_is_kept() {
        let drawer = Drawer::default();
        assert!(Binding::load(&drawer).is_none());
        for wrong in [("", "x"), ("id", "short"), ("id", "no base64 !!!!!!!!!!!!!!!!!!!"), ("a b", "x")] {
            assert!(Binding::new(wrong.0, wrong.1).is_err());
        }
        Binding::new(" kid-1\n", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W=")
            .unwrap()
            .keep(&drawer)
            .unwrap();
        assert!(Binding::load(&drawer).is_some());
    }
}
