// SPDX-License-Identifier: Apache-2.0
//
// The parts of the model between its matrix products, forward and backward, fused for training on one thread: residual
// with norm, SwiGLU, Gated DeltaNet, gated attention. kernels.py calls them; the same functions in plain torch are in
// model.py and are the judge. Keeps no state between calls; every backward recomputes its forward from the inputs,
// because one head of one sentence fits in the first-level cache. Training only: nothing that runs a model uses this
// file.
#include <math.h>
#include <stdint.h>
#include <string.h>

#define D 32           // dimensions of a head, of linear and of full attention
#define MAX_TOKENS 64  // longest sentence
#define TAPS 4         // of the convolution
#define EPS 1e-6f

// The element of the activations between matrix products: bfloat16, or float with -DFLOAT_ACTIVATIONS.
#ifdef FLOAT_ACTIVATIONS
typedef float Element;
static inline float Load(Element x) { return x; }
static inline Element Store(float x) { return x; }
#else
typedef uint16_t Element;
static inline float Load(Element x) {
  uint32_t u = (uint32_t)x << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
static inline Element Store(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return (Element)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
#endif

static inline float Dot(const float* a, const float* b) {
  float s = 0;
  for (int d = 0; d < D; ++d) s += a[d] * b[d];
  return s;
}
static inline void AddScaled(float* y, float a, const float* x) {
  for (int d = 0; d < D; ++d) y[d] += a * x[d];
}
static inline float Sigmoid(float x) { return 1 / (1 + expf(-x)); }
static inline float SiluGradient(float x) {
  float s = Sigmoid(x);
  return s * (1 + x * (1 - s));
}

// --------------------------------------------------------------------------------------- residual, dropout, RMSNorm

// sum = h + mask * o, x = sum / rms(sum) * (1 + w). h, sum, o, x (B, T, C); mask (B, C), w (C); o and mask may be null.
void add_norm_forward(int B, int T, int C, const float* h, const Element* o, const float* mask, const float* w,
                      float* sum, Element* x) {
  for (int b = 0; b < B; ++b) {
    for (int t = 0; t < T; ++t) {
      long at = ((long)b * T + t) * C;
      float squares = 0, *y = sum + at;
      for (int c = 0; c < C; ++c) {
        y[c] = h[at + c] + (o ? (mask ? mask[b * C + c] : 1) * Load(o[at + c]) : 0);
        squares += y[c] * y[c];
      }
      float r = 1 / sqrtf(squares / C + EPS);
      for (int c = 0; c < C; ++c) x[at + c] = Store(y[c] * r * (1 + w[c]));
    }
  }
}

// d_sum is the gradient that reaches the sum past this norm (may be null), d_x the norm's; d_o is null without o.
void add_norm_backward(int B, int T, int C, const float* sum, const float* mask, const float* w, const float* d_sum,
                       const Element* d_x, float* d_h, Element* d_o, float* d_w) {
  for (int b = 0; b < B; ++b) {
    for (int t = 0; t < T; ++t) {
      long at = ((long)b * T + t) * C;
      const float* y = sum + at;
      float squares = 0, along = 0;
      for (int c = 0; c < C; ++c) squares += y[c] * y[c];
      float r = 1 / sqrtf(squares / C + EPS);
      for (int c = 0; c < C; ++c) {
        float e = Load(d_x[at + c]);
        d_w[c] += e * y[c] * r;
        along += e * (1 + w[c]) * y[c];
      }
      along *= r * r * r / C;
      for (int c = 0; c < C; ++c) {
        d_h[at + c] = (d_sum ? d_sum[at + c] : 0) + Load(d_x[at + c]) * (1 + w[c]) * r - y[c] * along;
        if (d_o) d_o[at + c] = Store(d_h[at + c] * (mask ? mask[b * C + c] : 1));
      }
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- SwiGLU

// y (N, [gate F | up F]) -> silu(gate) * up (N, F)
void swiglu_forward(long N, int F, const Element* y, Element* o) {
  for (long n = 0; n < N; ++n) {
    const Element *gate = y + n * 2 * F, *up = gate + F;
    for (int f = 0; f < F; ++f) {
      float g = Load(gate[f]);
      o[n * F + f] = Store(g * Sigmoid(g) * Load(up[f]));
    }
  }
}

void swiglu_backward(long N, int F, const Element* y, const Element* d_o, Element* d_y) {
  for (long n = 0; n < N; ++n) {
    const Element *gate = y + n * 2 * F, *up = gate + F;
    for (int f = 0; f < F; ++f) {
      float g = Load(gate[f]), e = Load(d_o[n * F + f]);
      d_y[n * 2 * F + f] = Store(e * Load(up[f]) * SiluGradient(g));
      d_y[n * 2 * F + F + f] = Store(e * g * Sigmoid(g));
    }
  }
}

// --------------------------------------------------------------------------------------------------- Gated DeltaNet
// From the projections to the gated norm: y (B, T, [q k v (3 H D) | z (H D) | a (H) | b (H)]) -> (B, T, H D).
// conv (TAPS, 3 H D); A = exp(A_log) and dt_bias (H); norm (D). The rule over a sentence as one chunk, from a zero
// state:
//   u_i = beta_i v_i - sum_{j<i} beta_i (k_i . k_j) decay_ij u_j        o_i = sum_{j<=i} (q_i . k_j) decay_ij u_j

typedef struct {
  float convolved[3][MAX_TOKENS][D], qkv[3][MAX_TOKENS][D];           // before and after silu
  float q[MAX_TOKENS][D], k[MAX_TOKENS][D];                           // normalised; the query scaled by D^-1/2
  float q_length[MAX_TOKENS], k_length[MAX_TOKENS];                   // 1 / length before normalising
  float beta[MAX_TOKENS], step[MAX_TOKENS];                           // sigmoid(b), a + dt_bias
  float log_decay[MAX_TOKENS], log_sum[MAX_TOKENS];                   // of a token, and summed up to it
  float decay[MAX_TOKENS][MAX_TOKENS];                                // exp(log_sum_i - log_sum_j)
  float kk[MAX_TOKENS][MAX_TOKENS];                                   // k_i . k_j
  float beta_kk[MAX_TOKENS][MAX_TOKENS], qk[MAX_TOKENS][MAX_TOKENS];  // with beta and decay, with decay
  float u[MAX_TOKENS][D], o[MAX_TOKENS][D], o_length[MAX_TOKENS];     // 1 / rms(o)
} DeltaHead;

static long DeltaRow(int H) { return 4L * H * D + 2 * H; }

// Channel of head h in part n (q, k or v) of the projection.
static int Channel(int n, int H, int h) { return n * H * D + h * D; }

static void Convolve(DeltaHead* w, int T, int H, int h, const Element* y, const float* conv) {
  for (int n = 0; n < 3; ++n) {
    int channel = Channel(n, H, h);
    for (int t = 0; t < T; ++t) {
      float* p = w->convolved[n][t];
      memset(p, 0, D * sizeof *p);
      for (int i = 0; i < TAPS; ++i) {
        int s = t - (TAPS - 1) + i;
        if (s < 0) continue;
        const float* tap = conv + i * 3 * H * D + channel;
        for (int d = 0; d < D; ++d) p[d] += tap[d] * Load(y[s * DeltaRow(H) + channel + d]);
      }
      for (int d = 0; d < D; ++d) w->qkv[n][t][d] = p[d] * Sigmoid(p[d]);
    }
  }
}

static void RunDeltaHead(DeltaHead* w, int T, int H, int h, const Element* y, const float* conv, const float* A,
                         const float* dt_bias) {
  Convolve(w, T, H, h, y, conv);
  float sum = 0;
  for (int t = 0; t < T; ++t) {
    const Element* gates = y + t * DeltaRow(H) + 4 * H * D;
    float step = Load(gates[h]) + dt_bias[h];
    w->step[t] = step;
    w->beta[t] = Sigmoid(Load(gates[H + h]));
    w->log_decay[t] = -A[h] * (step > 20 ? step : log1pf(expf(step)));
    w->log_sum[t] = sum += w->log_decay[t];
    w->q_length[t] = 1 / sqrtf(Dot(w->qkv[0][t], w->qkv[0][t]) + EPS);
    w->k_length[t] = 1 / sqrtf(Dot(w->qkv[1][t], w->qkv[1][t]) + EPS);
    for (int d = 0; d < D; ++d) {
      w->q[t][d] = w->qkv[0][t][d] * w->q_length[t] / sqrtf(D);
      w->k[t][d] = w->qkv[1][t][d] * w->k_length[t];
    }
  }
  for (int i = 0; i < T; ++i) {
    for (int j = 0; j <= i; ++j) {
      w->decay[i][j] = expf(w->log_sum[i] - w->log_sum[j]);
      w->kk[i][j] = Dot(w->k[i], w->k[j]);
      w->beta_kk[i][j] = w->beta[i] * w->kk[i][j] * w->decay[i][j];
      w->qk[i][j] = Dot(w->q[i], w->k[j]) * w->decay[i][j];
    }
    for (int d = 0; d < D; ++d) w->u[i][d] = w->beta[i] * w->qkv[2][i][d];
    for (int j = 0; j < i; ++j) AddScaled(w->u[i], -w->beta_kk[i][j], w->u[j]);
    memset(w->o[i], 0, sizeof w->o[i]);
    for (int j = 0; j <= i; ++j) AddScaled(w->o[i], w->qk[i][j], w->u[j]);
    w->o_length[i] = 1 / sqrtf(Dot(w->o[i], w->o[i]) / D + EPS);
  }
}

void delta_forward(int B, int T, int H, const Element* y, const float* conv, const float* A, const float* dt_bias,
                   const float* norm, Element* out) {
  static DeltaHead w;
  for (int b = 0; b < B; ++b) {
    const Element* y_b = y + b * T * DeltaRow(H);
    for (int h = 0; h < H; ++h) {
      RunDeltaHead(&w, T, H, h, y_b, conv, A, dt_bias);
      for (int t = 0; t < T; ++t) {
        const Element* z = y_b + t * DeltaRow(H) + Channel(3, H, h);
        Element* o = out + ((long)b * T + t) * H * D + h * D;
        for (int d = 0; d < D; ++d) {
          float zz = Load(z[d]);
          o[d] = Store(w.o[t][d] * w.o_length[t] * norm[d] * zz * Sigmoid(zz));
        }
      }
    }
  }
}

typedef struct {  // gradients of the parts of a DeltaHead
  float o[MAX_TOKENS][D], u[MAX_TOKENS][D], qkv[3][MAX_TOKENS][D];
  float log_sum[MAX_TOKENS], beta[MAX_TOKENS];
} DeltaGradient;

// The gated norm at one position: d_out, z and d_z (D) of it, the norm's weights and their gradient.
static void DeltaNormBackward(const DeltaHead* w, DeltaGradient* g, int t, const Element* d_out, const Element* z,
                              const float* norm, Element* d_z, float* d_norm) {
  float n[D], along = 0, r = w->o_length[t];
  for (int d = 0; d < D; ++d) {
    float zz = Load(z[d]), s = Sigmoid(zz), e = Load(d_out[d]), normed = w->o[t][d] * r;
    d_z[d] = Store(e * normed * norm[d] * SiluGradient(zz));
    d_norm[d] += e * normed * zz * s;
    n[d] = e * norm[d] * zz * s;
    along += n[d] * w->o[t][d];
  }
  along *= r * r * r / D;
  for (int d = 0; d < D; ++d) g->o[t][d] = n[d] * r - w->o[t][d] * along;
}

// The two triangular sums: from the gradient of o to those of normalised q and k, of v, beta and the summed decay.
static void DeltaRuleBackward(const DeltaHead* w, DeltaGradient* g, int T) {
  float(*d_q)[D] = g->qkv[0], (*d_k)[D] = g->qkv[1], (*d_v)[D] = g->qkv[2];
  memset(g->u, 0, sizeof g->u);
  memset(g->qkv, 0, sizeof g->qkv);
  memset(g->log_sum, 0, sizeof g->log_sum);
  memset(g->beta, 0, sizeof g->beta);
  for (int i = 0; i < T; ++i) {
    for (int j = 0; j <= i; ++j) {
      float e = Dot(g->o[i], w->u[j]);
      AddScaled(g->u[j], w->qk[i][j], g->o[i]);
      AddScaled(d_q[i], e * w->decay[i][j], w->k[j]);
      AddScaled(d_k[j], e * w->decay[i][j], w->q[i]);
      g->log_sum[i] += e * w->qk[i][j];
      g->log_sum[j] -= e * w->qk[i][j];
    }
  }
  for (int j = T - 1; j >= 0; --j) {  // the transposed system
    for (int i = j + 1; i < T; ++i) AddScaled(g->u[j], -w->beta_kk[i][j], g->u[i]);
  }
  for (int i = 0; i < T; ++i) {
    g->beta[i] += Dot(w->qkv[2][i], g->u[i]);
    for (int d = 0; d < D; ++d) d_v[i][d] = w->beta[i] * g->u[i][d];
    for (int j = 0; j < i; ++j) {
      float e = -Dot(g->u[i], w->u[j]);
      g->log_sum[i] += e * w->beta_kk[i][j];
      g->log_sum[j] -= e * w->beta_kk[i][j];
      g->beta[i] += e * w->kk[i][j] * w->decay[i][j];
      e *= w->beta[i] * w->decay[i][j];
      AddScaled(d_k[i], e, w->k[j]);
      AddScaled(d_k[j], e, w->k[i]);
    }
  }
}

// Decay, beta and the lengths of query and key; writes the gradients of the gates a and b into d_y.
static void DeltaGatesBackward(const DeltaHead* w, DeltaGradient* g, int T, int H, int h, const float* A, Element* d_y,
                               float* d_A_log, float* d_dt_bias) {
  float sum = 0;
  for (int t = T - 1; t >= 0; --t) {
    sum += g->log_sum[t];
    d_A_log[h] += sum * w->log_decay[t];
    float d_a = sum * -A[h] * Sigmoid(w->step[t]);
    d_dt_bias[h] += d_a;
    Element* d_gates = d_y + t * DeltaRow(H) + 4 * H * D;
    d_gates[h] = Store(d_a);
    d_gates[H + h] = Store(g->beta[t] * w->beta[t] * (1 - w->beta[t]));
    float rq = w->q_length[t], rk = w->k_length[t], scale = 1 / sqrtf(D);
    float q_along = Dot(g->qkv[0][t], w->qkv[0][t]) * rq * rq * rq * scale;
    float k_along = Dot(g->qkv[1][t], w->qkv[1][t]) * rk * rk * rk;
    for (int d = 0; d < D; ++d) {
      g->qkv[0][t][d] = g->qkv[0][t][d] * rq * scale - w->qkv[0][t][d] * q_along;
      g->qkv[1][t][d] = g->qkv[1][t][d] * rk - w->qkv[1][t][d] * k_along;
    }
  }
}

// silu and convolution of part n; d_conv (TAPS, 3 H D).
static void ConvolveBackward(const DeltaHead* w, const DeltaGradient* g, int n, int T, int H, int h, const Element* y,
                             const float* conv, Element* d_y, float* d_conv) {
  static float d_convolved[MAX_TOKENS][D], d_x[MAX_TOKENS][D];
  int channel = Channel(n, H, h);
  for (int t = 0; t < T; ++t) {
    for (int d = 0; d < D; ++d) d_convolved[t][d] = g->qkv[n][t][d] * SiluGradient(w->convolved[n][t][d]);
  }
  memset(d_x, 0, sizeof d_x);
  for (int i = 0; i < TAPS; ++i) {
    const float* tap = conv + i * 3 * H * D + channel;
    float* d_tap = d_conv + i * 3 * H * D + channel;
    for (int t = TAPS - 1 - i; t < T; ++t) {
      int s = t - (TAPS - 1) + i;
      const Element* x = y + s * DeltaRow(H) + channel;
      for (int d = 0; d < D; ++d) {
        d_x[s][d] += d_convolved[t][d] * tap[d];
        d_tap[d] += d_convolved[t][d] * Load(x[d]);
      }
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int d = 0; d < D; ++d) d_y[t * DeltaRow(H) + channel + d] = Store(d_x[t][d]);
  }
}

void delta_backward(int B, int T, int H, const Element* y, const float* conv, const float* A, const float* dt_bias,
                    const float* norm, const Element* d_out, Element* d_y, float* d_conv, float* d_A_log,
                    float* d_dt_bias, float* d_norm) {
  static DeltaHead w;
  static DeltaGradient g;
  for (int b = 0; b < B; ++b) {
    const Element* y_b = y + b * T * DeltaRow(H);
    Element* d_y_b = d_y + b * T * DeltaRow(H);
    for (int h = 0; h < H; ++h) {
      RunDeltaHead(&w, T, H, h, y_b, conv, A, dt_bias);
      for (int t = 0; t < T; ++t) {
        long z = t * DeltaRow(H) + Channel(3, H, h);
        DeltaNormBackward(&w, &g, t, d_out + ((long)b * T + t) * H * D + h * D, y_b + z, norm, d_y_b + z, d_norm);
      }
      DeltaRuleBackward(&w, &g, T);
      DeltaGatesBackward(&w, &g, T, H, h, A, d_y_b, d_A_log, d_dt_bias);
      for (int n = 0; n < 3; ++n) ConvolveBackward(&w, &g, n, T, H, h, y_b, conv, d_y_b, d_conv);
    }
  }
}

// ------------------------------------------------------------------------------------------------- gated attention
// y (B, T, [(q D, gate D) x N | k D x G | v D x G]) -> sigmoid(gate) * attention (B, T, N D). q_norm and k_norm (D) are
// 1 + the norms' weights; cos and sin (T, R) rotate the first 2 R dimensions by pairs (d, d + R).

typedef struct {
  const float *cos, *sin;
  int R;
} Rotation;

typedef struct {
  float x[MAX_TOKENS][D], length[MAX_TOKENS], out[MAX_TOKENS][D];  // input, 1 / rms, normed and rotated
} NormedHead;

typedef struct {
  NormedHead q, k;
  float v[MAX_TOKENS][D], p[MAX_TOKENS][MAX_TOKENS], o[MAX_TOKENS][D];  // p: probabilities
} AttentionHead;

static long AttentionRow(int N, int G) { return 2L * (N + G) * D; }

// y points at the head's first dimension of the first token; `row` is the distance to the next token's.
static void NormRotate(NormedHead* w, int T, const Element* y, long row, const float* norm, Rotation r) {
  for (int t = 0; t < T; ++t) {
    for (int d = 0; d < D; ++d) w->x[t][d] = Load(y[t * row + d]);
    w->length[t] = 1 / sqrtf(Dot(w->x[t], w->x[t]) / D + EPS);
    for (int d = 0; d < D; ++d) w->out[t][d] = w->x[t][d] * w->length[t] * norm[d];
    for (int d = 0; d < r.R; ++d) {
      float a = w->out[t][d], b = w->out[t][d + r.R], c = r.cos[t * r.R + d], s = r.sin[t * r.R + d];
      w->out[t][d] = a * c - b * s;
      w->out[t][d + r.R] = b * c + a * s;
    }
  }
}

static void NormRotateBackward(const NormedHead* w, int T, float (*g)[D], Element* d_y, long row, const float* norm,
                               float* d_norm, Rotation r) {
  for (int t = 0; t < T; ++t) {
    for (int d = 0; d < r.R; ++d) {
      float a = g[t][d], b = g[t][d + r.R], c = r.cos[t * r.R + d], s = r.sin[t * r.R + d];
      g[t][d] = a * c + b * s;
      g[t][d + r.R] = b * c - a * s;
    }
    float n[D], along = 0, length = w->length[t];
    for (int d = 0; d < D; ++d) {
      d_norm[d] += g[t][d] * w->x[t][d] * length;
      n[d] = g[t][d] * norm[d];
      along += n[d] * w->x[t][d];
    }
    along *= length * length * length / D;
    for (int d = 0; d < D; ++d) d_y[t * row + d] = Store(n[d] * length - w->x[t][d] * along);
  }
}

static void LoadKeysValues(AttentionHead* w, int T, int N, int G, int g, const Element* y, const float* k_norm,
                           Rotation r) {
  long row = AttentionRow(N, G);
  NormRotate(&w->k, T, y + (2 * N + g) * D, row, k_norm, r);
  for (int t = 0; t < T; ++t) {
    for (int d = 0; d < D; ++d) w->v[t][d] = Load(y[t * row + (2 * N + G + g) * D + d]);
  }
}

static void Attend(AttentionHead* w, int T) {
  for (int i = 0; i < T; ++i) {
    float top = -1e30f, sum = 0, *p = w->p[i];
    for (int j = 0; j <= i; ++j) {
      p[j] = Dot(w->q.out[i], w->k.out[j]) / sqrtf(D);
      top = p[j] > top ? p[j] : top;
    }
    for (int j = 0; j <= i; ++j) sum += p[j] = expf(p[j] - top);
    memset(w->o[i], 0, sizeof w->o[i]);
    for (int j = 0; j <= i; ++j) {
      p[j] /= sum;
      AddScaled(w->o[i], p[j], w->v[j]);
    }
  }
}

void attention_forward(int B, int T, int N, int G, const Element* y, const float* q_norm, const float* k_norm, int R,
                       const float* cos, const float* sin, Element* out) {
  static AttentionHead w;
  Rotation r = {cos, sin, R};
  long row = AttentionRow(N, G);
  for (int b = 0; b < B; ++b) {
    const Element* y_b = y + b * T * row;
    for (int h = 0; h < N; ++h) {
      if (h % (N / G) == 0) LoadKeysValues(&w, T, N, G, h / (N / G), y_b, k_norm, r);
      NormRotate(&w.q, T, y_b + 2 * h * D, row, q_norm, r);
      Attend(&w, T);
      for (int t = 0; t < T; ++t) {
        const Element* gate = y_b + t * row + (2 * h + 1) * D;
        Element* o = out + ((long)b * T + t) * N * D + h * D;
        for (int d = 0; d < D; ++d) o[d] = Store(w.o[t][d] * Sigmoid(Load(gate[d])));
      }
    }
  }
}

// From the gradient of the head's output (in d_o) to those of rotated q, rotated k and v; the last two are added to.
static void AttendBackward(const AttentionHead* w, int T, float (*d_o)[D], float (*d_q)[D], float (*d_k)[D],
                           float (*d_v)[D]) {
  for (int i = 0; i < T; ++i) {
    float mean = Dot(d_o[i], w->o[i]);
    memset(d_q[i], 0, D * sizeof(float));
    for (int j = 0; j <= i; ++j) {
      AddScaled(d_v[j], w->p[i][j], d_o[i]);
      float e = w->p[i][j] * (Dot(d_o[i], w->v[j]) - mean) / sqrtf(D);
      AddScaled(d_q[i], e, w->k.out[j]);
      AddScaled(d_k[j], e, w->q.out[i]);
    }
  }
}

void attention_backward(int B, int T, int N, int G, const Element* y, const float* q_norm, const float* k_norm, int R,
                        const float* cos, const float* sin, const Element* d_out, Element* d_y, float* d_q_norm,
                        float* d_k_norm) {
  static AttentionHead w;
  static float d_o[MAX_TOKENS][D], d_q[MAX_TOKENS][D], d_k[MAX_TOKENS][D], d_v[MAX_TOKENS][D];
  Rotation r = {cos, sin, R};
  long row = AttentionRow(N, G);
  for (int b = 0; b < B; ++b) {
    const Element* y_b = y + b * T * row;
    Element* d_y_b = d_y + b * T * row;
    for (int g = 0; g < G; ++g) {
      LoadKeysValues(&w, T, N, G, g, y_b, k_norm, r);
      memset(d_k, 0, sizeof d_k);
      memset(d_v, 0, sizeof d_v);
      for (int h = g * N / G; h < (g + 1) * N / G; ++h) {
        NormRotate(&w.q, T, y_b + 2 * h * D, row, q_norm, r);
        Attend(&w, T);
        for (int t = 0; t < T; ++t) {
          long gate = t * row + (2 * h + 1) * D;
          const Element* e = d_out + ((long)b * T + t) * N * D + h * D;
          for (int d = 0; d < D; ++d) {
            float s = Sigmoid(Load(y_b[gate + d])), v = Load(e[d]);
            d_y_b[gate + d] = Store(v * w.o[t][d] * s * (1 - s));
            d_o[t][d] = v * s;
          }
        }
        AttendBackward(&w, T, d_o, d_q, d_k, d_v);
        NormRotateBackward(&w.q, T, d_q, d_y_b + 2 * h * D, row, q_norm, d_q_norm, r);
      }
      NormRotateBackward(&w.k, T, d_k, d_y_b + (2 * N + g) * D, row, k_norm, d_k_norm, r);
      for (int t = 0; t < T; ++t) {
        for (int d = 0; d < D; ++d) d_y_b[t * row + (2 * N + G + g) * D + d] = Store(d_v[t][d]);
      }
    }
  }
}
