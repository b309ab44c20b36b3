"""A disk after a power cut, looked at as the box and its owner would: repaired, opened, checked, read.

Needs neither root nor loop devices: e2fsck works on the file, debugfs takes the data folder out of it, and the same binary
that is in the image serves that folder on loopback."""

import collections
import hashlib
import json
import os
import shutil
import subprocess

from box import ALICE
from house import House, without_trace
from machine import Machine
from newer import Loader

LAST = b"From: bob@example.net\r\nTo: alice@example.test\r\nSubject: after the cut\r\n\r\nstill there?\r\n"


class Wrong(AssertionError):
    """`kind` is one word for the statistics."""

    def __init__(self, kind, words):
        super().__init__(f"{kind}: {words}")
        self.kind = kind


def partitions(disk):
    """Label → first byte. A torn table at the disk's start is read from its copy at the end, as the kernel does (`gpt`)."""
    done = subprocess.run(["sfdisk", "-q", "-J", disk], capture_output=True)
    if done.returncode != 0:
        raise Wrong("partitions", done.stderr.decode())
    return {row.get("name"): row["start"] * 512 for row in json.loads(done.stdout)["partitiontable"]["partitions"]}


def repair(device):
    """As src/appliance/machine/start does, but for the last step: a cut must leave nothing that e2fsck asks about."""
    done = subprocess.run(["e2fsck", "-p", device], capture_output=True, text=True)
    if done.returncode >= 4:
        raise Wrong("filesystem", f"e2fsck -p does not dare: {done.stdout}{done.stderr}")
    again = subprocess.run(["e2fsck", "-f", "-n", device], capture_output=True, text=True)
    if again.returncode != 0:
        raise Wrong("filesystem", f"not whole after e2fsck -p ({done.returncode}): {again.stdout}{again.stderr}")


def extract(device, folder):
    """The data folder out of a file system, or None if there is none yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = subprocess.run(["debugfs", "-R", f"rdump /mail {folder}", device], capture_output=True, text=True)
    words = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
    if any("File not found" in line for line in words):
        return None
    if words or done.returncode != 0:
        raise Wrong("filesystem", "\n".join(words[:5]))
    # Written by root, they are the box's user's still; the server keeps no power to read what is another's.
    for path in (folder / "mail", *(folder / "mail").rglob("*")):
        os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False)
    return folder / "mail"


def data_of(disk, places, folder):
    """The data folder of a disk, repaired as the box does it, below `folder`; None if there is none yet."""
    device = folder / "data.img"
    device.unlink(missing_ok=True)
    subprocess.run(["dd", f"if={disk}", f"of={device}", "bs=1M", f"skip={places['homepost-data']}B", "conv=sparse", "status=none"],
                   check=True)
    repair(device)
    return extract(device, folder / "data")


def boot_partition(disk, start, before, set_up):
    """What the firmware reads is as it was, and until the box is set up homepost.toml is there to do it; that file's text."""
    def read(image, name):
        done = subprocess.run(["mtype", "-i", f"{image}@@{start}", f"::{name}"], capture_output=True)
        return done.stdout if done.returncode == 0 else None

    loader = "EFI/BOOT/" + ("BOOTX64.EFI" if read(before, "EFI/BOOT/BOOTX64.EFI") else "BOOTAA64.EFI")
    was = {name: read(before, name) for name in (loader, "EFI/BOOT/grub.cfg", "homepost.toml")}
    assert all(was.values()), f"not on the disk from the beginning: {was}"
    for name in (loader, "EFI/BOOT/grub.cfg"):
        if read(disk, name) != was[name]:
            raise Wrong("boot", f"{name} is not as it was")
    if not set_up and read(disk, "homepost.toml") != was["homepost.toml"]:
        raise Wrong("boot", "not set up, and homepost.toml is not there any more")
    return was["homepost.toml"]


# Of the letter by which a new version shows that it works.
NEWS = b"Subject: Your homepost was updated"


def starts(disk, at):
    """What GRUB does next with such a boot partition (image/grub.cfg): the slot that starts, the one on trial, and whether that
    had its start before. An environment that cannot be read has every default."""
    with open(disk, "rb") as file:
        file.seek(at)
        part = file.read(48 << 20)
    found = part.find(Loader.HEAD)
    lines = part[found:found + Loader.BYTES].decode(errors="replace").splitlines() if found >= 0 else []
    state = {"order": "a b", "trial": "", "tried": "0"} | dict(line.split("=", 1) for line in lines if "=" in line)
    confirmed, trial = state["order"].split()[0], state["trial"] or None
    if confirmed not in ("a", "b") or trial not in (None, "a", "b"):
        raise Wrong("loader", str(state))
    if trial and state["tried"] != "1":
        return trial, trial, False
    return confirmed, trial, bool(trial)


class Aftermath:
    """Looks at the disks of one log."""

    def __init__(self, before, loads, folder, systems=None):
        """`before`: the disk before the first write; `loads`: what was asked of the box, in order; `folder`: to work in;
        `systems`: slot → length and SHA-256 of the one system that may ever start from it."""
        self.before, self.loads, self.folder, self.systems = before, loads, folder, systems
        self.started = collections.Counter()
        self.machine = None
        self.letters = {}
        for load in loads:
            self.letters.update(load.letters)
        self.lost = []

    def look(self, disk, moment):
        """Raises `Wrong` when something acknowledged up to `moment` (a length of the log) does not hold on `disk`."""
        self.lost = []
        places = partitions(disk)
        if not {"homepost-boot", "homepost-data"} <= set(places):
            raise Wrong("partitions", str(places))
        slot, trial, failed = starts(disk, places["homepost-boot"])
        if self.systems:
            length, digest = self.systems[slot]
            with open(disk, "rb") as file:
                file.seek(places[f"homepost-{slot}"])
                if hashlib.sha256(file.read(length)).hexdigest() != digest:
                    raise Wrong("system", f"{slot} starts next, and is no whole system")
        self.started[slot, "on trial" if slot == trial else "after a trial" if failed else "confirmed"] += 1
        data = data_of(disk, places, self.folder)
        # As src/appliance/machine/start asks it.
        begun = data is not None and (data / "setup/state.json").exists()
        set_up = data is not None and (data / "settings.toml").exists() and not begun
        toml = boot_partition(disk, places["homepost-boot"], self.before, set_up)
        if not set_up:
            if any(load.began <= moment for load in self.loads):
                raise Wrong("stores", "the box is not set up any more")
            if not begun:
                return
        house = House("powercut", data)
        if not self.machine:
            self.machine = Machine(self.folder / "machine.sock")
            os.environ["HOMEPOST_MACHINE"] = str(self.machine.path)
        self.machine.runs(slot, trial=trial, said="The new version did not work here." if failed else None)
        try:
            if begun:
                done = house.run("init", "--from", "-", input=toml.decode(), ok=False)
                if done.returncode != 0:
                    raise Wrong("setup", f"what was begun cannot be ended: {done.stdout}{done.stderr}")
            try:
                house.serve(seconds=120)
            except RuntimeError as error:
                raise Wrong("stores", str(error)) from None
            client = house.imap()
            try:
                self.read(client, moment)
                self.go_on(house, client, moment)
            finally:
                client.logout()
            verdict = house.check()
            if verdict:
                raise Wrong("check", verdict)
            house.stop()
        finally:
            house.end()

    def read(self, client, moment):
        """Every letter byte for byte, flags, deletions, UIDs."""
        validity = client.select_folder("INBOX")[b"UIDVALIDITY"]
        names, flags = {}, {}
        uids = client.search("ALL")
        for at in range(0, len(uids), 100):
            for uid, row in client.fetch(uids[at:at + 100], ["BODY.PEEK[]", "FLAGS"]).items():
                original = without_trace(row[b"BODY[]"], self.letters)
                if original is None and NEWS in row[b"BODY[]"]:
                    continue
                if original is None:
                    raise Wrong("letter", f"UID {uid} is not as it was sent: {row[b'BODY[]'][:300]!r}")
                names[uid], flags[uid] = self.letters[original], row[b"FLAGS"]
        times = collections.Counter(names.values())
        leaving = {name for load in self.loads for name, at in load.deleting.items() if at <= moment}
        for load in self.loads:
            # A reader sees nothing that a cut could take back, so what was seen counts as what was acknowledged.
            until = {name for name, at in load.arrived.items() if at <= moment}
            until |= {name for name, at in load.uids.values() if at <= moment and name in load.letters.values()}
            gone = {name for name, at in load.deleted.items() if at <= moment}
            self.lost += sorted(until - leaving - set(times))
            if gone & set(times):
                raise Wrong("deleted", f"deleted, and back: {sorted(gone & set(times))[:5]}")
            if load.validity and any(at <= moment for _, at in load.uids.values()) and load.validity != validity:
                raise Wrong("uid", f"UIDVALIDITY was {load.validity} and is {validity}")
            for uid, (name, at) in load.uids.items():
                if at <= moment and names.get(uid, name) != name:
                    raise Wrong("uid", f"UID {uid} named {name}, and now {names[uid]}")
            for uid, at in load.flagged.items():
                if at <= moment and uid in flags and b"\\Flagged" not in flags[uid]:
                    raise Wrong("flag", f"UID {uid} was flagged, and is not")
        if self.lost:
            raise Wrong("lost", f"{len(self.lost)} acknowledged letters: {', '.join(self.lost[:5])}")
        twice = [name for name, count in times.items() if count > 1]
        if twice:
            raise Wrong("twice", ", ".join(twice[:5]))

    def go_on(self, house, client, moment):
        """A new letter is taken, and gets a UID that nobody has seen."""
        seen = [uid for load in self.loads for uid, (_, at) in load.uids.items() if at <= moment]
        highest = max(seen + client.search("ALL"), default=0)
        sender = house.smtp()
        sender.sendmail("bob@example.net", [ALICE], LAST)
        sender.quit()
        client.noop()
        new = [uid for uid in client.search(["UID", f"{highest + 1}:*"]) if uid > highest]
        if len(new) != 1:
            raise Wrong("uid", f"a new letter has no new UID: highest so far {highest}, then {client.search('ALL')[-3:]}")

