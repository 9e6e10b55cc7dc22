# SPDX-License-Identifier: Apache-2.0
"""The command line over a small ledger: exit codes, JSON of every command,
what must be refused and leave nothing behind, the texts made from the table.

usage: cli_test.py VOUCH"""

import base64
import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys

from harness import (ENV, LEDGER, MARKETING, RESEARCH, ROOT, SCRATCH, TRAINING, VOUCH, ask, covered, entries, error_of, expect,
                     path, run, tree, vouch)


def copy(name):
    at = os.path.join(SCRATCH, name)
    shutil.copytree(LEDGER, at)
    return at


ROWS = [f"p{i},{i}.5,2.{i},{i % 2}" for i in range(1, 7)]
HEADER = "person,a,b,label"
CSV = path("rows.csv", "\n".join([HEADER, *ROWS]) + "\n")
PERSONS = path("persons.txt", "".join(f"p{i}\n" for i in range(1, 7)))
OWNERS = ["--wallet", "owners", "--persons", PERSONS]
REQUEST = ["access", "request", "d1", "--purpose", RESEARCH, "--processing", TRAINING, "--as", "team"]

# ---- the tests, in order; the first ones build what the later ones use ------------


def a_ledger_is_made_and_only_once():
    assert ask("init", LEDGER, "--operator", "clinic", "--no-vault")["operator"] == "clinic"
    error_of(7, "ERR_CONFLICT", "init", LEDGER, "--operator", "clinic")
    assert ask("status")["entries"] == 2
    assert ask("check")["good"] is True


def parties_and_keys():
    key = ask("id", "new", "team")["multicodec"]
    ask("party", "add", "team", "--role", "user", "--as", "clinic")
    assert ask("party", "show", "team")["keys"][0]["multicodec"] == key
    assert [p["name"] for p in ask("party", "list")] == ["clinic", "team"]
    assert sorted(i["name"] for i in ask("id", "list")) == ["clinic", "team"]
    assert ask("id", "show", "team")["multicodec"] == key
    error_of(7, "ERR_CONFLICT", "id", "new", "team")
    before = entries()
    ask("id", "new", "namesake")
    error_of(7, "ERR_CONFLICT", "party", "add", "team", "--role", "user", "--key", "namesake", "--as", "clinic")
    os.remove(os.path.join(LEDGER, "keys", "namesake.pem"))
    assert vouch("party", "add", "other", "--role", "user", "--key", key, "--as", "team").returncode != 0
    assert vouch("party", "add", "other", "--role", "emperor", "--key", key, "--as", "clinic").returncode != 0
    assert entries() == before, "a refused party left entries"


def a_dataset_with_owners():
    ask("dataset", "create", "d1", "--header", CSV, "--subject-col", "person", "--label-col", "label", "--as", "clinic")
    assert ask("wallet", "new", "owners", "--owners", "6", "--simulated")["simulated"] is True
    keys = ask("wallet", "keys", "owners", "--dataset", "d1", "--persons", PERSONS)
    assert [k["person"] for k in keys] == [f"p{i}" for i in range(1, 7)]
    lines = expect(0, "wallet", "keys", "owners", "--dataset", "d1", "--persons", PERSONS).stdout
    assert lines.split("\n")[:-1] == [f"{k['person']},{k['key']}" for k in keys]
    owners = path("owners.csv", lines)
    assert ask("dataset", "add", "d1", CSV, "--owners", owners, "--as", "clinic")["rows"] == 6
    assert ask("dataset", "list")[0]["name"] == "d1" == ask("dataset", "show", "d1")["name"]
    assert len(ask("dataset", "versions", "d1")) == 1
    assert ask("dataset", "check", "d1")["rows"] == 6
    assert ask("wallet", "show", "owners")["owners"] == 6 and len(ask("wallet", "list")) == 1


def bad_csv_files_leave_nothing_behind():
    before = entries(), tree(os.path.join(LEDGER, "data"))
    for name, text in {"fewer columns": "person,a,label\np1,1,0\n", "a short row": f"{HEADER}\np1,1.5\n",
                       "an open quote": f'{HEADER}\n"p1,1,2,0\n', "no rows and no header": "",
                       "a person twice": f"{HEADER}\np1,1,2,0\np1,1,2,1\n"}.items():
        done = vouch("dataset", "add", "d1", path("bad.csv", text), "--as", "clinic")
        assert done.returncode not in (0, 8) and done.stderr.startswith("vouch: "), (name, done)
    error_of(6, "ERR_NOT_FOUND", "dataset", "add", "d1", path("none.csv"), "--as", "clinic")
    assert (entries(), tree(os.path.join(LEDGER, "data"))) == before
    assert ask("dataset", "check", "d1")["good"] is True


def a_changed_row_is_named():
    changed = path("changed.csv", open(CSV).read().replace("p3,3.5,2.3,1", "p3,3.5,2.3,0"))
    diff = ask("dataset", "diff", "d1", "file:" + changed)
    assert "p3" in json.dumps(diff["label changed"]) and not diff["added"], diff
    same = ask("dataset", "diff", "d1", "file:" + CSV)
    assert not any(same.values()), same


def terms_and_consents():
    document = {"title": "research", "effect": "permit", "recipients": ["team"], "purposes": [RESEARCH],
                "processings": [TRAINING]}
    ask("terms", "add", path("terms.json", json.dumps(document)), "--as", "clinic")
    assert ask("terms", "list")[0]["name"] == "research" == ask("terms", "show", "research")["name"]
    assert vouch("terms", "add", path("bad.json", '{"title": "x", "colour": "red"}'), "--as", "clinic").returncode == 1
    said = ask("consent", "give", "d1", "--terms", "research", "--until", "2090-01-01", *OWNERS, "--range", "1-5",
               "--as", "clinic")
    assert said["owners"] == 5
    assert len(ask("consent", "list", "d1")) == 5
    assert len(ask("consent", "show", "d1", "p2")) == 1
    error_of(6, "ERR_NOT_FOUND", "consent", "show", "d1", "nobody")


def consents_by_the_wrong_owner_or_twice_are_refused():
    give = ["consent", "give", "d1", "--terms", "research", "--until", "2090-01-01", "--wallet", "owners", "--as", "clinic"]
    before = entries()
    error_of(1, "ERR_KEY", *give, "--subject", "p6", "--owner", "1")
    # the owner's own signed statement, taken from the log and sent in again
    index = next(e["index"] for e in ask("log", "cat") if e["kind"] == "consent")
    fields = ask("log", "cat", str(index))["statements"][0]["fields"]
    error_of(7, "ERR_REPLAY", "log", "submit", "consent", path("replay.json", json.dumps(fields)), "--as", "clinic")
    fields["until"] += 1
    fields["serial"] += 1
    error_of(1, "ERR_SIGNATURE", "log", "submit", "consent", path("forged.json", json.dumps(fields)), "--as", "clinic")
    assert entries() == before


def paper_consents():
    paper = path("paper.csv", "p6,research,2090-01-01,give\n")
    assert ask("consent", "record", "d1", paper, "--as", "clinic")["recorded"] == 1
    assert len(ask("consent", "list", "d1")) == 6
    assert vouch("consent", "record", "d1", path("bad.csv", "p6,research,soon,give\n"), "--as", "clinic").returncode == 1


def access_is_permitted_or_denied():
    granted = ask(*REQUEST)
    assert granted["permit"] is True and granted["rows"] == 6
    denied = ask("access", "request", "d1", "--purpose", MARKETING, "--processing", TRAINING, "--as", "team", code=5)
    assert denied["permit"] is False and denied["rule"].startswith("deny/")
    fetched = path("fetched.csv")
    assert ask("access", "fetch", granted["object"], "--as", "team", "-o", fetched)["rows"] == 6
    assert len(open(fetched).readlines()) == 7
    assert vouch("access", "fetch", denied["object"], "--as", "team", "-o", path("no.csv")).returncode != 0
    assert not os.path.exists(path("no.csv")) or os.path.getsize(path("no.csv")) == 0
    assert len(ask("access", "list")) == 2
    assert ask("access", "show", granted["object"])["rows"] == 6
    done = vouch("--json", "access", "request", "d1", "--purpose", RESEARCH, "--processing", TRAINING, "--as", "stranger")
    assert done.returncode == 6 and "stranger" in done.stderr, done


def a_person_reads_its_own_rows():
    own = ["access", "own", "d1", "--wallet", "owners", "--as", "team"]
    mine = path("mine.csv")
    read = ask(*own, "--persons", PERSONS, "--range", "2-2", "-o", mine)
    assert read["permit"] is True and read["rule"] == "permit/own" and read["rows fetched"] == 1
    assert open(mine).read() == "\n".join([HEADER.split(",", 1)[1], ROWS[1].split(",", 1)[1]]) + "\n"
    label = path("label.csv")
    assert ask(*own, "--subject", "p3", "--owner", "3", "--group", "label", "-o", label)["rows"] == 1
    assert open(label).read() == "label\n" + ROWS[2].rsplit(",", 1)[1] + "\n"
    listed = ask("access", "list")
    assert [bool(g.get("own")) for g in listed] == [False, False, True, True], listed
    shown = ask("access", "show", read["object"])
    assert shown["own"] is True and shown["rows"] == 1 and "party" not in shown and "subject" not in shown
    said = ask("log", "cat", str(read["index"]))
    assert said["kind"] == "own-access" and said["statements"][0]["fields"]["subject"] == 1
    assert len(ask("consent", "list", "d1")) == 6, "what was consented to stays"
    before = entries()
    nothing = path("nothing.csv")
    error_of(7, "ERR_REPLAY", "log", "submit", "own-access",
             path("replay.json", json.dumps(said["statements"][0]["fields"])), "--as", "clinic")
    error_of(1, "ERR_KEY", *own, "--subject", "p3", "--owner", "2", "-o", nothing)
    error_of(7, "ERR_CONFLICT", *own, "--subject", "p3", "--owner", "3", "-o", mine)
    error_of(2, "ERR_USAGE", *own, "--persons", PERSONS, "--range", "2-3", "-o", nothing)
    error_of(2, "ERR_USAGE", *own, "--subject", "p3", "--owner", "3")
    error_of(6, "ERR_NOT_FOUND", *own, "--subject", "p3", "--owner", "3", "--group", "colour", "-o", nothing)
    error_of(6, "ERR_NOT_FOUND", *own, "--subject", "nobody", "-o", nothing)
    error_of(5, "ERR_ROLE", "access", "fetch", read["object"], "--as", "team", "-o", nothing)
    error_of(5, "ERR_ROLE", "run", "exec", "--grant", read["object"], "--name", "m0", "--as", "team", "--", "true")
    assert "own access" in error_of(1, "ERR_UNSUPPORTED", "bundle", "make", "access", read["object"], "-o", nothing)["text"]
    assert entries() == before and not os.path.exists(nothing)
    assert ask("check")["good"] is True


def a_run_a_model_a_deployment():
    grant = ask(*REQUEST)["object"]
    run = ask("run", "exec", "--grant", grant, "--name", "m1", "--seed", "7", "--holdout", "2", "--work", path("work"),
              "--as", "team", "--", "/bin/sh", "-c", 'cp "$VOUCH_IN/train.csv" "$VOUCH_OUT/model.csv"')
    assert run["rows"] == 4 and run["held out"] == 2 and run["exit"] == 0
    assert ask("run", "list")[0]["status"] == "completed"
    assert ask("run", "show", run["run"])["rows"] == 4
    assert ask("model", "list")[0]["name"] == "m1" == ask("model", "show", "m1")["name"]
    ask("model", "add", "bought", "--digest", "ab" * 32, "--as", "team")
    assert ask("model", "show", "bought")["proven"] is False
    ask("deployment", "add", "m1", "ward", "--as", "team")
    assert ask("deployment", "list")[0]["name"] == "ward"
    failed = ask("run", "exec", "--grant", grant, "--name", "m2", "--as", "team", "--", "/bin/false", code=1)
    assert failed["exit"] == 1 and "model" not in failed
    assert ask("run", "list")[1]["status"] == "failed"


def decisions_and_their_trace():
    lines = "".join(json.dumps({"input": {"a": i}, "output": i % 2, "reasons": ["a"]}) + "\n" for i in range(10))
    assert ask("decision", "log", "ward", path("d.jsonl", lines), "--as", "team")["count"] == 10
    before = entries()
    assert vouch("decision", "log", "ward", path("bad.jsonl", '{"input": 1}\nnonsense\n'), "--as", "team").returncode == 1
    assert entries() == before
    assert ask("decision", "list")[0]["count"] == 10
    assert ask("decision", "show", "ward/3")["sequence"] == 3
    traced = ask("decision", "trace", "ward/3")
    assert traced["decision"]["verified"] is True and traced["verdict"]["status"] == "OK"
    fine = expect(0, "decision", "trace", "ward/3").stdout
    assert "└─ ✔ " in fine and "✘" not in fine and "consent" in fine
    plain = expect(0, "decision", "trace", "ward/3", env={"LC_ALL": "C"}).stdout
    assert plain.isascii() and "`- ok " in plain
    error_of(6, "ERR_NOT_FOUND", "decision", "show", "ward/99")


def bundles_are_judged():
    trust = os.path.join(LEDGER, "trust.policy")
    bundle = path("b.bundle")
    ask("bundle", "make", "decision", "ward/3", "-o", bundle)
    report = ask("verify", bundle, "--trust", trust)
    assert report["status"] == "OK" and report["time source"] == "the operator's clock"
    assert len(report["list"]) > 3 and all(link["code"] == "OK" for link in report["list"])
    shown = ask("bundle", "show", bundle)
    assert [c["type"] for c in shown["claims"]] == ["decision"] and shown["decisions"][0]["number"] == 3
    assert {"access", "outcome", "run", "model", "decisions", "state-commit"} <= {e["kind"] for e in shown["entries"]}
    assert shown["checkpoints"][-1]["size"] == report["log size"] and shown["checkpoints"][-1]["signers"]
    assert shown["salts"] == len(shown["statements"]) + len(shown["decisions"])
    text = expect(0, "bundle", "show", bundle)
    assert "not verified" in text.stderr and f"salts              {shown['salts']}" in text.stdout, text
    cut = path("cut.bundle")
    with open(bundle, "rb") as whole, open(cut, "wb") as part:
        part.write(whole.read()[:-1])
    assert error_of(3, "ERR_COMMITMENT", "bundle", "show", cut)["text"].startswith("this is no bundle, or a damaged one")
    done = expect(3, "bundle", "show", cut)
    assert not done.stdout and done.stderr.count("\n") == 1, done
    error_of(3, "ERR_COMMITMENT", "bundle", "show", trust)
    error_of(6, "ERR_NOT_FOUND", "bundle", "show", path("no.bundle"))
    assert ask("verify", bundle, "--trust", trust, "--as-of", "2090-01-01", code=4)["code"] == "I-STALE"
    other = os.path.join(SCRATCH, "other")
    expect(0, "init", other, "--operator", "clinic", "--origin", "other.example/ledger")
    assert ask("verify", bundle, "--trust", os.path.join(other, "trust.policy"), code=4)["code"] == "I-LOG"
    data = bytearray(open(bundle, "rb").read())
    data[len(data) // 2] ^= 1
    damaged = path("damaged.bundle")
    with open(damaged, "wb") as file:
        file.write(data)
    assert ask("verify", damaged, "--trust", trust, code=3)["status"] == "FAIL"
    error_of(1, "ERR_FORMAT", "verify", bundle, "--trust", path("nonsense.policy", "believe everybody\n"))
    error_of(6, "ERR_NOT_FOUND", "verify", path("no.bundle"), "--trust", trust)
    error_of(6, "ERR_NOT_FOUND", "bundle", "make", "lineage", "nothing", "-o", path("n.bundle"))


def receipt_of(index, origin, by_ms, key, promised=None):
    """A receipt made here, from docs/formats/receipt.md and the log's key."""
    entry = ask("log", "cat", str(promised or index))["id"]
    root = hashlib.sha256(b"\0" + bytes.fromhex(entry) + index.to_bytes(8, "big")).digest()
    network = ask("status")["network"]
    text = f"vouchsafe/receipt/v1\n{origin}\n{network}\n1\n{base64.b64encode(root).decode()}\nby {by_ms}\n"
    done = subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", path("to-sign", text)],
                          capture_output=True, check=True)
    line = next(line for line in open(os.path.join(LEDGER, "trust.policy")) if line.startswith("log "))
    known = bytes.fromhex(line.split("+")[1])
    signature = base64.b64encode(known + done.stdout).decode()
    return path(f"receipt-{index}", f"vouchsafe-receipt@v1\nentry {entry}\nindex {index}\nposition 0\n\n"
                                    f"{text}\n\u2014 {origin} {signature}\n")


def receipts_are_judged():
    trust = os.path.join(LEDGER, "trust.policy")
    origin, key = ask("status")["origin"], os.path.join(LEDGER, "keys", "log.pem")
    receipt, proof, other = receipt_of(2, origin, 1700000000000, key), path("two.tlog-proof"), path("four.tlog-proof")
    assert ask("verify", receipt, "--trust", trust, code=4)["code"] == "I-MISSING"
    for index, name in ((2, proof), (4, other)):
        expect(0, "log", "prove", "inclusion", str(index), "-o", name)
    kept = ask("verify", receipt, "--trust", trust, "--against", proof)
    assert kept["status"] == "OK" and kept["promised by ms"] == 1700000000000 and "stands at 2 of" in kept["claim"]
    assert ask("verify", receipt, "--trust", trust, "--against", other, code=4)["code"] == "I-MISSING"
    text = open(receipt, encoding="utf-8").read()
    suppressed = receipt_of(4, origin, 1700000000000, key, promised=2)  # what stands there isn't what was promised
    assert ask("verify", suppressed, "--trust", trust, "--against", other, code=3)["code"] == "F-PROMISE"
    moved = path("moved", text.replace("index 2", "index 4"))
    assert ask("verify", moved, "--trust", trust, "--against", other, code=3)["code"] == "F-RECEIPT"
    stranger = receipt_of(2, origin, 1700000000000, os.path.join(LEDGER, "keys", "clinic.pem"))
    assert ask("verify", stranger, "--trust", trust, "--against", proof, code=3)["code"] == "F-RECEIPT"
    assert ask("verify", path("cut", text[:200]), "--trust", trust, code=3)["code"] == "F-FORMAT"
    error_of(2, "ERR_USAGE", "verify", trust, "--trust", trust, "--against", proof)


def a_withdrawal_is_felt():
    assert ask("model", "affected") == []
    trained = [row.split(",")[0] for row in open(os.path.join(path("work"), "out", "model.csv")).readlines()[1:]]
    person = f"p{int(float(trained[0]))}"
    if person == "p6":
        person = f"p{int(float(trained[1]))}"
    ask("consent", "withdraw", "d1", *OWNERS, "--subject", person, "--as", "clinic")
    assert ask(*REQUEST)["rows"] == 5
    affected = ask("model", "affected")
    assert [m["name"] for m in affected] == ["m1"] and affected[0]["remedied"] is False
    ask("model", "remedy", "m1", "--action", "retired", "--reference", "ticket 1", "--as", "team")
    assert all(m["remedied"] for m in ask("model", "affected"))
    ask("deployment", "end", "ward", "--reason", "withdrawn-consent", "--as", "team")
    assert vouch("decision", "log", "ward", path("d.jsonl"), "--as", "team").returncode != 0


def log_and_state():
    assert "checkpoint" in ask("log", "head")
    assert ask("log", "cat", "0")["kind"] == "genesis"
    covered.add("log export")
    exported = [json.loads(line) for line in expect(0, "log", "export").stdout.splitlines()]
    assert [e["index"] for e in exported] == list(range(entries()))
    assert "proof" in ask("log", "prove", "inclusion", "0")
    assert ask("log", "prove", "consistency", "2", str(entries()))["size1"] == 2
    assert ask("state", "get", "g")["present"] is True
    assert ask("state", "get", "d:" + "00" * 32)["present"] is False
    assert "siblings" in ask("state", "prove", "g")
    assert ask("config", "show")["ledger.block_ms"] == "100"
    with open(os.path.join(LEDGER, "vouch.conf"), "a") as conf:
        conf.write("# edited by hand\n")
    named = vouch("check", "--json")
    assert named.returncode != 0 and [f["file"] for f in json.loads(named.stdout)["list"]] == ["vouch.conf"]
    assert ask("config", "accept")["accepted"] is True
    assert ask("check")["good"] is True
    party = {"name": "json", "roles": ["auditor"], "keys": [ask("id", "new", "json")["multicodec"]]}
    ask("log", "submit", "party", path("party.json", json.dumps(party)), "--as", "clinic")
    error_of(6, "ERR_NOT_FOUND", "log", "cat", "100000")
    assert vouch("log", "submit", "signed", path("party.json")).returncode not in (0, 2)


def keys_are_rotated_and_revoked():
    ask("id", "new", "team2")
    ask("party", "rotate", "team", "--key", "team2", "--as", "team")
    assert vouch(*REQUEST).returncode != 0, "the old key still signs"
    assert ask(*REQUEST[:-1], "team2")["rows"] == 5
    error_of(2, "ERR_USAGE", "party", "revoke", "team", "--key", "team2", "--as", "clinic")
    ask("party", "revoke", "team", "--key", "team2", "--reason", "compromised", "--yes", "--as", "clinic")
    error_of(1, "ERR_KEY", *REQUEST[:-1], "team2")
    secret = path("secret", "correct horse\n")
    expect(0, "--passphrase-file", secret, "id", "new", "locked")
    expect(0, "--passphrase-file", secret, "id", "show", "locked")
    assert vouch("id", "show", "locked").returncode == 1
    assert vouch("--passphrase-file", path("wrong", "x\n"), "id", "show", "locked").returncode == 1


def tokens_are_shown_once():
    made = ask("token", "new", "scraper", "--scope", "read", "--days", "7")
    assert len(made["token"]) == 43 and made["days"] == 7
    listed = vouch("--json", "token", "list").stdout
    assert made["token"] not in listed and [t["name"] for t in json.loads(listed)] == ["scraper"]
    with open(os.path.join(LEDGER, "tokens"), encoding="utf-8") as file:
        text = file.read()
    assert made["token"] not in text and hashlib.sha256(made["token"].encode()).hexdigest() in text
    assert os.stat(os.path.join(LEDGER, "tokens")).st_mode & 0o777 == 0o600
    error_of(7, "ERR_CONFLICT", "token", "new", "scraper", "--scope", "read")
    error_of(2, "ERR_USAGE", "token", "new", "x", "--scope", "everything")
    error_of(2, "ERR_USAGE", "token", "new", "../x", "--scope", "read")
    error_of(2, "ERR_USAGE", "token", "new", "x")
    assert ask("token", "revoke", "scraper")["revoked"] is True
    assert ask("token", "list") == []
    error_of(6, "ERR_NOT_FOUND", "token", "revoke", "scraper")


def usage_errors_exit_2():
    for args in (["nothing"], ["dataset"], ["dataset", "destroy"], ["dataset", "add", "d1"], ["status", "more"],
                 ["status", "--nothing"], ["verify", "x"], ["init", "--operator"], ["status", "--json=1"],
                 ["run", "exec", "--name", "n", "--grant", "g"], ["status", "--", "x"],
                 ["consent", "give", "d1", "--terms", "t", "--until", "2027-02-29", *OWNERS, "--all", "--as", "clinic"],
                 ["consent", "give", "d1", "--terms", "t", "--until", "2027-02-28", *OWNERS, "--range", "2-900", "--as",
                  "clinic"],
                 ["wallet", "new", "w", "--owners", "2"], ["run", "exec", "--holdout", "-1", "--", "true"],
                 ["log", "prove", "nothing", "1", "--as", "clinic"], ["state", "get", "xyz"], ["-C"]):
        done = vouch(*args)
        assert done.returncode == 2, (args, done)
        assert not done.stdout and "\n  hint: " in done.stderr, (args, done)
    assert subprocess.run([VOUCH], capture_output=True, env=ENV).returncode == 2


def not_found_exits_6():
    error_of(6, "ERR_NOT_FOUND", "status", ledger=path("no-ledger"))
    for args in (["party", "show", "x"], ["dataset", "show", "x"], ["dataset", "check", "x"], ["terms", "show", "x"],
                 ["model", "show", "x"], ["run", "show", "12345678"], ["access", "show", "12345678"],
                 ["deployment", "end", "x", "--as", "clinic"], ["id", "show", "x"]):
        error_of(6, "ERR_NOT_FOUND", *args)


def reading_works_on_a_read_only_directory_and_writes_nothing():
    at = copy("read-only")
    before = tree(at)
    root = os.geteuid() == 0
    for folder, _, names in os.walk(at):
        os.chmod(folder, 0o555)
        for name in names:
            secret = os.path.basename(folder) in ("keys", "custody")
            os.chmod(os.path.join(folder, name), 0o400 if secret else 0o444)
    more = {"user": 65534, "group": 65534, "extra_groups": []} if root else {}
    for args in (["status"], ["party", "list"], ["log", "cat"], ["model", "list"], ["dataset", "versions", "d1"],
                 ["consent", "list", "d1"], ["state", "prove", "g"], ["config", "show"]):
        done = vouch("--json", *args, ledger=at, **more)
        assert done.returncode == 0, (args, done)
        json.loads(done.stdout)
    assert vouch("id", "new", "x", ledger=at, **more).returncode not in (0, 8)
    assert tree(at) == before


def damage_exits_8_and_derived_files_are_rebuilt():
    at = copy("damaged")
    os.remove(os.path.join(at, "state", "data.mdb"))
    expect(0, "check", "--repair", ledger=at)
    assert ask("status", ledger=at)["entries"] == entries()
    segment = os.path.join(at, "log", "seg", sorted(os.listdir(os.path.join(at, "log", "seg")))[0])
    with open(segment, "r+b") as file:
        file.seek(3000)
        byte = file.read(1)[0]
        file.seek(3000)
        file.write(bytes([byte ^ 1]))
    done = expect(8, "--json", "check", ledger=at)
    found = json.loads(done.stdout)
    assert found["good"] is False and any(f["file"].startswith("log/seg/") and "entry" in f for f in found["list"]), found
    assert json.loads(done.stderr)["error"]["exit"] == 8


def a_full_disk_under_stdout_is_noticed():
    with open("/dev/full", "w") as full:
        done = subprocess.run([VOUCH, "-C", LEDGER, "status"], stdout=full, stderr=subprocess.PIPE, env=ENV)
    assert done.returncode == 1 and b"stdout" in done.stderr, done


def a_backup_and_back():
    at, back = path("backup"), path("back")
    assert ask("backup", "make", at)["entries"] == entries() and ask("backup", "check", at)["good"] is True
    assert ask("backup", "restore", at, back)["entries"] == entries(back)
    assert ask("doctor")["list"]
    assert ask("log", "mirror", LEDGER, "--trust", os.path.join(LEDGER, "trust.policy"), ledger=path("mirror"))["entries"]


def a_witness():
    at = path("witness")
    assert ask("witness", "init", at, "--name", "w.example")["name"] == ask("witness", "show", at)["name"] == "w.example"
    assert ask("log", "cosign")["quorum"] is True  # nobody is asked for
    process = subprocess.Popen([VOUCH, "--json", "witness", "serve", at, "--listen", "127.0.0.1:0"], text=True, env=ENV,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    covered.add("witness serve")
    assert json.loads(process.stdout.readline())["listening"].startswith("127.0.0.1:")
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()


def on_terminal(*args):
    """What a command writes to stderr when that is a terminal; it must succeed."""
    master, slave = pty.openpty()
    process = subprocess.Popen([VOUCH, "-C", LEDGER, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=slave, env={**ENV, "NO_COLOR": "1"})
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait() == 0, (args, shown)
    return shown.decode()


def progress_is_for_terminals():
    rows = [f"q{i},{i},{i % 2}" for i in range(20000)]
    file = path("many.csv", "\n".join(["person,a,label", *rows]) + "\n")
    for name in ("seen", "quiet", "json", "piped"):
        ask("dataset", "create", name, "--header", file, "--subject-col", "person", "--label-col", "label", "--as", "clinic")
    shown = on_terminal("dataset", "add", "seen", file, "--as", "clinic")
    assert "8192 rows, 37 %" in shown and "20000 rows, 100 %" in shown, shown
    assert shown.endswith("\r") and not shown.rstrip("\r").rsplit("\r", 1)[1].strip(), repr(shown)  # nothing stays
    assert "\x1b" not in shown
    assert on_terminal("--quiet", "dataset", "add", "quiet", file, "--as", "clinic") == ""
    assert on_terminal("--json", "dataset", "add", "json", file, "--as", "clinic") == ""
    assert "rows" not in expect(0, "dataset", "add", "piped", file, "--as", "clinic").stderr


def serving_says_where_it_listens():
    covered.add("serve")
    with subprocess.Popen([VOUCH, "-C", LEDGER, "--json", "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, env=ENV) as server:
        assert json.loads(server.stdout.readline())["listening"].startswith("127.0.0.1:")
        server.terminate()
        assert server.wait(60) == 0
    error_of(2, "ERR_USAGE", "serve", "--log-level", "loud")


def the_vault():
    assert "vault up" in error_of(6, "ERR_NOT_FOUND", "vault", "status")["hint"]
    ask("id", "new", "vault-team")
    ask("party", "add", "vault-team", "--role", "user", "--as", "clinic")
    error_of(5, "ERR_ROLE", "vault", "up", "--as", "vault-team")
    up = ask("vault", "up", "--as", "clinic")
    assert [t["here"] for t in up["trustees"] + up["storage"]] == [True] * 6 and up["threshold"] == up["data"] == 2
    before = entries()
    assert ask("vault", "up", "--as", "clinic") == up and entries() == before
    rows = path("vaulted.csv", "person,secret,label\n" + "".join(f"v{i},hush-{i},{i % 2}\n" for i in range(9)))
    ask("dataset", "create", "d9", "--header", rows, "--subject-col", "person", "--label-col", "label", "--as", "clinic")
    assert ask("dataset", "add", "d9", rows, "--as", "clinic")["added"] == 9
    document = {"title": "vault-research", "effect": "permit", "recipients": [], "purposes": [RESEARCH],
                "processings": [TRAINING]}
    ask("terms", "add", path("vault-terms.json", json.dumps(document)), "--as", "clinic")
    paper = path("vaulted-consents.csv", "".join(f"v{i},vault-research,2090-01-01,give\n" for i in range(7)))
    assert ask("consent", "record", "d9", paper, "--as", "clinic")["recorded"] == 7
    grant = ask("access", "request", "d9", "--purpose", RESEARCH, "--processing", TRAINING, "--as", "vault-team")["object"]
    lost = path("lost-storage")
    os.rename(os.path.join(LEDGER, "vault", "storage-2"), lost)
    status = ask("vault", "status")
    assert [s["here"] for s in status["storage"]] == [True, False, True] and "key.pem" in status["storage"][1]["why"]
    fetched = path("vaulted-out.csv")
    assert ask("access", "fetch", grant, "--as", "vault-team", "-o", fetched)["rows"] == 7
    assert open(fetched).read() == "secret,label\n" + "".join(f"hush-{i},{i % 2}\n" for i in range(7))
    more = path("vaulted-more.csv", open(rows).read() + "v10,hush-10,0\n")
    assert "storage node 2 is gone" in error_of(9, "ERR_UNREACHABLE", "dataset", "add", "d9", more, "--as", "clinic")["text"]
    os.rename(lost, os.path.join(LEDGER, "vault", "storage-2"))
    assert ask("dataset", "add", "d9", more, "--as", "clinic")["added"] == 1
    whole = ask("storage", "audit")
    assert [(n["here"], n["shards"], n["missing"], n["damaged"]) for n in whole] == [(True, 2, 0, 0)] * 3, whole
    shards = os.path.join(LEDGER, "vault", "storage-1", "shards")
    first, second = sorted(os.listdir(shards))
    kept = open(os.path.join(shards, first), "rb").read()
    os.remove(os.path.join(shards, first))
    with open(os.path.join(shards, second), "r+b") as file:
        file.seek(20)
        old = file.read(1)[0]
        file.seek(20)
        file.write(bytes([old ^ 4]))
    hurt = ask("storage", "audit")
    assert (hurt[0]["missing"], hurt[0]["damaged"]) == (1, 1) and hurt[1:] == whole[1:], hurt
    assert ask("storage", "repair", "1")["repaired"] == 2 and ask("storage", "repair", "1")["repaired"] == 0
    assert ask("storage", "audit") == whole and open(os.path.join(shards, first), "rb").read() == kept
    error_of(2, "ERR_USAGE", "storage", "repair", "none")
    assert [n["proved"] for n in ask("storage", "audit", "--challenges", "4")] == [8, 8, 8]
    error_of(2, "ERR_USAGE", "storage", "audit", "--challenges", "0")
    assert ask("blame", "list") == []
    error_of(1, "ERR_FORMAT", "blame", "verify", path("no.blame", "no proof"))
    error_of(1, "ERR_FORMAT", "vault", "withdraw", path("no.blame"))
    covered.update(["blame verify", "vault withdraw"])  # of real ones: served_vault_test.py
    error_of(6, "ERR_NOT_FOUND", "storage", "repair", "4")
    a_root_key_under_a_passphrase(grant)
    backup = path("vaulted-backup")
    ask("backup", "make", backup)
    assert sorted(os.listdir(os.path.join(backup, "vault"))) == ["storage-1", "storage-2", "storage-3"]
    assert [name for _, _, names in os.walk(os.path.join(backup, "vault")) for name in names if not name.endswith(".shard")] == []
    shutil.rmtree(backup)
    said = ask("erasure", "request", "d9", "--subject", "v3", "--as", "clinic")
    assert said["owners"] == 1 and said["signed by"] == "the custodian"
    error_of(6, "ERR_NOT_FOUND", "erasure", "request", "d9", "--subject", "v3", "--as", "clinic")
    error_of(5, "ERR_ROLE", "erasure", "request", "d9", "--subject", "v4", "--as", "vault-team")
    done = ask("erasure", "status", "d9")
    assert len(done) == 1 and done[0]["subject"] == 3 and done[0]["state"] == "complete", done
    assert [e["destroyed by"] for e in done[0]["extents"]] == [3]
    certificate = path("v3.erasure")
    ask("bundle", "make", "erasure", said["entry"], "-o", certificate)
    shown = ask("bundle", "show", certificate)["claims"][0]
    assert (shown["subjects"], shown["extents"], shown["state"], shown["grade"]) == ([3], [0], "complete", "B"), shown
    judged = ask("verify", certificate, "--trust", os.path.join(LEDGER, "trust.policy"))
    assert judged["status"] == "OK" and "on the custodian's word: complete, grade B" in judged["claim"], judged
    assert sum("signed that it destroyed" in link["link"] for link in judged["list"]) == 3, judged
    with open(certificate, "rb") as file:
        data = bytearray(file.read())
    data[len(data) // 2] ^= 1
    with open(certificate, "wb") as file:
        file.write(data)
    assert ask("verify", certificate, "--trust", os.path.join(LEDGER, "trust.policy"), code=3)["status"] == "FAIL"
    error_of(6, "ERR_NOT_FOUND", "bundle", "make", "erasure", "d9/4", "-o", certificate)
    assert ask("access", "fetch", grant, "--as", "vault-team", "-o", path("less.csv"))["rows"] == 6
    for root, _, files in os.walk(LEDGER):
        for name in files:
            with open(os.path.join(root, name), "rb") as file:
                assert b"hush-" not in file.read(), os.path.join(root, name)


def a_role_of_the_vault(role, *more):
    at = path("role-" + role)
    made = ask(role, "init", at, "--listen", "127.0.0.1:7199", *more)
    assert len(made["key id"]) == 64 and made["url"] == "https://127.0.0.1:7199#" + made["key id"]
    assert ask(role, "status", at) == made
    assert "holds one role" in error_of(7, "ERR_CONFLICT", role, "init", at, *more)["hint"]
    assert os.stat(os.path.join(at, "key.pem")).st_mode & 0o77 == 0
    process = subprocess.Popen([VOUCH, "--json", role, "serve", at, "--listen", "127.0.0.1:0"], text=True, env=ENV,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    covered.add(role + " serve")
    assert json.loads(process.stdout.readline())["listening"].startswith("127.0.0.1:")
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()
    conf = os.path.join(at, role + ".conf")
    with open(conf, "a") as file:
        file.write("colour = blue\n")
    error = error_of(1, "ERR_FORMAT", role, "status", at)
    assert role + ".conf, line" in error["text"] and "colour" in error["text"], error
    assert role + " init" in error_of(6, "ERR_NOT_FOUND", role, "serve", path("nowhere"))["hint"]


def roles_of_the_vault():
    policy = os.path.join(LEDGER, "trust.policy")
    a_role_of_the_vault("trustee", "--follow", "unix:" + path("nobody.sock"), "--trust", policy)
    a_role_of_the_vault("storage", "--writer", ask("id", "show", "clinic")["key id"])
    error_of(2, "ERR_USAGE", "trustee", "init", path("none"), "--trust", policy)
    error_of(6, "ERR_NOT_FOUND", "trustee", "init", path("none"), "--follow", "unix:/x", "--trust", path("no-policy"))
    error_of(2, "ERR_USAGE", "storage", "init", path("none"))
    error_of(2, "ERR_USAGE", "storage", "init", path("none"), "--writer", "clinic")
    conf = os.path.join(LEDGER, "vouch.conf")
    with open(conf) as file:
        before = file.read()
    for line, what in (("trustee.0 = x", "unknown key"), ("trustee.36 = x", "unknown key"), ("storage.17 = x", "unknown key"),
                       ("mode = nowhere", "embedded, served or none")):
        with open(conf, "w") as file:
            file.write(before + "\n[vault]\n" + line + "\n")
        assert what in error_of(1, "ERR_FORMAT", "config", "accept")["text"]
    for more, what in (("", "trustee.1 is missing"), ("trustee.1 = https://x\n", "not URL#KEYID")):
        with open(conf, "w") as file:
            file.write(before + "\n[vault]\nmode = served\n" + more)
        expect(0, "config", "accept")
        assert what in json.loads(vouch("--json", "vault", "status").stderr)["error"]["text"]
    with open(conf, "w") as file:
        file.write(before)
    expect(0, "config", "accept")


def a_root_key_under_a_passphrase(grant):
    folder = os.path.join(LEDGER, "vault", "trustee-1")
    secret = path("phrase", "correct horse\n")
    os.chmod(secret, 0o600)
    error_of(6, "ERR_NOT_FOUND", "trustee", "rewrap", "1")
    error_of(6, "ERR_NOT_FOUND", "trustee", "rewrap", "7", "--guard", "file")
    error_of(2, "ERR_USAGE", "trustee", "rewrap", "1", "--secret-file", secret)
    assert "must be file, passphrase or token" in error_of(1, "ERR_FORMAT", "trustee", "rewrap", "1", "--guard", "x")["text"]
    done = ask("trustee", "rewrap", "1", "--guard", "passphrase", "--secret-file", secret)
    assert (done["was"], done["now"], done["extents"], done["of grade A"]) == ("file", "passphrase", 2, 0), done
    assert ask("access", "fetch", grant, "--as", "vault-team", "-o", path("wrapped.csv"))["rows"] == 7
    os.chmod(secret, 0o604)
    status = ask("vault", "status")["trustees"]
    assert [t["here"] for t in status] == [False, True, True] and "others can read it" in status[0]["why"], status
    os.chmod(secret, 0o600)
    with open(os.path.join(folder, "guard.conf.new"), "w") as file:
        file.write("guard = file\n")
    os.chmod(file.name, 0o600)
    assert ask("trustee", "rewrap", folder)["now"] == "file"
    assert not os.path.exists(file.name) and open(os.path.join(folder, "guard.conf")).read() == "guard = file\n"
    assert all(t["here"] for t in ask("vault", "status")["trustees"])


def texts_are_those_of_the_table():
    for args, name in ((["help", "--man"], "docs/man/vouch.1"), (["completion"], "completions/vouch.bash")):
        with open(os.path.join(ROOT, name)) as file:
            assert vouch(*args).stdout == file.read(), f"{name} is old: vouch {' '.join(args)} > {name}"
    assert subprocess.run(["bash", "-n", os.path.join(ROOT, "completions", "vouch.bash")]).returncode == 0
    version = ask("version")["version"]
    assert expect(0, "--version").stdout == f"vouch {version}\n"


def every_command_has_help_and_was_asked_for_json():
    table = ask("help")
    names = [" ".join(filter(None, (c["noun"], c["verb"]))) for c in table]
    for command, name in zip(table, names):
        text = expect(0, *name.split(), "--help").stdout
        assert text.startswith(f"usage: vouch {name}") and all("--" + o["name"] in text for o in command["options"])
    bare = {args.split(" ")[0] for args in covered}
    missing = [n for n in names if n not in covered and not (" " not in n and n in bare)]
    assert missing == ["completion"], missing


def completion_offers_what_the_table_has():
    script = f"source {ROOT}/completions/vouch.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _vouch; echo ${{COMPREPLY[@]}}"

    def complete(*words):
        return subprocess.run(["bash", "-c", script, "bash", "vouch", *words], capture_output=True, text=True).stdout.split()

    assert complete("da") == ["dataset"]
    assert complete("-C", "x", "dataset", "c") == ["create", "check"]
    assert "--label-col" in complete("dataset", "create", "--la")
    assert complete("dataset", "nothing-like-it") == []


def is_test(f):
    """Defined here and without arguments."""
    return callable(f) and f.__module__ == __name__ and f.__code__.co_argcount == 0 and not f.__code__.co_flags & 0x04


if __name__ == "__main__":
    sys.exit(run([f for name, f in list(globals().items()) if name != "is_test" and is_test(f)]))
