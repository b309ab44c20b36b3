//! Replies as they come in (RFC 5321 4.2, RFC 2034).

use super::super::Reply;

/// Octets of one line. RFC 5321 4.5.3.1.5 has 512; some servers do not count.
const MAX_LINE: usize = 4096;
/// Lines of one reply.
const MAX_LINES: usize = 128;

/// Not a reply, or one without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Default)]
pub(super) struct Replies {
    buffer: Vec<u8>,
    /// Of the reply that has begun.
    code: Option<u16>,
    lines: Vec<String>,
}

impl Replies {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Y3.
    pub(super) fn forget(&mut self) {
        *self = Replies::default();
    }

    /// The next whole reply, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, Malformed> {
        loop {
            // A bare LF ends a line as well: nothing hangs on it here, and some servers send nothing else.
            let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
                return if self.buffer.len() > MAX_LINE { Err(Malformed) } else { Ok(None) };
            };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if line.len() > MAX_LINE {
                return Err(Malformed);
            }
            let line = String::from_utf8_lossy(&line);
            let (code, last, text) = split(line.trim_end_matches(['\r', '\n'])).ok_or(Malformed)?;
            // RFC 5321 4.2.1: all lines of a reply have the same code. The last one decides where a server thinks otherwise.
            self.code = Some(code);
            if self.lines.len() >= MAX_LINES {
                return Err(Malformed);
            }
            self.lines.push(text.chars().filter(|c| !c.is_control()).collect());
            if last {
                self.code = None;
                return Ok(Some(reply(code, std::mem::take(&mut self.lines))));
            }
        }
    }
}

/// Code, whether it is the last line, text.
fn split(line: &str) -> Option<(u16, bool, &str)> {
    let code = line.get(..3)?;
    let known = code.bytes().all(|b| b.is_ascii_digit()) && matches!(code.as_bytes()[0], b'2'..=b'5');
    let code: u16 = known.then(|| code.parse().ok()).flatten()?;
    match line.as_bytes().get(3) {
        None | Some(b' ') => Some((code, true, line.get(4..).unwrap_or_default())),
        Some(b'-') => Some((code, false, line.get(4..).unwrap_or_default())),
        Some(_) => None,
    }
}

/// The enhanced code is taken from the first line, and off every line that has it (RFC 2034 4).
fn reply(code: u16, lines: Vec<String>) -> Reply {
    let enhanced = lines.first().and_then(|line| enhanced(line.split(' ').next()?)).filter(|(class, _, _)| {
        // RFC 2034 4: its class is the class of the code.
        u16::from(*class) == code / 100
    });
    let text = match enhanced {
        None => lines,
        Some((class, subject, detail)) => {
            let mark = format!("{class}.{subject}.{detail}");
            let without = |line: String| match line.strip_prefix(&mark) {
                Some(rest) if rest.is_empty() || rest.starts_with(' ') => rest.trim_start().to_owned(),
                _ => line,
            };
            lines.into_iter().map(without).collect()
        }
    };
    Reply { code, enhanced, text }
}

/// RFC 3463 2: `class.subject.detail`.
fn enhanced(word: &str) -> Option<(u8, u16, u16)> {
    let mut parts = word.split('.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let fits = parts.next().is_none() && matches!(class, "2" | "4" | "5") && digits(subject, 3) && digits(detail, 3);
    fits.then(|| Some((class.parse().ok()?, subject.parse().ok()?, detail.parse().ok()?))).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Reply>, Malformed> {
        let mut replies = Replies::default();
        replies.push(text.as_bytes());
        let mut out = Vec::new();
        while let Some(reply) = replies.next()? {
            out.push(reply);
        }
        Ok(out)
    }

    #[test]
    fn replies_are_read_whole() {
        let all =
            read("220 mx.test ESMTP\r\n250-mx.test\r\n250-SIZE 10\r\n250 DSN\r\n550 5.1.1 Nobody\r\n250\n").unwrap();
        let codes: Vec<u16> = all.iter().map(|reply| reply.code).collect();
        assert_eq!(codes, [220, 250, 550, 250]);
        assert_eq!(all[1].text, ["mx.test", "SIZE 10", "DSN"]);
        assert_eq!((all[2].enhanced, all[2].text[0].as_str()), (Some((5, 1, 1)), "Nobody"));
        let more = read("550-5.7.26 No\r\n550 5.7.26 way\r\n451 5.1.1 Odd\r\n").unwrap();
        assert_eq!(more[0].text, ["No", "way"]);
        assert_eq!((more[1].enhanced, more[1].text[0].as_str()), (None, "5.1.1 Odd"));
    }

    #[test]
    fn what_is_no_reply_is_said_to_be_none() {
        for text in ["hello\r\n", "99 x\r\n", "150 x\r\n", "250x\r\n", "\r\n", "HTTP/1.1 400 Bad Request\r\n"] {
            assert_eq!(read(text), Err(Malformed), "{text}");
        }
        assert_eq!(read(&"2".repeat(MAX_LINE + 1)), Err(Malformed));
        assert_eq!(read(&"250-x\r\n".repeat(MAX_LINES + 1)), Err(Malformed));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let all = |pieces: &[&[u8]]| {
                let mut replies = Replies::default();
                let mut out = Vec::new();
                for piece in pieces {
                    replies.push(piece);
                    loop {
                        match replies.next() {
                            Ok(Some(reply)) => out.push(Ok(reply)),
                            Ok(None) => break,
                            Err(error) => { out.push(Err(error)); return out; }
                        }
                    }
                }
                out
            };
            let cut = cut.min(bytes.len());
            prop_assert_eq!(all(&[&bytes]), all(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
