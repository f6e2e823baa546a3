#!/bin/bash
# needs: vm
# timeout: 400
# What a hostile command or client can use up, and that the person can still talk to the agent then:
# every block and every inode of the state disk, every process, every chat.
. "$(dirname "$0")/../support/lib.sh"
peacrab=${PEACRAB:-$peacrab}
[[ -x $peacrab ]] || fail "$peacrab is not built"
command -v qemu-system-x86_64 >/dev/null || skip 'no QEMU'
[[ -e $XDG_DATA_HOME/peacrab/images/current/manifest.json ]] || skip 'no guest image'
command -v python3 >/dev/null || skip 'no python3'
unset ANTHROPIC_API_KEY

# The demo model takes `run: COMMAND` to the letter. The chat goes on: a new session takes inodes, and
# where there are none it is the conversation there is that helps (README, Limits).
run() { out=$(timeout 120 "$peacrab" ask --continue "run: $1" </dev/null 2>&1) || fail "'$1': $out"; }
again() {
    timeout 60 "$peacrab" stop </dev/null >"$scratch/stop" 2>&1 || fail "stop: $(<"$scratch/stop")"
    timeout 60 "$peacrab" up </dev/null >"$scratch/up" 2>&1 || fail "up: $(<"$scratch/up")"
}
timeout 120 "$peacrab" up --disk 256M </dev/null >"$scratch/up" 2>&1 || fail "up: $(<"$scratch/up")"

# ---- blocks
run 'cat /dev/zero > all; for i in 1 2 3 4 5 6 7 8; do head -c 4096 /dev/zero >> rest$i; done; df .'
contains "$out" '100%' 'the disk is full'
run 'echo still-$((6 * 7))'
contains "$out" 'still-42' 'on a full disk'
again
run 'echo still-$((6 * 7))'
contains "$out" 'still-42' 'on a full disk after a start'
run 'rm all rest*; df --output=pcent .'
lacks "$out" '100%' 'after making room'

# ---- blocks, by two agents: each has less than all, and one of them fills its system too, whose files
# are written with the id of who mounted it
"$peacrab" agent add second </dev/null 2>/dev/null
run 'cat /dev/zero > all'
fill='run: cat /dev/zero > all; cat /dev/zero > /var/all; for i in 1 2 3 4; do cat /dev/zero >> /var/all; done; df .'
timeout 120 "$peacrab" ask --agent second "$fill" </dev/null >"$scratch/second" 2>&1 ||
    fail "a second agent on a full disk: $(<"$scratch/second")"
contains "$(<"$scratch/second")" '100%' 'the disk is full again'
run 'echo still-$((6 * 7)); rm all'
contains "$out" 'still-42' 'on a disk that two agents have filled'
"$peacrab" agent rm second --force </dev/null 2>/dev/null || fail 'the second agent cannot be removed'

# ---- inodes
run 'for i in $(seq 70); do mkdir d$i; seq -f d$i/%g 1000 | xargs touch; done 2>/dev/null; df -i .'
contains "$out" '100%' 'no inode is left'
again
run 'echo still-$((6 * 7))'
contains "$out" 'still-42' 'without inodes after a start'
run 'rm -rf d*'

# ---- chats: the 65th is refused, the machine stays
python3 - "$XDG_RUNTIME_DIR/peacrab/default.sock" <<'PYTHON' || fail 'many chats'
import socket, sys
chats = []
for _ in range(70):
    chat = socket.socket(socket.AF_UNIX)
    chat.settimeout(20)
    chat.connect(sys.argv[1])
    chat.sendall(b'{"type":"open","what":"chat"}\n')
    assert b'opened' in chat.recv(4096)
    try:  # one that is refused may be closed before or after it speaks
        chat.sendall(b'{"type":"attach","agent":"main","channel":"terminal"}\n')
        chats.append((chat, chat.recv(4096)))
    except ConnectionError:
        chats.append((chat, b''))
refused = [said for _, said in chats if not said]
assert 1 <= len(refused) <= 10, len(refused)
PYTHON
run 'echo still-$((6 * 7))'
contains "$out" 'still-42' 'after many chats'

# ---- processes: a stop is heard at once, and nothing is left
timeout 60 "$peacrab" ask 'run: while :; do (while :; do :; done) & done 2>/dev/null' </dev/null \
    >"$scratch/bomb" 2>&1 &
bomb=$!
sleep 4
kill -INT "$bomb"
began=$SECONDS
code=0
wait "$bomb" || code=$?
equal 130 "$code" 'a stopped fork bomb'
((SECONDS - began < 20)) || fail "the stop took $((SECONDS - began)) s"
run 'ls -d /proc/[0-9]* | wc -l; echo still-$((6 * 7))'
contains "$out" 'still-42' 'after a fork bomb'
timeout 60 "$peacrab" rm --force </dev/null >/dev/null 2>&1 || fail 'rm'
echo 'exhaustion: passed'
