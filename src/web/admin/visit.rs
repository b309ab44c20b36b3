//! One request to a page: from whom it comes, and what it brought.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::extract::Request;
use http::header::{ACCEPT_LANGUAGE, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method};

use crate::net::Connection;
use crate::web::setup::form::{self, BODY_BYTES};
use crate::web::setup::guard::{self, Forms};

use super::household::Standing;
use super::site::Site;

/// RFC 6265bis 4.1.3.2: a browser takes such a name only over TLS, from this host, for all of it.
pub(super) const FORM_COOKIE: &str = "__Host-hp-form";
pub(super) const SESSION_COOKIE: &str = "__Host-hp-session";
pub(super) const LANGUAGE_COOKIE: &str = "__Host-hp-language";

pub(super) type Fields = BTreeMap<String, String>;

pub(super) struct Visit {
    pub peer: IpAddr,
    pub host: String,
    origin: Option<String>,
    fetch_site: Option<String>,
    /// What the browser keeps so that its forms can be told from others'.
    pub form: String,
    /// It has to be told to keep it.
    pub fresh: bool,
    pub session: Option<String>,
    /// The tag of the language that this browser's pages were chosen to be in, and of that they are in.
    pub spoken: Option<String>,
    pub language: String,
    pub who: Option<Standing>,
}

impl Visit {
    pub fn of(site: &Site, request: &Request) -> Visit {
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let there = cookie(headers, FORM_COOKIE).filter(|cookie| guard::is_cookie(cookie));
        let peer = request.extensions().get::<Connection>().map(|connection| connection.peer.ip());
        let spoken = cookie(headers, LANGUAGE_COOKIE).filter(|code| site.languages.has(code));
        let accepted = text(ACCEPT_LANGUAGE).unwrap_or_default();
        let language =
            site.languages.pick(&[spoken.as_deref().unwrap_or(""), &site.household.language()], &accepted).to_owned();
        Visit {
            // Who comes by no connection is this process itself.
            peer: peer.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_canonical(),
            host: request.uri().authority().map(|host| host.as_str().to_owned()).or(text(HOST)).unwrap_or_default(),
            origin: text(ORIGIN),
            fetch_site: text(HeaderName::from_static("sec-fetch-site")),
            fresh: there.is_none(),
            form: there.unwrap_or_else(|| Forms::fresh(&*site.random)),
            session: cookie(headers, SESSION_COOKIE).filter(|token| token.len() == 64),
            spoken,
            language,
            who: None,
        }
    }

    /// M1
    pub fn may_post(&self, forms: &Forms, fields: &Fields) -> bool {
        let token = fields.get("t").map_or("", String::as_str);
        !self.fresh
            && forms.fits(&self.form, token)
            && guard::same_origin(self.origin.as_deref(), &self.host, true)
            && self.fetch_site.as_deref().is_none_or(|from| from == "same-origin")
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.find_map(|value| form::cookie(value, name)).map(str::to_owned)
}

pub(super) fn set(name: &str, value: &str) -> String {
    let gone = if value.is_empty() { "; Max-Age=0" } else { "" };
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{gone}")
}

/// For a year; an empty value takes it away.
pub(super) fn keep(name: &str, value: &str) -> String {
    let until = if value.is_empty() { "" } else { "; Max-Age=31536000" };
    set(name, value) + until
}

/// What is wrong with a form before anybody looks at what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLong,
    NotAForm,
}

/// M4. A text of several lines may have line breaks where [`SEVERAL`] says so.
pub(super) async fn fields(request: Request) -> Result<Fields, Unread> {
    let kind = request.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Unread::NotAForm);
    }
    let body = axum::body::to_bytes(request.into_body(), BODY_BYTES).await.map_err(|_| Unread::TooLong)?;
    let fields = form::read(&body).ok_or(Unread::NotAForm)?;
    let fine = |(name, value): (&String, &String)| {
        !value.chars().any(|c| c.is_control() && !(SEVERAL.contains(&name.as_str()) && matches!(c, '\r' | '\n')))
    };
    if fields.iter().all(fine) { Ok(fields) } else { Err(Unread::NotAForm) }
}

/// Fields in which a line is an entry of its own.
const SEVERAL: [&str; 1] = ["targets"];

/// The parts of a path, decoded. `None`: it is not one that our pages lead to.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let parts: Option<Vec<String>> = parts.map(form::percent_decode).collect();
    parts.filter(|parts| parts.iter().all(|part| !part.chars().any(char::is_control)))
}

/// The same backwards.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

pub(super) fn is_post(method: &Method) -> Option<bool> {
    match *method {
        Method::GET | Method::HEAD => Some(false),
        Method::POST => Some(true),
        _ => None,
    }
}
