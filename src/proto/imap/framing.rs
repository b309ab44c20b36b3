//! From bytes to commands: lines, literals, and the caps on both.
//!
//! A command is gathered in one buffer with its literals inside, as they came (`a LOGIN {5}` CR LF `alice …`), so that the
//! grammar reads it in one go. At each literal the machine decides: take it in, stream it (the message of APPEND), or
//! refuse it; what a refused command still sends is skipped here without being kept (RFC 7888 4).

use bytes::{Bytes, BytesMut};

/// How much of a refused command's head is kept, to find its tag.
const HEAD: usize = 256;
/// Longer than any literal announcement: what is kept of the end of a line that is skipped.
const TAIL: usize = 32;
const CHUNK: usize = 64 * 1024;

pub(super) struct Framing {
    input: BytesMut,
    /// The command as gathered so far, line ends before literals included.
    command: Vec<u8>,
    /// Up to here `input` has no line end.
    scanned: usize,
    mode: Mode,
    /// The command was refused: what belongs to it is skipped.
    skipping: bool,
    pub caps: Caps,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// Bytes a command may have, with its literals.
    pub command: usize,
    /// Bytes of one line, without its line end.
    pub line: usize,
    /// Bytes of one literal that is taken in.
    pub literal: u64,
    /// Bytes of one literal that may be skipped.
    pub skip: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Line,
    /// Until the machine has decided about this literal.
    Decide(Literal),
    Take(u64),
    Stream(u64),
    Skip(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub size: u64,
    /// False for `{n+}` (RFC 7888): the client does not wait.
    pub sync: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Without its last line end.
    Command(Vec<u8>),
    /// [`Framing::gathered`] ends with this literal's announcement.
    Literal(Literal),
    /// Of a streamed literal.
    Chunk(Bytes),
    /// A command longer than may be began like this; the rest of it is skipped.
    TooLong(Vec<u8>),
    /// A literal that is too large even to be skipped.
    Flood,
}

impl Framing {
    pub fn new(caps: Caps) -> Framing {
        Framing { input: BytesMut::new(), command: Vec::new(), scanned: 0, mode: Mode::Line, skipping: false, caps }
    }

    pub fn push(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        } else {
            self.input.extend_from_slice(&bytes);
        }
    }

    /// Forgets everything that came (S4).
    pub fn clear(&mut self) {
        *self = Framing::new(self.caps);
    }

    /// Bytes that wait here.
    pub fn waiting(&self) -> usize {
        self.input.len()
    }

    /// The command up to and with the announcement of the literal that was just told.
    pub fn gathered(&self) -> &[u8] {
        &self.command
    }

    /// The next frame; `None` until there is more input or a decision.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            match self.mode {
                Mode::Decide(_) => return None,
                Mode::Take(0) | Mode::Stream(0) | Mode::Skip(0) => self.mode = Mode::Line,
                Mode::Take(left) => {
                    let part = self.split(left, usize::MAX)?;
                    self.mode = Mode::Take(left - part.len() as u64);
                    self.command.extend_from_slice(&part);
                }
                Mode::Skip(left) => {
                    let part = self.split(left, usize::MAX)?;
                    self.mode = Mode::Skip(left - part.len() as u64);
                }
                Mode::Stream(left) => {
                    let part = self.split(left, CHUNK)?;
                    self.mode = Mode::Stream(left - part.len() as u64);
                    return Some(Frame::Chunk(part.freeze()));
                }
                Mode::Line => {
                    if let Some(frame) = self.line()? {
                        return Some(frame);
                    }
                }
            }
        }
    }

    /// `Some(None)`: go on.
    fn line(&mut self) -> Option<Option<Frame>> {
        let Some(line) = self.split_line() else {
            if self.skipping {
                let drop = self.input.len().saturating_sub(TAIL);
                let _ = self.input.split_to(drop);
                self.scanned = self.input.len();
            } else if self.too_long(self.input.len()) {
                self.skipping = true;
                return Some(Some(Frame::TooLong(self.head())));
            }
            return None;
        };
        let literal = announced(&line);
        if self.skipping {
            return Some(self.skip_from(literal));
        }
        if self.too_long(line.len()) {
            self.command.extend(line.iter().take(HEAD));
            let head = self.head();
            self.skipping = true;
            return Some(match self.skip_from(literal) {
                Some(flood) => Some(flood),
                None => Some(Frame::TooLong(head)),
            });
        }
        self.command.extend_from_slice(&line);
        Some(Some(match literal {
            None => Frame::Command(std::mem::take(&mut self.command)),
            Some(literal) => {
                self.mode = Mode::Decide(literal);
                Frame::Literal(literal)
            }
        }))
    }

    /// Whether this much more of a line is more than may be.
    fn too_long(&self, line: usize) -> bool {
        line > self.caps.line || self.command.len() + line > self.caps.command
    }

    /// At the end of a skipped line: another literal comes by itself, or the refused command ends here. A client that
    /// waits for a go-ahead has read the refusal instead.
    fn skip_from(&mut self, literal: Option<Literal>) -> Option<Frame> {
        match literal {
            Some(Literal { size, sync: false }) if size > self.caps.skip => Some(Frame::Flood),
            Some(Literal { size, sync: false }) => {
                self.mode = Mode::Skip(size);
                None
            }
            _ => {
                self.skipping = false;
                None
            }
        }
    }

    fn head(&mut self) -> Vec<u8> {
        let room = HEAD.saturating_sub(self.command.len());
        let mut head = std::mem::take(&mut self.command);
        head.extend(self.input.iter().take(room));
        head.truncate(HEAD);
        head
    }

    /// Takes the announced literal into the command. False if there is no room for it; then nothing was done.
    pub fn take_literal(&mut self) -> bool {
        let Mode::Decide(literal) = self.mode else { return false };
        let room = self.caps.command.saturating_sub(self.command.len() + 2);
        if literal.size > self.caps.literal.min(room as u64) {
            return false;
        }
        self.command.extend_from_slice(b"\r\n");
        self.mode = Mode::Take(literal.size);
        true
    }

    /// Hands the announced literal out in chunks; what follows it comes as a command of its own.
    pub fn stream_literal(&mut self) {
        if let Mode::Decide(literal) = self.mode {
            self.command.clear();
            self.mode = Mode::Stream(literal.size);
        }
    }

    /// Refuses the command. False if its literal is too large to be skipped: the connection has to end.
    pub fn refuse_literal(&mut self) -> bool {
        let Mode::Decide(literal) = self.mode else { return true };
        self.command.clear();
        self.mode = Mode::Line;
        self.skipping = true;
        self.skip_from(Some(literal)).is_none()
    }

    /// A line outside of the command grammar (a SASL response, DONE), without its line end; `Err` if it is too long.
    pub fn plain_line(&mut self) -> Option<Result<Bytes, ()>> {
        match self.split_line() {
            Some(line) if line.len() > self.caps.line => Some(Err(())),
            Some(line) => Some(Ok(line.freeze())),
            None if self.input.len() > self.caps.line => Some(Err(())),
            None => None,
        }
    }

    /// RFC 9051 2.2: lines end with CRLF; LF alone is understood too, as every other server does.
    fn split_line(&mut self) -> Option<BytesMut> {
        let fresh = self.input.get(self.scanned..)?;
        let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.input.len();
            self.let_go();
            return None;
        };
        let mut line = self.input.split_to(self.scanned + at + 1);
        self.scanned = 0;
        line.truncate(line.len() - 1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }

    fn split(&mut self, left: u64, most: usize) -> Option<BytesMut> {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len()).min(most);
        self.scanned = 0;
        self.let_go();
        (n > 0).then(|| self.input.split_to(n))
    }

    /// A connection that waits keeps no buffer.
    fn let_go(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

/// The literal at the end of a line: `{n}`, `{n+}`. A number that is too long counts as the largest.
fn announced(line: &[u8]) -> Option<Literal> {
    let rest = line.strip_suffix(b"}")?;
    let (rest, sync) = match rest.strip_suffix(b"+") {
        Some(rest) => (rest, false),
        None => (rest, true),
    };
    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = rest.split_at(rest.len() - digits);
    if number.is_empty() || before.last() != Some(&b'{') {
        return None;
    }
    let size = number.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Literal { size, sync })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps { command: 40, line: 40, literal: 40, skip: 1000 };

    /// What a fixed machine makes of the input, in pieces of `piece` bytes: it takes small literals, refuses others.
    fn frames(input: &[u8], piece: usize) -> Vec<String> {
        let mut framing = Framing::new(CAPS);
        let mut out = Vec::new();
        for part in input.chunks(piece) {
            framing.push(Bytes::copy_from_slice(part));
            while let Some(frame) = framing.next() {
                match frame {
                    Frame::Literal(_) => {
                        if !framing.take_literal() {
                            out.push(format!("refused {}", framing.refuse_literal()));
                        }
                    }
                    Frame::Command(bytes) => out.push(format!("command {}", String::from_utf8_lossy(&bytes))),
                    // Only the tag matters of what was too long.
                    Frame::TooLong(head) => out.push(format!("long {}", String::from_utf8_lossy(&head[..2]))),
                    other => out.push(format!("{other:?}")),
                }
            }
        }
        out
    }

    #[test]
    fn commands_come_out_the_same_however_they_are_cut() {
        let input = b"a NOOP\r\nb LOGIN {5}\r\nalice {3+}\r\nx\r\n\r\nc {35}\r\nd {35+}\r\n01234567890123456789012345678901234 more {4+}\r\nabcd\r\n\
            e NOOP xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx {2+}\r\n\n\n tail\r\nf NOOP\n\
            g XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX {9}\r\nh OK\r\n";
        let whole = frames(input, input.len());
        assert_eq!(
            whole,
            [
                "command a NOOP",
                "command b LOGIN {5}\r\nalice {3+}\r\nx\r\n",
                "refused true",
                "refused true",
                "long e ",
                "command f NOOP",
                "long g ",
                "command h OK",
            ]
        );
        for piece in [1, 2, 3, 7, 50] {
            assert_eq!(frames(input, piece), whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_literal_too_large_to_be_skipped_is_told() {
        assert_eq!(frames(b"a LOGIN {99999999999999999999999+}\r\n", 100), ["refused false"]);
        let long = [b"a NOOP ".as_slice(), &[b'x'; 100], b"{2000+}\r\n"].concat();
        assert_eq!(frames(&long, 1).last().map(String::as_str), Some("Flood"));
    }

    #[test]
    fn only_whole_announcements_count() {
        assert_eq!(announced(b"a {10}"), Some(Literal { size: 10, sync: true }));
        assert_eq!(announced(b"a ~{10+}"), Some(Literal { size: 10, sync: false }));
        for line in [b"a {}".as_slice(), b"a {+}", b"a 10}", b"a {1x}", b"a {10", b"}", b"", b"{-1}"] {
            assert_eq!(announced(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_streamed_literal_comes_in_chunks_and_is_not_gathered() {
        let mut framing = Framing::new(CAPS);
        framing.push(Bytes::from_static(b"a APPEND x {100000}\r\n"));
        assert!(matches!(framing.next(), Some(Frame::Literal(_))));
        framing.stream_literal();
        framing.push(Bytes::from(vec![b'm'; 100_000]));
        framing.push(Bytes::from_static(b"\r\nb NOOP\r\n"));
        let mut total = 0;
        while let Some(Frame::Chunk(chunk)) = framing.next() {
            assert!(chunk.len() <= CHUNK);
            total += chunk.len();
        }
        assert_eq!(total, 100_000);
        assert_eq!(framing.next(), Some(Frame::Command(b"b NOOP".to_vec())));
    }
}
