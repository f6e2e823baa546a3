#!/usr/bin/env python3
# timeout: 120
# timeout-full: 300
"""`peacrab relay`, attacked: who is not genuine, who sends slowly, too much or twice, a disk that is full, and kill -9
at any moment: what was answered by 200 is there, once."""
import functools
import hashlib
import hmac
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cases import case, run_cases  # noqa: E402
from relay import ROOT, SECRET, Relay, signature  # noqa: E402

FULL = bool(os.environ.get("PEACRAB_FULL"))
HOOKS = {"whatsapp": {"scheme": "whatsapp"}, "builds": {"scheme": "signed", "hourly": 5},
         "timed": {"scheme": "signed", "timestamp": "x-timestamp", "delivery": "x-delivery"}}


def in_folder(function):
    @functools.wraps(function)
    def run():
        with tempfile.TemporaryDirectory() as folder:
            return function(folder)
    return case(run)


def bodies(relay, name, query=""):
    status, answer = relay.read(name, query)
    assert status == 200, status
    return [entry["body"] for entry in answer["entries"]]


def cursor(answer):
    return f"{answer['spool']}:{answer['entries'][-1]['seq']}"


@in_folder
def genuine_or_not(folder):
    relay = Relay(folder, HOOKS).start()
    body = b'{"n": 1}'
    right = signature(body)
    for headers in ({}, {"X-Hub-Signature-256": "sha256="}, {"X-Hub-Signature-256": "sha256=" + "0" * 64},
                    {"X-Hub-Signature-256": signature(b'{"n": 2}')}, {"X-Hub-Signature-256": signature(body, "another")},
                    {"X-Hub-Signature-256": right[:-1]}, {"X-Hub-Signature": right}, {"X-Hub-Signature-256": "sha1=" + right[7:]},
                    {"X-Signature": right}):
        status = relay.ask("POST", "/whatsapp", body, headers)[0]
        assert status == 401, (headers, status)
    connection = http.client.HTTPConnection("127.0.0.1", relay.listen, timeout=10)
    connection.putrequest("POST", "/whatsapp")
    for value in (right, signature(b"other")):
        connection.putheader("X-Hub-Signature-256", value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    assert connection.getresponse().status == 401, "two signatures are none"
    assert bodies(relay, "whatsapp") == [], "nothing of it was kept"
    assert relay.post("whatsapp", body) == 200 and relay.post("whatsapp", body) == 200
    assert bodies(relay, "whatsapp") == [body.decode()], "a second sending has no effect"
    assert relay.ask("POST", "/builds", body, {"X-Signature": right[7:].upper()})[0] == 200, "either header, either case"
    for path, status in (("/", 404), ("/nobody", 404), ("/../whatsapp", 404), ("/whatsapp/", 404), ("//whatsapp", 404)):
        assert relay.ask("POST", path, body, {"X-Hub-Signature-256": right})[0] == status, path
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert relay.ask(method, "/whatsapp")[0] == 405, method
    assert relay.ask("GET", "/builds")[0] == 405
    (relay.folder / "config/peacrab/secrets/hook-whatsapp").unlink()
    assert relay.post("whatsapp", b"[]") == 503, "without a secret nobody is genuine"
    assert relay.stop(signal.SIGTERM) == 0


@in_folder
def challenged(folder):
    relay = Relay(folder, HOOKS).start()
    token = hmac.new(SECRET.encode(), b"peacrab: verify token", hashlib.sha256).hexdigest()[:32]
    ask = "/whatsapp?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    assert relay.ask("GET", ask + token) == (200, b"1158201444")
    for path in (ask + "wrong", ask, ask + token + "0", "/whatsapp", "/whatsapp?hub.verify_token=" + token,
                 ask.replace("1158201444", "<script>") + token, ask.replace("1158201444", "a" * 300) + token):
        assert relay.ask("GET", path)[0] == 403, path
    relay.stop()


@in_folder
def replayed(folder):
    relay = Relay(folder, HOOKS).start()
    body = b'{"status": "red"}'

    def send(at, signed_at=None, delivery="d1", text=body):
        headers = {"X-Timestamp": str(at), "X-Delivery": delivery,
                   "X-Signature": signature(str(signed_at or at).encode() + b"." + text)}
        return relay.ask("POST", "/timed", text, {key: value for key, value in headers.items() if value})[0]

    now = int(time.time())
    assert send(now) == 200 and send(now + 1) == 200
    assert send(now, delivery="d2") == 200
    assert len(bodies(relay, "timed")) == 2, "the delivery's id tells which is a second sending"
    for at, signed_at in ((now - 600, None), (now + 600, None), (now, now - 600), ("soon", None), (-5, None), (10 ** 30, None)):
        assert send(at, signed_at) == 401, (at, signed_at)
    assert send(now, delivery="") == 400
    assert relay.post("timed", body) == 401, "without a timestamp"
    answers = [relay.post("builds", {"n": number}) for number in range(8)]
    assert answers == [200] * 5 + [429] * 3, answers
    assert relay.post("builds", {"n": 0}) == 200, "what is there already is no more"
    relay.stop()


def raw(relay, data, wait=20):
    with socket.create_connection(("127.0.0.1", relay.listen), 10) as connection:
        connection.settimeout(wait)
        answer = b""
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionResetError, socket.timeout):
            pass
        return answer


@in_folder
def oversized(folder):
    relay = Relay(folder, HOOKS).start()
    big = b"x" * (4 << 20)
    head = b"POST /whatsapp HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: " + signature(big).encode() + b"\r\n"
    assert raw(relay, head + b"Content-Length: 4194304\r\n\r\n" + big).startswith(b"HTTP/1.1 413")
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    assert raw(relay, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 4 + b"0\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert raw(relay, head + b"Content-Length: 99999999999999\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert relay.post("builds", b"y" * (300 << 10)) == 413, "one of others is smaller"
    assert raw(relay, b"POST /whatsapp HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n").startswith(b"HTTP/1.1 431")
    for bad in (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                b"Content-Length: -1\r\n\r\n", b"Content-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n", b"A: b\nContent-Length: 2\r\n\r\n{}",
                b"Content-Length: 20\r\n\r\n"):
        assert raw(relay, b"POST /whatsapp HTTP/1.1\r\nHost: x\r\n" + bad, 3)[:12] in (b"HTTP/1.1 400", b""), bad
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"\0" * 5000 + b"\r\n\r\n", b"GET\r\n\r\n"):
        assert not raw(relay, garbage, 3).startswith(b"HTTP/1.1 2"), garbage[:20]
    assert relay.post("whatsapp", b"{}") == 200 and bodies(relay, "whatsapp") == ["{}"]
    relay.stop()


@in_folder
def slow(folder):
    """Two hundred that say a byte in a while: who is genuine is heard all the same, and they are not for ever."""
    relay = Relay(folder, HOOKS).start()
    loris = []
    for _ in range(200):
        one = socket.create_connection(("127.0.0.1", relay.listen), 10)
        one.sendall(b"POST /whatsapp HTTP/1.1\r\n")
        loris.append(one)
    silent = [socket.create_connection(("127.0.0.1", relay.listen), 10) for _ in range(20)]
    time.sleep(2.1)
    began = time.monotonic()
    for number in range(20):
        relay.post_until_taken("whatsapp", {"n": number})
    took = time.monotonic() - began
    assert took < 15, took
    for one in silent + loris[:5]:
        one.settimeout(30)
        try:
            while one.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert len(bodies(relay, "whatsapp")) == 20
    relay.stop()
    return f"20 genuine ones among 220 that are not, in {took:.1f} s"


@in_folder
def crowded(folder):
    """Fifty a second that never finish what they ask, heads and bodies: who is genuine is heard at once, the first time."""
    relay = Relay(folder, HOOKS).start()
    held, over = [], threading.Event()

    def crowd():
        number = 0
        while not over.wait(0.02):
            one = socket.create_connection(("127.0.0.1", relay.listen), 10)
            whole = b"POST /whatsapp HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
            one.sendall(whole if number % 2 else whole[:30])
            held.append(one)
            number += 1
    crowding = threading.Thread(target=crowd)
    crowding.start()
    try:
        time.sleep(1.5)
        for number in range(20):
            began = time.monotonic()
            assert relay.post("whatsapp", {"n": number}) == 200
            assert time.monotonic() - began < 2, "nobody is waited for"
            time.sleep(0.1)
    finally:
        over.set()
        crowding.join()
    assert len(bodies(relay, "whatsapp")) == 20
    for one in held:
        one.close()
    relay.stop()
    return f"20 genuine ones among {len(held)} that are not"


@in_folder
def read_by_channels_only(folder):
    relay = Relay(folder, HOOKS).start()
    relay.post("whatsapp", {"n": 1})
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"}, {"Authorization": relay.token()},
                    {"Authorization": "Bearer " + relay.token("builds")},
                    {"Authorization": "Bearer " + SECRET}):
        assert relay.ask("GET", "/whatsapp", headers=headers, port=relay.local)[0] == 401, headers
    held = {"Authorization": "Bearer " + relay.token()}
    assert relay.ask("GET", "/whatsapp", headers=held)[0] == 403, "nothing is read where the world comes in"
    assert relay.read("nobody")[0] == 404 and relay.ask("GET", "/builds", headers=held, port=relay.local)[0] == 401
    assert relay.ask("POST", "/whatsapp", b"{}", held, port=relay.local)[0] == 405
    _, first = relay.read("whatsapp")
    relay.post("whatsapp", {"n": 2})
    _, second = relay.read("whatsapp", "after=" + cursor(first))
    assert [entry["body"] for entry in second["entries"]] == ['{"n": 2}'], second
    assert bodies(relay, "whatsapp") == ['{"n": 2}'], "without a place: behind what was taken"
    assert bodies(relay, "whatsapp", "after=another:2") == ['{"n": 2}'], "a place in another spool is none"
    assert bodies(relay, "whatsapp", "having=n%22") == [] and len(bodies(relay, "whatsapp", "having=n")) == 2
    began = time.monotonic()
    threading.Timer(0.5, relay.post, ["whatsapp", {"n": 3}]).start()
    _, third = relay.read("whatsapp", f"after={cursor(second)}&wait=20")
    waited = time.monotonic() - began
    assert [entry["body"] for entry in third["entries"]] == ['{"n": 3}'] and 0.4 < waited < 5, (third, waited)
    began = time.monotonic()
    assert relay.read("whatsapp", f"after={cursor(third)}&wait=1")[1]["entries"] == []
    assert 0.9 < time.monotonic() - began < 5
    relay.stop()


@in_folder
def killed(folder):
    """Whoever is killed: what was answered is there, and what was not is sent once more and there once."""
    rounds = 200 if FULL else 40
    relay = Relay(folder, HOOKS).start()
    ends, done, lock = threading.Event(), [], threading.Lock()

    def send(sender):
        number = 0
        while not ends.is_set():
            relay.post_until_taken("whatsapp", {"sender": sender, "n": number})
            with lock:
                done.append(f'{{"sender": {sender}, "n": {number}}}')
            number += 1

    senders = [threading.Thread(target=send, args=[sender]) for sender in range(4)]
    for sender in senders:
        sender.start()
    children = pathlib.Path(f"/proc/{relay.process.pid}/task/{relay.process.pid}/children")
    kills = 0
    for number in range(rounds):
        time.sleep(0.011 * (number % 7 + 1))
        if number % 3 == 2:
            relay.stop()
            relay.start()
            children = pathlib.Path(f"/proc/{relay.process.pid}/task/{relay.process.pid}/children")
            kills += 1
            continue
        for child in children.read_text().split() if children.exists() else []:
            try:
                os.kill(int(child), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
    ends.set()
    for sender in senders:
        sender.join()
    got, place = [], ""
    while True:
        _, answer = relay.read("whatsapp", f"after={place}" if place else "")
        if not answer["entries"]:
            break
        got += [entry["body"] for entry in answer["entries"]]
        place = cursor(answer)
    relay.stop()
    lost, doubled = set(done) - set(got), len(got) - len(set(got))
    assert not lost and not doubled and len(done) > rounds, (len(done), lost, doubled)
    return f"{len(done)} webhooks, {kills} kills, {len(lost)} lost, {doubled} doubled"


@in_folder
def full_disk(folder):
    relay = Relay(folder, HOOKS, file_limit=400 << 10).start()
    taken = 0
    for number in range(100):
        status = relay.post("whatsapp", {"n": number, "x": "y" * 20_000})
        if status != 200:
            break
        taken += 1
    assert status == 503 and 3 < taken < 60, (status, taken)
    texts = bodies(relay, "whatsapp")
    assert len(texts) == taken, (len(texts), taken)
    relay.stop()
    relay.file_limit = None
    relay.start()
    assert relay.post("whatsapp", {"n": number, "x": "y" * 20_000}) == 200
    relay.stop()
    return f"{taken} taken and there, then 503, then taken again"


@in_folder
def configured(folder):
    for hooks, words in (({"a": {"scheme": "none"}}, "what nobody has signed is not taken"), ({"a": {"hourly": 3}}, "scheme"),
                         ({"A b": {"scheme": "signed"}}, "small letters"), ({"a": {"scheme": "signed", "secret": "x"}}, "unknown key")):
        relay = Relay(folder, hooks)
        done = subprocess.run([ROOT / "build/tools/peacrab", "relay"], env=relay.environment, capture_output=True, text=True, timeout=20)
        assert done.returncode == 1 and words in done.stderr, (hooks, done.stderr)
    relay = Relay(folder, {"a": {"scheme": "signed"}})
    path = relay.folder / "config/peacrab/config.yaml"
    path.write_text(relay.yaml.replace("listen: 127.0.0.1", "listen: 0.0.0.0"))
    done = subprocess.run([ROOT / "build/tools/peacrab", "relay"], env=relay.environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "127.0.0.1:PORT was expected" in done.stderr, done.stderr


if __name__ == "__main__":
    sys.exit(run_cases())
