#!/bin/bash
# timeout: 300
# Turns against the scripted model, in each of the three dialects, without a VM: calls that only read run
# beside each other and every call has its result; what is not allowed is denied and told; a turn that was
# killed under its call goes on in the next, which is told of it, and nothing runs a second time. Then one
# conversation goes through all three.
. "$(dirname "$0")/../support/aimock_conversation.sh"

without_vm
start_model

# asked PYTHON: looks at the requests so far (`bodies`, as the model's server understood them).
asked() {
    requests_so_far >"$folder/requests.json" && python3 -c "import json, sys
bodies = json.load(open(sys.argv[1]))
def results(body):
    texts = {}
    for m in body['messages']:
        if m['role'] == 'tool':
            c = m['content']
            texts[m['tool_call_id']] = c if isinstance(c, str) else ''.join(p.get('text', '') for p in c)
    return texts
$1" "$folder/requests.json" || say_failed "$dialect: the requests are not as they should be: $1"
}

audit() { cat "$folder/$dialect"/.local/state/peacrab/local/audit/*; }

# Kills all of it at one moment, as a crash does: the one who asks, the warden, the turn, the command.
kill_all() {
    local process pids=()
    for process in /proc/[0-9]*; do
        if grep -qa "$folder/peacrabd" "$process/cmdline" 2>/dev/null; then pids+=("${process#/proc/}"); fi
    done
    ((${#pids[@]})) || say_failed "$dialect: there is nobody to kill"
    kill -STOP "${pids[@]}" 2>/dev/null
    kill -KILL "${pids[@]}" 2>/dev/null
}

# conversation NAME DIALECT: one that goes on, with two files to read.
conversation() {
    dialect=$2
    place "$1" "$2" --continue
    echo first >"$folder/$1/work/one.txt"
    echo second >"$folder/$1/work/two.txt"
}

for dialect in anthropic chat responses; do
    conversation $dialect $dialect
    forget_journal

    question parallel 0 'read both files'
    wants parallel.out 'All three are here.'
    asked "said = results(bodies[-1])
assert list(said) == ['toolu_one', 'toolu_two', 'toolu_both'], said
assert 'first' in said['toolu_one'] and 'second' in said['toolu_two'], said
assert 'third\nfirst\nsecond' in said['toolu_both'], said"
    order=$(audit | grep -oE '"kind":"(before|after)".*"call":"toolu_(one|two|both)"' |
        sed -E 's/"kind":"(.).*"call":"toolu_(.).*/\1\2/' | tr '\n' ' ')
    [[ $order =~ ^'bo bt a'[ot]' a'[ot]' bb ab '$ ]] || say_failed "$dialect: the calls ran in this order: $order"

    ask+=(--json)
    question as_json 0 'say hello'
    python3 -c "import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
kinds = [event['type'] for event in events]
assert kinds[0] == 'turn_start' and kinds[-2:] == ['reply', 'turn_done'] and 'delta' in kinds, kinds
assert ''.join(e['text'] for e in events if e['type'] == 'delta') == 'Hello from the scripted model.', events
assert events[-1]['status'] == 'done' and len({e['turn'] for e in events}) == 1, events" "$folder/as_json.out" ||
        say_failed "$dialect: --json told something else: $(<"$folder/as_json.out")"
    unset 'ask[-1]'

    question denied 0 'try what is not allowed'
    wants denied.out 'I was told that there is no such tool.'
    [[ $(audit | grep -c '"decision":"denied') == 2 ]] || say_failed "$dialect: the refusals are not in the audit"

    ("${ask[@]}" 'start the long job' >"$folder/long.out" 2>"$folder/long.err" </dev/null) &
    for ((i = 0; i < 200; ++i)); do
        [[ -s $folder/$dialect/work/ran ]] && break
        sleep 0.1
    done
    kill_all
    wait $! 2>/dev/null && say_failed "$dialect: the question ended well although all was killed"
    question after_kill 0 'what became of it'
    wants after_kill.out 'It was interrupted, and I did not run it again.'
    asked "said = results(bodies[-1])
assert said['toolu_long'].startswith('interrupted: this call did not finish'), said
assert said['toolu_never'].startswith('interrupted: this call did not finish'), said
assert len(said) == 7, said"
    [[ $(<"$folder/$dialect/work/ran") == started ]] || say_failed "$dialect: ran: $(<"$folder/$dialect/work/ran")"
    echo "ok: $dialect: together ($order), denied, resumed after a kill"
done

# One conversation, in one dialect after the other: what was called in the first is paired in the others.
forget_journal
conversation switch anthropic
question switch_1 0 'read both files'
for dialect in chat responses anthropic; do
    conversation switch $dialect
    question switch_$dialect 0 'say hello'
    wants switch_$dialect.out 'Hello from the scripted model.'
    asked "assert list(results(bodies[-1])) == ['toolu_one', 'toolu_two', 'toolu_both'], bodies[-1]"
done
echo 'ok: one conversation in three dialects'
