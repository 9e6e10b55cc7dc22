#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The long runs, hours if you let them.  Each part prints `ok - name` or
# `not ok - name`; what a part printed lies in build-soak/NAME.log.
#   seeds      crash points, power cuts, flipped bytes and random histories, SOAK_SCALE (10000) percent of the usual;
#              a dataset of SOAK_ROWS (10000000)
#   valgrind   the unit tests under memcheck; SOAK_VALGRIND="NAME ..." only those
#   fuzz       each target for FUZZ_SECONDS (300); FUZZ_ONLY=NAME only that one
#   s390x      the fixed history on a big-endian machine (qemu) against its golden roots
# SOAK_ONLY="NAME ..." runs those parts alone.
set -u
cd "$(dirname "$0")/.." || exit 1
scale=${SOAK_SCALE:-10000}
ran=0 failed=0
mkdir -p build-soak

part() {
    name=$1
    case " ${SOAK_ONLY:-seeds valgrind fuzz s390x} " in *" $name "*) ;; *) return ;; esac
    ran=$((ran + 1))
    began=$(date +%s)
    echo "soak: $name, log in build-soak/$name.log"
    if "run_$name" >"build-soak/$name.log" 2>&1; then
        echo "ok - $name ($(($(date +%s) - began)) s)"
    else
        tail -n 40 "build-soak/$name.log"
        echo "not ok - $name ($(($(date +%s) - began)) s)"
        failed=$((failed + 1))
    fi
}

# Time-outs are sixty times the usual ones: enough for any scale worth running.
run_seeds() {
    tools/build.sh &&
        VOUCHSAFE_TEST_SCALE=$scale VOUCHSAFE_SOAK=${SOAK_ROWS:-10000000} meson test -C build --no-rebuild -t 60 --num-processes 2 --print-errorlogs \
            --suite sim --suite fault --suite property --suite determinism --suite integration
}

# Not kv: valgrind has no room for LMDB's map of the index, which opens nothing then.
run_valgrind() {
    tools/build.sh || return 1
    tests=${SOAK_VALGRIND:-$(meson introspect build --tests | python3 -c 'import json, sys
print(*[t["name"] for t in json.load(sys.stdin) if "vouchsafe:unit" in t["suite"] and t["name"] != "kv"])')}
    # shellcheck disable=SC2086 # a list of names, split on purpose
    meson test -C build --no-rebuild -t 60 --num-processes 2 --print-errorlogs $tests --wrapper \
        'valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --fair-sched=yes'
}

run_fuzz() { FUZZ_SECONDS=${FUZZ_SECONDS:-300} tools/fuzz.sh; }

# Statically linked, so that qemu needs no libraries of that machine.
run_s390x() {
    root=build-s390x/root/usr
    tests/determinism/build.sh build-s390x/roots \
        "s390x-linux-gnu-gcc -O2 -I$root/include -I$root/include/s390x-linux-gnu" \
        "-static -L$root/lib/s390x-linux-gnu -lsodium -lcrypto -pthread -ldl" || return 1
    file=$(od -An -tx1 -j4 -N2 build-s390x/roots)
    [ "$file" = " 02 02" ] || {
        echo "build-s390x/roots is not a 64-bit, big-endian program (ELF class and data:$file)"
        return 1
    }
    qemu-s390x build-s390x/roots portable >build-s390x/roots.out || return 1
    diff tests/determinism/roots.golden build-s390x/roots.out || return 1
    # and the twin: another history is noticed there too
    qemu-s390x build-s390x/roots portable late >build-s390x/late.out || return 1
    ! cmp -s tests/determinism/roots.golden build-s390x/late.out
}

part seeds
part valgrind
part fuzz
part s390x
[ $ran -gt 0 ] || {
    echo "soak: no part is named \"${SOAK_ONLY:-}\"; there are seeds, valgrind, fuzz, s390x" >&2
    exit 1
}
echo "soak: $ran parts, $failed failed"
[ $failed = 0 ]
