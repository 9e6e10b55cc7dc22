#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds each target fuzz/fuzz_NAME.c with libFuzzer and both sanitizers into
# build-fuzz/, and runs each for FUZZ_SECONDS (60).
# Seeds are fuzz/corpus/NAME/; what is found goes to build-fuzz/corpus/NAME/,
# an input that breaks a target to build-fuzz/NAME-crash-*.
# FUZZ_ONLY=NAME runs one target.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
if [ ! -f build-fuzz/build.ninja ]; then
    rm -rf build-fuzz
    CC=clang-14 meson setup build-fuzz -Dtests=false -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 \
        -Ddebug=true -Dc_args=-fsanitize=fuzzer-no-link >build-fuzz.log 2>&1 || {
        cat build-fuzz.log >&2
        rm -f build-fuzz.log
        exit 1
    }
    rm -f build-fuzz.log
fi
ninja -C build-fuzz --quiet libvouchsafe-core.a libvouchsafe-ledger.a
libraries=$(pkg-config --libs libsodium openssl lmdb libisal libseccomp jansson libevent libevent_openssl libevent_pthreads)
ran=0 bad=0
for source in fuzz/fuzz_*.c; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    [ -z "${FUZZ_ONLY:-}" ] || [ "$FUZZ_ONLY" = "$name" ] || continue
    # shellcheck disable=SC2086 # a list of flags, split on purpose
    clang-14 -std=gnu17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
        -Iinclude -Isrc -Ifuzz "$source" -o "build-fuzz/fuzz-$name" \
        build-fuzz/libvouchsafe-ledger.a build-fuzz/libvouchsafe-core.a $libraries -pthread
    mkdir -p "build-fuzz/corpus/$name"
    set -- "build-fuzz/corpus/$name"
    [ ! -d "fuzz/corpus/$name" ] || set -- "$@" "fuzz/corpus/$name"
    echo "fuzz: $name for $seconds s"
    ran=$((ran + 1))
    if "build-fuzz/fuzz-$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/$name-" "$@" >"build-fuzz/$name.log" 2>&1; then
        grep -E '^stat::(number_of_executed_units|average_exec_per_sec)' "build-fuzz/$name.log" || true
    else
        tail -n 60 "build-fuzz/$name.log"
        echo "fuzz: $name FAILED; whole log in build-fuzz/$name.log" >&2
        bad=$((bad + 1))
    fi
done
[ $ran -gt 0 ] || {
    echo "fuzz: no target named '${FUZZ_ONLY:-*}' under fuzz/" >&2
    exit 1
}
echo "fuzz: $ran targets, $bad failed"
[ $bad = 0 ]
