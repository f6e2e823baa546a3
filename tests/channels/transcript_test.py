#!/usr/bin/env python3
# timeout: 120
"""What a new person does first, written down: pairing, a chat, a file there and one back, a reminder, a stranger who is
let in from the phone. It must be what runtime/channels/transcript.md says; `--write` writes it there. The adapter is
ours, Telegram an emulator, the model plays a script; codes, tickets and times are the page's.
"""
import json
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from pty_driver import need  # noqa: E402
from scripted_model import Model  # noqa: E402
from telegram_serve_test import TelegramRig  # noqa: E402

PAGE = pathlib.Path(__file__).resolve().parents[2] / "runtime/channels/transcript.md"
ANN, BEN = 7, 8
NAMES = {ANN: "Ann", BEN: "Ben"}
SALES = b"month,sold\n" + b"".join(b"%d,%d\n" % (month, month * 37 % 101) for month in range(1, 13))
MASKS = ((r"\b[A-Z0-9]{4}-[A-Z0-9]{4}\b", "K7QM-2XWD"), (r"(?<=/allow )\w+", "ab12"), (r"(?<=/deny )\w+", "ab12"),
         (r"inbox/\d{4}-\d\d-\d\d", "inbox/2026-11-24"), (r"\w{3} \d\d? \w{3} \d{4} \d\d:\d\d(:\d\d)?", "Tue 24 Nov 2026 18:00"),
         (rf"User {ANN}\b", "Ann"), (rf"User {BEN}\b", "Ben"))


class Transcript:
    def __init__(self, rig):
        self.rig, self.server, self.model, self.lines = rig, rig.server, rig.model, []
        self.read, self.files = {chat: 0 for chat in NAMES}, {chat: 0 for chat in NAMES}

    def note(self, who, text):
        for pattern, stands in MASKS:
            text = re.sub(pattern, stands, text)
        first, *more = text.split("\n")
        self.lines += [f"{who:9}| {first}", *(f"{'':9}| {line}".rstrip() for line in more)]

    def host(self, *words):
        told = self.rig.people(*words)
        self.note("$", "peacrab people " + " ".join(words))
        self.note("", told)
        return told

    def says(self, who, text, posts, *steps, file=None):
        """Somebody does; the model plays `steps`; until so many messages and files have come, in all chats."""
        self.model.plays(*steps)
        self.note(NAMES[who], (f"[sends {file[0]}] " if file else "") + text)
        if file:
            self.server.document(who, who, file[1], file[0], "text/csv", caption=text)
        elif text:
            self.server.say(who, who, text)
        self.listen(posts, text)

    def listen(self, posts, what):
        new = lambda: sum(len(self.server.seen(chat)) - self.read[chat] + len(self.server.received(chat)) - self.files[chat]  # noqa: E731
                          for chat in NAMES)
        self.server.until(lambda: new() >= posts, 40, f"{posts} messages after {what!r}")
        time.sleep(1.2)  # nothing more comes, and a line that was edited has its last form
        need(new() == posts, f"{new()} messages after {what!r}")
        for chat, name in NAMES.items():
            for kind, file, data in self.server.received(chat)[self.files[chat]:]:
                self.note(f"> {name}", f"[{kind} {file}, {len(data)} bytes]")
            for text in self.server.seen(chat)[self.read[chat]:]:
                self.note(f"> {name}", text)
            self.read[chat], self.files[chat] = len(self.server.seen(chat)), len(self.server.received(chat))

    def text(self):
        return "\n".join(self.lines) + "\n"


def shell(command):
    return ("shell", {"command": command})


def happens(rig):
    told = Transcript(rig)
    rig.start()
    code = told.host("pair", "telegram")
    told.says(ANN, code, 1)
    told.says(ANN, "what can you do?", 1, "Read and write files, run commands and search the web, in a machine of my own. What is it about?")
    told.says(ANN, "what was the best month?", 1, shell("sort -t, -k2 -n inbox/*sales.csv | tail -1"),
              "**August** was the best month, with 94 sold.", file=("sales.csv", SALES))
    told.says(ANN, "send me the three best as a file", 2, shell("sort -t, -k2 -rn inbox/*sales.csv | head -3 >best.csv; cat best.csv"),
              ("send", {"path": "best.csv"}), "It is in best.csv.")
    told.says(ANN, "remind me in five seconds to call Ben", 3,
              ("more", {"tool": "task", "arguments": json.dumps({"action": "create", "when": "in 5s", "text": "Tell Ann to call Ben."})}),
              "I will.", "Call Ben.")
    told.says(BEN, "may I ask something?", 1)
    ticket = re.search(r"/allow (\w+)", rig.server.seen(ANN)[-1]).group(1)
    told.says(ANN, f"/allow {ticket}", 2, "Of course. What is it?")
    told.says(ANN, "/people", 1)
    return told.text()


def main():
    with TelegramRig() as rig:
        rig.model = Model()
        rig.server.know(ANN, BEN)
        text = happens(rig)
        need(rig.server.received(ANN)[0][2].count(b"\n") == 3, "the file has the three lines")
    before, after = PAGE.read_text().split("```\n")[::2] if PAGE.exists() else ("", "")
    page = before + "```\n" + text + "```\n" + after
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page)
    elif page != PAGE.read_text():
        PAGE.with_suffix(".new").unlink(missing_ok=True)
        done = subprocess.run(["diff", "-u", str(PAGE), "-"], input=page, text=True, capture_output=True, check=False)
        raise AssertionError(f"it is not what the page says; tests/channels/transcript_test.py --write writes it:\n{done.stdout}")
    print("ok: the page tells what happens")


if __name__ == "__main__":
    main()
