"""The mutation run: in peacrabd-mutant an agent called off-<mechanism> has a cell without it. Some row
must go red there, or nobody would miss the wall. Most by far are noticed by rows about one cell, so
many mechanisms share one machine.
"""
import os
import re

import audit_inside
from hostile_script import Lost
from machine import HERE, ROOT
from rows import Red, Rows, need
from rows_floods import Floods
from rows_frames import Frames
from rows_walls import FOREIGN, USERS, Hostile

# Which rows should notice, the likeliest first. A row: one of `attack` (as root, or ID/agent); audit:PART
# of audit_inside; or a row of the suite.
SUSPECTS = {
    "seccomp-architecture": "A15", "seccomp-namespaces": "audit:calls A1", "seccomp-clone3": "A2",
    "seccomp-mount": "audit:calls A4", "seccomp-socket": "A14", "seccomp-terminal": "A17", "seccomp-freeze": "A17 A15",
    "seccomp-prctl": "A15", "seccomp-personality": "A15", "seccomp-listener": "A15", "seccomp-uring": "A15 audit:calls",
    "seccomp-userfault": "A15 audit:calls", "seccomp-bpf": "A15 audit:calls", "seccomp-perf": "A15 audit:calls",
    "seccomp-keys": "A15 audit:calls", "seccomp-handles": "A18 A15 audit:calls", "seccomp-foreign": "A11 audit:calls",
    "seccomp-memory": "A15 audit:calls", "seccomp-ldt": "A15 audit:calls", "seccomp-quota": "A15 audit:calls",
    "seccomp-machine": "A15 audit:calls", "seccomp-syslog": "A15 audit:calls", "seccomp-ports": "A15 audit:calls",
    "seccomp-turn": "", "landlock-turn": "", "forbid-new-code": "A23", "seccomp-file": "A23", "seccomp-fetch": "A23-fetch", "seccomp-reaper": "A23", "no-new-privs": "A19 audit:rights",
    "bounding-set": "A20 audit:rights", "capabilities": "A20 audit:rights", "ids": "audit:rights A20/agent",
    "groups": "audit:rights", "dumpable": "A23", "core-limit": "B11 audit:environment", "open-files-limit": "B11 audit:environment",
    "file-size-limit": "audit:environment", "locked-memory-limit": "audit:environment", "queue-limits": "audit:environment",
    "priority-limits": "audit:environment E9", "descriptors": "A6", "working-directory": "A7-link", "landlock-file": "F2-system",
    "user-namespace": "audit:rights B2", "nested-namespaces": "audit:rights", "mount-namespace": "audit:rights audit:mounts",
    "net-namespace": "C7 audit:sockets audit:rights", "pid-namespace": "B2 audit:rights", "ipc-namespace": "audit:rights B3-B5",
    "uts-namespace": "audit:rights", "cgroup-namespace": "audit:rights audit:files", "reaper-ids": "A10 B2 A7",
    "old-root": "audit:mounts C10", "root-nosuid": "A19 audit:mounts",
    "root-nodev": "audit:mounts", "home-nosuid": "A19 audit:mounts", "home-nodev": "audit:mounts",
    "output-read-only": "A21 audit:mounts", "output-noexec": "audit:mounts", "proc-masked": "A9 audit:mounts",
    "proc-read-only": "A9 audit:mounts", "small-dev": "A16 audit:devices", "scratch-size": "E2-sizes",
    "terminals-limit": "E5", "memory-limit": "E2-twice",
    "memory-group": "E2", "memory-stall": "E2-thrash", "process-limit": "E1", "cpu-limit": "E9-cap", "io-limit": "E10", "disk-quota": "E3",
    "files-quota": "E4", "quota-inherited": "E3", "journal-quota": "journals", "kill-call": "E7", "call-time": "E8-late", "output-cap": "E6",
    "file-beneath": "F2", "file-prefix": "F1", "file-regular": "E11", "file-size": "E11", "file-atomic": "F11-full",
    "policy-schema": "G1", "message-route": "B8", "message-rate": "B8-rate", "message-hops": "B8-hops", "scrub-output": "G6", "self-probe": "probes",
}
PROBES = 18  # forbidden effects, at least, that are tried when a cell starts
# Two walls of which either holds alone: mechanism -> the agent without both (cells/mechanism.cc), the agent
# without only the other, and for it the row must stay green.
PAIRS = {"landlock-file": ("off-landlock-file-beneath", "off-file-beneath")}
# A tenth of them, of every kind, for the everyday run.
SAMPLE = ["seccomp-socket", "seccomp-mount", "no-new-privs", "proc-masked", "process-limit", "file-beneath"]


def mechanisms():
    with open(os.path.join(ROOT, "runtime", "cells", "mechanism.h")) as file:
        return re.findall(r'^    X\(\w+, "([a-z0-9-]+)"\)', file.read(), re.M)


def configuration(names):
    limits = Floods.LIMITS
    routes = ["main -> beta"]
    for name in {"message-rate", "message-hops"} & set(names):
        routes += [f"off-{name} -> beta", f"beta -> off-{name}"]
    agents = {agent for name in names for agent in PAIRS.get(name, (f"off-{name}",))} | {f"off-{name}" for name in names}
    return ("may-message:\n" + "".join(f"  - {route}\n" for route in routes) +
            "agents:\n  beta:\n    model: hostile-1\n" +
            "".join(f"  {agent}:\n{limits}" + ("    cpus: 0.5\n" if agent == "off-cpu-limit" else "") for agent in sorted(agents)))


def counted(machine, name, slot):
    """An agent's journals, old and new, count for a project of their own, which has a bound."""
    folder = f"/agents/{name}/sessions"
    found = {path: machine.project_of(path) for path in (folder, *machine.files_in(folder))}
    need(len(found) > 1, f"{name} has no journal")
    need(set(found.values()) == {65536 + slot}, f"the journals of {name} count elsewhere: {found}")


class Untried(Exception):
    """Nothing was shown: neither that the wall is missed nor that it is not."""


class Mutants:
    def __init__(self, machine, full):
        self.machine, self.full = machine, full
        self.quiet = Rows()

    def by_attack(self, agent, row):
        name, _, user = row.partition("/")
        said = agent.shell(f"ATTACK_FOREIGN={FOREIGN} ./attack --anyway {name}", 300, **USERS[user or "root"])
        if re.search(rf"^{name}\+? (ESCAPED|UNEXPECTED)", said.text, re.M):
            return re.search(rf"^{name}\+? .*", said.text, re.M)[0][:160]
        return "" if f"{name}+ ok" in said.text else f"the row did not finish: {said.text[-100:]!r}"

    def by_audit(self, agent, part):
        for user, more in USERS.items():
            extra, lost = audit_inside.differences(agent, user, more, (part,))
            must, _ = audit_inside.golden(user)
            kinds = {line.split()[0] for line in audit_inside.seen(agent, more, part, agent.name)}
            lost = [line for line in lost if line.split()[0] in kinds]
            if extra or lost:
                return f"audit of {user}: more {extra[:3]}, missing {lost[:3]}"
        return ""

    def by_row(self, agent, row):
        floods = Floods(self.machine, self.quiet, self.full, agent.name)
        frames = Frames(self.machine, self.quiet, self.full, agent.name)
        walls = Hostile(self.machine, self.quiet, self.full, agent.name)
        root = {}
        acts = {"E1": lambda: floods.processes("forks", root), "E2": lambda: floods.memory("memory", root),
                "E2-thrash": lambda: floods.memory("thrash", root), "E2-tmp": lambda: floods.mild("tmp", {"ENOSPC"}, floods.MEMORY, root), "E3": lambda: floods.disk("disk", root),
                "E4": lambda: floods.files(root), "E5": lambda: floods.descriptors(root), "E6": lambda: floods.output(root),
                "E7": lambda: floods.zombies(root), "E8": lambda: floods.stubborn(root), "E9": lambda: floods.busy(root),
                "E9-share": lambda: floods.share(root), "E10": lambda: floods.io(root), "E11": lambda: floods.huge_files(root),
                "F1": frames.paths, "F2": frames.links, "F11": frames.odd_files, "G1": frames.schema, "G6": frames.escapes,
                "B8": walls.other_names, "B10": walls.base_files, "C8": walls.proxy, "A23": lambda: walls.jailed("root"), "A23-fetch": walls.fetches,
                "B8-hops": frames.hops, "B8-rate": frames.rate, "E2-sizes": floods.sizes, "E2-twice": floods.twice, "E9-cap": lambda: floods.capped(agent),
                "F11-full": frames.on_full_disk, "F2-system": frames.system_link, "A7-link": walls.planted_folder, "E8-late": lambda: floods.late(root),
                "probes": lambda: self.tried(agent), "journals": lambda: self.counted_here(agent), "B1-C2": lambda: walls.planted_and_found(), "B3-B5": lambda: walls.meet("root")}
        try:
            acts[row]()
        except Red as red:
            return str(red)[:200]
        return ""

    def counted_here(self, agent):
        self.machine.stop()
        try:
            [(slot,)] = self.machine.rows_of("SELECT slot FROM agents WHERE name = ? AND retired IS NULL", agent.name)
            counted(self.machine, agent.name, slot)
        finally:
            self.machine.up()

    def tried(self, agent):
        self.machine.stop()
        probes = [record["probes"] for record in self.machine.audit("posture") if record["agent"] == agent.name]
        self.machine.up()
        need(probes, "no cell of it is in the audit")
        need(min(probes) >= PROBES, f"its cell began with {min(probes)} effects tried")

    def noticed(self, name):
        """What went red without this mechanism; "" when nothing did."""
        if name not in PAIRS:
            return self.without(f"off-{name}", name)
        both, other = PAIRS[name]
        why = self.without(other, name)
        return "" if why else self.without(both, name)

    def without(self, agent_name, name):
        agent = self.machine.agent(agent_name)
        try:
            first = agent.shell("echo started", 60)
            if "started" not in first.text:
                return f"its start: {first.text.strip()[-160:]}"
            self.machine.arm(agent)
            for row in SUSPECTS.get(name, "").split():
                if row.startswith("audit:"):
                    why = self.by_audit(agent, row[6:])
                elif re.fullmatch(r"[ABC]\d+(/agent)?", row) and row not in ("A23", "B8", "B10", "C8"):
                    why = self.by_attack(agent, row)
                else:
                    why = self.by_row(agent, row)
                if why:
                    return f"{row}: {why}"
            return ""
        except Lost as lost:
            # A turn that itself says why it does not begin; one that just ended shows nothing.
            if refusal := re.search(r"error: ((turn|store): .*?)\\n", str(lost)):
                return f"its start: {refusal[1]}"
            # nothing was shown: neither missed nor not
            raise Untried(str(lost)[-200:]) from None
        finally:
            agent.finish()
