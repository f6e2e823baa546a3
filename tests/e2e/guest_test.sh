#!/bin/bash
# needs: vm
# timeout: 600
# The demo model's answers come from commands that ran inside the guest: a nonce planted on the state
# disk while the machine is off, the guest's boot id, and the warden's own row of the call. Then what
# the guest's root holds, and that no address can be reached from a tool call.
. "$(dirname "$0")/../support/lib.sh"

image() { echo "$XDG_STATE_HOME/peacrab/default/state.img"; }
answer() { "$peacrab" ask --plain "$@" 2>"$scratch/activity" </dev/null; }

# --- the question of the README
"$peacrab" up 2>"$scratch/up"
contains "$(<"$scratch/up")" "ready in" "up says when it is ready"
said=$(answer "what kernel are you running, and what is your user id?")
contains "$said" "Linux 6.12" "the kernel is the guest's"
lacks "$said" "$(uname -r)" "the kernel is not the host's"
contains "$said" "uid=0(root)" "the tool child is the root of its cell"
contains "$said" "demo model" "the demo model says what it is"
contains "$(<"$scratch/activity")" "shell: uname" "the call is shown as activity"

# --- a nonce that only the disk knows
"$peacrab" stop 2>/dev/null
nonce=nonce-$(tr -d - </proc/sys/kernel/random/uuid)
echo "$nonce" >"$scratch/nonce"
printf 'cd /agents/main/home/workspace\nwrite %s nonce.txt\n' "$scratch/nonce" >"$scratch/commands"
debugfs -w -f "$scratch/commands" "$(image)" >/dev/null 2>&1
said=$(answer "run: cat nonce.txt; cat /proc/sys/kernel/random/boot_id")
contains "$said" "$nonce" "the nonce planted on the state disk"
lacks "$said" "$(</proc/sys/kernel/random/boot_id)" "the boot id is not the host's"
boot=$(grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' <<<"$said" | head -n 1)
contains "$("$peacrab" doctor)" "boot: $boot" "the boot id is the one the warden reports"

# --- read and write go the same way
said=$(answer "write remember-$nonce to notes/today.txt")
said=$(answer "read notes/today.txt")
contains "$said" "remember-$nonce" "what was written is read"

# --- a question is a session of its own, unless it goes on with the chat
one=$(answer "hello"; grep -oE '[0-9]+ tokens in' "$scratch/activity")
for _ in 1 2; do answer --continue "hello" >/dev/null; done
two=$(grep -oE '[0-9]+ tokens in' "$scratch/activity")
((${two%% *} > $(grep -oE '[0-9]+ tokens in' <<<"$one" | grep -oE '[0-9]+') + 100)) ||
    fail "--continue does not go on: $two after $one"

# --- what the guest's root holds
"$peacrab" doctor --json >"$scratch/doctor"
python3 - "$scratch/doctor" <<'PY'
import json, sys
guest = {}
for finding in json.load(open(sys.argv[1]))["findings"]:
    if finding["what"] == "guest":
        name, _, value = finding["text"].partition(": ")
        guest[name] = value.split()
wanted = sorted(["peacrabd", "modules", "base", "dev", "proc", "run", "state", "sys", "tmp"])
assert guest["root"] == wanted, f"root holds {guest['root']}, wanted {wanted}"
assert all(name.endswith(".ko") for name in guest["modules"]), guest["modules"]
audit = [f for f in json.load(open(sys.argv[1]))["findings"] if f["what"] == "audit"]
assert len(audit) == 1 and audit[0]["state"] == "ok", audit
assert audit[0]["text"].endswith(" records in 1 file, whole"), audit
# Debian's kernel is of modules; the own one can load none.
assert bool(guest["modules"]) != guest["kernel"][0].endswith("-peacrab"), guest
PY

# --- a record of the audit that was changed while the machine was off is found, and named
"$peacrab" stop 2>/dev/null
debugfs -R "dump /audit/audit-000001.jsonl $scratch/audit" "$(image)" >/dev/null 2>&1
sed -i '2s/"agent":"main"/"agent":"mine"/' "$scratch/audit"
grep -q '"agent":"mine"' "$scratch/audit" || fail "the audit begins otherwise: $(head -c 600 "$scratch/audit")"
printf 'cd /audit\nrm audit-000001.jsonl\nwrite %s audit-000001.jsonl\n' "$scratch/audit" >"$scratch/commands"
debugfs -w -f "$scratch/commands" "$(image)" >/dev/null 2>&1
"$peacrab" up 2>/dev/null
said=$("$peacrab" doctor) && fail "doctor is content with a broken audit"
contains "$said" "audit-000001.jsonl: line 2: a record was changed" "doctor names the record"
lacks "$said" "cannot start here" "a machine starts all the same"

# --- no address answers from inside a tool call
reach='import errno, socket
def attempt(name, family, kind, address):
    try:
        s = socket.socket(family, kind); s.settimeout(2); s.connect(address)
        if kind == socket.SOCK_DGRAM: s.send(b"x")
        print("REACHED", name)
    except OSError as error:
        print("refused", name, errno.errorcode.get(error.errno, error))
I, T, U = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM
for host in ("10.0.2.2", "10.0.2.3", "192.168.0.1", "172.17.0.1", "169.254.169.254", "198.51.100.1"):
    attempt(host, I, T, (host, 80))
    attempt(host + "/udp", I, U, (host, 53))
for port in (22, 80, 5000):
    attempt("loopback:%d" % port, I, T, ("127.0.0.1", port))
attempt("v6", socket.AF_INET6, T, ("2001:db8::1", 80))
attempt("link-local v6", socket.AF_INET6, T, ("fe80::1", 80))
attempt("vsock host", getattr(socket, "AF_VSOCK", 40), T, (2, 1024))
attempt("abstract unix", socket.AF_UNIX, T, "\0peacrab")
try: socket.getaddrinfo("example.org", 80); print("REACHED a resolver")
except OSError: print("refused resolver")
for device in ("/dev/vport0p1", "/dev/vport1p1", "/dev/hvc0", "/dev/vda", "/dev/vdb"):
    try: open(device, "rb+").close(); print("REACHED", device)
    except OSError as error: print("refused", device, error.errno)'
said=$(answer "run: echo $(base64 -w0 <<<"$reach") | base64 -d | python3 -")
lacks "$said" "REACHED" "nothing is reachable from a tool call"
(($(grep -c '^refused' <<<"$said") == 25)) || fail "some attempts did not happen: $said"

# --- the warden's own row of the call, on the disk
"$peacrab" stop 2>/dev/null
for file in warden.db warden.db-wal; do
    debugfs -R "dump /$file $scratch/$file" "$(image)" >/dev/null 2>&1
done
python3 - "$scratch/warden.db" <<'PY'
import sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute(
    "SELECT name, outcome, ended >= started FROM calls WHERE arguments LIKE '%cat nonce.txt%'").fetchall()
assert rows == [("shell", "ok", 1)], rows
PY
echo "nonce, boot id $boot, and the row of the call agree"
