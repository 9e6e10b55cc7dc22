#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Read a log directory with Go's golang.org/x/mod, code that is not ours.
#
#   xmod.sh FOLDER VKEY-FILE [BUILD-DIR]
#
# FOLDER is a ledger (then its tlog/ is read), a folder that itself holds
# checkpoint and tile/, or the http:// address of one.  The program is built once into BUILD-DIR/xmod, from
# MESON_BUILD_ROOT when not given.  No network is used.  Exit 0 and "ok", 1
# when the log does not verify, 77 when Go or the package is missing.
#
#   xmod.sh ask FOLDER                            a log of its own: requests to cosign it
#   xmod.sh cosigned NOTE LOG-VKEY WITNESS-VKEY   is a checkpoint signed by both?
set -eu

[ $# -ge 2 ] || { echo "usage: xmod.sh FOLDER VKEY-FILE [BUILD-DIR]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 build=${3:-}
case $folder in ask | cosigned) build="" ;; esac
[ -d "$folder/tlog" ] && folder=$folder/tlog
cache=${build:-${MESON_BUILD_ROOT:-${TMPDIR:-/tmp}/vouchsafe-$(id -u)}}/xmod
gopath=${VOUCHSAFE_GOPATH:-/usr/share/gocode}

command -v go >/dev/null 2>&1 || { echo "xmod: skipped, no go on this machine"; exit 77; }
[ -d "$gopath/src/golang.org/x/mod/sumdb/tlog" ] || {
    echo "xmod: skipped, no golang.org/x/mod under $gopath (Debian package golang-golang-x-mod-dev)"
    exit 77
}

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
if [ ! -x "$cache/xmod" ] || [ -n "$(find "$here/xmod" -name '*.go' -newer "$cache/xmod")" ]; then
    # Whole program or none: a second run at the same time must not see half of it.
    (cd "$here/xmod" && GO111MODULE=off GOPATH=$gopath GOFLAGS= GOTOOLCHAIN=local GOCACHE=$cache/cache \
        go build -o "$cache/xmod.$$" .) >&2
    mv "$cache/xmod.$$" "$cache/xmod"
fi
case $folder in ask | cosigned) exec "$cache/xmod" "$@" ;; esac
exec "$cache/xmod" "$folder" "$(cat "$2")"
