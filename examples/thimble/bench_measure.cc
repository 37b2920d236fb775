// SPDX-License-Identifier: Apache-2.0
//
// See bench_measure.h.
#include "bench_measure.h"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <vector>

#include "bench_machine.h"
#include "runtime.h"

namespace thimble::program {
namespace {

constexpr int kReadPasses = 5;  // after each repetition

uint64_t RowBytes(const Matrix& w) { return w.tile_bytes() / w.format->tile_rows; }

using Bytes = std::span<const std::byte>;

// The matrices that one decoded token reads, in that order: everything but the embedding and the MTP block.
std::vector<Bytes> MatricesOfToken(const Model& model) {
  const Config& c = model.config;
  std::vector<Bytes> bytes;
  const auto add = [&](std::initializer_list<const Matrix*> matrices) {
    for (const Matrix* w : matrices) bytes.emplace_back(w->tile(0), w->bytes());
  };
  for (size_t i = 0; i < c.block_count; ++i) {
    const LayerWeights& l = model.weights.layers[i];
    if (c.IsRecurrent(i)) {
      const DeltaNetWeights& w = l.deltanet;
      add({&w.attn_qkv, &w.attn_gate, &w.ssm_beta, &w.ssm_alpha, &w.ssm_out});
    } else {
      const AttentionWeights& w = l.attention;
      add({&w.attn_q, &w.attn_k, &w.attn_v, &w.attn_output});
    }
    add({&l.ffn_gate, &l.ffn_up, &l.ffn_down});
  }
  add({&model.weights.output});
  return bytes;
}

// Bytes of state that the DeltaNet layers read and those that they write for one decoded token.
uint64_t StateBytesPerToken(const Config& c) {
  const uint64_t floats = uint64_t{c.state_size} * c.inner_size + uint64_t{c.conv_channels()} * (c.conv_kernel - 1);
  return 2 * sizeof(float) * floats * c.recurrent_count();
}

// Gives the time since the last mark to the part that ends there.
struct PartClock {
  PartSeconds seconds = {};
  Stopwatch watch;

  void Start() {
    seconds = {};
    watch.Restart();
  }
  void Mark(Part part) {
    seconds[static_cast<size_t>(part)] += watch.seconds();
    watch.Restart();
  }
};

std::vector<Token> RandomTokens(size_t count, uint32_t vocab) {
  std::vector<Token> tokens(count);
  uint32_t random = 1;
  for (Token& token : tokens) {
    random = random * 1664525u + 1013904223u;
    token = static_cast<Token>((random >> 8) % vocab);
  }
  return tokens;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// A session that can go back to a depth and be timed from there.
class Track {
 public:
  Error Bind(Runtime& runtime, Limits limits, const BenchSizes& sizes) {
    depth_ = sizes.depth;
    limits.checkpoints = depth_ != 0 ? 1 : 0;
    Backend backend = runtime.backend();
    backend.mark_context = &clock_;
    backend.mark = [](void* clock, Part part) { static_cast<PartClock*>(clock)->Mark(part); };
    tokens_ = RandomTokens(std::max({1u, sizes.depth, sizes.prefill}), runtime.model().config.vocab_size);
    const Result<SessionPlan> plan = Session::Plan(runtime.model().config, limits, backend);
    if (!plan) return plan.error();
    own_bytes_ = plan->checkpoints + tokens_.size() * sizeof(Token);
    checkpoint_bytes_ = plan->checkpoints;
    return runtime.Place([&](Arena& arena) { return session_.Bind(runtime.model(), limits, backend, arena); });
  }

  // Brings every page of the weights in, and fills the context up to the depth. False when interrupted.
  Result<bool> Prepare() {
    if (const Error error = session_.Feed({tokens_.data(), 1}); !error.ok()) return error;
    session_.Best();
    session_.Reset();
    if (depth_ == 0) return true;
    const Result<bool> fed = Feed("depth", depth_);
    session_.Keep(0);
    return fed;
  }

  Result<bool> Prefill(uint32_t tokens) {
    Begin();
    const Stopwatch watch;
    const Result<bool> fed = Feed("prefill", tokens);
    if (!fed || !*fed) return fed;
    Choose();
    seconds_ = watch.seconds();
    return true;
  }

  Result<bool> Decode(uint32_t tokens) {
    Progress progress("decode", "tokens", tokens);
    Token token = tokens_[0];
    Begin();
    const Stopwatch watch;
    for (uint32_t i = 0; i < tokens && !Interrupted(); ++i) {
      if (const Error error = session_.Feed({&token, 1}); !error.ok()) return error;
      token = Choose();
      progress.Show(i + 1);
    }
    seconds_ = watch.seconds();
    return !Interrupted();
  }

  double seconds() const { return seconds_; }  // of the last Prefill or Decode
  const PartSeconds& parts() const { return clock_.seconds; }
  size_t own_bytes() const { return own_bytes_; }  // what only the measurement needs
  size_t checkpoint_bytes() const { return checkpoint_bytes_; }

 private:
  void Begin() {
    if (depth_ != 0) {
      session_.Recall(0);
    } else {
      session_.Reset();
    }
    clock_.Start();
  }

  Token Choose() { return std::max<Token>(session_.Best(), 0); }

  Result<bool> Feed(const char* what, size_t count) {
    Progress progress(what, "tokens", count);
    const size_t batch = session_.limits().batch;
    for (size_t begin = 0; begin < count; begin += batch) {
      const auto piece = std::span(tokens_).subspan(begin, std::min(batch, count - begin));
      if (const Error error = session_.Feed(piece); !error.ok()) return error;
      if (Interrupted()) return false;
      progress.Show(begin + piece.size());
    }
    return true;
  }

  Session session_;
  PartClock clock_;
  std::vector<Token> tokens_;
  uint32_t depth_ = 0;
  double seconds_ = 0;
  size_t own_bytes_ = 0;
  size_t checkpoint_bytes_ = 0;
};

// The repetitions of one of the two measurements.
struct Runs {
  std::vector<double> seconds;
  std::array<std::vector<double>, kParts> parts;

  void Add(double time, const PartSeconds& part_seconds) {
    seconds.push_back(time);
    for (size_t i = 0; i < kParts; ++i) parts[i].push_back(part_seconds[i]);
  }
  double Rate(uint32_t tokens) const { return seconds.empty() ? 0 : tokens / Median(seconds); }
  PartSeconds PerToken(uint32_t tokens) const {
    PartSeconds result = {};
    for (size_t i = 0; i < kParts && tokens != 0; ++i) result[i] = Median(parts[i]) / tokens;
    return result;
  }
};

// Leaves out what only the measurement itself needs.
void TakePeak(const Track& track, BenchFigures* figures) {
  const ProcessMemory now = MeasureMemory();
  const double own = static_cast<double>(track.own_bytes()) / (1024 * 1024);
  figures->peak.anonymous = std::max(figures->peak.anonymous, now.anonymous - own);
  figures->peak.file = std::max(figures->peak.file, now.file);
  figures->peak_total = std::max(figures->peak_total, PeakResident() - own);
}

// `read` gives the ceiling of decoding. It is asked in between, since a machine that others use too is not always as
// fast.
template <class Read>
Result<bool> Repeat(Track& track, uint32_t repetitions, const Read& read, BenchFigures* figures) {
  const BenchSizes& sizes = figures->sizes;
  Runs prefill, decode;
  std::vector<double> read_gbps;
  for (uint32_t i = 0; i < repetitions; ++i) {
    if (sizes.prefill != 0) {
      const Result<bool> done = track.Prefill(sizes.prefill);
      if (!done || !*done) return done;
      prefill.Add(track.seconds(), track.parts());
      TakePeak(track, figures);
    }
    if (sizes.decode != 0) {
      const Result<bool> done = track.Decode(sizes.decode);
      if (!done || !*done) return done;
      decode.Add(track.seconds(), track.parts());
      TakePeak(track, figures);
    }
    if (sizes.decode == 0 && i > 0) continue;  // reading is compared with decoding
    for (int pass = 0; pass < kReadPasses; ++pass) read_gbps.push_back(read());
  }
  figures->read_gbps = Median(read_gbps);
  figures->prefill_tps = prefill.Rate(sizes.prefill);
  figures->decode_tps = decode.Rate(sizes.decode);
  figures->prefill_parts = prefill.PerToken(sizes.prefill);
  figures->decode_parts = decode.PerToken(sizes.decode);
  return true;
}

BenchSizes Chosen(const BenchRequest& request, const Config& config) {
  BenchSizes sizes = request.sizes;
  const uint32_t context = request.model.context != 0 ? request.model.context : config.context_length;
  const uint32_t room = context - std::min(context, sizes.depth);
  if (!request.decode_given) sizes.decode = std::clamp(room / 8, 1u, 64u);
  if (!request.prefill_given) sizes.prefill = std::clamp(room - std::min(room, sizes.decode), 1u, 512u);
  return sizes;
}

}  // namespace

const char* PartName(size_t part) {
  static constexpr const char* kNames[kParts] = {
      "embedding", "deltanet_projections", "deltanet", "attention_projections", "attention", "feed_forward", "head"};
  return kNames[part];
}

Result<bool> MeasureBench(const BenchRequest& request, Runtime& runtime, BenchFigures* figures) {
  ForgetPeak();
  const Stopwatch watch;
  if (const Error error = runtime.Open(request.model); !error.ok()) return error;
  figures->sizes = Chosen(request, runtime.model().config);
  const BenchSizes& sizes = figures->sizes;
  const uint64_t needed = uint64_t{sizes.depth} + std::max(sizes.prefill, sizes.decode);
  ModelOptions options = request.model;
  if (options.context == 0) options.context = static_cast<uint32_t>(std::min<uint64_t>(needed, INT32_MAX));
  if (needed > options.context) {
    return Error{Status::kFull, "this does not fit in the context; raise --ctx to at least", {}, {}, needed};
  }
  const Result<Limits> limits = runtime.LimitsOf(options);
  if (!limits) return limits.error();
  if (const Error error = runtime.BindVocabulary(0); !error.ok()) return error;
  Track track;
  if (const Error error = track.Bind(runtime, *limits, sizes); !error.ok()) return error;
  figures->ready_seconds = watch.seconds();

  const Backend& backend = runtime.backend();
  figures->kernels = backend.kernels->name;
  figures->prefill_threads = backend.workers.count;
  figures->decode_threads = backend.step_workers.count;
  const std::vector<Bytes> matrices = MatricesOfToken(runtime.model());
  figures->bytes_per_token = RowBytes(runtime.model().weights.token_embd);  // of the token itself
  for (const Bytes matrix : matrices) figures->bytes_per_token += matrix.size();
  figures->state_bytes_per_token = StateBytesPerToken(runtime.model().config);
  figures->arena_bytes = runtime.arena_bytes() - track.checkpoint_bytes();
  const Result<bool> ready = track.Prepare();
  if (!ready || !*ready) return ready;
  return Repeat(track, request.repetitions, [&] { return ReadBandwidth(backend.step_workers, matrices); }, figures);
}

}  // namespace thimble::program
