// SPDX-License-Identifier: Apache-2.0
//
// Error to text without heap and without stdio: strerror may use both, so the texts of errno are a small table.
#include "io/error_text.h"

#include <algorithm>
#include <cstddef>

#include "io/decimal.h"

namespace thimble {

namespace {

/// Appends to a buffer and drops what does not fit.
class Line {
 public:
  explicit Line(std::span<char> out) : out_(out) {}

  void Add(std::string_view text) {
    const size_t n = std::min(text.size(), out_.size() - size_);
    std::copy_n(text.data(), n, out_.data() + size_);
    size_ += n;
  }

  /// Text of unknown origin.
  void AddForeign(std::string_view text) {
    constexpr size_t kLongest = 240;
    size_t n = std::min(text.size(), kLongest);
    while (n < text.size() && n > 0 && (text[n] & 0xc0) == 0x80) --n;  // not in the middle of a UTF-8 character
    for (const char c : std::string_view(text.data(), n)) {
      const auto byte = static_cast<unsigned char>(c);
      const char shown = byte < 0x20 || byte == 0x7f ? '?' : c;
      Add({&shown, 1});
    }
    if (n < text.size()) Add("...");
  }

  void AddNumber(uint64_t number) {
    char digits[kDecimalDigits];
    Add(Decimal(number, digits));
  }

  std::string_view text() const { return {out_.data(), size_}; }

 private:
  std::span<char> out_;
  size_t size_ = 0;
};

struct ErrnoText {
  uint64_t number;
  std::string_view text;
};

// The numbers that every Unix and newlib share, so that no header of a system is needed here.
constexpr ErrnoText kErrnoTexts[] = {
    {1, "operation not permitted"},
    {2, "no such file or directory"},
    {5, "input/output error"},
    {12, "not enough memory or address space"},
    {13, "permission denied"},
    {17, "exists already"},
    {19, "the file system cannot do this"},
    {20, "a part of the path is not a directory"},
    {21, "is a directory"},
    {22, "invalid argument"},
    {23, "too many open files in the system"},
    {24, "too many open files in this process"},
    {27, "the file is too large"},
    {28, "no space left on the device"},
    {30, "the file system is read-only"},
};

}  // namespace

std::string_view SystemText(uint64_t number) {
  for (const ErrnoText& known : kErrnoTexts) {
    if (known.number == number) return known.text;
  }
  return {};
}

std::string_view ErrorText(const Error& error, std::span<char> out, std::string_view (*system_text)(uint64_t)) {
  Line line(out);
  const std::string_view what = error.what;
  const size_t clause = std::min(what.find(';'), what.size());
  line.Add({what.data(), clause});
  if (!error.detail.empty()) {
    line.Add(" (");
    line.AddForeign(error.detail);
    line.Add(")");
  }
  line.Add({what.data() + clause, what.size() - clause});
  constexpr std::string_view kBlockPattern = "blk.N.";
  const bool is_pattern = error.name.starts_with(kBlockPattern);
  const bool has_number = error.at != 0 && !is_pattern;
  if (!error.name.empty() || has_number) line.Add(": ");
  if (is_pattern) {
    line.Add("blk.");
    line.AddNumber(error.at);
    line.Add(".");
    line.AddForeign({error.name.data() + kBlockPattern.size(), error.name.size() - kBlockPattern.size()});
  } else {
    line.AddForeign(error.name);
  }
  if (!has_number) return line.text();
  if (error.status == Status::kBadFile) {
    line.Add(error.name.empty() ? "at byte " : " at byte ");
    line.AddNumber(error.at);
  } else if (error.status == Status::kSystem) {
    if (!error.name.empty()) line.Add(": ");
    const std::string_view known = system_text != nullptr ? system_text(error.at) : std::string_view();
    line.Add(known);
    if (!known.empty()) return line.text();
    line.Add("system error ");
    line.AddNumber(error.at);
  } else {
    if (!error.name.empty()) line.Add(" = ");
    line.AddNumber(error.at);
  }
  return line.text();
}

}  // namespace thimble
