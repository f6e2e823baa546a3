#!/bin/bash
# needs: vm
# timeout: 1500
# timeout-full: 14400
# The hostile suite, scaled down, and a few mutations; what it is stands in tests/containment/suite.
# With PEACRAB_FULL=1 (tools/test --containment) all counts: three times on the guest's own kernel, once
# on Debian's, then every mutation. The last lines are the sums.
. "$(dirname "$0")/../support/lib.sh"
command -v python3 >/dev/null || skip 'no python3'
suite=$root/tests/containment/suite

if [[ -z ${PEACRAB_FULL:-} ]]; then
    "$suite" --mutants 6
    exit
fi

# Two machines at a time, where there are cores for it: each has one.
lanes=$(($(nproc) > 1 ? 2 : 1)) bad=0
export PEACRAB_NO_NINJA=1

image() { XDG_DATA_HOME=$scratch/$1 "$root/guest-image/build" --kernel "$1" --binary "$guest_peacrabd" >/dev/null; }

# pass NAME ARGUMENTS...: one run of the suite, told under its name when it has ended.
pass() {
    local name=$1 status=0 began=$SECONDS
    shift
    "$suite" "$@" >"$scratch/$name.log" 2>&1 || status=$?
    printf '== %s, %d s, exit %d\n%s\n' "$name" $((SECONDS - began)) "$status" "$(<"$scratch/$name.log")"
    return "$status"
}
on_kernel() { XDG_DATA_HOME=$scratch/$1 pass "$2" --full --mutants none; }

# both A... -- B...: the two commands, side by side or one after the other.
both() {
    local first=()
    while [[ $1 != -- ]]; do first+=("$1"); shift; done
    shift
    if ((lanes == 1)); then
        "${first[@]}" || bad=1
        "$@" || bad=1
        return
    fi
    "${first[@]}" &
    local other=$!
    "$@" || bad=1
    wait "$other" || bad=1
}

ninja -C "$root/build" guest-image/peacrabd-mutant >"$scratch/ninja.log" || fail "the mutant: $(tail -n 5 "$scratch/ninja.log")"
image own
image debian
both on_kernel own own-1 -- on_kernel own own-2
both on_kernel own own-3 -- on_kernel debian debian
both pass mutants-1 --no-rows --mutants 1/2 -- pass mutants-2 --no-rows --mutants 2/2

grep -hE '^(RED|SURVIVED|UNTRIED) ' "$scratch"/*.log || true
# What went wrong once more, then the sums; a run that did not end counts as red.
sed -nE 's/^containment: ([0-9]+) passed, ([0-9]+) failed/\1 \2/p' "$scratch"/{own-?,debian}.log |
    awk '{ good += $1; bad += $2; runs++ } END { bad += (4 - runs); print "containment: " good + 0 " passed, " bad + 0 " failed"; exit bad > 0 }' || bad=1
sed -nE 's/^mutation: ([0-9]+)\/([0-9]+)/\1 \2/p' "$scratch"/mutants-?.log |
    awk '{ good += $1; all += $2; runs++ } END { print "mutation: " good + 0 "/" all + 0; exit runs < 2 || good < all }' || bad=1
exit "$bad"
