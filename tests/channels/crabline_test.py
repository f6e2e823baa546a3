#!/usr/bin/env python3
# timeout: 120
"""The channels of Telegram and Discord against emulators that others have written (npm @openclaw/crabline): messages in
and out, a topic or a thread, a length, kill -9 and what is told again after it.
"""
import hashlib
import json
import pathlib
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import npm_packages  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402

FORUM = -1001234567890
BOT, TEAM, GENERAL = "135000000000000001", "135000000000000011", "135000000000000010"
THREAD, ADA = "135000000000000077", "135000000000000007"
# Of Ada with the bot: crabline makes it of both their numbers.
DIRECT = str(10**17 + int(hashlib.sha256(f"{BOT}:{ADA}".encode()).hexdigest()[:16], 16) % (9 * 10**17))


class Crabline:
    def __init__(self, kind, folder):
        package = npm_packages.need("@openclaw/crabline")
        ready = pathlib.Path(folder, kind + ".json")
        self.recorder = pathlib.Path(folder, kind + ".jsonl")
        self.process = npm_packages.start(package / "dist/src/bin/crabline.js", "--json", "serve", kind,
                                          "--ready-file", str(ready), "--recorder", str(self.recorder), HOME=folder)
        for _ in range(400):
            if ready.exists() and ready.read_text().endswith("}\n"):
                break
            time.sleep(0.05)
        manifest = json.loads(ready.read_text())
        self.recorder = pathlib.Path(manifest.get("recorderPath") or self.recorder)
        self.url, self.token = manifest["endpoints"]["apiRoot"], manifest["botToken"]
        self.inbound, self.admin = manifest["endpoints"]["adminInboundUrl"], manifest["adminToken"]

    def say(self, **keys):
        request = urllib.request.Request(self.inbound, json.dumps(keys).encode(),
                                         {"content-type": "application/json", "x-crabline-admin-token": self.admin})
        answer = json.load(urllib.request.urlopen(request, timeout=5))
        assert answer.get("ok", True), answer

    def recorded(self):
        lines = self.recorder.read_text().splitlines() if self.recorder.exists() else []
        return [json.loads(line) for line in lines]


def telegram():
    command = [ROOT / "build/runtime/peacrabd", "channel", "telegram"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # its recorder may still write
        crabline = Crabline("telegram", folder)
        book = Book()

        def start():
            warden = ScriptedWarden(command, book, {"api": crabline.url}, {"token": crabline.token},
                                    {"PATH": "/usr/bin:/bin"})
            warden.until(lambda: warden.hello, 10, "hello")
            return warden

        warden = start()
        crabline.say(chatId=100000001, fromId=100000001, text="first \U0001f980")
        crabline.say(chatId=100000001, fromId=100000001, text="second")
        crabline.say(chatId=FORUM, chatType="supergroup", isForum=True, fromId=5, text="in the group")
        warden.until(lambda: len(book.order) == 3, 10, "three messages")
        event = book.events[book.order[0]]
        assert (event["text"], event["scope"], event["sender"]) == ("first \U0001f980", "direct", "100000001"), event
        assert book.events[book.order[2]]["scope"] == "group"

        for text in ("plain", "**bold** & <b>", "\U0001f980" * 2048, "word " * 1500):
            sent, failed = warden.deliver(f"d{text[:3]}", 100000001, text, seconds=15)
            assert sent and not failed, (text[:20], failed)
        sent, _ = warden.deliver("p", FORUM, "placeholder")
        _, failed = warden.deliver("e", FORUM, "final", platform=sent[0]["platform"])
        assert not failed, failed
        warden.say("typing", conversation="100000001", on=True)
        warden.run(0.3)
        warden.say("typing", conversation="100000001", on=False)
        said = json.dumps(crabline.recorded())
        for wanted in ("sendMessage", "editMessageText", "sendChatAction", "deleteWebhook", "setMyCommands"):
            assert wanted in said, f"{wanted} was not called: {said[-2000:]}"

        for round_number in range(10):
            crabline.say(chatId=7, fromId=7, text=f"round {round_number}")
            warden.run(0.005 * round_number)
            warden.kill()
            warden = start()
        warden.until(lambda: len(book.order) == 13, 10, "all of them")
        warden.run(0.3)
        wanted = [f"round {number}" for number in range(10)]
        assert book.texts()[3:] == wanted, book.texts()
        assert warden.stop() == 0
        crabline.process.terminate()
        print(f"crabline, Telegram: {len(book.order)} messages in, {len(crabline.recorded())} calls recorded, 10 kills, none lost")


def discord():
    command = [ROOT / "build/runtime/peacrabd", "channel", "discord"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        crabline = Crabline("discord", folder)
        book = Book()

        def start():
            warden = ScriptedWarden(command, book, {"api": crabline.url + "/v10"}, {"token": crabline.token},
                                    {"PATH": "/usr/bin:/bin"})
            warden.until(lambda: warden.hello, 15, "hello")
            return warden

        warden = start()
        warden.until(lambda: book.cursor and "session" in book.cursor, 10, "a session")
        crabline.say(channelId=DIRECT, senderId=ADA, content="first \U0001f980")
        crabline.say(channelId=DIRECT, senderId=ADA, content="second")
        crabline.say(channelId=GENERAL, guildId=TEAM, senderId=ADA, content=f"<@{BOT}> in the channel")
        crabline.say(channelId=THREAD, guildId=TEAM, parentChannelId=GENERAL, senderId=ADA, content="in a thread")
        warden.until(lambda: len(book.order) == 4, 10, "four messages")
        event = book.events[book.order[0]]
        assert (event["text"], event["scope"], event["sender"]) == ("first \U0001f980", "direct", ADA), event
        event = book.events[book.order[2]]
        assert (event["text"], event["scope"], event["addressed"]) == ("in the channel", "group", True), event
        assert book.events[book.order[3]]["addressed"] is False

        for text in ("plain", "**bold** & <b>", "\U0001f980" * 1000, "word " * 700):
            sent, failed = warden.deliver(f"d{text[:3]}", DIRECT, text, seconds=15)
            assert sent and not failed, (text[:20], failed)
        sent, _ = warden.deliver("p", THREAD, "placeholder", reply_to=book.order[3])
        _, failed = warden.deliver("e", THREAD, "final", platform=sent[0]["platform"])
        assert not failed, failed
        assert warden.deliver("n", "135000000000000999", "nowhere")[1]["class"] == "gone"
        warden.say("typing", conversation=DIRECT, on=True)
        warden.run(0.3)
        said = json.dumps(crabline.recorded())
        for wanted in (f"/channels/{DIRECT}/messages", f"/channels/{THREAD}/messages/", f"/channels/{DIRECT}/typing",
                       "enforce_nonce", "intents"):
            assert wanted in said, f"{wanted} was not called: {said[-2000:]}"

        # It goes on with a session, but never tells again what was missed: so without one, and what was missed is asked for.
        for round_number in range(5):
            crabline.say(channelId=DIRECT, senderId=ADA, content=f"round {round_number}")
            warden.run(0.005 * round_number)
            warden.kill()
            crabline.say(channelId=GENERAL, guildId=TEAM, senderId=ADA, content=f"away {round_number}")
            book.cursor = json.dumps({**json.loads(book.cursor), "session": ""})
            warden = start()
        warden.until(lambda: len(book.order) == 14, 20, "all of them")
        warden.run(0.3)
        for where in ("round", "away"):
            got = [text for text in book.texts() if text.startswith(where)]
            assert got == [f"{where} {number}" for number in range(5)], book.texts()
        assert warden.stop() == 0
        crabline.process.terminate()
        print(f"crabline, Discord: {len(book.order)} messages in, {len(crabline.recorded())} calls recorded, 5 kills, none "
              "lost")


def main():
    telegram()
    discord()


if __name__ == "__main__":
    main()
