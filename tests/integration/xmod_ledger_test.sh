#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# xmod_ledger_test.sh VOUCH: a ledger that vouch wrote, read by Go's x/mod; the
# same ledger with one bit of a tile turned is refused by it.
set -eu
vouch=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$vouch" --quiet init "$work/ledger" --operator clinic-a --origin clinic-a.example/ledger >/dev/null
for i in $(seq 1 40); do
    printf '{"name":"model-%d","digest":"%064x"}' "$i" "$i" >"$work/model.json"
    "$vouch" -C "$work/ledger" --quiet log submit model "$work/model.json" >/dev/null
done
"$vouch" -C "$work/ledger" log head >/dev/null
sed -n 's/^log  *\([^ ]*\).*/\1/p' "$work/ledger/trust.policy" >"$work/vkey"

rc=0
"$here/xmod.sh" "$work/ledger" "$work/vkey" >"$work/out" 2>&1 || rc=$?
[ $rc = 77 ] && { cat "$work/out"; exit 77; }
[ $rc = 0 ] || { cat "$work/out"; echo "not ok - a ledger that vouch wrote"; exit 1; }
echo "ok - a ledger that vouch wrote: $(sed -n 2p "$work/ledger/tlog/checkpoint") entries"

# The widest partial tile is the one that the newest checkpoint needs.
tile=$(ls "$work/ledger/tlog/tile/0/000.p" | sort -n | tail -1)
printf '\377\376' | dd of="$work/ledger/tlog/tile/0/000.p/$tile" bs=1 seek=100 conv=notrunc 2>/dev/null
rc=0
"$here/xmod.sh" "$work/ledger" "$work/vkey" >"$work/out" 2>&1 || rc=$?
[ $rc = 1 ] || { echo "not ok - a damaged tile is refused: exit $rc"; exit 1; }
echo "ok - a damaged tile is refused: $(tail -1 "$work/out")"
