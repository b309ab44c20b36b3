"""A network of its own for a test, with a file system view of its own: the address, the way out, the clock's keeper and the
name servers are what the test makes them, and nothing leaves the machine."""

import ipaddress
import os
import pathlib
import shutil
import subprocess
import sys

from bind import Bind
from house import TARGET

FOLDER = TARGET / "e2e" / f"town-{os.getpid()}"
CLOCK = pathlib.Path("/run/homepost/clock")
OWN = "192.168.20.5"


def run(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def inside(file):
    """Once more, in namespaces of its own, and for who is not root in a user namespace too."""
    kind = ["unshare"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
    words = [*kind, "--net", "--mount", "--kill-child", "--fork", sys.executable, file, "inside", *sys.argv[1:]]
    os.execvp(words[0], words)


class Net:
    """The network of the house: a card with the world's address, and a way out that can be taken away."""

    def __init__(self):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "isp")
        run("ip", "link", "set", "isp", "up")
        run("ip", "addr", "add", f"{OWN}/24", "dev", "wan")
        run("ip", "link", "set", "wan", "up")
        self.way_out(True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        run("mount", "--bind", str(FOLDER / "resolv.conf"), "/etc/resolv.conf")
        run("mount", "-t", "tmpfs", "none", "/run")
        CLOCK.parent.mkdir()
        self.clock(True)

    def way_out(self, there):
        subprocess.run(["ip", "route", "del", "default"], stderr=subprocess.DEVNULL)
        if there:
            run("ip", "route", "add", "default", "via", "192.168.20.1", "dev", "wan")

    def clock(self, trusted):
        CLOCK.write_text("trusted\n" if trusted else "not checked\n")


ZONE = """$TTL 60
@ IN SOA ns.{0}. hostmaster.{0}. 1 7200 900 1209600 60
@ IN NS ns.{0}.
ns IN A 127.0.0.1
"""
SEEN = "25.7.7.7"


class Names:
    """Name servers as a house finds them: mail servers of others, a mirror, a block list, the names of addresses."""

    def __init__(self, keys=None, more=""):
        """`keys` may change every zone. `more` stands in that of the house."""
        self.bind, self.keys, self.more = None, keys, more
        self.zones = {}
        self.listed, self.seen, self.ptr = "", SEEN, "mail.smith.test."
        # The same over IPv6: an address of the box's own, what it is called, and the mail servers of others.
        self.six, self.ptr_six, self.targets_six = "", "", []
        self.start()

    def start(self):
        self.end()
        turned = ".".join(reversed(self.seen.split(".")))
        zones = {
            "mx.test": ZONE.format("mx.test") + "a A 10.9.0.1\nb A 10.9.0.2\nc A 10.9.0.3\nweb A 10.9.0.9\n",
            "mirror.test": ZONE.format("mirror.test") + f"@ A {self.seen}\n",
            "list.test": ZONE.format("list.test") + (f"{turned} A {self.listed}\n" if self.listed else ""),
            "25.in-addr.arpa": ZONE.format("25.in-addr.arpa")
            + (f"{turned.rsplit('.', 1)[0]} PTR {self.ptr}\n" if self.ptr else ""),
            "smith.test": ZONE.format("smith.test") + f"mail A {SEEN}\n" + self.more,
        }
        if self.six:
            zones["smith.test"] += f"mail AAAA {self.six}\n"
            nibbles = ".".join(reversed(ipaddress.ip_address(self.six).exploded.replace(":", "")))
            zones["ip6.arpa"] = ZONE.format("ip6.arpa") + (f"{nibbles} PTR {self.ptr_six}\n" if self.ptr_six else "")
        for name, address in zip("abc", self.targets_six):
            zones["mx.test"] += f"{name} AAAA {address}\n"
        for name, text in self.zones.items():
            zones[f"{name}.test"] = ZONE.format(f"{name}.test") + text
        self.bind = Bind(FOLDER / "bind", zones, self.keys, port=53)

    def end(self):
        if self.bind:
            self.bind.end()
            self.bind = None


def leave():
    shutil.rmtree(FOLDER, ignore_errors=True)
