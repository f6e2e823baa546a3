"""Cases of a test in Python, side by side; the last line says how many passed."""
import concurrent.futures
import sys
import time
import traceback

CASES = []


def case(function):
    CASES.append(function)
    return function


def long_case(function):
    """One that waits: it begins before the others."""
    CASES.insert(0, function)
    return function


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


def run(function):
    began = time.monotonic()
    try:
        note = function()
        return function.__name__, time.monotonic() - began, note or "", None
    except Exception:  # noqa: BLE001
        return function.__name__, time.monotonic() - began, "", traceback.format_exc()


def run_cases(width=20):
    """Those whose name contains a word of the command line, or all; the exit code."""
    chosen = [each for each in CASES if not sys.argv[1:] or any(name in each.__name__ for name in sys.argv[1:])]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(width) as pool:
        for name, seconds, note, error in pool.map(run, chosen):
            print(f"{'FAILED' if error else 'passed'}  {name:44} {seconds:6.2f} s  {note}", flush=True)
            if error:
                failed += 1
                print(error, flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0
