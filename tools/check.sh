#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The source checks.  Prints each offence, then `ok - check` or `not ok - check`;
# exits 1 when any check failed.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

check() {
    name=$1
    shift
    if "$@" >"$log" 2>&1; then
        echo "ok - $name"
    else
        cat "$log"
        echo "not ok - $name"
        failed=1
    fi
}

sources() { find src include apps tests fuzz bench tools -name '*.[ch]' | sort; }

format() {
    sources | xargs clang-format-14 --dry-run -Werror >"$log.format" 2>&1
    status=$?
    sed -n 's/: error: code should.*/: not as clang-format-14 has it (make format)/p' "$log.format" | sort -u -t: -k1,1
    rm -f "$log.format"
    return $status
}

# The library and the programs; the tests' own mistakes show in the sanitized run.
tidy() {
    if [ ! -f build-clang/compile_commands.json ]; then
        rm -rf build-clang
        CC=clang-14 meson setup build-clang -Doptimization=1 >build-clang.log || { cat build-clang.log; return 1; }
        rm -f build-clang.log
    else
        ninja -C build-clang --quiet build.ninja || return 1
    fi
    # One file per process: given several, clang-tidy 14 reports every va_list after the first file.
    status=0
    find src/base -name '*.c' | xargs -P 2 -n 1 clang-tidy-14 -p build-clang --quiet >build-clang/tidy.log 2>&1 || status=1
    find src apps -name '*.c' | grep -v '^src/base/' | sort |
        xargs -P 2 -n 1 clang-tidy-14 -p build-clang --quiet --extra-arg=-include --extra-arg="$PWD/tools/tidy.h" \
            >>build-clang/tidy.log 2>&1 || status=1
    grep -E '(error|warning): ' build-clang/tidy.log | sed -E 's#^[^:]*/(src|apps|include)/#\1/#' | sort -u
    [ $status = 0 ] || echo "the paths that lead there are in build-clang/tidy.log"
    return $status
}

# Every C file under src and apps is compiled by some target, else tidy and the
# tests would look past it.
built() {
    python3 - <<'END'
import glob, json, os, sys
known = {os.path.realpath(os.path.join(e["directory"], e["file"])) for e in json.load(open("build-clang/compile_commands.json"))}
lost = [name for name in sorted(glob.glob("src/**/*.c", recursive=True) + glob.glob("apps/**/*.c", recursive=True)) if os.path.realpath(name) not in known]
for name in lost:
    print(name + ": no target compiles it; add it to its folder's meson.build")
sys.exit(1 if lost else 0)
END
}

manual() {
    set -- docs/man/*.[1-8]
    [ -e "$1" ] || return 0
    mandoc -T lint -W error "$@"
}

check "format (clang-format-14)" format
check "ranks of modules (tools/ranks.py)" python3 tools/ranks.py
check "banned functions, lengths, licences (tools/banned.py)" python3 tools/banned.py
check "clang-tidy-14" tidy
check "every source file is built" built
check "manual pages (mandoc)" manual
exit $failed
