#!/bin/bash
# needs: vm
# timeout: 900
# timeout-full: 14400
# The hostile suite, scaled down, and a few mutations; what it is stands in tests/containment/suite.
# With PEACRAB_FULL=1 (tools/test --containment) all counts: three times on the kernel of the image in
# use, once on Debian's, then every mutation. The last lines are the sums.
. "$(dirname "$0")/../support/lib.sh"
command -v python3 >/dev/null || skip 'no python3'
suite=$root/tests/containment/suite

if [[ -z ${PEACRAB_FULL:-} ]]; then
    "$suite" --mutants 6
    exit
fi

bad=0 passed=0 failed=0
# all_rows WHERE: one pass of every row.
all_rows() {
    local good none
    echo "== $1"
    "$suite" --full --mutants none | tee "$scratch/pass" || bad=1
    read -r good none < <(sed -nE 's/^containment: ([0-9]+) passed, ([0-9]+) failed/\1 \2/p' "$scratch/pass")
    passed=$((passed + ${good:-0})) failed=$((failed + ${none:-1}))
}
for pass in 1 2 3; do all_rows "pass $pass, the kernel in use"; done
for kernel in debian; do
    XDG_DATA_HOME=$scratch/data "$root/guest-image/build" --kernel "$kernel" --binary "$guest_peacrabd" >/dev/null
    XDG_DATA_HOME=$scratch/data all_rows "on the kernel of $kernel"
done
"$suite" --no-rows --mutants all || bad=1
echo "containment: $passed passed, $failed failed"
exit "$bad"
