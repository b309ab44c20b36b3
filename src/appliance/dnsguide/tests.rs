//! The list of a household, the withheld ones, and zone files read back.

use proptest::prelude::*;

use super::policy::{Mode, Policy};
use super::*;
use crate::net::tls::Digests;

fn digests(seed: u8) -> Digests {
    Digests {
        whole_sha256: vec![seed; 32],
        whole_sha512: vec![seed; 64],
        key_sha256: vec![seed + 1; 32],
        key_sha512: vec![seed + 1; 64],
    }
}

pub(super) fn facts() -> Facts {
    let on = |service| match service {
        Service::Imaps => Some(993),
        Service::Submissions => Some(465),
        _ => None,
    };
    Facts {
        host: "mail.example.test".into(),
        domain: "example.test".into(),
        host_here: true,
        keys: vec![
            Key { selector: "202611e".into(), algorithm: "ed25519".into(), public: "A".repeat(44), leaving: false },
            Key { selector: "202611r".into(), algorithm: "rsa".into(), public: "B".repeat(392), leaving: false },
        ],
        services: Service::ALL.into_iter().map(|service| (service, on(service))).collect(),
        addresses: vec!["192.0.2.25".parse().unwrap(), "2001:db8::19".parse().unwrap()],
        certificate: Some(Certificate { own: digests(1), issuer: digests(5), key_kept: false, next_key: None }),
        signed: None,
        outbound: Outbound::Direct,
        relays: Vec::new(),
        authorities: vec![Account { authority: "ca.test".into(), uri: "https://ca.test/acct/1".into() }],
        pacc: Some("ZGlnZXN0".into()),
        policy: Policy::of("mail.example.test", Mode::Testing),
        dmarc: Dmarc::None,
    }
}

fn brief(facts: &Facts) -> Vec<String> {
    let short = |record: Record| {
        let value = record.data.map(|data| {
            let priority = data.priority().map(|priority| format!("{priority} ")).unwrap_or_default();
            priority + &data.value()
        });
        let value = value.unwrap_or("?".into()).replace(&"B".repeat(392), "B*392").replace(&"A".repeat(44), "A*44");
        format!("{} {} {value}", record.name, record.kind)
    };
    records(facts).unwrap().into_iter().map(short).collect()
}

#[test]
fn a_household_gets_all_records_in_their_order() {
    let id = facts().policy.id();
    let all = brief(&facts());
    let expected = format!(
        "example.test MX 10 mail.example.test.
202611e._domainkey.example.test TXT v=DKIM1; k=ed25519; h=sha256; p=A*44
202611r._domainkey.example.test TXT v=DKIM1; k=rsa; h=sha256; p=B*392
mail.example.test TXT v=spf1 a ra=postmaster -all
example.test TXT v=spf1 mx ra=postmaster -all
_dmarc.example.test TXT v=DMARC1; p=none; rua=mailto:postmaster@example.test; ruf=mailto:postmaster@example.test
mta-sts.example.test CNAME mail.example.test.
_mta-sts.example.test TXT v=STSv1; id={id}
_smtp._tls.example.test TXT v=TLSRPTv1; rua=mailto:postmaster@example.test
_imaps._tcp.example.test SRV 0 1 993 mail.example.test.
_imap._tcp.example.test SRV 0 0 0 .
_pop3s._tcp.example.test SRV 0 0 0 .
_pop3._tcp.example.test SRV 0 0 0 .
_submissions._tcp.example.test SRV 0 1 465 mail.example.test.
_submission._tcp.example.test SRV 0 0 0 .
_jmap._tcp.example.test SRV 0 0 0 .
_sieve._tcp.example.test SRV 0 0 0 .
autoconfig.example.test CNAME mail.example.test.
autodiscover.example.test CNAME mail.example.test."
    );
    assert_eq!(all[..19], expected.lines().collect::<Vec<_>>());
    let tlsa: Vec<&str> =
        all[19..27].iter().map(|line| &line[.."_25._tcp.mail.example.test TLSA 3 0 1".len()]).collect();
    let forms = ["3 0 1", "3 0 2", "3 1 1", "3 1 2", "2 0 1", "2 0 2", "2 1 1", "2 1 2"];
    assert_eq!(tlsa, forms.map(|form| format!("_25._tcp.mail.example.test TLSA {form}")));
    let rest = "ua-auto-config.example.test CNAME mail.example.test.
_ua-auto-config.example.test TXT v=UAAC1; a=sha256; d=ZGlnZXN0
example.test CAA 0 issue \"ca.test; accounturi=https://ca.test/acct/1\"
mail.example.test A 192.0.2.25
mail.example.test AAAA 2001:db8::19
25.2.0.192.in-addr.arpa PTR mail.example.test.
9.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR mail.example.test.";
    assert_eq!(all[27..], rest.lines().collect::<Vec<_>>());
    for record in records(&facts()).unwrap() {
        assert!(record.purpose.ends_with('.') && !record.purpose.contains('\n'), "{record:?}");
    }
}

#[test]
fn what_is_not_known_yet_is_left_out_or_withheld() {
    let new = Facts { addresses: vec![], authorities: vec![], pacc: None, ..facts() };
    let all = records(&new).unwrap();
    assert!(all.iter().all(|record| record.kind != Kind::Caa && record.name != "_ua-auto-config.example.test"));
    let address = all.iter().find(|record| record.kind == Kind::A).unwrap();
    assert!(address.data.is_none() && !address.is_for_publishing());
    let relayed = |outbound| {
        let all = records(&Facts { outbound, ..facts() }).unwrap();
        let spf = all.into_iter().find(|record| record.name == "example.test" && record.kind == Kind::Txt).unwrap();
        (spf.data.unwrap().value(), spf.withheld.is_none())
    };
    let relay = Outbound::Relay("include:_spf.relay.test".into());
    assert_eq!(relayed(relay), ("v=spf1 mx include:_spf.relay.test ra=postmaster -all".into(), true));
    assert!(!relayed(Outbound::UnknownRelay).1, "others would refuse the letters");
    // Relays for some domains, too, each once.
    let office = ["include:_spf.office.test", "include:_spf.relay.test", "ip4:192.0.2.7"].map(str::to_owned);
    let facts =
        Facts { relays: office.to_vec(), outbound: Outbound::Relay("include:_spf.relay.test".into()), ..facts() };
    let whole = "v=spf1 mx include:_spf.relay.test include:_spf.office.test ip4:192.0.2.7 ra=postmaster -all";
    assert_eq!(super::spf::of_domain(&facts).unwrap(), whole);
    let merged = super::spf::merged("v=spf1 include:_spf.office.test ~all", &facts).unwrap();
    assert_eq!(merged, "v=spf1 mx include:_spf.relay.test ip4:192.0.2.7 include:_spf.office.test ~all");
}

#[test]
fn tlsa_records_are_published_only_where_they_outlive_a_renewal() {
    let published = |signed, key_kept, next_key: Option<Vec<u8>>| {
        let certificate = Certificate { own: digests(1), issuer: digests(5), key_kept, next_key };
        let all = records(&Facts { signed, certificate: Some(certificate), ..facts() }).unwrap();
        let tlsa = all.into_iter().filter(|record| record.kind == Kind::Tlsa);
        let out: Vec<String> =
            tlsa.filter(Record::is_for_publishing).map(|record| record.data.unwrap().value()[..9].to_owned()).collect();
        out
    };
    assert_eq!(published(None, true, None), [""; 0]);
    assert_eq!(published(Some(false), true, None), [""; 0]);
    assert_eq!(published(Some(true), false, None), [""; 0]);
    assert_eq!(published(Some(true), true, None), ["3 1 1 020"]);
    assert_eq!(published(Some(true), false, Some(vec![9; 32])), ["3 1 1 020", "3 1 1 090"]);
}

#[test]
fn the_hosts_records_stand_in_its_own_domain_only() {
    let elsewhere = Facts { domain: "other.test".into(), host_here: false, ..facts() };
    let all = records(&elsewhere).unwrap();
    assert!(all.iter().all(|record| is_in(&record.name, "other.test")), "{all:?}");
    // The host is the domain: one SPF record at one name (RFC 7208 4.5), and no CNAME to itself.
    let same = records(&Facts { host: "example.test".into(), ..facts() }).unwrap();
    let spf = |record: &&Record| matches!(&record.data, Some(Data::Txt(text)) if text.starts_with("v=spf1"));
    assert_eq!(same.iter().filter(spf).count(), 1);
    let odd = records(&Facts { host: "autoconfig.example.test".into(), ..facts() }).unwrap();
    assert!(odd.iter().all(|record| record.name != "autoconfig.example.test" || record.kind != Kind::Cname));
    assert!(!is_in("notexample.test", "example.test"));
}

#[test]
fn what_would_break_a_line_is_refused() {
    let bad = ["a\nb", "a\rb", "a\0b", "a\u{85}b", "a b", "", "a..b", "-\n", "ä"];
    for text in bad {
        assert!(records(&Facts { host: text.into(), ..facts() }).is_err(), "G1: {text:?}");
        assert!(records(&Facts { domain: text.into(), ..facts() }).is_err(), "G1: {text:?}");
        let key = Key { selector: text.into(), algorithm: "rsa".into(), public: "A".into(), leaving: false };
        let refused = records(&Facts { keys: vec![key], ..facts() });
        assert!(refused.is_err(), "G1: {text:?}");
    }
    let account = |uri: &str| vec![Account { authority: "ca.test".into(), uri: uri.into() }];
    for uri in ["https://ca.test/\n", "https://ca.test/;x", "https://ca.test/\"", "a b"] {
        assert!(records(&Facts { authorities: account(uri), ..facts() }).is_err(), "{uri:?}");
    }
    for relay in ["include:a b", "include:", "-all", "include:a\n", "redirect=a"] {
        assert!(records(&Facts { outbound: Outbound::Relay(relay.into()), ..facts() }).is_err(), "{relay:?}");
    }
    let digest = Facts { pacc: Some("a\nb IN A 192.0.2.1".into()), ..facts() };
    assert!(records(&digest).is_err());
}

#[test]
fn the_number_of_a_policy_is_the_policys() {
    let testing = Policy::of("mail.example.test", Mode::Testing);
    assert_eq!(testing.id(), Policy::of("mail.example.test", Mode::Testing).id());
    assert_ne!(testing.id(), Policy::of("mail.example.test", Mode::Enforce).id());
    assert_ne!(testing.id(), Policy::of("post.example.test", Mode::Testing).id());
    assert!(testing.id().len() <= 32 && testing.id().bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(testing.text(), "version: STSv1\r\nmode: testing\r\nmx: mail.example.test\r\nmax_age: 86400\r\n");
}

/// A reader of zone files of its own, by RFC 1035 5.1: entries of fields, each quoted or not.
fn read(file: &str) -> Vec<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for line in file.lines() {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        let mut bytes = line.bytes().peekable();
        loop {
            while bytes.next_if_eq(&b' ').is_some() {}
            let Some(first) = bytes.peek().copied() else { break };
            if first == b';' {
                break;
            }
            let quoted = bytes.next_if_eq(&b'"').is_some();
            let mut field = Vec::new();
            while let Some(byte) = bytes.next() {
                match byte {
                    b'"' if quoted => break,
                    b'\\' => match bytes.next().expect("something is escaped") {
                        digit if digit.is_ascii_digit() => {
                            let more: Vec<u8> = [bytes.next().unwrap(), bytes.next().unwrap()].into();
                            let text = String::from_utf8([vec![digit], more].concat()).unwrap();
                            field.push(text.parse().unwrap());
                        }
                        other => field.push(other),
                    },
                    other => field.push(other),
                }
                if !quoted && bytes.peek() == Some(&b' ') {
                    break;
                }
            }
            fields.push(field);
        }
        if !fields.is_empty() {
            out.push(fields);
        }
    }
    out
}

fn text(name: &str, text: &str) -> Record {
    let data = Data::Txt(text.to_owned());
    Record {
        name: name.into(),
        kind: Kind::Txt,
        data: Some(data),
        ttl: 60,
        purpose: "It is tried.".into(),
        withheld: None,
    }
}

proptest! {
    /// G1: any text comes back as it was, in strings of at most 255 bytes, or is refused.
    #[test]
    fn a_text_reads_back_from_the_file(value in "\\PC{0,400}|[\"\\\\;() @$a]{0,300}|.{0,40}") {
        let record = text("a.example.test", &value);
        match zone_file("example.test", &[record], Names::Full, None) {
            Ok(file) => {
                let entries = read(&file);
                let entry = entries.last().unwrap();
                prop_assert_eq!(&entry[..4], &["a.example.test.", "60", "IN", "TXT"].map(|field| field.as_bytes().to_vec()));
                prop_assert!(entry[4..].iter().all(|string| string.len() <= 255));
                prop_assert_eq!(entry[4..].concat(), value.into_bytes());
                prop_assert_eq!(entries.len(), 3);
            }
            Err(_) => prop_assert!(value.chars().any(char::is_control) || value.len() > 4096),
        }
    }

    /// G1, G2: whatever a name, a reason or a CAA value is, no line appears that was not meant.
    #[test]
    fn nothing_can_add_a_line(name in ".{0,30}", reason in ".{0,30}", tag in ".{0,6}", value in ".{0,30}") {
        let mut record = text("a.example.test", "x");
        record.data = Some(Data::Caa { flags: 0, tag, value: value.clone() });
        record.kind = Kind::Caa;
        let held = Record { withheld: Some(reason), ..text("b.example.test", "y") };
        let named = text(&name, "z");
        if let Ok(file) = zone_file("example.test", &[record, held], Names::Relative, None) {
            let entries = read(&file);
            prop_assert_eq!(entries.len(), 3);
            prop_assert_eq!(entries[2].last().unwrap(), value.as_bytes());
        }
        if let Ok(file) = zone_file("example.test", &[named], Names::Relative, None) {
            prop_assert!(read(&file).len() <= 3);
        }
    }
}

#[test]
fn long_texts_are_split_where_they_have_to_be() {
    let lengths = |n: usize| split_text(&"a".repeat(n)).iter().map(|part| part.len()).collect::<Vec<_>>();
    assert_eq!(lengths(0), [0]);
    assert_eq!(lengths(255), [255]);
    assert_eq!(lengths(256), [255, 1]);
    assert_eq!(lengths(511), [255, 255, 1]);
}

#[test]
fn a_whole_zone_has_its_head_and_comments_for_what_is_withheld() {
    let all = records(&facts()).unwrap();
    let head = Head { servers: vec!["ns1.example.net".into(), "ns2.example.net".into()], serial: 7 };
    let file = zone_file("example.test", &all, Names::Relative, Some(&head)).unwrap();
    for line in [
        "$ORIGIN example.test.",
        "@ 3600 IN SOA ns1.example.net. postmaster.example.test. 7 7200 900 1209600 300",
        "@ 3600 IN NS ns2.example.net.",
        "@ 3600 IN MX 10 mail.example.test.",
        "mail 300 IN A 192.0.2.25",
        "; 25.2.0.192.in-addr.arpa. 3600 IN PTR mail.example.test.",
        "_sieve._tcp 3600 IN SRV 0 0 0 .",
        "@ 3600 IN CAA 0 issue \"ca.test; accounturi=https://ca.test/acct/1\"",
    ] {
        assert!(file.lines().any(|there| there == line), "{line}\n{file}");
    }
    assert!(!read(&file).iter().any(|entry| entry.contains(&b"TLSA".to_vec())), "G2");
    assert_eq!(file.matches(" IN TLSA ").count(), 8);
    let plain = zone_file("example.test", &all, Names::Full, None).unwrap();
    assert!(!plain.contains("SOA") && plain.contains("\nmta-sts.example.test. 3600 IN CNAME mail.example.test.\n"));
    assert!(zone_file("example.test", &all, Names::Full, Some(&Head { servers: vec![], serial: 1 })).is_err());
}
