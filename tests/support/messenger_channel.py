#!/usr/bin/env python3
"""A channel to tests/support/messenger.py, whose socket is the setting `socket`: the frame protocol in one page."""
import base64
import json
import os
import select
import socket


def say(**frame):
    print(json.dumps(frame), flush=True)


heard = []  # whole lines, and what there is of the next


def hear(seconds):
    """The next frame, or None. What was read already is looked at first: select knows nothing of it."""
    while len(heard) < 2:
        if not select.select([0], [], [], seconds)[0]:
            return None
        read = os.read(0, 65536).decode()
        if not read:
            return {"type": "stop"}
        heard[-1:] = ((heard[-1] if heard else "") + read).split("\n")
    return json.loads(heard.pop(0))


class Link:
    def __init__(self, path):
        self.path, self.lines = path, None

    def ask(self, **what):
        """What the messenger answers; None: nobody knows whether it has heard it."""
        if not self.lines:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self.path)
            self.lines = connection.makefile("rw", encoding="utf-8", newline="\n")
        try:
            self.lines.write(json.dumps(what) + "\n")
            self.lines.flush()
            line = self.lines.readline()
        except OSError:
            line = ""
        if not line:
            self.lines = None
        return json.loads(line) if line else None


kept = []  # frames that came while something else was waited for


def pull(frame):
    """The file of a `deliver`, in base64, piece by piece; None: it cannot be had."""
    data = b""
    while len(data) < frame["file"]["size"]:
        say(type="want", id=frame["id"], at=len(data))
        while (answer := hear(None))["type"] != "data":
            kept.append(answer)
        if not answer["data"]:
            return None
        data += base64.b64decode(answer["data"])
    return {**frame["file"], "data": base64.b64encode(data).decode()}


def fetch(link, frame):
    at = 0
    while True:
        answer = link.ask(op="get", handle=frame["handle"], at=at) or {"fault": "gone"}
        if answer.get("fault") == "stalls":
            return
        if answer.get("fault") == "cut":
            raise SystemExit(1)
        if "fault" in answer or answer["size"] > frame["most"]:
            return say(type="fetched", id=frame["id"], error="it has expired" if "fault" in answer else "it is too large")
        if answer["data"]:
            say(type="data", id=frame["id"], data=answer["data"])
        at += len(base64.b64decode(answer["data"]))
        if at >= answer["size"]:
            return say(type="fetched", id=frame["id"], size=at)


def deliver(link, frame):
    part, key = frame.get("from", 0), f"{frame['key']}.{frame.get('from', 0)}"
    file = pull(frame) if "file" in frame else None
    if "file" in frame and not file:
        return say(type="failed", id=frame["id"], **{"class": "not_sent"}, error="the file is not there")
    answer = link.ask(op="post", key=key, conversation=frame["conversation"], text=frame["text"],
                      edit=frame.get("platform"), file=file, buttons=frame.get("choices", []))
    if answer is None:
        say(type="failed", id=frame["id"], **{"class": "unknown"}, error="no answer came")
    elif "error" in answer:
        say(type="failed", id=frame["id"], **{"class": answer["error"]}, error="it said so",
            retry_ms=answer.get("retry_ms", 1000))
    else:
        say(type="sent", id=frame["id"], part=part, of=1, platform=answer["id"])


def main():
    start = hear(None)
    settings, offset, waits = start["settings"], int(start.get("cursor", "0")), 0
    posting, polling = Link(settings["socket"]), Link(settings["socket"])
    say(type="hello", protocol=1, channel="messenger", account="bot",
        limits={"edits": int(settings.get("edits", "0")), "typing": 4000, "dedupe": settings.get("dedupe", "key"),
                "files": int(settings.get("files", "0")), "text": int(settings.get("text", "0")),
                "buttons": int(settings.get("buttons", "0"))})
    while True:
        if not waits:
            updates = (polling.ask(op="poll", offset=offset, wait=0) or {}).get("updates", [])
            if updates:
                offset += len(updates)
                say(type="batch", events=updates, cursor=str(offset))
                waits = 1
            say(type="alive")
        frame = kept.pop(0) if kept else hear(0.05)
        if not frame:
            continue
        if frame["type"] == "stored":
            waits = 0
        elif frame["type"] == "deliver":
            deliver(posting, frame)
        elif frame["type"] == "fetch":
            fetch(polling, frame)
        elif frame["type"] == "show":
            answer = posting.ask(op="post", key=f"show {offset} {frame['text']}", conversation=frame["conversation"],
                                 text=frame["text"], edit=frame.get("platform"))
            say(type="shown", slot=frame["slot"], **({"platform": answer["id"]} if answer and "id" in answer else {}))
        elif frame["type"] == "typing":
            posting.ask(op="typing", conversation=frame["conversation"])
        elif frame["type"] == "stop":
            return


if __name__ == "__main__":
    main()
