//! Reads a letter: one pass over its lines, a stack of open boundaries, no copies but of folded values.

use super::limits::{Limits, Refused};
use super::structure::Message;

/// Reads a message (CRLF or bare LF). Anything within the limits yields a structure: a text without a header is a body, a
/// multipart without its boundary has its body as one part, a part that never ends goes on to the end of its parent.
pub fn parse<'a>(_bytes: &'a [u8], _limits: &Limits) -> Result<Message<'a>, Refused> {
    todo!()
}
