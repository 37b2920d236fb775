// SPDX-License-Identifier: Apache-2.0
//
// A program that lists its formats itself, as a firmware does: what it lists is all it reads, and it says so of the
// rest.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/session.h"
#include "io/gguf.h"
#include "io/load_qwen35.h"
#include "quant/f32.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace thimble {

std::span<const Format* const> Formats() {
  static constexpr const Format* kFormats[] = {&kFormatF32, &kFormatQ4_0, &kFormatQ8_0};
  return kFormats;
}

namespace {

constexpr const char* kModel = THIMBLE_SOURCE_DIR "/examples/intent/intent-q4_0.gguf";

std::vector<char> ReadModel() {
  std::ifstream file(kModel, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::span<const std::byte> BytesOf(const std::vector<char>& file) { return std::as_bytes(std::span(file)); }

// Where the type of a tensor stands: behind its name, the number of its dimensions and both of these.
size_t TypeAt(const std::vector<char>& file, const std::string& name) {
  const auto at = std::search(file.begin(), file.end(), name.begin(), name.end());
  return static_cast<size_t>(at - file.begin()) + name.size() + 4 + 2 * 8;
}

}  // namespace

TEST_CASE("the formats listed are the formats there are; all names are known") {
  CHECK(FindFormat(2) == &kFormatQ4_0);
  CHECK(FindFormat(14) == nullptr);
  CHECK(TypeName(14) == std::string("Q6_K"));
  CHECK(TypeName(1000) == std::string("QB4"));
}

TEST_CASE("a model of these formats loads") {
  const std::vector<char> file = ReadModel();
  const std::span<const std::byte> bytes = BytesOf(file);
  const Result<Gguf> gguf = Gguf::Open({&bytes, 1});
  REQUIRE(gguf);
  Arena measure;
  const Result<Model> model = LoadQwen35(*gguf, measure);
  REQUIRE(model);

  Limits limits;
  limits.k = limits.v = Type::kQ8_0;
  CHECK(Session::Plan(model->config, limits, Backend{}));
  limits.v = Type::kIQ4_NL;
  const Result<SessionPlan> refused = Session::Plan(model->config, limits, Backend{});
  REQUIRE(!refused);
  CHECK(refused.error().status == Status::kUnsupported);
  CHECK(refused.error().at == 20);
}

TEST_CASE("a matrix of another format is refused, with the name of its type") {
  std::vector<char> file = ReadModel();
  const size_t at = TypeAt(file, "blk.1.ffn_up.weight");
  uint32_t type = 0;
  std::memcpy(&type, &file[at], sizeof type);
  REQUIRE(type == 2);
  type = 14;
  std::memcpy(&file[at], &type, sizeof type);
  const std::span<const std::byte> bytes = BytesOf(file);
  const Result<Gguf> gguf = Gguf::Open({&bytes, 1});
  REQUIRE(gguf);
  Arena measure;
  const Result<Model> model = LoadQwen35(*gguf, measure);
  REQUIRE(!model);
  CHECK(model.error().status == Status::kUnsupported);
  CHECK(model.error().name == "blk.1.ffn_up.weight");
  CHECK(model.error().detail == "Q6_K");
}

}  // namespace thimble
