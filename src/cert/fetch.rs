//! From an order to what came of it: both authorities opened, the rehearsal held, the certificate fetched.

use std::sync::Arc;

use crate::base::Clock;
use crate::net::{HttpClient, Roots};

use super::acme::Acme;
use super::config::Config;
use super::file::Keep;
use super::obtain::{Outcome, Wanted, obtain};
use super::schedule::Window;
use super::stage::Stage;
use super::trouble::{Cause, Trouble};

/// What an authority is reached with.
pub struct Means<'a, S> {
    pub config: &'a Config,
    pub roots: &'a Roots,
    pub keep: &'a dyn Keep,
    pub stage: &'a S,
    pub clock: Arc<dyn Clock>,
}

impl<S: Stage> Means<'_, S> {
    async fn open(&self, directory: &str) -> Result<Acme<'_, S>, Trouble> {
        let client = HttpClient::new(self.roots).map_err(|error| Trouble::new(Cause::Untrusted, error.to_string()))?;
        Acme::open(directory, self.config, client, self.keep, self.stage, self.clock.clone()).await
    }

    /// Fetches a certificate for as many of the names as can be had.
    pub async fn fetch(&self, wanted: Vec<Wanted>, replaces: Option<&str>, rehearse: bool) -> Outcome {
        let Some(directory) = &self.config.directory else {
            return Outcome::failed(Trouble::new(Cause::Account, "no authority is set"));
        };
        let mut rehearsal = None;
        if let Some(staging) = self.config.staging.as_ref().filter(|_| rehearse) {
            match self.open(staging).await {
                Ok(opened) => rehearsal = Some(opened),
                Err(trouble) => tracing::warn!(?trouble, "the certificate cannot be rehearsed"),
            }
        }
        // An account that the authority has lost is made anew, once.
        for last in [false, true] {
            let authority = match self.open(directory).await {
                Ok(authority) => authority,
                Err(trouble) => return Outcome::failed(trouble),
            };
            let outcome = obtain(&authority, rehearsal.as_ref(), wanted.clone(), replaces).await;
            if last || !authority.is_forgotten() {
                return outcome;
            }
        }
        Outcome::default()
    }

    /// When the authority suggests to renew this certificate; `None` if it does not say.
    pub async fn window(&self, ari: &str) -> Result<Option<(Window, i64)>, Trouble> {
        match &self.config.directory {
            Some(directory) => self.open(directory).await?.window(ari).await,
            None => Ok(None),
        }
    }
}
