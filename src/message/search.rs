//! Substrings as IMAP SEARCH looks for them: decoded on both sides, in any case (RFC 9051 6.4.4).

use super::structure::Part;

/// A string to look for, folded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    pub fn new(text: &str) -> Needle {
        let _ = Needle(text.to_owned()).0;
        todo!()
    }

    /// An empty needle is in everything (RFC 9051 6.4.4, HEADER).
    pub fn is_in(&self, _text: &str) -> bool {
        todo!()
    }

    /// HEADER: in a field of that name (any case) of the header section, decoded. An empty needle asks whether there is
    /// such a field.
    pub fn in_header(&self, _header: &[u8], _name: &str) -> bool {
        todo!()
    }

    /// BODY: in a text part, decoded, or in the header of a message within. `root` is the root part of the letter.
    pub fn in_body(&self, _letter: &[u8], _root: &Part<'_>) -> bool {
        todo!()
    }

    /// TEXT: in any header field (name and colon included) or in the body.
    pub fn in_text(&self, _letter: &[u8], _root: &Part<'_>) -> bool {
        todo!()
    }
}
