"""Unpacks the artifacts of a folder that pack.sh has made, once: unpack.py FOLDER."""

import gzip
import pathlib
import shutil
import sys

for packed in sorted(pathlib.Path(sys.argv[1]).glob("*/*.so.gz")):
    artifact = packed.with_suffix("")
    temporary = artifact.with_name(artifact.name + ".part")
    with gzip.open(packed) as source, open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)
    temporary.replace(artifact)
    packed.unlink()
