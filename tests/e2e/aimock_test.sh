#!/bin/bash
# needs: vm
# timeout: 600
# `peacrab ask` in the microVM against a scripted model on the host's loopback: streaming, two
# chained tool calls that run in the guest, failures of the model. The machine is one of its own.
. "$(dirname "$0")/../support/aimock_conversation.sh"

peacrab=$build/tools/peacrab
[[ -x $peacrab ]] || say_failed "$peacrab is not built"
# Its own state, so its own machine; the guest image stays where tools/setup put it.
export XDG_STATE_HOME=$folder/state XDG_CONFIG_HOME=$folder/config
mkdir "$XDG_STATE_HOME" "$XDG_CONFIG_HOME"
unset ANTHROPIC_API_KEY
# A key in the store, to be seen at the model and nowhere in the guest.
key=sk-ant-canary-$(tr -d - </proc/sys/kernel/random/uuid)
mkdir -p "$XDG_CONFIG_HOME/peacrab/secrets"
chmod 700 "$XDG_CONFIG_HOME/peacrab" "$XDG_CONFIG_HOME/peacrab/secrets"
(umask 077 && printf %s "$key" >"$XDG_CONFIG_HOME/peacrab/secrets/anthropic")

start_model
ask=("$peacrab" ask --plain --model mock --model-url "$url")
ask_limit=300 # a boot under emulation is part of the first one
at_end+=("timeout 60 $peacrab stop")

two_chained_calls
grep -q '^kernel=Linux ' "$folder/told" || say_failed "no kernel: $(<"$folder/told")"
if grep -q "^boot=$(</proc/sys/kernel/random/boot_id)$" "$folder/told"; then
    say_failed 'the command ran on the host'
fi
grep -qx 'user=uid=1000' "$folder/told" || say_failed "not the agent: $(<"$folder/told")"
curl -s --noproxy '*' "$url/__aimock/journal" >"$folder/journal.json"
wants journal.json "\"x-api-key\":\"$key\""
failures_and_after
echo "ok: two chained calls streamed, in the VM: $(tr '\n' ' ' <"$folder/told")"
