"""A box for a test: an image on a disk of its own, in QEMU, reached only as its owner could, by the network and the console."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from house import ALICE, PASSWORD, TARGET, House, free_offset  # noqa: E402

TOML = f'hostname = "mail.example.test"\ndomain = "example.test"\nadmin = "{ALICE}"\npassword = "{PASSWORD}"\n'
# The mail service, as whom a file on the data partition may have to be.
USER = "990"


def debugfs(box, *commands):
    """Looks at the data partition while the box is off, or changes it."""
    with tempfile.NamedTemporaryFile("w", suffix=".debugfs") as script:
        script.write("\n".join(commands) + "\n")
        script.flush()
        return subprocess.run(["debugfs", "-w", "-f", script.name, f"{box.disk}?offset={box.partitions()[3][0]}"],
                              capture_output=True, check=True).stdout.decode(errors="replace")


class Box(House):
    """The network side is a House's: `smtp`, `imap`, `letters`."""

    def __init__(self, name, board, size=None, toml=TOML):
        """`size` of the disk in bytes; the image's own when None. `toml` is put on the boot partition."""
        self.board = board
        self.folder = TARGET / "e2e" / f"image-{name}-{os.getpid()}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.disk = self.folder / "disk.img"
        image = TARGET / "image" / board / "homepost.img"
        subprocess.run(["cp", "--sparse=always", image, self.disk], check=True)
        if size:
            os.truncate(self.disk, size)
        if toml:
            self.put("homepost.toml", toml)
        self.offset = free_offset()
        self.process = None
        self.boots = 0
        self.said = 0
        self.log = None

    # ---- the disk, while the box is off

    def partitions(self):
        """(first byte, bytes) of each."""
        table = json.loads(subprocess.run(["sfdisk", "-q", "-J", self.disk], capture_output=True, check=True).stdout)
        return [(row["start"] * 512, row["size"] * 512) for row in table["partitiontable"]["partitions"]]

    def put(self, name, text):
        at = f"{self.disk}@@{self.partitions()[0][0]}"
        subprocess.run(["mcopy", "-o", "-i", at, "-", f"::{name}"], input=text.encode(), check=True)

    def get(self, name):
        """A file of the boot partition, or None."""
        at = f"{self.disk}@@{self.partitions()[0][0]}"
        done = subprocess.run(["mtype", "-i", at, f"::{name}"], capture_output=True)
        return done.stdout.decode() if done.returncode == 0 else None

    def boot_partition(self):
        start, size = self.partitions()[0]
        with open(self.disk, "rb") as disk:
            disk.seek(start)
            return disk.read(size)

    # ---- the machine

    def start(self, memory=256, writes=None, more=()):
        """`writes`: a file where every write and flush of the disk is logged (blocklog.py). `more`: further options of QEMU."""
        self.boots += 1
        self.said = 0
        self.log = self.folder / f"serial-{self.boots}"
        self.log.touch()
        control = self.folder / "qmp"
        control.unlink(missing_ok=True)
        errors = open(self.folder / "qemu.log", "ab")
        self.process = subprocess.Popen(
            [str(ROOT / "scripts" / "qemu"), self.board, str(self.disk), "-serial", f"file:{self.log}",
             "-fw_cfg", "name=opt/homepost/report,string=1", "-qmp", f"unix:{control},server=on,wait=off", *more],
            env=dict(os.environ, OFFSET=str(self.offset), MEMORY=str(memory), WRITES=str(writes or "")),
            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        errors.close()

    def serial(self):
        return self.log.read_text(errors="replace").replace("\r", "")[self.said:]

    def forget(self):
        """What the console said up to now."""
        self.said += len(self.serial())

    def tail(self, lines=40):
        return "\n".join(self.serial().splitlines()[-lines:])

    def wait(self, words, seconds=300):
        """Until the serial console has said `words` (a regular expression)."""
        end = time.monotonic() + seconds
        while not re.search(words, self.serial()):
            if self.process.poll() is not None:
                raise RuntimeError(f"QEMU ended while waiting for {words!r}\n{self.tail()}")
            if time.monotonic() > end:
                raise RuntimeError(f"not said in {seconds} s: {words!r}\n{self.tail()}")
            time.sleep(0.3)

    def report(self):
        """What the box says of itself, once it is up: word → its lines."""
        self.wait(r"REPORT report: end")
        rows = {}
        for word, line in re.findall(r"^REPORT (\w+): ?(.*)$", self.serial(), re.M):
            rows.setdefault(word, []).append(line.strip())
        return rows

    def qmp(self, *commands):
        """Each a name, or a name and its arguments. Those that QEMU refuses are an error."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(30)
            control.connect(str(self.folder / "qmp"))
            stream = control.makefile("rw")
            stream.readline()
            for command in ("qmp_capabilities", *commands):
                name, arguments = command if isinstance(command, tuple) else (command, {})
                stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
                stream.flush()
                # Events come in between; after "quit" perhaps nothing.
                while (line := stream.readline()) and "event" in (reply := json.loads(line)):
                    pass
                if line and "error" in reply:
                    raise RuntimeError(f"{name}: {reply['error']}")

    def press_power_button(self, seconds=120):
        self.qmp("system_powerdown")
        self.process.wait(seconds)
        self.process = None

    def pull_plug(self, seconds=120):
        """As `cut_power`, but QEMU ends in good order: what it has done lies in its files."""
        self.qmp("quit")
        self.process.wait(seconds)
        self.process = None

    def cut_power(self):
        self.process.kill()
        self.process.wait(30)
        self.process = None

    def end(self, keep=False):
        if self.process and self.process.poll() is None:
            self.cut_power()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
