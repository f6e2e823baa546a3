#!/usr/bin/env python3
# timeout: 90
"""The emulator of Discord is one to discord.js, the library most bots are written with: a bot of its kind works on it,
is told what Discord would tell it, and finds its session again.
"""
import pathlib
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import npm_packages  # noqa: E402
from discord_server import DiscordServer  # noqa: E402

TOKEN = "NDI0Mg.GAbcde.AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQrrSS"
CRAB = "\U0001f980"
GUILD, GENERAL, CLOSED = 100_000_001, 100_000_010, 100_000_011


class JsBot:
    def __init__(self, server, token=TOKEN, content="1"):
        self.process = npm_packages.start(ROOT / "tests/support/discord_bot.cjs", TOKEN=token,
                                          API=server.url.removesuffix("/v10"), CONTENT=content)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(line.strip() for line in self.process.stdout),
                                       daemon=True)
        self.reader.start()

    def end(self):
        self.process.terminate()
        self.process.wait(15)
        self.reader.join(5)


def main():
    npm_packages.need("discord.js")
    server = DiscordServer(heartbeat=2)
    server.bot(TOKEN)
    server.guild(GUILD, "Team", {GENERAL: "general", CLOSED: "closed"})
    server.forbid(CLOSED)
    users = iter(range(1000, 2000))
    bot = JsBot(server)
    server.until(lambda: bot.lines, 20, "a word of the bot")
    assert bot.lines == ["ready pea 1"], bot.lines
    checks = 0

    def answers(text, *wanted, channel=None, **extra):
        nonlocal checks
        channel = channel or server.direct(next(users))
        before = len(server.seen(channel))
        server.say(channel, 7, text, **extra)
        server.until(lambda: len(server.seen(channel)) >= before + len(wanted), 15, f"an answer to {text}")
        got = server.seen(channel)[before:]
        assert got == list(wanted), f"{text}: wanted {wanted}, got {got}"
        checks += 1
        return channel

    answers(f"{CRAB} grüße", f"private: 8 {CRAB} grüße")
    answers("hello", "Team #general: 5 hello", channel=GENERAL)
    answers(f"<@{bot_id(server)}> and you", "Team #general, named: 15 <@4242> and you", channel=GENERAL)
    said = server.say(GENERAL, 7, "!echo x")
    server.until(lambda: server.seen(GENERAL)[-1] == "x")
    reply = list(server.channels[str(GENERAL)].messages.values())[-1]
    assert reply["message_reference"]["message_id"] == said["id"], reply
    answers("what?", "Team #general, named, to x: 5 what?", channel=GENERAL, reply_to=reply["id"])
    answers("!long 990", CRAB * 990, f"done {CRAB * 990}")
    answers("!long 1001", "refused 400 50035 Invalid Form Body\ncontent[BASE_TYPE_MAX_LENGTH]: Must be 2000 or fewer in "
                          "length.")
    answers("!edit second", "second", "done second")
    answers("!steal", "refused 403 50005 Cannot edit a message authored by another user")
    answers("!twice abc", "abc", "done the same")
    answers(f"!to {CLOSED}", "refused 403 50001 Missing Access")
    answers("!to 999", "refused 404 10003 Unknown Channel")
    answers("!type", "done undefined")
    place = answers("!many 7", *[f"number {i}" for i in range(7)], "done all")
    assert not server.exceeded, "it follows the headers, and never asks too often"
    second = list(server.channels[place].messages)[2]
    answers(f"!since {second}", "done number 3 number 2", channel=place)
    one = server.say(place, 7, "one")
    server.until(lambda: server.seen(place)[-1] == "private: 3 one")
    server.edit(place, one["id"], "two")
    server.until(lambda: server.seen(place)[-1] == "edited to two")
    server.thread(100_000_020, GENERAL, "aside")
    server.until(lambda: server.seen(100_000_020) == ["in aside"])
    answers("here", "Team #aside: 4 here", channel=100_000_020)

    # Buttons: what the library puts below a message, and hears of a press.
    def pressed(channel, label, *wanted):
        nonlocal checks
        asked = [one for one in server.channels[str(channel)].messages.values() if one["components"]][-1]
        before = len(server.seen(channel))
        press = server.press(channel, 7, asked["id"], label)
        refused, done = "refused" in "".join(wanted), ": " + label.split()[1]
        server.until(lambda: len(server.seen(channel)) == before + len(wanted) and (refused or asked["content"].endswith(done)),
                     15, f"{label}: {server.seen(channel)}")
        assert server.seen(channel)[before:] == list(wanted), server.seen(channel)[before:]
        checks += 1
        return asked, server.interactions[press["id"]]["answer"]

    for channel in (server.direct(next(users)), GENERAL):
        place = "private" if channel != GENERAL else "Team"
        shown = "which?", "done to keep=keep to drop=drop to twice=twice to late=late to update=update"
        answers("!choose keep drop twice late update", *shown, channel=channel)
        asked, answer = pressed(channel, "to keep", f"done User 7 in {place}: keep")
        assert answer == 6 and asked["components"], "an edit without components leaves them"
        pressed(channel, "to late", "refused 404 10062 Unknown interaction")
        pressed(channel, "to twice", "refused 400 40060 Interaction has already been acknowledged.")
        asked, answer = pressed(channel, "to update")
        assert answer == 7 and asked["content"] == f"User 7 in {place}: update" and not asked["components"]
        answers("!choose drop", "which?", "done to drop=drop", channel=channel)
        asked, _ = pressed(channel, "to drop", f"done User 7 in {place}: drop")
        assert not asked["components"]

    for fault, value in (("429", 0.4), ("429 global", 0.3), ("502", None), ("500", None)):
        place = server.direct(next(users))
        server.fault("post", fault, channel=place, value=value)
        answers("through it", "private: 10 through it", channel=place)
    place = server.direct(next(users))
    server.fault("post", "refused", channel=place, value=(403, 50007, "Cannot send messages to this user"))
    answers("!type", "refused 403 50007 Cannot send messages to this user", channel=place)

    # A connection that breaks, one that is asked for, one that is unanswered: what was said meanwhile is heard.
    def resumed(what, make):
        bots = next(iter(server.bots.values()))
        before, place = bots.resumed, server.direct(next(users))
        make()
        server.until(lambda: not server.connected() or bots.resumed > before, 15, f"{what}: the end of a connection")
        server.say(place, 7, what)
        server.until(lambda: server.seen(place), 20, f"an answer after {what}")
        assert bots.resumed == before + 1, f"{what}: {bots.resumed - before} resumed"

    resumed("a break", server.drop)
    resumed("op 7", lambda: server.op(7))
    resumed("4000", lambda: server.close_gateway(4000))
    server.answers_beats = False
    resumed("no answers", lambda: None)
    server.answers_beats = True
    bots = next(iter(server.bots.values()))
    for make in (lambda: server.op(9, False), lambda: server.close_gateway(4009)):
        before = len(bots.identified)
        make()
        server.until(lambda: len(bots.identified) > before and server.connected(), 25, "a new session")  # noqa: B023
    answers("again", "private: 5 again")
    assert len(server.beats) > 2 and any(server.beats), "heartbeats carry the last number"
    bot.end()

    # What Discord does not let in.
    for token, content, privileged, code in ((TOKEN, "1", 0, "Used disallowed intents"), (TOKEN + "x", "1", 0, "token")):
        bots.privileged = privileged
        other = JsBot(server, token, content)
        other.process.wait(20)
        other.reader.join(5)
        assert code in " ".join(other.lines), other.lines
    server.close()
    print(f"discord.js: {checks} answers and {len(server.log)} calls as on Discord, {bots.resumed} sessions resumed")


def bot_id(server):
    return next(iter(server.bots.values())).id


if __name__ == "__main__":
    main()
