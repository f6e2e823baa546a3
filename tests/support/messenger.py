"""A messenger for tests, on a Unix socket, and a model that repeats what it is told. The messenger keeps what was
said to it until it is confirmed, as real ones do, and everything that was ever posted, in order. It can be told to
cut a connection before or after it has taken a post. messenger_channel.py is the channel to it."""
import collections
import json
import os
import random
import socket
import threading

from scripted_model import Handler, Model


class Messenger:
    def __init__(self, path, dedupe="key"):
        self.path, self.dedupe = path, dedupe
        self.updates, self.posts, self.typing = [], collections.defaultdict(list), collections.Counter()
        self.keys, self.edits, self.faults, self.next_id = {}, 0, [], 1
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
            if asked["op"] == "typing":
                self.typing[asked["conversation"]] += 1
                return {}
            answer = self.post(asked)
            self.changed.notify_all()
            return None if fault == "after" else answer

    def post(self, asked):
        posts = self.posts[asked["conversation"]]
        if asked.get("edit"):
            self.edits += 1
            for post in posts:
                if post["id"] == asked["edit"]:
                    post["text"] = asked["text"]
                    return {"id": post["id"]}
            return {"error": "permanent"}
        if self.dedupe == "key" and asked["key"] in self.keys:
            return {"id": self.keys[asked["key"]]}
        ident = f"p{self.next_id}"
        self.next_id += 1
        self.keys[asked["key"]] = ident
        posts.append({"id": ident, "text": asked["text"], "key": asked["key"]})
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

    def texts(self, conversation):
        with self.changed:
            return [post["text"] for post in self.posts[conversation]]

    def wait(self, what, seconds=20):
        """Until `what()` holds; its value."""
        with self.changed:
            if not self.changed.wait_for(what, timeout=seconds):
                raise AssertionError(f"not within {seconds} s; posted: { {k: v[-3:] for k, v in self.posts.items()} }")
            return what()


class EchoModel(Model):
    """Answers `re: ` and the last line it was told; a line in `script`, with what stands there: a text, or a call."""

    class Steps:
        def __init__(self, model):
            self.model = model

        def __bool__(self):
            return True

        def pop(self, _):
            content = self.model.requests.pop()["messages"][-1]["content"]
            if not isinstance(content, str) and content[-1]["type"] == "tool_result":
                said = content[-1]["content"]
                return "it said: " + (said if isinstance(said, str) else said[0]["text"]).strip().split("\n")[0]
            text = content if isinstance(content, str) else content[-1]["text"]
            self.model.last = text
            said = text.strip().split("\n")[-1].strip()
            if said in self.model.script:
                return self.model.script[said]
            return "re: " + said

    def __init__(self):
        super().__init__()
        self.script, self.down, self.refused, self.last = {}, False, 0, ""
        self.steps = self.Steps(self)
        self.RequestHandlerClass = EchoHandler

    def handle_error(self, *_):  # who asked was killed
        pass


class EchoHandler(Handler):
    def do_POST(self):
        if not self.server.down:
            return super().do_POST()
        self.server.refused += 1
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()


def chaos(seed):
    return random.Random(seed)
