#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make.sh VOUCH FOLDER: a small ledger with something of everything in it.
set -eu
vouch=$1
folder=$2
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
v() { "$vouch" -C "$folder" --quiet "$@" >/dev/null; }

printf 'person,a,b,label\n' >"$here/rows.csv"
for i in 1 2 3 4 5 6; do printf 'p%d,%d.5,2.%d,%d\n' $i $i $i $((i % 2)) >>"$here/rows.csv"; printf 'p%d\n' $i >>"$here/persons"; done
printf '{"title":"research","effect":"permit","recipients":[],"purposes":["https://w3id.org/dpv#ScientificResearch"],"processings":["https://w3id.org/dpv/ai#ModelTraining"]}' >"$here/terms.json"
printf '{"input":{"a":1.5},"output":{"label":1},"reasons":["a is small"]}\n' >"$here/decisions.jsonl"

"$vouch" --quiet init "$folder" --operator clinic-a --origin clinic-a.example/ledger >/dev/null
v id new team-1
v party add team-1 --role user --as clinic-a
v wallet new owners --owners 6 --simulated
v dataset create d1 --header "$here/rows.csv" --subject-col person --label-col label --as clinic-a
"$vouch" -C "$folder" --quiet wallet keys owners --dataset d1 --persons "$here/persons" >"$here/owners.csv"
v dataset add d1 "$here/rows.csv" --owners "$here/owners.csv" --as clinic-a
v terms add "$here/terms.json" --as clinic-a
v consent give d1 --terms research --until 2099-12-31 --wallet owners --persons "$here/persons" --all --as clinic-a
v consent withdraw d1 --terms research --wallet owners --persons "$here/persons" --subject p6 --owner 6 --as clinic-a
v access request d1 --purpose https://w3id.org/dpv#ScientificResearch --processing https://w3id.org/dpv/ai#ModelTraining --as team-1
grant=$("$vouch" -C "$folder" --json access list | sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p' | head -1)
v run exec --grant "$grant" --name m1 --seed 1 --as team-1 -- sh -c 'wc -l <"$VOUCH_IN/train.csv" >"$VOUCH_OUT/model"'
v deployment add m1 ward-1 --as team-1
v decision log ward-1 "$here/decisions.jsonl" --as team-1
v bundle make decision ward-1/0 -o "$folder.decision.bundle"
v bundle make access "$grant" -o "$folder.access.bundle"
v log head
rm -rf "$folder/state" "$folder/lock"
