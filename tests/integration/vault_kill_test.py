#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 while rows go into the vault, come out of it, and are erased, at any
moment: what was acknowledged is there, what wasn't leaves nothing behind, and
the next try goes through.
usage: vault_kill_test.py VOUCH"""

import json
import os
import random
import signal
import subprocess
import time

from harness import ENV, LEDGER, RESEARCH, TRAINING, VOUCH, ask, path, run

SEED = 20261123
ROUNDS = max(4, 60 * int(os.environ.get("VOUCHSAFE_TEST_SCALE", "100")) // 100)
chance = random.Random(SEED)
rows = {}  # person -> value, as the newest version has them
acknowledged = 0


def killed(args, longest):
    """The command, killed after a while; its exit code when it was faster."""
    child = subprocess.Popen([VOUCH, "-C", LEDGER, "--json", *args], env=ENV, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(chance.random() * longest)
    child.send_signal(signal.SIGKILL)
    return child.wait()


def file_of(wanted):
    return path("rows.csv", "person,value,label\n" + "".join(f"{p},{v},{i % 2}\n" for i, (p, v) in enumerate(wanted.items())))


def versions():
    return len(ask("dataset", "versions", "d"))


def objects():
    return [sorted(os.listdir(os.path.join(LEDGER, "vault", f"storage-{n}", "shards"))) for n in (1, 2, 3)]


def whole():
    audit = ask("storage", "audit")
    assert all(n["here"] and n["missing"] == n["damaged"] == 0 for n in audit), audit
    return audit[0]["shards"]


def begin():
    ask("init", LEDGER, "--operator", "clinic")
    header = path("header.csv", "person,value,label\n")
    ask("dataset", "create", "d", "--header", header, "--subject-col", "person", "--label-col", "label")
    terms = {"title": "all", "effect": "permit", "recipients": [], "purposes": [RESEARCH], "processings": [TRAINING]}
    ask("terms", "add", path("terms.json", json.dumps(terms)))
    rows.update({f"p{i}": f"value-{i}" for i in range(300)})
    assert ask("dataset", "add", "d", file_of(rows))["added"] == 300


def comes_out():
    """Everybody that the newest version knows consents; the rows are the file's."""
    paper = path("paper.csv", "".join(f"{p},all,2090-01-01,give\n" for p in rows))
    ask("consent", "record", "d", paper)
    grant = ask("access", "request", "d", "--purpose", RESEARCH, "--processing", TRAINING)["object"]
    out = path("out.csv")
    if os.path.exists(out):
        os.remove(out)
    assert ask("access", "fetch", grant, "-o", out)["rows"] == len(rows)
    with open(out) as file:
        got = sorted(line.split(",")[0] for line in file.read().split("\n")[1:-1])
    assert got == sorted(rows.values())
    return grant


def ingest_is_killed():
    for n in range(ROUNDS):
        changed = dict(rows)
        changed[f"n{n}"] = f"new-{n}"
        changed[chance.choice(list(rows))] = f"other-{n}"
        before = versions()
        name = file_of(changed)
        code = killed(["dataset", "add", "d", name], 0.12)
        after = versions()
        assert after in (before, before + 1) and (code != 0 or after == before + 1)
        if after == before:
            ask("dataset", "add", "d", name)
        rows.clear()
        rows.update(changed)
        if n % 10 == 0:
            comes_out()
    shards = whole()
    comes_out()
    # what was cut off has been cleared away: as many objects as extents, on every node
    extents = objects()
    assert extents[0] == extents[1] == extents[2] and len(extents[0]) == shards, (shards, extents)


def fetching_is_killed():
    grant = comes_out()
    out = path("killed.csv")
    for _ in range(ROUNDS // 2):
        killed(["access", "fetch", grant, "-o", out], 0.06)
        if os.path.exists(out):
            os.remove(out)
        if chance.random() < 0.2:
            ask("access", "fetch", grant, "-o", out)
            assert not os.path.exists(out + ".vouch-spool")
            os.remove(out)
            grant = comes_out()
    comes_out()
    assert whole() > 0


def erasure_is_killed():
    for _ in range(ROUNDS // 3):
        person = chance.choice(list(rows))
        before = len(ask("erasure", "status", "d"))
        killed(["erasure", "request", "d", "--subject", person], 0.08)
        status = ask("erasure", "status", "d")
        if len(status) == before:
            ask("erasure", "request", "d", "--subject", person)
        ask("vault", "up")
        status = ask("erasure", "status", "d")
        assert len(status) == before + 1 and all(s["state"] == "complete" for s in status), status
        del rows[person]
    # versions still name the erased rows; the next file has them no more
    assert ask("dataset", "add", "d", file_of(rows))["removed"] >= ROUNDS // 3
    comes_out()
    assert ask("check", "--full")["findings"] == 0


if __name__ == "__main__":
    raise SystemExit(run([begin, ingest_is_killed, fetching_is_killed, erasure_is_killed]))
