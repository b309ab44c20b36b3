//! Listeners, TLS, HTTPS, an HTTP client, and the one loop that drives any session machine.
//!
//! Does not know: mail, files. Certificates arrive as PEM bytes, sessions as a [`proto::Session`](crate::proto::Session)
//! with its [`proto::Host`](crate::proto::Host).
//!
//! Invariants, cited by tests:
//! - N1: what came in the clear after STARTTLS never reaches the machine: the driver hands over what it reads at once and
//!   keeps nothing, so the machine's one place (S4) is the only one.
//! - N2: the peer is not read while the machine does not want it, nor while more than 64 KiB of output waits.
//! - N3: a peer that does not read, does not speak or does not finish its handshake is let go.
//! - N4: a panic in one session ends that session only.
//! - N5: a stranger can hold no more than the caps of a listener; of those that have not said anything yet, the oldest
//!   goes first.

mod closed;
pub mod dial;
pub mod dns;
pub mod drive;
pub mod front;
pub mod http;
pub mod https;
pub mod listen;
pub mod local;
pub mod mdns;
mod outward;
pub mod probe;
pub mod tls;
mod verify;
mod wire;

#[cfg(test)]
mod https_tests;
#[cfg(test)]
mod tests;

pub use closed::while_closed;
pub use dial::{ClientTls, NoWay, dial};
pub use drive::{Context, End, Patience, TlsSide, drive};
pub use front::{Front, FrontLimits};
pub use http::{HttpClient, HttpError, Roots};
pub use https::{Connection, Https, HttpsLimits, Site};
pub use listen::{Caps, Common, Ending, Handler, Incoming, Listener, Spec};
pub use outward::{is_public, outward_addresses};
pub use tls::{Certs, Pair, TlsConfig, TlsFault, fault};
pub use verify::Seen;
