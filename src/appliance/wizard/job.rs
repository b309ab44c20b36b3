//! What the wizard asks of its host. Each can be asked again after a cut: its end is kept only when it is known.

use serde::{Deserialize, Serialize};

use crate::appliance::writing::{NewMethod, Wish};
use crate::base::Time;

use super::{Line, Relay, Secret};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Make the stores and the administrator, in a domain that nobody else has: all that `homepost init` does.
    Found {
        name: String,
        local: String,
        phrase: Secret,
    },
    /// Put a backup back. Begun here, goes on by itself; how far it is the facts say. When all is back somebody else has set up the
    /// folder.
    Restore {
        box_id: Option<String>,
        secret: Secret,
    },
    /// Is this the administrator's pass phrase?
    Check {
        phrase: Secret,
    },
    /// Give the administrator another one.
    Change {
        phrase: Secret,
    },
    /// These words of the recovery sheet open the backups from now on. They are kept nowhere.
    Seal {
        words: Secret,
    },
    /// Does this domain get mail already, and where?
    LookUp {
        domain: String,
    },
    /// Take mail for this domain under this host name: every address moves into it. Then the mail ports may open.
    Name {
        domain: String,
        host: String,
    },
    /// Stay within the house; the mail ports may open.
    House,
    /// One more person, with a pass phrase to begin with; if it is empty, one that the host makes.
    Person {
        name: String,
        local: String,
        phrase: Secret,
    },
    /// A letter to this address, from the administrator.
    Letter {
        to: String,
    },
    /// From now on the authority is asked, whose terms were accepted.
    Authority {
        contact: String,
    },
    Relay {
        relay: Relay,
        password: Secret,
    },
    /// Records are written in this way from now on; what would change is looked at.
    Method {
        domain: String,
        new: NewMethod,
    },
    /// Begun here, goes on by itself; how far it is the facts say.
    Write {
        domain: String,
        wish: Wish,
    },
    Line {
        before: Option<Before>,
    },
    Records {
        domain: String,
        host: String,
    },
    /// Ask for what is missing once more; the facts say what came of it.
    Certificate {
        domain: String,
        host: String,
    },
}

impl Job {
    /// Those that take longer than a page can: the page shows that they run, and looks again.
    pub fn is_long(&self) -> bool {
        matches!(self, Job::Line { .. } | Job::Records { .. } | Job::Certificate { .. })
    }
}

/// How the world saw the line at the last measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    pub address: String,
    /// It had another one still earlier.
    pub changed: bool,
}

/// Where mail for a domain goes today.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Existing {
    /// Names of its mail servers, in order; empty if there are none.
    pub mail: Vec<String>,
}

/// One record as the owner of the domain has to enter it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Relative to the domain; `@` for the domain itself.
    pub name: String,
    /// With the domain, and a dot at the end.
    pub full_name: String,
    pub kind: String,
    pub priority: Option<u16>,
    pub value: String,
    /// The same in parts of at most 255 bytes, where a provider's page takes no more.
    pub parts: Vec<String>,
    /// What it does, and what breaks without it: a sentence each.
    pub purpose: String,
    /// Why it is not to be entered (yet), if so.
    pub withheld: Option<String>,
    pub state: PieceState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PieceState {
    /// Nobody has looked yet.
    Unknown,
    Right,
    NotYet {
        until: Option<i64>,
    },
    Different {
        found: String,
    },
    /// The domain's own servers do not say the same.
    Differing,
    CannotAsk {
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The administrator's address.
    Founded {
        address: String,
    },
    Checked(bool),
    Changed,
    Sealed,
    Existing(Existing),
    /// The administrator's new address.
    Named {
        address: String,
    },
    Added {
        address: String,
        phrase: Secret,
    },
    /// The letter is in the queue, and is known by this mark.
    Posted {
        mark: String,
        at: Time,
    },
    /// The relay is kept.
    Relayed,
    Line(Line),
    /// `at`: when the domain's own name servers were asked, if they were.
    Records {
        pieces: Vec<Piece>,
        at: Option<Time>,
        /// What is there of somebody else's, and the safe ways on: a paragraph each.
        advice: Vec<String>,
    },
    /// The authority will be asked, or was asked once more.
    Asked,
    /// The person can put it right: the sentence says how.
    Refused(String),
    /// The same, about a field of the form.
    Field {
        field: &'static str,
        words: String,
    },
    /// The world failed.
    Failed {
        why: String,
        next: String,
    },
    /// This version of homepost cannot do it.
    NotYet(String),
}
