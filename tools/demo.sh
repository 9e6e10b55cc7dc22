#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/demo.sh [served]: the whole story on this machine, in well under a minute;
# "served": with each trustee and storage node of the vault as a process of its own.
# Needs build/ and .venv (make demo sees to both).  DEMO_DIR is the ledger it
# makes (demo-ledger), VOUCH the program.  Every step compares what came out
# with what must come out, and a wrong result ends the demo with an error.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
ledger=${DEMO_DIR:-demo-ledger}
[ -n "${DEMO_DIR:-}" ] || cd "$here"
vouch=${VOUCH:-$here/build/apps/vouch}
vouch=$(realpath -m "$vouch")
python=${PYTHON:-$here/.venv/bin/python}
code=$here/examples/breast-cancer
files=$ledger/demo
vault=${1:-embedded}
roles=$files/roles

fail() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    exit 1
}
[ -x "$vouch" ] || fail "$vouch is missing; run make demo"
[ -x "$python" ] || fail "$python is missing; run make demo"

bold='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi
step=0
title() {
    step=$((step + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"
}
note() { printf '%s   %s%s\n' "$dim" "$1" "$plain"; }
# shown ARGS: print the command, run it, print its output; both are kept.
shown() {
    printf '$ vouch -C %s' "$ledger"
    printf ' %q' "$@"
    echo
    status=0
    output=$("$vouch" -C "$ledger" --no-input "$@" 2>&1) || status=$?
    printf '%s\n' "$output"
}
want_status() { [ "$status" = "$1" ] || fail "exit code $status instead of $1"; }
want() { case $output in *"$1"*) ;; *) fail "the output does not hold: $1" ;; esac }
line() { # NAME: the value behind a name in output for people
    printf '%s\n' "$output" | sed -n "s/^$1  *//p" | head -1
}
want_line() { [ "$(line "$1")" = "$2" ] || fail "$1 is \"$(line "$1")\", not \"$2\""; }

# ---- a fresh folder; only one that a demo made is ever removed -------------
if [ -e "$ledger" ]; then
    [ -f "$ledger/DEMO" ] || fail "$ledger is there and no demo made it; move it away or set DEMO_DIR"
    rm -rf "$ledger"
fi
mkdir -p "$files"
echo "Made by tools/demo.sh, which removes this folder when it runs again." >"$ledger/DEMO"
scratch=$(mktemp -d)
declare -A pids=()
stop_all() {
    for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
    wait
}
trap 'stop_all; rm -rf "$scratch"' EXIT

# ---- the vault's parties, in this process or each in its own ----------------
launch() { # NAME COMMAND...: until it says that it listens
    local name=$1
    shift
    "$vouch" "$@" >"$files/$name.out" 2>"$files/$name.log" &
    pids[$name]=$!
    for _ in $(seq 100); do
        ! grep -q listening "$files/$name.out" || return 0
        sleep 0.1
    done
    cat "$files/$name.log" >&2
    fail "$name does not start"
}
serve_role() { launch "$1" "${1%-*}" serve "$roles/$1"; }
free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
member() { "$python" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
put_up_served() {
    local custodian role name
    custodian=$("$vouch" -C "$ledger" --json id show clinic-a | member "key id")
    launch node -C "$ledger" serve --listen "unix:$files/node.sock"
    echo "[vault]" >"$scratch/vault.conf"
    echo "mode = served" >>"$scratch/vault.conf"
    for role in trustee storage; do
        for name in $role-1 $role-2 $role-3; do
            if [ $role = trustee ]; then
                "$vouch" --quiet trustee init "$roles/$name" --follow "unix:$files/node.sock" \
                    --trust "$ledger/trust.policy" --listen "127.0.0.1:$(free_port)" >/dev/null
            else
                "$vouch" --quiet storage init "$roles/$name" --writer "$custodian" --listen "127.0.0.1:$(free_port)" >/dev/null
            fi
            serve_role "$name"
            echo "$role.${name#*-} = $("$vouch" --json $role status "$roles/$name" | member url)" >>"$scratch/vault.conf"
        done
    done
    sed '/^\[vault\]/,/^$/d' "$ledger/vouch.conf" | cat - "$scratch/vault.conf" >"$scratch/vouch.conf"
    cat "$scratch/vouch.conf" >"$ledger/vouch.conf"
    "$vouch" -C "$ledger" config accept >/dev/null 2>&1 || fail "config accept"
    shown vault up --as clinic-a
    want_status 0
}
lose() { # NAME
    if [ "$vault" = served ]; then
        kill -9 "${pids[$1]}"
        wait "${pids[$1]}" 2>/dev/null || true
        unset "pids[$1]"
    else
        mv "$ledger/vault/$1" "$scratch/"
    fi
}
bring_back() { if [ "$vault" = served ]; then serve_role "$1"; else mv "$scratch/$1" "$ledger/vault/"; fi; }

cat <<'TEXT'
Vouchsafe, from consents to a decision and back.
The rows are real (scikit-learn's breast cancer data). Simulated: the 569 owners
and their wallet, the clinic, the AI team; all play on this machine, on one clock.
TEXT

title "A clinic makes a ledger and registers an AI team"
if [ "$vault" = served ]; then
    shown init "$ledger" --operator clinic-a --origin clinic-a.example/ledger --no-vault
else
    shown init "$ledger" --operator clinic-a --origin clinic-a.example/ledger
fi
want_status 0
shown id new ai-team-1
want_status 0
shown party add ai-team-1 --role user --as clinic-a
want_status 0

if [ "$vault" = served ]; then
    title "Three trustees and three storage nodes, each a process with a folder and a key of its own"
    put_up_served
    note "They speak TLS under their own keys, which vouch.conf pins; each trustee follows the ledger for itself."
else
    shown vault status
    want_status 0
    want "one domain"
fi

title "569 rows, each with an owner who holds a key, into the vault"
"$python" "$code/rows.py" "$files/rows.csv" "$files/persons.txt"
shown dataset create breast-cancer --header "$files/rows.csv" --subject-col person --label-col diagnosis --as clinic-a
want_status 0
shown wallet new owners --owners 569 --simulated
want SIMULATED
printf '$ vouch -C %s wallet keys owners --dataset breast-cancer --persons %s > %s\n' "$ledger" "$files/persons.txt" "$files/owners.csv"
"$vouch" -C "$ledger" wallet keys owners --dataset breast-cancer --persons "$files/persons.txt" >"$files/owners.csv"
[ "$(wc -l <"$files/owners.csv")" = 569 ] || fail "not 569 keys"
shown dataset add breast-cancer "$files/rows.csv" --owners "$files/owners.csv" --as clinic-a
want_status 0
want_line rows 569
want_line "new subjects" 569
# Eight lines of measurements, and not one of them in any file that the ledger keeps.
head -9 "$files/rows.csv" | tail -8 | cut -d, -f2- | cut -c1-40 >"$scratch/measured.txt"
grep -rqFf "$scratch/measured.txt" "$files" || fail "the search for measurements finds none in rows.csv either"
mkdir -p "$roles"
if grep -rlFf "$scratch/measured.txt" "$ledger/vault" "$ledger/data" "$ledger/log" "$ledger/state" "$ledger/custody" "$roles"; then
    fail "a file of the ledger holds measurements in the clear"
fi
note "Each row under keys of its own, shared among 3 trustees; its ciphertext over 3 storage nodes."
note "A search of vault/, data/, custody/, log/ and state/ finds no measurement."

title "Three kinds of terms; each owner signs one"
yesterday=$("$python" -c 'import datetime as d; print(d.datetime.now(d.timezone.utc).date() - d.timedelta(days=1))')
next_year=$("$python" -c 'import datetime as d; print(d.datetime.now(d.timezone.utc).date() + d.timedelta(days=365))')
sed "s/@YESTERDAY@/$yesterday/" "$code/terms-ended-yesterday.json" >"$files/terms-ended-yesterday.json"
for terms in "$code/terms-research-training.json" "$code/terms-refuse-training.json" "$files/terms-ended-yesterday.json"; do
    "$vouch" -C "$ledger" --quiet terms add "$terms" --as clinic-a >/dev/null || fail "terms add $terms"
done
shown terms list
want research-training
want refuse-training
want ended-yesterday
give() { # TERMS RANGE COUNT
    shown consent give breast-cancer --terms "$1" --until "$next_year" --wallet owners \
        --persons "$files/persons.txt" --range "$2" --as clinic-a
    want_status 0
    want_line owners "$3"
}
give research-training 1-400 400
give refuse-training 401-500 100
give ended-yesterday 501-569 69

title "The AI team asks to train; each row is judged by its owner's terms"
purpose=https://w3id.org/dpv#ScientificResearch
training=https://w3id.org/dpv/ai#ModelTraining
ask() { shown access request breast-cancer --purpose "${1:-$purpose}" --processing "$training" --as ai-team-1; }
ask
want_status 0
want_line rows 400
grant=$(line object)
shown consent show breast-cancer owner-450
want refuse-training
shown consent show breast-cancer owner-550
want ended-yesterday
note "400 of 569 rows. The other 169 owners refused, or their terms had ended."
ask https://w3id.org/dpv#Marketing
want_status 5
want_line rows 0
note "For marketing: not one row, and the rule that says so is on the log."

title "A storage node and a trustee are lost; two of three will do"
lose storage-2
lose trustee-3
shown vault status
want_status 0
[ "$(printf '%s\n' "$output" | grep -cE '^  (trustee|storage)-[0-9] +no ')" = 2 ] || fail "not two of the vault's parties are gone"

title "Training sees 300 of these rows; 100 are kept back"
shown run exec --grant "$grant" --name tumour-model --holdout 100 --seed 7 --work "$files/run" --as ai-team-1 \
    -- "$python" "$code/train.py"
want_status 0
want "trained on 300 rows"
want_line rows 300
want_line "held out" 100
held_out=$(line "held-out file")
model_dir=$(line outputs)
shown model list
want tumour-model

bring_back storage-2
bring_back trustee-3
note "All of it with one storage node and one trustee missing. They are back now."

title "The model goes into use and decides 100 cases it never saw"
shown deployment add tumour-model ward-3 --as ai-team-1
want_status 0
printf '$ decide.py model.json holdout.csv > decisions.jsonl\n'
"$python" "$code/decide.py" "$model_dir/model.json" "$held_out" >"$files/decisions.jsonl" 2>"$files/accuracy.txt"
cat "$files/accuracy.txt"
right=$(cut -d' ' -f1 <"$files/accuracy.txt")
[ "$right" -ge 90 ] || fail "only $right of 100 right"
shown decision log ward-3 "$files/decisions.jsonl" --as ai-team-1
want_status 0
want_line count 100

title "One decision, back to the consents behind it"
shown decision trace ward-3/42
want_status 0
want research-training
case $output in *✘* | *'NO '*) fail "a link of the trace is not verified" ;; esac

title "Evidence for an outsider: one file, one trust policy, no ledger"
shown bundle make decision ward-3/42 -o "$files/decision.bundle"
want_status 0
cp "$files/decision.bundle" "$ledger/trust.policy" "$scratch/"
printf '$ cd elsewhere && vouch verify decision.bundle --trust trust.policy\n'
status=0
output=$(cd "$scratch" && "$vouch" verify decision.bundle --trust trust.policy 2>&1) || status=$?
printf '%s\n' "$output"
want_status 0
want_line status OK
"$python" "$code/tamper.py" byte "$scratch/decision.bundle" 2000 >/dev/null
status=0
"$vouch" verify "$scratch/decision.bundle" --trust "$scratch/trust.policy" >/dev/null 2>&1 || status=$?
[ "$status" = 3 ] || fail "a bundle with a turned byte: exit code $status instead of 3"
note "The same bundle with one bit turned: exit code 3, FAIL."

title "One owner of the 300 withdraws"
# The first of owners 1 to 400 whose row was not kept back, hence trained on.
person=$("$python" - "$files/rows.csv" "$held_out" <<'PYTHON'
import csv, sys
def measured(row): return tuple(value for name, value in row.items() if name != "person")
with open(sys.argv[2]) as file:
    kept_back = {measured(row) for row in csv.DictReader(file)}
with open(sys.argv[1]) as file:
    print(next(row["person"] for row in csv.DictReader(file) if measured(row) not in kept_back))
PYTHON
)
shown consent withdraw breast-cancer --wallet owners --persons "$files/persons.txt" --subject "$person" --as clinic-a
want_status 0
ask
want_line rows 399
fresh=$(line object)
shown model affected
want tumour-model
note "What was trained stays trained; the ledger names the model, and somebody has to act."

title "Attempts that must fail"
"$python" "$code/tamper.py" csv "$files/rows.csv" "$scratch/rows.csv" 17
shown dataset diff breast-cancer "file:$scratch/rows.csv"
want_status 0
want owner-017
note "The diff by commitments names the row and that its label changed."
echo

attack() { # makes $scratch/copy anew
    rm -rf "$scratch/copy"
    cp -r "$ledger" "$scratch/copy"
}
against_copy() {
    local real=$ledger
    ledger=$scratch/copy
    shown "$@"
    ledger=$real
}
shards=$scratch/copy/vault
[ "$vault" = embedded ] || shards=$roles
damage() { # NODE: one bit of its shard
    cp "$(find "$shards/storage-$1" -name '*.shard')" "$scratch/whole-$1"
    "$python" "$code/tamper.py" byte "$(find "$shards/storage-$1" -name '*.shard')" 5000
}
attack
damage 1
against_copy access fetch "$fresh" -o "$scratch/rows-a.csv" --as ai-team-1
want_status 0
want_line rows 399
note "One node's bytes were changed: they are noticed, and the other two have the rows."
echo
damage 2
against_copy run exec --grant "$fresh" --name poisoned --as ai-team-1 -- "$python" "$code/train.py"
want_status 9
note "Two nodes' bytes were changed: nothing is handed out, and nothing runs."
for node in 1 2; do cp "$scratch/whole-$node" "$(find "$shards/storage-$node" -name '*.shard')"; done
echo

attack
"$python" "$code/tamper.py" byte "$(find "$scratch/copy/log/seg" -name '*.seg' | head -1)" 5000
against_copy check
want_status 8
want entry
note "One bit of the log: the check names entry and byte."

where_it_runs() {
    if [ "$vault" = served ]; then
        echo "the vault's processes all run on this machine (they end now), which"
        echo "guards against a broken process or folder, not against whoever runs"
    else
        echo "the vault's trustees and storage nodes all run in this"
        echo "process, which guards against lost and stolen folders, not against whoever runs"
    fi
}

title "The real ledger is whole"
shown check --full
want_status 0
shown status
want_status 0

cat <<TEXT

${bold}Done.${plain} Go on with:
  vouch=$vouch
  \$vouch -C $ledger help
  \$vouch -C $ledger access list
  \$vouch -C $ledger decision trace ward-3/7
  \$vouch -C $ledger bundle make lineage tumour-model -o lineage.bundle
  \$vouch verify lineage.bundle --trust $ledger/trust.policy
  \$vouch -C $ledger model remedy tumour-model --action retired --reference "ticket 1" --as ai-team-1

What this does not show: $(where_it_runs)
the machine; and the times are one operator's clock until witnesses cosign.
TEXT
