"""A real Synapse as a process of ours on loopback, and people on it whose client others have written (matrix-nio, in
matrix_person.py). Both come from Debian's sid, unpacked by tools/test, and run by the loader that came with them: nothing
is installed, and nobody has to be root."""
import base64
import glob
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from mail_server import certificate, free_ports

TREE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "peacrab/test-servers-sid"
PERSON = pathlib.Path(__file__).resolve().parent / "matrix_person.py"
SECRET = "registers-people"
FAST = {"per_second": 1000, "burst_count": 1000}


def python(*words):
    """A command line of the tree's own Python."""
    loader, = glob.glob(f"{TREE}/usr/lib/*-linux-gnu/ld-linux-*.so.*")
    program = next(path for path in sorted(glob.glob(f"{TREE}/usr/bin/python3.*")) if path[-1].isdigit())
    return [loader, "--library-path", os.path.dirname(loader), program, *words]


def environment(folder):
    """What it compiles is kept beside it: the first start takes ten seconds, others two."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONHOME": f"{TREE}/usr",
            "PYTHONPATH": f"{TREE}/usr/lib/python3/dist-packages"}


def what_lacks():
    """Why it cannot be started here; "" when it can."""
    if not (TREE / ".installed").exists():
        return "Synapse is not there: tools/test fetches it"
    tried = subprocess.run(python("-c", "import ssl, sqlite3"), env=environment("/"), capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else "Synapse cannot run here: " + (tried.stderr.strip().splitlines() or ["no reason"])[-1]


class Synapse:
    """With `world` it talks to other servers, by TLS on a port that its name has in it."""

    def __init__(self, world=False, **config):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="synapse."))
        self.port, outside = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.name = f"127.0.0.1:{outside}" if world else "test.example"
        self.tokens = {}  # of people, and of "root"
        self.people = []
        listeners = [{"port": self.port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]}]
        if world:
            certificate(self.folder)
            listeners.append({"port": outside, "type": "http", "tls": True, "bind_addresses": ["127.0.0.1"],
                              "resources": [{"names": ["federation"]}]})
            config = {"tls_certificate_path": str(self.folder / "cert.pem"), "tls_private_key_path": str(self.folder / "key.pem"),
                      "federation_verify_certificates": False, "ip_range_blacklist": [], **config}
        rates = {name: FAST for name in ("rc_message", "rc_registration", "rc_joins_per_room", "rc_admin_redaction", "rc_presence")}
        rates["rc_login"] = {name: FAST for name in ("address", "account", "failed_attempts")}
        rates["rc_joins"] = {name: FAST for name in ("local", "remote")}
        rates["rc_invites"] = {name: FAST for name in ("per_room", "per_user", "per_issuer")}
        self.config = {"server_name": self.name, "listeners": listeners, "pid_file": str(self.folder / "pid"),
                       "database": {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}},
                       "log_config": str(self.folder / "log.yaml"), "media_store_path": str(self.folder / "media"),
                       "signing_key": "ed25519 a_test " + base64.b64encode(os.urandom(32)).decode().rstrip("="),
                       "macaroon_secret_key": "macaroons", "form_secret": "forms", "registration_shared_secret": SECRET,
                       "report_stats": False, "bcrypt_rounds": 4, "presence": {"enabled": False}, "trusted_key_servers": [],
                       "max_upload_size": "2M", **rates, **config}
        (self.folder / "log.yaml").write_text(json.dumps({
            "version": 1, "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
            "handlers": {"file": {"class": "logging.FileHandler", "filename": str(self.folder / "log"), "formatter": "plain"}},
            "root": {"level": "WARNING", "handlers": ["file"]}, "disable_existing_loggers": False}))
        self.start()

    def start(self, **config):
        self.config.update(config)
        (self.folder / "homeserver.yaml").write_text(json.dumps(self.config))  # which is YAML
        with open(self.folder / "out", "ab") as out:
            self.process = subprocess.Popen(python("-m", "synapse.app.homeserver", "-c", self.folder / "homeserver.yaml"),
                                            env=environment(self.folder), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        for _ in range(1200):
            try:
                return urllib.request.urlopen(self.url + "/health", timeout=5).close()
            except OSError:
                assert self.process.poll() is None, self.logs()
                time.sleep(0.05)
        raise AssertionError("Synapse does not listen: " + self.logs())

    def stop(self, hard=False):
        self.process.kill() if hard else self.process.terminate()
        self.process.wait(timeout=30)

    def close(self):
        for person in self.people:
            person.close()
        self.stop(hard=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        return "\n".join((self.folder / name).read_text(errors="replace")[-3000:] for name in ("out", "log") if (self.folder / name).exists())

    def call(self, method, path, body=None, token=None):
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode(), method=method)
        if token:
            request.add_header("Authorization", "Bearer " + token)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:300]}") from None

    # ---- whoever administers it

    def user(self, name, admin=False):
        """Its id; with a password that is its name twice."""
        nonce = self.call("GET", "/_synapse/admin/v1/register")["nonce"]
        words = [nonce, name, name * 2, "admin" if admin else "notadmin"]
        mac = hmac.new(SECRET.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
        made = self.call("POST", "/_synapse/admin/v1/register", {"nonce": nonce, "username": name, "displayname": name.title(),
                                                                "password": name * 2, "admin": admin, "mac": mac})
        self.tokens[name] = made["access_token"]
        return made["user_id"]

    def login(self, name, device, **more):
        return self.call("POST", "/_matrix/client/v3/login",
                         {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": name * 2,
                          "device_id": device, **more})["access_token"]

    def slow_down(self, user, a_second, burst):
        """How many messages it takes of this user; 0, 0: as many as come."""
        if "root" not in self.tokens:
            self.user("root", admin=True)
        self.call("POST", f"/_synapse/admin/v1/users/{urllib.parse.quote(user)}/override_ratelimit",
                  {"messages_per_second": a_second, "burst_count": burst}, self.tokens["root"])

    def person(self, name):
        self.user(name)
        self.people.append(Person(self, name))
        return self.people[-1]


class Person:
    """Somebody with matrix-nio. What is asked of it, and what it tells, is in matrix_person.py."""

    def __init__(self, server, name):
        self.name, self.user = name, f"@{name}:{server.name}"
        self.lock = threading.Lock()
        self.log = open(server.folder / f"nio-{name}", "wb")
        self.process = subprocess.Popen(python(PERSON, server.url, self.user, name * 2), env=environment(server.folder), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.ask("ready")

    def ask(self, what, **keys):
        with self.lock:
            self.process.stdin.write(json.dumps({"ask": what, **keys}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        assert line, f"{self.name}: matrix-nio has ended: " + pathlib.Path(self.log.name).read_text()[-3000:]
        answer = json.loads(line)
        assert "error" not in answer, f"{self.name}: {what}: {answer['error']}"
        return answer["is"]

    def say(self, room, text, **content):
        return self.ask("say", room=room, content={"msgtype": "m.text", "body": text, **content})

    def heard(self, room, sender=None):
        """The messages of a room, oldest first, as they stand there now: {id, sender, type, text, html, edited, content}."""
        return [event for event in self.ask("heard", room=room) if sender in (None, event["sender"])]

    def texts(self, room, sender=None):
        return [event["text"] for event in self.heard(room, sender)]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()
