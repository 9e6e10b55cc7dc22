# SPDX-License-Identifier: Apache-2.0
"""The same commands in a ledger's directory and through `vouch serve`: equal
answers, submissions over a node that is killed, two faces of one log, TLS.

usage: node_test.py VOUCH"""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from harness import (ENV, LEDGER, MARKETING, RESEARCH, SCRATCH, TRAINING, VOUCH, ask, entries, expect, path, run, vouch)

SOCKET = os.path.join(SCRATCH, "node.sock")
NODE = "unix:" + SOCKET
MEMORY = os.path.join(SCRATCH, "state")
KEYS = os.path.join(LEDGER, "keys")
TRUST = os.path.join(LEDGER, "trust.policy")
NODE_ENV = {**ENV, "XDG_STATE_HOME": MEMORY, "XDG_CONFIG_HOME": os.path.join(SCRATCH, "config")}
SERVING = {}


# ---- the node ------------------------------------------------------------------------


def answers(address):
    kind, where = (socket.AF_UNIX, address[5:]) if address.startswith("unix:") else (
        socket.AF_INET, ("127.0.0.1", int(address.rsplit(":", 1)[1])))
    with socket.socket(kind) as s:
        try:
            s.connect(where)
            return True
        except OSError:
            return False


def serve(ledger=LEDGER, listen=NODE, *more):
    """Starts a node and waits until it takes connections."""
    log = open(path("serve.log"), "a")
    server = subprocess.Popen([VOUCH, "-C", ledger, "serve", "--listen", listen, *more], stdout=subprocess.PIPE,
                              stderr=log, text=True, env=ENV)
    line = server.stdout.readline()
    assert "listening on" in line, (line, open(path("serve.log")).read()[-500:])
    SERVING[server.pid] = server
    server.address = line.split("listening on ")[1].strip()
    return server


def stop(server, how=signal.SIGTERM):
    server.send_signal(how)
    server.wait(timeout=60)
    server.stdout.close()
    del SERVING[server.pid]


def node(*args, url=NODE, env=None, who=True):
    mine = ["--keys-dir", KEYS] + (["--as", "clinic"] if who and "--as" not in args else [])
    return subprocess.run([VOUCH, "--node", url, *mine, *args], capture_output=True, text=True,
                          env={**NODE_ENV, **(env or {})}, stdin=subprocess.DEVNULL, timeout=120)


def through(*args, code=0, **more):
    done = node("--json", *args, **more)
    assert done.returncode == code, f"{args}: {done.returncode}, not {code}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout or done.stderr)


def model(name, folder=SCRATCH):
    at = os.path.join(folder, f"{name}.json")
    with open(at, "w") as file:
        json.dump({"name": name, "digest": name.encode().hex().rjust(64, "0")[-64:]}, file)
    return at


# ---- a ledger with something of everything -------------------------------------------------

ROWS = [f"p{i},{i}.5,2.{i},{i % 2}" for i in range(1, 9)]
CSV = path("rows.csv", "person,a,b,label\n" + "\n".join(ROWS) + "\n")
PERSONS = path("persons.txt", "".join(f"p{i}\n" for i in range(1, 9)))
OWNERS = ["--wallet", "owners", "--persons", PERSONS]
REQUEST = ["access", "request", "d1", "--purpose", RESEARCH, "--processing", TRAINING, "--as", "team"]


def a_ledger_with_something_of_everything():
    ask("init", LEDGER, "--operator", "clinic", "--origin", "clinic.example/ledger")
    ask("id", "new", "team")
    ask("party", "add", "team", "--role", "user", "--as", "clinic")
    ask("dataset", "create", "d1", "--header", CSV, "--subject-col", "person", "--label-col", "label", "--as", "clinic")
    ask("wallet", "new", "owners", "--owners", "8", "--simulated")
    keys = expect(0, "wallet", "keys", "owners", "--dataset", "d1", "--persons", PERSONS).stdout
    ask("dataset", "add", "d1", CSV, "--owners", path("owners.csv", keys), "--as", "clinic")
    document = {"title": "research", "effect": "permit", "recipients": ["team"], "purposes": [RESEARCH],
                "processings": [TRAINING]}
    ask("terms", "add", path("terms.json", json.dumps(document)), "--as", "clinic")
    ask("consent", "give", "d1", "--terms", "research", "--until", "2090-01-01", *OWNERS, "--range", "1-6", "--as", "clinic")
    grant = ask(*REQUEST)["object"]
    ask("run", "exec", "--grant", grant, "--name", "m1", "--seed", "7", "--holdout", "1", "--as", "team", "--", "/bin/sh",
        "-c", 'cp "$VOUCH_IN/train.csv" "$VOUCH_OUT/model.csv"')
    ask("deployment", "add", "m1", "ward", "--as", "team")
    lines = "".join(json.dumps({"input": {"a": i}, "output": i % 2, "reasons": ["a"]}) + "\n" for i in range(5))
    ask("decision", "log", "ward", path("d.jsonl", lines), "--as", "team")
    ask("consent", "withdraw", "d1", *OWNERS, "--subject", "p1", "--as", "clinic")
    ask("log", "head")


# ---- the same answers ---------------------------------------------------------------------------

READS = [["party", "list"], ["party", "show", "team"], ["dataset", "list"], ["dataset", "show", "d1"],
         ["dataset", "versions", "d1"], ["terms", "list"], ["terms", "show", "research"], ["consent", "list", "d1"],
         ["consent", "show", "d1", "p2"], ["access", "list"], ["run", "list"], ["run", "show", "m1"], ["model", "list"],
         ["model", "show", "m1"], ["model", "affected"], ["deployment", "list"], ["decision", "list"],
         ["decision", "show", "ward/3"], ["decision", "trace", "ward/3"], ["log", "head"], ["log", "cat"],
         ["log", "cat", "0"], ["log", "cat", "1", "3"], ["log", "export"], ["log", "prove", "inclusion", "3"],
         ["log", "prove", "consistency", "2", "7"], ["state", "get", "g"], ["state", "prove", "g"],
         ["state", "get", "d:" + "00" * 32], ["id", "list"], ["id", "show", "team"], ["wallet", "list"],
         ["wallet", "keys", "owners", "--dataset", "d1", "--persons", PERSONS]]
REFUSED = [["party", "show", "x"], ["dataset", "versions", "x"], ["terms", "show", "x"], ["log", "cat", "100000"],
           ["consent", "show", "d1", "nobody"], ["decision", "show", "ward/99"], ["log", "prove", "consistency", "7", "2"],
           ["deployment", "end", "x"], ["access", "request", "d1", "--purpose", "x", "--processing", TRAINING],
           ["party", "add", "y", "--role", "emperor", "--key", "ed01" + "11" * 32]]


def every_answer_is_the_same_through_a_node():
    server = serve()
    for args in READS:
        for form in ([], ["--json"]):
            here, there = vouch(*form, "--as", "clinic", *args), node(*form, *args)
            assert here.returncode == 0, (args, here)
            assert there.returncode == 0 and here.stdout == there.stdout, (args, here, there)
    stop(server)


def status_says_the_same():
    server = serve()
    here, there = ask("status"), through("status")
    assert there.pop("node") == NODE and here.pop("directory") == LEDGER and "vault" in here.pop("rows")
    assert here == there, (here, there)
    stop(server)


def refusals_are_the_same_too():
    server = serve()
    for args in REFUSED:
        here, there = vouch("--json", "--as", "clinic", *args), node("--json", *args)
        assert here.returncode != 0 and here.returncode == there.returncode, (args, here, there)
        assert here.stderr == there.stderr and not there.stdout, (args, here.stderr, there.stderr)
    stop(server)


def what_needs_the_files_says_so():
    server = serve()
    before = entries()
    for args in (["dataset", "add", "d1", CSV], ["dataset", "check", "d1"], ["dataset", "diff", "d1", "d1"],
                 ["consent", "record", "d1", CSV], ["dataset", "create", "d2", "--header", CSV],
                 ["run", "exec", "--grant", "12345678", "--name", "x", "--", "true"]):
        done = node(*args)
        assert done.returncode == 1 and "where the ledger is" in done.stderr, (args, done)
    assert node("access", "fetch", "12345678", "-o", path("no.csv")).returncode == 6  # no such grant
    assert entries() == before and not os.path.exists(path("no.csv"))
    stop(server)


# ---- writing ------------------------------------------------------------------------------------------


def everything_is_written_through_a_node():
    server = serve()
    key = through("id", "new", "other")["multicodec"]
    through("party", "add", "other", "--role", "user")
    assert ask("party", "show", "other")["keys"][0]["multicodec"] == key
    through("terms", "add", path("t2.json", json.dumps({"title": "care", "recipients": ["team", "other"], "purposes": [],
                                                        "processings": []})))
    said = through("consent", "give", "d1", "--terms", "care", "--until", "2090-01-01", *OWNERS, "--all")
    assert said["owners"] == 8 and said["signed by"] == "SIMULATED owners"
    through("consent", "withdraw", "d1", *OWNERS, "--subject", "p2")
    asked = through(*REQUEST)
    assert asked["permit"] is True and asked["rows"] == 7, asked
    denied = through("access", "request", "d1", "--purpose", MARKETING, "--processing", TRAINING, "--as", "other", code=0)
    assert denied["permit"] is True  # "care" permits everything to other
    through("model", "add", "bought", "--digest", "ab" * 32, "--as", "other")
    through("model", "remedy", "m1", "--action", "retired", "--reference", "ticket 1", "--as", "team")
    through("log", "submit", "model", model("by hand"), "--as", "other")
    through("deployment", "add", "bought", "office", "--as", "other")
    through("party", "rotate", "other", "--key", through("id", "new", "other2")["multicodec"], "--as", "other")
    through("deployment", "end", "office", "--as", "other2")
    stop(server)
    assert ask("check", "--full")["good"] is True


def a_denial_exits_5():
    server = serve()
    denied = through("access", "request", "d1", "--purpose", MARKETING, "--processing", TRAINING, "--group", "label",
                     "--as", "team", code=0)
    assert denied["permit"] is True
    through("consent", "withdraw", "d1", *OWNERS, "--all")
    denied = through(*REQUEST, code=5)
    assert denied["permit"] is False and denied["rule"].startswith("deny/")
    stop(server)


def decisions_are_logged_and_their_leaves_kept_here():
    server = serve()
    lines = "".join(json.dumps({"input": {"b": i}, "output": i}) + "\n" for i in range(3))
    logged = through("decision", "log", "ward", path("d2.jsonl", lines), "--as", "team")
    assert logged["first"] == 5 and logged["count"] == 3
    assert node("decision", "show", "ward/6").returncode == 6  # only their maker has the leaves
    for folder in glob.glob(os.path.join(MEMORY, "vouch", "logs", "*", "decisions", "*")):
        shutil.copytree(folder, os.path.join(LEDGER, "decisions", os.path.basename(folder)), dirs_exist_ok=True)
    assert through("decision", "show", "ward/6")["sequence"] == 6
    stop(server)
    assert ask("check")["good"] is True


def bundles_are_judged_before_they_are_written():
    server = serve()
    bundle = path("node.bundle")
    through("bundle", "make", "decision", "ward/3", "-o", bundle)
    assert ask("verify", bundle, "--trust", TRUST)["status"] == "OK"
    through("--trust", TRUST, "bundle", "make", "lineage", "m1", "-o", bundle)
    assert node("bundle", "make", "lineage", "none", "-o", path("none.bundle")).returncode == 6
    assert not os.path.exists(path("none.bundle"))
    stop(server)


# ---- a node that comes and goes ---------------------------------------------------------------------------


def a_killed_node_takes_each_submission_once():
    server, sent, failed, over = serve(), [], [], threading.Event()

    def surely(*args):
        """As a person would: again when nothing was sent, the kept bytes when nobody knows."""
        for _ in range(40):
            done = node("--json", *args, "--as", "team")
            if done.returncode != 9:
                return done
            hint = json.loads(done.stderr)["error"]["hint"]
            if "submit signed " in hint:
                args = ["log", "submit", "signed", hint.split("submit signed ")[1]]
        return done

    def submit(part):
        while not over.is_set():
            name = f"killed-{part}-{len(sent)}"
            sent.append(name)
            done = surely("log", "submit", "model", model(name))
            if done.returncode != 0:
                failed.append(done)

    threads = [threading.Thread(target=submit, args=(part,)) for part in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        time.sleep(0.1)
        stop(server, signal.SIGKILL)
        server = serve()
    over.set()
    for thread in threads:
        thread.join()
    stop(server)
    assert not failed, failed[0]
    names = [m["name"] for m in ask("model", "list") if m["name"].startswith("killed-")]
    assert sorted(names) == sorted(sent), (names, sent)
    assert ask("check", "--full")["good"] is True


def without_a_node_nothing_is_sent():
    before = entries()
    stop(serve())
    done = node("log", "submit", "model", model("nowhere"), "--as", "team")
    assert done.returncode == 9 and "node.sock" in done.stderr, done
    assert entries() == before


# ---- whom to believe ----------------------------------------------------------------------------------------


def the_first_key_is_believed_and_told_once():
    server = serve()
    fresh = {"XDG_STATE_HOME": path("fresh")}
    first, second = node("party", "list", env=fresh), node("party", "list", env=fresh)
    assert first.returncode == 0 and "first time at this log" in first.stderr and "clinic.example/ledger+" in first.stderr
    assert second.returncode == 0 and second.stderr == "", second.stderr
    named = node("--trust", TRUST, "party", "list", env={"XDG_STATE_HOME": path("fresher")})
    assert named.returncode == 0 and named.stderr == "", named.stderr
    stop(server)


def two_faces_of_one_log_are_refused_and_kept():
    fork = path("fork")
    shutil.copytree(LEDGER, fork)
    for name, at in (("here", LEDGER), ("there", fork)):
        expect(0, "log", "submit", "model", model(name), "--as", "team", ledger=at)
        expect(0, "log", "head", ledger=at)
    server = serve()
    through("status")
    stop(server)
    server = serve(fork)
    done = node("status")
    assert done.returncode == 8 and "split view" in done.stderr, done
    kept = next(word.rstrip(";") for word in done.stderr.split() if "split-" in word)
    text = open(kept, encoding="utf-8").read()
    for at in (LEDGER, fork):
        note = expect(0, "log", "head", ledger=at).stdout
        assert note in text, (note, text)
    done = node("log", "submit", "model", model("to the fork"), "--as", "team")
    assert done.returncode == 8, done
    stop(server)
    server = serve()
    through("status")
    stop(server)


def an_older_copy_is_refused():
    older = path("older")
    shutil.copytree(LEDGER, older)
    expect(0, "log", "submit", "model", model("newer"), "--as", "team")
    server = serve()
    through("status")
    stop(server)
    server = serve(older)
    done = node("status")
    assert done.returncode == 8 and "rollback" in done.stderr, done
    stop(server)


def another_ledger_behind_the_same_url_is_refused():
    other = path("other")
    expect(0, "init", other, "--operator", "clinic", "--origin", "other.example/ledger")
    expect(0, "log", "head", ledger=other)
    server = serve(other)
    done = node("status")
    assert done.returncode == 1 and "showed the log clinic.example/ledger before" in done.stderr, done
    done = node("--trust", TRUST, "status", env={"XDG_STATE_HOME": path("another")})
    assert done.returncode == 1 and "not signed by a log of the trust policy" in done.stderr, done
    stop(server)


# ---- the line ----------------------------------------------------------------------------------------------------


def which_ledger_is_meant():
    server = serve()
    assert vouch("--node", NODE, "status").returncode == 2
    for args in (["init", path("x")], ["check"], ["config", "show"], ["doctor"], ["serve"]):
        done = node(*args)
        assert done.returncode == 2 and "own directory" in done.stderr, (args, done)
    named = subprocess.run([VOUCH, "--json", "--keys-dir", KEYS, "--as", "clinic", "status"], capture_output=True,
                           text=True, env={**NODE_ENV, "VOUCH_NODE": NODE, "VOUCH_DIR": path("nothing")})
    assert json.loads(named.stdout)["node"] == NODE
    here = ask("status", env={"VOUCH_NODE": "unix:/nothing/there"})
    assert here["directory"] == LEDGER
    for url in ("node.example", "ftp://x", "https://", "http://h/?x", "unix:relative", "https://a b"):
        assert node("status", url=url).returncode == 2, url
    stop(server)


def keys_need_no_node():
    mine = {"XDG_CONFIG_HOME": path("own")}
    done = subprocess.run([VOUCH, "--json", "--node", "https://127.0.0.1:1", "id", "new", "me"], capture_output=True,
                          text=True, env={**NODE_ENV, **mine})
    assert done.returncode == 0, done
    assert os.path.exists(os.path.join(path("own"), "vouch", "keys", "me.pem"))


def nobody_asks_without_a_key():
    server = serve()
    empty = ["--keys-dir", path("no-keys")]
    done = subprocess.run([VOUCH, "--node", NODE, *empty, "party", "list"], capture_output=True, text=True, env=NODE_ENV)
    assert done.returncode != 0 and "key" in done.stderr, done
    done = subprocess.run([VOUCH, "--node", NODE, *empty, "log", "head"], capture_output=True, text=True, env=NODE_ENV)
    assert done.returncode == 0, done
    stop(server)


def a_token_speaks_for_those_without_a_key():
    token = ask("token", "new", "reader", "--scope", "statements", "--days", "2")["token"]
    held = path("token", token + "\n")
    server = serve()
    anonymous = ["--node", NODE, "--keys-dir", path("no-keys"), "--json"]
    for args, code in ((["--token-file", held, "party", "list"], 0), (["--token-file", held, "log", "cat", "2"], 0),
                       (["--token-file", path("wrong", "vouch_nothing\n"), "party", "list"], 1),
                       (["--token-file", path("empty", "\n"), "party", "list"], 1)):
        done = subprocess.run([VOUCH, *anonymous, *args], capture_output=True, text=True, env=NODE_ENV)
        assert done.returncode == code and token not in done.stderr, (args, done)
    ask("token", "revoke", "reader")
    done = subprocess.run([VOUCH, *anonymous, "--token-file", held, "party", "list"], capture_output=True, text=True,
                          env=NODE_ENV)
    assert done.returncode == 1, done
    done = node("--token-file", held, "status", url="http://node.example:7117")
    assert done.returncode == 2 and "plain HTTP" in done.stderr, done
    stop(server)


def a_mirror_is_made_through_a_node():
    copy, server = path("mirror"), serve()
    done = subprocess.run([VOUCH, "-C", copy, "--keys-dir", KEYS, "--as", "clinic", "log", "mirror", NODE, "--trust", TRUST],
                          capture_output=True, text=True, env=NODE_ENV)
    assert done.returncode == 0, done
    here, there = ask("status"), ask("status", ledger=copy)
    assert here["entries"] == there["entries"] and here["state root"] == there["state root"], (here, there)
    stop(server)


def certificate(name, alternatives):
    key, cert = path(name + ".key"), path(name + ".pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    key, "-out", cert, "-days", "2", "-subj", "/CN=node", "-addext", f"subjectAltName={alternatives}"],
                   check=True, capture_output=True)
    return cert, key


def over_tls_the_host_must_be_the_one_that_is_certified():
    cert, key = certificate("node", "DNS:localhost")
    server = serve(LEDGER, "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
    port = server.address.rsplit(":", 1)[1]
    assert through("--ca-file", cert, "status", url=f"https://localhost:{port}")["origin"] == "clinic.example/ledger"
    for args, url, why in ((["--ca-file", cert], f"https://127.0.0.1:{port}", "not believed"),
                           ([], f"https://localhost:{port}", "not believed"),
                           (["--ca-file", certificate("else", "DNS:localhost")[0]], f"https://localhost:{port}",
                            "not believed")):
        done = node(*args, "status", url=url)
        assert done.returncode == 9 and why in done.stderr, (args, url, done)
    done = node("status", url=f"http://localhost:{port}")
    assert done.returncode == 9, done
    stop(server)


def with_no_node_left(test):
    def wrapped():
        try:
            test()
        finally:
            for left in list(SERVING.values()):
                stop(left, signal.SIGKILL)

    wrapped.__name__ = test.__name__
    return wrapped


def is_test(f):
    return callable(f) and getattr(f, "__module__", None) == "__main__" and f.__code__.co_argcount == 0 and \
        not f.__code__.co_flags & 4  # no *args


if __name__ == "__main__":
    sys.exit(run([with_no_node_left(f) for f in list(globals().values()) if is_test(f)]))
