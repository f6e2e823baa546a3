"""What tests share that kill a run between every two of its writes. Python's standard library only."""
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import threading

import hostile_anthropic as wire
import hostile_model as model

BUILD = pathlib.Path(os.environ.get("PEACRAB_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
KILLER = str(BUILD / "tests/support/kill_at")


@contextlib.contextmanager
def stage(scenario, answer):
    """A folder with our program, and the port of a model that plays `scenario`; no request may break the protocol."""
    if not os.access(KILLER, os.X_OK):
        print("tests/support/kill_at is not built")
        sys.exit(77)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"peacrab-{scenario}."))
    wire.SCENARIOS[scenario] = answer
    server = model.Server(0, None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        scratch.chmod(0o711)
        shutil.copy(BUILD / "runtime/peacrabd", scratch / "peacrabd")
        yield scratch, server.server_address[1]
        assert not server.violations, server.violations
    finally:
        server.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def steps_of(run, code="0"):
    """How many points a run under the killer has, that was not killed and ended with `code`."""
    words = run.stdout.strip().splitlines()[-1].split()
    assert words[0] == "ended" and words[2] == code, f"without a kill: {run.stdout} {run.stderr}"
    return int(words[1])


def at_each(count, one):
    """`one` of each point, several at a time; None: the run did not come that far. Most must be met."""
    with concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        met = [each for each in pool.map(one, range(1, count + 1)) if each is not None]
    assert len(met) > 0.8 * count, f"{len(met)} of {count} points were met"
    return met
