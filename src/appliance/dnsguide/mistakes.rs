//! The usual mistakes with records, recognised by what they leave behind.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::judge::shown;
use crate::net::dns::{Data, Found};

/// Pieces of a text that are tried in every order.
const PIECES: usize = 4;

/// Whether a record does the same: the same value, or a text with the same tags.
pub fn same(there: &Data, want: &Data) -> bool {
    match (there, want) {
        (Data::Txt(there), Data::Txt(want)) => {
            there == want || (tags(want).is_some() && tags(there) == tags(want)) || squeezed(there) == squeezed(want)
        }
        (Data::Caa { flags, tag, value }, Data::Caa { flags: f, tag: t, value: v }) => {
            let bare = |text: &str| text.replace(' ', "");
            (flags, tag) == (f, t) && bare(value) == bare(v)
        }
        _ => there == want,
    }
}

/// `v=DKIM1; k=rsa; p=…` (RFC 6376 3.2) by tag, blanks aside. `None`: not of that form. Without `h=`, which only limits.
fn tags(text: &str) -> Option<BTreeMap<&str, String>> {
    if !text.contains(';') {
        return None;
    }
    let mut out = BTreeMap::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        out.insert(name.trim(), value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if out.get("v").is_some_and(|version| version == "DKIM1") {
        out.remove("h");
    }
    Some(out)
}

/// Several blanks are one.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What kind of text it is: `v=spf1`, `v=DMARC1`, …; empty for those of other people.
pub fn version(text: &str) -> String {
    let bare = text.trim_start_matches(['"', '\\', ' ']);
    let start: String = bare.chars().take(16).collect();
    if !start.to_ascii_lowercase().starts_with("v=") {
        return String::new();
    }
    start.split([';', ' ', '"', '\\']).next().unwrap_or_default().to_ascii_lowercase()
}

/// A text that was pasted as several records: the first of them is of the right kind, the others of none.
pub fn pieces(want: &Data, all: &[&Found]) -> Option<String> {
    let Data::Txt(want) = want else { return None };
    let texts: Vec<&str> = all
        .iter()
        .filter_map(|found| match &found.data {
            Data::Txt(text) => Some(text.as_str()),
            _ => None,
        })
        .filter(|text| !bare(text).is_empty() && bare(want).contains(&bare(text)))
        .collect();
    if !(2..=PIECES).contains(&texts.len()) || !joins(&texts, &bare(want)) {
        return None;
    }
    Some(format!(
        "the text was entered in {} pieces, each as a record of its own: enter it whole, in one record",
        texts.len()
    ))
}

/// Whether the pieces in some order are the whole.
fn joins(pieces: &[&str], whole: &str) -> bool {
    if pieces.is_empty() {
        return whole.is_empty();
    }
    (0..pieces.len()).any(|at| {
        let mut rest = pieces.to_vec();
        let piece = bare(rest.remove(at));
        whole.strip_prefix(piece.as_str()).is_some_and(|left| joins(&rest, left))
    })
}

/// Without blanks, quotation marks and backslashes.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\\')).collect()
}

/// What is wrong, for a record that is there but is not what it should be. `rivals` are those of the same purpose.
pub fn words(domain: &str, want: &Data, all: &[&Found], rivals: &[&Found]) -> String {
    if let Some(words) = pieces(want, all) {
        return words;
    }
    for found in rivals {
        if let Some(words) = one(domain, want, &found.data) {
            return words;
        }
    }
    let there = rivals.iter().map(|found| shown(&found.data)).collect::<Vec<_>>().join(", ");
    match want {
        Data::Mx { .. } => format!("mail is brought elsewhere: {there}"),
        Data::Txt(text) if text.starts_with("v=spf1") && rivals.len() > 1 => {
            format!("there are {} SPF records, and with more than one none counts: {there}", rivals.len())
        }
        _ => format!("there is: {there}"),
    }
}

fn one(domain: &str, want: &Data, there: &Data) -> Option<String> {
    match (there, want) {
        (Data::Txt(there), Data::Txt(want)) => {
            if bare(there) != bare(want) {
                return None;
            }
            Some(if there.contains(['"', '\\']) {
                "the quotation marks have become a part of the text: enter it without them".to_owned()
            } else {
                "a blank or a line break has got into the text: enter it in one piece".to_owned()
            })
        }
        (Data::Mx { host: there, .. }, Data::Mx { host: want, .. }) => {
            let start = there.strip_suffix(domain).and_then(|start| start.strip_suffix('.')).unwrap_or(there);
            if start.parse::<IpAddr>().is_ok() {
                return Some(format!("it points to an address ({start}); an MX record has to name a host: {want}"));
            }
            target(domain, want, there)
        }
        (Data::Cname(there), Data::Cname(want)) => target(domain, want, there),
        (Data::Srv { target: there, .. }, Data::Srv { target: want, .. }) if there != want => {
            target(domain, want, there)
        }
        (Data::A(v4), Data::A(_)) => proxy(IpAddr::V4(*v4)).map(proxied),
        (Data::Aaaa(v6), Data::Aaaa(_)) => proxy(IpAddr::V6(*v6)).map(proxied),
        _ => None,
    }
}

fn target(domain: &str, want: &str, there: &str) -> Option<String> {
    (there == format!("{want}.{domain}")).then(|| {
        format!("the domain stands twice in the value ({there}): enter {want}. with the dot at its end, or without the domain")
    })
}

pub fn proxied(who: &str) -> String {
    format!(
        "the address is that of {who}, which passes on web pages only: switch its proxy off for this name (\"DNS only\")"
    )
}

/// Whose address it is, if it is one of the large services that stand in front of web servers and pass no mail.
pub fn proxy(address: IpAddr) -> Option<&'static str> {
    // As published by them, November 2026.
    const CLOUDFLARE_4: [([u8; 4], u8); 15] = [
        ([173, 245, 48, 0], 20),
        ([103, 21, 244, 0], 22),
        ([103, 22, 200, 0], 22),
        ([103, 31, 4, 0], 22),
        ([141, 101, 64, 0], 18),
        ([108, 162, 192, 0], 18),
        ([190, 93, 240, 0], 20),
        ([188, 114, 96, 0], 20),
        ([197, 234, 240, 0], 22),
        ([198, 41, 128, 0], 17),
        ([162, 158, 0, 0], 15),
        ([104, 16, 0, 0], 13),
        ([104, 24, 0, 0], 14),
        ([172, 64, 0, 0], 13),
        ([131, 0, 72, 0], 22),
    ];
    const CLOUDFLARE_6: [([u16; 2], u8); 7] = [
        ([0x2400, 0xcb00], 32),
        ([0x2606, 0x4700], 32),
        ([0x2803, 0xf800], 32),
        ([0x2405, 0xb500], 32),
        ([0x2405, 0x8100], 32),
        ([0x2a06, 0x98c0], 29),
        ([0x2c0f, 0xf248], 32),
    ];
    const FASTLY_4: [([u8; 4], u8); 2] = [([151, 101, 0, 0], 16), ([199, 232, 0, 0], 16)];
    match address {
        IpAddr::V4(v4) => {
            let bits = u32::from(v4);
            let within = |(net, length): &([u8; 4], u8)| {
                let net = u32::from(Ipv4Addr::from(*net));
                (bits ^ net) >> (32 - length) == 0
            };
            if CLOUDFLARE_4.iter().any(within) {
                Some("Cloudflare")
            } else {
                FASTLY_4.iter().any(within).then_some("Fastly")
            }
        }
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            let within = |([a, b], length): &([u16; 2], u8)| {
                let net = u128::from(Ipv6Addr::new(*a, *b, 0, 0, 0, 0, 0, 0));
                (bits ^ net) >> (128 - length) == 0
            };
            CLOUDFLARE_6.iter().any(within).then_some("Cloudflare")
        }
    }
}
