#!/usr/bin/env python3
# timeout: 60
"""The Telegram channel against an emulator that others have written (npm @openclaw/crabline): messages in and out, a
topic, a length, kill -9 and what is told again after it.
"""
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


class Crabline:
    def __init__(self, folder):
        package = npm_packages.need("@openclaw/crabline")
        ready = pathlib.Path(folder, "ready.json")
        self.recorder = pathlib.Path(folder, "recorder.jsonl")
        self.process = npm_packages.start(package / "dist/src/bin/crabline.js", "--json", "serve", "telegram",
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
        assert answer["ok"], answer

    def recorded(self):
        lines = self.recorder.read_text().splitlines() if self.recorder.exists() else []
        return [json.loads(line) for line in lines]


def main():
    command = [ROOT / "build/runtime/peacrabd", "channel", "telegram"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # its recorder may still write
        crabline = Crabline(folder)
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
        print(f"crabline: {len(book.order)} messages in, {len(crabline.recorded())} calls recorded, 10 kills, none lost")


if __name__ == "__main__":
    main()
