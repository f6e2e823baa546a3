#!/usr/bin/env python3
# timeout: 900
"""A turn that asks the person, killed between every two writes to its store, journal and audit; then the person
comes back and says one thing. Asserted for each point: a question that was shown is shown once and is answered by
what was said, as the result of its call; one that was not is reported as not finished and never shown; in either
case no request breaks the protocol. The same for the run that answers: its answer is told once, however it ended.
"""
import json
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import crash_matrix_test as matrix  # noqa: E402
import crash_points  # noqa: E402
import hostile_anthropic as wire  # noqa: E402
from crash_points import KILLER  # noqa: E402

FIRST, ANSWER, LAST = "ask me, please", "the second one", "what became of it?"
EVENTS = "SELECT count(*) FROM events WHERE frame LIKE '{\"type\":\"question\"%'"
requests = {}  # scenario with its suffix -> the last request


def answer(exchange):
    requests[exchange.path.split("/")[2]] = exchange.request
    said = json.dumps(exchange.request["messages"])
    if ANSWER in said or LAST in said:
        return exchange.stream(wire.Stream().text("I see.").end())
    asked = json.dumps({"question": "Which one?", "default": "the first one"})
    return exchange.stream(wire.Stream().call("call_1", asked, "ask_user").end("tools"))


def result(request):
    """What the call came to, as the model is told; None: there was no call."""
    for message in request["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block["type"] == "tool_result":
                return json.dumps(block["content"])
    return None


def back(place, words, number):
    """The person comes back; who was killed may hold its lock for a moment more."""
    deadline = time.monotonic() + 20
    while True:
        run = place.run(words)
        if run.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert run.returncode == 0, f"point {number}: '{words}' ended with {run.returncode}: {run.stderr}"
    return json.dumps(requests[place.scenario]["messages"]).count(words)


def asking(scratch, port, killer, number):
    """Killed while it asks."""
    place = matrix.Place(scratch, port, f"ask{number}", "asks")
    first = place.run(FIRST, [killer, str(number)])
    if "killed" not in first.stdout:  # a run has a few steps more or less
        return None
    shown = place.stored(EVENTS)
    times = back(place, ANSWER, number)
    told = result(requests[place.scenario])
    assert times == 1, f"point {number}: said {times} times"
    assert place.stored(EVENTS) == shown <= 1, f"point {number}: shown {shown} times, then {place.stored(EVENTS)}"
    if shown:
        assert told == json.dumps(f"The person answers: {ANSWER}"), f"point {number}: shown, and told {told}"
    else:
        assert told is None or "did not finish" in told, f"point {number}: not shown, and told {told}"
    shutil.rmtree(place.folder)
    return "shown" if shown else "not shown"


def answering(scratch, port, killer, number):
    """Killed while it is told the answer; then the person says one thing more."""
    place = matrix.Place(scratch, port, f"answer{number}", "asks")
    first = place.run(FIRST)
    assert first.returncode == 3, f"point {number}: the question ended with {first.returncode}: {first.stderr}"
    second = place.run(ANSWER, [killer, str(number)])
    if "killed" not in second.stdout:
        return None
    taken = place.stored("SELECT count(*) FROM inbox WHERE text = ?", ANSWER)
    times = back(place, LAST, number)
    told = result(requests[place.scenario])
    assert times == 1, f"point {number}: said {times} times"
    wanted = ANSWER if taken else LAST
    assert told == json.dumps(f"The person answers: {wanted}"), f"point {number}: taken: {taken}, and told {told}"
    assert json.dumps(requests[place.scenario]["messages"]).count(ANSWER) == taken, f"point {number}: not once"
    assert place.stored(EVENTS) == 1, f"point {number}: asked again"
    shutil.rmtree(place.folder)
    return "answered" if taken else "not answered"


def main():
    states = {}
    with crash_points.stage("asks", answer) as (scratch, port):
        place = matrix.Place(scratch, port, "whole", "asks")
        steps = [crash_points.steps_of(place.run(words, [KILLER, "0"]), code)
                 for words, code in ((FIRST, "3"), (ANSWER, "0"))]
        for one, count in zip((asking, answering), steps):
            for state in crash_points.at_each(count, lambda n, one=one: one(scratch, port, KILLER, n)):
                states[state] = states.get(state, 0) + 1
    assert len(states) == 4, f"not every outcome was met: {states}"
    print("ok: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
