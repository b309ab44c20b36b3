//! What a stranger may grow, and the words for going past it.

use std::fmt;

use crate::base::{Family, Fault};

/// Limits of one message. The numbers are settings; these are their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one header section (the message's own, or that of any part).
    pub header_bytes: u64,
    /// Bytes of all header sections of a message together, its parts' included.
    pub all_header_bytes: u64,
    /// Parts of all kinds, the message itself being the first.
    pub parts: u32,
    /// Multiparts and messages within each other.
    pub depth: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { header_bytes: 1 << 20, all_header_bytes: 16 << 20, parts: 10_000, depth: 100 }
    }
}

/// The message goes past a limit. The sender's fault: SMTP 552 or 554, IMAP `NO [TOOBIG]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    HeaderTooLarge,
    TooManyParts,
    TooDeep,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::HeaderTooLarge => "the header section is too large",
            Refused::TooManyParts => "the message has too many parts",
            Refused::TooDeep => "the message's parts are nested too deep",
        })
    }
}

impl std::error::Error for Refused {}

impl Fault for Refused {
    fn family(&self) -> Family {
        Family::Peer
    }
}
