"""Peak anonymous memory and time of a compilation, as a line of a table.

    compile_memory.py [--interval=0.01] MOEC ARGUMENT..

Runs the command and polls /proc for RssAnon of the process and of its children together:
what the compiler holds of its own, without the pages of files that it maps. The line goes to
standard output, what the command writes to where it always goes. Ends with the status of the
command; 128 and the signal where one ended it.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

HEADER = ("| command | peak anonymous MiB | wall s | processor s | samples |\n"
          "| --- | ---: | ---: | ---: | ---: |")


def children_of(pid):
    """Children of all threads of a process."""
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in listing.read_text().split()]
        except OSError:
            pass  # the thread has ended
    return found


def anonymous_kib(pid):
    """RssAnon of a process and all below it; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = children_of(pid)
    except OSError:
        return 0
    own = sum(int(line.split()[1]) for line in status.splitlines()
              if line.startswith("RssAnon:"))
    return own + sum(anonymous_kib(child) for child in children)


def measure(command, interval):
    """Peak KiB, seconds that passed, seconds of processor, samples, status."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    process = subprocess.Popen(command)
    peak = samples = 0
    while process.poll() is None:
        peak = max(peak, anonymous_kib(process.pid))
        samples += 1
        time.sleep(interval)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    status = process.returncode
    return peak, wall, cpu, samples, status if status >= 0 else 128 - status


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interval", type=float, default=0.01, help="seconds between samples")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command or arguments.interval <= 0:
        parser.error("expected a command and a positive interval")
    try:
        peak, wall, cpu, samples, status = measure(arguments.command, arguments.interval)
    except OSError as error:
        sys.exit(f"{arguments.command[0]}: {error.strerror}")
    name = " ".join([os.path.basename(arguments.command[0]), *arguments.command[1:]])
    print(f"{HEADER}\n| `{name}` | {peak / 1024:.1f} | {wall:.1f} | {cpu:.1f} | {samples} |")
    sys.exit(status)


if __name__ == "__main__":
    main()
