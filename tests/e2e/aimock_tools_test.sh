#!/bin/bash
# timeout: 300
# The tools that the warden runs itself, in each of the three dialects, without a VM: a plan and what is sent are
# shown at once; a tool that is rarely used is looked up, and run both ways; a question ends its turn, is answered
# in another run or by the clock, and the answer is its call's result; a part of the work goes to another turn.
. "$(dirname "$0")/../support/aimock_conversation.sh"

without_vm
start_model

asked() { # PYTHON, with `said`: what the newest request has as results, by their calls in order
    requests_so_far >"$folder/requests.json" && python3 -c "import json, sys
bodies = json.load(open(sys.argv[1]))
def text(c):
    return c if isinstance(c, str) else ''.join(p.get('text', '') for p in c)
said = {m['tool_call_id']: text(m['content']) for m in bodies[-1]['messages'] if m['role'] == 'tool'}
$1" "$folder/requests.json" || say_failed "$dialect: the requests are not as they should be: $1"
}

for dialect in anthropic chat responses; do
    place $dialect $dialect --continue
    echo first >"$folder/$dialect/work/one.txt"
    forget_journal

    question shown 0 'show me how you do it'
    wants shown.out 'It is planned, said and sent.'
    [[ $(<"$folder/shown.out") != *'half of it'* ]] || say_failed "$dialect: stdout has more than the reply"
    wants shown.err '[>] say'
    wants shown.err 'half of it is done'
    wants shown.err "file: one.txt (6 bytes, sha256 $(printf 'first\n' | sha256sum | cut -c1-64))"
    asked "assert list(said) == ['toolu_plan', 'toolu_said', 'toolu_file'], said
assert said['toolu_said'] == 'sent', said"

    question looked_up 0 'look a tool up'
    wants looked_up.out 'I know how it is used now.'
    asked "assert json.loads(said['toolu_look'])['input_schema']['required'] == ['action'], said"

    question painted 3 'paint it'
    wants painted.err '? Which colour?'
    wants painted.err '2 blue'
    wants painted.err 'peacrab ask --session s'
    question answered 0 '2'
    wants answered.out 'Blue it is.'
    asked "assert list(said)[-3:] == ['toolu_ask', 'toolu_again', 'toolu_beside'], said
assert said['toolu_ask'] == 'The person answers: blue', said
assert said['toolu_again'] == 'not asked: one question at a time', said
assert said['toolu_beside'].startswith('beside it'), said"
    [[ $(<"$folder/$dialect/work/ran") == 'beside it' ]] || say_failed "$dialect: ran more than once"

    question unanswered 3 'choose it soon'
    sleep 1.5
    question late 0 'say hello'  # it may steer the turn that the clock began, or come after it
    asked "assert said['toolu_late'] == 'Nobody answered in time. Go on with the default: red', said"

    question counted 0 'have it counted'
    wants counted.out 'My other half counted three.'
    wants counted.err 'delegate: shell: echo one two three'
    asked "assert 'toolu_count' not in said and said['toolu_part'] == 'There are three.', said"
    question failed 0 'have it fail'
    wants failed.out 'My other half failed.'
    echo "ok: $dialect: shown, looked up, asked, answered, answered late, delegated"
done
