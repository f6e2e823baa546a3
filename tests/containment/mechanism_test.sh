#!/bin/bash
# timeout: 600
# What ships cannot have a mechanism switched off: nothing of the switch is in it. As a control the
# test-only binary must know every name, or the search proves nothing.
. "$(dirname "$0")/../support/lib.sh"
mutant=${MUTANT:-$root/build/guest/peacrabd-mutant}
[[ -L $root/build/static-libs ]] || skip 'no static libraries were built here'
[[ -n ${MUTANT:-} ]] || nice ninja -C "$root/build" guest-image/peacrabd-mutant >"$scratch/log" 2>&1 ||
    fail "the test-only binary does not build: $(tail -n 5 "$scratch/log")"

mapfile -t names < <(sed -nE 's/^ +X\([A-Za-z0-9]+, "([a-z0-9-]+)"\).*/\1/p' "$root/runtime/cells/mechanism.h")
((${#names[@]} > 50)) || fail "only ${#names[@]} names of mechanisms were found"
known=$(strings -n 5 "$mutant" | grep 'off-')  # a name may stand behind other bytes
for name in "${names[@]}"; do
    grep -q "off-$name\$" <<<"$known" || fail "the test-only binary does not know off-$name"
done
for shipped in "${guest_peacrabd}" "$peacrabd"; do
    [[ -x $shipped ]] || fail "$shipped: is not built"
    for name in "${names[@]}"; do
        ! grep -qaF "off-$name" "$shipped" || fail "$shipped: knows off-$name"
    done
done
echo "${#names[@]} mechanisms, none can be switched in what ships"
