#!/bin/bash
# A conversation that outgrows its window, without a VM, against a scripted model in each of the three dialects:
# it is summed up once and goes on, whether the window was known (`window:`) or the model has to say so. All of
# it stays in the journal.
. "$(dirname "$0")/../support/aimock_conversation.sh"

command -v python3 >/dev/null || { echo 'no python3'; exit 77; }
without_vm
start_model

# journal_of HOME: what is kept of the one session there, as "KIND COUNT" lines, and whether it is whole.
journal_of() {
    python3 - "$1" <<'EOF'
import glob, json, sqlite3, sys
found = glob.glob(sys.argv[1] + "/.local/state/**/sessions/*.db", recursive=True)
assert len(found) == 1, found
rows = sqlite3.connect(found[0]).execute("SELECT seq, kind, body FROM entries ORDER BY seq").fetchall()
for kind in ("user", "assistant", "result", "summary"):
    print(kind, sum(row[1] == kind for row in rows))
summary = json.loads(next(row[2] for row in rows if row[1] == "summary"))
dropped = summary["dropped"]
assert dropped["from"] == 1 and dropped["to"] == summary["upto"] and dropped["tokens_after"] < dropped["tokens_before"]
first = next(row[2] for row in rows if row[1] == "result")
print("first result", "whole" if first.startswith("1000\n") and "1350" in first else "cut")
EOF
}

# last_request: the messages that were sent last, as one line.
last_request() {
    requests_so_far | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)[-1]["messages"]))'
}

# summed_up NAME QUESTION REPLY CALLS: asks, and wants exactly one summary on the way.
summed_up() {
    forget_journal
    question "$1" 0 "$2"
    wants "$1.out" "$3"
    [[ $(grep -c 'the conversation was summarised: ' "$folder/$1.err") == 1 ]] ||
        say_failed "$1: not summarised once: $(<"$folder/$1.err")"
    local last
    last=$(last_request)
    for part in 'SO FAR: it was counted' "$2"; do
        [[ $last == *"$part"* ]] || say_failed "$1: the last request lacks '$part': $last"
    done
    [[ $last != *"seq 1000 1350\\"* ]] || say_failed "$1: the first call was sent to the end"
    journal_of "$home" >"$folder/$1.kept" 2>"$folder/journal.err" || say_failed "$1: the journal"
    printf 'user 1\nassistant %s\nresult %s\nsummary 1\nfirst result whole\n' $(($4 + 1)) "$4" |
        cmp -s - "$folder/$1.kept" || say_failed "$1: kept is $(tr '\n' ' ' <"$folder/$1.kept")"
}

for dialect in anthropic chat responses; do
    for window in known said; do
        home=$folder/$dialect.$window
        mkdir -p "$home/.config/peacrab"
        if [[ $window == known ]]; then echo 'window: 4400' >"$home/.config/peacrab/config.yaml"; fi
        place $dialect.$window $dialect
        if [[ $window == known ]]; then
            summed_up $dialect.known 'please fill the window' 'All of it was counted.' 5
        else
            summed_up $dialect.said 'please grow too long' 'Now it fits.' 3
        fi
    done
    echo "ok: $dialect: summed up once, by the window that was set and by the one the model said"
done
