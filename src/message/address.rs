//! Address lists of RFC 5322 3.4 (obsolete forms too), as ENVELOPE wants them.

use std::borrow::Cow;

use super::structure::{Address, Text};

/// Reads the value of an address field, folded or not, and keeps at most `most` addresses of it. What cannot be read as
/// an address is kept as a mailbox with an empty host, so that a reader sees something.
pub fn parse_list(value: &[u8], most: usize) -> Vec<Address<'_>> {
    let mut reader =
        Reader { lexer: Lexer { rest: value, spaced: false }, out: Vec::new(), most, in_group: false, comment: None };
    reader.list();
    reader.out
}

/// A word or an `@` of an address, and whether white space or a comment stood before it.
struct Piece<'a> {
    text: Text<'a>,
    at: bool,
    spaced: bool,
}

enum Token<'a> {
    Word(Text<'a>),
    Comment(Text<'a>),
    /// One of `@ , ; : < >`.
    Special(u8),
}

struct Lexer<'a> {
    rest: &'a [u8],
    /// White space or a comment was passed since the last word.
    spaced: bool,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (&first, after) = self.rest.split_first()?;
            match first {
                b' ' | b'\t' | b'\r' | b'\n' | 0 => {
                    self.spaced = true;
                    self.rest = after;
                }
                b'(' => {
                    self.spaced = true;
                    return Some(Token::Comment(self.comment()));
                }
                b'"' => return Some(Token::Word(self.quoted(after, b'"'))),
                b'[' => return Some(Token::Word(self.literal())),
                b'@' | b',' | b';' | b':' | b'<' | b'>' => {
                    self.rest = after;
                    return Some(Token::Special(first));
                }
                _ => {
                    // A closing bracket on its own is part of a word, so that each round takes at least one byte.
                    let length = after
                        .iter()
                        .position(|b| {
                            matches!(
                                b,
                                0 | b'\t' | b'\n' | b'\r' | b' ' | b'"' | b'(' | b',' | b':'
                                    ..=b'<' | b'>' | b'@' | b'['
                            )
                        })
                        .map_or(self.rest.len(), |at| at + 1);
                    let (word, rest) = self.rest.split_at(length);
                    self.rest = rest;
                    return Some(Token::Word(Cow::Borrowed(word)));
                }
            }
        }
    }

    /// RFC 5322 3.2.4: up to the closing quote (or the end, if it is missing), backslashes undone.
    fn quoted(&mut self, after: &'a [u8], close: u8) -> Text<'a> {
        let mut escaped = false;
        let mut plain = true;
        let mut length = after.len();
        for (at, &b) in after.iter().enumerate() {
            match b {
                _ if escaped => escaped = false,
                b'\\' => (escaped, plain) = (true, false),
                b'\r' | b'\n' | 0 => plain = false,
                _ if b == close => {
                    length = at;
                    break;
                }
                _ => {}
            }
        }
        let inner = &after[..length];
        self.rest = after.get(length + 1..).unwrap_or_default();
        if plain { Cow::Borrowed(inner) } else { Cow::Owned(unescape(inner)) }
    }

    /// RFC 5322 3.4.1, domain-literal, brackets included.
    fn literal(&mut self) -> Text<'a> {
        let length = memchr::memchr(b']', self.rest).map_or(self.rest.len(), |at| at + 1);
        let (literal, rest) = self.rest.split_at(length);
        self.rest = rest;
        super::header::unfold(literal)
    }

    /// RFC 5322 3.2.2: comments may nest; the outer parentheses are left out.
    fn comment(&mut self) -> Text<'a> {
        let mut depth = 0usize;
        let mut escaped = false;
        let mut end = self.rest.len();
        let mut next = self.rest.len();
        for (at, &b) in self.rest.iter().enumerate() {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        (end, next) = (at, at + 1);
                        break;
                    }
                }
                _ => {}
            }
        }
        let inner = self.rest.get(1..end).unwrap_or_default();
        self.rest = &self.rest[next..];
        if inner.iter().any(|b| matches!(b, b'\\' | b'\r' | b'\n' | 0)) {
            Cow::Owned(super::header::unfold(&unescape(inner)).into_owned())
        } else {
            super::header::unfold(inner)
        }
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut escaped = false;
    for &b in text {
        match b {
            b'\\' if !escaped => escaped = true,
            b'\r' | b'\n' | 0 => escaped = false,
            _ => {
                escaped = false;
                out.push(b);
            }
        }
    }
    out
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    out: Vec<Address<'a>>,
    most: usize,
    in_group: bool,
    /// The last comment of the address being read: its name, if it has no other (RFC 5322 3.4.1, note).
    comment: Option<Text<'a>>,
}

impl<'a> Reader<'a> {
    fn list(&mut self) {
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        let mut angled = None;
        while self.out.len() < self.most {
            let Some(token) = self.lexer.next() else {
                self.finish(&mut pieces, &mut angled);
                self.end_group();
                return;
            };
            match token {
                Token::Word(text) => pieces.push(self.piece(text, false)),
                Token::Comment(text) => self.comment = Some(text),
                Token::Special(b'@') => pieces.push(self.piece(Cow::Borrowed(b"@"), true)),
                Token::Special(b',') => self.finish(&mut pieces, &mut angled),
                Token::Special(b';') => {
                    self.finish(&mut pieces, &mut angled);
                    self.end_group();
                }
                // RFC 5322 3.4, group: its name, a colon, mailboxes, a semicolon. Groups do not nest.
                Token::Special(b':') if !self.in_group && angled.is_none() => {
                    let name = joined(&pieces, true);
                    pieces.clear();
                    self.comment = None;
                    self.in_group = true;
                    self.out.push(Address { mailbox: Some(name), ..Address::default() });
                }
                Token::Special(b'<') if angled.is_none() => {
                    let name = joined(&pieces, true);
                    pieces.clear();
                    let mut address = self.angle();
                    address.name = (!name.is_empty()).then_some(name);
                    angled = Some(address);
                }
                Token::Special(_) => {}
            }
        }
        // Cut short: the group that is open is closed, so that its markers stay in pairs.
        self.end_group();
    }

    fn piece(&mut self, text: Text<'a>, at: bool) -> Piece<'a> {
        let spaced = std::mem::take(&mut self.lexer.spaced);
        Piece { text, at, spaced }
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.out.push(Address::default());
        }
    }

    /// Behind `<`: an address with an optional route (RFC 5322 4.4, obs-route), up to `>`.
    fn angle(&mut self) -> Address<'a> {
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        let mut adl = None;
        loop {
            let before = self.lexer.rest;
            let routed = adl.is_none() && pieces.first().is_none_or(|piece| piece.at);
            match self.lexer.next() {
                None | Some(Token::Special(b'>')) => break,
                Some(Token::Word(text)) => {
                    let piece = self.piece(text, false);
                    pieces.push(piece);
                }
                Some(Token::Comment(text)) => self.comment = Some(text),
                Some(Token::Special(b'@')) => {
                    let piece = self.piece(Cow::Borrowed(b"@"), true);
                    pieces.push(piece);
                }
                Some(Token::Special(b',')) if routed => {
                    let piece = self.piece(Cow::Borrowed(b","), false);
                    pieces.push(piece);
                }
                Some(Token::Special(b':')) if routed => {
                    adl = Some(joined(&pieces, false)).filter(|route| !route.is_empty());
                    pieces.clear();
                }
                Some(Token::Special(b',' | b';')) => {
                    // The closing bracket was forgotten: the next address starts here.
                    self.lexer.rest = before;
                    break;
                }
                Some(Token::Special(_)) => {}
            }
        }
        let (mailbox, host) = match pieces.iter().rposition(|piece| piece.at) {
            Some(at) => (joined(&pieces[..at], false), joined(&pieces[at + 1..], false)),
            None => (joined(&pieces, false), Cow::Borrowed(&b""[..])),
        };
        Address { name: None, adl, mailbox: Some(mailbox), host: Some(host) }
    }

    fn finish(&mut self, pieces: &mut Vec<Piece<'a>>, angled: &mut Option<Address<'a>>) {
        let comment = self.comment.take().filter(|comment| !comment.is_empty());
        let address = match angled.take() {
            Some(address) => Some(address),
            None if pieces.is_empty() => None,
            None => Some(bare(pieces)),
        };
        pieces.clear();
        self.lexer.spaced = false;
        if let Some(mut address) = address {
            address.name = address.name.or(comment);
            self.out.push(address);
        }
    }
}

/// An address without angle brackets. Words before it are its name, though no standard says so.
fn bare<'a>(pieces: &[Piece<'a>]) -> Address<'a> {
    let Some(at) = pieces.iter().rposition(|piece| piece.at) else {
        return Address { mailbox: Some(joined(pieces, true)), host: Some(Cow::Borrowed(b"")), ..Address::default() };
    };
    // RFC 5322 4.4: white space may stand around dots and the @.
    let tied = |left: &Piece<'_>, right: &Piece<'_>| {
        !right.spaced || left.text.ends_with(b".") || right.text.starts_with(b".")
    };
    let mut start = at.saturating_sub(1);
    while start > 0 && tied(&pieces[start - 1], &pieces[start]) {
        start -= 1;
    }
    let mut end = (at + 2).min(pieces.len());
    while end < pieces.len() && tied(&pieces[end - 1], &pieces[end]) {
        end += 1;
    }
    let name = joined(&pieces[..start], true);
    Address {
        name: (!name.is_empty()).then_some(name),
        adl: None,
        mailbox: Some(joined(&pieces[start..at], false)),
        host: Some(joined(&pieces[at + 1..end], false)),
    }
}

/// The pieces in a row, with one space where some white space was if `spaces`.
fn joined<'a>(pieces: &[Piece<'a>], spaces: bool) -> Text<'a> {
    if let [one] = pieces {
        return one.text.clone();
    }
    let mut out = Vec::new();
    for piece in pieces {
        if spaces && piece.spaced && !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(&piece.text);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `name|adl|mailbox|host`, `-` for what is not there.
    fn shown(value: &[u8]) -> Vec<String> {
        let show = |text: &Option<Text<'_>>| match text {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => "-".to_owned(),
        };
        parse_list(value, 100).iter().map(|a| [&a.name, &a.adl, &a.mailbox, &a.host].map(show).join("|")).collect()
    }

    #[test]
    fn the_forms_of_rfc_5322() {
        for (value, expected) in [
            (&b"jdoe@machine.example"[..], &["-|-|jdoe|machine.example"][..]),
            (b"John Doe <jdoe@machine.example>", &["John Doe|-|jdoe|machine.example"]),
            (b"\"Joe Q. Public\" <john.q.public@example.com>", &["Joe Q. Public|-|john.q.public|example.com"]),
            (
                b"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                &["Mary Smith|-|mary|x.test", "-|-|jdoe|example.org", "Who?|-|one|y.test"],
            ),
            (
                b"<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                &["-|-|boss|nil.test", "Giant; \"Big\" Box|-|sysservices|example.net"],
            ),
            (
                b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                &["-|-|A Group|-", "Ed Jones|-|c|a.test", "-|-|joe|where.test", "John|-|jdoe|one.test", "-|-|-|-"],
            ),
            (b"Undisclosed recipients:;", &["-|-|Undisclosed recipients|-", "-|-|-|-"]),
            (b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", &["Pete|-|pete|silly.test"]),
            (b"joe@x.test (Joe (the) User)", &["Joe (the) User|-|joe|x.test"]),
            // Obsolete forms, RFC 5322 A.6.1
            (
                b"Mary Smith <@node.test,@b.test:mary@example.net>, , jdoe@test   . example",
                &["Mary Smith|@node.test,@b.test|mary|example.net", "-|-|jdoe|test.example"],
            ),
            (b"Joe Q. Public <john.q.public@example.com>", &["Joe Q. Public|-|john.q.public|example.com"]),
            (b"a@[192.0.2.1]", &["-|-|a|[192.0.2.1]"]),
            (b"\"a b\"@x.test", &["-|-|a b|x.test"]),
            (b"=?utf-8?q?J=C3=B6?=\r\n =?utf-8?q?rg?= <j@x.test>", &["=?utf-8?q?J=C3=B6?= =?utf-8?q?rg?=|-|j|x.test"]),
        ] {
            assert_eq!(shown(value), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn what_is_broken_is_still_shown() {
        for (value, expected) in [
            (&b"root"[..], &["-|-|root|"][..]),
            (b"John Doe john@x.test", &["John Doe|-|john|x.test"]),
            (b"a@b.test <c@d.test>", &["a@b.test|-|c|d.test"]),
            (b"<a@b.test, c@d.test", &["-|-|a|b.test", "-|-|c|d.test"]),
            (b"MAILER-DAEMON <>", &["MAILER-DAEMON|-||"]),
            (b"a@b@c.test", &["-|-|a@b|c.test"]),
            (b"\"never closed <a@b.test>", &["-|-|never closed <a@b.test>|"]),
            (b"Group: a@b.test", &["-|-|Group|-", "-|-|a|b.test", "-|-|-|-"]),
            (b"", &[]),
            (b" ,;, ", &[]),
            (b")]>\\", &["-|-|)]\\|"]),
        ] {
            assert_eq!(shown(value), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_long_list_is_cut_and_its_group_closed() {
        let mut value = b"g:".to_vec();
        value.extend(b"a@b,".repeat(100_000));
        let list = parse_list(&value, 50);
        assert!(list.len() <= 51);
        assert!(list.first().unwrap().is_group_start() && list.last().unwrap().is_group_end());
    }
}
