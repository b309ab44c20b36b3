//! The steps, in their order, and the four states that each can be in.

use serde::{Deserialize, Serialize};

use crate::base::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Language,
    Code,
    Origin,
    Network,
    You,
    Line,
    Domain,
    Dns,
    Certificate,
    Letter,
    Family,
    Devices,
    Done,
}

impl Step {
    pub const ALL: [Step; 13] = [
        Step::Language,
        Step::Code,
        Step::Origin,
        Step::Network,
        Step::You,
        Step::Line,
        Step::Domain,
        Step::Dns,
        Step::Certificate,
        Step::Letter,
        Step::Family,
        Step::Devices,
        Step::Done,
    ];

    /// As it stands in addresses and on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Step::Language => "language",
            Step::Code => "code",
            Step::Origin => "origin",
            Step::Network => "network",
            Step::You => "you",
            Step::Line => "line",
            Step::Domain => "domain",
            Step::Dns => "dns",
            Step::Certificate => "certificate",
            Step::Letter => "letter",
            Step::Family => "family",
            Step::Devices => "devices",
            Step::Done => "done",
        }
    }

    pub fn by_id(id: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.id() == id)
    }

    /// For people, a word or two.
    pub fn title(self) -> &'static str {
        match self {
            Step::Language => "Language and time",
            Step::Code => "Code",
            Step::Origin => "New or restore",
            Step::Network => "Clock and network",
            Step::You => "You",
            Step::Line => "Your line",
            Step::Domain => "Your domain",
            Step::Dns => "Records",
            Step::Certificate => "Certificate",
            Step::Letter => "First letter",
            Step::Family => "Family",
            Step::Devices => "Devices",
            Step::Done => "Done",
        }
    }

    /// The one behind it; the last is its own.
    pub fn next(self) -> Step {
        let at = Step::ALL.iter().position(|step| *step == self).unwrap_or(0);
        Step::ALL.get(at + 1).copied().unwrap_or(Step::Done)
    }
}

/// What a step is in. The words are for people, whole sentences or parts that fit behind "waits for".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// With what came of it, if that says anything.
    Done(Option<String>),
    /// For whom or what, and until about when.
    Waiting {
        on: String,
        until: Option<Time>,
    },
    /// The person at the page.
    NeedsYou,
    Failed {
        why: String,
        next: String,
    },
}

impl State {
    pub fn is_done(&self) -> bool {
        matches!(self, State::Done(_))
    }

    /// One word, as scripts read it.
    pub fn word(&self) -> &'static str {
        match self {
            State::Done(_) => "done",
            State::Waiting { .. } => "waiting",
            State::NeedsYou => "needs-you",
            State::Failed { .. } => "failed",
        }
    }

    pub(super) fn done(said: impl Into<String>) -> State {
        State::Done(Some(said.into()))
    }

    pub(super) fn waiting(on: impl Into<String>) -> State {
        State::Waiting { on: on.into(), until: None }
    }
}
