// SPDX-License-Identifier: Apache-2.0
//
// Reads GGUF version 2 and 3 (little endian) from bytes in memory, in one file or split into several. Open proves every
// count, length, offset, type and alignment once; afterwards nothing here can fail but a look-up. No copy, no
// allocation: all answers are views of the bytes, which must stay mapped. It knows nothing of files and of models.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/error.h"

namespace thimble {

/// The types of a metadata value, with GGUF's numbers.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

/// Bytes of a value of fixed size; 0 for strings, arrays and numbers that are no type.
size_t GgufTypeBytes(GgufType type);

/// The strings of an array value, in order. Forward only: each stands behind the one before.
struct GgufStrings {
  class Iterator {
   public:
    Iterator(const std::byte* at, uint64_t left) : at_(at), left_(left) {}
    std::string_view operator*() const;
    Iterator& operator++();
    bool operator!=(const Iterator& other) const { return left_ != other.left_; }

   private:
    const std::byte* at_;
    uint64_t left_;
  };

  uint64_t size() const { return count; }
  Iterator begin() const { return Iterator(data, count); }
  Iterator end() const { return Iterator(nullptr, 0); }

  const std::byte* data = nullptr;  // the length of the first
  uint64_t count = 0;
};

/// One metadata entry. The As functions are empty when the entry is of another kind.
struct GgufValue {
  std::string_view key;
  GgufType type;          // kArray for an array
  GgufType element;       // of an array's elements; otherwise the same as type
  uint64_t count;         // elements of an array; otherwise 1
  const std::byte* data;  // the first element, little endian, not aligned

  std::optional<uint64_t> AsUnsigned() const;        // an integer that is not negative, or a bool
  std::optional<double> AsNumber() const;            // any number, or a bool
  std::optional<bool> AsBool() const;                // a bool
  std::optional<std::string_view> AsString() const;  // a string
  std::optional<GgufStrings> AsStrings() const;      // an array of strings
  std::optional<double> NumberAt(uint64_t i) const;  // element i of an array of numbers or bools
};

/// The metadata of one file, in its order: where each entry begins. Entries are decoded when asked for.
class GgufValues {
 public:
  static constexpr size_t kMax = 256;

  class Iterator {
   public:
    Iterator(const GgufValues* values, size_t i) : values_(values), i_(i) {}
    GgufValue operator*() const { return (*values_)[i_]; }
    Iterator& operator++() { return ++i_, *this; }
    bool operator!=(const Iterator& other) const { return i_ != other.i_; }

   private:
    const GgufValues* values_;
    size_t i_;
  };

  size_t size() const { return count_; }
  GgufValue operator[](size_t i) const;
  std::optional<GgufValue> Find(std::string_view key) const;
  Iterator begin() const { return Iterator(this, 0); }
  Iterator end() const { return Iterator(this, count_); }

 private:
  friend class GgufReader;
  const std::byte* base_ = nullptr;
  uint32_t count_ = 0;
  std::array<uint32_t, kMax> at_ = {};  // offsets from base_
};

/// One tensor: proven to lie within its file.
struct GgufTensor {
  std::string_view name;
  uint32_t type;               // ggml's number; may be one without a Format
  uint32_t dimensions;         // 1 to 4
  std::array<uint64_t, 4> ne;  // GGUF's order, the contiguous one first; 1 beyond `dimensions`
  const std::byte* data;       // on a multiple of at least 8 bytes
  uint64_t bytes;              // 0 when the type has no Format and so no known size
};

class Gguf {
 public:
  static constexpr size_t kMaxParts = 64;
  static constexpr size_t kMaxTensors = 4096;   // of all parts
  static constexpr size_t kMaxTensorName = 64;  // bytes
  static constexpr uint64_t kMaxAlignment = 65536;
  static constexpr size_t kBaseAlignment = 8;  // what the bytes of every part must begin on

  /// All tensors, part after part.
  class TensorIterator {
   public:
    std::string_view name() const;
    GgufTensor operator*() const;
    TensorIterator& operator++();
    bool operator!=(const TensorIterator& other) const { return part_ != other.part_ || left_ != other.left_; }

   private:
    friend class Gguf;
    TensorIterator(const Gguf* file, size_t part) : file_(file), part_(part) { EnterPart(); }
    void EnterPart();  // skips parts without tensors

    const Gguf* file_;
    size_t part_;                    // file_->part_count_ at the end
    uint32_t left_ = 0;              // tensors of this part, this one included
    const std::byte* at_ = nullptr;  // this tensor's record
  };

  struct TensorRange {
    TensorIterator first, last;
    TensorIterator begin() const { return first; }
    TensorIterator end() const { return last; }
  };

  /// Proves the bytes of one file, or of all parts of a split one in order (`name-00001-of-00003.gguf` first). Each
  /// part must begin on a multiple of kBaseAlignment. kBadFile: the bytes break the format; kUnsupported: version 1,
  /// big endian, nested arrays, or more than a limit above; kBadArgument: not all parts. Error::at is an offset within
  /// the part.
  static Result<Gguf> Open(std::span<const std::span<const std::byte>> parts);

  /// Metadata, of the first part (the others hold only their number).
  const GgufValues& values() const { return values_; }
  std::optional<GgufValue> Find(std::string_view key) const { return values_.Find(key); }

  uint64_t tensor_count() const;
  TensorRange tensors() const { return {TensorIterator(this, 0), TensorIterator(this, part_count_)}; }
  std::optional<GgufTensor> FindTensor(std::string_view name) const;

 private:
  friend class GgufReader;
  struct Part {
    const std::byte* base = nullptr;
    size_t tensors_at = 0;  // offset of the first tensor record
    size_t data_at = 0;     // offset of the tensor data
    uint32_t tensor_count = 0;
  };

  Error CheckSplit(const GgufValues& values, size_t part) const;
  Error CheckTensorNames() const;

  std::array<Part, kMaxParts> parts_ = {};
  size_t part_count_ = 0;
  GgufValues values_;
};

}  // namespace thimble
