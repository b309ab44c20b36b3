//! The administration: pages for people, and an interface for programs under /api, on one [`Household`].
//!
//! Pages are whole without JavaScript, and have none. [`part`] gives the routes; `api` has its operations in one table, from
//! which the routes and the OpenAPI document are made.
//!
//! Does not know: how the household does what it is asked, the connection, the headers that every answer gets.
//!
//! Invariants, cited by tests:
//! - M1: a form counts only with the token of the page it was on, sent from this site.
//! - M2: who is no administrator reaches her own page and nothing else; a program reaches nothing without a token that holds.
//! - M3: a session ends when its account may not sign in any more, with the pass phrase it was opened with, after an hour of
//!   silence and after half a day.
//! - M4: what has line breaks or other control characters is refused before anything is done with it; bodies have limits.
//! - M5: a secret that was made is shown once, in the answer to who asked for it.
//! - M6: nothing is said to be done before it is durable.

mod api;
mod backup;
mod draw;
mod erase;
mod forgotten;
mod household;
mod pages;
#[cfg(test)]
pub(crate) mod play;
mod queue;
mod records;
mod relays;
mod sessions;
mod site;
mod updates;
mod visit;

pub use household::{
    Act, Alias, Backups, Bearer, Certificate, CertificateProblem, Checked, CheckedRecord, Device, Domain, Error,
    Household, KeptBackup, Later, Letter, Link, NewSheet, Offered, Person, Port, Problem, Recipient, Record, Relay,
    Report, ReportRow, Reports, RunningBackup, Secret, Standing, Token, UpdateLast, UpdateNow, Updates,
};
pub use site::part;
