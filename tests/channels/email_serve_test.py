#!/usr/bin/env python3
# timeout: 180
# timeout-full: 600
"""E-mail as people have it: `peacrabd serve` with its own adapter, a real Dovecot and Postfix, and a scripted model.
Somebody pairs and talks; then serve and adapter are killed again and again, and each mail is answered once."""
import email
import email.policy
import os
import pathlib
import random
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hub_test import Rig  # noqa: E402
from mail_server import PASSWORD, MailServer, what_lacks  # noqa: E402
from pty_driver import need  # noqa: E402

FULL = bool(os.environ.get("PEACRAB_FULL"))
AGENT = "agent@mail.test"


class EmailRig(Rig):
    def __init__(self, server):
        super().__init__(names=())
        self.server = server
        self.configure(
            f"channels:\n  email:\n    address: {AGENT}\n    imap: 127.0.0.1:{server.ports['imaps']}\n"
            f"    smtp: 127.0.0.1:{server.ports['smtps']}\n    authserv: mx.test\n    settle: 4\n    poll: 5\n    hourly: 500\n",
            {"channel-email": PASSWORD})
        self.environment["SSL_CERT_FILE"] = str(server.run / "cert.pem")

    def answers(self, who):
        """What somebody has got, oldest first: subject and text."""
        got = [email.message_from_bytes(raw, policy=email.policy.default) for raw in self.server.mails(f"{who}@people.test")]
        return [(letter["Subject"], letter.get_body(("plain",)).get_content().replace("\r\n", "\n").strip()) for letter in got]

    def until(self, condition, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            need(time.monotonic() < deadline, what)
            time.sleep(0.2)
        return value

    def says(self, who, body, subject="hello", **fields):
        """And waits for what comes next; gives it."""
        before = len(self.answers(who))
        self.server.say(body, who, subject, **fields)
        return self.until(lambda: self.answers(who)[before:], f"an answer to {body!r}")[0]


def talks(rig):
    rig.start()
    rig.until(lambda: rig.adapters("email"), "the adapter runs")
    time.sleep(2)  # until it is let in: what was there before is not for it
    rig.server.say("let me in", "bob")
    code = rig.people("pair", "email")
    rig.server.swaks("--from", "eve@elsewhere.test", "--header", "From: ann@people.test", "--header", "Subject: x", "--body", code)
    time.sleep(2)
    need(rig.answers("ann") == [], "a code from who only says to be Ann is no code")
    subject, text = rig.says("ann", code, "pairing")
    need("paired, as owner" in text and subject == "Re: pairing", f"a code lets in: {subject} {text}")
    need(rig.answers("bob") == [], "a stranger gets nothing")
    subject, text = rig.says("ann", "how are you?", "A talk")
    need((subject, text) == ("Re: A talk", "re: how are you?"), f"it answers: {subject} {text}")
    need("owner" in rig.says("ann", "/whoami")[1], "commands are answered")
    need(rig.says("ann", "über *stars* & <b>")[1] == "re: über stars & <b>", "what is written arrives")
    before = len(rig.answers("ann"))
    rig.server.say("I am away", "ann", "Out of office", Auto_Submitted="auto-replied")
    rig.server.swaks("--from", "eve@elsewhere.test", "--header", "From: ann@people.test", "--header", "Subject: forged", "--header",
                     "Message-Id: <forged@people.test>", "--body", "/new")
    need(rig.says("ann", "still here?")[1] == "re: still here?", "it goes on")
    need(len(rig.answers("ann")) == before + 1, "programs and forgers are not answered")
    need("nobody vouches" in rig.people("explain", "<forged@people.test>"), "and it is told why")


def killed(rig, count, kills):
    dice = random.Random(5)
    rig.says("bob", rig.people("pair", "email", "member"), "pairing")
    before = {who: len(rig.answers(who)) for who in ("ann", "bob")}
    began, died = time.monotonic(), 0
    for number in range(count):
        rig.server.say(f"number {number}", ("ann", "bob")[number % 2], f"mail {number}")
        if died < kills and dice.random() < 0.6:
            time.sleep(dice.random() * 0.8)
            died += 1
            if died % 2 == 0 or rig.process.poll() is not None or not rig.kill("email"):
                rig.stop()
                rig.start()
    got = {}

    def all_there():
        got.update({who: rig.answers(who)[before[who]:] for who in before})
        texts = [text for answers in got.values() for _, text in answers]
        return all(any(re.search(rf"number {number}\b", text) for text in texts) for number in range(count))
    rig.until(all_there, f"each is answered: {got}", 150)
    time.sleep(8)
    all_there()
    texts = [text for answers in got.values() for _, text in answers]
    doubled = sum(max(0, sum(text == f"re: number {number}" for text in texts) - 1) for number in range(count))
    lost = sum(not any(re.search(rf"number {number}\b", text) for text in texts) for number in range(count))
    print(f"{count} messages, {lost} lost, {doubled} doubled (e-mail, {died} kills, {time.monotonic() - began:.0f} s)")
    need((lost, doubled) == (0, 0), f"each once: {got}")


def main():
    if lacks := what_lacks():
        print(lacks)
        sys.exit(77)
    server = MailServer(people=("ann", "bob"))
    try:
        with EmailRig(server) as rig:
            talks(rig)
            killed(rig, 60 if FULL else 20, 20 if FULL else 6)
    finally:
        server.close()
    print("2 passed, 0 failed")


if __name__ == "__main__":
    main()
