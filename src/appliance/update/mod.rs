//! Updates of the whole system, and what may be believed of a file that says it is one.
//!
//! `package` is the file: read once, from front to back, nothing passed on before its digest was right. `keys` is whom we
//! believe, `judge` whether this box should have it. Where it is written, and how it is tried, is `machine`'s; how the mail
//! service behaves meanwhile is `server`'s.
//!
//! Does not know: where the bytes come from, disks, boot loaders, mail.
//!
//! Invariants, cited by tests:
//! - U1: not a byte of the system is given out before the signature over the manifest and the digest of its piece were right.
//! - U2: an update to an older version, for another board, or from a version that it does not start from is refused.
//! - U3: what is not exactly as it should be is refused, each with one sentence; nothing a file says makes us take more
//!   memory than [`package::MANIFEST_BYTES`] and one piece.

pub mod judge;
pub mod keys;
pub mod package;

pub use judge::{Running, Version, judge};
pub use keys::Keys;
pub use package::{HEAD_BYTES, MOST_BYTES, Manifest, Package};

/// Why an update is not taken. Sentences for the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not begin like one.
    NotAnUpdate,
    /// Of a format that came after us.
    Newer,
    NotSigned,
    /// Signed by us, and still not as it should be.
    Odd(&'static str),
    Truncated,
    Damaged,
    OtherBoard {
        wanted: String,
        here: String,
    },
    Older {
        offered: Version,
        runs: Version,
    },
    Same(Version),
    TooOldStart {
        runs: Version,
        minimum: Version,
    },
    TooLarge,
    /// This machine's own keys cannot be used.
    NoKeys,
    /// It could not be read.
    Unreadable(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NotAnUpdate => f.write_str("this file is no update of homepost"),
            Refusal::Newer => f.write_str(
                "this update is made in a way that came after the version that runs; an update in between has to come first",
            ),
            Refusal::NotSigned => {
                f.write_str("this update is not signed by whom this box believes, or was changed after it was signed")
            }
            Refusal::Odd(what) => write!(f, "this update is signed, but {what}"),
            Refusal::Truncated => f.write_str("the end of this update is missing; please fetch it again"),
            Refusal::Damaged => f.write_str("this update is damaged; please fetch it again"),
            Refusal::OtherBoard { wanted, here } => {
                write!(f, "this update is for another kind of box ({wanted}; this one is {here})")
            }
            Refusal::Older { offered, runs } => {
                write!(f, "this update is version {offered}, older than {runs}, which runs")
            }
            Refusal::Same(version) => write!(f, "this update is version {version}, which runs already; nothing is to be done"),
            Refusal::TooOldStart { runs, minimum } => write!(
                f,
                "this update can be put on version {minimum} and later, and this box runs {runs}; an update in between has to \
                 come first"
            ),
            Refusal::TooLarge => f.write_str("this update is larger than the room that this box has for a system"),
            Refusal::NoKeys => f.write_str("this system has no keys by which an update could be believed"),
            Refusal::Unreadable(why) => write!(f, "the update cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}
