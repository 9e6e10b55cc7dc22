#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# determinism_test.sh paths ROOTS: the program built by meson prints the golden
# roots by every way of computing SHA-256 that this machine has.
# determinism_test.sh compilers: so does one built by gcc and by clang-14,
# without and with all optimisation.
set -u
here=$(cd "$(dirname "$0")" && pwd)
golden=$here/roots.golden
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# same NAME PROGRAM PATH
same() {
    "$2" "$3" >"$work/out" 2>"$work/err"
    status=$?
    if [ $status = 77 ]; then
        echo "ok - $1 # SKIP $(cat "$work/err")"
    elif [ $status = 0 ] && cmp -s "$work/out" "$golden"; then
        echo "ok - $1"
    else
        cat "$work/err"
        diff "$golden" "$work/out" | head -n 8
        echo "not ok - $1 (exit status $status)"
        failed=1
    fi
}

# The must-fail twin: another history may share its beginning, not its end.
other() {
    if "$1" auto late >"$work/out" && ! cmp -s "$work/out" "$golden" &&
        [ "$(head -n 10 "$work/out")" = "$(head -n 10 "$golden")" ] &&
        [ "$(grep -c ^block "$work/out")" -gt 50 ]; then
        echo "ok - a block one millisecond later is seen in the roots"
    else
        echo "not ok - a block one millisecond later is seen in the roots"
        failed=1
    fi
}

case ${1:-} in
paths)
    for path in auto portable ni avx512; do same "SHA-256 by $path" "$2" $path; done
    other "$2"
    ;;
compilers)
    libraries="$(pkg-config --libs libsodium libcrypto) -pthread"
    for compiler in gcc clang-14; do
        for level in -O0 -O3; do
            name="$compiler $level"
            if ! command -v $compiler >/dev/null; then
                echo "ok - $name # SKIP $compiler is not installed"
            elif ! "$here/build.sh" "$work/roots" "$name" "$libraries" >"$work/log" 2>&1; then
                cat "$work/log"
                echo "not ok - $name does not build"
                failed=1
            else
                same "$name" "$work/roots" auto
            fi
        done
    done
    ;;
*)
    echo "usage: determinism_test.sh paths ROOTS | compilers" >&2
    exit 2
    ;;
esac
exit $failed
