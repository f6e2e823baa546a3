#!/bin/bash
# needs: vm
# timeout: 600
# web_fetch and web_search from a cell in our VM: what the rules on the host let through and nothing else, over TLS
# with a CA that the cell was given, and a search by the host's own process.
. "$(dirname "$0")/../support/lib.sh"

mkdir "$scratch/web"
python3 "$root/tests/support/web_server.py" "$scratch/web" >"$scratch/ports" &
on_exit kill $!
until_true 20 test -s "$scratch/ports"
read -r plain secure <"$scratch/ports"
start_obedient_model
printf 'egress: []\n' >>"$XDG_CONFIG_HOME/peacrab/config.yaml"

# ask TOOL KEY VALUE: what the call gave; false when it failed.
ask() {
    python3 -c 'import json, sys; print(json.dumps([{"tool": sys.argv[1], sys.argv[2]: sys.argv[3]}]))' "$@" |
        "$peacrab" ask --plain 2>>"$scratch/activity" | python3 -c 'import json, sys
[result] = json.load(sys.stdin)
print(result["text"])
sys.exit(result["failed"])'
}
tls=https://localhost:$secure/page
if out=$(ask web_fetch url "$tls"); then fail "a page came without a rule: $out"; fi
contains "$out" "not reached: peacrab: the agent \`main\` may not connect to localhost:$secure" 'without a rule'
contains "$out" "peacrab allow localhost:$secure" 'what the person can do'
"$peacrab" allow "localhost:$secure" private
if out=$(ask web_fetch url "$tls"); then fail "a server without a trusted certificate was read: $out"; fi
contains "$out" 'SSL' 'an unknown CA'
in_cell "cat >>/etc/ssl/certs/ca-certificates.crt <<'END'
$(<"$scratch/web/ca.pem")
END" >/dev/null
out=$(ask web_fetch url "$tls") || fail "no page: $out"
contains "$out" "[$tls | text/html |" 'whose page it is'
contains "$out" $'Title: A page\n\n# Head ignore\n\nasked /page' 'the page'
out=$(ask web_fetch url "https://localhost:$secure/doc.pdf") || fail "no PDF: $out"
contains "$out" 'Words in a document' 'a PDF'
out=$(ask web_fetch url "https://localhost:$secure/long") || fail "no long page: $out"
kept=${out##*all of it is in }
contains "$(in_cell "tail -n 1 '${kept%]*}'")" 'line 1' 'the file of a long page'

if out=$(ask web_search query crab); then fail "a search without a service: $out"; fi
contains "$out" 'peacrab setup --search brave' 'no service'
"$peacrab" setup --search searxng --search-url "http://127.0.0.1:$plain" 2>"$scratch/said" || fail "$(<"$scratch/said")"
out=$(ask web_search query crab) || fail "no search: $out"
contains "$out" $'1. About q=crab&format=json\n   https://web.test/found' 'a search'
