//! What is hashed of a letter (RFC 6376 3.4): header fields and bodies in their canonical forms.
//!
//! Written here, and not left to a library, since 2 of 7 bodies that end in lines of white space came out wrong there:
//! RFC 6376 3.4.4 takes the white space away first, and then the empty lines at the end, which those lines have become.

use aws_lc_rs::digest::{Context, SHA256};

/// How a header section or a body is made canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Simple,
    Relaxed,
}

impl Form {
    /// `c=` of a signature (RFC 6376 3.5): of the header, and of the body, which is simple if it is not said.
    pub(super) fn pair(text: Option<&str>) -> Option<(Form, Form)> {
        let one = |text: &str| match text.trim() {
            "simple" => Some(Form::Simple),
            "relaxed" => Some(Form::Relaxed),
            _ => None,
        };
        match text.map(|text| text.split_once('/').unwrap_or((text, "simple"))) {
            None => Some((Form::Simple, Form::Simple)),
            Some((header, body)) => Some((one(header)?, one(body)?)),
        }
    }

    /// Adds a field (name, colon, value, line end, as it came) to what is signed.
    pub(super) fn field(self, raw: &[u8], out: &mut Vec<u8>) {
        match self {
            Form::Simple => out.extend_from_slice(raw),
            Form::Relaxed => {
                let colon = raw.iter().position(|b| *b == b':').unwrap_or(raw.len());
                let (name, value) = raw.split_at(colon);
                out.extend(name.trim_ascii_end().to_ascii_lowercase());
                out.push(b':');
                let mut space = false;
                let start = out.len();
                // RFC 6376 3.4.2: unfolded, runs of white space made one space, none at either end.
                for byte in value.get(1..).unwrap_or_default() {
                    match byte {
                        b'\r' | b'\n' => {}
                        b' ' | b'\t' => space = true,
                        other => {
                            if space && out.len() > start {
                                out.push(b' ');
                            }
                            space = false;
                            out.push(*other);
                        }
                    }
                }
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The hash of a body.
    pub(super) fn body_hash(self, body: &[u8]) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        self.body(body, &mut |bytes| hash.update(bytes));
        let mut out = [0; 32];
        out.copy_from_slice(hash.finish().as_ref());
        out
    }

    /// RFC 6376 3.4.3 and 3.4.4. Lines end with CRLF; a last one without gets it.
    fn body(self, body: &[u8], out: &mut dyn FnMut(&[u8])) {
        let mut empty_lines = 0usize;
        let mut any = false;
        let mut rest = body;
        let mut line = Vec::new();
        while !rest.is_empty() {
            let end = memchr::memmem::find(rest, b"\r\n");
            let (raw, after) = match end {
                Some(at) => (&rest[..at], &rest[at + 2..]),
                None => (rest, &rest[rest.len()..]),
            };
            rest = after;
            let canonical = match self {
                Form::Simple => raw,
                Form::Relaxed => {
                    relaxed_line(raw, &mut line);
                    &line
                }
            };
            if canonical.is_empty() {
                empty_lines += 1;
                continue;
            }
            for _ in 0..empty_lines {
                out(b"\r\n");
            }
            empty_lines = 0;
            out(canonical);
            out(b"\r\n");
            any = true;
        }
        // An empty body is one line end in the simple form, and nothing in the relaxed one.
        if !any && self == Form::Simple {
            out(b"\r\n");
        }
    }
}

/// White space within made one space, at the end taken away.
fn relaxed_line(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut space = false;
    for byte in raw {
        match byte {
            b' ' | b'\t' => space = true,
            other => {
                if space {
                    out.push(b' ');
                }
                space = false;
                out.push(*other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(form: Form, text: &str) -> String {
        let mut out = Vec::new();
        form.body(text.as_bytes(), &mut |bytes| out.extend_from_slice(bytes));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_6376() {
        // 3.4.5
        let text = " C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(body(Form::Relaxed, text), " C\r\nD E\r\n");
        assert_eq!(body(Form::Simple, text), " C \r\nD \t E\r\n");
        let mut header = Vec::new();
        Form::Relaxed.field(b"A: X\r\n", &mut header);
        Form::Relaxed.field(b"B : Y\t\r\n\tZ  \r\n", &mut header);
        assert_eq!(header, b"a:X\r\nb:Y Z\r\n");
    }

    #[test]
    fn lines_of_white_space_at_the_end_are_empty_lines() {
        for end in ["", " \r\n", "\t\r\n \r\n", "\r\n \r\n\r\n", " ", "\r\n\t ", "\r\n\r\n \t \r\n \r\n"] {
            assert_eq!(body(Form::Relaxed, &format!("a b\r\n{end}")), "a b\r\n", "{end:?}");
        }
        assert_eq!(body(Form::Relaxed, "a\r\n \r\nb\r\n"), "a\r\n\r\nb\r\n", "in the middle they stay");
        assert_eq!(body(Form::Simple, "a\r\n \r\n\r\n"), "a\r\n \r\n");
        assert_eq!(body(Form::Relaxed, " \r\n\t\r\n"), "");
        assert_eq!(body(Form::Relaxed, ""), "");
        assert_eq!(body(Form::Simple, ""), "\r\n");
        assert_eq!(body(Form::Simple, "\r\n\r\n"), "\r\n");
        assert_eq!(body(Form::Relaxed, "no line end"), "no line end\r\n");
    }

    #[test]
    fn the_hashes_that_rfc_6376_names_for_empty_bodies() {
        use base64::Engine;
        let hash = |form: Form| base64::engine::general_purpose::STANDARD.encode(form.body_hash(b""));
        assert_eq!(hash(Form::Simple), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
        assert_eq!(hash(Form::Relaxed), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn how_a_pair_is_said() {
        assert_eq!(Form::pair(None), Some((Form::Simple, Form::Simple)));
        assert_eq!(Form::pair(Some("relaxed")), Some((Form::Relaxed, Form::Simple)));
        assert_eq!(Form::pair(Some("simple/relaxed")), Some((Form::Simple, Form::Relaxed)));
        assert_eq!(Form::pair(Some("nofws")), None);
    }
}
