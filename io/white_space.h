// SPDX-License-Identifier: Apache-2.0
//
// White space of UTF-8 text as Python's str.strip() sees it, which is what Jinja's trim and "-" marks mean by it. Bytes
// that are not UTF-8 are no white space.
#pragma once

#include <cstddef>
#include <string_view>

namespace thimble {

/// The length of the white-space character that `s` is, 0 when it is anything else.
inline size_t SpaceLength(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  if (s.size() == 1) return (byte(0) >= 0x09 && byte(0) <= 0x0d) || (byte(0) >= 0x1c && byte(0) <= 0x20) ? 1 : 0;
  if (s.size() == 2) return s == "\u0085" || s == "\u00a0" ? 2 : 0;
  if (s.size() != 3) return 0;
  if (s == "\u1680" || s == "\u2028" || s == "\u2029" || s == "\u202f" || s == "\u205f" || s == "\u3000") return 3;
  return byte(0) == 0xe2 && byte(1) == 0x80 && byte(2) >= 0x80 && byte(2) <= 0x8a ? 3 : 0;  // U+2000 to U+200A
}

inline std::string_view TrimLeft(std::string_view s) {
  for (size_t length = 1; length <= 3 && length <= s.size();) {
    if (SpaceLength(s.substr(0, length)) != 0) {
      s.remove_prefix(length);
      length = 1;
    } else {
      ++length;
    }
  }
  return s;
}

inline std::string_view TrimRight(std::string_view s) {
  for (size_t length = 1; length <= 3 && length <= s.size();) {
    if (SpaceLength(s.substr(s.size() - length)) != 0) {
      s.remove_suffix(length);
      length = 1;
    } else {
      ++length;
    }
  }
  return s;
}

inline std::string_view Trim(std::string_view s) { return TrimRight(TrimLeft(s)); }

}  // namespace thimble
