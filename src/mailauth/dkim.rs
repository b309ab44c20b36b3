//! Signatures of domains, verified (RFC 6376, RFC 8301, RFC 8463).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{Algorithm, CryptoError, HashAlgorithm};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dkim::DkimError;
use tokio::time::timeout;

use crate::base::Time;
use crate::message::header;

use super::canon::Form;
use super::letter::{Letter, SIGNATURES, signed_fields};
use super::names::{self, Missing, Names, Waiting, is_within, together};
use super::tags::{Tags, without_signature};
use super::{Outcome, Signed};

/// RFC 8301 3.2: no RSA key below this is believed.
const RSA_BITS: usize = 1024;
/// Fields that one signature may name.
const NAMES: usize = 500;

/// What a signature field says.
pub(super) struct Signature {
    pub domain: String,
    pub selector: String,
    algorithm: Algorithm,
    header_form: Form,
    body_form: Form,
    signature: Vec<u8>,
    body_hash: Vec<u8>,
    fields: Vec<String>,
    /// `i=`: the domain of the agent or user, in lower case.
    agent: Option<String>,
    expires: Option<i64>,
    has_length: bool,
}

/// Why a signature cannot be used, in a few words for `reason=`.
pub(super) type Why = (Outcome, &'static str);

const fn broken(why: &'static str) -> Why {
    (Outcome::PermError, why)
}

impl Signature {
    /// Of DKIM-Signature (`dkim` true) or ARC-Message-Signature, which has no `v=` and no agent (RFC 8617 4.1.2).
    pub fn read(value: &[u8], dkim: bool) -> Result<Signature, Why> {
        let tags = Tags::read(value).ok_or(broken("not a tag list"))?;
        if dkim && tags.get("v") != Some("1") {
            return Err(broken("unknown version"));
        }
        let (domain, selector) = place(&tags)?;
        let (header_form, body_form) =
            Form::pair(tags.packed("c").as_deref()).ok_or(broken("unknown canonicalization"))?;
        let fields: Vec<String> = tags.packed("h").unwrap_or_default().split(':').map(str::to_owned).collect();
        if fields.len() > NAMES {
            return Err(broken("too many fields"));
        }
        // RFC 6376 6.1.1
        if dkim && !fields.iter().any(|name| name.eq_ignore_ascii_case("From")) {
            return Err(broken("From is not signed"));
        }
        let agent = match tags.packed("i").filter(|_| dkim) {
            Some(agent) => {
                let agent = agent.rsplit_once('@').and_then(|(_, host)| names::host(host));
                Some(agent.filter(|agent| is_within(agent, &domain)).ok_or(broken("i= is not within d="))?)
            }
            None => None,
        };
        let seconds = |name: &str| -> Result<Option<i64>, Why> {
            let text = tags.packed(name);
            text.map(|text| text.parse().map_err(|_| broken("a time is no number"))).transpose()
        };
        let (made, expires) = (seconds("t")?, seconds("x")?);
        if made.zip(expires).is_some_and(|(made, expires)| expires <= made) {
            return Err(broken("expired before it was made"));
        }
        Ok(Signature {
            algorithm: algorithm(&tags)?,
            signature: bytes(&tags, "b")?,
            body_hash: bytes(&tags, "bh")?,
            has_length: tags.get("l").is_some(),
            domain,
            selector,
            header_form,
            body_form,
            fields,
            agent,
            expires,
        })
    }

    /// All but the key: what can be said without asking anybody. `now` is unknown on a box without a clock.
    fn before_the_key(&self, letter: &Letter, now: Option<Time>) -> Result<(), Why> {
        // RFC 6376 8.2: what is behind the signed part of the body could be anybody's.
        if self.has_length {
            return Err((Outcome::Policy, "covers only a part of the body"));
        }
        if self.expires.zip(now).is_some_and(|(expires, now)| expires < now.seconds()) {
            return Err((Outcome::Fail, "expired"));
        }
        if self.body_hash != letter.body_hash(self.body_form) {
            return Err((Outcome::Fail, "the body was changed"));
        }
        Ok(())
    }

    /// `raw` is the signature's own field.
    pub async fn verify(&self, names: &dyn Names, letter: &Letter, raw: &[u8], now: Option<Time>) -> Result<(), Why> {
        self.before_the_key(letter, now)?;
        let key = Key::of(names, &self.selector, &self.domain).await?;
        if key.strict && self.agent.as_ref().is_some_and(|agent| *agent != self.domain) {
            return Err(broken("the key is for d= itself only"));
        }
        let mut signed = Vec::new();
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        signed_fields(&letter.header, &fields, self.header_form, &mut signed);
        own_field(raw, self.header_form, &mut signed);
        key.verify(&signed, &self.signature, self.algorithm)
    }
}

/// The signature's own field as the last of what is signed: its `b=` empty, without a line end (RFC 6376 3.7).
pub(super) fn own_field(raw: &[u8], form: Form, out: &mut Vec<u8>) {
    let colon = raw.iter().position(|b| *b == b':').map_or(raw.len(), |at| at + 1);
    let (name, value) = raw.split_at(colon);
    form.field(&[name, without_signature(value).as_slice()].concat(), out);
    while matches!(out.last(), Some(b'\r' | b'\n')) {
        out.pop();
    }
}

/// `d=` and `s=`.
pub(super) fn place(tags: &Tags<'_>) -> Result<(String, String), Why> {
    let domain = tags.packed("d").and_then(|name| names::host(&name)).ok_or(broken("no domain"))?;
    let selector = tags.packed("s").and_then(|name| names::host(&name)).ok_or(broken("no selector"))?;
    Ok((domain, selector))
}

pub(super) fn algorithm(tags: &Tags<'_>) -> Result<Algorithm, Why> {
    match tags.packed("a").unwrap_or_default().to_ascii_lowercase().as_str() {
        "rsa-sha256" => Ok(Algorithm::RsaSha256),
        "ed25519-sha256" => Ok(Algorithm::Ed25519Sha256),
        // RFC 8301 3.1
        "rsa-sha1" => Err(broken("rsa-sha1 is not believed any more")),
        _ => Err(broken("unknown algorithm")),
    }
}

pub(super) fn bytes(tags: &Tags<'_>, name: &str) -> Result<Vec<u8>, Why> {
    let text = tags.packed(name).filter(|text| !text.is_empty()).ok_or(broken("incomplete"))?;
    STANDARD.decode(text).map_err(|_| broken("not base64"))
}

/// A key from the DNS.
pub(super) struct Key {
    key: DomainKey,
    /// `t=s`
    strict: bool,
}

impl Key {
    pub async fn of(names: &dyn Names, selector: &str, domain: &str) -> Result<Key, Why> {
        let name = format!("{selector}._domainkey.{domain}");
        let records = match names.txt(&name).await {
            Ok(records) => records,
            Err(Missing::NoName | Missing::NoData) => return Err(broken("no key")),
            Err(Missing::Unknown) => return Err((Outcome::TempError, "the key could not be looked up")),
        };
        let mut why = broken("no key");
        for record in records.iter().take(5) {
            match Key::read(record) {
                Ok(key) => return Ok(key),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// RFC 6376 3.6.1, RFC 8463 4.
    pub fn read(record: &[u8]) -> Result<Key, Why> {
        let tags = Tags::read(record).ok_or(broken("the key is damaged"))?;
        if tags.get("v").is_some() && tags.first() != Some(("v", "DKIM1")) {
            return Err(broken("the key is damaged"));
        }
        let among = |name: &str, wanted: &[&str]| {
            let list = tags.packed(name);
            list.is_none_or(|list| list.split(':').any(|word| wanted.contains(&word.to_ascii_lowercase().as_str())))
        };
        if !among("h", &["sha256"]) || !among("s", &["*", "email"]) {
            return Err(broken("the key is for something else"));
        }
        let strict = tags.packed("t").is_some_and(|flags| flags.split(':').any(|flag| flag == "s"));
        match DomainKey::parse(record) {
            Ok(key) if key.p.public_key_bits() < RSA_BITS => Err(broken("the key is too short")),
            Ok(key) => Ok(Key { key, strict }),
            Err(mail_auth::Error::Dkim(DkimError::RevokedPublicKey)) => Err(broken("the key was withdrawn")),
            Err(mail_auth::Error::Dkim(DkimError::UnsupportedKeyType)) => Err(broken("unknown kind of key")),
            Err(_) => Err(broken("the key is damaged")),
        }
    }

    pub fn verify(&self, signed: &[u8], signature: &[u8], algorithm: Algorithm) -> Result<(), Why> {
        match self.key.p.verify_bytes(signed, signature, algorithm) {
            Ok(()) => Ok(()),
            Err(mail_auth::Error::Crypto(CryptoError::IncompatibleAlgorithms)) => {
                Err(broken("the key is of another kind"))
            }
            Err(_) => Err((Outcome::Fail, "the signature does not fit")),
        }
    }
}

/// Each signature of a letter, from the top. `wait` is for each, and all run at once.
pub(super) async fn verify(names: &dyn Names, letter: &Letter, now: Option<Time>, wait: Duration) -> Vec<Signed> {
    let fields = header::fields(&letter.header).filter(|field| field.is("DKIM-Signature")).take(SIGNATURES);
    let mut waiting: Vec<Waiting<'_, Signed>> = Vec::new();
    for field in fields {
        waiting.push(Box::pin(async move {
            let signature = match Signature::read(field.raw_value, true) {
                Ok(signature) => signature,
                Err((outcome, why)) => return unread(field.raw_value, outcome, why),
            };
            let verified = timeout(wait, signature.verify(names, letter, field.raw, now)).await;
            let (outcome, reason) = match verified {
                Ok(Ok(())) => (Outcome::Pass, None),
                Ok(Err((outcome, why))) => (outcome, Some(why)),
                Err(_) => (Outcome::TempError, Some("the key could not be looked up in time")),
            };
            let prefix = STANDARD.encode(&signature.signature).chars().take(8).collect();
            Signed {
                outcome,
                reason,
                domain: signature.domain,
                selector: signature.selector,
                algorithm: word(signature.algorithm),
                prefix,
            }
        }));
    }
    together(waiting).await
}

fn unread(value: &[u8], outcome: Outcome, why: &'static str) -> Signed {
    let said = Tags::read(value).and_then(|tags| place(&tags).ok()).unwrap_or_default();
    Signed { outcome, reason: Some(why), domain: said.0, selector: said.1, algorithm: "", prefix: String::new() }
}

/// As in `a=`.
fn word(algorithm: Algorithm) -> &'static str {
    match (algorithm, HashAlgorithm::from(algorithm)) {
        (Algorithm::Ed25519Sha256, _) => "ed25519-sha256",
        (_, HashAlgorithm::Sha256) => "rsa-sha256",
        (_, HashAlgorithm::Sha1) => "rsa-sha1",
    }
}
