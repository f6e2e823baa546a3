"""A messenger for tests, on a Unix socket, and a model that repeats what it is told. The messenger keeps what was
said to it until it is confirmed, as real ones do, and everything that was ever posted, in order. It can be told to
cut a connection before or after it has taken a post, and to hand out files in bad ways. messenger_channel.py is the
channel to it."""
import base64
import collections
import json
import os
import random
import socket
import threading
import time

from scripted_model import Handler, Model


class Messenger:
    def __init__(self, path, dedupe="key"):
        self.path, self.dedupe = path, dedupe
        self.updates, self.posts, self.typing = [], collections.defaultdict(list), collections.Counter()
        self.keys, self.edits, self.faults, self.next_id = {}, 0, [], 1
        self.files, self.fetched = {}, collections.Counter()  # by handle: bytes, or a fault: "gone", "stalls", "cut"
        self.changed = threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o777)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, connection):
        try:
            with connection, connection.makefile("rw", encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    answer = self.on(json.loads(line), connection)
                    if answer is None:
                        return
                    lines.write(json.dumps(answer) + "\n")
                    lines.flush()
        except (OSError, ValueError):
            pass

    def on(self, asked, connection):
        with self.changed:
            fault = self.faults.pop(0) if self.faults and asked["op"] == "post" else None
            if fault == "before":
                return None
            if fault in ("throttled", "transient", "permanent"):
                return {"error": fault, "retry_ms": 50}
            if asked["op"] == "poll":
                self.changed.wait_for(lambda: len(self.updates) > asked["offset"], timeout=asked["wait"])
                return {"updates": self.updates[asked["offset"]:asked["offset"] + 50]}
            if asked["op"] == "get":
                return self.piece(asked["handle"], asked["at"])
            if asked["op"] == "typing":
                self.typing[asked["conversation"]] += 1
                return {}
            answer = self.post(asked)
            self.changed.notify_all()
            return None if fault == "after" else answer

    def piece(self, handle, at):
        self.fetched[handle] += at == 0
        held = self.files.get(handle, "gone")
        if isinstance(held, str):
            return {"fault": held}
        return {"data": base64.b64encode(held[at:at + (512 << 10)]).decode(), "size": len(held)}

    def post(self, asked):
        posts = self.posts[asked["conversation"]]
        if asked.get("edit"):
            self.edits += 1
            for post in posts:
                if post["id"] == asked["edit"]:
                    post.update(text=asked["text"], buttons=asked.get("buttons", []))
                    return {"id": post["id"]}
            return {"error": "permanent"}
        if self.dedupe == "key" and asked["key"] in self.keys:
            return {"id": self.keys[asked["key"]]}
        ident = f"p{self.next_id}"
        self.next_id += 1
        self.keys[asked["key"]] = ident
        posts.append({"id": ident, "text": asked["text"], "key": asked["key"], "buttons": asked.get("buttons", [])})
        if asked.get("file"):
            posts[-1]["file"] = {**asked["file"], "data": base64.b64decode(asked["file"]["data"])}
        return {"id": ident}

    def say(self, text, sender="u1", conversation=None, **more):
        """As a person: in a direct chat, or in `conversation`."""
        with self.changed:
            number = len(self.updates)
            event = {"key": f"k{number}", "kind": "message", "conversation": conversation or f"dm-{sender}",
                     "scope": "group" if conversation else "direct", "id": f"m{number}", "sender": sender,
                     "name": sender.upper(), "text": text, "at": 1_700_000_000_000 + number, **more}
            self.updates.append(event)
            self.changed.notify_all()
            return event

    def press(self, post, label, sender="u1", conversation=None, **more):
        """The button of that name below a post, also of one that was there: a button may be pressed while it goes."""
        value = next((button["value"] for button in post["buttons"] if button["label"] == label), label)
        with self.changed:
            number = len(self.updates)
            event = {"key": f"k{number}", "kind": "press", "conversation": conversation or f"dm-{sender}",
                     "scope": "group" if conversation else "direct", "id": post["id"], "sender": sender,
                     "name": sender.upper(), "value": value, "at": 1_700_000_000_000 + number, **more}
            self.updates.append(event)
            self.changed.notify_all()
            return event

    def upload(self, data, name="a.txt", mime="text/plain", **more):
        """A file for `say`: bytes, or a fault."""
        with self.changed:
            handle = f"h{len(self.files)}"
            self.files[handle] = data
            size = len(data) if isinstance(data, bytes) else 100
            return {"name": name, "mime": mime, "size": size, "handle": handle, **more}

    def texts(self, conversation):
        with self.changed:
            return [post["text"] for post in self.posts[conversation]]

    def wait(self, what, seconds=20):
        """Until `what()` holds; its value."""
        with self.changed:
            end = time.monotonic() + seconds  # looked at now and then: what() may be of other things too
            while not (done := what()) and time.monotonic() < end:
                self.changed.wait(0.2)
            if not done:
                posted = {place: [post["text"][:300] for post in posts[-3:]] for place, posts in self.posts.items()}
                raise AssertionError(f"not within {seconds} s; posted: {posted}")
            return done


class EchoModel(Model):
    """Answers `re: ` and the last line it was told; a line in `script`, with what stands there: a text, or a call."""

    class Steps:
        def __init__(self, model):
            self.model = model

        def __bool__(self):
            return True

        def pop(self, _):
            content = self.model.requests.pop()["messages"][-1]["content"]
            if not isinstance(content, str) and content[-1]["type"] == "tool_result":  # no picture comes behind these
                said = content[-1]["content"]
                return "it said: " + (said if isinstance(said, str) else said[0]["text"]).strip().split("\n")[0]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            text = [block["text"] for block in blocks if block["type"] == "text"][-1]
            self.model.last = text
            self.model.pictures = [block["source"] for block in blocks if block["type"] == "image"]
            said = text.strip().split("\n")[-1].strip()
            if said in self.model.script:
                return self.model.script[said]
            return "re: " + said

    def __init__(self):
        super().__init__()
        self.script, self.down, self.refused, self.last, self.pictures = {}, False, 0, "", []
        self.steps = self.Steps(self)
        self.RequestHandlerClass = EchoHandler

    def handle_error(self, *_):  # who asked was killed
        pass


class EchoHandler(Handler):
    def do_POST(self):
        if not self.server.down:
            return super().do_POST()
        self.server.refused += 1
        self.send_response(503 if self.server.down is True else self.server.down)
        self.send_header("content-length", "0")
        self.end_headers()


def chaos(seed):
    return random.Random(seed)
