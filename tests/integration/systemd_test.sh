#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How much the unit file leaves open, as systemd itself judges it.
# usage: systemd_test.sh vouch.service
set -u
limit=15 # tenths: at most 1.5 of 10
command -v systemd-analyze >/dev/null || {
    echo "ok - exposure of vouch.service # SKIP no systemd-analyze here"
    exit 0
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

judge() { systemd-analyze security --offline=true --no-pager --threshold=$limit "$1" >"$folder/said" 2>&1; }

case_of() {
    if [ "$1" = 0 ]; then
        echo "ok - $2"
    else
        cat "$folder/said"
        echo "not ok - $2"
        failed=1
    fi
}

judge "$1"
case_of $? "$(sed -n 's/.*Overall exposure level for \([^:]*\): \([0-9.]*\).*/exposure of \1 is \2/p' "$folder/said" | grep . || echo exposure)"
# the same without its sandbox is noticed
grep -vE '^(Protect|Private|Restrict|System|Memory|Capability|NoNew)' "$1" >"$folder/vouch.service"
! judge "$folder/vouch.service"
case_of $? "an open unit is told from a closed one"
grep -q '^ExecStart=/.*/vouch -C /var/lib/vouch serve$' "$1"
case_of $? "the unit starts what is installed"
exit $failed
