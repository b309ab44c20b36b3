//! The whole machine, driven as pages and command line drive it, against a host made of paper.

use std::sync::Mutex;

use super::*;
use crate::appliance::writing::{Wish, Work, Writing};
use crate::base::{ManualClock, SeededRandom, Time};

/// 2026-11-26T12:00:00Z
const NOON: i64 = 1_795_694_400;

/// What the paper host knows; the rest of the world stands still.
#[derive(Default)]
struct Paper {
    kept: Mutex<Option<Vec<u8>>>,
    /// From the n-th keep on, the disk fails.
    full: Mutex<bool>,
    household: Mutex<Option<(String, String)>>,
    facts: Mutex<Option<Facts>>,
    phrase: Mutex<String>,
    mail_at: Mutex<Vec<String>>,
    jobs: Mutex<Vec<String>>,
    answer_long: Mutex<Option<Outcome>>,
    /// The words that open the backups, and why others cannot take their place.
    sealed: Mutex<String>,
    no_drawer: Mutex<Option<String>>,
}

impl Host for std::sync::Arc<Paper> {
    fn keep(&self, saved: &Saved) -> Result<(), String> {
        if *self.full.lock().unwrap() {
            return Err("the disk is full".to_owned());
        }
        *self.kept.lock().unwrap() = Some(saved.write());
        Ok(())
    }

    fn facts(&self) -> Facts {
        self.facts.lock().unwrap().clone().unwrap_or_else(|| {
            let mut facts = Facts::at(Time::from_seconds(NOON));
            facts.addresses.push("192.168.20.5".parse().unwrap());
            facts
        })
    }

    fn run(&self, job: &Job) -> Outcome {
        let word = format!("{job:?}");
        self.jobs.lock().unwrap().push(word.split([' ', '{']).next().unwrap_or("").to_owned());
        let mut household = self.household.lock().unwrap();
        match job {
            Job::Found { local, phrase, .. } => {
                if phrase.0 == "password" {
                    return Outcome::Refused("this password cannot be used: it is common.".to_owned());
                }
                let address = format!("{local}@{HOME}");
                *self.phrase.lock().unwrap() = phrase.0.clone();
                *household = Some((format!("homepost.{HOME}"), address.clone()));
                Outcome::Founded { address }
            }
            Job::Check { phrase } => Outcome::Checked(*self.phrase.lock().unwrap() == phrase.0),
            Job::Change { phrase } => {
                *self.phrase.lock().unwrap() = phrase.0.clone();
                Outcome::Changed
            }
            Job::LookUp { .. } => Outcome::Existing(Existing { mail: self.mail_at.lock().unwrap().clone() }),
            Job::Name { domain, host } => {
                let local =
                    household.as_ref().and_then(|(_, address)| address.split('@').next().map(str::to_owned)).unwrap();
                let address = format!("{local}@{domain}");
                *household = Some((format!("{host}.{domain}"), address.clone()));
                Outcome::Named { address }
            }
            Job::House => Outcome::Named { address: household.clone().unwrap().1 },
            Job::Person { local, .. } => {
                let domain =
                    household.as_ref().map(|(_, address)| address.split('@').nth(1).unwrap().to_owned()).unwrap();
                Outcome::Added { address: format!("{local}@{domain}"), phrase: Secret("otter-lamp".to_owned()) }
            }
            Job::Seal { words } => match self.no_drawer.lock().unwrap().clone() {
                Some(why) => Outcome::Failed { why, next: "Please try again.".to_owned() },
                None => {
                    *self.sealed.lock().unwrap() = words.0.clone();
                    Outcome::Sealed
                }
            },
            Job::Relay { .. } => Outcome::Relayed,
            Job::Letter { .. } => Outcome::Posted { mark: "homepost-trial-1".to_owned(), at: Time::from_seconds(NOON) },
            Job::Authority { .. } if self.answer_long.lock().unwrap().is_none() => Outcome::Asked,
            _ => self.answer_long.lock().unwrap().clone().unwrap_or(Outcome::NotYet("not built yet".to_owned())),
        }
    }

    fn household(&self) -> Option<(String, String)> {
        self.household.lock().unwrap().clone()
    }
}

struct Table {
    paper: std::sync::Arc<Paper>,
    clock: std::sync::Arc<ManualClock>,
    desk: Desk<std::sync::Arc<Paper>>,
}

impl Table {
    fn new() -> Table {
        Table::at(std::sync::Arc::default(), 1)
    }

    fn at(paper: std::sync::Arc<Paper>, seed: u64) -> Table {
        let clock = std::sync::Arc::new(ManualClock::at(Time::from_seconds(NOON)));
        let kept = paper.kept.lock().unwrap().as_ref().map(|bytes| Saved::read(bytes).unwrap());
        let random = std::sync::Arc::new(SeededRandom::new(seed));
        let desk = Desk::open(paper.clone(), kept, clock.clone(), random).unwrap();
        Table { paper, clock, desk }
    }

    /// As after a power cut: only what was kept is left.
    fn cut(self) -> Table {
        Table::at(self.paper.clone(), 2)
    }

    fn code(&self) -> String {
        self.desk.saved().code.shown()
    }

    fn facts(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.paper.facts();
        change(&mut facts);
        *self.paper.facts.lock().unwrap() = Some(facts);
    }

    fn work(&self) {
        for job in self.desk.due() {
            self.desk.run(&job);
        }
    }

    fn state(&self, step: Step) -> String {
        match self.desk.look(None).state(step) {
            State::Done(said) => format!("done {}", said.clone().unwrap_or_default()).trim().to_owned(),
            State::Waiting { on, .. } => format!("waits for {on}"),
            State::NeedsYou => "needs you".to_owned(),
            State::Failed { why, next } => format!("failed: {why} {next}"),
        }
    }

    fn founded(&self) -> Token {
        let token = self.desk.code(&self.code()).unwrap();
        self.desk.say(Some(token.text()), &you()).unwrap().token.unwrap()
    }
}

fn you() -> Answer {
    Answer::You { name: "Anna Smith".into(), local: "anna".into(), phrase: Secret("river oak lantern moon".into()) }
}

fn domain(name: &str) -> Answer {
    Answer::Domain { name: name.into(), host: "mail".into(), take_over: false }
}

/// Every answer of a whole set-up, in order, as the console can give them.
fn answers(table: &Table) -> Vec<Answer> {
    let sheet = |table: &Table| {
        let wizard = table.desk.wizard_for_tests();
        let (words, (first, second)) = wizard.sheet().map(|(words, asked)| (words.to_vec(), asked)).unwrap_or_default();
        (words.get(first).unwrap_or(&"").to_string(), words.get(second).unwrap_or(&"").to_string())
    };
    let (first, second) = sheet(table);
    vec![
        Answer::Language { language: "en".into(), zone: "Europe/Berlin".into() },
        Answer::Origin(Origin::New),
        you(),
        Answer::Sheet { first, second },
        Answer::Again(Step::Line),
        domain("smith.example"),
        Answer::Person { name: "Ben".into(), local: "ben".into(), phrase: Secret::default() },
        Answer::Finish,
    ]
}

#[test]
fn the_whole_way_from_nothing_to_done() {
    let table = Table::new();
    assert_eq!(table.desk.look(None).step, Step::Language);
    let language = Answer::Language { language: "en".into(), zone: "Europe/Berlin".into() };
    table.desk.say(None, &language).unwrap();
    assert_eq!(table.desk.look(None).step, Step::Code);
    let token = table.desk.code(&table.code().to_lowercase()).unwrap();
    let view = table.desk.look(Some(token.text()));
    assert_eq!((view.who, view.step), (Who::AtTheBox, Step::Origin));
    table.desk.say(Some(token.text()), &Answer::Origin(Origin::New)).unwrap();
    assert_eq!(table.state(Step::Network), "done");
    let admin = table.desk.say(Some(token.text()), &you()).unwrap().token.unwrap();
    assert_eq!(table.desk.who(Some(admin.text())), Who::Administrator);
    let view = table.desk.look(Some(admin.text()));
    let (words, (first, second)) = view.sheet.clone().unwrap();
    assert_eq!((words.len(), view.step), (10, Step::You));
    assert!(first < second && second < 10);
    let typed = Answer::Sheet { first: words[first].to_uppercase(), second: format!(" {} ", words[second]) };
    table.desk.say(Some(admin.text()), &typed).unwrap();
    assert_eq!(table.state(Step::You), "done anna@home.arpa");
    table.desk.say(Some(admin.text()), &domain("Smith.Example.")).unwrap();
    assert_eq!(table.state(Step::Domain), "done smith.example");
    assert_eq!(table.state(Step::You), "done anna@smith.example");
    let said = table
        .desk
        .say(Some(admin.text()), &Answer::Person { name: "Ben".into(), local: "Ben".into(), phrase: Secret::default() })
        .unwrap();
    assert_eq!(said.phrase, Some(("ben@smith.example".to_owned(), Secret("otter-lamp".to_owned()))));
    assert_eq!(table.state(Step::Letter), "waits for a letter to you");
    table.facts(|facts| facts.letters = 1);
    table.work();
    assert_eq!(table.state(Step::Letter), "done");
    table.desk.say(Some(admin.text()), &Answer::Finish).unwrap();
    assert!(table.desk.saved().finished);
    let late = table.desk.say(Some(admin.text()), &Answer::HouseOnly).unwrap_err();
    assert!(late.words.contains("finished"), "{late:?}");
}

#[test]
fn the_words_open_the_backups_when_they_are_confirmed_and_the_old_ones_until_then() {
    let table = Table::new();
    let token = table.founded();
    let sheet = || table.desk.look(Some(token.text())).sheet.unwrap();
    let typed = |(words, (first, second)): &(Vec<&'static str>, (usize, usize))| Answer::Sheet {
        first: words[*first].to_owned(),
        second: words[*second].to_owned(),
    };
    let known = |words: &[&str]| {
        let admin = table.desk.saved().admin.unwrap();
        admin.sheet == crate::appliance::words::sheet_hash(&words.join(" ")).to_hex().as_str()
    };
    let first = sheet();
    let wrong = Answer::Sheet { first: "zebra crossing".into(), second: "x".into() };
    table.desk.say(Some(token.text()), &wrong).unwrap_err();
    assert_eq!(*table.paper.sealed.lock().unwrap(), "", "nobody has them yet");
    assert!(known(&first.0), "who has copied them and then lost the page can still sign in");

    // What cannot be done does not count, and the words are still there to be typed.
    *table.paper.no_drawer.lock().unwrap() = Some("the disk is full".to_owned());
    let refusal = table.desk.say(Some(token.text()), &typed(&first)).unwrap_err();
    assert!(refusal.words.contains("disk is full"), "{refusal:?}");
    assert_eq!((table.state(Step::You), sheet()), ("needs you".to_owned(), first.clone()));
    *table.paper.no_drawer.lock().unwrap() = None;
    table.desk.say(Some(token.text()), &typed(&first)).unwrap();
    assert_eq!(*table.paper.sealed.lock().unwrap(), first.0.join(" "));
    let kept = String::from_utf8(table.paper.kept.lock().unwrap().clone().unwrap()).unwrap();
    assert!(!kept.contains(&first.0.join(" ")), "W5");

    // A new sheet that nobody has copied changes nothing, also not after a cut.
    table.desk.say(Some(token.text()), &Answer::NewSheet).unwrap();
    let second = sheet();
    assert_ne!(first.0, second.0);
    assert!(known(&first.0) && table.state(Step::You).starts_with("done"));
    assert_eq!(*table.paper.sealed.lock().unwrap(), first.0.join(" "));
    table.desk.say(Some(token.text()), &typed(&second)).unwrap();
    assert!(known(&second.0));
    assert_eq!(*table.paper.sealed.lock().unwrap(), second.0.join(" "));
}

#[test]
fn a_power_cut_behind_every_answer_loses_none_of_them() {
    for stop in 0..8 {
        let mut table = Table::new();
        for at in 0..8 {
            let answer = answers(&table).remove(at);
            match table.desk.console(&answer) {
                Ok(_) => {}
                // The sheet was on paper or was not: after a cut a new one is made.
                Err(_) if matches!(answer, Answer::Sheet { .. }) => {
                    table.desk.console(&Answer::NewSheet).unwrap();
                    let again = answers(&table).remove(at);
                    table.desk.console(&again).unwrap();
                }
                Err(refusal) => panic!("{answer:?}: {refusal:?}"),
            }
            if at == stop {
                let before = table.desk.saved();
                table = table.cut();
                assert_eq!(table.desk.saved(), before, "cut behind answer {stop}");
            }
        }
        let saved = table.desk.saved();
        assert!(saved.finished && saved.admin.as_ref().is_some_and(|admin| admin.confirmed));
        assert_eq!(saved.people.len(), 1);
        assert_eq!(saved.domain, Some(Domain::Own { name: "smith.example".into(), host: "mail".into() }));
    }
}

#[test]
fn a_power_cut_between_a_job_and_its_keeping_is_found_out() {
    let table = Table::new();
    let token = table.desk.code(&table.code()).unwrap();
    *table.paper.full.lock().unwrap() = true;
    let refusal = table.desk.say(Some(token.text()), &you()).unwrap_err();
    assert!(refusal.words.contains("could not be kept"), "{refusal:?}");
    assert!(table.desk.saved().admin.is_none(), "W2");
    *table.paper.full.lock().unwrap() = false;
    let table = table.cut();
    let admin = table.desk.saved().admin.unwrap();
    assert_eq!((admin.address.as_str(), admin.confirmed), ("anna@home.arpa", false));
    assert_eq!(table.desk.look(None).step, Step::Language, "which was not asked yet");
    assert!(table.desk.code(&table.code()).is_err(), "W1 holds after the cut as well");
    let token = table.desk.sign_in(&Secret("river oak lantern moon".into())).unwrap();
    table.desk.say(Some(token.text()), &Answer::NewSheet).unwrap();
    assert!(table.desk.look(Some(token.text())).sheet.is_some());
}

#[test]
fn a_folder_that_somebody_else_set_up_is_finished() {
    let table = Table::new();
    *table.paper.household.lock().unwrap() = Some(("mail.example.test".into(), "alice@example.test".into()));
    table.desk.adopt();
    assert!(table.desk.saved().finished);
}

#[test]
fn after_the_administrator_the_code_opens_nothing() {
    let table = Table::new();
    let one = table.desk.code(&table.code()).unwrap();
    let two = table.desk.code(&table.code()).unwrap();
    let admin = table.desk.say(Some(one.text()), &you()).unwrap().token.unwrap();
    for old in [&one, &two] {
        assert_eq!(table.desk.who(Some(old.text())), Who::Stranger);
        let refusal = table.desk.say(Some(old.text()), &domain("evil.example")).unwrap_err();
        assert!(refusal.words.contains("sign in"), "{refusal:?}");
    }
    let refusal = table.desk.say(Some(two.text()), &you()).unwrap_err();
    assert!(refusal.words.contains("sign in"), "{refusal:?}");
    assert!(table.desk.code(&table.code()).unwrap_err().words.contains("opens nothing"));
    assert_eq!(table.desk.who(Some(admin.text())), Who::Administrator);
    let language = Answer::Language { language: "en".into(), zone: "UTC".into() };
    assert!(table.desk.say(None, &language).is_err(), "a stranger changes nothing any more");
    assert!(table.desk.look(None).sheet.is_none(), "the sheet is shown to nobody else");
}

#[test]
fn two_browsers_at_once_are_one_conversation() {
    let table = Table::new();
    let (one, two) = (table.desk.code(&table.code()).unwrap(), table.desk.code(&table.code()).unwrap());
    table.desk.say(Some(one.text()), &Answer::Origin(Origin::New)).unwrap();
    assert_eq!(table.desk.look(Some(two.text())).saved.origin, Some(Origin::New), "the other one sees it");
    let admin = table.desk.say(Some(two.text()), &you()).unwrap().token.unwrap();
    let again = table.desk.sign_in(&Secret("river oak lantern moon".into())).unwrap();
    table.desk.say(Some(admin.text()), &domain("smith.example")).unwrap();
    table.desk.say(Some(again.text()), &domain("smith2.example")).unwrap();
    assert_eq!(table.state(Step::Domain), "done smith2.example", "the last word counts, and both see it");
}

#[test]
fn the_code_tried_wrong_fifty_times() {
    let table = Table::new();
    let first = table.code();
    let mut pauses = Vec::new();
    for n in 1..=49u64 {
        let words = table.desk.code("AAAA-AAAA").unwrap_err().words;
        match n {
            1 => assert_eq!(words, "That is not the code on the screen. 4 tries left."),
            4 => assert_eq!(words, "That is not the code on the screen. 1 try left."),
            5 => assert_eq!(words, "That is not the code on the screen. The next try is possible in 30 seconds."),
            _ => {}
        }
        // W4: for everybody, and the right one too.
        let mut pause = 0;
        while n >= 5 && table.desk.code(&first).is_err_and(|refusal| refusal.words.starts_with("Too many")) {
            table.clock.advance_ms(30_000);
            pause += 30;
            if pause >= 900 || table.desk.saved().wrong != n as u32 {
                break;
            }
            if table.desk.wizard_for_tests().pause.left(crate::base::Clock::mono(&*table.clock)) == 0 {
                break;
            }
        }
        pauses.push(pause);
    }
    assert_eq!(&pauses[..11], [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900]);
    assert_eq!(table.code(), first);
    let words = table.desk.code("AAAA-AAAA").unwrap_err().words;
    assert!(words.contains("the code has changed"), "{words}");
    assert_ne!(table.code(), first);
    assert_eq!(table.desk.saved().changed, 1);
    table.clock.advance_ms(15 * 60_000);
    assert!(table.desk.code(&first).is_err());
    assert!(table.desk.code(&table.code()).is_ok());
}

#[test]
fn a_restart_is_no_way_round_the_pause() {
    let table = Table::new();
    for _ in 0..6 {
        drop(table.desk.code("AAAA-AAAA"));
        table.clock.advance_ms(30_000);
    }
    let wrong = table.desk.saved().wrong;
    assert_eq!(wrong, 6);
    let table = table.cut();
    assert_eq!(table.desk.saved().wrong, wrong);
    let words = table.desk.code(&table.code()).unwrap_err().words;
    assert_eq!(words, "Too many wrong tries. The next one is possible in 60 seconds.");
    table.clock.advance_ms(60_000);
    assert!(table.desk.code(&table.code()).is_ok());
    assert_eq!(table.desk.saved().wrong, 0);
}

#[test]
fn a_wrong_try_that_cannot_be_kept_counts_all_the_same() {
    let table = Table::new();
    *table.paper.full.lock().unwrap() = true;
    for _ in 0..5 {
        drop(table.desk.code("AAAA-AAAA"));
    }
    let words = table.desk.code(&table.code()).unwrap_err().words;
    assert!(words.starts_with("Too many wrong tries."), "{words}");
}

#[test]
fn somebody_added_twice_is_one_person_with_the_last_phrase() {
    let table = Table::new();
    let admin = table.founded();
    table.desk.say(Some(admin.text()), &Answer::HouseOnly).unwrap();
    let ben = Answer::Person { name: "Ben".into(), local: "ben".into(), phrase: Secret::default() };
    for _ in 0..2 {
        assert!(table.desk.say(Some(admin.text()), &ben).unwrap().phrase.is_some());
    }
    assert_eq!(table.desk.saved().people.len(), 1);
}

#[test]
fn wrong_pass_phrases_slow_down_and_never_lock_out() {
    let table = Table::new();
    table.founded();
    for _ in 0..30 {
        drop(table.desk.sign_in(&Secret("wrong".into())));
        table.clock.advance_ms(60_000);
    }
    assert!(table.desk.sign_in(&Secret("river oak lantern moon".into())).is_ok());
}

#[test]
fn the_recovery_sheet_gives_a_new_pass_phrase_and_ends_every_session() {
    let table = Table::new();
    let admin = table.founded();
    let (words, _) = table.desk.look(Some(admin.text())).sheet.unwrap();
    let table = table.cut();
    let new = Secret("another phrase of mine".into());
    assert!(table.desk.recover("not these words", &new).is_err());
    let session = table.desk.sign_in(&Secret("river oak lantern moon".into())).unwrap();
    let token = table.desk.recover(&words.join("  ").to_uppercase(), &new).unwrap();
    assert_eq!(table.desk.who(Some(token.text())), Who::Administrator);
    assert_eq!(table.desk.who(Some(session.text())), Who::Stranger);
    assert!(table.desk.sign_in(&new).is_ok());
    let kept = String::from_utf8(table.desk.saved().write()).unwrap();
    assert!(words.iter().filter(|word| kept.contains(&format!("\"{word}\""))).count() == 0, "only a hash is kept");
}

#[test]
fn without_internet_and_in_1970_everything_else_goes_on() {
    let table = Table::new();
    table.facts(|facts| {
        facts.now = Time::from_seconds(120);
        facts.clock = Clock::Unchecked;
        facts.internet = Internet::No;
    });
    let admin = table.founded();
    table.desk.say(Some(admin.text()), &Answer::Again(Step::Line)).unwrap();
    table.desk.say(Some(admin.text()), &domain("smith.example")).unwrap();
    table.desk.say(Some(admin.text()), &Answer::Again(Step::Certificate)).unwrap();
    assert_eq!(table.state(Step::Network), "waits for the internet");
    assert_eq!(table.state(Step::Line), "waits for the internet");
    assert_eq!(table.state(Step::Dns), "waits for the internet");
    assert_eq!(table.state(Step::Certificate), "waits for the clock");
    table
        .desk
        .say(Some(admin.text()), &Answer::Person { name: "Ben".into(), local: "ben".into(), phrase: Secret::default() })
        .unwrap();
    let due = table.desk.due();
    assert!(
        !due.contains(&Job::Line { before: None }) && !due.iter().any(|job| matches!(job, Job::Certificate { .. })),
        "{due:?}"
    );
    // It carries on by itself when both are there, also after a restart.
    let table = table.cut();
    table.facts(|facts| {
        facts.now = Time::from_seconds(NOON);
        facts.clock = Clock::Trusted;
        facts.internet = Internet::Yes;
    });
    let due = table.desk.due();
    assert!(
        due.contains(&Job::Line { before: None }) && due.iter().any(|job| matches!(job, Job::Certificate { .. })),
        "{due:?}"
    );
    assert_eq!(table.desk.due(), [], "each runs once");
}

#[test]
fn a_domain_that_gets_mail_elsewhere_is_not_taken_by_accident() {
    let table = Table::new();
    let admin = table.founded();
    *table.paper.mail_at.lock().unwrap() = vec!["aspmx.google.example.".into()];
    let refusal = table.desk.say(Some(admin.text()), &domain("smith.example")).unwrap_err();
    assert_eq!(refusal.field, Some("take_over"));
    assert!(refusal.words.starts_with("smith.example already gets mail at aspmx.google.example."), "{refusal:?}");
    assert!(table.desk.saved().domain.is_none());
    let yes = Answer::Domain { name: "smith.example".into(), host: "mail".into(), take_over: true };
    table.desk.say(Some(admin.text()), &yes).unwrap();
    // The same name again, when the record is already ours.
    *table.paper.mail_at.lock().unwrap() = vec!["MAIL.miller.example".into()];
    table.desk.say(Some(admin.text()), &domain("miller.example")).unwrap();
    assert_eq!(table.state(Step::Domain), "done miller.example");
}

#[test]
fn what_is_typed_wrong_is_said_beside_its_field() {
    let table = Table::new();
    let admin = table.founded();
    let no = |answer: &Answer| table.desk.say(Some(admin.text()), answer).unwrap_err();
    for name in [
        "",
        "smith",
        "a b.example",
        "smith_.example",
        "192.168.1.1",
        "home.arpa",
        "box.local",
        "smith..example",
        "a\r\nb.example",
    ] {
        assert_eq!(no(&domain(name)).field, Some("name"), "{name:?}");
    }
    for host in ["", "-a", "a.b", "ma il", "mail\0"] {
        let answer = Answer::Domain { name: "smith.example".into(), host: host.into(), take_over: false };
        assert_eq!(no(&answer).field, Some("host"), "{host:?}");
    }
    assert!(
        no(&Answer::Person { name: "Ben".into(), local: "ben".into(), phrase: Secret::default() })
            .words
            .contains("domain")
    );
    assert!(no(&Answer::Finish).words.contains("domain"));
    table.desk.say(Some(admin.text()), &Answer::HouseOnly).unwrap();
    for local in ["", "ben smith", "b@n", ".ben", "ben\n"] {
        assert_eq!(
            no(&Answer::Person { name: "Ben".into(), local: local.into(), phrase: Secret::default() }).field,
            Some("local"),
            "{local:?}"
        );
    }
    assert_eq!(
        no(&Answer::Person { name: "B\r\nen".into(), local: "ben".into(), phrase: Secret::default() }).field,
        Some("name")
    );
}

#[test]
fn a_pass_phrase_that_the_host_refuses_leaves_the_code_in_force() {
    let table = Table::new();
    let token = table.desk.code(&table.code()).unwrap();
    let weak = Answer::You { name: "Anna".into(), local: "anna".into(), phrase: Secret("password".into()) };
    let refusal = table.desk.say(Some(token.text()), &weak).unwrap_err();
    assert_eq!(
        (refusal.field, refusal.words.as_str()),
        (Some("phrase"), "This password cannot be used: it is common.")
    );
    assert_eq!(table.desk.who(Some(token.text())), Who::AtTheBox);
    assert!(table.desk.say(Some(token.text()), &you()).is_ok());
}

#[test]
fn records_are_looked_at_again_until_they_are_right() {
    let table = Table::new();
    let admin = table.founded();
    table.desk.say(Some(admin.text()), &domain("smith.example")).unwrap();
    let piece = |state| Piece {
        name: "@".into(),
        full_name: "smith.example.".into(),
        kind: "MX".into(),
        priority: Some(10),
        value: "mail.smith.example.".into(),
        parts: Vec::new(),
        purpose: String::new(),
        withheld: None,
        state,
    };
    let at = Time::from_seconds(NOON);
    let found = |state| Some(Outcome::Records { pieces: vec![piece(state)], at: Some(at), advice: Vec::new() });
    *table.paper.answer_long.lock().unwrap() = found(PieceState::NotYet { until: Some(NOON + 600) });
    table.work();
    assert_eq!(table.state(Step::Dns), "waits for your records");
    assert_eq!(table.desk.due(), [], "not at once");
    table.clock.advance_ms(30_000);
    *table.paper.answer_long.lock().unwrap() = found(PieceState::Different { found: "10 other.".into() });
    table.work();
    assert_eq!(table.state(Step::Dns), "needs you");
    table.clock.advance_ms(30_000);
    *table.paper.answer_long.lock().unwrap() = found(PieceState::Right);
    table.work();
    assert_eq!(table.state(Step::Dns), "done 1 of 1 right");
    table.clock.advance_ms(300_000);
    assert_eq!(table.desk.due(), [], "right is right");
    // What homepost wrote itself is looked at once more, when it is done and not before.
    let work = |ended: Option<&str>| {
        let wish = Wish { write: true, ..Wish::default() };
        let ended = ended.map(str::to_owned);
        let work = Work { id: 7, wish, begun: String::new(), ended, difference: None, failed: None };
        table.facts(|facts| facts.writing = Some(Writing { work: Some(work), ..Writing::default() }));
        let due = table.desk.due();
        due.iter().for_each(|job| table.desk.run(job));
        due.len()
    };
    assert_eq!((work(None), work(Some("")), work(Some(""))), (0, 1, 0), "once");
    // Another name begins anew.
    table.desk.say(Some(admin.text()), &domain("miller.example")).unwrap();
    assert_eq!(table.state(Step::Dns), "waits for the domain's name servers");
}

#[test]
fn what_failed_says_why_and_can_be_tried_again() {
    let table = Table::new();
    let admin = table.founded();
    table.desk.say(Some(admin.text()), &domain("smith.example")).unwrap();
    let why = Outcome::Failed { why: "port 80 is closed.".into(), next: "Open it in your router.".into() };
    *table.paper.answer_long.lock().unwrap() = Some(why);
    table.desk.say(Some(admin.text()), &Answer::Again(Step::Certificate)).unwrap();
    let on = || Some(Authority { on: true, ..Authority::default() });
    table.facts(|facts| facts.authority = on());
    assert_eq!(table.state(Step::Certificate), "waits for the authority", "from the moment it was asked for");
    table.work();
    assert_eq!(table.desk.saved().trouble[&Step::Certificate].why, "port 80 is closed.");
    assert_eq!(table.desk.saved().trouble[&Step::Certificate].times, 1);
    *table.paper.answer_long.lock().unwrap() = None;
    table.desk.say(Some(admin.text()), &Answer::Again(Step::Line)).unwrap();
    table.work();
    assert_eq!(table.state(Step::Line), "waits for a later version of homepost");
}

fn vouched(name: &str, state: Vouching) -> Vouched {
    Vouched { name: name.into(), state }
}

#[test]
fn an_authority_is_asked_when_its_terms_are_accepted_and_one_name_that_fails_hides_no_other() {
    let table = Table::new();
    let admin = table.founded();
    let accept = |accepted: bool, contact: &str| Answer::Authority { accepted, contact: contact.into() };
    let say = |answer: &Answer| table.desk.say(Some(admin.text()), answer);
    assert!(say(&accept(true, "")).unwrap_err().words.contains("domain"), "nothing to vouch for yet");
    say(&domain("smith.example")).unwrap();
    assert_eq!(say(&accept(false, "")).unwrap_err().field, Some("accepted"));
    assert_eq!(say(&accept(true, "a\r\nb")).unwrap_err().field, Some("contact"));
    assert!(!table.paper.jobs.lock().unwrap().contains(&"Authority".to_owned()), "nobody was asked");
    assert_eq!(table.state(Step::Certificate), "needs you");
    *table.paper.answer_long.lock().unwrap() = Some(Outcome::Asked);
    say(&accept(true, "anna@smith.example")).unwrap();
    let names = |states: Vec<Vouched>| {
        let authority = Authority { name: "Paper CA".into(), on: true, names: states, ..Authority::default() };
        table.facts(|facts| facts.authority = Some(authority));
        table.state(Step::Certificate)
    };
    let done =
        || vouched("mail.smith.example", Vouching::Done { issuer: "Paper".into(), until: Time::from_seconds(NOON) });
    let waiting = vouched("mta-sts.smith.example", Vouching::Waiting { why: String::new(), until: None });
    let needs = vouched("mta-sts.smith.example", Vouching::NeedsYou { why: "Port 80 is closed.".into(), again: None });
    assert_eq!(names(vec![done(), waiting]), "waits for the authority");
    assert_eq!(names(vec![done(), needs]), "needs you");
    assert_eq!(names(vec![done()]), "done Paper");
    table.facts(|facts| facts.clock = Clock::Unchecked);
    assert_eq!(table.state(Step::Certificate), "waits for the clock");
}

#[test]
fn a_letter_goes_out_to_an_address_elsewhere_and_what_became_of_it_is_kept() {
    let table = Table::new();
    let admin = table.founded();
    let send = |to: &str| table.desk.say(Some(admin.text()), &Answer::Letter { to: to.into() });
    assert!(send("aunt@elsewhere.test").unwrap_err().words.contains("domain"), "from where?");
    table.desk.say(Some(admin.text()), &domain("smith.example")).unwrap();
    for wrong in ["aunt", "", "aunt@", "a\r\nb@elsewhere.test", "ben@smith.example", "ben@SMITH.example"] {
        assert_eq!(send(wrong).unwrap_err().field, Some("to"), "{wrong:?}");
    }
    assert!(table.desk.say(None, &Answer::Letter { to: "aunt@elsewhere.test".into() }).is_err(), "W1");
    assert!(!table.paper.jobs.lock().unwrap().contains(&"Letter".to_owned()));
    send("aunt@elsewhere.test").unwrap();
    let out = table.desk.saved().out.unwrap();
    assert_eq!((out.to.as_str(), out.end.clone()), ("aunt@elsewhere.test", None));
    let end = End::Taken { host: "mx.elsewhere.test".into(), tls: true, said: "250 2.0.0 ok".into() };
    for mark in ["of another", &out.mark] {
        assert_eq!(table.desk.saved().out.unwrap().end, None, "{mark}");
        let going = Going { mark: mark.to_owned(), way: Way::Ended(end.clone()) };
        table.facts(|facts| facts.going = vec![going]);
        table.desk.due();
    }
    table.facts(|facts| facts.going.clear());
    let table = table.cut();
    assert_eq!(table.desk.saved().out.unwrap().end, Some(end));
    assert_eq!(table.state(Step::Letter), "waits for a letter to you", "one out is none in");
}

#[test]
fn the_first_version_of_the_state_is_read() {
    let text = include_str!("../../../tests/fixtures/setup/state-1.json");
    let saved = Saved::read(text.as_bytes()).unwrap();
    assert_eq!(saved.admin.as_ref().map(|admin| admin.address.as_str()), Some("anna@smith.example"));
    assert_eq!(Saved::read(&saved.write()), Ok(saved));
    assert!(Saved::read(b"").is_err());
    assert!(Saved::read(text.replace("\"version\": 1", "\"version\": 2").as_bytes()).is_err());
}

const FILE: &str = r#"time-zone = "Europe/Berlin"
domain = "smith.example"
admin = "anna"
name = "Anna Smith"
password = "river oak lantern moon"
relay = { host = "smtp.provider.example", user = "anna", password = "correct horse 7" }
certificate = { accept-terms = true, contact = "anna@elsewhere.example" }
[[family]]
name = "Ben"
address = "ben"
password = "otter lamp boat"
"#;

fn file(table: &Table, text: &str) -> Result<(), String> {
    read_file(text, &["en"]).and_then(|given| table.desk.file(&given))
}

/// Everything but what is made by chance, and what only somebody at the page can do: the sheet.
fn shape(table: &Table) -> Saved {
    let mut saved = table.desk.saved();
    saved.code = Code::new(&SeededRandom::new(9));
    saved.coded = true;
    if let Some(admin) = &mut saved.admin {
        admin.sheet.clear();
    }
    saved
}

#[test]
fn a_file_gives_the_state_that_the_pages_give_and_asks_the_world_the_same() {
    let (pages, from_file) = (Table::new(), Table::new());
    let token = pages.desk.code(&pages.code()).unwrap();
    let say = |token: &Token, answer: &Answer| pages.desk.say(Some(token.text()), answer).unwrap();
    say(&token, &Answer::Language { language: "en".into(), zone: "Europe/Berlin".into() });
    say(&token, &Answer::Origin(Origin::New));
    let admin = say(&token, &you()).token.unwrap();
    let relay = Relay { host: "smtp.provider.example".into(), port: 465, tls: "implicit".into(), ..Relay::default() };
    let relay = Relay { user: "anna".into(), ..relay };
    say(&admin, &Answer::Relay { relay, password: Secret("correct horse 7".into()) });
    say(&admin, &domain("smith.example"));
    say(&admin, &Answer::Authority { accepted: true, contact: "anna@elsewhere.example".into() });
    say(&admin, &Answer::Person { name: "Ben".into(), local: "ben".into(), phrase: Secret::default() });
    say(&admin, &Answer::Finish);
    assert_eq!(file(&from_file, &format!("language = \"en\"\n{FILE}")), Ok(()));
    assert_eq!(shape(&from_file), shape(&pages));
    assert_eq!(*from_file.paper.jobs.lock().unwrap(), *pages.paper.jobs.lock().unwrap());
    assert!(from_file.desk.saved().admin.unwrap().sheet.is_empty(), "nobody was shown a sheet");
}

#[test]
fn a_file_that_would_be_refused_somewhere_changes_nothing() {
    for (was, is, line, words) in [
        ("Europe/Berlin", "Europe/Nowhere", 1, "Choose a time zone"),
        ("smith.example", "smith", 2, "is not the name of a domain"),
        ("\"anna\"\nname", "\"an na\"\nname", 3, "letters, digits"),
        ("river oak lantern moon", "short", 5, "This password cannot be used"),
        ("smtp.provider.example", "smtp provider", 6, "not the name of a server"),
        ("user = \"anna\", ", "", 6, "A password belongs to a user name"),
        ("user = \"anna\"", "user = \"an na\"", 6, "A user name has no spaces"),
        ("user = \"anna\"", "spf = \"v=spf1 -all\", user = \"anna\"", 6, "no part of an SPF record"),
        ("anna@elsewhere.example", "anna at home", 7, "not a mail address"),
        ("accept-terms = true", "accept-terms = false", 7, "vouches for nobody"),
        ("\"Ben\"", "\"\"", 9, "Type a name"),
        ("otter lamp boat", "12345678", 11, "This password cannot be used"),
    ] {
        let table = Table::new();
        let before = table.desk.saved();
        let error = file(&table, &FILE.replacen(was, is, 1)).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(words), "{is}: {error}");
        assert_eq!((table.desk.saved(), table.paper.jobs.lock().unwrap().len()), (before, 0), "{is}");
        assert_eq!(file(&table, FILE), Ok(()), "put right, it is taken");
    }
}

/// Of a domain with mail elsewhere the way has to be said; what was taken before stays, and is not asked again.
#[test]
fn a_file_goes_on_where_it_was_refused_or_cut_off() {
    let table = Table::new();
    *table.paper.mail_at.lock().unwrap() = vec!["mx.elsewhere.example".to_owned()];
    let error = file(&table, FILE).unwrap_err();
    assert!(error.starts_with("line 2: ") && error.contains("already gets mail at mx.elsewhere.example"), "{error}");
    assert!(error.contains("existing-mail"), "{error}");
    assert!(table.desk.saved().admin.is_some() && table.desk.saved().domain.is_none());
    let table = table.cut();
    let moved = FILE.replacen("domain =", "existing-mail = \"move\"\ndomain =", 1);
    assert_eq!(file(&table, &moved), Ok(()));
    let founded = |table: &Table| table.paper.jobs.lock().unwrap().iter().filter(|job| *job == "Found").count();
    assert_eq!((founded(&table), table.desk.saved().finished), (1, true));

    // The password was what had to be put right: it is the one of now, or said to be none.
    let again = Table::new();
    *again.paper.mail_at.lock().unwrap() = vec!["mx.elsewhere.example".to_owned()];
    file(&again, FILE).unwrap_err();
    let error = file(&again, &moved.replacen("river oak lantern moon", "short", 1)).unwrap_err();
    assert!(error.starts_with("line 6: ") && error.contains("cannot be used"), "{error}");
    assert_eq!(
        (again.desk.saved().domain, again.paper.phrase.lock().unwrap().as_str()),
        (None, "river oak lantern moon")
    );
    assert_eq!(file(&again, &moved.replacen("river oak lantern moon", "another phrase of mine", 1)), Ok(()));
    assert_eq!(*again.paper.phrase.lock().unwrap(), "another phrase of mine");

    let other = Table::new();
    other.founded();
    let error = file(&other, &FILE.replacen("\"anna\"\nname", "\"eve\"\nname", 1)).unwrap_err();
    assert!(error.starts_with("line 3: ") && error.contains("is the administrator already"), "{error}");
}

/// W3: what the file cannot say waits as it does on the pages, and keeps nothing else.
#[test]
fn a_file_is_taken_without_the_time_and_without_the_internet() {
    let table = Table::new();
    table.facts(|facts| {
        facts.clock = Clock::Unchecked;
        facts.internet = Internet::No;
        facts.authority = Some(Authority { on: true, ..Authority::default() });
    });
    assert_eq!(file(&table, FILE), Ok(()));
    assert_eq!(table.state(Step::Certificate), "waits for the clock");
    assert_eq!(table.state(Step::Dns), "waits for the internet");
    assert_eq!(table.state(Step::Family), "done 1 person");
}
