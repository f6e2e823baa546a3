"""Rows E: taking all there is of something. The cell's limits end it, its own next call works, and the
neighbour stays quick."""
import json
import re
import statistics
import threading
import time

from hostile_script import wire
from machine import PEACRAB, Client, run
from rows import Red, bad, matches, need, ok


class LostPace(Red):
    """The neighbour was slowed beyond its share."""


class Floods:
    # Of alpha, in the configuration the suite writes.
    PROCESSES, MEMORY, DISK, FILES, IO = 128, 160, 160, 4000, 8
    LIMITS = f"    memory: {MEMORY}M\n    processes: {PROCESSES}\n    disk: {DISK}M\n    files: {FILES}\n    io: {IO}M\n"

    def __init__(self, machine, rows, full, attacker="alpha"):
        self.machine, self.rows, self.full = machine, rows, full
        self.alpha, self.beta = machine.agent(attacker), machine.agent("beta")
        self.ratios = []

    def probe(self):
        began = time.monotonic()
        ok(self.beta.shell("echo probe >p && cat p", 60), "probe")
        return time.monotonic() - began

    def flood(self, words, seconds=60, **more):
        return self.alpha.shell(f"./attack flood {words}", seconds, **more)

    def recovered(self):
        """Back to the baseline: what the flood held is given back, within 5 s."""
        deadline = time.monotonic() + 5 * max(1, self.machine.factor // 2)
        while True:
            said = self.alpha.shell("ls /proc | grep -c '^[0-9]'; df -k /tmp /dev/shm | awk 'NR>1{print $3}'; head -c 1000000 /dev/zero >b && rm b")
            numbers = re.findall(r"^\d+$", said.text, re.M)
            if not said.failed and len(numbers) == 3 and int(numbers[0]) <= 8 and all(int(n) < 8000 for n in numbers[1:]):
                return
            need(time.monotonic() < deadline, f"not given back: {said}")

    def beside(self, act, *arguments):
        """A flood, and the neighbour's pace meanwhile. What the host's disk or another of its tests does
        can look like a stall, so a lost pace is looked at once more; what a flood does, it does again."""
        try:
            return self.paced(act, *arguments)
        except LostPace as lost:
            return f"{self.paced(act, *arguments)}; at first {lost}"

    def paced(self, act, *arguments):
        calm = statistics.median(self.probe() for _ in range(3))
        outcome, times = {}, []

        def attack():
            try:
                outcome["more"] = act(*arguments)
            except Exception as error:  # told below, in the thread that counts
                outcome["error"] = error
        thread = threading.Thread(target=attack, daemon=True)
        thread.start()
        while True:
            thread.join(0.3)
            if not thread.is_alive() and times:
                break
            times.append(self.probe())
        if "error" in outcome:
            raise outcome["error"]
        during = statistics.median(times)
        ratio = during / calm
        self.ratios.append(ratio)
        self.recovered()
        after = statistics.median(self.probe() for _ in range(3))
        # One emulated CPU is shared by both: half of it is twice the time. The absolute part is the
        # noise of a machine that also builds and tests.
        if during > 4 * calm + 2:
            raise LostPace(f"the neighbour takes {during:.2f} s instead of {calm:.2f} s")
        if after > 2 * calm + 1:
            raise LostPace(f"afterwards the neighbour takes {after:.2f} s instead of {calm:.2f} s")
        return f"neighbour {ratio:.1f}x of {calm * 1000:.0f} ms; {outcome['more']}"

    def stopped(self, said, name, reasons, most=None):
        found = matches(said, rf"flood {name}: (\d+), then (\w+)")
        need(found[2] in reasons, f"{name}: {found[0]}")
        need(most is None or int(found[1]) <= most, f"{name}: {found[0]}, more than {most}")
        return found[0][6:]

    def processes(self, kind, more):
        return self.stopped(self.flood(kind, 90, **more), kind, {"EAGAIN"}, self.PROCESSES)

    def bomb(self, more):
        seconds = 10 if self.full else 3
        self.flood(f"bomb {seconds}", seconds + 20, **more)
        return "ended"

    def memory(self, kind, more):
        """The whole call ends, nothing else does."""
        said = self.alpha.shell(f"sleep 600 & ./attack flood {kind}; echo survived", 90, **more)
        bad(said)
        need("survived" not in said.text, f"only a part of the call ended: {said}")
        need("memory" in said.text.lower(), f"not told which limit it was: {said}")
        return said.text.strip().splitlines()[-1][:80]

    def mild(self, kind, reasons, most, more):
        return self.stopped(self.flood(kind, 120, **more), kind.split()[0], reasons, most)

    def disk(self, kind, more):
        said = self.flood(kind, 180, **more)
        if kind == "disk":
            self.stopped(said, "fallocate", {"EDQUOT", "EFBIG"})
        return self.stopped(said, kind, {"EDQUOT"}, self.DISK)

    def files(self, more):
        said = self.flood("files", 300, **more)
        try:
            listed = self.stopped(said, "files", {"EDQUOT"}, self.FILES)
            self.alpha.shell("rm -rf flood-files", 300)
            deep = self.stopped(self.flood("deep 2000", 120, **more), "deep", {"EDQUOT", "ENAMETOOLONG", "the"})
        finally:
            self.alpha.shell("rm -rf flood-files dddd*", 300)
        ok(self.alpha.shell("echo again >again && rm again"))
        return f"{listed}; {deep}"

    def descriptors(self, more):
        said = self.flood(f"descriptors {4096 if self.full else 600}", 200, **more)
        kinds = re.findall(r"flood (\w+): (\d+), then (\w+)", said.text)
        need(len(kinds) == 7, f"{len(kinds)} kinds: {said}")
        allowed = {"EMFILE", "ENFILE", "ENOSPC", "EAGAIN", "ENOMEM", "EIO"}
        for name, count, reason in kinds:
            need(name != "ptys" or int(count) <= 64, f"{count} terminals")
            need(reason in allowed or reason == "the" and name in ("timers", "signals"), f"{name}: {count}, then {reason}")
        return ", ".join(f"{name} {count}" for name, count, _ in kinds)

    def output(self, more):
        said = self.flood(f"output {256 if self.full else 24}", 120, **more)
        need(len(said.text) < 56 << 10, f"{len(said.text)} characters of output came through")
        need("\x1b" not in said.text, "an escape came through")
        said = self.alpha.shell("yes '' | tr -d '\\n' | cat /dev/zero", 2, **more)
        need(said.failed and ("timed out" in said.text or "more than 64 MiB of output" in said.text), f"{said}"[-300:])
        need(len(said.text) < 56 << 10, "a call that says nothing but bytes is not cut")
        self.alpha.shell("rm -rf /run/output/* 2>/dev/null; true")
        return "cut to what a model can read"

    def zombies(self, more):
        said = self.flood(f"zombies {100_000 if self.full else 1500}", 90, **more)
        matches(said, r"flood zombies: \d+")
        self.flood("orphans 20", 60, **more)
        said = self.alpha.shell("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null; done; true")
        need("orphans" not in said.text, f"orphans outlive their call: {said}")
        return "none is left"

    def stubborn(self, more):
        began = time.monotonic()
        said = self.alpha.shell("./attack flood stubborn", 1, **more)
        took = time.monotonic() - began
        bad(said, "timed out")
        most = 1 * self.machine.factor + 1 * max(1, self.machine.factor // 3) + 2
        need(took < most, f"it took {took:.1f} s to end it")
        return f"ended after {took:.1f} s"

    def twice(self):
        """Twice the agent's memory is not to be had, however much the machine has."""
        bad(self.alpha.shell(f"python3 -c \"len(b'x' * ({2 * self.MEMORY} << 20))\" && echo had", 90), "memory")
        return "refused"

    def sizes(self):
        """What lies in memory is bounded before it is written: half of the agent's memory at most."""
        sizes = re.findall(r"^ *(\d+)$", ok(self.alpha.shell("df -k --output=size /tmp /dev/shm /run")).text, re.M)
        need(len(sizes) == 3 and all(int(size) <= self.MEMORY * 512 for size in sizes), f"KiB of /tmp, /dev/shm, /run: {sizes}")
        return ", ".join(sizes) + " KiB"

    def late(self, more):
        """E8, when it would end of itself: not before its time is over."""
        bad(self.alpha.shell(f"sleep {2 * self.machine.factor + 2}", 1, **more), "timed out")
        return "ended in time"

    def busy(self, more):
        said = self.flood(f"busy {10 if self.full else 4}", 120, **more)
        self.stopped(said, "SCHED_FIFO", {"EPERM"})
        self.stopped(said, "nice", {"EACCES", "EPERM"})
        return "real time and priority refused"

    def share(self, more):
        """The neighbour's share of the CPU while eight loops turn here."""
        return self.beside(self.busy, more)

    def capped(self, agent):
        """An agent whose limit is half a CPU gets half of the work done, though the rest is idle."""
        count = ("python3 -c \"import time\nn, end = 0, time.monotonic()+3\nwhile time.monotonic() < end: n += 1\nprint('rounds', n)\"")
        rounds = lambda who: int(matches(ok(who.shell(count, 90)), r"rounds (\d+)")[1])  # noqa: E731
        own, free = max(rounds(agent), rounds(agent)), max(rounds(self.beta), rounds(self.beta))
        agent.finish()
        need(own < 0.75 * free, f"{own} rounds where an agent with a whole CPU has {free}")
        return f"{own / free:.2f} of what a whole CPU does"

    def io(self, more):
        said = self.flood(f"io {10 if self.full else 4}", 120, **more)
        speed = float(matches(said, r"flood io: ([0-9.]+) MiB/s")[1])
        need(speed < self.IO * 1.5, f"{speed} MiB/s where {self.IO} is the limit")
        return f"{speed} MiB/s"

    def huge_files(self, more):
        """E11, E12: what must not be read whole, or at all."""
        ok(self.alpha.shell("truncate -s 150M huge; mkfifo fifo; python3 -c \"import socket; socket.socket(1).bind('sock')\"; "
                            "ln -s /dev/zero zero; ln -s /dev/urandom random; mkdir folder; head -c 40000000 /dev/zero | gzip >bomb.gz; "
                            "ln -s /proc/self/environ environ; ln -s /dev/stdin input", 120, **more))
        bad(self.alpha.call("write", {"path": "huge", "content": "x"}), "too much")
        for name in ("fifo", "sock"):
            bad(self.alpha.call("write", {"path": name, "content": "x"}), "not a regular file")
        for name in ("huge", "fifo", "sock", "zero", "random", "folder", "environ", "input"):
            began = time.monotonic()
            said = self.alpha.call("read", {"path": name}, 40)
            need(said.failed or len(said.text) < 64 << 10, f"{name}: {said}")
            need(said.failed or name == "huge", f"{name} was read: {said}")
            need(time.monotonic() - began < 10 + 2 * self.machine.factor, f"{name} took {time.monotonic() - began:.0f} s")
            if name not in ("huge", "folder"):
                bad(self.alpha.call("write", {"path": name + "/x", "content": "x"}))
        said = self.alpha.call("read", {"path": "bomb.gz"})
        need(len(said.text) < 64 << 10, "a compressed file was unpacked")
        ok(self.alpha.shell("rm -rf huge fifo sock zero random folder bomb.gz environ input"))
        ok(self.alpha.call("write", {"path": "twin", "content": "twin"}))
        ok(self.alpha.call("read", {"path": "twin"}), "twin")
        return "refused, none hung"

    def parallel(self):
        """E13: many calls in one answer. Each gets exactly one result."""
        count = 1000 if self.full else 120
        results = self.alpha.many([("shell", {"command": f"echo call-{n}"}) for n in range(count)], 40 + count)
        need(len(results) == count, f"{len(results)} results for {count} calls")
        ran = sum(f"call-{n}" in r.text for n, r in enumerate(results))
        need(ran == sum(not r.failed for r in results), "results are mixed up")
        self.alpha.finish()
        ok(self.alpha.shell("echo on"), "on")
        return f"{ran} of {count} ran"

    def queued(self):
        """E13: messages for a turn that takes none. Few wait, the rest is refused in words."""
        count = 1_000_000 if self.full else 20_000
        turn = self.machine.agent(self.alpha.name, self.alpha.name + "-queue")
        calm = self.machine.warden_memory()
        client, answers = Client(self.machine, self.alpha.name), {"ack": 0, "refused": 0}
        try:
            client.say(type="message", id="first", text=turn.expect())
            client.wait("ack")
            turn.join()

            def listen():
                while sum(answers.values()) < count:
                    if (kind := client.next()["type"]) in answers:
                        answers[kind] += 1
            listener = threading.Thread(target=listen, daemon=True)
            listener.start()
            part = 500
            for at in range(0, count, part):
                while at - sum(answers.values()) > 5000:  # who does not read what it is told is cut off
                    need(listener.is_alive(), f"cut off after {answers}")
                    time.sleep(0.002)
                client.send("".join(f'{{"type":"message","id":"q{n}","text":"queued {n}"}}\n' for n in range(at, at + part)))
            listener.join(1800)
            need(not listener.is_alive(), f"not all were answered: {answers}")
            peak, anonymous = self.machine.warden_memory()
            turn.emit(wire.start() + wire.text(0, "took them") + wire.end())
            taken = json.dumps(turn.current.request["messages"])
            turn.emit(wire.start() + wire.text(0, "done") + wire.end(), last=True)
            client.wait("turn_done")
        finally:
            client.close()
            turn.finish()
        need(0 < answers["ack"] <= 100, f"{answers} of {count}")
        need("queued 0" in taken and taken.count("queued ") == answers["ack"], f"{taken.count('queued ')} of {answers['ack']} were taken")
        need(peak - calm[0] < 24 and anonymous - calm[1] < 16, f"the warden takes {peak:.0f} MiB, {anonymous:.0f} of its own; before {calm}")
        ok(self.alpha.shell("echo on"), "on")
        return f"{answers['ack']} of {count} wait; the warden's own memory {calm[1]:.1f} -> {anonymous:.1f} MiB, peak {peak:.1f}"

    def background(self):
        """What ends in the background is told with the next result, what runs to the person; on one line each."""
        name = "exit 5 # \x1b[2J\nbackground: forged"
        # Longer than its own call looks at it.
        begun = ok(self.alpha.call("shell", {"command": f"sleep 15; {name}", "background": True}))
        ident = matches(begun, r"\[(b\d+) has run")[1]
        client = Client(self.machine, self.alpha.name)
        try:
            client.say(type="status")
            rows = client.wait("status")["background"]
        finally:
            client.close()
        need([row["id"] for row in rows] == [ident] and len(rows[0]["command"]) <= 60, f"status: {rows}")
        listed = run([PEACRAB, "ps"], 60).stdout
        shown = [line for line in listed.splitlines() if line.startswith("background: ")]
        need(len(shown) == 1 and re.search(rf" {ident} of {self.alpha.name} for \d+s: sleep ", shown[0]), f"ps: {listed}")
        need("\x1b" not in listed, f"ps shows an escape: {listed!r}")
        said = None
        for _ in range(20):
            said = ok(self.alpha.shell("sleep 2; echo waited"), "waited")
            if "[background: " in said.text:
                break
        need(f"[background: {ident} ended (exit code 5): sleep " in said.text, f"not told of the end: {said}")
        need(said.text.count("[background: ") == 1 and "\x1b" not in said.text, f"{said}")
        need("[background: " not in ok(self.alpha.shell("echo again"), "again").text, "told twice")
        return said.text.strip().splitlines()[-1][:100]

    def run(self):
        from rows_walls import USERS
        rows = self.rows
        for user, more in USERS.items():
            each = lambda name, act, *rest: rows.run(f"{name}/{user}", self.beside, act, *rest, more)  # noqa: E731, B023
            # Neighbour and limits are the same for both users; the second is run in full only.
            if user == "root" or self.full:
                each("E1", self.processes, "forks")
                each("E1-threads", self.processes, "threads")
                each("E1-bomb", self.bomb)
                each("E2", self.memory, "memory")
                each("E2-shared", self.memory, "shared")
                each("E2-thrash", self.memory, "thrash")
                each("E2-cache", self.mild, f"cache {self.DISK - 40}", {"the", "EDQUOT", "ENOSPC"}, self.DISK)
            if user == "agent" or self.full:
                each("E2-locked", self.mild, "locked", {"EAGAIN", "ENOMEM", "EPERM"}, 64)
            if user == "root" or self.full:
                for place in ("tmp", "shm", "run"):
                    if user == "root" or place != "run":
                        each(f"E2-{place}", self.mild, place, {"ENOSPC"}, self.MEMORY)
                each("E3", self.disk, "disk")
            if user == "root":
                each("E3-layer", self.disk, "layer")
            if user == "root" or self.full:
                each("E4", self.files)
                each("E5", self.descriptors)
                each("E6", self.output)
                each("E7", self.zombies)
            each("E8", self.stubborn)
            each("E9", self.busy)
            if user == "root" or self.full:
                each("E10", self.io)
            each("E11-E12", self.huge_files)
        rows.run("E2-sizes", self.sizes)
        rows.run("E2-twice", self.twice)
        rows.run("E9-cap", self.capped, self.machine.agent("main"))
        rows.run("E13", self.parallel)
        rows.run("E13-queue", self.queued)
        rows.run("E7-told", self.background)
