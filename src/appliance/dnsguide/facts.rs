//! What the records are made from.

use std::net::IpAddr;

use super::policy::Policy;
use crate::net::tls::Digests;

/// Everything that decides about the records of one domain. Names are in lower case, in A-labels, without a dot at the end.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The name the server goes by.
    pub host: String,
    pub domain: String,
    /// Whether the host's own records (addresses, SPF, TLSA) belong into this list: they do in the domain that the host
    /// lies in, and nowhere twice.
    pub host_here: bool,
    pub keys: Vec<Key>,
    /// Each that programs look for, with its port if it is open.
    pub services: Vec<(Service, Option<u16>)>,
    /// The addresses under which the world reaches the host; empty while they are not known.
    pub addresses: Vec<IpAddr>,
    /// What the server shows on port 25 now.
    pub certificate: Option<Certificate>,
    /// Whether the zone is signed with DNSSEC; `None`: nobody has looked.
    pub signed: Option<bool>,
    pub outbound: Outbound,
    /// What stands in SPF for relays that take letters for some domains.
    pub relays: Vec<String>,
    /// With those who issue the certificates, or rehearse it, once there are such.
    pub authorities: Vec<Account>,
    /// Base64 of the SHA-256 of the document that mail programs fetch (draft-ietf-mailmaint-pacc-04); `None`: it is not
    /// served.
    pub pacc: Option<String>,
    pub policy: Policy,
    pub dmarc: Dmarc,
}

/// The public half of a DKIM key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub selector: String,
    /// `ed25519` or `rsa`.
    pub algorithm: String,
    /// Base64.
    pub public: String,
    /// Another one signs in its place now.
    pub leaving: bool,
}

/// What a mail program may look for by an SRV record (RFC 6186, RFC 8314 5.1, RFC 8620 2.2, RFC 5804 1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Imaps,
    Imap,
    Pop3s,
    Pop3,
    Submissions,
    Submission,
    Jmap,
    Sieve,
}

impl Service {
    /// In the order in which the records are listed.
    pub const ALL: [Service; 8] = [
        Service::Imaps,
        Service::Imap,
        Service::Pop3s,
        Service::Pop3,
        Service::Submissions,
        Service::Submission,
        Service::Jmap,
        Service::Sieve,
    ];

    /// As in the record's name, without the underscore.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Imaps => "imaps",
            Service::Imap => "imap",
            Service::Pop3s => "pop3s",
            Service::Pop3 => "pop3",
            Service::Submissions => "submissions",
            Service::Submission => "submission",
            Service::Jmap => "jmap",
            Service::Sieve => "sieve",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Service::Imaps => "reading mail (IMAP, encrypted)",
            Service::Imap => "reading mail by the older way (IMAP, STARTTLS)",
            Service::Pop3s => "fetching mail (POP3, encrypted)",
            Service::Pop3 => "fetching mail by the older way (POP3, STARTTLS)",
            Service::Submissions => "sending mail (submission, encrypted)",
            Service::Submission => "sending mail by the older way (submission, STARTTLS)",
            Service::Jmap => "reading and sending mail (JMAP)",
            Service::Sieve => "changing filter rules (ManageSieve)",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub own: Digests,
    /// Of whoever issued it; a certificate that vouches for itself is its own issuer.
    pub issuer: Digests,
    /// Whether the key stays when the certificate is renewed.
    pub key_kept: bool,
    /// SHA-256 of the key that comes after this one, if it is made already.
    pub next_key: Option<Vec<u8>>,
}

/// By which way letters leave the house, as far as a relay does not take them for their domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outbound {
    Direct,
    /// Through somebody else's server, who says what stands for it in SPF: `include:_spf.provider.example` or
    /// `ip4:192.0.2.7`.
    Relay(String),
    /// Through somebody else's server, and nobody knows what stands for it.
    UnknownRelay,
}

/// The account with a certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As it stands in CAA records (RFC 8659 4.2), as in `letsencrypt.org`.
    pub authority: String,
    /// RFC 8657 3.
    pub uri: String,
}

/// What others are asked to do with letters that only claim to be from the domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dmarc {
    /// Report them. Where every domain begins.
    #[default]
    None,
    /// Put them into the junk folder.
    Quarantine,
    /// Refuse them.
    Reject,
}

impl Dmarc {
    /// As in `p=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Dmarc::None => "none",
            Dmarc::Quarantine => "quarantine",
            Dmarc::Reject => "reject",
        }
    }
}
