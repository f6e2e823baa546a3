"""A messenger as people have it: its emulator, `peacrabd serve` with our own adapter, and a scripted model."""
import subprocess

from hub_test import Rig
from pty_driver import PEACRAB, need


class MessengerRig(Rig):
    def __init__(self, channel, server, secrets):
        super().__init__(names=())
        self.channel, self.server = channel, server
        self.configure(f"channels:\n  {channel}:\n    api: {server.url}\n", secrets)

    def __exit__(self, *error):
        super().__exit__(*error)
        self.server.close()

    @staticmethod
    def direct(user):
        """Their direct chat with the bot."""
        return user

    def says(self, user, text, place=None, **extra):
        """And waits for what is posted next; gives it."""
        place = place or self.direct(user)
        before = len(self.server.seen(place))
        self.server.say(place, user, text, **extra)
        self.server.until(lambda: len(self.server.seen(place)) > before, 30, f"an answer to {text!r}")
        return self.server.seen(place)[before]

    def lets_in(self, user, role):
        need(f"paired, as {role}" in self.says(user, self.people("pair", self.channel, role)), "a code lets in")


def peacrab(home, *words, stdin=""):
    return subprocess.run([PEACRAB, *words], env=home.env, text=True, input=stdin, capture_output=True, timeout=60,
                          check=False)
