//! Flags: system flags as bits, keywords as they are written.

use std::sync::Arc;

use super::super::ask::{Flags, StoreMode};
use super::reader::{Bad, Read, Reader};

/// Keywords one command may name, and the bytes of each.
const MAX_KEYWORDS: usize = 100;
const MAX_KEYWORD: usize = 100;

pub(super) fn store_mode(r: &mut Reader<'_>) -> Read<(StoreMode, bool)> {
    let mode = if r.eat(b'+') {
        StoreMode::Add
    } else if r.eat(b'-') {
        StoreMode::Remove
    } else {
        StoreMode::Replace
    };
    let silent = match r.keyword()?.as_str() {
        "FLAGS" => false,
        "FLAGS.SILENT" => true,
        _ => return Err(Bad::Syntax("Unknown STORE item")),
    };
    r.space()?;
    Ok((mode, silent))
}

/// flag-list, or flags without parentheses.
pub(super) fn flags(r: &mut Reader<'_>) -> Read<Flags> {
    let mut flags = Flags::default();
    if r.peek() == Some(b'(') {
        r.list(MAX_KEYWORDS, |r| flag(r, &mut flags))?;
        return Ok(flags);
    }
    loop {
        flag(r, &mut flags)?;
        if flags.keywords.len() > MAX_KEYWORDS {
            return Err(Bad::Syntax("There are too many flags"));
        }
        if !r.eat(b' ') {
            return Ok(flags);
        }
    }
}

/// System flags that are not ours, `\Recent` among them, are ignored: PERMANENTFLAGS does not list them (RFC 9051 7.1).
fn flag(r: &mut Reader<'_>, flags: &mut Flags) -> Read<()> {
    if r.eat(b'\\') {
        flags.system |= match r.keyword()?.as_str() {
            "SEEN" => Flags::SEEN,
            "ANSWERED" => Flags::ANSWERED,
            "FLAGGED" => Flags::FLAGGED,
            "DELETED" => Flags::DELETED,
            "DRAFT" => Flags::DRAFT,
            _ => 0,
        };
        return Ok(());
    }
    let keyword = String::from_utf8_lossy(r.atom()?);
    if keyword.len() > MAX_KEYWORD {
        return Err(Bad::Syntax("A keyword is too long"));
    }
    if !flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(&keyword)) {
        flags.keywords.push(Arc::from(keyword));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_with_and_without_parentheses() {
        let read = |text: &str| flags(&mut Reader::new(text.as_bytes()));
        let both = read("(\\Seen \\DELETED $Junk $junk)");
        assert_eq!(both, read("\\seen \\Deleted $Junk"));
        assert_eq!(both.map(|flags| flags.system), Ok(Flags::SEEN | Flags::DELETED));
        assert_eq!(read("()"), Ok(Flags::default()));
        assert_eq!(read("(\\Recent \\Foo)"), Ok(Flags::default()));
        assert!(read("").is_err());
        assert!(read("(a").is_err());
    }
}
