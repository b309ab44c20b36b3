//! The DNS: what a record says ([`Data`]).
//!
//! Does not know: which records mail needs (`appliance/dnsguide` does), nor what is done with an answer.

mod data;

pub use data::{Data, Kind};
