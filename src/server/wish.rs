//! A stick that asks for the box to be made as new: a file `erase-this-box.txt` with the words `erase everything on this box`.
//!
//! It is given another name before anything is deleted, so that a stick that stays in does not do it again at the next start;
//! where that cannot be, nothing is deleted.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use crate::appliance::machine::stick::at;
use crate::appliance::machine::{Client, Machine};

use super::mounted::{from_stick, with_stick};
use super::stick::tell;

const ASKED: &str = "erase-this-box.txt";
const DONE: &str = "erase-this-box.done.txt";
const WORDS: &str = "erase everything on this box";
/// A longer file says something else.
const MOST: u64 = 1024;

/// The stick that was looked at last, and how often that did not work.
static LAST: Mutex<Option<(u64, u32)>> = Mutex::new(None);
/// Then it is left alone until it is plugged in again.
const TRIES: u32 = 5;

/// Looks at the stick of this insertion, until it could be looked at once. Whether the box is made as new now.
pub(super) fn look(insertion: u64) -> bool {
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = last().filter(|(one, _)| *one == insertion).map_or(0, |(_, failed)| failed);
    if failed == TRIES {
        return false;
    }
    match from_stick(|| asks(&at())) {
        Ok(asked) => {
            *last() = Some((insertion, TRIES));
            if !asked {
                return false;
            }
        }
        Err(words) => {
            warn!("the stick cannot be used: {words}");
            *last() = Some((insertion, failed + 1));
            return false;
        }
    }
    info!("a stick asks for everything on this box to be deleted");
    let Err(error) = Client::new().erase() else { return true };
    warn!("nothing was deleted: {error}");
    let words = format!("Nothing was deleted: {error}. To try again, call the file {ASKED} once more.");
    if let Err(words) = with_stick(|| tell(&at(), &words)) {
        warn!("the stick cannot be used: {words}");
    }
    false
}

/// Whether it is asked for; then the file has its other name.
fn asks(from: &Path) -> bool {
    match wanted(&from.join(ASKED)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(error) => {
            tell(from, &format!("{ASKED} cannot be read ({error}), so nothing was deleted."));
            return false;
        }
        Ok(false) => {
            tell(
                from,
                &format!(
                    "{ASKED} does not say \"{WORDS}\", so nothing was deleted. If that is meant, write just that."
                ),
            );
            return false;
        }
        Ok(true) => {}
    }
    let renamed = fs::rename(from.join(ASKED), from.join(DONE)).and_then(|()| File::open(from)?.sync_all());
    if let Err(error) = renamed {
        // A stick that stays in would do it again and again.
        warn!(%error, "the stick does not let {ASKED} be renamed, so nothing is deleted");
        tell(from, &format!("{ASKED} could not be renamed ({error}), so nothing was deleted."));
        return false;
    }
    tell(
        from,
        "Everything on the box is being deleted. When that is done, its set-up begins from the first page; with a homepost.toml \
         that says restore = \"…\" the backup on this stick is put back by itself.",
    );
    true
}

fn wanted(path: &Path) -> io::Result<bool> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(bytes.len() as u64 <= MOST && words.join(" ").trim_end_matches('.') == WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_words_ask_for_it_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name);
        let told = || fs::read_to_string(here("homepost.txt")).unwrap();
        assert!(!asks(folder.path()) && !here("homepost.txt").exists());
        for text in ["", "erase", "do not erase everything on this box", &format!("{WORDS}{}", " x".repeat(600))] {
            fs::write(here(ASKED), text).unwrap();
            assert!(!asks(folder.path()), "{text}");
            assert!(told().contains("so nothing was deleted") && here(ASKED).exists(), "{}", told());
        }
        fs::write(here(ASKED), "\u{feff}Erase everything\r\n on this box.\r\n").unwrap();
        assert!(asks(folder.path()));
        assert!(told().contains("is being deleted"));
        assert!(!asks(folder.path()), "it has another name now");
    }

    #[test]
    fn a_stick_that_cannot_be_written_to_deletes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(ASKED), WORDS).unwrap();
        // Where the other name is a folder with something in it, renaming fails for root too.
        fs::create_dir_all(folder.path().join(DONE).join("x")).unwrap();
        assert!(!asks(folder.path()));
        assert!(folder.path().join(ASKED).exists());
    }
}
