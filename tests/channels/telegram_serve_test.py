#!/usr/bin/env python3
# timeout: 180
"""Telegram as people have it: `peacrabd serve` with its own adapter, an emulator of Telegram and a scripted model.
Somebody pairs and talks, in private and in a group; Telegram fails; the adapter is killed again and again.
"""
import base64
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from files_test import OPUS, png  # noqa: E402
from hub_test import UID, descendants  # noqa: E402
from messenger_rig import MessengerRig  # noqa: E402
from pty_driver import need  # noqa: E402
from telegram_server import TelegramServer  # noqa: E402

TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
GROUP = -100


class TelegramRig(MessengerRig):
    def __init__(self):
        server = TelegramServer()
        server.bot(TOKEN)
        server.group(GROUP, "Team")
        super().__init__("telegram", server, {"channel-telegram": TOKEN})


def talks(rig):
    server = rig.server
    rig.start()
    server.say(9, 9, "let me in")
    rig.lets_in(7, "owner")
    need(server.seen(9) == [], "a stranger gets nothing")
    need(rig.says(7, "hello \U0001f980") == "re: hello \U0001f980", "it answers")
    need("paired" not in rig.says(7, "/whoami") and server.seen(7)[-1], "commands are answered")
    need(rig.says(7, "two *stars* and <b>") == "re: two stars and <b>", "what is written arrives")
    server.say(GROUP, 7, "not for you")
    need(rig.says(7, "@pea_bot and now?", GROUP).endswith("and now?"), "in a group it answers when it is named")
    need(len(server.seen(GROUP)) == 1, "and only then")
    need(rig.says(7, "/status@pea_bot", GROUP), "a command with its name is one")
    need(TOKEN.encode() not in b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                                        for pid in descendants(rig.process.pid)), "the token is in no command line")


def presses(rig):
    """Who waits at the door is let in with a button, and a question answered with one: what was a card says so."""
    server = rig.server
    messages = server.chats[7].messages

    def press(label):
        server.until(lambda: any("reply_markup" in one for one in messages.values()), 20, f"a card to press {label} on")
        card = [one for one in messages.values() if "reply_markup" in one][-1]
        pressed = [server.press(7, 7, card["message_id"], label) for _ in range(2)]
        server.until(lambda: "reply_markup" not in card, 20, "the buttons to go")
        server.until(lambda: all(server.queries[one["id"]]["answered"] for one in pressed), 5, "answers")
        return card["text"]

    server.say(11, 11, "may I come in?")
    need(press("Allow").endswith("User 7: Allow"), "what was chosen, and by whom")
    server.until(lambda: server.seen(11) == ["re: may I come in?"], 20, "what was said at the door is answered")
    rig.model.script["paint"] = ("ask_user", {"question": "Which colour?", "choices": "red\nblue"})
    server.say(7, 7, "paint")
    need(press("blue").endswith("User 7: blue"), "what was chosen")
    server.until(lambda: "it said: The person answers: blue" in server.seen(7), 20, "the answer")
    need(sum("it said: The person answers" in text for text in server.seen(7)) == 1, "once")


def brings(rig):
    """Files both ways, an album, something spoken."""
    server, inbox = rig.server, rig.folder / "work/inbox"

    def answer(before):
        server.until(lambda: len(server.seen(7)) > before, 30, "an answer")
        return server.seen(7)[-1]
    before = len(server.seen(7))
    server.document(7, 7, b"hello there", "notes.txt", caption="read this")
    need("notes.txt, text/plain, 11 bytes" in answer(before), f"it is told of a document: {server.seen(7)[-1]}")
    need(rig.model.last.startswith("read this\n[file: inbox/"), f"{rig.model.last!r}")
    need([path.read_bytes() for path in inbox.iterdir()] == [b"hello there"], "it is there")
    picture = png()
    before = len(server.seen(7))
    server.photo(7, 7, picture)
    answer(before)
    need([base64.b64decode(each["data"]) for each in rig.model.pictures] == [picture], "a photo is shown, in its largest size")
    before = len(server.seen(7))
    server.send(7, 7, voice={"file_id": server.file(OPUS), "duration": 3, "mime_type": "audio/ogg", "file_size": len(OPUS)})
    server.until(lambda: any("cannot listen" in text for text in server.seen(7)[before:]), 30, "how to have it transcribed")
    server.until(lambda: any("voice message: " in text for text in server.seen(7)[before:]), 30, "an answer")
    before = len(server.seen(7))
    server.document(7, 7, None, "old.bin")
    need("not here: old.bin" in answer(before), f"{server.seen(7)[-1]}")
    (rig.folder / "work/chart.png").write_bytes(picture)
    (rig.folder / "work/table.csv").write_bytes(b"a,b\n1,2\n")
    for number, (name, kind) in enumerate((("chart.png", "photo"), ("table.csv", "document"))):
        if UID is not None:
            os.chown(rig.folder / "work" / name, UID, UID)
        rig.model.script[f"send {name}"] = ("send", {"path": name})
        rig.says(7, f"send {name}")
        server.until(lambda: len(server.received(7)) > number, 30, name)  # noqa: B023
        need(server.received(7)[number] == (kind, name, (rig.folder / "work" / name).read_bytes()), f"{name} comes as it is")
    rig.model.script["at length"] = "".join(f"Line {n} of a long answer.\n\n" for n in range(1500))
    need(rig.says(7, "at length").startswith("Line 0 "), "a long answer begins")
    server.until(lambda: len(server.received(7)) == 3, 30, "all of it")
    need(server.received(7)[2][1] == "answer.md" and b"Line 1499 " in server.received(7)[2][2], "and is a file")


def fails(rig):
    server = rig.server
    for number, (fault, value) in enumerate((("502", None), ("429", 1), ("500", None), ("cut_before", None))):
        server.fault("sendMessage", fault, value=value)
        text = f"through {fault} {number}"
        need(rig.says(7, text) == f"re: {text}", f"{fault} is got over")
    server.fault("sendMessage", "cut")
    server.say(7, 7, "cut")
    server.until(lambda: server.seen(7).count("re: cut") == 2, 30, "once more after an end that nobody knows of")
    server.block(66)
    rig.says(7, "still here")


def killed(rig, people=5, rounds=8, kills=4):
    server = rig.server
    dice = random.Random(3)
    users = range(20, 20 + people)
    for user in users:
        rig.lets_in(user, "member")
    before = {user: len(server.seen(user)) for user in users}
    died, began = 0, time.monotonic()
    for number in range(rounds):
        for user in users:
            server.say(user, user, f"{number} of {user}")
        if died < kills:
            time.sleep(dice.random() * 0.6)
            died += rig.kill("telegram")
        for user in users:
            server.until(lambda user=user: f"{number} of {user}" in " ".join(server.seen(user)), 90,
                         f"an answer to {number} of {user}")
    twice = 0
    for user in users:
        seen = server.seen(user)[before[user]:]
        for number in range(rounds):
            count = sum(text.count(f"{number} of {user}") for text in seen if text.endswith(f" {number} of {user}"))
            need(count >= 1, f"{number} of {user} was answered")
            twice += count - 1
    need(twice <= died, f"{twice} answers came twice, after {died} kills")
    print(f"telegram: {people * rounds} messages, 0 lost, {twice} answers twice (an end that nobody knows of) after "
          f"{died} kills, {time.monotonic() - began:.0f} s")


def main():
    with TelegramRig() as rig:
        talks(rig)
        presses(rig)
        brings(rig)
        fails(rig)
        killed(rig)


if __name__ == "__main__":
    main()
