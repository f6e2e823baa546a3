#!/usr/bin/env python3
# timeout: 120
"""The WebSocket client against a server that does what none should: over TCP, over TLS with a private CA, and through a
CONNECT proxy. `websocket_test.py NAME...` runs only cases whose name contains a NAME.
"""
import base64
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from connect_proxy import ConnectProxy  # noqa: E402
from websocket_peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame  # noqa: E402

CLIENT = ROOT / "build/tests/support/websocket_client"
MIB = 1 << 20
CASES = []


def case(function):
    CASES.append(function)
    return function


def plain_case(function):
    """Only over TCP: what serves it wants to read and write at once, which Python's TLS does not."""
    function.plain = True
    return case(function)


def filling(size):
    letters = bytes(range(ord("a"), ord("a") + 23))
    return (letters * (size // 23 + 1))[:size]


class Server:
    """Runs one function with each connection; what it raises fails the case."""

    def __init__(self, serve, context=None):
        self.serve, self.context, self.trouble = serve, context, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.run, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def run(self, connection):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.serve(Peer(connection))
        except (EOFError, ConnectionError, ssl.SSLError):
            pass
        except Exception as error:
            self.trouble.append(repr(error))
        finally:
            connection.close()


class Client:
    def __init__(self, url, *headers, silence=20000, limit=16 * MIB, environment=None):
        clean = {"PATH": "/usr/bin:/bin", **(environment or {})}
        self.process = subprocess.Popen([CLIENT, url, str(silence), str(limit), *headers], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=clean)
        self.opening = self.line()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def next(self, limit=10000):
        self.tell(f"next {limit}")
        return self.line()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class Place:
    """How the client gets to the server: plain, or TLS with a private CA, perhaps through a proxy."""
    context, environment, scheme = None, {}, "ws"

    def run(self, serve, use, *headers, **options):
        server = Server(serve, self.context)
        url = f"{self.scheme}://localhost:{server.port}/path?x=1"
        client = Client(url, *headers, environment=self.environment, **options)
        try:
            use(client)
        finally:
            client.close()
            server.listener.close()
        for thread in server.threads:
            thread.join(5)
        assert not server.trouble, server.trouble


def secure_place(folder, proxy=None):
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new_key, "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "cert.pem")
    place = Place()
    place.scheme = "wss"
    place.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    place.context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    place.context.set_alpn_protocols(["h2", "http/1.1"])
    place.environment = {"PROXY_CA_CERT_B64": base64.b64encode((folder / "ca.pem").read_bytes()).decode()}
    if proxy:
        place.environment["https_proxy"] = f"http://127.0.0.1:{proxy.port}"
    return place


def echo(peer):
    peer.accept()
    while True:
        opcode, data = peer.read()
        if opcode == CLOSE:
            return peer.send(frame(CLOSE, data))
        if opcode in (TEXT, BINARY):
            peer.send(frame(opcode, data))


@case
def texts_of_any_size_come_back(place):
    def use(client):
        for size in (0, 1, 125, 126, 65535, 65536, MIB, 5 * MIB):
            client.tell(f"fill {size}")
            got = client.next(20000).split(" ", 3)
            assert got[:3] == ["text", "0", str(size)], (size, got)
            assert size < 101 or got[3] == "filling", got
    place.run(echo, use)


@case
def fragments_with_a_ping_between_are_one_message(place):
    def serve(peer):
        peer.accept()
        peer.send(frame(TEXT, b"one ", last=False) + frame(PING, b"there?") + frame(0, b"two ", last=False) +
                  frame(0, b"three"))
        assert peer.read() == (PONG, b"there?")
        peer.read()

    def use(client):
        assert client.next() == "text 0 13 one two three"
    place.run(serve, use)


@case
def a_frame_of_3_mb(place):
    def serve(peer):
        peer.accept()
        peer.send(frame(TEXT, filling(3 * MIB)))
        peer.read()

    def use(client):
        assert client.next() == f"text 0 {3 * MIB} filling"
    place.run(serve, use)


@case
def one_byte_at_a_time(place):
    def serve(peer):
        peer.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send = peer.send
        peer.send = lambda data: [send(bytes([b])) for b in data]
        peer.accept()
        peer.send(frame(TEXT, b"slow " * 40) + frame(PING, b"x"))
        assert peer.read() == (PONG, b"x")
        peer.read()

    def use(client):
        assert client.next() == "text 0 200 " + "slow " * 40
        assert client.next(300) == "nothing 0 0 "
    place.run(serve, use)


@case
def a_burst_of_2000_frames_stays_in_order(place):
    def serve(peer):
        peer.accept()
        peer.send(b"".join(frame(TEXT, b"n%d" % i) for i in range(2000)))
        peer.read()

    def use(client):
        for i in range(2000):
            assert client.next().split(" ")[3] == f"n{i}"
    place.run(serve, use)


@case
def what_comes_with_the_answer_is_not_lost(place):
    def serve(peer):
        send, kept = peer.send, []
        peer.send = kept.append
        peer.accept()
        send(kept[0] + frame(TEXT, b"at once"))
        peer.read()

    def use(client):
        assert client.next() == "text 0 7 at once"
    place.run(serve, use)


@case
def a_close_is_answered_and_told(place):
    for code, reason in ((1000, b""), (4004, b"bad token"), (1001, "für immer".encode())):
        def serve(peer, code=code, reason=reason):
            peer.accept()
            peer.send(frame(CLOSE, struct.pack(">H", code) + reason))
            opcode, data = peer.read()
            assert (opcode, data[:2]) == (CLOSE, struct.pack(">H", code)), (opcode, data)

        def use(client, code=code, reason=reason):
            assert client.next() == f"closed {code} {len(reason)} {reason.decode()}"
            assert client.next().startswith("closed 1006 ")
        place.run(serve, use)

    def bare(peer):
        peer.accept()
        peer.send(frame(CLOSE))
        assert peer.read() == (CLOSE, b"")
    place.run(bare, lambda client: client.next() == "closed 1005 0 " or sys.exit("a close without a code"))


@case
def we_close_with_a_code_and_wait_for_the_answer(place):
    seen = []

    def serve(peer):
        peer.accept()
        seen.append(peer.read())
        peer.send(frame(CLOSE, seen[0][1]))

    def use(client):
        client.tell("close 4000 done here")
        assert client.next().startswith("closed 1006 ")
    place.run(serve, use)
    assert seen == [(CLOSE, struct.pack(">H", 4000) + b"done here")], seen


@case
def an_abrupt_end_is_1006(place):
    def serve(peer):
        peer.accept()
        peer.send(frame(TEXT, b"half of it", length=100))
        peer.connection.shutdown(socket.SHUT_RDWR)
    place.run(serve, lambda client: check(client.next(), "closed 1006 "))


@case
def half_a_header_then_a_pause(place):
    def serve(peer):
        peer.accept()
        whole = frame(TEXT, b"y" * 300)
        peer.send(whole[:3])
        time.sleep(0.6)
        peer.send(whole[3:])
        peer.read()

    def use(client):
        assert client.next(200) == "nothing 0 0 "
        assert client.next() == "text 0 300 " + "y" * 200
    place.run(serve, use)


@case
def silence_is_asked_about_and_then_is_the_end(place):
    seen = []

    def serve(peer):
        peer.accept()
        seen.append(peer.read()[0])
        peer.send(frame(PONG))
        seen.append(peer.read()[0])
        seen.append(peer.read()[0])

    def use(client):
        start = time.monotonic()
        check(client.next(20000), "closed 1006 ")
        assert 1.1 < time.monotonic() - start < 4, time.monotonic() - start
    place.run(serve, use, silence=400)
    assert seen == [PING, PING], seen


@case
def what_is_against_the_protocol_ends_it(place):
    wrong = {
        "masked": (frame(TEXT, b"x", mask=b"abcd"), 1002),
        "reserved": (frame(TEXT, b"x", rsv=4), 1002),
        "unknown": (frame(3, b"x"), 1002),
        "unknown control": (frame(11, b"x"), 1002),
        "long ping": (frame(PING, b"x" * 126), 1002),
        "ping in pieces": (frame(PING, b"x", last=False), 1002),
        "continues nothing": (frame(0, b"x"), 1002),
        "begins within": (frame(TEXT, b"x", last=False) + frame(TEXT, b"y"), 1002),
        "long length": (b"\x81\x7e\x00\x05hello", 1002),
        "longer length": (b"\x81\x7f" + struct.pack(">Q", 5) + b"hello", 1002),
        "endless length": (b"\x81\x7f" + struct.pack(">Q", 1 << 63), 1009),
        "over the limit": (frame(TEXT, length=MIB + 1), 1009),
        "over the limit in pieces": (frame(TEXT, b"z" * MIB, last=False) + frame(0, b"z"), 1009),
        "not UTF-8": (frame(TEXT, b"a\xffb"), 1007),
        "half a character": (frame(TEXT, "ü".encode()[:1]), 1007),
        "close of one byte": (frame(CLOSE, b"x"), 1002),
        "close 1005": (frame(CLOSE, struct.pack(">H", 1005)), 1002),
        "close not UTF-8": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1002),
    }
    for name, (data, code) in wrong.items():
        told = []

        def serve(peer, data=data, told=told):
            peer.accept()
            peer.send(data)
            told.append(peer.read())

        def use(client, code=code, name=name):
            check(client.next(), f"closed {code} ", name)
        place.run(serve, use, limit=MIB)
        assert told == [(CLOSE, struct.pack(">H", code))], (name, told)


@case
def a_character_across_two_frames_is_whole(place):
    def serve(peer):
        peer.accept()
        both = "ü€😀".encode()
        peer.send(frame(TEXT, both[:4], last=False) + frame(0, both[4:]) + frame(BINARY, b"\xff\x00"))
        peer.read()

    def use(client):
        assert client.next() == "text 0 9 ü€😀"
        client.tell("next 5000")
        check(client.process.stdout.buffer.readline().decode("latin-1"), "binary 0 2 ")
    place.run(serve, use)


@case
def headers_go_out_at_the_upgrade(place):
    heads = []

    def serve(peer):
        heads.append(peer)
        peer.accept()
        peer.read()
    place.run(serve, lambda client: check(client.opening, "open"), "Authorization: Bearer s3cret")
    peer = heads[0]
    assert peer.head.startswith("GET /path?x=1 HTTP/1.1\r\n"), peer.head
    assert peer.header("authorization") == "Bearer s3cret" and peer.header("sec-websocket-version") == "13"
    assert peer.header("host").startswith("localhost:") and not peer.header("sec-websocket-extensions")


@case
def an_answer_that_is_no_agreement_is_told(place):
    answers = {
        "401": (lambda peer: peer.send(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"), "refused 401 again "),
        "200": (lambda peer: peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), "refused 200 again "),
        "no HTTP": (lambda peer: peer.send(b"hello\r\n\r\n"), "refused 0 again "),
        "another key": (lambda peer: peer.accept(key="AAAA"), "refused 0 again "),
        "an extension": (lambda peer: peer.accept("Sec-WebSocket-Extensions: x\r\n"), "refused 0 again "),
        "endless": (lambda peer: peer.send(b"HTTP/1.1 101 x\r\n" + b"a: b\r\n" * 4000), "refused 0 again "),
        "nothing": (lambda peer: None, "refused 0 again "),
    }
    for name, (answer, wanted) in answers.items():
        place.run(answer, lambda client, wanted=wanted, name=name: check(client.opening, wanted, name),
                  "Authorization: Bearer s3cret")


@case
def no_answer_is_waited_for_no_longer_than_said(place):
    start = time.monotonic()
    place.run(lambda peer: time.sleep(4), lambda client: check(client.opening, "refused 0 again "))
    assert 2.5 < time.monotonic() - start < 9


@case
def masks_are_new_for_each_frame(place):
    masks = []

    def serve(peer):
        peer.accept()
        for _ in range(50):
            peer.read()
        masks.extend(peer.masks)

    def use(client):
        for _ in range(50):
            client.tell("say same")
        client.next(500)
    place.run(serve, use)
    assert len(set(masks)) > 45, masks


@plain_case
def input_elsewhere_wakes_also_while_frames_pour_in(place):
    def serve(peer):
        peer.accept()
        pings = frame(PING) * 1000
        peer.connection.settimeout(0.5)
        threading.Thread(target=drain, args=(peer.connection,), daemon=True).start()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            peer.send(pings)

    def use(client):
        client.tell("wake 20000")
        time.sleep(0.5)
        start = time.monotonic()
        client.tell("say awake")
        check(client.line(), "nothing ")
        assert time.monotonic() - start < 2
    place.run(serve, use)


def drain(connection):
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def check(got, wanted, what=""):
    assert got.startswith(wanted), f"{what}: wanted {wanted!r}, got {got!r}"


def strangers():
    """What is refused before a word is said."""
    with tempfile.TemporaryDirectory() as folder:
        place = secure_place(pathlib.Path(folder))
        place.environment = {}
        place.run(echo, lambda client: check(client.opening, "refused 0 hopeless cannot reach localhost:"))
    for url in ("http://x.example/", "ws://", "ws://h:0/", "ws://h:70000/", "ws://h/a b", "ws://u:p@h/", "wss://h/#f"):
        check(Client(url).opening, "refused 0 hopeless ", url)
    check(Client("ws://localhost:1/", "A: b\r\nC: d").opening, "refused 0 hopeless ")
    check(Client("ws://127.0.0.1:1/").opening, "refused 0 again cannot reach 127.0.0.1:1: ")
    proxy = ConnectProxy()
    proxy.refuse(407, 1)
    client = Client("ws://far.example:80/", environment={"http_proxy": f"http://user:pass@127.0.0.1:{proxy.port}"})
    check(client.opening, "refused 0 hopeless cannot reach far.example:80 through the proxy http://127.0.0.1:")
    assert "pass" not in client.opening, client.opening


def cut_tunnel(place, proxy):
    def use(client):
        client.tell("say hello")
        check(client.next(), "text 0 5 hello")
        proxy.cut()
        check(client.next(), "closed 1006 ")
    place.run(echo, use)


def main():
    names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        proxy = ConnectProxy()
        places = {"plain": Place()}
        for kind, through in (("tls", None), ("proxy", proxy)):
            (pathlib.Path(folder) / kind).mkdir()
            places[kind] = secure_place(pathlib.Path(folder) / kind, through)
        count = 0
        for kind, place in places.items():
            for function in CASES:
                if names and not any(name in function.__name__ for name in names):
                    continue
                if kind != "plain" and getattr(function, "plain", False):
                    continue
                start = time.monotonic()
                function(place)
                count += 1
                print(f"{kind}: {function.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
        if not names:
            cut_tunnel(places["proxy"], proxy)
            strangers()
            assert proxy.tunnels > 40, proxy.tunnels
        print(f"websocket: {count} cases, {proxy.tunnels} of the connections through a proxy, passed")


if __name__ == "__main__":
    main()
