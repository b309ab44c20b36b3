//! What FETCH asks for (RFC 9051 6.4.5).

use super::super::ask::{Section, SectionWhat};
use super::reader::{Bad, Read, Reader, utf8};

/// Items one FETCH may name, header fields one section may name, and numbers a part may have.
const MAX_ITEMS: usize = 100;
const MAX_FIELDS: usize = 500;
const MAX_DEPTH: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::imap) enum FetchItem {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    /// BODY without a section: BODYSTRUCTURE without extension data.
    Body,
    BodyStructure,
    Section(FetchSection),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::imap) struct FetchSection {
    pub section: Section,
    /// BODY.PEEK, RFC822.HEADER: does not set \Seen.
    pub peek: bool,
    /// First octet, and how many.
    pub partial: Option<(u64, u64)>,
    /// What stands before the octets in the response.
    pub label: String,
}

pub(super) fn items(r: &mut Reader<'_>) -> Read<Vec<FetchItem>> {
    if r.peek() == Some(b'(') {
        let items = r.list(MAX_ITEMS, item)?;
        return if items.is_empty() { Err(Bad::Syntax("FETCH of nothing")) } else { Ok(items) };
    }
    for (name, macro_items) in [
        ("ALL", &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size, FetchItem::Envelope][..]),
        ("FAST", &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size][..]),
        (
            "FULL",
            &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size, FetchItem::Envelope, FetchItem::Body][..],
        ),
    ] {
        if r.rest().eq_ignore_ascii_case(name.as_bytes()) {
            r.eat_word(name);
            return Ok(macro_items.to_vec());
        }
    }
    Ok(vec![item(r)?])
}

fn item(r: &mut Reader<'_>) -> Read<FetchItem> {
    let name = r.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let plain = |what, peek, label: &str| {
        FetchItem::Section(FetchSection {
            section: Section { part: Vec::new(), what },
            peek,
            partial: None,
            label: label.to_owned(),
        })
    };
    Ok(match name.as_str() {
        "FLAGS" => FetchItem::Flags,
        "UID" => FetchItem::Uid,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Size,
        "ENVELOPE" => FetchItem::Envelope,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "RFC822" => plain(SectionWhat::All, false, "RFC822"),
        "RFC822.HEADER" => plain(SectionWhat::Header, true, "RFC822.HEADER"),
        "RFC822.TEXT" => plain(SectionWhat::Text, false, "RFC822.TEXT"),
        "BODY" if r.peek() != Some(b'[') => FetchItem::Body,
        "BODY" => section(r, false)?,
        "BODY.PEEK" => section(r, true)?,
        _ => return Err(Bad::Syntax("Unknown FETCH item")),
    })
}

fn section(r: &mut Reader<'_>, peek: bool) -> Read<FetchItem> {
    r.need(b'[', "A section is missing")?;
    let mut part = Vec::new();
    let mut label = String::from("BODY[");
    let mut wants_text = true;
    while r.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        let n = r.nz_number()?;
        if part.len() >= MAX_DEPTH {
            return Err(Bad::Syntax("A section is too deep"));
        }
        if !part.is_empty() {
            label.push('.');
        }
        label.push_str(&n.to_string());
        part.push(n);
        wants_text = r.eat(b'.');
        if !wants_text {
            break;
        }
    }
    let what = if r.peek() == Some(b']') && (part.is_empty() || !wants_text) {
        SectionWhat::All
    } else if !wants_text {
        return Err(Bad::Syntax("A section does not end"));
    } else {
        if !part.is_empty() {
            label.push('.');
        }
        section_text(r, !part.is_empty(), &mut label)?
    };
    r.need(b']', "A section does not end")?;
    label.push(']');
    let partial = if r.eat(b'<') {
        let start = r.number64()?;
        r.need(b'.', "A partial range is wrong")?;
        let count = r.number64()?;
        r.need(b'>', "A partial range is wrong")?;
        if count == 0 {
            return Err(Bad::Syntax("A partial range is empty"));
        }
        label.push_str(&format!("<{start}>"));
        Some((start, count))
    } else {
        None
    };
    Ok(FetchItem::Section(FetchSection { section: Section { part, what }, peek, partial, label }))
}

fn section_text(r: &mut Reader<'_>, in_part: bool, label: &mut String) -> Read<SectionWhat> {
    let name = r.take_while(|byte| byte.is_ascii_alphabetic() || byte == b'.');
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    label.push_str(&name);
    match name.as_str() {
        "HEADER" => Ok(SectionWhat::Header),
        "TEXT" => Ok(SectionWhat::Text),
        "MIME" if in_part => Ok(SectionWhat::Mime),
        "HEADER.FIELDS" => Ok(SectionWhat::HeaderFields(fields(r, label)?)),
        "HEADER.FIELDS.NOT" => Ok(SectionWhat::HeaderFieldsNot(fields(r, label)?)),
        _ => Err(Bad::Syntax("Unknown section")),
    }
}

fn fields(r: &mut Reader<'_>, label: &mut String) -> Read<Vec<String>> {
    r.space()?;
    let fields = r.list(MAX_FIELDS, |r| {
        let field = utf8(r.astring()?)?;
        // RFC 5322 3.6.8: printable ASCII without a colon. It goes back to the client in the label.
        let usable = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if usable { Ok(field) } else { Err(Bad::Syntax("A header field name is wrong")) }
    })?;
    if fields.is_empty() {
        return Err(Bad::Syntax("No header field is named"));
    }
    label.push_str(" (");
    for (n, field) in fields.iter().enumerate() {
        if n > 0 {
            label.push(' ');
        }
        if super::reader::is_atom(field.as_bytes()) {
            label.push_str(field);
        } else {
            label.push('"');
            for c in field.chars() {
                if matches!(c, '"' | '\\') {
                    label.push('\\');
                }
                label.push(c);
            }
            label.push('"');
        }
    }
    label.push(')');
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Read<Vec<FetchItem>> {
        let mut r = Reader::new(text.as_bytes());
        let items = items(&mut r)?;
        r.end()?;
        Ok(items)
    }

    fn label(text: &str) -> String {
        match read(text).as_deref() {
            Ok([FetchItem::Section(section)]) => section.label.clone(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn sections_are_labelled_as_they_are_answered() {
        assert_eq!(label("BODY[]"), "BODY[]");
        assert_eq!(label("body.peek[1.2.mime]"), "BODY[1.2.MIME]");
        assert_eq!(label("BODY[4.2.HEADER]"), "BODY[4.2.HEADER]");
        assert_eq!(label("BODY.PEEK[]<0.2048>"), "BODY[]<0>");
        assert_eq!(label("BODY[header.fields (From {2}\r\nTo)]"), "BODY[HEADER.FIELDS (From To)]");
        assert_eq!(label("BODY[1.HEADER.FIELDS.NOT (\"X(\")]<5.1>"), "BODY[1.HEADER.FIELDS.NOT (\"X(\")]<5>");
        assert_eq!(label("RFC822.TEXT"), "RFC822.TEXT");
    }

    #[test]
    fn macros_stand_alone() {
        assert_eq!(read("fast").map(|items| items.len()), Ok(3));
        assert_eq!(read("FULL").map(|items| items.len()), Ok(5));
        assert_eq!(read("(UID FLAGS)"), Ok(vec![FetchItem::Uid, FetchItem::Flags]));
        for bad in [
            "(FAST)",
            "()",
            "",
            "FOO",
            "BODY[MIME]",
            "BODY[1.]",
            "BODY[0]",
            "BODY[HEADER.FIELDS ()]",
            "BODY[]<1>",
            "BODY[]<0.0>",
            "BODY[1",
            "BODY[1TEXT]",
            "BODY[TEXT]x",
            "BODY[HEADER.FIELDS (a:b)]",
            "BODY[.1]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
