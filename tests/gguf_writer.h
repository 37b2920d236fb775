// SPDX-License-Identifier: Apache-2.0
//
// Writes GGUF files into memory, for tests: sound ones, and through its public lists also unsound ones.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "io/error_text.h"
#include "io/gguf.h"

namespace thimble::test {

using Bytes = std::vector<std::byte>;

template <class T>
void Append(Bytes& out, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  const size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}

inline void AppendText(Bytes& out, std::string_view text) {
  Append<uint64_t>(out, text.size());
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// GGUF's type of a C++ number.
template <class T>
constexpr GgufType TypeOf() {
  if constexpr (std::is_same_v<T, bool>) return GgufType::kBool;
  if constexpr (std::is_same_v<T, float>) return GgufType::kF32;
  if constexpr (std::is_same_v<T, double>) return GgufType::kF64;
  if constexpr (std::is_same_v<T, uint8_t>) return GgufType::kU8;
  if constexpr (std::is_same_v<T, int8_t>) return GgufType::kI8;
  if constexpr (std::is_same_v<T, uint16_t>) return GgufType::kU16;
  if constexpr (std::is_same_v<T, int16_t>) return GgufType::kI16;
  if constexpr (std::is_same_v<T, uint32_t>) return GgufType::kU32;
  if constexpr (std::is_same_v<T, int32_t>) return GgufType::kI32;
  if constexpr (std::is_same_v<T, uint64_t>) return GgufType::kU64;
  if constexpr (std::is_same_v<T, int64_t>) return GgufType::kI64;
}

class GgufWriter {
 public:
  struct Value {
    std::string key;
    Bytes bytes;  // type and data
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> ne;
    uint32_t type;
    Bytes data;
  };

  // What Write puts out; tests may change anything.
  uint32_t version = 3;
  uint64_t alignment = 32;  // of the data; does not write general.alignment
  std::vector<Value> values;
  std::vector<Tensor> tensors;

  /// A number or a bool. Replaces an entry of the same key, as all of these do.
  template <class T>
  void Set(std::string_view key, T value)
    requires(std::is_arithmetic_v<T>)
  {
    Bytes& out = Entry(key, TypeOf<T>());
    Append(out, value);
  }
  void Set(std::string_view key, std::string_view text) { AppendText(Entry(key, GgufType::kString), text); }
  void Set(std::string_view key, const char* text) { Set(key, std::string_view(text)); }
  template <class T>
  void SetArray(std::string_view key, const std::vector<T>& elements) {
    Bytes& out = Entry(key, GgufType::kArray);
    if constexpr (std::is_same_v<T, std::string>) {
      Append(out, GgufType::kString);
      Append<uint64_t>(out, elements.size());
      for (const std::string& text : elements) AppendText(out, text);
    } else {
      Append(out, TypeOf<T>());
      Append<uint64_t>(out, elements.size());
      for (const T element : elements) Append<T>(out, element);
    }
  }
  void Unset(std::string_view key) {
    std::erase_if(values, [&](const Value& value) { return value.key == key; });
  }

  void AddTensor(std::string_view name, std::vector<uint64_t> ne, uint32_t type, Bytes data) {
    tensors.push_back({std::string(name), std::move(ne), type, std::move(data)});
  }
  void AddF32(std::string_view name, std::vector<uint64_t> ne, const std::vector<float>& x) {
    const auto bytes = std::as_bytes(std::span(x));
    AddTensor(name, std::move(ne), 0, Bytes(bytes.begin(), bytes.end()));
  }
  Tensor* Find(std::string_view name) {
    const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == name; });
    return at == tensors.end() ? nullptr : &*at;
  }
  void RemoveTensor(std::string_view name) {
    std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
  }

  /// The file, of exactly as many bytes as it needs.
  Bytes Write() const {
    Bytes out;
    for (const char c : {'G', 'G', 'U', 'F'}) Append(out, c);
    Append(out, version);
    Append<uint64_t>(out, tensors.size());
    Append<uint64_t>(out, values.size());
    for (const Value& value : values) {
      AppendText(out, value.key);
      out.insert(out.end(), value.bytes.begin(), value.bytes.end());
    }
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors) {
      AppendText(out, tensor.name);
      Append(out, static_cast<uint32_t>(tensor.ne.size()));
      for (const uint64_t ne : tensor.ne) Append(out, ne);
      Append(out, tensor.type);
      Append(out, offset);
      offset += (tensor.data.size() + alignment - 1) / alignment * alignment;
    }
    for (const Tensor& tensor : tensors) {
      out.resize((out.size() + alignment - 1) / alignment * alignment);
      out.insert(out.end(), tensor.data.begin(), tensor.data.end());
    }
    out.shrink_to_fit();
    return out;
  }

  /// The same model in `count` files, as llama-gguf-split writes it: all metadata in the first.
  std::vector<Bytes> WriteSplit(size_t count) const {
    std::vector<Bytes> files;
    const size_t share = (tensors.size() + count - 1) / count;
    for (size_t i = 0; i < count; ++i) {
      GgufWriter part;
      part.version = version;
      if (i == 0) part.values = values;
      part.Set("split.no", static_cast<uint16_t>(i));
      part.Set("split.count", static_cast<uint16_t>(count));
      part.Set("split.tensors.count", static_cast<int32_t>(tensors.size()));
      for (size_t t = i * share; t < std::min((i + 1) * share, tensors.size()); ++t) part.tensors.push_back(tensors[t]);
      files.push_back(part.Write());
    }
    return files;
  }

 private:
  Bytes& Entry(std::string_view key, GgufType type) {
    auto at = std::find_if(values.begin(), values.end(), [&](const Value& value) { return value.key == key; });
    if (at == values.end()) at = values.insert(values.end(), {std::string(key), {}});
    at->bytes.clear();
    Append(at->bytes, type);
    return at->bytes;
  }
};

/// An Error with its own copy of the names, which end with the file that they are views of.
struct Told {
  explicit Told(const Error& error)
      : status(error.status), what(error.what), name(error.name), detail(error.detail), at(error.at) {
    char line[512];
    text = ErrorText(error, line);
  }

  Status status;
  std::string what, name, detail;
  uint64_t at;
  std::string text;  // as the user reads it
};

/// Opens one file in memory, which must stay.
inline Result<Gguf> OpenBytes(const Bytes& bytes) {
  const std::span<const std::byte> file(bytes);
  return Gguf::Open({&file, 1});
}

inline Result<Gguf> OpenParts(const std::vector<Bytes>& files) {
  const std::vector<std::span<const std::byte>> parts(files.begin(), files.end());
  return Gguf::Open(parts);
}

}  // namespace thimble::test
