# SPDX-License-Identifier: Apache-2.0
"""compare_llama.py MODEL.gguf --thimble build/host/thimble --llama-logits ./llama_logits [--tokens 64] [--kv f32]

Thimble and llama.cpp on the same Qwen3.5 file and the same random tokens, both against Hugging Face in float32 with the
weights of the file as gguf-py decodes them: mean KL divergence, share of tokens with the same argmax, largest difference
of two logits. Any size and any quantisation; the weights decoded take 4 bytes each."""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

import checkpoint as ck


def thimble_logits(program, path, ids, cache):
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "logits"
        subprocess.run([program, "logits", str(path), "--ids", ",".join(map(str, ids)), "--kv", cache,
                        "--out", str(out)], check=True)
        return np.fromfile(out, "<f4").reshape(len(ids), -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--thimble", required=True)
    parser.add_argument("--llama-logits", required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kv", choices=["f16", "f32"], default="f32", help="type of the key/value cache of both")
    a = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    model = ck.load_gguf(a.model)
    ids = np.random.default_rng(a.seed).integers(0, model.config.vocab_size, a.tokens)
    golden = ck.hf_logits(model, ids)
    del model
    print(f"{a.model}: {a.tokens} tokens, logits with a standard deviation of {golden.std():.2f}")
    for name, logits in (("Thimble", thimble_logits(a.thimble, a.model, ids, a.kv)),
                         ("llama.cpp", ck.llama_logits(a.llama_logits, a.model, ids, a.kv))):
        kl, same, largest = ck.distance(golden, logits)
        print(f"{name:10} mean KL {kl:.2e}  same argmax {same:.4f}  largest difference {largest:.1e}")


if __name__ == "__main__":
    main()
