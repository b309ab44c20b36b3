//! Mail programs that are set up from our pages: the profile by which an Apple device sets itself up, and pictures of links.
//! The pages themselves are the administration's.
//!
//! Invariants, cited by tests:
//! - D1: a link gives one profile, once, within ten minutes; what it gives is kept nowhere but on the device.

mod profile;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::{ECL, QRBuilder};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::clients::ways;
use super::home::{Household, Part};
use crate::base::{Clock, Random};
use crate::directory::Error;
use crate::directory::manage::device::{self, Fetched, Password};
use crate::directory::manage::invitation::digest;

/// Where profiles are fetched; the link's secret follows.
pub const PROFILE: &str = "/devices/profile/";

/// Signs with the certificate of the server. Errors: sentences.
pub type Sign = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// What profiles are made with.
pub struct Desk {
    pub household: Arc<Household>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub sign: Sign,
}

pub fn part(desk: Desk) -> Part {
    // A program that only looks whether there is something uses nothing up.
    let profile = get(fetch).head(async || StatusCode::NO_CONTENT);
    Part::new(Router::new().route(&format!("{PROFILE}{{link}}"), profile).with_state(Arc::new(desk)))
}

/// A link as a picture (SVG) for a camera. `None`: it is too long for one.
pub fn qr(link: &str) -> Option<String> {
    let code = QRBuilder::new(link).ecl(ECL::M).build().ok()?;
    Some(SvgBuilder::default().margin(4).to_str(&code))
}

async fn fetch(State(desk): State<Arc<Desk>>, Path(link): Path<String>) -> Response {
    let made = tokio::task::spawn_blocking(move || desk.fetch(&link)).await;
    match made {
        Ok(Ok(profile)) => {
            let fields = [
                (CONTENT_TYPE, "application/x-apple-aspen-config"),
                (CONTENT_DISPOSITION, "attachment; filename=\"mail.mobileconfig\""),
            ];
            (fields, profile).into_response()
        }
        Ok(Err(Refused::NoLink)) => {
            let words = "This link was used already, or is older than ten minutes. Make a new one on the page where it came from.\n";
            (StatusCode::NOT_FOUND, words).into_response()
        }
        Ok(Err(Refused::Failed(why))) => {
            tracing::error!(why, "a profile cannot be made");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

enum Refused {
    NoLink,
    Failed(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        match error {
            Error::NoSuchInvitation => Refused::NoLink,
            error => Refused::Failed(error.to_string()),
        }
    }
}

impl Desk {
    /// D1: the link is used up last, when all else has been done, and by one alone.
    fn fetch(&self, link: &str) -> Result<Vec<u8>, Refused> {
        let (link, now) = (digest(link), self.clock.now());
        let read = self.household.data.read().map_err(Error::from)?;
        let linked = device::linked(&read, &link, now)?.ok_or(Refused::NoLink)?;
        let password = Password::make(&*self.random);
        let fetched = Fetched::prepare(&read, &linked, &link, &password)?;
        drop(read);
        let settings = self.household.settings.load();
        let ways = ways(&settings).ok_or_else(|| Refused::Failed("mail cannot be read and sent here".to_owned()))?;
        let text = profile::written(&linked, &settings.hostname, &ways, &password, &*self.random);
        let profile = (self.sign)(text.as_bytes()).unwrap_or_else(|why| {
            tracing::warn!(why, "a profile goes out unsigned");
            text.into_bytes()
        });
        self.household.data.write_blocking(move |txn| device::fetch(txn, &fetched, now))?;
        Ok(profile)
    }
}
