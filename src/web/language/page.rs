//! A finished page, translated. It is one of our own templates', so it is well formed; what people typed stands in it escaped.

use super::phrases::{ELEMENT, Language, Piece, is_name, plain};

/// Elements within one another; our pages have a third of it.
const DEPTH: usize = 48;

/// A page in another language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub html: String,
    /// What has no phrase, and stayed as it is.
    pub missing: Vec<String>,
}

/// Attributes that people read or hear. `label` is an option group's; those with `data-say-` are for our script.
const SHOWN: [&str; 6] = ["alt", "aria-description", "aria-label", "label", "placeholder", "title"];
/// They have no end tag (HTML 13.1.2), or are shapes.
const VOID: [&str; 13] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// They stand within sentences.
const INLINE: [&str; 13] =
    ["a", "abbr", "b", "bdi", "code", "em", "i", "kbd", "mark", "small", "span", "strong", "time"];
/// What is in them is for no language (L3).
const CLOSED: [&str; 9] = ["code", "kbd", "noscript", "pre", "samp", "script", "style", "svg", "textarea"];

impl Language {
    /// L1, L2. A page that is not well formed comes back as it is.
    pub fn page(&self, html: &str) -> Page {
        let whole = Page { html: html.to_owned(), missing: Vec::new() };
        let Some(tokens) = tokens(html) else { return whole };
        let mut work = Work { language: self, tokens: &tokens, missing: Vec::new() };
        match work.children(0, tokens.len(), Ground::default(), 0) {
            Some(made) => Page { html: made.html, missing: work.missing },
            None => whole,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Text,
    /// A start tag, and the place of its end tag; its own place, if it has none.
    Start(usize),
    End,
    /// A comment or a declaration.
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    what: What,
    raw: &'a str,
    /// Of a tag, in small letters as our templates write it.
    name: &'a str,
}

/// `None`: it is not well formed.
fn tokens(html: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = html;
    while !rest.is_empty() {
        if let Some(within) = open.last().and_then(|at| tokens.get(*at)).filter(|token| is_raw(token.name)) {
            // Up to its own end tag there are no tags.
            let end = format!("</{}", within.name);
            let length = rest.find(&end)?;
            let (text, more) = rest.split_at_checked(length)?;
            if !text.is_empty() {
                tokens.push(Token { what: What::Text, raw: text, name: "" });
            }
            rest = more;
        }
        let Some(start) = rest.find('<') else {
            tokens.push(Token { what: What::Text, raw: rest, name: "" });
            break;
        };
        let (text, tag) = rest.split_at_checked(start)?;
        if !text.is_empty() {
            tokens.push(Token { what: What::Text, raw: text, name: "" });
        }
        let length = tag_length(tag)?;
        let (raw, more) = tag.split_at_checked(length)?;
        rest = more;
        if raw.starts_with("<!") {
            tokens.push(Token { what: What::Other, raw, name: "" });
            continue;
        }
        let inner = raw.strip_prefix("</").or_else(|| raw.strip_prefix('<'))?;
        let name = inner.split([' ', '\n', '\t', '>', '/']).next().unwrap_or("");
        if name.is_empty() {
            return None;
        }
        if raw.starts_with("</") {
            let start = open.pop()?;
            let at = tokens.len();
            let token = tokens.get_mut(start).filter(|token| token.name == name)?;
            token.what = What::Start(at);
            tokens.push(Token { what: What::End, raw, name });
        } else {
            let at = tokens.len();
            tokens.push(Token { what: What::Start(at), raw, name });
            if !VOID.contains(&name) && !raw.ends_with("/>") {
                open.push(at);
            }
        }
    }
    open.is_empty().then_some(tokens)
}

fn is_raw(name: &str) -> bool {
    matches!(name, "script" | "style" | "textarea" | "title")
}

/// Up to and with the `>` that is in no quotation marks.
fn tag_length(tag: &str) -> Option<usize> {
    if tag.starts_with("<!--") {
        return tag.find("-->").map(|at| at + 3);
    }
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(mark), byte) if mark == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// What holds for all that is in an element.
#[derive(Clone, Copy, Debug, Default)]
struct Ground {
    /// As it is (`translate="no"`, or a language of its own).
    kept: bool,
    /// Names, which have a phrase or not (`lang=""`).
    names: bool,
}

/// What came of an element's inside.
#[derive(Debug, Default)]
struct Made {
    html: String,
    /// It is nothing but one text that has no phrase: the element itself can say so.
    english: bool,
}

struct Work<'a> {
    language: &'a Language,
    tokens: &'a [Token<'a>],
    missing: Vec<String>,
}

/// What stands in a row: texts and elements that are part of the sentence.
#[derive(Clone, Copy, Debug)]
enum Item<'a> {
    Text(&'a str),
    Element(usize, usize),
}

impl<'a> Work<'a> {
    /// The tokens from `from` to before `to`, all of one element. `None`: too deep.
    fn children(&mut self, from: usize, to: usize, ground: Ground, depth: usize) -> Option<Made> {
        if depth > DEPTH {
            return None;
        }
        let mut made = Made::default();
        let mut row: Vec<Item<'a>> = Vec::new();
        let mut at = from;
        let mut alone = true;
        while at < to {
            let token = self.tokens.get(at)?;
            match token.what {
                What::Text => row.push(Item::Text(token.raw)),
                What::Start(end) if INLINE.contains(&token.name) => {
                    alone = false;
                    row.push(Item::Element(at, end));
                    at = end;
                }
                What::Start(end) => {
                    alone = false;
                    self.row(&mut row, ground, depth, false, &mut made)?;
                    let html = self.element(at, end, ground, depth)?;
                    made.html.push_str(&html);
                    at = end;
                }
                What::End | What::Other => {
                    alone = false;
                    self.row(&mut row, ground, depth, false, &mut made)?;
                    made.html.push_str(token.raw);
                }
            }
            at += 1;
        }
        self.row(&mut row, ground, depth, alone, &mut made)?;
        Some(made)
    }

    fn element(&mut self, start: usize, end: usize, ground: Ground, depth: usize) -> Option<String> {
        let token = *self.tokens.get(start)?;
        let attributes = attributes(token.raw);
        let value = |name: &str| attributes.iter().find(|one| one.name == name).map(|one| one.value);
        let mut inner = ground;
        match value("lang") {
            _ if token.name == "html" => {}
            Some("") => inner.names = true,
            Some(_) => inner.kept = true,
            None => {}
        }
        match value("translate") {
            Some("no") => inner.kept = true,
            Some("yes") => inner = Ground::default(),
            _ => {}
        }
        let of_attributes = inner;
        // L3: an option without a value sends its text.
        inner.kept |= CLOSED.contains(&token.name) || (token.name == "option" && value("value").is_none());
        let made = match (end > start, inner.kept) {
            (false, _) => Made::default(),
            (true, true) => Made { html: self.raw(start + 1, end), english: false },
            (true, false) => self.children(start + 1, end, inner, depth + 1)?,
        };
        let mut html = self.tag(token, &attributes, of_attributes, made.english);
        html.push_str(&made.html);
        if end > start {
            html.push_str(self.tokens.get(end)?.raw);
        }
        Some(html)
    }

    /// The same, as it is. Tokens stand in the page one behind the other.
    fn raw(&self, from: usize, to: usize) -> String {
        self.tokens.get(from..to).unwrap_or_default().iter().map(|token| token.raw).collect()
    }

    fn tag(&mut self, token: Token<'_>, attributes: &[Attribute<'_>], ground: Ground, english: bool) -> String {
        let mut html = String::new();
        let mut rest = token.raw;
        let mut english = english;
        for one in attributes {
            let (before, behind) = (&token.raw[..one.at], &token.raw[one.at + one.value.len()..]);
            if token.name == "html" && one.name == "lang" {
                html.push_str(&before[token.raw.len() - rest.len()..]);
                html.push_str(self.language.code());
                rest = behind;
                continue;
            }
            let kind = || attributes.iter().find(|one| one.name == "type").map_or("", |one| one.value);
            let button =
                token.name == "input" && one.name == "value" && matches!(kind(), "submit" | "button" | "reset");
            if ground.kept || !(SHOWN.contains(&one.name) || one.name.starts_with("data-say-") || button) {
                continue;
            }
            match decoded(one.value).map(|text| (self.language.look_up(&text), text)) {
                Some((Some(pieces), text)) => {
                    html.push_str(&before[token.raw.len() - rest.len()..]);
                    pieces.iter().for_each(|piece| escape(piece.of(&text), &mut html));
                    rest = behind;
                }
                Some((None, text)) if !ground.names => {
                    self.missing.push(text);
                    english = true;
                }
                _ => {}
            }
        }
        let marked = attributes.iter().any(|one| one.name == "lang");
        match (english && !marked, rest.strip_suffix("/>").or_else(|| rest.strip_suffix('>'))) {
            (true, Some(most)) => {
                let end = &rest[most.len()..];
                html.push_str(most);
                html.push_str(" lang=\"en\"");
                html.push_str(end);
            }
            _ => html.push_str(rest),
        }
        html
    }

    /// A sentence with the elements in it. If there is no phrase for the whole, each text is looked up by itself.
    fn row(
        &mut self,
        row: &mut Vec<Item<'a>>,
        ground: Ground,
        depth: usize,
        alone: bool,
        made: &mut Made,
    ) -> Option<()> {
        let row = std::mem::take(row);
        let mut texts = row.iter().filter_map(|item| if let Item::Text(text) = item { Some(*text) } else { None });
        let says = texts.any(|text| !text.trim_ascii().is_empty());
        if says && row.len() > 1 && !ground.kept {
            let mut whole = String::new();
            let mut elements = Vec::new();
            let mut fine = true;
            for item in &row {
                match item {
                    Item::Text(text) => match spaced(text) {
                        Some(text) if !text.contains(ELEMENT) => whole.push_str(&text),
                        _ => fine = false,
                    },
                    Item::Element(from, to) => {
                        whole.push(ELEMENT);
                        elements.push((*from, *to));
                    }
                }
            }
            let text = plain(&whole);
            // A name is not a phrase; its elements may have some.
            if let Some(pieces) = self.language.look_up(&text).filter(|_| fine && !is_name(&text)) {
                let (before, behind) = edges(&whole);
                made.html.push_str(before);
                self.put(&pieces, &text, &elements, ground, depth, &mut made.html)?;
                made.html.push_str(behind);
                return Some(());
            }
        }
        for item in row {
            match item {
                Item::Text(raw) if ground.kept => made.html.push_str(raw),
                Item::Text(raw) => made.english |= self.text(raw, ground, alone, &mut made.html),
                Item::Element(from, to) => made.html.push_str(&self.element(from, to, ground, depth)?),
            }
        }
        Some(())
    }

    fn put(
        &mut self,
        pieces: &[Piece],
        text: &str,
        elements: &[(usize, usize)],
        ground: Ground,
        depth: usize,
        html: &mut String,
    ) -> Option<()> {
        for piece in pieces {
            let Piece::Kept(from, _) = piece else {
                escape(piece.of(text), html);
                continue;
            };
            let mut next = text.get(..*from)?.matches(ELEMENT).count();
            for (at, part) in piece.of(text).split(ELEMENT).enumerate() {
                if at > 0 {
                    let (start, end) = *elements.get(next)?;
                    html.push_str(&self.element(start, end, ground, depth)?);
                    next += 1;
                }
                escape(part, html);
            }
        }
        Some(())
    }

    /// One text. True if it is all that is in its element, and has no phrase.
    fn text(&mut self, raw: &str, ground: Ground, alone: bool, html: &mut String) -> bool {
        let Some(text) = decoded(raw) else {
            html.push_str(raw);
            return false;
        };
        let (before, behind) = edges(raw);
        match self.language.look_up(&text) {
            Some(pieces) if matches!(pieces.as_slice(), [Piece::Kept(..)]) => {
                html.push_str(raw);
                false
            }
            Some(pieces) => {
                html.push_str(before);
                pieces.iter().for_each(|piece| escape(piece.of(&text), html));
                html.push_str(behind);
                false
            }
            None if ground.names => {
                html.push_str(raw);
                false
            }
            None => {
                self.missing.push(text);
                if alone {
                    html.push_str(raw);
                    return true;
                }
                html.push_str(before);
                html.push_str("<span lang=\"en\">");
                html.push_str(raw.trim_ascii());
                html.push_str("</span>");
                html.push_str(behind);
                false
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Attribute<'a> {
    name: &'a str,
    /// As it is written, without the quotation marks.
    value: &'a str,
    /// Where the value begins in the tag.
    at: usize,
}

/// Those with a value in double quotation marks, as our templates write all of them.
fn attributes(tag: &str) -> Vec<Attribute<'_>> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(equals) = tag.get(at..).and_then(|rest| rest.find('=')).map(|found| at + found) {
        let name = tag[at..equals].rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or("");
        let Some(open) = tag[equals + 1..].strip_prefix('"') else {
            at = equals + 1;
            continue;
        };
        let Some(length) = open.find('"') else { break };
        all.push(Attribute { name, value: &open[..length], at: equals + 2 });
        at = equals + 2 + length + 1;
    }
    all
}

/// The white space at both ends of what is written.
fn edges(raw: &str) -> (&str, &str) {
    let inner = raw.trim_ascii();
    let start = raw.len() - raw.trim_ascii_start().len();
    (&raw[..start], &raw[start + inner.len()..])
}

/// A text as it is read, with single spaces and none at its ends. `None`: there is a reference in it that we do not know.
fn decoded(raw: &str) -> Option<String> {
    spaced(raw).map(|text| plain(&text)).filter(|text| !text.contains(ELEMENT))
}

/// The same with its white space.
fn spaced(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, behind)) = rest.split_once('&') {
        text.push_str(before);
        let (name, more) = behind.split_once(';').filter(|(name, _)| name.len() <= 8)?;
        text.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            "nbsp" => '\u{a0}',
            name => {
                let number = name.strip_prefix('#')?;
                let number = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(number.ok()?)?
            }
        });
        rest = more;
    }
    text.push_str(rest);
    Some(text)
}

/// As the templates do it (L1).
pub(super) fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&#38;"),
            '<' => html.push_str("&#60;"),
            '>' => html.push_str("&#62;"),
            '"' => html.push_str("&#34;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}
