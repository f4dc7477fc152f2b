"""How far transformers itself is off in bf16: the yardstick of golden.py --bf16.

    bf16_error.py [GOLDEN ...]     all without an argument

Writes bf16.json, or what it has of these goldens.

Loads every golden in bf16, as from_pretrained does, and compares the logits of its prefill
and steps with the stored ones, row by row in norm. `free`: experts as they come; `replayed`:
every torch.topk gives what it gave in float32, with the values of this run; `weights`: so
much comes of rounding the stored weights alone, computed in float32. bf16.json has the
largest row and the root of the mean square of `replayed`. Phi-3.5-MoE chooses by maxima:
there is `free` alone, and nothing in the file; nor is there of formulas. Run it in a virtual environment with
requirements.txt.
"""

import contextlib
import json
import pathlib
import sys

import reference
import torch
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent


@contextlib.contextmanager
def topk(choose):
    plain, method = torch.topk, torch.Tensor.topk
    torch.topk = torch.Tensor.topk = choose
    try:
        yield
    finally:
        torch.topk, torch.Tensor.topk = plain, method


def load(folder, dtype):
    family, name = folder.name.rsplit("-", 1)
    description = reference.families()[family]
    built = reference.Built(family, {**description["common"], **description["goldens"][name]})
    built.model = type(built.model).from_pretrained(
        folder, config=built.config, dtype=dtype, attn_implementation="eager")
    with contextlib.suppress(Exception):
        built.model.set_experts_implementation("eager")
    built.model.eval()
    return built


def errors(logits, wanted):
    logits = logits.float()
    return (logits - wanted).norm(dim=1) / wanted.norm(dim=1)


def measure(folder):
    """Errors of all rows: free, replayed and of the weights alone."""
    stored = load_file(folder / "logits.safetensors")
    wanted = stored["logits"]
    plain, chosen = torch.topk, []

    def noting(values, k, dim=-1, **options):
        result = plain(values, k, dim=dim, **options)
        chosen.append(result.indices)
        return result

    def run(built, choose=None):
        built.tokens = stored["tokens"].long()
        with topk(choose) if choose else contextlib.nullcontext():
            return errors(built.run(), wanted)

    def replayed(built):
        left = list(chosen)

        def repeating(values, k, dim=-1, **_):
            indices = left.pop(0)
            return torch.return_types.topk((values.gather(dim, indices), indices))

        result = run(built, repeating)
        assert not left, "the run in bf16 chose less often"
        return result

    with torch.no_grad():
        exact = run(load(folder, torch.float32), noting)
        assert exact.max() < 1e-4, f"loading it gives another model: {exact.max():.1e}"
        built = load(folder, torch.bfloat16)
        results = run(built), replayed(built)
        built.model.float()
        return *results, replayed(built)


def main():
    names = sys.argv[1:]
    path = HERE / "bf16.json"
    rows = json.loads(path.read_text()) if names else {}
    families = reference.families()
    print(f"{'golden':28} {'free':>8} {'replayed':>8} {'rms':>8} {'weights':>8} {'rms':>8}")
    for config in sorted(HERE.glob("*/config.json")):
        folder = config.parent
        if names and folder.name not in names:
            continue
        if "_formula" in families[folder.name.rsplit("-", 1)[0]]["common"]:
            continue
        free, replayed, weights = measure(folder)
        line = f"{folder.name:28} {free.max():8.1e}"
        if not folder.name.startswith("phimoe"):
            for each in (replayed, weights):
                line += f" {each.max():8.1e} {each.square().mean().sqrt():8.1e}"
            rows[folder.name] = [float(f"{replayed.max():.2e}"),
                                 float(f"{replayed.square().mean().sqrt():.2e}")]
        print(line, flush=True)
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(rows.items())]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
