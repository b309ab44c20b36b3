"""Cuts the power of a booted box again and again, at moments and in ways that a test can choose.

usage: powercut.py [BOARD] [--cuts N] [--letters N] [--seed S] [--keep] [--again FOLDER] [--only N]

The image boots in QEMU once, with every write and flush of its disk logged (blocklog.py): the data partition grows, the box is
set up, mail is brought, seen, flagged and deleted while a newer version is written, the box restarts, tries and confirms it, and
mail is brought again. The moment of every acknowledgement in that log is kept (load.py). Then the disk is made again as a power cut
would have left it at some entry of the log: what was flushed before is there; of the other writes none, some or pieces.
On each such disk the system that starts next has to be whole, one of the two, the file system has to be repairable without questions, the stores have to open and to pass `homepost check`,
and everything acknowledged until then has to hold, byte for byte (aftermath.py). At last a box boots from such a disk.

How a moment is known: the host reads the length of the log when it has read an acknowledgement. The flush it rests on was
appended to the log before the guest knew of it, so it lies before that length (blocklog.py); entries that came meanwhile may
lie before it too. So at a cut exactly there, an acknowledgement that came before its flush would be caught, unless the flush came
within the time that the answer took to the host.

The control does the same as if the disk had not been told to flush: the last flush, or the last eight, count for
nothing. It has to find losses, or this test could not.

A failure leaves what was recorded and says how to look at that cut again.
"""

import argparse
import collections
import hashlib
import os
import pathlib
import pickle
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

from box import Box  # first, since it says where house is
from house import TARGET, Checks

import aftermath
import blocklog
import load
from newer import opened, pack, put_down

DISK = 700 * 1024 * 1024
# How often each way of cutting is taken.
WAYS = {"at an acknowledgement": 25, "at a flush": 10, "some writes": 10, "torn writes": 10, "while starting": 10,
        "while a version is written": 15, "while it is tried": 20}


class Cut(NamedTuple):
    way: str
    count: int      # entries of the log that the disk was given
    flushed: int    # of which so many are sure
    keep: Any
    control: bool


def record(folder, board, letters, seed):
    """A first boot with set-up, and mail until so many letters were acknowledged, some of them flagged and some deleted."""
    box = Box("powercut-box", board, DISK)
    try:
        newer = pack(board, folder, "98.0.0")
        put_down(box, newer)
        systems = {"a": digest(box.disk, box.partitions()[1][0], squashed(box)), "b": digest(newer, head(newer))}
        newer.unlink()
        subprocess.run(["cp", "--sparse=always", box.disk, folder / "before.img"], check=True)
        writes = folder / "writes"
        began = time.monotonic()
        box.start(memory=256, writes=writes)
        box.wait("Serving mail as mail.example.test", 900)
        print(f"       serving after {time.monotonic() - began:.0f} s", flush=True)
        # Until the restart, which the update that lies there brings.
        first = load.Load(box, writes, seed, until_restart=True)
        box.wait("homepost: starting system b", 900)
        restarted = first.moment()
        first.end(0)
        assert len(first.arrived) > 20, f"only {len(first.arrived)} letters before the restart"
        opened(box)
        print(f"       the new version is confirmed after {time.monotonic() - began:.0f} s", flush=True)
        second = load.Load(box, writes, seed, "b")
        # By what happened, not by the clock: how fast an emulated box is depends on what else this machine does.
        end = time.monotonic() + 600
        while (len(first.arrived) + len(second.arrived) < letters or len(second.deleted) < 8) and not second.strange:
            assert time.monotonic() < end, f"only {len(second.arrived)} letters in 600 s"
            time.sleep(0.2)
        second.end()
        assert not second.strange, second.strange
        box.pull_plug()
        subprocess.run(["cp", "--sparse=always", box.disk, folder / "after.img"], check=True)
        truths = [{key: value for key, value in vars(one).items() if isinstance(value, (dict, int))} for one in (first, second)]
        (folder / "truth").write_bytes(pickle.dumps({"loads": truths, "restarted": restarted, "systems": systems}))
    except BaseException:
        print(box.tail() if box.log else "", flush=True)
        raise
    finally:
        box.end()


def head(update):
    """How long the head of an update is (src/appliance/update/package.rs)."""
    with open(update, "rb") as file:
        return 76 + int.from_bytes(file.read(12)[8:])


def squashed(box):
    """The length of the system in slot a, by its superblock."""
    with open(box.disk, "rb") as disk:
        disk.seek(box.partitions()[1][0] + 40)
        return int.from_bytes(disk.read(8), "little")


def digest(path, at, length=None):
    """Length and SHA-256 of what is there, to the end of the file unless a length is told."""
    with open(path, "rb") as file:
        file.seek(at)
        read = file.read(-1 if length is None else length)
    return len(read), hashlib.sha256(read).hexdigest()


class Told:
    """A `Load` that was; it has what that one knew."""

    def __init__(self, known):
        vars(self).update(known)


class Recorded:
    """Both, and what was between them."""

    def __init__(self, folder):
        known = pickle.loads((folder / "truth").read_bytes())
        self.loads = [Told(one) for one in known["loads"]]
        self.restarted, self.systems = known["restarted"], known["systems"]
        self.began, self.ended = self.loads[0].began, self.loads[-1].ended
        self.arrived = [at for one in self.loads for at in one.arrived.values()]


def room():
    """A folder to work in: in memory if there is enough, since each cut writes the disk anew."""
    for folder in ("/dev/shm", TARGET):
        stat = os.statvfs(folder)
        if stat.f_bavail * stat.f_frsize > 2 << 30 and os.access(folder, os.W_OK):
            break
    return tempfile.mkdtemp(prefix="powercut-", dir=folder)


def plan(log, known, number, seed):
    """`number` cuts and their controls, in the order in which the disk gets there."""
    rng = random.Random(f"{seed}-plan")
    first, last = log.until(known.began), log.until(known.ended)
    arrived, moments = known.arrived, []
    for one in known.loads:
        moments += [*one.arrived.values(), *one.flagged.values(), *one.deleted.values(), *(at for _, at in one.uids.values())]
    written, tried = log.until(known.restarted), log.until(known.loads[1].began)
    flushes = [n for n in log.flushes if first <= n < last]
    cuts = []
    for n in range(number):
        # Each way its share, also of a small number.
        way = rng.choices(list(WAYS), list(WAYS.values()))[0] if n >= len(WAYS) else list(WAYS)[n]
        keep = blocklog.nothing
        if way == "at an acknowledgement":
            count = log.until(rng.choice(moments))
        elif way == "at a flush":
            count = rng.choice(flushes) + 1
        elif way == "while starting":
            count = rng.randrange(first)
            keep = rng.choice([blocklog.nothing, blocklog.some(random.Random(rng.random()), 0.5),
                               blocklog.torn(random.Random(rng.random()), 0.7)])
        else:
            kind = blocklog.some if way == "some writes" else blocklog.torn
            low, high = {"while a version is written": (first, written), "while it is tried": (written, tried)}.get(way, (first, last))
            keep = kind(random.Random(rng.random()), rng.choice([0.2, 0.5, 0.8, 1]))
            # Where something is to be lost: behind a write, not behind a flush.
            count = next(n for n in iter(lambda: rng.randrange(low, high), None)
                         if not log.entries[n].flags & blocklog.FLUSH) + 1
        cuts.append(Cut(way, count, log.flushed(count), keep, False))
    for n in range(max(8, number // 6)):
        count = log.until(rng.choice(arrived))
        if n % 2:
            cuts.append(Cut("the last flush forgotten", count, log.flushed(count, 1), blocklog.nothing, True))
        else:
            half = blocklog.some(random.Random(rng.random()), 0.5)
            cuts.append(Cut("eight flushes forgotten", count, log.flushed(count, 8), half, True))
    return sorted(cuts, key=lambda cut: (cut.flushed, cut.count))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("board", nargs="?", default="qemu-x86_64")
    parser.add_argument("--cuts", type=int, default=60)
    parser.add_argument("--letters", type=int, default=300, help="how many are to be acknowledged")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="keep what was recorded, for --again")
    parser.add_argument("--again", type=pathlib.Path, help="what an earlier run recorded")
    parser.add_argument("--only", type=int, help="only the cut of this number")
    args = parser.parse_args()
    folder = args.again or TARGET / "e2e" / f"recorded-{os.getpid()}"
    print(f"seed {args.seed}", flush=True)
    checks = Checks()
    if not args.again:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with checks("the image boots, is set up and takes mail, its disk being watched"):
            record(folder, args.board, args.letters, args.seed)
        if checks.failed:
            checks.end()
    work = room()
    try:
        look(checks, folder, pathlib.Path(work), args)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if checks.failed:
        print(f"to see a cut again: tests/image/powercut.py --again {folder} --seed {args.seed} --cuts {args.cuts} --only NUMBER")
    elif args.keep:
        print(f"recorded in {folder}")
    elif not args.again:
        shutil.rmtree(folder)
    checks.end()


def look(checks, folder, work, args):
    log = blocklog.Log(folder / "writes")
    known = Recorded(folder)
    flagged, deleted = (sum(len(vars(one)[what]) for one in known.loads) for what in ("flagged", "deleted"))
    print(f"       {len(log)} writes and flushes, {len(log.flushes)} of them flushes, {len(log.bytes) >> 20} MB; "
          f"{len(known.arrived)} letters acknowledged, {flagged} flagged, {deleted} deleted", flush=True)
    with checks("the log holds everything that was written to the disk"):
        whole = blocklog.Disk(log, folder / "before.img", work)
        whole.forward(len(log))
        subprocess.run(["cmp", whole.path, folder / "after.img"], check=True)
        whole.close()
    disk = blocklog.Disk(log, folder / "before.img", work)
    after = aftermath.Aftermath(folder / "before.img", known.loads, work, known.systems)
    control = collections.Counter()
    for number, cut in enumerate(plan(log, known, args.cuts, args.seed)):
        if args.only not in (None, number):
            # What a cut keeps comes from a generator of its own, so that one can be had without the others.
            continue
        moment = log.entries[cut.count - 1].end if cut.count else 0
        acknowledged = sum(at <= moment for at in known.arrived)
        path = disk.cut(cut.count, cut.flushed, cut.keep)
        if cut.control:
            try:
                after.look(path, moment)
                control[cut.way, "no loss"] += 1
            except aftermath.Wrong as wrong:
                control[cut.way, wrong.kind] += 1
            except Exception as error:  # noqa: BLE001: stores that opened and then did not answer
                control[cut.way, type(error).__name__] += 1
            continue
        with checks(f"cut {number}: {cut.way}, {cut.count - cut.flushed} of {cut.count} not flushed, {acknowledged} acknowledged"):
            after.look(path, moment)
    if args.only is None:
        with checks("the cuts met each system: the old one, the new one on trial, the old one after it, the new one confirmed"):
            for (slot, how), count in sorted(after.started.items()):
                print(f"       system {slot}, {how}: {count} times")
            met = {("a", "confirmed"), ("a", "after a trial"), ("b", "confirmed")}
            assert args.cuts < 40 or met <= set(after.started), after.started
        with checks("as if flushes had not been, acknowledged letters are lost: this test can see it"):
            for (way, kind), count in sorted(control.items()):
                print(f"       {way}: {kind} {count} times")
            for way in {way for way, _ in control}:
                assert control[way, "lost"] + control[way, "stores"] + control[way, "filesystem"], f"{way}, and nothing is lost"
            assert sum(count for (_, kind), count in control.items() if kind == "lost"), "no letter is missed"
        # A disk does not go back, and the trial lies before the last cuts.
        disk.close()
        disk = blocklog.Disk(log, folder / "before.img", work)
        boot(checks, log, disk, known, args)
    disk.close()


def boot(checks, log, disk, known, args):
    """The box itself, not only its parts: it boots from a disk that was cut with torn writes while a version was tried, goes
    back to the one before, repairs, serves, and has every letter."""
    rng = random.Random(args.seed)
    count = rng.randrange(log.until(known.restarted), log.until(known.loads[1].began))
    flushed = log.flushed(count)
    box = Box("powercut-boot", args.board, toml=None)
    try:
        with checks(f"a box boots from the disk as cut after {count} entries, with torn writes"):
            path = disk.cut(count, flushed, blocklog.torn(random.Random(args.seed), 0.7))
            subprocess.run(["cp", "--sparse=always", path, box.disk], check=True)
            box.start(memory=256)
            box.wait("Serving mail as mail.example.test", 900)
            verdict = box.report()
            assert verdict["verdict"] == ["passed"], "\n".join(verdict.get("check", []))
            moment = log.entries[count - 1].end
            print(f"       {re.findall('starting system [ab]', box.serial())}")
            opened(box)
            client = box.imap(timeout=180)
            after = aftermath.Aftermath(None, known.loads, None)
            after.read(client, moment)
            after.go_on(box, client, moment)
            client.logout()
        if checks.failed:
            print(box.tail() if box.log else "", flush=True)
    finally:
        box.end()


if __name__ == "__main__":
    sys.exit(main())
