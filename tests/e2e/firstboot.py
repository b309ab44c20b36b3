"""From nothing to the first letter from the world, as it is in a home: a browser on the couch, the domain's own name server, an
authority that looks at the ports where they belong, and somebody else's Postfix. Everything lives in network namespaces.

Screenshots lie in target/e2e/firstboot-shots afterwards.
"""

import http.client
import imaplib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
import urllib.request

import world
from bind import Bind, tool
from house import BINARY, ROOT, TARGET, Checks, House, same
from world import AUTHORITY, BOX, NAMES, OFFICE, run

DOMAIN, HOST = "smith.test", "mail.smith.test"
PHRASE = "river oak lantern moon"
LETTER = b"From: Aunt <aunt@elsewhere.test>\r\nTo: anna@smith.test\r\nSubject: Welcome\r\n\r\nHow lovely.\r\n"
SHOTS = TARGET / "e2e" / "firstboot-shots"
KEY = "c2VjcmV0IG9mIHRoZSB0ZXN0LCAzMiBieXRlcyBsb25n"
ZONES = {
    DOMAIN: f"$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A {NAMES}\n@ TXT \"google-site-verification=x\"\n",
    "elsewhere.test": f"$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A {NAMES}\n@ MX 10 mail\nmail A {OFFICE}\n"
                      "@ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n",
    "authority.test": f"$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A {NAMES}\nacme A {AUTHORITY}\n",
}


class Authority:
    """A pebble that asks the domain's name server, and looks at 80 and 443."""

    def __init__(self, folder):
        self.folder = folder
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("openssl", "req", "-x509", *curve, "-keyout", folder / "root.key", "-out", folder / "root.pem", "-days", "30",
            "-subj", "/CN=Root of the test")
        run("openssl", "req", *curve, "-keyout", folder / "api.key", "-out", folder / "api.csr", "-subj", "/CN=acme.authority.test")
        (folder / "api.ext").write_text("subjectAltName=DNS:acme.authority.test\nbasicConstraints=CA:FALSE\n")
        run("openssl", "x509", "-req", "-in", folder / "api.csr", "-CA", folder / "root.pem", "-CAkey", folder / "root.key",
            "-CAcreateserial", "-days", "30", "-extfile", folder / "api.ext", "-out", folder / "api.pem")
        (folder / "pebble.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"{AUTHORITY}:443", "managementListenAddress": f"{AUTHORITY}:15000",
            "certificate": str(folder / "api.pem"), "privateKey": str(folder / "api.key"),
            "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": False}}))
        self.log = folder / "pebble.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["pebble", "-config", str(folder / "pebble.json"), "-strict", "-dnsserver", f"{NAMES}:53"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"})
        self.directory = "https://acme.authority.test/dir"
        wait_for(lambda: world.answers(AUTHORITY, 443), 120, "pebble does not listen")

    def trust(self):
        """What a browser would have to trust to find the box's certificate good."""
        context = ssl.create_default_context(cafile=None)
        request = urllib.request.Request(f"https://{AUTHORITY}:15000/roots/0")
        unsafe = ssl._create_unverified_context()  # noqa: S323: it is ours, in our own namespace
        pem = urllib.request.urlopen(request, context=unsafe, timeout=30).read().decode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem)
        return context

    def end(self):
        self.process.terminate()
        self.process.wait(20)


def wait_for(what, seconds, words):
    end = time.monotonic() + seconds
    while not (got := what()):
        assert time.monotonic() < end, f"not after {seconds} s: {words() if callable(words) else words}"
        time.sleep(0.2)
    return got


class Box(House):
    """In its own namespace, at the real ports."""

    def __init__(self, place):
        super().__init__("firstboot")
        self.place = place

    def begin(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.place.inside, BINARY, "serve", "--data", str(self.data), "--announce", "homepost.local"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=os.setpgrp)
        wait_for(lambda: world.answers(BOX, 8080), 60, self.tail)

    @property
    def code(self):
        return re.search(r"^code (\S+)$", (self.data / "setup" / "shown").read_text(), re.M)[1]

    def settings(self, **acme):
        path = self.data / "settings.toml"
        text = path.read_text()
        for key, value in acme.items():
            # Other sections have keys of the same name.
            text, count = re.subn(rf"(?ms)(^\[acme\]$.*?^){key} = [^\n]*$", lambda there: f'{there[1]}{key} = "{value}"', text, count=1)
            assert count == 1, (key, text)
        path.write_text(text)

    def reload(self):
        before = self.log.read_text().count("reloaded")
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.log.read_text().count("reloaded") > before, 60, self.tail)


def secure(trust, host, port):
    """TLS to the box under a name of its, with a certificate that has to be good for that name."""
    plain = world.connect(host, port)
    return trust.wrap_socket(plain, server_hostname=host)


def certificate(trust):
    with secure(trust, HOST, 993) as tls:
        return tls.getpeercert(True)


def get(trust, host, path):
    with secure(trust, host, 443) as tls:
        line = http.client.HTTPSConnection(host)
        line.sock = tls
        line.request("GET", path)
        reply = line.getresponse()
        return reply.status, reply.read().decode()


def walk(box, authority, office):
    """The browser goes through the set-up; what only the world can do is done when it says so."""
    env = dict(os.environ, BROWSER_MODULES=str(TARGET / "browser"))
    browser = subprocess.Popen(
        ["node", str(ROOT / "tests/e2e/wizard.mjs"), "world", f"http://{BOX}:8080/", box.code, str(SHOTS)], env=env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=os.setpgrp)
    steps = []
    try:
        for line in browser.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "step":
                steps.append(rest)
                if rest == "sheet":
                    shutil.copy(authority.folder / "root.pem", box.data / "root.pem")
                    # As if this authority were the one that homepost comes with.
                    box.settings(offered=authority.directory, root="root.pem")
                continue
            if word == "failed":
                raise AssertionError(f"after {steps[-1:]}: {rest}\n{box.tail()}")
            if word == "walked":
                return
            if word == "records":
                enter_records(box)
            elif word == "letter":
                office.send("aunt@elsewhere.test", rest, LETTER)
            elif word == "phrase":
                address, phrase = rest.split(" ", 1)
                trust = authority.trust()
                client = imaplib.IMAP4_SSL(HOST, 993, ssl_context=trust)
                client.login(address, phrase)
                client.logout()
            browser.stdin.write("done\n")
            browser.stdin.flush()
        raise AssertionError(f"it ended after {steps[-1:]}")
    finally:
        if browser.poll() is None:
            try:
                browser.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(browser.pid, signal.SIGKILL)
        browser.wait(20)


def enter_records(box):
    """What somebody does who copies them all from the page: as the zone file says, and no more."""
    zone = box.run("dns", "records", DOMAIN, "--zone").stdout
    lines = ["server " + NAMES, f"zone {DOMAIN}."]
    for name, row in records(zone):
        lines.append(f"update add {name} 60 {row}")
    lines += ["send", ""]
    done = subprocess.run([tool("nsupdate"), "-v", "-y", f"hmac-sha256:home:{KEY}"], input="\n".join(lines), text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, f"{done.stderr}\n{zone}"


def records(zone):
    """(whole name, type and value) of each, by a tool that knows zone files."""
    done = subprocess.run([tool("named-compilezone"), "-i", "none", "-k", "ignore", "-o", "-", DOMAIN, "/dev/stdin"],
                          input=zone, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{zone}"
    for line in done.stdout.splitlines():
        fields = line.split(None, 4)
        if len(fields) == 5 and fields[2] == "IN" and fields[3] not in ("SOA", "NS"):
            yield fields[0], f"{fields[3]} {fields[4]}"


def main():
    world.enter()
    checks = Checks()
    folder = TARGET / "e2e" / f"firstboot-world-{os.getpid()}"
    folder.mkdir(parents=True)
    things = []

    def made(thing):
        things.append(thing)
        return thing

    try:
        place = made(world.World(folder))
        bind = made(Bind(folder / "bind", ZONES, {"home": KEY}, port=53, at=NAMES))
        office = made(world.Office(folder / "office", receives="elsewhere.test"))
        authority = made(Authority(folder))
        box = made(Box(place))
        with checks("a box with nothing on it opens 8080 and no mail port"):
            box.begin()
            for port in (25, 443, 465, 587, 993, 143, 80):
                assert not world.answers(BOX, port), f"{port} is open"
        with checks("a browser goes from nothing to a letter that came from the world"):
            walk(box, authority, office)
        if checks.failed:
            return
        with checks("afterwards 8080 is closed"):
            wait_for(lambda: not world.answers(BOX, 8080), 30, "8080 closes")
        trust = authority.trust()
        with checks("the letter came by the domain's MX, encrypted, and is read under the box's own name with its good certificate"):
            assert re.search(r"smtp\[.*to=<anna@smith.test>, relay=mail.smith.test.*status=sent", office.log()), office.log()
            client = imaplib.IMAP4_SSL(HOST, 993, ssl_context=trust)
            client.login(f"anna@{DOMAIN}", PHRASE)
            client.select("INBOX")
            [found] = client.search(None, "SUBJECT", "Welcome")[1]
            same(len(found.split()), 1, "letters")
            client.logout()
        with checks("the letter that went out came, signed by both keys of the domain, and says nothing of the house"):
            wait_for(office.letters, 60, office.log)
            [letter] = office.letters()
            assert letter.count(b"\nDKIM-Signature: ") == 2 and b"\nFrom: \"Anna Smith\" <anna@smith.test>\n" in letter, letter
            assert b"127.0.0.1" not in letter and BOX.encode() not in letter.split(b"\n\n")[0].split(b"by mail.elsewhere.test")[1], letter
            assert re.search(rb"\nReceived: from mail.smith.test \([^)]*\)[^;]*TLSv1.3", letter), letter
        with checks("of the letter that was refused nothing is left in the queue, and no notice came beside the page"):
            same(box.json("queue", "list"), [], "queue")
            client = imaplib.IMAP4_SSL(HOST, 993, ssl_context=trust)
            client.login(f"anna@{DOMAIN}", PHRASE)
            client.select("INBOX")
            same(len(client.search(None, "ALL")[1][0].split()), 1, "letters")
            client.logout()
        with checks("mail programs find their settings, and other servers the policy, at the domain's own names"):
            status, body = get(trust, f"autoconfig.{DOMAIN}", f"/mail/config-v1.1.xml?emailaddress=anna@{DOMAIN}")
            assert status == 200 and f"<hostname>{HOST}</hostname>" in body, (status, body)
            status, body = get(trust, f"mta-sts.{DOMAIN}", "/.well-known/mta-sts.txt")
            assert status == 200 and f"mx: {HOST}" in body and "version: STSv1" in body, (status, body)
        with checks("what the domain had before is still there"):
            assert '"google-site-verification=x"' in bind.dig(DOMAIN, "TXT"), bind.dig(DOMAIN, "TXT")
        with checks("every record is right, as the domain's name server says"):
            rows = [row for row in box.json("dns", "check", DOMAIN)["records"] if row.get("publish", True)]
            wrong = [(row["name"], row["type"], row["words"]) for row in rows if row["state"] != "right"]
            same(wrong, [], "records that are not right")
        for challenge in ("tls-alpn-01", "http-01", "dns-01"):
            with checks(f"a certificate comes by {challenge}, at the port where it belongs"):
                if challenge == "dns-01":
                    box.run("dns", "use", "rfc2136", "--server", NAMES, "--key-name", "home", "--secret-stdin", input=KEY + "\n")
                box.settings(challenge=challenge)
                box.reload()
                before = certificate(trust)
                seen = [box.log.read_text().count("port 80 is open"), bind.log.read_text().count("_acme-challenge")]
                box.run("cert", "renew", "--force", HOST)
                wait_for(lambda: certificate(trust) != before, 90, box.tail)
                now = [box.log.read_text().count("port 80 is open"), bind.log.read_text().count("_acme-challenge")]
                same([one > two for one, two in zip(now, seen)], [challenge == "http-01", challenge == "dns-01"], "80, DNS")
                assert not world.answers(BOX, 80), "80 is open still"
                same(bind.dig(f"_acme-challenge.{HOST}", "TXT"), [], "left in the DNS")
        with checks("the records are pushed to the domain's name server, and there is nothing to do"):
            box.run("dns", "push", DOMAIN, "--yes", "--take-over", "all")
            rows = box.json("dns", "check", DOMAIN)["records"]
            same([row["name"] for row in rows if row.get("publish", True) and row["state"] != "right"], [], "not right")
            assert '"google-site-verification=x"' in bind.dig(DOMAIN, "TXT"), bind.dig(DOMAIN, "TXT")
        with checks("it ends as it should, and check passes"):
            box.stop()
            same(box.check(), "", "check")
    finally:
        for thing in reversed(things):
            thing.end(*([checks.failed > 0] if isinstance(thing, Box) else []))
        shutil.rmtree(folder, ignore_errors=True)
        checks.end()


if __name__ == "__main__":
    main()
