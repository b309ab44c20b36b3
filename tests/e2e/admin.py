"""The administration on 443, with the real binary on its real ports, in a network namespace of its own: in a browser, by
programs over /api held against the OpenAPI document, and what a stranger or an ordinary person may try.

Screenshots of every page lie in target/e2e/admin-shots afterwards.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

from bind import Bind
from dnspush import HEAD
from house import ALICE, PASSWORD, ROOT, TARGET, BINARY, Checks, House, anyone, same
from written import KEYS, OTHERS, Watched

HOST = "mail.example.test"
BEN = "ben@example.test"
SHOTS = TARGET / "e2e" / "admin-shots"
# Addresses of strangers, since who comes from 127.0.0.1 never waits.
STRANGER, OURS, OTHER = "198.51.100.7", "198.51.100.1", "198.51.100.8"


def run(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


class Household(House):
    """On the real ports of every address; the namespace is ours alone."""

    def __init__(self, name):
        super().__init__(name)
        self.offset = 0

    def begin(self, seconds=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--data", str(self.data)], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=os.setpgrp)
        ready = threading.Event()

        def listen(stream):
            for line in stream:
                if line.strip() == "ready":
                    ready.set()

        threading.Thread(target=listen, args=(self.process.stdout,), daemon=True).start()
        end = time.monotonic() + seconds
        while not ready.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"not ready\n{self.tail()}")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def ask(method, path, headers=None, body=None, source="127.0.0.1", to=None, timeout=90):
    """One request over TLS, under the name of the house."""
    plain = socket.create_connection((to or ("127.0.0.1" if source == "127.0.0.1" else OURS), 443), timeout=timeout,
                                     source_address=(source, 0))
    connection = http.client.HTTPConnection(HOST, 443, timeout=timeout)
    connection.sock = anyone().wrap_socket(plain, server_hostname=HOST)
    try:
        if isinstance(body, str):
            body = body.encode()
        connection.request(method, path, body, {"Host": HOST, **(headers or {})})
        reply = connection.getresponse()
        return Answer(reply.status, reply.headers, reply.read().decode())
    finally:
        connection.close()


class Visitor:
    """A browser without a screen: fills forms in, and keeps cookies."""

    def __init__(self, source="127.0.0.1"):
        self.cookies, self.source = {}, source

    def send(self, method, path, headers=None, body=None):
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = ask(method, path, {"Cookie": cookies, **(headers or {})}, body, self.source)
        for cookie in reply.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return reply

    def get(self, path):
        return self.send("GET", path)

    def token(self, page):
        found = re.search(r'name="t" value="(\w+)"', self.get(page).body)
        return found[1] if found else ""

    def submit(self, path, token, headers=None, **fields):
        body = urllib.parse.urlencode({"t": token, **fields})
        return self.send("POST", path, {"Content-Type": "application/x-www-form-urlencoded",
                                        "Origin": f"https://{HOST}", **(headers or {})}, body)

    def post(self, path, **fields):
        return self.submit(path, self.token(path), **fields)

    def sign_in(self, address, phrase):
        return self.post("/sign-in", address=address, phrase=phrase).status


def secrets_are_not_logged(house, secrets):
    log = house.log.read_text(errors="replace")
    for secret in secrets:
        assert secret not in log, f"the log has {secret}"


def goes_on(house):
    """A letter for elsewhere, which nobody here can say where that is: it waits, and it is known why."""
    client = house.smtp()
    client.sendmail("aunt@elsewhere.test", ["away@example.test"], f"Subject: On\r\n\r\nAnd on, at {time.time()}.\r\n".encode())
    client.quit()
    end = time.monotonic() + 90
    while [one["last"] is not None for letter in house.json("queue", "list") for one in letter["recipients"]] != [True]:
        assert time.monotonic() < end, house.json("queue", "list")
        time.sleep(0.2)


def in_a_browser(checks, house, mode, secrets):
    # What was found out for the one before is not known any more.
    house.kill()
    house.begin()
    bind = Bind(house.folder / "bind", {"example.test": HEAD + f"_dmarc IN TXT {OTHERS}\nmail IN A 192.0.2.25\n"}, keys=KEYS, port=53)
    watched = Watched(bind, house, "example.test")
    with contextlib.ExitStack() as stack, checks(
            f"{mode}: an administrator invites somebody, who comes in; records are written; all pages are walked"):
        stack.callback(bind.end)
        stack.callback(watched.end)
        goes_on(house)
        env = dict(os.environ, BROWSER_MODULES=str(TARGET / "browser"))
        browser = subprocess.Popen(
            ["node", str(ROOT / "tests/e2e/admin.mjs"), mode, f"https://{HOST}/", ALICE, PASSWORD, str(SHOTS / mode),
             "127.0.0.1", watched.provider], env=env,
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=os.setpgrp)
        killer = threading.Timer(420, lambda: os.killpg(browser.pid, signal.SIGKILL))
        killer.start()
        steps, walked = [], False
        try:
            for line in browser.stdout:
                word, _, rest = line.strip().partition(" ")
                if word == "step":
                    steps.append(rest)
                elif word == "person":
                    address, phrase = rest.split(" ", 1)
                    secrets.append(phrase)
                    client = house.imap(address, phrase)
                    client.select_folder("INBOX")
                    client.logout()
                elif word in ("dns", "provider"):
                    watched.told(rest)
                elif word == "port":
                    with socket.create_connection(("127.0.0.1", int(rest)), timeout=30) as stream:
                        assert stream.recv(100).startswith(b"* OK"), rest
                elif word == "token":
                    secrets.append(rest)
                    same(ask("GET", "/api/people", {"Authorization": f"Bearer {rest}"}).status, 200, "with the token")
                elif word == "walked":
                    walked = True
                elif word == "failed":
                    raise AssertionError(f"after {steps[-1:]}: {rest}")
                if word in ("person", "port", "token", "dns", "provider"):
                    browser.stdin.write("done\n")
                    browser.stdin.flush()
        finally:
            killer.cancel()
            if browser.poll() is None:
                try:
                    browser.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(browser.pid, signal.SIGKILL)
            browser.wait(20)
        assert walked, f"it ended after {steps[-1:]}"
        watched.silent()


PAGES = ["/admin", "/admin/people", f"/admin/people/{ALICE}", f"/admin/people/{BEN}", "/admin/aliases", "/admin/domains",
         "/admin/domains/example.test", "/admin/domains/example.test/writing", "/admin/domains/example.test/writing/desec", "/admin/ports", "/admin/certificates", "/admin/certificates/asked", "/admin/queue", "/admin/queue/1", "/admin/reports",
         "/admin/sending", "/admin/programs", "/admin/updates", "/admin/backup", "/admin/backup/sheet", "/admin/erase", "/admin/nothing"]
FORMS = [("/admin/people", {"local": "eve", "domain": "example.test"}),
         (f"/admin/people/{ALICE}", {"do": "phrase"}), (f"/admin/people/{ALICE}", {"do": "delete"}),
         (f"/admin/people/{BEN}", {"do": "administrator"}), (f"/admin/people/{BEN}", {"do": "link"}),
         (f"/admin/people/{BEN}", {"do": "quota", "quota": "1"}),
         ("/admin/aliases", {"do": "add", "alias": "all@example.test", "targets": BEN}),
         ("/admin/domains", {"do": "add", "domain": "evil.test"}), ("/admin/domains/example.test", {"do": "check"}),
         ("/admin/domains/example.test/writing", {"do": "push"}), ("/admin/domains/example.test/writing", {"do": "choose", "method": "none"}),
         ("/admin/domains/example.test/writing/desec", {"secret1": "evil"}),
         ("/admin/ports", {"port": "imaps", "on": "no", "sure": "yes"}), ("/admin/certificates", {"do": "renew"}),
         ("/admin/queue", {"do": "hold"}), ("/admin/sending", {"form": "all", "do": "keep", "host": "evil.test", "port": "465"}),
         ("/admin/sending", {"form": "new", "do": "keep", "name": "evil", "domains": "example.test", "host": "evil.test", "port": "465"}), ("/admin/queue/1", {"do": "cancel", "sure": "yes"}),
         ("/admin/updates", {"do": "check"}), ("/admin/backup", {"do": "now"}), ("/admin/erase", {"sure": "erase", "phrase": "x"}), ("/admin/updates", {"do": "install", "version": "9.9.9"}),
         ("/admin/programs", {"do": "add", "name": "x", "scope": "all", "days": "7"})]


def who_may_not(checks, house):
    def state():
        return [house.json(*words) for words in (("account", "list"), ("alias", "list"), ("domain", "list"), ("listeners",),
                                                 ("token", "list"), ("relay", "list"))]

    before = state()
    with checks("an ordinary person reaches no page and no form of an administrator's, a stranger none at all"):
        ben, stranger = Visitor(), Visitor()
        same(ben.sign_in(BEN, PASSWORD), 303, "ben comes in")
        for path in PAGES:
            same(ben.get(path).status, 403, f"ben at {path}")
            reply = stranger.get(path)
            same((reply.status, reply.headers["Location"]), (303, "/sign-in"), f"a stranger at {path}")
        own, none = ben.token("/me"), stranger.token("/sign-in")
        for path, fields in FORMS:
            same(ben.submit(path, own, **fields).status, 403, f"ben fills in {path}")
            same(stranger.submit(path, none, **fields).status, 403, f"a stranger fills in {path}")
        same(state(), before, "the household")
    with checks("a forged form is refused: from elsewhere, with no token, with another browser's, by a rebound name"):
        alice, other = Visitor(), Visitor()
        same(alice.sign_in(ALICE, PASSWORD), 303, "alice comes in")
        token, others = alice.token("/admin/aliases"), other.token("/sign-in")
        form = {"do": "add", "alias": "all@example.test", "targets": BEN}
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            same(alice.submit("/admin/aliases", token, headers, **form).status, 403, f"{headers}")
        same(alice.submit("/admin/aliases", "", **form).status, 403, "no token")
        same(alice.submit("/admin/aliases", others, **form).status, 403, "another's")
        same(alice.submit("/admin/aliases", token, {"Host": "evil.example", "Origin": "https://evil.example"}, **form).status,
             421, "another name")
        same(alice.submit("/admin/aliases", token, **{**form, "alias": "a\r\nb@example.test"}).status, 400, "a line break")
        same(alice.submit("/admin/aliases", token, **{**form, "alias": "a" * 20000}).status, 413, "too long")
        same(state(), before, "the household")
        same(alice.submit("/admin/aliases", token, **form).status, 303, "the real one")
        house.run("alias", "delete", "all@example.test")
    with checks("every page forbids what it does not need, and is kept by nobody"):
        for path in ("/sign-in", "/admin", "/nothing", "/api/openapi.json", "/look/style.css"):
            reply = alice.get(path)
            policy = reply.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy, policy
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert path.startswith("/look") or reply.headers["Cache-Control"] == "no-store", path
            same([reply.headers["Server"], reply.headers["Access-Control-Allow-Origin"]], [None, None], path)


def guessing(checks, house):
    with checks("wrong pass phrases slow their address down, and nobody else"):
        stranger, other = Visitor(STRANGER), Visitor(OTHER)
        token = stranger.token("/sign-in")
        statuses = []

        def guess():
            again = Visitor(STRANGER)
            again.cookies = dict(stranger.cookies)
            statuses.append(again.submit("/sign-in", token, address=ALICE, phrase="not that one").status)

        guesses = [threading.Thread(target=guess) for _ in range(12)]
        for one in guesses:
            one.start()
        for one in guesses:
            one.join()
        guess()  # takes the turn that is there
        assert set(statuses) == {422}, statuses
        began = time.monotonic()
        reply = stranger.submit("/sign-in", token, address=ALICE, phrase=PASSWORD)
        took = time.monotonic() - began
        assert took > 1.5, f"the guesser's next try was looked at after {took:.1f} s"
        same(reply.status, 303, "and let in, since it was right")
        began = time.monotonic()
        same(other.sign_in(ALICE, PASSWORD), 303, "alice, from elsewhere, comes in")
        took = time.monotonic() - began
        assert took < 2, f"alice waited {took:.1f} s"
        same(Visitor().sign_in(BEN, PASSWORD), 303, "ben, at home, comes in")


# For each operation of the document, in the order in which they are done: what is in its path, and its body.
ADDRESS = {"address": "dora@example.test"}
NOT_SAID = "YSBzZWNyZXQgdGhhdCBubyBhbnN3ZXIgc2F5cw=="
CALLS = [
    ("document", {}, None), ("problems", {}, None), ("people", {}, None),
    ("invite", {}, {"address": "dora@example.test", "name": "Dora", "quota": 1000000}),
    ("invite", {}, {"address": "emil@example.test", "phrase": "clover and thyme"}),
    ("person", ADDRESS, None), ("set-quota", ADDRESS, {"quota": None}),
    ("link", ADDRESS, None), ("set-phrase", ADDRESS, {"phrase": "nettle and sorrel"}),
    ("set-role", ADDRESS, {"administrator": True}), ("set-role", ADDRESS, {"administrator": False}),
    ("leave", ADDRESS, None), ("keep", ADDRESS, None), ("resume", ADDRESS, None),
    ("add-alias", {}, {"alias": "post@example.test", "targets": ["dora@example.test", "aunt@elsewhere.test"]}),
    ("aliases", {}, None), ("queue", {}, None), ("reports", {}, None), ("delete-alias", {"address": "post@example.test"}, None),
    ("hold-letter", {"id": None}, None), ("letter", {"id": None}, None), ("release-letter", {"id": None}, None),
    ("retry-letter", {"id": None}, None), ("cancel-letter", {"id": None}, None),
    ("add-domain", {}, {"domain": "other.test"}), ("domains", {}, None), ("records", {"domain": "other.test"}, None),
    ("check", {"domain": "other.test"}, None),
    ("dns-method", {}, None),
    ("set-dns-method", {}, {"method": "rfc2136", "server": "127.0.0.1:1", "key-name": "k", "algorithm": "hmac-sha256", "zone": "",
                            "ask": "", "secrets": [NOT_SAID]}),
    ("plan", {"domain": "other.test"}, {"undo": False}), ("push", {"domain": "other.test"}, {"take-over": ["other.test/MX"]}),
    ("undo", {"domain": "other.test"}, {}), ("writing", {"domain": "other.test"}, None),
    ("set-dns-method", {}, {"method": "none"}),
    ("add-device", ADDRESS, {"name": "Tablet"}), ("devices", ADDRESS, None),
    ("remove-device", {**ADDRESS, "id": None}, None),
    ("delete-domain", {"domain": "other.test"}, None),
    ("ports", {}, None), ("switch", {"name": "imap"}, {"on": True}), ("switch", {"name": "imap"}, {"on": False}),
    ("certificates", {}, None), ("renew", {}, {"name": None}),
    ("set-relay", {}, {"host": "smtp.relay.test", "user": "us", "password": NOT_SAID, "spf": "include:_spf.relay.test"}),
    ("set-relay-for", {"name": "office"}, {"domains": ["office.test"], "host": "smtp.office.test", "tls": "starttls"}),
    ("relays", {}, None), ("set-relay-for", {"name": "office"}, {"host": ""}), ("set-relay", {}, {"host": ""}),
    ("updates", {}, None), ("check-updates", {}, None), ("install-update", {}, {"version": "9.9.9"}), ("backups", {}, None), ("back-up", {}, None),
    ("tokens", {}, None), ("delete-token", {"id": None}, None),
]
# Without a network nobody can be asked, and what is no box has nothing to be updated.
OTHERWISE = {"check": 503, "install-update": 422, "back-up": 503}


def by_programs(checks, house, secrets):
    secrets.append(NOT_SAID)
    sys.path.insert(0, str(TARGET / "openapi"))
    from jsonschema import Draft202012Validator
    alice = Visitor()
    same(alice.sign_in(ALICE, PASSWORD), 303, "alice comes in")

    def make(name, scope):
        page = alice.post("/admin/programs", do="add", name=name, scope=scope, days="7")
        token = re.search(r"homepost_[0-9a-f]{64}", page.body)[0]
        secrets.append(token)
        return {"Authorization": f"Bearer {token}"}

    document = ask("GET", "/api/openapi.json").json()

    def fits(value, schema, what):
        found = list(Draft202012Validator({**document, **schema}, format_checker=Draft202012Validator.FORMAT_CHECKER)
                     .iter_errors(value))
        assert not found, f"{what}: {found[0].message} at {list(found[0].absolute_path)}"

    operations = {operation["operationId"]: (method.upper(), path, operation)
                  for path, here in document["paths"].items() for method, operation in here.items()}
    def ended(token, work):
        """What came of what was begun; it has the same number."""
        end = time.monotonic() + 90
        while work["ended"] is None:
            assert time.monotonic() < end, work
            time.sleep(0.2)
            now = ask("GET", "/api/domains/other.test/writing", token).json()["work"]
            same(now["id"], work["id"], "the work")
            work = now
        return work

    with checks("the document is an OpenAPI 3.1 document, and nothing is in it that the test does not ask"):
        from openapi_spec_validator import OpenAPIV31SpecValidator
        OpenAPIV31SpecValidator(document).validate()
        same(sorted(operations), sorted({call[0] for call in CALLS}), "operations")
    with checks("every operation is asked, and answers as the document says"):
        everything, looking = make("everything", "all"), make("looking", "read")
        # With a letter in the queue, so that one is seen.
        house.run("alias", "add", "away@example.test", "somebody@elsewhere.test")
        goes_on(house)
        seen = {}
        for name, values, body in CALLS:
            method, path, operation = operations[name]
            if name == "delete-token":
                values = {"id": [one["id"] for one in seen["tokens"] if one["name"] == "looking"][0]}
            if name == "remove-device":
                values = {**values, "id": [one["id"] for one in seen["devices"] if one["name"] == "Tablet"][0]}
            if name.endswith("letter"):
                values = {"id": seen["queue"][0]["id"]}
            for value in re.findall(r"\{(\w+)\}", path):
                path = path.replace("{%s}" % value, urllib.parse.quote(str(values[value]), safe=""))
            headers = {**everything, "Content-Type": "application/json"}
            if operation.get("x-scope") == "all":
                same(ask(method, path, {**looking, "Content-Type": "application/json"}, json.dumps(body)).status, 403,
                     f"{name} with a token that may look")
            if name != "document":
                same(ask(method, path, {"Content-Type": "application/json"}, json.dumps(body)).status, 401, f"{name} without")
            if body is not None:
                fits(body, operation["requestBody"]["content"]["application/json"]["schema"], f"the body of {name}")
            reply = ask(method, path, headers, None if body is None else json.dumps(body))
            expected = OTHERWISE.get(name) or int([status for status in operation["responses"] if status != "default"][0])
            same(reply.status, expected, f"{name}: {reply.body[:300]}")
            if reply.status >= 400:
                same(reply.headers["Content-Type"], "application/problem+json", name)
                fits(reply.json(), {"$ref": "#/components/schemas/ProblemDocument"}, name)
                continue
            content = operation["responses"][str(expected)].get("content")
            if content is None:
                same(reply.body, "", name)
                continue
            same(reply.headers["Content-Type"], "application/json", name)
            assert NOT_SAID not in reply.body, f"{name} says the secret"
            seen[name] = reply.json()
            if name in ("plan", "push", "undo"):
                seen[name] = ended(everything, seen[name])
            if name == "add-device":
                secrets.append(seen[name]["password"])
                house.imap(ADDRESS["address"], seen[name]["password"]).logout()
            fits(seen[name], content["application/json"]["schema"], f"the answer of {name}")
        for name in ("people", "problems", "aliases", "domains", "records", "ports", "certificates", "queue", "tokens"):
            assert seen[name], f"{name} was empty, so nothing of it was looked at"
        same([one["state"] for one in seen["letter"]["recipients"]], ["held"], "the letter that was held")
        same(house.json("queue", "list"), [], "the letter that was cancelled")
        gone = f"/api/queue/{seen['letter']['id']}"
        same([ask(method, gone + more, everything).status for method, more in
              (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("POST", "/hold"))], [404] * 4, "what can be done with it")
        same(ask("GET", "/api/queue/x", everything).status, 404, "what is no number")
        said = [seen[name]["failed"] for name in ("plan", "push", "undo")]
        for why, part in zip(said, ("cannot ask", "Nothing was changed", "is left to be undone")):
            assert part in why, said
        same(ask("GET", "/api/people", looking).status, 401, "the token that was revoked")
        house.imap("dora@example.test", "nettle and sorrel").logout()
        house.imap("emil@example.test", "clover and thyme").logout()
    with checks("what the document does not have is not there"):
        filled = re.compile(r"\{\w+\}")
        for path, here in document["paths"].items():
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                if method.lower() not in here:
                    reply = ask(method, filled.sub("x", path), everything)
                    same(reply.status, 405, f"{method} {path}")
                    same(sorted(reply.headers["Allow"].split(", ")), sorted(one.upper() for one in here), path)
        for path in ("/api", "/api/", "/api/people/x/y", "/api/account", "/api/../admin", "/api/people%2fx"):
            same(ask("GET", path, everything).status, 404, path)
    with checks("the same is seen by the command line, and is there after a kill"):
        people = [(one["address"], one["quota"], one["administrator"]) for one in house.json("account", "list")]
        same(people, [(one["address"], one["quota"], one["administrator"])
                      for one in ask("GET", "/api/people", everything).json()], "people")
        house.kill()
        house.begin()
        same(ask("GET", "/api/people", everything).status, 200, "the token")
        same([one["address"] for one in ask("GET", "/api/people", everything).json()], [one[0] for one in people], "people")
        same(alice.get("/admin").headers["Location"], "/sign-in", "sessions end with the server")


def main():
    checks, secrets = Checks(), [PASSWORD]
    run("ip", "link", "set", "lo", "up")
    for address in (OURS, STRANGER, OTHER):
        run("ip", "addr", "add", f"{address}/24", "dev", "lo")
    house = Household("admin")
    try:
        with checks("a household is served on its real ports"):
            house.init()
            house.add(BEN, "--name", "Ben")
            # An authority that nobody reaches.
            file = house.data / "settings.toml"
            text = file.read_text()
            assert re.search(r'^#? ?directory = ""', text, re.M), "no line for the authority"
            file.write_text(re.sub(r'^#? ?directory = ""', 'directory = "https://127.0.0.1:14000/dir"', text, count=1, flags=re.M))
            house.begin()
        modes = sys.argv[2:] or ["desktop", "phone", "german", "keyboard", "plain"]
        who_may_not(checks, house)
        by_programs(checks, house, secrets)
        for mode in modes:
            in_a_browser(checks, house, mode, secrets)
        guessing(checks, house)
        with checks("no secret is in the log, and the stores are sound"):
            secrets_are_not_logged(house, secrets)
            same(house.check(), "", "check")
            house.stop()
    finally:
        house.end(keep=checks.failed > 0)
    checks.end()


if sys.argv[1:2] == ["inside"]:
    main()
else:
    # Once more in a network namespace of its own, and for who is not root in a user namespace too.
    kind = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    words = [*kind, "--kill-child", "--fork", sys.executable, __file__, "inside", *sys.argv[1:]]
    sys.exit(subprocess.run(words, stdin=subprocess.DEVNULL).returncode)
