//! Records, letters and reports that others have judged before us: the test suite for RFC 7208 that pyspf brings, what dkimpy
//! signed, sealed and verified, and the data that mail-auth is tested with. HOMEPOST_VECTORS names the folder that
//! tests/vectors/make.py wrote (`make test` does it); without it there is nothing to compare with. mail-auth's data lies in its
//! package, where cargo put it, and is always there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use homepost::base::Time;
use homepost::mailauth::report::{About, Report, Unread, find};
use homepost::mailauth::{self, Asked, Found, Handed, Letter, Missing, Names, check_host, gather};
use serde_json::Value;

/// What a test knows of the DNS.
#[derive(Default)]
struct Zone(BTreeMap<String, Vec<(String, Value)>>);

impl Zone {
    fn answer<T: Send>(&self, name: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Missing> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let Some(records) = self.0.get(&name) else {
            return Err(if name.starts_with("error.") || name.contains("_dns_error.") {
                Missing::Unknown
            } else {
                Missing::NoName
            });
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
        self.found(&reverse(address), "PTR", |data| Some(data.as_str()?.to_owned()))
    }
}

/// RFC 1035 3.5, RFC 3596 2.5.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
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

/// All results. Its explanations (`exp`) are not compared: we fetch none, since nothing here is refused by SPF alone, and so there is
/// nobody to be told why (RFC 7208 6.2, 8.4).
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
    assert_eq!(count, 203, "tests");
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
    assert_eq!(count, 266, "letters");
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_dkimpy_sealed() {
    let Some(vectors) = read("dkim.json") else { return };
    let zone = keys(&vectors);
    let chains = vectors["chains"].as_array().unwrap();
    assert_eq!(chains.len(), 23, "chains");
    for vector in chains {
        let arc = evidence(&zone, vector).await.arc;
        assert_eq!(arc.outcome.word(), text(vector, "expect"), "{}: {arc:?}", text(vector, "name"));
        if text(vector, "name") == "two seals" {
            let said: Vec<bool> = arc.seals.iter().map(|seal| seal.dmarc_pass).collect();
            assert_eq!(said, [false, true], "the newest first");
        }
    }
}

/// The folder `resources` of the mail-auth that this is built with.
fn resources() -> PathBuf {
    let version = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo -vV");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let mut metadata = Command::new(env!("CARGO"));
    // Packages that only other systems need are perhaps not here.
    metadata.args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host]);
    metadata.current_dir(env!("CARGO_MANIFEST_DIR"));
    let said = metadata.output().expect("cargo metadata");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let packages = said["packages"].as_array().unwrap();
    let one = packages.iter().find(|one| text(one, "name") == "mail-auth").expect("mail-auth");
    Path::new(text(one, "manifest_path")).parent().unwrap().join("resources")
}

/// The files of a folder that end so, by name.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(resources().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut listed: Vec<PathBuf> = listed.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    listed.sort();
    listed
}

fn beside(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap()
}

/// Keys, an empty line, a letter whose lines end with LF.
async fn with_keys(path: &Path) -> mailauth::Evidence {
    let file = std::fs::read_to_string(path).unwrap();
    let (keys, letter) = file.split_once("\n\n").unwrap();
    let keys = keys.lines().filter_map(|line| line.split_once(' '));
    let zone = Zone(keys.map(|(name, key)| (name.to_lowercase(), vec![("TXT".to_owned(), key.into())])).collect());
    let letter = Letter::read(letter.replace('\n', "\r\n").as_bytes());
    let now = Some(Time::from_seconds(1_667_843_664));
    let handed = Handed { peer: "192.0.2.1".parse().unwrap(), helo: "x.test", from: None, now };
    gather(&zone, handed, &letter, Duration::from_secs(20)).await
}

#[tokio::test]
async fn the_letters_of_mail_auth_with_signatures_and_seals() {
    let signed = files("dkim", ".txt");
    assert_eq!(signed.len(), 6);
    for path in signed {
        let found: Vec<_> =
            with_keys(&path).await.dkim.into_iter().map(|one| (one.outcome.word(), one.reason)).collect();
        assert_eq!(found.last().unwrap().0, "pass", "{path:?}: {found:?}");
    }
    let sealed = files("arc", ".txt");
    assert_eq!(sealed.len(), 2);
    for path in sealed {
        let evidence = with_keys(&path).await;
        assert_eq!(evidence.arc.outcome.word(), "pass", "{path:?}: {:?}", evidence.arc);
        assert!(evidence.dkim.iter().any(|one| one.outcome.word() == "pass"), "{path:?}: {:?}", evidence.dkim);
    }
}

/// What mail-auth's tests expect and RFC 7208 does not: file, EHLO, address, and what is right.
const NOT_BY_THE_RFC: [(&str, &str, &str, &str); 6] = [
    // 4.6: `ip:` is no mechanism, and a mistake anywhere in a record is a permerror.
    ("all", "test.org", "10.0.0.1", "permerror"),
    // 4.6.4: ten names that do not exist are eight more than the void look-ups there may be.
    ("basic", "ok.test.org", "172.168.0.1", "permerror"),
    // 4.6.4: more than ten MX records are a permerror, though one of the first ten fits.
    ("basic", "mx.test.org", "10.0.0.8", "permerror"),
    // 5.7: `exists` asks for A records whatever kind of address the peer has; a name with AAAA alone is none.
    ("exists", "ip6.test.org", "167.1.2.3", "fail"),
    // 5.6: an IPv4 address matches no `ip6`, not even one that has it within.
    ("ip", "test.org", "10.1.2.3", "fail"),
    // 5.7 once more.
    ("macro", "mx.example.org", "2001:db8::cb01", "fail"),
];

/// A zone and its tests, as mail-auth writes them: `- word: value` lines. A later line about a name takes the place of an earlier one.
/// EHLO is looked at first, and a peer whose name is not its own has failed.
#[tokio::test]
async fn the_records_of_mail_auth_for_spf() {
    let (mut count, mut wrong) = (0, Vec::new());
    for path in files("spf", ".yml") {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut zone = Zone::default();
        for scenario in std::fs::read_to_string(&path).unwrap().split("---\n") {
            let (mut helo, mut sender, mut peer) = (String::new(), String::new(), "127.0.0.1".parse().unwrap());
            for line in scenario.lines() {
                let line = line.trim().trim_start_matches('-').trim();
                let Some((word, value)) = line.split_once(':') else { continue };
                let value = value.trim();
                let (name, data) = value.split_once(' ').unwrap_or((value, ""));
                let kind = ["TXT", "PTR", "MX", "A", "AAAA"][match word {
                    "ptr" => 1,
                    "mx" => 2,
                    "a" => 3,
                    "aaaa" => 4,
                    _ => 0,
                }];
                if matches!(word, "spf" | "exp" | "a" | "aaaa" | "mx" | "ptr") {
                    let name = if word == "ptr" { reverse(name.parse().unwrap()) } else { name.to_lowercase() };
                    zone.0.entry(name).or_default().retain(|(other, _)| other != kind);
                }
                let mut add = |name: &str, kind: &str, data: Value| {
                    zone.0.entry(name.to_lowercase()).or_default().push((kind.to_owned(), data));
                };
                let many = || data.split(',').map(str::trim);
                match word {
                    "spf" | "exp" => add(name, "TXT", data.into()),
                    "a" | "aaaa" => many().for_each(|one| add(name, &word.to_uppercase(), one.into())),
                    "ptr" => many().for_each(|one| add(&reverse(name.parse().unwrap()), "PTR", one.into())),
                    "mx" => {
                        for (n, one) in many().enumerate() {
                            let (host, kind) = (format!("mx{n}.{name}"), if one.contains(':') { "AAAA" } else { "A" });
                            add(&host, kind, one.into());
                            add(name, "MX", serde_json::json!([n, host]));
                        }
                    }
                    "domain" => helo = value.to_owned(),
                    "sender" => sender = value.to_owned(),
                    "ip" => peer = value.parse().unwrap(),
                    "expect" => {
                        count += 1;
                        let asked = if sender.contains('@') { sender.clone() } else { format!("postmaster@{helo}") };
                        let domain = asked.rsplit_once('@').unwrap().1;
                        let asked = Asked { peer, helo: &helo, sender: &asked, domain };
                        let first = format!("postmaster@{helo}");
                        let hello = Asked { peer, helo: &helo, sender: &first, domain: &helo };
                        let outcome = match check_host(&zone, hello).await.word() {
                            "fail" => "fail",
                            _ => check_host(&zone, asked).await.word(),
                        };
                        if outcome != name {
                            wrong.push((file.clone(), helo.clone(), peer.to_string(), outcome));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(count, 170, "tests");
    let known: Vec<_> = NOT_BY_THE_RFC
        .iter()
        .map(|(file, helo, peer, right)| (file.to_string(), helo.to_string(), peer.to_string(), *right))
        .collect();
    assert_eq!(wrong, known);
}

fn as_letter(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("Subject: Report Domain: x Submitter: y Report-ID: <1>\r\nContent-Type: {kind}\r\n");
    let coded = STANDARD.encode(bytes);
    format!("{head}MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n").into_bytes()
}

#[test]
fn the_aggregate_reports_of_mail_auth() {
    let reports: Vec<PathBuf> = [files("dmarc-feedback", ".xml"), files("dmarc-feedback", ".eml")].concat();
    assert_eq!(reports.len(), 10);
    for path in reports {
        let bytes = std::fs::read(&path).unwrap();
        let bytes = if path.extension().unwrap() == "xml" { as_letter("text/xml", &bytes) } else { bytes };
        let Ok(Some(Report::Aggregate(report))) = find(&bytes) else { panic!("{path:?}: {:?}", find(&bytes)) };
        let right = beside(&path);
        let (about, policy, records) =
            (&right["report_metadata"], &right["policy_published"], right["record"].as_array());
        assert_eq!((report.reporter.as_str(), report.id.as_str()), (text(about, "org_name"), text(about, "report_id")));
        let range = &about["date_range"];
        assert_eq!(
            (Some(report.begin), Some(report.end)),
            (range["begin"].as_i64(), range["end"].as_i64()),
            "{path:?}"
        );
        assert_eq!(report.domain, text(policy, "domain"), "{path:?}");
        let published = text(policy, "p").to_lowercase();
        assert_eq!(report.policy, if published == "unspecified" { "" } else { &published }, "{path:?}");
        let count = |passed: bool| -> u64 {
            let rows = records.unwrap().iter().map(|record| &record["row"]);
            let speaks = |row: &&Value| ["dkim", "spf"].iter().any(|way| text(&row["policy_evaluated"], way) == "Pass");
            rows.filter(|row| !passed || speaks(row)).map(|row| row["count"].as_u64().unwrap()).sum()
        };
        assert_eq!((report.letters, report.passed), (count(false), count(true)), "{path:?}");
        for row in report.rows {
            let source = row.source.map(|source| source.to_string()).unwrap_or_default();
            assert!(records.unwrap().iter().any(|one| text(&one["row"], "source_ip") == source), "{path:?}: {source}");
        }
    }
}

#[test]
fn the_feedback_of_mail_auth() {
    let reports = files("arf", ".eml");
    assert_eq!(reports.len(), 5);
    for path in reports {
        let bytes = std::fs::read(&path).unwrap();
        let Ok(Some(Report::Feedback(report))) = find(&bytes) else { panic!("{path:?}: {:?}", find(&bytes)) };
        let right = beside(&path);
        let about = match report.about {
            About::Abuse => "Abuse",
            About::Fraud => "Fraud",
            About::Virus => "Virus",
            About::NotSpam => "NotSpam",
            About::AuthFailure => "AuthFailure",
            About::Other => "Other",
        };
        assert_eq!(about, text(&right, "feedback_type"), "{path:?}");
        let from = text(&right, "original_mail_from");
        assert_eq!(report.from, from.trim_matches(['<', '>']), "{path:?}");
        assert_eq!(report.source.map(|source| source.to_string()).unwrap_or_default(), text(&right, "source_ip"));
        assert_eq!(report.domain, right["reported_domain"][0].as_str().unwrap_or_default(), "{path:?}");
        assert_eq!(Some(report.letters), right["incidents"].as_u64(), "{path:?}");
        assert_eq!(report.arrived, right["arrival_date"].as_i64().unwrap_or(0), "{path:?}");
        let failed = text(&right, "auth_failure").to_lowercase();
        assert_eq!(report.failed, if failed == "unspecified" { "" } else { &failed }, "{path:?}");
    }
}

#[test]
fn the_tls_reports_of_mail_auth() {
    let (texts, letters) = (files("tlsrpt", ".json"), files("tlsrpt", ".eml"));
    assert_eq!((texts.len(), letters.len()), (3, 2));
    for path in [texts, letters].concat() {
        let bytes = std::fs::read(&path).unwrap();
        let is_letter = path.extension().unwrap() == "eml";
        let bytes = if is_letter { bytes } else { as_letter("application/tlsrpt+json", &bytes) };
        if path.ends_with("rpt03.json") {
            // RFC 8460 4.4: of no domain at all, and so of nobody's.
            assert_eq!(find(&bytes), Err(Unread::Json));
            continue;
        }
        let Ok(Some(Report::Tls(report))) = find(&bytes) else { panic!("{path:?}: {:?}", find(&bytes)) };
        let right = beside(&path);
        let named = (text(&right, "organization-name"), text(&right, "report-id"));
        assert_eq!((report.reporter.as_str(), report.id.as_str()), named, "{path:?}");
        let policies = right["policies"].as_array().unwrap();
        let sum = |key: &str| -> u64 { policies.iter().map(|one| one["summary"][key].as_u64().unwrap_or(0)).sum() };
        let right = (sum("total-successful-session-count"), sum("total-failure-session-count"));
        assert_eq!((report.good, report.failed), right, "{path:?}");
        let domain = policies.iter().find_map(|one| one["policy"]["policy-domain"].as_str());
        assert_eq!(report.domain, domain.unwrap_or_default(), "{path:?}");
        let details = policies.iter().flat_map(|one| one["failure-details"].as_array().into_iter().flatten());
        let mut kinds: Vec<&str> = details.map(|one| text(one, "result-type")).collect();
        let mut found: Vec<&str> = report.failures.iter().map(|one| one.what.as_str()).collect();
        for list in [&mut kinds, &mut found] {
            list.sort_unstable();
            list.dedup();
        }
        assert_eq!(found, kinds, "{path:?}");
    }
}
