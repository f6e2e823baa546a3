"""What the emulators of messengers have in common: a server of loopback that writes down what it is asked, and breaks
as it is told.
"""
import http.server
import json
import socket
import ssl
import sys
import threading
import time


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # who hangs up is no news


class Emulator:
    call_key = "method"  # how an entry of the log names what was called
    controls = ()        # what a program may ask for with POST /control

    def __init__(self, handler, port, tls):
        self.change = threading.Condition(threading.RLock())
        self.faults, self.log, self.closing, self.secure = [], [], False, bool(tls)
        self.http = Listener(("127.0.0.1", port), type("Handler", (handler,), {"emulator": self}))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.http.server_address[1]

    def address(self, scheme="http"):
        return f"{scheme}{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    def serve(self):
        """From now on, in a thread."""
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def deaf(self):
        """No connection is taken any more; those that are there stay."""
        self.http.shutdown()
        self.http.server_close()

    def close(self):
        with self.change:
            self.closing = True
            self.change.notify_all()
        self.deaf()

    def plan(self, call, kind, times, about, value):
        """A fault of the next such calls; `about`: of those alone that concern it."""
        with self.change:
            self.faults.append({"call": call, "kind": str(kind), "times": times, "value": value,
                                "about": None if about is None else str(about)})

    def unfault(self):
        with self.change:
            self.faults = []
            self.change.notify_all()

    def take_fault(self, call, about=None):
        with self.change:
            for fault in self.faults:
                if fault["call"] not in ("*", call) or fault["about"] not in (None, str(about)):
                    continue
                fault["times"] -= 1
                if fault["times"] <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def note(self, call, **more):
        with self.change:
            self.log.append({self.call_key: call, "at": time.monotonic(), **more})
            del self.log[:-100_000]

    def calls(self, call):
        with self.change:
            return [entry for entry in self.log if entry[self.call_key] == call]

    @staticmethod
    def until(condition, seconds=10, what="what was waited for"):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}")
            time.sleep(0.01)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    emulator = None

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def give(self, status, value, content_type="application/json", headers=None):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, str(text))
        if status != 204:
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def give_half(self, body):
        """Of what its header promises."""
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:len(body) // 2])

    def hang_up(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def stall(self, seconds):
        deadline = time.monotonic() + (seconds or 60)
        while time.monotonic() < deadline and not self.emulator.closing:
            time.sleep(0.05)
        self.hang_up()

    def fails_before(self, fault):
        """Instead of doing anything. False: not by this fault."""
        if fault["kind"] in ("502", "503", "504"):
            self.give(int(fault["kind"]), b"<html><head><title>Bad Gateway</title></head><body>nginx</body></html>", "text/html")
        elif fault["kind"] == "raw":
            self.give(200, fault["value"].encode())
        elif fault["kind"] == "cut_before":
            self.hang_up()
        elif fault["kind"] == "stalled_before":
            self.stall(fault["value"])
        else:
            return False
        return True

    def fails_after(self, fault, answer, headers=None):
        """It was done, and its answer does not come, or not whole."""
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        if fault["kind"] == "truncated":
            return self.give(200, body[:len(body) // 2], headers=headers)
        if fault["kind"] == "half":
            self.give_half(body)
            return self.hang_up()
        if fault["kind"] == "empty":
            return self.give(200, b"")
        if fault["kind"] == "stall":
            return self.stall(fault["value"])
        if fault["kind"] == "cut":
            return self.hang_up()
        raise AssertionError("no such fault: " + fault["kind"])

    def control(self, wanted):
        if wanted.get("do") not in self.emulator.controls:
            return self.give(400, {"error": "do: one of " + " ".join(self.emulator.controls)})
        result = getattr(self.emulator, wanted["do"])(*wanted.get("args", []), **wanted.get("options", {}))
        return self.give(200, {"result": result.user() if hasattr(result, "user") else result})


def main(make):
    server = make(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(server.port, flush=True)
    threading.Event().wait()
