"""The root process of a box, played: it says which slot runs and what is on trial, and remembers what it was told to do."""

import json
import socket
import struct
import threading


class Machine:
    """What `homepost machine` answers on its socket."""

    def __init__(self, path):
        self.path, self.acts, self.status, self.at = path, [], {}, {}
        self.silent, self.stick = False, None
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
                if len(head) < 4 or self.silent:
                    continue
                request = json.loads(peer.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL))
                reply = json.dumps(self.answer(request["verb"])).encode()
                try:
                    peer.sendall(struct.pack(">I", len(reply)) + reply)
                except OSError:
                    # Whoever asked was killed meanwhile.
                    pass

    def answer(self, verb):
        if verb == "status":
            return {"status": self.status}
        if verb == "sticks":
            # Asked for every few seconds; only looking.
            return {"sticks": [self.stick]} if self.stick else {"refused": "this machine of a test has no sticks"}
        if verb in ("open-stick", "close-stick"):
            return "done"
        self.acts.append(verb)
        if verb in self.at:
            self.at.pop(verb)()
        if verb == "check-update":
            return {"refused": "this update is not for us"}
        if verb == "confirm-slot":
            self.status["update"]["trial"] = None
        return "done"
