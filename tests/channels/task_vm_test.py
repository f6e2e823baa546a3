#!/usr/bin/env python3
# needs: vm
# timeout: 300
"""Tasks as a person meets them: set on Telegram, with a gate in the cell; the machine is stopped, and what is due
starts it again."""
import contextlib
import json
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from pty_driver import PEACRAB, need  # noqa: E402
from telegram_vm_test import OWNER, TOKEN, Host  # noqa: E402


def book(host):
    return contextlib.closing(sqlite3.connect(pathlib.Path(host.home.env["XDG_STATE_HOME"]) / "peacrab/channels.db", timeout=20))


def due(host, number):
    with book(host) as tasks, tasks:
        tasks.execute("UPDATE tasks SET next = unixepoch() WHERE id = ?", (number,))


def all_answered(host):
    with book(host) as arrivals:
        return not arrivals.execute("SELECT 1 FROM arrivals WHERE state IN ('waiting', 'handed')").fetchall()


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        need(time.monotonic() < end, "not in time")
        time.sleep(0.1)


def main():
    host = Host()
    try:
        host.peacrab("channel", "add", "telegram", stdin=TOKEN)
        host.serve()
        code = host.peacrab("people", "pair", "telegram")
        host.says(OWNER, code, "You are paired, as owner", 120)
        host.model.script["set it"] = ("more", {"tool": "task", "arguments": json.dumps(
            {"action": "create", "when": "every 1h", "text": "what is new", "gate": "cat /etc/debian_version news"})})
        host.says(OWNER, "set it", "it said: Task 1 is set: every 1 h")
        asked = len(host.model.requests)
        due(host, 1)
        until(lambda: "its gate said no" in host.peacrab("tasks", "history", "1"))
        need(len(host.model.requests) == asked, "no model was asked")
        host.model.script["write it"] = ("shell", {"command": "echo it has come >news"})
        host.says(OWNER, "write it", "it said: (no output)")
        until(lambda: all_answered(host))  # the turn ends behind its answer
        time.sleep(2)  # and the conversation is closed
        host.peacrab("stop")
        due(host, 1)
        until(lambda: "re: it has come" in host.texts(OWNER), 120)  # the machine was started for it
        until(lambda: "done" in host.peacrab("tasks", "history", "1").split("\n")[1])
        need("is deleted" in host.peacrab("tasks", "delete", "1") and "no tasks" in host.peacrab("tasks"), "and ends")
        host.kill(signal.SIGTERM)
        print("tasks through the machine: ok")
    except BaseException:
        print(host.peacrab("tasks", "history", "1"), host.peacrab("tasks"), host.texts(OWNER)[-4:], file=sys.stderr)
        print(pathlib.Path(host.home.path, "serve.log").read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        if host.serving and host.serving.poll() is None:
            host.kill()
        subprocess.run([PEACRAB, "stop"], env=host.home.env, capture_output=True, check=False)


if __name__ == "__main__":
    main()
