#!/bin/bash
# needs: vm
# timeout: 600
# What holds of a cell, tried in our own guest as root: real containers, their limits, and what the
# tools make of them.
. "$(dirname "$0")/../support/lib.sh"
build=${PEACRAB_BUILD:-$root/build}
[[ -x $build/tests/containment/cell_guest ]] || skip 'no static test programs here'
for program in cell tools tool_file background; do
    "$root/tests/support/guest_unit" "$build/tests/containment/${program}_guest" "$@" >"$scratch/log" 2>&1 ||
        fail "$program: $(tail -n 60 "$scratch/log")"
    grep -a 'test cases:' "$scratch/log"
done
