"""Boots the image under plain emulation and asks what an owner would notice.

usage: boot.py [BOARD]      qemu-x86_64 unless told; the image has to be there (scripts/image)
"""

import mmap
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from box import ALICE, PASSWORD, Box  # first, since it says where house is
from house import Checks, same, without_trace
from rescue import Browser

MIB = 1024 * 1024
DISK = 1500 * MIB
SERVICES = {"start", "init", "serve", "machine", "watch", "network", "clock", "console", "button", "code"}


def letter(n, size=2000):
    body = random.Random(n).randbytes(size * 3 // 8).hex()
    lines = "\r\n".join(body[at:at + 76] for at in range(0, len(body), 76))
    return (f"From: Bob <bob@example.net>\r\nTo: {ALICE}\r\nSubject: letter {n}\r\nMessage-ID: <{n}@example.net>\r\n"
            f"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n\r\n{lines}\r\n").encode()


def send(box, letters, acknowledged=None):
    client = box.smtp(timeout=120)
    for one in letters:
        client.sendmail("bob@example.net", [ALICE], one)
        if acknowledged is not None:
            acknowledged.append(one)
    client.quit()


def all_there(box, sent, mailbox="INBOX"):
    """Every letter of `sent` is in the mailbox, byte for byte, once."""
    known = set(sent)
    found = [without_trace(one, known) for one in box.letters(mailbox).values()]
    missing = known - set(found)
    assert not missing, f"{len(missing)} of {len(known)} missing"
    mine = [one for one in found if one is not None]
    same(len(mine), len(set(mine)), "letters, each once")


def closed(box, port):
    """Whether a connection from outside comes to nothing. QEMU takes it before the box is asked."""
    with socket.create_connection(("127.0.0.1", box.port(port)), timeout=60) as probe:
        try:
            return probe.recv(100) == b""
        except ConnectionResetError:
            return True


def values(report, word):
    """`Name: value` lines as a dictionary."""
    return dict((key.strip(), value.split()) for key, _, value in (line.partition(":") for line in report[word]))


def household(checks, board):
    """One box through its life: set up, mail, power button, power cut."""
    box = Box("home", board, DISK)
    sent = []
    try:
        with checks("homepost.toml sets the box up, with 256 MB of memory"):
            began = time.monotonic()
            box.start(memory=256)
            box.wait("Serving mail as mail.example.test", 900)
            print(f"       serving after {time.monotonic() - began:.0f} s")
            box.wait("address   10[.]0[.]2[.]15")
        report = box.report()
        with checks("a letter comes in by SMTP and is read by IMAP"):
            send(box, [letter(n) for n in range(20)], sent)
            all_there(box, sent)
        with checks("the mail service is a user of its own, who may only listen on low ports and gain nothing"):
            status = values(report, "serve")
            same([status["Uid"], status["Gid"], status.get("Groups")], [["990"] * 4, ["990"] * 4, []], "user")
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[name][0], 16) & ~(1 << 10) == 0, (name, status[name])
            same([status["NoNewPrivs"], status["Seccomp"]], [["1"], ["2"]], "no_new_privs and a list of system calls")
            same([line for line in report["log"] if "not given up" in line], [], "what this kernel cannot forbid")
            same([line for line in report["log"] if "type=1326" in line], [], "system calls that were the end of a process")
            print(f"       memory {int(status['Pss'][0]) // 1024} MB, "
                  f"at most {int(status['VmHWM'][0]) // 1024} MB; the machine has "
                  f"{int(values(report, 'memory')['MemAvailable'][0]) // 1024} MB left")
        with checks("the machine's own process is root without a network, and answers the mail service"):
            machine = values(report, "machine")
            same([machine["Uid"], machine["NoNewPrivs"], machine["Seccomp"]], [["0"] * 4, ["1"], ["2"]], "status")
            same(int(machine["CapEff"][0], 16), 1 << 25 | 1 << 21 | 1 << 2, "capabilities: clock, mounts, reading")
            assert machine["network"][0] != machine["network"][1], machine["network"]
            same(machine["interfaces"], ["lo"], "interfaces")
            said = "\n".join(report["box"])
            for words in ("system a", "address   10.0.2.15", "ports     25, 465, 993", "disk      "):
                assert words in said, said
        with checks("the mail service knows that the clock was not checked, since no time server can be reached"):
            same(report["clock"], ["not checked"], "state")
            assert any("not checked yet" in line for line in report["log"]), report["log"]
        with checks("the root is read-only"):
            same(report["root"], ["read-only"], "an attempt to write")
            root = [line.split() for line in report["mount"] if line.split()[0] == "/"]
            assert [row for row in root if row[1] == "squashfs" and "ro" in row[2].split(",")], root
        with checks("the data partition has grown to the disk's end"):
            kilobytes = int(report["df"][0].split()[1])
            assert kilobytes * 1024 > DISK - 500 * MIB, report["df"]
            same([line for line in report["box"] if line.startswith("note")], [], "notes for the owner")
        with checks("no service failed or was started twice"):
            starts = dict((line.split()[0], int(line.split()[1])) for line in report["starts"])
            same({name: count for name, count in starts.items() if count != 1}, {}, "started more than once")
            assert SERVICES <= set(starts), starts
            assert any("ntpd" in line for line in report["process"]), "the clock's service does not run"
            assert report["watchdog"] == ["present"], report["watchdog"]
        with checks("the firewall lets in the ports that are on"):
            rules = [line for line in report["firewall"] if line.startswith("tcp dport")]
            same(rules, ["tcp dport { 25, 443, 465, 993 } accept"], "rules")
            assert any("policy drop" in line for line in report["firewall"]), report["firewall"]
        with checks("nothing listens that is not known, and no shell"):
            ports = {int(line.split()[3].rpartition(":")[2]) for line in report["listen"]}
            same(ports, {25, 443, 465, 993}, "listening")
            shells = [line for line in report["process"] if line.split(None, 2)[2] in ("sh", "-sh", "/bin/sh")]
            same(shells, [], "shells")
        with checks("a port that is off is closed from outside"):
            for port in (587, 143, 8080):
                assert closed(box, port), f"{port} is open"
        with checks("homepost check passes"):
            same(report["verdict"], ["passed"], "\n".join(report.get("check", [])))

        with checks("the power button ends it as it should be"):
            box.press_power_button()
            assert "safe to switch off" in box.serial(), box.tail()
        with checks("homepost.toml is gone, and its password with it; homepost.txt says what was done"):
            same(box.get("homepost.toml"), None, "homepost.toml")
            assert PASSWORD.encode() not in box.boot_partition(), "the password can still be read from the disk"
            assert "set up" in (box.get("homepost.txt") or ""), box.get("homepost.txt")
        with checks("after a restart every letter is still there"):
            box.start(memory=256)
            box.wait("Serving mail as mail.example.test", 900)
            all_there(box, sent)
            same(box.report()["verdict"], ["passed"], "check")

        with checks("after a power cut under load every acknowledged letter is there, and check passes"):
            more = []

            def load():
                try:
                    send(box, (letter(1000 + n) for n in range(100_000)), more)
                except OSError:
                    pass
                except Exception:  # noqa: BLE001: smtplib's words for a connection that is gone
                    pass

            sender = threading.Thread(target=load, daemon=True)
            sender.start()
            end = time.monotonic() + 120
            while len(more) < 40 and time.monotonic() < end:
                time.sleep(0.05)
            box.cut_power()
            sender.join(120)
            assert len(more) >= 40, f"only {len(more)} letters before the cut"
            print(f"       {len(more)} acknowledged before the cut")
            sent += more
            box.start(memory=256)
            box.wait("Serving mail as mail.example.test", 900)
            report = box.report()
            same(report["verdict"], ["passed"], "\n".join(report.get("check", [])))
            all_there(box, sent)
            send(box, [letter(999_999)], sent)
            all_there(box, sent)

        with checks("with damaged stores the console and 8080 say so"):
            send(box, [letter(2000 + n) for n in range(5)])
            box.cut_power()
            damage(box.disk)
            says_in_plain_words(box, "The mail service cannot start: the stores are damaged", tries=(3, 4))
        with checks("with the code from the screen the page brings the letters back, and the box serves again"):
            rescue(box, "/salvage")
            box.wait("Serving mail as mail.example.test", 900)
            all_there(box, sent, "Recovered")
    finally:
        box.end(keep=checks.failed > 0)


def damage(path):
    """Turns a byte in the last record but two: not a torn end, since what follows is good (src/store/schema.rs)."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as disk:
        records = {}
        at = disk.find(b"HPR1")
        while at >= 0:
            if at % 512 == 0:
                records[int.from_bytes(disk[at + 12:at + 20], "big")] = at
            at = disk.find(b"HPR1", at + 4)
        where = records[sorted(records)[-3]] + 100
        disk[where] ^= 1


def rescue(box, act, **fields):
    """Has the rescue page do something, as whoever reads the code on the screen; what the box said before is forgotten."""
    browser = Browser(box.port(8080))
    browser.ask()
    assert "on the screen of the box now" in browser.ask("/show")
    box.wait("Code for the rescue page: ", 60)
    code = re.findall("Code for the rescue page: ([0-9A-Z-]+)", box.serial())[-1]
    assert "What shall be done?" in browser.ask("/enter", proof=code)
    try:
        browser.ask(act, **fields)
    except OSError:
        pass  # the box may be quicker than its answer
    box.wait("it is safe to switch off", 300)
    box.forget()


def says_in_plain_words(box, words, tries=(0, 0)):
    """Console and 8080 say so, no mail port is open, and the machine does not start over and over.

    `tries`: how often the mail service may have been started at that time, least and most."""
    box.start(memory=256)
    box.wait(words, 900)
    box.wait("REPORT report: end")
    end = time.monotonic() + 120
    page = ""
    while words not in page and time.monotonic() < end:
        try:
            page = urllib.request.urlopen(f"http://127.0.0.1:{box.port(8080)}/", timeout=10).read().decode()
        except OSError:
            time.sleep(0.5)
    assert words in page, page
    for port in (25, 993):
        assert closed(box, port), f"{port} is open"
    time.sleep(10)
    same(box.serial().count("homepost: starting system"), 1, "starts of the system")
    starts = dict(line.split() for line in box.report()["starts"])
    served = int(starts.pop("serve", 0))
    assert tries[0] <= served <= tries[1], f"the mail service was started {served} times"
    same({name: count for name, count in starts.items() if count != "1"}, {}, "services started more than once")


def bad_disks(checks, board):
    with checks("without a data partition the console and 8080 say so"):
        box = Box("missing", board)
        subprocess.run(["sfdisk", "-q", "--delete", box.disk, "4"], check=True, capture_output=True)
        says_in_plain_words(box, "The data partition is missing")
        box.end()
    with checks("with an unreadable data partition the console and 8080 say so"):
        box = Box("unreadable", board)
        start, size = box.partitions()[3]
        with open(box.disk, "r+b") as disk:
            disk.seek(start)
            disk.write(os.urandom(size))
        says_in_plain_words(box, "The data partition cannot be read")
    with checks("and the page makes the box as new: it is set up again from the start"):
        rescue(box, "/erase", sure="ERASE")
        box.wait("everything is deleted; the set-up begins", 900)
        box.wait("Not set up yet.*\\n.*set-up +http://", 900)
        same(box.get("erase-this-box"), None, "the wish")
        page, end = "", time.monotonic() + 120
        while "<form" not in page and time.monotonic() < end:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{box.port(8080)}/", timeout=60).read().decode()
            except OSError:
                time.sleep(0.5)  # QEMU takes the connection before the box does
        assert "<form" in page and "cannot be read" not in page, page
        box.end()


def full_disk(checks, board):
    box = Box("full", board)
    sent = []
    try:
        with checks("a full data partition refuses new mail, still shows the old, and the console says so"):
            box.start(memory=256)
            box.wait("Serving mail as mail.example.test", 900)
            refused = None
            try:
                send(box, (letter(n, 2 * MIB) for n in range(100)), sent)
            except Exception as error:  # noqa: BLE001: how smtplib says 452 depends on the step
                refused = error
            assert "452" in str(refused), refused
            assert sent, "none was taken"
            box.wait("The data partition is full", 60)
            all_there(box, sent)
        with checks("and again after a restart; deleting makes room"):
            box.report()
            box.press_power_button()
            box.start(memory=256)
            box.wait("The data partition is full", 900)
            all_there(box, sent)
            client = box.imap(timeout=120)
            client.select_folder("INBOX")
            client.delete_messages(client.search("ALL"))
            client.expunge()
            client.logout()
            end = time.monotonic() + 180
            while True:
                try:
                    send(box, [letter(500)])
                    break
                except Exception:  # noqa: BLE001: 452, until the room is given back
                    assert time.monotonic() < end, "no room although everything was deleted"
                    time.sleep(3)
    finally:
        box.end(keep=checks.failed > 0)


def main():
    board = sys.argv[1] if len(sys.argv) > 1 else "qemu-x86_64"
    checks = Checks()
    household(checks, board)
    bad_disks(checks, board)
    full_disk(checks, board)
    checks.end()


if __name__ == "__main__":
    main()
