"""What goes wrong in real homes while a box is set up, and the words that its owner reads then.

Everything happens in a network of its own, with a file system view of its own: the address, the way out, the name servers
and the authority are what each check makes them, and nothing leaves the machine.

usage: homes.py [NAME…]      the parts to play; without names all of them
"""

import collections
import concurrent.futures
import contextlib
import http.client
import http.server
import html
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

from acme import World, free_port, wait_for
from house import Checks, anyone, same
from town import OWN, SEEN, Names, Net, inside, leave, run
from wizard import PHRASE, Fresh, Visitor

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
            assert "That is not a mail address. One looks like anna@smith.example." in words_of(reply), words_of(reply)
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


# ---- the line

class Greeter:
    """Answers every connection to an address with the same words."""

    def __init__(self, address, port, words):
        self.words = words
        self.socket = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                one, _ = self.socket.accept()
                with one:
                    one.sendall(self.words)
                    one.settimeout(2)
                    one.recv(64)
            except TimeoutError:
                pass
            except OSError:
                return

    def end(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Router:
    """Answers NAT-PMP with the address it has on its outer side."""

    def __init__(self, outer):
        self.outer = outer
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 5351))
        # A thread that waits would keep the port of a socket that is closed.
        self.socket.settimeout(0.2)
        self.ending = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def end(self):
        self.ending = True
        self.thread.join()
        self.socket.close()

    def serve(self):
        while not self.ending:
            try:
                question, who = self.socket.recvfrom(64)
            except TimeoutError:
                continue
            if self.outer and question == b"\0\0":
                self.socket.sendto(b"\0\x80\0\0\0\0\0\1" + socket.inet_aton(self.outer), who)


def line(check, net):
    for last in (1, 2, 3, 9):
        run("ip", "addr", "add", f"10.9.0.{last}/32", "dev", "lo")
    world, router = Names(), Router(SEEN)
    home = Home("homes-line")
    servers = [Greeter(f"10.9.0.{last}", 25, b"220 mx ready\r\n") for last in (1, 2, 3)]
    web = Greeter("10.9.0.9", 443, b"")
    try:
        home.found()
        home.settings(line__targets="a.mx.test b.mx.test c.mx.test", line__control="web.mx.test", line__mirror="mirror.test",
                      line__mirror_servers="127.0.0.1", line__lists="list.test", line__router="127.0.0.1")

        def measure(*wanted):
            home.visitor.fill("line", do="again")
            wait_for(lambda: home.state("line")["state"] != "waiting", 120, "it is still measured")
            return home.says("line", *wanted, seconds=5)

        with check("line: before anything is asked the page says whom and what"):
            page = home.page("line")
            assert "a connection to port 25 of gmail-smtp-in.l.google.com" in page and "without a letter" in page, page
            assert "Block lists whether zen.spamhaus.org" in page, page
        home.named("smith.test")
        home.reload()
        with check("line: a good one, and its address is unknown to change until it was seen twice"):
            measure("Direct", "Your line can run mail by itself.", "Letters out, over IPv4 ✓ open",
                    f"Your address is your own ✓ {SEEN}, not shared", "Name for the address (PTR) ✓ yours",
                    "Block list list.test ✓ not on it", "Your address stays the same … not known",
                    "Letters in, over IPv4 … can only be seen from outside", "Letters out, over IPv6 … no address of this kind")
            measure("Your address stays the same ✓ stays")
        with check("line: a list that cannot be asked lists nobody, a home's list is no reproach, a bad name is one"):
            for code, words in (("127.255.255.254", "… it does not answer through this name server"),
                                ("127.0.0.10", "✓ listed as a home, which is normal")):
                world.listed = code
                world.start()
                measure("Direct", f"Block list list.test {words}")
            world.listed = "127.0.0.2"
            world.start()
            measure("Direct in, relay out", "Your address has a bad name.", "list.test says: spam was sent from it.")
            world.listed = ""
        with check("line: an address without a name, and one with the provider's"):
            world.ptr = ""
            world.start()
            measure("Direct in, relay out", "Your address has no name of yours", "→ your provider must set it")
            world.ptr = "p7.pool.provider.test."
            world.start()
            measure("→ p7.pool.provider.test; your provider must change it")
            world.ptr = "mail.smith.test."
        with check("line: an address that changes is said to"):
            world.seen = "25.7.7.8"
            world.start()
            measure("… changes; the records have to follow")
            world.seen = SEEN
            world.start()
            measure("… changes; the records have to follow")
        with check("line: an address shared with other homes is named"):
            router.outer = "100.64.1.2"
            measure("Gateway", "Your provider shares one address among many homes, so no one can reach you.",
                    "✕ shared with other homes (CGNAT)")
            router.outer = SEEN
        with check("line: mail servers that refuse us are told from a port that is blocked"):
            for server in servers:
                server.words = b"554 no mail from there\r\n"
            measure("Letters from your address are refused.", "answered 554")
            for server in servers:
                server.end()
            measure("Direct in, relay out", "Your provider blocks sending.", "Ask your provider to open port 25",
                    "✕ blocked by the provider")
        with check("line: where nothing answers at all the line is down, not blocked"):
            web.end()
            page = measure("House only for now", "there is no internet.")
            assert "blocked" not in page, page
        with check("line: no name server is said to be that"):
            world.end()
            measure("House only for now", "no name on the internet can be looked up", "Restart the router")
        with check("line: without a way out it is measured when there is one again"):
            net.way_out(False)
            home.visitor.fill("line", do="again")
            home.says("line", "There is no way out of the house. I measure when it is back.")
            same(home.state("line")["words"], "waits for the internet")
            assert "There is no internet. Go on all the same" in home.page("network"), home.page("network")
            home.kill()
            home.serve()
            net.way_out(True)
            wait_for(lambda: home.state("line")["state"] == "done", 60, "it is not measured")

        home.visitor = Visitor(home)
        home.visitor.fill_at("/sign-in", phrase=PHRASE)
        with check("relay: what is wrong is said beside its field, and nothing is kept"):
            for fields, words in (({"host": "", "port": "465"}, "Type the name of the relay"),
                                  ({"host": "not a name", "port": "465"}, "That is not the name of a server."),
                                  ({"host": "smtp.p.test", "port": "0"}, "A port is a number from 1 to 65535"),
                                  ({"host": "smtp.p.test", "port": "465", "password": "x"}, "A password belongs to a user name"),
                                  ({"host": "smtp.p.test", "port": "465", "spf": "all +all"}, "no part of an SPF record")):
                reply = home.visitor.fill("line", do="relay", **fields)
                assert reply.startswith("HTTP/1.1 422 ") and words in words_of(reply), (fields, words_of(reply))
            assert 'host = ""' in (home.data / "settings.toml").read_text()
        with check("relay: its password is the owner's only and said nowhere, and the SPF record names it"):
            home.visitor.fill("line", do="relay", host="smtp.provider.test", port="587", tls="starttls", user="anna",
                              password="correct-horse-7", spf="include:_spf.provider.test")
            file = home.data / "relay-password"
            same((file.read_text(), file.stat().st_mode & 0o777), ("correct-horse-7", 0o600))
            host = f"127.0.0.1:{home.port(8080)}"
            cookies = "; ".join(f"{name}={value}" for name, value in home.visitor.cookies.items())
            page = home.get("/step/line", more=f"Cookie: {cookies}\r\n").decode()
            assert "smtp.provider.test" in page and "there is one; empty keeps it" in page, words_of(page)
            said = page + (home.data / "settings.toml").read_text() + home.log.read_text()
            assert "correct-horse" not in said + home.run("setup", "--json").stdout, "it was said"
            spf = next(r["value"] for r in home.json("dns", "records", "smith.test") if r["value"] and r["value"].startswith("v=spf1 mx"))
            assert "include:_spf.provider.test" in spf, spf
            home.visitor.fill("line", do="relay", host="smtp.provider.test", port="465", tls="implicit", user="anna", password="")
            same(file.read_text(), "correct-horse-7", "an empty one keeps it")
            home.visitor.fill("line", do="no-relay")
            assert not file.exists() and "Send through a relay" in home.page("line")
    finally:
        home.end(keep=check.failed > 0)
        world.end()
        router.end()
        for one in [*servers, web]:
            one.end()


SIX = "2a00:1:2:3::5"


def line_six(check, net):
    """A box with an IPv6 address of its own, where the two families of addresses fare differently."""
    run("ip", "addr", "add", f"{SIX}/64", "dev", "wan", "nodad")
    run("ip", "-6", "route", "add", "default", "via", "2a00:1:2:3::1", "dev", "wan")
    targets = [f"2a00:9::{last}" for last in (1, 2, 3)]
    for address in ("10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.9", *targets):
        subprocess.run(["ip", "addr", "replace", f"{address}/{128 if ':' in address else 32}", "dev", "lo",
                        *(["nodad"] if ":" in address else [])], check=True)
    names, router = Names(), Router(SEEN)
    names.six, names.ptr_six, names.targets_six = SIX, "mail.smith.test.", targets
    names.start()
    home = Home("homes-six")
    four = [Greeter(f"10.9.0.{last}", 25, b"220 mx ready\r\n") for last in (1, 2, 3)]
    six = [Greeter(address, 25, b"220 mx ready\r\n") for address in targets]
    web = Greeter("10.9.0.9", 443, b"")
    try:
        home.found()
        home.settings(line__targets="a.mx.test b.mx.test c.mx.test", line__control="web.mx.test", line__mirror="mirror.test",
                      line__mirror_servers="127.0.0.1", line__lists="list.test", line__router="127.0.0.1")
        home.named("smith.test")
        home.reload()

        def measure(*wanted):
            home.visitor.fill("line", do="again")
            wait_for(lambda: home.state("line")["state"] != "waiting", 120, "it is still measured")
            return home.says("line", *wanted, seconds=5)

        with check("line: both families go out, and the IPv6 address has a name of its own"):
            measure("Direct", "Letters out, over IPv4 ✓ open", "Letters out, over IPv6 ✓ open",
                    "Name for the address (PTR) ✓ yours", "Name for the IPv6 address ✓ yours")
        with check("line: an IPv6 address without a name, or with the provider's, is told apart from the IPv4 address"):
            for name, words in (("", "your provider must set it"), ("c5.pool.provider.test.", "c5.pool.provider.test; your provider must change it")):
                names.ptr_six = name
                names.start()
                measure("Name for the address (PTR) ✓ yours", f"Name for the IPv6 address → {words}")
            names.ptr_six = "mail.smith.test."
            names.start()
        with check("line: IPv6 that mail servers refuse, and IPv6 that is blocked, and IPv4 that is all the same open"):
            for server in six:
                server.words = b"554 no mail over six\r\n"
            page = measure("Direct", "Letters out, over IPv4 ✓ open", "Letters out, over IPv6 ✕ open, but")
            assert "answered 554" in page, page
            for server in six:
                server.end()
            measure("Direct", "Letters out, over IPv4 ✓ open", "Letters out, over IPv6 ✕ blocked by the provider")
        with check("line: port 25 is open over IPv6 alone, and letters go out by that"):
            for server in four:
                server.end()
            six = [Greeter(address, 25, b"220 mx ready\r\n") for address in targets]
            measure("Direct", "Letters out, over IPv4 ✕ blocked by the provider", "Letters out, over IPv6 ✓ open")
        with check("line: who is let in through the router is seen from inside, and a router that leads elsewhere is not believed"):
            four = [Greeter(f"10.9.0.{last}", 25, b"220 mx ready\r\n") for last in (1, 2, 3)]
            measure("Your own address, from inside … not reached", "Letters in, over IPv4 … can only be seen from outside")
            box = Forward(OWN, home.port(25), "127.0.0.1")
            with beyond(home.port(25)) as tell:
                measure("Direct", "Nothing is to be done.", "Letters in, over IPv4 ✓ open", "Your own address, from inside ✓ reached")
                tell("elsewhere")
                measure("Your own address, from inside … not reached", "Letters in, over IPv4 … can only be seen from outside")
            box.end()
        home.run("setup", "finish")
        home.stop()
        same(home.check(), "")
    finally:
        home.end(keep=check.failed > 0)
        names.end()
        router.end()
        for one in [*four, *six, web]:
            one.end()
        subprocess.run(["ip", "addr", "del", f"{SIX}/64", "dev", "wan"], stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def beyond(port):
    """A router with a network of its own at the other end of the box's cable. It has the world's address, and forwards the
    port to the box, also for who comes from inside; told so, to somebody else."""
    router = subprocess.Popen(["unshare", "--net", "--kill-child", "--fork", sys.executable, __file__, "router", str(port)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(words):
        router.stdin.write(words + "\n")
        router.stdin.flush()
        same(router.stdout.readline(), "done\n", words)
    try:
        pid = router.stdout.readline().strip()
        run("ip", "link", "set", "isp", "netns", pid)
        tell("forward")
        yield tell
    finally:
        with contextlib.suppress(OSError, AssertionError):
            # With its network the cable would be gone.
            tell(f"leave {os.getpid()}")
        router.stdin.close()
        router.wait(30)
        run("ip", "link", "set", "isp", "up")


def router_itself(port):
    print(os.getpid(), flush=True)
    there = None
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "forward":
            for words in ("link set lo up", f"addr add {SEEN}/32 dev lo", "addr add 192.168.20.1/24 dev isp", "link set isp up"):
                run("ip", *words.split())
            there = Forward(SEEN, port, OWN)
        elif word == "elsewhere":
            there.end()
            there = Greeter(SEEN, port, b"220 router.test a box of somebody else's\r\n")
        else:
            run("ip", "link", "set", "isp", "netns", rest)
        print("done", flush=True)


class Forward:
    """What comes to a port here goes on to the same one there."""

    def __init__(self, address, port, to):
        self.port, self.to = port, to
        self.socket = socket.create_server((address, port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                outer, _ = self.socket.accept()
                inner = socket.create_connection((self.to, self.port))
                for source, sink in ((outer, inner), (inner, outer)):
                    threading.Thread(target=self.pour, args=(source, sink), daemon=True).start()

    @staticmethod
    def pour(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(4096):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def end(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


# ---- a stranger who guesses the code

def guesses(check, net):
    """In real time; the hours that all fifty take are in a test of the pages with a clock of its own."""
    home = Home("homes-guesses")
    try:
        home.begin()
        with check("code: of 50 wrong ones at once five are looked at, and whoever comes then waits, the right one too"):
            code = home.code
            visitors = [Visitor(home) for _ in range(50)]
            with concurrent.futures.ThreadPoolExecutor(12) as pool:
                pages = list(pool.map(lambda one: one.fill("code", code="AAAA-AAAA"), visitors))
            began = time.monotonic()
            assert all(page.startswith("HTTP/1.1 422 ") for page in pages), {page[:40] for page in pages}
            said = collections.Counter(re.sub(r"[0-9]+", "N", re.search(r'role="alert">([^<]*)<', page)[1]) for page in pages)
            same(dict(said), {"That is not the code on the screen. N tries left.": 3, "That is not the code on the screen. N try left.": 1,
                              "That is not the code on the screen. The next try is possible in N seconds.": 1,
                              "Too many wrong tries. The next one is possible in N seconds.": 45}, "what the 50 were told")
            page = words_of(home.visitor.fill("code", code=code))
            assert "Too many wrong tries. The next one is possible in" in page, page
            same(home.code, code, "the code on the screen")
        with check("code: a restart is no way round the pause, and when it is over the right one is taken"):
            home.kill()
            home.begin()
            home.visitor = Visitor(home)
            assert "Too many wrong tries." in words_of(home.visitor.fill("code", code=code))
            began = time.monotonic()
            reply = ""
            while not reply.startswith("HTTP/1.1 303 "):
                assert time.monotonic() < began + 90, words_of(reply)
                time.sleep(1)
                reply = home.visitor.fill("code", code=code)
            print(f"       it was taken {time.monotonic() - began:.0f} s after the restart")
            assert time.monotonic() - began > 20, "it was taken too early"
            assert "You" in home.page("you")
    finally:
        home.end(keep=check.failed > 0)


# ---- records

def records(check, net):
    names = Names()
    home = Home("homes-records")

    def zone(**texts):
        names.zones = texts
        names.start()
    try:
        home.found()
        with check("domain: nobody knows it"):
            page = words_of(home.visitor.fill("domain", name="smith", host="mail"))
            assert "smith is not the name of a domain. One looks like smith.example." in page, page
            assert "I have none yet" in page and "Stay within the house for now" in page, page
        with check("domain: one that gets mail elsewhere is not taken by accident, and both ways are offered"):
            zone(busy="@ MX 10 aspmx.l.google.com.\n@ TXT \"v=spf1 include:_spf.google.com ~all\"\n")
            page = words_of(home.visitor.fill("domain", name="busy.test", host="mail"))
            assert "busy.test already gets mail at aspmx.l.google.com. You can begin with mail.busy.test" in page, page
            assert "Use mail.busy.test first" in page and "Prepare to move busy.test here" in page, page
            assert not home.open(25), "it was taken"
            reply = home.visitor.fill("domain", name="busy.test", host="mail", do="take-over")
            assert reply.startswith("HTTP/1.1 303 "), words_of(reply)
            home.says("dns", "busy.test has mail elsewhere already.", "already gets its mail at Google",
                      "To move on a day of your choice", "There may be only one, so do not add a second",
                      "v=spf1 mx include:_spf.google.com ~all", "mail is brought elsewhere")
        with check("domain: one that is registered nowhere is said to be that"):
            reply = home.visitor.fill("domain", name="nowhere.test", host="mail")
            assert reply.startswith("HTTP/1.1 303 "), words_of(reply)
            home.says("dns", "is it registered, and is the internet reached?")
        zone(smith="")
        home.visitor.fill("domain", name="smith.test", host="mail")
        cookies = lambda: "; ".join(f"{name}={value}" for name, value in home.visitor.cookies.items())
        with check("records: what is not there yet says until about when, and every record can be copied"):
            page = home.says("dns", "not there yet (normal, until about", "0 of ", "All of it at once")
            home.visitor.fill("family", name="Ben", local="ben")
        file = home.get("/zone/full", more=f"Cookie: {cookies()}\r\n").decode()
        with check("records: the zone file is the administrator's to fetch, and nobody else's"):
            assert 'Content-Disposition: attachment; filename="smith.test.zone"' in file, file[:800]
            assert " IN MX 10 mail.smith.test." in file and "PRIVATE" not in file
            assert home.get("/zone/full").startswith(b"HTTP/1.1 303 "), "a stranger has it"
            short = home.get("/zone/relative", more=f"Cookie: {cookies()}\r\n").decode()
            assert "\n@ 3600 IN MX 10 mail.smith.test." in short, short[:800]
        text = file.split("\r\n\r\n", 1)[1]
        with check("records: the file in the domain's name server makes them right"):
            zone(smith=text)
            home.visitor.fill("dns", do="again")
            wait_for(lambda: home.state("dns")["state"] == "done", 90, home.page("dns")[:400])
        with check("records: what people paste wrongly is said beside the record"):
            key = next(r for r in home.json("dns", "records", "smith.test") if r["value"] and r["value"].startswith("v=DKIM1; k=rsa"))
            rest = [line for line in text.splitlines() if "k=rsa" not in line and "_dmarc" not in line and "_smtp._tls" not in line]
            wrong = [f'{key["name"]}. TXT "{part}"' for part in key["parts"]]
            dmarc = next(r["value"] for r in home.json("dns", "records", "smith.test") if r["name"] == "_dmarc.smith.test")
            wrong.append(f'_dmarc.smith.test. TXT "\\"{dmarc}\\""')
            wrong.append('_smtp._tls.smith.test.smith.test. TXT "v=TLSRPTv1; rua=mailto:postmaster@smith.test"')
            zone(smith="\n".join(rest + wrong) + "\n")
            home.visitor.fill("dns", do="again")
            home.says("dns", "there, but different", "in 2 pieces, each as a record of its own: enter it whole, in one record",
                      "the quotation marks have become a part of the text: enter it without them", "enter only _smtp._tls")
            same(home.state("dns")["state"], "needs-you")
        with check("records: name servers that do not answer are said to be that, and nothing else waits for them"):
            names.end()
            home.visitor.fill("dns", do="again")
            home.says("dns", "cannot ask")
            assert "has a letter box" in words_of(home.visitor.fill("family", name="Cleo", local="cleo"))
    finally:
        home.end(keep=check.failed > 0)
        names.end()


# ---- power cuts, two browsers, a page that was closed

def cuts(check, net):
    home = Home("homes-cuts")

    def cut(step, sign_in=True):
        """The power goes; the same step is there again, as it was."""
        before = home.state(step)
        home.kill()
        home.begin()
        same(home.state(step), before, f"{step} after the cut")
        if sign_in:
            home.visitor = Visitor(home)
            reply = home.visitor.fill_at("/sign-in", phrase=PHRASE)
            assert reply.startswith("HTTP/1.1 303 "), words_of(reply)
    try:
        with check("cuts: the power goes behind every step, and each goes on where it was"):
            home.begin()
            code = home.code
            home.visitor.fill("language", language="en", zone="Europe/Berlin")
            cut("language", sign_in=False)
            same(home.code, code, "the code on the screen")
            home.visitor = Visitor(home)
            home.visitor.fill("code", code=home.code)
            cut("code", sign_in=False)
            home.visitor = Visitor(home)
            home.visitor.fill("code", code=home.code)
            home.visitor.fill("origin", origin="new")
            cut("origin", sign_in=False)
            home.visitor = Visitor(home)
            home.visitor.fill("code", code=home.code)
            reply = home.visitor.fill("you", name="Anna Smith", local="anna", phrase=PHRASE, phrase2=PHRASE)
            assert reply.startswith("HTTP/1.1 303 "), words_of(reply)
            cut("you")
            assert "code " not in (home.data / "setup" / "shown").read_text(), "the code is shown again"
            home.named("smith.test")
            cut("domain")
            home.wait(lambda: home.open(25), 60, "25 opens again")
            home.visitor.fill("family", name="Ben Smith", local="ben")
            cut("family")
            home.visitor.fill("letter", do="later")
            cut("letter")
        with check("cuts: whose first pass phrase was not seen gets another, until that person has come in"):
            phrases = []
            for _ in range(2):
                page = words_of(home.visitor.fill("family", name="Cleo Smith", local="cleo"))
                assert "cleo@smith.test has a letter box." in page, page
                phrases.append(re.search(r"\b([a-z]+(?:-[a-z]+){4})\b", page)[1])
            assert phrases[0] != phrases[1]
            home.imap("cleo@smith.test", phrases[1]).logout()
            page = words_of(home.visitor.fill("family", name="Cleo Smith", local="cleo"))
            assert "has a letter box" not in page, "a person's own pass phrase was taken away"
            people = sorted(one["address"] for one in home.json("account", "list"))
            same(people, ["anna@smith.test", "ben@smith.test", "cleo@smith.test"])
        with check("two browsers: both see the same, and the last word counts"):
            other = Visitor(home)
            other.fill_at("/sign-in", phrase=PHRASE)
            home.visitor.fill("domain", name="miller.test", host="mail")
            mine, home.visitor = home.visitor, other
            assert "miller.test is your domain" in home.page("domain").replace("✓ ", ""), home.page("domain")
            home.visitor.fill("domain", name="smith.test", host="mail")
            home.visitor = mine
            assert "smith.test is your domain" in home.page("domain").replace("✓ ", ""), home.page("domain")
            same(home.json("domain", "list"), [{"domain": "smith.test"}])
            home.run("setup", "finish")
            home.stop()
            same(home.check(), "")
    finally:
        home.end(keep=check.failed > 0)


# ---- the same from a file

def shape(home):
    """What a set-up leaves, without what is made by chance."""
    home.stop()
    files = sorted(str(path.relative_to(home.data)) for path in home.data.rglob("*")
                   if path.is_file() and "segments" not in str(path) and path.name != "lock")
    people = [{key: value for key, value in one.items() if key not in ("id", "created")} for one in home.json("account", "list")]
    found = [{key: record[key] for key in ("name", "type", "priority", "ttl", "purpose", "publish")}
             for record in home.json("dns", "records", "smith.test")]
    return {"settings": (home.data / "settings.toml").read_text(), "people": people, "records": found,
            "domains": home.json("domain", "list"), "files": files, "check": home.check()}


def from_a_file(check, net):
    browser, file, names = Home("homes-browser"), Home("homes-file"), Names()
    try:
        with check("homepost.toml alone makes the same settings, people, domains and records as the browser"):
            browser.found()
            browser.visitor.fill("line", do="relay", host="smtp.provider.test", port="587", tls="starttls", user="anna",
                                 password="correct-horse-7", spf="include:_spf.provider.test")
            browser.named("smith.test")
            browser.visitor.fill("certificate", accepted="yes", contact="anna@elsewhere.test")
            browser.visitor.fill("family", name="Ben Smith", local="ben")
            browser.run("setup", "finish")
            browser.wait(lambda: not browser.open(8080), 30, "8080 closes")
            # What belongs to the set-up goes after its last page, so that this can be read to its end.
            browser.wait(lambda: not (browser.data / "setup").exists(), 30, "the set-up is put away")
            said = ('hostname = "mail.smith.test"\ndomain = "smith.test"\nadmin = "anna@smith.test"\nname = "Anna Smith"\n'
                    f'password = "{PHRASE}"\ntime-zone = "Etc/UTC"\nlanguage = "en"\n'
                    '[relay]\nhost = "smtp.provider.test"\ntls = "starttls"\nuser = "anna"\npassword = "correct-horse-7"\n'
                    'spf = "include:_spf.provider.test"\n'
                    '[certificate]\naccept-terms = true\ncontact = "anna@elsewhere.test"\n'
                    '[[family]]\nname = "Ben Smith"\naddress = "ben@smith.test"\npassword = "otter lamp boat"\n')
            file.begin()
            # A mistake in its last line: nothing is done, and the page still asks for the code.
            wrong = file.run("init", "--from", "-", input=said.replace("otter lamp boat", "12345678"), ok=False)
            assert wrong.returncode == 1 and "line 20: This password cannot be used" in wrong.stderr, wrong
            assert file.code and not (file.data / "settings.toml").exists()
            told = file.run("init", "--from", "-", input=said).stdout
            assert "is set up: mail.smith.test takes mail for smith.test, anna@smith.test is its administrator." in told, told
            assert not any(secret in told for secret in (PHRASE, "correct-horse", "otter")), told
            file.wait(lambda: not file.open(8080), 30, "8080 closes")
            file.wait(lambda: not (file.data / "setup").exists(), 30, "the set-up is put away")
            file.imap("anna@smith.test", PHRASE).logout()
            file.imap("ben@smith.test", "otter lamp boat").logout()
            same((file.data / "relay-password").read_text(), "correct-horse-7")
            browser.imap("anna@smith.test", PHRASE).logout()
            one, two = shape(browser), shape(file)
            for what in one:
                if what == "files":
                    # Only who was shown a recovery sheet has its hash.
                    one[what].remove("recovery")
                same(two[what], one[what], what)
        file.end()
        file.__init__("homes-file")
        with check("homepost.toml: of a domain with mail elsewhere the way has to be said, and the same file goes on then"):
            names.zones = {"busy": "@ MX 10 aspmx.l.google.com.\n"}
            names.start()
            said = f'admin = "anna"\npassword = "{PHRASE}"\ntime-zone = "Europe/Berlin"\ndomain = "busy.test"\n'
            # No server runs: so it is on a box, before the first one starts.
            wrong = file.run("init", "--from", "-", input=said, ok=False).stderr
            assert "line 4: busy.test already gets mail at aspmx.l.google.com." in wrong and 'existing-mail = "trial"' in wrong, wrong
            told = file.run("init", "--from", "-", input=said + 'existing-mail = "trial"\n').stdout
            assert "post.mail.busy.test takes mail for mail.busy.test, anna@mail.busy.test is its administrator." in told, told
            assert not (file.data / "setup").exists()
            again = file.run("init", "--from", "-", input=said, ok=False)
            assert again.returncode == 1 and "is set up already" in again.stderr, again
            file.serve()
            assert not file.open(8080)
            file.imap("anna@mail.busy.test", PHRASE).logout()
            file.stop()
            same(file.check(), "")
        file.end()
        file.__init__("homes-file")
        with check("homepost.toml: without a domain, without the time and without name servers it is taken too, and the rest waits"):
            names.end()
            net.clock(False)
            file.run("init", "--from", "-", input=f'admin = "anna"\npassword = "{PHRASE}"\nhouse-only = true\n')
            same(file.json("domain", "list"), [{"domain": "home.arpa"}])
            file.end()
            file.__init__("homes-file")
            said = f'admin = "anna"\npassword = "{PHRASE}"\ndomain = "smith.test"\ncertificate = {{ accept-terms = true }}\n'
            told = file.run("init", "--from", "-", input=said).stdout
            assert "Certificate: waits for the clock." in told, told
            file.serve()
            file.imap("anna@smith.test", PHRASE).logout()
            file.stop()
        with check("setup: the relay is an answer of the command line too"):
            net.clock(True)
            file.end()
            file.__init__("homes-file")
            file.found()
            refused = file.run("setup", "relay", "not a name", ok=False)
            assert refused.returncode == 1 and "That is not the name of a server." in refused.stderr, refused
            file.run("setup", "relay", "smtp.provider.test", "--tls", "starttls", "--user", "anna", "--password-stdin",
                     input="correct-horse-7\n")
            settings = (file.data / "settings.toml").read_text()
            assert 'host = "smtp.provider.test"' in settings and "port = 587" in settings, settings
            same((file.data / "relay-password").read_text(), "correct-horse-7")
            file.run("setup", "relay", "--none")
            assert not (file.data / "relay-password").exists()
    finally:
        net.clock(True)
        names.end()
        browser.end(keep=check.failed > 0)
        file.end(keep=check.failed > 0)


PARTS = {"certificate": certificate, "clock": wrong_clock, "line": line, "six": line_six, "guesses": guesses,
         "records": records, "cuts": cuts,
         "file": from_a_file}


def main():
    if sys.argv[1:2] == ["router"]:
        return router_itself(int(sys.argv[2]))
    if sys.argv[1:2] != ["inside"]:
        inside(__file__)
    check = Checks()
    net = Net()
    for name in sys.argv[2:] or PARTS:
        PARTS[name](check, net)
    leave()
    check.end()


if __name__ == "__main__":
    main()
