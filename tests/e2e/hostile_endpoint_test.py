#!/usr/bin/env python3
# timeout: 120
"""The hostile endpoint itself, without a client of ours: a good request passes, every kind of bad one it
claims to see is seen and named, what is to be replayed is asked for, every scenario plays to its end, and
the table of the client's test has a row for each of them.
"""
import copy
import http.client
import json
import pathlib
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import hostile_anthropic as anthropic  # noqa: E402
import hostile_chat as chat  # noqa: E402
import hostile_model as model  # noqa: E402
import hostile_responses as responses  # noqa: E402

PATHS = {anthropic: "/v1/messages", chat: "/v1/chat/completions", responses: "/v1/responses"}
NAMES = {"anthropic": anthropic, "chat": chat, "responses": responses}
ENDLESS = {"mute", "stall", "no-eof", "flood", "error-flood", "8mb-event"}
KEY = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
BEARER = {"authorization": "Bearer k"}
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
ARGUMENTS = '{"command":"id"}'

problems = []


def expect(condition, what):
    if not condition:
        problems.append(what)


def call(ident):
    return {"id": ident, "type": "function", "function": {"name": "shell", "arguments": ARGUMENTS}}


# A conversation with everything in it that a client may send, in each dialect.
GOOD = {
    anthropic: {
        "model": "m", "max_tokens": 99, "stream": True, "system": [{"type": "text", "text": "Be."}],
        "tools": [{"name": "shell", "description": "Runs.", "input_schema": SCHEMA}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "see"}, IMAGE]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": "s"}, {"type": "text", "text": "yes"},
                {"type": "tool_use", "id": "a", "name": "shell", "input": {"command": "id"}},
                {"type": "tool_use", "id": "b", "name": "shell", "input": {"command": "id"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": "one", "is_error": True},
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "two"}]},
                {"type": "text", "text": "wait", "cache_control": {"type": "ephemeral"}}]}]},
    chat: {
        "model": "m", "max_completion_tokens": 99, "stream": True, "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": {"name": "shell", "description": "Runs.", "parameters": SCHEMA}}],
        "messages": [
            {"role": "system", "content": "Be."},
            {"role": "user", "content": [
                {"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
            {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "b", "content": "one"},
            {"role": "tool", "tool_call_id": "a", "content": "two"},
            {"role": "assistant", "content": "yes"}, {"role": "user", "content": "go on"},
            {"role": "assistant", "content": "so", "tool_calls": [call("c")]},
            {"role": "tool", "tool_call_id": "c", "content": "three"}]},
    responses: {
        "model": "m", "max_output_tokens": 99, "stream": True, "store": False, "instructions": "Be.",
        "include": ["reasoning.encrypted_content"],
        "tools": [{"type": "function", "name": "shell", "description": "Runs.", "parameters": SCHEMA, "strict": False}],
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PIXEL}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": ""}],
             "encrypted_content": "g"},
            {"type": "function_call", "call_id": "a", "name": "shell", "arguments": ARGUMENTS, "id": "fc_1"},
            {"type": "function_call", "call_id": "b", "name": "shell", "arguments": ARGUMENTS},
            {"type": "function_call_output", "call_id": "b", "output": "one"},
            {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "two"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]},
            {"type": "message", "role": "user", "content": "go on"}]},
}

# What is changed | what the violation then says. `r` is the request, `m` its messages or input.
BAD = {
    anthropic: [
        (lambda r, m: r.update(temperature=1), "sampling"),
        (lambda r, m: r.update(seed=1), "unknown keys"),
        (lambda r, m: r.pop("stream"), "stream"),
        (lambda r, m: r.pop("model"), "model"),
        (lambda r, m: r.update(max_tokens=0), "max_tokens"),
        (lambda r, m: r.update(thinking={"type": "enabled", "budget_tokens": 2000}), "budget"),
        (lambda r, m: r.update(system=[]), "system"),
        (lambda r, m: r.update(tools=[]), "tools"),
        (lambda r, m: r["tools"].append(r["tools"][0]), "one name"),
        (lambda r, m: r["tools"][0].update(name="a b"), "name"),
        (lambda r, m: r["tools"][0].update(input_schema={"type": "string"}), "schema"),
        (lambda r, m: r.update(messages=[]), "no messages"),
        (lambda r, m: m.pop(0), "role"),
        (lambda r, m: m.append({"role": "assistant", "content": "so"}), "prefill"),
        (lambda r, m: m[0].update(content=" "), "blank"),
        (lambda r, m: m[0].update(name="x"), "keys"),
        (lambda r, m: m[2]["content"].pop(0), "for calls"),
        (lambda r, m: m[2]["content"].reverse(), "first"),
        (lambda r, m: m[2]["content"][0].update(tool_use_id="z"), "for calls"),
        (lambda r, m: m[1]["content"][2].update(id="b"), "b"),
        (lambda r, m: m[1]["content"][2].update(id="a b"), "id"),
        (lambda r, m: m[1]["content"][2].update(input="{}"), "input"),
        (lambda r, m: m[2]["content"][0].update(content=""), "empty"),
        (lambda r, m: m[2]["content"][0].update(is_error=1), "is_error"),
        (lambda r, m: m[2]["content"][2].update(x=1), "unknown keys"),
        (lambda r, m: m[2]["content"].append({"type": "thinking", "thinking": ""}), "user message"),
        (lambda r, m: m[0].update(content=[{"text": "x"}]), "without a type"),
        (lambda r, m: m[1]["content"].append(IMAGE), "image"),
        (lambda r, m: m[1]["content"][2].update(name="../sh"), "name"),
        (lambda r, m: m[1]["content"].append(m[2]["content"][0]), "assistant"),
        (lambda r, m: m[0].update(content=[m[1]["content"][2]]), "tool_use in a user message"),
        (lambda r, m: (m[1]["content"][3].update(id="a"), m[2]["content"][0].update(tool_use_id="a")), "stands twice"),
        (lambda r, m: [b.update(cache_control={"type": "ephemeral"}) for b in m[1]["content"] + m[2]["content"]],
         "breakpoints"),
        (lambda r, m: m[2]["content"][2].update(cache_control={"type": "ephemeral", "ttl": "2h"}), "cache_control"),
    ],
    chat: [
        (lambda r, m: r.update(temperature=1), "sampling"),
        (lambda r, m: r.update(n=1), "sampling"),
        (lambda r, m: r.update(system="Be."), "unknown keys"),
        (lambda r, m: r.pop("stream"), "stream"),
        (lambda r, m: r.pop("model"), "model"),
        (lambda r, m: r.update(max_tokens=9), "both"),
        (lambda r, m: r.update(max_completion_tokens=0), "limit"),
        (lambda r, m: r["stream_options"].update(x=True), "stream_options"),
        (lambda r, m: r["stream_options"].update(include_usage=1), "stream_options"),
        (lambda r, m: r.update(tools=[]), "tool"),
        (lambda r, m: r["tools"].append(r["tools"][0]), "one name"),
        (lambda r, m: r["tools"][0].pop("type"), "function"),
        (lambda r, m: r.update(tools=[SCHEMA]), "a tool"),
        (lambda r, m: r["tools"][0]["function"].update(name="x" * 65), "name"),
        (lambda r, m: r["tools"][0]["function"].update(input_schema={}), "unknown keys"),
        (lambda r, m: r["tools"][0]["function"].update(parameters={}), "parameters"),
        (lambda r, m: r["tools"][0]["function"].update(strict=True), "strict"),
        (lambda r, m: r["tools"][0]["function"].update(description=""), "description"),
        (lambda r, m: (r.pop("tools"), r.update(tool_choice="auto")), "tool_choice"),
        (lambda r, m: (r.pop("tools"), r.update(parallel_tool_calls=True)), "parallel_tool_calls"),
        (lambda r, m: r.update(messages=[]), "no messages"),
        (lambda r, m: m[1].update(role="robot"), "role"),
        (lambda r, m: m.insert(1, m[0]), "not the first"),
        (lambda r, m: m.pop(1), "assistant message after"),
        (lambda r, m: m.insert(2, m[1]), "in a row"),
        (lambda r, m: m.pop(6), "assistant message after"),
        (lambda r, m: m.append({"role": "assistant", "content": "so"}), "last message"),
        (lambda r, m: m.pop(), "no result"),
        (lambda r, m: m.pop(3), "no result yet"),
        (lambda r, m: m.insert(5, m[3]), "no open call"),
        (lambda r, m: m[3].update(tool_call_id="z"), "no open call"),
        (lambda r, m: m.insert(3, {"role": "user", "content": "wait"}), "no result yet"),
        (lambda r, m: m[7]["tool_calls"][0].update(id="a"), "twice"),
        (lambda r, m: m[7]["tool_calls"][0].update(id="x" * 41), "id"),
        (lambda r, m: m[7]["tool_calls"][0].update(id=""), "id"),
        (lambda r, m: m[7]["tool_calls"][0].update(id="a b"), "id"),
        (lambda r, m: m[7]["tool_calls"][0].update(index=0), "unknown keys"),
        (lambda r, m: m[7].update(tool_calls=[]), "empty"),
        (lambda r, m: m[7]["tool_calls"][0].update(type="tool"), "function"),
        (lambda r, m: m[7]["tool_calls"][0].update(extra_content={}), "unknown keys"),
        (lambda r, m: m[7]["tool_calls"][0]["function"].update(arguments={"command": "id"}), "string"),
        (lambda r, m: m[7]["tool_calls"][0]["function"].update(arguments="[]"), "object"),
        (lambda r, m: m[7]["tool_calls"][0]["function"].update(arguments=""), "JSON"),
        (lambda r, m: m[7]["tool_calls"][0]["function"].update(arguments='{"a":1,"a":2}'), "twice"),
        (lambda r, m: m[7]["tool_calls"][0]["function"].update(name="../sh"), "name"),
        (lambda r, m: m[7].update(reasoning_content="x"), "unknown keys"),
        (lambda r, m: m[7].update(reasoning_details=[]), "unknown keys"),
        (lambda r, m: m[5].update(content=None), "neither"),
        (lambda r, m: m[5].update(content=""), "blank"),
        (lambda r, m: m[5].update(refusal=" "), "refusal"),
        (lambda r, m: m[3].update(content=""), "blank"),
        (lambda r, m: m[3].update(is_error=True), "unknown keys"),
        (lambda r, m: m[6].update(content=[]), "without a part"),
        (lambda r, m: m[1]["content"][0].update(text=" "), "blank"),
        (lambda r, m: m[1]["content"][0].update(type="input_text"), "part"),
        (lambda r, m: m[1]["content"][1]["image_url"].update(url="file:///etc/passwd"), "image"),
        (lambda r, m: m[1]["content"][1]["image_url"].update(url=PIXEL[:-1]), "image"),
        (lambda r, m: m[1]["content"][1].update(image_url=PIXEL), "image_url"),
        (lambda r, m: m[3].update(content=m[1]["content"]), "a part of a tool message"),
    ],
    responses: [
        (lambda r, m: r.update(top_p=1), "sampling"),
        (lambda r, m: r.update(messages=[]), "unknown keys"),
        (lambda r, m: r.update(previous_response_id="resp_1"), "state"),
        (lambda r, m: r.update(conversation="conv_1"), "state"),
        (lambda r, m: r.pop("stream"), "stream"),
        (lambda r, m: r.pop("store"), "store"),
        (lambda r, m: r.pop("include"), "encrypted"),
        (lambda r, m: r.update(instructions=""), "instructions"),
        (lambda r, m: r.update(max_output_tokens=15), "16"),
        (lambda r, m: r.update(tools=[]), "tool"),
        (lambda r, m: r["tools"][0].pop("strict"), "strict"),
        (lambda r, m: r["tools"][0].update(strict=True), "strict"),
        (lambda r, m: r["tools"][0].update(name=""), "name"),
        (lambda r, m: r.update(tools=[{"type": "function", "function": r["tools"][0]}]), "nested"),
        (lambda r, m: r["tools"].append(r["tools"][0]), "one name"),
        (lambda r, m: r["tools"][0].update(input_schema={}), "unknown keys"),
        (lambda r, m: (r.pop("tools"), r.update(tool_choice="auto")), "tool_choice"),
        (lambda r, m: r.update(input="hello"), "list"),
        (lambda r, m: r.update(input=[]), "list"),
        (lambda r, m: m.pop(5), "outputs of"),
        (lambda r, m: m.pop(4), "outputs of"),
        (lambda r, m: m.pop(2), "no open call"),
        (lambda r, m: m.insert(6, m[5]), "no open call"),
        (lambda r, m: m.insert(4, m[7]), "outputs of"),
        (lambda r, m: (m.pop(), m.pop(), m.pop()), "no output"),
        (lambda r, m: m.pop(), "last word"),
        (lambda r, m: m[3].update(call_id="a"), "twice"),
        (lambda r, m: m[3].update(call_id="x" * 65), "call_id"),
        (lambda r, m: m[3].update(call_id=""), "call_id"),
        (lambda r, m: m[3].update(arguments={}), "string"),
        (lambda r, m: m[3].update(arguments=""), "JSON"),
        (lambda r, m: m[3].update(name="a b"), "name"),
        (lambda r, m: m[3].update(id="call_1"), "id"),
        (lambda r, m: m[3].update(input={}), "unknown keys"),
        (lambda r, m: m[4].update(output=""), "blank"),
        (lambda r, m: m[4].update(output="x" * (11 << 20)), "10 MB"),
        (lambda r, m: m[4].update(is_error=True), "unknown keys"),
        (lambda r, m: m[5]["output"][0].update(type="text"), "part"),
        (lambda r, m: m[1].update(encrypted_content=None), "encrypted"),
        (lambda r, m: m[1].pop("summary"), "summary"),
        (lambda r, m: m[1].pop("id"), "id"),
        (lambda r, m: m[1].update(id="x"), "id"),
        (lambda r, m: m[1].update(content=[{"type": "reasoning_text", "text": "x"}]), "plain text"),
        (lambda r, m: m.insert(4, m[1]), "following item"),
        (lambda r, m: m.insert(1, {"type": "item_reference", "id": "rs_1"}), "reference"),
        (lambda r, m: m[6]["content"][0].update(type="input_text"), "part of type"),
        (lambda r, m: m[6]["content"][0].update(text=""), "blank"),
        (lambda r, m: m[0]["content"][0].update(type="output_text"), "part of type"),
        (lambda r, m: m[0]["content"][1].update(image_url="no"), "image"),
        (lambda r, m: m[7].update(role="tool"), "role"),
        (lambda r, m: m[7].update(content=[]), "no part"),
        (lambda r, m: m[7].update(tool_calls=[]), "unknown keys"),
    ],
}


# After pause_turn the assistant may have the last word, but no call may be open.
PAUSED = copy.deepcopy(GOOD[anthropic])
PAUSED["messages"].append({"role": "assistant", "content": "so"})


def headers_of(dialect, **more):
    return {"content-type": "application/json", **(KEY if dialect is anthropic else BEARER), **more}


def complaint(dialect, request, headers=None, method="POST", scenario=""):
    """What is wrong with it; None when nothing is."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    pairs = headers if isinstance(headers, list) else list((headers or headers_of(dialect)).items())
    try:
        dialect.check_request(method, pairs, body, scenario)
    except model.Bad as bad:
        return str(bad)
    return None


def check_checks(name, dialect):
    good = GOOD[dialect]
    expect(complaint(dialect, good) is None, f"{name}: the good request: {complaint(dialect, good)}")
    for number, (spoil, words) in enumerate(BAD[dialect]):
        request = copy.deepcopy(good)
        spoil(request, request.get("messages", request.get("input")))
        said = complaint(dialect, request)
        expect(said and words in said, f"{name}: bad request {number} ({words}): {said}")
    text = json.dumps(good)
    for spoiled, words in ((text[:-1] + ',"model":"m"}', "twice"), (text[:-1], "no JSON"), ("[]", "no object"),
                           (text.replace("see", "\\ud800"), "UTF-8"), (text.replace("99", "NaN"), "NaN"),
                           (text.replace("see", "\udcff"), "UTF-8")):
        said = complaint(dialect, spoiled.encode("utf-8", "surrogateescape"))
        expect(said and words in said, f"{name}: a body that is bad ({words}): {said}")
    expect("method" in (complaint(dialect, good, method="PUT") or ""), f"{name}: a PUT")
    expect("twice" in (complaint(dialect, good, list(headers_of(dialect).items()) * 2) or ""), f"{name}: headers twice")
    others = {"expect": "100-continue", "cookie": "a=b", "content-type": "text/plain"}
    if dialect is anthropic:
        others.update({"anthropic-version": "1", "authorization": "Bearer k", "x-api-key": ""})
    else:
        others.update({"anthropic-version": "2023-06-01", "authorization": "Basic k", "x-api-key": "k"})
    for header, value in others.items():
        expect(complaint(dialect, good, headers_of(dialect, **{header: value})), f"{name}: header {header}: {value}")


class Server(model.Server):
    broken = None

    def handle_error(self, request, client_address):
        self.broken = sys.exc_info()[1]


def post(server, dialect, scenario, request):
    """The status and body of one request; an answer that is cut gives what came."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    body = json.dumps(request)
    try:
        connection.request("POST", f"/s/{scenario}{PATHS[dialect]}", body, headers_of(dialect))
        answer = connection.getresponse()
        try:
            return answer.status, answer.read().decode("utf-8", "replace")
        except http.client.IncompleteRead as cut:
            return answer.status, cut.partial.decode("utf-8", "replace")
    except OSError:
        return 0, ""  # what some scenarios do
    finally:
        connection.close()


def first_of(dialect):
    """The beginning of a conversation: one message."""
    request = copy.deepcopy(GOOD[dialect])
    if dialect is responses:
        request["input"] = [{"role": "user", "content": "hello"}]
    else:
        system = [message for message in request["messages"] if message["role"] == "system"]
        request["messages"] = [*system, {"role": "user", "content": "hello"}]
    return request


def with_result(dialect, before=(), **extra):
    """The same, with one call and its result; `before` and `extra` are what is replayed of the answer."""
    request = first_of(dialect)
    if dialect is anthropic:
        request["messages"] += [
            {"role": "assistant", "content": [*before, {"type": "tool_use", "id": "a", "name": "shell", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "note-42"}]}]
    elif dialect is chat:
        request["messages"] += [{"role": "assistant", "content": None, "tool_calls": [call("a")], **extra},
                                {"role": "tool", "tool_call_id": "a", "content": "note-42"}]
    else:
        request["input"] += [*before,
                             {"type": "function_call", "call_id": "a", "name": "shell", "arguments": ARGUMENTS},
                             {"type": "function_call_output", "call_id": "a", "output": "note-42"}]
    return request


def check_scenarios(server, name, dialect):
    for scenario in sorted(set(dialect.SCENARIOS) - ENDLESS):
        server.broken = None
        for request in (first_of(dialect), with_result(dialect)):
            post(server, dialect, scenario, request)
        expect(server.broken is None, f"{name}: {scenario}: {server.broken!r}")
    status, body = post(server, dialect, "ok.again", first_of(dialect))
    expect(status == 200 and "All " in body and "is wéll." in body, f"{name}: ok: {status} {body[:200]}")
    status, body = post(server, dialect, "tool.again", with_result(dialect))
    expect(status == 200 and "results: note-42" in body, f"{name}: tool: {status} {body[:200]}")
    body = post(server, dialect, "tool.again", first_of(dialect))[1]
    expect("shell" in body and "call_1" in body, f"{name}: tool: {body[:300]}")
    server.violations.clear()
    status, body = post(server, dialect, "ok", {"model": "m"})
    expect(status == 400 and "violation" in body and len(server.violations) == 1, f"{name}: a bad request: {status}")
    status, _ = post(server, dialect, "no-such-thing", first_of(dialect))
    expect(status == 400 and len(server.violations) == 2, f"{name}: an unknown scenario: {status}")
    server.violations.clear()


def check_echoes(server):
    """What must come back: nothing said when it does, a violation (or the vendor's 400) when it does not."""
    signed = {"tool_calls": [{**call("a"), "extra_content": chat.SIGNED}, call("b")]}
    both = with_result(chat, **signed)
    both["messages"].append({"role": "tool", "tool_call_id": "b", "content": "two"})
    blocks = [anthropic.THINKING, anthropic.REDACTED, anthropic.HOLO]
    early = {**responses.THOUGHT, "encrypted_content": "gAAAAABpart"}
    for dialect, scenario, good, request in (
            (anthropic, "thinking", True, with_result(anthropic, blocks)),
            (anthropic, "thinking", False, with_result(anthropic)),
            (anthropic, "thinking", False, with_result(anthropic, blocks[::-1])),
            (chat, "reasoning-details", True, with_result(chat, reasoning_details=chat.DETAILS)),
            (chat, "reasoning-details", False, with_result(chat)),
            (chat, "reasoning-details", False, with_result(chat, reasoning_details=chat.DETAILS[::-1])),
            (chat, "gemini", True, both),
            (chat, "gemini", False, with_result(chat)),
            (chat, "deepseek", True, with_result(chat, reasoning_content="Let me see.")),
            (chat, "deepseek", False, with_result(chat)),
            (chat, "deepseek", False, with_result(chat, reasoning_content="Let me ")),
            (responses, "thinking", True, with_result(responses, [responses.THOUGHT])),
            (responses, "thinking", False, with_result(responses)),
            (responses, "thinking", False, with_result(responses, [early]))):
        server.violations.clear()
        status, _ = post(server, dialect, scenario, request)
        fine = status == 200 and not server.violations
        expect(fine == good, f"{scenario}: {status} {server.violations}: {str(request)[-300:]}")


def check_table():
    rows = {name: set() for name in NAMES}
    for line in (HERE / "hostile_model.table").read_text().splitlines():
        if line and not line.startswith("#"):
            dialects, scenario, *rest = [field.strip() for field in line.split("|")]
            expect(len(rest) == 3 and all(rest), f"the table: {line}")
            for name in NAMES if dialects == "all" else dialects.split():
                expect(scenario not in rows[name], f"the table: {name} {scenario} stands twice")
                rows[name].add(scenario)
    for name, dialect in NAMES.items():
        asked = {scenario.split(".")[0] for scenario in rows[name]}
        odd = asked ^ (set(dialect.SCENARIOS) - {"mute", "stall"})
        expect(not odd, f"the table and the scenarios of {name} differ in {sorted(odd)}")


def check_pause():
    expect(complaint(anthropic, PAUSED, scenario="pause") is None, "a pause goes on")
    PAUSED["messages"] = PAUSED["messages"][:2]
    said = complaint(anthropic, PAUSED, scenario="pause")
    expect(said and "without a result" in said, f"a pause with an open call: {said}")


def main():
    check_table()
    check_pause()
    server = Server(0, None)
    server.violation = lambda what: server.violations.append(what)  # not on stderr: here they are wanted
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, dialect in NAMES.items():
        check_checks(name, dialect)
        check_scenarios(server, name, dialect)
    check_echoes(server)
    plain = http.client.HTTPConnection(*server.server_address)
    plain.request("GET", "/log")
    log = json.loads(plain.getresponse().read())
    expect(log["requests"] > 500 and log["violations"] == server.violations, f"/log: {log}")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    print(f"{sum(len(d.SCENARIOS) for d in PATHS)} scenarios, {sum(map(len, BAD.values()))} kinds of bad requests")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
