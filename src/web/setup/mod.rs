//! The set-up pages: draws what `appliance/wizard` decides, and hands it what people answer.
//!
//! [`Site`] takes a request and gives a reply, and knows no HTTP server; [`serve()`] is the only place that knows tiny_http.
//! Pages are whole without JavaScript; everything they need comes from this binary.
//!
//! Does not know: what an answer leads to, sockets, TLS.
//!
//! Invariants, cited by tests:
//! - G1: a request that names another host than this box is refused: a page elsewhere cannot reach us under its own name.
//! - G2: a form counts only with the token of the page it was on, sent from this site.
//! - G3: bodies, fields and connections have limits.
//! - G4: no page names anything outside this box, and none runs a script that is not ours.

mod draw;
pub(super) mod form;
pub(super) mod guard;
mod letters;
mod serve;
mod site;
mod zones;

#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use form::form_reads_back;
pub use serve::serve;
pub use site::{About, Answers, Asked, Reply, Site};
