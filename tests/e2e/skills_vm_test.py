#!/usr/bin/env python3
# needs: vm
# timeout: 300
"""Skills in the machine: there from its start, read-only in the cell, edited ones at the next message, each agent
told of its own alone.
"""
import os
import pathlib
import re
import subprocess
import sys

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

    def catalogue(self):
        text = self.model.system()
        found = re.search(r"read (/\S+)/NAME/SKILL\.md", text)
        if not found:
            return {}, None
        lines = text[found.end():].split("\n")[1:]
        return dict(line.split(": ", 1) for line in lines if ": " in line), found.group(1)


def main():
    if not os.access(PEACRAB, os.X_OK):
        sys.exit(f"{PEACRAB} is not built")
    machine = Machine()
    try:
        machine.skill("mine", "the first", "#!/bin/sh\necho version one\n")
        machine.ask()
        skills, folder = machine.catalogue()
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
            skills, folder = machine.catalogue()
            need(skills["mine"] == f"edited {i}", f"the next message after edit {i} saw {skills['mine']}")
            ran, = machine.ask(("shell", {"command": f"{folder}/mine/run.sh"}))
            need(f"version {i}" in ran, f"the edited script gave {ran}")
        print("ok: what is edited is there at the next message, five times of five, in a cell that is warm")

        machine.configure("agents:\n  main:\n    skills: [mine]\n  bare:\n    skills: []\n")
        machine.ask()
        need(set(machine.catalogue()[0]) == {"mine"}, f"an agent's list counts: {machine.catalogue()[0]}")
        machine.ask(agent="bare")
        need(machine.catalogue() == ({}, None), "one without skills hears nothing of them")
        print("ok: each agent is told of its own alone")
    finally:
        subprocess.run([PEACRAB, "stop"], env=machine.home.env, capture_output=True, timeout=60, check=False)
        machine.home.remove()


if __name__ == "__main__":
    main()
