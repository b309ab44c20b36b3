"""A stick plugged into a running box: backup; the same stick in empty boxes: restored by itself, and by the page of the set-up.

usage: stick.py [BOARD [OTHER]]      qemu-x86_64 unless told; OTHER is the board of the empty boxes. The images have to be there (scripts/image)

The recovery sheet is made here and put into the data partition while the box is off, since nobody can type on its console.
"""

import re
import sys
import time

from box import ALICE, PASSWORD, USER, Box, debugfs  # first, since it says where house is
from boot import all_there, letter, send
from house import Checks, House, same
from pages import Pages

from usb import MIB, USB, Stick, until

DISK = 1500 * MIB
# On the screen, and not in what the report says of the box's programs.
CODE = r"(?m)^ +code +(\S+)$"


def sheet(folder):
    """Words, and the files of a data folder that make them a box's recovery sheet."""
    house = House("image-sheet", data=folder)
    house.init()
    words = house.json("backup", "key")["words"]
    return words, {path.name: path for path in (folder / "backup").iterdir()}


def looks(box):
    """(UIDVALIDITY, UIDNEXT, UID → flags) of the INBOX."""
    client = box.imap(timeout=120)
    found = client.select_folder("INBOX", readonly=True)
    flags = {uid: sorted(set(row[b"FLAGS"]) - {b"\\Recent"}) for uid, row in client.fetch(client.search("ALL"), ["FLAGS"]).items()}
    client.logout()
    return found[b"UIDVALIDITY"], found[b"UIDNEXT"], flags


def keys(box):
    """The DKIM records, as the pages show them to who administers."""
    page = Pages(f"https://127.0.0.1:{box.port(443)}", "https://mail.example.test")
    assert "How it is" in page.post("/sign-in", address=ALICE, phrase=PASSWORD)
    found = sorted(set(re.findall(r"v=DKIM1;[^<\"]*", page.get("/admin/domains/example.test"))))
    assert len(found) >= 2, found
    return found


def open_(box, ask):
    """What `ask` gives, once the ports are open, which takes a moment behind the words on the screen."""
    def answers():
        try:
            return ask() or True
        except OSError:
            return None
    return until(answers, 120, box)


def served(box):
    open_(box, lambda: box.imap().logout())


def same_box(box, before, sent, last):
    """It is the old one, and the next letter gets no number that the old one has given out, `last` being the newest of those."""
    validity, _, flags = before["looks"]
    now = looks(box)
    same(now[2], flags, "flags by their UIDs")
    same(keys(box), before["keys"], "DKIM keys")
    all_there(box, sent)
    send(box, [letter(900)])
    newest = max(looks(box)[2])
    assert now[0] != validity or newest > last, f"UID {newest} was given out before, for another letter"


def main():
    board, *others = sys.argv[1:] or ["qemu-x86_64"]
    other = (others or [board])[0]
    checks = Checks()
    box, empty, third = Box("stick", board, DISK), Box("restored", other, DISK, toml=None), Box("by-page", other, DISK, toml=None)
    sent = [letter(n) for n in range(20)]
    try:
        words, files = sheet(box.folder / "sheet")
        stick, foreign = Stick(box.folder / "stick.img"), Stick(box.folder / "foreign.img", "PICTURES")
        foreign_before = foreign.path.read_bytes()
        box.start(memory=256)
        box.wait("Serving mail as mail.example.test", 900)
        served(box)
        send(box, sent)
        client = box.imap()
        client.select_folder("INBOX")
        client.add_flags([2, 3], ["\\Seen", "\\Flagged"])
        client.delete_messages([5])
        client.expunge()
        client.logout()
        del sent[4]
        box.press_power_button()
        at = "/mail/backup"
        debugfs(box, f"mkdir {at}", f"cd {at}", *[f"write {path} {name}" for name, path in files.items()],
                *[f"set_inode_field {path} {name} {value}"
                  for path, mode in ((at, "040700"), *((f"{at}/{name}", "0100600") for name in files))
                  for name, value in (("uid", USER), ("gid", USER), ("mode", mode))])
        box.start(memory=256, more=USB)
        box.wait("Serving mail as mail.example.test", 900)
        served(box)
        with checks("a stick that is not ours is not touched"):
            foreign.plug(box)
            time.sleep(15)
            foreign.pull(box)
            assert foreign.path.read_bytes() == foreign_before, "bytes on it changed"
        before = {"looks": looks(box), "keys": keys(box)}
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
            # The backup knows nothing of this one.
            send(box, [letter(500)])
            last = max(looks(box)[2])
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
            served(empty)
            same_box(empty, before, sent, last)
        with checks("the stick says what was done, and the words are gone from it"):
            time.sleep(15)
            empty.press_power_button()
            told = stick.get("homepost.txt")
            assert told and f"{len(sent)} letters" in told, told
            same(stick.get("homepost.toml"), None, "homepost.toml")
            assert words.encode() not in stick.path.read_bytes(), "the words can still be read from the stick"
            same(stick.sound(), "", "fsck.vfat")
        with checks("another one is restored by the page of the set-up, by whoever types the words"):
            third.start(memory=256, more=USB)
            third.wait(CODE, 900)
            stick.plug(third)
            page = Pages(f"http://127.0.0.1:{third.port(8080)}")
            open_(third, lambda: page.get("/step/code"))
            page.post("/step/code", code=re.search(CODE, third.serial())[1])
            page.post("/step/origin", origin="restore")
            body = until(lambda: "Found a backup" in (body := page.get("/step/origin")) and body, 120, third)
            assert f"with {len(sent)} letters" in body, body
            page.post("/step/origin", do="restore", box=re.search(r'name="box" value="([0-9a-f]+)"', body)[1], secret=words)
            until(lambda: "Everything is back." in page.get("/step/origin"), 600, third)
            served(third)
            same_box(third, before, sent, last)
    finally:
        for one in (box, empty, third):
            one.end()
    checks.end()


if __name__ == "__main__":
    main()
