//! The one site: which part a request goes to, and what every answer has on it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use tower::ServiceExt;

use super::host::{Asked, asked};
use super::{Household, Part};
use crate::directory::manage::domain;
use crate::net::{Connection, Site};

/// For a page of the house: what it needs comes from here.
const OF_PAGES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                        form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// For what programs read.
const OF_DOCUMENTS: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// RFC 6797 6.1.1, in seconds: half a year. Without includeSubDomains: other hosts of the domain are not ours to speak for.
const HSTS: &str = "max-age=15552000";

/// `programs` is answered under every name of ours, `own` under the house's alone (H2).
pub fn site(household: Arc<Household>, programs: Part, own: Vec<Part>) -> Site {
    Site::new(routes(household, programs, own))
}

pub(super) fn routes(household: Arc<Household>, programs: Part, own: Vec<Part>) -> Router {
    let any_case = [&programs].into_iter().chain(&own).flat_map(|part| part.any_case.clone()).collect();
    let programs = programs.router;
    let own = own.into_iter().fold(programs.clone(), |all, part| all.merge(part.router));
    let gate = Arc::new(Gate {
        household,
        any_case,
        house: own.fallback(async |request: Request| match request.uri().path() {
            "/" => "homepost\n".into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }),
        programs: programs.fallback(async || StatusCode::NOT_FOUND),
    });
    Router::new().fallback(async move |request: Request| gate.pass(request).await)
}

struct Gate {
    household: Arc<Household>,
    any_case: Vec<&'static str>,
    house: Router,
    programs: Router,
}

impl Gate {
    async fn pass(&self, mut request: Request) -> Response {
        let asked = match self.asked(&request) {
            Ok(asked) => asked,
            Err(status) => return dressed(status.into_response(), false, false),
        };
        let vouched = request.extensions().get::<Connection>().is_some_and(|connection| connection.vouched);
        let house = asked == Asked::House;
        request.extensions_mut().insert(asked);
        self.fold_case(&mut request);
        let router = if house { &self.house } else { &self.programs };
        let answered: Result<Response, Infallible> = router.clone().oneshot(request).await;
        match answered {
            Ok(response) => dressed(response, house, vouched),
            Err(never) => match never {},
        }
    }

    fn fold_case(&self, request: &mut Request) {
        let uri = request.uri();
        let path = uri.path().to_ascii_lowercase();
        if path == uri.path() || !self.any_case.iter().any(|start| path.starts_with(start)) {
            return;
        }
        let target = uri.query().map_or(path.clone(), |query| format!("{path}?{query}"));
        // The authority has done its part.
        if let Ok(folded) = target.parse() {
            *request.uri_mut() = folded;
        }
    }

    fn asked(&self, request: &Request) -> Result<Asked, StatusCode> {
        // RFC 9112 3.2.2: a whole address in the request line counts more than the field, which must be there all the same
        // (3.2), once.
        let host = only(request.headers(), &HOST);
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => host,
        };
        let host = host.ok_or(StatusCode::BAD_REQUEST)?;
        let own = &self.household.settings.load().hostname;
        let failed = |error: String| {
            tracing::error!(error, "what the domains are cannot be read");
            StatusCode::SERVICE_UNAVAILABLE
        };
        let read = self.household.data.read().map_err(|error| failed(format!("{error:?}")))?;
        let domains = domain::list(&read).map_err(|error| failed(error.to_string()))?;
        // RFC 9110 15.5.20.
        asked(host, own, &domains).ok_or(StatusCode::MISDIRECTED_REQUEST)
    }
}

/// The value of a field that stands there once.
fn only<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// H3. What a part has set stays.
fn dressed(mut response: Response, house: bool, vouched: bool) -> Response {
    let policy = if house { OF_PAGES } else { OF_DOCUMENTS };
    let fields = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: with that browsers say nothing of where a form was sent from.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        fields.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // A browser that has to be told to go on in spite of the certificate must still have that way tomorrow.
    if vouched {
        fields.entry(STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static(HSTS));
    }
    response
}
