//! The interface for programs: JSON under /api, with a token (RFC 6750). What can be asked stands in [`table`], from which the
//! routes and the document are made, so that neither can have what the other lacks.
//!
//! Errors are problem documents (RFC 9457).

mod document;
mod schema;
mod table;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::household::{Bearer, Error, Secret};
use super::site::Site;
use super::visit::segments;
use table::{Access, Call, OPERATIONS, Operation, Outcome};

/// A longer body is no request of ours.
const BODY_BYTES: usize = 64 * 1024;
/// Of a body: as deep as any of ours, with room.
const DEPTH: usize = 8;

pub(super) async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    match answered(&site, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// RFC 9457 3.
struct Problem {
    status: StatusCode,
    detail: String,
    headers: Vec<(http::HeaderName, String)>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), headers: Vec::new() }
    }

    fn with(mut self, name: http::HeaderName, value: impl Into<String>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error {
            Error::Missing(why) => Problem::new(StatusCode::NOT_FOUND, why),
            Error::Conflict(why) => Problem::new(StatusCode::CONFLICT, why),
            Error::Refused(why) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why),
            Error::Unavailable(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).with(RETRY_AFTER, "5"),
            Error::Own(why) => {
                tracing::error!(why, "a request of a program failed");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a mistake of ours; the server's log says where")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

async fn answered(site: &Arc<Site>, request: Request) -> Result<Response, Problem> {
    let nothing =
        || Problem::new(StatusCode::NOT_FOUND, "there is no such thing here; /api/openapi.json says what there is");
    let path = segments(request.uri().path()).ok_or_else(nothing)?;
    let here: Vec<(&Operation, Vec<String>)> =
        OPERATIONS.iter().filter_map(|operation| Some((operation, operation.fits(&path)?))).collect();
    if here.is_empty() {
        return Err(nothing());
    }
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let Some((operation, values)) = here.iter().find(|(operation, _)| operation.method == method.as_str()) else {
        let allowed: Vec<&str> = here.iter().map(|(operation, _)| operation.method).collect();
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "that cannot be done with this")
            .with(ALLOW, allowed.join(", ")));
    };
    // M2
    let bearer = match operation.access {
        Access::Anybody => None,
        access => Some(authorized(site, request.headers(), access).await?),
    };
    if operation.access == Access::Anybody {
        return Ok(json_of(StatusCode::OK, &document::document()));
    }
    let body = body(request, operation).await?;
    let call = Call { values: values.clone(), body };
    let run = operation.run;
    let outcome = site.ask(move |household| run(household, &call)).await?;
    if let Some(bearer) = bearer.filter(|_| operation.access == Access::All) {
        tracing::info!(of = bearer.address, operation = operation.id, "done for a program");
    }
    Ok(match outcome {
        Outcome::Is(value) => json_of(operation.status, &value),
        Outcome::Done => StatusCode::NO_CONTENT.into_response(),
        Outcome::Renew(name) => {
            super::pages::renew(site, name);
            json_of(operation.status, &json!({ "asked": true }))
        }
    })
}

fn json_of(status: StatusCode, value: &Value) -> Response {
    let mut response = (status, value.to_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// RFC 6750 3: what to say to whom.
async fn authorized(site: &Arc<Site>, headers: &HeaderMap, access: Access) -> Result<Bearer, Problem> {
    let asked = |error: &str, detail: &str| {
        let challenge = format!("Bearer realm=\"homepost\"{error}");
        Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, challenge)
    };
    let field = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(field) = field else {
        return Err(asked("", "this needs a token, which the page \"Programs\" makes"));
    };
    let token = field.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let invalid = || asked(", error=\"invalid_token\"", "this token opens nothing: it is wrong, too old or revoked");
    // 256 random bits: there is nothing to guess, so nobody has to wait.
    let (_, token) = token.filter(|(_, token)| token.len() <= 128).ok_or_else(invalid)?;
    let secret = Secret(token.trim().to_owned());
    let bearer = site.ask(move |household| household.bearer(&secret)).await?.ok_or_else(invalid)?;
    if access == Access::All && !bearer.all {
        let challenge = "Bearer realm=\"homepost\", error=\"insufficient_scope\", scope=\"all\"";
        return Err(Problem::new(StatusCode::FORBIDDEN, "this token may look, and change nothing")
            .with(WWW_AUTHENTICATE, challenge));
    }
    Ok(bearer)
}

async fn body(request: Request, operation: &Operation) -> Result<Value, Problem> {
    let is_json = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    let bytes = axum::body::to_bytes(request.into_body(), BODY_BYTES).await;
    let bytes = bytes.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "that is too long"))?;
    if operation.body.is_none() {
        return Ok(Value::Null);
    }
    if !is_json {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this takes application/json"));
    }
    let wrong = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("that is no JSON: {error}")))?;
    if !value.is_object() {
        return Err(wrong("this takes an object".to_owned()));
    }
    // M4
    if !is_fine(&value, DEPTH) {
        return Err(wrong("line breaks and other control characters are not taken, nor anything that deep".to_owned()));
    }
    Ok(value)
}

fn is_fine(value: &Value, depth: usize) -> bool {
    let text = |text: &str| !text.chars().any(char::is_control);
    match value {
        _ if depth == 0 => false,
        Value::String(string) => text(string),
        Value::Array(all) => all.iter().all(|one| is_fine(one, depth - 1)),
        Value::Object(all) => all.iter().all(|(name, one)| text(name) && is_fine(one, depth - 1)),
        _ => true,
    }
}
