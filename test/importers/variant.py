"""Copies a checkpoint with changes.

    variant.py FROM TO [CHANGE ...]

    set:KEY=JSON          a key of config.json; KEY may be a.b
    drop:KEY              no such key
    raw:TEXT=TEXT         config.json with a text replaced
    without:TENSOR        no such tensor
    with:TENSOR=2x3       one more
    shape:TENSOR=2x3      another shape
    rename:TENSOR=TENSOR  another name
    copy:TENSOR=TENSOR    the same numbers under another name, too
    nest                  as the decoder of a composite model
    shards                in three files with an index
    index:TENSOR=FILE     an entry of the index (after shards); FILE may be "" for none
"""

import json
import pathlib
import shutil
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "fashion"))
import safetensors_io  # noqa: E402  (the example's own writer)


def parent(config, key):
    *outer, last = key.split(".")
    for name in outer:
        config = config[name]
    return config, last


def numbers(shape):
    sizes = [int(n) for n in shape.split("x")]
    return np.ones(sizes, np.float32)


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    target.mkdir(parents=True)
    config = json.loads((source / "config.json").read_text())
    tensors, _ = safetensors_io.read(source / "model.safetensors")
    replaced, index, shards = [], {}, 0
    for change in sys.argv[3:]:
        kind, _, rest = change.partition(":")
        key, _, value = rest.partition("=")
        if kind == "set":
            where, last = parent(config, key)
            where[last] = json.loads(value)
        elif kind == "drop":
            where, last = parent(config, key)
            del where[last]
        elif kind == "raw":
            replaced.append((key, value))
        elif kind == "without":
            del tensors[key]
        elif kind in ("with", "shape"):
            tensors[key] = numbers(value)
        elif kind == "rename":
            tensors[value] = tensors.pop(key)
        elif kind == "copy":
            tensors[value] = tensors[key]
        elif kind == "nest":
            config = {"architectures": ["Outer"], "model_type": "outer", "image_token_id": 7,
                      "tie_word_embeddings": config.pop("tie_word_embeddings"),
                      "text_config": config, "vision_config": {"depth": 3}}
            tensors = {name.replace("model.", "model.language_model.", 1): tensor
                       for name, tensor in tensors.items()}
            tensors["model.visual.patch.weight"] = numbers("3x4")
            tensors["projector.weight"] = numbers("2")
        elif kind == "shards":
            shards = 3
        elif kind == "index":
            index[key] = value
        else:
            raise SystemExit(f"no change '{kind}'")
    if (source / "logits.safetensors").exists():
        shutil.copy(source / "logits.safetensors", target)
    text = json.dumps(config, indent=2)
    for old, new in replaced:
        assert old in text, f"'{old}' is not in config.json"
        text = text.replace(old, new)
    (target / "config.json").write_text(text)
    if not shards:
        safetensors_io.write(target / "model.safetensors", tensors, {})
        return
    files = {}
    for n, name in enumerate(sorted(tensors)):
        file = f"model-{n % shards + 1:05}-of-{shards:05}.safetensors"
        files.setdefault(file, {})[name] = tensors[name]
    weight_map = {name: file for file, part in files.items() for name in part}
    for file, part in files.items():
        safetensors_io.write(target / file, part, {})
    for name, file in index.items():
        weight_map[name] = file
        if not file:
            del weight_map[name]
    (target / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}, indent=1))


if __name__ == "__main__":
    main()
