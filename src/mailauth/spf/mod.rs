//! Whether a host may send for a domain (RFC 7208).

mod check;
mod expand;
mod record;

pub use check::{Asked, check_host};
pub use record::Record;
