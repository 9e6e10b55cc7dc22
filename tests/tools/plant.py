# SPDX-License-Identifier: Apache-2.0
"""Runs a source check over a small made-up tree: one that is clean, and the
same with one offence planted; prints `ok - name` or `not ok - name`."""

import os
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("VOUCHSAFE_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
# A clean tree, which every check must pass.
CLEAN = {
    "include/vouchsafe/types.h": "#include <stdint.h>\n",
    "src/base/base.h": '#include "vouchsafe/types.h"\n',
    "src/base/base.c": '#include "base/base.h"\n#include <stdlib.h>\n\nvoid *vch_alloc(size_t n)\n{\n    return malloc(n);\n}\n',
    "src/port/port.h": '#include "base/base.h"\n',
    "src/port/real.c": '#include "port/port.h"\n\nint now(void)\n{\n    return (int)time(NULL);\n}\n',
    "src/crypto/sha256.c": '#include "base/base.h"\n#include "port/port.h"\n',
    "src/state/state.h": '#include "base/base.h"\n',
}


class Plant:
    def __init__(self, tool):
        self.tool = os.path.join(SOURCE, "tools", tool)
        self.bad = 0

    def say(self, name, good, output=""):
        print(("ok - " if good else "not ok - ") + name)
        if not good:
            self.bad += 1
            print(output)

    def run(self, planted):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**CLEAN, **planted}.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as file:
                    file.write(text if path.endswith((".py", ".md")) or text.startswith("\n") else LICENCE + text)
            done = subprocess.run([sys.executable, self.tool, root], text=True, capture_output=True)
            return done.returncode, done.stdout + done.stderr

    def passes(self, name, planted):
        status, output = self.run(planted)
        self.say(name + " passes", status == 0 and not output, output)

    def refuses(self, name, planted, *words):
        """Refused with one line that names the file and says why."""
        status, output = self.run(planted)
        lines = output.splitlines()
        self.say(name + " is refused", status == 1 and len(lines) == 1 and all(word in lines[0] for word in words), output)

    def end(self):
        sys.exit(1 if self.bad else 0)
