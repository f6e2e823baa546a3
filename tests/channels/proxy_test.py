#!/usr/bin/env python3
# timeout: 180
"""A sandbox that is somebody else's: the only way out is a CONNECT proxy with a private CA, which puts the credentials
in. Messengers are talked to by their real names, and no process and no file on our side ever holds a token.
"""
import os
import pathlib
import signal
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hub_test import UID, Rig, descendants  # noqa: E402
from injecting_proxy import InjectingProxy  # noqa: E402
from process_memory import holds  # noqa: E402
from pty_driver import need  # noqa: E402
from telegram_server import TelegramServer  # noqa: E402

TELEGRAM = "4242:AA-the-real-token-of-telegram-5f21"


class SandboxRig(Rig):
    def __init__(self, channels, secrets, credentials):
        super().__init__(names=())
        self.keys = tempfile.TemporaryDirectory()
        self.proxy = InjectingProxy(self.keys.name, credentials)
        self.real = [real.encode() for real in credentials.values()]
        self.trusted = self.folder / "ca.pem"
        self.trust()
        self.environment.update(HTTPS_PROXY=self.proxy.url, SSL_CERT_FILE=str(self.trusted), NO_PROXY="127.0.0.1")
        folder = self.folder / "config/peacrab"
        (folder / "config.yaml").write_text("channels:\n" + "".join(f"  {name}: {{}}\n" for name in channels))
        (folder / "secrets").mkdir(mode=0o700)
        for name, value in secrets.items():
            (folder / "secrets" / name).write_text(value + "\n")
            (folder / "secrets" / name).chmod(0o600)
        if UID is not None:
            for path in folder.rglob("*"):
                os.chown(path, UID, UID)

    def trust(self):
        self.trusted.write_bytes(self.proxy.authority)

    def __exit__(self, *error):
        super().__exit__(*error)
        self.proxy.close()
        self.keys.cleanup()

    def has_no_credential(self):
        for path in self.folder.rglob("*"):
            if path.is_file():
                need(not [real for real in self.real if real in path.read_bytes()], f"{path.name} has a token")
        if os.geteuid() == 0:
            for pid in [self.process.pid, *descendants(self.process.pid)]:
                need(not holds(pid, *self.real), f"{pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()} has a token")


def telegram():
    server = TelegramServer()
    server.bot(TELEGRAM)

    def says(text):
        before = len(server.seen(7))
        server.say(7, 7, text)
        server.until(lambda: len(server.seen(7)) > before, 40, f"an answer to {text!r}")
        return server.seen(7)[before]

    with SandboxRig(["telegram"], {"channel-telegram": "4242:proxy-managed"}, {"4242:proxy-managed": TELEGRAM}) as rig:
        rig.proxy.knows("api.telegram.org", server.port)
        rig.start()
        need("paired, as owner" in says(rig.people("pair", "telegram")), "pairing through the proxy")
        need(says("hello") == "re: hello", "an answer through the proxy")
        rig.has_no_credential()
        need(rig.proxy.put_in > 3, "the proxy has put the token in")
        rig.proxy.new_authority()
        rig.trust()
        need(says("and now?") == "re: and now?", "the CA was changed while it ran")
        rig.stop(signal.SIGKILL)
        rig.start()
        need(says("again") == "re: again", "after a start too")
        need(not rig.proxy.refused, f"nothing else is asked for: {rig.proxy.refused}")
    server.close()
    print("ok: telegram by its real name, through a proxy that has the token and a CA of its own, changed in between")


def main():
    telegram()


if __name__ == "__main__":
    main()
