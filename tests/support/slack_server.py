"""Slack as far as chats need it, with faults: the Web API, and Socket Mode with its envelopes, which are repeated until
they are answered and lost while no socket is open. As strict as Slack is: tokens of the right kind, scopes of the right
size, one message a second in a channel, fifty edits a minute.

    server = SlackServer(); server.app(APP_TOKEN, BOT_TOKEN); server.channel("C1", "team")
    server.say(server.im("U7"), "U7", "hello"); server.seen("C1")     # what stands in a place, as its people see it
    server.fault("chat.postMessage", "cut")          # the next one is done, and its answer never comes

tests/channels/slack_sdk_test.py shows that it is Slack to Slack's own libraries.
"""
import json
import re
import select
import socket
import struct
import threading
import time
import urllib.parse
import uuid

import emulator
from websocket_peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame

MOST_TEXT = 40_000
MOST_SOCKETS = 10
TS = re.compile(r"\d{10}\.\d{6}")
READS = {"bots.info", "files.info", "files.getUploadURLExternal", "conversations.history", "conversations.replies", "conversations.info", "users.info", "users.conversations"}
ARGUMENTS = {
    "auth.test": (), "apps.connections.open": (), "users.info": ("user",), "bots.info": ("bot",), "conversations.open": ("users",),
    "chat.postMessage": ("channel", "text", "thread_ts", "metadata", "unfurl_links", "unfurl_media", "mrkdwn",
                         "reply_broadcast", "blocks", "link_names", "parse"),
    "chat.update": ("channel", "ts", "text", "metadata", "blocks", "link_names", "parse"),
    "conversations.history": ("channel", "oldest", "latest", "limit", "cursor", "inclusive", "include_all_metadata"),
    "conversations.replies": ("channel", "ts", "oldest", "latest", "limit", "cursor", "inclusive",
                              "include_all_metadata"),
    "conversations.info": ("channel",),
    "files.getUploadURLExternal": ("filename", "length", "alt_txt", "alt_text", "snippet_type"),
    "files.completeUploadExternal": ("files", "channel_id", "thread_ts", "initial_comment"), "files.info": ("file",),
    "users.conversations": ("types", "exclude_archived", "limit", "cursor"),
}
# Calls of a minute, as Slack's tiers have it; postMessage is counted by channel.
TIERS = {"chat.update": 50, "conversations.history": 50, "conversations.replies": 50, "users.info": 100,
         "users.conversations": 50, "conversations.info": 50, "apps.connections.open": 100}


class Refusal(Exception):
    def __init__(self, error, **more):
        super().__init__(error)
        self.error, self.more = error, more


class App:
    def __init__(self, app_token, bot_token, user, name):
        self.app_token, self.bot_token, self.user, self.name = app_token, bot_token, user, name
        self.id, self.bot_id = "A" + user[1:], "B" + user[1:]
        self.sockets, self.tickets = [], {}
        self.enabled, self.dead, self.strangers = True, "", 0  # dead: the error that each call gets


class Place:
    def __init__(self, number, kind, name, members):
        self.id, self.kind, self.name, self.members = number, kind, name, set(members)
        self.messages, self.archived = {}, False


class Envelope:
    def __init__(self, kind, payload):
        self.id, self.kind, self.payload = str(uuid.uuid4()), kind, payload
        self.attempt, self.reason, self.sent, self.socket = 0, "", 0.0, None


class SlackServer(emulator.Emulator):
    def __init__(self, port=0, tls=None, hook=None, ack_seconds=3.0, retries=3, grace=1.0):
        super().__init__(Handler, port, tls)
        self.apps, self.places, self.people, self.files = {}, {}, {}, {}
        self.wrong = []
        self.hook = hook  # called with (method, parameters) before anything is done
        self.ack_seconds, self.retries, self.grace = ack_seconds, retries, grace
        self.open_envelopes, self.lost, self.acks = {}, [], []
        self.spent, self.last_ts = {}, 0.0
        self.socket_fault, self.deaf_to_pings, self.shut = None, False, False
        self.url, self.link = self.address() + "/api", self.address("ws")  # where its sockets are said to be
        self.serve()
        threading.Thread(target=self.repeat, daemon=True).start()

    def close(self):
        super().close()
        self.cut()

    # ---- control: what people and Slack itself do

    def app(self, app_token, bot_token, user="U0PEA", name="pea"):
        with self.change:
            made = App(app_token, bot_token, user, name)
            self.apps[app_token] = self.apps[bot_token] = made
            self.people[user] = name
            return made

    def bot(self):
        return next(iter(self.apps.values()))

    def channel(self, number, name, kind="channel", members=()):
        with self.change:
            self.places[number] = Place(number, kind, name, members or [app.user for app in self.apps.values()])

    def im(self, user):
        """The direct chat of somebody with the app."""
        with self.change:
            number = "D" + user[1:]
            if number not in self.places:
                self.places[number] = Place(number, "im", "", [user, self.bot().user])
                self.people.setdefault(user, f"User {user}")
            return number

    def stamp(self):
        self.last_ts = max(time.time(), self.last_ts + 0.000_01)
        return f"{self.last_ts:.6f}"

    def say(self, place, user, text, told=True, **extra):
        """A user writes, as Slack would have it (& < > and mentions encoded); extra keys go into the message."""
        with self.change:
            where = self.places[place]
            self.people.setdefault(user, f"User {user}")
            said = {"type": "message", "user": user, "text": text, "ts": self.stamp(), "team": "T1",
                    "client_msg_id": str(uuid.uuid4()), **extra}
            said = {key: value for key, value in said.items() if value is not None}
            where.messages[said["ts"]] = said
            if "thread_ts" in said and said["thread_ts"] in where.messages:
                said["parent_user_id"] = where.messages[said["thread_ts"]].get("user", "")
            if told:
                self.tell(where, said)
            return dict(said)

    def tell(self, where, said):
        """One event for a message, and one more where the app is named. With `change` held."""
        for app in dict.fromkeys(self.apps.values()):
            event = {**said, "channel": where.id, "channel_type": where.kind, "event_ts": said["ts"]}
            if app.user in where.members:
                self.event(app, event)
            by_people = said.get("subtype") in (None, "file_share", "thread_broadcast", "bot_message")
            if where.kind != "im" and by_people and f"<@{app.user}" in said["text"] and said.get("user") != app.user:
                mention = {key: value for key, value in event.items() if key not in ("channel_type", "subtype")}
                self.event(app, {**mention, "type": "app_mention"})

    def share(self, place, user, name, content, mimetype="application/octet-stream", **extra):
        """A user shares a file; extra keys go into its card."""
        with self.change:
            card = self.new_file(name, len(content))
            self.files[card["id"]].update(content=content, places=[place])
            return self.say(place, user, "", subtype="file_share",
                            files=[{**card, "mimetype": mimetype, "size": len(content), **extra}])

    def new_file(self, name, length):
        number = f"F{len(self.files) + 1:06}"
        address = f"{self.url.removesuffix('/api')}/files-pri/T1-{number}/download/{urllib.parse.quote(name[:50])}"
        self.files[number] = {"name": name, "length": length, "content": None, "places": [], "gone": False}
        return {"id": number, "name": name, "title": name, "mode": "hosted", "is_external": False,
                "url_private_download": address, "url_private": address}

    def edit(self, place, ts, text):
        with self.change:
            said = self.places[place].messages[ts]
            before = dict(said)
            said.update(text=text, edited={"user": said.get("user", ""), "ts": self.stamp()})
            self.changed(self.places[place], said, before)

    def changed(self, where, said, before):
        for app in dict.fromkeys(self.apps.values()):
            self.event(app, {"type": "message", "subtype": "message_changed", "hidden": True, "channel": where.id,
                             "channel_type": where.kind, "ts": self.stamp(), "event_ts": f"{self.last_ts:.6f}",
                             "message": dict(said), "previous_message": before})

    def event(self, app, event):
        self.envelope(app, "events_api", {
            "token": "x", "team_id": "T1", "api_app_id": app.id, "event": json.loads(json.dumps(event)),
            "type": "event_callback", "event_id": "Ev" + uuid.uuid4().hex[:10].upper(), "event_time": int(time.time()),
            "authorizations": [{"team_id": "T1", "user_id": app.user, "is_bot": True}]})

    def press(self, place, who, ts, label, **extra):
        """A user presses a button below a message of the app; of one that is gone, by its value."""
        with self.change:
            said = self.places[place].messages[ts]
            self.people.setdefault(who, f"User {who}")
            buttons = [(block, one) for block in said.get("blocks", []) for one in block.get("elements", [])]
            block, button = next(((block, one) for block, one in buttons if one["text"]["text"] == label),
                                 ({"block_id": "gone"}, {"action_id": "gone", "value": label}))
            return self.envelope(self.bot(), "interactive", {
                "type": "block_actions", "user": {"id": who, "username": "somebody", "name": "somebody", "team_id": "T1"},
                "api_app_id": self.bot().id, "token": "x", "team": {"id": "T1", "domain": "team"}, "enterprise": None,
                "is_enterprise_install": False, "trigger_id": f"{time.monotonic_ns()}.1.{uuid.uuid4().hex}",
                "container": {"type": "message", "message_ts": ts, "channel_id": place, "is_ephemeral": False,
                              **({"thread_ts": said["thread_ts"]} if "thread_ts" in said else {})},
                "channel": {"id": place, "name": self.places[place].name or "directmessage"}, "message": dict(said),
                "state": {"values": {}}, "response_url": "https://example.com/r", "actions": [
                    {"action_id": button["action_id"], "block_id": block["block_id"], "value": button["value"],
                     "type": "button", "text": {"type": "plain_text", "text": label}, "action_ts": self.stamp()}], **extra})

    def slash(self, place, user, command, text):
        self.envelope(self.bot(), "slash_commands", {
            "command": command, "text": text, "user_id": user, "user_name": "somebody", "channel_id": place,
            "channel_name": "directmessage", "team_id": "T1", "api_app_id": self.bot().id,
            "trigger_id": f"{time.monotonic_ns()}.1.{uuid.uuid4().hex}", "response_url": "https://example.com/r"})

    def envelope(self, app, kind, payload):
        with self.change:
            made = Envelope(kind, payload)
            made.app = app
            self.open_envelopes[made.id] = made
            self.post(made)
            return made

    def post(self, envelope):
        """To one of the sockets that are open; with none of them it has failed, this time. With `change` held."""
        envelope.sent = time.monotonic()
        ready = [each for each in envelope.app.sockets if each.greeted and not each.ending]
        envelope.socket = ready[envelope.attempt % len(ready)] if ready else None
        if not ready:
            self.lost.append(envelope)
            del self.open_envelopes[envelope.id]
            return
        envelope.socket.say({"envelope_id": envelope.id, "type": envelope.kind, "accepts_response_payload":
                             envelope.kind == "slash_commands", "payload": envelope.payload,
                             **({"retry_attempt": envelope.attempt, "retry_reason": envelope.reason}
                                if envelope.kind == "events_api" else {})})

    def repeat(self):
        """What was not answered in time comes again, and is given up in the end."""
        while not self.closing:
            time.sleep(0.02)
            with self.change:
                for envelope in list(self.open_envelopes.values()):
                    gone = envelope.socket not in envelope.app.sockets
                    if time.monotonic() - envelope.sent < (0.2 if gone else self.ack_seconds):
                        continue
                    envelope.attempt, envelope.reason = envelope.attempt + 1, "timeout"
                    if envelope.attempt > self.retries:
                        self.lost.append(envelope)
                        del self.open_envelopes[envelope.id]
                    else:
                        self.post(envelope)

    def again(self, place, ts):
        """The event of a message once more, long after it was answered."""
        with self.change:
            self.tell(self.places[place], self.places[place].messages[ts])

    def sockets(self):
        with self.change:
            return [each for app in dict.fromkeys(self.apps.values()) for each in app.sockets if each.greeted]

    def refresh(self, reason="refresh_requested"):
        """As Slack does every few hours: each socket is told, and closed a little later."""
        for each in self.sockets():
            each.say({"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}})
            each.ending = reason == "link_disabled"
            threading.Timer(self.grace, each.hang_up).start()

    def cut(self):
        """All sockets, without a word."""
        for app in list(self.apps.values()):
            for each in list(app.sockets):
                each.hang_up()

    def fault(self, method, kind, times=1, channel=None, value=None):
        """429, 502, 500, error (value), cut_before, stalled_before: nothing is done. cut, truncated, empty, half,
        not_ok, stall: it is done, and the answer does not come (whole). `value`: Retry-After; seconds of a stall."""
        self.plan(method, kind, times, channel, value)

    def mine(self, place):
        """The app's messages in it, in order."""
        with self.change:
            ours = {app.bot_id for app in self.apps.values()}
            return [message for message in self.places[place].messages.values() if message.get("bot_id") in ours]

    def seen(self, place, thread=None):
        """Their texts as people see them: decoded, of one thread or of none when `thread` is "" ."""
        return [decoded(message["text"]) for message in self.mine(place)
                if thread is None or message.get("thread_ts", "") == thread]

    # ---- the Web API

    def spend(self, method, parameters):
        """Seconds to wait when it is too much; 0: it may go on."""
        now = time.monotonic()
        with self.change:
            if method == "chat.postMessage":  # about one a second in a channel, with short bursts
                left, at = self.spent.get(parameters.get("channel"), (4.0, now))
                left = min(4.0, left + now - at)
                self.spent[parameters.get("channel")] = (left - 1 if left >= 1 else left, now)
                return 0 if left >= 1 else 1
            window = [at for at in self.spent.get(method, []) if at > now - 60]
            self.spent[method] = window
            if len(window) >= TIERS.get(method, 1000):
                return int(window[0] + 61 - now)
            window.append(now)
            return 0

    def call(self, method, token, parameters, encoding):
        app = self.apps.get(token)
        if not token:
            raise Refusal("not_authed")
        if not app:
            raise Refusal("invalid_auth")
        if app.dead:
            raise Refusal(app.dead)
        if method not in ARGUMENTS:
            raise Refusal("unknown_method", req_method=method)
        if token.startswith("xapp-") != (method == "apps.connections.open"):
            raise Refusal("not_allowed_token_type")
        if encoding == "json" and method in READS:
            parameters = {}  # it is not looked at there
        for name in parameters:
            if name not in ARGUMENTS[method]:
                raise Refusal("invalid_arg_name", response_metadata={"messages": [name]})
        return getattr(self, "api_" + method.replace(".", "_"))(app, parameters)

    def api_auth_test(self, app, _):
        return {"url": "https://team.slack.com/", "team": "Team", "user": app.name, "team_id": "T1",
                "user_id": app.user, "bot_id": app.bot_id, "is_enterprise_install": False}

    def api_apps_connections_open(self, app, _):
        with self.change:
            if not app.enabled or self.shut:
                raise Refusal("socket_mode_disabled" if not app.enabled else "internal_error")
            ticket = str(uuid.uuid4())
            app.tickets[ticket] = time.monotonic() + 30
            return {"url": f"{self.link}/link/?ticket={ticket}&app_id={app.id}"}

    def place_of(self, app, parameters, posting=False):
        where = self.places.get(parameters.get("channel") or "")
        if not where or (where.kind != "channel" and app.user not in where.members):
            raise Refusal("channel_not_found")
        if posting and where.archived:
            raise Refusal("is_archived")
        if app.user not in where.members:
            raise Refusal("not_in_channel")
        return where

    @staticmethod
    def written(parameters):
        text = parameters.get("text") or ""
        if not isinstance(text, str) or not text.strip():
            raise Refusal("no_text")
        if len(text) > MOST_TEXT:
            raise Refusal("msg_too_long")
        return text

    @staticmethod
    def metadata_of(parameters):
        value = parameters.get("metadata")
        if value is None:
            return {}
        try:
            value = json.loads(value) if isinstance(value, str) else value
            good = set(value) == {"event_type", "event_payload"} and isinstance(value["event_payload"], dict)
            good = good and bool(re.fullmatch(r"[\w.]{1,255}", value["event_type"]))
        except (ValueError, TypeError):
            good = False
        if not good:
            raise Refusal("invalid_metadata_format")
        if len(json.dumps(value)) > 8000:
            raise Refusal("metadata_too_large")
        return {"metadata": value}

    @staticmethod
    def blocks_of(parameters):
        """Sections and buttons, as strict as Slack is. Text without any, or an empty list, takes away what there was
        (Slack's older pages say: the empty list alone)."""
        value = parameters.get("blocks", "[]")
        try:
            blocks = json.loads(value) if isinstance(value, str) else value
            actions = []
            for number, block in enumerate(blocks):
                block.setdefault("block_id", f"b{number}")
                if block["type"] == "section":
                    good = block["text"]["type"] in ("mrkdwn", "plain_text") and 1 <= len(block["text"]["text"]) <= 3000
                else:
                    good = block["type"] == "actions" and 1 <= len(block["elements"]) <= 25
                    for one in block.get("elements", []):
                        good = good and one["type"] == "button" and one["text"]["type"] == "plain_text"
                        good = good and 1 <= len(one["text"]["text"]) <= 75 and len(one["value"]) <= 2000
                        actions.append(one["action_id"])
                if not good:
                    raise ValueError
            if len(actions) != len(set(actions)) or len(blocks) > 50 or any(len(each) > 255 for each in actions):
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refusal("invalid_blocks") from None
        return {"blocks": blocks}

    def api_chat_postMessage(self, app, parameters):
        with self.change:
            where = self.place_of(app, parameters, posting=True)
            said = {"type": "message", "user": app.user, "bot_id": app.bot_id, "app_id": app.id, "team": "T1",
                    "text": self.written(parameters), "ts": self.stamp(), **self.metadata_of(parameters),
                    **self.blocks_of(parameters)}
            if parameters.get("thread_ts"):
                if parameters["thread_ts"] not in where.messages:
                    raise Refusal("thread_not_found")
                said["thread_ts"] = parameters["thread_ts"]
                said["parent_user_id"] = where.messages[said["thread_ts"]].get("user", "")
            where.messages[said["ts"]] = said
            self.tell(where, {key: value for key, value in said.items() if key != "metadata"})
            self.change.notify_all()
            return {"channel": where.id, "ts": said["ts"], "message": said}

    def api_chat_update(self, app, parameters):
        with self.change:
            where = self.place_of(app, parameters, posting=True)
            said = where.messages.get(parameters.get("ts") or "")
            if not said:
                raise Refusal("message_not_found")
            if said.get("bot_id") != app.bot_id:
                raise Refusal("cant_update_message")
            before = dict(said)
            said.update(text=self.written(parameters), edited={"user": app.user, "ts": self.stamp()},
                        **self.metadata_of(parameters), **self.blocks_of(parameters))
            self.changed(where, said, before)
            return {"channel": where.id, "ts": said["ts"], "text": said["text"], "message": said}

    @staticmethod
    def page(found, parameters, most):
        limit = int(parameters.get("limit") or 100)
        if not 1 <= limit <= most:
            raise Refusal("invalid_limit")
        try:
            begin = int(parameters.get("cursor") or 0)
        except ValueError:
            raise Refusal("invalid_cursor") from None
        more = begin + limit < len(found)
        return found[begin:begin + limit], more, {"next_cursor": str(begin + limit) if more else ""}

    @staticmethod
    def between(found, parameters):
        for name in ("oldest", "latest"):
            if parameters.get(name) and not re.fullmatch(r"\d{1,10}(\.\d{1,6})?", parameters[name]):
                raise Refusal(f"invalid_ts_{name}")
        oldest, latest = float(parameters.get("oldest") or 0), float(parameters.get("latest") or 1e11)
        same = str(parameters.get("inclusive", "")).lower() in ("1", "true")
        return [each for each in found if oldest < float(each["ts"]) < latest or
                (same and float(each["ts"]) in (oldest, latest))]

    @staticmethod
    def told(messages, parameters):
        whole = str(parameters.get("include_all_metadata", "")).lower() in ("1", "true")
        return [{key: value for key, value in each.items() if whole or key != "metadata"} for each in messages]

    def api_conversations_history(self, app, parameters):
        with self.change:
            where = self.place_of(app, parameters)
            found = [dict(each) for each in where.messages.values() if each.get("thread_ts", each["ts"]) == each["ts"]
                     or each.get("subtype") == "thread_broadcast"]
            for each in found:
                replies = [one for one in where.messages.values() if one.get("thread_ts") == each["ts"] != one["ts"]]
                if replies:
                    each.update(thread_ts=each["ts"], reply_count=len(replies), latest_reply=replies[-1]["ts"])
            found = sorted(self.between(found, parameters), key=lambda each: float(each["ts"]), reverse=True)
            messages, more, metadata = self.page(found, parameters, 999)
            return {"messages": self.told(messages, parameters), "has_more": more, "response_metadata": metadata}

    def api_conversations_replies(self, app, parameters):
        with self.change:
            where = self.place_of(app, parameters)
            parent = where.messages.get(parameters.get("ts") or "")
            if not parent:
                raise Refusal("thread_not_found")
            replies = sorted((dict(each) for each in where.messages.values() if each.get("thread_ts") == parent["ts"]
                              and each["ts"] != parent["ts"]), key=lambda each: float(each["ts"]))
            found = [dict(parent), *self.between(replies, parameters)]
            messages, more, metadata = self.page(found, parameters, 1000)
            return {"messages": self.told(messages, parameters), "has_more": more, "response_metadata": metadata}

    @staticmethod
    def card(where):
        card = {"id": where.id, "is_im": where.kind == "im", "is_mpim": where.kind == "mpim",
                "is_channel": where.kind == "channel", "is_group": where.kind == "group",
                "is_archived": where.archived, "is_private": where.kind != "channel"}
        return card if where.kind == "im" else {**card, "name": where.name}

    def api_conversations_info(self, app, parameters):
        with self.change:
            where = self.places.get(parameters.get("channel") or "")
            if not where or (where.kind != "channel" and app.user not in where.members):
                raise Refusal("channel_not_found")
            return {"channel": self.card(where)}

    def api_users_conversations(self, app, parameters):
        names = {"im": "im", "mpim": "mpim", "public_channel": "channel", "private_channel": "group"}
        wanted = [names.get(each) for each in (parameters.get("types") or "public_channel").split(",")]
        if None in wanted:
            raise Refusal("invalid_types")
        with self.change:
            found = [self.card(each) for each in self.places.values() if each.kind in wanted and
                     app.user in each.members and not each.archived]
            channels, _, metadata = self.page(found, parameters, 999)
            return {"channels": channels, "response_metadata": metadata}

    def api_users_info(self, _, parameters):
        with self.change:
            name = self.people.get(parameters.get("user") or "")
            if name is None:
                raise Refusal("user_not_found")
            return {"user": {"id": parameters["user"], "name": name.lower().replace(" ", "."), "real_name": name,
                             "is_bot": False, "profile": {"display_name": name, "real_name": name}}}

    def api_bots_info(self, _, parameters):
        for app in self.apps.values():
            if app.bot_id == parameters.get("bot"):
                return {"bot": {"id": app.bot_id, "app_id": app.id, "user_id": app.user, "name": app.name}}
        raise Refusal("bot_not_found")

    def api_files_getUploadURLExternal(self, _, parameters):
        length = str(parameters.get("length", ""))
        if not parameters.get("filename") or not length.isdigit() or int(length) < 1:
            raise Refusal("invalid_arguments")
        with self.change:
            card = self.new_file(parameters["filename"], int(length))
            return {"upload_url": f"{self.url.removesuffix('/api')}/upload/v1/{card['id']}", "file_id": card["id"]}

    def api_files_completeUploadExternal(self, app, parameters):
        with self.change:
            wanted = json.loads(parameters.get("files") or "[]")
            for each in wanted:
                known = self.files.get(each.get("id"))
                if not known:
                    raise Refusal("file_not_found")
                if known["content"] is None or known["places"]:
                    raise Refusal("invalid_arguments")
            if not parameters.get("channel_id"):
                return {"files": wanted}
            where = self.place_of(app, {"channel": parameters["channel_id"]}, posting=True)
            thread = parameters.get("thread_ts")
            if thread and thread not in where.messages:
                raise Refusal("thread_not_found")
            cards = []
            for each in wanted:
                known = self.files[each["id"]]
                known["places"] = [where.id]
                cards.append({"id": each["id"], "name": known["name"], "title": each.get("title", known["name"])})
            said = {"type": "message", "subtype": "file_share", "user": app.user, "bot_id": app.bot_id, "team": "T1",
                    "text": parameters.get("initial_comment", ""), "ts": self.stamp(), "files": cards,
                    **({"thread_ts": thread} if thread else {})}
            where.messages[said["ts"]] = said
            self.tell(where, said)
            return {"files": cards}

    def api_files_info(self, _, parameters):
        with self.change:
            known = self.files.get(parameters.get("file") or "")
            if not known:
                raise Refusal("file_not_found")
            kinds = {"im": "ims", "mpim": "groups", "group": "groups", "channel": "channels"}
            card = {"id": parameters["file"], "name": known["name"], "channels": [], "groups": [], "ims": []}
            for place in known["places"]:
                card[kinds[self.places[place].kind]].append(place)
            return {"file": card}

    def api_conversations_open(self, _, parameters):
        return {"channel": {"id": self.im(parameters.get("users") or "")}}


def decoded(text):
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


class Socket:
    """The server's end of one socket of an app."""

    def __init__(self, slack, app, connection, head):
        self.slack, self.app, self.connection = slack, app, connection
        self.peer = Peer(connection, head)
        self.lock = threading.Lock()  # TLS cannot be read and written at once
        self.greeted = self.ending = False

    def send(self, data):
        try:
            with self.lock:
                self.peer.send(data)
        except OSError:
            pass

    def say(self, value):
        self.send(frame(TEXT, json.dumps(value).encode()))

    def hang_up(self):
        self.ending = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def serve(self):
        slack, app = self.slack, self.app
        try:
            self.peer.accept(connection="Upgrade")  # more than this word, and Node's client refuses it
            with slack.change:
                fault, slack.socket_fault = slack.socket_fault, None
                app.sockets.append(self)
                number = len(app.sockets) + app.strangers
            if fault == "no_hello":
                return self.listen()
            if isinstance(fault, bytes):
                self.send(fault)
                return self.listen()
            if number > MOST_SOCKETS:
                self.say({"type": "disconnect", "reason": "too_many_websockets", "debug_info": {}})
                return self.hang_up()
            with slack.change:
                self.say({"type": "hello", "num_connections": number, "connection_info": {"app_id": app.id},
                          "debug_info": {"host": "applink-1", "approximate_connection_time": 18060}})
                self.greeted = True
            return self.listen()
        except (EOFError, OSError, ValueError):
            return None
        finally:
            with slack.change:
                if self in app.sockets:
                    app.sockets.remove(self)
                slack.change.notify_all()

    def listen(self):
        pinged = time.monotonic()
        while not self.ending:
            if not self.peer.buffer and not (self.slack.secure and self.connection.pending()):
                if time.monotonic() - pinged > 5 and not self.slack.deaf_to_pings:
                    pinged = time.monotonic()
                    self.send(frame(PING, b"Ping from applink-1"))
                if not select.select([self.connection], [], [], 0.02)[0]:
                    continue
            with self.lock:
                opcode, data = self.peer.read()
            if opcode == CLOSE:
                self.send(frame(CLOSE, data[:2]))
                return
            if opcode == PING and not self.slack.deaf_to_pings:
                self.send(frame(PONG, data))
            elif opcode in (TEXT, BINARY):
                self.take(json.loads(data))

    def take(self, said):
        slack = self.slack
        with slack.change:
            if set(said) - {"envelope_id", "payload"} or said.get("payload") not in (None, {}):
                slack.wrong.append(said)
            envelope = slack.open_envelopes.pop(said.get("envelope_id"), None)
            slack.acks.append((said.get("envelope_id"), time.monotonic(), bool(envelope)))
            slack.change.notify_all()


def closing(code, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


class Handler(emulator.Handler):
    slack = property(lambda self: self.emulator)

    def do_GET(self):
        address = urllib.parse.urlsplit(self.path)
        if address.path.startswith("/files-pri/"):
            return self.download(address.path)
        if address.path != "/link/":
            return self.do_POST()
        self.close_connection = True
        slack, ticket = self.slack, dict(urllib.parse.parse_qsl(address.query)).get("ticket")
        with slack.change:
            app = next((each for each in slack.apps.values() if each.tickets.pop(ticket, 0) > time.monotonic()), None)
        if not app or slack.shut or not self.headers.get("sec-websocket-key"):
            return self.give(404 if app else 408, b"", "text/plain")
        head = "GET\r\n" + "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return Socket(slack, app, self.connection, head).serve()

    def parameters(self, query):
        values = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        kind = (self.headers.get("content-type") or "").split(";")[0]
        if kind == "application/json" and body:
            return {**values, **json.loads(body)}, "json"
        if kind == "application/x-www-form-urlencoded":
            values.update(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
        elif body:
            return None, "other"
        return values, "form"

    def download(self, path):
        slack, token = self.slack, (self.headers.get("authorization") or "").removeprefix("Bearer ")
        fault = slack.take_fault("download")
        if fault and self.fails_before(fault):
            return None
        known = slack.files.get(path.split("/")[2].removeprefix("T1-"))
        if token not in slack.apps or token.startswith("xapp-"):  # whoever may not see it is asked to sign in
            return self.give(200, b"<!DOCTYPE html><html><title>Sign in to Slack</title></html>", "text/html")
        if not known or known["content"] is None or known["gone"]:
            return self.give(404, b"", "text/plain")
        return self.give(200, known["content"], "application/octet-stream")

    def upload(self, number):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        kind = self.headers.get("content-type") or ""
        if kind.startswith("multipart/form-data"):
            boundary = b"--" + kind.split("boundary=")[1].encode()
            body = body.split(boundary)[1].split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        with self.slack.change:
            fault = self.slack.take_fault("upload")
            known = self.slack.files.get(number)
            good = known and known["content"] is None and len(body) == known["length"]
            if good:
                known["content"] = body
        if fault and self.fails_before(fault):
            return None
        return self.give(200 if good else 400, b"OK - %d" % len(body) if good else b"bad", "text/plain")

    def do_POST(self):
        address = urllib.parse.urlsplit(self.path)
        if address.path.startswith("/upload/v1/"):
            return self.upload(address.path.rsplit("/", 1)[1])
        parameters, encoding = self.parameters(address.query)
        match = re.fullmatch(r"/api/([\w.]+)", address.path)
        if not match:
            return self.give(404, b"", "text/plain")
        if parameters is None:
            return self.give(200, {"ok": False, "error": "invalid_post_type"})
        method, slack = match.group(1), self.slack
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ").strip() or parameters.get("token", "")
        parameters.pop("token", None)
        if slack.hook:
            slack.hook(method, parameters)
        slack.note(method, **parameters)
        fault = slack.take_fault(method, parameters.get("channel"))
        if fault and self.fails_before(fault):
            return None
        wait = slack.spend(method, parameters)
        if wait:
            return self.give(429, {"ok": False, "error": "ratelimited"}, headers={"retry-after": wait})
        try:
            answer = {"ok": True, **slack.call(method, token, parameters, encoding)}
        except Refusal as refusal:
            answer = {"ok": False, "error": refusal.error, **refusal.more}
        return self.fails_after(fault, answer) if fault else self.give(200, answer)

    def fails_before(self, fault):
        kind, value = fault["kind"], fault["value"]
        if kind == "429":
            self.give(429, {"ok": False, "error": "ratelimited"}, headers={} if value is None else {"retry-after": value})
        elif kind == "500":
            self.give(500, b"<html><head><title>Slack</title></head><body>Server Error</body></html>", "text/html")
        elif kind == "error":
            self.give(200, {"ok": False, "error": value})
        else:
            return super().fails_before(fault)
        return True

    def fails_after(self, fault, answer, headers=None):
        if fault["kind"] == "not_ok":
            return self.give(200, {"ok": False})
        return super().fails_after(fault, answer, headers)
