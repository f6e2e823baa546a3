"""For tests that sit at a terminal: a program on a pseudo-terminal, and a home of the test's own.

Python's standard library only. `Terminal` starts a program, waits for text, types. `Home` keeps the
state of the person out of it, as tests/support/lib.sh does.
"""
import fcntl
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PEACRAB = os.environ.get("PEACRAB", str(ROOT / "build/tools/peacrab"))
PEACRABD = os.environ.get("PEACRABD", str(ROOT / "build/runtime/peacrabd"))
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-B]|\x1b[=>]|\r")


def skip(why):
    print(why)
    sys.exit(77)


def need(condition, what):
    if not condition:
        raise AssertionError(what)


class Home:
    """Fresh folders and the environment that names them; image and cache stay shared, read only."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="peacrab.")
        os.chmod(self.path, 0o711)
        home = os.environ.get("HOME", "/nonexistent")
        self.env = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm",
            "XDG_DATA_HOME": os.environ.get("XDG_DATA_HOME", home + "/.local/share"),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", home + "/.cache"),
        }
        for name, folder in (("HOME", "home"), ("XDG_STATE_HOME", "state"),
                             ("XDG_CONFIG_HOME", "config"), ("XDG_RUNTIME_DIR", "run")):
            self.env[name] = os.path.join(self.path, folder)
            os.mkdir(self.env[name], 0o700)

    def give_to(self, uid):
        for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
            os.chown(self.env[name], uid, uid)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Terminal:
    """A program on a terminal of its own. What it wrote is in `text`, controls taken out."""

    def __init__(self, argv, env, cwd=None, uid=None, columns=100):
        self.text = ""
        self.raw = b""
        self.position = 0
        self.code = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                if uid is not None:
                    os.setgroups([])
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                os.chdir(cwd or env["HOME"])
                os.execvpe(argv[0], argv, env)
            finally:
                os._exit(127)
        self.resize(columns)

    def resize(self, columns, rows=40):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def _read(self, seconds):
        """Takes in what is there; False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += data
        self.text = CONTROLS.sub("", self.raw.decode("utf-8", "replace"))
        return bool(data)

    def expect(self, wanted, seconds=30):
        """Waits for text after the last one that was waited for; gives what stood before it."""
        deadline = time.monotonic() + seconds
        alive = True
        while True:
            at = self.text.find(wanted, self.position)
            if at >= 0:
                before = self.text[self.position:at]
                self.position = at + len(wanted)
                return before
            need(alive and time.monotonic() < deadline,
                 f"no {wanted!r} after {self.text[self.position:]!r}; all of it:\n{self.text}")
            alive = self._read(0.2)

    def wait(self, seconds=30):
        """The exit code, once it has ended by itself."""
        deadline = time.monotonic() + seconds
        while self.code is None:
            need(time.monotonic() < deadline, f"it does not end:\n{self.text}")
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def hang_up(self):
        """The window is closed: SIGHUP. Waits for the program's end."""
        os.close(self.fd)
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        self.fd = -1
        return self.code

    def close(self):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.code = -9
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
