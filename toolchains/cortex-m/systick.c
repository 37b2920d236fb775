/* SPDX-License-Identifier: Apache-2.0
 *
 * board_ticks by the one timer that every Cortex-M has. Under QEMU's -icount shift=0 an instruction takes one
 * nanosecond, so the SysTick at BOARD_MHZ counts instructions in steps of 1000 / BOARD_MHZ. It has 24 bits; its
 * interrupt counts the rest.
 */
#include "board.h"

#define REGISTER(address) (*(volatile uint32_t*)(address))
#define ICSR REGISTER(0xE000ED04)
#define SYST_CSR REGISTER(0xE000E010)
#define SYST_RVR REGISTER(0xE000E014)
#define SYST_CVR REGISTER(0xE000E018)

enum { kLast = 0xFFFFFF };

static volatile uint32_t wraps;

void board_systick(void);
void board_systick(void) { ++wraps; }

/* By less than 2^16, in pieces: the compiler's own division of 64 bits would be 700 bytes. */
static uint64_t divide(uint64_t number, uint32_t by) {
  uint64_t quotient = 0;
  uint32_t rest = 0;
  for (int shift = 48; shift >= 0; shift -= 16) {
    const uint32_t part = rest << 16 | (uint32_t)(number >> shift & 0xFFFF);
    quotient = quotient << 16 | part / by;
    rest = part % by;
  }
  return quotient;
}

uint64_t board_ticks(void) {
  if ((SYST_CSR & 1u) == 0) {
    SYST_RVR = kLast;
    SYST_CVR = 0;
    SYST_CSR = 7; /* on, with interrupt, the core's clock */
  }
  uint32_t before;
  uint32_t left;
  uint32_t pending;
  do {
    before = wraps;
    left = SYST_CVR;
    pending = ICSR >> 26 & 1u; /* it has passed 0 and the interrupt is still to come */
    if (pending) left = SYST_CVR;
  } while (before != wraps);
  const uint64_t ticks = (uint64_t)(before + pending) * (kLast + 1u) + (-left & kLast);
  return divide(ticks * 1000u, BOARD_MHZ);
}
