# SPDX-License-Identifier: Apache-2.0
"""tools/check.sh over a made-up tree: all of it passes when clean, and each
check refuses the one offence planted for it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from plant import CLEAN, LICENCE, SOURCE

MESON = """# SPDX-License-Identifier: Apache-2.0
project('planted', 'c', default_options: ['c_std=gnu17'])
static_library('planted', {files}, include_directories: include_directories('include', 'src'))
"""
GOOD = {
    **CLEAN,
    "src/base/base.c": '#include "base/base.h"\n\nint vch_one(void) { return 1; }\n',
    "src/port/real.c": '#include "port/port.h"\n\nint vch_two(void) { return 2; }\n',
    "docs/man/a.1": '.Dd January 1, 2026\n.Dt A 1\n.Os\n.Sh NAME\n.Nm a\n.Nd does it\n',
}
BAD = {
    "format": {"src/log/a.c": "int  a_badly_laid_out;\n"},
    "ranks": {"src/base/up.h": '#include "state/state.h"\n'},
    "banned": {"src/log/b.c": "#include <stdlib.h>\n\nint b(const char *text)\n{\n    return atoi(text);\n}\n"},
    "clang-tidy": {"src/log/c.c": "int c(int n)\n{\n    int *p = 0;\n    return n ? *p : 0;\n}\n"},
    "source file": {"src/log/lost.c": "int lost;\n"},
    "manual": {"docs/man/b.1": ".Dd January 1, 2026\n.Dt B 1\n.Os\n.Sh NAME\n.Nm b\n.Nd does\n.Bl -nosuch\n.El\n.Xx\n"},
}


def results(tree):
    """Runs the checks over the tree; the lines that say how each went."""
    with tempfile.TemporaryDirectory() as root:
        shutil.copytree(os.path.join(SOURCE, "tools"), os.path.join(root, "tools"))
        for name in (".clang-format", ".clang-tidy"):
            shutil.copy(os.path.join(SOURCE, name), root)
        built = sorted(path for path in tree if path.endswith(".c") and "lost" not in path)
        tree = {**tree, "meson.build": MESON.format(files=built)}
        for folder in ("apps", "tests", "fuzz", "bench"):
            os.makedirs(os.path.join(root, folder))
        for path, text in tree.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(LICENCE + text if path.endswith((".c", ".h")) else text)
        done = subprocess.run([os.path.join(root, "tools", "check.sh")], text=True, capture_output=True)
        return done.returncode, done.stdout


bad = 0


def expect(name, good, output):
    global bad
    bad += not good
    print(("ok - " if good else "not ok - ") + name + ("" if good else "\n" + re.sub("^", "    ", output, flags=re.M)))


if shutil.which("clang-tidy-14") is None or shutil.which("clang-format-14") is None or shutil.which("mandoc") is None:
    print("clang-format-14, clang-tidy-14 and mandoc are not all here")
    sys.exit(77)
status, output = results(GOOD)
expect("a clean tree passes every check", status == 0 and "not ok" not in output and output.count("ok - ") == len(BAD), output)
status, output = results({**GOOD, **{path: text for planted in BAD.values() for path, text in planted.items()}})
expect("a tree with offences makes the checks fail", status == 1, output)
for check in BAD:
    named = any(f"{path}:" in output for path in BAD[check])
    expect(f"the offence against '{check}' is refused", named and re.search(rf"^not ok - .*{check}", output, re.M), output)
sys.exit(1 if bad else 0)
