# Sourced by the tests that talk to the scripted model: starts it, asks, looks at what it was asked.
# The one who sources sets `ask`, an array: the command that gets a question as its last argument.
# `url` is the model's address, `path` what is asked there, `model_key` the one key it takes, `folder` is thrown away at the end.
set -uo pipefail
support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$support/../.." && pwd)
build=${PEACRAB_BUILD:-$root/build}
folder=$(mktemp -d "${TMPDIR:-/tmp}/peacrab-aimock.XXXXXX")

# New each time, so that it can be looked for where it must not be.
export model_key=sk-ant-canary-$(tr -d - </proc/sys/kernel/random/uuid)

say_failed() {
    echo "FAILED: $*"
    for log in "$folder"/*.err; do [[ -s $log ]] && { echo "--- ${log##*/}"; tail -15 "$log"; }; done
    exit 1
}

# More to do at the end: append to `at_end`.
at_end=()
clean_up() {
    for step in "${at_end[@]}"; do $step; done
    [[ -s $folder/aimock.pid ]] && kill "$(<"$folder/aimock.pid")" 2>/dev/null
    rm -rf "$folder"
}
trap clean_up EXIT

start_model() {
    "$support/aimock_start" "$folder" || exit $?
    url=$(<"$folder/aimock.url")
}

# `peacrabd ask` without a VM: as root it would make cells, or refuse, and then somebody without rights runs it.
as=()
without_vm() {
    [[ -x $build/runtime/peacrabd ]] || say_failed "$build/runtime/peacrabd is not built"
    cp "$build/runtime/peacrabd" "$folder/peacrabd"
    if ((EUID == 0)); then
        chmod 755 "$folder"
        as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    fi
}

# place NAME DIALECT FLAGS...: `ask` asks in that dialect, with $folder/NAME as its home and the folder work in
# it to work in; made when missing.
place() {
    local home=$folder/$1 variable=OPENAI_API_KEY address=$url/v1
    mkdir -p "$home/work"
    if ((EUID == 0)); then chown -R 65534:65534 "$home"; fi
    if [[ $2 == anthropic ]]; then variable=ANTHROPIC_API_KEY address=$url; fi
    ask=("${as[@]}" env -i PATH="$PATH" HOME="$home" LANG=C.UTF-8 work="$home/work" "$variable=$model_key"
        bash -c 'cd "$work" && exec "$@"' sh "$folder/peacrabd" ask --plain --model mock --dialect "$2"
        --model-url "$address" "${@:3}")
}

# requests_so_far: the bodies of what was asked, one JSON list, as the model's server understood them.
requests_so_far() {
    curl -sf --noproxy '*' -H "x-api-key: $model_key" "$url/__aimock/journal" |
        python3 -c 'import json, sys; print(json.dumps([entry["body"] for entry in json.load(sys.stdin)]))'
}

# What was asked before is another conversation's.
forget_journal() {
    curl -sf --noproxy '*' -H "x-api-key: $model_key" -X POST -o "$folder/forgotten" "$url/__aimock/reset/journal" ||
        say_failed 'the journal of the model cannot be emptied'
}

# question NAME EXIT TEXT: asks, keeps NAME.out and NAME.err, wants that exit code.
question() {
    local code=0
    timeout "${ask_limit:-120}" "${ask[@]}" "$3" >"$folder/$1.out" 2>"$folder/$1.err" </dev/null || code=$?
    ((code == $2)) || say_failed "'$3' ended with $code, not $2"
}

wants() { # FILE TEXT
    grep -qF -- "$2" "$folder/$1" || say_failed "$1 has no '$2'"
}

# The same conversation wherever it runs. Leaves what the tools told in $folder/told.
two_chained_calls() {
    question two_tools 0 'which kernel, and who are you?'
    wants two_tools.out 'Both commands ran; I saw the kernel, then the user — fünf Zeichen, 世界.'
    wants two_tools.err 'shell'
    "$(<"$folder/aimock.node")" "$support/aimock_journal.mjs" "$url" "${path:-/v1/messages}" >"$folder/told" 2>"$folder/journal.err" ||
        say_failed "$(<"$folder/journal.err")"
}

# A failure is one sentence and an exit code, and the next question is answered.
failures_and_after() {
    question refused 1 'please refuse the key'
    wants refused.err '401'
    question broken 5 'please break off'
    wants broken.err 'in the middle of its answer'
    question after 0 'now say hello'
    wants after.out 'Hello from the scripted model.'
}
