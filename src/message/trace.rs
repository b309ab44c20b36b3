//! The trace a letter gets on its way in: Received and Return-Path (RFC 5321 4.4).

use super::date::Date;

/// What a Received field tells. Everything from the peer is cleaned here: no line ends, no controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// What the peer said in EHLO; `None` when there was no session (a letter of our own).
    pub helo: Option<&'a str>,
    /// Its address, as `192.0.2.1` or `2001:db8::1`, and its name if the reverse look-up was confirmed.
    pub peer: Option<std::net::IpAddr>,
    pub peer_name: Option<&'a str>,
    /// Our host name.
    pub by: &'a str,
    /// RFC 3848 and 6531: `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPSA`, `UTF8SMTPS`, `LMTP`.
    pub with: &'a str,
    /// As in `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    pub tls: Option<&'a str>,
    /// The session's or transaction's id.
    pub id: &'a str,
    /// The recipient, when there is just one (RFC 5321 7.6: never several).
    pub recipient: Option<&'a str>,
    pub date: Date,
}

impl Received<'_> {
    /// `Received: …` folded, with its CRLF.
    pub fn field(&self) -> Vec<u8> {
        todo!()
    }
}

/// `Return-Path: <a@b>` with its CRLF; an empty path is `<>`.
pub fn return_path(_path: &str) -> Vec<u8> {
    todo!()
}
