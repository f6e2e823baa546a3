#!/usr/bin/env python3
"""A strict and hostile model on loopback, in three dialects; Python's standard library only.

Strict: every request is checked against what its API demands (check_request of its dialect); a violation
is answered with 400, written to stderr and served at GET /log as {"requests": N, "violations": [...]}.
Hostile: the base URL picks what the answer looks like: http://127.0.0.1:PORT/s/SCENARIO, and the path
behind it the dialect: /v1/messages, /v1/chat/completions, /v1/responses. Requests are counted by that
whole word, so SCENARIO.ANYTHING behaves like SCENARIO with a count of its own.

With --tls-cert and --tls-key it also is a proxy that terminates TLS, as sandboxes have it: CONNECT to
any host is answered by this endpoint itself. Prints its port; ends by itself after --for seconds.
"""
import argparse
import json
import os
import re
import socket
import socketserver
import ssl
import struct
import sys
import threading

import hostile_anthropic
import hostile_chat
import hostile_responses
from hostile_scenarios import Bad, need

DIALECTS = {"messages": hostile_anthropic, "chat/completions": hostile_chat, "responses": hostile_responses}


class Exchange:
    """One request and its answer. `count` is 1 for the first request of this scenario."""

    def __init__(self, handler, dialect, path, request=None, count=0):
        self.handler, self.dialect, self.path, self.request, self.count = handler, dialect, path, request, count
        self.credential = handler.credential
        self.made, self.results = dialect.history(request) if request else (0, [])

    def raw(self, data):
        self.handler.wfile.write(data if isinstance(data, bytes) else str(data).encode("utf-8"))
        self.handler.wfile.flush()

    def head(self, status=200, kind="text/event-stream", **headers):
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.raw("\r\n".join(lines) + "\r\n\r\n")

    def chunk(self, data):
        data = data if isinstance(data, bytes) else str(data).encode("utf-8")
        self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def stream(self, events, step=None):
        """A whole chunked answer; `step` bytes a chunk."""
        data = events if isinstance(events, bytes) else str(events).encode("utf-8")
        self.head(Transfer_Encoding="chunked")
        for at in range(0, len(data), step or len(data)):
            self.chunk(data[at:at + (step or len(data))])
        self.raw("0\r\n\r\n")

    def whole(self, status, body, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, kind, Content_Length=len(data), **headers)
        self.raw(data)

    def error(self, status, message="m", more=None, **headers):
        self.whole(status, self.dialect.error_body(status, message, **(more or {})), **headers)

    def cut(self, events):
        """What was sent so far is all there ever is."""
        self.head(Connection="close")
        self.raw(events)
        self.drop()

    def drop(self, reset=False):
        if reset:
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True

    def hang(self):
        self.handler.connection.settimeout(300)
        self.handler.rfile.read(1)
        self.drop()

    def answer(self):
        """The last step of a scenario with tools: says what the results were."""
        said = " / ".join(result.strip() or "(nothing)" for result in self.results)
        self.stream(self.dialect.Stream().text(f"results: {said[:900]}").end())

    def violation(self, what):
        self.handler.server.violation(f"{self.path}: {what}")


class Handler(socketserver.StreamRequestHandler):
    credential = ""
    disable_nagle_algorithm = True  # or every answer waits for an acknowledgement

    def handle(self):
        self.close_connection = False
        try:
            while not self.close_connection and self.one():
                pass
        except (OSError, ValueError):
            pass  # the client went away

    def finish(self):
        try:
            super().finish()
            self.connection.close()
        except OSError:
            pass

    def read_head(self):
        words = self.rfile.readline(65536).decode("latin-1").split()
        headers = []
        while line := self.rfile.readline(65536).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        return words, headers

    def one(self):
        words, headers = self.read_head()
        if len(words) != 3:
            return False
        method, target, _ = words
        if method == "CONNECT":
            self.server.connects.append(target)
            return self.tunnel()
        body = self.rfile.read(int(dict(headers).get("content-length", 0)))
        path = re.sub(r"^https?://[^/]*", "", target if self.server.strict else target.partition("?")[0])
        if method == "GET" and path == "/log":
            Exchange(self, hostile_anthropic, path).whole(200, self.server.log())
            return True
        self.answer(method, path, headers, body)
        return True

    def answer(self, method, path, headers, body):
        match = re.fullmatch(r"/s/(([a-z0-9-]+)[^/]*)/v1/(messages|chat/completions|responses)", path)
        dialect = DIALECTS[match.group(3)] if match else hostile_anthropic
        values = dict(headers)
        self.credential = values.get("x-api-key") or values.get("authorization", "").removeprefix("Bearer ")
        try:
            need(match and match.group(2) in dialect.SCENARIOS, "no such path")
            request = (dialect.check_request(method, headers, body, match.group(2)) if self.server.strict
                       else json.loads(body))
        except (Bad, KeyError, TypeError, AttributeError) as bad:
            exchange = Exchange(self, dialect, path)
            exchange.violation(repr(bad) if not isinstance(bad, Bad) else bad)
            exchange.error(400, f"violation: {bad}")
            return
        name = match.group(1) if dialect is hostile_anthropic else f"{match.group(3)}/{match.group(1)}"
        self.server.first_bytes.setdefault(match.group(1), len(body))
        dialect.SCENARIOS[match.group(2)](Exchange(self, dialect, path, request, self.server.count(name)))

    def tunnel(self):
        if not self.server.tls:
            self.wfile.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            return True
        self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        return True


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    strict = True  # off only for who is not ours: a peer in the benchmarks

    def __init__(self, port, tls):
        super().__init__(("127.0.0.1", port), Handler)
        self.tls, self.lock = tls, threading.Lock()
        self.counts, self.violations, self.connects = {}, [], []
        self.first_bytes = {}  # of a scenario: how long its first request was

    def count(self, scenario):
        with self.lock:
            self.counts[scenario] = self.counts.get(scenario, 0) + 1
            return self.counts[scenario]

    def violation(self, what):
        with self.lock:
            self.violations.append(what)
        print(f"violation: {what}", file=sys.stderr, flush=True)

    def log(self):
        with self.lock:
            return {"requests": sum(self.counts.values()), "violations": self.violations,
                    "counts": self.counts, "connects": self.connects, "first_bytes": self.first_bytes}


def serve(server, seconds):
    """Prints its port, and ends by itself."""
    timer = threading.Timer(seconds, lambda: os._exit(0))
    timer.daemon = True
    timer.start()
    print(server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--for", type=float, default=600, dest="seconds")
    options = parser.parse_args()
    tls = None
    if options.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
        tls.set_alpn_protocols(["http/1.1"])
    server = Server(options.port, tls)
    serve(server, options.seconds)


if __name__ == "__main__":
    main()
