#!/usr/bin/env python3
# timeout: 90
"""`peacrab channel add` and `secret`, when what they are told is wrong: one sentence, the next step, and nothing kept;
Ctrl-D ends them. And IRC set up on a real ngIRCd, without a password."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from irc_test import NGIRCD, Ngircd  # noqa: E402
from pty_driver import PEACRAB, Home, Terminal, need  # noqa: E402

WRONG = (("channel add slackk", 2, "there is no messenger slackk, only telegram, slack,"),
         ("channel add builds type=webhook", 2, "to is missing: channel add builds to=..."),
         ("channel add email", 2, "address is missing"),
         ("channel add irc", 2, "server is missing"),
         ("channel add telegram api=http://127.0.0.1:1", 1, "it is empty"),
         ("secret set x --command false", 1, "its command ended with exit code 1"))


def peacrab(home, *words, stdin=""):
    return subprocess.run([PEACRAB, *words], env=home.env, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def main():
    home = Home()
    config = pathlib.Path(home.env["XDG_CONFIG_HOME"]) / "peacrab"
    for words, code, said in WRONG:
        run = peacrab(home, *words.split())
        need(run.returncode == code and said in run.stderr, f"{words}: {run.returncode}: {run.stderr}")
        kept = [path.name for path in config.rglob("*") if path.is_file() and path.stat().st_size] if config.exists() else []
        need(not kept, f"{words}: nothing is kept: {kept}")
    print("ok: what is wrong is said, and not kept")
    terminal = Terminal([PEACRAB, "channel", "add", "telegram"], home.env)
    terminal.expect("Token of telegram")
    terminal.type("\x04")
    need(terminal.wait() == 130, "Ctrl-D ends it")
    print("ok: Ctrl-D")
    if not NGIRCD.exists():
        print("ngIRCd is not there: tools/test fetches it")
        sys.exit(77)
    server = Ngircd()
    try:
        run = peacrab(home, "channel", "add", "irc", "server=127.0.0.1", f"port={server.port}", "tls=false", "nick=pea", "channels=#team")
        need(run.returncode == 0 and "irc lets it in as pea" in run.stderr, f"without a password: {run.returncode}: {run.stderr}")
        need(f"port: {server.port}" in (config / "config.yaml").read_text() and not list((config / "secrets").glob("*")), "it is written down")
        print("ok: IRC, without a password")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
