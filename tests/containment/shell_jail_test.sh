#!/bin/bash
# timeout: 120
# A hostile program in a tool child without a VM: every forbidden effect it tries must be refused, and
# what real work needs must go on working; with user namespaces and without. As a control the same
# program outside of any jail must find something possible, or it proves nothing. (In the guest:
# hostile_suite_test.sh.)
. "$(dirname "$0")/../support/lib.sh"
in_cell=${IN_CELL:-$root/build/tests/containment/in_cell}
probe=${PROBE:-$root/build/tests/containment/probe}
[[ -x $in_cell && -x $probe ]] || fail 'in_cell and probe are not built'

as=()
if ((EUID == 0)); then as=(setpriv --reuid=54321 --regid=54321 --clear-groups); fi
chmod 711 "$scratch"
here=$scratch/here
mkdir "$here"
cp "$probe" "$here/probe"
cp "$in_cell" "$scratch/in_cell"
mkdir "$scratch/secret"
echo canary >"$scratch/secret/key"
if ((EUID == 0)); then chown -R 54321:54321 "$here" "$scratch/secret"; fi
cd "$here"

control=$("${as[@]}" ./probe || true)
contains "$control" POSSIBLE 'the probe outside of a cell'

# refuses_all OUTPUT WHAT [EXCEPT]: lines beginning with EXCEPT depend on this machine's own files.
refuses_all() {
    local possible
    contains "$1" ' refused, ' "$2: the probe did not finish"
    possible=$(grep POSSIBLE <<<"$1" | grep -v "^${3:-no such line}" || true)
    [[ -z $possible ]] || fail "$2: $possible"
}

# works WHAT COMMAND: in the cell that run_in stands for.
works() { run_in "$2" >"$scratch/out" 2>&1 || fail "$where: $1 does not work: $(tail -n 5 "$scratch/out")"; }

real_work() {
    works 'a pipeline' 'seq 1000 | sort -rn | head -n 1 | grep -qx 1000'
    works 'a fifo' 'rm -f f; mkfifo f; (echo x >f &) ; grep -q x f; rm f'
    works 'here-documents and process substitution' "bash -c 'cat <(echo a) <<<b | grep -q a'"
    works 'job control' "bash -c 'sleep 100 & kill %1; wait || true'"
    [[ -z $terminals ]] || works 'threads and shared memory' "python3 -c '
import multiprocessing as m, threading as t
p = m.Process(target=print); p.start(); p.join(); assert p.exitcode == 0
q = m.Queue(); q.put(1); assert q.get() == 1
x = t.Thread(target=print); x.start(); x.join()'"
    [[ -z $terminals ]] || works 'a server on loopback and its client' "python3 -c '
import socket as s, threading as t
l = s.create_server((\"127.0.0.1\", 0))
t.Thread(target=lambda: l.accept()[0].sendall(b\"hi\")).start()
assert s.create_connection(l.getsockname()).recv(2) == b\"hi\"'"
    [[ -z $terminals ]] || works 'a pseudo-terminal' "python3 -c 'import pty; assert pty.spawn([\"true\"]) == 0' </dev/null"
    works 'temporary files' 't=$(mktemp) && echo x >"$t" && grep -q x "$t" && rm "$t"'
    if command -v git >/dev/null; then
        works 'git' 'rm -rf r; git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git log | grep -q x; cd ..; rm -rf r'
    fi
    if command -v gcc >/dev/null; then
        works 'a compiler' 'echo "int main(){return 0;}" >x.c && gcc -o x x.c && ./x; rm -f x x.c'
    fi
    if command -v strace >/dev/null; then
        works 'tracing an own process' 'strace -qqo trace true && grep -q execve trace; rm -f trace'
    fi
}

keeps_secrets() {
    lacks "$(run_in "cat $scratch/secret/key; ls -A $scratch/secret" 2>&1 || true)" canary "$where"
    lacks "$(CANARY=canary run_in 'cat /proc/*/environ 2>/dev/null | tr -d "\\0"' || true)" canary "$where"
}

posture=$("${as[@]}" "$scratch/in_cell" posture "$here")
echo "$posture"
if [[ $posture == *'no user namespaces here'* ]]; then
    echo 'no user namespaces: only what is left without them is tried'
else
    where='with user namespaces'
    terminals=yes
    run_in() { "${as[@]}" env IN_CELL_HIDDEN="$scratch/secret" "$scratch/in_cell" here "$here" "$1"; }
    refuses_all "$(run_in ./probe || true)" "$where" '\(device\|write\): '
    keeps_secrets
    real_work
fi

# The machine's processes and interfaces are seen; nothing of them can be used.
where='without user namespaces'
terminals=
run_in() { "${as[@]}" env IN_CELL_HIDDEN="$scratch/secret" "$scratch/in_cell" bare "$here" "$1"; }
refuses_all "$(run_in ./probe || true)" "$where" '\(device\|write\): \|network device but lo'
keeps_secrets
real_work
