// SPDX-License-Identifier: Apache-2.0
//
// How the next token is chosen: what was asked for, else what the file recommends, else Qwen's model cards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/sampler.h"
#include "io/gguf.h"
#include "options.h"

namespace thimble::program {

struct SamplingOptions {
  std::optional<float> temperature, top_p, min_p, presence_penalty;
  std::optional<uint32_t> top_k;
  std::optional<uint64_t> seed;  // without one: another answer every time
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  std::vector<std::string> biases;
};

void AddSampling(CLI::App& command, SamplingOptions& options);

/// Fills in what `options` leave open; `thinks`: whether the model will think before it answers. `biases` receives the
/// memory of the result's logit_bias. kBadArgument for a bias that is not ID=NUMBER or not of a token.
Error ReadSampling(const SamplingOptions& options, const Gguf& file, const Config& config, bool thinks,
                   std::vector<LogitBias>* biases, SamplerOptions* sampling);

}  // namespace thimble::program
