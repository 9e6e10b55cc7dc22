# SPDX-License-Identifier: Apache-2.0
"""The counting of test cases: what passes for a pass, and what must not."""
import os
import sys

SOURCE = os.environ.get("VOUCHSAFE_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(SOURCE, "tools"))
from run_tests import judge, run  # noqa: E402

bad = 0


def expect(name, tally, passed, failed, skipped):
    global bad
    good = (tally.passed, len(tally.failed), len(tally.skipped)) == (passed, failed, skipped)
    bad += not good
    print(("ok - " if good else "not ok - ") + name + ("" if good else f"\n    counted {tally.line()}"))


CMOCKA = "1..3\nok 1 - a\nno vectors here\nnot ok 2 # SKIP b\nnot ok 3 - c\n# 0x1 != 0x2\n# not ok - group\n"
expect("cmocka's passed, skipped and failed", judge("t", 1, CMOCKA), 1, 1, 1)
tally = judge("t", 1, CMOCKA)
print("ok - the skip's reason is kept" if tally.skipped == [("t: b", "no vectors here")] else f"not ok - {tally.skipped}")
bad += tally.skipped != [("t: b", "no vectors here")]
expect("all passed", judge("t", 0, "1..2\nok 1 - a\nok 2 - b\n# ok - group\n"), 2, 0, 0)
expect("a case that never reported is a failure", judge("t", 0, "1..3\nok 1 - a\nok 2 - b\n"), 2, 1, 0)
expect("death half-way is a failure", judge("t", -11, "1..3\nok 1 - a\n"), 1, 1, 0)
expect("a sanitizer's exit status after passes is a failure", judge("t", 1, "1..1\nok 1 - a\n"), 1, 1, 0)
expect("running out of time is a failure", judge("t", -9, "1..2\nok 1 - a\n", 5), 1, 1, 0)
expect("a failed group set-up is a failure", judge("t", 1, "1..5\nnot ok 0 - grp [  FAILED  ] GROUP SETUP\n"), 0, 1, 0)
expect("output before a case on its line", judge("t", 0, "1..1\nhalf a lineok 1 - a\n"), 1, 0, 0)
expect("two groups in one program", judge("t", 0, "1..1\nok 1 - a\n# ok - g\n1..1\nok 1 - b\n"), 2, 0, 0)
expect("plain lines of a script", judge("t", 1, "ok - a\nnot ok - b\nok - c # SKIP no network\n"), 1, 1, 1)
expect("a silent program that succeeds is one case", judge("t", 0, "did 5 inputs\n"), 1, 0, 0)
expect("a silent program that fails is one failure", judge("t", 3, ""), 0, 1, 0)
expect("exit status 77 is a skip", judge("t", 77, "no s390x emulator\n"), 0, 0, 1)
expect("a word that starts like ok is none", judge("t", 0, "okay then\n"), 1, 0, 0)
expect("a program that hangs is ended", run("t", [sys.executable, "-c", "import time; time.sleep(60)"], None, None, 0.5)[0], 0, 1, 0)
expect("a program that dies by a signal", run("t", [sys.executable, "-c", "import os; os.abort()"], None, None, 30)[0], 0, 1, 0)
sys.exit(1 if bad else 0)
