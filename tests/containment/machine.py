"""The machine under test: folders of its own, a configuration with its agents, the model of the
attacker, and what is read from its disk when it is off."""
import base64
import glob
import gzip
import json
import os
import re
import secrets
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time

import hostile_script as script

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("PEACRAB_BUILD", os.path.join(ROOT, "build"))
PEACRAB = os.path.join(BUILD, "tools", "peacrab")
ATTACK = os.environ.get("PEACRAB_ATTACK", os.path.join(BUILD, "tests", "containment", "attack"))
SHELL_PART = 60_000
PART = 200_000  # of a file that is handed to a cell: one call's arguments are at most 256 KiB


def canary(what):
    return f"canary-{what}-{secrets.token_hex(12)}"


def run(words, seconds=600, **more):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=seconds, text=True, errors="replace", **more)


class Machine:
    """`agents` is the text of the configuration's part about agents and limits."""

    def __init__(self, agents, data=None):
        self.folder = tempfile.mkdtemp(prefix="peacrab-suite.")
        self.home = {name: os.path.join(self.folder, name) for name in ("home", "state", "config", "run", "logs")}
        data = data or os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        for path in self.home.values():
            os.mkdir(path, 0o700)
        for name in list(os.environ):
            if name.upper().endswith("_PROXY") or name.startswith("ANTHROPIC_"):
                del os.environ[name]
        os.environ.update(HOME=self.home["home"], XDG_STATE_HOME=self.home["state"], XDG_CONFIG_HOME=self.home["config"],
                          XDG_RUNTIME_DIR=self.home["run"], XDG_DATA_HOME=data, XDG_CACHE_HOME=cache)
        self.server = script.Server()
        self.key = "sk-ant-" + canary("key")
        self.server.watch(self.key, "nobody")
        self.agents_text = agents
        self.factor, self.agents = 1, {}
        config = os.path.join(self.home["config"], "peacrab")
        os.makedirs(os.path.join(config, "secrets"), 0o700)
        with open(os.open(os.path.join(config, "secrets", "anthropic"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(self.key)
        self.config = os.path.join(config, "config.yaml")
        with open(self.config, "w") as file:
            # A local server's window is taken to be small; what the script says must not be summed up.
            file.write(f"model: hostile-1\nmodel-url: {self.server.url}\nwindow: 100000000\n{agents}")

    def up(self):
        began = time.monotonic()
        done = run([PEACRAB, "up"])
        if done.returncode:
            raise RuntimeError(f"the machine does not start: {done.stdout[-2000:]}")
        self.factor = 10 if "TCG" in done.stdout else 1
        for agent in self.agents.values():
            agent.factor = max(1, self.factor // 3)
        return time.monotonic() - began, done.stdout.strip()

    def stop(self):
        for agent in self.agents.values():
            agent.finish()
        return run([PEACRAB, "stop"], 120)

    def agent(self, name, label=None):
        """`label` tells two conversations of one agent apart."""
        label = label or name
        if label not in self.agents:
            made = script.Agent(self.server, label, PEACRAB, self.home["logs"], max(1, self.factor // 3), name)
            self.agents[label] = made
        return self.agents[label]

    def arm(self, agent, user=None):
        """Hands the attack program to the agent, through its own tools."""
        with open(ATTACK, "rb") as file:
            packed = base64.b64encode(gzip.compress(file.read(), 9, mtime=0)).decode()
        if not self.by_write(agent, packed):  # without a file helper: by the shell, in more steps
            agent.shell("rm -f attack.part*")
            for number, at in enumerate(range(0, len(packed), SHELL_PART)):
                agent.shell(f"cat >attack.part{number:03} <<'end'\n{packed[at:at + SHELL_PART]}\nend")
        agent.finish()  # what it said is long
        result = agent.shell("cat attack.part* | base64 -d | gunzip >attack && chmod 755 attack && rm attack.part*")
        if result.failed:
            raise RuntimeError(f"{agent.name}: the attack program cannot be unpacked: {result.text}")

    def by_write(self, agent, packed):
        for number, at in enumerate(range(0, len(packed), PART)):
            if agent.call("write", {"path": f"attack.part{number:03}", "content": packed[at:at + PART]}).failed:
                return False
        return True

    def dump(self, *paths):
        """Files of the state disk; the machine must be off. A file that is not there is left out."""
        image = os.path.join(self.home["state"], "peacrab", "default", "state.img")
        target = os.path.join(self.folder, "dump")
        os.makedirs(target, exist_ok=True)
        for path in paths:
            run(["debugfs", "-R", f"dump {path} {target}/{os.path.basename(path)}", image], 60)
        return target

    def rows_of(self, query, *values):
        """A question to the warden's database; the machine must be off."""
        folder = self.dump("/warden.db", "/warden.db-wal")
        with sqlite3.connect(os.path.join(folder, "warden.db")) as database:
            return database.execute(query, values).fetchall()

    def files_in(self, folder):
        """Paths of the files in a folder of the state disk; the machine must be off."""
        image = os.path.join(self.home["state"], "peacrab", "default", "state.img")
        lines = run(["debugfs", "-R", f"ls -p {folder}", image], 60).stdout.splitlines()
        return [f"{folder}/{line.split('/')[5]}" for line in lines if re.match(r"/\d+/10", line)]

    def project_of(self, path):
        """Whose quota a file of the state disk counts for; the machine must be off."""
        image = os.path.join(self.home["state"], "peacrab", "default", "state.img")
        found = re.search(r"Project:\s+(\d+)", run(["debugfs", "-R", f"stat {path}", image], 60).stdout)
        return int(found[1]) if found else -1

    def audit(self, kind):
        """The records of a kind in the guest's audit; the machine must be off."""
        image = os.path.join(self.home["state"], "peacrab", "default", "state.img")
        target = os.path.join(self.folder, "dump")
        shutil.rmtree(os.path.join(target, "audit"), ignore_errors=True)
        os.makedirs(target, exist_ok=True)
        run(["debugfs", "-R", f"rdump /audit {target}", image], 60)
        records = []
        for name in sorted(os.listdir(os.path.join(target, "audit"))):
            with open(os.path.join(target, "audit", name)) as file:
                records += [json.loads(line) for line in file]
        return [record for record in records if record["kind"] == kind]

    def disk_holds(self, text):
        """How often a text stands on the state disk; the machine must be off."""
        count, tail, needle = 0, b"", text.encode()
        with open(os.path.join(self.home["state"], "peacrab", "default", "state.img"), "rb") as disk:
            while block := disk.read(1 << 22):
                count += (tail + block).count(needle)
                tail = block[-len(needle) + 1:]
        return count

    def warden_memory(self):
        """Peak and anonymous memory of the warden, in MiB."""
        said = run([PEACRAB, "doctor", "--json"], 120).stdout
        found = re.search(r"warden_memory: VmHWM:\s+(\d+) kB, RssAnon:\s+(\d+) kB", said)
        if not found:
            raise RuntimeError(f"doctor does not say how much the warden takes: {said[-400:]}")
        return int(found[1]) / 1024, int(found[2]) / 1024

    def guest_log(self):
        folder = os.path.join(self.home["state"], "peacrab", "default")
        text = ""
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.endswith(".log"):
                with open(os.path.join(folder, name), errors="replace") as file:
                    text += file.read()
        return text

    def close(self):
        try:
            self.stop()
        finally:
            if os.environ.get("PEACRAB_SUITE_KEEP"):
                print(f"kept: {self.folder}")
            else:
                shutil.rmtree(self.folder, ignore_errors=True)


class Client:
    """A client of the gateway that says what the script wants, to one agent. Must be closed."""

    def __init__(self, machine, agent):
        [path] = glob.glob(os.path.join(machine.home["run"], "**", "*.sock"), recursive=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.say(type="open", what="chat")
        self.wait("opened")
        self.say(type="attach", agent=agent, channel="flood")
        self.wait("caught_up")

    def say(self, **frame):
        self.send(json.dumps(frame) + "\n")

    def send(self, text):
        self.socket.sendall(text.encode())

    def next(self):
        line = self.lines.readline()
        if not line:
            raise RuntimeError("the client was cut off")
        return json.loads(line)

    def wait(self, kind):
        while (frame := self.next())["type"] != kind:
            pass
        return frame

    def close(self):
        self.socket.close()


def syscall_names():
    """Number to name, as this machine's headers have them; "" where there are none."""
    # Newer than the headers of the oldest machine this builds on.
    names = {335: "uretprobe", 452: "fchmodat2", 453: "map_shadow_stack", 454: "futex_wake", 455: "futex_wait", 456: "futex_requeue",
             462: "mseal"}
    for path in ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h",
                 "/usr/include/asm-generic/unistd.h"):
        try:
            with open(path) as file:
                for match in re.finditer(r"#define __NR_(\w+) (\d+)", file.read()):
                    names.setdefault(int(match[2]), match[1])
            break
        except OSError:
            continue
    return names
