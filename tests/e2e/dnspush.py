"""Records written at BIND by signed updates: what is there is shown first, what is others' stays, and all of it goes back."""

import base64
import json
import re
import smtplib
import socket
import subprocess
import threading
import time

from bind import Bind, free_port, tool
from house import ALICE, PASSWORD, anyone, same

DOMAIN = "example.test"
ADDRESS = "192.0.2.25"
KEY, SECRET = "home-key", base64.b64encode(b"a secret of thirty-two bytes yes").decode()
FOREIGN = [
    'example.test. 3600 IN NS ns1.example.test.',
    'example.test. 300 IN TXT "google-site-verification=x"',
    'ns1.example.test. 3600 IN A 127.0.0.1',
    'www.example.test. 3600 IN A 192.0.2.80',
]
HEAD = """$TTL 3600
@ IN SOA ns1.example.test. hostmaster.example.test. 1 7200 900 1209600 240
@ IN NS ns1.example.test.
ns1 IN A 127.0.0.1
www IN A 192.0.2.80
@ 300 IN TXT "google-site-verification=x"
"""


def zone_file(bind, folder):
    """What named-checkzone says of all that is in the zone."""
    lines = [line for line in bind.all(DOMAIN)]
    head = f"{DOMAIN}. 3600 IN SOA ns1.{DOMAIN}. hostmaster.{DOMAIN}. 1 7200 900 1209600 240"
    file = folder / "pushed.zone"
    file.write_text("\n".join([head, *lines]) + "\n")
    done = subprocess.run([tool("named-checkzone"), DOMAIN, str(file)], text=True, capture_output=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def push(house, *words, ok=True, address=ADDRESS):
    done = house.run("dns", "push", DOMAIN, "--address", address, *words, "--json", ok=False)
    if ok:
        assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else None, done.stderr


def use(house, bind, secret=SECRET, key=KEY, server=None, ask=None):
    server = server or bind.address
    house.run("dns", "use", "rfc2136", "--server", server, "--key-name", key, "--ask", ask or bind.address, "--zone", "", "--secret-stdin",
              input=secret + "\n")


def actions(answer):
    out = {}
    for line in answer["lines"]:
        out.setdefault(line["action"], []).append(f"{line['name']}/{line['type']}")
    return out


def nothing_said(house, secret, *outputs):
    said = "".join(outputs) + (house.log.read_text() if house.log.exists() else "")
    assert secret not in said, "the secret was said"
    assert secret not in (house.data / "settings.toml").read_text(), "the secret is in the settings"


def update(bind, *lines):
    """As somebody else with the key would."""
    text = f"server 127.0.0.1 {bind.port}\nzone {DOMAIN}\n" + "\n".join(lines) + "\nsend\n"
    done = subprocess.run([tool("nsupdate"), "-y", f"hmac-sha256:{KEY}:{SECRET}"], input=text, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def written(checks, house, bind, records, short):
    with checks("the secret is kept for the owner only, and said nowhere"):
        done = house.run("dns", "push", DOMAIN, ok=False)
        assert "homepost dns use" in done.stderr, done.stderr
        done = house.run("dns", "use", "rfc2136", "--server", bind.address, "--key-name", KEY, ok=False)
        assert done.returncode == 1 and "--secret-stdin" in done.stderr, done.stderr
        use(house, bind)
        shown = house.run("dns", "use").stdout + house.run("dns", "use", "--json").stdout
        same((house.data / "dns-key.json").stat().st_mode & 0o777, 0o600)
        nothing_said(house, SECRET, shown, json.dumps(house.json("dns", "push", DOMAIN, "--address", ADDRESS)))
    with checks("without --yes it is shown, and nothing is changed"):
        before = bind.all(DOMAIN)
        answer, _ = push(house)
        same(set(actions(answer)), {"add"})
        same((answer["written"], bind.all(DOMAIN)), (False, before))
        text = house.run("dns", "push", DOMAIN, "--address", ADDRESS).stdout
        assert "Nothing is written yet" in text and "--yes" in text, text
    with checks("a server that runs writes every record, BIND gives each out as it was listed, and what was there stays"):
        house.serve()
        answer, words = push(house, "--yes")
        same((answer["written"], answer["unseen"]), (True, []), words)
        wanted = {}
        for record in records(house):
            if record["publish"]:
                wanted.setdefault((record["name"], record["type"]), []).append(short(record))
        wanted[DOMAIN, "TXT"].append('"google-site-verification=x"')
        for (name, kind), values in wanted.items():
            same(bind.dig(name, kind), sorted(values), f"{name} {kind}")
        missing = set(FOREIGN) - set(bind.all(DOMAIN))
        assert not missing, f"touched: {missing}"
        code, said = zone_file(bind, house.folder)
        same(code, 0, said)
        done = house.run("dns", "check", DOMAIN, "--address", ADDRESS, ok=False)
        same(done.returncode, 0, done.stdout + done.stderr)
    with checks("a second push has nothing to do, with and without a server"):
        after = bind.all(DOMAIN)
        for running in (True, False):
            if not running:
                house.stop()
            answer, _ = push(house, "--yes")
            same((set(actions(answer)), answer["to-write"]), ({"keep"}, 0))
        same(bind.all(DOMAIN), after)
        assert "nothing to write" in house.run("dns", "push", DOMAIN, "--address", ADDRESS).stdout
    with checks("what changed is changed, and an undo puts it back"):
        house.run("listeners", "on", "imap")
        answer, _ = push(house, "--yes", address="192.0.2.26")
        same(sorted(actions(answer)["change"]), [f"_imap._tcp.{DOMAIN}/SRV", f"mail.{DOMAIN}/A"])
        same((bind.dig(f"mail.{DOMAIN}", "A"), bind.dig(f"_imap._tcp.{DOMAIN}", "SRV")),
             (["192.0.2.26"], ["0 1 143 mail.example.test."]))
        shown, _ = push(house, "--undo")
        same(shown["to-write"], 2)
        push(house, "--undo", "--yes")
        same(bind.all(DOMAIN), after)
        house.run("listeners", "off", "imap")


def rotated(checks, house, bind):
    def stages():
        return {key["selector"]: key["stage"] for key in house.json("dkim", "list", DOMAIN)}

    def dig(selector):
        return bind.dig(f"{selector}._domainkey.{DOMAIN}", "TXT")

    use(house, bind)
    with checks("new keys are written by themselves and nothing else is, and they sign when they are seen; the old ones stay"):
        update(bind, f"update delete mta-sts.{DOMAIN} CNAME")
        old, undo, before = stages(), push(house, "--undo")[0], bind.all(DOMAIN)
        done = house.json("dkim", "rotate", DOMAIN)
        same((len(done["signing"]), done["waiting"], done["trouble"]), (2, [], None), json.dumps(done))
        same(stages(), {**dict.fromkeys(old, "leaving"), **dict.fromkeys(done["signing"], "signing")})
        for selector in stages():
            assert len(dig(selector)) == 1 and "v=DKIM1" in dig(selector)[0], selector
        added = set(bind.all(DOMAIN)) - set(before)
        same(len(added), 2, f"only the keys: {added}")
        same(push(house, "--undo")[0], undo, "what an owner would undo is what an owner did")
        update(bind, f"update add mta-sts.{DOMAIN} 3600 CNAME mail.{DOMAIN}.")
    with checks("a letter is signed with the new keys"):
        house.serve()
        new = done["signing"]
        with smtplib.SMTP_SSL("127.0.0.1", house.port(465), context=anyone(), timeout=60) as client:
            client.login(ALICE, PASSWORD)
            client.sendmail(ALICE, [ALICE], b"Subject: signed\r\n\r\nx\r\n")
        imap = house.imap()
        imap.select_folder("INBOX", readonly=True)
        letter = imap.fetch(imap.search("ALL")[-1:], ["BODY.PEEK[]"]).popitem()[1][b"BODY[]"].decode()
        same(sorted(re.findall(r"[\t ]s=([0-9a-z]+);", letter)), sorted(new), letter)
        imap.logout()
        house.stop()
    with checks("where records are written by hand the old keys sign until the new records are there"):
        house.run("dns", "use", "none")
        done = house.json("dkim", "rotate", DOMAIN)
        coming = done["waiting"]
        same((len(coming), done["signing"]), (2, []))
        same({stages()[selector] for selector in new}, {"signing"})
        assert "wait until their records are in the DNS" in house.run("problems").stdout
        text = house.run("dns", "records", DOMAIN, "--address", ADDRESS).stdout
        values = {}
        for record in house.json("dns", "records", DOMAIN, "--address", ADDRESS):
            for selector in coming:
                if record["name"] == f"{selector}._domainkey.{DOMAIN}":
                    values[selector] = record["value"]
        same(sorted(values), sorted(coming), text)
        strings = {selector: " ".join(f'"{value[at:at + 200]}"' for at in range(0, len(value), 200)) for selector, value in values.items()}
        first, second = coming
        update(bind, f"update add {first}._domainkey.{DOMAIN} 60 TXT {strings[first]}")
        same(house.json("dkim", "rotate", DOMAIN)["waiting"], coming, "one of two is not enough")
        update(bind, f"update add {second}._domainkey.{DOMAIN} 60 TXT {strings[second]}")
        done = house.json("dkim", "rotate", DOMAIN)
        same((done["made"], sorted(done["signing"])), ([], sorted(coming)))
        same({stages()[selector] for selector in new}, {"leaving"})
        assert "wait until their records" not in house.run("problems").stdout
        same(house.check(), "")
        use(house, bind)


def refused(checks, house, bind):
    before = bind.all(DOMAIN)

    def fails(part, *words, **how):
        use(house, bind, **how)
        answer, said = push(house, "--yes", *words, ok=False, address="192.0.2.99")
        assert part in said, said
        assert answer is None or not answer["written"], answer
        same(bind.all(DOMAIN), before, part)

    with checks("a wrong secret, a wrong key and a server that is down each have their words, and nothing is changed"):
        wrong = base64.b64encode(b"another secret of that length xx").decode()
        fails("the secret is not the one it has", secret=wrong)
        nothing_said(house, wrong)
        fails("does not know the key", key="other-key")
        fails("cannot ask", server=f"127.0.0.1:{free_port()}")
    with checks("a key that may not, a zone that is another's"):
        other = forbidding(house)
        try:
            fails("REFUSED", server=other.address)
        finally:
            other.end()
        house.run("dns", "use", "rfc2136", "--server", bind.address, "--zone", "other.test")
        _, said = push(house, "--yes", ok=False)
        assert "does not lie in the zone other.test" in said, said
        house.run("dns", "use", "rfc2136", "--zone", "")
    with checks("a name server whose clock is wrong is told from one that refuses"):
        with Answering(18, time.time() + 7200) as server:
            use(house, bind, server=server.address)
            _, said = push(house, "--yes", ok=False, address="192.0.2.99")
            assert "BADTIME" in said and "clock" in said and "differ by 7" in said, said
    with checks("after all that nothing is half remembered"):
        use(house, bind)
        answer, _ = push(house, "--yes")
        same((set(actions(answer)), bind.all(DOMAIN)), ({"keep"}, before))


def forbidding(house):
    """A BIND that knows the key, and lets nobody change anything."""
    bind = Bind(house.folder / "other", {DOMAIN: HEAD}, keys={KEY: SECRET})
    conf = bind.folder / "named.conf"
    conf.write_text(re.sub(r"allow-update {[^}]*}", "allow-update { none; }", conf.read_text()))
    bind.process.terminate()
    bind.process.wait(30)
    bind.log.write_text("")
    with open(bind.log, "wb") as log:
        bind.process = subprocess.Popen([tool("named"), "-g", "-c", str(conf), "-n", "1"], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log)
    end = time.monotonic() + 60
    while "running" not in bind.log.read_text(errors="replace"):
        assert bind.process.poll() is None and time.monotonic() < end, bind.log.read_text(errors="replace")
        time.sleep(0.05)
    return bind


class Answering:
    """A name server that gives BIND's answers to questions, none of the domain's, and refuses every signature."""

    def __init__(self, error, seconds):
        self.error, self.seconds = error, int(seconds)

    def __enter__(self):
        port = free_port()
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", port))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("127.0.0.1", port))
        self.tcp.listen()
        self.address = f"127.0.0.1:{port}"
        for work in (self.ask, self.update):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *_):
        for one in (self.udp, self.tcp):
            one.close()

    def ask(self):
        """Authoritative: the zone is there, and empty."""
        while True:
            try:
                question, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            end = question.index(b"\0", 12) + 5
            name, kind = question[12:end - 4], question[end - 4:end - 2]
            soa = b"\0\0" + (1).to_bytes(4, "big") * 5
            record = b"\xc0\x0c" + b"\0\6\0\1" + (60).to_bytes(4, "big") + len(soa).to_bytes(2, "big") + soa
            zone = b"\7example\4test\0"
            here = kind == b"\0\6" and name == zone
            counts = b"\0\1" + (b"\0\1" if here else b"\0\0") + b"\0\0\0\0"
            self.udp.sendto(question[:2] + b"\x84\0" + counts + question[12:end] + (record if here else b""), peer)

    def update(self):
        while True:
            try:
                line, _ = self.tcp.accept()
            except OSError:
                return
            with line:
                length = int.from_bytes(line.recv(2, socket.MSG_WAITALL), "big")
                message = line.recv(length, socket.MSG_WAITALL)
                rdata = (b"\x0bhmac-sha256\0" + int(time.time()).to_bytes(6, "big") + b"\1\x2c\0\0" + message[:2]
                         + self.error.to_bytes(2, "big") + b"\0\6" + self.seconds.to_bytes(6, "big"))
                answer = (message[:2] + b"\xa8\x09" + b"\0" * 6 + b"\0\1" + b"\x08home-key\0" + b"\0\xfa\0\xff" + b"\0" * 4
                          + len(rdata).to_bytes(2, "big") + rdata)
                line.sendall(len(answer).to_bytes(2, "big") + answer)


def conflicts(checks, house, bind):
    with checks("what is not ours is named and left alone, until it is taken over; an undo brings it back to the byte"):
        start = bind.all(DOMAIN)
        push(house, "--undo", "--yes", ok=False)
        update(bind, f"update delete {DOMAIN} MX", f"update delete _dmarc.{DOMAIN} TXT", f"update delete mta-sts.{DOMAIN} CNAME",
               f"update add {DOMAIN} 300 MX 1 aspmx.l.google.com.",
               # In two strings, as some panels write it.
               f'update add {DOMAIN} 300 TXT "v=spf1 include:_spf" ".google.com ~all"',
               f'update delete {DOMAIN} TXT "v=spf1 mx ra=postmaster -all"',
               f'update add _dmarc.{DOMAIN} 300 TXT "v=DMARC1; p=reject"', f"update add mta-sts.{DOMAIN} 300 A 192.0.2.7")
        before = bind.all(DOMAIN)
        answer, said = push(house, "--yes", ok=False)
        same(sorted(actions(answer)["conflict"]),
             [f"_dmarc.{DOMAIN}/TXT", f"{DOMAIN}/MX", f"{DOMAIN}/TXT", f"mta-sts.{DOMAIN}/CNAME"])
        assert "in their way" in said, said
        same(bind.all(DOMAIN), before, "touched")
        words = {f"{line['name']}/{line['type']}": line["words"] for line in answer["lines"] if line["words"]}
        assert "aspmx" in words[f"{DOMAIN}/MX"], words
        same([line["take-over"] for line in answer["lines"] if line["words"]], list(words), "by which word it is taken over")
        text = house.run("dns", "push", DOMAIN, "--address", ADDRESS).stdout
        assert f"--take-over {DOMAIN}/MX (what was there is kept for --undo)" in text, text
        answer, _ = push(house, "--yes", "--take-over", f"{DOMAIN}/MX", ok=False)
        same((bind.dig(DOMAIN, "MX"), len(actions(answer)["conflict"])), (["10 mail.example.test."], 3))
        push(house, "--yes", "--take-over", "all")
        same(bind.dig(DOMAIN, "TXT"), ['"google-site-verification=x"', '"v=spf1 mx ra=postmaster -all"'])
        same((bind.dig(f"mta-sts.{DOMAIN}", "CNAME"), set(bind.dig(f"mta-sts.{DOMAIN}", "A"))),
             (["mail.example.test."], {"mail.example.test.", ADDRESS}))
        push(house, "--undo", "--yes")
        same(bind.dig(f"mta-sts.{DOMAIN}", "A"), ["192.0.2.7"])
        same(bind.dig(f"_dmarc.{DOMAIN}", "TXT"), ['"v=DMARC1; p=reject"'])
        same("".join(bind.dig(DOMAIN, "TXT")).count("_spf"), 1)
        push(house, "--yes", "--take-over", "all")
        same([line for line in bind.all(DOMAIN) if "google-site" not in line], [line for line in start if "google-site" not in line])


def cut(checks, house, bind):
    """The power goes between the writing and the remembering of it: the answer of the name server never comes."""
    with checks("a power cut between writing and remembering is healed by the next push, and undone with it"):
        before = bind.all(DOMAIN)
        with Swallowing(bind.port) as relay:
            house.run("dns", "use", "rfc2136", "--server", relay.address)
            house.serve()
            command = subprocess.Popen(
                [*house_command(), "dns", "push", DOMAIN, "--address", "192.0.2.77", "--yes", "--data", str(house.data)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert relay.got.wait(60), f"no update came: {command.communicate(timeout=60)[0]}"
            house.kill()
            command.communicate(timeout=60)
        same(bind.dig(f"mail.{DOMAIN}", "A"), ["192.0.2.77"], "BIND did it")
        use(house, bind)
        # Whose record is it? Without the memory it would be somebody else's, and in the way.
        answer, _ = push(house, "--yes", address="192.0.2.78")
        same(actions(answer)["change"], [f"mail.{DOMAIN}/A"])
        same(bind.dig(f"mail.{DOMAIN}", "A"), ["192.0.2.78"])
        push(house, "--undo", "--yes", address="192.0.2.78")
        same(bind.all(DOMAIN), before, "an undo goes back to before the cut")
        same(house.check(), "")


def house_command():
    from house import COMMAND
    return COMMAND


class Swallowing:
    """In front of a name server: hands everything on, and keeps the answer to an update to itself."""

    def __init__(self, port):
        self.behind = ("127.0.0.1", port)
        self.got = threading.Event()

    def __enter__(self):
        port = free_port()
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", port))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("127.0.0.1", port))
        self.tcp.listen()
        self.address = f"127.0.0.1:{port}"
        for work in (self.ask, self.accept):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *_):
        for one in (self.udp, self.tcp):
            one.close()

    def ask(self):
        while True:
            try:
                question, peer = self.udp.recvfrom(4096)
                with socket.socket(type=socket.SOCK_DGRAM) as own:
                    own.settimeout(10)
                    own.sendto(question, self.behind)
                    self.udp.sendto(own.recv(65535), peer)
            except OSError:
                return

    def accept(self):
        while True:
            try:
                line, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(line,), daemon=True).start()

    def relay(self, line):
        with line, socket.create_connection(self.behind, timeout=20) as own:
            length = line.recv(2, socket.MSG_WAITALL)
            message = line.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
            own.sendall(length + message)
            answer = own.recv(2, socket.MSG_WAITALL)
            answer += own.recv(int.from_bytes(answer, "big"), socket.MSG_WAITALL)
            if message[2] & 0x78 == 0x28:
                self.got.set()
                time.sleep(30)
            else:
                line.sendall(answer)


def pushed(checks, house, records, short):
    bind = Bind(house.folder / "primary", {DOMAIN: HEAD}, keys={KEY: SECRET})
    try:
        written(checks, house, bind, records, short)
        refused(checks, house, bind)
        conflicts(checks, house, bind)
        rotated(checks, house, bind)
        cut(checks, house, bind)
    finally:
        bind.end()
