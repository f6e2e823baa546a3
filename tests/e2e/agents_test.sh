#!/bin/bash
# needs: vm
# timeout: 900
# Two agents in one machine: neither finds the other's files, conversations or processes. The route that
# the operator wrote delivers one way; what is paused refuses; what is removed is gone from the disk, and
# the name begins anew.
. "$(dirname "$0")/../support/lib.sh"

disk=$XDG_STATE_HOME/peacrab/default/state.img
config=$XDG_CONFIG_HOME/peacrab/config.yaml
refused() { "$peacrab" ask --plain "$@" 2>&1 >/dev/null </dev/null && fail "not refused: $*" || true; }
# The warden's book; the machine is off.
book() {
    for file in warden.db warden.db-wal; do
        debugfs -R "dump /$file $scratch/$file" "$disk" >/dev/null 2>&1
    done
    python3 -c 'import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): print(*row)' "$scratch/warden.db" "$1"
}

# --- the configuration, before there is a machine
start_obedient_model
"$peacrab" agent add one --memory 200M --rules "Be brief." 2>/dev/null
"$peacrab" agent add two --from one 2>/dev/null
contains "$("$peacrab" agent show two)" "Be brief." "an agent made from another"
contains "$("$peacrab" agent ls)" "two              active   200M" "ls"
echo "# mine" >>"$config"
"$peacrab" up 2>"$scratch/up"
contains "$(refused --agent nobody hello)" "no such agent: nobody; there are: main, one, two" "an unknown agent"

# --- each writes a canary into its home, its system, its scratch files, and leaves a process
plant() {
    in_cell "echo $2 >canary-$2; echo $2 >/etc/canary-$2; echo $2 >/tmp/canary-$2; mkdir /srv/$2
        echo $2 >/var/tmp/canary-$2; echo planted" "agent=$1"
}
one=one-$RANDOM$RANDOM two=two-$RANDOM$RANDOM
equal planted "$(plant one "$one")" "one plants its canary"
equal planted "$(plant two "$two")" "two plants its canary"
look='ls -d /home/agent/workspace/* /etc/canary* /srv/* /var/tmp/* 2>/dev/null
    grep -rlsa --exclude-dir=proc --exclude-dir=sys -e "one-[0-9]" -e "two-[0-9]" /home /etc /srv /var/tmp /run /tmp /dev/shm /root
    cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr "\0" "\n"; cat /proc/self/mountinfo; ls /proc'
seen=$(in_cell "$look" agent=one)
contains "$seen" "canary-$one" "one finds its own files"
lacks "$seen" "$two" "one finds files of two"
seen=$(in_cell "$look" agent=two)
contains "$seen" "canary-$two" "two finds its own files"
lacks "$seen" "$one" "two finds files of one"
lacks "$seen" "agents/one" "a mount names one"

# --- and the ids differ
map() { in_cell "cat /proc/self/uid_map" "agent=$1" | tr -s ' '; }
[[ $(map one) != "$(map two)" ]] || fail "both have the same ids: $(map one)"

# --- nobody may say anything to anybody, then one may to two
message() { # FROM TO TEXT
    printf '[{"tool": "message", "agent": "%s", "text": "%s"}]' "$2" "$3" |
        "$peacrab" ask --plain --agent "$1" 2>>"$scratch/activity"
}
contains "$(message one two x)" '"failed": true' "without a route"
printf 'may-message:\n  - one -> two\n' >>"$config"
arrived() { [[ $(message one two "word-$RANDOM") == *'"failed": false'* ]]; }
until_true 60 arrived
contains "$(message two one x)" '"failed": true' "a route is one way"
lacks "$(message two one x)" "one" "the refusal names nobody"
contains "$(message main two x)" '"failed": true' "a route is of the one who has it"

# --- paused
"$peacrab" agent pause two 2>/dev/null
until_paused() { [[ $(refused --agent two hello) == *"agent resume two"* ]]; }
until_true 30 until_paused
contains "$(message one two x)" "two is paused" "a message to who is paused"
equal fine "$(in_cell "echo fine" agent=one)" "the other goes on"
"$peacrab" agent resume two 2>/dev/null
until_true 30 in_cell "true" agent=two

# --- removed while the machine runs, made again: nothing of it is left
"$peacrab" agent rm two --force 2>/dev/null
contains "$(<"$config")" "# mine" "the comment stays"
lacks "$(<"$config")" "two" "its block and its route go"
contains "$(refused --agent two hello)" "no such agent: two" "a removed agent"
"$peacrab" agent add two 2>/dev/null
until_true 30 in_cell "true" agent=two
lacks "$(in_cell "$look" agent=two)" "canary-$two" "the new one finds files of the old one"
equal "$one" "$(in_cell "cat canary-$one" agent=one)" "the files of the other stay"

# --- removed while it is off: remembered, and gone before anybody can speak to it
"$peacrab" stop 2>/dev/null
"$peacrab" agent rm one --force 2>"$scratch/rm"
contains "$(<"$scratch/rm")" "goes when that starts next" "rm says when"
contains "$(debugfs -R "ls -p /agents" "$disk" 2>/dev/null)" "/one/" "its files are there until then"
"$peacrab" agent add one 2>/dev/null
"$peacrab" up 2>/dev/null
lacks "$(in_cell "$look" agent=one)" "canary-$one" "the new one finds files of the old one"
gone() { [[ ! -s $XDG_STATE_HOME/peacrab/default/removed-agents ]]; }
until_true 60 gone
"$peacrab" stop 2>/dev/null

# --- on the disk: slots are never given twice, journals belong to their agent's own turn id
slots=$(book "SELECT name, count(*), count(DISTINCT slot), sum(retired IS NULL) FROM agents
    WHERE name IN ('one', 'two') GROUP BY name ORDER BY name")
equal $'one 2 2 1\ntwo 2 2 1' "$slots" "the slots of one and two"
equal "" "$(book "SELECT slot FROM agents GROUP BY slot HAVING count(*) > 1")" "a slot given twice"
equal 0 "$(book "SELECT count(*) FROM inbox WHERE text LIKE '%$two%' OR text LIKE '%$one%'")" \
    "what removed agents were told"
equal "" "$(debugfs -R "ls -p /removed" "$disk" 2>/dev/null | grep -v '/\.*/' | grep -c . | sed s/^0$//)" \
    "what is left of the removed"
mode() { debugfs -R "stat $1" "$disk" 2>/dev/null | grep -oE 'Mode: +[0-7]+' | tr -dc 0-7; }
equal "0711 0600 0600 0710 0700" "$(mode /) $(mode /warden.db) $(mode /warden.db-wal) $(mode /agents/one
    ) $(mode /agents/one/sessions)" "what turn processes of other agents may open"
owner() { debugfs -R "stat /agents/$1/sessions" "$disk" 2>/dev/null | grep -oE 'User: +[0-9]+' | tr -dc 0-9; }
for agent in one two; do
    equal "$((2000 + $(book "SELECT slot FROM agents WHERE name = '$agent' AND retired IS NULL")))" \
        "$(owner "$agent")" "the owner of the journals of $agent"
done
folder_group() { debugfs -R "stat /agents/$1" "$disk" 2>/dev/null | grep -oE 'Group: +[0-9]+' | tr -dc 0-9; }
[[ $(folder_group one) != "$(folder_group two)" ]] || fail "one group may enter both folders: $(folder_group one)"
[[ $(owner one) != "$(owner two)" ]] || fail "journals of both belong to $(owner one)"
echo "one -> two delivered, the reverse refused; slots: ${slots//$'\n'/, }"
