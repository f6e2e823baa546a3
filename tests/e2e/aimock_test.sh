#!/bin/bash
# needs: vm
# timeout: 600
# `peacrab ask` in the microVM against a scripted model on the host's loopback: streaming, two
# chained tool calls that run in the guest, failures of the model. Then the same machine, which goes on
# running, is told to speak the other two dialects, and of a window it outgrows. The machine is one of its own.
. "$(dirname "$0")/../support/aimock_conversation.sh"

peacrab=$build/tools/peacrab
[[ -x $peacrab ]] || say_failed "$peacrab is not built"
# Its own state, so its own machine; the guest image stays where tools/setup put it.
export XDG_STATE_HOME=$folder/state XDG_CONFIG_HOME=$folder/config
mkdir "$XDG_STATE_HOME" "$XDG_CONFIG_HOME"
unset ANTHROPIC_API_KEY
secrets=$XDG_CONFIG_HOME/peacrab/secrets
mkdir -p "$XDG_CONFIG_HOME/peacrab"

start_model
"$peacrab" setup --model mock --model-url "$url" --key-stdin --no-check <<<"$model_key" >"$folder/setup.out" ||
    say_failed "$(<"$folder/setup.out")"
key_file=$(echo "$secrets"/*)
speak() { # DIALECT ADDRESS [LINE]
    printf 'model: mock\nmodel-url: %s\ndialect: %s\n%s\n' "$2" "$1" "${3-}" >"$XDG_CONFIG_HOME/peacrab/config.yaml.new"
    mv "$XDG_CONFIG_HOME/peacrab/config.yaml.new" "$XDG_CONFIG_HOME/peacrab/config.yaml"
}
speak anthropic "$url"
ask=("$peacrab" ask --plain)
ask_limit=300 # a boot under emulation is part of the first one
at_end+=("timeout 60 $peacrab stop")

two_chained_calls
grep -q '^kernel=Linux ' "$folder/told" || say_failed "no kernel: $(<"$folder/told")"
if grep -q "^boot=$(</proc/sys/kernel/random/boot_id)$" "$folder/told"; then
    say_failed 'the command ran on the host'
fi
grep -qx 'user=uid=0' "$folder/told" || say_failed "not the agent: $(<"$folder/told")"
# The key is looked up at each message: another one is refused, the right one works again.
printf sk-ant-not-the-one >"$key_file"
question other_key 1 'is this the key?'
wants other_key.err '401'
printf %s "$model_key" >"$key_file"
failures_and_after
for dialect in chat responses; do
    path=/v1/responses
    if [[ $dialect == chat ]]; then path=/v1/chat/completions; fi
    speak $dialect "$url/v1"
    sleep 3 # a running machine takes the configuration up by itself
    forget_journal
    two_chained_calls
    grep -qx 'user=uid=0' "$folder/told" || say_failed "$dialect: not the agent: $(<"$folder/told")"
    failures_and_after
done
# How much the model can be told is taken up like that, too.
speak responses "$url/v1" 'window: 4096'
sleep 3
question window 0 'please fill the window'
wants window.out 'All of it was counted.'
wants window.err 'the conversation was summarised: '
echo "ok: two chained calls streamed, in the VM: $(tr '\n' ' ' <"$folder/told")"
