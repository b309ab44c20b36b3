//! Command lines out of a stream of bytes (RFC 5321 2.3.8: they end with CR LF and with nothing else).

use bytes::{Buf, BytesMut};

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its CR LF. It holds no CR, no LF and no NUL.
    Whole(BytesMut),
    /// A line ended that holds a bare CR or a NUL; it is gone.
    Dirty(&'static str),
    /// A line ended that was too long; it is gone.
    TooLong,
    /// A LF without its CR: where this peer thinks that lines end cannot be known.
    BareLf,
    /// There is no whole line yet.
    Partial,
}

/// Remembers what must not be looked at again.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Bytes at the front of the input that hold no LF.
    searched: usize,
    /// The line grew beyond the limit and was thrown away so far; what comes up to its end is too.
    overflowed: bool,
}

impl Lines {
    /// Takes the next line. `limit` counts the CR LF; what is longer is dropped as it comes, so that at most `limit`
    /// bytes of an unfinished line stay in `input`.
    pub(super) fn next(&mut self, input: &mut BytesMut, limit: impl FnOnce(&[u8]) -> usize) -> Line {
        let limit = limit(input);
        let unseen = input.get(self.searched..).unwrap_or_default();
        let Some(lf) = unseen.iter().position(|b| *b == b'\n').map(|at| at + self.searched) else {
            // A CR at the very end may be half of the line's end: it stays.
            if input.len() > limit || self.overflowed {
                self.overflowed = true;
                let keep = usize::from(input.last() == Some(&b'\r'));
                input.advance(input.len() - keep);
            }
            self.searched = input.len();
            return Line::Partial;
        };
        let mut line = input.split_to(lf + 1);
        let overflowed = std::mem::take(&mut self.overflowed) || line.len() > limit;
        self.searched = 0;
        if !line.ends_with(b"\r\n") {
            return Line::BareLf;
        }
        line.truncate(line.len() - 2);
        if overflowed {
            Line::TooLong
        } else if line.contains(&b'\r') {
            Line::Dirty("a bare carriage return")
        } else if line.contains(&0) {
            Line::Dirty("a NUL")
        } else {
            Line::Whole(line)
        }
    }

    /// The input was dropped.
    pub(super) fn reset(&mut self) {
        *self = Lines::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of `input`, given in pieces of `size`; and the most that was ever kept.
    fn lines(input: &[u8], size: usize, limit: usize) -> (Vec<Line>, usize) {
        let (mut kept, mut most, mut framer, mut out) = (BytesMut::new(), 0, Lines::default(), Vec::new());
        for piece in input.chunks(size) {
            kept.extend_from_slice(piece);
            loop {
                match framer.next(&mut kept, |_| limit) {
                    Line::Partial => break,
                    line => out.push(line),
                }
            }
            most = most.max(kept.len());
        }
        (out, most)
    }

    fn whole(text: &str) -> Line {
        Line::Whole(BytesMut::from(text))
    }

    #[test]
    fn lines_end_with_cr_lf_only_however_they_are_cut() {
        let input = b"EHLO a\r\n\r\nNO\rOP\r\nNO\0OP\r\nRSET\r\r\nNOOP\nQUIT\r\n";
        for size in [1, 2, 3, 7, 100] {
            let (found, _) = lines(input, size, 100);
            let dirty = "a bare carriage return";
            let expected = [
                whole("EHLO a"),
                whole(""),
                Line::Dirty(dirty),
                Line::Dirty("a NUL"),
                Line::Dirty(dirty),
                Line::BareLf,
                whole("QUIT"),
            ];
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn long_lines_are_dropped_as_they_come() {
        let input =
            [b"a".repeat(38).as_slice(), b"\r\n", &b"b".repeat(39), b"\r\n", &b"c\r".repeat(5000), b"\nNOOP\r\n"]
                .concat();
        for size in [1, 7, 20_000] {
            let (found, most) = lines(&input, size, 40);
            assert_eq!(
                found,
                [whole(&"a".repeat(38)), Line::TooLong, Line::TooLong, whole("NOOP")],
                "in pieces of {size}"
            );
            assert!(most <= 40 + size, "{most} bytes kept");
        }
    }
}
