"""Boots an image that nobody has set up, with a wrong clock, and with the test itself as its neighbour on a second network card.

usage: lan.py [BOARD]      qemu-x86_64 unless told; the image has to be there (scripts/image)
"""

import ipaddress
import re
import select
import socket
import struct
import sys
import time

from box import Box  # first, since it says where house is
from house import Checks, same

import mdns
from wizard import Fresh, Visitor

NAME = "homepost.local"
# What the clock chip says at two starts. (UEFI on a PC makes 2070 of 1970, so a chip that begins there shows as one ahead.)
AHEAD, BEHIND = "2070-01-01T00:00:10", "2001-01-01T00:00:10"
MAC = "52:54:00:ee:00:02"
# What the kernel makes of that (RFC 4291, appendix A).
ADDRESS = "fe80::5054:ff:feee:2"
OURS = ipaddress.IPv6Address("fe80::9").packed
GROUP = ipaddress.IPv6Address(mdns.GROUP[6]).packed


class Wire:
    """The other end of the card's cable: whole Ethernet frames, in UDP packets on loopback."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.box = probe.getsockname()

    def options(self):
        def end(name, at):
            return f"{name}.type=inet,{name}.host={at[0]},{name}.port={at[1]}"

        return ["-netdev", f"dgram,id=lan,{end('local', self.box)},{end('remote', self.socket.getsockname())}",
                "-device", f"virtio-net-pci,netdev=lan,mac={MAC},romfile="]

    def send(self, payload):
        length = 8 + len(payload)
        udp = struct.pack(">4H", mdns.PORT, mdns.PORT, length, 0) + payload
        sum_of = OURS + GROUP + struct.pack(">2I", length, 17) + udp + b"\0" * (length % 2)
        total = sum(struct.unpack(f">{len(sum_of) // 2}H", sum_of))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        udp = udp[:6] + struct.pack(">H", ~total & 0xFFFF or 0xFFFF) + udp[8:]
        ip = struct.pack(">IHBB", 6 << 28, length, 17, 255) + OURS + GROUP
        frame = bytes.fromhex("3333000000fb") + bytes.fromhex("020000000009") + b"\x86\xdd" + ip + udp
        self.socket.sendto(frame, self.box)

    def messages(self, seconds):
        """The multicast DNS that comes in so many seconds: (source, message)."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.socket], [], [], left)[0]:
            frame = self.socket.recv(65536)
            # Ethernet, IPv6 with UDP behind it, to port 5353.
            if len(frame) > 62 and frame[12:14] == b"\x86\xdd" and frame[20] == 17 and frame[56:58] == struct.pack(">H", mdns.PORT):
                yield str(ipaddress.IPv6Address(frame[22:38])), frame[62:]

    def ask(self, name, kind, seconds):
        """The addresses that the box answers with, and from which address."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send(mdns.question(name, kind))
            for source, message in self.messages(2):
                _, response, rows = mdns.answers(message)
                if response and any(row[0] == name for row in rows):
                    return source, sorted(row[3] for row in rows if row[1] in (mdns.A, mdns.AAAA))
        return None


class Door:
    """Where its owner comes in before it is set up."""

    ask, get = Fresh.ask, Fresh.get

    def __init__(self, box):
        self.port = box.port


def main():
    board = sys.argv[1] if len(sys.argv) > 1 else "qemu-x86_64"
    checks = Checks()
    wire = Wire()
    box = Box("lan", board, toml=None)
    try:
        with checks("a box that is not set up answers to homepost.local, with its address on the network of who asks"):
            box.start(memory=256, more=[*wire.options(), "-rtc", f"base={AHEAD}"])
            box.wait("Not set up yet", 900)
            box.report()
            same(wire.ask(NAME, mdns.AAAA, 120), (ADDRESS, [ADDRESS]), "answer")
            same(wire.ask("elsewhere.local", mdns.AAAA, 5), None, "another's name")
        report = box.report()
        with checks("8080 shows the set-up, and lets in who has the code from the screen"):
            code = re.search(r"^ +code +(\S+)$", box.serial(), re.M)[1]
            door = Door(box)
            reply = door.get("/step/language", host="evil.example")
            assert reply.startswith(b"HTTP/1.1 421 "), reply[:300]
            visitor = Visitor(door)
            visitor.fill("language", language="en", zone="Europe/Berlin")
            reply = visitor.fill("code", code="AAAAAAAA" if code != "AAAAAAAA" else "BBBBBBBB")
            assert reply.startswith("HTTP/1.1 422 "), reply[:300]
            reply = visitor.fill("code", code=code)
            assert reply.startswith("HTTP/1.1 303 "), reply[:300]
            reply = visitor.fill("origin", origin="new")
            assert reply.startswith("HTTP/1.1 303 "), reply[:300]
        with checks("the firewall lets in nothing else for it"):
            udp = [line for line in report["firewall"] if "udp" in line]
            same(udp, ["udp dport { 68, 546, 5353 } accept"], "UDP")
            assert any("policy drop" in line for line in report["firewall"]), report["firewall"]
        with checks("a clock chip that is years ahead is not trusted"):
            same(report["clock"], ["not checked"], "state")
            assert int(report["date"][0]) > 3_000_000_000, report["date"]
            assert "clock     not checked" in box.serial(), box.tail()
        built, up = int(report["built"][0]), float(report["uptime"][0])
        with checks("the code lies on the boot partition too, for a box without a screen"):
            box.press_power_button()
            assert f"Code: {code}" in box.get("HOMEPOST-CODE.txt"), box.get("HOMEPOST-CODE.txt")
        with checks("a clock in the past is set to the last time known, which the one ahead did not move"):
            box.start(memory=256, more=["-rtc", f"base={BEHIND}"])
            box.wait("Not set up yet", 900)
            report = box.report()
            now = int(report["date"][0])
            # From when the image was built on, counting how long the machine ran meanwhile, and no more than that.
            assert built + up <= now <= built + 3600, (built, up, now)
            same(report["clock"], ["not checked"], "state")
            assert any("the clock was behind" in line for line in report["log"]), report["log"]
    finally:
        box.end(keep=checks.failed > 0)
    checks.end()


if __name__ == "__main__":
    main()
