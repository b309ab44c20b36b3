//! The terminals of RFC 9051 section 9, read from a command that lies whole in memory.

use std::borrow::Cow;

/// Why a command cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::imap) enum Bad {
    /// Told to the client with BAD.
    Syntax(&'static str),
    /// The command goes on behind a literal that was only announced.
    Open,
    /// SEARCH in a charset we do not know: NO [BADCHARSET].
    Charset,
}

pub(in crate::proto::imap) type Read<T> = Result<T, Bad>;

const ATOM: u8 = 1;
const ASTRING: u8 = 2;
const LIST: u8 = 4;

/// RFC 9051 9: ATOM-CHAR, ASTRING-CHAR, list-char.
const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = match byte as u8 {
            b'(' | b')' | b'{' | b'"' | b'\\' => 0,
            b'%' | b'*' => LIST,
            b']' => ASTRING | LIST,
            _ => ATOM | ASTRING | LIST,
        };
        byte += 1;
    }
    table
};

fn is(byte: u8, class: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
}

/// True if this can be written as an atom.
pub(in crate::proto::imap) fn is_atom(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is(*byte, ATOM))
}

pub(in crate::proto::imap) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn advance(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = tail;
        head
    }

    pub fn take_while(&mut self, test: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.rest.iter().position(|byte| !test(*byte)).unwrap_or(self.rest.len());
        self.advance(n)
    }

    /// Consumes this byte if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.advance(1);
        }
        there
    }

    /// Consumes this word if it is next, in any case.
    pub fn eat_word(&mut self, word: &str) -> bool {
        let there = self.rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
        if there {
            self.advance(word.len());
        }
        there
    }

    pub fn need(&mut self, byte: u8, why: &'static str) -> Read<()> {
        if self.eat(byte) { Ok(()) } else { Err(Bad::Syntax(why)) }
    }

    pub fn space(&mut self) -> Read<()> {
        self.need(b' ', "A space is missing")
    }

    /// Nothing may follow. Spaces at the end are let pass (quirk_trailing_space: several old clients).
    pub fn end(&mut self) -> Read<()> {
        self.take_while(|byte| byte == b' ');
        if self.rest.is_empty() { Ok(()) } else { Err(Bad::Syntax("There is more than the command takes")) }
    }

    pub fn atom(&mut self) -> Read<&'a [u8]> {
        match self.take_while(|byte| is(byte, ATOM)) {
            [] => Err(Bad::Syntax("An atom is missing")),
            atom => Ok(atom),
        }
    }

    /// An atom as text in upper case, for keywords of the grammar.
    pub fn keyword(&mut self) -> Read<String> {
        Ok(String::from_utf8_lossy(self.atom()?).to_ascii_uppercase())
    }

    /// RFC 9051 9 tag: ASTRING-CHARs without `+`.
    pub fn tag(&mut self) -> Read<&'a [u8]> {
        match self.take_while(|byte| is(byte, ASTRING) && byte != b'+') {
            [] => Err(Bad::Syntax("A tag is missing")),
            tag => Ok(tag),
        }
    }

    pub fn astring(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => match self.take_while(|byte| is(byte, ASTRING)) {
                [] => Err(Bad::Syntax("A string is missing")),
                atom => Ok(Cow::Borrowed(atom)),
            },
        }
    }

    /// list-mailbox: an astring that may have wildcards.
    pub fn pattern(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => match self.take_while(|byte| is(byte, LIST)) {
                [] => Err(Bad::Syntax("A mailbox pattern is missing")),
                atom => Ok(Cow::Borrowed(atom)),
            },
        }
    }

    pub fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(Bad::Syntax("A string is missing")),
        }
    }

    /// `None` for NIL.
    pub fn nstring(&mut self) -> Read<Option<Cow<'a, [u8]>>> {
        if self.eat_word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// RFC 9051 9 quoted. Bytes over 127 are let in (UTF-8, as RFC 9051 has it); line ends cannot occur here.
    fn quoted(&mut self) -> Read<Cow<'a, [u8]>> {
        self.need(b'"', "A string is missing")?;
        let plain = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | 0 | b'\r' | b'\n'));
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        loop {
            match self.advance(1) {
                b"\"" => return Ok(Cow::Owned(text)),
                b"\\" => match self.advance(1) {
                    [escaped @ (b'"' | b'\\')] => text.push(*escaped),
                    _ => return Err(Bad::Syntax("Only quotes and backslashes are escaped in a quoted string")),
                },
                [] | [0 | b'\r' | b'\n'] => return Err(Bad::Syntax("A quoted string does not end")),
                other => text.extend_from_slice(other),
            }
        }
    }

    fn literal(&mut self) -> Read<&'a [u8]> {
        self.need(b'{', "A literal is missing")?;
        let size = usize::try_from(self.number64()?).map_err(|_| Bad::Syntax("A literal is too large"))?;
        self.eat(b'+');
        self.need(b'}', "A literal is not announced rightly")?;
        if self.rest.is_empty() {
            return Err(Bad::Open);
        }
        if !self.eat_word("\r\n") || self.rest.len() < size {
            return Err(Bad::Syntax("A literal is not whole"));
        }
        let bytes = self.advance(size);
        // RFC 9051 9: CHAR8 is without NUL.
        if bytes.contains(&0) { Err(Bad::Syntax("A literal has a NUL in it")) } else { Ok(bytes) }
    }

    pub fn number64(&mut self) -> Read<u64> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(Bad::Syntax("A number is missing or too large"))
    }

    pub fn number(&mut self) -> Read<u32> {
        u32::try_from(self.number64()?).map_err(|_| Bad::Syntax("A number is too large"))
    }

    pub fn nz_number(&mut self) -> Read<u32> {
        match self.number()? {
            0 => Err(Bad::Syntax("A number may not be zero here")),
            n => Ok(n),
        }
    }

    /// `(` things with spaces between `)`.
    pub fn list<T>(&mut self, most: usize, mut thing: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.need(b'(', "A list is missing")?;
        let mut out = Vec::new();
        if self.eat(b')') {
            return Ok(out);
        }
        loop {
            if out.len() >= most {
                return Err(Bad::Syntax("A list is too long"));
            }
            out.push(thing(self)?);
            if self.eat(b')') {
                return Ok(out);
            }
            self.need(b' ', "A list does not end")?;
        }
    }
}

pub(in crate::proto::imap) fn utf8(bytes: Cow<'_, [u8]>) -> Read<String> {
    String::from_utf8(bytes.into_owned()).map_err(|_| Bad::Syntax("A string is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_all_kinds() {
        let read =
            |bytes: &'static [u8]| Reader::new(bytes).astring().map(|s| String::from_utf8_lossy(&s).into_owned());
        assert_eq!(read(b"atom] rest").as_deref(), Ok("atom]"));
        assert_eq!(read(b"\"a \\\"b\\\\\" x").as_deref(), Ok("a \"b\\"));
        assert_eq!(read(b"\"\"").as_deref(), Ok(""));
        assert_eq!(read(b"{3}\r\na\"b").as_deref(), Ok("a\"b"));
        assert_eq!(read(b"{3+}\r\n\r\n\r").as_deref(), Ok("\r\n\r"));
        assert_eq!(read(b"{3}"), Err(Bad::Open));
        for bad in [
            b"".as_slice(),
            b"(",
            b"\"a",
            b"\"a\\x\"",
            b"{4}\r\nabc",
            b"{1}\r\n\0",
            b"\"a\0b\"",
            b"{x}\r\n",
            b"\xc3\xa9",
        ] {
            assert!(matches!(read(bad), Err(Bad::Syntax(_))), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(Reader::new(b"4294967295").nz_number(), Ok(u32::MAX));
        assert!(Reader::new(b"4294967296").number().is_err());
        assert!(Reader::new(b"0").nz_number().is_err());
        assert!(Reader::new(b"x").number().is_err());
    }
}
