"""A model under the attacker's control: what an agent is told to do comes from a script, step by step.

An Agent is one agent of the machine under test. Its script is plain Python: `agent.shell("id")` makes
the model ask for that call and gives what the tool result said; `agent.call()` sends any name and any
bytes as arguments, `agent.emit()` any bytes as the model's answer. Underneath, `peacrab ask` starts a
turn with a message that names the agent, the turn asks the model (the server here, on loopback), and
the server answers with what the script says next; while the script thinks it sends pings.

Everything the turns send is searched for canaries: `server.watch(bytes, owner)`; only the owner's own
turns may hold one. Python's standard library and tests/support/hostile_*.py only.
"""
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import hostile_anthropic as wire  # noqa: E402
import hostile_model as model  # noqa: E402

PLAY = re.compile(r"play ([a-z][a-z0-9-]{0,47}) (\d+)")
TURN_BYTES = 1_500_000  # a turn that has said more is ended, and the next call begins a new one
TURN_CALLS = 40


class Lost(Exception):
    """The turn ended, or nothing came in time."""


class Result:
    def __init__(self, text, failed):
        self.text, self.failed = text, failed

    def __contains__(self, part):
        return part in self.text

    def __repr__(self):
        return f"{'failed' if self.failed else 'ok'}: {self.text[-600:]!r}"


class Exchange:
    """One request of a turn; `reply` takes the bytes of the answer."""

    def __init__(self, request, size):
        self.request, self.size, self.reply = request, size, queue.Queue()

    def results(self):
        out = []
        content = self.request["messages"][-1]["content"]
        for block in content if isinstance(content, list) else []:
            if block["type"] == "tool_result":
                said = block["content"]
                text = said if isinstance(said, str) else "".join(b.get("text", "") for b in said)
                out.append(Result(text, bool(block.get("is_error"))))
        return out


class Handler(model.Handler):
    def one(self):
        words, headers = self.read_head()
        if len(words) != 3:
            return False
        method, target, _ = words
        body = self.rfile.read(int(dict(headers).get("content-length", 0)))
        try:
            request = wire.check_request(method, headers, body)
            wire.need(target == "/v1/messages", f"path {target}")
            text = json.dumps(request["messages"][:1])
            play = PLAY.search(text)
            wire.need(play, f"a message of nobody: {text[:200]}")
        except (wire.Bad, KeyError, TypeError, AttributeError) as bad:
            self.server.violation(str(bad))
            body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": str(bad)}}).encode()
            self.wfile.write(b"HTTP/1.1 400 X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return True
        agent = self.server.agents.get(play.group(1))
        self.server.inspect(agent.name if agent else play.group(1), body, headers)
        if not agent:
            self.server.violation(f"no agent {play.group(1)}")
            return False
        self.serve(agent, Exchange(request, len(body)), int(play.group(2)))
        return True

    def serve(self, agent, exchange, number):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        self.close_connection = True
        again = agent.arrived(exchange, number)
        while again is None:
            try:
                again = exchange.reply.get(timeout=2)
            except queue.Empty:
                self.wfile.write(wire.event("ping").encode())
                self.wfile.flush()
        for at in range(0, len(again), 1 << 16):
            self.wfile.write(again[at:at + (1 << 16)])
        self.wfile.flush()


class Server(model.Server):
    def __init__(self):
        self.agents, self.canaries, self.leaks = {}, [], []
        super().__init__(0, None)
        self.RequestHandlerClass = Handler
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def watch(self, canary, owner):
        """Whoever but `owner` sends these bytes to the model has them by a hole."""
        self.canaries.append((canary.encode() if isinstance(canary, str) else canary, owner))

    def inspect(self, sender, body, headers):
        text = body + repr([h for h in headers if h[0] != "x-api-key"]).encode()
        for canary, owner in self.canaries:
            if sender != owner and canary in text:
                with self.lock:
                    self.leaks.append(f"{sender} sent what is {owner}'s")


class Elsewhere:
    """Stands for the process of a turn that another agent's message began."""

    def poll(self):
        return None

    def wait(self, timeout=None):
        return 0


class Agent:
    def __init__(self, server, label, peacrab, logs, factor=1, name=None):
        """`label` names this conversation, `name` the agent of the machine (the same, unless given)."""
        self.server, self.label, self.name = server, label, name or label
        self.peacrab, self.logs, self.factor = peacrab, logs, factor
        self.number, self.calls_made, self.ident = 0, 0, 0
        self.incoming, self.current, self.process = queue.Queue(), None, None
        self.answered = (0, 0, None)  # turn, messages, bytes: a request that comes again gets the same
        self.sent = 0
        server.agents[label] = self

    # The server's side.
    def arrived(self, exchange, number):
        key = (number, len(exchange.request["messages"]))
        if number != self.number:
            return (wire.start() + wire.text(0, "an old turn") + wire.end()).encode()
        if self.answered[:2] == key and self.answered[2]:
            return self.answered[2]
        self.incoming.put(exchange)
        return None

    # The script's side.
    def output(self):
        return os.path.join(self.logs, f"{self.label}-{self.number}")

    def begin(self, more=""):
        self.finish()
        self.number += 1
        self.calls_made = self.sent = 0
        out = open(self.output() + ".out", "wb")
        err = open(self.output() + ".err", "wb")
        self.process = subprocess.Popen(
            [self.peacrab, "ask", "--plain", "--agent", self.name, f"play {self.label} {self.number} {more}".strip()],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.current = self.next(90)

    def expect(self):
        """The words that make another agent's message begin a turn which this script plays; then join()."""
        self.finish()
        self.number += 1
        self.calls_made = self.sent = 0
        self.process = Elsewhere()
        return f"play {self.label} {self.number}"

    def join(self, seconds=60):
        self.current = self.next(seconds)

    def told(self):
        """What the person was shown of the present turn."""
        text = b""
        for end in (".out", ".err"):
            try:
                text += open(self.output() + end, "rb").read()
            except OSError:
                pass
        return text

    def next(self, seconds):
        deadline = time.monotonic() + seconds * self.factor
        while True:
            try:
                return self.incoming.get(timeout=0.2)
            except queue.Empty:
                if self.process.poll() is not None and self.incoming.empty():
                    raise Lost(f"{self.name}: the turn ended: {self.told()[-400:]!r}") from None
                if time.monotonic() > deadline:
                    raise Lost(f"{self.name}: nothing within {seconds * self.factor:.0f} s") from None

    def emit(self, data, seconds=60, last=False):
        """Answers with these bytes; gives the results that come back, or None when it was the last."""
        if not self.current:
            self.begin()
        data = data if isinstance(data, bytes) else data.encode()
        self.answered = (self.number, len(self.current.request["messages"]), data)
        self.sent += len(data)
        self.current.reply.put(data)
        self.current = None
        if last:
            return None
        self.current = self.next(seconds)
        self.sent += self.current.size if self.current.size > self.sent else 0
        return self.current.results()

    def many(self, calls, seconds=60):
        """[(tool, arguments as bytes or dict)]: asked for in one answer."""
        if self.current and (self.calls_made > TURN_CALLS or self.current.size > TURN_BYTES):
            self.finish()
        self.calls_made += len(calls)
        stream = wire.start()
        for index, (tool, arguments) in enumerate(calls):
            self.ident += 1
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments)
            stream += (wire.opened(index, {"type": "tool_use", "id": f"call_{self.ident}", "name": tool, "input": {}}) +
                       "".join(wire.delta(index, type="input_json_delta", partial_json=arguments[i:i + 60000])
                               for i in range(0, len(arguments), 60000)) + wire.closed(index))
        return self.emit(stream + wire.end("tool_use"), seconds)

    def call(self, tool, arguments, seconds=60):
        results = self.many([(tool, arguments)], seconds)
        if len(results) != 1:
            raise Lost(f"{self.name}: {len(results)} results for a call")
        return results[0]

    def shell(self, command, seconds=60, **more):
        # A number behind it: the same call again and again would be taken for a loop.
        self.ident += 1
        timeout = min(600, max(1, int(seconds)))
        return self.call("shell", {"command": f"{command}\n# {self.ident}", "timeout": timeout, **more}, seconds + 30)

    def finish(self):
        """Ends the turn; gives its exit code."""
        if not self.process:
            return None
        try:
            if self.current and self.process.poll() is None:
                self.emit(wire.start() + wire.text(0, "done") + wire.end(), last=True)
            code = self.process.wait(60 * self.factor)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process, self.current = None, None
        self.number += 1  # what still comes of that turn is nobody's
        return code
