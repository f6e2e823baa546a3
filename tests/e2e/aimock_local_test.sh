#!/bin/bash
# `peacrabd ask` without a VM against a scripted model, in each of the three dialects: streaming, two
# chained tool calls, failures.
. "$(dirname "$0")/../support/aimock_conversation.sh"

[[ -x $build/runtime/peacrabd ]] || say_failed "$build/runtime/peacrabd is not built"
cp "$build/runtime/peacrabd" "$folder/peacrabd"
start_model

# As root it would make cells, or refuse: then somebody without rights runs it.
as=()
if ((EUID == 0)); then
    chmod 755 "$folder"
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi

for dialect in anthropic chat responses; do
    mkdir "$folder/$dialect" "$folder/$dialect/home" "$folder/$dialect/work"
    if ((EUID == 0)); then chown 65534:65534 "$folder/$dialect"/{home,work}; fi
    key=OPENAI_API_KEY address=$url/v1
    declare -A paths=([anthropic]=/v1/messages [chat]=/v1/chat/completions [responses]=/v1/responses)
    path=${paths[$dialect]}
    if [[ $dialect == anthropic ]]; then key=ANTHROPIC_API_KEY address=$url; fi
    ask=("${as[@]}" env -i PATH="$PATH" HOME="$folder/$dialect/home" LANG=C.UTF-8 work="$folder/$dialect/work"
        "$key=$model_key"
        bash -c 'cd "$work" && exec "$@"' sh "$folder/peacrabd" ask --plain --model mock --dialect $dialect
        --model-url "$address")
    forget_journal
    two_chained_calls
    grep -q "^boot=$(</proc/sys/kernel/random/boot_id)$" "$folder/told" ||
        say_failed "$dialect: the command ran elsewhere: $(<"$folder/told")"
    failures_and_after
    echo "ok: $dialect: two chained calls streamed, without a VM: $(tr '\n' ' ' <"$folder/told")"
done
