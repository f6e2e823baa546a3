#!/usr/bin/env python3
# timeout: 180
# timeout-full: 420
"""The Matrix channel on a real Synapse, where people use a client that others have written (matrix-nio): what our own
server of matrix_test.py says is held against it. Last the whole of `peacrabd serve` between the two."""
import base64
import json
import os
import pathlib
import random
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
sys.path.insert(0, str(ROOT / "tests/channels"))
from hub_test import Rig  # noqa: E402
from matrix_test import channel_on, equal, event_of, wait_for  # noqa: E402
from scripted_warden import Book  # noqa: E402
from synapse_server import Synapse, what_lacks  # noqa: E402

FULL = os.environ.get("PEACRAB_FULL") == "1"


def started(server, book, token=None, **settings):
    pea = channel_on(server.url, book, token or server.tokens["pea"], **settings)
    pea.until(lambda: pea.hello and book.cursor, 20, "hello")
    return pea


def until(condition, what, seconds=15):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value


def comes_in(pea, person, room, user):
    pea.until(lambda: user in person.ask("members_of", room=room), 15, "it comes in")


def of_room(book, room):
    """What a channel without a cursor is told first may be two minutes old, and then what was said since comes too: Synapse
    keeps its answer to a device for so long."""
    return [event["text"] for event in map(book.events.get, book.order) if event["conversation"] == room]


class Town:
    """A server with people on it; the channel's account is pea."""

    def __init__(self, **config):
        self.server = Synapse(**config)
        self.pea = self.server.user("pea")
        self.ann = self.server.person("ann")

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self.server.logs(), file=sys.stderr)
        self.server.close()

    def direct(self, channel, person=None):
        room = (person or self.ann).ask("create", invite=[self.pea], direct=True)
        comes_in(channel, person or self.ann, room, self.pea)
        return room


def words(town):
    server, ann, book = town.server, town.ann, Book()
    bob = server.person("bob")
    pea = started(server, book)
    equal((pea.hello["account"], pea.hello["name"]), (town.pea, "Pea"), "who it is")
    room = town.direct(pea)
    ann.say(room, "hello \U0001f980")
    wait_for(pea, book, "hello \U0001f980")
    event = event_of(book, "hello \U0001f980")
    equal((event["scope"], event["sender"], event["addressed"], event["name"]), ("direct", ann.user, True, f"Ann ({ann.user})"), "who and where")
    until(lambda: ann.ask("read_by", room=room).get(town.pea) == event["id"], "it was read")
    # A group, with what was said before it came.
    team = ann.ask("create", name="Team", invite=[bob.user])
    bob.say(team, "before it was invited") if until(lambda: bob.user in ann.ask("members_of", room=team), "bob") else None
    ann.ask("invite", room=team, user=town.pea)
    comes_in(pea, ann, team, town.pea)
    for text, more in (("nothing for it", {}), ("Pea: do this", {}), ("pear: not it", {}),
                       ("a mention", {"m.mentions": {"user_ids": [town.pea]}}),
                       ("Pea, by name", {"format": "org.matrix.custom.html", "m.mentions": {"user_ids": [town.pea]},
                                         "formatted_body": f'<a href="https://matrix.to/#/{town.pea}">Pea</a>, by name'})):
        bob.say(team, text, **more)
    wait_for(pea, book, "by name")
    group = {event["text"]: event["addressed"] for event in book.events.values() if event["scope"] == "group"}
    equal(group, {"nothing for it": False, "do this": True, "pear: not it": False, "a mention": True, "by name": True}, "addressed")
    equal(event_of(book, "do this")["title"], "Team", "its title")
    # What is written arrives as nio reads it; answers and threads belong where they should.
    sent, failed = pea.deliver("1", team, "an **answer** with `code`\n\n- one\n- two", reply_to=event_of(book, "do this")["id"])
    assert sent and not failed, failed
    mine = sent[0]["platform"]
    said = until(lambda: bob.heard(team, town.pea), "an answer")[0]
    equal((said["type"], said["id"], said["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]),
          ("RoomMessageText", mine, event_of(book, "do this")["id"]), "an answer")
    assert "<b>answer</b>" in said["html"] and "<li>" in said["html"] and "**" not in said["text"], said
    bob.say(team, "and then?", **{"m.relates_to": {"m.in_reply_to": {"event_id": mine}}})
    wait_for(pea, book, "and then?")
    event = event_of(book, "and then?")
    equal((event["addressed"], event["reply_to"]["own"], event["reply_to"]["id"]), (True, True, mine), "an answer to it")
    root = bob.say(team, "Pea: a thread")
    bob.say(team, "Pea: in it", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root, "is_falling_back": True,
                                                    "m.in_reply_to": {"event_id": root}}})
    wait_for(pea, book, "in it")
    equal(event_of(book, "in it")["thread"], root, "its thread")
    sent, _ = pea.deliver("2", team, "in the thread", thread=root)
    until(lambda: "in the thread" in bob.texts(team), "in the thread")
    threads = server.call("GET", f"/_matrix/client/v1/rooms/{team}/relations/{root}/m.thread", token=server.tokens["bob"])
    assert sent[0]["platform"] in [event["event_id"] for event in threads["chunk"]], "Synapse has it in the thread"
    # Edits of theirs and of ours.
    said = ann.say(room, "a mistaek")
    ann.say(room, "* a mistake", **{"m.relates_to": {"rel_type": "m.replace", "event_id": said},
                                    "m.new_content": {"msgtype": "m.text", "body": "a mistake"}})
    wait_for(pea, book, "a mistake")
    equal((event_of(book, "a mistake")["kind"], event_of(book, "a mistake")["id"]), ("edit", said), "an edit")
    pea.say("show", slot="s", conversation=room, text="working")
    line = pea.until(lambda: pea.of("shown", slot="s"), 10, "a line")[0]["platform"]
    pea.say("show", slot="s", conversation=room, text="still working", platform=line)
    until(lambda: [(said["text"], said["edited"]) for said in ann.heard(room, town.pea)] == [("still working", 1)] or pea.run(0.1), "edited")
    final, failed = pea.deliver("4", room, "**done**", platform=line)
    equal((failed, final[0]["platform"]), (None, line), "the same message")
    until(lambda: [(said["text"], said["edited"]) for said in ann.heard(room, town.pea)] == [("done", 2)], "the answer")
    now = server.call("GET", f"/_matrix/client/v3/rooms/{room}/event/{line}", token=server.tokens["ann"])
    latest = now["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]
    equal(latest["body"], "done", "Synapse takes it for an edit")
    pea.say("typing", conversation=room, on=True)
    pea.until(lambda: [town.pea] in ann.ask("typed", room=room), 15, "a sign of life")
    # Long, and what looks like HTML.
    long = "\n\n".join(f"Paragraph {number} \"quoted\" <b> & " + "ö" * 400 for number in range(60))
    sent, failed = pea.deliver("5", room, long, 30)
    assert not failed and len(sent) > 3, failed
    until(lambda: "".join(ann.texts(room, town.pea)).count("ö") == 24000, "no letter is lost")
    # Two become three; out of a room.
    ann.ask("invite", room=room, user=bob.user)
    until(lambda: bob.user in ann.ask("members_of", room=room), "bob comes")
    bob.say(room, "who is here?")
    wait_for(pea, book, "who is here?")
    equal(event_of(book, "who is here?")["scope"], "group", "three are a group")
    ann.ask("kick", room=team, user=town.pea)
    _, failed = pea.deliver("6", team, "x")
    equal(failed["class"], "gone", "it was shown the door")
    equal(pea.stop(), 0, "it ends in order")
    assert "before it was invited" not in book.texts(), book.texts()
    assert not any(event.get("own") or event["sender"] == town.pea for event in book.events.values())


def files(town):
    server, ann, book = town.server, town.ann, Book()
    pea = started(server, book)
    room = town.direct(pea)
    content = os.urandom(200_000)
    ann.ask("send_file", room=room, data=base64.b64encode(content).decode(), name="photo.png", mime="image/png", kind="m.image")
    pea.until(lambda: any("files" in event for event in book.events.values()), 10, "a file")
    file = next(event for event in book.events.values() if "files" in event)["files"][0]
    equal((file["name"], file["mime"], file["size"]), ("photo.png", "image/png", len(content)), "its card")
    pea.say("fetch", id="f1", handle=file["handle"], most=1 << 20)
    pea.until(lambda: pea.of("fetched", id="f1"), 15, "its bytes")
    equal(b"".join(base64.b64decode(frame["data"]) for frame in pea.of("data", id="f1")), content, "the same")
    pea.say("fetch", id="f2", handle=f"mxc://{server.name}/nothing", most=1 << 20)
    pea.until(lambda: pea.of("fetched", id="f2"), 30, "an answer")
    assert "error" in pea.of("fetched", id="f2")[0]

    def send(number, name, mime, kind, data):
        id = f"o{number}"
        pea.say("deliver", id=id, key="k" + id, conversation=room, text="", file={"name": name, "mime": mime, "size": len(data), "kind": kind})
        while not (pea.of("sent", id=id) or pea.of("failed", id=id)):
            wants = pea.of("want", id=id)
            at = len(pea.of("want", id=id)) and wants[-1]["at"]
            if wants and at not in given.setdefault(id, []):
                given[id].append(at)
                pea.say("data", id=id, at=at, data=base64.b64encode(data[at:at + (512 << 10)]).decode())
            pea.run(0.05)
        return pea.answer(id)
    given = {}
    for number, (name, mime, kind, type) in enumerate((("report ö.txt", "text/plain", "file", "RoomMessageFile"), ("p.png", "image/png", "picture", "RoomMessageImage"),
                                                       ("v.ogg", "audio/ogg", "voice", "RoomMessageAudio"), ("m.mp4", "video/mp4", "video", "RoomMessageVideo"))):
        data = os.urandom(1 << 20) if not number else os.urandom(5000)
        sent, failed = send(number, name, mime, kind, data)
        assert sent and not failed, failed
        said = until(lambda: next((each for each in ann.heard(room) if each["id"] == sent[0]["platform"]), None), name)  # noqa: B023
        got = ann.ask("load", address=said["address"])
        equal((said["type"], said["text"], got["mime"], base64.b64decode(got["data"])), (type, name, mime, data), name)
    _, failed = send(9, "large.bin", "application/octet-stream", "file", bytes(3 << 20))
    equal(failed["class"], "permanent", f"more than the server takes: {failed}")
    pea.kill()


def gap(town):
    """Two hundred events while nobody listens, kills while it walks back, a server that goes and comes."""
    server, ann, book = town.server, town.ann, Book()
    pea = started(server, book)
    room = town.direct(pea)
    ann.say(room, "first")
    wait_for(pea, book, "first")
    pea.kill()
    many = [f"gap {number}" for number in range(200)]
    ann.ask("say_many", room=room, texts=many)
    for number in range(4):
        pea = channel_on(server.url, book, server.tokens["pea"])
        pea.run(0.05 + 0.1 * number)
        pea.kill()
    pea = started(server, book)
    wait_for(pea, book, "gap 199", seconds=30)
    equal(of_room(book, room), ["first", *many], "all of it, once, in order")
    before = len(book.order)
    for number in range(12 if FULL else 4):
        ann.say(room, f"kill {number}")
        pea.run(random.uniform(0, 0.15))
        pea.kill()
        if number % 4 == 3:
            server.stop(hard=number % 8 == 3)
            server.start()
        pea = started(server, book)
    wait_for(pea, book, f"kill {11 if FULL else 3}", seconds=30)
    server.stop()
    pea.until(lambda: pea.of("trouble"), 40, "trouble is told")
    server.start()
    ann.say(room, "after it all")
    wait_for(pea, book, "after it all", seconds=60)
    equal(book.texts()[before:-1], [f"kill {number}" for number in range(12 if FULL else 4)], "once each")
    equal(len(pea.of("trouble")), 1, "told once")
    pea.kill()


def sending(town):
    """The same transaction is one message: after kill -9, after a restart of the server; from another device it looks."""
    server, ann, book = town.server, town.ann, Book()
    pea = started(server, book)
    room = town.direct(pea)
    sent, _ = pea.deliver("a", room, "once")
    pea.kill()
    pea = started(server, book)
    again, _ = pea.deliver("a", room, "once", again=True)
    equal(again[0]["platform"], sent[0]["platform"], "the same message, after a kill")
    server.stop(hard=True)
    server.start()
    again, failed = pea.deliver("a", room, "once", 60, again=True)
    if failed and failed["class"] in ("not_sent", "transient"):
        again, failed = pea.deliver("a", room, "once", 60, again=True)
    assert again and again[-1]["platform"] == sent[0]["platform"], (again, failed)
    dice = random.Random(7)
    texts = [f"killed {number}" for number in range(40 if FULL else 12)]
    for number, text in enumerate(texts):
        pea.say("deliver", id=f"r{number}", key=f"kr{number}", conversation=room, text=text)
        pea.run(dice.uniform(0, 0.06))
        pea.kill()
        pea = started(server, book)
        sent, failed = pea.deliver(f"r{number}", room, text, 20, again=True)
        assert sent and not failed, failed
    until(lambda: texts[-1] in ann.texts(room, town.pea), "all of it")
    equal(ann.texts(room, town.pea), ["once", *texts], "each once")
    pea.kill()
    pea = started(server, book, token=server.login("pea", "OTHER"))
    pea.deliver("a", room, "once", again=True)
    pea.deliver("new", room, "from another device")
    until(lambda: "from another device" in ann.texts(room), "it goes on")
    equal(ann.texts(room, town.pea), ["once", *texts, "from another device"], "another device looks")
    server.slow_down(town.pea, 1, 2)
    for number in range(5):
        pea.say("deliver", id=f"q{number}", key=f"kq{number}", conversation=room, text=f"quick {number}")
        sent, failed = pea.answer(f"q{number}", 20)
        if failed:
            break
    equal(failed["class"], "throttled", "too fast")
    assert 50 <= failed["retry_ms"] <= 5000, failed
    server.slow_down(town.pea, 0, 0)
    pea.kill()


def doors(town):
    """Rooms that cannot be read, invitations, and tokens that end."""
    server, ann, book = town.server, town.ann, Book()
    pea = started(server, book)
    room = town.direct(pea)
    ann.ask("state", room=room, type="m.room.encryption", content={"algorithm": "m.megolm.v1.aes-sha2"})
    for number in range(4):
        ann.ask("say", room=room, type="m.room.encrypted", content={
            "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEnAC", "device_id": "X", "sender_key": "Y", "session_id": "Z"})
        if number == 1:
            pea.run(1)
            pea.kill()
            pea = started(server, book)
    until(lambda: ann.texts(room, town.pea) or pea.run(0.1), "it is told")
    pea.run(1)
    told = ann.heard(room, town.pea)
    assert len(told) == 1 and "cannot read" in told[0]["text"] and told[0]["type"] == "RoomMessageNotice", told
    equal(of_room(book, room), [], "nothing to be answered")
    # More invitations than the server lets in at once.
    pea.kill()
    server.stop()
    server.start(rc_joins={"local": {"per_second": 0.5, "burst_count": 2}, "remote": {"per_second": 1, "burst_count": 1}})
    rooms = [ann.ask("create", invite=[town.pea], direct=True) for _ in range(4)]
    pea = started(server, book)
    for each in rooms:
        comes_in(pea, ann, each, town.pea)
    ann.say(rooms[-1], "late, but there")
    wait_for(pea, book, "late, but there")
    equal(event_of(book, "late, but there")["scope"], "direct", "all of them direct")
    # A cursor that this server never gave out.
    pea.kill()
    for since in ("s999999999_0_0", "rubbish", "s1_2_3_4_5_6_7_8_9_10_11_12"):
        known = json.loads(book.cursor)
        other = Book()
        other.cursor = json.dumps({**known, "since": since})
        pea = started(server, other)
        pea.until(lambda: json.loads(other.cursor)["since"] != since, 20, f"a new cursor after {since}")  # noqa: B023
        ann.say(rooms[0], "after " + since)
        wait_for(pea, other, "after " + since)
        pea.kill()
    # Sessions end.
    pea = started(server, book)
    server.call("POST", "/_matrix/client/v3/logout", {}, server.tokens["pea"])
    equal(pea.wait(40), 3, "it stands down")
    assert "log in again" in pea.of("trouble", **{"class": "auth"})[-1]["text"], pea.of("trouble")
    token = server.login("pea", "SHORT", refresh_token=True)
    pea = started(server, book, token)
    pea.run(5)
    ann.say(rooms[0], "wakes it")
    equal(pea.wait(40), 3, "it stands down")
    assert "has expired" in pea.of("trouble", **{"class": "auth"})[-1]["text"], pea.of("trouble")
    assert token not in json.dumps(pea.frames)


def strangers():
    """Another server of the world, whose people invite ours."""
    with Town(world=True) as town:
        far = Synapse(world=True)
        try:
            eve, book = far.person("eve"), Book()
            pea = started(town.server, book)
            room = eve.ask("create", invite=[town.pea], direct=True)
            here = town.direct(pea)
            pea.run(2)
            assert town.pea not in eve.ask("members_of", room=room), "a stranger's invitation was taken"
            pea.kill()
            pea = started(town.server, book := Book(), invites=far.name)
            comes_in(pea, eve, room, town.pea)
            eve.say(room, "from far")
            wait_for(pea, book, "from far", seconds=20)
            equal((event_of(book, "from far")["sender"], event_of(book, "from far")["scope"]), (eve.user, "direct"), "who")
            pea.deliver("1", room, "to far", 20)
            until(lambda: "to far" in eve.texts(room), "an answer over there")
            town.ann.say(here, "near")
            wait_for(pea, book, "near")
            pea.kill()
        finally:
            far.close()


def hub(town):
    """`peacrabd serve`: somebody pairs, talks, sends a file; a stranger is not heard; killed, and the server too."""
    server, ann = town.server, town.ann
    bob = server.people[1] if len(server.people) > 1 else server.person("bob")
    with Rig(names=()) as rig:
        rig.configure(f"channels:\n  matrix:\n    server: {server.url}\n", {"channel-matrix": server.login("pea", "HUB")})
        rig.start()
        room, other = (each.ask("create", invite=[town.pea], direct=True) for each in (ann, bob))

        def says(text, answer):
            before = len(ann.texts(room, town.pea))
            ann.say(room, text)
            until(lambda: any(answer in each for each in ann.texts(room, town.pea)[before:]), f"{answer!r}", 60)
        for person, place in ((ann, room), (bob, other)):
            until(lambda: town.pea in person.ask("members_of", room=place), "it comes in", 30)  # noqa: B023
        bob.say(other, "let me in")
        says(rig.people("pair", "matrix"), "paired, as owner")
        says("hello \U0001f980", "re: hello \U0001f980")
        equal(bob.texts(other, town.pea), [], "a stranger gets nothing")
        ann.ask("send_file", room=room, data=base64.b64encode(b"hello there").decode(), name="notes.txt", mime="text/plain", kind="m.file")
        until(lambda: any("notes.txt, text/plain, 11 bytes" in text for text in ann.texts(room, town.pea)), "it is told of a file", 60)
        equal([path.read_bytes() for path in (rig.folder / "work/inbox").iterdir()], [b"hello there"], "it is there")
        before = len(ann.texts(room, town.pea))
        for number in range(8 if FULL else 3):
            ann.say(room, f"round {number}")
            time.sleep(0.2 * number)
            rig.stop(signal.SIGKILL)
            if number == 1:
                server.stop(hard=True)
                server.start()
            rig.start()
        says("last", "last")
        text = "\n".join(ann.texts(room, town.pea)[before:])
        for number in range(8 if FULL else 3):
            equal(text.count(f"round {number}"), 1, f"round {number} in {text!r}")


def main():
    if lacks := what_lacks():
        print(lacks)
        sys.exit(77)
    parts = [words, files, gap, sending, doors, hub]
    wanted = [part for part in [*parts, strangers] if not sys.argv[1:] or part.__name__ in sys.argv[1:]]
    began = time.monotonic()
    if wanted != [strangers]:
        with Town(refreshable_access_token_lifetime="4s") as town:
            print(f"Synapse: {time.monotonic() - began:.1f} s", flush=True)
            for part in parts:
                if part in wanted:
                    began = time.monotonic()
                    part(town)
                    print(f"{part.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    if strangers in wanted:
        began = time.monotonic()
        strangers()
        print(f"strangers: {time.monotonic() - began:.1f} s", flush=True)
    print(f"{len(wanted)} passed, 0 failed")


if __name__ == "__main__":
    main()
