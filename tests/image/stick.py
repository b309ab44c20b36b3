"""A stick plugged into a running box: backup; the same stick in an empty box: restore.

usage: stick.py [BOARD [OTHER]]      qemu-x86_64 unless told; OTHER is the board of the empty box. The images have to be there (scripts/image)

The recovery sheet is made here and put into the data partition while the box is off, since nobody can type on its console.
"""

import subprocess
import sys
import time

from box import USER, Box, debugfs  # first, since it says where house is
from boot import all_there, letter, send
from house import Checks, House, same

from usb import MIB, USB, Stick, until

DISK = 1500 * MIB


def sheet(folder):
    """Words, and the files of a data folder that make them a box's recovery sheet."""
    house = House("image-sheet", data=folder)
    house.init()
    words = house.json("backup", "key")["words"]
    return words, {path.name: path for path in (folder / "backup").iterdir()}


def main():
    board, *others = sys.argv[1:] or ["qemu-x86_64"]
    checks = Checks()
    box, empty = Box("stick", board, DISK), Box("restored", *others or [board], DISK, toml=None)
    sent = [letter(n) for n in range(20)]
    try:
        words, files = sheet(box.folder / "sheet")
        stick, foreign = Stick(box.folder / "stick.img"), Stick(box.folder / "foreign.img", "PICTURES")
        foreign_before = foreign.path.read_bytes()
        box.start(memory=256)
        box.wait("Serving mail as mail.example.test", 900)
        send(box, sent)
        box.press_power_button()
        at = "/mail/backup"
        debugfs(box, f"mkdir {at}", f"cd {at}", *[f"write {path} {name}" for name, path in files.items()],
                *[f"set_inode_field {path} {name} {value}"
                  for path, mode in ((at, "040700"), *((f"{at}/{name}", "0100600") for name in files))
                  for name, value in (("uid", USER), ("gid", USER), ("mode", mode))])
        box.start(memory=256, more=USB)
        box.wait("Serving mail as mail.example.test", 900)
        with checks("a stick that is not ours is not touched"):
            foreign.plug(box)
            time.sleep(15)
            foreign.pull(box)
            assert foreign.path.read_bytes() == foreign_before, "bytes on it changed"
        with checks("a stick plugged in hot is backed up to by itself"):
            began = time.monotonic()
            stick.plug(box)
            until(lambda: [name for name in stick.names() if name.endswith(".sha256")], 300, box)
            print(f"       the head was there after {time.monotonic() - began:.0f} s")
            # Written, and read back; it is let go after that.
            time.sleep(30)
            stick.pull(box)
            same(stick.sound(), "", "fsck.vfat")
        with checks("what the box says of it"):
            box.press_power_button()
            state = debugfs(box, f"cat {at}/stick.json")
            assert '"problem":null' in state and f'"messages":{len(sent)}' in state and '"verified":null' not in state, state
        with checks("an empty box with that stick and its words is restored by itself"):
            stick.put("homepost.toml", f'restore = "{words}"\r\n')
            empty.start(memory=256, more=USB)
            empty.wait("8080", 900)
            stick.plug(empty)
            until(lambda: stick.get("homepost.txt"), 600, empty)
            empty.wait("Serving mail as mail.example.test", 600)
            all_there(empty, sent)
        with checks("the stick says what was done, and the words are gone from it"):
            time.sleep(15)
            empty.press_power_button()
            told = stick.get("homepost.txt")
            assert told and f"{len(sent)} letters" in told, told
            same(stick.get("homepost.toml"), None, "homepost.toml")
            assert words.encode() not in stick.path.read_bytes(), "the words can still be read from the stick"
            same(stick.sound(), "", "fsck.vfat")
    finally:
        box.end()
        empty.end()
    checks.end()


if __name__ == "__main__":
    main()
