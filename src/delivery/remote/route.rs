//! Where a domain's mail goes (RFC 5321 5.1), and at which addresses.

use std::net::IpAddr;
use std::sync::Arc;

use crate::base::Random;
use crate::net::dns::{Asker, Data, Doubt, Kind, Proven, Records};

use super::Trouble;

/// Hosts of one domain that are tried.
const HOSTS: usize = 10;
/// Addresses of one host.
const ADDRESSES: usize = 4;

/// Who is asked: with proof where there is any to be had (DNSSEC), else as everybody does it.
pub(super) struct Names {
    asker: Asker,
    proven: Option<Arc<Proven>>,
    /// Nothing can be proven yet: the date is not known.
    undated: bool,
}

impl Names {
    /// Errors: there was proof until now, and there is none any more; or it is not known whether there is.
    pub async fn new(asker: Asker, proven: Option<Arc<Proven>>) -> Result<Names, Trouble> {
        let to_be_had = match &proven {
            Some(proven) => proven.is_proof_to_be_had().await,
            None => Ok(false),
        };
        let undated = proven.as_ref().is_some_and(|proven| !proven.is_dated());
        match to_be_had {
            Ok(true) => Ok(Names { asker, proven, undated }),
            Ok(false) => Ok(Names { asker, proven: None, undated }),
            Err(why) => Err(Trouble::later((4, 4, 3), why)),
        }
    }

    /// That nothing is proven may pass.
    pub fn is_undated(&self) -> bool {
        self.undated
    }

    pub async fn look(&self, name: &str, kind: Kind) -> Result<Records, Doubt> {
        if let Some(proven) = &self.proven {
            return proven.look(name, kind).await;
        }
        let found = self.asker.resolve(name, kind).await.map_err(Doubt::Unknown)?;
        let data = found.into_iter().map(|found| found.data).filter(|data| data.kind() == kind).collect();
        Ok(Records { data, proven: false, canonical: name.to_owned() })
    }
}

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// Lower case, A-labels.
    pub domain: String,
    /// Best first.
    pub hosts: Vec<String>,
    /// How many of them are as good as the first.
    pub best: usize,
    /// That these are its hosts is signed.
    pub proven: bool,
    /// They are named by an MX record.
    pub by_mx: bool,
}

impl Site {
    pub fn best(&self) -> &[String] {
        self.hosts.get(..self.best).unwrap_or_default()
    }
}

/// The hosts that take a domain's mail. An address literal is a host of its own.
pub(super) async fn site(names: &Names, random: &dyn Random, domain: &str, own: &str) -> Result<Site, Trouble> {
    if let Some(literal) = literal(domain) {
        let domain = domain.to_owned();
        return Ok(Site { domain, hosts: vec![literal.to_string()], best: 1, proven: false, by_mx: false });
    }
    let name = idna::domain_to_ascii(domain).ok().filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(Trouble::never((5, 1, 2), format!("{domain} is no name of a domain")));
    };
    let name = name.to_ascii_lowercase();
    let found = names.look(&name, Kind::Mx).await;
    let found = found.map_err(|why| Trouble::later((4, 4, 3), format!("{domain} cannot be looked up: {why}")))?;
    let proven = found.proven;
    let mut all: Vec<(u16, u32, String)> = found
        .data
        .into_iter()
        .filter_map(|data| match data {
            Data::Mx { priority: preference, host } => {
                let mut chance = [0; 4];
                random.fill(&mut chance);
                // RFC 5321 5.1: those of one preference in any order, so that they share the work.
                Some((preference, u32::from_ne_bytes(chance), host))
            }
            _ => None,
        })
        .collect();
    // RFC 5321 5.1: without any MX the domain itself is the host.
    if all.is_empty() {
        return Ok(Site { domain: name.clone(), hosts: vec![name], best: 1, proven, by_mx: false });
    }
    // RFC 7505 3
    if all.iter().all(|(_, _, host)| host.is_empty()) {
        return Err(Trouble::never((5, 1, 10), format!("{domain} takes no mail (its MX record says so)")));
    }
    all.retain(|(_, _, host)| !host.is_empty());
    all.sort();
    // RFC 5321 5.1: whoever is itself in the list gives to the better ones only, or the letter comes back.
    let own_place =
        all.iter().find(|(_, _, host)| host.eq_ignore_ascii_case(own)).map(|(preference, _, _)| *preference);
    if let Some(own_place) = own_place {
        all.retain(|(preference, _, _)| *preference < own_place);
        if all.is_empty() {
            let words = format!("the mail of {domain} goes to this server, which does not know the domain");
            return Err(Trouble::never((5, 4, 6), words));
        }
    }
    all.truncate(HOSTS);
    let best = all.iter().take_while(|(preference, _, _)| *preference == all[0].0).count();
    let hosts = all.into_iter().map(|(_, _, host)| host).collect();
    Ok(Site { domain: name, hosts, best, proven, by_mx: true })
}

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Never empty.
    pub all: Vec<IpAddr>,
    /// That it is there is signed.
    pub proven: bool,
    /// Where its aliases lead, if all that is signed; else its own name.
    pub canonical: String,
}

/// The addresses of a host: IPv4 first, since what many home lines have of IPv6 has no name (PTR), and large receivers refuse
/// letters from there for good.
pub(super) async fn addresses(names: &Names, host: &str) -> Result<Addresses, Trouble> {
    if let Ok(address) = host.parse() {
        return Ok(Addresses { all: vec![address], proven: false, canonical: host.to_owned() });
    }
    let (four, six) = tokio::join!(names.look(host, Kind::A), names.look(host, Kind::Aaaa));
    let (mut proven, mut canonical) = (true, host.to_owned());
    let mut out = Vec::new();
    for found in [&four, &six].into_iter().flatten() {
        let these = found.data.iter().filter_map(|data| match data {
            Data::A(address) => Some(IpAddr::V4(*address)),
            Data::Aaaa(address) => Some(IpAddr::V6(*address)),
            _ => None,
        });
        let before = out.len();
        out.extend(these.take(ADDRESSES));
        if out.len() > before {
            proven &= found.proven;
            canonical.clone_from(&found.canonical);
        }
    }
    if !proven {
        host.clone_into(&mut canonical);
    }
    match (four, six) {
        _ if !out.is_empty() => Ok(Addresses { all: out, proven, canonical }),
        (Err(why), _) | (_, Err(why)) => Err(Trouble::later((4, 4, 3), format!("{host} cannot be looked up: {why}"))),
        _ => Err(Trouble::never((5, 1, 2), format!("there is no server {host}"))),
    }
}

/// RFC 5321 4.1.3.
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner.get(5..)?.parse().ok().map(IpAddr::V6),
        _ => inner.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_addresses() {
        assert_eq!(literal("[192.0.2.1]"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(literal("[IPv6:2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(literal("[2001:db8::1]"), None);
        assert_eq!(literal("example.test"), None);
    }
}
