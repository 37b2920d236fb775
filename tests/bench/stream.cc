// SPDX-License-Identifier: Apache-2.0
//
// A windowed session fed without end: the time of a token for every 100,000, by the clock and of the processor (the
// same on a quiet machine), and the pages that are resident after 10,000 tokens and at the end, which must be the same.
//
//   stream MODEL [TOKENS [WINDOW [BATCH]]]      1,000,000 tokens, a window of 4,096 and batches of 64 by default
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <span>
#include <vector>

#include "arm/cpu.h"
#include "arm/kernel_tables.h"
#include "core/session.h"
#include "io/load_qwen35.h"
#include "io/mapped_file.h"
#include "tests/bench/need.h"

namespace {

using namespace thimble;

constexpr size_t kSettled = 10000;
constexpr size_t kStretch = 100000;

// Resident pages of this process, counted page by page; without taking any memory.
size_t ResidentPages() {
  static char text[4096];
  const int file = open("/proc/self/smaps_rollup", O_RDONLY);
  const ssize_t n = file < 0 ? -1 : read(file, text, sizeof text - 1);
  close(file);
  text[std::max<ssize_t>(n, 0)] = 0;
  const char* rss = std::strstr(text, "\nRss:");
  if (rss == nullptr) Need({Status::kSystem, "the system does not say how much memory is resident"});
  return std::strtoull(rss + 5, nullptr, 10) * 1024 / static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, size_t otherwise) {
    return argc > i ? static_cast<size_t>(std::strtoull(argv[i], nullptr, 10)) : otherwise;
  };
  if (argc < 2) return std::fprintf(stderr, "stream MODEL [TOKENS [WINDOW [BATCH]]]\n"), 2;
  const size_t tokens = number(2, 1000000);
  Limits limits;
  limits.window = static_cast<uint32_t>(number(3, 4096));
  limits.batch = static_cast<uint32_t>(number(4, 64));

  MappedModel mapped;
  Need(mapped.Open(argv[1]));
  const Result<Gguf> file = Gguf::Open(mapped.parts());
  Need(file.error());
  Backend backend;
  backend.kernels = &SelectKernels(DescribeCpu());
  Model model;
  Session session;
  const auto layout = [&](Arena& arena) {
    const Result<Model> loaded = LoadQwen35(*file, arena);
    Need(loaded.error());
    model = *loaded;
    Need(session.Bind(model, limits, backend, arena));
  };
  Arena measure;
  layout(measure);
  void* memory = mmap(nullptr, measure.used(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Need({Status::kSystem, "no memory"});
  Arena arena({static_cast<std::byte*>(memory), measure.used()});
  layout(arena);

  std::vector<Token> batch(limits.batch);
  uint32_t seed = 1;
  size_t settled = 0;
  size_t shown = 0;
  auto since = std::chrono::steady_clock::now();
  std::clock_t processor = std::clock();
  const auto show = [&] {
    const auto now = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    const auto tokens_fed = static_cast<double>(std::max<size_t>(1, session.length() - shown));
    std::printf("%10zu tokens  %8.2f us a token, %8.2f us of the processor\n", session.length(),
                std::chrono::duration<double, std::micro>(now - since).count() / tokens_fed,
                1e6 * static_cast<double>(used - processor) / CLOCKS_PER_SEC / tokens_fed);
    std::fflush(stdout);
    since = now;
    processor = used;
    shown = session.length();
  };
  show();  // so that what printing itself needs is there before it is measured
  std::printf("%10zu tokens  %8zu pages resident\n", session.length(), ResidentPages());
  while (session.length() < tokens) {
    const size_t n = std::min(batch.size(), tokens - session.length());
    for (Token& token : batch) {
      seed = seed * 1664525u + 1013904223u;
      token = static_cast<Token>((seed >> 8) % model.config.vocab_size);
    }
    Need(session.Feed(std::span(batch).first(n)));
    if (session.length() - shown >= kStretch || session.length() == tokens) show();
    if (settled == 0 && session.length() >= kSettled) {
      session.Best();
      settled = ResidentPages();
      std::printf("%10zu tokens  %8zu pages resident\n", session.length(), settled);
    }
  }
  session.Best();
  const size_t pages = ResidentPages();
  std::printf("%10zu tokens  %8zu pages resident, %+td\n", session.length(), pages,
              static_cast<std::ptrdiff_t>(pages) - static_cast<std::ptrdiff_t>(settled));
  return pages == settled ? 0 : 1;
}
