// SPDX-License-Identifier: Apache-2.0
//
// CHECK for programs that run on a board: it prints what was not so and where, and the program's exit code says that
// something was not. The same programs run on the host, with board_host.cc as their board.
#pragma once

#include <cstdint>

#include "examples/firmware/console.h"

namespace thimble {

inline void PrintHex(uint64_t number) {
  char text[16];
  for (size_t i = 0; i < 16; ++i) text[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
  board_write(text, sizeof(text));
}

/// Counts what failed; main returns Failed().
class Checks {
 public:
  void That(bool good, const char* what, const char* file, int line) {
    if (good) return;
    ++failed_;
    Print(file);
    Print(":");
    Print(static_cast<uint64_t>(line));
    Print(": not so: ");
    Print(what);
    Print("\n");
  }
  int Failed() const { return failed_ != 0; }

 private:
  unsigned failed_ = 0;
};

}  // namespace thimble

#define CHECK(condition) checks.That(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
