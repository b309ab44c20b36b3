//! A request in, a page out.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use tracing::{error, warn};

use crate::appliance::rescue::{Act, Desk, Entered, Host, Job, Offers};
use crate::base::Random;
use crate::web::language::Languages;
use crate::web::look::{self, sentence};
use crate::web::setup::form;
use crate::web::setup::guard::{self, Forms};
use crate::web::setup::{Answers, Asked, Reply};

/// Between two looks how far something is.
const REFRESH_SECONDS: u32 = 3;
/// For the last page to be read.
const FAREWELL: Duration = Duration::from_secs(5);

pub struct Site<H> {
    desk: Arc<Desk<H>>,
    forms: Forms,
    random: Arc<dyn Random>,
    languages: Arc<Languages>,
    /// The household's, where its settings can be read.
    language: String,
}

enum State {
    Shut,
    Open,
    Runs(String),
    Done(String),
}

#[derive(Template)]
#[template(path = "rescue.html", config = "src/web/rescue/askama.toml")]
struct Page {
    refresh: Option<u32>,
    state: State,
    problem: String,
    offers: Offers,
    token: String,
    alarm: Option<String>,
    wrong: Option<String>,
    failed: Option<String>,
    shown: bool,
}

/// Of one browser.
struct Visit {
    form: String,
    fresh: bool,
    session: String,
    secure: bool,
    accepted: String,
}

impl Visit {
    fn cookie(&self, name: &str, value: &str) -> (&'static str, String) {
        let secure = if self.secure { "; Secure" } else { "" };
        ("Set-Cookie", format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}", named(name, self.secure)))
    }
}

/// As in the set-up: each way has names of its own.
fn named(name: &str, secure: bool) -> String {
    format!("{name}{}", if secure { "-tls" } else { "" })
}

/// What a page says besides.
#[derive(Default)]
struct Said {
    alarm: Option<&'static str>,
    wrong: Option<String>,
    shown: bool,
}

impl Said {
    fn alarm(words: &'static str) -> Said {
        Said { alarm: Some(words), ..Said::default() }
    }

    fn wrong(words: impl Into<String>) -> Said {
        Said { wrong: Some(words.into()), ..Said::default() }
    }
}

impl<H: Host> Answers for Site<H> {
    fn reply(&self, asked: &Asked) -> Reply {
        if !guard::is_ours(&asked.host, None) {
            return self.words(
                421,
                &asked.language,
                "This page answers only under the address of the box itself, as on its screen: http://192.168.…:8080/",
            );
        }
        let path = asked.path.split(['?', '#']).next().unwrap_or("");
        match path {
            "/style.css" => return Reply::new(200, "text/css; charset=utf-8", look::STYLE.as_bytes().to_vec()),
            "/mark.svg" | "/favicon.ico" => return Reply::new(200, "image/svg+xml", look::MARK.as_bytes().to_vec()),
            _ => {}
        }
        let cookie = |name| form::cookie(&asked.cookie, &named(name, asked.secure)).map(str::to_owned);
        let there = cookie("hp-form").filter(|cookie| guard::is_cookie(cookie));
        let visit = Visit {
            fresh: there.is_none(),
            form: there.unwrap_or_else(|| Forms::fresh(&*self.random)),
            session: cookie("hp-rescue").unwrap_or_default(),
            secure: asked.secure,
            accepted: asked.language.clone(),
        };
        let mut reply = match (asked.post, path) {
            (true, _) => self.post(asked, path, &visit),
            (false, "/") => self.page(&visit, Said::default()),
            (false, _) => Reply::to("/"),
        };
        if visit.fresh {
            reply.headers.push(visit.cookie("hp-form", &visit.form));
        }
        reply
    }

    fn words(&self, status: u16, accepted: &str, words: &str) -> Reply {
        Reply::words(status, &self.languages.words(self.languages.pick(&[&self.language], accepted), words))
    }
}

impl<H: Host> Site<H> {
    pub fn new(desk: Arc<Desk<H>>, random: Arc<dyn Random>, languages: Arc<Languages>, language: String) -> Site<H> {
        Site { desk, forms: Forms::new(&*random), random, languages, language }
    }

    fn page(&self, visit: &Visit, said: Said) -> Reply {
        let open = self.desk.is_in(&visit.session);
        let (state, failed) = match self.desk.job() {
            Job::Runs(words) => (State::Runs(words), None),
            Job::Done(words) => (State::Done(words), None),
            Job::Failed(words) if open => (State::Open, Some(words)),
            _ if open => (State::Open, None),
            _ => (State::Shut, None),
        };
        let page = Page {
            refresh: matches!(state, State::Runs(_)).then_some(REFRESH_SECONDS),
            problem: match state {
                State::Shut | State::Open => self.desk.host().problem(),
                _ => String::new(),
            },
            offers: if matches!(state, State::Open) { self.desk.host().offers() } else { Offers::default() },
            state,
            token: self.forms.token(&visit.form),
            alarm: said.alarm.map(str::to_owned),
            wrong: said.wrong,
            failed,
            shown: said.shown,
        };
        let status = if page.alarm.is_some() || page.wrong.is_some() { 400 } else { 200 };
        match page.render() {
            Ok(html) => {
                let language = self.languages.pick(&[&self.language], &visit.accepted);
                Reply::new(status, "text/html; charset=utf-8", self.languages.page(language, html).into_bytes())
            }
            Err(error) => {
                error!(%error, "the page cannot be drawn");
                Reply::words(500, "Something went wrong inside homepost. Please try again.")
            }
        }
    }

    fn post(&self, asked: &Asked, path: &str, visit: &Visit) -> Reply {
        let Some(fields) = form::read(&asked.body) else {
            return self.words(400, &visit.accepted, "That could not be understood.");
        };
        let get = |name: &str| fields.get(name).map_or("", String::as_str);
        let fits = !visit.fresh && self.forms.fits(&visit.form, get("t"));
        if !guard::same_origin(asked.origin.as_deref(), &asked.host, asked.secure) || !fits {
            return self.page(visit, Said::alarm("This page was too old, so nothing was done. Please try again."));
        }
        let act = match path {
            "/show" => {
                return match self.desk.show_code() {
                    Ok(()) => self.page(visit, Said { shown: true, ..Said::default() }),
                    Err(error) => self.page(visit, Said::wrong(sentence(&error.to_string()))),
                };
            }
            "/enter" => return self.enter(visit, get("proof")),
            "/restart" => Act::Restart,
            "/salvage" => Act::Salvage,
            "/restore" => Act::Restore(get("secret").trim().to_owned()),
            "/erase" if get("sure").trim().eq_ignore_ascii_case("erase") => Act::Erase,
            "/erase" => return self.page(visit, Said::alarm("The word was another one, so nothing was deleted.")),
            _ => return Reply::to("/"),
        };
        if !self.desk.is_in(&visit.session) {
            return self.page(visit, Said::alarm("Please show first that the box is yours."));
        }
        self.begin(visit.session.clone(), act);
        Reply::to("/")
    }

    fn enter(&self, visit: &Visit, typed: &str) -> Reply {
        match self.desk.enter(typed) {
            Entered::In(cookie) => {
                let mut reply = Reply::to("/");
                reply.headers.push(visit.cookie("hp-rescue", &cookie));
                reply
            }
            Entered::Wrong => self.page(
                visit,
                Said::wrong(
                    "These are neither the words of the sheet nor the code on the screen. Please compare them one by one.",
                ),
            ),
            Entered::TooSoon(seconds) => self.page(
                visit,
                Said::wrong(format!("That was wrong too often. Please wait {seconds} seconds, and try again.")),
            ),
        }
    }

    /// On a thread of its own, and then the box starts again.
    fn begin(&self, session: String, act: Act) {
        let desk = self.desk.clone();
        let run = move || {
            if desk.run(&session, &act) && matches!(desk.job(), Job::Done(_)) {
                std::thread::sleep(FAREWELL);
                desk.restart(&act);
                if let Job::Failed(words) = desk.job() {
                    warn!("the box does not start again: {words}");
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("rescue".to_owned()).spawn(run) {
            error!(%error, "no thread for what was asked");
        }
        // So that the next page shows that it runs.
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::appliance::machine::{Act as Did, Fake, Machine};
    use crate::base::{ManualClock, SeededRandom, Time};

    #[derive(Default)]
    struct Box {
        fake: Fake,
        done: Mutex<u32>,
    }

    impl Host for Box {
        fn machine(&self) -> &dyn Machine {
            &self.fake
        }
        fn problem(&self) -> String {
            "The disk is <broken>.".to_owned()
        }
        fn sheet(&self) -> Option<String> {
            None
        }
        fn offers(&self) -> Offers {
            Offers { salvage: true, restore: Some("USB".to_owned()), no_stick: String::new(), erase: true }
        }
        fn act(&self, _: &Act, _: &dyn Fn(&str)) -> Result<String, String> {
            *self.done.lock().unwrap() += 1;
            Err("the stick is broken".to_owned())
        }
        fn restart(&self, _: &Act) -> Result<(), String> {
            Ok(())
        }
    }

    fn site() -> Site<Box> {
        let random = Arc::new(SeededRandom::new(9));
        let clock = Arc::new(ManualClock::at(Time::from_seconds(1_800_000_000)));
        let desk = Arc::new(Desk::new(Box::default(), clock, random.clone()));
        Site::new(desk, random, Arc::new(Languages::built_in()), String::new())
    }

    struct Browser<'a> {
        site: &'a Site<Box>,
        cookies: Vec<String>,
        language: &'a str,
    }

    impl Browser<'_> {
        fn ask(&mut self, path: &str, body: Option<&str>) -> (u16, String) {
            let asked = Asked {
                post: body.is_some(),
                path: path.to_owned(),
                host: "192.168.1.9:8080".to_owned(),
                cookie: self.cookies.join("; "),
                language: self.language.to_owned(),
                body: body.unwrap_or("").as_bytes().to_vec(),
                ..Asked::default()
            };
            let reply = self.site.reply(&asked);
            for (name, value) in &reply.headers {
                if *name == "Set-Cookie" {
                    assert!(value.contains("HttpOnly; SameSite=Strict"), "{value}");
                    self.cookies.push(value.split(';').next().unwrap().to_owned());
                }
            }
            (reply.status, String::from_utf8(reply.body).unwrap())
        }

        fn token(&mut self) -> String {
            let page = self.ask("/", None).1;
            page.split("name=\"t\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
        }
    }

    #[test]
    fn a_stranger_in_the_house_sees_what_is_wrong_and_can_do_nothing() {
        let site = site();
        let mut browser = Browser { site: &site, cookies: Vec::new(), language: "" };
        let page = browser.ask("/", None).1;
        assert!(page.contains("The disk is &#60;broken&#62;.") && !page.contains("/salvage"), "{page}");
        let token = browser.token();
        for path in ["/restart", "/salvage", "/restore", "/erase"] {
            let (status, page) = browser.ask(path, Some(&format!("t={token}&sure=ERASE&secret=x")));
            assert!(status == 400 && page.contains("show first that the box is yours"), "{path}: {page}");
        }
        let (status, _) = browser.ask("/enter", Some("t=0&proof=x"));
        assert_eq!(status, 400);
        assert_eq!(*site.desk.host().done.lock().unwrap(), 0);
        let elsewhere = Asked { host: "evil.example".to_owned(), ..Asked::default() };
        assert_eq!(site.reply(&elsewhere).status, 421);
    }

    #[test]
    fn who_types_the_code_of_the_screen_is_asked_what_to_do() {
        let site = site();
        let mut browser = Browser { site: &site, cookies: Vec::new(), language: "de" };
        let token = browser.token();
        let page = browser.ask("/show", Some(&format!("t={token}"))).1;
        assert!(page.contains("Der Code steht jetzt auf dem Bildschirm"), "{page}");
        let Some(Did::Show(lines)) = site.desk.host().fake.acts().last().cloned() else { panic!() };
        let code = lines[0].rsplit(' ').next().unwrap().to_owned();
        assert_eq!(browser.ask("/enter", Some(&format!("t={token}&proof={code}"))).0, 303);
        assert!(browser.ask("/", None).1.contains("action=\"/erase\""));
        let (_, page) = browser.ask("/erase", Some(&format!("t={token}&sure=yes")));
        assert!(page.contains("role=\"alert\"") && *site.desk.host().done.lock().unwrap() == 0, "{page}");
        assert_eq!(browser.ask("/restore", Some(&format!("t={token}&secret=a+b"))).0, 303);
        for _ in 0..100 {
            if matches!(site.desk.job(), Job::Failed(_)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(browser.ask("/", None).1.contains("the stick is broken"));
        assert_eq!(*site.desk.host().done.lock().unwrap(), 1);
    }
}
