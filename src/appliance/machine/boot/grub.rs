//! GRUB's environment: 1024 bytes, of which `image/grub.cfg` reads `order`, `trial` and `tried`.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{BootControl, Slot, State, replace};

const BYTES: usize = 1024;
const HEAD: &str = "# GRUB Environment Block\n";

pub struct Grub {
    file: PathBuf,
}

impl Grub {
    pub fn at(boot: &Path) -> Grub {
        Grub { file: boot.join("EFI/BOOT/grubenv") }
    }

    /// In place, as GRUB itself writes it: it knows the file by its blocks. All that ever changes is within the first sector,
    /// so a cut leaves the old state or the new one (B1).
    fn write(&self, state: State) -> io::Result<()> {
        let block = block(state);
        match OpenOptions::new().write(true).open(&self.file) {
            Ok(file) if file.metadata()?.len() == BYTES as u64 => {
                file.write_all_at(&block, 0)?;
                file.sync_all()
            }
            Ok(_) => replace(&self.file, &block),
            Err(error) if error.kind() == io::ErrorKind::NotFound => replace(&self.file, &block),
            Err(error) => Err(error),
        }
    }
}

impl BootControl for Grub {
    fn state(&self) -> State {
        parse(&fs::read(&self.file).unwrap_or_default())
    }

    /// Nothing: GRUB reads the kernel out of the slot.
    fn bring(&self, _slot: Slot, _boot: &Path) -> io::Result<()> {
        Ok(())
    }

    fn set_trial(&self, slot: Slot) -> io::Result<()> {
        self.write(State { trial: Some(slot), tried: false, ..self.state() })
    }

    fn confirm(&self, slot: Slot) -> io::Result<()> {
        self.write(State { confirmed: slot, trial: None, tried: false })
    }

    fn clear_trial(&self) -> io::Result<()> {
        self.write(State { trial: None, tried: false, ..self.state() })
    }
}

fn block(state: State) -> Vec<u8> {
    let (first, second) = (state.confirmed.as_str(), state.confirmed.other().as_str());
    let trial = state.trial.map_or("", Slot::as_str);
    let text = format!("{HEAD}order={first} {second}\ntrial={trial}\ntried={}\n", u8::from(state.tried));
    let mut block = text.into_bytes();
    block.resize(BYTES, b'#');
    block
}

/// As `load_env` and the defaults in grub.cfg understand it (B2).
fn parse(block: &[u8]) -> State {
    let mut state = State { confirmed: Slot::A, trial: None, tried: false };
    let text = String::from_utf8_lossy(block);
    let Some(lines) = text.strip_prefix(HEAD).filter(|_| block.len() == BYTES) else { return state };
    for (name, value) in lines.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "order" => state.confirmed = value.split(' ').find_map(Slot::read).unwrap_or(Slot::A),
            "trial" => state.trial = Slot::read(value),
            "tried" => state.tried = value == "1",
            _ => {}
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Grub) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("EFI/BOOT")).unwrap();
        let grub = Grub::at(folder.path());
        (folder, grub)
    }

    /// What image/grub.cfg does at a start: the slot that starts. `saves`: whether the power lasted until `save_env` was done.
    fn start(grub: &Grub, saves: bool) -> Slot {
        let state = grub.state();
        match state.trial {
            Some(trial) if !state.tried => {
                if saves {
                    grub.write(State { tried: true, ..state }).unwrap();
                    trial
                } else {
                    // Cut before anything started.
                    state.confirmed
                }
            }
            _ => state.confirmed,
        }
    }

    #[test]
    fn a_trial_is_one_start_and_ten_cuts_never_lose_the_good_slot() {
        let (_folder, grub) = folder();
        grub.confirm(Slot::A).unwrap();
        for begun in 0..10 {
            // The power goes at another of ten starts each time.
            grub.set_trial(Slot::B).unwrap();
            let mut starts = Vec::new();
            for cut in 0..10 {
                starts.push(start(&grub, cut >= begun));
            }
            assert_eq!(starts.iter().filter(|slot| **slot == Slot::B).count(), 1, "{starts:?}");
            assert_eq!(starts[begun], Slot::B);
            assert_eq!(grub.state(), State { confirmed: Slot::A, trial: Some(Slot::B), tried: true });
            grub.clear_trial().unwrap();
        }
        grub.set_trial(Slot::B).unwrap();
        assert_eq!(start(&grub, true), Slot::B);
        grub.confirm(Slot::B).unwrap();
        for _ in 0..10 {
            assert_eq!(start(&grub, true), Slot::B, "B1: a confirmed slot is not counted");
        }
    }

    #[test]
    fn what_cannot_be_read_is_slot_a_and_nothing_on_trial() {
        let (_folder, grub) = folder();
        let none = State { confirmed: Slot::A, trial: None, tried: false };
        assert_eq!(grub.state(), none);
        let good = block(State { confirmed: Slot::B, trial: Some(Slot::A), tried: true });
        let mut torn = good.clone();
        torn[..512].fill(0);
        for wrong in [&b""[..], &good[..1023], &torn, &[b'#'; BYTES], b"order=b a\n"] {
            fs::write(&grub.file, wrong).unwrap();
            assert_eq!(grub.state(), none, "B2");
            grub.confirm(Slot::B).unwrap();
            assert_eq!(grub.state().confirmed, Slot::B, "and it is mended by the next write");
            assert_eq!(fs::metadata(&grub.file).unwrap().len(), 1024);
        }
        fs::write(&grub.file, &good).unwrap();
        assert_eq!(grub.state(), State { confirmed: Slot::B, trial: Some(Slot::A), tried: true });
    }

    #[test]
    fn all_that_changes_is_in_one_sector_and_in_place() {
        let (_folder, grub) = folder();
        grub.confirm(Slot::A).unwrap();
        let before = (fs::read(&grub.file).unwrap(), inode(&grub.file));
        grub.set_trial(Slot::B).unwrap();
        let after = fs::read(&grub.file).unwrap();
        assert_ne!(before.0, after);
        assert_eq!(before.0[512..], after[512..]);
        assert_eq!(before.1, inode(&grub.file));
    }

    fn inode(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).unwrap().ino()
    }

    /// The other reader of that file, when it is on this machine.
    #[test]
    fn grubs_own_tool_reads_the_same() {
        let (_folder, grub) = folder();
        grub.confirm(Slot::B).unwrap();
        grub.set_trial(Slot::A).unwrap();
        let Ok(out) = std::process::Command::new("grub-editenv").arg(&grub.file).arg("list").output() else {
            eprintln!("skipped: grub-editenv is not here");
            return;
        };
        assert_eq!(String::from_utf8_lossy(&out.stdout), "order=b a\ntrial=a\ntried=0\n");
        let set = std::process::Command::new("grub-editenv").arg(&grub.file).args(["set", "tried=1"]).status().unwrap();
        assert!(set.success());
        assert_eq!(grub.state(), State { confirmed: Slot::B, trial: Some(Slot::A), tried: true });
    }
}
