//! The facts of a domain, from the store, the settings and the certificate that is shown.

use std::net::IpAddr;

use super::facts::{Account, Certificate, Dmarc, Facts, Key, Outbound, Service};
use super::is_in;
use super::pacc;
use super::policy;
use crate::directory::manage::domain as domains;
use crate::directory::rotation::Stage;
use crate::directory::{self, dkim};
use crate::net::tls;
use crate::settings::Settings;
use crate::store::Read;

/// `domain` is one of ours, in any spelling; `chain` is the certificate with its issuers as PEM; `addresses` are those
/// under which the world reaches the host, as far as they are known; `authorities` those with whom we have an account.
pub fn gather(
    read: &dyn Read,
    settings: &Settings,
    chain: Option<&[u8]>,
    domain: &str,
    addresses: &[IpAddr],
    authorities: &[Account],
) -> Result<Facts, directory::Error> {
    let domain = directory::normal_domain(domain)?;
    let ours = domains::list(read)?;
    if !ours.contains(&domain) {
        return Err(directory::Error::NoSuchDomain(domain));
    }
    let host = settings.hostname.clone();
    // A host within two of our domains (a domain and its subdomain) is the inner one's; one within none is everybody's.
    let home = ours.iter().filter(|ours| is_in(&host, ours)).max_by_key(|ours| ours.len());
    let keys = dkim::list(read, &domain)?.into_iter().map(|key| Key {
        selector: key.selector,
        algorithm: key.algorithm.tag().to_owned(),
        public: key.public,
        leaving: key.stage == Stage::Leaving,
    });
    Ok(Facts {
        host_here: home.is_none_or(|home| *home == domain),
        keys: keys.collect(),
        services: services(settings),
        addresses: addresses.to_vec(),
        certificate: chain.and_then(certificate),
        signed: None,
        outbound: outbound(settings),
        relays: relays(settings),
        authorities: authorities.to_vec(),
        pacc: pacc::document(settings, &domain).map(|document| pacc::digest(&document)),
        policy: policy::of(settings),
        dmarc: Dmarc::None,
        host,
        domain,
    })
}

/// Letters leave by themselves, or through the relay that the settings name.
fn outbound(settings: &Settings) -> Outbound {
    let relay = &settings.relay;
    match (relay.host.is_empty(), super::is_mechanism(&relay.spf)) {
        (true, _) => Outbound::Direct,
        (false, true) => Outbound::Relay(relay.spf.clone()),
        (false, false) => Outbound::UnknownRelay,
    }
}

/// Those that the settings say something of: for whom a relay takes letters they mostly do not look.
fn relays(settings: &Settings) -> Vec<String> {
    let there = settings.relays.iter().map(|one| &one.relay).filter(|relay| !relay.host.is_empty());
    there.map(|relay| relay.spf.clone()).filter(|spf| super::is_mechanism(spf)).collect()
}

/// Each service that programs look for, with its port if it is open.
pub fn services(settings: &Settings) -> Vec<(Service, Option<u16>)> {
    let open = |service: Service| {
        let listeners = settings.listeners.all();
        let found = listeners.iter().find(|(name, _)| name.as_str() == service.as_str());
        found.filter(|(_, listener)| listener.on).map(|(_, listener)| listener.port)
    };
    Service::ALL.into_iter().map(|service| (service, open(service))).collect()
}

fn certificate(chain: &[u8]) -> Option<Certificate> {
    let digests = tls::digests(chain).ok()?;
    let own = digests.first()?.clone();
    let issuer = digests.get(1).unwrap_or(&own).clone();
    Some(Certificate { own, issuer, key_kept: false, next_key: None })
}
