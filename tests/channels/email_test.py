#!/usr/bin/env python3
# timeout: 180
# timeout-full: 600
"""The e-mail channel alone, on a real Dovecot and Postfix, between a scripted warden and people who write by swaks; and
on servers of ours (tests/support/scripted_mail.py) that break what real ones keep."""
import email
import email.policy
import os
import pathlib
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from mail_server import PASSWORD, MailServer, what_lacks  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402

PEACRABD = ROOT / "build/runtime/peacrabd"
AGENT, ANN = "agent@mail.test", "ann@people.test"


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


def channel_on(server, book, **settings):
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SSL_CERT_FILE": str(server.run / "cert.pem")}
    given = {"address": AGENT, "imap": f"127.0.0.1:{server.ports['imaps']}", "smtp": f"127.0.0.1:{server.ports['smtps']}",
             "authserv": "mx.test", "settle": "4", "poll": "5", **settings}
    return ScriptedWarden([PEACRABD, "channel", "email"], book, {key: value for key, value in given.items() if value is not None},
                          {"token": PASSWORD}, environment)


def started(server, book, **settings):
    pea = channel_on(server, book, **settings)
    pea.until(lambda: pea.hello and book.cursor, 15, "hello")
    return pea


def wait(condition, what, seconds=15):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return value


def letters(server, address=ANN, mailbox="INBOX"):
    return [email.message_from_bytes(raw, policy=email.policy.default) for raw in server.mails(address, mailbox)]


def plain(letter):
    return letter.get_body(("plain",)).get_content().replace("\r\n", "\n").strip()


def talks(server):
    server.say("before it was there")
    book = Book()
    pea = started(server, book)
    first = server.say("What is 2 + 2?", subject="A question")
    pea.until(lambda: book.order, 15, "a mail arrives")
    event = book.events[book.order[0]]
    equal(event["text"], "Subject: A question\n\nWhat is 2 + 2?", "its text")
    equal((event["conversation"], event["sender"], event["scope"], event["thread"], event["id"]), (ANN, ANN, "direct", first, first), "where")
    assert not event.get("unproven") and not event.get("bot"), event
    sent, failed = pea.deliver("1", ANN, "**4**, as `2 + 2`.\n\n- one\n- two <b>", thread=first)
    assert not failed and len(sent) == 1, failed
    answer = wait(lambda: letters(server), "the answer arrives")[0]
    equal((answer["Subject"], answer["In-Reply-To"], answer["References"], answer["To"], answer["Message-ID"]),
          ("Re: A question", first, first, ANN, sent[0]["platform"]), "its head")
    equal(answer["Auto-Submitted"], "auto-replied", "a program wrote it")
    equal(plain(answer).replace("•", "-"), "4, as 2 + 2.\n\n- one\n- two <b>", "plain")
    html = answer.get_body(("html",)).get_content()
    assert "<b>4</b>" in html or "<strong>4</strong>" in html, html
    assert "&lt;b&gt;" in html, html
    wait(lambda: letters(server, AGENT, "Sent"), "our copy is with what was sent")
    equal([letter["Subject"] for letter in letters(server, AGENT)], ["hello", "A question"], "and not in the inbox")

    second = server.say(f"And 3 + 3?\n\nOn 23 Nov 2026, agent wrote:\n> 4, as 2 + 2.", subject="Re: A question", In_Reply_To=answer["Message-ID"],
                        References=f"{first} {answer['Message-ID']}")
    pea.until(lambda: len(book.order) == 2, 15, "the next")
    event = book.events[book.order[1]]
    equal((event["text"], event["thread"], event["reply_to"]), ("And 3 + 3?", first, {"id": answer["Message-ID"], "own": True}), "in its thread")
    pea.deliver("2", ANN, "6", thread=first)
    wait(lambda: len(letters(server)) == 2, "the second answer")
    equal((letters(server)[1]["In-Reply-To"], letters(server)[1]["References"].split()), (second, [first, second]), "its thread")
    equal(pea.stop(), 0, "it ends in order")


def main():
    if lacks := what_lacks():
        print(lacks)
        sys.exit(77)
    cases = [talks]
    only, failed = sys.argv[1:], 0
    server = MailServer(people=("ann", "bob"))
    try:
        for case in cases:
            if only and case.__name__ not in only:
                continue
            began = time.monotonic()
            try:
                case(server)
                print(f"passed  {case.__name__} {time.monotonic() - began:.1f} s", flush=True)
            except (AssertionError, OSError, KeyError, IndexError, TypeError):
                failed += 1
                traceback.print_exc()
                print(server.logs()[-3000:] if os.environ.get("LOGS") else "", flush=True)
    finally:
        server.close()
    total = len(only or cases)
    print(f"{total - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
