#!/bin/bash
# What the fuzzers found worth keeping (corpus/NAME/) goes through each target again; each has such a folder,
# and together they stay small. `tests/fuzz/run --keep` makes them.
. "$(dirname "$0")/../support/lib.sh"
cd "$root/tests/fuzz"

for source in *_fuzz.cc; do
    name=${source%_fuzz.cc}
    program=$root/build/tests/fuzz/${name}_replay
    [[ -x $program ]] || fail "$name: not built: is it in tests/fuzz/meson.build?"
    "$program" "corpus/$name" >"$scratch/log" 2>&1 || fail "$name: $(tail -n 3 "$scratch/log")"
    echo "$name: $(tail -n 1 "$scratch/log")"
done
size=$(cat corpus/*/* | wc -c)
((size <= 300000)) || fail "the corpora have $size bytes, 300,000 at most: tests/fuzz/run --keep makes them small"

echo "corpora: $size bytes, passed"
