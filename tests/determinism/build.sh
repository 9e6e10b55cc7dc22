#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh OUT "CC FLAGS" "LIBRARIES": compiles the state machine and all that
# is under it, with roots.c, in one go and without meson, so that any compiler
# and any options can be tried.
set -eu
out=$1 compile=$2 libraries=$3
cd "$(dirname "$0")/../.."
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
for file in src/base/*.c $(ls src/port/*.c | grep -v confine.c) src/codec/*.c src/crypto/*.c src/merkle/*.c src/entry/*.c src/policy/*.c \
    src/state/*.c src/store/kv.c src/store/kv_memory.c tests/determinism/roots.c; do
    printf '%s %s\n' "$file" "$objects/$(echo "$file" | tr / _).o"
done | xargs -P 2 -L 1 sh -c "$compile -std=gnu17 -D_GNU_SOURCE -fno-strict-aliasing -Iinclude -Isrc -c \"\$0\" -o \"\$1\" || exit 255"
# shellcheck disable=SC2086 # lists of flags, split on purpose
$compile -o "$out" "$objects"/*.o $libraries
