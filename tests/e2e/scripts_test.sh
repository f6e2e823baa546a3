#!/bin/bash
# timeout: 300
# What a script and a person do with conversations, without a VM, against the scripted model: a reply that fits a
# schema or is repaired or is a failure, every exit code, sessions gone on with, listed, exported, forked; turns
# taken back, also after a restart; a damaged journal.
. "$(dirname "$0")/../support/aimock_conversation.sh"

without_vm
start_model
place scripts anthropic
home=$folder/scripts

# agent ARGS...: another subcommand of the same agent; talk ARGS...: one that asks the model.
agent() {
    timeout 60 "${as[@]}" env -i PATH="$PATH" HOME="$home" LANG=C.UTF-8 work="$home/work" ${key:+ANTHROPIC_API_KEY=$key} \
        bash -c 'cd "$work" && exec "$@"' sh "$folder/peacrabd" "$@"
}
talk() { key=$model_key agent "$1" --plain --model mock --model-url "$url" "${@:2}"; }
# gives CODE NAME COMMAND...: keeps NAME.out and NAME.err.
gives() {
    local code=0
    "${@:3}" >"$folder/$2.out" 2>"$folder/$2.err" || code=$?
    ((code == $1)) || say_failed "$2: ended with $code, not $1: $(<"$folder/$2.err")"
}
lacks() { if grep -qF -- "$2" "$folder/$1"; then say_failed "$1 has '$2'"; fi; }
is() { [[ $(<"$folder/$1") == "$2" ]] || say_failed "$1 is not '$2' but: $(<"$folder/$1")"; }

# ---- a schema
cat >"$folder/lines.json" <<'EOF'
{"type": "object", "required": ["lines"], "properties": {"lines": {"type": "integer"}}, "additionalProperties": false}
EOF
echo '{"type": "object", "required": ["never"]}' >"$folder/never.json"
echo '{"type": "object", "properties": {"a": {"pattern": "x"}}}' >"$folder/unknown.json"
chmod 644 "$folder"/*.json

gives 0 fits talk ask --schema "$folder/lines.json" 'count the lines' </dev/null
is fits.out '{"lines": 2}'
gives 0 repaired talk ask --schema "$folder/lines.json" 'count them badly' </dev/null
is repaired.out '{"lines": 3}'
[[ $(grep -c 'asking again' "$folder/repaired.err") == 2 ]] || say_failed 'it was not asked twice'
gives 1 never talk ask --schema "$folder/never.json" 'never answer in JSON' </dev/null
is never.out ''
wants never.err 'error: the reply does not fit the schema'
gives 2 unknown talk ask --schema "$folder/unknown.json" hello </dev/null
wants unknown.err 'properties.a: unknown keyword `pattern`'
gives 2 no_file talk ask --schema "$folder/nowhere.json" hello </dev/null
echo 'ok: a schema: fits, repaired twice, refused, unknown keyword'

# ---- exit codes; input from a pipe
gives 2 nothing talk ask - </dev/null
gives 2 flag talk ask --frobnicate x </dev/null
gives 2 session talk ask --session s99 hello </dev/null
wants session.err 'no such session: s99'
gives 2 nobody talk ask --agent nobody hello </dev/null
wants nobody.err 'no such agent: nobody'
gives 2 too_long talk ask 'and this' < <(head -c 300000 /dev/zero | tr '\0' x)
wants too_long.err 'longer than the 256 KiB'
gives 6 no_model agent ask hello </dev/null
wants no_model.err 'no model'
gives 5 down talk ask --model-url http://127.0.0.1:9 hello </dev/null
key=wrong gives 1 refused agent ask --plain --model mock --model-url "$url" hello </dev/null
gives 0 piped talk ask - < <(echo 'remember the word heron')
is piped.out 'Noted: heron.'
gives 0 both talk ask 'please' - < <(echo 'remember the word heron')
is both.out 'Noted: heron.'
gives 0 help agent --help
wants help.out '2 bad input'
wants help.out '3 held: it has asked the person'
echo 'ok: exit codes 0, 1, 2, 5, 6; pipes'

# ---- sessions, gone on with
gives 0 list agent sessions --json
last=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[0]["id"])' "$folder/list.out")
forget_journal
gives 0 on talk ask --session "$last" 'remember the word otter' </dev/null
is on.out 'Noted: otter.'
requests_so_far >"$folder/requests" && grep -q 'Noted: heron' "$folder/requests" || say_failed 'the session did not go on'
gives 0 list agent sessions
wants list.out 'remember the word heron'
gives 2 list_nobody agent sessions --agent nobody

# ---- export
gives 0 lines agent export "$last"
python3 - "$folder/lines.out" <<'EOF' || say_failed 'the export is not what was said'
import json, sys
entries = [json.loads(line) for line in open(sys.argv[1])]
assert [e["kind"] for e in entries] == ["user", "assistant"] * 2, entries
assert entries[2]["text"] == "remember the word otter" and entries[3]["content"][0]["text"] == "Noted: otter.", entries
assert all(e["at"] > 1.6e9 and e["turn"].startswith("t") for e in entries), entries
EOF
gives 0 md agent export --format md -o "$home/work/told.md" "$last"
is md.out ''
grep -qF 'Noted: otter.' "$home/work/told.md" || say_failed 'the Markdown lacks the answer'
gives 2 no_session agent export s99
gives 2 no_form agent export --format html
echo 'ok: sessions, --session, export'

# ---- taken back
# Who has just left may hold the conversation for a moment more.
patiently() {
    local tries
    for ((tries = 0; tries < 100; ++tries)); do
        "$@" >"$folder/chat.out" 2>"$folder/chat.err" && return
        grep -q 'is at work on this conversation' "$folder/chat.err" || break
        sleep 0.1
    done
    say_failed "${*: -1}: $(<"$folder/chat.out") $(<"$folder/chat.err")"
}
tell() { patiently talk ask --continue "$1" </dev/null; }
typed() { # FLAGS -- LINES
    local flags=() lines
    while [[ $1 != -- ]]; do flags+=("$1") && shift; done
    lines=$(printf '%s\n' "${@:2}")
    with_lines() { talk chat "${flags[@]}" <<<"$lines"; }
    patiently with_lines
}
conversation() { requests_so_far | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)[-1]["messages"]))' >"$folder/last"; }

tell 'remember the word heron'
tell 'write down a trace'
typed -- /undo
wants chat.out 'taken back: write down a trace'
wants chat.out 'files and what else it did are not undone'
[[ -s $home/work/trace.txt ]] || say_failed 'the file is gone'
forget_journal
tell 'remember the word otter'
conversation
wants last 'Noted: heron.'
lacks last 'trace'
gives 0 undone agent export
python3 - "$folder/undone.out" <<'EOF' || say_failed 'the export does not mark what was taken back'
import json, sys
entries = [json.loads(line) for line in open(sys.argv[1])]
text = [(e["kind"], e.get("undone", False)) for e in entries]
assert text == [("user", False), ("assistant", False), ("user", True), ("assistant", True), ("result", True),
                ("assistant", True), ("rewind", False), ("user", False), ("assistant", False)], text
EOF
typed -- /undo /undo /undo '/undo summary'
wants chat.out 'taken back: remember the word otter'
wants chat.out 'taken back: remember the word heron'
wants chat.out 'refused: there is nothing to undo'
wants chat.out 'refused: there is no summary to take back'
forget_journal
tell 'remember the word heron'
conversation
lacks last 'otter'
echo 'ok: taken back, further back, and the files stay'

# ---- a copy
typed --fork -- /status
wants chat.out ', a copy of s'
tell 'remember the word otter'
gives 0 forked agent sessions --json
read -r copy from < <(python3 -c 'import json, sys; r = json.load(open(sys.argv[1]))[0]; print(r["id"], r["from"])' "$folder/forked.out")
gives 0 old agent export "$from"
gives 0 new agent export "$copy"
[[ $(grep -c heron "$folder/new.out") == 2 && $(tail -1 "$folder/new.out") == *otter* ]] || say_failed 'the copy lacks something'
[[ $(tail -1 "$folder/old.out") == *heron* ]] || say_failed 'what was said in the copy is in the first one'
typed --session "$copy" -- /undo /undo
wants chat.out 'taken back: remember the word heron'
echo 'ok: a copy of its own'

# ---- damaged
journal=$(find "$home" -name "$from.db")
python3 - "$journal" <<'EOF'
import os, sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("UPDATE entries SET body = '[{\"cut' WHERE seq = (SELECT max(seq) FROM entries WHERE kind = 'assistant')")
EOF
if ((EUID == 0)); then chown 65534:65534 "$journal"*; fi
gives 0 damaged agent export "$from"
wants damaged.err '1 entry is no entry'
patiently talk ask --session "$from" 'remember the word otter' </dev/null
wants chat.err 'the journal is damaged: 1 entry is no entry'
head -c 8000 /dev/urandom >"$folder/noise"
cat "$folder/noise" >"$journal"
rm -f "$journal"-*
patiently talk ask --session "$from" 'remember the word otter' </dev/null
wants chat.err 'the journal is damaged: the file is no journal'
is chat.out 'Noted: otter.'
cmp -s "$folder/noise" "$journal.damaged" || say_failed 'the damaged file was not kept'
patiently talk ask --session "$from" 'remember the word heron' </dev/null
lacks chat.err damaged
echo 'ok: a damaged journal is read as far as it goes, and said'
