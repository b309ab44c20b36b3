//! Which file system is on a partition, and what its label says, read from its own first bytes.
//!
//! A stick comes from anywhere, so nothing of it is believed: every place that it names is checked, and no more than a few
//! pages of it are read. The kernel's drivers see it only when it has our label.

use std::io;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// FAT12, FAT16 or FAT32.
    Fat,
    ExFat,
    Ext,
    Ntfs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    pub kind: Kind,
    /// Empty: it has none.
    pub label: String,
}

/// Reads from a place; fewer bytes than asked for only at the end.
pub(super) trait Source {
    fn read(&mut self, at: u64, out: &mut [u8]) -> io::Result<usize>;
}

impl Source for std::fs::File {
    fn read(&mut self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match std::os::unix::fs::FileExt::read_at(self, &mut out[done..], at + done as u64) {
                Ok(0) => break,
                Ok(some) => done += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// A label stands near the beginning of the root directory; this much of it is looked through.
const DIRECTORY_BYTES: usize = 32 * 1024;

/// `None`: nothing that is known.
pub(super) fn look(source: &mut dyn Source) -> io::Result<Option<FileSystem>> {
    let mut head = [0; 2048];
    let len = source.read(0, &mut head)?;
    if len < head.len() {
        return Ok(None);
    }
    if u16_at(&head, 1024 + 56) == 0xef53 {
        return Ok(Some(FileSystem { kind: Kind::Ext, label: text(&head[1024 + 120..1024 + 136]) }));
    }
    if head[510..512] != [0x55, 0xaa] {
        return Ok(None);
    }
    match &head[3..11] {
        b"NTFS    " => Ok(Some(FileSystem { kind: Kind::Ntfs, label: String::new() })),
        b"EXFAT   " => exfat(source, &head),
        _ => fat(source, &head),
    }
}

/// As in Microsoft's exFAT specification, 3.1 (boot sector) and 7.3 (volume label).
fn exfat(source: &mut dyn Source, head: &[u8]) -> io::Result<Option<FileSystem>> {
    let (sector_bits, cluster_bits) = (u32::from(head[108]), u32::from(head[109]));
    let root = u32_at(head, 96);
    if !(9..=12).contains(&sector_bits) || cluster_bits > 25 - sector_bits || root < 2 {
        return Ok(None);
    }
    let at = (u64::from(u32_at(head, 88)) << sector_bits) + (u64::from(root - 2) << (sector_bits + cluster_bits));
    let directory = some_of(source, at, 1 << (sector_bits + cluster_bits))?;
    let entries = directory.as_chunks::<32>().0.iter().take_while(|entry| entry[0] != 0);
    let label = entries.filter(|entry| entry[0] == 0x83).map(|entry| {
        let len = usize::from(entry[1]).min(11);
        let units: Vec<u16> =
            entry[2..2 + 2 * len].as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        text(String::from_utf16_lossy(&units).as_bytes())
    });
    let label = { label }.next().unwrap_or_default();
    Ok(Some(FileSystem { kind: Kind::ExFat, label }))
}

/// As in Microsoft's FAT specification, 3 (boot sector) and 6 (directories).
fn fat(source: &mut dyn Source, head: &[u8]) -> io::Result<Option<FileSystem>> {
    let sector = u64::from(u16_at(head, 11));
    let cluster = u64::from(head[13]);
    let (reserved, fats, entries) = (u64::from(u16_at(head, 14)), u64::from(head[16]), u64::from(u16_at(head, 17)));
    let known = [512, 1024, 2048, 4096].contains(&sector)
        && cluster.is_power_of_two()
        && reserved > 0
        && (1..=2).contains(&fats)
        && head[21] >= 0xf0;
    if !known {
        return Ok(None);
    }
    let short = u64::from(u16_at(head, 22));
    let (fat_sectors, boot_label) = match short {
        0 => (u64::from(u32_at(head, 36)), &head[71..82]),
        some => (some, &head[43..54]),
    };
    let behind = reserved + fats * fat_sectors;
    let (at, len) = match short {
        0 => {
            let root = u64::from(u32_at(head, 44));
            if root < 2 || fat_sectors == 0 {
                return Ok(None);
            }
            ((behind + (root - 2) * cluster) * sector, cluster * sector)
        }
        _ => (behind * sector, entries * 32),
    };
    let directory = some_of(source, at, len)?;
    let volume = |entry: &&[u8; 32]| entry[0] != 0xe5 && entry[11] & 0x3f != 0x0f && entry[11] & 0x18 == 0x08;
    let mut entries = directory.as_chunks::<32>().0.iter().take_while(|entry| entry[0] != 0);
    // The one in the directory is what people change; the other is from when the file system was made.
    let label = match entries.find(volume) {
        Some(entry) => text(&entry[..11]),
        None => Some(text(boot_label)).filter(|label| label != "NO NAME").unwrap_or_default(),
    };
    Ok(Some(FileSystem { kind: Kind::Fat, label }))
}

fn some_of(source: &mut dyn Source, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(DIRECTORY_BYTES);
    let mut bytes = vec![0; len];
    let read = source.read(at, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Fit for a page and a terminal: what is not plain is a question mark.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    let plain: String = text.trim().chars().map(|c| if c.is_control() || c == '\u{fffd}' { '?' } else { c }).collect();
    plain.trim().to_owned()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    impl Source for Vec<u8> {
        fn read(&mut self, at: u64, out: &mut [u8]) -> io::Result<usize> {
            let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.len());
            let len = out.len().min(self.len() - from);
            out[..len].copy_from_slice(&self[from..from + len]);
            Ok(len)
        }
    }

    fn exfat_image() -> Vec<u8> {
        let mut image = vec![0; 64 * 1024];
        image[3..11].copy_from_slice(b"EXFAT   ");
        image[88..92].copy_from_slice(&64_u32.to_le_bytes());
        image[96..100].copy_from_slice(&4_u32.to_le_bytes());
        (image[108], image[109]) = (9, 3);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        // The third cluster: 64 * 512 + 2 * 4096
        let at = 64 * 512 + 2 * 4096;
        image[at] = 0x81;
        let units: Vec<u8> = "HOMEPOST".encode_utf16().flat_map(u16::to_le_bytes).collect();
        (image[at + 32], image[at + 33]) = (0x83, 8);
        image[at + 34..at + 34 + units.len()].copy_from_slice(&units);
        image
    }

    #[test]
    fn exfat_tells_its_label() {
        let found = look(&mut exfat_image()).unwrap().unwrap();
        assert_eq!((found.kind, found.label.as_str()), (Kind::ExFat, "HOMEPOST"));
    }

    /// What the usual tools make, as large and as small as each of the kinds of FAT wants it.
    #[test]
    fn file_systems_made_by_the_usual_tools_tell_their_labels() {
        let folder = tempfile::tempdir().unwrap();
        let mut tried = 0;
        let tools: [(&str, &[&str], u64, Kind); 5] = [
            ("mkfs.vfat", &["-F", "12", "-n", "HOMEPOST"], 4, Kind::Fat),
            ("mkfs.vfat", &["-F", "16", "-n", "HOMEPOST"], 40, Kind::Fat),
            ("mkfs.vfat", &["-F", "32", "-n", "HOMEPOST"], 80, Kind::Fat),
            ("mkfs.vfat", &["-F", "32", "-s", "64", "-n", "HOMEPOST"], 3000, Kind::Fat),
            ("mkfs.ext4", &["-q", "-L", "HOMEPOST"], 8, Kind::Ext),
        ];
        for (tool, arguments, megabytes, kind) in tools {
            let path = folder.path().join("image");
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(megabytes << 20).unwrap();
            match Command::new(tool).args(arguments).arg(&path).output() {
                Ok(done) => assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stderr)),
                Err(_) => continue,
            }
            tried += 1;
            let found = look(&mut std::fs::File::open(&path).unwrap()).unwrap().unwrap();
            assert_eq!((found.kind, found.label.as_str()), (kind, "HOMEPOST"), "{tool} {arguments:?}");
            std::fs::remove_file(&path).unwrap();
        }
        if tried == 0 {
            eprintln!("skipped: this machine makes no file systems");
        }
    }

    /// Numbers from outside lead nowhere: every byte of the heads is set to what hurts most.
    #[test]
    fn no_byte_of_a_stick_can_hurt() {
        let mut made = vec![0; 70 << 20];
        super::super::format::tests::format_into(&mut made);
        let mut heads = vec![exfat_image(), made[2048 * 512..][..2 << 20].to_vec()];
        heads.push(vec![0xff; 4096]);
        heads.push(Vec::new());
        for head in &mut heads {
            for at in 0..head.len().min(512) {
                let was = head[at];
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    head[at] = value;
                    let _ = look(head).unwrap();
                }
                head[at] = was;
            }
        }
    }

    #[test]
    fn a_label_does_nothing_to_a_terminal() {
        assert_eq!(text(b"A\x1b[2J\xff "), "A?[2J?");
        assert_eq!(text(b"  HOME\0POST"), "HOME");
    }
}
