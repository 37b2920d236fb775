// SPDX-License-Identifier: Apache-2.0
//
// A model that was proven when the program was built. Everything that Gguf::Open, LoadQwen35, ReadTask and
// TokenizerView::Read would find in its file stands in the program as constants, written by `thimble plan MODEL
// --source`; none of these functions, nor any memory for what they find, is needed where it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/config.h"
#include "core/error.h"
#include "core/weights.h"
#include "io/task.h"
#include "io/tokenizer_view.h"

namespace thimble {

/// All views are of the bytes that the linker calls `board_model`.
struct LinkedModel {
  /// Whether `bytes`, which stand at board_model, are those that this was written from, by their number and CRC-32:
  /// kBadFile. It must be asked before anything else here is used, for nothing checks the file again. Like the rest of
  /// a program's flash this keeps accidents out, not somebody who may write to it.
  Error Check(std::span<const std::byte> bytes) const;

  uint32_t bytes;  // of the file
  uint32_t crc32;  // of them
  Model model;
  TokenizerView tokenizer;
  Task task;
  std::span<const Token> answers;  // the tokens of task.choices, each of them one
};

/// Defined by the source that `thimble plan` writes, together with Formats().
extern const LinkedModel kLinkedModel;

}  // namespace thimble
