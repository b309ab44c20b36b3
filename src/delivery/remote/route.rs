//! Where a domain's mail goes (RFC 5321 5.1), and at which addresses.

use std::net::IpAddr;

use crate::base::Random;
use crate::net::dns::{Asker, Data, Kind};

use super::Trouble;

/// Hosts of one domain that are tried.
const HOSTS: usize = 10;
/// Addresses of one host.
const ADDRESSES: usize = 4;

/// The hosts that take a domain's mail, best first. An address literal is a host of its own.
pub(super) async fn hosts(asker: &Asker, random: &dyn Random, domain: &str, own: &str) -> Result<Vec<String>, Trouble> {
    if let Some(literal) = literal(domain) {
        return Ok(vec![literal.to_string()]);
    }
    let name = idna::domain_to_ascii(domain).ok().filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(Trouble::never((5, 1, 2), format!("{domain} is no name of a domain")));
    };
    let found = asker.resolve(&name, Kind::Mx).await;
    let found = found.map_err(|why| Trouble::later((4, 4, 3), format!("{domain} cannot be looked up: {why}")))?;
    let mut all: Vec<(u16, u32, String)> = found
        .into_iter()
        .filter_map(|found| match found.data {
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
        return Ok(vec![name]);
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
    Ok(all.into_iter().map(|(_, _, host)| host).take(HOSTS).collect())
}

/// The addresses of a host: IPv4 first, since what many home lines have of IPv6 has no name (PTR), and large receivers refuse
/// letters from there for good.
pub(super) async fn addresses(asker: &Asker, host: &str) -> Result<Vec<IpAddr>, Trouble> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let (four, six) = tokio::join!(asker.resolve(host, Kind::A), asker.resolve(host, Kind::Aaaa));
    let mut out = Vec::new();
    for found in [&four, &six].into_iter().flatten() {
        let these = found.iter().filter_map(|found| match found.data {
            Data::A(address) => Some(IpAddr::V4(address)),
            Data::Aaaa(address) => Some(IpAddr::V6(address)),
            _ => None,
        });
        out.extend(these.take(ADDRESSES));
    }
    match (four, six) {
        _ if !out.is_empty() => Ok(out),
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
