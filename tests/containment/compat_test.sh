#!/bin/bash
# needs: vm
# timeout: 3000
# What must go on working in a cell, by the programs themselves, each installed through the cell's own
# proxy: apt from this machine's mirror, pip and npm from a small index on loopback, venv, gcc and
# make -j, a database started in one call and used in the next, and again after a restart of the
# machine, a web server and curl, gdb attach, git, tmux, multiprocessing. What is absent by design
# answers with a clear error. Without $PEACRAB_FULL only what needs no package: installing takes
# minutes under emulation.
. "$(dirname "$0")/../support/lib.sh"

start_obedient_model
"$peacrab" up 2>"$scratch/up" || fail "no machine: $(<"$scratch/up")"

problems=()
passed=0
# works WHAT COMMAND WANTED [KEY=VALUE...]: its output holds WANTED, a pattern of grep -E.
works() {
    local out started=$SECONDS
    if out=$(in_cell "$2" "${@:4}") && grep -qE "$3" <<<"$out"; then
        passed=$((passed + 1))
        printf 'works   %-40s %4d s\n' "$1" $((SECONDS - started))
    else
        problems+=("$1")
        printf 'BROKEN  %s\n%s\n' "$1" "$(tail -n 15 <<<"$out")"
    fi
}
# absent WHAT COMMAND WANTED: fails, and says so as WANTED.
absent() {
    local out
    if out=$(in_cell "$2"); then
        problems+=("$1")
        printf 'PRESENT %s\n%s\n' "$1" "$out"
    elif grep -qE "$3" <<<"$out"; then
        passed=$((passed + 1))
        printf 'absent  %s\n' "$1"
    else
        problems+=("$1")
        printf 'UNCLEAR %s\n%s\n' "$1" "$out"
    fi
}

works 'who one is' 'id -u; id -un; pwd' '^root$'
works 'an ordinary user' 'id -un; touch of-agent && stat -c %U of-agent' '^agent$' 'user="agent"'
works 'changing owners' 'touch mine && chown 33:33 mine && stat -c %u:%g mine' '^33:33$'
works 'su to another user' 'su -s /bin/sh www-data -c id' 'www-data'
works 'git' 'rm -rf r c; git init -q r && cd r && echo 1 >f && git add f && git -c user.name=a -c user.email=a@b commit -qm one && cd .. && git clone -q r c && git -C c log --oneline' 'one$'
works 'a fifo, job control, here-documents' "bash -c 'rm -f p; mkfifo p; (echo through >p &) ; cat p; cat <<<here; sleep 50 & kill %1; wait; true'" 'here'
works 'a server that stays' 'echo $$ >/tmp/server.pid; exec python3 -c "
import socket
s = socket.create_server((\"127.0.0.1\", 8123))
print(\"listening\", flush=True)
while True:
    c, _ = s.accept(); c.recv(4096)
    c.sendall(b\"HTTP/1.0 200 OK\r\n\r\nserved-by-cell\"); c.close()"' 'b[0-9]+' 'background=true'
works 'curl to it in another call' 'curl -sS http://127.0.0.1:8123/' 'served-by-cell'
works 'low ports' 'python3 -c "import socket; print(socket.create_server((\"127.0.0.1\", 80)).getsockname())"' '80'
works 'signals across calls' 'kill $(cat /tmp/server.pid) && for i in $(seq 100); do curl -s http://127.0.0.1:8123/ >/dev/null || break; sleep 0.1; done; curl -sS http://127.0.0.1:8123/ 2>&1; true' 'Could not connect'
works 'shared memory and pipes' 'dd if=/dev/zero of=/dev/shm/x bs=1M count=8 status=none && ls -s /dev/shm/x | cut -d" " -f1' '8192'
works 'long output' 'seq 100000' '/run/output/'
works 'files of root are written by the tool' 'mkdir -p deep/er && ls -d deep/er' 'deep/er'

absent 'mounting' 'mount -t tmpfs none /mnt' 'denied|permitted|must be superuser'
absent 'nested namespaces' 'unshare -m true' 'Operation not permitted'
absent 'devices' 'mknod d b 8 0' 'Operation not permitted'
absent 'ping' 'ping -c 1 127.0.0.1' 'not in a cell.*curl'
absent 'systemd' 'systemctl start x' 'not in a cell.*background'
absent 'nested containers' 'docker ps' 'not in a cell.*apt-get'
absent 'FUSE' 'fusermount -u x' 'not in a cell.*copy'
absent 'rights for an ordinary user' 'setpriv --reuid 1000 --clear-groups sudo -n id' 'without .user.'
works 'sudo is what one is already' 'sudo -nE X=from-sudo sh -c "id -un; echo \$X"' 'from-sudo'
works 'sudo to another user' 'sudo -u www-data -- sh -c "id -un; echo \$HOME"' '^/var/www$'
absent 'a host by name without the proxy' 'curl -sS --noproxy "*" --max-time 5 http://somewhere.example/' 'resolve|Could not|unreachable'
absent 'a host that is not allowed' 'curl -sS -f --max-time 20 http://not-allowed.example/' '403'
works 'the refusal says what to do' 'curl -sS --max-time 20 http://not-allowed.example/' 'peacrab allow'

# What needs packages. Every row here may take as long as a call can.
long=timeout=600
installs() {  # installs WHAT PACKAGES WANTED
    works "$1" "apt-get install -y --no-install-recommends $2 >/tmp/apt.log 2>&1 || tail -n 20 /tmp/apt.log; dpkg -l $2 | tail -n +6" "$3" "$long"
}

index() {
    python3 "$root/tests/support/package_server.py" "$(npm root -g 2>/dev/null)/npm" >"$scratch/index" &
    on_exit kill $!
    until_true 20 test -s "$scratch/index"
    packages=$(<"$scratch/index")
    "$peacrab" allow "$packages" GET HEAD private >"$scratch/allowed" || fail "$(<"$scratch/allowed")"
}

database() {
    installs 'apt-get install postgresql' postgresql '^ii +postgresql '
    works 'installing started no server' 'cat /proc/[0-9]*/comm | grep -c "^postgres$" || echo none' '^none$'
    works 'a database starts' "$postgres" 'b[0-9]+' 'background=true'
    works 'it is used in a second call' "$ready; su postgres -c 'psql -c \"create table t(x int); insert into t values (42)\"' && su postgres -c 'psql -Atc \"select x+1 from t\"'" '^43$' "$long"
}
postgres='pg_ctlcluster $(pg_lsclusters -h | cut -d" " -f1,2) start; exec sleep infinity'
ready='cd /; for i in $(seq 120); do su postgres -c "psql -Atc \"select 1\"" >/dev/null 2>&1 && break; sleep 1; done'

build_tools() {
    installs 'apt-get install of build tools' 'gcc make libc6-dev gdb tmux procps' '^ii +make '
    works 'gcc and make -j' 'rm -rf b && mkdir b && cd b && for i in 1 2 3 4; do echo "int f$i(void) { return $i; }" >f$i.c; done; echo "int f1(void), f2(void), f3(void), f4(void); int main(void) { return f1() + f2() + f3() + f4(); }" >m.c; printf "m: f1.o f2.o f3.o f4.o m.o\n\tgcc -o m \$^\n" >Makefile; make -s -j4 && { ./m; echo sum $?; }' '^sum 10$' "$long"
    works 'gdb attaches to a process' 'sleep 300 & gdb -p $! -batch -ex "info proc" -ex detach 2>&1; kill $!' '^process [0-9]+' "$long"
    works 'a process to look at stays' 'exec sleep 4321' 'b[0-9]+' 'background=true'
    works 'gdb attaches to one of an earlier call' 'gdb -p $(pgrep -xf "sleep 4321") -batch -ex "bt 1" -ex detach 2>&1' '^#0' "$long"
    works 'gdb starts a program' 'gdb -batch -ex run -ex "print \$_exitcode" /bin/true 2>&1' 'exited normally' "$long"
    works 'tmux' 'tmux -f /dev/null new-session -d -s a "echo in-tmux; sleep 60"; for i in $(seq 50); do tmux capture-pane -pt a | grep -q in-tmux && break; sleep 0.2; done; tmux capture-pane -pt a; tmux kill-server' '^in-tmux' "$long"
}

python_tools() {
    installs 'apt-get install of Python' 'python3 python3-venv python3-pip python3-setuptools' '^ii +python3-venv '
    works 'venv' 'rm -rf v && python3 -m venv --system-site-packages v && v/bin/python -c "import sys; print(sys.prefix)"' '/v$' "$long"
    works 'pip from an index' "v/bin/pip install -q --trusted-host 127.0.0.2 --index-url $packages/simple hi 2>&1; cd /; \$OLDPWD/v/bin/python -c 'import hi; print(hi.__file__, hi.x)'" '/v/lib/.* 42$' "$long"
    works 'pip from source' 'rm -rf p && mkdir -p p/own && echo "y = 6 * 7" >p/own/__init__.py && printf "[build-system]\nrequires = []\nbuild-backend = \"setuptools.build_meta\"\n[project]\nname = \"own\"\nversion = \"1\"\n[tool.setuptools]\npackages = [\"own\"]\n" >p/pyproject.toml && v/bin/pip install -q --no-index --no-build-isolation ./p 2>&1; cd /; $OLDPWD/v/bin/python -c "import own; print(own.__file__, own.y)"' '/v/lib/.* 42$' "$long"
    works 'multiprocessing' 'cat >mp.py <<END
import multiprocessing as m
if __name__ == "__main__":
    q = m.Queue(); p = m.Process(target=q.put, args=(7,)); p.start(); print("queue", q.get() * 6); p.join()
    with m.Pool(2) as pool: print("pool", sum(pool.map(abs, range(-9, 0))))
END
python3 mp.py' '^pool 45$' "$long"
    works 'a web server of the standard library' 'cd /tmp && echo page >x.html && (python3 -m http.server 8090 >/dev/null 2>&1 & for i in $(seq 100); do curl -fsS http://127.0.0.1:8090/x.html 2>/dev/null && break; sleep 0.2; done)' '^page$' "$long"
}

node_tools() {
    installs 'apt-get install nodejs' nodejs '^ii +nodejs '
    if curl -sS --noproxy '*' -fo /dev/null "$packages/npm.tgz"; then
        works 'npm' "rm -rf /tmp/npm n && curl -sSf $packages/npm.tgz | tar xz -C /tmp && mkdir n && cd n && echo '{}' >package.json && node /tmp/npm/bin/npm-cli.js install --registry $packages --no-audit --no-fund forty-two && node -p 'require(\"forty-two\")'" '^42$' "$long"
    else
        echo 'left out: npm: this machine has none to lend'
    fi
}

if [[ -n ${PEACRAB_FULL:-} ]]; then
    index
    works 'apt-get update' 'apt-get update' 'Reading package lists' "$long"
    database
    build_tools
    python_tools
    node_tools
    "$peacrab" stop 2>"$scratch/up" && "$peacrab" up 2>"$scratch/up" || fail "$(<"$scratch/up")"
    works 'after stop and up the database starts' "$postgres" 'b[0-9]+' 'background=true'
    works 'and what it held is there' "$ready; su postgres -c 'psql -Atc \"select x from t\"'" '^42$' "$long"
fi

echo "compatibility: $passed work, ${#problems[@]} do not"
((${#problems[@]} == 0)) || fail "${problems[*]}"
