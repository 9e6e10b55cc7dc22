# SPDX-License-Identifier: Apache-2.0
"""Real witnesses served over HTTP, a real ledger that gathers from them: from
entries to a bundle that says "witnessed"; killed witnesses, copies of the
ledger that fork or roll back; code of others on either side.

usage: witness_test.py VOUCH"""

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from harness import ENV, LEDGER, ROOT, VOUCH, ask, error_of, expect, path, run, vouch

HERE = os.path.dirname(os.path.abspath(__file__))
XMOD = os.path.join(HERE, "xmod.sh")
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vouchsafe")
TRUST = os.path.join(LEDGER, "trust.policy")
ORIGIN = "clinic-a.example/ledger"
number = 0


class Witness:
    """A witness's directory, and the process that serves it."""

    def __init__(self, name, *logs):
        self.dir, self.name, self.at = path(name), name, "127.0.0.1:0"
        shown = ask("witness", "init", self.dir, "--name", name + ".example", *[a for log in logs for a in ("--log", log)])
        self.vkey = shown["verifier key"]
        self.process = None

    def start(self):
        self.log = open(path(self.name + ".log"), "a")
        self.process = subprocess.Popen([VOUCH, "witness", "serve", self.dir, "--listen", self.at], text=True, env=ENV,
                                        stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"{self.name} did not start: {open(self.log.name).read()}"
        self.at = line.split()[-1]
        return self

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.process.stdout.close()
        self.log.close()
        self.process = None
        return code

    def ask(self, method, where, body=None):
        """Status, type and body of an answer."""
        connection = http.client.HTTPConnection(self.at, timeout=30)
        try:
            connection.request(method, where, body)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type"), answer.read()
        finally:
            connection.close()

    def latest(self, origin=ORIGIN):
        status, _, body = self.ask("GET", f"/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint")
        return int(body.split(b"\n")[1]) if status == 200 else status


def submit(ledger=LEDGER):
    global number
    number += 1
    digest = hashlib.sha256(f"{ledger} {number}".encode()).hexdigest()
    file = path("model.json", json.dumps({"name": f"model-{number}", "digest": digest}))
    return ask("log", "submit", "model", file, ledger=ledger)["index"]


def log_vkey(ledger=LEDGER):
    return next(line.split()[1] for line in open(os.path.join(ledger, "trust.policy")) if line.startswith("log "))


def policy(quorum, ledger=LEDGER, file=None, extra=()):
    """Both witnesses, and whoever else is given."""
    lines = [f"log {log_vkey(ledger)}"] + [f"witness {w.name} {w.vkey} http://{w.at}/" for w in (one, two)] + list(extra)
    text = "\n".join(lines + quorum.split(";")) + "\n"
    with open(file or os.path.join(ledger, "trust.policy"), "w") as out:
        out.write(text)
    return file


def cosign(code=0, ledger=LEDGER):
    return ask("log", "cosign", ledger=ledger, code=code)


BOTH = "group both all one two;quorum both"
one = two = None

# ---- the tests, in order ---------------------------------------------------------------


def witnesses_are_made():
    global one, two
    expect(0, "init", LEDGER, "--operator", "clinic-a", "--origin", ORIGIN)
    one, two = Witness("one", log_vkey()), Witness("two", log_vkey())
    assert one.vkey.startswith("one.example+") and one.vkey != two.vkey
    shown = ask("witness", "show", one.dir)
    assert shown["policy line"] == f"witness one.example {one.vkey} URL" and shown["list"][0]["cosigned"] is False
    assert os.stat(os.path.join(one.dir, "witness.pem")).st_mode & 0o777 == 0o600
    error_of(7, "ERR_CONFLICT", "witness", "init", one.dir, "--name", "again.example")
    error_of(2, "ERR_USAGE", "witness", "init", path("w"), "--name", "a name")
    error_of(2, "ERR_USAGE", "witness", "init", path("w"))
    error_of(1, "ERR_FORMAT", "witness", "init", path("w"), "--name", "w.example", "--log", "nonsense")
    error_of(6, "ERR_NOT_FOUND", "witness", "show", path("nowhere"))
    error_of(2, "ERR_USAGE", "witness", "serve", one.dir, "--listen", "0.0.0.0:0")  # no TLS there
    one.start(), two.start()
    error_of(7, "ERR_LOCKED", "witness", "serve", one.dir, "--listen", "127.0.0.1:0")


def entries_become_committed():
    policy(BOTH)
    index = submit()
    assert ask("status")["committed"] == 0 and ask("log", "cat", str(index))["committed"] is False
    done = cosign()
    assert done["asked"] == done["cosigned"] == 2 and done["quorum"] is True and done["note"] == "", done
    assert done["committed"] == done["checkpoint at"] == ask("status")["committed"] > index
    assert ask("log", "cat", str(index))["committed"] is True
    assert one.latest() == two.latest() == done["checkpoint at"]
    assert ask("witness", "show", one.dir)["list"][0]["size"] == done["checkpoint at"]
    note = open(os.path.join(LEDGER, "tlog", "checkpoint")).read()
    assert note.count("\n\u2014 ") == 3
    proof = path("proof")
    expect(0, "log", "prove", "inclusion", str(index), "-o", proof)
    assert open(proof).read().count("\n\u2014 ") == 3


def bundles_say_witnessed():
    rows = path("rows.csv", "person,a,label\np1,1,0\np2,2,1\n")
    persons = path("persons.txt", "p1\np2\n")
    research = "https://w3id.org/dpv#ScientificResearch"
    me = ("--as", "clinic-a")
    ask("dataset", "create", "d", "--header", rows, "--subject-col", "person", "--label-col", "label", *me)
    ask("wallet", "new", "owners", "--owners", "2", "--simulated")
    keys = path("keys.csv", expect(0, "wallet", "keys", "owners", "--dataset", "d", "--persons", persons).stdout)
    ask("dataset", "add", "d", rows, "--owners", keys, *me)
    terms = {"version": 1, "title": "research", "effect": "permit", "recipients": [], "purposes": [research],
             "processings": []}
    ask("terms", "add", path("terms.json", json.dumps(terms)), *me)
    ask("consent", "give", "d", "--terms", "research", "--until", "2090-12-31", "--wallet", "owners", "--persons", persons,
        "--all", *me)
    bundle, later = path("consent.bundle"), path("later.bundle")
    assert cosign()["quorum"] is True
    ask("bundle", "make", "consent", "d/0", "-o", bundle)
    report = ask("verify", bundle, "--trust", TRUST)
    assert report["status"] == "OK" and report["witnessed"] is True, report
    assert report["time source"] == "a quorum of witnesses" and report["witnessed at ms"] > 0
    # Whoever wants one witness more, or knows others only, is not convinced; nobody is told a lie.
    third = Witness("third", log_vkey())
    stricter = policy("group three all one two third;quorum three", file=path("stricter.policy"),
                      extra=[f"witness third {third.vkey}"])
    assert ask("verify", bundle, "--trust", stricter, code=4)["code"] == "I-QUORUM"
    strangers = path("strangers.policy", f"log {log_vkey()}\nwitness third {third.vkey}\nquorum third\n")
    assert ask("verify", bundle, "--trust", strangers, code=4)["code"] == "I-QUORUM"
    alone = path("alone.policy", f"log {log_vkey()}\nquorum none\n")
    assert ask("verify", bundle, "--trust", alone)["witnessed"] is False
    # One witness is away: what is new isn't witnessed.
    two.end()
    ask("consent", "withdraw", "d", "--wallet", "owners", "--persons", persons, "--subject", "p1", *me)
    done = cosign(code=10)
    assert done["cosigned"] == 1 and done["quorum"] is False and "witness two can't be reached" in done["note"], done
    assert done["committed"] < done["checkpoint at"]
    ask("bundle", "make", "consent", "d/0", "-o", later)
    assert ask("verify", later, "--trust", TRUST, code=4)["code"] == "I-QUORUM"
    two.start()
    policy(BOTH)
    assert cosign()["quorum"] is True
    ask("bundle", "make", "consent", "d/0", "-o", later)
    assert ask("verify", later, "--trust", TRUST)["witnessed"] is True


def a_killed_witness_forgets_nothing():
    for _ in range(5):
        submit()
        size = cosign()["checkpoint at"]
        assert one.end(signal.SIGKILL) == -signal.SIGKILL
        one.start()
        policy(BOTH)
        assert one.latest() == size
    assert two.end() == 0 and two.start()
    policy(BOTH)
    submit()
    assert cosign()["quorum"] is True


def copies_that_fork_or_roll_back_are_told():
    old, fork = path("old"), path("fork")
    shutil.copytree(LEDGER, old)
    submit()
    assert cosign()["quorum"] is True
    shutil.copytree(LEDGER, fork)
    submit()
    size = cosign()["checkpoint at"]
    policy(BOTH, ledger=old)
    policy(BOTH, ledger=fork)
    done = cosign(ledger=old)  # it knows less than the witnesses; what it was given before still holds
    assert done["cosigned"] == 0 and "the log was copied or rolled back" in done["note"], done
    submit(fork)
    submit(fork)
    done = cosign(code=10, ledger=fork)  # another history
    assert done["cosigned"] == 0 and "knows another history of this log" in done["note"], done
    assert done["committed"] < size == one.latest() == two.latest()
    submit()
    assert cosign()["quorum"] is True  # the true one goes on


def the_service_speaks_the_protocol():
    body = open(os.path.join(LEDGER, "tlog", "checkpoint"), "rb").read()
    size = one.latest()
    assert one.ask("POST", "/add-checkpoint", b"old 1\n\n" + body) == (409, "text/x.tlog.size", f"{size}\n".encode())
    status, kind, line = one.ask("POST", "/add-checkpoint", f"old {size}\n\n".encode() + body)
    assert (status, kind) == (200, "text/plain; charset=utf-8") and line.startswith("\u2014 one.example ".encode())
    assert one.ask("POST", "/add-checkpoint", b"old 1\n" + body)[0] == 400
    assert one.ask("POST", "/add-checkpoint", b"")[0] == 400
    assert one.ask("POST", "/add-checkpoint", b"old 0\n\n" + body.replace(ORIGIN.encode(), b"other.example/log"))[0] == 404
    assert one.ask("POST", "/add-checkpoint", b"old 0\n\n" + body.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1)))[0] == 403
    assert one.ask("POST", "/add-checkpoint", b"old 0\n" + b"A" * (1 << 20))[0] == 413
    assert one.ask("GET", "/add-checkpoint")[0] == 405 and one.ask("POST", "/metrics", b"")[0] == 405
    for where in ("/", "/" + "0" * 64, "/" + "0" * 64 + "/checkpoint", "/" + "z" * 64 + "/checkpoint", "/%2e%2e/witness.pem"):
        assert one.ask("GET", where)[0] in (400, 404), where
    assert one.ask("GET", "/v1/health/live")[0] == one.ask("GET", "/v1/health/ready")[0] == 200
    metrics = one.ask("GET", "/metrics")[2].decode()
    assert 'vouchsafe_witness_requests_total{status="409"} ' in metrics and f"}} {size}\n" in metrics
    assert one.latest() == size


# ---- code of others -----------------------------------------------------------------------


def built(*args):
    """Go's x/mod; None when it can't be had here."""
    done = subprocess.run([XMOD, *args], capture_output=True, text=True, env=ENV)
    return None if done.returncode == 77 else done


def a_log_of_others_is_cosigned():
    folder = path("outside")
    os.mkdir(folder)
    if built("ask", folder) is None:
        return "Go's x/mod is not here"
    body = {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}
    vkey = body["vkey"].decode()
    w = Witness("outside-witness", vkey).start()
    say = lambda name: w.ask("POST", "/add-checkpoint", body[name])[0]
    assert [say(n) for n in ("0-1", "1-2", "2-7", "7-7", "7-256")] == [200] * 5
    assert say("fork-2-7") == 409 and say("7-256") == 409 and say("fork-256-300") == 422
    assert say("256-300") == 200 and w.latest("log.example/outside") == 300
    # What we signed is read by code that others wrote, and by code written from the specification.
    status, _, note = w.ask("GET", f"/{hashlib.sha256(b'log.example/outside').hexdigest()}/checkpoint")
    assert status == 200
    file = path("cosigned")
    for flip in (None, 30, len(note) - 20):
        data = bytearray(note)
        if flip:
            data[flip] ^= 1
        with open(file, "wb") as out:
            out.write(data)
        done = built("cosigned", file, vkey, w.vkey)
        assert (done.returncode == 0) == (flip is None), (flip, done)
    w.end()


class Litewitness:
    """torchwood's litewitness, with its key in an ssh-agent of its own."""

    def __init__(self, program):
        folder = path("lw")
        os.mkdir(folder)
        agent, key, self.db = (os.path.join(folder, n) for n in ("agent", "key", "db"))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        self.agent = subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL)
        while not os.path.exists(agent):
            assert self.agent.poll() is None, "ssh-agent ended"
            time.sleep(0.05)
        subprocess.run(["ssh-add", "-q", key], check=True, env={**ENV, "SSH_AUTH_SOCK": agent}, stderr=subprocess.DEVNULL)
        print_ = subprocess.run(["ssh-keygen", "-lf", key + ".pub"], capture_output=True, text=True, check=True).stdout
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.at = "127.0.0.1:%d" % free.getsockname()[1]
        self.process = subprocess.Popen([program, "-db", self.db, "-name", "lite.example", "-key", print_.split()[1],
                                         "-ssh-agent", agent, "-listen", self.at], stderr=subprocess.PIPE, text=True)
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if "vkey=" in line:
                self.vkey = line.split("vkey=")[1].strip()
            if "listening" in line:
                return
        raise AssertionError("litewitness did not start: " + "".join(seen))

    def serve(self, origin, vkey):
        empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        subprocess.run(["sqlite3", self.db, f"insert into log values('{origin}', 0, '{empty}');"
                        f"insert into key values('{origin}', '{vkey}')"], check=True)

    def end(self):
        for process in (self.process, self.agent):
            process.kill()
            process.wait()
        self.process.stderr.close()


def a_witness_of_others_cosigns():
    program = os.path.join(CACHE, "litewitness-v0.9.0")
    missing = [n for n in ("ssh-agent", "ssh-keygen", "sqlite3") if not shutil.which(n)]
    if not os.path.exists(program) or missing:
        return f"{program if not missing else ', '.join(missing)} is not here (tools/setup.sh test gets it)"
    lite = Litewitness(program)
    try:
        lite.serve(ORIGIN, log_vkey())
        line = f"witness lite {lite.vkey} http://{lite.at}"
        policy("group all-three all one two lite;quorum all-three", extra=[line])
        for _ in range(3):
            submit()
            done = cosign()
            assert done["asked"] == done["cosigned"] == 3 and done["note"] == "", done
        done = cosign()  # an unchanged checkpoint, once more
        assert done["cosigned"] == 3
        bundle = path("lite.bundle")
        ask("bundle", "make", "consent", "d/1", "-o", bundle)
        only = path("lite.policy", f"log {log_vkey()}\n{line}\nquorum lite\n")
        assert ask("verify", bundle, "--trust", only)["witnessed"] is True
        # It refuses what ours refuse: a copy that forked.
        policy("group all-three all one two lite;quorum all-three", ledger=path("fork"), extra=[line])
        submit(path("fork"))
        for _ in range(8):
            submit(path("fork"))
        done = cosign(code=10, ledger=path("fork"))
        assert done["cosigned"] == 0 and "witness lite" in done["note"], done
    finally:
        lite.end()
        policy(BOTH)


def await_info(done):
    """What `vouch status` says once `done` holds of it: a minute, however slow the machine is."""
    for _ in range(600):
        info = ask("status")
        if done(info):
            return info
        time.sleep(0.1)
    raise AssertionError(info)


def a_served_ledger_gathers_by_itself():
    """vouch serve asks the witnesses, nobody else does; what it commits is evidence that others can judge."""
    policy(BOTH)
    whole, lacking, through = path("served.bundle"), path("lacking.bundle"), path("through.bundle")
    node = subprocess.Popen([VOUCH, "-C", LEDGER, "serve", "--listen", "127.0.0.1:0"], text=True, env=ENV,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    withdraw = lambda subject: ask("consent", "withdraw", "d", "--wallet", "owners", "--persons", path("persons.txt"),
                                   "--subject", subject, "--as", "clinic-a")
    try:
        url = "http://" + node.stdout.readline().split()[-1]
        submit()
        withdraw("p2")
        size = ask("status")["entries"]
        await_info(lambda info: info["committed"] >= size)
        assert one.latest() >= size and two.latest() >= size
        ask("bundle", "make", "consent", "d/1", "-o", whole)
        report = ask("verify", whole, "--trust", TRUST)
        assert report["witnessed"] is True and report["time source"] == "a quorum of witnesses", report
        # The same through the node, judged by whoever asked.
        done = subprocess.run([VOUCH, "--node", url, "--keys-dir", os.path.join(LEDGER, "keys"), "--as", "clinic-a", "bundle",
                               "make", "consent", "d/1", "-o", through], capture_output=True, text=True, timeout=120,
                              env={**ENV, "XDG_STATE_HOME": path("memory")})
        assert done.returncode == 0, done
        assert ask("verify", through, "--trust", TRUST)["witnessed"] is True
        # The twin: one witness is gone, the quorum with it; the node goes on and nobody is told that it was met.
        two.end(signal.SIGKILL)
        ask("terms", "add", path("more.json", json.dumps({"version": 1, "title": "more", "effect": "permit", "recipients": [],
                                                          "purposes": [], "processings": []})), "--as", "clinic-a")
        ask("consent", "give", "d", "--terms", "more", "--until", "2090-12-31", "--wallet", "owners", "--persons",
            path("persons.txt"), "--all", "--as", "clinic-a")
        size = ask("status")["entries"]
        await_info(lambda info: one.latest() >= size)  # it was asked, and cosigned
        assert ask("status")["committed"] < size
        ask("bundle", "make", "consent", "d/1", "-o", lacking)
        assert ask("verify", lacking, "--trust", TRUST, code=4)["code"] == "I-QUORUM"
        assert ask("verify", whole, "--trust", TRUST)["witnessed"] is True
        # It comes back where it was: the node finds it without being told.
        two.start()
        await_info(lambda info: info["committed"] >= size)
        ask("bundle", "make", "consent", "d/1", "-o", lacking)
        assert ask("verify", lacking, "--trust", TRUST)["witnessed"] is True
    finally:
        node.terminate()
        assert node.wait(60) == 0
        node.stdout.close()


def it_ends():
    assert one.end() == 0 and two.end(signal.SIGINT) == 0
    assert "serve.stopped" in open(path("one.log")).read()
    submit()
    done = cosign(code=10)
    assert done["asked"] == 2 and done["cosigned"] == 0


def is_test(f):
    """Defined here and without arguments."""
    return (callable(f) and not isinstance(f, type) and f.__module__ == __name__ and f.__code__.co_argcount == 0 and
            not f.__code__.co_flags & 0x04)


if __name__ == "__main__":
    try:
        sys.exit(run([f for name, f in list(globals().items()) if name not in ("is_test", "log_vkey", "cosign", "submit") and
                      is_test(f)]))
    finally:
        for w in (one, two):
            if w and w.process:
                w.process.kill()
