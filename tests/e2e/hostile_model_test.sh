#!/bin/bash
# timeout: 420
# `peacrabd ask` without a VM against a strict and hostile model, in three dialects: every way an answer can
# go wrong has its exit code and its sentence (hostile_model.table), no request ever breaks the protocol, no
# call of a failed answer runs, the key is in no output. Then through a proxy that terminates TLS, and a stop.
. "$(dirname "$0")/../support/lib.sh"
peacrabd=${PEACRABD:-$peacrabd}
[[ -x $peacrabd ]] || fail "$peacrabd is not built"
command -v python3 >/dev/null || skip 'no python3'
command -v openssl >/dev/null || skip 'no openssl'

key=sk-ant-canary-$(tr -d - </proc/sys/kernel/random/uuid)
cp "$peacrabd" "$scratch/peacrabd"
chmod 711 "$scratch"
as=()
if ((EUID == 0)); then as=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi

# The certificate is its own CA, as a sandbox's proxy has one that no bundle knows.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=proxy \
    -addext subjectAltName=DNS:model.test -keyout "$scratch/key.pem" -out "$scratch/ca.pem" 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other \
    -keyout "$scratch/other.key" -out "$scratch/other.pem" 2>/dev/null
chmod 644 "$scratch"/{ca,other}.pem

start_model() { # NAME OPTIONS...: leaves the port in $port and the log's address in $log
    python3 "$root/tests/support/hostile_model.py" --for 400 "${@:2}" >"$scratch/$1.port" 2>"$scratch/$1.log" &
    on_exit kill $!
    until_true 10 test -s "$scratch/$1.port"
    port=$(<"$scratch/$1.port")
    log=http://127.0.0.1:$port/log
}

requests_log() { python3 -c 'import sys, urllib.request as u
print(u.build_opener(u.ProxyHandler({})).open(sys.argv[1]).read().decode())' "$log"; }

# url DIALECT SCENARIO: the base URL that picks both.
url() {
    local base=http://127.0.0.1:$port/s/$2
    if [[ $1 == anthropic ]]; then echo "$base"; else echo "$base/v1"; fi
}

# prepare NAME; become NAME URL [VARIABLE=VALUE...]: this shell becomes one question, in a home and a
# folder of its own; NAME begins with the dialect, if it is another than Anthropic's. The limit on memory is
# what a flood would hit.
prepare() {
    mkdir -m 0700 "$scratch/run.$1" "$scratch/run.$1/work"
    if ((EUID == 0)); then chown 65534:65534 "$scratch/run.$1" "$scratch/run.$1/work"; fi
}
limit=(timeout 60)
become() {
    exec >"$scratch/$1.out" 2>"$scratch/$1.err" </dev/null
    cd "$scratch/run.$1/work"
    ulimit -v 1000000 -c 0
    local dialect=() variable=ANTHROPIC_API_KEY
    if [[ $1 == chat.* || $1 == responses.* ]]; then dialect=(--dialect "${1%%.*}") variable=OPENAI_API_KEY; fi
    exec "${as[@]}" env -i PATH="$PATH" HOME="$scratch/run.$1" LANG=C.UTF-8 "$variable=$key" "${@:3}" "${limit[@]}" \
        "$scratch/peacrabd" ask --plain "${dialect[@]}" --model m --model-url "$2" 'what is up?'
}

# ask NAME URL [VARIABLE=VALUE...]: leaves NAME.out, NAME.err and NAME.code.
ask() {
    local code=0
    prepare "$1"
    (become "$@") || code=$?
    echo "$code" >"$scratch/$1.code"
}

problems=()
verdict() { # NAME EXIT FILE PHRASE
    local code all
    code=$(<"$scratch/$1.code")
    all=$(<"$scratch/$1.$3")
    [[ $code == "$2" ]] || problems+=("$1: exit $code, wanted $2: $(tail -3 "$scratch/$1.err")")
    [[ $all == *"$4"* ]] || problems+=("$1: no '$4' in its $3: ${all:0:300}")
    if grep -qF "${key:0:14}" "$scratch/$1.out" "$scratch/$1.err"; then problems+=("$1: told the key"); fi
    if [[ -e $scratch/run.$1/work/ran ]]; then problems+=("$1: a call ran that must not"); fi
    if grep -q 'ran-it' "$scratch/$1.out"; then problems+=("$1: a damaged call ran"); fi
    if grep -qP '\x1b' "$scratch/$1.err"; then problems+=("$1: an escape reached the terminal"); fi
}

# Row by row of the table, each for the dialects it names: ask_row asks, judge_row looks at what came.
table=$(dirname "$0")/hostile_model.table
each_row() { # COMMAND: it is given DIALECT SCENARIO EXIT FILE PHRASE
    local dialects name code place phrase dialect
    while IFS='|' read -r dialects name code place phrase; do
        [[ -n $phrase && $dialects != '#'* ]] || continue
        if [[ $dialects == 'all '* ]]; then dialects='anthropic chat responses'; fi
        for dialect in $dialects; do "$1" "$dialect" "${name// /}" "${code// /}" "${place// /}" "${phrase# }"; done
    done <"$table"
}
names=()
ask_row() {
    names+=("$1.$2")
    while (($(jobs -rp | wc -l) > 8)); do sleep 0.05; done # the model is one of them
    ask "$1.$2" "$(url "$1" "$2")" &
}
judge_row() { verdict "$1.$2" "${@:3}"; }

start_model plain
each_row ask_row
all_asked() { local codes=("$scratch"/*.code) && ((${#codes[@]} == ${#names[@]})); }
until_true 240 all_asked
each_row judge_row

# Nobody there at all, and the wrong kind of address.
ask nobody http://127.0.0.1:1
verdict nobody 5 err 'cannot reach http://127.0.0.1:1: Connection refused (4 tries): check the network'
ask scheme ftp://127.0.0.1/
verdict scheme 6 err 'it must begin with https:// or http://'

# A stop while the model is silent in the middle of its answer.
stop() { # DIALECT REQUEST: how the log names what is to be waited for
    local front before code=0 name=$1.stall
    limit=()
    prepare "$name"
    (become "$name" "$(url "$1" stall)") &
    front=$!
    stalls() { requests_log | grep -qF "\"$2\": 1"; }
    until_true 20 stalls "$@"
    before=${EPOCHREALTIME/./}
    kill -INT $front
    wait $front || code=$?
    took=$((${EPOCHREALTIME/./} - before))
    echo $code >"$scratch/$name.code"
    limit=(timeout 60)
    verdict "$name" 130 err 'stopp'
    ((took < 3000000)) || problems+=("$name: the stop took $took us")
}
stop anthropic stall
stop chat chat/completions/stall
stop responses responses/stall

# Another model takes over, when the person named one.
for dialect in anthropic chat responses; do
    name=$dialect.fallback
    prepare "$name"
    mkdir -p "$scratch/run.$name/.config/peacrab"
    printf 'fallback:\n  - other\n' >"$scratch/run.$name/.config/peacrab/config.yaml"
    if ((EUID == 0)); then chown -R 65534:65534 "$scratch/run.$name/.config"; fi
    code=0
    (become "$name" "$(url $dialect 529-for-m.fallback)") || code=$?
    echo "$code" >"$scratch/$name.code"
    verdict "$name" 0 out 'All is wéll.'
    verdict "$name" 0 err 'the model is overloaded (529) (4 tries); going on with other'
done

requests_log >"$scratch/plain.json"
grep -q '"violations": \[\]' "$scratch/plain.json" || problems+=("violations: $(<"$scratch/plain.log")")

# Through a proxy that terminates TLS: the CA by either variable, and none.
start_model tls --tls-cert "$scratch/ca.pem" --tls-key "$scratch/key.pem"
proxy=http://someone:geheim@127.0.0.1:$port
ask tls-added https://model.test/s/tool.added HTTPS_PROXY="$proxy" PROXY_CA_CERT_B64="$(base64 -w0 "$scratch/ca.pem")"
verdict tls-added 0 out 'results: note-42'
ask tls-file https://model.test/s/ok https_proxy="$proxy" SSL_CERT_FILE="$scratch/ca.pem"
verdict tls-file 0 out 'All is wéll.'
# The CA may be another when it is looked at again.
mkfifo -m 644 "$scratch/changing.pem"
(cat "$scratch/other.pem" >"$scratch/changing.pem"; sleep 0.5; cat "$scratch/ca.pem" >"$scratch/changing.pem") &
ask tls-changed https://model.test/s/ok.changed HTTPS_PROXY="$proxy" SSL_CERT_FILE="$scratch/changing.pem"
verdict tls-changed 0 out 'All is wéll.'
ask tls-none https://model.test/s/ok HTTPS_PROXY="$proxy"
verdict tls-none 1 err 'certificate'
ask tls-bad https://model.test/s/ok HTTPS_PROXY="$proxy" PROXY_CA_CERT_B64='***'
verdict tls-bad 1 err 'PROXY_CA_CERT_B64 is not base64'
ask tls-other https://other.test/s/ok HTTPS_PROXY="$proxy" SSL_CERT_FILE="$scratch/ca.pem"
verdict tls-other 1 err 'cannot reach https://other.test through the proxy http://127.0.0.1'
if grep -l geheim "$scratch"/*.err "$scratch"/*.out; then problems+=('the password of the proxy was told'); fi
requests_log >"$scratch/tls.json"
grep -q '"violations": \[\]' "$scratch/tls.json" || problems+=("violations: $(<"$scratch/tls.log")")
contains "$(<"$scratch/tls.json")" '"ok": 1' 'only the trusted exchange reached the model'

((${#problems[@]} == 0)) || fail "$(printf '\n  %s' "${problems[@]}")"
echo "ok: ${#names[@]} scenarios, no violation in $(grep -o '"requests": [0-9]*' "$scratch/plain.json" | tr -dc 0-9) requests; TLS through a proxy; a stop in $((took / 1000)) ms"
