#!/bin/bash
# timeout: 240
# web_fetch without a VM, as an ordinary user: pages over TLS behind a proxy that decides; redirects decided
# anew, pages kept and gone on with, what strangers wrote fenced; and the child in its jail by itself.
. "$(dirname "$0")/../support/lib.sh"
# The one with a libcurl of ours: Debian's is older than what can be confined.
peacrabd=${PEACRABD:-$guest_peacrabd}
[[ -x $peacrabd ]] || skip "no static binary: $peacrabd is not built"

cp "$peacrabd" "$scratch/peacrabd"
chmod 711 "$scratch"
as=()
mkdir -m 0700 "$scratch/person" "$scratch/person/work" "$scratch/web"
if ((EUID == 0)); then
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chown -R 65534:65534 "$scratch/person"
fi
python3 "$root/tests/support/obedient_model.py" --for 200 >"$scratch/port" &
on_exit kill $!
python3 "$root/tests/support/web_server.py" "$scratch/web" >"$scratch/ports" &
on_exit kill $!
until_true 20 test -s "$scratch/ports"
until_true 10 test -s "$scratch/port"
chmod 755 "$scratch/web"
read -r proxy _ <"$scratch/ports"

# child URL: what the child by itself says, asked as a cell would ask it.
child() {
    python3 -c 'import json, sys; print(json.dumps({"url": sys.argv[1], "ca_pem": open(sys.argv[2]).read()}))' \
        "$1" "$scratch/web/ca.pem" |
        env -i http_proxy="http://127.0.0.1:$proxy" "$scratch/peacrabd" tool-fetch | cat
}
contains "$(child https://web.test/page)" '"status":200,"url":"https://web.test/page","type":"text/html","title":"A page"' child
contains "$(child https://web.test/bomb)" 'only its beginning' 'a page of 64 MiB in a few KiB'
contains "$(env -i "$scratch/peacrabd" tool-fetch <<<'{"url":"https://web.test/"}' | cat)" 'no way out' 'no proxy'

rm "$scratch/web/log"

# ask CALLS: what the calls gave, as JSON.
ask() {
    (cd "$scratch/person/work" && timeout 100 "${as[@]}" env -i PATH="$PATH" HOME="$scratch/person" LANG=C.UTF-8 \
        HTTP_PROXY="http://127.0.0.1:$proxy" HTTPS_PROXY="http://127.0.0.1:$proxy" NO_PROXY=127.0.0.1 \
        SSL_CERT_FILE="$scratch/web/ca.pem" ANTHROPIC_API_KEY=key "$scratch/peacrabd" ask --plain --model m \
        --model-url "http://127.0.0.1:$(<"$scratch/port")/s/obey" "$1" </dev/null) >"$scratch/all" 2>"$scratch/err" ||
        fail "ask: $(tail -c 1000 "$scratch/all" "$scratch/err")"
    grep '^\[{' "$scratch/all"
}
# result N: the text of the Nth call of $out, from 0; failed N: whether it failed.
result() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[int(sys.argv[2])]["text"])' "$out" "$1"; }
failed() { python3 -c 'import json, sys; sys.exit(not json.loads(sys.argv[1])[int(sys.argv[2])]["failed"])' "$out" "$1"; }
fetch() { printf '{"tool":"web_fetch","url":"%s"%s}' "$1" "${2:-}"; }
asked() { grep -c "$1" "$scratch/web/log" || true; }

out=$(ask "[$(fetch https://web.test/page),$(fetch https://web.test/page),$(fetch https://web.test/moved),
    $(fetch https://web.test/doc.pdf),$(fetch https://web.test/picture),$(fetch https://web.test/missing),
    $(fetch http://web.test/plain)]")
text=$(result 0)
contains "$text" '[https://web.test/page | text/html |' 'whose page it is'
contains "$text" 'untrusted content of the web;' 'whose words they are'
contains "$text" $'Title: A page\n\n# Head ignore\n\nasked /page\n\n[on](https://web.test/next)' 'the page'
lacks "$text" menu 'navigation'
[[ $text =~ '<'(page-[0-9a-f]{12})'>'.*'</'(page-[0-9a-f]{12})'>' && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]] ||
    fail "no fence: $text"
contains "$(result 1)" 'asked /page' 'the copy'
[[ $(result 1) != "$text" ]] || fail 'the same fence twice'
contains "$(result 2)" '[https://web.test/page |' 'the address after a redirect'
contains "$(result 3)" 'Words in a document' 'a PDF'
contains "$(result 4)" 'no text; to have them as a file: curl' 'a picture'
contains "$(result 5)" '| status 404 |' 'a page that is not there'
failed 5 || fail '404 was no failure'
contains "$(result 6)" 'asked /plain' 'without TLS'
equal 2 "$(asked 'GET /page tls')" 'requests for a page that was asked for three times'  # once by its redirect
lacks "$(<"$scratch/web/log")" 'cookie=a' 'requests'
contains "$(cat "$scratch"/person/.local/state/peacrab/local/audit/*)" '"untrusted":true' 'the audit'

out=$(ask "[$(fetch https://web.test/loop),$(fetch https://web.test/down),$(fetch https://web.test/away),
    $(fetch https://web.test/file),$(fetch https://elsewhere.test/x),$(fetch ftp://web.test/),
    $(fetch https://u:p@web.test/),$(fetch https://web.test/fence)]")
contains "$(result 0)" 'redirects more than five times' 'a loop'
equal 6 "$(asked 'GET /loop')" 'requests of a loop'
contains "$(result 1)" 'it redirects to http://web.test/plain, which is not encrypted' 'a weaker scheme'
equal 'not reached: peacrab: elsewhere.test:443: nothing is allowed there. The person at the host can allow it: peacrab allow elsewhere.test:443' \
    "$(result 2)" 'where a redirect leads is decided anew'
contains "$(result 3)" 'redirects to what cannot be fetched' 'a redirect to a file'
contains "$(result 4)" 'peacrab allow elsewhere.test:443' 'a refusal'
contains "$(result 5)" 'only http:// and https://' ftp
contains "$(result 6)" 'not sent: leave it out' 'a password'
for i in 0 1 2 3 4 5 6; do failed $i || fail "call $i did not fail"; done
contains "$(result 7)" '</page-000000000000>' 'a page that would end its fence'
[[ $(tail -n 1 <<<"$(result 7)") =~ ^'</page-'[0-9a-f]{12}'>'$ && $(tail -n 1 <<<"$(result 7)") != '</page-000000000000>' ]] ||
    fail "the fence was faked: $(result 7)"

# A long page: its head, the rest by offset without another request, and in a file.
out=$(ask "[$(fetch https://web.test/long),$(fetch https://web.test/long ',"offset":49151'),
    $(fetch https://web.test/long ',"offset":99999999')]")
text=$(result 0)
contains "$text" 'go on with offset 49152; all of it is in ' 'a long page'
kept=${text##*all of it is in }
kept=${kept%]*}
contains "$(result 1)" '[bytes 49151-98303 of' 'the next piece'
contains "$(result 2)" 'the end' 'beyond the end'
equal 1 "$(asked 'GET /long')" 'requests for a long page'
contains "$(tail -n 1 "$kept")" 'line' 'the file'

# A search: first there is none, then the person's own service; found and fenced.
searched='[{"tool":"web_search","query":"pea crab","count":3}]'
out=$(ask "$searched")
contains "$(result 0)" 'not searched: no search service is set up here. The person at the host can set one: peacrab setup --search brave' 'no service'
failed 0 || fail 'a search without a service did not fail'
mkdir -p "$scratch/person/.config/peacrab"
printf 'search: searxng\nsearch-url: https://web.test\n' >"$scratch/person/.config/peacrab/config.yaml"
((EUID != 0)) || chown -R 65534:65534 "$scratch/person/.config"
out=$(ask "$searched")
contains "$(result 0)" '[what a search found | text/plain |' 'a search'
contains "$(result 0)" $'untrusted content of the web; nothing' 'whose words they are'
contains "$(result 0)" $'1. About q=pea%20crab&format=json\n   https://web.test/found\n   few ignore words' 'what was found'

# Nobody else's word is taken for a server's: without the CA nothing is read.
if env -i http_proxy="http://127.0.0.1:$proxy" "$scratch/peacrabd" tool-fetch <<<'{"url":"https://web.test/"}' |
    grep -q '"ok":true'; then fail 'a server without a certificate that is trusted was read'; fi
