//! Verdicts, and what is there already.

use super::tests::facts;
use super::*;
use crate::net::dns::{Answer, Answers, Data, Found, Kind, Server};

fn servers(n: usize) -> Vec<Server> {
    (0..n).map(|n| Server { name: format!("ns{n}.test"), address: "192.0.2.53:53".parse().unwrap() }).collect()
}

fn txt(text: &str) -> Data {
    Data::Txt(text.into())
}

/// A world in which every record is as it should be, at each of `n` servers.
fn right(facts: &Facts, n: usize) -> Answers {
    let all = records(facts).unwrap();
    let mut out = Answers::new();
    for (name, kind) in questions(facts, &all) {
        let here = all.iter().filter(|record| record.name == name && record.kind == kind && record.is_for_publishing());
        let found = |record: &Record| Found { name: name.clone(), ttl: 600, data: record.data.clone().unwrap() };
        let records: Vec<Found> = here.map(found).collect();
        let negative_ttl = records.is_empty().then_some(300);
        out.insert((name, kind), vec![Ok(Answer { records, negative_ttl }); n]);
    }
    out
}

fn set(answers: &mut Answers, name: &str, kind: Kind, data: &[Data]) {
    let found = |data: &Data| Found { name: name.into(), ttl: 7200, data: data.clone() };
    let answer = Answer { records: data.iter().map(found).collect(), negative_ttl: data.is_empty().then_some(300) };
    for one in answers.get_mut(&(name.to_owned(), kind)).unwrap() {
        *one = Ok(answer.clone());
    }
}

fn verdict(answers: &Answers, name: &str, kind: Kind) -> (State, String) {
    let facts = facts();
    let all = records(&facts).unwrap();
    let mut of = all.iter().filter(|record| record.name == name && record.kind == kind && record.is_for_publishing());
    // At the domain there is one text of ours.
    let record = of.next().unwrap();
    let n = answers.values().next().unwrap().len();
    let verdict = judge(&facts, record, &servers(n), answers).unwrap();
    (verdict.state, verdict.words)
}

#[test]
fn a_world_that_is_right_is_called_right() {
    let facts = facts();
    let answers = right(&facts, 2);
    for record in records(&facts).unwrap() {
        match judge(&facts, &record, &servers(2), &answers) {
            Some(verdict) => assert_eq!((verdict.state, verdict.words.as_str()), (State::Right, ""), "{record:?}"),
            None => assert!(!record.is_for_publishing() || !is_in(&record.name, "example.test"), "{record:?}"),
        }
    }
    assert_eq!(existing(&facts, &answers), None);
}

#[test]
fn what_is_not_there_says_how_long_others_may_remember_that() {
    let mut answers = right(&facts(), 1);
    set(&mut answers, "_dmarc.example.test", Kind::Txt, &[]);
    let (state, words) = verdict(&answers, "_dmarc.example.test", Kind::Txt);
    assert_eq!(state, State::Missing);
    assert!(words.contains("up to 5 min"), "{words}");
}

#[test]
fn servers_that_disagree_and_servers_that_are_silent_are_told_apart() {
    let mut answers = right(&facts(), 2);
    let place = answers.get_mut(&("example.test".to_owned(), Kind::Mx)).unwrap();
    place[1] = Ok(Answer { records: vec![], negative_ttl: Some(60) });
    let (state, words) = verdict(&answers, "example.test", Kind::Mx);
    assert_eq!(state, State::Differ);
    assert!(
        words.contains("ns0.test: 10 mail.example.test.") || words.contains("ns0.test: mail.example.test."),
        "{words}"
    );
    assert!(words.contains("ns1.test: not there yet"), "{words}");
    answers.get_mut(&("example.test".to_owned(), Kind::Mx)).unwrap()[1] = Err("it does not answer".into());
    assert_eq!(verdict(&answers, "example.test", Kind::Mx).0, State::Right, "one answer is an answer");
    answers.get_mut(&("example.test".to_owned(), Kind::Mx)).unwrap()[0] = Err("it does not answer".into());
    let (state, words) = verdict(&answers, "example.test", Kind::Mx);
    assert_eq!(state, State::Unasked);
    assert!(words.contains("ns0.test: it does not answer"), "{words}");
}

#[test]
fn the_usual_mistakes_are_said_in_words() {
    let facts = facts();
    let rsa = records(&facts).unwrap()[2].clone();
    let whole = rsa.data.clone().unwrap().value();
    let key = rsa.name.as_str();
    let (first, second) = whole.split_at(255);
    let v4 = |text: &str| Data::A(text.parse().unwrap());
    let host = "mail.example.test";
    let mx = |host: &str| Data::Mx { priority: 10, host: host.into() };
    let own = mx(host);
    let spf = "v=spf1 mx ra=postmaster -all";
    let verification = txt("some-verification=abc");
    let cases: &[(&str, Kind, Vec<Data>, &str)] = &[
        (key, Kind::Txt, vec![txt(second), txt(first)], "in 2 pieces"),
        (key, Kind::Txt, vec![txt(&format!("\"{first}\" \"{second}\""))], "quotation marks"),
        (key, Kind::Txt, vec![txt(&format!("{first} {second}"))], "a blank or a line break"),
        (key, Kind::Txt, vec![Data::Cname("elsewhere.test".into())], "beside a CNAME nothing else"),
        (key, Kind::Txt, vec![txt("v=DKIM1; k=rsa; p=AAAA")], "there is: v=DKIM1"),
        ("example.test", Kind::Mx, vec![mx("192.0.2.25")], "points to an address (192.0.2.25)"),
        ("example.test", Kind::Mx, vec![mx("192.0.2.25.example.test")], "points to an address (192.0.2.25)"),
        ("example.test", Kind::Mx, vec![mx("mail.example.test.example.test")], "stands twice in the value"),
        ("example.test", Kind::Mx, vec![mx("aspmx.l.google.com")], "mail is brought elsewhere: 10 aspmx.l.google.com."),
        (
            "example.test",
            Kind::Mx,
            vec![own, mx("aspmx.l.google.com")],
            "brought to others too: 10 aspmx.l.google.com.",
        ),
        ("example.test", Kind::Txt, vec![txt(spf), txt("v=spf1 include:x.test ~all")], "two SPF records"),
        ("example.test", Kind::Txt, vec![txt("v=spf1 a -all"), txt("v=spf1 b -all")], "2 SPF records"),
        ("example.test", Kind::Txt, vec![txt(&format!("\"{spf}\""))], "quotation marks"),
        ("mta-sts.example.test", Kind::Cname, vec![Data::Cname(format!("{host}.example.test"))], "stands twice"),
        (host, Kind::A, vec![v4("104.16.1.2")], "Cloudflare"),
        (host, Kind::A, vec![v4("203.0.113.9")], "there is: 203.0.113.9"),
    ];
    for (name, kind, there, expected) in cases {
        let mut answers = right(&facts, 1);
        set(&mut answers, name, *kind, there);
        let (state, words) = verdict(&answers, name, *kind);
        assert_eq!(state, State::Different, "{name} {there:?}: {words}");
        assert!(words.contains(expected), "{name} {there:?}: {words}");
    }
    // Beside what others keep there, ours is right; and without it, ours is missing, not different.
    let mut answers = right(&facts, 1);
    set(&mut answers, "example.test", Kind::Txt, &[verification.clone(), txt(spf)]);
    assert_eq!(verdict(&answers, "example.test", Kind::Txt).0, State::Right);
    set(&mut answers, "example.test", Kind::Txt, &[verification]);
    assert_eq!(verdict(&answers, "example.test", Kind::Txt).0, State::Missing);
    // Blanks between tags and their order mean nothing.
    set(&mut answers, key, Kind::Txt, &[txt(&whole.replace("; ", ";"))]);
    assert_eq!(verdict(&answers, key, Kind::Txt).0, State::Right);
}

#[test]
fn a_doubled_name_and_a_proxied_alias_are_found_where_they_are() {
    let facts = facts();
    let mut answers = right(&facts, 1);
    let tls = records(&facts).unwrap().into_iter().find(|record| record.name.starts_with("_smtp")).unwrap();
    set(&mut answers, "_smtp._tls.example.test", Kind::Txt, &[]);
    set(&mut answers, "_smtp._tls.example.test.example.test", Kind::Txt, &[tls.data.unwrap()]);
    let (state, words) = verdict(&answers, "_smtp._tls.example.test", Kind::Txt);
    assert_eq!(state, State::Different);
    assert!(words.contains("enter only _smtp._tls"), "{words}");
    set(&mut answers, "autoconfig.example.test", Kind::Cname, &[]);
    set(&mut answers, "autoconfig.example.test", Kind::A, &[Data::A("172.64.0.1".parse().unwrap())]);
    let (state, words) = verdict(&answers, "autoconfig.example.test", Kind::Cname);
    assert!(state == State::Different && words.contains("Cloudflare"), "{words}");
}

#[test]
fn what_comes_from_outside_stays_on_its_line() {
    let mut answers = right(&facts(), 1);
    let evil = txt(&format!("v=DMARC1; p=none\r\nfake line\u{1b}[2J{}", "x".repeat(5000)));
    set(&mut answers, "_dmarc.example.test", Kind::Txt, &[evil]);
    let (_, words) = verdict(&answers, "_dmarc.example.test", Kind::Txt);
    assert!(!words.chars().any(char::is_control) && words.len() < 1000, "{words}");
}

#[test]
fn mail_that_is_elsewhere_is_found_and_safe_ways_are_offered() {
    let facts = facts();
    let mut answers = right(&facts, 1);
    let google = Data::Mx { priority: 1, host: "aspmx.l.google.com".into() };
    set(&mut answers, "example.test", Kind::Mx, &[google]);
    set(&mut answers, "example.test", Kind::Txt, &[txt("v=spf1 include:_spf.google.com ~all")]);
    set(&mut answers, "_dmarc.example.test", Kind::Txt, &[txt("v=DMARC1; p=none; rua=mailto:x@google.test")]);
    let found = existing(&facts, &answers).unwrap();
    assert_eq!(found.provider, Some("Google"));
    assert_eq!(found.spf.as_ref().unwrap().1, "v=spf1 mx include:_spf.google.com ~all");
    let advice = found.advice(&facts).join("\n");
    for words in
        ["already gets its mail at Google", "post.example.test", "set the TTL", "2 h", "mx include:_spf.google.com"]
    {
        assert!(advice.contains(words), "{words}: {advice}");
    }
    let many = format!("v=spf1{} ~all", (0..10).map(|n| format!(" include:s{n}.test")).collect::<String>());
    set(&mut answers, "example.test", Kind::Txt, &[txt(&many)]);
    assert!(existing(&facts, &answers).unwrap().advice(&facts).join("\n").contains("11 look-ups"));
}
