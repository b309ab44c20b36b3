//! The partitions of the disk that this system runs from, by the names that `image/disk.cfg` gives them.

use std::fs;
use std::path::{Path, PathBuf};

use super::boot::Slot;

/// The device of a partition, of the disk that the root file system is on: another disk may have partitions of that name.
/// `None` if there is none, or if it is the one that the root file system is on.
pub(super) fn partition(root: &Path, name: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let own = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (device, _, at) = (fields.next()?, fields.next()?, fields.next()?);
        (at == "/").then(|| device.to_owned())
    })?;
    // A link into /sys/devices/…/DISK/PARTITION, with the disk's other partitions beside it.
    let here = fs::canonicalize(root.join("sys/dev/block").join(&own)).ok()?;
    for entry in fs::read_dir(here.parent()?).ok()?.flatten() {
        let Ok(facts) = fs::read_to_string(entry.path().join("uevent")) else { continue };
        let fact = |wanted: &str| facts.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix('='));
        if fact("PARTNAME") == Some(name) {
            let device = fact("DEVNAME").filter(|device| !device.contains(['/', '.']))?;
            return (entry.path() != here).then(|| root.join("dev").join(device));
        }
    }
    None
}

pub(super) fn device(root: &Path, slot: Slot) -> Option<PathBuf> {
    partition(root, &format!("homepost-{}", slot.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_on_the_own_disk_only_and_never_the_own_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (disk, part, name) in [
            ("vda", "vda1", "homepost-boot"),
            ("vda", "vda2", "homepost-a"),
            ("vda", "vda3", "homepost-b"),
            ("sda", "sda3", "homepost-data"),
        ] {
            let at = root.join("sys/devices/pci").join(disk).join(part);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("uevent"), format!("MAJOR=254\nDEVNAME={part}\nPARTNAME={name}\n")).unwrap();
        }
        fs::create_dir_all(root.join("sys/dev/block")).unwrap();
        std::os::unix::fs::symlink("../../devices/pci/vda/vda2", root.join("sys/dev/block/254:2")).unwrap();
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::write(
            root.join("proc/self/mountinfo"),
            "20 1 254:2 / / ro - squashfs /dev/root ro\n21 20 0:5 / /proc rw - proc p rw\n",
        )
        .unwrap();
        assert_eq!(device(root, Slot::B), Some(root.join("dev/vda3")));
        assert_eq!(device(root, Slot::A), None, "it runs from that one");
        assert_eq!(partition(root, "homepost-boot"), Some(root.join("dev/vda1")));
        assert_eq!(partition(root, "homepost-data"), None, "of another disk");
    }
}
