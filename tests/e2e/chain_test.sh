#!/bin/bash
# timeout: 120
# The example of README.md, three agents in a chain under make, run as it stands there: the second one fails the
# first time, make stops, and the next run goes on from what is there. The model is the scripted one; `peacrab`
# is the same agent without a VM.
. "$(dirname "$0")/../support/aimock_conversation.sh"

command -v make >/dev/null || { echo 'no make'; exit 77; }
without_vm
start_model
place chain anthropic
work=$folder/chain/work

# The text between the marks, word for word.
example() { awk -v mark="<!-- chain: $1 -->" '$0 == mark { on = 1; next } on && /^```/ { if (++fence == 2) exit; next } on' "$root/README.md"; }
example Makefile >"$work/Makefile"
example people.schema.json >"$work/people.schema.json"
[[ -s $work/Makefile && -s $work/people.schema.json ]] || say_failed 'README.md has no example'
cat >"$work/peacrab" <<EOF
#!/bin/bash
echo "\$*" >>"$work/asked"
case \$1 in ask) shift ;; *) exit 2 ;; esac
args=()
while ((\$#)); do case \$1 in --agent) shift 2 ;; *) args+=("\$1"); shift ;; esac; done
ANTHROPIC_API_KEY=$model_key exec "$folder/peacrabd" ask --plain --model mock --model-url "$url" "\${args[@]}"
EOF
chmod 755 "$work/peacrab"
printf 'Ada wrote the first one.\nGrace found the bug.\n' >"$work/notes.txt"
if ((EUID == 0)); then chown -R 65534:65534 "$work"; fi

# Without other agents here, --agent is left out by the stand-in; the chain is the same.
chain() {
    local code=0
    "${as[@]}" env -i PATH="$work:$PATH" HOME="$folder/chain" LANG=C.UTF-8 make -C "$work" letter.txt >"$folder/make.out" 2>"$folder/make.err" </dev/null || code=$?
    ((code == $1)) || say_failed "make ended with $code, not $1"
}
asked() { grep -c -- "$1" "$work/asked" || true; }

chain 2
[[ -s $work/names.txt ]] || say_failed 'what the first one collected is gone'
[[ ! -e $work/people.json && ! -e $work/letter.txt ]] || say_failed 'a step that failed left its file'
grep -q 'Error 1' "$folder/make.err" || say_failed 'make does not say that the step failed'
[[ $(asked collect) == 1 && $(asked shape) == 1 && $(asked write) == 0 ]] || say_failed "asked: $(<"$work/asked")"

# The person words it better.
sed -i 's/Shape these names/Turn these names into JSON/' "$work/Makefile"
chain 0
[[ $(asked collect) == 1 ]] || say_failed 'the first one was asked again'
python3 -c 'import json, sys; assert json.load(open(sys.argv[1])) == {"people": ["Ada", "Grace"]}' "$work/people.json" ||
    say_failed "the second one made $(<"$work/people.json")"
[[ $(<"$work/letter.txt") == 'Dear Ada, dear Grace' ]] || say_failed "the third one wrote $(<"$work/letter.txt")"
chain 0
[[ $(wc -l <"$work/asked") == 4 ]] || say_failed 'what was there was made again'
echo 'ok: three in a chain; the second failed, make stopped, and it went on from there'
