"""Small checkpoints of transformers' own classes, and what they compute.

A file of test/importers/configs says what is built for a family:

    {"common": {...},                  keys of all its configurations
     "goldens": {"a": {...}, ...},     what make.py builds, over the common ones
     "vary": {"key": [value, ...]}}    what random_variants.py draws from

Two keys there are no keys of the configuration: "_dtype" is the type in which weights are
stored (float32), "_layout" is "original" (as checkpoints were published, the default) or
"fused" (as transformers 5 holds them).

Every parameter is drawn at random, norms around one and biases around zero but never at
it, so that nothing drops out of the comparison. Weights are rounded to the type in which
they are stored; transformers computes in float32, with its plain ("eager") attention and
experts.
"""

import contextlib
import json
import pathlib
import warnings

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

PREFILL, STEPS = 33, 8
CLEAR = 1e-3  # least distance of what is selected from what is not
CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "configs"

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning)


def families():
    return {path.stem: json.loads(path.read_text()) for path in sorted(CONFIGS.glob("*.json"))}


def split(values):
    """Keys of the configuration, and ours."""
    ours = {key: value for key, value in values.items() if key.startswith("_")}
    return {key: value for key, value in values.items() if key not in ours}, ours


def randomise(model, seed, dtype):
    generator = torch.Generator().manual_seed(seed)

    def draw(shape):
        return torch.randn(shape, generator=generator, dtype=torch.float32)

    with torch.no_grad():
        tensors = dict(model.named_parameters())
        tensors.update((name, buffer) for name, buffer in model.named_buffers()
                       if "bias" in name or "scale" in name or "scalar" in name)
        for name, tensor in sorted(tensors.items()):
            # What a parameter starts with says whether it multiplies.
            centre = 1.0 if tensor.dim() == 1 and bool((tensor == 1).all()) else 0.0
            last = name.rsplit(".", 1)[-1]
            if tensor.dim() < 2 or "bias" in last:
                value = centre + 0.3 * draw(tensor.shape)
            elif "embed" in name:
                value = draw(tensor.shape)
            else:
                value = draw(tensor.shape) / tensor.shape[-1] ** 0.5
                if "router" in name or name.endswith("gate.weight"):
                    value = value * 2.0
            tensor.copy_(value.to(dtype))


@contextlib.contextmanager
def selections(margins):
    """Notes how clear every torch.topk inside is."""
    plain = torch.topk

    def noting(values, k, dim=-1, **options):
        if k < values.shape[dim]:
            ordered = values.detach().float().sort(dim=dim, descending=True).values
            gap = ordered.select(dim, k - 1) - ordered.select(dim, k)
            gap = gap[torch.isfinite(gap)]
            if gap.numel():
                margins.append(gap.min().item())
        return plain(values, k, dim=dim, **options)

    method = torch.Tensor.topk
    torch.topk = noting
    torch.Tensor.topk = noting
    try:
        yield
    finally:
        torch.topk, torch.Tensor.topk = plain, method


def make_config(family, values):
    config = CONFIG_MAPPING[values.pop("model_type", family)](**values)
    config._attn_implementation = "eager"
    return config


class Built:
    """A model with its logits. `margin` is how clear its choices are."""

    def __init__(self, family, values, seed):
        values, ours = split(json.loads(json.dumps(values)))
        self.dtype = getattr(torch, ours.get("_dtype", "float32"))
        self.fused = ours.get("_layout", "original") == "fused"
        self.config = make_config(family, values)
        self.model = AutoModelForCausalLM.from_config(
            self.config, dtype=torch.float32, attn_implementation="eager")
        with contextlib.suppress(Exception):
            self.model.set_experts_implementation("eager")
        self.model.eval()
        randomise(self.model, seed, self.dtype)
        self.model.tie_weights()
        generator = torch.Generator().manual_seed(seed + 1)
        self.tokens = torch.randint(0, self.config.get_text_config().vocab_size,
                                    (PREFILL + STEPS,), generator=generator)
        self.run()

    def run(self):
        margins = []
        with torch.no_grad(), selections(margins):
            out = self.model(self.tokens[None, :PREFILL], use_cache=True)
            rows, cache = [out.logits[0]], out.past_key_values
            for t in range(PREFILL, PREFILL + STEPS):
                out = self.model(self.tokens[None, t : t + 1], past_key_values=cache,
                                 use_cache=True,
                                 position_ids=torch.tensor([[t]]))
                cache = out.past_key_values
                rows.append(out.logits[0])
        self.logits = torch.cat(rows).float()
        best = self.logits.topk(2, dim=-1).values
        self.argmax_margin = (best[:, 0] - best[:, 1]).min().item()
        self.margin = min(margins, default=1.0)

    def clear(self):
        return (self.margin >= CLEAR and self.argmax_margin >= CLEAR
                and bool(torch.isfinite(self.logits).all()))

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        stored = self.model.to(self.dtype)
        stored.config.dtype = self.dtype
        stored.save_pretrained(folder, save_original_format=not self.fused)
        (folder / "generation_config.json").unlink(missing_ok=True)
        save_file({"tokens": self.tokens.to(torch.int32).contiguous(),
                   "logits": self.logits.contiguous()}, folder / "logits.safetensors")


def build(family, values, seeds=range(1000)):
    """The first seed whose choices are clear."""
    worst = None
    for seed in seeds:
        built = Built(family, values, seed)
        if built.clear():
            built.seed = seed
            return built
        worst = (built.margin, built.argmax_margin)
    raise SystemExit(f"{family}: no seed gives clear selections (last {worst})")
