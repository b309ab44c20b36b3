//! XML as reports are written in it: elements and their texts, one after the other, nothing kept. There are no document types
//! here and so no entities but the five that every document has; depth and number of elements are limited.

use std::borrow::Cow;

/// Elements within elements; a report has six.
const DEPTH: usize = 16;
/// Elements in all; a record has about thirty.
const ELEMENTS: usize = 600_000;
/// Of the text of one element.
const TEXT_BYTES: usize = 4096;

/// It is no XML, or more than a report has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotXml;

/// Calls `ended` at the end of each element: with the names from the root to it (without their prefixes), and its own text.
pub(super) fn walk<'a>(document: &'a str, mut ended: impl FnMut(&[&'a str], &str)) -> Result<(), NotXml> {
    let mut rest = document.strip_prefix('\u{feff}').unwrap_or(document);
    let mut open: Vec<&'a str> = Vec::new();
    let mut text = String::new();
    let (mut elements, mut over) = (0, false);
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('<') else {
            let (raw, more) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            if open.is_empty() && !raw.trim_ascii().is_empty() {
                return Err(NotXml);
            }
            add(&mut text, &unescaped(raw));
            rest = more;
            continue;
        };
        if let Some(after) = after.strip_prefix('?') {
            rest = after.split_once("?>").ok_or(NotXml)?.1;
        } else if let Some(after) = after.strip_prefix("!--") {
            rest = after.split_once("-->").ok_or(NotXml)?.1;
        } else if let Some(after) = after.strip_prefix("![CDATA[").filter(|_| !open.is_empty()) {
            let (raw, more) = after.split_once("]]>").ok_or(NotXml)?;
            add(&mut text, raw);
            rest = more;
        } else if let Some(after) = after.strip_prefix('/') {
            let (name, more) = after.split_once('>').ok_or(NotXml)?;
            if open.last() != Some(&local(name.trim_ascii_end())) {
                return Err(NotXml);
            }
            ended(&open, text.trim());
            open.pop();
            text.clear();
            (over, rest) = (open.is_empty(), more);
        } else {
            // `<!DOCTYPE` has no name here.
            let (name, empty, more) = tag(after)?;
            elements += 1;
            if over || elements > ELEMENTS || open.len() >= DEPTH {
                return Err(NotXml);
            }
            text.clear();
            open.push(local(name));
            if empty {
                ended(&open, "");
                open.pop();
                over = open.is_empty();
            }
            rest = more;
        }
    }
    if over { Ok(()) } else { Err(NotXml) }
}

fn add(text: &mut String, more: &str) {
    let room = TEXT_BYTES.saturating_sub(text.len());
    text.extend(more.chars().scan(room, |room, c| {
        *room = room.checked_sub(c.len_utf8())?;
        Some(c)
    }));
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Behind `<`: the name, whether the element is empty, and what comes after the tag. Attributes are passed over.
fn tag(text: &str) -> Result<(&str, bool, &str), NotXml> {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/' | '<')).ok_or(NotXml)?;
    let (name, rest) = text.split_at(end);
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return Err(NotXml);
    }
    let mut quote = None;
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '<') => return Err(NotXml),
            (None, '>') => return Ok((name, rest[..at].ends_with('/'), &rest[at + 1..])),
            (None, _) => {}
        }
    }
    Err(NotXml)
}

/// An entity that is none of the five stays as it was written: it is a text to show, and leads nowhere.
fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('&') {
        return Cow::Borrowed(raw);
    }
    const FIVE: [(&str, char); 5] = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\'')];
    let mut out = String::new();
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match FIVE.iter().find(|(entity, _)| rest.starts_with(entity)) {
            Some((entity, c)) => {
                out.push(*c);
                rest = &rest[entity.len()..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}
