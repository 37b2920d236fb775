// SPDX-License-Identifier: Apache-2.0
//
// This machine as a board, for the programs that are to do the same here and there.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "toolchains/cortex-m/board.h"

void board_write(const char* text, size_t bytes) { std::fwrite(text, 1, bytes, stdout); }

long board_read(char* line, size_t room) {
  size_t n = 0;
  int c = std::getchar();
  if (c == EOF) return -1;
  for (; c != EOF && c != '\n'; c = std::getchar()) {
    if (n < room) line[n++] = static_cast<char>(c);
  }
  return static_cast<long>(n);
}

uint64_t board_ticks() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

void board_exit(int code) { std::exit(code); }

size_t board_stack_bytes() { return 0; }

size_t board_stack_used() { return 0; }

size_t board_stack_paint() { return 0; }

unsigned char* board_memory(size_t* bytes) {
  alignas(64) static unsigned char memory[2 << 20];
  *bytes = sizeof(memory);
  return memory;
}
