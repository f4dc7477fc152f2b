"""Writes fashion.safetensors from a checkpoint of train.py, every tensor rounded to bf16."""

import argparse
from pathlib import Path

import torch

import safetensors_io
from model import tensor_shapes

FOLDER = Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=FOLDER / ".checkpoints/last.pt")
    parser.add_argument("--output", type=Path, default=FOLDER / "fashion.safetensors")
    arguments = parser.parse_args()

    saved = torch.load(arguments.checkpoint, weights_only=True)
    weights = {name: saved["weights"][name].numpy() for name in tensor_shapes()}
    for name, shape in tensor_shapes().items():
        assert weights[name].shape == shape, name
    safetensors_io.write(arguments.output, weights, {
        "format": "pt",
        "model": "fashion.moe",
        "origin": "examples/fashion/train.py, trained from random weights",
        "training_data": "Fashion-MNIST training images (MIT licence); "
                         "King James Bible (public domain)",
        "training_steps": saved["step"],
        "training_minutes": f"{saved['seconds'] / 60:.1f}",
        "training_images_seen": saved["images_seen"],
        "training_prose_bytes_seen": saved["bytes_seen"],
        "training_seed": saved["seed"],
        "training_torch": torch.__version__,
    }, bf16=True)
    size = arguments.output.stat().st_size
    print(f"{arguments.output.name}: {len(weights)} tensors, "
          f"{sum(w.size for w in weights.values())} parameters, {size} bytes")


if __name__ == "__main__":
    main()
