//! SPF records (RFC 7208), as far as the guide writes them.

use super::Refused;
use super::facts::{Facts, Outbound};

/// RFC 6652: where failures are told, as a local part of the domain.
const REPORTS: &str = "ra=postmaster";

/// For the domain. Errors: the relay's words are no mechanism of SPF.
pub(super) fn of_domain(facts: &Facts) -> Result<String, Refused> {
    let mut terms = vec!["v=spf1", "mx"];
    for mechanism in mechanisms(facts) {
        check_mechanism(mechanism)?;
        if !terms.contains(&mechanism) {
            terms.push(mechanism);
        }
    }
    terms.extend([REPORTS, "-all"]);
    Ok(terms.join(" "))
}

/// Of the relay for all, and of those for some domains.
fn mechanisms(facts: &Facts) -> impl Iterator<Item = &str> {
    let relay = match &facts.outbound {
        Outbound::Relay(mechanism) => Some(mechanism.as_str()),
        Outbound::Direct | Outbound::UnknownRelay => None,
    };
    relay.into_iter().chain(facts.relays.iter().map(String::as_str))
}

/// For the host, which is the sender of bounces and of its own greeting.
pub(super) fn of_host() -> String {
    format!("v=spf1 a {REPORTS} -all")
}

/// `include:`, `ip4:`, `ip6:`, `a:`, `mx:` or `exists:` with something behind it, and nothing more than that.
pub(super) fn check_mechanism(text: &str) -> Result<(), Refused> {
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

/// An SPF record that is there, with this server in it as well: `mx` (and the relays' words) before all others, everything
/// else as it was. `None`: it is no SPF record that can be extended.
pub(super) fn merged(there: &str, facts: &Facts) -> Option<String> {
    let mut terms = there.split_whitespace();
    if !terms.next()?.eq_ignore_ascii_case("v=spf1") {
        return None;
    }
    let rest: Vec<&str> = terms.collect();
    let has = |term: &str| rest.iter().any(|there| there.trim_start_matches('+').eq_ignore_ascii_case(term));
    let mut out = vec!["v=spf1"];
    if !has("mx") {
        out.push("mx");
    }
    for mechanism in mechanisms(facts) {
        if !has(mechanism) && !out.contains(&mechanism) {
            out.push(mechanism);
        }
    }
    out.extend(rest);
    Some(out.join(" "))
}

/// Look-ups that a record asks for by itself (RFC 7208 4.6.4); 10 are the most, those of included records counted too.
pub(super) fn lookups(text: &str) -> usize {
    let asks = |term: &str| {
        let bare = term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
        let name = bare.split([':', '/', '=']).next().unwrap_or_default().to_owned();
        matches!(name.as_str(), "include" | "a" | "mx" | "ptr" | "exists" | "redirect")
    };
    text.split_whitespace().filter(|term| asks(term)).count()
}
