#!/bin/bash
# needs: vm
# timeout: 600
# Conversations of an agent in its machine, seen from the host: listed, exported, taken back, forked, gone on with;
# and what is not there is bad input. The demo model answers.
. "$(dirname "$0")/../support/lib.sh"

code() { # WANTED COMMAND...
    local got=0
    "${@:2}" >"$scratch/out" 2>"$scratch/err" </dev/null || got=$?
    equal "$1" "$got" "${*:2}: $(<"$scratch/err")"
}

code 0 "$peacrab" ask --continue 'the first wish'
code 0 "$peacrab" ask --continue 'the second wish'
code 0 "$peacrab" sessions --json
equal "2 the first wish" "$(python3 -c 'import json, sys; row = json.load(open(sys.argv[1]))[0]; print(row["turns"], row["words"])' "$scratch/out")" "the list"
code 0 "$peacrab" export
equal 2 "$(grep -c '"kind":"user"' "$scratch/out")" "what was exported"
taken=$("$peacrab" chat --plain <<<'/undo' 2>&1)
contains "$taken" "taken back: the second wish" "/undo"
forked=$("$peacrab" chat --plain --fork <<<'the third wish' 2>&1)
contains "$forked" "a copy of s1" "chat --fork"
code 0 "$peacrab" ask --session s2 'the fourth wish'
code 0 "$peacrab" export -o "$scratch/copy.md" --format md s2
copy=$(<"$scratch/copy.md")
for wish in first third fourth; do contains "$copy" "the $wish wish" "the copy"; done
lacks "$copy" "the second wish" "the copy"
code 0 "$peacrab" export s1
equal 1 "$(grep 'the second wish' "$scratch/out" | grep -c '"undone":true')" "what was taken back is marked"
lacks "$(<"$scratch/out")" "the third wish" "the first one"
code 2 "$peacrab" export s99
code 2 "$peacrab" ask --session s99 hello
code 2 "$peacrab" ask --agent nobody hello
code 2 "$peacrab" sessions --agent nobody
