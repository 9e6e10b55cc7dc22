#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The kept answers are the ones that keytree_vectors.py gives."""

import os
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
made = subprocess.run([sys.executable, os.path.join(here, "keytree_vectors.py")], stdout=subprocess.PIPE, check=True).stdout
with open(os.path.join(here, "keytree_vectors.h"), "rb") as f:
    same = f.read() == made
print(("ok" if same else "not ok") + " - the kept vectors are as hashlib gives them")
sys.exit(0 if same else 1)
