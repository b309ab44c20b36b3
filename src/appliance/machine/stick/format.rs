//! Makes a stick one for homepost: one partition over all of it, FAT32, labelled HOMEPOST. Every computer reads that.
//!
//! The root process runs no program, so this is not `mkfs.vfat` but the few sectors that one would write. The table with
//! which all begins is written last: a stick pulled half-way is an empty one, and can be prepared again.

use std::io;

/// Where bytes go. All of them, or an error.
pub(super) trait Target {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Target for std::fs::File {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

const SECTOR: u64 = 512;
/// Where the partition begins, in sectors: on a boundary of the flash, as everybody does it.
const FIRST: u64 = 2048;
const RESERVED: u64 = 32;
/// Below this FAT32 has too few clusters to be one.
pub(super) const SMALLEST: u64 = 64 << 20;
/// Sectors are numbered in 32 bits; what is behind is not used.
const MOST_SECTORS: u64 = u32::MAX as u64 - FIRST;

/// Empties a disk of `bytes` and makes it one for homepost. `serial` tells sticks apart.
pub(super) fn format(target: &mut dyn Target, bytes: u64, serial: u32) -> io::Result<()> {
    let sectors = (bytes / SECTOR).saturating_sub(FIRST).min(MOST_SECTORS);
    let layout = Layout::of(sectors);
    // Whatever table there was, and its copy at the end.
    zeros(target, 0, FIRST * SECTOR)?;
    let copy = (bytes / SECTOR).saturating_sub(34) * SECTOR;
    zeros(target, copy, bytes - copy)?;
    target.sync()?;

    let start = FIRST * SECTOR;
    zeros(target, start, (layout.data() + layout.cluster) * SECTOR)?;
    for fat in 0..2 {
        // Media, end of chain, and the root directory, one cluster long.
        let first: [u32; 3] = [0x0fff_fff8, 0x0fff_ffff, 0x0fff_ffff];
        let bytes: Vec<u8> = first.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        target.write(start + (RESERVED + fat * layout.fat) * SECTOR, &bytes)?;
    }
    let mut label = [0; 32];
    label[..11].copy_from_slice(LABEL);
    label[11] = 0x08;
    target.write(start + layout.data() * SECTOR, &label)?;
    for at in [0, 6] {
        target.write(start + at * SECTOR, &layout.boot_sector(serial))?;
        target.write(start + (at + 1) * SECTOR, &layout.free_sector())?;
    }
    target.sync()?;
    target.write(0, &table(sectors, serial))?;
    target.sync()
}

const LABEL: &[u8; 11] = b"HOMEPOST   ";

/// In sectors.
struct Layout {
    sectors: u64,
    cluster: u64,
    /// One of the two.
    fat: u64,
}

impl Layout {
    fn of(sectors: u64) -> Layout {
        let cluster = match (sectors * SECTOR) >> 20 {
            0..=260 => 1,
            261..=8192 => 8,
            8193..=16384 => 16,
            16385..=32768 => 32,
            32769..=262_144 => 64,
            _ => 128,
        };
        // Microsoft's FAT specification, 3.5: never too small, at most a few sectors too large.
        let fat = (sectors - RESERVED).div_ceil((256 * cluster + 2) / 2);
        Layout { sectors, cluster, fat }
    }

    fn data(&self) -> u64 {
        RESERVED + 2 * self.fat
    }

    fn boot_sector(&self, serial: u32) -> [u8; 512] {
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xeb, 0x58, 0x90]);
        put(3, b"HOMEPOST");
        put(11, &512_u16.to_le_bytes());
        put(13, &[self.cluster as u8]);
        put(14, &(RESERVED as u16).to_le_bytes());
        put(16, &[2]);
        put(21, &[0xf8]);
        // Sectors a track and heads: what nobody uses any more and some still check.
        put(24, &63_u16.to_le_bytes());
        put(26, &255_u16.to_le_bytes());
        put(28, &(FIRST as u32).to_le_bytes());
        put(32, &(self.sectors as u32).to_le_bytes());
        put(36, &(self.fat as u32).to_le_bytes());
        put(44, &2_u32.to_le_bytes());
        put(48, &1_u16.to_le_bytes());
        put(50, &6_u16.to_le_bytes());
        put(64, &[0x80, 0, 0x29]);
        put(67, &serial.to_le_bytes());
        put(71, LABEL);
        put(82, b"FAT32   ");
        put(510, &[0x55, 0xaa]);
        sector
    }

    /// How many clusters are free: all but the root directory's.
    fn free_sector(&self) -> [u8; 512] {
        let free = (self.sectors - self.data()) / self.cluster - 1;
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"RRaA");
        put(484, b"rrAa");
        put(488, &(free as u32).to_le_bytes());
        put(492, &3_u32.to_le_bytes());
        put(508, &[0, 0, 0x55, 0xaa]);
        sector
    }
}

/// The old kind of partition table, which every computer knows.
fn table(sectors: u64, serial: u32) -> [u8; 512] {
    let mut table = [0; 512];
    table[440..444].copy_from_slice(&serial.to_le_bytes());
    let row = &mut table[446..462];
    // Cylinders beyond those that can be said; the type: FAT32 by sector number.
    row[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    row[4] = 0x0c;
    row[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    row[8..12].copy_from_slice(&(FIRST as u32).to_le_bytes());
    row[12..16].copy_from_slice(&(sectors as u32).to_le_bytes());
    table[510..512].copy_from_slice(&[0x55, 0xaa]);
    table
}

fn zeros(target: &mut dyn Target, at: u64, len: u64) -> io::Result<()> {
    let piece = vec![0; 1 << 20];
    let mut done = 0;
    while done < len {
        let some = (len - done).min(piece.len() as u64);
        target.write(at + done, &piece[..some as usize])?;
        done += some;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::Command;

    use super::super::superblock::{Kind, look};
    use super::*;

    impl Target for Vec<u8> {
        fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let at = at as usize;
            self[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub fn format_into(disk: &mut Vec<u8>) {
        let bytes = disk.len() as u64;
        format(disk, bytes, 7).unwrap();
    }

    /// Sparse files of every size class, checked by the tool that repairs such sticks.
    #[test]
    fn a_prepared_stick_is_one_that_other_tools_find_nothing_wrong_with() {
        let folder = tempfile::tempdir().unwrap();
        for megabytes in [64, 261, 300, 9000, 20_000, 40_000, 300_000, 3_000_000] {
            let path = folder.path().join("stick");
            let mut file = std::fs::File::create(&path).unwrap();
            let bytes = megabytes << 20;
            file.set_len(bytes).unwrap();
            let mut sparse = Sparse { file: &mut file };
            format(&mut sparse, bytes, 0x1234_5678).unwrap();
            let part = folder.path().join("part");
            let mut partition = std::fs::File::create(&part).unwrap();
            let mut source = std::fs::File::open(&path).unwrap();
            // What matters of it, in a file of its own, as sparse.
            let sectors = (bytes / SECTOR - FIRST).min(MOST_SECTORS);
            partition.set_len(sectors * SECTOR).unwrap();
            let layout = Layout::of(sectors);
            let clusters = (sectors - layout.data()) / layout.cluster;
            assert!((65_525..0x0fff_fff5).contains(&clusters), "{megabytes} MB: {clusters} clusters");
            assert!(layout.fat * 128 >= clusters + 2, "{megabytes} MB: {} sectors for {clusters} clusters", layout.fat);
            let mut copy = |at: u64, len: usize| {
                let mut some = vec![0; len];
                std::os::unix::fs::FileExt::read_exact_at(&source, &mut some, FIRST * SECTOR + at).unwrap();
                partition.write(at, &some).unwrap();
            };
            copy(0, 32 * 512);
            copy(RESERVED * SECTOR, 512);
            copy((RESERVED + layout.fat) * SECTOR, 512);
            copy(layout.data() * SECTOR, 512);
            let found = look(&mut std::fs::File::open(&part).unwrap()).unwrap().unwrap();
            assert_eq!((found.kind, found.label.as_str()), (Kind::Fat, "HOMEPOST"));
            // The table comes first, and the partition is not mistaken for one.
            assert_eq!(look(&mut source).unwrap(), None);
            // The checker reads the whole table of clusters, so the large ones are left to the arithmetic above.
            if megabytes <= 20_000 {
                match Command::new("fsck.vfat").arg("-n").arg(&part).output() {
                    Ok(done) => {
                        assert!(done.status.success(), "{megabytes} MB: {}", String::from_utf8_lossy(&done.stdout))
                    }
                    Err(_) => eprintln!("not checked by fsck.vfat, which is not here"),
                }
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    /// Leaves out what is zero, as a new file is anyway.
    struct Sparse<'a> {
        file: &'a mut std::fs::File,
    }

    impl Target for Sparse<'_> {
        fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { self.file.write(at, bytes) }
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pulled_half_way_it_is_an_empty_stick() {
        struct Pulled(Vec<u8>, usize);
        impl Target for Pulled {
            fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
                self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::NotConnected)?;
                self.0.write(at, bytes)
            }
            fn sync(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for calls in 1.. {
            let mut disk = Pulled(vec![0x5a; 64 << 20], calls);
            let done = format(&mut disk, 64 << 20, 1);
            assert_eq!(done.is_ok(), disk.0[510..512] == [0x55, 0xaa], "after {calls} calls");
            if done.is_ok() {
                assert!(calls > 10);
                return;
            }
        }
    }
}
