"""`peacrab relay` in a home of its own, and those who send to it, for tests."""
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef0123456789abcdef"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def signature(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Relay:
    """`hooks`: {name: {key: value}}; `folder` becomes the home."""

    def __init__(self, folder, hooks, file_limit=None, program=ROOT / "build/tools/peacrab", user=None):
        self.folder, self.file_limit, self.process = pathlib.Path(folder), file_limit, None
        self.program, self.user = program, {} if user is None else {"user": user, "group": user, "extra_groups": []}
        self.listen, self.local = free_port(), free_port()
        self.environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"],
                            **{f"XDG_{name.upper()}_HOME": str(self.folder / name) for name in ("config", "state")}}
        lines = [f"relay:\n  listen: 127.0.0.1:{self.listen}\n  local: 127.0.0.1:{self.local}\n  hooks:\n"]
        for name, keys in hooks.items():
            lines.append(f"    {name}:\n" + "".join(f"      {key}: {value}\n" for key, value in keys.items()))
        self.yaml = "".join(lines)
        secrets = self.folder / "config/peacrab/secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        secrets.chmod(0o700)
        (self.folder / "config/peacrab/config.yaml").write_text(self.yaml)
        for name in hooks:
            self.set_secret("hook-" + name, SECRET)

    def set_secret(self, name, text):
        path = self.folder / "config/peacrab/secrets" / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def token(self, name="whatsapp"):
        secret = (self.folder / "config/peacrab/secrets/relay").read_text().strip()
        return hashlib.sha256(f"{secret}/{name}".encode()).hexdigest()

    def limit(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_limit, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def start(self):
        self.log = open(self.folder / "relay.log", "ab")
        self.process = subprocess.Popen([self.program, "relay"], env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, preexec_fn=self.limit if self.file_limit else None, **self.user)
        for _ in range(500):
            try:
                with socket.create_connection(("127.0.0.1", self.local), 1):
                    return self
            except OSError:
                assert self.process.poll() is None, (self.folder / "relay.log").read_text()
                time.sleep(0.02)
        raise AssertionError("the relay does not listen")

    def stop(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.log.close()
        return code

    def ask(self, method, path, body=b"", headers=None, port=None):
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.listen, timeout=40)
        try:
            connection.request(method, path, body if method == "POST" else None, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, name, body, headers=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/" + name, body, {"X-Hub-Signature-256": signature(body), **(headers or {})})[0]

    def post_until_taken(self, name, body):
        """As a sender does that repeats what was not answered by 200."""
        for _ in range(400):
            try:
                if self.post(name, body) == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        raise AssertionError("it was never taken")

    def read(self, name, query="", token=None):
        """As a channel: status, and what was answered."""
        status, body = self.ask("GET", f"/{name}?{query}", headers={"Authorization": "Bearer " + (token or self.token(name))}, port=self.local)
        return status, json.loads(body) if status == 200 else None
