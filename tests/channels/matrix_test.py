#!/usr/bin/env python3
# timeout: 150
"""The Matrix channel alone, on a homeserver of ours that can be told to break (tests/support/matrix_server.py), and on
one that others have written (npm @openclaw/crabline)."""
import base64
import json
import os
import pathlib
import random
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import npm_packages  # noqa: E402
from matrix_server import MatrixServer  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402

PEACRABD = ROOT / "build/runtime/peacrabd"
PEA, ANN, BOB, EVE = (f"@{name}:test.example" for name in ("pea", "ann", "bob", "eve"))


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


def channel_on(url, book, token, **settings):
    return ScriptedWarden([PEACRABD, "channel", "matrix"], book, {"server": url, **settings}, {"token": token},
                          {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})


def started(matrix, book, token=None, **settings):
    pea = channel_on(matrix.url, book, token or matrix.user("pea"), **settings)
    pea.until(lambda: pea.hello and book.cursor, 15, "hello")
    return pea


def fresh():
    matrix = MatrixServer()
    for name in ("ann", "bob"):
        matrix.user(name)
    matrix.user("pea")
    matrix.names["@eve:evil.example"] = "Eve"
    return matrix, Book()


def direct(matrix, pea, book, who=ANN):
    room = matrix.room(who)
    matrix.invite(room, who, PEA, direct=True)
    pea.until(lambda: PEA in matrix.rooms[room]["members"], 10, "it comes in")
    return room


def event_of(book, text):
    return next(event for event in book.events.values() if event["text"] == text)


def wait_for(pea, book, *texts, seconds=10):
    pea.until(lambda: all(text in book.texts() for text in texts), seconds, f"{texts} of {book.texts()[-5:]}")


def rooms_and_words():
    matrix, book = fresh()
    old = matrix.room(ANN, "Old room")
    matrix.member(old, PEA, PEA, "join")
    matrix.say(old, ANN, "pea: said before it was there")
    pea = started(matrix, book)
    equal((pea.hello["account"], pea.hello["name"], pea.hello["limits"]["dedupe"]), (PEA, "Pea", "key"), "who it is")
    room = matrix.room(ANN)
    matrix.say(room, ANN, "said before the invitation")
    matrix.invite(room, ANN, PEA, direct=True)
    matrix.say(room, ANN, "said before it came")
    pea.until(lambda: PEA in matrix.rooms[room]["members"], 10, "it comes in")
    matrix.say(room, ANN, "hello")
    wait_for(pea, book, "hello", "said before it came")
    equal(sorted(book.texts()), ["hello", "said before it came"], "what was said to it")
    event = event_of(book, "hello")
    equal((event["scope"], event["sender"], event["addressed"], event["name"]), ("direct", ANN, True, f"Ann ({ANN})"), "who and where")
    # A group: only what is said to it.
    for text, more in (("nothing for it", {}), ("Pea: do this", {}), ("pear: not it", {}), ("what about pea", {}),
                       (f"{PEA} and this", {}), ("a mention", {"m.mentions": {"user_ids": [PEA]}})):
        matrix.say(old, ANN, text, **more)
    wait_for(pea, book, "a mention")
    group = {event["text"]: event["addressed"] for event in book.events.values() if event["scope"] == "group"}
    equal(group, {"nothing for it": False, "do this": True, "pear: not it": False, "what about pea": False, "and this": True,
                  "a mention": True}, "addressed")
    equal(event_of(book, "do this")["title"], "Old room", "its title")
    # Answers, threads, edits, programs.
    sent, failed = pea.deliver("1", old, "an **answer** with `code`\n\n- one\n- two")
    assert sent and not failed, failed
    text, html = matrix.said(old, PEA)[-1]
    assert "answer" in text and "**" not in text and "<b>answer</b>" in html and "<li>" in html, (text, html)
    mine = sent[0]["platform"]
    matrix.say(old, ANN, "> <@pea> an answer\n\nand then?", **{"m.relates_to": {"m.in_reply_to": {"event_id": mine}}})
    wait_for(pea, book, "and then?")
    event = event_of(book, "and then?")
    equal((event["addressed"], event["reply_to"]["own"], event["reply_to"]["id"]), (True, True, mine), "an answer to it")
    root = matrix.say(old, ANN, "pea: a thread")
    matrix.say(old, ANN, "pea: in it", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root, "is_falling_back": True,
                                                         "m.in_reply_to": {"event_id": root}}})
    wait_for(pea, book, "in it")
    equal(event_of(book, "in it")["thread"], root, "its thread")
    pea.deliver("2", old, "in the thread", thread=root)
    relation = matrix.rooms[old]["events"][-1][1]["content"]["m.relates_to"]
    equal((relation["rel_type"], relation["event_id"], relation["is_falling_back"]), ("m.thread", root, True), "an answer in it")
    said = matrix.say(room, ANN, "a mistaek")
    matrix.say(room, ANN, "* a mistake", **{"m.relates_to": {"rel_type": "m.replace", "event_id": said},
                                            "m.new_content": {"msgtype": "m.text", "body": "a mistake"}})
    wait_for(pea, book, "a mistake")
    equal((event_of(book, "a mistake")["kind"], event_of(book, "a mistake")["id"]), ("edit", said), "an edit")
    matrix.add(room, BOB, "m.room.message", {"msgtype": "m.notice", "body": "beep"})
    wait_for(pea, book, "beep")
    equal(event_of(book, "beep")["bot"], True, "a program")
    # Not a thing that is no message, and what is hostile.
    for content in ({}, {"msgtype": 5, "body": ["x"]}, {"msgtype": "m.text", "body": "x" * 60000},
                    {"msgtype": "m.text", "body": "odd", "m.relates_to": 7, "m.mentions": [1]}):
        matrix.add(room, ANN, "m.room.message", content)
    wait_for(pea, book, "odd", "x" * 60000)
    # A third in the room: it is not a direct one any more.
    matrix.member(room, ANN, BOB, "join")
    matrix.say(room, BOB, "who is here?")
    wait_for(pea, book, "who is here?")
    equal(event_of(book, "who is here?")["scope"], "group", "three are a group")
    # Its own words are not heard, a placeholder is edited into the answer, a sign of life is given.
    placeholder, _ = pea.deliver("3", old, "working")
    final, failed = pea.deliver("4", old, "**done**", platform=placeholder[0]["platform"])
    equal((failed, final[0]["platform"]), (None, placeholder[0]["platform"]), "the same message")
    equal(matrix.said(old, PEA)[-1], ("done", matrix.said(old, PEA)[-1][1]), "edited")
    assert not any(text == "working" for text, _ in matrix.said(old, PEA))
    pea.say("typing", conversation=old, on=True)
    pea.until(lambda: matrix.typing, 10, "a sign of life")
    long = "\n\n".join(f"Paragraph {number} \"quoted\" <b> & " + "ö" * 400 for number in range(60))
    sent, failed = pea.deliver("5", old, long, 30)
    assert not failed and len(sent) > 3, failed
    equal("".join(text for text, _ in matrix.said(old, PEA)).count("ö"), 24000, "no letter is lost")
    _, failed = pea.deliver("6", "!nowhere:test.example", "x")
    equal(failed["class"], "gone", "a room it is not in")
    equal(pea.stop(), 0, "it ends in order")
    assert not any(event.get("own") or event["sender"] == PEA for event in book.events.values())
    matrix.stop()


def invitations():
    matrix, book = fresh()
    stranger = "@eve:evil.example"
    pea = started(matrix, book)
    room = matrix.room(stranger)
    matrix.invite(room, stranger, PEA, direct=True)
    direct(matrix, pea, book)
    assert PEA not in matrix.rooms[room]["members"], "a stranger's invitation was taken"
    equal(matrix.data[PEA, "m.direct"][ANN], [name for name in matrix.rooms if PEA in matrix.rooms[name]["members"]], "kept as direct")
    equal(pea.stop(), 0)
    # What cannot be asked just now is neither forgotten nor taken for nothing: the name, what is direct, a way in.
    refused_calls = []
    known = matrix.data[PEA, "m.direct"][ANN]

    def refuse(*paths):
        refused_calls.clear()
        matrix.rule = lambda method, path: "502" if path.endswith(paths) and refused_calls.count(path) < 1 and \
            refused_calls.append(path) is None else ""
    refuse("/displayname", "/m.direct")
    pea = started(matrix, book)
    equal((pea.hello["name"], len(refused_calls)), ("Pea", 2), "asked again")
    matrix.say(known[0], ANN, "still direct")
    wait_for(pea, book, "still direct")
    equal(event_of(book, "still direct")["scope"], "direct", "still direct")
    refuse("/join", "/m.direct")
    second = direct(matrix, pea, book)
    pea.until(lambda: matrix.data[PEA, "m.direct"][ANN] == [*known, second], 15, "both are kept as direct")
    equal(len(refused_calls), 2, "asked again")
    matrix.rule = lambda method, path: "502" if path.endswith("/join") else ""
    late = matrix.room(ANN)
    matrix.invite(late, ANN, PEA, direct=True)
    pea.until(lambda: late in book.cursor, 10, "it is kept")
    pea.kill()
    matrix.rule = lambda method, path: ""
    pea = started(matrix, book)
    pea.until(lambda: PEA in matrix.rooms[late]["members"], 10, "in its next life")
    equal(pea.stop(), 0)
    pea = started(matrix, Book(), invites="evil.example,@bob:test.example")
    pea.until(lambda: PEA in matrix.rooms[room]["members"], 10, "now it may")
    other = matrix.room(ANN)
    matrix.invite(other, ANN, PEA)
    direct(matrix, pea, book, BOB)
    assert PEA not in matrix.rooms[other]["members"], "not on the list"
    pea.kill()
    matrix.stop()


def encrypted():
    matrix, book = fresh()
    pea = started(matrix, book)
    room = direct(matrix, pea, book)
    for number in range(5):
        matrix.add(room, ANN, "m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"})
        if number == 2:
            pea.run(0.5)
            pea.kill()
            pea = started(matrix, book)
    pea.run(1)
    said = matrix.said(room, PEA)
    assert len(said) == 1 and "cannot read" in said[0][0], said
    equal(book.order, [], "nothing to be answered")
    pea.kill()
    matrix.stop()


def gap_and_kills():
    """Two hundred events behind a limited timeline, kills all the while, a server that goes and comes: all once, in order."""
    matrix, book = fresh()
    pea = started(matrix, book)
    room = direct(matrix, pea, book)
    matrix.say(room, ANN, "first")
    wait_for(pea, book, "first")
    pea.kill()
    for number in range(250):
        matrix.say(room, ANN, f"gap {number}")
    # A page of the gap that is refused leaves the cursor where it was.
    pages = []
    matrix.rule = lambda method, path: "502" if path.endswith("/messages") and pages.append(path) is None and len(pages) in (2, 3) else ""
    cursor = json.loads(book.cursor)["since"]
    pea = started(matrix, book)
    pea.until(lambda: len(pages) > 2, 20, "it walks back")
    wait_for(pea, book, "gap 249", seconds=30)
    equal(book.texts(), ["first"] + [f"gap {number}" for number in range(250)], "all of it, once, in order")
    assert json.loads(book.cursor)["since"] != cursor
    matrix.rule = lambda method, path: ""
    before = len(book.order)
    for number in range(12):
        matrix.say(room, ANN, f"kill {number}")
        pea.run(random.uniform(0, 0.08))
        pea.kill()
        if number % 4 == 3:
            matrix.stop()
            matrix.start()
        pea = started(matrix, book)
    wait_for(pea, book, "kill 11", seconds=20)
    pea.run(0.3)
    equal(book.texts()[before:], [f"kill {number}" for number in range(12)], "once each")
    matrix.stop()
    pea.until(lambda: pea.of("trouble"), 40, "trouble is told")
    matrix.start()
    matrix.say(room, ANN, "after it all")
    wait_for(pea, book, "after it all", seconds=40)
    equal(len(pea.of("trouble")), 1, "told once")
    pea.kill()
    # Whether a room is direct, or an answer is one to us, cannot be asked just now: it is not taken for chatter.
    for path, text, more in (("/joined_members", "is it direct?", {}),
                             ("/event/", "to you", {"m.relates_to": {"m.in_reply_to": {"event_id": "$e9"}}})):
        refused_calls = []
        matrix.rule = lambda method, called: "502" if path in called and not refused_calls and refused_calls.append(called) is None else ""
        pea.kill()
        pea = started(matrix, book)
        matrix.say(room, ANN, text, **more)
        wait_for(pea, book, text, seconds=15)
        equal((len(refused_calls), event_of(book, text)["scope"], event_of(book, text)["addressed"]), (1, "direct", True), text)
    # Not stored: told again.
    pea = channel_on(matrix.url, book, matrix.user("pea"))
    pea.stores = False
    matrix.say(room, ANN, "not stored")
    pea.until(lambda: pea.held, 10, "a batch")
    pea.kill()
    pea = started(matrix, book)
    wait_for(pea, book, "not stored")
    pea.kill()
    matrix.stop()


def sending():
    """What is sent a second time is there once: after a lost answer, after kill -9, after a restart of the server, and
    from another device."""
    matrix, book = fresh()
    pea = started(matrix, book)
    room = direct(matrix, pea, book)

    def posts(what):
        matrix.rule = lambda method, path: what if "/send/" in path else ""
    for what in ("cut", "nonsense"):
        posts(what)
        _, failed = pea.deliver("u" + what, room, f"unclear {what}", 20)
        equal(failed["class"], "unknown", what)
        posts("")
        pea.kill()
        matrix.stop()
        matrix.start()
        pea = started(matrix, book)
        sent, failed = pea.deliver("u" + what, room, f"unclear {what}", 20, again=True)
        assert sent and not failed, failed
        equal([text for text, _ in matrix.said(room, PEA)].count(f"unclear {what}"), 1, "once")
    posts("cut")
    _, failed = pea.deliver("dev", room, "by one device", 20)
    posts("")
    pea.kill()
    pea = started(matrix, book, token=matrix.user("pea", "DEV2"))
    sent, failed = pea.deliver("dev", room, "by one device", 20, again=True)
    equal((len(sent), [text for text, _ in matrix.said(room, PEA)].count("by one device")), (1, 1), "another device looks")
    for what, kind, wait in (("429:1500", "throttled", 1500), ("429:0", "throttled", 100), ("502", "transient", None),
                             ("413", "permanent", None), ("403", "gone", None), ("504", "unknown", None)):
        posts(what)
        _, failed = pea.deliver("s" + what, room, "x", 15)
        equal((failed["class"], failed.get("retry_ms")), (kind, wait), what)
        posts("")
        pea.run(1.6 if wait else 0)
    # A file each way.
    content = os.urandom(200_000)
    matrix.media["mxc://test.example/photo"] = content
    matrix.add(room, ANN, "m.room.message", {"msgtype": "m.image", "body": "photo.png", "url": "mxc://test.example/photo",
                                             "info": {"mimetype": "image/png", "size": len(content)}})
    pea.until(lambda: any("files" in event for event in book.events.values()), 10, "a file")
    file = next(event for event in book.events.values() if "files" in event)["files"][0]
    equal((file["name"], file["mime"], file["size"]), ("photo.png", "image/png", len(content)), "its card")
    pea.say("fetch", id="f1", handle=file["handle"], most=1 << 20)
    pea.until(lambda: pea.of("fetched", id="f1"), 15, "its bytes")
    equal(b"".join(base64.b64decode(frame["data"]) for frame in pea.of("data", id="f1")), content, "the same")
    for handle in ("mxc://test.example/../../etc", "http://169.254.169.254/x", "mxc://a/b/c", "mxc://../thumbnail", "mxc://a/..", "mxc://a/x%2f"):
        pea.say("fetch", id=handle, handle=handle, most=100)
        pea.until(lambda: pea.of("fetched", id=handle), 15, "an answer")
        assert "error" in pea.of("fetched", id=handle)[0]
    pea.say("deliver", id="f3", key="kf3", conversation=room, text="",
            file={"name": "report.txt", "mime": "text/plain", "size": 7, "kind": "file"})
    pea.until(lambda: pea.of("want", id="f3"), 10, "it wants the bytes")
    pea.say("data", id="f3", at=0, data=base64.b64encode(b"content").decode())
    sent, failed = pea.answer("f3", 15)
    assert sent and not failed, failed
    said = matrix.rooms[room]["events"][-1][1]["content"]
    equal((said["msgtype"], matrix.media[said["url"]]), ("m.file", b"content"), "it is there")
    pea.kill()
    matrix.stop()


def refused():
    matrix, book = fresh()
    for what, words in (("hard", "log in again"), ("soft", "has expired")):
        pea = started(matrix, book)
        matrix.rule = lambda method, path: what
        matrix.stop()
        matrix.start()
        equal(pea.wait(40), 3, "it stands down")
        assert words in pea.of("trouble", **{"class": "auth"})[-1]["text"], pea.of("trouble")
        matrix.rule = lambda method, path: ""
    pea = channel_on(matrix.url, Book(), "token-of-nobody")
    equal(pea.wait(15), 3, "a token that is none")
    assert "token-of-nobody" not in json.dumps(pea.frames)
    for url, token in (("ftp://x", "t"), ("", "t"), (matrix.url, "")):
        pea = channel_on(url, Book(), token)
        equal(pea.wait(15), 3, "settings that are none")
    matrix.stop()


def crabline():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        package = npm_packages.need("@openclaw/crabline")
        ready = pathlib.Path(folder, "ready.json")
        process = npm_packages.start(package / "dist/src/bin/crabline.js", "--json", "serve", "matrix", "--ready-file", str(ready),
                                     "--recorder", str(pathlib.Path(folder, "recorder.jsonl")), HOME=folder)
        for _ in range(400):
            if ready.exists() and ready.read_text().endswith("}\n"):
                break
            time.sleep(0.05)
        manifest = json.loads(ready.read_text())

        def say(text, **keys):
            request = urllib.request.Request(manifest["endpoints"]["adminInboundUrl"],
                                             json.dumps({"roomId": "!r:crabline.test", "senderId": "@ann:crabline.test", "text": text, **keys}).encode(),
                                             {"content-type": "application/json", "x-crabline-admin-token": manifest["adminToken"]})
            return json.load(urllib.request.urlopen(request, timeout=5))["event"]
        say("from before", direct=True)
        book = Book()

        def start():
            warden = channel_on(manifest["baseUrl"], book, manifest["accessToken"])
            warden.until(lambda: warden.hello and book.cursor, 15, "hello")
            return warden
        pea = start()
        equal(pea.hello["account"], manifest["botUserId"], "its account")
        say("first \U0001f980", senderName="Ann")
        wait_for(pea, book, "first \U0001f980")
        equal(book.events[book.order[0]]["scope"], "direct", "a direct one")
        for text in ("plain", "**bold** & <b>", "word " * 5000):
            sent, failed = pea.deliver("d" + text[:3], "!r:crabline.test", text, 20)
            assert sent and not failed, failed
        again, failed = pea.deliver("dpla", "!r:crabline.test", "plain", again=True)
        equal(again[0]["platform"], pea.of("sent", id="dpla")[0]["platform"], "the same transaction, the same event")
        pea.say("typing", conversation="!r:crabline.test", on=True)
        for number in range(8):
            say(f"round {number}")
            pea.run(0.01 * number)
            pea.kill()
            pea = start()
        wait_for(pea, book, "round 7")
        pea.run(0.3)
        equal(book.texts(), ["first \U0001f980"] + [f"round {number}" for number in range(8)], "each once")
        equal(pea.stop(), 0, "it ends in order")
        process.terminate()


def main():
    parts = [rooms_and_words, invitations, encrypted, gap_and_kills, sending, refused, crabline]
    wanted = [part for part in parts if not sys.argv[1:] or part.__name__ in sys.argv[1:]]
    for part in wanted:
        began = time.monotonic()
        part()
        print(f"{part.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    print(f"{len(wanted)} passed, 0 failed")


if __name__ == "__main__":
    main()
