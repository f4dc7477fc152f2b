"""Holds the first argument's MiB of anonymous memory, a child the second's, and both
map as much of a file."""

import mmap
import os
import sys
import tempfile
import time

MIB = 1 << 20
mine, childs = (int(size) * MIB for size in sys.argv[1:])
with tempfile.TemporaryFile() as file:
    file.write(b"x" * mine)
    file.flush()
    pages = mmap.mmap(file.fileno(), mine, prot=mmap.PROT_READ)
    total = sum(pages[::mmap.PAGESIZE])
pid = os.fork()
held = bytearray(mine if pid else childs)
held[:: mmap.PAGESIZE] = b"y" * len(range(0, len(held), mmap.PAGESIZE))
time.sleep(0.6)
if pid:
    os.waitpid(pid, 0)
