"""Updates a booted image: to a file that was tampered with, to a version that does not work, to one that does.

usage: update.py [BOARD]      qemu-x86_64 unless told; the image has to be there (scripts/image)

The new versions are the image's own system under another number. They are put into the data partition while the box is off, as
`homepost update install` would put them there.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import time

from box import ROOT, TARGET, USER, Box, debugfs  # first, since it says where house is
from boot import all_there, letter, send
from house import Checks, same

MIB = 1024 * 1024
DISK = 1500 * MIB


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
    if "/update/" not in debugfs(box, "ls -p /mail"):
        debugfs(box, f"mkdir {at}")
    debugfs(box, f"rm {at}/offered.hpu", f"cd {at}", f"write {file} offered.hpu",
            *[f"set_inode_field {path} {name} {value}" for path, mode in ((at, "040700"), (f"{at}/offered.hpu", "0100600"))
              for name, value in (("uid", USER), ("gid", USER), ("mode", mode))])


def said(box):
    text = debugfs(box, "cat /mail/update/said")
    return json.loads(text[text.index("{"):text.rindex("}") + 1])


def greeting(box):
    """The first word on the mail port from outside; nothing while nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", box.port(25)), timeout=20) as peer:
            return peer.recv(4).decode(errors="replace")
    except OSError:
        return ""


def runs(box, version, slot, times=1):
    """Waits until the console said so for the `times`-th time since the machine was switched on."""
    line = rf"REPORT box: version +{re.escape(version)}, system {slot}"
    box.wait(rf"(?s)(?:{line}.*){{{times}}}REPORT report: end", 900)


def does_not_work(root):
    """Somebody else has the port of imaps, and says nothing."""
    start = root / "usr" / "lib" / "homepost" / "start"
    start.write_text(start.read_text() + "\nnc -ll -p 993 -e sleep 1000 &\n")


def main(board):
    checks = Checks()
    box = Box("update", board, DISK)
    sent = []
    try:
        with checks("a box with letters on it"):
            box.start(memory=256)
            box.wait("Serving mail as mail.example.test", 900)
            send(box, [letter(n) for n in range(20)], sent)
            box.report()
            box.press_power_button()
        now = re.search(r"REPORT box: version +([0-9.]+), system a", box.serial())
        assert now, box.tail()
        now = now[1]
        good = pack(board, box.folder, "98.0.0")

        with checks("a file that was tampered with is refused, and nothing is changed"):
            bad = bytearray(good.read_bytes())
            bad[-1000] ^= 1
            tampered = box.folder / "tampered.hpu"
            tampered.write_bytes(bad)
            put_down(box, tampered)
            box.start(memory=256)
            runs(box, now, "a")
            time.sleep(60)
            box.press_power_button()
            assert "damaged" in said(box)["words"], said(box)
            assert "offered" not in debugfs(box, "ls -p /mail/update"), "it is still there"
        with checks("a version that does not work is tried once, behind closed doors; then the old one runs, with every letter"):
            put_down(box, pack(board, box.folder, "97.0.0", does_not_work))
            box.start(memory=256)
            seen = set()
            end = time.monotonic() + 1500
            while len(re.findall(rf"REPORT box: version +{re.escape(now)}, system a", box.serial())) < 2:
                assert time.monotonic() < end, f"{seen}\n{box.tail()}"
                at = [box.serial().count(f"starting system {slot}") for slot in "ab"]
                seen.add((greeting(box), *at))
                time.sleep(1)
            assert ("421 ", 1, 1) in seen, f"not asked to come again: {seen}"
            assert ("220 ", 1, 1) not in seen, f"let in: {seen}"
            all_there(box, sent)
            send(box, [letter(n) for n in range(20, 30)], sent)
            box.press_power_button()
            assert said(box)["failed"] and "did not work here" in said(box)["words"], said(box)
        with checks("a version that works is confirmed, and keeps running"):
            put_down(box, good)
            box.start(memory=256)
            runs(box, "98.0.0", "b")
            all_there(box, sent)
            send(box, [letter(n) for n in range(30, 40)], sent)
            for _ in range(2):
                box.cut_power()
                box.start(memory=256)
                runs(box, "98.0.0", "b")
            all_there(box, sent)
            same([line for line in box.report()["verdict"]], ["passed"], "the stores")
            box.press_power_button()
            same(said(box), {"failed": False, "words": "Version 98.0.0 runs."}, "what is said")
    finally:
        box.end()
    checks.end()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "qemu-x86_64")
