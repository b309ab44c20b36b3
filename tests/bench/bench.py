#!/usr/bin/env python3
"""Measures homepost beside Postfix + Dovecot: the same machine, the same letters, TLS and durability, in turn, in one run.

usage: bench.py --homepost BINARY --load BINARY [--out FILE.json] [--quick] [--only smtp,imap,append,notify,memory,syncs,disk,letters,start]

Prints a table with ratios and targets (PRODUCT figures) and writes JSON. It judges nothing: a timing is never a verdict.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import peers  # noqa: E402

ROWS = []


def row(what, unit, ours, theirs, target, better="less"):
    ratio = ours / theirs if ours is not None and theirs else None
    ROWS.append({"what": what, "unit": unit, "homepost": ours, "peer": theirs, "ratio": ratio, "better": better, "target": target})
    show = lambda n: "-" if n is None else (f"{n:.2f}" if abs(n) < 10 else f"{n:.0f}")
    print(f"{what:<58} {show(ours):>9} {show(theirs):>9} {unit:<6} {('x' + format(ratio, '.2f')) if ratio else '-':>7}  {target}", flush=True)


class Bench:
    def __init__(self, args):
        self.args = args
        self.quick = args.quick
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="homepost-bench-", dir=args.folder)).absolute()
        self.seed = 1
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=mail.example.test", "-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "cert.pem")],
            check=True, capture_output=True)
        self.mounts = []

    def pair(self, root=None):
        root = pathlib.Path(root or self.folder)
        return (
            peers.Homepost(root / "homepost", self.args.homepost),
            peers.PostfixDovecot(root / "peer", self.folder / "cert.pem", self.folder / "key.pem"),
        )

    def load(self, command, server, user=None, **options):
        words = [self.args.load, command]
        for key, value in options.items():
            words += ["--" + key, str(value)]
        if command != "smtp" or "imap" in options:
            words += ["--user", user or server.user, "--password", server.password]
        return self.call(server.name, words)

    @staticmethod
    def call(name, words):
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name}: {' '.join(words[1:4])}: {done.stderr.strip()}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def imap(self, server):
        return f"127.0.0.1:{server.imaps}"

    def smtp(self, server):
        return f"127.0.0.1:{server.smtp}"

    def fresh_seed(self):
        self.seed += 1
        return self.seed

    # --- SMTP in -------------------------------------------------------------------------------------------------
    def bench_smtp(self, ours, peer):
        messages = 300 if self.quick else 2000
        rounds = 1 if self.quick else 3
        for connections, target in ((1, "-"), (10, "2 x 250s"), (50, "-")):
            got = {ours.name: [], peer.name: []}
            cpu = {ours.name: [], peer.name: []}
            for _ in range(rounds):
                seed = self.fresh_seed()
                for server in (ours, peer):
                    before = peers.cpu_seconds(server.pids())
                    got[server.name].append(self.load(
                        "smtp", server, addr=self.smtp(server), rcpt=server.user, connections=connections,
                        messages=messages, seed=seed, imap=self.imap(server)))
                    cpu[server.name].append((peers.cpu_seconds(server.pids()) - before) / messages * 1000)
            middle = lambda name, key: statistics.median(one[key] for one in got[name])
            row(f"SMTP in, {connections} connections: answered 250", "/s", middle(ours.name, "per_second"),
                middle(peer.name, "per_second"), target, "more")
            row(f"SMTP in, {connections} connections: visible", "/s", middle(ours.name, "visible_per_second"),
                middle(peer.name, "visible_per_second"), "4 x Dovecot" if connections == 10 else "-", "more")
            row(f"SMTP in, {connections} connections: p99 of one letter", "ms", middle(ours.name, "ms_p99"),
                middle(peer.name, "ms_p99"), "-")
            row(f"SMTP in, {connections} connections: server CPU per message", "ms", statistics.median(cpu[ours.name]),
                statistics.median(cpu[peer.name]), "0.7 ms")

    # --- IMAP ----------------------------------------------------------------------------------------------------
    def fill(self, server, messages):
        """The second account's mailbox, which holds just these letters."""
        # the first letter makes the peer's mailbox
        for connections, count in ((1, 1), (10, messages - 1)):
            self.load("smtp", server, user=server.second, addr=self.smtp(server), rcpt=server.second, connections=connections,
                      messages=count, seed=self.fresh_seed(), imap=self.imap(server))

    def by_turns(self, ours, peer, rounds, commands, repeat, key):
        """Medians over rounds in which one server follows the other; and the first value of all."""
        got = {ours.name: [], peer.name: []}
        for _ in range(rounds):
            for server in (ours, peer):
                got[server.name].append(self.load("imap", server, user=server.second, addr=self.imap(server), commands=commands,
                                                  repeat=repeat))
        middle = {name: [statistics.median(one[at][key] for one in all_) for at in range(len(all_[0]))] for name, all_ in got.items()}
        first = {name: [one["first_ms"] for one in all_[0]] for name, all_ in got.items()}
        return middle[ours.name], middle[peer.name], first[ours.name], first[peer.name]

    def bench_imap(self, ours, peer):
        n = 1000 if self.quick else 10000
        rounds = 1 if self.quick else 3
        for server in (ours, peer):
            self.fill(server, n)
        commands = [
            ("SELECT", "SELECT INBOX", "0.4 ms"),
            ("FETCH flags, uid, date, size", f"FETCH 1:{n} (UID FLAGS INTERNALDATE RFC822.SIZE)", "Dovecot's"),
            ("FETCH ENVELOPE", f"FETCH 1:{n} ENVELOPE", "Dovecot's warm"),
            ("FETCH BODYSTRUCTURE", f"FETCH 1:{n} BODYSTRUCTURE", "2 x its warm"),
            ("SEARCH FROM", "SEARCH FROM domain17.example", "2 ms (index: later)"),
            ("SEARCH BODY", "SEARCH BODY grandmother", "5 ms (index: later)"),
        ]
        a, b, first_a, first_b = self.by_turns(ours, peer, rounds, "|".join(words for _, words, _ in commands), 5, "ms")
        for at, (label, _, target) in enumerate(commands):
            row(f"IMAP {label} ({n})", "ms", a[at], b[at], target)
            row(f"IMAP {label} ({n}), first time", "ms", first_a[at], first_b[at], "-")
        a, b, _, _ = self.by_turns(ours, peer, rounds, f"!SELECT INBOX|FETCH 1:{n} BODY.PEEK[]", 1, "mb_per_second")
        row(f"IMAP all bodies over TLS ({n})", "MB/s", a[0], b[0], "1.2 x Dovecot's", "more")
        some = min(1000, n // 2)
        a, b, _, _ = self.by_turns(
            ours, peer, rounds,
            f"!SELECT INBOX|STORE 1:{some} +FLAGS (\\Flagged)|!STORE 1:{some} -FLAGS.SILENT (\\Flagged)|!CREATE Bench|"
            f"COPY 1:{some} Bench|!SELECT Bench|!STORE 1:{some} +FLAGS.SILENT (\\Deleted)|EXPUNGE|!SELECT INBOX|!DELETE Bench", 1, "ms")
        for at, (label, target) in enumerate((("STORE on", "15 ms"), ("COPY", "20 ms"), ("EXPUNGE", "9 ms"))):
            row(f"IMAP {label} {some}", "ms", a[at], b[at], target)

    def bench_append(self, ours, peer):
        messages = 100 if self.quick else 500
        got = {ours.name: [], peer.name: []}
        for _ in range(1 if self.quick else 3):
            seed = self.fresh_seed()
            for s in (ours, peer):
                got[s.name].append(self.load("append", s, addr=self.imap(s), messages=messages, seed=seed)["per_second"])
        row("IMAP APPEND, 1 connection", "/s", statistics.median(got[ours.name]), statistics.median(got[peer.name]), "2 x Dovecot's", "more")

    def bench_notify(self, ours, peer):
        a, b = (self.load("notify", s, addr=self.imap(s), smtp=self.smtp(s), rcpt=s.user, seed=self.fresh_seed(),
                          messages=20 if self.quick else 100) for s in (ours, peer))
        for key in ("ms_p50", "ms_p99"):
            row(f"250 to EXISTS while idling, {key[3:]}", "ms", a[key], b[key], "1 ms" if key == "ms_p50" else "5 ms")

    # --- memory --------------------------------------------------------------------------------------------------
    def bench_memory(self):
        ours, peer = self.pair(self.folder / "memory")
        try:
            for server in (ours, peer):
                server.start()
            time.sleep(1)
            rest = {s.name: peers.pss_kb(s.pids()) / 1000 for s in (ours, peer)}
            row("memory just started (PSS)", "MB", rest[ours.name], rest[peer.name], "20 MB")
            per = {}
            for server in (ours, peer):
                self.load("smtp", server, addr=self.smtp(server), rcpt=server.user, messages=100, imap=self.imap(server))
                count = 20 if self.quick else 200
                # started anew: memory left over from filling it would hide what the connections take
                server.stop()
                server.start(keep=True)
                first = self.hold(server, 1)
                before = peers.pss_kb(server.pids())
                many = self.hold(server, count)
                per[server.name] = (peers.pss_kb(server.pids()) - before) / count
                for held in (first, many):
                    held.stdin.close()
                    held.wait(30)
            row("memory per idle TLS connection, 100 letters selected", "KB", per[ours.name], per[peer.name], "20 KB")
        finally:
            for server in (ours, peer):
                server.stop()

    def hold(self, server, count):
        held = subprocess.Popen(
            [self.args.load, "hold", "--addr", self.imap(server), "--user", server.user, "--password", server.password,
             "--connections", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if held.stdout.readline().strip() != "held":
            raise RuntimeError(f"{server.name}: could not hold {count} connections")
        time.sleep(0.5)
        return held

    # --- syncs ---------------------------------------------------------------------------------------------------
    def bench_syncs(self):
        if not shutil.which("strace"):
            print("syncs per message: skipped, there is no strace")
            return
        messages = 100 if self.quick else 500
        for connections, target in ((1, "1"), (10, "0.3")):
            counts = {}
            for which in (0, 1):
                server = self.pair(self.folder / "syncs")[which]
                log = self.folder / "strace.out"
                words = ["strace", "-f", "-ttt", "-e", "trace=fsync,fdatasync,sync,syncfs,msync,sync_file_range", "-o", str(log)]
                if which == 0:
                    # From its start, so that no other call is stopped at: a slow server would gather larger groups, or none.
                    server.start(wrapper=[*words, "--seccomp-bpf"])
                else:
                    server.start()
                self.load("smtp", server, addr=self.smtp(server), rcpt=server.user, messages=5, seed=3, imap=self.imap(server))
                tracer = None
                if which == 1:
                    for pid in server.pids():
                        words += ["-p", str(pid)]
                    tracer = subprocess.Popen(words, stderr=subprocess.DEVNULL)
                    time.sleep(1)
                began = time.time()
                self.load("smtp", server, addr=self.smtp(server), rcpt=server.user, connections=connections,
                          messages=messages, seed=self.fresh_seed(), imap=self.imap(server))
                ended = time.time()
                if tracer:
                    tracer.terminate()
                    tracer.wait(20)
                server.stop()
                # "pid time call(…": those of the load alone
                calls = [line.split(None, 2) for line in log.read_text().splitlines()]
                total = sum(1 for call in calls if len(call) == 3 and re.match(r"[a-z]+sync", call[2]) and began <= float(call[1]) <= ended)
                counts[server.name] = total / messages
            row(f"syncs per message, {connections} connections", "", counts["homepost"], counts["Postfix + Dovecot"], target)

    # --- bytes written -------------------------------------------------------------------------------------------
    def loop(self, name, megabytes=3000):
        image = self.folder / f"{name}.img"
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)], check=True, capture_output=True)
        device = subprocess.run(["losetup", "-f", "--show", str(image)], check=True, capture_output=True, text=True).stdout.strip()
        mount = self.folder / f"{name}.mnt"
        mount.mkdir(exist_ok=True)
        try:
            subprocess.run(["mount", device, str(mount)], check=True)
        except subprocess.CalledProcessError:
            subprocess.run(["losetup", "-d", device])
            raise
        self.mounts.append((device, mount, image))
        return device, mount

    def unmount(self):
        for device, mount, image in self.mounts:
            subprocess.run(["umount", str(mount)])
            subprocess.run(["losetup", "-d", device])
            image.unlink(missing_ok=True)
        self.mounts = []

    @staticmethod
    def written(device):
        fields = pathlib.Path(f"/sys/block/{pathlib.Path(device).name}/stat").read_text().split()
        return int(fields[6]) * 512

    def bench_disk(self):
        messages = 300 if self.quick else 3000
        slow = 5 if self.quick else 30
        mix, slowly = {}, {}
        try:
            for which, name in ((0, "homepost"), (1, "peer")):
                device, mount = self.loop(name)
                server = self.pair(mount)[which]
                server.start()
                self.load("smtp", server, addr=self.smtp(server), rcpt=server.user, messages=20, seed=3, imap=self.imap(server))
                settle = lambda: (subprocess.run(["sync", "-f", str(mount)], check=True), time.sleep(6),
                                  subprocess.run(["sync", "-f", str(mount)], check=True))
                settle()
                before = self.written(device)
                done = self.load("smtp", server, addr=self.smtp(server), rcpt=server.user, connections=10, messages=messages,
                                 seed=self.fresh_seed(), imap=self.imap(server))
                settle()
                mix[which] = (self.written(device) - before) / done["bytes"]
                # one letter at a time, long enough apart that the file system's own commit (5 s) passes between them
                before, sent = self.written(device), 0
                for n in range(slow):
                    sent += self.load("smtp", server, addr=self.smtp(server), rcpt=server.user, messages=1,
                                      seed=self.fresh_seed() * 7919 + n)["bytes"]
                    time.sleep(6)
                settle()
                slowly[which] = (self.written(device) - before) / sent
                server.stop()
        finally:
            self.unmount()
        row("bytes written per byte of mail, the mix", "", mix[0], mix[1], "1.5")
        row("bytes written per byte of mail, letters apart", "", slowly[0], slowly[1], "3")

    # --- letters in segments, or in a file each (DESIGN section 3) -------------------------------------------------
    def bench_letters(self):
        messages = 300 if self.quick else 3000
        for writers in (1, 10):
            got = {"segments": [], "files": []}
            for _ in range(1 if self.quick else 3):
                seed = self.fresh_seed()
                for homes in got:
                    device, mount = self.loop(homes)
                    try:
                        subprocess.run(["sync", "-f", str(mount)], check=True)
                        before = self.written(device)
                        one = self.call(homes, [self.args.load, "store", "--dir", str(mount), "--letters", homes, "--writers", str(writers),
                                                "--messages", str(messages), "--seed", str(seed)])
                        subprocess.run(["sync", "-f", str(mount)], check=True)
                        one["written"] = (self.written(device) - before) / one["bytes"]
                        got[homes].append(one)
                    finally:
                        self.unmount()
            middle = lambda homes, key: statistics.median(one[key] for one in got[homes])
            for label, key, unit, better in (
                ("kept", "per_second", "/s", "more"), ("p99 of one letter", "ms_p99", "ms", "less"),
                ("syncs per letter", "syncs_per_message", "", "less"), ("bytes written per byte", "written", "", "less"),
                ("read back", "read_mb_per_second", "MB/s", "more"),
            ):
                row(f"segments beside a file each, {writers} writers: {label}", unit, middle("segments", key), middle("files", key), "-", better)

    # --- start ---------------------------------------------------------------------------------------------------
    def bench_start(self):
        messages = 2000 if self.quick else 200000
        ours, _ = self.pair(self.folder / "start")
        ours.start()
        try:
            left, p99, worst = messages, 0, 0
            while left > 0:
                batch = min(20000, left)
                done = self.load("smtp", ours, addr=self.smtp(ours), rcpt=ours.user, connections=10, messages=batch, seed=self.fresh_seed())
                p99, worst = max(p99, done["ms_p99"]), max(worst, done["ms_max"])
                left -= batch
            ours.kill()
            began = time.time()
            ours.start()
            took = time.time() - began
            row(f"start after kill -9 with {messages} messages", "s", took, None, "5 s (1,000,000)")
            row(f"p99 of one letter while filling to {messages}", "ms", p99, None, "-")
            row(f"slowest letter while filling to {messages}, 10 connections: the stall of a checkpoint", "ms", worst, None, "-")
        finally:
            if ours.process:
                ours.stop()

    def run(self):
        only = set((self.args.only or "smtp,imap,append,notify,memory,syncs,disk,letters,start").split(","))
        print(f"{'':<58} {'homepost':>9} {'peer':>9} {'':<6} {'ratio':>7}  target")
        shared = only & {"smtp", "imap", "append", "notify"}
        if shared:
            ours, peer = self.pair()
            try:
                for server in (ours, peer):
                    server.start()
                for name in ("smtp", "imap", "append", "notify"):
                    if name in shared:
                        getattr(self, "bench_" + name)(ours, peer)
            finally:
                for server in (ours, peer):
                    server.stop()
        for name in ("memory", "syncs", "disk", "letters", "start"):
            if name in only:
                getattr(self, "bench_" + name)()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--homepost", required=True)
    parser.add_argument("--load", required=True)
    parser.add_argument("--out")
    parser.add_argument("--only")
    parser.add_argument("--folder", help="where the servers keep their data (a real disk, not tmpfs)")
    parser.add_argument("--quick", action="store_true")
    bench = Bench(parser.parse_args())
    print("durability: homepost syncs its record before each 250 and each OK; Postfix syncs the queue file before the 250, "
          "Dovecot runs with mail_fsync = always. TLS: STARTTLS for SMTP, implicit for IMAP, the same key type.")
    try:
        bench.run()
    finally:
        if bench.args.out:
            pathlib.Path(bench.args.out).write_text(json.dumps({"when": time.strftime("%Y-%m-%d"), "cpus": os.cpu_count(), "rows": ROWS}, indent=1))
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
