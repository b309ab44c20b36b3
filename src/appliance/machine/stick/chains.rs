//! Mends what a stick cannot be used with after it was pulled out: a folder of ours that leads nowhere.
//!
//! When a folder on a FAT needs more room, two entries of the table of clusters are written: that the new cluster is taken, and
//! that it comes after the last one. They may lie in two sectors, and where the driver is not told to keep an order, or the stick
//! keeps none, only the second may be there. Then the folder goes on in a cluster that is free: no file can be made in it any
//! more, and some other file gets that cluster. So before the driver sees a stick, such a folder is ended where it ended before.
//! Nothing was in the new cluster that was said to be there for good.
//!
//! Only the root directory and ours are looked at. (Files that lead nowhere are removed as what no backup names; see K4 of
//! `store/disk`.) As in Microsoft's FAT specification, 3 (boot sector), 4 (table of clusters) and 6 (directories). A stick
//! comes from anywhere: every place that it names is checked, and only so much of it is read.

use std::collections::HashSet;
use std::io;

use super::format::Target;
use super::superblock::{Source, u16_at, u32_at};

/// A directory has 65,536 entries at most.
const DIRECTORY_BYTES: u64 = 2 << 20;
/// Boxes that have their backups on one stick.
const FOLDERS_MOST: usize = 64;
/// Clusters of directories altogether: each is a read, while which everything waits.
const CLUSTERS_MOST: usize = 8192;
/// The short name of `homepost-backup` is made of these and a number.
const OURS: &[u8] = b"HOMEPO";

/// Where things are, in bytes.
struct Layout {
    /// Of an entry of the table: 2 or 4.
    width: u64,
    table: u64,
    table_bytes: u64,
    tables: u64,
    /// Where the second cluster is, which is the first one.
    data: u64,
    cluster: u64,
    /// The number after the last cluster's.
    end: u32,
    root: Root,
}

enum Root {
    Cluster(u32),
    At(u64, u64),
}

impl Layout {
    /// `None`: it is none of these file systems, or one of an unusual kind.
    fn of(head: &[u8; 512]) -> Option<Layout> {
        let sector = u64::from(u16_at(head, 11));
        let cluster = u64::from(head[13]) * sector;
        let (reserved, tables, entries) =
            (u64::from(u16_at(head, 14)), u64::from(head[16]), u64::from(u16_at(head, 17)));
        let known = [512, 1024, 2048, 4096].contains(&sector)
            && head[13].is_power_of_two()
            && reserved > 0
            && (1..=2).contains(&tables)
            && head[510..512] == [0x55, 0xaa];
        if !known {
            return None;
        }
        let one_of = |short: u64, at: usize| if short > 0 { short } else { u64::from(u32_at(head, at)) };
        let short_table = u64::from(u16_at(head, 22));
        let table_sectors = one_of(short_table, 36);
        let sectors = one_of(u64::from(u16_at(head, 19)), 32);
        let root_at = reserved + tables * table_sectors;
        let data = root_at + (entries * 32).div_ceil(sector);
        let clusters = sectors.checked_sub(data)? / u64::from(head[13]);
        // As Linux tells them apart: FAT32 has no short length of its tables.
        let (width, root) = match short_table {
            // One table of several may be in use (3.3): nobody makes such sticks.
            0 if u16_at(head, 40) & 0x80 != 0 => return None,
            0 => (4, Root::Cluster(u32_at(head, 44))),
            // FAT12 (3.5).
            _ if clusters < 4085 => return None,
            _ => (2, Root::At(root_at * sector, entries * 32)),
        };
        let table_bytes = table_sectors * sector;
        let end = u32::try_from(clusters.min((table_bytes / width).saturating_sub(2)) + 2).ok()?;
        Some(Layout { width, table: reserved * sector, table_bytes, tables, data: data * sector, cluster, end, root })
    }

    fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - 2) * self.cluster
    }

    /// Whether that is the number of a cluster.
    fn is_cluster(&self, number: u32) -> bool {
        (2..self.end).contains(&number)
    }

    /// What the table says of a cluster: 0 if it is free, else the number of the next one or something that is none.
    fn entry(&self, volume: &mut dyn Source, cluster: u32) -> io::Result<u32> {
        let mut bytes = [0; 4];
        let wanted = if self.width == 2 { &mut bytes[..2] } else { &mut bytes[..] };
        read(volume, self.table + u64::from(cluster) * self.width, wanted)?;
        // The upper four bits are nobody's business (4.1).
        Ok(u32::from_le_bytes(bytes) & 0x0fff_ffff)
    }

    /// Has a chain end with this cluster, in all tables.
    fn end_chain(&self, volume: &mut (impl Source + Target), cluster: u32) -> io::Result<()> {
        for table in 0..self.tables {
            let at = self.table + table * self.table_bytes + u64::from(cluster) * self.width;
            if self.width == 2 {
                volume.write(at, &[0xff, 0xff])?;
            } else {
                let mut was = [0; 4];
                read(volume, at, &mut was)?;
                volume.write(at, &(u32::from_le_bytes(was) | 0x0fff_ffff).to_le_bytes())?;
            }
        }
        volume.sync()
    }

    /// The clusters of a directory; one that went on in a free one is ended. Whether it was.
    fn directory(&self, volume: &mut (impl Source + Target), first: u32, most: usize) -> io::Result<(Vec<u32>, bool)> {
        let most = most.min(DIRECTORY_BYTES.div_ceil(self.cluster) as usize);
        let (mut there, mut next) = (Vec::new(), first);
        while self.is_cluster(next) && there.len() < most {
            let entry = self.entry(volume, next)?;
            if entry == 0 {
                let Some(last) = there.last() else { break };
                self.end_chain(volume, *last)?;
                return Ok((there, true));
            }
            there.push(next);
            next = entry;
        }
        Ok((there, false))
    }
}

/// How many folders were mended.
pub(super) fn mend(volume: &mut (impl Source + Target)) -> io::Result<usize> {
    let mut head = [0; 512];
    read(volume, 0, &mut head)?;
    let Some(layout) = Layout::of(&head) else { return Ok(0) };
    let (mut mended, mut left) = (0, CLUSTERS_MOST);
    let mut seen = HashSet::new();
    // Each with how deep it lies: the root, ours in it, those of boxes in that.
    let mut waiting = Vec::new();
    match layout.root {
        Root::Cluster(first) => waiting.push((first, 0)),
        Root::At(at, len) => {
            folders(volume, at, len, 0, &mut |first| waiting.push((first, 1)))?;
        }
    }
    while let Some((first, depth)) = waiting.pop() {
        let first = if layout.width == 2 { first & 0xffff } else { first };
        if !seen.insert(first) || seen.len() > FOLDERS_MOST {
            continue;
        }
        let (clusters, ended) = layout.directory(volume, first, left)?;
        left -= clusters.len();
        mended += usize::from(ended);
        for cluster in clusters.into_iter().filter(|_| depth < 2) {
            let mut found = |first| {
                if waiting.len() < FOLDERS_MOST {
                    waiting.push((first, depth + 1));
                }
            };
            if folders(volume, layout.place(cluster), layout.cluster, depth, &mut found)? {
                break;
            }
        }
    }
    Ok(mended)
}

/// Visits the first clusters of folders in a piece of a directory; of the root, of ours only. Whether the directory ends there.
fn folders(volume: &mut dyn Source, at: u64, len: u64, depth: u32, visit: &mut dyn FnMut(u32)) -> io::Result<bool> {
    let mut bytes = vec![0; len.min(DIRECTORY_BYTES) as usize];
    read(volume, at, &mut bytes)?;
    for entry in bytes.as_chunks::<32>().0 {
        if entry[0] == 0 {
            return Ok(true);
        }
        // A folder, and neither a label nor a piece of a long name (6.1, 7).
        let is_folder = entry[11] & 0x18 == 0x10 && ![0xe5, b'.'].contains(&entry[0]);
        if is_folder && (depth > 0 || entry.starts_with(OURS)) {
            visit(u32::from(u16_at(entry, 20)) << 16 | u32::from(u16_at(entry, 26)));
        }
    }
    Ok(false)
}

/// All of `out`.
fn read(volume: &mut dyn Source, at: u64, out: &mut [u8]) -> io::Result<()> {
    let read = volume.read(at, out)?;
    if read < out.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// A stick with a backup's folders, in which there are some files; `None` where the tools are not there.
    fn stick(folder: &Path, kind: &str, megabytes: u64) -> Option<std::path::PathBuf> {
        let path = folder.join("stick");
        File::create(&path).unwrap().set_len(megabytes << 20).unwrap();
        let run = |command: &mut Command| command.output().ok().map(|done| assert!(done.status.success(), "{done:?}"));
        run(Command::new("mkfs.vfat").args(["-F", kind, "-s", "1", "-n", "HOMEPOST"]).arg(&path))?;
        let tool = |name: &str| {
            let mut command = Command::new(name);
            command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&path);
            command
        };
        let at = "::homepost-backup/0123456789abcdef";
        run(tool("mmd").args(["::pictures", "::homepost-backup", at]))?;
        for n in 0..12 {
            let name = folder.join(format!("letters-0000000{n:x}-0001.tar.gz.age"));
            std::fs::write(&name, [b'x'; 3000]).unwrap();
            run(tool("mcopy").arg(&name).arg(at))?;
        }
        Some(path)
    }

    fn fsck(path: &Path) -> String {
        let done = Command::new("fsck.vfat").arg("-n").arg(path).output().unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    #[test]
    fn a_folder_that_goes_on_in_a_free_cluster_ends_where_it_did_before() {
        let mut tried = 0;
        for (kind, megabytes) in [("16", 20), ("32", 40)] {
            let folder = tempfile::tempdir().unwrap();
            let Some(path) = stick(folder.path(), kind, megabytes) else { continue };
            tried += 1;
            let mut file = File::options().read(true).write(true).open(&path).unwrap();
            assert_eq!(mend(&mut file).unwrap(), 0, "a sound one stays as it is");
            let sound = std::fs::read(&path).unwrap();
            let head = sound[..512].try_into().unwrap();
            let layout = Layout::of(head).unwrap();
            assert_eq!(layout.width, if kind == "16" { 2 } else { 4 });
            // The folder of the box is the one whose chain is longest of those that hold names.
            let mut disk = sound.clone();
            let mut starts = Vec::new();
            let mut found = |first| starts.push(first);
            match layout.root {
                Root::At(at, len) => folders(&mut disk, at, len, 0, &mut found).unwrap(),
                Root::Cluster(first) => folders(&mut disk, layout.place(first), layout.cluster, 0, &mut found).unwrap(),
            };
            assert_eq!(starts.len(), 1, "ours, and not the pictures");
            folders(&mut sound.clone(), layout.place(starts[0]), layout.cluster, 1, &mut |first| starts.push(first))
                .unwrap();
            let (chain, _) = layout.directory(&mut disk, starts[1], 100).unwrap();
            assert!(chain.len() > 2, "{chain:?}");
            // The last cluster of it is free, and the one before leads there: as the cut would have it.
            for table in 0..layout.tables {
                let last = u64::from(chain[chain.len() - 1]);
                let at = (layout.table + table * layout.table_bytes + last * layout.width) as usize;
                disk[at..at + layout.width as usize].fill(0);
            }
            std::fs::write(&path, &disk).unwrap();
            assert!(fsck(&path).contains("Contains a free cluster"), "{}", fsck(&path));
            let mut file = File::options().read(true).write(true).open(&path).unwrap();
            assert_eq!(mend(&mut file).unwrap(), 1);
            let said = fsck(&path);
            assert!(!said.contains("free cluster (") && !said.contains("FATs differ"), "{said}");
            assert_eq!(mend(&mut file).unwrap(), 0, "once is enough");
            let (now, _) = layout.directory(&mut file, starts[1], 100).unwrap();
            assert_eq!(now, chain[..chain.len() - 1]);
        }
        if tried == 0 {
            eprintln!("skipped: this machine makes no file systems");
        }
    }

    /// Numbers from outside lead nowhere and go on for ever nowhere: every byte of what is read is set to what hurts most.
    #[test]
    fn no_byte_of_a_stick_can_hurt() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, megabytes) in [("16", 8), ("32", 34)] {
            let Some(path) = stick(folder.path(), kind, megabytes) else { return };
            let mut disk = std::fs::read(&path).unwrap();
            let layout = Layout::of(disk[..512].try_into().unwrap()).unwrap();
            let directory = match layout.root {
                Root::At(at, _) => at,
                Root::Cluster(first) => layout.place(first),
            } as usize;
            let table = layout.table as usize;
            for at in (0..64).chain(table..table + 64).chain(directory..directory + 256) {
                let was = disk[at];
                for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                    disk[at] = value;
                    let _ = mend(&mut disk);
                    disk[at] = was;
                }
                let numbers: [u8; 4] = disk[at..at + 4].try_into().unwrap();
                for value in [0, 0xff] {
                    disk[at..at + 4].fill(value);
                    let _ = mend(&mut disk);
                    disk[at..at + 4].copy_from_slice(&numbers);
                }
            }
        }
        let _ = mend(&mut vec![0xff_u8; 4096]);
        assert!(mend(&mut Vec::new()).is_err());
    }
}
