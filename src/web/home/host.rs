//! Under which name we were asked.

use std::net::{IpAddr, Ipv6Addr};

use crate::net::is_public;
use crate::web::setup::guard::NAMES;

/// As what a request's Host field names us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::web) enum Asked {
    /// The server's own name, one of its names in the house, or its address there.
    House,
    /// A domain of ours that is not the server's name.
    Domain(String),
    /// A name that stands in the DNS of a domain of ours for something to be found there.
    Service(Service, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Service {
    Autoconfig,
    Autodiscover,
    MtaSts,
    UaAutoConfig,
}

impl Service {
    const ALL: [Service; 4] = [Service::Autoconfig, Service::Autodiscover, Service::MtaSts, Service::UaAutoConfig];

    fn label(self) -> &'static str {
        match self {
            Service::Autoconfig => "autoconfig",
            Service::Autodiscover => "autodiscover",
            Service::MtaSts => "mta-sts",
            Service::UaAutoConfig => "ua-auto-config",
        }
    }
}

/// `host` is a Host field's value, or an address's authority; any port will do, since a router may send another one here.
/// `None`: it is not ours (H1).
pub(super) fn asked(host: &str, own: &str, domains: &[String]) -> Option<Asked> {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            let address = address.parse::<Ipv6Addr>().ok()?;
            return (fits && is_at_home(address.into())).then_some(Asked::House);
        }
        None => match host.split_once(':') {
            Some((name, port)) => is_port(port).then_some(name)?,
            None => host,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if let Ok(address) = name.parse::<IpAddr>() {
        return is_at_home(address).then_some(Asked::House);
    }
    if name == own || NAMES.contains(&name.as_str()) {
        return Some(Asked::House);
    }
    if domains.contains(&name) {
        return Some(Asked::Domain(name));
    }
    let (label, domain) = name.split_once('.')?;
    let service = Service::ALL.into_iter().find(|service| service.label() == label)?;
    domains.iter().any(|ours| ours == domain).then(|| Asked::Service(service, domain.to_owned()))
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An address that the world cannot reach us by. Under one that it can, only programs that try every address ask.
fn is_at_home(address: IpAddr) -> bool {
    !is_public(address.to_canonical())
}
