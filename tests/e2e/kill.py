"""kill -9 at random moments while ten connections bring mail; nothing that was acknowledged is lost or doubled.

usage: kill.py [--times N] [--seed S]

Eight connections deliver by SMTP and two append by IMAP. Each attempt to bring a letter has an id of its own. After each
kill the server is started again and looked at with a stock client: every attempt that was answered 250 or OK is there
exactly once, every other one at most once, and what a UID named once it names for ever. The seed decides sizes and
moments; `--seed S --times N` plays the same again (as far as the machine lets it).
"""

import argparse
import collections
import imaplib
import random
import re
import smtplib
import sys
import threading
import time

from house import ALICE, PASSWORD, Checks, House, anyone

DELIVERING = 8
APPENDING = 2


def letter(attempt, size):
    head = f"From: sender@example.net\r\nTo: {ALICE}\r\nSubject: {attempt}\r\nMessage-ID: <{attempt}@example.net>\r\n\r\n"
    line = f"{attempt} " + "x" * 60 + "\r\n"
    return (head + line * max(1, size // len(line))).encode()


def size(rng):
    """The usual mix, and now and then one that gets a file of its own."""
    return rng.choices([2_000, 20_000, 200_000, 400_000], [60, 30, 8, 2])[0]


class Load:
    """Ten connections that bring letters until they are cut off."""

    def __init__(self, house, turn, seed):
        self.house, self.turn = house, turn
        self.acknowledged, self.attempted = set(), set()
        self.strange = []
        self.stop = threading.Event()
        self.coming = threading.Event()
        work = [self.deliver] * DELIVERING + [self.append] * APPENDING
        self.threads = [
            threading.Thread(target=self.guard, args=(one, n, random.Random(f"{seed}-{turn}-{n}")), daemon=True)
            for n, one in enumerate(work)]
        for thread in self.threads:
            thread.start()

    def guard(self, one, n, rng):
        try:
            one(n, rng)
        except (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
            # Cut off by the kill. Before it, it is a failure.
            if not self.stop.is_set():
                self.strange.append(f"connection {n}: {error!r}")

    def deliver(self, n, rng):
        client = self.house.smtp()
        for count in range(100_000):
            attempt = f"{self.turn}-{n}-{count}"
            self.attempted.add(attempt)
            client.sendmail("sender@example.net", [ALICE], letter(attempt, size(rng)))
            self.acknowledged.add(attempt)
            self.coming.set()

    def append(self, n, rng):
        client = imaplib.IMAP4_SSL("127.0.0.1", self.house.port(993), ssl_context=anyone(), timeout=60)
        client.login(ALICE, PASSWORD)
        for count in range(100_000):
            attempt = f"{self.turn}-{n}-{count}"
            self.attempted.add(attempt)
            answer, words = client.append("INBOX", "", None, letter(attempt, size(rng)))
            if answer != "OK":
                raise imaplib.IMAP4.error(words)
            self.acknowledged.add(attempt)
            self.coming.set()

    def cut(self):
        self.stop.set()
        self.house.kill()
        for thread in self.threads:
            thread.join(60)


def look(house, known):
    """Attempt → how often it is there. `known` is UID → attempt, of all that was ever seen."""
    client = house.imap()
    client.select_folder("INBOX", readonly=True)
    counts = collections.Counter()
    new = f"{max(known, default=0) + 1}:*"
    everything = client.search("ALL")
    for uid, row in client.fetch(new, ["BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "BODY.PEEK[]"]).items():
        subject = re.search(rb"Subject: (\S+)", row[b"BODY[HEADER.FIELDS (SUBJECT)]"])
        attempt = subject.group(1).decode()
        body = row[b"BODY[]"].partition(b"\r\n\r\n")[2]
        assert all(line.startswith(attempt.encode() + b" x") for line in body.splitlines()), f"{attempt} is not as it was sent"
        assert known.get(uid, attempt) == attempt, f"UID {uid} named {known[uid]}, and now {attempt}"
        known[uid] = attempt
    for uid in everything:
        counts[known[uid]] += 1
    gone = set(known) - set(everything)
    assert not gone, f"UIDs that were seen are gone: {sorted(gone)[:10]}"
    validity = client.folder_status("INBOX", ["UIDVALIDITY"])[b"UIDVALIDITY"]
    client.logout()
    return counts, validity


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}: replay with tests/e2e/kill.py --times {args.times} --seed {args.seed}", flush=True)
    rng = random.Random(args.seed)
    checks = Checks()
    house = House("kill")
    acknowledged, attempted, known, first = set(), set(), {}, None
    try:
        house.init()
        house.serve()
        for turn in range(args.times):
            # One in eight already while the connections are being made, the others once letters are coming.
            early = rng.random() < 0.125
            moment = rng.uniform(0, 0.8) if early else rng.choice([rng.uniform(0, 0.3), rng.uniform(0.3, 2)])
            since = "the first connection" if early else "the first acknowledgement"
            with checks(f"kill {turn + 1}, {moment:.2f} s after {since}"):
                load = Load(house, turn, args.seed)
                if not early:
                    assert load.coming.wait(60), f"nothing is acknowledged; {load.strange}"
                time.sleep(moment)
                load.cut()
                house.serve()
                acknowledged |= load.acknowledged
                attempted |= load.attempted
                assert not load.strange, load.strange
                counts, validity = look(house, known)
                first = first or validity
                lost = acknowledged - set(counts)
                doubled = [attempt for attempt, count in counts.items() if count > 1]
                unknown = set(counts) - attempted
                assert not lost, f"{len(lost)} acknowledged and lost: {sorted(lost)[:10]}"
                assert not doubled, f"{len(doubled)} twice there: {sorted(doubled)[:10]}"
                assert not unknown, f"nobody brought {sorted(unknown)[:10]}"
                assert validity == first, f"UIDVALIDITY was {first}, is {validity}"
                print(f"       {len(acknowledged)} acknowledged, {len(counts)} there, of {len(attempted)} attempts")
        with checks("the load was one"):
            assert len(acknowledged) >= 20 * args.times, f"only {len(acknowledged)} letters in {args.times} turns"
        with checks("the stores are sound, while serving, after a stop, and after a restart"):
            assert not house.check(), house.check()
            house.stop()
            assert not house.check(), house.check()
            house.serve()
            counts, _ = look(house, known)
            assert acknowledged <= set(counts)
            house.stop()
    finally:
        house.end(keep=checks.failed > 0)
    if checks.failed:
        print(f"replay with tests/e2e/kill.py --times {args.times} --seed {args.seed}")
    checks.end()


if __name__ == "__main__":
    sys.exit(main())
