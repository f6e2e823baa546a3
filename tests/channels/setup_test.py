#!/usr/bin/env python3
# timeout: 90
"""`peacrab channel add`, `secret`, `people` and `tasks`, when what they are told is wrong: one sentence, the next step,
and nothing kept; Ctrl-D ends them, a kill leaves nothing. And IRC set up on a real ngIRCd, without a password."""
import pathlib
import socket
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
         ("secret set x --command false", 1, "its command ended with exit code 1"),
         ("people frob", 2, "usage: peacrab people"),
         ("people pair irc king", 2, "a role is owner, member or guest"),
         ("people pair irc", 1, "there is no channel irc: `peacrab channel add irc` sets it up"),
         ("people explain m5", 1, "there is no message m5"),
         ("people", 0, "nobody yet"),
         ("tasks frob", 2, "usage: peacrab tasks"),
         ("tasks pause x", 2, "usage: peacrab tasks"),
         ("tasks pause 9", 1, "there is no task 9"),
         ("tasks", 0, "no tasks yet"))
TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"


def peacrab(home, *words, stdin=""):
    return subprocess.run([PEACRAB, *words], env=home.env, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def begin(home, *words, stdin=""):
    run = subprocess.Popen([PEACRAB, *words], env=home.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run.stdin.write(stdin)
    run.stdin.close()
    return run


def nothing_kept(home, words):
    config = pathlib.Path(home.env["XDG_CONFIG_HOME"]) / "peacrab"
    kept = [path.name for path in config.rglob("*") if path.is_file() and path.stat().st_size] if config.exists() else []
    need(not kept, f"{words}: nothing is kept: {kept}")


def out_of_reach():
    """Nobody listens there, which is not said to be the token's fault."""
    homes = (Home(), Home())
    runs = (begin(homes[0], "channel", "add", "telegram", "api=http://127.0.0.1:1", stdin=TOKEN),
            begin(homes[1], "channel", "add", "whatsapp", "phone=15550001111", "api=http://127.0.0.1:1", stdin="EAAtoken 0123456789abcdef"))
    for home, run in zip(homes, runs):
        said = run.stderr.read()
        need(run.wait() == 1 and "it could not be reached; nothing was kept" in said and "let in" not in said, f"{run.args}: {said}")
        nothing_kept(home, run.args)
        home.remove()


def killed():
    """In the middle of the trial, which the messenger does not answer."""
    home = Home()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run = begin(home, "channel", "add", "telegram", f"api=http://127.0.0.1:{silent.getsockname()[1]}", stdin=TOKEN)
        silent.settimeout(30)
        with silent.accept()[0]:
            run.kill()
            run.wait()
    nothing_kept(home, "killed")
    home.remove()


def main():
    home = Home()
    config = pathlib.Path(home.env["XDG_CONFIG_HOME"]) / "peacrab"
    for words, code, said in WRONG:
        run = peacrab(home, *words.split())
        need(run.returncode == code and said in run.stderr, f"{words}: {run.returncode}: {run.stderr}")
        nothing_kept(home, words)
    print("ok: what is wrong is said, and not kept")
    out_of_reach()
    killed()
    print("ok: a trial that fails or is killed leaves nothing")
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
