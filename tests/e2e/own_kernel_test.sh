#!/bin/bash
# The guest's own kernel: what an agent must not be able to reach is not in it, and what cells are made
# of is. Looked at in the configuration it was compiled with, where it has been compiled here, and in the
# one it will be compiled with, everywhere. The list is not read from kernel.config: that would only
# repeat what somebody wrote there.
. "$(dirname "$0")/../support/lib.sh"

forbidden='MODULES KEXEC KEXEC_FILE HIBERNATION DEVMEM DEVPORT PROC_KCORE KALLSYMS DEBUG_FS MAGIC_SYSRQ
    KPROBES FTRACE IKCONFIG IO_URING USERFAULTFD BPF_SYSCALL CGROUP_BPF KEYS KCMP CHECKPOINT_RESTORE
    FHANDLE FANOTIFY MODIFY_LDT_SYSCALL X86_IOPL_IOPERM IA32_EMULATION X86_X32_ABI
    X86_VSYSCALL_EMULATION SYSFS_SYSCALL LEGACY_TIOCSTI SWAP COREDUMP SECURITYFS
    CRYPTO_USER CRYPTO_USER_API CRYPTO_USER_API_HASH CRYPTO_USER_API_SKCIPHER CRYPTO_USER_API_AEAD
    XFRM XFRM_USER INET_ESP INET6_ESP AF_RXRPC AF_KCM TIPC IP_SCTP NET_KEY XDP_SOCKETS PACKET VSOCKETS
    NETFILTER NF_TABLES NET_SCHED TUN VETH VIRTIO_NET DUMMY BRIDGE NET_9P VIRTIO_FS FUSE_FS
    SECURITY_YAMA AUTOFS_FS BINFMT_MISC BLK_DEV_LOOP VIRTIO_PCI VT PROC_MEM_ALWAYS_FORCE'
needed='SECCOMP_FILTER SECURITY_LANDLOCK BPF_JIT UTS_NS IPC_NS USER_NS PID_NS NET_NS CGROUPS MEMCG
    CGROUP_PIDS CFS_BANDWIDTH FAIR_GROUP_SCHED BLK_CGROUP BLK_DEV_THROTTLING QUOTA QFMT_V2 OVERLAY_FS
    EROFS_FS EXT4_FS EXT4_FS_SECURITY TMPFS_XATTR POSIX_MQUEUE SYSVIPC UNIX IPV6 AIO FUTEX MEMBARRIER
    RSEQ MEMFD_CREATE CROSS_MEMORY_ATTACH PVH KVM_GUEST ACPI VIRTIO_MMIO VIRTIO_BLK VIRTIO_CONSOLE
    HW_RANDOM_VIRTIO INIT_ON_ALLOC_DEFAULT_ON INIT_STACK_ALL_ZERO SLAB_FREELIST_HARDENED
    HARDENED_USERCOPY STACKPROTECTOR_STRONG STRICT_KERNEL_RWX VMAP_STACK STATIC_USERMODEHELPER
    CPU_MITIGATIONS MITIGATION_PAGE_TABLE_ISOLATION MITIGATION_SPECTRE_V2'

# looks_at FILE: prints what is wrong with that configuration.
looks_at() {
    local each
    for each in $forbidden; do
        if grep -qE "^CONFIG_$each=[^n]" "$1"; then echo "$each is in"; fi
    done
    for each in $needed; do
        grep -qx "CONFIG_$each=y" "$1" || echo "$each is missing"
    done
    grep -qx 'CONFIG_LOCALVERSION="-peacrab"' "$1" || echo 'the release does not end in -peacrab'
    grep -qx 'CONFIG_LSM="landlock"' "$1" || echo 'landlock is not started'
}

fragment=$root/guest-image/kernel.config
equal '' "$(looks_at "$fragment")" 'kernel.config'

# A looker that sees nothing would find nothing wrong.
sed 's/# CONFIG_IO_URING is not set/CONFIG_IO_URING=y/; /^CONFIG_QFMT_V2=/d' "$fragment" >"$scratch/worse"
equal $'IO_URING is in\nQFMT_V2 is missing' "$(looks_at "$scratch/worse")" 'a configuration made worse'

# Kconfig drops what it cannot have, and brings in what something selects: the recipe sees both.
cp "$fragment" "$scratch/.config"
holds() {
    (cd "$scratch" && here=$root/guest-image && die() { echo "$*"; exit 1; } &&
        eval "$(sed -n '/^hold() {$/,/^}$/p' "$root/guest-image/own-kernel")" && hold)
}
holds || fail 'kernel.config does not hold in itself'
cp "$scratch/worse" "$scratch/.config"
! said=$(holds) || fail 'a configuration made worse was taken'
contains "$said" 'CONFIG_QFMT_V2=y: not taken' 'the refusal'
sed 's/# CONFIG_IO_URING is not set/CONFIG_IO_URING=y/' "$fragment" >"$scratch/.config"
! said=$(holds) || fail 'a configuration made worse was taken'
contains "$said" 'CONFIG_IO_URING: came in all the same' 'the refusal'

# What it is called depends on what it is made of.
folder=$("$root/guest-image/own-kernel" --path)
equal "$folder" "$("$root/guest-image/own-kernel" --path)" 'the same recipe'
cp -r "$root/guest-image" "$scratch/recipe"
echo '# CONFIG_SMP is not set' >>"$scratch/recipe/kernel.config"
[[ $folder != "$("$scratch/recipe/own-kernel" --path)" ]] || fail 'another configuration, the same folder'

# What compiles it and is not there is named before anything is fetched.
mkdir "$scratch/bin"
find ${PATH//:/ } -maxdepth 1 ! -name flex ! -name bison -exec ln -s -t "$scratch/bin" {} + 2>/dev/null || true
! PATH=$scratch/bin "$scratch/recipe/own-kernel" 2>"$scratch/said" || fail 'compiled without flex'
contains "$(<"$scratch/said")" 'apt-get install --no-install-recommends flex bison' 'the refusal'

if [[ ! -e $folder/lock ]]; then
    echo 'only kernel.config was looked at: the own kernel has not been compiled here'
    exit
fi
equal '' "$(looks_at "$folder/config")" 'the configuration of the own kernel'
equal '' "$(ls "$folder/modules")" 'modules of the own kernel'
[[ $(<"$folder/version") == 6.12.*-peacrab ]] || fail "the release is $(<"$folder/version")"
contains "$(strings "$folder/vmlinux" | grep -m 1 '^Linux version ')" "$(<"$folder/version") (peacrab@peacrab)" \
    'who built it'
