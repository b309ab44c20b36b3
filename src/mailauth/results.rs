//! What was found out, written on top of a letter, and what others wrote in our name, taken away.

use crate::message::header;

use super::names;
use super::{Evidence, Handed, Outcome};

/// RFC 8601: with its CRLF. `hostname` is who says it, the authserv-id.
pub fn authentication_results(evidence: &Evidence, hostname: &str) -> Vec<u8> {
    let mut parts = Vec::new();
    let host = &evidence.host;
    let name = host.name.as_ref().map(|name| format!(" ({})", comment(name))).unwrap_or_default();
    parts.push(format!("iprev={}{name} policy.iprev={}", host.outcome.word(), value(&host.address.to_string())));
    for (sender, property) in [(Some(&evidence.helo), "helo"), (evidence.mail.as_ref(), "mailfrom")] {
        if let Some(sender) = sender {
            parts.push(format!("spf={} smtp.{property}={}", sender.outcome.word(), value(&sender.domain)));
        }
    }
    if evidence.dkim.is_empty() {
        parts.push("dkim=none".to_owned());
    }
    for signed in &evidence.dkim {
        let mut part = format!("dkim={}{}", signed.outcome.word(), reason(signed.reason));
        for (property, text) in
            [("d", signed.domain.as_str()), ("s", &signed.selector), ("a", signed.algorithm), ("b", &signed.prefix)]
        {
            if !text.is_empty() {
                part.push_str(&format!(" header.{property}={}", value(text)));
            }
        }
        parts.push(part);
    }
    let arc = &evidence.arc;
    if arc.outcome != Outcome::None {
        let seals = arc.seals.first().map(|seal| format!(" (sealed by {})", comment(&seal.domain)));
        parts.push(format!("arc={}{}{}", arc.outcome.word(), reason(arc.reason), seals.unwrap_or_default()));
    }
    let dmarc = &evidence.dmarc;
    let policy = match &dmarc.record {
        Some((place, record)) => {
            format!(" (p={} of {}; asked for: {})", record.p.word(), comment(place), dmarc.policy.word())
        }
        None => String::new(),
    };
    let author = match dmarc.author.as_str() {
        "" => String::new(),
        author => format!(" header.from={}", value(author)),
    };
    parts.push(format!("dmarc={}{}{policy}{author}", dmarc.outcome.word(), reason(dmarc.reason)));
    format!("Authentication-Results: {};\r\n\t{}\r\n", value(hostname), parts.join(";\r\n\t")).into_bytes()
}

/// RFC 7208 9.1: of the reverse path, or of EHLO where there is none. With its CRLF.
pub fn received_spf(evidence: &Evidence, handed: Handed<'_>, hostname: &str) -> Vec<u8> {
    let (sender, identity) = match &evidence.mail {
        Some(mail) => (mail, "mailfrom"),
        None => (&evidence.helo, "helo"),
    };
    let (domain, peer, hostname) = (comment(&sender.domain), handed.peer.to_canonical(), comment(hostname));
    let words = match sender.outcome {
        Outcome::Pass => format!("{domain} says that {peer} sends its mail"),
        Outcome::Fail => format!("{domain} says that {peer} does not send its mail"),
        Outcome::SoftFail => format!("{domain} says that {peer} hardly sends its mail"),
        Outcome::Neutral => format!("{domain} says nothing of {peer}"),
        Outcome::TempError => format!("{domain} could not be asked"),
        Outcome::PermError => format!("{domain} has no record that can be read"),
        Outcome::None | Outcome::Policy => format!("{domain} does not say who sends its mail"),
    };
    format!(
        "Received-SPF: {} ({hostname}: {words})\r\n\tclient-ip={}; envelope-from={};\r\n\thelo={}; identity={identity}; \
         receiver={}\r\n",
        sender.outcome.word(),
        value(&peer.to_string()),
        quoted(handed.from.unwrap_or_default()),
        value(handed.helo),
        value(&hostname),
    )
    .into_bytes()
}

fn reason(why: Option<&'static str>) -> String {
    why.map(|why| format!(" reason={}", quoted(why))).unwrap_or_default()
}

/// A token as it is, all else within quotes (RFC 8601 2.2, RFC 2045 5.1; H4).
fn value(text: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-._^`{|}~".contains(c);
    match !text.is_empty() && text.len() <= 255 && text.chars().all(is_token) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(255) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Within a comment.
fn comment(text: &str) -> String {
    let plain = |c: char| if c.is_control() || "()\\".contains(c) { '?' } else { c };
    text.chars().take(255).map(plain).collect()
}

/// A header section without fields that say they are ours (RFC 8601 5). `None`: there are none, it stays as it is.
pub fn without_forged(head: &[u8], hostname: &str) -> Option<Vec<u8>> {
    let forged: Vec<&[u8]> = header::fields(head)
        .filter(|field| {
            (field.is("Authentication-Results") && is_forged(field.raw_value, hostname))
                || (field.is("Received-SPF") && names_us(field.raw_value, hostname))
        })
        .map(|field| field.raw)
        .collect();
    if forged.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(head.len());
    let mut rest = head;
    for raw in forged {
        // Each is a piece of what is left, in its order.
        let at = raw.as_ptr() as usize - rest.as_ptr() as usize;
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + raw.len()..];
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// Whether the value of an Authentication-Results field claims to be from `hostname`. One whose author cannot be told is
/// taken for it: who reads it might be cleverer (H3).
pub fn is_forged(value: &[u8], hostname: &str) -> bool {
    let Some(id) = authserv_id(value) else { return true };
    let id = String::from_utf8_lossy(&id).into_owned();
    let id = names::host(&id).unwrap_or(id);
    id.eq_ignore_ascii_case(hostname)
}

/// Whether our name stands anywhere in a field, however it is written: as who says it, or in a comment (RFC 7208 9.1).
fn names_us(value: &[u8], hostname: &str) -> bool {
    let text: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\\' | b'\r' | b'\n')).collect();
    String::from_utf8_lossy(&text).to_ascii_lowercase().contains(&hostname.to_ascii_lowercase())
}

/// RFC 8601 2.2: `[CFWS] authserv-id`, a token or a quoted string; behind it CFWS, a version, or the results.
fn authserv_id(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = skip_cfws(value)?;
    let mut id = Vec::new();
    match rest.first()? {
        b'"' => {
            rest = &rest[1..];
            loop {
                let (first, after) = rest.split_first()?;
                rest = after;
                match first {
                    b'"' => break,
                    b'\\' => {
                        let (escaped, after) = rest.split_first()?;
                        id.push(*escaped);
                        rest = after;
                    }
                    b'\r' | b'\n' => {}
                    other => id.push(*other),
                }
            }
        }
        _ => {
            let length = rest
                .iter()
                .position(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b'"'))
                .unwrap_or(rest.len());
            id.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
            // What else somebody may take for white space ends the name for them, and not here.
            if String::from_utf8_lossy(&id).chars().any(|c| c.is_whitespace() || c.is_control()) {
                return None;
            }
        }
    }
    // Nothing but a version may stand between the name and what it says.
    let rest = skip_cfws(rest)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    match skip_cfws(&rest[digits..])?.first() {
        None | Some(b';') if !id.is_empty() => Some(id),
        _ => None,
    }
}

/// White space, folds and comments, which may lie within each other (RFC 5322 3.2.2). `None`: a comment without an end.
fn skip_cfws(value: &[u8]) -> Option<&[u8]> {
    let mut rest = value;
    let mut depth = 0u32;
    while let Some((first, after)) = rest.split_first() {
        match (first, depth) {
            (b'(', _) => depth += 1,
            (b')', 1..) => depth -= 1,
            (b'\\', 1..) => {
                rest = after.get(1..)?;
                continue;
            }
            (b' ' | b'\t' | b'\r' | b'\n' | 0, 0) => {}
            (_, 0) => return Some(rest),
            _ => {}
        }
        rest = after;
    }
    (depth == 0).then_some(rest)
}

/// Whether results (of ARC-Authentication-Results, too) have `dmarc=pass`, and no other word on DMARC.
pub(super) fn says_dmarc_pass(value: &[u8]) -> bool {
    let mut results = vec![Vec::new()];
    let mut rest = value;
    let mut in_quotes = false;
    while let Some((first, after)) = rest.split_first() {
        if !in_quotes && *first == b'(' {
            match skip_cfws(rest) {
                Some(behind) => rest = behind,
                None => return false,
            }
            continue;
        }
        match first {
            b'"' => in_quotes = !in_quotes,
            b'\\' if in_quotes => rest = after,
            b';' if !in_quotes => results.push(Vec::new()),
            other if !in_quotes => {
                if let Some(result) = results.last_mut() {
                    result.push(*other);
                }
            }
            _ => {}
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    let said = results.iter().filter_map(|result| {
        let text = String::from_utf8_lossy(result).to_ascii_lowercase();
        let (method, rest) = text.split_once('=')?;
        let method = method.split('/').next().unwrap_or_default().trim();
        (method == "dmarc").then(|| rest.split_whitespace().next() == Some("pass"))
    });
    let said: Vec<bool> = said.collect();
    !said.is_empty() && said.into_iter().all(|pass| pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "mail.example.test";

    #[test]
    fn fields_in_our_name_are_found_through_comments_folds_and_quotes() {
        for forged in [
            " mail.example.test; dkim=pass",
            " MAIL.Example.TEST; none",
            " mail.example.test",
            " mail.example.test 1; spf=pass",
            "\r\n\tmail.example.test;\r\n\tdkim=pass",
            " (a comment) mail.example.test (another) ; dkim=pass",
            " (a (nested \\) one) here)\r\n (and more) mail.example.test;dkim=pass",
            " \"mail.example.test\"; dkim=pass",
            " \"mail.ex\\ample.test\"; dkim=pass",
            " mail.example.test.; dkim=pass",
            " mail.example.test\u{c}1; dkim=pass",
            " mail.example.test\u{a0}; dkim=pass",
            "mail.example.test(x)1(y);dkim=pass",
            // Nobody can tell whose these are.
            " (never ends mail.example.test; dkim=pass",
            " \"mail.example.test; dkim=pass",
            " other.test mail.example.test; dkim=pass",
            " ; dkim=pass",
            "",
        ] {
            assert!(is_forged(forged.as_bytes(), OURS), "{forged:?}");
        }
        for others in [
            " other.test; dkim=pass header.d=mail.example.test",
            " \"mail.exa\r\n mple.test\"; x",
            " x.mail.example.test; dkim=pass",
            " (mail.example.test) other.test; dkim=pass",
            " other.test 1; dkim=pass (mail.example.test; dkim=pass)",
        ] {
            assert!(!is_forged(others.as_bytes(), OURS), "{others:?}");
        }
    }

    #[test]
    fn only_what_is_forged_goes() {
        let head =
            b"Subject: x\r\nAuthentication-Results: mail.example.test;\r\n\tdkim=pass\r\nauthentication-results : \
            (c) mail.example.test; none\r\nAuthentication-Results: other.test; none\r\nTo: y\r\n\r\n";
        let left = without_forged(head, OURS).unwrap();
        assert_eq!(
            String::from_utf8(left).unwrap(),
            "Subject: x\r\nAuthentication-Results: other.test; none\r\nTo: y\r\n\r\n"
        );
        assert_eq!(without_forged(b"Subject: mail.example.test\r\n\r\n", OURS), None);
        let spf =
            b"Received-SPF: pass (other.test: x) receiver=other.test\r\nReceived-SPF: pass (MAIL.exam\r\n\tx)\r\n\
            Received-SPF: pass (x)\r\n\treceiver=\"mail.ex\\ample.test\"\r\n\r\n";
        let left = String::from_utf8(without_forged(spf, OURS).unwrap()).unwrap();
        assert!(left.matches("Received-SPF").count() == 2 && !left.contains("receiver=\""), "{left}");
    }

    #[test]
    fn what_another_server_says_of_dmarc() {
        for yes in [
            "i=1; x.test; dmarc=pass header.from=a.test",
            "i=1; x.test; spf=fail; DMARC = PASS (p=none)",
            "x.test;\r\n dmarc/1 (c)=(d)\r\n pass",
        ] {
            assert!(says_dmarc_pass(yes.as_bytes()), "{yes}");
        }
        for no in [
            "i=1; x.test; dmarc=fail",
            "i=1; x.test; spf=pass reason=\"; dmarc=pass\"",
            "i=1; x.test; spf=pass (; dmarc=pass ;)",
            "i=1; x.test; dmarc=passed",
            "i=1; x.test; dmarc=pass; dmarc=fail",
            "i=1; x.test; (dmarc=pass",
            "i=1; x.test; dkim=pass header.dmarc=pass",
        ] {
            assert!(!says_dmarc_pass(no.as_bytes()), "{no}");
        }
    }
}
