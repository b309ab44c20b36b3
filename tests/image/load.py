"""Mail brought to a box by several connections at once, with the moment of each acknowledgement in the log of its disk."""

import imaplib
import os
import random
import smtplib
import threading
import time

from box import ALICE
from imapclient.exceptions import IMAPClientError

DELIVERING = 3
# What a letter that has to be there may be, as weights: most are small, some get a file of their own (over 256 KB).
SIZES = ([1_500, 6_000, 20_000, 80_000, 300_000], [50, 25, 15, 6, 4])


def letter(name, size):
    body = random.Random(name).randbytes(size * 3 // 8).hex()
    lines = "\r\n".join(body[at:at + 76] for at in range(0, len(body), 76))
    return (f"From: Bob <bob@example.net>\r\nTo: {ALICE}\r\nSubject: {name}\r\nMessage-ID: <{name}@example.net>\r\n"
            f"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n\r\n{lines}\r\n").encode()


class Load:
    """What was asked of a box and what it answered. A moment is the length of the log of writes, read when the answer has
    been read: all that the answer rests on lies before it."""

    def __init__(self, box, log, seed, name="a", until_restart=False):
        """`log`: path of the log of writes. `name` tells the letters of this load from those of others. `until_restart`: the
        box is going to close the connections, which is nothing strange then."""
        self.until_restart = until_restart
        self.box, self.log, self.seed, self.name = box, log, seed, name
        self.letters = {}       # the letter's bytes → its name, of all that were tried
        self.arrived = {}       # name → moment
        self.uids = {}          # UID → (name, moment it was seen)
        self.flagged = {}       # UID → moment
        self.deleting = {}      # name → moment before it was asked for
        self.deleted = {}       # name → moment
        self.validity = None
        self.strange = []
        self.began = self.moment()
        self.ended = None
        self.stop = threading.Event()
        work = [self.deliver] * DELIVERING + [self.append, self.read]
        self.threads = [threading.Thread(target=self.guard, args=(one, n), daemon=True) for n, one in enumerate(work)]
        for thread in self.threads:
            thread.start()

    def moment(self):
        return os.stat(self.log).st_size

    def end(self, seconds=180):
        """Lets each connection come to the end of what it does, as long as the box lives."""
        self.stop.set()
        for thread in self.threads:
            thread.join(seconds)
        self.ended = self.moment()

    def guard(self, work, n):
        try:
            work(n, random.Random(f"{self.seed}-{self.name}-{n}"))
        except (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error, IMAPClientError) as error:
            if not self.stop.is_set() and not self.until_restart:
                self.strange.append(f"connection {n}: {error!r}")

    def next(self, n, count, rng):
        name = f"{self.name}-{n}-{count}"
        one = letter(name, rng.choices(*SIZES)[0])
        self.letters[one] = name
        return name, one

    def deliver(self, n, rng):
        client = self.box.smtp(timeout=180)
        count = 0
        while not self.stop.is_set():
            name, one = self.next(n, count, rng)
            client.sendmail("bob@example.net", [ALICE], one)
            self.arrived[name] = self.moment()
            count += 1
        client.quit()

    def append(self, n, rng):
        client = self.box.imap(timeout=180)
        count = 0
        while not self.stop.is_set():
            name, one = self.next(n, count, rng)
            client.append("INBOX", one)
            self.arrived[name] = self.moment()
            count += 1
            time.sleep(0.3)
        client.logout()

    def read(self, n, rng):
        """Sees what comes, flags some of it, and deletes some."""
        client = self.box.imap(timeout=180)
        self.validity = client.select_folder("INBOX")[b"UIDVALIDITY"]
        while not self.stop.is_set():
            newest = max(self.uids, default=0)
            rows = client.fetch(f"{newest + 1}:*", ["ENVELOPE"])
            seen = self.moment()
            for uid, row in rows.items():
                if uid > newest:
                    self.uids[uid] = (row[b"ENVELOPE"].subject.decode(), seen)
            there = [uid for uid, (name, _) in self.uids.items() if name not in self.deleting]
            if len(there) > 10:
                uid = rng.choice(there)
                client.add_flags([uid], [b"\\Flagged"])
                self.flagged.setdefault(uid, self.moment())
                uid = rng.choice(there)
                name = self.uids[uid][0]
                self.deleting[name] = self.moment()
                client.add_flags([uid], [b"\\Deleted"])
                client.expunge([uid])
                self.deleted[name] = self.moment()
            time.sleep(0.5)
        client.logout()
