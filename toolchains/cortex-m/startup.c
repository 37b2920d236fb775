/* SPDX-License-Identifier: Apache-2.0
 *
 * From reset to main on any Cortex-M: floating point, memory, a stack that faults when it overflows, and handlers that
 * say where a fault was. It knows no board; the linker script (sections.ld) tells it where memory is.
 */
#include <string.h>

#include "board.h"

extern uint32_t __stack_bottom[], __stack_top[];
extern unsigned char __data_begin[], __data_end[], __data_load[], __bss_begin[], __bss_end[];
extern unsigned char __free_begin[], __free_end[];

int main(void);
void board_reset(void);
void board_systick(void);

#define REGISTER(address) (*(volatile uint32_t*)(address))
#define CCR REGISTER(0xE000ED14)
#define SHCSR REGISTER(0xE000ED24)
#define CFSR REGISTER(0xE000ED28)
#define MMFAR REGISTER(0xE000ED34)
#define BFAR REGISTER(0xE000ED38)
#define CPACR REGISTER(0xE000ED88)
#define MPU_TYPE REGISTER(0xE000ED90)
#define MPU_CTRL REGISTER(0xE000ED94)
#define MPU_RBAR REGISTER(0xE000ED9C)
#define MPU_RASR REGISTER(0xE000EDA0)

enum { kPaint = 0x57AC57AC, kFaultCode = 99 };

/* Below the stack. A function whose frame is larger than this could step over it. Reaches below the RAM, where nothing
 * of ours lies, and so costs none. */
enum { kGuardLog2 = 14 };

static void write_text(const char* text) { board_write(text, strlen(text)); }

static void write_hex(const char* name, uint32_t value) {
  char text[11] = "0x";
  for (int i = 0; i < 8; ++i) text[2 + i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
  write_text(name);
  board_write(text, 10);
}

/* `frame`: where the core pushed what it was doing, if the stack had room for it. */
__attribute__((used)) static void report_fault(const uint32_t* frame, uint32_t exc_return) {
  uint32_t exception;
  __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
  write_hex("\nfault: exception ", exception);
  if (frame >= __stack_bottom && frame + 8 <= __stack_top) {
    write_hex(" pc ", frame[6]);
    write_hex(" lr ", frame[5]);
  } else {
    write_text(" (no room left for pc and lr)");
  }
  write_hex(" exc_return ", exc_return);
  write_hex(" CFSR ", CFSR);
  write_hex(" MMFAR ", MMFAR);
  write_hex(" BFAR ", BFAR);
  write_text("\n");
  board_exit(kFaultCode);
}

/* The stack may be what failed: begin again at its top. */
__attribute__((naked)) static void on_fault(void) {
  __asm__ volatile(
      "mrs r0, msp\n"
      "mov r1, lr\n"
      "ldr r2, =__stack_top\n"
      "mov sp, r2\n"
      "ldr r2, =report_fault\n"
      "bx r2\n");
}

__attribute__((weak, alias("on_fault"))) void board_systick(void);

struct vectors {
  const void* stack;
  void (*handlers[15])(void);
};

__attribute__((section(".vectors"), used)) static const struct vectors kVectors = {
    __stack_top,
    {board_reset, on_fault, on_fault, on_fault, on_fault, on_fault, on_fault, 0, 0, 0, on_fault, on_fault, 0, on_fault,
     board_systick}};

static void limit_stack(void) {
#if __ARM_ARCH >= 8
  __asm__ volatile("msr msplim, %0" ::"r"(__stack_bottom));
#else
  if ((MPU_TYPE & 0xFF00) == 0) return;                                       /* a core without an MPU */
  MPU_RBAR = ((uintptr_t)__stack_bottom - (1u << kGuardLog2)) | 1u << 4 | 0u; /* region 0 */
  MPU_RASR = 1u << 28 | (kGuardLog2 - 1u) << 1 | 1u;                          /* no access, never executed */
  MPU_CTRL = 1u << 2 | 1u;                                                    /* all else as without an MPU */
  __asm__ volatile("dsb\n isb" ::: "memory");
#endif
}

size_t board_stack_paint(void) {
  uint32_t* sp;
  __asm__ volatile("mov %0, sp" : "=r"(sp));
  const uint32_t* end = sp - 16; /* this function itself may still push something */
  for (volatile uint32_t* p = __stack_bottom; p < end; ++p) *p = kPaint;
  return (size_t)(__stack_top - sp) * sizeof(uint32_t);
}

__attribute__((noinline, noreturn, used)) static void start(void) {
  memcpy(__data_begin, __data_load, (size_t)(__data_end - __data_begin));
  memset(__bss_begin, 0, (size_t)(__bss_end - __bss_begin));
  board_exit(main());
}

/* No floating-point register may be touched before CPACR is written, and no call returns here. */
__attribute__((noreturn)) void board_reset(void) {
  SHCSR |= 7u << 16; /* memory, bus and usage faults with handlers of their own */
  CCR |= 1u << 4;    /* dividing by zero faults */
  CCR &= ~(1u << 3); /* unaligned words do not: blocks of Q4_0 lie on 2 bytes */
#if __ARM_ARCH >= 8 && defined(__ARM_FEATURE_MVE)
  CCR |= 1u << 19; /* low-overhead loops */
#endif
#ifdef __ARM_FP
  CPACR |= 15u << 20;
#endif
  __asm__ volatile("dsb\n isb" ::: "memory");
  limit_stack();
  board_stack_paint();
  start();
}

size_t board_stack_bytes(void) { return (size_t)(__stack_top - __stack_bottom) * sizeof(uint32_t); }

size_t board_stack_used(void) {
  const uint32_t* p = __stack_bottom;
  while (p < __stack_top && *p == kPaint) ++p;
  return (size_t)(__stack_top - p) * sizeof(uint32_t);
}

unsigned char* board_memory(size_t* bytes) {
  *bytes = (size_t)(__free_end - __free_begin);
  return __free_begin;
}

/* libm's sqrtf of a core without floating point wants one; newlib's own would bring a kilobyte of RAM. */
int* __errno(void);
int* __errno(void) {
  static int number;
  return &number;
}

/* The range check of std::string_view::substr, which the offsets that io has proven never trip. */
__attribute__((noreturn)) void _ZSt24__throw_out_of_range_fmtPKcz(const char* format, ...);
void _ZSt24__throw_out_of_range_fmtPKcz(const char* format, ...) {
  write_text(format);
  __builtin_trap();
}
