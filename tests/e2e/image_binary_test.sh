#!/bin/bash
# An image whose first program cannot start is never made: the kernel would only say that no init works.
. "$(dirname "$0")/../support/lib.sh"
command -v readelf >/dev/null || skip 'no readelf'
export XDG_DATA_HOME=$scratch/data

# refused FILE PART: the build says PART, in one line, and leaves nothing.
refused() {
    local status=0
    "$root/guest-image/build" --binary "$1" >"$scratch/out" 2>&1 </dev/null || status=$?
    equal 1 "$status" "a build with $1"
    contains "$(<"$scratch/out")" "$2" "a build with $1"
    equal 1 "$(wc -l <"$scratch/out")" 'lines'
    [[ ! -e $XDG_DATA_HOME/peacrab/images/current ]] || fail "an image was made of $1"
}
refused "$(type -P true)" 'linked dynamically'
printf '#!/bin/sh\n' >"$scratch/script"
chmod +x "$scratch/script"
refused "$scratch/script" 'not an ELF program'
refused "$scratch/missing" 'not built'
# What is taken: the guest's own binary has no such segment.
if [[ -x $guest_peacrabd ]]; then
    LC_ALL=C readelf --program-headers --wide "$guest_peacrabd" >"$scratch/segments"
    lacks "$(<"$scratch/segments")" INTERP "the guest's own binary"
fi
echo 'image binary: passed'
