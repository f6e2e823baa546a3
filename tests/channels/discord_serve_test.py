#!/usr/bin/env python3
# timeout: 200
# timeout-full: 1200
"""Discord as people have it: set up with `channel add`, then `serve` with its own adapter, an emulator of Discord and a
scripted model. Somebody pairs and talks, in private, in a channel and in a thread; Discord fails; adapter and hub are
killed again and again, and every message is answered once.
"""
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from discord_server import DiscordServer  # noqa: E402
from hub_test import descendants  # noqa: E402
from messenger_rig import MessengerRig, peacrab  # noqa: E402
from pty_driver import PEACRAB, Home, Terminal, need  # noqa: E402

TOKEN = "NDI0Mg.GAbcde.AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQrrSS"
TEAM, GENERAL = 100, 101
FULL = bool(os.environ.get("PEACRAB_FULL"))


def new_server(**options):
    server = DiscordServer(**options)
    server.bot(TOKEN)
    server.guild(TEAM, "Team", {GENERAL: "general"})
    return server


class DiscordRig(MessengerRig):
    def __init__(self):
        super().__init__("discord", new_server(heartbeat=3.0), {"channel-discord": TOKEN})

    def direct(self, user):
        return self.server.direct(user)


def set_up():
    """`channel add` says what to do, asks for the token without showing it, and ends when Discord has let it in."""
    home, server = Home(), new_server(identify_seconds=0)
    bot = server.bots[TOKEN]
    secrets = pathlib.Path(home.env["XDG_CONFIG_HOME"]) / "peacrab/secrets"
    try:
        done = peacrab(home, "channel", "add", "discord", f"api={server.url}", stdin=TOKEN + "\n")
        need(done.returncode == 0 and "lets it in as @pea" in done.stderr, f"the token from a pipe: {done.stderr}")
        need("Message Content Intent" in done.stderr, "what has to be switched on is said")
        need("https://discord.com/oauth2/authorize?client_id=4242&scope=bot&permissions=274878008320" in done.stderr,
             f"the way into a server is shown: {done.stderr}")
        need((secrets / "channel-discord").read_text().strip() == TOKEN, "the token is kept")
        need((secrets / "channel-discord").stat().st_mode & 0o777 == 0o600, "for us alone")
        need(peacrab(home, "channel", "rm", "discord").returncode == 0 and not list(secrets.iterdir()), "rm takes it")

        for wrong in (TOKEN[:-1] + "x", "nonsense", TOKEN + "/../x"):
            done = peacrab(home, "channel", "add", "discord", f"api={server.url}", stdin=wrong)
            need(done.returncode != 0 and "nothing was kept" in done.stderr, done.stderr)
            need(not list(secrets.iterdir()) and wrong not in done.stderr, "what is no good is not kept, and not shown")
        bot.privileged = 0
        done = peacrab(home, "channel", "add", "discord", f"api={server.url}", stdin=TOKEN)
        need(done.returncode != 0 and 'switch "Message Content Intent" on' in done.stderr and
             not list(secrets.iterdir()), f"what is missing at Discord's side is said: {done.stderr}")
        bot.privileged = 1 << 15

        terminal = Terminal([PEACRAB, "channel", "add", "discord", f"api={server.url}"], env=home.env)
        terminal.expect("Token of the bot")
        terminal.type(TOKEN + "\n")
        terminal.expect("lets it in as @pea")
        need(terminal.wait() == 0 and TOKEN not in terminal.text, "it is not shown while it is typed")
    finally:
        home.remove()
        server.close()


def talks(rig):
    server = rig.server
    server.thread(110, GENERAL, "aside")
    rig.start()
    server.until_ready(20)
    server.say(server.direct(9), 9, "let me in")
    rig.lets_in(7, "owner")
    need(server.seen(server.direct(9)) == [], "a stranger gets nothing")
    need(rig.says(7, "hello \U0001f980") == "re: hello \U0001f980", "it answers")
    need("owner" in rig.says(7, "/whoami"), "commands are answered")
    server.say(GENERAL, 7, "not for you")
    need(rig.says(7, "<@4242> and now?", GENERAL).endswith("and now?"), "in a channel it answers when it is named")
    mine = list(server.channels[str(GENERAL)].messages.values())[-1]
    need(rig.says(7, "more?", GENERAL, reply_to=mine["id"]).endswith("more?"), "and when it is replied to")
    need(rig.says(7, "<@4242> here?", 110).endswith("here?"), "in a thread too")
    need(len(server.seen(110)) == 1 and len(server.seen(GENERAL)) == 2, "there, and only when it is asked")
    server.say(GENERAL, 9, "<@4242> and me?")
    server.say(server.direct(9), 9, "once more", webhook_id="5")
    robot = {"id": "8", "username": "robot", "bot": True}
    server.send(GENERAL, robot, "<@4242> are you one too?")
    told = b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(rig.process.pid))
    need(TOKEN.encode() not in told, "the token is in no command line")
    place = server.direct(7)
    rig.model.script["long"] = ("shell", {"command": "sleep 4; echo slept"})
    before, typed = len(server.seen(place)), len(server.channels[place].typed)
    server.say(place, 7, "long")
    server.until(lambda: any("step 1" in text for text in server.seen(place)[before:]), 20, "a line shows that it works")
    server.until(lambda: server.seen(place)[-1] == "it said: slept", 20, "the answer")
    need(len(server.seen(place)) == before + 1, "it took the line's place")
    need(len(server.channels[place].typed) > typed, "and a sign of life was given")
    need(len(server.seen(GENERAL)) == 2 and server.seen(server.direct(9)) == [], "strangers and bots are not answered")


def presses(rig):
    """Who waits at the door is let in with a button, and a question answered with one: what was a card says so."""
    server, place = rig.server, rig.server.direct(7)
    messages = server.channels[place].messages

    def press(label):
        server.until(lambda: any(one["components"] for one in messages.values()), 20, f"a card to press {label} on")
        card = [one for one in messages.values() if one["components"]][-1]
        pressed = [server.press(place, 7, card["id"], label) for _ in range(2)]
        server.until(lambda: not card["components"], 20, "the buttons to go")
        server.until(lambda: all(server.interactions[one["id"]]["answer"] == 6 for one in pressed), 5, "answers")
        return card["content"]

    server.say(server.direct(11), 11, "may I come in?")
    need(press("Allow").endswith("User 7: Allow"), "what was chosen, and by whom")
    server.until(lambda: server.seen(server.direct(11)) == ["re: may I come in?"], 20, "what was said at the door is answered")
    rig.model.script["paint"] = ("ask_user", {"question": "Which colour?", "choices": "red\nblue"})
    server.say(place, 7, "paint")
    need(press("blue").endswith("User 7: blue"), "what was chosen")
    server.until(lambda: "it said: The person answers: blue" in server.seen(place), 20, "the answer")
    need(sum("it said: The person answers" in text for text in server.seen(place)) == 1, "once")


def fails(rig):
    server, place = rig.server, rig.server.direct(7)
    faults = ("502", "429", "cut", "truncated")
    if FULL:
        faults += ("cut_before", "half", "empty", "500", "504", "stall")
    for number, fault in enumerate(faults):
        server.fault("post", fault, channel=place, value=20 if fault == "stall" else 1)
        text = f"through {fault} {number}"
        server.say(place, 7, text)
        server.until(lambda text=text: f"re: {text}" in server.seen(place), 40, f"an answer through {fault}")
    server.drop()
    need(rig.says(7, "the connection was cut") == "re: the connection was cut", "what was said in a gap is answered")
    server.close_gateway(4009)
    need(rig.says(7, "the session is over") == "re: the session is over", "what was said without a session too")
    time.sleep(4)
    for number, fault in enumerate(faults):
        count = server.seen(place).count(f"re: through {fault} {number}")
        need(count == 1, f"after {fault} it is there {count} times")
    need(len(server.channels[str(GENERAL)].typed) <= 2, "a sign of life ends with the answer")
    server.forbid(GENERAL)
    need(rig.says(7, "still here") == "re: still here", "one place that is closed is only that")


def killed(rig, people=5, rounds=8, kills=6):
    server = rig.server
    dice = random.Random(3)
    users = range(20, 20 + people)
    for user in users:
        rig.lets_in(user, "member")
    before = {user: len(server.seen(server.direct(user))) for user in users}
    died, began = 0, time.monotonic()
    for number in range(rounds):
        for user in users:
            server.say(server.direct(user), user, f"{number} of {user}")
        if died < kills:
            time.sleep(dice.random() * 0.6)
            if number % 3 == 2:
                rig.stop()
                rig.start()
                died += 1
            if number % 4 == 3:
                server.close_gateway(4009)  # and no session to go on with
            died += rig.kill("discord")
        for user in users:
            server.until(lambda user=user: f"{number} of {user}" in " ".join(server.seen(server.direct(user))), 90,
                         f"an answer to {number} of {user}")
    time.sleep(4)
    lost = twice = 0
    for user in users:
        seen = "\n".join(server.seen(server.direct(user))[before[user]:])
        for number in range(rounds):
            count = seen.count(f"{number} of {user}")
            lost += count == 0
            twice += max(count - 1, 0)
    need(lost == 0 and twice == 0, f"{lost} lost, {twice} doubled")
    print(f"discord: {people * rounds} messages, 0 lost, 0 doubled after {died} kills, {time.monotonic() - began:.0f} s")


def main():
    set_up()
    with DiscordRig() as rig:
        talks(rig)
        presses(rig)
        fails(rig)
        killed(rig, **({"people": 10, "rounds": 40, "kills": 40} if FULL else {}))
    print("5 passed, 0 failed")


if __name__ == "__main__":
    main()
