#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds three configurations, runs every test in them and the source checks,
and counts test cases (not programs).  The last line of the output is always
`N passed, N failed, N skipped`; the exit status is 0 only when something
passed and nothing failed.

A test program speaks TAP (cmocka does, when asked), or prints lines
`ok - name`, `not ok - name`, `ok - name # SKIP why`; one that prints neither
counts as one case by its exit status, 77 meaning skipped.  A program that
dies, runs out of time or says nothing about a case it planned has failed."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CASE = re.compile(r"(?P<no>not )?ok(?: (?P<number>\d+))?(?: - (?P<name>.*?))?(?P<skip>\s*# SKIP\b(?P<why>.*))?\s*$")
PLAN = re.compile(r"^1\.\.(\d+)\s*$")


@dataclass
class Config:
    folder: str
    compiler: str
    about: str
    options: list
    suites: list = field(default_factory=list)  # empty: all
    without: list = field(default_factory=list)
    env: dict = field(default_factory=dict)
    patience: int = 1  # what time-outs are multiplied by


# Sanitized programs run several times slower: they do a tenth of the crash
# points, power cuts and seeds, and have longer to do it.
CONFIGS = [
    Config("build", "gcc", "gcc, release", []),
    Config("build-clang", "clang-14", "clang-14: unit, property and vector suites", ["-Doptimization=1"],
           suites=["unit", "property", "vectors"]),
    Config("build-asan", "clang-14", "clang-14, address and undefined-behaviour sanitizers",
           ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1", "-Ddebug=true"],
           without=["tools"],
           env={"VOUCHSAFE_TEST_SCALE": "10", "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=1",
                "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"},
           patience=4),
    Config("build-tsan", "clang-14", "clang-14, thread sanitizer: what uses threads",
           ["-Db_sanitize=thread", "-Db_lundef=false", "-Doptimization=1", "-Ddebug=true"], suites=["threads"],
           env={"VOUCHSAFE_TEST_SCALE": "10", "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}, patience=4),
]


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


def parse(output):
    """The cases in a program's output: passed, failed names, (skipped name,
    reason); and how many were planned but never reported."""
    passed, failed, skipped = 0, [], []
    planned, previous = 0, ""
    for line in output.splitlines():
        plan = PLAN.match(line)
        if plan:
            planned += int(plan.group(1))
            continue
        # A test that prints without a final newline leaves its text before
        # "ok N"; only numbered lines are looked for in mid-line.
        at = re.search(r"(?:not )?ok \d+(?: - |\s*# SKIP)", line) if not re.match(r"(not )?ok\b", line) else None
        case = CASE.match(line[at.start():] if at and not line.startswith("#") else line)
        if not case:
            previous = line.strip() or previous
            continue
        name = (case.group("name") or case.group("why") or "").strip()
        if case.group("skip") is not None:
            why = (case.group("why") or "").strip() if case.group("name") else ""
            skipped.append((name, why or previous or "no reason given"))
        elif case.group("no"):
            failed.append(name)
        else:
            passed += 1
        previous = ""
    seen = passed + len(failed) + len(skipped)
    return passed, failed, skipped, max(0, planned - seen)


def judge(label, status, output, timed_out=None):
    """One program's part of the tally."""
    tally = Tally()
    passed, failed, skipped, missing = parse(output)
    tally.passed = passed
    tally.failed = [f"{label}: {name}" for name in failed]
    tally.skipped = [(f"{label}: {name}", why) for name, why in skipped]
    spoke = passed or failed or skipped
    if timed_out:
        tally.failed.append(f"{label}: ran longer than {timed_out} s")
    elif status == 77 and not spoke:
        lines = [line for line in output.splitlines() if line.strip()]
        tally.skipped.append((label, lines[-1].strip() if lines else "no reason given"))
    elif status != 0 and not failed:
        tally.failed.append(f"{label}: " + (f"signal {-status}" if status < 0 else f"exit status {status}"))
    elif status == 0 and missing:
        tally.failed.append(f"{label}: {missing} planned cases never reported")
    elif not spoke:
        tally.passed += 1
    return tally


def run(label, cmd, env, cwd, timeout):
    """Runs one program in a process group of its own; returns its tally and
    all it printed."""
    process = subprocess.Popen(cmd, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    late = threading.Event()

    def end():
        late.set()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    timer = threading.Timer(timeout, end)
    timer.start()
    try:
        out, err = (text.decode("utf-8", "replace") for text in process.communicate())
    finally:
        timer.cancel()
    tally = judge(label, process.returncode, out if out.strip() else err, timeout if late.is_set() else None)
    return tally, out + err


class Screen:
    """Whole messages from several threads, never mixed."""

    def __init__(self):
        self.lock = threading.Lock()

    def say(self, text):
        with self.lock:
            print(text, flush=True)


def build(config, screen):
    """Configures when needed and builds; returns what went wrong, or None."""
    folder = os.path.join(ROOT, config.folder)
    env = dict(os.environ, CC=config.compiler)
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        shutil.rmtree(folder, ignore_errors=True)
        done = subprocess.run(["meson", "setup", folder, ROOT, *config.options], env=env, cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            return done.stdout
    done = subprocess.run(["ninja", "-C", folder, "--quiet"], env=env, cwd=ROOT, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout if done.returncode != 0 else None


def tests_of(config, only):
    """The tests meson knows in this configuration, those of the wanted suites."""
    folder = os.path.join(ROOT, config.folder)
    listed = json.loads(subprocess.check_output(["meson", "introspect", folder, "--tests"], cwd=ROOT))
    for test in listed:
        suites = [suite.split(":")[-1] for suite in test["suite"]]
        wanted = not config.suites or any(suite in config.suites for suite in suites)
        if wanted and not any(suite in config.without for suite in suites) and (not only or re.search(only, test["name"])):
            yield suites[0] if suites else "", test


def run_config(config, screen, only, jobs):
    tally = Tally()
    started = time.monotonic()
    screen.say(f"== {config.folder} ({config.about})")
    trouble = build(config, screen)
    if trouble is not None:
        screen.say(trouble)
        tally.failed.append(f"{config.folder}: does not build")
        return tally
    built = time.monotonic()

    def one(item):
        suite, test = item
        label = f"{config.folder}/{suite}/{test['name']}"
        env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", **config.env)
        env.pop("CMOCKA_XML_FILE", None)
        # Whoever says where the shared vectors are is believed over meson.build.
        env.update({name: value for name, value in test["env"].items() if name != "VOUCHSAFE_SHARED" or name not in env})
        cwd = test["workdir"] or os.path.join(ROOT, config.folder)
        timeout = (test["timeout"] or 600) * config.patience
        began = time.monotonic()
        mine, text = run(label, test["cmd"], env, cwd, timeout)
        took = time.monotonic() - began
        if mine.failed:
            screen.say(f"FAILED {label} ({took:.1f} s); all it printed:\n{text.rstrip()}\n-- end of {label}")
        else:
            screen.say(f"   {label}: {mine.line()} ({took:.1f} s)")
        return mine

    items = sorted(tests_of(config, only), key=lambda item: -(item[1]["timeout"] or 0))
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, [item for item in items if item[1]["is_parallel"]]))
    results += [one(item) for item in items if not item[1]["is_parallel"]]
    for mine in results:
        tally.add(mine)
    now = time.monotonic()
    screen.say(f"== {config.folder}: {tally.line()}; {len(items)} programs, "
               f"built in {built - started:.0f} s, run in {now - built:.0f} s")
    return tally


def run_checks(screen):
    started = time.monotonic()
    screen.say("== source checks")
    tally, text = run("check", ["tools/check.sh"], dict(os.environ), ROOT, 600)
    screen.say(text.rstrip())
    screen.say(f"== source checks: {tally.line()}; in {time.monotonic() - started:.0f} s")
    return tally


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--config", action="append", choices=[c.folder for c in CONFIGS], help="only this build (repeatable)")
    ask.add_argument("--only", help="only tests whose name matches this regular expression")
    ask.add_argument("--no-check", action="store_true", help="leave the source checks out")
    ask.add_argument("-j", type=int, default=2, help="programs run at once (2)")
    args = ask.parse_args()
    screen, total, started = Screen(), Tally(), time.monotonic()
    for config in CONFIGS:
        if not args.config or config.folder in args.config:
            total.add(run_config(config, screen, args.only, args.j))
    if not args.no_check:
        total.add(run_checks(screen))
    if total.skipped:
        print("Skipped:")
        for name, why in total.skipped:
            print(f"   {name} ({why})")
    if total.failed:
        print("Failed:")
        for name in total.failed:
            print(f"   {name}")
    if not total.passed and not total.failed:
        print("No test ran.")
    print(f"Elapsed: {time.monotonic() - started:.0f} s")
    print(total.line(), flush=True)
    sys.exit(0 if total.passed and not total.failed else 1)


if __name__ == "__main__":
    main()
