#!/bin/bash
# needs: vm
# timeout: 600
# Budgets of a machine: guest and host count the same; what the guest did not tell counts all the same, and the
# host lets nothing more out; `more` is heard by both; a machine that is down still has its book.
. "$(dirname "$0")/../support/lib.sh"

command -v python3 >/dev/null || skip "no python3"

mkdir -p "$XDG_CONFIG_HOME/peacrab"
printf 'budget:\n  day: 9k tokens\n' >"$XDG_CONFIG_HOME/peacrab/config.yaml"

# ask EXIT WORDS...: in the one conversation; leaves $scratch/out and err.
ask() {
    local want=$1 code=0
    shift
    "$peacrab" ask --plain --continue "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || code=$?
    equal "$want" "$code" "'$*': $(<"$scratch/err")"
}
# booked KEY: of all rows of the host's book.
booked() { "$peacrab" usage --json | python3 -c "import json, sys; print(sum(row['$1'] for row in json.load(sys.stdin)['rows']))"; }

ask 0 "run: echo one"
[[ $(tail -1 "$scratch/err") =~ ([0-9]+)\ tokens\ in,\ ([0-9]+)\ out,\ 0\ USD ]] ||
    fail "no closing line: $(<"$scratch/err")"
equal "${BASH_REMATCH[1]}" "$(booked input_tokens)" "the host counts what the guest counts"
equal "${BASH_REMATCH[2]}" "$(booked output_tokens)" "and of the answers, too"
equal 0 "$(booked estimated_calls)" "without guessing"
contains "$("$peacrab" usage)" "tokens of 9,000 tokens" "the text says how far it is"
[[ $("$peacrab" usage) != *"the agents themselves count"* ]] || fail "a difference where there is none: $("$peacrab" usage)"
told=$(($(booked input_tokens) + $(booked output_tokens)))

# A guest that was taken over tells its warden nothing; the host has seen it.
python3 - "$XDG_STATE_HOME"/peacrab/default/usage.db <<'EOF'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as book:
    book.execute("UPDATE spent SET output = output + 9000")
EOF
contains "$("$peacrab" usage | tr -d ,)" "the agents themselves count $told tokens today $((told + 9000)) passed to the model" \
    "that the guest says less is said"
ask 4 "run: echo two > reached"
contains "$(<"$scratch/err")" "the budget of all agents today (UTC) is spent: " "the host's sentence"
contains "$(<"$scratch/err")" "of 9,000 tokens; answer \`more\` to allow as much again" "says the way out"
equal 1 "$(grep -c 'is spent' "$scratch/err")" "said once"
ask 0 "more"
contains "$("$peacrab" usage)" "of 18,000 tokens" "both have heard it"
ask 0 "run: cat reached; echo three"
contains "$(<"$scratch/out")" "three" "it works again"

"$peacrab" stop 2>/dev/null
contains "$("$peacrab" usage --days 1)" "of 18,000 tokens" "a machine that is down has its book"
equal "nothing is used up today" "$("$peacrab" usage --more 2>&1 >/dev/null | sed 's/^peacrab: //')" "nothing to allow"
code=0; "$peacrab" usage --days x 2>/dev/null || code=$?
equal 2 "$code" "usage: bad words"
echo "ok: guest and host keep the same book, and the host's is the wall"
