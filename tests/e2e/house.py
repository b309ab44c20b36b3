"""A homepost of its own for a test: set up, served, looked at and ended as its owner would, by the binary alone."""

import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# What ships: the static binary (scripts/static). HOMEPOST=target/debug/homepost tries another.
BINARY = os.environ.get("HOMEPOST", str(TARGET / "static" / os.uname().machine / "homepost"))
# The same with what runs it, for a binary of another machine (HOMEPOST_RUNNER=qemu-aarch64-static).
COMMAND = [*os.environ.get("HOMEPOST_RUNNER", "").split(), BINARY]
ALICE = "alice@example.test"
PASSWORD = "correct horse battery staple"


def anyone():
    """TLS with a certificate that nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def free_offset():
    """An offset at which all our ports are free."""
    for _ in range(200):
        offset = random.SystemRandom().randrange(11_000, 29_000)
        try:
            for port in (25, 80, 143, 443, 465, 587, 993, 8080):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", offset + port))
            return offset
        except OSError:
            continue
    raise RuntimeError("no free ports")


class House:
    def __init__(self, name, data=None):
        self.folder = TARGET / "e2e" / f"{name}-{os.getpid()}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.log = self.folder / "log"
        self.offset = free_offset()
        self.process = None

    # ---- the command line

    def run(self, *words, input="", ok=True):
        done = subprocess.run([*COMMAND, *words, "--data", str(self.data)], input=input, text=True, capture_output=True)
        if ok and done.returncode != 0:
            raise RuntimeError(f"homepost {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "--json").stdout)

    def init(self):
        self.run("init", "--hostname", "mail.example.test", "--domain", "example.test", "--admin", ALICE,
                 "--password-stdin", input=PASSWORD + "\n")

    def add(self, address, *more):
        self.run("account", "add", address, "--password-stdin", *more, input=PASSWORD + "\n")

    def check(self):
        """Empty when every invariant of the stores holds."""
        done = self.run("check", ok=False)
        return "" if done.returncode == 0 else f"{done.returncode}: {done.stdout}{done.stderr}"

    # ---- the server

    def serve(self, files=None, memory=None, seconds=60, under=(), words=()):
        """`files` is how many descriptors it may have, `memory` bytes of address space, `under` what starts it, `words` more for it."""
        def limits():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            os.setpgid(0, 0)

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*under, *COMMAND, "serve", "--data", str(self.data), "--bind", "127.0.0.1",
                 "--port-offset", str(self.offset), *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=limits)
        ready = threading.Event()

        def listen(stream):
            for line in stream:
                if line.strip() == "ready":
                    ready.set()

        threading.Thread(target=listen, args=(self.process.stdout,), daemon=True).start()
        end = time.monotonic() + seconds
        while not ready.wait(0.05):
            if self.process.poll() is not None:
                raise RuntimeError(f"serve ended with {self.process.returncode}\n{self.tail()}")
            if time.monotonic() > end:
                raise RuntimeError(f"not ready after {seconds} s\n{self.tail()}")

    def stop(self, seconds=60):
        if self.process:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(seconds)
            self.process = None
            if code != 0:
                raise RuntimeError(f"serve ended with {code}\n{self.tail()}")

    def kill(self):
        """As a power cut would end it, as far as a process can tell."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def status(self, field):
        """VmRSS, VmHWM in bytes."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def forget_peak(self):
        """VmHWM starts anew."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def tail(self, lines=20):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def end(self, keep=False):
        if self.alive():
            self.kill()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- clients

    def port(self, number):
        return number + self.offset

    def smtp(self, timeout=60, tls=True, source=None):
        client = smtplib.SMTP("127.0.0.1", self.port(25), local_hostname="client.example.net", timeout=timeout,
                              source_address=source)
        # smtplib writes a letter in several pieces, which would wait for each other.
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            client.starttls(context=anyone())
            client.ehlo()
        return client

    def imap(self, user=ALICE, password=PASSWORD, timeout=60):
        from imapclient import IMAPClient
        client = IMAPClient("127.0.0.1", self.port(993), ssl_context=anyone(), timeout=timeout)
        client.login(user, password)
        return client

    def letters(self, mailbox="INBOX", user=ALICE, page=200):
        """UID → the whole message, of all that are there."""
        client = self.imap(user=user)
        client.select_folder(mailbox, readonly=True)
        out = {}
        uids = client.search("ALL")
        for start in range(0, len(uids), page):
            for uid, row in client.fetch(uids[start:start + page], ["BODY.PEEK[]"]).items():
                out[uid] = row[b"BODY[]"]
        client.logout()
        return out


TRACE = (b"return-path:", b"received:", b"delivered-to:", b"authentication-results:", b"received-spf:", b"x-original-to:",
         b"dkim-signature:")


def without_trace(letter, originals):
    """The original that a received letter was made from, or None: what stands before it must be trace fields only.

    `originals` maps a message to anything; both sides have the same line ends."""
    end = b"\r\n" if b"\r\n" in letter else b"\n"
    at = 0
    for _ in range(40):
        if letter[at:] in originals:
            return letter[at:]
        line_end = letter.find(end, at)
        if line_end < 0:
            return None
        line = letter[at:line_end].lower()
        if not (line.startswith(TRACE) or (at > 0 and line[:1] in (b" ", b"\t"))):
            return None
        at = line_end + len(end)
    return None


class Checks:
    """Counts what held and what did not, goes on, and ends with a line that scripts/test reads."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    @contextlib.contextmanager
    def __call__(self, name):
        began = time.monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001: whatever went wrong is this check's failure
            self.failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, AssertionError):
                print("".join(f"         {f.filename.rsplit(chr(47), 1)[-1]}:{f.lineno} {f.line}\n" for f in traceback.extract_tb(error.__traceback__) if "/tests/" in f.filename), end="")
            sys.stdout.flush()
        else:
            self.passed += 1
            print(f"ok     {name} ({time.monotonic() - began:.1f} s)", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def same(got, want, what=""):
    def short(thing):
        words = repr(thing)
        return words if len(words) < 500 else words[:500] + "…"

    if isinstance(got, list) and isinstance(want, list) and len(got) + len(want) > 40:
        missing, extra = [one for one in want if one not in got], [one for one in got if one not in want]
        assert got == want, f"{what}: {len(missing)} missing {short(missing)}, {len(extra)} too many {short(extra)}"
    assert got == want, f"{what}: expected {short(want)}, got {short(got)}"
