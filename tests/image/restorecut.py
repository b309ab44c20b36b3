"""Cuts the power of a box again and again while a backup is put back on it from a stick.

usage: restorecut.py [BOARD] [--cuts N] [--letters N] [--seed S]

An empty box boots in QEMU, every write and flush of its disk is logged (blocklog.py), and a stick that asks for a restore is
plugged in. Then the disk is made again as a power cut would have left it at some entry of the log. On each such disk the file
system has to be repairable without questions, and what the box does at its next start has to end well: what was whole on the disk
takes its place, what was not is put back from the stick once more. At the end all letters are there, byte for byte, whoever had
a pass phrase has it, and the stores pass `homepost check`. Never is there a house that lacks something (U1, V3).
"""

import argparse
import collections
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

from box import ALICE, Box  # first, since it says where house is
from house import TARGET, Checks, House, same

import blocklog
from aftermath import Wrong, extract, partitions, repair
from load import letter
from powercut import room
from stick import USB, Stick

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


def record(folder, board, words):
    """(Where the log began to be of the restore, where it ended)."""
    box = Box("restorecut", board, DISK, toml=None)
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
        box.pull_plug()
        return plugged, done
    except BaseException:
        print(box.tail() if box.log else "", flush=True)
        raise
    finally:
        box.end()


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
    places = partitions(disk)
    device = work / "data.img"
    device.unlink(missing_ok=True)
    subprocess.run(["dd", f"if={disk}", f"of={device}", "bs=1M", f"skip={places['homepost-data']}B", "conv=sparse", "status=none"],
                   check=True)
    repair(device)
    data = extract(device, work / "data")
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
    parser.add_argument("--cuts", type=int, default=12)
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
        found = None
        with checks("an empty box is restored from a stick, its disk being watched"):
            found = record(folder, args.board, words)
        if found:
            cuts(checks, args, found, folder, work, words, letters)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    checks.end()


def cuts(checks, args, found, folder, work, words, letters):
    log, rng = blocklog.Log(folder / "writes"), random.Random(args.seed)
    first, last = (log.until(at) for at in found)
    # By bytes, and not only by entries: the letters are few and long, what ends the restore is many and short.
    counts = [rng.randrange(first, last) if n % 3 else max(first, last - rng.randrange(40)) for n in range(args.cuts)]
    kinds = [lambda: blocklog.nothing, lambda: blocklog.some(rng, 0.5), lambda: blocklog.torn(rng, 0.7)]
    disk = blocklog.Disk(log, folder / "before.img", work)
    met = collections.Counter()
    for n, count in enumerate(sorted(counts, key=lambda count: (log.flushed(count), count))):
        with checks(f"cut {n} of {len(counts)}: after {count - first} of {last - first} writes and flushes"):
            path = disk.cut(count, log.flushed(count), kinds[n % len(kinds)]())
            met[look(path, work, folder / "archive", words, letters)] += 1
    disk.close()
    print(f"       {dict(met)}", flush=True)
    with checks("the cuts met a restore that was begun, and one that was over"):
        assert args.cuts < 10 or met["begun"], met


if __name__ == "__main__":
    sys.exit(main())
