//! What one attempt to speak TLS with a domain's server came to, in the words of TLS-RPT (RFC 8460 4.3, 4.4).
//!
//! Whoever sends letters makes an [`Outcome`] for each session, and for each policy that kept it from one; whoever writes
//! reports counts them. Made of facts only: nothing here asks or stores anything.

use std::net::IpAddr;

use crate::base::Time;

/// One session with one server of a domain that letters go to, or none because a policy could not be kept to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub at: Time,
    /// The recipients' domain, which a report goes to: lower case, with A-labels, without the dot at the end.
    pub domain: String,
    pub policy: Policy,
    /// The server by its name in the MX record; `None` where it did not come to a server (a policy was not to be had).
    pub mx: Option<String>,
    /// The server's address.
    pub receiving: Option<IpAddr>,
    /// Ours, from which it was spoken to.
    pub sending: Option<IpAddr>,
    pub result: Result<(), Failure>,
}

/// What the session was to keep to. Where a domain has both kinds, DANE is the one that counts (RFC 8461 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub kind: PolicyKind,
    /// `policy-string`: the lines of an MTA-STS policy, or each TLSA record as in a zone file.
    pub strings: Vec<String>,
    /// `mx-host`: the patterns of an MTA-STS policy.
    pub mx: Vec<String>,
}

impl Policy {
    /// Nothing was asked of the session.
    pub fn none() -> Policy {
        Policy { kind: PolicyKind::NoPolicyFound, strings: Vec::new(), mx: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    Tlsa,
    Sts,
    NoPolicyFound,
}

impl PolicyKind {
    pub const ALL: [PolicyKind; 3] = [PolicyKind::Tlsa, PolicyKind::Sts, PolicyKind::NoPolicyFound];

    /// `policy-type`.
    pub fn word(self) -> &'static str {
        match self {
            PolicyKind::Tlsa => "tlsa",
            PolicyKind::Sts => "sts",
            PolicyKind::NoPolicyFound => "no-policy-found",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// `failure-reason-code`: more of it in words of ours.
    pub words: Option<String>,
}

/// RFC 8460 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    StartTlsNotSupported,
    CertificateHostMismatch,
    CertificateExpired,
    CertificateNotTrusted,
    ValidationFailure,
    TlsaInvalid,
    DnssecInvalid,
    DaneRequired,
    StsPolicyFetchError,
    StsPolicyInvalid,
    StsWebpkiInvalid,
}

impl FailureKind {
    pub const ALL: [FailureKind; 11] = [
        FailureKind::StartTlsNotSupported,
        FailureKind::CertificateHostMismatch,
        FailureKind::CertificateExpired,
        FailureKind::CertificateNotTrusted,
        FailureKind::ValidationFailure,
        FailureKind::TlsaInvalid,
        FailureKind::DnssecInvalid,
        FailureKind::DaneRequired,
        FailureKind::StsPolicyFetchError,
        FailureKind::StsPolicyInvalid,
        FailureKind::StsWebpkiInvalid,
    ];

    /// `result-type`.
    pub fn word(self) -> &'static str {
        match self {
            FailureKind::StartTlsNotSupported => "starttls-not-supported",
            FailureKind::CertificateHostMismatch => "certificate-host-mismatch",
            FailureKind::CertificateExpired => "certificate-expired",
            FailureKind::CertificateNotTrusted => "certificate-not-trusted",
            FailureKind::ValidationFailure => "validation-failure",
            FailureKind::TlsaInvalid => "tlsa-invalid",
            FailureKind::DnssecInvalid => "dnssec-invalid",
            FailureKind::DaneRequired => "dane-required",
            FailureKind::StsPolicyFetchError => "sts-policy-fetch-error",
            FailureKind::StsPolicyInvalid => "sts-policy-invalid",
            FailureKind::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }

    /// With the reason in words.
    pub fn because(self, words: impl Into<String>) -> Failure {
        Failure { kind: self, words: Some(words.into()) }
    }
}
