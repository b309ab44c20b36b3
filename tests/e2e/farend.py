"""A mail server that a test plays, so that it can be as strange as real ones are."""

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import threading


class Far:
    """Listens at an address. What it does:

    offers  lines of its reply to EHLO
    tls     an ssl context for STARTTLS, or None; "broken" offers it and answers nonsense
    first   the same context from the first byte on
    users   name → password, for AUTH PLAIN, LOGIN and SCRAM-SHA-256, of which those in `mechanisms` are offered
    answer  called with each command line (upper case verb) and the talk so far; returns a reply, "drop" to close without one,
            or None for the usual one
    """

    open = []

    def __init__(self, address, port=25, offers=("PIPELINING", "8BITMIME", "SIZE 10485760"), tls=None, first=None, users=None,
                 answer=None, mechanisms="SCRAM-SHA-256 PLAIN"):
        self.offers, self.tls, self.first, self.users, self.answer = list(offers), tls, first, users or {}, answer
        self.mechanisms = mechanisms
        self.letters = []
        self.talks = []
        self.socket = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.ending = False
        Far.open.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.ending:
            try:
                stream, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        with contextlib.suppress(OSError, ssl.SSLError, ConnectionError, ValueError), stream:
            stream.settimeout(120)
            talk = Talk(self, stream)
            try:
                talk.run()
            finally:
                # Files made of a socket keep it open; this does not ask them.
                talk.stream.shutdown(socket.SHUT_RDWR)

    def end(self):
        self.ending = True
        # A thread that waits in accept() would keep the port.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        Far.open.remove(self)


class Talk:
    def __init__(self, far, stream):
        self.far, self.stream, self.secure = far, stream, False
        self.lines = []
        self.peer = stream.getpeername()[0]
        far.talks.append(self)

    def say(self, text):
        self.stream.sendall(text.encode() + b"\r\n")

    def run(self):
        if self.far.first:
            self.wrap(self.far.first)
        self.file = self.stream.makefile("rb")
        reply = self.far.answer and self.far.answer("", self)
        if reply == "drop":
            return
        self.say(reply or "220 far.test ESMTP")
        if reply and not reply.startswith("220"):
            return
        sender, recipients, user = None, [], None
        while line := self.file.readline():
            text = line.decode().rstrip("\r\n")
            self.lines.append(text)
            verb, _, rest = text.partition(" ")
            verb = verb.upper()
            reply = self.far.answer and self.far.answer(f"{verb} {rest}", self)
            if reply == "drop":
                return
            if verb == "EHLO":
                offers = list(self.far.offers)
                if self.far.tls and not self.secure:
                    offers.append("STARTTLS")
                if self.far.users and self.secure:
                    offers.append(f"AUTH {self.far.mechanisms}")
                lines = ["far.test", *offers]
                self.say(reply or "\r\n".join([*(f"250-{one}" for one in lines[:-1]), f"250 {lines[-1]}"]))
            elif verb == "STARTTLS" and self.far.tls:
                self.say(reply or "220 go")
                if self.far.tls == "broken":
                    self.stream.sendall(b"this is no handshake at all, whatever it was that was promised\r\n")
                    return
                self.wrap(self.far.tls)
                self.file = self.stream.makefile("rb")
                sender, recipients = None, []
            elif verb == "AUTH":
                user = self.login(rest)
                self.say("235 2.7.0 welcome" if user else "535 5.7.8 wrong")
            elif self.far.users and verb in ("MAIL",) and not user:
                self.say("530 5.7.0 log in first")
            elif verb == "MAIL":
                if not (reply or "250").startswith("2"):
                    self.say(reply)
                    continue
                sender, recipients = rest, []
                self.say(reply or "250 2.1.0 ok")
            elif verb == "RCPT":
                if (reply or "250").startswith("2"):
                    recipients.append(rest.split("<", 1)[1].split(">", 1)[0])
                self.say(reply or "250 2.1.5 ok")
            elif verb in ("DATA", "BDAT"):
                if verb == "DATA":
                    self.say("354 go")
                    body = b""
                    while not body.endswith(b"\r\n.\r\n") and body != b".\r\n":
                        body += self.file.readline()
                    body = (b"\r\n" + body[:-3]).replace(b"\r\n.", b"\r\n")[2:]
                else:
                    body = self.file.read(int(rest.split()[0]))
                reply = self.far.answer and self.far.answer("END", self)
                if reply == "drop":
                    self.far.letters.append((sender, recipients, body, self.secure, user))
                    return
                if (reply or "250").startswith("2"):
                    self.far.letters.append((sender, recipients, body, self.secure, user))
                self.say(reply or "250 2.0.0 queued")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say(reply or "250 ok")

    def wrap(self, context):
        self.stream = context.wrap_socket(self.stream, server_side=True)
        self.secure = True

    def ask(self, challenge):
        self.say("334 " + base64.b64encode(challenge).decode())
        return base64.b64decode(self.file.readline())

    def login(self, words):
        mechanism, _, initial = words.partition(" ")
        first = base64.b64decode(initial) if initial else mechanism != "LOGIN" and self.ask(b"")
        if mechanism == "PLAIN":
            _, user, password = first.decode().split("\0")
            return user if self.far.users.get(user) == password else None
        if mechanism == "LOGIN":
            user, password = (initial and first or self.ask(b"Username:")).decode(), self.ask(b"Password:").decode()
            return user if self.far.users.get(user) == password else None
        bare = first.split(b",", 2)[2]
        user = bare.split(b",")[0][2:].decode()
        nonce = bare.split(b",")[1][2:] + base64.b64encode(os.urandom(12))
        salt = os.urandom(16)
        second = b"r=" + nonce + b",s=" + base64.b64encode(salt) + b",i=4096"
        final = self.ask(second)
        without, proof = final.rsplit(b",p=", 1)
        salted = hashlib.pbkdf2_hmac("sha256", self.far.users.get(user, "").encode(), salt, 4096)

        def keyed(key, text):
            return hmac.new(key, text, hashlib.sha256).digest()
        client = keyed(salted, b"Client Key")
        auth = b",".join([bare, second, without])
        signature = keyed(hashlib.sha256(client).digest(), auth)
        expected = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        if not hmac.compare_digest(expected, base64.b64decode(proof)):
            return None
        self.ask(b"v=" + base64.b64encode(keyed(keyed(salted, b"Server Key"), auth)))
        return user
