//! How a name is proven to be ours, and the places where the proof is shown.

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::trouble::Trouble;

/// The kinds of challenge (RFC 8555 8.3, 8.4; RFC 8737).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Method {
    #[serde(rename = "dns-01")]
    Dns,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
    #[serde(rename = "http-01")]
    Http,
}

impl Method {
    /// In the order in which they are tried: DNS needs no open port, and 443 is open anyway.
    pub const ALL: [Method; 3] = [Method::Dns, Method::TlsAlpn, Method::Http];

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Dns => "dns-01",
            Method::TlsAlpn => "tls-alpn-01",
            Method::Http => "http-01",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What has to be shown while the authority looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub method: Method,
    pub name: String,
    /// HTTP-01: the last part of the path. Letters, digits, `-`, `_` (RFC 8555 8.3).
    pub token: String,
    /// HTTP-01: what is answered there.
    pub text: String,
    /// TLS-ALPN-01: in the certificate.
    pub digest: [u8; 32],
    /// DNS-01: the TXT record at `_acme-challenge.<name>`.
    pub record: String,
}

/// Shows answers to challenges.
pub trait Stage: Send + Sync {
    /// The ways that are open for this name, the best first. Empty when there is none.
    fn methods(&self, name: &str) -> Vec<Method>;

    /// Resolves when the answer can be seen from outside, as far as we can tell.
    fn show(&self, answer: &Answer) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Takes it down again. Never fails: what cannot be taken down is logged.
    fn hide(&self, answer: &Answer) -> impl Future<Output = ()> + Send;
}

pub type Written<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Writes TXT records of a domain, for DNS-01. The back ends are in `net/dns`. Errors are sentences for the owner.
pub trait DnsWriter: Send + Sync {
    /// Whether it may write below this name.
    fn serves(&self, name: &str) -> bool;

    /// Adds a TXT record beside those that are there; resolves when the domain's own name servers give it out.
    fn set_txt<'a>(&'a self, name: &'a str, value: &'a str) -> Written<'a>;

    /// Removes this one record of ours; others of the same name stay.
    fn remove_txt<'a>(&'a self, name: &'a str, value: &'a str) -> Written<'a>;
}
