/* SPDX-License-Identifier: Apache-2.0
 *
 * The console of a board under QEMU (or a debugger): Arm semihosting. On silicon with no debugger attached each of
 * these calls is a fault, so firmware for silicon brings a file of its own instead.
 */
#include "board.h"

enum { kOpen = 0x01, kWrite0 = 0x04, kRead = 0x06, kExitExtended = 0x20, kApplicationExit = 0x20026 };

static uintptr_t call(uintptr_t operation, const void* argument) {
  register uintptr_t r0 __asm__("r0") = operation;
  register const void* r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void board_write(const char* text, size_t bytes) {
  char piece[65];
  while (bytes != 0) {
    size_t n = 0;
    for (; n < bytes && n < sizeof(piece) - 1; ++n) piece[n] = text[n];
    piece[n] = 0;
    call(kWrite0, piece);
    text += n;
    bytes -= n;
  }
}

/* From a file of the host, which tells where it ends: SYS_READC of QEMU 7 loses characters when it has to wait. run.sh
 * has its stdin there. */
long board_read(char* line, size_t room) {
  static const char kInput[] = "/dev/fd/3";
  static uintptr_t file; /* 0: not opened yet */
  if (file == 0) {
    const uintptr_t open[3] = {(uintptr_t)kInput, 0, sizeof(kInput) - 1};
    file = call(kOpen, open);
  }
  if (file == (uintptr_t)-1) return -1;
  size_t n = 0;
  char c = 0;
  const uintptr_t read[3] = {file, (uintptr_t)&c, 1};
  while (call(kRead, read) == 0) { /* bytes that are missing */
    if (c == '\n') return (long)n;
    if (c != '\r' && n < room) line[n++] = c;
  }
  return n == 0 ? -1 : (long)n;
}

void board_exit(int code) {
  const uintptr_t block[2] = {kApplicationExit, (uintptr_t)code};
  call(kExitExtended, block);
  for (;;) {
  }
}
