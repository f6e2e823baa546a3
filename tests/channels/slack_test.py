#!/usr/bin/env python3
# timeout: 150
"""The Slack channel alone, between an emulator with faults and a scripted warden: nothing lost, nothing stored or sent
twice, whatever breaks. `slack_test.py NAME...` runs only cases whose name contains a NAME.
"""
import json
import pathlib
import random
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from cases import case, equal, long_case  # noqa: E402
from channel_place import MARKDOWN, ChannelPlace, main, same_cases  # noqa: E402
from connect_proxy import Tunnelled  # noqa: E402
from scripted_warden import Book  # noqa: E402
from slack_server import SlackServer, closing  # noqa: E402
from websocket_peer import BINARY, TEXT, frame  # noqa: E402

APP_TOKEN, BOT_TOKEN = "xapp-1-A0PEA-42-aabbccddeeff", "xoxb-1-2-AAbbCCddEEffGGhh"


def since_now():
    return json.dumps({"ts": f"{time.time():.6f}", "threads": []})


class Place(ChannelPlace):
    channel, secrets = "slack", {"token": BOT_TOKEN, "app": APP_TOKEN}

    def __init__(self, **options):
        super().__init__(SlackServer(**options))
        self.server.app(APP_TOKEN, BOT_TOKEN)
        self.server.channel("C1", "team")
        self.server.channel("C2", "others", members=["U1"])
        self.server.channel("G1", "mpdm-a-b", "mpim")
        self.book.cursor = since_now()

    def __exit__(self, kind, *_):
        super().__exit__(kind)
        assert kind or not self.server.wrong, self.server.wrong


# ---- receiving

@case
def killed_before_it_was_stored():
    with Place() as place:
        first = place.start(stores=False)
        first.until(lambda: first.held)  # nothing was missed
        place.server.say(place.server.im("U7"), "U7", "once")
        first.run(0.5)
        equal(place.server.acks, [], "nothing is answered that is not stored")
        first.kill()
        second = place.start()
        second.until(lambda: place.book.order, what="the message again")
        second.run(0.3)
        equal(place.book.texts(), ["once"])


@case
def killed_after_it_was_stored():
    with Place() as place:
        cursor = place.book.cursor
        first = place.start()
        first.until(lambda: first.of("alive"))
        first.stores = False
        place.server.say(place.server.im("U7"), "U7", "once")
        first.until(lambda: any(batch["events"] for batch in first.held), what="a batch")
        for batch in first.held:
            place.book.store(batch)
        first.kill()
        place.book.cursor = cursor  # even with a cursor that is older
        second = place.start()
        second.until(lambda: place.book.again, what="the same event again")
        place.server.say(place.server.im("U7"), "U7", "next")
        second.until(lambda: len(place.book.order) == 2, what="the next one")
        equal(place.book.texts(), ["once", "next"])


@case
def killed_anywhere():
    """Killed 30 times while 150 messages come in: in direct chats, in a channel with the app's name, in a thread."""
    with Place() as place:
        told, server = [], place.server
        parent = server.say("C1", "U10", "parent", told=False)["ts"]
        first = server.say("C1", "U10", "a reply", thread_ts=parent, told=False)
        place.book.cursor = json.dumps({"ts": first["ts"], "threads": [f"C1/{parent}"]})

        def people():
            for i in range(150):
                user = 10 + i % 5
                text = f"{user}/{i}"
                if user == 10:
                    server.say("C1", "U10", text, thread_ts=parent)
                elif user == 11:
                    server.say("C1", "U11", f"<@U0PEA> {text}")
                else:
                    server.say(server.im(f"U{user}"), f"U{user}", text)
                told.append(text)
                time.sleep(0.05)

        talking = threading.Thread(target=people)
        talking.start()
        dice = random.Random(4)
        for _ in range(30):
            warden = place.start(hello=False, stores=dice.random() < 0.8)
            warden.run(dice.uniform(0.02, 0.5))
            for batch in warden.held:
                if dice.random() < 0.5:
                    place.book.store(batch)
            warden.kill()
            server.spent.clear()  # thirty starts in ten seconds are not what its tiers are about
        talking.join()
        server.spent.clear()
        last = place.start()
        wanted = set(told) | {"parent", "a reply"}
        last.until(lambda: set(told) <= set(place.book.texts()), 30, "all of them")
        last.run(0.5)
        assert set(place.book.texts()) <= wanted, set(place.book.texts()) - wanted
        equal(len(place.book.texts()), len(set(place.book.texts())), "every message once")
        return f"30 kills, {len(told)} messages, {sum(place.book.again.values())} came again and were stored once"


@case
def a_mention_is_one_message():
    with Place() as place:
        warden = place.start()
        event = place.event(warden, lambda: place.server.say("C1", "U7", "<@U0PEA>, hi"))
        warden.until(lambda: len(place.server.acks) == 2, what="both envelopes are answered")
        equal((event["text"], event["addressed"], event["name"], event["title"]), ("hi", True, "User U7", "#team"))
        equal(len(place.book.order), 1)
        message = event["id"]
        place.server.again("C1", message)
        warden.until(lambda: place.book.again[f"C1:{message}"] >= 2)
        warden.kill()
        second = place.start()
        place.server.again("C1", message)
        place.event(second, lambda: place.server.say("C1", "U7", "<@U0PEA> next"))
        equal(place.book.texts(), ["hi", "next"])


@case
def places_threads_and_names():
    with Place() as place:
        server, warden = place.server, place.start()

        def event(where, text, user="U7", **extra):
            return place.event(warden, lambda: server.say(where, user, text, **extra))

        direct = event(server.im("U7"), "hello &lt;&amp;&gt; <https://a.b/?x=1&amp;y|here> <https://c.d> <mailto:a@b.c|a@b.c>")
        equal((direct["scope"], direct["addressed"], direct["text"], direct.get("title")),
              ("direct", True, "hello <&> here (https://a.b/?x=1&y) https://c.d a@b.c", None))
        plain = event("C1", "just talk with <@U8>, <@U9|nine>, <#C1|team>, <#C1>, <!here> and <!subteam^S1|@them>")
        equal((plain["scope"], plain["addressed"], plain["title"], plain.get("thread")), ("group", False, "#team", None))
        equal(plain["text"], "just talk with @U8, @nine, #team, #team, @here and @them")
        server.people["U8"] = "Ada"
        equal(event("C1", "<@U8> and <@U0PEA|pea>?")["text"], "@U8 and @pea?")  # asked for once
        several = event("G1", "<@U0PEA> in a chat of several")
        equal((several["scope"], several["addressed"], several["text"]), ("group", True, "in a chat of several"))
        equal(event("C1", "<@U0PEACE> no")["addressed"], False)
        sent, _ = warden.deliver("x", "C1", "mine")
        reply = event("C1", "and?", thread_ts=sent[0]["platform"])
        equal((reply["thread"], reply["addressed"]), (sent[0]["platform"], True), "an answer to ours is to us")
        parent = event("C1", "<@U0PEA> one")["id"]
        thread = event("C1", "talk", thread_ts=parent)
        equal((thread["thread"], thread["addressed"]), (parent, False))
        equal(event("C1", "<@U0PEA> here", thread_ts=parent)["addressed"], True)
        warden.deliver("t", "C1", "in the thread", thread=parent)
        equal(server.seen("C1", parent), ["in the thread"])
        warden.deliver("u", "C1", "the thread is gone", thread="1234567890.123456")
        equal(server.seen("C1", ""), ["mine", "the thread is gone"])
        broadcast = event("C1", "<@U0PEA> to all", thread_ts=parent, subtype="thread_broadcast")
        equal(broadcast["thread"], parent)

        server.say("C1", "U0PEA", "<@U0PEA> me", bot_id="B0PEA")
        server.say("C1", "U7", "<@U0PEA> somebody joined", subtype="channel_join")
        other = event("C1", "<@U0PEA> from a program", user="U6", bot_id="B6")
        equal(other["bot"], True)
        hook = event("C1", "<@U0PEA> from a hook", user=None, bot_id="B5", subtype="bot_message", username="Hook")
        equal((hook["bot"], hook["sender"], hook["name"]), (True, "B5", "Hook"))
        forwarded = event(server.im("U7"), "", attachments=[{"is_share": True, "author_name": "Eve",
                                                             "text": "/allow abcd &lt;"}])
        equal(forwarded["text"], "[forwarded from Eve]\n/allow abcd <")
        unfurled = event(server.im("U7"), "<https://a.b>", attachments=[{"title": "A", "text": "preview"}])
        equal(unfurled["text"], "https://a.b")
        equal(event(server.im("U7"), "waves", subtype="me_message")["text"], "* waves")
        equal(event(server.im("U7"), "  /status")["text"], "/status")
        command = place.event(warden, lambda: server.slash(server.im("U7"), "U7", "/pea", "stop now"))
        equal((command["text"], command["scope"], command["sender"]), ("/stop now", "direct", "U7"))
        equal(place.event(warden, lambda: server.slash("C1", "U7", "/pea", ""))["text"], "/help")
        texts = place.book.texts()
        assert "me" not in texts and "somebody joined" not in texts, texts
        warden.until(lambda: not server.open_envelopes, what="an answer to what is left out too")


@case
def mentions_begin_threads_when_wanted():
    with Place() as place:
        warden = place.start(settings={"threads": "true"})
        event = place.event(warden, lambda: place.server.say("C1", "U7", "<@U0PEA> one"))
        equal(event["thread"], event["id"])
        talk = place.event(warden, lambda: place.server.say("C1", "U7", "two"))
        equal(talk.get("thread"), None)
        warden.deliver("t", "C1", "answer", thread=event["thread"])
        equal(place.server.seen("C1", event["id"]), ["answer"])


CHOICES = [{"label": "Allow", "value": "a" * 32}, {"label": "Deny", "value": "d" * 32}]


@case
def buttons():
    """Below the last part; a press is stored before its envelope is answered, once; an edit takes them away."""
    with Place() as place:
        server, warden, direct = place.server, place.start(), place.server.im("U7")
        equal(warden.hello["limits"]["buttons"], 25)
        sent, _ = warden.deliver("a", direct, "*x & y* " * 700, choices=CHOICES)
        first, card = (server.places[direct].messages[frame["platform"]] for frame in (sent[0], sent[-1]))
        equal((first["blocks"], [one["value"] for one in card["blocks"][-1]["elements"]]),
              ([], [choice["value"] for choice in CHOICES]))
        equal("".join(block["text"]["text"] for block in card["blocks"][:-1]), card["text"], "the text is in the blocks, too")
        event = place.event(warden, lambda: server.press(direct, "U7", card["ts"], "Allow"))
        key = event.pop("key")
        equal(event, {"kind": "press", "conversation": direct, "scope": "direct", "id": card["ts"], "sender": "U7",
                      "name": "User U7", "value": "a" * 32})
        assert key.startswith("press:"), key
        warden.until(lambda: not server.open_envelopes, what="an answer to the envelope")
        warden.deliver("b", direct, "Allow, said Ada", platform=card["ts"])
        equal((card["text"], card["blocks"], server.calls("chat.update")[-1]["blocks"]), ("Allow, said Ada", [], "[]"))

        # In a thread; pressed while nobody stores: not answered before it is on the disk, and then one event.
        parent = server.say("C1", "U8", "parent", told=False)["ts"]
        sent, _ = warden.deliver("c", "C1", "which?", thread=parent, choices=CHOICES)
        card = server.places["C1"].messages[sent[0]["platform"]]
        warden.stores = False
        server.press("C1", "U8", card["ts"], "Deny")
        warden.until(lambda: any(batch["events"] for batch in warden.held), what="the press")
        assert server.open_envelopes, "not answered before it is stored"
        warden.kill()
        before = len(place.book.order)
        second = place.start(hello=False)
        second.until(lambda: len(place.book.order) > before and not server.open_envelopes, 20, "the press once more")
        presses = [one for one in place.book.events.values() if one["kind"] == "press"]
        equal((len(presses), presses[-1]["thread"], presses[-1]["title"], presses[-1]["value"]), (2, parent, "#team", "d" * 32))

        # What is not ours, or no press, is nothing, and answered all the same.
        before = len(place.book.order)
        for extra in ({"type": "view_submission"}, {"actions": []}, {"actions": [7]}, {"message": {"user": "U8"}},
                      {"container": []}, {"user": {"id": "x"}}):
            server.press("C1", "U8", card["ts"], "Deny", **extra)
        second.until(lambda: not server.open_envelopes, what="answers")
        second.run(0.3)
        equal(len(place.book.order), before)
        equal(len(second.of("trouble")), 0)


@case
def edits():
    with Place() as place:
        server, warden = place.server, place.start()
        where = server.im("U7")
        first = place.event(warden, lambda: server.say(where, "U7", "one"))
        edit = place.event(warden, lambda: server.edit(where, first["id"], "two"))
        equal((edit["kind"], edit["id"], edit["text"]), ("edit", first["id"], "two"))
        unseen = server.say(where, "U7", "three", told=False)["ts"]
        late = place.event(warden, lambda: server.edit(where, unseen, "four"))  # before what it is an edit of
        equal((late["kind"], late["id"]), ("edit", unseen))
        place.event(warden, lambda: server.again(where, unseen))
        count = len(place.book.order)
        with server.change:  # a preview was made of its link
            message = server.places[where].messages[unseen]
            server.changed(server.places[where], {**message, "attachments": [{"title": "x"}]}, dict(message))
        sent, _ = warden.deliver("x", where, "mine")
        warden.deliver("y", where, "mine, edited", platform=sent[0]["platform"])
        server.event(server.bot(), {"type": "reaction_added", "user": "U7", "reaction": "eyes",
                                    "item": {"type": "message", "channel": where, "ts": "1.000001"}, "event_ts": "1.2"})
        server.event(server.bot(), {"type": "message", "subtype": "message_deleted", "channel": where, "hidden": True,
                                    "deleted_ts": unseen, "ts": server.stamp(), "channel_type": "im"})
        warden.until(lambda: not server.open_envelopes, what="an answer to all of them")
        warden.run(0.3)
        equal(len(place.book.order), count)


@case
def poison():
    with Place() as place:
        server, warden = place.server, place.start()
        for event in (5, {}, {"type": "message"}, {"type": "message", "channel": [], "ts": {}}, {"type": "app_mention"},
                      {"type": "message", "channel": "../C1", "ts": "1700000000.000001", "user": "U7", "text": "x"},
                      {"type": "message", "channel": "C1", "ts": "now", "user": "U7", "text": "x"},
                      {"type": "message", "channel": "C1", "ts": "99999999999999999999.000001", "user": "U7"},
                      {"type": "message", "subtype": "message_changed", "channel": "C1", "message": 7},
                      {"type": "message", "channel": "C1", "ts": "1700000000.000002", "user": "U7\n", "text": "x"},
                      {"type": "message", "channel": "C1", "channel_type": "channel", "ts": "1700000000.000003",
                       "user": "U7", "text": "odd <@ <@U0PEA <!date^1 > <| <>", "files": [7, {}], "attachments": "x"}):
            server.event(server.bot(), event)
        server.envelope(server.bot(), "interactive", {"type": "block_actions"})
        server.envelope(server.bot(), "of_tomorrow", None)
        server.slash("nowhere", "U7", "/pea", "x")
        for line in (b"{", b"[" * 100, b"null", b'{"type":"hello","num_connections":"x"}', b'{"envelope_id":7}',
                     b'{"type":"nothing"}', b'"\\ud800"'):
            server.sockets()[0].send(frame(TEXT, line))
        server.sockets()[0].send(frame(BINARY, b"\0\1"))
        server.say(server.im("U7"), "U7", "after")
        warden.until(lambda: len(place.book.order) == 2, what="what came after them")
        assert sorted(text[:3] for text in place.book.texts()) == ["aft", "odd"], place.book.texts()
        warden.until(lambda: not server.open_envelopes, what="an answer to each")
        equal(len(server.sockets()), 1)


@case
def kinds_of_files():
    with Place() as place:
        server, warden = place.server, place.start()
        files = [{"id": "F1", "name": "../../a\u202eb\n" + "x" * 400, "mimetype": "image/png", "size": -4,
                  "url_private_download": "https://files.slack.com/F1"},
                 {"id": "F2", "name": "gone", "mode": "tombstone"},
                 {"id": "F3", "name": "clip.mp4", "subtype": "slack_audio", "mimetype": "audio/mp4", "size": 9,
                  "url_private": "https://files.slack.com/F3"},
                 {"id": "F4", "name": "doc", "is_external": True, "url_private": "https://docs.example.com/x"}]
        event = place.event(warden, lambda: server.say(server.im("U7"), "U7", "look", subtype="file_share", files=files))
        names = [each["name"] for each in event["files"]]
        assert len(names[0].encode()) <= 200 and "\n" not in names[0], names
        equal([each.get("handle") for each in event["files"]],
              ["https://files.slack.com/F1", None, "https://files.slack.com/F3", None])
        equal((event["files"][0]["size"], event["files"][2]["voice"]), (0, True))
        assert event["files"][1]["note"] and event["files"][3]["note"]
        bare = place.event(warden, lambda: server.say(server.im("U7"), "U7", "", subtype="file_share", files=files[:1]))
        equal(bare["text"], "")
        # The token goes nowhere else.
        for handle in ("https://evil.example/F1", "https://files.slack.com@evil.example/", "http://files.slack.com/F1",
                       place.server.url.replace("127.0.0.1", "127.0.0.1@evil.example"), "file:///etc/passwd",
                       place.server.url + "/auth.revoke"):
            warden.say("fetch", id="f" + handle, handle=handle, most=1000)
            done = warden.until(lambda: warden.of("fetched", id="f" + handle), what="an answer to a fetch")[0]  # noqa: B023
            equal(done.get("error"), "it does not lie with Slack", handle)


@case
def busy_with_a_file():
    with Place() as place:
        server, warden = place.server, place.start()
        where = server.im("U7")
        event = place.event(warden, lambda: server.share(where, "U7", "a.bin", b"x" * 1000))
        server.fault("download", "stalled_before", value=60)
        warden.say("fetch", id="f", handle=event["files"][0]["handle"], most=1 << 22)
        warden.run(1)
        began = time.monotonic()
        server.say(where, "U7", "meanwhile")
        warden.until(lambda: "meanwhile" in place.book.texts(), what="what is said meanwhile")
        equal(warden.deliver("d", where, "and answered")[1], None)
        assert time.monotonic() - began < 8 and not warden.of("fetched"), time.monotonic() - began
        warden.until(lambda: warden.of("fetched", id="f"), 40, "an end of the fetch")


@case
def files_in():
    with Place() as place:
        server, warden = place.server, place.start()
        where, content = server.im("U7"), bytes(range(256)) * 6000
        event = place.event(warden, lambda: server.share(where, "U7", "a.bin", content))
        handle = event["files"][0]["handle"]
        got, last = warden.fetch("1", handle, 2 << 20)
        equal((got == content, last.get("size")), (True, len(content)))
        assert "larger" in warden.fetch("2", handle, 1000)[1]["error"]
        small = place.event(warden, lambda: server.share(where, "U7", "page.png", b"<html>", "image/png"))
        equal(warden.fetch("3", small["files"][0]["handle"])[0], b"<html>")
        server.files["F000001"]["gone"] = True
        assert "any more" in warden.fetch("4", handle)[1]["error"]
        for i, fault in enumerate(("502", "cut_before")):
            server.fault("download", fault)
            assert warden.fetch(f"f{i}", small["files"][0]["handle"])[1]["error"], fault
        warden.kill()
        second = place.start()
        equal(second.fetch("5", small["files"][0]["handle"])[0], b"<html>")
        equal(second.deliver("d", where, "talk goes on")[1], None)


@case
def files_out():
    with Place() as place:
        server, warden = place.server, place.start()
        where, content = server.im("U7"), b"0123456789" * 100_000

        def shared(name):
            return [each for each in server.mine(where) if any(one["name"] == name for one in each.get("files", []))]

        equal(warden.send_file("1", where, content, "big.txt")["type"], "sent")
        equal((len(shared("big.txt")), server.files["F000001"]["content"] == content), (1, True))
        thread = server.say("C1", "U7", "thread", told=False)["ts"]
        equal(warden.send_file("2", "C1", b"x", thread=thread)["type"], "sent")
        equal(server.mine("C1")[0]["thread_ts"], thread)
        equal(warden.send_file("3", "C1", b"x", thread="1234567890.123456")["type"], "sent")
        # An end that nobody knows: it is looked at whether it is there.
        server.fault("files.completeUploadExternal", "cut")
        equal(warden.send_file("4", where, b"y", "cut.txt")["type"], "sent")
        equal(len(shared("cut.txt")), 1)
        server.fault("files.completeUploadExternal", "cut_before")
        equal(warden.send_file("5", where, b"y", "not.txt")["class"], "unknown")
        for number, method in enumerate(("files.getUploadURLExternal", "upload")):
            server.fault(method, "502")
            failed = warden.send_file(f"6{number}", where, b"y", "later.txt")
            equal(failed["class"], "transient", "nobody has seen anything of it")
        other = server.im("U8")
        server.fault("files.getUploadURLExternal", "429", value=7)
        failed = warden.send_file("7", where, b"y")
        equal((failed["class"], failed["retry_ms"]), ("throttled", 7000))
        server.fault("files.getUploadURLExternal", "raw",
                     value='{"ok":true,"file_id":"F9","upload_url":"http://127.0.0.1@evil.example/x"}')
        failed = warden.send_file("8", other, b"y")
        equal((failed["class"], "not its own" in failed["error"]), ("permanent", True))
        equal(warden.send_file("9", "C2", b"y")["class"], "gone")
        equal(len(shared("not.txt") + shared("later.txt")), 0)


# ---- sockets

@case
def refreshed_while_something_is_open():
    with Place(grace=3) as place:
        server, warden = place.server, place.start()
        warden.until(lambda: "gap" not in json.loads(place.book.cursor))
        warden.stores = False
        server.say(server.im("U7"), "U7", "a")
        warden.until(lambda: any(batch["events"] for batch in warden.held))
        old = server.sockets()
        server.refresh()
        warden.run(1)
        equal(server.acks, [])
        for batch in warden.held:
            place.book.store(batch)
            warden.say("stored", cursor=batch["cursor"])
        warden.stores = True
        warden.until(lambda: not server.open_envelopes and server.acks, what="its answer, in time")
        warden.until(lambda: len(server.sockets()) == 1 and server.sockets() != old)
        equal(place.book.texts(), ["a"])
        assert not warden.of("trouble"), warden.of("trouble")


@long_case
def refreshed_while_people_talk():
    """Six times, each time the new socket is open before the old one is closed: nothing has to be looked up."""
    with Place(grace=2) as place:
        server, warden = place.server, place.start()
        warden.until(lambda: warden.of("alive"))
        warden.until(lambda: server.calls("users.conversations"))
        looked = len(server.calls("users.conversations"))
        most = told = 0
        for i in range(6):
            server.refresh("warning" if i % 2 else "refresh_requested")
            for _ in range(25):
                server.say(server.im("U7"), "U7", f"m{told}")
                told += 1
                warden.run(0.1)
                most = max(most, len(server.sockets()))
        warden.until(lambda: len(place.book.order) == told, what="all of them")
        equal(place.book.texts(), [f"m{i}" for i in range(told)], "in order")
        equal((len(server.calls("users.conversations")), most), (looked, 2))
        equal(server.lost, [])
        warden.until(lambda: len(server.sockets()) == 1, 5, "one socket is left")
        return f"{told} messages, {len(server.calls('apps.connections.open'))} sockets"


@case
def answered_too_late():
    with Place(ack_seconds=0.3) as place:
        server, warden = place.server, place.start()
        warden.until(lambda: warden.of("alive"))
        warden.stores = False
        server.say(server.im("U7"), "U7", "slow")
        warden.until(lambda: any(batch["events"] for batch in warden.held))
        warden.run(0.8)
        warden.stores = True
        for batch in warden.held:
            place.book.store(batch)
            warden.say("stored", cursor=batch["cursor"])
        warden.until(lambda: place.book.again and not server.open_envelopes, what="it came again")
        equal(place.book.texts(), ["slow"])


@case
def nobody_listened():
    """All sockets gone for a while: what was said in it is found, also in a chat that is new, in threads old and new."""
    with Place() as place:
        server, warden = place.server, place.start()
        old = place.event(warden, lambda: server.say("C1", "U7", "<@U0PEA> in the channel"))["id"]
        thread = server.say("C1", "U7", "a thread", told=False)["ts"]
        place.event(warden, lambda: server.say("C1", "U7", "<@U0PEA> in it", thread_ts=thread))
        server.shut = True
        server.cut()
        server.until(lambda: not server.sockets())
        server.say(server.im("U7"), "U7", "d1")
        server.say(server.im("U99"), "U99", "a first word")
        for i in range(450):
            server.say("C1", "U8", f"c{i}", told=False)
        server.say("C1", "U7", "<@U0PEA> c450")
        server.say("C1", "U7", "t1", thread_ts=thread)
        server.say("C1", "U7", "t2", thread_ts=old)
        server.say("G1", "U7", "<@U0PEA> g1")
        _, failed = warden.deliver("d", server.im("U7"), "goes out all the same")
        equal(failed, None)
        server.fault("conversations.history", "429", value=1)
        server.fault("users.conversations", "502")
        server.shut = False
        wanted = {"d1", "a first word", "t1", "t2", "g1", "c450", *(f"c{i}" for i in range(450))}
        warden.until(lambda: wanted <= set(place.book.texts()), 30, "all of it")
        channel = [text for text in place.book.texts() if text[0] == "c" and text[1:].isdigit()]
        equal(channel, [f"c{i}" for i in range(451)], "in order")
        equal(len(place.book.texts()), len(set(place.book.texts())))
        warden.until(lambda: "gap" not in json.loads(place.book.cursor), 10, "nothing is missing any more")
        events = place.book.events.values()
        equal({each["scope"] for each in events if each["text"] in ("d1", "a first word")}, {"direct"})
        equal([each.get("thread") for each in events if each["text"] in ("t1", "t2")], [thread, old])
        return f"{len(wanted)} messages in {len(server.calls('conversations.history'))} pages"


@long_case
def a_page_that_cannot_be_read():
    """One of many conversations: it is left out in the end, and said so; the others are looked through."""
    with Place() as place:
        server = place.server
        for number in range(3):
            server.channel(f"C5{number}", f"c{number}")
            server.say(f"C5{number}", "U7", f"missed {number}", told=False)
        place.book.cursor = json.dumps({"ts": f"{time.time() - 60:.6f}", "threads": []})
        server.fault("conversations.history", "raw", times=5, channel="C51", value='{"ok":true,"messages":' + "[" * 50)
        warden = place.start()
        warden.until(lambda: len(place.book.order) == 2, 90, "the others")
        warden.until(lambda: "gap" not in json.loads(place.book.cursor), 90, "an end of it")
        equal(sorted(place.book.texts()), ["missed 0", "missed 2"])
        assert "cannot be looked up" in warden.of("trouble")[-1]["text"], warden.of("trouble")


@case
def killed_while_it_looks_up():
    with Place() as place:
        server = place.server
        for number in range(12):
            server.channel(f"C5{number}", f"c{number}")
            server.say(f"C5{number}", "U7", f"missed {number}", told=False)
        place.book.cursor = json.dumps({"ts": f"{time.time() - 60:.6f}", "threads": []})
        for round in range(8):
            warden = place.start()
            server.say(server.im("U7"), "U7", f"now {round}")  # makes the cursor newer than what is missing
            warden.until(lambda: f"now {round}" in place.book.texts())  # noqa: B023
            warden.run(0.03 * round)
            warden.kill()
            server.spent.clear()
        last = place.start()
        last.until(lambda: len(place.book.order) == 20, 20, "all of them")
        equal(len(set(place.book.texts())), 20)


@case
def a_first_start():
    with Place() as place:
        place.book.cursor = None
        place.server.say(place.server.im("U7"), "U7", "before we were there")
        warden = place.start()
        warden.until(lambda: place.book.cursor, 5, "a cursor")
        warden.kill()
        place.server.say(place.server.im("U7"), "U7", "meanwhile")
        second = place.start()
        second.until(lambda: "meanwhile" in place.book.texts())


@case
def sockets_that_break():
    with Place() as place:
        server, warden = place.server, place.start()
        warden.until(lambda: warden.of("alive"))
        faults = [closing(1000), closing(1001, b"going away"), closing(4004), closing(4009), b"",
                  frame(TEXT, b"\xff\xfe"), frame(TEXT, b"x", mask=b"abcd"), frame(TEXT, b"", length=17 << 20),
                  frame(3, b"?"), frame(TEXT, b"x", rsv=4)]
        for i, fault in enumerate(faults):
            old = server.sockets()[0]
            old.send(fault)
            if not fault:
                old.hang_up()
            server.say(server.im("U7"), "U7", f"m{i}")
            warden.until(lambda: server.sockets() not in ([], [old]), 20, f"a socket after {fault[:12]}")  # noqa: B023
            server.say(server.im("U7"), "U7", f"n{i}")
            warden.until(lambda: {f"m{i}", f"n{i}"} <= set(place.book.texts()), 20, "both")  # noqa: B023
        equal(len(place.book.texts()), len(set(place.book.texts())))


@long_case
def a_server_that_falls_silent():
    """Half open: it hears nothing, answers no ping, and says nothing. Within 45 s it is left, and what was said found."""
    with Place() as place:
        server, warden = place.server, place.start()
        warden.until(lambda: "gap" not in json.loads(place.book.cursor))
        server.deaf_to_pings = True
        server.sockets()[0].greeted = False  # nobody is given what is said now
        server.say(server.im("U7"), "U7", "into the void")
        warden.until(lambda: "into the void" in place.book.texts(), 50, "it was found out")


@long_case
def sockets_that_do_not_open():
    with Place() as place:
        server = place.server
        server.fault("apps.connections.open", "502")
        server.fault("apps.connections.open", "429", value=1)
        server.socket_fault = closing(1000)
        warden = place.start(hello=False)
        server.say(server.im("U7"), "U7", "waits")
        warden.until(lambda: warden.hello, 20, "hello in the end")
        warden.until(lambda: "waits" in place.book.texts())
        equal([each["class"] for each in warden.of("trouble")], ["network"])
        server.socket_fault = "no_hello"
        server.cut()
        began = time.monotonic()
        server.say(server.im("U7"), "U7", "later")
        warden.until(lambda: "later" in place.book.texts(), 40, "what never says hello is left")
        return f"{time.monotonic() - began:.0f} s"


@case
def another_program():
    with Place() as place:
        server = place.server
        first = place.start()
        for i in range(3):
            place.event(first, lambda: server.say(server.im("U7"), "U7", f"m{i}"))  # noqa: B023
        other = Book()
        other.cursor = since_now()
        second = place.start(hello=False, book=other, settings={"patience": "2"})
        for i in range(60):
            server.say(server.im("U7"), "U7", f"n{i}")
            first.run(0.05)
            second.pump(0)
        equal(second.wait(10), 3, "the exit code of the second")
        equal([each["class"] for each in second.of("trouble")], ["network", "conflict"])
        equal(second.hello, None)
        first.until(lambda: len(place.book.order) == 63, 10, "the first one has all of it")
        equal(other.order, [])
        # One that goes in time is waited for.
        third_book = Book()
        third_book.cursor = since_now()
        third = place.start(hello=False, book=third_book, settings={"patience": "20"})
        third.until(lambda: third.of("trouble"))
        first.kill()
        third.until(lambda: third.hello, 20, "its turn has come")


@case
def socket_mode_is_off():
    with Place() as place:
        warden = place.start()
        place.server.bot().enabled = False
        place.server.refresh("link_disabled")
        equal(warden.wait(10), 3)
        assert "Socket Mode" in warden.of("trouble")[-1]["text"], warden.of("trouble")
        second = place.start(hello=False)
        equal(second.wait(10), 3)
        equal([each["class"] for each in second.of("trouble")], ["auth"])


@case
def too_many_sockets():
    with Place() as place:
        place.server.bot().strangers = 10
        warden = place.start(hello=False, settings={"patience": "6"})
        warden.until(lambda: warden.of("trouble"))
        assert "sockets" in warden.of("trouble")[0]["text"], warden.of("trouble")
        place.server.bot().strangers = 0
        warden.until(lambda: warden.hello, 20, "hello when there is room")


# ---- sending

def resolved(warden, id, conversation, seconds=10, part=0, **keys):
    count = len(warden.of("sent", id=id) + warden.of("failed", id=id))
    warden.say("resolve", id=id, key="k" + id, conversation=conversation, part=part, **keys)
    warden.until(lambda: len(warden.of("sent", id=id) + warden.of("failed", id=id)) > count, seconds, "it is found or not")
    return [each for each in warden.frames if each["type"] in ("sent", "failed") and each["id"] == id][-1]


@long_case
def an_end_that_nobody_knows():
    with Place() as place:
        server, warden = place.server, place.start()
        for i, fault in enumerate(("cut", "truncated", "half", "empty", "not_ok", "stall")):
            where = server.im(f"U{20 + i}")
            server.fault("chat.postMessage", fault, channel=where, value=1)
            sent, failed = warden.deliver(f"d{i}", where, f"text {i}")
            equal((sent, failed["class"]), ([], "unknown"), fault)
            got = resolved(warden, f"d{i}", where)
            equal((got["type"], got.get("part"), got.get("of")), ("sent", 0, 1), fault)
            equal(got["platform"], server.mine(where)[0]["ts"])
            equal(server.seen(where), [f"text {i}"])
        for i, fault in enumerate(("cut_before", "502", "500", "504", "stalled_before")):
            where = server.im(f"U{40 + i}")
            server.fault("chat.postMessage", fault, channel=where, value=1)
            sent, failed = warden.deliver(f"e{i}", where, f"text {i}")
            equal((sent, failed["class"]), ([], "unknown"), fault)
            got = resolved(warden, f"e{i}", where)
            equal((got["type"], got.get("class")), ("failed", "not_sent"), fault)
        server.fault("chat.postMessage", "error", value="internal_error")
        equal(warden.deliver("f", server.im("U50"), "x")[1]["class"], "unknown")


@case
def looked_for_after_a_kill():
    with Place() as place:
        server, warden = place.server, place.start()
        where = server.im("U7")
        thread = server.say("C1", "U7", "thread")["ts"]
        text = "\n\n".join(f"{i} " + "word " * 700 for i in range(3))
        server.fault("chat.postMessage", "stall", channel="C1", value=5)
        warden.say("deliver", id="1", key="k1", conversation="C1", thread=thread, text=text)
        warden.until(lambda: server.mine("C1"))
        warden.kill()
        for _ in range(3):  # what others say, and copy
            server.say("C1", "U7", "talk", thread_ts=thread, metadata={
                "event_type": "peacrab_delivery", "event_payload": {"key": "k1", "part": 1, "of": 3}})
        second = place.start()
        for fault in ("502", "429", "truncated"):
            server.fault("conversations.replies", fault, value=1)
        found = resolved(second, "1", "C1", 20, thread=thread)
        equal((found["type"], found["part"], found["of"], found["platform"]), ("sent", 0, 3, server.mine("C1")[0]["ts"]))
        missing = resolved(second, "1", "C1", 20, part=1, thread=thread)
        equal((missing["type"], missing["class"]), ("failed", "not_sent"), "a part of another's making is none of ours")
        equal(second.deliver("rest", "C1", text, thread=thread, **{"from": 1})[1], None)
        equal(len(server.mine("C1")), 3)
        # In the midst of much else, and where it cannot be.
        second.deliver("2", where, "needle")
        for i in range(300):
            server.say(where, "U7", f"hay {i}", told=False)
        equal(resolved(second, "2", where)["type"], "sent")
        gone = resolved(second, "3", "C404")
        equal((gone["type"], gone["class"]), ("failed", "gone"))
        # An edit is found as well.
        second.say("show", slot="s", conversation=where, text="thinking")
        line = second.until(lambda: second.of("shown", slot="s"), what="shown")[0]["platform"]
        server.fault("chat.update", "truncated")
        equal(second.deliver("4", where, "the answer", platform=line)[1]["class"], "unknown")
        equal(resolved(second, "4", where)["platform"], line)
        equal(server.seen(where)[-1], "the answer")


@case
def told_to_wait():
    with Place() as place:
        server, warden = place.server, place.start()
        for i, (value, wanted) in enumerate(((1, 1000), (30, 30_000), (0, 1000), (None, 5000), ("1.5", 1500),
                                             ("soon", 5000), ("1e99", 5000), ("999999999", 86_400_000))):
            where = server.im(f"U{60 + i}")
            server.fault("chat.postMessage", "429", channel=where, value=value)
            failed = warden.deliver(f"d{i}", where, "x")[1]
            equal((failed["class"], failed["retry_ms"]), ("throttled", wanted), str(value))
            equal(warden.deliver(f"o{i}", server.im(f"U{80 + i}"), "others go on")[1], None)
        server.fault("chat.postMessage", "error", value="message_limit_exceeded")
        equal(warden.deliver("l", server.im("U90"), "x")[1]["class"], "throttled")


@case
def refused_for_good():
    with Place() as place:
        server, warden = place.server, place.start()
        server.channel("C3", "old")
        server.places["C3"].archived = True
        for where, wanted in (("C2", "gone"), ("C3", "gone"), ("C404", "gone"), ("../x", "permanent"), ("U7", "permanent")):
            failed = warden.deliver("w" + where, where, "x")[1]
            equal(failed["class"], wanted, where)
        for i, (error, wanted) in enumerate((("msg_too_long", "permanent"), ("restricted_action_read_only_channel", "gone"),
                                             ("invalid_blocks", "permanent"), ("of_tomorrow", "permanent"))):
            server.fault("chat.postMessage", "error", value=error)
            failed = warden.deliver(f"e{i}", server.im(f"U{i + 20}"), "x")[1]
            equal((failed["class"], error in failed["error"]), (wanted, True))
        server.fault("chat.postMessage", "raw", value='{"ok":false,"error":"missing_scope","needed":"chat:write"}')
        failed = warden.deliver("s", server.im("U30"), "x")[1]
        assert "chat:write" in failed["error"] and failed["class"] == "permanent", failed
        server.fault("chat.postMessage", "raw", value=json.dumps({"ok": False, "error": f"no {BOT_TOKEN}\n\x1b[31m"}))
        failed = warden.deliver("r", server.im("U31"), "x")[1]
        equal(failed["error"], "Slack refused it: no *** \\x1b[31m")
        equal(warden.deliver("e", server.im("U32"), " \n ")[1]["class"], "permanent")
        server.say(server.im("U7"), "U7", "still here")
        warden.until(lambda: "still here" in place.book.texts())


@case
def no_connection():
    with Place() as place:
        server, warden = place.server, place.start()
        server.http.shutdown()
        server.http.server_close()
        sent, failed = warden.deliver("d", server.im("U7"), "x")
        equal((sent, failed["class"]), ([], "not_sent"))
        warden.until(lambda: warden.of("trouble"), what="trouble is told")


@long_case
def every_length():
    with Place() as place:
        server, warden = place.server, place.start()
        family, combined = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "e\u0301\u0323"
        texts = ["\U0001f980" * 2000, "\U0001f980" * 2000 + "x", family * 900, combined * 3000, "a" * 4000, "a" * 4001,
                 "word " * 2000, "line of words\n" * 900, "&<>" * 700]
        for i, text in enumerate(texts):
            where = server.im(f"U{50 + i}")
            sent, failed = warden.deliver(f"d{i}", where, text, seconds=30)
            equal(failed, None)
            assert all(len(each["text"].encode("utf-16-le")) // 2 <= 4000 for each in server.mine(where))
            equal("".join("".join(server.seen(where)).replace("\u200b", "").split()), "".join(text.split()), f"text {i}")
            equal([each["part"] for each in sent], list(range(len(server.seen(where)))))
        equal([len(server.seen(server.im(f"U{50 + i}"))) for i in (0, 1, 4, 5)], [1, 2, 1, 2])
        where = server.im("U90")
        warden.deliver("again", where, texts[6], **{"from": 1})
        equal(server.seen(where), server.seen(server.im("U56"))[1:])


@case
def texts_that_are_no_markup():
    with Place() as place:
        server, warden = place.server, place.start()
        for i, text in enumerate(("<b>unclosed & <3 </i> &amp; &#60; <script>", "a < b && c > d", "5 <6", "&lt;",
                                  "<@U7> <!channel> <#C1>")):
            where = server.im(f"U{50 + i}")
            equal(warden.deliver(f"d{i}", where, text)[1], None)
            assert "<" not in server.mine(where)[0]["text"], "nothing of a text is a mention"
        where = server.im("U60")
        equal(warden.deliver("s", where, "x _*[]()~>#+-=|{}.!<& y")[1], None)
        seen = server.seen(where)[0].replace("\u200b", "")
        assert seen.startswith("x ") and seen.endswith(" y") and "#+-=|{}.!<&" in seen, seen


@case
def markdown():
    with Place() as place:
        server, warden = place.server, place.start()
        equal(warden.deliver("d", "C1", MARKDOWN)[1], None)
        written = server.mine("C1")[0]["text"]
        for part in ("*Title*", "*bold*", "_italic_", "`code &lt;x&gt;`", "~gone~",
                     "<https://example.com/?a=1&amp;b=2|link>", "> quoted", "if a &lt; b &amp; c:"):
            assert part in written, (part, written)
        long = "\n".join(MARKDOWN.replace("Title", f"Title {i}") for i in range(40))
        where = server.im("U7")
        sent, failed = warden.deliver("l", where, long, seconds=60)
        equal(failed, None)
        for each in server.mine(where):
            equal(each["text"].count("```") % 2, 0, "each part is whole by itself")
        joined = "\n".join(server.seen(where))
        equal([joined.count(f"Title {i}*\n") for i in range(40)], [1] * 40)
        equal(joined.count('print("fence")'), 40)
        call = server.calls("chat.postMessage")[0]
        equal((call["unfurl_links"], call["unfurl_media"]), ("false", "false"))
        return f"{len(sent)} parts"


@case
def pace():
    with Place() as place:
        server, warden = place.server, place.start()
        began = time.monotonic()
        for i in range(4):
            warden.say("deliver", id=f"a{i}", key="k", conversation="C1", text=f"{i}")
        for i in range(10):
            warden.deliver(f"b{i}", server.im(f"U{100 + i}"), "other")
        assert time.monotonic() - began < 1.5, "other chats waited"
        warden.answer("a3")
        equal(server.seen("C1"), ["0", "1", "2", "3"], "in order")
        times = [each["at"] for each in server.calls("chat.postMessage") if each["channel"] == "C1"]
        assert all(later - earlier > 0.95 for earlier, later in zip(times, times[1:])), times


@case
def lines_that_may_be_lost():
    with Place() as place:
        server, warden = place.server, place.start()
        where = server.im("U7")
        warden.say("show", slot="s", conversation=where, text="thinking")
        shown = warden.until(lambda: warden.of("shown", slot="s"), what="shown")[0]
        for i in range(60):
            warden.say("show", slot="s", conversation=where, text=f"step {i}", platform=shown["platform"])
            warden.run(0.05)
        warden.until(lambda: server.seen(where) == ["step 59"], what="the newest")
        edits = server.calls("chat.update")
        assert len(edits) <= 4, f"{len(edits)} edits in about four seconds"
        warden.say("show", slot="s", conversation=where, text="old", platform=shown["platform"])
        equal(warden.deliver("d", where, "the answer", platform=shown["platform"])[1], None)
        warden.run(1.7)
        equal(server.seen(where), ["the answer"], "one message, and the last word")
        # What was deleted cannot be edited.
        del server.places[where].messages[shown["platform"]]
        equal(warden.deliver("e", where, "said anew", platform=shown["platform"])[1], None)
        equal(server.seen(where), ["said anew"])


@case
def lines_in_many_places():
    """Fifty edits a minute are all there are: lines leave some for answers."""
    with Place() as place:
        server, warden = place.server, place.start()
        for i in range(45):
            warden.say("show", slot=f"s{i}", conversation=server.im(f"U{100 + i}"), text="x", platform="1700000000.000100")
        warden.until(lambda: len(warden.of("shown")) == 45, 20, "an answer to each")
        equal(len(server.calls("chat.update")), 30)
        line = warden.deliver("a", "C1", "line")[0][0]["platform"]
        equal(warden.deliver("d", "C1", "the answer", platform=line)[1], None)


# ---- tokens, starting, ending

@case
def tokens_that_are_none():
    with Place() as place:
        for token, app, words in (("xoxb-wrong", APP_TOKEN, "OAuth"), (BOT_TOKEN, "xapp-wrong", "connections:write"),
                                  (APP_TOKEN, BOT_TOKEN, "xoxb-"), (BOT_TOKEN, "", "xapp-"), ("xoxb-x y", APP_TOKEN, "xoxb-")):
            warden = place.start(hello=False, secrets={"token": token, "app": app})
            equal(warden.wait(), 3, token)
            trouble = warden.of("trouble")[-1]
            equal((trouble["class"], words in trouble["text"]), ("auth", True), trouble["text"])
        place.server.app("xapp-1-A0OTHER-1-ff", "xoxb-9-9-other", "U0OTHER", "other")
        warden = place.start(hello=False, secrets={"app": "xapp-1-A0OTHER-1-ff"})
        equal(warden.wait(), 3)
        assert "different apps: A0PEA and A0OTHER" in warden.of("trouble")[-1]["text"], warden.of("trouble")
        for error in ("account_inactive", "token_revoked"):
            warden = place.start()
            place.server.bot().dead = error
            failed = warden.deliver("d" + error, place.server.im("U7"), "x")[1]
            equal(failed["class"], "not_sent")
            equal(warden.wait(), 3)
            assert error in warden.of("trouble")[-1]["text"]
            place.server.bot().dead = ""


@case
def started_while_it_is_down():
    with Place() as place:
        for fault in ("502", "truncated", "cut"):
            place.server.fault("auth.test", fault)
        warden = place.start(hello=False)
        warden.until(lambda: warden.hello, 15, "hello after three failures")
        equal([each["type"] for each in warden.frames[:2]], ["trouble", "hello"])
        equal(warden.hello["account"], "T1/U0PEA")
        equal(warden.hello["name"], "@pea")


@case
def ends_when_it_is_told():
    with Place() as place:
        warden = place.start()
        where = place.server.im("U7")
        warden.say("deliver", id="a", key="k", conversation=where, text="one")
        warden.say("deliver", id="b", key="k", conversation=where, text="two")
        equal(warden.stop(), 0)
        equal(place.server.seen(where), ["one", "two"], "what was being sent")
        place.server.until(lambda: not place.server.sockets(), 2, "its socket is closed")
        other = place.start()
        other.socket.close()
        other.ended = True
        equal(other.process.wait(5), 0, "its warden is gone")


@case
def it_is_quiet_when_nothing_happens():
    with Place() as place:
        warden = place.start()
        warden.run(2)
        calls = len(place.server.log)
        ticks = sum(map(int, (pathlib.Path(f"/proc/{warden.process.pid}") / "stat").read_text().split()[13:15]))
        warden.run(8)
        after = sum(map(int, (pathlib.Path(f"/proc/{warden.process.pid}") / "stat").read_text().split()[13:15]))
        equal(len(place.server.log), calls, "calls")
        assert after - ticks <= 2, f"{after - ticks} ticks in eight seconds"


# ---- through a proxy, with TLS

@long_case
def through_a_proxy():
    with Tunnelled(Place) as at:
        place, proxy, server = at.place, at.proxy, at.place.server
        warden = place.start(environment=at.environment)
        where = server.im("U7")
        place.event(warden, lambda: server.say(where, "U7", "one"))
        equal(warden.deliver("d", where, "out")[1], None)
        assert proxy.tunnels >= 2
        for i in range(4):  # the tunnel is cut under the socket
            warden.until(lambda: len(server.sockets()) == 1)
            proxy.cut()
            server.say(where, "U7", f"cut {i}")
            warden.until(lambda i=i: f"cut {i}" in place.book.texts(), 20, f"cut {i}")
            server.say(where, "U7", f"live {i}")  # what shows that all is well
            warden.until(lambda i=i: f"live {i}" in place.book.texts(), 20, f"live {i}")
        proxy.refuse(503, 5)
        proxy.cut()
        sent, failed = warden.deliver("r", where, "refused")
        equal((sent, failed["class"]), ([], "not_sent"))
        server.say(where, "U7", "after five refusals")
        warden.until(lambda: "after five refusals" in place.book.texts(), 60)
        equal(len(place.book.order), len(set(place.book.texts())))


@case
def a_socket_without_tls():
    with Tunnelled(Place) as at:
        server = at.place.server
        server.fault("apps.connections.open", "raw", value='{"ok":true,"url":"ws://127.0.0.1:9/link/?ticket=x"}')
        warden = at.place.start(environment=at.environment)
        assert "a socket that is none" in warden.of("trouble")[0]["text"], warden.of("trouble")


if __name__ == "__main__":
    same_cases(Place, "auth.test")
    main()
