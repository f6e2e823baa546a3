"""The npm packages that tools/test fetches (package.json here), for tests in Python."""
import atexit
import os
import pathlib
import subprocess
import sys

HOME = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "peacrab/test-packages"
MODULES = HOME / "node_modules"
NODE = MODULES / ".bin/node"


def need(package):
    """Its folder; without it the test is skipped."""
    if not NODE.exists() or not (MODULES / package).is_dir():
        print(f"the test package {package} is not there: tools/test fetches it")
        sys.exit(77)
    return MODULES / package


def start(script, *arguments, **environment):
    """A Node program that finds the packages; its output is text. It ends with us at the latest."""
    process = subprocess.Popen([NODE, script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "NODE_PATH": MODULES,
                                    **environment})
    atexit.register(process.kill)
    return process
