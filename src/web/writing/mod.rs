//! The page that writes records: the same in the set-up and in the administration.
//!
//! [`Panel`] is what is shown of a domain: how its records are written, what would change, how it went. [`Form`] asks for what
//! a way of writing needs. Both are drawn by the templates in `pages/`, which stand within a page of whoever shows them.
//!
//! Does not know: who may see it, where it is kept, what writes.
//!
//! Invariants, cited by tests:
//! - R1: no secret is in what is shown, whatever was typed before.
//! - R2: nothing is taken over without a tick of its own.
//! - R3: nothing is written but what the page showed that was answered.

mod form;
mod panel;

pub(super) use form::{Form, read_method, read_wish};
pub(super) use panel::Panel;

use crate::net::dns::RFC2136;

/// What a way of writing is called. Of a provider its own name.
fn title(method: &str) -> &str {
    match method {
        "none" => "By hand: I enter them myself",
        RFC2136 => "A name server of my own that takes updates (RFC 2136)",
        "bunny" => "bunny.net",
        "cloudflare" => "Cloudflare",
        "desec" => "deSEC",
        "digitalocean" => "DigitalOcean",
        "domeneshop" => "Domeneshop",
        "gandi" => "Gandi",
        "hetzner" => "Hetzner",
        "infomaniak" => "Infomaniak",
        "ionos" => "IONOS",
        "linode" => "Linode",
        "ovh" => "OVHcloud",
        "porkbun" => "Porkbun",
        "powerdns" => "PowerDNS",
        "route53" => "Amazon Route 53",
        "scaleway" => "Scaleway",
        "vultr" => "Vultr",
        other => other,
    }
}

/// A sentence of the layers below as a page says it: with a capital letter and an end, and a provider by its own name.
fn sentence(words: &str, method: &str) -> String {
    let mut words = match words.strip_prefix(method) {
        Some(rest) if method != RFC2136 && rest.starts_with(' ') => {
            format!("{}{rest}", title(method)).replace(&format!(" {method} "), &format!(" {} ", title(method)))
        }
        _ => words.to_owned(),
    };
    // Names of hosts begin as they do.
    let named = words.split(' ').next().is_some_and(|first| first.contains(['.', '@', '"']));
    if let (false, Some(first)) = (named || words.starts_with(title(method)), words.chars().next()) {
        words.replace_range(..first.len_utf8(), &first.to_uppercase().to_string());
    }
    if !words.ends_with(['.', '!', '?']) {
        words.push('.');
    }
    words
}

#[cfg(test)]
mod tests;
