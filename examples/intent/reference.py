#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Predictions of an intent model by the reference implementations, for evaluate.py to score and compare with.

    reference.py MODEL.gguf --data data_full.json --out reference.tsv
        Hugging Face's Qwen3_5ForCausalLM in float32 on the file's weights, decoded by gguf-py
    reference.py MODEL.gguf --data data_full.json --out llama.tsv --llama ./llama_choices
        llama.cpp on the file itself (see llama_choices.cc); with 4- and 8-bit weights it rounds activations to 8 bits

Everything comes from the GGUF file: configuration, weights, tokenizer, prompt, choices, normalisation. Needs PyTorch,
transformers and gguf-py.
"""
import argparse
import subprocess

import gguf
import torch
from tokenizers import models
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForCausalLM

import data
import evaluate
import model as architecture


class Reference:
    """The model of a GGUF file that export.py wrote, as Hugging Face runs it."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        keys = {name: field.contents() for name, field in reader.fields.items()}
        self.choices, self.prompt = keys["thimble.choices"], keys["thimble.prompt"]
        self.labels, self.steps = keys["thimble.labels"], keys.get("thimble.normalize", [])
        self.tokenizer = self.read_tokenizer(keys)
        self.choice_ids = [self.tokenizer.token_to_id(c) for c in self.choices]
        self.model = self.read_model(keys, {t.name: t for t in reader.tensors})

    @staticmethod
    def read_tokenizer(keys):
        tokens, kinds = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
        merges = [tuple(m.split(" ")) for m in keys["tokenizer.ggml.merges"]]
        specials = [t for t, kind in zip(tokens, kinds) if kind == gguf.TokenType.CONTROL]
        return architecture.byte_level_bpe(models.BPE({t: i for i, t in enumerate(tokens)}, merges), specials)

    @staticmethod
    @torch.no_grad()
    def read_model(keys, tensors):
        m = Qwen3_5ForCausalLM(architecture.config(
            hidden=keys["qwen35.embedding_length"], ffn=keys["qwen35.feed_forward_length"],
            heads=keys["qwen35.attention.head_count"], kv_heads=keys["qwen35.attention.head_count_kv"],
            delta_heads=keys["qwen35.ssm.group_count"], vocabulary=len(keys["tokenizer.ggml.tokens"]),
            end=keys["tokenizer.ggml.eos_token_id"]))
        for name, p in m.named_parameters():
            t = tensors.pop(architecture.gguf_name(name))
            decoded = torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy())
            p.copy_(architecture.from_gguf(name, decoded))
        assert not tensors, tensors.keys()
        m.tie_weights()
        return m.eval()

    def prompts(self, texts):
        return [self.prompt.replace("{text}", data.normalize(t, self.steps)) for t in texts]

    @torch.no_grad()
    def predict(self, texts, batch=64):
        """[(label, p)], p among the choices."""
        prompts = self.prompts(texts)
        unique = list(dict.fromkeys(prompts))
        rows = [e.ids for e in self.tokenizer.encode_batch(unique, add_special_tokens=False)]
        out = {}
        for b in data.batches(rows, batch):
            ids, last = architecture.pad([rows[i] for i in b])
            h = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[torch.arange(len(b)), last]
            p, best = self.model.lm_head(h)[:, self.choice_ids].softmax(-1).max(-1)
            for i, x, y in zip(b, best.tolist(), p.tolist()):
                out[unique[i]] = (self.labels[x], y)
        return [out[p] for p in prompts]


def through_llama(program, path, texts):
    """[(label, p)] by llama.cpp: it gets the choices, an empty line, then the prompts; it answers `index<TAB>p`."""
    keys = evaluate.gguf_keys(path)
    steps = keys.get("thimble.normalize", [])
    prompts = [keys["thimble.prompt"].replace("{text}", data.normalize(t, steps)) for t in texts]
    lines = keys["thimble.choices"] + [""] + prompts
    done = subprocess.run([program, path], input="\n".join(lines) + "\n", text=True, encoding="utf-8",
                          stdout=subprocess.PIPE, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == len(texts)
    return [(keys["thimble.labels"][int(index)], float(p)) for index, p in rows]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("model", help="a GGUF file that export.py wrote")
    ap.add_argument("--data", required=True)
    ap.add_argument("--part", default="test", choices=("val", "test"))
    ap.add_argument("--ways", nargs="+", default=["plain", "typed"], choices=data.WAYS)
    ap.add_argument("--llama", help="the compiled llama_choices.cc: predict with llama.cpp")
    ap.add_argument("--out", required=True, help="file for sentence<TAB>label<TAB>p lines")
    ap.add_argument("--threads", type=int, default=1)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    texts = [data.WAYS[way](text) for way in a.ways for text, _ in data.read(a.data)[a.part]]
    predictions = through_llama(a.llama, a.model, texts) if a.llama else Reference(a.model).predict(texts)
    evaluate.write_predictions(a.out, texts, predictions)


if __name__ == "__main__":
    main()
