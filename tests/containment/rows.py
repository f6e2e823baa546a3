"""What a row of the suite is, how its outcome is told, and the helpers many rows share."""
import re
import time
import traceback


class Red(Exception):
    """A wall did not hold, or the row could not be tried."""


def need(condition, what):
    if not condition:
        raise Red(what)


class Rows:
    """Runs rows, prints a line for each, and counts. A row is one id for one user of one agent."""

    def __init__(self, only=()):
        self.only, self.passed, self.failed, self.failures = only, 0, 0, []

    def wanted(self, name):
        return not self.only or any(re.fullmatch(pattern, name) for pattern in self.only)

    def note(self, name, problem, seconds=None, more=""):
        took = "" if seconds is None else f" {seconds:6.1f} s"
        if problem:
            self.failed += 1
            self.failures.append(name)
            print(f"RED    {name:14}{took}  {problem}", flush=True)
        else:
            self.passed += 1
            print(f"ok     {name:14}{took}  {more}".rstrip(), flush=True)

    def run(self, name, act, *arguments):
        if not self.wanted(name.split("/")[0]):
            return
        began = time.monotonic()
        try:
            more = act(*arguments) or ""
            problem = ""
        except Red as red:
            problem, more = str(red), ""
        except Exception as error:  # what cannot be tried counts as a wall that fell
            problem, more = f"{type(error).__name__}: {error}", ""
            if not isinstance(error, (TimeoutError, RuntimeError)):
                problem += " at " + traceback.format_exc().splitlines()[-3].strip()
        self.note(name, problem, time.monotonic() - began, more)

    def lines(self, text, user):
        """The lines of the attack program: a row passes when it and its twin do."""
        rows = {}
        for line in text.splitlines():
            match = re.match(r"([A-Z]\d+)(\+?) (ok|ESCAPED|UNEXPECTED)\b ?(.*)", line)
            if match:
                rows.setdefault(match[1], []).append((match[2], match[3], match[4]))
        for name, said in rows.items():
            bad = [f"{'twin ' if twin else ''}{how} {what}" for twin, how, what in said if how != "ok"]
            if len(said) != 2:
                bad.append("the row did not finish")
            self.note(f"{name}/{user}", "; ".join(bad), None, said[0][2])
        return set(rows)


def ok(result, *parts):
    need(not result.failed, f"refused: {result.text[-300:]}")
    for part in parts:
        need(part in result.text, f"no {part!r} in {result.text[-300:]!r}")
    return result


def bad(result, *parts):
    need(result.failed, f"worked: {result.text[-300:]}")
    for part in parts:
        need(part in result.text, f"no {part!r} in {result.text[-300:]!r}")
    return result


def matches(result, pattern):
    found = re.search(pattern, result.text, re.S)
    need(found, f"no /{pattern}/ in {result.text[-400:]!r}")
    return found
