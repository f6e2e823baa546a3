"""The OpenAI Responses wire of the hostile endpoint, stateless: POST .../responses with a bearer key."""
import json
import re
import sys

import hostile_scenarios as common
from hostile_scenarios import NOTE, need, once, only, pieces, said, shared, with_tools

TOP_LEVEL = {"model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens",
             "reasoning", "text", "include", "store", "stream", "stream_options", "truncation", "metadata",
             "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "user"}
SAMPLING = {"temperature", "top_p", "top_logprobs"}
STATE = {"previous_response_id", "conversation", "background"}  # none of it goes with store: false
ITEM_KEYS = {
    "message": {"type", "role", "content", "id", "status", "phase"},
    "function_call": {"type", "call_id", "name", "arguments", "id", "status"},
    "function_call_output": {"type", "call_id", "output", "id", "status"},
    "reasoning": {"type", "id", "summary", "encrypted_content", "content", "status"},
}
ID_PREFIX = {"message": "msg", "function_call": "fc", "function_call_output": "fc", "reasoning": "rs"}
LARGEST_OUTPUT = 10 << 20


def check_parts(content, kinds, what):
    """A text, or parts of these kinds; none is blank."""
    if not isinstance(content, list):
        return said(content, what)
    need(content, f"{what} has no part")
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        need(kind in kinds, f"{what}: a part of type {kind}")
        if kind == "input_image":
            only(part, {"type", "image_url", "detail"}, kind)
            common.check_image(part.get("image_url"))
        elif kind == "refusal":
            only(part, {"type", "refusal"}, kind)
            said(part.get("refusal"), f"{what}: a refusal")
        else:
            only(part, {"type", "text"} | ({"annotations", "logprobs"} if kind == "output_text" else set()), kind)
            said(part.get("text"), f"{what}: a part")
    return None


def check_reasoning(item, after):
    need(isinstance(item.get("id"), str), "reasoning without its id")
    need(isinstance(item.get("summary"), list), "reasoning without a summary")
    for part in item["summary"]:
        only(part, {"type", "text"}, "a summary")
        need(part.get("type") == "summary_text" and isinstance(part.get("text"), str), "a part that is no summary_text")
    # Without it the server looks for the id among what it keeps, which is nothing.
    said(item.get("encrypted_content"), "encrypted_content")
    need(not item.get("content"), "reasoning in plain text")
    follows = after.get("type") in ("reasoning", "function_call") or after.get("role") == "assistant"
    need(follows, "reasoning without its required following item")


def check_message(item, waiting):
    role = item.get("role")
    need(role in ("user", "assistant", "system", "developer"), f"a message of role {role}")
    need(role == "assistant" or not waiting, f"a {role} message before the outputs of {waiting}")
    kinds = {"assistant": {"output_text", "refusal"}, "user": {"input_text", "input_image"}}.get(role, {"input_text"})
    check_parts(item.get("content"), kinds, f"the {role} message")


def check_input(items):
    need(isinstance(items, list) and items, "input is no list of items")
    seen, waiting = set(), []
    for number, item in enumerate(items):
        need(isinstance(item, dict), f"item {number} is no object")
        kind = item.get("type", "message")
        only(item, ITEM_KEYS.get(kind, item), f"item {number} ({kind})")
        need(kind != "item_reference", f"item {number}: a reference, where nothing is stored")
        if item.get("id") is not None:
            prefix = ID_PREFIX.get(kind, "")
            need(re.fullmatch(prefix + r"\w{1,63}", str(item["id"])), f"item {number}: id {item['id']!r}")
        if kind == "message":
            check_message(item, waiting)
        elif kind == "function_call":
            ident = item.get("call_id")
            need(isinstance(ident, str) and re.fullmatch(r"[!-~]{1,64}", ident), f"bad call_id {ident!r}")
            need(ident not in seen, f"the call_id {ident} stands twice")
            seen.add(ident)
            waiting.append(ident)
            common.check_call(item.get("name"), item.get("arguments"))
        elif kind == "function_call_output":
            need(item.get("call_id") in waiting, f"item {number}: an output for no open call")
            waiting.remove(item["call_id"])
            check_parts(item.get("output"), {"input_text", "input_image"}, "an output")
            need(len(json.dumps(item["output"])) <= LARGEST_OUTPUT, "an output of more than 10 MB")
        elif kind == "reasoning":
            check_reasoning(item, items[number + 1] if number + 1 < len(items) else {})
    need(not waiting, f"the calls {waiting} have no output")
    need(items[-1].get("role") == "user" or items[-1].get("type") == "function_call_output",
         "the user does not have the last word")


def check_request(method, headers, body, scenario=""):
    """Raises Bad for the first invariant that does not hold; gives the parsed body."""
    request = common.read_request(method, headers, body)
    common.check_bearer(headers)
    need(not SAMPLING & set(request), f"sampling parameters: {sorted(SAMPLING & set(request))}")
    need(not STATE & set(request), f"state: {sorted(STATE & set(request))}")
    only(request, TOP_LEVEL, "the request")
    need(request.get("store") is False, "store is not false")
    need(request.get("include") == ["reasoning.encrypted_content"], "encrypted reasoning is not asked for")
    if "instructions" in request:
        said(request["instructions"], "instructions")
    need("max_output_tokens" not in request or common.whole_number(request["max_output_tokens"], 16),
         "max_output_tokens is no number of at least 16")
    if "tools" in request:
        need(isinstance(request["tools"], list), "tools is no list")
        for tool in request["tools"]:
            need(isinstance(tool, dict) and tool.get("type") == "function", "a tool of no function")
            need("function" not in tool, "a tool that is nested, as in Chat Completions")
            # Here it is no option: the vendor's types demand it, and what is absent may count as true.
            need(isinstance(tool.get("strict"), bool), "a tool that does not say whether it is strict")
        common.check_functions(request["tools"], {"type", "name", "description", "parameters", "strict"})
    for key in {"tool_choice", "parallel_tool_calls"} & set(request):
        need("tools" in request, f"{key} without tools")
    check_input(request.get("input"))
    return request


def history(request):
    """How many calls were made so far, and what their newest outputs say, in order."""
    made, results = 0, []
    for item in request["input"]:
        kind = item.get("type", "message")
        made += kind == "function_call"
        if kind == "function_call_output":
            output = item["output"]
            results.append(output if isinstance(output, str) else "".join(part.get("text", "") for part in output))
        elif kind != "message" or item["role"] == "assistant":
            results = []
    return made, results


# What a stream is made of.

USAGE = {"input_tokens": 25, "input_tokens_details": {"cached_tokens": 5}, "output_tokens": 9,
         "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 34}
REASONS = {"length": "max_output_tokens"}
FAILED = {"code": "server_error", "message": "The server had an error"}
NUMBERS = re.compile(r'"(?:sequence_number|output_index|content_index)": \d+, ')


def response(status, output=(), **more):
    return {"id": "resp_1", "object": "response", "created_at": 1, "model": "hostile-1", "status": status,
            "output": list(output), "error": None, "incomplete_details": None, "parallel_tool_calls": True,
            "tools": [], "tool_choice": "auto", "usage": USAGE if output else None, **more}


def event(kind, **data):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, ensure_ascii=False)}\n\n"


def message(text, ident="msg_1"):
    return {"id": ident, "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}


def function(ident, arguments, name="shell", item="fc_1", **more):
    return {"id": item, "type": "function_call", "call_id": ident, "name": name, "arguments": arguments,
            "status": "completed", **more}


class Stream(common.Stream):
    def __init__(self):
        super().__init__()
        self.number, self.output = 0, []
        self.event("response.created", response=response("in_progress"))
        self.event("response.in_progress", response=response("in_progress"))

    def event(self, kind, **data):
        self.number += 1
        return self.raw(event(kind, sequence_number=self.number, **data))

    def item(self, begun, done, *between, index=None):
        """An item from its beginning to its end; `between` are pairs of an event's kind and its data."""
        at = self.place(index)
        self.event("response.output_item.added", output_index=at, item=begun)
        for kind, data in between:
            self.event(kind, output_index=at, **data)
        self.output.append(done)
        return self.event("response.output_item.done", output_index=at, item=done)

    def text(self, *parts):
        done = message("".join(parts), f"msg_{self.next}")
        here = {"content_index": 0, "item_id": done["id"]}
        return self.item(
            {**done, "status": "in_progress", "content": []}, done,
            ("response.content_part.added", {**here, "part": {**done["content"][0], "text": ""}}),
            *(("response.output_text.delta", {**here, "delta": part, "logprobs": []}) for part in parts),
            ("response.output_text.done", {**here, "text": "".join(parts), "logprobs": []}),
            ("response.content_part.done", {**here, "part": done["content"][0]}))

    def call(self, ident, arguments="", name="shell", given=None, index=None):
        done = function(ident, arguments if given is None else given, name, f"fc_{len(self.output)}")
        here = {"item_id": done["id"]}
        return self.item(
            {**done, "status": "in_progress", "arguments": ""}, done,
            *(("response.function_call_arguments.delta", {**here, "delta": part}) for part in pieces(arguments)),
            ("response.function_call_arguments.done", {**here, "name": name, "arguments": done["arguments"]}),
            index=index)

    def end(self, reason="stop"):
        if reason in ("stop", "tools"):
            return self.event("response.completed", response=response("completed", self.output))
        return self.event("response.incomplete", response=response(
            "incomplete", self.output, incomplete_details={"reason": REASONS.get(reason, reason)}))

    def failed(self, code, text):
        return self.event("response.failed", response=response("failed", error={"code": code, "message": text}))

    def broken(self):
        return self.event("error", **FAILED, param=None)


NOISE = (event("response.weather", sequence_number=99, output_index=7, delta={"x": [1]}) +
         event("keepalive", sequence_number=100) + event("response.queued", response=response("queued")))
KINDS = {400: ("invalid_request_error", None), 401: ("invalid_request_error", "invalid_api_key"),
         404: ("invalid_request_error", "model_not_found"), 429: ("requests", "rate_limit_exceeded")}


TOO_LONG = ("Your input exceeds the context window of this model.",
            {"code": "context_length_exceeded", "param": "input"})


def error_body(status, text, **more):
    kind, code = KINDS.get(status, ("server_error", None))
    return {"error": {"message": text, "type": kind, "param": None, "code": code, **more}}


def whole(text=None, command=None):
    """The answer as one body, for clients that did not ask for a stream."""
    item = message(text) if command is None else function("call_1", json.dumps({"command": command}))
    return response("completed", [item])


HELLO = str(Stream().text("All ", "is wéll.").end())
CALL = json.dumps({"command": NOTE})
RAN = json.dumps({"command": "echo ran-it >ran"})
SUMMARY = [{"type": "summary_text", "text": "Let me see."}]
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": SUMMARY, "encrypted_content": "gAAAAABwhole"}


def thinking(x):
    """The reasoning is wanted back as it was at its end, directly before what it led to."""
    if not x.results:
        here = {"item_id": "rs_1", "summary_index": 0}
        return x.stream(Stream().item(
            {**THOUGHT, "summary": [], "encrypted_content": "gAAAAABpart"}, THOUGHT,
            ("response.reasoning_summary_part.added", {**here, "part": {**SUMMARY[0], "text": ""}}),
            ("response.reasoning_summary_text.delta", {**here, "delta": "Let me see."}),
            ("response.reasoning_summary_text.done", {**here, "text": "Let me see."}),
            ("response.reasoning_summary_part.done", {**here, "part": SUMMARY[0]})).shell().end("tools"))
    items = x.request["input"]
    at = next((n for n, item in enumerate(items) if item.get("type") == "reasoning"), -1)
    kept = {key: value for key, value in items[at].items() if key not in ("status", "content")}
    if at < 0 or kept != THOUGHT or items[at + 1].get("type") != "function_call":
        x.violation(f"reasoning was not replayed as it came: {items[at:at + 2]}")
    return x.answer()


def plain_reasoning(x):
    """gpt-oss on a local server: reasoning in plain text, nothing encrypted. None of it is shown."""
    done = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "ran-it"}]}
    here = {"item_id": "rs_1", "content_index": 0}
    if x.results:
        return x.answer()
    return x.stream(Stream().item({**done, "content": []}, done, (
        "response.reasoning_text.delta", {**here, "delta": "ran-it"})).shell().end("tools"))


def interleaved():
    """Two calls grow in turns, each by its item."""
    calls = [function("call_a", CALL, item="fc_a"),
             function("call_b", json.dumps({"command": "echo two"}), item="fc_b")]
    stream = Stream()
    for at, call in enumerate(calls):
        begun = {**call, "arguments": "", "status": "in_progress"}
        stream.event("response.output_item.added", output_index=at, item=begun)
    parts = [pieces(call["arguments"]) for call in calls]
    for turn in range(max(map(len, parts))):
        for at, call in enumerate(calls):
            if turn < len(parts[at]):
                stream.event("response.function_call_arguments.delta", output_index=at, item_id=call["id"],
                             delta=parts[at][turn])
    for at, call in reversed(list(enumerate(calls))):
        stream.event("response.function_call_arguments.done", output_index=at, item_id=call["id"],
                     name="shell", arguments=call["arguments"])
        stream.event("response.output_item.done", output_index=at, item=call)
    stream.output = calls
    return stream.end()


def refused():
    part = {"type": "refusal", "refusal": "I cannot."}
    done = {**message("x"), "content": [part]}
    here = {"item_id": "msg_1", "content_index": 0}
    return Stream().item({**done, "content": []}, done,
                         ("response.content_part.added", {**here, "part": {**part, "refusal": ""}}),
                         ("response.refusal.delta", {**here, "delta": "I can"}),
                         ("response.refusal.delta", {**here, "delta": "not."}),
                         ("response.refusal.done", {**here, "refusal": "I cannot."}),
                         ("response.content_part.done", {**here, "part": part})).end()


def only_done(*items):
    """Nothing of an item before output_item.done."""
    stream = Stream()
    for at, item in enumerate(items):
        stream.event("response.output_item.done", output_index=at, item=item)
        stream.output.append(item)
    return stream


def without(text, *kinds):
    return "".join(each + "\n\n" for each in str(text).split("\n\n")[:-1] if each.split()[1] not in kinds)


def call_with(**fields):
    """A call that lacks fields, or has odd ones: None takes one away."""
    item = {key: value for key, value in {**function("call_1", CALL), **fields}.items() if value is not None}
    return with_tools(only_done(item).end())


DELTA, ARGUMENTS_DONE = "response.function_call_arguments.delta", "response.function_call_arguments.done"

SCENARIOS = {
    **shared(sys.modules[__name__]),
    "thinking": thinking,
    "plain-reasoning": plain_reasoning,
    # What events may lack or repeat.
    "no-numbers": lambda x: x.stream(NUMBERS.sub("", HELLO)),
    "no-numbers-tool": with_tools(NUMBERS.sub("", str(Stream().shell().end()))),
    "no-names": lambda x: x.stream(re.sub(r"event: .*\n", "", HELLO)),
    "no-types": lambda x: x.stream(re.sub(r'"type": "(response\.[a-z_.]+)", ', "", HELLO)),
    "numbers-back": lambda x: x.stream(re.sub(r'"sequence_number": \d+', '"sequence_number": 0', HELLO)),
    "obfuscation": lambda x: x.stream(HELLO.replace('"delta"', '"obfuscation": "kRf2", "delta"')),
    "item-only-done": lambda x: x.stream(only_done(message("All is wéll.")).end()),
    "text-only-done": lambda x: x.stream(without(HELLO, "response.output_text.delta")),
    "tool-only-done": with_tools(only_done(function("call_1", CALL)).end()),
    "args-only-done": with_tools(without(Stream().shell().end(), DELTA)),
    "args-only-item": with_tools(without(Stream().shell().end(), DELTA, ARGUMENTS_DONE)),
    "args-bytewise": with_tools(Stream().item(
        function("call_1", ""), function("call_1", CALL),
        *((DELTA, {"item_id": "fc_1", "delta": letter}) for letter in CALL)).end()),
    "interleaved": with_tools(interleaved()),
    "bare-end": lambda x: x.stream(Stream().text("All is wéll.").event(
        "response.completed", response={"status": "completed"})),
    "call-id-none": call_with(call_id=None),
    "item-id-none": call_with(id=None),
    "long-call-id": call_with(call_id="call_" + "x" * 110),
    "call-status-none": call_with(status=None),
    "call-incomplete": with_tools(only_done(
        function("call_1", '{"command": "echo ran-it"}', status="incomplete")).end("length")),
    # How an answer may end.
    "refusal": lambda x: x.stream(refused()),
    "content-filter": lambda x: x.stream(Stream().text("no").end("content_filter")),
    "failed": lambda x: x.stream(Stream().text("void").failed("server_error", "The server had an error")),
    "failed-once": once(lambda x: x.stream(Stream().text("void").failed("server_error", "x")), HELLO),
    "failed-after-tool": lambda x: x.stream(Stream().call("call_a", RAN).failed("server_error", "It fell over")),
    "failed-rate": lambda x: x.stream(Stream().failed("rate_limit_exceeded", "Rate limit reached")),
    "failed-prompt": lambda x: x.stream(Stream().failed("invalid_prompt", "Invalid prompt")),
    "error-nested": lambda x: x.stream(Stream().event("error", error={
        "type": "invalid_request_error", "code": "context_length_exceeded", "message": "exceeds the context"})),
    "error-flat": lambda x: x.stream(Stream().event(
        "error", code="rate_limit_exceeded", message="Slow down", param=None)),
    "error-null": lambda x: x.stream(Stream().event("error", code=None, message="Something went wrong", param=None)),
    "json-failed": lambda x: x.whole(200, response("failed", error={**FAILED, "message": "It fell over"})),
    "json-incomplete": lambda x: x.whole(200, response(
        "incomplete", [message("a part")], incomplete_details={"reason": "max_output_tokens"})),
    "429-spent": lambda x: x.error(429, "You exceeded your current quota", more={
        "type": "insufficient_quota", "code": "insufficient_quota"}),
    "400-array": lambda x: x.whole(400, [x.dialect.error_body(400, "no such thing", code=400)]),
}
