#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/bench.sh [NAME…]: builds the release and prints the table of figures,
# each next to its peer or limit, measured in turns on the disk under build/
# (or $BENCH_DIR).  The list as JSON goes to build/bench.json.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh test
tools/build.sh
ninja -C build --quiet bench/bench

# Other ledgers to measure against, built once for each of their versions.
for peer in tessera immudb; do
    kept=${XDG_CACHE_HOME:-$HOME/.cache}/vouchsafe/$peer-$(cat bench/peers/$peer/go.mod bench/peers/$peer/main.go | sha256sum | cut -c1-16)
    if [ ! -x "$kept" ]; then
        echo "bench: building $peer as a peer (Go modules)"
        mkdir -p "$(dirname "$kept")"
        (cd bench/peers/$peer && go build -o "$kept.part" .) || {
            echo "bench: $peer can't be built here; its rows are left out" >&2
            continue
        }
        mv "$kept.part" "$kept"
    fi
    mkdir -p build/peers
    ln -sf "$kept" build/peers/$peer
done

dir=${BENCH_DIR:-build/bench-data}
mkdir -p "$dir"
build/bench/bench "$dir" "$@"
rm -rf build/bench-data
