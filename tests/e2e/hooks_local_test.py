#!/usr/bin/env python3
# timeout: 180
"""Hooks without a VM: the operator's programs see each call before and after it, refuse it, keep its words from the
model; one that fails is a refusal; and the agent neither sees nor changes them.
"""
import base64
import json
import os
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from local_place import LocalPlace  # noqa: E402
from pty_driver import PEACRABD, need  # noqa: E402
from scripted_model import Model  # noqa: E402


class Place(LocalPlace):
    def __init__(self, model):
        super().__init__(model)
        (self.config / "hooks").mkdir(parents=True)

    def hooks(self, rows, **programs):
        (self.config / "config.yaml").write_text(rows and "hooks:\n" + rows)
        for name, text in programs.items():
            path = self.config / "hooks" / name
            path.write_text(text)
            path.chmod(0o755)


def shell(command):
    return ("shell", {"command": command})


BEFORE = "  - event: before-tool\n    run: check\n"


def main():
    if not os.access(PEACRABD, os.X_OK):
        sys.exit(f"{PEACRABD} is not built")
    place = Place(Model())

    place.hooks(BEFORE + "    tools: [shell]\n", check="#!/bin/sh\necho nothing of this is told\n"
                "if grep -q forbidden; then echo 'that word is not for you' >&2; exit 2; fi\n")
    passed, blocked, other = place.ask(shell("echo fine"), shell("echo forbidden >made"),
                                       ("write", {"path": "w", "content": "forbidden"}))
    need(passed == "fine\n", f"a call that passes is as ever: {passed}")
    need("that word is not for you" in blocked and "nothing of this" not in blocked, f"the reason: {blocked}")
    need(not (place.work / "made").exists(), "a blocked call did not run")
    need((place.work / "w").exists(), f"a tool that is not named is not looked at: {other}")
    print("ok: exit 0 goes on, exit 2 refuses with its words, and only for the tools that are named")

    place.hooks("  - event: after-tool\n    run: see\n", see="#!/bin/sh\nbase64 -w0\n")
    command = "printf '%s' \"a'\\\"\\\\\n\t\u00fc\u2028\U0001f980$(printf '\\001\\377')\"; exit 3"
    said, = place.ask(shell(command))
    seen = json.loads(base64.b64decode(said[said.index("hook says: ") + 11:].rstrip("]")))
    need(seen["event"] == "after-tool" and seen["tool"] == "shell" and seen["agent"] == "main", str(seen))
    need(seen["arguments"]["command"] == command, f"arguments arrive as they are: {seen['arguments']}")
    need(seen["outcome"] == "failed" and "\U0001f980" in seen["text"], f"and the result: {seen}")
    place.hooks("  - event: after-tool\n    run: see\n", see="#!/bin/sh\necho secret found; exit 2\n")
    said, = place.ask(shell("echo hunter2 | tee made"))
    need("hunter2" not in said and "secret found" in said, f"what it said is withheld: {said}")
    need((place.work / "made").exists(), "but it ran")
    print("ok: behind a call a hook sees all of it, adds to it or keeps it back")

    for what, text in (("exits with 1", "#!/bin/sh\nexit 1\n"), ("ends by a signal", "#!/bin/sh\nkill -9 $$\n"),
                       ("hangs", "#!/bin/sh\nsleep 100\n"), ("floods", "#!/bin/sh\nyes >&2\n"),
                       ("leaves processes", "#!/bin/sh\nsleep 100 & sleep 100 &\nexit 7\n"),
                       ("cannot be run", "#!/no/such/program\n")):
        place.hooks(BEFORE + "    timeout: 2\n", check=text)
        begun = time.monotonic()
        said, = place.ask(shell("touch ran"))
        need("could not look at it" in said, f"one that {what} refuses: {said}")
        need(not (place.work / "ran").exists(), f"one that {what}: the call ran")
        need(time.monotonic() - begun < 30, f"one that {what} took {time.monotonic() - begun:.0f} s")
    (place.config / "hooks" / "check").unlink()
    said, = place.ask(shell("touch ran"))
    need("could not look at it" in said and not (place.work / "ran").exists(), f"a missing one refuses: {said}")
    shutil.rmtree(place.config / "hooks")
    said, = place.ask(shell("touch ran"))
    need("could not look at it" in said and not (place.work / "ran").exists(), f"so does a missing folder: {said}")
    (place.config / "hooks").mkdir()
    place.hooks("  - event: after-tool\n    run: see\n", see="#!/bin/sh\nexit 1\n")
    said, = place.ask(shell("echo told"))
    need("told" in said and "see failed" in said, f"behind a call it is a notice: {said}")
    print("ok: before a call whatever fails is a refusal; behind it a notice")

    place.hooks(BEFORE, check="#!/bin/sh\n[ -n \"$(ls -A . )\" ] && { ls -A . >&2; exit 2; }\n"
                "for f in \"$HOME\" /tmp; do echo x >$f/left 2>/dev/null; done\n"
                "(echo x >>\"$0\") 2>/dev/null && { echo wrote itself >&2; exit 2; }\n"
                f"[ -r {place.work}/w ] && {{ echo reads the workspace >&2; exit 2; }}\nexit 0\n")
    shelf = f"{place.home.env['XDG_CACHE_HOME']}/peacrab/local/shelf"
    tried, left = place.ask(shell(f"ls {shelf}/hooks; cat {shelf}/hooks/*/check; echo 'exit 0' >{shelf}/hooks/x; "
                                  f"ls {place.config}; rm -rf {shelf}/hooks; echo end"),
                            shell("ls /tmp/left $HOME/left"))
    need("end" in tried and "check" not in tried.replace("/check", "").replace("hooks/*/check", ""),
         f"the agent sees or changes them: {tried}")
    need("left" not in left.replace("/tmp/left", "").replace("/left", "") or "No such" in left, f"traces: {left}")
    print("ok: a hook sees nothing of the agent, and the agent nothing of the hook")

    for _ in range(2):
        place.ask(shell("true"))
    times = {}
    for name, rows in (("without", ""), ("with", BEFORE)):
        place.hooks(rows, check="#!/bin/sh\nexit 0\n")
        begun = time.monotonic()
        place.ask(*[shell(f"echo {i}") for i in range(20)])
        times[name] = (time.monotonic() - begun) / 20 * 1000
    print(f"ok: a call takes {times['without']:.0f} ms without a hook, {times['with']:.0f} ms with one before it")

    place.hooks(BEFORE, check="#!/bin/sh\nexit 0\n")
    place.work = pathlib.Path(place.home.path)
    said, = place.ask(shell("touch ran"))
    need("cannot be run in this folder" in said, f"where tools could write them no call is made: {said}")
    print("ok: where tools could write the hooks no call is made")


if __name__ == "__main__":
    main()
