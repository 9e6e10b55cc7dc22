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
dir=${BENCH_DIR:-build/bench-data}
mkdir -p "$dir"
build/bench/bench "$dir" "$@"
rm -rf build/bench-data
