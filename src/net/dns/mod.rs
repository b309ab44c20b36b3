//! The DNS: what a record says ([`Data`]), and what a domain's own name servers answer ([`Asker`]).
//!
//! Does not know: which records mail needs (`appliance/dnsguide` does), nor what is done with an answer.

mod ask;
mod data;
mod packet;

pub use ask::{Answer, Answers, Asker, Found, Server, Zone};
pub use data::{Data, Kind};
