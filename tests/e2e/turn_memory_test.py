#!/usr/bin/env python3
# timeout: 60
"""The turn process that is begun beside the warden, without a VM, is a copy that was not executed anew: what the
warden learns after that, and what the environment had, is not in its memory, nor are the warden's files open in it.
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from local_place import LocalPlace  # noqa: E402
from process_memory import holds  # noqa: E402
from pty_driver import PEACRABD, need  # noqa: E402
from scripted_model import Model  # noqa: E402

SEARCH, OTHER = b"tvly-" + b"sentinel-of-the-search", b"sk-" + b"sentinel-of-another-server"


def parent(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])


class Watched(Model):
    """Looks at who asks it, at the moment of the request."""

    def __init__(self):
        super().__init__()
        self.seen = None

    def plays(self, *steps):
        super().plays(*steps)
        watched = self

        class Requests(list):
            def append(self, request):
                super().append(request)
                watched.seen = watched.look()

        self.requests = Requests()

    def look(self):
        ours = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/exe") == self.program:
                    ours[int(name)] = parent(name)
            except OSError:
                pass
        client, = [pid for pid in ours if ours[pid] not in ours]
        warden, = [pid for pid in ours if ours[pid] == client]
        turn = min(pid for pid in ours if ours[pid] == warden)
        files = [os.readlink(f"/proc/{turn}/fd/{fd}") for fd in os.listdir(f"/proc/{turn}/fd")]
        return {name: holds(pid, SEARCH, OTHER) for name, pid in (("warden", warden), ("turn", turn))}, files


def main():
    if not os.access(PEACRABD, os.X_OK):
        sys.exit(f"{PEACRABD} is not built")
    if os.geteuid() != 0:
        print("only root may look into the memory of such a process")
        sys.exit(77)
    model = Watched()
    place = LocalPlace(model)
    model.program = os.path.realpath(place.program)
    place.config.mkdir(parents=True)
    (place.config / "config.yaml").write_text("search: tavily\n")
    place.home.env.update(TAVILY_API_KEY=SEARCH.decode(), OPENAI_API_KEY=OTHER.decode())
    place.ask()
    memory, files = model.seen
    need(memory["warden"] == {SEARCH}, f"the warden knows the key of the search, and no other: {memory['warden']}")
    need(memory["turn"] == set(), f"the turn process knows neither: {memory['turn']}")
    need(not [name for name in files if name.endswith(("lock", "warden.db", ".jsonl"))], f"its files: {files}")
    print("ok: a turn process that is a copy of the warden knows no key but the model's, and has none of its files")


main()
