#!/bin/bash
# timeout: 300
# `peacrabd ask` without a VM against a strict and hostile model: every way an answer can go wrong has
# its exit code and its sentence, no request ever breaks the protocol, no call of a failed answer runs,
# the key is in no output. Then the same through a proxy that terminates TLS, and a stop.
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
chmod 644 "$scratch/ca.pem"

start_model() { # NAME OPTIONS...: leaves the port in $port and the log's address in $log
    python3 "$root/tests/support/hostile_model.py" --for 300 "${@:2}" >"$scratch/$1.port" 2>"$scratch/$1.log" &
    on_exit kill $!
    until_true 10 test -s "$scratch/$1.port"
    port=$(<"$scratch/$1.port")
    log=http://127.0.0.1:$port/log
}

requests_log() { python3 -c 'import sys, urllib.request as u
print(u.build_opener(u.ProxyHandler({})).open(sys.argv[1]).read().decode())' "$log"; }

# prepare NAME; become NAME URL [VARIABLE=VALUE...]: this shell becomes one question, in a home and a
# folder of its own. The limit on memory is what a flood would hit.
prepare() {
    mkdir -m 0700 "$scratch/run.$1" "$scratch/run.$1/work"
    if ((EUID == 0)); then chown 65534:65534 "$scratch/run.$1" "$scratch/run.$1/work"; fi
}
limit=(timeout 60)
become() {
    exec >"$scratch/$1.out" 2>"$scratch/$1.err" </dev/null
    cd "$scratch/run.$1/work"
    ulimit -v 1000000 -c 0
    exec "${as[@]}" env -i PATH="$PATH" HOME="$scratch/run.$1" LANG=C.UTF-8 ANTHROPIC_API_KEY="$key" \
        "${@:3}" "${limit[@]}" "$scratch/peacrabd" ask --plain --model m --model-url "$2" 'what is up?'
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

# scenario | exit code | where | what it says
table='
ok                | 0 | out | All is wéll.
tool              | 0 | out | results: note-42
two-calls         | 0 | out | results:
parallel          | 0 | out | results: one / two
thinking          | 0 | out | results: note-42
bytewise          | 0 | out | All is wéll.
crlf              | 0 | out | All is wéll.
cr                | 0 | out | All is wéll.
bom               | 0 | out | All is wéll.
no-space          | 0 | out | All is wéll.
multi-line        | 0 | out | All is wéll.
comments          | 0 | out | All is wéll.
pings             | 0 | out | All is wéll.
gzip              | 0 | out | All is wéll.
8mb-event         | 0 | out | big: xxx
50000-events      | 0 | out | xxxxxxxxxx
end-twice         | 0 | out | All is wéll.
no-final-blank    | 0 | out | All is wéll.
no-eof            | 0 | out | All is wéll.
reset-after-end   | 0 | out | All is wéll.
json              | 0 | out | All is wéll.
json-tool         | 0 | out | results: note-42
max-tokens        | 0 | out | a part
pause             | 0 | out | and the rest
bad-utf8          | 0 | out | All is w�ll.
index-gap         | 0 | out | results: note-42 / two
late-stops        | 0 | out | results: note-42 / two
same-index        | 0 | out | results: note-42 / two
no-id             | 0 | out | results: note-42 / two
bad-id            | 0 | out | results: note-42
same-id           | 0 | out | results: note-42 / two
id-again          | 0 | out | results: 3
object-input      | 0 | out | results: note-42
tool-end-turn     | 0 | out | results: note-42
empty-input       | 0 | out | results:
bad-input         | 0 | out | results:
cut-call          | 0 | out | results:
cut-call-open     | 0 | out | results:
unknown-tool      | 0 | out | results:
error-after-tool  | 1 | err | the model is overloaded (529) (4 tries): try again in a few minutes
cut-after-tool    | 1 | err | broke off in the middle of its answer (4 tries): try again
529-once          | 0 | out | All is wéll.
529-once.note     | 0 | err | the model is overloaded (529); trying again in 1 s
429-once          | 0 | out | All is wéll.
500-once          | 0 | out | All is wéll.
cut-once          | 0 | out | All is wéll.
cut-inside-once   | 0 | out | All is wéll.
reset-once        | 0 | out | All is wéll.
abort-once        | 0 | out | All is wéll.
short-once        | 0 | out | All is wéll.
error-once        | 0 | out | All is wéll.
bad-json-once     | 0 | out | All is wéll.
no-tool-once      | 0 | out | All is wéll.
401               | 1 | err | the model refused the key (401): set another with `peacrab setup`
403               | 1 | err | the model refused the key (403), saying: key [key]... may not: set another
402               | 1 | err | the account of this key has nothing left to spend (402)
404               | 1 | err | there is no model '"'m'"' at http://127.0.0.1
413               | 1 | err | the conversation is too large for the model (413)
400               | 1 | err | the model refused the request (400), saying: bad
429-long          | 1 | err | it asks to wait 5 h: try again then
529               | 1 | err | the model is overloaded (529) (4 tries): try again in a few minutes
no-end            | 1 | err | broke off in the middle of its answer (4 tries): try again
json-error        | 1 | err | the model refused the key (401)
llama-error       | 1 | err | the model refused the request (400), saying: exceeds the context
html              | 1 | err | answers, but not as a model does (text/html)
redirect          | 1 | err | redirects to http://localhost:
unknown-stop      | 1 | err | the model stopped for a reason that is not known here (because)
no-stop           | 1 | err | the model'"'"'s answer has no stop reason
refusal           | 1 | err | the model refused to answer (cyber)
context           | 1 | err | the conversation no longer fits
flood             | 1 | err | sent more than is accepted
error-flood       | 1 | err | the model refused the key (401)'

start_model plain
names=()
while IFS='|' read -r name code place phrase; do
    name=${name// /}
    [[ -n $name ]] || continue
    names+=("$name")
    while (($(jobs -rp | wc -l) > 6)); do sleep 0.05; done # the model is one of them
    ask "$name" "http://127.0.0.1:$port/s/$name" &
done <<<"$table"
all_asked() { local codes=("$scratch"/*.code) && ((${#codes[@]} == ${#names[@]})); }
until_true 120 all_asked
while IFS='|' read -r name code place phrase; do
    [[ -n $name ]] || continue
    verdict "${name// /}" "${code// /}" "${place// /}" "${phrase# }"
done <<<"$table"

# Nobody there at all, and the wrong kind of address.
ask nobody http://127.0.0.1:1
verdict nobody 1 err 'cannot reach http://127.0.0.1:1: Connection refused (4 tries): check the network'
ask scheme ftp://127.0.0.1/
verdict scheme 1 err 'cannot reach ftp://127.0.0.1'

# A stop while the model is silent in the middle of its answer.
limit=()
prepare stall
(become stall "http://127.0.0.1:$port/s/stall") &
front=$!
stalls() { requests_log | grep -q '"stall": 1'; }
until_true 20 stalls
before=${EPOCHREALTIME/./}
kill -INT $front
code=0
wait $front || code=$?
took=$((${EPOCHREALTIME/./} - before))
echo $code >"$scratch/stall.code"
limit=(timeout 60)
verdict stall 130 err 'stopp'
((took < 3000000)) || problems+=("stall: the stop took $took us")

requests_log >"$scratch/plain.json"
grep -q '"violations": \[\]' "$scratch/plain.json" || problems+=("violations: $(<"$scratch/plain.log")")

# Through a proxy that terminates TLS: the CA by either variable, and none.
start_model tls --tls-cert "$scratch/ca.pem" --tls-key "$scratch/key.pem"
proxy=http://someone:geheim@127.0.0.1:$port
ask tls-added https://model.test/s/tool.added HTTPS_PROXY="$proxy" PROXY_CA_CERT_B64="$(base64 -w0 "$scratch/ca.pem")"
verdict tls-added 0 out 'results: note-42'
ask tls-file https://model.test/s/ok https_proxy="$proxy" SSL_CERT_FILE="$scratch/ca.pem"
verdict tls-file 0 out 'All is wéll.'
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
