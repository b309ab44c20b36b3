//! Asking a domain's own name servers, each by itself, without anybody's memory in between.
//!
//! Only the look for the servers goes through the resolver of this machine, and it asks for no name whose record may be
//! missing yet: what a resolver has once heard to be missing, it keeps for as long as the zone says.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::base::Random;

use super::packet::{self, Response, SOA, UDP_ANSWER, number_of};
use super::{Data, Kind};

/// For one try over UDP, and for one over TCP.
const PATIENCE: Duration = Duration::from_secs(3);
/// Tries over UDP, which may lose a packet.
const TRIES: usize = 2;
/// Datagrams that are looked at until one is the answer; more is somebody guessing.
const STRANGERS: usize = 16;
/// Resolvers that are tried, as resolv.conf(5) has it.
const TRIED: usize = 3;
/// For the look for a domain's servers.
const SEARCH: Duration = Duration::from_secs(20);
/// Servers that are asked; more than this no domain needs (RFC 2182 5 speaks of up to seven).
const SERVERS: usize = 8;
/// Labels of a name that are tried as a zone, from the whole name up.
const LABELS: usize = 16;

/// One of a domain's name servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Its name, or its address if it was given so.
    pub name: String,
    pub address: SocketAddr,
}

/// Where the records of a domain are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone's own name: the domain, or one above it.
    pub name: String,
    /// Never empty.
    pub servers: Vec<Server>,
}

/// A record in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Full, lower case, without the dot at the end.
    pub name: String,
    pub ttl: u32,
    pub data: Data,
}

/// What one server said to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the type that was asked for, and CNAMEs on the way.
    pub records: Vec<Found>,
    /// For how many seconds others may remember that something is not there (RFC 2308 5), if the server said so.
    pub negative_ttl: Option<u32>,
}

/// Asks servers.
#[derive(Clone)]
pub struct Asker {
    random: Arc<dyn Random>,
    /// Of this machine.
    resolvers: Vec<SocketAddr>,
}

impl Asker {
    /// `resolvers` is a resolv.conf(5), which says whom this machine asks.
    pub fn new(random: Arc<dyn Random>, resolvers: &str) -> Asker {
        Asker { random, resolvers: resolvers_in(resolvers) }
    }

    /// The zone that a domain's records lie in, with the addresses of its servers. Errors: a sentence.
    pub async fn zone_of(&self, domain: &str) -> Result<Zone, String> {
        match timeout(SEARCH, self.search(domain)).await {
            Ok(found) => found,
            Err(_) => Err(format!("the name servers of {domain} could not be found in time")),
        }
    }

    /// The same, where the servers are given.
    pub async fn zone_at(&self, domain: &str, servers: &[SocketAddr]) -> Result<Zone, String> {
        let servers: Vec<Server> = servers
            .iter()
            .take(SERVERS)
            .map(|address| Server { name: address.to_string(), address: *address })
            .collect();
        let mut why = "no server was given".to_owned();
        for server in &servers {
            for name in above(domain) {
                match self.exchange(server.address, &name, SOA, false).await {
                    Ok(response) if response.is_zone && response.own => return Ok(Zone { name, servers }),
                    Ok(_) => why = format!("{} knows no zone that {domain} lies in", server.name),
                    Err(error) => {
                        why = format!("{} cannot be asked: {error}", server.name);
                        break;
                    }
                }
            }
        }
        Err(why)
    }

    /// Asks one server one question. Errors: why it did not answer, as the end of a sentence.
    pub async fn ask(&self, server: &Server, name: &str, kind: Kind) -> Result<Answer, String> {
        let response = self.exchange(server.address, name, number_of(kind), false).await?;
        if !response.is_understood() {
            return Err(response.code_words());
        }
        // What it heard from others may be old; and a server that does not keep the domain knows nothing of it.
        if !response.own {
            return Err("it does not keep this domain: what it says it has from others".to_owned());
        }
        Ok(Answer { records: response.answers, negative_ttl: response.negative_ttl })
    }
}

impl Asker {
    /// The records of one name and type at a server that keeps them, each with its bytes. Errors: the end of a sentence.
    pub(super) async fn set(&self, server: SocketAddr, name: &str, kind: Kind) -> Result<Vec<(Data, Vec<u8>)>, String> {
        let response = self.exchange(server, name, number_of(kind), false).await?;
        if !response.is_understood() {
            return Err(response.code_words());
        }
        let all = response.answers.into_iter().zip(response.raw);
        let here = all.filter(|(found, _)| found.name == name && found.data.kind() == kind);
        // Names may be compressed, and mean nothing outside of their message.
        let bytes = |data: &Data, raw| match kind {
            Kind::Txt | Kind::Caa | Kind::Tlsa => Some(raw),
            _ => packet::wire_data(data),
        };
        Ok(here.filter_map(|(found, raw)| Some((found.data.clone(), bytes(&found.data, raw)?))).collect())
    }
}

/// The name itself and those above it that may be zones of somebody, nearest first.
fn above(domain: &str) -> Vec<String> {
    let mut out = vec![domain.to_owned()];
    let mut rest = domain;
    while let Some((_, parent)) = rest.split_once('.') {
        // A registry's zone holds nobody's records.
        if out.len() >= LABELS || !parent.contains('.') {
            break;
        }
        out.push(parent.to_owned());
        rest = parent;
    }
    out
}

impl Asker {
    async fn search(&self, domain: &str) -> Result<Zone, String> {
        let mut why = String::new();
        for name in above(domain) {
            let servers = match self.resolve(&name, Kind::Ns).await {
                Ok(found) => found,
                // The zone above would say that nothing is there, which is not known.
                Err(error) => {
                    why = error;
                    break;
                }
            };
            let mut out = Vec::new();
            for server in servers {
                let Data::Ns(host) = server.data else { continue };
                if server.name != name || out.len() >= SERVERS {
                    continue;
                }
                // One address each: a server is one, by whichever of its addresses.
                if let Some(ip) = self.address(&host).await {
                    out.push(Server { name: host, address: SocketAddr::new(ip, 53) });
                }
            }
            if !out.is_empty() {
                out.sort();
                return Ok(Zone { name, servers: out });
            }
        }
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        Err(format!("no name servers of {domain} were found: is it registered, and is the internet reached?{why}"))
    }

    /// Asks one resolver, whosever it is. Errors: why it did not answer.
    pub async fn resolve_at(&self, resolver: SocketAddr, name: &str, kind: Kind) -> Result<Vec<Found>, String> {
        let response = self.exchange(resolver, name, number_of(kind), true).await?;
        if response.is_understood() { Ok(response.answers) } else { Err(response.code_words()) }
    }

    /// Asks the resolvers in turn, until one answers. Errors: what the last one said.
    pub async fn resolve(&self, name: &str, kind: Kind) -> Result<Vec<Found>, String> {
        let mut why = String::new();
        for resolver in &self.resolvers {
            match self.exchange(*resolver, name, number_of(kind), true).await {
                Ok(response) if response.is_understood() => return Ok(response.answers),
                Ok(response) => why = format!("the resolver {resolver}: {}", response.code_words()),
                Err(error) => why = format!("the resolver {resolver}: {error}"),
            }
        }
        Err(why)
    }

    async fn address(&self, host: &str) -> Option<IpAddr> {
        for kind in [Kind::A, Kind::Aaaa] {
            let answers = self.resolve(host, kind).await.unwrap_or_default();
            let ip = answers.into_iter().find_map(|found| match found.data {
                Data::A(v4) => Some(IpAddr::V4(v4)),
                Data::Aaaa(v6) => Some(IpAddr::V6(v6)),
                _ => None,
            });
            if ip.is_some() {
                return ip;
            }
        }
        None
    }

    /// One question and its answer: over UDP, and over TCP where that is cut short or silent (RFC 7766). Errors: the end of a
    /// sentence.
    async fn exchange(&self, server: SocketAddr, name: &str, kind: u16, recursion: bool) -> Result<Response, String> {
        let mut id = [0; 2];
        // By chance, as is the port that the system chooses: nobody else can tell what to answer (RFC 5452).
        self.random.fill(&mut id);
        let id = u16::from_be_bytes(id);
        let bytes = packet::question(id, name, kind, recursion).ok_or("the name cannot be asked for")?;
        let question = Question { id, name, kind, bytes: &bytes };
        for _ in 0..TRIES {
            match timeout(PATIENCE, over_udp(server, &question)).await {
                Ok(Ok(response)) if !response.truncated => return Ok(response),
                // Nobody listens, or it is too much for UDP: more of the same is no use.
                Ok(_) => break,
                Err(_) => {}
            }
        }
        match timeout(PATIENCE, over_tcp(server, &question)).await {
            // Over TCP there is room for everything.
            Ok(Ok(response)) if response.truncated => Err("its answer cannot be used".to_owned()),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err("its answer cannot be used".to_owned()),
            Ok(Err(error)) => Err(format!("it cannot be reached ({error})")),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

/// The resolvers that a resolv.conf(5) names; without any, the one on this machine.
pub(super) fn resolvers_in(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().map(|line| line.split_whitespace());
    let named = words.filter_map(|mut words| (words.next() == Some("nameserver")).then(|| words.next()).flatten());
    let mut out: Vec<SocketAddr> =
        named.filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, 53))).take(TRIED).collect();
    if out.is_empty() {
        out.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    out
}

async fn over_udp(server: SocketAddr, question: &Question<'_>) -> io::Result<Response> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From here on the system takes datagrams of this server alone.
    socket.connect(server).await?;
    socket.send(question.bytes).await?;
    let mut buffer = vec![0; usize::from(UDP_ANSWER)];
    for _ in 0..STRANGERS {
        let length = socket.recv(&mut buffer).await?;
        if let Some(response) = question.answer(&buffer[..length]) {
            return Ok(response);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

async fn over_tcp(server: SocketAddr, question: &Question<'_>) -> io::Result<Response> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), question.bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    question.answer(&buffer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

struct Question<'a> {
    id: u16,
    name: &'a str,
    kind: u16,
    bytes: &'a [u8],
}

impl Question<'_> {
    /// `None`: not an answer, or to another question.
    fn answer(&self, bytes: &[u8]) -> Option<Response> {
        let response = packet::read(bytes).filter(|response| response.id == self.id)?;
        let fits = match &response.question {
            Some((name, kind)) => name.eq_ignore_ascii_case(self.name) && *kind == self.kind,
            None => !response.is_understood(),
        };
        fits.then_some(response)
    }
}

/// What every server of a zone said to each of some questions: by name and type, in the order of the servers.
pub type Answers = BTreeMap<(String, Kind), Vec<Result<Answer, String>>>;

impl Asker {
    /// Asks every server every question, a few at a time. A server that has failed to answer three times is asked no more.
    pub async fn ask_all(&self, zone: &Zone, questions: &[(String, Kind)]) -> Answers {
        let mut tasks = Vec::new();
        for server in &zone.servers {
            let (asker, server, questions) = (self.clone(), server.clone(), questions.to_vec());
            tasks.push(tokio::spawn(async move {
                let mut out = Vec::new();
                let mut failures = 0;
                for some in questions.chunks(8) {
                    if failures >= 3 {
                        out.extend(some.iter().map(|_| Err("it does not answer".to_owned())));
                        continue;
                    }
                    let mut running = Vec::new();
                    for (name, kind) in some.iter().cloned() {
                        let (asker, server) = (asker.clone(), server.clone());
                        running.push(tokio::spawn(async move { asker.ask(&server, &name, kind).await }));
                    }
                    for one in running {
                        let answer = one.await.unwrap_or_else(|_| Err("a mistake of ours".to_owned()));
                        failures += usize::from(answer.is_err());
                        out.push(answer);
                    }
                }
                out
            }));
        }
        let mut all = Answers::new();
        for task in tasks {
            let answers = task.await.unwrap_or_default();
            for (question, answer) in questions.iter().zip(answers) {
                all.entry(question.clone()).or_default().push(answer);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::base::OsRandom;

    /// A server at a port of its own that answers everything with these flags and nothing, over UDP and over TCP.
    async fn answering(udp_flags: u16, tcp_flags: u16) -> Server {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        // The question as it came, without what came after it.
        let answer = |question: &[u8], flags: u16| {
            let end = question.len() - 11;
            [&question[..2], &flags.to_be_bytes(), &[0, 1, 0, 0, 0, 0, 0, 0], &question[12..end]].concat()
        };
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
                udp.send_to(&answer(&buffer[..length], udp_flags), peer).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let answer = answer(&question, tcp_flags);
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        Server { name: "ns.test".into(), address }
    }

    #[tokio::test]
    async fn hearsay_and_what_is_cut_short_over_tcp_are_no_answers() {
        const WELL: u16 = 0x8400;
        const CUT: u16 = WELL | 0x0200;
        let asker = Asker::new(Arc::new(OsRandom), "");
        for (udp, tcp, said) in [
            (WELL, WELL, Ok(())),
            (CUT, WELL, Ok(())),
            (CUT, CUT, Err("its answer cannot be used")),
            (0x8000, 0x8000, Err("it does not keep this domain: what it says it has from others")),
        ] {
            let server = answering(udp, tcp).await;
            let answer = asker.ask(&server, "example.test", Kind::Mx).await;
            assert_eq!(answer.map(|_| ()), said.map_err(str::to_owned), "{udp:x} {tcp:x}");
        }
    }
}
