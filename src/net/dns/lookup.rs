//! Asking the resolvers of this machine what the checks of a letter want to know: hickory's resolver, with its memory.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::timeout;

use crate::base::{Clock, Mono};
use crate::mailauth::{Found, Missing, Names};

use super::ask::resolvers_in;

/// For one try with one resolver.
const PATIENCE: Duration = Duration::from_secs(3);
/// Answers that are remembered, for as long as they say, but no longer than these.
const REMEMBERED: u64 = 512;
/// One that is longer is not: a stranger chooses what his names answer (P7).
const REMEMBERED_BYTES: usize = 8 * 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const MISSING_FOR: Duration = Duration::from_secs(60 * 60);
/// Questions in a row that nobody answered until the resolvers themselves are tried; if they are dead nobody is asked for a
/// while: letters go on coming in, and none should wait for a line that is dead.
const SILENT: u32 = 4;
/// How often they are tried, since a datagram may get lost, and for how long each time.
const TRIES: usize = 2;
const TRIED_FOR: Duration = Duration::from_millis(1250);
const PAUSE_MS: u64 = 30_000;
/// Records of one answer that are looked at.
const RECORDS: usize = 100;

/// Asks, remembers, and notices when nobody answers.
pub struct Resolver {
    hickory: TokioResolver,
    clock: Arc<dyn Clock>,
    silence: Mutex<Silence>,
}

#[derive(Default)]
struct Silence {
    unanswered: u32,
    /// Nobody is asked before.
    until: Mono,
}

/// One that asks these, and with keys takes nothing that they do not prove. `None`: it cannot be made.
pub(super) fn make(servers: &[SocketAddr], keys: Option<Arc<TrustAnchors>>) -> Option<TokioResolver> {
    let servers = servers.iter().map(|server| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        NameServerConfig::new(server.ip(), true, connections.to_vec())
    });
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
    let mut options = ResolverOpts::default();
    options.timeout = PATIENCE;
    options.attempts = 2;
    options.cache_size = REMEMBERED;
    options.positive_max_ttl = Some(REMEMBERED_FOR);
    options.negative_max_ttl = Some(MISSING_FOR);
    options.use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
    options.preserve_intermediates = true;
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    let builder = match keys {
        // RFC 9276 3.2: a zone that takes too long to check counts as unsigned, however long it would take.
        Some(keys) => builder.with_trust_anchor(keys).nsec3_iteration_limits(None, Some(u16::MAX)),
        None => builder,
    };
    builder.build().ok()
}

impl Resolver {
    /// `servers` are asked; without any, those of a resolv.conf(5). `None`: it cannot be made.
    pub fn new(servers: &[SocketAddr], resolv_conf: &str, clock: Arc<dyn Clock>) -> Option<Resolver> {
        let servers = if servers.is_empty() { resolvers_in(resolv_conf) } else { servers.to_vec() };
        let hickory = make(&servers, None)?;
        // A box without a line is to take letters from its own house at once: the first question waits for a sign of life.
        let silence = Silence { unanswered: SILENT, ..Silence::default() };
        Some(Resolver { hickory, clock, silence: Mutex::new(silence) })
    }

    /// `data` picks what was asked for: an answer may have aliases before it.
    async fn ask<T>(
        &self,
        name: Name,
        kind: RecordType,
        data: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, Missing> {
        if !self.is_reached().await {
            return Err(Missing::Unknown);
        }
        let mut asking = Asking { resolver: self, answered: false };
        let answer = self.hickory.lookup(name.clone(), kind).await;
        asking.answered = is_answer(&answer);
        drop(asking);
        let lookup = answer.map_err(|error| match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => Missing::NoName,
                ResponseCode::NoError => Missing::NoData,
                _ => Missing::Unknown,
            },
            _ => Missing::Unknown,
        })?;
        if is_long(lookup.answers()) {
            self.hickory.clear_lookup_cache(name, kind);
        }
        let found: Vec<T> = lookup.answers().iter().filter_map(|record| data(&record.data)).take(RECORDS).collect();
        if found.is_empty() { Err(Missing::NoData) } else { Ok(found) }
    }

    /// Names whose own servers are dead must not look like dead resolvers: whoever could make them look so would have his
    /// letters let in unchecked. So these are asked for the root, which every living one knows.
    async fn is_reached(&self) -> bool {
        {
            let silence = self.silence();
            if silence.until > self.clock.mono() {
                return false;
            }
            if silence.unanswered < SILENT {
                return true;
            }
        }
        let mut reached = false;
        for _ in 0..TRIES {
            self.hickory.clear_lookup_cache(Name::root(), RecordType::NS);
            let asked = self.hickory.lookup(Name::root(), RecordType::NS);
            reached = timeout(TRIED_FOR, asked).await.is_ok_and(|answer| is_answer(&answer));
            if reached {
                break;
            }
        }
        let mut silence = self.silence();
        match reached {
            true => silence.unanswered = 0,
            false => silence.until = self.clock.mono().plus_ms(PAUSE_MS),
        }
        reached
    }

    fn silence(&self) -> std::sync::MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found<'a, T: Send + 'a>(
        &'a self,
        name: &str,
        kind: RecordType,
        data: impl Fn(&RData) -> Option<T> + Send + Sync + 'a,
    ) -> Found<'a, T> {
        match Name::from_ascii(format!("{name}.")) {
            Ok(name) => Box::pin(self.ask(name, kind, data)),
            // What cannot be asked for is not there.
            Err(_) => Box::pin(std::future::ready(Err(Missing::NoName))),
        }
    }
}

/// Too long to be remembered.
pub(super) fn is_long(answers: &[Record]) -> bool {
    answers.len() > RECORDS || answers.iter().map(|one| size(&one.data)).sum::<usize>() > REMEMBERED_BYTES
}

/// About.
fn size(data: &RData) -> usize {
    match data {
        RData::TXT(text) => text.txt_data.iter().map(|piece| piece.len()).sum(),
        _ => 64,
    }
}

/// One question. Whoever has no time left to wait for the answer drops it.
struct Asking<'a> {
    resolver: &'a Resolver,
    answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut silence = self.resolver.silence();
        silence.unanswered = if self.answered { 0 } else { silence.unanswered.saturating_add(1) };
    }
}

/// A server that says that it cannot has answered.
fn is_answer(answer: &Result<Lookup, NetError>) -> bool {
    matches!(answer, Ok(_) | Err(NetError::Dns(_)))
}

fn plain(name: &Name) -> Option<String> {
    let text = name.to_lowercase().to_ascii();
    let text = text.strip_suffix('.').unwrap_or(&text);
    (!text.is_empty()).then(|| text.to_owned())
}

impl Names for Resolver {
    fn txt<'a>(&'a self, name: &'a str) -> Found<'a, Vec<u8>> {
        self.found(name, RecordType::TXT, |data| match data {
            RData::TXT(text) => Some(text.txt_data.iter().flat_map(|piece| piece.iter().copied()).collect()),
            _ => None,
        })
    }

    fn a<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
        self.found(name, RecordType::A, |data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            _ => None,
        })
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
        self.found(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
    }

    fn mx<'a>(&'a self, name: &'a str) -> Found<'a, String> {
        let hosts = self.found(name, RecordType::MX, |data| match data {
            RData::MX(mx) => Some((mx.preference, plain(&mx.exchange)?)),
            _ => None,
        });
        Box::pin(async move {
            let mut hosts = hosts.await?;
            hosts.sort();
            Ok(hosts.into_iter().map(|(_, host)| host).collect())
        })
    }

    fn ptr(&self, address: IpAddr) -> Found<'_, String> {
        Box::pin(self.ask(Name::from(address), RecordType::PTR, |data| match data {
            RData::PTR(name) => plain(name),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::base::SystemClock;

    /// A resolver that answers what it is asked in its own way: `None` is silence.
    async fn server(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        at
    }

    /// The question sent back, with this code and nothing else.
    fn with_code(question: &[u8], code: u8) -> Vec<u8> {
        let mut out = question.to_vec();
        (out[2], out[3]) = (0x81, 0x80 | code);
        // No additional records: the question's OPT goes with its count.
        (out[10], out[11]) = (0, 0);
        let end = 12 + out[12..].iter().position(|b| *b == 0).unwrap_or(0) + 5;
        out.truncate(end);
        out
    }

    fn resolver(at: SocketAddr) -> Resolver {
        Resolver::new(&[at], "", Arc::new(SystemClock::new())).unwrap()
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_from_what_cannot_be_said() {
        for (code, missing) in
            [(3, Missing::NoName), (0, Missing::NoData), (2, Missing::Unknown), (5, Missing::Unknown)]
        {
            let resolver = resolver(server(move |question| Some(with_code(question, code))).await);
            assert_eq!(resolver.txt("x.test").await, Err(missing), "code {code}");
            assert_eq!(resolver.silence().unanswered, 0, "it has answered");
        }
        let resolver = resolver(server(|question| Some(with_code(question, 3))).await);
        assert_eq!(resolver.a("a..b").await, Err(Missing::NoName), "what is no name is not asked for");
    }

    #[tokio::test]
    async fn a_dead_line_is_noticed_once_and_not_for_each_question() {
        let resolver = resolver(server(|_| None).await);
        assert_eq!(resolver.txt("x.test").await, Err(Missing::Unknown));
        assert!(resolver.silence().until > resolver.clock.mono(), "nobody is asked for a while");
        let at_once = timeout(Duration::from_millis(500), resolver.txt("y.test")).await;
        assert_eq!(at_once, Ok(Err(Missing::Unknown)));
    }

    #[tokio::test]
    async fn names_that_nobody_answers_for_do_not_make_a_line_dead() {
        // The root is answered for, nothing else is.
        let resolver = resolver(server(|question| (question[12] == 0).then(|| with_code(question, 5))).await);
        for _ in 0..2 * SILENT {
            assert!(timeout(Duration::from_millis(100), resolver.txt("x.test")).await.is_err());
        }
        assert!(resolver.silence().until <= resolver.clock.mono());
    }
}
