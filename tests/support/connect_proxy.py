"""A proxy that joins tunnels (CONNECT), refuses them, or cuts them in the middle, as a test wants it."""
import socket
import subprocess
import tempfile
import threading


def listening(serve):
    """A socket of loopback; each of its connections has a thread in `serve`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener


def read_head(source):
    """Byte by byte: what follows is somebody else's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = source.recv(1)
        if not piece or len(head) > 65536:
            return b""
        head += piece
    return head


class ConnectProxy:
    def __init__(self):
        self.lock = threading.Lock()
        self.open, self.tunnels = set(), 0
        self.code, self.refusals = 503, 0
        self.listener = listening(self.serve)
        self.port = self.listener.getsockname()[1]

    def refuse(self, code, times):
        with self.lock:
            self.code, self.refusals = code, times

    def cut(self):
        """All tunnels, as they are."""
        with self.lock:
            ends, self.open = self.open, set()
        for end in ends:
            hang_up(end)

    def close(self):
        self.listener.close()
        self.cut()

    def serve(self, client):
        try:
            head = read_head(client)
            if not head:
                return client.close()
            with self.lock:
                refused = self.refusals > 0
                self.refusals -= refused
            if refused or not head.startswith(b"CONNECT "):
                client.sendall(b"HTTP/1.1 %d Refused\r\ncontent-length: 0\r\n\r\n" % self.code)
                return client.close()
            host, _, port = head.split()[1].decode().rpartition(":")
            server = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        except OSError:
            return client.close()
        with self.lock:
            self.tunnels += 1
            self.open |= {client, server}
        threading.Thread(target=self.pump, args=(client, server), daemon=True).start()
        return self.pump(server, client)

    def pump(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        with self.lock:
            self.open -= {source, target}
        hang_up(source)
        hang_up(target)


def hang_up(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Tunnelled:
    """What `make` builds of a certificate's and a key's file, which only `environment` trusts, behind a proxy."""

    def __init__(self, make):
        self.folder = tempfile.TemporaryDirectory()
        key, certificate = (f"{self.folder.name}/{name}" for name in ("key.pem", "cert.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        key, "-out", certificate], check=True, capture_output=True)
        self.place = make(tls=(certificate, key))
        self.proxy = ConnectProxy()
        self.environment = {"HTTPS_PROXY": f"http://127.0.0.1:{self.proxy.port}", "SSL_CERT_FILE": certificate}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.place.__exit__(*error)
        self.proxy.close()
        self.folder.cleanup()
