//! DKIM keys (RFC 6376): each domain has two from its beginning, Ed25519 (RFC 8463) and RSA with 2048 bits for those that
//! do not know the first yet. Their selectors are dated, `202611e` and `202611r`, so that a new key is a new name; those that
//! come later with the day, `20270525e`. [`super::rotation`] says when one comes, and when it goes.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::{Random, Time};
use crate::store::schema::Key;
use crate::store::{self, Read, Table, Txn};

use super::rotation::{Stage, Standing};
use super::row::{DkimRow, encode, rows};
use super::{Error, resolve};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Ed25519,
    Rsa,
}

impl Algorithm {
    pub const ALL: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::Rsa];

    /// As `k=` in the record (RFC 6376 3.6.1, RFC 8463 4).
    pub fn tag(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::Rsa => "rsa",
        }
    }

    fn letter(self) -> char {
        match self {
            Algorithm::Ed25519 => 'e',
            Algorithm::Rsa => 'r',
        }
    }

    fn number(self) -> u8 {
        match self {
            Algorithm::Ed25519 => DkimRow::ED25519,
            Algorithm::Rsa => DkimRow::RSA,
        }
    }
}

/// The half of a key that everybody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub selector: String,
    pub algorithm: Algorithm,
    pub created: Time,
    pub stage: Stage,
    /// In this stage.
    pub since: Time,
    /// As `p=` in the record: base64 of the 32 bytes of Ed25519, or of RSA's SubjectPublicKeyInfo.
    pub public: String,
}

/// Both keys of a domain before they are kept. Made outside a transaction, since an RSA key takes its time.
#[derive(Clone)]
pub struct NewKeys(Vec<(String, DkimRow)>);

impl NewKeys {
    /// Takes up to a second on a small box. The randomness of the RSA key is aws-lc's own.
    pub fn make(random: &dyn Random, now: Time) -> Result<NewKeys, Error> {
        NewKeys::named(random, now, |algorithm| selector(algorithm, now))
    }

    /// The same for a domain that has keys, with selectors of which none is `taken`: not even that of a key that has gone, whose
    /// record somebody may still remember.
    pub fn make_beside(random: &dyn Random, now: Time, taken: &[String]) -> Result<NewKeys, Error> {
        let (year, month, day) = civil(now);
        let number = |n: u32| if n > 1 { n.to_string() } else { String::new() };
        let name =
            |algorithm: Algorithm, n: u32| format!("{year:04}{month:02}{day:02}{}{}", algorithm.letter(), number(n));
        let free = |n: &u32| Algorithm::ALL.iter().all(|algorithm| !taken.contains(&name(*algorithm, *n)));
        let n = (1..=1000).find(free).unwrap_or(1);
        NewKeys::named(random, now, |algorithm| name(algorithm, n))
    }

    fn named(random: &dyn Random, now: Time, selector: impl Fn(Algorithm) -> String) -> Result<NewKeys, Error> {
        let keys = Algorithm::ALL.map(|algorithm| {
            let (private, public) = match algorithm {
                Algorithm::Ed25519 => ed25519(random),
                Algorithm::Rsa => rsa(),
            }?;
            let (number, created) = (algorithm.number(), now.0);
            let row = DkimRow { algorithm: number, created, private, public, stage: None, since: None };
            Some((selector(algorithm), row))
        });
        let keys: Option<Vec<_>> = keys.into_iter().collect();
        keys.map(NewKeys).ok_or_else(|| Error::Unusable("the keys for signing letters could not be made".to_owned()))
    }
}

fn ed25519(random: &dyn Random) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut seed = [0u8; 32];
    random.fill(&mut seed);
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
    let private = pair.to_pkcs8v1().ok()?.as_ref().to_vec();
    Some((private, pair.public_key().as_ref().to_vec()))
}

fn rsa() -> Option<(Vec<u8>, Vec<u8>)> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
    let private: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    Some((private.as_ref().to_vec(), spki(&pair)?))
}

fn spki(pair: &RsaKeyPair) -> Option<Vec<u8>> {
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
    Some(public.as_ref().to_vec())
}

/// `202611e`: year, month (UTC), and the algorithm's letter.
fn selector(algorithm: Algorithm, now: Time) -> String {
    let (year, month, _) = civil(now);
    format!("{year:04}{month:02}{}", algorithm.letter())
}

/// The civil date of a day count, by 400-year eras that begin on 1 March.
fn civil(now: Time) -> (i64, i64, i64) {
    let days = now.seconds().div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_month)
}

/// Keeps the keys of a domain of ours; a domain that has keys keeps those.
pub fn add(txn: &mut Txn<'_>, domain: &str, keys: &NewKeys) -> Result<(), Error> {
    if !resolve::is_ours(txn, domain)? {
        return Err(Error::NoSuchDomain(domain.to_owned()));
    }
    if of(txn, domain)?.is_empty() {
        for (selector, row) in &keys.0 {
            txn.put(Table::DkimKeys, &key(domain, selector), encode(row));
        }
    }
    Ok(())
}

/// A pair that is to sign later. Gives its selectors; those of a pair that is coming already, if there is one.
pub fn add_coming(txn: &mut Txn<'_>, domain: &str, keys: &NewKeys, now: Time) -> Result<Vec<String>, Error> {
    if !resolve::is_ours(txn, domain)? {
        return Err(Error::NoSuchDomain(domain.to_owned()));
    }
    let there = of(txn, domain)?;
    let coming: Vec<String> =
        there.iter().filter(|(_, row)| stage(row) == Stage::Coming).map(|(selector, _)| selector.clone()).collect();
    if !coming.is_empty() {
        return Ok(coming);
    }
    for (selector, row) in &keys.0 {
        if there.iter().any(|(other, _)| other == selector) {
            return Err(Error::Exists(format!("the key {selector} of {domain}")));
        }
        let row = DkimRow { stage: Stage::Coming.number(), since: Some(now.0), ..row.clone() };
        txn.put(Table::DkimKeys, &key(domain, selector), encode(&row));
    }
    Ok(keys.0.iter().map(|(selector, _)| selector.clone()).collect())
}

/// From now on those that were coming sign, and those that signed leave. Does nothing if they are not coming (any more).
pub fn switch(txn: &mut Txn<'_>, domain: &str, coming: &[String], now: Time) -> Result<(), Error> {
    let all = of(txn, domain)?;
    let comes = |selector: &String, row: &DkimRow| stage(row) == Stage::Coming && coming.contains(selector);
    // With one half of a pair the other kind would have no key.
    for algorithm in Algorithm::ALL {
        if !all.iter().any(|(selector, row)| row.algorithm == algorithm.number() && comes(selector, row)) {
            return Ok(());
        }
    }
    for (selector, row) in &all {
        let next = match stage(row) {
            Stage::Coming if comes(selector, row) => Stage::Signing,
            Stage::Signing => Stage::Leaving,
            _ => continue,
        };
        put_stage(txn, domain, selector, row, next, now);
    }
    Ok(())
}

/// Destroys the private halves of keys that leave.
pub fn retire(txn: &mut Txn<'_>, domain: &str, leaving: &[String], now: Time) -> Result<(), Error> {
    for (selector, row) in of(txn, domain)? {
        if stage(&row) == Stage::Leaving && leaving.contains(&selector) {
            let row = DkimRow { private: Vec::new(), ..row };
            put_stage(txn, domain, &selector, &row, Stage::Gone, now);
        }
    }
    Ok(())
}

/// Of keys that are gone, and whose records are not there any more.
pub fn forget(txn: &mut Txn<'_>, domain: &str, gone: &[String]) -> Result<(), Error> {
    for (selector, row) in of(txn, domain)? {
        if stage(&row) == Stage::Gone && gone.contains(&selector) {
            txn.delete(Table::DkimKeys, &key(domain, &selector));
        }
    }
    Ok(())
}

fn put_stage(txn: &mut Txn<'_>, domain: &str, selector: &str, row: &DkimRow, stage: Stage, now: Time) {
    let row = DkimRow { stage: stage.number(), since: Some(now.0), ..row.clone() };
    txn.put(Table::DkimKeys, &key(domain, selector), encode(&row));
}

fn stage(row: &DkimRow) -> Stage {
    Stage::of(row.stage)
}

/// How far each key of a domain is, also those that are gone.
pub fn standing(read: &dyn Read, domain: &str) -> Result<Vec<Standing>, Error> {
    let all = of(read, domain)?.into_iter();
    Ok(all
        .map(|(selector, row)| Standing { selector, stage: stage(&row), since: Time(row.since.unwrap_or(row.created)) })
        .collect())
}

/// The keys of a domain whose records belong into the DNS, Ed25519 first.
pub fn list(read: &dyn Read, domain: &str) -> Result<Vec<PublicKey>, Error> {
    let mut out = Vec::new();
    for (selector, row) in of(read, domain)?.into_iter().filter(|(_, row)| stage(row) != Stage::Gone) {
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.number() == row.algorithm);
        let Some(algorithm) = algorithm else {
            continue; // of a later version
        };
        let public = STANDARD.encode(&row.public);
        let (created, since) = (Time(row.created), Time(row.since.unwrap_or(row.created)));
        out.push(PublicKey { selector, algorithm, created, stage: stage(&row), since, public });
    }
    out.sort_by(|a, b| (a.algorithm, &a.selector).cmp(&(b.algorithm, &b.selector)));
    Ok(out)
}

/// The half of a key that signs. Shown to nobody: it has no `Debug`.
pub struct PrivateKey {
    pub selector: String,
    pub algorithm: Algorithm,
    /// PKCS#8, DER.
    pub pkcs8: Vec<u8>,
}

/// What letters of a domain are signed with: the newest signing key of each kind, Ed25519 first. Empty for a domain that is not ours.
pub fn private(read: &dyn Read, domain: &str) -> Result<Vec<PrivateKey>, Error> {
    let rows = of(read, domain)?;
    let newest = |algorithm: Algorithm| {
        let signs = |row: &DkimRow| row.algorithm == algorithm.number() && stage(row) == Stage::Signing;
        let mine = rows.iter().filter(|(_, row)| signs(row));
        let (selector, row) = mine.max_by_key(|(_, row)| row.created)?;
        Some(PrivateKey { selector: selector.clone(), algorithm, pkcs8: row.private.clone() })
    };
    Ok(Algorithm::ALL.into_iter().filter_map(newest).collect())
}

/// Domains of ours without keys: those of a version that made none.
pub fn without(read: &dyn Read) -> Result<Vec<String>, Error> {
    let with: BTreeSet<String> = all(read)?.into_iter().map(|(domain, _, _)| domain).collect();
    let mut domains = super::manage::domain::list(read)?;
    domains.retain(|domain| !with.contains(domain));
    Ok(domains)
}

pub(super) fn remove(txn: &mut Txn<'_>, domain: &str) -> Result<(), store::Error> {
    for (selector, _) in of(txn, domain)? {
        txn.delete(Table::DkimKeys, &key(domain, &selector));
    }
    Ok(())
}

/// Whether each domain has a key of each kind, each key is whole, and none is without its domain; one sentence for each
/// thing that is wrong.
pub fn check(read: &dyn Read) -> Result<Vec<String>, Error> {
    let mut wrong = Vec::new();
    let mut there: BTreeMap<String, Vec<u8>> =
        super::manage::domain::list(read)?.into_iter().map(|domain| (domain, Vec::new())).collect();
    for (domain, selector, row) in all(read)? {
        match there.get_mut(&domain) {
            Some(kinds) if stage(&row) == Stage::Signing => kinds.push(row.algorithm),
            Some(_) => {}
            None => wrong.push(format!("the DKIM key {selector} is of {domain}, which is no domain of this server")),
        }
        if stage(&row) == Stage::Gone {
            continue; // only half of it is left
        }
        let public = match row.algorithm {
            DkimRow::ED25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(&row.private).ok();
                pair.map(|pair| pair.public_key().as_ref().to_vec())
            }
            DkimRow::RSA => RsaKeyPair::from_pkcs8(&row.private).ok().as_ref().and_then(spki),
            _ => continue,
        };
        if public.as_deref() != Some(&row.public) {
            wrong.push(format!("the DKIM key {selector} of {domain} is damaged: its halves do not belong together"));
        }
    }
    for (domain, kinds) in &there {
        for algorithm in Algorithm::ALL {
            if !kinds.contains(&algorithm.number()) {
                wrong.push(format!("{domain} has no DKIM key of the kind {}", algorithm.tag()));
            }
        }
    }
    Ok(wrong)
}

fn key(domain: &str, selector: &str) -> Vec<u8> {
    Key::new().text(domain).u8(0).text(selector).build()
}

fn of(read: &dyn Read, domain: &str) -> Result<Vec<(String, DkimRow)>, store::Error> {
    let lo = Key::new().text(domain).u8(0);
    let rows = scan(read, lo.as_ref(), &lo.clone().after())?;
    Ok(rows.into_iter().map(|(_, selector, row)| (selector, row)).collect())
}

fn all(read: &dyn Read) -> Result<Vec<(String, String, DkimRow)>, store::Error> {
    scan(read, &[], &resolve::END)
}

/// Domain, selector, row.
fn scan(read: &dyn Read, lo: &[u8], hi: &[u8]) -> Result<Vec<(String, String, DkimRow)>, store::Error> {
    let all = rows(read, Table::DkimKeys, (lo, hi), "a DKIM key", |key| {
        let (domain, selector) = std::str::from_utf8(key).ok()?.split_once('\0')?;
        Some((domain.to_owned(), selector.to_owned()))
    })?;
    Ok(all.into_iter().map(|((domain, selector), row)| (domain, selector, row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    #[test]
    fn selectors_are_dated() {
        let at = |seconds| selector(Algorithm::Ed25519, Time::from_seconds(seconds));
        assert_eq!(at(0), "197001e");
        assert_eq!(at(951_782_400), "200002e", "29 February 2000");
        assert_eq!(at(951_868_800), "200003e");
        assert_eq!(at(1_795_996_799), "202611e");
        assert_eq!(at(1_796_083_200), "202612e", "1 December 2026");
        assert_eq!(at(1_798_761_599), "202612e", "the last second of 2026");
        assert_eq!(selector(Algorithm::Rsa, Time::from_seconds(1_798_761_600)), "202701r");
    }

    #[test]
    fn public_halves_are_what_the_rfcs_say() {
        let keys = NewKeys::make(&SeededRandom::new(7), Time::from_seconds(1_795_000_000)).unwrap();
        let rows: Vec<&DkimRow> = keys.0.iter().map(|(_, row)| row).collect();
        // RFC 8463 4: the 32 bytes themselves.
        assert_eq!(rows[0].public.len(), 32);
        // RFC 6376 3.6.1: DER of a SubjectPublicKeyInfo with rsaEncryption; 2048 bits and the exponent 65537.
        let oid = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        assert!(rows[1].public.windows(oid.len()).any(|part| part == oid));
        assert_eq!(rows[1].public.len(), 294);
        assert_eq!(rows[1].public[289..], [0x02, 0x03, 0x01, 0x00, 0x01]);
        let again = NewKeys::make(&SeededRandom::new(7), Time(0)).unwrap();
        assert_eq!(again.0[0].1.public, rows[0].public, "from the randomness that was handed in");
        assert_ne!(again.0[1].1.public, rows[1].public);
    }

    #[test]
    fn nothing_shows_the_private_half() {
        let keys = NewKeys::make(&SeededRandom::new(7), Time(0)).unwrap();
        for (_, row) in &keys.0 {
            let shown = format!("{row:?}");
            assert!(!shown.contains("private") && shown.len() < 100, "U2: {shown}");
        }
    }
}
