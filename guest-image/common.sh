# Shared by the scripts of this folder (sourced, never run): where things are kept, progress, hashes,
# and a private apt. The private apt reads the machine's mirrors and its keyring but has lists and a
# cache of its own, so Debian trixie can be read on a bookworm machine and nothing of the machine's
# own apt changes. It must not weaken apt: no option here turns off a signature or a hash.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/peacrab
data=${XDG_DATA_HOME:-$HOME/.local/share}/peacrab
suite=trixie
export LC_ALL=C
umask 022
mkdir -p "$cache/log"

# Progress goes to stderr with the seconds since the first script started (microseconds, inherited).
: "${PEACRAB_STARTED:=${EPOCHREALTIME/./}}"
export PEACRAB_STARTED

note() {
    local tenths=$(((${EPOCHREALTIME/./} - PEACRAB_STARTED) / 100000))
    printf '[%4d.%d s] %s\n' $((tenths / 10)) $((tenths % 10)) "$*" >&2
}

die() {
    printf 'peacrab: %s\n' "$*" >&2
    exit 1
}

# quietly NAME COMMAND...: output into a log of that name; the end of it is shown only on failure.
quietly() {
    local log=$cache/log/$1.log status=0
    shift
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if ((status != 0)); then
        tail -n 25 "$log" >&2
        printf 'peacrab: %s: failed with status %d; all of its output: %s\n' "$1" "$status" "$log" >&2
        return 1
    fi
}

# The first 16 hex digits of the SHA-256 of stdin: names a folder of the cache by what went into it.
key() { sha256sum | cut -c1-16; }
sha256_of() { sha256sum "$1" | cut -d' ' -f1; }

# locked NAME: waits until no other script of this folder holds NAME; the lock ends with the process.
locked() {
    exec {lock_fd}>"$cache/$1.lock"
    flock -w 2 "$lock_fd" && return
    note "waiting for another run that holds $cache/$1.lock"
    flock -w 900 "$lock_fd" || die "$cache/$1.lock: held for 15 minutes by another process"
}

unlocked() { exec {lock_fd}>&-; }

# Prints "archive URI KEYRING" and "security URI KEYRING" from the machine's own apt sources, both
# formats. An entry is Debian's when its suite is the machine's own release or a name of Debian's.
debian_mirrors() {
    local release
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    find /etc/apt/sources.list /etc/apt/sources.list.d \( -name '*.list' -o -name '*.sources' \) \
        -type f -print0 2>/dev/null | sort -z | xargs -0r awk -v release="$release" '
        function entry(uri, suites, components, key,    n, i, list, kind) {
            if (uri ~ /^cdrom:/ || components !~ /(^| )main( |$)/) return
            n = split(suites, list, " ")
            for (i = 1; i <= n; i++) {
                kind = list[i] ~ /-security$|\/updates$/ ? "security" : "archive"
                sub(/[-\/].*/, "", list[i])
                if (list[i] != release && list[i] !~ /^(stable|testing|bookworm|trixie|sid)$/) continue
                if (!(kind in seen)) { seen[kind] = 1; print kind, uri, (key ~ /^\// ? key : "-") }
            }
        }
        function stanza(    n, i, list) {
            n = split(field["uris"], list, " ")
            if (field["types"] ~ /(^| )deb( |$)/ && tolower(field["enabled"]) != "no")
                for (i = 1; i <= n; i++)
                    entry(list[i], field["suites"], field["components"], field["signed-by"])
            split("", field)
        }
        FNR == 1 { stanza() }
        /^deb[ \t]/ {
            key = "-"
            if (match($0, /\[[^]]*\]/)) {
                options = substr($0, RSTART, RLENGTH)
                $0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
                if (match(options, /signed-by=[^] ,]*/))
                    key = substr(options, RSTART + 10, RLENGTH - 10)
            }
            uri = $2; suites = $3; $1 = $2 = $3 = ""
            entry(uri, suites, $0, key)
            next
        }
        /^[ \t]*$/ { stanza(); next }
        /^#/ { next }
        /^[A-Za-z-]+:/ {
            name = tolower(substr($0, 1, index($0, ":") - 1))
            value = substr($0, index($0, ":") + 1)
            sub(/^[ \t]+/, "", value)
            field[name] = value
            next
        }
        /^[ \t]/ { field[name] = field[name] " " $0 }
        END { stanza() }' | sort -u
}

# The lines of a sources.list for the guest: packages of trixie, and the sources this project builds.
guest_sources() {
    local mirrors archive security key
    mirrors=$(debian_mirrors)
    read -r _ archive key < <(grep '^archive ' <<<"$mirrors") ||
        die "/etc/apt: no Debian mirror among the machine's apt sources; add Debian's entry there"
    read -r _ security _ < <(grep '^security ' <<<"$mirrors") ||
        die "/etc/apt: no Debian security mirror among the apt sources; add the -security entry there"
    if [[ $key == - ]]; then key=/usr/share/keyrings/debian-archive-keyring.gpg; fi
    [[ -r $key ]] || die "$key: missing; install debian-archive-keyring"
    local option="[signed-by=$key]"
    printf 'deb %s %s %s main\n' "$option" "$archive" $suite "$option" "$archive" $suite-updates \
        "$option" "$security" $suite-security
    printf 'deb-src %s %s %s main\n' "$option" "$archive" $suite "$option" "$archive" $suite-updates \
        "$option" "$security" $suite-security "$option" "$archive" bookworm
}

# What the machine's configuration says of proxies and the like holds here too; hooks of others do not.
write_apt_conf() {
    cat <<CONF
Dir::State "$cache/apt";
Dir::State::lists "$cache/apt/lists";
Dir::State::status "$cache/apt/status";
Dir::Cache "$cache/apt";
Dir::Cache::archives "$cache/apt/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::sourcelist "$cache/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "$cache/log";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
CONF
}

apt_get() { apt-get -q -c "$cache/apt/apt.conf" "$@"; }
apt_cache() { apt-cache -c "$cache/apt/apt.conf" "$@"; }

# Makes the private apt ready. The lists are fetched once and kept until `apt_ready --refresh`, so
# that every part of one image comes from the same snapshot of Debian and a second run asks nobody.
apt_ready() {
    local wanted
    wanted=$(guest_sources) || exit 1
    locked apt
    if [[ ${1:-} == --refresh || ! -e $cache/apt/ready ||
        $wanted != "$(cat "$cache/apt/sources.list" 2>/dev/null)" ]]; then
        note "reading Debian's package lists ($suite)"
        rm -f "$cache/apt/ready"
        mkdir -p "$cache"/apt/{lists,archives}/partial
        : >"$cache/apt/status"
        printf '%s\n' "$wanted" >"$cache/apt/sources.list"
        write_apt_conf >"$cache/apt/apt.conf"
        quietly apt-update apt_get -o APT::Update::Error-Mode=any update || exit 1
        apt_snapshot >"$cache/apt/ready"
    elif [[ -n $(find "$cache/apt/ready" -mtime +30) ]]; then
        note "Debian's package lists are over 30 days old; 'peacrab image build --refresh' renews them"
    fi
    unlocked
}

# One name for the state of the lists: changes when Debian's signed indexes do.
apt_snapshot() { cat "$cache"/apt/lists/*_InRelease | key; }

# The newest Date of the signed indexes of trixie, in seconds: not older than any package in them.
apt_epoch() {
    local day newest=0 epoch
    while read -r day; do
        epoch=$(date -u -d "$day" +%s)
        if ((epoch > newest)); then newest=$epoch; fi
    done < <(sed -n 's/^Date: //p' "$cache"/apt/lists/*_${suite}*_InRelease)
    echo "$newest"
}
