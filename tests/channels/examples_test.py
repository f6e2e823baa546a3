#!/usr/bin/env python3
# timeout: 120
"""The example channels of runtime/channels/examples, as a person would use them: `serve` starts them, files go in,
answers come out, each once, also when the channel is killed in between."""
import os
import pathlib
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hub_test import UID, Rig, descendants  # noqa: E402
from pty_driver import need  # noqa: E402

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "runtime/channels/examples"


class FolderRig(Rig):
    def __init__(self, example):
        super().__init__(names=())
        self.example = pathlib.Path(shutil.copy(EXAMPLES / example, self.folder))
        self.mail = self.folder / "mail"
        for name in ("in", "out"):
            (self.mail / name).mkdir(parents=True)
        (self.folder / "config/peacrab/config.yaml").write_text(
            f"channels:\n  desk:\n    command: [{self.example}]\n    folder: {self.mail}\n")
        if UID is not None:
            for path in (self.mail, *self.mail.iterdir(), self.folder / "config/peacrab/config.yaml"):
                os.chown(path, UID, UID)

    def put(self, name, text):
        path = self.folder / name
        path.write_text(text)
        if UID is not None:
            os.chown(path, UID, UID)
        path.rename(self.mail / "in" / f"{name}.txt")

    def out(self):
        return [path.read_text().removesuffix("\n") for path in sorted((self.mail / "out").glob("*.txt"))]

    def until(self, condition, what, seconds=40):
        end = time.monotonic() + seconds
        while not condition():
            need(time.monotonic() < end, f"not within {seconds} s: {what}; out: {self.out()}")
            time.sleep(0.05)

    def kill_channel(self):
        killed = 0
        for pid in descendants(self.process.pid):
            try:
                if self.example.name.encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)
                    killed += 1
            except OSError:
                pass
        return killed


def works(example):
    with FolderRig(example) as rig:
        rig.put("stranger", "let me in")
        rig.start()
        rig.until(lambda: not list((rig.mail / "in").iterdir()), "what came in is taken")
        need(rig.out() == [], "somebody who is not known gets nothing")
        rig.put("code", rig.people("pair", "desk"))
        rig.until(lambda: any("You are paired" in text for text in rig.out()), "a code lets in")
        died = 0
        together = lambda: "\n".join(rig.out())  # noqa: E731
        for number in range(6):
            rig.put(f"n{number}", f'say "{number}" \u00fc \U0001f980 and \\ more')
            if number % 2:
                time.sleep(0.3 * number)
                died += rig.kill_channel()
            rig.until(lambda number=number: f'"{number}"' in together(), "every message is answered")
        time.sleep(1)
        need(all(together().count(f'"{number}"') == 1 for number in range(6)), f"each once: {rig.out()}")
        need('re: say "0" \u00fc \U0001f980 and \\ more' in rig.out(), f"as it was said: {rig.out()}")
        need(died > 0, "the channel was killed")
        print(f"ok: {example}, killed {died} times")


def main():
    for example in ("folder.py", "folder.sh"):
        works(example)
    print("examples: ok")


if __name__ == "__main__":
    main()
