"""Hardship: absurd letters, half-open connections, no descriptors, a full disk. A clear reply, bounded memory, and the
next client is served."""

import base64
import contextlib
import os
import pathlib
import random
import smtplib
import socket
import subprocess
import sys
import time

from house import ALICE, PASSWORD, TARGET, Checks, House, anyone, same

MB = 1 << 20
# The default limits; a leak or an unbounded buffer shows as the size of what was sent.
MEMORY = 220 * MB


def plain(subject="next", size=500):
    """A letter that does not get smaller by packing."""
    body = base64.encodebytes(random.Random(subject).randbytes(size * 3 // 4)).replace(b"\n", b"\r\n")
    return f"From: sender@example.net\r\nTo: {ALICE}\r\nSubject: {subject}\r\n\r\n".encode() + body


def served(house, subject):
    """The next client is served: a letter goes in and is read back."""
    client = house.smtp()
    client.sendmail("sender@example.net", [ALICE], plain(subject))
    client.quit()
    reader = house.imap()
    reader.select_folder("INBOX", readonly=True)
    found = reader.search(["SUBJECT", subject])
    assert found, f"{subject} is not there"
    reader.logout()


def bounded(house, what):
    peak = house.status("VmHWM")
    print(f"       {what}: peak {peak // MB} MB, now {house.status('VmRSS') // MB} MB")
    assert peak < MEMORY, f"{peak // MB} MB"
    house.forget_peak()


def dialogue(house):
    """A plain connection past EHLO, MAIL, RCPT and DATA, to say anything on."""
    sock = socket.create_connection(("127.0.0.1", house.port(25)), timeout=60)
    stream = sock.makefile("rwb")
    for line in (None, b"EHLO client.example.net", b"MAIL FROM:<sender@example.net>", f"RCPT TO:<{ALICE}>".encode(), b"DATA"):
        if line:
            stream.write(line + b"\r\n")
            stream.flush()
        while True:
            answer = stream.readline()
            assert answer[:1] in b"23", answer
            if answer[3:4] != b"-":
                break
    return sock, stream


def pour(house, pieces):
    """Sends a body piece by piece, and gives the reply."""
    sock, stream = dialogue(house)
    try:
        for piece in pieces:
            stream.write(piece)
        stream.write(b"\r\n.\r\n")
        stream.flush()
    except OSError:
        pass  # it may have hung up in the middle, after saying why
    try:
        reply = stream.readline().decode(errors="replace").strip()
    except OSError:
        reply = ""
    sock.close()
    return reply


def hardship(checks, house):
    """Letters that nobody sends by accident."""
    with checks("a 50 MiB header is refused"):
        field = b"X-Filler: " + b"x" * 70 + b"\r\n"
        reply = pour(house, (field * 1000 for _ in range(50 * MB // len(field) // 1000)))
        assert reply.startswith(("552", "554", "500")), reply
        bounded(house, reply)
        served(house, "after-header")
    with checks("a header field of 50 MiB in one line is refused"):
        reply = pour(house, [b"X-Filler: "] + [b"x" * MB] * 50)
        assert reply.startswith(("552", "554", "500")), reply
        bounded(house, reply)
        served(house, "after-line")
    with checks("a letter beyond the size limit is refused, announced or not"):
        reply = pour(house, [plain()] + [(b"x" * 62 + b"\r\n") * 16_000] * 55)
        assert reply.startswith("552"), reply
        client = house.smtp()
        code, words = client.docmd("MAIL", f"FROM:<sender@example.net> SIZE={60 * MB}")
        same(code, 552, words)
        client.quit()
        bounded(house, reply)
        served(house, "after-size")
    with checks("10,000 parts are taken and their structure is told"):
        head = b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        reply = pour(house, [head, b"--b\r\n\r\nx\r\n" * 9_999, b"--b--\r\n"])
        assert reply.startswith("250"), reply
        reader = house.imap()
        reader.select_folder("INBOX")
        uid = reader.search(["SUBJECT", "parts"])[-1]
        structure = reader.fetch([uid], ["BODYSTRUCTURE"])[uid][b"BODYSTRUCTURE"]
        same(len(structure[0]), 9_999, "parts")
        reader.logout()
        bounded(house, reply)
    with checks("more parts, and parts 200 deep, are refused"):
        reply = pour(house, [head, b"--b\r\n\r\nx\r\n" * 20_000, b"--b--\r\n"])
        assert reply.startswith("55"), reply
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200))
        reply = pour(house, [b"Subject: deep\r\n", deep, b"\r\nx\r\n"])
        assert reply.startswith("55"), reply
        nested = b"".join(b"Content-Type: message/rfc822\r\n\r\n" for n in range(200))
        reply = pour(house, [nested, b"Subject: inner\r\n\r\nx\r\n"])
        assert reply.startswith("55"), reply
        bounded(house, reply)
        served(house, "after-parts")
    with checks("malformed encodings are taken as they are, and every way of asking for them is answered"):
        bodies = [
            b"Subject: =?utf-8?B?////?= =?x?Q?=ZZ?= =?utf-8?b?\r\n\r\nx",
            b"Subject: \xff\xfe\x80 bad utf-8\r\nFrom: \xc3(\r\n\r\n\xff\xfe",
            b"Content-Type: text/plain; charset=\"nonsense\"\r\nContent-Transfer-Encoding: base64\r\n\r\n===!!!not base64===",
            b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----",
            b"Content-Type: multipart/mixed\r\n\r\nno boundary",
            b"Content-Type: text/plain; name*0*=utf-8''%ff%; name*2=x; name*1=\"\r\n\r\nx",
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n=ZZ=3D=\xe4 =",
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA",
            b"From: <<<>>>,;:@@\r\nTo: undisclosed;;;group:\r\nDate: Thirty-second of Never\r\n\r\nx",
            b": empty name\r\n\tfolded from nothing\r\n\r\nx",
            b"no header at all",
            b"Subject:" + b" x\r\n\t" * 5_000 + b"\r\n\r\nfolded",
            b"Content-Type: text/html; charset=utf-16\r\n\r\n<\x01\xd8<\x02>",
            b"References: " + b"<a@b> " * 5_000 + b"\r\n\r\nx",
        ]
        taken = 0
        for body in bodies:
            reply = pour(house, [body.replace(b"\0", b"")])
            assert reply[:1] in "25", f"{body[:60]}: {reply}"
            taken += reply.startswith("250")
        assert taken >= len(bodies) - 2, f"only {taken} of {len(bodies)} were taken"
        reader = house.imap()
        reader.select_folder("INBOX")
        for item in ("ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]", "BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "BODY.PEEK[TEXT]",
                     "BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]", "INTERNALDATE", "RFC822.SIZE"):
            reader._imap.uid("FETCH", "1:*", f"({item})")
        for key in (["TEXT", "x"], ["BODY", "folded"], ["SUBJECT", "bad"], ["FROM", "a"], ["SENTSINCE", "1-Jan-2020"]):
            reader.search(key)
        reader.logout()
        bounded(house, f"{taken} of {len(bodies)} taken")
    with checks("commands without an end do not gather"):
        for port, first in ((25, b""), (25, b"EHLO x\r\nMAIL FROM:<")):
            sock = socket.create_connection(("127.0.0.1", house.port(port)), timeout=30)
            with contextlib.suppress(OSError):
                sock.sendall(first)
                for _ in range(60):
                    sock.sendall(b"A" * MB)
            sock.close()
        with anyone().wrap_socket(socket.create_connection(("127.0.0.1", house.port(993)), timeout=30)) as sock:
            with contextlib.suppress(OSError):
                for _ in range(60):
                    sock.sendall(b"A" * MB)
        with anyone().wrap_socket(socket.create_connection(("127.0.0.1", house.port(993)), timeout=30)) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(b"a LOGIN {900000000}\r\n")
                sock.recv(1000)
                for _ in range(60):
                    sock.sendall(b"a LIST (" + b"(" * MB)
        bounded(house, "endless commands")
        served(house, "after-endless")
    with checks("a search nested without end is refused"):
        reader = house.imap()
        reader.select_folder("INBOX")
        for criteria in ("(" * 5_000 + "ALL" + ")" * 5_000, "NOT " * 20_000 + "ALL", "OR " * 5_000 + "ALL " * 5_001):
            with contextlib.suppress(Exception):
                reader._imap.uid("SEARCH", criteria)
        served(house, "after-search")


def half_open(checks, house):
    with checks("1,000 connections that say nothing, and the next client is served"):
        socks = []
        for n in range(1000):
            port = (25, 465, 587, 993, 143)[n % 5]
            with contextlib.suppress(OSError):
                # A household's address and many strangers'.
                sock = socket.socket()
                sock.bind((f"127.0.{n % 50}.{1 + n // 50}", 0))
                sock.settimeout(5)
                sock.connect(("127.0.0.1", house.port(port)))
                socks.append(sock)
        began = time.monotonic()
        served(house, "beside-half-open")
        print(f"       {len(socks)} were let in or taken back, served in {time.monotonic() - began:.1f} s")
        bounded(house, "half-open")
        for sock in socks:
            sock.close()
    with checks("1,000 of them from one address"):
        socks = []
        for n in range(1000):
            with contextlib.suppress(OSError):
                socks.append(socket.create_connection(("127.0.0.1", house.port((25, 993)[n % 2])), timeout=5))
        client = None
        for _ in range(100):
            # This address has used up what one may have; its own old connections make way, or end.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                client = house.smtp(timeout=10)
                break
            for sock in socks[:100]:
                sock.close()
            del socks[:100]
            time.sleep(0.1)
        assert client, "never served again"
        client.quit()
        for sock in socks:
            sock.close()
        bounded(house, "half-open from one address")
        served(house, "after-half-open")
    with checks("people who stay connected do not cost much"):
        before = house.status("VmRSS")
        readers = []
        for _ in range(100):
            reader = house.imap()
            reader.select_folder("INBOX")
            readers.append(reader)
        each = (house.status("VmRSS") - before) // 100
        print(f"       {each // 1024} KB for each of 100 connections with a mailbox selected")
        assert each < MB, f"{each} bytes each"
        for reader in readers:
            reader.logout()


def no_descriptors(checks):
    house = House("descriptors")
    try:
        house.init()
        house.run("listeners", "on", "submission")
        house.run("listeners", "on", "imap")
        house.serve(files=80)
        with checks("out of descriptors: it waits, says so, and goes on"):
            socks = []
            for n in range(300):
                with contextlib.suppress(OSError):
                    sock = socket.socket()
                    sock.bind((f"127.0.{n % 50}.{1 + n // 50}", 0))
                    sock.settimeout(3)
                    sock.connect(("127.0.0.1", house.port((25, 465, 587, 993, 143)[n % 5])))
                    socks.append(sock)
            time.sleep(1)
            assert house.alive(), "it ended"
            print(f"       {house.descriptors()} descriptors in use")
            ticks = sum(int(n) for n in pathlib.Path(f"/proc/{house.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
            time.sleep(2)
            ticks = sum(int(n) for n in pathlib.Path(f"/proc/{house.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]) - ticks
            assert ticks < 150, f"it spins: {ticks} of 200 ticks of the processor"
            for sock in socks:
                sock.close()
            end = time.monotonic() + 60
            while True:
                try:
                    served(house, "after-descriptors")
                    break
                except (OSError, smtplib.SMTPException) as error:
                    if time.monotonic() > end:
                        raise AssertionError(f"not served a minute later: {error}") from error
                    time.sleep(0.5)
            house.stop()
            assert not house.check(), house.check()
    finally:
        house.end(keep=checks.failed > 0)


@contextlib.contextmanager
def small_disk(name, size, place=None):
    place = place or TARGET / "e2e" / f"{name}-{os.getpid()}-disk"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(place)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        with contextlib.suppress(OSError):
            place.rmdir()


def free(place):
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize


def bring_until_full(house, taken, size=60_000, most=5_000):
    """Delivers until the answer is 4xx; gives that answer."""
    client = house.smtp()
    for n in range(most):
        subject = f"full-{len(taken)}"
        try:
            client.sendmail("sender@example.net", [ALICE], plain(subject, size))
            taken.append(subject)
        except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as error:
            return error.smtp_code, error.smtp_error
        except smtplib.SMTPRecipientsRefused as error:
            return next(iter(error.recipients.values()))
        except smtplib.SMTPServerDisconnected:
            return 0, b"disconnected"
    raise AssertionError(f"{most} letters, and never full")


def subjects(house):
    reader = house.imap()
    reader.select_folder("INBOX", readonly=True)
    rows = reader.fetch("1:*", ["ENVELOPE"]) if reader.search("ALL") else {}
    reader.logout()
    return [row[b"ENVELOPE"].subject.decode() for row in rows.values()]


def full_disk(checks):
    if os.geteuid() != 0:
        print("LEFT OUT, since a small file system needs root to mount: the full disk", flush=True)
        return
    with small_disk("full", "160m") as place:
        house = House("full", data=place / "data")
        taken = []
        try:
            house.init()
            house.serve()
            with checks("a full disk: SMTP says 452, and nothing acknowledged is lost"):
                code, words = bring_until_full(house, taken)
                print(f"       after {len(taken)} letters, {free(place) // MB} MB free: {code} {words.decode()}")
                assert code == 452, (code, words)
                same(sorted(subjects(house)), sorted(taken), "letters")
            with checks("with a full disk people log in, read, and are refused APPEND"):
                reader = house.imap()
                reader.select_folder("INBOX")
                last = reader.search("ALL")[-1]
                assert reader.fetch([last], ["BODY.PEEK[]"])[last][b"BODY[]"]
                answer, words = reader._imap.append("INBOX", "", None, plain(size=60_000))
                same(answer, "NO", words)
                print(f"       {words[0].decode()}")
            with checks("with a full disk flags and deletions still work, and make room again"):
                uids = reader.search("ALL")
                reader.add_flags(uids[:5], [b"\\Flagged"])
                half = uids[: len(uids) // 2]
                gone = {row[b"ENVELOPE"].subject.decode() for row in reader.fetch(half, ["ENVELOPE"]).values()}
                reader.delete_messages(half)
                reader.expunge()
                reader.logout()
                taken = [subject for subject in taken if subject not in gone]
                same(sorted(subjects(house)), sorted(taken), "letters")
            with checks("a kill on the full disk: it starts again with everything"):
                house.kill()
                house.serve()
                same(sorted(subjects(house)), sorted(taken), "letters")
                assert not house.check(), house.check()
            with checks("there is room again: letters are taken"):
                end = time.monotonic() + 120
                while True:
                    try:
                        client = house.smtp()
                        client.sendmail("sender@example.net", [ALICE], plain("room"))
                        taken.append("room")
                        break
                    except smtplib.SMTPException as error:
                        if time.monotonic() > end:
                            raise AssertionError(f"two minutes after half was deleted, {free(place) // MB} MB free: {error}") from error
                        time.sleep(1)
                same(sorted(subjects(house)), sorted(taken), "letters")
                house.stop()
                assert not house.check(), house.check()
        finally:
            house.end(keep=checks.failed > 0)
    with small_disk("filled", "160m") as place:
        house = House("filled", data=place / "data")
        taken = []
        try:
            house.init()
            house.serve()
            with checks("the disk is filled by somebody else between a letter and the checkpoint; a kill; a start"):
                client = house.smtp()
                for n in range(60):
                    client.sendmail("sender@example.net", [ALICE], plain(f"before-{n}", 30_000))
                    taken.append(f"before-{n}")
                with contextlib.suppress(OSError), open(place / "filler", "wb") as filler:
                    while True:
                        filler.write(b"\0" * 65_536)
                        filler.flush()
                code, words = bring_until_full(house, taken, size=20_000)
                print(f"       {len(taken)} letters, then {code} {words.decode()}, {free(place)} bytes free")
                assert code in (0, 421, 451, 452), (code, words)
                # A connection that was closed without a word leaves it open whether its last letter is there.
                maybe = {f"full-{len(taken)}"}
                house.kill()
                house.serve()
                there = subjects(house)
                assert not set(taken) - set(there), f"lost: {sorted(set(taken) - set(there))[:5]}"
                assert set(there) - set(taken) <= maybe, f"nobody sent {sorted(set(there) - set(taken))[:5]}"
                assert len(there) == len(set(there)), "twice"
                assert not house.check(), house.check()
            with checks("the room comes back, and so does the service"):
                (place / "filler").unlink()
                end = time.monotonic() + 60
                while True:
                    try:
                        served(house, "back")
                        break
                    except (OSError, smtplib.SMTPException, AssertionError) as error:
                        if time.monotonic() > end:
                            raise AssertionError(f"not served a minute later: {error}") from error
                        time.sleep(1)
                house.stop()
                assert not house.check(), house.check()
        finally:
            house.end(keep=checks.failed > 0)


def failing_syncs(checks):
    """The disk says EIO to one sync in 41, while letters come in."""
    house = House("eio")
    taken, refused = [], []
    # Detached, so that the server is the process we started.
    failing = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
               "inject=fdatasync,fsync:error=EIO:when=40+41"]
    try:
        house.init()
        with checks("syncs that fail: no letter is acknowledged and lost, and the next one is taken"):
            house.serve(under=failing, seconds=120)
            in_a_row = 0
            client = None
            for n in range(150):
                subject = f"eio-{n}"
                try:
                    client = client or house.smtp()
                    client.sendmail("sender@example.net", [ALICE], plain(subject))
                    taken.append(subject)
                    in_a_row = 0
                    continue
                except smtplib.SMTPServerDisconnected:
                    refused.append((subject, 0))
                except smtplib.SMTPResponseException as error:
                    refused.append((subject, error.smtp_code))
                client, in_a_row = None, in_a_row + 1
                assert in_a_row < 40, f"nothing is taken any more: {refused[-1]}\n{house.tail()}"
                time.sleep(0.1)
            codes = sorted({code for _, code in refused})
            print(f"       {len(taken)} taken; {len(refused)} not: {codes}")
            assert house.alive(), house.tail()
            assert taken and refused, "no sync failed, so this showed nothing"
            assert set(codes) <= {0, 421, 451, 452}, codes
        with checks("the disk is whole again: everything acknowledged is there, once"):
            house.kill()
            house.serve()
            there = subjects(house)
            assert not set(taken) - set(there), f"lost: {sorted(set(taken) - set(there))[:5]}"
            same(len(there), len(set(there)), "letters, each once")
            # A connection that was closed without a word leaves it open; an answer 4xx says that it is not there.
            said_no = {subject for subject, code in refused if code}
            assert not said_no & set(there), f"refused, and there: {sorted(said_no & set(there))[:5]}"
            house.stop()
            assert not house.check(), house.check()
    finally:
        house.end(keep=checks.failed > 0)


def main():
    checks = Checks()
    if sys.argv[1:] == ["eio"]:
        failing_syncs(checks)
        checks.end()
    if sys.argv[1:] == ["full"]:
        full_disk(checks)
        checks.end()
    house = House("staysup")
    try:
        house.init()
        house.run("listeners", "on", "submission")
        house.run("listeners", "on", "imap")
        house.serve()
        served(house, "first")
        hardship(checks, house)
        half_open(checks, house)
        with checks("the stores are sound"):
            assert not house.check(), house.check()
            house.stop()
            assert not house.check(), house.check()
    finally:
        house.end(keep=checks.failed > 0)
    no_descriptors(checks)
    failing_syncs(checks)
    full_disk(checks)
    checks.end()


if __name__ == "__main__":
    main()
