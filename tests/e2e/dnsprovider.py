"""Records written through a provider's interface: PowerDNS's, which is the one whose address can be chosen, played by this
process on loopback in front of BIND. What is the same for all providers is what is tried: token, refusals, being away."""

import contextlib
import http.server
import json
import os
import subprocess
import threading
import urllib.parse

from bind import Bind, tool
from dnspush import ADDRESS, DOMAIN, FOREIGN, HEAD, KEY, SECRET, actions, nothing_said, push
from house import COMMAND, same

TOKEN = "pdns-token-of-the-test-0815"


class Interface(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def is_barred(self):
        self.server.asked += 1
        if self.headers.get("X-API-Key") != self.server.token:
            self.reply(401, {"error": "Unauthorized"})
        elif self.server.broken:
            self.reply(self.server.broken, {"error": "upkeep"})
        elif urllib.parse.urlparse(self.path).path != f"/api/v1/servers/localhost/zones/{DOMAIN}.":
            self.reply(404, {"error": "Not Found"})
        else:
            return False
        return True

    def do_GET(self):
        if self.is_barred():
            return
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        sets = {}
        for line in self.server.bind.all(DOMAIN):
            name, ttl, _, kind, value = line.split(" ", 4)
            if query and (name, kind) != (query["rrset_name"][0], query["rrset_type"][0]):
                continue
            one = sets.setdefault((name, kind), {"name": name, "type": kind, "ttl": int(ttl), "records": []})
            one["records"].append({"content": value, "disabled": False})
        self.reply(200, {"rrsets": list(sets.values())})

    def do_PATCH(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.is_barred():
            return
        lines = []
        for one in json.loads(body)["rrsets"]:
            if one["type"] in self.server.refused:
                return self.reply(422, {"error": f"{one['type']} is not for you"})
            lines.append(f"update delete {one['name']} {one['type']}")
            if one["changetype"] == "REPLACE":
                lines += [f"update add {one['name']} {one['ttl']} {one['type']} {r['content']}" for r in one["records"]]
        text = f"server 127.0.0.1 {self.server.bind.port}\nzone {DOMAIN}\n" + "\n".join(lines) + "\nsend\n"
        done = subprocess.run([tool("nsupdate"), "-y", f"hmac-sha256:{KEY}:{SECRET}"], input=text, text=True,
                              capture_output=True, timeout=60)
        if done.returncode:
            return self.reply(422, {"error": done.stderr})
        self.reply(204)


@contextlib.contextmanager
def interface(bind):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Interface)
    server.daemon_threads = True
    server.bind, server.token, server.broken, server.refused, server.asked = bind, TOKEN, None, set(), 0
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def provided(checks, house, records, short):
    bind = Bind(house.folder / "provider", {DOMAIN: HEAD}, keys={KEY: SECRET})
    try:
        with interface(bind) as server:
            play(checks, house, bind, server, records, short)
        with checks("a provider that is away is said, and nothing is changed"):
            before = bind.all(DOMAIN)
            answer, words = push(house, "--yes", ok=False, address="192.0.2.99")
            assert "powerdns cannot be reached" in words and not answer["written"], words
            same(bind.all(DOMAIN), before)
    finally:
        bind.end()
        house.run("dns", "use", "none")
    with checks("a machine that knows no certificate authority says so"):
        none = {**os.environ, "SSL_CERT_FILE": "/nowhere/certs.pem", "SSL_CERT_DIR": "/nowhere"}
        done = subprocess.run([*COMMAND, "dns", "use", "desec", "--secret-stdin", "--data", str(house.data)], env=none,
                              input=TOKEN + "\n", text=True, capture_output=True, timeout=60)
        assert done.returncode == 1 and "no list of certificate authorities" in done.stderr, done.stderr
        assert "panicked" not in done.stderr, done.stderr
    with checks("without a way to write, the token is gone too"):
        assert not (house.data / "dns-key.json").exists()


def play(checks, house, bind, server, records, short):
    start = bind.all(DOMAIN)
    house.run("dns", "use", "powerdns", "--server", server.address, "--ask", bind.address, "--zone", "", "--secret-stdin",
              input=TOKEN + "\n")
    with checks("a token that is revoked is said, once and not for each record, and nothing is changed"):
        server.token, server.asked = "another", 0
        answer, words = push(house, "--yes", ok=False)
        assert "powerdns does not accept the token" in words and "homepost dns use" in words, words
        same((answer["written"], bind.all(DOMAIN), words.count("does not accept")), (False, start, 1))
        assert server.asked < 4, f"{server.asked} requests"
        nothing_said(house, TOKEN, json.dumps(answer), words)
        server.token = TOKEN
    with checks("a provider with a fault of its own is told from that"):
        server.broken = 500
        answer, words = push(house, "--yes", ok=False)
        assert "powerdns has a fault of its own" in words, words
        same((answer["written"], bind.all(DOMAIN)), (False, start))
        server.broken = None
    with checks("a record that the provider refuses keeps no other from being written, and is written when it is let"):
        server.refused = {"SRV"}
        answer, words = push(house, "--yes", ok=False)
        assert "powerdns does not take it" in words and "is not for you" in words, words
        undone = {line["type"] for line in answer["lines"] if not line["done"]}
        same((undone, bind.dig(DOMAIN, "MX"), answer["unseen"]), ({"SRV"}, ["10 mail.example.test."], []))
        server.refused = set()
        house.serve()
        answer, words = push(house, "--yes")
        same({line["type"] for line in answer["lines"] if line["action"] == "add"}, {"SRV"}, words)
        house.stop()
    with checks("every record is there as it was listed, those of others too, and a second push has nothing to do"):
        wanted = {}
        for record in records(house):
            if record["publish"]:
                wanted.setdefault((record["name"], record["type"]), []).append(short(record))
        wanted[DOMAIN, "TXT"].append('"google-site-verification=x"')
        for (name, kind), values in wanted.items():
            same(bind.dig(name, kind), sorted(values), f"{name} {kind}")
        assert not set(FOREIGN) - set(bind.all(DOMAIN))
        answer, _ = push(house, "--yes")
        same(set(actions(answer)), {"keep"})
    with checks("what changed is changed, and an undo puts it back"):
        before = bind.all(DOMAIN)
        push(house, "--yes", address="192.0.2.26")
        same(bind.dig(f"mail.{DOMAIN}", "A"), ["192.0.2.26"])
        push(house, "--undo", "--yes")
        same((bind.dig(f"mail.{DOMAIN}", "A"), bind.all(DOMAIN)), ([ADDRESS], before))
