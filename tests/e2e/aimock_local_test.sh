#!/bin/bash
# `peacrabd ask` without a VM against a scripted model, in each of the three dialects: streaming, two
# chained tool calls, failures.
. "$(dirname "$0")/../support/aimock_conversation.sh"

without_vm
start_model
declare -A paths=([anthropic]=/v1/messages [chat]=/v1/chat/completions [responses]=/v1/responses)

for dialect in anthropic chat responses; do
    place $dialect $dialect
    path=${paths[$dialect]}
    forget_journal
    two_chained_calls
    grep -q "^boot=$(</proc/sys/kernel/random/boot_id)$" "$folder/told" ||
        say_failed "$dialect: the command ran elsewhere: $(<"$folder/told")"
    failures_and_after
    echo "ok: $dialect: two chained calls streamed, without a VM: $(tr '\n' ' ' <"$folder/told")"
done
