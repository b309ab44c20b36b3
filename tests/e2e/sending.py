"""Letters leave: over the real ports, by the domains' own MX records, to somebody else's Postfix and to servers as strange as
real ones are. Everything lives in network namespaces."""

import email
import email.policy
import os
import re
import shutil
import smtplib
import ssl
import subprocess
import sys
import time

import world
from bind import Bind
from farend import Far
from house import ALICE, BINARY, PASSWORD, TARGET, Checks, House, anyone, same
from world import BOX, FAR, NAMES, OFFICE, run

HEAD = f"$TTL 5\n@ SOA ns admin 1 3600 600 86400 5\n@ NS ns\nns A {NAMES}\n"
PLAIN, GREY, DROPS, BROKEN, DEAD, SECOND, RELAY, REFUSES, SLOW, SCHOOL = FAR[:10]
BOX6, FAR6, BOX_OTHER = "2a00:5::10", "2a00:5::30", "5.5.5.11"


def zone(*lines):
    return HEAD + "\n".join(lines) + "\n"


def mx(address):
    return zone("@ MX 10 mx", f"mx A {address}")


ZONES = {
    "example.test": zone("@ MX 10 mail", f"mail A {BOX}"),
    "elsewhere.test": zone("@ MX 10 mail", f"mail A {OFFICE}"),
    "plain.test": mx(PLAIN),
    "grey.test": mx(GREY),
    "drops.test": mx(DROPS),
    "broken.test": mx(BROKEN),
    "red.test": zone("@ MX 10 mx.plain.test."),
    "blue.test": zone("@ MX 10 mx.plain.test.", "@ MX 20 mx.slow.test."),
    "two.test": zone("@ MX 10 first", "@ MX 20 second", f"first A {DEAD}", f"second A {SECOND}"),
    "bare.test": zone(f"@ A {PLAIN}"),
    "null.test": zone("@ MX 0 ."),
    "ours.test": zone("@ MX 10 mail.example.test."),
    "refuses.test": mx(REFUSES),
    "slow.test": mx(SLOW),
    "relay.test": zone(f"smtp A {RELAY}"),
    "school.test": zone(f"smtp A {SCHOOL}"),
    "six.test": zone("@ MX 10 mx", f"mx AAAA {FAR6}"),
    "half.test": zone("@ MX 10 mx", f"mx A {DEAD}", f"mx AAAA {FAR6}"),
}


def ends(check, box):
    """Whatever a check leaves open when it fails is closed before the next one."""
    def begin(name):
        for far in list(Far.open):
            far.end()
            box.run("queue", "cancel", "--all")
        return check(name)
    return begin


def wait_for(what, seconds, words):
    end = time.monotonic() + seconds
    while not (got := what()):
        assert time.monotonic() < end, f"not after {seconds} s: {words() if callable(words) else words}"
        time.sleep(0.1)
    return got


class Box(House):
    """In its own namespace, at the real ports."""

    def __init__(self, place, name="sending"):
        super().__init__(name)
        self.place = place

    def serve(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.place.inside, BINARY, "serve", "--data", str(self.data)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=os.setpgrp)
        wait_for(lambda: world.answers(BOX, 465), 60, self.tail)

    def submit(self, recipients, subject, sender=ALICE, body="Hello.\r\n.a line with a stop\r\n", options=(), more=(), fields=""):
        letter = f"From: Alice <{sender}>\r\nTo: {', '.join(recipients)}\r\nSubject: {subject}\r\n" \
                 f"Message-ID: <{subject.replace(' ', '-')}@example.test>\r\nDate: Thu, 26 Nov 2026 12:00:00 +0000\r\n{fields}\r\n{body}"
        with smtplib.SMTP_SSL(BOX, 465, context=anyone(), timeout=60) as client:
            client.login(ALICE, PASSWORD)
            client.sendmail(sender, recipients, letter.encode(), mail_options=options, rcpt_options=more)
        return letter.encode()

    def queue(self):
        return self.json("queue", "list")

    def inbox(self, address=BOX, user=ALICE):
        from imapclient import IMAPClient
        client = IMAPClient(address, 993, ssl_context=anyone(), timeout=60)
        client.login(user, PASSWORD)
        client.select_folder("INBOX", readonly=True)
        rows = client.fetch(client.search("ALL"), ["BODY.PEEK[]"]) if client.search("ALL") else {}
        client.logout()
        return [email.message_from_bytes(row[b"BODY[]"], policy=email.policy.default) for _, row in sorted(rows.items())]

    def empty(self, seconds=60):
        wait_for(lambda: self.queue() == [], seconds, lambda: f"{self.queue()}\n{self.tail()}")

    def waits(self, words, seconds=60):
        def look():
            found = [one for letter in self.queue() for one in letter["recipients"] if words in (one["last"] or "")]
            return found and found[0]
        return wait_for(look, seconds, lambda: f"{words}: {self.queue()}\n{self.tail()}")

    def cancel(self):
        self.run("queue", "cancel", "--all")
        same(self.queue(), [])


def report(letter):
    """The fields of a notice's report, one dictionary a recipient, and its plain words."""
    same(letter.get_content_type(), "multipart/report")
    words, status = letter.get_payload()[:2]
    blocks = [dict(block.items()) for block in status.get_payload()]
    return words.get_content(), blocks


def certificate(folder, name):
    """From a root of its own, `NAME-root.pem`."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", "-x509", *curve, "-keyout", folder / f"{name}-root.key", "-out", folder / f"{name}-root.pem", "-days", "30",
        "-subj", f"/CN=Root of {name}")
    run("openssl", "req", *curve, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr", "-subj", f"/CN={name}")
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{name}-root.pem", "-CAkey",
        folder / f"{name}-root.key", "-CAcreateserial", "-days", "30", "-extfile", folder / f"{name}.ext", "-out",
        folder / f"{name}.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def play(check, box, office):
    check = ends(check, box)
    tls = certificate(box.folder, "mx.grey.test")
    with check("somebody else's Postfix gets a letter byte for byte, under TLS, by the domain's MX"):
        sent = box.submit(["aunt@elsewhere.test"], "to Postfix")
        box.empty()
        got = wait_for(office.letters, 60, office.log)
        same(len(got), 1)
        text = got[0].replace(b"\n", b"\r\n")
        assert text.endswith(sent), text
        assert b"(using TLSv1.3" in text, text
        assert b"127.0.0.1" not in text and world.COUCH.encode() not in text, "the sender's home address is told"
    with check("whom it does not know comes back as a notice that says so, and the queue is empty"):
        box.submit(["nobody@elsewhere.test", "aunt@elsewhere.test"], "to two")
        box.empty()
        same(len(wait_for(lambda: len(office.letters()) == 2 and office.letters(), 60, office.log)), 2)
        notice = wait_for(box.inbox, 30, box.tail)[-1]
        words, blocks = report(notice)
        assert "There is no such address" in words and "nobody@elsewhere.test" in words and "to two" in words, words
        same(blocks[1]["Final-Recipient"], "rfc822; nobody@elsewhere.test")
        same((blocks[1]["Action"], blocks[1]["Status"]), ("failed", "5.1.1"))
        assert "550 5.1.1" in blocks[1]["Diagnostic-Code"], blocks
        same(notice["In-Reply-To"], "<to-two@example.test>")
        same(len(blocks), 2)
    with check("a server without TLS gets it in the clear; several of its people in one dialogue"):
        far = Far(PLAIN)
        sent = box.submit(["a@plain.test", "b@plain.test", "c@plain.test"], "to three")
        box.empty()
        same([(sender.split()[0], recipients, secure) for sender, recipients, _, secure, _ in far.letters],
             [(f"FROM:<{ALICE}>", ["a@plain.test", "b@plain.test", "c@plain.test"], False)])
        assert far.letters[0][2].endswith(sent), far.letters[0][2]
        box.submit(["d@bare.test"], "without an MX")
        box.empty()
        same(far.letters[1][1], ["d@bare.test"])
        far.end()
    with check("domains that one host serves get a letter each, over one connection, and it may take one of them at a time as Google does"):
        begun, named = [], []

        def answer(line, _):
            if line == "END" and not begun:
                begun.append(line)
                time.sleep(4)
            if line.startswith("MAIL"):
                named.clear()
            if line.startswith("RCPT"):
                named.append(line.rpartition("@")[2].partition(">")[0])
                if named[0] != named[-1]:
                    return "451 4.3.0 multiple destination domains per transaction is unsupported"
            return None
        far = Far(PLAIN, answer=answer)
        box.submit(["a@plain.test", "r@red.test", "b@blue.test"], "to three domains")
        wait_for(lambda: begun, 60, box.tail)
        box.submit(["other@red.test"], "to red")
        box.submit(["other@blue.test"], "to blue")
        box.empty()
        expected = [["a@plain.test"], ["b@blue.test"], ["other@blue.test"], ["other@red.test"], ["r@red.test"]]
        same((len(far.talks), sorted(letter[1] for letter in far.letters)), (1, expected))
        far.end()
    with check("a server that greylists gets it at the second try, once"):
        seen = []

        def answer(line, _):
            if line.startswith("RCPT") and not seen:
                seen.append(line)
                return "450 4.7.1 greylisted, come back"
            return None
        far = Far(GREY, tls=tls, answer=answer, offers=["PIPELINING", "CHUNKING", "SIZE"])
        sent = box.submit(["g@grey.test"], "greylisted")
        waiting = box.waits("greylisted, come back")
        same((waiting["attempts"], waiting["state"]), (1, "waiting"))
        same(far.letters, [])
        box.run("queue", "retry", "--all")
        box.empty()
        same([(letter[1], letter[3]) for letter in far.letters], [(["g@grey.test"], True)])
        assert far.letters[0][2].endswith(sent)
        assert any(line.startswith("BDAT ") for line in far.talks[-1].lines), far.talks[-1].lines
        far.end()
    with check("where the word on a letter is not heard it is tried again, and is in the queue until it is"):
        dropped = []

        def answer(line, _):
            if line == "END" and not dropped:
                dropped.append(line)
                return "drop"
            return None
        far = Far(DROPS, answer=answer)
        box.submit(["d@drops.test"], "dropped")
        box.waits("The server closed the connection")
        same(len(far.letters), 1)
        box.run("queue", "retry", "--all")
        box.empty()
        same(len(far.letters), 2)
        far.end()
    with check("TLS that does not work is done without, where nothing asks for it"):
        far = Far(BROKEN, tls="broken")
        box.submit(["b@broken.test"], "broken TLS")
        box.empty()
        same([letter[3] for letter in far.letters], [False])
        far.end()
    with check("the second MX takes what the first one cannot"):
        far = Far(SECOND)
        box.submit(["t@two.test"], "second")
        box.empty(90)
        same(len(far.letters), 1)
        far.end()
    with check("domains that take no mail, are not there, or lead back here are said to be that at once"):
        before = len(box.inbox())
        for domain, status, words in [("null.test", "5.1.10", "takes no mail"), ("nowhere.elsewhere.test", "5.1.2", "there is no server"),
                                      ("ours.test", "5.4.6", "does not know the domain")]:
            box.submit([f"x@{domain}"], f"to {domain}")
            box.empty()
            notice = wait_for(lambda: len(box.inbox()) > before and box.inbox()[-1], 30, box.tail)
            before += 1
            said, blocks = report(notice)
            assert words in said, said
            same(blocks[1]["Status"], status)
    with check("a refusal of the whole letter is told with the server's words; who asked for none gets none"):
        far = Far(REFUSES, answer=lambda line, _: "554 5.7.1 we do not like this\r\n250 x" if line == "END" else None)
        before = len(box.inbox())
        box.submit(["r@refuses.test"], "silent", options=["RET=HDRS"], more=["NOTIFY=NEVER"])
        box.empty()
        box.submit(["r@refuses.test"], "told", options=["RET=HDRS", "ENVID=e1"], more=["NOTIFY=FAILURE", "ORCPT=rfc822;R@refuses.test"])
        box.empty()
        time.sleep(1)
        inbox = box.inbox()
        same(len(inbox), before + 1)
        said, blocks = report(inbox[-1])
        assert "we do not like this" in said, said
        same(blocks[0]["Original-Envelope-Id"], "e1")
        same(blocks[1]["Original-Recipient"], "rfc822; R@refuses.test")
        same(inbox[-1].get_payload()[2].get_content_type(), "text/rfc822-headers")
        far.end()
    with check("success is told where it was asked for and the other server will not"):
        far = Far(PLAIN)
        before = len(box.inbox())
        box.submit(["a@plain.test"], "tell me", more=["NOTIFY=SUCCESS"])
        box.empty()
        notice = wait_for(lambda: len(box.inbox()) > before and box.inbox()[-1], 30, box.tail)
        same(report(notice)[1][1]["Action"], "relayed")
        far.end()
    with check("success is told of what stays in the house, too"):
        before = len(box.inbox())
        box.submit([ALICE], "to myself", options=["ENVID=e2"], more=["NOTIFY=SUCCESS"])
        inbox = box.inbox()
        same(len(inbox), before + 2)
        said, blocks = report(inbox[-1])
        same((blocks[0]["Original-Envelope-Id"], blocks[1]["Action"]), ("e2", "delivered"))
    with check("a time to be delivered by is handed on with what is left of it, or the letter comes back"):
        def told(action, status, words):
            notice = wait_for(lambda: len(box.inbox()) > before and box.inbox()[-1], 30, box.tail)
            said, blocks = report(notice)
            assert words in said and "Deliver-By-Date" in blocks[0], (said, blocks)
            same((blocks[1]["Action"], blocks[1]["Status"]), (action, status))
            return before + 1
        before = len(box.inbox())
        far = Far(PLAIN, offers=["PIPELINING", "DELIVERBY 60"])
        box.submit(["a@plain.test"], "in ten minutes", options=["BY=600;RT"])
        box.empty()
        before = told("relayed", "2.0.0", "took the letter")
        given = far.letters[0][0].partition(" BY=")[2].split()[0]
        assert given.endswith(";RT") and 540 < int(given[:-3]) <= 600, given
        box.submit(["a@plain.test"], "too soon", options=["BY=50;R"])
        before = told("failed", "5.4.7", "needs (60 seconds)")
        far.end()
        far = Far(PLAIN)
        box.submit(["a@plain.test"], "without a promise", options=["BY=600;R"])
        before = told("failed", "5.3.3", "does not promise")
        same(len(far.letters), 0)
        far.end()
        box.submit(["s@slow.test"], "in three seconds", options=["BY=3;R"])
        before = told("failed", "5.4.7", "could not be given the letter in time")
        box.empty()
    with check("a letter for later waits for its time, and then comes to this house and to others, once each"):
        far = Far(PLAIN)
        before = len(box.inbox())
        sent = box.submit(["a@plain.test", ALICE], "for later", options=["HOLDFOR=6"])
        box.submit(["a@plain.test"], "for now")
        wait_for(lambda: far.letters, 30, box.tail)
        waiting = {one["address"]: one["state"] for letter in box.queue() for one in letter["recipients"]}
        same(waiting, {"a@plain.test": "later", ALICE: "later"})
        same((len(far.letters), len(box.inbox())), (1, before))
        box.empty()
        same((len(far.letters), len(box.inbox())), (2, before + 1))
        assert far.letters[1][2].endswith(sent)
        came = box.inbox()[-1]
        same((came["Subject"], came["Return-Path"]), ("for later", f"<{ALICE}>"))
        assert came["DKIM-Signature"] and came["Received"], came
        far.end()
    with check("what is held stays, what is cancelled goes, and both survive a kill"):
        box.submit(["s@slow.test"], "held")
        box.waits("cannot be reached")
        box.run("queue", "hold", "--all")
        letter = box.queue()[0]
        same(letter["recipients"][0]["state"], "held")
        far = Far(SLOW)
        box.kill()
        box.serve()
        same(box.run("queue", "retry", str(letter["id"]), ok=False).returncode != 0, True)
        time.sleep(2)
        same(far.letters, [])
        box.run("queue", "release", str(letter["id"]))
        box.empty()
        same(len(far.letters), 1)
        far.end()
        box.submit(["s@slow.test"], "cancelled")
        box.waits("cannot be reached")
        before = len(box.inbox())
        box.cancel()
        same(len(box.inbox()), before)
    with check("a kill in the middle of a letter loses nothing"):
        stuck = []

        def answer(line, _):
            if line == "END" and not stuck:
                stuck.append(line)
                time.sleep(20)
            return None
        far = Far(SLOW, answer=answer)
        box.submit(["s@slow.test"], "killed")
        wait_for(lambda: stuck, 60, box.tail)
        box.kill()
        box.serve()
        box.run("queue", "retry", "--all", ok=False)
        box.empty()
        assert 1 <= len(far.letters) <= 2, far.letters
        far.end()


class Neighbour(House):
    """A second homepost, outside the house, at an address of its own."""

    address = "5.5.5.40"

    def init(self):
        self.run("init", "--hostname", "mail.next.test", "--domain", "next.test", "--admin", "bob@next.test", "--password-stdin",
                 input=PASSWORD + "\n")
        text = (self.data / "settings.toml").read_text()
        (self.data / "settings.toml").write_text(text.replace('source = ""', f'source = "{self.address}"'))

    def serve(self):
        run("ip", "addr", "add", f"{self.address}/24", "dev", "world")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--data", str(self.data), "--bind", self.address], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=os.setpgrp)
        wait_for(lambda: world.answers(self.address, 465), 60, self.tail)


def vouched(house, domain, address):
    """Lines of a domain's zone: who may send in its name, and its keys as the house would have them published."""
    def quoted(value):
        return " ".join(f'"{value[at:at + 250]}"' for at in range(0, len(value), 250))
    texts = [r for r in house.json("dns", "records", domain, "--address", address) if r["type"] == "TXT"]
    listed = [r for r in texts if "_domainkey" in r["name"] or (r["name"] == domain and r["value"].startswith("v=spf1 "))]
    same(len(listed), 3, str(texts))
    return ['_dmarc TXT "v=DMARC1; p=reject"', *(f'{r["name"]}. TXT ( {quoted(r["value"])} )' for r in listed)]


def pyspf(address, sender, helo):
    """What pyspf says of a server that hands a letter in. (By itself: a test of ours has the name of a package that it needs.)"""
    program = ("import sys, dns.resolver as r, spf; r.default_resolver = r.Resolver(configure=False); "
               "r.default_resolver.nameservers = [sys.argv[1]]; print(spf.check2(i=sys.argv[2], s=sys.argv[3], h=sys.argv[4])[0])")
    done = subprocess.run([sys.executable, "-P", "-c", program, NAMES, address, sender, helo], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": str(TARGET / "signed" / "packages")})
    same(done.returncode, 0, done.stderr)
    return done.stdout.strip()


def neighbours(check, box, neighbour):
    def arrived(inbox, subject, words):
        found = wait_for(lambda: [letter for letter in inbox() if letter["Subject"] == subject], 60, words)
        same(len(found), 1)
        results = " ".join(found[0]["Authentication-Results"].split())
        assert "spf=pass smtp.mailfrom" in results and results.count("dkim=pass") == 2 and "dmarc=pass" in results, results
        assert "ESMTPS" in found[0].get_all("Received")[0], found[0]
        # Who handed it in, as the other end saw it, is judged by somebody else's program, too.
        came = re.match(r"from (\S+) \(\[([0-9.]+)\]\)", " ".join(found[0].get_all("Received")[0].split()))
        sender = found[0]["Return-Path"].strip("<>")
        same(pyspf(came[2], sender, came[1]), "pass", str(found[0]))
        for stranger in (PLAIN, OFFICE):
            same(pyspf(stranger, sender, came[1]), "fail", sender)
        return found[0]

    with check("two homeposts exchange letters both ways, under TLS, and each finds the other's proven"):
        neighbour.serve()
        box.submit(["bob@next.test"], "to the neighbour")
        got = arrived(lambda: box.inbox(neighbour.address, "bob@next.test"), "to the neighbour", neighbour.tail)
        with smtplib.SMTP_SSL(neighbour.address, 465, context=anyone(), timeout=60) as client:
            client.login("bob@next.test", PASSWORD)
            client.sendmail("bob@next.test", [ALICE], f"From: bob@next.test\r\nTo: {ALICE}\r\nSubject: from the neighbour\r\n"
                            f"In-Reply-To: {got['Message-ID']}\r\n\r\nThank you.\r\n".encode())
        same(arrived(box.inbox, "from the neighbour", box.tail)["In-Reply-To"], got["Message-ID"])
        box.empty()
        same(neighbour.json("queue", "list"), [])
        neighbour.stop()
        same(neighbour.check(), "")


def families(check, box, place):
    """The box gets a second address, and an IPv6 one, as the world does."""
    check = ends(check, box)
    run("ip", "addr", "add", f"{FAR6}/64", "dev", "world", "nodad")
    run(*place.inside, "ip", "addr", "add", f"{BOX6}/64", "dev", "eth0", "nodad")
    run(*place.inside, "ip", "addr", "add", f"{BOX_OTHER}/24", "dev", "eth0")
    with check("a host that has only IPv6 gets its letters"):
        far = Far(FAR6)
        box.submit(["s@six.test"], "six")
        box.empty()
        same([(letter[1], talk.peer) for letter, talk in zip(far.letters, far.talks, strict=True)], [(["s@six.test"], BOX6)])
        far.end()
    with check("where neither kind of address connects both are told; the one that failed alone is tried last next time"):
        box.submit(["h@half.test"], "half")
        waiting = box.waits(f"({FAR6})")
        assert f"({DEAD})" in waiting["last"], waiting
        far = Far(FAR6)
        box.run("queue", "retry", "--all")
        box.empty()
        other = Far(DEAD)
        box.submit(["h@half.test"], "half again")
        box.empty()
        same((len(far.letters), len(other.talks)), (2, 0))
        far.end()
        box.submit(["h@half.test"], "half at last")
        box.empty()
        same(len(other.letters), 1)
        other.end()
    with check("letters leave from the address that the settings name, and one that is not there is said to be that"):
        def source(addresses):
            text = (box.data / "settings.toml").read_text()
            old = next(line for line in text.splitlines() if line.startswith("source ="))
            (box.data / "settings.toml").write_text(text.replace(old, f'source = "{addresses}"'))
            box.stop()
            box.serve()
        far, six = Far(PLAIN), Far(FAR6)
        source("5.5.5.99")
        box.submit(["s@plain.test"], "from nowhere")
        box.waits("this machine does not have the address 5.5.5.99")
        source(f"{BOX_OTHER} {BOX6}")
        box.run("queue", "retry", "--all")
        box.submit(["s@six.test"], "from six")
        box.empty()
        same((far.talks[-1].peer, six.talks[-1].peer), (BOX_OTHER, BOX6))
        source("")


def relayed(check, box):
    context = certificate(box.folder, "smtp.relay.test")
    shutil.copy(box.folder / "smtp.relay.test-root.pem", box.data / "relay.pem")
    far = Far(RELAY, port=465, first=context, users={"anna": "s3cret"})

    def settings(password, root="relay.pem"):
        text = (box.data / "settings.toml").read_text().split("[relay]")[0].rstrip()
        (box.data / "settings.toml").write_text(
            f'{text}\n\n[relay]\nhost = "smtp.relay.test"\nport = 465\ntls = "implicit"\nuser = "anna"\ntrust = "{root}"\n')
        (box.data / "relay-password").write_text(password)
        os.chmod(box.data / "relay-password", 0o600)
        box.stop()
        box.serve()

    with check("a relay whose certificate nobody vouches for, or that does not know us, gets nothing; letters wait"):
        settings("s3cret", root="")
        box.submit(["x@elsewhere.test"], "no such relay")
        box.waits("there is no TLS with smtp.relay.test")
        settings("wrong")
        box.run("queue", "retry", "--all")
        box.waits("535")
        same(far.letters, [])
    with check("everything goes through the relay, by SCRAM, and nothing to the domains' own servers"):
        settings("s3cret")
        box.run("queue", "retry", "--all")
        box.submit(["a@plain.test", "y@elsewhere.test"], "relayed")
        box.empty()
        same(sorted((recipients, secure, user) for _, recipients, _, secure, user in far.letters),
             [(["a@plain.test", "y@elsewhere.test"], True, "anna"), (["x@elsewhere.test"], True, "anna")])
        assert any(line.startswith("AUTH SCRAM-SHA-256") for talk in far.talks for line in talk.lines)
        assert "s3cret" not in box.log.read_text()
    school = Far(SCHOOL, port=587, tls=certificate(box.folder, "smtp.school.test"), users={"tom": "l3tters"}, mechanisms="LOGIN")
    shutil.copy(box.folder / "smtp.school.test-root.pem", box.data / "school.pem")
    with check("letters to some domains go through a relay of their own, with its own password, and others as before"):
        with open(box.data / "settings.toml", "a", encoding="utf-8") as file:
            file.write('\n[relays.school]\nhost = "smtp.school.test"\nport = 587\ntls = "starttls"\nuser = "tom"\n'
                       'trust = "school.pem"\ndomains = "plain.test .refuses.test"\n')
        box.stop()
        box.serve()
        before = len(far.letters)
        box.submit(["a@plain.test", "b@in.refuses.test", "c@refuses.test"], "two relays")
        box.waits("535")
        assert "password is missing" in box.run("relay", "list").stdout
        box.run("relay", "password", "school", input="l3tters\n")
        same(box.run("relay", "password", "nobody", input="x\n", ok=False).returncode != 0, True)
        same((box.data / "relay-password-school").stat().st_mode & 0o777, 0o600)
        box.run("queue", "retry", "--all")
        box.empty()
        same([(sorted(letter[1]), letter[3], letter[4]) for letter in school.letters],
             [(["a@plain.test", "b@in.refuses.test"], True, "tom")])
        same([letter[1] for letter in far.letters[before:]], [["c@refuses.test"]])
        assert "AUTH LOGIN" in " ".join(line for talk in school.talks for line in talk.lines)
        listed = box.json("relay", "list")
        same([(one["name"], one["password"]) for one in listed], [("", True), ("school", True)])
        assert "l3tters" not in box.log.read_text() + str(listed)
    school.end()
    far.end()


def main():
    world.enter()
    (TARGET / "e2e").mkdir(parents=True, exist_ok=True)
    place = world.World(TARGET / "e2e")
    check, box, neighbour, office, bind = Checks(), Box(place), Neighbour("neighbour"), None, None
    try:
        box.init()
        neighbour.init()
        zones = ZONES | {
            "example.test": ZONES["example.test"] + zone(*vouched(box, "example.test", BOX)).removeprefix(HEAD),
            "next.test": zone("@ MX 10 mail", f"mail A {Neighbour.address}", *vouched(neighbour, "next.test", Neighbour.address)),
        }
        bind = Bind(box.folder / "bind", zones, port=53, at=NAMES)
        office = world.Office(box.folder / "office", receives="elsewhere.test")
        box.serve()
        play(check, box, office)
        neighbours(check, box, neighbour)
        families(check, box, place)
        relayed(check, box)
        with check("the stores are sound"):
            box.stop()
            same(box.check(), "")
    finally:
        # Before its folder goes with the box's: it is stopped by what lies there.
        if office:
            office.end()
        box.end(keep=check.failed > 0)
        neighbour.end(keep=check.failed > 0)
        if bind:
            bind.end()
        place.end()
    check.end()


if __name__ == "__main__":
    main()
