# SPDX-License-Identifier: Apache-2.0
"""What the public headers declare is what the shared libraries offer, nothing
less, and nothing of the inside.

usage: exports_test.py LIBVOUCHSAFE LIBVOUCHSAFE-VERIFY"""

import os
import re
import subprocess
import sys

INCLUDE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "include", "vouchsafe")
DECLARED = re.compile(r"VCH_API\b[^;{]*?\b(vch_\w+)\s*\(", re.S)


def declared(*headers):
    names = set()
    for header in headers:
        with open(os.path.join(INCLUDE, header), encoding="utf-8") as file:
            names |= set(DECLARED.findall(re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)))
    return names


def offered(library):
    text = subprocess.check_output(["nm", "-D", "--defined-only", library], text=True)
    return {line.split()[-1].split("@")[0] for line in text.splitlines() if " T " in line}


def judge(what, good, more):
    print(("ok - " if good else "not ok - ") + what + ("" if good else ": " + ", ".join(sorted(more))))
    return 0 if good else 1


def main():
    everything = declared(*sorted(os.listdir(INCLUDE)))
    whole, verifier = offered(sys.argv[1]), offered(sys.argv[2])
    wanted = declared("verify.h", "types.h")
    failed = judge("the headers declare something", len(everything) > 50, everything)
    failed += judge("libvouchsafe offers all that is declared", everything <= whole, everything - whole)
    failed += judge("libvouchsafe offers nothing else", whole <= everything, whole - everything)
    failed += judge("libvouchsafe-verify offers the verifier", wanted <= verifier, wanted - verifier)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
