#!/usr/bin/env python3
# timeout: 900
"""A turn with one call that leaves a trace, killed between every two writes to its store, journal and audit;
then the person comes back and says one thing more. Asserted for each point: the call never runs twice, the
model is never told something else than what happened, a message that was taken is known to it, no request
breaks the protocol. And over all points, in their order, what the model then knows only grows: nothing, the
message, a call that did not finish, its result, its own answer.
"""
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import crash_points  # noqa: E402
import hostile_anthropic as wire  # noqa: E402
from crash_points import KILLER  # noqa: E402

FIRST, SECOND = "leave a trace, please", "what became of it?"
# What the model may know when the person is back, and how often the call may have run by then.
KNOWS = ["nothing", "the message", "a call that did not finish", "its result", "its own answer"]
RAN = {"nothing": {0}, "the message": {0}, "a call that did not finish": {0, 1}, "its result": {1},
       "its own answer": {1}}
SLACK = 8
requests = {}  # scenario with its suffix -> the last request


def answer(exchange):
    requests[exchange.path.split("/")[2]] = exchange.request
    last = exchange.request["messages"][-1]["content"]
    if any(block["type"] == "tool_result" for block in last) and SECOND not in json.dumps(last):
        return exchange.stream(wire.Stream().text("There is a trace now.").end())
    if SECOND in json.dumps(last):
        return exchange.stream(wire.Stream().text("I see.").end())
    return exchange.stream(wire.Stream().call("call_1", json.dumps({"command": "echo trace >>ran"}), "shell").end("tools"))


def known(request):
    """What stands in the conversation before what was said last."""
    blocks = [(message["role"], block) for message in request["messages"]
              for block in (message["content"] if isinstance(message["content"], list) else
                            [{"type": "text", "text": message["content"]}])]
    results = [block for _, block in blocks if block["type"] == "tool_result"]
    if any(role == "assistant" and block.get("text") == "There is a trace now." for role, block in blocks):
        return KNOWS[4]
    if results:
        return KNOWS[2] if "did not finish" in json.dumps(results[0]["content"]) else KNOWS[3]
    assert not any(block["type"] == "tool_use" for _, block in blocks), "a call without a result"
    return KNOWS[1] if any(FIRST in block.get("text", "") for _, block in blocks) else KNOWS[0]


class Place:
    """A home, a folder to work in, and an unprivileged user where there is one to become."""

    def __init__(self, scratch, port, name, kind="trace"):
        self.scenario = f"{kind}.{name}"
        self.folder, self.url = scratch / name, f"http://127.0.0.1:{port}/s/{self.scenario}"
        for part in (self.folder, self.folder / "home", self.folder / "work"):
            part.mkdir()
            if os.geteuid() == 0:
                os.chown(part, 65534, 65534)
        self.who = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []

    def command(self, words, before=()):
        return [*before, *self.who, "env", "-i", f"PATH={os.environ['PATH']}", f"HOME={self.folder / 'home'}",
                "LANG=C.UTF-8", "ANTHROPIC_API_KEY=sk-test", str(self.folder.parent / "peacrabd"), "ask", "--plain",
                "--continue", "--model", "m", "--model-url", self.url, words]

    def run(self, words, before=(), seconds=120):
        return subprocess.run(self.command(words, before), cwd=self.folder / "work", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, text=True, check=False)

    def stored(self, query, *values):
        """What the warden's store answers; 0 when it has not even its tables."""
        store = self.folder / "home/.local/state/peacrab/local/warden.db"
        if not store.exists():
            return 0
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for part in store.parent.glob("warden.db*"):
            shutil.copy(part, copy)
        with sqlite3.connect(copy / "warden.db") as database:
            try:
                return database.execute(query, values).fetchone()[0]
            except sqlite3.OperationalError:
                return 0

    def taken(self):
        """Whether the warden had the first message in its store."""
        return self.stored("SELECT count(*) FROM inbox WHERE text = ?", FIRST) == 1

    def ran(self):
        trace = self.folder / "work/ran"
        return len(trace.read_text().splitlines()) if trace.exists() else 0


def one(scratch, port, killer, number):
    """Kills at one point and comes back; gives the point's file and what the model then knows."""
    place = Place(scratch, port, f"at{number}")
    first = place.run(FIRST, [killer, str(number)])
    # What was killed may say something still, behind it.
    said = [line.split() for line in first.stdout.splitlines() if line.startswith(("killed ", "ended"))][-1:]
    said = said[0] if said else ["nothing"]
    if said[0] == "ended":  # a run has a few steps more or less
        shutil.rmtree(place.folder)
        return None
    assert said[0] == "killed", f"point {number}: {first.stdout} {first.stderr}"
    before, taken = place.ran(), place.taken()
    deadline = time.monotonic() + 20
    while True:  # who was killed may hold its lock for a moment more
        second = place.run(SECOND)
        if second.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert second.returncode == 0, f"point {number}: the next question ended with {second.returncode}: {second.stderr}"
    state = known(requests[place.scenario])
    assert place.ran() == before, f"point {number}: the call ran when the person came back"
    assert taken == (state != KNOWS[0]), f"point {number}: taken: {taken}; the model knows of {state}"
    assert before in RAN[state], f"point {number}: the model knows of {state}, and the call ran {before} times"
    shutil.rmtree(place.folder)
    return pathlib.Path(said[2]).name, state


def main():
    with crash_points.stage("trace", answer) as (scratch, port):
        count = crash_points.steps_of(Place(scratch, port, "whole").run(FIRST, [KILLER, "0"]))
        rows = crash_points.at_each(count, lambda n: one(scratch, port, KILLER, n))
    states = [KNOWS.index(state) for _, state in rows]
    table = "\n".join(f"  {number:4} {file:24} {state}" for number, (file, state) in enumerate(rows, 1))
    # Each point is a run of its own, in which warden and turn are a few steps ahead of each other or not.
    shrinks = [n for n in range(len(states)) if states[n] < max(states[:max(0, n - SLACK)], default=0)]
    assert not shrinks, f"what is known shrinks:\n{table}"
    assert set(states) == set(range(len(KNOWS))), f"not every outcome was met:\n{table}"
    if "-v" in sys.argv:
        print(table)
    counts = ", ".join(f"{states.count(n)} {name}" for n, name in enumerate(KNOWS))
    print(f"ok: killed at {len(rows)} points: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
