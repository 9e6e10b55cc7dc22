#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The demo, twice in a row, in a folder of its own; and that it does not pass
# when the program is wrong, nor remove what it did not make.
# usage: demo_test.sh VOUCH
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
VOUCH=$(realpath "$1")
export VOUCH
if ! "$root/.venv/bin/python" -c 'import sklearn' 2>/dev/null; then
    echo "skipped: there is no .venv with scikit-learn; tools/setup.sh demo makes it"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
verdict() { # RESULT NAME
    if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; failed=1; fi
}
export DEMO_DIR=$work/demo-ledger

for round in first second; do
    "$root/tools/demo.sh" >"$work/out" 2>&1
    status=$?
    [ $status = 0 ] || tail -40 "$work/out"
    verdict $status "the demo runs a $round time"
done

grep -q 'not against whoever runs' "$work/out" && grep -q "one operator's clock" "$work/out" && grep -q SIMULATED "$work/out"
verdict $? "the demo says what is simulated and what is missing"

"$root/tools/demo.sh" served >"$work/served" 2>&1
status=$?
[ $status = 0 ] || tail -40 "$work/served"
verdict $status "the demo runs over separate processes"
grep -q 'as many domains' "$work/served" && ! pgrep -f "$work/demo-ledger" >/dev/null
verdict $? "and none of them is left"

mkdir "$work/mine" && echo precious >"$work/mine/file"
! DEMO_DIR=$work/mine "$root/tools/demo.sh" >/dev/null 2>&1 && [ "$(cat "$work/mine/file")" = precious ]
verdict $? "a folder that no demo made is left alone"

# A program that grants one row too many must not get through.
cat >"$work/liar" <<LIAR
#!/bin/sh
"$VOUCH" "\$@" | sed 's/^rows  *400\$/rows  401/'
LIAR
chmod +x "$work/liar"
! VOUCH=$work/liar DEMO_DIR=$work/lied "$root/tools/demo.sh" >"$work/lie" 2>&1 && grep -q 'FAILED: rows is "401"' "$work/lie"
verdict $? "a wrong count fails the demo"
exit $failed
