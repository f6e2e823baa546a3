#!/usr/bin/env python3
"""A strict and hostile Anthropic Messages endpoint on loopback; Python's standard library only.

Strict: every request is checked against what the API demands (see check_request); a violation is
answered with 400, written to stderr and served at GET /log as {"requests": N, "violations": [...]}.
Hostile: the base URL picks what the answer looks like: http://127.0.0.1:PORT/s/SCENARIO. Requests are
counted by that whole word, so SCENARIO.ANYTHING behaves like SCENARIO with a count of its own.

With --tls-cert and --tls-key it also is a proxy that terminates TLS, as sandboxes have it: CONNECT to
any host is answered by this endpoint itself. Prints its port; ends by itself after --for seconds.
"""
import argparse
import gzip
import json
import os
import re
import socketserver
import ssl
import struct
import socket
import sys
import threading

WORD = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
TOP_LEVEL = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "stream",
             "output_config", "cache_control", "stop_sequences", "metadata", "service_tier"}
REMOVED = {"temperature", "top_p", "top_k"}
BLOCK_KEYS = {
    "text": {"type", "text", "cache_control", "citations"},
    "tool_use": {"type", "id", "name", "input", "cache_control"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
}
NOTE = "echo note-$((6*7))"  # what the scenarios with a tool ask to run


class Bad(Exception):
    """One violation."""


def need(condition, what):
    if not condition:
        raise Bad(what)


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    need(len(keys) == len(set(keys)), f"a key stands twice: {keys}")
    return dict(pairs)


def check_headers(headers):
    names = [name for name, _ in headers]
    values = dict(headers)
    for name in ("x-api-key", "authorization", "anthropic-version", "content-type"):
        need(names.count(name) <= 1, f"header {name} stands twice")
    need(("x-api-key" in values) != ("authorization" in values), "not exactly one credential")
    need(values.get("x-api-key", "-").strip(), "empty credential")
    need(values.get("anthropic-version") == "2023-06-01", "no anthropic-version 2023-06-01")
    need(values.get("content-type") == "application/json", "content-type is not application/json")
    need("expect" not in values, "an Expect header")
    need("cookie" not in values, "a cookie")


def check_block(role, block):
    kind = block.get("type")
    need(isinstance(kind, str), "a block without a type")
    need(set(block) <= BLOCK_KEYS.get(kind, set(block)), f"unknown keys in {kind}: {sorted(block)}")
    if kind == "text":
        need(isinstance(block.get("text"), str) and block["text"].strip(), "a blank text block")
    elif kind == "tool_use":
        need(role == "assistant", "tool_use in a user message")
        need(WORD.match(str(block.get("id"))), f"bad tool id {block.get('id')!r}")
        need(WORD.match(str(block.get("name"))), f"bad tool name {block.get('name')!r}")
        need(isinstance(block.get("input"), dict), "tool input is no object")
    elif kind == "tool_result":
        need(role == "user", "tool_result in an assistant message")
        content = block.get("content")
        need(isinstance(content, (str, list)) and content, "an empty tool_result")
        need(isinstance(block.get("is_error", False), bool), "is_error is no bool")
    else:
        need(role == "assistant", f"{kind} in a user message")


def check_pairing(messages):
    seen, waiting = set(), []
    for number, message in enumerate(messages):
        blocks = message["content"]
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if message["role"] == "user":
            need(sorted(results) == sorted(waiting), f"message {number}: results {results} for calls {waiting}")
            need(all(b["type"] == "tool_result" for b in blocks[:len(results)]), "results are not first")
        waiting = [b["id"] for b in blocks if b["type"] == "tool_use"]
        for call in waiting:
            need(call not in seen, f"tool id {call} stands twice")
            seen.add(call)
    need(not waiting, "a call without a result")


def check_messages(messages, continued):
    need(isinstance(messages, list) and messages, "no messages")
    for number, message in enumerate(messages):
        need(set(message) == {"role", "content"}, f"message {number}: keys {sorted(message)}")
        role = ("user", "assistant")[number % 2]
        need(message["role"] == role, f"message {number}: role {message['role']}, expected {role}")
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        need(isinstance(message["content"], list) and message["content"], f"message {number} is empty")
        for block in message["content"]:
            check_block(role, block)
    need(continued or messages[-1]["role"] == "user", "a prefill: the last message is the assistant's")
    check_pairing(messages)


def check_tools(tools):
    need(isinstance(tools, list) and tools, "tools is empty")
    names = [tool.get("name") for tool in tools]
    need(len(set(names)) == len(names), "two tools of one name")
    for tool in tools:
        need(WORD.match(str(tool.get("name"))), f"bad tool name {tool.get('name')!r}")
        need(isinstance(tool.get("description"), str), "a tool without a description")
        need(tool.get("input_schema", {}).get("type") == "object", "a schema that is no object")


def count_breakpoints(value):
    if isinstance(value, list):
        return sum(map(count_breakpoints, value))
    if not isinstance(value, dict):
        return 0
    mark = value.get("cache_control")
    if mark is not None:
        need(mark.get("type") == "ephemeral" and mark.get("ttl", "5m") in ("5m", "1h"), "bad cache_control")
    return (mark is not None) + sum(count_breakpoints(v) for k, v in value.items() if k != "input")


def check_request(method, headers, body, continued):
    """Raises Bad for the first invariant that does not hold; gives the parsed body.

    Only after pause_turn (`continued`) may the assistant have the last word.
    """
    need(method == "POST", f"method {method}")
    check_headers(headers)
    try:
        request = json.loads(body.decode("utf-8"), object_pairs_hook=no_duplicates)
    except ValueError as error:
        raise Bad(f"the body is no JSON: {error}") from error
    need(not REMOVED & set(request), f"sampling parameters: {sorted(REMOVED & set(request))}")
    need(set(request) <= TOP_LEVEL, f"unknown keys: {sorted(set(request) - TOP_LEVEL)}")
    need(isinstance(request.get("model"), str) and request["model"], "no model")
    need(isinstance(request.get("max_tokens"), int) and request["max_tokens"] > 0, "no max_tokens")
    need("budget_tokens" not in request.get("thinking", {}), "a fixed thinking budget")
    if "system" in request:
        need(request["system"], "system is empty")
        for block in request["system"] if isinstance(request["system"], list) else []:
            need(block.get("type") == "text" and block.get("text", "").strip(), "bad system block")
    if "tools" in request:
        check_tools(request["tools"])
    check_messages(request["messages"], continued)
    need(count_breakpoints(request) <= 4, "more than 4 cache breakpoints")
    return request


# What a stream is made of.

def event(kind, **data):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, ensure_ascii=False)}\n\n"


def start():
    return event("message_start", message={
        "id": "msg_1", "type": "message", "role": "assistant", "model": "hostile-1", "content": [],
        "usage": {"input_tokens": 25, "output_tokens": 1}})


def end(reason="end_turn", **more):
    return (event("message_delta", delta={"stop_reason": reason, **more}, usage={"output_tokens": 9}) +
            event("message_stop"))


def opened(index, block):
    return event("content_block_start", index=index, content_block=block)


def delta(index, **what):
    return event("content_block_delta", index=index, delta=what)


def closed(index):
    return event("content_block_stop", index=index)


def text(index, *parts):
    return (opened(index, {"type": "text", "text": ""}) +
            "".join(delta(index, type="text_delta", text=part) for part in parts) + closed(index))


def call(index, ident, arguments, name="shell", given=None):
    return (opened(index, {"type": "tool_use", "id": ident, "name": name, "input": given or {}}) +
            "".join(delta(index, type="input_json_delta", partial_json=arguments[i:i + 5])
                    for i in range(0, len(arguments), 5)))


def shell(index=0, ident="toolu_1", command=NOTE):
    return call(index, ident, json.dumps({"command": command})) + closed(index)


HELLO = start() + text(0, "All ", "is wéll.") + end()
CALL = start() + shell() + end("tool_use")
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def results_of(request):
    """What the results in the last message say, in order."""
    out = []
    for block in request["messages"][-1]["content"]:
        if block["type"] == "tool_result":
            content = block["content"]
            out.append(content if isinstance(content, str) else "".join(b.get("text", "") for b in content))
    return out


class Exchange:
    """One request and its answer. `count` is 1 for the first request of this scenario."""

    def __init__(self, handler, request, count):
        self.handler, self.request, self.count = handler, request, count
        self.results = results_of(request)

    def raw(self, data):
        self.handler.wfile.write(data if isinstance(data, bytes) else data.encode("utf-8"))
        self.handler.wfile.flush()

    def head(self, status=200, kind="text/event-stream", **headers):
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.raw("\r\n".join(lines) + "\r\n\r\n")

    def chunk(self, data):
        data = data if isinstance(data, bytes) else data.encode("utf-8")
        self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def stream(self, events, step=None):
        """A whole chunked answer; `step` bytes a chunk."""
        data = events if isinstance(events, bytes) else events.encode("utf-8")
        self.head(Transfer_Encoding="chunked")
        for at in range(0, len(data), step or len(data)):
            self.chunk(data[at:at + (step or len(data))])
        self.raw("0\r\n\r\n")

    def whole(self, status, body, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, kind, Content_Length=len(data), **headers)
        self.raw(data)

    def error(self, status, kind, message="m", **headers):
        self.whole(status, {"type": "error", "error": {"type": kind, "message": message}}, **headers)

    def cut(self, events):
        """What was sent so far is all there ever is."""
        self.head(Connection="close")
        self.raw(events)
        self.drop()

    def drop(self, reset=False):
        if reset:
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True

    def answer(self):
        """The last step of a scenario with tools: says what the results were."""
        said = " / ".join(result.strip() or "(nothing)" for result in self.results)
        self.stream(start() + text(0, f"results: {said[:900]}") + end())


def hang(exchange):
    exchange.handler.connection.settimeout(300)
    exchange.handler.rfile.read(1)
    exchange.drop()


def flood(exchange, status):
    exchange.head(status, "text/event-stream" if status == 200 else "application/json", Connection="close")
    piece = b": " + b"x" * 65533 + b"\n"
    for _ in range(4096):  # 256 MiB
        exchange.raw(piece)
    exchange.drop()


def with_tools(*events):
    """First these events, then, when the results come, what they were."""
    return lambda x: x.answer() if x.results else x.stream("".join(events))


def first_then_fine(first):
    return lambda x: first(x) if x.count == 1 else x.stream(HELLO)


def two_calls(x):
    if not x.results:
        x.stream(CALL)
    elif len(x.request["messages"]) == 3:
        x.stream(start() + text(0, "and more") + shell(1, "toolu_2", "id -u") + end("tool_use"))
    else:
        x.answer()


THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmF0dXJl"}
HOLO = {"type": "holo_block", "data": {"deep": [1, {"b": 2}]}}
REDACTED = {"type": "redacted_thinking", "data": "AAAA"}


def replayed(x):
    """Blocks that mean nothing to the client must come back as they were."""
    if not x.results:
        x.stream(start() + opened(0, {"type": "thinking", "thinking": "", "signature": ""}) +
                 delta(0, type="thinking_delta", thinking="Let me ") +
                 delta(0, type="thinking_delta", thinking="see.") + delta(0, type="signature_delta", signature="x") +
                 delta(0, type="signature_delta", signature=THINKING["signature"]) + closed(0) +
                 opened(1, REDACTED) + closed(1) + opened(2, HOLO) + closed(2) + shell(3) + end("tool_use"))
        return
    content = x.request["messages"][1]["content"]
    if content[:3] != [THINKING, REDACTED, HOLO]:
        x.handler.server.violation(f"blocks were not replayed as they came: {content}")
    x.answer()


def redirect(x):
    port = x.handler.server.server_address[1]
    x.whole(307, b"", "text/plain", Location=f"http://localhost:{port}/stolen/v1/messages")


def compressed(x):
    packed = gzip.compress(HELLO.encode())
    x.whole(200, packed, "text/event-stream", Content_Encoding="gzip")


def huge(x):
    x.stream(start() + text(0, "big: " + "x" * (8 << 20)) + end(), 1 << 16)


def joined_lines(events):
    """Each event's JSON spread over several data lines."""
    return re.sub(r", \"", ",\ndata: \"", events)


def with_message(**message):
    return {"type": "message", "role": "assistant", "model": "hostile-1", "usage": {"input_tokens": 1}, **message}


SCENARIOS = {
    # What a healthy server may do.
    "ok": lambda x: x.stream(HELLO),
    "tool": with_tools(CALL),
    "two-calls": two_calls,
    "parallel": with_tools(start(), shell(0, "toolu_a", "echo one"), shell(1, "toolu_b", "echo two"), end("tool_use")),
    "thinking": replayed,
    "bytewise": lambda x: x.stream(HELLO, 1),
    "crlf": lambda x: x.stream(HELLO.replace("\n", "\r\n"), 7),
    "cr": lambda x: x.stream(HELLO.replace("\n", "\r"), 3),
    "bom": lambda x: x.stream("\ufeff" + HELLO, 2),
    "no-space": lambda x: x.stream(HELLO.replace("data: ", "data:").replace("event: ", "event:")),
    "multi-line": lambda x: x.stream(joined_lines(HELLO)),
    "comments": lambda x: x.stream(": hi\n\n" + HELLO.replace("event:", ": between\nid: 4\nretry: 9\nevent:")),
    "pings": lambda x: x.stream(HELLO.replace("event: content", event("ping") + event("weather", x=1) + "event: content")),
    "gzip": compressed,
    "8mb-event": huge,
    "50000-events": lambda x: x.stream(
        start() + opened(0, {"type": "text", "text": ""}) + delta(0, type="text_delta", text="x") * 50000 +
        closed(0) + end(), 1 << 16),
    "end-twice": lambda x: x.stream(HELLO + closed(0) + event("message_stop") + "data: [DONE]\n\n"),
    "no-final-blank": lambda x: x.stream(HELLO[:-2]),
    "no-eof": lambda x: (x.head(), x.raw(HELLO), hang(x)),
    "reset-after-end": lambda x: (x.head(Content_Length=10**6), x.raw(HELLO), x.drop(reset=True)),
    "json": lambda x: x.whole(200, with_message(content=[{"type": "text", "text": "All is wéll."}],
                                                stop_reason="end_turn")),
    "json-tool": lambda x: x.answer() if x.results else x.whole(200, with_message(
        content=[{"type": "tool_use", "id": "t1", "name": "shell", "input": {"command": NOTE}}],
        stop_reason="tool_use")),
    "max-tokens": lambda x: x.stream(start() + text(0, "a part") + end("max_tokens")),
    "pause": lambda x: x.stream(start() + text(0, "a part, ") + end("pause_turn")) if x.count == 1 else x.stream(
        start() + text(0, "and the rest") + end()),
    # What local servers do.
    "bad-utf8": lambda x: x.stream(HELLO.encode().replace("é".encode(), b"\xff")),
    "index-gap": with_tools(start(), shell(3), shell(7, "toolu_2", "echo two"), end("tool_use")),
    "late-stops": with_tools(start(), call(0, "a", json.dumps({"command": NOTE})),
                             call(1, "b", json.dumps({"command": "echo two"})), closed(0), closed(1), end("tool_use")),
    "same-index": with_tools(start(), shell(0, "a"), shell(0, "b", "echo two"), end("tool_use")),
    "no-id": with_tools(start(), shell(0, ""), shell(1, "", "echo two"), end("tool_use")),
    "bad-id": with_tools(start(), shell(0, "sp ace/\x1b[2J" + "x" * 99), end("tool_use")),
    "same-id": with_tools(start(), shell(0, "same"), shell(1, "same", "echo two"), end("tool_use")),
    "id-again": lambda x: two_calls_one_id(x),
    "object-input": with_tools(start(), call(0, "a", "", given={"command": NOTE}), closed(0), end("tool_use")),
    "tool-end-turn": with_tools(start(), shell(), end("end_turn")),
    # Calls that must not run.
    "empty-input": with_tools(start(), call(0, "a", ""), closed(0), end("tool_use")),
    "bad-input": with_tools(start(), call(0, "a", '{"command": "echo ran-it'), closed(0), end("tool_use")),
    "cut-call": with_tools(start(), call(0, "a", '{"command": "echo ran-it'), closed(0), end("max_tokens")),
    "cut-call-open": with_tools(start(), call(0, "a", '{"command": "echo ran-it"}'), end("max_tokens")),
    "unknown-tool": with_tools(start(), call(0, "a", "{}", "../sh"), closed(0), end("tool_use")),
    "error-after-tool": lambda x: x.stream(start() + shell(0, "a", "echo ran-it >ran") + event("error", error=ERROR["error"])),
    "cut-after-tool": lambda x: x.cut(start() + shell(0, "a", "echo ran-it >ran")),
    # Failures that pass.
    "529-once": first_then_fine(lambda x: x.error(529, "overloaded_error")),
    "429-once": first_then_fine(lambda x: x.error(429, "rate_limit_error", retry_after="1")),
    "500-once": first_then_fine(lambda x: x.error(500, "api_error")),
    "cut-once": first_then_fine(lambda x: x.cut(HELLO[:-150])),
    "cut-inside-once": first_then_fine(lambda x: x.cut(HELLO[:-20])),
    "reset-once": first_then_fine(lambda x: x.drop(reset=True)),
    "abort-once": first_then_fine(lambda x: (x.head(Transfer_Encoding="chunked"), x.chunk(start()), x.drop())),
    "short-once": first_then_fine(lambda x: (x.head(Content_Length=10**6), x.raw(start()), x.drop())),
    "error-once": first_then_fine(lambda x: x.stream(start() + text(0, "void") + event("error", error=ERROR["error"]))),
    "bad-json-once": first_then_fine(lambda x: x.stream(start() + "data: {\"type\n\n" + end())),
    "no-tool-once": first_then_fine(lambda x: x.stream(start() + text(0, "x") + end("tool_use"))),
    # Failures that stay.
    "401": lambda x: x.error(401, "authentication_error", "invalid key " + x.handler.credential),
    "403": lambda x: x.error(403, "permission_error", "key " + x.handler.credential[:12] + "... may not"),
    "402": lambda x: x.error(402, "billing_error", "no credit"),
    "404": lambda x: x.error(404, "not_found_error", "model: m"),
    "413": lambda x: x.whole(413, b"<html>too large</html>", "text/html"),
    "400": lambda x: x.error(400, "invalid_request_error", "bad \x1b[2J thing"),
    "429-long": lambda x: x.error(429, "rate_limit_error", retry_after="18000"),
    "529": lambda x: x.error(529, "overloaded_error"),
    "no-end": lambda x: x.cut(HELLO[:HELLO.index("event: message_stop")]),
    "json-error": lambda x: x.whole(200, {"type": "error", "error": {"type": "authentication_error"}}),
    "llama-error": lambda x: x.stream(start() + "event: error\ndata: " + json.dumps(
        {"code": 400, "message": "exceeds the context", "type": "exceed_context_size_error"}) + "\n\n"),
    "html": lambda x: x.whole(200, b"<html>welcome</html>", "text/html"),
    "redirect": redirect,
    "unknown-stop": lambda x: x.stream(start() + shell(0, "a", "echo ran-it >ran") + end("because")),
    "no-stop": lambda x: x.stream(start() + text(0, "x") + end(None)),
    "refusal": lambda x: x.stream(start() + text(0, "no") + end("refusal", stop_details={"category": "cyber"})),
    "context": lambda x: x.stream(start() + text(0, "x") + end("model_context_window_exceeded")),
    "flood": lambda x: flood(x, 200),
    "error-flood": lambda x: flood(x, 401),
    # For clients with short clocks, or someone who presses Ctrl-C.
    "mute": hang,
    "stall": lambda x: (x.head(), x.raw(start() + opened(0, {"type": "text", "text": "so far"})), hang(x)),
}


def two_calls_one_id(x):
    """A server that begins to count its ids anew with each answer."""
    if len(x.request["messages"]) < 5:
        x.stream(start() + shell(0, "call_0", f"echo {len(x.request['messages'])}") + end("tool_use"))
    else:
        x.answer()


class Handler(socketserver.StreamRequestHandler):
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
        path = re.sub(r"^https?://[^/]*", "", target)
        if method == "GET" and path == "/log":
            Exchange.whole(self.plain(), 200, self.server.log())
            return True
        match = re.fullmatch(r"/s/(([a-z0-9-]+)[^/]*)/v1/messages", path)
        try:
            need(match and match.group(2) in SCENARIOS, f"path {path}")
            request = check_request(method, headers, body, match.group(2) == "pause")
        except (Bad, KeyError, TypeError, AttributeError) as bad:
            self.server.violation(f"{path}: {bad}")
            Exchange.error(self.plain(), 400, "invalid_request_error", f"violation: {bad}")
            return True
        self.credential = dict(headers).get("x-api-key", "")
        SCENARIOS[match.group(2)](Exchange(self, request, self.server.count(match.group(1))))
        return True

    def plain(self):
        """An exchange without a request that could be trusted."""
        return Exchange(self, {"messages": [{"content": []}]}, 0)

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

    def __init__(self, port, tls):
        super().__init__(("127.0.0.1", port), Handler)
        self.tls, self.lock = tls, threading.Lock()
        self.counts, self.violations, self.connects = {}, [], []

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
                    "counts": self.counts, "connects": self.connects}


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
    timer = threading.Timer(options.seconds, lambda: os._exit(0))
    timer.daemon = True
    timer.start()
    print(server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
