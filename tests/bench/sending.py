#!/usr/bin/env python3
"""Letters out, and letters in with every check on, beside Postfix (with OpenDKIM and OpenDMARC for the checks): a small world
of network namespaces with its own name server, the same letters, the same durability, in turn, in one run.

usage: sending.py --homepost BINARY --load BINARY --folder FOLDER [--out FILE.json] [--quick] [--only out,in,queue]      (as root)

out    10,000 letters of 10 KB, handed in by a person who logs in and taken by smtp-sink at the other end: from the first byte to
       the last letter there; and the same once they wait in the queue already
in     letters of 10 KB from a stranger, signed by DKIM, with SPF and DMARC records: answered 250
queue  memory with 100,000 letters in the queue

Prints a table with ratios and targets and writes JSON. It judges nothing.
"""

import argparse
import imaplib
import json
import os
import pathlib
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import bench  # noqa: E402
import peers  # noqa: E402
import world  # noqa: E402
from bench import row  # noqa: E402
from bind import Bind, tool  # noqa: E402
from world import BOX, FAR, NAMES, run  # noqa: E402

SINK, STRANGER = FAR[0], FAR[1]
HEAD = f"$TTL 3600\n@ SOA ns admin 1 3600 600 86400 5\n@ NS ns\nns A {NAMES}\n"
PEER_PORT = 2525


class Sink:
    """The other end: takes everything at once and counts."""

    def __init__(self):
        self.process = subprocess.Popen([tool("smtp-sink"), "-c", "-u", "postfix", f"inet:{SINK}:25", "1000"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.seen = b""
        end = time.monotonic() + 30
        while not world.answers(SINK, 25):
            assert time.monotonic() < end, "smtp-sink does not listen"
            time.sleep(0.05)

    def count(self):
        while piece := self.process.stdout.read():
            self.seen = (self.seen + piece)[-200:]
        found = re.findall(rb"mesg=(\d+)", self.seen)
        return int(found[-1]) if found else 0

    def wait(self, messages, seconds=1800):
        end = time.monotonic() + seconds
        while self.count() < messages:
            assert time.monotonic() < end, f"only {self.count()} of {messages} letters came"
            time.sleep(0.01)

    def end(self):
        self.process.kill()
        self.process.wait(20)
        self.process.stdout.close()


class Homepost(peers.Homepost):
    """In its house, at the real ports."""

    def __init__(self, root, binary, place):
        super().__init__(root, binary, offset=0)
        self.place = place
        self.addr = f"{BOX}:25"
        self.submit = ["--addr", f"{BOX}:465", "--tls", "implicit", "--login", "yes", "--user", self.user, "--password", self.password]

    def settings(self, sending):
        path = self.root / "settings.toml"
        text, many = path.read_text(), 1_000_000
        for section, key, value in (
            ("sending", "on", sending), ("sending", "recipients_per_hour", many), ("sending", "new_recipients_per_hour", many),
            ("sending", "new_recipients_per_day", many), ("sending", "queue_letters", many),
            ("sending", "queue_size", '"64 GiB"'), ("limits.smtp", "commands_per_minute", many), ("limits.smtp", "commands", many), ("limits.smtp", "connections_per_minute", 10_000), ("strangers", "lists", '""'),
        ):
            head = f"[{section}]\n"
            if head not in text:
                text += f"\n{head}"
            before, after = text.split(head)
            own, *rest = re.split(r"(?m)^(?=\[)", after, maxsplit=1)
            own = re.sub(rf"(?m)^{key} = .*\n", "", own)
            text = f"{before}{head}{key} = {value}\n{own}{''.join(rest)}"
        path.write_text(text)

    def start(self, wrapper=(), keep=False, sending="true"):
        if not keep:
            self.init()
        self.settings(sending)
        self.process = subprocess.Popen([*self.place.inside, self.binary, "serve", "--data", str(self.root)], stdout=subprocess.PIPE,
                                        stderr=open(self.root.parent / "homepost.log", "ab"), text=True)
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        raise RuntimeError("homepost did not get ready")

    def go(self):
        self.stop()
        began = time.time()
        self.start(keep=True)
        return time.time() - began


class Postfix(peers.PostfixDovecot):
    name = "Postfix"

    def __init__(self, root, cert, key, place):
        super().__init__(root, cert, key, smtp=PEER_PORT)
        self.place, self.milters = place, []
        self.addr = f"{BOX}:{PEER_PORT}"
        self.submit = ["--addr", self.addr, "--tls", "none"]

    def _launch(self):
        """Without Dovecot: what comes in is discarded once it is in the queue."""
        subprocess.run([*self.place.inside, tool("postfix"), "-c", str(self.root / "postfix"), "start"], check=True, capture_output=True)
        end = time.monotonic() + 30
        while not world.answers(BOX, PEER_PORT):
            assert time.monotonic() < end, (self.root / "postfix" / "log").read_text()
            time.sleep(0.05)

    def pids(self):
        return peers.descendants(int((self.root / "queue/pid/master.pid").read_text()))

    def start(self, keep=False, sending="true", checks=False):
        if keep:
            return self._launch()
        launch, self._launch = self._launch, lambda: None
        try:
            super().start()
        finally:
            self._launch = launch
        main = self.root / "postfix" / "main.cf"
        milters = ", ".join(self.begin_milters()) if checks else ""
        # A person's programs are the machine in the same house; STRANGER is none of ours.
        main.write_text(re.sub(r"(?m)^(inet_interfaces|mynetworks|virtual_transport|smtpd_recipient_restrictions) = .*$", "", main.read_text())
                        + f"inet_interfaces = {BOX}\nmynetworks = {world.ROUTER}/32 {world.COUCH}/32\nvirtual_transport = discard\n"
                        f"smtpd_recipient_restrictions = permit_mynetworks, permit_auth_destination, reject\n"
                        f"smtpd_milters = {milters}\n" + ("" if sending == "true" else "defer_transports = smtp\n"))
        master = self.root / "postfix" / "master.cf"
        master.write_text(master.read_text().replace("127.0.0.1:", f"{BOX}:") + "smtp unix - - n - - smtp\n")
        self._launch()

    def begin_milters(self):
        """Who looks at DKIM, SPF and DMARC for it."""
        folder = self.root / "milters"
        folder.mkdir()
        (folder / "dkim.conf").write_text(f"Mode v\nSocket inet:8891@127.0.0.1\nBackground no\nUserID root\nNameservers {NAMES}\n"
                                          "AuthservID mail.example.test\nAlwaysAddARHeader yes\n")
        (folder / "dmarc.conf").write_text("Socket inet:8893@127.0.0.1\nBackground no\nUserID root\nSPFSelfValidate true\nSPFIgnoreResults true\n"
                                           "AuthservID mail.example.test\nTrustedAuthservIDs mail.example.test\nRejectFailures true\n")
        log = open(folder / "log", "ab")
        for words in (["opendkim", "-f", "-x", folder / "dkim.conf"], ["opendmarc", "-f", "-c", folder / "dmarc.conf"]):
            self.milters.append(subprocess.Popen([*self.place.inside, tool(words[0]), *map(str, words[1:])], stdout=log, stderr=log,
                                                 stdin=subprocess.DEVNULL))
        time.sleep(2)
        for one in self.milters:
            assert one.poll() is None, (folder / "log").read_text()
        return ["inet:127.0.0.1:8891", "inet:127.0.0.1:8893"]

    def go(self):
        main = self.root / "postfix" / "main.cf"
        main.write_text(main.read_text().replace("defer_transports = smtp\n", ""))
        subprocess.run([*self.place.inside, tool("postfix"), "-c", str(self.root / "postfix"), "reload"], check=True, capture_output=True)
        subprocess.run([*self.place.inside, tool("postfix"), "-c", str(self.root / "postfix"), "flush"], check=True, capture_output=True)
        return 0

    def stop(self):
        subprocess.run([*self.place.inside, tool("postfix"), "-c", str(self.root / "postfix"), "stop"], capture_output=True)
        for one in self.milters:
            one.terminate()
            one.wait(20)
        self.milters = []


class Sending:
    def __init__(self, args):
        self.args, self.quick = args, args.quick
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="homepost-bench-", dir=args.folder)).absolute()
        for above in [self.folder, *self.folder.parents][:-1]:
            if above.stat().st_mode & 0o011 != 0o011:
                above.chmod(above.stat().st_mode | 0o011)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", "/CN=mail.example.test", "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem")
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.folder / "dkim.pem")
        run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", self.folder / "dkim.pem", "-outform", "DER", "-out", self.folder / "dkim.der")
        public = run("openssl", "pkey", "-in", self.folder / "dkim.pem", "-pubout").strip().splitlines()
        key = "".join(public[1:-1])
        self.world = world.World(self.folder)
        self.bind = Bind(self.folder / "bind", {
            "example.test": HEAD + f"@ MX 10 mail\nmail A {BOX}\n",
            "far.test": HEAD + f"@ MX 10 mx\nmx A {SINK}\n",
            "sender.test": HEAD + f"@ MX 10 mx\nmx A {STRANGER}\n@ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n"
                           f"s1._domainkey TXT \"v=DKIM1; k=rsa; p={key[:200]}\" \"{key[200:]}\"\n",
            "test": HEAD,
            "5.in-addr.arpa": HEAD + f"{'.'.join(reversed(STRANGER.split('.')[1:]))} PTR mx.sender.test.\n",
        }, port=53, at=NAMES)
        self.seed = 100

    def servers(self):
        return (Homepost(self.folder / "homepost", self.args.homepost, self.world),
                Postfix(self.folder / "peer", self.folder / "cert.pem", self.folder / "key.pem", self.world))

    def load(self, server, words, messages, connections=10, inside=()):
        self.seed += 1
        return bench.Bench.call(server.name, [*inside, self.args.load, "smtp", *words, "--messages", str(messages), "--connections",
                                              str(connections), "--seed", str(self.seed)])

    def hand_in(self, server, messages):
        return self.load(server, [*server.submit, "--from", "alice@example.test", "--rcpt", "aunt@far.test"], messages)

    def out(self):
        messages, rounds = (300, 1) if self.quick else (10_000, 2)
        whole, taken, drained, cpu = ({"homepost": [], "Postfix": []} for _ in range(4))
        for _ in range(rounds):
            for at in (0, 1):
                server = self.servers()[at]
                server.start()
                sink = Sink()
                try:
                    before, began = peers.cpu_seconds(server.pids()), time.monotonic()
                    taken[server.name].append(self.hand_in(server, messages)["per_second"])
                    sink.wait(messages)
                    whole[server.name].append(messages / (time.monotonic() - began))
                    cpu[server.name].append((peers.cpu_seconds(server.pids()) - before) / messages * 1000)
                finally:
                    server.stop()
                    sink.end()
            for at in (0, 1):
                server = self.servers()[at]
                server.start(sending="false")
                sink = Sink()
                try:
                    self.hand_in(server, messages)
                    assert sink.count() == 0, "sent though it should have waited"
                    began = time.monotonic()
                    started = server.go()
                    sink.wait(messages)
                    drained[server.name].append(messages / (time.monotonic() - began - started))
                finally:
                    server.stop()
                    sink.end()
        middle = lambda what: [statistics.median(what[name]) for name in ("homepost", "Postfix")]
        row(f"out, {messages} letters of 10 KB: handed in to the last one there", "/s", *middle(whole), "1.5 x Postfix", "more")
        row("out, the same: answered 250 meanwhile", "/s", *middle(taken), "-", "more")
        row("out, the same: server CPU per message", "ms", *middle(cpu), "-")
        row("out, from a queue that waits", "/s", *middle(drained), "1.5 x Postfix", "more")

    def into(self):
        messages, rounds = (300, 1) if self.quick else (3_000, 3)
        got, cpu = ({"homepost": [], "Postfix": []} for _ in range(2))
        ours, theirs = self.servers()
        ours.start()
        theirs.start(checks=True)
        # The stranger's own address: what goes to the box leaves by it.
        run("ip", "route", "replace", f"{BOX}/32", "dev", "world", "src", STRANGER)
        words = ["--tls", "none", "--from", "bob@sender.test", "--sign-domain", "sender.test", "--sign-selector", "s1",
                 "--sign-key", str(self.folder / "dkim.der"), "--rcpt", "alice@example.test"]
        try:
            for server in (ours, theirs):
                self.load(server, [*words, "--addr", server.addr], 20)
            self.saw_checks(ours)
            for _ in range(rounds):
                for server in (ours, theirs):
                    before = peers.cpu_seconds([*server.pids(), *(one.pid for one in getattr(server, "milters", []))])
                    got[server.name].append(self.load(server, [*words, "--addr", server.addr], messages)["per_second"])
                    cpu[server.name].append((peers.cpu_seconds([*server.pids(), *(one.pid for one in getattr(server, "milters", []))]) - before)
                                            / messages * 1000)
        finally:
            run("ip", "route", "del", f"{BOX}/32", "dev", "world")
            for server in (ours, theirs):
                server.stop()
        middle = lambda what: [statistics.median(what[name]) for name in ("homepost", "Postfix")]
        row("in with SPF, DKIM, DMARC, 10 connections: answered 250", "/s", *middle(got), "-", "more")
        row("in with SPF, DKIM, DMARC: server CPU per message", "ms", *middle(cpu), "-")

    @staticmethod
    def saw_checks(ours):
        """What is measured is the work that is meant."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = imaplib.IMAP4_SSL(BOX, 993, ssl_context=context)
        client.login(ours.user, ours.password)
        client.select("INBOX", readonly=True)
        head = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (AUTHENTICATION-RESULTS)])")[1][0][1].decode()
        client.logout()
        for word in ("spf=pass", "dkim=pass", "dmarc=pass", "iprev=pass"):
            assert word in head, head

    def queue(self):
        messages = 2_000 if self.quick else 100_000
        server = self.servers()[0]
        server.start(sending="false")
        try:
            empty = peers.pss_kb(server.pids()) / 1000
            done = self.hand_in(server, messages)
            full = peers.pss_kb(server.pids()) / 1000
            row(f"memory (PSS) before the queue is filled", "MB", empty, None, "-")
            row(f"memory (PSS) with {messages} letters handed in", "MB", full, None, "-")
            row(f"handing them in: answered 250", "/s", done["per_second"], None, "-", "more")
            server.stop()
            began = time.monotonic()
            server.start(keep=True, sending="false")
            row("start with that queue", "s", time.monotonic() - began, None, "-")
            time.sleep(5)
            row("memory (PSS) started with that queue, nothing leaves", "MB", peers.pss_kb(server.pids()) / 1000, None, "-")
            server.stop()
            # Nobody is at the other end, so that each letter is tried and put off.
            server.start(keep=True)
            worst, end = 0, time.monotonic() + 60
            while time.monotonic() < end:
                worst = max(worst, peers.pss_kb(server.pids()) / 1000)
                time.sleep(0.5)
            row("memory (PSS) at most while all are due, first minute", "MB", worst, None, "-")
        finally:
            server.stop()

    def run(self):
        only = (self.args.only or "out,in,queue").split(",")
        print(f"{'':<58} {'homepost':>9} {'peer':>9} {'':<6} {'ratio':>7}  target")
        for name, part in (("out", self.out), ("in", self.into), ("queue", self.queue)):
            if name in only:
                part()

    def end(self):
        self.world.end()
        self.bind.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--homepost", required=True)
    parser.add_argument("--load", required=True)
    parser.add_argument("--out")
    parser.add_argument("--only")
    parser.add_argument("--folder", required=True, help="where the servers keep their data (a real disk, not tmpfs)")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    world.enter()
    print("durability: homepost syncs its record before each 250, and before a letter leaves the queue; Postfix syncs its queue file before "
          "the 250, and removes it. Out: homepost asks for a log-in over TLS and signs each letter twice, Postfix does neither. No TLS to the other end.")
    sending = Sending(args)
    try:
        sending.run()
    finally:
        sending.end()
        if args.out:
            pathlib.Path(args.out).write_text(json.dumps({"when": time.strftime("%Y-%m-%d"), "cpus": os.cpu_count(), "rows": bench.ROWS}, indent=1))


if __name__ == "__main__":
    main()
