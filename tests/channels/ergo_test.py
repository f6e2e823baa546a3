#!/usr/bin/env python3
# timeout: 120
"""The IRC channel on a real Ergo, which has what ngIRCd has not: a login by SASL over TLS, accounts, ids and a history
that is asked for after an absence. Ergo is also asked what the server of ours in irc_test.py says, so that what is
tested on that one holds."""
import base64
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
sys.path.insert(0, str(ROOT / "tests/channels"))
from irc_test import PEACRABD, Person, equal  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "peacrab/test-servers-trixie"
ERGO = CACHE / "usr/bin/ergochat"
PASSWORD = "the-password-of-pea"

CONFIG = """
network: {{name: Test}}
server:
    name: ergo.test
    listeners:
        "127.0.0.1:{plain}": {{}}
        "127.0.0.1:{tls}": {{tls: {{cert: {folder}/cert.pem, key: {folder}/key.pem}}}}
    casemapping: ascii
    enforce-utf8: true
    max-sendq: 96k
    compatibility: {{force-trailing: true, send-unprefixed-sasl: true, allow-truncation: false}}
    output-path: {folder}
    ip-limits: {{count: false, throttle: false, exempted: [localhost]}}
    ip-cloaking: {{enabled: false}}
accounts:
    authentication-enabled: true
    registration: {{enabled: true, allow-before-connect: true, throttling: {{enabled: false}}, bcrypt-cost: 4}}
    login-throttling: {{enabled: false}}
    nick-reservation: {{enabled: true, additional-nick-limit: 0, method: strict, force-nick-equals-account: true}}
    multiclient: {{enabled: true, allowed-by-default: true, always-on: opt-out, auto-away: disabled}}
channels:
    default-modes: +nt
    registration: {{enabled: true}}
oper-classes: {{}}
logging: [{{method: stderr, type: "*", level: warning}}]
datastore: {{path: {folder}/ircd.db, autoupgrade: true}}
languages: {{enabled: false}}
limits: {{nicklen: 32, identlen: 20, channellen: 64, awaylen: 390, kicklen: 390, topiclen: 390, registration-messages: 1024,
    monitor-entries: 100, whowas-entries: 100, chan-list-modes: 100, realnamelen: 150, multiline: {{max-bytes: 4096, max-lines: 100}}}}
fakelag: {{enabled: false}}
history: {{enabled: true, channel-length: 2048, client-length: 2048, autoresize-window: 3d, autoreplay-on-join: 0,
    chathistory-maxmessages: {most}, restrictions: {{expire-time: 1w, query-cutoff: none, grace-period: 1h}}}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Ergo:
    def __init__(self, most=100):
        self.keep = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.folder = pathlib.Path(self.keep.name)
        self.port, self.tls = free_port(), free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                        "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"], check=True, capture_output=True)
        self.config = self.folder / "ircd.yaml"
        self.config.write_text(CONFIG.format(folder=self.folder, plain=self.port, tls=self.tls, most=most))
        self.ergo("initdb")
        self.start()

    def ergo(self, command):
        subprocess.run([ERGO, command, "--conf", self.config, "--quiet"], check=True, capture_output=True, timeout=30)

    def start(self):
        self.process = subprocess.Popen([ERGO, "run", "--conf", self.config, "--quiet"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.folder / "log", "ab"))
        for _ in range(200):
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("ergo does not listen: " + (self.folder / "log").read_text())

    def stop(self, hard=False):
        self.process.kill() if hard else self.process.terminate()
        self.process.wait(timeout=20)

    def account(self, nick):
        """Registers it as a person does, and hangs up."""
        person = Modern(self.port, nick)
        person.say(f"NS REGISTER {PASSWORD}")
        person.until(lambda: any(" 900 " in line or "ccount created" in line for line in person.lines), "an account")
        person.say("QUIT")


class Modern(Person):
    """Somebody on Ergo, with what IRCv3 has for clients."""

    def __init__(self, port, nick, *channels, password=None):
        self.caps = "message-tags server-time account-tag echo-message batch draft/chathistory" + (" sasl" if password else "")
        self.password = password
        super().__init__(port, nick, *channels)

    def say(self, *lines):
        if lines and lines[0].startswith("NICK "):
            lines = ("CAP LS 302", f"CAP REQ :{self.caps}", *lines)
            if self.password:
                token = base64.b64encode(f"\0{self.nick}\0{self.password}".encode()).decode()
                lines += ("AUTHENTICATE PLAIN", f"AUTHENTICATE {token}")
            lines += ("CAP END",)
        super().say(*lines)


def channel_on(server, book, password=PASSWORD, **settings):
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SSL_CERT_FILE": str(server.folder / "cert.pem")}
    return ScriptedWarden([PEACRABD, "channel", "irc"], book,
                          {"server": "127.0.0.1", "port": str(server.tls), "nick": "pea", "channels": "#room", "pace": "20",
                           **settings}, {"token": password} if password else {}, environment)


def started(server, book):
    pea = channel_on(server, book)
    pea.until(lambda: pea.hello, 15, "hello")
    return pea


def login_and_accounts(server):
    book = Book()
    pea = started(server, book)
    equal(pea.hello["name"], "pea", "its nick is its account")
    ann = Modern(server.port, "ann", "#room", password=PASSWORD)
    ann.until(lambda: any(" 353 " in line and "pea" in line for line in ann.lines), "pea is in the room")
    bob = Person(server.port, "bob", "#room")
    ann.say("PRIVMSG #room :pea: from the room", "PRIVMSG pea :in private")
    bob.say("PRIVMSG #room :pea: from nobody's account")
    pea.until(lambda: len(book.order) == 3, 15, "three events")
    events = {event["text"]: event for event in book.events.values()}
    equal(events["from the room"]["sender"], "account ann", "who has an account is known by it")
    equal((events["in private"]["sender"], events["in private"]["scope"]), ("account ann", "direct"), "in private too")
    assert events["from nobody's account"]["sender"].startswith("bob!"), events
    equal(all(event["addressed"] for event in events.values()), True, "all three are for it")
    # A nick is not a person: an account's is its own, and another's words are not taken for ann's.
    mallory = Person(server.port, "ann_", "#room")
    mallory.say("NICK ann", "PRIVMSG pea :I am ann")
    pea.run(0.5)
    assert not any(event["text"] == "I am ann" and event["sender"] == "account ann" for event in book.events.values())

    sent, failed = pea.deliver("1", "ann", "hello **ann**")
    assert sent and not failed, failed
    ann.until(lambda: any("hello" in text for text in heard(ann, "pea", "ann")), "the answer")
    long = "\n".join(f"line {number} " + "ö" * 300 for number in range(12))
    sent, failed = pea.deliver("2", "#room", long, 60)
    assert not failed and len(sent) > 12, (failed, len(sent))
    ann.until(lambda: " ".join(heard(ann, "pea", "#room")).count("ö") == 3600, "no letter is lost")
    _, failed = pea.deliver("3", "nobody-there", "hello")
    equal(failed["class"], "gone", "nobody of that nick")
    return pea, book, ann


def heard(person, sender, target):
    """What `sender` has said to `target`, without the tags."""
    said = re.compile(rf"^(?:@\S+ )?:{sender}!\S+ PRIVMSG {re.escape(target)} :(.*)$")
    return [match[1] for match in map(said.match, person.lines) if match]


def others(book):
    """What others have said, in order: a history has our own words in it too, which are marked."""
    return [book.events[key]["text"] for key in book.order if not book.events[key].get("own")]


def absence(server, pea, book, ann):
    """kill -9, and what was said meanwhile, in the room and in private: once each, in order, after a start that
    remembers; and nothing twice after the next one."""
    for number in range(3):
        cursor_of_room = book.cursor
        pea.kill()
        before = len(others(book))
        ann.say(*[f"PRIVMSG #room :pea: away {number}.{n}" for n in range(5)], f"PRIVMSG pea :private {number}")
        ann.until(lambda: len(heard(ann, "ann", "#room")) >= 1 + 5 * (number + 1), "it has come")
        pea = started(server, book)
        pea.until(lambda: len(others(book)) >= before + 6, 15, "what was missed")
        pea.run(0.3)
        equal([text for text in others(book)[before:] if text.startswith("away")], [f"away {number}.{n}" for n in range(5)], "in order")
        equal(sorted(others(book)[before:])[-1], f"private {number}", "in private")
        equal(len(others(book)), before + 6, "and nothing else")
        assert book.cursor != cursor_of_room
    return pea


def many(server, pea, book, ann):
    """More than the server gives at once."""
    pea.kill()
    before = len(others(book))
    ann.say(*[f"PRIVMSG #room :pea: many {n}" for n in range(250)])
    ann.until(lambda: any(text.endswith("many 249") for text in heard(ann, "ann", "#room")), "all are said", 30)
    pea = started(server, book)
    pea.until(lambda: "many 249" in others(book), 30, f"the last of them ({len(others(book)) - before})")
    equal(others(book)[before:], [f"many {n}" for n in range(250)], "each once, in order")
    return pea


def somebody_new(server, pea, book):
    """Whose first words ever were said while it was away."""
    pea.kill()
    before = len(others(book))
    carl = Modern(server.port, "carl", password=PASSWORD)
    carl.say("PRIVMSG pea :hello, I am new", "PRIVMSG pea :are you there?")
    carl.until(lambda: len(heard(carl, "carl", "pea")) == 2, "both have come")
    pea = started(server, book)
    pea.until(lambda: len(others(book)) >= before + 2, 15, "what was missed")
    pea.run(0.3)
    equal(others(book)[before:], ["hello, I am new", "are you there?"], "once each")
    equal(book.events[book.order[-1]]["conversation"], "carl", "from whom")
    return pea


def restart(server, pea, book):
    """The server's own restart, hard: ids go on, and the channel comes back by itself."""
    server.stop(hard=True)
    pea.until(lambda: pea.of("trouble"), 20, "trouble is told")
    server.start()
    ann = Modern(server.port, "ann", "#room", password=PASSWORD)
    ann.until(lambda: any("pea" in line and (" JOIN " in line or " 353 " in line) for line in ann.lines), "it is back", 40)
    before = len(others(book))
    ann.say("PRIVMSG #room :pea: after the restart")
    pea.until(lambda: len(others(book)) > before, 20, "it hears again")
    equal(others(book)[before:], ["after the restart"], "once")
    sent, failed = pea.deliver("9", "#room", "and it speaks")
    assert sent and not failed
    ann.until(lambda: "and it speaks" in heard(ann, "pea", "#room"), "it is heard")
    equal(pea.stop(), 0, "it ends in order")


def wrong_password(server):
    pea = channel_on(server, Book(), "not-the-password")
    equal(pea.wait(20), 3, "it stands down")
    assert "does not take the password" in pea.of("trouble")[-1]["text"], pea.of("trouble")


def claims(server):
    """What the server in irc_test.py says, said by Ergo."""
    with socket.create_connection(("127.0.0.1", server.tls), 5) as plain:
        context = ssl.create_default_context(cafile=server.folder / "cert.pem")
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as talk:
            talk.settimeout(10)
            stream = talk.makefile("r", encoding="utf-8", newline="")

            def ask(line, until):
                talk.sendall(line.encode() + b"\r\n")
                lines = []
                while not (lines and re.search(until, lines[-1])):
                    try:
                        lines.append(stream.readline().rstrip("\r\n"))
                    except TimeoutError:
                        raise AssertionError(f"{line}: {lines[-5:]}") from None
                    assert len(lines) < 100, (line, lines[-5:])
                return lines
            offers = " ".join(ask("CAP LS 302", r" CAP \* LS :"))
            for name in ("sasl=PLAIN", "message-tags", "server-time", "batch", "account-tag", "draft/chathistory"):
                assert name in offers, (name, offers)
            ack = ask("CAP REQ :sasl message-tags server-time batch account-tag draft/chathistory", " CAP ")[-1]
            assert " ACK :" in ack, ack
            equal(len(ask("AUTHENTICATE PLAIN", r"AUTHENTICATE \+$")), 1, "SASL goes on")
            assert " 904 " in ask("AUTHENTICATE AGEAYg==", r" 90\d ")[-1], "a wrong password is 904"
            ask("NICK asker\r\nUSER asker 0 * :asker\r\nCAP END", " 001 ")
            pong = ask("PING :token-1", " PONG ")[-1]
            assert re.search(r" PONG \S+ :?token-1$", pong), pong
            ask("JOIN #room", " 366 ")
            history = ask("CHATHISTORY LATEST #room * 3", r"BATCH :?-")
            said = [line for line in history if " PRIVMSG " in line]
            assert len(said) == 3 and all(re.match(r"@\S*msgid=\S+ :", line) for line in said), history
            assert any("account=ann" in line for line in said), said
            none = ask("PRIVMSG nobody-there :x", r" 40\d ")[-1]
            assert " 401 asker nobody-there :" in none, none
            # A line that is too long is refused by this one, where ngIRCd hangs up.
            assert " 417 " in ask("PRIVMSG #room :" + "x" * 600, r" 417 ")[-1]


def main():
    if not ERGO.exists():
        print("ergo is not there: tools/test fetches it")
        sys.exit(77)
    server = Ergo()
    try:
        for nick in ("pea", "ann", "carl"):
            server.account(nick)
        pea, book, ann = login_and_accounts(server)
        pea = absence(server, pea, book, ann)
        pea = many(server, pea, book, ann)
        pea = somebody_new(server, pea, book)
        claims(server)
        restart(server, pea, book)
        wrong_password(server)
    finally:
        server.stop(hard=True)
    print(f"ergo: {len(book.order)} messages in, 5 absences, none lost, none doubled")
    print("7 passed, 0 failed")


if __name__ == "__main__":
    main()
