//! The DNS: what a record says ([`Data`]), what a domain's own name servers answer ([`Asker`]), what is proven
//! to be at a name ([`Proven`]), and how records are written
//! ([`Writer`]).
//!
//! Does not know: which records mail needs and whose they are (`appliance/dnsguide` does), nor what is done with an answer.

mod ask;
mod data;
mod lookup;
mod packet;
mod proven;
mod provider;
mod tsig;
mod update;
mod write;

/// Whether these bytes are an answer that can be read; for tests that hand in any.
#[doc(hidden)]
pub fn can_read(bytes: &[u8]) -> bool {
    packet::read(bytes).is_some()
}

pub use ask::{Answer, Answers, Asker, Found, Server, Zone};
pub use data::{Data, Kind};
pub use lookup::Resolver;
pub use proven::{Doubt, Proven, Records};
pub use write::{Change, Credentials, Fault, RFC2136, Writer, address, methods, secrets_of};
