#!/usr/bin/env python3
# timeout: 90
"""The Signal channel against a signal-cli daemon that others have written for tests (npm @openclaw/crabline): its events,
its calls, its end and its return; and a server of ours that is none."""
import http.server
import json
import os
import pathlib
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import npm_packages  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402

PEACRABD = ROOT / "build/runtime/peacrabd"
ANN = "11111111-2222-4333-8444-555555555555"


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


class Daemon:
    def __init__(self, folder):
        package = npm_packages.need("@openclaw/crabline")
        ready = pathlib.Path(folder, "ready.json")
        self.process = npm_packages.start(package / "dist/src/bin/crabline.js", "--json", "serve", "signal", "--ready-file", str(ready),
                                          "--recorder", str(pathlib.Path(folder, "recorder.jsonl")), HOME=folder)
        for _ in range(400):
            if ready.exists() and ready.read_text().endswith("}\n"):
                break
            time.sleep(0.05)
        self.manifest = json.loads(ready.read_text())
        self.url, self.account = self.manifest["baseUrl"], self.manifest["account"]
        self.recorder = pathlib.Path(self.manifest["recorderPath"])

    def say(self, text, **keys):
        request = urllib.request.Request(self.manifest["endpoints"]["adminInboundUrl"],
                                         json.dumps({"sourceUuid": ANN, "sourceName": "Ann", "text": text, **keys}).encode(),
                                         {"content-type": "application/json", "x-crabline-admin-token": self.manifest["adminToken"]})
        return json.load(urllib.request.urlopen(request, timeout=5))["event"]["envelope"]

    def calls(self, method):
        lines = [json.loads(line) for line in self.recorder.read_text().splitlines()]
        return [line["body"]["params"] for line in lines if line.get("body", {}).get("method") == method]


def channel_on(url, book, **settings):
    return ScriptedWarden([PEACRABD, "channel", "signal"], book, {"server": url, **settings}, {},
                          {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})


def talks(daemon):
    book = Book()
    pea = channel_on(daemon.url, book, account=daemon.account, name="Pea")
    pea.until(lambda: pea.hello and pea.of("alive"), 15, "hello")
    equal(pea.hello["account"], daemon.account, "its account")
    said = daemon.say("hello \U0001f980")
    daemon.say("nothing for it", groupId="Z3JvdXA=")
    daemon.say("Pea: do this", groupId="Z3JvdXA=")
    pea.until(lambda: len(book.order) == 3, 10, "three messages")
    first, second, third = (book.events[key] for key in book.order)
    equal((first["text"], first["sender"], first["scope"], first["key"]), ("hello \U0001f980", ANN, "direct", f"{ANN}-{said['timestamp']}"), "direct")
    equal((second["addressed"], third["addressed"], third["text"], third["conversation"]), (False, True, "do this", "group.Z3JvdXA="), "a group")
    sent, failed = pea.deliver("1", ANN, "an **answer**")
    assert sent and not failed, failed
    call = daemon.calls("send")[-1]
    equal((call["message"], call["recipient"]), ("an answer", [ANN]), "what was asked for")
    final, failed = pea.deliver("2", ANN, "edited", platform=sent[0]["platform"])
    equal((failed, final[0]["platform"], daemon.calls("send")[-1]["editTimestamp"]), (None, sent[0]["platform"], int(sent[0]["platform"])), "an edit")
    sent, failed = pea.deliver("3", "group.Z3JvdXA=", "\U0001f980" * 2500, 20)
    equal((failed, len(sent)), (None, 3), "in parts")
    equal([len(call["message"]) for call in daemon.calls("send")[-3:]], [1000, 1000, 500], "of two thousand units each")
    _, failed = pea.deliver("4", "nobody at all", "x")
    equal(failed["class"], "permanent", "nobody of that name")
    pea.say("typing", conversation=ANN, on=True)
    pea.until(lambda: daemon.calls("sendTyping"), 10, "a sign of life")
    # A hundred while it sends: the stream is not cut by what is to be done.
    before = len(book.order)
    for number in range(100):
        daemon.say(f"burst {number}")
        if number % 10 == 0:
            pea.say("deliver", id=f"b{number}", key=f"kb{number}", conversation=ANN, text=f"meanwhile {number}")
        pea.pump(0)
    pea.until(lambda: len(book.order) >= before + 100, 20, "all of them")
    equal(book.texts()[before:], [f"burst {number}" for number in range(100)], "each once, in order")
    # Away: the daemon keeps what comes while nobody listens.
    equal(pea.stop(30), 0, "it ends in order")
    time.sleep(0.3)
    before = len(book.order)
    for number in range(5):
        daemon.say(f"away {number}")
    pea = channel_on(daemon.url, book, account=daemon.account)
    pea.until(lambda: len(book.order) >= before + 5, 15, "what was missed")
    equal(book.texts()[before:], [f"away {number}" for number in range(5)], "each once")
    daemon.process.kill()
    daemon.process.wait()  # what is dying may still take a connection
    pea.until(lambda: pea.of("trouble", **{"class": "network"}), 20, "trouble is told")
    _, failed = pea.deliver("9", ANN, "into the void")
    equal(failed["class"], "not_sent", "nobody is there")
    pea.kill()


class Other(http.server.BaseHTTPRequestHandler):
    """Something else, or a daemon that has gone mad."""
    protocol_version = "HTTP/1.1"
    mode = "html"

    def do_GET(self):
        self.send_response(200)
        stream = Other.mode != "html" and self.path.startswith("/api/v1/events")
        self.send_header("Content-Type", "text/event-stream" if stream else "text/html")
        if not stream:
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in Other.pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        time.sleep(5)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        data = b"<html>" if Other.mode == "html" else b'{"jsonrpc":"2.0","id":1,"error":{"code":%s,"message":"no"}}' % Other.code
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def hostile():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    pea = channel_on(url, Book())
    pea.until(lambda: any("no signal-cli" in frame["text"] for frame in pea.of("trouble")), 10, "it is told")
    _, failed = pea.deliver("1", ANN, "x")
    equal(failed["class"], "unknown", "an answer that is none")
    pea.kill()
    Other.mode, Other.code = "events", b"-1"
    good = b'event:receive\ndata:{"envelope":{"sourceUuid":"a","timestamp":%d,"dataMessage":{"message":"%s","timestamp":%d}}}\n\n'
    whole = good % (5, b"cut in the middle", 5)
    Other.pieces = [b"data:{\n\n", b'data:{"envelope":7}\n\n', b'data:{"envelope":{"sourceUuid":["x"],"dataMessage":[]}}\n\n', b":keepalive\n\n",
                    whole[:30], whole[30:31], whole[31:], good % (5, b"cut in the middle", 5), good % (6, b"\\u0000\\u202e", 6), good % (7, b"last", 7)]
    book = Book()
    pea = channel_on(url, book)
    pea.until(lambda: "last" in book.texts(), 10, "what can be read")
    equal((book.texts()[0], len(book.order)), ("cut in the middle", 3), "each once")
    for code, kind in ((b"-1", "permanent"), (b"-5", "throttled"), (b"-3", "transient")):
        Other.code = code
        _, failed = pea.deliver("c" + code.decode(), "someone" + code.decode(), "x")
        equal(failed["class"], kind, code)
    pea.kill()
    for bad in ("http://x", "file:///etc/passwd:1", "http://a:b", "http://h:80/../x:1"):
        equal(channel_on(bad, Book()).wait(15), 3, bad)


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        talks(Daemon(folder))
    hostile()
    print("2 passed, 0 failed")


if __name__ == "__main__":
    main()
