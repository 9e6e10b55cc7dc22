#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The vault over separate processes: a node, three trustees, three storage
nodes, a custodian and a user; what each may do and what none of them knows.
usage: served_vault_test.py VOUCH P1_SCAN ASK_ROLE WRONG_SEEDS TX_OF"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import roles
from harness import ENV, LEDGER, RESEARCH, SCRATCH, TRAINING, VOUCH, ask, expect, path, run

P1_SCAN, ASK_ROLE, WRONG_SEEDS, TX_OF = sys.argv[2:6]
ROWS, GIVEN = 600, 500
CANARY = "canary-5d1c"
SCALE = int(os.environ.get("VOUCHSAFE_TEST_SCALE", "100"))
chance = random.Random(20261123)
erased = set()


def rows_file():
    return path("rows.csv", "person,x,label\n" + "".join(f"owner-{i},{CANARY}-{i},{i % 2}\n" for i in range(ROWS)))


def wanted():
    return sorted(f"{CANARY}-{i},{i % 2}" for i in range(GIVEN) if i not in erased)


def request():
    return ask("access", "request", "cohort", "--purpose", RESEARCH, "--processing", TRAINING, "--as",
               "ai-team-1")["object"]


def fetch(grant, code=0):
    out = path("out.csv")
    if os.path.exists(out):
        os.remove(out)
    done = expect(code, "--json", "access", "fetch", grant, "-o", out, "--as", "ai-team-1")
    if code:
        assert not os.path.exists(out)
        return json.loads(done.stderr)["error"]
    with open(out) as file:
        assert sorted(file.read().split("\n")[1:-1]) == wanted()
    return None


def cbor(*members):
    def head(major, n):
        return bytes([major << 5 | n]) if n < 24 else bytes([major << 5 | 24, n]) if n < 256 else \
            bytes([major << 5 | 25]) + n.to_bytes(2, "big")
    out = head(4, len(members))
    for m in members:
        out += head(0, m) if isinstance(m, int) else head(3, len(m)) + m.encode() if isinstance(m, str) else \
            head(2, len(m)) + m
    return out


def question(name, verb, body=b"", key=None, url=None):
    """(result's name, answer, text) of one question to a role."""
    pem = os.path.join(LEDGER, "keys", key + ".pem") if key else "-"
    done = subprocess.run([ASK_ROLE, url or roles.urls[name], pem, verb, body.hex()], env=ENV, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done
    result, answer, text = done.stdout.split("\n")[:3]
    return result, bytes.fromhex(answer), text


def rows_go_in_and_come_out():
    expect(0, "init", LEDGER, "--operator", "clinic-a", "--no-vault")
    roles.up("clinic-a")
    expect(0, "id", "new", "ai-team-1")
    expect(0, "party", "add", "ai-team-1", "--role", "user", "--as", "clinic-a")
    source = rows_file()
    expect(0, "dataset", "create", "cohort", "--header", source, "--subject-col", "person", "--label-col", "label",
           "--as", "clinic-a")
    terms = {"title": "all", "effect": "permit", "recipients": [], "purposes": [RESEARCH], "processings": [TRAINING]}
    expect(0, "terms", "add", path("terms.json", json.dumps(terms)), "--as", "clinic-a")
    assert ask("dataset", "add", "cohort", source, "--as", "clinic-a")["added"] == ROWS
    paper = path("paper.csv", "".join(f"owner-{i},all,2090-01-01,give\n" for i in range(GIVEN)))
    expect(0, "consent", "record", "cohort", paper, "--as", "clinic-a")
    fetch(request())
    audit = ask("storage", "audit")
    assert all(n["here"] and n["shards"] == 1 and n["missing"] == n["damaged"] == 0 for n in audit), audit


def remote(*args, key="ai-team-1", code=0, **more):
    """The same program on another machine, as it were: it knows the node's URL, a key and a policy."""
    home = path("elsewhere")
    done = subprocess.run([VOUCH, "--node", "unix:" + roles.folder("node.sock"), "--as", key, "--json", "--keys-dir",
                           os.path.join(LEDGER, "keys"), "--trust", os.path.join(LEDGER, "trust.policy"), *args],
                          env={**ENV, "XDG_STATE_HOME": home}, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (args, done)
    return json.loads(done.stdout if code == 0 else done.stderr.split("\n")[-2])


def a_user_elsewhere_needs_no_ledger_of_its_own():
    """The node says where the vault is; trustees and storage nodes do the rest."""
    grant = remote("access", "request", "cohort", "--purpose", RESEARCH, "--processing", TRAINING)["object"]
    out = path("far.csv")
    assert remote("access", "fetch", grant, "-o", out)["rows"] == GIVEN
    with open(out) as file:
        assert sorted(file.read().split("\n")[1:-1]) == wanted()
    os.remove(out)
    error = remote("access", "fetch", grant, "-o", out, key="clinic-a", code=5)["error"]
    assert error["name"] == "ERR_ROLE" and not os.path.exists(out), error


def no_node_knows():
    """Each trustee's folder and memory, all shards, and the node's own memory and
    log: no canary, no record key.  The control: both are found where they are."""
    roles.wait_following()
    stores = []
    for i in (1, 2):
        copy = path(f"seeds-{i}")
        shutil.copytree(os.path.join(roles.folder(f"trustee-{i}"), "seeds"), copy)
        stores.append(copy)
    planted = path("planted")
    files = [roles.memory_image(name) for name in list(roles.processes)]
    if None in files:
        return "a sanitizer's memory is too large to look through"
    files += roles.all_files(*(roles.folder(name) for name in roles.names()), os.path.join(LEDGER, "log"),
                             os.path.join(LEDGER, "state"), os.path.join(LEDGER, "vault"), os.path.join(LEDGER, "data"))
    done = subprocess.run([P1_SCAN, *stores, "--", CANARY, "--", *files, path("rows.csv")],
                          env={**ENV, "P1_PLANT": planted}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines[0] == f"keys {2 * ROWS}", lines[0]
    found = [line for line in lines[1:] if line]
    assert found == [line for line in found if line.startswith("found text " + path("rows.csv"))] and found, found
    for copy in stores:
        os.remove(os.path.join(copy, "lock")) if os.path.exists(os.path.join(copy, "lock")) else None
    done = subprocess.run([P1_SCAN, *stores, "--", CANARY, "--", planted], env=ENV, capture_output=True, text=True,
                          timeout=240)
    assert "found key " + planted + " 3" in done.stdout, done
    for name in files:
        if name.endswith(".memory"):
            os.remove(name)
    return None


def what_they_never_need_is_given_up():
    """No other program, no other folder, no look into them by a debugger."""
    for name in roles.names():
        with open(f"/proc/{roles.pid(name)}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        with open(os.path.join(SCRATCH, name + ".log")) as file:
            confined = [json.loads(line) for line in file if "serve.confined" in line][0]
        if not confined["system calls"] and {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ):
            return "a sanitizer needs the system calls that are given up"
        assert confined["system calls"] == 1 and status["Seccomp"].strip() == "2", (name, status["Seccomp"])
        assert status["NoNewPrivs"].strip() == "1"
    return None


def one_of_each_may_be_gone():
    grant = request()
    roles.kill("trustee-2")
    roles.kill("storage-1")
    status = ask("vault", "status")
    assert [r["here"] for r in status["trustees"]] == [True, False, True], status
    assert [r["here"] for r in status["storage"]] == [False, True, True], status
    fetch(grant)
    more = path("more.csv", open(path("rows.csv")).read() + f"owner-{ROWS},{CANARY}-{ROWS},0\n")
    assert "needs all" not in json.loads(expect(9, "--json", "dataset", "add", "cohort", more, "--as",
                                                "clinic-a").stderr)["error"]["text"]
    roles.kill("trustee-3")
    assert fetch(grant, 9)["name"] == "ERR_UNREACHABLE"
    roles.start("trustee-3")
    roles.wait_following()
    roles.kill("storage-2")
    assert fetch(grant, 9)["name"] == "ERR_UNREACHABLE"
    for name in ("trustee-2", "storage-1", "storage-2"):
        roles.start(name)
    roles.wait_following()
    fetch(request())


def another_key_at_the_address_is_noticed():
    stranger = roles.urls["trustee-1"].split("#")[0] + "#" + roles.urls["trustee-2"].split("#")[1]
    result, _, text = question("", "key", url=stranger)
    assert result == "ERR_UNREACHABLE" and "another one than the key that is expected" in text, (result, text)
    kept = dict(roles.urls)
    roles.urls["trustee-1"] = stranger
    roles.settings()
    status = ask("vault", "status")
    assert not status["trustees"][0]["here"] and "key" in status["trustees"][0]["why"], status
    roles.urls.update(kept)
    roles.settings()


def only_those_who_may_are_answered():
    name = "0" * 64 + ".shard"
    for verb, body in (("create", cbor(name)), ("append", cbor(name, 0, b"x")), ("finish", cbor(name, 1)),
                       ("abort", cbor(name)), ("remove", cbor(name))):
        assert question("storage-1", verb, body)[0] == "ERR_KEY", verb
        assert question("storage-1", verb, body, "ai-team-1")[0] == "ERR_ROLE", verb
    assert question("trustee-1", "prekey")[0] == "ERR_KEY"
    assert question("trustee-1", "prekey", key="ai-team-1")[0] == "ERR_ROLE"
    assert question("trustee-1", "prekey", key="clinic-a")[0] == "OK"
    for verb in ("deal", "release"):
        assert question("trustee-1", verb, b"\x01", "clinic-a")[0] == "ERR_FORMAT", verb
    assert question("trustee-1", "follow")[0] == question("trustee-1", "path")[0] == "ERR_KEY"
    assert question("trustee-1", "follow", key="ai-team-1")[0] == "OK"
    assert question("trustee-1", "nothing")[0] == "ERR_NOT_FOUND"
    for bad in (b"", b"\xff", cbor("x" * 81), cbor("../key.pem"), cbor(".."), cbor("a", 1, 2, 3)):
        for verb in ("size", "read", "list", "prove"):
            if (verb, bad) in (("list", cbor("..")), ("list", cbor("../key.pem"))):
                continue  # "after that name" is no path
            result = question("storage-1", verb, bad)[0]
            assert result in ("ERR_FORMAT", "ERR_USAGE"), (verb, bad, result)


def an_object_is_whole_or_not_there():
    name = "ab" * 32 + ".shard"
    who = "clinic-a"
    assert question("storage-1", "append", cbor(name, 0, b"x"), who)[0] == "ERR_NOT_FOUND"
    assert question("storage-1", "create", cbor(name), who)[0] == "OK"
    assert question("storage-1", "append", cbor(name, 0, b"abc"), who)[0] == "OK"
    assert question("storage-1", "append", cbor(name, 0, b"abc"), who)[0] == "OK"  # its answer was lost
    assert question("storage-1", "append", cbor(name, 7, b"abc"), who)[0] == "ERR_CONFLICT"
    assert question("storage-1", "size", cbor(name))[0] == "ERR_NOT_FOUND"
    assert question("storage-1", "finish", cbor(name, 4), who)[0] == "ERR_CONFLICT"
    assert question("storage-1", "size", cbor(name))[0] == "ERR_NOT_FOUND"
    assert question("storage-1", "create", cbor(name), who)[0] == "OK"
    assert question("storage-1", "append", cbor(name, 0, b"abcdef"), who)[0] == "OK"
    for _ in range(2):
        assert question("storage-1", "finish", cbor(name, 6), who)[0] == "OK"
    assert question("storage-1", "read", cbor(name, 2, 3))[:2] == ("OK", b"cde")
    assert question("storage-1", "read", cbor(name, 2, 5))[0] == "ERR_CORRUPT"
    assert question("storage-1", "create", cbor(name), who)[0] == "ERR_CONFLICT"
    assert question("storage-1", "remove", cbor(name), who)[0] == "OK"
    assert question("storage-1", "size", cbor(name))[0] == "ERR_NOT_FOUND"


def a_lost_shard_is_made_anew():
    shards = os.path.join(roles.folder("storage-2"), "shards")
    asked = ask("storage", "audit", "--challenges", "40")
    assert all(n["asked"] == n["proved"] == 40 for n in asked), asked
    for name in os.listdir(shards):
        at = os.path.join(shards, name)
        with open(at, "r+b") as file:
            file.write(bytes(os.path.getsize(at) // 2))
    asked = ask("storage", "audit", "--challenges", "40")
    assert asked[0]["proved"] == 40 and asked[1]["proved"] < 40, asked
    for name in os.listdir(shards):
        os.remove(os.path.join(shards, name))
    assert ask("storage", "audit", "--challenges", "3")[1] == {"node": "storage-2", "here": True, "asked": 3, "proved": 0}
    audit = ask("storage", "audit")
    assert audit[1]["missing"] == 1, audit
    assert ask("storage", "repair", "2", "--as", "clinic-a")["repaired"] == 1
    audit = ask("storage", "audit")
    assert all(n["missing"] == n["damaged"] == 0 for n in audit), audit


def a_trustee_that_is_cut_off_hands_out_nothing():
    """Its node is silent, so what it knows may be old: refused, once fresh_s are over."""
    grant = request()
    for i in (1, 2, 3):
        conf = os.path.join(roles.folder(f"trustee-{i}"), "trustee.conf")
        with open(conf) as file:
            text = file.read().replace("fresh_s = 60", "fresh_s = 2")
        with open(conf, "w") as file:
            file.write(text)
        roles.kill(f"trustee-{i}", signal.SIGTERM)
        roles.start(f"trustee-{i}")
    roles.wait_following()
    fetch(grant)
    roles.kill("node")
    end = time.monotonic() + 60
    while True:
        done = expect_any(grant)
        if done is not None or time.monotonic() > end:
            break
        time.sleep(0.3)
    assert done and done["name"] == "ERR_QUORUM" and "heard" in done["text"], done
    roles.start("node")
    roles.wait_following()
    time.sleep(1.5)  # each of them looks once a second
    fetch(grant)


def expect_any(grant):
    """None when the rows came out, else the error."""
    out = path("out.csv")
    if os.path.exists(out):
        os.remove(out)
    done = subprocess.run([VOUCH, "-C", LEDGER, "--json", "access", "fetch", grant, "-o", out, "--as", "ai-team-1"],
                          env=ENV, capture_output=True, text=True, timeout=120)
    return None if done.returncode == 0 else json.loads(done.stderr)["error"]


def who_was_away_carries_an_erasure_out():
    before = request()
    roles.kill("trustee-3")
    expect(0, "erasure", "request", "cohort", "--subject", "owner-17", "--as", "clinic-a")
    erased.add(17)
    status = ask("erasure", "status", "cohort")
    assert [e["state"] for e in status] == ["provisional"], status
    fetch(before)
    roles.start("trustee-3")
    roles.wait_following()
    end = time.monotonic() + 60
    while ask("erasure", "status", "cohort")[0]["state"] != "complete":
        assert time.monotonic() < end, ask("erasure", "status", "cohort")
        time.sleep(0.2)
    fetch(request())


def any_role_may_be_killed_at_any_moment():
    """While rows go in, come out and are erased: the next try goes through, and
    nothing half is left that anybody could see."""
    n = ROWS
    for turn in range(max(3, 24 * SCALE // 100)):
        name = chance.choice([r for r in list(roles.processes)])
        what = turn % 3
        if what == 0:
            n += 1
            source = open(path("rows.csv")).read() + f"owner-{n},{CANARY}-{n},0\n"
            command = ["dataset", "add", "cohort", path("more.csv", source), "--as", "clinic-a"]
        elif what == 1:
            command = ["access", "fetch", request(), "-o", path(f"out-{turn}.csv"), "--as", "ai-team-1"]
        else:
            erased.add(turn + 20)
            command = ["erasure", "request", "cohort", "--subject", f"owner-{turn + 20}", "--as", "clinic-a"]
        child = subprocess.Popen([VOUCH, "-C", LEDGER, "--json", *command], env=ENV, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.random() * 0.15)
        roles.kill(name)
        child.wait(120)
        roles.start(name)
        roles.wait_following()
        if what == 0 or (what == 2 and child.returncode != 0):
            done = subprocess.run([VOUCH, "-C", LEDGER, "--json", *command], env=ENV, capture_output=True, text=True,
                                  timeout=120, stdin=subprocess.DEVNULL)
            assert done.returncode in (0, 7) or what == 2, done
        if what == 0:
            with open(path("rows.csv"), "w") as file:
                file.write(source)
    roles.wait_following()
    fetch(request())
    audit = ask("storage", "audit")
    assert len({n["shards"] for n in audit}) == 1 and all(n["missing"] == n["damaged"] == 0 for n in audit), audit
    objects = [len(os.listdir(os.path.join(roles.folder(f"storage-{i}"), "shards"))) for i in (1, 2, 3)]
    assert objects == [audit[0]["shards"]] * 3, (objects, audit)


def a_withdrawal_needs_no_node():
    """It is signed on a copy of the ledger; the real one's node is down.  The
    trustees hold the row back, over restarts, until the ledger has it."""
    grant = request()
    copy = path("copy")
    roles.kill("node", signal.SIGTERM)
    shutil.copytree(LEDGER, copy)
    paper = path("withdrawn.csv", "owner-300,all,2090-01-01,withdraw\n")
    expect(0, "consent", "record", "cohort", paper, "--as", "clinic-a", ledger=copy)
    last = ask("status", ledger=copy)["entries"] - 1
    found = [e for e in ask("log", "cat", "0", str(last), ledger=copy) if e["kind"] == "withdraw"]
    tx = path("withdrawal.tx")
    subprocess.run([TX_OF, copy, str(found[-1]["index"]), tx], check=True, timeout=60)
    turned = path("turned.tx")
    with open(tx, "rb") as file:
        whole = file.read()
    with open(turned, "wb") as file:
        file.write(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    done = subprocess.run([VOUCH, "-C", LEDGER, "--json", "vault", "withdraw", turned], env=ENV, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode != 0, done
    assert ask("vault", "withdraw", tx) == {"trustees that hold back": 3, "of": 3}
    for name in ("trustee-1", "trustee-2", "trustee-3"):
        roles.kill(name)
    roles.start("node")
    for name in ("trustee-1", "trustee-2", "trustee-3"):
        roles.start(name)
    roles.wait_following()
    assert fetch(grant, 5)["name"] == "ERR_DENIED"
    assert ask("vault", "withdraw", tx)["trustees that hold back"] == 3  # the node is back: they pass it on
    erased.add(300)
    fetch(grant)
    shutil.rmtree(copy)


def who_answers_wrong_seeds_is_named():
    """The rows come out by the others' answers, and the proof names the liar, to
    anybody who knows the ledger; after erasures, too."""
    seeds = os.path.join(roles.folder("trustee-1"), "seeds")
    liar = roles.urls["trustee-1"].split("#")[1]
    assert ask("blame", "list") == []
    roles.kill("trustee-1", signal.SIGTERM)
    shutil.copytree(seeds, path("seeds-kept"))
    subprocess.run([WRONG_SEEDS, seeds], check=True, timeout=60)
    roles.start("trustee-1")
    roles.wait_following()
    out = path("out.csv")
    os.remove(out)
    done = expect(0, "access", "fetch", request(), "-o", out, "--as", "ai-team-1")
    assert "answered wrong seeds" in done.stderr, done.stderr
    with open(out) as file:
        assert sorted(file.read().split("\n")[1:-1]) == wanted()
    found = ask("blame", "list")
    assert found and all(b["proof"]["convicts"] and b["proof"]["accused"] == liar for b in found), found
    for b in found:
        assert ask("blame", "verify", b["file"]) == b["proof"]
        with open(b["file"], "rb") as file:
            proof = file.read()
        for at in range(0, len(proof), 37):
            with open(path("turned.blame"), "wb") as file:
                file.write(proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1:])
            code = subprocess.run([VOUCH, "-C", LEDGER, "blame", "verify", path("turned.blame")], env=ENV,
                                  capture_output=True, timeout=60).returncode
            assert code in (1, 3), (at, code)
    roles.kill("trustee-1", signal.SIGTERM)
    shutil.rmtree(seeds)
    shutil.move(path("seeds-kept"), seeds)
    roles.start("trustee-1")
    roles.wait_following()
    fetch(request())


def everything_ends_when_it_is_told_to():
    for name in list(roles.processes):
        roles.kill(name, signal.SIGTERM)
    assert not ask("check", "--full").get("findings"), "the ledger is not whole"


if __name__ == "__main__":
    try:
        code = run([rows_go_in_and_come_out, a_user_elsewhere_needs_no_ledger_of_its_own, no_node_knows,
                    what_they_never_need_is_given_up, one_of_each_may_be_gone,
                    another_key_at_the_address_is_noticed, only_those_who_may_are_answered,
                    an_object_is_whole_or_not_there, a_lost_shard_is_made_anew,
                    a_trustee_that_is_cut_off_hands_out_nothing, who_was_away_carries_an_erasure_out,
                    any_role_may_be_killed_at_any_moment, a_withdrawal_needs_no_node,
                    who_answers_wrong_seeds_is_named, everything_ends_when_it_is_told_to])
    finally:
        roles.stop_all()
    sys.exit(code)
