#!/bin/bash
# The same as folder.py, in bash with jq: a folder as a messenger, a file in `in` is said by its owner, an answer
# appears in `out`. settings: `folder`. See ../README.md.
set -euo pipefail

read -r start
folder=$(jq -r .settings.folder <<<"$start")
jq -nc --arg folder "$folder" \
    '{type: "hello", protocol: 1, channel: "folder", account: $folder, limits: {dedupe: "key"}}'

told=() # in the batch that is not yet stored
batch() {
    local path
    for path in "${told[@]}"; do
        jq -Rsc --arg key "${path##*/}" --arg who "$(stat -c %U "$path")" \
            '{key: $key, kind: "message", conversation: $who, scope: "direct", id: $key, sender: $who, text: .[:16000]}' <"$path"
    done | jq -sc '{type: "batch", cursor: "", events: .}'
}

shopt -s nullglob
while :; do
    if ((!${#told[@]})); then
        told=("$folder"/in/*.txt)
        told=("${told[@]:0:100}")
        ((!${#told[@]})) || batch
    fi
    code=0
    read -r -t 1 frame || code=$?
    if ((code > 128)); then
        echo '{"type": "alive"}'
        continue
    fi
    ((code == 0)) || exit 0 # the other end has gone
    case $(jq -r .type <<<"$frame") in
        stored) # it is safe: it may go
            rm -f "${told[@]}"
            told=()
            ;;
        deliver)
            key=$(jq -r .key <<<"$frame")
            jq -r .text <<<"$frame" >"$folder/out/.$key"
            mv "$folder/out/.$key" "$folder/out/$key.txt" # once more is the same file
            jq -c '{type: "sent", id, part: 0, of: 1, platform: .key}' <<<"$frame"
            ;;
        stop) exit 0 ;;
    esac
done
