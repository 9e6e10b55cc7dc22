#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Served trustees under a policy that wants a witness: no key before the grant is
under a cosigned checkpoint, none when the newest quorum is old.
usage: served_witness_test.py VOUCH"""

import json
import os
import signal
import subprocess
import sys
import time

import roles
from harness import ENV, LEDGER, RESEARCH, TRAINING, VOUCH, ask, expect, path, run

ROWS = 20


def start_witness():
    roles.launch("witness", "witness", "serve", roles.folder("witness"), "--listen", f"127.0.0.1:{port}")


def request():
    return ask("access", "request", "cohort", "--purpose", RESEARCH, "--processing", TRAINING, "--as",
               "clinic-a")["object"]


last = []


def fetch(grant):
    """None when the rows came out, else the error."""
    out = path("out.csv")
    if os.path.exists(out):
        os.remove(out)
    done = subprocess.run([VOUCH, "-C", LEDGER, "--json", "access", "fetch", grant, "-o", out, "--as", "clinic-a"],
                          env=ENV, capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        with open(out) as file:
            assert len(file.read().split("\n")) == ROWS + 2
        return None
    assert not os.path.exists(out)
    last[:] = [json.loads(done.stderr)["error"]]
    return last[0]


def until(good, what, seconds=60):
    end = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < end, (what, last)
        time.sleep(0.2)


def committed(name):
    return ask("status", ledger=os.path.join(roles.folder(name), "replica"))["committed"]


def rows_come_out_once_the_witness_cosigned():
    global port
    port = roles.free_port()
    expect(0, "init", LEDGER, "--operator", "clinic-a", "--no-vault")
    policy = os.path.join(LEDGER, "trust.policy")
    with open(policy) as file:
        log = [line.split()[1] for line in file if line.startswith("log ")][0]
    made = ask("witness", "init", roles.folder("witness"), "--name", "w.example", "--log", log)
    start_witness()
    with open(policy) as file:
        lines = [line for line in file if not line.startswith("quorum ")]
    with open(policy, "w") as file:
        file.write("".join(lines))
        file.write(f"witness w.example {made['verifier key']} http://127.0.0.1:{port}\nquorum w.example\n")
    expect(0, "config", "accept")
    roles.up("clinic-a")
    for i in (1, 2, 3):
        conf = os.path.join(roles.folder(f"trustee-{i}"), "trustee.conf")
        with open(conf) as file:
            text = file.read().replace("fresh_s = 60", "fresh_s = 4")
        with open(conf, "w") as file:
            file.write(text)
        roles.kill(f"trustee-{i}", signal.SIGTERM)
        roles.start(f"trustee-{i}")
    source = path("rows.csv", "person,x,label\n" + "".join(f"owner-{i},{i},{i % 2}\n" for i in range(ROWS)))
    expect(0, "dataset", "create", "cohort", "--header", source, "--subject-col", "person", "--label-col", "label")
    terms = {"title": "all", "effect": "permit", "recipients": [], "purposes": [RESEARCH], "processings": [TRAINING]}
    expect(0, "terms", "add", path("terms.json", json.dumps(terms)))
    until(lambda: subprocess.run([VOUCH, "-C", LEDGER, "dataset", "add", "cohort", source], env=ENV,
                                 capture_output=True, timeout=120).returncode == 0, "rows don't go in")
    expect(0, "consent", "record", "cohort", path("paper.csv", "".join(f"owner-{i},all,2090-01-01,give\n"
                                                                       for i in range(ROWS))))
    grant = request()
    until(lambda: fetch(grant) is None, "rows don't come out", 20)


def a_grant_without_a_cosignature_opens_nothing():
    old = request()
    until(lambda: fetch(old) is None, "rows don't come out", 20)
    size = ask("status")["entries"]
    until(lambda: all(committed(f"trustee-{i}") == size for i in (1, 2, 3)), "not every trustee saw the cosignature")
    roles.kill("witness", signal.SIGTERM)
    fresh = request()
    error = fetch(fresh)
    assert error and error["name"] == "ERR_QUORUM", error
    until(lambda: (fetch(old) or {}).get("name") == "ERR_QUORUM", "an old quorum still counts")
    assert "older than" in last[0]["text"], last
    start_witness()
    until(lambda: fetch(fresh) is None, "the witness is back, and rows don't come out")
    assert fetch(old) is None


if __name__ == "__main__":
    try:
        code = run([rows_come_out_once_the_witness_cosigned, a_grant_without_a_cosignature_opens_nothing])
    finally:
        roles.stop_all()
    sys.exit(code)
