// SPDX-License-Identifier: Apache-2.0
//
// The smallest classifier: tokens in, probabilities of a closed set out, for a model that somebody else has read.
// Linked to be measured, never run.
#include "core/choices.h"

namespace thimble {

extern "C" uint32_t Start(const Model& model, const Limits& limits, std::span<std::byte> memory,
                          std::span<const std::span<const Token>> answers, std::span<const Token> prompt,
                          std::span<float> log_p) {
  const Backend backend;
  if (!Session::Plan(model.config, limits, backend)) return 1;
  Arena arena(memory);
  Session session;
  Choices choices;
  if (!session.Bind(model, limits, backend, arena).ok()) return 2;
  if (!choices.Bind(answers, -1, model.config.vocab_size, arena).ok()) return 3;
  if (!session.Feed(prompt).ok() || !choices.Score(session, log_p).ok()) return 4;
  uint32_t best[1];
  TopK(log_p, best);
  return best[0];
}

}  // namespace thimble
