//! Making a box as new: nothing that it held can be read any more.
//!
//! A file on the boot partition ([`WISH`]) says that it is wanted; it goes last. So the next start begins again whatever a cut broke
//! off, and until it is done nothing else starts. There is no undo: from the first step on keys are missing.
//!
//! | step | what a cut leaves |
//! |---|---|
//! | wish | the file: the next start begins |
//! | keys | pass phrases, certificates, signing keys gone, or some of them; begun again |
//! | letters | begun again with what is left |
//! | new | an empty file system, or none; made again |
//! | done | the file is gone: the box is new |
//!
//! What is overwritten is what files say they are. A card or an SSD may keep older copies of its own that nobody can reach through
//! it; making the new file system tells it to forget those as well (discard), where it listens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// On the boot partition.
pub const WISH: &str = "erase-this-box";

/// Where letters and the index are; all else is keys, settings, and what is known of the box.
const STORES: [&str; 2] = ["store", "restore.new"];
const PIECE: usize = 1 << 20;
/// Folders within one another: ours are four deep.
const DEPTH: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Keys,
    Letters,
}

impl Step {
    /// For the owner.
    pub fn sentence(self) -> &'static str {
        match self {
            Step::Keys => "Keys, pass phrases and settings are being overwritten.",
            Step::Letters => "The letters are being overwritten.",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    pub files: u64,
    pub bytes: u64,
    /// Files that could not be overwritten or not be removed, and folders that could not be read.
    pub failed: u64,
}

/// Overwrites and removes everything in a folder, keys first. `tell` gets each step, and percent of its bytes. A file that does not
/// let itself be overwritten is removed, and a folder that cannot be read passed over; both are counted, and cost no other. Errors:
/// the folder itself cannot be read.
pub fn empty(folder: &Path, tell: &mut dyn FnMut(Step, u64)) -> io::Result<Erased> {
    let mut all = Vec::new();
    let mut erased = Erased { failed: gather(folder, folder, DEPTH, &mut all)?, ..Erased::default() };
    // Of the stores the index goes first: the hashes of pass phrases and the signing keys are in it.
    all.sort_by_key(|one| (one.rank, one.len));
    for (step, ranks) in [(Step::Keys, 0..2), (Step::Letters, 2..3)] {
        let of = |one: &&Found| ranks.contains(&one.rank);
        let total: u64 = all.iter().filter(of).map(|one| one.len).sum();
        let mut done = 0;
        tell(step, 0);
        for one in all.iter().filter(of) {
            match overwrite(&one.path, one.len) {
                Ok(()) => {
                    erased.files += 1;
                    erased.bytes += one.len;
                }
                Err(_) => erased.failed += 1,
            }
            let before = done * 100 / total.max(1);
            done += one.len;
            if done * 100 / total.max(1) != before {
                tell(step, done * 100 / total.max(1));
            }
        }
        if File::open(folder).and_then(|folder| folder.sync_all()).is_err() {
            erased.failed += 1;
        }
    }
    Ok(erased)
}

struct Found {
    path: PathBuf,
    len: u64,
    /// 0: not in the stores; 1: the index; 2: letters, and the journal with them.
    rank: u8,
}

/// How many entries could not be looked at.
fn gather(top: &Path, folder: &Path, depth: usize, all: &mut Vec<Found>) -> io::Result<u64> {
    let mut failed = 0;
    for entry in fs::read_dir(folder)? {
        // What comes after an error of the disk in a folder is not known.
        let Ok(entry) = entry else {
            failed += 1;
            break;
        };
        let path = entry.path();
        // Links are removed, not followed.
        let Ok(about) = fs::symlink_metadata(&path) else {
            failed += 1;
            continue;
        };
        if about.is_dir() {
            failed += match depth {
                0 => 1,
                _ => gather(top, &path, depth - 1, all).unwrap_or(1),
            };
            continue;
        }
        let inside = path.strip_prefix(top).unwrap_or(&path);
        let mut folders = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let stored = folders.any(|part| STORES.contains(&part.as_str()) || part.starts_with("store."));
        let index = path.extension().is_some_and(|end| end == "redb");
        let rank = match (stored, index) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        all.push(Found { path, len: if about.is_file() { about.len() } else { 0 }, rank });
    }
    Ok(failed)
}

/// It goes also where it cannot be overwritten.
pub(super) fn overwrite(path: &Path, len: u64) -> io::Result<()> {
    let zeroed = if len > 0 { zero(path, len) } else { Ok(()) };
    fs::remove_file(path)?;
    zeroed
}

fn zero(path: &Path, len: u64) -> io::Result<()> {
    wipe(path, len, &mut |_| {})
}

/// Overwrites so many bytes of a file or a device. `tell` gets percent.
pub(super) fn wipe(path: &Path, len: u64, tell: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let zeros = vec![0u8; PIECE];
    let mut left = len;
    while left > 0 {
        let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        file.write_all(&zeros[..piece])?;
        left -= piece as u64;
        tell((len - left).saturating_mul(100) / len);
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn everything_is_overwritten_keys_first_and_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let (data, outside) = (folder.path().join("data"), folder.path().join("outside"));
        for inner in ["mail/store/blobs/00", "mail/tls", "box"] {
            fs::create_dir_all(data.join(inner)).unwrap();
        }
        fs::write(&outside, "not ours").unwrap();
        symlink(&outside, data.join("mail/link")).unwrap();
        let files = [
            ("mail/settings.toml", 0),
            ("mail/tls/key.pem", 0),
            ("box/time", 0),
            ("mail/store/rows.redb", 1),
            ("mail/store/segment-0000000000000001", 2),
            ("mail/store/blobs/00/5", 2),
        ];
        // A second name of each file shows what is in it after it was removed.
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        for (at, (name, _)) in files.iter().enumerate() {
            fs::write(data.join(name), vec![b'x'; PIECE + 7]).unwrap();
            fs::hard_link(data.join(name), other.join(at.to_string())).unwrap();
        }
        let mut told = Vec::new();
        let zeroed = |at: usize| fs::read(other.join(at.to_string())).unwrap().iter().all(|byte| *byte == 0);
        let erased = empty(&data, &mut |step, percent| {
            // The keys are gone before the first letter is touched.
            for (at, (name, rank)) in files.iter().enumerate() {
                assert!(step == Step::Keys || *rank == 2 || zeroed(at), "{name}");
                assert!(step == Step::Letters || *rank < 2 || !zeroed(at), "{name}");
            }
            told.push((step, percent));
        });
        assert_eq!(erased.unwrap(), Erased { files: 7, bytes: 6 * (PIECE as u64 + 7), failed: 0 });
        assert!((0..files.len()).all(zeroed));
        assert_eq!(fs::read_to_string(&outside).unwrap(), "not ours");
        assert_eq!((told.first(), told.last()), (Some(&(Step::Keys, 0)), Some(&(Step::Letters, 100))));
        assert_eq!(empty(&data, &mut |_, _| {}).unwrap(), Erased::default(), "again, after a cut");
    }

    #[test]
    fn what_cannot_be_overwritten_or_read_is_counted_and_keeps_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut deep = folder.path().to_owned();
        for _ in 0..=DEPTH {
            deep.push("x");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("too-deep"), "x").unwrap();
        // A program that runs lets nobody write to it, root neither.
        let busy = folder.path().join("busy");
        fs::copy("/bin/sleep", &busy).unwrap();
        let mut running = std::process::Command::new(&busy).arg("60").spawn().unwrap();
        fs::write(folder.path().join("settings.toml"), "x").unwrap();
        let erased = empty(folder.path(), &mut |_, _| {});
        running.kill().unwrap();
        running.wait().unwrap();
        assert_eq!(erased.unwrap(), Erased { files: 1, bytes: 1, failed: 2 });
        assert!(!busy.exists() && !folder.path().join("settings.toml").exists());
    }
}
