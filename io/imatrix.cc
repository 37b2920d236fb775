// SPDX-License-Identifier: Apache-2.0
//
// See imatrix.h. The GGUF format has tensors <name>.in_sum2 [cols], and others beside them; the old one is int32
// entries, then for each int32 length, name, int32 calls, int32 cols, float[cols], and behind them things that nothing
// here needs. Both hold sums; a constant factor between the columns of a matrix changes nothing, so nothing is divided.
#include "io/imatrix.h"

#include <cstring>

#include "quant/format.h"

namespace thimble {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr const char* kNoImatrix = "this is not an importance matrix of llama.cpp";

int32_t LoadInt(const std::byte* at) {
  int32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

Error Imatrix::Add(const ImatrixEntry& entry, uint64_t at) {
  for (uint64_t i = 0; i < entry.cols; ++i) {
    float value;
    std::memcpy(&value, entry.sums + i * sizeof value, sizeof value);
    if (!(value >= 0 && value <= 3e38f)) {
      return {Status::kBadFile, "an importance is negative or not finite; measure it again", entry.name, {}, at};
    }
  }
  if (Find(entry.name) != nullptr) {
    return {Status::kBadFile, "a tensor stands twice in the importance matrix", entry.name, {}, at};
  }
  if (count_ == kMax) {
    return {Status::kUnsupported, "the importance matrix has more than 4096 entries, the most that are read"};
  }
  entries_[count_++] = entry;
  return {};
}

const ImatrixEntry* Imatrix::Find(std::string_view name) const {
  for (size_t i = 0; i < count_; ++i) {
    if (entries_[i].name == name) return &entries_[i];
  }
  return nullptr;
}

Error Imatrix::Open(std::span<const std::byte> bytes) {
  count_ = 0;
  const bool gguf = bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
  const Error error = gguf ? OpenGguf(bytes) : OpenOld(bytes);
  if (!error.ok()) count_ = 0;
  return error;
}

Error Imatrix::OpenGguf(std::span<const std::byte> bytes) {
  const Result<Gguf> file = Gguf::Open({&bytes, 1});
  if (!file) return file.error();
  const std::optional<GgufValue> type = file->Find("general.type");
  if (!type || type->AsString() != "imatrix") return {Status::kBadFile, kNoImatrix, "general.type"};
  for (const GgufTensor& tensor : file->tensors()) {
    if (!tensor.name.ends_with(kSums)) continue;
    if (tensor.type != static_cast<uint32_t>(Type::kF32)) {
      return {Status::kBadFile, "an importance is not stored as F32", tensor.name, TypeName(tensor.type)};
    }
    if (tensor.ne[1] != 1 || tensor.ne[2] != 1 || tensor.ne[3] != 1) {
      return {Status::kUnsupported, "importances of several experts are not supported", tensor.name};
    }
    const std::string_view name(tensor.name.data(), tensor.name.size() - kSums.size());
    const auto at = static_cast<uint64_t>(tensor.data - bytes.data());
    if (const Error error = Add({name, tensor.data, tensor.ne[0]}, at); !error.ok()) return error;
  }
  return count_ > 0 ? Error{} : Error{Status::kBadFile, kNoImatrix};
}

Error Imatrix::OpenOld(std::span<const std::byte> bytes) {
  constexpr size_t kInt = sizeof(int32_t);
  constexpr int32_t kMostEntries = 1 << 20;
  size_t at = 0;
  const auto bad = [&](std::string_view name) { return Error{Status::kBadFile, kNoImatrix, name, {}, at}; };
  // A number from 1 to `most`; 0 when it is not.
  const auto next = [&](int32_t most) -> int32_t {
    if (bytes.size() - at < kInt) return 0;
    const int32_t value = LoadInt(bytes.data() + at);
    if (value < 1 || value > most) return 0;
    at += kInt;
    return value;
  };
  const int32_t count = next(kMostEntries);
  if (count == 0) return bad({});
  for (int32_t i = 0; i < count; ++i) {
    const auto length = static_cast<size_t>(next(static_cast<int32_t>(Gguf::kMaxTensorName)));
    if (length == 0 || bytes.size() - at < length) return bad({});
    const std::string_view name(reinterpret_cast<const char*>(bytes.data() + at), length);
    at += length;
    if (bytes.size() - at < kInt) return bad(name);
    at += kInt;  // calls
    const auto cols = static_cast<size_t>(next(INT32_MAX));
    if (cols == 0 || (bytes.size() - at) / sizeof(float) < cols) return bad(name);
    if (const Error error = Add({name, bytes.data() + at, cols}, at); !error.ok()) return error;
    at += cols * sizeof(float);
  }
  return {};
}

}  // namespace thimble
