//! By what a message is tied to others: its ids, and its base subject (RFC 5256 2.1).

use super::{decode, header};

/// All without angle brackets, in their order, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadKeys {
    pub message_id: Option<Vec<u8>>,
    /// References, then In-Reply-To; at most [`MAX_REFERENCES`], the first and the latest kept.
    pub references: Vec<Vec<u8>>,
    /// Decoded, lower case, white space single (RFC 5256 2.1).
    pub base_subject: String,
    /// The subject had a `Re:`, `Fwd:` or the like.
    pub is_reply: bool,
}

pub const MAX_REFERENCES: usize = 200;
/// A longer id is none; it would be a key in a store.
const MAX_ID: usize = 998;

/// From the header section of a message.
pub fn thread_keys(header: &[u8]) -> ThreadKeys {
    let mut keys = ThreadKeys::default();
    let value = |name| header::find(header, name).map(|field| field.value()).unwrap_or_default();
    keys.message_id = ids(&value("Message-ID")).into_iter().next();
    let mut references = ids(&value("References"));
    // RFC 5256 3, REFERENCES (1): only the first id of In-Reply-To is to be trusted, words may stand around it.
    references.extend(ids(&value("In-Reply-To")).into_iter().take(1));
    let mut seen = std::collections::HashSet::new();
    references.retain(|id| Some(id) != keys.message_id.as_ref() && seen.insert(id.clone()));
    if references.len() > MAX_REFERENCES {
        references.drain(1..=references.len() - MAX_REFERENCES);
    }
    keys.references = references;
    (keys.base_subject, keys.is_reply) = base_subject(&decode::words(&value("Subject")));
    keys
}

/// What stands between angle brackets, white space taken out.
fn ids(value: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = value;
    while let Some(open) = memchr::memchr(b'<', rest) {
        rest = &rest[open + 1..];
        let Some(close) = memchr::memchr(b'>', rest) else { break };
        // `<<a@b>` and `<broken <a@b>`: the id is behind the last bracket.
        let inner = &rest[..close];
        let inner = memchr::memrchr(b'<', inner).map_or(inner, |at| &inner[at + 1..]);
        let id: Vec<u8> = inner.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        if !id.is_empty() && id.len() <= MAX_ID {
            out.push(id);
        }
        rest = &rest[close + 1..];
    }
    out
}

/// RFC 5256 2.1: the base subject of a decoded subject, and whether it is one of a reply or forward.
pub fn base_subject(subject: &str) -> (String, bool) {
    // (1) white space made single spaces; case is of no interest, so it goes first.
    let folded = subject.to_lowercase();
    let single = folded.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = single.as_str();
    let mut is_reply = false;
    loop {
        // (2) trailers
        loop {
            rest = rest.trim_end();
            let Some(before) = rest.strip_suffix("(fwd)") else { break };
            (rest, is_reply) = (before, true);
        }
        loop {
            let before = rest.len();
            rest = rest.trim_start();
            // (3) `[blob] [blob] re [blob]:`
            if let Some(after) = without_leader(rest) {
                (rest, is_reply) = (after, true);
            } else if let Some(after) = without_blob(rest).filter(|after| !after.trim().is_empty()) {
                // (4) a blob, if something is left without it
                rest = after;
            }
            if rest.len() == before {
                break; // (5) until nothing more goes
            }
        }
        // (6) `[fwd: …]`
        match rest.strip_prefix("[fwd:").and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => (rest, is_reply) = (inner, true),
            None => return (rest.to_owned(), is_reply),
        }
    }
}

/// What follows `re:`, `fw:` or `fwd:`, with blobs before it and one before its colon.
fn without_leader(text: &str) -> Option<&str> {
    // Blobs before `re` are also stepped over one by one by (4); looking behind a few keeps this linear.
    let mut rest = text;
    for _ in 0..8 {
        match without_blob(rest) {
            Some(after) => rest = after.trim_start(),
            None => break,
        }
    }
    let rest = ["re", "fwd", "fw"].iter().find_map(|word| rest.strip_prefix(word))?.trim_start();
    let rest = without_blob(rest).unwrap_or(rest).trim_start();
    rest.strip_prefix(':')
}

/// What follows `[…]`, in which there are no brackets.
fn without_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    inner[end..].strip_prefix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects_of_rfc_5256() {
        for (subject, base, reply) in [
            ("Hello", "hello", false),
            ("Re: Hello", "hello", true),
            ("RE :  re: Fwd:\tHello  World", "hello world", true),
            ("Re[2]: Hello", "hello", true),
            ("[list] Re: [list] Hello", "hello", true),
            ("[list] Hello (fwd) (FWD)", "hello", true),
            ("[Fwd: [list] Hello]", "hello", true),
            ("Fw: [Fwd: Re: Hello] (fwd)", "hello", true),
            ("[list]", "[list]", false),
            ("Re: [list]", "[list]", true),
            ("Regarding: x", "regarding: x", false),
            ("[unclosed Re: x", "[unclosed re: x", false),
            ("", "", false),
            ("Re:", "", true),
            ("Re: [fwd:]", "", true),
        ] {
            assert_eq!(base_subject(subject), (base.to_owned(), reply), "{subject}");
        }
    }

    #[test]
    fn ids_come_without_brackets_and_once() {
        let keys = thread_keys(
            b"Message-ID: <me@x>\r\nReferences: <a@x>\r\n <b @x> nonsense <a@x> <me@x> <> <<c@x>\r\n\
              In-Reply-To: Joe's letter <d@x> of <e@x>\r\nSubject: =?utf-8?q?Re=3A_?= Caf\xc3\x89\r\n\r\n",
        );
        assert_eq!(keys.message_id.as_deref(), Some(&b"me@x"[..]));
        assert_eq!(keys.references, [&b"a@x"[..], b"b@x", b"c@x", b"d@x"]);
        assert_eq!((keys.base_subject.as_str(), keys.is_reply), ("café", true));
        assert_eq!(thread_keys(b""), ThreadKeys::default());
    }

    #[test]
    fn a_stranger_cannot_grow_the_references() {
        let many: String = (0..5000).map(|n| format!("<{n}@x> ")).collect();
        let keys = thread_keys(format!("References: {many}\r\n\r\n").as_bytes());
        assert_eq!(keys.references.len(), MAX_REFERENCES);
        assert_eq!(keys.references[0], b"0@x");
        assert_eq!(keys.references[MAX_REFERENCES - 1], b"4999@x");
    }

    #[test]
    fn long_subjects_take_no_long_time() {
        for piece in ["re: ", "[a] ", "[fwd:", "[", "(fwd) ", "]", "re[", "[a]["] {
            let _ = base_subject(&piece.repeat(100_000));
        }
    }
}
