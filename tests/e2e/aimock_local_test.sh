#!/bin/bash
# `peacrabd ask` without a VM against a scripted model: streaming, two chained tool calls, failures.
. "$(dirname "$0")/../support/aimock_conversation.sh"

[[ -x $build/runtime/peacrabd ]] || say_failed "$build/runtime/peacrabd is not built"
cp "$build/runtime/peacrabd" "$folder/peacrabd"
mkdir "$folder/home" "$folder/work"
start_model

# As root it would make cells, or refuse: then somebody without rights runs it.
as=()
if ((EUID == 0)); then
    chmod 755 "$folder"
    chown 65534:65534 "$folder/home" "$folder/work"
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi
ask=("${as[@]}" env -i PATH="$PATH" HOME="$folder/home" LANG=C.UTF-8 folder="$folder"
    ANTHROPIC_API_KEY="$model_key"
    bash -c 'cd "$folder/work" && exec "$@"' sh "$folder/peacrabd" ask --plain --model mock --model-url "$url")

two_chained_calls
grep -q "^boot=$(</proc/sys/kernel/random/boot_id)$" "$folder/told" ||
    say_failed "the command ran elsewhere: $(<"$folder/told")"
failures_and_after
echo "ok: two chained calls streamed, without a VM: $(tr '\n' ' ' <"$folder/told")"
