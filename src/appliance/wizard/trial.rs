//! The trial letters: what is known of the one that came in, and of the one that went out.

use serde::{Deserialize, Serialize};

use crate::base::Time;

/// A letter that was sent to try it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub to: String,
    /// By which it is known again.
    pub mark: String,
    /// Seconds since 1970.
    pub at: i64,
    /// What became of it, once that is known.
    pub end: Option<End>,
}

/// What became of a letter; `said` is what the far end said, or why nobody was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    Taken {
        host: String,
        /// It was encrypted on its way there.
        tls: bool,
        said: String,
    },
    Refused {
        /// `None`: there was nobody who could have taken it.
        host: Option<String>,
        said: String,
    },
}

/// Where the letter with this mark is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    pub mark: String,
    pub way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the queue.
    Waits {
        /// What was said last.
        said: Option<String>,
        next: Time,
    },
    Ended(End),
}

/// The last letter that came from outside, and what its checks found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub from: String,
    /// It was put aside.
    pub junk: bool,
    pub tls: bool,
    pub spf: Found,
    pub dkim: Found,
    pub dmarc: Found,
}

/// A result in the word of RFC 8601, and the domain that it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub result: String,
    pub domain: String,
}
