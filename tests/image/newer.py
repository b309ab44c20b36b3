"""A newer version for a box: made from the image's own system, put down, and what the boot loader knows of it."""

import re
import shutil
import socket
import ssl
import subprocess
import time

from box import ROOT, TARGET, USER, debugfs


def pack(board, folder, version, change=None):
    """An update to the image's own system, called `version`; `change` gets its root file system first."""
    root = folder / f"root-{version}"
    subprocess.run(["cp", "-a", TARGET / "image" / board / "work" / "root", root], check=True)
    told = root / "etc" / "os-release"
    told.write_text(re.sub(r"^VERSION_ID=.*$", f"VERSION_ID={version}", told.read_text(), flags=re.M))
    if change:
        change(root)
    system, out = folder / f"{version}.squashfs", folder / f"{version}.hpu"
    subprocess.run(["mksquashfs", root, system, "-comp", "xz", "-b", "256K", "-all-root", "-noappend", "-quiet", "-no-progress"],
                   check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(root)
    subprocess.run([ROOT / "scripts" / "update-file", "make", "--board", board, "--version", version, "--out", out, system],
                   check=True, stdout=subprocess.DEVNULL)
    system.unlink()
    return out


def put_down(box, file):
    at = "/mail/update"
    # A second mkdir leaves a folder that is nowhere.
    for folder in ("/mail", at):
        if f"/{folder.rsplit('/', 1)[1]}/" not in debugfs(box, f"ls -p {folder.rsplit('/', 1)[0] or '/'}"):
            debugfs(box, f"mkdir {folder}")
    debugfs(box, f"rm {at}/offered.hpu", f"cd {at}", f"write {file} offered.hpu",
            *[f"set_inode_field {path} {name} {value}" for path, mode in ((at, "040700"), (f"{at}/offered.hpu", "0100600"))
              for name, value in (("uid", USER), ("gid", USER), ("mode", mode))])


class Loader:
    """GRUB's environment on the boot partition, while the box is off."""

    HEAD, BYTES = b"# GRUB Environment Block\n", 1024

    def __init__(self, box):
        self.disk = box.disk
        self.at = box.partitions()[0][0] + box.boot_partition().index(self.HEAD)

    def read(self):
        with open(self.disk, "rb") as disk:
            disk.seek(self.at)
            block = disk.read(self.BYTES)
        return dict(line.split("=", 1) for line in block.decode().splitlines() if "=" in line)

    def write(self, **change):
        lines = "".join(f"{name}={value}\n" for name, value in (self.read() | change).items())
        with open(self.disk, "r+b") as disk:
            disk.seek(self.at)
            disk.write((self.HEAD + lines.encode()).ljust(self.BYTES, b"#"))


def opened(box, seconds=900):
    """Waits until programs are let in from outside, which they are not during a trial. By a handshake, since QEMU takes a
    connection before the box is asked."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", box.port(993)), timeout=20) as peer, anyone.wrap_socket(peer):
                return
        except OSError:
            assert time.monotonic() < end, f"nobody is let in after {seconds} s\n{box.tail()}"
            time.sleep(1)
