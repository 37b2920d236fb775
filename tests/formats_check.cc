// SPDX-License-Identifier: Apache-2.0
//
// formats_check DIRECTORY: decodes every format's blocks that golden/formats.py wrote there and counts the values whose
// bits are not ggml's. For sets too large to commit.
#include <cstdio>

#include "tests/formats_golden.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: formats_check DIRECTORY\n");
    return 2;
  }
  bool good = true;
  std::printf("%-8s %9s %10s %8s %8s\n", "format", "blocks", "values", "NaN", "differ");
  for (const thimble::Format* format : thimble::Formats()) {
    if (format->packed()) continue;  // our own
    const thimble::FormatGolden golden = thimble::ReadGolden(*format, argv[1]);
    const thimble::Comparison result = thimble::CompareDecode(*format, golden);
    std::printf("%-8s %9zu %10zu %8zu %8zu\n", format->name, result.values / format->block_size, result.values,
                result.nan, result.differ);
    good = good && result.values != 0 && result.differ == 0;
  }
  std::printf(good ? "all the same\n" : "NOT the same, or files are missing\n");
  return good ? 0 : 1;
}
