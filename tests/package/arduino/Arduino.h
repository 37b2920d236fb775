// SPDX-License-Identifier: Apache-2.0
//
// Stands in for a core of Arduino's: of its Serial what the example calls, over the console of QEMU's board, and the
// macros that the cores' own headers make of common words.
#pragma once

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "toolchains/cortex-m/board.h"

#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x0
#define DEFAULT 1
#define PI 3.1415926535897932384626433832795
#define B1 1
#define B10 2
#define F(text) (text)
#define bit(b) (1UL << (b))
#define sq(x) ((x) * (x))
#define constrain(x, low, high) ((x) < (low) ? (low) : ((x) > (high) ? (high) : (x)))
#define interrupts()
#define noInterrupts()

typedef unsigned char byte;
typedef bool boolean;
typedef unsigned int word;

struct SerialClass {
  void begin(unsigned long) {}
  explicit operator bool() const { return true; }
  size_t readBytesUntil(char, char *line, size_t room) {
    const long bytes = board_read(line, room);
    if (bytes < 0) board_exit(0);
    return static_cast<size_t>(bytes);
  }
  void write(const char *text, size_t bytes) { board_write(text, bytes); }
  void print(const char *text) { write(text, strlen(text)); }
  void println(const char *text) { print(text), print("\r\n"); }
  void println(double x, int digits) {
    char text[2] = {static_cast<char>('0' + static_cast<int>(x)), 0};
    print(text);
    print(".");
    while (digits-- > 0) {
      x = 10 * (x - static_cast<int>(x));
      text[0] = static_cast<char>('0' + static_cast<int>(x));
      print(text);
    }
    print("\r\n");
  }
};
inline SerialClass Serial;
