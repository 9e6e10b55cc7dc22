#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `make test` runs once everything is installed; the arguments are those
# of run_tests.py, of which `--help` tells.
cd "$(dirname "$0")/.." || exit 1
exec python3 tools/run_tests.py "$@"
