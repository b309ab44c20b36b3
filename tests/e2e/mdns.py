"""Multicast DNS as a neighbour's machine speaks it (RFC 6762): questions, answers, and the frames they travel in."""

import ipaddress
import select
import socket
import struct
import time

PORT = 5353
GROUP = {4: "224.0.0.251", 6: "ff02::fb"}
A, AAAA, NSEC = 1, 28, 47


def wire(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"


def question(name, kind, alone=False, id=0):
    return struct.pack(">6H", id, 0, 1, 0, 0, 0) + wire(name) + struct.pack(">2H", kind, 0x8001 if alone else 1)


def name_at(packet, at):
    labels, after = [], None
    while packet[at]:
        if packet[at] >= 0xC0:
            after = after or at + 2
            at = struct.unpack_from(">H", packet, at)[0] & 0x3FFF
        else:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += 1 + packet[at]
    return ".".join(labels), after or at + 1


def answers(packet):
    """(id, is a response, [(name, kind, TTL, address or bytes) of answers, authorities and additional records])"""
    id, flags, questions, *records = struct.unpack_from(">6H", packet)
    at = 12
    for _ in range(questions):
        _, at = name_at(packet, at)
        at += 4
    rows = []
    for _ in range(sum(records)):
        name, at = name_at(packet, at)
        kind, _, ttl, length = struct.unpack_from(">2HIH", packet, at)
        data = packet[at + 10:at + 10 + length]
        rows.append((name.lower(), kind, ttl, str(ipaddress.ip_address(data)) if kind in (A, AAAA) else data))
        at += 10 + length
    return id, bool(flags & 0x8000), rows


def open_socket(card, family=4, port=PORT):
    """Bound to the card; with port 0 an ordinary resolver's, that only asks."""
    index = socket.if_nametoindex(card)
    one = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
    if family == 4:
        one.bind(("", port))
        group = socket.inet_aton(GROUP[4]) + socket.inet_aton("0.0.0.0") + struct.pack("@i", index)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("0.0.0.0") * 2 + struct.pack("@i", index))
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    else:
        one.bind(("::", port, 0, index))
        group = socket.inet_pton(socket.AF_INET6, GROUP[6]) + struct.pack("@I", index)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    return one


def ask(card, name, kind, family=4, port=PORT, alone=False, to=None, seconds=20, id=0):
    """The rows of the first response that tells about the name, or None. Asked again every second."""
    with open_socket(card, family, port) as one:
        index = socket.if_nametoindex(card)
        target = (to or GROUP[family], PORT) if family == 4 else (to or GROUP[family], PORT, 0, index)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            one.sendto(question(name, kind, alone, id), target)
            again = time.monotonic() + 1.2
            while (left := again - time.monotonic()) > 0:
                if not select.select([one], [], [], left)[0]:
                    break
                packet = one.recv(9000)
                got, response, rows = answers(packet)
                # A machine hears its own questions, and the box's first announcements are no answer to them.
                if response and any(row[0] == name for row in rows) and (not id or got == id):
                    return rows
    return None
