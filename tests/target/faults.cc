// SPDX-License-Identifier: Apache-2.0
//
// Does the forbidden thing that the console names. Reaching the end of main is the failure.
#include <cstdint>
#include <string_view>

#include "tests/target/check.h"

namespace thimble {
namespace {

// Small frames, and more of them than any stack holds.
__attribute__((noinline)) uint32_t Deeper(uint32_t depth) {
  if (depth == 0) return 0;
  volatile uint32_t frame[16];
  frame[depth % 16] = depth;
  const uint32_t below = Deeper(depth + 1);
  return below + frame[below % 16];
}

int Do(std::string_view what) {
  volatile int number = 0;
  volatile int divided = 7;
  volatile uintptr_t address = 0xF0000000;
  if (what == "divide") return divided / number;
  if (what == "read") return *reinterpret_cast<volatile int*>(address);
  if (what == "undefined") __asm__ volatile("udf #0");
  if (what == "jump") reinterpret_cast<void (*)()>(address | 1)();
  if (what == "recurse") return static_cast<int>(Deeper(1));
  Print("nothing of that name, or no fault\n");
  return 1;
}

}  // namespace
}  // namespace thimble

int main() {
  char line[16];
  const long length = board_read(line, sizeof(line));
  return length < 0 ? 1 : thimble::Do({line, static_cast<size_t>(length)});
}
