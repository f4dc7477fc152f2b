"""The memory of moec on a large checkpoint: 90,000 tensors, 8 GiB.

    big_checkpoint.py --build=BUILD --work=FOLDER [--experts=500]

Writes a checkpoint of a made-up Qwen3-MoE of 60 layers with 500 experts each, in 12 shards
with an index, compiles it with its weights in a file beside the artifact, and prints the
peak of moec's own memory (anonymous pages; pages of mapped files are not counted, since the
kernel takes them back) and the time. Needs twice the size on the disk; run by hand, once.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import threading
import time

SHARDS, LAYERS, HIDDEN, FFN, VOCAB, HEAD = 12, 60, 512, 96, 1024, 64
CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "dtype": "bfloat16",
    "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": 4 * HIDDEN,
    "num_hidden_layers": LAYERS, "num_attention_heads": 8, "num_key_value_heads": 2,
    "head_dim": HEAD, "hidden_act": "silu", "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": True,
    "num_experts_per_tok": 8, "moe_intermediate_size": FFN, "norm_topk_prob": True,
    "decoder_sparse_step": 1, "mlp_only_layers": []}


def shapes(experts):
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{p}{name}.weight", (HIDDEN,)
        for name, heads in (("q", 8), ("k", 2), ("v", 2)):
            yield f"{p}self_attn.{name}_proj.weight", (heads * HEAD, HIDDEN)
        yield f"{p}self_attn.o_proj.weight", (HIDDEN, 8 * HEAD)
        for name in ("q", "k"):
            yield f"{p}self_attn.{name}_norm.weight", (HEAD,)
        yield f"{p}mlp.gate.weight", (experts, HIDDEN)
        for e in range(experts):
            for name in ("gate", "up"):
                yield f"{p}mlp.experts.{e}.{name}_proj.weight", (FFN, HIDDEN)
            yield f"{p}mlp.experts.{e}.down_proj.weight", (HIDDEN, FFN)


def write(folder, experts):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(
        {**CONFIG, "num_experts": experts}, indent=2))
    tensors = list(shapes(experts))
    each = -(-len(tensors) // SHARDS)
    index, total = {}, 0
    # bf16 numbers of small size, not all the same.
    pattern = bytes(b for i in range(1 << 15) for b in (i * 37 & 0xFF, 0x3C | (i & 0x80)))
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        header, offset = {}, 0
        for tensor, shape in tensors[shard * each : (shard + 1) * each]:
            size = 2
            for n in shape:
                size *= n
            header[tensor] = {"dtype": "BF16", "shape": shape,
                              "data_offsets": [offset, offset + size]}
            offset += size
            index[tensor] = name
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / name, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            left = offset
            while left:
                left -= file.write(pattern[: min(left, len(pattern))])
        total += offset
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}))
    return len(tensors), total


class Peak(threading.Thread):
    """The largest anonymous memory of a process, from its status."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.peak = f"/proc/{pid}/status", 0

    def run(self):
        while True:
            try:
                with open(self.path, encoding="ascii") as status:
                    for line in status:
                        if line.startswith("RssAnon:"):
                            self.peak = max(self.peak, int(line.split()[1]) * 1024)
            except OSError:
                return
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--experts", type=int, default=500)
    options = parser.parse_args()
    count, size = write(options.work / "big", options.experts)
    print(f"{count} tensors, {size / 2**30:.2f} GiB", flush=True)
    start = time.time()
    process = subprocess.Popen(
        [options.build / "bin" / "moec", options.work / "big", "--levels=avx2",
         "--weights=external", "-o", options.work / "big.so"])
    peak = Peak(process.pid)
    peak.start()
    code = process.wait()
    peak.join(1)
    print(f"moec: code {code}, {time.time() - start:.0f} s, "
          f"peak of anonymous memory {peak.peak / 2**20:.0f} MiB")
    sys.exit(code)


if __name__ == "__main__":
    main()
