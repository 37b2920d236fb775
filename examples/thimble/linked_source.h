// SPDX-License-Identifier: Apache-2.0
//
// A model that was read and proven here, as C++ source for the firmware that holds its file in flash (io/linked_model).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "core/config.h"
#include "core/weights.h"
#include "io/task.h"
#include "io/tokenizer_view.h"

namespace thimble::program {

/// What was read of a file in one piece; all views are of `file`.
struct ProvenFile {
  std::span<const std::byte> file;
  Model model;
  TokenizerView tokenizer;
  Task task;
  std::span<const Token> answers;
};

/// The source that defines kLinkedModel, and Formats(): those of the model's tensors and of a cache in `k` and `v`.
std::string LinkedSource(const ProvenFile& proven, Type k, Type v);

}  // namespace thimble::program
