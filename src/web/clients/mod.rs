//! What mail programs and other servers fetch, to set themselves up and to keep to our rules: Thunderbird's document,
//! Outlook's dialogue, the document of the new draft, the policy of MTA-STS.
//!
//! Does not know: who has an account here. All answers are made from the domain of an address, never from what stands before
//! its @, so that nobody can try out addresses.
//!
//! Invariants, cited by tests:
//! - K1: an address that exists and one that does not get the same answer; a domain that is not ours gets none.
//! - K2: what comes from outside stands in an answer only escaped, and not at all with a control character in it.
//! - K3: an answer names only services that are open, the ones encrypted from the first byte before the others.

mod autoconfig;
mod autodiscover;
mod documents;
mod programs;
mod xml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::StatusCode;

pub(in crate::web) use programs::{Kind, Way, ways};
pub(in crate::web) use xml::escaped;
#[doc(hidden)]
pub use xml::xml_reads_back;

use super::home::{Asked, Household, Part};
use crate::directory::Address;
use crate::directory::manage::domain;

/// The longest request that Outlook's way reads; its own are below one KiB.
const BODY: usize = 16 * 1024;

pub fn part(household: Arc<Household>) -> Part {
    let xml = get(autodiscover::asked_without_a_body).post(autodiscover::xml);
    let router = Router::new()
        .route("/mail/config-v1.1.xml", get(autoconfig::document))
        .route("/.well-known/autoconfig/mail/config-v1.1.xml", get(autoconfig::document))
        .route("/autodiscover/autodiscover.xml", xml.layer(axum::extract::DefaultBodyLimit::max(BODY)))
        .route("/autodiscover/autodiscover.json", get(autodiscover::json))
        .route("/autodiscover/autodiscover.json/v1.0/{address}", get(autodiscover::json_of_path))
        .route("/.well-known/user-agent-configuration.json", get(documents::pacc))
        .route("/.well-known/mta-sts.txt", get(documents::mta_sts));
    Part::new(router.with_state(household)).in_any_case("/autodiscover/")
}

/// The domain of ours that an address is in. Errors: 400 for what is no address (K2), 404 for another's domain (K1).
fn domain_of_address(household: &Household, text: &str) -> Result<(Address, String), StatusCode> {
    if text.chars().any(char::is_control) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let address = Address::parse(text.trim()).map_err(|_| StatusCode::BAD_REQUEST)?;
    let domain = address.domain().to_owned();
    if domains(household)?.contains(&domain) { Ok((address, domain)) } else { Err(StatusCode::NOT_FOUND) }
}

/// The domain that a request is about by the name we were asked under; for the server's own name the one that it lies in.
fn domain_of_name(household: &Household, asked: &Asked) -> Result<String, StatusCode> {
    match asked {
        Asked::Domain(domain) | Asked::Service(_, domain) => Ok(domain.clone()),
        Asked::House => {
            let host = household.settings.load().hostname.clone();
            let is_in = |domain: &String| {
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let inner = domains(household)?.into_iter().filter(is_in).max_by_key(String::len);
            inner.ok_or(StatusCode::NOT_FOUND)
        }
    }
}

fn domains(household: &Household) -> Result<Vec<String>, StatusCode> {
    let failed = |error: String| {
        tracing::error!(error, "what the domains are cannot be read");
        StatusCode::SERVICE_UNAVAILABLE
    };
    let read = household.data.read().map_err(|error| failed(format!("{error:?}")))?;
    domain::list(&read).map_err(|error| failed(error.to_string()))
}

/// The parameters of a query, by names in any case.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &http::Uri) -> Result<Query, StatusCode> {
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|axum::extract::Query(pairs)| Query(pairs))
            .map_err(|_| StatusCode::BAD_REQUEST)
    }

    /// Errors: it is there more than once, and whoever asks may mean the other one.
    fn get(&self, name: &str) -> Result<Option<&str>, StatusCode> {
        let mut found = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_str());
        if found.next().is_some() { Err(StatusCode::BAD_REQUEST) } else { Ok(first) }
    }
}
