// SPDX-License-Identifier: Apache-2.0
//
// For programs that run on a board: all of its free memory, and the model that is linked into the program.
#pragma once

#include <cstddef>
#include <span>

#include "core/arena.h"
#include "core/weights.h"
#include "examples/firmware/console.h"
#include "io/gguf.h"
#include "io/load_qwen35.h"

namespace thimble {

inline constexpr int kSkipped = 77;  // exit code: there is too little memory on this board

/// From a multiple of Arena::kAlign on.
inline std::span<std::byte> FreeMemory() {
  size_t bytes = 0;
  unsigned char* memory = board_memory(&bytes);
  return {reinterpret_cast<std::byte*>(memory), bytes};
}

/// The model itself, its tables in `arena`. In a frame of its own: the file's index is 3 KB, and needed no longer.
inline Result<Model> LoadBoardModel(Arena& arena) {
  const std::span<const std::byte> part = BoardModel();
  const Result<Gguf> file = Gguf::Open({&part, 1});
  if (!file) return file.error();
  return LoadQwen35(*file, arena);
}

}  // namespace thimble
