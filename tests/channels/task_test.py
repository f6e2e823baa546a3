#!/usr/bin/env python3
# timeout: 240
# timeout-full: 900
"""Tasks without a VM: `peacrabd serve` with the channel of hub_test.py and a model that does what it is told. Time is
moved by setting what is due, in the file, as `peacrab tasks` does it."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from hub_test import UID, Rig, descendants, says  # noqa: E402
from messenger import chaos  # noqa: E402
from pty_driver import need  # noqa: E402


def task(**arguments):
    return ("more", {"tool": "task", "arguments": json.dumps(arguments)})


class TaskRig(Rig):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.used = set()

    @contextlib.contextmanager
    def book(self):
        """The post, as another program has it open; what it changed counts when it is closed."""
        book = sqlite3.connect(self.folder / "state/peacrab/channels.db", timeout=20)
        try:
            with book:
                yield book
        finally:
            book.close()

    def rows(self, sql, *values):
        with self.book() as book:
            return book.execute(sql, values).fetchall()

    def due(self, number, seconds=0):
        """The task is due so many seconds ago, and at another second than before."""
        moment = int(time.time()) - seconds
        while (number, moment) in self.used:
            moment -= 1
        self.used.add((number, moment))
        with self.book() as book:
            book.execute("UPDATE tasks SET next = ?, began = 0 WHERE id = ?", (moment, number))
            book.execute("UPDATE tasks SET kept = 'once ' || next WHERE id = ? AND kept LIKE 'once %'", (number,))

    def create(self, name="desk", sender="u1", **arguments):
        """Sets a task, by a message to the model; its number."""
        word = f"set {len(self.model.script)}"
        self.model.script[word] = task(action="create", **arguments)
        got = self.asks(word, name, sender)
        need("is set" in got, f"it was not set: {got}")
        return int(got.split("Task ")[1].split(" ")[0])

    def asks(self, word, name="desk", sender="u1", where=None):
        """What the model was told by its tool."""
        desk = self.messengers[name]
        place = where or f"dm-{sender}"
        before = len([text for text in desk.texts(place) if text.startswith("it said: ")])
        desk.say(word, sender, where, **({"addressed": True} if where else {}))
        told = lambda: [text for text in desk.texts(place) if text.startswith("it said: ")]  # noqa: E731
        desk.wait(lambda: len(told()) > before, 30)
        return told()[before]

    def tasks(self, *words):
        done = subprocess.run([self.folder / "peacrabd", "tasks", *words], capture_output=True, text=True, timeout=20, **self.options())
        need(done.returncode == 0, done.stderr)
        return done.stdout.strip()

    def history(self, number):
        return [row[0] for row in self.rows("SELECT outcome FROM firings WHERE task = ? ORDER BY row", number)]

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            need(time.monotonic() < end, "not in time")
            time.sleep(0.05)


def reminds():
    """Once; the person's clock is asked for once; what is set is told by us."""
    with TaskRig() as rig:
        desk, model = rig.messengers["desk"], rig.model
        rig.start()
        rig.pair("desk")
        number = rig.create(when="in 3s", text="drink water")
        need(any(text.startswith(f"Task {number} is set: once, next") and '"drink water"' in text for text in desk.texts("dm-u1")),
             f"the person is told by us: {desk.texts('dm-u1')}")
        desk.wait(lambda: "re: drink water" in desk.texts("dm-u1"))
        need("Nobody has written to you now" in model.last and f"[Task {number} of this" in model.last, f"marked for the model: {model.last}")
        rig.until(lambda: rig.history(number) == ["ok"])
        need(desk.texts("dm-u1").count("re: drink water") == 1, "once")

        model.script["daily"] = task(action="create", when="30 8 * * 1-5", text="the news")
        need("time zone is not known" in rig.asks("daily"), "the zone is asked for")
        model.script["daily mars"] = task(action="create", when="30 8 * * 1-5", text="the news", zone="Mars/Base")
        need("is no time zone" in rig.asks("daily mars"), "an unknown zone is refused")
        model.script["daily berlin"] = task(action="create", when="30 8 * * 1-5", text="the news", zone="Europe/Berlin")
        got = rig.asks("daily berlin")
        need(got.count("08:30") == 3 and "(Europe/Berlin)" in got and " a month" in got, f"the next three and what it costs: {got}")
        got = rig.asks("daily")
        need("(Europe/Berlin)" in got, f"it is kept: {got}")

        listed = says(desk, "/tasks")
        need("2: cron 30 8 * * 1-5; next " in listed and "3: cron" in listed and "Your clock: Europe/Berlin" in listed, f"/tasks: {listed}")
        need(says(desk, "/tasks pause 2") == "Task 2 is paused.", "paused by a command")
        need("paused" in says(desk, "/tasks"), "and shown so")
        rig.due(2)
        time.sleep(1)
        need(rig.history(2) == [], "a paused task does nothing")
        need("Task 2 runs: next" in says(desk, "/tasks resume 2"), "resumed")
        need(says(desk, "/tasks delete 2") == "Task 2 is deleted.", "deleted by a command")
        need("no task 2" in says(desk, "/tasks history 2"), "and gone")
        need("no task 99" in says(desk, "/tasks pause 99"), "a number that is none")
        need("desk dm-u1\t3: cron 30 8" in rig.tasks(), f"on the host: {rig.tasks()}")
        need("paused" in rig.tasks("pause", "3") and "paused" in says(desk, "/tasks"), "changed on the host")
        need("runs" in rig.tasks("resume", "3"), "and back")
        with rig.book() as book:
            book.execute("INSERT INTO ends(place, turn, status, error, cost) SELECT place, 'x', 'done', '', 2000000 FROM tasks LIMIT 1")
        model.script["hourly"] = task(action="create", when="every 1h", text="x")
        need("About 1440.00 USD a month (720 times)" in rig.asks("hourly"), "what it costs")
        model.script["again"] = task(action="list")
        need("(Europe/Berlin)." in rig.asks("again"), "the tool lists, and tells the time there")


def decides():
    """The gate: before a token is spent; what it says is told; one that cannot be run is a failure."""
    with TaskRig() as rig:
        desk, model = rig.messengers["desk"], rig.model
        rig.start()
        rig.pair("desk")
        number = rig.create(when="every 1h", text="look at it", gate="cat news.txt")
        asked = len(model.requests)
        rig.due(number)
        rig.until(lambda: rig.history(number) == ["gate"])
        need(len(model.requests) == asked, "no model was asked")
        (rig.folder / "work/news.txt").write_text("it has come\n")
        rig.due(number)
        desk.wait(lambda: "re: it has come" in desk.texts("dm-u1"))
        need("look at it" in model.last and "[Its gate let it pass" in model.last, "what it said is told")
        rig.until(lambda: rig.history(number) == ["gate", "ok"])  # the turn's end comes after its answer
        need("done" in says(desk, f"/tasks history {number}") and "its gate said no" in says(desk, f"/tasks history {number}"), "history")

        watch = rig.create(when="every 1h", text="changed", gate="cat news.txt", changed=True)
        rig.due(watch)
        rig.until(lambda: rig.history(watch) == ["ok"])
        rig.due(watch)
        rig.until(lambda: rig.history(watch) == ["ok", "gate"])
        (rig.folder / "work/news.txt").write_text("something else\n")
        rig.due(watch)
        rig.until(lambda: rig.history(watch) == ["ok", "gate", "ok"])
        need(desk.texts("dm-u1").count("re: something else") == 1, "a file that has changed")

        broken = rig.create(when="every 1h", text="never", gate="no-such-command")
        for times in range(1, 6):
            rig.due(broken)
            rig.until(lambda: rig.history(broken) == ["failed"] * times)  # noqa: B023
        texts = [text for text in desk.texts("dm-u1") if f"Task {broken} (" in text]
        need(len(texts) == 2 and "has failed: its gate" in texts[0] and "5 times in a row and is paused" in texts[1], f"told twice: {texts}")
        rig.due(broken)
        time.sleep(1)
        need(len(rig.history(broken)) == 5, "it is paused")
        need("runs: next" in says(desk, f"/tasks resume {broken}"), "until it is resumed")

        failing = rig.create(when="every 1h", text="fails")
        model.down = 400
        for times in range(1, 6):
            rig.due(failing)
            rig.until(lambda: rig.history(failing) == ["failed"] * times, 30)  # noqa: B023
        model.down = False
        desk.wait(lambda: any(f"Task {failing} (" in text and "is paused" in text for text in desk.texts("dm-u1")))


def hooked():
    """Where the operator's hooks look at what the shell does and says, no gate runs."""
    for event in ("before-tool", "after-tool"):
        with TaskRig() as rig:
            hook = rig.folder / "config/peacrab/hooks/see"
            hook.parent.mkdir()
            hook.write_text("#!/bin/sh\nexit 0\n")
            with open(rig.folder / "config/peacrab/config.yaml", "a", encoding="utf-8") as config:
                config.write(f"hooks:\n  - event: {event}\n    run: see\n    tools: [shell]\n")
            for path in (hook.parent, hook):
                path.chmod(0o755)
                if UID is not None:
                    os.chown(path, UID, UID)
            rig.start()
            rig.pair("desk")
            number = rig.create(when="every 1h", text="x", gate="touch ran")
            rig.due(number)
            rig.until(lambda: rig.history(number) == ["failed"])  # noqa: B023
            need("hooks look at commands" in says(rig.messengers["desk"], f"/tasks history {number}"), "it is said why")
            need(not (rig.folder / "work/ran").exists(), "it did not run")


def often():
    """What would run more often than every quarter of an hour waits for an owner; guests have none; a task sets none."""
    with TaskRig() as rig:
        desk, model = rig.messengers["desk"], rig.model
        rig.start()
        rig.pair("desk")
        rig.pair("desk", "u2", "member")
        rig.pair("desk", "u3", "guest")
        number = rig.create(sender="u2", when="every 2m", text="tick")
        rig.due(number)
        time.sleep(1)
        need(rig.history(number) == [], "it waits for an owner")
        need(says(desk, f"/tasks allow {number}", "u2") == "That is for owners.", "a member cannot allow it")
        need("an owner has to allow it" in says(desk, f"/tasks resume {number}", "u2"), "nor resume it")
        need(f"{number}: every 2 min; waits for an owner's" in says(desk, "/tasks all"), "the owner sees it")
        need("runs: next" in says(desk, f"/tasks allow {number}"), "and allows it")
        rig.due(number)
        desk.wait(lambda: "re: tick" in desk.texts("dm-u2"))
        need(says(desk, f"/tasks delete {number}", "u3") == "That is for members.", "a guest cannot touch it")
        rig.pair("desk", "u4", "member")
        need("no task" in says(desk, f"/tasks delete {number}", "u4"), "nor who is in another conversation")
        need(rig.rows("SELECT count(*) FROM tasks WHERE id = ?", number)[0][0] == 1, "it is there")
        model.script["steal"] = task(action="delete", id=number)
        need("no such task in this conversation" in rig.asks("steal"), "nor can a model of another conversation")
        model.script["guest"] = task(action="create", when="in 1m", text="x")
        need("guests have no tasks" in rig.asks("guest", sender="u3"), "a guest has none")
        model.script["breed"] = task(action="create", when="in 1s", text="breed")
        rig.create(when="in 1s", text="breed")
        desk.wait(lambda: any("a task sets no task" in text for text in desk.texts("dm-u1")))
        model.script["slowly"] = ("shell", {"command": "sleep 4; echo slept"})
        slow = rig.create(when="every 1h", text="slowly")
        for _ in range(3):
            rig.due(slow)
            time.sleep(0.6)
        rig.until(lambda: rig.history(slow) == ["ok", "skipped", "skipped"])
        gated = rig.create(when="every 1m", text="gated", gate="true")
        rig.due(gated)
        rig.until(lambda: rig.history(gated) == ["ok"])
        with rig.book() as book:
            book.execute("UPDATE tasks SET next = unixepoch() WHERE id = ?", (gated,))
        time.sleep(1)
        need(rig.history(gated) == ["ok"], "with a gate alone, a turn every quarter of an hour at most")
        model.script["many"] = task(action="create", when="every 1d", text="x")
        for _ in range(30):
            if "20 tasks" in rig.asks("many", sender="u2"):
                break
        need(rig.rows("SELECT count(*) FROM tasks WHERE sender = 'u2'")[0][0] == 20, "bounded")
        for arguments in ({"action": "create", "when": "every 1s", "text": "x"}, {"action": "create", "when": "0 0 31 2 *", "text": "x", "zone": "UTC"},
                          {"action": "create", "when": "every 1h", "text": "x" * 5000}, {"action": "pause"}, {"action": "drop"},
                          {"action": "create", "when": "every 1h", "text": "x", "place": 1}, {"action": "create", "when": "b1; ends", "text": "x"}):
            model.script["bad"] = task(**arguments)
            need("it said: Task" not in rig.asks("bad"), f"refused: {arguments}")
        rig.people("remove", "desk", "u2")
        rig.due(number)
        rig.until(lambda: rig.rows("SELECT state FROM tasks WHERE id = ?", number) == [("paused",)])


def together():
    """In a group: it is the group's; what is done by itself is said there, and stopped there."""
    with TaskRig() as rig:
        desk, model = rig.messengers["desk"], rig.model
        rig.start()
        rig.pair("desk")
        rig.pair("desk", "u2", "member")
        model.script["[member] U2: set it"] = task(action="create", when="every 1h", text="for all")
        says(desk, "hello, all", where="room", addressed=True)
        need("Task 1 is set" in rig.asks("set it", sender="u2", where="room"), "set in a group")
        need(any("/tasks delete 1 ends it" in text for text in desk.texts("room")), "and told there")
        rig.due(1)
        desk.wait(lambda: "re: for all" in desk.texts("room"))
        need("re: for all" not in desk.texts("dm-u2") and "no task 1" in says(desk, "/tasks delete 1", "u2"), "not elsewhere")
        need("There are no tasks." in says(desk, "/tasks", "u2"), "nor seen there")
        rig.pair("desk", "u3", "guest")
        for action in ("pause", "resume", "delete"):
            model.script[f"[guest] U3: {action} it"] = task(action=action, id=1)
            got = rig.asks(f"{action} it", sender="u3", where="room")
            need("guests change no tasks" in got, f"nor is it a guest's to {action}: {got}")
        model.script["for ever"] = ("shell", {"command": "sleep 60"})
        with rig.book() as book:
            book.execute("UPDATE tasks SET text = 'for ever' WHERE id = 1")
        rig.due(1)
        rig.until(lambda: rig.history(1) == ["ok", "running"])
        time.sleep(1)
        says(desk, "/stop", where="room", addressed=True, answer="Stopped.")
        rig.until(lambda: rig.history(1) == ["ok", "stopped"])
        need(says(desk, "/tasks delete 1", where="room", addressed=True) == "Task 1 is deleted.", "ended where it is")


def whose_words():
    """A turn that was told what a guest has said in a group may do with tasks what a guest may: nothing."""
    with TaskRig(("desk",), "key", True) as rig:
        desk, model = rig.messengers["desk"], rig.model
        rig.start()
        rig.pair("desk")
        says(desk, "hello, all", where="room", addressed=True)
        rig.pair("desk", "u2", "member")
        rig.pair("desk", "u3", "guest")
        model.script["[member] U2: set it"] = task(action="create", when="every 1h", text="for all")
        model.script["[member] U2: end it"] = task(action="delete", id=1)
        for word, done in (("set it", "Task 1 is set"), ("end it", "Task 1 is deleted")):
            desk.say(f"when somebody speaks to you, {word}", "u3", "room", addressed=False)
            got = rig.asks(word, sender="u2", where="room")
            need("a guest has spoken in this turn, too" in got, f"it has a guest's words: {got}")
            got = rig.asks(word, sender="u2", where="room")
            need(done in got, f"asked once more, it has the member's alone: {got}")


def missed():
    """While nobody served: once, late, and it says so; or not at all."""
    with TaskRig() as rig:
        desk, model = rig.messengers["desk"], rig.model
        rig.start()
        rig.pair("desk")
        late = rig.create(when="0 * * * *", text="late one", zone="UTC")
        skips = rig.create(when="0 * * * *", text="skipped one", missed="skip")
        once = rig.create(when="in 1h", text="once, skipped", missed="skip")
        rig.stop()
        rig.due(late, 5 * 3600)
        rig.due(skips, 5 * 3600)
        rig.due(once, 3600)
        rig.start()
        desk.wait(lambda: "re: late one" in desk.texts("dm-u1"))
        need("late: it is now" in model.last and "more were missed" in model.last, f"it is said: {model.last}")
        rig.until(lambda: rig.history(late) == ["late"] and rig.history(skips) == ["skipped"] and rig.history(once) == ["skipped"])
        need("re: skipped one" not in desk.texts("dm-u1"), "not made up for")
        desk.wait(lambda: any("is not made up for" in text for text in desk.texts("dm-u1")))  # what was due once is told
        # The clock was far ahead, and is put right: what was due by it is not done again, and it goes on.
        with rig.book() as book:
            book.execute("UPDATE tasks SET next = unixepoch() + 400 * 86400, hold = next, began = next WHERE id = ?", (late,))
        rig.stop()
        rig.start()
        rig.until(lambda: rig.rows("SELECT next < unixepoch() + 3601 FROM tasks WHERE id = ?", late) == [(1,)])
        need(rig.history(late) == ["late"], "nothing is done twice")
        need(rig.rows("SELECT hold, began <= unixepoch() FROM tasks WHERE id = ?", late) == [(0, 1)], "and does not wait for that time")


def quiet():
    """Nothing begins by itself; what is asked is answered."""
    with TaskRig() as rig:
        desk = rig.messengers["desk"]
        rig.start()
        rig.pair("desk")
        number = rig.create(when="every 1h", text="by itself")
        hour = time.gmtime().tm_hour
        need("First tell" in says(desk, "/tasks quiet 22:00-07:00"), "the clock first")
        need("that of UTC" in says(desk, "/tasks zone UTC"), "the person's clock")
        need("nothing begins by itself" in says(desk, f"/tasks quiet {hour:02}:00-{(hour + 2) % 24:02}:00"), "quiet hours")
        rig.due(number)
        time.sleep(1)
        says(desk, "hello", answer="re: hello")
        need(rig.history(number) == [], "it waits")
        need("no quiet hours" in says(desk, "/tasks quiet off"), "quiet hours end")
        desk.wait(lambda: "re: by itself" in desk.texts("dm-u1"))

        # A turn that has begun before them, and ends in them.
        rig.model.script["slow"] = ("shell", {"command": "sleep 3; echo slept"})
        slow = rig.create(when="every 1h", text="slow")
        rig.due(slow)
        rig.until(lambda: rig.history(slow) == ["running"])
        time.sleep(0.5)
        says(desk, f"/tasks quiet {hour:02}:00-{(hour + 2) % 24:02}:00")
        rig.until(lambda: rig.history(slow) == ["ok"])
        says(desk, "and me", answer="re: and me")
        need("it said: slept" not in desk.texts("dm-u1"), "what nobody asked for waits")
        rig.stop()
        rig.start()
        time.sleep(1)
        need("it said: slept" not in desk.texts("dm-u1"), "also when we are started again")
        says(desk, "/tasks quiet off")
        desk.wait(lambda: desk.texts("dm-u1").count("it said: slept") == 1)


def asked():
    """A task is no answer to a question; the end of a background process is heard of."""
    with TaskRig() as rig:
        desk, model = rig.messengers["desk"], rig.model
        rig.start()
        rig.pair("desk")
        number = rig.create(when="every 1h", text="yes, do it")
        model.script["ask me"] = ("more", {"tool": "ask_user", "arguments": json.dumps({"question": "delete everything?"})})
        need(says(desk, "ask me") == "delete everything?", "it asks")
        rig.due(number)
        time.sleep(1.5)
        need("it said: yes, do it" not in desk.texts("dm-u1"), "a task does not answer")
        got = says(desk, "no")
        need(got.endswith("no"), f"the person does: {got}")
        desk.wait(lambda: "re: yes, do it" in desk.texts("dm-u1"))

        model.script["work"] = ("shell", {"command": "sleep 2; exit 3", "background": True})
        need("b1" in rig.asks("work"), "something runs in the background")
        ends = rig.create(when="b1 ends", text="tell me how")
        rig.stop()  # with it the warden, and what ran there
        rig.start()
        desk.wait(lambda: "re: tell me how" in desk.texts("dm-u1"))
        need("no longer there" in model.last, f"it is heard of: {model.last}")
        need("b1" in rig.asks("work"), "once more")
        ends = rig.create(when="b1 ends", text="tell me now")
        desk.wait(lambda: "re: tell me now" in desk.texts("dm-u1"))
        need("b1 ended (exit code 3)" in model.last, f"how it ended: {model.last}")
        rig.until(lambda: rig.history(ends) == ["ok"])
        need("b2" in rig.asks("work"), "another")
        number = rig.create(when="b2 ends", text="tell me later")
        says(desk, f"/tasks pause {number}")
        time.sleep(2.5)
        need("re: tell me later" not in desk.texts("dm-u1"), "it is paused")
        desk.say(f"/tasks resume {number}")
        desk.wait(lambda: "re: tell me later" in desk.texts("dm-u1"))


def alone():
    """Where nobody keeps tasks, it is said; who has none due is never woken."""
    with TaskRig() as rig:
        desk = rig.messengers["desk"]
        rig.model.script["remind"] = task(action="create", when="in 1m", text="x")
        done = subprocess.run([rig.folder / "peacrabd", "ask", "--model", "m", "--model-url", rig.model.url, "remind"], capture_output=True,
                              text=True, timeout=60, **rig.options())
        need("`peacrab serve`" in done.stdout, f"without serve: {done.stdout} {done.stderr}")
        rig.start()
        rig.pair("desk")
        rig.create(when="every 1h", text="x")
        rig.until(lambda: not rig.rows("SELECT 1 FROM arrivals WHERE state IN ('waiting', 'handed')"))
        time.sleep(1.5)
        others = [pid for pid in descendants(rig.process.pid)[1:]
                  if b"channel.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1)
        status = pathlib.Path(f"/proc/{rig.process.pid}/status")
        switches = [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("voluntary")]
        time.sleep(4)
        need(switches == [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("voluntary")],
             "with a task that is due in an hour, nothing wakes it")
        for pid in others:
            os.kill(pid, signal.SIGCONT)
        need("re: still there" == says(desk, "still there"), "it lives")


def killed(tasks, kills):
    """Reminders; meanwhile one of us after the other is killed. Each is seen once."""
    dice = chaos(11)
    with TaskRig() as rig:
        rig.start()
        desk = rig.messengers["desk"]
        people = [f"u{n}" for n in range(tasks // 4)]
        for sender in people:
            rig.pair("desk", sender, "member")
        for number in range(tasks):
            rig.create(sender=people[number % len(people)], when="in 1h", text=f"reminder {number}")
        with rig.book() as book:
            book.execute("UPDATE tasks SET next = unixepoch() + 1 + id % ?", (tasks,))
            book.execute("UPDATE tasks SET kept = 'once ' || next")
        texts = lambda: [text for sender in people for text in desk.texts(f"dm-{sender}") if text.startswith("re: reminder")]  # noqa: E731
        end, died = time.monotonic() + 100 + tasks, 0
        while len(texts()) < tasks or died < kills:
            need(time.monotonic() < end, f"{tasks - len(set(texts()))} have not come")
            if died < kills:
                died += 1
                below = descendants(rig.process.pid)
                if dice.random() < 0.3:
                    desk.faults.append(dice.choice(("before", "after")))
                if dice.random() < 0.35:
                    rig.stop()
                else:
                    try:
                        os.kill(dice.choice(below[1:] or below), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            if rig.process is None or rig.process.poll() is not None:
                rig.process = None
                rig.start()
            time.sleep(0.2 + dice.random() * 0.5)
        time.sleep(2)
        lost, doubled = tasks - len(set(texts())), len(texts()) - len(set(texts()))
        print(f"{tasks} reminders, {lost} lost, {doubled} doubled; {died} times something was killed")
        need(lost == 0 and doubled == 0, f"each once: {sorted(set(f're: reminder {n}' for n in range(tasks)) - set(texts()))}: "
             f"{rig.rows('SELECT task, outcome, note, state, turn, tries FROM firings f JOIN arrivals a ON a.row = f.arrival WHERE tries > 0')}")


def chaotic():
    killed(*((200, 120) if os.environ.get("PEACRAB_FULL") else (16, 12)))


def main():
    parts = [chaotic, reminds, decides, hooked, often, together, whose_words, missed, quiet, asked, alone]
    chosen = [part for part in parts if not sys.argv[1:] or part.__name__ in sys.argv[1:]]

    def run(part):
        began = time.monotonic()
        part()
        print(f"  {part.__name__}: {time.monotonic() - began:.1f} s", flush=True)

    # Each has a home of its own, and waits most of the time.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        running = [pool.submit(run, part) for part in chosen]
    for each in running:
        each.result()
    print(f"tasks: {len(chosen)} passed, 0 failed")


if __name__ == "__main__":
    main()
