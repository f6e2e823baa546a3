#!/usr/bin/env python3
# timeout: 60
"""The WhatsApp channel and the relay before it, against an emulator that others have written (npm @openclaw/crabline):
messages in and out, a length, a sign of life, kill -9 and what is told again after it."""
import json
import pathlib
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import npm_packages  # noqa: E402
from relay import Relay  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402

COMMAND = [ROOT / "build/runtime/peacrabd", "channel", "whatsapp"]
ANN = "491700000001"


def crabline(folder):
    package = npm_packages.need("@openclaw/crabline")
    ready = pathlib.Path(folder, "ready.json")
    process = npm_packages.start(package / "dist/src/bin/crabline.js", "--json", "serve", "whatsapp", "--ready-file", str(ready),
                                 "--recorder", str(pathlib.Path(folder, "recorder.jsonl")), HOME=folder)
    for _ in range(400):
        if ready.exists() and ready.read_text().endswith("}\n"):
            break
        time.sleep(0.05)
    manifest = json.loads(ready.read_text())
    relay, book = Relay(folder, {"whatsapp": {"scheme": "whatsapp"}}).start(), Book()
    settings = {"phone": manifest["phoneNumberId"], "api": manifest["endpoints"]["apiRoot"], "relay": f"127.0.0.1:{relay.local}", "pace": "50"}

    def say(text):
        request = urllib.request.Request(manifest["endpoints"]["adminInboundUrl"], json.dumps(
            {"chatJid": f"{ANN}@s.whatsapp.net", "senderJid": f"{ANN}@s.whatsapp.net", "text": text, "pushName": "Ann"}).encode(),
            {"content-type": "application/json", "x-crabline-admin-token": manifest["adminToken"]})
        answer = json.load(urllib.request.urlopen(request, timeout=5))
        relay.post_until_taken("whatsapp", json.dumps(answer["webhook"]).encode())

    def start():
        warden = ScriptedWarden(COMMAND, book, settings, {"token": manifest["accessToken"], "relay": relay.token()}, {"PATH": "/usr/bin:/bin"})
        warden.until(lambda: warden.hello, 10, "hello")
        return warden

    warden = start()
    say("first \U0001f980")
    say("second")
    warden.until(lambda: len(book.order) == 2, 10, "two messages")
    event = book.events[book.order[0]]
    assert (event["text"], event["scope"], event["sender"], event["name"]) == ("first \U0001f980", "direct", ANN, "Ann"), event
    for text in ("plain", "**bold** & <b>", "\U0001f980" * 2500, "word " * 1500):
        sent, failed = warden.deliver("d" + text[:3], ANN, text, seconds=15)
        assert sent and not failed, (text[:20], failed)
    warden.say("typing", conversation=ANN, on=True)
    warden.run(0.5)
    recorded = pathlib.Path(manifest.get("recorderPath") or pathlib.Path(folder, "recorder.jsonl")).read_text()
    assert "typing_indicator" in recorded and '"accepted":false' not in recorded.replace(" ", ""), recorded[-1500:]
    for number in range(8):
        say(f"round {number}")
        warden.run(0.01 * number)
        warden.kill()
        if number % 3 == 0:
            relay.stop()
            relay.start()
        warden = start()
    warden.until(lambda: len(book.order) == 10, 10, "all of them")
    assert book.texts()[2:] == [f"round {number}" for number in range(8)], book.texts()
    assert warden.stop() == 0
    relay.stop()
    process.terminate()
    print(f"crabline: {len(book.order)} messages in, 8 kills, none lost")


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # its recorder may still write
        crabline(folder)
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
