//! Whether both copies of a partition table are whole (UEFI 2.10, section 5.3.2). Only looks: sfdisk writes both anew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR: usize = 512;
/// The smallest header that there is.
const HEADER: usize = 92;
/// Entries, in bytes: 128 of 128 are usual.
const ENTRIES_MOST: u64 = 1 << 20;

/// False: one of the copies is torn, or not there.
pub(super) fn is_whole(disk: &Path) -> io::Result<bool> {
    let disk = File::open(disk)?;
    let Some(other) = copy(&disk, 1)? else { return Ok(false) };
    Ok(copy(&disk, other)?.is_some_and(|first| first == 1))
}

/// Where the other copy is, if the one in this sector is whole.
fn copy(disk: &File, sector: u64) -> io::Result<Option<u64>> {
    let Some(at) = sector.checked_mul(SECTOR as u64) else { return Ok(None) };
    let Some(mut head) = read(disk, at, SECTOR)? else { return Ok(None) };
    let half = |at: usize| head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    let word = |at: usize| head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (len, sum, entries_sum) = (half(12) as usize, half(16), half(88));
    let (here, other, entries) = (word(24), word(32), word(72));
    let bytes = u64::from(half(80)).saturating_mul(u64::from(half(84)));
    if !head.starts_with(b"EFI PART") || here != sector || bytes > ENTRIES_MOST {
        return Ok(None);
    }
    // Of itself it has the sum with nothing in its place.
    head.get_mut(16..20).unwrap_or_default().fill(0);
    let own = head.get(..len).filter(|own| own.len() >= HEADER);
    if own.map(crc) != Some(sum) {
        return Ok(None);
    }
    let Some(at) = entries.checked_mul(SECTOR as u64) else { return Ok(None) };
    let found = read(disk, at, usize::try_from(bytes).unwrap_or(0))?;
    Ok(found.is_some_and(|found| crc(&found) == entries_sum).then_some(other))
}

/// `None`: the disk ends before.
fn read(disk: &File, at: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = vec![0; len];
    match disk.read_exact_at(&mut out, at) {
        Ok(()) => Ok(Some(out)),
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(error),
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn sfdisk(disk: &Path, options: &[&str], script: &str) {
        let mut command = Command::new("sfdisk");
        command.args(["-q", "--no-reread", "--no-tell-kernel"]).args(options).arg(disk).stdin(Stdio::piped());
        command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").stderr(Stdio::null());
        let mut running = command.spawn().expect("sfdisk is there");
        running.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(running.wait().unwrap().success());
    }

    #[test]
    fn a_torn_copy_is_seen_and_gone_after_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        assert!(!is_whole(&path).unwrap(), "nothing there");
        disk.set_len(64 << 20).unwrap();
        assert!(!is_whole(&path).unwrap(), "nothing in it");
        sfdisk(&path, &[], "label: gpt\n,8M\nsize=8M, name=homepost-data\n");
        assert!(is_whole(&path).unwrap());
        disk.set_len(256 << 20).unwrap();
        sfdisk(&path, &["--relocate", "gpt-bak-std"], "");
        sfdisk(&path, &["-N", "2"], ",+\n");
        assert!(is_whole(&path).unwrap());
        let all = std::fs::read(&path).unwrap();
        let last = (256 << 20) - 512;
        for at in [512, 512 + 56, 512 + 91, 1024, 1024 + 16_383, last, last + 72, last - 1] {
            let mut byte = [0];
            disk.read_exact_at(&mut byte, at).unwrap();
            disk.write_all_at(&[byte[0] ^ 1], at).unwrap();
            assert!(!is_whole(&path).unwrap(), "byte {at}");
            // As the next start mends it: what is whole stays as it is.
            let mend = ["-q", "--no-reread", "--no-tell-kernel", "--part-label"];
            let mut sfdisk = Command::new("sfdisk");
            sfdisk.args(mend).arg(&path).args(["2", "homepost-data"]).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
            assert!(sfdisk.status().unwrap().success());
            assert!(std::fs::read(&path).unwrap() == all, "after byte {at}");
        }
        // Numbers that lead nowhere.
        for (at, bytes) in [(512 + 12, [0xff; 4]), (512 + 80, [0xff; 4]), (512 + 76, [0xff; 4]), (512 + 12, [0; 4])] {
            let mut before = [0; 4];
            disk.read_exact_at(&mut before, at).unwrap();
            disk.write_all_at(&bytes, at).unwrap();
            assert!(!is_whole(&path).unwrap());
            disk.write_all_at(&before, at).unwrap();
        }
    }
}
