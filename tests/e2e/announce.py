"""Looks for homepost.local from the machine next door, in network namespaces of its own.

usage: announce.py      the tests: two networks, a neighbour on each, and a second box that wants the same name
"""

import json
import os
import random
import subprocess
import sys
import time

import mdns
from house import BINARY, Checks, House, same

NAME = "homepost.local"


def run(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def inside(function, *words):
    """Runs this file once more in a network namespace of its own, and for who is not root in a user namespace too."""
    kind = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    return [*kind, "--kill-child", "--fork", sys.executable, __file__, function, *words]


class Neighbour:
    """A machine on our network: does what it is told, one line each."""

    def __init__(self, card, ours, theirs):
        # Within our namespace it is root already.
        self.process = subprocess.Popen(["unshare", "--net", sys.executable, __file__, "neighbour"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.hears()
        self.card = f"to-{card}"
        run("ip", "link", "add", card, "type", "veth", "peer", "name", self.card, "netns", str(self.process.pid))
        for address in ours:
            run("ip", "addr", "add", address, "dev", card, *(["nodad"] if ":" in address else []))
        run("ip", "link", "set", card, "up")
        self("up", self.card, *theirs)

    def hears(self):
        line = self.process.stdout.readline()
        assert line, "the neighbour is gone"
        return json.loads(line)

    def __call__(self, *words, **options):
        self.process.stdin.write(json.dumps([words, options]) + "\n")
        self.process.stdin.flush()
        return self.hears()

    def ask(self, name, kind, **options):
        rows = self("ask", self.card, name, kind, **options)
        return rows and [tuple(row) for row in rows]

    def addresses(self, name=NAME, kind=mdns.A, **options):
        rows = self.ask(name, kind, **options)
        return rows and sorted(row[3] for row in rows if row[1] in (mdns.A, mdns.AAAA))

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


def neighbour():
    run("ip", "link", "set", "lo", "up")
    servers = []
    print(json.dumps("here"), flush=True)
    for line in sys.stdin:
        (what, *words), options = json.loads(line)
        reply = None
        if what == "up":
            card, *addresses = words
            for address in addresses:
                run("ip", "addr", "add", address, "dev", card, *(["nodad"] if ":" in address else []))
            run("ip", "link", "set", card, "up")
        elif what == "ask":
            reply = mdns.ask(*words, **options)
            reply = reply and [row for row in reply if not isinstance(row[3], bytes)]
        elif what == "rubbish":
            rubbish(*words)
        elif what == "serve":
            servers.append(subprocess.Popen([BINARY, "serve", "--data", words[0], "--announce", NAME],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(words[1], "ab")))
        print(json.dumps(reply), flush=True)
    for server in servers:
        server.terminate()
        server.wait(60)


def rubbish(card, seed=1):
    """Messages that are none, or nearly."""
    chance = random.Random(seed)
    with mdns.open_socket(card) as one:
        for n in range(500):
            packet = bytearray(mdns.question(NAME, chance.choice((1, 28, 255))) + chance.randbytes(chance.randrange(40)))
            for _ in range(chance.randrange(6)):
                packet[chance.randrange(len(packet))] = chance.choice((0, 1, 0xC0, 0xFF, chance.randrange(256)))
            packet = packet[:chance.randrange(len(packet) + 1)] if n % 2 else packet
            one.sendto(bytes(packet), (mdns.GROUP[4], mdns.PORT))


def serve(house, *more):
    with open(house.log, "ab") as log:
        house.process = subprocess.Popen([BINARY, "serve", "--data", str(house.data), *more], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=log, preexec_fn=lambda: os.setpgid(0, 0))


def udp_sockets():
    return sum(len(open(f"/proc/net/{kind}").readlines()) - 1 for kind in ("udp", "udp6"))


def tests():
    run("ip", "link", "set", "lo", "up")
    checks = Checks()
    house, second = House("announce"), House("announce-second")
    first = Neighbour("lan", ["192.0.2.7/24", "2001:db8::7/64"], ["192.0.2.9/24", "2001:db8::9/64"])
    other = Neighbour("wifi", ["198.51.100.7/24"], ["198.51.100.9/24"])
    try:
        with checks("nobody answers who was not asked to"):
            serve(house)
            time.sleep(2)
            same(udp_sockets(), 0, "UDP sockets")
            same(first.addresses(seconds=3), None, "an answer")
            house.stop()
        with checks("a box that is not set up answers to its name, by IPv4 and by IPv6"):
            serve(house, "--announce", NAME)
            rows = first.addresses(seconds=60)
            assert "192.0.2.7" in rows and "2001:db8::7" in rows, rows
            assert any(row.startswith("fe80:") for row in rows), rows
            assert not any(row.startswith("198.51.100.") for row in rows), "an address of another network"
            rows = first.ask(NAME, mdns.AAAA, family=6)
            assert "2001:db8::7" in [row[3] for row in rows if row[1] == mdns.AAAA], rows
            assert all(row[2] == 120 for row in rows), rows
        with checks("each network hears its own address"):
            rows = other.addresses()
            assert "198.51.100.7" in rows and "192.0.2.7" not in rows and "2001:db8::7" not in rows, rows
        with checks("who asks to be answered alone is, and an ordinary resolver too"):
            assert "192.0.2.7" in first.addresses(alone=True)
            rows = first.ask(NAME, mdns.A, port=0, id=4711)
            assert ("homepost.local", mdns.A, 10, "192.0.2.7") in rows, rows
        with checks("other names, and questions that do not come by multicast, are not answered"):
            same(first.addresses("elsewhere.local", seconds=3), None, "another's name")
            same(first.addresses(to="192.0.2.7", port=0, seconds=3), None, "a question to the box alone")
        with checks("an address that comes later is told, and one that goes is not"):
            run("ip", "addr", "del", "192.0.2.7/24", "dev", "lan")
            run("ip", "addr", "add", "192.0.2.70/24", "dev", "lan")
            end = time.monotonic() + 60
            while True:
                rows = first.addresses() or []
                if "192.0.2.70" in rows and "192.0.2.7" not in rows:
                    break
                assert time.monotonic() < end, rows
                time.sleep(0.5)
        with checks("a second box with the same name takes another, and the first keeps it"):
            first("serve", str(second.data), str(second.log))
            end = time.monotonic() + 90
            while "answering as homepost-2.local on to-lan" not in second.tail():
                assert time.monotonic() < end, second.tail()
                time.sleep(0.5)
            assert "192.0.2.9" in (first.addresses("homepost-2.local") or []), "the second box under its name"
            rows = first.addresses()
            assert "192.0.2.70" in rows and "192.0.2.9" not in rows, rows
        with checks("rubbish does no harm"):
            first("rubbish", first.card)
            assert house.alive(), house.tail()
            assert "192.0.2.70" in first.addresses()
            house.stop()
    finally:
        first.end()
        other.end()
        house.end()
        second.end()
    checks.end()


if __name__ == "__main__":
    if sys.argv[1:] == ["neighbour"]:
        neighbour()
    elif sys.argv[1:] == ["inside"]:
        tests()
    else:
        os.execvp("unshare", inside("inside"))
