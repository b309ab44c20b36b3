//! Names looked up with proof (DNSSEC, RFC 4033 to 4035): through the resolvers of this machine, checked here from the keys of
//! the root zone down, so that nobody on the way has to be believed.
//!
//! A resolver that strips the proof off is no attack but a bad router: then nothing is proven, and what is looked up is
//! looked up without ([`Proven::is_proof_to_be_had`]). Once there was proof, its sudden absence is not taken for that; nor is
//! a question that got lost.
//!
//! What nobody has signed needs a proof too, that nobody has: a zone above it says so ([`Proven::look`]). Servers that answer
//! only what they think of as sensible questions keep that proof from being made at their own names, not above them.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::base::{Clock, Mono};

use super::lookup::{is_long, make};
use super::packet::number_of;
use super::{Data, Kind};

/// For one question with all that its proof takes.
const WHOLE: Duration = Duration::from_secs(30);
/// For the question whether there is proof at all.
const FIRST: Duration = Duration::from_secs(10);
/// Questions for proof that got lost, and for how long, until that is not chance any more: these resolvers answer none.
const LOST: u32 = 2;
const LOST_MS: u64 = 2 * 60 * 1000;
/// The same for those that do not even say where the root is: so does one whose own line is down.
const DUMB_MS: u64 = 30 * 60 * 1000;
/// Aliases one after another.
const ALIASES: usize = 8;
/// Records of one answer (P7).
const RECORDS: usize = 100;
/// How long it is believed that there is proof, and that there is none.
const SPEAKS_MS: u64 = 60 * 60 * 1000;
const SILENT_MS: u64 = 5 * 60 * 1000;
/// Since there was proof: nobody changes a router within a day and without a restart, but somebody may sit down on the line.
const STEADY_MS: u64 = 24 * 60 * 60 * 1000;

/// What is at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// Of the type that was asked for; none if it is not there.
    pub data: Vec<Data>,
    /// Every step to it is signed, or that it is not there.
    pub proven: bool,
    /// Where the aliases (CNAME) lead; the name itself without any.
    pub canonical: String,
}

/// Why it is not known what is at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The zone is signed, and what came is not what its keeper signed.
    Bogus,
    /// The end of a sentence.
    Unknown(String),
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Doubt::Bogus => f.write_str("the answer is not the one that its zone has signed (DNSSEC)"),
            Doubt::Unknown(why) => f.write_str(why),
        }
    }
}

/// Asks, checks and remembers.
pub struct Proven {
    hickory: TokioResolver,
    /// Asks the same ones, and believes them.
    plain: TokioResolver,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whether there is proof, and until when that is believed.
    speaks: Option<(bool, Mono)>,
    /// When there was some last.
    spoke: Option<Mono>,
    /// Since when questions for it get lost, and how many did.
    lost: Option<(Mono, u32)>,
}

/// What the resolvers say when they are asked for the root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Known,
    /// That they cannot say.
    Unknown,
    Silence,
}

impl Proven {
    /// `resolvers` is a resolv.conf(5). `anchor` holds the keys of the root zone, DNSKEY records as in a zone file; `None` is
    /// those of the internet. Errors: a sentence.
    pub fn new(resolvers: &str, anchor: Option<&str>, clock: Arc<dyn Clock>) -> Result<Proven, String> {
        let servers: Vec<SocketAddr> = super::ask::resolvers_in(resolvers);
        let anchors = match anchor {
            None => TrustAnchors::default(),
            Some(text) => TrustAnchors::from_str(text).map_err(|error| format!("that is no list of keys: {error}"))?,
        };
        if anchors.is_empty() {
            return Err("there is no key of the root zone among them".to_owned());
        }
        let hickory = make(&servers, Some(Arc::new(anchors)));
        let (hickory, plain) = hickory.zip(make(&servers, None)).ok_or("the resolver cannot be made")?;
        Ok(Proven { hickory, plain, clock, known: Mutex::default() })
    }

    /// Whether the date is known: a signature has one.
    pub fn is_dated(&self) -> bool {
        self.clock.trusted()
    }

    /// Whether the resolvers of this machine give the proof along; not without a date. Errors: they did a while ago, and do
    /// not now; or nobody has answered.
    pub async fn is_proof_to_be_had(&self) -> Result<bool, String> {
        if !self.is_dated() {
            return Ok(false);
        }
        let now = self.clock.mono();
        if let Some((speaks, until)) = self.known().speaks
            && now < until
        {
            return Ok(speaks);
        }
        self.hickory.clear_lookup_cache(Name::root(), RecordType::DNSKEY);
        let asked = timeout(FIRST, self.hickory.lookup(Name::root(), RecordType::DNSKEY)).await;
        let heard = match &asked {
            Ok(Ok(answer)) => Some(all_proven(answer.answers())),
            Ok(Err(NetError::Dns(DnsError::ResponseCode(code)))) => {
                // Others are of what is beyond the resolvers.
                matches!(code, ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::Refused).then_some(false)
            }
            Ok(Err(NetError::Dns(_))) => Some(false),
            _ => None,
        };
        // A dead line says nothing of who is at its end.
        let root = match (&asked, heard) {
            // So does one that knows nobody to ask yet.
            (Ok(Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)))), _) => Root::Unknown,
            (_, Some(_)) => Root::Known,
            (_, None) => self.ask_for_root().await,
        };
        let mut known = self.known();
        if heard == Some(true) {
            *known = Known { speaks: Some((true, now.plus_ms(SPEAKS_MS))), spoke: Some(now), lost: None };
            return Ok(true);
        }
        if known.spoke.is_some_and(|spoke| now < spoke.plus_ms(STEADY_MS)) {
            return Err("the resolvers of this machine give no proof (DNSSEC) any more".to_owned());
        }
        if heard.is_none() {
            let patience = if root == Root::Known { LOST_MS } else { DUMB_MS };
            let (since, count) = known.lost.unwrap_or((now, 0));
            let count = count.saturating_add(u32::from(root != Root::Silence));
            known.lost = (count > 0).then_some((since, count));
            if root == Root::Silence || count < LOST || now < since.plus_ms(patience) {
                return Err("whether the resolvers of this machine give proof (DNSSEC) cannot be found out".to_owned());
            }
        }
        if known.speaks.is_none_or(|(spoke, _)| spoke) {
            warn!(answered = heard.is_some(), "the resolvers of this machine give no proof (DNSSEC): there is no DANE");
        }
        // Once the line is up again, at once.
        let until = if root == Root::Known { now.plus_ms(SILENT_MS) } else { now };
        known.speaks = Some((false, until));
        Ok(false)
    }

    /// What every resolver knows.
    async fn ask_for_root(&self) -> Root {
        self.plain.clear_lookup_cache(Name::root(), RecordType::NS);
        match timeout(FIRST, self.plain.lookup(Name::root(), RecordType::NS)).await {
            Ok(Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => Root::Known,
            Ok(Err(NetError::Dns(_))) => Root::Unknown,
            _ => Root::Silence,
        }
    }

    /// What is at a name, with its proof.
    pub async fn look(&self, name: &str, kind: Kind) -> Result<Records, Doubt> {
        let Ok(asked) = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))) else {
            return Err(Doubt::Unknown(format!("{name} cannot be asked for")));
        };
        let kind = RecordType::from(number_of(kind));
        let found = match self.look_once(&asked, kind).await {
            // A proof takes many answers, and one of them that got lost looks the same.
            Err(Doubt::Bogus) => self.look_once(&asked, kind).await,
            found => found,
        };
        if found == Err(Doubt::Bogus) && timeout(WHOLE, Box::pin(self.is_unsigned(&asked))).await == Ok(true) {
            debug!(name, %kind, "it is within an unsigned zone, whose servers do not say so themselves");
            return self.look_plainly(&asked, kind).await;
        }
        found
    }

    async fn look_once(&self, asked: &Name, kind: RecordType) -> Result<Records, Doubt> {
        let answer = match timeout(WHOLE, Box::pin(self.hickory.lookup(asked.clone(), kind))).await {
            Ok(answer) => answer,
            Err(_) => return Err(Doubt::Unknown("no answer in time".to_owned())),
        };
        match answer {
            Ok(lookup) => {
                // A stranger chooses what his names answer (P7).
                if is_long(lookup.answers()) {
                    self.hickory.clear_lookup_cache(asked.clone(), kind);
                }
                Ok(read(asked, kind, &lookup))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(missing))) => {
                // RFC 4035 5.4: what proves it stands beside the SOA.
                let authorities = missing.authorities.as_deref().unwrap_or_default();
                if all_proven(authorities) || missing.soa.as_ref().is_some_and(|soa| soa.proof == Proof::Secure) {
                    return Ok(none(asked, true));
                }
                // That some zone is unsigned is no word on this name.
                let soa = missing.soa.as_ref().is_some_and(|soa| is_unsigned(&soa.name, soa.proof, asked));
                match soa || authorities.iter().any(|record| is_unsigned(&record.name, record.proof, asked)) {
                    true => Ok(none(asked, false)),
                    false => Err(Doubt::Bogus),
                }
            }
            // RFC 9276 3.2: what would take too long to check is not proven, neither that it is there nor that it is not.
            Err(NetError::Dns(DnsError::Nsec { proof: Proof::Insecure, response, .. }))
                if is_denied_from_above(&response.authorities, asked) =>
            {
                self.look_plainly(asked, kind).await
            }
            Err(NetError::Dns(DnsError::DnssecBogus | DnsError::Nsec { .. })) => Err(Doubt::Bogus),
            Err(error) => Err(Doubt::Unknown(error.to_string())),
        }
    }

    /// As everybody does it.
    async fn look_plainly(&self, asked: &Name, kind: RecordType) -> Result<Records, Doubt> {
        match timeout(WHOLE, Box::pin(self.plain.lookup(asked.clone(), kind))).await {
            Ok(Ok(lookup)) => {
                if is_long(lookup.answers()) {
                    self.plain.clear_lookup_cache(asked.clone(), kind);
                }
                Ok(Records { proven: false, ..read(asked, kind, &lookup) })
            }
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => Ok(none(asked, false)),
            Ok(Err(error)) => Err(Doubt::Unknown(error.to_string())),
            Err(_) => Err(Doubt::Unknown("no answer in time".to_owned())),
        }
    }

    /// Whether it is proven that a name, or where its aliases lead, is within a zone that nobody has signed.
    async fn is_unsigned(&self, name: &Name) -> bool {
        let mut name = name.clone();
        for _ in 0..ALIASES {
            // From the top: what is there is known already, and below what is unsigned nothing is signed (RFC 4035 4.3).
            for labels in 1..=usize::from(name.num_labels()) {
                let at = name.trim_to(labels);
                let is_above = at != name;
                if (is_above && self.is_shown_unsigned(&at, RecordType::NS, &name).await)
                    || self.is_shown_unsigned(&at, RecordType::DS, &name).await
                {
                    return true;
                }
            }
            let Ok(found) = self.hickory.lookup(name.clone(), RecordType::CNAME).await else { return false };
            let next = found.answers().iter().find_map(|record| match &record.data {
                RData::CNAME(alias) if record.name == name && record.proof != Proof::Bogus => Some(alias.0.clone()),
                _ => None,
            });
            match next {
                Some(next) => name = next,
                None => return false,
            }
        }
        false
    }

    /// Whether what is `at` a name above (or at) `name` shows that it is within an unsigned zone.
    async fn is_shown_unsigned(&self, at: &Name, kind: RecordType, name: &Name) -> bool {
        let shown = |record: &Record| is_unsigned(&record.name, record.proof, name);
        match self.hickory.lookup(at.clone(), kind).await {
            Ok(found) => found.answers().iter().chain(found.authorities()).any(shown),
            Err(NetError::Dns(DnsError::NoRecordsFound(missing))) => {
                missing.authorities.as_deref().unwrap_or_default().iter().any(shown)
                    || missing.soa.as_ref().is_some_and(|soa| is_unsigned(&soa.name, soa.proof, name))
            }
            Err(NetError::Dns(DnsError::Nsec { proof: Proof::Insecure, response, .. })) => {
                is_denied_from_above(&response.authorities, name)
            }
            Err(_) => false,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signatures themselves carry no mark but the one that was used.
fn all_proven(records: &[Record]) -> bool {
    let mut signed = records.iter().filter(|record| record.record_type() != RecordType::RRSIG).peekable();
    signed.peek().is_some() && signed.all(|record| record.proof == Proof::Secure)
}

fn none(asked: &Name, proven: bool) -> Records {
    Records { data: Vec::new(), proven, canonical: plain(asked) }
}

/// A record that is proven to be within an unsigned zone, and `name` is there or below.
fn is_unsigned(of: &Name, proof: Proof, name: &Name) -> bool {
    proof == Proof::Insecure && of.zone_of(name)
}

/// Signed records (NSEC3) of a zone that `name` is in.
fn is_denied_from_above(authorities: &[Record], name: &Name) -> bool {
    authorities.iter().any(|record| {
        matches!(record.data, RData::DNSSEC(DNSSECRData::NSEC3(_)))
            && record.proof == Proof::Secure
            && record.name.base_name().zone_of(name)
    })
}

fn read(asked: &Name, kind: RecordType, lookup: &Lookup) -> Records {
    let mut end = asked.clone();
    // Aliases stand in any order; each step is taken once.
    for _ in 0..lookup.answers().len().min(RECORDS) {
        let step = lookup.answers().iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if record.name == end => Some(alias.0.clone()),
            _ => None,
        });
        match step {
            Some(next) => end = next,
            None => break,
        }
    }
    let here = lookup.answers().iter().filter(|record| record.record_type() == kind && record.name == end);
    let data: Vec<Data> = here.take(RECORDS).filter_map(|record| data(&record.data)).collect();
    Records { data, proven: all_proven(lookup.answers()), canonical: plain(&end) }
}

/// `None`: of a type that is not asked for here.
fn data(data: &RData) -> Option<Data> {
    Some(match data {
        RData::A(address) => Data::A(address.0),
        RData::AAAA(address) => Data::Aaaa(address.0),
        RData::MX(mx) => Data::Mx { priority: mx.preference, host: plain(&mx.exchange) },
        RData::TXT(text) => {
            let bytes: Vec<u8> = text.txt_data.iter().flat_map(|piece| piece.iter().copied()).collect();
            Data::Txt(String::from_utf8_lossy(&bytes).into_owned())
        }
        RData::TLSA(tlsa) => Data::Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        },
        _ => return None,
    })
}

/// Lower case, without the dot at the end; empty is the root.
fn plain(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::base::{ManualClock, Time};

    const DNSKEY: u8 = 48;

    /// A resolver on UDP: `None` is silence. `answer` gets the type that is asked for.
    async fn proven(answer: impl Fn(u8) -> Option<u8> + Send + 'static) -> (Proven, Arc<ManualClock>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
                // The root's name is a single zero.
                let Some(code) = answer(buffer[14]) else { continue };
                let mut out = buffer[..17].to_vec();
                (out[2], out[3]) = (0x81, 0x80 | code);
                out[6..12].copy_from_slice(&[0, u8::from(code == 0), 0, 0, 0, 0]);
                if code == 0 {
                    // NS of the root, for a minute: a name of one letter.
                    out.extend([0, 0, 2, 0, 1, 0, 0, 0, 60, 0, 3, 1, b'a', 0]);
                }
                let _ = socket.send_to(&out, peer).await;
            }
        });
        let clock = Arc::new(ManualClock::at(Time(1_800_000_000_000)));
        let mut made = Proven::new("nameserver 127.0.0.1", None, clock.clone()).unwrap();
        made.hickory = make(&[at], Some(Arc::new(TrustAnchors::default()))).unwrap();
        made.plain = make(&[at], None).unwrap();
        (made, clock)
    }

    #[tokio::test]
    async fn questions_that_get_lost_are_no_answer_until_that_is_all_they_do() {
        let (proven, clock) = proven(|kind| (kind != DNSKEY).then_some(0)).await;
        assert!(proven.is_proof_to_be_had().await.is_err());
        assert_eq!(proven.known().speaks, None);
        clock.advance_ms(LOST_MS);
        assert_eq!(proven.is_proof_to_be_had().await, Ok(false));
    }

    #[tokio::test]
    async fn a_line_that_is_down_says_nothing_of_proof_for_long() {
        let (proven, clock) = proven(|_| Some(2)).await;
        for _ in 0..3 {
            assert!(proven.is_proof_to_be_had().await.is_err());
            clock.advance_ms(LOST_MS);
        }
        clock.advance_ms(DUMB_MS);
        assert_eq!(proven.is_proof_to_be_had().await, Ok(false));
        assert_eq!(proven.known().speaks, Some((false, clock.mono())), "and is asked again each time");
    }

    #[tokio::test]
    async fn an_answer_without_proof_is_one() {
        for code in [0, 1, 4, 5] {
            let (proven, _) = proven(move |_| Some(code)).await;
            assert_eq!(proven.is_proof_to_be_had().await, Ok(false), "code {code}");
        }
    }

    #[test]
    fn an_unsigned_zone_speaks_for_what_is_within_it_only() {
        let name = |name: &str| Name::from_ascii(name).unwrap();
        let asked = name("_25._tcp.mx.a.test.");
        assert!(is_unsigned(&name("a.test."), Proof::Insecure, &asked));
        assert!(!is_unsigned(&name("b.test."), Proof::Insecure, &asked));
        assert!(!is_unsigned(&name("x._25._tcp.mx.a.test."), Proof::Insecure, &asked));
        for proof in [Proof::Secure, Proof::Bogus, Proof::Indeterminate] {
            assert!(!is_unsigned(&name("a.test."), proof, &asked));
        }
    }
}
