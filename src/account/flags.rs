//! Flags of messages.

use std::sync::Arc;

/// System flags as bits, and keywords. There is no `\Recent` (RFC 9051 2.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub system: u8,
    /// As written; compared without regard to case.
    pub keywords: Vec<Arc<str>>,
}

impl Flags {
    pub const SEEN: u8 = 1;
    pub const ANSWERED: u8 = 2;
    pub const FLAGGED: u8 = 4;
    pub const DELETED: u8 = 8;
    pub const DRAFT: u8 = 16;

    pub fn system(bits: u8) -> Flags {
        Flags { system: bits, keywords: Vec::new() }
    }
}
