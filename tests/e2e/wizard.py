"""The set-up in a real browser, from an empty folder to a letter read by IMAP: by mouse, on a phone in the dark, in German, by
keyboard alone, and without JavaScript. Then what a stranger may try at the same port.

Screenshots of every page lie in target/e2e/wizard-shots afterwards.
"""

import email
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

from acme import Box, World
from house import BINARY, ROOT, TARGET, Checks, anyone, same
from town import Names, Net, inside, leave, run
from written import FOREIGN, KEYS, Watched

SHOTS = TARGET / "e2e" / "wizard-shots"
PHRASE = "river oak lantern moon"


class Fresh(Box):
    """A folder that nobody has set up."""

    def begin(self, seconds=60):
        self.lines = []
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--data", str(self.data), "--bind", "127.0.0.1", "--port-offset", str(self.offset)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=os.setpgrp)
        threading.Thread(target=lambda stream: self.lines.extend(stream), args=(self.process.stdout,), daemon=True).start()
        self.wait(lambda: self.open(8080), seconds, "8080")

    def wait(self, what, seconds, words):
        end = time.monotonic() + seconds
        while not what():
            if self.process.poll() is not None:
                raise RuntimeError(f"serve ended with {self.process.returncode}\n{self.tail()}")
            if time.monotonic() > end:
                raise RuntimeError(f"not after {seconds} s: {words}\n{self.tail()}")
            time.sleep(0.1)

    def open(self, port):
        try:
            with socket.create_connection(("127.0.0.1", self.port(port)), timeout=5):
                return True
        except OSError:
            return False

    @property
    def code(self):
        shown = (self.data / "setup" / "shown").read_text()
        return re.search(r"^code (\S+)$", shown, re.M)[1]

    def ask(self, request, tls=False, seconds=30):
        """One request, bytes as they are; the whole reply, or what came of it in that time."""
        with socket.create_connection(("127.0.0.1", self.port(8080)), timeout=seconds) as plain:
            stream = anyone().wrap_socket(plain) if tls else plain
            stream.sendall(request)
            out = b""
            try:
                while piece := stream.recv(65536):
                    out += piece
            except (ConnectionError, ssl.SSLError, TimeoutError):
                pass
            return out

    def get(self, path, host=None, more="", tls=False):
        host = host or f"127.0.0.1:{self.port(8080)}"
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n".encode(), tls)


def walk(checks, mode):
    house = Fresh(f"wizard-{mode}")
    (house.folder / "world").mkdir()
    world, names = World(house.folder / "world"), Names(KEYS, FOREIGN)
    watched = Watched(names.bind, house, "smith.test")
    shots = SHOTS / mode
    try:
        _, directory = world.pebble("ca", house.port(80), house.port(443))
        with checks(f"{mode}: an empty folder opens 8080 and no mail port"):
            house.begin()
            for port in (25, 465, 587, 993, 143):
                assert not house.open(port), f"{port} is open"
            assert not (house.data / "ready").exists()
        with checks(f"{mode}: the whole set-up, and the first letter read"):
            env = dict(os.environ, BROWSER_MODULES=str(TARGET / "browser"))
            base = f"http://127.0.0.1:{house.port(8080)}/"
            browser = subprocess.Popen(
                ["node", str(ROOT / "tests/e2e/wizard.mjs"), mode, base, house.code, str(shots), watched.provider], env=env,
                text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=os.setpgrp)
            killer = threading.Timer(480, lambda: os.killpg(browser.pid, signal.SIGKILL))
            killer.start()
            steps, walked = [], False
            try:
                for line in browser.stdout:
                    word, _, rest = line.strip().partition(" ")
                    if word == "step":
                        steps.append(rest)
                        if rest == "sheet":
                            # The folder has settings now; no test asks a real authority.
                            shutil.copy(world.folder / "root.pem", house.data / "root.pem")
                            house.settings(offered=directory, root="root.pem", line__targets="a.mx.test b.mx.test",
                                           line__control="web.mx.test", line__mirror="mirror.test",
                                           line__mirror_servers="127.0.0.1", line__lists="list.test",
                                           line__router="127.0.0.1")
                    elif word in ("dns", "provider"):
                        watched.told(rest)
                        browser.stdin.write("seen\n")
                        browser.stdin.flush()
                    elif word == "letter":
                        write(house, rest)
                        browser.stdin.write("sent\n")
                        browser.stdin.flush()
                    elif word == "phrase":
                        read(house, *rest.split(" ", 1))
                        browser.stdin.write("read\n")
                        browser.stdin.flush()
                    elif word == "walked":
                        walked = True
                    elif word == "failed":
                        raise AssertionError(f"after {steps[-1:]}: {rest}")
            finally:
                killer.cancel()
                if browser.poll() is None:
                    try:
                        browser.wait(20)
                    except subprocess.TimeoutExpired:
                        os.killpg(browser.pid, signal.SIGKILL)
                browser.wait(20)
            assert walked, f"it ended after {steps[-1:]}"
        with checks(f"{mode}: afterwards 8080 is closed, mail is served, and nothing of the set-up is left"):
            house.wait(lambda: not house.open(8080), 30, "8080 closes")
            house.wait(lambda: not (house.data / "setup").exists(), 30, "setup/ goes")
            assert (house.data / "ready").exists()
            assert "Pebble" in house.groups()["host"]["issuer"], house.groups()
            client = house.imap("anna@smith.test", PHRASE)
            client.select_folder("INBOX")
            letters = client.fetch(client.search("ALL"), ["BODY[]"])
            same([email.message_from_bytes(row[b"BODY[]"])["Subject"] for row in letters.values()], ["Welcome"], "letters")
            client.logout()
            same(house.json("domain", "list"), [{"domain": "smith.test"}], "domains")
            people = house.json("account", "list")
            same([(one["address"], one["name"], one["administrator"]) for one in people],
                 [("anna@smith.test", "Anna Smith", True), ("ben@smith.test", "Ben Smith", False)], "people")
            assert len((house.data / "recovery").read_text()) == 64
            same(re.search(r"^time_zone = .*$", (house.data / "settings.toml").read_text(), re.M)[0],
                 'time_zone = "Europe/Berlin"', "where they live")
            watched.silent()
            language = re.search(r'^language = "(.*)"', (house.data / "settings.toml").read_text(), re.M)[1]
            same(language, "de" if mode == "german" else "en", "the household's language")
            house.stop()
            same(house.check(), "", "check")
            house.serve()
            assert not house.open(8080), "8080 is open again"
            house.stop()
    finally:
        house.end(keep=checks.failed > 0)
        watched.end()
        world.end()
        names.end()


def write(house, address):
    client = house.smtp()
    client.sendmail("aunt@elsewhere.test", [address],
                    b"From: aunt@elsewhere.test\r\nTo: anna\r\nSubject: Welcome\r\n\r\nHow lovely.\r\n")
    client.quit()


def read(house, address, phrase):
    """The person who was invited signs in with a mail program."""
    client = house.imap(address, phrase)
    client.select_folder("INBOX")
    client.logout()


class Visitor:
    """A browser without a screen: fills forms in, and keeps cookies."""

    def __init__(self, house):
        self.house, self.cookies = house, {}

    def take(self, reply):
        for name, value in re.findall(r"Set-Cookie: ([\w-]+)=(\w*)", reply):
            self.cookies[name] = value
        return reply

    def fill(self, step, **fields):
        return self.fill_at(f"/step/{step}", **fields)

    def fill_at(self, path, **fields):
        host = f"127.0.0.1:{self.house.port(8080)}"
        cookies = lambda: "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        page = self.take(self.house.get(path, more=f"Cookie: {cookies()}\r\n").decode())
        token = re.search(r'name="t" value="(\w+)"', page)[1]
        body = urllib.parse.urlencode({"t": token, **fields})
        return self.take(self.house.ask(
            (f"POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookies()}\r\n"
             f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}").encode()).decode())


def within_the_house(checks):
    """No domain: the mail stays in the house, and so it does after a power cut at the very end."""
    house = Fresh("wizard-house")
    try:
        house.begin()
        with checks("a house without a domain is served, and stays so when the power goes right after the end"):
            visitor = Visitor(house)
            visitor.fill("language", language="en", zone="Europe/Berlin")
            visitor.fill("code", code=house.code)
            visitor.fill("origin", origin="new")
            reply = visitor.fill("you", name="Anna Smith", local="anna", phrase=PHRASE, phrase2=PHRASE)
            assert reply.startswith("HTTP/1.1 303 "), reply[:600]
            house.run("setup", "house")
            house.wait(lambda: house.open(993), 30, "993 opens")
            house.run("setup", "finish")
            house.kill()
            house.serve()
            assert not house.open(8080), "8080 is open again"
            assert not (house.data / "setup").exists()
            assert len((house.data / "recovery").read_text()) == 64
            client = house.imap("anna@home.arpa", PHRASE)
            client.logout()
            house.stop()
            house.serve()
            assert house.open(993) and not house.open(8080)
            house.stop()
            same(house.check(), "", "check")
    finally:
        house.end(keep=checks.failed > 0)


def strangers(checks):
    house = Fresh("wizard-strangers")
    try:
        house.begin()
        port = house.port(8080)
        with checks("a page of another site that resolves to us (DNS rebinding) gets nothing"):
            for host in ("evil.example", f"evil.example:{port}", "homepost.local.evil.example"):
                reply = house.get("/step/language", host=host)
                assert reply.startswith(b"HTTP/1.1 421 ") and b"<form" not in reply, reply[:300]
            assert house.get("/step/language").startswith(b"HTTP/1.1 200 ")
            assert house.get("/step/language", host=f"homepost.local:{port}").startswith(b"HTTP/1.1 200 ")

        def form(body, cookie, origin):
            origin = f"Origin: {origin}\r\n" if origin else ""
            return house.ask((f"POST /step/code HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{origin}Cookie: {cookie}\r\n"
                              f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
                              f"Connection: close\r\n\r\n{body}").encode())

        with checks("a forged form does nothing, with the right code in it too"):
            page = house.get("/step/code").decode()
            cookie = re.search(r"Set-Cookie: (hp-form=\w+)", page)[1]
            token = re.search(r'name="t" value="(\w+)"', page)[1]
            good = f"t={token}&code={house.code}"
            ours = f"http://127.0.0.1:{port}"
            for body, sent, origin in ((good, cookie, "http://evil.example"), (good, cookie, "null"), (good, "", ours),
                                       (good, "hp-form=" + "0" * 32, ours), (f"code={house.code}", cookie, ours)):
                reply = form(body, sent, origin)
                assert reply.startswith(b"HTTP/1.1 403 ") and b"hp-session" not in reply, reply[:300]
            reply = form(good, cookie, ours)
            assert reply.startswith(b"HTTP/1.1 303 ") and b"hp-session" in reply, reply[:300]
        with checks("the same port speaks HTTPS, and its key is the one on the screen"):
            reply = house.get("/step/code", tls=True)
            assert reply.startswith(b"HTTP/1.1 200 ") and b"This page is encrypted" in reply, reply[:300]
            der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
            digest = hashlib.sha256(der).hexdigest().upper()
            shown = (house.data / "setup" / "shown").read_text()
            assert f"digest {':'.join(digest[at:at + 2] for at in range(0, 64, 2))}" in shown, shown
            words = re.search(r"^words (.+)$", shown, re.M)[1]
            assert words.encode() in reply, words
        with checks("a body without end, a slow request and many connections keep nobody out"):
            reply = house.ask(f"POST /step/code HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99999999\r\n\r\n".encode(), seconds=5)
            assert reply.startswith(b"HTTP/1.1 413 "), reply[:200]
            # The server behind would reserve what is announced, and end the process over it; or answer a queue without end.
            for length in (2 ** 63 - 1, 2 ** 64 - 1):
                reply = house.ask(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\r\n".encode(), seconds=5)
                assert reply.startswith(b"HTTP/1.1 413 "), reply[:200]
            reply = house.ask(f"GET /step/language HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() * 2000)
            same(reply.count(b"HTTP/1.1 200 "), 1, "replies on one connection")
            slow = []
            for _ in range(40):
                try:
                    one = socket.create_connection(("127.0.0.1", port), timeout=10)
                    one.sendall(b"GET / HTTP/1.1\r\n")
                    slow.append(one)
                except OSError:
                    pass
            end = time.monotonic() + 60
            while True:
                try:
                    if house.get("/step/language").startswith(b"HTTP/1.1 200 "):
                        break
                except OSError:
                    pass
                assert time.monotonic() < end, "nobody gets in any more"
                time.sleep(1)
            for one in slow:
                one.close()
        with checks("wrong codes slow down, and a kill is no way round it"):
            page = house.get("/step/code").decode()
            cookie = re.search(r"Set-Cookie: (hp-form=\w+)", page)[1]
            token = re.search(r'name="t" value="(\w+)"', page)[1]
            for _ in range(5):
                form(f"t={token}&code=AAAAAAAA", cookie, None)
            assert b"Too many wrong tries" in form(f"t={token}&code={house.code}", cookie, None)
            code = house.code
            house.kill()
            house.begin()
            same(house.code, code, "the code on the screen")
            page = house.get("/step/code").decode()
            cookie = re.search(r"Set-Cookie: (hp-form=\w+)", page)[1]
            token = re.search(r'name="t" value="(\w+)"', page)[1]
            assert b"Too many wrong tries" in form(f"t={token}&code={house.code}", cookie, None)
        with checks("the command line sets the same folder up, and 8080 closes"):
            house.init()
            house.wait(lambda: not house.open(8080), 30, "8080 closes")
            assert house.open(993)
            house.stop()
    finally:
        house.end(keep=checks.failed > 0)


def main():
    if sys.argv[1:2] != ["inside"]:
        inside(__file__)
    Net()
    for last in (1, 2, 3, 9):
        run("ip", "addr", "add", f"10.9.0.{last}/32", "dev", "lo")
    checks = Checks()
    strangers(checks)
    within_the_house(checks)
    for mode in sys.argv[2:] or ("desktop", "phone", "german", "keyboard", "plain"):
        if mode != "none":
            walk(checks, mode)
    leave()
    checks.end()


if __name__ == "__main__":
    main()
