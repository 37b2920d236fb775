// SPDX-License-Identifier: Apache-2.0
//
// Makes a pack from a GGUF, piece by piece in the order of the file: which format each matrix gets, the rounding, the
// stamp with its checksums. The bytes go where the caller puts them; the memory is the caller's arena, of a size that
// does not depend on the size of the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/arena.h"
#include "core/kernels.h"
#include "io/gguf.h"
#include "io/hash.h"
#include "io/imatrix.h"
#include "io/pack.h"
#include "io/token_index_builder.h"

namespace thimble {

/// What to make. All of it is only looked at and must outlive the writer.
struct PackOrder {
  const Gguf* source = nullptr;                       // a model that LoadQwen35 has proven, of one part or several
  std::span<const std::span<const std::byte>> parts;  // its bytes
  PackRecipe recipe = PackRecipe::kQ4;
  bool keep_exact = false;           // tensors that are quantised in the source keep their blocks
  const Imatrix* imatrix = nullptr;  // weighs the columns of the matrices that it names; may be null
  std::span<const std::byte> imatrix_bytes;
};

/// The format that a tensor gets: its own when nothing is to be done. Vectors, and matrices whose columns are no whole
/// number of blocks of 32, stay; so does what has fewer bits than the recipe asks for, and, where the recipe asks for 8
/// bits, everything that is quantised (but Q4_0 becomes QB4 without a loss). Null for a type without a Format.
const Format* PackFormatOf(const PackOrder& order, const GgufTensor& tensor);

class PackWriter {
 public:
  /// Proves the order and takes all memory, for up to `workers` workers, from `arena`, which may be one that measures.
  /// `order` must outlive this. kBadArgument: the source is a pack, or an entry of the importance matrix has another
  /// length than its tensor; kUnsupported: more keys or metadata than a pack can have; kBadFile: a broken tokenizer
  /// (one that is missing or of another kind is let through: the pack then has no index of its tokens).
  Error Bind(const PackOrder& order, size_t workers, Arena& arena);

  uint64_t bytes() const { return header_bytes_ + data_bytes_; }  // of the pack
  uint64_t header_bytes() const { return header_bytes_; }         // where the first piece goes
  uint64_t source_bytes() const { return source_bytes_; }

  struct Piece {
    std::span<const std::byte> bytes;  // go behind those of the piece before; valid until the next call; empty: the end
    std::span<const std::byte> source;  // what was read for them, and will not be read again
  };

  /// Makes the next piece, the same bytes for any number of workers. kBadFile with the tensor's name for a weight that
  /// is not finite, or so large that its scale is not.
  Result<Piece> Next(const Workers& workers);

  /// What goes to the front of the file: complete after the last piece.
  std::span<const std::byte> Header();

 private:
  /// What one worker needs to convert some rows.
  struct Work {
    float* x;          // [cols]
    int8_t* codes;     // [kGroupRows][cols]
    uint16_t* scales;  // [kGroupRows][cols / 32]
    bool* failed;
  };

  Error CheckImatrix() const;
  Error TakeIndex(Arena& arena);
  size_t ValueCount() const;
  uint64_t WriteHeader(std::span<std::byte> out);
  bool StartTensor();
  void HashSource(const std::byte* until);
  Piece CopyRows();
  Result<Piece> ConvertRows(const Workers& workers);
  void ConvertGroup(const Work& work, uint64_t group, std::byte* out) const;
  Work WorkOf(size_t worker) const;

  const PackOrder* order_ = nullptr;
  size_t workers_ = 0;
  uint64_t source_bytes_ = 0;
  uint64_t header_bytes_ = 0;
  uint64_t data_bytes_ = 0;
  size_t hash_at_ = 0;  // of the value of kHeaderHash
  size_t max_cols_ = 0;
  size_t piece_bytes_ = 0;

  TokenIndexBuilder token_index_;  // without words: the pack gets none

  uint64_t* tensor_hashes_ = nullptr;  // [tensors]
  std::byte* header_ = nullptr;        // [header_bytes]
  std::byte* piece_ = nullptr;         // [piece_bytes]
  float* x_ = nullptr;                 // [workers][max_cols]
  float* importance_ = nullptr;        // [max_cols], of this tensor
  int8_t* codes_ = nullptr;            // [workers][kGroupRows][max_cols]
  uint16_t* scales_ = nullptr;         // [workers][kGroupRows][max_cols / 32]
  bool* failed_ = nullptr;             // [workers]

  // Where the writing stands.
  std::optional<Gguf::TensorIterator> at_;
  size_t index_ = 0;  // of this tensor
  GgufTensor tensor_ = {};
  const Format* from_ = nullptr;
  const Format* to_ = nullptr;
  bool weighed_ = false;  // importance_ is this tensor's
  uint64_t groups_ = 0;   // of kGroupRows rows or one tile
  uint64_t group_ = 0;    // the next one
  uint64_t copied_ = 0;   // bytes
  uint64_t padding_ = 0;  // zeros behind the last tensor
  Hash tensor_hash_;
  Hash source_hash_;
  size_t source_part_ = 0;  // the source is hashed up to here
  size_t source_at_ = 0;
};

}  // namespace thimble
