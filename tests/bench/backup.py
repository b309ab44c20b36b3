#!/usr/bin/env python3
"""Backups of many letters beside restic, which backs up the same letters as files: encrypted, incremental, onto the same disk.

usage: backup.py [--letters N] [--out FILE.json]      (HOMEPOST=binary, else the static one)

first      everything, into an empty folder
unchanged  nothing has changed since
more       100 letters more
restore    everything, into an empty folder

Both sync what they write (restic its local files, homepost each file and folder of the archive). homepost's memory is that of
the server, which goes on serving; restic's is its own. Prints a table with ratios and targets and writes JSON. It judges nothing.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import bench  # noqa: E402
from bench import row  # noqa: E402
from house import ALICE, COMMAND, TARGET, House  # noqa: E402

MEMORY_TARGET = 256


def letter(n):
    """2 KB of words, as letters are: it can be packed somewhat."""
    rng = random.Random(n)
    words = " ".join(rng.choice(("house", "letter", "tomorrow", "grandmother", "train", "photograph", "key", "weather")) + str(rng.randrange(999))
                     for _ in range(150))
    lines = "\r\n".join(words[at:at + 76] for at in range(0, len(words), 76))
    return f"From: bob@example.net\r\nTo: {ALICE}\r\nSubject: letter {n}\r\nMessage-ID: <{n}@example.net>\r\n\r\n{lines}\r\n".encode()


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Ours:
    def __init__(self, folder):
        self.archive = folder / "ours"
        self.archive.mkdir()
        self.house = House("bench-backup")
        self.house.init()
        self.words = self.house.json("backup", "key")["words"]
        self.house.serve(words=("--backup", str(self.archive)))

    def bring(self, numbers):
        client = None
        for count, n in enumerate(numbers):
            if count % 50 == 0:
                if client:
                    client.quit()
                client = self.house.smtp(tls=False)
            try:
                client.sendmail("bob@example.net", [ALICE], letter(n))
            except smtplib.SMTPException as error:
                raise SystemExit(f"letter {n} is not taken: {error}")
        client.quit()

    def back_up(self):
        self.house.forget_peak()
        began = time.monotonic()
        self.house.run("backup", "create", str(self.archive))
        return time.monotonic() - began, self.house.status("VmHWM") / 1e6

    def restore(self):
        after = House("bench-backup-after")
        try:
            words = [*COMMAND, "backup", "restore", str(self.archive), "--secret-stdin", "--data", str(after.data)]
            return measured(lambda: subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL), self.words)
        finally:
            after.end()

    def end(self):
        self.house.stop()
        self.house.end()


class Restic:
    def __init__(self, folder):
        self.archive, self.files, self.target = folder / "theirs", folder / "letters", folder / "restored"
        self.files.mkdir()
        self.environment = dict(os.environ, RESTIC_PASSWORD="x", RESTIC_REPOSITORY=str(self.archive), RESTIC_CACHE_DIR=str(folder / "cache"))
        subprocess.run(["restic", "init"], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def bring(self, numbers):
        for n in numbers:
            (self.files / f"{n}.eml").write_bytes(letter(n))

    def run(self, *words):
        return measured(lambda: subprocess.Popen(["restic", "-q", *words], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))

    def back_up(self):
        return self.run("backup", str(self.files))

    def restore(self):
        return self.run("restore", "latest", "--target", str(self.target))


def measured(start, text=""):
    """(seconds, peak of memory in MB)"""
    began = time.monotonic()
    process = start()
    process.stdin.write(text.encode() + b"\n")
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"it ended with {process.returncode}")
    return time.monotonic() - began, used.ru_maxrss * 1024 / 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--letters", type=int, default=100_000)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="backup-", dir=TARGET))
    ours, theirs = Ours(folder), Restic(folder)
    print(f"{args.letters} letters of 2 KB; both sync what they write\n{'':<58} {'homepost':>9} {'restic':>9}")
    try:
        ours.bring(range(args.letters))
        theirs.bring(range(args.letters))
        before = (0, 0)
        for what, more in (("first", 0), ("unchanged", 0), ("100 letters more", 100)):
            for one in (ours, theirs):
                if more:
                    one.bring(range(args.letters, args.letters + more))
            (seconds, peak), (theirs_seconds, theirs_peak) = ours.back_up(), theirs.back_up()
            sizes = (size(ours.archive), size(theirs.archive))
            row(f"{what}: time", "s", seconds, theirs_seconds, "")
            row(f"{what}: written", "KB", *((now - then) / 1e3 for now, then in zip(sizes, before)), "")
            row(f"{what}: memory", "MB", peak, theirs_peak, f"< {MEMORY_TARGET}")
            before = sizes
        (seconds, peak), (theirs_seconds, theirs_peak) = ours.restore(), theirs.restore()
        row("restore: time", "s", seconds, theirs_seconds, "")
        row("restore: memory", "MB", peak, theirs_peak, f"< {MEMORY_TARGET}")
        if args.out:
            args.out.write_text(json.dumps(bench.ROWS, indent=1))
    finally:
        ours.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
