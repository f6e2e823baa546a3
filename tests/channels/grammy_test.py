#!/usr/bin/env python3
# timeout: 60
"""The emulator of Telegram is one to grammY, the library most bots are written with: a bot of its kind works on it,
and is told what Telegram would tell it.
"""
import hashlib
import pathlib
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import npm_packages  # noqa: E402
from telegram_server import TelegramServer  # noqa: E402

TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
CRAB = "\U0001f980"


class GrammyBot:
    def __init__(self, server):
        self.process = npm_packages.start(ROOT / "tests/support/grammy_bot.cjs", TOKEN=TOKEN, API=server.url)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(line.strip() for line in self.process.stdout))
        self.reader.start()
        server.until(lambda: self.lines, 20, "a word of the bot")
        assert self.lines[0] == "started pea_bot", self.lines

    def end(self, server):
        self.process.terminate()
        self.process.wait(15)
        self.reader.join(5)
        assert self.lines[-1] == "stopped", self.lines
        server.until(lambda: not server.polling())


def main():
    npm_packages.need("grammy")
    server = TelegramServer()
    server.bot(TOKEN)
    server.group(-100, "Team")
    server.group(-1009, "Forum", forum=True)
    server.topic(-1009, 7)
    server.group(-200, "Moved")
    server.migrate(-200, -1200)
    server.block(66)
    users = iter(range(1000, 2000))
    bot = GrammyBot(server)
    checks = 0

    def answers(text, *wanted, chat=None, **extra):
        nonlocal checks
        chat = chat or next(users)
        before = len(server.seen(chat))
        server.say(chat, 7, text, **extra)
        server.until(lambda: len(server.seen(chat)) >= before + len(wanted), 15, f"an answer to {text}")
        got = server.seen(chat)[before:]
        assert got == list(wanted), f"{text}: wanted {wanted}, got {got}"
        checks += 1

    refused = "refused 400 Bad Request: can't parse entities: "
    answers(f"/echo {CRAB} grüße", f"{CRAB} grüße")
    answers("just this", "heard just this")
    answers("/html <b>x &amp; <i>y</i></b> <a href=\"https://a.b/?c&d\">z</a>", "x & y z", "done x & y z")
    answers("/html <b>never closed", refused + "Can't find end tag corresponding to start tag \"b\" {}")
    answers("/html <b><i>x</b></i>", refused + "Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\" {}")
    answers("/html 1 <script>", refused + "Unsupported start tag \"script\" at byte offset 2 {}")
    answers("/html é < 3", refused + "Unsupported start tag \"\" at byte offset 3 {}")
    answers("/html <b> </b>", "refused 400 Bad Request: message text is empty {}")
    answers("/long 2040", CRAB * 2040, f"done {CRAB * 2040}")
    answers("/long 2049", "refused 400 Bad Request: message is too long {}")
    answers("/edit third", "third", "done third")
    answers("/edit second", "second", "refused 400 Bad Request: message is not modified: specified new message content "
                                      "and reply markup are exactly the same as a current content and reply markup of "
                                      "the message {}")
    answers("/to 66", "refused 403 Forbidden: bot was blocked by the user {}")
    answers("/to -999", "refused 400 Bad Request: chat not found {}")
    answers("/to -200", "refused 400 Bad Request: group chat was upgraded to a supergroup chat "
                        "{\"migrate_to_chat_id\":-1200}")
    answers("/type", "done true")
    answers("hello @pea_bot and @you_too", "mentioned @pea_bot @you_too", chat=-100)
    answers("/echo@pea_bot x", "x", chat=-100)
    answers("/echo@other_bot x", "heard /echo@other_bot x", chat=-100)
    answers("@pea_bot", "mentioned @pea_bot", chat=-1009, message_thread_id=7, is_topic_message=True)
    assert server.seen(-1009, 7) == ["mentioned @pea_bot"]
    said = server.say(50, 7, "one")
    server.until(lambda: server.seen(50) == ["heard one"])
    server.edit(50, said["message_id"], "two")
    server.until(lambda: server.seen(50)[1:] == ["edited to two"])
    server.album(51, 7, 3, "three")
    server.until(lambda: server.seen(51) == ["media of an album"] * 3)

    # Buttons: what the library puts below a message, and hears of a press.
    for chat, kind in ((next(users), "private"), (-100, "group")):
        answers("/choose keep drop", "which?", "done keep drop", chat=chat)
        asked = [one for one in server.chats[chat].messages.values() if one.get("reply_markup")][-1]
        for data, before in (("keep", "which?"), ("drop", f"User 7 in {kind}: keep of which?")):
            query = server.press(chat, 7, asked["message_id"], f"to {data}")
            wanted = f"User 7 in {kind}: {data} of {before}"
            server.until(lambda asked=asked, wanted=wanted: asked["text"] == wanted, 10, asked["text"])
            assert server.queries[query["id"]]["answered"] == 1 and ("reply_markup" in asked) == (data == "keep"), asked
            checks += 1
    answers(f"/choose {'x' * 64} y", "which?", f"done {'x' * 64} y")
    answers(f"/choose {'x' * 65}", "refused 400 Bad Request: BUTTON_DATA_INVALID {}")
    server.query_seconds = 0
    server.press(chat, 7, asked["message_id"], "gone")
    late = "late Bad Request: query is too old and response timeout expired or query ID is invalid"
    server.until(lambda: late in bot.lines and asked["text"].startswith("User 7 in group: gone"), 10, bot.lines)
    server.query_seconds = 15

    # Files: up by InputFile, down by getFile and its address.
    for kind, size in (("document", 300_000), ("photo", 500), ("voice", 70)):
        chat = next(users)
        answers(f"/file {kind} {size}", "done [object Object]", chat=chat)
        got = server.received(chat)
        assert len(got) == 1 and got[0][0] == kind and got[0][2].endswith(b"x" * size), [each[:2] for each in got]
    answers("/file document 0", "refused 400 Bad Request: file must be non-empty {}")
    data = bytes(range(256)) * 4000
    for data in (data, b"", bytes((20 << 20) + 1), None):
        chat = next(users)
        server.document(chat, 7, data)
        wanted = ("refused 400 Bad Request: file is too big" if data and len(data) > 20 << 20 else
                  "got 404 undefined" if data is None else f"got 200 {len(data)} {hashlib.sha256(data).hexdigest()}")
        server.until(lambda chat=chat: server.seen(chat), 15, "a word about the file")
        assert server.seen(chat)[0].startswith(wanted), server.seen(chat)
        checks += 1

    server.fault("sendMessage", "429", chat=60, value=3)
    answers("/to 60", 'refused 429 Too Many Requests: retry after {"retry_after":3}')
    server.know(60)
    server.fault("sendMessage", "cut", chat=60)
    answers("/to 60", "no answer")
    assert server.seen(60) == ["hello"], "what was cut has been done"
    server.fault("sendMessage", "502", chat=60)
    answers("/to 60", "no answer")
    for fault in ("502", "truncated", "cut"):
        server.fault("getUpdates", fault)
        answers(f"through {fault}", f"heard through {fault}")

    # What was confirmed is not told again; what came meanwhile is.
    bot.end(server)
    server.say(52, 7, "while it was away")
    bot = GrammyBot(server)
    server.until(lambda: server.seen(52) == ["heard while it was away"])
    assert server.seen(50) == ["heard one", "edited to two"]

    # Two with one token: grammY gives up on 409.
    other = npm_packages.start(ROOT / "tests/support/grammy_bot.cjs", TOKEN=TOKEN, API=server.url)
    server.until(lambda: 4 in (bot.process.poll(), other.poll()), 20, "the end of one of the two")
    if bot.process.poll() is None:
        ended = other.stdout.read().splitlines()[-1]
    else:
        bot.reader.join(5)
        ended = bot.lines[-1]
    assert ended.startswith("ended 409 Conflict: terminated by other getUpdates request"), ended
    for process in (bot.process, other):
        process.terminate()
        process.wait(15)
    server.close()
    print(f"grammY: {checks} answers and {len(server.log)} calls as on Telegram")


if __name__ == "__main__":
    main()
