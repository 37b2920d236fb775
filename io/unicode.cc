// SPDX-License-Identifier: Apache-2.0
//
// Searches in three generated tables: runs of equal properties, canonical decompositions, and the decompositions that
// compose again. Normalisation follows Unicode Standard Annex 15: decompose, put marks in order, compose.
#include "io/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace thimble {

namespace {

#include "io/unicode_tables.inc"

// kRuns: first code point of a run << 11 | class << 8 | canonical combining class, sorted. The combining class kTouched
// stands for 0 of a character that form C replaces or joins with the one before.
// kDecompositions: code point << 42 | first << 21 | second (0: none), sorted. kCompositions: indices of those that
// compose, sorted by first and second.
constexpr uint32_t kTouched = 255;
constexpr uint32_t kPointMask = 0x1fffff;

/// class << 8 | combining class.
constexpr uint32_t PropertiesIn(const uint32_t* runs, size_t count, uint32_t point) {
  const uint32_t* behind = std::upper_bound(runs, runs + count, point << 11 | 0x7ff);
  return behind[-1] & 0x7ff;
}
uint32_t Properties(uint32_t point) { return PropertiesIn(kRuns, std::size(kRuns), point); }

constexpr auto kAsciiClasses = [] {
  std::array<CharClass, 128> classes{};
  for (uint32_t c = 0; c < 128; ++c) classes[c] = static_cast<CharClass>(PropertiesIn(kRuns, std::size(kRuns), c) >> 8);
  return classes;
}();

// The runs of what lies below the first combining mark, and of punctuation and currency signs up to the next mark. What
// is not known counts as touched; so do two kinds of space there, for which form C has others.
constexpr uint32_t kLatinEnd = 0x300, kSignsBegin = 0x2000, kSignsEnd = 0x20d0;
constexpr const uint32_t* FirstRun(uint32_t point) {
  return std::lower_bound(std::begin(kRuns), std::end(kRuns), point << 11);
}
constexpr size_t kSignsCount = static_cast<size_t>(FirstRun(kSignsEnd) - FirstRun(kSignsBegin));
constexpr size_t kLatinCount = static_cast<size_t>(FirstRun(kLatinEnd) - FirstRun(0)) + 1 + kSignsCount + 1;
constexpr auto kLatinRuns = [] {
  std::array<uint32_t, kLatinCount> runs{};
  uint32_t* out = std::copy(FirstRun(0), FirstRun(kLatinEnd), runs.data());
  *out++ = kLatinEnd << 11 | kTouched;
  out = std::copy(FirstRun(kSignsBegin), FirstRun(kSignsEnd), out);
  *out = kSignsEnd << 11 | kTouched;
  return runs;
}();
static_assert(*FirstRun(kSignsBegin) >> 11 == kSignsBegin, "or the run before reaches into it");
static_assert(std::all_of(kLatinRuns.begin(), kLatinRuns.end(),
                          [](uint32_t run) { return (run & 0xff) == 0 || (run & 0xff) == kTouched; }) &&
                  std::all_of(FirstRun(0), FirstRun(kLatinEnd), [](uint32_t run) { return (run & 0xff) == 0; }),
              "no known character touches another");

// Hangul syllables are arithmetic (The Unicode Standard, 3.12).
constexpr uint32_t kSBase = 0xac00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11a7;
constexpr uint32_t kLCount = 19, kVCount = 21, kTCount = 28, kSCount = kLCount * kVCount * kTCount;

/// The two code points of one step of decomposition; second 0: only one; first 0: none.
struct Pair {
  uint32_t first;
  uint32_t second;
};

Pair DecomposeOnce(uint32_t point) {
  if (point - kSBase < kSCount) {
    const uint32_t s = point - kSBase;
    if (s % kTCount != 0) return {point - s % kTCount, kTBase + s % kTCount};
    return {kLBase + s / (kVCount * kTCount), kVBase + s / kTCount % kVCount};
  }
  if (point < 0xc0) return {0, 0};
  const uint64_t* entry =
      std::lower_bound(std::begin(kDecompositions), std::end(kDecompositions), uint64_t{point} << 42);
  if (entry == std::end(kDecompositions) || *entry >> 42 != point) return {0, 0};
  return {static_cast<uint32_t>(*entry >> 21) & kPointMask, static_cast<uint32_t>(*entry) & kPointMask};
}

/// The code point that `first` and `second` compose to, or 0.
uint32_t Compose(uint32_t first, uint32_t second) {
  if (first - kLBase < kLCount && second - kVBase < kVCount) {
    return kSBase + ((first - kLBase) * kVCount + second - kVBase) * kTCount;
  }
  if (first - kSBase < kSCount && (first - kSBase) % kTCount == 0 && second - kTBase - 1 < kTCount - 1) {
    return first + second - kTBase;
  }
  constexpr uint64_t kPairMask = (uint64_t{1} << 42) - 1;
  const uint64_t pair = uint64_t{first} << 21 | second;
  const uint16_t* entry =
      std::lower_bound(std::begin(kCompositions), std::end(kCompositions), pair,
                       [](uint16_t i, uint64_t wanted) { return (kDecompositions[i] & kPairMask) < wanted; });
  if (entry == std::end(kCompositions) || (kDecompositions[*entry] & kPairMask) != pair) return 0;
  return static_cast<uint32_t>(kDecompositions[*entry] >> 42);
}

// While it is being normalised a character is combining class << 24 | point.
uint32_t Packed(uint32_t point) { return (Properties(point) & 0xff) << 24 | point; }
uint32_t Point(uint32_t packed) { return packed & kPointMask; }
uint32_t CombiningClass(uint32_t packed) { return packed >> 24 == kTouched ? 0 : packed >> 24; }

/// Appends the full decomposition of `point`; only the first of a pair ever decomposes further.
uint32_t* Decompose(uint32_t point, uint32_t* out) {
  std::array<uint32_t, 4> seconds;
  size_t count = 0;
  for (Pair pair = DecomposeOnce(point); pair.first != 0; pair = DecomposeOnce(point)) {
    if (pair.second != 0) seconds[count++] = pair.second;
    point = pair.first;
  }
  *out++ = Packed(point);
  while (count > 0) *out++ = Packed(seconds[--count]);
  return out;
}

/// Sorts a run of marks by combining class, equal ones staying in order: one pass per class that occurs.
void SortMarks(uint32_t* begin, uint32_t* end, uint32_t* spare) {
  const auto less = [](uint32_t a, uint32_t b) { return a >> 24 < b >> 24; };
  if (std::is_sorted(begin, end, less)) return;
  uint32_t* to = spare;
  for (uint32_t done = 0; to != spare + (end - begin);) {
    uint32_t next = kTouched;
    for (const uint32_t* p = begin; p != end; ++p) {
      if (*p >> 24 > done) next = std::min(next, *p >> 24);
    }
    to = std::copy_if(begin, end, to, [next](uint32_t p) { return p >> 24 == next; });
    done = next;
  }
  std::copy(spare, to, begin);
}

/// Composes in place; returns the new end. A character joins the last starter unless one of the same or a higher
/// combining class stands between.
uint32_t* ComposeAll(uint32_t* begin, uint32_t* end) {
  uint32_t* out = begin;
  uint32_t* starter = nullptr;
  uint32_t between = 0;  // combining class of the last character kept since the starter
  for (const uint32_t* p = begin; p != end; ++p) {
    const uint32_t ccc = CombiningClass(*p);
    const bool adjacent = starter != nullptr && starter + 1 == out;
    if (*p >> 24 != 0 && starter != nullptr && (adjacent || between < ccc)) {
      if (const uint32_t composite = Compose(Point(*starter), Point(*p)); composite != 0) {
        *starter = Packed(composite);
        continue;
      }
    }
    if (ccc == 0) starter = out;
    between = ccc;
    *out++ = *p;
  }
  return out;
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// The characters of `text` from `at` on.
std::string_view From(std::string_view text, size_t at) { return {text.data() + at, text.size() - at}; }

}  // namespace

constinit const TextRules kUnicode = {kRuns, std::size(kRuns), kRawByte, IsSurelyNfc, ToNfc};
constinit const TextRules kLatin = {kLatinRuns.data(), kLatinRuns.size(), kLatinEnd, nullptr, nullptr};

Utf8Char ReadUtf8(std::string_view text) {
  using Kind = Utf8Char::Kind;
  if (text.empty()) return {0, 0, Kind::kCut};
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, Kind::kWhole};
  if (lead < 0xc2 || lead > 0xf4) return {0, 1, Kind::kBroken};
  const uint32_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte rules out overlong forms, surrogates and what lies above U+10FFFF.
  const uint32_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint32_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (text.size() < 2) return {0, 1, Kind::kCut};
  if (byte(1) < low || byte(1) > high) return {0, 1, Kind::kBroken};
  uint32_t point = lead & (0x7fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if (i == text.size()) return {0, i, Kind::kCut};
    if (!IsContinuation(text[i])) return {0, i, Kind::kBroken};
    point = point << 6 | (byte(i) & 0x3fu);
  }
  return {point, length, Kind::kWhole};
}

size_t WriteUtf8(uint32_t point, char* out) {
  if (point >= kRawByte || point < 0x80) {
    out[0] = static_cast<char>(point - (point >= kRawByte ? kRawByte : 0));
    return 1;
  }
  const size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  for (size_t i = length - 1; i > 0; --i, point >>= 6) out[i] = static_cast<char>(0x80 | (point & 0x3f));
  out[0] = static_cast<char>((0xf00u >> length & 0xf0u) | point);
  return length;
}

size_t FindUnknown(const TextRules& rules, std::string_view text) {
  if (rules.first_unknown == kRawByte) return text.size();
  for (size_t at = 0; at < text.size();) {
    const Utf8Char read = ReadUtf8(From(text, at));
    if (read.kind == Utf8Char::Kind::kWhole && read.point >= rules.first_unknown &&
        (PropertiesIn(rules.runs, rules.run_count, read.point) & 0xff) == kTouched) {
      return at;
    }
    at += read.bytes;
  }
  return text.size();
}

TextChar ReadChar(const TextRules& rules, std::string_view text, size_t at) {
  if (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) {
    const auto c = static_cast<unsigned char>(text[at]);
    return {c, 1, kAsciiClasses[c]};
  }
  const Utf8Char read = ReadUtf8(From(text, at));
  if (read.bytes == 0) return {0, 0, CharClass::kOther};
  if (read.kind != Utf8Char::Kind::kWhole) {
    return {kRawByte + static_cast<unsigned char>(text[at]), 1, CharClass::kOther};
  }
  const uint32_t properties = PropertiesIn(rules.runs, rules.run_count, read.point);
  return {read.point, read.bytes, static_cast<CharClass>(properties >> 8)};
}

bool IsSurelyNfc(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    // Nothing below U+0300 is touched, and bytes below 0xcc begin nothing else.
    if (static_cast<unsigned char>(text[at]) < 0xcc) {
      ++at;
      continue;
    }
    const Utf8Char read = ReadUtf8(From(text, at));
    if (read.kind == Utf8Char::Kind::kWhole && (Properties(read.point) & 0xff) != 0) return false;
    at += read.bytes;
  }
  return true;
}

size_t ToNfc(std::string_view text, uint32_t* points, uint32_t* spare, char* out) {
  uint32_t* end = points;
  for (size_t at = 0; at < text.size();) {
    const TextChar c = ReadChar(kUnicode, text, at);
    end = Decompose(c.point, end);
    at += c.bytes;
  }
  for (uint32_t* p = points; p != end;) {
    uint32_t* run = std::find_if(p, end, [](uint32_t x) { return CombiningClass(x) != 0; });
    p = std::find_if(run, end, [](uint32_t x) { return CombiningClass(x) == 0; });
    SortMarks(run, p, spare);
  }
  end = ComposeAll(points, end);
  size_t size = 0;
  for (const uint32_t* p = points; p != end; ++p) size += WriteUtf8(Point(*p), out + size);
  return size;
}

}  // namespace thimble
