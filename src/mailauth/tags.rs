//! Tag lists (RFC 6376 3.2): `v=1; a=rsa-sha256; …`, of DKIM, ARC and DMARC.

/// More tags than this nobody writes.
const MOST: usize = 64;

/// A list that was read: each name once. Values are without the white space around them; folds within are still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// `None`: not a tag list, or a name stands twice, which makes all of it worthless (RFC 6376 3.2).
    pub fn read(text: &'a [u8]) -> Option<Tags<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        let mut out: Vec<(&str, &str)> = Vec::new();
        let mut pieces = text.split(';').peekable();
        while let Some(piece) = pieces.next() {
            if piece.trim().is_empty() {
                // A semicolon at the end is allowed.
                if pieces.peek().is_none() && !out.is_empty() {
                    break;
                }
                return None;
            }
            let (name, value) = piece.split_once('=')?;
            let name = name.trim();
            let mut letters = name.chars();
            let is_name = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
                && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name || out.len() >= MOST || out.iter().any(|(other, _)| *other == name) {
                return None;
            }
            out.push((name, value.trim()));
        }
        Some(Tags(out))
    }

    /// What can be read of a list whose mistakes are to be passed over (DMARC: RFC 7489 6.3, and RFC 9989 4.7 after it): the first
    /// of two tags of one name counts, and nothing behind a byte that is no UTF-8. A first piece that is no tag keeps the first
    /// place, under no name: what has to come first has not, then.
    pub fn read_what_can_be(text: &'a [u8]) -> Tags<'a> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => text.get(..error.valid_up_to()).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or_default(),
        };
        let mut out: Vec<(&str, &str)> = Vec::new();
        for (n, piece) in text.split(';').take(MOST).enumerate() {
            let Some((name, value)) = piece.split_once('=').or_else(|| (n == 0).then_some(("", ""))) else { continue };
            let name = name.trim();
            if (n == 0 || !name.is_empty()) && !out.iter().any(|(other, _)| *other == name) {
                out.push((name, value.trim()));
            }
        }
        Tags(out)
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The value without any white space, as of base64 and lists.
    pub fn packed(&self, name: &str) -> Option<String> {
        Some(self.get(name)?.chars().filter(|c| !c.is_ascii_whitespace()).collect())
    }

    /// The first one, as it has to be of `v=` in some records.
    pub fn first(&self) -> Option<(&'a str, &'a str)> {
        self.0.first().copied()
    }
}

/// The value of a field as it is signed: its own `b=` emptied (RFC 6376 3.7). All other bytes stay.
pub(super) fn without_signature(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (n, piece) in value.split(|b| *b == b';').enumerate() {
        if n > 0 {
            out.push(b';');
        }
        match piece.iter().position(|b| *b == b'=') {
            Some(at) if piece[..at].trim_ascii() == b"b" => out.extend_from_slice(&piece[..=at]),
            _ => out.extend_from_slice(piece),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_its_folds_or_not_at_all() {
        let tags = Tags::read(b" v=1; a=rsa-sha256;\r\n\tb = ab\r\n cd==; h=From : To;").unwrap();
        assert_eq!(tags.first(), Some(("v", "1")));
        assert_eq!(tags.packed("b").as_deref(), Some("abcd=="));
        assert_eq!(tags.packed("h").as_deref(), Some("From:To"));
        assert_eq!(tags.get("z"), None);
        for wrong in [&b"v=1; v=1"[..], b"v=1;; a=b", b"", b";", b"=1", b"v", b"1v=1", b"v=1; \xff=2", b"a b=1"] {
            assert_eq!(Tags::read(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
        let many: String = (0..65).map(|n| format!("t{n}=x;")).collect();
        assert_eq!(Tags::read(many.as_bytes()), None);
        assert!(Tags::read(b"p=; v=DKIM1").is_some());
    }

    #[test]
    fn what_can_be_read_of_a_list_with_mistakes() {
        let first = |text: &'static [u8]| Tags::read_what_can_be(text).first();
        assert_eq!(first(b" v = DMARC1 ; p=none"), Some(("v", "DMARC1")));
        for late in [&b"hello; v=DMARC1"[..], b"; v=DMARC1", b"=x; v=DMARC1", b" ;v=DMARC1"] {
            assert_ne!(first(late).map(|(name, _)| name), Some("v"), "{}", String::from_utf8_lossy(late));
            assert_eq!(Tags::read_what_can_be(late).get("v"), Some("DMARC1"));
        }
        let tags = Tags::read_what_can_be(b"v=1; b; =c; d=1; d=2; e=\xff; f=3");
        assert_eq!((tags.get("d"), tags.get("e"), tags.get("f")), (Some("1"), Some(""), None));
    }

    #[test]
    fn only_the_signature_itself_is_emptied() {
        let value = b" a=x; bh=12b=3; b = ab=\r\n c; d=e\r\n";
        assert_eq!(without_signature(value), b" a=x; bh=12b=3; b =; d=e\r\n");
        assert_eq!(without_signature(b"b=xyz"), b"b=");
        assert_eq!(without_signature(b"sb=1; B=2"), b"sb=1; B=2");
    }
}
