"""A stick that can be plugged into a box in QEMU, started with `more=USB`."""

import re
import subprocess
import time

MIB = 1024 * 1024
USB = ("-device", "qemu-xhci,id=xhci")


class Stick:
    """A file that is a stick: one partition of FAT on a disk with a table, as they are sold."""

    START = 2048

    def __init__(self, path, label="HOMEPOST", megabytes=200):
        self.path = path
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            file.truncate((megabytes - 1) * MIB)
        subprocess.run(["mkfs.vfat", "-F", "32", "-n", label, part], check=True, stdout=subprocess.DEVNULL)
        with open(path, "wb") as file:
            file.truncate(megabytes * MIB)
        subprocess.run(["sfdisk", "-q", path], input=f"label: dos\nstart={self.START}, type=c\n".encode(), check=True)
        subprocess.run(["dd", f"if={part}", f"of={path}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"], check=True)
        part.unlink()

    def tool(self, name, *words, **more):
        return subprocess.run([name, "-i", f"{self.path}@@{self.START * 512}", *words], capture_output=True, **more)

    def put(self, name, text):
        self.tool("mcopy", "-o", "-", f"::{name}", input=text.encode(), check=True)

    def get(self, name):
        done = self.tool("mtype", f"::{name}")
        return done.stdout.decode() if done.returncode == 0 else None

    def names(self):
        """Of all files, in small letters."""
        return self.tool("mdir", "-b", "-/", "::").stdout.decode().lower().splitlines()

    def sound(self):
        """Empty when the tool that repairs such sticks finds nothing wrong."""
        part = self.path.with_suffix(".part")
        subprocess.run(["dd", f"if={self.path}", f"of={part}", "bs=1M", "skip=1", "conv=sparse", "status=none"], check=True)
        done = subprocess.run(["fsck.vfat", "-n", part], capture_output=True, text=True)
        part.unlink()
        return "" if done.returncode == 0 else done.stdout

    def broken(self):
        """What that tool says of files and folders whose bytes are not theirs alone. Room that nobody has is no harm."""
        words = r"Contains a free cluster|share clusters|cluster chain|bad cluster|start cluster|beyond limit|does point"
        lines = self.sound().splitlines()
        # Each stands below the path that it is about.
        return [f"{above.strip()}: {line.strip()}" for above, line in zip(lines, lines[1:]) if re.search(words, line, re.I)]

    def take_room(self, name):
        """Has a file say that it is as long as before, and its clusters be free: as a pull-out can leave one that was being written."""
        with open(self.path, "r+b") as disk:
            disk.seek(self.START * 512)
            head = disk.read(512)
            reserved, tables, length = int.from_bytes(head[14:16], "little"), head[16], int.from_bytes(head[36:40], "little")
            ranges = re.findall(r"<(\d+)(?:-(\d+))?>", self.tool("mshowfat", f"::{name}", check=True).stdout.decode())
            assert ranges and length, (ranges, length)
            for first, last in ranges:
                for table in range(tables):
                    disk.seek((self.START + reserved + table * length) * 512 + 4 * int(first))
                    disk.write(bytes(4 * (int(last or first) - int(first) + 1)))

    def plug(self, box, writes=None):
        """`writes`: a file where every write and flush of it is logged (blocklog.py)."""
        file = {"driver": "file", "filename": str(self.path)}
        node = {"driver": "raw", "file": file}
        if writes:
            writes.touch()
            node = {"driver": "blklogwrites", "file": node, "log": {"driver": "file", "filename": str(writes)}, "log-sector-size": 512}
        box.qmp(("blockdev-add", {"node-name": "stick", **node}),
                ("device_add", {"driver": "usb-storage", "bus": "xhci.0", "drive": "stick", "id": "usb"}))

    def pull(self, box):
        box.qmp(("device_del", {"id": "usb"}))
        time.sleep(3)
        box.qmp(("blockdev-del", {"node-name": "stick"}))


def until(what, seconds, box):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert box.process.poll() is None, box.tail()
        assert time.monotonic() < end, f"it did not happen in {seconds} s\n{box.tail()}"
        time.sleep(2)
    return found
