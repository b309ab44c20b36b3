//! Macros of a record, expanded (RFC 7208 7).

use std::net::IpAddr;

use super::record::{Piece, Spec};

/// What macros stand for, but for the name of the peer, which costs look-ups.
pub(super) struct Meaning<'a> {
    pub sender: &'a str,
    pub helo: &'a str,
    pub domain: &'a str,
    pub peer: IpAddr,
    /// `%{p}`
    pub peer_name: &'a str,
}

impl Spec {
    /// Whether the name of the peer is asked for.
    pub fn wants_peer_name(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro { letter: 'p', .. }))
    }

    /// The name, without a dot at the end, shortened from the left where it is too long for one (RFC 7208 7.3).
    pub fn expand(&self, meaning: &Meaning<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Macro { letter, escaped, keep, reverse, delimiters } => {
                    let value = meaning.of(*letter);
                    let is_delimiter = |c: char| if delimiters.is_empty() { c == '.' } else { delimiters.contains(c) };
                    let mut parts: Vec<&str> = value.split(is_delimiter).collect();
                    if *reverse {
                        parts.reverse();
                    }
                    if *keep > 0 && *keep < parts.len() {
                        parts.drain(..parts.len() - keep);
                    }
                    let value = parts.join(".");
                    match escaped {
                        true => escape(&value, &mut out),
                        false => out.push_str(&value),
                    }
                }
            }
        }
        let mut name = out.strip_suffix('.').unwrap_or(&out);
        while name.len() > 253 {
            match name.split_once('.') {
                Some((_, shorter)) => name = shorter,
                None => break,
            }
        }
        name.to_owned()
    }
}

impl Meaning<'_> {
    fn of(&self, letter: char) -> String {
        let (local, host) = self.sender.rsplit_once('@').unwrap_or(("postmaster", self.sender));
        match letter {
            's' => self.sender.to_owned(),
            'l' => local.to_owned(),
            'o' => host.to_owned(),
            'd' => self.domain.to_owned(),
            'i' => match self.peer {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let nibbles = address.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
                    nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
                }
            },
            'p' => self.peer_name.to_owned(),
            'v' => if self.peer.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => self.helo.to_owned(),
            _ => String::new(),
        }
    }
}

/// RFC 3986 2.3: all but the unreserved.
fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}
