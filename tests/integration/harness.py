# SPDX-License-Identifier: Apache-2.0
"""What tests of the program share: a scratch folder, vouch with and without
--json, errors by name, and a runner that prints a line per case.

A test file says: from harness import *; the program is its first argument."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRATCH = tempfile.mkdtemp(prefix="vch-test-")
os.chmod(SCRATCH, 0o755)
VOUCH = os.path.join(SCRATCH, "vouch")
shutil.copy(sys.argv[1], VOUCH)
LEDGER = os.path.join(SCRATCH, "ledger")
RESEARCH = "https://w3id.org/dpv#ScientificResearch"
MARKETING = "https://w3id.org/dpv#Marketing"
TRAINING = "https://w3id.org/dpv/ai#ModelTraining"
ENV = {**os.environ, "LC_ALL": "C.UTF-8"}
for name in ("VOUCH_DIR", "VOUCH_AS", "VOUCH_NODE"):
    ENV.pop(name, None)
covered = set()


def vouch(*args, ledger=None, env=None, stdin=None, **more):
    return subprocess.run([VOUCH, "-C", ledger or LEDGER, *args], capture_output=True, text=True,
                          env={**ENV, **(env or {})}, stdin=stdin or subprocess.DEVNULL, timeout=120, **more)


def expect(code, *args, **more):
    done = vouch(*args, **more)
    assert done.returncode == code, f"vouch {' '.join(args)}: {done.returncode}, not {code}: {done.stdout} {done.stderr}"
    return done


def ask(*args, code=0, **more):
    """Runs a command with --json and returns what it said."""
    covered.add(" ".join(args[:2]))
    done = expect(code, "--json", *args, **more)
    assert not done.stderr, f"vouch {' '.join(args)} --json: messages on stderr: {done.stderr}"
    return json.loads(done.stdout)


def error_of(code, name, *args, **more):
    done = expect(code, "--json", *args, **more)
    error = json.loads(done.stderr)["error"]
    assert error["name"] == name and error["exit"] == code and error["text"], error
    return error


def path(name, text=None):
    at = os.path.join(SCRATCH, name)
    if text is not None:
        with open(at, "w") as file:
            file.write(text)
    return at


def tree(folder):
    """Every file with its contents."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as file:
                found[os.path.relpath(os.path.join(at, name), folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def entries(ledger=None):
    return json.loads(vouch("--json", "status", ledger=ledger).stdout)["entries"]


def flip(name, at):
    """One bit of a file."""
    with open(name, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def run(tests):
    """In the order given; the first ones may build what later ones use.  One that
    can't be done here returns why."""
    failed = 0
    for test in tests:
        try:
            why = test()
            print(f"ok - {test.__name__.replace('_', ' ')}" + (f" # SKIP {why}" if why else ""), flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"not ok - {test.__name__.replace('_', ' ')}", flush=True)
    subprocess.run(["chmod", "-R", "u+w", SCRATCH])
    shutil.rmtree(SCRATCH, ignore_errors=True)
    return 1 if failed else 0
