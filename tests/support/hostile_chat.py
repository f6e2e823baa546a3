"""The OpenAI Chat Completions wire of the hostile endpoint: POST .../chat/completions with a bearer key,
and what compatible servers (llama.cpp, vLLM, OpenRouter, Gemini, DeepSeek, Azure, Moonshot) make of it."""
import json
import sys

import hostile_scenarios as common
from hostile_scenarios import NOTE, need, once, only, pieces, said, shared, with_tools

TOP_LEVEL = {"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_completion_tokens",
             "max_tokens", "reasoning_effort", "verbosity", "response_format", "stream", "stream_options", "store",
             "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "user"}
SAMPLING = {"temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "seed", "n",
            "logprobs", "top_logprobs", "stop"}
MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}
# What only one server understands may come back to that one alone.
ECHOES = {"reasoning-details": {"reasoning_details"}, "deepseek": {"reasoning_content"},
          "gemini": {"extra_content"}, "gemini-again": {"extra_content"},
          "void-signature": {"extra_content"}}
LONGEST_ID = 40  # "string too long. Expected a string with maximum length 40", says the API


def check_content(message, role):
    content, kinds = message.get("content"), {"text"} | ({"image_url"} if role == "user" else set())
    if not isinstance(content, list):
        return said(content, f"the content of a {role} message")
    need(content, f"a {role} message without a part")
    for part in content:
        need(isinstance(part, dict) and part.get("type") in kinds, f"a part of a {role} message: {str(part)[:80]}")
        only(part, {"type", part["type"]}, "a part")
        if part["type"] == "text":
            said(part.get("text"), f"a part of a {role} message")
        else:
            only(part["image_url"], {"url", "detail"}, "image_url")
            common.check_image(part["image_url"].get("url"))


def check_assistant(message, seen, echoes):
    """Gives the ids of its calls."""
    for key in echoes & set(message):
        need(isinstance(message[key], {"reasoning_details": list, "reasoning_content": str}.get(key, ())), key)
    if message.get("content") is not None:
        check_content(message, "assistant")
    else:
        need(message.get("tool_calls"), "an assistant message with neither content nor calls")
    if "refusal" in message and message["refusal"] is not None:
        said(message["refusal"], "a refusal")
    if "tool_calls" not in message:
        return []
    need(isinstance(message["tool_calls"], list) and message["tool_calls"], "tool_calls is empty")
    ids = []
    for call in message["tool_calls"]:
        only(call, {"type", "id", "function"} | echoes, "a call")
        need(call.get("type") == "function", "a call that is of no function")
        ident = call.get("id")
        need(isinstance(ident, str) and 0 < len(ident) <= LONGEST_ID and ident.isprintable() and " " not in ident,
             f"bad id of a call {ident!r}")
        need(ident not in seen, f"the id {ident} stands twice")
        seen.add(ident)
        ids.append(ident)
        only(call.get("function"), {"name", "arguments"}, "function")
        common.check_call(call["function"].get("name"), call["function"].get("arguments"))
    return ids


def check_messages(messages, echoes):
    need(isinstance(messages, list) and messages, "no messages")
    seen, waiting, before = set(), [], None
    for number, message in enumerate(messages):
        role = message.get("role")
        need(role in MESSAGE_KEYS, f"message {number}: role {role}")
        only(message, MESSAGE_KEYS[role] | (echoes if role == "assistant" else set()), f"message {number} ({role})")
        if role == "tool":
            need(message.get("tool_call_id") in waiting, f"message {number}: a result for no open call")
            waiting.remove(message["tool_call_id"])
            check_content(message, role)
        else:
            need(not waiting, f"message {number}: the calls {waiting} have no result yet")
        if role in ("system", "developer"):
            need(number == 0, f"message {number}: a {role} message that is not the first")
            check_content(message, role)
        elif role == "user":
            # The chat templates of many local models refuse two of one role in a row.
            need(before != "user", f"message {number}: two user messages in a row")
            check_content(message, role)
        elif role == "assistant":
            need(before in ("user", "tool"), f"message {number}: an assistant message after {before}")
            waiting = check_assistant(message, seen, echoes)
        before = role
    need(not waiting, f"the calls {waiting} have no result")
    need(before in ("user", "tool"), "the last message is not the user's and no result")


def check_request(method, headers, body, scenario=""):
    """Raises Bad for the first invariant that does not hold; gives the parsed body."""
    request = common.read_request(method, headers, body)
    common.check_bearer(headers)
    need(not SAMPLING & set(request), f"sampling parameters: {sorted(SAMPLING & set(request))}")
    only(request, TOP_LEVEL, "the request")
    limits = {"max_tokens", "max_completion_tokens"} & set(request)
    need(len(limits) <= 1, "both max_tokens and max_completion_tokens")
    need(all(common.whole_number(request[limit]) for limit in limits), "a limit that is no positive number")
    options = request.get("stream_options", {})
    only(options, {"include_usage", "include_obfuscation"}, "stream_options")
    need(all(isinstance(value, bool) for value in options.values()), "stream_options are true or false")
    if "tools" in request:
        need(isinstance(request["tools"], list), "tools is no list")
        for tool in request["tools"]:
            only(tool, {"type", "function"}, "a tool")
            need(tool.get("type") == "function" and isinstance(tool.get("function"), dict), "a tool of no function")
        common.check_functions([tool["function"] for tool in request["tools"]],
                               {"name", "description", "parameters", "strict"})
    for key in {"tool_choice", "parallel_tool_calls"} & set(request):
        need("tools" in request, f"{key} is only allowed when tools are")
    check_messages(request.get("messages"), ECHOES.get(scenario, set()))
    return request


def history(request):
    """How many calls were made so far, and what their newest results say, in order."""
    made = sum(len(message.get("tool_calls", [])) for message in request["messages"])
    results = []
    for message in request["messages"]:
        if message["role"] == "assistant":
            results = []
        elif message["role"] == "tool":
            content = message["content"]
            results.append(content if isinstance(content, str) else "".join(part["text"] for part in content))
    return made, results


# What a stream is made of.

def data(value):
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "hostile-1"}
DONE = "data: [DONE]\n\n"
USAGE = {"prompt_tokens": 25, "completion_tokens": 9, "total_tokens": 34,
         "prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 2}}


def chunk(delta, finish=None, at=0, **more):
    return data({**HEAD, "choices": [{"index": at, "delta": delta, "finish_reason": finish, **more}]})


def usage_chunk():
    return data({**HEAD, "choices": [], "usage": USAGE})


def function(ident, name, arguments="", **more):
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calls(*entries):
    return chunk({"tool_calls": list(entries)})


NOISE = data({**HEAD, "choices": [], "weather": 1}) + chunk({}) + chunk({"weather": "mild", "content": ""})
REASONS = {"stop": "stop", "tools": "tool_calls", "length": "length"}
FAILED = {"message": "The server had an error", "type": "server_error", "param": None, "code": None}
KINDS = {400: ("invalid_request_error", None), 401: ("invalid_request_error", "invalid_api_key"),
         404: ("invalid_request_error", "model_not_found"), 429: ("requests", "rate_limit_exceeded")}


TOO_LONG = ("This model's maximum context length is 10000 tokens. However, your messages resulted in 11000 tokens.",
            {"code": "context_length_exceeded", "param": "messages"})


class Stream(common.Stream):
    def __init__(self):
        super().__init__(chunk({"role": "assistant", "content": "", "refusal": None}))

    def text(self, *parts):
        return self.raw(*(chunk({"content": part}) for part in parts))

    def call(self, ident, arguments="", name="shell", given=None, index=None):
        at = self.place(index)
        self.raw(calls({"index": at, **function(ident, name, "" if given is None else given)}))
        return self.raw(*(calls({"index": at, "function": {"arguments": part}}) for part in pieces(arguments)))

    def end(self, reason="stop", usage=True, done=True):
        self.raw(chunk({}, REASONS.get(reason, reason)))
        return self.raw(usage_chunk() if usage else "", DONE if done else "")

    def broken(self):
        return self.raw(data({"error": FAILED}))


def error_body(status, message, **more):
    kind, code = KINDS.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **more}}


def whole(text=None, command=None):
    """The answer as one body, for clients that did not ask for a stream."""
    message = {"role": "assistant", "content": text, "refusal": None}
    if command is not None:
        message["tool_calls"] = [function("call_1", "shell", json.dumps({"command": command}))]
    return {**HEAD, "object": "chat.completion", "usage": USAGE, "choices": [
        {"index": 0, "message": message, "finish_reason": "stop" if command is None else "tool_calls"}]}


HELLO = str(Stream().text("All ", "is wéll.").end())
BEGUN = str(Stream().text("All ", "is wéll."))
CALL = {"command": NOTE}
TWO = ("call_a", json.dumps(CALL)), ("call_b", json.dumps({"command": "echo two"}))
DETAILS = [{"type": "reasoning.text", "text": "Let me see.", "signature": "c2ln", "id": "r1", "index": 0},
           {"type": "reasoning.encrypted", "data": "AAAA", "id": "r2", "index": 1}]
SIGNED = {"google": {"thought_signature": "c2lnbmF0dXJl"}}


def echoed(x, wanted, got):
    if got != wanted:
        x.violation(f"not replayed as it came: {got}")
    x.answer()


def reasoning_details(x):
    """OpenRouter: the list comes in pieces, one a chunk, and is wanted back as it was."""
    if not x.results:
        return x.stream(Stream().raw(*(chunk({"reasoning_details": [each], "reasoning": "ran-it"}) for each in DETAILS))
                        .shell().end("tools"))
    return echoed(x, DETAILS, x.request["messages"][2].get("reasoning_details"))


def deepseek(x):
    """Source: the guide to DeepSeek's thinking mode. After a call the reasoning must be sent in every later
    request, or the answer is 400."""
    if x.results and x.request["messages"][2].get("reasoning_content") != "Let me see.":
        return x.error(400, "The `reasoning_content` in the thinking mode must be passed back to the API.")
    if x.results:
        return x.answer()
    return x.stream(Stream().raw(chunk({"content": None, "reasoning_content": "Let me "}),
                                 chunk({"content": None, "reasoning_content": "see."})).shell().end("tools"))


def gemini(x):
    """No index, whole calls, the signature of the first one alone, the reason in the same chunk."""
    if not x.results:
        first, second = (function(ident, "shell", arguments) for ident, arguments in TWO)
        return x.stream(chunk({"role": "assistant", "tool_calls": [{**first, "extra_content": SIGNED}]}) +
                        chunk({"role": "assistant", "tool_calls": [second]}, "tool_calls") + DONE)
    return echoed(x, [SIGNED, None], [call.get("extra_content") for call in x.request["messages"][2]["tool_calls"]])


def void_signature(x):
    """The server takes its own signature back no more: without it goes on."""
    if x.results and "extra_content" in json.dumps(x.request["messages"]):
        return x.error(400, "Corrupted thought signature")
    return x.answer() if x.results else x.stream(
        chunk({"role": "assistant", "tool_calls": [
            function("call_v", "shell", json.dumps(CALL), extra_content=SIGNED)]}, "tool_calls") + DONE)


def gemini_again(x):
    """Signed twice in one conversation: each answer has its own, and both are wanted."""
    if x.made < 2:
        call = function(f"call_{x.made}", "shell", json.dumps(CALL), extra_content={"google": {"n": x.made}})
        return x.stream(chunk({"role": "assistant", "tool_calls": [call]}, "stop") + DONE)
    made = [call for message in x.request["messages"] for call in message.get("tool_calls", [])]
    return echoed(x, [0, 1], [call.get("extra_content", {}).get("google", {}).get("n") for call in made])


def azure():
    filters = data({"id": "", "object": "", "created": 0, "model": "", "choices": [],
                    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]})
    return filters + HELLO.replace('"finish_reason": null', '"finish_reason": null, "content_filter_results": {}')


def interleaved():
    """Two calls grow in turns, each by its index."""
    stream = Stream().raw(*(calls({"index": at, **function(ident, "shell")}) for at, (ident, _) in enumerate(TWO)))
    parts = [pieces(arguments) for _, arguments in TWO]
    for turn in range(max(map(len, parts))):
        stream.raw(calls(*({"index": at, "function": {"arguments": each[turn]}}
                           for at, each in enumerate(parts) if turn < len(each))))
    return stream.end("tools")


def said_again():
    """A server that repeats id and name with each piece: that is still one call."""
    return Stream().raw(*(calls({"index": 0, **function("call_1", "shell", part)})
                          for part in pieces(json.dumps(CALL)))).end("tools")


def router_error(code, message):
    return data({**HEAD, "provider": "X", "error": {"code": code, "message": message},
                 "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error",
                              "native_finish_reason": None}]})


def whole_calls(*entries, finish="tool_calls"):
    return chunk({"role": "assistant", "content": None, "tool_calls": list(entries)}) + chunk({}, finish) + DONE


def without_id(arguments, **more):
    return calls({"type": "function", "function": {"name": "shell", "arguments": arguments}, **more})


PROCESSING = ": OPENROUTER PROCESSING\n\n"
RAN = function("call_z", "shell", json.dumps({"command": "echo ran-it >ran"}))

SCENARIOS = {
    **shared(sys.modules[__name__]),
    # The end, and what may be missing of it.
    "no-done": lambda x: x.stream(Stream().text("All is wéll.").end(done=False)),
    "no-usage": lambda x: x.stream(Stream().text("All is wéll.").end(usage=False)),
    "finish-then-eof": lambda x: x.cut(Stream().text("All is wéll.").end(usage=False, done=False)),
    "no-finish": lambda x: x.stream(BEGUN + DONE),
    "no-finish-usage": lambda x: x.stream(BEGUN + usage_chunk() + DONE),
    "one-chunk": lambda x: x.stream(chunk({"role": "assistant", "content": "All is wéll."}, "stop") + DONE),
    "usage-in-choice": lambda x: x.stream(BEGUN + chunk({}, "stop", usage=USAGE) + DONE),
    "usage-always": lambda x: x.stream(HELLO.replace('"choices"', '"usage": null, "choices"', 3)),
    "empty-finish": lambda x: x.stream(HELLO.replace('"finish_reason": null', '"finish_reason": ""')),
    "no-tool-once": once(lambda x: x.stream(Stream().text("x").end("tools")), HELLO),
    "no-stop": lambda x: x.stream(Stream().text("x").end(None)),
    # What the pieces may look like.
    "openrouter": lambda x: x.stream(PROCESSING + common.between(PROCESSING, HELLO)),
    "azure": lambda x: x.stream(azure()),
    "obfuscation": lambda x: x.stream(HELLO.replace('"choices"', '"obfuscation": "kRf2", "choices"')),
    "content-null": with_tools(chunk({"role": "assistant", "content": None}) + str(Stream().shell().end("tools"))),
    "choices": lambda x: x.stream(Stream().text("All ").raw(
        chunk({"role": "assistant", "content": "ran-it"}, at=1), chunk({"tool_calls": [{"index": 0, **RAN}]}, at=1),
        chunk({}, "tool_calls", at=1)).text("is wéll.").end()),
    "reasoning": lambda x: x.stream(Stream().raw(
        chunk({"reasoning": "ran-it", "reasoning_content": "ran-it"})).text("All ", "is wéll.").end()),
    "reasoning-details": reasoning_details,
    "deepseek": deepseek,
    "refusal": lambda x: x.stream(Stream().raw(chunk({"refusal": "I can"}), chunk({"refusal": "not."})).end()),
    "content-filter": lambda x: x.stream(Stream().text("no").end("content_filter")),
    # What calls may look like.
    "tool-stop": with_tools(Stream().shell().end()),
    "index-none": with_tools(Stream().raw(*(calls(function(ident, "shell", arguments))
                                            for ident, arguments in TWO)).end("tools")),
    "id-none": with_tools(Stream().raw(*(without_id(arguments, index=at)
                                         for at, (_, arguments) in enumerate(TWO))).end("tools")),
    "id-none-one": with_tools(Stream().raw(without_id(TWO[0][1])).end("tools")),
    "args-bytewise": with_tools(Stream().raw(calls({"index": 0, **function("call_1", "shell")}), *(
        calls({"index": 0, "function": {"arguments": letter}}) for letter in TWO[0][1])).end("tools")),
    "args-null": with_tools(Stream().raw(calls({"index": 0, **function("call_1", "shell", None)})).end("tools")),
    "interleaved": with_tools(interleaved()),
    "said-again": with_tools(said_again()),
    "all-at-once": with_tools(whole_calls(*({"index": at, **function(ident, "shell", arguments)}
                                            for at, (ident, arguments) in enumerate(TWO)))),
    "finish-function": with_tools(whole_calls(
        {"index": 0, **function("call_a", "shell", TWO[0][1])}, finish="function_call")),
    "long-id": with_tools(Stream().shell("call_" + "x" * 44).end("tools")),
    "gemini": gemini,
    "gemini-again": gemini_again,
    "void-signature": void_signature,
    # Errors of this wire.
    "openrouter-error": lambda x: x.stream(Stream().text("void").raw(router_error(502, "Provider disconnected"), DONE)),
    "openrouter-after-tool": lambda x: x.stream(Stream().call("call_a", RAN["function"]["arguments"]).raw(
        router_error(502, "Provider disconnected"), DONE)),
    "openrouter-402": lambda x: x.stream(Stream().raw(router_error(402, "Insufficient credits"), DONE)),
    "finish-error": lambda x: x.stream(Stream().call("call_a", RAN["function"]["arguments"]).end("error")),
    "400-array": lambda x: x.whole(400, [x.dialect.error_body(400, "no such thing", code=400)]),
    "429-spent": lambda x: x.error(429, "You exceeded your current quota", more={
        "type": "insufficient_quota", "code": "insufficient_quota"}),
    "503-once": once(lambda x: x.error(503), HELLO),
    "error-string": lambda x: x.whole(400, {"error": "no such thing"}),
    "llama-wrapped": lambda x: x.stream(str(Stream()) + data({"error": {
        "code": 400, "message": "exceeds the context", "type": "exceed_context_size_error"}})),
    "llama-error-once": once(lambda x: x.stream(str(Stream()) + "event: error\n" + data(
        {"code": 500, "message": "slot failed", "type": "server_error"})), HELLO),
}
