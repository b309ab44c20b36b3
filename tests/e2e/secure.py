"""Letters leave under the encryption that their domains ask for, or they wait: DANE, proven by a root of our own, MTA-STS, and
REQUIRETLS. BIND keeps the zones, the far ends and the policies' server are played here. Everything lives in network
namespaces."""

import hashlib
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import world
from bind import Bind, tool
from farend import Far
from house import TARGET, Checks, same
from sending import BOX6, FAR6, Box, ends, report, wait_for
from world import BOX, FAR, NAMES, run

# One server for everybody's mail, one for everybody's policies, and the one that keeps the zones.
MAIL, POLICIES, ZONES = FAR[:3]


class Authority:
    """A root of its own, and what it vouches for."""

    def __init__(self, folder, name):
        self.folder, self.name, self.count = folder, name, 0
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder / f"{name}.pem"
        run("openssl", "req", "-x509", *self.curve, "-keyout", folder / f"{name}.key", "-out", self.root, "-days", "30", "-subj",
            f"/CN=Root of {name}", "-addext", "basicConstraints=critical,CA:TRUE")

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def issue(self, *names):
        """A context for a server, with the whole chain."""
        self.count += 1
        own = self.folder / f"{self.name}-{self.count}"
        run("openssl", "req", *self.curve, "-keyout", f"{own}.key", "-out", f"{own}.csr", "-subj", "/CN=server")
        own.with_suffix(".ext").write_text(f"subjectAltName={','.join('DNS:' + name for name in names)}\nbasicConstraints=CA:FALSE\n")
        run("openssl", "x509", "-req", "-in", f"{own}.csr", "-CA", self.root, "-CAkey", self.folder / f"{self.name}.key",
            "-CAcreateserial", "-days", "30", "-extfile", f"{own}.ext", "-out", f"{own}.crt")
        own.with_suffix(".pem").write_text(own.with_suffix(".crt").read_text() + self.root.read_text())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{own}.pem", f"{own}.key")
        return context, own.with_suffix(".crt")


def tlsa(usage, selector, certificate):
    """A record's data, of the SHA-256 of a certificate (PEM) or of its key."""
    if selector:
        key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, capture_output=True, check=True).stdout
    else:
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    return f"{usage} {selector} 1 {hashlib.sha256(der).hexdigest()}"


class Policies:
    """`at` maps a domain to its policy, or to the number of an answer that is none."""

    def __init__(self, context):
        self.at, self.asked = {}, []
        policies = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                domain = self.headers["Host"].removeprefix("mta-sts.")
                policies.asked.append(domain)
                policy = policies.at.get(domain, 404)
                if isinstance(policy, int):
                    self.send_response(policy)
                    self.send_header("Location", f"https://mta-sts.{domain}/elsewhere")
                    self.end_headers()
                    return
                body = policy.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((POLICIES, 443), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


def labels(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


class Line:
    """What the box asks: BIND, with somebody on the way. `instead` maps a name and the number of a type to the answer that comes
    in place of BIND's: a code, or the name of a zone that says that there is nothing."""

    def __init__(self):
        self.instead = {}
        line = self

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self):
                asked, own = self.request
                with socket.socket(type=socket.SOCK_DGRAM) as beyond:
                    beyond.settimeout(10)
                    beyond.connect((ZONES, 53))
                    own.sendto(line.forge(asked) or (beyond.send(asked), beyond.recv(65535))[1], self.client_address)

        class Stream(socketserver.StreamRequestHandler):
            def handle(self):
                with socket.create_connection((ZONES, 53), timeout=10) as beyond, beyond.makefile("rb") as back:
                    while size := self.rfile.read(2):
                        asked = self.rfile.read(int.from_bytes(size))
                        answer = line.forge(asked)
                        if not answer:
                            beyond.sendall(size + asked)
                            answer = back.read(int.from_bytes(back.read(2)))
                        self.wfile.write(len(answer).to_bytes(2) + answer)

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.servers = [socketserver.ThreadingUDPServer((NAMES, 53), Datagram), socketserver.ThreadingTCPServer((NAMES, 53), Stream)]
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def forge(self, asked):
        at, name = 12, []
        while asked[at]:
            name.append(asked[at + 1:at + 1 + asked[at]].decode().lower())
            at += 1 + asked[at]
        end = at + 5
        instead = self.instead.get((".".join(name), int.from_bytes(asked[at + 1:at + 3])))
        if instead is None:
            return None
        if isinstance(instead, int):
            return asked[:2] + struct.pack(">5H", 0x8180 | instead, 1, 0, 0, 0) + asked[12:end]
        data = labels(f"ns.{instead}") + labels(f"admin.{instead}") + struct.pack(">5I", 1, 3600, 600, 86400, 5)
        soa = labels(instead) + struct.pack(">HHIH", 6, 1, 5, len(data)) + data
        return asked[:2] + struct.pack(">5H", 0x8180, 1, 0, 1, 0) + asked[12:end] + soa

    def end(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


def policy(mode, *hosts, age=86400):
    return f"version: STSv1\r\nmode: {mode}\r\n" + "".join(f"mx: {host}\r\n" for host in hosts) + f"max_age: {age}\r\n"


HEAD = f"$TTL 5\n@ SOA ns admin 1 3600 600 86400 5\n@ NS ns\nns A {NAMES}\n@ MX 10 mx\nmx A {MAIL}\n"
STS = f"_mta-sts TXT \"v=STSv1; id=1;\"\nmta-sts A {POLICIES}\n"


def sign(folder, zone, text, *more):
    """The zone signed, a record a line; its key, and what its parent says of that."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "in").write_text(text)
    key = run(tool("dnssec-keygen"), "-q", "-K", folder, "-a", "ECDSAP256SHA256", "-f", "KSK", zone).split()[-1]
    keys = (folder / f"{key}.key").read_text()
    run(tool("dnssec-signzone"), "-q", "-S", "-z", "-K", folder, "-d", folder, "-O", "full", *more, "-o", zone, "-f", folder / "out", folder / "in")
    delegation = run(tool("dnssec-dsfromkey"), "-2", folder / f"{key}.key")
    return (folder / "out").read_text(), "\n".join(line for line in keys.splitlines() if not line.startswith(";")) + "\n", delegation


def zones(folder, certificates):
    """By their names, signed where DANE is to count; and the key of the root."""
    own, root = certificates["own"], certificates["root"]
    right = tlsa(3, 1, own)
    wrong = "3 1 1 " + "ab" * 32
    signed = {
        "right.test": f"_25._tcp.mx TLSA {right}\n_25._tcp.mx TLSA {wrong}\n" + STS,
        "wrong.test": f"_25._tcp.mx TLSA {wrong}\n",
        "without.test": "",
        "forged.test": f"_25._tcp.mx TLSA {right}\n",
        "authority.test": f"_25._tcp.mx TLSA {tlsa(2, 0, root)}\n",
        "both.test": f"_25._tcp.mx TLSA 0 0 1 {'cd' * 32}\n" + STS,
        "denied.test": f"_25._tcp.mx TLSA {wrong}\n",
        # Hashed so often that nobody checks it (RFC 9276 3.2).
        "slow.test": f"* MX 10 mx\nsub NS ns.sub\nns.sub A {NAMES}\n",
        "pair.test": f"mx AAAA {FAR6}\n",
        "useless.test": f"_25._tcp.mx TLSA 0 0 1 {'cd' * 32}\n_25._tcp.mx TLSA 3 1 9 {'cd' * 32}\n",
    }
    unsigned = {
        "unsigned.test": f"_25._tcp.mx TLSA {wrong}\n",
        "plain.test": "",
        "terse.test": "",
        "inside.test": "_mta-sts TXT \"v=STSv1; id=1;\"\nmta-sts A 127.0.0.1\nmta-sts A 10.1.2.3\n",
        **{f"{name}.test": STS for name in ("enforce", "unnamed", "down", "kept", "testing", "change", "moved")},
    }
    top = [f"$TTL 60\n@ SOA ns.root.test. admin.root.test. 1 3600 600 86400 5\n@ NS ns.root.test.\nns.root.test. A {NAMES}\n"]
    out = {}
    for domain, text in signed.items():
        text, _, delegation = sign(folder / domain, domain, HEAD + text, *(["-3", "-", "-H", "150"] if domain == "slow.test" else []))
        if domain == "forged.test":
            # The proof of another record than the one that is there.
            digest = right.split()[-1].upper()
            assert digest in text.replace(" ", ""), text
            text = re.sub(r"(TLSA\s+3 1 1 )([0-9A-F ]+)", lambda found: found[1] + "AB" * 32, text)
        out[domain] = text
        top.append(f"{domain}. NS ns.{domain}.\nns.{domain}. A {NAMES}\n{delegation}")
    for domain, text in unsigned.items():
        out[domain] = HEAD + text
        top.append(f"{domain}. NS ns.{domain}.\nns.{domain}. A {NAMES}\n")
    out["sub.slow.test"] = HEAD
    out["example.test"] = f"$TTL 5\n@ SOA ns admin 1 3600 600 86400 5\n@ NS ns\nns A {NAMES}\n@ MX 10 mail\nmail A {BOX}\n"
    top.append(f"example.test. NS ns.example.test.\nns.example.test. A {NAMES}\n")
    out["."], keys, _ = sign(folder / "root", ".", "".join(top))
    return out, keys


class Letters:
    def __init__(self, box):
        self.box, self.count = box, 0

    def __call__(self, domain, **more):
        self.count += 1
        self.box.submit([f"x@{domain}"], f"letter {self.count}", **more)


def arrives(box, far, secure, count=1):
    box.empty()
    same([letter[3] for letter in far.letters], [secure] * count)


def waits(box, far, *words):
    found = box.waits(words[0])
    for word in words:
        assert word in found["last"], found
    same(far.letters, [])
    shown = box.run("queue", "show", str(box.queue()[0]["id"])).stdout
    assert words[0] in shown, shown
    box.cancel()


def dane(check, box, send, tls, line):
    with check("DANE: the certificate that the records name is enough, whoever vouches for it"):
        far = Far(MAIL, tls=tls["own"])
        send("right.test")
        arrives(box, far, True)
        far.end()
    with check("DANE: any other certificate, or none, and the letter waits and says why"):
        far = Far(MAIL, tls=tls["own"])
        send("wrong.test")
        waits(box, far, "wants encryption that cannot be listened to (DANE)", "not the one that the DNS names")
        far.end()
        far = Far(MAIL)
        send("right.test")
        waits(box, far, "wants encryption that cannot be listened to (DANE)", "mx.right.test offers no encryption")
        far.end()
    with check("DANE: a signed domain without such records is sent to as any other"):
        far = Far(MAIL)
        send("without.test")
        arrives(box, far, False)
        far.end()
    with check("DANE: records that are not what their zone has signed, and its server is not used"):
        far = Far(MAIL, tls=tls["own"])
        send("forged.test")
        waits(box, far, "(DNSSEC)", "mx.forged.test")
        far.end()
    with check("DANE: an authority that the records name vouches for the server's name, and for no other"):
        far = Far(MAIL, tls=tls["authority"])
        send("authority.test")
        arrives(box, far, True)
        far.end()
        far = Far(MAIL, tls=tls["other"])
        send("authority.test")
        waits(box, far, "(DANE)", "is for another name")
        far.end()
    with check("DANE: records that nobody understands ask for encryption, whatever the certificate"):
        far = Far(MAIL, tls=tls["own"])
        send("useless.test")
        arrives(box, far, True)
        far.end()
        far = Far(MAIL)
        send("useless.test")
        waits(box, far, "(DANE)", "offers no encryption")
        far.end()
    with check("DANE: what nobody has signed counts for nothing"):
        far = Far(MAIL, tls=tls["own"])
        send("unsigned.test")
        arrives(box, far, True)
        far.end()


    with check("DANE: a server whose name server answers for its address and for nothing else is unsigned if its zone is"):
        line.instead.update({("mx.terse.test", kind): 2 for kind in (2, 43)})
        far = Far(MAIL)
        send("terse.test")
        arrives(box, far, False)
        far.end()
    with check("DANE: that there are no records is not for another, unsigned zone to say"):
        line.instead["_25._tcp.mx.denied.test", 52] = "plain.test"
        far = Far(MAIL)
        send("denied.test")
        waits(box, far, "(DNSSEC)", "mx.denied.test")
        far.end()
        del line.instead["_25._tcp.mx.denied.test", 52]
    with check("DANE: a zone that takes too long to check counts as unsigned, with what is below it"):
        far = Far(MAIL)
        for count, domain in enumerate(("slow.test", "any.slow.test", "sub.slow.test"), 1):
            send(domain)
            arrives(box, far, False, count)
        far.end()


def sts(check, box, send, tls, policies, bind):
    with check("MTA-STS: counts where there are records for DANE that nobody understands"):
        policies.at["both.test"] = policy("enforce", "mx.both.test")
        far = Far(MAIL, tls=tls["own"])
        send("both.test")
        found = box.waits("both.test wants encryption that cannot be listened to (MTA-STS)")
        assert "comes from nobody who is trusted" in found["last"], found
        same(far.letters, [])
        far.end()
        far = Far(MAIL, tls=tls["mx"])
        box.run("queue", "retry", "--all")
        arrives(box, far, True)
        far.end()
    with check("MTA-STS: nobody in the house is asked for a policy"):
        far = Far(MAIL)
        send("inside.test")
        arrives(box, far, False)
        far.end()
        assert "the name has no public address" in box.log.read_text()
    with check("MTA-STS: a certificate for the server's name, from whom is trusted, or the letter waits"):
        policies.at["enforce.test"] = policy("enforce", "mx.enforce.test")
        far = Far(MAIL, tls=tls["own"])
        send("enforce.test")
        found = box.waits("enforce.test wants encryption that cannot be listened to (MTA-STS)")
        assert "comes from nobody who is trusted" in found["last"], found
        same(far.letters, [])
        far.end()
        far = Far(MAIL, tls=tls["other"])
        box.run("queue", "retry", "--all")
        box.waits("is for another name")
        same(far.letters, [])
        far.end()
        far = Far(MAIL)
        box.run("queue", "retry", "--all")
        box.waits("mx.enforce.test offers no encryption")
        same(far.letters, [])
        far.end()
        far = Far(MAIL, tls=tls["mx"])
        box.run("queue", "retry", "--all")
        arrives(box, far, True)
        far.end()
        same(policies.asked.count("enforce.test"), 1)
    with check("MTA-STS: no server that the policy does not name"):
        policies.at["unnamed.test"] = policy("enforce", "*.elsewhere.test", "a.mx.unnamed.test")
        far = Far(MAIL, tls=tls["mx"])
        send("unnamed.test")
        waits(box, far, "(MTA-STS)", "mx.unnamed.test is not one that its policy names")
        far.end()
    with check("MTA-STS: DANE counts before it"):
        policies.at["right.test"] = policy("enforce", "mx.elsewhere.test")
        far = Far(MAIL, tls=tls["own"])
        send("right.test")
        arrives(box, far, True)
        far.end()
    with check("MTA-STS: a policy that was never to be had keeps nothing back; nor one that lies elsewhere"):
        far = Far(MAIL)
        send("down.test")
        arrives(box, far, False)
        policies.at["moved.test"] = 301
        send("moved.test")
        arrives(box, far, False, 2)
        far.end()
        same(policies.asked.count("moved.test"), 1)
        assert "sts-policy-fetch-error" in box.log.read_text()
    with check("MTA-STS: testing delivers, and notes what would not have been"):
        policies.at["testing.test"] = policy("testing", "mx.testing.test")
        far = Far(MAIL, tls=tls["own"])
        send("testing.test")
        arrives(box, far, True)
        far.end()
        far = Far(MAIL)
        send("testing.test")
        arrives(box, far, False)
        far.end()
        noted = [line for line in box.log.read_text().splitlines() if "testing.test" in line and "sts" in line]
        for word in ("certificate-not-trusted", "starttls-not-supported"):
            assert any(word in line for line in noted), noted
    with check("MTA-STS: what was fetched counts though its server is gone, and the box was cut off and started again"):
        policies.at["kept.test"] = policy("enforce", "mx.kept.test")
        far = Far(MAIL, tls=tls["mx"])
        send("kept.test")
        arrives(box, far, True)
        far.end()
        del policies.at["kept.test"]
        zone = bind.folder / "kept.test.zone"
        zone.write_text(zone.read_text().replace("admin 1 ", "admin 2 ").replace("id=1;", "id=2;"))
        bind.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "id=2" in " ".join(bind.dig("_mta-sts.kept.test", "TXT")), 30, "the zone is as it was")
        box.kill()
        box.serve()
        far = Far(MAIL, tls=tls["own"])
        send("kept.test")
        waits(box, far, "(MTA-STS)", "comes from nobody who is trusted")
        far.end()
        assert policies.asked.count("kept.test") >= 2, policies.asked
    with check("MTA-STS: another number in the record, and the policy is fetched again"):
        policies.at["change.test"] = policy("enforce", "mx.elsewhere.test")
        far = Far(MAIL)
        send("change.test")
        box.waits("(MTA-STS)")
        policies.at["change.test"] = policy("none")
        zone = bind.folder / "change.test.zone"
        zone.write_text(zone.read_text().replace("admin 1 ", "admin 2 ").replace("id=1;", "id=2;"))
        bind.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "id=2" in " ".join(bind.dig("_mta-sts.change.test", "TXT")), 30, "the zone is as it was")
        # What was heard of it before is remembered for as long as it said.
        time.sleep(6)
        box.run("queue", "retry", "--all")
        arrives(box, far, False)
        far.end()


def requiretls(check, box, send, tls):
    offers = ["PIPELINING", "SIZE", "REQUIRETLS"]

    def refused(domain, *words):
        before = len(box.inbox())
        send(domain, options=["REQUIRETLS"])
        box.empty()
        notice = wait_for(lambda: len(box.inbox()) > before and box.inbox()[-1], 30, box.tail)
        said, blocks = report(notice)
        same((blocks[1]["Action"], blocks[1]["Status"]), ("failed", "5.7.30"))
        for word in ("REQUIRETLS", *words):
            assert word in " ".join(said.split()), said

    with check("REQUIRETLS: a letter that asks for it goes to who promises it, with the word"):
        for domain, context in (("enforce.test", "mx"), ("right.test", "own")):
            far = Far(MAIL, tls=tls[context], offers=offers)
            send(domain, options=["REQUIRETLS"])
            arrives(box, far, True)
            assert far.letters[0][0].upper().endswith(" REQUIRETLS") or " REQUIRETLS " in far.letters[0][0], far.letters
            far.end()
    with check("REQUIRETLS: who does not promise it gets nothing, and the sender is told at once"):
        far = Far(MAIL, tls=tls["mx"])
        refused("enforce.test", "does not promise")
        same(far.letters, [])
        far.end()
    with check("REQUIRETLS: nor a domain whose servers nobody vouches for"):
        far = Far(MAIL, tls=tls["mx"], offers=offers)
        refused("plain.test", "nothing vouches for")
        same(far.letters, [])
        far.end()
    with check("REQUIRETLS: a certificate that does not fit is waited for"):
        far = Far(MAIL, tls=tls["own"], offers=offers)
        send("without.test", options=["REQUIRETLS"])
        waits(box, far, "(REQUIRETLS)", "comes from nobody who is trusted")
        far.end()
    with check("REQUIRETLS: where a server's first address does not promise it and the second does, that one gets it, at once"):
        run("ip", "addr", "add", f"{FAR6}/64", "dev", "world", "nodad")
        run(*box.place.inside, "ip", "addr", "add", f"{BOX6}/64", "dev", "eth0", "nodad")
        far, six = Far(MAIL, tls=tls["mx"]), Far(FAR6, tls=tls["mx"], offers=offers)
        send("pair.test", options=["REQUIRETLS"])
        arrives(box, six, True)
        same((len(far.talks), len(six.talks), far.letters), (1, 1, []))
        far.end()
        six.end()
    with check("TLS-Required: No arrives, whatever its domain asks for"):
        far = Far(MAIL)
        send("enforce.test", fields="TLS-Required: No\r\n")
        arrives(box, far, False)
        send("wrong.test", fields="TLS-Required: No\r\n")
        arrives(box, far, False, 2)
        far.end()


def main():
    world.enter()
    # What is noted for reports is read here from the log.
    os.environ["HOMEPOST_LOG"] = "info,homepost::server::outgoing=debug,homepost::delivery=debug"
    place = world.World(TARGET / "e2e")
    check, box, bind, policies, line = Checks(), Box(place, "secure"), None, None, None
    try:
        authority, stranger = Authority(box.folder / "tls", "authority"), Authority(box.folder / "tls", "stranger")
        mx = [f"mx.{name}.test" for name in ("enforce", "unnamed", "kept", "testing", "change", "without", "plain", "both", "pair")]
        made = {
            "own": stranger.issue("nobody.test"),
            "mx": authority.issue(*mx),
            "other": authority.issue("mx.somebody-else.test"),
            "authority": authority.issue("mx.authority.test"),
        }
        tls = {name: context for name, (context, _) in made.items()}
        kept, keys = zones(box.folder / "zones", {"own": made["own"][1], "root": authority.root})
        bind = Bind(box.folder / "bind", kept, port=53, at=ZONES)
        line = Line()
        context, _ = authority.issue(*(f"mta-sts.{name}.test" for name in (
            "right", "both", "enforce", "unnamed", "kept", "testing", "change", "moved")))
        policies = Policies(context)
        box.init()
        shutil.copy(authority.root, box.data / "roots.pem")
        (box.data / "root-keys").write_text(keys)
        for name in ("roots.pem", "root-keys"):
            os.chmod(box.data / name, 0o600)
        settings = box.data / "settings.toml"
        text = settings.read_text()
        before, sending = text.split("\n[sending]", 1)
        for name, value in (("trust", "roots.pem"), ("root_keys", "root-keys")):
            assert f'{name} = ""' in sending, sending
            sending = sending.replace(f'{name} = ""', f'{name} = "{value}"', 1)
        settings.write_text(f"{before}\n[sending]{sending}")
        box.serve()
        send, begin = Letters(box), ends(check, box)
        dane(begin, box, send, tls, line)
        sts(begin, box, send, tls, policies, bind)
        requiretls(begin, box, send, tls)
        with check("the stores are sound"):
            box.stop()
            same(box.check(), "")
    finally:
        box.end(keep=check.failed > 0)
        if policies:
            policies.end()
        if line:
            line.end()
        if bind:
            bind.end()
        place.end()
    check.end()


if __name__ == "__main__":
    main()
