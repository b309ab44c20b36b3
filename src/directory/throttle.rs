//! Guessing passwords gets slow, over however many connections and by whichever protocol it is done.
//!
//! After some wrong passwords from one address (of IPv6, one /64) every further log-in from there is looked at in its
//! turn, one in a few seconds, right or wrong: so that nobody learns the outcome sooner by hanging up. What the directory
//! knows to be right from a while ago does not wait where that account came in from this address before, so a family's
//! programs get in beside a neighbour who guesses; and also there only some are looked at in one turn.
//!
//! In the house's own network, and at an address that somebody has logged in from within a month, each name has a line of
//! its own: a telephone that keeps trying an old pass phrase, or a guest who guesses, keeps nobody else waiting.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{AccountId, Mono, counted};

use super::address::Address;

/// Between two log-ins that are looked at.
const TURN_MS: u64 = 4000;
/// Whoever would wait longer is sent away at once.
const PATIENCE_MS: u64 = 60_000;
/// An address is forgotten this long after its last wrong password.
const FORGET_MS: u64 = 15 * 60_000;
/// Log-ins of an address that is slowed which are compared with what is remembered, in one turn.
const QUICK: u32 = 10;
/// That an account came in from an address counts this long; about as long as the directory remembers a log-in.
const WELCOME_MS: u64 = 60 * 60_000;
/// An address that somebody logged in from counts so long as the household's.
const HOME_MS: u64 = 30 * 24 * 60 * 60_000;
/// Addresses kept at most; the one that has been quiet longest makes room (P7).
const ROWS: usize = 10_000;

/// Clones share what they know.
#[derive(Clone)]
pub struct Throttle {
    rows: Arc<Mutex<HashMap<Line, Row>>>,
    /// Which account came in from where, and when.
    welcome: Arc<Mutex<HashMap<(IpAddr, AccountId), Mono>>>,
    /// Where anybody came in from, and when.
    homes: Arc<Mutex<HashMap<IpAddr, Mono>>>,
    free: u64,
}

/// Those who wait for each other: an address; where the household is at home, one name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Line {
    from: IpAddr,
    name: Option<u64>,
}

struct Row {
    failures: u64,
    last: Mono,
    /// When the next turn is.
    turn: Mono,
    /// Since when, and how many were looked at without a turn.
    quick: (Mono, u32),
}

impl Throttle {
    /// `free`: wrong passwords of one address that slow nothing down.
    pub fn new(free: u64) -> Throttle {
        Throttle { rows: Arc::default(), welcome: Arc::default(), homes: Arc::default(), free }
    }

    /// The same knowledge, another limit.
    pub fn with(&self, free: u64) -> Throttle {
        Throttle { free, ..self.clone() }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Line, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: this machine itself, which never waits.
    fn line(&self, from: IpAddr, user: &str, now: Mono) -> Option<Line> {
        let from = counted(from)?;
        // By the key of its row, since a name can be written in many ways; what is no address of anybody's is one line.
        let name = self.is_home(from, now).then(|| {
            let Ok(address) = Address::parse(user) else { return 0 };
            let mut hasher = DefaultHasher::new();
            address.split_subaddress().map_or(address, |(base, _)| base).key().hash(&mut hasher);
            hasher.finish()
        });
        Some(Line { from, name })
    }

    fn is_home(&self, from: IpAddr, now: Mono) -> bool {
        let near = match from {
            IpAddr::V4(four) => four.is_private() || four.is_link_local(),
            IpAddr::V6(six) => six.is_unique_local() || six.is_unicast_link_local(),
        };
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        near || homes.get(&from).is_some_and(|at| now.since(*at) < HOME_MS)
    }

    fn is_slow(&self, row: &Row, now: Mono) -> bool {
        row.failures >= self.free && now.since(row.last) < FORGET_MS
    }

    /// Whether a log-in of this peer may be compared with what is remembered, before its turn.
    pub fn may_be_quick(&self, from: IpAddr, user: &str, now: Mono) -> bool {
        let Some(line) = self.line(from, user, now) else { return true };
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(&line).filter(|row| self.is_slow(row, now)) else { return true };
        if now.since(row.quick.0) >= TURN_MS {
            row.quick = (now, 0);
        }
        row.quick.1 = row.quick.1.saturating_add(1);
        row.quick.1 <= QUICK
    }

    /// Whether what is remembered of this account is enough for this peer: it is not slowed, or let it in before.
    pub fn is_welcome(&self, from: IpAddr, user: &str, account: AccountId, now: Mono) -> bool {
        let Some(line) = self.line(from, user, now) else { return true };
        if !self.rows().get(&line).is_some_and(|row| self.is_slow(row, now)) {
            return true;
        }
        let from = line.from;
        let welcome = self.welcome.lock().unwrap_or_else(PoisonError::into_inner);
        welcome.get(&(from, account)).is_some_and(|at| now.since(*at) < WELCOME_MS)
    }

    /// This account came in from this peer.
    pub fn succeeded(&self, from: IpAddr, account: AccountId, now: Mono) {
        let Some(from) = counted(from) else { return };
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if homes.len() >= ROWS && !homes.contains_key(&from) {
            let oldest = homes.iter().min_by_key(|(_, at)| **at).map(|(from, _)| *from);
            oldest.map(|oldest| homes.remove(&oldest));
        }
        homes.insert(from, now);
        drop(homes);
        let mut welcome = self.welcome.lock().unwrap_or_else(PoisonError::into_inner);
        if welcome.len() >= ROWS {
            welcome.retain(|_, at| now.since(*at) < WELCOME_MS);
            if welcome.len() >= ROWS {
                welcome.clear();
            }
        }
        welcome.insert((from, account), now);
    }

    /// Milliseconds until a log-in of this peer may be looked at; `None` if that is too long to wait for.
    pub fn wait(&self, from: IpAddr, user: &str, now: Mono) -> Option<u64> {
        let Some(line) = self.line(from, user, now) else { return Some(0) };
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(&line) else { return Some(0) };
        if now.since(row.last) >= FORGET_MS {
            rows.remove(&line);
            return Some(0);
        }
        if row.failures < self.free {
            return Some(0);
        }
        let wait = row.turn.since(now);
        if wait > PATIENCE_MS {
            return None;
        }
        row.turn = row.turn.max(now).plus_ms(TURN_MS);
        Some(wait)
    }

    /// A password of this peer was wrong.
    pub fn failed(&self, from: IpAddr, user: &str, now: Mono) {
        let Some(line) = self.line(from, user, now) else { return };
        let mut rows = self.rows();
        if rows.len() >= ROWS && !rows.contains_key(&line) {
            rows.retain(|_, row| now.since(row.last) < FORGET_MS);
            let oldest = rows.iter().min_by_key(|(_, row)| row.last).map(|(line, _)| *line);
            if rows.len() >= ROWS
                && let Some(oldest) = oldest
            {
                rows.remove(&oldest);
            }
        }
        let row = rows.entry(line).or_insert(Row { failures: 0, last: now, turn: now, quick: (now, 0) });
        row.failures = row.failures.saturating_add(1);
        row.last = now;
        if row.failures == self.free {
            tracing::warn!(from = %line.from, "many wrong passwords from this address: further log-ins from there have to wait");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "alice@example.test";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_some_failures_an_address_has_to_wait_its_turn() {
        let throttle = Throttle::new(3);
        let guesser = ip("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(throttle.wait(guesser, NAME, Mono(1000)), Some(0));
            throttle.failed(guesser, NAME, Mono(1000));
        }
        // However many connections it opens: they stand in one line, and the line has an end.
        let waits: Vec<_> = (0..20).map(|_| throttle.wait(guesser, NAME, Mono(1000))).collect();
        assert_eq!(waits[..3], [Some(0), Some(TURN_MS), Some(2 * TURN_MS)]);
        assert_eq!(waits[15], Some(PATIENCE_MS));
        assert_eq!(waits[16..], [None; 4]);
        assert_eq!(throttle.wait(ip("192.0.2.2"), NAME, Mono(1000)), Some(0), "somebody else");
        assert_eq!(throttle.wait(guesser, NAME, Mono(1000 + FORGET_MS)), Some(0), "forgotten");
        assert_eq!(throttle.wait(guesser, NAME, Mono(1000 + FORGET_MS)), Some(0));
    }

    #[test]
    fn a_slowed_address_learns_nothing_of_what_is_remembered_unless_that_account_came_in_from_it() {
        let throttle = Throttle::new(1);
        let (home, stranger, alice) = (ip("192.0.2.1"), ip("192.0.2.2"), AccountId(1));
        throttle.succeeded(home, alice, Mono(0));
        assert!(
            throttle.may_be_quick(stranger, NAME, Mono(0)) && throttle.is_welcome(stranger, NAME, alice, Mono(0)),
            "not slowed"
        );
        for from in [home, stranger] {
            throttle.failed(from, NAME, Mono(0));
        }
        assert!(!throttle.is_welcome(stranger, NAME, alice, Mono(1)));
        assert!(
            throttle.is_welcome(home, NAME, alice, Mono(1)) && !throttle.is_welcome(home, NAME, AccountId(2), Mono(1))
        );
        let quick = (0..20).filter(|_| throttle.may_be_quick(home, NAME, Mono(2))).count();
        assert_eq!(quick, QUICK as usize, "in one turn");
        assert!(throttle.may_be_quick(home, NAME, Mono(2 + TURN_MS)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_this_machine_never_waits() {
        let throttle = Throttle::new(1);
        throttle.failed(ip("2001:db8::1"), NAME, Mono(0));
        assert_eq!(throttle.wait(ip("2001:db8::2"), NAME, Mono(1)), Some(0));
        assert!(throttle.wait(ip("2001:db8::3"), NAME, Mono(1)).is_some_and(|wait| wait > 0));
        for _ in 0..9 {
            throttle.failed(ip("127.0.0.1"), NAME, Mono(0));
            assert_eq!(throttle.wait(ip("127.0.0.1"), NAME, Mono(1)), Some(0));
        }
    }

    #[test]
    fn it_keeps_a_bounded_number_of_addresses_and_the_newest_limit() {
        let throttle = Throttle::new(1);
        for n in 0..ROWS as u32 + 10 {
            throttle.failed(IpAddr::from((0xc000_0000 + n).to_be_bytes()), NAME, Mono(u64::from(n)));
        }
        assert_eq!(throttle.rows().len(), ROWS);
        let last = IpAddr::from((0xc000_0000 + ROWS as u32 + 9).to_be_bytes());
        let other = throttle.with(5);
        assert_eq!([other.wait(last, NAME, Mono(0)), other.wait(last, NAME, Mono(0))], [Some(0), Some(0)]);
        assert_eq!(
            [throttle.wait(last, NAME, Mono(20_000)), throttle.wait(last, NAME, Mono(20_000))],
            [Some(0), Some(TURN_MS)]
        );
    }

    #[test]
    fn at_home_a_program_with_an_old_pass_phrase_keeps_nobody_else_waiting() {
        let throttle = Throttle::new(1);
        let (hotel, other) = (ip("192.0.2.1"), "bob@example.test");
        for (at_home, from) in [(true, ip("192.168.1.20")), (true, ip("fd00::1")), (false, hotel)] {
            throttle.failed(from, NAME, Mono(0));
            throttle.wait(from, NAME, Mono(1));
            for name in ["Alice@EXAMPLE.test", "\"\\alice\"@example.test", "alice+x@example.test"] {
                let wait = throttle.wait(from, name, Mono(1));
                assert!(wait.is_some_and(|wait| wait > 0), "{from}: who guesses waits, as {name} too");
            }
            assert_eq!(throttle.wait(from, other, Mono(1)) == Some(0), at_home, "{from}");
        }
        throttle.succeeded(hotel, AccountId(2), Mono(2));
        assert_eq!(throttle.wait(hotel, other, Mono(3)), Some(0), "somebody of the household is there");
        assert!(throttle.wait(hotel, other, Mono(2 + FORGET_MS - 10)).is_some());
        throttle.failed(hotel, NAME, Mono(2 + HOME_MS));
        throttle.wait(hotel, NAME, Mono(2 + HOME_MS));
        assert!(throttle.wait(hotel, other, Mono(2 + HOME_MS)).is_some_and(|wait| wait > 0), "not any more");
    }
}
