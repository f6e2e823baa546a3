"""A channel of ours beside an emulator of its messenger, and the cases that are the same whatever the messenger is."""
import json
import os
import pathlib
import sys

from cases import case, equal, run_cases
from connect_proxy import Tunnelled
from scripted_warden import Book, ScriptedWarden

PEACRABD = pathlib.Path(__file__).resolve().parents[2] / "build/runtime/peacrabd"

MARKDOWN = """# Title

Some **bold**, *italic*, `code <x>`, ~~gone~~ and a [link](https://example.com/?a=1&b=2).

- one
  - nested
- two

> quoted

| a | b |
|---|---|
| 1 | 2 |

```python
if a < b & c:
    print("fence")
```

````md
```inner
nested fence
```
````
"""


class ChannelPlace:
    """An emulator, and the channel that is a bot there."""
    channel, secrets = "", {}

    def __init__(self, server):
        self.server, self.book, self.wardens = server, Book(), []

    def start(self, hello=True, book=None, environment=None, secrets=None, settings=None, **options):
        warden = ScriptedWarden([PEACRABD, "channel", self.channel], book or self.book,
                                {"api": self.server.url, **(settings or {})}, {**self.secrets, **(secrets or {})},
                                {"PATH": "/usr/bin:/bin", **(environment or {})}, **options)
        self.wardens.append(warden)
        if hello:
            warden.until(lambda: warden.hello, 20, "hello")
        return warden

    def event(self, warden, act):
        """What comes of it."""
        count = len(self.book.order)
        act()
        warden.until(lambda: len(self.book.order) > count, what="an event")
        return self.book.events[self.book.order[-1]]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for warden in self.wardens:
            if warden.process.poll() is None:
                warden.kill()
            said = json.dumps(warden.frames) + warden.stderr()
            assert kind or not any(secret[-12:] in said for secret in self.secrets.values()), "a token was told"
        self.server.close()


def same_cases(place, first_call):
    """Of any such channel; `first_call` is what it asks first."""

    @case
    def it_is_confined():
        with place() as at:
            warden = at.start()
            folder = pathlib.Path(f"/proc/{warden.process.pid}")
            status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
            equal((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"))
            told = (folder / "cmdline").read_bytes()
            try:
                told += (folder / "environ").read_bytes()
            except PermissionError:
                pass
            assert not any(secret.encode() in told for secret in at.secrets.values())

    @case
    def a_proxy_that_forbids_it():
        for code in (403, 407):
            with Tunnelled(place) as at:
                at.proxy.refuse(code, 10_000)
                warden = at.place.start(hello=False, environment=at.environment)
                warden.until(lambda: warden.of("trouble"), what="trouble")
                warden.run(4)
                troubles = warden.of("trouble")
                equal(len(troubles), 1, "told once")
                assert str(code) in troubles[0]["text"], troubles
                at.proxy.refuse(code, 0)
                warden.until(lambda: warden.hello, 30, "hello once it is allowed")

    @case
    def a_certificate_of_somebody_else():
        with Tunnelled(place) as at:
            environment = {key: value for key, value in at.environment.items() if key != "SSL_CERT_FILE"}
            warden = at.place.start(hello=False, environment=environment)
            warden.until(lambda: warden.of("trouble"), what="trouble")
            equal(at.place.server.calls(first_call), [])


def main():
    if not PEACRABD.exists():
        sys.exit("FAILED: build/runtime/peacrabd is not built")
    os.environ.pop("HTTPS_PROXY", None)
    sys.exit(run_cases())
