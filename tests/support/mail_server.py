"""Dovecot and Postfix as processes of ours on loopback, with folders of their own, and swaks as somebody who writes.
Nothing of the system is used or changed. TLS in front of Dovecot is a relay, which can also cut, stall and refuse. Postfix wants to be root: without that there is none, and who needs it says so.

`agent@mail.test` is the agent, everybody at people.test a person. What is said to the port `mx` comes from the world:
Postfix writes above it what it thinks of the sender, as `mx.test`."""
import imaplib
import os
import pathlib
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "peacrab/test-servers"
DOVECOT, POSTFIX, SWAKS = "/usr/sbin/dovecot", "/usr/lib/postfix/sbin/master", CACHE / "usr/bin/swaks"
# What was unpacked looks for its own at the places of an installed Debian package: they see it there, nobody else does.
AS_INSTALLED = ["unshare", "-m", "sh", "-c", 'mount -t overlay overlay -o "lowerdir=$0/usr:/usr" /usr && exec "$@"', CACHE]
PASSWORD = "the-password-of-the-agent"

DOVECOT_CONF = """
protocols = imap lmtp
base_dir = {run}/base
state_dir = {run}/base
libexec_dir = /usr/lib/dovecot
login_plugin_dir = /usr/lib/dovecot/modules/login
mail_plugin_dir = /usr/lib/dovecot/modules
log_path = {run}/dovecot.log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %Lu
mail_uid = {user}
mail_gid = {group}
mail_location = maildir:~/Maildir
mailbox_list_index = no
imap_capability = {capability}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={run}/mail/%Ln@%Ld allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  mailbox Sent {{
    auto = create
    special_use = \\Sent
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service auth {{
  inet_listener {{
    port = {auth}
  }}
}}
"""
MAIN_CF = """
compatibility_level = 3.6
mail_owner = {owner}
setgid_group = {group}
default_privs = nobody
queue_directory = {run}/queue
data_directory = {run}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
shlib_directory = /usr/lib/postfix
meta_directory = {run}/postfix
maillog_file_prefixes = {run}
maillog_file = {run}/postfix.log
myhostname = mx.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.0/24
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = mail.test, people.test
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
default_transport = error:only here
transport_maps = inline:{{ gone@people.test=local: }}
smtpd_peername_lookup = no
disable_dns_lookups = yes
message_size_limit = 40000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_tls_cert_file = {run}/cert.pem
smtpd_tls_key_file = {run}/key.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{auth}
smtpd_client_connection_rate_limit = 0
"""
MASTER_CF = """
127.0.0.1:{mx} inet n - n - - smtpd
  -o smtpd_sender_restrictions=$check
127.0.0.1:{plain} inet n - n - - smtpd
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
error unix - - n - - error
retry unix - - n - - error
local unix - n n - - local
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
# What the server says of those who write: only of some it knows who they are.
CHECK = """check = check_sender_access inline:{{ {known} }},
  check_sender_access static:{{PREPEND Authentication-Results: mx.test; spf=fail smtp.mailfrom=elsewhere.test; dmarc=fail header.from=people.test}}
"""
KNOWN = "{{ {who}@people.test = PREPEND Authentication-Results: mx.test; spf=pass smtp.mailfrom={who}@people.test; dmarc=pass (p=reject) header.from=people.test }}"


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def certificate(folder):
    """One that signs itself, for 127.0.0.1."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.test",
                    "-addext", "subjectAltName=IP:127.0.0.1,DNS:mx.test", "-keyout", folder / "key.pem", "-out",
                    folder / "cert.pem"], check=True, stderr=subprocess.DEVNULL)


def what_lacks():
    """Why it cannot be started here; "" when it can."""
    if not all((CACHE / place).exists() for place in ("usr/sbin/dovecot", "usr/lib/postfix/sbin/master", "usr/bin/swaks")):
        return "Dovecot and Postfix are not there: tools/test fetches them"
    if os.geteuid() != 0:
        return "Dovecot and Postfix want to be started by root"
    tried = subprocess.run([*AS_INSTALLED, "true"], stderr=subprocess.DEVNULL, check=False)
    return "" if tried.returncode == 0 else "nothing can be mounted here"


class Relay:
    """TLS in front of a port. cut() ends what is open; while it is `deaf` nothing goes through and nothing ends; while
    `closed` it takes no new ones. With `fault` = (bytes, "before" or "after") the connection ends when the client has said
    these bytes: before the server hears of them, or after, but without its answer."""

    def __init__(self, port, folder):
        self.behind, self.open, self.deaf, self.closed, self.fault = port, [], False, False, None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, client):
        try:
            if self.closed:
                return client.close()
            client = self.context.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.behind))
        except OSError:
            return client.close()
        self.open += [client, server]
        client.setblocking(False)
        said = b""
        try:
            while True:
                if not client.pending():
                    select.select([client, server], [], [], 60)
                try:
                    data = client.recv(65536)
                    if not data:
                        break
                    said = said[-100:] + data
                    hit = self.fault and self.fault[0] in said
                    if hit and self.fault[1] == "before":
                        break
                    if not self.deaf:
                        server.sendall(data)
                    if hit:
                        time.sleep(0.3)
                        break
                except ssl.SSLWantReadError:
                    pass
                if select.select([server], [], [], 0)[0]:
                    data = server.recv(65536)
                    if not data:
                        break
                    client.setblocking(True)
                    if not self.deaf:
                        client.sendall(data)
                    client.setblocking(False)
        except (OSError, ValueError):
            pass
        for one in (client, server):
            one.close()

    def cut(self):
        for one in self.open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []


class MailServer:
    def __init__(self, people=("ann",), idle=True):
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="mail."))
        self.run.chmod(0o755)
        names = ("imap", "lmtp", "auth", "mx", "plain", "submission")
        self.ports = dict(zip(names, free_ports(len(names))))
        self.user = "nobody"
        self.idle, self.people = idle, people
        certificate(self.run)
        self.configure()
        self.processes = []
        self.start()
        self.imaps, self.smtps = Relay(self.ports["imap"], self.run), Relay(self.ports["plain"], self.run)
        self.ports["imaps"], self.ports["smtps"] = self.imaps.port, self.smtps.port

    def configure(self):
        values = {"run": self.run, "user": self.user, "group": "nogroup", "password": PASSWORD,
                  "owner": "daemon", "capability": "" if self.idle else "IMAP4rev1 LITERAL+ UIDPLUS SPECIAL-USE", **self.ports}
        for name in ("base", "mail", "queue", "data", "postfix"):
            (self.run / name).mkdir()
        (self.run / "dovecot.conf").write_text(DOVECOT_CONF.format(**values))
        known = ", ".join(KNOWN.format(who=who) for who in self.people)
        values["group"] = "mail"
        (self.run / "postfix/main.cf").write_text(MAIN_CF.format(**values) + CHECK.format(known=known))
        (self.run / "postfix/master.cf").write_text(MASTER_CF.format(**values))
        shutil.chown(self.run / "mail", self.user)
        shutil.chown(self.run / "data", "daemon")
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            (self.run / "queue" / name).mkdir(mode=0o700)
            shutil.chown(self.run / "queue" / name, "daemon")
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            (self.run / "queue" / name).mkdir()
            shutil.chown(self.run / "queue" / name, "daemon", "mail")
            (self.run / "queue" / name).chmod(mode)
        (self.run / "queue/pid").mkdir()

    def start(self):
        commands = [[DOVECOT, "-F", "-c", self.run / "dovecot.conf"], [POSTFIX, "-c", self.run / "postfix", "-d"]]
        with open(self.run / "log", "ab") as log:
            self.processes = [subprocess.Popen([*AS_INSTALLED, *command], env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL,
                                               stdout=log, stderr=log, start_new_session=True) for command in commands]
        for name in ("imap", "lmtp", "mx", "plain"):
            self.listens(name)

    def listens(self, name):
        for _ in range(200):
            try:
                return socket.create_connection(("127.0.0.1", self.ports[name]), 1).close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the mail server does not listen for {name}:\n{self.logs()}")

    def logs(self):
        return "\n".join((self.run / name).read_text(errors="replace")[-3000:] for name in ("log", "dovecot.log", "postfix.log")
                         if (self.run / name).exists())

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes = []

    def close(self):
        self.stop()
        shutil.rmtree(self.run, ignore_errors=True)

    # ---- somebody who writes

    def swaks(self, *words, port="mx", check=True):
        done = subprocess.run(["perl", SWAKS, "--server", f"127.0.0.1:{self.ports[port]}", "--to", "agent@mail.test", "--silent", "2", *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.run)})
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def say(self, body, who="ann", subject="hello", **fields):
        """A mail of a person's; fields by their names, `_` for `-`. Its Message-ID."""
        fields.setdefault("Message_ID", f"<{time.time_ns()}@people.test>")
        words = []
        for name, value in fields.items():
            if value is not None:
                words += ["--add-header", f"{name.replace('_', '-')}: {value}"]
        header = "Date: %DATE%\\nTo: %TO_ADDRESS%\\nFrom: %FROM_ADDRESS%\\nSubject: %SUBJECT%\\n%NEW_HEADERS%\\n"
        self.swaks("--from", f"{who}@people.test", "--header", f"Subject: {subject}", "--body", body.replace("\n", "\\n"), "--data",
                   header.replace("%SUBJECT%", subject) + "\\n%BODY%\\n", *words)
        return fields["Message_ID"]

    # ---- a mailbox, as its owner sees it

    def box(self, address):
        connection = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        connection.login(address, PASSWORD)
        return connection

    def mails(self, address, mailbox="INBOX"):
        """All of a mailbox, as bytes."""
        connection = self.box(address)
        try:
            connection.select(mailbox, readonly=True)
            numbers = connection.search(None, "ALL")[1][0].split()
            return [connection.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]
        finally:
            connection.logout()

    def append(self, raw, address="agent@mail.test"):
        """Into the mailbox, past everything that looks at a mail on its way."""
        connection = self.box(address)
        try:
            kind, answer = connection.append("INBOX", None, None, raw)
            assert kind == "OK", answer
        finally:
            connection.logout()

    def new_validity(self, address="agent@mail.test"):
        """All UIDs of its INBOX mean something else now."""
        folder = self.run / "mail" / address / "Maildir"
        for path in [folder / "dovecot-uidlist", *folder.glob("dovecot.index*"), folder / "dovecot-uidvalidity"]:
            path.unlink(missing_ok=True)
        for path in folder.glob("dovecot-uidvalidity.*"):
            path.unlink()
