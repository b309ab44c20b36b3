"""Reports, both ways: what others' letters and servers came to goes to the domains that ask for it, over somebody else's Postfix
to whoever reads it; and what others report to us is told in plain words. In network namespaces, as `sending`."""

import email
import email.policy
import gzip
import io
import json
import re
import shutil
import smtplib
import threading
import time
import xml.etree.ElementTree as tree
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dkim
import world
from bind import Bind
from house import ALICE, TARGET, Checks, same
from sending import Box, certificate, wait_for, zone
from world import BOX, FAR, OFFICE

STRANGER, COLLECTS = FAR[:2]
ASKS = "v=DMARC1; p=none; rua=mailto:aunt@elsewhere.test!10m,mailto:victim@plain.test; " \
       "ruf=mailto:aunt@elsewhere.test,mailto:victim@plain.test"
ZONES = {
    "example.test": zone("@ MX 10 mail", f"mail A {BOX}"),
    "elsewhere.test": zone("@ MX 10 mail", f"mail A {OFFICE}", f'@ TXT "v=spf1 ip4:{OFFICE} -all"', f'_dmarc TXT "{ASKS}"',
                           f"reports A {COLLECTS}",
                           '_smtp._tls TXT "v=TLSRPTv1; rua=mailto:aunt@elsewhere.test,https://reports.elsewhere.test/tls?a=1"'),
    # Names a place that has not said that it wants such reports, and one that is too small.
    "floods.test": zone('_dmarc TXT "v=DMARC1; p=none; rua=mailto:aunt@elsewhere.test,mailto:a@floods.test!1"'),
    "test": zone(),
    "plain.test": zone("@ MX 10 mx", f"mx A {STRANGER}"),
}
SPACE = "{urn:ietf:params:xml:ns:dmarc-2.0}"


class Collector:
    """Takes reports over HTTPS (RFC 8460 5.4)."""

    def __init__(self, context):
        self.taken = taken = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                taken.append((self.path, {name.lower(): value for name, value in self.headers.items()},
                              self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer((COLLECTS, 443), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


def letter(sender, subject, to=ALICE):
    return (f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{subject.replace(' ', '.')}@x.test>\r\n"
            "Date: Thu, 26 Nov 2026 12:00:00 +0000\r\n\r\nhello\r\n").encode()


def attached(name, kind, data, subject, to="postmaster@example.test"):
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = "reports@elsewhere.test", to, subject
    message["Message-ID"], message["Date"] = f"<{time.time()}@elsewhere.test>", "Thu, 26 Nov 2026 12:00:00 +0000"
    message.set_content("a report")
    message.add_attachment(data, maintype="application", subtype=kind, filename=name)
    return message.as_bytes()


def google(passed, failed):
    def record(source, count, result):
        return (f"<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>"
                f"<dkim>{result}</dkim><spf>{result}</spf></policy_evaluated></row><identifiers><header_from>example.test"
                "</header_from></identifiers><auth_results/></record>")
    return ("<?xml version=\"1.0\" encoding=\"UTF-8\" ?><feedback><report_metadata><org_name>google.com</org_name><report_id>1"
            "</report_id><date_range><begin>1790000000</begin><end>1790086399</end></date_range></report_metadata><policy_published>"
            "<domain>example.test</domain><p>none</p></policy_published>" + record(BOX, passed, "pass")
            + record("203.0.113.9", failed, "fail") + "</feedback>").encode()


def directly(source, sender, message, to=ALICE):
    with smtplib.SMTP(BOX, 25, local_hostname="far.test", timeout=120, source_address=(source, 0)) as client:
        client.sendmail(sender, [to], message)


def signature(box, message):
    """By the keys that the box would have published."""
    keys = {r["name"]: r["value"] for r in box.json("dns", "records", "example.test", "--address", BOX)
            if r["type"] == "TXT" and "_domainkey" in r["name"]}

    def ask(name, timeout=60):
        name = (name.decode() if isinstance(name, bytes) else name).rstrip(".")
        return keys[name].encode()
    # As it was sent: without what the office wrote on top, with line ends of CR LF.
    signed = message[message.index(b"DKIM-Signature:"):].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    verifier = dkim.DKIM(signed)
    return all(verifier.verify(idx=index, dnsfunc=ask) for index in (0, 1))


def ours(check, box, office, collector):
    with check("letters of a domain that asks for reports are counted, and reported to whom it names and who wants it"):
        for n in range(3):
            office.send("aunt@elsewhere.test", ALICE, letter("aunt@elsewhere.test", f"good {n}"))
        directly(STRANGER, "a@spam.test", letter("boss@elsewhere.test", "forged"))
        # From nobody: it may be a notice about another one.
        directly(STRANGER, "", letter("boss@elsewhere.test", "forged by nobody"))
        directly(STRANGER, "a@floods.test", letter("a@floods.test", "floods"))
        wait_for(lambda: len(box.inbox()) == 6, 120, box.tail)
        # Three sessions, of which the two reports that are made first cannot be all.
        for n in range(3):
            box.submit(["aunt@elsewhere.test"], f"a letter that leaves {n}")
            box.empty()
        same(len(office.letters()), 3)
        said = box.json("reports", "send", "--today")
        same(said, {"reports": 4, "unwanted": 1}, box.tail())
        box.empty()
        wait_for(lambda: len(office.letters()) == 6, 60, box.tail)
    reports = {}
    for bytes_ in office.letters():
        message = email.message_from_bytes(bytes_, policy=email.policy.default)
        if message["Subject"].startswith("Report Domain:"):
            [part] = [part for part in message.walk() if part.get_filename()]
            reports[part.get_content_type()] = (bytes_, message, part, gzip.decompress(part.get_content()))
        elif message.get_content_type() == "multipart/report":
            failure = (bytes_, message)
    with check("the DMARC report is what RFC 9990 describes, and counts what was sent"):
        _, message, part, text = reports["application/gzip"]
        assert re.fullmatch(r"Report Domain: elsewhere\.test Submitter: example\.test\s+Report-ID: <\S+>", message["Subject"]), message["Subject"]
        assert re.fullmatch(r"example\.test!elsewhere\.test!\d+!\d+\.xml\.gz", part.get_filename()), part.get_filename()
        same((message["From"].addresses[0].addr_spec, message["Auto-Submitted"]), ("postmaster@example.test", "auto-generated"))
        root = tree.fromstring(text)
        same(root.tag, SPACE + "feedback")
        same([child.tag.removeprefix(SPACE) for child in root][:3], ["version", "report_metadata", "policy_published"])
        find = lambda path, of=root: of.findtext("/".join(SPACE + name for name in path.split("/")))  # noqa: E731
        same((find("report_metadata/org_name"), find("policy_published/domain"), find("policy_published/p")),
             ("example.test", "elsewhere.test", "none"))
        begin, end = int(find("report_metadata/date_range/begin")), int(find("report_metadata/date_range/end"))
        assert begin % 86400 == 0 and begin < end < begin + 86400, (begin, end)
        rows = sorted((find("row/source_ip", r), find("row/count", r), find("row/policy_evaluated/disposition", r),
                       find("row/policy_evaluated/dkim", r), find("row/policy_evaluated/spf", r), find("identifiers/header_from", r),
                       find("auth_results/spf/result", r)) for r in root.findall(SPACE + "record"))
        same(rows, [(OFFICE, "3", "pass", "fail", "pass", "elsewhere.test", "pass"),
                    (STRANGER, "1", "none", "fail", "fail", "elsewhere.test", "none"),
                    (STRANGER, "1", "none", "fail", "fail", "elsewhere.test", "none")])
    with check("the TLS report is what RFC 8460 describes, and counts the session"):
        _, message, part, text = reports["application/tlsrpt+gzip"]
        same((message.get_content_type(), message.get_param("report-type")), ("multipart/report", "tlsrpt"))
        same((message["TLS-Report-Domain"], message["TLS-Report-Submitter"]), ("elsewhere.test", "example.test"))
        report = json.loads(text)
        same(report["organization-name"], "example.test")
        [policy] = report["policies"]
        same(policy["policy"]["policy-domain"], "elsewhere.test")
        same(policy["summary"], {"total-successful-session-count": 3, "total-failure-session-count": 0})
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["date-range"]["start-datetime"]), report
    with check("the same report is taken over HTTPS"):
        [(path, fields, body)] = collector.taken
        same((path, fields["content-type"]), ("/tls?a=1", "application/tlsrpt+gzip"))
        same(json.loads(gzip.decompress(body)), report)
    with check("the letter that failed is told of by its header, to whom its domain names for that and who wants it"):
        bytes_, message = failure
        same((message.get_param("report-type"), message["Auto-Submitted"]), ("feedback-report", "auto-generated"))
        _, told, head = message.get_payload()
        told = told.get_payload(0)
        same([told[name] for name in ("Feedback-Type", "Auth-Failure", "Identity-Alignment", "Source-IP", "Reported-Domain",
                                      "Delivery-Result", "Original-Mail-From")],
             ["auth-failure", "dmarc", "none", STRANGER, "elsewhere.test", "delivered", "<a@spam.test>"])
        assert "dmarc=fail" in told["Authentication-Results"], told
        same(head.get_content_type(), "text/rfc822-headers")
        assert "Subject: forged" in head.get_payload() and b"hello" not in bytes_, bytes_
        assert signature(box, bytes_), bytes_.decode()
    with check("both are signed, as dkimpy sees it"):
        same(len(reports), 2)
        for bytes_, *_ in reports.values():
            assert signature(box, bytes_), bytes_.decode()
    with check("what was reported is not reported again, nor the letters that were reports"):
        same(box.json("reports", "send", "--today")["reports"], 0)
        same(len(office.letters()), 6)


def theirs(check, box, office):
    def archive(data):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("google.com!example.test.xml", data)
        return packed.getvalue()

    def listed(count):
        return wait_for(lambda: (all_ := box.json("reports", "list")["reports"]) and len(all_) >= count and all_, 60, box.tail)
    before = len(box.inbox())
    with check("a report to us is told in plain words"):
        office.send("aunt@elsewhere.test", "postmaster@example.test", attached(
            "google.com!example.test!1790000000!1790086399.zip", "zip", archive(google(13, 1)),
            "Report domain: example.test Submitter: google.com Report-ID: <1>"))
        [report] = listed(1)
        same((report["kind"], report["reporter"], report["count"], report["good"], report["proven"]), ("dmarc", "google.com", 14, 13, True))
        text = box.run("reports", "list").stdout
        assert "On 21 September 2026 google.com saw 14 letters from example.test: 13 were proven to be yours, 1 were not." in text, text
        assert "1 from 203.0.113.9 did not carry your signature: probably a forwarder, or somebody else in your name." in text, text
        assert "203.0.113.9  dkim=fail spf=fail" in box.run("reports", "show", report["id"]).stdout
    with check("one that somebody else sent in the same name is told with that"):
        directly(STRANGER, "a@spam.test", attached("r.xml.gz", "gzip", gzip.compress(google(99, 0)), "Report Domain: example.test Report-ID: <2>"),
                 "postmaster@example.test")
        report = listed(2)[0]
        same((report["count"], report["proven"]), (99, False))
        assert "It is not proven that elsewhere.test sent this report." in report["words"], report
    with check("one that unpacks without end is given up, and its letter is there"):
        office.send("aunt@elsewhere.test", "postmaster@example.test", attached(
            "r.xml.gz", "gzip", gzip.compress(b" " * (400 << 20)), "Report Domain: example.test Report-ID: <3>"))
        same(listed(3)[0]["kind"], "unread")
        same(len(box.inbox()), before + 3)
        assert box.status("VmHWM") < 400 << 20, f"{box.status('VmHWM') >> 20} MiB"


def main():
    world.enter()
    (TARGET / "e2e").mkdir(parents=True, exist_ok=True)
    place = world.World(TARGET / "e2e")
    check, box, office, bind = Checks(), Box(place), None, None
    try:
        bind = Bind(box.folder / "bind", ZONES, port=53, at=world.NAMES)
        office = world.Office(box.folder / "office", receives="elsewhere.test")
        box.init()
        collector = Collector(certificate(box.folder, "reports.elsewhere.test"))
        shutil.copy(box.folder / "reports.elsewhere.test-root.pem", box.data / "roots.pem")
        text = (box.data / "settings.toml").read_text().replace("failures = false", "failures = true")
        text = re.sub(r'(\n\[sending\]\n.*?\ntrust = )""', r'\1"roots.pem"', text, count=1, flags=re.DOTALL)
        (box.data / "settings.toml").write_text(text)
        box.serve()
        ours(check, box, office, collector)
        collector.end()
        theirs(check, box, office)
        with check("the stores are sound"):
            box.stop()
            same(box.check(), "")
    finally:
        # Before its folder goes with the box's: it is stopped by what lies there.
        if office:
            office.end()
        box.end(keep=check.failed > 0)
        if bind:
            bind.end()
        place.end()
    check.end()


if __name__ == "__main__":
    main()
