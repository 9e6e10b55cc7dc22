# SPDX-License-Identifier: Apache-2.0
"""A served vault on one machine: a node, trustees and storage nodes, each a
process with a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import time

from harness import ENV, LEDGER, SCRATCH, VOUCH, ask, expect, path

processes = {}  # name -> Popen
urls = {}  # name -> URL#KEYID


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def folder(name):
    return os.path.join(SCRATCH, name)


def launch(name, *args):
    """Starts a server and waits until it says that it listens."""
    log = open(os.path.join(SCRATCH, name + ".log"), "ab")
    child = subprocess.Popen([VOUCH, *args], env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                             text=True)
    line = child.stdout.readline()
    assert "listening" in line, f"{name} did not start: {open(log.name).read()[-2000:]}"
    processes[name] = child


def start(name):
    role = name.split("-")[0]
    if role == "node":
        launch(name, "-C", LEDGER, "serve", "--listen", "unix:" + folder("node.sock"))
    else:
        launch(name, role, "serve", folder(name))


def kill(name, how=signal.SIGKILL):
    child = processes.pop(name)
    child.send_signal(how)
    if how == signal.SIGTERM:
        assert child.wait(30) == 0, f"{name} did not end well"
    else:
        child.wait()
    child.stdout.close()


def pid(name):
    return processes[name].pid


def stop_all():
    for name in list(processes):
        kill(name)


def make(name, writers=()):
    listen = f"127.0.0.1:{free_port()}"
    role = name.split("-")[0]
    if role == "trustee":
        args = ["--follow", "unix:" + folder("node.sock"), "--trust", os.path.join(LEDGER, "trust.policy")]
    else:
        args = [arg for w in writers for arg in ("--writer", w)]
    expect(0, role, "init", folder(name), "--listen", listen, *args)
    urls[name] = ask(role, "status", folder(name))["url"]


def names(trustees=3, storage=3):
    return [f"trustee-{i + 1}" for i in range(trustees)] + [f"storage-{i + 1}" for i in range(storage)]


def settings(**more):
    """vouch.conf with a [vault] of all roles made so far, accepted."""
    conf = os.path.join(LEDGER, "vouch.conf")
    with open(conf) as file:
        text = file.read()
    before, _, rest = text.partition("[vault]")
    after = rest[rest.index("\n["):] if "\n[" in rest else ""
    lines = ["[vault]", "mode = served"] + [f"{k} = {v}" for k, v in more.items()]
    lines += [f"{name.replace('-', '.')} = {url}" for name, url in urls.items()]
    with open(conf, "w") as file:
        file.write(before + "\n".join(lines) + "\n" + after)
    expect(0, "config", "accept")


def up(operator, trustees=3, storage=3):
    """From `vouch init --no-vault` to a vault whose roles all answer."""
    start("node")
    key = ask("id", "show", operator)["key id"]
    for name in names(trustees, storage):
        make(name, [key])
        start(name)
    settings(trustees=trustees, storage=storage)
    processes["node"].send_signal(signal.SIGHUP)  # others ask it where they are
    status = ask("vault", "up", "--as", operator)
    assert all(r["here"] for r in status["trustees"] + status["storage"]), status
    wait_following()
    return status


def trustee_size(name):
    return json.loads(subprocess.run([VOUCH, "--json", "trustee", "status", folder(name)], env=ENV, capture_output=True,
                                     text=True, timeout=60).stdout)["entries"]


def wait_following(which=None, seconds=60):
    """Until each trustee has seen what the node has now."""
    want = ask("status")["entries"]
    for name in which or [n for n in processes if n.startswith("trustee")]:
        end = time.monotonic() + seconds
        while trustee_size(name) < want:
            assert time.monotonic() < end, f"{name} is behind: {trustee_size(name)} of {want}"
            time.sleep(0.1)


def memory_image(name):
    """All that the process has in memory and that can be read, in one file; of
    files that it maps only what is private to it.  None under a sanitizer, whose
    maps are larger than disks."""
    at = path(name + ".memory")
    with open(f"/proc/{pid(name)}/maps") as maps, open(f"/proc/{pid(name)}/mem", "rb", buffering=0) as memory, \
            open(at, "wb") as out:
        for line in maps:
            where, rights = line.split()[:2]
            first, last = (int(x, 16) for x in where.split("-"))
            if not rights.startswith("r") or rights.endswith("s") or "[v" in line:
                continue
            if last - first > 1 << 36:
                return None
            for begin in range(first, last, 1 << 20):
                try:
                    memory.seek(begin)
                    out.write(memory.read(min(1 << 20, last - begin)))
                except (OSError, ValueError, OverflowError):
                    break
    return at


def all_files(*tops):
    return [os.path.join(at, n) for top in tops for at, _, files in os.walk(top) for n in files
            if not os.path.islink(os.path.join(at, n)) and os.path.isfile(os.path.join(at, n))]
