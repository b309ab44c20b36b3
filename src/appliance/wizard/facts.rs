//! What the host can tell without asking anybody: looked at anew for every page.

use std::net::IpAddr;

use crate::appliance::writing::Writing;
use crate::base::Time;

use super::{Arrived, Going};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Set from the network, or by a chip that keeps it.
    Trusted,
    /// A box without a clock chip starts in the past.
    Unchecked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Internet {
    Yes,
    No,
    /// Nobody has looked, or there is no way to tell.
    Unknown,
}

/// The server of somebody else's that letters leave through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// Empty: none.
    pub host: String,
    pub port: u16,
    /// `implicit` or `starttls`.
    pub tls: String,
    pub user: String,
    /// What stands for it in SPF records; empty: not known.
    pub spf: String,
    /// There is one for it; which is said nowhere (W5).
    pub password: bool,
}

/// Where certificates come from, and what is known of each name that needs one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// For people: "Let's Encrypt".
    pub name: String,
    /// Where its terms can be read, without a scheme.
    pub terms: String,
    /// Its terms were accepted, so it is asked.
    pub on: bool,
    /// A mail address that it may write to; empty for none.
    pub contact: String,
    pub names: Vec<Vouched>,
}

/// A name, and whether the authority vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    pub name: String,
    pub state: Vouching,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouching {
    Done {
        issuer: String,
        until: Time,
    },
    /// It is being asked, or will be at about this time, without anybody's help. `why` is whole sentences, or empty.
    Waiting {
        why: String,
        until: Option<Time>,
    },
    /// Whole sentences: what is wrong, and what to do. It is tried again at about this time.
    NeedsYou {
        why: String,
        again: Option<Time>,
    },
}

/// A stick in a box that nobody has set up, and what could be put back from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// As the stick says.
    pub name: String,
    pub backups: Vec<Offer>,
    /// Why nothing on it is used: a sentence.
    pub problem: Option<String>,
}

/// The newest backup of a box, as far as that can be said without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub box_id: String,
    pub at: Time,
    /// `None`: of the settings alone.
    pub letters: Option<u64>,
}

/// A backup is being put back: what is done, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PuttingBack {
    /// A sentence.
    pub words: &'static str,
    pub done: u64,
    /// 0: nobody knows yet.
    pub all: u64,
}

/// A mail program that has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub address: String,
    pub at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub now: Time,
    pub clock: Clock,
    pub internet: Internet,
    /// The box's own in the house, those that can be typed.
    pub addresses: Vec<IpAddr>,
    /// Letters in the administrator's mailboxes.
    pub letters: u64,
    /// The last that came from outside.
    pub arrived: Option<Arrived>,
    /// The trial letters that went out.
    pub going: Vec<Going>,
    /// Why nothing leaves at all, if that is so: a sentence.
    pub standstill: Option<String>,
    pub seen: Vec<Seen>,
    /// `None` before there is a house.
    pub authority: Option<Authority>,
    pub relay: Option<Relay>,
    /// Records that are written by themselves; `None` before there is a domain.
    pub writing: Option<Writing>,
    /// What the line test would ask, and whom.
    pub plan: Vec<(String, String)>,
    /// What it is at just now.
    pub measuring: Option<String>,
    pub stick: Option<Offered>,
    pub restoring: Option<PuttingBack>,
    /// Why the last backup was not put back: a sentence.
    pub not_restored: Option<String>,
}

impl Facts {
    pub fn at(now: Time) -> Facts {
        Facts {
            now,
            clock: Clock::Trusted,
            internet: Internet::Unknown,
            addresses: Vec::new(),
            letters: 0,
            arrived: None,
            going: Vec::new(),
            standstill: None,
            seen: Vec::new(),
            authority: None,
            relay: None,
            writing: None,
            plan: Vec::new(),
            measuring: None,
            stick: None,
            restoring: None,
            not_restored: None,
        }
    }
}
