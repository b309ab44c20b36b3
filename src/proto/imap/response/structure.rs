//! BODY and BODYSTRUCTURE (RFC 9051 7.5.2).

use super::envelope::envelope;
use super::text::{nstring, number, put, string};
use crate::message::{Content, Disposition, Param, Part};

/// `extended`: with extension data, as BODYSTRUCTURE has it. Parts nest as deep as `message` lets them.
pub(in crate::proto::imap) fn structure(out: &mut Vec<u8>, part: &Part<'_>, extended: bool) {
    out.push(b'(');
    match &part.content {
        Content::Multipart(children) => multipart(out, part, children, extended),
        _ => single(out, part, extended),
    }
    out.push(b')');
}

fn multipart(out: &mut Vec<u8>, part: &Part<'_>, children: &[Part<'_>], extended: bool) {
    for child in children {
        structure(out, child, extended);
    }
    out.push(b' ');
    string(out, &part.subtype);
    if extended {
        out.push(b' ');
        params(out, &part.params);
        tail(out, part);
    }
}

fn single(out: &mut Vec<u8>, part: &Part<'_>, extended: bool) {
    string(out, &part.kind);
    out.push(b' ');
    string(out, &part.subtype);
    out.push(b' ');
    params(out, &part.params);
    out.push(b' ');
    nstring(out, part.id.as_deref());
    out.push(b' ');
    nstring(out, part.description.as_deref());
    out.push(b' ');
    string(out, part.encoding());
    out.push(b' ');
    number(out, part.octets());
    if let Content::Message(inner) = &part.content {
        out.push(b' ');
        envelope(out, &inner.0);
        out.push(b' ');
        structure(out, &inner.1, extended);
        out.push(b' ');
        number(out, part.lines);
    } else if part.is_kind("TEXT") {
        out.push(b' ');
        number(out, part.lines);
    }
    if extended {
        out.push(b' ');
        nstring(out, part.md5.as_deref());
        tail(out, part);
    }
}

/// Disposition, language, location: the end of the extension data of every part.
fn tail(out: &mut Vec<u8>, part: &Part<'_>) {
    out.push(b' ');
    disposition(out, part.disposition.as_ref());
    out.push(b' ');
    match part.language.as_slice() {
        [] => put(out, "NIL"),
        [one] => string(out, one),
        several => {
            out.push(b'(');
            for (n, language) in several.iter().enumerate() {
                if n > 0 {
                    out.push(b' ');
                }
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, part.location.as_deref());
}

fn disposition(out: &mut Vec<u8>, disposition: Option<&Disposition<'_>>) {
    let Some(disposition) = disposition else { return put(out, "NIL") };
    out.push(b'(');
    string(out, &disposition.kind);
    out.push(b' ');
    params(out, &disposition.params);
    out.push(b')');
}

fn params(out: &mut Vec<u8>, params: &[Param<'_>]) {
    if params.is_empty() {
        return put(out, "NIL");
    }
    out.push(b'(');
    for (n, param) in params.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        string(out, &param.name);
        out.push(b' ');
        string(out, &param.value);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(kind: &'static str, subtype: &'static str, octets: u64, lines: u64) -> Part<'static> {
        Part {
            start: 0,
            body_start: 0,
            end: octets,
            lines,
            kind: kind.as_bytes().into(),
            subtype: subtype.as_bytes().into(),
            params: vec![Param { name: b"CHARSET"[..].into(), value: b"US-ASCII"[..].into() }],
            id: None,
            description: None,
            own_encoding: None,
            md5: None,
            disposition: None,
            language: Vec::new(),
            location: None,
            content: Content::Leaf,
        }
    }

    fn written(part: &Part<'_>, extended: bool) -> String {
        let mut out = Vec::new();
        structure(&mut out, part, extended);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn rfc_9051_7_5_2_examples() {
        let text = leaf("TEXT", "PLAIN", 2279, 48);
        assert_eq!(written(&text, false), "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 2279 48)");
        let mut other = leaf("TEXT", "PLAIN", 1152, 23);
        other.disposition = Some(Disposition { kind: b"attachment"[..].into(), params: Vec::new() });
        other.language = vec![b"de"[..].into(), b"en"[..].into()];
        let mixed = Part {
            content: Content::Multipart(vec![text, other]),
            subtype: b"MIXED"[..].into(),
            ..leaf("MULTIPART", "", 0, 0)
        };
        assert_eq!(
            written(&mixed, true),
            "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 2279 48 NIL NIL NIL NIL)\
             (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1152 23 NIL (\"attachment\" NIL) (\"de\" \"en\") NIL) \
             \"MIXED\" (\"CHARSET\" \"US-ASCII\") NIL NIL NIL)"
        );
    }

    #[test]
    fn a_message_within_has_its_envelope_and_body() {
        let inner = Box::new((Default::default(), leaf("IMAGE", "PNG", 5, 0)));
        let outer = Part { content: Content::Message(inner), params: Vec::new(), ..leaf("MESSAGE", "RFC822", 90, 4) };
        assert_eq!(
            written(&outer, false),
            "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 90 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"IMAGE\" \"PNG\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5) 4)"
        );
    }
}
