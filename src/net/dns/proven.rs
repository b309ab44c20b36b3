//! Names looked up with proof (DNSSEC, RFC 4033 to 4035): through the resolvers of this machine, checked here from the keys of
//! the root zone down, so that nobody on the way has to be believed.
//!
//! A resolver that strips the proof off is no attack but a bad router: then nothing is proven, and what is looked up is
//! looked up without ([`Proven::is_proof_to_be_had`]). Once there was proof, its sudden absence is not taken for that.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::timeout;

use crate::base::{Clock, Mono};

use super::lookup::{is_long, make};
use super::packet::number_of;
use super::{Data, Kind};

/// For one question with all that its proof takes.
const WHOLE: Duration = Duration::from_secs(30);
/// For the question whether there is proof at all.
const FIRST: Duration = Duration::from_secs(10);
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
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whether there is proof, and until when that is believed.
    speaks: Option<(bool, Mono)>,
    /// When there was some last.
    spoke: Option<Mono>,
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
        let hickory = hickory.ok_or("the resolver cannot be made")?;
        Ok(Proven { hickory, clock, known: Mutex::default() })
    }

    /// Whether the resolvers of this machine give the proof along. Errors: they did a while ago, and do not now.
    pub async fn is_proof_to_be_had(&self) -> Result<bool, String> {
        // A signature has a date.
        if !self.clock.trusted() {
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
        let speaks = matches!(&asked, Ok(Ok(answer)) if all_proven(answer.answers()));
        let mut known = self.known();
        if speaks {
            known.spoke = Some(now);
        } else if known.spoke.is_some_and(|spoke| now < spoke.plus_ms(STEADY_MS)) {
            return Err("the resolvers of this machine give no proof (DNSSEC) any more".to_owned());
        }
        known.speaks = Some((speaks, now.plus_ms(if speaks { SPEAKS_MS } else { SILENT_MS })));
        Ok(speaks)
    }

    /// What is at a name, with its proof.
    pub async fn look(&self, name: &str, kind: Kind) -> Result<Records, Doubt> {
        match self.look_once(name, kind).await {
            // A proof takes many answers, and one of them that got lost looks the same.
            Err(Doubt::Bogus) => self.look_once(name, kind).await,
            found => found,
        }
    }

    async fn look_once(&self, name: &str, kind: Kind) -> Result<Records, Doubt> {
        let Ok(asked) = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))) else {
            return Err(Doubt::Unknown(format!("{name} cannot be asked for")));
        };
        let kind = RecordType::from(number_of(kind));
        let answer = match timeout(WHOLE, Box::pin(self.hickory.lookup(asked.clone(), kind))).await {
            Ok(answer) => answer,
            Err(_) => return Err(Doubt::Unknown("no answer in time".to_owned())),
        };
        let none = |proven| Ok(Records { data: Vec::new(), proven, canonical: name.to_owned() });
        match answer {
            Ok(lookup) => {
                // A stranger chooses what his names answer (P7).
                if is_long(lookup.answers()) {
                    self.hickory.clear_lookup_cache(asked.clone(), kind);
                }
                Ok(read(&asked, kind, &lookup))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(missing))) => {
                // RFC 4035 5.4: what proves it stands beside the SOA.
                let signed = missing.authorities.as_deref().is_some_and(all_proven);
                none(signed || missing.soa.is_some_and(|soa| soa.proof == Proof::Secure))
            }
            Err(NetError::Dns(DnsError::DnssecBogus)) => Err(Doubt::Bogus),
            Err(NetError::Dns(DnsError::Nsec { proof: Proof::Bogus, .. })) => Err(Doubt::Bogus),
            // RFC 9276 3.2: what would take too long to check is not proven.
            Err(NetError::Dns(DnsError::Nsec { .. })) => none(false),
            Err(error) => Err(Doubt::Unknown(error.to_string())),
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
