//! Names of mailboxes: UTF-8 in NFC, levels separated by `/`.

use unicode_normalization::UnicodeNormalization;

use super::Error;

/// Bytes of a whole name.
pub const MAX_NAME: usize = 1000;
/// Bytes of one level.
pub const MAX_LEVEL: usize = 255;
/// Levels.
pub const MAX_DEPTH: usize = 20;

/// A name as it is kept: NFC, and `INBOX` in capitals where it is the first level, in whatever case it came (RFC 9051
/// 5.1). What cannot be a name is refused: empty levels, controls, the wildcards of LIST, the `#` of other name spaces
/// (RFC 9051 5.1.1, 5.1.2.1).
pub fn clean(name: &str) -> Result<String, Error> {
    if name.len() > MAX_NAME {
        return Err(Error::Cannot("the name is too long"));
    }
    let name: String = name.nfc().collect();
    if name.is_empty() || name.split('/').any(str::is_empty) {
        return Err(Error::Cannot("the name has an empty level"));
    }
    if name.len() > MAX_NAME || name.split('/').any(|level| level.len() > MAX_LEVEL) {
        return Err(Error::Cannot("the name is too long"));
    }
    if name.split('/').count() > MAX_DEPTH {
        return Err(Error::Cannot("the name has too many levels"));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '*' | '%' | '\u{2028}' | '\u{2029}' | '\u{fffd}')) {
        return Err(Error::Cannot("the name has a character in it that names cannot have"));
    }
    if name.starts_with('#') {
        return Err(Error::Cannot("names that begin with # are kept for other things"));
    }
    let (first, rest) = name.split_once('/').map_or((name.as_str(), None), |(first, rest)| (first, Some(rest)));
    if first.eq_ignore_ascii_case("INBOX") {
        return Ok(rest.map_or_else(|| "INBOX".to_owned(), |rest| format!("INBOX/{rest}")));
    }
    Ok(name)
}

/// The levels above a name, from the top: `a/b/c` → `a`, `a/b`.
pub fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| name.get(..at).unwrap_or_default())
}

/// True if `name` lies below `top`.
pub fn is_below(name: &str, top: &str) -> bool {
    name.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_is_one_name_in_any_case_and_only_as_the_first_level() {
        assert_eq!(clean("inBox"), Ok("INBOX".to_owned()));
        assert_eq!(clean("inbox/Shop"), Ok("INBOX/Shop".to_owned()));
        assert_eq!(clean("a/inbox"), Ok("a/inbox".to_owned()));
        assert_eq!(clean("inboxes"), Ok("inboxes".to_owned()));
    }

    #[test]
    fn two_ways_to_write_a_letter_are_one_name() {
        assert_eq!(clean("Entwu\u{308}rfe"), Ok("Entw\u{fc}rfe".to_owned()));
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for name in ["", "/", "a/", "/a", "a//b", "a\r\nb", "a*", "50%", "#news", "a\0b"] {
            assert!(matches!(clean(name), Err(Error::Cannot(_))), "{name:?}");
        }
        assert!(clean(&"a/".repeat(MAX_DEPTH)).is_err());
        assert!(clean(&format!("{}a", "a/".repeat(MAX_DEPTH - 1))).is_ok());
        assert!(clean(&format!("{}a", "a/".repeat(MAX_DEPTH))).is_err());
        assert!(clean(&"a".repeat(MAX_LEVEL + 1)).is_err());
    }

    #[test]
    fn the_levels_above_come_from_the_top() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(above("a").count(), 0);
        assert!(is_below("a/b", "a") && !is_below("ab", "a") && !is_below("a", "a"));
    }
}
