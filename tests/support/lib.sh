# For test scripts (sourced): `. "$(dirname "$0")/../support/lib.sh"`. Gives the programs under test, a
# home of the test's own, and the two ways to end early. What a test starts is ended when it ends.
#
# Exit 0: passed. Exit 77: skipped, the last line says why. Anything else: failed. Within its first 20
# lines a test may say `needs: vm` (left out by `tools/test --quick`), `needs: models` (run by --models, or by
# its name) and `timeout: SECONDS` (else 180).

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
peacrab=$root/build/tools/peacrab
peacrabd=$root/build/runtime/peacrabd
guest_peacrabd=$root/build/guest/peacrabd
test_packages=${XDG_CACHE_HOME:-$HOME/.cache}/peacrab/test-packages
test_node=$test_packages/node_modules/.bin/node

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

skip() {
    printf '%s\n' "$*"
    exit 77
}

# equal WANTED GOT WHAT
equal() { [[ $1 == "$2" ]] || fail "$3: wanted '$1', got '$2'"; }

# contains TEXT PART WHAT; lacks is its opposite
contains() { [[ $1 == *"$2"* ]] || fail "$3: no '$2' in: $1"; }
lacks() { [[ $1 != *"$2"* ]] || fail "$3: '$2' is in: $1"; }

# until_true SECONDS COMMAND...: waits for a condition that has a deadline.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || fail "not within the time: $*"
        sleep 0.05
    done
}

# A fresh state, configuration and runtime folder; image and cache stay shared, they are read only.
fresh_home() {
    export XDG_DATA_HOME=${XDG_DATA_HOME:-$HOME/.local/share}
    export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/peacrab.XXXXXX")
    export HOME=$scratch/home XDG_STATE_HOME=$scratch/state XDG_CONFIG_HOME=$scratch/config
    export XDG_RUNTIME_DIR=$scratch/run
    mkdir -m 0700 "$HOME" "$XDG_STATE_HOME" "$XDG_CONFIG_HOME" "$XDG_RUNTIME_DIR"
    unset {ANTHROPIC,OPENAI}_{API_KEY,BASE_URL} {HTTP,HTTPS,ALL,NO}_PROXY {http,https,all,no}_proxy
}

# on_exit COMMAND...: run at the end, the last one first.
exits=()
on_exit() { exits=("$(printf '%q ' "$@")" "${exits[@]}"); }
finish() {
    local status=$? each
    trap - EXIT
    for each in "${exits[@]}"; do eval "$each" >/dev/null 2>&1 || true; done
    if [[ -x $peacrab ]]; then "$peacrab" stop >/dev/null 2>&1 </dev/null || true; fi
    rm -rf "$scratch"
    exit "$status"
}

# start_obedient_model: from now on the machine's model is one that calls the tools a message names.
start_obedient_model() {
    python3 "$root/tests/support/obedient_model.py" >"$scratch/obedient" &
    on_exit kill $!
    until_true 10 test -s "$scratch/obedient"
    mkdir -p "$XDG_CONFIG_HOME/peacrab"
    printf 'model: obedient\nmodel-url: http://127.0.0.1:%s/s/obey\n' "$(<"$scratch/obedient")" \
        >>"$XDG_CONFIG_HOME/peacrab/config.yaml"
}

# in_cell COMMAND [KEY=VALUE...]: runs it by the tool `shell` in the machine's cell, through a turn;
# prints what the model was shown; false when the call failed. Keys are the tool's other arguments, as
# JSON; agent=NAME is whose cell.
in_cell() {
    local agent=main each flags=()
    for each in "${@:2}"; do
        case $each in agent=*) agent=${each#agent=} ;; *) flags+=("$each") ;; esac
    done
    python3 -c 'import json, sys
call = {"tool": "shell", "command": sys.argv[1]}
call.update((k, json.loads(v)) for k, _, v in (word.partition("=") for word in sys.argv[2:]))
print(json.dumps([call]))' "$1" "${flags[@]}" |
        "$peacrab" ask --plain --agent "$agent" 2>>"$scratch/activity" |
        python3 -c 'import json, sys
[result] = json.load(sys.stdin)
print(result["text"])
sys.exit(result["failed"])'
}

fresh_home
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
