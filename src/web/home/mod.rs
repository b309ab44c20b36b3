//! What is answered on 443: one site, put together from parts (what mail programs ask for, the administration), each of
//! which knows nothing of the others.
//!
//! Does not know: connections, TLS, time-outs; they are `net`'s.
//!
//! Invariants, cited by tests:
//! - H1: a request under a name that is not ours reaches no part: a page elsewhere cannot reach us under its own name.
//! - H2: what is the house's own (the administration) is answered under the server's name and by its addresses in the house,
//!   never under the names that stand in the DNS for mail programs and other servers.
//! - H3: every answer, an error's too, has the headers that keep browsers from doing more with it than it is for.

mod host;
mod site;

#[cfg(test)]
pub(in crate::web) mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;

use crate::settings::Settings;
use crate::store::Data;

pub(in crate::web) use host::{Asked, Service};
pub use site::site;

/// What all parts may look at.
pub struct Household {
    pub data: Data,
    pub settings: Arc<ArcSwap<Settings>>,
}

/// Routes that belong together. No two parts may have the same one. A handler finds an [`Asked`] and a
/// [`Connection`](crate::net::Connection) among a request's extensions.
pub struct Part {
    router: Router,
    any_case: Vec<&'static str>,
}

impl Part {
    pub(in crate::web) fn new(router: Router) -> Part {
        Part { router, any_case: Vec::new() }
    }

    #[cfg(test)]
    pub(in crate::web) fn into_router(self) -> Router {
        self.router
    }

    /// Paths that begin like this (in lower case) are the part's in whatever case they are written, and reach it in lower
    /// case.
    pub(in crate::web) fn in_any_case(mut self, start: &'static str) -> Part {
        self.any_case.push(start);
        self
    }
}
