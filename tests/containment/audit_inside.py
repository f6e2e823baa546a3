"""What a cell is like from inside, compared with the exact list in audit_inside.txt.

Lines there: `[root]`, `[agent]` or `[both]` begin a part; `# ...` is the reason for what follows;
`?line` may be missing (a kernel that does not have it); a `call` line may name many. Everything else
must be there, and nothing else may.
"""
import os

from machine import HERE, syscall_names
from rows import need, ok

GOLDEN = os.path.join(HERE, "audit_inside.txt")
PARTS = ("rights", "mounts", "devices", "sockets", "environment", "calls", "files")


def golden(user):
    must, may, taking = [], [], False
    with open(GOLDEN) as file:
        for line in file.read().splitlines():
            if line.startswith("["):
                taking = line in (f"[{user}]", "[both]")
            elif taking and line and not line.startswith("#"):
                into, line = (may, line[1:]) if line.startswith("?") else (must, line)
                into += [f"call {name}" for name in line.split()[1:]] if line.startswith("call ") else [line]
    return must, may


def seen(agent, user, part, agent_name):
    said = ok(agent.shell(f"exec ./attack audit {part}", 120, **user)).text
    lines = []
    names = syscall_names()
    for line in said.splitlines():
        if line.startswith("calls "):
            lines += [f"call {names.get(int(n), n)}" for n in line.split()[1:]]
        elif line.strip():
            lines.append(line.rstrip().replace(f"/{agent_name}/", "/AGENT/"))
    return lines


def differences(agent, user_name, user, parts=PARTS):
    must, may = golden(user_name)
    lines = []
    for part in parts:
        lines += seen(agent, user, part, agent.name)
    extra = [line for line in lines if line not in must and line not in may]
    lost = [line for line in must if line not in lines]
    return extra, lost


def exact(agent, user_name, user):
    extra, lost = differences(agent, user_name, user)
    need(not extra and not lost, f"more than the list: {extra[:12]}; missing: {lost[:12]}")
    return "as listed"
