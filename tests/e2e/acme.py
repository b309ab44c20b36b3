"""Certificates from an authority: pebble on loopback, looking at the shifted ports of a real homepost.

Two pebbles stand for the authority and its staging directory; pebble-challtestsrv is the name server they ask.
"""

import calendar
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

from house import Checks, House, anyone, same

HOST = "mail.example.test"
CLIENTS = [f"{below}.example.test" for below in ("mta-sts", "autoconfig", "autodiscover", "ua-auto-config")]
KEY_ID, KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class Process:
    """Ends with the test, by its own pid."""

    def __init__(self, log, *words, env=None):
        self.log = log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env={**os.environ, **(env or {})})

    def said(self):
        return self.log.read_text(errors="replace")

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(20)


def wait_for(what, seconds=60, words="it did not happen"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.1)
    raise AssertionError(f"{words} within {seconds} s")


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


class World:
    """The authorities, their name server, and the certificate of their own servers."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []
        self.make_root()
        self.dns, self.manage = free_port(), free_port()
        self.start("dns", "pebble-challtestsrv", "-dns01", f"127.0.0.1:{self.dns}", "-http01", "", "-https01", "",
                   "-tlsalpn01", "", "-management", f"127.0.0.1:{self.manage}", "-defaultIPv4", "127.0.0.1",
                   "-defaultIPv6", "")
        wait_for(lambda: answers(self.manage), words="challtestsrv does not listen")

    def make_root(self):
        at = self.folder
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("openssl", "req", "-x509", *curve, "-keyout", at / "root.key", "-out", at / "root.pem", "-days", "30",
            "-subj", "/CN=Root of the test")
        run("openssl", "req", *curve, "-keyout", at / "api.key", "-out", at / "api.csr", "-subj", "/CN=localhost")
        (at / "api.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        run("openssl", "x509", "-req", "-in", at / "api.csr", "-CA", at / "root.pem", "-CAkey", at / "root.key",
            "-CAcreateserial", "-days", "30", "-extfile", at / "api.ext", "-out", at / "api.pem")

    def start(self, name, *words, env=None):
        process = Process(self.folder / f"{name}.log", *words, env=env)
        self.running.append(process)
        return process

    def pebble(self, name, http_port, tls_port, binding=False, validity=90 * 86_400):
        """Another authority; gives its process and its directory."""
        port, manage = free_port(), free_port()
        config = {"pebble": {
            "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{manage}",
            "certificate": str(self.folder / "api.pem"), "privateKey": str(self.folder / "api.key"),
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": binding, "externalAccountMACKeys": {KEY_ID: KEY},
            "domainBlocklist": ["autodiscover.refused.test"], "certificateValidityPeriod": validity}}
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config))
        # Every name is looked at anew, and at once; the refused nonces stay at their usual share.
        process = self.start(name, "pebble", "-config", str(file), "-strict", "-dnsserver", f"127.0.0.1:{self.dns}",
                             env={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"})
        wait_for(lambda: answers(port), 180, f"{name} does not listen")
        process.port = port
        return process, f"https://localhost:{port}/dir"

    def tell_dns(self, verb, **what):
        body = json.dumps(what).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.manage}/{verb}", body, timeout=20):
            pass

    def end(self):
        for process in reversed(self.running):
            process.end()


class Box(House):
    """A household whose settings the test writes."""

    def is_free(self, port):
        return not answers(self.port(port))

    def settings(self, **acme):
        """Sets values in [acme], or others by their whole key with __ for the dots."""
        path = self.data / "settings.toml"
        text = path.read_text()
        for key, value in acme.items():
            section, name = "acme", key
            if "__" in key:
                section, name = key.rsplit("__", 1)
                section = section.replace("__", ".")
            value = json.dumps(value)
            at = text.index(f"[{section}]\n")
            end = text.find("\n[", at + 1)
            end = len(text) if end < 0 else end
            part, count = re.subn(rf"(?m)^(?:# )?{name} = .*$", lambda _: f"{name} = {value}", text[at:end])
            assert count == 1, (key, part)
            text = text[:at] + part + text[end:]
        path.write_text(text)

    def reload(self):
        before = self.log.read_text(errors="replace").count("reloaded")
        os.kill(self.process.pid, 1)
        wait_for(lambda: self.log.read_text(errors="replace").count("reloaded") > before, words="no reload")

    def groups(self):
        return {entry["group"]: entry for entry in self.json("cert", "list")}

    def serial(self, name=HOST, port=993, live=None):
        """Of the certificate that this name gets, or of an open connection."""
        if live is not None:
            return serial_of(live.getpeercert(True))
        with socket.create_connection(("127.0.0.1", self.port(port)), timeout=60) as plain:
            with anyone().wrap_socket(plain, server_hostname=name) as tls:
                return serial_of(tls.getpeercert(True))


def serial_of(der):
    words = run("openssl", "x509", "-noout", "-serial", input=ssl.DER_cert_to_PEM_cert(der))
    digits = words.strip().split("=")[1].lower()
    return digits.lstrip("0")


def same_serial(entry, got, what=""):
    same(got, entry["serial"].lstrip("0"), what)


class Suggesting(http.server.BaseHTTPRequestHandler):
    """Stands before pebble and offers windows for renewal (RFC 9773), which pebble 2.4 does not."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith("/renewal-info/"):
            self.server.asked.append(self.path.rsplit("/", 1)[1])
            start, end = self.server.window
            moment = lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
            body = json.dumps({"suggestedWindow": {"start": moment(start), "end": moment(end)}}).encode()
            self.answer(200, [("Content-Type", "application/json"), ("Retry-After", "60")], body)
        else:
            self.passed("GET", None)

    def do_HEAD(self):
        self.passed("HEAD", None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/order-plz":
            import base64
            payload = json.loads(body)["payload"]
            order = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            self.server.orders.append(order)
        self.passed("POST", body)

    def passed(self, method, body):
        line = http.client.HTTPSConnection("127.0.0.1", self.server.behind, context=anyone(), timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
        line.request(method, self.path, body, headers)
        reply = line.getresponse()
        body = reply.read()
        if self.path == "/dir":
            directory = json.loads(body)
            directory["renewalInfo"] = f"https://localhost:{self.server.server_address[1]}/renewal-info"
            body = json.dumps(directory).encode()
        keep = ("content-type", "location", "link", "replay-nonce", "retry-after")
        self.answer(reply.status, [(k, v) for k, v in reply.getheaders() if k.lower() in keep], body)
        line.close()

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


def suggesting(world, behind):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Suggesting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.folder / "api.pem", world.folder / "api.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    server.behind, server.asked, server.orders = behind, [], []
    server.window = (time.time() + 600, time.time() + 700)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"https://localhost:{server.server_address[1]}/dir"


def secrets(box):
    """Lines of every key that is kept, as they would appear in an output."""
    out = []
    for file in (box.data / "tls").iterdir():
        text = file.read_text()
        keys = re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)\n-----END", text, re.S)
        out += [line for key in keys for line in key.splitlines() if len(line) > 20]
        if file.suffix == ".json" and file.name != "state.json":
            out += [value for key, value in json.loads(text).items() if key in ("key_pkcs8", "key")]
    assert len(out) > 3, out
    return out


def main():
    check = Checks()
    box = Box("acme")
    world = World(box.folder)
    try:
        play(check, box, world)
    finally:
        box.end(keep=check.failed > 0)
        world.end()
    if not check.failed:
        shutil.rmtree(box.folder, ignore_errors=True)
    check.end()


def served(box, name):
    """The certificate that this name is shown, DER."""
    with socket.create_connection(("127.0.0.1", box.port(443)), timeout=30) as plain:
        with anyone().wrap_socket(plain, server_hostname=name) as tls:
            return tls.getpeercert(True)


def play(check, box, world):
    ca, directory = world.pebble("ca", box.port(80), box.port(443))
    stage, staging = world.pebble("stage", box.port(80), box.port(443))
    box.init()
    for name in ("root.pem", "api.key"):
        shutil.copy(world.folder / name, box.data / name)  # the server can read nothing outside
    box.settings(directory=directory, staging=staging, root="root.pem", contact="anna@example.test")
    box.serve()

    with check("the host and the domain each get a certificate, after a rehearsal"):
        def both():
            groups = box.groups()
            return groups if all(groups.get(id, {}).get("source") for id in ("host", "domain-example.test")) else None
        groups = wait_for(both, 240, "no certificates")
        same(groups["host"]["covers"], [HOST])
        same(sorted(groups["domain-example.test"]["covers"]), sorted(CLIENTS))
        assert groups["host"]["issuer"] and groups["host"]["next"] < groups["host"]["until"], groups["host"]
        assert groups["host"]["problem"] is None and groups["host"]["alarm"] is None, groups["host"]
        assert box.log.read_text().count("the rehearsal of the certificate went well") == 2, box.tail()
        assert stage.said().count("Issued certificate") == 2 and ca.said().count("Issued certificate") == 2, "rehearsal"

    with check("each name is served with its own, also on the other ports"):
        groups = box.groups()
        for name, id in ((HOST, "host"), ("mta-sts.example.test", "domain-example.test"), ("other.test", "host")):
            for port in (993, 465, 443):
                same_serial(groups[id], box.serial(name, port), f"{name} {port}")
        assert "Pebble" in box.run("cert", "list").stdout
        digest = hashlib.sha256(served(box, HOST)).hexdigest()
        tlsa = [r["value"] for r in box.json("dns", "records", "example.test") if r["type"] == "TLSA"]
        assert f"3 0 1 {digest}" in tlsa, (digest, tlsa)

    with check("what is kept is the owner's only, and no key is said anywhere"):
        for file in (box.data / "tls").iterdir():
            same(file.stat().st_mode & 0o777, 0o600, file.name)
        said = box.log.read_text() + box.run("cert", "list").stdout + box.run("cert", "list", "--json").stdout
        said += box.run("cert", "account").stdout
        for secret in secrets(box):
            assert secret not in said, "a key was said"
        assert box.json("cert", "account")["account"].startswith("https://localhost:"), "no account"

    with check("a renewal swaps the certificate; a connection that stands goes on"):
        live = box.imap()
        old = box.serial(live=live.socket())
        same_serial(box.groups()["host"], old)
        assert "Nothing is due" in box.run("cert", "renew").stdout
        same(box.serial(), old, "nothing was due")
        box.run("cert", "renew", HOST, "--force")
        new = box.serial()
        assert new != old, "the same certificate"
        same_serial(box.groups()["host"], new)
        live.noop()
        same(box.serial(live=live.socket()), old, "the old connection keeps what it began with")
        live.logout()
        same(ca.said().count("Issued certificate"), 3)
        same(stage.said().count("Issued certificate"), 2, "a smooth renewal needs no rehearsal")

    with check("by http-01 on a port that is open only then, and leads to HTTPS"):
        box.settings(challenge="http-01")
        box.reload()
        assert box.is_free(80), "the port is open for no reason"
        seen = {}

        def look():
            while "done" not in seen:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    line = http.client.HTTPConnection("127.0.0.1", box.port(80), timeout=5)
                    line.request("GET", "/some?where", headers={"Host": "evil.test"})
                    reply = line.getresponse()
                    seen["status"], seen["to"] = reply.status, reply.getheader("Location")
                time.sleep(0.02)

        watcher = threading.Thread(target=look)
        watcher.start()
        box.run("cert", "renew", HOST, "--force")
        seen["done"] = True
        watcher.join(30)
        same((seen.get("status"), seen.get("to")), (301, f"https://{HOST}:{box.port(443)}/some?where"))
        wait_for(lambda: box.is_free(80), 10, "the port stays open")
        assert "is open for the authority" in box.log.read_text(), box.tail()

    with check("one name that fails is said and left out, and the others are renewed"):
        world.tell_dns("set-servfail", host="autoconfig.example.test")
        done = box.run("cert", "renew", "mta-sts.example.test", "--force", ok=False)
        same(done.returncode, 1)
        assert "autoconfig.example.test" in done.stderr and "name servers" in done.stderr, done.stderr
        groups = box.groups()
        same(sorted(groups["domain-example.test"]["covers"]), sorted(set(CLIENTS) - {"autoconfig.example.test"}))
        alone = groups["name-autoconfig.example.test"]
        same((alone["source"], alone["problem"]["name"]), (None, "autoconfig.example.test"))
        assert alone["next"], alone
        same_serial(groups["domain-example.test"], box.serial("mta-sts.example.test"))

    with check("when it is mended it is got alone, and at the next renewal it is among the others again"):
        world.tell_dns("clear-servfail", host="autoconfig.example.test")
        box.run("cert", "renew", "autoconfig.example.test")
        groups = box.groups()
        same(groups["name-autoconfig.example.test"]["covers"], ["autoconfig.example.test"])
        same_serial(groups["name-autoconfig.example.test"], box.serial("autoconfig.example.test"))
        box.run("cert", "renew", "mta-sts.example.test", "--force")
        groups = box.groups()
        assert "name-autoconfig.example.test" not in groups, groups.keys()
        same(sorted(groups["domain-example.test"]["covers"]), sorted(CLIENTS))

    with check("a name that the authority refuses sinks no other of its domain"):
        box.settings(challenge="auto", staging="")
        box.reload()
        box.run("domain", "add", "refused.test")
        done = box.run("cert", "renew", "mta-sts.refused.test", ok=False)
        groups = wait_for(lambda: "domain-refused.test" in box.groups() and box.groups(), 60)
        same(sorted(groups["domain-refused.test"]["covers"]),
             ["autoconfig.refused.test", "mta-sts.refused.test", "ua-auto-config.refused.test"], done.stderr)
        same(groups["name-autodiscover.refused.test"]["problem"]["cause"], "refused")
        box.run("domain", "delete", "refused.test")
        wait_for(lambda: (box.run("cert", "renew"), "domain-refused.test" not in box.groups())[1], 20)
        assert not (box.data / "tls" / "domain-refused.test.pem").exists(), "it stays for no reason"

    with check("the port of HTTPS alone proves a name, and goes on answering"):
        box.settings(challenge="tls-alpn-01")
        box.reload()
        old = box.serial()
        box.run("cert", "renew", HOST, "--force")
        assert box.serial() != old, "no new certificate"
        with socket.create_connection(("127.0.0.1", box.port(443)), timeout=30) as plain:
            with anyone().wrap_socket(plain, server_hostname=HOST) as tls:
                tls.sendall(f"GET /mail/config-v1.1.xml HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                heard = b"".join(iter(lambda: tls.recv(4096), b"")).lower()
        assert heard.startswith(b"http/1.1 200 ") and b"strict-transport-security: max-age=" in heard, heard
        box.settings(challenge="auto")
        box.reload()

    with check("what can go wrong is said in the owner's words"):
        same(box.run("listeners", "off", "https").returncode, 0)
        box.settings(challenge="tls-alpn-01")
        box.reload()
        done = box.run("cert", "renew", HOST, "--force", ok=False)
        assert "no way to prove" in done.stderr, done.stderr
        box.settings(challenge="auto")
        box.reload()
        box.run("cert", "renew", HOST, "--force")  # by http-01, since 443 is off
        box.run("listeners", "on", "https")
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", box.port(80)))
            taken.listen()
            box.settings(challenge="http-01")
            box.reload()
            done = box.run("cert", "renew", HOST, "--force", ok=False)
            assert "cannot be opened here" in done.stderr, done.stderr
        box.settings(challenge="auto", root="api.key")
        box.reload()
        box.settings(root="")
        box.reload()
        done = box.run("cert", "renew", HOST, "--force", ok=False)
        assert "acme.root" in done.stderr, done.stderr
        box.settings(root="root.pem", directory=f"https://localhost:{free_port()}/dir")
        box.reload()
        done = box.run("cert", "renew", HOST, "--force", ok=False)
        assert "cannot be reached" in done.stderr, done.stderr
        entry = box.groups()["host"]
        same(entry["problem"]["cause"], "away")
        same_serial(entry, box.serial(), "the old one stays")

    with check("an authority that forgot our account gets another"):
        box.settings(directory=directory)
        box.reload()
        ca.end()
        port = ca.port
        again = world.start("ca", "pebble", "-config", str(world.folder / "ca.json"), "-strict", "-dnsserver",
                            f"127.0.0.1:{world.dns}", env={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"})
        again.port = port
        wait_for(lambda: answers(port), 180, "pebble does not come back")
        old = box.serial()
        done = box.run("cert", "renew", HOST, "--force", ok=False)
        assert box.serial() != old, done.stderr
        assert again.child.poll() is None

    with check("an authority that wants its own account gets the key, from standard input only"):
        bound, bound_directory = world.pebble("bound", box.port(80), box.port(443), binding=True)
        box.settings(directory=bound_directory)
        box.reload()
        done = box.run("cert", "renew", HOST, "--force", ok=False)
        assert "--eab-key-id" in done.stderr, done.stderr
        same(box.run("cert", "account", "--eab-key-id", KEY_ID, input="short\n", ok=False).returncode, 1)
        box.run("cert", "account", "--eab-key-id", KEY_ID, input=KEY + "\n")
        old = box.serial()
        box.run("cert", "renew", HOST, "--force")
        assert box.serial() != old and "Issued certificate" in bound.said()
        assert KEY not in box.log.read_text(), "the key was said"

    with check("a certificate of one's own is taken if it fits, and serves until it is removed"):
        at = world.folder
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at / "my.key",
            "-out", at / "my.pem", "-days", "30", "-subj", "/CN=x", "-addext", f"subjectAltName=DNS:{HOST}")
        before = box.serial()
        done = box.run("cert", "import", "--chain", str(at / "my.pem"), "--key", str(at / "api.key"), ok=False)
        same((done.returncode, box.serial()), (1, before), done.stderr)
        box.run("cert", "import", "--chain", str(at / "my.pem"), "--key", str(at / "my.key"))
        entry = box.groups()[f"import-{HOST}"]
        same(entry["source"], "imported")
        same_serial(entry, box.serial())
        assert "Nothing is due" in box.run("cert", "renew", HOST, "--force").stdout, "it needs no other now"
        box.run("cert", "remove", HOST)
        same(box.serial(), before)
        same(box.run("cert", "remove", HOST, ok=False).returncode, 1)

    with check("the authority's window is asked for and followed when it moves; the order says what it replaces"):
        short, _ = world.pebble("short", box.port(80), box.port(443), validity=1200)
        server, suggested = suggesting(world, short.port)
        box.settings(directory=suggested)
        box.reload()
        seconds = lambda words: calendar.timegm(time.strptime(words, "%Y-%m-%dT%H:%M:%SZ"))
        wait_for(lambda: server.window[0] - 1 <= seconds(box.groups()["host"]["next"]) <= server.window[1] + 1, 90,
                 "the window does not count")
        assert server.asked, "it was not asked"
        old = box.serial()
        server.window = (time.time() - 7200, time.time() - 3600)  # replace it now
        box.stop()
        box.serve()
        # A new start does not forget when it may ask again (60 s), nor that the certificate is new (a twentieth of its life).
        wait_for(lambda: box.serial() != old, 150, "the window that moved was not followed")
        replaced = [order.get("replaces") for order in server.orders if order.get("replaces")]
        assert replaced and replaced[0] in server.asked, (replaced, server.asked)
        server.shutdown()

    with check("the same serve after a new start, and when no server runs they are listed and not renewed"):
        box.settings(directory=directory)
        box.stop()
        serial = box.groups()["host"]["serial"]
        done = box.run("cert", "renew", "--force", ok=False)
        assert "has to run" in done.stderr, done.stderr
        box.serve()
        same(box.serial(), serial.lstrip("0"))
        box.stop()
        same(box.check(), "")


if __name__ == "__main__":
    main()
