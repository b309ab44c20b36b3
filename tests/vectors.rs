//! Records and letters that others have judged before us: the test suite for RFC 7208 that pyspf brings, and what dkimpy
//! signed, sealed and verified. HOMEPOST_VECTORS names the folder that tests/vectors/make.py wrote (`make test` does it);
//! without it there is nothing to compare with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use homepost::mailauth::{self, Asked, Found, Handed, Letter, Missing, Names, check_host, gather};
use serde_json::Value;

/// What a test knows of the DNS.
#[derive(Default)]
struct Zone(BTreeMap<String, Vec<(String, Value)>>);

impl Zone {
    fn answer<T: Send>(&self, name: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Missing> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let Some(records) = self.0.get(&name) else {
            return Err(if name.starts_with("error.") { Missing::Unknown } else { Missing::NoName });
        };
        if let Some((_, target)) = records.iter().find(|(other, _)| other == "CNAME") {
            return self.answer(target.as_str().unwrap_or_default(), kind, read);
        }
        let found: Vec<T> =
            records.iter().filter(|(other, _)| other == kind).filter_map(|(_, data)| read(data)).collect();
        // The suite's word for a server that says nothing of the kinds that are not listed.
        let silent = records.iter().any(|(other, _)| other == "TIMEOUT");
        match found.is_empty() {
            false => Ok(found),
            true if silent => Err(Missing::Unknown),
            true => Err(Missing::NoData),
        }
    }

    fn found<T: Send + 'static>(&self, name: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Found<'_, T> {
        Box::pin(std::future::ready(self.answer(name, kind, read)))
    }
}

impl Names for Zone {
    fn txt<'a>(&'a self, name: &'a str) -> Found<'a, Vec<u8>> {
        self.found(name, "TXT", |data| Some(data.as_str()?.as_bytes().to_vec()))
    }

    fn a<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
        self.found(name, "A", |data| data.as_str()?.parse().ok())
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
        self.found(name, "AAAA", |data| data.as_str()?.parse().ok())
    }

    fn mx<'a>(&'a self, name: &'a str) -> Found<'a, String> {
        self.found(name, "MX", |data| Some(data.get(1)?.as_str()?.to_owned()))
    }

    fn ptr(&self, address: IpAddr) -> Found<'_, String> {
        let name = match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
                nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
            }
        };
        self.found(&name, "PTR", |data| Some(data.as_str()?.to_owned()))
    }
}

fn read(name: &str) -> Option<Value> {
    let folder = PathBuf::from(std::env::var_os("HOMEPOST_VECTORS")?);
    let text = std::fs::read(folder.join(name)).expect("the vectors that scripts/need signed makes");
    Some(serde_json::from_slice(&text).expect("JSON"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[tokio::test]
async fn the_suite_for_rfc_7208() {
    let Some(scenarios) = read("spf.json") else { return };
    let (mut count, mut wrong) = (0, Vec::new());
    for scenario in scenarios.as_array().unwrap() {
        let mut zone = Zone::default();
        for (name, records) in scenario["zone"].as_object().unwrap() {
            let records = records.as_array().unwrap().iter();
            zone.0.insert(
                name.clone(),
                records.map(|record| (record[0].as_str().unwrap().to_owned(), record[1].clone())).collect(),
            );
        }
        for test in scenario["tests"].as_array().unwrap() {
            count += 1;
            let (helo, from) = (text(test, "helo"), text(test, "mailfrom"));
            let sender = match from.rsplit_once('@') {
                Some(("", host)) => format!("postmaster@{host}"),
                Some(_) => from.to_owned(),
                None => format!("postmaster@{helo}"),
            };
            let domain = sender.rsplit_once('@').unwrap().1;
            let peer = text(test, "host").parse().unwrap();
            let outcome = check_host(&zone, Asked { peer, helo, sender: &sender, domain }).await;
            let right = test["result"].as_array().unwrap();
            if !right.iter().any(|word| word == outcome.word()) {
                wrong.push(format!(
                    "{} ({}): {right:?}, not {}",
                    text(test, "name"),
                    text(test, "spec"),
                    outcome.word()
                ));
            }
        }
    }
    assert!(count >= 200, "only {count} tests");
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn keys(vectors: &Value) -> Zone {
    let keys = vectors["keys"].as_object().unwrap().iter();
    Zone(keys.map(|(name, key)| (name.clone(), vec![("TXT".to_owned(), key.clone())])).collect())
}

async fn evidence(zone: &Zone, vector: &Value) -> mailauth::Evidence {
    let letter = Letter::read(&STANDARD.decode(text(vector, "message")).unwrap());
    let handed = Handed { peer: "192.0.2.1".parse().unwrap(), helo: "x.test", from: None, now: None };
    gather(zone, handed, &letter, Duration::from_secs(20)).await
}

#[tokio::test]
async fn what_dkimpy_signed() {
    let Some(vectors) = read("dkim.json") else { return };
    let zone = keys(&vectors);
    let (mut count, mut wrong) = (0, Vec::new());
    for vector in vectors["letters"].as_array().unwrap() {
        count += 1;
        let found: Vec<_> =
            evidence(&zone, vector).await.dkim.into_iter().map(|one| (one.outcome.word(), one.reason)).collect();
        let right = vector["expect"].as_array().unwrap();
        if found.len() != right.len() || found.iter().zip(right).any(|((word, _), right)| right != word) {
            wrong.push(format!("{}: {right:?}, not {found:?}", text(vector, "name")));
        }
    }
    assert!(count >= 200, "only {count} letters");
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_dkimpy_sealed() {
    let Some(vectors) = read("dkim.json") else { return };
    let zone = keys(&vectors);
    let chains = vectors["chains"].as_array().unwrap();
    assert!(chains.len() >= 6, "{}", chains.len());
    for vector in chains {
        let arc = evidence(&zone, vector).await.arc;
        assert_eq!(arc.outcome.word(), text(vector, "expect"), "{}: {arc:?}", text(vector, "name"));
        if text(vector, "name") == "two seals" {
            let said: Vec<bool> = arc.seals.iter().map(|seal| seal.dmarc_pass).collect();
            assert_eq!(said, [false, true], "the newest first");
        }
    }
}
