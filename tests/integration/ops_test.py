# SPDX-License-Identifier: Apache-2.0
"""Running a ledger: backups, restoring them, mirrors, the doctor.

usage: ops_test.py VOUCH"""

import os
import shutil
import sys
import threading

from harness import LEDGER, RESEARCH, SCRATCH, TRAINING, ask, entries, error_of, expect, flip, path, run, tree, vouch

ROWS = "\n".join(["person,a,label"] + [f"p{i},{i}.5,{i % 2}" for i in range(50)]) + "\n"
BACKUP, RESTORED = os.path.join(SCRATCH, "backup"), os.path.join(SCRATCH, "restored")


def terms(n):
    """Another transaction: a party more."""
    ask("id", "new", f"team-{n}")
    return ask("party", "add", f"team-{n}", "--role", "user", "--as", "clinic")


def small_ledger():
    ask("init", LEDGER, "--operator", "clinic", "--origin", "clinic.example/ledger")
    csv = path("rows.csv", ROWS)
    ask("dataset", "create", "d1", "--header", csv, "--subject-col", "person", "--label-col", "label", "--as", "clinic")
    ask("dataset", "add", "d1", csv, "--as", "clinic")
    terms(1)


# ---- backups -----------------------------------------------------------------


def a_backup_is_made_checked_and_made_again():
    small_ledger()
    made = ask("backup", "make", BACKUP)
    assert made["entries"] == entries() and made["copied"] > 0
    assert not os.path.exists(os.path.join(BACKUP, "keys")), "private keys went along unasked"
    assert ask("backup", "check", BACKUP)["good"] is True
    assert ask("backup", "make", BACKUP)["copied"] == 0
    terms(2)
    again = ask("backup", "make", BACKUP)
    assert again["entries"] == entries() and again["copied"] < made["copied"]
    assert ask("backup", "check", BACKUP)["good"] is True


def a_backup_made_while_others_write_is_whole():
    stop, at, wrong = threading.Event(), os.path.join(SCRATCH, "busy"), []

    def write():
        n = 100
        while not stop.is_set():
            n += 1
            done = vouch("id", "new", f"team-{n}"), vouch("party", "add", f"team-{n}", "--role", "user", "--as", "clinic")
            wrong.extend(d.stderr for d in done if d.returncode)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        sizes = []
        for _ in range(5):
            sizes.append(ask("backup", "make", at)["entries"])
            assert ask("backup", "check", at)["good"] is True
    finally:
        stop.set()
        writer.join()
    assert not wrong and sizes == sorted(sizes) and sizes[-1] > sizes[0], (wrong, sizes)


def any_flipped_file_of_a_backup_is_named():
    for name, _ in sorted(tree(BACKUP).items()):
        at = os.path.join(BACKUP, name)
        size = os.path.getsize(at)
        if size == 0:
            continue
        flip(at, size // 2)
        done = vouch("backup", "check", BACKUP)
        assert done.returncode == 8 and name in done.stdout + done.stderr, (name, done)
        flip(at, size // 2)
    assert ask("backup", "check", BACKUP)["good"] is True


def a_missing_or_longer_file_is_named():
    victim = os.path.join(BACKUP, "trust.policy")
    os.rename(victim, victim + ".away")
    assert "trust.policy" in vouch("backup", "check", BACKUP).stdout
    os.rename(victim + ".away", victim)
    with open(victim, "ab") as file:
        file.write(b"\n")
    assert "trust.policy" in vouch("backup", "check", BACKUP).stdout
    assert ask("backup", "make", BACKUP)["copied"] >= 1, "what differs is copied again"
    assert ask("backup", "make", BACKUP)["copied"] == 0
    assert ask("backup", "check", BACKUP)["good"] is True


def a_backup_that_was_cut_off_says_so_and_goes_on():
    at = os.path.join(SCRATCH, "cut")
    shutil.copytree(BACKUP, at)
    os.remove(os.path.join(at, "BACKUP"))
    assert "cut off" in error_of(6, "ERR_NOT_FOUND", "backup", "check", at)["hint"]
    error_of(6, "ERR_NOT_FOUND", "backup", "restore", at, os.path.join(SCRATCH, "nowhere"))
    assert ask("backup", "make", at)["copied"] < 5
    assert ask("backup", "check", at)["good"] is True


def a_folder_with_something_else_is_left_alone():
    error_of(7, "ERR_CONFLICT", "backup", "make", LEDGER)
    other = os.path.join(SCRATCH, "other")
    ask("init", other, "--operator", "clinic")
    expect(0, "backup", "make", os.path.join(SCRATCH, "of-other"), ledger=other)
    before = tree(os.path.join(SCRATCH, "of-other"))
    error_of(7, "ERR_CONFLICT", "backup", "make", os.path.join(SCRATCH, "of-other"))
    assert tree(os.path.join(SCRATCH, "of-other")) == before
    error_of(7, "ERR_CONFLICT", "backup", "restore", BACKUP, other)


# ---- restoring ------------------------------------------------------------------


def a_restored_ledger_reads_the_same_and_refuses_to_write():
    terms(3)
    ask("backup", "make", BACKUP, "--keys")
    size = entries()
    ask("backup", "restore", BACKUP, RESTORED)
    assert entries(RESTORED) == size
    for what in (["party", "list"], ["dataset", "versions", "d1"], ["log", "export"]):
        assert vouch("--json", *what, ledger=RESTORED).stdout == vouch("--json", *what).stdout
    assert vouch("dataset", "check", "d1", ledger=RESTORED).returncode == 0
    assert vouch("check", "--full", ledger=RESTORED).returncode == 0
    error_of(7, "ERR_CONFLICT", "dataset", "add", "d1", path("rows.csv"), "--as", "clinic", ledger=RESTORED)
    with open(os.path.join(LEDGER, "log", "head"), "rb") as a, open(os.path.join(RESTORED, "log", "head"), "rb") as b:
        assert a.read() == b.read(), "a restored log signed something"


def a_restored_ledger_may_go_on_under_a_new_name():
    at, bundle = os.path.join(SCRATCH, "renamed"), path("row.bundle")
    for wrong in ("other.example/ledger/restored-1", "clinic.example/ledger", "clinic.example/ledger/restored-", "x y"):
        error_of(2, "ERR_USAGE", "backup", "restore", BACKUP, at, "--new-origin", wrong)
    assert not os.path.exists(at)
    name = "clinic.example/ledger/restored-1"
    ask("backup", "restore", BACKUP, at, "--new-origin", name)
    assert ask("status", ledger=at)["origin"] == name
    size = entries(at)
    expect(0, "id", "new", "team-9", ledger=at)
    expect(0, "party", "add", "team-9", "--role", "user", "--as", "clinic", ledger=at)
    expect(5, "access", "request", "d1", "--purpose", RESEARCH, "--processing", TRAINING, "--as", "team-9", ledger=at)
    assert entries(at) > size and vouch("check", "--full", ledger=at).returncode == 0
    grant = ask("access", "list", ledger=at)[0]["id"]
    expect(0, "bundle", "make", "access", grant, "-o", bundle, ledger=at)
    assert vouch("verify", bundle, "--trust", os.path.join(at, "trust.policy")).returncode == 0
    old = vouch("verify", bundle, "--trust", os.path.join(LEDGER, "trust.policy"))
    assert old.returncode in (3, 4), "who trusts the old name must not believe the new one unasked"


def a_damaged_backup_restores_nothing_that_opens():
    bad, at = os.path.join(SCRATCH, "bad"), os.path.join(SCRATCH, "from-bad")
    shutil.copytree(BACKUP, bad)
    segment = os.path.join(bad, "log", "seg", "0" * 20 + ".seg")
    flip(segment, os.path.getsize(segment) // 2)
    assert vouch("backup", "restore", bad, at).returncode == 8
    assert not os.path.exists(os.path.join(at, "FORMAT"))
    flip(segment, os.path.getsize(segment) // 2)
    expect(0, "backup", "restore", bad, at)
    assert vouch("check", ledger=at).returncode == 0


# ---- mirrors ---------------------------------------------------------------------


MIRROR, POLICY = os.path.join(SCRATCH, "mirror"), os.path.join(LEDGER, "trust.policy")


def mirror(*more, into=MIRROR, code=0):
    return ask("log", "mirror", LEDGER, *more, ledger=into, code=code)


def a_mirror_follows_and_never_leads():
    error_of(2, "ERR_USAGE", "log", "mirror", LEDGER, ledger=MIRROR)
    vouch("log", "head")
    first = mirror("--trust", POLICY)
    assert first["entries"] == first["new"] == entries(MIRROR) == entries()
    assert mirror()["new"] == 0
    terms(4)
    vouch("log", "head")
    assert mirror()["new"] > 0 and entries(MIRROR) == entries()
    assert vouch("log", "export", ledger=MIRROR).stdout == vouch("log", "export").stdout
    with open(os.path.join(LEDGER, "tlog", "checkpoint")) as a, open(os.path.join(MIRROR, "tlog", "checkpoint")) as b:
        assert a.read() == b.read()
    assert vouch("check", "--full", ledger=MIRROR).returncode == 0
    shutil.copytree(os.path.join(LEDGER, "keys"), os.path.join(MIRROR, "keys"), dirs_exist_ok=True)
    error_of(7, "ERR_CONFLICT", "party", "add", "team-1", "--role", "user", "--as", "clinic", ledger=MIRROR)


def a_mirror_takes_nothing_that_the_checkpoint_does_not_cover():
    forged = os.path.join(SCRATCH, "forged")
    shutil.copytree(LEDGER, forged)
    terms(5)
    other = path("other.policy", "log clinic.example/ledger+00000000+AAAA\nquorum none\n")
    assert vouch("log", "mirror", LEDGER, "--trust", other, ledger=os.path.join(SCRATCH, "m2")).returncode != 0
    stranger = os.path.join(SCRATCH, "of-another")
    expect(0, "init", stranger, "--operator", "clinic")
    expect(0, "log", "mirror", stranger, "--trust", os.path.join(stranger, "trust.policy"), ledger=os.path.join(SCRATCH, "m3"))
    assert vouch("log", "mirror", LEDGER, ledger=os.path.join(SCRATCH, "m3")).returncode == 1, "two networks in one mirror"
    # The same key signs another continuation: a fork.
    fork = os.path.join(SCRATCH, "fork")
    shutil.copytree(forged, fork)
    expect(0, "id", "new", "elsewhere", ledger=fork)
    expect(0, "party", "add", "elsewhere", "--role", "user", "--as", "clinic", ledger=fork)
    vouch("log", "head")
    mirror()
    error = vouch("--json", "log", "mirror", fork, ledger=MIRROR)
    assert error.returncode in (7, 8), error
    for n in range(3):
        expect(0, "id", "new", f"more-{n}", ledger=fork)
        expect(0, "party", "add", f"more-{n}", "--role", "user", "--as", "clinic", ledger=fork)
    before = tree(os.path.join(MIRROR, "log"))
    assert "forked" in error_of(8, "ERR_CORRUPT", "log", "mirror", fork, ledger=MIRROR)["hint"]
    assert tree(os.path.join(MIRROR, "log", "seg")) == {k[4:]: v for k, v in before.items() if k.startswith("seg/")}


def a_restored_ledger_catches_up_and_writes_again():
    vouch("log", "head")
    mirror()
    assert entries(RESTORED) < entries()
    behind = ask("log", "mirror", MIRROR, ledger=RESTORED)
    assert behind["entries"] == entries() and behind["caught up"] is False and "--complete" in behind["note"]
    assert vouch("party", "add", "x", "--role", "user", "--key", "clinic", "--as", "clinic", ledger=RESTORED).returncode == 7
    assert ask("log", "mirror", MIRROR, "--complete", ledger=RESTORED)["caught up"] is True
    expect(0, "id", "new", "after", ledger=RESTORED)
    expect(0, "party", "add", "after", "--role", "user", "--as", "clinic", ledger=RESTORED)
    assert vouch("check", "--full", ledger=RESTORED).returncode == 0
    mirrored = ask("log", "mirror", RESTORED, ledger=MIRROR)
    assert mirrored["new"] > 0, "the mirror follows the restored ledger on"


# ---- the doctor --------------------------------------------------------------------


def symptoms(ledger=None, code=None):
    said = ask("doctor", ledger=ledger, code=code) if code is not None else ask("doctor", ledger=ledger)
    found = {}
    for s in said["list"]:
        assert s["text"] and bool(s["fix"]) == (s["health"] != "good"), s
        found.setdefault(s["what"], []).append(s)
    return said["health"], found


def worst(found, what):
    order = ["good", "warning", "bad"]
    return max((s["health"] for s in found[what]), key=order.index)


def the_doctor_finds_a_sound_ledger_sound():
    before = tree(LEDGER)
    health, found = symptoms()
    assert health == "warning" and worst(found, "witnesses") == "warning", found
    for what in ("ledger", "permissions", "versions", "leftovers", "index", "keys", "checkpoint"):
        assert worst(found, what) == "good", found[what]
    assert tree(LEDGER) == before, "the doctor changed something"
    assert "->" in expect(0, "doctor").stdout
    error_of(6, "ERR_NOT_FOUND", "doctor", ledger=os.path.join(SCRATCH, "none"))


def the_doctor_names_what_is_wrong():
    sick = os.path.join(SCRATCH, "sick")
    shutil.copytree(LEDGER, sick)

    def after(change, what, health, undo):
        change()
        whole, found = symptoms(sick, 1 if health == "bad" else 0)
        assert worst(found, what) == health and whole == health, (what, found)
        undo()

    pem, log = os.path.join(sick, "keys", "clinic.pem"), os.path.join(sick, "keys", "log.pem")
    after(lambda: os.chmod(pem, 0o644), "permissions", "bad", lambda: os.chmod(pem, 0o600))
    after(lambda: os.rename(log, log + ".away"), "keys", "bad", lambda: os.rename(log + ".away", log))
    index = os.path.join(sick, "state", "data.mdb")
    after(lambda: flip(index, 5000), "index", "warning", lambda: flip(index, 5000))
    after(lambda: open(os.path.join(sick, "RESTORED"), "w").close(), "leftovers", "bad",
          lambda: os.remove(os.path.join(sick, "RESTORED")))
    os.makedirs(os.path.join(sick, "quarantine"), exist_ok=True)
    after(lambda: open(os.path.join(sick, "quarantine", "x"), "w").close(), "leftovers", "warning",
          lambda: os.remove(os.path.join(sick, "quarantine", "x")))
    with open(os.path.join(sick, "vouch.conf")) as file:
        conf = file.read()
    after(lambda: path("sick/vouch.conf", conf.replace("min_free_mib = 256", "min_free_mib = 1000000000")), "disk", "bad",
          lambda: path("sick/vouch.conf", conf))
    after(lambda: path("sick/vouch.conf", "[none]\n"), "ledger", "bad", lambda: path("sick/vouch.conf", conf))
    policy = os.path.join(sick, "trust.policy")
    with open(policy) as file:
        text = file.read()
    after(lambda: path("sick/trust.policy", "nonsense\n"), "witnesses", "bad", lambda: path("sick/trust.policy", text))


if __name__ == "__main__":
    sys.exit(run([a_backup_is_made_checked_and_made_again, a_backup_made_while_others_write_is_whole,
                  any_flipped_file_of_a_backup_is_named, a_missing_or_longer_file_is_named,
                  a_backup_that_was_cut_off_says_so_and_goes_on, a_folder_with_something_else_is_left_alone,
                  a_restored_ledger_reads_the_same_and_refuses_to_write, a_restored_ledger_may_go_on_under_a_new_name,
                  a_damaged_backup_restores_nothing_that_opens, a_mirror_follows_and_never_leads,
                  a_mirror_takes_nothing_that_the_checkpoint_does_not_cover,
                  a_restored_ledger_catches_up_and_writes_again, the_doctor_finds_a_sound_ledger_sound,
                  the_doctor_names_what_is_wrong]))
