// SPDX-License-Identifier: Apache-2.0
//
// GGUF: a header, metadata entries, tensor records, padding, tensor data. GgufReader walks the first three once and
// proves them; all decoding further down relies on that and checks nothing again.
#include "io/gguf.h"

#include <bit>
#include <cstring>

#include "quant/format.h"

namespace thimble {

static_assert(std::endian::native == std::endian::little, "the bytes of a GGUF are used as they lie in the file");

namespace {

template <class T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// The string at `at`: its length, then its bytes.
std::string_view LoadString(const std::byte* at) {
  return {reinterpret_cast<const char*>(at + 8), static_cast<size_t>(Load<uint64_t>(at))};
}

std::optional<double> LoadNumber(GgufType type, const std::byte* at) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kBool:
      return Load<uint8_t>(at);
    case GgufType::kI8:
      return Load<int8_t>(at);
    case GgufType::kU16:
      return Load<uint16_t>(at);
    case GgufType::kI16:
      return Load<int16_t>(at);
    case GgufType::kU32:
      return Load<uint32_t>(at);
    case GgufType::kI32:
      return Load<int32_t>(at);
    case GgufType::kU64:
      return static_cast<double>(Load<uint64_t>(at));
    case GgufType::kI64:
      return static_cast<double>(Load<int64_t>(at));
    case GgufType::kF32:
      return static_cast<double>(Load<float>(at));
    case GgufType::kF64:
      return Load<double>(at);
    case GgufType::kString:
    case GgufType::kArray:
      return std::nullopt;
  }
  return std::nullopt;
}

/// A tensor's record: name length and name, then number of dimensions, dimensions, type, offset.
struct Record {
  static constexpr size_t kMinBytes = 8 + 1 + 4 + 8 + 4 + 8;

  explicit Record(const std::byte* at) : name(LoadString(at)), shape(at + 8 + name.size()) {}
  uint32_t dimensions() const { return Load<uint32_t>(shape); }
  uint64_t ne(uint32_t i) const { return i < dimensions() ? Load<uint64_t>(shape + 4 + size_t{8} * i) : 1; }
  uint32_t type() const { return Load<uint32_t>(behind_ne()); }
  uint64_t offset() const { return Load<uint64_t>(behind_ne() + 4); }
  const std::byte* behind_ne() const { return shape + 4 + size_t{8} * dimensions(); }
  const std::byte* end() const { return behind_ne() + 4 + 8; }

  /// Bytes of its data, 0 when the type has no Format. The product is proven not to overflow.
  uint64_t bytes() const {
    const Format* format = FindFormat(type());
    return format == nullptr ? 0 : MatrixBytes(*format, ne(1) * ne(2) * ne(3), ne(0) / format->block_size);
  }

  std::string_view name;
  const std::byte* shape;
};

}  // namespace

/// Walks the front of one part, from the magic to the padding before the data.
class GgufReader {
 public:
  explicit GgufReader(std::span<const std::byte> bytes) : base_(bytes.data()), size_(bytes.size()) {}

  Error Read(GgufValues& values, Gguf::Part& part) {
    uint64_t value_count = 0;
    if (Error error = ReadHeader(part, value_count); !error.ok()) return error;
    if (Error error = ReadValues(value_count, values); !error.ok()) return error;
    uint64_t alignment = 32;
    if (Error error = ReadAlignment(values, alignment); !error.ok()) return error;
    return ReadTensors(alignment, part);
  }

 private:
  uint64_t left() const { return size_ - at_; }
  Error Bad(const char* what, std::string_view name = {}) const { return {Status::kBadFile, what, name, {}, at_}; }
  Error EndsEarly(std::string_view name = {}) const { return Bad("the file ends in the middle of its header", name); }

  /// Moves over a string, unless it reaches beyond the end.
  bool SkipString() {
    if (left() < 8) return false;
    const uint64_t length = Load<uint64_t>(base_ + at_);
    if (length > left() - 8) return false;
    at_ += 8 + static_cast<size_t>(length);
    return true;
  }

  /// Moves over a name of 1 to `max` bytes.
  Error ReadName(size_t max, std::string_view& name) {
    const size_t begin = at_;
    if (!SkipString()) return Bad("a name reaches beyond the end of the file");
    name = LoadString(base_ + begin);
    if (!name.empty() && name.size() <= max) return {};
    return {Status::kBadFile, "a name is empty or longer than GGUF allows", begin};
  }

  Error ReadHeader(Gguf::Part& part, uint64_t& value_count) {
    constexpr const char* kNoGguf = "this is not a GGUF file: it does not begin with GGUF";
    if (size_ < 4 || std::memcmp(base_, "GGUF", 4) != 0) return Bad(kNoGguf);
    if (size_ < 24) return EndsEarly();
    const uint32_t version = Load<uint32_t>(base_ + 4);
    if (version == 1) return {Status::kUnsupported, "GGUF version 1 is not supported; convert the model again"};
    if (version != 0 && (version & 0xffff) == 0) {
      return {Status::kUnsupported, "this GGUF file is big endian; convert the model for little-endian machines"};
    }
    if (version != 2 && version != 3) {
      return {Status::kUnsupported, "this version of GGUF is not supported; versions 2 and 3 are", version};
    }
    const uint64_t tensor_count = Load<uint64_t>(base_ + 8);
    value_count = Load<uint64_t>(base_ + 16);
    at_ = 8;
    if (tensor_count > (size_ - 24) / Record::kMinBytes)
      return Bad("more tensors are announced than the file has room for");
    if (tensor_count > Gguf::kMaxTensors) {
      return {Status::kUnsupported, "the file has more than 4096 tensors, the most that are read", tensor_count};
    }
    at_ = 16;
    constexpr size_t kMinValue = 8 + 1 + 4 + 1;
    if (value_count > (size_ - 24) / kMinValue) return Bad("more metadata is announced than the file has room for");
    if (value_count > GgufValues::kMax) {
      return {Status::kUnsupported, "the file has more than 256 metadata keys, the most that are read", value_count};
    }
    at_ = 24;
    part.base = base_;
    part.tensor_count = static_cast<uint32_t>(tensor_count);
    return {};
  }

  Error ReadValues(uint64_t count, GgufValues& values) {
    values.base_ = base_;
    for (uint64_t i = 0; i < count; ++i) {
      const size_t begin = at_;
      if (begin > UINT32_MAX) return {Status::kUnsupported, "the metadata is longer than 4 GiB", begin};
      std::string_view key;
      if (Error error = ReadName(65535, key); !error.ok()) return error;
      if (values.Find(key)) return Bad("a metadata key stands in the file twice", key);
      if (Error error = ReadValue(key); !error.ok()) return error;
      values.at_[values.count_++] = static_cast<uint32_t>(begin);
    }
    return {};
  }

  Error ReadValue(std::string_view key) {
    if (left() < 4) return EndsEarly(key);
    auto type = Load<GgufType>(base_ + at_);
    uint64_t count = 1;
    if (type == GgufType::kArray) {
      if (left() < 4 + 4 + 8) return EndsEarly(key);
      at_ += 4;
      type = Load<GgufType>(base_ + at_);
      count = Load<uint64_t>(base_ + at_ + 4);
      if (type == GgufType::kArray) return {Status::kUnsupported, "arrays of arrays are not supported", key, {}, at_};
      at_ += 8;
    }
    if (type != GgufType::kString && GgufTypeBytes(type) == 0)
      return Bad("the type of a metadata value is unknown", key);
    at_ += 4;
    return ReadElements(type, count, key);
  }

  Error ReadElements(GgufType type, uint64_t count, std::string_view key) {
    const size_t size = type == GgufType::kString ? 8 : GgufTypeBytes(type);  // a string: at least its length
    if (count > left() / size) return Bad("a metadata value is longer than the rest of the file", key);
    if (type == GgufType::kString) {
      for (uint64_t i = 0; i < count; ++i) {
        if (!SkipString()) return Bad("a string in the metadata reaches beyond the end of the file", key);
      }
      return {};
    }
    for (uint64_t i = 0; type == GgufType::kBool && i < count; ++i, ++at_) {
      if (Load<uint8_t>(base_ + at_) > 1) return Bad("a bool in the metadata is neither 0 nor 1", key);
    }
    if (type != GgufType::kBool) at_ += static_cast<size_t>(count) * size;
    return {};
  }

  Error ReadAlignment(const GgufValues& values, uint64_t& alignment) const {
    const std::optional<GgufValue> value = values.Find("general.alignment");
    if (!value) return {};
    alignment = value->AsUnsigned().value_or(0);
    if (alignment >= Gguf::kBaseAlignment && alignment <= Gguf::kMaxAlignment && (alignment & (alignment - 1)) == 0)
      return {};
    const auto at = static_cast<uint64_t>(value->data - base_);
    return {Status::kBadFile, "the alignment is not a power of two from 8 to 65536", value->key, {}, at};
  }

  Error ReadTensors(uint64_t alignment, Gguf::Part& part) {
    part.tensors_at = at_;
    for (uint32_t i = 0; i < part.tensor_count; ++i) {
      if (Error error = ReadRecord(); !error.ok()) return error;
    }
    if (part.tensor_count == 0) return {};
    const uint64_t padding = (alignment - at_ % alignment) % alignment;
    if (padding > left()) return Bad("the file ends before its tensor data");
    part.data_at = at_ + static_cast<size_t>(padding);
    at_ = part.tensors_at;
    for (uint32_t i = 0; i < part.tensor_count; ++i) {
      const Record record(base_ + at_);
      if (record.offset() % alignment != 0) return Bad("the data of a tensor is not aligned", record.name);
      const uint64_t room = size_ - part.data_at;
      if (record.offset() > room || record.bytes() > room - record.offset()) {
        return Bad("the data of a tensor reaches beyond the end of the file; it may be cut short", record.name);
      }
      at_ = static_cast<size_t>(record.end() - base_);
    }
    return {};
  }

  /// Moves over a tensor's record: everything but its offset is proven.
  Error ReadRecord() {
    std::string_view name;
    if (Error error = ReadName(Gguf::kMaxTensorName, name); !error.ok()) return error;
    if (left() < 4) return EndsEarly(name);
    const uint32_t dimensions = Load<uint32_t>(base_ + at_);
    if (dimensions < 1 || dimensions > 4) return Bad("a tensor has not 1 to 4 dimensions", name);
    if (left() < 4 + size_t{8} * dimensions + 4 + 8) return EndsEarly(name);
    const Record record(base_ + at_ - name.size() - 8);
    uint64_t elements = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      // Below 2^60 elements of at most 4 bytes: no product in this file overflows.
      if (record.ne(i) == 0) return Bad("a dimension of a tensor is 0", name);
      if (record.ne(i) > (uint64_t{1} << 60) / elements) return Bad("a tensor is larger than any file", name);
      elements *= record.ne(i);
    }
    const Format* format = FindFormat(record.type());
    if (format != nullptr && record.ne(0) % format->block_size != 0) {
      return {Status::kBadFile, "a row of a tensor is not a whole number of blocks", name, format->name, at_};
    }
    at_ = static_cast<size_t>(record.end() - base_);
    return {};
  }

  const std::byte* base_;
  size_t size_;
  size_t at_ = 0;
};

size_t GgufTypeBytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::string_view GgufStrings::Iterator::operator*() const { return LoadString(at_); }

GgufStrings::Iterator& GgufStrings::Iterator::operator++() {
  at_ += 8 + LoadString(at_).size();
  --left_;
  return *this;
}

std::optional<uint64_t> GgufValue::AsUnsigned() const {
  int64_t value = 0;
  switch (type) {
    case GgufType::kU64:
      return Load<uint64_t>(data);
    case GgufType::kU8:
    case GgufType::kBool:
      value = Load<uint8_t>(data);
      break;
    case GgufType::kI8:
      value = Load<int8_t>(data);
      break;
    case GgufType::kU16:
      value = Load<uint16_t>(data);
      break;
    case GgufType::kI16:
      value = Load<int16_t>(data);
      break;
    case GgufType::kU32:
      value = Load<uint32_t>(data);
      break;
    case GgufType::kI32:
      value = Load<int32_t>(data);
      break;
    case GgufType::kI64:
      value = Load<int64_t>(data);
      break;
    case GgufType::kF32:
    case GgufType::kF64:
    case GgufType::kString:
    case GgufType::kArray:
      return std::nullopt;
  }
  if (value < 0) return std::nullopt;
  return static_cast<uint64_t>(value);
}

std::optional<double> GgufValue::AsNumber() const { return LoadNumber(type, data); }

std::optional<bool> GgufValue::AsBool() const {
  if (type != GgufType::kBool) return std::nullopt;
  return Load<uint8_t>(data) != 0;
}

std::optional<std::string_view> GgufValue::AsString() const {
  if (type != GgufType::kString) return std::nullopt;
  return LoadString(data);
}

std::optional<GgufStrings> GgufValue::AsStrings() const {
  if (type != GgufType::kArray || element != GgufType::kString) return std::nullopt;
  return GgufStrings{data, count};
}

std::optional<double> GgufValue::NumberAt(uint64_t i) const {
  if (type != GgufType::kArray || i >= count) return std::nullopt;
  return LoadNumber(element, data + static_cast<size_t>(i) * GgufTypeBytes(element));
}

GgufValue GgufValues::operator[](size_t i) const {
  const std::byte* at = base_ + at_[i];
  const std::string_view key = LoadString(at);
  at += 8 + key.size();
  const auto type = Load<GgufType>(at);
  if (type != GgufType::kArray) return {key, type, type, 1, at + 4};
  return {key, type, Load<GgufType>(at + 4), Load<uint64_t>(at + 8), at + 16};
}

std::optional<GgufValue> GgufValues::Find(std::string_view key) const {
  for (size_t i = 0; i < count_; ++i) {
    if (LoadString(base_ + at_[i]) == key) return (*this)[i];
  }
  return std::nullopt;
}

std::string_view Gguf::TensorIterator::name() const { return LoadString(at_); }

GgufTensor Gguf::TensorIterator::operator*() const {
  const Record record(at_);
  const Part& part = file_->parts_[part_];
  return {record.name,
          record.type(),
          record.dimensions(),
          {record.ne(0), record.ne(1), record.ne(2), record.ne(3)},
          part.base + part.data_at + static_cast<size_t>(record.offset()),
          record.bytes()};
}

Gguf::TensorIterator& Gguf::TensorIterator::operator++() {
  at_ = Record(at_).end();
  if (--left_ == 0) {
    ++part_;
    EnterPart();
  }
  return *this;
}

void Gguf::TensorIterator::EnterPart() {
  while (part_ < file_->part_count_ && file_->parts_[part_].tensor_count == 0) ++part_;
  if (part_ == file_->part_count_) return;
  const Part& part = file_->parts_[part_];
  left_ = part.tensor_count;
  at_ = part.base + part.tensors_at;
}

Result<Gguf> Gguf::Open(std::span<const std::span<const std::byte>> parts) {
  if (parts.empty() || parts.size() > kMaxParts) {
    return Error{Status::kBadArgument, "a model has 1 to 64 parts", parts.size()};
  }
  Gguf file;
  file.part_count_ = parts.size();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (reinterpret_cast<uintptr_t>(parts[i].data()) % kBaseAlignment != 0) {
      return Error{Status::kBadArgument, "the bytes of a GGUF must begin on a multiple of 8"};
    }
    GgufValues values;
    if (Error error = GgufReader(parts[i]).Read(values, file.parts_[i]); !error.ok()) return error;
    if (i == 0) file.values_ = values;
    if (Error error = file.CheckSplit(values, i); !error.ok()) return error;
  }
  if (file.tensor_count() > kMaxTensors) {
    return Error{Status::kUnsupported, "the parts have more than 4096 tensors, the most that are read",
                 file.tensor_count()};
  }
  const std::optional<GgufValue> announced = file.Find("split.tensors.count");
  if (announced && announced->AsUnsigned() != file.tensor_count()) {
    return Error{Status::kBadFile, "the parts do not hold the number of tensors announced", announced->key};
  }
  if (Error error = file.CheckTensorNames(); !error.ok()) return error;
  return file;
}

/// `values` are those of part `part`: they must say so, unless the file is not split at all. The first part's are
/// values_.
Error Gguf::CheckSplit(const GgufValues& values, size_t part) const {
  const std::optional<GgufValue> count = values.Find("split.count");
  if (!count && part_count_ == 1) return {};
  const std::optional<GgufValue> number = values.Find("split.no");
  const std::optional<GgufValue> tensors = values.Find("split.tensors.count");
  if (!count || !number || !tensors) {
    return {Status::kBadFile, "a file given as a part of a split model does not say which", "split.no", {}, part + 1};
  }
  if (number->AsUnsigned() != part) {
    return {Status::kBadArgument, "the parts of the split model are not in order, the first one first", number->key};
  }
  if (count->AsUnsigned() != part_count_) {
    return {Status::kBadArgument,
            "the model is split into another number of files; they are named NAME-00001-of-0000N.gguf",
            count->key,
            {},
            count->AsUnsigned().value_or(0)};
  }
  if (tensors->AsUnsigned() != values_.Find("split.tensors.count")->AsUnsigned()) {
    return {Status::kBadFile, "these are parts of different models", tensors->key};
  }
  return {};
}

/// No two tensors of the same name. The pairs are few: kMaxTensors bounds them.
Error Gguf::CheckTensorNames() const {
  const TensorRange all = tensors();
  for (TensorIterator tensor = all.begin(); tensor != all.end(); ++tensor) {
    for (TensorIterator earlier = all.begin(); earlier != tensor; ++earlier) {
      if (earlier.name() == tensor.name()) {
        return {Status::kBadFile, "a tensor stands in the file twice", tensor.name()};
      }
    }
  }
  return {};
}

uint64_t Gguf::tensor_count() const {
  uint64_t count = 0;
  for (size_t i = 0; i < part_count_; ++i) count += parts_[i].tensor_count;
  return count;
}

std::optional<GgufTensor> Gguf::FindTensor(std::string_view name) const {
  const TensorRange all = tensors();
  for (TensorIterator tensor = all.begin(); tensor != all.end(); ++tensor) {
    if (tensor.name() == name) return *tensor;
  }
  return std::nullopt;
}

}  // namespace thimble
