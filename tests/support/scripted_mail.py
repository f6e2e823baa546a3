"""An IMAP and an SMTP server for one account on loopback, without TLS, that do what real ones do and, where a test says
so, what none should: `imap[command]` and `smtp[command]` are called in place of the usual answer, with the session and
the line, and give what is to be said (bytes), or None for the usual."""
import base64
import re
import socket
import threading


class Session:
    def __init__(self, server, connection):
        self.server, self.connection, self.lines = server, connection, connection.makefile("rb")
        self.idling = None

    def say(self, data):
        self.connection.sendall(data)


class ScriptedMail:
    def __init__(self, capability="IMAP4rev1 SASL-IR IDLE UIDPLUS AUTH=PLAIN AUTH=XOAUTH2"):
        self.capability, self.imap, self.smtp = capability, {}, {}
        self.mails, self.validity, self.sent, self.logins, self.heard = {}, 1, [], [], []
        self.refuse, self.sessions, self.lock = 0, set(), threading.Lock()
        self.ports = {"imap": self.listen(self.talk_imap), "smtp": self.listen(self.talk_smtp)}

    def listen(self, talk):
        listener = socket.create_server(("127.0.0.1", 0), backlog=32)

        def accept():
            while True:
                connection = listener.accept()[0]
                threading.Thread(target=self.serve, args=(talk, connection), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1]

    def serve(self, talk, connection):
        session = Session(self, connection)
        self.sessions.add(session)
        try:
            talk(session)
        except (OSError, ValueError):
            pass
        self.sessions.discard(session)
        session.lines.close()
        connection.close()

    def cut(self):
        for session in list(self.sessions):
            try:
                session.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def arrive(self, raw):
        with self.lock:
            uid = max(self.mails, default=0) + 1
            self.mails[uid] = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for session in list(self.sessions):
            if session.idling:
                session.say(b"* %d EXISTS\r\n" % len(self.mails))
        return uid

    def talk_imap(self, session):
        session.say(b"* OK [CAPABILITY " + self.capability.encode() + b"] ready\r\n")
        for line in session.lines:
            line = line.rstrip(b"\r\n")
            self.heard.append(line)
            if session.idling:
                session.say(session.idling + b" OK done\r\n")
                session.idling = None
                continue
            tag, _, rest = line.partition(b" ")
            words = rest.decode(errors="replace").upper().split(" ")
            command = " ".join(words[:2]) if words[0] == "UID" else words[0]
            if command in self.imap:
                answer = self.imap[command](session, line)
                if answer is False:
                    return
                if answer is not None:
                    session.say(answer.replace(b"TAG", tag))
                    continue
            session.say(self.answer(session, command, rest.decode(errors="replace")) + tag + b" OK done\r\n"
                        if not self.refused(session, command, rest, tag) else b"")
            if command == "IDLE":
                session.idling = tag

    def refused(self, session, command, rest, tag):
        if command not in ("LOGIN", "AUTHENTICATE"):
            return False
        if command == "AUTHENTICATE" and "SASL-IR" not in self.capability:
            session.say(b"+ \r\n")
            rest += b" " + session.lines.readline().strip()
        self.logins.append(rest.decode())
        if self.refuse <= 0:
            return False
        self.refuse -= 1
        session.say(tag + b" NO [AUTHENTICATIONFAILED] not now\r\n")
        return True

    def answer(self, session, command, rest):
        if command == "CAPABILITY":
            return f"* CAPABILITY {self.capability}\r\n".encode()
        if command in ("SELECT", "EXAMINE"):
            return b"* %d EXISTS\r\n* OK [UIDVALIDITY %d] x\r\n* OK [UIDNEXT %d] x\r\n" % (len(self.mails), self.validity, max(self.mails, default=0) + 1)
        if command == "IDLE":
            session.say(b"+ idling\r\n")
        if command == "UID SEARCH":
            first = re.search(r"UID (\d+):\*", rest)
            message = re.search(r'HEADER Message-ID "(.*?)"', rest)
            uids = [uid for uid, raw in sorted(self.mails.items()) if (not first or uid >= int(first.group(1))) and
                    (not message or message.group(1).encode() in raw)]
            return ("* SEARCH " + " ".join(map(str, uids)) + "\r\n").encode()
        if command == "UID FETCH":
            uid = int(rest.split(" ")[2])
            raw = self.mails.get(uid)
            if raw is None:
                return b""
            if "HEADER" in rest:
                raw = raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            return b'* %d FETCH (UID %d INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE %d BODY[]<0> {%d}\r\n' % (uid, uid, len(raw), len(raw)) + raw + b")\r\n"
        return b""

    def talk_smtp(self, session):
        greeting = self.smtp.get("greeting")
        session.say(greeting(session, b"") if greeting else b"220 smtp.test ESMTP\r\n")
        for line in session.lines:
            command = line.rstrip(b"\r\n").split(b" ")[0].decode(errors="replace").upper()
            if command in ("MAIL", "RCPT"):
                command = line.split(b":")[0].decode().upper()
            hook = self.smtp.get(command)
            answer = hook(session, line) if hook else None
            if answer is False:
                return
            if answer is not None:
                session.say(answer)
            elif command == "EHLO":
                session.say(b"250-smtp.test\r\n250-SIZE\r\n250 AUTH PLAIN XOAUTH2\r\n")
            elif command == "AUTH":
                session.say(b"334 \r\n")
                self.logins.append(line.decode().strip() + " " + session.lines.readline().decode().strip())
                session.say(b"235 come in\r\n")
            elif command == "DATA":
                session.say(b"354 go on\r\n")
                self.take(session)
            elif command == "QUIT":
                return session.say(b"221 bye\r\n")
            else:
                session.say(b"250 fine\r\n")

    def take(self, session):
        mail = b""
        for line in session.lines:
            if line == b".\r\n":
                hook = self.smtp.get("end")
                answer = hook(session, mail) if hook else None
                if answer is None or answer.startswith(b"2"):
                    self.sent.append(mail)
                session.say(answer or b"250 taken\r\n")
                return
            mail += line[1:] if line.startswith(b".") else line
        raise OSError("cut")

    def bearer(self, line):
        return base64.b64decode(line.split(" ")[-1]).decode()
