// SPDX-License-Identifier: Apache-2.0
//
// Reads the blocks and values that golden/formats.py wrote, and compares a format's decode with them. For the committed
// files in formats_test.cc and for large ones in formats_check.cc.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "quant/format.h"

namespace thimble {

struct FormatGolden {
  std::vector<std::byte> blocks;  // [count * block_bytes]
  std::vector<float> values;      // [count * block_size]
};

template <typename T>
std::vector<T> ReadRaw(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  std::vector<T> data(std::filesystem::file_size(path) / sizeof(T));
  file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size() * sizeof(T)));
  return data;
}

/// Empty when the files are missing or their sizes do not belong together.
inline FormatGolden ReadGolden(const Format& format, const std::filesystem::path& directory) {
  FormatGolden golden{ReadRaw<std::byte>(directory / (std::string(format.name) + ".blocks")),
                      ReadRaw<float>(directory / (std::string(format.name) + ".f32"))};
  const size_t count = golden.values.size() / format.block_size;
  if (golden.blocks.size() != count * format.block_bytes || golden.values.size() != count * format.block_size)
    return {};
  return golden;
}

struct Comparison {
  size_t values = 0;
  size_t nan = 0;     // NaN on both sides, whatever the payload
  size_t differ = 0;  // other bits, or NaN on one side
};

inline Comparison CompareDecode(const Format& format, const FormatGolden& golden) {
  std::vector<float> decoded(golden.values.size());
  format.decode(golden.blocks.data(), golden.values.size() / format.block_size, decoded.data());
  Comparison result{.values = decoded.size()};
  for (size_t i = 0; i < decoded.size(); ++i) {
    if (std::isnan(decoded[i]) && std::isnan(golden.values[i])) {
      ++result.nan;
    } else if (std::bit_cast<uint32_t>(decoded[i]) != std::bit_cast<uint32_t>(golden.values[i])) {
      ++result.differ;
    }
  }
  return result;
}

}  // namespace thimble
