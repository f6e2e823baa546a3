#!/bin/bash
# needs: vm
# timeout: 900
# A folder goes into the microVM, a scripted model renames foo to bar in its copy, and the changes are
# shown, brought home and taken back. Then conflicts, a hostile copy, cp both ways, a put that was cut off,
# two hundred megabytes.
. "$(dirname "$0")/../support/lib.sh"
[[ -x $peacrab ]] || fail "$peacrab is not built"
command -v qemu-system-x86_64 >/dev/null || skip 'no QEMU'
[[ -e $XDG_DATA_HOME/peacrab/images/current/manifest.json ]] || skip 'no guest image'
command -v python3 >/dev/null || skip 'no python3'

# wants CODE COMMAND...: runs it, leaves both outputs in $out.
wants() {
    local wanted=$1 code=0
    shift
    out=$("$@" 2>&1 </dev/null) || code=$?
    ((code == wanted)) || fail "'$*' ended with $code, not $wanted: $out"
}
# of FOLDER: every name, kind, mode and content of it.
of() { (cd "$1" && find . -printf '%P %y %m %l\n' | LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }

start_obedient_model
demo=$scratch/demo
mkdir -p "$demo/src" "$demo/.git/hooks" "$demo/build"
for each in one two three; do printf 'int foo_%s = foo(%s);\n' $each $each >"$demo/src/$each.c"; done
printf 'all about foo\n' >"$demo/README"
printf '#!/bin/sh\necho foo\n' >"$demo/run.sh"
chmod 755 "$demo/run.sh"
printf 'old foo\n' >"$demo/foo.txt"
ln -s foo.txt "$demo/link"
printf 'build/\n' >"$demo/.gitignore"
echo made >"$demo/build/out.o"
echo '[core]' >"$demo/.git/config"
cp -a "$demo" "$scratch/before"

# ---- ask, diff, apply, undo
wants 0 "$peacrab" ask --plain --dir "$demo" 'rename foo to bar everywhere'
contains "$out" "2 left out (.git, .gitignore, .peacrabignore)" 'what is left out'
contains "$out" 'sent to the agent `main`' 'what is sent'
equal "$(of "$scratch/before")" "$(of "$demo")" 'the folder while the agent works on its copy'
wants 1 "$peacrab" diff --dir "$demo"
contains "$out" '-int foo_one = foo(one);' diff
contains "$out" '+int bar_one = bar(one);' diff
contains "$out" 'deleted file mode 100644' diff
lacks "$out" 'build/' 'what is left out'
(cd "$demo/src" && wants 1 "$peacrab" diff --stat) # the folder we are in
wants 0 "$peacrab" apply --dir "$demo" --dry-run
equal "$(of "$scratch/before")" "$(of "$demo")" 'the folder after a dry run'
wants 0 "$peacrab" apply --dir "$demo"
if grep -rq foo "$demo/src" "$demo/README" "$demo/run.sh"; then fail "foo is still there: $(grep -rn foo "$demo")"; fi
equal 'old bar' "$(<"$demo/bar.txt")" 'the renamed file'
[[ ! -e $demo/foo.txt ]] || fail 'the old name is still there'
[[ -x $demo/run.sh ]] || fail 'a program is none any more'
equal bar.txt "$(readlink "$demo/link")" 'the link'
wants 0 "$peacrab" diff --dir "$demo"
wants 0 "$peacrab" undo --dir "$demo"
equal "$(of "$scratch/before")" "$(of "$demo")" 'the folder after undo'
wants 1 "$peacrab" diff --dir "$demo"

# ---- a conflict is named and left
printf 'mine\n' >"$demo/README"
wants 1 "$peacrab" apply --dir "$demo"
contains "$out" 'README: changed here since it was sent' conflict
equal mine "$(<"$demo/README")" 'what the person wrote'
equal 'old bar' "$(<"$demo/bar.txt")" 'what has no conflict'
wants 0 "$peacrab" undo
wants 1 "$peacrab" undo </dev/null
contains "$out" 'say so with --yes' 'throwing away without a person'
wants 0 "$peacrab" undo --yes
wants 0 "$peacrab" diff
wants 0 "$peacrab" up --dir "$demo"

# ---- a hostile copy
printf safe >"$scratch/victim"
in_cell "cd demo && mkdir -p .git/hooks .husky && printf evil | tee .git/hooks/x .husky/pre-commit >/dev/null &&
    ln -s $scratch/victim abs && ln -s ../victim up && rm -r src && ln -s $scratch src && printf evil >/tmp/x &&
    rm README && ln -s $scratch/victim README && printf esc >\$'e\\033[31mnew'" >/dev/null || fail 'the copy was not made hostile'
wants 1 "$peacrab" apply
for part in '.git: never brought home' '.husky/pre-commit: programs here' 'abs: a link that could lead out' \
    'up: a link that could' 'src: a link that could' 'README: a link that could'; do
    contains "$out" "$part" 'a hostile copy'
done
lacks "$out" $'\033' 'what is said of hostile names'
[[ ! -e $demo/.git/hooks/x && ! -e $demo/.husky ]] || fail 'hooks came home'
[[ ! -L $demo/src && ! -L $demo/README && ! -e $demo/abs && ! -L $demo/abs ]] || fail 'a link that leads out came home'
equal safe "$(<"$scratch/victim")" 'what is outside'
wants 0 "$peacrab" undo

# ---- cp, both ways
mkdir "$scratch/tree" && ln -s a "$scratch/tree/l" && printf a >"$scratch/tree/a" && chmod 700 "$scratch/tree/a"
wants 0 "$peacrab" cp "$scratch/tree" main:
wants 0 "$peacrab" cp "$scratch/tree/a" main:deep/er/b
equal a "$(in_cell 'cat deep/er/b')" 'a file in the cell'
printf piped | "$peacrab" cp - main:piped 2>/dev/null || fail 'cp from standard input'
equal piped "$("$peacrab" cp main:/home/agent/workspace/piped - 2>/dev/null)" 'cp to standard output'
wants 0 "$peacrab" cp main:tree "$scratch/back"
equal "$(of "$scratch/tree")" "$(of "$scratch/back")" 'a folder there and back'
wants 1 "$peacrab" cp main:not-there "$scratch/x"
wants 1 "$peacrab" cp main:../../../etc/passwd "$scratch/x"
wants 1 "$peacrab" cp "$scratch/tree" "$scratch/x"
wants 1 "$peacrab" cp "$scratch/tree" nobody:
contains "$out" 'no agent' 'an agent that is not there'
wants 2 "$peacrab" ask --plain --dir "$scratch/not-there" hello

# ---- a put that is cut off, and repeated; two hundred megabytes with flat memory on both sides
mkdir "$scratch/big"
head -c 1000 /dev/urandom >"$scratch/big/a-small"
head -c 200000000 /dev/urandom >"$scratch/big/b-large"
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"; }
gateway=$("$peacrab" ps --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["gateway"])')
before=$(peak "$gateway")
# In a third of what goes through, with all that the agent runs: nothing of it is held in memory.
wants 0 "$peacrab" agent set main --memory 64M
"$peacrab" up --dir "$scratch/big" >"$scratch/cut.out" 2>&1 </dev/null &
cut=$!
until_true 120 in_cell 'test -e big/a-small' >/dev/null
kill -9 $cut 2>/dev/null || true
wait $cut 2>/dev/null || true
if grep -q 'sent to' "$scratch/cut.out"; then echo 'note: it was through before it could be cut off'; fi
again() { "$peacrab" up --dir "$scratch/big" >"$scratch/again.out" 2>&1 </dev/null; }
until_true 120 again
lacks "$(<"$scratch/again.out")" "sent to the agent \`main\`: 2 entries" 'what had arrived is not sent again'
/usr/bin/env python3 - "$peacrab" "$scratch/big" <<'PYTHON' || fail 'the memory of a diff of 200 MB'
import resource, subprocess, sys
subprocess.run([sys.argv[1], "diff", "--dir", sys.argv[2]], check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"peacrab diff: {peak} kB")
sys.exit(peak > 40_000)
PYTHON
equal "$(sha256sum <"$scratch/big/b-large")" "$(in_cell 'sha256sum <big/b-large')" '200 MB in the cell'
in_cell 'test -z "$(ls -A big | grep peacrab-new)"' >/dev/null || fail 'what was cut off was left behind'
wants 0 "$peacrab" cp main:big/b-large "$scratch/large"
cmp "$scratch/large" "$scratch/big/b-large"
((  $(peak "$gateway") - before < 20000 )) || fail "the gateway grew from $before to $(peak "$gateway") kB"
echo "ok: renamed, shown, brought home, taken back; 200 MB: gateway $before kB, then $(peak "$gateway") kB"
