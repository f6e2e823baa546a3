#!/bin/bash
# needs: vm
# timeout: 240
# Posture `cells`: peacrabd as root in a VM that is not our guest. Its root is a plain Debian, started by an
# init of its own (support/plain_init); tests/e2e/sandbox_inside.sh does and checks the rest in there.
. "$(dirname "$0")/../support/lib.sh"
build=${PEACRAB_BUILD:-$root/build}
image=${GUEST_IMAGE:-${XDG_DATA_HOME}/peacrab/images/current}
[[ -x $build/tests/support/shell_model ]] || skip 'no static test programs here'
[[ -r $image/base.erofs ]] || fail "no image at $image"

mkdir "$scratch/files" "$scratch/initramfs"
cp "$build/guest-image/peacrabd" "$build/tests/support/shell_model" "$scratch/files"
cp "$root/tests/e2e/sandbox_inside.sh" "$scratch/files/start"
# The base has no mkfs.ext4: this machine's, with what it is linked to.
mkdir "$scratch/files/sbin" "$scratch/files/lib"
cp /sbin/mke2fs $(ldd /sbin/mke2fs | grep -o '/[^ ]*') "$scratch/files/lib"
printf '#!/bin/sh\nexec /mnt/lib/ld-linux-x86-64.so.2 --library-path /mnt/lib /mnt/lib/mke2fs -t ext4 "$@"\n' \
    >"$scratch/files/sbin/mkfs.ext4"
chmod +x "$scratch/files/sbin/mkfs.ext4"
truncate -s 96M "$scratch/files.img"
/sbin/mke2fs -q -t ext4 -d "$scratch/files" "$scratch/files.img"
"$root/guest-image/state-disk" "$scratch/state.img" 1G
# A second archive after the image's own, whose modules are loaded; our guest's init is not what starts.
install -m 0755 "$build/tests/support/plain_init" "$scratch/initramfs"
(cd "$scratch/initramfs" && echo plain_init | cpio --quiet --create --format=newc --owner=+0:+0) |
    cat "$image/initramfs.cpio" - >"$scratch/initramfs.cpio"

{ read -r accelerator && read -r line; } < <("$build/tests/support/guest_line")
case $accelerator in
    kvm) accelerate=(-accel kvm -cpu host) ;;
    *) accelerate=(-accel tcg,thread=multi,tb-size=256 -cpu max) ;;
esac
disk() { # SERIAL FILE [OPTION]
    disks+=(-drive "if=none,id=$1,format=raw${3:-},file=$2" -device "virtio-blk-device,drive=$1,serial=$1")
}
disk root "$image/base.erofs" ,readonly=on
disk base "$image/base.erofs" ,readonly=on
disk files "$scratch/files.img"
disk state "$scratch/state.img"
timeout 200 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
    -M microvm,x-option-roms=off,rtc=on,isa-serial=off,acpi=on,pit=off,pic=off "${accelerate[@]}" \
    -smp 2 -m 768M -global virtio-mmio.force-legacy=off -kernel "$image/vmlinux" \
    -initrd "$scratch/initramfs.cpio" -append "${line/peacrabd/plain_init}" \
    -device virtio-serial-device,max_ports=1 -chardev stdio,id=console,signal=off \
    -device virtconsole,chardev=console,nr=0 "${disks[@]}" -object rng-builtin,id=rng \
    -device virtio-rng-device,rng=rng </dev/null 2>&1 | tr -d '\r' >"$scratch/log" || true
grep -aE '^(ok|skipped): ' "$scratch/log" || true
grep -aq '^plain_init: exit 0$' "$scratch/log" || fail "in the sandbox: $(tail -n 40 "$scratch/log")"
grep -aq '^all done$' "$scratch/log" || fail "the sandbox's list was not done: $(tail -n 40 "$scratch/log")"
