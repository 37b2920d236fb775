#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""quantise.py OUT: what llama.cpp makes of the same numbers and of the same text, to tests/data/quantise.

  x.f32            [rows][256]: gaussian rows, rows with heavy tails, rows with one value far out
  weight.f32       [256]: an importance of every column
  q4_0.blocks      the rows as Q4_0; q4_0_weighted.blocks with the importances; q3_k.blocks as Q3_K
  imatrix.gguf     llama-imatrix of tests/data/model/tied.gguf and a text of its vocabulary; imatrix.dat the older format

Needs numpy, ggml's shared library and llama-imatrix."""
import ctypes
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

COLS = 256
Q4_0, Q3_K = 2, 11


def rows():
    rng = np.random.default_rng(5)
    gaussian = rng.normal(0, 0.02, (16, COLS))
    heavy = rng.standard_t(3, (8, COLS)) * 0.01
    far = rng.normal(0, 0.02, (8, COLS))
    far[np.arange(8), rng.integers(0, COLS, 8)] = rng.choice([-1, 1], 8) * 0.6
    return np.concatenate([gaussian, heavy, far]).astype(np.float32)


def quantise(ggml, number, x, weight=None):
    out = np.zeros(x.size, np.uint8)
    pointer = None if weight is None else weight.ctypes.data
    size = ggml.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, x.shape[0], x.shape[1], pointer)
    return out[:size]


def main():
    out = pathlib.Path(sys.argv[1]).absolute()
    out.mkdir(parents=True, exist_ok=True)
    ggml = ctypes.CDLL("libggml-base.so.0")
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                         ctypes.c_int64, ctypes.c_void_p]
    x = rows()
    weight = np.random.default_rng(6).lognormal(0, 1.5, COLS).astype(np.float32)
    x.tofile(out / "x.f32")
    weight.tofile(out / "weight.f32")
    quantise(ggml, Q4_0, x).tofile(out / "q4_0.blocks")
    quantise(ggml, Q4_0, x, weight).tofile(out / "q4_0_weighted.blocks")
    quantise(ggml, Q3_K, x).tofile(out / "q3_k.blocks")

    model = pathlib.Path(__file__).absolute().parent.parent / "data/model/tied.gguf"
    with tempfile.TemporaryDirectory() as scratch:
        (pathlib.Path(scratch) / "text.txt").write_text("the quick brown fox jumps over the lazy dog; " * 20)
        for kind in ("gguf", "dat"):
            subprocess.run(["llama-imatrix", "-m", model, "-f", "text.txt", "-c", "64", "-t", "1", "--output-format", kind,
                            "-o", out / f"imatrix.{kind}"], check=True, capture_output=True, cwd=scratch)


main()
