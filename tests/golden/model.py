# SPDX-License-Identifier: Apache-2.0
"""model.py LLAMA_LOGITS: makes tests/data/model/{tied,grouped,irregular,yarn,f16,bf16}*, whole small Qwen3.5 models
with random weights and the logits that Hugging Face transformers computes for them in float32. LLAMA_LOGITS is the
program built from llama_logits.cc; its agreement with Hugging Face is printed, so that every golden has two witnesses.

  NAME.gguf           by llama.cpp's converter
  NAME.ids            the token ids, one line
  NAME.logits.f32     [n][vocab]
  tied.layers.f32     [1 + layers][hidden]: the residual stream of the last token, its embedding first
  tied.positions      three lines t, h, w, as an image between two texts has them
  tied.placed.f32     [n][vocab] at these positions
  cache_f16.txt       a line per F32 file: NAME KL, llama.cpp's divergence from the golden when its cache is F16
  split-0000?-of-00003.gguf   yarn.gguf in three parts
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import checkpoint as ck

SMALL = dict(hidden_size=40, intermediate_size=56, linear_key_head_dim=16, linear_value_head_dim=16)
FIXTURES = {
    # As many value heads as key heads, tied head, an MTP block; config.json says only the interval. A base frequency at
    # which every rotary pair turns within 100 tokens, so that each pair's axis shows.
    "tied": dict(seed=11, tokens=100, mtp=True, list_layers=False,
                 rope=dict(partial_rotary_factor=0.5, rope_theta=1e2),
                 num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=32, linear_num_key_heads=4,
                 linear_num_value_heads=4, tie_word_embeddings=True),
    # Three value heads for each key head (the converter permutes them), own head, two periods of layers, 300 tokens.
    "grouped": dict(seed=12, tokens=300, rope=dict(partial_rotary_factor=0.5), num_hidden_layers=8,
                    num_attention_heads=6, num_key_value_heads=2, head_dim=32, linear_num_key_heads=2,
                    linear_num_value_heads=6, tie_word_embeddings=False),
    # Layers in no regular order, two value heads for each key head, own head, one key/value head.
    "irregular": dict(seed=13, tokens=100, num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=1,
                      head_dim=64, linear_num_key_heads=2, linear_num_value_heads=4, tie_word_embeddings=False,
                      layer_types=["full_attention", "linear_attention", "linear_attention", "full_attention",
                                   "linear_attention"]),
    # YaRN whose ramp covers rotary pairs 1 to 6 of 8, every second layer attention.
    "yarn": dict(seed=14, tokens=100, num_hidden_layers=4, full_attention_interval=2, num_attention_heads=2,
                 num_key_value_heads=1, head_dim=64, linear_num_key_heads=2, linear_num_value_heads=2,
                 tie_word_embeddings=True,
                 rope=dict(rope_type="yarn", rope_theta=1e3, factor=4.0, original_max_position_embeddings=1024)),
}


def image_positions(n, before=20, rows=5, cols=6):
    """Positions of `before` text tokens, an image of rows x cols tokens, then text."""
    t, h, w = [list(range(before)) for _ in range(3)]
    t += [before] * (rows * cols)
    h += [before + r for r in range(rows) for _ in range(cols)]
    w += [before + c for _ in range(rows) for c in range(cols)]
    after = range(before + max(rows, cols), before + max(rows, cols) + n - len(t))
    return [axis + list(after) for axis in (t, h, w)]


def report(name, path, golden, other):
    kl, same, largest = ck.distance(golden, other)
    print(f"{name:12} {path.stat().st_size:8} bytes  {golden.shape[0]:3} tokens  std {golden.std():.2f}  "
          f"llama.cpp: KL {kl:.1e}, argmax {same:.3f}, largest difference {largest:.1e}", flush=True)


def main():
    program = sys.argv[1]
    ck.DATA.mkdir(parents=True, exist_ok=True)
    half = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, sizes in FIXTURES.items():
            sizes = dict(sizes)
            directory, out, n = Path(scratch) / name, ck.DATA / f"{name}.gguf", sizes.pop("tokens")
            used = ck.make_checkpoint(directory, **SMALL, **sizes)
            ck.convert(directory, out, "f32", mtp="mtp" in sizes)
            model = ck.load_checkpoint(directory)
            ids = np.random.default_rng(sizes["seed"]).integers(0, used, n)
            golden = ck.hf_logits(model, ids)
            ck.write_ids(ck.DATA / f"{name}.ids", [ids])
            ck.write_f32(ck.DATA / f"{name}.logits.f32", golden)
            report(name, out, golden, ck.llama_logits(program, out, ids))
            kl, _, _ = ck.distance(golden, ck.llama_logits(program, out, ids, "f16"))
            half.append(f"{name} {kl:.3e}\n")
            kl, _, largest = ck.distance(golden, ck.hf_logits(ck.load_gguf(out), ids))
            print(f"{'':12} Hugging Face on the GGUF's weights: KL {kl:.1e}, largest difference {largest:.1e}")
            if name == "tied":
                placed(program, model, ids)
                ck.write_f32(ck.DATA / "tied.layers.f32", ck.hf_layers(model, ids, n - 1))
                half_precision(program, directory, ids[:40])
    (ck.DATA / "cache_f16.txt").write_text("".join(half))
    subprocess.run(["llama-gguf-split", "--split", "--split-max-tensors", "18", str(ck.DATA / "yarn.gguf"),
                    str(ck.DATA / "split")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def placed(program, model, ids):
    """One model at positions that differ between the axes."""
    positions = image_positions(len(ids))
    golden = ck.hf_logits(model, ids, positions)
    ck.write_ids(ck.DATA / "tied.positions", positions)
    ck.write_f32(ck.DATA / "tied.placed.f32", golden)
    embeddings = model.model.embed_tokens.weight[ids].numpy()
    path = ck.DATA / "tied.gguf"
    report("tied, placed", path, golden, ck.llama_logits(program, path, ids, "f32", positions, embeddings))


def half_precision(program, directory, ids):
    """The 16-bit types, which the converter writes itself; the golden has the rounded weights."""
    for outtype in ("f16", "bf16"):
        out = ck.DATA / f"{outtype}.gguf"
        ck.convert(directory, out, outtype)
        golden = ck.hf_logits(ck.load_gguf(out), ids)
        ck.write_ids(ck.DATA / f"{outtype}.ids", [ids])
        ck.write_f32(ck.DATA / f"{outtype}.logits.f32", golden)
        report(outtype, out, golden, ck.llama_logits(program, out, ids))


if __name__ == "__main__":
    main()
