// SPDX-License-Identifier: Apache-2.0
//
// Counts what a process takes from the system: for the tests that promise "nothing after Bind". Linking
// alloc_counter.cc into a program puts it between the program (its libraries included) and the C library. Not for
// sanitizer builds.
#pragma once

#include <cstddef>

namespace thimble {

/// All counts are since the start of the process, over all threads.
struct Allocations {
  size_t heap = 0;      // calls of malloc, calloc, realloc, memalign and their kin; operator new is one of these
  size_t mappings = 0;  // calls of mmap and mremap
  size_t pages = 0;     // size of the address space, which also shows brk and what the C library maps for itself

  bool operator==(const Allocations&) const = default;
};

/// Itself takes nothing.
Allocations CountAllocations();

}  // namespace thimble
