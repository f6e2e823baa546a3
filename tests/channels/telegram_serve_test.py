#!/usr/bin/env python3
# timeout: 180
"""Telegram as people have it: `peacrabd serve` with its own adapter, an emulator of Telegram and a scripted model.
Somebody pairs and talks, in private and in a group; Telegram fails; the adapter is killed again and again.
"""
import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hub_test import UID, Rig, descendants  # noqa: E402
from pty_driver import need  # noqa: E402
from telegram_server import TelegramServer  # noqa: E402

TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
GROUP = -100


class TelegramRig(Rig):
    def __init__(self):
        super().__init__(names=())
        self.server = TelegramServer()
        self.server.bot(TOKEN)
        self.server.group(GROUP, "Team")
        folder = self.folder / "config/peacrab"
        (folder / "config.yaml").write_text(f"channels:\n  telegram:\n    api: {self.server.url}\n")
        (folder / "secrets").mkdir(mode=0o700)
        (folder / "secrets/channel-telegram").write_text(TOKEN + "\n")
        (folder / "secrets/channel-telegram").chmod(0o600)
        if UID is not None:
            for path in folder.rglob("*"):
                os.chown(path, UID, UID)

    def __exit__(self, *error):
        super().__exit__(*error)
        self.server.close()

    def says(self, user, text, chat=None):
        """And waits for what is posted next; gives it."""
        chat = chat or user
        before = len(self.server.seen(chat))
        self.server.say(chat, user, text)
        self.server.until(lambda: len(self.server.seen(chat)) > before, 30, f"an answer to {text!r}")
        return self.server.seen(chat)[before]

    def lets_in(self, user, role):
        need(f"paired, as {role}" in self.says(user, self.people("pair", "telegram", role)), "a code lets in")

    def adapters(self):
        found = []
        for pid in descendants(self.process.pid):
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:3] == [b"channel", b"telegram"]:
                found.append(int(pid))
        return found


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
            for pid in rig.adapters():
                os.kill(pid, signal.SIGKILL)
                died += 1
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
        fails(rig)
        killed(rig)


if __name__ == "__main__":
    main()
