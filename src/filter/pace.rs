//! How often strangers come, and how often they ask for people who do not live here. In memory; forgotten at a restart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{Mono, counted};

/// Connections and commands are counted in windows of this length.
const MINUTE_MS: u64 = 60_000;
/// Wrong recipients are.
const HOUR_MS: u64 = 60 * 60_000;
/// Addresses kept at most; those whose hour is over make room, and if there are none, all do (P7).
const ROWS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one address, in a minute.
    pub connections: u64,
    /// On all its connections together, in a minute.
    pub commands: u64,
    /// Recipients that are not here, asked for by one address in an hour.
    pub unknown: u64,
}

/// Clones share what they know. Addresses are counted as [`counted`] says.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<Mutex<HashMap<IpAddr, Row>>>);

#[derive(Clone, Copy, Debug)]
struct Row {
    minute: Mono,
    connections: u64,
    commands: u64,
    hour: Mono,
    unknown: u64,
}

impl Pace {
    fn with<T>(&self, peer: IpAddr, now: Mono, work: impl FnOnce(&mut Row) -> T) -> Option<T> {
        let peer = counted(peer)?;
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= ROWS && !rows.contains_key(&peer) {
            rows.retain(|_, row| now.since(row.minute) < MINUTE_MS || row.unknown > 0 && now.since(row.hour) < HOUR_MS);
            if rows.len() >= ROWS {
                rows.clear();
            }
        }
        let row = rows.entry(peer).or_insert(Row { minute: now, connections: 0, commands: 0, hour: now, unknown: 0 });
        if now.since(row.minute) >= MINUTE_MS {
            (row.minute, row.connections, row.commands) = (now, 0, 0);
        }
        if now.since(row.hour) >= HOUR_MS {
            (row.hour, row.unknown) = (now, 0);
        }
        Some(work(row))
    }

    /// A connection; false if it is one too many, or said too much before.
    pub fn came(&self, peer: IpAddr, limits: Limits, now: Mono) -> bool {
        let row = self.with(peer, now, |row| {
            row.connections = row.connections.saturating_add(1);
            row.connections <= limits.connections && row.commands <= limits.commands
        });
        row.unwrap_or(true)
    }

    /// So many commands more; false if they are too many.
    pub fn said(&self, peer: IpAddr, commands: u64, limits: Limits, now: Mono) -> bool {
        let row = self.with(peer, now, |row| {
            row.commands = row.commands.saturating_add(commands);
            row.commands <= limits.commands
        });
        row.unwrap_or(true)
    }

    /// Whether this address may still ask who lives here.
    pub fn may_ask(&self, peer: IpAddr, limits: Limits, now: Mono) -> bool {
        self.with(peer, now, |row| row.unknown < limits.unknown).unwrap_or(true)
    }

    /// It asked for somebody who does not live here.
    pub fn asked_for_nobody(&self, peer: IpAddr, now: Mono) {
        self.with(peer, now, |row| row.unknown = row.unknown.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { connections: 3, commands: 50, unknown: 2 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_minute_and_the_hour_begin_anew() {
        let (pace, peer) = (Pace::default(), ip("203.0.113.7"));
        let came: Vec<bool> = (0..5).map(|n| pace.came(peer, LIMITS, Mono(n))).collect();
        assert_eq!(came, [true, true, true, false, false]);
        assert!(pace.came(ip("203.0.113.8"), LIMITS, Mono(5)), "somebody else");
        assert!(pace.came(peer, LIMITS, Mono(MINUTE_MS)));
        let said: Vec<bool> = (0..4).map(|n| pace.said(peer, 20, LIMITS, Mono(n))).collect();
        assert_eq!(said, [true, true, false, false]);
        assert!(pace.said(ip("203.0.113.8"), 20, LIMITS, Mono(5)), "somebody else");
        assert!(pace.said(peer, 20, LIMITS, Mono(2 * MINUTE_MS)));
        pace.asked_for_nobody(peer, Mono(0));
        assert!(pace.may_ask(peer, LIMITS, Mono(0)));
        pace.asked_for_nobody(peer, Mono(0));
        assert!(!pace.may_ask(peer, LIMITS, Mono(HOUR_MS - 1)) && pace.may_ask(peer, LIMITS, Mono(HOUR_MS)));
    }

    #[test]
    fn this_machine_is_no_stranger_and_many_strangers_take_no_more_room() {
        let pace = Pace::default();
        assert!((0..100).all(|n| pace.came(ip("127.0.0.1"), LIMITS, Mono(n))));
        for n in 0..3 * ROWS as u32 {
            pace.came(std::net::Ipv4Addr::from(n.wrapping_mul(7919)).into(), LIMITS, Mono(0));
        }
        assert!(pace.0.lock().unwrap().len() <= ROWS);
    }
}
