//! One name on one network: asked for, announced, defended, given up for another (RFC 6762 8 and 9). No sockets, no clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{Mono, Random};

use super::Name;
use super::packet::{self, A, AAAA, Form, Message};

/// RFC 6762 8.1: three questions, a quarter of a second apart, before a name is ours.
const PROBES: u8 = 3;
const PROBE_EVERY_MS: u64 = 250;
/// RFC 6762 8.3: told twice, a second apart.
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_EVERY_MS: u64 = 1000;
/// RFC 6762 8.2: who loses to another that asks at the same time lets it have its say.
const YIELD_MS: u64 = 1000;
/// RFC 6762 8.1: after so many names that were taken, one try in so long.
const MANY_CONFLICTS: u32 = 15;
const SLOW_MS: u64 = 5000;
/// RFC 6762 6: the same by multicast at most once in a second, and in defence of the name once in a quarter.
const QUIET_MS: u64 = 1000;
const DEFENCE_QUIET_MS: u64 = 250;
/// Answers to single peers in one second; more is somebody who plays with us.
const MOST_ALONE: u32 = 20;

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Group,
    Peer(SocketAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Probing { sent: u8 },
    Announcing { sent: u8 },
    Held,
}

pub(super) struct Claim {
    /// The name wished for.
    wish: Name,
    /// The name asked for or held: the wish, or with a number.
    name: Name,
    number: u32,
    conflicts: u32,
    /// Of this network: what is answered.
    addresses: Vec<IpAddr>,
    /// Of all networks: these do not contradict us (RFC 6762 14), since a box may be on one network by two cards.
    own: Arc<Vec<IpAddr>>,
    random: Arc<dyn Random>,
    state: State,
    /// When `tick` has something to do.
    due: Option<Mono>,
    multicast_at: Option<Mono>,
    alone: (Mono, u32),
}

impl Claim {
    pub fn new(now: Mono, wish: Name, addresses: Vec<IpAddr>, own: Arc<Vec<IpAddr>>, random: Arc<dyn Random>) -> Claim {
        let mut claim = Claim {
            name: wish.clone(),
            wish,
            number: 1,
            conflicts: 0,
            addresses,
            own,
            random,
            state: State::Probing { sent: 0 },
            due: None,
            multicast_at: None,
            alone: (now, 0),
        };
        claim.probe(now, 0);
        claim
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The name is ours, as far as anybody said.
    pub fn held(&self) -> bool {
        !matches!(self.state, State::Probing { .. })
    }

    /// When to call [`tick`](Claim::tick).
    pub fn deadline(&self) -> Option<Mono> {
        self.due
    }

    /// What is to be said to everybody now.
    pub fn tick(&mut self, now: Mono) -> Option<Vec<u8>> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        match self.state {
            State::Probing { sent } if sent < PROBES => {
                self.state = State::Probing { sent: sent + 1 };
                self.due = Some(now.plus_ms(PROBE_EVERY_MS));
                Some(packet::probe(&self.name, &self.addresses))
            }
            State::Probing { .. } => Some(self.announcement(now, 1)),
            State::Announcing { sent } => Some(self.announcement(now, sent + 1)),
            State::Held => {
                self.due = None;
                None
            }
        }
    }

    fn announcement(&mut self, now: Mono, sent: u8) -> Vec<u8> {
        self.state = if sent < ANNOUNCEMENTS { State::Announcing { sent } } else { State::Held };
        if self.state == State::Held {
            // RFC 6762 8.1 slows down those who meet many conflicts one after another; these are over.
            self.conflicts = 0;
        }
        self.due = (sent < ANNOUNCEMENTS).then(|| now.plus_ms(ANNOUNCE_EVERY_MS));
        self.multicast_at = Some(now);
        packet::answer(&self.name, Form::Multicast, &self.addresses, &[], false)
    }

    /// A packet that came from `from`; what is answered.
    pub fn input(&mut self, now: Mono, from: SocketAddr, bytes: &[u8]) -> Option<(To, Vec<u8>)> {
        let message = packet::read(bytes)?;
        if message.response {
            // RFC 6762 11: from port 5353, or not meant.
            if from.port() == super::PORT && self.contradicted(&message) {
                self.conflict(now);
            }
            return None;
        }
        match self.state {
            State::Probing { .. } => {
                self.at_once(now, &message);
                None
            }
            State::Announcing { .. } | State::Held => self.reply(now, from, &message),
        }
    }

    /// Somebody else says that the name has an address that we do not know.
    fn contradicted(&self, message: &Message) -> bool {
        message.answers.iter().any(|one| one.name == self.name && one.ttl_s > 0 && !self.own.contains(&one.address))
    }

    fn conflict(&mut self, now: Mono) {
        if self.held() {
            // RFC 6762 9: asked for once more; if the other is still there it answers, and keeps the name.
            return self.probe(now, 0);
        }
        self.conflicts = self.conflicts.saturating_add(1);
        self.number = if self.number < 1000 { self.number + 1 } else { 2 };
        self.name = self.wish.numbered(self.number);
        self.probe(now, if self.conflicts >= MANY_CONFLICTS { SLOW_MS } else { 0 });
    }

    fn probe(&mut self, now: Mono, wait_ms: u64) {
        self.state = State::Probing { sent: 0 };
        // RFC 6762 8.1: after a power cut in the house not everybody asks at the same moment.
        self.due = Some(now.plus_ms(wait_ms + self.random.u64() % PROBE_EVERY_MS));
    }

    /// RFC 6762 8.2: another asks for the name at the same time. The one whose records come later in order wins.
    fn at_once(&mut self, now: Mono, message: &Message) {
        let proposed = |addresses: &mut dyn Iterator<Item = IpAddr>| {
            let mut rows: Vec<_> = addresses.map(packet::data).collect();
            rows.sort();
            rows
        };
        let their: Vec<IpAddr> =
            message.authorities.iter().filter(|one| one.name == self.name).map(|one| one.address).collect();
        if their.is_empty() || their.iter().all(|one| self.own.contains(one)) {
            return;
        }
        if proposed(&mut self.addresses.iter().copied()) < proposed(&mut their.into_iter()) {
            self.probe(now, YIELD_MS);
        }
    }

    fn reply(&mut self, now: Mono, from: SocketAddr, message: &Message) -> Option<(To, Vec<u8>)> {
        let mine = || message.questions.iter().filter(|question| question.name == self.name);
        let (mut four, mut six) = (false, false);
        let mut alone = true;
        for question in mine() {
            four |= question.wants(A);
            six |= question.wants(AAAA);
            alone &= question.alone;
        }
        if !four && !six {
            return None;
        }
        // RFC 6762 7.1: who knows an address for half its life yet is not told it again.
        let known = |address: &IpAddr| {
            let still = |one: &packet::Address| one.ttl_s >= packet::TTL_S / 2 && one.address == *address;
            message.answers.iter().any(|one| one.name == self.name && still(one))
        };
        let (wanted, more): (Vec<IpAddr>, Vec<IpAddr>) =
            self.addresses.iter().partition(|address| if address.is_ipv4() { four } else { six });
        let lacking = (four && !self.addresses.iter().any(IpAddr::is_ipv4))
            || (six && !self.addresses.iter().any(IpAddr::is_ipv6));
        let told: Vec<IpAddr> = wanted.iter().copied().filter(|address| !known(address)).collect();
        if told.is_empty() && !lacking {
            return None;
        }
        let legacy = from.port() != super::PORT;
        if legacy || alone {
            if now.since(self.alone.0) >= 1000 {
                self.alone = (now, 0);
            }
            self.alone.1 += 1;
            if self.alone.1 > MOST_ALONE {
                return None;
            }
            let kind = mine().next()?.kind;
            let form = if legacy { Form::Legacy { id: message.id, kind } } else { Form::Multicast };
            return Some((To::Peer(from), packet::answer(&self.name, form, &told, &more, lacking)));
        }
        let defence = message.authorities.iter().any(|one| one.name == self.name);
        let quiet_ms = if defence { DEFENCE_QUIET_MS } else { QUIET_MS };
        if self.multicast_at.is_some_and(|at| now.since(at) < quiet_ms) {
            return None;
        }
        self.multicast_at = Some(now);
        Some((To::Group, packet::answer(&self.name, Form::Multicast, &told, &more, lacking)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;
    use crate::net::mdns::packet::read;

    const BROWSER: &str = "192.0.2.9:5353";

    fn host() -> Name {
        Name::new("homepost.local").unwrap()
    }

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|one| one.parse().unwrap()).collect()
    }

    fn claim(list: &[&str]) -> Claim {
        let own = Arc::new(addresses(list));
        Claim::new(Mono(0), host(), own.to_vec(), own, Arc::new(SeededRandom::new(7)))
    }

    /// Lets time pass until nothing is due; what was sent meanwhile, and when it ended.
    fn settle(claim: &mut Claim, mut now: Mono) -> (Vec<Message>, Mono) {
        let mut sent = Vec::new();
        while let Some(due) = claim.deadline() {
            now = due.max(now);
            sent.extend(claim.tick(now).map(|bytes| read(&bytes).unwrap()));
            assert!(sent.len() < 50, "it does not come to rest");
        }
        (sent, now)
    }

    fn held(list: &[&str]) -> (Claim, Mono) {
        let mut claim = claim(list);
        let (_, now) = settle(&mut claim, Mono(0));
        (claim, now.plus_ms(5000))
    }

    fn ask(kind: u16, class: u16) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(&host().0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        bytes
    }

    fn other(address: &str, name: &Name) -> Vec<u8> {
        packet::answer(name, Form::Multicast, &addresses(&[address]), &[], false)
    }

    fn from(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_asked_for_three_times_and_told_twice() {
        let mut claim = claim(&["192.0.2.7"]);
        assert!(!claim.held());
        let (sent, now) = settle(&mut claim, Mono(0));
        assert_eq!(sent.iter().map(|one| one.response).collect::<Vec<_>>(), [false, false, false, true, true]);
        assert!(now.0 >= 3 * PROBE_EVERY_MS + ANNOUNCE_EVERY_MS && now.0 < 5000, "{now:?}");
        assert!(claim.held());
    }

    #[test]
    fn an_address_is_answered_and_the_other_kind_comes_with_it() {
        let (mut claim, now) = held(&["192.0.2.7", "fe80::7"]);
        let (to, bytes) = claim.input(now, from(BROWSER), &ask(A, 1)).unwrap();
        assert_eq!(to, To::Group);
        let message = read(&bytes).unwrap();
        assert_eq!(message.answers.iter().map(|one| one.address).collect::<Vec<_>>(), addresses(&["192.0.2.7"]));
        assert_eq!(bytes[10..12], [0, 1], "the other address is additional");
        assert!(claim.input(now.plus_ms(999), from(BROWSER), &ask(A, 1)).is_none(), "once in a second");
        assert!(claim.input(now.plus_ms(1000), from(BROWSER), &ask(A, 1)).is_some());
    }

    #[test]
    fn who_asks_to_be_answered_alone_is_and_so_is_an_ordinary_resolver() {
        let (mut claim, now) = held(&["192.0.2.7"]);
        let (to, bytes) = claim.input(now, from(BROWSER), &ask(A, 0x8001)).unwrap();
        assert_eq!((to, read(&bytes).unwrap().id), (To::Peer(from(BROWSER)), 0));
        let resolver = from("192.0.2.9:40000");
        let (to, bytes) = claim.input(now, resolver, &ask(A, 1)).unwrap();
        let message = read(&bytes).unwrap();
        assert_eq!((to, message.id, message.questions.len()), (To::Peer(resolver), 0x1234, 1));
        let answered = (0..100).filter(|_| claim.input(now, resolver, &ask(A, 1)).is_some()).count();
        assert!(answered < 20, "{answered} answers in one moment");
    }

    #[test]
    fn an_address_we_do_not_have_is_denied_so_that_nobody_waits_for_it() {
        let (mut claim, now) = held(&["192.0.2.7"]);
        let (_, bytes) = claim.input(now, from(BROWSER), &ask(AAAA, 1)).unwrap();
        assert!(read(&bytes).unwrap().answers.is_empty());
        // NSEC's bitmap: A, and nothing else.
        assert!(bytes.ends_with(&[0, 4, 0x40, 0, 0, 0]), "{bytes:?}");
    }

    #[test]
    fn who_knows_the_answer_is_not_told_again_and_other_names_are_not_ours() {
        let (mut claim, now) = held(&["192.0.2.7"]);
        let mut knows = ask(A, 1);
        knows[7] = 1;
        knows.extend(&other("192.0.2.7", &host())[12..]);
        assert!(claim.input(now, from(BROWSER), &knows).is_none());
        let mut else_where = ask(A, 1);
        else_where[14] = b'x';
        assert!(claim.input(now, from(BROWSER), &else_where).is_none());
    }

    #[test]
    fn a_name_that_is_taken_is_left_to_its_owner() {
        let mut claim = claim(&["192.0.2.7"]);
        claim.tick(Mono(300));
        claim.input(Mono(310), from(BROWSER), &other("192.0.2.8", &host()));
        let (_, now) = settle(&mut claim, Mono(310));
        assert_eq!(claim.name(), &Name::new("homepost-2.local").unwrap());
        assert!(claim.input(now.plus_ms(5000), from(BROWSER), &ask(A, 1)).is_none(), "the first is another's now");
    }

    #[test]
    fn a_held_name_is_asked_for_again_when_somebody_contradicts() {
        let (mut claim, now) = held(&["192.0.2.7"]);
        claim.input(now, from(BROWSER), &other("192.0.2.8", &host()));
        assert!(!claim.held());
        // Nobody answers: it stays ours.
        let (_, now) = settle(&mut claim, now);
        assert_eq!(claim.name(), &host());
        // Not from the port of multicast DNS: anybody can send that.
        claim.input(now, from("192.0.2.8:4000"), &other("192.0.2.8", &host()));
        assert!(claim.held());
    }

    #[test]
    fn our_own_words_and_our_other_card_are_no_contradiction() {
        let own = Arc::new(addresses(&["192.0.2.7", "192.0.2.70"]));
        let mut claim = Claim::new(Mono(0), host(), own[..1].to_vec(), own, Arc::new(SeededRandom::new(7)));
        for address in ["192.0.2.7", "192.0.2.70"] {
            claim.input(Mono(0), from("192.0.2.70:5353"), &other(address, &host()));
            claim.input(Mono(0), from("192.0.2.70:5353"), &packet::probe(&host(), &addresses(&[address])));
        }
        settle(&mut claim, Mono(0));
        assert_eq!(claim.name(), &host());
    }

    #[test]
    fn of_two_who_ask_at_once_the_later_in_order_goes_first() {
        for (theirs, waits) in [("192.0.2.8", true), ("192.0.2.6", false)] {
            let mut claim = claim(&["192.0.2.7"]);
            claim.tick(Mono(300));
            claim.input(Mono(310), from(BROWSER), &packet::probe(&host(), &addresses(&[theirs])));
            assert_eq!(claim.deadline().unwrap() >= Mono(1310), waits, "{theirs}");
        }
    }

    #[test]
    fn a_network_where_every_name_is_taken_is_asked_slowly() {
        let mut claim = claim(&["192.0.2.7"]);
        let mut now = Mono(0);
        for _ in 0..200 {
            now = claim.deadline().unwrap().max(now);
            claim.tick(now);
            let taken = other("192.0.2.8", claim.name());
            claim.input(now, from(BROWSER), &taken);
        }
        assert!(now.0 >= 150 * SLOW_MS, "{now:?}");
        assert!(claim.name().0.len() < 30);
        // Then there is a free one, and the next quarrel is a quarrel like any first.
        let (_, now) = settle(&mut claim, now);
        assert!(claim.held());
        let now = now.plus_ms(5000);
        claim.input(now, from(BROWSER), &other("192.0.2.8", &claim.name().clone()));
        claim.input(now, from(BROWSER), &other("192.0.2.8", &claim.name().clone()));
        assert!(claim.deadline().unwrap() < now.plus_ms(SLOW_MS), "{:?}", claim.deadline());
    }
}
