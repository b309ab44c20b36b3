"""An update on trial, as the mail service sees it: a machine of our own says which slot runs and what is on trial, and is told
what to do. Everything is in a network of its own with one address more, from which somebody else calls.

usage: update.py"""

import json
import os
import pathlib
import smtplib
import socket
import struct
import subprocess
import sys
import threading
import time

from house import ALICE, COMMAND, Checks, House, same

OUTSIDE = "192.0.2.7"
LETTER = f"From: sender@example.net\r\nTo: {ALICE}\r\nSubject: %s\r\n\r\nx\r\n"


class Machine:
    """What `homepost machine` answers on its socket."""

    def __init__(self, path):
        self.path, self.acts, self.status, self.at = path, [], {}, {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def runs(self, slot, trial=None, said=None):
        self.acts = []
        update = {"confirmed": None, "trial": trial, "step": None, "percent": 0, "ready": None, "said": said, "failed": bool(said)}
        self.status = {"version": "9.9.9", "slot": slot, "clock_trusted": True, "clock_floor": 0, "problem": None, "notice": None,
                       "health": None, "addresses": [], "open_ports": [], "disk": None, "uptime_seconds": 1, "update": update}

    def serve(self):
        while True:
            peer, _ = self.listener.accept()
            with peer:
                head = peer.recv(4, socket.MSG_WAITALL)
                if len(head) < 4:
                    continue
                request = json.loads(peer.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL))
                reply = json.dumps(self.answer(request["verb"])).encode()
                peer.sendall(struct.pack(">I", len(reply)) + reply)

    def answer(self, verb):
        if verb == "status":
            return {"status": self.status}
        if verb == "sticks":
            # Asked for every few seconds; only looking.
            return {"refused": "this machine of a test has no sticks"}
        self.acts.append(verb)
        if verb in self.at:
            self.at.pop(verb)()
        if verb == "check-update":
            return {"refused": "this update is not for us"}
        if verb == "confirm-slot":
            self.status["update"]["trial"] = None
        return "done"


def started(house, machine):
    env = dict(os.environ, HOMEPOST_MACHINE=str(machine.path))
    with open(house.log, "ab") as log:
        house.process = subprocess.Popen([*COMMAND, "serve", "--data", str(house.data), "--port-offset", str(house.offset)],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=env,
                                         preexec_fn=lambda: os.setpgid(0, 0))


def until(what, true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def ready(house):
    until("ready", lambda: (house.data / "ready").exists() or not house.alive())
    assert house.alive(), house.tail()


def first_line(address, port):
    try:
        with socket.create_connection((address, port), timeout=20) as peer:
            return peer.makefile("rb").readline().decode()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"


def send(house, subject):
    with smtplib.SMTP("127.0.0.1", house.port(25), timeout=60) as client:
        client.sendmail("sender@example.net", [ALICE], (LETTER % subject).encode())


def subjects(house):
    found = []
    for letter in house.letters().values():
        found += [line[9:] for line in letter.decode().split("\r\n\r\n")[0].splitlines() if line.startswith("Subject: ")]
    return sorted(found)


def closed(house):
    """What somebody else and we ourselves see."""
    return [first_line(OUTSIDE, house.port(25))[:4], first_line("127.0.0.1", house.port(25))[:4],
            first_line(OUTSIDE, house.port(993)), first_line(OUTSIDE, house.port(587)), first_line(OUTSIDE, house.port(443))]


def main():
    house = House("update")
    checks = Checks()
    machine = Machine(house.folder / "machine.sock")
    kept = house.data / "before-update"
    try:
        house.init()
        machine.runs("a")
        started(house, machine)
        ready(house)
        send(house, "before")
        house.stop()

        with checks("a version on trial lets this machine in alone, shows that it works, and opens"):
            seen = []
            machine.runs("b", trial="b")
            machine.at["confirm-slot"] = lambda: seen.append([closed(house), (kept / "of").read_text(), (house.data / "ready").exists()])
            started(house, machine)
            ready(house)
            same(seen, [[["421 ", "220 ", "refused", "refused", "refused"], "b", False]], "while on trial")
            same(machine.acts, ["refresh-firewall", "confirm-slot"], "asked of the machine")
            same(first_line(OUTSIDE, house.port(25))[:4], "220 ", "after it")
            socket.create_connection((OUTSIDE, house.port(993)), timeout=20).close()
            same(subjects(house), ["Your homepost was updated", "before"], "letters")
            until("the way back is off the disk", lambda: not list(house.data.glob("before-update*")))
            assert "Version 9.9.9 runs." in (house.data / "update" / "said").read_text()
            house.stop()

        with checks("one that does not work restarts the machine, and the old one has the mail as it was"):
            with socket.create_server(("127.0.0.1", house.port(993))) as taken:
                def hang_up():
                    while True:
                        try:
                            taken.accept()[0].close()
                        except OSError:
                            return
                threading.Thread(target=hang_up, daemon=True).start()
                machine.runs("a", trial="a")
                machine.at["reboot"] = lambda: send(house, "during the trial")
                started(house, machine)
                until("the restart", lambda: "reboot" in machine.acts or not house.alive())
                assert house.alive(), house.tail()
                time.sleep(0.5)
                assert not (house.data / "ready").exists()
                same((kept / "of").read_text(), "a", "the way back")
                house.kill()
                taken.shutdown(socket.SHUT_RDWR)
            machine.runs("b", trial="a", said="The new version 9.9.9 did not work here.")
            started(house, machine)
            ready(house)
            same(machine.acts, ["abandon-update"], "asked of the machine")
            same(subjects(house), ["Your homepost was updated", "before"], "letters")
            assert not kept.exists()
            said = json.loads((house.data / "update" / "said").read_text())["words"]
            assert "did not work here: imaps: " in said and said.endswith(" The version before runs again."), said

        with checks("an update that is put down is handed to the machine, and what it says is kept"):
            machine.runs("b")
            file = house.folder / "x.hpu"
            file.write_bytes(b"something")
            env = dict(os.environ, HOMEPOST_MACHINE=str(machine.path))

            def told(*words):
                return subprocess.run([*COMMAND, "update", *words, "--data", str(house.data)], env=env, text=True, capture_output=True)
            done = told("install", str(file))
            same(done.returncode, 0, done.stderr)
            until("it was looked at", lambda: "check-update" in machine.acts)
            until("it is gone", lambda: not (house.data / "update" / "offered.hpu").exists())
            until("it is said", lambda: "this update is not for us" in told("status").stdout)
            same(machine.acts, ["check-update"], "asked of the machine")
        house.stop()
        house.check()
    finally:
        house.end()
    return checks.end()


if __name__ == "__main__":
    if os.environ.get("HOMEPOST_ALONE") != "1":
        inside = f'ip link set lo up && ip addr add {OUTSIDE}/32 dev lo && exec "$@"'
        os.environ["HOMEPOST_ALONE"] = "1"
        os.execvp("unshare", ["unshare", "-n" if os.geteuid() == 0 else "-rn", "sh", "-c", inside, "sh", sys.executable, str(pathlib.Path(__file__).resolve())])
    sys.exit(main())
