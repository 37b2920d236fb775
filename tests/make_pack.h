// SPDX-License-Identifier: Apache-2.0
//
// For tests: packs made in memory, of models made in memory or committed.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arm/thread_pool.h"
#include "io/pack.h"
#include "io/pack_writer.h"
#include "tests/gguf_writer.h"
#include "tests/load_model.h"
#include "tests/tiny_model.h"

namespace thimble::test {

inline const std::string kTestData = std::string(THIMBLE_SOURCE_DIR) + "/tests/data/";

inline Bytes ReadData(const std::string& name) {
  std::ifstream in(kTestData + name, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  REQUIRE(!text.empty());
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// A GGUF in memory, of one part or several.
struct Source {
  explicit Source(std::vector<Bytes> bytes) : files(std::move(bytes)), parts(files.begin(), files.end()) {
    const Result<Gguf> opened = Gguf::Open(parts);
    RequireOk(opened.error());
    file = *opened;
  }
  explicit Source(Bytes bytes) : Source(std::vector<Bytes>{std::move(bytes)}) {}

  PackOrder Order(PackRecipe recipe = PackRecipe::kQ4) const {
    PackOrder order;
    order.source = &file;
    order.parts = parts;
    order.recipe = recipe;
    return order;
  }

  std::vector<Bytes> files;
  std::vector<std::span<const std::byte>> parts;
  Gguf file;
};

inline Error BindOn(PackWriter& writer, const PackOrder& order, size_t workers, std::span<std::byte> memory) {
  Arena arena(memory);
  return writer.Bind(order, workers, arena);
}

inline Result<bool> Make(const PackOrder& order, size_t threads, Bytes& pack) {
  ThreadPool pool(threads);
  const auto writer = std::make_unique<PackWriter>();
  Arena measure;
  if (const Error error = writer->Bind(order, threads, measure); !error.ok()) return error;
  const HeapBlock memory(measure.used());
  RequireOk(BindOn(*writer, order, threads, memory.span()));
  pack.resize(static_cast<size_t>(writer->header_bytes()));
  size_t read = 0;
  while (true) {
    const Result<PackWriter::Piece> piece = writer->Next(pool.workers());
    if (!piece) return piece.error();
    if (piece->bytes.empty()) break;
    pack.insert(pack.end(), piece->bytes.begin(), piece->bytes.end());
    read += piece->source.size();
  }
  const std::span<const std::byte> header = writer->Header();
  std::copy(header.begin(), header.end(), pack.begin());
  CHECK(pack.size() == writer->bytes());
  CHECK(read <= writer->source_bytes());
  return true;
}

/// The whole pack, made in memory.
inline Bytes MakePack(const PackOrder& order, size_t threads = 1) {
  Bytes pack;
  RequireOk(Make(order, threads, pack).error());
  return pack;
}

/// The values of a matrix, row by row.
inline std::vector<float> Values(const GgufTensor& tensor) {
  const auto cols = static_cast<size_t>(tensor.ne[0]), rows = static_cast<size_t>(tensor.ne[1]);
  const Matrix matrix = {FindFormat(tensor.type), tensor.data, rows, cols};
  std::vector<float> x(rows * cols);
  for (size_t r = 0; r < rows; ++r) matrix.DecodeRow(r, x.data() + r * cols);
  return x;
}

inline Result<PackStamp> StampOf(const Bytes& pack) {
  const Result<Gguf> file = OpenBytes(pack);
  if (!file) return file.error();
  return ReadPackStamp(*file, pack);
}

/// A tiny model with everything: an MTP block, a head of its own.
inline Bytes TinySource(Type type = Type::kF32, bool own_head = true) {
  TinyOptions options;
  options.mtp = true;
  options.own_head = own_head;
  options.type = type;
  GgufWriter writer = TinyQwen35(options);
  writer.Set("thimble.prompt", "say {text}");
  writer.Set("general.alignment", uint32_t{32});
  return writer.Write();
}

}  // namespace thimble::test
