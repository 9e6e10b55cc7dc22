#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""keytree_secret_test.py PROGRAM: no branch and no address of the key tree
depends on a seed, says valgrind; and it would say so if one did."""

import shutil
import subprocess
import sys

if not shutil.which("valgrind"):
    print("there is no valgrind here")
    sys.exit(77)


def errors(*args):
    done = subprocess.run(["valgrind", "-q", "--error-exitcode=9", sys.argv[1], *args], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300)
    return done.returncode, done.stdout


clean, said = errors()
leaky, _ = errors("leak")
print(("ok" if clean == 0 else "not ok") + " - nothing depends on a seed")
print(("ok" if leaky == 9 else "not ok") + " - a branch that does is found")
if clean:
    print(said)
sys.exit(0 if clean == 0 and leaky == 9 else 1)
