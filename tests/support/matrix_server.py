"""A Matrix homeserver for tests, in memory: what a bot in plain rooms asks of one (client-server API v3), strictly: what
a real one would refuse is refused. Its rooms outlive a stop(). `rule` decides what becomes of a call: "" as it should
be, "cut" (done, but nobody hears of it), "nonsense", "slow", a status, "429:MS" with retry_after_ms, "soft" or "hard" logout.
"""
import http.server
import json
import re
import socket
import threading
import time
import urllib.parse

BASE = re.compile(r"^/_matrix/client/(?:v3|r0)")
NAME = "test.example"


class Refused(Exception):
    def __init__(self, status, code, **more):
        super().__init__(code)
        self.status, self.body = status, {"errcode": code, "error": f"refused: {code}", **more}


class MatrixServer:
    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.tokens, self.rooms, self.data, self.media, self.names = {}, {}, {}, {}, {}
        self.clock, self.transactions, self.calls, self.typing = 0, {}, [], []
        self.rule = lambda method, path: ""
        self.port = 0
        self.start()

    # As another user, or an administrator, does it.

    def user(self, name, device="DEV1"):
        user, token = f"@{name}:{NAME}", f"token-{name}-{device}"
        self.tokens[token] = (user, device)
        self.names.setdefault(user, name.capitalize())
        return token

    def room(self, owner, name="", encrypted=False):
        room = f"!room{len(self.rooms)}:{NAME}"
        self.rooms[room] = {"events": [], "members": {}, "invited": {}}
        self.member(room, owner, owner, "join")
        if name:
            self.add(room, owner, "m.room.name", {"name": name}, state_key="")
        if encrypted:
            self.add(room, owner, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, state_key="")
        return room

    def member(self, room, sender, user, membership, **more):
        before = self.rooms[room]["members"].get(user) or ("invite" if user in self.rooms[room]["invited"] else "leave")
        content = {"membership": membership, "displayname": self.names.get(user, user), **more}
        event = self.add(room, sender, "m.room.member", content, state_key=user, unsigned={"prev_content": {"membership": before}})
        if membership == "join":
            self.rooms[room]["members"][user] = membership
            self.rooms[room]["invited"].pop(user, None)
        if membership == "invite":
            self.rooms[room]["invited"][user] = event
        return event

    def invite(self, room, sender, user, direct=False):
        return self.member(room, sender, user, "invite", **({"is_direct": True} if direct else {}))

    def say(self, room, sender, body, **more):
        return self.add(room, sender, "m.room.message", {"msgtype": "m.text", "body": body, **more})["event_id"]

    def add(self, room, sender, type, content, **more):
        with self.changed:
            self.clock += 1
            event = {"type": type, "event_id": f"$e{self.clock}", "sender": sender, "content": content, "room_id": room,
                     "origin_server_ts": int(time.time() * 1000), **more}
            self.rooms[room]["events"].append((self.clock, event))
            self.changed.notify_all()
            return event

    def said(self, room, by):
        """What stands in the room, as a client with edits shows it: [(text, html or None)]."""
        shown = {}
        for _, event in self.rooms[room]["events"]:
            content = event["content"]
            if event["type"] != "m.room.message" or event["sender"] != by:
                continue
            relation = content.get("m.relates_to", {})
            if relation.get("rel_type") == "m.replace":
                shown[relation["event_id"]] = content["m.new_content"]
            else:
                shown[event["event_id"]] = content
        return [(content["body"], content.get("formatted_body")) for content in shown.values()]

    # The server.

    def start(self):
        server, life = self, object()
        self.life = life

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_call(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path, _, query = self.path.partition("?")
                server.calls.append((self.command, path))
                if server.life is not life:  # it has been stopped meanwhile
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                what = server.rule(self.command, path)
                status, answer = server.faulty(what) if what and what not in ("cut", "nonsense", "slow") else \
                    server.answer(self.command, path, dict(urllib.parse.parse_qsl(query)), body, self.headers)
                if what == "cut":
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                if what == "slow":
                    time.sleep(3)
                data = b"<html>" if what == "nonsense" else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True

            do_GET = do_PUT = do_POST = handle_call

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                pass

        self.stopping = False
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.stopping, self.life = True, None
        with self.changed:
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def faulty(self, what):
        if what in ("soft", "hard"):
            return 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "gone", **({"soft_logout": True} if what == "soft" else {})}
        if what.startswith("429:"):
            return 429, {"errcode": "M_LIMIT_EXCEEDED", "error": "slowly", "retry_after_ms": int(what[4:])}
        return int(what), b"<html>a proxy</html>"

    def answer(self, method, path, query, body, headers):
        try:
            with self.changed:
                return self.route(method, path, query, body, headers)
        except Refused as refused:
            return refused.status, refused.body

    def route(self, method, path, query, body, headers):
        if path == "/_matrix/client/versions":
            return 200, {"versions": ["v1.11"]}
        token = (headers.get("authorization") or "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise Refused(401, "M_UNKNOWN_TOKEN" if token else "M_MISSING_TOKEN")
        user, device = self.tokens[token]
        words = [urllib.parse.unquote(word) for word in BASE.sub("", path).strip("/").split("/")]
        if path.startswith("/_matrix/media/v3/upload") and method == "POST":
            if len(body) > 1 << 20:
                raise Refused(413, "M_TOO_LARGE")
            address = f"mxc://{NAME}/m{len(self.media)}"
            self.media[address] = body
            return 200, {"content_uri": address}
        if path.startswith("/_matrix/client/v1/media/download/"):
            address = "mxc://" + path.removeprefix("/_matrix/client/v1/media/download/")
            if address not in self.media:
                raise Refused(404, "M_NOT_FOUND")
            return 200, self.media[address]
        given = {}
        if method != "GET":
            try:
                given = json.loads(body or b"{}")
            except ValueError:
                raise Refused(400, "M_NOT_JSON") from None
        if words == ["account", "whoami"]:
            return 200, {"user_id": user, "device_id": device}
        if words == ["sync"]:
            return 200, self.sync(user, query)
        if words[0] == "profile" and words[2:] == ["displayname"]:
            return 200, {"displayname": self.names.get(words[1], words[1])}
        if words[0] == "user" and words[2] == "account_data":
            if words[1] != user:
                raise Refused(403, "M_FORBIDDEN")
            if method == "PUT":
                self.data[user, words[3]] = given
                return 200, {}
            if (user, words[3]) not in self.data:
                raise Refused(404, "M_NOT_FOUND")
            return 200, self.data[user, words[3]]
        if words[0] == "rooms":
            return self.in_room(method, user, device, words[1], words[2:], query, given, len(body))
        raise Refused(404, "M_UNRECOGNIZED")

    def in_room(self, method, user, device, name, words, query, given, size):
        room = self.rooms.get(name)
        if not room:
            raise Refused(403, "M_FORBIDDEN")
        if words == ["join"]:
            if user in room["members"]:
                return 200, {"room_id": name}
            if user not in room["invited"]:
                raise Refused(403, "M_FORBIDDEN")
            self.member(name, user, user, "join")
            return 200, {"room_id": name}
        if user not in room["members"]:
            raise Refused(403, "M_FORBIDDEN")
        if words[0] == "send" and method == "PUT":
            return 200, {"event_id": self.send(user, device, name, words[1], words[2], given, size)}
        if words == ["joined_members"]:
            return 200, {"joined": {member: {"display_name": self.names.get(member)} for member in room["members"]}}
        if words[:2] == ["state", "m.room.member"]:
            if words[2] not in room["members"]:
                raise Refused(404, "M_NOT_FOUND")
            return 200, {"membership": "join", "displayname": self.names.get(words[2])}
        if words[0] == "event":
            for _, event in room["events"]:
                if event["event_id"] == words[1]:
                    return 200, event
            raise Refused(404, "M_NOT_FOUND")
        if words[0] == "typing":
            if words[1] != user or (given["typing"] and not isinstance(given.get("timeout"), int)):
                raise Refused(403, "M_FORBIDDEN")
            self.typing.append((name, given["typing"]))
            return 200, {}
        if words[:2] == ["receipt", "m.read"]:
            return 200, {}
        if words == ["messages"]:
            return 200, self.messages(room, query)
        raise Refused(404, "M_UNRECOGNIZED")

    def send(self, user, device, room, type, transaction, content, size):
        key = (user, device, room, transaction)
        if key in self.transactions:
            return self.transactions[key]
        if size > 65536 - 500:
            raise Refused(413, "M_TOO_LARGE")
        if type == "m.room.message" and not (isinstance(content.get("body"), str) and isinstance(content.get("msgtype"), str)):
            raise Refused(400, "M_BAD_JSON")
        if "formatted_body" in content and content.get("format") != "org.matrix.custom.html":
            raise Refused(400, "M_BAD_JSON")
        self.transactions[key] = self.add(room, user, type, content)["event_id"]
        return self.transactions[key]

    @staticmethod
    def position(token, kinds):
        if not re.fullmatch(rf"[{kinds}]\d+", token or ""):
            raise Refused(400, "M_INVALID_PARAM")
        return int(token[1:])

    def messages(self, room, query):
        if query.get("dir") != "b":
            raise Refused(400, "M_INVALID_PARAM")
        before = self.position(query["from"], "st") if "from" in query else self.clock
        after = self.position(query["to"], "st") if "to" in query else 0
        limit = min(int(query.get("limit", 10)), 100)
        found = [(at, event) for at, event in reversed(room["events"]) if after < at <= before]
        answer = {"chunk": [event for _, event in found[:limit]], "start": query.get("from", "")}
        if len(found) > limit:
            answer["end"] = f"t{found[limit - 1][0] - 1}"
        return answer

    def sync(self, user, query):
        since = self.position(query["since"], "s") if "since" in query else None
        wanted = json.loads(query.get("filter", "{}"))
        timeline = wanted.get("room", {}).get("timeline", {})
        limit, types = timeline.get("limit", 10), timeline.get("types")
        deadline = time.monotonic() + min(int(query.get("timeout", 0)), 60_000) / 1000
        while True:
            rooms = {"join": {}, "invite": {}, "leave": {}}
            for name, room in self.rooms.items():
                if user in room["members"]:
                    # Who has come in since is given the room anew.
                    joined = max(at for at, event in room["events"] if event["type"] == "m.room.member" and event["state_key"] == user)
                    start = 0 if since is None or joined > since else since
                    events = [(at, event) for at, event in room["events"] if at > start and (not types or event["type"] in types)]
                    if not events or (since is not None and events[-1][0] <= since):
                        continue
                    last = events[-limit:]
                    rooms["join"][name] = {
                        "timeline": {"events": [event for _, event in last], "limited": len(events) > limit, "prev_batch": f"t{last[0][0] - 1}"},
                        "state": {"events": [event for at, event in room["events"] if event["type"] == "m.room.name"]}}
                elif user in room["invited"] and (since is None or any(event is room["invited"][user] and at > since for at, event in room["events"])):
                    rooms["invite"][name] = {"invite_state": {"events": [room["invited"][user]]}}
            left = deadline - time.monotonic()
            if rooms["join"] or rooms["invite"] or since is None or left <= 0 or self.stopping:
                return {"next_batch": f"s{self.clock}", "rooms": rooms, "account_data": {"events": []}}
            self.changed.wait(min(left, 0.5))
