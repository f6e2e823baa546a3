#!/usr/bin/env python3
"""An Anthropic Messages endpoint that does what the message says, on loopback; Python's library only.

A message is JSON: a list of calls, each {"tool": NAME, ...arguments}. They are asked for one after the
other, and the answer is JSON again: one {"failed": bool, "text": ...} a call, in order. So a test runs
tools in a real cell, through a real turn, and reads what they gave. Anything else is answered "ok".
Prints its port; ends by itself after --for seconds.
"""
import argparse
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hostile_anthropic as wire  # noqa: E402
import hostile_model as model  # noqa: E402


def blocks(message):
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def asked(messages):
    """The calls of the last message of a person, and what came out of those made since."""
    results = []
    for message in reversed(messages):
        if message["role"] != "user":
            continue
        for block in reversed(blocks(message)):
            if block["type"] == "tool_result":
                results.insert(0, block)
            elif block["type"] == "text":
                try:
                    # Behind it the warden may tell what became of background processes.
                    calls, _ = json.JSONDecoder().raw_decode(block["text"])
                except ValueError:
                    calls = []
                calls = calls or script(block["text"])
                good = isinstance(calls, list) and all(isinstance(c, dict) and "tool" in c for c in calls)
                return (calls if good else []), results
    return [], results


def script(text):
    """What a person may ask in words, of the folder the message names."""
    folder = re.search(r"about the folder (\S+)/ in your workspace", text)
    if not folder or not text.startswith("rename foo to bar everywhere"):
        return []
    return [
        {"tool": "search", "pattern": "foo", "path": folder[1]},
        {"tool": "shell", "command": f"cd {folder[1]} && grep -rl foo src run.sh | xargs sed -i s/foo/bar/g"},
        {"tool": "edit", "path": folder[1] + "/README", "old": "about foo", "new": "about bar"},
        {"tool": "shell", "command": f"cd {folder[1]} && sed s/foo/bar/ foo.txt >bar.txt && rm foo.txt && "
                                     "ln -sfn bar.txt link && mkdir -p build && echo made >build/new.o"},
    ]


def said(block):
    content = block["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return {"failed": bool(block.get("is_error")), "text": text}


def answer(exchange):
    calls, results = asked(exchange.request["messages"])
    if len(results) < len(calls):
        arguments = {k: v for k, v in calls[len(results)].items() if k != "tool"}
        ident = f"call_{len(exchange.request['messages'])}_{len(results)}"
        stream = wire.Stream().call(ident, json.dumps(arguments), calls[len(results)]["tool"])
        exchange.stream(stream.end("tools"))
    else:
        text = json.dumps([said(block) for block in results[:len(calls)]]) if calls else "ok"
        exchange.stream(wire.Stream().text(text).end())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--for", type=float, default=7200, dest="seconds")
    parser.add_argument("--any-client", action="store_true", help="requests are not checked")
    options = parser.parse_args()
    wire.SCENARIOS["obey"] = answer
    server = model.Server(options.port, None)
    server.strict = not options.any_client
    model.serve(server, options.seconds)


if __name__ == "__main__":
    main()
