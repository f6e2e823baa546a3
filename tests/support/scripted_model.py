"""A model on loopback that says what the test has put down, one step a request: a text, or calls of tools.
Anthropic's wire. Python's standard library only."""
import http.server
import json
import re
import threading


class Model(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.steps, self.requests, self.calls = [], [], 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def plays(self, *steps):
        """`steps`: a text, or (tool, arguments). What was asked before is forgotten."""
        self.steps, self.requests = list(steps), []

    def system(self, request=-1):
        return "".join(block["text"] for block in self.requests[request]["system"])

    def catalogue(self):
        """{name: description} of the skills, and their folder, as the model is told."""
        text = self.system()
        found = re.search(r"read (/\S+)/NAME/SKILL\.md", text)
        if not found:
            return {}, None
        lines = text[found.end():].split("\n")[1:]
        return dict(line.split(": ", 1) for line in lines if ": " in line), found.group(1)

    def results(self, request=-1):
        """Texts of the tool results that came with that request."""
        content = self.requests[request]["messages"][-1]["content"]
        return [block["content"] if isinstance(block["content"], str)
                else "".join(part.get("text", "") for part in block["content"])
                for block in content if block["type"] == "tool_result"]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def event(self, kind, **data):
        self.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode())

    def do_POST(self):
        model = self.server
        model.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        step = model.steps.pop(0) if model.steps else "(the script has ended)"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.event("message_start", message={"id": "m", "type": "message", "role": "assistant", "model": "scripted",
                                             "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}})
        if isinstance(step, str):
            block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": step}
        else:
            model.calls += 1
            block = {"type": "tool_use", "id": f"toolu_{model.calls}", "name": step[0], "input": {}}
            given = step[1] if isinstance(step[1], str) else json.dumps(step[1])
            delta = {"type": "input_json_delta", "partial_json": given}
        self.event("content_block_start", index=0, content_block=block)
        self.event("content_block_delta", index=0, delta=delta)
        self.event("content_block_stop", index=0)
        self.event("message_delta", delta={"stop_reason": "end_turn" if isinstance(step, str) else "tool_use"},
                   usage={"output_tokens": 2})
        self.event("message_stop")
