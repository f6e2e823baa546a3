"""A strict emulator of WhatsApp's Cloud API, whose webhooks go to a relay and are repeated until they are taken.

`faults` is a list that calls of /messages take from: "cut" (done, and no answer), "refuse" (the connection closes before
anything is read), "html" (502), "garbage" (200, no JSON), or a number: that error code. `say` is a person's message.
"""
import hashlib
import hmac
import http.server
import json
import threading
import time
import urllib.error
import urllib.request

STATUS = {190: 401, 131056: 400, 131047: 400, 130429: 429, 1: 500}


class WhatsApp(http.server.ThreadingHTTPServer):
    daemon_threads = True
    phone, token, business = "100200300400500", "EAAtestTOKEN0123456789", "15550001111"

    def __init__(self, hook_url, secret):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hook_url, self.secret = hook_url, secret.encode()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v23.0"
        self.lock = threading.Lock()
        self.faults, self.sent, self.marked, self.media, self.calls = [], [], [], {}, []
        self.heard, self.next, self.statuses, self.delayed = set(), 1, True, {}
        self.last_to, self.too_fast = {}, 0
        self.pair = 0.0  # seconds between two messages to one person
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass

    def ident(self, kind="wamid."):
        with self.lock:
            self.next += 1
            return f"{kind}T{self.next:08d}"

    def post_hook(self, value):
        """Again and again until it is taken; from a thread."""
        body = json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp", "metadata": {"display_phone_number": self.business, "phone_number_id": self.phone},
            **value}}]}]}).encode()
        headers = {"X-Hub-Signature-256": "sha256=" + hmac.new(self.secret, body, hashlib.sha256).hexdigest()}
        for _ in range(600):
            try:
                with urllib.request.urlopen(urllib.request.Request(self.hook_url, body, headers), timeout=10) as answer:
                    if answer.status == 200:
                        return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.05)

    def hook(self, value):
        threading.Thread(target=self.post_hook, args=[value], daemon=True).start()

    def message(self, person, content, ident=None, name="Ann"):
        ident = ident or self.ident()
        self.heard.add(ident)
        return {"contacts": [{"profile": {"name": name}, "wa_id": person}],
                "messages": [{"from": person, "id": ident, "timestamp": str(int(time.time())), **content}]}

    def say(self, person, text, **more):
        value = self.message(person, {"type": "text", "text": {"body": text}, **more})
        self.post_hook(value)
        return value["messages"][0]["id"]

    def press(self, person, card, title, **more):
        """A button of a message of ours; the message is as it was sent."""
        buttons = card["interactive"]["action"]["buttons"]
        reply = next(one["reply"] for one in buttons if one["reply"]["title"] == title)
        value = self.message(person, {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": reply},
                                      "context": {"from": self.business, "id": card["id"]}, **more})
        self.post_hook(value)
        return value["messages"][0]["id"]

    def status(self, ident, to, mark, status="sent", errors=None):
        row = {"id": ident, "status": status, "timestamp": str(int(time.time())), "recipient_id": to}
        if mark:
            row["biz_opaque_callback_data"] = mark
        if errors:
            row["errors"] = errors
        return {"statuses": [row]}

    def texts(self, person):
        with self.lock:
            return [one["text"]["body"] for one in self.sent if one["to"] == person and one["type"] == "text"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, value, kind="application/json"):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, code, status=None, words="(#%d) no"):
        self.reply(status or STATUS.get(code, 400), {"error": {"message": words % code, "type": "OAuthException", "code": code,
                                                               "error_data": {"details": f"details of {code}"}, "fbtrace_id": "x"}})

    def allowed(self):
        if self.headers.get("authorization") == "Bearer " + self.server.token:
            return True
        self.error(190)
        return False

    def do_GET(self):
        server, path = self.server, self.path.split("?")[0]
        if not self.allowed():
            return
        if path == f"/v23.0/{server.phone}":
            return self.reply(200, {"id": server.phone, "display_phone_number": "+1 555-000-1111", "verified_name": "Test"})
        if path.startswith("/bytes/"):
            found = server.media.get(path[7:])
            return self.reply(200, found[1], found[0]) if found else self.error(100, 404)
        found = server.media.get(path.removeprefix("/v23.0/"))
        if not found:
            return self.error(100)
        ident = path.removeprefix("/v23.0/")
        self.reply(200, {"url": found[2] if len(found) > 2 else server.url.removesuffix("/v23.0") + "/bytes/" + ident,
                         "mime_type": found[0], "id": ident})

    def do_POST(self):
        server = self.server
        with server.lock:
            if server.faults[:1] == ["refuse"]:
                server.faults.pop(0)
                self.close_connection = True
                return
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self.allowed():
            return
        if self.path == f"/v23.0/{server.phone}/media":
            return self.upload(body)
        if self.path != f"/v23.0/{server.phone}/messages":
            return self.error(100, 404)
        asked = json.loads(body)
        with server.lock:
            server.calls.append(asked)
        if asked.get("messaging_product") != "whatsapp":
            return self.error(100)
        if "status" in asked:
            return self.mark(asked)
        with server.lock:
            fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            return self.error(fault)
        if fault == "html":
            return self.reply(502, b"<html>bad gateway</html>", "text/html")
        self.post_message(asked, fault)

    def upload(self, body):
        kind = self.headers["content-type"]
        assert kind.startswith("multipart/form-data; boundary="), kind
        boundary = b"--" + kind.split("boundary=")[1].encode()
        fields = {}
        for piece in body.split(boundary)[1:-1]:
            head, content = piece.strip(b"\r\n").split(b"\r\n\r\n", 1)
            fields[head.split(b'name="')[1].split(b'"')[0].decode()] = content
        assert fields["messaging_product"] == b"whatsapp", fields.keys()
        ident = self.server.ident("m")
        self.server.media[ident] = (fields["type"].decode(), fields["file"])
        self.reply(200, {"id": ident})

    def mark(self, asked):
        if asked["status"] != "read" or asked.get("message_id") not in self.server.heard:
            return self.error(100)
        self.server.marked.append(asked)
        self.reply(200, {"success": True})

    @staticmethod
    def good_buttons(what):
        """Reply buttons, as strict as WhatsApp is: at most three, with titles of twenty characters that differ."""
        body, buttons = what.get("body", {}).get("text", ""), what.get("action", {}).get("buttons", [])
        replies = [one.get("reply", {}) for one in buttons]
        titles, idents = ([reply.get(key, "") for reply in replies] for key in ("title", "id"))
        return (what.get("type") == "button" and set(what) <= {"type", "header", "body", "footer", "action"} and
                1 <= len(body) <= 1024 and 1 <= len(buttons) <= 3 and all(one.get("type") == "reply" for one in buttons) and
                all(1 <= len(title) <= 20 for title in titles) and all(1 <= len(ident) <= 256 for ident in idents) and
                len(set(titles)) == len(titles) and len(set(idents)) == len(idents))

    def post_message(self, asked, fault):
        server, to, kind = self.server, asked.get("to", ""), asked.get("type")
        text = asked.get("text", {}).get("body", "")
        if not to.isdigit() or (kind == "text" and (not text or len(text.encode("utf-16-le")) // 2 > 4096)):
            return self.error(100)
        if kind == "interactive":
            if not self.good_buttons(asked[kind]):
                return self.error(100)
        elif kind != "text" and asked[kind].get("id") not in server.media:
            return self.error(131053)
        ident, now = server.ident(), time.monotonic()
        with server.lock:
            if now - server.last_to.get(to, -100) < server.pair:
                server.too_fast += 1
                return self.error(131056)
            server.last_to[to] = now
            server.sent.append(dict(asked, id=ident))
        if server.statuses:
            server.hook(server.status(ident, to, asked.get("biz_opaque_callback_data")))
        if fault == "cut":
            self.close_connection = True
            self.connection.shutdown(2)
            return
        if fault == "garbage":
            return self.reply(200, b"{\"messages\": [", "application/json")
        self.reply(200, {"messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": to}], "messages": [{"id": ident}]})
