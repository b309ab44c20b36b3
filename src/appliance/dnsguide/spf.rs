//! SPF records (RFC 7208), as far as the guide writes them.

use super::Refused;
use super::facts::{Facts, Outbound};

/// RFC 6652: where failures are told, as a local part of the domain.
const REPORTS: &str = "ra=postmaster";

/// For the domain. Errors: the relay's words are no mechanism of SPF.
pub(super) fn of_domain(facts: &Facts) -> Result<String, Refused> {
    match &facts.outbound {
        Outbound::Direct | Outbound::UnknownRelay => Ok(format!("v=spf1 mx {REPORTS} -all")),
        Outbound::Relay(mechanism) => {
            check_mechanism(mechanism)?;
            Ok(format!("v=spf1 mx {mechanism} {REPORTS} -all"))
        }
    }
}

/// For the host, which is the sender of bounces and of its own greeting.
pub(super) fn of_host() -> String {
    format!("v=spf1 a {REPORTS} -all")
}

/// `include:`, `ip4:`, `ip6:`, `a:`, `mx:` or `exists:` with something behind it, and nothing more than that.
fn check_mechanism(text: &str) -> Result<(), Refused> {
    let known = ["include:", "ip4:", "ip6:", "a:", "mx:", "exists:"];
    let rest = known.iter().find_map(|start| text.strip_prefix(start));
    let fine = |rest: &str| {
        (1..=255).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:/%{}".contains(&byte))
    };
    if rest.is_some_and(fine) {
        return Ok(());
    }
    Err(Refused(format!("{} is no part of an SPF record; one is include:_spf.provider.example", super::shown(text))))
}
