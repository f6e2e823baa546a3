#!/usr/bin/env python3
# timeout: 150
"""The Telegram channel alone, between an emulator with faults and a scripted warden: nothing lost, nothing stored or
sent twice, whatever breaks. `telegram_test.py NAME...` runs only cases whose name contains a NAME.
"""
import base64
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
from channel_place import MARKDOWN, ChannelPlace, main, same_cases  # noqa: E402
from connect_proxy import Tunnelled  # noqa: E402
from scripted_warden import Book  # noqa: E402
from telegram_server import TelegramServer, units  # noqa: E402

TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
GROUP, FORUM = -100, -1001234567890


class Place(ChannelPlace):
    channel, secrets = "telegram", {"token": TOKEN}

    def __init__(self, **options):
        super().__init__(TelegramServer(**options))
        self.server.bot(TOKEN)
        self.server.group(GROUP, "Team")
        self.server.group(FORUM, "Forum", forum=True)
        self.server.topic(FORUM, 77)
        self.server.know(*range(1, 200))


# ---- receiving

@case
def killed_before_it_was_stored():
    with Place() as place:
        first = place.start(stores=False)
        place.server.say(7, 7, "once")
        first.until(lambda: first.held, what="a batch")
        first.kill()
        second = place.start()
        second.until(lambda: place.book.order, what="the message again")
        second.run(0.3)
        equal(place.book.texts(), ["once"])
        equal(sum(place.book.again.values()), 0)


@case
def killed_after_it_was_stored():
    with Place() as place:
        first = place.start(stores=False)
        place.server.say(7, 7, "once")
        first.until(lambda: first.held, what="a batch")
        place.book.store(first.held[0])
        first.kill()
        place.book.cursor = None  # even with a cursor that is lost
        second = place.start()
        second.until(lambda: place.book.again, what="the same event again")
        place.server.say(7, 7, "next")
        second.until(lambda: len(place.book.order) == 2, what="the next one")
        equal(place.book.texts(), ["once", "next"])


@case
def asks_with_the_new_offset_only_when_stored():
    with Place() as place:
        warden = place.start(stores=False)
        place.server.say(7, 7, "a")
        warden.until(lambda: warden.held)
        warden.run(1)
        offsets = [call["offset"] for call in place.server.calls("getUpdates")]
        assert all(offset is None for offset in offsets), offsets
        place.book.store(warden.held[0])
        warden.stores = True
        warden.say("stored", cursor=warden.held[0]["cursor"])
        warden.until(lambda: place.server.calls("getUpdates")[-1]["offset"] == 1001, what="the new offset")


@case
def killed_anywhere():
    """Killed 40 times while 200 messages come in from five people."""
    with Place() as place:
        told = []

        def people():
            for i in range(200):
                user = 10 + i % 5
                place.server.say(user, user, f"{user}/{i}")
                told.append(f"{user}/{i}")
                time.sleep(0.04)

        talking = threading.Thread(target=people)
        talking.start()
        dice = random.Random(4)
        kills = 0
        while kills < 40:
            warden = place.start(hello=False, stores=dice.random() < 0.8)
            warden.run(dice.uniform(0.01, 0.4))
            for batch in warden.held:
                if dice.random() < 0.5:
                    place.book.store(batch)
            warden.kill()
            kills += 1
        talking.join()
        last = place.start()
        last.until(lambda: len(place.book.order) >= 200, 10, "all of them")
        last.run(0.3)
        equal(sorted(place.book.texts()), sorted(told), "every message once")
        for user in range(10, 15):
            mine = [text for text in place.book.texts() if text.startswith(f"{user}/")]
            equal(mine, [text for text in told if text.startswith(f"{user}/")], "in order")
        return f"{kills} kills, {len(told)} messages, {sum(place.book.again.values())} came twice and were stored once"


@case
def the_same_update_twice():
    with Place() as place:
        warden = place.start()
        place.server.say(7, 7, "a")
        place.server.say(7, 7, "b")
        warden.until(lambda: len(place.book.order) == 2)
        warden.until(lambda: len(place.server.bots[TOKEN].confirmed) == 2)
        place.server.repeat(TOKEN)
        warden.until(lambda: sum(place.book.again.values()) >= 1, what="a repeat")
        warden.kill()
        second = place.start()
        place.server.repeat(TOKEN)
        message = place.server.say(7, 7, "c")
        bot = place.server.bots[TOKEN]
        with place.server.change:
            bot.updates.append({"update_id": bot.next_update - 1, "message": message})
        second.until(lambda: "c" in place.book.texts())
        second.run(0.3)
        equal(place.book.texts(), ["a", "b", "c"])


@case
def out_of_order_and_edits():
    with Place() as place:
        chat = {"id": 7, "type": "private"}
        sender = {"id": 7, "first_name": "A"}
        bot = place.server.bots[TOKEN]
        bot.updates = [
            {"update_id": 1003, "message": {"message_id": 9, "date": 3, "chat": chat, "from": sender, "text": "late"}},
            {"update_id": 1001, "edited_message": {"message_id": 5, "date": 1, "edit_date": 2, "chat": chat,
                                                   "from": sender, "text": "edited"}},
            {"update_id": 1002, "message": {"message_id": 5, "date": 1, "chat": chat, "from": sender, "text": "first"}}]
        bot.next_update = 1004
        warden = place.start()
        warden.until(lambda: len(place.book.order) == 3)
        equal(place.book.cursor, "1004")
        edit = place.book.events["1001"]
        equal((edit["kind"], edit["id"], edit["at"]), ("edit", "5", 2000))
        place.server.say(7, 7, "more")
        warden.until(lambda: len(place.book.order) == 4)


@case
def poison():
    with Place() as place:
        warden = place.start()
        for update in ({"message": 5}, {"message": {"chat": {"id": 7}}}, {"message": {"chat": "x", "from": []}}, {},
                       {"message": {"chat": {"id": 7, "type": "private"}, "from": {"id": 7}, "message_id": "x",
                                    "text": "odd", "entities": [{"type": "mention", "offset": -5, "length": 1 << 40},
                                                                {"offset": 2, "length": 9000}, 7]}}):
            place.server.raw(update)
        place.server.say(7, 7, "after")
        warden.until(lambda: "after" in place.book.texts(), what="what came after them")
        equal(place.book.texts(), ["odd", "after"])
        # An answer that cannot be read is asked for again, less at once, and in the end given up.
        bot = place.server.bots[TOKEN]
        warden.until(lambda: place.server.polling() and place.server.calls("getUpdates")[-1]["offset"] == 1006)
        place.server.fault("getUpdates", "raw", times=7,
                           value='{"ok":true,"result":[{"update_id":%d,"message":' % (bot.next_update + 1) + "[" * 40)
        place.server.say(7, 7, "ends the poll that waits")
        warden.until(lambda: len(place.book.order) == 3)
        place.server.say(7, 7, "cannot be read")
        place.server.say(7, 7, "the next one")
        warden.until(lambda: "the next one" in place.book.texts(), 20, "what came after it")
        equal(place.book.texts(), ["odd", "after", "ends the poll that waits", "the next one"])
        assert "left out" in warden.of("trouble")[-1]["text"]
        # What is no answer of Telegram's costs no message.
        place.server.fault("getUpdates", "raw", times=4, value="<html>Please log in to this network</html>")
        place.server.say(7, 7, "kept")
        warden.until(lambda: "kept" in place.book.texts(), 30)


@case
def garbage_instead_of_updates():
    with Place() as place:
        warden = place.start()
        for i, fault in enumerate(("502", "truncated", "not_ok", "empty", "cut", "cut_before", "half", "500", "429")):
            place.server.fault("getUpdates", fault, value=1 if fault == "429" else None)
            place.server.say(7, 7, f"{fault} {i}")
            place.server.say(7, 7, f"{fault} {i} more")
            warden.until(lambda i=i: len(place.book.order) == 2 * i + 2, 20, fault)
        warden.run(0.3)
        equal(len(set(place.book.texts())), 18)


@case
def groups_topics_and_names():
    with Place() as place:
        warden = place.start()
        say = place.server.say

        def event(**keys):
            count = len(place.book.order)
            say(**keys)
            warden.until(lambda: len(place.book.order) > count, what=str(keys))
            return place.book.events[place.book.order[-1]]

        plain = event(chat=GROUP, user=7, text="just talk")
        equal((plain["scope"], plain["addressed"], plain["title"], plain.get("thread")),
              ("group", False, "Team", None))
        mention = event(chat=GROUP, user=7, text="@Pea_Bot, what is \U0001f980?")
        equal((mention["addressed"], mention["text"]), (True, "what is \U0001f980?"))
        later = event(chat=GROUP, user=7, text="\U0001f468\u200d\U0001f469\u200d\U0001f467 say, @pea_bot")
        equal((later["addressed"], later["text"]), (True, "\U0001f468\u200d\U0001f469\u200d\U0001f467 say, @pea_bot"))
        equal(event(chat=GROUP, user=7, text="@pea_bots no")["addressed"], False)
        ours = event(chat=GROUP, user=7, text="/stop@pea_bot now")
        equal((ours["addressed"], ours["text"]), (True, "/stop now"))
        equal(event(chat=GROUP, user=7, text="/stop@other_bot")["addressed"], False)
        equal(event(chat=GROUP, user=7, text="/stop")["addressed"], False)
        sent, _ = warden.deliver("x", GROUP, "mine")
        reply = event(chat=GROUP, user=8, text="and?", reply_to=int(sent[0]["platform"]))
        equal((reply["addressed"], reply["reply_to"]),
              (True, {"id": sent[0]["platform"], "text": "mine", "own": True}))
        topic = event(chat=FORUM, user=7, text="@pea_bot hi", message_thread_id=77, is_topic_message=True,
                      reply_to_message={"message_id": 77, "forum_topic_created": {"name": "x"},
                                        "from": {"id": 4242, "is_bot": True}})
        equal((topic["thread"], "reply_to" in topic), ("77", False))
        thread = event(chat=GROUP, user=7, text="in a thread of replies", message_thread_id=12)
        equal("thread" in thread, False)
        warden.deliver("t", FORUM, "in the topic", thread="77")
        equal(place.server.seen(FORUM, 77), ["in the topic"])
        warden.deliver("u", FORUM, "the topic is gone", thread="78")
        equal(place.server.seen(FORUM), ["in the topic", "the topic is gone"])
        own_user = {"id": 4242, "is_bot": True, "first_name": "Pea"}
        place.server.send(GROUP, 1, **{"from": own_user}, text="@pea_bot me")
        bot = event(chat=GROUP, user=9, text="@pea_bot hi", via_bot={"id": 1, "is_bot": True})
        equal(bot["bot"], True)
        hidden = event(chat=GROUP, user=9, text="/allow@pea_bot", sender_chat={"id": GROUP, "title": "Team"})
        equal(hidden["sender"], str(GROUP))
        forwarded = event(chat=7, user=7, text="/allow", forward_origin={"type": "hidden_user",
                                                                         "sender_user_name": "Eve"})
        equal(forwarded["text"], "[forwarded from Eve]\n/allow")
        assert "@pea_bot me" not in place.book.texts(), "our own message came back"


@case
def kinds_of_messages():
    with Place() as place:
        warden = place.start()
        send = place.server.send

        def event(**keys):
            count = len(place.book.order)
            send(7, 7, **keys)
            warden.until(lambda: len(place.book.order) > count, what=str(keys))
            return place.book.events[place.book.order[-1]]

        equal(event(sticker={"emoji": "\U0001f980"})["text"], "[sticker \U0001f980]")
        equal(event(location={"latitude": 1.5, "longitude": -2})["text"], "[location: 1.5, -2]")
        equal(event(contact={"first_name": "A", "phone_number": "+1"})["text"], "[contact: A , +1]")
        equal(event(poll={"question": "Q", "options": [{"text": "x"}, {"text": "y"}]})["text"], "[poll: Q\n- x\n- y]")
        equal(event(story={"id": 1})["text"], "[a message of a kind that cannot be shown here]")
        voice = event(voice={"duration": 3, "mime_type": "audio/ogg", "file_size": 900, "file_id": "v"})
        equal((voice["text"], voice["files"][0]["name"], voice["files"][0]["size"]), ("", "voice.ogg", 900))
        equal((voice["files"][0]["handle"], voice["files"][0]["voice"]), ("v", True))
        large = event(video={"mime_type": "video/mp4", "file_size": 30 << 20, "file_id": "big"})["files"][0]
        assert "20 MB" in large["note"] and "handle" not in large, large
        named = event(document={"file_name": "../../a\u202eb\n" + "x" * 400, "file_id": "d", "file_size": -4},
                      caption="look")
        equal(named["text"], "look")
        assert len(named["files"][0]["name"].encode()) <= 200 and "\n" not in named["files"][0]["name"]
        equal(named["files"][0]["size"], 0)
        link = event(text="see here now", entities=[{"type": "text_link", "offset": 4, "length": 4,
                                                     "url": "https://example.com/"}])
        equal(link["text"], "see here (https://example.com/) now")
        place.server.say(GROUP, 7, "x", new_chat_members=[{"id": 1}])
        count = len(place.book.order)
        place.server.album(7, 7, 5, "five")
        warden.until(lambda: "five" in place.book.texts(), what="the album")
        album = place.book.events[place.book.order[-1]]
        equal(len(album["files"]), 5)
        warden.run(1.5)
        equal(len(place.book.order), count + 2, "one event for an album")


@case
def a_hundred_long_messages():
    with Place() as place:
        for i in range(130):
            place.server.say(7, 7, f"{i} " + "\x01" * 4000)
        warden = place.start()
        warden.until(lambda: len(place.book.order) == 130, 20)
        equal([text.split()[0] for text in place.book.texts()], [str(i) for i in range(130)])


@case
def polls_go_on_while_much_is_sent():
    with Place() as place:
        warden = place.start()
        warden.until(lambda: warden.of("alive"), what="alive")
        began = time.monotonic()
        arrived = {}
        for i in range(40):
            warden.say("typing", conversation="7", on=i % 2 == 0)
            warden.say("show", slot="s", conversation=str(20 + i % 3), text=f"step {i}")
            if i % 10 == 5:
                place.server.say(7, 7, f"during {i}")
                arrived[f"during {i}"] = time.monotonic()
            warden.run(0.1)
        warden.until(lambda: len(place.book.order) == 4, 4, "what came meanwhile")
        assert time.monotonic() - began < 9
        assert len(warden.of("alive")) < 10, "alive for every poll"


# ---- buttons

CHOICES = [{"label": "Allow", "value": "a" * 48}, {"label": "Deny", "value": "d" * 48}]


@case
def buttons():
    """Below the last part; a press is stored before it is answered, once; an edit takes them away."""
    with Place() as place:
        server, warden = place.server, place.start()
        equal(warden.hello["limits"]["buttons"], 20)
        sent, _ = warden.deliver("a", 7, "x" * 5000, choices=CHOICES)
        first, card = (server.chats[7].messages[int(frame["platform"])] for frame in sent)
        equal(("reply_markup" in first, [one["callback_data"] for one in card["reply_markup"]["inline_keyboard"][0]]),
              (False, [choice["value"] for choice in CHOICES]))
        query = server.press(7, 7, card["message_id"], "Allow")
        warden.until(lambda: server.queries[query["id"]]["answered"] == 1, what="an answer to the press")
        event = dict(place.book.events[place.book.order[-1]])
        event.pop("key")
        equal(event, {"kind": "press", "conversation": "7", "scope": "direct", "id": str(card["message_id"]), "sender": "7",
                      "name": "User 7", "value": "a" * 48})
        warden.deliver("b", 7, "Allow, said Ada", platform=str(card["message_id"]))
        equal((card["text"], "reply_markup" in card), ("Allow, said Ada", False))

        # In a topic; long labels; pressed while nobody stores: not answered before it is on the disk, then one event.
        many = [{"label": f"the choice {n} of nine", "value": f"v{n}"} for n in range(9)]
        sent, _ = warden.deliver("c", FORUM, "which?", thread="77", choices=many)
        card = server.chats[FORUM].messages[int(sent[0]["platform"])]
        equal(len(card["reply_markup"]["inline_keyboard"]), 9)
        warden.stores = False
        query = server.press(FORUM, 8, card["message_id"], "the choice 8 of nine")
        warden.until(lambda: warden.held, what="the press")
        warden.run(0.3)
        equal(server.queries[query["id"]]["answered"], 0, "not answered before it is stored")
        warden.kill()
        second = place.start()
        second.until(lambda: server.queries[query["id"]]["answered"] == 1, 20, "the press once more")
        event = place.book.events[place.book.order[-1]]
        equal((event["value"], event["sender"], event["scope"], event["thread"], event["title"], len(place.book.order)),
              ("v8", "8", "group", "77", "Forum", 2))

        # Too late to be answered it counts all the same; what is no press of a button of ours is nothing.
        server.query_seconds = -1
        server.press(FORUM, 8, card["message_id"], "v1", message={"message_id": card["message_id"], "date": 0, "chat": card["chat"]})
        second.until(lambda: len(place.book.order) == 3, what="a press that comes late")
        said = server.say(7, 7, "mine")
        for extra in ({"message": {**said}}, {"data": None}, {"data": "x" * 65}, {"message": None}, {"from": None}):
            server.press(7, 7, said["message_id"], "v2", **extra)
        server.say(7, 7, "last")
        second.until(lambda: "last" in [event.get("text") for event in place.book.events.values()], what="what is said then")
        equal([event["kind"] for event in place.book.events.values()].count("press"), 3)
        equal(len(second.of("trouble")), 0)


# ---- sending

@case
def the_answer_is_cut():
    with Place() as place:
        warden = place.start()
        warden.deliver("w", 70, "warm")
        for i, fault in enumerate(("cut", "half", "truncated", "empty", "cut_before")):
            place.server.fault("sendMessage", fault)
            sent, failed = warden.deliver(f"d{i}", 71 + i, "once")
            equal((sent, failed["class"]), ([], "unknown"), fault)
            equal(place.server.seen(71 + i), [] if fault == "cut_before" else ["once"], fault)
        equal(len(place.server.calls("sendMessage")), 6, "nothing was sent by itself again")
        # The same for an edit may be repeated: it has no second effect.
        sent, _ = warden.deliver("p", 80, "placeholder")
        place.server.fault("editMessageText", "cut")
        _, failed = warden.deliver("e1", 80, "final", platform=sent[0]["platform"])
        if failed:
            equal(failed["class"], "unknown")
            _, failed = warden.deliver("e2", 80, "final", platform=sent[0]["platform"], again=True)
        equal((failed, place.server.seen(80)), (None, ["final"]))


@case
def no_answer_at_all():
    with Place() as place:
        warden = place.start()
        place.server.fault("sendMessage", "stall", value=40)
        began = time.monotonic()
        sent, failed = warden.deliver("d", 7, "once", seconds=30)
        equal((sent, failed["class"]), ([], "unknown"))
        assert 10 < time.monotonic() - began < 25
        equal(warden.deliver("n", 8, "next")[1], None)


@case
def nobody_listens():
    with Place() as place:
        warden = place.start()
        warden.until(lambda: place.server.polling())
        place.server.deaf()
        sent, failed = warden.deliver("d", 7, "x")
        equal((sent, failed["class"]), ([], "not_sent"))
        warden.until(lambda: warden.of("trouble", **{"class": "network"}), what="trouble")
        warden.run(2)
        equal(len(warden.of("trouble")), 1, "told once")


@case
def throttled():
    with Place() as place:
        warden = place.start()
        for i, (value, wanted) in enumerate(((1, 1000), (30, 30000), (0, 1000), (None, 5000), (2.5, 2500),
                                             (-3, 5000), ("x", 5000))):
            place.server.fault("sendMessage", "429", chat=50 + i, value=value)
            sent, failed = warden.deliver(f"d{i}", 50 + i, "x")
            equal((sent, failed["class"], failed["retry_ms"]), ([], "throttled", wanted), str(value))
        # Whom it concerns waits, nobody else does.
        began = time.monotonic()
        warden.say("deliver", id="again", key="k", conversation="54", text="now")
        for other in range(60, 65):
            warden.deliver(f"o{other}", other, "at once")
        assert time.monotonic() - began < 1, "others waited"
        warden.answer("again")
        assert 1 < time.monotonic() - began < 4, "it did not wait as it was told"
        equal(place.server.seen(51), [])


@case
def what_a_refusal_means():
    with Place() as place:
        warden = place.start()
        faults = {"500": "transient", "502": "transient", "504": "unknown", "not_ok": "transient", "403": "gone"}
        for i, (fault, wanted) in enumerate(faults.items()):
            place.server.fault("sendMessage", fault)
            equal(warden.deliver(f"d{i}", 50 + i, "x")[1]["class"], wanted, fault)
        place.server.block(90)
        equal(warden.deliver("b", 90, "x")[1]["class"], "gone")
        equal(warden.deliver("n", -999, "x")[1]["class"], "gone")
        equal(warden.deliver("c", "general", "x")[1]["class"], "permanent")
        equal(warden.deliver("e", 7, "")[1]["class"], "permanent")
        place.server.migrate(GROUP, -1009)
        failed = warden.deliver("m", GROUP, "x")[1]
        equal((failed["class"], failed["moved"]), ("gone", "-1009"))
        warden.deliver("m2", -1009, "there")
        equal(place.server.seen(-1009), ["there"])
        sent, _ = warden.deliver("s", 60, "same")
        equal(warden.deliver("s2", 60, "same", platform=sent[0]["platform"]),
              ([{"type": "sent", "id": "s2", "part": 0, "of": 1, "platform": sent[0]["platform"]}], None))
        warden.deliver("s3", 60, "no such message any more", platform="999")
        equal(place.server.seen(60), ["same", "no such message any more"])
        warden.say("resolve", id="r", key="k", conversation="7", part=0)
        warden.until(lambda: warden.of("failed", id="r", **{"class": "unknown"}))


@case
def long_texts():
    with Place() as place:
        warden = place.start()
        family, combined = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "e\u0301\u0323"
        texts = ["\U0001f980" * 2048, "\U0001f980" * 2048 + "x", family * 900, combined * 3000, "a" * 4096, "a" * 4097,
                 "word " * 2000, "line of words\n" * 900]
        for i, text in enumerate(texts):
            sent, failed = warden.deliver(f"d{i}", 50 + i, text, seconds=30)
            equal(failed, None)
            seen = place.server.seen(50 + i)
            assert all(units(part) <= 4096 for part in seen)
            equal("".join("".join(seen).split()), "".join(text.split()), f"text {i}")
            equal([frame["part"] for frame in sent], list(range(len(seen))))
        equal([len(place.server.seen(50 + i)) for i in (0, 1, 4, 5)], [1, 2, 1, 2])
        # Only what is missing of a message that was begun.
        warden.deliver("again", 90, texts[6], **{"from": 1})
        equal(place.server.seen(90), place.server.seen(56)[1:])


@case
def texts_that_are_no_markup():
    with Place() as place:
        warden = place.start()
        for i, text in enumerate(("<b>unclosed & <3 </i> &amp; &#60; <script>", "a < b && c > d", "5 <6", "&lt;")):
            equal(warden.deliver(f"d{i}", 50 + i, text)[1], None)
        special = "x _*[]()~>#+-=|{}.!<& y"
        equal(warden.deliver("s", 60, special)[1], None)
        seen = place.server.seen(60)[0]
        assert seen.startswith("x ") and seen.endswith(" y") and "#+-=|{}.!<&" in seen, seen
        place.server.fault("sendMessage", "unparsable")
        equal(warden.deliver("p", 61, "a < *b*")[1], None)
        equal(place.server.seen(61), ["a < b"])
        equal(place.server.calls("sendMessage")[-1]["parse_mode"], None)


@case
def markdown():
    with Place() as place:
        warden = place.start()
        equal(warden.deliver("d", 50, MARKDOWN)[1], None)
        call = place.server.calls("sendMessage")[-1]
        equal(call["parse_mode"], "HTML", "nothing had to be sent again as plain text")
        seen = "\n".join(place.server.seen(50))
        for part in ("Title", "bold", "code <x>", "https" if "https" in seen else "link", "nested", "quoted",
                     "if a < b & c:", "nested fence"):
            assert part in seen, part
        long = "\n".join(MARKDOWN.replace("Title", f"Title {i}") for i in range(40))
        sent, failed = warden.deliver("l", 51, long, seconds=60)
        equal(failed, None)
        equal({call["parse_mode"] for call in place.server.calls("sendMessage")}, {"HTML"}, "each part parses alone")
        joined = "\n".join(place.server.seen(51))
        equal([joined.count(f"Title {i}\n") for i in range(40)], [1] * 40)
        equal(joined.count('print("fence")'), 40)
        return f"{len(sent)} parts"


@case
def pace():
    with Place() as place:
        warden = place.start()
        began = time.monotonic()
        for i in range(4):
            warden.say("deliver", id=f"a{i}", key="k", conversation="7", text=f"{i}")
        for i in range(10):
            warden.deliver(f"b{i}", 100 + i, "other")
        assert time.monotonic() - began < 1.5, "other chats waited"
        warden.answer("a3")
        equal(place.server.seen(7), ["0", "1", "2", "3"], "in order")
        times = [call["at"] for call in place.server.calls("sendMessage") if call["chat_id"] == 7]
        assert all(later - earlier > 0.95 for earlier, later in zip(times, times[1:])), times


@case
def pace_of_a_group():
    with Place() as place:
        warden = place.start()
        for i in range(22):
            warden.say("deliver", id=f"a{i}", key="k", conversation=str(GROUP), text=f"{i}")
        warden.answer("a19", 30)
        warden.run(3)
        equal(len(place.server.seen(GROUP)), 20, "of 22 in a minute")
        warden.deliver("o", 7, "others go on", seconds=2)


@case
def lines_that_may_be_lost():
    with Place() as place:
        warden = place.start()
        warden.say("show", slot="s", conversation="7", text="thinking")
        shown = warden.until(lambda: warden.of("shown", slot="s"), what="shown")[0]
        for i in range(30):
            warden.say("show", slot="s", conversation="7", text=f"step {i}", platform=shown["platform"])
            warden.run(0.05)
        warden.until(lambda: place.server.seen(7) == ["step 29"], what="the newest")
        edits = place.server.calls("editMessageText")
        assert len(edits) <= 4, f"{len(edits)} edits in about two seconds"
        warden.say("show", slot="s", conversation="7", text="old", platform=shown["platform"])
        equal(warden.deliver("d", 7, "the answer", platform=shown["platform"])[1], None)
        warden.run(1.5)
        equal(place.server.seen(7), ["the answer"], "one message, and the last word")
        # The warden may not know yet what stands there: it is edited all the same.
        for text in ("a", "b"):
            warden.say("show", slot="t", conversation="8", text=text)
            warden.run(0.2)
        warden.until(lambda: place.server.seen(8) == ["b"])
        # The same slot in the next turn is a new line: what was said last stays.
        line = warden.of("shown", slot="t")[-1]["platform"]
        warden.deliver("u", 8, "said", platform=line)
        warden.say("show", slot="t", conversation="8", text="next turn")
        warden.until(lambda: place.server.seen(8) == ["said", "next turn"])


@case
def lines_in_a_busy_group():
    with Place() as place:
        warden = place.start()
        for i in range(14):
            warden.say("show", slot=f"s{i}", conversation=str(GROUP), text=f"line {i}")
        warden.until(lambda: len(warden.of("shown")) == 14, 10, "an answer to each, soon")
        assert len(place.server.seen(GROUP)) < 4
        began = time.monotonic()
        warden.deliver("d", GROUP, "the answer does not wait for them")
        assert time.monotonic() - began < 2


@case
def typing():
    with Place() as place:
        warden = place.start()
        warden.say("typing", conversation="7", on=True)
        warden.say("typing", conversation=str(GROUP), on=True)
        warden.run(0.5)
        warden.say("typing", conversation=str(GROUP), on=False)
        warden.run(9)
        warden.say("typing", conversation="7", on=False)
        warden.run(4.5)
        actions = [at for at, _ in place.server.chats[7].actions]
        equal((len(actions), len(place.server.chats[GROUP].actions)), (3, 1))
        assert all(3.5 < later - earlier < 5 for earlier, later in zip(actions, actions[1:])), actions
        place.server.block(7)
        warden.say("typing", conversation="7", on=True)
        warden.run(4.5)  # once: nobody is there to see it
        equal(len([call for call in place.server.calls("sendChatAction") if call["chat_id"] == 7]), 4)


# ---- standing down, starting

@case
def a_second_poller():
    with Place() as place:
        first = place.start()
        for i in range(3):
            place.server.say(7, 7, f"m{i}")
            first.until(lambda: len(place.book.order) == i + 1)
        second = place.start(book=Book())
        for _ in range(200):
            first.pump(0.02)
            second.pump(0.02)
            if second.ended:
                break
        equal(second.wait(), 3, "the exit code of the second")
        equal(second.of("trouble")[-1]["class"], "conflict")
        place.server.say(7, 7, "still here")
        first.until(lambda: "still here" in place.book.texts(), 10, "the first one goes on")
        # One that does not give way: the first stands down too.
        place.server.fault("getUpdates", "409", times=1000)
        place.server.say(7, 7, "x")
        equal(first.wait(30), 3)


@case
def one_conflict_is_none():
    """A poll that was cut short may come behind the next one."""
    with Place() as place:
        place.server.fault("getUpdates", "409")
        warden = place.start()
        place.server.say(7, 7, "still here")
        warden.until(lambda: "still here" in place.book.texts(), what="what was said")
        equal(warden.of("trouble"), [])


@case
def a_webhook_was_left():
    with Place() as place:
        place.server.bots[TOKEN].webhook = "https://old.example/"
        place.server.say(7, 7, "waiting")
        warden = place.start()
        warden.until(lambda: "waiting" in place.book.texts())
        place.server.api_setWebhook(place.server.bots[TOKEN], {"url": "https://again.example/"})
        place.server.say(7, 7, "after")
        warden.until(lambda: "after" in place.book.texts())


@case
def a_token_that_is_none():
    with Place() as place:
        for token, code in (("4242:WRONG", 3), ("../../x y", 3), ("", 3)):
            warden = place.start(hello=False, secrets={"token": token})
            equal(warden.wait(), code, token)
            equal(warden.of("trouble")[-1]["class"], "auth")
        warden = place.start()
        warden.until(lambda: place.server.polling())
        with place.server.change:
            place.server.bots["9:other"] = place.server.bots.pop(TOKEN)  # it is revoked
        _, failed = warden.deliver("d", 7, "x")
        equal(failed["class"], "not_sent")
        equal(warden.wait(), 3)
        equal(warden.of("trouble")[-1]["class"], "auth")


@case
def a_server_that_repeats_the_token():
    with Place() as place:
        warden = place.start()
        answer = json.dumps({"ok": False, "error_code": 400, "description": f"no /bot{TOKEN}/sendMessage\n\x1b[31m"})
        place.server.fault("sendMessage", "raw", value=answer)
        failed = warden.deliver("d", 7, "x")[1]
        equal(failed["error"], "Telegram refused it: no /bot***/sendMessage \\x1b[31m")


@case
def started_while_it_is_down():
    with Place() as place:
        for fault in ("502", "truncated", "cut"):
            place.server.fault("getMe", fault)
        warden = place.start(hello=False)
        warden.until(lambda: warden.hello, 15, "hello after three failures")
        equal(len(warden.of("trouble")), 1)
        equal([frame["type"] for frame in warden.frames[:2]], ["trouble", "hello"])
        warden.until(lambda: place.server.bots[TOKEN].commands, what="commands")
        equal({command["command"] for command in place.server.bots[TOKEN].commands} >= {"help", "new", "stop"}, True)


@case
def ends_when_it_is_told():
    with Place() as place:
        warden = place.start()
        warden.say("deliver", id="a", key="k", conversation="7", text="one")
        warden.say("deliver", id="b", key="k", conversation="7", text="two")
        equal(warden.stop(), 0)
        equal(place.server.seen(7), ["one", "two"], "what was being sent")
        other = place.start()
        other.socket.close()
        other.ended = True
        equal(other.process.wait(5), 0, "its warden is gone")


# ---- through a proxy, with TLS

@case
def through_a_proxy():
    with Tunnelled(Place) as at:
        place, proxy = at.place, at.proxy
        warden = place.start(environment=at.environment)
        place.server.say(7, 7, "one")
        warden.until(lambda: place.book.texts() == ["one"])
        equal(warden.deliver("d", 7, "out")[1], None)
        assert proxy.tunnels >= 2
        data = os.urandom(700_000)
        equal(fetched(warden, place.server.file(data)), data, "a download")
        equal(warden.send_file("f", 8, data)["type"], "sent")
        equal(place.server.received(8)[0][2], data, "an upload")
        for i in range(5):  # the tunnel is cut in the middle of a long poll
            warden.until(lambda: place.server.polling())
            proxy.cut()
            place.server.say(7, 7, f"cut {i}")
            warden.until(lambda i=i: f"cut {i}" in place.book.texts(), 20, f"cut {i}")
        proxy.refuse(503, 5)
        proxy.cut()
        sent, failed = warden.deliver("r", 7, "refused")
        equal((sent, failed["class"]), ([], "not_sent"))
        place.server.say(7, 7, "after five refusals")
        warden.until(lambda: "after five refusals" in place.book.texts(), 60)
        equal(len(place.book.order), len(set(place.book.texts())))


# ---- files

def fetched(warden, handle, **options):
    """What comes of a `fetch`: the bytes, or the sentence."""
    data, end = warden.fetch(f"f{len(warden.frames)}", handle, **options)
    if "error" in end:
        return end["error"]
    equal(end["size"], len(data), "the size that is said")
    return data


@case
def files_come_in():
    with Place() as place:
        warden = place.start()
        data = os.urandom(1_300_000)
        equal(fetched(warden, place.server.file(data)), data)
        equal(fetched(warden, place.server.file(b"")), b"")
        assert "wrong file_id" in fetched(warden, "nobody's")
        assert "404" in fetched(warden, place.server.file(None))
        assert "too big" in fetched(warden, place.server.file(bytes((20 << 20) + 1)))
        assert "larger than 1000" in fetched(warden, place.server.file(bytes(2000)), most=1000)
        place.server.fault("download", "half")
        error = fetched(warden, place.server.file(data))
        assert isinstance(error, str) and TOKEN not in error, error
        place.server.fault("download", "502")
        assert "502" in fetched(warden, place.server.file(data))
        place.server.fault("getFile", "500")
        assert isinstance(fetched(warden, place.server.file(data)), str)
        for path in ("../../getMe", "a b", "x?y", "/etc", "x/\u0000"):
            place.server.fault("getFile", "raw", value=json.dumps({"ok": True, "result": {"file_path": path}}))
            assert "does not say where" in fetched(warden, place.server.file(data)), path
        # What is said meanwhile is heard, and a slow server does not hold it up for ever.
        place.server.fault("download", "stall", value=60)
        began = time.monotonic()
        error = fetched(warden, place.server.file(data), seconds=60)
        assert isinstance(error, str) and time.monotonic() - began < 30, error
        place.server.say(7, 7, "after it")
        warden.until(lambda: "after it" in place.book.texts(), what="what is said afterwards")
        return f"a server that falls silent: {time.monotonic() - began:.0f} s"


@case
def busy_with_a_file():
    """While one comes that does not end, what is said is heard and what is delivered goes out; who fetches it ends
    with the adapter."""
    with Place() as place:
        warden = place.start()
        place.server.fault("download", "stall", times=2, value=60)
        handle = place.server.file(os.urandom(1_300_000))
        warden.say("fetch", id="f", handle=handle, most=1 << 25)
        warden.until(lambda: place.server.calls("download"), what="the beginning of the file")
        began = time.monotonic()
        place.server.say(7, 7, "meanwhile")
        warden.until(lambda: "meanwhile" in place.book.texts(), what="what is said meanwhile")
        equal(warden.deliver("d", 7, "and answered")[1], None)
        took = time.monotonic() - began
        assert took < 8 and not warden.of("fetched"), took
        warden.until(lambda: warden.of("fetched", id="f"), 40, "an end of the fetch")
        warden.say("fetch", id="g", handle=handle, most=1 << 25)
        warden.until(lambda: len(place.server.calls("download")) == 2, what="the next file")
        helper = [each for each in os.listdir("/proc") if each.isdigit() and parent_of(each) == warden.process.pid]
        equal(len(helper), 1)
        warden.kill()
        deadline = time.monotonic() + 5
        while parent_of(helper[0]) is not None:
            assert time.monotonic() < deadline, "it ends with it"
            time.sleep(0.05)
        return f"meanwhile: {took:.1f} s"


def parent_of(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


@case
def files_go_out():
    with Place() as place:
        warden = place.start()
        png = b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\0\x08" * 2 + os.urandom(900_000)
        for number, (kind, mime, data, method) in enumerate((
                ("picture", "image/png", png, "photo"), ("picture", "image/gif", b"GIF89a" + bytes(99), "document"),
                ("voice", "audio/ogg", b"OggS" + bytes(99), "voice"), ("audio", "audio/mpeg", b"ID3" + bytes(99), "audio"),
                ("video", "video/mp4", bytes(99), "video"), ("file", "text/html", b"\r\n--x--\r\n" * 9, "document"))):
            chat = 40 + number
            sent = warden.send_file(f"o{number}", chat, data, "grüße.bin", mime, kind)
            equal((sent["type"], sent.get("part"), sent.get("of")), ("sent", 0, 1), f"{kind}: {sent}")
            equal(place.server.received(chat), [(method, "grüße.bin", data)], kind)
        wide = bytearray(png)
        wide[23] = 200
        equal(warden.send_file("wide", 50, bytes(wide), kind="picture", mime="image/png")["type"], "sent")
        equal(place.server.received(50)[0][0], "document", "a picture that is none to Telegram")
        large = png + bytes(11 << 20)
        equal(warden.send_file("large", 51, large, kind="picture", mime="image/png")["type"], "sent")
        equal(place.server.received(51)[0], ("document", "a.pdf", large), "a picture that is too large for one")
        equal(warden.send_file("topic", FORUM, b"x", thread="77")["type"], "sent")
        equal(warden.send_file("no-topic", FORUM, b"x", thread="78")["type"], "sent", "a topic that is gone")
        equal(len(place.server.received(FORUM)), 2)
        # What is asked for and not there goes out in no part.
        failed = warden.send_file("gone", 52, bytes(2 << 20), there=1 << 20)
        equal((failed["class"], place.server.received(52)), ("permanent", []))
        for fault, wanted in (("429", "throttled"), ("500", "transient"), ("502", "transient"), ("cut", "unknown"), ("cut_before", "unknown"),
                              ("403", "gone"), ("truncated", "unknown")):
            place.server.fault("sendDocument", fault, value=1)
            failed = warden.send_file("x" + fault, 53, b"data")
            equal((failed["type"], failed.get("class")), ("failed", wanted), fault)
            time.sleep(1.1 if fault == "429" else 0)
        # Others go on while a file waits for its pieces.
        warden.say("deliver", id="slow", key="kslow", conversation="54", text="",
                   file={"name": "a", "mime": "text/plain", "size": 3, "kind": "file"})
        warden.until(lambda: warden.of("want", id="slow"), what="a want")
        warden.say("deliver", id="beside", key="kb", conversation="55", text="beside")
        warden.say("data", id="slow", at=0, data=base64.b64encode(b"abc").decode())
        warden.answer("beside")
        warden.answer("slow")
        equal(place.server.seen(55), ["beside"])


if __name__ == "__main__":
    same_cases(Place, "getMe")
    main()
