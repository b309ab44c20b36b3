//! A request in, a reply out: which page is shown to whom, and where an answer leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::appliance::wizard::{
    Answer, Desk, Domain, Host, Origin, Refusal, Relay, Said, Secret, Step, Token, View, Who,
};
use crate::base::Random;
use crate::web::language::{ENGLISH, Languages};
use crate::web::writing::{read_method, read_wish};

use super::draw::{self, Page, WRITING};
use super::form;
use super::guard::{self, Forms};

/// Of a request, what we look at.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub post: bool,
    /// With what stands behind a question mark.
    pub path: String,
    pub host: String,
    pub origin: Option<String>,
    pub cookie: String,
    pub language: String,
    pub body: Vec<u8>,
    /// It came by TLS.
    pub secure: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// A page that is nothing but a sentence, for what no page of ours leads to.
    pub fn words(status: u16, words: &str) -> Reply {
        Reply::new(status, "text/plain; charset=utf-8", format!("{words}\n").into_bytes())
    }

    pub(in crate::web) fn new(status: u16, kind: &str, body: Vec<u8>) -> Reply {
        let mut reply = Reply { status, headers: vec![("Content-Type", kind.to_owned())], body };
        // G4. What is shown can hold a code or a pass phrase, so nobody keeps it.
        for (name, value) in [
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ] {
            reply.headers.push((name, value.to_owned()));
        }
        reply
    }

    pub(in crate::web) fn to(place: &str) -> Reply {
        let mut reply = Reply::new(303, "text/plain; charset=utf-8", Vec::new());
        reply.headers.push(("Location", place.to_owned()));
        reply
    }
}

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Where the address is asked that a letter is to go to.
const LETTER_OUT: &str = "/step/letter/out";

/// Cookies know no scheme, and a browser lets nothing that came in the clear take the place of what came over TLS: so each
/// way has names of its own, or whoever was on the one could not use the other.
fn form_cookie(secure: bool) -> &'static str {
    if secure { "hp-form-tls" } else { "hp-form" }
}

fn session_cookie(secure: bool) -> &'static str {
    if secure { "hp-session-tls" } else { "hp-session" }
}

/// What the pages say of this box beside what the wizard knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Of the certificate that serves HTTPS here, six words.
    pub words: String,
    /// Where the mail ports are.
    pub imaps: u16,
    pub submissions: u16,
}

pub struct Site<H> {
    desk: Arc<Desk<H>>,
    forms: Forms,
    random: Arc<dyn Random>,
    about: About,
    languages: Arc<Languages>,
}

type Fields = BTreeMap<String, String>;

/// A site of this port.
pub trait Answers: Send + Sync + 'static {
    fn reply(&self, asked: &Asked) -> Reply;
    /// A reply that is nothing but a sentence, in a language that is accepted.
    fn words(&self, status: u16, accepted: &str, words: &str) -> Reply;
}

impl<H: Host> Answers for Site<H> {
    fn reply(&self, asked: &Asked) -> Reply {
        let mut reply = self.made(asked);
        // Browsers heed it over TLS only, and complain where it comes in the clear.
        if asked.secure {
            reply.headers.push(("Cross-Origin-Opener-Policy", "same-origin".to_owned()));
        }
        reply
    }

    fn words(&self, status: u16, accepted: &str, words: &str) -> Reply {
        let household = self.desk.saved().language;
        Reply::words(status, &self.languages.words(self.language(household.as_deref(), accepted), words))
    }
}

impl<H: Host> Site<H> {
    pub fn new(desk: Arc<Desk<H>>, random: Arc<dyn Random>, about: About, languages: Arc<Languages>) -> Site<H> {
        Site { desk, forms: Forms::new(&*random), random, about, languages }
    }

    fn made(&self, asked: &Asked) -> Reply {
        let given = self.desk.saved().domain.and_then(|domain| domain.server());
        if !guard::is_ours(&asked.host, given.as_deref()) {
            return self.words(
                421,
                &asked.language,
                "This page answers only under the address of the box itself, as on its screen: http://192.168.…:8080/",
            );
        }
        let path = asked.path.split(['?', '#']).next().unwrap_or("");
        if !asked.post
            && let Some((kind, body)) = draw::asset(path)
        {
            let mut reply = Reply::new(200, kind, body.as_bytes().to_vec());
            reply.headers.retain(|(name, _)| *name != "Cache-Control");
            reply.headers.push(("Cache-Control", "max-age=300".to_owned()));
            return reply;
        }
        let there = form::cookie(&asked.cookie, form_cookie(asked.secure))
            .filter(|cookie| guard::is_cookie(cookie))
            .map(str::to_owned);
        let visit = Visit {
            fresh: there.is_none(),
            form: there.unwrap_or_else(|| Forms::fresh(&*self.random)),
            session: form::cookie(&asked.cookie, session_cookie(asked.secure)).map(str::to_owned),
            secure: asked.secure,
            host: asked.host.clone(),
            language: asked.language.clone(),
        };
        let mut reply = if asked.post { self.post(asked, path, &visit) } else { self.get(path, &visit) };
        if visit.fresh {
            reply.headers.push(("Set-Cookie", visit.cookie(form_cookie(visit.secure), &visit.form)));
        }
        reply
    }

    /// The household's, or what the browser asks for as long as nobody has chosen.
    fn language(&self, household: Option<&str>, accepted: &str) -> &str {
        self.languages.pick(&[household.unwrap_or("")], accepted)
    }

    // ---- pages

    fn get(&self, path: &str, visit: &Visit) -> Reply {
        let view = self.desk.look(visit.session.as_deref());
        if view.saved.finished {
            return self.page(visit, &view, Page::Closed, None, &Fields::new());
        }
        match path {
            "/" => Reply::to(&self.home(&view)),
            "/zone/full" | "/zone/relative" => match self.desk.zone(visit.session.as_deref(), path == "/zone/relative")
            {
                Some((domain, text)) => {
                    let mut reply = Reply::new(200, "text/plain; charset=utf-8", text.into_bytes());
                    let name = format!("attachment; filename=\"{domain}.zone\"");
                    reply.headers.push(("Content-Disposition", name));
                    reply
                }
                None => Reply::to("/"),
            },
            "/sign-in" | "/recover" if view.saved.admin.is_none() => Reply::to("/"),
            "/sign-in" if view.who == Who::Administrator => Reply::to("/"),
            "/sign-in" => self.page(visit, &view, Page::SignIn, None, &Fields::new()),
            "/recover" => self.page(visit, &view, Page::Recover, None, &Fields::new()),
            LETTER_OUT => match not_yet(&view, Step::Letter) {
                Some(place) => Reply::to(place),
                None if matches!(view.saved.domain, Some(Domain::Own { .. })) => {
                    self.page(visit, &view, Page::LetterOut, None, &Fields::new())
                }
                None => Reply::to("/step/letter"),
            },
            _ if path.starts_with(WRITING) => match writing_page(&view, path) {
                Ok(page) => self.page(visit, &view, page, None, &Fields::new()),
                Err(place) => Reply::to(place),
            },
            _ => match path.strip_prefix("/step/").and_then(Step::by_id) {
                Some(step) => match not_yet(&view, step) {
                    Some(place) => Reply::to(place),
                    None => self.page(visit, &view, Page::Step(step), None, &Fields::new()),
                },
                None => {
                    let mut reply = self.page(visit, &view, Page::Nothing, None, &Fields::new());
                    reply.status = 404;
                    reply
                }
            },
        }
    }

    /// Where somebody who says nothing is brought.
    fn home(&self, view: &View) -> String {
        match (view.who, &view.saved.admin) {
            (Who::Stranger, Some(_)) => "/sign-in".to_owned(),
            (Who::Stranger, None) if view.saved.zone.is_none() => "/step/language".to_owned(),
            (Who::Stranger, None) => "/step/code".to_owned(),
            _ => format!("/step/{}", view.step.id()),
        }
    }

    fn page(&self, visit: &Visit, view: &View, page: Page, refusal: Option<&Refusal>, typed: &Fields) -> Reply {
        let language = self.language(view.saved.language.as_deref(), &visit.language);
        let drawn = draw::draw(&draw::Canvas {
            view,
            about: &self.about,
            token: self.forms.token(&visit.form),
            secure: visit.secure,
            host: &visit.host,
            accepted: &visit.language,
            choices: self.languages.choices(),
            language,
            refusal,
            typed,
            zone: match page {
                Page::Step(Step::Dns) => self.desk.zone(visit.session.as_deref(), false).map(|(_, text)| text),
                _ => None,
            },
            page,
        });
        match drawn {
            Ok(html) => {
                let html = self.languages.page(language, html);
                Reply::new(if refusal.is_some() { 422 } else { 200 }, "text/html; charset=utf-8", html.into_bytes())
            }
            Err(error) => {
                tracing::error!(%error, "a page cannot be drawn");
                self.words(500, &visit.language, "Something went wrong inside homepost. Please try again.")
            }
        }
    }

    // ---- answers

    fn post(&self, asked: &Asked, path: &str, visit: &Visit) -> Reply {
        let Some(fields) = form::read(&asked.body) else {
            return self.words(413, &visit.language, "That form cannot be read.");
        };
        let token = fields.get("t").map_or("", String::as_str);
        let fits = !visit.fresh && self.forms.fits(&visit.form, token);
        if !guard::same_origin(asked.origin.as_deref(), &asked.host, asked.secure) || !fits {
            let view = self.desk.look(visit.session.as_deref());
            let mut reply = self.page(visit, &view, Page::Stale, None, &Fields::new());
            reply.status = 403;
            return reply;
        }
        let session = visit.session.as_deref();
        match path {
            "/step/code" => {
                let typed = fields.get("code").map_or("", String::as_str);
                self.entered(visit, self.desk.code(typed), Page::Step(Step::Code), "/")
            }
            "/sign-in" => self.entered(visit, self.desk.sign_in(&secret(&fields, "phrase")), Page::SignIn, "/"),
            "/recover" => {
                let words = fields.get("words").map_or("", String::as_str);
                self.entered(visit, self.desk.recover(words, &secret(&fields, "phrase")), Page::Recover, "/")
            }
            "/sign-out" => {
                if let Some(session) = session {
                    self.desk.sign_out(session);
                }
                let gone = format!("{}; Max-Age=0", visit.cookie(session_cookie(visit.secure), ""));
                let mut reply = Reply::to("/");
                reply.headers.push(("Set-Cookie", gone));
                reply
            }
            _ if path.starts_with(WRITING) => self.writing(visit, path, &fields),
            _ => match path.strip_prefix("/step/").and_then(Step::by_id) {
                Some(step) => self.answer(visit, step, &fields),
                None => self.words(404, &visit.language, "There is no such page."),
            },
        }
    }

    /// A session for whoever came in, or the page again with what was wrong.
    fn entered(&self, visit: &Visit, token: Result<Token, Refusal>, page: Page, next: &str) -> Reply {
        match token {
            Ok(token) => {
                let mut reply = Reply::to(next);
                reply.headers.push(("Set-Cookie", visit.cookie(session_cookie(visit.secure), token.text())));
                reply
            }
            Err(refusal) => {
                let view = self.desk.look(visit.session.as_deref());
                self.page(visit, &view, page, Some(&refusal), &Fields::new())
            }
        }
    }

    fn answer(&self, visit: &Visit, step: Step, fields: &Fields) -> Reply {
        let answer = match read(step, fields, &self.languages) {
            Ok(answer) => answer,
            Err(refusal) => return self.refused(visit, step, fields, &refusal),
        };
        match self.desk.say(visit.session.as_deref(), &answer) {
            Ok(said) => self.taken(visit, step, &answer, said),
            Err(refusal) => self.refused(visit, step, fields, &refusal),
        }
    }

    /// What somebody pressed or filled in where records are written.
    fn writing(&self, visit: &Visit, path: &str, fields: &Fields) -> Reply {
        let view = self.desk.look(visit.session.as_deref());
        let page = match writing_page(&view, path) {
            Ok(page) => page,
            Err(place) => return Reply::to(place),
        };
        let kept = view.facts.writing.as_ref().map(|writing| writing.method.clone()).unwrap_or_default();
        let chosen = fields.get("method").map_or("", String::as_str);
        let new = |method: &str| {
            let read = read_method(method, fields, &kept).map(Answer::Method);
            read.map_err(|wrong| Refusal { field: wrong.field, words: wrong.words })
        };
        let answer = match &page {
            Page::Method(method) => new(method),
            _ => match read_wish(fields) {
                Some(wish) => Ok(Answer::Write(wish)),
                None if chosen == "none" => new(chosen),
                // Only what is in the list leads somewhere.
                None if crate::settings::DNS_METHODS.contains(&chosen) => {
                    return Reply::to(&format!("{WRITING}/{chosen}"));
                }
                None => Err(Refusal::words("Choose how the records are to be written.")),
            },
        };
        let said = answer.and_then(|answer| self.desk.say(visit.session.as_deref(), &answer));
        match said {
            Ok(_) => Reply::to(WRITING),
            Err(refusal) => {
                let view = self.desk.look(visit.session.as_deref());
                self.page(visit, &view, page, Some(&refusal), fields)
            }
        }
    }

    fn refused(&self, visit: &Visit, step: Step, fields: &Fields, refusal: &Refusal) -> Reply {
        let view = self.desk.look(visit.session.as_deref());
        if let Some(place) = not_yet(&view, step) {
            // Somebody whose session has ended finds what to do there.
            return Reply::to(place);
        }
        self.page(visit, &view, Page::Step(step), Some(refusal), fields)
    }

    fn taken(&self, visit: &Visit, step: Step, answer: &Answer, said: Said) -> Reply {
        let mut reply = match answer {
            Answer::Person { .. } => match said.phrase {
                Some((address, phrase)) => {
                    let view = self.desk.look(visit.session.as_deref());
                    self.page(visit, &view, Page::Invited { address, phrase: phrase.0 }, None, &Fields::new())
                }
                None => Reply::to("/step/family"),
            },
            Answer::Finish => {
                let view = self.desk.look(visit.session.as_deref());
                self.page(visit, &view, Page::Closed, None, &Fields::new())
            }
            Answer::You { .. }
            | Answer::NewSheet
            | Answer::Origin(Origin::Restore)
            | Answer::Restore { .. }
            | Answer::Again(_)
            | Answer::Authority { .. }
            | Answer::Letter { .. }
            | Answer::Relay { .. } => Reply::to(&format!("/step/{}", step.id())),
            Answer::Language { .. } if self.desk.who(visit.session.as_deref()) == Who::Stranger => {
                Reply::to("/step/code")
            }
            Answer::Language { .. } => Reply::to("/step/origin"),
            _ => Reply::to(&format!("/step/{}", step.next().id())),
        };
        if let Some(token) = said.token {
            reply.headers.push(("Set-Cookie", visit.cookie(session_cookie(visit.secure), token.text())));
        }
        reply
    }
}

/// Who asks, as far as the pages care.
struct Visit {
    /// The form cookie was made just now.
    fresh: bool,
    form: String,
    session: Option<String>,
    secure: bool,
    host: String,
    language: String,
}

impl Visit {
    fn cookie(&self, name: &str, value: &str) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}")
    }
}

/// Where a visitor who may not see this step (yet) is brought.
fn not_yet(view: &View, step: Step) -> Option<&'static str> {
    match (view.who, &view.saved.admin) {
        (Who::Stranger, Some(_)) => Some("/sign-in"),
        (Who::Stranger, None) if step <= Step::Code => None,
        (Who::Stranger, None) => Some("/step/code"),
        (_, None) if step > Step::You => Some("/step/you"),
        // There is nothing to do at the door for who is inside.
        (_, _) if step == Step::Code => Some("/step/origin"),
        _ => None,
    }
}

/// Which of the pages where records are written. Errors: where to go instead.
fn writing_page(view: &View, path: &str) -> Result<Page, &'static str> {
    if let Some(place) = not_yet(view, Step::Dns) {
        return Err(place);
    }
    if !matches!(view.saved.domain, Some(Domain::Own { .. })) {
        return Err("/step/dns");
    }
    Ok(match path.strip_prefix(WRITING).unwrap_or_default().strip_prefix('/') {
        Some(method) if !method.is_empty() => Page::Method(method.to_owned()),
        _ => Page::Writing,
    })
}

fn secret(fields: &Fields, name: &str) -> Secret {
    Secret(fields.get(name).cloned().unwrap_or_default())
}

/// The answer that a form of this step is.
fn read(step: Step, fields: &Fields, languages: &Languages) -> Result<Answer, Refusal> {
    let get = |name: &str| fields.get(name).cloned().unwrap_or_default();
    Ok(match (step, get("do").as_str()) {
        (_, "later") => Answer::Later(step),
        (_, "again") => Answer::Again(step),
        (Step::Language, _) => {
            let zone = get("zone");
            if !super::zones::is_zone(&zone) {
                return Err(Refusal { field: Some("zone"), words: "Choose a time zone from the list.".to_owned() });
            }
            let language =
                Some(get("language")).filter(|code| languages.has(code)).unwrap_or_else(|| ENGLISH.to_owned());
            Answer::Language { language, zone }
        }
        (Step::Origin, "restore") => {
            let box_id = Some(get("box")).filter(|box_id| !box_id.is_empty());
            Answer::Restore { box_id, secret: secret(fields, "secret") }
        }
        (Step::Origin, _) if get("origin") == "restore" => Answer::Origin(Origin::Restore),
        (Step::Origin, _) => Answer::Origin(Origin::New),
        (Step::You, "new-sheet") => Answer::NewSheet,
        (Step::You, "sheet") => Answer::Sheet { first: get("first"), second: get("second") },
        (Step::You, _) => {
            if get("phrase") != get("phrase2") {
                let words = "The two are not the same. Please type the pass phrase again, twice.".to_owned();
                return Err(Refusal { field: Some("phrase2"), words });
            }
            Answer::You { name: get("name"), local: get("local"), phrase: secret(fields, "phrase") }
        }
        (Step::Domain, "house") => Answer::HouseOnly,
        (Step::Domain, "trial") => Answer::trial(&get("name")),
        (Step::Domain, word) => Answer::Domain { name: get("name"), host: get("host"), take_over: word == "take-over" },
        (Step::Line, "no-relay") => Answer::Relay { relay: Relay::default(), password: secret(fields, "") },
        (Step::Line, "relay") => {
            let port = get("port").trim().parse();
            let Some(port) = port.ok().filter(|port| *port != 0) else {
                let words = "A port is a number from 1 to 65535; relays use 465 or 587.".to_owned();
                return Err(Refusal { field: Some("port"), words });
            };
            if get("host").trim().is_empty() {
                let words = "Type the name of the relay, as in smtp.provider.example.".to_owned();
                return Err(Refusal { field: Some("host"), words });
            }
            let (host, tls, user, spf) = (get("host"), get("tls"), get("user"), get("spf"));
            let relay = Relay { host, port, tls, user, spf, password: false };
            Answer::Relay { relay, password: secret(fields, "password") }
        }
        (Step::Certificate, _) => Answer::Authority { accepted: get("accepted") == "yes", contact: get("contact") },
        (Step::Family, _) => Answer::Person { name: get("name"), local: get("local"), phrase: Secret::default() },
        (Step::Letter, "send") => Answer::Letter { to: get("to") },
        (Step::Done, _) => Answer::Finish,
        _ => return Err(Refusal::words("There is nothing to answer here.")),
    })
}
