//! A letter out of a stream of bytes: where it ends, which dots are not its own, and what no letter may hold.
//!
//! Only CR LF `.` CR LF ends a letter (RFC 5321 4.1.1.4). Everything that some other server might take for its end
//! (`\n.\n`, `\r\n.\n`, `\n.\r\n`, `\r.\r\n` and their like) holds a bare CR or a bare LF, and a letter with one of those
//! is read on to its real end and then refused whole (X1): the difference between two servers' ideas of the end is what
//! lets a forged letter hide in an honest one.

use bytes::{Buf, BytesMut};

use super::limits::Limits;
use super::reply::Reply;

/// Why a letter is refused before anybody read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    BareCr,
    BareLf,
    Nul,
    LineTooLong,
    HeaderTooLarge,
    TooLarge,
}

impl Fault {
    pub(super) fn reply(self) -> Reply {
        match self {
            Fault::BareCr => Reply::new(554, (5, 6, 0), "The letter holds a bare CR; lines end with CR LF"),
            Fault::BareLf => Reply::new(554, (5, 6, 0), "The letter holds a bare LF; lines end with CR LF"),
            Fault::Nul => Reply::new(554, (5, 6, 0), "The letter holds a NUL"),
            Fault::LineTooLong => Reply::new(554, (5, 6, 0), "The letter has a line that is too long"),
            Fault::HeaderTooLarge => Reply::new(552, (5, 3, 4), "The letter's header section is too large"),
            Fault::TooLarge => Reply::new(552, (5, 3, 4), "The letter is too large"),
        }
    }
}

/// Looks at a letter's bytes as they come, and remembers the first thing that is wrong with them.
#[derive(Debug)]
pub(super) struct Content {
    message_limit: u64,
    header_limit: u64,
    line_limit: u64,
    /// Bytes so far.
    pub(super) size: u64,
    /// Bytes of the current line so far.
    line: u64,
    /// The last byte was a CR.
    cr: bool,
    header: Header,
    pub(super) fault: Option<Fault>,
}

/// How far the header section goes: to the first empty line, or to the first line that is no field.
#[derive(Debug)]
enum Header {
    Within { folded: bool, colon: bool },
    Over,
}

impl Content {
    pub(super) fn new(limits: &Limits) -> Content {
        Content {
            message_limit: limits.message_bytes,
            header_limit: limits.header_bytes,
            line_limit: limits.body_line_bytes,
            size: 0,
            line: 0,
            cr: false,
            header: Header::Within { folded: false, colon: false },
            fault: None,
        }
    }

    /// The next bytes. Those of a letter without fault go to `out`.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let mut rest = bytes;
        while self.fault.is_none() && !rest.is_empty() {
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n' | 0)).unwrap_or(rest.len());
            let (text, special) = rest.split_at(end);
            self.text(text);
            rest = special;
            if let (None, Some((byte, behind))) = (self.fault, special.split_first()) {
                self.special(*byte);
                rest = behind;
            }
        }
        self.size = self.size.saturating_add(rest.len() as u64);
        if self.fault.is_none() {
            out.extend_from_slice(bytes);
        }
    }

    /// The letter is complete.
    pub(super) fn finish(&mut self) {
        if self.cr {
            self.fail(Fault::BareCr);
        }
    }

    /// So much beyond the limit that reading on to the end is not worth it.
    pub(super) fn is_hopeless(&self) -> bool {
        self.size / 2 > self.message_limit
    }

    fn text(&mut self, text: &[u8]) {
        let Some(first) = text.first() else {
            return;
        };
        if self.cr {
            return self.fail(Fault::BareCr);
        }
        if let Header::Within { folded, colon } = &mut self.header {
            if self.line == 0 {
                *folded = matches!(first, b' ' | b'\t');
            }
            *colon = *colon || text.contains(&b':');
        }
        // What is passed first is what is told, however the bytes were cut (S2).
        let (room, fault) = self.room();
        let line_room = self.line_limit.saturating_sub(self.line);
        let (room, fault) = if line_room < room { (line_room, Fault::LineTooLong) } else { (room, fault) };
        let len = text.len() as u64;
        self.line = self.line.saturating_add(len);
        self.size = self.size.saturating_add(len);
        if len > room {
            self.fail(fault);
        }
    }

    /// How many bytes more the letter may have for now, and what is wrong when it has more.
    fn room(&self) -> (u64, Fault) {
        let message = self.message_limit.saturating_sub(self.size);
        let header = self.header_limit.saturating_sub(self.size);
        match self.header {
            Header::Within { .. } if header < message => (header, Fault::HeaderTooLarge),
            _ => (message, Fault::TooLarge),
        }
    }

    fn special(&mut self, byte: u8) {
        match (self.cr, byte) {
            (_, 0) => self.fail(Fault::Nul),
            (true, b'\n') => {
                self.cr = false;
                if let Header::Within { folded, colon } = self.header {
                    // The empty line, or one that is no field: what follows is the body.
                    self.header = if self.line > 0 && (folded || colon) {
                        Header::Within { folded: false, colon: false }
                    } else {
                        Header::Over
                    };
                }
                self.line = 0;
            }
            (false, b'\n') => self.fail(Fault::BareLf),
            (true, _) => self.fail(Fault::BareCr),
            (false, _) => self.cr = true,
        }
        let (room, fault) = self.room();
        if room == 0 {
            self.fail(fault);
        }
        self.size = self.size.saturating_add(1);
    }

    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

/// DATA (RFC 5321 4.1.1.4, 4.5.2): undoes the dots and finds the end.
#[derive(Debug)]
pub(super) struct Dots {
    at: At,
    /// The last bytes as they came, oldest first.
    tail: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind CR LF, or at the beginning.
    Start,
    Text,
    Cr,
    /// Behind a dot at the start of a line; it is not passed on.
    Dot,
    /// Behind that and a CR, which is passed on if this is not the end.
    DotCr,
}

impl Dots {
    pub(super) fn new() -> Dots {
        Dots { at: At::Start, tail: *b"  \r\n" }
    }

    /// Takes from `input` up to the end of the letter, if that is in it: then true.
    pub(super) fn take(&mut self, input: &mut BytesMut, content: &mut Content, out: &mut BytesMut) -> bool {
        let mut used = 0;
        let mut ended = false;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty() && !ended) {
            let byte = rest.first().copied().unwrap_or_default();
            let mut step = 1;
            match (self.at, byte) {
                (At::Start, b'.') => self.at = At::Dot,
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::DotCr, b'\n') => ended = true,
                (At::DotCr, _) => {
                    // It was not the end: the CR belongs to the text, where it is a bare one.
                    content.take(b"\r", out);
                    self.at = At::Cr;
                    step = 0;
                }
                (At::Cr, b'\n') => {
                    content.take(b"\n", out);
                    self.at = At::Start;
                }
                _ => {
                    // Up to and with the next CR.
                    let end = rest.iter().position(|b| *b == b'\r');
                    step = end.map_or(rest.len(), |end| end + 1);
                    content.take(rest.get(..step).unwrap_or_default(), out);
                    self.at = if end.is_some() { At::Cr } else { At::Text };
                }
            }
            used += step;
        }
        for byte in input.get(used.saturating_sub(self.tail.len())..used).unwrap_or_default() {
            self.tail.rotate_left(1);
            self.tail[3] = *byte;
        }
        input.advance(used);
        ended
    }

    /// The last bytes look like an end to somebody, though they are none: a peer that is silent now may well be waiting
    /// for its reply.
    pub(super) fn looks_ended(&self) -> bool {
        let is_end = |b: u8| matches!(b, b'\r' | b'\n');
        match self.tail {
            [_, before, b'.', last] if is_end(before) && is_end(last) => true,
            [before, b'.', a, b] if is_end(before) && is_end(a) && is_end(b) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { message_bytes: 100, header_bytes: 60, body_line_bytes: 40, ..Limits::default() }
    }

    /// Letter, fault and what is left, of a DATA stream in pieces of `size`; `None` while it has not ended.
    fn data(input: &[u8], size: usize) -> Option<(Vec<u8>, Option<Fault>, Vec<u8>)> {
        let (mut dots, mut content, mut out) = (Dots::new(), Content::new(&limits()), BytesMut::new());
        let mut pieces = input.chunks(size);
        while let Some(piece) = pieces.next() {
            let mut piece = BytesMut::from(piece);
            if dots.take(&mut piece, &mut content, &mut out) {
                content.finish();
                let left = pieces.fold(piece.to_vec(), |left, piece| [left.as_slice(), piece].concat());
                return Some((out.to_vec(), content.fault, left));
            }
        }
        None
    }

    fn each_way(input: &[u8], letter: &[u8], left: &[u8]) {
        for size in [1, 2, 3, 5, 7, 1000] {
            let (found, fault, rest) = data(input, size).expect("it ends");
            assert_eq!(
                (found.as_slice(), fault, rest.as_slice()),
                (letter, None, left),
                "{input:?} in pieces of {size}"
            );
        }
    }

    fn refused(input: &[u8], expected: Fault, left: &[u8]) {
        for size in [1, 2, 3, 5, 7, 1000] {
            let (_, fault, rest) = data(input, size).unwrap_or_else(|| panic!("{input:?} ends"));
            assert_eq!((fault, rest.as_slice()), (Some(expected), left), "{input:?} in pieces of {size}");
        }
    }

    #[test]
    fn dots_are_undone_rfc5321_4_5_2() {
        each_way(b".\r\nQUIT\r\n", b"", b"QUIT\r\n");
        each_way(b"a\r\n.\r\n", b"a\r\n", b"");
        each_way(b"..\r\n..a\r\n.b\r\na.\r\n...\r\n.\r\nNOOP", b".\r\n.a\r\nb\r\na.\r\n..\r\n", b"NOOP");
        each_way(b"S: x\r\n\r\n.\r\n.\r\n", b"S: x\r\n\r\n", b".\r\n");
    }

    #[test]
    fn x1_no_other_end_is_one() {
        let ends: [(&[u8], Fault); 16] = [
            (b"\n.\n", Fault::BareLf),
            (b"\n.\r\n", Fault::BareLf),
            (b"\r\n.\n", Fault::BareLf),
            (b"\r.\r", Fault::BareCr),
            (b"\r.\r\n", Fault::BareCr),
            (b"\r\n.\r", Fault::BareCr),
            (b"\r.\n", Fault::BareCr),
            (b"\n.\r", Fault::BareLf),
            (b"\r\r\n.\r\r\n", Fault::BareCr),
            (b"\r\n.\r\r\n", Fault::BareCr),
            (b"\r\n\0.\r\n", Fault::Nul),
            (b"\r\n.\0\r\n", Fault::Nul),
            (b"\r\0\n.\r\0\n", Fault::Nul),
            (b"\n\r.\n\r", Fault::BareLf),
            (b"\r\n.\n\r\n", Fault::BareLf),
            (b"\r\n..\n", Fault::BareLf),
        ];
        for (end, fault) in ends {
            let input = [b"a: b\r\n\r\nhello".as_slice(), end, b"MAIL FROM:<x@y>\r\n.\r\nQUIT\r\n"].concat();
            refused(&input, fault, b"QUIT\r\n");
        }
    }

    #[test]
    fn a_look_alike_end_is_noticed() {
        for (input, looks) in [
            ("a\n.\n", true),
            ("a\r\n.\n", true),
            ("a\r.\r", true),
            ("a\n.\r\n", true),
            ("a.\r\n", false),
            ("a\n..\n", false),
        ] {
            for size in [1, 2, 1000] {
                let (mut dots, mut content, mut out) = (Dots::new(), Content::new(&limits()), BytesMut::new());
                for piece in input.as_bytes().chunks(size) {
                    assert!(!dots.take(&mut BytesMut::from(piece), &mut content, &mut out));
                }
                assert_eq!(dots.looks_ended(), looks, "{input:?}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_named() {
        refused(&[b"\r\n".as_slice(), &b"x".repeat(41), b"\r\n.\r\n"].concat(), Fault::LineTooLong, b"");
        each_way(
            &[b"\r\n".as_slice(), &b"x".repeat(40), b"\r\n.\r\n"].concat(),
            &[b"\r\n".as_slice(), &b"x".repeat(40), b"\r\n"].concat(),
            b"",
        );
        refused(&[b"a: b\r\n".repeat(11).as_slice(), b"\r\n.\r\n"].concat(), Fault::HeaderTooLarge, b"");
        // The same bytes are no header when the first line is no field, or when the section has ended.
        each_way(
            &[b"hello\r\n".as_slice(), &b"a: b\r\n".repeat(11), b".\r\n"].concat(),
            &[b"hello\r\n".as_slice(), &b"a: b\r\n".repeat(11)].concat(),
            b"",
        );
        refused(&[b"\r\n".as_slice(), &b"abcdefgh\r\n".repeat(10), b".\r\n"].concat(), Fault::TooLarge, b"");
    }
}
