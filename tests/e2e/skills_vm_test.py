#!/usr/bin/env python3
# needs: vm
# timeout: 300
"""Skills in the machine: there from its start, read-only in the cell, edited ones at the next message, each agent
told of its own alone.
"""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from pty_driver import PEACRAB, Home, need  # noqa: E402
from scripted_model import Model  # noqa: E402


class Machine:
    def __init__(self):
        self.home, self.model = Home(), Model()
        self.home.env["ANTHROPIC_API_KEY"] = "sk-test"
        self.config = pathlib.Path(self.home.env["XDG_CONFIG_HOME"]) / "peacrab"
        self.config.mkdir()
        self.configure()

    def configure(self, more=""):
        (self.config / "config.yaml").write_text(
            f"model: scripted\nmodel-url: {self.model.url}\ndialect: anthropic\n{more}")

    def skill(self, name, description, script):
        folder = self.config / "skills" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.sh").write_text(script)
        (folder / "run.sh").chmod(0o755)
        (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: {description}\n---\n# Do this\n")

    def ask(self, *steps, agent="main"):
        self.model.plays(*steps, "done")
        run = subprocess.run([PEACRAB, "ask", "--plain", "--agent", agent, "go"], env=self.home.env, text=True,
                             capture_output=True, timeout=200, stdin=subprocess.DEVNULL, check=False)
        need(run.returncode == 0, f"ask ended with {run.returncode}: {run.stderr}")
        return [self.model.results(i)[0] for i in range(1, len(steps) + 1)]


def hooks(machine):
    """The operator's programs are in force from the next message on, out of the agent's sight."""
    folder = machine.config / "hooks"
    folder.mkdir()
    check = folder / "check"

    def program(text):
        check.write_text(text)
        check.chmod(0o755)

    program("#!/bin/sh\ngrep -q forbidden && { id -un >&2; ls -A /home/agent /skills 2>&1 | head -5 >&2; exit 2; }\n"
            "echo x >>/hooks/check\ntouch /tmp/left /home/agent/left\nexit 0\n")
    machine.configure("hooks:\n  - event: before-tool\n    tools: [shell]\n    run: check\n    timeout: 20\n")
    blocked, passed, hidden = machine.ask(
        ("shell", {"command": "echo forbidden >/home/agent/made"}),
        ("shell", {"command": "ls -A /home/agent /tmp; cat /home/agent/made"}),
        ("shell", {"command": "ls /hooks /skills; find / -name check -path '*hooks*' 2>/dev/null; echo end"}))
    need("agent" in blocked and "not run" not in blocked, f"the hook's words: {blocked}")
    need("left" not in passed and "forbidden" not in passed, f"a blocked call ran, or a hook left something: {passed}")
    need("end" in hidden and "check" not in hidden, f"the agent sees hooks: {hidden}")
    program("#!/bin/sh\nexit 1\n")
    refused, = machine.ask(("shell", {"command": "echo ran"}))
    need("could not look at it" in refused, f"an edited hook that fails refuses: {refused}")
    check.unlink()
    refused, = machine.ask(("shell", {"command": "echo ran"}))
    need("could not look at it" in refused, f"a missing one refuses: {refused}")
    program("#!/bin/sh\nexit 0\n")
    times = {}
    for name in ("with", "without"):
        if name == "without":
            machine.configure()
        begun = time.monotonic()
        machine.ask(*[("shell", {"command": f"echo {i}"}) for i in range(10)])
        times[name] = (time.monotonic() - begun) * 100
    print(f"ok: hooks refuse, are not seen; a call {times['without']:.0f} ms without, {times['with']:.0f} ms with one")


def main():
    if not os.access(PEACRAB, os.X_OK):
        sys.exit(f"{PEACRAB} is not built")
    machine = Machine()
    try:
        machine.skill("mine", "the first", "#!/bin/sh\necho version one\n")
        machine.ask()
        skills, folder = machine.model.catalogue()
        need(skills.get("mine") == "the first" and "debian-packages" in skills, f"the catalogue is {skills}")
        need(folder.startswith("/skills/"), folder)
        body, ran, written, changed = machine.ask(
            ("read", {"path": f"{folder}/mine/SKILL.md"}),
            ("shell", {"command": f"{folder}/mine/run.sh; ls /skills"}),
            ("write", {"path": f"{folder}/mine/SKILL.md", "content": "x"}),
            ("shell", {"command": f"cd {folder}/mine; (echo x >SKILL.md; rm run.sh; mount -o remount,rw /skills; "
                                  "umount /skills; chmod 777 run.sh; touch /skills/new); cat SKILL.md; ls -l"}))
        need("# Do this" in body, f"read gave {body}")
        need("version one" in ran, f"the script gave {ran}")
        need("outside of the workspace" in written, f"write gave {written}")
        need("# Do this" in changed and "-rwxr-xr-x" in changed, f"it was changed: {changed}")
        print("ok: a skill is read and run in its cell, and cannot be changed")

        for i in range(5):
            machine.skill("mine", f"edited {i}", f"#!/bin/sh\necho version {i}\n")
            machine.ask()
            skills, folder = machine.model.catalogue()
            need(skills["mine"] == f"edited {i}", f"the next message after edit {i} saw {skills['mine']}")
            ran, = machine.ask(("shell", {"command": f"{folder}/mine/run.sh"}))
            need(f"version {i}" in ran, f"the edited script gave {ran}")
        print("ok: what is edited is there at the next message, five times of five, in a cell that is warm")

        machine.configure("agents:\n  main:\n    skills: [mine]\n  bare:\n    skills: []\n")
        machine.ask()
        need(set(machine.model.catalogue()[0]) == {"mine"}, f"an agent's list counts: {machine.model.catalogue()[0]}")
        machine.ask(agent="bare")
        need(machine.model.catalogue() == ({}, None), "one without skills hears nothing of them")
        print("ok: each agent is told of its own alone")
        hooks(machine)
    finally:
        subprocess.run([PEACRAB, "stop"], env=machine.home.env, capture_output=True, timeout=60, check=False)
        machine.home.remove()


if __name__ == "__main__":
    main()
