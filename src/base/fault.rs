//! The three error families, kept apart up to the edge (DESIGN section 5).

/// Who is to blame, which decides what the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The peer erred: SMTP 5xx, IMAP BAD or NO with its code. Trying again does not help.
    Peer,
    /// The world failed for now (full disk, time-out): SMTP 4xx, IMAP `NO [UNAVAILABLE]`. The default for the unknown.
    World,
    /// We erred: logged with the session's id, answered like [`Family::World`].
    Own,
}

/// An error that knows its family.
pub trait Fault: std::error::Error {
    fn family(&self) -> Family;
}
