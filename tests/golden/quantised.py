# SPDX-License-Identifier: Apache-2.0
"""quantised.py LLAMA_LOGITS: makes tests/data/model/q_*.gguf, one small Qwen3.5 model in each of the file types that
Thimble reads, written by llama-quantize from one F32 file. Rows have 256 values, those of ffn_down 128: for these
llama-quantize falls back to a type with smaller blocks, so that files of super-blocks mix types as real ones do.

  q_TYPE.gguf
  quantised.ids       the token ids, one line, the same for every file
  q_TYPE.logits.f32   [n][vocab]: Hugging Face in float32 with the weights as gguf-py decodes them
  quantised.txt       a line per file: TYPE KL, the divergence of llama.cpp's logits from these, float32 cache

Every golden has two witnesses: a file's tensors are written decoded to an F32 file, and the divergence of llama.cpp's
logits for that is printed beside the one for the quantised file."""

import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

import checkpoint as ck

TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"]
SIZES = dict(seed=21, merges=6, hidden_size=256, intermediate_size=128, num_hidden_layers=2, full_attention_interval=2,
             num_attention_heads=4, num_key_value_heads=1, head_dim=64, linear_num_key_heads=2,
             linear_num_value_heads=8, linear_key_head_dim=32, linear_value_head_dim=32, tie_word_embeddings=True)
TOKENS = 64


def decode_file(path, out):
    """The same file with every tensor in float32."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, "qwen35")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind,
                             field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for t in reader.tensors:
        shape = [int(n) for n in reversed(t.shape)]
        writer.add_tensor(t.name, gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types_in(path):
    counts = {}
    for t in gguf.GGUFReader(path).tensors:
        counts[t.tensor_type.name] = counts.get(t.tensor_type.name, 0) + 1
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))


def main():
    program = sys.argv[1]
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        used = ck.make_checkpoint(scratch / "hf", **SIZES)
        ck.convert(scratch / "hf", scratch / "f32.gguf", "f32")
        ids = np.random.default_rng(SIZES["seed"]).integers(0, used, TOKENS)
        ck.write_ids(ck.DATA / "quantised.ids", [ids])
        exact = ck.hf_logits(ck.load_checkpoint(scratch / "hf"), ids)
        for name in TYPES:
            out = ck.DATA / f"q_{name.lower()}.gguf"
            subprocess.run(["llama-quantize", str(scratch / "f32.gguf"), str(out), name, "2"], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            golden = ck.hf_logits(ck.load_gguf(out), ids)
            ck.write_f32(out.with_suffix(".logits.f32"), golden)
            kl, same, _ = ck.distance(golden, ck.llama_logits(program, out, ids))
            lines.append(f"{name} {kl:.3e}\n")
            decode_file(out, scratch / "decoded.gguf")
            decoded, _, _ = ck.distance(golden, ck.llama_logits(program, scratch / "decoded.gguf", ids))
            loss, _, _ = ck.distance(exact, golden)
            print(f"{name:7} {out.stat().st_size:8} bytes  llama.cpp: KL {kl:.1e}, argmax {same:.3f}; decoded to F32: "
                  f"KL {decoded:.1e}; quantisation itself: KL {loss:.1e}  ({types_in(out)})", flush=True)
    (ck.DATA / "quantised.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
