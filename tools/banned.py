#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuses what no source file here may hold: unsafe functions, memory and
operating-system calls outside their one module, floating point in pure
modules, functions over 70 lines, files without licence line, markers of
unfinished work, paths of one machine; and a verifier too large to audit.

usage: banned.py [ROOT]   prints each offence; exits 1 when there is one."""

import fnmatch
import os
import re
import sys

UNSAFE = set("strcpy strcat sprintf vsprintf gets strtok atoi atol atoll atof alloca system popen mktemp tmpnam "
             "tempnam rand srand random srandom drand48 setlocale strncat stpcpy".split())
MEMORY = set("malloc calloc realloc free reallocarray strdup strndup asprintf vasprintf aligned_alloc "
             "posix_memalign getline getdelim".split())
SYSTEM = set("time clock clock_gettime gettimeofday nanosleep usleep sleep getrandom getentropy randombytes_buf "
             "randombytes_random randombytes_uniform RAND_bytes open openat creat fopen fdopen freopen pread pwrite "
             "preadv pwritev read write readv writev lseek fsync fdatasync ftruncate flock fcntl unlink unlinkat rename "
             "renameat mkdir rmdir opendir readdir scandir stat fstat lstat statvfs mmap socket connect bind listen accept accept4 "
             "send recv sendto recvfrom sendmsg recvmsg poll select epoll_wait fork vfork execv execve execvp execvpe "
             "execl execlp posix_spawn posix_spawnp waitpid kill pipe pipe2 dup2".split())
# Where a group is at home, and who else may use which of it.
HOME = {"memory": ["src/base/*"], "system": ["src/port/*"]}
MAY = {
    # The simulated machine is not the program under test: its own memory must
    # not fail when it makes the program's fail.
    "src/port/sim*": {"malloc", "calloc", "realloc", "free"},
    # LMDB does its own I/O and is the only one that may; it is given a folder.
    "src/store/lmdb*": {"open", "stat", "mkdir", "unlink", "fsync"},
    # Its own three streams: data on stdout, messages on stderr, secrets from a
    # named descriptor, the terminal's echo.
    "src/cli/*": {"read", "write", "open", "fopen", "fstat"},
    # How fast a command goes, for people.
    "src/cli/progress.c": {"clock_gettime"},
    # The runners of compute and contract children.
    "src/node/child*": {"fork", "execv", "execve", "execvp", "waitpid", "kill", "pipe", "pipe2", "dup2", "poll", "read",
                        "write", "fcntl", "open"},
}
PURE = ["merkle", "entry", "policy", "verify", "state"]
# Assembled, so that this file does not name itself.
MARKERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b")
LEAKS = re.compile("|".join(["(?<![\\w.])/wo" + "rk/", "(?<![\\w.])/ro" + "ot/", "(?<![\\w.])/ho" + "me/[a-z]",
                             "py" + r"pi\.org", "registry\\.np" + "mjs", "proxy\\.go" + "lang\\.org", "static\\.cra" + r"tes\.io"]))
FUNCTION_LINES = 70
VERIFIER_LINES = 2400
CODE = (".c", ".h")
LICENSED = CODE + (".py", ".sh", ".build")
TEXT = LICENSED + (".md", ".txt", ".in", ".cddl", ".json", ".options", ".1", ".5", ".7")
SKIPPED = re.compile(r"^(build.*|\..*|__pycache__|demo-ledger|node_modules)$")


def files(root):
    for at, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not SKIPPED.match(f) or f == ".ci")
        for name in sorted(names):
            path = os.path.join(at, name)
            shown = os.path.relpath(path, root)
            if (name.endswith(TEXT) or name in ("Makefile", "run")) and not os.path.islink(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield shown, file.read()


def code_only(text):
    """The text without comments and with empty strings, lines kept."""
    def blank(match):
        found = match.group(0)
        if found.startswith("/"):
            return " " + "\n" * found.count("\n")
        return found[0] * 2
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S)


def at_home(shown, group, name):
    if any(fnmatch.fnmatch(shown, home) for home in HOME[group]):
        return True
    return any(fnmatch.fnmatch(shown, where) and name in names for where, names in MAY.items())


def check_calls(shown, code):
    ours = shown.startswith(("src/", "apps/", "include/"))
    # A member (`disk->open(`) is the port's; a word before the name
    # (`vch_rc open(`) declares one.  `return open(` and `else open(` call it.
    for match in re.finditer(r"(?<![\w.>])(?:(\w+)[ \t]+\**)?\b([A-Za-z_]\w*)\s*\(", code):
        name, before = match.group(2), match.group(1)
        line = code.count("\n", 0, match.start(2)) + 1
        if name in UNSAFE:
            yield f"{shown}:{line}: {name}() is banned"
            continue
        if not ours or (before and before not in ("return", "else", "do", "case", "sizeof")):
            continue
        if name in MEMORY and not at_home(shown, "memory", name):
            yield f"{shown}:{line}: {name}() outside src/base; use vch_alloc, vch_resize, vch_free or an arena"
        if name in SYSTEM and not at_home(shown, "system", name):
            yield f"{shown}:{line}: {name}() outside src/port; go through the port"


def check_pure(shown, code):
    parts = shown.split(os.sep)
    if parts[0] != "src" or parts[1] not in PURE:
        return
    for match in re.finditer(r"\b(float|double|strcoll|strtod)\b", code):
        yield f"{shown}:{code.count(chr(10), 0, match.start()) + 1}: {match.group(1)} in a module that must give the same bytes everywhere"


def check_lengths(shown, text):
    """A function's lines, from the first of its signature to the brace that
    ends it; both braces stand at the start of a line, as clang-format puts them."""
    lines = text.split("\n")
    start, last_end = None, -1
    for number, line in enumerate(lines):
        if line == "{":
            start = number
            while start - 1 > last_end and lines[start - 1].strip() and not re.search(r"(;|\}|\*/|^#.*)$", lines[start - 1]):
                start -= 1
        elif line.startswith("}"):
            if start is not None and number - start + 1 > FUNCTION_LINES:
                yield f"{shown}:{start + 1}: function of {number - start + 1} lines, more than {FUNCTION_LINES}"
            start, last_end = None, number


def check_text(shown, text):
    name = os.path.basename(shown)
    if name.endswith(LICENSED) or name == "Makefile" or shown == os.path.join(".ci", "run"):
        head = text.split("\n", 2)[:2]
        line = head[1] if head[0].startswith("#!") and len(head) > 1 else head[0]
        if "SPDX-License-Identifier: Apache-2.0" not in line:
            yield f"{shown}:1: no SPDX-License-Identifier line at the top"
    for pattern, what in ((MARKERS, "unfinished work"), (LEAKS, "something of one workplace")):
        for match in pattern.finditer(text):
            yield f"{shown}:{text.count(chr(10), 0, match.start()) + 1}: '{match.group(0)}' marks {what}"


def check(root):
    verifier = 0
    for shown, text in files(root):
        yield from check_text(shown, text)
        if not shown.endswith(CODE):
            continue
        code = code_only(text)
        yield from check_calls(shown, code)
        yield from check_pure(shown, code)
        yield from check_lengths(shown, text)
        if shown.startswith(os.path.join("src", "verify") + os.sep):
            verifier += text.count("\n")
    if verifier > VERIFIER_LINES:
        yield f"src/verify: {verifier} lines, more than the {VERIFIER_LINES} one person can audit"


def main():
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
    offences = list(check(root))
    for offence in offences:
        print(offence)
    sys.exit(1 if offences else 0)


if __name__ == "__main__":
    main()
