//! The pages as they look: templates, and what is put together for them.

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::web::writing::{Form, Panel};

use super::backup::{self, Running};
use super::household::{
    Alias, Backups, Certificate, Device, Link, Person, Port, Problem, Report, Standing, Token, UpdateLast, UpdateNow,
};
use super::queue::Waiting;
use super::relays;
use super::site::{Answer, Site};
use super::updates::Newer;
use super::visit::{Fields, Visit, encode};

/// What stands around every page.
pub(super) struct Frame {
    title: String,
    tabs: Vec<Tab>,
    token: String,
    signed_in: bool,
    /// A refusal that is about no field, and one that is.
    alarm: Option<String>,
    wrong: Option<(&'static str, String)>,
    typed: Fields,
}

struct Tab {
    path: &'static str,
    title: &'static str,
    now: bool,
}

/// The last ones are everybody's.
const OWN: usize = 2;

const TABS: [(&str, &str); 14] = [
    ("/admin", "How it is"),
    ("/admin/people", "People"),
    ("/admin/aliases", "Aliases"),
    ("/admin/domains", "Domains"),
    ("/admin/ports", "Ports"),
    ("/admin/certificates", "Certificates"),
    ("/admin/queue", "Queue"),
    ("/admin/sending", "Sending"),
    ("/admin/reports", "Reports"),
    ("/admin/backup", "Backup"),
    ("/admin/programs", "Programs"),
    ("/admin/updates", "Updates"),
    ("/me", "You"),
    ("/me/devices", "Your devices"),
];

/// What was wrong with a form.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub field: Option<&'static str>,
    pub words: String,
    /// Nothing is wrong with the form; it does not work right now.
    pub later: bool,
}

impl Frame {
    pub fn new(site: &Site, visit: &Visit, title: &str, tab: &str) -> Frame {
        let tabs = match &visit.who {
            Some(who) if who.administrator => &TABS[..],
            Some(_) => &TABS[TABS.len() - OWN..],
            None => &[],
        };
        Frame {
            title: title.to_owned(),
            tabs: tabs.iter().map(|(path, title)| Tab { path, title, now: *path == tab }).collect(),
            token: site.forms.token(&visit.form),
            signed_in: visit.who.is_some(),
            alarm: None,
            wrong: None,
            typed: Fields::new(),
        }
    }

    /// The same after a form that was refused; what was typed stands there again, but no pass phrase.
    pub fn with(mut self, wrong: Option<(&Wrong, &Fields)>) -> Frame {
        let Some((wrong, typed)) = wrong else { return self };
        match wrong.field {
            Some(field) => self.wrong = Some((field, wrong.words.clone())),
            None => self.alarm = Some(wrong.words.clone()),
        }
        self.typed = typed.clone();
        self.typed.retain(|name, _| !name.starts_with("phrase") && !name.starts_with("secret") && name != "t");
        self
    }

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

macro_rules! page {
    ($name:ident, $file:literal, $($field:ident: $of:ty),* $(,)?) => {
        #[derive(Template)]
        #[template(path = $file, config = "src/web/admin/askama.toml")]
        pub(super) struct $name { pub frame: Frame, $(pub $field: $of,)* }
    };
}

page!(Words, "words.html", headline: String, words: String);
page!(SignIn, "sign-in.html", address: String);
page!(Erase, "erase.html", begun: bool);
page!(Forgotten, "forgotten.html", address: String, shown: bool);
page!(Invitation, "invitation.html", address: String, name: String, link: String);
page!(Welcome, "welcome.html", address: String, server: String);
page!(Me, "me.html", who: Standing, server: String, changed: bool, languages: Vec<(String, String)>, spoken: String);
page!(Overview, "overview.html", problems: Vec<Problem>, people: usize, domains: usize, waiting: usize);
page!(People, "people.html", people: Vec<Row>, domains: Vec<String>);
page!(PersonPage, "person.html", row: Row, person: Person, own: bool);
page!(Shown, "shown.html", headline: String, lead: String, label: &'static str, secret: String, until: Option<String>, back: String);
page!(Aliases, "aliases.html", aliases: Vec<Alias>);
page!(Domains, "domains.html", domains: Vec<DomainRow>);
page!(Devices, "devices.html", devices: Vec<OwnDevice>);
page!(Profile, "profile.html", link: String, picture: String, back: String);
page!(DomainPage, "domain.html", domain: String, path: String, checked: bool, servers: Vec<String>, advice: Vec<String>, right: usize, records: Vec<Piece>, withheld: Vec<Piece>);
page!(DomainWriting, "domain-writing.html", panel: Panel);
page!(DomainMethod, "domain-method.html", form: Form);
page!(Ports, "ports.html", ports: Vec<(Port, &'static str)>);
page!(Sure, "sure.html", port: Port, words: &'static str);
page!(Certificates, "certificates.html", certificates: Vec<Held>, asked: bool);
page!(Queue, "queue.html", letters: Vec<Waiting>, all: usize, why: Option<String>, waits: bool, held: bool);
page!(Sending, "sending.html", why: Option<String>, all: relays::Form, some: Vec<relays::Form>, new: relays::Form);
page!(LetterPage, "letter.html", letter: Option<Waiting>, why: Option<String>, sure: bool);
page!(ReportsPage, "reports.html", reports: Vec<Told>, advice: Vec<String>);
page!(UpdatesPage, "updates.html", version: String, on_trial: bool, now: Option<UpdateNow>, ready: Option<String>, last: Option<UpdateLast>, url: Option<String>, by_itself: bool, looked: Option<String>, offers: Vec<Newer>, problem: Option<String>, busy: bool);
page!(Backup, "backup.html", known: Backups, told: backup::Told, made: Option<String>, verified: Option<String>, kept: Vec<backup::Shown>, running: Option<Running>);
page!(BackupSheet, "backup-sheet.html", words: Vec<&'static str>, first: usize, second: usize);
page!(BackupSure, "backup-sure.html", stick: String);
page!(Programs, "programs.html", tokens: Vec<Token>);

/// A person in a list.
pub(super) struct Row {
    pub path: String,
    pub address: String,
    pub name: String,
    pub class: &'static str,
    pub state: String,
    pub room: String,
}

impl Row {
    pub fn of(person: &Person, times: &Times) -> Row {
        let (class, state) = match person {
            Person { leaves: Some(at), .. } => ("bad", format!("to be deleted on {}", times.day(at))),
            Person { stopped: Some(_), .. } => ("bad", "may not send".to_owned()),
            Person { disabled: true, .. } => ("wait", "log-in switched off".to_owned()),
            Person { has_password: false, invited_until: Some(until), .. } => {
                ("wait", format!("invited, until {}", times.day(until)))
            }
            Person { has_password: false, .. } => ("need", "invitation has run out".to_owned()),
            Person { administrator: true, .. } => ("done", "administrator".to_owned()),
            _ => ("done", "✓ can sign in".to_owned()),
        };
        let room = match person.quota {
            Some(quota) => format!("{} letters, {} of {}", person.messages, size(person.bytes), size(quota)),
            None => format!("{} letters, {}", person.messages, size(person.bytes)),
        };
        Row {
            path: encode(&person.address),
            address: person.address.clone(),
            name: person.name.clone().unwrap_or_default(),
            class,
            state,
            room,
        }
    }
}

/// A domain in a list, with what was last seen of its records.
pub(super) struct DomainRow {
    pub path: String,
    pub domain: String,
    pub class: &'static str,
    pub state: &'static str,
    pub words: String,
}

impl DomainRow {
    pub fn of(domain: String, problems: &[Problem]) -> DomainRow {
        let problem = problems.iter().find(|problem| problem.subject.as_ref() == Some(&domain));
        let (class, state) = match problem.map(|problem| problem.state.as_str()) {
            None => ("done", "✓ nothing to do"),
            Some("waiting") => ("wait", "… not looked at yet"),
            Some(_) => ("need", "→ some records are not right"),
        };
        let words = problem.map(|problem| problem.words.clone()).unwrap_or_default();
        DomainRow { path: encode(&domain), domain, class, state, words }
    }
}

/// A device in its owner's list: green when it has logged in.
pub(super) struct OwnDevice {
    pub id: u32,
    pub name: String,
    pub class: &'static str,
    pub state: String,
}

impl OwnDevice {
    pub fn of(device: Device, times: &Times) -> OwnDevice {
        let (class, state) = match (&device.used, &device.waits_until) {
            (Some(used), _) => ("done", format!("✓ used {}", times.minute(used))),
            (None, Some(until)) => ("wait", format!("… link is good until {}", times.minute(until))),
            (None, None) => ("wait", "… has not signed in yet".to_owned()),
        };
        OwnDevice { id: device.id, name: device.name, class, state }
    }
}

/// A record of a domain, with what its name servers say if they were asked.
pub(super) struct Piece {
    pub name: String,
    pub full_name: String,
    pub kind: String,
    pub priority: Option<u16>,
    pub value: String,
    pub parts: Vec<String>,
    pub purpose: String,
    pub reason: String,
    pub class: &'static str,
    pub state: String,
    pub words: String,
}

/// A report in a list.
pub(super) struct Told {
    pub domain: String,
    pub class: &'static str,
    pub state: &'static str,
    pub words: Vec<String>,
    pub received: String,
}

impl Told {
    pub fn of(report: Report, times: &Times) -> Told {
        let (class, state) = match report.state.as_str() {
            "good" => ("done", "✓ all as it should be"),
            "look" => ("need", "→ some were not"),
            _ => ("wait", "could not be read"),
        };
        Told {
            received: times.minute(&report.received),
            domain: if report.domain.is_empty() { report.sender } else { report.domain },
            class,
            state,
            words: report.words,
        }
    }
}

/// A certificate in a list.
pub(super) struct Held {
    pub names: Vec<String>,
    pub class: &'static str,
    pub state: String,
    pub words: String,
    pub problem: Option<String>,
    /// It can be asked for at the authority.
    pub group: Option<String>,
}

impl Held {
    pub fn of(one: Certificate, times: &Times) -> Held {
        let until = one.until.as_deref().map(|until| times.day(until)).unwrap_or_default();
        let issuer = one.issuer.clone().unwrap_or_default();
        let (class, state, words) = match one.source.as_deref() {
            Some("authority") => ("done", "✓ from an authority".to_owned(), format!("From {issuer}, until {until}.")),
            Some("imported") => {
                ("wait", "imported".to_owned(), format!("From {issuer}, until {until}. It cannot renew itself."))
            }
            Some("own") => (
                "wait",
                "our own".to_owned(),
                format!("Serves all other names, until {until}. Nobody else vouches for it, so programs warn."),
            ),
            _ => ("need", "none yet".to_owned(), "The server's own one serves until there is one.".to_owned()),
        };
        let next =
            one.next.as_deref().map(|at| format!(" The next try is about {}.", times.minute(at))).unwrap_or_default();
        Held {
            group: (one.source.as_deref() != Some("own") && one.source.as_deref() != Some("imported"))
                .then_some(one.group),
            names: one.names,
            class: if one.problem.is_some() && class == "need" { "bad" } else { class },
            state,
            words: words + &next,
            problem: one.problem.map(|problem| problem.words),
        }
    }
}

pub(super) fn draw(page: &impl Template, status: StatusCode) -> Answer {
    match page.render() {
        Ok(html) => Answer::Html(status, html),
        Err(error) => {
            tracing::error!(%error, "a page cannot be drawn");
            Answer::Html(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong inside homepost.".to_owned())
        }
    }
}

impl Shown {
    pub fn link(frame: Frame, made: Link, headline: String, back: String, times: &Times) -> Shown {
        Shown {
            frame,
            headline,
            lead:
                "Hand this over, by whatever way you trust. It is good once. It is shown only now; a new link can be \
                   made at any time, and takes this one's place."
                    .to_owned(),
            label: "Link",
            secret: made.link,
            until: Some(times.minute(&made.until)),
            back,
        }
    }
}

/// Times as people read them where they live.
pub(super) struct Times(TimeZone);

impl Times {
    /// A zone that is none is universal time.
    pub fn of(zone: &str) -> Times {
        Times(TimeZone::get(zone).unwrap_or(TimeZone::UTC))
    }

    /// `3 December 2026` of a time of RFC 3339 or RFC 5322; as it is, if it is neither.
    pub fn day(&self, time: &str) -> String {
        self.shown(time, "%-d %B %Y")
    }

    /// `3 December 2026, 15:05 CET`.
    pub fn minute(&self, time: &str) -> String {
        self.shown(time, "%-d %B %Y, %H:%M %Z")
    }

    /// Since 1970.
    pub fn seconds(time: &str) -> Option<i64> {
        Times::read(time).map(Timestamp::as_second)
    }

    fn read(time: &str) -> Option<Timestamp> {
        let read = time.parse::<Timestamp>().or_else(|_| jiff::fmt::rfc2822::parse(time).map(|time| time.timestamp()));
        read.ok()
    }

    fn shown(&self, time: &str, form: &str) -> String {
        match Times::read(time) {
            Some(read) => read.to_zoned_datetime(self.0.clone()).strftime(form).to_string(),
            None => time.to_owned(),
        }
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        let (home, nowhere) = (Times::of("Europe/Berlin"), Times::of(""));
        assert_eq!(nowhere.day("2026-12-03T23:05:00Z"), "3 December 2026");
        assert_eq!(nowhere.minute("2026-12-03T14:05:00Z"), "3 December 2026, 14:05 UTC");
        assert_eq!(home.day("2026-12-03T23:05:00Z"), "4 December 2026");
        assert_eq!(home.minute("2026-07-03T14:05:00Z"), "3 July 2026, 16:05 CEST");
        assert_eq!(home.minute("Thu, 3 Dec 2026 14:05:00 +0000"), "3 December 2026, 15:05 CET");
        assert_eq!(home.day("soon"), "soon");
        assert_eq!((size(5 << 30), size(0), size(1536)), ("5.0 GiB".into(), "0 bytes".into(), "1.5 KiB".into()));
    }
}
