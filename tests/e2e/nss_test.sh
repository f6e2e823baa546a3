#!/bin/bash
# The static binary must not load a library by what /etc/nsswitch.conf says: glibc would, even in a
# static program, for host names and for accounts. Here that file names a module `evil` that is there
# to be loaded, and that gives itself away when it is. As a control, a static program that does not
# protect itself must be caught by it, or this test proves nothing.
. "$(dirname "$0")/../support/lib.sh"
((EUID == 0)) || skip 'takes root: it puts a file over /etc/nsswitch.conf in a mount namespace'
[[ -x $guest_peacrabd ]] || fail "$guest_peacrabd: not built"

# The module is found by name in the system's library folder, where it is put only in the namespace.
cat >"$scratch/evil.c" <<'C'
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
    int fd = open(getenv("EVIL_MARK"), O_WRONLY | O_CREAT, 0600);
    if (fd >= 0) close(fd);
}
C
cat >"$scratch/naive.c" <<'C'
#include <netdb.h>
int main(void) { struct addrinfo *found; return getaddrinfo("some.invalid", 0, 0, &found) == 0; }
C
gcc -shared -fPIC -o "$scratch/libnss_evil.so.2" "$scratch/evil.c"
gcc -static -o "$scratch/naive" "$scratch/naive.c" 2>/dev/null
printf 'hosts: evil files\npasswd: evil files\ngroup: evil files\nservices: evil files\n' >"$scratch/nsswitch"

# In its own mount namespace the library folder is an overlay with the module on top.
libraries=$(dirname "$(gcc -print-file-name=libc.so.6 | xargs readlink -f)")
mkdir "$scratch/overlay" "$scratch/mark"
cp "$guest_peacrabd" "$scratch/peacrabd"
chmod 711 "$scratch"
chown 54321 "$scratch"/{mark,home,state,config,run}
in_hostile_system() {
    unshare --mount bash -c 'set -e
        mount -t tmpfs none "$1/overlay"
        mkdir "$1/overlay/up" "$1/overlay/work"
        cp "$1/libnss_evil.so.2" "$1/overlay/up"
        mount -t overlay -o "lowerdir=$2,upperdir=$1/overlay/up,workdir=$1/overlay/work" none "$2"
        mount --bind "$1/nsswitch" /etc/nsswitch.conf
        mark=$3
        shift 3
        exec setpriv --reuid=54321 --regid=54321 --clear-groups env EVIL_MARK="$mark" "$@"' \
        bash "$scratch" "$libraries" "$mark" "$@"
}

mark=$scratch/mark/naive
in_hostile_system "$scratch/naive" || true
[[ -e $mark ]] || fail 'the control was not caught: the hostile module cannot be loaded here'

# A name that is in no file goes through every service of `hosts`; localhost must still be found.
mark=$scratch/mark/peacrabd
said=$(in_hostile_system timeout 60 "$scratch/peacrabd" ask --model m --model-url http://some.invalid:1 hello \
    2>&1 </dev/null || true)
contains "$said" some.invalid 'what is said of a name that is nowhere'
[[ ! -e $mark ]] || fail 'the hostile module was loaded for a host name'

"$test_node" -e '
    const server = require("http").createServer((request, response) => {
        response.writeHead(401, {"content-type": "application/json"});
        response.end(JSON.stringify({type: "error", error: {type: "authentication_error", message: "reached"}}));
    });
    server.listen(0, "127.0.0.1", () => console.log(server.address().port));' >"$scratch/port" &
on_exit kill $!
until_true 10 test -s "$scratch/port"
said=$(in_hostile_system timeout 60 "$scratch/peacrabd" ask --model m \
    --model-url "http://localhost:$(<"$scratch/port")" hello 2>&1 </dev/null || true)
lacks "$said" 'resolve' 'localhost by name'
contains "$said" key 'the wrong key, as the endpoint answered it'
[[ ! -e $mark ]] || fail 'the hostile module was loaded for localhost'
