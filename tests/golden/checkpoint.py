# SPDX-License-Identifier: Apache-2.0
"""What model.py, quantised.py and compare_llama.py share: random Qwen3.5 checkpoints, their conversion to GGUF by
llama.cpp's converter, a Hugging Face model with the weights of any GGUF file, and the distance of two sets of logits.
Nothing here knows Thimble: goldens come from the reference implementations alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForCausalLM
from transformers.models.qwen3_5.tokenization_qwen3_5 import PRETOKENIZE_REGEX

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data" / "model"
# Debian's llama.cpp-tools; in a checkout of llama.cpp both are its root directory.
CONVERTER = os.environ.get("CONVERT_HF_TO_GGUF", "/usr/share/doc/llama.cpp-tools/scripts/convert_hf_to_gguf.py")
CONVERSION = os.environ.get("LLAMA_CONVERSION", "/usr/share/llama.cpp/llama.cpp-tools")

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
            "<tool_call>", "</tool_call>", "<think>", "</think>"]
TEXT = ["The state of a linear layer has a fixed size, the cache of an attention layer grows with the text.",
        "A thimble holds little, and says beforehand how much: the arena is taken once and never again."]

torch.set_grad_enabled(False)
torch.set_num_threads(1)


def write_tokenizer(directory, merges):
    """A byte-level BPE with Qwen3.5's pre-tokenizer: 256 bytes, some merges, the special tokens. Returns its size."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated", False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet,
                                                    show_progress=False))
    base = t.get_vocab_size()
    t.add_special_tokens(SPECIALS)
    t.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "bos_token": None, "add_bos_token": False, "model_max_length": 262144}))
    return base + len(SPECIALS)


def draw(name, p, g, head_std):
    """Fills one parameter so that leaving it out, or reading it wrongly, shows in the logits."""
    normal = torch.randn(p.shape, generator=g)
    if name.endswith("A_log"):
        p.copy_(torch.log(torch.empty(p.shape).uniform_(0.5, 16, generator=g)))
    elif name.endswith("dt_bias"):
        p.copy_(torch.empty(p.shape).uniform_(-6, 1, generator=g))
    elif name.endswith("linear_attn.norm.weight"):
        p.copy_(1 + 0.1 * normal)
    elif name.endswith(("q_norm.weight", "k_norm.weight")):  # so large that attention is not nearly uniform
        p.copy_(0.5 + 0.2 * normal)
    elif name.endswith("norm.weight"):  # zero-centred: the model multiplies by 1 + weight
        p.copy_(0.1 * normal)
    elif "conv1d" in name:
        p.copy_(0.5 * normal)
    elif "embed_tokens" in name or "lm_head" in name:
        p.copy_(head_std * normal)
    else:
        p.copy_(normal / p[0].numel() ** 0.5)


def add_mtp(directory, config, g):
    """The multi-token-prediction block of the published checkpoints, which Hugging Face's class does not load."""
    path = directory / "model.safetensors"
    tensors = load_file(path)
    prefix = f"model.layers.{config.layer_types.index('full_attention')}."
    hidden = config.hidden_size
    for name in [n for n in tensors if n.startswith(prefix)]:
        t = tensors[name]
        scale = 0.1 if t.dim() == 1 else t.shape[-1] ** -0.5
        tensors["mtp.layers.0." + name[len(prefix):]] = scale * torch.randn(t.shape, generator=g)
    tensors["mtp.fc.weight"] = torch.randn(hidden, 2 * hidden, generator=g) / (2 * hidden) ** 0.5
    for name in ("norm", "pre_fc_norm_hidden", "pre_fc_norm_embedding"):
        tensors[f"mtp.{name}.weight"] = 0.1 * torch.randn(hidden, generator=g)
    save_file(tensors, path, metadata={"format": "pt"})


def make_checkpoint(directory, seed, merges=8, mtp=False, rope=None, list_layers=True, **sizes):
    """Writes a random checkpoint to `directory` and returns the number of tokens that are not padding. `sizes` are
    Qwen3_5TextConfig's, `rope` overrides its rope_parameters. Without list_layers config.json holds
    full_attention_interval and no layer_types, so that the GGUF file has no list of recurrent layers."""
    directory.mkdir(parents=True, exist_ok=True)
    used = write_tokenizer(directory, merges)
    parameters = dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25, mrope_section=[3, 3, 2],
                      mrope_interleaved=True)
    parameters.update(rope or {})
    config = Qwen3_5TextConfig(vocab_size=(used + 15) // 16 * 16, max_position_embeddings=4096, rms_norm_eps=1e-6,
                               rope_parameters=parameters, **sizes)
    model = Qwen3_5ForCausalLM(config).eval()
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        draw(name, p, g, config.hidden_size ** -0.5)
    model.save_pretrained(directory)
    if mtp:
        add_mtp(directory, config, g)
    c = json.loads((directory / "config.json").read_text())
    c["architectures"] = ["Qwen3_5ForCausalLM"]
    c["full_attention_interval"] = sizes.get("full_attention_interval", 4)
    if mtp:
        c["mtp_num_hidden_layers"] = 1
    if not list_layers:
        del c["layer_types"]
    (directory / "config.json").write_text(json.dumps(c, indent=1))
    (directory / "generation_config.json").write_text(json.dumps({
        "bos_token_id": used - len(SPECIALS), "eos_token_id": [used - len(SPECIALS) + 2, used - len(SPECIALS)]}))
    return used


def convert(directory, out, outtype, mtp=False):
    """llama.cpp's converter, told that the tokenizer it does not know is Qwen3.5's."""
    shim = ("import sys, runpy; sys.path[:0] = [sys.argv[1]]; import conversion.base as b; "
            "b.TextModel.get_vocab_base_pre = lambda self, tokenizer: 'qwen35'; "
            "sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')")
    command = [sys.executable, "-c", shim, CONVERSION, CONVERTER, str(directory), "--outtype", outtype,
               "--outfile", str(out), "--model-name", "fixture"] + ([] if mtp else ["--no-mtp"])
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load_checkpoint(directory):
    return Qwen3_5ForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def group_heads(t, dim, key_heads, per_key, size):
    """The converter stores value heads as [per_key][key_heads]; Hugging Face wants [key_heads][per_key]."""
    shape = list(t.shape)
    split = shape[:dim] + [per_key, key_heads, size] + shape[dim + 1:]
    return t.reshape(split).transpose(dim, dim + 1).reshape(shape)


def config_of(fields):
    """The Qwen3_5TextConfig that a GGUF file's metadata describes."""
    def get(key, default=None):
        field = fields.get("qwen35." + key)
        return default if field is None else field.contents()

    layers = get("block_count") - get("nextn_predict_layers", 0)
    recurrent = get("attention.recurrent_layers")
    interval = get("full_attention_interval", 4)
    if recurrent is None:
        recurrent = [(i + 1) % interval != 0 for i in range(layers)]
    head_dim = get("attention.key_length")
    rope = dict(rope_type="default", rope_theta=get("rope.freq_base"), mrope_interleaved=True,
                partial_rotary_factor=get("rope.dimension_count") / head_dim,
                mrope_section=list(get("rope.dimension_sections"))[:3])
    if get("rope.scaling.type") == "yarn":
        rope.update(rope_type="yarn", factor=get("rope.scaling.factor"),
                    original_max_position_embeddings=get("rope.scaling.original_context_length"))
    values = get("ssm.time_step_rank")
    return Qwen3_5TextConfig(
        vocab_size=len(fields["tokenizer.ggml.tokens"].data), hidden_size=get("embedding_length"),
        intermediate_size=get("feed_forward_length"), num_hidden_layers=layers,
        num_attention_heads=get("attention.head_count"), num_key_value_heads=get("attention.head_count_kv"),
        head_dim=head_dim, max_position_embeddings=get("context_length"),
        rms_norm_eps=get("attention.layer_norm_rms_epsilon"), rope_parameters=rope,
        linear_conv_kernel_dim=get("ssm.conv_kernel"), linear_key_head_dim=get("ssm.state_size"),
        linear_value_head_dim=get("ssm.inner_size") // values, linear_num_key_heads=get("ssm.group_count"),
        linear_num_value_heads=values,
        layer_types=["linear_attention" if r else "full_attention" for r in recurrent[:layers]])


def layer_tensors(tensor, config, i):
    """Hugging Face's tensors of layer i from GGUF's: the inverse of what the converter does."""
    b, to = f"blk.{i}.", f"model.layers.{i}."
    out = {to + "input_layernorm.weight": tensor(b + "attn_norm.weight") - 1,
           to + "post_attention_layernorm.weight": tensor(b + "post_attention_norm.weight") - 1}
    for part in ("gate", "up", "down"):
        out[f"{to}mlp.{part}_proj.weight"] = tensor(f"{b}ffn_{part}.weight")
    if config.layer_types[i] == "full_attention":
        for part in ("q", "k"):
            out[f"{to}self_attn.{part}_norm.weight"] = tensor(f"{b}attn_{part}_norm.weight") - 1
        for part, name in (("q", "q"), ("k", "k"), ("v", "v"), ("o", "output")):
            out[f"{to}self_attn.{part}_proj.weight"] = tensor(f"{b}attn_{name}.weight")
        return out
    keys, size = config.linear_num_key_heads, config.linear_value_head_dim
    per_key = config.linear_num_value_heads // keys
    first_v = 2 * keys * config.linear_key_head_dim
    rows = lambda t, n: group_heads(t, 0, keys, per_key, n)
    mixed = lambda t: torch.cat([t[:first_v], rows(t[first_v:], size)])
    to += "linear_attn."
    out[to + "in_proj_qkv.weight"] = mixed(tensor(b + "attn_qkv.weight"))
    out[to + "conv1d.weight"] = mixed(tensor(b + "ssm_conv1d.weight")).unsqueeze(1)
    out[to + "in_proj_z.weight"] = rows(tensor(b + "attn_gate.weight"), size)
    out[to + "in_proj_b.weight"] = rows(tensor(b + "ssm_beta.weight"), 1)
    out[to + "in_proj_a.weight"] = rows(tensor(b + "ssm_alpha.weight"), 1)
    out[to + "dt_bias"] = rows(tensor(b + "ssm_dt.bias"), 1)
    out[to + "A_log"] = torch.log(-rows(tensor(b + "ssm_a"), 1))
    out[to + "norm.weight"] = tensor(b + "ssm_norm.weight")
    out[to + "out_proj.weight"] = group_heads(tensor(b + "ssm_out.weight"), 1, keys, per_key, size)
    return out


def load_gguf(path):
    """A Hugging Face model, all float32, with the weights of a GGUF file as gguf-py decodes them."""
    reader = gguf.GGUFReader(path)
    by_name = {t.name: t for t in reader.tensors}

    def tensor(name):
        t = by_name[name]
        shape = [int(n) for n in reversed(t.shape)]
        return torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(shape).copy())

    config = config_of(reader.fields)
    config._attn_implementation = "eager"
    with torch.device("meta"):
        model = Qwen3_5ForCausalLM(config)
    weights = {"model.embed_tokens.weight": tensor("token_embd.weight"),
               "model.norm.weight": tensor("output_norm.weight") - 1}
    head = "output.weight" if "output.weight" in by_name else "token_embd.weight"
    weights["lm_head.weight"] = tensor(head)
    for i in range(config.num_hidden_layers):
        weights.update(layer_tensors(tensor, config, i))
    model.load_state_dict(weights, strict=True, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its buffers are not in the file
    return model.eval()


def hf_logits(model, ids, positions=None):
    """Logits [n][vocab] of the token ids; positions [3][n] (t, h, w) instead of 0, 1, 2 ... when given."""
    more = {} if positions is None else {"position_ids": torch.tensor(positions)[:, None, :]}
    return model(input_ids=torch.tensor(ids)[None], use_cache=False, **more).logits[0].numpy()


def hf_layers(model, ids, token):
    """The residual stream [1 + layers][hidden] of one token: its embedding, then what each layer leaves."""
    rows = []
    keep = lambda module, inputs, output: rows.append(
        (output[0] if isinstance(output, tuple) else output)[0, token].numpy().copy())
    hooks = [m.register_forward_hook(keep) for m in [model.model.embed_tokens, *model.model.layers]]
    hf_logits(model, ids)
    for h in hooks:
        h.remove()
    return np.stack(rows)


def llama_logits(program, path, ids, cache="f32", positions=None, embeddings=None):
    """Logits [n][vocab] by llama.cpp through llama_logits.cc. With positions [3][n], the tokens go in as embeddings,
    the only input for which llama.cpp takes more than one position per token."""
    command = [program, str(path), cache, ",".join(map(str, ids))]
    data = b""
    if positions is not None:
        command.append("positions")
        axes = np.concatenate([np.asarray(positions, "<i4"), np.zeros((1, len(ids)), "<i4")])
        data = axes.tobytes() + np.asarray(embeddings, "<f4").tobytes()
    out = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    return np.frombuffer(out, "<f4").reshape(len(ids), -1)


def distance(golden, other):
    """Mean Kullback-Leibler divergence, share of equal argmax and largest absolute difference of two sets of logits."""
    g, o = torch.tensor(golden, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)
    p, q = torch.log_softmax(g, 1), torch.log_softmax(o, 1)
    return (float((p.exp() * (p - q)).sum(1).mean()), float((g.argmax(1) == o.argmax(1)).double().mean()),
            float((g - o).abs().max()))


def write_ids(path, rows):
    path.write_text("".join(",".join(str(int(i)) for i in row) + "\n" for row in rows))


def write_f32(path, values):
    np.ascontiguousarray(values, "<f4").tofile(path)
