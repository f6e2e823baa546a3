#!/usr/bin/env python3
# timeout: 180
# timeout-full: 600
"""The e-mail channel alone, on a real Dovecot and Postfix, between a scripted warden and people who write by swaks; and
on servers of ours (tests/support/scripted_mail.py) that break what real ones keep."""
import base64
import email
import email.message
import email.policy
import os
import pathlib
import random
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from mail_server import PASSWORD, MailServer, what_lacks  # noqa: E402
from pty_driver import PEACRAB, Terminal  # noqa: E402
from scripted_mail import ScriptedMail  # noqa: E402
from scripted_warden import Book, ScriptedWarden  # noqa: E402

FULL = bool(os.environ.get("PEACRAB_FULL"))
PEACRABD = pathlib.Path(os.environ.get("PEACRABD", ROOT / "build/runtime/peacrabd"))
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


def again(pea, id, key, text):
    """The delivery of that key once more."""
    pea.say("deliver", id=id, key=key, conversation=ANN, text=text)
    sent, failed = pea.answer(id)
    assert sent and not failed, failed


def counted(book, *texts):
    return [sum(text in said for said in book.texts()) for text in texts]


def killed(server):
    """Cases 1, 2, 3: before what arrived is stored, before the server could hear of it, and while something is sent."""
    book = Book()
    pea = started(server, book)
    pea.stores = False
    server.say("first")
    pea.until(lambda: pea.held, 15, "a batch that is not stored")
    pea.kill()
    pea = started(server, book)
    pea.until(lambda: book.order, 15, "it comes again")
    cursor = book.cursor
    server.say("second")
    pea.until(lambda: len(book.order) == 2, 15, "the second")
    pea.kill()
    book.cursor = cursor  # the file that had it was lost: the server tells again, and the key is known
    pea = started(server, book)
    pea.until(lambda: book.again, 15, "it comes once more, under its key")
    equal(counted(book, "first", "second"), [1, 1], "each once")
    before = len(letters(server))
    moments = (0.0, 0.02, 0.05, 0.1, 0.2) if FULL else (0.02, 0.2)
    for number, when in enumerate(moments):
        key = f"kill{number}"
        pea.say("deliver", id=key, key="k" + key, conversation=ANN, text=f"answer {number}")
        time.sleep(when)
        pea.kill()
        pea = started(server, book)
        pea.say("resolve", id=key, key="k" + key, conversation=ANN, part=0)
        sent, failed = pea.answer(key, 20)
        if failed:
            equal(failed["class"], "not_sent", "it is not there")
            again(pea, key + "b", "k" + key, f"answer {number}")
    time.sleep(1)
    got = [plain(letter) for letter in letters(server)[before:]]
    equal(sorted(got), [f"answer {number}" for number in range(len(moments))], "each answer once")
    equal(pea.stop(), 0, "it ends")


def cut_while_sent(server):
    """Case 4: the connection breaks before the last byte, and after it; then what is true is found."""
    book = Book()
    pea = started(server, book)
    before = len(letters(server))
    relay = server.smtps
    cuts = [(b"DATA\r\n", "after", "not_sent"), (b"\r\n.\r\n", "before", "unknown"), (b"\r\n.\r\n", "after", "unknown")]
    if FULL:
        cuts += [(b"MAIL FROM", "before", "not_sent"), (b"DATA\r\n", "before", "not_sent")]
    for said, when, kind in cuts:
        relay.fault = (said, when)
        key = f"cut {said} {when}"
        _, failed = pea.deliver(key, ANN, f"after {said} {when}")
        relay.fault = None
        equal(failed and failed["class"], kind, key)
        time.sleep(2.1)  # it does not try at once again
        if kind == "unknown":
            pea.say("resolve", id=key + "?", key="k" + key, conversation=ANN, part=0)
            sent, failed = pea.answer(key + "?", 20)
            equal((len(sent), failed and failed["class"]), (1, None) if when == "after" else (0, "not_sent"), f"{key}: what is found")
        if failed:
            again(pea, key + "b", "k" + key, f"after {said} {when}")
    time.sleep(1)
    got = [plain(letter) for letter in letters(server)[before:]]
    equal((len(got), len(set(got))), (len(cuts), len(cuts)), f"each once: {got}")
    relay.closed = True
    _, failed = pea.deliver("closed", ANN, "x")
    relay.closed = False
    equal(failed["class"], "not_sent", "nobody there")
    pea.kill()


def known_senders(server):
    """Cases 17 and 22: who says it is Ann and is not, programs, lists, ourselves."""
    book = Book()
    pea = started(server, book)
    server.swaks("--from", "eve@elsewhere.test", "--header", "From: Ann <ann@people.test>", "--header", "Subject: forged", "--body", "AAAA-BBBB")
    server.swaks("--from", "eve@elsewhere.test", "--header", "From: Ann <ann@people.test>", "--header", "Subject: more", "--body", "x", "--add-header",
                 "Authentication-Results: mx.test; dmarc=pass header.from=people.test")
    server.swaks("--from", "eve@elsewhere.test", "--header", "From: ann@people.test", "--header", "Subject: Your bank", "--body", "x", "--add-header",
                 "References: <root@people.test>")
    pea.until(lambda: len(book.order) == 3, 20, "it comes")
    before = len(letters(server))
    pea.deliver("forged", ANN, "text", thread="<root@people.test>")
    equal(wait(lambda: letters(server)[before:], "an answer")[0]["Subject"], "Re: your message", "no word of a forger's in a mail of ours")
    book.order.pop()
    server.swaks("--from", "ann@people.test", "--header", "From: Ann <ann@people.test>, eve@elsewhere.test", "--header", "Subject: two", "--body", "x")
    server.swaks("--from", "ann@people.test", "--header", "From: Ann <ann@elsewhere.test>", "--header", "Subject: other", "--body", "x")
    pea.until(lambda: len(book.order) == 4, 20, "four that nobody vouches for")
    assert all(event.get("unproven") for event in book.events.values()), book.events
    for fields in ({"Auto_Submitted": "auto-replied"}, {"List_Id": "<list.people.test>"}, {"Precedence": "bulk"}, {"X_Loop": AGENT},
                   {"Return_Path": "<>"}):
        server.say("a program", **fields)
    pea.until(lambda: len(book.order) == 9, 20, "five of programs")
    bots = [event for event in book.events.values() if event.get("bot")]
    # Return-Path is the server's to write: what a stranger says of it is not kept.
    equal(len(bots), 4, "of programs")
    server.swaks("--from", AGENT, "--header", f"From: {AGENT}", "--header", "Subject: me", "--body", "own")
    pea.until(lambda: len(book.order) == 10, 20, "one of our own")
    assert book.events[book.order[-1]].get("own"), book.events[book.order[-1]]
    _, failed = pea.deliver("1", AGENT, "a code")
    assert not failed
    pea.say("resolve", id="r", key="k1", conversation=AGENT, part=0)
    assert pea.answer("r", 15)[0], "what we write to ourselves is found"
    pea.run(2)
    equal(len(book.order), 10, "what we sent is no event")
    server.say("  K7M2 P4QX \n\n-- \nSent from my telephone", subject="pairing")
    server.say("Hi Thomas\n\nPlease read this.", subject="a greeting")
    server.say("/status\n\nSent from my telephone", subject="command")
    server.say("k7m2-p4qx", subject="typed by hand")
    pea.until(lambda: len(book.order) == 14, 20, "a code and a command")
    equal([text.strip() for text in book.texts()[-4:]], ["K7M2 P4QX", "Subject: a greeting\n\nHi Thomas\n\nPlease read this.", "/status", "k7m2-p4qx"],
          "alone")
    pea.kill()
    book = Book()
    pea = started(server, book, authserv=None)
    pea.until(lambda: pea.of("trouble"), 15, "without a name of the server it says so")
    assert "mx.test" in pea.of("trouble")[0]["text"], pea.of("trouble")
    server.say("hello")
    pea.until(lambda: book.order, 15, "it comes")
    assert book.events[book.order[0]].get("unproven"), "nobody vouches for anybody"
    pea.kill()


def bounces(server):
    """The server took it, and says later that it came nowhere; others say so too, and are not believed."""
    book = Book()
    pea = started(server, book)
    for number in range(2):
        sent, failed = pea.deliver(f"b{number}", "gone@people.test", "are you there?")
        assert sent and not failed, failed
        pea.until(lambda: pea.of("failed", key=f"kb{number}"), 20, "a bounce")  # noqa: B023
        frame = pea.of("failed", key=f"kb{number}")[0]
        equal((frame["id"], frame["class"]), (f"b{number}", "permanent"))
    assert "there is no such address (5.1.1)" in frame["error"], frame
    pea.until(lambda: len(book.order) == 2, 15, "the bounces themselves")
    assert all(book.events[key].get("bot") for key in book.order), book.events
    sent, _ = pea.deliver("fine", ANN, "this one arrives")
    real = [raw for raw in server.mails(AGENT) if b"report-type=delivery-status" in raw][-1]
    lost = next(line for line in real.split(b"\r\n") if line.startswith(b"Message-ID: <peacrab."))
    forged = real.replace(lost, b"Message-ID: " + sent[0]["platform"].encode())
    assert forged != real
    for sender in ("", "MAILER-DAEMON@mx.test", ANN):
        with smtplib.SMTP("127.0.0.1", server.ports["mx"]) as smtp:
            smtp.sendmail(sender, [AGENT], re.sub(rb"(?m)^(?:Return-Path|Delivered-To):.*\r\n", b"", forged))
    server.say("and now?")
    pea.until(lambda: len(book.order) == 3, 15, "what comes behind them: the store has the id of such a bounce already")
    pea.run(3)
    assert not pea.of("failed", key="kfine"), "a forged bounce was believed"
    server.append(real)  # told twice
    pea.until(lambda: len(pea.of("failed", key="kb1")) == 2, 15, "it says so again: the hub knows")
    equal(pea.stop(), 0)


def mailbox_changes(server):
    """Case 17: other UIDs, mails that vanish, one that has no Message-ID, the same one twice."""
    time.sleep(1.1)  # what came in an earlier second was not said to it
    book = Book()
    pea = started(server, book)
    for number in range(3):
        server.say(f"number {number}")
    server.say("without an id", Message_ID=None)
    pea.until(lambda: len(book.order) == 4, 20, "four")
    same = "<same@people.test>"
    server.say("the same", Message_ID=same)
    server.say("the same", Message_ID=same)
    server.say("the same from another", who="bob", Message_ID=same)
    pea.until(lambda: len(book.order) == 6, 20, "the same one is one, of another sender it is another")
    pea.until(lambda: sum(book.again.values()) == 1, 5, "it came twice")
    connection = server.box(AGENT)
    connection.select("INBOX")
    connection.store("1:2", "+FLAGS", "\\Deleted")
    connection.expunge()
    connection.logout()
    server.say("after the expunge")
    pea.until(lambda: len(book.order) == 7, 20, "it hears on")
    server.new_validity()
    server.say("under other numbers")
    server.imaps.cut()
    pea.until(lambda: len(book.order) == 8, 30, "what is new is taken")
    pea.until(lambda: sum(book.again.values()) > 3, 20, "all is told again")
    equal(len(set(book.texts())), len(book.texts()) , "nothing twice")
    pea.stop()
    server.new_validity()
    server.say("while it was away")
    pea = started(server, book)
    pea.until(lambda: len(book.order) == 9, 30, "what came meanwhile")
    pea.run(1)
    equal(counted(book, "while it was away", "under other numbers", "without an id"), [1, 1, 1], "each once")
    pea.kill()


TRUSTED = "Authentication-Results: mx.test; dmarc=pass header.from=people.test\r\nFrom: ann@people.test\r\n"


def hostile_mails(server):
    """Cases 17, 20, 24: a large one, names of files, what is no mail at all."""
    book = Book()
    pea = started(server, book)
    big = (TRUSTED + "Subject: big\r\nMessage-ID: <big@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nlook at this\r\n--b\r\n"
           "Content-Type: application/zip; name=\"../../../etc/big\u202e.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\n").encode()
    server.append(big + b"QUFB" * 19 * 270_000 + b"\r\n--b--\r\n")
    pea.until(lambda: book.order, 30, "a mail of 20 MB")
    event = book.events["<big@x> ann@people.test"]
    assert "look at this" in event["text"] and "were not looked at" in event["text"], event["text"]
    name = event["files"][0]["name"]
    assert "/" not in name and "\u202e" not in name, name
    assert 14_000_000 < event["files"][0]["size"] < 17_000_000, event["files"]
    odd = [b"", b"\r\n", b"\x00\xff" * 1000, b"From: \xff\xfe <\r\n\r\nx", b"Subject: " + b"=?utf-8?q?" * 5000 + b"\r\n\r\nx", b"X" * 300_000,
           TRUSTED.encode() + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 20000,
           TRUSTED.encode() + b"Content-Type: text/html\r\n\r\n" + b"<div>" * 60000, b"(" * 60000 + b": x\r\n\r\n",
           TRUSTED.encode() + b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B\x1b$B\xff\xff"]
    for raw in odd:
        try:
            server.append(raw)
        except AssertionError:
            pass  # the server itself does not take it
    server.say("still there")
    pea.until(lambda: counted(book, "still there") == [1], 30, "the next is taken")
    text = "_*[]()~>#+-=|{}.!<& </div><script> `x` \u202e \U0001F468\u200d\U0001F469 \n.\n..\nFrom me\n\n" + "```c\nint x; // " + "y" * 200 + "\n```\n"
    before = len(letters(server))
    _, failed = pea.deliver("odd", ANN, text)
    assert not failed, failed
    letter = wait(lambda: letters(server)[before:], "it arrives")[0]
    assert "<script>" not in letter.get_body(("html",)).get_content(), "text is text"
    for part in ("_*[]()~>#+-=|{}.!<&", "</div><script>", "\n.\n..\nFrom me", "int x; // " + "y" * 200):
        assert part in plain(letter), (part, plain(letter))
    assert max(len(line) for line in server.mails(ANN)[before].split(b"\r\n")) <= 200, "short lines"
    long = "\n\n".join(f"paragraph {number} " + "\u00e4\U0001F600" * 20 for number in range(1400))
    sent, failed = pea.deliver("long", ANN, long, 30)
    assert not failed and len(sent) > 1, failed
    parts = wait(lambda: len(letters(server)) >= before + 1 + len(sent) and letters(server)[before + 1:], "all parts", 20)
    whole = " ".join("\n".join(plain(part) for part in parts).split())
    equal(whole, " ".join(long.split()), "all of it, in order")
    assert parts[1]["Subject"].endswith(f"(2/{len(sent)})"), parts[1]["Subject"]
    for number, where in enumerate(("nobody", "a@b@c", "ann@people.test>\r\nRCPT TO:<bob@people.test", "ann@people.test, bob@people.test", "")):
        _, failed = pea.deliver(f"bad{number}", where, "x")
        equal(failed["class"], "permanent", where)
    equal(letters(server, "bob@people.test"), [], "nobody else gets anything")
    pea.kill()


def proxied(server):
    """Case 12: through a CONNECT proxy that cuts, refuses and is gone."""
    from connect_proxy import ConnectProxy
    proxy, book = ConnectProxy(), Book()
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SSL_CERT_FILE": str(server.run / "cert.pem"),
                   "HTTPS_PROXY": f"http://user:proxy-secret@127.0.0.1:{proxy.port}"}
    given = {"address": AGENT, "imap": f"127.0.0.1:{server.ports['imaps']}", "smtp": f"127.0.0.1:{server.ports['smtps']}", "authserv": "mx.test"}
    pea = ScriptedWarden([PEACRABD, "channel", "email"], book, given, {"token": PASSWORD}, environment)
    pea.until(lambda: book.cursor, 15, "hello")
    assert proxy.tunnels >= 2, "both servers are behind it"
    server.say("one")
    pea.until(lambda: len(book.order) == 1, 15, "through the tunnel")
    proxy.cut()
    server.say("two")
    pea.until(lambda: len(book.order) == 2, 20, "after a cut")
    proxy.refuse(502, 4)
    proxy.cut()
    server.say("three")
    pea.until(lambda: len(book.order) == 3, 40, "after four refusals")
    proxy.refuse(407, 1)
    _, failed = pea.deliver("1", ANN, "x")
    equal(failed["class"], "not_sent", "the proxy refuses")
    assert "proxy" in failed["error"] and "proxy-secret" not in failed["error"], failed
    pea.until(lambda: not proxy.refusals, 5)
    time.sleep(2.1)
    again(pea, "1b", "k1", "x")
    pea.stop()
    assert "proxy-secret" not in pea.stderr_text, "the proxy's password is not told"
    proxy.close()


def deaf(server):
    """Cases 12 and 17: a connection that is there and says nothing any more is not waited for for ever."""
    book = Book()
    pea = started(server, book)
    server.imaps.deaf = True
    server.say("into the silence")
    pea.until(lambda: pea.of("trouble"), 60, "it is noticed")
    server.imaps.deaf = False
    server.imaps.cut()
    pea.until(lambda: book.order, 60, "and got over")
    pea.kill()


def logins(server):
    """A password that is wrong, STARTTLS, servers without TLS, settings that are none."""
    for settings in ({"address": "nobody"}, {"imap": None}, {"smtp": "127.0.0.1:x"}, {"imap_tls": "maybe"}, {"imap": "mail.test:143", "imap_tls": "no"},
                     {"hourly": "0"}, {"authserv": "a b"}):
        pea = channel_on(server, Book(), **settings)
        equal(pea.wait(), 3, f"it stands down: {settings}")
        assert pea.of("trouble", **{"class": "auth"}), settings
    environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(server.run / "cert.pem")}
    given = {"address": AGENT, "imap": f"127.0.0.1:{server.ports['imaps']}", "smtp": f"127.0.0.1:{server.ports['smtps']}"}
    pea = ScriptedWarden([PEACRABD, "channel", "email"], Book(), given, {"token": "wrong-password"}, environment)
    equal(pea.wait(15), 3, "it stands down")
    assert "wrong-password" not in str(pea.frames) + pea.stderr_text and pea.of("trouble", **{"class": "auth"}), pea.frames
    pea = started(server, Book(), smtp=f"127.0.0.1:{server.ports['submission']}", smtp_tls="start")
    assert not pea.deliver("1", ANN, "by STARTTLS")[1]
    pea.kill()
    pea = channel_on(server, Book(), smtp=f"127.0.0.1:{server.ports['plain']}", smtp_tls="start")
    pea.until(lambda: pea.of("trouble"), 15, "a server that offers no TLS gets no password")
    assert not pea.hello, "it is not let in"
    pea.kill()
    pea = started(server, Book(), imap=f"127.0.0.1:{server.ports['imap']}", imap_tls="no")
    pea.kill()


def fetched(pea, id, handle, most=20_000_000):
    """The bytes of a file, or why it cannot be had."""
    pea.say("fetch", id=id, handle=handle, most=most)
    end = pea.until(lambda: pea.of("fetched", id=id), 30, "an end of the fetch")[0]
    whole = b"".join(base64.b64decode(frame["data"]) for frame in pea.of("data", id=id))
    assert "error" in end or end["size"] == len(whole), end
    return end.get("error") or whole


def deliver_file(pea, id, name, mime, content):
    """What a warden does of it: gives each piece that is wanted."""
    pea.say("deliver", id=id, key="k" + id, conversation=ANN, text="", file={"name": name, "mime": mime, "size": len(content), "kind": "file"})
    given = 0
    while not pea.of("sent", id=id) and not pea.of("failed", id=id):
        pea.until(lambda: len(pea.of("want", id=id)) > given or pea.of("sent", id=id) or pea.of("failed", id=id), 30, "a piece is wanted")  # noqa: B023
        for frame in pea.of("want", id=id)[given:]:
            given += 1
            piece = content[frame["at"]:frame["at"] + 400_000]
            pea.say("data", id=id, at=frame["at"], data=base64.b64encode(piece).decode())
    return (pea.of("failed", id=id) or [None])[0]


def files(server):
    """Files of mails, out and in again."""
    book = Book()
    pea = started(server, book)
    dice = random.Random(7)
    content = {"big.bin": dice.randbytes(3_000_001), "one": b"x", "empty": b"", "text.txt": b"line\r\nline = \xc3\xa4\r\n--b\r\n" * 100}
    letter = email.message.EmailMessage()
    letter["From"], letter["To"], letter["Subject"], letter["Message-ID"] = ANN, AGENT, "files", "<files@x>"
    letter.set_content("here they are")
    for name, data in content.items():
        letter.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    letter.add_attachment("caf\u00e9 = 1\n" * 20, filename="qp.txt", cte="quoted-printable")
    raw = letter.as_bytes(policy=email.policy.SMTP)
    # Small ones first: what begins behind the first megabyte is not looked at.
    server.append(b"Authentication-Results: mx.test; dmarc=pass header.from=people.test\r\n" + raw)
    pea.until(lambda: book.order, 20, "it arrives")
    event = book.events[book.order[0]]
    equal(event["files"][0]["name"], "big.bin", "the first")
    equal(fetched(pea, "big", event["files"][0]["handle"]), content["big.bin"], "all of it")
    assert "larger" in fetched(pea, "large", event["files"][0]["handle"], 1000), "no more than is wanted"
    letter = email.message.EmailMessage()
    letter["From"], letter["To"], letter["Message-ID"] = ANN, AGENT, "<small@x>"
    letter.set_content("small ones")
    for name in ("one", "empty", "text.txt"):
        letter.add_attachment(content[name], maintype="application", subtype="octet-stream", filename=name)
    letter.add_attachment("caf\u00e9 = 1\n" * 20, filename="qp.txt", cte="quoted-printable")
    server.append(b"Authentication-Results: mx.test; dmarc=pass header.from=people.test\r\n" + letter.as_bytes(policy=email.policy.SMTP))
    pea.until(lambda: len(book.order) == 2, 20, "the next")
    handles = {file["name"]: file["handle"] for file in book.events[book.order[1]]["files"]}
    for name in ("one", "empty", "text.txt"):
        equal(fetched(pea, name, handles[name]), content[name], name)
    equal(fetched(pea, "qp", handles["qp.txt"]).decode().split(), ("caf\u00e9 = 1\n" * 20).split(), "quoted-printable")
    for number, handle in enumerate(("", "1", "x y z - b", "1 1 0 b b", handles["one"].replace(" ", " 9", 1), "9" * 4000, "0 0 0 b ")):
        assert isinstance(fetched(pea, f"bad{number}", handle), str), handle
    before = len(letters(server))
    equal(deliver_file(pea, "out", "r\u00e9sum\u00e9 \"1\".bin", "application/x-thing", content["big.bin"]), None, "it goes out")
    got = wait(lambda: letters(server)[before:], "it arrives")[0]
    attached = list(got.iter_attachments())[0]
    equal((attached.get_filename(), attached.get_content_type()), ("r\u00e9sum\u00e9 \"1\".bin", "application/x-thing"), "its name")
    equal(attached.get_content(), content["big.bin"], "and all of it")
    equal(deliver_file(pea, "odd", "x\r\nBcc: bob@people.test", "text/html\r\nX: y", b"<p>"), None, "it goes out")
    got = wait(lambda: letters(server)[before + 1:], "it arrives")[0]
    equal((got["Bcc"], list(got.iter_attachments())[0].get_content_type(), letters(server, "bob@people.test")),
          (None, "application/octet-stream", []), "names are names")
    pea.kill()


def on_scripted(server, book, secret=PASSWORD, **settings):
    given = {"address": AGENT, "imap": f"127.0.0.1:{server.ports['imap']}", "smtp": f"127.0.0.1:{server.ports['smtp']}", "imap_tls": "no",
             "smtp_tls": "no", "authserv": "mx.test", "settle": "3", "poll": "2", **settings}
    return ScriptedWarden([PEACRABD, "channel", "email"], book, given, {"token": secret}, {"PATH": os.environ["PATH"]})


def from_ann(text, ident):
    return (TRUSTED + f"Message-ID: <{ident}@x>\r\n\r\n{text}\r\n").encode()


def bad_imap(_):
    """What no server should say. It is cut off, and heard again when it has come to its senses."""
    server, book = ScriptedMail(), Book()
    pea = on_scripted(server, book)
    pea.until(lambda: book.cursor, 15, "hello")
    server.arrive(from_ann("p9 OK done\r\n* BYE\r\np5 OK [READ-WRITE] x", "literal"))
    pea.until(lambda: book.order, 10, "what a mail says is no answer of the server")
    assert "p9 OK done\n* BYE\np5 OK" in book.texts()[0], book.texts()
    bad = {
        "huge literal": {"UID FETCH": b"* 1 FETCH (UID 2 BODY[] {4294967295}\r\n"},
        "absurd literal": {"UID FETCH": b"* 1 FETCH (UID 2 BODY[] {99999999999999999999}\r\n"},
        "negative literal": {"UID FETCH": b"* 1 FETCH (UID 2 BODY[] {-1}\r\nTAG OK\r\n"},
        "many literals": {"UID FETCH": b"* 1 FETCH (" + b"BODY[] {1}\r\nx " * 3000 + b")\r\nTAG OK done\r\n"},
        "a line without an end": {"UID SEARCH": b"* SEARCH " + b"1 " * 1_500_000},
        "lines without an end": {"UID SEARCH": b"* OK x\r\n" * 50_000},
        "not IMAP": {"UID SEARCH": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
        "no search": {"UID SEARCH": b"TAG NO not today\r\n"},
        "bye": {"UID SEARCH": b"* BYE tired\r\n"},
        "no mailbox": {"SELECT": b"TAG NO no such mailbox\r\n"},
        "no validity": {"SELECT": b"* 1 EXISTS\r\nTAG OK done\r\n"},
        "a cut": {"UID SEARCH": False},
        "no idle": {"IDLE": b"TAG BAD what\r\n"},
        "numbers": {"UID SEARCH": b"* SEARCH 0 -1 99999999999999 4294967296 x\r\nTAG OK done\r\n"},
    }
    for number, (what, answers) in enumerate(bad.items()):
        server.imap = {command: (lambda _, __, answer=answer: answer) for command, answer in answers.items()}
        server.arrive(from_ann(f"after {what}", f"n{number}"))
        server.cut()
        pea.run(0.8)
        assert pea.process.poll() is None, what
        server.imap = {}
        pea.until(lambda: any(f"after {what}" in text for text in book.texts()), 30, what)  # noqa: B023
    equal(len(set(book.order)), len(bad) + 1, "each mail")
    used = int(pathlib.Path(f"/proc/{pea.process.pid}/statm").read_text().split()[1]) * 4096
    assert used < 60_000_000, f"{used} bytes of memory"
    pea.kill()


def poison(_):
    """Case 20: a mail that ends the connection each time. The next ones come, and it is told of."""
    server, book = ScriptedMail(), Book()
    pea = on_scripted(server, book)
    pea.until(lambda: book.cursor, 15, "hello")
    server.imap["UID FETCH"] = lambda _, line: False if b"FETCH 1 " in line and b"HEADER" not in line else None
    server.arrive(from_ann("poison", "poison"))
    server.arrive(from_ann("after it", "next"))
    pea.until(lambda: len(book.order) == 2, 60, "the next comes")
    assert "did not hand this mail over" in book.texts()[0] and "after it" in book.texts()[1], book.texts()
    server.imap["UID FETCH"] = lambda _, line: False if b"FETCH 3 " in line else None
    server.arrive(from_ann("worse", "worse"))
    server.arrive(from_ann("after that", "last"))
    pea.until(lambda: len(book.order) == 3, 90, "and when nothing of it can be had")
    pea.kill()


def logins_that_fail(_):
    """Tokens, and a login that is refused for a while."""
    server, book = ScriptedMail(), Book()
    pea = on_scripted(server, book, "oauth-token-1", login="token")
    pea.until(lambda: book.cursor, 15, "hello")
    for login in (server.logins[0], server.logins[-1]):
        equal(server.bearer(login), f"user={AGENT}\x01auth=Bearer oauth-token-1\x01\x01", "its token")
    server.refuse = 2
    server.cut()
    server.arrive(from_ann("later", "later"))
    pea.until(lambda: book.order, 30, "it was good before: it is tried again")
    server.refuse = 100
    server.cut()
    equal(pea.wait(30), 3, "not for ever")
    assert server.refuse > 95, "nor often"
    server.refuse = 100
    pea = on_scripted(server, Book())
    equal(pea.wait(15), 3, "never good: not again")
    equal(server.refuse, 99, "once")


def bad_smtp(_):
    """What the server for sending says, and what it means."""
    server, book = ScriptedMail("IMAP4rev1 AUTH=PLAIN"), Book()
    pea = on_scripted(server, book)
    pea.until(lambda: book.cursor, 15, "hello, and without IDLE")
    server.arrive(from_ann("polled", "polled"))
    pea.until(lambda: book.order, 10, "it looks by itself")
    answers = {
        "rcpt later": ({"RCPT TO": b"450 4.2.0 greylisted\r\n"}, "transient"),
        "rcpt never": ({"RCPT TO": b"550-no\r\n550 5.1.1 such person\r\n"}, "permanent"),
        "from never": ({"MAIL FROM": b"553 not you\r\n"}, "permanent"),
        "data later": ({"DATA": b"452 full\r\n"}, "transient"),
        "data never": ({"DATA": b"554 no\r\n"}, "permanent"),
        "mail later": ({"end": b"451 later\r\n"}, "transient"),
        "mail never": ({"end": b"554 5.7.1 spam\r\n"}, "permanent"),
        "closing": ({"RCPT TO": b"421 going down\r\n"}, "not_sent"),
        "greeting": ({"greeting": b"554 no\r\n"}, "not_sent"),
        "garbage": ({"MAIL FROM": b"hello?\r\n"}, "not_sent"),
        "a long line": ({"MAIL FROM": b"250 " + b"x" * 100_000 + b"\r\n"}, "not_sent"),
        "lines without an end": ({"MAIL FROM": b"250-x\r\n" * 10_000}, "not_sent"),
        "garbage at the end": ({"end": b"what\r\n"}, "unknown"),
    }
    for what, (given, kind) in answers.items():
        server.smtp = {command: (lambda _, __, answer=answer: answer) for command, answer in given.items()}
        _, failed = pea.deliver(what, ANN, "x")
        equal(failed and failed["class"], kind, what)
        if kind in ("not_sent", "unknown"):
            time.sleep(2.1)
    server.smtp = {"RCPT TO": lambda _, line: b"550 not you\r\n" if AGENT.encode() in line else None}
    equal(pea.deliver("no copy", ANN, "x")[1], None, "without a copy it goes out all the same")
    server.smtp, server.sent = {}, []
    pea.deliver("here", ANN, "x", thread="<root@x>\r\nBcc: eve@x", reply_to="<a@b>\r\nBcc: eve@x")
    assert b"Bcc" not in server.sent[0] and b"eve" not in server.sent[0], server.sent
    pea.kill()
    pea = on_scripted(server, Book(), hourly="3")
    pea.until(lambda: pea.hello, 15, "hello")
    kinds = [(pea.deliver(f"many {number}", ANN, "x")[1] or {}).get("class") for number in range(5)]
    equal(kinds, [None, None, None, "throttled", "throttled"], "so many an hour")
    equal(pea.deliver("other", "bob@people.test", "x")[1], None, "to others it goes on")
    pea.kill()
    if FULL:
        server.smtp = {"end": lambda session, _: session.lines.readline() and None}
        pea = on_scripted(server, Book())
        pea.until(lambda: pea.hello, 15, "hello")
        _, failed = pea.deliver("stall", ANN, "x", 60)
        equal(failed["class"], "unknown", "a server that says nothing")
        pea.kill()


class Home:
    """A person's, with the configuration and secrets in it."""

    def __init__(self, server):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SSL_CERT_FILE": str(server.run / "cert.pem"),
                            **{f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "STATE", "CACHE")}}
        for name in ("config", "state", "cache"):
            (self.folder / name).mkdir()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words, given=""):
        return subprocess.run([PEACRAB, *words], input=given, env=self.environment, capture_output=True, text=True, timeout=120)


def set_up(server):
    """`channel add email`: from a pipe, and at a terminal with its questions; each ends with a mail that was found."""
    place = [f"imap=127.0.0.1:{server.ports['imaps']}", f"smtp=127.0.0.1:{server.ports['smtps']}", "authserv=mx.test", "settle=4"]
    with Home(server) as home:
        done = home.run("channel", "add", "email", f"address={AGENT}", *place, given="wrong-password")
        assert done.returncode != 0 and "not let in" in done.stderr and "nothing was kept" in done.stderr, done.stderr
        assert not list(home.folder.rglob("channel-email")) and "email" not in home.run("channel", "ls").stdout, "nothing was kept"
        both = lambda: letters(server, AGENT, "Sent") + letters(server, AGENT)  # noqa: E731
        before = {letter["Message-ID"] for letter in both()}
        done = home.run("channel", "add", "email", f"address={AGENT}", *place, given=PASSWORD)
        assert done.returncode == 0 and "sent itself a message and found it" in done.stderr, done.stderr
        trial = [letter for letter in both() if letter["Message-ID"] not in before]
        assert len(trial) == 1 and "Code " in plain(trial[0]), "the trial is in the mailbox"
        assert PASSWORD not in done.stdout + done.stderr, "the password is not told"
        config = (home.folder / "config/peacrab/config.yaml").read_text()
        assert f"address: {AGENT}" in config and PASSWORD not in config, config
        assert "never connected" in home.run("channel", "ls").stdout, "the trial leaves no trace"
        equal(home.run("channel", "rm", "email").returncode, 0, "it goes again")
        for words in (["address"], ["=x"], ["listens=true"], ["A=b"]):
            assert home.run("channel", "add", "email", *words, given=PASSWORD).returncode != 0, words
    with Home(server) as home:
        screen = Terminal([str(PEACRAB), "channel", "add", "office", "type=email", "settle=4"], home.environment)
        for question, answer in (("mail address", AGENT), ("receiving, host or host:port [imap.mail.test]", f"127.0.0.1:{server.ports['imaps']}"),
                                 ("sending, host or host:port [smtp.mail.test]", f"127.0.0.1:{server.ports['smtps']}"), ("calls itself", "mx.test"),
                                 (f"Password of {AGENT}", PASSWORD)):
            screen.expect(question)
            screen.type(answer + "\r")
        screen.expect("found it", 60)
        screen.close()
        assert "type: email" in (home.folder / "config/peacrab/config.yaml").read_text(), "of that type"


def run(case, server=None):
    """Whether it passed."""
    began = time.monotonic()
    try:
        case(server)
    except (AssertionError, OSError, KeyError, IndexError, TypeError):
        print(f"FAILED  {case.__name__}\n{traceback.format_exc()}{server.logs()[-3000:] if server and os.environ.get('LOGS') else ''}", flush=True)
        return False
    print(f"passed  {case.__name__} {time.monotonic() - began:.1f} s", flush=True)
    return True


def main():
    lacks, only = what_lacks(), sys.argv[1:]
    chosen = lambda cases: [case for case in cases if not only or case.__name__ in only]  # noqa: E731
    alone = chosen([bad_smtp, logins_that_fail, bad_imap] + FULL * [poison])  # each with a server of its own
    real = chosen([talks, known_senders, bounces, mailbox_changes, killed, cut_while_sent, hostile_mails, files, logins, set_up] + FULL * [proxied, deaf])
    with ThreadPoolExecutor(4) as beside:
        others = [beside.submit(run, case) for case in alone]
        server = None if lacks else MailServer(people=("ann", "bob"))
        try:
            passed = [run(case, server) for case in real if server]
        finally:
            if server:
                server.close()
        passed += [other.result() for other in others]
    if lacks and all(passed):
        print(f"only on servers of ours: {lacks}")
        sys.exit(77)
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
