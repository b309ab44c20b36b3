"""The index is deleted; `homepost check --salvage` brings every letter back."""

import collections
import random

from house import ALICE, Checks, House, without_trace


def letter(n, size, rng):
    head = f"From: sender@example.net\r\nTo: {ALICE}\r\nSubject: {n}\r\nMessage-ID: <{n}@example.net>\r\n\r\n"
    body = "".join(rng.choice("abcdefghij ") for _ in range(70))
    return (head + (f"{n} {body}\r\n" * max(1, size // 75))).encode()


def everything(house, user):
    """Every letter of an account, with the mailbox it lies in."""
    client = house.imap(user=user)
    names = [name for flags, _, name in client.list_folders() if b"\\Noselect" not in flags]
    client.logout()
    return {name: list(house.letters(name, user=user).values()) for name in names}


def main():
    checks = Checks()
    house = House("salvage")
    rng = random.Random(5)
    sent = {ALICE: [], "bob@example.test": []}
    try:
        house.init()
        house.add("bob@example.test")
        house.serve()
        validity = None
        with checks("letters of all sizes for two people, some of them for both"):
            client = house.smtp()
            for n in range(120):
                message = letter(n, rng.choice([500, 5_000, 50_000, 300_000] if n % 10 == 0 else [500, 5_000]), rng)
                to = [[ALICE], ["bob@example.test"], [ALICE, "bob@example.test"]][n % 3]
                client.sendmail("sender@example.net", to, message)
                for address in to:
                    sent[address].append(message)
            client.quit()
            client = house.imap()
            validity = client.select_folder("INBOX")[b"UIDVALIDITY"]
            client.copy(client.search("ALL")[:5], "Archive")
            client.move(client.search("ALL")[5:10], "Archive")
            for n in range(1000, 1010):
                message = letter(n, 3_000, rng)
                client.append("Sent", message)
                sent[ALICE].append(message)
            client.logout()
        for way in ("a clean stop", "a kill"):
            with checks(f"the index is deleted after {way}, and every letter comes back"):
                house.stop() if way == "a clean stop" else house.kill()
                index = [path for path in house.data.rglob("*.redb") if "lookup" not in path.name]
                assert index, f"no redb file in {list(house.data.rglob('*'))}"
                for path in index:
                    path.unlink()
                done = house.run("check", "--salvage", ok=False)
                assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
                print("       " + done.stdout.strip().replace("\n", "\n       "))
                house.serve()
                for address, messages in sent.items():
                    wanted = collections.Counter(messages)
                    found = collections.Counter()
                    for name, letters in everything(house, address).items():
                        for one in letters:
                            original = without_trace(one, wanted)
                            assert original is not None, f"{address}: a letter in {name} that nobody sent: {one[:200]!r}"
                            found[original] += 1
                    missing = wanted - found
                    assert not missing, f"{address}: {sum(missing.values())} of {sum(wanted.values())} are missing"
                client = house.imap()
                folder = "Recovered" if client.folder_exists("Recovered") else "INBOX"
                now = client.select_folder(folder)[b"UIDVALIDITY"]
                assert now != validity, "the same UIDVALIDITY as before"
                validity = client.select_folder("INBOX")[b"UIDVALIDITY"]
                client.logout()
                assert not house.check(), house.check()
        with checks("what was salvaged takes mail and people as before"):
            client = house.smtp()
            message = letter(5_000, 800, rng)
            client.sendmail("sender@example.net", [ALICE], message)
            client.quit()
            assert any(without_trace(one, {message}) for one in house.letters().values())
            house.stop()
            assert not house.check(), house.check()
    finally:
        house.end(keep=checks.failed > 0)
    checks.end()


if __name__ == "__main__":
    main()
