# SPDX-License-Identifier: Apache-2.0
# A thin front: meson and the scripts under tools/ do the work.
.PHONY: help demo demo-vault test check format bench soak fuzz build install clean
PREFIX ?= /usr/local
LIBDIR ?= lib

help:
	@echo "make demo     build and walk through the whole story on this machine (start here)"
	@echo "make demo-vault  the same with each trustee and storage node as a process of its own"
	@echo "make test     every test in three builds, and the source checks"
	@echo "make check    the source checks alone: format, clang-tidy, ranks, banned functions"
	@echo "make format   let clang-format-14 lay out every C file"
	@echo "make bench    speed and size figures, next to their peers where there are some"
	@echo "make fuzz     each fuzz target for FUZZ_SECONDS (60) seconds"
	@echo "make soak     the long runs: many seeds, valgrind, another byte order"
	@echo "make build    the release build in build/"
	@echo "make install  the release build into DESTDIR and PREFIX ($(PREFIX))"
	@echo "make clean    remove the build folders and what the demo left; .venv and .venv-test stay"

demo:
	@tools/setup.sh demo
	@tools/build.sh apps
	@tools/demo.sh

demo-vault:
	@tools/setup.sh demo
	@tools/build.sh apps
	@tools/demo.sh served

test:
	@tools/setup.sh test
	@tools/run_tests.sh

check:
	@tools/setup.sh test
	@tools/check.sh

format:
	@tools/setup.sh test
	@find src include apps tests fuzz bench tools -name '*.[ch]' | xargs clang-format-14 -i

bench:
	@tools/setup.sh test
	@tools/build.sh
	@tools/bench.sh

soak:
	@tools/setup.sh soak
	@tools/soak.sh

fuzz:
	@tools/setup.sh test
	@tools/fuzz.sh

build:
	@tools/build.sh

install:
	@PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" tools/build.sh apps
	@meson install -C build --no-rebuild --quiet
	@if [ "$$(id -u)" = 0 ]; then chown -R --reference=Makefile build; [ -n "$(DESTDIR)" ] || ldconfig; fi

clean:
	@rm -rf build build-clang build-asan build-tsan build-fuzz build-soak build-s390x demo-ledger
