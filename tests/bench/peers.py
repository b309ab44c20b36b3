"""Postfix with Dovecot behind it, set up in a folder of its own on high ports, as a peer to measure against.

Durability as they ship it: Postfix syncs its queue file before the 250, Dovecot (LMTP, Maildir) syncs what it delivers
(`mail_fsync = always`). TLS with the same certificate as homepost. Everything stops with `stop()`.
"""

import grp
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import time


def wait_port(port, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def descendants(pid):
    """The process and everything below it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += children.get(one, [])
    return found


def pss_kb(pids):
    total = 0
    for pid in pids:
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


def cpu_seconds(pids):
    """User and system time of these processes and of those they have waited for."""
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


class PostfixDovecot:
    name = "Postfix + Dovecot"
    second = "bob@example.test"

    def __init__(self, root, cert, key, smtp=12025, imaps=12993, user="alice@example.test", password="secret"):
        self.root, self.cert, self.key = pathlib.Path(root).absolute(), cert, key
        self.smtp, self.imaps, self.user, self.password = smtp, imaps, user, password
        self.dovecot = None

    def _user(self, name, default):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            return default

    def start(self, keep=False):
        r = self.root
        if keep:
            return self._launch()
        shutil.rmtree(r, ignore_errors=True)
        for folder in ("postfix", "queue", "postfix-data", "dovecot", "mail", "run"):
            (r / folder).mkdir(parents=True)
        owner = self._user("dovenull", "nobody")
        account = pwd.getpwnam("nobody")
        os.chown(r / "mail", account.pw_uid, account.pw_gid)
        # every folder above must let the peers' own users through
        folder = r
        while folder != folder.parent:
            try:
                folder.chmod(folder.stat().st_mode | 0o011)
            except PermissionError:
                break
            folder = folder.parent
        (r / "dovecot" / "dovecot.conf").write_text(f"""
base_dir = {r}/run
state_dir = {r}/run/state
log_path = {r}/dovecot/log
protocols = imap lmtp
ssl = required
ssl_cert = <{self.cert}
ssl_key = <{self.key}
ssl_min_protocol = TLSv1.2
mail_location = maildir:~/Maildir
mail_home = {r}/mail/%u
mail_fsync = always
first_valid_uid = 1
mail_max_userip_connections = 1000
default_internal_user = {self._user("dovecot", "nobody")}
default_login_user = {owner}
passdb {{
  driver = static
  args = password={self.password}
}}
userdb {{
  driver = static
  args = uid={account.pw_uid} gid={account.pw_gid} allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {self.imaps}
    ssl = yes
  }}
  process_limit = 2000
}}
service auth {{
  client_limit = 3000
}}
service anvil {{
  client_limit = 3000
}}
service imap {{
  process_limit = 2000
}}
service lmtp {{
  unix_listener lmtp-postfix {{
    mode = 0666
  }}
}}
""")
        (r / "postfix" / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {r}/queue
data_directory = {r}/postfix-data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {r}
maillog_file = {r}/postfix/log
myhostname = mail.example.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = example.test
virtual_mailbox_maps = static:all
virtual_transport = lmtp:unix:{r}/run/lmtp-postfix
virtual_destination_recipient_limit = 1
smtputf8_enable = no
smtpd_tls_cert_file = {self.cert}
smtpd_tls_key_file = {self.key}
smtpd_tls_security_level = may
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_peername_lookup = no
""")
        (r / "postfix" / "master.cf").write_text(f"""
127.0.0.1:{self.smtp} inet n - n - 100 smtpd
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
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
""")
        os.chown(r / "postfix-data", pwd.getpwnam("postfix").pw_uid, grp.getgrnam("postfix").gr_gid)
        self._launch()

    def _launch(self):
        r = self.root
        self.dovecot = subprocess.Popen(["dovecot", "-F", "-c", str(r / "dovecot" / "dovecot.conf")])
        wait_port(self.imaps)
        subprocess.run(["postfix", "-c", str(r / "postfix"), "start"], check=True, capture_output=True)
        wait_port(self.smtp)

    def pids(self):
        pids = descendants(self.dovecot.pid)
        try:
            master = int((self.root / "queue/pid/master.pid").read_text())
            pids += descendants(master)
        except (OSError, ValueError):
            pass
        return pids

    def stop(self):
        subprocess.run(["postfix", "-c", str(self.root / "postfix"), "stop"], capture_output=True)
        if self.dovecot:
            self.dovecot.send_signal(signal.SIGTERM)
            self.dovecot.wait(20)
            self.dovecot = None


class Homepost:
    name = "homepost"
    second = "bob@example.test"

    def __init__(self, root, binary, offset=13000, user="alice@example.test", password="correct horse battery staple"):
        self.root, self.binary, self.offset = pathlib.Path(root).absolute(), binary, offset
        self.user, self.password = user, password
        self.smtp, self.imaps = 25 + offset, 993 + offset
        self.process = None

    def init(self):
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(
            [self.binary, "init", "--data", str(self.root), "--hostname", "mail.example.test", "--domain", "example.test",
             "--admin", self.user, "--password-stdin"],
            input=self.password + "\n", text=True, check=True, capture_output=True)
        subprocess.run([self.binary, "account", "add", self.second, "--data", str(self.root), "--password-stdin"],
                       input=self.password + "\n", text=True, check=True, capture_output=True)

    def start(self, wrapper=(), keep=False):
        if not self.root.exists():
            self.init()
        self.process = subprocess.Popen(
            [*wrapper, self.binary, "serve", "--data", str(self.root), "--bind", "127.0.0.1", "--port-offset",
             str(self.offset)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        raise RuntimeError("homepost did not get ready")

    def pids(self):
        return descendants(self.process.pid)

    def kill(self):
        for pid in descendants(self.process.pid)[::-1]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(20)
        self.process = None

    def stop(self):
        if self.process:
            for pid in descendants(self.process.pid)[::-1]:
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            self.process.wait(60)
            self.process = None
