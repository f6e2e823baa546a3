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
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hub_test import Rig, descendants  # noqa: E402
from discord_server import DiscordServer  # noqa: E402
from injecting_proxy import InjectingProxy  # noqa: E402
from process_memory import holds  # noqa: E402
from pty_driver import need  # noqa: E402
from slack_server import SlackServer  # noqa: E402
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
        self.configure("channels:\n" + "".join(f"  {name}: {{}}\n" for name in channels), secrets)

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


def talks(name, host, server, secrets, credentials, says, more=(), there=None):
    """`says`: somebody does, and what is answered comes back. `more`: other hosts of that server. `there`: it is
    connected; before that nothing reaches it."""
    with SandboxRig([name], secrets, credentials) as rig:
        for outside in (host, *more):
            rig.proxy.knows(outside, server.port)
        rig.start()
        if there:
            server.until(there, 20, "a socket")
        need("paired, as owner" in says(rig.people("pair", name)), "pairing through the proxy")
        need(says("hello") == "re: hello", "an answer through the proxy")
        rig.has_no_credential()
        need(rig.proxy.put_in > 3, "the proxy has put the token in")
        rig.proxy.new_authority()
        rig.trust()
        need(says("and now?") == "re: and now?", "the CA was changed while it ran")
        time.sleep(0.5)  # until it knows that its answer has arrived: else Telegram's is sent once more
        rig.stop(signal.SIGKILL)
        rig.start()
        need(says("again") == "re: again", "after a start too")
        rig.has_no_credential()
        need(not rig.proxy.refused, f"nothing else is asked for: {rig.proxy.refused}")
    server.close()
    print(f"ok: {name} by its real name, through a proxy that has the token and a CA of its own, changed in between")


def speaker(server, speak, seen):
    def says(text):
        before = len(seen())
        speak(text)
        server.until(lambda: len(seen()) > before, 40, f"an answer to {text!r}")
        return seen()[before]
    return says


def telegram():
    server = TelegramServer()
    server.bot(TELEGRAM)
    says = speaker(server, lambda text: server.say(7, 7, text), lambda: server.seen(7))
    talks("telegram", "api.telegram.org", server, {"channel-telegram": "4242:proxy-managed"},
          {"4242:proxy-managed": TELEGRAM}, says)


def slack():
    app, bot = "xapp-1-A0PEA-42-the-real-one-6a1f", "xoxb-1-2-the-real-one-77d0"
    server = SlackServer()
    server.app(app, bot)
    server.link = "wss://wss-primary.slack.com"
    place = server.im("U7")
    says = speaker(server, lambda text: server.say(place, "U7", text),
                   lambda: [message["text"] for message in server.mine(place)])
    talks("slack", "slack.com", server, {"channel-slack": "xoxb-proxy-managed", "channel-slack_app": "xapp-proxy-managed"},
          {"xoxb-proxy-managed": bot, "xapp-proxy-managed": app}, says, ["wss-primary.slack.com"], server.sockets)


def discord():
    token = "NDI0Mg.GAbcde.the-real-one-of-discord-19cc"
    server = DiscordServer()
    server.bot(token)
    server.gateway = "wss://gateway.discord.gg"
    place = server.direct(7)
    says = speaker(server, lambda text: server.say(place, 7, text), lambda: server.seen(place))
    talks("discord", "discord.com", server, {"channel-discord": "proxy-managed"}, {"proxy-managed": token}, says,
          ["gateway.discord.gg"], server.connected)


def main():
    telegram()
    slack()
    discord()


if __name__ == "__main__":
    main()
