// SPDX-License-Identifier: Apache-2.0
//
// See sampling.h.
#include "sampling.h"

#include <charconv>
#include <limits>
#include <random>

namespace thimble::program {
namespace {

constexpr double kMost = 1e6;  // of a penalty or a temperature: far beyond what makes a difference

// A recommendation of the file within its range, else the card's.
double Recommended(const Gguf& file, std::string_view key, double low, double high, double card) {
  const auto value = file.Find(key);
  const auto number = value ? value->AsNumber() : std::nullopt;
  return number && *number >= low && *number <= high ? *number : card;
}

Error ReadBias(const std::string& text, size_t vocab, LogitBias* bias) {
  const char* end = text.data() + text.size();
  const auto id = std::from_chars(text.data(), end, bias->token);
  if (id.ec == std::errc{} && id.ptr != end && *id.ptr == '=') {
    const auto number = std::from_chars(id.ptr + 1, end, bias->bias);
    const bool is_token = bias->token >= 0 && static_cast<size_t>(bias->token) < vocab;
    if (number.ec == std::errc{} && number.ptr == end && is_token) return {};
  }
  return {Status::kBadArgument, "--logit-bias takes the id of a token, = and a number: 198=-2.5", text};
}

}  // namespace

void AddSampling(CLI::App& command, SamplingOptions& o) {
  const char* group = "Sampling (defaults: the file's, or those of Qwen's model cards)";
  const auto add = [&](const char* name, auto& value, const char* text, double low, double high) {
    command.add_option(name, value, text)->option_text("X")->check(Between(low, high))->group(group);
  };
  constexpr double kId = std::numeric_limits<uint32_t>::max();
  add("--temp", o.temperature, "temperature; 0 always takes the most probable token", 0, kMost);
  add("--top-k", o.top_k, "sample from this many tokens; 0: from all", 0, kId);
  add("--top-p", o.top_p, "sample from the tokens that have this much probability together", 0, 1);
  add("--min-p", o.min_p, "leave out tokens below this share of the best one's probability", 0, 1);
  add("--repeat-penalty", o.repetition_penalty, "divides the logits of tokens seen before (default: 1)", 1e-3, kMost);
  add("--presence-penalty", o.presence_penalty, "taken from the logit of every token generated before", -kMost, kMost);
  add("--frequency-penalty", o.frequency_penalty, "taken each time that it was generated (default: 0)", -kMost, kMost);
  OneEach(command.add_option("--logit-bias", o.biases, "added to a token's logit; may be given several times"))
      ->option_text("ID=X")
      ->group(group);
  add("--seed", o.seed, "the same seed gives the same answer (default: another one each time)", 0, 1.8e19);
}

Error ReadSampling(const SamplingOptions& options, const Gguf& file, const Config& config, bool thinks,
                   std::vector<LogitBias>* biases, SamplerOptions* sampling) {
  // The cards of 0.8B and 2B differ from those of the larger models in how they answer without thinking.
  const bool small = config.embedding_length <= 2048;
  const double card_temperature = thinks || small ? 1.0 : 0.7;
  const double card_top_p = thinks ? 0.95 : small ? 1.0 : 0.8;
  const float card_presence = !thinks && small ? 2.0f : 1.5f;
  const auto recommended = [&](const char* key, double high, double card) {
    return static_cast<float>(Recommended(file, key, 0, high, card));
  };
  sampling->temperature = options.temperature.value_or(recommended("general.sampling.temp", kMost, card_temperature));
  sampling->top_k = options.top_k.value_or(
      static_cast<uint32_t>(Recommended(file, "general.sampling.top_k", 0, config.vocab_size, 20)));
  sampling->top_p = options.top_p.value_or(recommended("general.sampling.top_p", 1, card_top_p));
  sampling->min_p = options.min_p.value_or(recommended("general.sampling.min_p", 1, 0));
  sampling->repetition_penalty = options.repetition_penalty;
  sampling->presence_penalty = options.presence_penalty.value_or(sampling->temperature > 0 ? card_presence : 0);
  sampling->frequency_penalty = options.frequency_penalty;
  sampling->seed = options.seed.value_or(std::random_device{}());
  biases->resize(options.biases.size());
  for (size_t i = 0; i < biases->size(); ++i) {
    const Error error = ReadBias(options.biases[i], config.vocab_size, &(*biases)[i]);
    if (!error.ok()) return error;
  }
  sampling->logit_bias = *biases;
  return {};
}

}  // namespace thimble::program
