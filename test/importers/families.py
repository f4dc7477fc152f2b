"""docs/models.md, the configurations and the goldens against the families there are.

    families.py --moec=MOEC
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", re.MULTILINE)
LIMIT = 15 << 20  # bytes of all goldens


def registered(moec):
    """model_types -> summary."""
    text = subprocess.run([moec, "--print-families"], capture_output=True, text=True,
                          check=True).stdout
    return dict(line.split(": ", 1) for line in text.splitlines())


def documented():
    page = (ROOT / "docs" / "models.md").read_text()
    table = page.split("## Families", 1)[1].split("\n## ", 1)[0]
    return {names.replace("`", ""): summary for names, summary in ROW.findall(table)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--moec", required=True)
    families, rows = registered(parser.parse_args().moec), documented()
    faults = [f"docs/models.md has no row '{names}: {summary}'"
              for names, summary in families.items() if rows.get(names) != summary]
    faults += [f"docs/models.md has '{names}', which is no family"
               for names in rows if names not in families and names != "model_type"]
    configs = {path.stem: json.loads(path.read_text())
               for path in (HERE / "configs").glob("*.json")}
    # Others may be names of one and the same class.
    faults += [f"configs/ has nothing for {names}"
               for names in families if names.split(", ")[0] not in configs]
    known = {name for names in families for name in names.split(", ")}
    faults += [f"configs/{name}.json is of no family" for name in configs if name not in known]
    goldens = {path.parent.name for path in HERE.glob("golden/*/config.json")}
    for name, config in configs.items():
        mine = {f"{name}-{golden}" for golden in config["goldens"]}
        if len(mine) < 2:
            faults.append(f"configs/{name}.json has fewer than two goldens")
        faults += [f"golden/{golden} is missing: run make.py" for golden in mine - goldens]
        goldens -= mine
    faults += [f"golden/{golden} is in no file of configs/" for golden in goldens]
    there = {path.parent.name for path in HERE.glob("golden/*/config.json")}
    yardstick = json.loads((HERE / "golden" / "bf16.json").read_text())
    faults += [f"golden/bf16.json has {golden}, which is no golden: run bf16_error.py"
               for golden in yardstick.keys() - there]
    size = sum(path.stat().st_size for path in HERE.glob("golden/*/*"))
    if size > LIMIT:
        faults.append(f"goldens have {size} bytes, more than {LIMIT}")
    print("\n".join(faults) or f"{len(families)} families, goldens of {size / 2**20:.1f} MiB")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
