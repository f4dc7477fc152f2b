"""Trains the fashion model on a CPU within a given time.

    python train.py --minutes 75          # may be stopped and started again at any time
    python export.py                      # writes fashion.safetensors from the checkpoint

Two tasks share every step. Captions: the caption of an image given the image, loss on the
caption bytes, the first of them predicted at the last patch. Prose: the next byte of a
window of text. Two terms help: one keeps the load of the experts even, and a throw-away
classifier of the mean patch teaches the image side sooner than the captions alone do.

The learning rate follows a cosine over the *time* budget, not over a number of steps: the
run ends on time on any machine and however busy it is. --steps gives a run whose length
does not depend on the clock. The random choices of a step depend on the seed and the step
alone, so a resumed run sees the data it would have seen.
"""

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import data
from model import HIDDEN, Batch, Model, initial_weights

SHORT = 16  # caption bytes fed in most steps
IGNORED = -100  # target of a padded caption byte
FOLDER = Path(__file__).parent
BALANCE_TERMS = 7  # three layers of two groups, and the last patches once more
# Prose windows (length, share of the steps). The longest is the whole context; most are
# shorter, because attention over short windows is cheaper and they mix more of the text.
WINDOWS = [(192, 0.4), (256, 0.4), (512, 0.2)]


def caption_tables():
    """Returns (inputs [10, n], targets [10, n + 1]) for all classes, padded to the longest.

    Target 0 belongs to the last patch; target i + 1 to caption byte i. What a padded input
    byte predicts is ignored, and being causal, attention never shows it to a real one.
    """
    captions = data.captions()
    longest = max(map(len, captions)) - 1
    inputs = torch.full((10, longest), data.TERMINATOR[0])
    targets = torch.full((10, longest + 1), IGNORED)
    for row, caption in enumerate(captions):
        codes = torch.tensor(list(caption))
        inputs[row, : len(codes) - 1] = codes[:-1]
        targets[row, : len(codes)] = codes
    return inputs, targets


def caption_loss(last, caption, targets, reduction="mean"):
    """Returns -log p(caption | image): a sum over the bytes, by default a mean over images."""
    logits = torch.cat([last[:, None], caption.view(targets.shape[0], -1, 256)], dim=1)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(),
                           ignore_index=IGNORED, reduction="none")
    loss = loss.view(targets.shape).sum(dim=1)
    return loss.mean() if reduction == "mean" else loss


class Sampler:
    """Draws the batch of a step from the seed and the step number alone."""

    def __init__(self, arguments):
        self.seed, self.images, self.bytes = arguments.seed, arguments.images, arguments.bytes
        self.pixels, self.labels = data.images("train", arguments.data)
        self.text = data.prose("train")
        self.inputs, self.targets = caption_tables()
        self.epoch, self.order = None, None

    def image_indices(self, step):
        """Walks through one permutation of the images per epoch."""
        total = len(self.labels)
        result = []
        for position in range(step * self.images, (step + 1) * self.images):
            if position // total != self.epoch:
                self.epoch = position // total
                self.order = np.random.default_rng([self.seed, 1, self.epoch]).permutation(total)
            result.append(self.order[position % total])
        return np.array(result)

    def draw(self, step):
        """Returns (Batch, caption targets, prose targets, labels)."""
        rng = np.random.default_rng([self.seed, 2, step])
        chosen = self.image_indices(step)
        labels = torch.from_numpy(self.labels[chosen].astype(np.int64))
        patches = torch.from_numpy(data.patches(self.pixels[chosen]))
        length = int(rng.choice([w for w, _ in WINDOWS], p=[p for _, p in WINDOWS]))
        starts = rng.integers(0, len(self.text) - length, max(1, self.bytes // length))
        prose = torch.from_numpy(np.stack(
            [self.text[s : s + length + 1] for s in starts]).astype(np.int64))
        # All captions differ by byte SHORT; what follows can be told from the text alone, so
        # most steps save the time for more images.
        end = SHORT if step % 4 else self.inputs.shape[1]
        batch = Batch(patches, self.inputs[labels, :end], prose[:, :-1])
        return batch, self.targets[labels, : end + 1], prose[:, 1:], labels


@torch.no_grad()
def validate(model, arguments, images=300, windows=64):
    """Prints accuracy on some validation images and bits per byte on some validation prose."""
    pixels, labels = data.images("validation", arguments.data)
    pixels, labels = pixels[:images], torch.from_numpy(labels[:images].astype(np.int64))
    inputs, targets = caption_tables()
    empty = torch.zeros((0, 1), dtype=torch.long)
    scores = []
    for part in torch.from_numpy(data.patches(pixels)).split(20):
        count = len(part)
        batch = Batch(part.repeat_interleave(10, dim=0), inputs.repeat(count, 1), empty)
        last, caption, *_ = model.forward(batch)
        loss = caption_loss(last, caption, targets.repeat(count, 1), "none")
        scores.append(-loss.view(count, 10))
    right = (torch.cat(scores).argmax(dim=1) == labels).float().mean().item()
    text = data.prose("validation")
    cut = torch.from_numpy(text[: windows * 513].reshape(windows, 513).astype(np.int64))
    no_images = torch.zeros((0, 49, 16), dtype=torch.uint8)
    batch = Batch(no_images, empty, cut[:, :-1])
    logits = model.forward(batch)[2]
    bits = F.cross_entropy(logits, cut[:, 1:].flatten()).item() / math.log(2)
    print(f"validation: accuracy {right:.3f} of {images} images, {bits:.3f} bits per byte",
          flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=75, help="time budget of the whole run")
    parser.add_argument("--steps", type=int, help="length of the run in steps instead of minutes")
    parser.add_argument("--images", type=int, default=64, help="images in a step")
    parser.add_argument("--bytes", type=int, default=512, help="bytes of prose in a step")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=0.05, help="weight decay of the matrices")
    parser.add_argument("--prose-weight", type=float, default=0.7)
    parser.add_argument("--summary-weight", type=float, default=0.5)
    parser.add_argument("--balance-weight", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--data", default=data.DATA_DIR, help="folder of the Fashion-MNIST files")
    parser.add_argument("--checkpoint", type=Path, default=FOLDER / ".checkpoints/last.pt")
    parser.add_argument("--checkpoint-minutes", type=float, default=3)
    parser.add_argument("--validation-minutes", type=float, default=12)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    sampler = Sampler(arguments)
    weights = initial_weights(arguments.seed)
    matrices = [v for k, v in weights.items() if v.dim() == 2 and "position" not in k]
    others = [v for k, v in weights.items() if not (v.dim() == 2 and "position" not in k)]
    # A classifier of the mean patch, used in training only: it asks the image side for the class
    # directly, where the captions reach it through the attention of a few text bytes.
    summary_head = torch.zeros(10, HIDDEN, requires_grad=True)
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": arguments.decay},
         {"params": others, "weight_decay": 0.0},
         {"params": [summary_head], "weight_decay": 0.0}],
        lr=arguments.rate, betas=(0.9, 0.98), fused=True)
    step, before, images_seen, bytes_seen = 0, 0.0, 0, 0
    if arguments.checkpoint.exists():
        saved = torch.load(arguments.checkpoint, weights_only=True)
        with torch.no_grad():
            for name, value in saved["weights"].items():
                weights[name].copy_(value)
            summary_head.copy_(saved["summary_head"])
        optimizer.load_state_dict(saved["optimizer"])
        step, before = saved["step"], saved["seconds"]
        images_seen, bytes_seen = saved["images_seen"], saved["bytes_seen"]
        print(f"resumed at step {step}, {before / 60:.1f} minutes")
    model = Model(weights)
    print(f"{sum(v.numel() for v in weights.values())} parameters")

    def save():
        arguments.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        fresh = arguments.checkpoint.with_suffix(".new")
        torch.save({"weights": {k: v.detach() for k, v in weights.items()},
                    "optimizer": optimizer.state_dict(), "step": step,
                    "seconds": before + time.monotonic() - start,
                    "summary_head": summary_head.detach(), "seed": arguments.seed,
                    "images_seen": images_seen, "bytes_seen": bytes_seen}, fresh)
        fresh.replace(arguments.checkpoint)  # so that a cut run never leaves half a file

    start = saved_at = validated_at = time.monotonic()
    mean = None
    while True:
        now = time.monotonic()
        seconds = before + now - start
        progress = step / arguments.steps if arguments.steps else seconds / (60 * arguments.minutes)
        if progress >= 1:
            break
        warm = min(1.0, progress / 0.03 + 0.01)
        rate = arguments.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = rate

        batch, caption_targets, prose_targets, labels = sampler.draw(step)
        last, caption, prose, balance, summary = model.forward(batch)
        captions = caption_loss(last, caption, caption_targets)
        text = F.cross_entropy(prose, prose_targets.flatten())
        pooled = F.cross_entropy(summary @ summary_head.T, labels)
        loss = (captions + arguments.prose_weight * text + arguments.summary_weight * pooled
                + arguments.balance_weight * balance)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

        step += 1
        images_seen += batch.images
        bytes_seen += prose_targets.numel()
        figures = np.array([captions.item(), text.item() / math.log(2),
                            balance.item() / BALANCE_TERMS, pooled.item()])
        mean = figures if mean is None else 0.98 * mean + 0.02 * figures
        if step % 50 == 0 or step < 5:
            print(f"step {step}  {seconds / 60:.1f} min  rate {rate:.2e}  caption nats "
                  f"{mean[0]:.3f}  prose bits {mean[1]:.3f}  imbalance {mean[2]:.3f}  "
                  f"summary nats {mean[3]:.3f}", flush=True)
        if now - saved_at > 60 * arguments.checkpoint_minutes:
            saved_at = now
            save()
        if now - validated_at > 60 * arguments.validation_minutes:
            validated_at = now
            validate(model, arguments)
    save()
    validate(model, arguments)


if __name__ == "__main__":
    main()
