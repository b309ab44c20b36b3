//! Replies (RFC 5321 4.2) with enhanced status codes (RFC 2034, RFC 3463).

use bytes::{BufMut, BytesMut};

/// RFC 5321 4.5.3.1.5: a reply line has at most 512 octets, its code and CR LF among them.
const MAX_TEXT: usize = 480;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// As `5.1.1`. RFC 2034 3: none with the greeting, with HELO and EHLO, and with 3xx.
    pub enhanced: Option<(u8, u16, u16)>,
    /// One or more lines of printable ASCII; anything else becomes `?` when it is sent (X5).
    pub text: Vec<String>,
}

impl Reply {
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<String>) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: vec![text.into()] }
    }

    /// Without an enhanced code.
    pub fn plain(code: u16, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: None, text: vec![text.into()] }
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Writes the lines: a hyphen behind the code on all but the last (RFC 5321 4.2.1).
    pub fn write(&self, out: &mut BytesMut) {
        let lines = self.text.len().max(1);
        for n in 0..lines {
            let mark = if n + 1 == lines { ' ' } else { '-' };
            out.put_slice(format!("{:03}{mark}", self.code.min(999)).as_bytes());
            if let Some((class, subject, detail)) = self.enhanced {
                out.put_slice(format!("{class}.{subject}.{detail} ").as_bytes());
            }
            let text = self.text.get(n).map(String::as_str).unwrap_or_default();
            out.extend(text.chars().take(MAX_TEXT).map(|c| if matches!(c, ' '..='~') { c as u8 } else { b'?' }));
            out.put_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = BytesMut::new();
        reply.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn lines_have_their_marks() {
        let reply = Reply { code: 250, enhanced: None, text: vec!["host".into(), "SIZE 10".into(), "DSN".into()] };
        assert_eq!(written(&reply), "250-host\r\n250-SIZE 10\r\n250 DSN\r\n");
        assert_eq!(written(&Reply::new(550, (5, 1, 1), "Nobody here")), "550 5.1.1 Nobody here\r\n");
    }

    #[test]
    fn the_peers_words_cannot_break_the_lines() {
        assert_eq!(written(&Reply::plain(501, "a\r\n250 ok\0ä")), "501 a??250 ok??\r\n");
        assert!(written(&Reply::plain(501, "x".repeat(5000))).len() < 512);
    }
}
