#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random blocks of every format and the values that ggml decodes from them.

    python3 tests/golden/formats.py tests/data/formats                     the committed files: 64 blocks per format
    python3 tests/golden/formats.py /tmp/formats --blocks 20000 --seed 2   a large set, about 180 MB, and
    build/host/tests/formats_check /tmp/formats                            Thimble's answer to it

Needs numpy, gguf-py and ggml's shared library (Debian: python3-gguf, libggml0). Writes, raw and little endian,
<name>.blocks and <name>.f32 (the decoded values), and types.txt: number, name, block size and block bytes of every type.

Bytes are uniformly random, so every code occurs beside every scale; the scales of the first blocks are the F16s at the
edges: zeros, subnormals, the largest, infinity, NaN. The values come from ggml's own code, and gguf-py's independent
decoding must agree with them (bit for bit, NaNs apart), else nothing is written.
"""
import argparse
import ctypes
import pathlib
import sys

import gguf
import numpy as np

# The byte offsets of the F16 fields in a block.
SCALES = {
    "F32": [], "F16": [0], "BF16": [], "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}
EDGES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00,
         0x7D55]


class TypeTraits(ctypes.Structure):
    """struct ggml_type_traits of ggml.h."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float_ref", ctypes.c_void_p),
    ]


def random_blocks(rng, name, count, size):
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for i, edge in enumerate(EDGES):
        for k, offset in enumerate(SCALES[name]):
            value = edge if k == 0 else EDGES[(i * 7) % len(EDGES)]
            blocks[i, offset : offset + 2] = np.frombuffer(np.uint16(value).tobytes(), np.uint8)
    return blocks


def decode_ggml(ggml, number, blocks):
    traits = ggml.ggml_get_type_traits(number).contents
    assert traits.type_size == blocks.shape[1]
    values = np.empty(blocks.shape[0] * traits.blck_size, np.float32)
    traits.to_float(blocks.ctypes.data, values.ctypes.data, values.size)
    return values


def same(a, b):
    return (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ggml", default="libggml-base.so.0", help="ggml's shared library")
    args = parser.parse_args()

    ggml = ctypes.CDLL(args.ggml)
    ggml.ggml_get_type_traits.restype = ctypes.POINTER(TypeTraits)
    ggml.ggml_quantize_init(8)  # any type: it also builds the F16 table that older versions decode with
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)

    for name in SCALES:
        number = gguf.GGMLQuantizationType[name]
        size, size_bytes = gguf.GGML_QUANT_SIZES[number]
        # A block of one value tests little: 64 times as many of those.
        blocks = random_blocks(rng, name, args.blocks * (64 if size == 1 else 1), size_bytes)
        with np.errstate(invalid="ignore"):
            python = gguf.quants.dequantize(blocks, number).astype(np.float32).reshape(-1)
        values = blocks.reshape(-1).view(np.float32) if name == "F32" else decode_ggml(ggml, int(number), blocks)
        differ = np.count_nonzero(~same(values, python))
        if differ:
            sys.exit(f"{name}: ggml and gguf-py differ in {differ} of {values.size} values")
        blocks.tofile(args.out / f"{name}.blocks")
        values.tofile(args.out / f"{name}.f32")
        print(f"{name}: {blocks.shape[0]} blocks, {values.size} values, {np.count_nonzero(np.isnan(values))} NaN")

    with open(args.out / "types.txt", "w") as types:
        for number in gguf.GGMLQuantizationType:
            size, size_bytes = gguf.GGML_QUANT_SIZES[number]
            types.write(f"{number.value} {number.name} {size} {size_bytes}\n")


if __name__ == "__main__":
    main()
