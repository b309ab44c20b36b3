"""What was written to a disk, in order, and the disk as a power cut could have left it.

QEMU's `blklogwrites` logs every write and flush of a disk in the format of Linux' dm-log-writes: sectors of 512 bytes,
numbers little-endian. The first sector says magic, version, number of entries, sector size. Each entry is a sector with
(first sector, sectors, flags, 0) and then what was written, unless it is a flush or a discard.

An entry is appended when the disk has done the request and before the guest is told so. Hence

- whatever the guest was told, its entry is in the file by then: the log's length at a moment is where that moment lies in it,
  and nothing buffers in between (QEMU appends with plain writes). The first sector is brought up to date at flushes only, so
  nothing here relies on its count;
- a flush covers at least the writes before it that the guest knew to be done. Writes that were under way together with the
  flush may lie before it as well and are taken for flushed too: every disk made here could have been, but not every
  disk that could have been is made here.
"""

import bisect
import mmap
import os
import struct
import subprocess
from typing import NamedTuple

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD = 1, 2, 4
ENTRY = struct.Struct("<QQQQ")


class Entry(NamedTuple):
    first: int    # sector of the disk
    sectors: int
    flags: int
    data: int     # offset in the log of what was written
    end: int      # offset in the log behind it


class Log:
    """The entries of a log file, those that are there whole."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, version, _, sector = struct.unpack_from("<QQQI", self.bytes)
        if (magic, version, sector) != (MAGIC, 1, SECTOR):
            raise ValueError(f"{path} is no log of writes: {magic:#x}, version {version}, sectors of {sector}")
        self.entries = []
        at = SECTOR
        while at + SECTOR <= len(self.bytes):
            first, sectors, flags, _ = ENTRY.unpack_from(self.bytes, at)
            # A QEMU that was killed leaves a hole where an entry was about to be.
            if not sectors and not flags:
                break
            end = at + SECTOR + (0 if flags & DISCARD else sectors * SECTOR)
            if end > len(self.bytes):
                break
            self.entries.append(Entry(first, sectors, flags, at + SECTOR, end))
            at = end
        self.ends = [entry.end for entry in self.entries]
        self.flushes = [n for n, entry in enumerate(self.entries) if entry.flags & FLUSH]

    def __len__(self):
        return len(self.entries)

    def until(self, length):
        """How many entries the log had when it was `length` bytes long."""
        return bisect.bisect_right(self.ends, length)

    def flushed(self, count, forgotten=0):
        """How many of the first `count` entries a flush has made last. `forgotten`: as if so many flushes had not been."""
        done = bisect.bisect_left(self.flushes, count) - forgotten
        return self.flushes[done - 1] + 1 if done > 0 else 0

    def write(self, disk, entry, sectors=None):
        """Does an entry again, to the file descriptor `disk`; only `sectors` of it (counted from its first) when given."""
        start = entry.first * SECTOR
        if entry.flags & DISCARD:
            # Such sectors may read as anything. Zeros are what most disks show.
            os.pwrite(disk, bytes(entry.sectors * SECTOR), start)
        elif sectors is None:
            os.pwrite(disk, self.bytes[entry.data:entry.data + entry.sectors * SECTOR], start)
        else:
            for n in sectors:
                os.pwrite(disk, self.bytes[entry.data + n * SECTOR:entry.data + (n + 1) * SECTOR], start + n * SECTOR)


class Disk:
    """The disk as flushes left it, moving forward along a log; and copies of it with some of what was not flushed."""

    def __init__(self, log, before, folder):
        """`before`: the disk when the log was empty; `folder`: where there is room for two such disks."""
        self.log = log
        self.path = os.path.join(folder, "flushed.img")
        self.copy = os.path.join(folder, "cut.img")
        subprocess.run(["cp", "--sparse=always", before, self.path], check=True)
        self.file = os.open(self.path, os.O_RDWR)
        self.done = 0

    def forward(self, count):
        """To where the first `count` entries have been done."""
        if count < self.done:
            raise ValueError("a disk does not go back")
        for entry in self.log.entries[self.done:count]:
            self.log.write(self.file, entry)
        self.done = count

    def cut(self, count, flushed, keep):
        """A disk that lost power after `count` entries of which the first `flushed` are sure to be there.

        `keep(entry)` decides about each of the others: None for all of it, or the sectors of it that reached the medium,
        counted from its first. Returns the path; the next cut takes its place."""
        self.forward(flushed)
        # The old one's pages first: in memory they count.
        if os.path.exists(self.copy):
            os.unlink(self.copy)
        subprocess.run(["cp", "--sparse=auto", self.path, self.copy], check=True)
        disk = os.open(self.copy, os.O_RDWR)
        try:
            for entry in self.log.entries[flushed:count]:
                sure = entry.flags & FUA
                self.log.write(disk, entry, None if sure else keep(entry))
        finally:
            os.close(disk)
        return self.copy

    def close(self):
        os.close(self.file)
        for path in (self.path, self.copy):
            if os.path.exists(path):
                os.unlink(path)


# ---- how much of what was not flushed reaches the medium

def nothing(_):
    return ()


def some(rng, share):
    """Each write with the probability `share`, whole."""
    return lambda entry: None if rng.random() < share else ()


def torn(rng, share):
    """As `some`, and half of those that came through were cut somewhere in the middle: at the front, at the back, or with
    holes, by sectors of 512 bytes."""
    def keep(entry):
        if rng.random() >= share:
            return ()
        if entry.flags & DISCARD or entry.sectors < 2 or rng.random() < 0.5:
            return None
        at = rng.randrange(1, entry.sectors)
        return rng.choice([range(at), range(at, entry.sectors),
                           [n for n in range(entry.sectors) if rng.random() < 0.5]])
    return keep
