#!/usr/bin/env python3
"""Stands between a client and a model server on loopback, passes every byte on as it comes, and keeps count
of tool calls: recorder.py SERVER_PORT [--for SECONDS]. Prints its port. Python's standard library only.

A base URL is http://127.0.0.1:PORT/l/NAME: NAME is one conversation, asked of the server without /l/NAME. In
every request each call must have exactly one result directly after it. GET /log tells of each NAME:
{"requests", "paired": how many calls of its answers came back with their result, "open": those that never
did, "refused": answers from 400 on, "violations"}.
"""
import argparse
import http.client
import http.server
import json
import sys
import threading

# The server's words when it cannot read its own model's answer: no fault of the request.
NOISE = "The model produced output that does not match"
HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host"}


class Violation(Exception):
    """What is wrong with a request."""


class Pairing:
    """Calls and results in the order of a request."""

    def __init__(self):
        self.calls, self.waiting, self.answered = [], [], set()
        self.closing = False  # a result was seen since the last call

    def call(self, name):
        if self.closing and self.waiting:
            raise Violation(f"call {name} before the results of {self.waiting}")
        if name in self.calls:
            raise Violation(f"call {name} stands twice")
        self.closing = False
        self.calls.append(name)
        self.waiting.append(name)

    def result(self, name):
        if name in self.answered:
            raise Violation(f"call {name} has two results")
        if name not in self.waiting:
            raise Violation(f"a result for {name}, which is no call just before it")
        self.closing = True
        self.waiting.remove(name)
        self.answered.add(name)

    def other(self, what):
        if self.waiting:
            raise Violation(f"{what} where the results of {self.waiting} belong")


def anthropic_request(body):
    pairing = Pairing()
    for message in body["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else [{"type": "text"}]
        if message["role"] != "user":
            pairing.other(f"a message of role {message['role']}")
        for block in blocks:
            if block["type"] == "tool_use":
                pairing.call(block["id"])
            elif block["type"] == "tool_result":
                pairing.result(block["tool_use_id"])
            elif message["role"] == "user":
                pairing.other(block["type"])
        if message["role"] == "user":
            pairing.other("the end of the message")
    pairing.other("the end")
    return pairing.calls


def chat_request(body):
    pairing = Pairing()
    for message in body["messages"]:
        if message["role"] == "tool":
            pairing.result(message["tool_call_id"])
            continue
        pairing.other(f"a message of role {message['role']}")
        for call in message.get("tool_calls") or []:
            if not isinstance(call["function"]["arguments"], str):
                raise Violation(f"the arguments of {call['id']} are no string")
            pairing.call(call["id"])
    pairing.other("the end")
    return pairing.calls


def responses_request(body):
    pairing = Pairing()
    items = body["input"] if isinstance(body["input"], list) else []
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            pairing.call(item["call_id"])
        elif kind == "function_call_output":
            pairing.result(item["call_id"])
        elif pairing.closing or item.get("role", "assistant") != "assistant":
            pairing.other(f"an item of type {kind}")
    pairing.other("the end")
    return pairing.calls


class Answer:
    """The calls of one streamed answer. Whole once its last event came; a call that the limit on tokens cut
    may be left out of what follows, so such an answer's last one is not asked for."""

    def __init__(self, dialect):
        self.dialect = dialect
        self.rest, self.calls, self.whole = b"", [], False

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                getattr(self, self.dialect)(json.loads(line[6:]))

    def anthropic(self, event):
        block = event.get("content_block", {})
        if block.get("type") == "tool_use":
            self.calls.append(block["id"])
        self.cut(event.get("delta", {}).get("stop_reason") == "max_tokens")
        self.whole |= event.get("type") == "message_stop"

    def chat(self, event):
        for choice in event.get("choices", []):
            for call in choice.get("delta", {}).get("tool_calls") or []:
                if call.get("id"):
                    self.calls.append(call["id"])
            self.cut(choice.get("finish_reason") == "length")
            self.whole |= choice.get("finish_reason") is not None

    def responses(self, event):
        item = event.get("item", {})
        if event.get("type") == "response.output_item.added" and item.get("type") == "function_call":
            self.calls.append(item["call_id"])
        self.cut(event.get("type") == "response.incomplete")
        self.whole |= event.get("type") in ("response.completed", "response.incomplete")

    def cut(self, happened):
        if happened and self.calls:
            self.calls.pop()


class Conversation:
    def __init__(self):
        self.requests, self.paired, self.open, self.refused, self.violations = 0, 0, [], [], []

    def asked(self, check, body):
        self.requests += 1
        try:
            calls = check(json.loads(body))
        except Violation as violation:
            self.violations.append(str(violation))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.violations.append(f"not as the dialect demands: {error!r}: {body[:2000]!r}")
        else:
            self.paired += len(set(self.open) & set(calls))
            self.open = [call for call in self.open if call not in calls]

    def answered(self, answer):
        if answer.whole:
            self.open += answer.calls

    def failed(self, status, text):
        if NOISE not in text:
            self.refused.append(f"{status}: {text}")

    def log(self):
        return vars(self)


DIALECTS = {"/v1/messages": ("anthropic", anthropic_request), "/v1/chat/completions": ("chat", chat_request),
            "/v1/responses": ("responses", responses_request)}
conversations = {}
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_port = 0

    def log_message(self, *_):
        pass

    def reply(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/log":
            with lock:
                told = {name: conversation.log() for name, conversation in conversations.items()}
            return self.reply(200, json.dumps(told))
        return self.forward()

    def do_POST(self):
        self.forward()

    def forward(self):
        empty, mark, name, *path = self.path.split("/")
        if empty or mark != "l":
            return self.reply(404, "{}")
        path = "/" + "/".join(path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        dialect, check = DIALECTS.get(path.split("?")[0], (None, None))
        with lock:
            conversation = conversations.setdefault(name, Conversation())
            if dialect:
                conversation.asked(check, body)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server_port)
        try:
            upstream.request(self.command, path, body,
                             {k: v for k, v in self.headers.items() if k.lower() not in HOP})
            answer = Answer(dialect) if dialect else None
            self.pass_on(upstream.getresponse(), conversation, answer)
            if answer:
                with lock:
                    conversation.answered(answer)
        finally:
            upstream.close()

    def pass_on(self, response, conversation, answer):
        self.send_response(response.status)
        for key, value in response.getheaders():
            if key.lower() not in HOP | {"content-length"}:
                self.send_header(key, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if response.status >= 400:
            data = response.read()
            with lock:
                conversation.failed(response.status, data[:500].decode(errors="replace"))
            self.chunk(data)
            answer = None
        while data := response.read1(65536):
            if answer:
                answer.feed(data)
            self.chunk(data)
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, data):
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may hang up
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--for", type=float, default=600, dest="seconds", metavar="SECONDS")
    options = parser.parse_args()
    Handler.server_port = options.port
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait(options.seconds)


if __name__ == "__main__":
    main()
