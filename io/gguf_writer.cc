// SPDX-License-Identifier: Apache-2.0
//
// See gguf_writer.h; the format is told in gguf.cc.
#include "io/gguf_writer.h"

namespace thimble {

void GgufHeaderWriter::Put(const void* bytes, size_t count) {
  if (count > 0 && at_ <= out_.size() && count <= out_.size() - at_) std::memcpy(out_.data() + at_, bytes, count);
  at_ += count;
}

void GgufHeaderWriter::Text(std::string_view text) {
  Put<uint64_t>(text.size());
  Put(text.data(), text.size());
}

void GgufHeaderWriter::Key(std::string_view key, GgufType type) {
  Text(key);
  Put(type);
}

void GgufHeaderWriter::Begin(uint64_t tensor_count, uint64_t value_count) {
  Put("GGUF", 4);
  Put<uint32_t>(3);
  Put(tensor_count);
  Put(value_count);
}

void GgufHeaderWriter::String(std::string_view key, std::string_view text) {
  Key(key, GgufType::kString);
  Text(text);
}

void GgufHeaderWriter::U32(std::string_view key, uint32_t number) {
  Key(key, GgufType::kU32);
  Put(number);
}

void GgufHeaderWriter::U64(std::string_view key, uint64_t number) {
  Key(key, GgufType::kU64);
  Put(number);
}

void GgufHeaderWriter::Bool(std::string_view key, bool truth) {
  Key(key, GgufType::kBool);
  Put<uint8_t>(truth ? 1 : 0);
}

void GgufHeaderWriter::U32Array(std::string_view key, const uint32_t* numbers, size_t count) {
  Key(key, GgufType::kArray);
  Put(GgufType::kU32);
  Put<uint64_t>(count);
  Put(numbers, count * sizeof *numbers);
}

void GgufHeaderWriter::AlignNextArray(std::string_view key, std::string_view next) {
  constexpr size_t kString = 8 + 4 + 8, kArray = 8 + 4 + 4 + 8;  // bytes beside key and text
  const size_t begin = at_ + kString + key.size() + kArray + next.size();
  String(key, std::string_view("   ", (4 - begin % 4) % 4));
}

void GgufHeaderWriter::U64Array(std::string_view key, const uint64_t* numbers, size_t count) {
  Key(key, GgufType::kArray);
  Put(GgufType::kU64);
  Put<uint64_t>(count);
  Put(numbers, count * sizeof *numbers);
}

void GgufHeaderWriter::Tensor(std::string_view name, std::span<const uint64_t> ne, uint32_t type, uint64_t offset) {
  Text(name);
  Put(static_cast<uint32_t>(ne.size()));
  Put(ne.data(), ne.size_bytes());
  Put(type);
  Put(offset);
}

void GgufHeaderWriter::Pad(size_t alignment) {
  constexpr std::byte kZero{0};
  while (at_ % alignment != 0) Put(kZero);
}

}  // namespace thimble
