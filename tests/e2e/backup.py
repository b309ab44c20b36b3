"""Everything is backed up while it serves, put back elsewhere, and read by stock tools from what README.txt says."""

import os
import pty
import shutil
import stat
import subprocess
import time

from house import ALICE, COMMAND, Checks, House

BOB = "bob@example.test"
PHRASE = "marmalade on the north pier"


def letter(n, size=600):
    head = f"From: sender@example.net\r\nTo: {ALICE}\r\nSubject: {n}\r\nMessage-ID: <{n}@example.net>\r\n\r\n"
    return (head + f"{n} some words that say nothing at all to anybody\r\n" * max(1, size // 50)).encode()


def seen(house, user):
    """What a client has of an account: validity, next UID, and flags and bytes of each message."""
    client = house.imap(user=user)
    out = {}
    for flags, _, name in client.list_folders():
        if b"\\Noselect" in flags:
            continue
        info = client.select_folder(name, readonly=True)
        found = client.fetch("1:*", ["FLAGS", "BODY.PEEK[]"]) if info[b"EXISTS"] else {}
        messages = {uid: (frozenset(one[b"FLAGS"]) - {b"\\Recent"}, one[b"BODY[]"]) for uid, one in found.items()}
        out[name] = (info[b"UIDVALIDITY"], info[b"UIDNEXT"], messages)
    client.logout()
    return out


def under_a_terminal(script, folder, answer):
    """Runs a shell script whose programs ask for a pass phrase on the terminal; what it said, and its status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvp("sh", ["sh", "-eu", script])
    said, asked, end = b"", 0, time.monotonic() + 120
    while time.monotonic() < end:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
        if said.lower().count(b"passphrase") > asked and said.rstrip().endswith(b":"):
            asked = said.lower().count(b"passphrase")
            os.write(terminal, answer.encode() + b"\n")
    os.close(terminal)
    return said.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def files_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main():
    checks = Checks()
    house = House("backup")
    stick = house.folder / "stick"
    stick.mkdir()
    before, words, keys = {}, "", None
    other = House("backup-other")
    try:
        house.init()
        house.add(BOB)
        house.run("alias", "add", "us@example.test", ALICE, BOB)
        house.serve(words=("--backup", str(stick)))
        with checks("without a recovery sheet there is no backup, and the words are shown once"):
            done = house.run("backup", "create", str(stick), ok=False)
            assert done.returncode == 1 and "recovery sheet" in done.stderr, done
            words = house.json("backup", "key")["words"]
            assert len(words.split()) == 10, words
            house.run("backup", "key", "--phrase-stdin", input=PHRASE + "\n")
        with checks("a backup is made while mail is served, and a second one writes only what is new"):
            client = house.smtp()
            for n in range(30):
                client.sendmail("sender@example.net", [[ALICE], [BOB], [ALICE, BOB]][n % 3], letter(n, 400_000 if n == 7 else 600))
            client.quit()
            client = house.imap()
            client.create_folder("Club/2026")
            client.select_folder("INBOX")
            client.add_flags([1, 2], [b"\\Seen", b"\\Flagged", b"$Label1"])
            client.copy([3, 4], "Club/2026")
            client.delete_messages([5])
            client.expunge()
            client.logout()
            first = house.json("backup", "create", str(stick))
            assert first["everything"] and first["new_letters"] >= 29, first
            again = house.json("backup", "create", str(stick))
            assert again["new_letters"] == 0 and again["written"] < 8_000, again
            client = house.imap()
            client.append("INBOX", letter(99))
            client.logout()
            third = house.json("backup", "create", str(stick))
            assert third["new_letters"] == 1 and third["messages"] == first["messages"] + 1, third
            # Of one hour the newest two stay.
            assert [one["number"] for one in house.json("backup", "list", str(stick))] == [3, 2]
            print(f"       first {first['written']} bytes, unchanged {again['written']}, one letter more {third['written']}")
            before = {user: seen(house, user) for user in (ALICE, BOB)}
            keys = house.json("dkim", "list")
        with checks("what is given out after the backup is not in it"):
            client = house.imap()
            client.append("INBOX", letter(100))
            client.logout()
        box, = (stick / "homepost-backup").iterdir()
        there = files_of(stick)
        with checks("no word, phrase, key or letter is readable on the stick, in the log, or by others"):
            everything = b"".join(there.values())
            secret = (house.data / "backup" / "key").read_bytes().strip()
            log = house.log.read_bytes()
            for what in (words.encode(), words.split()[0].encode() + b" " + words.split()[1].encode(), PHRASE.encode(), secret):
                assert what not in everything and what not in log
            assert b"some words that say nothing" not in everything
            assert stat.S_IMODE((house.data / "backup" / "key").stat().st_mode) == 0o600
        with checks("reading it back finds nothing wrong, with the key, with the words and without either"):
            assert house.json("backup", "verify", str(stick))["opened"] is True
            nobody = House("backup-nobody")
            done = nobody.run("backup", "verify", str(stick))
            assert "Only the sums" in done.stdout, done
            done = nobody.run("backup", "verify", str(stick), "--secret-stdin", input="  " + words.upper().replace(" ", ", ") + "\n")
            assert "2 backups are sound" in done.stdout, done
            nobody.end(keep=False)
        with checks("one flipped bit is found, in each kind of file"):
            for path in [one for one in box.iterdir() if one.name != "README.txt"][:40]:
                bytes_ = bytearray(path.read_bytes())
                bytes_[len(bytes_) // 2] ^= 16
                path.write_bytes(bytes_)
                done = house.run("backup", "verify", str(stick), ok=False)
                assert done.returncode == 1, f"{path.name}: {done.stdout}"
                path.write_bytes(there[path])
        house.kill()
        with checks("wrong words, a folder that is in use and one without a backup: one sentence each, and nothing changed"):
            for input, where, data, why in (
                ("apple apple apple\n", stick, other.data, "not the words"),
                (words + "\n", stick, house.data, "set up already"),
                (words + "\n", house.folder, other.data, "no backup"),
            ):
                done = subprocess.run([*COMMAND, "backup", "restore", str(where), "--secret-stdin", "--data", str(data)],
                                      input=input, text=True, capture_output=True)
                assert done.returncode == 1 and why in done.stderr and len(done.stderr.splitlines()) == 1, done
            assert not (other.data / "settings.toml").exists() and not (other.data / "store").exists()
            assert files_of(stick) == there
        with checks("it is put back by the words: same people, passwords, UIDs, flags, letters and keys"):
            done = other.run("backup", "restore", str(stick), "--secret-stdin", input=words + "\n")
            assert files_of(stick) == there, "the archive was changed"
            print("       " + done.stdout.strip())
            assert not (other.data / "restore.new").exists()
            other.serve(words=("--backup", str(stick)))
            assert not other.check(), other.check()
            for user, mailboxes in before.items():
                now = seen(other, user)
                assert now.keys() == mailboxes.keys()
                for name, (validity, next_uid, messages) in mailboxes.items():
                    assert now[name][0] == validity and now[name][2] == messages, f"{user} {name}"
                    assert now[name][1] >= next_uid + 2**20, f"{user} {name}: {now[name][1]}"
            assert other.json("dkim", "list") == keys and keys
            for name in ("tls/key.pem", "tls/cert.pem"):
                assert (other.data / name).read_bytes() == (house.data / name).read_bytes()
        with checks("no number is given out again, and mail goes on"):
            client = other.smtp()
            client.sendmail("sender@example.net", [ALICE, "us@example.test"], letter(200))
            client.quit()
            client = other.imap()
            client.select_folder("INBOX")
            uid = max(client.search("ALL"))
            assert uid >= before[ALICE]["INBOX"][1] + 2**20, uid
            assert client.create_folder("New") is not None
            fresh = client.select_folder("New")[b"UIDVALIDITY"]
            assert fresh > max(one[0] for one in before[ALICE].values()) + 2**20 - 100
            client.logout()
            assert not other.check(), other.check()
        with checks("the next backup goes on in the same archive, and the old sheet opens it"):
            made = other.json("backup", "create", str(stick))
            assert made["number"] == 4 and made["new_letters"] <= 2, made
            done = other.run("backup", "verify", str(stick), "--secret-stdin", input=PHRASE + "\n")
            assert "2 backups are sound, the newest is 4" in done.stdout, done
        with checks("stock tools restore what README.txt says they do"):
            copy = house.folder / "copy"
            shutil.copytree(box, copy)
            text = (copy / "README.txt").read_text().split("THE FORMAT")[0]
            script = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
            assert script.count("age -d") == 3 and "sha256sum" in script, script
            (copy / "steps.sh").write_text(script + "\n")
            said, status = under_a_terminal("steps.sh", copy, words)
            assert status == 0, said
            inbox = copy / "maildirs" / BOB / "INBOX" / "cur"
            found = {int(path.name.split(".")[0]): path.read_bytes() for path in inbox.iterdir()}
            wanted = seen(other, BOB)["INBOX"][2]
            assert found == {uid: one[1] for uid, one in wanted.items()}, f"{sorted(found)} {sorted(wanted)}"
            flagged, = (copy / "maildirs" / ALICE / "INBOX" / "cur").glob("1.homepost:2,*")
            assert flagged.name.endswith(":2,FS"), flagged.name
            assert (copy / "maildirs" / ALICE / "Club.2026" / "cur").is_dir()
            assert (copy / "settings" / "tls" / "key.pem").read_bytes() == (house.data / "tls" / "key.pem").read_bytes()
            assert "hostname" in (copy / "settings" / "settings.toml").read_text()
        with checks("of the settings alone people, passwords and mailboxes come back, without letters"):
            small = stick / "small"
            small.mkdir(exist_ok=True)
            other.run("backup", "create", str(small), "--configuration")
            third_house = House("backup-third")
            try:
                third_house.run("backup", "restore", str(small), "--secret-stdin", input=PHRASE + "\n")
                third_house.serve()
                now = seen(third_house, ALICE)
                assert "Club/2026" in now and all(not one[2] for one in now.values())
                assert now["INBOX"][0] not in {one[0] for one in before[ALICE].values()}
                assert not third_house.check(), third_house.check()
                third_house.stop()
            finally:
                third_house.end(keep=checks.failed > 0)
    finally:
        house.end(keep=checks.failed > 0)
        other.end(keep=checks.failed > 0)
    checks.end()


if __name__ == "__main__":
    main()
