//! Writing records by itself, as pages and programs see it: how it is done, what would be done, how it went.
//!
//! Nothing but shapes, and the same for the command line's `--json`. No secret is in what goes out: [`Method`] says whether
//! there is one. What is said to be in the way, or why something was not done, are whole sentences for the owner.

use serde::{Deserialize, Serialize};

use super::wizard::Secret;

/// How records are written. Empty texts stand for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Method {
    /// `none`, `rfc2136`, or a provider.
    pub method: String,
    pub server: String,
    pub key_name: String,
    pub algorithm: String,
    pub zone: String,
    pub ask: String,
    /// Whether there is a secret for this method.
    pub secret: bool,
    /// Whether records can be written, as far as one can tell without asking anybody.
    pub ready: bool,
}

/// How records are to be written from now on. `None` leaves something as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMethod {
    pub method: String,
    pub server: Option<String>,
    pub key_name: Option<String>,
    pub algorithm: Option<String>,
    pub zone: Option<String>,
    pub ask: Option<String>,
    /// As `net::dns::secrets_of` lists them; none: those that are kept.
    pub secrets: Vec<Secret>,
}

/// What is to be done with the records of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wish {
    /// Not only looked at.
    pub write: bool,
    /// Put back what was there before the last writing.
    pub undo: bool,
    /// What is not ours and goes all the same, as `example.org/MX`.
    pub take_over: Vec<String>,
    /// Write no more than what this work showed ([`Work::id`]). `None`: who asks takes what comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
}

/// What would be done, or what was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    pub domain: String,
    pub zone: String,
    pub method: String,
    /// Whose word it is.
    pub servers: Vec<String>,
    /// Everything that could be written was.
    pub written: bool,
    pub to_write: usize,
    pub done: usize,
    pub conflicts: usize,
    pub lines: Vec<Line>,
    /// Why something was not done, each reason once.
    pub faults: Vec<String>,
    /// What was written and is not seen by everybody yet.
    pub unseen: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// What is to happen to one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// `keep`, `add`, `change`, `remove`, `conflict`.
    pub action: String,
    pub new: Option<Value>,
    /// What goes; of a conflict, what is in the way and stays.
    pub old: Vec<Value>,
    /// Of a conflict: what it is.
    pub words: String,
    /// Of a conflict: how it is named in [`Wish::take_over`].
    pub take_over: Option<String>,
    /// `None`: it was not to be done, or nobody has tried.
    pub done: Option<bool>,
    pub fault: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    #[serde(rename = "type")]
    pub kind: String,
    pub priority: Option<u16>,
    pub value: String,
    pub ttl: u32,
    pub ours: bool,
}

/// What is being done for a domain, or was done last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Work {
    /// Another one for each wish.
    pub id: u64,
    pub wish: Wish,
    /// RFC 3339.
    pub begun: String,
    pub ended: Option<String>,
    /// When it has ended: what came of it.
    pub difference: Option<Difference>,
    /// Or why nothing could be said. Then nothing was changed.
    pub failed: Option<String>,
}

impl Work {
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }
}

/// All of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Writing {
    pub method: Method,
    /// Something was written, and can be put back.
    pub undoable: bool,
    pub work: Option<Work>,
}
