#!/usr/bin/env python3
# timeout: 900
"""The last turn is taken back and something else is said, killed between every two writes to the store, the journal
and the audit; then the person comes back and asks. Asserted for each point: the turn that was taken back either
stands whole or is gone whole; when it was said to be taken back it is gone; what was said before it always stands; the
export says the same as the model is shown; no request breaks the protocol. Both outcomes are met, and once it is gone
it is gone at every later point.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import crash_points  # noqa: E402
import hostile_anthropic as wire  # noqa: E402
from crash_points import KILLER  # noqa: E402

FIRST, SECOND, THIRD, LAST = "the first wish", "a wish to take back", "the wish after it", "what do you know?"
SLACK = 8
requests = {}  # scenario with its suffix -> the last request


def answer(exchange):
    requests[exchange.path.split("/")[2]] = exchange.request
    said = json.dumps(exchange.request["messages"][-1]["content"])
    return exchange.stream(wire.Stream().text("answer to " + next(w for w in (LAST, THIRD, SECOND, FIRST) if w in said)).end())


class Place:
    def __init__(self, scratch, port, name, like=None):
        self.folder, self.scenario = scratch / name, f"back.{name}"
        self.url = f"http://127.0.0.1:{port}/s/{self.scenario}"
        if like:
            shutil.copytree(like.folder, self.folder)
        else:
            self.folder.mkdir()
            for part in ("home", "work"):
                (self.folder / part).mkdir()
        if os.geteuid() == 0:
            for part in [self.folder, *self.folder.rglob("*")]:
                os.chown(part, 65534, 65534)
        self.who = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []

    def run(self, *words, before=(), lines=""):
        talks = ["--plain", "--model", "m", "--model-url", self.url] if words[0] != "export" else []
        command = [*before, *self.who, "env", "-i", f"PATH={os.environ['PATH']}", f"HOME={self.folder / 'home'}",
                   "LANG=C.UTF-8", "ANTHROPIC_API_KEY=sk-test", str(self.folder.parent / "peacrabd"), words[0], *talks,
                   *words[1:]]
        return subprocess.run(command, cwd=self.folder / "work", input=lines, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, text=True, check=False)

    def again(self, *words):
        """Who was killed may hold its lock for a moment more."""
        deadline = time.monotonic() + 20
        while True:
            done = self.run(*words)
            if done.returncode == 0 or time.monotonic() > deadline:
                return done
            time.sleep(0.2)


def stands(scenario):
    """Whether the second wish stands in the last request; wholly or not at all."""
    told = json.dumps(requests[scenario]["messages"])
    assert f"answer to {FIRST}" in told, f"{scenario}: what was said before is gone: {told}"
    wish, reply = SECOND in told.replace(f"answer to {SECOND}", ""), f"answer to {SECOND}" in told
    assert wish == reply, f"{scenario}: half of it stands: {told}"
    return wish


def one(scratch, port, killer, before, number):
    place = Place(scratch, port, f"at{number}", before)
    killed = place.run("chat", before=[killer, str(number)], lines=f"/undo\n{THIRD}\n")
    out = killed.stdout
    if "killed " not in out:
        shutil.rmtree(place.folder)
        return None
    after = place.again("ask", "--continue", LAST)
    assert after.returncode == 0, f"point {number}: {after.stderr}"
    there = stands(place.scenario)
    assert not (there and "taken back" in out), f"point {number}: said to be taken back, and it stands"
    told = json.dumps(requests[place.scenario]["messages"])
    assert not (there and THIRD in told), f"point {number}: it stands before what was said when it was taken back"
    exported = [json.loads(line) for line in place.again("export").stdout.splitlines()]
    marked = [entry for entry in exported if entry.get("text") == SECOND]
    assert len(marked) == 1 and marked[0].get("undone", False) != there, f"point {number}: the export: {exported}"
    shutil.rmtree(place.folder)
    return there


def main():
    with crash_points.stage("back", answer) as (scratch, port):
        before = Place(scratch, port, "before")
        for wish in (FIRST, SECOND):
            done = before.run("ask", "--continue", wish)
            assert done.returncode == 0, done.stderr
            time.sleep(1)  # its warden leaves a moment after it
        whole = Place(scratch, port, "whole", before).run("chat", before=[KILLER, "0"], lines=f"/undo\n{THIRD}\n")
        count = crash_points.steps_of(whole)
        assert "taken back: " + SECOND in whole.stdout and not stands("back.whole"), whole.stdout
        met = crash_points.at_each(count, lambda n: one(scratch, port, KILLER, before, n))
    assert True in met and False in met, f"not both outcomes were met: {met}"
    # Each point is a run of its own, a few steps ahead or behind.
    first_gone = met.index(False)
    assert not any(met[first_gone + SLACK:]), f"it came back: {met}"
    print(f"ok: killed at {len(met)} points: stands at {met.count(True)}, taken back at {met.count(False)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
