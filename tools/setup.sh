#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/setup.sh LEVEL: installs what LEVEL needs and is not there yet.
#   build  compilers, meson, libraries
#   demo   build + .venv with scikit-learn
#   test   demo + clang tools, Go programs, Valgrind, SoftHSM, .venv-test with an OpenAPI validator
#   soak   test + qemu, s390x compiler
# A second run finds everything in place and touches neither network nor disk.
set -eu
cd "$(dirname "$0")/.."

build="gcc libc6-dev make meson ninja-build pkg-config libsodium-dev libssl-dev liblmdb-dev libisal-dev libjansson-dev libevent-dev libseccomp-dev libcmocka-dev libsqlite3-dev libp11-kit-dev"
demo=""
test="openssl clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev golang-golang-x-mod-dev sqlite3 mandoc valgrind softhsm2 opensc"
soak="qemu-user gcc-s390x-linux-gnu libc6-dev-s390x-cross"

level=${1:-}
case $level in
build) want="$build" python=no ;;
demo) want="$build $demo" python=yes ;;
test) want="$build $demo $test" python=yes ;;
soak) want="$build $demo $test $soak" python=yes ;;
*)
    echo "usage: tools/setup.sh build|demo|test|soak" >&2
    exit 2
    ;;
esac

command -v python3 >/dev/null || want="$want python3"
case $level in test | soak) command -v go >/dev/null || want="$want golang-go" ;; esac
if [ $python = yes ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then want="$want python3-venv"; fi

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not Debian, so nothing is installed for you; needed are (Debian's names): $want" >&2
    exit 1
fi
missing=""
for package in $want; do installed "$package" || missing="$missing $package"; done
if [ -n "$missing" ]; then
    root=""
    by_hand="apt-get update && apt-get install --no-install-recommends$missing"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            echo "setup: missing packages, and neither root nor sudo to install them; as root run: $by_hand" >&2
            exit 1
        }
        root="sudo"
    fi
    echo "setup: installing Debian packages:$missing"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # An update that fails for one source of many (somebody else's) still leaves the others.
    # shellcheck disable=SC2086 # a list of names, split on purpose
    if ! { $root apt-get -q update || [ $? = 100 ] && $root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        cat "$log" >&2
        echo "setup: ${root:+sudo or }apt-get failed (above); mend it, or as root run: $by_hand" >&2
        exit 1
    fi
fi

# A checkout that was moved or copied: what meson made elsewhere is of no use here.
for folder in $(python3 -c 'import glob, json, os
for path in glob.glob("build*/meson-info/meson-info.json"):
    if json.load(open(path))["directories"]["source"] != os.path.realpath("."):
        print(path.split("/")[0])'); do
    echo "setup: $folder/ was made for another place than this and is made anew"
    rm -rf "$folder"
done

# The libraries of another machine, for its byte order: fetched and unpacked
# into the build folder with a package index of their own, so that this
# system's packages and architectures stay as they are.
s390x_root() {
    folder=$PWD/build-s390x
    if [ -f "$folder/root/complete" ]; then return; fi
    rm -rf "$folder/root" "$folder/apt"
    mkdir -p "$folder/root" "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/apt/debs"
    : >"$folder/apt/status"
    echo "setup: fetching libsodium and OpenSSL for s390x into build-s390x/"
    (
        cd "$folder/apt/debs"
        set -- -q -o APT::Architecture=s390x -o APT::Architectures=s390x -o Dir::State="$folder/apt" \
            -o Dir::State::status="$folder/apt/status" -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User=root
        apt-get "$@" update && apt-get "$@" download libsodium-dev libssl-dev &&
            for package in *.deb; do dpkg-deb -x "$package" "$folder/root" || exit 1; done
    ) >"$folder/apt/log" 2>&1 || {
        cat "$folder/apt/log" >&2
        echo "setup: could not fetch the s390x libraries (above); mend it and run tools/setup.sh soak again" >&2
        exit 1
    }
    rm -rf "$folder/apt"
    : >"$folder/root/complete"
}
[ "$level" != soak ] || s390x_root

# Programs of others that judge our logs and sign our checkpoints: built once for
# each version, kept outside of this folder.  Without them their tests are
# skipped and say so.  They ask for a newer Go than Debian 12's; it comes as a
# Go module, checked like any other, and goes again with the rest of the build.
programs="fsck-v1.0.4=github.com/transparency-dev/tessera/cmd/fsck@v1.0.4 litewitness-v0.9.0=filippo.io/torchwood/cmd/litewitness@v0.9.0"
newer_go=1.24.9

# Builds one program into $GOBIN; the newer Go is fetched when a program first needs it.
go_program() {
    go=go
    if [ "$(printf '%s\n' go1.24 "$(go env GOVERSION)" | sort -V | head -n 1)" != go1.24 ]; then
        module=golang.org/toolchain@v0.0.1-go$newer_go.$(go env GOOS)-$(go env GOARCH)
        root=$GOMODCACHE/$module
        go=$root/bin/go
        # A module's files are never executable; these have to be.
        [ -x "$go" ] || { go mod download "$module" && chmod +x "$root"/pkg/tool/*/* "$root"/bin/*; } || return 1
    fi
    "$go" install "$1"
}

go_programs() {
    kept=${XDG_CACHE_HOME:-$HOME/.cache}/vouchsafe
    folder=$(mktemp -d)
    for program in $programs; do
        name=${program%%=*}
        if [ -x "$kept/$name" ]; then continue; fi
        echo "setup: building ${program#*=} (Go modules)"
        if (
            unset GOROOT
            export GOBIN="$folder" GOMODCACHE="$folder/modules" GOCACHE="$folder/cache" GOFLAGS=-modcacherw GOTOOLCHAIN=local
            cd "$folder" && go_program "${program#*=}"
        ) >"$folder/log" 2>&1; then
            mkdir -p "$kept"
            mv "$folder/${name%-*}" "$kept/$name"
        else
            tail -n 3 "$folder/log" >&2
            echo "setup: ${name%-*} can't be built here (above); the tests that need it are skipped" >&2
        fi
    done
    rm -rf "$folder"
}
case $level in test | soak) go_programs ;; esac

# venv FOLDER PINS: one environment, made anew whenever the pins change.
venv() {
    if cmp -s "$2" "$1/.vouchsafe-pins" && [ -x "$1/bin/python" ]; then return; fi
    echo "setup: making $1 with: $(grep -v '^#' "$2" | tr '\n' ' ')"
    if ! python3 -m venv --clear "$1"; then
        echo "setup: python3 cannot make a virtual environment; install python3-venv" >&2
        exit 1
    fi
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: -r "$2" || {
        echo "setup: pip could not install $2; look at the network or proxy and run tools/setup.sh $level again" >&2
        exit 1
    }
    cp "$2" "$1/.vouchsafe-pins"
}

[ $python = yes ] || exit 0
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: python3 is older than 3.11, which the pinned packages need; use Debian 12's python3" >&2
    exit 1
}
venv .venv tools/requirements-demo.txt
case $level in test | soak) venv .venv-test tools/requirements-test.txt ;; esac
