#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns a checkpoint of train.py into one GGUF file that carries its own use, in the thimble.* keys:

    thimble.prompt         the prompt, with {text} where the sentence goes
    thimble.choices        the answers, as texts whose special tokens are recognised
    thimble.labels         their names for people, in the same order
    thimble.normalize      steps applied to the sentence first, in order (data.STEPS)
    thimble.threshold      below this probability the answer is uncertain; picked on the validation sentences
    thimble.out_of_scope   the label that means "none of these", when the model has one

    export.py CHECKPOINT --data data_full.json --out intent-q4_0.gguf

The tensors are byte for byte those of llama.cpp's converter followed by `llama-quantize --pure`. Needs PyTorch,
transformers, safetensors and gguf-py.
"""
import argparse
import json
import os

import gguf
import torch
from safetensors.torch import load_file

import data
import evaluate
import model as architecture
from reference import Reference

TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
CLINC150 = dict(name="CLINC150", author="Larson et al. 2019", url="https://github.com/clinc/oos-eval",
                description="150 intents and out-of-scope queries, CC BY 3.0")


def add_description(w, args, parameters):
    """general.*: what the file is, who made it, under which licence, from which data."""
    w.add_type(gguf.GGUFType.MODEL)
    w.add_name(args.name)
    for value, add in ((args.author, w.add_author), (args.license, w.add_license)):
        if value:
            add(value)
    w.add_description(args.description)
    w.add_languages([args.language])
    w.add_tags(["text-classification", "intent"])
    w.add_size_label("%.1fM" % (parameters / 1e6))
    if args.data.endswith(".json"):
        w.add_dataset_count(1)
        w.add_dataset_name(0, CLINC150["name"])
        w.add_dataset_author(0, CLINC150["author"])
        w.add_dataset_url(0, CLINC150["url"])
        w.add_dataset_description(0, CLINC150["description"])


def add_architecture(w, c):
    """qwen35.*, from the checkpoint's config.json."""
    rope = c["rope_parameters"]
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_rope_dimension_sections(rope["mrope_section"] + [0])
    w.add_rope_freq_base(float(rope["rope_theta"]))
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_key_length(c["head_dim"])
    w.add_value_length(c["head_dim"])
    w.add_ssm_conv_kernel(c["linear_conv_kernel_dim"])
    w.add_ssm_state_size(c["linear_key_head_dim"])
    w.add_ssm_group_count(c["linear_num_key_heads"])
    w.add_ssm_time_step_rank(c["linear_num_value_heads"])
    w.add_ssm_inner_size(c["linear_value_head_dim"] * c["linear_num_value_heads"])
    w.add_array("qwen35.attention.recurrent_layers", [t == "linear_attention" for t in c["layer_types"]])
    w.add_full_attention_interval(c["full_attention_interval"])
    w.add_rope_dimension_count(int(c["head_dim"] * rope["partial_rotary_factor"]))


def add_tokenizer(w, tokenizer):
    bpe = tokenizer["model"]
    tokens = dict(bpe["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]})
    ordered = sorted(tokens, key=tokens.get)
    assert [tokens[t] for t in ordered] == list(range(len(ordered)))
    specials = {t["content"] for t in tokenizer["added_tokens"]}
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen35")
    w.add_token_list(ordered)
    w.add_token_types([gguf.TokenType.CONTROL if t in specials else gguf.TokenType.NORMAL for t in ordered])
    w.add_token_merges([" ".join(m) for m in bpe["merges"]])
    w.add_eos_token_id(tokens[architecture.END])
    w.add_pad_token_id(tokens[architecture.SPECIALS[0]])
    w.add_add_bos_token(False)
    w.add_chat_template(architecture.CHAT_TEMPLATE)
    w.add_bool("tokenizer.ggml.normalizer.nfc", True)


def add_use(w, labels, steps, threshold):
    """thimble.*: what the file is for."""
    w.add_string("thimble.prompt", architecture.PROMPT)
    w.add_array("thimble.choices", [architecture.choice(x) for x in labels])
    w.add_array("thimble.labels", labels)
    if steps:
        w.add_array("thimble.normalize", steps)
    if threshold is not None:
        w.add_float32("thimble.threshold", threshold)
    if data.OUT_OF_SCOPE in labels:
        w.add_string("thimble.out_of_scope", data.OUT_OF_SCOPE)


def write(args, steps, threshold):
    """Matrices in args.type; vectors and the convolution stay in float32."""
    def load(name):
        with open(os.path.join(args.checkpoint, name), encoding="utf-8") as f:
            return json.load(f)

    weights = load_file(os.path.join(args.checkpoint, "model.safetensors"))
    matrix_type, file_type = TYPES[args.type]
    w = gguf.GGUFWriter(args.out, "qwen35")
    add_description(w, args, sum(t.numel() for t in weights.values()))
    add_architecture(w, load("config.json"))
    add_tokenizer(w, load("tokenizer.json"))
    add_use(w, load("intent.json")["labels"], steps, threshold)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_file_type(file_type)
    for name, tensor in sorted(weights.items(), key=lambda item: architecture.gguf_name(item[0])):
        kind = matrix_type if tensor.dim() == 2 else gguf.GGMLQuantizationType.F32
        held = architecture.to_gguf(name, tensor.float()).contiguous().numpy()
        w.add_tensor(architecture.gguf_name(name), gguf.quants.quantize(held, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                 formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    ap.add_argument("checkpoint", help="directory that train.py wrote")
    ap.add_argument("--data", required=True, help="what it was trained on; the validation part gives the threshold")
    ap.add_argument("--out", required=True)
    ap.add_argument("--type", default="q4_0", choices=TYPES)
    ap.add_argument("--normalize", nargs="*", choices=data.STEPS, help="other steps than those of the training")
    ap.add_argument("--name", default="intent", help="general.name")
    ap.add_argument("--author")
    ap.add_argument("--license", help="SPDX name")
    ap.add_argument("--language", default="en")
    ap.add_argument("--description", default="Intent classification of short sentences")
    a = ap.parse_args()
    torch.set_num_threads(1)
    with open(os.path.join(a.checkpoint, "intent.json"), encoding="utf-8") as f:
        steps = json.load(f).get("normalize", []) if a.normalize is None else a.normalize
    write(a, steps, None)
    rows = data.read(a.data)["val"]
    predictions, truth = Reference(a.out).predict([text for text, _ in rows]), [intent for _, intent in rows]
    threshold = evaluate.pick_threshold(predictions, truth, data.OUT_OF_SCOPE)
    write(a, steps, threshold)
    at = {t: evaluate.scores(predictions, truth, data.OUT_OF_SCOPE, t) for t in (0.0, threshold)}
    print("%s: %d bytes; validation accuracy %.2f %%, above the threshold of %.2f %.2f %%" % (
        a.out, os.path.getsize(a.out), 100 * at[0.0]["accuracy"], threshold, 100 * at[threshold]["accuracy"]))


if __name__ == "__main__":
    main()
