//! Outlook's dialogue: XML by POST ([MS-OXDSCLI], "POX"), and the JSON that says where that is.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{StatusCode, Uri};
use serde_json::json;

use super::programs::{Kind, Way, ways};
use super::xml::{self, escaped};
use super::{Query, domain_of_address};
use crate::settings::{Name, Settings};
use crate::web::home::Household;

/// The only kind of answer that we can give; phones ask for ActiveSync's with another.
const OUTLOOK: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";
const ENVELOPE: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006";

/// [MS-OXDSCLI] 2.2.4.1.1.2: why there is no answer.
const INVALID: (u16, &str) = (600, "Invalid Request");
const NO_PROVIDER: (u16, &str) = (601, "Requested schema version not supported");

/// Somebody looks with a browser, or a program tries whether anything is here.
pub(super) async fn asked_without_a_body() -> Response {
    refused(INVALID)
}

pub(super) async fn xml(State(household): State<Arc<Household>>, body: Bytes) -> Response {
    match answer(&household, &body) {
        Ok(text) => shown(text),
        Err(Refusal::Words(words)) => refused(words),
        Err(Refusal::Status(status)) => status.into_response(),
    }
}

enum Refusal {
    /// In the dialogue's own words.
    Words((u16, &'static str)),
    /// A program tries its next place then.
    Status(StatusCode),
}

fn answer(household: &Household, body: &[u8]) -> Result<String, Refusal> {
    let asked = xml::texts(body, &["Autodiscover", "Request"]).map_err(|_| Refusal::Words(INVALID))?;
    let one = |name: &str| {
        let mut found = asked.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, text)| text.trim());
        match (found.next(), found.next()) {
            (first, None) => Ok(first),
            _ => Err(Refusal::Words(INVALID)),
        }
    };
    let text = one("EMailAddress")?.ok_or(Refusal::Words(INVALID))?;
    if one("AcceptableResponseSchema")?.is_some_and(|schema| !schema.eq_ignore_ascii_case(OUTLOOK)) {
        return Err(Refusal::Words(NO_PROVIDER));
    }
    let (address, _) = domain_of_address(household, text).map_err(|status| match status {
        StatusCode::BAD_REQUEST => Refusal::Words(INVALID),
        other => Refusal::Status(other),
    })?;
    let settings = household.settings.load();
    let ways = ways(&settings).ok_or(Refusal::Status(StatusCode::NOT_FOUND))?;
    Ok(written(&address.key(), &settings.hostname, &ways))
}

fn written(address: &str, host: &str, ways: &[Way]) -> String {
    let (address, host) = (escaped(address), escaped(host));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"{ENVELOPE}\">\n  <Response xmlns=\"{OUTLOOK}\">\n    \
         <User>\n      <DisplayName>{address}</DisplayName>\n    </User>\n    <Account>\n      \
         <AccountType>email</AccountType>\n      <Action>settings</Action>\n"
    );
    for way in ways {
        let kind = match way.kind {
            Kind::Imap => "IMAP",
            Kind::Smtp => "SMTP",
        };
        // Encryption counts more than SSL where both are understood.
        let (ssl, encryption) = if way.implicit { ("on", "SSL") } else { ("off", "TLS") };
        let _ = write!(
            out,
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{host}</Server>\n        <Port>{}</Port>\n        \
             <DomainRequired>off</DomainRequired>\n        <LoginName>{address}</LoginName>\n        <SPA>off</SPA>\n        \
             <SSL>{ssl}</SSL>\n        <Encryption>{encryption}</Encryption>\n        <AuthRequired>on</AuthRequired>\n",
            way.port
        );
        if way.kind == Kind::Smtp {
            out.push_str("        <UsePOPAuth>off</UsePOPAuth>\n        <SMTPLast>off</SMTPLast>\n");
        }
        out.push_str("      </Protocol>\n");
    }
    out.push_str("    </Account>\n  </Response>\n</Autodiscover>\n");
    out
}

/// 200, since programs read the body of no other.
fn refused((code, words): (u16, &str)) -> Response {
    shown(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"{ENVELOPE}\">\n  <Response>\n    <Error>\n      \
         <ErrorCode>{code}</ErrorCode>\n      <Message>{words}</Message>\n      <DebugData/>\n    </Error>\n  \
         </Response>\n</Autodiscover>\n"
    ))
}

fn shown(text: String) -> Response {
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

/// `?Email=…&Protocol=…`
pub(super) async fn json(State(household): State<Arc<Household>>, uri: Uri) -> Response {
    let query = match Query::of(&uri) {
        Ok(query) => query,
        Err(status) => return status.into_response(),
    };
    match query.get("Email") {
        Ok(address) => where_to(&household, address, &query),
        Err(status) => status.into_response(),
    }
}

/// `/v1.0/ADDRESS?Protocol=…`
pub(super) async fn json_of_path(
    State(household): State<Arc<Household>>,
    Path(address): Path<String>,
    uri: Uri,
) -> Response {
    match Query::of(&uri) {
        Ok(query) => where_to(&household, Some(&address), &query),
        Err(status) => status.into_response(),
    }
}

fn where_to(household: &Household, address: Option<&str>, query: &Query) -> Response {
    let missing = |name: &str| {
        told(
            StatusCode::BAD_REQUEST,
            "MandatoryParameterMissing",
            &format!("A valid value must be provided for the parameter '{name}'"),
        )
    };
    let protocol = match query.get("Protocol") {
        Ok(Some(protocol)) if !protocol.is_empty() => protocol,
        Ok(_) => return missing("Protocol"),
        Err(status) => return status.into_response(),
    };
    let Some(address) = address.filter(|address| !address.is_empty()) else { return missing("Email") };
    if !protocol.eq_ignore_ascii_case("AutodiscoverV1") {
        let words = "The given protocol value is invalid. Supported values are 'AutodiscoverV1'";
        return told(StatusCode::BAD_REQUEST, "InvalidProtocol", words);
    }
    match domain_of_address(household, address) {
        Ok(_) => {
            let url = format!("{}/autodiscover/autodiscover.xml", origin(&household.settings.load()));
            in_json(StatusCode::OK, &json!({ "Protocol": "AutodiscoverV1", "Url": url }))
        }
        Err(StatusCode::BAD_REQUEST) => missing("Email"),
        Err(StatusCode::NOT_FOUND) => {
            told(StatusCode::NOT_FOUND, "UserNotFound", "The domain of the given address is not served here")
        }
        Err(status) => status.into_response(),
    }
}

/// Under the server's own name: that has a certificate for sure.
fn origin(settings: &Settings) -> String {
    match settings.listeners.get(Name::Https).port {
        443 => format!("https://{}", settings.hostname),
        port => format!("https://{}:{port}", settings.hostname),
    }
}

fn told(status: StatusCode, code: &str, words: &str) -> Response {
    in_json(status, &json!({ "ErrorCode": code, "ErrorMessage": words }))
}

fn in_json(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
