//! What a way of writing needs to be told, and what comes back.

use std::collections::BTreeMap;

use crate::appliance::wizard::Secret;
use crate::appliance::writing::{Method, NewMethod, Wish};
use crate::net::dns::{RFC2136, secrets_of};

use super::title;

type Fields = BTreeMap<String, String>;

/// Longer than any field that a person fills in.
const FIELD_BYTES: usize = 1000;
const SECRETS: [&str; 3] = ["secret1", "secret2", "secret3"];
const ALGORITHMS: [&str; 4] = ["hmac-sha256", "hmac-sha224", "hmac-sha384", "hmac-sha512"];
const POWERDNS: &str = "powerdns";

/// What is wrong with a form: the field, if it is about one, and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Wrong {
    pub field: Option<&'static str>,
    pub words: String,
}

fn wrong(field: &'static str, words: &str) -> Wrong {
    Wrong { field: Some(field), words: words.to_owned() }
}

pub(in super::super) struct Form {
    pub base: String,
    pub method: String,
    pub title: String,
    pub update: bool,
    /// The address of a provider's interface is asked for.
    pub interface: bool,
    pub server: String,
    pub key_name: String,
    /// Each, and whether it is the one.
    pub algorithms: Vec<(&'static str, bool)>,
    pub zone: String,
    pub ask: String,
    /// The field, what it asks for.
    pub secrets: Vec<(&'static str, String)>,
    /// There is one already, which an empty field keeps.
    pub kept: bool,
    /// It is typed where nobody can read along.
    pub secure: bool,
    /// Of what is special, something is set or wrong.
    pub more: bool,
}

impl Form {
    /// `None`: there is no such way. `typed`: after something was wrong. R1: no secret comes back.
    pub fn of(base: String, method: &str, kept: &Method, typed: &Fields, secure: bool) -> Option<Form> {
        let secrets = secrets_of(method)?;
        let same = kept.method == method;
        let text = |field: &str, kept: &str| match typed.get(field) {
            Some(typed) => typed.clone(),
            None if same => kept.to_owned(),
            None => String::new(),
        };
        let algorithm = text("algorithm", &kept.algorithm);
        // These two are the domain's, whoever writes.
        let of_all = |field: &str, kept: &str| typed.get(field).cloned().unwrap_or_else(|| kept.to_owned());
        let (zone, ask) = (of_all("zone", &kept.zone), of_all("ask", &kept.ask));
        Some(Form {
            base,
            method: method.to_owned(),
            title: title(method).to_owned(),
            update: method == RFC2136,
            interface: method == POWERDNS,
            server: text("server", &kept.server),
            key_name: text("key_name", &kept.key_name),
            algorithms: ALGORITHMS.iter().map(|one| (*one, *one == algorithm)).collect(),
            more: !zone.is_empty() || !ask.is_empty(),
            zone,
            ask,
            secrets: SECRETS.into_iter().zip(secrets.iter().map(|words| capital(words))).collect(),
            kept: same && kept.secret,
            secure,
        })
    }
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What was filled in. `kept`: how it is until now.
pub(in super::super) fn read_method(method: &str, fields: &Fields, kept: &Method) -> Result<NewMethod, Wrong> {
    let none = || Wrong { field: None, words: "Choose how the records are to be written.".to_owned() };
    if method == "none" {
        return Ok(NewMethod { method: method.to_owned(), ..NewMethod::default() });
    }
    let needed = secrets_of(method).ok_or_else(none)?;
    let text = |field: &'static str| -> Result<String, Wrong> {
        let text = fields.get(field).map_or("", |text| text.trim());
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong(
                field,
                "There is a blank, a line break or another control character in it; please type it anew.",
            ));
        }
        if text.len() > FIELD_BYTES {
            return Err(wrong(field, "That is too long."));
        }
        Ok(text.to_owned())
    };
    let typed = fields.get("server").map_or("", |text| text.trim());
    if method == RFC2136 && crate::net::dns::address(typed).is_none() {
        return Err(wrong("server", "Type the address of the name server, as in 192.0.2.53."));
    }
    if method == POWERDNS && !(typed.starts_with("http://") || typed.starts_with("https://")) {
        return Err(wrong("server", "Type the address of its interface, as in http://192.0.2.53:8081."));
    }
    let server = text("server")?;
    let (key_name, algorithm) = (text("key_name")?, text("algorithm")?);
    if method == RFC2136 && key_name.is_empty() {
        return Err(wrong("key_name", "Type the name of the key, as the name server has it."));
    }
    let ask = text("ask")?;
    if ask.split(',').any(|one| !one.is_empty() && crate::net::dns::address(one).is_none()) {
        return Err(wrong("ask", "Type addresses of name servers, with commas between them, as in 192.0.2.53."));
    }
    let mut secrets = Vec::new();
    for field in SECRETS.into_iter().take(needed.len()) {
        secrets.push((field, text(field)?));
    }
    if secrets.iter().all(|(_, secret)| secret.is_empty()) && kept.method == method && kept.secret {
        secrets.clear();
    }
    if let Some((field, _)) = secrets.iter().find(|(_, secret)| secret.is_empty()) {
        return Err(wrong(field, "Without it nothing can be written."));
    }
    Ok(NewMethod {
        method: method.to_owned(),
        server: Some(server),
        key_name: Some(key_name),
        algorithm: (method == RFC2136).then_some(algorithm).filter(|algorithm| !algorithm.is_empty()),
        zone: Some(text("zone")?.trim_end_matches('.').to_ascii_lowercase()),
        ask: Some(ask),
        secrets: secrets.into_iter().map(|(_, secret)| Secret(secret)).collect(),
    })
}

/// What a button asks for. `None`: it is none of these. R2: only what was ticked is taken over. R3: a page without the mark of what it
/// showed writes nothing; no work has the number 0.
pub(in super::super) fn read_wish(fields: &Fields) -> Option<Wish> {
    let (write, undo) = match fields.get("do")?.as_str() {
        "plan" => (false, false),
        "push" => (true, false),
        "plan-undo" => (false, true),
        "undo" => (true, true),
        _ => return None,
    };
    let ticks = fields.iter().filter(|(name, _)| write && name.starts_with("take-"));
    // `all` is for whoever types it.
    let take_over = ticks.map(|(_, handle)| handle.clone()).filter(|handle| handle.contains('/')).collect();
    let seen = fields.get("seen").and_then(|id| id.parse().ok()).unwrap_or(0);
    Some(Wish { write, undo, take_over, seen: write.then_some(seen) })
}
