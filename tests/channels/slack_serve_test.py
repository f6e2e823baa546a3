#!/usr/bin/env python3
# timeout: 200
# timeout-full: 1200
"""Slack as people have it: set up with `channel add`, then `serve` with its own adapter, an emulator of Slack and a
scripted model. Somebody pairs and talks, in private, in a channel and in a thread; Slack fails; adapter and hub are
killed again and again, and every message is answered once.
"""
import os
import pathlib
import random
import sqlite3
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hub_test import descendants  # noqa: E402
from messenger_rig import MessengerRig, peacrab  # noqa: E402
from pty_driver import PEACRAB, Home, Terminal, need  # noqa: E402
from slack_server import SlackServer  # noqa: E402

APP_TOKEN, BOT_TOKEN = "xapp-1-A0PEA-42-aabbccddeeff", "xoxb-1-2-AAbbCCddEEffGGhh"
FULL = bool(os.environ.get("PEACRAB_FULL"))


def new_server():
    server = SlackServer()
    server.app(APP_TOKEN, BOT_TOKEN)
    server.channel("C1", "team")
    return server


class SlackRig(MessengerRig):
    def __init__(self):
        super().__init__("slack", new_server(), {"channel-slack": BOT_TOKEN, "channel-slack_app": APP_TOKEN})

    def direct(self, user):
        return self.server.im(user)

    def trouble(self):
        book = sqlite3.connect(next((self.folder / "state").rglob("channels.db")))
        try:
            return book.execute("SELECT trouble FROM signs WHERE channel = 'slack'").fetchone()[0]
        finally:
            book.close()


def set_up():
    """`channel add` says what to do, asks for both tokens without showing them, and ends with a word of Slack's."""
    home, server = Home(), new_server()
    secrets = pathlib.Path(home.env["XDG_CONFIG_HOME"]) / "peacrab/secrets"
    try:
        done = peacrab(home, "channel", "add", "slack", f"api={server.url}", stdin=f"{BOT_TOKEN}\n{APP_TOKEN}\n")
        need(done.returncode == 0 and "lets it in as @pea" in done.stderr, f"both tokens from a pipe: {done.stderr}")
        need("socket_mode_enabled: true" in done.stderr and "connections:write" in done.stderr, "the manifest is shown")
        for name, token in (("channel-slack", BOT_TOKEN), ("channel-slack_app", APP_TOKEN)):
            need((secrets / name).read_text().strip() == token and (secrets / name).stat().st_mode & 0o777 == 0o600, name)
        need("slack: @pea" not in peacrab(home, "channel").stdout, "a trial leaves nothing behind")
        need(peacrab(home, "channel", "rm", "slack").returncode == 0 and not list(secrets.iterdir()), "rm takes both")

        for first, second, words in ((BOT_TOKEN, "xapp-wrong", "connections:write"), ("xoxb-wrong", APP_TOKEN, "OAuth"),
                                     (APP_TOKEN, BOT_TOKEN, "xoxb-")):
            done = peacrab(home, "channel", "add", "slack", f"api={server.url}", stdin=f"{first} {second}")
            need(done.returncode != 0 and words in done.stderr and "nothing was kept" in done.stderr, done.stderr)
            need(not list(secrets.iterdir()), "what is no good is not kept")
            need(all(token[-12:] not in done.stderr for token in (APP_TOKEN, BOT_TOKEN)), "no token is shown")
        done = peacrab(home, "channel", "add", "slack", f"api={server.url}", stdin=BOT_TOKEN)
        need(done.returncode != 0 and "xapp-" in done.stderr and not list(secrets.iterdir()), f"one is missing: {done.stderr}")

        terminal = Terminal([PEACRAB, "channel", "add", "slack", f"api={server.url}"], env=home.env)
        terminal.expect("Token of the bot")
        terminal.type(BOT_TOKEN + "\n")
        terminal.expect("Token of the app")
        terminal.type(APP_TOKEN + "\n")
        terminal.expect("lets it in as @pea")
        need(terminal.wait() == 0, "it ends well")
        need(APP_TOKEN not in terminal.text and BOT_TOKEN not in terminal.text, "they are not shown while they are typed")
    finally:
        home.remove()
        server.close()


def talks(rig):
    server = rig.server
    rig.start()
    server.until(server.sockets, 20, "a socket: what was said before the first one is not asked for")
    server.say(server.im("U9"), "U9", "let me in")
    rig.lets_in("U7", "owner")
    need(server.seen(server.im("U9")) == [], "a stranger gets nothing")
    need(rig.says("U7", "hello \U0001f980 &lt;3") == "re: hello \U0001f980 <3", "it answers")
    need("owner" in rig.says("U7", " /whoami"), "commands are answered")
    place = server.im("U7")
    before = len(server.mine(place))
    server.slash(place, "U7", "/peacrab", "status")
    server.until(lambda: len(server.mine(place)) > before, 20, "an answer to a command of Slack's own")
    server.say("C1", "U7", "not for you")
    need(rig.says("U7", "<@U0PEA> and now?", "C1").endswith("and now?"), "in a channel it answers when it is named")
    thread = server.say("C1", "U8", "a thread", told=False)["ts"]
    need(rig.says("U7", "<@U0PEA> here?", "C1", thread_ts=thread).endswith("here?"), "in a thread too")
    need(len(server.seen("C1", thread)) == 1 and len(server.seen("C1")) == 2, "there, and only when it is asked")
    server.say("C1", "U9", "<@U0PEA> and me?")
    server.say(server.im("U9"), "U9", "once more", bot_id="B9")
    told = b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(rig.process.pid))
    need(APP_TOKEN.encode() not in told and BOT_TOKEN.encode() not in told, "no token is in a command line")
    rig.model.script["long"] = ("shell", {"command": "sleep 4; echo slept"})
    before = len(server.mine(place))
    server.say(place, "U7", "long")
    server.until(lambda: any("step 1" in text for text in server.seen(place)[before:]), 20, "a line shows that it works")
    server.until(lambda: server.seen(place)[-1] == "it said: slept", 20, "the answer")
    need(len(server.mine(place)) == before + 1, "it took the line's place")
    need(len(server.seen("C1")) == 2 and server.seen(server.im("U9")) == [], "a stranger is not answered in a channel")


def presses(rig):
    """Who waits at the door is let in with a button, and a question answered with one: what was a card says so."""
    server, place = rig.server, rig.server.im("U7")

    def press(label):
        server.until(lambda: any(one.get("blocks") for one in server.mine(place)), 20, f"a card to press {label} on")
        card = [one for one in server.mine(place) if one.get("blocks")][-1]
        for _ in range(2):
            server.press(place, "U7", card["ts"], label)
        server.until(lambda: not card["blocks"] and not server.open_envelopes, 20, "the buttons to go")
        return card["text"]

    server.say(server.im("U11"), "U11", "may I come in?")
    need(press("Allow").endswith("User U7: Allow"), "what was chosen, and by whom")
    server.until(lambda: server.seen(server.im("U11")) == ["re: may I come in?"], 20, "what was said at the door is answered")
    rig.model.script["paint"] = ("ask_user", {"question": "Which colour?", "choices": "red\nblue"})
    server.say(place, "U7", "paint")
    need(press("blue").endswith("User U7: blue"), "what was chosen")
    server.until(lambda: "it said: The person answers: blue" in server.seen(place), 20, "the answer")
    need(sum("it said: The person answers" in text for text in server.seen(place)) == 1, "once")


def fails(rig):
    server, place = rig.server, rig.server.im("U7")
    faults = ("502", "429", "cut") if not FULL else ("502", "429", "cut", "cut_before", "truncated", "stall", "500")
    for number, fault in enumerate(faults):
        server.fault("chat.postMessage", fault, channel=place, value=1)
        text = f"through {fault} {number}"
        need(rig.says("U7", text) == f"re: {text}", f"{fault} is got over")
    server.cut()
    need(rig.says("U7", "all sockets were cut") == "re: all sockets were cut", "what was said in a gap is answered")
    server.shut = True
    server.cut()
    server.until(lambda: rig.trouble() == "network", 20, "that it is cut off stands in the book")
    server.shut = False
    server.until(lambda: rig.trouble() == "", 60, "and no longer than it is")
    time.sleep(4)
    for number, fault in enumerate(faults):
        count = server.seen(place).count(f"re: through {fault} {number}")
        need(count == 1, f"after {fault} it is there {count} times")


def killed(rig, people=5, rounds=8, kills=5):
    server = rig.server
    dice = random.Random(3)
    users = [f"U{20 + i}" for i in range(people)]
    for user in users:
        rig.lets_in(user, "member")
    before = {user: len(server.mine(server.im(user))) for user in users}
    died, began = 0, time.monotonic()
    for number in range(rounds):
        for user in users:
            server.say(server.im(user), user, f"number {number}.")
        if died < kills:
            time.sleep(dice.random() * 0.6)
            if number % 3 == 2:
                rig.stop()
                rig.start()
                died += 1
            died += rig.kill("slack")
        for user in users:
            server.until(lambda user=user: f"number {number}." in " ".join(server.seen(server.im(user))), 90,
                         f"an answer to {number} of {user}")
        server.spent.clear()
    time.sleep(5)
    lost = twice = 0
    for user in users:
        seen = "\n".join(server.seen(server.im(user))[before[user]:])
        for number in range(rounds):
            count = seen.count(f"number {number}.")
            lost += count == 0
            twice += max(count - 1, 0)
    need(lost == 0 and twice == 0, f"{lost} lost, {twice} doubled")
    print(f"slack: {people * rounds} messages, 0 lost, 0 doubled after {died} kills, {time.monotonic() - began:.0f} s")


def main():
    set_up()
    with SlackRig() as rig:
        talks(rig)
        presses(rig)
        fails(rig)
        killed(rig, **({"people": 10, "rounds": 40, "kills": 40} if FULL else {}))
    print("5 passed, 0 failed")


if __name__ == "__main__":
    main()
