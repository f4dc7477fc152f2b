"""Makes the golden checkpoints of this folder with Hugging Face transformers.

    make.py [FAMILY ...]     all families without an argument

Run it in a virtual environment with requirements.txt. The result depends on nothing but
the files of test/importers/configs and the versions there.
"""

import pathlib
import sys

import reference

HERE = pathlib.Path(__file__).resolve().parent


def main():
    wanted = sys.argv[1:]
    print(f"{'golden':28} {'seed':>4} {'choices':>8} {'arg-max':>8} {'KiB':>6}")
    for family, description in reference.families().items():
        if wanted and family not in wanted:
            continue
        for name, values in description["goldens"].items():
            built = reference.build(family, {**description["common"], **values})
            folder = HERE / f"{family}-{name}"
            built.save(folder)
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1024
            print(f"{folder.name:28} {built.seed:4} {built.margin:8.1e} "
                  f"{built.argmax_margin:8.1e} {size:6.0f}", flush=True)


if __name__ == "__main__":
    main()
