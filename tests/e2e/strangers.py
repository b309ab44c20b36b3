"""What servers of strangers have to go through: block lists, how often they may come, greylisting. BIND plays the lists."""

import os
import signal
import smtplib
import sys
import time

import world
from acme import wait_for
from bind import Bind
from checks import Town, letter
from house import ALICE, Checks, House, same

PLAIN, LISTED, BUSY, NEAR = "192.0.2.9", "198.51.100.66", "203.0.113.40", "192.168.77.5"
TEST = "2.0.0.127.{0} IN A 127.0.0.2"


def backwards(address):
    return ".".join(reversed(address.split(".")))


def lists():
    """One that is right, one that names everybody, one that cannot be asked from here, one that is no list any more."""
    lines = ["$TTL 60", "@ IN SOA ns hostmaster 1 7200 900 1209600 60", "@ IN NS ns", "ns IN A 127.0.0.1"]
    lines += [TEST.format("good"), f"{backwards(LISTED)}.good IN A 127.0.0.4",
              f"{backwards(LISTED)}.good IN TXT \"https://list.test/why?198.51.100.66\""]
    lines += ["*.wild IN A 127.0.0.2", "*.closed IN A 127.255.255.254", "*.sold IN A 203.0.113.80", TEST.format("sold")]
    return "\n".join(lines) + "\n"


class Strangers(Town):
    def say(self, source, *recipients, sender="a@open.test", helo="out.open.test"):
        """The greeting's code, or what each RCPT was answered, until the connection ends."""
        client = smtplib.SMTP(timeout=60, local_hostname=helo, source_address=(source, 0))
        code, words = client.connect("127.0.0.1", self.house.port(25))
        try:
            if code != 220:
                return [(code, words.decode())]
            client.ehlo()
            client.mail(sender)
            out = []
            for recipient in recipients:
                code, words = client.rcpt(recipient)
                out.append((code, words.decode()))
                if code == 421:
                    break
            return out
        finally:
            client.close()

    def chatter(self, source, commands):
        """What each of many commands is answered that ask for nothing, until the connection ends."""
        client = smtplib.SMTP(timeout=60, local_hostname="out.open.test", source_address=(source, 0))
        code, _ = client.connect("127.0.0.1", self.house.port(25))
        out = [code] if code != 220 else []
        try:
            while len(out) < commands and 421 not in out:
                out.append(client.noop()[0])
            return out
        finally:
            client.close()

    def set(self, **values):
        """In the section [strangers] or, with a number, in [limits.smtp]."""
        path = self.house.data / "settings.toml"
        text = path.read_text()
        for name, value in values.items():
            old = next(line for line in text.splitlines() if line.lstrip("# ").startswith(f"{name} = "))
            text = text.replace(old, f"{name} = {value}")
        path.write_text(text)
        read = self.house.log.read_bytes().count(b"reloaded")
        self.house.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.house.log.read_bytes().count(b"reloaded") > read, 60)


def block_lists(checks, town):
    with checks("a server on a block list is turned away with the list's words, and postmaster still hears it"):
        (code, words), postmaster = town.say(LISTED, ALICE, "postmaster@example.test")
        same(code, 550)
        assert words.startswith("5.7.1 ") and "block list good.test (https://list.test/why?198.51.100.66)" in words, words
        same(postmaster[0], 250)
        same(town.say(PLAIN, ALICE)[0][0], 250)
    with checks("a list that names everybody, one that says 127.255.255.x and one that was sold list nobody"):
        for name in ("wild", "closed", "sold", "gone"):
            town.set(lists=f'"{name}.test"')
            same(town.say(LISTED, ALICE)[0][0], 250, name)
    with checks("who is on a list brings Junk, if the owner wants it so, and the letter is not passed on"):
        town.set(lists='"closed.test good.test"', listed='"junk"')
        same(town.send(LISTED, "a@open.test", letter("open.test", "on a list"))[0], 250)
        town.find("on a list", "Junk")
        town.house.run("alias", "add", "away@example.test", "someone@elsewhere.test")
        client = smtplib.SMTP("127.0.0.1", town.house.port(25), timeout=60, source_address=(LISTED, 0))
        client.ehlo("x.test")
        client.mail("a@open.test")
        same(client.rcpt("away@example.test")[0], 250)
        code, words = client.data(letter("open.test", "to go on"))
        client.close()
        same(code, 550)
        assert b"passes none on" in words, words
        assert "someone@elsewhere.test" not in town.house.run("queue", "list").stdout
        town.set(listed='"refuse"')


def pace(checks, town):
    with checks("who asks for many that do not live here is asked to come again, and everybody else is let in"):
        town.set(unknown_recipients=5)
        said = town.say(BUSY, *(f"n{n}@example.test" for n in range(8)))
        same([code for code, _ in said], [550] * 5 + [421])
        assert "come again in an hour" in said[-1][1], said
        same(town.say(BUSY, ALICE)[0][0], 421, "the same address again")
        same(town.say(PLAIN, ALICE)[0][0], 250)
    with checks("who says too much within a minute is asked to come again, on whatever connection"):
        town.set(commands_per_minute=100)
        same(town.chatter("203.0.113.42", 150)[-1], 421)
        same(town.chatter("203.0.113.42", 50)[-1], 421, "the same address again")
        same(set(town.chatter(PLAIN, 50)), {250}, "somebody else")
        same(set(town.chatter("127.0.0.1", 150)), {250}, "this machine itself")
        town.set(commands_per_minute=1000)
    with checks("who comes too often within a minute is asked to come again"):
        town.set(connections_per_minute=10)
        codes = [town.say("203.0.113.41", ALICE)[0][0] for _ in range(14)]
        same(codes, [250] * 10 + [421] * 4)
        same(town.say(PLAIN, ALICE)[0][0], 250)
        same([town.say("127.0.0.1", ALICE)[0][0] for _ in range(14)], [250] * 14, "this machine itself")
        town.set(connections_per_minute=60)


def greylist(checks, town):
    with checks("greylisting: who was never here comes again, known or near ones do not have to"):
        same(town.say(PLAIN, ALICE)[0][0], 250, "off by default")
        town.set(greylist="true")
        code, words = town.say(PLAIN, ALICE)[0]
        same(code, 451)
        assert words.startswith("4.7.1 ") and "come again in 300 seconds" in words, words
        same(town.say(NEAR, ALICE)[0][0], 250, "the same house")
        same(town.say("127.0.0.1", ALICE)[0][0], 250, "this machine")
    with checks("greylisting: a restart does not begin the time anew"):
        time.sleep(2)
        town.house.stop()
        town.house.serve()
        code, words = town.say(PLAIN, ALICE)[0]
        same(code, 451)
        assert "come again in 300 seconds" not in words, words


def main():
    world.enter()
    world.run("ip", "link", "set", "lo", "up")
    for address in (PLAIN, LISTED, BUSY, "203.0.113.41", "203.0.113.42", NEAR):
        world.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    checks = Checks()
    house = House("strangers")
    bind = None
    try:
        house.init()
        bind = Bind(house.folder / "named", {"test": lists()}, port=53)
        own = house.folder / "resolv.conf"
        own.write_text("nameserver 127.0.0.1\n")
        world.run("mount", "--bind", own, os.path.realpath("/etc/resolv.conf"))
        house.serve()
        town = Strangers(house)
        town.set(lists='"closed.test good.test"', servers='"127.0.0.1:53"', dmarc='"note"')
        block_lists(checks, town)
        pace(checks, town)
        greylist(checks, town)
        house.stop()
        with checks("the stores are whole"):
            same(house.check(), "")
    finally:
        if bind:
            bind.end()
        house.end(keep=bool(checks.failed))
    checks.end()


if __name__ == "__main__":
    sys.exit(main())
