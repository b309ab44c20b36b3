//! How letters leave, as its page shows it: to the domains' own servers, or through a relay, for all or for some domains.

use std::sync::Arc;

use http::StatusCode;

use crate::appliance::wizard::{Refusal, Relay as NewRelay, Secret as Kept};
use crate::settings::is_relay_name;

use super::draw::{Frame, Sending, draw};
use super::household::{Error, Relay};
use super::pages::{Again, Done, field, phrase, status_of};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit};

const BASE: &str = "/admin/sending";
/// In a form, of a relay that has no name yet.
const NEW: &str = "new";

/// A relay and the form to change it.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    /// What tells its fields from those of the other forms.
    pub key: String,
    pub name: String,
    pub domains: String,
    pub host: String,
    pub port: String,
    pub starttls: bool,
    pub user: String,
    pub spf: String,
    /// It is there, and has a password.
    pub there: bool,
    pub password: bool,
    wrong: Option<(&'static str, String)>,
}

impl Form {
    fn of(relay: Relay) -> Form {
        let key = if relay.name.is_empty() { "all".to_owned() } else { format!("for-{}", relay.name) };
        Form {
            key,
            name: relay.name,
            domains: relay.domains.unwrap_or_default().join(" "),
            host: relay.host,
            port: relay.port.to_string(),
            starttls: relay.tls == "starttls",
            user: relay.user,
            spf: relay.spf,
            there: true,
            password: relay.password,
            wrong: None,
        }
    }

    fn empty(key: &str) -> Form {
        Form { key: key.to_owned(), port: "465".to_owned(), ..Form::default() }
    }

    /// As it was typed, and what is wrong with it. The password is not said again.
    fn again(&mut self, fields: &Fields, wrong: (&'static str, String)) {
        let typed = |name: &str| field(fields, name).to_owned();
        (self.host, self.port, self.user, self.spf) = (typed("host"), typed("port"), typed("user"), typed("spf"));
        (self.starttls, self.domains) = (field(fields, "tls") == "starttls", typed("domains"));
        if !self.there {
            self.name = typed("name");
        }
        self.wrong = Some(wrong);
    }

    pub fn wrong(&self, field: &str) -> Option<&str> {
        self.wrong.as_ref().filter(|(name, _)| *name == field).map(|(_, words)| words.as_str())
    }

    pub fn is_wrong(&self, field: &str) -> bool {
        self.wrong(field).is_some()
    }

    pub fn is_open(&self) -> bool {
        self.wrong.is_some()
    }

    /// It takes all letters.
    pub fn takes_all(&self) -> bool {
        self.key == "all"
    }
}

pub(super) async fn show(
    site: &Arc<Site>,
    visit: &Visit,
    again: Again<'_>,
    wrong: Option<(&Fields, &'static str, String)>,
) -> Done {
    let (relays, why) = site.ask(|household| Ok((household.relays()?, household.standstill()))).await?;
    let (mut all, mut some, mut new) = (Form::empty("all"), Vec::new(), Form::empty(NEW));
    for relay in relays {
        match relay.name.is_empty() {
            true => all = Form::of(relay),
            false => some.push(Form::of(relay)),
        }
    }
    let mut status = status_of(again);
    if let Some((fields, name, words)) = wrong {
        status = StatusCode::UNPROCESSABLE_ENTITY;
        let key = field(fields, "form");
        if let Some(form) = [&mut all, &mut new].into_iter().chain(&mut some).find(|form| form.key == key) {
            form.again(fields, (name, words));
        }
    }
    let frame = Frame::new(site, visit, "Sending", BASE).with(again);
    Ok(draw(&Sending { frame, why, all, some, new }, status))
}

/// A form was filled in.
pub(super) async fn act(site: &Arc<Site>, visit: &Visit, fields: &Fields) -> Done {
    let key = field(fields, "form");
    let name = match key {
        "all" => "",
        NEW => field(fields, "name"),
        _ => key.strip_prefix("for-").unwrap_or_default(),
    }
    .to_owned();
    let refuse = |name: &'static str, words: &str| show(site, visit, None, Some((fields, name, words.to_owned())));
    if key != "all" && !is_relay_name(&name) {
        return refuse("name", "Give it a short name of letters and digits, as in office.").await;
    }
    let mut relay = NewRelay { port: 465, tls: "implicit".to_owned(), ..NewRelay::default() };
    match field(fields, "do") {
        "remove" => {}
        "keep" => {
            let Some(port) = field(fields, "port").parse().ok().filter(|port| *port > 0) else {
                return refuse("port", "A port is a number from 1 to 65535; relays use 465 or 587.").await;
            };
            let typed = |name: &str| field(fields, name).to_owned();
            relay = NewRelay { host: typed("host"), port, user: typed("user"), spf: typed("spf"), ..relay };
            if field(fields, "tls") == "starttls" {
                relay.tls = "starttls".to_owned();
            }
            if relay.host.is_empty() {
                return refuse("host", "That is not the name of a server. One looks like smtp.provider.example.").await;
            }
        }
        _ => return Err(Error::Refused("nothing can be done of that name".to_owned())),
    }
    // Whoever takes one away has not typed a password for it, whatever their browser did.
    let typed = if relay.host.is_empty() { String::new() } else { phrase(fields, "secret").0 };
    let (domains, password) = (field(fields, "domains").to_owned(), Kept(typed));
    let new = key == NEW;
    let kept = site.ask(move |household| {
        if new && household.relays()?.iter().any(|one| one.name == name) {
            let words = "There is a relay of that name already.".to_owned();
            return Ok(Some(Refusal { field: Some("name"), words }));
        }
        household.keep_relay(&name, &domains, &relay, &password)
    });
    match kept.await? {
        None => Ok(Answer::To(BASE.to_owned())),
        Some(Refusal { field: Some(name), words }) => {
            let name = if name == "password" { "secret" } else { name };
            show(site, visit, None, Some((fields, name, words))).await
        }
        Some(Refusal { field: None, words }) => Err(Error::Refused(words)),
    }
}
