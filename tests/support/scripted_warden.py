"""The warden's end of the frame protocol (runtime/channels/README.md), for tests of a channel alone: starts the
program on a socketpair, stores what arrives as the real one does (unique key and cursor together), and says what it
is told to.
"""
import base64
import collections
import json
import os
import select
import socket
import subprocess
import time

MOST = 1 << 20


class Book:
    """What is on the disk: it outlives the channel and the warden."""

    def __init__(self):
        self.cursor = None
        self.events = {}  # key: event
        self.order = []
        self.again = collections.Counter()  # keys that came once more

    def store(self, batch):
        for event in batch["events"]:
            if event["key"] in self.events:
                self.again[event["key"]] += 1
                continue
            self.events[event["key"]] = event
            self.order.append(event["key"])
        self.cursor = batch.get("cursor", self.cursor)

    def texts(self):
        return [self.events[key]["text"] for key in self.order]


class ScriptedWarden:
    def __init__(self, command, book, settings, secrets, environment=None, stores=True):
        self.book, self.stores = book, stores
        self.frames, self.buffer, self.ended = [], b"", False
        self.held = []
        self.hello = None
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
                                        env=environment)
        theirs.close()
        os.set_blocking(self.process.stderr.fileno(), False)
        self.errors, self.stderr_text = b"", ""
        start = {"type": "start", "settings": settings, "secrets": secrets}
        if book.cursor is not None:
            start["cursor"] = book.cursor
        self.say(**start)

    def say(self, type, **keys):
        try:
            self.socket.sendall(json.dumps({"type": type, **keys}).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True

    def take(self, frame):
        self.frames.append(frame)
        if frame["type"] == "hello":
            self.hello = frame
        if frame["type"] == "batch":
            if self.stores:
                self.book.store(frame)
                self.say("stored", **({"cursor": frame["cursor"]} if "cursor" in frame else {}))
            else:
                self.held.append(frame)

    def pump(self, seconds=0.0):
        ready, _, _ = select.select([self.socket], [], [], max(seconds, 0))
        if not ready or self.ended:
            return
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.ended = True
            return
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        assert len(self.buffer) <= MOST, "a frame longer than 1 MiB"
        for line in lines:
            frame = json.loads(line)
            assert next(iter(frame)) == "type", line
            self.take(frame)

    def until(self, condition, seconds=10, what=""):
        """Pumps until the condition holds; gives its value."""
        deadline = time.monotonic() + seconds
        while True:
            self.pump(0)
            value = condition()
            if value:
                return value
            if self.ended or time.monotonic() > deadline:
                why = "the channel ended" if self.ended else f"not within {seconds} s"
                raise AssertionError(f"{why}: {what}\nframes: {self.frames[-6:]}\n{self.stderr()}")
            self.pump(0.02)

    def run(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.ended:
            self.pump(min(0.05, max(deadline - time.monotonic(), 0)))

    def of(self, type, **keys):
        return [frame for frame in self.frames
                if frame["type"] == type and all(frame.get(key) == value for key, value in keys.items())]

    def answer(self, id, seconds=10):
        """What became of a delivery: the parts that are out, and `failed` or None."""
        def done():
            failed = self.of("failed", id=id)
            sent = self.of("sent", id=id)
            return failed or any(frame["part"] == frame["of"] - 1 for frame in sent)
        self.until(done, seconds, f"an end of delivery {id}")
        failed = self.of("failed", id=id)
        return self.of("sent", id=id), failed[-1] if failed else None

    def deliver(self, id, conversation, text, seconds=10, **keys):
        self.say("deliver", id=id, key="k" + id, conversation=str(conversation), text=text, **keys)
        return self.answer(id, seconds)

    def fetch(self, id, handle, most=1 << 25, seconds=40):
        """What comes of it: the bytes, and the last frame."""
        self.say("fetch", id=id, handle=handle, most=most)
        end = self.until(lambda: self.of("fetched", id=id), seconds, "an end of the fetch")[0]
        pieces = self.of("data", id=id)
        assert all(len(piece["data"]) <= 700_000 for piece in pieces), "a piece that is too long"
        return b"".join(base64.b64decode(piece["data"]) for piece in pieces), end

    def send_file(self, id, conversation, data, name="a.pdf", mime="application/pdf", kind="file", there=1 << 30, **keys):
        """Delivers it, of whose bytes so many are there, as the channel asks for them; what became of it."""
        self.say("deliver", id=id, conversation=str(conversation), text="",
                 file={"name": name, "mime": mime, "size": len(data), "kind": kind}, **{"key": "k" + id, **keys})
        answered = 0

        def done():
            nonlocal answered
            for want in self.of("want", id=id)[answered:]:
                answered += 1
                piece = data[want["at"]:want["at"] + (512 << 10)] if want["at"] < there else b""
                self.say("data", id=id, at=want["at"], data=base64.b64encode(piece).decode())
            return self.of("sent", id=id) or self.of("failed", id=id)
        return self.until(done, 30, f"an end of {id}")[0]

    def stderr(self):
        try:
            self.errors += self.process.stderr.read() or b""
        except (BlockingIOError, ValueError):
            pass
        self.stderr_text = self.errors.decode(errors="replace")
        return self.stderr_text

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.finish()

    def stop(self, seconds=10):
        """Its exit code, after `stop`."""
        self.say("stop")
        return self.wait(seconds)

    def wait(self, seconds=10):
        deadline = time.monotonic() + seconds
        while not self.ended and time.monotonic() < deadline:
            self.pump(0.05)
        code = self.process.wait(max(deadline - time.monotonic(), 0.1))
        self.stderr()
        self.finish()
        return code

    def finish(self):
        self.stderr()
        self.ended = True
        self.socket.close()
        self.process.stderr.close()
