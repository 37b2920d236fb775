# SPDX-License-Identifier: Apache-2.0
"""kernels.c as torch functions with gradients, and the forward pass made of them: about four times as fast on one core
as model.forward, which stays the judge (see check). Compiles kernels.c anew for the machine it runs on; trains only.
"""
import ctypes
import os
import subprocess
import tempfile

import torch
import torch.nn.functional as F

import model as architecture
from model import HEAD_DIM, same


def build(bfloat16):
    """The compiled kernels with bfloat16 or float32 activations; None without a C compiler."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernels.c")
    with tempfile.TemporaryDirectory() as d:
        library = os.path.join(d, "kernels.so")
        command = [os.environ.get("CC", "gcc"), "-std=c11", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC",
                   source, "-o", library, "-lmvec", "-lm"] + ([] if bfloat16 else ["-DFLOAT_ACTIVATIONS"])
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return Kernels(ctypes.CDLL(library), torch.bfloat16 if bfloat16 else torch.float32)


def arguments(*values):
    """Tensors as pointers, None as a null pointer, integers as int."""
    return [ctypes.c_int(v) if isinstance(v, int) else v if isinstance(v, ctypes.c_long) else
            ctypes.c_void_p(None if v is None else v.data_ptr()) for v in values]


class Kernels:
    def __init__(self, library, dtype):
        self.library, self.dtype = library, dtype
        self.add_norm, self.swiglu = self.make_add_norm().apply, self.make_swiglu().apply
        self.delta, self.attention = self.make_delta().apply, self.make_attention().apply

    def call(self, name, *values):
        getattr(self.library, name)(*arguments(*values))

    def make_add_norm(kernels):
        class AddNorm(torch.autograd.Function):
            """(h, o, mask, w) -> h + mask * o, and its norm."""
            @staticmethod
            def forward(c, h, o, mask, w):
                total, x = torch.empty_like(h), torch.empty(h.shape, dtype=kernels.dtype)
                kernels.call("add_norm_forward", *h.shape, h, o, mask, w, total, x)
                c.save_for_backward(total, w)
                c.mask, c.has_o = mask, o is not None
                return total, x

            @staticmethod
            def backward(c, d_total, d_x):
                total, w = c.saved_tensors
                d_x, d_total = d_x.contiguous(), None if d_total is None else d_total.contiguous()
                d_h, d_w = torch.empty_like(total), torch.zeros_like(w)
                d_o = torch.empty(total.shape, dtype=kernels.dtype) if c.has_o else None
                kernels.call("add_norm_backward", *total.shape, total, c.mask, w, d_total, d_x, d_h, d_o, d_w)
                return d_h, d_o, None, d_w
        return AddNorm

    def make_swiglu(kernels):
        class SwiGLU(torch.autograd.Function):
            @staticmethod
            def forward(c, y):
                o = torch.empty(*y.shape[:2], y.shape[2] // 2, dtype=kernels.dtype)
                kernels.call("swiglu_forward", ctypes.c_long(y.shape[0] * y.shape[1]), o.shape[2], y, o)
                c.save_for_backward(y)
                return o

            @staticmethod
            def backward(c, d_o):
                y, = c.saved_tensors
                d_o, d_y = d_o.contiguous(), torch.empty_like(y)
                kernels.call("swiglu_backward", ctypes.c_long(y.shape[0] * y.shape[1]), d_o.shape[2], y, d_o, d_y)
                return d_y
        return SwiGLU

    def make_delta(kernels):
        class Delta(torch.autograd.Function):
            @staticmethod
            def forward(c, y, conv, A_log, dt_bias, norm):
                (B, T, _), heads = y.shape, A_log.numel()
                taps, A = conv.squeeze(1).t().contiguous(), A_log.exp()
                o = torch.empty(B, T, heads * HEAD_DIM, dtype=kernels.dtype)
                kernels.call("delta_forward", B, T, heads, y, taps, A, dt_bias, norm, o)
                c.save_for_backward(y, taps, A, dt_bias, norm)
                return o

            @staticmethod
            def backward(c, d_o):
                y, *weights = c.saved_tensors
                d_o, d_y = d_o.contiguous(), torch.empty_like(y)
                d_taps, d_A_log, d_dt_bias, d_norm = gradients = [torch.zeros_like(w) for w in weights]
                kernels.call("delta_backward", *y.shape[:2], d_A_log.numel(), y, *weights, d_o, d_y, *gradients)
                return d_y, d_taps.t().unsqueeze(1).contiguous(), d_A_log, d_dt_bias, d_norm
        return Delta

    def make_attention(kernels):
        class Attention(torch.autograd.Function):
            @staticmethod
            def forward(c, y, q_norm, k_norm, heads, kv_heads, cos, sin):
                B, T, _ = y.shape
                q_norm, k_norm, c.heads = 1 + q_norm, 1 + k_norm, (heads, kv_heads)
                o = torch.empty(B, T, heads * HEAD_DIM, dtype=kernels.dtype)
                kernels.call("attention_forward", B, T, *c.heads, y, q_norm, k_norm, cos.shape[1], cos, sin, o)
                c.save_for_backward(y, q_norm, k_norm, cos, sin)
                return o

            @staticmethod
            def backward(c, d_o):
                y, q_norm, k_norm, cos, sin = c.saved_tensors
                d_o, d_y = d_o.contiguous(), torch.empty_like(y)
                d_q, d_k = torch.zeros_like(q_norm), torch.zeros_like(k_norm)
                kernels.call("attention_backward", *y.shape[:2], *c.heads, y, q_norm, k_norm, cos.shape[1], cos, sin,
                             d_o, d_y, d_q, d_k)
                return d_y, d_q, d_k, None, None, None, None
        return Attention

    def forward(self, m, ids, p_embed=0.0, p=0.0, q=same):
        """As model.forward."""
        cfg, B = m.config, ids.shape[0]

        def linear(x, *weights):
            return F.linear(x, torch.cat([q(w) for w in weights]).to(self.dtype))

        def mask(p):
            return F.dropout(torch.ones(B, cfg.hidden_size), p) if p else None

        cos, sin = architecture.angles(m, ids.shape[1])
        h = F.embedding(ids, q(m.model.embed_tokens.weight))
        if p_embed:
            h = h * mask(p_embed)[:, None]
        o = kept = None
        for layer in m.model.layers:
            h, x = self.add_norm(h, o, kept, layer.input_layernorm.weight)
            if layer.layer_type == "linear_attention":
                a = layer.linear_attn
                y = linear(x, a.in_proj_qkv.weight, a.in_proj_z.weight, a.in_proj_a.weight, a.in_proj_b.weight)
                o = linear(self.delta(y, a.conv1d.weight, a.A_log, a.dt_bias, a.norm.weight), a.out_proj.weight)
            else:
                a = layer.self_attn
                y = linear(x, a.q_proj.weight, a.k_proj.weight, a.v_proj.weight)
                o = linear(self.attention(y, a.q_norm.weight, a.k_norm.weight, cfg.num_attention_heads,
                                          cfg.num_key_value_heads, cos, sin), a.o_proj.weight)
            h, x = self.add_norm(h, o, mask(p), layer.post_attention_layernorm.weight)
            y = linear(x, layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight)
            o, kept = linear(self.swiglu(y), layer.mlp.down_proj.weight), mask(p)
        return self.add_norm(h, o, kept, m.model.norm.weight)[1]


def check(m):
    """Our forward passes against Hugging Face's own, in float32; the kernels' gradients against torch's."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, m.config.vocab_size, (4, 21), generator=generator)
    m.eval()
    with torch.no_grad():
        want = m.model(input_ids=ids, use_cache=False).last_hidden_state
    weight = torch.randn(want.shape, generator=generator)
    parameters = dict(m.named_parameters())

    def run(forward):
        h = forward(m, ids)
        return h.detach(), torch.autograd.grad((h * weight).sum(), list(parameters.values()))

    h, gradients = run(architecture.forward)
    off = [(h - want).abs().max().item() / want.std().item()]
    kernels = build(bfloat16=False)
    if kernels:
        h, ours = run(kernels.forward)
        off.append((h - want).abs().max().item() / want.std().item())
        off += [((a - b).abs().max() / (b.abs().max() + 1e-6)).item() for a, b in zip(ours, gradients)]
    print("check: hidden states off by %s of their std, gradients by %s of their largest" % (
        ", ".join("%.0e" % x for x in off[:2]), "%.0e" % max(off[2:]) if kernels else "? (no C compiler)"), flush=True)
    assert max(off) < 1e-3
