// SPDX-License-Identifier: Apache-2.0
//
// The C library's allocating functions, replaced by ones that count and pass on. glibc exports its own under the names
// __libc_*; the mapping functions go to the kernel directly.
#include "alloc_counter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {
std::atomic<size_t> heap_calls;
std::atomic<size_t> mapping_calls;
}  // namespace

extern "C" {

void* malloc(size_t size) {
  ++heap_calls;
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  ++heap_calls;
  return __libc_calloc(count, size);
}

void* realloc(void* block, size_t size) {
  ++heap_calls;
  return __libc_realloc(block, size);
}

void* memalign(size_t alignment, size_t size) {
  ++heap_calls;
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = memalign(alignment, size);
  return *block == nullptr ? ENOMEM : 0;
}

void* mmap(void* address, size_t length, int protection, int flags, int file, off_t offset) {
  ++mapping_calls;
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, length, protection, flags, file, offset));
}

void* mremap(void* address, size_t length, size_t new_length, int flags, ...) {
  ++mapping_calls;
  va_list arguments;
  va_start(arguments, flags);
  void* target = va_arg(arguments, void*);
  va_end(arguments);
  return reinterpret_cast<void*>(syscall(SYS_mremap, address, length, new_length, flags, target));
}

}  // extern "C"

namespace thimble {
namespace {

// The first number of /proc/self/statm: pages of address space. An emulator shows its own there, so it is left out.
size_t AddressSpacePages() {
#ifdef THIMBLE_EMULATED
  return 0;
#else
  const int file = open("/proc/self/statm", O_RDONLY);
  if (file < 0) return 0;
  char text[64];
  const ssize_t length = read(file, text, sizeof text);
  close(file);
  size_t pages = 0;
  for (ssize_t i = 0; i < length && text[i] >= '0' && text[i] <= '9'; ++i) {
    pages = pages * 10 + static_cast<size_t>(text[i] - '0');
  }
  return pages;
#endif
}

}  // namespace

Allocations CountAllocations() { return {heap_calls.load(), mapping_calls.load(), AddressSpacePages()}; }

}  // namespace thimble
