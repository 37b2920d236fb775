// SPDX-License-Identifier: Apache-2.0
//
// For tests: the logits of whole sequences of tokens, and how they compare.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/load_model.h"

namespace thimble {

/// Tokens that look random.
inline std::vector<Token> Tokens(size_t n, size_t vocab, uint32_t seed = 1) {
  std::vector<Token> tokens(n);
  for (Token& token : tokens) {
    seed = seed * 1664525u + 1013904223u;
    token = static_cast<Token>((seed >> 8) % vocab);
  }
  return tokens;
}

/// The logits behind each of the tokens, fed at once.
inline std::vector<float> AllLogits(const Model& model, const Limits& limits, const Backend& backend,
                                    std::span<const Token> tokens) {
  HeapSession session(model, limits, backend);
  std::vector<float> logits(tokens.size() * model.config.vocab_size);
  RequireOk(session->Feed(tokens, logits));
  return logits;
}

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// Root of the mean square difference, as a share of that of `b`.
inline double Difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double difference = 0.0;
  double size = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]);
    const double y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return std::sqrt(difference / size);
}

}  // namespace thimble
