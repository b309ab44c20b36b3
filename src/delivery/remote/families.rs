//! Which of a host's addresses are tried first: IPv4 and IPv6 are remembered apart, so that a host, or a whole house, of which
//! one does not work is not waited for at each letter. Pure.
//!
//! Only what tells the two apart is learnt: where neither connects it is the host that does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::base::Mono;

/// For how long a family is tried last, in milliseconds.
const LAST: u64 = 30 * 60_000;
/// Networks in which a host took a letter by the other family while this one failed, before it is the house's that does not work. Who
/// has a few names and one server must not turn a house's mail from IPv4 to IPv6, where large receivers refuse it.
const NETWORKS: usize = 3;
/// Hosts that are remembered (P7).
const MOST: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    Four,
    Six,
}

impl Family {
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Four } else { Family::Six }
    }

    fn other(self) -> Family {
        if self == Family::Four { Family::Six } else { Family::Four }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Family::Four { "IPv4" } else { "IPv6" })
    }
}

/// What connecting to a host came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    connected: BTreeMap<Family, bool>,
    /// Where a letter was taken.
    took: Option<IpAddr>,
}

impl Tried {
    pub fn add(&mut self, address: IpAddr, connected: bool) {
        *self.connected.entry(Family::of(address)).or_default() |= connected;
    }

    /// A letter was taken there: a name can lead to anybody's server, which then takes nothing.
    pub fn took(&mut self, address: IpAddr) {
        self.took = Some(address);
    }

    pub fn is_silent(&self) -> bool {
        self.connected.values().all(|connected| !connected)
    }

    fn connected(&self, family: Family) -> bool {
        self.connected.get(&family) == Some(&true)
    }

    fn failed(&self, family: Family) -> bool {
        self.connected.get(&family) == Some(&false)
    }
}

/// About as much as one holder has: /16 of IPv4, /32 of IPv6.
fn network(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(four) => [four.octets()[0], four.octets()[1], 0, 0],
        IpAddr::V6(six) => [six.octets()[0], six.octets()[1], six.octets()[2], six.octets()[3]],
    }
}

#[derive(Default)]
pub(super) struct Families {
    /// Until when a host's is tried last.
    hosts: BTreeMap<(String, Family), Mono>,
    house: BTreeMap<Family, House>,
}

#[derive(Default)]
struct House {
    /// Since it last worked the other one did with hosts in these.
    networks: BTreeSet<[u8; 4]>,
    until: Option<Mono>,
}

impl Families {
    /// The same addresses: those of a family that works before those of one that did not lately; else as they are.
    pub fn order(&self, host: &str, addresses: &[IpAddr], now: Mono) -> Vec<IpAddr> {
        let mut out = addresses.to_vec();
        out.sort_by_key(|address| self.is_doubtful(host, Family::of(*address), now));
        out
    }

    fn is_doubtful(&self, host: &str, family: Family, now: Mono) -> bool {
        let here = self.house.get(&family).and_then(|house| house.until);
        let there = self.hosts.get(&(host.to_owned(), family)).copied();
        [here, there].into_iter().flatten().any(|until| now < until)
    }

    /// Takes in what an attempt came to. A family that is found not to work in the whole house.
    pub fn learn(&mut self, host: &str, tried: &Tried, now: Mono) -> Option<Family> {
        let mut found = None;
        for family in [Family::Four, Family::Six] {
            if tried.connected(family) {
                self.hosts.remove(&(host.to_owned(), family));
                self.house.remove(&family);
            } else if tried.failed(family) && tried.connected(family.other()) {
                self.keep(host, family, now);
                let Some(took) = tried.took.filter(|took| Family::of(*took) != family) else { continue };
                let house = self.house.entry(family).or_default();
                if house.networks.len() < NETWORKS {
                    house.networks.insert(network(took));
                }
                if house.networks.len() >= NETWORKS {
                    let known = house.until.is_some_and(|until| now < until);
                    house.until = Some(now.plus_ms(LAST));
                    found = (!known).then_some(family).or(found);
                }
            }
        }
        found
    }

    fn keep(&mut self, host: &str, family: Family, now: Mono) {
        if self.hosts.len() >= MOST {
            self.hosts.retain(|_, until| now < *until);
        }
        if self.hosts.len() >= MOST {
            let first = self.hosts.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone());
            first.map(|key| self.hosts.remove(&key));
        }
        self.hosts.insert((host.to_owned(), family), now.plus_ms(LAST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono(1_000);

    fn addresses(all: &[&str]) -> Vec<IpAddr> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    fn tried(all: &[(&str, bool)]) -> Tried {
        let mut out = Tried::default();
        all.iter().for_each(|(address, connected)| out.add(address.parse().unwrap(), *connected));
        out
    }

    const FOUR: &str = "192.0.2.1";
    const SIX: &str = "2001:db8::1";

    #[test]
    fn what_did_not_connect_lately_comes_last_for_a_while() {
        let mut families = Families::default();
        let usual = addresses(&[FOUR, "192.0.2.2", SIX]);
        assert_eq!(families.order("mx.a.test", &usual, NOW), usual);
        families.learn("mx.a.test", &tried(&[(FOUR, false), ("192.0.2.2", false), (SIX, true)]), NOW);
        assert_eq!(families.order("mx.a.test", &usual, NOW), addresses(&[SIX, FOUR, "192.0.2.2"]));
        assert_eq!(families.order("mx.b.test", &usual, NOW), usual, "another host's says nothing of this one's");
        assert_eq!(families.order("mx.a.test", &usual, NOW.plus_ms(LAST)), usual, "not for ever");
        // It works again.
        families.learn("mx.a.test", &tried(&[(FOUR, true)]), NOW);
        assert_eq!(families.order("mx.a.test", &usual, NOW), usual);
    }

    #[test]
    fn where_nothing_connects_it_is_the_host() {
        let mut families = Families::default();
        let usual = addresses(&[FOUR, SIX]);
        for n in 0..5 {
            families.learn(&format!("mx{n}.test"), &tried(&[(FOUR, false), (SIX, false)]), NOW);
            // One family only: nothing to compare it with.
            families.learn(&format!("four{n}.test"), &tried(&[(FOUR, false)]), NOW);
        }
        assert_eq!(families.order("mx0.test", &usual, NOW), usual);
        assert_eq!(families.order("four0.test", &usual, NOW), usual);
        // One of several addresses answered: the family works.
        families.learn("mx0.test", &tried(&[(FOUR, false), ("192.0.2.2", true), (SIX, true)]), NOW);
        assert_eq!(families.order("mx0.test", &usual, NOW), usual);
    }

    #[test]
    fn a_house_without_one_of_them_tries_it_last_with_hosts_it_has_never_seen() {
        let mut families = Families::default();
        let usual = addresses(&[FOUR, SIX]);
        let at = |six: &str| {
            let mut tried = tried(&[(FOUR, false), (six, true)]);
            tried.took(six.parse().unwrap());
            tried
        };
        assert_eq!(families.learn("mx1.test", &at("2001:db8::1"), NOW), None);
        for n in 0..5 {
            let stranger = at(&format!("2001:db8:{n}::{n}"));
            assert_eq!(families.learn(&format!("a{n}.stranger.test"), &stranger, NOW), None, "all in one network");
            let others = tried(&[(FOUR, false), (&format!("2001:{n}::1"), true)]);
            assert_eq!(families.learn(&format!("b{n}.stranger.test"), &others, NOW), None, "that took no letter");
        }
        assert_eq!(families.learn("mx2.test", &at("2001:db9::1"), NOW), None);
        assert_eq!(families.learn("mx3.test", &at("2001:dba::1"), NOW), Some(Family::Four));
        assert_eq!(families.learn("mx4.test", &at("2001:dbb::1"), NOW), None, "it is said once");
        assert_eq!(families.order("new.test", &usual, NOW), addresses(&[SIX, FOUR]));
        assert_eq!(families.order("new.test", &usual, NOW.plus_ms(LAST)), usual);
        families.learn("mx4.test", &tried(&[(FOUR, true)]), NOW);
        assert_eq!(families.order("new.test", &usual, NOW), usual);
    }

    #[test]
    fn no_more_than_a_thousand_hosts_are_kept() {
        let mut families = Families::default();
        for n in 0..MOST as u64 + 10 {
            families.learn(&format!("mx{n}.test"), &tried(&[(FOUR, false), (SIX, true)]), NOW.plus_ms(n));
        }
        assert_eq!(families.hosts.len(), MOST);
        assert!(!families.hosts.contains_key(&("mx0.test".to_owned(), Family::Four)), "the oldest makes room");
    }
}
