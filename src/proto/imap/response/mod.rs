//! Responses: the bytes that go to the client.
//!
//! Everything is written straight into the buffer that goes out; nothing is built first and copied.

mod envelope;
mod flags;
mod out;
mod structure;
mod text;

pub(super) use envelope::envelope;
pub(super) use flags::flags;
pub(super) use out::Out;
pub(super) use structure::structure;
pub(super) use text::{mailbox, nstring, number, put};
