"""A stock client library drives two connections: flags, copies, moves, expunges, mailboxes, IDLE."""

import smtplib
import threading

from house import ALICE, PASSWORD, Checks, House, anyone, same


def letter(n, extra=""):
    return (f"From: Bob <bob@example.net>\r\nTo: {ALICE}\r\nSubject: letter {n}\r\nMessage-ID: <{n}@example.net>\r\n"
            f"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n{extra}\r\nThis is letter {n}.\r\n").encode()


def idle_until(client, want, seconds=20):
    """What came while idling, until `want` is among it."""
    seen = []
    for _ in range(seconds):
        seen += client.idle_check(timeout=1)
        if any(want(line) for line in seen):
            return seen
    raise AssertionError(f"never told while idling; told {seen}")


def main():
    checks = Checks()
    house = House("clients")
    try:
        house.init()
        house.add("bob@example.test")
        house.serve()
        one, two = house.imap(), house.imap()

        with checks("the mailboxes of an account are there, with their uses"):
            rows = {name: flags for flags, _, name in one.list_folders()}
            same(sorted(rows), ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"], "mailboxes")
            for name, use in [("Drafts", b"\\Drafts"), ("Sent", b"\\Sent"), ("Junk", b"\\Junk"), ("Trash", b"\\Trash")]:
                assert use in rows[name], (name, rows[name])
        with checks("what is appended has the UID that was told"):
            one.select_folder("INBOX")
            for n in range(1, 11):
                told = one.append("INBOX", letter(n), flags=[b"\\Seen"] if n % 2 else [])
                assert b"APPENDUID" in told, told
            same(one.search("ALL"), list(range(1, 11)), "UIDs")
        with checks("the other connection sees it, and its flags"):
            info = two.select_folder("INBOX")
            same(info[b"EXISTS"], 10, "EXISTS")
            flags = two.get_flags(list(range(1, 11)))
            same([uid for uid in flags if b"\\Seen" in flags[uid]], [1, 3, 5, 7, 9], "seen")
        with checks("flags that one sets the other is told of"):
            one.add_flags([2, 4], [b"\\Flagged", b"$Forwarded"])
            one.remove_flags([1], [b"\\Seen"])
            two.noop()
            flags = two.get_flags([1, 2, 4])
            assert b"\\Seen" not in flags[1] and {b"\\Flagged", b"$Forwarded"} <= set(flags[2]) & set(flags[4]), flags
            one.set_flags([4], [b"\\Answered"])
            same(set(two.get_flags([4])[4]) - {b"\\Recent"}, {b"\\Answered"}, "flags")
        with checks("copies are equal"):
            one.create_folder("Projects/Boat")
            one.copy([1, 2, 3], "Projects/Boat")
            two.select_folder("Projects/Boat")
            same(two.search("ALL"), [1, 2, 3], "UIDs")
            same(two.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"], letter(1), "the copy")
            assert b"\\Flagged" in two.get_flags([2])[2], "flags go along"
        with checks("moves leave nothing behind"):
            one.move([5, 6], "Archive")
            same(one.search("ALL"), [1, 2, 3, 4, 7, 8, 9, 10], "UIDs left")
            same(one.folder_status("Archive", ["MESSAGES", "UIDNEXT"]), {b"MESSAGES": 2, b"UIDNEXT": 3}, "STATUS")
        with checks("expunged is gone for both, and numbers close up"):
            two.select_folder("INBOX")
            one.delete_messages([7, 8])
            one.expunge()
            two.noop()
            same(two.search("ALL"), [1, 2, 3, 4, 9, 10], "UIDs")
            one.delete_messages([1, 2])
            one.uid_expunge([2])
            same(two.search("ALL"), [1, 3, 4, 9, 10], "UIDs after UID EXPUNGE")
            one.remove_flags([1], [b"\\Deleted"])
        with checks("an idling connection is told of new mail, flags and expunges"):
            two.idle()
            client = house.smtp()
            client.sendmail("bob@example.net", [ALICE], letter(99))
            client.quit()
            idle_until(two, lambda line: len(line) > 1 and line[1] == b"EXISTS" and line[0] == 6)
            one.add_flags([3], [b"\\Flagged"])
            idle_until(two, lambda line: len(line) > 2 and line[1] == b"FETCH" and b"FLAGS" in line[2])
            one.delete_messages([4])
            one.expunge()
            idle_until(two, lambda line: len(line) > 1 and line[1] == b"EXPUNGE")
            two.idle_done()
            same(two.search("ALL"), [1, 3, 9, 10, 11], "UIDs")
        with checks("what came by SMTP reads as it was sent"):
            got = two.fetch([11], ["BODY.PEEK[]", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "RFC822.SIZE", "ENVELOPE"])[11]
            assert got[b"BODY[]"].endswith(letter(99)), got[b"BODY[]"]
            same(len(got[b"BODY[]"]), got[b"RFC822.SIZE"], "size")
            same(got[b"BODY[HEADER.FIELDS (SUBJECT)]"], b"Subject: letter 99\r\n\r\n", "header fields")
            same(got[b"ENVELOPE"].subject, b"letter 99", "subject")
        with checks("searches find what is there"):
            same(two.search(["SUBJECT", "letter 9"]), [9, 11], "SUBJECT")
            same(two.search(["TEXT", "this is letter 3"]), [3], "TEXT")
            same(two.search(["FLAGGED"]), [3], "FLAGGED")
            same(two.search(["NOT", "SEEN", "LARGER", "10"]), [uid for uid in (1, 10, 11)], "NOT SEEN")
        with checks("mailboxes are renamed and deleted with what is below"):
            one.rename_folder("Projects", "Plans")
            names = [name for _, _, name in two.list_folders()]
            assert "Plans/Boat" in names and "Projects/Boat" not in names, names
            one.delete_folder("Plans/Boat")
            assert "Plans/Boat" not in [name for _, _, name in two.list_folders()]
        with checks("names in other scripts come back as they were given"):
            for name in ("Entwürfe & Pläne", "台北", "Ünï/☺"):
                one.create_folder(name)
            names = [name for _, _, name in two.list_folders()]
            assert {"Entwürfe & Pläne", "台北", "Ünï/☺"} <= set(names), names
        with checks("two clients that move the same letters at once lose none and double none"):
            for n in range(100, 140):
                one.append("INBOX", letter(n))
            one.create_folder("Race")
            uids = [uid for uid in one.search("ALL") if uid > 11]
            errors = []

            def move(client):
                try:
                    client.select_folder("INBOX")
                    client.move(uids, "Race")
                except Exception as error:  # noqa: BLE001: shown below
                    errors.append(error)

            threads = [threading.Thread(target=move, args=(client,)) for client in (one, two)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            assert not errors, errors
            one.select_folder("Race")
            subjects = [row[b"ENVELOPE"].subject for row in one.fetch("1:*", ["ENVELOPE"]).values()]
            same(sorted(subjects), sorted(f"letter {n}".encode() for n in range(100, 140)), "subjects")
        with checks("one person's mail is not another's"):
            other = house.imap(user="bob@example.test")
            same(other.select_folder("INBOX")[b"EXISTS"], 0, "EXISTS")
            other.logout()
        with checks("a wrong password opens nothing"):
            for password in ("wrong password", ""):
                try:
                    house.imap(password=password)
                except Exception as error:  # noqa: BLE001
                    assert PASSWORD not in str(error)
                else:
                    raise AssertionError(f"{password!r} logged in")
        with checks("submission over implicit TLS with a log-in reaches the other account"):
            client = smtplib.SMTP_SSL("127.0.0.1", house.port(465), context=anyone(), timeout=60)
            client.login(ALICE, PASSWORD)
            client.sendmail(ALICE, ["bob@example.test"], letter(200).replace(b"Bob <bob@example.net>", ALICE.encode()))
            client.quit()
            assert any(b"letter 200" in message for message in house.letters(user="bob@example.test").values())
        with checks("nobody sends in another's name"):
            client = smtplib.SMTP_SSL("127.0.0.1", house.port(465), context=anyone(), timeout=60)
            client.login(ALICE, PASSWORD)
            try:
                client.sendmail("bob@example.test", ["bob@example.test"], letter(201))
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused):
                pass
            else:
                raise AssertionError("accepted")
        with checks("the stores are sound"):
            assert not house.check(), house.check()
            one.logout()
            two.logout()
            house.stop()
            assert not house.check(), house.check()
    finally:
        house.end(keep=checks.failed > 0)
    checks.end()


if __name__ == "__main__":
    main()
