//! By what a message is tied to others: its ids, and its base subject (RFC 5256 2.1).

/// All without angle brackets, in their order, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadKeys {
    pub message_id: Option<Vec<u8>>,
    /// References, then In-Reply-To; at most [`MAX_REFERENCES`], the first and the latest kept.
    pub references: Vec<Vec<u8>>,
    /// Decoded, case folded, white space single (RFC 5256 2.1).
    pub base_subject: String,
    /// The subject had a `Re:`, `Fwd:` or the like.
    pub is_reply: bool,
}

pub const MAX_REFERENCES: usize = 200;

/// From the header section of a message.
pub fn thread_keys(_header: &[u8]) -> ThreadKeys {
    todo!()
}

/// RFC 5256 2.1: the base subject of a decoded subject, and whether it is one of a reply or forward.
pub fn base_subject(_subject: &str) -> (String, bool) {
    todo!()
}
