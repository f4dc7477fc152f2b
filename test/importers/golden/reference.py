"""Small checkpoints of transformers' own classes, and what they compute.

A file of test/importers/configs says what is built for a family:

    {"common": {...},                  keys of all its configurations
     "goldens": {"a": {...}, ...},     what make.py builds, over the common ones
     "vary": {"key": [value, ...]}}    what random_variants.py draws from

Some keys there are no keys of the configuration: "_dtype" is the type in which weights are
stored (float32), "_layout" is "original" (as checkpoints were published, the default) or
"fused" (as transformers 5 holds them), "_model_type" what is written into config.json for
models that use the class of another, "_composite" the keys around the decoder's, which are
then those of its "text_config"; the model still reads text. "_steps": the prefill is
computed token by token, for classes that mix tokens where there are several (Doge).
"_formula" names a class of formulas.py, where transformers has none; "_visual" are then the
positions of tokens that are images' (-1 among the tokens, their rows are "features").

Every parameter is drawn at random, norms around one and biases around zero but never at
it, so that nothing drops out of the comparison. Weights are rounded to the type in which
they are stored; transformers computes in float32, with its plain ("eager") attention and
experts.
"""

import contextlib
import json
import pathlib
import sys
import warnings

import formulas
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.phimoe import modeling_phimoe

PREFILL, STEPS = 33, 8
CLEAR = 1e-3  # least distance of what is selected from what is not
CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "configs"

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning)


def families():
    return {path.stem: json.loads(path.read_text()) for path in sorted(CONFIGS.glob("*.json"))}


def split(values):
    """Keys of the configuration, and ours."""
    ours = {key: value for key, value in values.items() if key.startswith("_")}
    return {key: value for key, value in values.items() if key not in ours}, ours


def starts(model):
    """Everything that a checkpoint stores, with what it is around: a parameter that starts as
    ones multiplies."""
    stored = model.state_dict()
    tensors = dict(model.named_parameters())
    tensors.update((name, buffer) for name, buffer in model.named_buffers() if name in stored)
    return [(name, tensor, 1.0 if tensor.dim() == 1 and bool((tensor == 1).all()) else 0.0)
            for name, tensor in sorted(tensors.items())]


def randomise(tensors, seed, dtype):
    # Routers whose logits are too near or too far from each other give no clear choice.
    gain = 2.0 if seed < 100 else (0.25, 0.5, 1.0, 4.0)[seed % 4]
    generator = torch.Generator().manual_seed(seed)

    def draw(shape):
        return torch.randn(shape, generator=generator, dtype=torch.float32)

    with torch.no_grad():
        for name, tensor, centre in tensors:
            last = name.rsplit(".", 1)[-1]
            if tensor.dim() < 2 or "bias" in last:
                value = centre + 0.3 * draw(tensor.shape)
            elif "embed" in name or "wte" in name:
                value = draw(tensor.shape)
            else:
                value = draw(tensor.shape) / tensor.shape[-1] ** 0.5
                if "router" in name or name.endswith("gate.weight"):
                    value = value * gain
            tensor.copy_(value.to(dtype))


@contextlib.contextmanager
def selections(margins):
    """Notes how clear every torch.topk inside is, and every choice of Phi-3.5-MoE."""
    plain = torch.topk

    def noting(values, k, dim=-1, **options):
        if k < values.shape[dim]:
            ordered = values.detach().float().sort(dim=dim, descending=True).values
            gap = ordered.select(dim, k - 1) - ordered.select(dim, k)
            gap = gap[torch.isfinite(gap)]
            if gap.numel():
                margins.append(gap.min().item())
        return plain(values, k, dim=dim, **options)

    def mixing(scores, jitter_eps, **options):
        rest = scores.detach().clone()
        for _ in range(2):
            best, index = rest.max(dim=-1, keepdim=True)
            distance = (best - scores) / scores.abs().clamp(min=best) - 2 * jitter_eps
            ordered = rest.sort(dim=-1, descending=True).values
            margins.append(min(distance.abs().min().item(),
                               (ordered[..., 0] - ordered[..., 1]).min().item()))
            rest = rest.scatter(-1, index, float("-inf"))
        return mixer(scores, jitter_eps, **options)

    method, mixer = torch.Tensor.topk, modeling_phimoe.sparsemixer
    torch.topk = torch.Tensor.topk = noting
    modeling_phimoe.sparsemixer = mixing
    try:
        yield
    finally:
        torch.topk, torch.Tensor.topk = plain, method
        modeling_phimoe.sparsemixer = mixer


def make_config(family, values, composite):
    values.setdefault("pad_token_id", None)  # it must be below the vocabulary
    if composite:
        tied = values["tie_word_embeddings"]
        values = {**composite, "text_config": values, "tie_word_embeddings": tied}
    config = CONFIG_MAPPING[values.pop("model_type", family)](**values)
    config._attn_implementation = "eager"
    return config


class Built:
    """A model of a configuration. draw(seed) gives it weights and tokens; `margin` is then how
    clear its choices are, and `logits` are there where they are clear."""

    def __init__(self, family, values):
        values, ours = split(json.loads(json.dumps(values)))
        self.dtype = getattr(torch, ours.get("_dtype", "float32"))
        self.fused = ours.get("_layout", "original") == "fused"
        self.model_type = ours.get("_model_type")
        self.steps = ours.get("_steps", False)
        composite = ours.get("_composite")
        self.config = make_config(family, values, composite)
        loader = AutoModelForImageTextToText if composite else AutoModelForCausalLM
        self.model = loader.from_config(
            self.config, dtype=torch.float32, attn_implementation="eager")
        with contextlib.suppress(Exception):
            self.model.set_experts_implementation("eager")
        self.model.eval()
        self.starts = starts(self.model)

    def draw(self, seed):
        self.seed = seed
        randomise(self.starts, seed, self.dtype)
        self.model.tie_weights()
        generator = torch.Generator().manual_seed(seed + 1)
        self.tokens = torch.randint(0, self.config.get_text_config().vocab_size,
                                    (PREFILL + STEPS,), generator=generator)
        self.logits = None
        margins = []
        with torch.no_grad(), selections(margins):
            # All at once first: most draws are not clear.
            if not self.steps:
                self.judge(margins, self.model(self.tokens[None], use_cache=False).logits[0])
            if self.steps or self.clear():
                logits = self.run()
                self.judge(margins, logits)
                self.logits = logits if self.clear() else None

    def judge(self, margins, logits):
        best = logits.float().topk(2, dim=-1).values
        self.argmax_margin = (best[:, 0] - best[:, 1]).min().item()
        self.margin = min(margins, default=1.0)
        self.finite = bool(torch.isfinite(logits).all())

    def run(self):
        first = 1 if self.steps else PREFILL
        out = self.model(self.tokens[None, :first], use_cache=True)
        rows, cache = [out.logits[0]], out.past_key_values
        for t in range(first, PREFILL + STEPS):
            out = self.model(self.tokens[None, t : t + 1], past_key_values=cache,
                             use_cache=True, position_ids=torch.tensor([[t]]))
            cache = out.past_key_values
            rows.append(out.logits[0])
        return torch.cat(rows).float()

    def clear(self):
        return self.margin >= CLEAR and self.argmax_margin >= CLEAR and self.finite

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        stored = self.model.to(self.dtype)
        stored.config.dtype = self.dtype
        stored.save_pretrained(folder, save_original_format=not self.fused)
        (folder / "generation_config.json").unlink(missing_ok=True)
        if self.model_type:
            path = folder / "config.json"
            config = {**json.loads(path.read_text()), "model_type": self.model_type}
            path.write_text(json.dumps(config, indent=2) + "\n")
        save_file({"tokens": self.tokens.to(torch.int32).contiguous(),
                   "logits": self.logits.contiguous()}, folder / "logits.safetensors")


def make(family, values):
    config, ours = split(json.loads(json.dumps(values)))
    if "_formula" not in ours:
        return Built(family, values)
    return formulas.BuiltFormula(
        formulas.FORMULAS[ours["_formula"]], config, ours.get("_visual", []),
        getattr(torch, ours.get("_dtype", "float32")), sys.modules[__name__])


def build(family, values, seeds=range(1000)):
    """The first seed whose choices are clear."""
    built = make(family, values)
    for seed in seeds:
        built.draw(seed)
        if built.clear():
            return built
    raise SystemExit(f"{family}: no seed gives clear selections (last {built.margin:.1e}, "
                     f"{built.argmax_margin:.1e})")
