#!/usr/bin/env python3
# timeout: 240
"""Budgets without a VM, against a model of ours that keeps its own books: what the agent's ledger adds up to is
what the server said, call for call, whatever died in between; a limit stops a turn in its middle with exit code
4 and one sentence; `more` goes on; a day that is spent lets nothing begin; what is delegated has a budget of its own.
"""
import contextlib
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from pty_driver import PEACRABD, Home, need  # noqa: E402

CENT = {"input": 1000, "output": 1800, "cache_read": 0, "cache_write": 0}  # what comes to one
UID = 65534 if os.geteuid() == 0 else None
PRICES = {"input": 1000, "output": 5000, "cache_read": 100, "cache_write": 1250}  # of claude-haiku-4-5, nano USD
KEYS = {"input": "input_tokens", "output": "output_tokens", "cache_read": "cache_read_input_tokens",
        "cache_write": "cache_creation_input_tokens"}


class Model(http.server.ThreadingHTTPServer):
    """Asks for a command `left` times, then answers. Its books: one dict a call that it has answered. With
    `delegates`, arguments of that tool: it gives the work away once, and whoever gets it asks for commands, on and on.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.random = random.Random(4)
        self.left, self.books, self.requests, self.usage, self.delegates = 0, [], [], None, None
        self.held = threading.Event()  # a request is here and gets no answer
        self.hold_at = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def script(self, calls, usage=None):
        self.left, self.usage = calls, usage

    def next_call(self, body):
        """A tool and its arguments; None: an answer."""
        at = len(self.requests)
        if "A part of your own work" in json.dumps(body["messages"][0]):
            return "shell", {"command": f"echo part-{at}"}
        if self.delegates:
            arguments, self.delegates = self.delegates, None
            return "more", {"tool": "delegate", "arguments": json.dumps(arguments)}
        if self.left <= 0:
            return None
        self.left -= 1
        return "shell", {"command": f"echo step-{at}"}

    def next_usage(self):
        return self.usage or {key: self.random.randrange(1, 900) for key in KEYS}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def event(self, kind, **data):
        self.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode())
        self.wfile.flush()

    def block(self, index, block, delta):
        self.event("content_block_start", index=index, content_block=block)
        self.event("content_block_delta", index=index, delta=delta)
        self.event("content_block_stop", index=index)

    def do_POST(self):
        model = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model.requests.append(body)
        if model.hold_at == len(model.requests):
            model.held.set()
            time.sleep(60)  # whoever asked has gone by then
            return
        usage = model.next_usage()
        wire = {KEYS[key]: tokens for key, tokens in usage.items()}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.event("message_start", message={"id": "m", "type": "message", "role": "assistant",
                                             "model": "claude-haiku-4-5-20251001", "content": [],
                                             "usage": {**wire, "output_tokens": 1}})
        call = model.next_call(body)
        said = f"Words of {len(model.requests)}." if call else "All done."
        self.block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": said})
        if call:
            self.block(1, {"type": "tool_use", "id": f"toolu_{len(model.requests)}", "name": call[0], "input": {}},
                       {"type": "input_json_delta", "partial_json": json.dumps(call[1])})
        self.event("message_delta", delta={"stop_reason": "tool_use" if call else "end_turn"},
                   usage={"output_tokens": usage["output"]})
        model.books.append(usage)
        self.event("message_stop")


class Place:
    """A home of its own, with a configuration, where questions are asked."""

    def __init__(self, model, config=""):
        self.home, self.model = Home(), model
        self.program = os.path.join(self.home.path, "peacrabd")
        shutil.copy(PEACRABD, self.program)
        os.chmod(self.program, 0o755)
        folder = pathlib.Path(self.home.env["XDG_CONFIG_HOME"], "peacrab")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(config)
        if UID is not None:
            self.home.give_to(UID)
            for path in (folder, folder / "config.yaml"):
                os.chown(path, UID, UID)
        self.home.env["ANTHROPIC_API_KEY"] = "sk-test"

    def start(self, text, *flags, name="claude-haiku-4-5"):
        return subprocess.Popen(
            [self.program, "ask", "--plain", "--model", name, "--model-url",
             f"http://127.0.0.1:{self.model.server_port}", *flags, text],
            env=self.home.env, cwd=self.home.path, user=UID, group=UID, extra_groups=[] if UID else None,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ask(self, text, *flags, **more):
        process = self.start(text, *flags, **more)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def rows(self):
        found = list(pathlib.Path(self.home.path).rglob("warden.db"))
        need(len(found) == 1, f"one ledger was expected: {found}")
        with sqlite3.connect(found[0]) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM spent")]

    def kill_all(self):
        """Everything of this copy of the program, at once and without a word."""
        victims = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "exe") == self.program:
                    victims.append(int(entry.name))
            except OSError:
                continue
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):  # it goes with the one before
                os.kill(pid, signal.SIGKILL)
        return victims


def cost_of(usage):
    return sum(usage[key] * PRICES[key] for key in KEYS)


def same_books(place, model, what):
    rows = place.rows()
    for key in KEYS:
        need(sum(row[key] for row in rows) == sum(usage[key] for usage in model.books), f"{what}: {key}: {rows}")
    need(sum(row["calls"] for row in rows) == len(model.books), f"{what}: calls")
    need(sum(row["money"] for row in rows) == sum(map(cost_of, model.books)), f"{what}: money")
    need(all(row["estimated"] == 0 and row["unpriced"] == 0 for row in rows), f"{what}: {rows}")


def exact(model):
    place = Place(model, "budget:\n  turn: none\n  day: none\n")
    model.script(29)
    code, out, err = place.ask("count", "--json")
    need(code == 0 and len(model.books) == 30, f"30 calls, exit 0: {code}, {len(model.books)}: {err}")
    done = json.loads(out.splitlines()[-1])
    need(done["type"] == "turn_done" and done["status"] == "done", out)
    need(done["cost"] == -(-sum(map(cost_of, model.books)) // 1000), f"cost: {done}")
    need(done["output_tokens"] == sum(usage["output"] for usage in model.books), f"out: {done}")
    need(done["input_tokens"] == sum(usage[key] for usage in model.books for key in KEYS if key != "output"),
         f"in: {done}")
    same_books(place, model, "30 calls")
    print("ok: 30 calls: the ledger is the server's books, to the billionth")

    # Killed while the 10th call of the next turn is under way, then gone on with.
    model.script(29)
    model.hold_at = len(model.requests) + 10
    process = place.start("count again", "--continue")
    need(model.held.wait(60), "the 10th call did not come")
    need(len(place.kill_all()) >= 2, "a warden and a turn were to be killed")
    process.communicate(timeout=30)
    same_books(place, model, "after the kill")
    code, out, err = place.ask("go on", "--continue")
    need(code == 0, f"after the kill: {code}: {err}")
    same_books(place, model, "gone on after the kill")
    place.home.remove()
    print("ok: killed in the middle: not a call is lost, and none counts twice")


def stops(model):
    place = Place(model, "budget:\n  turn: 0.05 USD\n  day: 0.12 USD\n")
    model.books.clear()
    model.script(7, CENT)
    code, out, err = place.ask("spend")
    need(code == 4 and not out, f"exit code 4 and no reply: {code}: {out}")
    need("80 % of the budget of this turn is spent: 0.04 USD of 0.05 USD" in err, err)
    need(err.count("80 %") == 1, f"said once: {err}")
    need("the budget of this turn is spent: 0.05 USD of 0.05 USD; answer `more` to allow as much again" in err, err)
    need("0.05 USD\n" in err.split("tokens in")[-1], f"the closing line has the cost: {err}")
    need(len(model.books) == 5, f"five calls and no more: {len(model.books)}")
    print("ok: a turn stops in its middle, at the call that spent it")

    place.home.remove()
    place = Place(model, "budget:\n  turn: 0.05 USD\n  day: 0.12 USD\n")
    model.books.clear()
    model.script(7, CENT)
    need(place.ask("spend", "--continue")[0] == 4, "stopped")
    code, out, err = place.ask("More", "--continue")
    need(code == 0 and "All done." in out, f"it goes on: {code}: {err}")
    need(len(model.books) == 8, f"three more calls: {len(model.books)}")
    said = json.dumps(model.requests[-1]["messages"])
    need("Go on with what was interrupted" in said and "More" not in said, "the model is told to go on, not `more`")
    need("spend" in said, "of the same conversation")
    print("ok: `more` is taken by the warden and the work goes on")

    model.script(7, CENT)
    need(place.ask("spend again", "--continue")[0] == 4, "the day is spent")
    asked = len(model.requests)
    code, out, err = place.ask("and now?", "--continue")
    need(code == 4 and "the budget of all agents today (UTC) is spent: 0.12 USD of 0.12 USD" in err, err)
    need(len(model.requests) == asked, "nothing was asked")
    model.script(0, CENT)
    code, out, err = place.ask("more", "--continue")
    need(code == 0, f"another day's worth: {code}: {err}")
    need("and now?" in json.dumps(model.requests[-1]["messages"]), "what waited meanwhile is not lost")
    place.home.remove()
    print("ok: a spent day lets nothing begin, and keeps what was said")


def unknown(model):
    place = Place(model)
    model.books.clear()
    model.script(0)
    code, out, err = place.ask("what does it cost?", "--json", name="nobody-knows")
    done = json.loads(out.splitlines()[-1])
    # The server names a model that has a price: that one is taken.
    need(code == 0 and "cost" in done, out)
    place.home.remove()
    place = Place(model, "budget:\n  turn: 2000 tokens\n")
    model.script(5, {"input": 900, "output": 1, "cache_read": 0, "cache_write": 0})
    code, out, err = place.ask("tokens")
    need(code == 4 and "2,703 tokens of 2,000 tokens" in err, f"{code}: {err}")
    place.home.remove()
    print("ok: a limit of tokens holds as one of money does")


def delegated(model, config, arguments, calls, what):
    """The turn that delegates; its answer, the result it was given, and the calls of the model it took."""
    place = Place(model, config)
    model.books.clear()
    model.requests.clear()
    model.script(0, CENT)
    model.delegates = {"task": "count on and on", **arguments}
    code, out, err = place.ask("give it away", "--json")
    need(len(model.books) == calls, f"{what}: {calls} calls, not {len(model.books)}: {err}")
    rows = place.rows()
    need(len({row["turn"] for row in rows}) == 1 and sum(row["calls"] for row in rows) == calls,
         f"{what}: all of it is the turn's that asked: {rows}")
    place.home.remove()
    return code, json.loads(out.splitlines()[-1]), json.dumps(model.requests[-1]["messages"][-1])


def delegates(model):
    # One call asks, one hears of the end; between them is the delegate's: half of what the first has left.
    code, done, told = delegated(model, "budget:\n  turn: 0.09 USD\n", {}, 6, "half")
    need(code == 0 and done["status"] == "done" and done["cost"] == 60000, f"half: the turn goes on: {done}")
    need("the budget of this delegate is spent: 0.04 USD of 0.04 USD" in told, f"half: {told}")
    need("What it had said so far:\\nWords of 2.\\nWords of 3.\\nWords of 4.\\nWords of 5." in told, f"half: {told}")
    config = "budget:\n  turn: 0.09 USD\n  delegate: 0.02 USD\n"
    need("0.02 USD of 0.02 USD" in delegated(model, config, {}, 4, "set")[2], "set in the configuration")
    need("0.01 USD of 0.01 USD" in delegated(model, config, {"budget": "0.01 USD"}, 3, "less")[2], "the model says less")
    need("0.02 USD of 0.02 USD" in delegated(model, config, {"budget": "5 USD"}, 4, "more")[2], "and cannot say more")
    need("was expected" in delegated(model, config, {"budget": "all there is"}, 2, "garbage")[2], "garbage is refused")
    print("ok: a delegate ends with its own budget, and who asked goes on with what it said")

    code, done, told = delegated(model, "budget:\n  turn: 0.04 USD\n  delegate: none\n", {}, 4, "no limit of its own")
    need(code == 4 and done["status"] == "budget", f"what is spent is the turn's: {code}: {done}")
    need("the budget of this turn is spent: 0.04 USD of 0.04 USD" in done["error"], f"{done}")
    print("ok: without one, the turn that asked ends with it, and is not asked once more")


def main():
    if not os.access(PEACRABD, os.X_OK):
        sys.exit(f"{PEACRABD} is not built")
    model = Model()
    exact(model)
    stops(model)
    unknown(model)
    delegates(model)


main()
