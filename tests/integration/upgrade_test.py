# SPDX-License-Identifier: Apache-2.0
"""A directory that an earlier version wrote opens, checks, answers and goes on;
one of an unknown format is refused by its number and left as it is.

usage: upgrade_test.py VOUCH"""

import os
import shutil
import sys

from harness import ROOT, SCRATCH, ask, entries, error_of, expect, run, tree, vouch

GOLDEN = os.path.join(ROOT, "tests", "golden")
OLD = os.path.join(SCRATCH, "old")


def fresh(name):
    at = os.path.join(SCRATCH, name)
    shutil.copytree(os.path.join(GOLDEN, "format-1"), at)
    for folder, _, names in os.walk(at):
        for file in names:
            os.chmod(os.path.join(folder, file), 0o600)
    return at


def it_opens_and_checks_out():
    fresh("old")
    assert ask("status", ledger=OLD)["origin"] == "clinic-a.example/ledger"
    assert ask("check", "--full", ledger=OLD)["good"] is True
    assert ask("dataset", "check", "d1", ledger=OLD)["rows"] == 6


def it_answers_as_it_did():
    assert [p["name"] for p in ask("party", "list", ledger=OLD)] == ["clinic-a", "team-1"]
    assert len(ask("consent", "list", "d1", ledger=OLD)) >= 5
    grant = ask("access", "list", ledger=OLD)[0]
    assert grant["permit"] is True and grant["rows"] == 5, grant
    assert ask("decision", "trace", "ward-1/0", ledger=OLD)["decision"]["verified"] is True


def its_evidence_still_verifies():
    trust = os.path.join(OLD, "trust.policy")
    for name in ("decision", "access"):
        bundle = os.path.join(GOLDEN, f"format-1.{name}.bundle")
        assert vouch("verify", bundle, "--trust", trust).returncode == 0, name


def every_kind_of_evidence_keeps_its_verdict():
    """Bundles of each claim, as they were when their format was new: a trust policy, a zero byte, the bundle."""
    folder = os.path.join(ROOT, "fuzz", "corpus", "bundle")
    names = sorted(os.listdir(folder))
    assert names == [f"claim-{n}" for n in range(1, 7)], names
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            policy, bundle = file.read().split(b"\0", 1)
        trust, shown, changed = (os.path.join(SCRATCH, f"{name}.{what}") for what in ("policy", "shown", "changed"))
        # The first byte of the network: every leaf is of another one then.
        for path, content in ((trust, policy), (shown, bundle), (changed, bundle[:6] + bytes([bundle[6] ^ 1]) + bundle[7:])):
            with open(path, "wb") as file:
                file.write(content)
        assert ask("verify", shown, "--trust", trust)["code"] == "OK", name
        assert ask("verify", changed, "--trust", trust, code=3)["code"] == "F-NETWORK", name


def it_goes_on():
    size = entries(OLD)
    expect(0, "id", "new", "team-2", ledger=OLD)
    expect(0, "party", "add", "team-2", "--role", "user", "--as", "clinic-a", ledger=OLD)
    assert entries(OLD) > size
    assert ask("check", "--full", ledger=OLD)["good"] is True


def an_unknown_format_is_refused_by_its_number():
    new = fresh("new")
    name = os.path.join(new, "FORMAT")
    with open(name) as file:
        text = file.read()
    with open(name, "w") as file:
        file.write(text.replace("vouchsafe 1", "vouchsafe 2"))
    before = tree(new)
    for command in (["status"], ["party", "list"], ["log", "head"]):
        error = error_of(1, "ERR_VERSION", *command, ledger=new)
        assert "2" in error["text"] and error["hint"], error
    assert vouch("check", ledger=new).returncode != 0
    assert tree(new) == before, "a refused directory was changed"


if __name__ == "__main__":
    sys.exit(run([it_opens_and_checks_out, it_answers_as_it_did, its_evidence_still_verifies,
                  every_kind_of_evidence_keeps_its_verdict, it_goes_on, an_unknown_format_is_refused_by_its_number]))
