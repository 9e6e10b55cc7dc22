#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuses includes that break the order of the modules:
  - a module includes its own rank and below, never upward;
  - modules of one rank do not include each other in a circle;
  - pure modules do not reach the operating system's port;
  - public headers include public headers and the C library only.

usage: ranks.py [ROOT]   prints each offence; exits 1 when there is one."""

import os
import re
import sys

RANK = {"base": 0, "port": 1, "codec": 1, "crypto": 2, "merkle": 3, "log": 3, "entry": 3, "policy": 3,
        "verify": 4, "store": 4, "state": 5, "contract": 6, "node": 7, "api": 8, "cli": 9, "sdk": 9}
# No clock, randomness or I/O; the verifier also stands without log and store.
FORBIDDEN = {"merkle": {"port"}, "entry": {"port"}, "policy": {"port"}, "state": {"port"},
             "verify": {"port", "log", "store"}}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)


def sources(folder):
    for at, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.join(at, name)


def included(path):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), file.read(), flags=re.S)
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


def module_of(root, path, name):
    """The module a quoted or angled include belongs to; None for the C
    library, other libraries and our public headers."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    for candidate in (beside, os.path.normpath(os.path.join(root, "src", name))):
        parts = os.path.relpath(candidate, os.path.join(root, "src")).split(os.sep)
        if parts[0] != ".." and len(parts) > 1 and os.path.exists(candidate):
            return parts[0]
    return None


def find_circle(edges):
    """One circle among the modules, as a list of names, or None."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module):] + [module]
        if module in done:
            return None
        path.append(module)
        for after in sorted(edges.get(module, ())):
            circle = visit(after)
            if circle:
                return circle
        done.add(path.pop())
        return None

    for module in sorted(edges):
        circle = visit(module)
        if circle:
            return circle
    return None


def check_modules(root):
    edges = {}
    for path in sources(os.path.join(root, "src")):
        shown = os.path.relpath(path, root)
        module = shown.split(os.sep)[1]
        if module not in RANK:
            yield f"{shown}: module '{module}' has no rank; give it one in tools/ranks.py"
            continue
        for line, quoted, angled in included(path):
            other = module_of(root, path, quoted or angled)
            if other is None or other == module:
                continue
            if RANK.get(other, 99) > RANK[module]:
                yield f"{shown}:{line}: {module} (rank {RANK[module]}) includes {other} (rank {RANK.get(other)}), which is above it"
            elif other in FORBIDDEN.get(module, ()):
                yield f"{shown}:{line}: {module} must do without {other}"
            else:
                edges.setdefault(module, set()).add(other)
    circle = find_circle(edges)
    if circle:
        yield "src: modules include each other in a circle: " + " -> ".join(circle)


def check_public(root):
    for path in sources(os.path.join(root, "include")):
        shown = os.path.relpath(path, root)
        for line, quoted, angled in included(path):
            name = quoted or angled
            public = os.path.join(root, "include", name)
            if name.startswith("vouchsafe/") and os.path.exists(public):
                continue
            if quoted or "/" in name or os.path.exists(os.path.join(root, "src", name)):
                yield f"{shown}:{line}: public header includes \"{name}\", which programs will not have"


def main():
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
    offences = [*check_modules(root), *check_public(root)]
    for offence in offences:
        print(offence)
    sys.exit(1 if offences else 0)


if __name__ == "__main__":
    main()
