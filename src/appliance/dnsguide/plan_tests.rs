//! Plans: what comes, what goes, and what is never touched.

use proptest::prelude::*;

use super::tests::facts;
use super::*;
use crate::net::dns::{Answer, Answers, Change, Found};

const DOMAIN: &str = "example.test";

fn txt(text: &str) -> Data {
    Data::Txt(text.into())
}

fn found(name: &str, data: Data) -> Found {
    Found { name: name.into(), ttl: 300, data }
}

fn want(name: &str, data: Data) -> Record {
    let (kind, purpose) = (data.kind(), String::new());
    Record { name: name.into(), kind, data: Some(data), ttl: 3600, purpose, withheld: None }
}

fn entry(name: &str, data: Data) -> Entry {
    Entry { name: name.into(), data, ttl: 3600 }
}

fn ours(all: &[(&str, Data)]) -> Memory {
    Memory { ours: all.iter().map(|(name, data)| entry(name, data.clone())).collect(), ..Memory::default() }
}

/// The answers of one server that has these records, wildcards and all.
fn answers(wants: &[Record], memory: &Memory, zone: &[Found]) -> Answers {
    let wanted = wants.iter().map(|record| (record.name.as_str(), record.kind));
    let known = memory.ours.iter().map(|entry| (entry.name.as_str(), entry.data.kind()));
    let step = memory.step.iter().flat_map(|step| step.added.iter().chain(&step.removed));
    let step = step.map(|piece| (piece.entry.name.as_str(), piece.entry.data.kind()));
    let mut out = Answers::new();
    for (name, kind) in look_for(DOMAIN, wanted.chain(known).chain(step)) {
        let fits = |found: &Found| found.data.kind() == kind || found.data.kind() == Kind::Cname;
        let mut records: Vec<Found> = zone.iter().filter(|found| found.name == name && fits(found)).cloned().collect();
        if !zone.iter().any(|found| found.name == name) {
            let wild = format!("*.{}", name.split_once('.').unwrap().1);
            let wild = zone.iter().filter(|found| found.name == wild && fits(found));
            records.extend(wild.map(|found| Found { name: name.clone(), ..found.clone() }));
        }
        out.insert((name, kind), vec![Ok(Answer { records, negative_ttl: None })]);
    }
    out
}

fn there(wants: &[Record], memory: &Memory, zone: &[Found]) -> There {
    let known = |name: &str, data: &Data| {
        wants.iter().any(|record| record.name == name && record.data.as_ref() == Some(data))
            || memory.ours.iter().any(|entry| entry.name == name && entry.data == *data)
    };
    There::from(&answers(wants, memory, zone), known).unwrap()
}

fn made(wants: &[Record], memory: &Memory, zone: &[Found], take: &[&str]) -> Plan {
    let take: Vec<String> = take.iter().map(|one| (*one).to_owned()).collect();
    plan(DOMAIN, wants, memory, &there(wants, memory, zone), &TakeOver::new(&take))
}

fn actions(plan: &Plan) -> Vec<(&'static str, String)> {
    plan.lines.iter().map(|line| (line.action.as_str(), line.handle())).collect()
}

/// What a name server has after the changes.
fn done(zone: &[Found], changes: &[Change]) -> Vec<Found> {
    let mut out = zone.to_vec();
    for change in changes {
        out.retain(|found| found.name != change.name || !change.remove.contains(&found.data));
    }
    for change in changes {
        let come =
            change.add.iter().map(|data| Found { name: change.name.clone(), ttl: change.ttl, data: data.clone() });
        out.extend(come);
    }
    out
}

#[test]
fn an_empty_zone_gets_everything_and_then_there_is_nothing_to_do() {
    let wants = records(&facts()).unwrap();
    let memory = Memory::default();
    let first = made(&wants, &memory, &[], &[]);
    assert!(first.lines.iter().all(|line| line.action == Action::Add));
    let kinds: Vec<Kind> = first.changes().iter().map(|change| change.kind).collect();
    assert_eq!(kinds[..3], [Kind::A, Kind::Aaaa, Kind::Mx], "an address before the mail");
    let zone = done(&[], &first.changes());
    let memory = memory.after(&first.step(), |_| Went::Done);
    let second = made(&wants, &memory, &zone, &[]);
    assert!(second.is_done() && second.lines.len() == first.lines.len(), "{:?}", actions(&second));
    let back = undo(&memory, &there(&wants, &memory, &zone), &TakeOver::default());
    assert_eq!(back.changes().last().unwrap().kind, Kind::Aaaa);
    assert_eq!(done(&zone, &back.changes()), []);
}

#[test]
fn texts_of_others_stay_beside_ours_and_keep_their_ttl() {
    let wants = [want(DOMAIN, txt("v=spf1 mx -all"))];
    let zone = [found(DOMAIN, txt("google-site-verification=x"))];
    let plan = made(&wants, &Memory::default(), &zone, &[]);
    let expected = Change {
        name: DOMAIN.into(),
        kind: Kind::Txt,
        before: Some(vec![txt("google-site-verification=x")]),
        remove: vec![],
        add: vec![txt("v=spf1 mx -all")],
        ttl: 300,
    };
    assert_eq!(plan.changes(), [expected]);
}

#[test]
fn what_is_not_ours_is_a_conflict_until_it_is_taken_over_and_comes_back_with_an_undo() {
    let wants = [
        want(DOMAIN, Data::Mx { priority: 10, host: "mail.example.test".into() }),
        want(DOMAIN, txt("v=spf1 mx -all")),
        want("_dmarc.example.test", txt("v=DMARC1; p=none; rua=mailto:postmaster@example.test")),
        want("mta-sts.example.test", Data::Cname("mail.example.test".into())),
    ];
    let zone = [
        found(DOMAIN, Data::Mx { priority: 1, host: "aspmx.l.google.com".into() }),
        found(DOMAIN, txt("v=spf1 include:_spf.google.com ~all")),
        found("_dmarc.example.test", txt("v=DMARC1; p=reject")),
        found("mta-sts.example.test", Data::A([192, 0, 2, 7].into())),
    ];
    let memory = Memory::default();
    let plain = made(&wants, &memory, &zone, &[]);
    assert!(plain.is_done() && plain.conflicts().count() == 4, "{:?}", actions(&plain));
    for (line, part) in plain.lines.iter().zip(["aspmx", "SPF", "DMARC", "no alias"]) {
        assert!(line.words.contains(part) && line.words.ends_with("leaves it alone"), "{}", line.words);
    }
    let one = made(&wants, &memory, &zone, &["Example.test/mx"]);
    assert_eq!(one.step().removed.len(), 1);
    let all = made(&wants, &memory, &zone, &["all"]);
    assert!(all.lines.iter().all(|line| line.action == Action::Change));
    let after = memory.after(&all.step(), |_| Went::Done);
    let there_now = there(&wants, &after, &done(&zone, &all.changes()));
    let back = undo(&after, &there_now, &TakeOver::default());
    let mut restored = done(&done(&zone, &all.changes()), &back.changes());
    restored.sort_by_key(|found| (found.name.clone(), found.data.clone()));
    let mut before = zone.to_vec();
    before.sort_by_key(|found| (found.name.clone(), found.data.clone()));
    assert_eq!(restored, before);
}

#[test]
fn ours_that_changed_is_changed_and_ours_that_is_not_wanted_goes() {
    let memory = ours(&[
        ("_mta-sts.example.test", txt("v=STSv1; id=1")),
        ("202601e._domainkey.example.test", txt("v=DKIM1; k=ed25519; p=old")),
    ]);
    let wants = [want("_mta-sts.example.test", txt("v=STSv1; id=2"))];
    let zone: Vec<Found> = memory.ours.iter().map(|entry| found(&entry.name, entry.data.clone())).collect();
    let plan = made(&wants, &memory, &zone, &[]);
    assert_eq!(
        actions(&plan),
        [("change", "_mta-sts.example.test/TXT".into()), ("remove", "202601e._domainkey.example.test/TXT".into())]
    );
    assert_eq!(plan.step().removed.len(), 2);
}

#[test]
fn two_addresses_take_the_place_of_one_and_an_unknown_address_takes_nothing_away() {
    let host = "mail.example.test";
    let at = |n| Data::A([192, 0, 2, n].into());
    let memory = ours(&[(host, at(1)), (host, Data::Aaaa("2001:db8::1".parse().unwrap()))]);
    let zone: Vec<Found> = memory.ours.iter().map(|entry| found(&entry.name, entry.data.clone())).collect();
    let wants = [want(host, at(2)), want(host, at(3))];
    let plan = made(&wants, &memory, &zone, &[]);
    assert_eq!(plan.changes()[0].remove, [at(1)]);
    assert_eq!(plan.changes()[0].add, [at(2), at(3)]);
    let unknown = Record { data: None, ..want(host, at(1)) };
    assert!(made(&[unknown], &memory, &zone, &[]).lines.is_empty());
}

#[test]
fn a_record_that_must_not_be_published_any_more_goes() {
    let tlsa = Data::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![1] };
    let name = "_25._tcp.mail.example.test";
    let memory = ours(&[(name, tlsa.clone())]);
    let held = Record { withheld: Some("the key changes".into()), ..want(name, tlsa.clone()) };
    let plan = made(&[held], &memory, &[found(name, tlsa)], &[]);
    assert_eq!(actions(&plan), [("remove", format!("{name}/TLSA"))]);
}

#[test]
fn a_wildcard_is_not_in_the_way() {
    let zone = [found("*.example.test", Data::Cname("parking.test".into()))];
    let wants = [
        want("mta-sts.example.test", Data::Cname("mail.example.test".into())),
        want("_dmarc.example.test", txt("v=DMARC1; p=none")),
    ];
    let plan = made(&wants, &Memory::default(), &zone, &[]);
    assert!(plan.lines.iter().all(|line| line.action == Action::Add), "{:?}", actions(&plan));
    assert_eq!(plan.changes()[0].before, Some(vec![]));
}

#[test]
fn an_alias_of_somebody_else_is_in_the_way_of_a_text_and_goes_only_when_it_is_taken_over() {
    let name = "_dmarc.example.test";
    let (wants, zone) =
        ([want(name, txt("v=DMARC1; p=none"))], [found(name, Data::Cname("dmarc.provider.test".into()))]);
    let plain = made(&wants, &Memory::default(), &zone, &[]);
    assert!(
        plain.is_done() && plain.lines[0].words.contains("is an alias of dmarc.provider.test."),
        "{:?}",
        plain.lines
    );
    let taken = made(&wants, &Memory::default(), &zone, &["_dmarc.example.test/TXT"]);
    let [gone, come] = &taken.changes()[..] else { panic!("{:?}", taken.changes()) };
    assert_eq!((gone.kind, &gone.remove[..]), (Kind::Cname, &[zone[0].data.clone()][..]));
    assert_eq!((come.kind, come.before.as_deref(), come.add.len()), (Kind::Txt, Some(&[][..]), 1));
}

#[test]
fn where_nobody_answers_there_is_no_plan() {
    let mut answers = Answers::new();
    answers.insert((DOMAIN.into(), Kind::Mx), vec![Err("it does not answer".into())]);
    assert_eq!(There::from(&answers, |_, _| false).unwrap_err(), "it does not answer");
}

fn any_data() -> impl Strategy<Value = Data> {
    prop_oneof![
        (0..3_u8).prop_map(|n| Data::A([192, 0, 2, n].into())),
        (0..2_u8).prop_map(|n| Data::Cname(format!("h{n}.example.test"))),
        (0..2_u8).prop_map(|n| Data::Mx { priority: 10, host: format!("h{n}.example.test") }),
        (0..3_u8).prop_map(|n| txt(&format!("v=spf1 {n}"))),
        (0..2_u8).prop_map(|n| txt(&format!("verification={n}"))),
        (0..2_u8).prop_map(|n| Data::Caa { flags: 0, tag: "issue".into(), value: format!("ca{n}") }),
    ]
}

fn any_place() -> impl Strategy<Value = (String, Data)> {
    (prop_oneof![Just(DOMAIN.to_owned()), Just("a.example.test".to_owned())], any_data())
}

proptest! {
    /// G4, and an undo brings back exactly what was there.
    #[test]
    fn nothing_of_others_ever_goes(
        zone in proptest::collection::vec(any_place(), 0..8),
        mine in proptest::collection::vec(any_place(), 0..4),
        wants in proptest::collection::vec(any_place(), 0..5),
    ) {
        let mut all: Vec<Found> = zone.into_iter().map(|(name, data)| found(&name, data)).collect();
        all.sort_by_key(|found| (found.name.clone(), found.data.clone()));
        all.dedup();
        let mine: Vec<Entry> = mine.into_iter().map(|(name, data)| entry(&name, data)).collect();
        let memory = Memory { ours: mine, ..Memory::default() };
        let mut wants: Vec<Record> = wants.into_iter().map(|(name, data)| want(&name, data)).collect();
        wants.sort_by_key(|record| (record.name.clone(), record.data.clone()));
        wants.dedup();
        let plan = made(&wants, &memory, &all, &[]);
        for change in plan.changes() {
            for data in &change.remove {
                prop_assert!(memory.ours.iter().any(|entry| entry.name == change.name && entry.data == *data), "{change:?}");
                prop_assert!(all.iter().any(|found| found.name == change.name && found.data == *data));
            }
            for data in &change.add {
                prop_assert!(!all.iter().any(|found| found.name == change.name && found.data == *data));
            }
        }
        let after = memory.after(&plan.step(), |_| Went::Done);
        if after.step.is_some() {
            let now = done(&all, &plan.changes());
            let back = undo(&after, &there(&[], &after, &now), &TakeOver::default());
            let mut restored = done(&now, &back.changes());
            restored.sort_by_key(|found| (found.name.clone(), found.data.clone()));
            let bare = |all: &[Found]| all.iter().map(|found| (found.name.clone(), found.data.clone())).collect::<Vec<_>>();
            // Where two that are wanted cannot stand beside each other, the zone was no zone.
            if back.conflicts().count() == 0 {
                prop_assert_eq!(bare(&restored), bare(&all));
            }
        }
    }
}
