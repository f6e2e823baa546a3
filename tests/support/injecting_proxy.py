"""A sandbox's proxy: opens TLS with a private CA, lets through only the hosts it knows, and puts the real credential in
the place of what stands for it. In heads of requests (a path, a header), and in what a client says over a WebSocket.
Each host is a server on loopback, spoken to in the clear. Needs openssl. Python's standard library otherwise.
"""
import os
import re
import socket
import ssl
import struct
import subprocess
import threading

from connect_proxy import listening, read_head

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class InjectingProxy:
    def __init__(self, folder, credentials):
        """`folder` is for its keys; `credentials`: {what stands for one: the real one}."""
        self.folder, self.credentials = str(folder), {a.encode(): b.encode() for a, b in credentials.items()}
        self.hosts, self.contexts, self.lock = {}, {}, threading.Lock()
        self.put_in, self.refused = 0, []
        self.new_authority()
        self.listener = listening(self.serve)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def knows(self, host, port):
        """`host`:443 is the server at `port` of loopback."""
        self.hosts[host] = port

    def new_authority(self):
        """Another CA from now on."""
        with self.lock:
            self.contexts = {}
            self.openssl("req", "-x509", *NEW_KEY, "-days", "2", "-subj", "/CN=Sandbox CA", "-keyout", "ca.key", "-out", "ca.pem")
        with open(os.path.join(self.folder, "ca.pem"), "rb") as file:
            self.authority = file.read()

    def close(self):
        self.listener.close()

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def context(self, host):
        with self.lock:
            if host not in self.contexts:
                with open(os.path.join(self.folder, "names"), "w", encoding="ascii") as names:
                    names.write(f"subjectAltName=DNS:{host}")
                self.openssl("req", *NEW_KEY, "-subj", "/CN=leaf", "-keyout", f"{host}.key", "-out", "request.pem")
                self.openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                             "-days", "2", "-extfile", "names", "-out", f"{host}.pem")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*(os.path.join(self.folder, f"{host}.{end}") for end in ("pem", "key")))
                context.set_alpn_protocols(["http/1.1"])
                self.contexts[host] = context
            return self.contexts[host]

    def serve(self, client):
        try:
            head = read_head(client)
            if not head.startswith(b"CONNECT "):
                return client.sendall(b"HTTP/1.1 405 Only CONNECT\r\ncontent-length: 0\r\n\r\n")
            host, _, port = head.split()[1].decode().rpartition(":")
            if host not in self.hosts or port != "443":
                self.refused.append(f"{host}:{port}")
                return client.sendall(b"HTTP/1.1 403 Blocked by policy\r\ncontent-length: 0\r\n\r\n")
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            with self.context(host).wrap_socket(client, server_side=True) as secure:
                while self.request(secure, self.hosts[host]):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            client.close()
        return None

    def request(self, client, port):
        """One request and its answer. True: another may come."""
        head = read_head(client)
        if not head:
            return False
        upgrade = re.search(rb"\r\nupgrade: *websocket", head, re.I)
        if not upgrade:
            head = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.I)[:-2] + b"connection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(self.exchange(head))
            if upgrade:
                threading.Thread(target=pump, args=(server, client), daemon=True).start()
                self.frames(client, server)
                return False
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
            left = int(length.group(1)) if length else 0
            if re.search(rb"\r\nexpect: *100-continue", head, re.I):
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while left:
                piece = client.recv(min(left, 65536))
                if not piece:
                    return False
                server.sendall(piece)
                left -= len(piece)
            while piece := server.recv(65536):
                client.sendall(piece)
        return False

    def exchange(self, data):
        for stands_for, real in self.credentials.items():
            self.put_in += data.count(stands_for)
            data = data.replace(stands_for, real)
        return data

    def frames(self, client, server):
        """A client's frames (RFC 6455, 5.2), each written again."""
        while True:
            first, second = exactly(client, 2)
            length = second & 127
            if length > 125:
                length, = struct.unpack("!H" if length == 126 else "!Q", exactly(client, 2 if length == 126 else 8))
            mask = exactly(client, 4)
            said = self.exchange(masked(exactly(client, length), mask))
            size = len(said)
            extended = (bytes([128 | size]) if size < 126 else
                        bytes([254]) + struct.pack("!H", size) if size < 65536 else bytes([255]) + struct.pack("!Q", size))
            server.sendall(bytes([first]) + extended + mask + masked(said, mask))


def masked(data, mask):
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def exactly(source, count):
    data = b""
    while len(data) < count:
        piece = source.recv(count - len(data))
        if not piece:
            raise OSError("it ended")
        data += piece
    return data


def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
