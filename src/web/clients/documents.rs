//! Documents that stand at one place and change only with the settings.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::domain_of_name;
use crate::appliance::dnsguide::{pacc, policy};
use crate::web::home::{Asked, Household, Service};

/// draft-ietf-mailmaint-pacc-04, at `ua-auto-config.DOMAIN`.
pub(super) async fn pacc(
    State(household): State<Arc<Household>>,
    Extension(asked): Extension<Asked>,
) -> Result<Response, StatusCode> {
    let domain = domain_of_name(&household, &asked)?;
    let document = pacc::document(&household.settings.load(), &domain).ok_or(StatusCode::NOT_FOUND)?;
    Ok(([(CONTENT_TYPE, "application/json")], document).into_response())
}

/// RFC 8461 3.3: under `mta-sts.DOMAIN` alone.
pub(super) async fn mta_sts(
    State(household): State<Arc<Household>>,
    Extension(asked): Extension<Asked>,
) -> Result<Response, StatusCode> {
    let Asked::Service(Service::MtaSts, _) = asked else { return Err(StatusCode::NOT_FOUND) };
    let text = policy::of(&household.settings.load()).text();
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
