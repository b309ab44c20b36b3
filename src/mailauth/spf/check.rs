//! `check_host()` of RFC 7208 4.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use super::expand::Meaning;
use super::record::{Mechanism, Prefixes, Record, Spec, is_spf};
use crate::mailauth::Outcome;
use crate::mailauth::names::{self, Missing, Names, addresses, is_askable};

/// RFC 7208 4.6.4: terms that ask the DNS, in one check; hosts of one mx; names of one address.
const LOOKUPS: u32 = 10;
/// Answers with nothing in them, in one check.
const VOID: u32 = 2;

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub peer: IpAddr,
    pub helo: &'a str,
    /// The whole address; of the null path, and of EHLO itself, `postmaster@` what the peer calls itself.
    pub sender: &'a str,
    /// Of the sender.
    pub domain: &'a str,
}

/// The outcome for a domain. Never [`Outcome::Policy`].
pub async fn check_host(names: &dyn Names, asked: Asked<'_>) -> Outcome {
    let domain = asked.domain.strip_suffix('.').unwrap_or(asked.domain);
    // RFC 7208 4.3: what is no name of several labels has no policy.
    if !domain.contains('.') || !is_askable(domain) || !domain.is_ascii() || domain.ends_with(']') {
        return Outcome::None;
    }
    let peer = asked.peer.to_canonical();
    let mut check = Check { names, asked: Asked { peer, ..asked }, lookups: 0, void: 0, peer_names: None };
    match check.domain(domain).await {
        Ok(outcome) => outcome,
        Err(stop) => stop,
    }
}

struct Check<'a> {
    names: &'a dyn Names,
    asked: Asked<'a>,
    lookups: u32,
    void: u32,
    /// The peer's names, each confirmed.
    peer_names: Option<Vec<String>>,
}

/// `Err`: the whole check ends with this.
type Step<T> = Result<T, Outcome>;

impl<'a> Check<'a> {
    fn domain<'b>(&'b mut self, domain: &'b str) -> Pin<Box<dyn Future<Output = Step<Outcome>> + Send + 'b>>
    where
        'a: 'b,
    {
        Box::pin(async move {
            let record = match self.record(domain).await? {
                Some(record) => record,
                None => return Ok(Outcome::None),
            };
            for (outcome, mechanism) in &record.directives {
                if self.matches(mechanism, domain).await? {
                    return Ok(*outcome);
                }
            }
            let Some(redirect) = &record.redirect else { return Ok(Outcome::Neutral) };
            self.count()?;
            let target = self.expand(redirect, domain).await;
            // RFC 7208 6.1: a target without a record is a mistake of the domain.
            match is_askable(&target) {
                true => match self.domain(&target).await? {
                    Outcome::None => Err(Outcome::PermError),
                    outcome => Ok(outcome),
                },
                false => Err(Outcome::PermError),
            }
        })
    }

    /// RFC 7208 4.4, 4.5.
    async fn record(&mut self, domain: &str) -> Step<Option<Record>> {
        let records = match self.names.txt(domain).await {
            Ok(records) => records,
            Err(Missing::NoName | Missing::NoData) => return Ok(None),
            Err(Missing::Unknown) => return Err(Outcome::TempError),
        };
        let mut records = records.iter().filter(|record| is_spf(record));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(record), None) => Record::read(record).map(Some).ok_or(Outcome::PermError),
            (Some(_), Some(_)) => Err(Outcome::PermError),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Step<bool> {
        let peer = self.asked.peer;
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => Ok(within(peer, IpAddr::V4(*network), *length)),
            Mechanism::Ip6(network, length) => Ok(within(peer, IpAddr::V6(*network), *length)),
            Mechanism::Include(spec) => {
                self.count()?;
                let target = self.expand(spec, domain).await;
                if !is_askable(&target) {
                    return Err(Outcome::PermError);
                }
                // RFC 7208 5.2: its errors are the errors of the whole; having no record is one.
                match self.domain(&target).await? {
                    Outcome::Pass => Ok(true),
                    Outcome::None => Err(Outcome::PermError),
                    _ => Ok(false),
                }
            }
            Mechanism::A(spec, prefixes) => {
                self.count()?;
                let target = self.target(spec, domain).await;
                self.has_peer(&target, *prefixes, true).await
            }
            Mechanism::Mx(spec, prefixes) => {
                self.count()?;
                let target = self.target(spec, domain).await;
                let hosts = match is_askable(&target) {
                    true => self.names.mx(&target).await,
                    false => Err(Missing::NoName),
                };
                let hosts = self.or_void(hosts)?;
                if hosts.len() > LOOKUPS as usize {
                    return Err(Outcome::PermError);
                }
                for host in hosts {
                    if self.has_peer(&host, *prefixes, false).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Ptr(spec) => {
                self.count()?;
                let target = self.target(spec, domain).await.to_ascii_lowercase();
                let known = self.peer_names().await?;
                Ok(known.iter().any(|name| names::is_within(name, &target)))
            }
            Mechanism::Exists(spec) => {
                self.count()?;
                let target = self.expand(spec, domain).await;
                let found = match is_askable(&target) {
                    true => self.names.a(&target).await,
                    false => Err(Missing::NoName),
                };
                Ok(!self.or_void(found)?.is_empty())
            }
        }
    }

    /// RFC 7208 4.6.4
    fn count(&mut self) -> Step<()> {
        self.lookups += 1;
        if self.lookups > LOOKUPS { Err(Outcome::PermError) } else { Ok(()) }
    }

    fn or_void<T>(&mut self, found: Result<Vec<T>, Missing>) -> Step<Vec<T>> {
        match found {
            Ok(found) => Ok(found),
            Err(Missing::Unknown) => Err(Outcome::TempError),
            Err(Missing::NoName | Missing::NoData) => {
                self.void += 1;
                if self.void > VOID { Err(Outcome::PermError) } else { Ok(Vec::new()) }
            }
        }
    }

    async fn has_peer(&mut self, host: &str, prefixes: Prefixes, counts: bool) -> Step<bool> {
        let peer = self.asked.peer;
        let found = addresses(self.names, host, peer).await;
        let found = match found {
            // Of the hosts of an mx only the mx itself counts as asked.
            Err(Missing::NoName | Missing::NoData) if !counts => return Ok(false),
            found => self.or_void(found)?,
        };
        let length = if peer.is_ipv4() { prefixes.v4 } else { prefixes.v6 };
        Ok(found.into_iter().any(|address| within(peer, address, length)))
    }

    async fn target(&mut self, spec: &Option<Spec>, domain: &str) -> String {
        match spec {
            Some(spec) => self.expand(spec, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn expand(&mut self, spec: &Spec, domain: &str) -> String {
        let name = match spec.wants_peer_name() {
            true => self.peer_name(domain).await,
            false => String::new(),
        };
        let Asked { peer, helo, sender, .. } = self.asked;
        spec.expand(&Meaning { sender, helo, domain, peer, peer_name: &name })
    }

    /// RFC 7208 7.3, `p`: the domain itself, or a name below it, or any; `unknown` without one.
    async fn peer_name(&mut self, domain: &str) -> String {
        let known = self.peer_names().await.unwrap_or_default();
        let domain = domain.to_ascii_lowercase();
        let best = known.iter().find(|name| **name == domain);
        let best = best.or_else(|| known.iter().find(|name| names::is_within(name, &domain)));
        best.or(known.first()).cloned().unwrap_or_else(|| "unknown".to_owned())
    }

    /// RFC 7208 5.5: the first ten names of the address that have the address. Errors on the way are no names.
    async fn peer_names(&mut self) -> Step<Vec<String>> {
        if let Some(known) = &self.peer_names {
            return Ok(known.clone());
        }
        let peer = self.asked.peer;
        let mut confirmed = Vec::new();
        let listed = match self.names.ptr(peer).await {
            Ok(listed) => listed,
            Err(Missing::Unknown) => Vec::new(),
            Err(missing) => self.or_void(Err(missing))?,
        };
        for name in listed.iter().take(LOOKUPS as usize) {
            if addresses(self.names, name, peer).await.is_ok_and(|found| found.contains(&peer)) {
                confirmed.push(name.to_ascii_lowercase());
            }
        }
        self.peer_names = Some(confirmed.clone());
        Ok(confirmed)
    }
}

/// Whether two addresses of one kind have their first bits in common.
fn within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let shift = 32 - u32::from(length.min(32));
            (u32::from(a) ^ u32::from(b)).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let shift = 128 - u32::from(length.min(128));
            (u128::from(a) ^ u128::from(b)).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailauth::names::fake::Zone;

    async fn check(zone: &Zone, peer: &str, sender: &str) -> Outcome {
        let (_, domain) = sender.split_once('@').unwrap();
        check_host(zone, Asked { peer: peer.parse().unwrap(), helo: "out.test", sender, domain }).await
    }

    #[tokio::test]
    async fn a_host_is_among_those_that_a_domain_names_or_not() {
        let zone = Zone::default()
            .with_txt("x.test", "v=spf1 ip4:192.0.2.0/25 include:y.test a:z.test//64 -all")
            .with_txt("y.test", "v=spf1 ip6:2001:db8::/32 -all")
            .with_address("z.test", "198.51.100.7")
            .with_txt("loop.test", "v=spf1 include:loop.test -all")
            .with_txt("two.test", "v=spf1 -all")
            .with_txt("two.test", "v=spf1 +all");
        assert_eq!(check(&zone, "192.0.2.127", "a@x.test").await, Outcome::Pass);
        assert_eq!(check(&zone, "192.0.2.128", "a@x.test").await, Outcome::Fail);
        assert_eq!(check(&zone, "::ffff:192.0.2.1", "a@x.test").await, Outcome::Pass);
        assert_eq!(check(&zone, "2001:db8:ffff::1", "a@x.test").await, Outcome::Pass);
        assert_eq!(check(&zone, "198.51.100.7", "a@x.test").await, Outcome::Pass);
        assert_eq!(check(&zone, "192.0.2.1", "a@none.test").await, Outcome::None);
        assert_eq!(check(&zone, "192.0.2.1", "a@loop.test").await, Outcome::PermError);
        assert_eq!(check(&zone, "192.0.2.1", "a@two.test").await, Outcome::PermError);
    }
}
