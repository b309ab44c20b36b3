"""Updates a booted image: to a file that was tampered with, to a version that does not work, to one that does.

usage: update.py [BOARD]      qemu-x86_64 unless told; the image has to be there (scripts/image)

The new versions are the image's own system under another number. They are put into the data partition while the box is off, as
`homepost update install` would put them there.
"""

import json
import re
import socket
import sys
import time

from box import ALICE, Box, debugfs  # first, since it says where house is
from boot import all_there, letter, send
from house import Checks, same
from newer import Loader, opened, pack, put_down

MIB = 1024 * 1024
DISK = 1500 * MIB
# In the letters that a trial took which failed.
UNDONE = "of a trial that failed"


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
    """It takes letters and changes the settings, and nobody gets through to its imaps: the way back has something to undo."""
    start = root / "usr" / "lib" / "homepost" / "start"
    start.write_text(start.read_text() + f"""
nft 'table inet broken {{ chain input {{ type filter hook input priority -10; tcp dport 993 drop; }}; }}'
(
    until grep -qs . /data/mail/before-update/of; do sleep 1; done
    for n in 1 2 3; do
        until (
            for words in 'EHLO x' 'MAIL FROM:<>' 'RCPT TO:<{ALICE}>' DATA "Subject: {UNDONE} $n" '' x . QUIT; do
                sleep 2
                printf '%s\\r\\n' "$words"
            done
        ) | nc -w 60 127.0.0.1 25 | grep '^250 2.0.0' >/dev/kmsg; do sleep 2; done
    done
    echo '# {UNDONE}' >>/data/mail/settings.toml
    echo 'REPORT broken: letters taken' >/dev/console
) &
""")


CUTS = 10
# Seconds from the loader's word to the last of the cuts.
LAST = 45


def cuts(box, sent):
    """System a, which works as well as the confirmed b, is given its one start again and again."""
    loader = Loader(box)
    same(loader.read(), {"order": "b a", "trial": "", "tried": "0"}, "before")
    last, n = LAST, 0
    while n < CUTS:
        loader.write(order="b a", trial="a", tried="0")
        box.start(memory=256)
        box.wait("homepost: starting system a", 300)
        time.sleep(last * n / (CUTS - 1))
        box.cut_power()
        state = loader.read()
        if state["order"] == "a b":
            # It had shown that it works by then, on a machine this fast.
            last /= 2
            assert last > 1, "confirmed at once"
            continue
        same(state, {"order": "b a", "trial": "a", "tried": "1"}, f"cut {n}")
        box.start(memory=256)
        # Every third time to the end: the others are cut as well, while the stores are put back or before.
        if n % 3 == 2 or n == CUTS - 1:
            runs(box, "98.0.0", "b")
            opened(box)
            all_there(box, sent)
            same(box.report()["verdict"], ["passed"], f"the stores after cut {n}")
            send(box, [letter(1000 + n)], sent)
            box.press_power_button()
            same(loader.read(), {"order": "b a", "trial": "", "tried": "0"}, f"after cut {n}")
        else:
            box.wait("homepost: starting system b", 300)
            time.sleep(2 * n)
            box.cut_power()
        same(re.findall("starting system ([ab])", box.serial()), ["b"], f"started after cut {n}")
        n += 1


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
            assert "REPORT broken: letters taken" in box.serial(), "the version that does not work changed nothing"
            assert ("421 ", 1, 1) in seen, f"not asked to come again: {seen}"
            assert ("220 ", 1, 1) not in seen, f"let in: {seen}"
            opened(box)
            all_there(box, sent)
            undone = [one for one in box.letters().values() if UNDONE.encode() in one]
            same(undone, [], "letters of the trial")
            send(box, [letter(n) for n in range(20, 30)], sent)
            box.press_power_button()
            assert UNDONE not in debugfs(box, "cat /mail/settings.toml"), "the settings are still those of the trial"
            same([name for name in ("before-update", "undone") if name in debugfs(box, "ls -p /mail")], [], "what is left of it")
            assert said(box)["failed"] and "did not work here" in said(box)["words"], said(box)
        with checks("a version that works is confirmed, and keeps running"):
            put_down(box, good)
            box.start(memory=256)
            runs(box, "98.0.0", "b")
            opened(box)
            all_there(box, sent)
            send(box, [letter(n) for n in range(30, 40)], sent)
            for _ in range(2):
                box.cut_power()
                box.start(memory=256)
                runs(box, "98.0.0", "b")
            opened(box)
            all_there(box, sent)
            same([line for line in box.report()["verdict"]], ["passed"], "the stores")
            box.press_power_button()
            same(said(box), {"failed": False, "words": "Version 98.0.0 runs."}, "what is said")
        with checks(f"{CUTS} power cuts while a version is tried: each time the confirmed one starts next, with every letter"):
            cuts(box, sent)
    finally:
        box.end()
    checks.end()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "qemu-x86_64")
