// SPDX-License-Identifier: Apache-2.0
//
// The sampler against a plain reference that sorts, in double precision: same random number, same token. The draw
// itself is tested on its own by counting.
#include "core/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>
#include <random>
#include <vector>

using namespace thimble;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct alignas(Arena::kAlign) Line {
  std::byte bytes[Arena::kAlign];
};

struct BoundSampler {
  BoundSampler(const SamplerOptions& options, size_t vocab) {
    Arena measure;
    REQUIRE(sampler.Bind(options, vocab, measure).ok());
    memory.resize(measure.used() / sizeof(Line));
    Arena arena(std::as_writable_bytes(std::span(memory)));
    REQUIRE(sampler.Bind(options, vocab, arena).ok());
    REQUIRE(arena.used() == measure.used());
  }
  Token Sample(std::vector<float> logits) {
    const Result<Token> token = sampler.Sample(logits);
    REQUIRE(token);
    return *token;
  }
  std::vector<Line> memory;
  Sampler sampler;
};

// SplitMix64 as its authors print it.
struct Random {
  uint64_t state;
  uint64_t Next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
};

struct Reference {
  SamplerOptions options;
  std::vector<Token> banned = {};
  std::vector<Token> prompt = {};
  std::vector<Token> generated = {};

  // The probability of every token.
  std::vector<double> Probabilities(const std::vector<float>& logits) const {
    const size_t n = logits.size();
    std::vector<double> x(logits.begin(), logits.end());
    for (const LogitBias& b : options.logit_bias) x[static_cast<size_t>(b.token)] += static_cast<double>(b.bias);
    for (const Token token : banned) x[static_cast<size_t>(token)] = -HUGE_VAL;
    Penalise(x);

    std::vector<size_t> order(n);
    for (size_t i = 0; i < n; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] > x[b]; });
    std::vector<double> p(n, 0.0);
    if (options.temperature == 0.0f) {
      p[order[0]] = 1.0;
      return p;
    }
    const double largest = x[order[0]];
    for (double& value : x) value = std::exp((value - largest) / static_cast<double>(options.temperature));
    if (options.top_k > 0) order.resize(std::min<size_t>(order.size(), options.top_k));
    if (options.top_p < 1.0f) {
      double total = 0;
      for (const size_t i : order) total += x[i];
      double sum = 0;
      size_t kept = 0;
      while (kept == 0 || (kept < order.size() && sum < static_cast<double>(options.top_p) * total))
        sum += x[order[kept++]];
      order.resize(kept);
    }
    double total = 0;
    for (const size_t i : order) {
      if (x[i] >= static_cast<double>(options.min_p)) total += p[i] = x[i];
    }
    for (double& value : p) value /= total;
    return p;
  }

  void Penalise(std::vector<double>& x) const {
    std::vector<std::pair<Token, bool>> window;
    for (const Token token : prompt) window.emplace_back(token, false);
    for (const Token token : generated) window.emplace_back(token, true);
    if (window.size() > options.penalty_window) {
      window.erase(window.begin(), window.end() - static_cast<std::ptrdiff_t>(options.penalty_window));
    }
    std::map<Token, int> seen;
    for (const auto& [token, is_generated] : window) seen[token] += is_generated ? 1 : 0;
    for (const auto& [token, count] : seen) {
      double& value = x[static_cast<size_t>(token)];
      const double repetition = static_cast<double>(options.repetition_penalty);
      value = value > 0 ? value / repetition : value * repetition;
      if (count > 0) value -= static_cast<double>(options.presence_penalty);
      value -= count * static_cast<double>(options.frequency_penalty);
    }
  }
};

// The token at `random` / 2^64 of the way through the probabilities in the order of the ids; -1 within a hair of a
// border.
Token Pick(const std::vector<double>& p, uint64_t random) {
  const double u = static_cast<double>(random) * 0x1p-64;
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    sum += p[i];
    if (p[i] > 0 && std::abs(sum - u) < 1e-7) return -1;
    if (u < sum) return static_cast<Token>(i);
  }
  return -1;
}

std::vector<float> RandomLogits(std::mt19937& random, size_t n, float scale) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> logits(n);
  for (float& x : logits) x = normal(random);
  return logits;
}

// Draws `count` tokens and compares each with the reference's.
void Compare(const Reference& reference, const std::vector<float>& logits, int count) {
  BoundSampler bound(reference.options, logits.size());
  for (const Token token : reference.banned) bound.sampler.Ban(token);
  bound.sampler.AcceptPrompt(reference.prompt);
  for (const Token token : reference.generated) bound.sampler.Accept(token);
  const std::vector<double> p = reference.Probabilities(logits);
  Random random{reference.options.seed};
  int compared = 0;
  for (int i = 0; i < count; ++i) {
    const Token token = bound.Sample(logits);
    const Token expected = Pick(p, random.Next());
    REQUIRE(p[static_cast<size_t>(token)] > 0);
    if (expected < 0) continue;
    REQUIRE(token == expected);
    ++compared;
  }
  CHECK(compared >= count * 9 / 10);
}

}  // namespace

TEST_CASE("the reference's random numbers are SplitMix64") {
  Random random{1234567};
  CHECK(random.Next() == 6457827717110365317u);
  CHECK(random.Next() == 3203168211198807973u);
  CHECK(random.Next() == 9817491932198370423u);
}

TEST_CASE("greedy takes the largest logit, of equals the lowest id") {
  BoundSampler bound({.temperature = 0.0f}, 6);
  CHECK(bound.Sample({1, 5, -2, 5, 0, 4}) == 1);
  CHECK(bound.Sample({-3, -2, -2, -kInfinity, -9, -2}) == 1);
  bound.sampler.Ban(1);
  CHECK(bound.Sample({1, 5, -2, 5, 0, 4}) == 3);
}

TEST_CASE("every option agrees with the reference") {
  std::mt19937 random(7);
  const std::vector<LogitBias> bias = {{3, 2.5f}, {17, -4.0f}, {29, -kInfinity}, {3, 0.5f}};
  std::vector<SamplerOptions> all;
  for (const float temperature : {0.3f, 1.0f, 2.5f}) all.push_back({.temperature = temperature});
  for (const uint32_t top_k : {1u, 2u, 20u, 199u, 200u, 5000u}) all.push_back({.temperature = 1.5f, .top_k = top_k});
  for (const float top_p : {0.0f, 0.1f, 0.5f, 0.95f, 0.9999f}) all.push_back({.top_p = top_p});
  for (const float min_p : {0.01f, 0.2f, 1.0f}) all.push_back({.min_p = min_p});
  all.push_back({.temperature = 0.7f, .top_k = 30, .top_p = 0.9f, .min_p = 0.05f});
  all.push_back({.temperature = 3.0f, .top_k = 100, .top_p = 0.5f, .min_p = 0.1f, .logit_bias = bias});
  all.push_back({.logit_bias = bias});
  all.push_back({.temperature = 0.0f, .logit_bias = bias});
  uint64_t seed = 0;
  for (SamplerOptions options : all) {
    for (const float scale : {0.5f, 3.0f, 12.0f}) {
      options.seed = ++seed;
      CAPTURE(seed);
      std::vector<float> logits = RandomLogits(random, 200, scale);
      if (options.min_p == 1.0f) logits[5] = logits[60] = 40.0f;
      Compare({.options = options}, logits, 60);
      for (float& x : logits) x = std::round(x);  // many ties
      Compare({.options = options, .banned = {0, 63, 64, 127, 199}}, logits, 60);
      for (size_t i = 0; i < logits.size(); i += 3) logits[i] = -kInfinity;
      Compare({.options = options}, logits, 60);
    }
  }
}

TEST_CASE("the penalties agree with the reference, in their window") {
  std::mt19937 random(8);
  uint64_t seed = 100;
  for (const uint32_t window : {0u, 1u, 7u, 40u, 1000u}) {
    for (const SamplerOptions& base :
         {SamplerOptions{.repetition_penalty = 1.3f}, SamplerOptions{.repetition_penalty = 0.8f},
          SamplerOptions{.presence_penalty = 1.5f}, SamplerOptions{.frequency_penalty = 0.4f},
          SamplerOptions{
              .top_k = 20, .repetition_penalty = 1.1f, .presence_penalty = -0.5f, .frequency_penalty = 0.2f}}) {
      Reference reference{.options = base};
      reference.options.penalty_window = window;
      reference.options.seed = ++seed;
      std::uniform_int_distribution<Token> token(0, 29);
      for (int i = 0; i < 25; ++i) reference.prompt.push_back(token(random));
      for (int i = 0; i < 35; ++i) reference.generated.push_back(token(random));
      CAPTURE(seed);
      Compare(reference, RandomLogits(random, 100, 2.0f), 50);
      reference.options.temperature = 0.0f;
      Compare(reference, RandomLogits(random, 100, 2.0f), 1);
    }
  }
}

TEST_CASE("presence and frequency leave the prompt alone, repetition does not") {
  const std::vector<float> logits = {2.0f, 1.9f};
  const std::vector<Token> prompt = {0, 0, 0};
  BoundSampler counted({.temperature = 0.0f, .presence_penalty = 5.0f, .frequency_penalty = 5.0f}, 2);
  counted.sampler.AcceptPrompt(prompt);
  CHECK(counted.Sample(logits) == 0);
  counted.sampler.Accept(0);
  CHECK(counted.Sample(logits) == 1);
  BoundSampler repeated({.temperature = 0.0f, .repetition_penalty = 2.0f}, 2);
  repeated.sampler.AcceptPrompt(prompt);
  CHECK(repeated.Sample(logits) == 1);
  repeated.sampler.Reset();
  CHECK(repeated.Sample(logits) == 0);
  repeated.sampler.Accept(1);
  CHECK(repeated.Sample(logits) == 0);
}

TEST_CASE("a vocabulary of 248320 without a sort") {
  std::mt19937 random(9);
  uint64_t seed = 300;
  for (SamplerOptions options : {SamplerOptions{}, SamplerOptions{.top_k = 20, .top_p = 0.95f},
                                 SamplerOptions{.temperature = 2.0f, .top_p = 0.9f}, SamplerOptions{.top_k = 200000},
                                 SamplerOptions{.temperature = 20.0f, .top_p = 0.999f, .min_p = 0.01f}}) {
    options.seed = ++seed;
    CAPTURE(seed);
    Compare({.options = options}, RandomLogits(random, 248320, 3.0f), 10);
  }
  BoundSampler flat({.top_p = 0.5f}, 248320);  // all equal: half of the probability is the first half of the ids
  for (int i = 0; i < 20; ++i) CHECK(flat.Sample(std::vector<float>(248320, 1.0f)) < 124160);
}

TEST_CASE("tokens come as often as their probabilities say") {
  std::mt19937 random(10);
  const std::vector<float> logits = RandomLogits(random, 40, 1.0f);
  const SamplerOptions options{.temperature = 0.9f, .top_p = 0.97f, .seed = 42};
  const std::vector<double> p = Reference{.options = options}.Probabilities(logits);
  BoundSampler bound(options, logits.size());
  std::vector<double> counts(logits.size(), 0.0);
  const int draws = 50000;
  for (int i = 0; i < draws; ++i) counts[static_cast<size_t>(bound.Sample(logits))] += 1;
  double chi_square = 0;
  int cells = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) {
      CHECK(counts[i] == 0);
      continue;
    }
    chi_square += (counts[i] - draws * p[i]) * (counts[i] - draws * p[i]) / (draws * p[i]);
    ++cells;
  }
  CHECK(cells > 20);
  CHECK(chi_square < cells + 4 * std::sqrt(2.0 * cells));  // four standard deviations above the mean; the seed is fixed
}

TEST_CASE("the seed makes the sequence, and Reset begins it again") {
  std::mt19937 random(11);
  const std::vector<float> logits = RandomLogits(random, 500, 1.0f);
  const auto sequence = [&](Sampler& sampler) {
    std::vector<Token> tokens;
    for (int i = 0; i < 30; ++i) {
      std::vector<float> copy = logits;
      tokens.push_back(*sampler.Sample(copy));
      sampler.Accept(tokens.back());
    }
    return tokens;
  };
  BoundSampler a({.presence_penalty = 1.0f, .seed = 5}, 500);
  BoundSampler b({.presence_penalty = 1.0f, .seed = 5}, 500);
  BoundSampler c({.presence_penalty = 1.0f, .seed = 6}, 500);
  const std::vector<Token> first = sequence(a.sampler);
  CHECK(first == sequence(b.sampler));
  CHECK(first != sequence(c.sampler));
  CHECK(first != sequence(a.sampler));
  a.sampler.Reset();
  CHECK(first == sequence(a.sampler));
}

TEST_CASE("every option's neutral value changes nothing") {
  std::mt19937 random(12);
  const std::vector<LogitBias> bias = {{1, 0.0f}};
  const std::vector<SamplerOptions> neutral = {
      {.top_k = 300}, {.top_k = 100000}, {.penalty_window = 0}, {.penalty_window = 1}, {.logit_bias = bias}};
  for (const SamplerOptions& options : neutral) {
    BoundSampler plain({}, 300);
    BoundSampler other(options, 300);
    for (int i = 0; i < 50; ++i) {
      const std::vector<float> logits = RandomLogits(random, 300, 2.0f);
      const Token token = plain.Sample(logits);
      CHECK(other.Sample(logits) == token);
      plain.sampler.Accept(token);
      other.sampler.Accept(token);
    }
  }
}

TEST_CASE("banned tokens are never sampled") {
  std::vector<float> logits(130, -kInfinity);
  logits[0] = logits[64] = logits[129] = 9.0f;
  BoundSampler bound({}, logits.size());
  bound.sampler.Ban(0);
  bound.sampler.Ban(129);
  for (int i = 0; i < 100; ++i) CHECK(bound.Sample(logits) == 64);
  bound.sampler.Ban(64);
  const Result<Token> none = bound.sampler.Sample(logits);
  REQUIRE_FALSE(none);
  CHECK(none.error().status == Status::kNotFound);
}

TEST_CASE("logits that are not numbers are told, not sampled") {
  for (const float temperature : {0.0f, 1.0f}) {
    for (const float broken : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
      for (const size_t at : std::initializer_list<size_t>{0u, 1u, 4u}) {
        BoundSampler bound({.temperature = temperature, .top_k = 2}, 5);
        std::vector<float> logits = {1, 2, 3, 4, 5};
        logits[at] = broken;
        const Result<Token> token = bound.sampler.Sample(logits);
        REQUIRE_FALSE(token);
        CHECK(token.error().status == Status::kBadFile);
      }
    }
  }
}

TEST_CASE("options out of range are refused by name") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<LogitBias> outside = {{0, 1.0f}, {10, 1.0f}};
  const std::vector<LogitBias> infinite = {{0, kInfinity}};
  const std::vector<std::pair<SamplerOptions, std::string_view>> bad = {
      {{.temperature = -1.0f}, "temperature"},
      {{.temperature = nan}, "temperature"},
      {{.temperature = kInfinity}, "temperature"},
      {{.top_p = -0.1f}, "top_p"},
      {{.top_p = 1.1f}, "top_p"},
      {{.top_p = nan}, "top_p"},
      {{.min_p = 1.5f}, "min_p"},
      {{.repetition_penalty = 0.0f}, "repetition_penalty"},
      {{.presence_penalty = nan}, "presence_penalty"},
      {{.frequency_penalty = kInfinity}, "frequency_penalty"},
      {{.logit_bias = outside}, "logit_bias"},
      {{.logit_bias = infinite}, "logit_bias"}};
  for (const auto& [options, name] : bad) {
    Arena measure;
    Sampler sampler;
    const Error error = sampler.Bind(options, 10, measure);
    CHECK(error.status == Status::kBadArgument);
    CHECK(error.name == name);
  }
  Arena measure;
  Sampler sampler;
  CHECK(sampler.Bind({}, 0, measure).status == Status::kTooLarge);
  CHECK(sampler.Bind({}, Sampler::kMaxVocab + 1, measure).status == Status::kTooLarge);
}

TEST_CASE("an arena that is too small says what it needs") {
  const SamplerOptions options{.top_k = 5, .presence_penalty = 1.0f};
  Arena measure;
  Sampler sampler;
  REQUIRE(sampler.Bind(options, 1000, measure).ok());
  std::vector<Line> memory(measure.used() / sizeof(Line));
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(memory));
  for (size_t size = 0; size < bytes.size(); size += size + 64 < bytes.size() ? 64 : 1) {
    Arena arena(bytes.first(size));
    const Error error = sampler.Bind(options, 1000, arena);
    CHECK(error.status == Status::kTooSmall);
    CHECK(error.at == measure.used());
  }
}
