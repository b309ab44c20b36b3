"""A BIND of its own for a test: zones on loopback, at a port of its own, as a process of whoever runs the test."""

import pathlib
import random
import shutil
import socket
import subprocess
import time


def tool(name):
    """Debian keeps some in /usr/sbin, which is not on everybody's path."""
    for place in (shutil.which(name), f"/usr/sbin/{name}", f"/usr/bin/{name}"):
        if place and pathlib.Path(place).exists():
            return place
    raise RuntimeError(f"{name} is not installed: scripts/need dns")


def free_port():
    for _ in range(200):
        port = random.SystemRandom().randrange(11_000, 60_000)
        try:
            with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            return port
        except OSError:
            continue
    raise RuntimeError("no free port")


class Bind:
    """`zones` maps a domain to its zone file's text. `keys` maps the name of a TSIG key to its secret (base64); whoever has
    one may change every zone. It listens `at` an address; without a `port` it is one that is free."""

    def __init__(self, folder, zones, keys=None, seconds=60, port=None, at="127.0.0.1"):
        self.folder = pathlib.Path(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.at, self.port = at, port or free_port()
        self.process = None
        conf = [f'''options {{
    directory "{self.folder}"; pid-file none; session-keyfile none; dump-file "dump"; managed-keys-directory "{self.folder}";
    listen-on port {self.port} {{ {self.at}; }}; listen-on-v6 {{ none; }};
    recursion no; allow-query {{ any; }}; allow-transfer {{ any; }}; notify no; dnssec-validation no;
    minimal-responses yes;
}};
controls {{ }};
''']
        for name, secret in (keys or {}).items():
            conf.append(f'key "{name}" {{ algorithm hmac-sha256; secret "{secret}"; }};\n')
        allow = " ".join(f'key "{name}";' for name in keys or {}) or "none;"
        for domain, text in zones.items():
            (self.folder / f"{domain}.zone").write_text(text)
            conf.append(f'zone "{domain}" {{ type primary; file "{domain}.zone"; allow-update {{ {allow} }}; }};\n')
        (self.folder / "named.conf").write_text("".join(conf))
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [tool("named"), "-g", "-c", str(self.folder / "named.conf"), "-n", "1"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + seconds
        while "running" not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"named does not run:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    @property
    def address(self):
        return f"{self.at}:{self.port}"

    def dig(self, name, kind):
        """The values there, in the form of a zone file, in their order."""
        done = subprocess.run(
            [tool("dig"), f"@{self.at}", "-p", str(self.port), "+short", "+norecurse", "+tries=3", "+time=10", name, kind],
            text=True, capture_output=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"dig {name} {kind}: {done.stdout}{done.stderr}")
        return sorted(done.stdout.splitlines())

    def all(self, domain):
        """Every record of a zone but its SOA, as `name ttl IN type value` lines."""
        done = subprocess.run(
            [tool("dig"), f"@{self.at}", "-p", str(self.port), "+noall", "+answer", "+onesoa", "+tcp", "+time=10", domain, "AXFR"],
            text=True, capture_output=True, timeout=60)
        lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line and not line.startswith(";")]
        return sorted(line for line in lines if " SOA " not in line)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
