//! A letter's envelope, as whoever took it has checked it.

use std::net::IpAddr;

use crate::base::{AccountId, Time};
use crate::directory::LocalRecipient;
use crate::queue::Notify;
use crate::queue::schedule::By;

/// Where a letter comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub peer: IpAddr,
    /// What the peer called itself.
    pub helo: String,
    /// RFC 3848, RFC 6531: as in `ESMTPS`.
    pub with: &'static str,
    /// As in `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    pub tls: Option<String>,
    /// The account that has logged in.
    pub account: Option<AccountId>,
    /// It is on a block list, so what it brings is put aside.
    pub listed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub origin: Origin,
    /// The reverse path; `None` is the null path.
    pub from: Option<String>,
    pub recipients: Vec<Recipient>,
    pub utf8: bool,
    pub eight_bit: bool,
    /// RFC 3461 4.3: true is FULL, false is HDRS.
    pub ret_full: Option<bool>,
    /// RFC 3461 4.4, decoded.
    pub envid: Option<String>,
    /// RFC 8689: it leaves only for servers that promise to keep it under TLS.
    pub require_tls: bool,
    /// RFC 4865: nobody gets it before.
    pub release: Option<Time>,
    /// RFC 2852.
    pub by: Option<By>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// As it was given.
    pub address: String,
    pub target: Target,
    pub dsn: Dsn,
}

/// What RCPT asked about delivery notices (RFC 3461).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dsn {
    pub notify: Option<Notify>,
    /// Kind and address, decoded.
    pub orcpt: Option<(String, String)>,
}

/// Where a recipient's copy goes: accounts here, addresses elsewhere, or both (an alias).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub local: Vec<LocalRecipient>,
    pub outside: Vec<String>,
}
