#!/usr/bin/env python3
"""A folder as a messenger: a file NAME.txt in its `in` is said by its owner, an answer appears in `out`. Whoever moves
files in and out (a mailbox, a share, a script) is the transport. settings: `folder`. See ../README.md."""
import json
import os
import pathlib
import select


def say(**frame):
    print(json.dumps(frame), flush=True)


def frames(seconds):
    """What we were told within that time."""
    global begun
    if select.select([0], [], [], seconds)[0]:
        read = os.read(0, 1 << 16)
        *whole, begun = (begun + read).split(b"\n")
        yield from map(json.loads, whole if read else [b'{"type":"stop"}'])


begun, start = b"", None
while not start:
    start = next(frames(None), None)
folder = pathlib.Path(start["settings"]["folder"])
say(type="hello", protocol=1, channel="folder", account=str(folder), limits={"dedupe": "key"})  # of a name there is one
told = []  # in the batch that is not yet stored
while True:
    new = sorted((folder / "in").glob("*.txt"))[:100]
    if new and not told:
        told = new
        say(type="batch", cursor="", events=[
            {"key": path.name, "kind": "message", "conversation": path.owner(), "scope": "direct", "id": path.name,
             "sender": path.owner(), "text": path.read_text(errors="replace")[:16000]} for path in told])
    for frame in frames(1):
        if frame["type"] == "stored":  # it is safe: it may go
            told = [path.unlink() for path in told] and []
        elif frame["type"] == "deliver":
            made = folder / "out" / f".{frame['key']}"
            made.write_text(frame["text"] + "\n")
            made.rename(made.with_name(frame["key"] + ".txt"))  # once more is the same file
            say(type="sent", id=frame["id"], part=0, of=1, platform=frame["key"])
        elif frame["type"] == "stop":
            raise SystemExit
    say(type="alive")
