"""The root process of a box, played: a stick cannot be plugged into the machine that tests run on, nor may it be restarted."""

import json
import socket
import struct
import threading
import time


class Machine:
    """What `homepost machine` answers. What is on the stick shows in `at` only while it is open; `acts` is what was asked for,
    `shown` what the screen shows."""

    def __init__(self, folder):
        self.folder = folder
        self.inside = folder / "inside"
        self.stick = None
        self.loose, self.seen = False, 0
        self.acts = []
        self.shown = []
        self.problem = None
        self.inside.mkdir(parents=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "machine.sock"))
        self.listener.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def plug(self, insertion, **more):
        self.stick = {"insertion": insertion, "name": "Acme Stick", "label": "HOMEPOST", "bytes": 1 << 30, "writable": True,
                      "state": "ready", **more}

    def pull(self):
        self.close()
        self.stick = None

    def close(self):
        at = self.folder / "at"
        if at.is_symlink():
            at.unlink()

    def serve(self):
        while True:
            peer, _ = self.listener.accept()
            with peer:
                try:
                    length = struct.unpack(">I", peer.recv(4, socket.MSG_WAITALL))[0]
                    reply = json.dumps(self.answer(json.loads(peer.recv(length, socket.MSG_WAITALL)))).encode()
                    peer.sendall(struct.pack(">I", len(reply)) + reply)
                except (OSError, struct.error):
                    pass

    def answer(self, request):
        verb = request["verb"]
        if verb == "sticks":
            # A loose contact: once it was mounted and looked at, the same stick is there as another one.
            mounted = (self.folder / "at").is_symlink()
            again = self.loose and mounted and self.seen > 0
            self.seen += mounted
            stick = self.stick and {**self.stick, "insertion": self.stick["insertion"] + (1000 if again else 0)}
            return {"sticks": [stick] if stick else []}
        if verb == "open-stick":
            if not self.stick:
                return {"refused": "There is no USB stick."}
            if not (self.folder / "at").is_symlink():
                (self.folder / "at").symlink_to(self.inside)
                self.seen = 0
            self.acts.append(verb)
            return "done"
        if verb == "close-stick":
            self.close()
            self.acts.append(verb)
            return "done"
        if verb == "status":
            return {"status": {"version": "1", "slot": "a", "clock_trusted": True, "clock_floor": 0, "problem": self.problem,
                               "notice": None, "health": None, "addresses": [], "open_ports": [], "disk": None, "uptime_seconds": 60}}
        if verb == "show":
            self.shown = request["lines"]
            return "done"
        if verb in ("reboot", "erase"):
            self.acts.append(verb)
            return "done"
        return {"refused": f"the machine does not do that: {verb}"}


def until(what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.3)
    return found
