"""A home in which `peacrabd ask` runs without a VM, as an ordinary user, with the scripted model. Python's standard
library only."""
import os
import pathlib
import shutil
import subprocess

from pty_driver import PEACRABD, Home, need

UID = 65534 if os.geteuid() == 0 else None


class LocalPlace:
    def __init__(self, model):
        self.model, self.home = model, Home()
        self.untouched = False  # nothing is given to the user again, which would make every file look edited
        self.program = os.path.join(self.home.path, "peacrabd")
        shutil.copy(PEACRABD, self.program)
        os.chmod(self.program, 0o755)
        self.home.env["ANTHROPIC_API_KEY"] = "sk-test"
        self.home.env["XDG_CACHE_HOME"] = os.path.join(self.home.path, "cache")
        os.mkdir(self.home.env["XDG_CACHE_HOME"])
        self.config = pathlib.Path(self.home.env["XDG_CONFIG_HOME"]) / "peacrab"
        self.work = pathlib.Path(self.home.path) / "work"
        self.work.mkdir()

    def ask(self, *steps):
        """The script is played; gives the results of the calls."""
        self.model.plays(*steps, "done")
        if UID is not None and not self.untouched:
            subprocess.run(["chown", "-Rh", str(UID), self.home.path], check=True)
        as_user = {} if UID is None else {"user": UID, "group": UID, "extra_groups": []}
        command = [self.program, "ask", "--plain", "--model", "scripted", "--model-url", self.model.url, "go"]
        run = subprocess.run(command, cwd=self.work, env=self.home.env, capture_output=True, text=True,
                             timeout=100, stdin=subprocess.DEVNULL, check=False, **as_user)
        need(run.returncode == 0, f"ask ended with {run.returncode}: {run.stderr}")
        self.said = run.stderr
        return [self.model.results(i)[0] for i in range(1, len(steps) + 1)]
