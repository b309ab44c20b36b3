//! HTTPS routes and pages, and the set-up and rescue pages on 8080.
//!
//! Does not know: mail logic, files, sockets.

pub mod admin;
pub mod clients;
pub mod devices;
pub mod home;
pub mod language;
pub mod look;
pub mod rescue;
pub mod setup;
mod writing;
