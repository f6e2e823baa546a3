#!/usr/bin/env python3
# timeout: 240
"""Messaging without a VM, `peacrabd serve` with a channel that is a Python program (tests/support/messenger*.py):
who is let in, what is answered, commands, groups, what goes on when everything is killed again and again."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from messenger import EchoModel, Messenger, chaos  # noqa: E402
from pty_driver import PEACRABD, need  # noqa: E402

UID = 65534 if os.geteuid() == 0 else None
CHANNEL = pathlib.Path(__file__).resolve().parent.parent / "support" / "messenger_channel.py"


class Rig:
    """A home with channels to messengers, and `serve`, which can be killed."""

    def __init__(self, names=("desk",), dedupe="key", listens=False, edits=0):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.model = EchoModel()
        self.process = None
        shutil.copy(PEACRABD, self.folder / "peacrabd")
        shutil.copy(CHANNEL, self.folder / "channel.py")
        for name in ("config/peacrab", "state", "cache", "work", "home"):
            (self.folder / name).mkdir(parents=True)
        self.messengers = {name: Messenger(str(self.folder / f"{name}.sock"), dedupe) for name in names}
        lines = "".join(f"  {name}:\n    command: [/usr/bin/python3, {self.folder}/channel.py]\n    dedupe: {dedupe}\n"
                        f"    socket: {self.folder}/{name}.sock\n    edits: {edits}\n"
                        f"    listens: {'true' if listens else 'false'}\n" for name in names)
        (self.folder / "config/peacrab/config.yaml").write_text("channels:\n" + lines)
        self.environment = {"HOME": str(self.folder / "home"), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
                            **{f"XDG_{n.upper()}_HOME": str(self.folder / n) for n in ("config", "state", "cache")}}
        self.folder.chmod(0o755)
        if UID is not None:
            for path in [self.folder, *self.folder.rglob("*")]:
                if not path.is_socket():
                    os.chown(path, UID, UID)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        self.stop(signal.SIGTERM)
        if failure:
            print((self.folder / "log").read_text()[-4000:], file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)

    def options(self):
        more = {"user": UID, "group": UID, "extra_groups": []} if UID is not None else {}
        return {"env": self.environment, "cwd": self.folder / "work", **more}

    def start(self):
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([self.folder / "peacrabd", "serve", "--model", "m", "--model-url", self.model.url],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, **self.options())

    def stop(self, number=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
        if self.process:
            self.process.wait(timeout=20)
        self.process = None

    def people(self, *words):
        done = subprocess.run([self.folder / "peacrabd", "people", *words], capture_output=True, text=True, timeout=20,
                              **self.options())
        need(done.returncode == 0, done.stderr)
        return done.stdout.strip()

    def pair(self, name, sender="u1", role="owner"):
        messenger = self.messengers[name]
        before = len(messenger.texts(f"dm-{sender}"))
        messenger.say(self.people("pair", name, role), sender)
        messenger.wait(lambda: len(messenger.posts[f"dm-{sender}"]) > before)
        need("You are paired, as " + role in messenger.texts(f"dm-{sender}")[-1], "pairing is answered")


def says(messenger, text, sender="u1", where=None, answer=None, **more):
    """Says it, and waits for the next post there; returns it."""
    place = where or f"dm-{sender}"
    before = len(messenger.texts(place))
    messenger.say(text, sender, where, **more)
    messenger.wait(lambda: len(messenger.posts[place]) > before)
    got = messenger.texts(place)[before]
    if answer is not None:
        need(got == answer, f"{text!r} was answered by {got!r}, not {answer!r}")
    return got


def talks():
    with Rig(listens=True) as rig:
        desk = rig.messengers["desk"]
        rig.start()
        desk.say("let me in", "stranger")
        time.sleep(1)
        need(desk.texts("dm-stranger") == [], "a stranger gets nothing")
        for _ in range(6):
            desk.say("AAAA-BBBB", "guesser")
        code = rig.people("pair", "desk")
        desk.say(code, "guesser")
        time.sleep(1)
        need(desk.texts("dm-guesser") == [], "five wrong codes, and the right one is no use any more")
        desk.say(code.lower().replace("-", " "), "u1")
        desk.wait(lambda: desk.posts["dm-u1"])
        need("paired, as owner" in desk.texts("dm-u1")[0], "a code lets its sender in")
        says(desk, "hello", answer="re: hello")
        desk.say(code, "u9")
        desk.wait(lambda: len(desk.posts["dm-u1"]) == 3)  # the owner is told
        need(desk.typing["dm-u1"] > 0, "a sign of life is given")
        need(desk.texts("dm-u9") == [], "a code is good once")

        desk.say("please?", "visitor")
        desk.wait(lambda: any("visitor" in post["text"] for post in desk.posts["dm-u1"]))
        notice = [text for text in desk.texts("dm-u1") if "visitor" in text][0]
        need('"please?"' in notice and "/allow " in notice, f"the owner is told who waits: {notice}")
        ticket = notice.split("/allow ")[1].split(" ")[0]
        need("is let in" in says(desk, f"/allow {ticket}"), "the owner lets in")
        desk.wait(lambda: desk.posts["dm-visitor"])
        need(desk.texts("dm-visitor") == ["re: please?"], "what was said at the door is answered")
        need("That is for owners" in says(desk, "/allow abcd", "visitor"), "a guest lets nobody in")
        need("guest" in says(desk, "/whoami", "visitor"), "/whoami tells the role")

        for command, words in (("/help", "/stop ends"), ("/status", "Nothing runs"), ("/usage", "this conversation"),
                               ("/new", "A new conversation"), ("/model", "The model is m"), ("/nonsense", "There is no command"),
                               ("/why", "admitted"), ("/stop", "Nothing runs")):
            if command == "/why":
                says(desk, "what?", answer="re: what?")
            need(words in says(desk, command), f"{command} is answered")

        desk.say("chatter", "u1", "room", addressed=False)
        desk.say("more chatter", "unknown", "room", addressed=False)
        got = says(desk, "and now?", where="room", addressed=True)
        need(got == "re: U1: and now?", f"in a group the speaker is named: {got}")
        desk.say("me too", "unknown", "room", addressed=True)
        time.sleep(1)
        need(len(desk.texts("room")) == 1, "a stranger in a group is not answered")
        desk.say("bot", "u1", bot=True)
        desk.say("own", "u1", own=True)
        says(desk, "last", answer="re: last")
        explained = rig.people("explain", "m0")
        need("somebody who is not known" in explained, f"explain tells the rule: {explained}")


def faults(dedupe):
    with Rig(dedupe=dedupe) as rig:
        desk = rig.messengers["desk"]
        rig.start()
        rig.pair("desk")
        for fault in ("throttled", "transient", "before", "after"):
            desk.faults.append(fault)
            says(desk, f"with {fault}", answer=f"re: with {fault}")
            if fault == "after" and dedupe == "none":
                desk.wait(lambda: desk.texts("dm-u1").count("re: with after") == 2)  # nobody can look: sent once more
        time.sleep(1.5)  # what went out twice is settled
        desk.faults.append("permanent")
        desk.say("lost", "u1")
        time.sleep(1.5)
        need("re: lost" not in desk.texts("dm-u1"), "it was refused for good")
        says(desk, "next", answer="re: next")
        need("failed" in rig.people("explain", "m5"), "explain tells of it")


def killed(rounds):
    """Everything dies while messages go to and fro; each is answered once."""
    dice = chaos(7)
    with Rig(names=("desk", "yard")) as rig:
        rig.start()
        people = [(name, f"u{n}") for name in rig.messengers for n in range(4)]
        for name, sender in people:
            rig.pair(name, sender, "member")
        counts = dict.fromkeys(people, 0)
        lost = 0
        for number in range(rounds):
            for name, sender in people:
                rig.messengers[name].say(f"{number} of {sender}", sender)
                counts[name, sender] += 1
            time.sleep(dice.random() * 0.4)
            if dice.random() < 0.5:
                rig.messengers[dice.choice(list(rig.messengers))].faults.append(dice.choice(("before", "after")))
            rig.stop()
            rig.start()
            for name, sender in people:
                messenger, place, wanted = rig.messengers[name], f"dm-{sender}", f"re: {number} of {sender}"
                messenger.wait(lambda: any(post["text"] == wanted for post in messenger.posts[place]), 40)
        doubled = 0
        for name, sender in people:
            texts = [text for text in rig.messengers[name].texts(f"dm-{sender}") if text.startswith("re: ")]
            lost += counts[name, sender] - len(set(texts))
            doubled += len(texts) - len(set(texts))
        print(f"{sum(counts.values())} messages, {lost} lost, {doubled} doubled")
        need(lost == 0 and doubled == 0, "each message is answered once")


def main():
    talks()
    for dedupe in ("key", "none"):
        faults(dedupe)
    killed(8)
    print("messaging: ok")


if __name__ == "__main__":
    main()
