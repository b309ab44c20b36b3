"""An update on trial, as the mail service sees it: a machine of our own says which slot runs and what is on trial, and is told
what to do. Everything is in a network of its own with one address more, from which somebody else calls.

usage: update.py"""

import http.server
import json
import os
import pathlib
import random
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time

from house import ALICE, COMMAND, ROOT, Checks, House, same
from machine import Machine

OUTSIDE = "192.0.2.7"
LETTER = f"From: sender@example.net\r\nTo: {ALICE}\r\nSubject: %s\r\n\r\nx\r\n"


class Published:
    """Where new versions are published: a folder over HTTPS, with what goes wrong with such servers."""

    def __init__(self, folder):
        self.folder, self.asked, self.until, self.whole, self.flip = folder, [], None, False, False
        key, self.root = folder / "key.pem", folder / "root.pem"
        config = folder / "openssl.cnf"
        config.write_text("[req]\ndistinguished_name=d\nx509_extensions=x\nprompt=no\n[d]\nCN=localhost\n[x]\nsubjectAltName=DNS:localhost\n")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-config", config, "-keyout", key, "-out", self.root], check=True, capture_output=True)
        own = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                own.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.root, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.server.server_address[1]}/homepost"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, peer):
        file = self.folder / peer.path.removeprefix("/homepost/")
        if not file.is_file():
            return peer.send_error(404)
        body, part = bytearray(file.read_bytes()), peer.headers["Range"]
        if part and not self.whole:
            first, last = map(int, part.removeprefix("bytes=").split("-"))
            self.asked.append(first)
            if self.until is not None and len(self.asked) > self.until:
                return peer.connection.close()
            if self.flip:
                body[first] ^= 1
            body = body[first:last + 1]
        peer.send_response(206 if part and not self.whole else 200)
        peer.send_header("Content-Length", str(len(body)))
        peer.end_headers()
        try:
            peer.wfile.write(body)
        except OSError:
            pass

    def publish(self, version, system, key):
        """As scripts/release lays it out."""
        (self.folder / "system").write_bytes(system)
        done = subprocess.run([sys.executable, ROOT / "scripts" / "update-file", "make", "--board", "pc", "--version", version, "--key", key,
                               "--out", self.folder / f"homepost-{version}-pc.hpu", "--head", self.folder / "homepost-pc.head",
                               self.folder / "system"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return self.folder / f"homepost-{version}-pc.hpu"


def signing_key(path):
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    return path


def change(settings, *lines):
    """In the section `update`."""
    before, section, after = settings.read_text().partition("[update]\n")
    for line in lines:
        after = re.sub(rf"(?m)^{line.split()[0]} = .*$", lambda _: line, after, count=1)
    settings.write_text(before + section + after)


def newer_versions(checks, house, machine):
    """Found where they are published and on a stick, fetched, and handed to the machine."""
    system = house.folder / "system"
    (system / "etc" / "homepost").mkdir(parents=True)
    key, foreign = signing_key(house.folder / "key.pem"), signing_key(house.folder / "foreign.pem")
    keys = subprocess.run([sys.executable, ROOT / "scripts" / "update-file", "keys", "--key", key], check=True, capture_output=True)
    (system / "etc" / "homepost" / "update-keys").write_bytes(keys.stdout)
    (system / "etc" / "os-release").write_text("ID=homepost\nVARIANT_ID=pc\n")
    (house.folder / "web").mkdir()
    web = Published(house.folder / "web")
    shutil.copy(web.root, house.data / "updates.pem")
    stick = house.folder / "stick" / "at"
    stick.mkdir(parents=True)
    os.environ.update(HOMEPOST_SYSTEM=str(system), HOMEPOST_STICK=str(stick.parent), HOMEPOST_MACHINE=str(machine.path))
    settings = house.data / "settings.toml"
    change(settings, f'url = "{web.url}"', 'root = "updates.pem"')
    offered = house.data / "update" / "offered.hpu"
    bytes_ = random.Random(1).randbytes(5 * 2**20 + 1000)

    def offers(ok=True):
        done = house.run("update", "check", "--json", ok=ok)
        return [(one["version"], one["source"]) for one in house.json("update", "list")["offers"]], done.stderr

    def handed():
        """What the machine is handed, once it is."""
        files = []
        machine.runs("b")
        machine.at["check-update"] = lambda: files.append(offered.read_bytes())
        return files

    def last():
        return (house.json("update", "list")["last"] or {}).get("words", "")

    machine.runs("b")
    started(house, machine)
    ready(house)
    with checks("a newer version is found where it is published; one signed by somebody else, or an older one, is not"):
        web.publish("10.0.0", bytes_, foreign)
        found, why = offers(ok=False)
        same(found, [], "offered")
        assert "not signed by whom this box believes" in why, why
        web.publish("9.0.0", bytes_, key)
        same(offers(), ([], ""), "an older one")
        file = web.publish("10.0.0", bytes_, key)
        same(offers(), ([("10.0.0", "url")], ""), "a newer one")
        assert not offered.exists() and "check-update" not in machine.acts, "nothing happens by itself"
    with checks("a line that breaks costs one piece, a restart nothing, and what comes is what was published"):
        files = handed()
        web.asked, web.until = [], 3
        house.run("update", "install")
        until("the line broke", lambda: len(web.asked) > 4)
        first = web.asked[:3]
        house.kill()
        assert (house.data / "update" / "fetched.part").stat().st_size >= 2**21
        web.asked, web.until = [], None
        started(house, machine)
        ready(house)
        house.run("update", "install", "--version", "10.0.0")
        until("it is handed over", lambda: files)
        same(files[0] == file.read_bytes(), True, "the same bytes")
        assert not set(first[:2]) & set(web.asked), f"fetched twice: {first} {web.asked}"
        until("it was looked at", lambda: not offered.exists())
    with checks("a server that sends something else, or gives no parts of files, is told of, and nothing is handed over"):
        files = handed()
        (house.data / "update" / "fetched.part").unlink(missing_ok=True)
        web.flip = True
        house.run("update", "install")
        until("it is said", lambda: "is not what pc.head says" in last(), 180)
        web.flip, web.whole = False, True
        house.run("update", "install")
        until("it is said", lambda: "does not give parts of files" in last(), 180)
        web.whole = False
        assert not offered.exists() and not files
    with checks("an update on the stick is found and put on the box"):
        files = handed()
        shutil.copy(web.publish("11.0.0", bytes_[:70000], key), stick / "Homepost.hpu")
        web.publish("10.0.0", bytes_, key)
        machine.stick = {"insertion": 1, "name": "Acme", "label": "HOMEPOST", "bytes": 1 << 30, "writable": True, "state": "ready"}
        same(offers()[0], [("11.0.0", "stick"), ("10.0.0", "url")], "offered")
        house.run("update", "install")
        until("it is handed over", lambda: files)
        same(files[0] == (stick / "Homepost.hpu").read_bytes(), True, "the same bytes")
        until("it was looked at", lambda: not offered.exists())
        machine.stick = None
    with checks("where the settings say so a new version is put on the box by itself, once"):
        house.stop()
        change(settings, "install = true")
        (house.data / "update" / "offers.json").unlink()
        files = handed()
        started(house, machine)
        ready(house)
        until("it is handed over", lambda: files)
        until("it was looked at", lambda: not offered.exists())
        state = json.loads((house.data / "update" / "offers.json").read_text())
        same(state["by_itself"], "10.0.0", "what was put on by itself")
        (house.data / "update" / "offers.json").write_text(json.dumps(state | {"looked": 5}))
        until("it looked again", lambda: json.loads((house.data / "update" / "offers.json").read_text())["looked"] > 5)
        time.sleep(2)
        same(len(files), 1, "tried")
    web.server.shutdown()
    house.stop()


def started(house, machine):
    env = dict(os.environ, HOMEPOST_MACHINE=str(machine.path))
    # One that was killed leaves it, and a command that comes before the server takes the lock.
    (house.data / "ready").unlink(missing_ok=True)
    with open(house.log, "ab") as log:
        house.process = subprocess.Popen([*COMMAND, "serve", "--data", str(house.data), "--port-offset", str(house.offset)],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=env,
                                         preexec_fn=lambda: os.setpgid(0, 0))


def until(what, true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def ready(house):
    until("ready", lambda: (house.data / "ready").exists() or not house.alive())
    assert house.alive(), house.tail()


def first_line(address, port):
    try:
        with socket.create_connection((address, port), timeout=20) as peer:
            return peer.makefile("rb").readline().decode()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"


def send(house, subject):
    with smtplib.SMTP("127.0.0.1", house.port(25), timeout=60) as client:
        client.sendmail("sender@example.net", [ALICE], (LETTER % subject).encode())


def subjects(house):
    found = []
    for letter in house.letters().values():
        found += [line[9:] for line in letter.decode().split("\r\n\r\n")[0].splitlines() if line.startswith("Subject: ")]
    return sorted(found)


def closed(house):
    """What somebody else and we ourselves see."""
    return [first_line(OUTSIDE, house.port(25))[:4], first_line("127.0.0.1", house.port(25))[:4],
            first_line(OUTSIDE, house.port(993)), first_line(OUTSIDE, house.port(587)), first_line(OUTSIDE, house.port(443))]


def main():
    house = House("update")
    checks = Checks()
    machine = Machine(house.folder / "machine.sock")
    kept = house.data / "before-update"
    try:
        house.init()
        machine.runs("a")
        started(house, machine)
        ready(house)
        send(house, "before")
        house.stop()

        with checks("a version on trial lets this machine in alone, shows that it works, and opens"):
            seen = []
            machine.runs("b", trial="b")
            machine.at["confirm-slot"] = lambda: seen.append([closed(house), (kept / "of").read_text(), (house.data / "ready").exists()])
            started(house, machine)
            ready(house)
            same(seen, [[["421 ", "220 ", "refused", "refused", "refused"], "b", False]], "while on trial")
            same(machine.acts, ["refresh-firewall", "confirm-slot"], "asked of the machine")
            same(first_line(OUTSIDE, house.port(25))[:4], "220 ", "after it")
            socket.create_connection((OUTSIDE, house.port(993)), timeout=20).close()
            same(subjects(house), ["Your homepost was updated", "before"], "letters")
            until("the way back is off the disk", lambda: not list(house.data.glob("before-update*")))
            assert "Version 9.9.9 runs." in (house.data / "update" / "said").read_text()
            house.stop()

        with checks("one that does not work restarts the machine, and the old one has the mail as it was"):
            with socket.create_server(("127.0.0.1", house.port(993))) as taken:
                def hang_up():
                    while True:
                        try:
                            taken.accept()[0].close()
                        except OSError:
                            return
                threading.Thread(target=hang_up, daemon=True).start()
                machine.runs("a", trial="a")
                machine.at["reboot"] = lambda: send(house, "during the trial")
                started(house, machine)
                until("the restart", lambda: "reboot" in machine.acts or not house.alive())
                assert house.alive(), house.tail()
                time.sleep(0.5)
                assert not (house.data / "ready").exists()
                same((kept / "of").read_text(), "a", "the way back")
                house.kill()
                taken.shutdown(socket.SHUT_RDWR)
            machine.runs("b", trial="a", said="The new version 9.9.9 did not work here.")
            started(house, machine)
            ready(house)
            same(machine.acts, ["abandon-update"], "asked of the machine")
            same(subjects(house), ["Your homepost was updated", "before"], "letters")
            assert not kept.exists()
            said = json.loads((house.data / "update" / "said").read_text())["words"]
            assert "did not work here: imaps: " in said and said.endswith(" The version before runs again."), said

        with checks("a machine's process that says nothing opens no door where a copy waits, and nothing is changed"):
            house.stop()
            machine.runs("a", trial="a")
            machine.at["confirm-slot"] = house.kill
            started(house, machine)
            until("it was cut in the trial", lambda: not house.alive())
            assert kept.exists(), "the way back"
            machine.silent = True
            started(house, machine)
            until("it ends", lambda: not house.alive(), 300)
            assert "nobody is let in" in house.tail(), house.tail()
            assert not (house.data / "ready").exists() and kept.exists()
            machine.silent = False
            machine.runs("b", trial="a", said="The new version 9.9.9 did not work here.")
            started(house, machine)
            ready(house)
            same(subjects(house), ["Your homepost was updated", "before"], "letters")
            assert not kept.exists()

        with checks("an update that is put down is handed to the machine, and what it says is kept"):
            machine.runs("b")
            file = house.folder / "x.hpu"
            file.write_bytes(b"something")
            env = dict(os.environ, HOMEPOST_MACHINE=str(machine.path))

            def told(*words):
                return subprocess.run([*COMMAND, "update", *words, "--data", str(house.data)], env=env, text=True, capture_output=True)
            done = told("install", str(file))
            same(done.returncode, 0, done.stderr)
            until("it was looked at", lambda: "check-update" in machine.acts)
            until("it is gone", lambda: not (house.data / "update" / "offered.hpu").exists())
            until("it is said", lambda: "this update is not for us" in told("status").stdout)
            same(machine.acts, ["check-update"], "asked of the machine")
        house.stop()
        newer_versions(checks, house, machine)
        house.check()
    finally:
        house.end()
    return checks.end()


if __name__ == "__main__":
    if os.environ.get("HOMEPOST_ALONE") != "1":
        inside = f'ip link set lo up && ip addr add {OUTSIDE}/32 dev lo && exec "$@"'
        os.environ["HOMEPOST_ALONE"] = "1"
        os.execvp("unshare", ["unshare", "-n" if os.geteuid() == 0 else "-rn", "sh", "-c", inside, "sh", sys.executable, str(pathlib.Path(__file__).resolve())])
    sys.exit(main())
