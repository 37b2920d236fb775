# SPDX-License-Identifier: Apache-2.0
"""The model that is trained: Hugging Face's Qwen3_5ForCausalLM, nothing added and nothing left out, with a small
vocabulary. Owns its sizes, its tokenizer, its starting weights, the names of its tensors in GGUF, and a forward pass in
plain torch made for short sentences. Knows nothing of files or of how it is trained.

A sentence becomes the prompt

    " " + sentence + "<|im_end|>"       the leading space gives a word the same token wherever it stands

and the answer is one token, <|intent:NAME|>: the best of the intents' rows of the tied head at the <|im_end|> position.
"""
import json
import math

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForCausalLM
from transformers.models.qwen3_5.tokenization_qwen3_5 import PRETOKENIZE_REGEX

# Four layers: three of Gated DeltaNet, one of full attention. Rows of matrices are multiples of 32, the block of Q4_0.
SIZES = {
    "s": dict(hidden=96, ffn=192, heads=3, kv_heads=1, delta_heads=3, vocabulary=1536),
    "m": dict(hidden=128, ffn=320, heads=4, kv_heads=2, delta_heads=4, vocabulary=2048),
}
HEAD_DIM, TAPS, MAX_TOKENS = 32, 4, 64
END = "<|im_end|>"
SPECIALS = ["<|endoftext|>", "<|im_start|>", END]
PROMPT = " {text}" + END
CHAT_TEMPLATE = "{% for m in messages %}{{ ' ' + m.content }}{% endfor %}" + END


def choice(intent):
    return "<|intent:%s|>" % intent


# ------------------------------------------------------------------------------------------- tokenizer and weights

def byte_level_bpe(bpe, specials):
    """A Hugging Face tokenizer around `bpe`: NFC, Qwen3.5's pre-tokenizer, the byte alphabet."""
    t = Tokenizer(bpe)
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated", False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    t.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    return t


def train_tokenizer(texts, labels, vocabulary):
    """Learns at most `vocabulary` tokens from `texts`; the special ones, the intents among them, come last."""
    specials = SPECIALS + [choice(x) for x in labels]
    t = byte_level_bpe(models.BPE(), [])
    t.train_from_iterator((" " + x for x in texts), trainers.BpeTrainer(
        vocab_size=vocabulary - len(specials), min_frequency=2, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    return t


class Prompts:
    """Sentences to the tokens of their prompts, cut at MAX_TOKENS."""

    def __init__(self, tokenizer):
        self.tokenizer, self.end = tokenizer, tokenizer.token_to_id(END)
        bpe = json.loads(tokenizer.to_str())["model"]
        self.vocabulary, self.rank = bpe["vocab"], {tuple(m): i for i, m in enumerate(bpe["merges"])}

    def __call__(self, texts):
        rows = self.tokenizer.encode_batch([" " + t for t in texts], add_special_tokens=False)
        return [r.ids[:MAX_TOKENS - 1] + [self.end] for r in rows]

    def noisy(self, text, p, rng):
        """With BPE dropout (Provilkov et al. 2020): every merge is skipped with probability p."""
        ids, never = [], 1 << 30
        for piece, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(" " + text):
            w = list(piece)
            while len(w) > 1:
                pairs = ((self.rank.get(x, never), i) for i, x in enumerate(zip(w, w[1:])) if rng.random() >= p)
                best, i = min(pairs, default=(never, 0))
                if best == never:
                    break
                w[i:i + 2] = [w[i] + w[i + 1]]
            ids += [self.vocabulary[x] for x in w]
        return ids[:MAX_TOKENS - 1] + [self.end]


def pad(rows):
    """Pads on the right (harmless: the model is causal) to an even length -> tokens (B, T), last real position (B)."""
    length = -(-max(map(len, rows)) // 2) * 2
    return torch.tensor([r + [0] * (length - len(r)) for r in rows]), torch.tensor([len(r) - 1 for r in rows])


def config(hidden, ffn, heads, kv_heads, delta_heads, vocabulary, end):
    return Qwen3_5TextConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=ffn, num_hidden_layers=4,
        full_attention_interval=4, num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=HEAD_DIM,
        linear_num_key_heads=delta_heads, linear_num_value_heads=delta_heads, linear_key_head_dim=HEAD_DIM,
        linear_value_head_dim=HEAD_DIM, linear_conv_kernel_dim=TAPS, tie_word_embeddings=True,
        max_position_embeddings=512, rms_norm_eps=1e-6, eos_token_id=end, dtype="float32",
        rope_parameters=dict(rope_type="default", rope_theta=10000000, partial_rotary_factor=0.25,
                             mrope_section=[2, 1, 1], mrope_interleaved=True))


@torch.no_grad()
def new_model(size, vocabulary, end):
    """A model with our own starting weights; Hugging Face's dt_bias of 1 would forget within a token or two."""
    m = Qwen3_5ForCausalLM(config(**dict(SIZES[size], vocabulary=vocabulary), end=end))
    writers = ("out_proj", "o_proj", "down_proj")          # to the residual stream, so they start smaller
    for name, p in m.named_parameters():
        if name.endswith("A_log"):
            p.copy_(torch.empty_like(p).uniform_(1, 8).log())
        elif name.endswith("dt_bias"):                     # softplus^-1 of a log-uniform step in [0.005, 0.2]
            p.copy_(torch.empty_like(p).uniform_(math.log(5e-3), math.log(0.2)).exp().expm1().log())
        elif "conv1d" in name:                             # near the identity
            p.normal_(0, 0.3).select(-1, -1).add_(0.7)
        elif p.dim() == 2:
            branches = 2 * len(m.model.layers) if any(w in name for w in writers) else 1
            p.normal_(0, (p.shape[1] * branches) ** -0.5)
    m.tie_weights()
    return m


# ------------------------------------------------------------------------------------------------ names in GGUF

GGUF_NAMES = {
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight",
    "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight",
    "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.A_log": "ssm_a",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
}


def gguf_name(name):
    """A parameter's name in GGUF: model.layers.2.mlp.up_proj.weight -> blk.2.ffn_up.weight."""
    if name.startswith("model.layers."):
        _, _, layer, rest = name.split(".", 3)
        return "blk.%s.%s" % (layer, GGUF_NAMES[rest])
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]


def adds_one(name):
    """Norms that multiply by 1 + w: GGUF holds 1 + w. The gated norm of a DeltaNet layer multiplies by w itself."""
    return "norm.weight" in name and "linear_attn.norm" not in name


def to_gguf(name, w):
    """A parameter as GGUF holds it."""
    if name.endswith("A_log"):
        return -w.exp()
    if "conv1d" in name:
        return w.squeeze(1)
    return w + 1 if adds_one(name) else w


def from_gguf(name, w):
    if name.endswith("A_log"):
        return (-w.double()).log().float()
    if "conv1d" in name:
        return w.unsqueeze(1)
    return w - 1 if adds_one(name) else w


# ------------------------------------------------------------------------------------------------ forward in torch

def same(w):
    return w


def q4_0(w):
    """The weights as Q4_0 holds them: blocks of 32, scale = value of largest magnitude / -8. The gradient passes."""
    b = w.detach().reshape(-1, 32)
    d = b.gather(1, b.abs().argmax(1, keepdim=True)) / -8
    inverse = torch.where(d == 0, d, 1 / d)
    r = ((b * inverse + 8.5).floor().clamp(0, 15) - 8) * d.half().float()
    return w + (r.reshape(w.shape) - w.detach())


def linear(x, *weights, q=same):
    """x times the matrices stacked."""
    return F.linear(x, torch.cat([q(w) for w in weights]))


def rms(x, w, eps):
    return F.rms_norm(x, (x.shape[-1],), w, eps)


def drop(x, p):
    """Dropout with one mask for all positions of a sentence."""
    return x * F.dropout(torch.ones(x.shape[0], 1, x.shape[2]), p) if p else x


def delta_rule(q, k, v, g, beta):
    """The gated delta rule from a zero state, the sentence as one chunk: q, k, v (B, H, T, D), g and beta (B, H, T).

    v'_t = beta_t (v_t - sum_{s<t} exp(G_t - G_s) (k_t . k_s) v'_s), G = cumsum(g): a unit lower-triangular system."""
    T = q.shape[2]
    q = q * torch.rsqrt((q * q).sum(-1, keepdim=True) + 1e-6) * q.shape[-1] ** -0.5
    k = k * torch.rsqrt((k * k).sum(-1, keepdim=True) + 1e-6)
    c = g.cumsum(-1)
    decay = (c.unsqueeze(-1) - c.unsqueeze(-2)).tril().exp().tril()
    qk, kk = (torch.cat((q, k * beta.unsqueeze(-1)), 2) @ k.transpose(-1, -2)).split(T, 2)
    v = torch.linalg.solve_triangular(kk * decay, v * beta.unsqueeze(-1), upper=False, unitriangular=True)
    return (qk * decay) @ v


def rotate(x, cos, sin):
    """Rotates the first 2R dimensions by pairs (i, i + R); cos and sin (T, R)."""
    r = cos.shape[-1]
    a, b, rest = x[..., :r], x[..., r:2 * r], x[..., 2 * r:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)


def angles(m, T):
    """cos and sin of the rotary embedding; in text the three positions of a token are equal."""
    a = torch.arange(T)[:, None] * m.model.rotary_emb.inv_freq[None]
    return a.cos().contiguous(), a.sin().contiguous()


def deltanet(a, x, q):
    """A DeltaNet layer: x (B, T, hidden) -> the same shape."""
    B, T, _ = x.shape
    heads, taps = a.num_v_heads, a.conv_kernel_size
    # The projection and the depthwise causal convolution after it are one linear map of `taps` neighbouring inputs.
    folded = (a.conv1d.weight.squeeze(1).unsqueeze(-1) * q(a.in_proj_qkv.weight).unsqueeze(1)).flatten(1)
    past = F.pad(x, (0, 0, taps - 1, 0))
    qkv = F.silu(F.linear(torch.cat([past[:, i:i + T] for i in range(taps)], -1), folded)).float()
    z, alpha, beta = linear(x, a.in_proj_z.weight, a.in_proj_a.weight, a.in_proj_b.weight, q=q).split(
        (heads * HEAD_DIM, heads, heads), -1)
    qq, kk, vv = (t.reshape(B, T, heads, HEAD_DIM).transpose(1, 2) for t in qkv.chunk(3, -1))
    g = -a.A_log.exp() * F.softplus(alpha.float() + a.dt_bias)
    o = delta_rule(qq, kk, vv, g.transpose(1, 2), beta.float().sigmoid().transpose(1, 2)).transpose(1, 2)
    o = rms(o, a.norm.weight, a.layer_norm_epsilon) * F.silu(z.view(B, T, heads, HEAD_DIM))
    return linear(o.reshape(B, T, -1), a.out_proj.weight, q=q)


def attention(a, cfg, x, cos, sin, q):
    """A layer of gated full attention: x (B, T, hidden) -> the same shape."""
    B, T, _ = x.shape
    heads, kv = cfg.num_attention_heads, cfg.num_key_value_heads
    qg, kk, vv = linear(x, a.q_proj.weight, a.k_proj.weight, a.v_proj.weight, q=q).float().split(
        (2 * heads * HEAD_DIM, kv * HEAD_DIM, kv * HEAD_DIM), -1)
    qq, gate = qg.view(B, T, heads, 2 * HEAD_DIM).chunk(2, -1)
    qq = rotate(rms(qq, 1 + a.q_norm.weight, cfg.rms_norm_eps).transpose(1, 2), cos, sin)
    kk = rotate(rms(kk.view(B, T, kv, HEAD_DIM), 1 + a.k_norm.weight, cfg.rms_norm_eps).transpose(1, 2), cos, sin)
    kk, vv = (t.repeat_interleave(heads // kv, 1) for t in (kk, vv.view(B, T, kv, HEAD_DIM).transpose(1, 2)))
    future = torch.full((T, T), float("-inf")).triu(1)
    o = (torch.softmax(qq @ kk.transpose(-1, -2) * a.scaling + future, -1) @ vv).transpose(1, 2)
    return linear((o * gate.sigmoid()).reshape(B, T, -1), a.o_proj.weight, q=q)


def forward(m, ids, p_embed=0.0, p=0.0, q=same):
    """Final hidden states (B, T, hidden) of `m` for `ids` padded on the right; `q` maps each weight matrix, p_embed and
    p are the dropout of the embedding and of each branch."""
    cfg = m.config
    cos, sin = angles(m, ids.shape[1])
    h = drop(F.embedding(ids, q(m.model.embed_tokens.weight)), p_embed)
    for layer in m.model.layers:
        x = rms(h, 1 + layer.input_layernorm.weight, cfg.rms_norm_eps)
        if layer.layer_type == "linear_attention":
            o = deltanet(layer.linear_attn, x, q)
        else:
            o = attention(layer.self_attn, cfg, x, cos, sin, q)
        h = h + drop(o.float(), p)
        x = rms(h, 1 + layer.post_attention_layernorm.weight, cfg.rms_norm_eps)
        gate, up = linear(x, layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight, q=q).chunk(2, -1)
        h = h + drop(linear(F.silu(gate) * up, layer.mlp.down_proj.weight, q=q).float(), p)
    return rms(h, 1 + m.model.norm.weight, cfg.rms_norm_eps)
