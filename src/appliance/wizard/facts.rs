//! What the host can tell without asking anybody: looked at anew for every page.

use std::net::IpAddr;

use crate::base::Time;

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
    pub seen: Vec<Seen>,
}

impl Facts {
    pub fn at(now: Time) -> Facts {
        Facts {
            now,
            clock: Clock::Trusted,
            internet: Internet::Unknown,
            addresses: Vec::new(),
            letters: 0,
            seen: Vec::new(),
        }
    }
}
