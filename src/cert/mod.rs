//! Certificates: which names need one, how each is kept, when it is renewed, and the talk with an authority (ACME, RFC
//! 8555) that issues it.
//!
//! Does not know: protocols, listeners, files, DNS providers. Files are a [`Keep`], the places where an authority looks for
//! the answers to its challenges a [`Stage`], and time and randomness are handed in.
//!
//! Invariants, cited by tests:
//! - C1: one order for each group of names; a name that fails is reported, left out, and tried by itself later. It never
//!   sinks the others.
//! - C2: a certificate never ends where a renewal was possible: where the authority could be reached for a while between
//!   the time the renewal was due and the end.
//! - C3: no name is tried so often that the authority would lock it out.
//! - C4: when a new certificate is worse than none (its key is another's, it is for other names), the old one stays.
//! - C5: keys leave this folder only towards a [`Keep`] and the listeners.

mod acme;
pub mod cms;
mod config;
mod fetch;
mod file;
mod http;
mod keeper;
mod names;
mod obtain;
mod schedule;
mod stage;
mod state;
mod trouble;
mod x509;

#[cfg(test)]
mod simulated;

pub use acme::{Account, Binding, caa_name};
pub use config::Config;
pub use fetch::Means;
pub use file::{Keep, Source};
pub use keeper::{Entry, Keeper, Next, Order, Renewed, World};
pub use names::{Group, groups};
pub use obtain::{Outcome, Wanted};
pub use schedule::{Alarm, Lifetime, Window};
pub use stage::{Answer, DnsWriter, Method, Stage, Written};
pub use trouble::{Cause, Trouble};
pub use x509::{Facts, facts};
