"""Rows A, B and C: the walls of a cell, its neighbours, secrets and the control plane."""
import json
import re
import socket
import threading
import time

from rows import Red, bad, matches, need, ok
from machine import canary

# What a user of the cell is called here, and what the shell tool calls it.
USERS = {"root": {}, "agent": {"user": "agent"}}
ALONE = ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A9", "A10", "A11", "A12", "A13", "A14", "A15", "A16", "A17", "A18",
         "A19", "A20", "A21", "B2", "B6", "B7", "B11", "C1", "C10"]
SLOW = ["C7"]  # 65,535 ports
FOREIGN = ",".join(word.encode().hex() for word in ("beta", "warden", "turns"))


def seek(agent, what, places, **user):
    hexed = ",".join(text.encode().hex() for text in what)
    found = ok(agent.shell(f"./attack find {hexed} {places}", 600, **user), "searched")
    return [line for line in found.text.splitlines() if line.startswith("FOUND")]


class Hostile:
    """Two agents, alpha who attacks and beta who has something to lose, and the rows about them."""

    def __init__(self, machine, rows, full, attacker="alpha"):
        self.machine, self.rows, self.full = machine, rows, full
        self.alpha, self.beta = machine.agent(attacker), machine.agent("beta")
        self.opened = 0  # connections to the proxy, by connections()
        self.secret = canary("file")
        self.session = canary("session")
        machine.server.watch(self.secret, "beta")
        machine.server.watch(self.session, "beta")

    def prepare(self):
        self.machine.arm(self.alpha)
        self.machine.arm(self.beta)
        self.beta.finish()
        self.beta.begin(self.session)
        ok(self.beta.shell(f"echo {self.secret} >secret; cp secret /root/s; mkdir -p /srv/{self.secret}; "
                           f"cp secret /tmp/s; cp secret /dev/shm/s; cp secret /run/s; sync"))
        self.hashed = self.tree_hash()

    def tree_hash(self):
        return ok(self.beta.shell(
            "cd / && { find home etc root srv usr/local var/lib opt -xdev -type f ! -name attack -exec sha256sum {} + ; "
            "find home etc root srv usr/local opt var/lib -xdev -printf '%p %y %m %U %G %l\\n'; } | sort | sha256sum", 120)).text

    def alone(self):
        """What one program can try by itself, as both users."""
        for user, more in USERS.items():
            wanted = [row for row in ALONE + (SLOW if self.full or user == "root" else []) if self.rows.wanted(row)]
            if not wanted:
                continue
            said = self.alpha.shell(f"ATTACK_FOREIGN={FOREIGN} ./attack {' '.join(wanted)}", 600, **more)
            seen = self.rows.lines(said.text, user)
            for row in wanted:
                if row not in seen:
                    self.rows.note(f"{row}/{user}", f"it did not run: {said.text[-300:]!r}")

    def programs(self, user):
        """A8: while our own file helper runs again and again, its program stays shut."""
        done = threading.Event()
        second = self.machine.agent(self.alpha.name, self.alpha.name + "-reads")

        def read_on():
            line = 0
            while not done.is_set():
                line += 1  # the same call again and again would be taken for a loop
                second.call("read", {"path": "attack", "offset": line, "limit": 1})
        reader = threading.Thread(target=read_on, daemon=True)
        reader.start()
        said = self.alpha.shell("./attack A8", 120, **USERS[user])
        done.set()
        reader.join(60)
        second.finish()
        lines = said.text.splitlines()
        need(len(lines) >= 2 and lines[0].startswith("A8 ok") and lines[1].startswith("A8+ ok"), said.text)

    def watched(self, user, tool, arguments):
        """The kinds of process one can see while calls of `tool` run: (name, seccomp, nnp, filters, caps, uid)."""
        done = threading.Event()
        second = self.machine.agent(self.alpha.name, f"{self.alpha.name}-{tool.removeprefix('web_')}")

        def call_on():
            number = 0
            while not done.is_set():
                number += 1  # the same call again and again would be taken for a loop
                second.call(tool, arguments(number))
        caller = threading.Thread(target=call_on, daemon=True)
        caller.start()
        try:
            said = self.alpha.shell("./attack watch 4", 60, **USERS[user])
        finally:
            done.set()
            caller.join(60)
            second.finish()
        need("TRACED" not in said.text, f"a child of ours can be traced: {said}")
        return re.findall(r"^seen (\S+) seccomp=(\d) nnp=(\d) filters=(\d) caps=(\S+) uid=(\d+)$", said.text, re.M)

    def fetches(self):
        """A23: what reads the web has its own filter on top of a program's, and no rights."""
        seen = self.watched("root", "web_fetch", lambda n: {"url": f"http://nobody.invalid/{n}"})
        # One that is only on its way to its first filter is seen too.
        fetching = [each for each in seen if each[:2] == ("helper", "2")]
        need(fetching, f"no child that fetches was seen: {seen}")
        need(all(int(caps, 16) == 0 and uid == "65534" for *_, caps, uid in fetching), f"it has rights: {fetching}")
        need(any(each[1:4] == ("2", "1", "2") for each in fetching), f"it lacks its filter: {fetching}")
        return f"{len(fetching)} states of one"

    def jailed(self, user):
        """A23: every process one can see has a filter and no way to new privileges; pid 1 is nobody's."""
        seen = self.watched(user, "read", lambda n: {"path": "attack", "offset": n, "limit": 1})
        need(any(name == "1" for name, *_ in seen), f"pid 1 was not seen: {seen}")
        need(any(name == "helper" for name, *_ in seen), f"the file helper was not seen: {seen}")
        # The helper has a second one: no new code once it has started.
        for name, filters in (("1", "1"), ("helper", "2"), ("program", "1")):
            # A child that is only on its way to its filter is seen too; it must not be all there is.
            need(any(each[:4] == (name, "2", "1", filters) for each in seen), f"{name} lacks a filter or no-new-privs: {seen}")
        for name, seccomp, nnp, filters, caps, uid in seen:
            if name == "1":
                need(seccomp == "2" and int(caps, 16) == 0 and uid == "65534", f"pid 1 has {caps} as {uid}")
        return f"{len(seen)} kinds of process"

    def planted_folder(self):
        """A7: a workspace that is a magic link leads no call anywhere: it begins in / instead."""
        ok(self.alpha.shell("cd /home/agent && mv workspace kept && ln -s /proc/self/root/tmp workspace"))
        try:
            said = ok(self.alpha.shell("pwd -P"))
        finally:
            ok(self.alpha.shell("cd /home/agent && rm workspace && mv kept workspace"))
        need(said.text.strip() == "/", f"a call began in {said}")
        ok(self.alpha.shell("pwd -P"), "/home/agent/workspace")

    def kill_all(self, user):
        """A10: kill -9 -1 ends the call and nothing else."""
        self.alpha.shell("kill -9 -1; ./attack A10", 60, **USERS[user])
        ok(self.alpha.shell("test -d /proc/1 && echo alive"), "alive")
        ok(self.beta.shell("echo alive"), "alive")

    def canaries(self, user):
        """B1 and C2: the neighbour's canaries and the gateway's key, in files and in memory."""
        places = "/" if self.full else "/etc /home /root /srv /tmp /run /var /dev /opt"
        want = [self.secret, self.session, self.machine.key]
        found = seek(self.alpha, want, places, **USERS[user])
        need(not found, f"found: {found[:5]}")
        return f"{len(want)} canaries in {places}"

    def planted_and_found(self):
        """Two agents of which one has what the other may not see, when which is which is not fixed."""
        mark = canary("planted")
        ok(self.beta.shell(f"echo {mark} >/home/agent/workspace/planted; sync"))
        found = seek(self.alpha, [mark], "/home /root /srv /etc")
        need(not found, f"found: {found[:5]}")

    def canaries_twin(self):
        found = seek(self.beta, [self.secret], "/home /root /srv /tmp /dev/shm")
        need(len(found) >= 5, f"its owner finds only {found}")

    def meet(self, user):
        """B3, B4, B5, and a shared port, folder and group: nothing arrives at the neighbour."""
        told = {}

        def hold():
            told["hold"] = self.alpha.shell(f"./attack meet hold 0123456789abcdef {8 * max(1, self.machine.factor // 3)}", 120, **USERS[user])
        holder = threading.Thread(target=hold, daemon=True)
        holder.start()
        try:
            bits = matches(self.beta.shell("sleep 2; ./attack meet seek", 120, **USERS[user]), r"meet: (\d+) bits(.*)")
        finally:
            holder.join(180)
        ok(told.get("hold"), "holding by 4 sockets") if told.get("hold") else need(False, "nobody held")
        need(bits[1] == "0", f"{bits[1]} bits arrived by{bits[2]}")
        return "0 bits arrived"

    def meet_twin(self, user):
        said = self.alpha.shell("(./attack meet hold 0123456789abcdef 6 >held 2>&1 &) ; sleep 1; ./attack meet seek", 120,
                                **USERS[user])
        bits = matches(said, r"meet: (\d+) bits(.*)")
        need(int(bits[1]) > 400, f"in one cell only {bits[1]} bits arrive:{bits[2]}")
        for way in ("tcp", "udp", "abstract", "unix", "shm", "sem", "msg", "mq", "flock", "inotify", "process"):
            need(f" {way}" in bits[2], f"in one cell nothing arrives by {way}")
        ok(self.alpha.shell("rm -f held /tmp/meet* /var/tmp/meet /dev/shm/meet /run/meet /run/lock/meet /home/agent/meet meet "
                            "/var/cache/meet /var/lib/meet /srv/meet /etc/meet /usr/local/meet; true"))

    def other_names(self):
        """B8, B9: a call that names another agent, session or group is refused, and recorded."""
        before = self.alpha.shell("ls -a").text
        for key in ("agent", "session", "group", "cell", "label", "to"):
            bad(self.alpha.call("shell", {"command": "touch named", key: "beta"}), "unknown key")
            bad(self.alpha.call("read", {"path": "attack", key: "beta"}), "unknown key")
        for tool, arguments in (("message", {"agent": "beta", "text": self.machine.key[:8]}), ("schedule", {"agent": "beta"}),
                                ("beta.shell", {"command": "id"}), ("shell@beta", {"command": "id"})):
            bad(self.alpha.call(tool, arguments))
        need(self.alpha.shell("ls -a").text == before, "a refused call left something")
        ok(self.alpha.call("shell", {"command": "true"}))

    def base_files(self):
        """B10: what in-cell root does to the system's files and shared caches stays in its cell."""
        look = "sha256sum /etc/debian_version /usr/bin/id /bin/sh; ls /var/cache/apt/archives /usr/local/bin /root/.cache 2>/dev/null; true"
        before = ok(self.beta.shell(look)).text
        mark = canary("base")
        self.machine.server.watch(mark, "alpha")
        ok(self.alpha.shell(f"echo {mark} >>/etc/debian_version; printf '#!/bin/sh\\necho {mark}\\n' >/usr/local/bin/id; "
                            f"chmod 755 /usr/local/bin/id; cp /usr/local/bin/id /usr/bin/id; mkdir -p /var/cache/apt/archives /root/.cache/pip; "
                            f"cp /usr/bin/id /var/cache/apt/archives/x.deb; cp /usr/bin/id /root/.cache/pip/x; id"), mark)
        need(ok(self.beta.shell(look)).text == before, "the neighbour's system changed")
        need(mark not in self.beta.shell("id; cat /etc/debian_version").text, "the neighbour runs what was planted")

    def config_names(self):
        """C5: every file that somewhere means configuration, planted, then everything restarted."""
        mark = canary("config")
        self.mark = mark
        self.machine.server.watch(mark, "alpha")
        names = [".mcp.json", ".peacrab/config.yaml", ".config/peacrab/config.yaml", "AGENTS.md", "CLAUDE.md", "settings.json",
                 ".claude/settings.json", ".codex/config.toml", "hooks/pre", "policy.yaml", ".env", "SKILL.md", "skills/x/SKILL.md",
                 ".bashrc", ".profile", ".bash_profile", ".gitconfig", ".ssh/rc", ".netrc", "package.json", "Makefile"]
        hook = f"touch /home/agent/ran-{mark}; echo {mark}"
        command = "".join(f"for d in /home/agent /home/agent/workspace /root /; do mkdir -p $d/$(dirname {n}); echo '{hook}' >$d/{n}; chmod 755 $d/{n}; done\n"
                          for n in names)
        command += "".join(f"mkdir -p $(dirname {n}); echo '{hook}' >{n}; chmod 755 {n}\n" for n in (
            "/etc/profile.d/x.sh", "/etc/cron.d/x", "/etc/cron.hourly/x", "/etc/init.d/x", "/etc/rc.local", "/etc/peacrab/config.yaml",
            "/etc/systemd/system/x.service", "/sbin/init", "/init", "/peacrabd", "/etc/modprobe.d/x.conf"))
        command += "echo /home/agent/x.so >/etc/ld.so.preload; mkdir -p /state/agents/beta; echo x >/state/agents/beta/x\n"
        ok(self.alpha.shell(command, 120))
        self.config_before = open(self.machine.config).read()

    def config_after(self):
        need(open(self.machine.config).read() == self.config_before, "the configuration changed")
        said = self.beta.shell("echo works; ls -d /etc/ld.so.preload /home/agent/ran-* /state /peacrabd 2>&1")
        need("works" in said.text and self.mark not in said.text and "/state\n" not in said.text, f"beta: {said}")
        said = self.alpha.shell("rm -f /etc/ld.so.preload; ls /home/agent 2>/dev/null; true")
        need(f"ran-{self.mark}" not in said.text, "something of what was planted ran")
        ok(self.alpha.call("read", {"path": ".env"}))
        ok(self.alpha.shell("rm -rf /state /init /peacrabd; cd /home/agent; rm -rf .mcp.json .env .profile .bashrc workspace/.env; true"))

    def chosen_by_arguments(self):
        """C6, F3: no argument selects a profile, a root, a folder, an agent or an address."""
        for key, value in (("profile", "none"), ("jail", "off"), ("class", "warden"), ("root", "/"), ("cwd", "/"), ("agent", "beta"),
                           ("gateway_url", "http://127.0.0.1:1"), ("sandbox", False), ("env", {"X": "1"}), ("model_url", "x"),
                           ("privileged", True), ("uid", 0), ("mount", "/")):
            bad(self.alpha.call("shell", {"command": "touch chosen", key: value}), "unknown key")
        for user in ("root", "0", "warden", "beta", "-1", "agent\n", ""):
            said = self.alpha.call("shell", {"command": "touch chosen", "user": user})
            need(said.failed or user == "root", f"user {user!r}: {said}")
        said = self.alpha.shell("ls -a")
        need("chosen" not in said.text, "a call with such an argument ran")
        ok(self.alpha.call("shell", {"command": "sed -n 's/^Uid:\\t//p' /proc/self/status", "user": "agent"}),
           "1000")

    def proxy(self):
        """C8: who speaks on the proxy's port is this cell, whatever it says; all is closed by default."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.1)
        port = listener.getsockname()[1]
        attempts = [f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Peacrab-Agent: beta\r\n\r\n",
                    f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: beta\r\nProxy-Authorization: Basic YmV0YTpiZXRh\r\n\r\n",
                    f"PROXY TCP4 127.0.0.1 127.0.0.1 1 {port}\r\nGET http://localhost:{port}/ HTTP/1.0\r\n\r\n",
                    "\x00\x01\x02\x03" * 200, "GET / HTTP/1.1\r\n" + "X: y\r\n" * 20000 + "\r\n", "\r\n" * 100,
                    "SSH-2.0-x\r\n", '{"type":"open","what":"control"}\n', '{"cell":"beta"}\n' * 10,
                    "CONNECT beta:80 HTTP/1.1\r\n\r\n", "CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n",
                    "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
                    f"CONNECT localhost:{self.machine.server.server_address[1]} HTTP/1.1\r\n\r\n"]
        program = ("import socket,json\nfor text in json.load(open('talk.json')):\n"
                   " s=socket.create_connection(('127.0.0.1',3128),10); s.settimeout(5)\n"
                   " try:\n  s.sendall(text.encode('latin-1')); s.shutdown(1)\n  d=s.recv(4096)\n  print('GOT', repr(d[:60]))\n"
                   " except OSError as e: print('ERR', e)\n")
        ok(self.alpha.call("write", {"path": "talk.py", "content": program}))
        ok(self.alpha.call("write", {"path": "talk.json", "content": json.dumps(attempts)}))
        said = ok(self.alpha.shell("python3 talk.py", 120))
        lines = [line for line in said.text.splitlines() if line.startswith(("GOT", "ERR"))]
        need(len(lines) == len(attempts), f"{len(lines)} answers: {said.text[-500:]}")
        need(not any(" 200" in line or "HTTP/1.1 2" in line for line in lines), f"let through: {lines}")
        need(any("HTTP/1.1 4" in line for line in lines), f"the proxy refuses nothing in HTTP: {lines}")
        try:
            listener.accept()
            raise Red("a connection reached the host")
        except TimeoutError:
            pass
        finally:
            listener.close()
        ok(self.beta.shell("echo alive"), "alive")

    def connections(self):
        """C8: thousands of connections to the proxy; the neighbour goes on, and the book stays short."""
        self.opened = 5000 if self.full else 300
        program = ("import socket,sys,time\nmade=0\nend=time.monotonic()+500\n"
                   f"while made<{self.opened} and time.monotonic()<end:\n"
                   " try:\n  s=socket.create_connection(('127.0.0.1',3128),10)\n  s.send(b'x')\n  s.close()\n  made+=1\n"
                   " except OSError: time.sleep(0.05)\nprint('made', made)\n")
        ok(self.alpha.call("write", {"path": "many.py", "content": program}))
        told = {}
        flood = threading.Thread(target=lambda: told.update(said=self.alpha.shell("python3 many.py", 590)), daemon=True)
        flood.start()
        worst = 0.0
        while flood.is_alive():
            began = time.monotonic()
            ok(self.beta.shell("echo alive", 60), "alive")
            worst = max(worst, time.monotonic() - began)
            flood.join(0.5)
        made = int(matches(told["said"], r"made (\d+)")[1])
        need(made == self.opened, f"{told['said']}")
        need(worst < 10 + 2 * self.machine.factor, f"the neighbour waited {worst:.1f} s")
        return f"{made} connections, the neighbour waited {worst:.1f} s at most"

    def connections_in_the_book(self):
        """With the machine off, after connections()."""
        own = lambda kind: [r for r in self.machine.audit(kind) if r["agent"] == self.alpha.name]  # noqa: E731
        opened, closed, counted = own("egress opened"), own("egress closed"), own("egress counted")
        need(len({r["connection"] for r in opened}) == len(opened) and len(closed) <= len(opened), "a connection stands twice")
        need(all(r["up"] >= 0 and r["ms"] >= 0 for r in closed) and any(r["up"] > 0 for r in closed), f"no bytes: {closed[:3]}")
        most = 3 * (40 + 2 * 60 * 2)  # three starts, an hour each
        need(0 < len(opened) <= most and 0 < len(counted) <= 180, f"{len(opened)} and {len(counted)} records")
        whole = len(opened) + sum(r["opened"] for r in counted)
        need(whole >= self.opened - 200, f"{whole} of {self.opened} connections are in the book")  # the rest waited in a queue
        return f"{whole} connections in {len(opened) + len(closed) + len(counted)} records"

    def run(self):
        self.alone()
        for user in USERS:
            self.rows.run(f"A8/{user}", self.programs, user)
            self.rows.run(f"A10-all/{user}", self.kill_all, user)
            self.rows.run(f"A23/{user}", self.jailed, user)
            self.rows.run(f"B1-C2/{user}", self.canaries, user)
            self.rows.run(f"B3-B5/{user}", self.meet, user)
            self.rows.run(f"B3-B5+/{user}", self.meet_twin, user)
        self.rows.run("A23-fetch", self.fetches)
        self.rows.run("A7-link", self.planted_folder)
        self.rows.run("B1-C2+", self.canaries_twin)
        self.rows.run("B8", self.other_names)
        self.rows.run("B10", self.base_files)
        self.rows.run("C6-F3", self.chosen_by_arguments)
        self.rows.run("C8", self.proxy)
        self.rows.run("C8-many", self.connections)

    def tree(self):
        need(self.tree_hash() == self.hashed, "the neighbour's files changed")
