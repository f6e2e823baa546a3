#!/bin/bash
# needs: vm
# timeout: 600
# kill -9 of QEMU in the middle of a turn, of the gateway, of a client: nothing is lost, nothing runs
# again by itself, and each is said in a sentence with the next step.
. "$(dirname "$0")/../support/lib.sh"

# field NAME: of the one machine here, from `ps --json`.
field() { "$peacrab" ps --json | sed -nE "s/.*\"$1\":([0-9]+).*/\1/p"; }

"$peacrab" up 2>/dev/null
"$peacrab" ask --plain "run: echo before-the-crash > kept.txt" >/dev/null 2>&1 </dev/null
qemu=$(field pid)
[[ -n $qemu ]] || fail "ps does not tell QEMU's pid"

# --- the machine dies under a running call
turn=$("$peacrab" ask --detach "run: echo started >> count.txt; sleep 300" 2>/dev/null </dev/null)
[[ $turn =~ ^t[0-9]+$ ]] || fail "--detach prints a turn's id, not '$turn'"
"$peacrab" wait "$turn" >"$scratch/out" 2>"$scratch/err" </dev/null &
waiter=$!
until_true 60 grep -q 'sleep 300' "$scratch/err"
kill -9 "$qemu"
code=0; wait "$waiter" || code=$?
equal 6 "$code" "who waits is told that the machine has gone"
contains "$(<"$scratch/err")" "peacrab up" "and what to do next"

"$peacrab" up 2>"$scratch/up"
code=0; "$peacrab" wait "$turn" >"$scratch/out" 2>"$scratch/err" </dev/null || code=$?
equal 1 "$code" "an interrupted turn is not a success"
contains "$(<"$scratch/err")" "interrupted" "the turn is reported as interrupted"
contains "$(<"$scratch/err")" "sleep 300" "with the call that was not finished"
said=$("$peacrab" ask --plain "run: cat kept.txt; cat count.txt 2>/dev/null; true" 2>/dev/null </dev/null)
contains "$said" "before-the-crash" "what was written before is there"
(($(grep -c '^started' <<<"$said") <= 1)) || fail "the interrupted call was run again: $said"

# --- the gateway dies: the machine dies with it, the next command starts anew, the lock is no hindrance
gateway=$(field gateway)
qemu=$(field pid)
kill -9 "$gateway"
until_true 10 bash -c "! kill -0 $qemu 2>/dev/null"
said=$("$peacrab" ask --plain "run: cat kept.txt" 2>/dev/null </dev/null)
contains "$said" "before-the-crash" "after the gateway's death"

# --- a second `up` is no error and starts nothing
"$peacrab" up 2>"$scratch/up"
contains "$(<"$scratch/up")" "runs already" "a second up"

# --- the client dies: the turn goes on, and its reply waits
turn=$("$peacrab" ask --detach "run: sleep 3; echo finished-alone" 2>/dev/null </dev/null)
said=$("$peacrab" wait "$turn" 2>/dev/null </dev/null)
contains "$said" "finished-alone" "the turn went on without its client"
