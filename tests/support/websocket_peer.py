"""The server's end of a WebSocket (RFC 6455): frames as a test wants them, also such as none may send."""
import base64
import hashlib
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode, payload=b"", last=True, mask=None, length=None, rsv=0):
    head = bytes([(0x80 if last else 0) | rsv << 4 | opcode])
    size = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if mask:
        payload = mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + payload


class Peer:
    """The server's end of one connection. `head`: of a request that was read already, lines as they came."""

    def __init__(self, connection, head=None):
        self.connection, self.buffer = connection, b""
        connection.settimeout(20)
        self.head = self.until(b"\r\n\r\n").decode() if head is None else head
        self.masks = []

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        out, self.buffer = self.buffer.split(mark, 1)
        return out

    def more(self):
        piece = self.connection.recv(65536)
        if not piece:
            raise EOFError
        self.buffer += piece

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def header(self, name):
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    def accept(self, extra="", key=None, connection="keep-alive, Upgrade"):
        key = key or self.header("sec-websocket-key")
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send((f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: {connection}\r\n"
                   f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n{extra}\r\n").encode())

    def send(self, data):
        self.connection.sendall(data)

    def read(self):
        first, second = self.take(2)
        assert first & 0x80 and second & 0x80, "the client's frames are whole and masked"
        size = second & 0x7f
        if size == 126:
            size = struct.unpack(">H", self.take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.take(8))[0]
        mask = self.take(4)
        self.masks.append(mask)
        data = self.take(size)
        pattern = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return first & 15, (int.from_bytes(data, "big") ^ pattern).to_bytes(size, "big")
