#!/usr/bin/env python3
"""A model that gives work for a long turn: --steps answers with calls, one after the other, then the sums.

Every request is checked as by hostile_model. Which step is next stands in the request alone (the highest
`call_NNNN` of it), so a request that is repeated is answered the same. Every fifth step asks for two reads at
once. Each whole answer has its own usage; their sum is at GET /log as `soak`, with the step that was reached.
While the file --down is there everything is answered 529; before step 60 two connections are reset.
Prints its port; ends by itself after --for seconds.
"""
import argparse
import json
import os
import re
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hostile_model as model  # noqa: E402

CALL = re.compile(r'"call_(\d{4})[ab]?"')
SUM = "sort log | uniq -d | wc -l; wc -l <log; ls f* | wc -l"  # run twice, run at all, files


class Soak:
    def __init__(self, options):
        self.options, self.lock = options, threading.Lock()
        self.said = {"step": 0, "answers": 0, "calls": 0, "summaries": 0, "resets": 0, "refused": 0,
                     "input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0}

    def count(self, **more):
        with self.lock:
            for key, value in more.items():
                self.said[key] = max(self.said[key], value) if key == "step" else self.said[key] + value

    def send(self, exchange, stream, step, **more):
        """With a usage that no other answer has."""
        usage = {"input_tokens": 300 + step, "output_tokens": 7 + step % 5, "cache_read_input_tokens": step % 11}
        text = str(stream).replace('"usage": {"input_tokens": 25, "output_tokens": 1}', '"usage": ' + json.dumps(
            {**usage, "output_tokens": 1}))
        text = text.replace('"usage": {"output_tokens": 9}', f'"usage": {{"output_tokens": {usage["output_tokens"]}}}')
        exchange.stream(text)
        self.count(answers=1, **usage, **more)

    def __call__(self, exchange):
        new = exchange.dialect.Stream
        if os.path.exists(self.options.down):
            self.count(refused=1)
            return exchange.error(529)
        text = json.dumps(exchange.request)
        if not exchange.request.get("tools"):
            return self.send(exchange, new().text("SO FAR: steps were made, each once.").end(), 0, summaries=1)
        step = max([int(number) for number in CALL.findall(text)], default=0) + 1
        if step == 60 and self.said["resets"] < 2:
            self.count(resets=1)
            return exchange.drop(reset=True)
        self.count(step=step)
        if step > self.options.steps + 1:
            return self.send(exchange, new().text("sums: " + " ".join(exchange.results[-1].split())).end(), step)
        stream, ident = new(), f"call_{step:04}"
        if step > self.options.steps:
            stream.shell(ident, SUM)
        elif step % 5 == 0:
            stream.call(ident + "a", json.dumps({"path": f"f{step - 1}"}), "read")
            stream.call(ident + "b", json.dumps({"pattern": f"^step {step - 2}$", "path": "log"}), "search")
        elif step % 5 == 4:
            stream.call(ident, json.dumps({"path": f"f{step}", "content": f"{step}\n" * 200}), "write")
        else:
            stream.shell(ident, f"echo step {step} >>log; seq {step}000 {step}300")
        return self.send(exchange, stream.end("tools"), step, calls=2 if step % 5 == 0 <= self.options.steps else 1)


class Server(model.Server):
    soak = None

    def log(self):
        return {**super().log(), "soak": dict(self.soak.said)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=420)
    parser.add_argument("--down", default="/nonexistent/down")
    parser.add_argument("--for", type=float, default=3600, dest="seconds")
    options = parser.parse_args()
    server = Server(0, None)
    server.soak = Soak(options)
    for dialect in model.DIALECTS.values():
        dialect.SCENARIOS["soak"] = server.soak
    model.serve(server, options.seconds)


if __name__ == "__main__":
    main()
