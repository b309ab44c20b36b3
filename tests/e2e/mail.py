"""Real letters in by stock clients, out by a stock client, equal byte for byte.

2,500 letters of SpamAssassin's easy-ham-1 and the .eml files of the mail-parser crate go in by Python's smtplib over
STARTTLS from several connections; mbsync (isync) fetches them over TLS into a Maildir. What comes back is what went in,
with nothing but trace header fields on top. What the policy refuses is counted, named and bounded, and must have what it
is refused for.
"""

import collections
import contextlib
import glob
import imaplib
import json
import pathlib
import queue
import re
import smtplib
import ssl
import subprocess
import sys
import threading
import time

from house import ALICE, BINARY, PASSWORD, ROOT, TARGET, Checks, House, anyone, same, without_trace

CONNECTIONS = 6


def normal(raw):
    """CRLF at every line end, as a sending client makes it; nothing else changes."""
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def ham():
    files = sorted(glob.glob(str(TARGET / "corpus/package/data/easy-ham-1/*.txt")))
    return [(pathlib.Path(name).name, normal(pathlib.Path(name).read_bytes())) for name in files]


def eml():
    text = subprocess.run(["cargo", "metadata", "--locked", "--format-version=1"], cwd=ROOT, capture_output=True,
                          text=True, check=True).stdout
    package = next(p for p in json.loads(text)["packages"] if p["name"] == "mail-parser")
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(folder.rglob("*.eml"))
    # Two of them are the same letter. Sent twice at once, the second is taken for the first, sent again by a client that
    # has not read its 250 (promise P3).
    letters = {normal(name.read_bytes()): str(name.relative_to(folder)) for name in files}
    return [(name, message) for message, name in letters.items()]


def forbidden(message):
    """Why the policy may refuse it: what RFC 5321 does not let a client send, and our limits."""
    if re.search(rb"\r(?!\n)", message):
        return "bare CR"
    if b"\0" in message:
        return "NUL"
    if max(len(line) for line in message.split(b"\r\n")) > 64 * 1024:
        return "long line"
    return None


def send(house, letters):
    """Gives those that were answered 250, and the refusals by name."""
    work = queue.Queue()
    for letter in letters:
        work.put(letter)
    taken, refused, broken = [], {}, []

    def one():
        client = house.smtp()
        while True:
            try:
                name, message = work.get_nowait()
            except queue.Empty:
                break
            try:
                client.sendmail("sender@example.net", [ALICE], message, mail_options=["BODY=8BITMIME"])
                taken.append((name, message))
            except smtplib.SMTPDataError as error:
                refused[name] = (message, error.smtp_code, error.smtp_error.decode(errors="replace"))
            except Exception as error:  # noqa: BLE001: anything else is a failure of the server
                broken.append(f"{name}: {error!r}")
                client = house.smtp()
        client.quit()

    threads = [threading.Thread(target=one) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken, f"{len(broken)} broke, first {broken[0]}"
    return taken, refused


def judge_refusals(refused, most):
    reasons = collections.Counter()
    for name, (message, code, words) in sorted(refused.items()):
        why = forbidden(message)
        print(f"       refused {name}: {code} {words} ({why})")
        assert why, f"{name} was refused without having done anything: {code} {words}"
        assert 500 <= code < 600, f"{name}: {code} would be sent again for ever"
        reasons[why] += 1
    assert sum(reasons.values()) <= most, f"{sum(reasons.values())} refused, at most {most} expected"
    return dict(reasons)


def mbsync(house, into):
    cert = house.folder / "cert.pem"
    cert.write_text(ssl.get_server_certificate(("127.0.0.1", house.port(993))))
    into.mkdir()
    config = house.folder / "mbsyncrc"
    config.write_text(f"""
IMAPAccount home
Host 127.0.0.1
Port {house.port(993)}
User {ALICE}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {cert}
Timeout 120

IMAPStore far
Account home

MaildirStore near
Path {into}/
Inbox {into}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
""")
    done = subprocess.run(["mbsync", "-c", str(config), "all"], capture_output=True, text=True)
    assert done.returncode == 0, f"mbsync: {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return [path.read_bytes() for kind in ("new", "cur") for path in sorted((into / "INBOX" / kind).iterdir())]


def without_tuid(letter):
    """mbsync marks what it has stored with a field of its own at the end of the header."""
    return re.sub(rb"^X-TUID: [A-Za-z0-9+/]{12}\n", b"", letter, count=1, flags=re.M)


def compare(got, want):
    """Every one exactly once, with trace fields on top and nothing else different."""
    missing = collections.Counter(want)
    strange = []
    for letter in got:
        original = without_trace(letter, missing)
        if original is None or missing[original] == 0:
            strange.append(letter)
        else:
            missing[original] -= 1
    missing = +missing
    assert not strange, f"{len(strange)} letters that nobody sent, or that were changed; one begins {strange[0][:300]!r}"
    assert not missing, f"{sum(missing.values())} letters are missing; one begins {next(iter(missing))[:200]!r}"


def swaks(house, *words):
    return subprocess.run(["swaks", "--server", "127.0.0.1", "--from", "sender@example.net", "--h-Subject", "by swaks",
                           *words], capture_output=True, text=True)


def ending(house):
    """Stock clients that have logged in, while somebody changes what let them in."""
    house.add("bob@example.test")
    idler, quiet = (house.imap(user="bob@example.test") for _ in range(2))
    sender = smtplib.SMTP_SSL("127.0.0.1", house.port(465), local_hostname="client.example.net", context=anyone(), timeout=60)
    sender.login("bob@example.test", PASSWORD)
    same(sender.mail("bob@example.test")[0], 250)
    for client in (idler, quiet):
        client.select_folder("INBOX")
    idler.idle()
    same(idler.idle_check(timeout=1), [])
    began = time.monotonic()
    house.run("account", "password", "bob@example.test", "--password-stdin", input="quite another pass phrase\n")
    heard = idler.idle_check(timeout=30)
    print(f"       BYE in IDLE {time.monotonic() - began:.1f} s after the command was given")
    assert heard and heard[0][0] == b"BYE" and b" ".join(heard[0]).endswith(b"log in again"), heard
    ended(quiet, quiet.noop)
    same(sender.rcpt(ALICE)[0], 421)
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        sender.noop()
        raise AssertionError("it is still there after 421")
    again = house.imap(user="bob@example.test", password="quite another pass phrase")
    again.select_folder("INBOX")
    same(again.noop()[0], b"NOOP completed")
    house.run("account", "delete", "bob@example.test")
    ended(again, lambda: again.fetch("1:*", ["FLAGS"]))


def ended(client, command):
    """The client finds BYE where an answer should be, and then the end of the connection."""
    with contextlib.suppress(imaplib.IMAP4.abort, OSError):
        raise AssertionError(f"it was answered: {command()}")
    bye = b" ".join(client._imap.untagged_responses.get("BYE", []))
    assert b"log in again" in bye, bye


def submitting(house, checks):
    """Whoever has logged in: whose name a letter carries, what it lacks, and to how many it goes."""
    host = ["--server", "127.0.0.1", "--port", str(house.port(465)), "--tlsc", "--auth", "PLAIN", "--auth-user", ALICE, "--auth-password", PASSWORD]

    def swaks(*words, data=None):
        done = subprocess.run(["swaks", *host, *words, *(["--data", "-"] if data else [])], input=data, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    with checks("a letter in somebody else's name is refused, in MAIL and in its header, and nothing of it is kept"):
        house.add("bob@example.test")
        code, said = swaks("--from", "bob@example.test", "--to", ALICE)
        assert code == 23 and "550 5.7.1 bob@example.test is not an address of alice@example.test" in said, said[-800:]
        before = house.json("account", "show", ALICE)["messages"]
        for field in ("From: Bob <bob@example.test>", "From: alice@example.test\nSender: ceo@bank.example",
                      "From: alice@example.test, bob@example.test", "From: alice@example.test\nFrom: bob@example.test"):
            code, said = swaks("--from", ALICE, "--to", ALICE, data=f"{field}\nSubject: x\n\nx\n")
            assert code == 26 and "550 5.7.1" in said, said[-800:]
        same(house.json("account", "show", ALICE)["messages"], before)
    with checks("what a letter lacks is added, a blind copy stays blind, and it says nothing of where it was sent from"):
        code, said = swaks("--from", ALICE, "--helo", "laptop.at-home.example", "--to", f"{ALICE},bob@example.test",
                           data="To: alice@example.test\nBcc: bob@example.test,\n eve@elsewhere.example\nSubject: bare\n\nx\n")
        assert code == 0, said[-800:]
        letter = next(raw for raw in house.letters().values() if b"Subject: bare" in raw).decode()
        assert not re.search("bob|eve|laptop|127.0.0.1", letter), letter
        assert re.search(r"^From: <?alice@example.test>?\r$", letter, re.M) and re.search(r"^Date: .* \+0000\r$", letter, re.M), letter
        assert re.search(r"^Message-ID: <[0-9a-f]{32}@example.test>\r$", letter, re.M), letter
        same(letter.count("DKIM-Signature:"), 2)
    with checks("who writes to many strangers has to wait, then is stopped; the account and the administrator are told; it is let go on"):
        settings = house.data / "settings.toml"
        text = settings.read_text()
        for key, number in (("new_recipients_per_hour", 5), ("new_recipients_per_day", 8)):
            text, n = re.subn(rf"^#? ?{key} *=.*$", f"{key} = {number}", text, flags=re.M)
            same(n, 1, key)
        settings.write_text(text)
        house.stop()
        house.serve()
        def to(start, count):
            return ",".join(f"s{n}@elsewhere.example" for n in range(start, start + count))
        bob = ["--auth-user", "bob@example.test", "--from", "bob@example.test"]
        code, said = swaks(*bob, "--to", to(0, 5))
        assert code == 0, said[-800:]
        code, said = swaks(*bob, "--to", to(10, 1))
        assert code == 24 and "450 4.7.1 This account writes to more than 5 people at once" in said, said[-800:]
        code, said = swaks(*bob, "--to", to(0, 5))
        assert code == 0, said[-800:]
        told = [raw for who in (ALICE, "bob@example.test") for raw in house.letters(user=who).values() if b"has to wait before" in raw]
        same(len(told), 2)
        # The day is shorter than the hour now.
        settings.write_text(re.sub(r"^new_recipients_per_hour = 5$", "new_recipients_per_hour = 100", text, flags=re.M))
        house.stop()
        house.serve()
        for _ in range(2):
            code, said = swaks(*bob, "--to", to(20, 4))
            assert code == 0 or "550 5.7.1 This account has written to so many strangers" in said, said[-800:]
        code, said = swaks(*bob, "--to", to(0, 1))
        assert code == 24 and "550 5.7.1" in said, said[-800:]
        for who in (ALICE, "bob@example.test"):
            told = [raw for raw in house.letters(user=who).values() if b"Subject: bob@example.test may send nothing" in raw]
            same(len(told), 1, who)
            assert b"homepost account resume bob@example.test" in told[0], told[0]
        assert "has written to so many strangers" in house.run("problems").stdout
        assert "sending stopped" in house.run("account", "list").stdout
        house.run("account", "resume", "bob@example.test")
        code, said = swaks(*bob, "--to", to(40, 2))
        assert code == 0, said[-800:]
        assert "so many strangers" not in house.run("problems").stdout


def with_its_own(checks):
    house = House("submitting")
    try:
        house.init()
        house.serve()
        submitting(house, checks)
        house.stop()
        same(house.check(), "")
    finally:
        house.end(keep=checks.failed > 0)


def main():
    checks = Checks()
    with_its_own(checks)
    house = House("mail")
    sent = []
    try:
        house.init()
        house.serve()
        with checks("2,500 letters of easy-ham-1 go in"):
            letters = ham()
            assert len(letters) >= 2500, f"only {len(letters)} letters in the corpus"
            taken, refused = send(house, letters)
            sent += taken
            print(f"       {len(taken)} taken, refused: {judge_refusals(refused, 25)}")
            assert len(taken) >= 2475
        with checks("the .eml files of mail-parser go in"):
            letters = eml()
            assert len(letters) >= 100, f"only {len(letters)} .eml files"
            taken, refused = send(house, letters)
            sent += taken
            print(f"       {len(taken)} taken, refused: {judge_refusals(refused, 20)}")
        with checks("swaks holds the dialogue: STARTTLS, and a letter"):
            done = swaks(house, "--port", str(house.port(25)), "--tls", "--to", ALICE, "--body", ".a line with a dot\n")
            assert done.returncode == 0, done.stdout[-1500:] + done.stderr
            assert "<~  250" in done.stdout and "TLS started" in done.stdout, done.stdout
        with checks("swaks is told 550 5.1.1 for who is not here, and that nothing is relayed"):
            done = swaks(house, "--port", str(house.port(25)), "--to", "nobody@example.test")
            assert done.returncode == 24 and "550 5.1.1" in done.stdout, done.stdout[-800:]
            done = swaks(house, "--port", str(house.port(25)), "--to", "someone@elsewhere.example")
            assert done.returncode == 24 and re.search(r"<\*\* +55\d ", done.stdout), done.stdout[-800:]
        with checks("swaks submits on 465 with AUTH, to here and to the outside"):
            for mechanism in ("PLAIN", "LOGIN"):
                done = swaks(house, "--port", str(house.port(465)), "--tlsc", "--auth", mechanism, "--auth-user", ALICE,
                             "--auth-password", PASSWORD, "--from", ALICE, "--to", f"{ALICE},someone@elsewhere.example")
                assert done.returncode == 0, done.stdout[-1500:] + done.stderr
            queue_list = house.run("queue", "list").stdout
            assert "someone@elsewhere.example" in queue_list, queue_list
            assert "Nothing leaves: the server is bound to this machine" in queue_list, queue_list
        with checks("swaks is never offered AUTH on 25"):
            done = swaks(house, "--port", str(house.port(25)), "--tls", "--to", ALICE, "--quit-after", "EHLO")
            assert "AUTH" not in done.stdout, done.stdout
        fetched = []
        with checks("mbsync fetches all of it over TLS"):
            fetched = mbsync(house, house.folder / "maildir")
            print(f"       {len(fetched)} letters")
        with checks("every letter is the one that was sent, byte for byte, once"):
            # Maildir has LF at line ends; those of swaks are its own.
            mine = [letter for letter in fetched if b"Subject: by swaks" not in letter]
            same_ends = [without_tuid(letter.replace(b"\r\n", b"\n")) for letter in mine]
            compare(same_ends, [message.replace(b"\r\n", b"\n") for _, message in sent])
            assert len(fetched) - len(mine) == 3, f"{len(fetched) - len(mine)} letters from swaks"
        with checks("FETCH BODY[] gives the bytes themselves"):
            letters = [letter for letter in house.letters().values() if b"Subject: by swaks" not in letter]
            compare(letters, [message for _, message in sent])
        with checks("every structure can be asked for"):
            client = house.imap()
            client.select_folder("INBOX", readonly=True)
            rows = client.fetch("1:*", ["ENVELOPE", "RFC822.SIZE", "INTERNALDATE", "FLAGS"])
            assert len(rows) == len(sent) + 3, len(rows)
            client.fetch("1:*", ["BODYSTRUCTURE"])
            client.logout()
        with checks("an open session ends with its password and with its account: BYE, in IDLE at once, and 421"):
            ending(house)
        with checks("the stores are sound, while serving and after"):
            assert not house.check(), house.check()
            house.stop()
            assert not house.check(), house.check()
    finally:
        house.end(keep=checks.failed > 0)
    checks.end()


if __name__ == "__main__":
    if not pathlib.Path(BINARY).exists():
        sys.exit(f"{BINARY} is not built: make e2e")
    main()
