#!/bin/bash
# needs: vm
# timeout: 400
# The life of a machine: start (twice at once), what is in force around the VMM, stop, the death of the
# VMM and of the gateway, a stop in the middle of a boot, and every refusal with its exit code. Nobody
# talks to the agent here.
. "$(dirname "$0")/../support/lib.sh"
peacrab=${PEACRAB:-$peacrab}
[[ -x $peacrab ]] || fail "$peacrab is not built"
command -v qemu-system-x86_64 >/dev/null || skip 'no QEMU'
[[ -e $XDG_DATA_HOME/peacrab/images/current/manifest.json ]] || skip 'no guest image'
command -v python3 >/dev/null || skip 'no python3'

state=$XDG_STATE_HOME/peacrab/default
export ANTHROPIC_API_KEY=canary-$(tr -d - </proc/sys/kernel/random/uuid)

# wants CODE COMMAND...: runs it, leaves both outputs in $out.
wants() {
    local wanted=$1 code=0
    shift
    out=$("$@" 2>&1 </dev/null) || code=$?
    ((code == wanted)) || fail "'$*' ended with $code, not $wanted: $out"
}
# of_machine KEY: from `ps --json`; empty when the machine has no such thing.
of_machine() {
    "$peacrab" ps --json | python3 -c '
import json, sys
value = json.load(sys.stdin)[0].get(sys.argv[1], "")
print(json.dumps(value) if isinstance(value, (dict, list, bool)) else value)' "$1"
}
gone() { [[ ! -e /proc/$1 || $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status") == Z ]]; }
guest_boot_id() {
    "$peacrab" doctor --json | python3 -c '
import json, sys
for each in json.load(sys.stdin)["findings"]:
    if each["what"] == "guest" and each["text"].startswith("boot: "): print(each["text"][6:])'
}

# ---- refusals, before anything exists
wants 6 "$peacrab" stop
wants 6 "$peacrab" rm --force
wants 1 bash -c '"$0" ps >/dev/full' "$peacrab"
contains "$out" 'standard output: ' 'a full disk'
wants 6 "$peacrab" wait some-id
wants 2 "$peacrab" up --cpus many
wants 2 "$peacrab" wait ''
wants 2 "$peacrab" up --name ../elsewhere
wants 2 "$peacrab" up --name local
wants 2 "$peacrab" up --model-url no-url
wants 2 "$peacrab" no-such-command
wants 6 "$peacrab" up --memory 100T
contains "$out" 'memory:' 'too much memory'
wants 6 "$peacrab" up --cpus 256
contains "$out" 'cpus:' 'too many CPUs'
wants 6 env XDG_DATA_HOME="$scratch/empty" "$peacrab" up
contains "$out" 'peacrab image build' 'no image'
[[ ! -e $state/state.img ]] || fail 'a refused start made a disk'

# ---- two that start one machine at once
"$peacrab" up >"$scratch/up.1" 2>&1 </dev/null &
first=$!
wants 0 "$peacrab" up
contains "$out" 'ready in ' 'the start'
contains "$out" 'booting under ' 'the start'
wait "$first" || fail "the other start: $(<"$scratch/up.1")"
wants 0 "$peacrab" up
contains "$out" 'runs already' 'a third start'
wants 1 "$peacrab" up --memory 2G
contains "$out" 'stop it first' 'other options'
wants 0 "$peacrab" ps
contains "$out" 'ready' 'ps'

# ---- what is in force around the VMM
vmm=$(of_machine pid)
status=$(<"/proc/$vmm/status")
for line in $'CapEff:\t0000000000000000' $'CapPrm:\t0000000000000000' $'NoNewPrivs:\t1' $'Seccomp:\t2'; do
    contains "$status" "$line" 'the VMM'
done
if ((EUID == 0)); then
    contains "$status" $'CapBnd:\t0000000000000000' 'the VMM'
    if [[ $(of_machine accelerator) == tcg ]]; then contains "$status" $'Uid:\t65534\t65534' 'the VMM'; fi
    [[ $(readlink "/proc/$vmm/ns/net") != $(readlink /proc/self/ns/net) ]] || fail 'the VMM has our network'
fi
contains "$(of_machine vmm)" '"filtered": true' 'ps says it too'
equal 'PATH=/usr/bin:/bin' "$(tr '\0' ' ' <"/proc/$vmm/environ" | sed 's/ $//')" 'environment of the VMM'
lacks "$(tr '\0' ' ' <"/proc/$vmm/cmdline")" "$ANTHROPIC_API_KEY" 'command line of the VMM'
lacks "$(tr '\0' '\n' <"/proc/$vmm/cmdline")" 'netdev' 'command line of the VMM'
equal 0 "$(awk '/Max core/ {print $5}' "/proc/$vmm/limits")" 'core limit of the VMM'
equal 600 "$(stat -c %a "$XDG_RUNTIME_DIR/peacrab/default.sock")" 'mode of the socket'
equal 700 "$(stat -c %a "$state")" 'mode of the folder'
boot=$(guest_boot_id)
[[ -n $boot && $boot != $(</proc/sys/kernel/random/boot_id) ]] || fail "the guest's boot id is '$boot'"

# ---- the VMM is killed
kill -9 "$vmm"
until_true 10 gone "$vmm"
until_true 10 test ! -S "$XDG_RUNTIME_DIR/peacrab/default.sock"
equal stopped "$(of_machine state)" 'after the VMM was killed'
wants 0 "$peacrab" doctor
contains "$out" 'killed by signal 9' 'doctor on the last end'
wants 6 "$peacrab" wait some-id
wants 0 "$peacrab" up
[[ $(guest_boot_id) != "$boot" ]] || fail 'the same boot id after a new start'

# ---- the gateway is killed: the VMM does not outlive it, socket and lock file are no obstacle
vmm=$(of_machine pid)
kill -9 "$(of_machine gateway)"
until_true 10 gone "$vmm"
[[ -S $XDG_RUNTIME_DIR/peacrab/default.sock && -e $state/lock ]] || fail 'nothing was left behind to test'
equal stopped "$(of_machine state)" 'after the gateway was killed'

# ---- a stop in the middle of a boot
"$peacrab" up >"$scratch/up.2" 2>&1 </dev/null &
first=$!
until_true 20 bash -c "[[ \$('$peacrab' ps) == *booting* || \$('$peacrab' ps) == *ready* ]]"
wants 0 "$peacrab" stop
wait "$first" || true
equal stopped "$(of_machine state)" 'after a stop in the middle of a boot'

# ---- SIGTERM is an orderly stop; the state stays
wants 0 "$peacrab" up
gateway=$(of_machine gateway)
vmm=$(of_machine pid)
disk=$(stat -c %i "$state/state.img")
kill "$gateway"
until_true 40 gone "$gateway"
until_true 1 gone "$vmm"
wants 0 "$peacrab" doctor
lacks "$out" 'the last time' 'an orderly stop has no reason'
equal "$disk" "$(stat -c %i "$state/state.img")" 'the state disk'
wants 6 "$peacrab" up --disk 9G
contains "$out" 'leave --disk away' 'another disk size'

# ---- --accel kvm never falls back; where the probe says no it ends soon and says how to go on
if [[ $("$peacrab" doctor) == *'TCG (software emulation), decided by'* ]]; then
    began=$SECONDS
    wants 6 "$peacrab" up --accel kvm
    lacks "$out" 'booting under TCG' '--accel kvm'
    ((SECONDS - began < 60)) || fail '--accel kvm did not end soon'
fi

# ---- rm
wants 2 "$peacrab" rm
wants 0 "$peacrab" up --accel tcg
wants 0 "$peacrab" rm --force
[[ ! -e $state ]] || fail 'rm left something'
wants 0 "$peacrab" ps
contains "$out" 'no machine yet' 'ps after rm'
if grep -rq "$ANTHROPIC_API_KEY" "$scratch/state" "$scratch/config" 2>/dev/null; then fail 'the key is on disk'; fi
echo 'lifecycle: passed'
