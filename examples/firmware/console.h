// SPDX-License-Identifier: Apache-2.0
//
// What the firmware examples print with: a board's console takes characters and nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"
#include "io/decimal.h"
#include "io/error_text.h"
#include "toolchains/cortex-m/board.h"

namespace thimble {

inline void Print(std::string_view text) { board_write(text.data(), text.size()); }

inline void Print(uint64_t number) {
  char text[kDecimalDigits];
  Print(Decimal(number, text));
}

/// "0.928141", of a number in [0, 1].
inline void PrintProbability(float p) {
  uint32_t millionths = static_cast<uint32_t>(p * 1e6f + 0.5f);
  char text[8] = {static_cast<char>('0' + millionths / 1000000), '.'};
  for (size_t i = 8; i-- > 2; millionths /= 10) text[i] = static_cast<char>('0' + millionths % 10);
  Print(std::string_view(text, sizeof text));
}

inline void Print(const Error& error) {
  char text[200];
  Print("! ");
  Print(ErrorText(error, text, nullptr));
  Print("\n");
}

/// The bytes of the model that is linked into the program.
inline std::span<const std::byte> BoardModel() {
  return {reinterpret_cast<const std::byte*>(board_model), static_cast<size_t>(board_model_end - board_model)};
}

}  // namespace thimble
