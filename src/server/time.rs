//! Whether the box knows the time, as its clock's keeper says (overlays/common/usr/lib/homepost/clock).

use std::io::ErrorKind;
use std::path::Path;

/// Says "trusted" or "not checked"; there from the start of the box on.
const STATE: &str = "/run/homepost/clock";

/// False until the box has heard from a time server. Off the box the operating system keeps the time, and is believed.
pub(super) fn trusted() -> bool {
    trusted_by(Path::new(STATE))
}

fn trusted_by(state: &Path) -> bool {
    match std::fs::read_to_string(state) {
        Ok(words) => words.trim() == "trusted",
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_is_trust_and_off_the_box_there_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("clock");
        assert!(trusted_by(&state), "off the box");
        for (words, trusted) in [("trusted\n", true), ("not checked\n", false), ("", false), ("trusted? no\n", false)] {
            std::fs::write(&state, words).unwrap();
            assert_eq!(trusted_by(&state), trusted, "{words:?}");
        }
        assert!(!trusted_by(folder.path()), "what cannot be read is no reason to trust");
    }
}
