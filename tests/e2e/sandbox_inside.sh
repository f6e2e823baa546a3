# Run by /bin/sh as root of a plain Debian without any init system (sandbox_test.sh), on its console.
# Says `ok: …` for each claim, ends at the first that does not hold, and says `all done` at the end.
set -u
umask 022
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /root
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for each in /sys/block/*; do
    case $(cat "$each/serial" 2>/dev/null) in
        base) mount -t erofs -o ro "/dev/${each##*/}" /media ;;
        state) mount -t ext4 -o prjquota "/dev/${each##*/}" /srv ;;
    esac
done
export HOME=/root XDG_STATE_HOME=/srv/of/state ANTHROPIC_API_KEY=key-canary-93
mkdir -p /root/.config/peacrab
printf 'limits:\n  processes: 40\n  disk: 64M\n' >/root/.config/peacrab/config.yaml
echo root-canary-17 >/root/secret
/mnt/shell_model 9000 &
base=/media

fail() {
    printf 'NOT: %s\n' "$*"
    exit 1
}
talk() { timeout 60 /mnt/peacrabd "$@" --plain --model m --model-url http://127.0.0.1:9000 --base "$base"; }
# holds CLAIM PART COMMAND: what a call of the tool `shell` gives has that part.
holds() {
    said=$(talk ask "$3" 2>/tmp/activity)
    case $said in *"$2"*) echo "ok: $1" ;; *) fail "$1: no '$2' in: $said; $(cat /tmp/activity)" ;; esac
}
lacks() {
    case $said in *"$2"*) fail "$1: '$2' is in: $said" ;; *) echo "ok: $1" ;; esac
}
# refused PART ARGUMENTS...: `ask` as root is refused with that sentence, and nothing runs.
refused() {
    part=$1
    shift
    said=$("$@" /mnt/peacrabd ask --model m --model-url http://127.0.0.1:9000 --base "$base" id 2>&1)
    code=$?
    case $code:$said in
        "6:peacrabd: cells: "*"$part"*) echo "ok: refused: $part" ;;
        *) fail "not refused ($code), wanted '$part': $said" ;;
    esac
}

# --- before a controller is used it can be bound to version 1; nobody else can have it then
umount /sys/fs/cgroup
mkdir /tmp/v1
mount -t cgroup -o pids pids /tmp/v1 || fail 'version 1 cannot be had here'
refused 'no controller pids in version 2: it is bound to version 1' env
umount /tmp/v1
mount -t cgroup2 cgroup2 /sys/fs/cgroup

# --- a cell as in our guest
echo /status | talk chat >/tmp/said
grep -q '^cells, 4[0-9] forbidden effects refused: no VM of ours: .*no way out for tools' /tmp/said ||
    fail "posture: $(cat /tmp/said)"
echo "ok: the posture is named, the forbidden effects were tried"
grep -aq '"kind":"posture".*cells, 4' /srv/of/state/peacrab/cells/files/audit/* || fail 'no posture in the audit'
echo "ok: the posture is in the audit"
holds 'a call is root of its cell' 'uid=0(root) gid=0(root)' 'id; echo there > kept'
holds 'with ids of its own' '0    1048576      65536' 'cat /proc/self/uid_map'
holds 'a file survives to the next ask' there 'cat kept'
holds 'packages can give files away' 'owner 33 1' 'cd /etc && touch given && chown 33:1 given && stat -c "owner %u %g" given'
holds 'mounts, devices, modules and namespaces are refused' 'refused 5' \
    'n=0; mount -t tmpfs x /mnt 2>/dev/null || n=$((n+1)); mknod d b 254 0 2>/dev/null || n=$((n+1))
     unshare -m true 2>/dev/null || n=$((n+1)); echo 1 2>/dev/null >/proc/sys/kernel/sysrq || n=$((n+1))
     chroot /proc/1/root true 2>/dev/null || n=$((n+1)); echo refused $n'
holds 'the sandbox is looked for everywhere' end \
    'env; cat /proc/*/environ /proc/*/cmdline /proc/mounts 2>/dev/null | tr "\0" " "
     grep -rs canary- /root /srv /mnt /media /run /home /tmp 2>/dev/null; ls / /root /srv; echo end'
lacks 'the key is not there' key-canary
lacks 'nor is a file of the sandbox' root-canary
lacks 'nor a mount of it' /srv/of
lacks 'nor a process of it' shell_model
holds 'processes are bounded' 'limit of 40 processes' \
    'i=0; while [ $i -lt 80 ]; do sleep 5 & i=$((i+1)); done; wait'
holds 'the disk is bounded' 'quota exceeded' 'head -c 90000000 /dev/zero > big; rm big'
[ "$(stat -c %u /srv/of/state/peacrab/cells/files/agents/main/sessions)" = 983041 ] || fail 'ids of the turn'
echo 'ok: the turn process has ids of its own'

# --- the way out is the environment's proxy
cat >/tmp/proxy <<'END'
#!/bin/sh
while read -r line && [ ${#line} -gt 1 ]; do :; done
printf 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nproxy says'
END
chmod +x /tmp/proxy
socat TCP-LISTEN:8118,bind=127.0.0.1,fork,reuseaddr EXEC:/tmp/proxy &
export HTTPS_PROXY=http://127.0.0.1:8118
holds 'a cell reaches the proxy of the environment' 'proxy says' 'curl -sm 10 http://deb.example.org/'
unset HTTPS_PROXY
holds 'and without one nothing' 'curl 28' 'curl -sm 2 http://deb.example.org/; echo curl $?'

# --- two at a time wait for each other; nothing of ours is left
talk ask 'sleep 2; echo first' >/tmp/first 2>&1 &
first=$!
sleep 1
holds 'a second one waits for the first' second 'echo second'
wait $first
grep -q first /tmp/first || fail "the first: $(cat /tmp/first)"
talk ask 'sleep 2; echo first' >/tmp/first 2>&1 &
first=$!
sleep 1
refused 'state: ' env XDG_STATE_HOME=/srv/second
grep -q first /tmp/first || fail "a second one with a state of its own did not wait: $(cat /tmp/first)"
echo 'ok: so does one with a state of its own'
wait $first
grep -q peacrab /proc/mounts && fail "left mounted: $(cat /proc/mounts)"
echo 'ok: no mount of ours is seen outside, or left'

# --- killed at work: nothing of it runs on, and the next one finds its files
talk ask 'echo before > kept; sleep 300 & sleep 300' >/tmp/killed 2>&1 &
sleep 3
each_of() { # NAME: the processes that are called so
    for process in /proc/[0-9]*; do
        name=
        { read -r name <"$process/comm"; } 2>/dev/null
        [ "$name" != "$1" ] || echo "${process##*/}"
    done
}
named=0
for process in $(each_of peacrabd); do
    grep -aq key-canary "/proc/$process/environ" && fail "the key is in the environment of $process"
    grep -aq ANTHROPIC_API_KEY= "/proc/$process/environ" && named=$((named + 1))
done
[ $named -gt 1 ] || fail 'no environment of ours was seen'
echo 'ok: the key is in no environment of ours'
[ "$(each_of sleep | wc -l)" = 2 ] || fail "the call to be killed: $(each_of sleep) $(cat /tmp/killed)"
kill -9 $(each_of peacrabd)
for round in 1 2 3 4 5; do [ -z "$(each_of sleep)" ] || sleep 1; done
[ -z "$(each_of sleep)" ] || fail "outlives the warden: $(each_of sleep)"
echo 'ok: a cell ends with a warden that was killed'
holds 'and the next one finds what was written' before 'cat kept'

# --- in a container: the group of the sandbox has other processes, or not
mkdir /sys/fs/cgroup/box
sh -c 'echo $$ > /sys/fs/cgroup/box/cgroup.procs; unshare -C /mnt/peacrabd ask --model m \
    --model-url http://127.0.0.1:9000 --base /media id; true' >/tmp/said 2>&1
grep -q 'other processes are in the sandbox.s own group' /tmp/said || fail "busy group: $(cat /tmp/said)"
echo 'ok: refused: other processes in the group of the sandbox'
sh -c 'echo $$ > /sys/fs/cgroup/box/cgroup.procs; exec unshare -C /mnt/peacrabd ask --plain --model m \
    --model-url http://127.0.0.1:9000 --base /media "echo from a container"' >/tmp/said 2>&1
grep -q 'from a container' /tmp/said || fail "in a group of its own: $(cat /tmp/said)"
echo 'ok: alone in its group a container makes cells'
mkdir /sys/fs/cgroup/small
echo 400M >/sys/fs/cgroup/small/memory.max
sh -c 'echo $$ > /sys/fs/cgroup/small/cgroup.procs; exec unshare -C /mnt/peacrabd ask --plain --model m \
    --model-url http://127.0.0.1:9000 --base /media "df -k /tmp | tail -n 1"' >/tmp/said 2>&1
of=
for group in agents turns; do
    of="$of $(cat /sys/fs/cgroup/small/peacrab-*/$group/memory.max)"
done
[ "$of" = ' 335544320 62914560' ] || fail "memory of the agents and the turns: $of; $(cat /tmp/said)"
grep -q ' 122880 ' /tmp/said || fail "half of 60 % of 400M for /tmp: $(cat /tmp/said)"
echo 'ok: the bounds of a cell are of what the container has'

# --- what is missing is named
base=/nowhere refused '/nowhere: there is no clean Debian for cells: mount the base.erofs'
base=/ refused 'is the sandbox'\''s own root'
mkdir /tmp/empty
base=/tmp/empty refused 'holds no Debian'
mkdir /tmp/thin /tmp/thin/bin /tmp/thin/etc
cp /bin/sh /tmp/thin/bin
echo 13 >/tmp/thin/etc/debian_version
base=/tmp/thin refused 'lies on no disk'
base=/media
refused 'root lacks CAP_SYS_ADMIN' setpriv --bounding-set -sys_admin
refused 'root lacks CAP_NET_ADMIN, CAP_MKNOD' setpriv --bounding-set -net_admin,-mknod
refused 'in a user namespace' unshare -Ur
echo 1 >/proc/sys/fs/suid_dumpable
refused 'fs.suid_dumpable is 1' env
echo 2 >/proc/sys/fs/suid_dumpable
echo /status | talk chat >/tmp/said
grep -q 'leaves its memory to the sandbox' /tmp/said || fail "suid_dumpable: $(cat /tmp/said)"
echo 0 >/proc/sys/fs/suid_dumpable
echo 'ok: what makes memory readable is refused, or said'

# --- root mounts nothing that others may have put there
mkdir /run/user /run/user/1000
chown 1000 /run/user/1000
refused 'state: others than root may write to /run/user/1000: set XDG_STATE_HOME' \
    env XDG_STATE_HOME=/run/user/1000/state
refused 'state: others than root may write to /tmp: set' env XDG_STATE_HOME=/tmp/state
ln -s /run/user/1000 /run/link
refused 'state: others than root may write to /run/link: set' env XDG_STATE_HOME=/run/link/state
mkdir /run/user/1000/base
mount --bind /media /run/user/1000/base
base=/run/user/1000/base refused 'base: others than root may write to /run/user/1000: move it'
umount /run/user/1000/base
mkdir -p /run/moved/peacrab/cells /srv/files
chown 1000 /srv/files
ln -s /srv/files /run/moved/peacrab/cells/files
refused 'cells/files is no folder of root' env XDG_STATE_HOME=/run/moved
rm /run/moved/peacrab/cells/files
echo >/run/moved/peacrab/cells/state.img
refused 'state.img is no file of root' env XDG_STATE_HOME=/run/moved
mv /run/peacrab-cells.lock /run/kept.lock
ln -s /srv/files /run/peacrab-cells.lock
refused 'lock: /run/peacrab-cells.lock: Too many' env
rm /run/peacrab-cells.lock

# --- a state folder without quotas: a disk in a file, where the kernel has loop devices
mkdir /run/state
mount -t tmpfs -o mode=0755,size=100m tmpfs /run/state
export XDG_STATE_HOME=/run/state
refused 'M free, and a tenth is left free: make room for 128M' env
mount -o remount,size=160m /run/state
if [ -e /dev/loop-control ]; then
    attached() { cat /sys/block/loop*/loop/backing_file 2>/dev/null | grep -q state.img; }
    refused 'state: no mkfs.ext4 to make its disk with: apt-get install e2fsprogs' env
    mount -t overlay -o lowerdir=/mnt/sbin:/usr/sbin overlay /usr/sbin
    holds 'a state disk is made in a file' 'made' 'echo made > kept; cat kept'
    for round in 1 2 3; do
        holds "and is there for the next, $round" 'made' 'cat kept; sleep 300 & echo $! >> kept'
    done
    holds 'with its quotas' 'quota exceeded' 'head -c 90000000 /dev/zero > big; rm big'
    image=/run/state/peacrab/cells/state.img
    whole() { [ $(($(stat -c '%b' $image) * 512)) -ge "$(stat -c '%s' $image)" ]; }
    whole || fail "not taken as a whole: $(stat $image)"
    echo 'ok: the disk has all its room'
    [ -d /run/state/peacrab/cells/files ] && fail 'there are files beside the disk'
    for round in 1 2 3 4 5 6 7 8 9 10; do attached && sleep 1; done
    attached && fail "still attached: $(cat /sys/block/loop*/loop/backing_file)"
    echo 'ok: the loop device is gone with its user'
    fallocate --dig-holes $image
    whole && fail 'no holes'
    holds 'holes are filled at the next start' 'made' 'cat kept'
    whole || fail "holes are left: $(stat $image)"
    for round in 1 2 3 4 5 6 7 8 9 10; do attached && sleep 1; done
    loop=$(losetup --find --show $image)
    refused "state: its disk is still mounted from $loop" env
    losetup -d "$loop"
else
    refused 'state: ' env
    echo 'skipped: a state disk in a file: this kernel has no loop devices'
fi
echo 'all done'
