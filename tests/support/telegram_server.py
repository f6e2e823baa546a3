#!/usr/bin/env python3
"""Telegram's Bot API as far as chats need it, with faults: what users say becomes updates, what a bot sends is checked
as strictly as Telegram does (its HTML, 4096 units of UTF-16 after parsing, offsets, one poller at a time).

    server = TelegramServer(); server.bot(TOKEN); server.group(-100, "Team")
    server.say(7, 7, "hello"); server.seen(7)        # what stands in a chat, as its people see it
    server.fault("sendMessage", "cut")               # the next one is done, and its answer never comes

As a program it prints its port, and the same by `POST /control {"do": "say", "args": [...], "options": {...}}`.
tests/channels/grammy_test.py shows that it is Telegram to the library most bots are written with.
"""
import collections
import html
import json
import re
import time
import urllib.parse

import emulator

MOST_UNITS = 4096
TAGS = {"b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "a", "blockquote", "tg-spoiler",
        "span", "tg-emoji"}
KIND = {"b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
        "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "code": "code", "pre": "pre",
        "a": "text_link", "blockquote": "blockquote", "tg-spoiler": "spoiler", "span": "spoiler",
        "tg-emoji": "custom_emoji"}
MOST_DOWN, MOST_UP, MOST_PHOTO = 20 << 20, 50 << 20, 10 << 20
CONTROLS = ("bot", "group", "know", "topic", "say", "send", "edit", "album", "seen", "calls", "fault", "unfault",
            "block", "migrate", "repeat", "polling")
START_TAG = re.compile(r"<([a-zA-Z0-9-]*)((?:\s+[a-zA-Z-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>\"']+))?)*)\s*>")


def units(text):
    return len(text.encode("utf-16-le")) // 2


class Refusal(Exception):
    def __init__(self, code, description, **parameters):
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


def bad(description):
    return Refusal(400, "Bad Request: " + description)


def parse_html(source):
    """Text and entities, or the refusal that Telegram would give."""
    def fail(why):
        raise bad("can't parse entities: " + why)

    text, entities, open_tags, at = "", [], [], 0
    while at < len(source):
        c = source[at]
        if c == "&":
            match = re.compile(r"&(lt|gt|amp|quot|#\d{1,7}|#x[0-9a-fA-F]{1,6});").match(source, at)
            text += html.unescape(match.group()) if match else c
            at += len(match.group()) if match else 1
            continue
        if c != "<":
            text += c
            at += 1
            continue
        offset = len(source[:at].encode())
        end = re.compile(r"</([^\s>]*)\s*>").match(source, at)
        if end:
            if not open_tags:
                fail(f"Unexpected end tag at byte offset {offset}")
            name, begin, extra = open_tags.pop()
            if end.group(1) and end.group(1).lower() != name:
                fail(f'Unmatched end tag at byte offset {offset}, expected "</{name}>", found "</{end.group(1)}>"')
            length = units(text) - begin
            if name == "code" and extra.get("language") and open_tags and open_tags[-1][0] == "pre":
                open_tags[-1][2].update(extra)
            elif length and not (name == "a" and not extra.get("url")):
                entities.append({"type": KIND[name], "offset": begin, "length": length, **extra})
            at = end.end()
            continue
        start = START_TAG.match(source, at)
        name = re.compile(r"<([^\s>]*)").match(source, at).group(1).lower()
        if name not in TAGS:
            fail(f'Unsupported start tag "{name}" at byte offset {offset}')
        if not start:
            fail(f'Unclosed start tag "{name}" at byte offset {offset}')
        attributes = {key.lower(): html.unescape(value.strip("\"'")) for key, value in
                      re.findall(r"([a-zA-Z-]+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>\"']+)", start.group(2))}
        extra = {}
        if name == "a":
            extra["url"] = attributes.get("href", "")
        if name == "span" and attributes.get("class") != "tg-spoiler":
            fail(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
        if name == "code" and attributes.get("class", "").startswith("language-"):
            extra["language"] = attributes["class"][len("language-"):]
        open_tags.append((name, units(text), extra))
        at = start.end()
    if open_tags:
        fail(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    return text, entities


def found_entities(text):
    """What Telegram itself finds in what a user writes."""
    entities = []
    for match in re.finditer(r"(?<!\w)(@\w{3,32}|/[a-zA-Z]\w{0,31}(?:@\w{3,32})?)", text):
        kind = "mention" if match.group().startswith("@") else "bot_command"
        entities.append({"type": kind, "offset": units(text[:match.start()]), "length": units(match.group())})
    return entities


def multipart(body, kind):
    """Fields, and files as (name, type, bytes) by their field; refused when a byte of it is out of place."""
    match = re.search(r'boundary="?([^";]+)"?$', kind)
    if not match or not body.endswith(b"\r\n--" + match.group(1).encode() + b"--\r\n"):
        raise bad("can't parse multipart")
    mark = b"--" + match.group(1).encode()
    fields, files = {}, {}
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if pieces[0] or pieces[-1] != b"--\r\n":
        raise bad("can't parse multipart")
    for piece in pieces[1:-1]:
        head, separator, data = piece[2:].partition(b"\r\n\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.decode().split("\r\n"))}
        words = re.fullmatch(r'form-data; ?name="([^"]+)"(?:; ?filename="?([^\r\n]*?)"?)?', headers.get("content-disposition", ""))
        if not piece.startswith(b"\r\n") or not separator or not words:
            raise bad("can't parse multipart")
        if words.group(2) is None:
            fields[words.group(1)] = data.decode()
        else:
            files[words.group(1)] = (words.group(2), headers.get("content-type", ""), data)
    return fields, files


class Bot:
    def __init__(self, token, username):
        self.token, self.username = token, username
        self.id = int(token.split(":")[0])
        self.updates, self.next_update, self.confirmed = [], 1000, []
        self.poll, self.poll_ended_by = 0, ""  # number of the poll that holds
        self.webhook, self.commands = "", []
        self.allowed = None
        self.handed = collections.Counter()

    def user(self):
        return {"id": self.id, "is_bot": True, "first_name": "Pea", "username": self.username}


class Chat:
    def __init__(self, number, title=None, forum=False):
        self.id, self.title, self.forum = number, title, forum
        self.messages, self.next_message = {}, 1
        self.closed, self.moved_to, self.topics, self.actions = None, None, set(), []

    def card(self):
        if self.title is None:
            return {"id": self.id, "type": "private", "first_name": f"User {self.id}"}
        card = {"id": self.id, "type": "supergroup" if self.id < -10**9 else "group", "title": self.title}
        return {**card, "is_forum": True} if self.forum else card


class TelegramServer(emulator.Emulator):
    controls = CONTROLS

    def __init__(self, port=0, tls=None, hook=None):
        super().__init__(Handler, port, tls)
        self.bots, self.chats = {}, {}
        self.hook = hook  # called with (method, parameters) before anything is done
        self.polling_now = 0
        self.files = {}  # file_id: bytes; what is None has expired
        self.queries, self.query_seconds = {}, 15.0
        self.url = self.address()
        self.serve()

    # ---- control: what people and Telegram itself do

    def bot(self, token, username="pea_bot"):
        with self.change:
            self.bots[token] = Bot(token, username)
        return self.bots[token]

    def group(self, number, title, forum=False):
        with self.change:
            self.chats[number] = Chat(number, title, forum)

    def know(self, *people):
        """People who have begun a chat with the bots, so that these may write to them."""
        with self.change:
            for number in people:
                self.chat(number)

    def topic(self, number, thread):
        with self.change:
            self.chats[number].topics.add(thread)

    def chat(self, number):
        if number not in self.chats:
            if number < 0:
                raise bad("chat not found")
            self.chats[number] = Chat(number)
        return self.chats[number]

    def say(self, chat, user, text, **extra):
        """A user writes; extra keys go into the message. Gives the message."""
        return self.send(chat, user, text=text, entities=found_entities(text) or None, **extra)

    def send(self, chat, user, **keys):
        with self.change:
            place = self.chat(chat)
            message = {"message_id": place.next_message, "date": int(time.time()), "chat": place.card()}
            message["from"] = {"id": user, "is_bot": False, "first_name": f"User {user}"}
            reply = keys.pop("reply_to", None)
            if reply:
                message["reply_to_message"] = {key: value for key, value in place.messages[reply].items()
                                               if key != "reply_to_message"}
            message.update({key: value for key, value in keys.items() if value is not None})
            place.messages[place.next_message] = message
            place.next_message += 1
            self.update("message", message)
            return message

    def album(self, chat, user, count, caption=""):
        group = f"album{time.monotonic_ns()}"
        return [self.send(chat, user, media_group_id=group, caption=caption if i == 0 else None,
                          photo=[{"file_id": f"s{i}", "width": 90, "height": 90, "file_size": 1000},
                                 {"file_id": f"l{i}", "width": 900, "height": 900, "file_size": 50_000 + i}])
                for i in range(count)]

    def file(self, data):
        """A file that a user has uploaded: its id."""
        with self.change:
            number = f"AgAC{len(self.files)}_x-"
            self.files[number] = data
            return number

    def document(self, chat, user, data, name="a.txt", mime="text/plain", **extra):
        size = {} if data is None else {"file_size": len(data)}
        return self.send(chat, user, document={"file_id": self.file(data), "file_unique_id": "u", "file_name": name,
                                               "mime_type": mime, **size}, **extra)

    def photo(self, chat, user, data, **extra):
        """As Telegram does it: in several sizes, the largest last."""
        sizes = [{"file_id": self.file(data[:40]), "file_unique_id": "s", "width": 90, "height": 90, "file_size": 40},
                 {"file_id": self.file(data), "file_unique_id": "l", "width": 900, "height": 900, "file_size": len(data)}]
        return self.send(chat, user, photo=sizes, **extra)

    def received(self, chat):
        """The files a bot has sent there: (method's kind, name, bytes)."""
        with self.change:
            place = self.chats.get(chat)
            return [message["sent_file"] for message in place.messages.values() if "sent_file" in message] if place else []

    def edit(self, chat, message, text):
        with self.change:
            said = self.chats[chat].messages[message]
            said.update(text=text, edit_date=int(time.time()), entities=found_entities(text))
            self.update("edited_message", dict(said))

    def press(self, chat, user, card, label, **extra):
        """A button below a bot's message; of one that is not there any more, by its data. Gives the query."""
        with self.change:
            said = self.chats[chat].messages[card]
            rows = said.get("reply_markup", {}).get("inline_keyboard", [])
            data = next((one["callback_data"] for row in rows for one in row if one["text"] == label), label)
            query = {"id": str(time.monotonic_ns()), "from": {"id": user, "is_bot": False, "first_name": f"User {user}"},
                     "message": {key: value for key, value in said.items() if key != "at"}, "chat_instance": "1",
                     "data": data, **extra}
            self.queries[query["id"]] = {"at": time.monotonic(), "answered": 0}
            self.update("callback_query", query)
            return query

    def update(self, kind, value, token=None):
        """The same update for every bot, or for one. With `change` held."""
        for bot in self.bots.values():
            if token in (None, bot.token) and (bot.allowed is None or kind in bot.allowed):
                bot.updates.append({"update_id": bot.next_update, kind: json.loads(json.dumps(value))})
                bot.next_update += 1
        self.change.notify_all()

    def raw(self, update):
        """An update as it stands, in each bot's queue."""
        with self.change:
            for bot in self.bots.values():
                bot.updates.append({"update_id": bot.next_update, **update})
                bot.next_update += 1
            self.change.notify_all()

    def repeat(self, token):
        """Everything the bot has confirmed is handed out once more."""
        with self.change:
            bot = self.bots[token]
            bot.updates = bot.confirmed + bot.updates
            bot.confirmed = []
            self.change.notify_all()

    def block(self, chat, description="Forbidden: bot was blocked by the user"):
        with self.change:
            self.chat(chat).closed = description

    def migrate(self, chat, to):
        with self.change:
            old = self.chats[chat]
            self.chats[to] = Chat(to, old.title)
            old.moved_to = to

    def fault(self, method, kind, times=1, chat=None, value=None):
        """429, 502, 500, 401, 404, 409, not_ok, cut_before: nothing is done. cut, truncated, empty, stall: it is done,
        and the answer does not come (whole). stalled_before: neither. `value`: retry_after; seconds of a stall."""
        self.plan(method, kind, times, chat, value)

    def seen(self, chat, thread=None):
        """The bot's messages in it, as they stand."""
        with self.change:
            place = self.chats.get(chat)
            return [message["text"] for message in place.messages.values() if message["from"]["is_bot"] and "text" in message and
                    thread in (None, message.get("message_thread_id"))] if place else []

    def polling(self):
        with self.change:
            return self.polling_now

    # ---- the Bot API

    def call(self, token, method, parameters):
        bot = self.bots.get(token)
        if not bot:
            raise Refusal(401, "Unauthorized")
        handler = getattr(self, "api_" + method, None)
        if not handler:
            raise Refusal(404, "Not Found: method not found")
        return handler(bot, parameters)

    def api_getMe(self, bot, _):
        return {**bot.user(), "can_join_groups": True, "can_read_all_group_messages": False,
                "supports_inline_queries": False}

    def api_deleteWebhook(self, bot, parameters):
        with self.change:
            bot.webhook = ""
            if parameters.get("drop_pending_updates"):
                bot.updates = []
        return True

    def api_setWebhook(self, bot, parameters):
        with self.change:
            bot.webhook = parameters.get("url", "")
            bot.poll, bot.poll_ended_by = bot.poll + 1, "setWebhook"
            self.change.notify_all()
        return True

    def api_setMyCommands(self, bot, parameters):
        commands = listed(parameters.get("commands"))
        for command in commands:
            if not re.fullmatch(r"[a-z0-9_]{1,32}", command["command"]) or not 1 <= len(command["description"]) <= 256:
                raise bad("BOT_COMMAND_INVALID")
        bot.commands = commands
        return True

    def api_getMyCommands(self, bot, _):
        return bot.commands

    def api_getUpdates(self, bot, parameters):
        limit = min(max(int(parameters.get("limit") or 100), 1), 100)
        seconds = min(max(int(parameters.get("timeout") or 0), 0), 50)
        offset = int(parameters.get("offset") or 0)
        allowed = listed(parameters.get("allowed_updates"))
        with self.change:
            if bot.webhook:
                raise Refusal(409, "Conflict: can't use getUpdates method while webhook is active; use "
                                   "deleteWebhook to delete the webhook first")
            if allowed:
                bot.allowed = allowed
            bot.poll, bot.poll_ended_by = bot.poll + 1, "other getUpdates"
            mine = bot.poll
            self.change.notify_all()
            if offset > 0:
                bot.confirmed += [update for update in bot.updates if update["update_id"] < offset]
                bot.updates = [update for update in bot.updates if update["update_id"] >= offset]
            elif offset < 0:
                bot.updates = bot.updates[offset:]
            deadline = time.monotonic() + seconds
            self.polling_now += 1
            try:
                while not bot.updates and bot.poll == mine and not self.closing and time.monotonic() < deadline:
                    self.change.wait(min(deadline - time.monotonic(), 0.2))
            finally:
                self.polling_now -= 1
            if bot.poll != mine:
                raise Refusal(409, f"Conflict: terminated by {bot.poll_ended_by} request; make sure that only one bot "
                                   "instance is running")
            for update in bot.updates[:limit]:
                bot.handed[update["update_id"]] += 1
            return bot.updates[:limit]

    def place_of(self, parameters):
        place = self.chats.get(int(parameters.get("chat_id", 0)))
        if not place:
            raise bad("chat not found")
        if place.moved_to:
            raise Refusal(400, "Bad Request: group chat was upgraded to a supergroup chat",
                          migrate_to_chat_id=place.moved_to)
        if place.closed:
            raise Refusal(403, place.closed)
        return place

    @staticmethod
    def written(parameters):
        text, entities = str(parameters.get("text", "")), []
        mode = parameters.get("parse_mode")
        if mode and mode.lower() == "html":
            text, entities = parse_html(text)
        elif mode:
            raise bad("unsupported parse_mode")
        before = len(text) - len(text.lstrip())
        text = text.strip()
        if not text:
            raise bad("message text is empty")
        if units(text) > MOST_UNITS:
            raise bad("message is too long")
        shifted = [{**entity, "offset": max(entity["offset"] - before, 0)} for entity in entities]
        return text, sorted(shifted, key=lambda entity: (entity["offset"], -entity["length"]))

    @staticmethod
    def keyboard(parameters):
        """Its inline keyboard; an edit without one takes away what there was."""
        markup = parameters.get("reply_markup")
        markup = json.loads(markup) if isinstance(markup, str) else markup
        rows = (markup or {}).get("inline_keyboard", [])
        for button in [button for row in rows for button in row]:
            if not button.get("text"):
                raise bad("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
            if not 1 <= len(button.get("callback_data", "").encode()) <= 64:
                raise bad("BUTTON_DATA_INVALID")
        if any(not 1 <= len(row) <= 8 for row in rows) or sum(len(row) for row in rows) > 100:
            raise bad("BUTTON_COUNT_INVALID")
        return {"reply_markup": {"inline_keyboard": rows}} if rows else {}

    def api_answerCallbackQuery(self, _, parameters):
        with self.change:
            query = self.queries.get(str(parameters.get("callback_query_id")))
            if not query or time.monotonic() - query["at"] > self.query_seconds:
                raise bad("query is too old and response timeout expired or query ID is invalid")
            query["answered"] += 1
            self.change.notify_all()
        return True

    def api_sendMessage(self, bot, parameters):
        with self.change:
            place = self.place_of(parameters)
            thread = parameters.get("message_thread_id")
            if thread is not None and (not place.forum or int(thread) not in place.topics):
                raise bad("message thread not found")
            text, entities = self.written(parameters)
            message = {"message_id": place.next_message, "from": bot.user(), "chat": place.card(),
                       "date": int(time.time()), "text": text, "entities": entities, "at": time.monotonic(), **self.keyboard(parameters)}
            reply = parameters.get("reply_parameters") or {}
            reply = json.loads(reply) if isinstance(reply, str) else reply
            if reply.get("message_id") in place.messages:
                message["reply_to_message"] = {"message_id": reply["message_id"]}
            elif reply and not reply.get("allow_sending_without_reply"):
                raise bad("message to be replied not found")
            if thread is not None:
                message.update(message_thread_id=int(thread), is_topic_message=True)
            place.messages[place.next_message] = message
            place.next_message += 1
            self.change.notify_all()
            return message

    def api_getFile(self, _, parameters):
        with self.change:
            number = str(parameters.get("file_id", ""))
            if number not in self.files:
                raise bad("wrong file_id or the file is temporarily unavailable")
            data = self.files[number]
            if data is not None and len(data) > MOST_DOWN:
                raise bad("file is too big")
            card = {"file_id": number, "file_unique_id": "u", "file_path": f"documents/file_{list(self.files).index(number)}.bin"}
            return {**card, "file_size": len(data)} if data is not None else card

    def send_file(self, bot, parameters, kind, most=MOST_UP):
        with self.change:
            place = self.place_of(parameters)
            thread = parameters.get("message_thread_id")
            if thread is not None and (not place.forum or int(thread) not in place.topics):
                raise bad("message thread not found")
            given = parameters.get("files", {})
            field = str(parameters.get(kind, ""))
            file = given.get(field[len("attach://"):]) if field.startswith("attach://") else given.get(kind)
            if file is None:
                raise bad(f"there is no {kind} in the request")
            name, mime, data = file
            if not data:
                raise bad("file must be non-empty")
            if len(data) > most:
                raise Refusal(413, "Request Entity Too Large") if most == MOST_UP else bad("file is too big for a photo")
            if kind == "photo" and not data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
                raise bad("IMAGE_PROCESS_FAILED")
            if kind == "photo" and data.startswith(b"\x89PNG") and data[16:20] != data[20:24]:
                raise bad("PHOTO_INVALID_DIMENSIONS")  # of a real one: a ratio of more than 20
            card = {"file_id": self.file(data), "file_unique_id": "u", "file_size": len(data)}
            message = {"message_id": place.next_message, "from": bot.user(), "chat": place.card(), "date": int(time.time()),
                       kind: [{**card, "width": 9, "height": 9}] if kind == "photo" else {**card, "file_name": name},
                       "sent_file": (kind, name, data)}
            if thread is not None:
                message.update(message_thread_id=int(thread), is_topic_message=True)
            place.messages[place.next_message] = message
            place.next_message += 1
            self.change.notify_all()
            return {key: value for key, value in message.items() if key != "sent_file"}

    def api_sendDocument(self, bot, parameters):
        return self.send_file(bot, parameters, "document")

    def api_sendPhoto(self, bot, parameters):
        return self.send_file(bot, parameters, "photo", MOST_PHOTO)

    def api_sendVoice(self, bot, parameters):
        return self.send_file(bot, parameters, "voice")

    def api_sendAudio(self, bot, parameters):
        return self.send_file(bot, parameters, "audio")

    def api_sendVideo(self, bot, parameters):
        return self.send_file(bot, parameters, "video")

    def api_editMessageText(self, bot, parameters):
        with self.change:
            place = self.place_of(parameters)
            message = place.messages.get(int(parameters.get("message_id") or 0))
            if not message:
                raise bad("message to edit not found")
            if message["from"]["id"] != bot.id:
                raise bad("message can't be edited")
            text, entities = self.written(parameters)
            keyboard = self.keyboard(parameters)
            if (text, entities, keyboard.get("reply_markup")) == (message["text"], message["entities"], message.get("reply_markup")):
                raise bad("message is not modified: specified new message content and reply markup are exactly the "
                          "same as a current content and reply markup of the message")
            message.pop("reply_markup", None)
            message.update(text=text, entities=entities, edit_date=int(time.time()), **keyboard)
            return message

    def api_sendChatAction(self, bot, parameters):
        with self.change:
            self.place_of(parameters).actions.append((time.monotonic(), parameters.get("action")))
        return True


def listed(value):
    if isinstance(value, str):
        value = json.loads(value)
    return value or []


class Handler(emulator.Handler):
    telegram = property(lambda self: self.emulator)

    def parameters(self, query):
        values = dict(urllib.parse.parse_qsl(query))
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        kind = (self.headers.get("content-type") or "").split(";")[0]
        if kind == "multipart/form-data":
            fields, files = multipart(body, self.headers["content-type"])
            values.update(fields, files=files)
        if kind == "application/json" and body:
            values.update(json.loads(body))
        elif kind == "application/x-www-form-urlencoded":
            values.update(dict(urllib.parse.parse_qsl(body.decode())))
        return values

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        address = urllib.parse.urlsplit(self.path)
        try:
            parameters = self.parameters(address.query)
        except Refusal as refusal:
            return self.give(400, {"ok": False, "error_code": 400, "description": refusal.description})
        if address.path.startswith("/file/"):
            return self.download(address.path)
        if address.path == "/control":
            return self.control(parameters)
        match = re.fullmatch(r"/bot([^/]+)/(\w+)", address.path)
        if not match:
            return self.give(404, {"ok": False, "error_code": 404, "description": "Not Found"})
        token, method = match.groups()
        telegram = self.telegram
        if telegram.hook:
            telegram.hook(method, parameters)
        telegram.note(method, port=self.client_address[1], **{key: parameters.get(key) for key in (
            "chat_id", "text", "offset", "timeout", "parse_mode", "message_id")})
        fault = telegram.take_fault(method, parameters.get("chat_id"))
        if fault and self.fails_before(fault):
            return None
        try:
            answer = {"ok": True, "result": telegram.call(token, method, parameters)}
            status = 200
        except Refusal as refusal:
            status = refusal.code
            answer = {"ok": False, "error_code": refusal.code, "description": refusal.description}
            if refusal.parameters:
                answer["parameters"] = refusal.parameters
        if fault:
            return self.fails_after(fault, answer)
        return self.give(status, answer)

    def download(self, path):
        match = re.fullmatch(r"/file/bot([^/]+)/documents/file_(\d+)\.bin", path)
        telegram = self.telegram
        if not match or match.group(1) not in telegram.bots:
            return self.give(404, {"ok": False, "error_code": 404, "description": "Not Found"})
        telegram.note("download")
        with telegram.change:
            data = list(telegram.files.values())[int(match.group(2))]
        if data is None:
            return self.give(404, {"ok": False, "error_code": 404, "description": "Not Found"})
        fault = telegram.take_fault("download")
        if fault and self.fails_before(fault):
            return None
        if not fault:
            return self.give(200, data, "application/octet-stream")
        self.give_half(data)
        return self.hang_up() if fault["kind"] == "half" else self.stall(fault["value"])

    def fails_before(self, fault):
        kind, value = fault["kind"], fault["value"]
        words = {"401": "Unauthorized", "404": "Not Found", "500": "Internal Server Error",
                 "403": "Forbidden: bot was blocked by the user",
                 "409": "Conflict: terminated by other getUpdates request; make sure that only one bot instance is "
                        "running"}
        if kind == "429":
            answer = {"ok": False, "error_code": 429, "description": "Too Many Requests: retry after"}
            if value is not None:
                answer["parameters"] = {"retry_after": value}
            self.give(429, answer)
        elif kind in words:
            self.give(int(kind), {"ok": False, "error_code": int(kind), "description": words[kind]})
        elif kind == "unparsable":
            self.give(400, {"ok": False, "error_code": 400,
                            "description": "Bad Request: can't parse entities: Unsupported start tag \"x\""})
        elif kind == "not_ok":
            self.give(200, {"ok": False})
        else:
            return super().fails_before(fault)
        return True


if __name__ == "__main__":
    emulator.main(TelegramServer)
