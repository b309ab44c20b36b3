//! Which connections stand, and whose letters go over them: domains whose mail one host takes share its connections, as far as
//! one fulfils what each of them wants of TLS. Pure.
//!
//! Does not know: sockets, the DNS, what waits (it is told how much).

use std::collections::{BTreeMap, BTreeSet};

use super::Destination;
use super::tls::Plan;

/// Letters that are worth a connection more: one takes letter after letter, and another costs a greeting.
pub(super) const CROWD: usize = 10;

/// A connection, from before it is opened until it takes no more letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

#[derive(Default)]
pub(super) struct Standing {
    connections: BTreeMap<Number, Connection>,
    /// Destinations without a connection of their own that others carry, or that wait until there is room at their host.
    parked: BTreeMap<Destination, Parked>,
    last: u64,
}

struct Connection {
    host: String,
    destination: Destination,
    plan: Plan,
}

struct Parked {
    host: String,
    plan: Plan,
}

impl Standing {
    pub fn is_parked(&self, destination: &Destination) -> bool {
        self.parked.contains_key(destination)
    }

    /// Of hosts that are as good as one another, the one to which a connection stands already.
    pub fn known<'a>(&self, hosts: &'a [String]) -> Option<&'a String> {
        hosts.iter().find(|host| self.to(host).next().is_some())
    }

    /// Destinations whose letters may go to a host now, for who counts how many wait.
    pub fn at(&self, host: &str) -> BTreeSet<Destination> {
        let open = self.to(host).map(|(_, connection)| connection.destination.clone());
        let parked = self.parked.iter().filter(|(_, parked)| parked.host == host);
        open.chain(parked.map(|(destination, _)| destination.clone())).collect()
    }

    /// A place for a connection to a host, of which there may be `most`, while `waiting` letters are for it. `None`: there is
    /// no room, or one that stands will do; the destination is parked until one of the host's connections ends.
    pub fn place(
        &mut self,
        host: &str,
        destination: &Destination,
        plan: &Plan,
        most: usize,
        waiting: usize,
    ) -> Option<Number> {
        let (open, host) = (self.to(host).count(), host.to_owned());
        let served = self.to(&host).any(|(_, connection)| connection.carries(destination, plan));
        let most = if served { most.min(waiting.div_ceil(CROWD)) } else { most };
        if open >= most.max(1) {
            self.parked.insert(destination.clone(), Parked { host, plan: plan.clone() });
            return None;
        }
        self.last += 1;
        let (destination, plan) = (destination.clone(), plan.clone());
        self.connections.insert(Number(self.last), Connection { host, destination, plan });
        Some(Number(self.last))
    }

    /// Whom a connection may carry letters for beside its own destination, and by which plans.
    pub fn others(&self, number: Number) -> Vec<(Destination, Plan)> {
        let Some(connection) = self.connections.get(&number) else { return Vec::new() };
        let fits = |(destination, parked): &(&Destination, &Parked)| {
            parked.host == connection.host
                && **destination != connection.destination
                && connection.carries(destination, &parked.plan)
        };
        let all = self.parked.iter().filter(fits);
        all.map(|(destination, parked)| (destination.clone(), parked.plan.clone())).collect()
    }

    /// It takes no more letters. Whether there is somebody who was parked at its host, and has to look for a place again.
    pub fn leave(&mut self, number: Number) -> bool {
        let Some(gone) = self.connections.remove(&number) else { return false };
        let before = self.parked.len();
        self.parked.retain(|_, parked| parked.host != gone.host);
        self.parked.len() < before
    }

    fn to(&self, host: &str) -> impl Iterator<Item = (&Number, &Connection)> {
        self.connections.iter().filter(move |(_, connection)| connection.host == host)
    }
}

impl Connection {
    fn carries(&self, destination: &Destination, plan: &Plan) -> bool {
        self.destination == *destination
            || (self.destination.tls == destination.tls && plan.is_fulfilled_by(&self.plan))
    }
}

#[cfg(test)]
mod tests {
    use super::super::To;
    use super::super::tls::How;
    use super::*;
    use crate::mailauth::dane::{Matching, Tlsa, Usage};
    use crate::queue::Tls;

    fn to(domain: &str) -> Destination {
        Destination { to: To::Domain(domain.into()), tls: Tls::Usual }
    }

    fn plan(domain: &str, how: How) -> Plan {
        let mut plan = Plan::relay("mx.far.test", "");
        (plan.domain, plan.how) = (domain.into(), how);
        plan
    }

    fn dane(domain: &str, usage: Usage, data: u8) -> Plan {
        let records = vec![Tlsa { usage, key: true, matching: Matching::Sha256, data: vec![data] }];
        let names = vec!["mx.far.test".into(), domain.to_owned()];
        plan(domain, How::Dane { records, names })
    }

    const MX: &str = "mx.far.test";

    #[test]
    fn a_domain_goes_over_the_connection_that_stands_to_its_host() {
        let mut standing = Standing::default();
        let first = standing.place(MX, &to("a.test"), &plan("a.test", How::Offered), 4, 1).unwrap();
        assert_eq!(standing.place(MX, &to("b.test"), &plan("b.test", How::Offered), 4, 2), None);
        assert!(standing.is_parked(&to("b.test")) && !standing.is_parked(&to("a.test")));
        let others: Vec<_> =
            standing.others(first).into_iter().map(|(to, plan)| (to.to_string(), plan.domain)).collect();
        assert_eq!(others, [("b.test".to_owned(), "b.test".to_owned())]);
        assert_eq!(standing.at(MX).len(), 2);
        // Another host is another connection.
        assert!(standing.place("mx2.far.test", &to("c.test"), &plan("c.test", How::Offered), 4, 1).is_some());
        let hosts = ["mx9.far.test".to_owned(), MX.to_owned()];
        assert_eq!(standing.known(&hosts), Some(&hosts[1]));
        assert!(standing.leave(first) && !standing.leave(first));
        assert!(!standing.is_parked(&to("b.test")), "it would wait for ever");
        assert_eq!(standing.known(&hosts), None);
    }

    #[test]
    fn a_crowd_gets_more_connections_and_no_host_more_than_it_may_have() {
        let mut standing = Standing::default();
        let mut place =
            |domain: &str, waiting| standing.place(MX, &to(domain), &plan(domain, How::Offered), 2, waiting).is_some();
        assert!(place("a.test", 11));
        assert!(place("b.test", 11), "eleven letters are worth two");
        assert!(!place("c.test", 1000));
        let required = Destination { tls: Tls::Required, ..to("d.test") };
        let plan = plan("d.test", How::Verified);
        assert_eq!(standing.place(MX, &required, &plan, 2, 1), None);
        let numbers: Vec<Number> = standing.connections.keys().copied().collect();
        assert!(standing.others(numbers[0]).iter().all(|(other, _)| *other != required), "it waits for room");
    }

    #[test]
    fn one_that_promises_less_carries_nothing_of_who_wants_more() {
        let fits = |one: &Plan, other: &Plan| {
            let mut standing = Standing::default();
            let number = standing.place(MX, &to("a.test"), one, 1, 1).unwrap();
            standing.place(MX, &to("b.test"), other, 1, 1);
            !standing.others(number).is_empty()
        };
        let (offered, watched) = (plan("b.test", How::Offered), plan("b.test", How::Watched));
        let (encrypted, verified) = (plan("b.test", How::Encrypted), plan("b.test", How::Verified));
        let (own, other) = (dane("a.test", Usage::Own, 1), dane("b.test", Usage::Own, 1));
        for (stands, wanted, expected) in [
            (&offered, &offered, true),
            (&verified, &offered, true),
            (&own, &offered, true),
            (&offered, &watched, false),
            (&watched, &watched, true),
            (&offered, &encrypted, false),
            (&watched, &encrypted, false),
            (&verified, &encrypted, true),
            (&own, &encrypted, true),
            (&encrypted, &verified, false),
            (&own, &verified, false),
            (&verified, &verified, true),
            (&verified, &other, false),
            (&own, &other, true),
            (&own, &dane("b.test", Usage::Own, 2), false),
            // RFC 7672 3.1.1: with an authority's key the name in the certificate counts, and it may be the other domain's.
            (&dane("a.test", Usage::Authority, 1), &dane("b.test", Usage::Authority, 1), false),
        ] {
            assert_eq!(fits(stands, wanted), expected, "{:?} over {:?}", wanted.how, stands.how);
        }
    }
}
