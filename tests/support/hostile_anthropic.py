"""The Anthropic Messages wire of the hostile endpoint: POST .../v1/messages with `x-api-key`."""
import json
import sys

import hostile_scenarios as common
from hostile_scenarios import NOTE, WORD, Bad, need, once, pieces, shared, with_tools  # noqa: F401

TOP_LEVEL = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "stream",
             "output_config", "cache_control", "stop_sequences", "metadata", "service_tier"}
REMOVED = {"temperature", "top_p", "top_k"}
BLOCK_KEYS = {
    "text": {"type", "text", "cache_control", "citations"},
    "tool_use": {"type", "id", "name", "input", "cache_control"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
}


def check_headers(headers):
    values = dict(headers)
    need(("x-api-key" in values) != ("authorization" in values), "not exactly one credential")
    need(values.get("x-api-key", "-").strip(), "empty credential")
    need(values.get("anthropic-version") == "2023-06-01", "no anthropic-version 2023-06-01")


def check_block(role, block):
    kind = block.get("type")
    need(isinstance(kind, str), "a block without a type")
    need(set(block) <= BLOCK_KEYS.get(kind, set(block)), f"unknown keys in {kind}: {sorted(block)}")
    if kind == "text":
        need(isinstance(block.get("text"), str) and block["text"].strip(), "a blank text block")
    elif kind == "tool_use":
        need(role == "assistant", "tool_use in a user message")
        need(WORD.match(str(block.get("id"))), f"bad tool id {block.get('id')!r}")
        need(WORD.match(str(block.get("name"))), f"bad tool name {block.get('name')!r}")
        need(isinstance(block.get("input"), dict), "tool input is no object")
    elif kind == "tool_result":
        need(role == "user", "tool_result in an assistant message")
        content = block.get("content")
        need(isinstance(content, (str, list)) and content, "an empty tool_result")
        need(isinstance(block.get("is_error", False), bool), "is_error is no bool")
    elif kind == "image":
        need(role == "user", "an image in an assistant message")
    else:
        need(role == "assistant", f"{kind} in a user message")


def check_pairing(messages):
    seen, waiting = set(), []
    for number, message in enumerate(messages):
        blocks = message["content"]
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if message["role"] == "user":
            need(sorted(results) == sorted(waiting), f"message {number}: results {results} for calls {waiting}")
            need(all(b["type"] == "tool_result" for b in blocks[:len(results)]), "results are not first")
        waiting = [b["id"] for b in blocks if b["type"] == "tool_use"]
        for call_id in waiting:
            need(call_id not in seen, f"tool id {call_id} stands twice")
            seen.add(call_id)
    need(not waiting, "a call without a result")


def check_messages(messages, continued):
    need(isinstance(messages, list) and messages, "no messages")
    for number, message in enumerate(messages):
        need(set(message) == {"role", "content"}, f"message {number}: keys {sorted(message)}")
        role = ("user", "assistant")[number % 2]
        need(message["role"] == role, f"message {number}: role {message['role']}, expected {role}")
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        need(isinstance(message["content"], list) and message["content"], f"message {number} is empty")
        for block in message["content"]:
            check_block(role, block)
    need(continued or messages[-1]["role"] == "user", "a prefill: the last message is the assistant's")
    check_pairing(messages)


def check_tools(tools):
    need(isinstance(tools, list) and tools, "tools is empty")
    names = [tool.get("name") for tool in tools]
    need(len(set(names)) == len(names), "two tools of one name")
    for tool in tools:
        need(WORD.match(str(tool.get("name"))), f"bad tool name {tool.get('name')!r}")
        need(isinstance(tool.get("description"), str), "a tool without a description")
        need(tool.get("input_schema", {}).get("type") == "object", "a schema that is no object")


def count_breakpoints(value):
    if isinstance(value, list):
        return sum(map(count_breakpoints, value))
    if not isinstance(value, dict):
        return 0
    mark = value.get("cache_control")
    if mark is not None:
        need(mark.get("type") == "ephemeral" and mark.get("ttl", "5m") in ("5m", "1h"), "bad cache_control")
    return (mark is not None) + sum(count_breakpoints(v) for k, v in value.items() if k != "input")


def check_request(method, headers, body, scenario=""):
    """Raises Bad for the first invariant that does not hold; gives the parsed body.

    Only after pause_turn (the scenario `pause`) may the assistant have the last word.
    """
    request = common.read_request(method, headers, body)
    check_headers(headers)
    need(not REMOVED & set(request), f"sampling parameters: {sorted(REMOVED & set(request))}")
    need(set(request) <= TOP_LEVEL, f"unknown keys: {sorted(set(request) - TOP_LEVEL)}")
    need(common.whole_number(request.get("max_tokens")), "no max_tokens")
    need("budget_tokens" not in request.get("thinking", {}), "a fixed thinking budget")
    if "system" in request:
        need(request["system"], "system is empty")
        for block in request["system"] if isinstance(request["system"], list) else []:
            need(block.get("type") == "text" and block.get("text", "").strip(), "bad system block")
    if "tools" in request:
        check_tools(request["tools"])
    check_messages(request.get("messages"), scenario == "pause")
    need(count_breakpoints(request) <= 4, "more than 4 cache breakpoints")
    return request


def history(request):
    """How many calls were made so far, and what the results in the last message say, in order."""
    made = sum(b["type"] == "tool_use" for m in request["messages"] for b in m["content"])
    results = []
    for block in request["messages"][-1]["content"]:
        if block["type"] == "tool_result":
            content = block["content"]
            results.append(content if isinstance(content, str) else "".join(b.get("text", "") for b in content))
    return made, results


# What a stream is made of.

def event(kind, **data):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, ensure_ascii=False)}\n\n"


def start():
    return event("message_start", message={
        "id": "msg_1", "type": "message", "role": "assistant", "model": "hostile-1", "content": [],
        "usage": {"input_tokens": 25, "output_tokens": 1}})


def end(reason="end_turn", **more):
    return (event("message_delta", delta={"stop_reason": reason, **more}, usage={"output_tokens": 9}) +
            event("message_stop"))


def opened(index, block):
    return event("content_block_start", index=index, content_block=block)


def delta(index, **what):
    return event("content_block_delta", index=index, delta=what)


def closed(index):
    return event("content_block_stop", index=index)


def text(index, *parts):
    return (opened(index, {"type": "text", "text": ""}) +
            "".join(delta(index, type="text_delta", text=part) for part in parts) + closed(index))


def call(index, ident, arguments, name="shell", given=None):
    return (opened(index, {"type": "tool_use", "id": ident, "name": name, "input": given or {}}) +
            "".join(delta(index, type="input_json_delta", partial_json=part) for part in pieces(arguments)))


NOISE = event("ping") + event("weather", x=1)
REASONS = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens"}
OVERLOADED = {"type": "overloaded_error", "message": "Overloaded"}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
         404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}


class Stream(common.Stream):
    def __init__(self):
        super().__init__(start())

    def text(self, *parts):
        return self.raw(text(self.place(None), *parts))

    def call(self, ident, arguments="", name="shell", given=None, index=None):
        at = self.place(index)
        return self.raw(call(at, ident, arguments, name, given), closed(at))

    def end(self, reason="stop", **more):
        return self.raw(end(REASONS.get(reason, reason), **more))

    def broken(self):
        return self.raw(event("error", error=OVERLOADED))


TOO_LONG = ("prompt is too long: 11000 tokens > 10000 maximum", {})


def error_body(status, message, **more):
    return {"type": "error", "error": {"type": KINDS.get(status, "api_error"), "message": message, **more}}


def whole(text=None, command=None):
    """The answer as one body, for clients that did not ask for a stream."""
    block = ({"type": "text", "text": text} if command is None else
             {"type": "tool_use", "id": "t1", "name": "shell", "input": {"command": command}})
    return {"type": "message", "role": "assistant", "model": "hostile-1", "usage": {"input_tokens": 1},
            "content": [block], "stop_reason": "end_turn" if command is None else "tool_use"}


THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmF0dXJl"}
HOLO = {"type": "holo_block", "data": {"deep": [1, {"b": 2}]}}
REDACTED = {"type": "redacted_thinking", "data": "AAAA"}


def replayed(x):
    """Blocks that mean nothing to the client must come back as they were."""
    if not x.results:
        signature = THINKING["signature"]
        x.stream(start() + opened(0, {"type": "thinking", "thinking": "", "signature": ""}) +
                 delta(0, type="thinking_delta", thinking="Let me ") +
                 delta(0, type="thinking_delta", thinking="see.") + delta(0, type="signature_delta", signature="x") +
                 delta(0, type="signature_delta", signature=signature) + closed(0) +
                 opened(1, REDACTED) + closed(1) + opened(2, HOLO) + closed(2) +
                 call(3, "toolu_1", json.dumps({"command": NOTE})) + closed(3) + end("tool_use"))
        return
    content = x.request["messages"][1]["content"]
    if content[:3] != [THINKING, REDACTED, HOLO]:
        x.violation(f"blocks were not replayed as they came: {content}")
    x.answer()


def void_signature(x):
    """The server takes its own signature back no more: without what is signed it goes on."""
    if not x.results:
        return replayed(x)
    if any(block["type"] != "tool_use" for block in x.request["messages"][1]["content"]):
        return x.error(400, "messages.1.content.0: Invalid `signature` in `thinking` block")
    return x.answer()


SCENARIOS = {
    **shared(sys.modules[__name__]),
    "thinking": replayed,
    "void-signature": void_signature,
    "pause": once(lambda x: x.stream(Stream().text("a part, ").end("pause_turn")),
                  Stream().text("and the rest").end()),
    "late-stops": with_tools(start() + call(0, "a", json.dumps({"command": NOTE})) +
                             call(1, "b", json.dumps({"command": "echo two"})) + closed(0) + closed(1) +
                             end("tool_use")),
    "tool-end-turn": with_tools(Stream().shell().end()),
    "cut-call-open": with_tools(start() + call(0, "a", '{"command": "echo ran-it"}') + end("max_tokens")),
    "no-tool-once": once(lambda x: x.stream(Stream().text("x").end("tools")), Stream().text("All is wéll.").end()),
    "no-message-stop": lambda x: x.cut(str(Stream().text("x").end())[:-len(event("message_stop"))]),
    "cut-message-stop": lambda x: x.cut(str(Stream().text("x").end())[:-20]),
    "429-spent": lambda x: x.error(429, "no more", more={"details": {"error_code": "enforced_spend_limit_reached"}}),
    "no-stop": lambda x: x.stream(Stream().text("x").end(None)),
    "refusal": lambda x: x.stream(Stream().text("no").end("refusal", stop_details={"category": "cyber"})),
    "context": lambda x: x.stream(Stream().text("x").end("model_context_window_exceeded")),
}
