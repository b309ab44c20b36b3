//! The pages against a desk made of paper: who sees what, and what is refused.

use std::sync::{Arc, Mutex};

use super::*;
use crate::appliance::wizard::{
    Desk, Existing, Facts, HOME, Host, Job, Offer, Offered, Outcome, PuttingBack, Saved, Secret, Step, Who,
};
use crate::base::{ManualClock, SeededRandom, Time};
use crate::web::language::{built_in, missing};
use crate::web::look;

#[derive(Default)]
struct Paper {
    phrase: Mutex<String>,
    address: Mutex<String>,
    stick: Mutex<Option<Offered>>,
    restoring: Mutex<Option<PuttingBack>>,
}

impl Host for Paper {
    fn keep(&self, _: &Saved) -> Result<(), String> {
        Ok(())
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::at(Time::from_seconds(1_795_694_400));
        facts.addresses.push("192.168.20.5".parse().unwrap());
        facts.stick = self.stick.lock().unwrap().clone();
        facts.restoring = self.restoring.lock().unwrap().clone();
        facts
    }

    fn run(&self, job: &Job) -> Outcome {
        match job {
            Job::Found { local, phrase, .. } => {
                *self.phrase.lock().unwrap() = phrase.0.clone();
                *self.address.lock().unwrap() = format!("{local}@{HOME}");
                Outcome::Founded { address: format!("{local}@{HOME}") }
            }
            Job::Check { phrase } => Outcome::Checked(*self.phrase.lock().unwrap() == phrase.0),
            Job::LookUp { domain } if domain == "busy.example" => {
                Outcome::Existing(Existing { mail: vec!["mx.big.example".into()] })
            }
            Job::Name { domain, .. } => Outcome::Named { address: format!("anna@{domain}") },
            Job::Method { .. } | Job::Write { .. } => Outcome::Asked,
            Job::Seal { .. } => Outcome::Sealed,
            Job::Restore { secret, .. } if secret.0 == "acorn actor album" => Outcome::Asked,
            Job::Restore { .. } => {
                let words = "these are not the words of the recovery sheet, and not the pass phrase of the backup";
                Outcome::Field { field: "secret", words: format!("{} Nothing was changed.", look::sentence(words)) }
            }
            Job::House => Outcome::Named { address: format!("anna@{HOME}") },
            Job::Person { local, .. } => {
                Outcome::Added { address: format!("{local}@smith.example"), phrase: Secret("otter-lamp".into()) }
            }
            _ => Outcome::NotYet("not yet".into()),
        }
    }

    fn household(&self) -> Option<(String, String)> {
        None
    }
}

const HOST: &str = "192.168.20.5:8080";

/// A browser: keeps cookies, follows nothing by itself.
struct Browser {
    desk: Arc<Desk<Paper>>,
    site: Site<Paper>,
    clock: Arc<ManualClock>,
    cookies: Mutex<std::collections::BTreeMap<String, String>>,
}

impl Browser {
    fn new() -> Browser {
        let clock = Arc::new(ManualClock::at(Time::from_seconds(1_795_694_400)));
        let random = Arc::new(SeededRandom::new(9));
        let desk = Arc::new(Desk::open(Paper::default(), None, clock.clone(), random.clone()).unwrap());
        let about = About { words: "oak otter lamp".into(), imaps: 993, submissions: 465 };
        Browser { site: Site::new(desk.clone(), random, about, built_in()), desk, clock, cookies: Mutex::default() }
    }

    fn asked(&self, path: &str) -> Asked {
        let cookies = self.cookies.lock().unwrap();
        let cookie = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        Asked { path: path.into(), host: HOST.into(), cookie, language: "en-GB".into(), ..Asked::default() }
    }

    fn send(&self, asked: &Asked) -> Reply {
        let reply = self.site.reply(asked);
        for (name, value) in &reply.headers {
            if *name == "Set-Cookie" {
                assert!(value.contains("HttpOnly") && value.contains("SameSite=Strict"), "{value}");
                let pair = value.split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                self.cookies.lock().unwrap().insert(name.into(), value.into());
            }
        }
        let body = String::from_utf8_lossy(&reply.body);
        if body.contains("<html lang=\"en\">") {
            assert_eq!(missing(&body), Vec::<String>::new(), "{}: no phrase for these", asked.path);
        }
        reply
    }

    fn get(&self, path: &str) -> (u16, String) {
        let reply = self.send(&self.asked(path));
        (reply.status, String::from_utf8(reply.body).unwrap())
    }

    fn form(&self, path: &str, fields: &[(&str, &str)]) -> Asked {
        let page = self.get(path).1;
        let token = page.split("name=\"t\" value=\"").nth(1).map_or("", |rest| &rest[..32]).to_owned();
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let mut body = format!("t={token}");
        for (name, value) in fields {
            body.push_str(&format!("&{}={}", encode(name), encode(value)));
        }
        let mut asked = self.asked(path);
        asked.post = true;
        asked.origin = Some(format!("http://{HOST}"));
        asked.body = body.into_bytes();
        asked
    }

    /// The status, and where it leads or what it shows.
    fn post(&self, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let reply = self.send(&self.form(path, fields));
        let place = reply.headers.iter().find(|(name, _)| *name == "Location").map(|(_, value)| value.clone());
        (reply.status, place.unwrap_or_else(|| String::from_utf8(reply.body).unwrap()))
    }

    fn with_code(self) -> Browser {
        let code = self.desk.saved().code.shown();
        assert_eq!(self.post("/step/code", &[("code", &code)]), (303, "/".into()));
        self
    }

    fn founded(self) -> Browser {
        self.with_code().found()
    }

    /// Answers who the administrator is.
    fn found(self) -> Browser {
        let browser = self;
        let phrase = "river oak lantern moon";
        let fields = [("name", "Anna Smith"), ("local", "anna"), ("phrase", phrase), ("phrase2", phrase)];
        assert_eq!(browser.post("/step/you", &fields), (303, "/step/you".into()));
        browser
    }
}

#[test]
fn a_backup_on_the_stick_is_offered_and_brought_back() {
    let browser = Browser::new().with_code();
    let page = |part: &str| {
        let body = browser.get("/step/origin").1;
        assert!(body.contains(part), "{part}: {body}");
        body
    };
    page("Plug in the stick with the backup.");
    assert_eq!(browser.post("/step/origin", &[("origin", "restore")]), (303, "/step/origin".into()));
    assert!(page("No stick is in yet.").contains("http-equiv=\"refresh\""), "it is found by itself");
    let paper = browser.desk.host();
    let stick = |backups, problem: Option<&str>| {
        let offered = Offered { name: "Acme".into(), backups, problem: problem.map(str::to_owned) };
        *paper.stick.lock().unwrap() = Some(offered);
    };
    stick(Vec::new(), Some("The stick Acme is empty. It can be prepared here."));
    page("The stick Acme is empty.");
    stick(Vec::new(), None);
    page("and there is no backup on it");
    let offer =
        |box_id: &str| Offer { box_id: box_id.into(), at: Time::from_seconds(1_795_600_000), letters: Some(41) };
    stick(vec![offer("00112233445566aa")], None);
    let body = page("with 41 letters");
    assert!(!body.contains("http-equiv=\"refresh\""), "somebody types");
    let give = |secret: &str| {
        browser.post("/step/origin", &[("do", "restore"), ("box", "00112233445566aa"), ("secret", secret)])
    };
    let (status, body) = give("zebra crossing");
    assert!(status == 422 && body.contains("not the words of the recovery sheet"), "{status} {body}");
    assert!(body.contains("Nothing was changed.") && !body.contains("zebra"), "{body}");
    assert_eq!(give("").0, 422);
    assert_eq!(give("acorn actor album"), (303, "/step/origin".into()));
    *paper.restoring.lock().unwrap() = Some(PuttingBack { words: "The letters are put back.", done: 3, all: 12 });
    let body = page("25 percent of this part");
    assert!(body.contains("The letters are put back.") && body.contains("http-equiv=\"refresh\""), "{body}");
    *paper.restoring.lock().unwrap() = None;

    // Whoever changes their mind begins anew, and then a backup comes too late.
    assert_eq!(browser.post("/step/origin", &[("origin", "new")]).0, 303);
    let browser = browser.found();
    let late = browser.post("/step/origin", &[("do", "restore"), ("secret", "acorn actor album")]);
    assert!(late.0 == 422 && late.1.contains("has an administrator already"), "{late:?}");
}

#[test]
fn the_way_through_the_pages() {
    let browser = Browser::new();
    assert_eq!(browser.send(&browser.asked("/")).status, 303);
    let mut asked = browser.asked("/step/language");
    asked.language = "fr-CH".into();
    let reply = browser.send(&asked);
    assert_eq!(reply.status, 200);
    let page = String::from_utf8(reply.body).unwrap();
    assert!(
        page.contains("<option value=\"Europe/Zurich\" lang=\"\" selected>"),
        "guessed from the browser's language"
    );
    assert_eq!(browser.post("/step/language", &[("zone", "Europe/Berlin")]), (303, "/step/code".into()));
    let browser = browser.with_code();
    assert_eq!(browser.post("/step/origin", &[("origin", "new")]), (303, "/step/network".into()));
    assert!(browser.get("/step/network").1.contains("192.168.20.5"));
    let browser = browser.found();
    let sheet = browser.get("/step/you").1;
    let words: Vec<&str> =
        sheet.split("<li><span class=\"mono\">").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(words.len(), 10, "{sheet}");
    let number = |field: &str| -> usize {
        let label = sheet.split(&format!("for=\"{field}\">Word ")).nth(1).unwrap();
        label.split('<').next().unwrap().parse().unwrap()
    };
    let (status, page) =
        browser.post("/step/you", &[("do", "sheet"), ("first", "wrong"), ("second", words[number("second") - 1])]);
    assert_eq!(status, 422);
    assert!(page.contains("That is not word"), "{page}");
    let typed = [("do", "sheet"), ("first", words[number("first") - 1]), ("second", words[number("second") - 1])];
    assert_eq!(browser.post("/step/you", &typed), (303, "/step/line".into()));
    assert_eq!(browser.post("/step/line", &[("do", "again")]), (303, "/step/line".into()));
    assert!(browser.get("/step/line").1.contains("http-equiv=\"refresh\""), "progress without JavaScript");
    assert_eq!(browser.post("/step/domain", &[("name", "smith.example"), ("host", "mail")]), (303, "/step/dns".into()));
    assert!(browser.get("/step/dns").1.contains("Records for smith.example"));
    assert!(browser.get("/step/letter").1.contains("anna@smith.example"));
    assert_eq!(browser.post("/step/letter", &[("do", "later")]), (303, "/step/family".into()));
    let (status, page) = browser.post("/step/family", &[("name", "Ben & <b>"), ("local", "ben")]);
    assert_eq!(status, 200);
    assert!(page.contains("otter-lamp") && page.contains("ben@smith.example"), "{page}");
    let page = browser.get("/step/family").1;
    assert!(page.contains("Ben &#38; &#60;b&#62;") && !page.contains("<b>Ben & <b>"), "{page}");
    assert!(!page.contains("otter-lamp"), "the first pass phrase is shown once");
    let (status, page) = browser.post("/step/done", &[]);
    assert_eq!(status, 200);
    assert!(page.contains("finished"), "{page}");
    assert!(browser.get("/step/family").1.contains("finished"));
}

#[test]
fn nobody_gets_further_than_they_may() {
    let browser = Browser::new();
    for step in Step::ALL.into_iter().skip(2) {
        let (status, place) = browser.post(&format!("/step/{}", step.id()), &[("do", "house"), ("name", "x.example")]);
        assert!(status == 303 || status == 403, "{step:?}: {status} {place}");
        assert_eq!(browser.send(&browser.asked(&format!("/step/{}", step.id()))).status, 303, "{step:?}");
    }
    assert_eq!(browser.desk.saved().admin, None);
    let other = Browser {
        desk: browser.desk.clone(),
        clock: browser.clock.clone(),
        site: Site::new(browser.desk.clone(), Arc::new(SeededRandom::new(4)), About::default(), built_in()),
        cookies: Mutex::default(),
    };
    let browser = browser.founded();
    // W1: for everybody else the code is over, and nothing of the sheet or the people is shown.
    let (status, page) = other.post("/step/code", &[("code", &other.desk.saved().code.shown())]);
    assert!(status == 303 || page.contains("opens nothing") || status == 403, "{status} {page}");
    assert_eq!(other.desk.who(other.cookies.lock().unwrap().get("hp-session").map(String::as_str)), Who::Stranger);
    let reply = other.send(&other.asked("/step/you"));
    assert_eq!(reply.status, 303);
    let words: Vec<&str> =
        browser.desk.look(browser.cookies.lock().unwrap().get("hp-session").map(String::as_str)).sheet.unwrap().0;
    let shown = other.get("/sign-in").1;
    assert!(words.iter().all(|word| !shown.contains(&format!(">{word}<"))));
    assert_eq!(other.post("/sign-in", &[("phrase", "wrong")]).0, 422);
    assert_eq!(other.post("/sign-in", &[("phrase", "river oak lantern moon")]), (303, "/".into()));
}

#[test]
fn a_page_that_was_rebound_to_our_address_is_refused() {
    let browser = Browser::new();
    for host in ["evil.example", "evil.example:8080", "homepost.local.evil.example:8080", ""] {
        let mut asked = browser.asked("/step/language");
        asked.host = host.into();
        let reply = browser.site.reply(&asked);
        assert_eq!(reply.status, 421, "{host}");
        assert!(!String::from_utf8(reply.body).unwrap().contains("<form"), "{host}");
    }
}

#[test]
fn a_forged_form_changes_nothing() {
    let browser = Browser::new().founded();
    let good = browser.form("/step/domain", &[("name", "smith.example"), ("host", "mail")]);
    let mut forged = Vec::new();
    for origin in ["http://evil.example", "null", "https://192.168.20.5:8080"] {
        forged.push(Asked { origin: Some(origin.into()), ..good.clone() });
    }
    // Without the browser's cookie, and with a token that is another browser's.
    let session = browser.cookies.lock().unwrap()["hp-session"].clone();
    forged.push(Asked { cookie: format!("hp-session={session}"), ..good.clone() });
    forged.push(Asked { cookie: format!("hp-session={session}; hp-form={}", "0".repeat(32)), ..good.clone() });
    let body = String::from_utf8(good.body.clone()).unwrap();
    let without = body.split_once('&').unwrap().1.to_owned();
    forged.push(Asked { body: without.into_bytes(), ..good.clone() });
    for asked in forged {
        assert_eq!(browser.site.reply(&asked).status, 403, "{asked:?}");
        assert_eq!(browser.desk.saved().domain, None);
    }
    assert_eq!(browser.site.reply(&good).status, 303);
    assert!(browser.desk.saved().domain.is_some());
}

#[test]
fn every_page_forbids_what_it_does_not_need_and_names_nothing_outside() {
    let browser = Browser::new().founded();
    browser.post("/step/domain", &[("do", "house")]);
    let mut paths: Vec<String> = Step::ALL.iter().map(|step| format!("/step/{}", step.id())).collect();
    paths.extend(["/nothing", "/style.css", "/comfort.js", "/mark.svg"].map(String::from));
    for path in paths {
        let reply = browser.send(&browser.asked(&path));
        let header = |name: &str| reply.headers.iter().find(|(one, _)| *one == name).map(|(_, value)| value.as_str());
        let policy = header("Content-Security-Policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert_eq!(header("X-Frame-Options"), Some("DENY"));
        let body = String::from_utf8(reply.body.clone()).unwrap();
        for outside in ["//", "style=", "onclick=", "<script>"] {
            let found = body.match_indices(outside).any(|(at, _)| {
                let before = body[..at].chars().rev().take(40).collect::<String>().chars().rev().collect::<String>();
                // A comment of the script, the name space of a picture, and our own address over HTTPS.
                let name_space = before.ends_with("http:") && body[at..].starts_with("//www.w3.org");
                let ours = before.ends_with("https:") && body[at..].starts_with(&format!("//{HOST}"));
                !name_space && !ours && !path.ends_with(".js")
            });
            assert!(!found, "{path} has {outside}");
        }
    }
}

#[test]
fn a_domain_that_is_busy_offers_both_ways() {
    let browser = Browser::new().founded();
    let (status, page) = browser.post("/step/domain", &[("name", "busy.example"), ("host", "mail")]);
    assert_eq!(status, 422);
    assert!(page.contains("already gets mail at mx.big.example") && page.contains("value=\"trial\""), "{page}");
    let (status, _) = browser.post("/step/domain", &[("name", "busy.example"), ("host", "mail"), ("do", "trial")]);
    assert_eq!(status, 303);
    let domain = browser.desk.saved().domain.and_then(|domain| domain.server());
    assert_eq!(domain.as_deref(), Some("post.mail.busy.example"));
}

#[test]
fn what_was_typed_is_there_again_but_no_pass_phrase() {
    let browser = Browser::new().with_code();
    let fields = [
        ("name", "Anna \"Ä\" Smith"),
        ("local", "an na"),
        ("phrase", "river oak lantern"),
        ("phrase2", "river oak lantern"),
    ];
    let (status, page) = browser.post("/step/you", &fields);
    assert_eq!(status, 422);
    assert!(page.contains("Anna &#34;Ä&#34; Smith") && page.contains("aria-invalid=\"true\""), "{page}");
    assert!(!page.contains("river oak"));
    let (status, page) =
        browser.post("/step/you", &[("name", "A"), ("local", "a"), ("phrase", "one one one"), ("phrase2", "two")]);
    assert!(status == 422 && page.contains("not the same"));
    let (status, _) =
        browser.post("/step/you", &[("name", "A\r\nB"), ("local", "a"), ("phrase", "x y z"), ("phrase2", "x y z")]);
    assert_eq!(status, 422);
}

/// W4 on the page, in the hours that it takes: each wrong code is told how long to wait, the fiftieth changes the code, and then the
/// one on the screen is taken all the same.
#[test]
fn fifty_wrong_codes_take_hours_and_end_with_another_code() {
    let browser = Browser::new();
    let first = browser.desk.saved().code.shown();
    let mut waited_ms = 0;
    for wrong in 1..=50u32 {
        let (status, page) = browser.post("/step/code", &[("code", "AAAA-AAAA")]);
        assert_eq!(status, 422, "{wrong}");
        let words = match wrong {
            ..=4 => "That is not the code on the screen.",
            50 => "That was wrong too often, so the code has changed. Please look at the screen again.",
            _ => "The next try is possible in",
        };
        assert!(page.contains(words), "{wrong}: {page}");
        if wrong >= 5 {
            // Too early, nothing is looked at: neither wrong nor right counts.
            let right = browser.desk.saved().code.shown();
            for code in ["AAAA-AAAA", right.as_str()] {
                let (status, page) = browser.post("/step/code", &[("code", code)]);
                assert!(status == 422 && page.contains("Too many wrong tries."), "{wrong}: {page}");
            }
            let pause = 30_000u64.saturating_mul(1 << (wrong - 5).min(20)).min(15 * 60_000);
            browser.clock.advance_ms(pause);
            waited_ms += pause;
        }
    }
    assert!(waited_ms > 10 * 60 * 60 * 1000, "{waited_ms} ms");
    let second = browser.desk.saved().code.shown();
    assert_ne!(first, second);
    let (_, page) = browser.get("/step/code");
    assert!(page.contains("The code has been changed since the box was first switched on"), "{page}");
    let (status, _) = browser.post("/step/code", &[("code", &first)]);
    assert_eq!((status, browser.desk.saved().wrong), (422, 1), "the old one is a wrong one");
    let (status, _) = browser.post("/step/code", &[("code", &second)]);
    assert_eq!(status, 303);
    assert_eq!(browser.get("/step/you").0, 200);
}

#[test]
fn records_are_written_by_who_administers_and_by_nobody_else() {
    let stranger = Browser::new();
    let (writing, form) = ("/step/dns/writing", "/step/dns/writing/desec");
    for path in [writing, form] {
        let reply = stranger.send(&stranger.asked(path));
        assert_eq!(reply.status, 303, "{path}");
        let (status, place) = stranger.post(path, &[("do", "push"), ("secret1", "abc")]);
        assert!(status == 403 || (status == 303 && place != writing), "{path}: {status} {place}");
    }
    let browser = stranger.founded();
    assert_eq!(browser.send(&browser.asked(writing)).status, 303, "there is no domain yet");
    assert_eq!(browser.post("/step/domain", &[("name", "smith.example"), ("host", "mail")]).0, 303);
    let page = browser.get(writing).1;
    assert!(page.contains("Who keeps the DNS of your domain?") && page.contains("Hetzner"), "{page}");
    assert_eq!(browser.post(writing, &[("do", "choose"), ("method", "desec")]), (303, form.into()));
    assert_eq!(browser.post(writing, &[("do", "choose"), ("method", "//evil.example")]).0, 422);
    let page = browser.get(form).1;
    assert!(page.contains("This page is not encrypted.") && page.contains("The API token"), "{page}");
    for secret in ["", "a\r\nb", "two words", "a\0b"] {
        let (status, page) = browser.post(form, &[("secret1", secret)]);
        assert!(status == 422 && page.contains("id=\"secret1-wrong\""), "{secret:?}: {page}");
        assert!(secret.is_empty() || !page.contains(secret), "{secret:?}");
    }
    let forged = Asked { origin: Some("http://evil.example".into()), ..browser.form(form, &[("secret1", "abc")]) };
    assert_eq!(browser.send(&forged).status, 403);
    assert!(browser.get("/step/dns/writing/nobody").1.contains("no such page"));
    assert_eq!(browser.post(form, &[("secret1", "abc")]), (303, writing.into()));
    assert_eq!(browser.post(writing, &[("do", "plan")]), (303, writing.into()));
}
