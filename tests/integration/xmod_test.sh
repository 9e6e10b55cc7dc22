#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The outside reader itself: it accepts a log that others made, and refuses
# it once a byte of the note, a tile or an entry is another.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
log=${VOUCHSAFE_SHARED:-$here/../../../shared}/vectors/tessera-log
[ -r "$log/vkey.txt" ] || { echo "xmod_test: skipped, no $log"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rc=0
"$here/xmod.sh" "$log" "$log/vkey.txt" >"$work/out" || rc=$?
cat "$work/out"
[ $rc = 77 ] && exit 77
[ $rc = 0 ] && [ "$(cat "$work/out")" = ok ] || { echo "not ok - the log as it is"; exit 1; }
echo "ok - the log as it is"

# Each damage is one byte, given as file, offset, and what to put there.
damage() {
    cp -r "$log" "$work/log"
    chmod -R u+w "$work/log"
    printf "$3" | dd of="$work/log/$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
    ! cmp -s "$log/$1" "$work/log/$1" || { echo "not ok - $1 is still the same"; exit 1; }
    rc=0
    "$here/xmod.sh" "$work/log" "$log/vkey.txt" >"$work/out" 2>&1 || rc=$?
    [ $rc = 1 ] || { echo "not ok - $1 damaged: exit $rc"; exit 1; }
    echo "ok - $1 damaged: $(cat "$work/out")"
    rm -rf "$work/log"
}
damage checkpoint 2 X
damage checkpoint 26 9
damage checkpoint 150 A
damage tile/0/000.p/15 0 X
damage tile/0/000.p/15 479 '\377'
damage tile/entries/000.p/15 2 X
damage tile/entries/000.p/15 98 X
damage tile/entries/000.p/15 1 '\377'
rc=0
echo 'example.com/log/testdata+00000000+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx' >"$work/other"
"$here/xmod.sh" "$log" "$work/other" >/dev/null 2>&1 || rc=$?
[ $rc = 1 ] || { echo "not ok - another key: exit $rc"; exit 1; }
echo "ok - another key"
