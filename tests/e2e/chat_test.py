#!/usr/bin/env python3
# needs: vm
# timeout: 300
"""A person at `peacrab chat`: the first command of a fresh home boots the machine and answers.

The agent is the demo model, so each claim about the guest comes from a command that ran in it. The
editor is libedit on a real terminal. Closing the window stops nothing; the next one shows the rest.
"""
import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from pty_driver import PEACRAB, Home, Terminal, need  # noqa: E402


def main():
    if not os.access(PEACRAB, os.X_OK):
        sys.exit(f"{PEACRAB} is not built")
    home, windows = Home(), []

    def chat(*flags):
        windows.append(Terminal([PEACRAB, "chat", *flags], home.env))
        return windows[-1]

    try:
        first_time(chat)
        edits(chat)
        stops(chat)
        comes_back(chat)
        plain(chat)
        detached(home.env)
        machine_dies(chat, home.env)
    finally:
        for window in windows:
            window.close()
        subprocess.run([PEACRAB, "stop"], env=home.env, capture_output=True, timeout=60)
        home.remove()


def first_time(chat):
    window = chat()
    window.expect("Set one up now? [y/N] ")
    window.type("n\n")
    window.expect("Later: `peacrab setup`.")
    window.expect("ready in", 120)
    window.expect("demo model: no model at all")
    window.expect("full")
    window.expect("› ")
    nonce = str(random.randrange(10**9))
    window.type(f"run: cat /proc/version; echo {nonce} | rev\n")
    window.expect("⚙ shell: cat /proc/version", 60)
    window.expect("ok ")
    window.expect("Linux version ")
    window.expect(nonce[::-1])
    window.expect("demo model: a fixed responder")
    window.expect("tokens in")
    window.expect("› ")
    window.type("/status\n")
    window.expect("kernel   ")
    kernel = window.expect("\n").strip()
    need(kernel and os.uname().release not in kernel, f"the kernel is the host's: {kernel}")
    window.type("\x04")
    need(window.wait() == 0, "Ctrl-D does not leave with 0")


def edits(chat):
    window = chat()
    before = window.expect("› ")
    need("Set one up" not in before, "setup is offered twice")
    window.type("run: echo left-over\x15run: echo edi\x02\x02\x02\x05ted\n")
    window.expect("⚙ shell: echo edited", 60)
    window.expect("tokens in", 60)
    window.expect("› ")
    window.type("\x1b[A\n")  # the line before
    window.expect("⚙ shell: echo edited", 60)
    window.expect("tokens in", 60)
    window.expect("› ")
    window.resize(40)
    window.type("run: echo " + "x" * 60 + "\n")
    window.expect("⚙ shell: echo xxx", 60)
    window.expect("tokens in", 60)
    window.expect("› ")
    window.type("/quit\n")
    need(window.wait() == 0, "/quit does not leave with 0")


def stops(chat):
    window = chat()
    window.expect("› ")
    window.type("run: sleep 300\n")
    window.expect("⚙ shell: sleep 300 … ", 60)
    window.type("\x03")
    window.expect("stopping", 30)
    window.expect("(stopped)", 60)
    window.expect("› ")
    window.type("run: echo still-$((6*7))\n")
    window.expect("still-42\n", 60)
    window.expect("tokens in")
    window.expect("› ")
    window.type("\x03")
    window.expect("Ctrl-C again")
    window.type("\x03")
    need(window.wait() == 0, "Ctrl-C twice at the prompt does not leave")


def comes_back(chat):
    window = chat()
    window.expect("› ")
    window.type("run: sleep 3; echo away-$((6*7))\n")
    window.expect("⚙ shell: sleep 3", 60)
    window.hang_up()
    window = chat()
    window.expect("away-42", 60)
    window.expect("tokens in")
    window.expect("› ")
    window.type("\x04")
    window.wait()
    window = chat()
    before = window.expect("› ")
    need("away-42" not in before, f"what was seen is shown again: {before}")
    window.type("\x04")
    window.wait()


def plain(chat):
    window = chat("--plain")
    window.expect("> ")
    window.type("run: echo plain-$((6*7))\n")
    window.expect("  * shell: echo plain-$((6*7)) ... ok", 60)
    window.expect("plain-42")
    window.expect("tokens in")
    need(b"\x1b" not in window.raw, "--plain moves the cursor or colours")
    window.type("/quit\n")
    need(window.wait() == 0, "/quit does not leave with 0")


def detached(env):
    def run(*arguments, **more):
        return subprocess.run([PEACRAB, *arguments], env=env, text=True, capture_output=True,
                              timeout=60, **({"stdin": subprocess.DEVNULL} | more))

    asked = run("ask", "--detach", "run: sleep 1; echo waited-$((6*7))")
    turn = asked.stdout.strip()
    need(asked.returncode == 0 and turn, f"--detach: {asked}")
    done = run("wait", turn)
    need(done.returncode == 0 and "waited-42" in done.stdout, f"wait: {done}")
    need("sleep 1" in done.stderr and "⚙" not in done.stdout, f"wait mixes the streams: {done}")
    need(run("wait", turn).stdout == done.stdout, "a second wait says something else")
    need(run("wait", "t999999").returncode == 2, "a turn nobody knows is no bad input")
    need(run("ask").returncode == 2, "no question is not a usage error")
    done = run("ask", stdin=None, input="run: echo by-$((6*7))-pipe\n")
    need(done.returncode == 0 and "by-42-pipe" in done.stdout, f"a piped question: {done}")


def machine_dies(chat, env):
    window = chat()
    window.expect("› ")
    window.type("run: sleep 300\n")
    window.expect("⚙ shell: sleep 300", 60)
    stopped = subprocess.run([PEACRAB, "stop"], env=env, capture_output=True, timeout=60)
    need(stopped.returncode == 0, f"stop: {stopped}")
    window.expect("the agent has gone", 30)
    window.expect("peacrab up")
    need(window.wait() == 6, "a machine that went is not code 6")


if __name__ == "__main__":
    main()
