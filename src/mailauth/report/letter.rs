//! The letter that carries a report of ours: RFC 9990 3.5, RFC 8460 5.3.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::message::date::{self, Date};

use super::daily::Heading;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    Aggregate,
    Tls,
}

/// `None` only if memory cannot be had.
pub fn gzip(text: &str) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

/// All of it, its lines ended by CR LF. `packed` is what [`gzip`] made; `chance` makes a boundary that nothing within can look
/// like.
pub fn letter(carries: Carries, heading: &Heading, to: &str, packed: &[u8], now: Date, chance: [u64; 2]) -> Vec<u8> {
    let Heading { reporter, contact, hostname, domain, id, begin, end } = heading;
    let boundary = format!("={:016x}{:016x}=", chance[0], chance[1]);
    let (what, kind, end_of_name) = match carries {
        Carries::Aggregate => ("DMARC", "application/gzip", "xml.gz"),
        Carries::Tls => ("TLS", "application/tlsrpt+gzip", "json.gz"),
    };
    let name = format!("{reporter}!{domain}!{begin}!{end}.{end_of_name}");
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(&text.replace(['\r', '\n'], " "));
        out.push_str("\r\n");
    };
    line(&format!("From: \"Mail server {hostname}\" <{contact}>"));
    line(&format!("To: <{to}>"));
    line(&format!("Subject: Report Domain: {domain} Submitter: {reporter}"));
    line(&format!(" Report-ID: <{id}>"));
    line(&format!("Date: {}", date::rfc5322(now)));
    line(&format!("Message-ID: <{:016x}.{:016x}@{hostname}>", chance[1], chance[0]));
    line("Auto-Submitted: auto-generated");
    line("MIME-Version: 1.0");
    match carries {
        Carries::Aggregate => line("Content-Type: multipart/mixed;"),
        Carries::Tls => {
            line(&format!("TLS-Report-Domain: {domain}"));
            line(&format!("TLS-Report-Submitter: {reporter}"));
            line("Content-Type: multipart/report; report-type=\"tlsrpt\";");
        }
    }
    line(&format!(" boundary=\"{boundary}\""));
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: text/plain; charset=us-ascii");
    line("");
    line(&format!("This is a {what} report of {reporter} about {domain}. It is meant for programs."));
    line("");
    line(&format!("--{boundary}"));
    line(&format!("Content-Type: {kind}; name=\"{name}\""));
    line(&format!("Content-Disposition: attachment; filename=\"{name}\""));
    line("Content-Transfer-Encoding: base64");
    line("");
    for piece in STANDARD.encode(packed).as_bytes().chunks(76) {
        line(&String::from_utf8_lossy(piece));
    }
    line("");
    line(&format!("--{boundary}--"));
    out.into_bytes()
}
