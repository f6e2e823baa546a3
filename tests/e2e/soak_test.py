#!/usr/bin/env python3
# needs: vm
# timeout: 1500
"""A long turn, scaled down: more than 500 calls in the VM. On its way the one who asked is killed, the machine is
frozen for a while, connections are reset, the model is down for longer than it is waited for, and the conversation
is summed up again and again. It finishes; no step is lost or made twice; what was counted as spent is to the token
what the model's server said; and neither the warden nor the turn process nor the gateway grows by more than 10 %.
"""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/support"))
from pty_driver import PEACRAB, Home, need  # noqa: E402

STEPS = int(os.environ.get("SOAK_STEPS", "420"))
CLIENT_GONE, FROZEN, DOWN = STEPS // 4, STEPS // 2, STEPS * 4 // 5
FROZEN_FOR = 8
GROWTH, SLACK = 1.10, 64  # kB: what an allocator rounds up


class Soak:
    def __init__(self, home):
        self.home, self.samples, self.over = home, [], threading.Event()
        self.down = os.path.join(home.path, "down")
        self.model = subprocess.Popen(
            [sys.executable, os.path.join(ROOT, "tests/support/soak_model.py"), "--steps", str(STEPS), "--down",
             self.down, "--for", "1500"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.model.stdout.readline())
        folder = os.path.join(home.env["XDG_CONFIG_HOME"], "peacrab")
        os.makedirs(folder, 0o700)
        with open(os.path.join(folder, "config.yaml"), "w", encoding="utf-8") as file:
            file.write(f"model: m\nmodel-url: http://127.0.0.1:{self.port}/s/soak\ndialect: anthropic\nwindow: 32768\n"
                       "budget:\n  turn: none\n  day: none\n")
        with_key = subprocess.run([PEACRAB, "setup", "--model", "m", "--model-url", f"http://127.0.0.1:{self.port}/s/soak",
                                   "--dialect", "anthropic", "--key-stdin", "--no-check"], env=home.env, text=True,
                                  input="sk-soak", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        need(with_key.returncode == 0, f"setup: {with_key.stdout}")

    def peacrab(self, *words, seconds=120):
        return subprocess.run([PEACRAB, *words], env=self.home.env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)

    def ask(self, *words):
        return subprocess.Popen([PEACRAB, *words], env=self.home.env, stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def log(self):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://127.0.0.1:{self.port}/log", timeout=30) as answer:
            return json.load(answer)

    def until(self, step, process):
        while self.log()["soak"]["step"] < step:
            need(process.poll() is None, f"ended before step {step}: {process.communicate() if process.poll() else ''}")
            time.sleep(0.2)

    def sample(self):
        """The most memory each has had so far, in kB, with the step it was taken at."""
        while not self.over.wait(2):
            report = self.peacrab("doctor", "--json").stdout
            taken = {"step": self.log()["soak"]["step"]}
            for name in ("warden", "turn"):
                found = re.search(name + r"_memory: VmHWM:\s+(\d+) kB", report)
                if found:
                    taken[name] = int(found[1])
            gateway = self.gateway()
            if gateway:
                with open(f"/proc/{gateway}/status", encoding="utf-8") as status:
                    taken["gateway"] = int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
            self.samples.append(taken)

    def machine(self):
        return json.loads(self.peacrab("ps", "--json").stdout or "[]")

    def pid(self):
        listed = self.machine()
        machine = listed[0] if isinstance(listed, list) else listed["machines"][0]
        return machine["pid"]

    def gateway(self):
        """The parent of the machine's process."""
        try:
            with open(f"/proc/{self.pid()}/stat", encoding="utf-8") as stat:
                return int(stat.read().rpartition(")")[2].split()[1])
        except (OSError, KeyError, IndexError, ValueError):
            return 0

    def most(self, name, first, last):
        return max((s[name] for s in self.samples if name in s and first <= s["step"] <= last), default=0)


def events(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def run(soak):
    up = soak.peacrab("up", seconds=400)
    need(up.returncode == 0, f"up: {up.stderr}")
    sampler = threading.Thread(target=soak.sample, daemon=True)
    sampler.start()

    first = soak.ask("ask", "--continue", "--json", "make all the steps")
    turn = json.loads(first.stdout.readline())["turn"]
    soak.until(CLIENT_GONE, first)
    first.kill()
    first.communicate()
    waits = soak.ask("wait", "--json", turn)
    soak.until(FROZEN, waits)
    vm = soak.pid()
    os.kill(vm, signal.SIGSTOP)
    time.sleep(FROZEN_FOR)
    os.kill(vm, signal.SIGCONT)
    soak.until(DOWN, waits)
    with open(soak.down, "w", encoding="utf-8"):
        pass
    out, err = waits.communicate(timeout=300)
    need(waits.returncode == 5, f"a model that is down is exit code {waits.returncode}: {err[-500:]}")
    done = [event for event in events(out) if event["type"] == "turn_done"]
    need(len(done) == 1 and done[0]["status"] == "failed" and "overloaded" in done[0]["error"], f"its end: {done}")
    time.sleep(3)  # of the turn process that ended, the last sample is there
    os.unlink(soak.down)
    second = soak.ask("ask", "--continue", "--json", "go on where you were")
    out, err = second.communicate(timeout=900)
    need(second.returncode == 0, f"after the outage: exit code {second.returncode}: {err[-500:]}")
    soak.over.set()
    sampler.join(60)
    reply = [event["text"] for event in events(out) if event["type"] == "reply"][-1]
    done += [event for event in events(out) if event["type"] == "turn_done"]
    return reply, done


def judge(soak, reply, done):
    log = soak.log()
    said = log["soak"]
    print("model:", json.dumps(said))
    need(not log["violations"], f"violations: {log['violations'][:3]}")
    steps = range(1, STEPS + 1)
    lines, files = sum(s % 5 in (1, 2, 3) for s in steps), sum(s % 5 == 4 for s in steps)
    need(reply == f"sums: 0 {lines} {files}", f"steps lost or made twice: {reply}, wanted 0 {lines} {files}")
    need(said["calls"] >= 500 or STEPS < 420, f"only {said['calls']} calls")
    need(said["summaries"] >= 2, f"{said['summaries']} summaries")
    need(said["resets"] == 2 and said["refused"] >= 2, "the failures did not happen")
    for name, kinds in (("input_tokens", ("input_tokens", "cache_read_input_tokens")), ("output_tokens", ("output_tokens",))):
        told, wanted = sum(event[name] for event in done), sum(said[kind] for kind in kinds)
        need(told == wanted, f"{name}: {told} were counted, the server said {wanted}")
    # The host's own book: what no count came for, it guesses, and says so. A reset of a connection that was used
    # before is tried again by the library itself.
    rows = json.loads(soak.peacrab("usage", "--json").stdout)["rows"]
    book = {key: sum(row[key] for row in rows) for key in ("calls", "estimated_calls", "output_tokens")}
    print("host:", json.dumps(book))
    need(book["calls"] - book["estimated_calls"] == said["answers"] and 1 <= book["estimated_calls"] <= said["resets"],
         f"the host counted {book}")
    need(book["output_tokens"] >= said["output_tokens"], f"the host counted less: {book}")
    for name in ("warden", "turn", "gateway"):
        early, late = soak.most(name, STEPS // 5, STEPS // 2), soak.most(name, STEPS * 3 // 5, STEPS + 2)
        print(f"{name}: {early} kB, then {late} kB at most")
        need(early and late, f"{name}: no samples")
        need(late <= early * GROWTH + SLACK, f"{name}: grows: {early} kB, then {late} kB")


def main():
    home = Home()
    soak = Soak(home)
    try:
        began = time.monotonic()
        reply, done = run(soak)
        judge(soak, reply, done)
        print(f"ok: {STEPS} steps in {time.monotonic() - began:.0f} s")
    finally:
        soak.over.set()
        soak.peacrab("stop")
        soak.model.kill()
        soak.model.wait()
        home.remove()


if __name__ == "__main__":
    main()
