//! The Raspberry Pi's firmware: it reads `config.txt`, or for one start that it is asked for `tryboot.txt`. `os_prefix` in it
//! is the folder of the slot, with kernel, device trees and command line.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{BootControl, Slot, State, replace, sync_folder};

/// Of a slot's folder, all together: the boot partition has 48 MB for two of them.
const FOLDER_BYTES: u64 = 22 << 20;
/// A file of settings longer than this is none.
const TEXT_BYTES: u64 = 64 * 1024;

pub struct Tryboot {
    folder: PathBuf,
}

impl Tryboot {
    pub fn at(boot: &Path) -> Tryboot {
        Tryboot { folder: boot.to_owned() }
    }

    fn prefix(&self, file: &str) -> Option<Slot> {
        let text = text(&self.folder.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("os_prefix="))?;
        Slot::read(line.trim().trim_end_matches('/'))
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        let path = self.folder.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_folder(&path),
        }
    }
}

impl BootControl for Tryboot {
    fn state(&self) -> State {
        let confirmed = self.prefix("config.txt").unwrap_or(Slot::A);
        let trial = self.prefix("tryboot.txt").filter(|slot| *slot != confirmed);
        State { confirmed, trial, tried: false }
    }

    /// The slot's own config.txt is kept in its folder until it is tried.
    fn bring(&self, slot: Slot, boot: &Path) -> io::Result<()> {
        let to = self.folder.join(slot.as_str());
        match fs::remove_dir_all(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(&to)?,
        }
        let mut left = FOLDER_BYTES;
        for entry in fs::read_dir(boot)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !entry.file_type()?.is_file() {
                continue;
            }
            let bytes = match &*name {
                "cmdline.txt" | "config.txt" => text(&entry.path())?.replace("@SLOT@", slot.as_str()).into_bytes(),
                name if name == "vmlinuz" || name.ends_with(".dtb") => read(&entry.path(), left)?,
                _ => continue,
            };
            left = left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
            replace(&to.join(&*name), &bytes)?;
            if read(&to.join(&*name), FOLDER_BYTES)? != bytes {
                return Err(io::Error::other("the boot partition does not give back what was written to it"));
            }
        }
        for needed in ["vmlinuz", "cmdline.txt", "config.txt"] {
            if !to.join(needed).is_file() {
                return Err(io::Error::other(format!("the new system has no {needed} for the boot partition")));
            }
        }
        sync_folder(&to)
    }

    fn set_trial(&self, slot: Slot) -> io::Result<()> {
        let config = text(&self.folder.join(slot.as_str()).join("config.txt"))?;
        replace(&self.folder.join("tryboot.txt"), config.as_bytes())
    }

    /// What was tried is what starts from now on.
    fn confirm(&self, slot: Slot) -> io::Result<()> {
        if self.prefix("config.txt") != Some(slot) {
            let from = if self.prefix("tryboot.txt") == Some(slot) {
                "tryboot.txt".into()
            } else {
                format!("{}/config.txt", slot.as_str())
            };
            let config = text(&self.folder.join(from))?;
            replace(&self.folder.join("config.txt"), config.as_bytes())?;
        }
        self.remove("tryboot.txt")
    }

    fn clear_trial(&self) -> io::Result<()> {
        self.remove("tryboot.txt")
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, TEXT_BYTES)?).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = include_str!("../../../../image/pi/config.txt");
    const CMDLINE: &str = include_str!("../../../../image/pi/cmdline.txt");

    /// A boot partition as image/assemble.sh makes it, and the `/boot` of a newer system.
    fn made() -> (tempfile::TempDir, Tryboot, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (card, boot) = (folder.path().join("card"), folder.path().join("boot"));
        fs::create_dir_all(card.join("a")).unwrap();
        fs::create_dir_all(&boot).unwrap();
        fs::write(card.join("config.txt"), CONFIG.replace("@SLOT@", "a")).unwrap();
        fs::write(card.join("a/vmlinuz"), b"old kernel").unwrap();
        fs::write(boot.join("vmlinuz"), b"new kernel").unwrap();
        fs::write(boot.join("bcm2711-rpi-4-b.dtb"), b"tree").unwrap();
        fs::write(boot.join("initrd"), b"not for a Pi").unwrap();
        fs::write(boot.join("config.txt"), format!("{CONFIG}# of the newer one\n")).unwrap();
        fs::write(boot.join("cmdline.txt"), CMDLINE).unwrap();
        let control = Tryboot::at(&card);
        (folder, control, boot)
    }

    #[test]
    fn a_slot_is_brought_tried_and_confirmed() {
        let (_folder, card, boot) = made();
        assert_eq!(card.state(), State { confirmed: Slot::A, trial: None, tried: false });
        card.bring(Slot::B, &boot).unwrap();
        let there = |name: &str| fs::read_to_string(card.folder.join(name)).unwrap();
        assert_eq!(there("b/vmlinuz"), "new kernel");
        assert!(there("b/cmdline.txt").contains("PARTLABEL=homepost-b ") && !there("b/cmdline.txt").contains("@SLOT@"));
        assert!(!card.folder.join("b/initrd").exists());
        assert_eq!(card.state().trial, None, "brought is not tried");
        card.set_trial(Slot::B).unwrap();
        assert_eq!(card.state(), State { confirmed: Slot::A, trial: Some(Slot::B), tried: false });
        assert!(there("tryboot.txt").contains("\nos_prefix=b/\n") && there("config.txt").contains("\nos_prefix=a/\n"));
        card.clear_trial().unwrap();
        card.clear_trial().unwrap();
        assert_eq!(card.state().trial, None);
        card.set_trial(Slot::B).unwrap();
        card.confirm(Slot::B).unwrap();
        assert_eq!(card.state(), State { confirmed: Slot::B, trial: None, tried: false });
        assert!(there("config.txt").ends_with("# of the newer one\n"));
        assert_eq!(there("a/vmlinuz"), "old kernel", "the way back");
    }

    #[test]
    fn a_cut_between_the_two_steps_of_confirming_leaves_the_new_one_confirmed() {
        let (_folder, card, boot) = made();
        card.bring(Slot::B, &boot).unwrap();
        card.set_trial(Slot::B).unwrap();
        fs::copy(card.folder.join("tryboot.txt"), card.folder.join("config.txt")).unwrap();
        assert_eq!(card.state(), State { confirmed: Slot::B, trial: None, tried: false }, "B1");
        card.confirm(Slot::B).unwrap();
        assert!(!card.folder.join("tryboot.txt").exists());
    }

    #[test]
    fn a_system_that_lacks_a_file_or_is_too_large_is_not_brought() {
        let (_folder, card, boot) = made();
        fs::File::create(boot.join("vmlinuz")).unwrap().set_len(FOLDER_BYTES + 1).unwrap();
        assert!(card.bring(Slot::B, &boot).is_err());
        fs::remove_file(boot.join("vmlinuz")).unwrap();
        assert!(card.bring(Slot::B, &boot).is_err());
        assert_eq!(card.state(), State { confirmed: Slot::A, trial: None, tried: false });
        fs::write(card.folder.join("config.txt"), [0xff; 9]).unwrap();
        assert_eq!(card.state().confirmed, Slot::A, "B2");
    }
}
