#!/bin/bash
# timeout: 120
# Posture shared, as an ordinary user: what is cut from long output is in a file that a later call and
# the file tool read, and that no call can change. Where tools could write it, nothing is kept.
. "$(dirname "$0")/../support/lib.sh"
peacrabd=${PEACRABD:-$peacrabd}
[[ -x $peacrabd ]] || fail "$peacrabd is not built"
command -v python3 >/dev/null || skip 'no python3'

cp "$peacrabd" "$scratch/peacrabd"
chmod 711 "$scratch"
as=()
mkdir -m 0700 "$scratch/person"
mkdir -m 0700 "$scratch/person/work"
if ((EUID == 0)); then
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chown -R 65534:65534 "$scratch/person"
fi
python3 "$root/tests/support/obedient_model.py" --for 100 >"$scratch/port" &
on_exit kill $!
until_true 10 test -s "$scratch/port"

# ask FOLDER CALLS: what the calls gave, as JSON.
ask() {
    (cd "$1" && timeout 60 "${as[@]}" env -i PATH="$PATH" HOME="$scratch/person" LANG=C.UTF-8 \
        ANTHROPIC_API_KEY=key "$scratch/peacrabd" ask --plain --model m \
        --model-url "http://127.0.0.1:$(<"$scratch/port")/s/obey" "$2" </dev/null) >"$scratch/all" 2>&1 ||
        fail "ask: $(tail -c 1000 "$scratch/all")"
    sed -E 's/(\\n[0-9]+){20,}/…/g' "$scratch/all"  # of the long output only what it says about itself
}
kept=$scratch/person/.cache/peacrab/local/output
out=$(ask "$scratch/person/work" "[{\"tool\":\"shell\",\"command\":\"seq 100000\"},
    {\"tool\":\"shell\",\"command\":\"wc -l <$kept/out-000001.txt; tail -n 1 $kept/out-000001.txt\"},
    {\"tool\":\"read\",\"path\":\"$kept/out-000001.txt\",\"offset\":77777,\"limit\":1},
    {\"tool\":\"shell\",\"command\":\"(echo no >>$kept/out-000001.txt) 2>&1 | tail -c 24; rm $kept/out-000001.txt; echo done\"},
    {\"tool\":\"write\",\"path\":\"$kept/out-000001.txt\",\"content\":\"no\"},
    {\"tool\":\"shell\",\"command\":\"touch $kept/new; ls $kept | tr '\\\\n' ' '\"}]")
contains "$out" "all of it is in $kept/out-000001.txt" 'what the model is told'
contains "$out" '100000\n100000' 'a later call'
contains "$out" 77777 'the file tool'
contains "$out" 'cannot remove' 'a call that removes it'
equal out-000001.txt "$(ls "$kept")" 'files'
equal 100000 "$(wc -l <"$kept/out-000001.txt")" 'lines afterwards'

mv "$scratch/person/.cache" "$scratch/person/.cache.away"
mkdir -m 0500 "$scratch/person/.cache"
((EUID != 0)) || chown 0:0 "$scratch/person/.cache"
out=$(ask "$scratch/person/work" '[{"tool":"shell","command":"seq 100000"}]')
contains "$out" 'bytes cut ...]' 'where no folder can be made'
rmdir "$scratch/person/.cache"
mv "$scratch/person/.cache.away" "$scratch/person/.cache"

"${as[@]}" unshare -U true 2>/dev/null || { echo 'shared output: passed; the rest takes user namespaces'; exit; }
out=$(ask "$scratch/person" '[{"tool":"shell","command":"seq 100000"}]')
contains "$out" 'bytes cut ...]' 'in a folder that holds the caches'
equal out-000001.txt "$(ls "$kept")" 'files after that'
echo 'shared output: passed'
