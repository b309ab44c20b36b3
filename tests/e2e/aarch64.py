"""The binary for aarch64 under qemu-user: it starts, is set up, takes mail by SMTP and shows it by IMAP, and its stores hold.

usage: aarch64.py      (target/static/aarch64/homepost, or HOMEPOST=file)

What is emulated is the processor; system calls are this machine's. A whole machine with its kernel: make test-image ARCH=aarch64.
"""

import os
import pathlib
import random
import struct
import subprocess

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parents[2] / "target")).resolve()
os.environ.setdefault("HOMEPOST", str(TARGET / "static" / "aarch64" / "homepost"))
os.environ.setdefault("HOMEPOST_RUNNER", "qemu-aarch64-static")

from house import ALICE, BINARY, COMMAND, ROOT, Checks, House, same, without_trace  # noqa: E402

EM_AARCH64 = 183


def letter(n):
    body = random.Random(n).randbytes([600, 6_000, 200_000][n % 3]).hex()
    lines = "\r\n".join(body[at:at + 76] for at in range(0, len(body), 76))
    return (f"From: Bob <bob@example.net>\r\nTo: {ALICE}\r\nSubject: letter {n}\r\nMessage-ID: <{n}@example.net>\r\n"
            f"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n\r\n{lines}\r\n").encode()


def all_there(house, sent, user=ALICE):
    known = set(sent)
    found = [without_trace(one, known) for one in house.letters(user=user).values()]
    same(sorted(one is not None for one in found), [True] * len(sent), "letters that are as they were sent")
    same(set(found), known, "letters")


def main():
    checks = Checks()
    house = House("aarch64")
    sent = []
    try:
        with checks("the binary is one for aarch64, and says its version"):
            header = pathlib.Path(BINARY).read_bytes()[:20]
            same(struct.unpack_from("<H", header, 18)[0], EM_AARCH64, "the machine in the ELF header")
            version = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version"))
            done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
            same(done.stdout, f"homepost {version}\n", "--version")
        with checks("a household is set up, before and while the server runs"):
            house.init()
            house.add("carol@example.test")
            house.serve(seconds=180)
            house.add("dave@example.test")
            same(sorted(row["address"] for row in house.json("account", "list")),
                 [ALICE, "carol@example.test", "dave@example.test"], "accounts")
        with checks("letters come in by SMTP with TLS and are read by IMAP, byte for byte"):
            client = house.smtp(timeout=180)
            for n in range(12):
                client.sendmail("bob@example.net", [ALICE, "dave@example.test"], letter(n))
                sent.append(letter(n))
            client.quit()
            all_there(house, sent)
            all_there(house, sent, "dave@example.test")
        with checks("flags are set and a letter is deleted"):
            client = house.imap(timeout=180)
            client.select_folder("INBOX")
            uids = client.search("ALL")
            client.add_flags(uids[:3], [b"\\Seen"])
            same(client.search("SEEN"), uids[:3], "SEEN")
            client.delete_messages(uids[-1:])
            client.expunge()
            client.logout()
        with checks("check passes while it runs, after a kill, and when it has stopped"):
            same(house.check(), "", "while it runs")
            house.kill()
            same(house.check(), "", "after a kill")
            house.serve(seconds=180)
            all_there(house, sent[:-1])
            house.stop(seconds=120)
            same(house.check(), "", "when stopped")
    finally:
        house.end(keep=checks.failed > 0)
    checks.end()


if __name__ == "__main__":
    main()
