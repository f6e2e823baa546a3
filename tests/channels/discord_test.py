#!/usr/bin/env python3
# timeout: 150
"""The Discord channel alone, between an emulator with faults and a scripted warden: nothing lost, nothing stored or sent
twice, whatever breaks. `discord_test.py NAME...` runs only cases whose name contains a NAME.
"""
import json
import os
import pathlib
import random
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from cases import case, equal  # noqa: E402
from channel_place import ChannelPlace, main, same_cases  # noqa: E402
from connect_proxy import Tunnelled  # noqa: E402
from discord_server import DiscordServer  # noqa: E402
from telegram_server import units  # noqa: E402
from websocket_peer import CLOSE, TEXT, frame  # noqa: E402

TOKEN = "NDI0Mg.GAbcde.AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQrrSS"
TEAM, GENERAL, OTHER, CLOSED = 100, 101, 102, 103


class Place(ChannelPlace):
    channel, secrets = "discord", {"token": TOKEN}

    def __init__(self, heartbeat=2.0, **options):
        super().__init__(DiscordServer(heartbeat=heartbeat, **options))
        self.bot = self.server.bot(TOKEN)
        self.server.guild(TEAM, "Team", {GENERAL: "general", OTHER: "other", CLOSED: "closed"})

    def start(self, hello=True, book=None, **options):
        warden = super().start(hello, book, **options)
        if hello and warden.stores:
            warden.until(lambda: self.kept_session(book or self.book), 15, "a cursor with the session")
        return warden

    @staticmethod
    def kept_session(book):
        return book.cursor and "session" in json.loads(book.cursor)

    def direct(self, user=7):
        return self.server.direct(user)

    def say(self, text, user=7, **more):
        return self.server.say(self.direct(user), user, text, **more)

    def heard(self, warden, *texts, seconds=20):
        warden.until(lambda: len(self.book.order) >= len(texts), seconds, f"{len(texts)} messages")
        equal(self.book.texts(), list(texts))

    def new_session(self, warden, make, seconds=25):
        """What makes the bot begin a new session, and until it has."""
        warden.run(self.server.heartbeat + 0.5)  # until it is settled: who is cut off at once waits longer
        before = len(self.bot.identified)
        make()
        warden.until(lambda: len(self.bot.identified) > before and self.server.connected(), seconds, "a new session")
        warden.until(lambda: json.loads(self.book.cursor).get("session") in self.bot.sessions, seconds,
                     "that is in the cursor")

    def __exit__(self, kind, *_):
        super().__exit__(kind)
        assert kind or len(self.wardens) > 1 or not self.server.exceeded, f"more than the limits allow: {self.server.exceeded}"
        gaps = [later - earlier for earlier, later in zip(self.bot.identified, self.bot.identified[1:])]
        assert kind or len(self.wardens) > 1 or all(gap > 5 for gap in gaps), f"IDENTIFY too often: {gaps}"


# ---- receiving

@case
def killed_before_it_was_stored():
    with Place() as place:
        place.start().kill()
        first = place.start(stores=False, hello=False)
        place.server.until_ready()
        place.say("once")
        first.until(lambda: any(batch["events"] for batch in first.held), what="a batch")
        first.kill()
        second = place.start(hello=False)
        place.heard(second, "once")
        second.run(0.3)
        equal((place.book.texts(), sum(place.book.again.values()), len(place.bot.identified)), (["once"], 0, 1))


@case
def killed_after_it_was_stored():
    with Place() as place:
        place.start().kill()
        before = place.book.cursor
        first = place.start(stores=False, hello=False)
        place.server.until_ready()
        place.say("once")
        first.until(lambda: any(batch["events"] for batch in first.held), what="a batch")
        for batch in first.held:
            place.book.store(batch)
        first.kill()
        place.book.cursor = before  # even with one that is old
        second = place.start(hello=False)
        second.until(lambda: place.book.again, what="the same event again")
        place.say("next")
        second.until(lambda: len(place.book.order) == 2, what="the next one")
        equal(place.book.texts(), ["once", "next"])


@case
def the_number_that_is_kept_is_of_what_is_stored():
    with Place() as place:
        warden = place.start()
        session = place.server.connected()[0]
        kept = json.loads(place.book.cursor)["seq"]
        warden.stores = False
        place.say("a")
        warden.until(lambda: warden.held)
        place.say("b")
        warden.run(1)
        equal((len(session.sent), kept), (4, 2), "what was told, and what is kept")
        warden.kill()
        second = place.start(hello=False)
        place.heard(second, "a", "b")
        equal(json.loads(place.book.cursor)["seq"], 4)


@case
def killed_anywhere():
    """Killed 40 times while 200 messages come in from five people and in a channel."""
    with Place() as place:
        place.start().kill()
        told = []

        def people():
            for i in range(200):
                user = 10 + i % 5
                where = GENERAL if user == 14 else place.direct(user)
                place.server.say(where, user, f"{user}/{i}")
                told.append(f"{user}/{i}")
                time.sleep(0.04)

        talking = threading.Thread(target=people)
        talking.start()
        dice = random.Random(4)
        kills = 0
        while kills < 40:
            warden = place.start(hello=False, stores=dice.random() < 0.8)
            warden.run(dice.uniform(0.01, 0.5))
            for batch in warden.held:
                if dice.random() < 0.5:
                    place.book.store(batch)
            warden.kill()
            kills += 1
        talking.join()
        last = place.start(hello=False)
        last.until(lambda: len(place.book.order) >= 200, 20, "all of them")
        last.run(0.3)
        equal(sorted(place.book.texts()), sorted(told), "every message once")
        for user in range(10, 15):
            mine = [text for text in place.book.texts() if text.startswith(f"{user}/")]
            equal(mine, [text for text in told if text.startswith(f"{user}/")], "in order")
        return (f"{kills} kills, {len(told)} messages, {sum(place.book.again.values())} came twice and were stored "
                f"once, {place.bot.resumed} sessions resumed, {len(place.bot.identified)} begun")


@case
def connections_that_end():
    with Place() as place:
        warden = place.start()
        ends = {"a break": place.server.drop, "op 7": lambda: place.server.op(7),
                "op 9 true": lambda: place.server.op(9, True),
                **{f"close {code}": lambda code=code: place.server.close_gateway(code)
                   for code in (1000, 1001, 1011, 4000, 4001, 4002, 4005, 4008)},
                "a masked frame": lambda: place.server.raw(frame(TEXT, b"{}", mask=b"abcd")) or place.server.raw(b"")}
        for number, (what, make) in enumerate(ends.items()):
            before = place.bot.resumed
            make()
            place.server.until(lambda before=before: not place.server.connected() or place.bot.resumed > before, 10, what)
            place.say(what)
            warden.until(lambda number=number: len(place.book.order) == number + 1, 20, what)
        equal(place.book.texts(), list(ends))
        assert place.bot.resumed >= len(ends) - 1, place.bot.resumed
        equal(len(place.bot.identified) <= 2, True, "sessions that were begun")
        warden.kill()


@case
def what_none_should_send():
    """Frames that break the protocol, or are no frames of Discord's at all."""
    with Place() as place:
        warden = place.start()
        place.say("known")
        place.heard(warden, "known")
        raw = {"bad UTF-8": frame(TEXT, b"\xff\xfe"), "too large": frame(TEXT, b"", length=17 << 20),
               "no opcode": frame(3, b"x"), "a close of one byte": frame(CLOSE, b"x")}
        for number, (what, data) in enumerate(raw.items()):
            place.server.raw(data)
            place.server.until(lambda: not place.server.connected(), 10, what)
            place.say(what)
            warden.until(lambda number=number: len(place.book.order) == number + 2, 30, what)
        for text in (b"", b"[]", b"7", b"{}", b"not json", b'{"op":0}', b'{"op":0,"d":[],"s":"x","t":5}',
                     b'{"op":10,"d":{"heartbeat_interval":-5}}', b"[" * 100_000, b'{"op":99,"d":{}}',
                     b'{"op":0,"t":"MESSAGE_CREATE","s":-4,"d":{"id":5,"channel_id":[],"author":7}}',
                     b'{"op":0,"t":"GUILD_CREATE","d":{"channels":[5,{}],"threads":{},"name":[]}}',
                     b'{"op":0,"t":"MESSAGE_UPDATE","d":{"edited_timestamp":"x","content":[]}}'):
            place.server.raw(frame(TEXT, text))
        place.server.dispatch("MESSAGE_CREATE", {"id": "12", "channel_id": "x", "author": {"id": "7"}})
        place.server.dispatch("SOMETHING_NEW", {"x": [1, 2]})
        place.say("after")
        warden.until(lambda: "after" in place.book.texts(), 20, "what came after them")
        equal(place.book.texts(), ["known", *raw, "after"])


@case
def the_same_event_twice():
    with Place() as place:
        warden = place.start()
        said = place.say("a")
        warden.until(lambda: place.book.order)
        for _ in range(3):
            place.server.dispatch("MESSAGE_CREATE", said)
        warden.until(lambda: sum(place.book.again.values()) == 3, what="repeats")
        warden.kill()
        second = place.start(hello=False)
        place.server.until_ready()
        place.server.dispatch("MESSAGE_CREATE", said)
        place.say("c")
        second.until(lambda: len(place.book.order) == 2)
        equal(place.book.texts(), ["a", "c"])


@case
def out_of_order_and_edits():
    with Place() as place:
        warden = place.start()
        said = place.say("late")
        early = {**said, "id": str(int(said["id"]) - 5), "content": "early"}
        place.server.dispatch("MESSAGE_UPDATE", {**early, "content": "edited", "edited_timestamp": "2026-01-01T00:00:00"})
        place.server.dispatch("MESSAGE_CREATE", early)
        warden.until(lambda: len(place.book.order) == 3)
        equal(place.book.texts(), ["late", "edited", "early"])
        edit = place.book.events[place.book.order[1]]
        equal((edit["kind"], edit["id"]), ("edit", early["id"]))
        # What Discord adds to a message is no edit of its writer's; each of these is one.
        place.server.dispatch("MESSAGE_UPDATE", {**said, "embeds": [{"title": "x"}]})
        place.server.dispatch("MESSAGE_UPDATE", {"id": said["id"], "channel_id": said["channel_id"], "embeds": []})
        place.server.dispatch("MESSAGE_DELETE", {"id": said["id"], "channel_id": said["channel_id"]})
        place.server.dispatch("MESSAGE_REACTION_ADD", {"message_id": "1", "channel_id": "1", "emoji": {"name": "x"}})
        for text in ("two", "three"):
            place.server.edit(place.direct(), said["id"], text)
        warden.until(lambda: len(place.book.order) == 5)
        equal(place.book.texts()[3:], ["two", "three"])


@case
def a_new_session_and_what_was_said_meanwhile():
    with Place() as place:
        place.server.thread(110, GENERAL, "aside")
        warden = place.start()
        for where, user in ((place.direct(), 7), (GENERAL, 8), (110, 8), (CLOSED, 8)):
            place.server.say(where, user, "before")
        warden.until(lambda: len(place.book.order) == 4)
        stranger = place.direct(99)
        place.server.remove(110)

        def gap():
            with place.server.change:
                place.server.op(9, False)
                place.server.drop()
                place.server.forbid(CLOSED)
                for i in range(130):
                    place.server.say(place.direct(), 7, f"direct {i}")
                place.server.say(GENERAL, 8, "<@4242> named")
                place.server.say(OTHER, 8, "never heard of it before")
                place.server.say(CLOSED, 8, "nobody may see it")
                place.server.say(stranger, 99, "who are you")
                for user in range(20, 25):  # Discord has no list of direct chats: heard of when they write again
                    place.server.say(place.direct(user), user, "in the gap")

        place.new_session(warden, gap)
        place.server.say(stranger, 99, "hello?")
        place.say("live")
        warden.until(lambda: len(place.book.order) == 4 + 135, 30, "all of it")
        warden.run(0.5)
        texts = place.book.texts()[4:]
        equal(len(texts), 135)
        mine = [text for text in texts if text.startswith("direct") or text == "live"]
        equal(mine, [f"direct {i}" for i in range(130)] + ["live"], "in order")
        equal(sorted(set(texts) - set(mine)), ["hello?", "named", "never heard of it before", "who are you"])
        by_text = {event["text"]: event for event in place.book.events.values()}
        equal((by_text["named"]["scope"], by_text["named"]["addressed"], by_text["direct 3"]["scope"]),
              ("group", True, "direct"))
        equal(sum(place.book.again.values()), 0)


@case
def killed_while_it_catches_up():
    with Place(identify_seconds=0) as place:
        warden = place.start()
        people = range(10, 16)
        for user in people:
            place.say("before", user)
        warden.until(lambda: len(place.book.order) == 6)
        warden.kill()
        wanted = {user: [] for user in people}
        dice, kills = random.Random(2), 0
        for i in range(25):
            place.book.cursor = json.dumps({**json.loads(place.book.cursor), "session": ""})  # each time a new one
            for user in people:
                wanted[user].append(f"{user} {i}")
                place.say(f"{user} {i}", user)
            warden = place.start(hello=False, stores=dice.random() < 0.8)
            warden.run(dice.uniform(0.05, 0.5))
            for batch in warden.held:
                if dice.random() < 0.5:
                    place.book.store(batch)
            warden.kill()
            kills += 1
        last = place.start(hello=False)
        last.until(lambda: len(place.book.order) == 6 + 150, 30, f"all, of {len(place.book.order)}")
        last.run(0.3)
        for user in people:
            mine = [text for text in place.book.texts() if text.startswith(f"{user} ")]
            equal(mine, wanted[user], "in order")
        return f"{kills} kills, {len(place.bot.identified)} sessions, {sum(place.book.again.values())} came twice"


@case
def three_resumes_that_fail():
    with Place() as place:
        warden = place.start()
        place.say("before")
        place.heard(warden, "before")
        place.server.gateway_fault("resume:drop", 3)
        place.new_session(warden, lambda: (place.server.drop(), place.say("in the gap")), 30)
        place.heard(warden, "before", "in the gap")
        equal(place.bot.resumed, 0)
        place.server.gateway_fault("resume:4009")
        place.new_session(warden, place.server.drop, 30)
        place.server.gateway_fault("resume:4007")
        place.new_session(warden, place.server.drop, 30)


@case
def an_answer_that_does_not_come():
    """Heartbeats unanswered: a connection that looks alive is none."""
    with Place(heartbeat=1.0) as place:
        warden = place.start()
        place.server.answers_beats = False
        place.server.until(lambda: not place.server.connected(), 10, "it gives up")
        place.server.answers_beats = True
        place.say("after")
        place.heard(warden, "after")
        equal((place.bot.resumed, len(place.bot.identified)), (1, 1))
        assert all(beat is None or beat >= 1 for beat in place.server.beats)
        before = len(warden.of("alive"))
        warden.run(6)
        assert 1 <= len(warden.of("alive")) - before <= 3, "alive, and not with each"


@case
def a_gateway_that_does_not_let_in():
    with Place() as place:
        place.server.gateway_fault("refuse", 3)
        place.server.fault("gateway", "502")
        place.server.fault("gateway", "truncated")
        warden = place.start(hello=False)
        warden.until(lambda: warden.hello, 30, "hello after five failures")
        equal(len(warden.of("trouble")), 1, "told once")
        equal(warden.of("trouble")[0]["class"], "network")
        place.server.gateway_fault("identify:invalid")
        place.new_session(warden, lambda: place.server.op(9, False), 40)


@case
def no_more_sessions_today():
    with Place() as place:
        place.bot.starts_left = 0
        warden = place.start(hello=False)
        warden.until(lambda: warden.of("trouble"), what="trouble")
        assert "no more sessions" in warden.of("trouble")[0]["text"]
        warden.run(1)
        equal(place.bot.identified, [], "it does not try")
        place.bot.starts_left = 5
        warden.until(lambda: warden.hello, 20, "hello when it may")


@case
def refused_for_good():
    for code in (4004, 4010, 4011, 4012, 4013, 4014):
        with Place() as place:
            place.server.gateway_fault(f"identify:{code}")
            warden = place.start(hello=False)
            equal(warden.wait(20), 3, f"the exit code of {code}")
            equal([frame["class"] for frame in warden.of("trouble")], ["auth"])
    with Place() as place:
        place.bot.privileged = 0
        warden = place.start(hello=False)
        equal(warden.wait(20), 3)
        assert "Message Content Intent" in warden.of("trouble")[0]["text"]
        equal(warden.of("hello"), [])


@case
def who_and_where():
    with Place() as place:
        place.server.thread(110, GENERAL, "aside")
        warden = place.start()

        def event(where, user, text, **keys):
            count = len(place.book.order)
            said = place.server.say(where, user, text, **keys)
            warden.until(lambda: len(place.book.order) > count, what=text)
            found = place.book.events[place.book.order[-1]]
            equal(found["id"], said["id"])
            return found

        plain = event(GENERAL, 7, "just talk")
        equal((plain["scope"], plain["addressed"], plain["title"], plain["sender"], plain["name"]),
              ("group", False, "#general (Team)", "7", "User 7"))
        named = event(GENERAL, 7, "<@4242>, what is <@8> \U0001f980 <:pea:123> <a:x:9> <#101> <@&5> 1<2 <@>?")
        equal((named["addressed"], named["text"]),
              (True, "what is @User 8 \U0001f980 :pea: :x: <#101> <@&5> 1<2 <@>?"))
        equal(event(GENERAL, 7, "and you, <@!4242>")["text"], "and you, @pea")
        equal(event(GENERAL, 7, "<@42420> no")["addressed"], False)
        equal(event(GENERAL, 7, "@everyone", mention_everyone=True)["addressed"], False)
        sent, _ = warden.deliver("x", GENERAL, "mine")
        reply = event(GENERAL, 8, "and?", reply_to=int(sent[0]["platform"]))
        equal((reply["addressed"], reply["reply_to"]), (True, {"id": sent[0]["platform"], "text": "mine", "own": True}))
        quiet = event(GENERAL, 8, "without a ping", reply_to=int(sent[0]["platform"]), mentions=[])
        equal(quiet["addressed"], True)
        equal(event(GENERAL, 9, "to him", reply_to=int(quiet["id"]))["addressed"], False)
        aside = event(110, 7, "in a thread")
        equal((aside["conversation"], aside["title"]), ("110", "#aside (Team)"))
        warden.deliver("t", 110, "in the thread")
        equal(place.server.seen(110), ["in the thread"])
        nick = event(GENERAL, 7, "x", member={"nick": "Captain\nX"})
        equal(nick["name"], "Captain X")
        equal(event(GENERAL, 9, "beep", author={"id": "9", "username": "robot", "bot": True})["bot"], True)
        equal(event(GENERAL, 9, "hook", webhook_id="33", author={"id": "33", "username": "User 7"})["bot"], True)
        forwarded = event(place.direct(), 7, "", message_reference={"type": 1, "message_id": "5"},
                          message_snapshots=[{"message": {"content": "/allow", "attachments": []}}])
        equal(forwarded["text"], "[forwarded]\n/allow")
        direct = event(place.direct(), 7, "<@4242> /stop")
        equal((direct["scope"], direct["addressed"], direct["text"], "title" in direct),
              ("direct", True, "/stop", False))
        # Nobody said these.
        count = len(place.book.order)
        place.server.send(GENERAL, place.bot.user(), "our own")
        for kind in (3, 4, 6, 7, 8, 12, 18, 21, 24, 46):
            place.server.say(GENERAL, 7, "x", type=kind)
        place.server.say(GENERAL, 7, "")
        last = event(GENERAL, 7, "last")
        equal((len(place.book.order), last["text"]), (count + 1, "last"))


@case
def kinds_of_messages():
    with Place() as place:
        warden = place.start()

        def event(text="", **keys):
            count = len(place.book.order)
            place.server.say(place.direct(), 7, text, **keys)
            warden.until(lambda: len(place.book.order) > count, what=str(keys)[:100])
            return place.book.events[place.book.order[-1]]

        equal(event(sticker_items=[{"id": "1", "name": "Wave\n"}])["text"], "[sticker Wave ]")
        poll = {"question": {"text": "Q"}, "answers": [{"poll_media": {"text": "x"}}, {"poll_media": {"text": "y"}}]}
        equal(event(poll=poll)["text"], "[poll: Q\n- x\n- y]")
        long = event("\x01" * 4000)
        equal(len(long["text"]), 4000)
        attach = place.server.attach
        voice = event(flags=8192, attachments=[attach("voice-message.ogg", b"OggS", "audio/ogg", duration_secs=1.5,
                                                      waveform="AA==")])
        equal((voice["text"], voice["files"][0]["voice"], voice["files"][0]["size"]), ("", True, 4))
        named = event("look", attachments=[attach("../../a\u202eb\n\x00" + "x" * 400, b"")] * 40)
        equal((named["text"], len(named["files"]), named["files"][0]["size"]), ("look", 20, 0))
        assert len(named["files"][0]["name"].encode()) <= 200 and "\n" not in named["files"][0]["name"]
        odd = event("odd", attachments=[{"id": "../x", "size": -4, "filename": 7}, 9])
        equal((len(odd["files"]), odd["files"][0]["size"], "handle" in odd["files"][0]), (1, 0, False))
        assert odd["files"][0]["note"]


@case
def much_at_once():
    with Place() as place:
        warden = place.start()
        with place.server.change:
            for i in range(350):
                place.say(f"{i} " + "\x01" * 3900, 10 + i % 3)
        warden.until(lambda: len(place.book.order) == 350, 30)
        equal([text.split()[0] for text in place.book.texts()], [str(i) for i in range(350)])


@case
def it_listens_while_much_is_sent():
    with Place(heartbeat=1.0) as place:
        warden = place.start()
        arrived = []
        for i in range(40):
            warden.say("typing", conversation=place.direct(), on=i % 2 == 0)
            warden.say("show", slot="s", conversation=place.direct(20 + i % 3), text=f"step {i}")
            if i % 10 == 5:
                place.say(f"during {i}")
                arrived.append(f"during {i}")
            warden.run(0.1)
        place.heard(warden, *arrived)
        equal(len(place.bot.identified), 1)


@case
def a_call_that_hangs_costs_no_session():
    """Heartbeats go out before a call that may take long."""
    with Place(heartbeat=12.0) as place:
        warden = place.start()
        place.server.fault("post", "stalled_before", channel=place.direct(), value=60)
        _, failed = warden.deliver("d", place.direct(), "x", seconds=25)
        equal(failed["class"], "unknown")
        place.say("still here")
        place.heard(warden, "still here")
        equal((place.bot.resumed, len(place.bot.identified), place.server.closed_with), (0, 1, []))


# ---- sending

@case
def faults_of_sending():
    table = [("502", None, "transient"), ("500", None, "transient"), ("504", None, "unknown"),
             ("cut", None, "unknown"), ("cut_before", None, "unknown"), ("truncated", None, "unknown"),
             ("empty", None, "unknown"), ("half", None, "unknown"), ("raw", "[]", "unknown"),
             ("raw", "<html>Please log in</html>", "unknown"),
             ("429", 1, "throttled"), ("429", 0, "throttled"), ("429", 1.5, "throttled"), ("429", None, "throttled"),
             ("429", 30, "throttled"), ("429", "soon", "throttled"), ("429", -3, "throttled"),
             ("refused", (403, 50007, "Cannot send messages to this user"), "gone"),
             ("refused", (403, 50001, "Missing Access"), "gone"),
             ("refused", (403, 50013, "Missing Permissions"), "gone"),
             ("refused", (404, 10003, "Unknown Channel"), "gone"),
             ("refused", (400, 50083, "Thread is archived"), "gone"),
             ("refused", (400, 50006, "Cannot send an empty message"), "permanent"),
             ("refused", (400, 200000, "Message was blocked by automatic moderation"), "permanent")]
    with Place() as place:
        warden = place.start()
        for i, (fault, value, _) in enumerate(table):
            place.server.fault("post", fault, channel=place.direct(100 + i), value=value)
            warden.say("deliver", id=f"d{i}", key=f"k{i}", conversation=place.direct(100 + i), text="hello")
        for i, (fault, value, wanted) in enumerate(table):
            sent, failed = warden.answer(f"d{i}", 30)
            if sent:  # the library has asked once more, on another connection
                equal((wanted, place.server.seen(place.direct(100 + i))), ("unknown", ["hello"]), fault)
                continue
            equal((sent, failed["class"]), ([], wanted), f"{fault} {value}")
            wait = failed.get("retry_ms", 0)
            if fault == "429":
                floor = {1: 1000, 0: 100, 1.5: 1500, 30: 30_000}.get(value, 5000)
                assert floor <= wait <= floor + 100, (value, wait)
        # What may be there is safe to be sent again: it stands there once.
        for i, (fault, value, wanted) in enumerate(table):
            if wanted in ("unknown", "transient"):
                warden.say("deliver", id=f"a{i}", key=f"k{i}", conversation=place.direct(100 + i), text="hello", again=True)
                equal(warden.answer(f"a{i}")[1], None)
        for i, (fault, value, wanted) in enumerate(table):
            if wanted in ("unknown", "transient"):
                place.server.until(lambda i=i: place.server.seen(place.direct(100 + i)) == ["hello"], 5, fault)


@case
def killed_while_it_sends():
    """At any moment; what the warden does then, send again with the same key, makes one message of it."""
    with Place() as place:
        warden = place.start()
        dice = random.Random(6)
        for i in range(25):
            where = place.direct(100 + i)
            text = "\n\n".join("x" * 1900 for _ in range(1 + i % 3))
            warden.say("deliver", id=f"d{i}", key=f"kd{i}", conversation=where, text=text)
            warden.run(dice.uniform(0, 0.12) if i % 3 == 0 else dice.uniform(0, 1.2))
            done = len(warden.of("sent", id=f"d{i}"))
            warden.kill()
            warden = place.start()
            if done < 1 + i % 3:
                sent, failed = warden.deliver(f"d{i}", where, text, 20, again=True, **{"from": done})
                equal(failed, None)
            equal(place.server.seen(where), ["x" * 1900] * (1 + i % 3), f"message {i}")


@case
def throttled_places_hold_up_no_other():
    with Place() as place:
        warden = place.start()
        place.server.fault("post", "429", channel=GENERAL, value=2.5)
        _, failed = warden.deliver("a", GENERAL, "one")
        equal((failed["class"], failed["retry_ms"]), ("throttled", 2500))
        began = time.monotonic()
        for i in range(5):
            equal(warden.deliver(f"b{i}", place.direct(30 + i), "other")[1], None)
        assert time.monotonic() - began < 2
        equal(warden.deliver("a2", GENERAL, "one", 10)[1], None)
        assert time.monotonic() - began > 1.5, "and there it waits"
        place.server.fault("post", "429 global", value=1.5)
        _, failed = warden.deliver("g", place.direct(50), "x")
        equal(failed["class"], "throttled")
        count = len(place.server.calls("post"))
        _, failed = warden.deliver("h", place.direct(51), "x")
        equal((failed["class"], len(place.server.calls("post"))), ("throttled", count), "nothing goes out at all")
        warden.run(1.6)
        equal(warden.deliver("h2", place.direct(51), "x")[1], None)


@case
def lengths():
    with Place() as place:
        warden = place.start()
        family, combined = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "e\u0301\u0323"
        texts = ["\U0001f980" * 1000, "\U0001f980" * 1000 + "x", family * 450, combined * 1500, "a" * 2000, "a" * 2001,
                 "word " * 1000, "line of words\n" * 450]
        for i, text in enumerate(texts):
            warden.say("deliver", id=f"d{i}", key=f"k{i}", conversation=place.direct(50 + i), text=text)
        for i, text in enumerate(texts):
            sent, failed = warden.answer(f"d{i}", 30)
            equal(failed, None)
            seen = place.server.seen(place.direct(50 + i))
            assert all(units(part) <= 2000 for part in seen)
            equal("".join("".join(seen).split()), "".join(text.split()), f"text {i}")
            equal([frame["part"] for frame in sent], list(range(len(seen))))
        equal([len(place.server.seen(place.direct(50 + i))) for i in (0, 1, 4, 5)], [1, 2, 1, 2])
        # Only what is missing of a message that was begun.
        warden.deliver("again", place.direct(90), texts[6], **{"from": 1})
        equal(place.server.seen(place.direct(90)), place.server.seen(place.direct(56))[1:])


@case
def texts_with_marks_in_them():
    with Place() as place:
        warden = place.start()
        special = "x _*[]()~>#+-=|{}.!<& y @everyone <@7> <@&5> <#101> @here"
        equal(warden.deliver("s", place.direct(60), special)[1], None)
        seen = place.server.seen(place.direct(60))[0]
        assert "<@7>" not in seen and "@everyone" not in seen, seen
        assert seen.replace("\\", "").replace("\u200b", "").startswith("x _*[]()~>#+-=|{}.!<& y"), seen
        fences = "\n".join(f"Part {i}\n\n```python\n" + "print('x')\n" * 40 + "```\n\n> quoted\n" for i in range(8))
        sent, failed = warden.deliver("f", place.direct(61), fences, 30)
        equal(failed, None)
        parts = place.server.seen(place.direct(61))
        assert len(parts) > 1 and all(part.count("```") % 2 == 0 for part in parts), "each part stands alone"
        equal("".join(parts).count("print('x')"), 320)
        for call in place.server.calls("post"):
            equal((call["body"]["allowed_mentions"], call["body"]["enforce_nonce"]), ({"parse": []}, True))
            assert len(call["body"]["nonce"]) <= 25
        return f"{len(parts)} parts"


@case
def pace():
    with Place() as place:
        warden = place.start()
        began = time.monotonic()
        for i in range(8):
            warden.say("deliver", id=f"a{i}", key=f"k{i}", conversation=place.direct(), text=f"{i}")
        for i in range(10):
            warden.deliver(f"b{i}", place.direct(100 + i), "other")
        assert time.monotonic() - began < 3, "others waited"
        warden.answer("a7", 15)
        equal(place.server.seen(place.direct()), [str(i) for i in range(8)], "in order")


CHOICES = [{"label": "Allow", "value": "a" * 32}, {"label": "Deny", "value": "d" * 32}]


@case
def buttons():
    """Below the last part; a press is stored before it is answered, once, also after a crash; an edit takes them away."""
    with Place() as place:
        server, warden, direct = place.server, place.start(), place.direct()
        equal(warden.hello["limits"]["buttons"], 25)
        sent, _ = warden.deliver("a", direct, "x" * 2500, choices=CHOICES)
        messages = server.channels[direct].messages
        first, card = (messages[frame["platform"]] for frame in sent)
        equal((first["components"], [one["custom_id"] for one in card["components"][0]["components"]]),
              ([], [choice["value"] for choice in CHOICES]))
        press = server.press(direct, 7, card["id"], "Allow")
        warden.until(lambda: server.interactions[press["id"]]["answer"] == 6, what="an answer to the press")
        event = place.book.events[place.book.order[-1]]
        equal({**event, "at": 0}, {"key": "press " + press["id"], "kind": "press", "conversation": direct, "scope": "direct",
                                   "id": card["id"], "sender": "7", "name": "User 7", "value": "a" * 32, "at": 0})
        warden.deliver("b", direct, "Allow, said Ada", platform=card["id"])
        equal((card["content"], card["components"]), ("Allow, said Ada", []))

        # Twenty in a channel; pressed while nobody stores: no answer before it is on the disk, and then one event.
        many = [{"label": f"choice {n}", "value": f"v{n}"} for n in range(20)]
        sent, _ = warden.deliver("c", GENERAL, "which?", choices=many)
        card = server.channels[str(GENERAL)].messages[sent[0]["platform"]]
        equal([len(row["components"]) for row in card["components"]], [5, 5, 5, 5])
        warden.run(1)
        warden.stores = False
        press = server.press(GENERAL, 8, card["id"], "choice 19")
        warden.until(lambda: any(batch["events"] for batch in warden.held), what="the press")
        warden.run(0.3)
        equal(server.interactions[press["id"]]["answer"], None, "not answered before it is stored")
        warden.kill()
        before = len(place.book.order)
        second = place.start(hello=False)
        second.until(lambda: len(place.book.order) > before, 20, "the press once more")
        event = place.book.events[place.book.order[-1]]
        equal((event["value"], event["sender"], event["scope"]), ("v19", "8", "group"))
        second.until(lambda: server.interactions[press["id"]]["answer"] == 6, what="an answer, late")

        # What is not ours, or no press, is nothing; what cannot be answered any more counts all the same.
        said = place.say("mine")
        second.until(lambda: "mine" in [one.get("text") for one in place.book.events.values()], what="a message")
        before = len(place.book.order)
        for extra in ({"type": 2}, {"data": {"component_type": 3, "custom_id": "a"}}, {"message": said},
                      {"data": []}, {"message": None}, {"channel_id": "x"}):
            server.press(direct, 7, said["id"], "a" * 32, **extra)
        server.fault("interaction", "refused", value=(404, 10062, "Unknown interaction"))
        late = server.press(GENERAL, 8, card["id"], "choice 1", token="../../channels")
        server.press(GENERAL, 8, card["id"], "choice 2")
        second.until(lambda: len(place.book.order) == before + 2, what="two presses")
        second.run(0.5)
        equal((place.book.events[place.book.order[-2]]["key"], len(place.book.order)), ("press " + late["id"], before + 2))
        equal(len(second.of("trouble")), 0)


@case
def replies_and_edits():
    with Place() as place:
        warden = place.start()
        said = place.say("question")
        warden.deliver("a", place.direct(), "answer", reply_to=said["id"])
        equal(list(place.server.channels[place.direct()].messages.values())[-1]["message_reference"]["message_id"], said["id"])
        place.server.delete(place.direct(), said["id"])
        sent, _ = warden.deliver("b", place.direct(), "to what is gone", reply_to=said["id"])
        warden.deliver("c", place.direct(), "edited", platform=sent[0]["platform"])
        equal(place.server.seen(place.direct()), ["answer", "edited"])
        place.server.fault("post", "refused", channel=GENERAL,
                           value=(400, 160002, "Cannot reply without permission to read message history"))
        equal(warden.deliver("d", GENERAL, "all the same", reply_to=said["id"])[1], None)
        equal(place.server.seen(GENERAL), ["all the same"])
        place.server.delete(place.direct(), sent[0]["platform"])
        warden.deliver("e", place.direct(), "anew", platform=sent[0]["platform"])
        warden.deliver("f", place.direct(), "not an id", platform="x/../y")
        equal(place.server.seen(place.direct()), ["answer", "anew", "not an id"])
        for where in ("", "x", "../users/@me", "1" * 30, "-5"):
            equal(warden.deliver("w" + where, where, "x")[1]["class"], "permanent")
        warden.say("resolve", id="r", key="k", conversation=place.direct(), part=0)
        warden.until(lambda: warden.of("failed", id="r"))


@case
def lines_that_may_be_lost():
    with Place() as place:
        warden = place.start()
        warden.say("show", slot="s", conversation=place.direct(), text="thinking")
        shown = warden.until(lambda: warden.of("shown", slot="s"), what="shown")[0]
        for i in range(30):
            warden.say("show", slot="s", conversation=place.direct(), text=f"step {i}", platform=shown["platform"])
            warden.run(0.05)
        warden.until(lambda: place.server.seen(place.direct()) == ["step 29"], what="the newest")
        assert len(place.server.calls("edit")) <= 4
        warden.say("show", slot="s", conversation=place.direct(), text="old", platform=shown["platform"])
        equal(warden.deliver("d", place.direct(), "the answer", platform=shown["platform"])[1], None)
        warden.run(1.5)
        equal(place.server.seen(place.direct()), ["the answer"], "one message, and the last word")
        # Its answer is lost: it is not posted twice.
        place.server.fault("post", "cut", channel=place.direct(8))
        warden.say("show", slot="t", conversation=place.direct(8), text="a line")
        line = warden.until(lambda: warden.of("shown", slot="t"), what="shown")[0]
        equal((place.server.seen(place.direct(8)), bool(line.get("platform"))), (["a line"], True))


@case
def typing():
    with Place() as place:
        warden = place.start()
        warden.say("typing", conversation=place.direct(), on=True)
        warden.say("typing", conversation=str(GENERAL), on=True)
        warden.run(0.5)
        warden.say("typing", conversation=str(GENERAL), on=False)
        warden.run(9)
        warden.say("typing", conversation=place.direct(), on=False)
        warden.run(8)
        typed = place.server.channels[place.direct()].typed
        equal((len(typed), len(place.server.channels[str(GENERAL)].typed)), (2, 1))
        assert 7 < typed[1] - typed[0] < 9.5, typed
        place.server.forbid(CLOSED)
        warden.say("typing", conversation=str(CLOSED), on=True)
        warden.run(9)
        equal(len([call for call in place.server.calls("typing") if call["channel"] == str(CLOSED)]), 1)


# ---- files

@case
def files_that_arrive():
    with Place() as place:
        warden = place.start()
        data = os.urandom(1 << 20)
        place.server.say(place.direct(), 7, "look", attachments=[place.server.attach("a.bin", data)])
        place.heard(warden, "look")
        handle = place.book.events[place.book.order[0]]["files"][0]["handle"]
        place.server.addresses.clear()  # what stood in the message is no good any more

        got, end = warden.fetch("f", handle)
        equal((got == data, end), (True, {"type": "fetched", "id": "f", "size": len(data)}))
        assert "error" in warden.fetch("g", handle, 1000)[1], "more than is wanted"
        for i, bad in enumerate(("", "1/2", "x/y/z", "../../users/@me/5", f"{place.direct()}/5/6", handle + "1")):
            assert "error" in warden.fetch(f"h{i}", bad)[1], bad
        place.server.fault("file", "cut")
        assert "error" in warden.fetch("i", handle)[1]
        # A message that names a place elsewhere: nothing is asked there.
        elsewhere = place.server.attach("b", b"x")
        elsewhere["url"] = place.server.url.replace("127.0.0.1", "localhost") + "/users/@me"
        del place.server.files[elsewhere["id"]]
        said = place.server.say(place.direct(), 7, "odd", attachments=[elsewhere])
        count = len(place.server.calls("me"))
        assert "any more" in warden.fetch("j", f"{place.direct()}/{said['id']}/{elsewhere['id']}")[1]["error"]
        equal(len(place.server.calls("me")), count)


@case
def busy_with_a_file():
    with Place() as place:
        warden = place.start()
        place.server.say(place.direct(), 7, "look", attachments=[place.server.attach("a.bin", os.urandom(1 << 20))])
        place.heard(warden, "look")
        place.server.fault("file", "stall", value=60)
        warden.say("fetch", id="f", handle=place.book.events[place.book.order[0]]["files"][0]["handle"], most=1 << 22)
        warden.run(1)
        began = time.monotonic()
        place.server.say(place.direct(), 7, "meanwhile")
        place.heard(warden, "look", "meanwhile")
        equal(warden.deliver("d", place.direct(), "and answered")[1], None)
        assert time.monotonic() - began < 8 and not warden.of("fetched"), time.monotonic() - began
        warden.until(lambda: warden.of("fetched", id="f"), 40, "an end of the fetch")


@case
def files_that_are_sent():
    with Place() as place:
        warden = place.start()
        data = os.urandom(900_000)

        name = {"name": 'a "b".bin', "mime": "application/x-y"}
        equal(warden.send_file("a", place.direct(), data, **name)["type"], "sent")
        said = list(place.server.channels[place.direct()].messages.values())[-1]
        equal(([file["content_type"] for file in said["attachments"]],
               place.server.files[said["attachments"][0]["id"]] == data), (["application/x-y"], True))
        place.server.fault("post", "truncated", channel=place.direct(8))
        equal(warden.send_file("b", place.direct(8), b"small", key="same", **name)["class"], "unknown")
        equal(warden.send_file("c", place.direct(8), b"small", key="same", again=True, **name)["type"], "sent")
        equal(len(place.server.channels[place.direct(8)].messages), 1, "once")


# ---- standing down, starting

@case
def a_token_that_is_none():
    with Place() as place:
        for token in ("WRONG", "../../x y", ""):
            warden = place.start(hello=False, secrets={"token": token})
            equal((warden.wait(), warden.of("trouble")[-1]["class"]), (3, "auth"), token)
        warden = place.start()
        place.bot.revoked = True
        _, failed = warden.deliver("d", place.direct(), "x")
        equal(failed["class"], "not_sent")
        equal((warden.wait(), warden.of("trouble")[-1]["class"]), (3, "auth"))
        place.bot.revoked = False
        warden = place.start()
        place.bot.revoked = True
        place.server.drop()
        equal((warden.wait(20), warden.of("trouble")[-1]["class"]), (3, "auth"), "at the next connection")


@case
def a_server_that_repeats_the_token():
    with Place() as place:
        warden = place.start()
        place.server.fault("post", "refused", channel=place.direct(), value=(400, 5, f"no Bot {TOKEN}\n\x1b[31m"))
        equal(warden.deliver("d", place.direct(), "x")[1]["error"], "Discord refused it: no Bot *** \\x1b[31m")


@case
def a_gateway_elsewhere():
    """Where the token would go in the clear, or to no server at all, it is not sent."""
    with Place() as place:
        for url in ("http://x/", "wss://user@x", "wss://127.0.0.1:1", "", "x" * 5000, "ws://x?y", "file:///etc/passwd"):
            place.server.fault("gateway", "raw", value=json.dumps({"url": url}))
        warden = place.start(hello=False)
        warden.until(lambda: warden.of("trouble"), 20)
        warden.run(2)
        equal(place.bot.identified, [])
        place.server.unfault()
        warden.until(lambda: warden.hello, 60)


@case
def cursors_that_are_none():
    with Place(identify_seconds=0) as place:
        for cursor in ("", "x", "[]", "{}", '{"direct":5}', '{"session":5,"seq":"x","direct":{"a":"b"}}', "[" * 9999,
                       json.dumps({"session": "nobody", "url": "", "seq": 1 << 62, "direct": {}})):
            place.book.cursor = cursor
            warden = place.start(hello=False)
            warden.until(lambda warden=warden: warden.hello, 40, cursor[:50])
            warden.kill()


@case
def started_while_it_is_down():
    with Place() as place:
        for fault in ("502", "truncated", "cut"):
            place.server.fault("me", fault)
        warden = place.start(hello=False)
        warden.until(lambda: warden.hello, 15, "hello after three failures")
        equal([frame["type"] for frame in warden.frames[:2]], ["trouble", "hello"])
        equal((warden.hello["account"], warden.hello["name"], warden.hello["limits"]["dedupe"]), ("4242", "@pea", "key"))


@case
def ends_when_it_is_told():
    with Place() as place:
        warden = place.start()
        warden.say("deliver", id="a", key="k", conversation=place.direct(), text="one")
        warden.say("deliver", id="b", key="l", conversation=place.direct(), text="two")
        equal(warden.stop(), 0)
        equal(place.server.seen(place.direct()), ["one", "two"], "what was being sent")
        place.say("meanwhile")
        other = place.start(hello=False)
        place.heard(other, "meanwhile")
        equal((len(place.bot.identified), place.bot.resumed), (1, 1), "its session was left open")
        other.socket.close()
        other.ended = True
        equal(other.process.wait(10), 0, "its warden is gone")


# ---- through a proxy, with TLS

@case
def through_a_proxy():
    with Tunnelled(Place) as at:
        place, proxy = at.place, at.proxy
        warden = place.start(environment=at.environment)
        place.say("one")
        place.heard(warden, "one")
        equal(warden.deliver("d", place.direct(), "out")[1], None)
        assert proxy.tunnels >= 2
        for i in range(5):
            proxy.cut()
            place.say(f"cut {i}")
            warden.until(lambda i=i: f"cut {i}" in place.book.texts(), 30, f"cut {i}")
        proxy.refuse(503, 5)
        proxy.cut()
        sent, failed = warden.deliver("r", place.direct(), "refused")
        equal((sent, failed["class"]), ([], "not_sent"))
        place.say("after five refusals")
        warden.until(lambda: "after five refusals" in place.book.texts(), 60)
        equal(len(place.book.order), len(set(place.book.texts())))
        equal(len(place.bot.identified), 1)


if __name__ == "__main__":
    same_cases(Place, "me")
    main()
