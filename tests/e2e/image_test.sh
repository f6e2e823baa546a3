#!/bin/bash
# timeout: 900
# The guest image: the same inputs give the same bytes; what it is made of is written down with hashes;
# its own root holds peacrabd, modules and mount points; nothing in its base gives privilege away.
. "$(dirname "$0")/../support/lib.sh"

image=$("$root/guest-image/build")
equal "$image" "$XDG_DATA_HOME/peacrab/images/$(readlink "$XDG_DATA_HOME/peacrab/images/current")" \
    'the image just built is the current one'
field() { sed -nE "s/.*\"$2\": \{[^}]*\"$3\": \"([^\"]+)\".*/\1/p" "$1/manifest.json"; }
hash_of() { sha256sum "$1" | cut -d' ' -f1; }

# --- the static binary: another build folder, another place of the sources, the same bytes
mkdir "$scratch/elsewhere"
cp -r "$root"/{meson.build,meson_options.txt,runtime,tools,guest-image,tests} "$scratch/elsewhere"
mkdir "$scratch/elsewhere/other"
ln -s "$(readlink "$root/build/static-libs")" "$scratch/elsewhere/other/static-libs"
(cd "$scratch/elsewhere" && meson setup other) \
    >"$scratch/log" 2>&1 || fail "meson: $(tail -n 5 "$scratch/log")"
ninja -C "$scratch/elsewhere/other" guest-image/peacrabd >"$scratch/log" 2>&1 ||
    fail "ninja: $(tail -n 5 "$scratch/log")"
cmp "$guest_peacrabd" "$scratch/elsewhere/other/guest-image/peacrabd" ||
    fail 'two builds of the static binary differ'
! grep -aqF "$root" "$guest_peacrabd" || fail 'the static binary names the folder it was built in'
size=$(stat -c %s "$guest_peacrabd")
((size <= 10 * 1000 * 1000)) || fail "the static binary has $size bytes: over 10 MB"
contains "$(LC_ALL=C readelf -h "$guest_peacrabd")" 'DYN (Position-Independent' 'the static binary'
lacks "$(LC_ALL=C readelf -ld "$guest_peacrabd")" 'program interpreter' 'the static binary has a loader'
lacks "$(LC_ALL=C readelf -d "$guest_peacrabd")" NEEDED 'the static binary needs a library'

# --- its libraries, from the sources again, with a cache of its own, beside what follows
fresh_libraries() {
    local again
    again=$(XDG_CACHE_HOME=$scratch/again "$root/guest-image/static-libs")
    for each in curl simdjson; do
        cmp "$root/build/static-libs/lib/lib$each.a" "$again/lib/lib$each.a"
    done
}
fresh_libraries >"$scratch/libraries" 2>&1 &
libraries=$!

# --- the initramfs
kind=$(field "$image" kernel kind)
case $kind in
    own) kernel=$("$root/guest-image/own-kernel") package=linux-source-6.12 ;;
    debian) kernel=$("$root/guest-image/kernel") package=linux-image-6.12 ;;
    *) fail "the manifest says the kernel is '$kind'" ;;
esac
for each in one two; do
    "$root/guest-image/initramfs" "$guest_peacrabd" "$kernel" "$scratch/$each.cpio"
    sleep 1.1  # another second of the clock, which must not show
done
cmp "$scratch/one.cpio" "$scratch/two.cpio" || fail 'two initramfs differ'
equal "$(hash_of "$scratch/one.cpio")" "$(hash_of "$image/initramfs.cpio")" \
    'the initramfs of the image'

# Nothing but peacrabd, kernel modules, and empty folders to mount on.
cpio -it --quiet <"$image/initramfs.cpio" | sort >"$scratch/listing"
equal 'base dev modules peacrabd proc run state sys tmp' \
    "$(grep -v / "$scratch/listing" | tr '\n' ' ' | sed 's/ $//')" "the guest's own root"
lacks "$(grep / "$scratch/listing" | grep -vE '^modules/[0-9]{2}-[a-z0-9_]+\.ko$' || true)" / \
    'below the root there is more than modules'
if [[ $kind == debian ]]; then
    contains "$(<"$scratch/listing")" quota_v2 'the modules'
else
    lacks "$(<"$scratch/listing")" .ko 'the own kernel loads no modules'
fi

# --- the base
fresh=$("$root/guest-image/base" --fresh)
on_exit rm -rf "$fresh"
cmp "$fresh/base.erofs" "$image/base.erofs" || fail 'two builds of the base differ'
equal "$(<"$fresh/uuid")" "$(field "$image" base uuid)" 'the UUID of the base'
size=$(stat -c %s "$image/base.erofs")
((size <= 250 * 1000 * 1000)) || fail "the base has $size bytes: over 250 MB"

mkdir "$scratch/base"
if ((EUID == 0)) && mount -t erofs -o loop,ro,nodev,nosuid "$image/base.erofs" "$scratch/base"; then
    on_exit umount "$scratch/base"
    equal '' "$(find "$scratch/base" -perm /6000)" 'files with a setuid or setgid bit'
    equal '' "$(python3 -c 'import os, sys
for top, folders, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(top, name)
        if os.listxattr(path, follow_symlinks=False): print(path)' "$scratch/base")" \
        'files with extended attributes: capabilities are among them'
    equal '' "$(find "$scratch/base" \( -type b -o -type c -o -type s -o -type p \))" 'device nodes'
    equal '' "$(find "$scratch/base" -xdev -perm -o+w ! -type l ! -path "$scratch/base/tmp" \
        ! -path "$scratch/base/var/tmp" ! -path "$scratch/base/run/lock" ! -path "$scratch/base/dev/shm")" \
        'what anybody may write to'
    equal '' "$(cut -d: -f2 "$scratch/base/etc/shadow" | grep -v '^[!*]' || true)" 'accounts with a password'
    equal '' "$(<"$scratch/base/etc/machine-id")$(<"$scratch/base/etc/resolv.conf")" 'identity in the base'
    equal '1000:1000' "$(stat -c %u:%g "$scratch/base/home/agent/workspace")" 'the owner of the workspace'
    [[ ! -e $scratch/base/usr/bin/sudo ]] || fail 'there is sudo in the base'
    for program in bash sh curl git python3 socat; do
        [[ -x $scratch/base/usr/bin/$program ]] || fail "there is no $program in the base"
    done
else
    echo 'the base was not looked into: this machine cannot mount erofs'
fi

wait "$libraries" || fail "two builds of libcurl or simdjson differ: $(<"$scratch/libraries")"

# --- the manifest and the lock
for part in vmlinux:kernel initramfs.cpio:initramfs base.erofs:base; do
    equal "$(field "$image" "${part#*:}" sha256)" "$(hash_of "$image/${part%:*}")" "the hash of ${part%:*}"
done
lock=$(<"$image/image.lock")
for name in 'deb bash=' "deb $package" 'source curl=8.14.1-' 'source simdjson='; do
    contains "$lock" "$name" 'image.lock'
done
equal '' "$(grep -vE '^(deb|source) [a-z0-9.+-]+=[^= ]+=[0-9a-f]{64}$|^binary peacrabd=[0-9a-f]{64}$' \
    "$image/image.lock" || true)" 'lines of image.lock without a version or a hash'
contains "$lock" "binary peacrabd=$(hash_of "$guest_peacrabd")" 'image.lock'

# --- the other kernel, in a place of its own so that the current image stays
elsewhere() { XDG_DATA_HOME=$scratch/data "$@"; }
equal "$(<"$kernel/version")" "$(field "$image" kernel version)" 'the release of the kernel'
stock=$(elsewhere "$root/guest-image/build" --kernel debian)
equal debian "$(field "$stock" kernel kind)" 'the kind of kernel that was asked for'
[[ $(field "$stock" kernel version) == 6.12.*-cloud-* ]] ||
    fail "Debian's kernel is called $(field "$stock" kernel version)"
if [[ $kind == own ]]; then
    [[ $(field "$image" kernel version) == 6.12.*-peacrab ]] || fail 'the own kernel has another name'
    [[ ${stock##*/} != "${image##*/}" ]] || fail 'two kernels, one image'
else
    equal "${image##*/}" "${stock##*/}" 'the image by default and the one asked for'
fi
said=$(elsewhere "$peacrab" image show)
contains "$said" "$(field "$stock" kernel version)  debian" 'peacrab image show'
! elsewhere "$peacrab" image build --kernel bsd 2>"$scratch/said" || fail 'built with a kernel there is not'
contains "$(<"$scratch/said")" 'use own or debian' 'the refusal'
equal "${stock##*/}" "$(readlink "$scratch/data/peacrab/images/current")" 'the image after a refusal'

# --- what must be refused
! "$root/guest-image/build" --binary /nonexistent 2>"$scratch/said" || fail 'built without a peacrabd'
contains "$(<"$scratch/said")" 'not built' 'the refusal'
echo full >"$scratch/disk"
! "$root/guest-image/state-disk" "$scratch/disk" 64M 2>/dev/null || fail 'a file was taken for a new disk'
equal full "$(<"$scratch/disk")" 'the file that was there'
"$root/guest-image/state-disk" "$scratch/new" 1G
equal "1073741824 600" "$(stat -c '%s %a' "$scratch/new")" 'the state disk'
(($(stat -c %b "$scratch/new") < 4096)) || fail 'the state disk is not sparse'

# What apt cannot authenticate, and an upstream archive that is not the pinned one, is not taken. The
# image's scripts are run from a copy, with a cache of their own.
cp -r "$root/guest-image" "$scratch/recipe"
hostile() { XDG_CACHE_HOME=$scratch/cache "$@" >"$scratch/said" 2>&1; }

sed -i 's/^simdjson_orig=.*/simdjson_orig=0000/' "$scratch/recipe/static-libs"
! hostile "$scratch/recipe/static-libs" || fail 'an archive with another hash was built'
contains "$(<"$scratch/said")" 'its hash is not the pinned one' 'the refusal'

if ((EUID == 0)); then
    repository=$scratch/repository/dists/trixie
    mkdir -p "$repository/main/binary-amd64" "$scratch/sources"
    : >"$repository/main/binary-amd64/Packages"
    printf 'Suite: trixie\nCodename: trixie\nComponents: main\nArchitectures: amd64\nDate: %s\nSHA256:\n %s 0 %s\n' \
        "$(date -Ru)" "$(hash_of /dev/null)" main/binary-amd64/Packages >"$repository/Release"
    printf 'deb copy:%s trixie main\ndeb copy:%s trixie-security main\n' \
        "$scratch/repository" "$scratch/repository" >"$scratch/sources/only.list"
    rm -rf "$scratch/cache"
    # In a mount namespace of its own, where these are the machine's apt sources.
    ! hostile unshare --mount bash -c 'set -e
        mount --bind "$1" /etc/apt/sources.list.d
        if [[ -e /etc/apt/sources.list ]]; then mount --bind /dev/null /etc/apt/sources.list; fi
        exec "$2"' bash "$scratch/sources" "$scratch/recipe/kernel" || fail 'an unsigned mirror was taken'
    contains "$(<"$scratch/said")" 'is not signed' 'the refusal of an unsigned mirror'
fi
