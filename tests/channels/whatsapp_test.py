#!/usr/bin/env python3
# timeout: 120
# timeout-full: 400
"""The WhatsApp channel and the relay before it, against an emulator that fails (tests/support/whatsapp_server.py): what
was lost, cut, refused, told twice or said too late."""
import base64
import functools
import json
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from cases import case, run_cases  # noqa: E402
from relay import SECRET, Relay  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402
from whatsapp_server import WhatsApp  # noqa: E402

COMMAND = [ROOT / "build/runtime/peacrabd", "channel", "whatsapp"]
ANN, BOB = "491700000001", "491700000002"


def in_folder(function):
    @functools.wraps(function)
    def run():
        with tempfile.TemporaryDirectory() as folder:
            function(folder)
    return case(run)


class Rig:
    def __init__(self, folder, **settings):
        self.relay = Relay(folder, {"whatsapp": {"scheme": "whatsapp"}}).start()
        self.server = WhatsApp(f"http://127.0.0.1:{self.relay.listen}/whatsapp", SECRET)
        self.book = Book()
        self.settings = {"phone": self.server.phone, "api": self.server.url, "relay": f"127.0.0.1:{self.relay.local}",
                         "pace": "50", "settle": "3", **settings}
        self.warden = None

    def start(self, stores=True, token=None):
        self.warden = ScriptedWarden(COMMAND, self.book, self.settings, {"token": token or self.server.token, "relay": self.relay.token()},
                                     {"PATH": "/usr/bin:/bin"}, stores)
        return self.warden

    def ready(self, **more):
        warden = self.start(**more)
        warden.until(lambda: warden.hello, 10, "hello")
        return warden

    def end(self):
        assert self.warden.stop() == 0
        self.relay.stop()


@in_folder
def receives(folder):
    rig = Rig(folder)
    server, book = rig.server, rig.book
    for text in ("one", "two"):  # nobody is there: the relay keeps it
        server.say(ANN, text)
    warden = rig.ready()
    assert warden.hello["name"] == "+1 555-000-1111" and warden.hello["limits"]["edits"] == 0, warden.hello
    warden.until(lambda: book.texts() == ["one", "two"], 10, "what came before")
    same = server.message(ANN, {"type": "text", "text": {"body": "three"}})
    server.post_hook(same)
    server.post_hook(same)
    server.post_hook({**same, "x": 1})  # the same message, in a webhook that differs
    contents = [{"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "a", "title": "Yes"}}},
                {"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "a", "title": "Row"}}},
                {"type": "button", "button": {"payload": "p", "text": "Quick"}},
                {"type": "location", "location": {"latitude": 52.5, "longitude": 13, "name": "Home\nEvil"}},
                {"type": "contacts", "contacts": [{"name": {"formatted_name": "Eve"}, "phones": [{"phone": "+1"}]}]},
                {"type": "unsupported", "errors": [{"code": 131051}]}]
    for content in contents:
        server.post_hook(server.message(BOB, content, name="B" * 900))
    for ignored in ({"type": "reaction", "reaction": {"message_id": "x", "emoji": "x"}}, {"type": "system", "system": {}},
                    {"type": "text", "text": {"body": "x"}, "group_id": "g"}):
        server.post_hook(server.message(BOB, ignored))
    server.post_hook({**server.message(BOB, {"type": "text", "text": {"body": "of another number"}}),
                      "metadata": {"phone_number_id": "999", "display_phone_number": "9"}})
    for odd in ([], {"entry": 3}, {"entry": [{"changes": [{"value": 1}]}]}, {"entry": [{"changes": [None]}]}, "x", 7, None):
        rig.relay.post("whatsapp", odd)
    rig.relay.post("whatsapp", b"\xff\xfe not json")
    rig.relay.post("whatsapp", b"[" * 5000)
    quote = server.say(ANN, "quoting", context={"from": server.business, "id": "wamid.Q1"})
    warden.until(lambda: quote in book.events, 10, "the last")
    assert book.texts()[2:] == ["three", "Yes", "Row", "Quick", "[a place: 52.500000, 13.000000, Home Evil]", "[a contact: Eve, +1]",
                                "[a message of a kind that WhatsApp does not pass on]", "quoting"], book.texts()
    assert book.events[quote]["reply_to"] == {"id": "wamid.Q1", "own": True}, book.events[quote]
    many = {"contacts": [], "messages": [{"from": BOB, "id": f"wamid.M{n}", "timestamp": "1", "type": "text", "text": {"body": f"m{n}"}}
                                         for n in range(250)]}
    before = len(book.order)
    server.post_hook(many)
    warden.until(lambda: len(book.order) == before + 250, 10, "many in one")
    rig.end()


@in_folder
def buttons(folder):
    """Up to three below a short text; a press tells which message it was on. What cannot have them goes as it is."""
    rig = Rig(folder)
    server, book, warden = rig.server, rig.book, rig.ready()
    assert warden.hello["limits"]["buttons"] == 3, warden.hello
    choices = [{"label": "Allow", "value": "a" * 48}, {"label": "Deny", "value": "d" * 48}]
    sent, _ = warden.deliver("1", ANN, "May he?\n/allow ab12 or /deny ab12", choices=choices)
    card = server.sent[-1]
    assert card["id"] == sent[0]["platform"] and card["interactive"]["body"]["text"].startswith("May he?"), card
    pressed = server.press(ANN, card, "Allow")
    warden.until(lambda: pressed in book.events, 10, "the press")
    event = {key: value for key, value in book.events[pressed].items() if key != "at"}
    assert event == {"key": pressed, "kind": "press", "conversation": ANN, "scope": "direct", "id": card["id"], "sender": ANN,
                     "name": "Ann", "value": "a" * 48}, event
    warden.say("typing", conversation=ANN, on=True)
    warden.until(lambda: server.marked, 10, "the press is what was heard last")
    assert server.marked[-1]["message_id"] == pressed, server.marked

    long = [{"label": "the same long words at the beginning, then " + word, "value": word} for word in ("one", "two")]
    warden.deliver("2", ANN, "Which?", choices=long)
    titles = [one["reply"]["title"] for one in server.sent[-1]["interactive"]["action"]["buttons"]]
    assert titles == ["1. the same long wor", "2. the same long wor"], titles
    warden.deliver("3", ANN, "x" * 1025, choices=choices)
    warden.deliver("4", ANN, "Which?", choices=choices * 2)
    assert [one["type"] for one in server.sent[-2:]] == ["text", "text"], server.sent[-2:]
    said = server.message(ANN, {"type": "interactive", "context": {"from": server.business, "id": card["id"]},
                                "interactive": {"type": "button_reply", "button_reply": {"id": "of a template", "title": "Yes"}}})
    server.post_hook(said)
    warden.until(lambda: said["messages"][0]["id"] in book.events, 10, "what is not ours")
    assert book.events[said["messages"][0]["id"]]["text"] == "Yes", "is said"
    rig.end()


@in_folder
def killed_in_the_middle_of_a_webhook(folder):
    """One that takes several batches: what was not stored of it is told again."""
    rig = Rig(folder)
    rig.server.post_hook({"messages": [{"from": BOB, "id": f"wamid.M{n}", "timestamp": "1", "type": "text",
                                        "text": {"body": f"m{n}"}} for n in range(250)]})
    warden = rig.ready()
    warden.until(lambda: rig.book.order, 10, "a batch")
    warden.kill()
    stored = len(rig.book.order)
    assert stored < 250, "it was killed in the middle"
    warden = rig.ready()
    warden.until(lambda: len(rig.book.order) == 250, 10, "the rest")
    assert rig.book.texts() == [f"m{n}" for n in range(250)]
    rig.end()


@in_folder
def killed_while_storing(folder):
    rig = Rig(folder)
    for number in range(10):
        rig.server.say(ANN, f"n{number}")
        warden = rig.ready(stores=number % 2 == 1)  # killed before it is stored, and after
        warden.until(lambda: warden.held or f"n{number}" in rig.book.texts(), 10, "it arrives")
        warden.kill()
    warden = rig.ready()
    warden.until(lambda: len(rig.book.order) == 10, 10, "all")
    assert rig.book.texts() == [f"n{number}" for number in range(10)], rig.book.texts()
    # A spool that was lost: numbers begin anew, and nothing is passed over.
    warden.kill()
    rig.relay.stop()
    for path in (rig.relay.folder / "state/peacrab/relay").iterdir():
        path.unlink()
    rig.relay.start()
    rig.server.say(ANN, "after")
    warden = rig.ready()
    warden.until(lambda: rig.book.texts()[-1] == "after", 10, "what came to a new spool")
    # The relay goes away and comes again: said once.
    rig.relay.stop()
    warden.until(lambda: warden.of("trouble"), 20, "trouble")
    warden.run(2)
    assert len(warden.of("trouble")) == 1 and "peacrab relay" in warden.of("trouble")[0]["text"], warden.of("trouble")
    sent, failed = warden.deliver("while", ANN, "while it is away")
    assert sent and not failed, failed
    rig.relay.start()
    rig.server.say(ANN, "again")
    warden.until(lambda: rig.book.texts()[-1] == "again", 40, "it is asked again")
    rig.end()


@in_folder
def sends(folder):
    rig = Rig(folder)
    server, warden = rig.server, rig.ready()
    heard = server.say(ANN, "hi")
    warden.until(lambda: heard in rig.book.events, 10, "hi")
    warden.say("typing", conversation=ANN, on=True)
    warden.until(lambda: server.marked, 5, "typing")
    assert server.marked[0] == {"messaging_product": "whatsapp", "status": "read", "message_id": heard, "typing_indicator": {"type": "text"}}
    sent, failed = warden.deliver("a", ANN, "**b** _i_ [x](https://e.example)", reply_to=heard)
    assert not failed and server.texts(ANN) == ["*b* _i_ x (https://e.example)"], server.texts(ANN)
    assert server.sent[0]["context"] == {"message_id": heard} and server.sent[0]["id"] == sent[0]["platform"]
    long = "word " * 2000 + "end"
    sent, failed = warden.deliver("b", BOB, long, seconds=20)
    assert not failed and len(sent) == 3 and " ".join(server.texts(BOB)).split() == long.split(), (failed, len(sent))
    for code, kind in ((131056, "throttled"), (130429, "throttled"), (131047, "permanent"), (131026, "gone"), (131000, "unknown"),
                       (131016, "transient"), (100, "permanent"), (1, "unknown"), (4, "throttled"), ("html", "unknown"),
                       ("garbage", "unknown"), ("cut", "unknown"), ("refuse", "unknown")):
        server.faults.append(code)
        _, failed = warden.deliver(f"f{code}", "4917199" + str(abs(hash(str(code))) % 10 ** 6).zfill(6), "x")
        assert failed and failed["class"] == kind, (code, failed)
        assert kind != "throttled" or failed["retry_ms"] >= 5_000, failed
        if code == 131047:
            assert "24 hours" in failed["error"] and "template" in failed["error"], failed
        assert server.token not in json.dumps(failed)
    _, failed = warden.deliver("nobody", "../messages", "x")
    assert failed["class"] == "permanent", failed
    _, failed = warden.deliver("ok", BOB, "others go on")
    assert not failed
    rig.end()


@in_folder
def paced(folder):
    rig = Rig(folder, pace="1000")
    rig.server.pair = 0.95
    warden = rig.ready()
    for number in range(3):
        warden.say("deliver", id=f"p{number}", key=f"kp{number}", conversation=ANN, text=f"p{number}")
    warden.say("deliver", id="other", key="ko", conversation=BOB, text="other")
    began = time.monotonic()
    warden.answer("other")
    assert time.monotonic() - began < 0.9, "nobody waits for somebody else's pace"
    for number in range(3):
        assert not warden.answer(f"p{number}")[1]
    assert rig.server.texts(ANN) == ["p0", "p1", "p2"] and rig.server.too_fast == 0
    rig.end()


@in_folder
def looked_for(folder):
    """What was cut: found by the mark that comes back, also after kill -9 and in a webhook that was taken long ago; and not
    found when it never was there."""
    rig = Rig(folder)
    server, warden = rig.server, rig.ready()
    for number, fault in enumerate(("cut", "garbage")):
        server.faults.append(fault)
        _, failed = warden.deliver(f"{number}", ANN, f"t{number}")
        assert failed["class"] == "unknown", failed
        warden.say("resolve", id=f"{number}", key=f"k{number}", conversation=ANN, part=0)
        sent = warden.until(lambda: warden.of("sent", id=f"{number}"), 10, "found")
        assert (sent[0]["part"], sent[0]["of"]) == (0, 1) and sent[0]["platform"].startswith("wamid."), sent
    server.faults.append("html")
    _, failed = warden.deliver("7", ANN, "never")
    assert failed["class"] == "unknown"
    began = time.monotonic()
    warden.say("resolve", id="7", key="k7", conversation=ANN, part=0)
    warden.until(lambda: warden.of("failed", id="7", **{"class": "not_sent"}), 10, "not there")
    assert time.monotonic() - began > 2.5, "what may still be on its way is waited for"
    assert not warden.of("sent", id="7")
    # Part 1 of 3 goes out, and nobody hears of it; then the channel is killed.
    text = "word " * 2000
    warden.say("deliver", id="8", key="k8", conversation=BOB, text=text)
    warden.until(lambda: warden.of("sent", id="8"), 10, "a part")
    warden.kill()
    time.sleep(1)
    out = len(server.texts(BOB))
    warden = rig.ready()
    for part in range(3):
        warden.say("resolve", id="8", key="k8", conversation=BOB, part=part)
        if part < out:
            found = warden.until(lambda: warden.of("sent", id="8", part=part), 10, "found")
            assert found[0]["of"] == 3, found
        else:
            warden.until(lambda: warden.of("failed", id="8", **{"class": "not_sent"}), 10, "not there")
            break
    # Without a relay nobody can say.
    rig.relay.stop()
    warden.say("resolve", id="9", key="k9", conversation=BOB, part=0)
    warden.until(lambda: warden.of("failed", id="9", **{"class": "unknown"}), 15, "nobody can say")
    rig.relay.start()
    rig.end()


@in_folder
def fails_later(folder):
    """It was taken, and could not be delivered: the warden is told by the key."""
    rig = Rig(folder)
    server, warden = rig.server, rig.ready()
    server.statuses = False
    sent, _ = warden.deliver("5", ANN, "too late")
    mark = server.sent[-1]["biz_opaque_callback_data"]
    assert mark == "k5.0.1.5", mark
    server.post_hook(server.status(sent[0]["platform"], ANN, mark, "failed", [{"code": 131047, "title": "Re-engagement message"}]))
    failed = warden.until(lambda: warden.of("failed", id="5"), 10, "told")[0]
    assert failed["class"] == "permanent" and failed["key"] == "k5" and "24 hours" in failed["error"], failed
    for odd in ("", "x", "k5.0.1", "k5.9.1.5", "k5.0.1.5.6", "k5.0.1.99999999999999999999", "k5.-1.1.5"):
        server.post_hook(server.status("wamid.X", ANN, odd, "failed", [{"code": 1}]))
    server.post_hook(server.status("wamid.X", ANN, mark, "failed"))
    warden.until(lambda: len(warden.of("failed")) == 2, 10, "one more")
    warden.run(0.5)
    assert len(warden.of("failed")) == 2, warden.of("failed")
    rig.end()


@in_folder
def files(folder):
    rig = Rig(folder)
    server, book, warden = rig.server, rig.book, rig.ready()
    server.media["m1"] = ("audio/ogg; codecs=opus", b"OggS" + bytes(700_000))
    server.media["m2"] = ("image/jpeg", b"elsewhere", "https://evil.example/x")
    server.media["m3"] = ("image/jpeg", b"elsewhere", server.url.replace("127.0.0.1", "127.0.0.1@evil.example"))
    server.post_hook(server.message(ANN, {"type": "audio", "audio": {"id": "m1", "mime_type": "audio/ogg; codecs=opus", "voice": True}}))
    server.post_hook(server.message(ANN, {"type": "document", "document": {
        "id": "../../x", "filename": "../../a\nb.pdf", "mime_type": "application/pdf", "caption": "see"}}))
    warden.until(lambda: len(book.order) == 2, 10, "two files")
    voice, paper = (book.events[key]["files"][0] for key in book.order)
    assert voice["voice"] is True and voice["handle"] == "m1", voice
    assert "handle" not in paper and book.events[book.order[1]]["text"] == "see", paper

    def fetch(number, handle, most=1 << 20):
        warden.say("fetch", id=number, handle=handle, most=most)
        end = warden.until(lambda: warden.of("fetched", id=number), 10, "an end")[0]
        return end, b"".join(base64.b64decode(frame["data"]) for frame in warden.of("data", id=number))

    end, data = fetch("f1", "m1")
    assert end["size"] == len(data) and data == server.media["m1"][1], end
    for number, handle in (("f2", "m2"), ("f3", "m3"), ("f4", "none"), ("f5", "../phone"), ("f6", "m1?x")):
        end, data = fetch(number, handle)
        assert end.get("error") and not data, end
    assert "larger" in fetch("f7", "m1", 1000)[0]["error"]

    def send(number, name, mime, data):
        warden.say("deliver", id=number, key="k" + number, conversation=ANN, text="",
                   file={"name": name, "mime": mime, "size": len(data), "kind": "file"})
        while not (warden.of("sent", id=number) or warden.of("failed", id=number)):
            done = len(warden.of("data-sent"))
            wants = warden.until(lambda: len(warden.of("want", id=number)) > done or warden.of("sent", id=number), 10, "want")
            if warden.of("sent", id=number):
                break
            at = warden.of("want", id=number)[-1]["at"]
            warden.say("data", id=number, at=at, data=base64.b64encode(data[at:at + 300_000]).decode())
            warden.frames.append({"type": "data-sent"})
            assert wants
        return server.sent[-1]

    got = send("21", "p.png", "image/png", b"\x89PNG" + bytes(500_000))
    assert got["type"] == "image" and server.media[got["image"]["id"]][1] == b"\x89PNG" + bytes(500_000), got
    warden.frames = [frame for frame in warden.frames if frame["type"] != "data-sent"]
    got = send("22", 'a"\r\nX: y.bin', "application/octet-stream", b"x" * 10)
    assert got["type"] == "document" and got["document"]["filename"] == 'a"\r\nX: y.bin', got
    rig.end()


@in_folder
def stands_down(folder):
    rig = Rig(folder)
    warden = rig.start(token="EAAwrong")
    assert warden.wait() == 3 and warden.of("trouble")[0]["class"] == "auth", warden.frames
    for setting, bad in (("phone", "../x"), ("phone", ""), ("api", "file:///etc/passwd"), ("relay", "10.0.0.1:80"), ("hook", "../x"),
                         ("pace", "x")):
        settings, rig.settings = rig.settings, {**rig.settings, setting: bad}
        warden = rig.start()
        assert warden.wait() == 3 and warden.of("trouble")[0]["class"] == "auth", (setting, warden.frames)
        rig.settings = settings
    warden = rig.ready()
    rig.server.token = "EAArotated"
    _, failed = warden.deliver("1", ANN, "x")
    assert failed["class"] == "not_sent" and warden.wait() == 3, failed
    assert "EAAtest" not in warden.stderr_text and "EAAtest" not in json.dumps(warden.frames)
    rig.relay.stop()


if __name__ == "__main__":
    sys.exit(run_cases())
