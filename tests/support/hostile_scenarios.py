"""What the dialects of the hostile endpoint share: how a request is read, and the scenarios that mean
the same on every wire.

A dialect is a module with `Stream` (an answer, piece by piece), `check_request`, `history` (what a request
says of calls and results), `error_body`, `whole`, `NOISE` and `SCENARIOS`. A scenario takes an Exchange.
"""
import gzip
import json
import re

WORD = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
NOTE = "echo note-$((6*7))"  # what the scenarios with a tool ask to run
DRAW = r"printf '\211PNG\r\n\032\n\0\0\0\015IHDR\0\0\0\001\0\0\0\001\010\0\0\0\0' >dot.png"
DRAWN = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"  # the same, as a request has it


class Bad(Exception):
    """One violation."""


def need(condition, what):
    if not condition:
        raise Bad(what)


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    need(len(keys) == len(set(keys)), f"a key stands twice: {keys}")
    return dict(pairs)


def no_constant(word):
    raise Bad(f"{word} is no JSON")


def strict_json(text):
    return json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant)


def read_request(method, headers, body):
    """The parsed body of what is demanded of every request, whatever the dialect."""
    names = [name for name, _ in headers]
    need(method == "POST", f"method {method}")
    for name in ("x-api-key", "authorization", "anthropic-version", "content-type", "content-length", "host"):
        need(names.count(name) <= 1, f"header {name} stands twice")
    need(dict(headers).get("content-type") == "application/json", "content-type is not application/json")
    need("expect" not in names, "an Expect header")
    need("cookie" not in names, "a cookie")
    try:
        request = strict_json(body.decode("utf-8"))
        json.dumps(request, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        raise Bad(f"the body is no JSON in UTF-8: {error}") from error
    need(isinstance(request, dict), "the body is no object")
    need(isinstance(request.get("model"), str) and request["model"], "no model")
    need(request.get("stream") is True, "no stream is asked for")
    return request


def only(value, keys, what):
    """`value` is an object and has none but these keys."""
    need(isinstance(value, dict), f"{what} is no object")
    need(set(value) <= set(keys), f"unknown keys in {what}: {sorted(set(value) - set(keys))}")


def said(text, what):
    need(isinstance(text, str) and text.strip(), f"{what} is blank")


def whole_number(value, least=1):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_bearer(headers):
    values = dict(headers)
    need(re.fullmatch(r"Bearer [!-~]+", values.get("authorization", "")), "no authorization: Bearer KEY")
    need("x-api-key" not in values, "a second credential: x-api-key")
    need("anthropic-version" not in values, "a header of another dialect: anthropic-version")


def check_functions(functions, keys):
    """The description of functions, as both of OpenAI's dialects have it."""
    names = [function.get("name") for function in functions]
    need(functions and len(set(names)) == len(names), "no tool, or two of one name")
    for function in functions:
        only(function, keys, "a function")
        need(WORD.match(str(function.get("name"))), f"bad tool name {function.get('name')!r}")
        said(function.get("description"), "the description of a tool")
        parameters = function.get("parameters")
        need(isinstance(parameters, dict) and parameters.get("type") == "object", "parameters that are no object")
        # Source: the guide to function calling, "strict mode".
        properties = parameters.get("properties", {})
        need(function.get("strict") is not True or (parameters.get("additionalProperties") is False and
                                                    sorted(parameters.get("required", [])) == sorted(properties)),
             "a strict tool whose schema is not: additionalProperties false, all properties required")


def check_call(name, arguments):
    need(WORD.match(str(name)), f"bad tool name {name!r}")
    need(isinstance(arguments, str), "arguments are no string")
    try:
        need(isinstance(strict_json(arguments), dict), "arguments are no JSON object")
    except ValueError as error:
        raise Bad(f"arguments are no JSON: {arguments[:80]!r}") from error


IMAGE = re.compile(r"https?://\S+|data:image/(?:png|jpeg|gif|webp);base64,(?:[A-Za-z0-9+/]{4})*"
                   r"(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def check_image(url):
    need(isinstance(url, str) and IMAGE.fullmatch(url), f"no image: {str(url)[:60]!r}")


def pieces(text, length=5):
    return [text[at:at + length] for at in range(0, len(text), length)]


class Stream:
    """An answer as it grows; each dialect says what the pieces are on its wire. Reasons to end:
    "stop", "tools", "length", or a word of the dialect's own."""

    def __init__(self, *begin):
        self.parts, self.next = list(begin), 0

    def raw(self, *events):
        self.parts += events
        return self

    def place(self, index):
        """Where the next block goes: after the last one, unless `index` says otherwise."""
        at = self.next if index is None else index
        self.next = at + 1
        return at

    def shell(self, ident="call_1", command=NOTE, index=None):
        return self.call(ident, json.dumps({"command": command}), index=index)

    def __str__(self):
        return "".join(self.parts)


def joined_lines(events):
    """Each event's JSON spread over several data lines."""
    return re.sub(r", \"", ",\ndata: \"", events)


def between(noise, events):
    """`noise` before each event but the first."""
    first, *others = events.split("\n\n")[:-1]
    return first + "\n\n" + "".join(f"{noise}{event}\n\n" for event in others)


def flood(exchange, status):
    exchange.head(status, "text/event-stream" if status == 200 else "application/json", Connection="close")
    piece = b": " + b"x" * 65533 + b"\n"
    for _ in range(4096):  # 256 MiB
        exchange.raw(piece)
    exchange.drop()


def with_tools(stream):
    """First this answer, then, when the results come, what they were."""
    return lambda x: x.answer() if x.results else x.stream(stream)


def once(first, fine):
    return lambda x: first(x) if x.count == 1 else x.stream(fine)


def too_long(dialect, refuse, most=40_000, last=30):
    """Work without end, refused as soon as a request has more than `most` bytes; who makes it shorter may go
    on, and is asked at the end whether what was said at the beginning is still there."""
    def answer(x):
        text = json.dumps(x.request, ensure_ascii=False)
        if not x.request.get("tools"):
            need_summary = "seq 1000" in text or "SO FAR" in text
            return x.stream(dialect.Stream().text("SO FAR: lines were counted").end()) if need_summary else (
                x.violation("a summary of nothing is asked for"), x.error(401))
        if len(text) > most:
            return refuse(x)
        if x.count < last:
            step = dialect.Stream().shell(f"call_{x.count}", f"seq {x.count}000 {x.count}399")
            return x.stream(step.end("tools"))
        for part in ("SO FAR: lines were counted", "what is up?"):
            if part not in text:
                x.violation(f"after a summary there is no '{part}' any more")
        return x.stream(dialect.Stream().text("All is wéll.").end())
    return answer


def never_fits(dialect, steps=12, most=30):
    """Work, and then whatever is sent is too long: who makes it shorter again and again pays for it."""
    def answer(x):
        if x.count > most:
            x.violation("it is asked again and again")
        if not x.request.get("tools"):
            return x.stream(dialect.Stream().text("SO FAR: lines were counted").end())
        if x.count > steps:
            return x.error(400, "prompt is too long")
        step = dialect.Stream().shell(f"call_{x.count}", f"seq {x.count}000 {x.count}399")
        return x.stream(step.end("tools"))
    return answer


def redirect(x):
    port = x.handler.server.server_address[1]
    x.whole(307, b"", "text/plain", Location=f"http://localhost:{port}/stolen{x.path}")


def shared(dialect):
    """The scenarios of every dialect, on the wire of this one."""
    new = dialect.Stream
    start, begun = str(new()), str(new().text("All ", "is wéll."))
    hello = str(new().text("All ", "is wéll.").end())
    note = str(new().shell().end("tools"))
    ran = json.dumps({"command": "echo ran-it >ran"})
    half = '{"command": "echo ran-it'
    llama_full = json.dumps({"code": 400, "message": "exceeds the context", "type": "exceed_context_size_error",
                             "n_prompt_tokens": 11000, "n_ctx": 10000})

    def two_calls(x):
        if not x.made:
            x.stream(note)
        elif x.made == 1:
            x.stream(new().text("and more").shell("call_2", "id -u").end("tools"))
        else:
            x.answer()

    def loop(x):
        """The same call for ever: from the third on its result says so."""
        if x.results and ("times in a row" in x.results[-1]) != (x.made >= 3):
            x.violation(f"after {x.made} calls the result is: {x.results[-1][-200:]}")
        x.stream(new().shell(f"call_{x.made}").end("tools"))

    def id_again(x):
        """A server that begins to count its ids anew with each answer."""
        if x.made < 2:
            x.stream(new().shell("call_0", f"echo {x.made}").end("tools"))
        else:
            x.answer()

    def picture(refuse=None):
        """A picture is drawn and read; a server may refuse what it is shown."""
        def answer(x):
            there = DRAWN in json.dumps(x.request)
            if not x.made:
                x.stream(new().shell("call_0", DRAW).end("tools"))
            elif x.made == 1:
                x.stream(new().call("call_1", json.dumps({"path": "dot.png"}), "read").end("tools"))
            elif there and refuse:
                refuse(x)
            else:
                x.stream(new().text("I see a picture." if there else "I see none: " + x.results[-1][-80:]).end())
        return answer

    def two(first="call_a", second="call_b", places=(None, None)):
        return with_tools(new().shell(first, index=places[0]).shell(second, "echo two", index=places[1]).end("tools"))

    def one(arguments, reason="tools", name="shell", given=None):
        return with_tools(new().call("call_a", arguments, name, given).end(reason))

    return {
        # What a healthy server may do.
        "ok": lambda x: x.stream(hello),
        "tool": with_tools(note),
        "two-calls": two_calls,
        "parallel": with_tools(new().shell("call_a", "echo one").shell("call_b", "echo two").end("tools")),
        "text-and-tool": with_tools(new().text("first ").shell().end("tools")),
        "bytewise": lambda x: x.stream(hello, 1),
        "crlf": lambda x: x.stream(hello.replace("\n", "\r\n"), 7),
        "cr": lambda x: x.stream(hello.replace("\n", "\r"), 3),
        "bom": lambda x: x.stream("\ufeff" + hello, 2),
        "no-space": lambda x: x.stream(hello.replace("data: ", "data:").replace("event: ", "event:")),
        "multi-line": lambda x: x.stream(joined_lines(hello)),
        "comments": lambda x: x.stream(": hi\n\n" + between(": between\nid: 4\nretry: 9\n", hello)),
        "pings": lambda x: x.stream(between(dialect.NOISE, hello)),
        "gzip": lambda x: x.whole(200, gzip.compress(hello.encode()), "text/event-stream", Content_Encoding="gzip"),
        "8mb-event": lambda x: x.stream(new().text("big: " + "x" * (8 << 20)).end(), 1 << 16),
        "50000-events": lambda x: x.stream(new().text(*["x"] * 50000).end(), 1 << 16),
        "end-twice": lambda x: x.stream(hello + hello[len(begun):] + "data: [DONE]\n\n"),
        "no-final-blank": lambda x: x.stream(hello[:-2]),
        "no-eof": lambda x: (x.head(), x.raw(hello), x.hang()),
        "reset-after-end": lambda x: (x.head(Content_Length=10**7), x.raw(hello), x.drop(reset=True)),
        "json": lambda x: x.whole(200, dialect.whole(text="All is wéll.")),
        "json-tool": lambda x: x.answer() if x.results else x.whole(200, dialect.whole(command=NOTE)),
        "max-tokens": lambda x: x.stream(new().text("a part").end("length")),
        "picture": picture(),
        "no-pictures": picture(lambda x: x.error(400, "messages.2: images are not supported")),
        "no-pictures-500": picture(lambda x: x.error(500, "image input is not supported - hint: mmproj")),
        # What local servers do.
        "bad-utf8": lambda x: x.stream(hello.encode().replace("é".encode(), b"\xff")),
        "index-gap": two(places=(2, 5)),
        "same-index": two(places=(0, 0)),
        "no-id": two("", ""),
        "bad-id": with_tools(new().shell("sp ace/\x1b[2J" + "x" * 99).end("tools")),
        "same-id": two("same", "same"),
        "id-again": id_again,
        "object-input": one("", given={"command": NOTE}),
        # Calls that must not run.
        "empty-input": one(""),
        "bad-input": one(half),
        "cut-call": one(half, "length"),
        "cut-call-empty": one("", "length"),
        "unknown-tool": one("{}", name="../sh"),
        "error-after-tool": lambda x: x.stream(new().call("call_a", ran).broken()),
        "cut-after-tool": lambda x: x.cut(new().call("call_a", ran)),
        "unknown-stop": lambda x: x.stream(new().call("call_a", ran).end("because")),
        "loop": loop,
        # Failures that pass.
        "529-once": once(lambda x: x.error(529), hello),
        "429-once": once(lambda x: x.error(429, retry_after="1"), hello),
        "500-once": once(lambda x: x.error(500), hello),
        "cut-once": once(lambda x: x.cut(begun[:-20]), hello),
        "cut-inside-once": once(lambda x: x.cut(hello[:len(begun) + 40]), hello),
        "reset-once": once(lambda x: x.drop(reset=True), hello),
        "abort-once": once(lambda x: (x.head(Transfer_Encoding="chunked"), x.chunk(start), x.drop()), hello),
        "short-once": once(lambda x: (x.head(Content_Length=10**6), x.raw(start), x.drop()), hello),
        "error-once": once(lambda x: x.stream(new().text("void").broken()), hello),
        "bad-json-once": once(lambda x: x.stream(start + "data: {\"type\n\n" + hello[len(start):]), hello),
        "529-for-m": lambda x: x.error(529) if x.request["model"] == "m" else x.stream(hello),
        # Failures that stay.
        "401": lambda x: x.error(401, "invalid key " + x.credential),
        "403": lambda x: x.error(403, "key " + x.credential[:12] + "... may not"),
        "402": lambda x: x.error(402, "no credit"),
        "404": lambda x: x.error(404, "model: m"),
        "413": lambda x: x.whole(413, b"<html>too large</html>", "text/html"),
        "400": lambda x: x.error(400, "bad \x1b[2J thing"),
        "429-long": lambda x: x.error(429, retry_after="18000"),
        "529": lambda x: x.error(529),
        "no-end": lambda x: x.cut(begun),
        "no-end-chunked": lambda x: x.stream(begun),
        "json-error": lambda x: x.whole(200, dialect.error_body(401, "no")),
        "llama-error": lambda x: x.stream(start + "event: error\ndata: " + json.dumps(
            {"code": 400, "message": "exceeds the context", "type": "exceed_context_size_error"}) + "\n\n"),
        # A conversation that grows beyond the window.
        "too-long": too_long(dialect, lambda x: x.error(400, *dialect.TOO_LONG)),
        "too-long-unsaid": too_long(dialect, lambda x: x.whole(413, b"<html>too large</html>", "text/html")),
        "too-long-for-ever": never_fits(dialect),
        "too-long-llama": too_long(dialect, lambda x: x.stream(
            str(new().text("void")) + f"event: error\ndata: {llama_full}\n\n")),
        "html": lambda x: x.whole(200, b"<html>welcome</html>", "text/html"),
        "redirect": redirect,
        "flood": lambda x: flood(x, 200),
        "error-flood": lambda x: flood(x, 401),
        # For clients with short clocks, or someone who presses Ctrl-C.
        "mute": lambda x: x.hang(),
        "stall": lambda x: (x.head(), x.raw(new().text("so far")), x.hang()),
    }
