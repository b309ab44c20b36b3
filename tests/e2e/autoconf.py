"""Mail programs set themselves up: their requests as they make them, over TLS on the real ports (in a network namespace of
our own), and then a log-in with exactly what the answer said."""

import base64
import hashlib
import json
import os
import plistlib
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

from house import ALICE, PASSWORD, Checks, House, anyone, same

DOMAIN = "example.test"
HOST = "mail.example.test"
RESPONSE = "{http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006}"
OUTLOOK = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"

# As the programs say them, but for the names.
THUNDERBIRD = """GET {path} HTTP/1.1
Host: {host}
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.5.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Connection: keep-alive
Priority: u=4

"""
K9 = """GET {path} HTTP/1.1
Host: {host}
Connection: Keep-Alive
Accept-Encoding: gzip
User-Agent: okhttp/4.12.0

"""
APPLE = """GET {path} HTTP/1.1
Host: {host}
Accept: */*
Accept-Language: de-DE,de;q=0.9
Connection: keep-alive
Accept-Encoding: gzip, deflate, br
User-Agent: accountsd/113 CFNetwork/3826.500.131 Darwin/24.5.0

"""
MTA = """GET /.well-known/mta-sts.txt HTTP/1.1
Host: {host}
User-Agent: postfix-tlspol/1.8
Accept-Encoding: identity
Connection: close

"""
OUTLOOK_POST = """POST {path} HTTP/1.1
Cache-Control: no-cache
Connection: Keep-Alive
Pragma: no-cache
Content-Type: text/xml
User-Agent: Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)
X-MS-CookieUri-Requested: t
X-FeatureVersion: 1
Client-Request-Id: {{6A1AAA10-6F5B-4D3C-9C1D-0E4F1F2B7C11}}
X-MapiHttpCapability: 1
Depth: 0
X-User-Identity: {address}
Content-Length: {length}
Host: {host}

{body}"""
OUTLOOK_BODY = """<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"""
PHONE_BODY = OUTLOOK_BODY.replace("outlook/requestschema", "mobilesync/requestschema").replace(
    "outlook/responseschema/2006a", "mobilesync/responseschema/2006")
OUTLOOK_JSON = """GET /autodiscover/autodiscover.json?Email={address}&Protocol={protocol}&RedirectCount=1 HTTP/1.1
Connection: Keep-Alive
Accept: application/json
User-Agent: Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)
X-OFFICE-MAJOR-VERSION: 16
Host: {host}

"""


def inside():
    """Runs this file once more in a network namespace of its own, for who is not root in a user namespace too."""
    kind = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    done = subprocess.run([*kind, "--kill-child", "--fork", sys.executable, __file__, "inside"])
    sys.exit(done.returncode)


class Answer:
    def __init__(self, reader):
        self.status = int(reader.readline().split()[1])
        self.fields = {}
        while line := reader.readline().strip():
            name, value = line.decode().split(":", 1)
            self.fields[name.lower()] = value.strip()
        self.body = reader.read(int(self.fields.get("content-length", 0)))

    def xml(self):
        return ET.fromstring(self.body)


def connect(host):
    """As the DNS would lead there, with the name said in the handshake."""
    return anyone().wrap_socket(socket.create_connection(("127.0.0.1", 443), timeout=60), server_hostname=host)


def ask(words, host, **more):
    if "body" in more:
        more["length"] = len(more["body"])
    with connect(host) as stream:
        head, body = words.format(host=host, **more).split("\n\n", 1)
        stream.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode())
        return Answer(stream.makefile("rb"))


def log_in(port, implicit, user, password=PASSWORD):
    """Over IMAP, by this way."""
    from imapclient import IMAPClient
    client = IMAPClient("127.0.0.1", port, ssl=implicit, ssl_context=anyone() if implicit else None, timeout=60)
    if not implicit:
        client.starttls(anyone())
    client.login(user, password)
    client.select_folder("INBOX")
    client.logout()


def send(port, implicit, user, password=PASSWORD):
    kind = smtplib.SMTP_SSL if implicit else smtplib.SMTP
    more = {"context": anyone()} if implicit else {}
    with kind("127.0.0.1", port, local_hostname="client.example.net", timeout=60, **more) as client:
        if not implicit:
            client.starttls(context=anyone())
        client.login(user, password)
        client.sendmail(user, [ALICE], f"From: {user}\r\nTo: {ALICE}\r\nSubject: set up\r\n\r\nWell.\r\n")


def thunderbird(check, house):
    address = ALICE.replace("@", "%40")
    places = [(f"autoconfig.{DOMAIN}", f"/mail/config-v1.1.xml?emailaddress={address}"),
              (DOMAIN, f"/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress={address}"),
              (HOST, f"/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress={address}")]
    with check("Thunderbird and K-9 find the same at every place, and log in with it"):
        answers = [ask(words, host, path=path) for words in (THUNDERBIRD, K9) for host, path in places]
        for answer in answers:
            same(answer.status, 200)
            assert answer.fields["content-type"].startswith("text/xml"), answer.fields
            same(answer.body, answers[0].body)
        root = answers[0].xml()
        same((root.tag, root.get("version")), ("clientConfig", "1.1"))
        provider = root.find("emailProvider")
        same([provider.get("id"), provider.findtext("domain")], [DOMAIN, DOMAIN])
        for element, kind, use in (("incomingServer", "imap", log_in), ("outgoingServer", "smtp", send)):
            servers = provider.findall(element)
            same([server.get("type") for server in servers], [kind], element)
            server = servers[0]
            same(server.findtext("hostname"), HOST)
            same(server.findtext("authentication"), "password-cleartext")
            same(server.findtext("socketType"), "SSL")
            user = server.findtext("username").replace("%EMAILADDRESS%", ALICE)
            use(int(server.findtext("port")), True, user)
    with check("a port that is opened stands there at once, behind the encrypted one"):
        for name in ("imap", "submission"):
            house.run("listeners", "on", name)
        root = ask(THUNDERBIRD, *places[0][:1], path=places[0][1]).xml()
        ways = [(one.get("type"), int(one.findtext("port")), one.findtext("socketType"))
                for one in root.iter() if one.tag.endswith("Server")]
        same(ways, [("imap", 993, "SSL"), ("imap", 143, "STARTTLS"), ("smtp", 465, "SSL"), ("smtp", 587, "STARTTLS")])
        log_in(143, False, ALICE)
        send(587, False, ALICE)
        for name in ("imap", "submission"):
            house.run("listeners", "off", name)
    with check("nobody can try out addresses, and other domains are not ours"):
        known, unknown = (ask(THUNDERBIRD, *places[0][:1], path=f"/mail/config-v1.1.xml?emailaddress={one}%40{DOMAIN}")
                          for one in ("alice", "nobody"))
        same((unknown.status, unknown.body), (known.status, known.body))
        other = ask(THUNDERBIRD, DOMAIN, path="/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=a%40other.test")
        same(other.status, 404)
        same(ask(THUNDERBIRD, "autoconfig.other.test", path="/mail/config-v1.1.xml").status, 421)
        same(ask(THUNDERBIRD, DOMAIN, path="/mail/config-v1.1.xml?emailaddress=a%0d%0ab%40" + DOMAIN).status, 400)
    with check("a domain that is added has its own at once"):
        house.run("domain", "add", "second.test")
        root = ask(THUNDERBIRD, "autoconfig.second.test",
                   path="/mail/config-v1.1.xml?emailaddress=a%40second.test").xml()
        same(root.find("emailProvider").get("id"), "second.test")


def outlook(check):
    host = f"autodiscover.{DOMAIN}"
    with check("Outlook is told where to go, and logs in with what it finds there"):
        told = ask(OUTLOOK_JSON, host, address=ALICE, protocol="AutodiscoverV1")
        same((told.status, told.fields["content-type"]), (200, "application/json"))
        url = json.loads(told.body)["Url"]
        there, path = re.fullmatch(r"https://([^/]+)(/.*)", url).groups()
        for host_, path_ in ((there, path), (host, "/autodiscover/autodiscover.xml"),
                             (host, "/Autodiscover/Autodiscover.xml"), (DOMAIN, "/AutoDiscover/AutoDiscover.xml")):
            answer = ask(OUTLOOK_POST, host_, path=path_, address=ALICE, body=OUTLOOK_BODY.format(address=ALICE))
            same(answer.status, 200, path_)
            root = answer.xml()
            same(root.tag, RESPONSE + "Autodiscover")
            account = root.find(f"{OUTLOOK}Response/{OUTLOOK}Account")
            same([account.findtext(OUTLOOK + name) for name in ("AccountType", "Action")], ["email", "settings"])
            for protocol, kind, use in zip(account.findall(OUTLOOK + "Protocol"), ("IMAP", "SMTP"), (log_in, send), strict=True):
                said = {field.tag.removeprefix(OUTLOOK): field.text for field in protocol}
                same([said["Type"], said["Server"], said["SSL"], said["Encryption"], said["SPA"], said["AuthRequired"]],
                     [kind, HOST, "on", "SSL", "off", "on"])
                use(int(said["Port"]), True, said["LoginName"])
    with check("a phone that wants ActiveSync, and who says nothing, are refused in their own words"):
        for words, more, code in ((OUTLOOK_POST, {"body": PHONE_BODY.format(address=ALICE)}, "601"),
                                  (OUTLOOK_POST, {"body": ""}, "600"), (THUNDERBIRD, {}, "600")):
            answer = ask(words, host, path="/autodiscover/autodiscover.xml", address=ALICE, **more)
            same((answer.status, answer.xml().findtext(f"{RESPONSE}Response/{RESPONSE}Error/{RESPONSE}ErrorCode")), (200, code))
        told = ask(OUTLOOK_JSON, host, address=ALICE, protocol="ActiveSync")
        same((told.status, json.loads(told.body)["ErrorCode"]), (400, "InvalidProtocol"))


def documents(check, house):
    def records():
        return {(r["name"], r["type"]): r["value"] for r in house.json("dns", "records", DOMAIN)}

    with check("the document of Apple's draft is the one that its record vouches for"):
        answer = ask(APPLE, f"ua-auto-config.{DOMAIN}", path="/.well-known/user-agent-configuration.json")
        same((answer.status, answer.fields["content-type"]), (200, "application/json"))
        digest = base64.b64encode(hashlib.sha256(answer.body).digest()).decode()
        same(records()[f"_ua-auto-config.{DOMAIN}", "TXT"], f"v=UAAC1; a=sha256; d={digest}")
        protocols = json.loads(answer.body)["protocols"]
        same([protocols["imap"], protocols["submit"]], [{"host": HOST}, {"host": HOST}])
        house.run("listeners", "off", "imaps")
        other = ask(APPLE, f"ua-auto-config.{DOMAIN}", path="/.well-known/user-agent-configuration.json")
        house.run("listeners", "on", "imaps")
        assert other.body != answer.body and "imap" not in json.loads(other.body)["protocols"], other.body
    with check("the policy of MTA-STS and its number change together, and only then"):
        answer = ask(MTA, f"mta-sts.{DOMAIN}")
        same((answer.status, answer.fields["content-type"].split(";")[0]), (200, "text/plain"))
        lines = answer.body.decode().split("\r\n")
        same(lines, ["version: STSv1", "mode: testing", f"mx: {HOST}", "max_age: 86400", ""])
        before = records()[f"_mta-sts.{DOMAIN}", "TXT"]
        settings = house.data / "settings.toml"
        settings.write_text(re.sub(r'(\[mta_sts\][^\[]*\nmode = )"testing"', r'\1"enforce"', settings.read_text()))
        house.stop()
        house.serve()
        after = records()[f"_mta-sts.{DOMAIN}", "TXT"]
        assert re.fullmatch(r"v=STSv1; id=[0-9a-zA-Z]{1,32}", after) and after != before, (before, after)
        assert b"mode: enforce\r\n" in ask(MTA, f"mta-sts.{DOMAIN}").body
        same(records()[f"_mta-sts.{DOMAIN}", "TXT"], after)
        same(ask(MTA, DOMAIN).status, 404)


def devices(check, house):
    def refused(password):
        try:
            house.imap(password=password)
        except Exception as error:  # noqa: BLE001: imaplib's own kind
            assert "AUTHENTICATIONFAILED" in str(error).upper() or "incorrect" in str(error).lower(), error
            return True
        return False

    with check("a device logs in by a password of its own, and not when it is removed"):
        made = house.json("device", "add", ALICE, "--name", "Alice's laptop")
        password = made["password"]
        assert re.fullmatch(r"[a-z]{4}(-[a-z]{4}){4}", password), password
        [before] = house.json("device", "list", ALICE)
        same([before["id"], before["name"], before["used"]], [made["id"], "Alice's laptop", None])
        assert "password" not in before, before
        house.imap(password=password).logout()
        house.imap(password=password.replace("-", "").upper()).logout()
        assert house.json("device", "list", ALICE)[0]["used"], "it turns green"
        same(refused(password[:-1] + ("a" if password[-1] != "a" else "b")), True)
        house.stop()
        assert house.json("device", "list", ALICE)[0]["used"], "also without a server"
        second = house.json("device", "add", ALICE, "--name", "tablet")
        house.serve()
        house.imap(password=second["password"]).logout()
        house.run("device", "remove", ALICE, str(made["id"]))
        same(refused(password), True)
        house.imap(password=second["password"]).logout()
        house.imap().logout()
        assert password not in house.log.read_text() and second["password"] not in house.log.read_text(), "in the log"
    with check("an Apple device fetches a signed profile, once, and logs in with what is in it"):
        link = house.json("device", "link", ALICE, "--name", "Alice's phone")["link"]
        there, path = re.fullmatch(r"https://([^/]+)(/.*)", link).groups()
        same(there, HOST)
        same(ask(APPLE, f"autoconfig.{DOMAIN}", path=path).status, 404, "only under the house's own name")
        answer = ask(APPLE, HOST, path=path)
        same((answer.status, answer.fields["content-type"]), (200, "application/x-apple-aspen-config"))
        with connect(HOST) as stream:
            own = ssl.DER_cert_to_PEM_cert(stream.getpeercert(True))
        (house.folder / "own.pem").write_text(own)
        verified = subprocess.run(
            ["openssl", "cms", "-verify", "-inform", "DER", "-purpose", "any", "-CAfile", str(house.folder / "own.pem")],
            input=answer.body, capture_output=True)
        same(verified.returncode, 0, verified.stderr)
        profile = plistlib.loads(verified.stdout)
        same([profile["PayloadType"], profile["PayloadVersion"]], ["Configuration", 1])
        [mail] = profile["PayloadContent"]
        wanted = {"PayloadType": "com.apple.mail.managed", "EmailAccountType": "EmailTypeIMAP", "EmailAddress": ALICE}
        for way in ("Incoming", "Outgoing"):
            wanted |= {f"{way}MailServerHostName": HOST, f"{way}MailServerUseSSL": True, f"{way}MailServerUsername": ALICE,
                       f"{way}MailServerAuthentication": "EmailAuthPassword"}
        same({key: mail.get(key) for key in wanted}, wanted)
        for one in (profile, mail):
            assert one["PayloadIdentifier"] and re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", one["PayloadUUID"])
        log_in(mail["IncomingMailServerPortNumber"], True, mail["IncomingMailServerUsername"], mail["IncomingPassword"])
        same(mail["OutgoingPasswordSameAsIncomingPassword"], True)
        send(mail["OutgoingMailServerPortNumber"], True, mail["OutgoingMailServerUsername"], mail["IncomingPassword"])
        phone = next(one for one in house.json("device", "list", ALICE) if one["name"] == "Alice's phone")
        assert phone["used"] and phone["waits-until"] is None, phone
        same(ask(APPLE, HOST, path=path).status, 404, "once")
        tampered = subprocess.run(
            ["openssl", "cms", "-verify", "-inform", "DER", "-purpose", "any", "-CAfile", str(house.folder / "own.pem")],
            input=answer.body.replace(b"EmailTypeIMAP", b"EmailTypePOP3"), capture_output=True)
        assert tampered.returncode != 0, "a changed profile is believed"


def hardship(check, house):
    with check("a thousand who connect to 443 and wait keep nobody from his mail, nor from the page"):
        waiting = []
        began = time.monotonic()
        for number in range(1000):
            plain = socket.create_connection(("127.0.0.1", 443), timeout=60)
            waiting.append(plain)
            if number % 10 == 0:
                try:
                    waiting[-1] = anyone().wrap_socket(plain, server_hostname=HOST)
                except (OSError, ssl.SSLError):
                    pass  # its place was needed
        took = time.monotonic() - began
        began = time.monotonic()
        send(465, True, ALICE)
        log_in(993, True, ALICE)
        same(ask(THUNDERBIRD, f"autoconfig.{DOMAIN}", path="/mail/config-v1.1.xml").status, 200)
        print(f"       {took:.1f} s to connect, {time.monotonic() - began:.1f} s for mail out, in and the page; "
              f"{house.descriptors()} descriptors, {house.status('VmRSS') >> 20} MB")
        assert time.monotonic() - began < 30
        for one in waiting:
            one.close()
    with check("every answer has its headers, and a certificate of our own is not insisted on"):
        for host, path, status in ((HOST, "/mail/config-v1.1.xml", 200), (HOST, "/nowhere", 404), ("evil.test", "/", 421)):
            answer = ask(THUNDERBIRD, host, path=path)
            same(answer.status, status)
            assert "default-src 'none'" in answer.fields["content-security-policy"], answer.fields
            same((answer.fields["x-content-type-options"], answer.fields["referrer-policy"]), ("nosniff", "same-origin"))
            assert "strict-transport-security" not in answer.fields, answer.fields


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    check = Checks()
    house = House("autoconf")
    house.offset = 0
    try:
        house.init()
        house.serve()
        thunderbird(check, house)
        outlook(check)
        documents(check, house)
        devices(check, house)
        hardship(check, house)
        with check("the stores are whole"):
            house.stop()
            same(house.check(), "")
    finally:
        house.end(keep=check.failed > 0)
    check.end()


if __name__ == "__main__":
    main() if sys.argv[1:] == ["inside"] else inside()
