//! The records as a zone file (RFC 1035 5), as BIND and the importers of providers read it.

use std::fmt::Write;

use super::{Record, Refused, check_data, check_name, is_in, relative};
use crate::net::dns::Data;

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `mta-sts.example.org.`: right wherever they are pasted.
    Full,
    /// `mta-sts`, and `@` for the domain itself, for what adds the domain by itself.
    Relative,
}

/// What makes a file of records a whole zone, which a name server loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The domain's name servers; a zone has at least one.
    pub servers: Vec<String>,
    /// Grows with each change (RFC 1912 2.2).
    pub serial: u32,
}

/// Bytes of one string within a TXT record (RFC 1035 3.3).
const STRING: usize = 255;
/// How long others may remember that a record is not there: short, since one looks again and again while setting up.
const NEGATIVE_TTL: u32 = 300;

/// The file for `domain`; without `head` only the records, for an importer. Records that are not to be published (G2), and
/// those that lie in other zones, stand in it as comments. Errors: a name or value that cannot stand in a file (G1).
pub fn zone_file(domain: &str, records: &[Record], names: Names, head: Option<&Head>) -> Result<String, Refused> {
    check_name(domain)?;
    let mut out = format!("; Records for mail of {domain}, written by homepost.\n$ORIGIN {domain}.\n$TTL 3600\n");
    let name = |full: &str| match names {
        Names::Relative => relative(full, domain).unwrap_or_else(|| format!("{full}.")),
        Names::Full => format!("{full}."),
    };
    if let Some(head) = head {
        let first = head.servers.first().ok_or_else(|| Refused("a zone has at least one name server".to_owned()))?;
        head.servers.iter().try_for_each(|server| check_name(server))?;
        out.push_str(
            "; SOA and NS are for a name server of your own; leave them out where your provider has its own.\n",
        );
        let _ = writeln!(
            out,
            "{} 3600 IN SOA {first}. postmaster.{domain}. {} 7200 900 1209600 {NEGATIVE_TTL}",
            name(domain),
            head.serial
        );
        for server in &head.servers {
            let _ = writeln!(out, "{} 3600 IN NS {server}.", name(domain));
        }
    }
    for record in records {
        check_name(&record.name)?;
        let Some(data) = &record.data else {
            let reason = record.withheld.as_deref().unwrap_or("not known yet");
            let _ = writeln!(out, "; {} {}: {}", name(&record.name), record.kind, one_line(reason));
            continue;
        };
        check_data(data)?;
        let mark = match &record.withheld {
            Some(reason) => {
                let _ = writeln!(out, "; not to be published: {}", one_line(reason));
                "; "
            }
            None if !is_in(&record.name, domain) => {
                let _ = writeln!(out, "; belongs into another zone");
                "; "
            }
            None => "",
        };
        let _ = writeln!(out, "{mark}{} {} IN {} {}", name(&record.name), record.ttl, record.kind, rdata(data));
    }
    Ok(out)
}

/// The right-hand side, on one line.
fn rdata(data: &Data) -> String {
    match data {
        Data::Txt(text) => split_text(text).iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" "),
        Data::Caa { flags, tag, value } => format!("{flags} {tag} {}", quoted(value.as_bytes())),
        Data::Mx { priority, .. } | Data::Srv { priority, .. } => format!("{priority} {}", data.value()),
        other => other.value(),
    }
}

/// A text in the strings of at most 255 bytes that a record is made of; at least one, which may be empty.
pub fn split_text(text: &str) -> Vec<&[u8]> {
    if text.is_empty() { vec![b""] } else { text.as_bytes().chunks(STRING).collect() }
}

/// RFC 1035 5.1: a quoted string, with what has a meaning in it, or is not ASCII, escaped.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\{byte:03}");
            }
        }
    }
    out.push('"');
    out
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
