#!/bin/bash
# needs: vm
# timeout: 600
# The key is used at the model's server, and is nowhere in the guest: not in its memory (searched from
# outside, in QEMU's process), not in any environment or file of it, not on its disk.
. "$(dirname "$0")/../support/lib.sh"
((EUID == 0)) || skip "searching QEMU's memory takes root"

key=sk-ant-canary-$(tr -d - </proc/sys/kernel/random/uuid)
coproc SERVER { exec python3 "$root/tests/support/hostile_model.py" --for 500; }
server_pid=$SERVER_PID
on_exit kill "$server_pid"
read -r port <&"${SERVER[0]}"
url=http://127.0.0.1:$port/s/tool

printf %s "$key" | "$peacrab" setup --key-stdin --no-check --model m --model-url "$url" >/dev/null 2>&1
"$peacrab" ask --plain "run it" >"$scratch/out" 2>"$scratch/err" </dev/null || fail "$(cat "$scratch/err")"
contains "$(<"$scratch/out")" "note-42" "the tool's result came back to the model"

qemu=$("$peacrab" ps --json | sed -nE 's/.*"pid":([0-9]+).*/\1/p')
[[ -n $qemu ]] || fail "no QEMU found"

# search PID TEXT: how often it stands in the process's memory.
search() {
    python3 - "$1" "$2" <<'PY'
import re, sys
pid, text = sys.argv[1], sys.argv[2].encode()
found = 0
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in maps:
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
        if not match or "[v" in line:
            continue
        at, end = (int(x, 16) for x in match.groups())
        tail = b""
        while at < end:
            try:
                memory.seek(at)
                block = memory.read(min(1 << 22, end - at))
            except OSError:
                block = b""
            if not block:
                at += 1 << 22
                tail = b""
                continue
            found += (tail + block).count(text)
            tail = block[-len(text) + 1:]
            at += len(block)
print(found)
PY
}

# The search itself must be able to find: the agent's own words are in that memory.
marker=marker-$(tr -d - </proc/sys/kernel/random/uuid)
"$peacrab" ask --plain "$marker" >/dev/null 2>&1 </dev/null || true
(($(search "$qemu" "$marker") > 0)) || fail "the search does not find what is in the guest's memory"
equal 0 "$(search "$qemu" "$key")" "copies of the key in the guest's memory"
equal 0 "$(search "$qemu" "${key#sk-ant-}")" "copies of its distinctive part"

"$peacrab" stop 2>/dev/null
if grep -qF "$key" "$XDG_STATE_HOME/peacrab/default/state.img"; then fail "the key is on the guest's disk"; fi
if ! grep -qF "$marker" "$XDG_STATE_HOME/peacrab/default/state.img"; then fail "the disk was not searched"; fi
if grep -rqF "$key" "$XDG_STATE_HOME/peacrab"; then fail "the key is in a log"; fi
equal 600 "$(stat -c %a "$XDG_CONFIG_HOME"/peacrab/secrets/*)" "the mode of the key's file"
