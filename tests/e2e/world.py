"""A small internet in network namespaces of its own: a house with a box, and outside it the domain's name server, an authority
and somebody else's post office, all at the ports where they belong.

Whoever uses it calls `enter()` first: the test goes on in a namespace where it is the world, as root."""

import contextlib
import grp
import os
import pathlib
import pwd
import shutil
import smtplib
import socket
import subprocess
import sys
import time

from bind import tool

# Addresses that count as public; they exist in the namespaces only.
ROUTER, BOX, NAMES, OFFICE, AUTHORITY = (f"5.5.5.{n}" for n in (1, 10, 53, 25, 80))
# Of who opens the pages: a machine in the same house.
COUCH = "5.5.5.20"
# Of servers that a test plays itself.
FAR = [f"5.5.5.{n}" for n in range(30, 40)]
NETWORK = 24


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}"
    return done.stdout


def answers(address, port):
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5):
        return True
    return False


def connect(name, port):
    """As a program on the couch does it: by what the name server says."""
    return socket.create_connection((name, port), timeout=60, source_address=(COUCH, 0))


def enter():
    """Runs the test once more where it may make a world; returns only there."""
    if os.environ.get("HOMEPOST_WORLD") == "here":
        return
    words = ["env", "HOMEPOST_WORLD=here", "unshare", "--net", "--mount", "--fork", "--kill-child", sys.executable, *sys.argv]
    if os.geteuid() != 0:
        words = ["sudo", "--preserve-env", *words]
    os.execvp(words[0], words)


class World:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        # Holds the namespace in which the box is.
        self.house = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while os.readlink(f"/proc/{self.house.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            assert time.monotonic() < end, "no namespace"
            time.sleep(0.02)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "world", "type", "veth", "peer", "name", "eth0", "netns", self.house.pid)
        for address in (ROUTER, NAMES, OFFICE, AUTHORITY, COUCH, *FAR):
            run("ip", "addr", "add", f"{address}/{NETWORK}", "dev", "world")
        run("ip", "link", "set", "world", "up")
        run(*self.inside, "ip", "link", "set", "lo", "up")
        run(*self.inside, "ip", "addr", "add", f"{BOX}/{NETWORK}", "dev", "eth0")
        run(*self.inside, "ip", "link", "set", "eth0", "up")
        run(*self.inside, "ip", "route", "add", "default", "via", ROUTER)
        resolv = self.folder / "resolv.conf"
        resolv.write_text(f"nameserver {NAMES}\n")
        run("mount", "--bind", resolv, os.path.realpath("/etc/resolv.conf"))

    @property
    def inside(self):
        """What a command begins with that runs in the house."""
        return ["nsenter", f"--net=/proc/{self.house.pid}/ns/net", "--"]

    def end(self):
        self.house.kill()
        self.house.wait(20)


class Office:
    """A Postfix that sends letters to where their domain's MX points, as anybody's provider does."""

    name = "mail.elsewhere.test"

    def __init__(self, folder, receives=None):
        """`receives` is a domain whose addresses of the local part `aunt` it takes mail for, into `letters()`."""
        self.root = root = pathlib.Path(folder)
        shutil.rmtree(root, ignore_errors=True)
        for name in ("postfix", "queue", "data", "mail"):
            (root / name).mkdir(parents=True)
        # Every folder above must let its own users through.
        for above in [root, *root.parents]:
            if above != above.parent and above.stat().st_mode & 0o011 != 0o011:
                above.chmod(above.stat().st_mode | 0o011)
        (root / "postfix" / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {root}
maillog_file = {root}/postfix/log
myhostname = {self.name}
mydestination =
mynetworks = 127.0.0.0/8 {OFFICE}/32
inet_interfaces = {OFFICE}
inet_protocols = ipv4
smtp_bind_address = {OFFICE}
smtp_tls_security_level = encrypt
smtpd_recipient_restrictions = permit_mynetworks, {"permit_auth_destination, " if receives else ""}reject
""" + (self.receiving(receives) if receives else ""))
        (root / "postfix" / "master.cf").write_text(f"""
{OFFICE}:25 inet n - n - 20 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
virtual unix - n n - - virtual
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
""")
        user, group = pwd.getpwnam("postfix").pw_uid, grp.getgrnam("postfix").gr_gid
        os.chown(root / "data", user, group)
        os.chown(root / "mail", user, group)
        run(tool("postfix"), "-c", root / "postfix", "start")
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((OFFICE, 25), timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < end, self.log()
                time.sleep(0.1)

    def receiving(self, domain):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-keyout", self.root / "key.pem", "-out", self.root / "cert.pem", "-subj", f"/CN={self.name}")
        (self.root / "postfix" / "people").write_text(f"aunt@{domain} aunt/\n")
        user, group = pwd.getpwnam("postfix").pw_uid, grp.getgrnam("postfix").gr_gid
        return f"""
smtpd_tls_chain_files = {self.root}/key.pem {self.root}/cert.pem
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {self.root}/mail
virtual_mailbox_maps = texthash:{self.root}/postfix/people
virtual_minimum_uid = 1
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{group}
"""

    def letters(self):
        """What has come for aunt, as bytes with line ends of LF."""
        return [path.read_bytes() for path in sorted((self.root / "mail" / "aunt" / "new").glob("*"))]

    def send(self, sender, recipient, letter):
        client = smtplib.SMTP(OFFICE, 25, local_hostname="desk.elsewhere.test", timeout=60, source_address=(OFFICE, 0))
        client.sendmail(sender, [recipient], letter)
        client.quit()

    def log(self):
        path = self.root / "postfix" / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def end(self):
        subprocess.run([tool("postfix"), "-c", str(self.root / "postfix"), "stop"], capture_output=True, timeout=60, check=True)
