//! Gathers what the line test's judge wants to know: who is asked stands in the settings, and nobody is asked before a
//! person has pressed the button.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::appliance::attached::Attached;
use crate::appliance::linetest::{Attempt, End, Evidence, Inbound, Outbound, Ptr, is_shared, judge, outbound};
use crate::appliance::wizard::{Before, HOME, Line};
use crate::base::{OsRandom, Time};
use crate::filter::{Listing, listing, question};
use crate::net::dns::{Asker, Data, Kind};
use crate::net::probe::{self, Met};
use crate::net::{is_public, outward_addresses};
use crate::settings::{self, Settings};

/// Where this machine says which resolvers it uses (resolv.conf(5)).
const RESOLVERS: &str = "/etc/resolv.conf";
/// For a mail server far away to say its first word. Some wait on purpose before they do.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the router, which is in the same house.
const ROUTER: Duration = Duration::from_secs(2);
const SMTP: u16 = 25;
const HTTPS: u16 = 443;
/// Of each list in the settings.
const MOST: usize = 8;

/// What is being done just now, for the page.
pub(super) type Progress = Arc<Mutex<Option<String>>>;

/// What the page says before anything is asked: whom, and what.
pub(super) fn plan(settings: &settings::Line) -> Vec<(String, String)> {
    let all = |words: &str| words.replace(' ', ", ");
    vec![
        (
            "Whether letters get out".to_owned(),
            format!("a connection to port 25 of {}, without a letter", all(&settings.targets)),
        ),
        ("Whether there is an internet at all".to_owned(), format!("a connection to {}", all(&settings.control))),
        (
            "How the world sees you".to_owned(),
            format!("a question for {} to {}", settings.mirror, all(&settings.mirror_servers)),
        ),
        ("What your router says of its line".to_owned(), "a question to the router (NAT-PMP)".to_owned()),
        ("The name of your address".to_owned(), "a question to your name server".to_owned()),
        ("Block lists".to_owned(), format!("whether {} know your address", all(&settings.lists))),
    ]
}

/// Measures all of it. `port` is where our own port 25 is, if it is open.
pub(super) async fn measure(
    settings: &Settings,
    port: Option<u16>,
    before: Option<&Before>,
    progress: &Progress,
    now: Time,
) -> Line {
    let say = |words: &str| *progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.to_owned());
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let attached = Attached::read(&read("/proc/net/route"), &read("/proc/net/ipv6_route"));
    let asker = Asker::new(Arc::new(OsRandom), &read(RESOLVERS));
    let own = super::clerk::own_addresses();
    let mut evidence = Evidence::nothing(attached.way_out);
    if evidence.online {
        let look = Look { asker, settings, own };
        say("I try to reach mail servers elsewhere");
        look.outbound(&mut evidence).await;
        say("I ask how the world sees this house");
        look.address(&mut evidence, &attached).await;
        say("I look for the name of your address, and for your address on block lists");
        look.names(&mut evidence).await;
        look.lists(&mut evidence).await;
        if let Some(port) = port {
            say("I knock at your own door from inside");
            look.inbound(&mut evidence, port).await;
        }
    }
    let seen = evidence.seen.map(|seen| seen.to_string());
    // Unknown until it was seen twice; what has changed once will change again.
    let before = before.zip(seen.as_ref());
    evidence.changes = before.map(|(before, seen)| before.changed || before.address != *seen);
    let mut line = judge(&evidence).line(&evidence, now);
    line.changed = evidence.changes == Some(true);
    line.address = seen;
    line
}

struct Look<'a> {
    asker: Asker,
    settings: &'a Settings,
    own: Vec<IpAddr>,
}

/// `mx.example.org`, `mx.example.org:2525` or an address, with the port that it has if it names none.
fn place(word: &str, port: u16) -> (String, u16) {
    if let Ok(socket) = word.parse::<SocketAddr>() {
        return (socket.ip().to_string(), socket.port());
    }
    match word.rsplit_once(':') {
        Some((host, given)) if !host.contains(':') => (host.to_owned(), given.parse().unwrap_or(port)),
        _ => (word.to_owned(), port),
    }
}

fn places(words: &str, port: u16) -> Vec<(String, u16)> {
    words.split_whitespace().take(MOST).map(|word| place(word, port)).collect()
}

impl Look<'_> {
    /// One address of this family. Errors: nobody could be asked for it.
    async fn resolve(&self, host: &str, kind: Kind) -> Result<Option<IpAddr>, String> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Some(address).filter(|address| address.is_ipv4() == (kind == Kind::A)));
        }
        let found = self.asker.resolve(host, kind).await?;
        Ok(found.into_iter().find_map(|found| address_of(&found.data)))
    }

    async fn outbound(&self, evidence: &mut Evidence) {
        let settings = &self.settings.line;
        let four = self.attempts(&settings.targets, Kind::A).await;
        let six = if outward_addresses().iter().any(IpAddr::is_ipv6) {
            self.attempts(&settings.targets, Kind::Aaaa).await
        } else {
            Vec::new()
        };
        (evidence.out_four, evidence.out_six) = (outbound(&four), outbound(&six));
        if six.is_empty() {
            evidence.out_six = Outbound::NoAddress;
        }
        // A port is only blocked where another one is not: else the line is down.
        let blocked = [&evidence.out_four, &evidence.out_six].contains(&&Outbound::ProviderBlocks);
        if blocked && !self.reaches_anything().await {
            evidence.online = false;
            (evidence.out_four, evidence.out_six) = (Outbound::Unknown, Outbound::Unknown);
        }
    }

    async fn attempts(&self, targets: &str, kind: Kind) -> Vec<Attempt> {
        let mut running = JoinSet::new();
        let mut out = Vec::new();
        for (target, port) in places(targets, SMTP) {
            match self.resolve(&target, kind).await {
                Ok(Some(address)) => {
                    running.spawn(async move {
                        let end = end(&probe::greeting(SocketAddr::new(address, port), PATIENCE).await);
                        Attempt { target, end }
                    });
                }
                // It has none of this family, which says nothing about the line.
                Ok(None) => {}
                Err(_) => out.push(Attempt { target, end: End::NoName }),
            }
        }
        while let Some(done) = running.join_next().await {
            out.extend(done.ok());
        }
        out
    }

    async fn reaches_anything(&self) -> bool {
        for (host, port) in places(&self.settings.line.control, HTTPS) {
            for kind in [Kind::A, Kind::Aaaa] {
                if let Ok(Some(address)) = self.resolve(&host, kind).await
                    && probe::knock(SocketAddr::new(address, port), PATIENCE).await == Met::Spoke(String::new())
                {
                    return true;
                }
            }
        }
        false
    }

    async fn address(&self, evidence: &mut Evidence, attached: &Attached) {
        let settings = &self.settings.line;
        for (server, port) in places(&settings.mirror_servers, 53) {
            let Ok(address) = server.parse::<IpAddr>() else { continue };
            // Asked over the family that it is to see.
            let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
            let answer = self.asker.resolve_at(SocketAddr::new(address, port), &settings.mirror, kind).await;
            for found in answer.unwrap_or_default() {
                match address_of(&found.data) {
                    Some(IpAddr::V4(four)) => evidence.seen = evidence.seen.or(Some(four)),
                    Some(six) => evidence.six = evidence.six.or(Some(six)),
                    None => {}
                }
            }
        }
        let outer = self.own.iter().find_map(|address| match address {
            IpAddr::V4(four) if Some(*four) == evidence.seen || is_public(*address) || is_carriers(*four) => {
                Some(*four)
            }
            _ => None,
        });
        evidence.router = match (outer, router(&settings.router, attached)) {
            (Some(own), _) => Some(own),
            (None, Some(router)) => probe::outer_address(router, ROUTER).await,
            (None, None) => None,
        };
        evidence.six = evidence.six.or_else(|| outward_addresses().into_iter().find(IpAddr::is_ipv6));
    }

    async fn names(&self, evidence: &mut Evidence) {
        if let Some(seen) = evidence.seen {
            evidence.ptr_four = self.ptr(seen.into()).await;
        }
        if let Some(six) = evidence.six {
            evidence.ptr_six = self.ptr(six).await;
        }
    }

    /// RFC 1912 2.1: the name of an address leads back to it, and is the server's own.
    async fn ptr(&self, address: IpAddr) -> Ptr {
        let found = match self.asker.resolve(&reverse(address), Kind::Ptr).await {
            Ok(found) => found,
            Err(_) => return Ptr::Unknown,
        };
        let names: Vec<String> = found
            .into_iter()
            .filter_map(|found| match found.data {
                Data::Ptr(name) => Some(name),
                _ => None,
            })
            .collect();
        let Some(first) = names.first() else { return Ptr::Missing };
        // Before there is a domain nobody knows which name would be the right one.
        if self.settings.hostname.ends_with(HOME) {
            return Ptr::Unknown;
        }
        let ours = names.iter().find(|name| **name == self.settings.hostname);
        let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
        match ours {
            Some(name) if self.resolve(name, kind).await == Ok(Some(address)) => Ptr::Right,
            _ => Ptr::Other(first.clone()),
        }
    }

    async fn lists(&self, evidence: &mut Evidence) {
        let Some(seen) = evidence.seen.filter(|seen| !is_shared(*seen)) else { return };
        for list in self.settings.line.lists.split_whitespace().take(MOST) {
            let said = match self.asker.resolve(&question(list, seen.into()), Kind::A).await {
                Ok(found) => {
                    let answers = found.iter().filter_map(|found| match found.data {
                        Data::A(four) => Some(four),
                        _ => None,
                    });
                    listing(&answers.collect::<Vec<Ipv4Addr>>())
                }
                Err(_) => Listing::Unreadable("it did not answer"),
            };
            evidence.lists.push((list.to_owned(), said));
        }
    }

    /// Through the router and back, where it lets us: who meets our own greeting there was let in from its outer side.
    async fn inbound(&self, evidence: &mut Evidence, port: u16) {
        let Some(seen) = evidence.seen else { return };
        // On a machine that has the outer address itself such a connection never leaves it.
        if self.own.contains(&seen.into()) {
            return;
        }
        let met = probe::greeting(SocketAddr::new(seen.into(), port), PATIENCE).await;
        let ours = matches!(&met, Met::Spoke(line) if line.split_whitespace().nth(1) == Some(&self.settings.hostname));
        evidence.hairpin = Some(ours);
        if ours {
            evidence.in_four = Inbound::Open;
        }
    }
}

fn end(met: &Met) -> End {
    match met {
        Met::NoRoute => End::NoRoute,
        Met::Silence => End::Silence,
        Met::Refused => End::Refused,
        // What is no reply code comes from somebody on the way who listens along (RFC 5321 4.2).
        Met::Spoke(line) => line.get(..3).and_then(|code| code.parse().ok()).map_or(End::Refused, End::Spoke),
    }
}

fn address_of(data: &Data) -> Option<IpAddr> {
    match data {
        Data::A(four) => Some(IpAddr::V4(*four)),
        Data::Aaaa(six) => Some(IpAddr::V6(*six)),
        _ => None,
    }
}

/// RFC 6598: an address that a provider gives to several homes at once.
fn is_carriers(four: Ipv4Addr) -> bool {
    let [a, b, ..] = four.octets();
    a == 100 && (64..128).contains(&b)
}

fn router(given: &str, attached: &Attached) -> Option<SocketAddr> {
    if given.is_empty() {
        return Some(SocketAddr::new(attached.gateway?.into(), probe::NAT_PMP));
    }
    let (host, port) = place(given, probe::NAT_PMP);
    Some(SocketAddr::new(host.parse().ok()?, port))
}

/// RFC 1035 3.5 and RFC 3596 2.5.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(six) => {
            let nibbles = six.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let mut name: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            name.push_str("ip6.arpa");
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_with_and_without_a_port() {
        assert_eq!(place("mx.example.org", 25), ("mx.example.org".into(), 25));
        assert_eq!(place("mx.example.org:2525", 25), ("mx.example.org".into(), 2525));
        assert_eq!(place("192.0.2.1:53", 25), ("192.0.2.1".into(), 53));
        assert_eq!(place("2001:db8::1", 53), ("2001:db8::1".into(), 53));
        assert_eq!(place("[2001:db8::1]:5353", 53), ("2001:db8::1".into(), 5353));
        assert_eq!(places(&"a ".repeat(100), 1).len(), MOST);
    }

    #[test]
    fn addresses_are_turned_round() {
        assert_eq!(reverse("192.0.2.25".parse().unwrap()), "25.2.0.192.in-addr.arpa");
        let six = reverse("2001:db8::567:89ab".parse().unwrap());
        assert_eq!(six, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }

    #[test]
    fn a_first_word_that_is_no_reply_is_somebody_on_the_way() {
        assert_eq!(end(&Met::Spoke("220 mx.example.org".into())), End::Spoke(220));
        assert_eq!(end(&Met::Spoke("554-mx no".into())), End::Spoke(554));
        for strange in ["", "<html>", "HTTP/1.1 200", "22"] {
            assert_eq!(end(&Met::Spoke(strange.into())), End::Refused, "{strange:?}");
        }
    }
}
