// SPDX-License-Identifier: Apache-2.0
//
// tokenize_lines MODEL.gguf [--text] [--time]: standard input is strings, each behind its length (u32), standard output
// is the tokens of each, behind their number (u32, then i32; little endian). --text: special tokens as text; --time:
// sizes and processor time to standard error. For tests/golden/tokenizer.py.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "io/tokenizer.h"

namespace {

std::vector<char> ReadAll(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int Fail(const thimble::Error& error) {
  std::fprintf(stderr, "tokenize_lines: %s: %.*s %llu\n", error.what, static_cast<int>(error.name.size()),
               error.name.data(), static_cast<unsigned long long>(error.at));
  return 1;
}

/// Seconds of processor time: other programs on the machine do not count.
double Seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::vector<char> bytes = ReadAll(argv[1]);
  auto specials = thimble::Specials::kRecognise;
  bool timed = false;
  for (int i = 2; i < argc; ++i) {
    if (std::strcmp(argv[i], "--text") == 0) specials = thimble::Specials::kText;
    if (std::strcmp(argv[i], "--time") == 0) timed = true;
  }
  const std::span<const std::byte> part = std::as_bytes(std::span(bytes));
  const auto file = thimble::Gguf::Open({&part, 1});
  if (!file) return Fail(file.error());

  constexpr size_t kMaxText = size_t{4} << 20;
  thimble::Arena index, measure;
  if (const auto plan = thimble::Tokenizer::Bind(*file, 0, index); !plan) return Fail(plan.error());
  if (const auto plan = thimble::Tokenizer::Bind(*file, kMaxText, measure); !plan) return Fail(plan.error());
  auto* memory = new (std::align_val_t{thimble::Arena::kAlign}) std::byte[measure.used()];
  thimble::Arena arena({memory, measure.used()});
  const double start = Seconds();
  auto tokenizer = thimble::Tokenizer::Bind(*file, kMaxText, arena);
  if (!tokenizer) return Fail(tokenizer.error());
  if (timed) std::fprintf(stderr, "index: %zu bytes, built in %.1f ms\n", index.used(), 1e3 * (Seconds() - start));

  std::string text;
  std::vector<thimble::Token> tokens(3 * kMaxText);
  double seconds = 0;
  size_t total = 0;
  for (uint32_t length; std::fread(&length, sizeof length, 1, stdin) == 1;) {
    text.resize(length);
    if (std::fread(text.data(), 1, length, stdin) != length) return 1;
    const double begun = Seconds();
    const auto count = tokenizer->Encode(text, specials, tokens);
    seconds += Seconds() - begun;
    total += length;
    if (!count) return Fail(count.error());
    const auto written = static_cast<uint32_t>(*count);
    std::fwrite(&written, sizeof written, 1, stdout);
    std::fwrite(tokens.data(), sizeof(thimble::Token), *count, stdout);
  }
  if (timed)
    std::fprintf(stderr, "encoded: %zu bytes, %.1f MB/s\n", total, 1e-6 * static_cast<double>(total) / seconds);
  return 0;
}
