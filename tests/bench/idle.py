"""What `serve` costs while nobody says anything: four messengers of tests/support on loopback, each with an adapter of
ours, conversations that were had, and what the processes of it take."""
import os
import pathlib
import sqlite3
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/channels")]
from discord_server import DiscordServer  # noqa: E402
from irc_test import NGIRCD, Ngircd  # noqa: E402
from slack_server import SlackServer  # noqa: E402
from telegram_server import TelegramServer  # noqa: E402

OURS = "hub, keeper, warden"
TELEGRAM, DISCORD = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr", "NDI0Mg.GAbcde.AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQrrSS"
SLACK = {"channel-slack_app": "xapp-1-A0PEA-42-aabbccddeeff", "channel-slack": "xoxb-1-2-AAbbCCddEEffGGhh"}


class Messengers:
    def __init__(self):
        if not NGIRCD.exists():
            sys.exit("bench: idle: ngIRCd is not there: tools/test fetches it")
        self.telegram, self.discord, self.slack, self.irc = TelegramServer(), DiscordServer(), SlackServer(), Ngircd()
        self.telegram.bot(TELEGRAM)
        self.discord.bot(DISCORD)
        self.discord.guild(100, "Team", {101: "general"})
        self.slack.app(*SLACK.values())
        self.slack.channel("C1", "team")

    def configure(self, folder):
        secrets = folder / "secrets"
        secrets.mkdir(parents=True, mode=0o700)
        for name, secret in {"channel-telegram": TELEGRAM, "channel-discord": DISCORD, **SLACK}.items():
            (secrets / name).write_text(secret + "\n")
            (secrets / name).chmod(0o600)
        lines = "".join(f"  {name}:\n    api: {server.url}\n" for name, server in
                        (("telegram", self.telegram), ("discord", self.discord), ("slack", self.slack)))
        (folder / "config.yaml").write_text(f"channels:\n{lines}  irc:\n    server: 127.0.0.1\n    port: {self.irc.port}\n"
                                            '    tls: false\n    nick: pea\n    channels: "#team"\n')
        self.post = folder.parents[1] / ".local/state/peacrab/channels.db"

    def wait(self):
        """Until each has let its adapter in."""
        for _ in range(300):
            with sqlite3.connect(self.post, timeout=20) as post:
                if post.execute("SELECT count(*) FROM signs WHERE polled > 0 AND trouble = ''").fetchone()[0] == 4:
                    return
            time.sleep(0.1)
        sys.exit("bench: idle: not all messengers have let it in")

    def close(self):
        for server in (self.telegram, self.discord, self.slack):
            server.close()
        self.irc.stop()


def fill(state, count):
    """Conversations, on both sides."""
    with sqlite3.connect(state / "channels.db") as post:
        post.executemany("INSERT INTO places(channel, conversation, thread, grouped, title) VALUES('telegram', ?, '', 0, '')",
                         [(f"{n + 1000}",) for n in range(count)])
        post.executemany("INSERT INTO arrivals(channel, key, place, id, sender, name, text, state, verdict, rule) "
                         "VALUES('telegram', ?, ?, 'm', 'u', 'U', 'hello', 'answered', 'admitted', 'known')",
                         [(f"k{n}", n + 1) for n in range(count)])
    books = [path for path in state.rglob("*.db") if path.name != "channels.db"]
    for path in books:
        with sqlite3.connect(path) as book:
            if not book.execute("SELECT 1 FROM sqlite_schema WHERE name = 'turns'").fetchone():
                continue
            book.executemany("INSERT INTO sessions(agent, channel) VALUES('main', ?)", [(f"telegram:{n}",) for n in range(count)])
            book.execute("INSERT INTO turns(session, status, ended) SELECT id, 'done', unixepoch() FROM sessions WHERE channel LIKE 'telegram:%'")
            return
    sys.exit("bench: idle: the warden's book is not there")


def processes(hub):
    """Pids by what they are: the hub with who starts wardens and the warden, and each adapter."""
    ours, adapters = [hub], {}
    for pid in ours:
        for child in map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            if os.path.basename(os.readlink(f"/proc/{child}/exe")) != "peacrabd":
                continue
            words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            if words[1] == "channel":
                adapters["adapter " + words[2]] = [child]
            else:
                ours.append(child)
    return {OURS: ours, **adapters}


def effort(groups):
    """By group: how often its processes were switched to, and their milliseconds on a processor."""
    def of(pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        switches = sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)
        return switches, int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6
    return {name: tuple(map(sum, zip(*map(of, pids)))) for name, pids in groups.items()}


def private(pid):
    """MiB."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private")) / 1024
