//! The box's name on its own network: `homepost.local`, answered by multicast DNS (RFC 6762), with nothing set up.
//!
//! Only a name and its addresses, no services: a browser that is told `http://homepost.local` finds the box, also before it
//! is set up. Our own, since a responder that also looks for others remembers what strangers tell it; this one remembers
//! nothing, so nothing of it grows (P7).
//!
//! Does not know: what listens, who asks. Two sockets for each network (IPv4, IPv6), bound to the network's card and to the
//! multicast address, so that what does not come from there is not even received.

mod claim;
mod packet;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::base::{Clock, Random};

use claim::{Claim, To};

const PORT: u16 = 5353;
const GROUP_4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// RFC 6762 11: nobody looks at it any more, and everybody sends it.
const HOPS: u8 = 255;
/// RFC 6762 17: no message is longer.
const LONGEST: usize = 9000;
/// Between two looks at the machine's cards and addresses.
const LOOK: Duration = Duration::from_secs(5);
/// After an error that will not go away at once.
const PAUSE: Duration = Duration::from_secs(10);
/// Networks, and addresses in each; a household's box has one or two.
const MOST_LINKS: usize = 16;
const MOST_ADDRESSES: usize = 16;

/// A host name under `.local`, in wire form and lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Vec<u8>);

impl Name {
    /// `None` unless it is one label of letters, digits and hyphens, and `.local`.
    pub fn new(text: &str) -> Option<Name> {
        let label = text.strip_suffix('.').unwrap_or(text).strip_suffix(".local")?;
        // Room for a number behind it, when the name is taken.
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if label.is_empty() || label.len() > 58 || !label.as_bytes().iter().all(good) || label.starts_with('-') {
            return None;
        }
        Some(Name::of(label))
    }

    fn of(label: &str) -> Name {
        let mut wire = vec![u8::try_from(label.len()).unwrap_or(63)];
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        wire.extend(b"\x05local\0");
        Name(wire)
    }

    fn label(&self) -> &str {
        let length = usize::from(self.0.first().copied().unwrap_or(0));
        self.0.get(1..=length).and_then(|label| std::str::from_utf8(label).ok()).unwrap_or_default()
    }

    /// `homepost-2.local`
    fn numbered(&self, number: u32) -> Name {
        Name::of(&format!("{}-{number}", self.label()))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.local", self.label())
    }
}

/// A network that the machine is on: its card by the kernel's number, the card's name, our addresses there.
type Links = BTreeMap<u32, (String, Vec<IpAddr>)>;

/// Answers for `name` on every network of the machine, those that come later too, until it is dropped.
pub async fn announce(name: Name, clock: Arc<dyn Clock>, random: Arc<dyn Random>) {
    let mut known = Links::new();
    let mut holders = JoinSet::new();
    loop {
        let links = match tokio::task::spawn_blocking(links).await {
            Ok(Ok(links)) => links,
            Ok(Err(error)) => {
                warn!(%error, "the machine's addresses cannot be listed, so {name} is not answered everywhere");
                known.clone()
            }
            Err(_) => known.clone(),
        };
        if links != known {
            // All anew, since each has to know what the others are called by.
            holders.shutdown().await;
            let own: Arc<Vec<IpAddr>> = Arc::new(links.values().flat_map(|(_, addresses)| addresses.clone()).collect());
            for (index, (card, addresses)) in &links {
                let link = Link { index: *index, card: card.clone(), clock: clock.clone() };
                let claim = Claim::new(clock.mono(), name.clone(), addresses.clone(), own.clone(), random.clone());
                holders.spawn(link.hold(claim));
            }
            known = links;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The networks now, without the machine's own.
fn links() -> io::Result<Links> {
    let mut links = Links::new();
    for one in if_addrs::get_if_addrs()? {
        let Some(index) = one.index else { continue };
        if one.is_loopback() || one.is_p2p() || !one.is_oper_up() {
            continue;
        }
        if links.len() >= MOST_LINKS && !links.contains_key(&index) {
            continue;
        }
        let (_, addresses) = links.entry(index).or_insert_with(|| (one.name.clone(), Vec::new()));
        if addresses.len() < MOST_ADDRESSES {
            addresses.push(one.ip());
        }
    }
    for (_, addresses) in links.values_mut() {
        addresses.sort();
        addresses.dedup();
    }
    Ok(links)
}

struct Link {
    index: u32,
    card: String,
    clock: Arc<dyn Clock>,
}

/// What one network is spoken to by; either may be missing.
struct Sockets {
    four: Option<UdpSocket>,
    six: Option<UdpSocket>,
}

impl Link {
    async fn hold(self, mut claim: Claim) {
        let sockets = loop {
            let (four, six) = (self.four(), self.six());
            if let (Err(error), Err(_)) = (&four, &six) {
                warn!(%error, "{} cannot be answered on {}", claim.name(), self.card);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            break Sockets { four: four.ok(), six: six.ok() };
        };
        let mut told = None;
        let mut space = vec![0; LONGEST];
        loop {
            if claim.held() && told.as_ref() != Some(claim.name()) {
                info!("answering as {} on {}", claim.name(), self.card);
                told = Some(claim.name().clone());
            }
            let wait = claim.deadline().map(|due| Duration::from_millis(due.since(self.clock.mono())));
            tokio::select! {
                () = pause(wait) => {
                    if let Some(bytes) = claim.tick(self.clock.mono()) {
                        self.send(&sockets.four, To::Group, &bytes).await;
                        self.send(&sockets.six, To::Group, &bytes).await;
                    }
                }
                (socket, received) = sockets.receive(&mut space) => match received {
                    Ok((length, from)) => {
                        let bytes = space.get(..length).unwrap_or_default();
                        if let Some((to, answer)) = claim.input(self.clock.mono(), from, bytes) {
                            self.send(socket, to, &answer).await;
                        }
                    }
                    Err(error) => {
                        // The card is gone or down; if it stays so we are ended from outside.
                        debug!(%error, "cannot be heard on {}", self.card);
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    async fn send(&self, socket: &Option<UdpSocket>, to: To, bytes: &[u8]) {
        let Some(socket) = socket else { return };
        let to = match to {
            To::Peer(peer) => peer,
            To::Group if socket.local_addr().is_ok_and(|local| local.is_ipv4()) => SocketAddr::from((GROUP_4, PORT)),
            To::Group => SocketAddrV6::new(GROUP_6, PORT, 0, self.index).into(),
        };
        if let Err(error) = socket.send_to(bytes, to).await {
            debug!(%error, %to, "cannot be sent on {}", self.card);
        }
    }

    fn four(&self) -> io::Result<UdpSocket> {
        let socket = self.open(AddressFamily::INET, SocketAddrV4::new(GROUP_4, PORT).into())?;
        socket.set_multicast_ttl_v4(HOPS.into())?;
        socket.set_ttl(HOPS.into())?;
        // By the card's number: it may have no IPv4 address yet, or several.
        sockopt::set_ip_add_membership_with_ifindex(&socket, &GROUP_4, &Ipv4Addr::UNSPECIFIED, self.index)?;
        Ok(socket)
    }

    fn six(&self) -> io::Result<UdpSocket> {
        let socket = self.open(AddressFamily::INET6, SocketAddrV6::new(GROUP_6, PORT, 0, self.index).into())?;
        sockopt::set_ipv6_multicast_hops(&socket, HOPS.into())?;
        sockopt::set_ipv6_unicast_hops(&socket, Some(HOPS))?;
        socket.join_multicast_v6(&GROUP_6, self.index)?;
        Ok(socket)
    }

    fn open(&self, family: AddressFamily, local: SocketAddr) -> io::Result<UdpSocket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        // Other programs of the machine may answer for other names.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &local)?;
        let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
        // An IPv6 socket belongs to the card since `bind`, by the scope of the address; to say so again takes CAP_NET_RAW,
        // which the mail service does not have.
        if family == AddressFamily::INET {
            socket.bind_device(Some(self.card.as_bytes()))?;
        }
        Ok(socket)
    }
}

impl Sockets {
    /// The next packet, and by which socket to answer it.
    async fn receive(&self, space: &mut [u8]) -> (&Option<UdpSocket>, io::Result<(usize, SocketAddr)>) {
        tokio::select! {
            () = readable(&self.four) => (&self.four, take(&self.four, space)),
            () = readable(&self.six) => (&self.six, take(&self.six, space)),
        }
    }
}

async fn readable(socket: &Option<UdpSocket>) {
    match socket {
        // An error shows when it is read from.
        Some(socket) => drop(socket.readable().await),
        None => std::future::pending().await,
    }
}

fn take(socket: &Option<UdpSocket>, space: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let Some(socket) = socket else { return Err(io::ErrorKind::NotConnected.into()) };
    match socket.try_recv_from(space) {
        // Nothing there after all: as good as an empty packet, which is none.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((0, socket.local_addr()?)),
        received => received,
    }
}

async fn pause(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_label_under_local() {
        let name = Name::new("HomePost.local.").unwrap();
        assert_eq!((name.to_string().as_str(), name.0.as_slice()), ("homepost.local", &b"\x08homepost\x05local\0"[..]));
        assert_eq!(name.numbered(2).to_string(), "homepost-2.local");
        for wrong in ["homepost", ".local", "home.post.local", "a b.local", "-a.local", "homepost.localhost"] {
            assert_eq!(Name::new(wrong), None, "{wrong}");
        }
        assert!(Name::new(&format!("{}.local", "a".repeat(59))).is_none());
    }
}
