// SPDX-License-Identifier: Apache-2.0
//
// Sampling without sorting. Probabilities are integers, shares of the largest one, so sums of them are exact in any
// order; what top-k and top-p keep is found by radix selection on the bits of the floats: four passes whatever the
// vocabulary.
#include "core/sampler.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "core/math.h"

namespace thimble {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kBins = 256;

// The largest weight is 1, which becomes 2^40; kMaxVocab of them add up to 2^62.
uint64_t Fixed(float weight) { return static_cast<uint64_t>(weight * 0x1p40f); }

// Unsigned integers in the order of the floats; both zeros are one number.
uint32_t OrderedBits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// a * b / 2^64
uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  const uint64_t a_low = a & UINT32_MAX, a_high = a >> 32;
  const uint64_t b_low = b & UINT32_MAX, b_high = b >> 32;
  const uint64_t cross = (a_low * b_low >> 32) + (a_high * b_low & UINT32_MAX) + a_low * b_high;
  return a_high * b_high + (a_high * b_low >> 32) + (cross >> 32);
}

// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
uint64_t NextRandom(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Keeps the largest values, of equals those that come first, until their measures reach `target`, and overwrites all
// others with `dropped`. Equal values have equal measures; the measures of all reach `target`, which is above 0.
template <class Measure>
void KeepLargest(std::span<float> values, uint64_t target, float dropped, uint64_t* bins, Measure measure) {
  uint32_t border = 0;  // the bits of the smallest value that is kept, from the highest eight down
  uint32_t known = 0;
  for (uint32_t shift = 32; shift > 0;) {
    shift -= 8;
    std::fill_n(bins, kBins, uint64_t{0});
    for (const float x : values) {
      const uint32_t bits = OrderedBits(x);
      if ((bits & known) == border) bins[(bits >> shift) % kBins] += measure(x);
    }
    uint32_t bin = kBins - 1;
    while (bins[bin] < target) target -= bins[bin--];
    border |= bin << shift;
    known |= uint32_t{kBins - 1} << shift;
  }
  for (float& x : values) {  // target is what the values equal to the border still have to give
    const uint32_t bits = OrderedBits(x);
    if (bits == border && target > 0) {
      target -= std::min(target, measure(x));
    } else if (bits <= border) {
      x = dropped;
    }
  }
}

// False for NaN and the infinities.
bool IsFinite(float x) { return x - x == 0.0f; }

Error CheckOptions(const SamplerOptions& o, size_t vocab) {
  const auto bad = [](const char* what, std::string_view name) { return Error{Status::kBadArgument, what, name}; };
  if (!(o.temperature >= 0.0f && IsFinite(o.temperature)))
    return bad("it must be 0 or a positive number", "temperature");
  if (!(o.top_p >= 0.0f && o.top_p <= 1.0f)) return bad("it must lie between 0 and 1", "top_p");
  if (!(o.min_p >= 0.0f && o.min_p <= 1.0f)) return bad("it must lie between 0 and 1", "min_p");
  if (!(o.repetition_penalty > 0.0f && IsFinite(o.repetition_penalty))) {
    return bad("it must be a positive number", "repetition_penalty");
  }
  if (!IsFinite(o.presence_penalty)) return bad("it must be a number", "presence_penalty");
  if (!IsFinite(o.frequency_penalty)) return bad("it must be a number", "frequency_penalty");
  for (size_t i = 0; i < o.logit_bias.size(); ++i) {
    const LogitBias& b = o.logit_bias[i];
    if (b.token < 0 || static_cast<size_t>(b.token) >= vocab) {
      return {Status::kBadArgument, "no such token in the vocabulary", "logit_bias", {}, i};
    }
    if (!IsFinite(b.bias) && b.bias != -kInfinity) {
      return {Status::kBadArgument, "it must be a number or minus infinity", "logit_bias", {}, i};
    }
  }
  return {};
}

}  // namespace

bool Sampler::penalises() const {
  return options_.repetition_penalty != 1.0f || options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f;
}

Error Sampler::Bind(const SamplerOptions& options, size_t vocab, Arena& arena) {
  if (vocab == 0 || vocab > kMaxVocab) {
    return {Status::kTooLarge, "the vocabulary must have at least 1 and at most 4194304 tokens", vocab};
  }
  if (const Error error = CheckOptions(options, vocab); !error.ok()) return error;
  options_ = options;
  if (!penalises()) options_.penalty_window = 0;
  if (options.temperature == 0.0f || options.top_k >= vocab) options_.top_k = 0;
  vocab_ = vocab;
  const size_t words = (vocab + 63) / 64;
  const bool selects = options_.top_k > 0 || (options.temperature > 0.0f && options.top_p < 1.0f);
  banned_ = arena.Take<uint64_t>(words);
  marked_ = arena.Take<uint64_t>(options_.penalty_window > 0 ? words : 0);
  state_ = arena.Take<State>(1);
  window_ = arena.Take<Token>(options_.penalty_window);
  bins_ = arena.Take<uint64_t>(selects ? kBins : 0);
  kept_ = arena.Take<Token>(options_.top_k);
  if (const Error error = arena.error(); !error.ok() || arena.measuring()) return error;
  std::fill_n(banned_, words, uint64_t{0});
  if (options_.penalty_window > 0) std::fill_n(marked_, words, uint64_t{0});
  Reset();
  return {};
}

void Sampler::Reset() {
  std::fill_n(window_, options_.penalty_window, Token{0});
  std::memset(static_cast<void*>(state_), 0, sizeof *state_);  // its padding is part of the image
  state_->random = options_.seed;
  state_->vocab = static_cast<uint32_t>(vocab_);
  state_->window = options_.penalty_window;
}

Error Sampler::Fits(std::span<const std::byte> image) const {
  const Error broken = {Status::kBadFile, "these bytes are no image of a sampler, or not a whole one"};
  State state;
  if (image.size() < sizeof state) return broken;
  std::memcpy(&state, image.data(), sizeof state);
  if (image.size() - sizeof state != uint64_t{state.window} * sizeof(Token)) return broken;
  if (state.vocab != vocab_) {
    return {Status::kBadArgument, "the snapshot's sampler had another vocabulary", "tokens", {}, state.vocab};
  }
  if (state.window != options_.penalty_window) {
    return {Status::kBadArgument,
            "the snapshot's sampler looked back another number of tokens; use the same penalties",
            "penalty_window",
            {},
            state.window};
  }
  const bool full = state.size == state.window;
  if (state.size > state.window || (full ? state.next > 0 && state.next >= state.window : state.next != state.size)) {
    return broken;
  }
  for (size_t i = 0; i < state.size; ++i) {
    Token entry;
    std::memcpy(&entry, image.data() + sizeof state + i * sizeof entry, sizeof entry);
    if (static_cast<size_t>(entry < 0 ? ~entry : entry) >= vocab_) return broken;
  }
  return {};
}

Error Sampler::Restore(std::span<const std::byte> image) {
  const Error error = Fits(image);
  if (error.ok()) std::memcpy(static_cast<void*>(state_), image.data(), image.size());
  return error;
}

void Sampler::Remember(Token entry) {
  if (options_.penalty_window == 0) return;
  window_[state_->next] = entry;
  state_->next = (state_->next + 1) % options_.penalty_window;
  state_->size = std::min(state_->size + 1, options_.penalty_window);
}

void Sampler::AcceptPrompt(std::span<const Token> tokens) {
  for (const Token token : tokens) Remember(~token);
}

void Sampler::Accept(Token token) { Remember(token); }

// Every token of the window is punished once for being there: `marked_` tells the first of its entries from the others.
void Sampler::Penalise(std::span<float> logits) {
  const std::span<const Token> window(window_, state_->size);
  const auto mark = [this](Token token) -> uint64_t& { return marked_[static_cast<size_t>(token) / 64]; };
  const auto bit = [](Token token) { return uint64_t{1} << (token % 64); };
  for (const Token entry : window) {
    const Token token = entry < 0 ? ~entry : entry;
    if ((mark(token) & bit(token)) != 0) continue;
    mark(token) |= bit(token);
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0.0f ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
  }
  for (const Token token : window) {
    if (token < 0) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit -= options_.frequency_penalty;
    if ((mark(token) & bit(token)) != 0) logit -= options_.presence_penalty;
    mark(token) &= ~bit(token);
  }
  for (const Token entry : window) {  // those that only the prompt has
    const Token token = entry < 0 ? ~entry : entry;
    mark(token) &= ~bit(token);
  }
}

// An index with a probability in proportion to its weight, out of those that min_p leaves. The largest weight is 1.
size_t Sampler::Draw(std::span<const float> weights) {
  const auto share = [this](float weight) { return weight >= options_.min_p ? Fixed(weight) : 0; };
  uint64_t total = 0;
  for (const float weight : weights) total += share(weight);
  uint64_t left = MultiplyHigh(NextRandom(&state_->random), total);  // evenly in [0, total)
  size_t i = 0;
  while (left >= share(weights[i])) left -= share(weights[i++]);
  return i;
}

Result<Token> Sampler::Sample(std::span<float> logits) {
  for (const LogitBias& b : options_.logit_bias) logits[static_cast<size_t>(b.token)] += b.bias;
  for (size_t word = 0; word < (vocab_ + 63) / 64; ++word) {
    for (uint64_t bits = banned_[word]; bits != 0; bits &= bits - 1) {
      logits[word * 64 + static_cast<size_t>(std::countr_zero(bits))] = -kInfinity;
    }
  }
  if (options_.penalty_window > 0) Penalise(logits);

  size_t best = 0;
  bool numbers = true;
  for (size_t i = 0; i < logits.size(); ++i) {
    numbers = numbers && logits[i] < kInfinity;
    if (logits[i] > logits[best]) best = i;
  }
  if (!numbers) return Error{Status::kBadFile, "the model's logits are not numbers"};
  const float largest = logits[best];
  if (largest == -kInfinity) return Error{Status::kNotFound, "every token is banned"};
  if (options_.temperature == 0.0f) return static_cast<Token>(best);

  if (options_.top_k > 0) {
    KeepLargest(logits, options_.top_k, -kInfinity, bins_, [](float) { return uint64_t{1}; });
    size_t kept = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] == -kInfinity) continue;
      logits[kept] = logits[i];
      kept_[kept++] = static_cast<Token>(i);
    }
    logits = logits.first(kept);
  }
  for (float& x : logits) x = Exp((x - largest) / options_.temperature);
  if (options_.top_p < 1.0f) {
    uint64_t total = 0;
    for (const float weight : logits) total += Fixed(weight);
    const uint64_t target = MultiplyHigh(total, static_cast<uint64_t>(options_.top_p * 0x1p64f));
    KeepLargest(logits, std::max<uint64_t>(target, 1), 0.0f, bins_, Fixed);
  }
  const size_t drawn = Draw(logits);
  return options_.top_k > 0 ? kept_[drawn] : static_cast<Token>(drawn);
}

}  // namespace thimble
