//! Thunderbird's document (draft-ietf-mailmaint-autoconfig-06), which K-9, FairEmail, Evolution and others read too.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{StatusCode, Uri};

use super::programs::{Kind, Way, ways};
use super::xml::escaped;
use super::{Query, domain_of_address, domain_of_name};
use crate::web::home::{Asked, Household};

pub(super) async fn document(
    State(household): State<Arc<Household>>,
    Extension(asked): Extension<Asked>,
    uri: Uri,
) -> Result<Response, StatusCode> {
    let domain = match Query::of(&uri)?.get("emailaddress")? {
        Some(text) => domain_of_address(&household, text)?.1,
        None => domain_of_name(&household, &asked)?,
    };
    let settings = household.settings.load();
    let ways = ways(&settings).ok_or(StatusCode::NOT_FOUND)?;
    let document = written(&domain, &settings.hostname, &ways);
    // draft 4.1: text/xml or application/xml.
    Ok(([(CONTENT_TYPE, "text/xml; charset=utf-8")], document).into_response())
}

fn written(domain: &str, host: &str, ways: &[Way]) -> String {
    let (domain, host) = (escaped(domain), escaped(host));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    \
         <domain>{domain}</domain>\n    <displayName>{domain}</displayName>\n    \
         <displayShortName>{domain}</displayShortName>\n"
    );
    for way in ways {
        let (element, kind) = match way.kind {
            Kind::Imap => ("incomingServer", "imap"),
            Kind::Smtp => ("outgoingServer", "smtp"),
        };
        let socket = if way.implicit { "SSL" } else { "STARTTLS" };
        // The program puts the address in, so the document is the same for everybody (K1).
        let _ = write!(
            out,
            "    <{element} type=\"{kind}\">\n      <hostname>{host}</hostname>\n      <port>{}</port>\n      \
             <socketType>{socket}</socketType>\n      <authentication>password-cleartext</authentication>\n      \
             <username>%EMAILADDRESS%</username>\n    </{element}>\n",
            way.port
        );
    }
    out.push_str("  </emailProvider>\n</clientConfig>\n");
    out
}
