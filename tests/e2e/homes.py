"""What goes wrong in real homes while a box is set up, and the words that its owner reads then.

Everything happens in a network of its own, with a file system view of its own: the address, the way out, the name servers
and the authority are what each check makes them, and nothing leaves the machine.

usage: homes.py [NAME…]      the parts to play; without names all of them
"""

import contextlib
import http.client
import http.server
import html
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

from acme import World, free_port, wait_for
from bind import Bind
from house import TARGET, Checks, House, anyone, same
from wizard import PHRASE, Fresh, Visitor

FOLDER = TARGET / "e2e" / f"homes-{os.getpid()}"
CLOCK = pathlib.Path("/run/homepost/clock")
OWN = "25.1.2.3"


def run(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def inside():
    """Once more, in namespaces of its own, and for who is not root in a user namespace too."""
    kind = ["unshare"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
    words = [*kind, "--net", "--mount", "--kill-child", "--fork", sys.executable, __file__, "inside", *sys.argv[1:]]
    os.execvp(words[0], words)


class Net:
    """The network of the house: a card with the world's address, and a way out that can be taken away."""

    def __init__(self):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "isp")
        run("ip", "link", "set", "isp", "up")
        run("ip", "addr", "add", f"{OWN}/24", "dev", "wan")
        run("ip", "link", "set", "wan", "up")
        self.way_out(True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        run("mount", "--bind", str(FOLDER / "resolv.conf"), "/etc/resolv.conf")
        run("mount", "-t", "tmpfs", "none", "/run")
        CLOCK.parent.mkdir()
        self.clock(True)

    def way_out(self, there):
        subprocess.run(["ip", "route", "del", "default"], stderr=subprocess.DEVNULL)
        if there:
            run("ip", "route", "add", "default", "via", "25.1.2.1", "dev", "wan")

    def clock(self, trusted):
        CLOCK.write_text("trusted\n" if trusted else "not checked\n")


class Home(Fresh):
    """A folder on its way, and a visitor at its pages."""

    def __init__(self, name):
        super().__init__(name)
        self.visitor = Visitor(self)

    def found(self):
        """To the administrator."""
        self.begin()
        self.visitor.fill("language", language="en", zone="Etc/UTC")
        self.visitor.fill("code", code=self.code)
        self.visitor.fill("origin", origin="new")
        reply = self.visitor.fill("you", name="Anna Smith", local="anna", phrase=PHRASE, phrase2=PHRASE)
        assert reply.startswith("HTTP/1.1 303 "), reply[:600]

    def named(self, domain):
        reply = self.visitor.fill("domain", name=domain, host="mail")
        assert reply.startswith("HTTP/1.1 303 "), words_of(reply)
        self.wait(lambda: self.open(25), 60, "25 opens")

    def page(self, step):
        cookies = "; ".join(f"{name}={value}" for name, value in self.visitor.cookies.items())
        return words_of(self.get(f"/step/{step}", more=f"Cookie: {cookies}\r\n").decode())

    def says(self, step, *wanted, seconds=90):
        """Waits until the page has all of these words; gives the page."""
        seen = ""

        def there():
            nonlocal seen
            seen = self.page(step)
            return all(words in seen for words in wanted)
        end = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < end, f"{step} does not say {[w for w in wanted if w not in seen]}: {seen}\n{self.tail()}"
            time.sleep(0.3)
        return seen

    def again(self, step="certificate"):
        """Presses the button, and waits for what comes of it."""
        self.visitor.fill(step, do="again")
        wait_for(lambda: "looks at this box from outside" not in self.page(step), 240, "it is still asked")

    def state(self, step):
        rows = self.json("setup")["steps"]
        return next(row for row in rows if row["step"] == step)


def words_of(reply):
    """What a person reads of a page."""
    body = reply.split("\r\n\r\n", 1)[-1]
    main = re.search(r"<main.*?</main>", body, re.S)
    text = re.sub(r"<[^>]+>", " ", main[0] if main else body)
    return " ".join(html.unescape(text).split())


# ---- certificates

class Grumbling(http.server.BaseHTTPRequestHandler):
    """Stands before pebble, and answers orders with a problem (RFC 8555 6.7) as an authority would."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.passed("GET", None)

    def do_HEAD(self):
        self.passed("HEAD", None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/order-plz" and self.server.problem:
            self.server.asked += 1
            status, kind, detail = self.server.problem
            line = http.client.HTTPSConnection("127.0.0.1", self.server.behind, context=anyone(), timeout=60)
            line.request("HEAD", "/nonce-plz")
            nonce = line.getresponse().getheader("Replay-Nonce")
            body = json.dumps({"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}).encode()
            self.answer(status, [("Content-Type", "application/problem+json"), ("Replay-Nonce", nonce)], body)
        else:
            self.passed("POST", body)

    def passed(self, method, body):
        line = http.client.HTTPSConnection("127.0.0.1", self.server.behind, context=anyone(), timeout=60)
        # Its addresses have its own port in them; whoever signs names the one that was asked.
        headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
        line.request(method, self.path, body, headers)
        reply = line.getresponse()
        body = reply.read()
        keep = ("content-type", "location", "link", "replay-nonce", "retry-after")
        self.answer(reply.status, [(k, v) for k, v in reply.getheaders() if k.lower() in keep], body)

    def answer(self, status, headers, body):
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True


def grumbling(world, behind):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Grumbling)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.folder / "api.pem", world.folder / "api.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    server.behind, server.problem, server.asked = behind, None, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"https://localhost:{server.server_address[1]}/dir"


def certificate(check, net):
    home = Home("homes-certificate")
    (home.folder / "world").mkdir()
    world = World(home.folder / "world")
    try:
        ca, directory = world.pebble("ca", home.port(80), home.port(443))
        shut, nobody = world.pebble("shut", free_port(), free_port())
        grumbler, grumbles = grumbling(world, ca.port)
        home.found()
        shutil.copy(world.folder / "root.pem", home.data / "root.pem")
        home.settings(offered=f"https://localhost:{free_port()}/dir", root="root.pem")
        home.named("refused.test")
        settings = home.data / "settings.toml"

        with check("certificate: nobody is asked before the terms are accepted, and without one everything goes on"):
            page = home.page("certificate")
            assert "localhost vouches for you, once you accept its terms" in page, page
            assert "mail.refused.test" in page and "autodiscover.refused.test" in page, page
            reply = home.visitor.fill("certificate", contact="")
            assert reply.startswith("HTTP/1.1 422 ") and "vouches for nobody" in words_of(reply), words_of(reply)
            reply = home.visitor.fill("certificate", accepted="yes", contact="not an address")
            assert "one looks like anna@smith.example" in words_of(reply), words_of(reply)
            same(home.state("certificate")["state"], "needs-you")
            assert 'directory = ""' in settings.read_text(), "it was switched on"
            assert "Your first letter" in home.page("letter")
        before = settings.read_text()

        with check("certificate: an authority that is down is waited for, and the settings keep their comments"):
            home.visitor.fill("certificate", accepted="yes", contact="anna@refused.test")
            home.says("certificate", "The authority cannot be reached, or has a fault.", "waits until about",
                      "It is not their turn yet.", "Try again")
            same(home.state("certificate")["state"], "waiting")
            changed = [line for line in settings.read_text().splitlines() if line not in before.splitlines()]
            same([line.split(" = ")[0] for line in changed], ["directory", "contact"])

        with check("certificate: a CAA record that forbids is named, with what to do"):
            home.settings(directory=grumbles)
            grumbler.problem = (403, "caa", "CAA record for mail.refused.test prevents issuance")
            home.reload()
            home.again()
            page = home.says("certificate", "A CAA record of the domain forbids this authority to issue for mail.refused.test.",
                             "needs you", "I try again at about", seconds=120)
            same(home.state("certificate")["state"], "needs-you")

        with check("certificate: a port that is closed to the world is named, with what to do in the router"):
            home.settings(directory=nobody)
            home.reload()
            home.again()
            home.says("certificate", "The authority could not reach mail.refused.test on port", "Forward port", seconds=180)

        with check("certificate: the others are vouched for, and the one that never will be says so"):
            home.settings(directory=directory)
            home.reload()
            home.again()
            page = home.says("certificate", "mail.refused.test ✓ until", "mta-sts.refused.test ✓ until",
                             "autoconfig.refused.test ✓ until", "autodiscover.refused.test → needs you",
                             "The authority does not issue certificates for autodiscover.refused.test.",
                             "Not every name is vouched for.", "Those that work are in use already.", seconds=180)
            assert "Pebble" in home.groups()["host"]["issuer"], home.groups()

        with check("certificate: a limit of the authority's is kept, whoever presses the button"):
            until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time.time() + 7200))
            home.settings(directory=grumbles)
            home.reload()
            grumbler.problem = (429, "rateLimited", f"too many certificates already issued, retry after {until}: see above")
            home.again()
            home.says("certificate", "There were too many tries for autodiscover.refused.test lately; the next is possible at",
                      "Nothing needs to be done.", seconds=120)
            same(home.state("certificate")["state"], "waiting")
            asked = grumbler.asked
            home.again()
            same(grumbler.asked, asked, "orders while it is too early")

        with check("certificate: all of it is there again after a power cut"):
            home.kill()
            home.serve()
            assert home.open(8080)
            home.visitor = Visitor(home)
            home.visitor.fill_at("/sign-in", phrase=PHRASE)
            home.says("certificate", "mail.refused.test ✓ until", "too many tries for autodiscover.refused.test")
            home.run("setup", "finish")
            home.stop()
            same(home.check(), "")
    finally:
        home.end(keep=check.failed > 0)
        world.end()


def wrong_clock(check, net):
    """A box without a clock chip, and its time server out of reach."""
    home = Home("homes-clock")
    (home.folder / "world").mkdir()
    world = World(home.folder / "world")
    try:
        ca, directory = world.pebble("ca", home.port(80), home.port(443))
        net.clock(False)
        home.found()
        shutil.copy(world.folder / "root.pem", home.data / "root.pem")
        home.settings(offered=directory, root="root.pem")
        with check("clock: without the time everything else goes on, and only certificates wait"):
            assert "not sure what time it is" in home.page("network"), home.page("network")
            assert "only certificates wait for it" in home.page("network"), home.page("network")
            home.named("smith.test")
            home.visitor.fill("certificate", accepted="yes")
            home.says("certificate", "waits for the clock", "this box does not know today's yet", "goes on by itself")
            same(home.state("certificate")["words"], "waits for the clock")
            assert "has a letter box" in words_of(home.visitor.fill("family", name="Ben", local="ben"))
            assert "Issued certificate" not in ca.said()
        with check("clock: when it is right the certificate comes by itself"):
            net.clock(True)
            home.says("certificate", "mail.smith.test ✓ until", seconds=240)
    finally:
        net.clock(True)
        home.end(keep=check.failed > 0)
        world.end()


PARTS = {"certificate": certificate, "clock": wrong_clock}


def main():
    if sys.argv[1:2] != ["inside"]:
        inside()
    check = Checks()
    try:
        net = Net()
        for name in sys.argv[2:] or PARTS:
            PARTS[name](check, net)
    finally:
        if not check.failed:
            shutil.rmtree(FOLDER, ignore_errors=True)
    check.end()


if __name__ == "__main__":
    main()
