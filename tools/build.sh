#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/build.sh [apps]: the gcc release build in build/; with "apps" only the
# programs and libraries that get installed, not the tests.  PREFIX, when set,
# is where they are installed to, LIBDIR (lib) the libraries' folder below it:
# what meson would pick on a bare Debian, lib64, is where nothing looks for them.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh build
if [ ! -f build/build.ninja ]; then
    rm -rf build
    log=$(mktemp)
    CC=gcc meson setup build >"$log" 2>&1 || {
        cat "$log" >&2
        rm -f "$log"
        echo "build: meson could not configure (above)" >&2
        exit 1
    }
    rm -f "$log"
fi
if [ -n "${PREFIX:-}" ] && [ "$(cat build/place 2>/dev/null)" != "$PREFIX ${LIBDIR:-lib}" ]; then
    meson configure build --prefix="$PREFIX" --libdir="${LIBDIR:-lib}" >/dev/null
    echo "$PREFIX ${LIBDIR:-lib}" >build/place
fi
# On a terminal ninja shows how far it is.
quiet=--quiet
[ ! -t 1 ] || quiet=""
[ "${1:-all}" = apps ] || exec ninja -C build $quiet
# ninja reconfigures by itself; the list of targets is asked for afterwards.
again=$(ninja -C build --quiet build.ninja) || {
    printf '%s\n' "$again" >&2
    exit 1
}
targets=$(meson introspect build --targets | python3 -c '
import json, os, sys
root = os.path.abspath("build")
for target in json.load(sys.stdin):
    if target.get("installed"):
        print(*(os.path.relpath(name, root) for name in target["filename"]))')
# shellcheck disable=SC2086 # a list of names, split on purpose
exec ninja -C build $quiet $targets
