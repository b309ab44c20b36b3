//! The little XML there is: texts made safe to stand in it, and the reading of a small document from a stranger.
//!
//! The reader takes elements, texts, comments and the five entities that every document has. It knows no document types, and
//! so nothing that could grow or lead elsewhere; depth and number are limited, and so is the body that it is given.

use std::borrow::Cow;

/// Elements within elements; requests have three.
const DEPTH: usize = 16;
/// Elements in all.
const ELEMENTS: usize = 200;

/// As text of an element or value of an attribute. What XML 1.0 cannot say at all (2.2) becomes U+FFFD.
pub(in crate::web) fn escaped(text: &str) -> Cow<'_, str> {
    let plain = |c: char| is_character(c) && !matches!(c, '&' | '<' | '>' | '"' | '\'' | '\r' | '\n' | '\t');
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Readers turn these into others where they stand themselves (2.11, 3.3.3).
            '\r' => out.push_str("&#13;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if is_character(c) => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    Cow::Owned(out)
}

/// XML 1.0 2.2.
fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// What cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotXml;

/// The texts of the elements (without their prefixes) that lie directly within these ones, one in the other from the root.
pub(super) fn texts(document: &[u8], within: &[&str]) -> Result<Vec<(String, String)>, NotXml> {
    let document = std::str::from_utf8(document).map_err(|_| NotXml)?;
    let mut rest = document.strip_prefix('\u{feff}').unwrap_or(document);
    let mut open: Vec<&str> = Vec::new();
    let mut out: Vec<(String, String)> = Vec::new();
    let (mut elements, mut ended) = (0, false);
    // Whether we are directly within an element that is asked for: its text goes to the last of `out`.
    let mut wanted = false;
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            let (text, more) = rest.split_at(end);
            rest = more;
            if open.is_empty() && !text.trim_ascii().is_empty() {
                return Err(NotXml);
            }
            if wanted && let Some((_, value)) = out.last_mut() {
                value.push_str(&unescaped(text)?);
            }
            continue;
        };
        if let Some(after) = after.strip_prefix('?') {
            rest = after.split_once("?>").ok_or(NotXml)?.1;
            continue;
        }
        if let Some(after) = after.strip_prefix("!--") {
            rest = after.split_once("-->").ok_or(NotXml)?.1;
            continue;
        }
        if let Some(after) = after.strip_prefix('/') {
            let (name, after) = after.split_once('>').ok_or(NotXml)?;
            if open.pop() != Some(name.trim_ascii_end()) {
                return Err(NotXml);
            }
            (ended, wanted, rest) = (open.is_empty(), false, after);
            continue;
        }
        // `<!DOCTYPE`, `<![CDATA[` and the like have no name here.
        let (name, empty, after) = tag(after)?;
        elements += 1;
        if ended || elements > ELEMENTS || open.len() >= DEPTH {
            return Err(NotXml);
        }
        let here = open.len() == within.len() && open.iter().zip(within).all(|(open, within)| local(open) == *within);
        if here {
            out.push((local(name).to_owned(), String::new()));
        }
        wanted = here && !empty;
        if empty {
            ended = open.is_empty();
        } else {
            open.push(name);
        }
        rest = after;
    }
    if ended { Ok(out) } else { Err(NotXml) }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Behind `<`: the name, whether the element is empty, and what comes after the tag. Attributes are passed over, with their
/// values, in which there may be a `>`.
fn tag(text: &str) -> Result<(&str, bool, &str), NotXml> {
    let of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let end = text.find(|c: char| !of_name(c)).ok_or(NotXml)?;
    let (name, rest) = text.split_at(end);
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return Err(NotXml);
    }
    let mut quote = None;
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (_, '<') => return Err(NotXml),
            (None, '>') => {
                let empty = rest.get(..at).is_some_and(|inside| inside.ends_with('/'));
                return Ok((name, empty, rest.get(at + 1..).unwrap_or("")));
            }
            _ => {}
        }
    }
    Err(NotXml)
}

fn unescaped(text: &str) -> Result<Cow<'_, str>, NotXml> {
    if !text.contains('&') {
        return if text.chars().all(is_character) { Ok(Cow::Borrowed(text)) } else { Err(NotXml) };
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, more) = after.split_once(';').ok_or(NotXml)?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#').ok_or(NotXml)?;
                let number = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                number.ok().and_then(char::from_u32).ok_or(NotXml)?
            }
        });
        rest = more;
    }
    out.push_str(rest);
    if out.chars().all(is_character) { Ok(Cow::Owned(out)) } else { Err(NotXml) }
}

/// For the fuzz target: any bytes are read or refused, within the limits; and what was found, written into a document,
/// reads back as it was, and opens nothing. Panics where that is not so.
#[doc(hidden)]
pub fn xml_reads_back(document: &[u8]) {
    let found: Vec<(String, String)> = [&[][..], &["a"], &["a", "b"], &["Autodiscover", "Request"]]
        .iter()
        .flat_map(|within| texts(document, within).unwrap_or_default())
        .collect();
    let whole = String::from_utf8_lossy(document);
    assert!(
        found.len() <= 4 * ELEMENTS && found.iter().map(|(_, text)| text.len()).sum::<usize>() <= 4 * document.len()
    );
    for text in found.iter().map(|(_, text)| text.as_str()).chain([&*whole]) {
        let written = escaped(text);
        assert!(!written.contains(['<', '>', '"', '\'', '\r', '\n', '\t', '\0']), "{written}");
        let expected: String = text.chars().map(|c| if is_character(c) { c } else { '\u{fffd}' }).collect();
        let again = texts(format!("<a k='{written}'><b>{written}</b></a>").as_bytes(), &["a"]);
        assert_eq!(again, Ok(vec![("b".to_owned(), expected)]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(document: &str) -> Result<Vec<(String, String)>, NotXml> {
        texts(document.as_bytes(), &["a", "b"])
    }

    #[test]
    fn texts_are_found_where_they_are_asked_for() {
        let found = read(
            "\u{feff}<?xml version=\"1.0\"?>\n<!-- <a> -->\n<x:a xmlns:x='u>v'><b><c> one&amp;&#x32; </c><d/><e><c>deep</c>\
             </e><f>a<!-- -->b</f></b><g>outside</g></x:a>\n",
        );
        let found = found.unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(found, [("c", " one&2 "), ("d", ""), ("e", ""), ("f", "ab")]);
    }

    #[test]
    fn what_could_grow_or_is_not_whole_is_refused() {
        let deep = "<a>".repeat(DEPTH + 1) + &"</a>".repeat(DEPTH + 1);
        let wide = format!("<a><b>{}</b></a>", "<c/>".repeat(ELEMENTS));
        for wrong in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><a/>",
            "<a/>x",
            "<a b='</a>",
            "< a/>",
            "<a><b><c>&x;</c></b></a>",
            "<a><b><c>&#0;</c></b></a>",
            "<a><b><c>&#xffffffff;</c></b></a>",
            "<a><b><c>&amp</c></b></a>",
            "<a><b><c>\u{1}</c></b></a>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a><b><c>&x;</c></b></a>",
            "<a><![CDATA[x]]></a>",
            deep.as_str(),
            wide.as_str(),
        ] {
            assert_eq!(read(wrong), Err(NotXml), "{wrong}");
        }
        assert_eq!(texts(b"<a>\xff</a>", &["a"]), Err(NotXml));
    }

    proptest! {
        /// K2: whatever is written comes back as it was, and opens nothing.
        #[test]
        fn what_is_escaped_reads_back(text in ".{0,60}", odd in proptest::collection::vec(any::<char>(), 0..20)) {
            let text: String = text.chars().chain(odd).collect();
            let written = escaped(&text);
            prop_assert!(!written.contains(['<', '>', '"', '\'', '\r', '\n', '\0']), "{}", written);
            let document = format!("<a k=\"{written}\"><b><c>{written}</c></b></a>");
            let expected: String = text.chars().map(|c| if is_character(c) { c } else { '\u{fffd}' }).collect();
            prop_assert_eq!(read(&document), Ok(vec![("c".to_owned(), expected)]));
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..40),
        ) {
            let _ = texts(&bytes, &["a", "b"]);
            let _ = texts(parts.concat().as_bytes(), &["a", "b"]);
        }
    }

    const PARTS: &[&str] = &[
        "<", ">", "<a>", "</a>", "<b>", "</b>", "<c x='", "'", "\"", "/>", "&amp;", "&", ";", "<!--", "-->", "<?",
        "?>", "\u{e9}", "x",
    ];
}
