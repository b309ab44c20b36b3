"""Who stands behind a letter: letters from outside are checked against BIND, and what the household sends is signed."""

import email
import os
import re
import smtplib
import socket
import subprocess
import sys
import time

import dkim

import world
from bind import Bind
from house import ALICE, PASSWORD, TARGET, Checks, House, anyone, same

GOOD, BAD = "192.0.2.9", "198.51.100.66"
SOURCE = next((TARGET / "signed" / "source").glob("dkimpy-*/dkim/tests/data"))
KEY = (SOURCE / "2048_testkey.key").read_bytes()
PUBLIC = re.search(r"p=(\S+)", (SOURCE / "2048_testkey_wo_markers.pub.txt").read_text().replace("\n", "")).group(1)


def text(value):
    """As a zone file has long texts."""
    return " ".join(f'"{value[at:at + 200]}"' for at in range(0, len(value), 200))


def zone(ours):
    domains = {"pass": "reject", "strict": "reject", "aside": "quarantine", "open": "none", "test": "quarantine"}
    lines = ["$TTL 60", "@ IN SOA ns hostmaster 1 7200 900 1209600 60", "@ IN NS ns", "ns IN A 127.0.0.1",
             f"out.pass IN A {GOOD}", "out.pass IN TXT \"v=spf1 a -all\"", f"lists IN TXT {text(f'v=spf1 ip4:{BAD} -all')}"]
    for name, policy in domains.items():
        at = "tested" if name == "test" else name
        lines.append(f"{at} IN TXT \"v=spf1 ip4:{GOOD} -all\"")
        lines.append(f"_dmarc.{at} IN TXT \"v=DMARC1; p={policy};{' t=y;' if name == 'test' else ''}\"")
        lines.append(f"k._domainkey.{at} IN TXT {text('v=DKIM1; k=rsa; p=' + PUBLIC)}")
    lines.append(f"k._domainkey.lists IN TXT {text('v=DKIM1; k=rsa; p=' + PUBLIC)}")
    lines += [f"{name}. IN TXT {text(value)}" for name, value in ours]
    return "\n".join(lines) + "\n"


def letter(domain, subject, more=""):
    return (f"{more}From: Somebody <a@{domain}>\r\nTo: {ALICE}\r\nSubject: {subject}\r\n"
            f"Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject.replace(' ', '.')}@{domain}>\r\n\r\n"
            "hello \r\nthere\r\n \r\n\r\n").encode()


def signed(domain, message):
    return dkim.sign(message, b"k", domain.encode(), KEY, canonicalize=(b"relaxed", b"relaxed")) + message


def results(message):
    """Our own fields: method → its results, in their order."""
    fields = [value for value in email.message_from_bytes(message).get_all("Authentication-Results", [])
              if value.startswith("mail.example.test;")]
    same(len(fields), 1, message.decode(errors="replace"))
    out = {}
    for part in fields[0].split(";")[1:]:
        method, _, rest = part.strip().partition("=")
        if method in ("iprev", "spf", "dkim", "arc", "dmarc"):
            out.setdefault(method, []).append(rest.split()[0])
    return out


class Town:
    def __init__(self, house):
        self.house = house

    def send(self, source, sender, message, helo="out.pass.test"):
        """(code, words) of the answer to the whole letter."""
        client = smtplib.SMTP("127.0.0.1", self.house.port(25), local_hostname=helo, timeout=120, source_address=(source, 0))
        try:
            client.ehlo()
            client.mail(sender)
            same(client.rcpt(ALICE)[0], 250)
            code, words = client.data(message)
            return code, words.decode()
        finally:
            client.close()

    def find(self, subject, mailbox="INBOX"):
        found = [m for m in self.house.letters(mailbox).values() if f"Subject: {subject}".encode() in m]
        same(len(found), 1, f"{subject} in {mailbox}")
        return found[0]


def inbound(checks, town):
    with checks("SPF and DKIM speak for a letter, and the results stand on top"):
        same(town.send(GOOD, "a@pass.test", signed("pass.test", letter("pass.test", "all right")))[0], 250)
        got = town.find("all right")
        same(results(got), {"iprev": ["pass"], "spf": ["pass", "pass"], "dkim": ["pass"], "dmarc": ["pass"]})
        names = [name.lower() for name in email.message_from_bytes(got).keys()]
        same(names[:5], ["return-path", "delivered-to", "authentication-results", "received-spf", "received"])
        assert got.endswith(letter("pass.test", "all right")), got.decode()
    with checks("a forged letter is refused in the session where its domain asks for it"):
        code, words = town.send(BAD, "a@strict.test", letter("strict.test", "forged"))
        same(code, 550)
        assert words.startswith("5.7.26 ") and "The domain strict.test asks" in words, words
    with checks("a good signature carries a letter that was forwarded past SPF"):
        same(town.send(BAD, "a@strict.test", signed("strict.test", letter("strict.test", "forwarded")))[0], 250)
        same(results(town.find("forwarded")), {"iprev": ["fail"], "spf": ["fail", "fail"], "dkim": ["pass"], "dmarc": ["pass"]})
    with checks("a changed letter has lost its signature"):
        changed = signed("strict.test", letter("strict.test", "changed")).replace(b"there", b"where")
        same(town.send(BAD, "a@strict.test", changed)[0], 550)
    with checks("quarantine means Junk"):
        same(town.send(BAD, "a@aside.test", letter("aside.test", "put aside"))[0], 250)
        same(results(town.find("put aside", "Junk"))["dmarc"], ["fail"])
    with checks("t=y and p=none put nothing aside"):
        for domain in ("tested.test", "open.test"):
            same(town.send(BAD, f"a@{domain}", letter(domain, f"let in {domain}"))[0], 250)
            same(results(town.find(f"let in {domain}"))["dmarc"], ["fail"])
    with checks("results in our name are taken away, others stay"):
        forged = ("Authentication-Results: (it is\r\n (really) so) \"mail.example.test\" 1; dmarc=pass\r\n"
                  "Authentication-Results: MAIL.EXAMPLE.TEST; dkim=pass\r\nAuthentication-Results: other.test; dkim=pass\r\n")
        same(town.send(BAD, "a@open.test", letter("open.test", "forged results", forged))[0], 250)
        got = town.find("forged results")
        same(results(got)["dmarc"], ["fail"])
        same(len(email.message_from_bytes(got).get_all("Authentication-Results")), 2)
        assert b"other.test; dkim=pass" in got
    with checks("a list that is trusted may pass on what it has changed, another may not"):
        for domain, code in (("lists.test", 250), ("pass.test", 550)):
            once = (f"Authentication-Results: {domain}; dmarc=pass header.from=strict.test\r\n".encode()
                    + letter("strict.test", f"by {domain}"))
            sealed = b"".join(dkim.arc_sign(once, b"k", domain.encode(), KEY, domain.encode())) + once
            same(town.send(BAD, "list@lists.test", sealed)[0], code, domain)
        same(results(town.find("by lists.test"))["arc"], ["pass"])
    with checks("the null path is judged by what the peer calls itself"):
        same(town.send(GOOD, "", signed("pass.test", letter("pass.test", "null path")))[0], 250)
        got = town.find("null path")
        same(results(got)["spf"], ["pass"])
        assert b"identity=helo" in got
    with checks("letters from this machine itself are not checked"):
        same(town.send("127.0.0.1", "a@strict.test", letter("strict.test", "from here"))[0], 250)
        assert b"Authentication-Results" not in town.find("from here")


def outbound(checks, town, bind):
    house = town.house
    message = (f"From: Alice <{ALICE}>\r\nTo: {ALICE}\r\nSubject: signed by us\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n"
               "Message-ID: <1@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
               "white space \t \r\n\r\nat the end\r\n \r\n\t\r\n").encode()

    def submit(source, message):
        client = smtplib.SMTP_SSL("127.0.0.1", house.port(465), local_hostname="laptop", timeout=120, context=anyone(),
                                  source_address=(source, 0))
        client.login(ALICE, PASSWORD)
        client.sendmail(ALICE, [ALICE], message)
        client.quit()

    with checks("what an account hands in has two signatures, which dkimpy verifies"):
        submit(GOOD, message)
        got = town.find("signed by us")
        same(got.count(b"DKIM-Signature:"), 2)
        assert b"Authentication-Results" not in got and got.endswith(message), got.decode()

        def ask(name, timeout=60):
            name = name.decode() if isinstance(name, bytes) else name
            [line] = bind.dig(name, "TXT")
            return "".join(re.findall(r'"([^"]*)"', line)).encode()
        verifier = dkim.DKIM(got)
        for index in (0, 1):
            assert verifier.verify(idx=index, dnsfunc=ask), f"signature {index}: {got.decode()}"
        for change in ((b"signed by us", b"signed by them"), (b"at the end", b"at the start"), (b"To: alice", b"Cc: x@y.test\r\nTo: alice"),
                       (b"From: Alice", b"From: x@y.test\r\nFrom: Alice")):
            changed = dkim.DKIM(got.replace(*change, 1))
            try:
                assert not changed.verify(idx=1, dnsfunc=ask), change
            except dkim.DKIMException:
                pass
    with checks("OpenDKIM verifies it, and not when it is changed"):
        # It knows no Ed25519, and asks the resolver of the system.
        rsa = re.sub(rb"DKIM-Signature: v=1; a=ed25519(?:.*\r\n)(?:[ \t].*\r\n)*", b"", got)
        same(rsa.count(b"DKIM-Signature:"), 1)

        def openly(message):
            done = subprocess.run(["/usr/sbin/opendkim-testmsg"], input=message.replace(b"\r\n", b"\n"), capture_output=True, timeout=120)
            return done.returncode, (done.stdout + done.stderr).decode()
        code, words = openly(rsa)
        same(code, 0, words)
        code, words = openly(rsa.replace(b"at the end", b"at the start"))
        assert code != 0, words
    with checks("a letter in somebody else's name is not signed by us, nor taken"):
        try:
            submit(GOOD, message.replace(b"From: Alice <alice@example.test>", b"From: a@strict.test").replace(b"signed by us", b"not signed"))
        except smtplib.SMTPDataError as error:
            same(error.smtp_code, 550)
            assert b"5.7.1" in error.smtp_error and b"a@strict.test" in error.smtp_error, error
        else:
            raise AssertionError("it was taken")


def silent(checks, town):
    house = town.house
    with checks("a name server that says nothing keeps no letter out, and holds none for longer than was said"):
        with socket.socket(type=socket.SOCK_DGRAM) as deaf, socket.socket() as wall:
            deaf.bind(("127.0.0.1", 0))
            port = deaf.getsockname()[1]
            wall.bind(("127.0.0.1", port))
            wall.listen(64)
            house.stop()
            settings = house.data / "settings.toml"
            written = settings.read_text()
            settings.write_text(written.replace("127.0.0.1:53\"", f"127.0.0.1:{port}\"").replace('wait = "20 s"', 'wait = "5 s"'))
            assert settings.read_text() != written
            house.serve()
            began = time.monotonic()
            same(town.send(BAD, "a@strict.test", signed("strict.test", letter("strict.test", "nobody knows")))[0], 250)
            took = time.monotonic() - began
            assert took < 30, f"{took:.1f} s"
            got = results(town.find("nobody knows"))
            same(got, {"iprev": ["temperror"], "spf": ["temperror", "temperror"], "dkim": ["temperror"], "dmarc": ["temperror"]})
            began = time.monotonic()
            same(town.send(BAD, "a@strict.test", letter("strict.test", "still nobody"))[0], 250)
            assert time.monotonic() - began < took, "a line that is dead is not asked again for each letter"
            print(f"    a silent name server held the first letter for {took:.1f} s, the next for {time.monotonic() - began:.1f} s")


def main():
    world.enter()
    world.run("ip", "link", "set", "lo", "up")
    for address in (GOOD, BAD):
        world.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    checks = Checks()
    house = House("checks")
    bind = None
    try:
        house.init()
        ours = [(r["name"], r["value"]) for r in house.json("dns", "records", "example.test", "--address", GOOD)
                if r["type"] == "TXT" and "_domainkey" in r["name"]]
        same(len(ours), 2)
        octets = ".".join(reversed(GOOD.split(".")[:3]))
        reverse = (f"$TTL 60\n@ IN SOA ns.test. hostmaster.test. 1 7200 900 1209600 60\n@ IN NS ns.test.\n"
                   f"{GOOD.split('.')[3]} IN PTR out.pass.test.\n")
        bind = Bind(house.folder / "named", {"test": zone(ours), f"{octets}.in-addr.arpa": reverse,
                                             "100.51.198.in-addr.arpa": reverse.split(f"{GOOD.split('.')[3]} IN PTR")[0]}, port=53)
        # For programs that ask the system's resolver.
        own = house.folder / "resolv.conf"
        own.write_text("nameserver 127.0.0.1\n")
        world.run("mount", "--bind", own, os.path.realpath("/etc/resolv.conf"))
        settings = house.data / "settings.toml"
        written = settings.read_text()
        changed = written.replace('forwarders = ""', 'forwarders = "lists.test"').replace('servers = ""', 'servers = "127.0.0.1:53"')
        assert changed != written and changed.count("127.0.0.1:53") == 1, written
        settings.write_text(changed)
        house.serve()
        town = Town(house)
        inbound(checks, town)
        outbound(checks, town, bind)
        silent(checks, town)
        house.stop()
        with checks("the stores are whole"):
            same(house.check(), "")
    finally:
        if bind:
            bind.end()
        house.end(keep=bool(checks.failed))
    checks.end()


if __name__ == "__main__":
    main()
