use std::collections::BTreeMap;

use super::*;
use crate::appliance::wizard::Secret;
use crate::appliance::writing::{Difference, Line, Method, Value, Wish, Work, Writing};
use crate::net::dns::secrets_of;
use crate::settings::DNS_METHODS;

fn fields(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_way_of_writing_has_a_name_and_a_form_for_all_its_secrets() {
    for method in DNS_METHODS {
        assert_ne!(title(method), *method, "{method}");
        let Some(secrets) = secrets_of(method) else {
            assert_eq!(*method, "none");
            continue;
        };
        let form = Form::of("/x".into(), method, &Method::default(), &fields(&[]), true).unwrap();
        assert_eq!(form.secrets.len(), secrets.len(), "{method}");
    }
    assert!(Form::of("/x".into(), "nobody", &Method::default(), &fields(&[]), true).is_none());
}

#[test]
fn what_is_missing_or_cannot_be_is_said_at_its_field() {
    let none = Method::default();
    let key = [("server", "192.0.2.53"), ("key_name", "home"), ("algorithm", "hmac-sha256"), ("secret1", "c2VjcmV0")];
    let with = |name: &str, value: &str| {
        let mut all = fields(&key);
        all.insert(name.to_owned(), value.to_owned());
        all
    };
    let said = |method: &str, all: &BTreeMap<String, String>| read_method(method, all, &none).unwrap_err().field;
    assert!(read_method("rfc2136", &fields(&key), &none).is_ok());
    for (name, value) in [
        ("server", "name"),
        ("server", ""),
        ("key_name", ""),
        ("key_name", "a\r\nb"),
        ("secret1", ""),
        ("secret1", "a\0b"),
        ("secret1", "two words"),
        ("zone", "a\nb"),
        ("ask", "1.2.3"),
        ("key_name", &"x".repeat(2000)),
    ] {
        assert_eq!(said("rfc2136", &with(name, value)), Some(name), "{value:?}");
    }
    assert_eq!(said("ovh", &fields(&[("secret1", "a"), ("secret3", "c")])), Some("secret2"));
    assert_eq!(said("powerdns", &fields(&[("server", "192.0.2.1"), ("secret1", "a")])), Some("server"));
    assert_eq!(said("nobody", &fields(&[])), None);
    // One that is kept needs not be typed again, but for another method.
    let kept = Method { method: "desec".into(), secret: true, ..Method::default() };
    assert!(read_method("desec", &fields(&[]), &kept).unwrap().secrets.is_empty());
    assert!(read_method("hetzner", &fields(&[]), &kept).is_err());
    assert_eq!(read_method("desec", &fields(&[("secret1", "new")]), &kept).unwrap().secrets, [Secret("new".into())]);
}

#[test]
fn r2_only_what_is_ticked_is_taken_over() {
    let wish = |all: &[(&str, &str)]| read_wish(&fields(all));
    let write = |seen| Some(Wish { write: true, seen: Some(seen), ..Wish::default() });
    assert_eq!(wish(&[("do", "push"), ("seen", "7")]), write(7));
    for nothing in [&[("do", "push")][..], &[("do", "push"), ("seen", "x")]] {
        assert_eq!(wish(nothing), write(0), "R3: what nobody was shown is not written");
    }
    let ticked = wish(&[("do", "push"), ("take-3", "a.test/MX"), ("take-4", "all")]).unwrap();
    assert_eq!(ticked.take_over, ["a.test/MX"]);
    assert_eq!(wish(&[("do", "plan"), ("take-3", "a.test/MX")]), Some(Wish::default()), "looking takes nothing over");
    assert!(wish(&[("do", "undo")]).unwrap().undo);
    assert_eq!(wish(&[("do", "all")]), None);
    assert_eq!(wish(&[]), None);
}

fn line(action: &str, done: Option<bool>) -> Line {
    let value = |ours| Value { kind: "MX".into(), priority: Some(10), value: "mail.a.test".into(), ttl: 60, ours };
    Line {
        name: "a.test".into(),
        kind: "MX".into(),
        action: action.into(),
        new: Some(value(true)),
        old: vec![value(false)],
        words: String::new(),
        take_over: (action == "conflict").then(|| "a.test/MX".to_owned()),
        done,
        fault: done.filter(|done| !done).map(|_| "powerdns has a fault of its own".to_owned()),
    }
}

fn shown(wish: Wish, lines: Vec<Line>) -> Panel {
    let to_write = lines.iter().filter(|line| !matches!(line.action.as_str(), "keep" | "conflict")).count();
    let difference = Difference {
        method: "powerdns".into(),
        to_write,
        done: lines.iter().filter(|line| line.done == Some(true)).count(),
        conflicts: lines.iter().filter(|line| line.action == "conflict").count(),
        faults: lines.iter().filter_map(|line| line.fault.clone()).take(1).collect(),
        lines,
        ..Difference::default()
    };
    let work = Work {
        id: 1,
        wish,
        begun: String::new(),
        ended: Some(String::new()),
        difference: Some(difference),
        failed: None,
    };
    let method = Method { method: "powerdns".into(), ready: true, ..Method::default() };
    Panel::of("a.test", "/x".into(), "/".into(), &Writing { method, undoable: true, work: Some(work) })
}

#[test]
fn what_would_be_done_and_what_was_is_told_in_one_headline() {
    let said = |wish: &Wish, lines: Vec<Line>| shown(wish.clone(), lines).shown.unwrap().headline;
    let (look, write) = (Wish::default(), Wish { write: true, ..Wish::default() });
    let back = Wish { write: true, undo: true, ..Wish::default() };
    assert_eq!(said(&look, vec![line("add", None), line("change", None), line("keep", None)]), "2 records to write.");
    assert_eq!(said(&look, vec![line("keep", None)]), "Every record is there already.");
    assert_eq!(said(&look, vec![line("conflict", None)]), "Something else is in the way.");
    assert_eq!(said(&write, vec![line("add", Some(true)), line("add", Some(true))]), "All 2 records are written.");
    assert_eq!(said(&write, vec![line("add", Some(true)), line("add", Some(false))]), "1 of 2 records are written.");
    assert_eq!(said(&write, vec![line("add", Some(false))]), "Nothing was written.");
    assert_eq!(said(&back, vec![line("remove", Some(true))]), "The record is put back.");
    let failed = shown(write, vec![line("add", Some(false))]).shown.unwrap();
    assert_eq!((failed.words.concat(), failed.rows[0].words.as_str()), ("PowerDNS has a fault of its own.".into(), ""));
    let ticks = shown(look, (0..30).map(|_| line("conflict", None)).collect()).shown.unwrap();
    assert_eq!(ticks.conflicts.iter().filter(|row| row.tick.is_some()).count(), 20, "a form has no room for more");
}

#[test]
fn sentences_begin_and_end_as_sentences_do() {
    assert_eq!(
        sentence("powerdns does not know this domain: why?", "powerdns"),
        "PowerDNS does not know this domain: why?"
    );
    assert_eq!(
        sentence("desec cannot be reached. Is the internet reached, and does desec say so", "desec"),
        "deSEC cannot be reached. Is the internet reached, and does deSEC say so."
    );
    assert_eq!(sentence("the name server x", "rfc2136"), "The name server x.");
    assert_eq!(sentence("192.0.2.1:53 cannot be asked", "rfc2136"), "192.0.2.1:53 cannot be asked.");
}
