//! Letters with everything on them, in a small world.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::names::fake::Zone;
use super::*;
use crate::base::Time;
use crate::message::header;

const PEER: &str = "192.0.2.9";
const WAIT: Duration = Duration::from_secs(20);
const LETTER: &[u8] =
    b"From: Anna <anna@x.test>\r\nTo: b@y.test\r\nSubject: hello  there\r\n\r\nhow are\tyou \r\n \r\n\t\r\n";

fn handed<'a>(from: Option<&'a str>) -> Handed<'a> {
    Handed { peer: PEER.parse().unwrap(), helo: "out.x.test", from, now: Some(Time::from_seconds(1_795_000_000)) }
}

/// Both keys, and a DNS with their public halves.
fn keys(zone: Zone) -> (Vec<Key>, Zone) {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public: PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
    let private: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let zone = zone
        .with_txt(
            "e._domainkey.x.test",
            &format!("v=DKIM1; k=ed25519; h=sha256; p={}", STANDARD.encode(ed.public_key())),
        )
        .with_txt("r._domainkey.x.test", &format!("v=DKIM1; k=rsa; h=sha256; p={}", STANDARD.encode(public.as_ref())));
    let keys =
        vec![Key::ed25519("e", ed.to_pkcs8v1().unwrap().as_ref()).unwrap(), Key::rsa("r", private.as_ref()).unwrap()];
    (keys, zone)
}

fn signed(keys: &[Key], letter: &[u8]) -> Vec<u8> {
    let (head, body) = letter.split_at(header::end(letter));
    [sign(head, body, "x.test", keys, Some(Time::from_seconds(1_790_000_000))).as_slice(), letter].concat()
}

async fn outcomes(zone: &Zone, letter: &[u8]) -> Vec<Outcome> {
    let evidence = gather(zone, handed(None), &Letter::read(letter), WAIT).await;
    evidence.dkim.iter().map(|signed| signed.outcome).collect()
}

#[tokio::test]
async fn both_signatures_verify_and_nothing_can_be_added_or_changed() {
    let (keys, zone) = keys(Zone::default());
    assert_eq!(signers_domain(LETTER).as_deref(), Some("x.test"));
    let letter = signed(&keys, LETTER);
    let text = String::from_utf8_lossy(&letter).into_owned();
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    assert_eq!(outcomes(&zone, &letter).await, [Outcome::Pass; 2], "{text}");
    for (what, from, to) in [
        ("a second From", "From: Anna", "From: evil@y.test\r\nFrom: Anna"),
        ("another subject", "hello  there", "hello here"),
        ("a Cc", "To: b@", "Cc: c@y.test\r\nTo: b@"),
        ("the body", "how are", "who are"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert_eq!(outcomes(&zone, changed.as_bytes()).await, [Outcome::Fail; 2], "{what}");
    }
    let harmless = text.replace("hello  there", "hello there").replace(" \r\n \r\n\t\r\n", "\r\n");
    assert_eq!(outcomes(&zone, harmless.as_bytes()).await, [Outcome::Pass; 2]);
}

/// RFC 8463 A.3: the key of Ed25519, and the letter with its signatures.
#[tokio::test]
async fn the_example_of_rfc_8463() {
    let letter = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n \
        q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n \
        Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n \
        q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n date : message-id : from : subject : date;\r\n \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n \
        DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n \
        dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n\
        From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\nHi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
    let zone = Zone::default()
        .with_txt(
            "brisbane._domainkey.football.example.com",
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        )
        .with_txt(
            "test._domainkey.football.example.com",
            "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
        );
    assert_eq!(outcomes(&zone, letter.as_bytes()).await, [Outcome::Pass; 2]);
}

#[tokio::test]
async fn signatures_that_are_not_believed() {
    let (keys, zone) = keys(Zone::default());
    let text = String::from_utf8(signed(&keys[..1], LETTER)).unwrap();
    for (what, from, to, outcome) in [
        ("a version nobody knows", "v=1;", "v=2;", Outcome::PermError),
        ("an old algorithm (RFC 8301 3.1)", "ed25519-sha256", "rsa-sha1", Outcome::PermError),
        ("another kind of key", "ed25519-sha256", "rsa-sha256", Outcome::PermError),
        ("a part of the body", "v=1;", "v=1; l=3;", Outcome::Policy),
        ("over before it began", "v=1;", "v=1; x=1;", Outcome::PermError),
        ("an agent elsewhere", "v=1;", "v=1; i=@y.test;", Outcome::PermError),
        ("a tag twice", "v=1;", "v=1; d=y.test;", Outcome::PermError),
        ("no key", "s=e;", "s=f;", Outcome::PermError),
        ("d= that is no name", "d=x.test", "d=x.test(.y.test", Outcome::PermError),
        ("From is not signed", "h=From:From:", "h=", Outcome::PermError),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{what}");
        assert_eq!(outcomes(&zone, changed.as_bytes()).await, [outcome], "{what}: {changed}");
    }
    let over = text.replacen("v=1;", "v=1; x=1790000001;", 1);
    let found = gather(&zone, handed(None), &Letter::read(over.as_bytes()), WAIT).await.dkim;
    assert_eq!((found[0].outcome, found[0].reason), (Outcome::Fail, Some("expired")));
    for (key, outcome) in [
        ("v=DKIM1; k=ed25519; p=", Outcome::PermError),
        ("v=DKIM1; k=ed25519; s=other; p=iouk", Outcome::PermError),
        ("k=ed25519; v=DKIM1; p=iouk", Outcome::PermError),
        ("nothing", Outcome::PermError),
    ] {
        let mut zone = zone.clone();
        zone.txt.insert("e._domainkey.x.test".into(), Ok(vec![key.as_bytes().to_vec()]));
        assert_eq!(outcomes(&zone, text.as_bytes()).await, [outcome], "{key}");
    }
    let mut zone = zone.clone();
    // RFC 8301 3.2: a key of 768 bits, and one of 1024, which is long enough to be looked at.
    let short = "MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAMnAxBq59ZEHX8cfAaIereMyZBoG0JUe/AoRqlMZeF31UJaxWUoHVBr/QNyvqUwNQH2+cu7C90rFX11zTwZRZ02j7UgO\
                 ThtDe0v7dyMAN1fuTVnZQQL1a24wyN0LV9IVOQIDAQAB";
    let enough = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDHZueUX70uw9laSW/ac7JoHUa02Vyunux5qpyqtWWHNL6O+iiBr1XG6RCpWEn6CoECcjwcHTV2+PENRofBZTMk\
                  CkNdpDI5Dm4a6P1wWuZmflLK2jHdSBN4FA8QbcrrLO0I0tQyjfkLfA4LL+CtDyOCEIUR4znx7GbVYkSvZ504XwIDAQAB";
    let (edwards, agent) = (zone.txt["e._domainkey.x.test"].as_ref().unwrap()[0].clone(), "v=1; i=@m.x.test;");
    let edwards = String::from_utf8(edwards).unwrap();
    let rsa = text.replacen("ed25519-sha256", "rsa-sha256", 1);
    for (what, key, letter, outcome, reason) in [
        ("too short", format!("v=DKIM1; p={short}"), rsa.clone(), Outcome::PermError, "the key is too short"),
        ("long enough", format!("v=DKIM1; p={enough}"), rsa, Outcome::Fail, "the signature does not fit"),
        // RFC 6376 3.6.1, t=s: the agent is of the domain itself.
        (
            "strict",
            format!("{edwards}; t=y:s"),
            text.replacen("v=1;", agent, 1),
            Outcome::PermError,
            "the key is for d= itself only",
        ),
        ("not strict", edwards, text.replacen("v=1;", agent, 1), Outcome::Fail, "the signature does not fit"),
    ] {
        zone.txt.insert("e._domainkey.x.test".into(), Ok(vec![key.into_bytes()]));
        let found = gather(&zone, handed(None), &Letter::read(letter.as_bytes()), WAIT).await.dkim.remove(0);
        assert_eq!((found.outcome, found.reason), (outcome, Some(reason)), "{what}");
    }
    zone.txt.insert("e._domainkey.x.test".into(), Err(Missing::Unknown));
    assert_eq!(outcomes(&zone, text.as_bytes()).await, [Outcome::TempError]);
}

/// RFC 7208 2.4, RFC 9989 4.10.2: the null path has no domain, and what the peer calls itself speaks in its place; where there is a
/// path, EHLO speaks for nothing.
#[tokio::test]
async fn ehlo_speaks_for_the_null_path_and_for_no_other() {
    let zone = Zone::default()
        .with_txt("out.x.test", "v=spf1 ip4:192.0.2.9 -all")
        .with_txt("out.y.test", "v=spf1 ip4:192.0.2.9 -all")
        .with_txt("out.s.test", "v=spf1 ip4:192.0.2.9 -all")
        .with_txt("_dmarc.s.test", "v=DMARC1; p=reject; aspf=s")
        .with_txt("_dmarc.x.test", "v=DMARC1; p=reject");
    for (author, helo, from, outcome) in [
        ("x.test", "out.x.test", None, Outcome::Pass),
        ("x.test", "OUT.X.test.", None, Outcome::Pass),
        ("x.test", "out.y.test", None, Outcome::Fail),
        ("x.test", "x.test", None, Outcome::Fail),
        ("s.test", "out.s.test", None, Outcome::Fail),
        ("x.test", "out.x.test", Some("a@y.test"), Outcome::Fail),
        ("x.test", "out.y.test", Some("a@out.x.test"), Outcome::Pass),
    ] {
        let letter = format!("From: a@{author}\r\n\r\nx\r\n");
        let handed = Handed { helo, ..handed(from) };
        let found = gather(&zone, handed, &Letter::read(letter.as_bytes()), WAIT).await.dmarc;
        assert_eq!((found.outcome, found.spf), (outcome, outcome == Outcome::Pass), "{author} {helo} {from:?}");
    }
}

/// The results in a field Authentication-Results, as whoever reads RFC 8601 2.2 parts them.
fn results(field: &str) -> Vec<String> {
    let (mut out, mut quoted, mut depth, mut escaped) = (vec![String::new()], false, 0, false);
    for c in field.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ';' if !quoted && depth == 0 => {
                out.push(String::new());
                continue;
            }
            _ => {}
        }
        out.last_mut().unwrap().push(c);
    }
    assert!(!quoted && depth == 0, "{field}");
    out
}

/// H4: hostile d=, s=, a=, names of an address, EHLO and paths say nothing in our name.
#[tokio::test]
async fn no_part_of_a_letter_or_a_name_adds_a_result() {
    for evil in [
        "x;dmarc=pass",
        "x.test; dkim=pass header.d=bank.test",
        "x\\",
        "x\\\"; dmarc=pass (",
        "(",
        ")",
        "a);spf=pass;(",
        "\u{202e}x;dmarc=pass",
        "a\r\n b",
        "a\0b",
        "\"",
        &"x;".repeat(400),
    ] {
        let mut zone = Zone::default().with_address(evil, PEER).with_address("out.x.test", PEER);
        zone.ptr.insert(PEER.parse().unwrap(), vec![evil.to_owned(), "out.x.test".into()]);
        let signature =
            |tags: String| format!("DKIM-Signature: v=1; a=rsa-sha256; h=from; bh=AA==; b=AA==; {tags}\r\n");
        let folded = evil.replace("\r\n", "");
        let letter = [
            signature(format!("d={folded}; s=e")),
            signature(format!("d=x.test; s={folded}")),
            signature(format!("d=x.test; s=e; i={folded}")),
            format!("From: a@x.test\r\n{}\r\nx\r\n", signature(format!("d=x.test; s=e; a={folded}"))),
        ];
        let reverse = format!("a@{evil}");
        let handed = Handed { helo: evil, from: Some(&reverse), ..handed(None) };
        let evidence = gather(&zone, handed, &Letter::read(letter.concat().as_bytes()), WAIT).await;
        let field = String::from_utf8(authentication_results(&evidence, "mail.y.test")).unwrap();
        let results = results(field.split_once(':').unwrap().1);
        let words: Vec<&str> = results.iter().map(|one| one.trim().split('=').next().unwrap()).collect();
        assert_eq!(words, ["mail.y.test", "iprev", "spf", "spf", "dkim", "dkim", "dkim", "dkim", "dmarc"], "{field}");
        let says = |one: &String| one.trim().split(['=', ' ']).nth(1).unwrap().to_owned();
        assert!(results.iter().skip(2).all(|one| says(one) != "pass"), "{field}");
        for field in [field.into_bytes(), received_spf(&evidence, handed, "mail.y.test")] {
            let text = String::from_utf8_lossy(&field).into_owned();
            assert_eq!((header::fields(&field).count(), header::end(&field)), (1, field.len()), "{text}");
            assert!(text.lines().all(|line| line.len() <= 998), "{text}");
            assert!(!text.replace("\r\n\t", "").trim_end().contains(char::is_control), "{text}");
        }
    }
}

#[tokio::test]
async fn a_letter_that_its_domain_stands_behind() {
    let zone = Zone::default()
        .with_txt("x.test", "v=spf1 ip4:192.0.2.9 -all")
        .with_txt("_dmarc.x.test", "v=DMARC1; p=reject")
        .with_address("out.x.test", PEER);
    let (keys, mut zone) = keys(zone);
    zone.ptr.insert(PEER.parse().unwrap(), vec!["out.x.test".into()]);
    let letter = signed(&keys, LETTER);
    let evidence = gather(&zone, handed(Some("anna@x.test")), &Letter::read(&letter), WAIT).await;
    let field = String::from_utf8(authentication_results(&evidence, "mail.y.test")).unwrap();
    let prefix = |n: usize| evidence.dkim[n].prefix.clone();
    let value = |text: String| if text.contains('/') || text.contains('=') { format!("\"{text}\"") } else { text };
    assert_eq!(
        field,
        format!(
            "Authentication-Results: mail.y.test;\r\n\
             \tiprev=pass (out.x.test) policy.iprev=192.0.2.9;\r\n\
             \tspf=none smtp.helo=out.x.test;\r\n\
             \tspf=pass smtp.mailfrom=x.test;\r\n\
             \tdkim=pass header.d=x.test header.s=e header.a=ed25519-sha256 header.b={};\r\n\
             \tdkim=pass header.d=x.test header.s=r header.a=rsa-sha256 header.b={};\r\n\
             \tdmarc=pass (p=reject of x.test; asked for: reject) header.from=x.test\r\n",
            value(prefix(0)),
            value(prefix(1)),
        )
    );
    assert!(is_forged(field.split_once(':').unwrap().1.as_bytes(), "mail.y.test"), "ours is recognised as ours");
    let received = String::from_utf8(received_spf(&evidence, handed(Some("anna@x.test")), "mail.y.test")).unwrap();
    assert_eq!(
        received,
        "Received-SPF: pass (mail.y.test: x.test says that 192.0.2.9 sends its mail)\r\n\
         \tclient-ip=192.0.2.9; envelope-from=\"anna@x.test\";\r\n\
         \thelo=out.x.test; identity=mailfrom; receiver=mail.y.test\r\n"
    );
    let rules = Rules { obey: true, forwarders: Vec::new() };
    assert_eq!(judge(&evidence, &rules), Action::Deliver);
}

#[tokio::test]
async fn a_forged_letter_is_refused_put_aside_or_let_in_as_its_domain_asks() {
    let rules = Rules { obey: true, forwarders: Vec::new() };
    let act = async |policy: &str, rules: &Rules, letter: &[u8]| {
        let zone = Zone::default().with_txt("_dmarc.x.test", &format!("v=DMARC1; p={policy}"));
        judge(&gather(&zone, handed(Some("a@y.test")), &Letter::read(letter), WAIT).await, rules)
    };
    assert_eq!(act("reject", &rules, LETTER).await, Action::Refuse("x.test".into()));
    assert!(matches!(act("quarantine", &rules, LETTER).await, Action::Junk(_)));
    assert_eq!(act("none", &rules, LETTER).await, Action::Deliver);
    assert_eq!(act("reject", &Rules::default(), LETTER).await, Action::Deliver, "only written down");
    let two = [b"From: b@z.test\r\n", LETTER].concat();
    assert!(matches!(act("reject", &rules, &two).await, Action::Junk(_)));
    assert!(matches!(act("reject", &rules, b"From: a@x.test, b@z.test\r\n\r\n").await, Action::Junk(_)));
    let crowd = format!("From: {}a@x.test\r\n\r\n", "b@y.test, ".repeat(50));
    assert!(matches!(act("reject", &rules, crowd.as_bytes()).await, Action::Junk(_)), "the last one counts too");
    // A mistake in a record switches nothing off.
    for policy in ["reject;; rua=mailto:a@x.test", "reject; ruf", "reject; p=none", "reject; x=\u{fc}"] {
        assert_eq!(act(policy, &rules, LETTER).await, Action::Refuse("x.test".into()), "{policy}");
    }
}

/// H1, H2
#[tokio::test]
async fn a_silent_dns_is_waited_for_no_longer_than_said_and_refuses_nobody() {
    let (keys, mut zone) = keys(Zone::default().with_txt("_dmarc.x.test", "v=DMARC1; p=reject"));
    let letter = signed(&keys, LETTER);
    let rules = Rules { obey: true, forwarders: Vec::new() };
    for silent in ["test", "x.test", "_dmarc.x.test", "_domainkey.x.test", "arpa"] {
        zone.silent = vec![silent.to_owned(), "arpa".to_owned()];
        let letter = Letter::read(&letter);
        let gathered = gather(&zone, handed(Some("a@x.test")), &letter, Duration::from_millis(500));
        // A busy machine may be late, but not by this much.
        let evidence = tokio::time::timeout(WAIT, gathered).await.expect("H1");
        assert_eq!(evidence.host.outcome, Outcome::TempError);
        assert_eq!(judge(&evidence, &rules), Action::Deliver, "{silent}");
        if silent == "test" {
            assert_eq!(evidence.dmarc.outcome, Outcome::TempError);
            assert_eq!(evidence.mail.unwrap().outcome, Outcome::TempError);
            assert!(evidence.dkim.iter().all(|signed| signed.outcome == Outcome::TempError));
        }
    }
}

/// H4
#[tokio::test]
async fn nothing_of_a_strangers_leaves_its_place() {
    let evil = "x\"; dmarc=pass\r\nX-Evil: 1\r\n\r\n(";
    let handed = Handed { helo: evil, from: Some("a\"\\\r\nX: y@x.test;)"), ..handed(None) };
    let letter = b"From: a@x.test\r\nDKIM-Signature: v=1; d=x.test; s=e; b=(\r\n\r\n";
    let evidence = gather(&Zone::default(), handed, &Letter::read(letter), WAIT).await;
    for field in [authentication_results(&evidence, "mail.y.test"), received_spf(&evidence, handed, "mail.y.test")] {
        let text = String::from_utf8(field.clone()).unwrap();
        assert_eq!(crate::message::header::fields(&field).count(), 1, "{text}");
        assert_eq!(crate::message::header::end(&field), field.len(), "{text}");
    }
    assert!(!results::says_dmarc_pass(&authentication_results(&evidence, "mail.y.test")));
}

#[test]
fn whom_a_seal_is_believed_from() {
    let seal = |domain: &str, dmarc_pass| Seal { domain: domain.into(), selector: "s".into(), dmarc_pass };
    let with = |seals: Vec<Seal>, outcome| {
        let author = "x.test".to_owned();
        let dmarc = Verdict {
            outcome: Outcome::Fail,
            reason: None,
            author,
            policy: Policy::Reject,
            record: None,
            dkim: false,
            spf: false,
            malformed: false,
        };
        let host = Host { outcome: Outcome::Pass, address: PEER.parse().unwrap(), name: None };
        let helo = Sender { outcome: Outcome::None, domain: "h".into() };
        Evidence { host, helo, mail: None, dkim: Vec::new(), arc: Chain { outcome, reason: None, seals }, dmarc }
    };
    let rules = Rules { obey: true, forwarders: vec!["lists.test".into(), "Post.test".into()] };
    let refused = Action::Refuse("x.test".into());
    let judged = |seals, outcome| judge(&with(seals, outcome), &rules);
    assert_eq!(judged(vec![seal("lists.test", true)], Outcome::Pass), Action::Deliver);
    assert_eq!(judged(vec![seal("post.test", false), seal("lists.test", true)], Outcome::Pass), Action::Deliver);
    assert_eq!(judged(vec![seal("lists.test", false)], Outcome::Pass), refused);
    assert_eq!(judged(vec![seal("lists.test", true)], Outcome::Fail), refused);
    assert_eq!(judged(vec![seal("evil.test", true)], Outcome::Pass), refused);
    assert_eq!(judged(vec![seal("evil.test", true), seal("lists.test", true)], Outcome::Pass), refused);
}
