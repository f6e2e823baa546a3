#!/usr/bin/env python3
# timeout: 60
"""The emulator of Slack is one to Slack's own libraries, @slack/socket-mode and @slack/web-api: an app written with them
works on it, and is told what Slack would tell it.
"""
import pathlib
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import npm_packages  # noqa: E402
from slack_server import SlackServer  # noqa: E402

APP_TOKEN, BOT_TOKEN = "xapp-1-A0PEA-42-aabbccddeeff", "xoxb-1-2-AAbbCCddEEffGGhh"
CRAB = "\U0001f980"


class SdkApp:
    def __init__(self, server, app_token=APP_TOKEN):
        self.process = npm_packages.start(ROOT / "tests/support/slack_app.cjs", APP_TOKEN=app_token,
                                          BOT_TOKEN=BOT_TOKEN, API=server.url + "/")
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(line.strip() for line in self.process.stdout))
        self.reader.start()

    def until(self, server, line, count=1):
        server.until(lambda: self.lines.count(line) >= count, 20, f"{line}; {self.lines[-5:]}")

    def end(self):
        self.process.terminate()
        self.process.wait(15)
        self.reader.join(5)


def main():
    npm_packages.need("@slack/socket-mode")
    server = SlackServer(grace=0.3)
    server.app(APP_TOKEN, BOT_TOKEN)
    server.channel("C1", "team")
    server.channel("C2", "others", members=["U7"])
    server.channel("C3", "old")
    server.channel("C4", "pages")
    server.channel("G1", "secret", "group", members=["U7"])
    server.places["C3"].archived = True
    app = SdkApp(server)
    app.until(server, "started U0PEA B0PEA")
    app.until(server, "connected")
    people = iter(range(100, 999))
    checks = 0

    def answers(text, *wanted, place=None, **extra):
        nonlocal checks
        place = place or server.im(f"U{next(people)}")
        before = len(server.seen(place))
        said = server.say(place, "U7", text, **extra)
        server.until(lambda: len(server.seen(place)) >= before + len(wanted), 15, f"an answer to {text}; {app.lines}")
        got = server.seen(place)[before:]
        assert got == list(wanted), f"{text}: wanted {wanted}, got {got}"
        checks += 1
        return said

    answers(f"echo {CRAB} grüße", f"{CRAB} grüße")
    answers("just this", "heard just this")
    answers("<@U0PEA> in the channel", "heard in the channel", place="C1")
    assert app.lines.count("mention C1") == 1
    answers("echo plain in the channel", "plain in the channel", place="C1")
    answers("crab 20000 C1", "done 40000")  # of UTF-16; characters are what counts
    answers("crab 40001 C1", "refused msg_too_long")
    answers("to C2", "refused not_in_channel")
    answers("to C3", "refused is_archived")
    answers("to G1", "refused channel_not_found")
    answers("to nowhere", "refused channel_not_found")
    answers("thread", "in the thread", "done true")
    answers("thread 1234567890.123456", "refused thread_not_found")
    answers("update second", "second", "done second a true")
    answers("updateother", "refused cant_update_message")
    answers("updatenone", "refused message_not_found")
    answers("badmetadata", "refused invalid_metadata_format")
    for number in range(5):
        server.say("C4", "U7", f"m{number}", told=False)
    answers("history C4", "done m4,m3,m2,m1,m0")
    first = next(iter(server.places["C4"].messages))
    second = server.say("C4", "U7", "r1", told=False, thread_ts=first)["ts"]
    server.say("C4", "U7", "r2", told=False, thread_ts=first)
    answers(f"replies C4 {first}", "done m0,r1,r2")
    answers(f"replies C4 {first} {second}", "done m0,r2")
    answers("history C4", "done m4,m3,m2,m1,m0")
    answers(f"replies C4 {second[:-1]}x", "refused thread_not_found")
    server.people["U7"] = "Ada"
    answers("who U7", "done Ada")
    answers("who U_NOBODY", "refused user_not_found")
    answers("where C1", "done team")
    assert "C1" in answers_of(server, "mine") and "C2" not in answers_of(server, "mine")
    answers("wrong", "refused unknown_method")
    answers("apptoken", "refused not_allowed_token_type")
    answers("bottoken", "refused not_allowed_token_type")

    answers("file some text", "", "done a.txt")
    assert [each["content"] for each in server.files.values()] == [b"some text"]
    place = server.im("U49")
    server.share(place, "U49", "b.txt", b"what is in it")
    server.until(lambda: server.seen(place) == ["200 what is in it"], 10, "a file is fetched")
    place = server.im("U50")
    said = answers("one", "heard one", place=place)
    server.edit(place, said["ts"], "two")
    server.until(lambda: server.seen(place)[1:] == ["edited to two"])
    server.slash(place, "U50", "/pea", "stop now")
    server.until(lambda: server.seen(place)[2:] == ["command /pea stop now"])
    answers("late", "heard late", place=server.im("U51"))  # answered when it comes the second time

    for place in (server.im("U53"), "C1"):
        answers("choose keep drop", "which?", "done section actions", place=place)
        asked = [one for one in server.mine(place) if one["text"] == "which?"][-1]
        server.press(place, "U53", asked["ts"], "to keep")
        server.until(lambda: asked["text"] == "U53 block_actions a-keep keep which?", 10, asked["text"])  # noqa: B023
        assert asked["blocks"], "an edit with the same blocks"
        server.press(place, "U53", asked["ts"], "to drop")
        server.until(lambda: asked["text"].startswith("U53 block_actions a-drop drop U53"), 10, asked["text"])  # noqa: B023
        assert not asked["blocks"], "an empty list takes them away"
    answers("choose same same", "refused invalid_blocks", place=server.im("U54"))

    server.fault("chat.postMessage", "429", channel="C1", value=30)
    answers("to C1", "refused wait 30")
    server.fault("chat.postMessage", "cut", channel="C1")
    before = len(server.seen("C1"))
    answers("to C1", "refused no answer")
    assert server.seen("C1")[before:] == ["hello"], "what was cut has been done"
    server.fault("chat.postMessage", "502", channel="C1")
    answers("to C1", "refused no answer")

    # Its sockets: asked to come again, cut, and none at all.
    server.refresh()
    app.until(server, "connected", 2)
    answers("after a refresh", "heard after a refresh")
    server.cut()
    app.until(server, "connected", 3)
    answers("after a cut", "heard after a cut")
    app.end()
    assert app.lines[-1] == "stopped", app.lines
    server.until(lambda: not server.sockets())
    server.say(server.im("U52"), "U52", "nobody is there")
    server.until(lambda: len(server.lost) == 1)
    assert not server.wrong and not server.open_envelopes, (server.wrong, server.open_envelopes)
    late = [good for _, _, good in server.acks if not good]
    assert not late, "each envelope is answered once"

    other = SdkApp(server, "xapp-none")
    other.until(server, "ended invalid_auth")
    other.end()
    server.close()
    print(f"Slack's libraries: {checks} answers, {len(server.acks)} envelopes and {len(server.log)} calls as on Slack")
    print("1 passed, 0 failed")


def answers_of(server, text):
    place = server.im("U60" + str(len(server.log)))
    server.say(place, "U7", text)
    server.until(lambda: server.seen(place), 10, text)
    return server.seen(place)[0]


if __name__ == "__main__":
    main()
