"""Kills moec while it replaces an artifact; the old or the new one must stand.

    kill.py MOEC MOE-INSPECT FAULTS.so MODEL.moe FOLDER [PLACE]

First at every single call that changes files, then at random moments. What
stands afterwards must be the bytes of the old or of the new artifact, and its
weights those that its manifest has the checksums of (moe-inspect --verify).
PLACE is where weights go: embed or external.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

MOMENTS = 8


def main():
    moec, inspect, faults, model, folder, place = sys.argv[1:]
    folder = pathlib.Path(folder)
    work = folder / "work"

    def compile_to(target, seed, **more):
        return subprocess.Popen(
            [moec, model, "-O0", "--levels=generic",
             f"--weights={place},synthetic:{seed}", "-o", target / "m.so"],
            # The linker's files are beyond clearing up, too.
            env={**os.environ, "TMPDIR": str(folder), **more}, stderr=subprocess.DEVNULL)

    kinds = {}
    for seed, name in ((1, "old"), (2, "new")):
        (folder / name).mkdir(parents=True)
        assert compile_to(folder / name, seed).wait() == 0
        kinds[(folder / name / "m.so").read_bytes()] = name
    assert len(kinds) == 2

    def start(**more):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder / "old", work)
        return compile_to(work, 2, **more)

    def standing():
        """'old' or 'new'; ends the test where it is neither."""
        name = kinds.get((work / "m.so").read_bytes())
        assert name, "neither the old artifact nor the new one"
        verified = subprocess.run([inspect, "--verify", work / "m.so"],
                                  capture_output=True, text=True)
        assert verified.returncode == 0, verified.stderr
        return name

    found = []
    for call in range(1, 1000):
        code = start(LD_PRELOAD=faults, FAULT_KILL=str(call)).wait()
        if code == 0:
            break
        assert code == -9, f"expected to be killed, found status {code}"
        found.append(standing())
    assert standing() == "new"
    # Nothing stands half-way, and in between there is one change.
    changes = sum(a != b for a, b in zip(found, found[1:]))
    assert found[0] == "old" and changes <= 1, found
    # The side file of the old artifact is removed once the new one stands.
    assert place == "embed" or found[-1] == "new", found
    assert len(list(work.iterdir())) == (1 if place == "embed" else 2)
    calls = len(found)

    begin = time.monotonic()
    start().wait()
    duration = time.monotonic() - begin
    generator = random.Random(7)
    for _ in range(MOMENTS):
        process = start()
        time.sleep(generator.uniform(0.2, 1.05) * duration)
        process.kill()
        process.wait()
        found.append(standing())
    print(f"{place}: killed at {calls} calls and {MOMENTS} moments: "
          f"{found.count('old')} old, {found.count('new')} new")


main()
