#!/usr/bin/env python3
# timeout: 120
"""The ntfy channel alone, on a real ntfy server, between a scripted warden and somebody who publishes by HTTP; and
behind a relay that loses answers, refuses and talks nonsense."""
import base64
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from scripted_warden import Book, ScriptedWarden  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "peacrab/test-servers-trixie"
NTFY = CACHE / "usr/bin/ntfy"
PEACRABD = ROOT / "build/runtime/peacrabd"


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


class Ntfy:
    def __init__(self):
        self.keep = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = pathlib.Path(self.keep.name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "server.yml"
        self.config.write_text(f'listen-http: "127.0.0.1:{self.port}"\nbase-url: "{self.url}"\ncache-file: {folder}/cache.db\n'
                               f"auth-file: {folder}/auth.db\nauth-default-access: deny-all\nattachment-cache-dir: {folder}/files\n"
                               'keepalive-interval: "5s"\nvisitor-request-limit-exempt-hosts: "127.0.0.1"\n')
        self.start()
        self.tokens = {}
        for who, access in (("pea", "rw"), ("ann", "rw"), ("reader", "ro")):
            self.admin("user", "add", who)
            self.admin("access", who, "room", access)
            self.tokens[who] = next(word for word in self.admin("token", "add", who).split() if word.startswith("tk_"))

    def admin(self, command, action, *words):
        arguments = [NTFY, command, "-c", self.config] + ([action] if command != "access" else []) + \
            ([action, *words] if command == "access" else list(words))
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=True,
                              env={"PATH": os.environ["PATH"], "NTFY_PASSWORD": "password"})
        return done.stdout + done.stderr

    def start(self):
        self.process = subprocess.Popen([NTFY, "serve", "-c", self.config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("ntfy does not listen")

    def stop(self):
        self.process.kill()
        self.process.wait(timeout=10)

    def call(self, path, body=None, who="ann", **headers):
        request = urllib.request.Request(f"{self.url}/{path}", body.encode() if isinstance(body, str) else body,
                                         {"Authorization": "Bearer " + self.tokens[who], **headers})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def say(self, text, **headers):
        return json.loads(self.call("room", text, **headers))["id"]

    def there(self):
        """All that stands in the topic, as somebody with the app sees it."""
        return [json.loads(line) for line in self.call("room/json?poll=1&since=all").splitlines()]

    def heard(self):
        """What the channel has said."""
        return [message["message"] for message in self.there() if any(tag.startswith("pc-") for tag in message.get("tags", []))]


def channel_on(ntfy, book, who="pea", url=None, **settings):
    secrets = {"token": ntfy.tokens.get(who, who)} if who else {}
    return ScriptedWarden([PEACRABD, "channel", "ntfy"], book, {"server": url or ntfy.url, "topic": "room", **settings}, secrets,
                          {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})


def started(server, book, **keys):
    pea = channel_on(server, book, **keys)
    pea.until(lambda: pea.hello and book.cursor, 15, "hello")
    return pea


def talks(server):
    server.say("before it was there")
    book = Book()
    pea = started(server, book)
    equal(pea.hello["account"], server.url + "/room", "its account")
    equal(pea.hello["limits"]["dedupe"], "lookup", "it can look")
    server.say("hello")
    pea.until(lambda: book.order, 10, "hello")  # within a second ntfy keeps no order
    server.say("in *words* äöü 🦀", Title="A title")
    pea.until(lambda: len(book.order) == 2, 10, "both")
    equal(book.texts(), ["hello", "A title\nin *words* äöü 🦀"], "what was said, and nothing from before")
    event = book.events[book.order[0]]
    equal((event["sender"], event["scope"], event["conversation"]), ("topic room", "direct", "room"), "who and where")
    sent, failed = pea.deliver("1", "room", "an **answer** with `code`")
    assert sent and not failed, failed
    equal(server.heard(), ["an answer with code"], "readable without marks")
    equal(sent[0]["platform"], server.there()[-1]["id"], "its id")
    pea.run(0.7)
    equal(len(book.order), 2, "what is ours is not heard")
    # Never a file where a text was meant: ntfy makes one of 4096 bytes.
    long = " ".join(f"wörd{number}" for number in range(1500))
    sent, failed = pea.deliver("2", "room", long, 30)
    assert not failed and len(sent) > 2, failed
    parts = server.heard()[1:]
    equal(" ".join(parts), long, "all of it")
    assert not any("attachment" in message for message in server.there() if "pc-" in str(message.get("tags")))
    _, failed = pea.deliver("3", "elsewhere", "x")
    equal(failed["class"], "permanent", "another topic")
    return pea, book


def limits(server):
    """What the channel takes for granted, asked of the server."""
    assert "attachment" not in json.loads(server.call("room", "x" * 4000))
    assert "attachment" in json.loads(server.call("room", "x" * 4096))
    try:
        server.call("room", "x", who="reader")
        raise AssertionError("a reader may write")
    except urllib.error.HTTPError as error:
        equal(error.code, 403, "a reader writes")


def absence(server, pea, book):
    for number in range(4):
        pea.kill()
        before = len(book.order)
        for n in range(5):
            server.say(f"away {number}.{n}")
        if number % 2:
            server.stop()
            server.start()
        pea = started(server, book)
        pea.until(lambda: len(book.order) >= before + 5, 10, "what was missed")
        pea.run(0.3)
        equal(book.texts()[before:], [f"away {number}.{n}" for n in range(5)], "once each, in order")
    # The cursor of long ago: all the server has is told again, and is known, but for what is older than we are.
    pea.kill()
    before = len(book.order)
    book.cursor = "1"
    pea = started(server, book)
    pea.until(lambda: sum(book.again.values()) >= before, 10, "all of it again")
    missed = [text for text in book.texts()[before:] if not text.startswith(("before", "x", "You received"))]
    equal(missed, [], "nothing twice")
    # What came in the same moment as we asked, and was kept only then: it is older than what is known.
    pea.kill()
    before = len(book.order)
    late = server.say("kept late")
    server.say("kept in time")
    pea = started(server, book)
    pea.until(lambda: len(book.order) == before + 2, 10, "both")
    pea.kill()
    del book.events[late]
    book.order.remove(late)
    book.cursor = " ".join(word for word in book.cursor.split() if word != late)
    pea = started(server, book)
    pea.until(lambda: late in book.order, 10, "it is not lost")
    return pea


def restart(server, pea, book):
    server.stop()
    pea.until(lambda: pea.of("trouble", **{"class": "network"}), 20, "trouble is told")
    _, failed = pea.deliver("10", "room", "into the void")
    equal(failed["class"], "not_sent", "nobody is there")
    server.start()
    before = len(book.order)
    server.say("after the restart")
    pea.until(lambda: len(book.order) > before, 30, "it hears again")
    equal(book.texts()[before:], ["after the restart"], "once")
    return pea


def files(server, pea, book):
    content = os.urandom(300_000)
    before = len(book.order)
    server.call("room", content, Filename="photo.png")
    pea.until(lambda: len(book.order) > before, 10, "the file")
    file = book.events[book.order[-1]]["files"][0]
    equal((file["name"], file["size"]), ("photo.png", 300_000), "its card")
    pea.say("fetch", id="f1", handle=file["handle"], most=1 << 20)
    pea.until(lambda: pea.of("fetched", id="f1"), 15, "its bytes")
    equal(b"".join(base64.b64decode(frame["data"]) for frame in pea.of("data", id="f1")), content, "the same bytes")
    pea.say("fetch", id="f2", handle="http://169.254.169.254/latest", most=1 << 20)
    pea.until(lambda: pea.of("fetched", id="f2"), 15, "an answer")
    assert "error" in pea.of("fetched", id="f2")[0], "nothing is fetched from elsewhere"
    server.call("room", b"", Attach="http://169.254.169.254/latest/secret.txt", Message="look at this")
    pea.until(lambda: book.texts()[-1] == "look at this", 10, "a file that lies elsewhere")
    assert "handle" not in book.events[book.order[-1]]["files"][0]
    before = len(book.order)
    leads_out = file["handle"].rsplit("/", 1)[0] + "/../room/json?poll=1"
    server.call("room", b"", Attach=leads_out, Message="look there")
    pea.until(lambda: len(book.order) > before, 10, "an address that leads to another topic")
    assert "handle" not in book.events[book.order[-1]]["files"][0], "nothing is read for a stranger with our token"
    pea.say("fetch", id="f4", handle=leads_out, most=1 << 20)
    pea.until(lambda: pea.of("fetched", id="f4"), 15, "an answer")
    assert "error" in pea.of("fetched", id="f4")[0], "nor when it is asked for"

    pea.say("deliver", id="f3", key="kf3", conversation="room", text="",
            file={"name": "rép ort.txt", "mime": "text/plain", "size": 7, "kind": "file"})
    pea.until(lambda: pea.of("want", id="f3"), 10, "it wants the bytes")
    pea.say("data", id="f3", at=0, data=base64.b64encode(b"content").decode())
    sent, failed = pea.answer("f3", 15)
    assert sent and not failed, failed
    attached = server.there()[-1]["attachment"]
    equal((attached["name"], attached["size"]), ("rép ort.txt", 7), "the file is there")
    equal(urllib.request.urlopen(attached["url"], timeout=5).read(), b"content", "as it was")


class Relay:
    """In front of the server: what a call becomes is said by `rule`."""

    def __init__(self, server):
        self.rule = lambda method, path: ""
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0)) if self.command == "POST" else None
                what = relay.rule(self.command, self.path)
                if what.isdigit():
                    self.send_response(int(what))
                    self.send_header("Retry-After", "1")
                    self.end_headers()
                    return
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")}
                # No stream: each ends with what is there.
                request = urllib.request.Request(server.url + self.path.replace("?", "?poll=1&"), body, headers, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=10) as got:
                        data = got.read()
                except urllib.error.URLError:
                    return self.connection.shutdown(socket.SHUT_RDWR)
                if what == "cut":  # done, and nobody hears of it
                    return self.connection.shutdown(socket.SHUT_RDWR)
                self.send_response(200)
                self.end_headers()
                try:
                    self.wfile.write(b"<html>" if what == "nonsense" else data)
                except BrokenPipeError:
                    pass

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def unclear(server):
    """An answer that is lost: the channel says so, looks, and what is there is not sent again; after kill -9 as well."""
    relay, book = Relay(server), Book()
    pea = started(server, book, url=relay.url)
    for what, there in (("cut", True), ("nonsense", True)):
        relay.rule = lambda method, path: what if method == "POST" else ""
        _, failed = pea.deliver("u" + what, "room", f"unclear {what}", 20)
        equal(failed["class"], "unknown", what)
        relay.rule = lambda method, path: ""
        if what == "cut":
            pea.kill()
            pea = started(server, book, url=relay.url)
        pea.say("resolve", id="r" + what, key="ku" + what, conversation="room", part=0)
        sent, failed = pea.answer("r" + what, 15)
        equal((len(sent), failed), (1, None), "it is found")
        equal(server.heard().count(f"unclear {what}"), 1, "once")
    pea.say("resolve", id="never", key="never-sent", conversation="room", part=0)
    _, failed = pea.answer("never", 15)
    equal(failed["class"], "not_sent", "what never went out is not there")
    for status, kind in (("429", "throttled"), ("502", "transient"), ("413", "permanent"), ("504", "unknown")):
        relay.rule = lambda method, path: status if method == "POST" else ""
        _, failed = pea.deliver("s" + status, "room", f"status {status}", 15)
        equal(failed["class"], kind, status)
    relay.rule = lambda method, path: ""
    relay.rule = lambda method, path: "502" if method == "GET" else ""
    pea.until(lambda: pea.of("trouble"), 15, "trouble is told")
    relay.rule = lambda method, path: ""
    before = len(book.order)
    server.say("it goes on")
    pea.until(lambda: len(book.order) > before, 30, "it hears again")
    equal(len(pea.of("trouble")), 1, "told once")
    equal(pea.stop(), 0, "it ends in order")


def refused(server):
    for who, what in (("tk_wrongwrongwrongwrongwrongwrong", "does not take the token"), (None, "does not let this token read")):
        pea = channel_on(server, Book(), who)
        equal(pea.wait(15), 3, "it stands down")
        text = pea.of("trouble", **{"class": "auth"})[-1]["text"]
        assert what in text, text
        assert "tk_" not in text
    for settings in ({"topic": "no/such"}, {"topic": ""}, {"priority": "9"}, {"server": "file:///etc"}):
        pea = channel_on(server, Book(), **settings)
        equal(pea.wait(15), 3, f"{settings} is refused")
    reader = started(server, Book(), who="reader")
    _, failed = reader.deliver("1", "room", "hello")
    equal(failed["class"], "gone", "it may read, and not write")
    equal(reader.stop(), 0, "it ends in order")


def main():
    if not NTFY.exists():
        print("ntfy is not there: tools/test fetches it")
        sys.exit(77)
    server = Ntfy()
    try:
        limits(server)
        pea, book = talks(server)
        pea = absence(server, pea, book)
        pea = restart(server, pea, book)
        files(server, pea, book)
        equal(pea.stop(), 0, "it ends in order")
        unclear(server)
        refused(server)
    finally:
        server.stop()
    print("7 passed, 0 failed")


if __name__ == "__main__":
    main()
