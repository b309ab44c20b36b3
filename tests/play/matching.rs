//! Text in braces: what was taken from the server's lines, and how a line is held against a pattern.

use std::collections::HashMap;

use base64::Engine;

use super::script::unescape;

pub type Taken = HashMap<String, Vec<u8>>;

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Name(String),
    /// `{#}`
    Count,
}

/// Splits at `{name}`, `{b64:…}` and `{#}`; every other brace is itself.
fn parts(text: &[u8]) -> Result<Vec<Part>, String> {
    let mut out = Vec::new();
    let mut plain = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'{'
            && let Some(length) = text[at..].iter().position(|b| *b == b'}')
        {
            let inside = &text[at + 1..at + length];
            let special = match inside {
                b"#" => Some(Part::Count),
                _ if inside.starts_with(b"b64:") => {
                    let inside = std::str::from_utf8(&inside[4..]).map_err(|error| error.to_string())?;
                    let code = base64::engine::general_purpose::STANDARD.encode(unescape(inside)?);
                    Some(Part::Bytes(code.into_bytes()))
                }
                _ if is_name(inside) => Some(Part::Name(String::from_utf8_lossy(inside).into_owned())),
                _ => None,
            };
            if let Some(special) = special {
                if !plain.is_empty() {
                    out.push(Part::Bytes(std::mem::take(&mut plain)));
                }
                out.push(special);
                at += length + 1;
                continue;
            }
        }
        plain.push(text[at]);
        at += 1;
    }
    if !plain.is_empty() {
        out.push(Part::Bytes(plain));
    }
    Ok(out)
}

fn is_name(inside: &[u8]) -> bool {
    inside.first().is_some_and(u8::is_ascii_alphabetic)
        && inside.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// What the client says. `count` is what `{#}` stands for.
pub fn fill(text: &[u8], taken: &Taken, count: Option<usize>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for part in parts(text)? {
        match part {
            Part::Bytes(bytes) => out.extend(bytes),
            Part::Count => {
                let count = count.ok_or("`{#}` without `M:` lines after it")?;
                out.extend(count.to_string().into_bytes());
            }
            Part::Name(name) => {
                out.extend(taken.get(&name).ok_or_else(|| format!("nothing was taken as {{{name}}}"))?);
            }
        }
    }
    Ok(out)
}

/// Holds a line (without CRLF) against a pattern; takes what the pattern takes only if all of it fits.
pub fn fits(pattern: &str, line: &[u8], taken: &mut Taken) -> Result<bool, String> {
    let (pattern, open) = match pattern.strip_suffix('*') {
        Some(start) => (start, true),
        None => (pattern, false),
    };
    let parts = parts(pattern.as_bytes())?;
    let mut tried = taken.clone();
    if fits_from(&parts, line, open, &mut tried) {
        *taken = tried;
        return Ok(true);
    }
    Ok(false)
}

fn fits_from(parts: &[Part], line: &[u8], open: bool, taken: &mut Taken) -> bool {
    let Some((first, rest)) = parts.split_first() else { return open || line.is_empty() };
    match first {
        Part::Bytes(bytes) => line.strip_prefix(&bytes[..]).is_some_and(|line| fits_from(rest, line, open, taken)),
        Part::Count => false,
        Part::Name(name) => {
            if let Some(value) = taken.get(name).cloned() {
                return line.strip_prefix(&value[..]).is_some_and(|line| fits_from(rest, line, open, taken));
            }
            let most = line.iter().position(|b| b" )]>,;\"\r\n".contains(b)).unwrap_or(line.len());
            // The longest that lets the rest fit.
            for length in (1..=most).rev() {
                let mut tried = taken.clone();
                tried.insert(name.clone(), line[..length].to_vec());
                if fits_from(rest, &line[length..], open, &mut tried) {
                    *taken = tried;
                    return true;
                }
            }
            false
        }
    }
}
