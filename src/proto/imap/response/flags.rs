//! Flag lists.

use super::super::ask::Flags;
use super::text::put;

const SYSTEM: [(u8, &str); 5] = [
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::SEEN, "\\Seen"),
    (Flags::DRAFT, "\\Draft"),
];

/// `(\Seen $Junk)`, and `more` behind them.
pub(in crate::proto::imap) fn flags(out: &mut Vec<u8>, flags: &Flags, more: Option<&str>) {
    out.push(b'(');
    let start = out.len();
    let system = SYSTEM.iter().filter(|(bit, _)| flags.system & bit != 0).map(|(_, name)| *name);
    for name in system.chain(flags.keywords.iter().map(|keyword| &**keyword)).chain(more) {
        if out.len() > start {
            out.push(b' ');
        }
        put(out, name);
    }
    out.push(b')');
}
