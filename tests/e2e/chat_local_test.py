#!/usr/bin/env python3
# timeout: 180
"""A person at `peacrabd chat`, without a VM: text streams, Ctrl-C stops the turn and not the agent,
what is typed meanwhile steers, a closed window detaches and coming back shows what was missed.

The model is a script of ours on loopback that speaks when the test says so; nothing waits by a clock.
"""
import http.server
import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from pty_driver import PEACRABD, Home, Terminal, need, skip  # noqa: E402

UID = 65534 if os.geteuid() == 0 else None


class Model(http.server.ThreadingHTTPServer):
    """Each request is answered by the pieces that say() puts in, until end()."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = queue.Queue()
        self.pieces = queue.Queue()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def say(self, text):
        self.pieces.put({"type": "text", "text": text})

    def run(self, command):
        self.pieces.put({"type": "tool", "command": command})

    def end(self):
        self.pieces.put(None)

    def request(self):
        """The messages of the next request."""
        return json.dumps(self.requests.get(timeout=30)["messages"])


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def event(self, kind, **data):
        line = f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"
        self.wfile.write(line.encode())
        self.wfile.flush()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.put(body)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            self.answer()
        except (BrokenPipeError, ConnectionResetError):
            while self.server.pieces.get(timeout=30) is not None:
                pass

    def answer(self):
        self.event("message_start", message={"id": "m", "type": "message", "role": "assistant",
                                             "model": "scripted", "content": [],
                                             "usage": {"input_tokens": 1, "output_tokens": 1}})
        index, reason = 0, "end_turn"
        while (piece := self.server.pieces.get(timeout=60)) is not None:
            if piece["type"] == "text":
                block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": piece["text"]}
            else:
                reason = "tool_use"
                block = {"type": "tool_use", "id": f"toolu_{id(piece)}", "name": "shell", "input": {}}
                delta = {"type": "input_json_delta",
                         "partial_json": json.dumps({"command": piece["command"]})}
            self.event("content_block_start", index=index, content_block=block)
            self.event("content_block_delta", index=index, delta=delta)
            self.event("content_block_stop", index=index)
            index += 1
        self.event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 2})
        self.event("message_stop")


def main():
    if not os.access(PEACRABD, os.X_OK):
        sys.exit(f"{PEACRABD} is not built")
    home, model, windows = Home(), Model(), []
    program = os.path.join(home.path, "peacrabd")
    shutil.copy(PEACRABD, program)
    os.chmod(program, 0o755)
    if UID is not None:
        home.give_to(UID)
    home.env["ANTHROPIC_API_KEY"] = "sk-test"
    command = [program, "chat", "--model", "scripted", "--model-url",
               f"http://127.0.0.1:{model.server_port}"]

    def chat():
        windows.append(Terminal(command, home.env, uid=UID))
        return windows[-1]

    try:
        talks(chat, model)
        steers(chat, model)
        stops(chat, model)
        comes_back(chat, model)
        pipes(command, home.env, model)
    finally:
        for window in windows:
            window.close()
        home.remove()


def talks(chat, model):
    window = chat()
    window.expect("no VM")
    window.expect("/help lists the commands")
    window.expect("> ")
    window.type("what is it?\n")
    need("what is it?" in model.request(), "the message did not reach the model")
    model.say("Let me see.")
    window.expect("Let me see.")  # streamed: the answer has not ended
    model.run("echo nonce-$((6*7))")
    model.end()
    window.expect("shell: echo nonce-$((6*7)) … ok ")
    need("nonce-42" in model.request(), "the result did not reach the model")
    model.say("It is 42, \x1b[31mred\x1b[0m.")
    model.end()
    window.expect("It is 42, \\x1b[31mred\\x1b[0m.\n")
    window.expect("tokens in")
    window.type("/frobnicate\n")
    window.expect("no such command: /frobnicate")
    window.type("/status\n")
    window.expect("kernel   " + os.uname().release)
    window.type("\x04")
    need(window.wait() == 0, "Ctrl-D does not leave with 0")


def steers(chat, model):
    window = chat()
    window.expect("> ")
    window.type("count\n")
    model.request()
    model.say("one")
    window.expect("one")
    window.type("and faster\n")
    window.expect("and faster")
    model.run("true")
    model.end()
    window.expect("shell: true")
    need("and faster" in model.request(), "what was typed meanwhile did not steer the turn")
    model.say("two")
    model.end()
    window.expect("two")
    window.expect("tokens in")
    window.type("/quit\n")
    need(window.wait() == 0, "/quit does not leave with 0")


def stops(chat, model):
    window = chat()
    window.expect("> ")
    window.type("talk for ever\n")
    model.request()
    model.say("on and on")
    window.expect("on and on")
    window.type("\x03")
    window.expect("stopping")
    window.expect("(stopped)")
    model.say("unheard")
    model.end()
    window.type("are you there?\n")
    model.request()
    model.say("yes, I am")
    model.end()
    window.expect("yes, I am")
    window.expect("tokens in")
    window.type("\x03")
    window.expect("Ctrl-C again")
    window.type("\x03")
    need(window.wait() == 0, "Ctrl-C twice at the prompt does not leave")


def comes_back(chat, model):
    window = chat()
    window.expect("> ")
    window.type("work while I am away\n")
    model.request()
    model.say("starting ")
    window.expect("starting")
    window.hang_up()
    model.say("and finished")
    model.end()
    # The agent of the closed window holds the conversation until it is done.
    for _ in range(100):
        window = chat()
        try:
            window.expect("session ", 5)
            break
        except AssertionError:
            need("at work on this conversation" in window.text, window.text)
            window.wait()
    window.expect("while you were away")
    window.expect("starting and finished")
    window.expect("tokens in")
    window.expect("> ")
    window.type("\x04")
    need(window.wait() == 0, "the second window does not leave")
    window = chat()
    before = window.expect("> ")
    need("away" not in before, f"what was seen is shown again: {before}")
    window.type("\x04")
    window.wait()


def pipes(command, env, model):
    def answer():
        model.request()
        model.say("piped \x1b[1m")
        model.end()

    threading.Thread(target=answer, daemon=True).start()
    ask = [command[0], "ask", *command[2:], "from", "the words"]
    done = subprocess.run(ask, input=b"and the pipe", env=env, cwd=env["HOME"], capture_output=True,
                          timeout=30, user=UID, group=UID, extra_groups=None if UID is None else [])
    need(done.returncode == 0, f"ask: {done}")
    need(done.stdout == "piped \x1b[1m\n".encode(), f"stdout is not the reply: {done}")
    need(b"\x1b" not in done.stderr, f"an escape on stderr: {done}")


if __name__ == "__main__":
    main()
