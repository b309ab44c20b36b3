//! The pages: templates, and the few words that are put together for them.

use std::collections::BTreeMap;

use askama::Template;

use crate::appliance::wizard::{
    self, Authority, Clock, Domain, Internet, Offer, Piece, PieceState, PuttingBack, Refusal, Relay, State, Step, View,
    Vouched, Vouching, Who,
};
use crate::base::Time;
use crate::web::look;
use crate::web::writing::{Form, Panel};

use super::letters::{In, Out};
use super::site::About;
use super::zones;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Step(Step),
    /// Records that homepost writes.
    Writing,
    /// What a way of writing them needs.
    Method(String),
    /// Where to a letter is to go.
    LetterOut,
    SignIn,
    Recover,
    /// Somebody was added: the one time that the first pass phrase is shown.
    Invited {
        address: String,
        phrase: String,
    },
    /// A form that was not sent from a page of ours, or from one that is too old.
    Stale,
    Nothing,
    /// Set-up is finished.
    Closed,
}

/// Where the records are written.
pub(super) const WRITING: &str = "/step/dns/writing";

/// All that a page is drawn from.
pub(super) struct Canvas<'a> {
    pub view: &'a View,
    pub about: &'a About,
    /// Of this browser's forms.
    pub token: String,
    pub secure: bool,
    pub host: &'a str,
    /// The languages that the browser asks for.
    pub accepted: &'a str,
    /// Languages to choose from, and the one the page will be in.
    pub choices: Vec<(&'a str, &'a str)>,
    pub language: &'a str,
    pub refusal: Option<&'a Refusal>,
    pub typed: &'a BTreeMap<String, String>,
    /// All records in one text, for the page that shows them.
    pub zone: Option<String>,
    pub page: Page,
}

/// What is not a page: the path, the kind, the bytes.
pub(super) fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    match path {
        "/style.css" => Some(("text/css; charset=utf-8", look::STYLE)),
        "/comfort.js" => Some(("text/javascript; charset=utf-8", include_str!("pages/comfort.js"))),
        "/mark.svg" | "/favicon.ico" => Some(("image/svg+xml", look::MARK)),
        _ => None,
    }
}

/// What stands around every page.
struct Frame {
    title: &'static str,
    rows: Vec<Row>,
    secure: bool,
    https: String,
    words: String,
    token: String,
    /// A refusal that is about no field.
    alarm: Option<String>,
    wrong: Option<(&'static str, String)>,
    typed: BTreeMap<String, String>,
    /// Seconds until the page comes anew by itself, for a browser without JavaScript.
    refresh: Option<u32>,
    /// Seconds between two looks whether there is something new; with JavaScript, and only then the page comes anew.
    look: Option<u32>,
    signed_in: bool,
}

impl Frame {
    fn wrong(&self, field: &str) -> Option<&str> {
        self.wrong.as_ref().filter(|(name, _)| *name == field).map(|(_, words)| words.as_str())
    }

    fn is_wrong(&self, field: &str) -> bool {
        self.wrong(field).is_some()
    }

    fn typed(&self, field: &str) -> &str {
        self.typed.get(field).map_or("", String::as_str)
    }
}

/// One step in the list at the side.
struct Row {
    id: &'static str,
    title: &'static str,
    class: &'static str,
    mark: &'static str,
    /// For who cannot see the mark.
    said: &'static str,
    small: String,
    link: bool,
    now: bool,
}

macro_rules! page {
    ($name:ident, $file:literal, $($field:ident: $of:ty),* $(,)?) => {
        #[derive(Template)]
        #[template(path = $file, config = "src/web/setup/askama.toml")]
        struct $name { frame: Frame, $($field: $of,)* }
    };
}

page!(Language, "language.html", groups: Vec<zones::Group>, chosen: String, languages: Vec<(String, String)>, language: String);
page!(Code, "code.html", changed: bool);
page!(Origin, "origin.html", found: Option<(String, String)>, open: bool);
page!(Restore, "restore.html", stick: Option<String>, offers: Vec<(String, String)>, problem: Option<String>, going: Option<Going>, told: Option<String>);
page!(Network, "network.html", addresses: Vec<String>, trusted: bool, internet: &'static str, clock: String);
page!(You, "you.html", domain: String);
page!(Sheet, "sheet.html", words: Vec<(usize, &'static str)>, first: usize, second: usize, name: String);
page!(YouDone, "you-done.html", address: String, confirmed: bool);
page!(Line, "line.html", state: Shown, line: Option<Measured>, plan: Vec<(String, String)>, measuring: String, relay: Relay, kept: String, wants: bool, tone: &'static str);
page!(DomainPage, "domain.html", name: String, host: String, conflict: Option<String>, chosen: Option<String>, house: bool);
page!(Dns, "dns.html", state: Shown, own: bool, domain: String, pieces: Vec<Drawn>, withheld: usize, right: usize, looked: Option<String>, advice: Vec<String>, zone: String);
page!(DnsWriting, "dns-writing.html", panel: Panel);
page!(DnsMethod, "dns-method.html", form: Form);
page!(Certificate, "certificate.html", state: Shown, own: bool, server: String, authority: Authority, names: Vec<Name>, told: Option<String>, clock: bool, contact: String, asking: bool);
page!(Letter, "letter.html", state: Shown, address: String, seen: Option<String>, own: bool, form: bool, out: Option<Out>, arrived: Option<In>);
page!(Family, "family.html", people: Vec<(String, String)>, domain: String, open: bool);
page!(Invited, "invited.html", address: String, phrase: String);
page!(Devices, "devices.html", address: String, server: String, imaps: u16, submissions: u16, seen: Vec<(String, String)>);
page!(Done, "done.html", rows: Vec<Open>, domain: Option<String>, address: String, server: Option<String>);
page!(Closed, "closed.html", address: String, restored: bool);
page!(SignIn, "sign-in.html", address: String);
page!(Recover, "recover.html",);
page!(Words, "words.html", headline: &'static str, words: &'static str);

/// A state as a page shows it.
struct Shown {
    /// `done`, `wait`, `need`, `bad`.
    class: &'static str,
    words: String,
    next: String,
}

struct Measured {
    verdict: String,
    headline: String,
    advice: String,
    rows: Vec<(String, String, String)>,
    at: String,
}

struct Drawn {
    title: String,
    name: String,
    full_name: String,
    kind: String,
    priority: Option<u16>,
    value: String,
    parts: Vec<String>,
    purpose: String,
    withheld: Option<String>,
    class: &'static str,
    state: String,
    /// What is wrong with it, whole sentences.
    wrong: String,
}

/// A name that a certificate is for.
struct Name {
    name: String,
    class: &'static str,
    words: String,
    why: String,
}

/// A step that is still open at the end.
struct Open {
    id: &'static str,
    title: &'static str,
    class: &'static str,
    words: String,
}

pub(super) fn draw(canvas: &Canvas<'_>) -> Result<String, askama::Error> {
    let view = canvas.view;
    let saved = &view.saved;
    let address = saved.admin.as_ref().map_or(String::new(), |admin| admin.address.clone());
    let zone = saved.zone.clone().unwrap_or_else(|| "Etc/UTC".to_owned());
    let state = |step: Step| shown(view.state(step), view.facts.now, &zone);
    let own = match &saved.domain {
        Some(Domain::Own { name, .. }) => Some(name.clone()),
        _ => None,
    };
    let server = saved.domain.as_ref().and_then(Domain::server);
    match &canvas.page {
        Page::Writing => {
            let writing = view.facts.writing.clone().unwrap_or_default();
            let domain = own.unwrap_or_default();
            let panel = Panel::of(&domain, WRITING.to_owned(), "/step/dns".to_owned(), &writing);
            let mut frame = frame(canvas, "Write records", Some(Step::Dns));
            frame.refresh = panel.running.map(|_| 3);
            frame.look = frame.refresh;
            DnsWriting { frame, panel }.render()
        }
        Page::Method(method) => {
            let kept = view.facts.writing.as_ref().map(|writing| writing.method.clone()).unwrap_or_default();
            let form = Form::of(WRITING.to_owned(), method, &kept, canvas.typed, canvas.secure);
            let mut frame = frame(canvas, "Write records", Some(Step::Dns));
            (frame.refresh, frame.look) = (None, None);
            frame.typed.retain(|name, _| !name.starts_with("secret"));
            match form {
                Some(form) => DnsMethod { frame, form }.render(),
                None => nothing(frame).render(),
            }
        }
        Page::SignIn => SignIn { frame: frame(canvas, "Sign in", None), address }.render(),
        Page::Recover => Recover { frame: frame(canvas, "New pass phrase", None) }.render(),
        Page::Closed => {
            let restored = saved.origin == Some(wizard::Origin::Restore);
            Closed { frame: frame(canvas, "Set-up is finished", None), address, restored }.render()
        }
        Page::Invited { address, phrase } => {
            let (address, phrase) = (address.clone(), phrase.clone());
            Invited { frame: frame(canvas, "Invitation", Some(Step::Family)), address, phrase }.render()
        }
        Page::Stale => Words {
            frame: frame(canvas, "Please try again", None),
            headline: "Please try again.",
            words: "This form was too old, or it was not sent from a page of this box. Nothing was changed.",
        }
        .render(),
        Page::Nothing => nothing(frame(canvas, "Not found", None)).render(),
        Page::LetterOut => letter(canvas, frame(canvas, "A letter out", Some(Step::Letter)), true).render(),
        Page::Step(step) => {
            let frame = frame(canvas, step.title(), Some(*step));
            match step {
                Step::Language => {
                    let chosen = saved.zone.clone().unwrap_or_else(|| zones::guess(canvas.accepted).to_owned());
                    let languages =
                        canvas.choices.iter().map(|(code, name)| ((*code).to_owned(), (*name).to_owned())).collect();
                    let language = canvas.typed.get("language").cloned().unwrap_or_else(|| canvas.language.to_owned());
                    Language { frame, groups: zones::groups(), chosen, languages, language }.render()
                }
                Step::Code => Code { frame, changed: saved.changed > 0 }.render(),
                Step::Origin if restores(view) => {
                    let stick = view.facts.stick.as_ref();
                    let offers = stick.map_or(&[][..], |stick| &stick.backups).iter();
                    Restore {
                        frame,
                        stick: stick.map(|stick| stick.name.clone()),
                        offers: offers.map(|offer| (offer.box_id.clone(), offered(offer, &zone))).collect(),
                        problem: stick.and_then(|stick| stick.problem.clone()),
                        going: view.facts.restoring.as_ref().map(Going::of),
                        told: view.facts.not_restored.clone().filter(|_| canvas.refusal.is_none()),
                    }
                    .render()
                }
                Step::Origin => {
                    let stick = view.facts.stick.as_ref();
                    let found =
                        stick.and_then(|stick| Some((stick.name.clone(), offered(stick.backups.first()?, &zone))));
                    Origin { frame, found, open: saved.admin.is_none() }.render()
                }
                Step::Network => Network {
                    frame,
                    addresses: view.facts.addresses.iter().map(ToString::to_string).collect(),
                    trusted: view.facts.clock == Clock::Trusted,
                    internet: match view.facts.internet {
                        Internet::Yes => "yes",
                        Internet::No => "no",
                        Internet::Unknown => "unknown",
                    },
                    clock: zones::clock(view.facts.now, Time::default(), &zone),
                }
                .render(),
                Step::You => match (&saved.admin, &view.sheet) {
                    (Some(admin), Some((words, (first, second)))) => Sheet {
                        frame,
                        words: words.iter().enumerate().map(|(at, word)| (at + 1, *word)).collect(),
                        first: first + 1,
                        second: second + 1,
                        name: admin.name.clone(),
                    }
                    .render(),
                    (Some(admin), None) => YouDone { frame, address, confirmed: admin.confirmed }.render(),
                    (None, _) => You { frame, domain: own.unwrap_or_else(|| "…".to_owned()) }.render(),
                },
                Step::Line => {
                    let line = saved.line.as_ref().map(|line| Measured {
                        verdict: line.verdict.clone(),
                        headline: line.headline.clone(),
                        advice: line.advice.clone(),
                        rows: line.measured.clone(),
                        at: zones::clock(Time::from_seconds(line.at), view.facts.now, &zone),
                    });
                    // Where sending is what the line cannot do, or somebody was at it, the form is open.
                    let relay_fields = ["host", "port", "tls", "user", "password", "spf"];
                    let wrong = canvas.refusal.and_then(|refusal| refusal.field);
                    let wants = wrong.is_some_and(|field| relay_fields.contains(&field))
                        || line.as_ref().is_some_and(|line| line.verdict == "Direct in, relay out");
                    Line {
                        frame,
                        state: state(*step),
                        line,
                        plan: view.facts.plan.clone(),
                        measuring: view.facts.measuring.clone().unwrap_or_else(|| "I begin".to_owned()),
                        relay: typed_relay(canvas).or_else(|| view.facts.relay.clone()).unwrap_or_default(),
                        kept: view.facts.relay.as_ref().map(|relay| relay.host.clone()).unwrap_or_default(),
                        tone: match saved.line.as_ref().map_or("", |line| line.verdict.as_str()) {
                            "Direct" => "done",
                            "Direct in, relay out" => "need",
                            _ => "wait",
                        },
                        wants,
                    }
                    .render()
                }
                Step::Domain => {
                    let conflict = canvas.refusal.filter(|refusal| refusal.field == Some("take_over"));
                    let (name, host) = match &saved.domain {
                        Some(Domain::Own { name, host }) => (name.clone(), host.clone()),
                        _ => (String::new(), "mail".to_owned()),
                    };
                    let typed = |field: &str, otherwise: String| canvas.typed.get(field).cloned().unwrap_or(otherwise);
                    DomainPage {
                        name: typed("name", name),
                        host: typed("host", host),
                        conflict: conflict.map(|refusal| refusal.words.clone()),
                        chosen: own,
                        house: saved.domain == Some(Domain::HouseOnly),
                        frame,
                    }
                    .render()
                }
                Step::Dns => Dns {
                    frame,
                    state: state(*step),
                    own: own.is_some(),
                    domain: own.unwrap_or_default(),
                    right: saved.records.iter().filter(|piece| piece.state == PieceState::Right).count(),
                    withheld: saved.records.iter().filter(|piece| piece.withheld.is_some()).count(),
                    pieces: saved.records.iter().map(|piece| drawn(piece, view, &zone)).collect(),
                    advice: saved.advice.clone(),
                    zone: canvas.zone.clone().unwrap_or_default(),
                    looked: saved.looked.map(|at| zones::clock(Time::from_seconds(at), view.facts.now, &zone)),
                }
                .render(),
                Step::Certificate => Certificate {
                    frame,
                    state: state(*step),
                    own: own.is_some(),
                    server: server.unwrap_or_default(),
                    names: names(view, &zone),
                    told: saved.trouble.get(step).map(|trouble| format!("{} {}", trouble.why, trouble.next)),
                    clock: view.facts.clock == Clock::Trusted,
                    contact: canvas.typed.get("contact").cloned().unwrap_or_else(|| contact(&address)),
                    asking: asking(view),
                    authority: view.facts.authority.clone().unwrap_or_default(),
                }
                .render(),
                Step::Letter => {
                    let form = frame.is_wrong("to");
                    letter(canvas, frame, form).render()
                }
                Step::Family => Family {
                    frame,
                    people: saved.people.iter().map(|one| (one.name.clone(), one.address.clone())).collect(),
                    domain: address.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned(),
                    open: saved.domain.is_some(),
                }
                .render(),
                Step::Devices => Devices {
                    frame,
                    address,
                    server: server.unwrap_or_else(|| {
                        view.facts.addresses.first().map_or_else(|| "homepost.local".to_owned(), ToString::to_string)
                    }),
                    imaps: canvas.about.imaps,
                    submissions: canvas.about.submissions,
                    seen: (view.facts.seen.iter())
                        .map(|seen| (seen.address.clone(), zones::clock(seen.at, view.facts.now, &zone)))
                        .collect(),
                }
                .render(),
                Step::Done => {
                    let open = view.steps.iter().filter(|(step, state)| *step < Step::Done && !state.is_done());
                    let rows = open.map(|(step, state)| {
                        let shown = shown(state, view.facts.now, &zone);
                        Open { id: step.id(), title: step.title(), class: shown.class, words: shown.words }
                    });
                    let domain = saved.domain.as_ref().map(|_| own.unwrap_or_else(|| "your house".to_owned()));
                    Done { frame, rows: rows.collect(), domain, address, server }.render()
                }
            }
        }
    }
}

/// How far a backup is back.
struct Going {
    words: &'static str,
    percent: Option<u64>,
}

impl Going {
    fn of(going: &PuttingBack) -> Going {
        let percent = (going.all > 0).then(|| going.done.saturating_mul(100) / going.all);
        Going { words: going.words, percent }
    }
}

/// Somebody wants a backup back, and there is nobody yet.
fn restores(view: &View) -> bool {
    view.saved.origin == Some(wizard::Origin::Restore) && view.saved.admin.is_none()
}

fn offered(offer: &Offer, zone: &str) -> String {
    let (day, time) = (zones::day(offer.at, zone), zones::clock(offer.at, offer.at, zone));
    match offer.letters {
        Some(letters) => format!("of {day}, {time}, with {letters} letters"),
        None => format!("of {day}, {time}, of the settings and people alone"),
    }
}

fn nothing(frame: Frame) -> Words {
    Words {
        frame,
        headline: "There is no such page.",
        words: "Perhaps the address was typed by hand. The set-up goes on at its first page.",
    }
}

fn frame(canvas: &Canvas<'_>, title: &'static str, step: Option<Step>) -> Frame {
    let view = canvas.view;
    let stranger = view.who == Who::Stranger;
    let rows = view.steps.iter().map(|(one, state)| {
        let now = step == Some(*one);
        let (class, mark, said) = match state {
            State::Done(_) => ("done", "✓", "done"),
            State::Waiting { .. } => ("wait", "…", "waiting"),
            State::Failed { .. } => ("bad", "!", "failed"),
            State::NeedsYou => ("open", "", "open"),
        };
        let small = match state {
            State::Waiting { on, .. } if on.starts_with("a later version") => "comes later".to_owned(),
            State::Waiting { on, .. } if !stranger && view.saved.admin.is_some() => format!("waits for {on}"),
            _ => String::new(),
        };
        let reachable = match (view.who, &view.saved.admin) {
            (Who::Stranger, Some(_)) => false,
            (Who::Stranger, None) => *one <= Step::Code,
            (_, None) => *one <= Step::You && *one != Step::Code,
            (_, Some(_)) => *one != Step::Code,
        };
        let too_early = view.saved.admin.is_none() && *one > Step::Network;
        let (class, mark, said) =
            if too_early || (stranger && *one > Step::Code) { ("open", "", "open") } else { (class, mark, said) };
        let link = reachable && !now && !view.saved.finished;
        Row { id: one.id(), title: one.title(), class, mark, said, small, link, now }
    });
    let waits = step.is_some_and(|step| refreshes(step, view.state(step), view));
    Frame {
        title,
        rows: rows.collect(),
        secure: canvas.secure,
        https: format!("https://{}/", canvas.host),
        words: canvas.about.words.clone(),
        token: canvas.token.clone(),
        alarm: canvas.refusal.filter(|refusal| refusal.field.is_none()).map(|refusal| refusal.words.clone()),
        wrong: canvas.refusal.and_then(|refusal| refusal.field.map(|field| (field, refusal.words.clone()))),
        typed: canvas.typed.clone(),
        refresh: waits.then_some(5),
        look: (waits || step == Some(Step::Dns)).then_some(5),
        signed_in: view.who == Who::Administrator && !view.saved.finished,
    }
}

/// What came in and what went out, or with `form` the question where to.
fn letter(canvas: &Canvas<'_>, mut frame: Frame, form: bool) -> Letter {
    let (view, saved) = (canvas.view, &canvas.view.saved);
    let zone = saved.zone.clone().unwrap_or_else(|| "Etc/UTC".to_owned());
    let out = Out::of(view, &zone);
    if form {
        (frame.refresh, frame.look) = (None, None);
    } else if out.as_ref().is_some_and(|out| out.waits) {
        (frame.refresh, frame.look) = (Some(5), Some(5));
    }
    Letter {
        frame,
        state: shown(view.state(Step::Letter), view.facts.now, &zone),
        address: saved.admin.as_ref().map_or(String::new(), |admin| admin.address.clone()),
        seen: saved.letter.map(|at| zones::clock(Time::from_seconds(at), view.facts.now, &zone)),
        own: matches!(saved.domain, Some(Domain::Own { .. })),
        form,
        out,
        arrived: view.facts.arrived.as_ref().map(In::of),
    }
}

/// Pages that show what comes by itself, and have no field somebody may just be filling in.
fn refreshes(step: Step, state: &State, view: &View) -> bool {
    let waiting = matches!(state, State::Waiting { .. });
    let later = matches!(state, State::Waiting { on, .. } if on.starts_with("a later version") || on == "your domain");
    match step {
        Step::Origin => {
            restores(view) && (waiting || view.facts.stick.as_ref().is_none_or(|stick| stick.backups.is_empty()))
        }
        Step::Network | Step::Line => waiting && !later,
        // Also while one name needs somebody and the others are on their way.
        Step::Certificate => (waiting && !later) || asks(view),
        Step::Letter | Step::Devices => waiting && !later,
        Step::Dns => waiting && !later && (view.saved.records.is_empty() || view.saved.asked.contains(&Step::Dns)),
        _ => false,
    }
}

/// As it was typed, after something in it was wrong.
fn typed_relay(canvas: &Canvas<'_>) -> Option<Relay> {
    let get = |name: &str| canvas.typed.get(name).cloned().unwrap_or_default();
    canvas.typed.contains_key("host").then(|| Relay {
        host: get("host"),
        port: get("port").parse().unwrap_or_default(),
        tls: get("tls"),
        user: get("user"),
        spf: get("spf"),
        password: canvas.view.facts.relay.as_ref().is_some_and(|relay| relay.password),
    })
}

/// What is proposed: the administrator's own, once others can write there.
fn contact(address: &str) -> String {
    if address.ends_with("@home.arpa") { String::new() } else { address.to_owned() }
}

/// Each name by itself: one that fails says why, and the others say that they are well.
fn names(view: &View, zone: &str) -> Vec<Name> {
    let now = view.facts.now;
    let one = |vouched: &Vouched| {
        let (class, words, why) = match &vouched.state {
            Vouching::Done { until, .. } => ("done", format!("✓ until {}", zones::day(*until, zone)), String::new()),
            Vouching::Waiting { why, until: Some(until) } if *until > now => {
                ("wait", format!("… waits until about {}", zones::clock(*until, now, zone)), why.clone())
            }
            Vouching::Waiting { why, .. } => ("wait", "… is being asked for".to_owned(), why.clone()),
            Vouching::NeedsYou { why, again } => {
                let why = match again {
                    Some(again) => format!("{why} I try again at about {}.", zones::clock(*again, now, zone)),
                    None => why.clone(),
                };
                ("need", "→ needs you".to_owned(), why)
            }
        };
        Name { name: vouched.name.clone(), class, words, why }
    };
    view.facts.authority.iter().flat_map(|authority| &authority.names).map(one).collect()
}

/// Some name is being asked for just now.
fn asking(view: &View) -> bool {
    let mut names = view.facts.authority.iter().filter(|authority| authority.on).flat_map(|authority| &authority.names);
    view.saved.asked.contains(&Step::Certificate)
        || names.any(|name| matches!(&name.state, Vouching::Waiting { why, .. } if why.is_empty()))
}

fn asks(view: &View) -> bool {
    let authority = view.facts.authority.iter().filter(|authority| authority.on && view.saved.domain.is_some());
    authority.flat_map(|authority| &authority.names).any(|name| matches!(name.state, Vouching::Waiting { .. }))
}

fn shown(state: &State, now: Time, zone: &str) -> Shown {
    match state {
        State::Done(said) => {
            Shown { class: "done", words: said.clone().unwrap_or_else(|| "done".to_owned()), next: String::new() }
        }
        State::Waiting { on, until: None } => {
            Shown { class: "wait", words: format!("waits for {on}"), next: String::new() }
        }
        State::Waiting { on, until: Some(until) } => {
            let words = format!("waits for {on}, until about {}", zones::clock(*until, now, zone));
            Shown { class: "wait", words, next: String::new() }
        }
        State::NeedsYou => Shown { class: "need", words: "needs you".to_owned(), next: String::new() },
        State::Failed { why, next } => Shown { class: "bad", words: why.clone(), next: next.clone() },
    }
}

fn drawn(piece: &Piece, view: &View, zone: &str) -> Drawn {
    let (class, state) = piece_shown(piece, zone, view);
    Drawn {
        title: format!("{} {}", piece.kind, piece.name),
        name: piece.name.clone(),
        full_name: piece.full_name.clone(),
        kind: piece.kind.clone(),
        priority: piece.priority,
        value: piece.value.clone(),
        parts: piece.parts.clone(),
        purpose: piece.purpose.clone(),
        withheld: piece.withheld.as_deref().map(look::sentence),
        class,
        state,
        wrong: match &piece.state {
            PieceState::Different { found } => found.clone(),
            PieceState::CannotAsk { why } => why.clone(),
            _ => String::new(),
        },
    }
}

fn piece_shown(piece: &Piece, zone: &str, view: &View) -> (&'static str, String) {
    if piece.withheld.is_some() {
        return ("done", "not to be entered now".to_owned());
    }
    match &piece.state {
        PieceState::Unknown => ("wait", "not looked at yet".to_owned()),
        PieceState::Right => ("done", "right".to_owned()),
        PieceState::NotYet { until: None } => ("wait", "not there yet".to_owned()),
        PieceState::NotYet { until: Some(until) } => {
            let until = zones::clock(Time::from_seconds(*until), view.facts.now, zone);
            ("wait", format!("not there yet (normal, until about {until})"))
        }
        PieceState::Different { .. } => ("bad", "there, but different".to_owned()),
        PieceState::Differing => ("wait", "two answers differ".to_owned()),
        PieceState::CannotAsk { .. } => ("wait", "cannot ask".to_owned()),
    }
}
