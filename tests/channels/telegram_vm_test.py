#!/usr/bin/env python3
# needs: vm
# timeout: 300
"""As a person meets it: Telegram on the host, the agent in its machine. Pairing, a chat, a command in the cell, a
stranger at the door; the machine is stopped and everything on the host killed in between; the token is nowhere in
the guest."""
import base64
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from files_test import png  # noqa: E402
from messenger import EchoModel  # noqa: E402
from pty_driver import PEACRAB, Home, need  # noqa: E402
from telegram_server import TelegramServer  # noqa: E402

TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
OWNER, GUEST = 7, 8


class Host:
    def __init__(self):
        self.home, self.model, self.server = Home(), EchoModel(), TelegramServer()
        self.server.bot(TOKEN)
        self.server.know(OWNER, GUEST)
        self.home.env["ANTHROPIC_API_KEY"] = "sk-test"
        folder = pathlib.Path(self.home.env["XDG_CONFIG_HOME"]) / "peacrab"
        folder.mkdir()
        (folder / "config.yaml").write_text(f"model: echo\nmodel-url: {self.model.url}\ndialect: anthropic\n"
                                            f"channels:\n  telegram:\n    api: {self.server.url}\n")
        self.serving = None

    def peacrab(self, *words, stdin="", code=0):
        run = subprocess.run([PEACRAB, *words], env=self.home.env, text=True, input=stdin, capture_output=True, timeout=200,
                             check=False)
        need(run.returncode == code, f"{words} ended with {run.returncode}: {run.stderr}")
        return run.stdout.strip() or run.stderr.strip()

    def serve(self):
        self.log = open(os.path.join(self.home.path, "serve.log"), "ab")
        self.serving = subprocess.Popen([PEACRAB, "serve"], env=self.home.env, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)

    def kill(self, number=signal.SIGKILL):
        self.serving.send_signal(number)
        self.serving.wait(timeout=30)

    def texts(self, chat):
        return self.server.seen(chat)

    def says(self, who, text, wanted, seconds=60):
        self.server.say(who, who, text)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for got in self.texts(who)[::-1]:
                if wanted in got:
                    return got
            time.sleep(0.05)
        raise AssertionError(f"{text!r} was not answered by {wanted!r} but by {self.texts(who)[-3:]}")


def main():
    host = Host()
    try:
        refused = host.peacrab("channel", "add", "telegram", stdin="1:" + "A" * 35, code=1)
        need("not taken" in refused and "A" * 35 not in refused, f"a wrong token is refused: {refused}")
        host.server.say(OWNER, OWNER, "before anybody served")
        added = host.peacrab("channel", "add", "telegram", stdin=TOKEN)
        need("lets it in as" in added and TOKEN not in added, f"the token is tried: {added}")
        need(host.peacrab("secret") == "channel-telegram", "it is kept")
        need("`serve` does not run" in host.peacrab("channel"), "nobody serves yet")
        host.serve()
        code = host.peacrab("people", "pair", "telegram")
        host.says(OWNER, code, "You are paired, as owner", 120)
        need("before anybody served" in host.peacrab("people", "explain", "1"), "what came while it was tried is not lost")
        host.says(OWNER, "hello", "re: hello")
        need(", heard " in host.peacrab("channel", "ls"), "the list tells when it was heard")
        host.model.script["who are you"] = ("shell", {"command": "id -un; cat /etc/debian_version"})
        host.says(OWNER, "who are you", "it said: ")
        host.says(OWNER, "/status", "full")
        # A picture in, a file back: through the link, into the cell and out of it.
        picture = png()
        host.server.photo(OWNER, OWNER, picture)
        host.server.until(lambda: any("[picture: inbox/" in text for text in host.texts(OWNER)), 60, "an answer to a picture")
        need([base64.b64decode(each["data"]) for each in host.model.pictures] == [picture], "the model is shown the picture")
        host.model.script["make"] = ("shell", {"command": "cp inbox/*.jpg copy.png && seq 300000 > numbers.txt && sha256sum copy.png"})
        need(hashlib.sha256(picture).hexdigest() in host.says(OWNER, "make", hashlib.sha256(picture).hexdigest()[:8]), "it is in the cell")
        for number, name in enumerate(("copy.png", "numbers.txt")):
            host.model.script[f"send {name}"] = ("send", {"path": name})
            host.server.say(OWNER, OWNER, f"send {name}")
            host.server.until(lambda: len(host.server.received(OWNER)) > number, 60, name)  # noqa: B023
        numbers = "".join(f"{n}\n" for n in range(1, 300_001)).encode()
        need(host.server.received(OWNER) == [("photo", "copy.png", picture), ("document", "numbers.txt", numbers)], "files come back whole")
        host.server.say(GUEST, GUEST, "may I?")
        ticket = host.says(OWNER, "/people", "/allow ").split("/allow ")[1].split()[0]
        need(host.texts(GUEST) == [], "a stranger gets nothing")
        host.says(OWNER, "/allow " + ticket, "is let in")
        host.says(GUEST, "and now", "re: may I?")
        # Another agent, with files of its own, in one conversation and not in the other.
        host.says(OWNER, "/agent scout", "Nothing has changed: no such agent: scout")
        host.peacrab("agent", "add", "scout")
        host.says(OWNER, "/agent scout", "You speak with scout here from now on.")
        host.model.script["what is here"] = ("shell", {"command": "ls copy.png || echo no picture here"})
        host.says(OWNER, "what is here", "it said: ls: cannot access 'copy.png'")
        host.says(GUEST, "/agent", "You speak with main.")
        host.says(OWNER, "/agent main", "You speak with main here from now on.")

        host.kill()
        host.server.say(OWNER, OWNER, "said while nobody listened")
        host.serve()
        host.says(OWNER, "back?", "re: said while nobody listened", 90)
        host.peacrab("stop")
        host.says(OWNER, "is the machine there", "re: is the machine there", 120)
        for chat in (OWNER, GUEST):
            texts = [text for text in host.texts(chat) if text.startswith("re: ")]
            need(len(texts) == len(set(texts)), f"something was answered twice: {texts}")

        host.model.script["look"] = ("shell", {"command": f"env; grep -rsl {TOKEN[5:15]} /proc/[0-9]*/environ /home /etc /run; echo end"})
        host.says(OWNER, "look", "it said: ")
        state = pathlib.Path(host.home.env["XDG_STATE_HOME"]) / "peacrab"
        disks = [path for path in state.rglob("*") if path.is_file() and path.stat().st_size > 1 << 20]
        need(disks, "there is a state disk")
        for disk in disks:
            found = subprocess.run(["grep", "-c", TOKEN, disk], stdout=subprocess.PIPE, check=False, text=True).stdout.strip()
            need(found == "0", f"the token is in {disk.name}")
        host.kill(signal.SIGTERM)
        need(host.serving.returncode == 0, "Ctrl-C ends it in order")
        print("telegram through the machine: ok")
    except BaseException:
        print(pathlib.Path(host.home.path, "serve.log").read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        if host.serving and host.serving.poll() is None:
            host.kill()
        subprocess.run([PEACRAB, "stop"], env=host.home.env, capture_output=True, check=False)


if __name__ == "__main__":
    main()
