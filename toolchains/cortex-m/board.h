/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program may ask of its board. The first three functions are all that a new board must bring; semihosting.c and
 * systick.c are theirs for QEMU. The others come with the start-up (startup.c) and the link (firmware.cmake).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes `bytes` characters to the console. A fault handler calls it too: it must not need interrupts. */
void board_write(const char* text, size_t bytes);

/* Reads a line without its end into `line`, of `room` bytes; what is longer is cut. Returns its length, -1 when there
 * are no more. */
long board_read(char* line, size_t room);

/* Counts upwards from the start. With systick.c: instructions under QEMU, to within the length of a tick (6 to 50 of
 * them); on silicon, where the scale is the port's to choose, cycles. */
uint64_t board_ticks(void);

/* Ends the run: under QEMU the program's exit code; on silicon there is nowhere to go. */
__attribute__((noreturn)) void board_exit(int code);

/* The stack: its size, the most of it that has been in use since the start or the last board_stack_paint, and that,
 * which forgets what was and returns how much is in use now. */
size_t board_stack_bytes(void);
size_t board_stack_used(void);
size_t board_stack_paint(void);

/* The RAM that neither stack nor variables have: where it begins, a multiple of 64, and how much. */
unsigned char* board_memory(size_t* bytes);

/* The MODEL of thimble_firmware: aligned to 64 bytes, read in place. */
extern const unsigned char board_model[];
extern const unsigned char board_model_end[];

#ifdef __cplusplus
}
#endif
