"""Measures the image: what it weighs, and how long it takes to start, beside the same image with a trivial responder.

usage: bench.py [BOARD] [--rounds N]      the image has to be there (scripts/image); figures in target/bench/image-BOARD.json

The responder is a shell script in the binary's place that says 220 on port 25 and does nothing else; everything around it is
the same, on a disk that was set up before. Both start in turn, so that what else the machine does hits both; the ratio is what
counts, the seconds are those of an emulated processor.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import time
import urllib.request

from box import Box  # first, since it says where house is
from house import ROOT, TARGET, Checks

# PRODUCT.md, section 7.
TARGETS = {"binary": 30_000_000, "img.xz": 64_000_000, "boot ratio": 1.2, "init to 8080, s": 3.0}
RESPONDER = """#!/bin/sh
# The least that can stand in homepost's place (tests/image/bench.py).
case $1 in
    serve)
        : >/data/mail/ready
        echo 'homepost: ready'
        exec nc -ll -p 25 -e /usr/bin/answer
        ;;
    listeners) echo 'smtp 25 on' ;;
    machine) exit 1 ;;
esac
"""


def trivial_slot(board, folder):
    """The system slot with the responder in the binary's place."""
    root = folder / "root"
    subprocess.run(["cp", "-a", TARGET / "image" / board / "work" / "root", root], check=True)
    for name, text in (("homepost", RESPONDER), ("answer", "#!/bin/sh\necho '220 answer'\nread line\n")):
        path = root / "usr" / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    slot = folder / "slot.squashfs"
    subprocess.run(["mksquashfs", root, slot, "-comp", "xz", "-b", "256K", "-all-root", "-noappend", "-quiet", "-no-progress"],
                   check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(root)
    return slot


def answers(port, seconds):
    """Seconds from now to the first 220. QEMU takes a connection before the box is asked."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                if probe.recv(100).startswith(b"220"):
                    return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"no answer in {seconds} s")


def stamped(lines, words):
    """The kernel's time of the first line with these words."""
    for line in lines:
        found = re.match(r"\[\s*(\d+\.\d+)\] .*" + words, line)
        if found:
            return float(found[1])
    raise RuntimeError(f"no line with {words!r} in\n" + "\n".join(lines))


def boot(box):
    """(from the start of the machine to 220, from init to the end of the first steps, from init to ready)"""
    box.start(memory=256)
    took = answers(box.port(25), 500)
    report = box.report()
    begun = stamped(report["log"], "homepost: init begins")
    row = {"first answer": took, "init": stamped(report["log"], "init done") - begun,
           "init to ready": stamped(report["log"], r"(serve|homepost): ready") - begun, "kernel": begun}
    box.press_power_button()
    return row


def first_page(box):
    """Seconds from init until a box that nobody has set up listens on 8080, whose page is then asked for."""
    box.start(memory=256)
    box.wait("Not set up yet", 500)
    page = urllib.request.urlopen(f"http://127.0.0.1:{box.port(8080)}/", timeout=60).read().decode()
    assert "<form" in page, page
    report = box.report()
    took = stamped(report["log"], "listening on port 8080") - stamped(report["log"], "homepost: init begins")
    box.press_power_button()
    return took


def sizes(board):
    folder = TARGET / "image" / board
    root = folder / "work" / "root"
    size = {
        "binary": (root / "usr" / "bin" / "homepost").stat().st_size,
        "system slot": (folder / "work" / "slot.squashfs").stat().st_size,
        "kernel": (root / "boot" / "vmlinuz").stat().st_size,
        "initramfs": (folder / "work" / "initrd").stat().st_size,
        "img": (folder / "homepost.img").stat().st_size,
        "img, on the disk": (folder / "homepost.img").stat().st_blocks * 512,
    }
    [packed] = folder.glob("homepost-*.img.xz")
    return size | {"img.xz": packed.stat().st_size}


def main():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=False)
    parser.add_argument("board", nargs="?", default="qemu-x86_64")
    parser.add_argument("--rounds", type=int, default=3)
    told = parser.parse_args()
    checks = Checks()
    size = sizes(told.board)
    for name, value in size.items():
        print(f"{name:18} {value / 1e6:8.1f} MB" + (f"   (at most {TARGETS[name] / 1e6:.0f})" if name in TARGETS else ""), flush=True)

    real = Box("bench-homepost", told.board)
    trivial = Box("bench-trivial", told.board, toml=None)
    fresh = Box("bench-fresh", told.board, toml=None)
    rows = {"homepost": [], "trivial": []}
    pages = []
    try:
        with checks("a box is set up, to be started again"):
            real.start(memory=256)
            real.wait("Serving mail as", 500)
            real.report()
            real.press_power_button()
        # The same disk, but for what lies in slot A.
        shutil.copyfile(real.disk, trivial.disk)
        slot = trivial_slot(told.board, pathlib.Path(trivial.folder))
        start, room = trivial.partitions()[1]
        assert slot.stat().st_size <= room
        with open(trivial.disk, "r+b") as disk:
            disk.seek(start)
            disk.write(slot.read_bytes())
        for n in range(told.rounds):
            for name, box in (("homepost", real), ("trivial", trivial)):
                with checks(f"round {n + 1}, {name}"):
                    rows[name].append(boot(box))
                    print("       " + ", ".join(f"{what} {value:.1f} s" for what, value in rows[name][-1].items()))
            with checks(f"round {n + 1}, not set up"):
                pages.append(first_page(fresh))
                print(f"       init to 8080 {pages[-1]:.1f} s")
    finally:
        fresh.end()
        real.end()
        trivial.end()

    def middle(name, what):
        return statistics.median(row[what] for row in rows[name])

    figures = {what: {name: middle(name, what) for name in rows} for what in ("first answer", "kernel", "init", "init to ready")}
    ratio = statistics.median(a["first answer"] / b["first answer"] for a, b in zip(rows["homepost"], rows["trivial"]))
    print(f"\n{'median of ' + str(told.rounds):24} {'homepost':>10} {'trivial':>10}")
    for what, row in figures.items():
        print(f"{what:24} {row['homepost']:9.1f}s {row['trivial']:9.1f}s")
    print(f"{'boot ratio':24} {ratio:10.2f} {'':10}   (at most {TARGETS['boot ratio']})")
    print(f"{'init to 8080':24} {statistics.median(pages):9.1f}s {'':10}   (at most {TARGETS['init to 8080, s']}, on a quiet machine)")
    out = TARGET / "bench" / f"image-{told.board}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"board": told.board, "load": os.getloadavg(), "cpus": os.cpu_count(), "sizes": size, "rounds": rows, "init to 8080": pages,
                               "boot ratio": ratio, "targets": TARGETS}, indent=1) + "\n")
    print(f"figures in {out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}")
    for name in ("binary", "img.xz"):
        with checks(f"{name} is within its target"):
            assert size[name] <= TARGETS[name], size[name]
    checks.end()


if __name__ == "__main__":
    main()
