"""Cuts the power of a box again and again while a backup is put back on it from a stick, and pulls out a stick while one is made.

usage: restorecut.py [BOARD] [--cuts N] [--letters N] [--seed S]

An empty box boots in QEMU, every write and flush of its disk is logged (blocklog.py), and a stick that asks for a restore is
plugged in. Then the disk is made again as a power cut would have left it at some entry of the log. On each such disk the file
system has to be repairable without questions, and what the box does at its next start has to end well: what was whole on the disk
takes its place, what was not is put back from the stick once more. At the end all letters are there, byte for byte, whoever had
a pass phrase has it, and the stores pass `homepost check`. Never is there a house that lacks something (U1, V3).

Then that box gets more letters and backs them up to the same stick, whose writes are logged in their turn. On each stick as it could
have been left there is a backup that can be put back: the one before, or the new one; and the new one once the box has let it go.
Some of these sticks are plugged in again: there is a new backup then, and no file on the stick has lost its bytes to another one.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

from box import ALICE, Box  # first, since it says where house is
from house import TARGET, Checks, House, same

import blocklog
from aftermath import Wrong, data_of, partitions
from load import letter
from newer import opened
from powercut import room
from usb import USB, Stick, until

DISK = 500 * 1024 * 1024


def make(folder, count, seed):
    """A house with letters, its backup in `folder`/archive: the words that open it, and the letters."""
    house = House("restorecut-house")
    archive = folder / "archive"
    archive.mkdir()
    rng = random.Random(seed)
    try:
        house.init()
        words = house.json("backup", "key")["words"]
        house.serve(words=("--backup", str(archive)))
        client = house.smtp()
        for n in range(count):
            client.sendmail("bob@example.net", [ALICE], letter(f"r{n}", rng.choice([1_500, 6_000, 20_000, 300_000])))
        client.quit()
        letters = house.letters()
        house.run("backup", "create", str(archive))
        house.stop()
    finally:
        house.end()
    return words, sorted(letters.values())


def newest(stick):
    """The number of the newest backup on it that is whole, as its names say."""
    return max(int(found[1], 16) for name in stick.names() if (found := re.search(r"/head-(\w+)\.sha256$", name)))


def record(box, folder, words, count):
    """Where the log began to be of the restore, and where it ended; and the letters that came after it. The box goes on."""
    try:
        stick = Stick(box.folder / "stick.img")
        stick.put("homepost.toml", f'restore = "{words}"\r\n')
        stick.tool("mcopy", "-s", str(folder / "archive" / "homepost-backup"), "::", check=True)
        subprocess.run(["cp", "--sparse=always", box.disk, folder / "before.img"], check=True)
        writes = folder / "writes"
        began = time.monotonic()
        box.start(memory=256, writes=writes, more=USB)
        box.wait("8080", 900)
        plugged = os.stat(writes).st_size
        print(f"       it waits for somebody after {time.monotonic() - began:.0f} s", flush=True)
        stick.plug(box)
        box.wait("Serving mail as mail.example.test", 900)
        print(f"       everything is back after {time.monotonic() - began:.0f} s", flush=True)
        done = os.stat(writes).st_size
        opened(box)
        client = box.smtp()
        for n in range(count // 2):
            client.sendmail("bob@example.net", [ALICE], letter(f"later{n}", 20_000))
        client.quit()
        # It has a first backup made by itself; the second is watched.
        until(lambda: newest(stick) > 1, 300, box)
        time.sleep(20)
        stick.pull(box)
        client = box.smtp()
        for n in range(count // 2):
            client.sendmail("bob@example.net", [ALICE], letter(f"last{n}", 20_000))
        client.quit()
        subprocess.run(["cp", "--sparse=always", stick.path, folder / "stick-before.img"], check=True)
        whole = newest(stick)
        stick.plug(box, folder / "stick-writes")
        until(lambda: newest(stick) > whole, 300, box)
        # Read back, and let go.
        time.sleep(20)
        stick.pull(box)
        print(f"       and a stick has what came since after {time.monotonic() - began:.0f} s", flush=True)
        return plugged, done, sorted(box.letters().values())
    except BaseException:
        print(box.tail() if box.log else "", flush=True)
        raise


def start_again(data, archive, words):
    """As the box starts, with the stick still in; what it was like before that."""
    half = data / "restore.new"
    if (data / "settings.toml").exists() and not half.exists():
        return "after"
    was = "being put in its place" if (half / "whole").exists() else "begun" if half.exists() else "before"
    done = House("restorecut-after", data).run("backup", "restore", str(archive), "--secret-stdin", input=words + "\n", ok=False)
    if done.returncode != 0 and not (was == "being put in its place" and "set up already" in done.stderr):
        raise Wrong("restore", f"{was}: {done.stdout}{done.stderr}")
    return was


def look(disk, work, archive, words, letters):
    data = data_of(disk, partitions(disk), work)
    assert data, "the data folder was there before the stick was"
    was = start_again(data, archive, words)
    house = House("restorecut-after", data)
    try:
        house.serve(seconds=120)
        # The pass phrase counts, too.
        same(sorted(house.letters().values()), letters, "letters")
        verdict = house.check()
        if verdict:
            raise Wrong("check", verdict)
        house.stop()
    finally:
        house.end()
    return was


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("board", nargs="?", default="qemu-x86_64")
    parser.add_argument("--cuts", type=int, default=40)
    parser.add_argument("--letters", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    checks = Checks()
    folder = TARGET / "e2e" / f"restorecut-{os.getpid()}"
    folder.mkdir(parents=True)
    work = pathlib.Path(room())
    try:
        words, letters = make(folder, args.letters, args.seed)
        assert len(letters) == args.letters
        found, box = None, Box("restorecut", args.board, DISK, toml=None)
        try:
            with checks("an empty box is restored from a stick, its disk being watched"):
                found = record(box, folder, words, args.letters)
            if found:
                again(checks, args, box, folder, work, words, found[2])
                box.pull_plug()
        finally:
            box.end()
        if found:
            cuts(checks, args, found[:2], folder, work, words, letters)
            pulls(checks, args, folder, work, words, letters, found[2])
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    checks.end()


def cuts(checks, args, found, folder, work, words, letters):
    log, rng = blocklog.Log(folder / "writes"), random.Random(args.seed)
    first, last = (log.until(at) for at in found)
    # The letters are few and long; what ends a restore is many and short.
    counts = [rng.randrange(first, last) if n % 3 else max(first, last - rng.randrange(40)) for n in range(args.cuts)]
    kinds = [lambda: blocklog.nothing, lambda: blocklog.some(rng, 0.5), lambda: blocklog.torn(rng, 0.7)]
    planned = [(log.flushed(count), count, kinds[n % 3](), False) for n, count in enumerate(counts)]
    # The control: as if the disk had not been told to flush. Then a house without its letters has to be found.
    for _ in range(max(24, args.cuts // 4)):
        count = max(first, last - rng.randrange(60))
        planned.append((log.flushed(count, 60), count, blocklog.some(rng, 0.5), True))
    disk = blocklog.Disk(log, folder / "before.img", work)
    met, control = collections.Counter(), collections.Counter()
    for n, (flushed, count, keep, is_control) in enumerate(sorted(planned, key=lambda one: one[:2])):
        path = disk.cut(count, flushed, keep)
        if is_control:
            try:
                look(path, work, folder / "archive", words, letters)
                control["nothing"] += 1
            except Exception as error:  # noqa: BLE001: whatever is not as it should be
                control[error.kind if isinstance(error, Wrong) else type(error).__name__] += 1
            continue
        with checks(f"cut {n}: after {count - first} of {last - first} writes and flushes, {count - flushed} of them not flushed"):
            met[look(path, work, folder / "archive", words, letters)] += 1
    disk.close()
    print(f"       how it was found: {dict(met)}", flush=True)
    with checks("the cuts met a restore that was begun, and one that was over"):
        assert args.cuts < 10 or (met["begun"] and met["after"]), met
    with checks("as if flushes had not been, a house lacks something: this test can see it"):
        print(f"       wrong: {dict(control)}")
        assert sum(count for kind, count in control.items() if kind != "nothing"), control


def pulls(checks, args, folder, work, words, letters, all_letters):
    log, rng = blocklog.Log(folder / "stick-writes"), random.Random(args.seed)
    assert len(log) > 20, f"only {len(log)} writes to the stick"
    disk = blocklog.Disk(log, folder / "stick-before.img", work)
    kinds = [lambda: blocklog.nothing, lambda: blocklog.some(rng, 0.5), lambda: blocklog.torn(rng, 0.7)]
    met = collections.Counter()
    before = sorted(on_stick(folder / "stick-before.img", work, words))
    assert set(letters) <= set(before) < set(all_letters), f"{len(before)} letters on the stick before"
    counts = sorted({*(rng.randrange(1, len(log)) for _ in range(args.cuts // 2)), len(log)}, key=lambda n: (log.flushed(n), n))
    for n, count in enumerate(counts):
        with checks(f"pull {n}: after {count} of {len(log)} writes and flushes"):
            path = pathlib.Path(disk.cut(count, log.flushed(count), kinds[n % 3]()))
            got = sorted(on_stick(path, work, words))
            assert got in (before, all_letters), f"{len(got)} letters, neither {len(before)} nor {len(all_letters)}"
            met["the new one" if got == all_letters else "the one before"] += 1
            if count == len(log):
                same(got, all_letters, "letters, when the box has let the stick go")
    disk.close()
    print(f"       what could be put back: {dict(met)}", flush=True)
    with checks("the stick was pulled out before the new backup was whole, and after it"):
        assert len(met) == 2, met


def again(checks, args, box, folder, work, words, all_letters):
    log = blocklog.Log(folder / "stick-writes")
    stick = Stick.__new__(Stick)

    def left(disk, count, n):
        stick.path = pathlib.Path(disk.cut(count, log.flushed(count), blocklog.torn(random.Random(f"{args.seed} {count} {n}"), 0.7)))

    # First those on which something is named that is not all there: that is what can do harm.
    found, disk = {}, blocklog.Disk(log, folder / "stick-before.img", work)
    for count in sorted(range(1, len(log)), key=lambda count: (log.flushed(count), count)):
        for n in range(3):
            left(disk, count, n)
            found[count, n] = stick.broken()
    disk.close()
    rng = random.Random(args.seed)
    chosen = sorted(found, key=lambda one: (not found[one], rng.random()))[:max(2, args.cuts // 10)]
    print(f"       {sum(map(bool, found.values()))} of {len(found)} have something on them that is not all there", flush=True)
    with checks("however a stick was left, no file on it can lose its room to another one (K4)"):
        # A folder that grows may go on in a cluster that is free; that is mended when the stick comes back.
        same({one for broken in found.values() for one in broken if re.search(r"\.(age|sha256|txt): ", one)}, set(), "files")
    with checks("a stick on which a file was left that has no room is backed up to, and is sound afterwards"):
        stick.path = folder / "stick-left.img"
        subprocess.run(["cp", "--sparse=always", folder / "stick-before.img", stick.path], check=True)
        head = next(name for name in stick.names() if name.endswith("/head-00000001.age"))
        left_over = head.removeprefix("::/").replace("head-00000001.age", "rows-000000f0.tar.gz.age")
        stick.put(left_over, "x" * 3000)
        stick.take_room(left_over)
        assert any("rows-000000f0" in one for one in stick.broken()), stick.broken()
        comes_back(box, stick, work, words, all_letters)
    for count, n in chosen:
        with checks(f"pulled out after {count} of {len(log)} writes and flushes ({len(found[count, n])} faults), and plugged in again"):
            disk = blocklog.Disk(log, folder / "stick-before.img", work)
            left(disk, count, n)
            comes_back(box, stick, work, words, all_letters)
            disk.close()


def comes_back(box, stick, work, words, all_letters):
    """A stick that was pulled out is plugged in again."""
    before = newest(stick)
    stick.plug(box)
    try:
        until(lambda: newest(stick) > before, 120, box)
        time.sleep(15)
    finally:
        stick.pull(box)
    same(stick.broken(), [], "files that lost their bytes to others")
    same(sorted(on_stick(stick.path, work, words)), all_letters, "letters")


def on_stick(path, work, words):
    """What is put back of a stick in such a state, as a box does it."""
    stick, target = Stick.__new__(Stick), work / "from-stick"
    stick.path = path
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in [name for name in stick.names() if name.startswith("::/homepost-backup/") and not name.endswith("/")]:
        # One by one: a file of which not all is there hides no other, for Linux; mcopy ends at the first of them.
        there = target / name.removeprefix("::/")
        there.parent.mkdir(parents=True, exist_ok=True)
        if stick.tool("mcopy", "-n", name, str(there)).returncode != 0 and not there.exists():
            there.touch()
    house = House("restorecut-stick")
    try:
        house.run("backup", "restore", str(target), "--secret-stdin", input=words + "\n")
        house.serve(seconds=120)
        return list(house.letters().values())
    finally:
        house.end()


if __name__ == "__main__":
    sys.exit(main())
