"""A box whose stores do not open: the rescue page says so, and with a code from its screen brings letters back, puts a backup back,
or makes the box as new; so does a stick.

The root process of the box is played (played.py): it says what is wrong, shows the code, and is asked for the restart."""

import http.cookiejar
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from house import ALICE, PASSWORD, BINARY, Checks, House
from played import Machine, until

LETTER = f"From: bob@example.net\r\nTo: {ALICE}\r\nSubject: kept\r\nMessage-ID: <kept@example.net>\r\n\r\nA letter.\r\n".encode()
PROBLEM = "The mail service cannot start: the index is damaged."


class Browser:
    def __init__(self, port, scheme="http"):
        self.base = f"{scheme}://127.0.0.1:{port}"
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
            urllib.request.HTTPSHandler(context=ssl._create_unverified_context()))  # its own certificate
        self.token = ""

    def ask(self, path="/", **fields):
        """A page, or what became of a form with these fields."""
        body = urllib.parse.urlencode({"t": self.token, **fields}).encode() if path != "/" else None
        return self.page(path, body)

    def page(self, path, body=None):
        try:
            page = self.opener.open(self.base + path, body, timeout=60).read().decode()
        except urllib.error.HTTPError as error:
            assert error.code in (400, 422), error
            page = error.read().decode()
        if found := re.search(r'name="t" value="([0-9a-f]+)"', page):
            self.token = found[1]
        return page


class Rescue:
    """`homepost rescue` on a house, until the end of a block."""

    def __init__(self, house):
        self.house = house

    def __enter__(self):
        self.log = open(self.house.folder / "rescue.log", "ab")
        self.process = subprocess.Popen(
            [BINARY, "rescue", "--data", str(self.house.data), "--bind", "127.0.0.1", "--port-offset", str(self.house.offset)],
            stdout=self.log, stderr=self.log)
        browser = Browser(self.house.port(8080))

        def answers():
            try:
                return browser.ask()
            except OSError:
                assert self.process.poll() is None, "the rescue ended"
                return None

        until(answers)
        return browser

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()


def enter(browser, machine):
    assert "on the screen of the box now" in browser.ask("/show")
    code = machine.shown[0].split()[-1]
    page = browser.ask("/enter", proof=code.lower())
    assert "What shall be done?" in page, page
    assert machine.shown == [], "a code that was used stays on the screen"


def damage(house):
    index = house.data / "store" / "rows.redb"
    index.write_bytes(b"\xff" * index.stat().st_size)


def main():
    checks = Checks()
    house = House("rescue")
    machine = Machine(house.folder / "box")
    os.environ["HOMEPOST_MACHINE"] = str(machine.folder / "machine.sock")
    os.environ["HOMEPOST_STICK"] = str(machine.folder)
    try:
        house.init()
        house.serve()
        client = house.smtp()
        client.sendmail("bob@example.net", [ALICE], LETTER)
        client.quit()
        before = house.letters()
        words = house.json("backup", "key")["words"]
        machine.plug(1)
        until(lambda: house.json("backup", "status")["made"])
        machine.pull()
        with checks("an administrator makes the box as new only with the word and the pass phrase"):
            admin = Browser(house.port(443), "https")
            admin.page("/sign-in")
            admin.ask("/sign-in", address=ALICE, phrase=PASSWORD)
            assert "/admin/erase" in admin.page("/admin")
            admin.page("/admin/erase")
            assert "The word was another one" in admin.ask("/admin/erase", sure="yes", phrase=PASSWORD)
            assert "not your pass phrase" in admin.ask("/admin/erase", sure="erase", phrase="another one of mine")
            assert "erase" not in machine.acts
            assert "It has begun." in admin.ask("/admin/erase", sure="erase", phrase=PASSWORD)
            assert machine.acts.pop() == "erase", machine.acts
        house.stop()
        damage(house)
        machine.problem = PROBLEM
        refused = subprocess.run([BINARY, "listeners", "--data", str(house.data)], capture_output=True, text=True, timeout=120)
        assert refused.returncode == 1, refused

        with Rescue(house) as browser:
            with checks("everybody in the house sees what is wrong, and can do nothing without the code"):
                page = browser.ask()
                assert PROBLEM in page and "/salvage" not in page, page
                for path in ("/salvage", "/restart", "/erase"):
                    assert "show first that the box is yours" in browser.ask(path, sure="ERASE")
                assert "neither the words" in browser.ask("/enter", proof="AAAA-AAAA")
                assert not {"reboot", "erase"} & set(machine.acts), machine.acts
            with checks("with the code from the screen the letters are brought back, and the box starts again"):
                enter(browser, machine)
                browser.ask("/salvage")
                page = until(lambda: (now := browser.ask()) and "Done." in now and now)
                assert "1 letters of 1 people are back." in page, page
                until(lambda: "reboot" in machine.acts)
        house.serve()
        with checks("then mail is served, and the letter is in Recovered"):
            assert list(house.letters("Recovered").values()), house.tail()
            assert house.check() == ""
        house.stop()

        damage(house)
        machine.acts.clear()
        with Rescue(house) as browser:
            enter(browser, machine)
            with checks("no stick, wrong words: a sentence each, and nothing is changed"):
                assert "There is no USB stick." in browser.ask()
                machine.plug(2)
                assert "Acme Stick" in browser.ask()
                there = sorted(path.name for path in house.data.iterdir())
                browser.ask("/restore", secret="these are not the words")
                page = until(lambda: (now := browser.ask()) and "came to nothing" in now and now)
                assert "not the words" in page, page
                assert sorted(path.name for path in house.data.iterdir()) == there and "reboot" not in machine.acts
            with checks("with the right words the backup takes the place of what is damaged"):
                browser.ask("/restore", secret=words)
                page = until(lambda: (now := browser.ask()) and "Done." in now and now)
                assert "The backup is put back: 1 letters of 1 people." in page, page
                until(lambda: "reboot" in machine.acts)
                assert machine.acts[-2] == "close-stick", machine.acts
        house.serve()
        with checks("then mail is served as on the day of the backup"):
            assert list(house.letters().values()) == list(before.values())
            assert house.check() == ""
        house.stop()

        damage(house)
        machine.pull()
        machine.acts.clear()
        with Rescue(house) as browser:
            with checks("the box is made as new only by who types the word"):
                enter(browser, machine)
                assert "another one, so nothing was deleted" in browser.ask("/erase", sure="yes")
                assert "erase" not in machine.acts
                browser.ask("/erase", sure="erase")
                until(lambda: "erase" in machine.acts)
            machine.acts.clear()
            with checks("or by a stick that says so, once"):
                wish = machine.inside / "erase-this-box.txt"
                wish.write_text("please erase\n")
                machine.plug(3)
                told = machine.inside / "homepost.txt"
                until(lambda: told.exists() and "nothing was deleted" in told.read_text())
                assert wish.exists() and "erase" not in machine.acts
                machine.pull()
                wish.write_text("erase everything on this box\r\n")
                machine.plug(4)
                until(lambda: "erase" in machine.acts)
                assert not wish.exists() and (machine.inside / "erase-this-box.done.txt").exists()
                machine.pull()
                machine.plug(5)
                time.sleep(8)
                assert machine.acts.count("erase") == 1, machine.acts
    finally:
        house.stop()
        machine.listener.close()
        shutil.rmtree(house.folder, ignore_errors=True)
    checks.end()


if __name__ == "__main__":
    main()
