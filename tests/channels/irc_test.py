#!/usr/bin/env python3
# timeout: 120
"""The IRC channel alone, on a real ngIRCd, between a scripted warden and somebody at a plain socket; and on a server of
ours that says what ngIRCd does not: IRCv3's accounts, ids and history, a wrong password, endless lines."""
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from scripted_warden import Book, ScriptedWarden  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "peacrab/test-servers"
NGIRCD = CACHE / "usr/sbin/ngircd"
PEACRABD = ROOT / "build/runtime/peacrabd"


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


class Ngircd:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = pathlib.Path(self.folder.name, "conf")
        config.write_text("[Global]\nName = irc.test\nInfo = test\nListen = 127.0.0.1\nPorts = %d\n"
                          "MotdPhrase = hello\nPidFile = %s/pid\n"
                          "[Limits]\nMaxConnections = 50\nMaxConnectionsIP = 50\nPingTimeout = 600\n"
                          "[Options]\nDNS = no\nIdent = no\nPAM = no\n" % (self.port, self.folder.name))
        config.chmod(0o644)
        self.config = config
        self.start()

    def start(self):
        libraries = ":".join(str(path.parent) for path in CACHE.rglob("lib*.so.*"))
        self.process = subprocess.Popen([NGIRCD, "-n", "-f", self.config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries})
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("ngircd does not listen")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


class Person:
    """Somebody else on the server."""

    def __init__(self, port, nick, *channels):
        self.nick, self.lines, self.raw = nick, [], []
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.say(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        threading.Thread(target=self.read, daemon=True).start()
        self.until(lambda: any(" 001 " in line for line in self.lines), "welcome")
        for channel in channels:
            self.say(f"JOIN {channel}")
            self.until(lambda: any(" 366 " in line for line in self.lines), "joined")

    def say(self, *lines):
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def read(self):
        buffer = b""
        try:
            while data := self.socket.recv(65536):
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    self.raw.append(line + b"\n")
                    self.lines.append(line.decode(errors="replace").rstrip("\r"))
                    if line.startswith(b"PING"):
                        self.say("PONG" + self.lines[-1][4:])
        except OSError:
            pass

    def until(self, condition, what, seconds=10):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.lines[-5:]}"
            time.sleep(0.02)

    def heard(self, target):
        words = [line.split(" ", 3) for line in self.lines]
        return [word[3][1:] for word in words if len(word) == 4 and word[1:3] == ["PRIVMSG", target]]


def channel_on(port, book, secrets=None, **settings):
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return ScriptedWarden([PEACRABD, "channel", "irc"], book,
                          {"server": "127.0.0.1", "port": str(port), "tls": "false", "nick": "pea", "channels": "#room",
                           "pace": "20", **settings}, secrets or {}, environment)


def real():
    server, book = Ngircd(), Book()
    pea = channel_on(server.port, book)
    pea.until(lambda: pea.hello, 10, "hello")
    ann = Person(server.port, "ann", "#room")
    ann.until(lambda: any("pea" in line for line in ann.lines if " 353 " in line), "pea is in the room")
    ann.say("PRIVMSG #room :nothing for you", "PRIVMSG #room :Pea, do \x02this\x02 \x034,5red\x03", "PRIVMSG pea :in private",
            "PRIVMSG pea :\x01ACTION waves\x01", "PRIVMSG pea :\x01VERSION\x01")
    pea.until(lambda: len(book.order) == 4, 10, "four events")
    equal(book.texts(), ["nothing for you", "do this red", "in private", "* waves"], "texts")
    first, second, third = (book.events[key] for key in book.order[:3])
    equal((first["scope"], first["addressed"], second["addressed"], third["scope"]), ("group", False, True, "direct"), "scopes")
    equal((second["conversation"], third["conversation"]), ("#room", "ann"), "conversations")
    assert "!" in third["sender"], third["sender"]

    sent, failed = pea.deliver("1", "ann", "hello **ann**")
    assert not failed and len(sent) == 1
    ann.until(lambda: ann.heard("ann"), "a private answer")
    equal(ann.heard("ann")[0].replace("\x02", ""), "hello ann", "without Markdown")
    long = " ".join(f"wörd{n}" for n in range(400)) + "\n\n```\n" + "x = 1\n" * 5 + "```"
    sent, failed = pea.deliver("2", "#room", long, 60)
    assert not failed and len(sent) > 5, failed
    ann.until(lambda: len(ann.heard("#room")) >= len(sent), "all of it", 30)
    equal(" ".join(" ".join(ann.heard("#room")).split()).count("wörd"), 400, "no word is lost")
    assert max(len(line) for line in ann.raw) <= 512, "no line is longer than IRC's"
    injected, failed = pea.deliver("3", "ann", "one\r\nQUIT :bye\r\nPRIVMSG #room :spoof")
    ann.until(lambda: any("spoof" in text for text in ann.heard("ann")), "it is text")
    assert not any(text == "spoof" for text in ann.heard("#room")), "nothing of a text is a command"
    _, failed = pea.deliver("4", "nobody-there", "hello")
    equal(failed["class"], "gone", "nobody of that nick")
    _, failed = pea.deliver("5", "ann,#room", "hello")
    equal(failed["class"], "permanent", "one target")

    server.stop()
    pea.until(lambda: pea.of("trouble"), 20, "trouble is told")
    server.start()
    ann = Person(server.port, "ann", "#room")
    ann.until(lambda: any("pea" in line and " JOIN " in line or "pea" in line and " 353 " in line for line in ann.lines), "it is back", 30)
    count = len(book.order)
    ann.say("PRIVMSG pea :again")
    pea.until(lambda: len(book.order) == count + 1, 20, "it hears again")
    taken = Person(server.port, "pea2")
    other = channel_on(server.port, Book(), nick="pea2")
    other.until(lambda: other.hello, 20, "another nick is taken")
    equal(other.hello["name"], "pea2_", "its nick")
    taken.say("QUIT")
    for one in (pea, other):
        one.say("stop")
        one.process.wait(timeout=10)
        equal(one.process.returncode, 0, "it ends in order")
    server.stop()


class Modern:
    """A server of ours for one client: IRCv3's ids, accounts and history; what it hears is kept."""

    def __init__(self, offers, misbehaves=""):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.offers, self.misbehaves, self.heard, self.said = offers, misbehaves, [], []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection = self.listener.accept()[0]
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        def say(line):
            connection.sendall((line + "\r\n").encode())
        try:
            with connection, connection.makefile("r", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    line = line.rstrip("\r\n")
                    self.heard.append(line)
                    command = line.split(" ")[0]
                    if line.startswith("CAP LS"):
                        say(f":s CAP * LS :{self.offers}")
                    elif line.startswith("CAP REQ"):
                        say(f":s CAP * ACK :{line.split(':', 1)[1]}")
                        if "sasl" not in line:
                            continue
                    elif line == "CAP END":
                        if self.misbehaves == "endless":
                            connection.sendall(b"x" * (1 << 20))
                        say(":s 001 pea :welcome")
                    elif command == "PING":
                        say(f":s PONG s {line.split(' ', 1)[1]}")
                    elif command == "JOIN":
                        for said in self.said[-1:]:
                            say(said)
                    elif command == "CHATHISTORY":
                        for said in self.said:
                            say(said)
        except OSError:
            pass


def modern():
    server, book = Modern("sasl=PLAIN message-tags server-time batch account-tag draft/chathistory=100"), Book()
    server.said = [f"@msgid=m{n};account=annie :ann!u@h PRIVMSG #room :pea: number {n}" for n in range(3)]
    pea = channel_on(server.port, book)
    pea.until(lambda: "m2" in book.order, 10, "the last is heard")
    equal(book.events["m2"]["sender"], "account annie", "an account is who it is")
    pea.kill()
    server.said.append("@msgid=m3;account=annie :ann!u@h PRIVMSG #room :pea: while you were away")
    server.said.append(server.said[-1])
    pea = channel_on(server.port, book)
    pea.until(lambda: "m3" in book.order, 10, "what was missed is fetched")
    pea.until(lambda: any(line.startswith("CHATHISTORY AFTER #room msgid=m2") for line in server.heard), 10, "it asks for it")
    pea.run(0.3)
    equal(book.order.count("m3"), 1, "once")
    pea.kill()

    for offers, secrets, what in (("", {"token": "secret"}, "takes no password"), ("sasl", {"token": "secret"}, "only sent over TLS")):
        server = Modern(offers)
        pea = channel_on(server.port, Book(), secrets)
        pea.process.wait(timeout=10)
        equal(pea.process.returncode, 3, "it stands down")
        pea.run(0.3)
        assert what in pea.of("trouble")[-1]["text"], pea.of("trouble")
        assert not any("secret" in line for line in server.heard)
    server = Modern("", "endless")
    pea = channel_on(server.port, Book())
    pea.until(lambda: any("too long" in frame["text"] for frame in pea.of("trouble")), 10, "an endless line is cut off")
    pea.kill()


def main():
    if not NGIRCD.exists():
        print("ngircd is not there: tools/test fetches it")
        sys.exit(77)
    real()
    modern()
    print("irc: ok")


if __name__ == "__main__":
    main()
