#!/bin/bash
# needs: models
# timeout: 580
# `peacrabd ask` without a VM against a server that is not ours: Debian sid's llama-server, with a random
# model. Per dialect twenty loops of random calls, many of them valid and run: every call of every whole
# answer comes back with its one result, no request is refused, and each loop ends by itself with a reply.
# Arguments are the dialects to try instead of all three.
. "$(dirname "$0")/../support/lib.sh"
peacrabd=${PEACRABD:-$peacrabd}
loops=20
dialects=("$@")
((${#dialects[@]})) || dialects=(anthropic chat responses)
[[ -x $peacrabd ]] || fail "$peacrabd is not built"
command -v python3 >/dev/null || skip 'no python3'

model_key=sk-canary-$(tr -d - </proc/sys/kernel/random/uuid)
export model_key
"$root/tests/support/llama_start" "$scratch" || exit $?
on_exit kill "$(<"$scratch/llama.pid")"
python3 "$root/tests/support/llama/recorder.py" "$(<"$scratch/llama.port")" >"$scratch/recorder" &
on_exit kill $!
until_true 10 test -s "$scratch/recorder"
recorder=http://127.0.0.1:$(<"$scratch/recorder")

cp "$peacrabd" "$scratch/peacrabd"
chmod 711 "$scratch"
as=()
if ((EUID == 0)); then as=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi

# loop DIALECT NAME: one question in a home and a folder of its own; leaves NAME.out, .err and .code.
loop() {
    local code=0 url=$recorder/l/$2 options=() variable=ANTHROPIC_API_KEY
    if [[ $1 != anthropic ]]; then
        url+=/v1 options=(--dialect "$1") variable=OPENAI_API_KEY
    fi
    mkdir -m 0700 "$scratch/run.$2" "$scratch/run.$2/work"
    if ((EUID == 0)); then chown 65534:65534 "$scratch/run.$2" "$scratch/run.$2/work"; fi
    (
        exec >"$scratch/$2.out" 2>"$scratch/$2.err" </dev/null
        cd "$scratch/run.$2/work"
        ulimit -v 1000000 -c 0
        exec "${as[@]}" env -i PATH="$PATH" HOME="$scratch/run.$2" LANG=C.UTF-8 "$variable=$model_key" \
            timeout 300 "$scratch/peacrabd" ask --plain "${options[@]}" --model noise --model-url "$url" 'go on'
    ) || code=$?
    echo "$code" >"$scratch/$2.code"
}

# Every third answer calls nothing: it is asked until there are enough loops with a call.
called() {
    curl -s --noproxy '*' "$recorder/log" |
        grep -oE "\"$1-[0-9]+\": \{\"requests\": [0-9]+, \"paired\": [1-9]" | wc -l
}
lane() {
    local asked=0
    until (($(called "$1") >= loops || asked == 4 * loops)); do loop "$1" "$1-$((++asked))"; done
}

lanes=()
for dialect in "${dialects[@]}"; do
    lane "$dialect" &
    lanes+=($!)
done
wait "${lanes[@]}"

# What was counted; first, that the one who counts would have seen a call without a result.
python3 - "$recorder" "$model_key" "$scratch" "$loops" "${dialects[@]}" <<'PYTHON'
import json, pathlib, sys, urllib.error, urllib.request
recorder, key, scratch, loops, *dialects = sys.argv[1:]
scratch = pathlib.Path(scratch)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
problems = []


def send(name, path, body):
    request = urllib.request.Request(f"{recorder}/l/{name}/v1/{path}", json.dumps(body).encode(),
                                     {"content-type": "application/json", "authorization": f"Bearer {key}"})
    try:
        direct.open(request).read()
    except urllib.error.HTTPError as error:
        error.read()


user = {"role": "user", "content": "?"}
call = {"id": "a", "name": "n", "arguments": "{}"}
unpaired = {
    "anthropic": ("messages", {"messages": [user, {"role": "assistant", "content": [
        {"type": "tool_use", "id": "a", "name": "n", "input": {}}]}, user]}),
    "chat": ("chat/completions", {"messages": [user, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "a", "type": "function", "function": call}]}, user]}),
    "responses": ("responses", {"input": [user, {"type": "function_call", "call_id": "a", **call}, user]}),
}
for dialect in dialects:
    path, body = unpaired[dialect]
    send(f"unpaired-{dialect}", path, {"model": "m", "max_tokens": 1, **body})

log = json.load(direct.open(recorder + "/log"))
for dialect in dialects:
    if not log[f"unpaired-{dialect}"]["violations"]:
        problems.append(f"{dialect}: a call without a result was not noticed")
    nothing = {"requests": 0, "paired": 0, "open": [], "refused": [], "violations": []}
    asked = {code.stem: log.get(code.stem, nothing) for code in scratch.glob(f"{dialect}-*.code")}
    for name, seen in asked.items():
        code = (scratch / f"{name}.code").read_text().strip()
        said = (scratch / f"{name}.err").read_text(errors="replace")
        if code != "0" or not seen["requests"]:
            problems.append(f"{name}: exit {code} after {seen['requests']} requests: {said[-600:]}")
        for what in ("violations", "refused", "open"):
            if seen[what]:
                problems.append(f"{name}: {what}: {seen[what]}")
        if key in said + (scratch / f"{name}.out").read_text(errors="replace"):
            problems.append(f"{name}: told the key")
    called = sum(seen["paired"] > 0 for seen in asked.values())
    if called < int(loops):
        problems.append(f"{dialect}: only {called} loops with a call that came back, wanted {loops}")
    requests, paired = (sum(seen[what] for seen in asked.values()) for what in ("requests", "paired"))
    print(f"{dialect}: {called} loops with calls of {len(asked)}, {requests} requests, {paired} calls paired")
if problems:
    sys.exit("FAILED: " + "\n  ".join(problems))
PYTHON
