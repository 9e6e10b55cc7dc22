# SPDX-License-Identifier: Apache-2.0
"""The log that vouch serves, read over HTTP by code that is not ours: Tessera's
fsck and Go's x/mod.  Both must notice when a tile that is served is wrong.

usage: served_log_test.py VOUCH"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

from harness import ENV, LEDGER, ROOT, SCRATCH, VOUCH, expect, flip, path, run

FSCK = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "vouchsafe", "fsck-v1.0.4")
ENTRIES = 300  # a state-commit follows most of them, so two tiles are full
VKEY = path("vkey")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def serve(ledger):
    port = free_port()
    server = subprocess.Popen([VOUCH, "-C", ledger, "serve", "--listen", f"127.0.0.1:{port}"], env=ENV,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/checkpoint", timeout=5).read()
            return server, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.05)
    server.kill()
    raise AssertionError("vouch serve does not answer")


def stop(server):
    server.terminate()
    assert server.wait(30) == 0, "vouch serve did not end well"


def fsck(url, patience=60):
    """Its exit code and what it said; on a wrong tile it may wait for ever, which counts as a refusal."""
    with subprocess.Popen([FSCK, "--ui=false", f"--storage_url={url}/", f"--public_key={VKEY}"], text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, said = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        return process.returncode, said


def xmod(url):
    done = subprocess.run(["sh", os.path.join(ROOT, "tests", "integration", "xmod.sh"), url, VKEY], capture_output=True,
                          text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def a_ledger_of_several_tiles():
    expect(0, "init", LEDGER, "--operator", "clinic-a", "--origin", "clinic-a.example/ledger")
    with open(os.path.join(LEDGER, "vouch.conf")) as file:
        conf = file.read()
    with open(os.path.join(LEDGER, "vouch.conf"), "w") as file:
        file.write(re.sub(r"(?m)^read =.*", "read = public", conf))
    with open(os.path.join(LEDGER, "trust.policy")) as file:
        path("vkey", file.readline().split()[1] + "\n")
    for i in range(ENTRIES):
        model = path("model.json", f'{{"name":"model-{i}","digest":"{i:064x}"}}')
        expect(0, "log", "submit", "model", model)


def outside_code_reads_it():
    server, url = serve(LEDGER)
    try:
        code, said = fsck(url)
        assert code == 0 and "Successfully fsck'd" in said, said
        size = int(re.search(r"log with size (\d+)", said).group(1))
        assert size > 512, f"only {size} entries"
        code, said = xmod(url)
        assert code == 0, said
        # What grows while it is served is readable at once.
        model = path("model.json", f'{{"name":"one more","digest":"{"f" * 64}"}}')
        expect(0, "log", "submit", "model", model)
        code, said = fsck(url)
        assert code == 0 and int(re.search(r"log with size (\d+)", said).group(1)) > size, said
    finally:
        stop(server)


def outside_code_refuses_a_wrong_tile():
    bad = os.path.join(SCRATCH, "bad")
    shutil.copytree(LEDGER, bad)
    tile = os.path.join(bad, "tlog", "tile", "0", "000")
    flip(tile, 100)
    server, url = serve(bad)
    try:
        code, said = fsck(url, 10)
        assert code != 0 and "Successfully" not in said, said
        code, said = xmod(url)
        assert code == 1, said
    finally:
        stop(server)


def main():
    if not os.access(FSCK, os.X_OK):
        print("served_log: skipped, Tessera's fsck is not there (tools/setup.sh test builds it)")
        return 77
    return run([a_ledger_of_several_tiles, outside_code_reads_it, outside_code_refuses_a_wrong_tile])


if __name__ == "__main__":
    sys.exit(main())
