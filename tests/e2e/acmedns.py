"""Certificates proven by a record in the DNS (DNS-01): written at BIND, looked up there by pebble, and taken away again."""

import shutil
import subprocess
import time

from acme import CLIENTS, HOST, Box, World, same_serial, wait_for
from bind import Bind
from dnspush import DOMAIN, FOREIGN, HEAD, KEY, SECRET, update
from house import COMMAND, Checks, same

CHALLENGE = f"_acme-challenge.{HOST}"


def pebble(world, bind, box):
    """An authority that asks this name server and no other."""
    world.dns, usual = bind.port, world.dns
    try:
        return world.pebble("ca", box.port(80), box.port(443))
    finally:
        world.dns = usual


def texts(bind, name=CHALLENGE):
    return [line.strip('"') for line in bind.dig(name, "TXT")]


def log(bind):
    return bind.log.read_text(errors="replace")


def use(box, bind, ask, secret=SECRET):
    box.run("dns", "use", "rfc2136", "--server", bind.address, "--key-name", KEY, "--ask", ask, "--secret-stdin",
            input=secret + "\n")


def renewing(box, name=HOST):
    return subprocess.Popen([*COMMAND, "cert", "renew", name, "--force", "--data", str(box.data)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def play(check, box, world):
    keys = {KEY: SECRET}
    bind = Bind(box.folder / "primary", {DOMAIN: HEAD}, keys=keys)
    second = Bind(box.folder / "second", {DOMAIN: HEAD}, keys=keys)
    try:
        box.init()
        for name in ("root.pem", "api.key"):
            shutil.copy(world.folder / name, box.data / name)
        ca, directory = pebble(world, bind, box)
        before = bind.all(DOMAIN)
        proven(check, box, bind, ca, directory)
        waiting(check, box, bind, second, ca)
        cut(check, box, bind, second)
        with check("nothing of it is left in the zone"):
            same(bind.all(DOMAIN), before)
            assert not set(FOREIGN) - set(bind.all(DOMAIN))
            box.stop()
            same(box.check(), "")
    finally:
        bind.end()
        second.end()


def proven(check, box, bind, ca, directory):
    with check("the host and the domain's names are proven by records, with no port open, and the records go again"):
        box.settings(directory=directory, root="root.pem", challenge="dns-01")
        use(box, bind, bind.address)
        box.run("listeners", "off", "https")
        box.serve()

        def both():
            groups = box.groups()
            return groups if all(groups.get(id, {}).get("source") for id in ("host", "domain-example.test")) else None
        groups = wait_for(both, 240, f"no certificates: {box.run('cert', 'list').stdout}")
        same(groups["host"]["covers"], [HOST])
        same(sorted(groups["domain-example.test"]["covers"]), sorted(CLIENTS))
        same_serial(groups["host"], box.serial())
        for name in [HOST, *CLIENTS]:
            assert f"adding an RR at '_acme-challenge.{name}' TXT" in log(bind), name
            wait_for(lambda name=name: not texts(bind, f"_acme-challenge.{name}"), 30, f"{name} stays")
        assert SECRET not in box.log.read_text()
    with check("where records can be written that way comes first, and 443 is another"):
        box.run("listeners", "on", "https")
        box.settings(challenge="auto")
        box.reload()
        count = log(bind).count(f"adding an RR at '{CHALLENGE}' TXT")
        box.run("cert", "renew", HOST, "--force")
        same(log(bind).count(f"adding an RR at '{CHALLENGE}' TXT"), count + 1)
        box.settings(challenge="dns-01")
        box.reload()
    with check("what keeps the record from being written is said, and the old certificate stays"):
        old = box.serial()
        use(box, bind, bind.address, secret="YW5vdGhlciBzZWNyZXQgb2YgdGhhdCBsZW5ndGggeHg=")
        done = box.run("cert", "renew", HOST, "--force", ok=False)
        same((done.returncode, box.serial()), (1, old), done.stderr)
        assert "secret is not the one it has" in done.stderr, done.stderr
        use(box, bind, bind.address)


def waiting(check, box, bind, second, ca):
    with check("the authority is told only when every name server gives the record out"):
        use(box, bind, f"{bind.address},{second.address}")
        issued = ca.said().count("Issued certificate")
        command = renewing(box)
        value = wait_for(lambda: texts(bind), 60, "no record was written")[0]
        time.sleep(5)
        assert command.poll() is None and ca.said().count("Issued certificate") == issued, "it did not wait"
        update(second, f'update add {CHALLENGE} 60 TXT "{value}"')
        said = command.communicate(timeout=120)[0]
        same((command.returncode, ca.said().count("Issued certificate")), (0, issued + 1), said)
        update(second, f"update delete {CHALLENGE} TXT")
        same(texts(bind), [])


def cut(check, box, bind, second):
    with check("a record that a power cut leaves behind goes at the next start, and others of that name stay"):
        update(bind, f'update add {CHALLENGE} 60 TXT "somebody-else"')
        command = renewing(box)
        wait_for(lambda: len(texts(bind)) == 2, 60, "no record was written")
        box.kill()
        command.communicate(timeout=60)
        same(len(texts(bind)), 2)
        use(box, bind, bind.address)
        box.serve()
        wait_for(lambda: texts(bind) == ["somebody-else"], 60, "it stays")
        update(bind, f"update delete {CHALLENGE} TXT")


def main():
    check = Checks()
    box = Box("acme-dns")
    world = World(box.folder)
    try:
        play(check, box, world)
    finally:
        box.end(keep=check.failed > 0)
        world.end()
    if not check.failed:
        shutil.rmtree(box.folder, ignore_errors=True)
    check.end()


if __name__ == "__main__":
    main()
