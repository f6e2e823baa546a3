#!/usr/bin/env python3
"""Discord as far as chats need it, with faults: REST and the gateway (v10). What users say becomes events of each
session, which a RESUME hands out again; what a bot sends is checked as strictly as Discord does (2000 units, nonces,
rate limits with their headers, IDENTIFY once in five seconds, payloads of 4096 bytes, close codes).

    server = DiscordServer(); server.bot(TOKEN); server.guild(1, "Team", {10: "general"})
    server.say(server.direct(7), 7, "hello"); server.seen(server.direct(7))
    server.fault("post", "cut")        # the next one is done, and its answer never comes
    server.close_gateway(4009)         # of all connections that are let in

As a program it prints its port, and the same by `POST /control {"do": "say", "args": [...], "options": {...}}`.
tests/channels/discord_js_test.py shows that it is Discord to the library most bots are written with.
"""
import collections
import datetime
import email
import email.policy
import json
import re
import secrets
import select
import time
import urllib.parse

import emulator
from telegram_server import units
from websocket_peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame

MOST_UNITS = 2000
EPOCH_MS = 1420070400000
GUILDS, GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT = 1, 1 << 9, 1 << 12, 1 << 15
ALL_INTENTS = (1 << 22) - 1
THREADS = (10, 11, 12)
CONTROLS = ("bot", "guild", "direct", "thread", "say", "send", "edit", "delete", "seen", "calls", "fault", "unfault",
            "forbid", "remove", "drop", "close_gateway", "op", "dispatch", "gateway_fault", "until_ready")
RATES = {"post": (5, 5.0), "edit": (5, 5.0), "typing": (5, 5.0), "messages": (10, 5.0)}  # of a channel


class Refusal(Exception):
    def __init__(self, status, code, message, **more):
        super().__init__(message)
        self.status, self.body = status, {"message": message, "code": code, **more}


def form(field, why, code="BASE_TYPE_BAD"):
    return Refusal(400, 50035, "Invalid Form Body", errors={field: {"_errors": [{"code": code, "message": why}]}})


class Bot:
    def __init__(self, token, number, name, privileged):
        self.token, self.id, self.name, self.privileged = token, str(number), name, privileged
        self.sessions, self.nonces = {}, {}
        self.identified, self.starts_left, self.resumed = [], 1000, 0
        self.revoked = False

    def user(self):
        return {"id": self.id, "username": self.name, "discriminator": "0001", "avatar": None, "bot": True,
                "global_name": None}


class Channel:
    def __init__(self, number, guild=None, name="", kind=0, parent=None, people=()):
        self.id, self.guild, self.name, self.kind, self.parent = str(number), guild, name, kind, parent
        self.people, self.messages, self.last = people, {}, None
        self.forbidden, self.typed = None, []

    def card(self):
        card = {"id": self.id, "type": self.kind, "last_message_id": self.last, "flags": 0}
        if self.kind == 1:
            return {**card, "recipients": [person(number) for number in self.people]}
        card.update(guild_id=self.guild.id, name=self.name, position=0, permission_overwrites=[], nsfw=False,
                    parent_id=self.parent, rate_limit_per_user=0)
        if self.kind in THREADS:
            card.update(owner_id="1", message_count=0, member_count=1, thread_metadata={
                "archived": False, "auto_archive_duration": 1440, "archive_timestamp": stamp(), "locked": False})
        return card


class Guild:
    def __init__(self, number, name):
        self.id, self.name, self.channels = str(number), name, {}

    def card(self, bot):
        of = [channel.card() for channel in self.channels.values()]
        return {"id": self.id, "name": self.name, "owner_id": "1", "icon": None, "splash": None, "features": [],
                "roles": [{"id": self.id, "name": "@everyone", "permissions": "104324673", "position": 0, "color": 0,
                           "hoist": False, "managed": False, "mentionable": False, "flags": 0}],
                "emojis": [], "stickers": [], "verification_level": 0, "default_message_notifications": 0,
                "explicit_content_filter": 0, "mfa_level": 0, "afk_timeout": 300, "premium_tier": 0, "nsfw_level": 0,
                "preferred_locale": "en-US", "system_channel_flags": 0, "joined_at": stamp(), "large": False,
                "unavailable": False, "member_count": 2, "voice_states": [], "presences": [], "stage_instances": [],
                "guild_scheduled_events": [], "soundboard_sounds": [], "region": "deprecated",
                "channels": [card for card in of if card["type"] not in THREADS],
                "threads": [card for card in of if card["type"] in THREADS],
                "members": [{"user": bot.user(), "roles": [], "joined_at": stamp(), "deaf": False, "mute": False,
                             "flags": 0}]}


class Session:
    """Its events are kept until it is forgotten: a RESUME hands out what comes after a number."""

    def __init__(self, bot, intents):
        self.id, self.bot, self.intents = secrets.token_hex(16), bot, intents
        self.sent, self.connection, self.left = [], None, None

    def add(self, kind, data):
        payload = {"t": kind, "s": len(self.sent) + 1, "op": 0, "d": json.loads(json.dumps(data))}
        self.sent.append(payload)
        if self.connection:
            self.connection.say(payload)


def stamp(at=None):
    moment = datetime.datetime.fromtimestamp(at or time.time(), datetime.timezone.utc)
    return moment.isoformat(timespec="microseconds")


def without(message, key):
    return {name: value for name, value in message.items() if name != key}


def person(number, **more):
    return {"id": str(number), "username": f"user{number}", "global_name": f"User {number}", "discriminator": "0",
            "avatar": None, **more}


class DiscordServer(emulator.Emulator):
    call_key, controls = "route", CONTROLS

    def __init__(self, port=0, tls=None, heartbeat=41.25, identify_seconds=5.0):
        super().__init__(Handler, port, tls)
        self.bots, self.guilds, self.channels = {}, {}, {}
        self.heartbeat, self.identify_seconds, self.session_seconds = heartbeat, identify_seconds, 300
        self.nonce_seconds, self.interactions = 300, {}
        self.gateway_faults, self.answers_beats, self.connections = [], True, set()
        self.windows, self.exceeded, self.count, self.beats = {}, [], 0, []
        self.closed_with = []  # codes of ours
        self.files, self.addresses = {}, {}
        self.url, self.gateway = self.address() + "/api/v10", self.address("ws")
        self.serve()

    # ---- control: what people and Discord itself do

    def bot(self, token, number=None, name="pea", privileged=MESSAGE_CONTENT):
        with self.change:
            self.bots[token] = Bot(token, number or 4242, name, privileged)
        return self.bots[token]

    def guild(self, number, name, channels=()):
        """`channels`: {id: name}."""
        with self.change:
            guild = self.guilds[str(number)] = Guild(number, name)
            for key, title in dict(channels).items():
                self.channels[str(key)] = guild.channels[str(key)] = Channel(key, guild, title)

    def direct(self, user, bot=None):
        """The id of the direct chat of a person with the bot."""
        with self.change:
            bot = bot or next(iter(self.bots.values()))
            number = str(9_000_000_000 + int(bot.id) * 100_000 + int(user))
            if number not in self.channels:
                self.channels[number] = Channel(number, kind=1, people=(user,))
                self.channels[number].bot = bot
            return number

    def thread(self, number, parent, name):
        with self.change:
            guild = self.channels[str(parent)].guild
            thread = Channel(number, guild, name, 11, str(parent))
            self.channels[str(number)] = guild.channels[str(number)] = thread
            self.tell("THREAD_CREATE", {**thread.card(), "newly_created": True}, thread, GUILDS)

    def snowflake(self):
        self.count += 1
        return str((int(time.time() * 1000) - EPOCH_MS) << 22 | self.count & 0x3fffff)

    def say(self, channel, user, text, **extra):
        """A user writes; extra keys go into the message. Gives the message."""
        return self.send(channel, person(user), content=text, **extra)

    def send(self, channel, writer, content="", reply_to=None, **keys):
        with self.change:
            place = self.channels[str(channel)]
            message = self.message(place, writer, content)
            if reply_to:
                original = place.messages[str(reply_to)]
                message.update(type=19, message_reference={"type": 0, "message_id": original["id"],
                                                           "channel_id": place.id},
                               referenced_message=without(original, "referenced_message"))
                message["mentions"].append(original["author"])
            message.update(keys)
            return self.add(place, message)

    def message(self, place, author, content):
        named = []
        for number in dict.fromkeys(re.findall(r"<@!?(\d+)>", content)):
            bot = next((bot for bot in self.bots.values() if bot.id == number), None)
            named.append(bot.user() if bot else person(number))
        return {"id": self.snowflake(), "type": 0, "channel_id": place.id, "author": author, "content": content,
                "timestamp": stamp(), "edited_timestamp": None, "tts": False, "mention_everyone": False,
                "mentions": named, "mention_roles": re.findall(r"<@&(\d+)>", content), "attachments": [],
                "embeds": [], "pinned": False, "flags": 0, "components": []}

    def add(self, place, message):
        place.messages[message["id"]] = message
        place.last = message["id"]
        self.tell("MESSAGE_CREATE", message, place)
        self.change.notify_all()
        return message

    def attach(self, name, data, mime="application/octet-stream", **more):
        """An attachment for send(): what stands at its address, which is good once more each time it is asked for."""
        with self.change:
            number = self.snowflake()
            self.files[number] = data
            return {"id": number, "filename": name, "size": len(data), "content_type": mime, "proxy_url": "",
                    "url": self.address_of(number), **more}

    def address_of(self, number):
        self.addresses[number] = secrets.token_hex(8)
        return f"{self.url.removesuffix('/api/v10')}/attachments/{number}?ex={self.addresses[number]}"

    def edit(self, channel, message, text):
        with self.change:
            place = self.channels[str(channel)]
            said = place.messages[str(message)]
            said.update(content=text, edited_timestamp=stamp())
            self.tell("MESSAGE_UPDATE", said, place)

    def press(self, channel, user, card, label, **extra):
        """Somebody presses a button; also of one that is not there any more, by its custom_id. Gives the interaction."""
        with self.change:
            place, bot = self.channels[str(channel)], next(iter(self.bots.values()))
            said = place.messages[str(card)]
            found = [button for row in said["components"] for button in row["components"] if button["label"] == label]
            number = self.snowflake()
            who = {"user": person(user)} if place.kind == 1 else {
                "member": {"user": person(user), "roles": [], "joined_at": stamp(), "deaf": False, "mute": False,
                           "flags": 0, "permissions": "0"}, "guild_id": place.guild.id}
            made = {"id": number, "application_id": bot.id, "type": 3, "token": secrets.token_urlsafe(60), "version": 1,
                    "channel_id": place.id, "channel": place.card(), "message": dict(said), "locale": "en-US",
                    "app_permissions": "0", "entitlements": [], "authorizing_integration_owners": {}, "context": 1,
                    "attachment_size_limit": 10 << 20, **who,
                    "data": {"component_type": 2, "id": 2, "custom_id": found[0]["custom_id"] if found else label}, **extra}
            self.interactions[number] = {"of": made, "bot": bot, "at": time.monotonic(), "answer": None}
            for session in bot.sessions.values():  # whatever they have asked for
                session.add("INTERACTION_CREATE", made)
            return made

    def delete(self, channel, message):
        with self.change:
            place = self.channels[str(channel)]
            del place.messages[str(message)]
            self.tell("MESSAGE_DELETE", {"id": str(message), "channel_id": place.id}, place)

    def tell(self, kind, data, place, intent=None):
        """To each session that has asked for it. With `change` held."""
        intent = intent or (GUILD_MESSAGES if place.guild else DIRECT_MESSAGES)
        for bot in self.bots.values():
            for session in list(bot.sessions.values()):
                if not session.intents & intent or (place.kind == 1 and place.bot is not bot):
                    continue
                data = {**data, "channel_type": place.kind} if kind.startswith("MESSAGE_") else dict(data)
                if kind.startswith("MESSAGE_") and place.guild:
                    data["guild_id"] = place.guild.id
                    if "author" in data and not data.get("webhook_id"):
                        data["member"] = {"roles": [], "joined_at": stamp(), "deaf": False, "mute": False, "flags": 0,
                                          **data.get("member", {})}
                    mine = data.get("author", {}).get("id") == bot.id
                    named = any(user["id"] == bot.id for user in data.get("mentions", []))
                    if not session.intents & MESSAGE_CONTENT and not mine and not named:
                        data.update(content="", embeds=[], attachments=[], components=[])
                session.add(kind, data)

    def fault(self, route, kind, times=1, channel=None, value=None):
        """429, 429 global, 502, 500, 401: nothing is done; `refused`: value is (status, code, message). cut, truncated,
        empty, half, stall: it is done, and the answer does not come (whole). cut_before, stalled_before: neither.
        Routes: me, gateway, post, edit, typing, messages. `value` else: retry_after; seconds of a stall."""
        self.plan(route, kind, times, channel, value)

    def unfault(self):
        with self.change:
            self.gateway_faults = []
        super().unfault()

    def forbid(self, channel, status=403, code=50001, message="Missing Access"):
        with self.change:
            self.channels[str(channel)].forbidden = (status, code, message)

    def remove(self, channel):
        with self.change:
            place = self.channels.pop(str(channel))
            if place.guild:
                place.guild.channels.pop(str(channel))

    def seen(self, channel):
        """The bots' messages in it, as they stand."""
        with self.change:
            place, ours = self.channels.get(str(channel)), {bot.id for bot in self.bots.values()}
            return [message["content"] for message in place.messages.values() if message["author"]["id"] in ours
                    ] if place else []

    def connected(self):
        with self.change:
            return [session for bot in self.bots.values() for session in bot.sessions.values() if session.connection]

    def until_ready(self, seconds=10):
        self.until(self.connected, seconds, "a session")

    # ---- control of the gateway

    def drop(self):
        """Every connection, without a word."""
        with self.change:
            for connection in self.connections:
                connection.end = True

    def close_gateway(self, code, reason=""):
        with self.change:
            for connection in self.connections:
                connection.close(code, reason)

    def op(self, number, data=None):
        """To all connections; an op 9 with false ends their sessions."""
        with self.change:
            for connection in list(self.connections):
                if number == 9 and not data and connection.session:
                    connection.forget()
                connection.say({"op": number, "d": data, "s": None, "t": None})

    def dispatch(self, kind, data):
        """As it stands, to all sessions."""
        with self.change:
            for bot in self.bots.values():
                for session in bot.sessions.values():
                    session.add(kind, data)

    def raw(self, data):
        with self.change:
            for connection in self.connections:
                connection.out.append(data)

    def gateway_fault(self, kind, times=1, value=None):
        """refuse (503), silent (no hello), identify: or resume: and one of drop, invalid, or a close code."""
        with self.change:
            self.gateway_faults.append({"kind": kind, "times": times, "value": value})

    def take_gateway_fault(self, kind):
        with self.change:
            for fault in self.gateway_faults:
                if fault["kind"].split(":")[0] == kind:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self.gateway_faults.remove(fault)
                    return fault["kind"].partition(":")[2] or kind
        return None

    # ---- REST

    def rate(self, route, channel):
        """Its headers; a Refusal when there were too many."""
        count, seconds = RATES.get(route, (50, 1.0))
        now = time.monotonic()
        window = self.windows.get((route, channel))
        if not window or window[1] <= now:
            window = self.windows[route, channel] = [0, now + seconds]
        window[0] += 1
        left = max(window[1] - now, 0)
        headers = {"x-ratelimit-limit": str(count), "x-ratelimit-remaining": str(max(count - window[0], 0)),
                   "x-ratelimit-reset": f"{time.time() + left:.3f}", "x-ratelimit-reset-after": f"{left:.3f}",
                   "x-ratelimit-bucket": f"{route}bucket"}
        if window[0] > count:
            self.exceeded.append((route, channel))
            refusal = Refusal(429, 0, "You are being rate limited.", retry_after=round(left, 3))
            refusal.body["global"] = False
            refusal.headers = {**headers, "retry-after": str(int(left) + 1), "x-ratelimit-scope": "user"}
            raise refusal
        return headers

    def place(self, number):
        place = self.channels.get(number)
        if not place:
            raise Refusal(404, 10003, "Unknown Channel")
        if place.forbidden:
            raise Refusal(*place.forbidden)
        return place

    @staticmethod
    def checked(body, editing, files=()):
        if not isinstance(body, dict):
            raise form("_", "A dictionary is needed")
        content = body.get("content", "" if files else None)
        if not isinstance(content, str):
            raise form("content", "This field is required") if not editing else form("content", "Must be string")
        if units(content.strip()) > MOST_UNITS:
            raise form("content", "Must be 2000 or fewer in length.", "BASE_TYPE_MAX_LENGTH")
        if not content.strip() and not files:
            raise Refusal(400, 50006, "Cannot send an empty message")
        mentions = body.get("allowed_mentions", {})
        if not isinstance(mentions, dict) or set(mentions.get("parse", [])) - {"users", "roles", "everyone"}:
            raise form("allowed_mentions", "Value is not valid")
        return content.strip()

    @staticmethod
    def components(body):
        """Rows of at most five buttons, as strict as Discord is."""
        rows, ids = body.get("components", []), []
        if not isinstance(rows, list) or len(rows) > 5:
            raise form("components", "Must be 5 or fewer in length.")
        for row in rows:
            buttons = row.get("components") if row.get("type") == 1 else None
            if not isinstance(buttons, list) or not 1 <= len(buttons) <= 5:
                raise form("components", "Must be between 1 and 5 in length.")
            for button in buttons:
                if button.get("type") != 2 or button.get("style") not in (1, 2, 3, 4):
                    raise form("components", "Value must be one of {2}.")
                if not 1 <= units(button.get("label", "")) <= 80 or not 1 <= len(button.get("custom_id", "")) <= 100:
                    raise form("components", "Must be between 1 and 100 in length.")
                ids.append(button["custom_id"])
        if len(ids) != len(set(ids)):
            raise form("components", "Component custom id cannot be duplicated", "COMPONENT_CUSTOM_ID_DUPLICATED")
        return rows

    def rest_interaction(self, _bot, _channel, body, _query, interaction, token):
        asked = self.interactions.get(interaction)
        if not asked or asked["of"]["token"] != token or (time.monotonic() - asked["at"] > 3 and not asked["answer"]):
            raise Refusal(404, 10062, "Unknown interaction")
        if asked["answer"]:
            raise Refusal(400, 40060, "Interaction has already been acknowledged.")
        if body.get("type") not in (6, 7):
            raise form("type", "Value must be one of {6, 7}.")
        asked["answer"] = body["type"]
        if body["type"] == 7:
            self.change_message(self.place(asked["of"]["channel_id"]), asked["of"]["message"]["id"], body["data"])
        self.change.notify_all()

    def rest_me(self, bot, _channel, _body, _query):
        return bot.user()

    def rest_gateway(self, bot, _channel, _body, _query):
        return {"url": self.gateway, "shards": 1,
                "session_start_limit": {"total": 1000, "remaining": bot.starts_left, "reset_after": 3000,
                                        "max_concurrency": 1}}

    def rest_post(self, bot, channel, body, _query):
        files = body.pop("files", [])
        if sum(len(data) for _, _, data in files) > 10 << 20:
            raise Refusal(413, 40005, "Request entity too large")
        content = self.checked(body, False, files)
        place = self.place(channel)
        nonce = body.get("nonce")
        if nonce is not None and len(str(nonce)) > 25:
            raise form("nonce", "Must be 25 or fewer in length.")
        now = time.monotonic()
        if nonce is not None and body.get("enforce_nonce"):
            bot.nonces = {key: value for key, value in bot.nonces.items() if value[1] + self.nonce_seconds > now}
            if (channel, str(nonce)) in bot.nonces:
                return bot.nonces[channel, str(nonce)][0]
        message = self.message(place, bot.user(), content)
        message["attachments"] = [self.attach(name, data, mime) for name, mime, data in files]
        if not isinstance(body.get("flags", 0), int) or body.get("flags", 0) & ~(1 << 2 | 1 << 12):
            raise form("flags", "Value is not valid")
        message["flags"] = body.get("flags", 0)
        message["components"] = self.components(body)
        if "parse" in body.get("allowed_mentions", {}) and "users" not in body["allowed_mentions"]["parse"]:
            message["mentions"] = []
        reference = body.get("message_reference")
        if reference:
            original = place.messages.get(str(reference.get("message_id")))
            if not original and reference.get("fail_if_not_exists", True):
                raise form("message_reference", "Unknown message", "REPLIES_UNKNOWN_MESSAGE")
            if original:
                message.update(type=19, message_reference={"type": 0, "channel_id": channel,
                                                           "message_id": original["id"]},
                               referenced_message=without(original, "referenced_message"))
        if nonce is not None:
            message["nonce"] = nonce
            bot.nonces[channel, str(nonce)] = (message, now)
        return self.add(place, message)

    def rest_edit(self, bot, channel, body, _query, message):
        place = self.place(channel)
        said = place.messages.get(message)
        if not said:
            raise Refusal(404, 10008, "Unknown Message")
        if said["author"]["id"] != bot.id:
            raise Refusal(403, 50005, "Cannot edit a message authored by another user")
        return self.change_message(place, message, body)

    def change_message(self, place, message, body):
        said = place.messages[message]
        said.update(content=self.checked({"content": said["content"], **body}, True), edited_timestamp=stamp())
        if "components" in body:  # else they stay
            said["components"] = self.components(body)
        self.tell("MESSAGE_UPDATE", said, place)
        self.change.notify_all()
        return said

    def rest_message(self, _bot, channel, _body, _query, message):
        said = self.place(channel).messages.get(message)
        if not said:
            raise Refusal(404, 10008, "Unknown Message")
        for file in said["attachments"]:
            if file["id"] in self.files:
                file["url"] = self.address_of(file["id"])
        return said

    def rest_typing(self, _bot, channel, _body, _query):
        self.place(channel).typed.append(time.monotonic())
        return None

    def rest_messages(self, bot, channel, _body, query):
        place = self.place(channel)
        limit = int(query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise form("limit", "Value must be between 1 and 100")
        found = sorted(place.messages.values(), key=lambda message: int(message["id"]))
        if "after" in query:  # those that follow it, the newest first all the same
            found = [message for message in found if int(message["id"]) > int(query["after"])][:limit]
        else:
            found = found[-limit:]
        return [without(message, "nonce") for message in reversed(found)]

    def rest_direct(self, bot, _channel, body, _query):
        return self.channels[self.direct(body["recipient_id"], bot)].card()

    def rest_channel(self, _bot, channel, _body, _query):
        return self.place(channel).card()


ROUTES = [(method, re.compile("/api/v10" + path + "$"), name) for method, path, name in (
    ("GET", "/users/@me", "me"), ("GET", "/gateway/bot", "gateway"), ("POST", "/users/@me/channels", "direct"),
    ("POST", r"/channels/(?P<channel>\d+)/messages", "post"), ("GET", r"/channels/(?P<channel>\d+)/messages", "messages"),
    ("PATCH", r"/channels/(?P<channel>\d+)/messages/(?P<message>\d+)", "edit"),
    ("GET", r"/channels/(?P<channel>\d+)/messages/(?P<message>\d+)", "message"),
    ("POST", r"/interactions/(?P<interaction>\d+)/(?P<token>[^/]+)/callback", "interaction"),
    ("POST", r"/channels/(?P<channel>\d+)/typing", "typing"), ("GET", r"/channels/(?P<channel>\d+)", "channel"))]


class Handler(emulator.Handler):
    discord = property(lambda self: self.emulator)

    def do_GET(self):
        if (self.headers.get("upgrade") or "").lower() == "websocket":
            return Gateway(self).serve()
        return self.answer("GET")

    def do_POST(self):
        return self.answer("POST")

    def do_PATCH(self):
        return self.answer("PATCH")

    def answer(self, method):
        address = urllib.parse.urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-type", "").startswith("multipart/form-data"):
            body = self.form(text)
        else:
            body = json.loads(text) if text else {}
        attachment = re.match(r"/attachments/(\d+)$", address.path)
        if attachment:
            return self.attachment(attachment.group(1), address.query)
        if address.path == "/control":
            return self.control(body)
        for wanted, pattern, route in ROUTES:
            match = pattern.match(address.path)
            if match and wanted == method:
                return self.route(route, match.groupdict(), body, dict(urllib.parse.parse_qsl(address.query)))
        return self.give(404, {"message": "404: Not Found", "code": 0})

    def form(self, text):
        """What payload_json says, with `files`: (name, type, bytes) each."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        body, files = {}, []
        for part in email.message_from_bytes(head + text, policy=email.policy.HTTP).iter_parts():
            name = part["content-disposition"].params.get("name")
            if name == "payload_json":
                body = json.loads(part.get_payload(decode=True))
            elif re.match(r"files\[\d+\]$", name or ""):
                files.append((part.get_filename(), part.get_content_type(), part.get_payload(decode=True)))
        return {**body, "files": files}

    def attachment(self, number, query):
        discord = self.discord
        with discord.change:
            good = query == f"ex={discord.addresses.get(number)}"
            data = discord.files.get(number) if good else None
            fault = discord.take_fault("file")
        assert "authorization" not in self.headers, "the token is for the API alone"
        if fault:
            return self.fails_after(fault, data, {})
        return self.give(200, data) if data is not None else self.give(404, b"This content is no longer available.",
                                                                        "text/plain")

    def route(self, route, where, body, query):
        discord, channel, headers = self.discord, where.pop("channel", None), {}
        with discord.change:
            discord.note(route, channel=channel, body=dict(body), **query, port=self.client_address[1])
            fault = discord.take_fault(route, channel)
            if fault and self.is_before(fault):
                discord.change.notify_all()
            else:
                try:
                    bot = self.authorised() if route != "interaction" else None  # its token says who it is
                    headers = discord.rate(route, channel)
                    result = getattr(discord, "rest_" + route)(bot, channel, body, query, **where)
                    status, answer = (200, result) if result is not None else (204, b"")
                    answer = json.loads(json.dumps(answer)) if result is not None else b""
                except Refusal as refusal:
                    status, answer = refusal.status, refusal.body
                    headers = getattr(refusal, "headers", headers)
        if fault and self.is_before(fault):
            return self.fails_before(fault)
        if fault:
            return self.fails_after(fault, answer, headers)
        return self.give(status, answer, headers=headers)

    def authorised(self):
        kind, _, token = (self.headers.get("authorization") or "").partition(" ")
        bot = self.discord.bots.get(token)
        if kind != "Bot" or not bot or bot.revoked:
            raise Refusal(401, 0, "401: Unauthorized")
        if not re.match(r"DiscordBot \(\S+, \S+\)", self.headers.get("user-agent") or ""):
            raise Refusal(403, 40333, "internal network error")
        if self.command != "GET" and int(self.headers.get("content-length") or 0) and \
                self.headers.get("content-type", "").split(";")[0] not in ("application/json", "multipart/form-data"):
            raise Refusal(400, 50035, "Expected \"Content-Type\" header to be one of {'application/json'}.")
        return bot

    @staticmethod
    def is_before(fault):
        return fault["kind"] in ("429", "429 global", "500", "502", "504", "401", "refused", "raw", "cut_before",
                                 "stalled_before")

    def fails_before(self, fault):
        kind, value = fault["kind"], fault["value"]
        if kind.startswith("429"):
            answer = {"message": "You are being rate limited.", "global": kind.endswith("global"), "code": 0}
            headers = {"x-ratelimit-scope": "global" if answer["global"] else "user"}
            if value is not None:
                answer["retry_after"] = value
            if answer["global"]:
                headers["x-ratelimit-global"] = "true"
            return self.give(429, answer, headers=headers)
        if kind == "500":
            return self.give(500, {"message": "500: Internal Server Error", "code": 0})
        if kind == "401":
            return self.give(401, {"message": "401: Unauthorized", "code": 0})
        if kind == "refused":
            return self.give(value[0], {"message": value[2], "code": value[1]})
        return super().fails_before(fault)


class Gateway:
    """One connection. It alone reads and writes its socket; what is to be said waits in `out`."""

    def __init__(self, handler):
        self.handler, self.discord = handler, handler.discord
        self.out, self.end, self.closing_at = collections.deque(), False, None
        self.session, self.beat, self.said = None, time.monotonic(), collections.deque(maxlen=120)

    def say(self, payload):
        self.out.append(frame(TEXT, json.dumps(payload).encode()))

    def close(self, code, reason=""):
        self.out.append(frame(CLOSE, code.to_bytes(2, "big") + reason.encode()))
        self.discord.closed_with.append(code)
        self.closing_at = time.monotonic() + 1
        self.detach()
        if code in (4003, 4007, 4009):
            self.forget()

    def detach(self):
        if self.session and self.session.connection is self:
            self.session.connection, self.session.left = None, time.monotonic()

    def forget(self):
        if self.session:
            self.session.bot.sessions.pop(self.session.id, None)
            self.session = None

    def serve(self):
        discord, handler = self.discord, self.handler
        address = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        if discord.take_gateway_fault("refuse"):
            return handler.give(503, b"no healthy upstream", "text/plain")
        if query.get("v") != "10" or query.get("encoding") != "json" or "compress" in query:
            return handler.give(400, b"v, encoding", "text/plain")
        head = "GET / HTTP/1.1\r\n" + "\r\n".join(f"{key}: {value}" for key, value in handler.headers.items())
        handler.close_connection = True
        peer = Peer(handler.connection, head)
        peer.accept()
        if not discord.take_gateway_fault("silent"):
            self.say({"op": 10, "d": {"heartbeat_interval": int(discord.heartbeat * 1000), "_trace": []}, "s": None,
                      "t": None})
        with discord.change:
            discord.connections.add(self)
        try:
            self.loop(peer)
        except (EOFError, OSError, AssertionError):
            pass
        finally:
            with discord.change:
                discord.connections.discard(self)
                self.detach()
                discord.change.notify_all()
            handler.hang_up()
        return None

    def loop(self, peer):
        """Reads when there is something, writes in between: Python's TLS does not both at once."""
        connection = peer.connection
        began = time.monotonic()
        while not self.end and not self.discord.closing:
            while self.out:
                peer.send(self.out.popleft())
            now = time.monotonic()
            if self.closing_at and now > self.closing_at:
                return
            with self.discord.change:
                if not self.closing_at and now - self.beat > self.discord.heartbeat * 1.5 + 2:
                    self.close(4009 if self.session else 4003, "Session timed out")
                if not self.closing_at and not self.session and now - began > 15:
                    self.close(4003, "Not authenticated")
            pending = getattr(connection, "pending", lambda: 0)()
            if not peer.buffer and not pending and not select.select([connection], [], [], 0.01)[0]:
                continue
            opcode, data = peer.read()
            if opcode == CLOSE:
                code = int.from_bytes(data[:2], "big") if data else 1005
                with self.discord.change:
                    if code in (1000, 1001) and not self.closing_at:  # who leaves so does not come back
                        self.forget()
                if not self.closing_at:
                    peer.send(frame(CLOSE, data[:2]))
                return
            if opcode == PING:
                peer.send(frame(PONG, data))
            if self.closing_at or opcode not in (TEXT, BINARY):
                continue
            with self.discord.change:
                self.take(opcode, data)

    def take(self, opcode, data):
        discord = self.discord
        self.said.append(time.monotonic())
        if len(self.said) == 120 and self.said[-1] - self.said[0] < 60:
            return self.close(4008, "Rate limited.")
        try:
            payload = json.loads(data)
        except ValueError:
            payload = None
        if opcode != TEXT or len(data) > 4096 or not isinstance(payload, dict):
            return self.close(4002, "Error while decoding payload.")
        number, content = payload.get("op"), payload.get("d")
        if number == 1:
            self.beat = time.monotonic()
            discord.beats.append(content)
            if discord.answers_beats:
                self.say({"op": 11, "d": None, "s": None, "t": None})
            return None
        if number in (2, 6):
            if self.session:
                return self.close(4005, "Already authenticated.")
            return self.identify(content) if number == 2 else self.resume(content)
        if not self.session:
            return self.close(4003, "Not authenticated.")
        if number not in (3, 4, 8):
            return self.close(4001, "Unknown opcode.")
        return None

    def known(self, token):
        bot = self.discord.bots.get(token)
        return bot if bot and not bot.revoked else None

    def invalid(self):
        self.say({"op": 9, "d": False, "s": None, "t": None})

    def identify(self, content):
        discord = self.discord
        bot, intents = self.known(content.get("token")), content.get("intents")
        fault = discord.take_gateway_fault("identify")
        if not bot:
            return self.close(4004, "Authentication failed.")
        if fault == "drop":
            self.end = True
            return None
        if fault and fault.isdigit():
            return self.close(int(fault), "fault")
        if not isinstance(intents, int) or not 0 <= intents <= ALL_INTENTS:
            return self.close(4013, "Invalid intent(s).")
        if intents & (MESSAGE_CONTENT | 1 << 1 | 1 << 8) & ~bot.privileged:
            return self.close(4014, "Disallowed intent(s).")
        properties = content.get("properties") or {}
        if not all(isinstance(properties.get(key), str) for key in ("os", "browser", "device")):
            return self.close(4002, "Error while decoding payload.")
        now = time.monotonic()
        soon = any(now - at < discord.identify_seconds for at in bot.identified[-1:])
        bot.identified.append(now)
        if soon or fault == "invalid":
            return self.invalid()
        if bot.starts_left <= 0:
            bot.revoked = True  # as Discord does with who asks and asks
            return self.close(4004, "Authentication failed.")
        bot.starts_left -= 1
        self.session = Session(bot, intents)
        self.session.connection = self
        bot.sessions[self.session.id] = self.session
        guilds = [{"id": guild.id, "unavailable": True} for guild in discord.guilds.values()]
        self.session.add("READY", {"v": 10, "user": bot.user(), "guilds": guilds, "session_id": self.session.id,
                                   "resume_gateway_url": discord.gateway + "/resume", "private_channels": [],
                                   "session_type": "normal", "application": {"id": bot.id, "flags": 1 << 19}})
        if intents & GUILDS:
            for guild in discord.guilds.values():
                self.session.add("GUILD_CREATE", guild.card(bot))
        discord.change.notify_all()
        return None

    def resume(self, content):
        discord = self.discord
        bot = self.known(content.get("token"))
        if not bot:
            return self.close(4004, "Authentication failed.")
        fault = discord.take_gateway_fault("resume")
        if fault == "drop":
            self.end = True
            return None
        if fault and fault.isdigit():
            return self.close(int(fault), "fault")
        session = bot.sessions.get(content.get("session_id"))
        old = session and session.left and time.monotonic() - session.left > discord.session_seconds
        if not session or old or fault == "invalid":
            return self.invalid()
        if not isinstance(content.get("seq"), int) or content["seq"] > len(session.sent):
            return self.close(4007, "Invalid seq.")
        if session.connection:
            session.connection.end = True
        self.session, session.connection = session, self
        bot.resumed += 1
        for payload in session.sent[content["seq"]:]:
            self.say(payload)
        session.add("RESUMED", {"_trace": []})
        discord.change.notify_all()
        return None


if __name__ == "__main__":
    emulator.main(DiscordServer)
